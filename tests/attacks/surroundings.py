"""Standard error, the log, the disk and control's HTTP, each treated as badly as they are out there: `surroundings.py STORY BINARY`."""
import atexit
import errno
import fcntl
import json
import os
import resource
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "peers"))

from relay import free_port  # noqa: E402
from sink import Sink  # noqa: E402

BINARY = os.path.abspath(sys.argv[2])


class Plain:
    """A relay whose standard error and log are the story's own."""

    def __init__(self, stderr=None, log=None, more="", route=None, shards=2, data_dir=None, shell=None, wrap=()):
        self.directory = tempfile.mkdtemp(prefix="relevo-attack-")
        self.port, self.http, self.sink = free_port(), free_port(), Sink()
        self.log_path = log or f"{self.directory}/log.jsonl"
        self.data_dir = data_dir or f"{self.directory}/spool"
        route = route or f'[[route]]\ndomain = "*"\nto = "smtp://127.0.0.1:{self.sink.port}"\n'
        self.config = f"{self.directory}/relevo.toml"
        with open(self.config, "w") as file:
            file.write(
                f'[node]\nhostname = "relay.example"\ndata_dir = "{self.data_dir}"\nshards = {shards}\n'
                f'[[listener]]\naddress = "127.0.0.1:{self.port}"\n{route}\n[log]\npath = "{self.log_path}"\n'
                f'[control]\nhttp = "127.0.0.1:{self.http}"\n[spool]\nsegment_size = "4MiB"\n{more}\n'
            )
        command = [*wrap, BINARY, "run", "--config", self.config]
        if shell:
            command = ["sh", "-c", f'exec {BINARY} run --config {self.config} {shell}']
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr)
        # A story that fails must not leave its relay behind.
        atexit.register(self.process.kill)

    def wait_ready(self, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.process.poll() is None, f"it ended with {self.process.returncode}"
            try:
                if self.ask("/readyz")[0] == 200:
                    return self
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError("it did not become ready")

    def ask(self, path, timeout=5):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=timeout) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name):
        lines = self.ask("/metrics")[1].splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.split("{")[0] == f"relevo_{name}")

    def send(self, recipient="b@good.example", count=1, expect=(250,)):
        """Messages over one connection; the last reply codes."""
        client = socket.create_connection(("127.0.0.1", self.port), 20)
        lines, codes = client.makefile("rb"), []

        def reply():
            while True:
                line = lines.readline()
                assert line, "the relay hung up"
                if line[3:4] != b"-":
                    return int(line[:3])

        reply()
        client.sendall(b"EHLO c.example\r\n")
        reply()
        for number in range(count):
            client.sendall(b"MAIL FROM:<a@c.example>\r\n")
            code = reply()
            if code == 250:
                client.sendall(b"RCPT TO:<%s>\r\nDATA\r\n" % recipient.format(number).encode())
                reply()
                reply()
                client.sendall(b"Subject: x\r\n\r\n" + b"x" * 60 + b"\r\n.\r\n")
                code = reply()
            codes.append(code)
            assert code in expect, f"answered {code}"
        client.close()
        return codes

    def wait_delivered(self, count, seconds=20):
        end = time.monotonic() + seconds
        while len(self.sink.taken) < count:
            assert time.monotonic() < end, f"{len(self.sink.taken)} of {count} delivered"
            time.sleep(0.05)

    def stop(self, seconds=8):
        """SIGTERM: it ends well, and soon."""
        begun = time.monotonic()
        self.process.terminate()
        code = self.process.wait(seconds)
        assert code == 0, f"exit code {code}"
        return time.monotonic() - begun

    def records(self):
        with open(self.log_path) as file:
            return [json.loads(line) for line in file]


SITES = 400


def storm_route(port):
    """Next hops that refuse, each a site of its own, and one that takes mail."""
    hop = lambda number: f"127.1.{number // 200}.{number % 200 + 1}:9"
    routes = [f'[[route]]\ndomain = "n{n}.down.example"\nto = "smtp://{hop(n)}"\n' for n in range(SITES)]
    return "".join(routes) + f'[[route]]\ndomain = "*"\nto = "smtp://127.0.0.1:{port}"\n'


