"""A fleet in a network of its own: relays, HAProxy as deploy/haproxy has it, Redis, clients and a hop, each with its own addresses and with links that
can be cut.

Network, processes and mounts are namespaces of the story: whatever becomes of it, nothing of them is left. Three networks, each a bridge to which a
relay has a link: `front` (HAProxy is 10.0.0.1, relays 10.0.0.11 and so on), `store` (Redis is 10.0.1.5) and `world` (the hop is 203.0.113.1). Clients
have addresses of 192.0.2.0/24.
"""
import collections
import itertools
import json
import os
import resource
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import cluster
from certificate import certificate
from relay import Relay

BINARY = os.path.abspath(sys.argv[2])
DEPLOY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../deploy/haproxy")
TEXT = b"Subject: hello\r\n\r\nA line.\r\n"
LINKS = ("front", "store", "world")
# Clients that log in, and where.
LOGGED_IN = {6: 587, 7: 465}
# Of one relay to the hop; what may be on its way there when something is cut.
CONNECTIONS = 4


def alone():
    """This program goes on in namespaces of its own, as process 1. False: it is not told to be able to; that was said."""
    if "RELEVO_OWN_NETWORK" in os.environ:
        return True
    if os.geteuid() != 0:
        print("skipped: networks between relays need root")
        return False
    namespaces = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    probe = subprocess.run([*namespaces, "sh", "-c", "mount -t tmpfs tmpfs /run && ip link add one type veth peer name two && ip link add three type bridge"], capture_output=True, text=True)
    if probe.returncode:
        print(f"skipped: no network of its own can be made here: {probe.stderr}")
        return False
    os.execvpe(namespaces[0], [*namespaces, sys.executable, *sys.argv], os.environ | {"RELEVO_OWN_NETWORK": "1"})


def ip(*lines, within=()):
    subprocess.run([*within, "ip", "-batch", "-"], input="\n".join(lines), text=True, check=True, timeout=30)


def inside(name):
    """What begins a command that runs in the network of this one."""
    return ["nsenter", f"--net=/run/netns/{name}"]


