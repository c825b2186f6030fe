"""One process after the other and no connection refused: sockets that a supervisor holds, and a new binary that takes over. Called by tests/peers.rs.

    python3 tests/peers/upgrade.py STORY path/to/relevo
"""
import atexit
import collections
import json
import os
import signal
import smtplib
import socket
import subprocess
import sys
import threading
import time
import urllib.request

from ports import free_port
from relay import Relay
from sink import Sink

BINARY = os.path.abspath(sys.argv[2])
TEXT = "Subject: hello\r\n\r\nA line.\r\n"


def until(what, words, seconds=30):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, words() if callable(words) else words
        time.sleep(0.01)
    return found


class Clients:
    """Some that bring mail all the time, each message over a connection of its own or several over one. What is refused with 421 is brought again: that is
    what the code asks for. All else is written down."""

    def __init__(self, relay, number=4, path=None, tag=""):
        self.tag, self.relay, self.path, self.over, self.lock = tag, relay, path, threading.Event(), threading.Lock()
        self.taken, self.wrong, self.told, self.waits = [], [], 0, []
        self.threads = [threading.Thread(target=self.bring, args=(name,), daemon=True) for name in range(number)]
        [thread.start() for thread in self.threads]

    def connect(self):
        began = time.monotonic()
        client = smtplib.SMTP(timeout=30)
        client.local_hostname = "client.example"
        if self.path:
            client.sock = socket.socket(socket.AF_UNIX)
            client.sock.settimeout(30)
            client.sock.connect(self.path)
            client._host = "x"
            code, words = client.getreply()
        else:
            code, words = client.connect("127.0.0.1", self.relay.port)
        with self.lock:
            self.waits.append(time.monotonic() - began)
        if code == 421:
            client.close()
            raise smtplib.SMTPServerDisconnected("421")
        assert code == 220, (code, words)
        return client

    def bring(self, name):
        count, client, where = 0, None, "at first"
        while not self.over.is_set():
            sender = f"s{self.tag}{name}x{count}@b.example"
            try:
                where = "connecting"
                if client is None:
                    client = self.connect()
                    client.ehlo()
                # Where the relay may end a session, and where not: between two messages alone.
                where = "between messages"
                code, words = client.docmd("MAIL", f"FROM:<{sender}>")
                if code == 421:
                    raise smtplib.SMTPServerDisconnected("421")
                assert code == 250, (code, words)
                where = "in a message"
                for recipient in (f"r{self.tag}{name}x{count}@one.example", f"r{self.tag}{name}x{count}@two.example"):
                    code, words = client.docmd("RCPT", f"TO:<{recipient}>")
                    assert code == 250, (code, words)
                code, words = client.data(TEXT)
                assert code == 250, (code, words)
                with self.lock:
                    self.taken.append(sender)
                count += 1
                where = "between messages"
                if (count + name) % 3 == 0:
                    client.quit()
                    client = None
            except (OSError, smtplib.SMTPException, AssertionError) as error:
                clean = str(error) == "421" or where == "between messages" and self.ended(client, error)
                with self.lock:
                    self.told += clean
                    if not clean:
                        self.wrong.append((where, repr(error), time.monotonic()))
                if client:
                    client.close()
                client = None
                time.sleep(0.02)

    def ended(self, client, error):
        """The 421 was on its way when the client said something: then it is the last that it reads, or its QUIT is in vain."""
        return isinstance(error, (smtplib.SMTPServerDisconnected, ConnectionResetError, BrokenPipeError))

    def stop(self):
        self.over.set()
        [thread.join(60) for thread in self.threads]

    def arrived(self, sink, lost_answers=0, again=0):
        """Everything that was taken arrived: once, but for what SMTP leaves open."""
        wanted = {f"r{sender[1:].split('@')[0]}@{domain}.example" for sender in self.taken for domain in ("one", "two")}
        until(lambda: wanted <= set(sink.recipients()), lambda: f"lost: {sorted(wanted - set(sink.recipients()))[:10]}", 60)
        counts = collections.Counter(sink.recipients())
        twice = [recipient for recipient, count in counts.items() if count > 1]
        more = set(counts) - wanted
        assert len(more) <= 2 * lost_answers and len(twice) <= again, (sorted(more)[:10], twice[:10])