def full_pipe():
    """A pipe that nobody reads and that takes no more."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETFL, os.O_NONBLOCK)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        pass
    fcntl.fcntl(writer, fcntl.F_SETFL, 0)
    return reader, writer


def storm(relay):
    """Hundreds of sites that fail, and mail that goes on."""
    relay.send("u@n{}.down.example", SITES)
    relay.send(count=50)
    relay.wait_delivered(50)


def nobody_reads_standard_error():
    reader, writer = full_pipe()
    sink = Sink()
    relay = Plain(stderr=writer, route=storm_route(sink.port)).wait_ready()
    relay.sink = sink
    storm(relay)
    assert relay.ask("/healthz")[0] == 200
    took = relay.stop()
    print(f"stopped after {took:.1f} s")
    os.close(reader)


def nobody_reads_a_socket_either():
    """As under systemd, whose journal is a socket."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    try:
        while True:
            theirs.send(b"x" * 4096, socket.MSG_DONTWAIT)
    except BlockingIOError:
        pass
    sink = Sink()
    relay = Plain(stderr=theirs.fileno(), route=storm_route(sink.port)).wait_ready()
    relay.sink = sink
    storm(relay)
    relay.stop()


def standard_error_is_closed_or_full():
    reader, hung_up = os.pipe()
    os.close(reader)
    for shell, stderr in (("2>&-", None), ("2>/dev/full", None), (None, hung_up)):
        sink = Sink()
        relay = Plain(stderr=stderr, shell=shell, route=storm_route(sink.port)).wait_ready()
        relay.sink = sink
        storm(relay)
        assert relay.metric("panics_total") == 0
        # What is closed before the start is /dev/null to the process, and takes all.
        assert shell == "2>&-" or relay.metric("diagnostics_dropped_total") > 0
        relay.stop()


def a_storm_is_told_as_a_number():
    with tempfile.TemporaryFile() as errors:
        sink = Sink()
        relay = Plain(stderr=errors, route=storm_route(sink.port)).wait_ready()
        relay.sink = sink
        storm(relay)
        relay.stop(20)
        errors.seek(0)
        lines = errors.read().decode().splitlines()
    down = [line for line in lines if "cannot connect" in line]
    told = [line for line in lines if "more like this" in line]
    assert 0 < len(down) < 100 and told, (len(down), lines[-5:])
    for line in lines:
        time_, level, words = line.split(" ", 2)
        assert time_.endswith("Z") and level in ("info", "warning", "error"), line
    print(f"{len(lines)} lines, of sites {len(down)}; {told[-1]}")


def a_log_that_is_a_pipe():
    """Without a reader it neither holds up the start nor the mail nor the stop; with one it gets whole records."""
    directory = tempfile.mkdtemp()
    path = f"{directory}/pipe"
    os.mkfifo(path)
    relay = Plain(stderr=subprocess.DEVNULL, log=path).wait_ready()
    relay.send(count=400)
    relay.wait_delivered(400)
    assert relay.ask("/healthz")[0] == 200
    began = time.monotonic()
    relay.stop()
    assert time.monotonic() - began < 8, "nobody is waited for who does not read"
    relay = Plain(stderr=subprocess.DEVNULL, log=path, data_dir=relay.data_dir)
    got = bytearray()

    def read():
        reader = os.open(path, os.O_RDONLY)
        while piece := os.read(reader, 1000):
            got.extend(piece)

    reading = threading.Thread(target=read)
    reading.start()
    relay.wait_ready()
    relay.send(count=400)
    relay.wait_delivered(400)
    relay.stop()
    reading.join(10)
    records = [json.loads(line) for line in got.decode().splitlines()]
    received = sum(record["event"] == "received" for record in records)
    assert received == 800, f"{received}: what nobody read waits in the journal"
    assert len({record["event_id"] for record in records}) == len(records), "none comes twice"
    assert stat.S_ISFIFO(os.stat(path).st_mode)


def a_log_that_cannot_be():
    directory = tempfile.mkdtemp()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{directory}/socket")
        for path in (directory, f"{directory}/socket", "/proc/none/log"):
            relay = Plain(stderr=subprocess.PIPE, log=path)
            words = relay.process.communicate(timeout=20)[1].decode()
            assert relay.process.returncode == 1 and path in words and "log.path" in words, words


