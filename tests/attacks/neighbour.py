"""A well-behaved session, and how an attack is judged by it.

An attacker's own CPU must not count: on shared cores it slows whoever is there. So two relays run side by side, `attacked` and `beside`, and the
well-behaved session always talks to the first. In turn, some rounds, the same attack is thrown at the second (what it costs to have it on the
same cores) and at the first (what it costs to be in one process with it). What counts is the ratio of the two.

    def my_attack(target, stop): ...        # runs in a process of its own until stop.is_set()
    pair = Pair(BINARY, listener=..., more=...)
    result = measure(pair, my_attack)
    result.judge()
    pair.stop()

The session hands in small messages at a fixed rate, an open loop: the next one is due whether the last was answered or not. Two times of each are taken:
from when it was due to the 250 behind its dot (`accept`), and to its arrival at the next hop (`deliver`).
"""
import multiprocessing
import os
import re
import socket
import statistics
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "peers"))

from relay import Relay, free_port  # noqa: E402
from sink import Sink  # noqa: E402

BINARY = os.path.abspath(sys.argv[2]) if len(sys.argv) > 2 else None
GOOD = "good.example"
RATE = 50  # messages a second
# RELEVO_STRICT=1, on a quiet machine and with a release build, holds each story to the goal. Without it a debug build on whatever machine
# there is must not fail for its noise: then only attacks that hold others up for seconds are found.
STRICT = bool(os.environ.get("RELEVO_STRICT"))
SLACK = 0.010 if STRICT else 1.5


class Target:
    """What an attack is given: where to throw it. It crosses into another process, so it is plain data."""

    def __init__(self, relay):
        self.port, self.http, self.pid, self.directory = relay.port, relay.http, relay.process.pid, relay.directory
        self.ports = getattr(relay, "ports", {})

    def open(self, port=None, source=None, timeout=30):
        """A connection, from an address of 127.0.0.0/8 if one is given; `port` is a name of the pair's."""
        address = ("127.0.0.1", self.ports[port] if port else self.port)
        client = socket.create_connection(address, timeout, (source, 0) if source else None)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def connect(self, source=None, timeout=30):
        """One after its greeting."""
        client = self.open(None, source, timeout)
        client.recv(1024)
        return client


class Pair:
    """Two relays of one configuration, each with a next hop of its own for good.example. `more` and `route` may hold {sink}, the port of that,
    and `more` free ports by any other name, as {tls}."""

    def __init__(self, binary=None, listener="", more="", route="", shards=2, wrap=()):
        binary = binary or BINARY
        self.relays, self.sinks = [], []
        for _ in range(2):
            sink = Arrivals()
            routes = f'[[route]]\ndomain = "{GOOD}"\nto = "smtp://127.0.0.1:{sink.port}"\n' + route.replace("{sink}", str(sink.port))
            self.sinks.append(sink)
            ports = {name: sink.port if name == "sink" else free_port() for name in re.findall(r"{(\w+)}", more)}
            own = re.sub(r"{(\w+)}", lambda found: str(ports[found[1]]), more)
            self.relays.append(Relay(binary, sink, own, listener, routes, shards, wrap=wrap))
            self.relays[-1].ports = ports
        self.attacked, self.beside = self.relays
        self.sink = self.sinks[0]

    def stop(self):
        for relay in self.relays:
            relay.stop()


class Arrivals(Sink):
    """A sink that notes when each message of the well-behaved session arrived."""

    def __init__(self):
        self.times = {}
        super().__init__(self.note)

    def note(self, point, data):
        if point == "dot":
            name = data.partition(b"Message-ID: <")[2].partition(b">")[0]
            self.times[name.decode("ascii", "replace")] = time.monotonic()
        return None


class Neighbour:
    """The well-behaved session. One connection, opened again if it is lost. Its mail is for good.example, or for what `domain` makes of the
    name of a message."""

    def __init__(self, port, domain=None):
        self.port, self.socket, self.failures = port, None, []
        self.domain = domain or (lambda name: GOOD)

    def open(self):
        self.socket = socket.create_connection(("127.0.0.1", self.port), 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.lines = self.socket.makefile("rb")
        self.reply(b"2")
        self.ask(b"EHLO neighbour.example\r\n")

    def reply(self, wanted):
        while True:
            line = self.lines.readline()
            if not line:
                raise OSError("the relay hung up")
            if line[3:4] != b"-":
                if line[:1] not in wanted.split(b","):
                    raise OSError(f"answered {line!r}")
                return

    def ask(self, command, wanted=b"2"):
        self.socket.sendall(command)
        self.reply(wanted)

    def send(self, name):
        if self.socket is None:
            self.open()
        self.ask(b"MAIL FROM:<a@neighbour.example>\r\n")
        self.ask(b"RCPT TO:<b@%s>\r\n" % self.domain(name).encode())
        self.ask(b"DATA\r\n", b"3")
        self.ask(b"Message-ID: <%s>\r\nSubject: good\r\n\r\n" % name.encode() + b"x" * 60 + b"\r\n.\r\n")

    def run(self, tag, seconds):
        """Messages for so long: {name: (due, accepted)}."""
        sent, begun, number = {}, time.monotonic(), 0
        while (due := begun + number / RATE) < begun + seconds:
            time.sleep(max(0, due - time.monotonic()))
            name = f"{tag}.{number}"
            try:
                self.send(name)
                sent[name] = (due, time.monotonic())
            except OSError as error:
                self.failures.append(str(error))
                if self.socket:
                    self.socket.close()
                self.socket = None
                if len(self.failures) > 20:
                    break
            number += 1
        return sent


def percentile(values, share=0.99):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))] if values else float("inf")


