"""The unit under a real systemd, in namespaces of its own: `systemd.py BINARY UNIT`.

systemd is process 1 of a namespace with its own mounts and network. It finds the shipped unit as it is, a configuration that leaves all but
the next hop and the name at its default, and a story beside it, which asks systemd, the kernel and the relay what they see.

It must not touch the machine: before it runs, every mounted file system is read-only to it, what it writes to is its own and in memory, and
there is no unit but these. `contained` looks whether that is so; if not, nothing is run.
"""
import ctypes
import fcntl
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = os.path.abspath(__file__)
TIME = 200
# Of the machine in the namespace, besides the loopback.
OWN_ADDRESS = "192.0.2.2"
UNITS = "/usr/lib/systemd/system"
# Seconds that it may be silent: less than the shipped unit says, as the story waits for it.
WATCHDOG = 4
OWN = ("/tmp", "/run", "/var", "/root", "/home", "/dev/shm", "/usr/local/bin", UNITS, "/etc/systemd", "/sys/fs/cgroup")

BARE = "[Unit]\nDefaultDependencies=no\n"
TARGET = BARE + "AllowIsolate=yes\nWants=relevo.service story.service\n"
STORY = BARE + """[Service]
Type=oneshot
StandardOutput=file:/run/scratch/out
StandardError=file:/run/scratch/out
ExecStart=/run/python {here} story /run/scratch/verdict
"""


def cgroup():
    """Where the unified hierarchy is."""
    with open("/proc/self/mounts") as file:
        found = [line.split()[1] for line in file if line.split()[2] == "cgroup2"]
    return found[0] if found else None


def main(binary, unit):
    if os.geteuid() != 0 or cgroup() is None:
        return print("skipped: a systemd of its own needs root and a unified hierarchy of control groups")
    if not os.path.exists("/usr/lib/systemd/systemd"):
        sys.exit("systemd is not installed: tests/run does that")
    scratch = tempfile.mkdtemp(prefix="relevo-systemd-")
    shutil.copytree("/etc", f"{scratch}/etc", symlinks=True)
    for name, text in (("passwd", "relevo:x:983:983::/var/lib/relevo:/usr/sbin/nologin\n"), ("group", "relevo:x:983:\n")):
        with open(f"{scratch}/etc/{name}", "a") as file:
            file.write(text)
    os.makedirs(f"{scratch}/etc/relevo", exist_ok=True)
    with open(f"{scratch}/etc/relevo/relevo.toml", "w") as file:
        file.write(
            '[node]\nhostname = "relay.example"\ndata_dir = "/var/lib/relevo"\nshards = 1\n'
            '[[listener]]\naddress = "127.0.0.1:25"\n[[route]]\ndomain = "d.example"\nto = "smtp://127.0.0.1:2525"\n'
            '[spool]\nsegment_size = "4MiB"\n'
        )
    for source, name in ((binary, "relevo"), (unit, "relevo.service"), (unit.replace(".service", ".socket"), "relevo.socket"), (HERE, "systemd.py")):
        shutil.copy(source, f"{scratch}/{name}")
    group = f"{cgroup()}/relevo-unit-test-{os.getpid()}"
    os.mkdir(group)

    def enter():
        with open(f"{group}/cgroup.procs", "w") as file:
            file.write(str(os.getpid()))

    namespaces = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--net", "--fork", "--kill-child"]
    verdict = f"{scratch}/verdict"
    try:
        with open(f"{scratch}/log", "wb") as log:
            command = [*namespaces, sys.executable, HERE, "init", scratch]
            init = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, preexec_fn=enter)
            end = time.monotonic() + TIME
            while not os.path.exists(verdict) and time.monotonic() < end and init.poll() is None:
                time.sleep(0.1)
            init.kill()
            init.wait()
    finally:
        leave(group)
    words = "".join(open(path, errors="replace").read() for path in (f"{scratch}/log", f"{scratch}/out") if os.path.exists(path))
    assert os.path.exists(verdict), f"no verdict: {words}"
    with open(verdict) as file:
        answer = file.read()
    assert answer == "well\n", f"{answer}\n{words}"
    print(words)
    shutil.rmtree(scratch)