class Passing(Relay):
    """A relay that goes from process to process."""

    def start(self):
        # What is installed at this path may be another one later.
        self.installed = f"{self.directory}/relevo"
        if not os.path.exists(self.installed):
            self.install(BINARY)
        self.binary = self.installed
        super().start()
        self.pids = [self.process.pid]
        atexit.register(self.end_all)

    def install(self, binary):
        if os.path.exists(binary):
            try:
                os.link(binary, f"{self.installed}.new")
            except OSError:
                subprocess.run(["cp", binary, f"{self.installed}.new"], check=True)
        else:
            with open(f"{self.installed}.new", "w") as file:
                file.write(binary)
            os.chmod(f"{self.installed}.new", 0o755)
        os.rename(f"{self.installed}.new", self.installed)

    def end_all(self):
        for pid in self.pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def status(self, timeout=5):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/control/v1/upgrade", timeout=timeout) as answer:
            found = json.load(answer)
        for pid in (found["process"], found["next_process"]):
            if pid and pid not in self.pids:
                self.pids.append(pid)
        return found

    def now(self, pid):
        """Whether this process answers."""
        try:
            return self.status()["process"] == pid and self.ready()
        except (OSError, ValueError):
            return False

    def ready(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/readyz", timeout=5) as answer:
            return answer.status == 200

    def at(self, *stages):
        """Waits until it is at one of these stages of an upgrade."""
        return until(lambda: (found := self.status())["stage"] in stages and found, lambda: "".join(self.words), 20)

    def upgrade(self, code=0):
        done = subprocess.run([BINARY, "upgrade", "--config", f"{self.directory}/relevo.toml", "--json"], capture_output=True, text=True, timeout=120)
        assert done.returncode == code, (done, "".join(self.words))
        return json.loads(done.stdout)

    def end(self):
        """The process that serves now is told to stop, and ends well."""
        pid = self.status()["process"]
        os.kill(pid, signal.SIGTERM)
        until(lambda: not alive(pid), "it does not end", 45)
        assert not any("panick" in word for word in self.words), "".join(self.words)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def binaries_take_over_and_refuse_nobody():
    sink = Sink()
    path = f"/tmp/relevo-upgrade-{os.getpid()}.sock"
    relay = Passing(BINARY, sink, listener=f'[[listener]]\naddress = "unix:{path}"\n')
    clients, local = Clients(relay, 6), Clients(relay, 2, path)
    first, waited = relay.process.pid, []
    for turn in range(int(os.environ.get("RELEVO_UPGRADES", "4"))):
        time.sleep(0.5)
        before = relay.status()["process"]
        # More shards than sockets, and fewer: all of these are accepted from.
        relay.shards = (4, 1, 3, 2)[turn % 4]
        relay.write()
        if turn % 2:
            os.kill(before, signal.SIGUSR2)
            until(lambda: (found := quiet(relay)) and found["process"] != before and found["stage"] == "done", lambda: "".join(relay.words), 60)
            done = relay.status()
        else:
            done = relay.upgrade()
        assert done["process"] != before and done["stage"] == "done", done
        waited.append(done["waited_seconds"])
        until(lambda: not alive(before), "the old process stays")
    assert relay.process.wait(10) == 0, "the first process ended well"
    time.sleep(0.5)
    for those in (clients, local):
        those.stop()
        assert not those.wrong, (those.wrong[:10], "".join(relay.words))
    assert len(clients.taken) > 100 and len(local.taken) > 20, (len(clients.taken), len(local.taken))
    print(f"{len(clients.taken)} and {len(local.taken)} messages, {clients.told + local.told} sessions told 421, waits {waited}, the longest of a client {max(clients.waits):.2f} s")
    assert max(waited) < 15 and os.path.exists(path)
    clients.taken += local.taken
    # Those of the path have the same names.
    wanted = {f"r{sender[1:].split('@')[0]}@{domain}.example" for sender in clients.taken for domain in ("one", "two")}
    until(lambda: wanted <= set(sink.recipients()), "mail is missing", 60)
    assert len(sink.recipients()) == 2 * len(clients.taken), (len(sink.recipients()), len(clients.taken))
    assert first not in [pid for pid in relay.pids if alive(pid)]
    relay.end()
    assert not os.path.exists(path)


def quiet(relay):
    try:
        return relay.status()
    except (OSError, ValueError):
        return None


FAILS_CHECK = "#!/bin/sh\nif [ \"$1\" = check ]; then echo 'relevo: it likes nothing' >&2; exit 1; fi\nexec {} \"$@\"\n"
DIES = "#!/bin/sh\nif [ \"$1\" = run ]; then exit 3; fi\nexec {} \"$@\"\n"
LATE = "#!/bin/sh\nif [ \"$1\" = run ]; then exec {0} run --config {1}/late.toml; fi\nexec {0} \"$@\"\n"
SILENT = "#!/bin/sh\nif [ \"$1\" = run ]; then exec sleep 100; fi\nexec {} \"$@\"\n"


def whoever_fails_leaves_the_other_serving():
    sink, path = Sink(), f"/tmp/relevo-fails-{os.getpid()}.sock"
    relay = Passing(BINARY, sink, listener=f'[[listener]]\naddress = "unix:{path}"\n')
    clients, pid = Clients(relay), relay.process.pid
    for script, words in ((FAILS_CHECK, "it likes nothing"), (DIES, "ended before it was ready"), ("no program\n", "")):
        relay.install(script.format(BINARY))
        done = relay.upgrade(code=1)
        assert done["process"] == pid and done["stage"] == "failed" and words in done["problem"], done
    # One that hangs is ended with the upgrade, when the relay is told to stop or it is killed.
    relay.install(SILENT.format(BINARY))
    os.kill(pid, signal.SIGUSR2)
    silent = relay.at("preparing")
    silent = until(lambda: relay.status()["next_process"], "it is not started") if not silent["next_process"] else silent["next_process"]
    os.kill(pid, signal.SIGHUP)
    assert relay.told("an upgrade is under way")
    os.kill(silent, signal.SIGKILL)
    assert relay.at("failed")["process"] == pid
    relay.install(BINARY)
    # Killed while what is under way ends: the old one goes on as if nothing had been.
    os.kill(pid, signal.SIGUSR2)
    os.kill(relay.at("resting")["next_process"], signal.SIGKILL)
    assert relay.at("failed")["process"] == pid
    taken = len(sink.taken)
    until(lambda: len(sink.taken) > taken + 10, "nothing is delivered any more")
    assert not clients.wrong, clients.wrong
    # Killed when the old one has let go of everything: that begins anew, as the same process.
    os.kill(pid, signal.SIGUSR2)
    child = relay.at("resting")["next_process"]
    until(lambda: relay.told("takes over", str(child), seconds=0), "it does not take over")
    os.kill(child, signal.SIGKILL)
    until(lambda: relay.now(pid), lambda: "".join(relay.words), 40)
    assert relay.told("this one began anew") and relay.status()["stage"] == "failed"
    assert not clients.wrong, (clients.wrong, "".join(relay.words))
    # One that does not start when it has the spool: the files of Unix sockets are still those of the old one.
    with open(f"{relay.directory}/relevo.toml") as file, open(f"{relay.directory}/late.toml", "w") as late:
        late.write(file.read().replace(f'path = "{relay.directory}/log.jsonl"', 'path = "/dev/null/log.jsonl"'))
    relay.install(LATE.format(BINARY, relay.directory))
    done = relay.upgrade(code=1)
    assert done["process"] == pid and "began anew" in done["problem"] and relay.told("did not take over"), relay.words
    relay.install(BINARY)
    local = Clients(relay, 1, path, "p")
    until(lambda: local.taken, "nobody is served at the path")
    local.stop()
    clients.taken += local.taken
    # And hands over as ever.
    assert relay.upgrade()["process"] != pid
    clients.stop()
    assert not clients.wrong, (clients.wrong, "".join(relay.words))
    print(len(clients.taken), "messages,", clients.told, "told 421, the longest wait", round(max(clients.waits), 2))
    clients.arrived(sink)
    relay.end()


def a_kill_of_the_old_process_loses_nothing():
    for stage in ("preparing", "resting", "handing_over"):
        sink = Sink()
        relay = Passing(BINARY, sink)
        clients, pid = Clients(relay), relay.process.pid
        time.sleep(0.5)
        if stage == "preparing":
            # It is slow to begin.
            relay.install(f'#!/bin/sh\nif [ "$1" = run ]; then sleep 1; fi\nexec {BINARY} "$@"\n')
        os.kill(pid, signal.SIGUSR2)
        if stage == "handing_over":
            child = relay.at("resting")["next_process"]
            until(lambda: relay.told("takes over", str(child), seconds=0), "it does not take over")
        else:
            relay.at(stage)
            child = until(lambda: relay.status()["next_process"], "nothing is started")
        os.kill(pid, signal.SIGKILL)
        relay.process.wait()
        if stage == "preparing":
            # It has no sockets, or all: then it serves.
            time.sleep(3)
            if not alive(child):
                clients.stop()
                relay.start()
                clients.arrived(sink, lost_answers=len(clients.wrong), again=20)
                relay.stop()
                continue
        until(lambda: relay.now(child), lambda: "".join(relay.words), 40)
        time.sleep(1)
        clients.stop()
        refused = [one for one in clients.wrong if "Refused" in one[1]]
        assert not refused, (stage, refused)
        # Each client may have lost one answer with the process.
        assert len(clients.wrong) <= 2 * len(clients.threads), clients.wrong
        print(stage, len(clients.taken), "messages,", len(clients.wrong), "cut off, the longest wait", round(max(clients.waits), 2))
        clients.arrived(sink, lost_answers=len(clients.wrong), again=40)
        relay.end()


def a_stop_in_an_upgrade_is_a_stop():
    for stage in ("resting", "handing_over"):
        relay = Passing(BINARY, Sink())
        pid = relay.process.pid
        os.kill(pid, signal.SIGUSR2)
        child = relay.at("resting")["next_process"]
        if stage == "handing_over":
            until(lambda: relay.told("takes over", str(child), seconds=0), "it does not take over")
        os.kill(pid, signal.SIGTERM)
        assert relay.process.wait(30) == 0, "".join(relay.words)
        until(lambda: not alive(child), f"the new process stays, stopped when {stage}")


def a_message_that_was_begun_is_ended_before_a_stop():
    sink = Sink()
    relay = Relay(BINARY, sink)
    begun, silent, idle = relay.client(), relay.client(), relay.client()
    for client, recipient in ((begun, "begun"), (silent, "silent")):
        client.ehlo()
        client.mail("a@b.example")
        client.rcpt(f"{recipient}@d.example")
    idle.ehlo()
    at = time.monotonic()
    relay.process.terminate()
    code, _ = idle.getreply()
    assert code == 421 and time.monotonic() - at < 3, code
    time.sleep(1.5)
    code, words = begun.data(TEXT)
    assert code == 250, (code, words)
    # Who is silent in the middle of a message does not hold it up.
    code, _ = silent.getreply()
    waited = time.monotonic() - at
    assert code == 421 and 4 < waited < 9, (code, waited)
    assert relay.process.wait(30) == 0 and time.monotonic() - at < 15, "".join(relay.words)
    if not sink.recipients():
        relay.start()
        sink.wait(1)
        relay.stop()
    assert sink.recipients() == ["begun@d.example"], sink.recipients()


class Supervised(Relay):
    """Its sockets are another's, who passes them to each process."""

    def __init__(self, *arguments, given, **more):
        self.given = given
        super().__init__(*arguments, **more)

    def start(self):
        names = ":".join(name for name, _ in self.given)
        descriptors = [held.fileno() for _, held in self.given]
        # As descriptors from 3 on, whatever they are here.
        spare = " ".join(f"{200 + number}<&{descriptor}" for number, descriptor in enumerate(descriptors))
        moved = " ".join(f"{3 + number}<&{200 + number} {200 + number}<&-" for number in range(len(descriptors)))
        script = f'exec {spare}; exec {moved}; export LISTEN_PID=$$ LISTEN_FDS={len(descriptors)} LISTEN_FDNAMES={names}; exec "$@"'
        self.wrap = ["bash", "-c", script, "supervisor"]
        popen = subprocess.Popen
        subprocess.Popen = lambda *arguments, **more: popen(*arguments, **more, pass_fds=descriptors)
        try:
            super().start()
        finally:
            subprocess.Popen = popen


def tcp(port):
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", port))
    held.listen(1000)
    return held


def sockets_of_a_supervisor_outlive_the_process():
    sink = Sink()
    path = f"/tmp/relevo-supervised-{os.getpid()}.sock"
    local = socket.socket(socket.AF_UNIX)
    local.bind(path)
    local.listen(100)
    port, http, stray = free_port(), free_port(), free_port()
    # In another order than in the configuration, and one that is in nobody's.
    given = [("stray", tcp(stray)), ("path", local), ("web", tcp(http)), ("smtp", tcp(port))]
    relay = Supervised.__new__(Supervised)
    ports = iter((port, http))
    import relay as module
    kept, module.free_port = module.free_port, lambda: next(ports)
    try:
        relay.__init__(BINARY, sink, listener=f'[[listener]]\naddress = "unix:{path}"\n', given=given, shards=3)
    finally:
        module.free_port = kept
    assert relay.told("gave a socket for", f"127.0.0.1:{stray}", "stray", "no listener")
    assert not relay.told("no listener", f"127.0.0.1:{port} ", seconds=0)
    clients, others = Clients(relay, 6), Clients(relay, 2, path)
    for _ in range(3):
        time.sleep(0.7)
        relay.process.terminate()
        assert relay.process.wait(45) == 0
        assert os.path.exists(path), "its file is the supervisor's"
        relay.start()
    time.sleep(0.7)
    for those in (clients, others):
        those.stop()
        assert not those.wrong, (those.wrong[:10], "".join(relay.words))
        assert len(those.taken) > 20, len(those.taken)
    print(f"{len(clients.taken)} and {len(others.taken)} messages, {clients.told + others.told} told 421, the longest wait {max(clients.waits):.2f} s")
    wanted = {f"r{sender[1:].split('@')[0]}@{domain}.example" for sender in clients.taken + others.taken for domain in ("one", "two")}
    until(lambda: wanted <= set(sink.recipients()), "mail is missing", 60)
    # Each shard takes of the one socket. Whose turn it is the kernel says, which asks who waits: on a busy machine it takes more of them until all had theirs.
    end = time.monotonic() + 60
    while True:
        for _ in range(30):
            relay.send("a@b.example", ["c@d.example"], TEXT)
        with urllib.request.urlopen(f"http://127.0.0.1:{relay.http}/metrics", timeout=10) as answer:
            lines = [line for line in answer.read().decode().splitlines() if line.startswith("relevo_connections_accepted_total{")]
        took = [float(line.rsplit(" ", 1)[1]) for line in lines]
        assert len(took) == 3 and time.monotonic() < end, lines
        if min(took) >= 5:
            break
    # What is wrong with it is told before anything is opened.
    relay.process.terminate()
    relay.process.wait(45)
    with open("/dev/null") as nothing:
        relay.given = [("nothing", nothing)]
        try:
            relay.start()
            assert False, "it started"
        except AssertionError:
            pass
    assert relay.process.wait(10) == 1 and relay.told("nothing", "is no socket", "ListenStream="), relay.words
    os.remove(path)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