class Result:
    def __init__(self):
        self.accept = {"beside": [], "attacked": []}
        self.deliver = {"beside": [], "attacked": []}
        self.failures = []

    def figures(self):
        """Of each time: median over the rounds of p99 beside, p99 attacked (seconds) and their ratio."""
        found = {}
        for name, rounds in (("accept", self.accept), ("deliver", self.deliver)):
            beside, attacked = (statistics.median(percentile(one) for one in rounds[where]) for where in ("beside", "attacked"))
            found[name] = (beside, attacked, attacked / beside)
        return found

    def judge(self, limit=1.2, slack=SLACK):
        """Fails where a p99 is over `limit` times that beside, and over that by more than the noise, `slack` seconds."""
        assert not self.failures, self.failures[:5]
        for name, (beside, attacked, ratio) in self.figures().items():
            print(f"{name}: p99 {attacked * 1000:.1f} ms attacked, {beside * 1000:.1f} ms beside: {ratio:.2f}")
            assert attacked <= limit * beside + slack, f"{name}: {attacked:.3f} s, {beside:.3f} s beside"


def from_elsewhere(attack, target, stop):
    """An attacker has machines of his own: here he gets what nobody else wants of the cores."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    attack(target, stop)


def measure(pair, attack, seconds=4, rounds=3 if STRICT else 2, warm=1.0, domain=None, ready=None):
    """Throws `attack(target, stop)` at each of the two in turn, and takes the times of the well-behaved session at the first: so long after
    it began, or from when it says by a file of this name in the relay's directory that it is `ready`."""
    result, neighbour = Result(), Neighbour(pair.attacked.port, domain)
    neighbour.run("warm", 0.5)
    for number in range(rounds):
        for where, relay in (("beside", pair.beside), ("attacked", pair.attacked)):
            stop = multiprocessing.Event()
            attacker = multiprocessing.Process(target=from_elsewhere, args=(attack, Target(relay), stop), daemon=True)
            attacker.start()
            end = time.monotonic() + (90 if ready else warm)
            while time.monotonic() < end and not (ready and os.path.exists(f"{relay.directory}/{ready}")) and attacker.is_alive():
                time.sleep(0.05)
            if ready:
                os.remove(f"{relay.directory}/{ready}")
            sent = neighbour.run(f"{where}.{number}", seconds)
            failed_early = attacker.exitcode not in (None, 0)
            stop.set()
            attacker.join(10)
            if attacker.is_alive():
                attacker.kill()
            assert not failed_early, "the attack itself failed"
            end = time.monotonic() + 30
            while any(name not in pair.sink.times for name in sent) and time.monotonic() < end:
                time.sleep(0.02)
            missing = [name for name in sent if name not in pair.sink.times]
            assert not missing, f"{len(missing)} good messages did not arrive in 30 s"
            result.accept[where].append([accepted - due for due, accepted in sent.values()])
            result.deliver[where].append([pair.sink.times[name] - due for name, (due, _) in sent.items()])
    result.failures = neighbour.failures
    return result


def threads(count, work):
    """Runs work(number) in so many threads and waits for them."""
    running = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(count)]
    for one in running:
        one.start()
    for one in running:
        one.join()


def rss(pid):
    """Resident bytes of a process that belong to no file."""
    with open(f"/proc/{pid}/status") as file:
        return 1024 * sum(int(line.split()[1]) for line in file if line.startswith("RssAnon"))


class Memory:
    """Watches what a process has, while it is entered: `most` bytes more than before."""

    def __init__(self, relay):
        self.pid, self.most, self.over = relay.process.pid, 0, threading.Event()

    def __enter__(self):
        self.before = rss(self.pid)
        self.watching = threading.Thread(target=self.watch, daemon=True)
        self.watching.start()
        return self

    def watch(self):
        while not self.over.wait(0.1):
            self.most = max(self.most, rss(self.pid) - self.before)

    def __exit__(self, *_):
        self.over.set()
        self.watching.join()
        print(f"{self.most >> 20} MiB more than before, at most")


def main(names):
    """The story named on the command line."""
    names[sys.argv[1]]()


__all__ = ["BINARY", "GOOD", "SLACK", "STRICT", "Arrivals", "Memory", "Neighbour", "Pair", "Relay", "Sink", "Target", "free_port", "main", "measure", "percentile", "rss", "threads"]