def leave(group):
    """Its processes end with process 1; then the groups go."""
    end = time.monotonic() + 10
    while os.path.exists(group):
        for path, _, _ in os.walk(group, topdown=False):
            try:
                os.rmdir(path)
            except OSError:
                assert time.monotonic() < end, f"{path} is still in use"
        time.sleep(0.1)


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


def init(scratch):
    """Process 1 to be: closes the machine to itself, and becomes systemd."""
    mount("--make-rprivate", "/")
    mount("-t", "proc", "proc", "/proc")
    python = os.path.realpath(sys.executable)
    prefix = os.path.realpath(sys.prefix)
    hold = f"{scratch}/hold"
    os.mkdir(hold)
    # What it writes to, before all else becomes read-only; the interpreter may lie below one of the places that are covered.
    mount("-t", "tmpfs", "-o", "mode=755", "own", hold)
    for name in ("scratch", "prefix"):
        os.mkdir(f"{hold}/{name}")
    mount("--bind", scratch, f"{hold}/scratch")
    mount("--bind", prefix, f"{hold}/prefix")
    mount("--bind", f"{scratch}/etc", "/etc")
    mount("--rbind", hold, "/run")
    kept = {"/etc", "/run", "/run/scratch"}
    with open("/proc/self/mounts") as file:
        places = {line.split()[1].encode().decode("unicode_escape") for line in file}
    # What was mounted below the two that are covered now cannot be reached any more, as networks with a name in /run/netns.
    covered = {place for place in places if place.startswith(("/etc/", "/run/")) and place != "/run/prefix"}
    for place in sorted(places - kept - covered):
        if not place.startswith((hold, "/proc")):
            mount("-o", "remount,bind,ro", place)
    mount("--bind", "/proc/sys", "/proc/sys")
    mount("-o", "remount,bind,ro", "/proc/sys")
    for place in OWN:
        if place in ("/run", "/sys/fs/cgroup") or not os.path.isdir(place):
            continue
        mount("-t", "tmpfs", "-o", f"mode={'1777' if place in ('/tmp', '/dev/shm') else '755'}", "own", place)
    mount("-t", "cgroup2", "own", "/sys/fs/cgroup")
    for place in ("/var/lib", "/var/log", "/var/tmp", "/run/lock"):
        os.makedirs(place, exist_ok=True)
    shutil.copy("/run/scratch/relevo", "/usr/local/bin/relevo")
    os.chmod("/usr/local/bin/relevo", 0o755)
    with open("/run/python", "w") as file:
        file.write(f'#!/bin/sh\nexport PYTHONHOME=/run/prefix\nexec /run/prefix/{os.path.relpath(python, prefix)} "$@"\n')
    os.chmod("/run/python", 0o755)
    shutil.copy("/run/scratch/relevo.service", UNITS)
    # Ports as the configuration has them.
    with open("/run/scratch/relevo.socket") as file:
        shipped = file.read()
    assert "ListenStream=0.0.0.0:25\nListenStream=[::]:25\n" in shipped
    with open(f"{UNITS}/relevo.socket", "w") as file:
        file.write(shipped.replace("ListenStream=0.0.0.0:25\nListenStream=[::]:25\n", "ListenStream=127.0.0.1:25\n"))
    units = {"test.target": TARGET, "story.service": STORY.format(here="/run/scratch/systemd.py")}
    # What units hang on by default is there, and empty.
    for name in ("sysinit", "basic", "shutdown", "network-online", "multi-user", "umount", "final"):
        units[f"{name}.target"] = BARE
    for name, text in units.items():
        with open(f"{UNITS}/{name}", "w") as file:
            file.write(text)
    # What it says to the operator, which there is no journal for.
    os.mkdir(f"{UNITS}/relevo.service.d")
    with open(f"{UNITS}/relevo.service.d/words.conf", "w") as file:
        file.write(f"[Service]\nStandardError=append:/run/scratch/words\nWatchdogSec={WATCHDOG}\n")
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
        address = struct.pack("16sHH4s8x", b"lo:1", socket.AF_INET, 0, socket.inet_aton(OWN_ADDRESS))
        fcntl.ioctl(any_socket, 0x8916, address)  # SIOCSIFADDR
    contained()
    environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "container": "relevo-test"}
    arguments = ["systemd", "--system", "--unit=test.target", "--log-target=console", "--log-level=warning", "--show-status=0"]
    os.chdir("/")
    os.execve("/usr/lib/systemd/systemd", arguments, environment)


