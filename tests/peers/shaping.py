"""Limits of shaping files, counted by next hops: `shaping.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import os
import signal
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "attacks"))
from hops import FAST, TEXT, Hop, Names, start
from ports import free_port


class Counted(Hop):
    """How many connections it has at one time, and the most; how many messages came over each, and recipients in a transaction."""

    def __init__(self, host, port, pause=0.03):
        self.lock, self.open, self.most, self.over, self.together = threading.Lock(), 0, 0, {}, 0
        self.pause = pause
        super().__init__(self.slowly, host=host, port=port)

    def slowly(self, talk, verb, line):
        if verb == "dot":
            time.sleep(self.pause)
            with self.lock:
                self.over[talk.number] = self.over.get(talk.number, 0) + 1
        return None

    def serve(self, talk):
        with self.lock:
            self.open += 1
            self.most = max(self.most, self.open)
        try:
            super().serve(talk)
        finally:
            with self.lock:
                self.open -= 1

    def forget(self):
        with self.lock:
            self.most = self.open


def mx(*domains_and_hosts):
    """A name server for domains led to hosts at addresses of this machine."""
    names = {}
    for domain, host, address in domains_and_hosts:
        names[(domain, 15)] = [(10, host)]
        names[(host, 1)] = [address]
    server = Names(lambda name, kind: names.get((name, kind), []))
    return f'[dns]\nservers = ["127.0.0.1:{server.port}"]\n'


def relay_with(shaping, settings, port):
    directory = tempfile.mkdtemp(prefix="relevo-test-")
    path = f"{directory}/shaping.toml"
    with open(path, "w") as file:
        file.write(shaping)
    more = f'{FAST}{settings}[delivery]\nmx_port = {port}\nallow_loopback_mx = true\n[shaping]\nfiles = ["{path}"]\n'
    return start(None, more, route='[[route]]\ndomain = "*"\nto = "mx"\n'), path


def send(relay, domains, count, recipients=1):
    def one(number):
        domain = domains[number % len(domains)]
        relay.send("a@b.example", [f"u{number}x{each}@{domain}" for each in range(recipients)], TEXT)

    threads = [threading.Thread(target=lambda numbers: [one(number) for number in numbers], args=(range(at, count, 8),)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def what_a_file_says_of_a_provider_holds_at_its_hosts():
    """Over domains of both shards that lead to one site: connections, messages over one, recipients of a transaction; another site is not held up."""
    port = free_port()
    big, other = Counted("127.0.0.2", port), Counted("127.0.0.3", port)
    domains = [f"d{number}.example" for number in range(6)]
    settings = mx(*[(domain, "mx.big.example", "127.0.0.2") for domain in domains], ("free.example", "mx.free.example", "127.0.0.3"))
    shaping = """
        [provider.big]
        match = [{ MXSuffix = ".big.example" }]
        connection_limit = 2
        max_deliveries_per_connection = 5
        max_recipients_per_batch = 3
    """
    relay, path = relay_with(shaping, settings, port)
    send(relay, [*domains, "free.example", "free.example", "free.example"], 180, 4)
    other.wait(240)
    big.wait(480, 60)
    assert big.most == 2, f"{big.most} connections at one time"
    assert max(big.over.values()) <= 5, big.over
    assert max(len(recipients) for _, recipients, _, _ in big.taken) == 3
    assert other.most > 2 and max(len(recipients) for _, recipients, _, _ in other.taken) == 4, other.most
    # What a reload says holds from then on.
    with open(path, "w") as file:
        file.write(shaping.replace("connection_limit = 2", "connection_limit = 1"))
    relay.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + 10
    while not any("reloaded by SIGHUP" in words for words in list(relay.words)):
        assert time.monotonic() < end, relay.words
        time.sleep(0.05)
    time.sleep(3)
    big.forget()
    send(relay, domains, 60)
    big.wait(540, 60)
    assert big.most == 1, f"{big.most} connections at one time"
    relay.stop()


def a_section_of_a_domain_holds_for_all_with_its_hosts_or_for_it_alone():
    port = free_port()
    shared, apart = Counted("127.0.0.2", port), Counted("127.0.0.3", port)
    settings = mx(
        ("named.example", "mx.one.example", "127.0.0.2"),
        ("beside.example", "mx.one.example", "127.0.0.2"),
        ("alone.example", "mx.two.example", "127.0.0.3"),
        ("crowd.example", "mx.two.example", "127.0.0.3"),
    )
    shaping = """
        ["named.example"]
        connection_limit = 1
        ["alone.example"]
        mx_rollup = false
        connection_limit = 1
    """
    relay, _ = relay_with(shaping, settings, port)
    # It is known where the named one leads once it has mail.
    relay.send("a@b.example", ["first@named.example"], TEXT)
    shared.wait(1)
    send(relay, ["beside.example", "named.example"], 60)
    shared.wait(61, 60)
    assert shared.most == 1, f"{shared.most} connections at one time"
    send(relay, ["alone.example"], 30)
    apart.wait(30, 60)
    assert apart.most == 1, f"{apart.most} connections at one time"
    send(relay, ["crowd.example"], 60)
    apart.wait(90, 60)
    assert apart.most > 1, "what is said of one domain alone is said of no other"
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
