"""Limits of shaping files, counted by next hops: `shaping.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import os
import re
import signal
import socket
import sys
import tempfile
import threading
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "attacks"))
from hops import FAST, TEXT, Gone, Hop, Names, start
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

    def comes(self, talk):
        with self.lock:
            self.open += 1
            self.most = max(self.most, self.open)

    def goes(self, talk):
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


def relay_with(shaping, settings, port, retry=FAST, **others):
    directory = tempfile.mkdtemp(prefix="relevo-test-")
    path = f"{directory}/shaping.toml"
    with open(path, "w") as file:
        file.write(shaping)
    more = f'{retry}{settings}[delivery]\nmx_port = {port}\nallow_loopback_mx = true\n[shaping]\nfiles = ["{path}"]\n'
    return start(None, more, route='[[route]]\ndomain = "*"\nto = "mx"\n', **others), path


def send(relay, domains, count, recipients=1):
    def one(number):
        domain = domains[number % len(domains)]
        relay.send("a@b.example", [f"u{number}x{each}@{domain}" for each in range(recipients)], TEXT)

    threads = [threading.Thread(target=lambda numbers: [one(number) for number in numbers], args=(range(at, count, 8),)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def reload(relay, path, shaping):
    with open(path, "w") as file:
        file.write(shaping)
    told = len([words for words in list(relay.words) if "reloaded by SIGHUP" in words])
    relay.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + 10
    while len([words for words in list(relay.words) if "reloaded by SIGHUP" in words]) == told:
        assert time.monotonic() < end, relay.words
        time.sleep(0.02)


class Timed(Counted):
    """When it was connected to, and when it had the end of each message."""

    def __init__(self, host, port):
        self.connected, self.ends = [], []
        super().__init__(host, port, pause=0)

    def slowly(self, talk, verb, line):
        if verb == "connect":
            self.connected.append(time.monotonic())
        elif verb == "dot":
            self.ends.append(time.monotonic())
        return super().slowly(talk, verb, line)


def most_in_a_second(times):
    times = sorted(times)
    return max(sum(1 for at in times if first <= at < first + 1) for first in times)


def rates_hold_over_all_shards_and_a_reload_changes_them():
    """Domains of both shards that lead to hosts of one provider: messages a second at these hosts together; another site is not held up."""
    port = free_port()
    one, two, other = Timed("127.0.0.2", port), Timed("127.0.0.3", port), Timed("127.0.0.4", port)
    domains = [f"d{number}.example" for number in range(6)]
    hosts = [(domain, f"mx{number % 2}.big.example", f"127.0.0.{2 + number % 2}") for number, domain in enumerate(domains)]
    settings = mx(*hosts, ("free.example", "mx.free.example", "127.0.0.4"))
    shaping = """
        [provider.big]
        match = [{ MXSuffix = ".big.example" }]
        provider_max_message_rate = "30/s"
    """
    relay, path = relay_with(shaping, settings, port)
    send(relay, [*domains, "free.example"], 140)
    other.wait(20, 2)
    end = time.monotonic() + 30
    while len(one.ends) + len(two.ends) < 120:
        assert time.monotonic() < end, f"{len(one.ends)} and {len(two.ends)} of 120"
        time.sleep(0.05)
    ends = [*one.ends, *two.ends]
    took = max(ends) - min(ends)
    # 30, one more, and what Python's threads are late by.
    assert most_in_a_second(ends) <= 33 and 3.6 <= took <= 10, f"{most_in_a_second(ends)} in a second, {took} s"
    reload(relay, path, shaping.replace("30/s", "1/h"))
    # The bucket has what it had.
    send(relay, domains, 60)
    time.sleep(1.5)
    assert len(one.ends) + len(two.ends) <= 123, "one an hour"
    begun = time.monotonic()
    reload(relay, path, shaping.replace("30/s", "300/s"))
    one.wait(90, 3)
    two.wait(90, 3)
    assert time.monotonic() - begun < 3
    relay.stop()


def connections_are_opened_at_their_rate():
    port = free_port()
    hop = Timed("127.0.0.2", port)
    domains = [f"d{number}.example" for number in range(6)]
    settings = mx(*[(domain, "mx.big.example", "127.0.0.2") for domain in domains])
    shaping = """
        [provider.big]
        match = [{ MXSuffix = ".big.example" }]
        max_connection_rate = "10/s"
        max_deliveries_per_connection = 1
    """
    relay, _ = relay_with(shaping, settings, port)
    send(relay, domains, 40)
    hop.wait(40, 30)
    took = max(hop.connected) - min(hop.connected)
    assert most_in_a_second(hop.connected) <= 12 and 3.5 <= took <= 10, f"{most_in_a_second(hop.connected)}, {took} s"
    relay.stop()


def hosts_of_a_provider_share_its_connections():
    """Two sites of a provider: never more than its limit in all, and who waits is given what others hold for nothing."""
    port = free_port()
    one, two = Counted("127.0.0.2", port), Counted("127.0.0.3", port)
    # Both count together.
    two.comes, two.goes = one.comes, one.goes
    # Of both shards, so that each has one connection there.
    many = [f"a{number}.example" for number in range(8)]
    settings = mx(*((name, "mx1.big.example", "127.0.0.2") for name in many), ("b.example", "mx2.big.example", "127.0.0.3"), ("c.example", "mx2.big.example", "127.0.0.3"))
    shaping = """
        [provider.big]
        match = [{ MXSuffix = ".big.example" }]
        provider_connection_limit = 2
    """
    relay, _ = relay_with(shaping, settings, port)
    # Slow enough that it has much left when the others come, however slowly they are sent.
    one.pause = 0.2
    send(relay, many, 200)
    send(relay, ["b.example", "c.example"], 4)
    one.pause = 0.03
    two.wait(4, 30)
    assert len(one.taken) < 200, "who has little waits for the end of who has much"
    one.wait(200, 60)
    # All of them are idle now, and kept for ten seconds where nobody wants them.
    begun = time.monotonic()
    send(relay, ["b.example", "c.example"], 20)
    two.wait(24, 30)
    assert time.monotonic() - begun < 5
    assert one.most == 2, f"{one.most} connections at one time"
    relay.stop()


def all_ways_to_the_same_hosts_share_what_bounds_them():
    """Two routes to one host, of which one says how TLS is used, and mail that its MX leads there."""
    port = free_port()
    hop = Timed("127.0.0.2", port)
    hop.pause = 0.1
    plain, other = [f"d{number}.plain.example" for number in range(6)], [f"d{number}.other.example" for number in range(6)]
    settings = mx(("big.example", "mx.big.example", "127.0.0.2"))
    for domain, tls in ("plain", ""), ("other", 'tls = "off"\n'):
        settings += f'[[route]]\ndomain = "*.{domain}.example"\nto = "smtp://mx.big.example:{port}"\n{tls}'
    shaping = """
        ["mx.big.example"]
        connection_limit = 3
    """
    relay, path = relay_with(shaping, settings, port)
    send(relay, plain, 200)
    # It is known by now that the host of the routes is where these go.
    send(relay, [*other, "big.example"], 28)
    end = time.monotonic() + 60
    while sum(".plain." not in str(taken[1]) for taken in list(hop.taken)) < 28:
        assert time.monotonic() < end, f"{len(hop.taken)} came"
        time.sleep(0.02)
    assert len(hop.taken) < 228, "who has little waits for the end of who has much"
    hop.wait(228, 60)
    assert hop.most == 3, f"{hop.most} connections at one time"
    # All of them are idle now, and kept for ten seconds where nobody wants them.
    begun = time.monotonic()
    send(relay, ["big.example"], 4)
    hop.wait(232, 30)
    assert time.monotonic() - begun < 5 and hop.most == 3, f"{time.monotonic() - begun} s, {hop.most} connections"
    hop.pause = 0
    reload(relay, path, shaping.replace("connection_limit = 3", 'max_message_rate = "30/s"'))
    hop.ends.clear()
    send(relay, [*plain, *other, "big.example"], 104)
    hop.wait(336, 30)
    took = max(hop.ends) - min(hop.ends)
    assert most_in_a_second(hop.ends) <= 33 and took >= 2.9, f"{most_in_a_second(hop.ends)} in a second, {took} s"
    relay.stop()


def what_is_given_up_in_a_body_never_arrives():
    """The kernel has it all by then, and would go on to send it to a hop that begins to read again, beside the next attempt."""
    port, got, over = free_port(), [], []

    def slow(talk, verb, line):
        domain = "rests" if talk.hop is rests else "slow"
        if verb != "DATA" or any(of == domain for of, _ in got):
            return None
        talk.say(b"354 go on\r\n")
        text, begun = talk.input, time.monotonic()
        got.append((domain, begun))
        try:
            while not text.endswith(b"\r\n.\r\n"):
                if domain == "rests" and len(text) > 200_000 and time.monotonic() < begun + 8:
                    time.sleep(8)
                piece = talk.socket.recv(20000)
                if not piece:
                    over.append((domain, "closed"))
                    raise Gone
                text += piece
                time.sleep(0.1)
        except ConnectionResetError:
            over.append((domain, "reset"))
            raise Gone
        over.append((domain, "whole"))
        talk.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return b"250 2.0.0 taken\r\n"

    slows, rests = Hop(slow, host="127.0.0.2", port=port), Hop(slow, host="127.0.0.3", port=port)
    for hop in (slows, rests):
        hop.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    settings = mx(("slow.example", "mx.slow.example", "127.0.0.2"), ("rests.example", "mx.rests.example", "127.0.0.3"))
    relay, _ = relay_with('["slow.example"]\ndata_dot_timeout = "2s"\n["rests.example"]\ndata_dot_timeout = "2s"\n', settings, port)
    text = b"Subject: much\r\n\r\n" + (b"x" * 70 + b"\r\n") * 15_000
    for domain in ("slow.example", "rests.example"):
        relay.send("a@b.example", [f"u@{domain}"], text)
    rests.wait(1, 60)
    # Who takes it all the time has time, though the kernel had it at once.
    end = time.monotonic() + 60
    while not (events := [event for event in relay.log() if event["event"] in ("delivered", "deferred") and event["recipients"] == ["u@slow.example"]]):
        assert time.monotonic() < end, relay.log()
        time.sleep(0.1)
    assert [event["event"] for event in events] == ["delivered"] and ("slow", "whole") in over, (over, events)
    assert ("rests", "reset") in over, over
    cut = [event["reply"] for event in relay.log() if event["event"] == "deferred"]
    assert len(cut) == 1 and "(sending the body)" in cut[0], cut
    relay.stop()


def a_stop_in_a_body_keeps_the_rest_from_arriving():
    """The kernel would go on to send it when the relay is gone, and the next start sends it again."""
    stopped, over = threading.Event(), []

    def slow(talk, verb, line):
        if verb != "DATA" or over or stopped.is_set():
            return None
        talk.say(b"354 go on\r\n")
        text = talk.input
        try:
            while not text.endswith(b"\r\n.\r\n"):
                if len(text) > 200_000:
                    stopped.wait(60)
                piece = talk.socket.recv(20000)
                if not piece:
                    over.append("closed")
                    raise Gone
                text += piece
        except ConnectionResetError:
            over.append("reset")
            raise Gone
        over.append("whole")
        raise Gone

    text = b"Subject: much\r\n\r\n" + (b"x" * 70 + b"\r\n")
    # The kernel has all of one, and a part of the other.
    for size in (15_000, 150_000):
        stopped.clear()
        over.clear()
        hop = Hop(slow)
        hop.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        relay = start(hop)
        relay.send("a@b.example", ["u@slow.example"], text + (b"x" * 70 + b"\r\n") * size)
        time.sleep(2)
        relay.process.terminate()
        assert relay.process.wait(45) == 0
        stopped.set()
        end = time.monotonic() + 20
        while not over:
            assert time.monotonic() < end, "the connection lives on"
            time.sleep(0.05)
        assert over == ["reset"], over
        # Nothing is held against the hop: it has the message at once.
        relay.start()
        hop.wait(1, 60)
        assert [event["event"] for event in relay.wait_log("delivered", 1)] == ["delivered"]
        assert not [event for event in relay.log() if event["event"] == "deferred"], relay.log()
        relay.stop()


def steps_and_mail_last_as_long_as_a_file_says():
    """A hop that is silent at MAIL, one that defers all, and one whose connection is kept for a moment only."""
    port = free_port()
    asked, gone = [], []

    def silent(talk, verb, line):
        if verb == "MAIL" and not asked:
            asked.append(time.monotonic())
            time.sleep(20)
        return None

    class Left(Hop):
        def serve(self, talk):
            super().serve(talk)
            gone.append(time.monotonic())

    mute = Left(silent, host="127.0.0.2", port=port)
    never = Hop(lambda talk, verb, line: b"451 4.3.0 not now\r\n" if verb == "RCPT" else None, host="127.0.0.3", port=port)
    sender = Hop(host="127.0.0.4", port=port)
    settings = mx(("mute.example", "mx.mute.example", "127.0.0.2"), ("never.example", "mx.never.example", "127.0.0.3"), ("b.example", "mx.b.example", "127.0.0.4"))
    shaping = """
        ["mute.example"]
        mail_from_timeout = "1s"
        idle_timeout = "1s"
        ["never.example"]
        max_age = "4s"
    """
    relay, _ = relay_with(shaping, settings, port)
    begun = time.monotonic()
    send(relay, ["mute.example", "never.example"], 2)
    mute.wait(1, 15)
    taken = time.monotonic()
    assert 1 <= taken - asked[0] < 12, taken - asked[0]
    sender.wait(1, 20)
    text = sender.taken[0][2]
    assert 3.5 <= time.monotonic() - begun and b"u1x0@never.example" in text and b"4.4.7" in text, text
    while not gone:
        assert time.monotonic() - taken < 5, "the connection is kept"
        time.sleep(0.1)
    relay.stop()


def what_a_rule_says_of_a_reply_comes_first():
    port = free_port()
    asked = {}

    def moon(talk, verb, line):
        if verb != "RCPT":
            return None
        asked[line] = asked.get(line, 0) + 1
        return b"550 5.1.1 no such user while the moon is full\r\n" if asked[line] == 1 else None

    one, two = Hop(moon, host="127.0.0.2", port=port), Hop(moon, host="127.0.0.3", port=port)
    settings = mx(("a.example", "mx.moon.example", "127.0.0.2"), ("b.example", "mx.sun.example", "127.0.0.3"), ("b.b.example", "mx.b.example", "127.0.0.4"))
    shaping = """
        [provider.moon]
        match = [{ MXSuffix = ".moon.example" }]
        [[provider.moon.automation]]
        regex = "^550 .*the moon is full"
        permanent = false
    """
    relay, _ = relay_with(shaping, settings, port)
    send(relay, ["a.example", "b.example"], 10)
    one.wait(5, 30)
    time.sleep(2)
    assert not [to for _, to, _, _ in two.taken if to != ["a@b.example"]], "it is as final as its code says where no rule says otherwise"
    relay.stop()


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
    reload(relay, path, shaping.replace("connection_limit = 2", "connection_limit = 1"))
    time.sleep(3)
    big.forget()
    send(relay, domains, 60)
    big.wait(540, 60)
    assert big.most == 1, f"{big.most} connections at one time"
    # It is counted by its name, and what is of no provider together.
    end, counted = time.monotonic() + 10, {}
    while counted != {"big": 540, "other": 240} and time.monotonic() < end:
        time.sleep(0.2)
        with urllib.request.urlopen(f"http://127.0.0.1:{relay.http}/metrics", timeout=10) as answer:
            lines = re.findall(r'relevo_provider_recipients_total\{provider="(\w+)",outcome="delivered"\} (\d+)', answer.read().decode())
        counted = {name: int(count) for name, count in lines}
    assert counted == {"big": 540, "other": 240}, counted
    relay.stop()


def a_section_of_a_domain_holds_for_all_with_its_hosts_or_for_it_alone():
    port = free_port()
    shared, apart = Counted("127.0.0.2", port), Counted("127.0.0.3", port)
    settings = mx(
        ("named.example", "mx.one.example", "127.0.0.2"),
        ("beside.example", "mx.one.example", "127.0.0.2"),
        ("alone.example", "mx.two.example", "127.0.0.3"),
        ("busy.example", "mx.two.example", "127.0.0.3"),
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
    send(relay, ["busy.example"], 60)
    apart.wait(90, 60)
    assert apart.most > 1, "what is said of one domain alone is said of no other"
    relay.stop()


class Few(Counted):
    """It takes so many connections at one time and says 421 to others, and so many messages over one of them."""

    def __init__(self, host, port, connections, messages=10**9):
        self.connections, self.messages, self.turned_away, self.ended = connections, messages, [], 0
        super().__init__(host, port, pause=0.01)

    def converse(self, talk):
        if self.open > self.connections:
            self.turned_away.append(time.monotonic())
            talk.say(b"421 4.7.0 too many concurrent connections from you\r\n")
        else:
            super().converse(talk)

    def slowly(self, talk, verb, line):
        if verb == "MAIL" and self.over.get(talk.number, 0) >= self.messages:
            self.ended += 1
            talk.say(b"421 4.7.0 enough messages on this connection\r\n")
            raise Gone
        return super().slowly(talk, verb, line)


def a_site_gets_as_many_connections_as_it_takes():
    """From both shards, with no word of it in any file; a hop beside it gets all it may have."""
    port = free_port()
    few, free = Few("127.0.0.2", port, 3), Counted("127.0.0.3", port, 0.05)
    domains = [f"d{number}.example" for number in range(6)]
    settings = mx(*[(domain, "mx.few.example", "127.0.0.2") for domain in domains], ("free.example", "mx.free.example", "127.0.0.3"))
    relay, _ = relay_with("", settings, port)
    send(relay, domains, 600)
    few.wait(600, 60)
    first = len(few.turned_away)
    assert 1 <= first <= 20, f"{first} connections turned away"
    # It is known by now.
    few.turned_away.clear()
    begun = time.monotonic()
    send(relay, domains, 600)
    few.wait(1200, 60)
    took = time.monotonic() - begun
    assert len(few.turned_away) <= 2 + took / 5, f"{len(few.turned_away)} turned away in {took} s"
    send(relay, ["free.example"], 200)
    free.wait(200, 30)
    assert free.most > 3, f"{free.most} connections at one time"
    assert any("mx.few.example" in words or "of 20 connections for now" in words for words in list(relay.words)), relay.words
    # And after a start, too.
    relay.process.terminate()
    relay.process.wait(45)
    few.turned_away.clear()
    relay.start()
    begun = time.monotonic()
    send(relay, domains, 600)
    few.wait(1800, 60)
    took = time.monotonic() - begun
    assert len(few.turned_away) <= 1 + took / 5, f"{len(few.turned_away)} turned away in {took} s"
    relay.stop()


def what_one_connection_may_carry_is_learned():
    port = free_port()
    few = Few("127.0.0.2", port, 100, messages=5)
    domains = [f"d{number}.example" for number in range(6)]
    settings = mx(*[(domain, "mx.few.example", "127.0.0.2") for domain in domains])
    relay, _ = relay_with("", settings, port)
    send(relay, domains, 100)
    few.wait(100, 30)
    few.ended = 0
    send(relay, domains, 300)
    few.wait(400, 30)
    assert few.ended <= 10, f"{few.ended} connections went on until the hop ended them"
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