def contained():
    """Nothing of the machine can be written, and no unit of the machine is there."""
    for place in ("/", "/usr", "/opt", "/srv", "/boot", "/dev", "/sys", "/proc/sys"):
        if os.path.isdir(place):
            assert os.statvfs(place).f_flag & os.ST_RDONLY, f"{place} can be written"
    tops = {}
    with open("/proc/self/mountinfo") as file:
        for line in file:
            fields = line.split(" - ")[0].split()
            # One that is mounted over another hides it.
            tops[fields[4]] = fields[5].split(",")
    for place, flags in tops.items():
        assert "ro" in flags or place.startswith(OWN + ("/etc", "/proc")), f"{place} can be written"
    for place in ("/tmp", "/var", "/dev/shm", "/etc/systemd"):
        assert not [name for name in os.listdir(place) if name not in ("lib", "log", "tmp")], f"{place} is not ours"
    here = os.listdir(UNITS)
    assert len(here) == 12 and [name for name in here if os.path.isdir(f"{UNITS}/{name}")] == ["relevo.service.d"], here


def ask(path):
    with urllib.request.urlopen(f"http://127.0.0.1:8025{path}", timeout=5) as answer:
        return answer.read().decode()


def show(name):
    done = subprocess.run(["systemctl", "show", "-P", name, "relevo.service"], capture_output=True, text=True, timeout=10)
    return done.stdout.strip()


def wait(what, words, seconds=30):
    end = time.monotonic() + seconds
    while True:
        try:
            if value := what():
                return value
        except (OSError, ValueError):
            pass
        assert time.monotonic() < end, f"waited in vain for {words}: {show('Result')} {show('ExecMainStatus')}"
        time.sleep(0.1)


def status_of(pid):
    with open(f"/proc/{pid}/status") as file:
        return dict(re.split(r":\s*", line.rstrip("\n"), maxsplit=1) for line in file)


def named(pid, task):
    with open(f"/proc/{pid}/task/{task}/comm") as file:
        return file.read().strip()


