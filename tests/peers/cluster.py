"""Relays that share limits through a Redis, counted by the hop: `cluster.py STORY BINARY`. Called by tests/peers.rs."""
import atexit
import json
import os
import shutil
import signal
import smtplib
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from ports import free_port
from relay import Relay
from sink import Sink

BINARY = os.path.abspath(sys.argv[2])
TEXT = b"Subject: hello\r\n\r\nA line.\r\n"
# Of src/limits/cluster.rs: how long a lease lasts, and so how long nobody gets what he had not after the server forgot.
LEASE = 15
# How often it is renewed.
RENEW = 5


class Redis:
    """Debian's server, which keeps nothing; `wrap`: what begins a command where it is."""

    def __init__(self, *more, wrap=(), address="127.0.0.1", port=None):
        self.port, self.directory, self.more = port or free_port(), tempfile.mkdtemp(prefix="relevo-redis-"), more
        self.wrap, self.address = wrap, address
        self.start()

    def start(self):
        command = [*self.wrap, "redis-server", "--port", str(self.port), "--bind", self.address, "--dir", self.directory, "--save", "", "--appendonly", "no", *self.more]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # A story that fails must not leave it behind.
        atexit.register(self.process.kill)
        self.began = time.monotonic()
        end = time.monotonic() + 20
        while self.ask("PING") != "PONG":
            assert time.monotonic() < end, "redis does not start"
            time.sleep(0.05)

    def ask(self, *words):
        command = [*self.wrap, "redis-cli", "-h", self.address, "-p", str(self.port), "-a", "sesame", "--no-auth-warning", "--raw", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.kill()
        shutil.rmtree(self.directory)


class Counting(Sink):
    """When each message ended, and how many connections there were at the most since that was asked last."""

    def __init__(self, **more):
        self.ends = []
        super().__init__(self.count, **more)

    def count(self, point, data):
        if point == "dot":
            self.ends.append(time.monotonic())

    def most(self):
        with self.lock:
            most, self.most_open = self.most_open, self.open
        return most

    def since(self, begun, until=None):
        return [end for end in list(self.ends) if end >= begun and (until is None or end < until)]

    def most_in_a_second(self, begun, until=None):
        ends, most, first = sorted(self.since(begun, until)), 0, 0
        for last, end in enumerate(ends):
            while ends[first] <= end - 1:
                first += 1
            most = max(most, last - first + 1)
        return most


def relays(redis, sink, many, shaping, share, settings="", listener=""):
    """Relays of one cluster, that say who they are by a password of a file; `settings`: more that they all have."""
    directory = tempfile.mkdtemp(prefix="relevo-test-")
    for name, text in (("shaping.toml", shaping), ("password", "sesame\n")):
        with open(f"{directory}/{name}", "w") as file:
            file.write(text)
        os.chmod(f"{directory}/{name}", 0o600)
    more = (
        f'[cluster]\nredis = "redis://127.0.0.1:{redis.port}"\npassword_file = "{directory}/password"\nshare = {share}\n'
        f'[shaping]\ndefaults = false\nfiles = ["{directory}/shaping.toml"]\n[retry]\nfirst = "1s"\nmax = "1s"\n{settings}'
    )
    return [Relay(BINARY, sink, more, listener=listener) for _ in range(many)]


class Senders:
    """Bring mail to each of these relays, as much as they take, and keep it waiting."""

    def __init__(self, relays, each):
        self.threads = [threading.Thread(target=self.send, args=(relay, each), daemon=True) for relay in relays]
        for thread in self.threads:
            thread.start()

    def send(self, relay, each):
        try:
            client = relay.client()
            for number in range(each):
                client.sendmail("a@b.example", [f"r{number}@a.example"], TEXT)
            client.quit()
        except (OSError, smtplib.SMTPException):
            # The story is over.
            pass


def metric(relay, line):
    with urllib.request.urlopen(f"http://127.0.0.1:{relay.http}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = [float(one.rsplit(" ", 1)[1]) for one in text.splitlines() if one.startswith(line)]
    assert found, (line, text)
    return sum(found)


def until(is_so, words, seconds=30):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, words
        time.sleep(0.1)


def suppress(relay, *words):
    command = [BINARY, "suppress", *words, "--socket", f"{relay.data_dir}/control.sock"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def who_is_suppressed_is_so_on_all_nodes():
    """Within a second; where the server was away, or a node, as soon as it is there again, also over a kill; and what an emptied server forgot is said."""
    redis = Redis("--requirepass", "sesame", "--appendonly", "yes", "--appendfsync", "always")
    one, other = relays(redis, Sink(), 2, "", 0.5)

    def is_listed(relay, address):
        return suppress(relay, "check", address)[0] == 1

    until(lambda: metric(one, "relevo_cluster_nodes ") == 2, "both are there")
    begun = time.monotonic()
    code, said = suppress(one, "add", "ada@a.example")
    assert code == 0, said
    until(lambda: is_listed(other, "ada@a.example"), "the other node heard it")
    took = time.monotonic() - begun
    assert took < 5, took
    print(f"{took:.2f} s, commands included")
    try:
        other.client().sendmail("a@b.example", ["ada@a.example"], TEXT)
        raise AssertionError("it was taken")
    except smtplib.SMTPRecipientsRefused:
        pass
    assert suppress(other, "remove", "ada@a.example")[0] == 0
    until(lambda: not is_listed(one, "ada@a.example"), "and the first that it is none any more")
    # Nobody is held up by a server that is gone, and nothing is forgotten.
    redis.kill()
    assert suppress(one, "add", "bob@a.example")[0] == 0
    assert one.told("is not told to the other nodes", seconds=20), one.words
    one.kill()
    one.start()
    assert is_listed(one, "bob@a.example") and not is_listed(other, "bob@a.example")
    redis.start()
    until(lambda: is_listed(other, "bob@a.example"), "it was told in the end")
    assert other.told("tell each other again", seconds=20), other.words
    # A node that was away hears all of it.
    other.kill()
    for number in range(600):
        if number % 100 == 0:
            addresses = [f"u{one}@c.example" for one in range(number, number + 100)]
            assert suppress(one, "add", *addresses)[0] == 0
    other.start()
    until(lambda: is_listed(other, "u599@c.example") and is_listed(other, "u0@c.example"), "it caught up")
    # Emptied behind their backs.
    redis.ask("DEL", "relevo:{relays}:suppressed")
    other.kill()
    other.start()
    assert other.told("was emptied", seconds=20), other.words
    assert suppress(one, "add", "eve@a.example")[0] == 0
    until(lambda: is_listed(other, "eve@a.example"), "and it goes on")
    for relay in (one, other):
        relay.stop()
    redis.stop()


def settled(redis):
    """Nobody knows what was leased before the server began."""
    time.sleep(max(0, redis.began + LEASE + 2 - time.monotonic()))


def three_relays_share_a_rate():
    """All have mail: together they send at the rate, and never faster. One alone has all of it; the others that come have their parts of it."""
    redis, sink = Redis("--requirepass", "sesame"), Counting()
    nodes = relays(redis, sink, 3, '[default]\nmax_message_rate = "30/s"\nconnection_limit = 6\n', 0.33)
    settled(redis)
    until(lambda: metric(nodes[0], "relevo_cluster_nodes") == 3, "they know of each other")
    Senders(nodes[:1], 1_200)
    begun = time.monotonic() + 4
    time.sleep(12)
    alone = len(sink.since(begun, begun + 8)) / 8
    assert alone >= 28, f"{alone} a second of 30"
    sink.most()
    Senders(nodes[1:], 900)
    # Who had all hears of the others when he renews his lease.
    time.sleep(14)
    begun = time.monotonic()
    sink.most()
    time.sleep(10)
    together, most, connections = len(sink.since(begun, begun + 10)) / 10, sink.most_in_a_second(begun), sink.most()
    # What each has more at once, and what Python's threads are late by.
    print(f"{alone} a second alone, {together} together, at most {most} in a second over {connections} connections")
    assert together >= 28 and most <= 36, (together, most)
    assert connections <= 6, connections
    of_redis = int([line for line in redis.ask("INFO", "stats").splitlines() if line.startswith("total_commands_processed")][0].split(":")[1])
    print(f"{of_redis / (time.monotonic() - redis.began) / 3} commands a second and node")
    for node in nodes:
        node.stop()
    redis.stop()


def a_server_that_fails_holds_up_no_mail():
    """It stands still, is full, and is started again with nothing: mail goes on, by leases and then by shares, which is said; nothing is exceeded."""
    redis, sink = Redis("--requirepass", "sesame"), Counting()
    nodes = relays(redis, sink, 2, '[default]\nmax_message_rate = "30/s"\nconnection_limit = 6\n', 0.25)
    settled(redis)
    Senders(nodes, 1_500)
    time.sleep(5)
    redis.pause()
    begun = time.monotonic()
    # A lease may have been renewed so long before.
    kept = LEASE - RENEW - 1
    time.sleep(kept)
    by_leases = len(sink.since(begun, begun + kept)) / kept
    assert by_leases >= 27, f"{by_leases} a second by leases"
    assert all(node.told("cluster relays", "cannot be asked", seconds=10) for node in nodes), nodes[0].words
    time.sleep(LEASE - kept + 3)
    begun = time.monotonic()
    time.sleep(5)
    by_shares = len(sink.since(begun, begun + 5)) / 5
    assert 11 <= by_shares <= 17, f"{by_shares} a second by shares of 7.5 each"
    assert metric(nodes[0], 'relevo_cluster_limits{held="share"}') == 2, "rate and connections"
    redis.go_on()
    assert all(node.told("is asked again", seconds=10) for node in nodes), nodes[0].words
    time.sleep(8)
    begun = time.monotonic()
    time.sleep(5)
    again = len(sink.since(begun, begun + 5)) / 5
    assert again >= 27, f"{again} a second again"
    # Full.
    redis.ask("CONFIG", "SET", "maxmemory", "1")
    until(lambda: metric(nodes[0], 'relevo_cluster_questions_total{result="failed"}') > 10 or nodes[0].told("OOM", seconds=1), "it is full", 15)
    redis.ask("CONFIG", "SET", "maxmemory", "0")
    time.sleep(3)
    # Gone, and back with nothing: who had something has it again.
    begun = time.monotonic()
    redis.kill()
    time.sleep(2)
    redis.start()
    time.sleep(LEASE + 5)
    most = sink.most_in_a_second(begun)
    print(f"{by_leases} by leases, {by_shares} by shares, {again} again, at most {most} in a second while it forgot")
    assert most <= 36, most
    assert sink.most() <= 6
    for node in nodes:
        node.kill()
    redis.stop()


def what_is_too_small_for_all_goes_round():
    """One connection, two nodes: there is never another, and both send."""
    redis, sink = Redis("--requirepass", "sesame"), Counting()
    nodes = relays(redis, sink, 2, "[default]\nconnection_limit = 1\nmax_deliveries_per_connection = 20\n", 0.5)
    settled(redis)
    Senders(nodes, 3_000)
    end = time.monotonic() + 60
    delivered = [0, 0]
    while min(delivered) < 20:
        delivered = [metric(node, 'relevo_recipients_delivered_total') for node in nodes]
        assert time.monotonic() < end, delivered
        time.sleep(1)
    assert sink.most() <= 1
    for node in nodes:
        node.kill()
    redis.stop()


class Narrow(Counting):
    """Takes three connections and refuses any more."""

    def __init__(self):
        self.refused = 0
        super().__init__()

    def count(self, point, data):
        if point == "EHLO" and self.open > 3:
            with self.lock:
                self.refused += 1
            return b"421 4.7.0 Too many concurrent connections from your address\r\n"
        if point == "dot":
            time.sleep(0.03)
        return super().count(point, data)


def what_one_node_found_others_begin_with():
    """A site takes three connections of the twenty that the operator allows. One node is refused until it knows; the other begins there."""
    redis, sink = Redis("--requirepass", "sesame"), Narrow()
    nodes = relays(redis, sink, 2, "[default]\nconnection_limit = 20\n", 0.5)
    settled(redis)
    Senders(nodes[:1], 500)
    sink.wait(500, 60)
    found = sink.refused
    assert found >= 1, found
    until(lambda: int(redis.ask("XLEN", "relevo:{relays}:windows") or 0) > 0, "it is told")
    # It is heard in the next round of the other.
    time.sleep(7)
    # What it has open counts at the site.
    nodes[0].stop()
    until(lambda: sink.open == 0, "it has left")
    nodes[1].send("a@b.example", ["first@a.example"], TEXT)
    sink.wait(501)
    with urllib.request.urlopen(f"http://127.0.0.1:{nodes[1].http}/control/v1/sites", timeout=10) as answer:
        sites = json.load(answer)["rows"]
    assert len(sites) == 1 and 1 <= sites[0]["window"] <= 4 and sink.refused == found, sites
    Senders(nodes[1:], 500)
    sink.wait(1_001, 60)
    print(f"{found} refused to the one, {sink.refused - found} to the other, which began with {sites[0]['window']} connections")
    nodes[1].stop()
    redis.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