class SmallDisk:
    """A tmpfs of so many bytes."""

    def __init__(self, size):
        if os.geteuid() != 0:
            print("skipped: mounting a small file system needs root")
            sys.exit(0)
        self.at = tempfile.mkdtemp(prefix="relevo-small-")
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "small", self.at], check=True)

    def fill(self):
        """All that is left."""
        with open(f"{self.at}/filler", "wb", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError as error:
                    assert error.errno == errno.ENOSPC

    def free(self):
        os.remove(f"{self.at}/filler")

    def unmount(self):
        subprocess.run(["umount", "-l", self.at], check=True)


def a_log_on_a_full_disk_has_no_torn_lines():
    disk = SmallDisk("256k")
    try:
        relay = Plain(stderr=subprocess.DEVNULL, log=f"{disk.at}/log.jsonl").wait_ready()
        # More than it holds: the disk becomes full in the middle of a record.
        sent = 0
        for _ in range(8):
            relay.send(count=200)
            sent += 200
        relay.wait_delivered(sent, 40)
        time.sleep(1)
        before = relay.records()
        assert len(before) < 2 * sent, "the disk was not full: the story tells nothing"
        with open(relay.log_path, "rb") as file:
            assert file.read().endswith(b"}\n")
        # Room again.
        subprocess.run(["mount", "-o", "remount,size=16m", disk.at], check=True)
        end = time.monotonic() + 5
        while len(relay.records()) < 2 * sent:
            assert time.monotonic() < end, (len(relay.records()), relay.metric("accounting_dropped_total"))
            time.sleep(0.1)
        assert relay.metric("accounting_dropped_total") == 0
        relay.stop()
        assert len(relay.records()) == 2 * sent
    finally:
        disk.unmount()


def what_a_full_disk_refuses_the_next_start_writes():
    disk = SmallDisk("1m")
    try:
        log = f"{disk.at}/log.jsonl"
        relay = Plain(stderr=subprocess.PIPE, log=log).wait_ready()
        disk.fill()
        relay.send(count=100)
        relay.wait_delivered(100)
        time.sleep(0.5)
        assert len(relay.records()) < 200, "the disk was not full: the story tells nothing"
        relay.process.terminate()
        words = relay.process.communicate(timeout=20)[1].decode()
        assert relay.process.returncode == 0, words
        assert "cannot be written" in words and "the rest stays in the journal" in words, words
        disk.free()
        relay = Plain(stderr=subprocess.DEVNULL, log=log, data_dir=relay.data_dir).wait_ready()
        end = time.monotonic() + 10
        while len(relay.records()) < 200:
            assert time.monotonic() < end, len(relay.records())
            time.sleep(0.1)
        relay.stop()
        assert len(relay.records()) == 200
    finally:
        disk.unmount()


def the_log_is_opened_again_by_a_signal():
    relay = Plain(stderr=subprocess.DEVNULL).wait_ready()
    relay.send()
    relay.wait_delivered(1)
    time.sleep(0.5)
    os.rename(relay.log_path, relay.log_path + ".1")
    relay.process.send_signal(signal.SIGUSR1)
    end = time.monotonic() + 0.8
    while not os.path.exists(relay.log_path):
        assert time.monotonic() < end, "not opened again"
        time.sleep(0.01)
    assert stat.S_IMODE(os.stat(relay.log_path).st_mode) == 0o600
    relay.stop()


def signals_of_others_end_nothing():
    """A slip of the operator ends no relay; SIGHUP is answered, too. SIGUSR2 is no slip: another process takes over (tests/peers/upgrade.py)."""
    relay = Plain().wait_ready()
    no_slip = {signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGINT}
    # What a fault raises, and SIGQUIT, end with a core; these stop a job of a terminal.
    no_slip |= {signal.SIGQUIT, signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGSEGV, signal.SIGSYS}
    no_slip |= {signal.SIGXCPU, signal.SIGTSTP, signal.SIGUSR2}
    for slip in sorted(signal.valid_signals() - no_slip):
        relay.process.send_signal(slip)
        time.sleep(0.02)
        assert relay.process.poll() is None, f"signal {slip} ended it"
    relay.send()
    relay.wait_delivered(1)
    relay.stop()


def descriptors_used_up():
    """With none left, questions are answered and the log is rotated."""
    relay = Plain(stderr=subprocess.DEVNULL, shell="2>/dev/null").wait_ready()
    relay.send()
    relay.wait_delivered(1)
    used = len(os.listdir(f"/proc/{relay.process.pid}/fd"))
    resource.prlimit(relay.process.pid, resource.RLIMIT_NOFILE, (used, used))
    os.rename(relay.log_path, relay.log_path + ".1")
    relay.process.send_signal(signal.SIGUSR1)
    end = time.monotonic() + 3
    while not os.path.exists(relay.log_path):
        assert time.monotonic() < end, "not opened again"
        time.sleep(0.01)
    for _ in range(20):
        status, words = relay.ask("/metrics")
        assert status == 200 and "relevo_process_resident_bytes" in words
        resident = [line for line in words.splitlines() if line.startswith("relevo_process_resident_bytes ")]
        assert float(resident[0].split()[1]) > 0, resident
    relay.stop()


def no_room_is_said():
    """A full data directory: 452, and the words how much is wanted where; mail is taken within seconds of room."""
    disk = SmallDisk("26m")
    try:
        errors = tempfile.TemporaryFile()
        # Nothing leaves, so that nothing is freed.
        route = '[[route]]\ndomain = "*"\nto = "smtp://127.1.0.1:9"\n'
        relay = Plain(stderr=errors, data_dir=f"{disk.at}/spool", shards=1, route=route).wait_ready()
        disk.fill()
        codes, end = [], time.monotonic() + 60
        body = (b"x" * 70 + b"\r\n") * 800
        while 452 not in codes:
            assert time.monotonic() < end
            codes.append(big(relay, body))
        time.sleep(2.5)
        status, words = relay.ask("/readyz")
        assert status == 503 and "lane 0 needs a new segment of 4MiB in" in words and disk.at in words, (status, words)
        assert "MiB are free" in words and "free" in words, words
        assert relay.ask("/healthz")[0] == 200
        disk.free()
        begun = time.monotonic()
        while big(relay, body) != 250:
            assert time.monotonic() < begun + 5, "there is room, and mail is refused"
            time.sleep(0.1)
        took = time.monotonic() - begun
        end = time.monotonic() + 4
        while relay.ask("/readyz")[0] != 200:
            assert time.monotonic() < end
            time.sleep(0.1)
        # Said when it is looked for next; who asks is told before.
        while "mail is taken again" not in (said := read_all(errors)):
            assert time.monotonic() < end, said
            time.sleep(0.1)
        assert "mail is refused for now" in said, said
        relay.stop(40)
        print(f"mail again {took:.1f} s after there was room")
    finally:
        disk.unmount()


def read_all(file):
    """What stands in a file that somebody else writes to at its end."""
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode()


def big(relay, body):
    """One message of many lines, kept in the queue; its last reply."""
    client = socket.create_connection(("127.0.0.1", relay.port), 20)
    lines = client.makefile("rb")

    def reply():
        while True:
            line = lines.readline()
            if line[3:4] != b"-":
                return int(line[:3] or 0)

    reply()
    for command in (b"EHLO c.example", b"MAIL FROM:<a@c.example>"):
        client.sendall(command + b"\r\n")
        code = reply()
        if code != 250:
            return code
    client.sendall(b"RCPT TO:<b@held.example>\r\nDATA\r\n")
    reply()
    reply()
    client.sendall(b"Subject: x\r\n\r\n" + body + b"\r\n.\r\n")
    return reply()


def half_requests():
    """Three thousand of them hold little, not for long, and nobody up."""
    relay = Plain(stderr=subprocess.DEVNULL).wait_ready()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    before = relay.metric("process_anonymous_bytes")
    halves = []
    for number in range(3000):
        half = socket.create_connection(("127.0.0.1", relay.http), 20)
        half.sendall((b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * 4000) if number % 2 else b"G")
        halves.append(half)
    times = []
    for _ in range(20):
        begun = time.monotonic()
        assert relay.ask("/readyz")[0] == 200
        times.append(time.monotonic() - begun)
    grown = relay.metric("process_anonymous_bytes") - before
    descriptors = len(os.listdir(f"/proc/{relay.process.pid}/fd"))
    print(f"3000 half requests: {grown / 1e6:.1f} MB more, {descriptors} descriptors, slowest answer {max(times):.3f} s")
    assert grown < 8e6 and descriptors < 200 and max(times) < 1
    time.sleep(11)
    assert len(os.listdir(f"/proc/{relay.process.pid}/fd")) < descriptors - 50, "they are gone after their deadline"
    relay.stop()


def a_body_that_never_comes():
    """A whole header section and no end of the request, or nobody who reads the answer."""
    relay = Plain(stderr=subprocess.DEVNULL).wait_ready()
    with socket.create_connection(("127.0.0.1", relay.http), 40) as client:
        client.sendall(b"POST /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\nx")
        assert client.recv(100).startswith(b"HTTP/1.1 405")
        begun = time.monotonic()
        while client.recv(4096):
            pass
        assert time.monotonic() - begun < 32
    relay.stop()


def names_of_others_are_refused():
    relay = Plain(stderr=subprocess.DEVNULL).wait_ready()

    def status(request):
        with socket.create_connection(("127.0.0.1", relay.http), 10) as client:
            client.sendall(request.replace(b"\n", b"\r\n") + b"\r\n\r\n")
            return int(client.recv(100).split()[1])

    for host, wanted in (
        (b"127.0.0.1:%d" % relay.http, 200),
        (b"localhost", 200),
        (b"relay.example:1", 200),
        (b"[::1]:8025", 200),
        (b"rebound.example", 421),
        (b"127.0.0.1.rebound.example", 421),
        (b"", 421),
    ):
        assert status(b"GET /healthz HTTP/1.1\nHost: " + host) == wanted, host
    assert status(b"GET /healthz HTTP/1.1\nX: y") == 400
    assert status(b"GET /healthz HTTP/1.1\nHost: localhost\nHost: rebound.example") == 400
    assert status(b"GET http://rebound.example/healthz HTTP/1.1\nHost: localhost") == 421
    assert status(b"GET /healthz HTTP/1.0") == 200
    relay.stop()


def modes_whatever_the_umask():
    for umask in (0o000, 0o022, 0o277):
        directory = tempfile.mkdtemp()
        before = os.umask(umask)
        try:
            relay = Plain(stderr=subprocess.DEVNULL, data_dir=f"{directory}/deep/spool", log=f"{directory}/logs/log")
        finally:
            os.umask(before)
        relay.wait_ready()
        relay.send()
        relay.wait_delivered(1)
        relay.stop()
        open_to_others(f"{directory}/deep")
        open_to_others(f"{directory}/logs")
        # As an older version left it.
        for path, _, names in os.walk(f"{directory}/deep/spool"):
            os.chmod(path, 0o755)
            for name in names:
                os.chmod(f"{path}/{name}", 0o644)
        os.chmod(f"{directory}/logs/log", 0o640)
        with open(relay.config) as file:
            text = file.read()
        check = subprocess.run([BINARY, "check", "--config", relay.config], capture_output=True, text=True)
        assert "can be read by others" in check.stdout + check.stderr, check
        with open(relay.config, "w") as file:
            file.write(text)
        with tempfile.TemporaryFile() as errors:
            relay.process = subprocess.Popen([BINARY, "run", "--config", relay.config], stderr=errors)
            relay.wait_ready()
            relay.stop()
            errors.seek(0)
            words = errors.read().decode()
        assert "could be read by others" in words, words
        open_to_others(f"{directory}/deep")
        open_to_others(f"{directory}/logs")


def open_to_others(directory):
    for path, _, names in os.walk(directory):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o700, path
        for name in names:
            assert stat.S_IMODE(os.stat(f"{path}/{name}").st_mode) == 0o600, f"{path}/{name}"


def stops_whatever_hangs():
    """One in the middle of a start ends it; a second one in the middle of a stop ends that at once."""
    relay = Plain(stderr=subprocess.DEVNULL)
    time.sleep(0.05)
    relay.process.terminate()
    assert relay.process.wait(5) in (0, -signal.SIGTERM), "in the middle of a start"
    silent = socket.create_server(("127.0.0.1", 0))
    route = f'[[route]]\ndomain = "*"\nto = "smtp://127.0.0.1:{silent.getsockname()[1]}"\n'
    relay = Plain(stderr=subprocess.PIPE, route=route).wait_ready()
    relay.send()
    time.sleep(1)
    # Whoever signals a process and its group says it twice: that is one stop.
    for _ in range(3):
        relay.process.terminate()
        relay.process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    time.sleep(1.2)
    assert relay.process.poll() is None, "what is under way is waited for"
    status, words = relay.ask("/readyz")
    assert status == 503 and "draining" in words, words
    relay.process.terminate()
    words = relay.process.communicate(timeout=3)[1].decode()
    assert relay.process.returncode == 1 and "once more" in words, words


if __name__ == "__main__":
    globals()[sys.argv[1]]()