def send(sender="a@c.example", recipient="b@d.example"):
    client = socket.create_connection(("127.0.0.1", 25), 10)
    lines = client.makefile("rb")
    lines.readline()
    for command in ("HELO c.example", f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>", "DATA", "Subject: x\r\n\r\nx\r\n."):
        client.sendall(command.encode() + b"\r\n")
        answer = lines.readline()
        assert answer[:1] in (b"2", b"3"), (command, answer)


def hold(task):
    """One thread stands still from now on, and all others go on: that is what a tracer can do."""
    trace = ctypes.CDLL(None, use_errno=True).ptrace
    trace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    for request in (0x4206, 0x4207):  # PTRACE_SEIZE, PTRACE_INTERRUPT
        assert trace(request, task, None, None) == 0, os.strerror(ctypes.get_errno())


def supervised():
    """systemd is told when it takes mail, how it is, and of a reload; and starts it anew when a shard stands still."""
    assert (show("Type"), show("ActiveState"), show("SubState")) == ("notify", "active", "running")
    wait(lambda: show("StatusText").startswith("takes mail; 1 recipients queued"), "its words")
    subprocess.run(["systemctl", "reload", "relevo.service"], check=True, timeout=30)
    assert (show("ActiveState"), show("ReloadResult")) == ("active", "success"), show("ReloadResult")
    with open("/etc/relevo/relevo.toml", "a") as file:
        file.write("[nonsense]\n")
    refused = subprocess.run(["systemctl", "reload", "relevo.service"], timeout=30)
    assert refused.returncode != 0 and show("ActiveState") == "active", refused
    with open("/etc/relevo/relevo.toml") as file:
        text = file.read()
    with open("/etc/relevo/relevo.toml", "w") as file:
        file.write(text.replace("[nonsense]\n", ""))
    pid = int(show("MainPID"))
    held = [int(task) for task in os.listdir(f"/proc/{pid}/task") if named(pid, task).startswith("relevo-shard")]
    for task in held:
        hold(task)
    wait(lambda: "has not moved" in show("StatusText"), "words of a shard that stands still")
    wait(lambda: show("Result") == "watchdog", "the watchdog")

    def started():
        # Who holds a thread has to bury it.
        for task in list(held):
            try:
                os.waitpid(task, 0x40000000 | os.WNOHANG)  # __WALL
            except ChildProcessError:
                held.remove(task)
        return int(show("MainPID")) not in (0, pid)

    wait(started, "a start after that")
    wait(lambda: "ok" in ask("/readyz"), "the relay after that")


class Connecting:
    """A client that comes again and again; each time it is greeted, however long that takes."""

    def __init__(self):
        self.over, self.wrong, self.greeted, self.longest = threading.Event(), [], 0, 0
        self.thread = threading.Thread(target=self.come, daemon=True)
        self.thread.start()

    def come(self):
        while not self.over.is_set():
            began = time.monotonic()
            try:
                client = socket.create_connection(("127.0.0.1", 25), 30)
                greeting = client.makefile("rb").readline()
                if greeting[:3] not in (b"220", b"421"):
                    self.wrong.append(greeting)
                client.close()
                self.greeted += 1
            except OSError as error:
                self.wrong.append(error)
            self.longest = max(self.longest, time.monotonic() - began)
            time.sleep(0.02)

    def end(self, words):
        self.over.set()
        self.thread.join(40)
        print(f"{words}: {self.greeted} connections, the longest wait {self.longest:.2f} s")
        assert not self.wrong and self.greeted > 20, (self.wrong[:5], self.greeted)


def succeeded():
    """Another process takes over: systemd knows it as the service's, hears from it, and stops it."""
    pid, started, clients = int(show("MainPID")), show("NRestarts"), Connecting()
    time.sleep(0.5)
    done = subprocess.run(["relevo", "upgrade"], capture_output=True, text=True, timeout=60)
    print(done.stdout + done.stderr)
    assert done.returncode == 0, done
    wait(lambda: int(show("MainPID")) not in (0, pid), "the new process to be the service's")
    after = int(show("MainPID"))
    wait(lambda: not os.path.exists(f"/proc/{pid}"), "the end of the old process")
    assert f"process {after} " in done.stdout, (after, done.stdout)
    # It says that it lives, or it would be ended by now.
    time.sleep(2 * WATCHDOG)
    assert (int(show("MainPID")), show("ActiveState"), show("SubState"), show("NRestarts")) == (after, "active", "running", started)
    assert show("StatusText").startswith("takes mail"), show("StatusText")
    clients.end("upgrade")
    # A crash of it is seen as one.
    os.kill(after, 9)
    wait(lambda: int(show("MainPID")) not in (0, after), "another start")
    wait(lambda: "ok" in ask("/readyz"), "the relay after a crash of who took over")
    subprocess.run(["systemctl", "stop", "relevo.service"], check=True, timeout=60)
    assert show("Result") == "success", show("Result")


def held():
    """Its ports are systemd's, and it comes and goes."""
    subprocess.run(["systemctl", "start", "relevo.socket"], check=True, timeout=60)
    subprocess.run(["systemctl", "start", "relevo.service"], check=True, timeout=60)
    wait(lambda: "ok" in ask("/readyz"), "the relay")
    clients = Connecting()
    for verb in ("restart", "upgrade", "restart"):
        time.sleep(0.5)
        if verb == "restart":
            subprocess.run(["systemctl", "restart", "relevo.service"], check=True, timeout=60)
        else:
            subprocess.run(["relevo", "upgrade"], check=True, timeout=60, stdout=subprocess.DEVNULL)
        wait(lambda: "ok" in ask("/readyz"), f"the relay after {verb}")
    clients.end("restarts with a socket unit")
    subprocess.run(["systemctl", "stop", "relevo.socket", "relevo.service"], check=True, timeout=60)
    assert show("Result") == "success", show("Result")


def look():
    wait(lambda: "ok" in ask("/readyz"), "the relay")
    pid = int(show("MainPID"))
    status = status_of(pid)
    print({key: status[key] for key in ("Uid", "Seccomp", "NoNewPrivs", "CapEff", "Umask")})
    assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1" and status["Umask"] == "0077"
    assert status["Uid"].split()[0] == "983" and int(status["CapEff"], 16) == 1 << 10
    metrics = ask("/metrics")
    print("the shards run on", re.search(r'relevo_runtime_info\{name="(\w+)"\}', metrics).group(1))
    assert float(re.search(r"(?m)^relevo_process_resident_bytes (\S+)", metrics).group(1)) > 0
    send()
    for path, _, names in [*os.walk("/var/lib/relevo"), *os.walk("/var/log/relevo")]:
        assert os.stat(path).st_mode & 0o777 == 0o700, path
        for name in names:
            assert os.stat(f"{path}/{name}").st_mode & 0o777 == 0o600, name
    wait(lambda: "received" in open("/var/log/relevo/relevo.jsonl").read(), "the log")
    # It knows its own addresses, and sends nothing there that a stranger asks for.
    send("", f"u@[{OWN_ADDRESS}]")
    wait(lambda: "is this machine" in open("/var/log/relevo/relevo.jsonl").read(), "mail to this machine itself to come back")
    # Its threads may stand back.
    shards = [task for task in os.listdir(f"/proc/{pid}/task") if named(pid, task).startswith("relevo-shard")]
    assert any(os.sched_getscheduler(int(task)) == os.SCHED_BATCH for task in shards), shards
    # A crash is followed by a start, and that by an end in order.
    os.kill(pid, 9)
    wait(lambda: int(show("MainPID")) not in (0, pid), "another start")
    wait(lambda: "ok" in ask("/readyz"), "the relay after a crash")
    wait(lambda: 'relevo_spool_messages{shard="0"} 1' in ask("/metrics"), "what was taken")
    supervised()
    succeeded()
    held()
    with open("/run/scratch/words") as file:
        words = file.read()
    # Nothing that it wants is refused.
    refused = [word for word in ("kernel refuses", "cannot read", "not permitted", "not supported") if word in words]
    assert "listening on" in words and not refused, words


def story(verdict):
    words = "well\n"
    try:
        look()
    except BaseException as error:
        words = f"{type(error).__name__}: {error}\n"
        raise
    finally:
        sys.stdout.flush()
        with open(verdict + ".new", "w") as file:
            file.write(words)
        os.rename(verdict + ".new", verdict)


if __name__ == "__main__":
    commands = {"init": init, "story": story}
    if sys.argv[1] in commands:
        commands[sys.argv[1]](sys.argv[2])
    else:
        main(sys.argv[1], sys.argv[2])