def network(names):
    """Bridges, and a network for each of these names, with its last number."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    os.mkdir("/run/haproxy")
    lines = ["link set lo up", "route add local 192.0.2.0/24 dev lo"]
    lines += [line for link in LINKS for line in (f"link add {link} type bridge", f"link set {link} up")]
    ip(*lines, "address add 10.0.0.1/24 dev front", "address add 203.0.113.1/24 dev world")
    for name, number in names.items():
        addresses = {"front": f"10.0.0.{number}", "store": f"10.0.1.{number}", "world": f"203.0.113.{number}"}
        ip(f"netns add {name}", *(f"link add {name}-{link} type veth peer name {link} netns {name}" for link in LINKS))
        ip(*(f"link set {name}-{link} master {link} up" for link in LINKS))
        own = [line for link, address in addresses.items() for line in (f"address add {address}/24 dev {link}", f"link set {link} up")]
        # Clients come by HAProxy alone: nothing is routed.
        ip("link set lo up", *own, within=inside(name))


def cut(name, *links):
    """Nothing passes any more, and nobody is told."""
    ip(*(f"link set {name}-{link} down" for link in links or LINKS))


def heal(name, *links):
    ip(*(f"link set {name}-{link} up" for link in links or LINKS))


def until(is_so, words, seconds=30):
    end = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < end, words() if callable(words) else words
        time.sleep(0.05)
    return found


def replaced(text, *pairs):
    """A shipped file with what is otherwise here; each of these stands in it."""
    for shipped, ours in pairs:
        assert shipped in text, shipped
        text = text.replace(shipped, ours)
    return text


def shipped(name):
    with open(f"{DEPLOY}/{name}") as file:
        return file.read()


class Node(Relay):
    """A relay with what deploy/haproxy/relay.toml says, and the process that it is by now."""

    def __init__(self, number, shared, more, share):
        self.name, self.number, self.shared, self.share = f"mx{number}", 10 + number, shared, share
        super().__init__(BINARY, more=more, wrap=inside(f"mx{number}"))

    def write(self):
        address, cert = f"10.0.0.{self.number}", f"{self.shared}/chain.pem"
        text = replaced(
            shipped("relay.toml"),
            ("[node]\n", f'[node]\ndata_dir = "{self.data_dir}"\nshards = 1\n'),
            ("mx1.example.net", f"{self.name}.example.net"),
            # Longer than fall x inter of the balancer, as that is here.
            ('"10s"', '"2s"'),
            ("/etc/relevo/chain.pem", cert),
            ("/etc/relevo/key.pem", f"{self.shared}/key.pem"),
            ("/etc/relevo/accounts.toml", f"{self.shared}/accounts"),
            ("/etc/relevo/redis.password", f"{self.shared}/password"),
            ("redis://10.0.0.5:6379", "redis://10.0.1.5:6379"),
            ("share = 0.5", f"share = {self.share}"),
            ("10.0.0.11:8025", f"{address}:8025"),
        )
        with open(f"{self.directory}/relevo.toml", "w") as file:
            file.write(f'{text}\n[[route]]\ndomain = "*"\nto = "smtp://203.0.113.1:2525"\n{self.logs}[spool]\nsegment_size = "4MiB"\n{self.more}\n')

    def start(self):
        super().start()
        self.pid, self.up = self.process.pid, True

    def command(self, *arguments, code=0):
        done = subprocess.run([BINARY, *arguments, "--config", f"{self.directory}/relevo.toml"], capture_output=True, text=True, timeout=120)
        assert done.returncode == code, (self.name, arguments, done, "".join(self.words))
        return done.stdout + done.stderr

    def kill(self):
        self.up = False
        os.kill(self.pid, signal.SIGKILL)
        self.gone(10)

    def end(self):
        """As `systemctl stop` does it: it must end well."""
        self.up = False
        os.kill(self.pid, signal.SIGTERM)
        self.gone(60)
        assert not any("panick" in word for word in self.words), "".join(self.words)

    def gone(self, seconds):
        if self.process.pid == self.pid:
            self.process.wait(seconds)
        else:
            until(self.is_gone, f"{self.name} does not end", seconds)

    def is_gone(self):
        """Who took over is a child of process 1, which this is, once the one before has ended. Only who is waited for has ended with all of its threads."""
        try:
            return os.waitpid(self.pid, os.WNOHANG)[0] == self.pid
        except ChildProcessError:
            return False

    def upgrade(self):
        found = json.loads(self.command("upgrade", "--json"))
        assert found["stage"] == "done" and found["process"] != self.pid, (found, "".join(self.words))
        self.pid = found["process"]
        return found["waited_seconds"]

    def metric(self, line):
        with urllib.request.urlopen(f"http://10.0.0.{self.number}:8025/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return sum(float(one.rsplit(" ", 1)[1]) for one in text.splitlines() if one.startswith(f"relevo_{line}"))


class Balancer:
    """HAProxy with deploy/haproxy/haproxy.cfg, at the ports of their names, for these relays; its checks are as often as a story can wait for."""

    def __init__(self, nodes, checks="http"):
        # As root may.
        resource.setrlimit(resource.RLIMIT_NOFILE, (10_000, 10_000))
        self.directory, self.checks = tempfile.mkdtemp(prefix="relevo-test-"), checks
        self.write(nodes)
        command = ["haproxy", "-W", "-db", "-f", f"{self.directory}/haproxy.cfg"]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin"})
        self.all_up(nodes)

    def write(self, nodes):
        text = shipped("haproxy.cfg")
        if self.checks == "smtp":
            lines = text.splitlines()
            # The two lines that stand there as comments, in place of the two before them.
            [first] = [at for at, line in enumerate(lines) if line.lstrip().startswith("#option smtpchk")]
            lines = [line for line in lines if not line.lstrip().startswith(("option httpchk", "default-server"))]
            text = "\n".join(line.replace("#option", "option").replace("#default-server", "default-server") for line in lines) + "\n"
            assert first and text.count("default-server") == 1 and "httpchk" not in text, text
        servers = "".join(f"    server {node.name} 10.0.0.{node.number}\n" for node in nodes)
        text = replaced(
            text,
            ("    server mx1 10.0.0.11\n    server mx2 10.0.0.12\n", servers),
            ("inter 2s", "inter 300ms"),
            ("maxconn 60000", "maxconn 1000"),
            # Nobody listens here.
            ("    log /dev/log local0 notice\n", ""),
            ("    log global\n", ""),
        )
        with open(f"{self.directory}/haproxy.cfg", "w") as file:
            file.write(text)

    def reload(self, nodes):
        """As `systemctl reload haproxy` does it."""
        self.write(nodes)
        checked = subprocess.run(["/usr/sbin/haproxy", "-c", "-f", f"{self.directory}/haproxy.cfg"], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr
        self.process.send_signal(signal.SIGUSR2)
        self.all_up(nodes)

    def say(self, words):
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect("/run/haproxy/admin.sock")
            asking.sendall(f"{words}\n".encode())
            return asking.makefile().read()

    def states(self):
        try:
            rows = [line.split(",") for line in self.say("show stat").splitlines()]
        except OSError:
            return {}
        return {row[1]: row[17] for row in rows if row[0] == "relays" and row[1] != "BACKEND"}

    def all_up(self, nodes):
        until(lambda: self.states() == {node.name: "UP" for node in nodes}, lambda: f"not all are up: {self.states()}")


class Redis(cluster.Redis):
    """At an address of its own, with a link of its own."""

    def __init__(self):
        super().__init__("--requirepass", "sesame", wrap=inside("redis"), address="10.0.1.5", port=6379)


class Hop(cluster.Counting):
    """Counts what comes, and puts off the mail of relays that it is told to."""

    def __init__(self):
        self.puts_off, self.session = set(), threading.local()
        super().__init__(address="203.0.113.1", port=2525)

    def count(self, point, data):
        if point == "EHLO":
            self.session.relay = data.split()[1].split(b".")[0].decode()
        if point == "RCPT" and self.session.relay in self.puts_off:
            return b"450 4.2.0 not now\r\n"
        return super().count(point, data)


class Fleet:
    """So many relays behind a balancer, of which HAProxy has the first `shown`; a hop that counts; and Redis. All together send `limit` messages a second."""

    def __init__(self, count, checks="http", limit=None, shown=None):
        self.limit = limit
        numbers = range(1, count + 1)
        network({"redis": 5} | {f"mx{number}": 10 + number for number in numbers})
        self.shared = tempfile.mkdtemp(prefix="relevo-test-")
        certificate(self.shared, "relay.example")
        hashed = subprocess.run([BINARY, "hash-password"], input=b"secret\n", stdout=subprocess.PIPE, check=True)
        for name, text in (("accounts", b"news:" + hashed.stdout), ("password", b"sesame\n")):
            with open(f"{self.shared}/{name}", "wb") as file:
                file.write(text)
            os.chmod(f"{self.shared}/{name}", 0o600)
        self.shape(limit)
        self.sink = Hop()
        self.redis = Redis()
        more = (
            f'[shaping]\ndefaults = false\nfiles = ["{self.shared}/shaping.toml"]\n[retry]\nfirst = "1s"\nmax = "1s"\n'
            f"[delivery]\nconnections_per_destination = {CONNECTIONS}\n"
        )
        self.nodes = [Node(number, self.shared, more, round(1 / count, 4)) for number in numbers]
        self.shown = self.nodes[: shown or count]
        self.balancer = Balancer(self.shown, checks)

    def shape(self, limit):
        lines = f'[default]\nconnection_limit = "local:{CONNECTIONS}"\n' + (f'max_message_rate = "{limit}/s"\n' if limit else "")
        with open(f"{self.shared}/shaping.toml", "w") as file:
            file.write(lines)

    def lift(self):
        """The limit is over, for those that run."""
        self.shape(None)
        for node in self.nodes:
            if node.up:
                node.command("reload")

    def within_the_limit(self, begun, until=None, more=0.0, once=0):
        """docs/scale.md: never more than the limit, and these parts of it; `once`: messages beside. What Python's threads are late by comes on top in
        any one second, not over all."""
        until = until or time.monotonic()
        most, taken = self.sink.most_in_a_second(begun, until), len(self.sink.since(begun, until))
        bound = self.limit * (1 + more)
        print(f"at most {most} in a second of {bound:.0f}; {taken} in {until - begun:.1f} s: {taken / (until - begun):.1f}/s", flush=True)
        assert most <= bound * 1.2 + once, (most, bound, once)
        assert taken <= bound * (until - begun) * 1.02 + once + 2 * len(self.nodes), (taken, bound, until - begun)

    def flows(self, begun, until, least):
        """Of every two seconds of this time: so much of the limit was used."""
        for at in itertools.count():
            first = begun + at
            if first + 2 > until:
                return
            taken = len(self.sink.since(first, first + 2)) / 2
            assert taken >= least * self.limit, f"{taken}/s of {self.limit}, {first - begun:.0f} to {first - begun + 2:.0f} s behind the beginning"

    def end(self):
        for node in self.nodes:
            if node.up:
                node.end()


Broken = collections.namedtuple("Broken", "at node where error")


class Clients:
    """Bring mail through the balancer, so much a second together, each as many messages over a connection as its number says: on port 25, one logged in on
    587 and one on 465. They do what RFC 5321 lets them: a session that ends with 421, or at all, between two messages is no error, and what was not
    answered is brought again. All else is written down, with the relay that greeted."""

    def __init__(self, rate, number=8, timeout=30):
        self.timeout, self.over, self.lock = timeout, threading.Event(), threading.Lock()
        self.taken, self.broken, self.told, self.shut, self.waits, self.by = [], [], 0, 0, [], collections.Counter()
        self.doubted, self.under_way = collections.Counter(), set()
        self.each = number / rate
        self.context = ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.threads = [threading.Thread(target=self.bring, args=(at,), daemon=True) for at in range(number)]
        [thread.start() for thread in self.threads]

    def connect(self, session):
        port, mine = LOGGED_IN.get(session.number, 25), (f"192.0.2.{21 + session.number}", 0)
        kind, more = (smtplib.SMTP_SSL, {"context": self.context}) if port == 465 else (smtplib.SMTP, {})
        client = kind(local_hostname="client.example", timeout=self.timeout, source_address=mine, **more)
        # Without it no command has a host to begin TLS with.
        client._host, session.client, session.where, session.node = "10.0.0.1", client, "connecting", None
        code, words = client.connect("10.0.0.1", port)
        if code == 421:
            with self.lock:
                self.shut += 1
            raise Told
        assert code == 220, (code, words)
        session.node, session.where = words.split(b".")[0].decode(), "at the beginning"
        client.ehlo()
        if port == 587:
            client.starttls(context=self.context)
            client.ehlo()
        if port != 25:
            client.login("news", "secret")

    def bring(self, number):
        session, count, due = Session(number), 0, time.monotonic() + number * 0.05
        while not self.over.is_set():
            time.sleep(max(0, min(due - time.monotonic(), 1)))
            recipient = f"c{number}x{count}@d.example"
            try:
                with self.lock:
                    self.under_way.add(recipient)
                self.one(session, recipient)
                with self.lock:
                    self.taken.append(recipient)
                    self.by[session.node] += 1
                count += 1
                # Those who waited bring what they could not.
                due = max(due + self.each, time.monotonic() - 5)
                session.where = "between messages"
                # A log-in takes time. Who brings one of five keeps its connection.
                if number % 5 != 4 and count % (10 if number in LOGGED_IN else 1 + number % 5) == 0:
                    session.client.quit()
                    session.client = None
            except (OSError, smtplib.SMTPException, AssertionError, Told) as error:
                self.note(session, error, recipient)
                session.close()
                time.sleep(0.05)
        session.close()

    def one(self, session, recipient):
        if session.client is None:
            self.connect(session)
        client, session.where = session.client, "between messages"
        code, words = client.docmd("MAIL", "FROM:<a@b.example>")
        if code == 421:
            raise Told
        assert code == 250, (code, words)
        session.where = "in a message"
        code, words = client.docmd("RCPT", f"TO:<{recipient}>")
        assert code == 250, (code, words)
        code, words = client.docmd("DATA")
        assert code == 354, (code, words)
        session.where, begun = "at the end of one", time.monotonic()
        client.send(TEXT + b".\r\n")
        code, words = client.getreply()
        assert code == 250, (code, words)
        with self.lock:
            self.waits.append(time.monotonic() - begun)

    def note(self, session, error, recipient):
        ended = isinstance(error, (smtplib.SMTPServerDisconnected, ConnectionResetError, BrokenPipeError))
        with self.lock:
            if isinstance(error, Told) or ended and session.where == "between messages":
                self.told += 1
                return
            self.broken.append(Broken(time.monotonic(), session.node, session.where, repr(error)))
            if session.where == "at the end of one":
                self.doubted[recipient] += 1

    def stop(self):
        self.over.set()
        [thread.join(60) for thread in self.threads]
        assert not any(thread.is_alive() for thread in self.threads), "a client hangs"

    def broken_at(self, *names):
        """Of these relays alone were sessions cut off in the middle, and of none that had not greeted yet but in a moment when one of them went."""
        others = [one for one in self.broken if one.node not in names]
        assert not others, others[:10]

    def arrived(self, sink, again=0, seconds=60):
        """All that was answered 250 is there, and nothing that nobody brought. Twice is what a client had to bring again, and so many beside."""
        wanted = set(self.taken)
        until(lambda: wanted <= set(sink.recipients()), lambda: f"lost: {sorted(wanted - set(sink.recipients()))[:10]} of {len(wanted)}", seconds)
        # What comes a second time comes soon.
        time.sleep(1)
        counts = collections.Counter(sink.recipients())
        strange = set(counts) - self.under_way
        assert not strange, sorted(strange)[:10]
        twice = sum(max(0, count - 1 - self.doubted[recipient]) for recipient, count in counts.items())
        waits = sorted(self.waits)
        print(
            f"{len(wanted)} messages by {dict(sorted(self.by.items(), key=str))}, {self.told} sessions ended between messages ({self.shut} at once), {len(self.broken)} in one, "
            f"{sum(self.doubted.values())} answers lost, {twice} twice beside; waits for 250: p99 {waits[len(waits) * 99 // 100]:.2f} s, at most {waits[-1]:.2f} s",
            flush=True,
        )
        assert twice <= again, [recipient for recipient, count in counts.items() if count - 1 > self.doubted[recipient]][:10]


class Told(Exception):
    """The relay said 421 where a message would begin."""


class Session:
    def __init__(self, number):
        self.number, self.client, self.node, self.where = number, None, None, "connecting"

    def close(self):
        if self.client:
            self.client.close()
        self.client = None
