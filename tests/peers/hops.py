"""Next hops that break the rules, and the real binary: `hops.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import email
import email.policy
import json
import os
import random
import socket
import ssl
import struct
import sys
import tempfile
import threading
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "attacks"))
from names import Names
from ports import free_port
from certificate import certificate, weak_certificates
from relay import Relay
from sink import path

BINARY = os.path.abspath(sys.argv[2])
FAST = '[retry]\nfirst = "1s"\nmax = "1s"\n'
ALONE = "[delivery]\nmessages_per_connection = 1\nconnections_per_destination = 1\n"
TEXT = b"Subject: hello\r\n\r\nA line.\r\n"
PIPELINING = ("PIPELINING", "8BITMIME")


class Gone(Exception):
    pass


class Talk:
    """One connection, from the hop's side."""

    def __init__(self, hop, connection, number):
        self.hop, self.socket, self.number, self.input = hop, connection, number, b""
        self.protected = False

    def say(self, words):
        self.socket.sendall(words)

    def line(self):
        while b"\n" not in self.input:
            self.more()
        line, self.input = self.input.split(b"\n", 1)
        self.hop.heard.append((self.number, line.strip()))
        return line + b"\n"

    def more(self):
        piece = self.socket.recv(65536)
        if not piece:
            raise Gone
        self.input += piece

    def body(self):
        while not (b"\r\n" + self.input).count(b"\r\n.\r\n"):
            self.more()
        text, self.input = (b"\r\n" + self.input).split(b"\r\n.\r\n", 1)
        return (text + b"\r\n")[2:].replace(b"\r\n..", b"\r\n.")

    def secure(self):
        self.socket = self.hop.context.wrap_socket(self.socket, server_side=True)
        self.input, self.protected = b"", True

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
        raise Gone

    def rest(self):
        """Whatever else comes until the other end goes."""
        try:
            while True:
                self.line()
        except (Gone, OSError):
            pass


class Hop:
    """Asks `act(talk, verb, line)` at each command (and at `connect` and `dot`): None is the right answer, bytes are said instead."""

    def __init__(self, act=None, extensions=PIPELINING, context=None, host="127.0.0.1", port=0):
        self.act = act or (lambda talk, verb, line: None)
        self.extensions, self.context = extensions, context
        self.heard, self.taken, self.talks = [], [], 0
        self.listener = socket.create_server((host, port), backlog=100)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.talks += 1
            threading.Thread(target=self.serve, args=(Talk(self, connection, self.talks),), daemon=True).start()

    def comes(self, talk):
        """For who counts connections."""

    def goes(self, talk):
        """Before the close: the relay may be here again as soon as it sees that."""

    def serve(self, talk):
        self.comes(talk)
        try:
            self.converse(talk)
        except (Gone, OSError):
            pass
        finally:
            self.goes(talk)
            talk.socket.close()

    def converse(self, talk):
        talk.say(self.act(talk, "connect", b"") or b"220 hop.example ESMTP\r\n")
        sender, recipients, last = None, [], None
        while True:
            line = talk.line()
            verb = line.split(b" ")[0].strip().upper().split(b":")[0].decode("ascii", "replace")
            said = self.act(talk, verb, line)
            if said is not None:
                talk.say(said)
                if said[:1] != b"2" or verb == "DATA":
                    continue
            if verb == "EHLO":
                words = ["hop.example", *self.extensions, *(["STARTTLS"] if self.context and not talk.protected else [])]
                text = "".join(f"250{'-' if word is not words[-1] else ' '}{word}\r\n" for word in words)
                said or talk.say(text.encode())
            elif verb == "STARTTLS":
                said or talk.say(b"220 go on\r\n")
                talk.secure()
            elif verb == "MAIL":
                sender, recipients = path(line), []
                said or talk.say(b"250 2.1.0 ok\r\n")
            elif verb == "RCPT":
                recipients.append(path(line))
                said or talk.say(b"250 2.1.5 ok\r\n")
            elif verb == "DATA" and not recipients:
                talk.say(b"554 5.5.1 no valid recipients\r\n")
            elif verb == "DATA":
                talk.say(b"354 go on\r\n")
                text = talk.body()
                said = self.act(talk, "dot", text) or b"250 2.0.0 taken\r\n"
                if said[:1] == b"2":
                    self.taken.append((sender, recipients, text, talk))
                recipients = []
                talk.say(said)
            elif verb == "QUIT":
                talk.say(b"221 2.0.0 bye\r\n")
                return
            else:
                said or talk.say(b"250 2.0.0 ok\r\n")

    def commands(self, verb):
        return [line for _, line in list(self.heard) if line.upper().startswith(verb)]

    def wait(self, count, seconds=30):
        end = time.monotonic() + seconds
        while sum(len(recipients) for _, recipients, _, _ in list(self.taken)) < count:
            assert time.monotonic() < end, f"{len(self.taken)} messages of {count} in {seconds} s: {self.heard[-20:]}"
            time.sleep(0.02)


def routes(hops):
    return "".join(f'[[route]]\ndomain = "{name}.example"\nto = "smtp://127.0.0.1:{hop.port}"\n' for name, hop in hops.items())


def start(hop, more=FAST, **others):
    return Relay(BINARY, hop, more, **others)


def metric(relay, name):
    with urllib.request.urlopen(f"http://127.0.0.1:{relay.http}/metrics", timeout=10) as answer:
        lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
    return sum(float(line.split()[-1]) for line in lines if name in line.split("{")[0].split()[0])


def wait_metric(relay, name, least):
    end = time.monotonic() + 10
    while metric(relay, name) < least:
        assert time.monotonic() < end, f"{name} is {metric(relay, name)}, not {least}"
        time.sleep(0.2)


def leave(talk):
    talk.socket.close()
    raise Gone


def say_and_end(talk, words, end=leave):
    """The end comes with the words, in one segment; a reset, which would take them along, right behind them."""
    if end is leave:
        talk.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    talk.say(words)
    end(talk)


def leave_after(talk, words):
    talk.say(words)
    leave(talk)


def tls_that_breaks_anywhere_falls_back():
    """RFC 3207 and RFC 7435: no way of breaking STARTTLS keeps mail from going, and the second message does not try it again."""

    def at_starttls(what):
        def act(talk, verb, line):
            return what(talk) if verb == "STARTTLS" else None

        return act

    def under_tls(wanted, what):
        def act(talk, verb, line):
            return what(talk) if verb == wanted and talk.protected else None

        return act

    def say_and_leave(words):
        def say(talk):
            talk.say(words)
            leave(talk)

        return say

    def say_and_hang(talk):
        talk.say(b"220 go on\r\n")
        talk.rest()
        raise Gone

    def shake_and_leave(talk):
        talk.say(b"220 go on\r\n")
        talk.secure()
        leave(talk)

    with tempfile.TemporaryDirectory() as directory:
        context = certificate(directory)
        modes = {
            "closed": at_starttls(leave),
            "reset": at_starttls(lambda talk: talk.reset()),
            "refused": at_starttls(say_and_leave(b"454 4.7.0 no TLS now\r\n")),
            "odd": at_starttls(say_and_leave(b"354 what\r\n")),
            "nonsense": at_starttls(say_and_leave(b"yes please\r\n")),
            "silent": at_starttls(say_and_hang),
            "left": at_starttls(say_and_leave(b"220 go on\r\n")),
            "garbage": at_starttls(say_and_leave(b"220 go on\r\n" + b"this is not TLS\r\n" * 20)),
            "shaken": at_starttls(shake_and_leave),
            "ehlo": under_tls("EHLO", leave),
            "ehlo5": under_tls("EHLO", lambda talk: b"502 5.5.1 no\r\n"),
            "mail": under_tls("MAIL", leave),
        }
        helo = lambda act: lambda talk, verb, line: b"502 5.5.1 no\r\n" if verb == "HELO" else act(talk, verb, line)
        hops = {name: Hop(helo(act) if name == "ehlo5" else act, context=context) for name, act in modes.items()}
        relay = start(None, ALONE + FAST, route=routes(hops))
        for name in hops:
            relay.send("a@b.example", [f"first@{name}.example"], TEXT)
        for name, hop in hops.items():
            hop.wait(1, 60 if name == "silent" else 20)
            assert not hop.taken[0][3].protected, name
        # Each shard learns for itself; a domain has one.
        before, begun = {name: hop.talks for name, hop in hops.items()}, time.monotonic()
        assert metric(relay, "tls_fallbacks") == len(hops), metric(relay, "tls_fallbacks")
        for name in hops:
            relay.send("a@b.example", [f"second@{name}.example"], TEXT)
        for name, hop in hops.items():
            hop.wait(2)
            assert hop.talks == before[name] + 1, f"{name}: {hop.talks - before[name]} connections for the second message"
            assert len(hop.commands(b"STARTTLS")) == 1, f"{name}: STARTTLS was tried again"
        assert time.monotonic() - begun < 10
        wait_metric(relay, "tls_avoided", len(hops))
        assert not [record for record in relay.log() if record["event"] == "deferred"], "an attempt was lost by it"
        assert all(relay.told(f"]:{hop.port}: ") for hop in hops.values())
        said = {name: [words for words in relay.words if f"]:{hop.port}: " in words] for name, hop in hops.items()}
        for name, words in said.items():
            right = "it refused STARTTLS" if name == "refused" else "TLS broke"
            assert len(words) == 1 and right in words[0], (name, words)
        relay.stop()


def a_busy_host_and_a_hiccup_are_not_broken_tls():
    """A 421 or a refusal while TLS is set up is the host's load (RFC 5321 3.8), and one hiccup of a host that takes mail by TLS alone is
    forgotten when it asks for TLS."""
    with tempfile.TemporaryDirectory() as directory:
        context = certificate(directory)

        def once(verb, protected, what):
            def act(talk, said, line):
                if said == verb and talk.protected == protected and not talk.hop.met:
                    talk.hop.met = True
                    return what(talk)
                # It takes mail by TLS alone.
                return b"530 5.7.0 Must issue a STARTTLS command first\r\n" if said in ("MAIL", "RCPT", "DATA") and not talk.protected else None

            return act

        go_and_leave = lambda talk: leave_after(talk, b"220 go on\r\n")
        modes = {
            "shut": once("STARTTLS", False, lambda talk: leave_after(talk, b"421 4.3.2 shutting down\r\n")),
            "busy": once("EHLO", True, lambda talk: leave_after(talk, b"421 4.3.2 too busy\r\n")),
            "later": once("EHLO", True, lambda talk: leave_after(talk, b"451 4.7.1 later\r\n")),
            "hiccup": once("STARTTLS", False, go_and_leave),
            "mail": once("MAIL", True, leave),
        }
        hops = {name: Hop(act, context=context) for name, act in modes.items()}
        for hop in hops.values():
            hop.met = False
        relay = start(None, ALONE + FAST, route=routes(hops))
        for number, name in enumerate(hops):
            relay.send("a@b.example", [f"c@{name}.example"], TEXT)
        for name, hop in hops.items():
            hop.wait(1)
            assert hop.taken[0][3].protected, name
            if name in ("shut", "busy", "later"):
                assert hop.talks == 2 and not relay.told(f":{hop.port}: TLS", seconds=0.1), (name, hop.heard)
        for name, hop in hops.items():
            relay.send("a@b.example", [f"d@{name}.example"], TEXT)
            hop.wait(2)
            assert hop.taken[1][3].protected, name
        assert not [record for record in relay.log() if record["event"] == "bounced"]
        relay.stop()


def any_certificate_will_do():
    """RFC 7435: what nobody verifies is no reason for plain text, in either version of TLS."""
    with tempfile.TemporaryDirectory() as directory:
        hops = {}
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            for name, context in weak_certificates(directory):
                context.minimum_version = context.maximum_version = version
                hops[f"{name}{version.value}"] = Hop(context=context)
        relay = start(None, ALONE + FAST, route=routes(hops))
        for name, hop in hops.items():
            relay.send("a@b.example", [f"c@{name}.example"], TEXT)
            hop.wait(1)
            assert hop.taken[0][3].protected and hop.talks == 1, (name, relay.words)
        relay.stop()


def tls_that_is_refused_is_done_without():
    """A 454 by a hop that goes on: plain text in the same session, and capabilities are those of the last EHLO or HELO."""
    with tempfile.TemporaryDirectory() as directory:
        context = certificate(directory)
        polite = Hop(lambda talk, verb, line: b"454 4.7.0 no TLS now\r\n" if verb == "STARTTLS" else None, context=context)

        def narrower(talk, verb, line):
            # Under TLS, or when it knows only HELO, it offers less: no PIPELINING, no SIZE, no 8BITMIME.
            if verb == "EHLO":
                return b"250 hop.example\r\n" if talk.protected else b"250-hop.example\r\n250-PIPELINING\r\n250-SIZE 9\r\n250-8BITMIME\r\n250 STARTTLS\r\n"
            if verb == "MAIL":
                talk.socket.settimeout(1)
                try:
                    more = talk.socket.recv(100) if not talk.input else talk.input
                except TimeoutError:
                    more = b""
                talk.socket.settimeout(None)
                assert not more, more
                assert b"SIZE" not in line and b"BODY" not in line, line
            return None

        narrow = Hop(narrower, context=context)
        # Under TLS it knows no EHLO any more: nothing of the first one counts.
        fallen = Hop(lambda talk, verb, line: b"502 5.5.1 no\r\n" if verb == "EHLO" and talk.protected else narrower(talk, verb, line), context=context)

        def only_helo(talk, verb, line):
            if verb == "EHLO":
                return b"502-5.5.1 PIPELINING\r\n502 5.5.1 SIZE 1\r\n"
            return narrower(talk, verb, line)

        old = Hop(only_helo)
        relay = start(None, FAST, route=routes({"polite": polite, "narrow": narrow, "fallen": fallen, "old": old}))
        for name, hop in (("polite", polite), ("narrow", narrow), ("fallen", fallen), ("old", old)):
            relay.send("a@b.example", [f"c@{name}.example"], TEXT * 10)
            hop.wait(1)
            assert hop.talks == 1, name
        assert narrow.taken[0][3].protected and fallen.taken[0][3].protected and not polite.taken[0][3].protected
        wait_metric(relay, "tls_refused", 1)
        assert metric(relay, "tls_fallbacks") == 0
        relay.stop()


def what_fails_after_refused_tls_is_not_tls():
    """A hop that refuses STARTTLS and goes is spoken to in plain text, and nobody is told that TLS broke there."""
    with tempfile.TemporaryDirectory() as directory:
        context = certificate(directory)

        def going(talk, verb, line):
            if verb == "STARTTLS":
                talk.refused = True
                return b"454 4.7.0 no TLS now\r\n"
            if getattr(talk, "refused", False):
                if verb == talk.hop.at:
                    talk.hop.end(talk)
            return None

        hops = {}
        end_of_hello = lambda talk: say_and_end(talk, b"250 hop.example\r\n")
        for name, at, end in (("mail", "MAIL", leave), ("reset", "MAIL", Talk.reset), ("hello", "EHLO", end_of_hello)):
            hop = hops[name] = Hop(going, context=context)
            hop.at, hop.end = at, end
        relay = start(None, ALONE + FAST, route=routes(hops))
        for name, hop in hops.items():
            relay.send("a@b.example", [f"c@{name}.example"], TEXT)
            hop.wait(1)
            assert not [record for record in relay.log() if record["event"] == "deferred"], name
        assert not any("TLS broke" in words for words in relay.words), relay.words
        told = lambda: sum("it refused STARTTLS, and left the session then" in words for words in relay.words)
        # Lines for the operator are written a moment later.
        end = time.monotonic() + 5
        while told() < len(hops) and time.monotonic() < end:
            time.sleep(0.1)
        assert told() == len(hops), relay.words
        relay.stop()


def a_refusal_stands_though_the_hop_closes():
    """5xx and the end of the connection in one segment (or a reset behind it): one bounce with the hop's words, and no retry."""
    points = {"MAIL": b"550 5.1.8 no such domain\r\n", "RCPT": b"550 5.1.1 no such user\r\n", "DATA": b"554 5.6.0 not that\r\n"}
    points["dot"] = b"554 5.6.0 not this text\r\n"
    for extensions in (PIPELINING, ()):

        def act(talk, verb, line):
            if verb != talk.hop.at:
                return None
            words = points[verb]
            if extensions and talk.hop.whole:
                # All that the group is owed, at once.
                later = {"MAIL": 2, "RCPT": 1}.get(verb, 0)
                for _ in range(later):
                    talk.line()
                words += b"554 5.5.1 no valid recipients\r\n" * later
            say_and_end(talk, words + talk.hop.more, talk.hop.end)

        hops = {}
        for at in points:
            for end, how in (("left", leave), ("reset", Talk.reset)):
                for more in (b"", b"421 4.7.0 bye\r\n"):
                    for whole in (True, False) if extensions and not more else (True,):
                        hop = hops[f"{at}-{end}-{len(more)}-{whole}".lower()] = Hop(act, extensions=extensions)
                        hop.at, hop.end, hop.more, hop.whole = at, how, more, whole
        relay = start(None, FAST, route=routes(hops) + '[[route]]\ndomain = "b.example"\nto = "smtp://127.0.0.1:1"\n')
        for name in hops:
            relay.send("a@b.example", [f"c@{name}.example"], TEXT)
        end = time.monotonic() + 20
        seen = lambda: [record for record in relay.log() if "c@" in json.dumps(record) and record["event"] in ("bounced", "deferred", "delivered")]
        while len(seen()) < len(hops) and time.monotonic() < end:
            time.sleep(0.1)
        # As long as a retry would take.
        time.sleep(2.5)
        assert sorted(record["event"] for record in seen()) == ["bounced"] * len(hops), [record for record in seen() if record["event"] != "bounced"]
        for name, hop in hops.items():
            (record,) = [record for record in seen() if f"c@{name}.example" in json.dumps(record)]
            assert record["reply"].startswith(points[hop.at].decode().strip()), (name, record)
            assert hop.talks == 1, (name, hop.heard)
        assert metric(relay, "replies_unasked") == 0
        relay.stop()


def an_answer_to_rset_is_no_surplus():
    """A refused RSET ends the session and changes nothing; words behind its answer show that nothing was in step."""
    for answer, event in ((b"550 5.7.1 no\r\n", "bounced"), (b"451 4.3.0 no\r\n", "bounced"), (b"503 5.5.1 no\r\n", "bounced"),
                          (b"421 4.3.0 no\r\n", "bounced"), (b"354 go\r\n", "deferred"), (b"250 ok\r\n250 ok\r\n", "deferred")):

        def act(talk, verb, line):
            if verb == "RCPT":
                return b"550 5.1.1 no such user\r\n"
            return answer if verb == "RSET" else None

        hop = Hop(act)
        relay = start(None, '[retry]\nfirst = "1h"\nmax = "1h"\n', route=routes({"d": hop}) + '[[route]]\ndomain = "b.example"\nto = "smtp://127.0.0.1:1"\n')
        relay.send("a@b.example", ["c@d.example"], TEXT)
        told = relay.wait_log(event)
        assert "c@d.example" in json.dumps(told[0]), (answer, told)
        assert event == "deferred" or told[0]["reply"].startswith("550 5.1.1 no such user"), (answer, told)
        assert metric(relay, "replies_unasked") == (event == "deferred"), answer
        relay.stop()


def an_end_between_commands_is_an_end():
    """Close right behind EHLO or a taken message: a lost connection, and no reply that nobody asked for."""
    hop = Hop(lambda talk, verb, line: say_and_end(talk, b"250 hop\r\n") if verb == "EHLO" and talk.number == 1 else None)
    relay = start(hop)
    relay.send("a@b.example", ["c@d.example"], TEXT)
    hop.wait(1)
    assert not any("before it was asked" in words for words in relay.words), relay.words
    relay.stop()

    def once(talk, verb, line):
        if verb == "dot":
            talk.hop.taken.append((None, ["c"], line, talk))
            say_and_end(talk, b"250 2.0.0 taken\r\n")
        return None

    hop = Hop(once)
    relay = start(hop, "[delivery]\nconnections_per_destination = 1\n" + FAST)
    for number in range(6):
        relay.send("a@b.example", [f"u{number}@d.example"], TEXT)
    relay.wait_log("delivered", 6)
    assert len(hop.taken) == 6 and metric(relay, "replies_unasked") == 0
    assert not [record for record in relay.log() if record["event"] == "deferred"], relay.log()
    relay.stop()


def a_hop_that_closes_after_each_message_is_no_hole():
    """Connections that carried nothing yet have few places of a shard; a hop that takes mail and then closes gets the others too."""
    under_way, most = [], [0]

    def act(talk, verb, line):
        if verb == "connect":
            under_way.append(talk)
            most[0] = max(most[0], len(under_way))
        if verb == "dot":
            time.sleep(0.2)
            under_way.remove(talk)
            # In one segment: the relay knows of the end before it would begin another message.
            talk.hop.taken.append((None, ["c"], line, talk))
            say_and_end(talk, b"250 2.0.0 taken\r\n421 4.7.0 one message each\r\n")
        return None

    # Without PIPELINING: no commands of the next message are under way when it says that.
    hop = Hop(act, extensions=())
    relay = start(hop, FAST + "[[shard]]\nindex = 0\nconnections_outbound_max = 8\n", shards=1)
    for number in range(30):
        relay.send("a@b.example", [f"u{number}@d.example"], TEXT)
    relay.wait_log("delivered", 30)
    # Of one message's connections that have carried nothing there is one.
    assert most[0] > 2, f"{most[0]} connections at a time"
    relay.stop()


def a_refusal_in_the_middle_of_a_body_is_the_answer():
    big = b"Subject: big\r\n\r\n" + b"x" * 70 + b"\r\n"
    big += (b"y" * 70 + b"\r\n") * 200000

    def act(talk, verb, line):
        if verb == "DATA" and talk.hop.taken == []:
            talk.say(b"354 go on\r\n")
            talk.more()
            talk.say(talk.hop.words)
            if talk.hop.then == "reset":
                talk.reset()
            if talk.hop.then == "wait":
                time.sleep(3)
            leave(talk)
        return None

    hops = {}
    for code in (552, 554, 451, 421):
        for then in ("reset", "leave", "wait"):
            hop = hops[f"{then}{code}"] = Hop(act)
            hop.words, hop.then = b"%d %d.3.4 enough of this\r\n" % (code, code // 100), then
    # Retried late, so that the first answer is what is looked at.
    relay = start(None, '[retry]\nfirst = "1h"\nmax = "1h"\n', route=routes(hops) + '[[route]]\ndomain = "b.example"\nto = "smtp://127.0.0.1:1"\n')
    for name in hops:
        relay.send_raw("a@b.example", [f"c@{name}.example"], big)
    end, seen = time.monotonic() + 60, {}
    while len(seen) < len(hops):
        assert time.monotonic() < end, f"{set(hops) - set(seen)}: {relay.log()[-5:]}"
        for record in relay.log():
            for to in record.get("recipients", record.get("to", [])) if record["event"] in ("bounced", "deferred", "delivered") else []:
                if to.startswith("c@"):
                    seen[to[2:-8]] = record
        time.sleep(0.2)
    for name, record in seen.items():
        code = name[-3:]
        assert record["event"] == ("bounced" if code[0] == "5" else "deferred"), (name, record)
        assert record["reply"].startswith(f"{code} {code[0]}.3.4 enough of this"), (name, record)
    wait_metric(relay, "replies_early", len(hops))
    relay.stop()


def nothing_before_the_dot_is_its_answer():
    for extensions in (PIPELINING, ()):
        for early in (b"250 2.0.0 taken\r\n", b"354 again\r\n", b"250-2.0.0 tak"):

            def act(talk, verb, line, early=early):
                if verb == "DATA" and talk.number == 1:
                    talk.say(b"354 go on\r\n" + early)
                    if early.endswith(b"tak"):
                        time.sleep(0.5)
                        talk.say(b"en\r\n250 2.0.0 taken\r\n")
                    try:
                        talk.body()
                        talk.say(b"550 5.7.1 never\r\n")
                    finally:
                        talk.rest()
                    raise Gone
                return None

            hop = Hop(act, extensions=extensions)
            relay = start(hop)
            relay.send("a@b.example", ["c@d.example"], TEXT)
            hop.wait(1)
            assert hop.talks == 2 and len(hop.taken) == 1
            deferred = relay.wait_log("deferred")
            assert deferred[0]["reply"].startswith("451 4.5.0 the next hop answered before the end of data"), deferred
            assert (1, b".") not in hop.heard
            relay.wait_log("delivered")
            relay.stop()


def a_reply_that_is_begun_before_the_dot_holds_nothing():
    big = b"Subject: big\r\n\r\n" + (b"y" * 70 + b"\r\n") * 200000
    for words, text in ((b"25", TEXT), (b"550-5.7.1 no\r\n", TEXT), (b"5", big)):

        def act(talk, verb, line):
            if verb != "DATA" or talk.hop.good:
                return None
            talk.say(b"354 go on\r\n" if text is big else b"354 go on\r\n" + words)
            if text is big:
                talk.more()
                talk.say(words)
            talk.hop.begun.set()
            # Neither read nor ended.
            talk.hop.over.wait(60)
            raise Gone

        hop = Hop(act)
        hop.good, hop.begun, hop.over = False, threading.Event(), threading.Event()
        relay = start(hop)
        relay.send_raw("a@b.example", ["c@d.example"], text)
        deferred = relay.wait_log("deferred")
        assert "began to answer before the end of data, and did not go on" in deferred[0]["reply"], deferred
        hop.good = True
        hop.wait(1)
        # A stop does not wait for it.
        hop.good = False
        hop.begun.clear()
        relay.send_raw("a@b.example", ["e@d.example"], text)
        assert hop.begun.wait(20)
        begun = time.monotonic()
        relay.stop()
        assert time.monotonic() - begun < 8, time.monotonic() - begun
        hop.over.set()


def replies_nobody_asked_for_end_the_connection():
    for extensions in (PIPELINING, ()):
        for extra in (b"250 2.0.0 taken\r\n", b"550 5.1.1 no such user\r\n", b"250 hal"):
            hop = Hop(lambda talk, verb, line, extra=extra: b"250 2.0.0 taken\r\n" + extra if verb == "dot" else None, extensions=extensions)
            relay = start(hop, '[delivery]\nconnections_per_destination = 1\n' + FAST)
            for number in range(12):
                relay.send("a@b.example", [f"u{number}@d.example"], TEXT)
            hop.wait(12)
            relay.wait_log("delivered", 12)
            time.sleep(0.5)
            assert not [record for record in relay.log() if record["event"] == "bounced"], "returned for a reply to nothing"
            assert sorted(to for _, recipients, _, _ in hop.taken for to in recipients) == sorted(f"u{n}@d.example" for n in range(12))
            wait_metric(relay, "replies_unasked", 1)
            relay.stop()

    # Words between messages, and right behind the EHLO reply.
    def chatty(talk, verb, line):
        if verb == "dot":
            threading.Timer(0.3, lambda: talk.say(b"250 2.0.0 still here\r\n")).start()
        return None

    hop = Hop(chatty)
    relay = start(hop)
    for number in range(3):
        relay.send("a@b.example", [f"u{number}@d.example"], TEXT)
        time.sleep(1)
    hop.wait(3)
    assert hop.talks == 3 and not [record for record in relay.log() if record["event"] != "received" and record["event"] != "delivered"]
    relay.stop()
    greeting = Hop(lambda talk, verb, line: b"250-hop\r\n250 PIPELINING\r\n250 ok\r\n" if verb == "EHLO" and talk.number < 3 else None)
    relay = start(greeting)
    relay.send("a@b.example", ["c@d.example"], TEXT)
    greeting.wait(1, 60)
    assert not [line for number, line in greeting.heard if number < 3 and line.upper().startswith(b"MAIL")], greeting.heard
    relay.stop()


def strays_before_a_command_answer_none():
    """A hop without PIPELINING says more than it was asked, in one segment, and later gives each command its own answer, the last a refusal."""
    rest = b"250 stray\r\n354 stray\r\n"
    strays = {"lost": ("MAIL", b"250 ok\r\n" + rest), "back": ("MAIL", b"250 ok\r\n550 5.1.1 stray\r\n"), "open": ("RCPT", b"250 ok\r\n354 stray\r\n")}
    strays |= {"some": ("RCPT", b"550 5.1.1 no\r\n250 stray\r\n"), "half": ("MAIL", b"250 ok\r\n25"), "reset": ("RSET", b"250 ok\r\n250 stray\r\n")}
    strays |= {"greeting": ("connect", b"220 hop\r\n" + rest), "ehlo": ("EHLO", b"250 hop\r\n" + rest), "tls": ("STARTTLS", b"454 4.7.0 no\r\n250 stray\r\n")}
    strays |= {"goes": ("MAIL", b"250 ok\r\n421 4.3.2 going down\r\n")}

    def stray(wanted, words):
        def act(talk, verb, line):
            if talk.hop.good:
                return None
            if wanted == "RSET" and verb == "RCPT":
                return b"450 4.2.0 later\r\n"
            if verb == "dot":
                return b"550 5.7.1 never\r\n"
            if verb == wanted:
                talk.say(words)
                # What comes is answered as it should be.
                while wanted != "connect":
                    said = {b"D": b"354 go on\r\n", b"R": b"250 ok\r\n"}.get(talk.line()[:1].upper(), b"550 5.7.1 never\r\n")
                    talk.say(said)
                talk.rest()
                raise Gone
            return None

        hop = Hop(act, extensions=("STARTTLS",) if wanted == "STARTTLS" else ())
        hop.good = False
        return hop

    hops = {name: stray(*how) for name, how in strays.items()}
    relay = start(None, FAST, route=routes(hops))
    for name in hops:
        relay.send("a@b.example", [f"u{number}@{name}.example" for number in range(1 if name in ("back", "reset") else 2)], TEXT)
    told = lambda name: [record for record in relay.log() if record["event"] == "deferred" and f"@{name}." in record["recipients"][0]]
    end = time.monotonic() + 30
    while not all(told(name) for name in hops):
        assert time.monotonic() < end, [name for name in hops if not told(name)]
        time.sleep(0.1)
    for name, hop in hops.items():
        assert not [record for record in relay.log() if record["event"] in ("delivered", "bounced")], (name, relay.log())
        wanted = strays[name][0]
        behind = [line for number, line in hop.heard if number == 1]
        at = next((place for place, line in enumerate(behind) if line.upper().startswith(wanted.encode())), -1)
        assert name == "goes" or behind[at + 1 :] == [], (name, behind)
        hop.good = True
    for name, hop in hops.items():
        hop.wait(1 if name in ("back", "reset") else 2)
    time.sleep(0.5)
    assert not [record for record in relay.log() if record["event"] == "bounced"], "returned for a reply to nothing"
    relay.stop()


def codes_that_do_not_fit_end_the_session():
    cases = [("MAIL", b"354 go\r\n"), ("MAIL", b"334 \r\n"), ("RCPT", b"354 go\r\n"), ("RCPT", b"300 hm\r\n"), ("DATA", b"250 ok\r\n")]
    cases += [("DATA", b"334 \r\n"), ("dot", b"354 go\r\n"), ("EHLO", b"354 go\r\n"), ("connect", b"354 go\r\n"), ("RSET", b"354 go\r\n")]
    # What answers other commands: QUIT, AUTH, HELP, a connection.
    cases += [("MAIL", b"221 bye\r\n"), ("MAIL", b"220 hello\r\n"), ("RCPT", b"235 yes\r\n"), ("dot", b"221 bye\r\n"), ("dot", b"214 help\r\n")]
    cases += [("EHLO", b"220 hello\r\n"), ("connect", b"250 ok\r\n"), ("RSET", b"220 hello\r\n")]
    for extensions in (PIPELINING, ()):
        for wanted, words in cases:

            def act(talk, verb, line):
                if wanted == "RSET" and verb == "RCPT" and talk.number == 1:
                    return b"450 4.2.0 later\r\n"
                if verb == wanted and talk.number == 1:
                    talk.say(words)
                    talk.hop.after = len(talk.hop.heard)
                    if wanted == "connect":
                        talk.rest()
                        raise Gone
                    raise_after(talk, extensions, verb)
                return None

            def raise_after(talk, extensions, verb):
                talk.rest()
                raise Gone

            hop = Hop(act, extensions=extensions)
            relay = start(hop)
            relay.send("a@b.example", ["c@d.example"], TEXT)
            hop.wait(1, 60)
            after = [line for number, line in hop.heard[hop.after :] if number == 1]
            # What was pipelined was said before it was heard.
            group = {"MAIL": 2, "RCPT": 1}.get(wanted, 0) if extensions else 0
            assert len(after) <= group and not any(line in (b"RSET", b"QUIT", b".") for line in after), (wanted, words, after)
            assert not [record for record in relay.log() if record["event"] == "bounced"]
            relay.stop()


def the_rest_of_many_recipients_goes_at_once():
    def few(words, count, close=False):
        def act(talk, verb, line):
            if verb == "MAIL":
                talk.asked = 0
            if verb == "RCPT":
                talk.asked += 1
                if talk.asked > count:
                    return words
            if verb == "dot" and close:
                talk.say(b"250 2.0.0 taken\r\n")
                talk.hop.taken.append(("", list(talk.named), line, talk))
                leave(talk)
            return None

        return act

    def ends(words, count, over):
        """The same, and the end of the connection: of what comes in one transaction, or over the connection."""
        said = few(words, count)
        def act(talk, verb, line):
            if over and verb == "MAIL" and hasattr(talk, "asked"):
                return None
            if said(talk, verb, line) is not None:
                leave_after(talk, words) if words else leave(talk)
            return None

        return act

    def halves(verb_that_refuses, words, count):
        """It takes each recipient, and then not so many."""
        def act(talk, verb, line):
            talk.asked = 0 if verb == "MAIL" else talk.asked + 1 if verb == "RCPT" else getattr(talk, "asked", 0)
            return words if verb == verb_that_refuses and talk.asked > count else None

        return act

    cases = {
        "policy": (Hop(few(b"550 5.7.1 Too many recipients in this message\r\n", 5)), 60),
        "most": (Hop(few(b"553 Maximum recipients reached\r\n", 5)), 60),
        "apart": (Hop(few(b"450 4.7.1 only one recipient at a time\r\n", 1)), 20),
        "closes": (Hop(ends(b"421 4.5.3 too many recipients\r\n", 5, False), extensions=()), 60),
        "session": (Hop(ends(b"421 Too many recipients per connection\r\n", 5, True), extensions=()), 30),
        "drops": (Hop(ends(b"", 5, False), extensions=()), 60),
        "dropped": (Hop(ends(b"", 5, True), extensions=()), 30),
        "data": (Hop(halves("DATA", b"452 4.5.3 too many recipients\r\n", 10)), 60),
        "dot": (Hop(halves("dot", b"550 Too many recipients\r\n", 10)), 60),
        "last": (Hop(halves("dot", b"554 5.5.3 no\r\n", 1), extensions=()), 9),
        "many": (Hop(few(b"452 4.5.3 too many recipients\r\n", 5)), 150),
        "old": (Hop(few(b"552 too many\r\n", 5), extensions=()), 150),
        "bare": (Hop(few(b"452 enough\r\n", 7)), 150),
        "five": (Hop(few(b"550 5.5.3 too many recipients\r\n", 20)), 150),
        "one": (Hop(few(b"452 4.5.3 one at a time\r\n", 1)), 40),
        "limits": (Hop(few(b"421 4.5.3 not what we agreed\r\n", 10), extensions=("PIPELINING", "LIMITS RCPTMAX=10 MAILMAX=20")), 150),
    }
    relay = start(None, '[retry]\nfirst = "1h"\nmax = "1h"\n', route=routes({name: hop for name, (hop, _) in cases.items()}))
    begun = time.monotonic()
    for name, (hop, count) in cases.items():
        relay.send("a@b.example", [f"u{number}@{name}.example" for number in range(count)], TEXT)
    for name, (hop, count) in cases.items():
        hop.wait(count, 20)
        named = [to for _, recipients, _, _ in hop.taken for to in recipients]
        assert sorted(named) == sorted(f"u{number}@{name}.example" for number in range(count)), name
        # It is asked for no more than it takes, once that is known.
        refused = len(hop.commands(b"RCPT")) - count
        assert refused <= count or name in ("data", "dot", "last") and refused <= 3 * count, f"{name}: {refused} refused"
    assert time.monotonic() - begun < 25
    time.sleep(0.5)
    assert not [record for record in relay.log() if record["event"] in ("deferred", "bounced")], relay.log()[-3:]
    relay.stop()
    # To one alone it counts as it stands.
    hop = Hop(halves("dot", b"554 5.5.3 too many recipients\r\n", 0))
    back = '[[route]]\ndomain = "b.example"\nto = "smtp://127.0.0.1:1"\n'
    relay = start(None, '[retry]\nfirst = "1h"\nmax = "1h"\n', route=routes({"d": hop}) + back)
    relay.send("a@b.example", [f"u{number}@d.example" for number in range(4)], TEXT)
    relay.wait_log("bounced")
    bounced = [to for record in relay.log() if record["event"] == "bounced" for to in record["recipients"]]
    assert len(bounced) == 4, bounced
    assert len(hop.commands(b"DATA")) <= 8, hop.heard
    relay.stop()
    # Not one is taken: that is a deferral, once.
    hop = Hop(few(b"452 4.5.3 too many recipients\r\n", 0))
    relay = start(hop, '[retry]\nfirst = "1h"\nmax = "1h"\n')
    relay.send("a@b.example", [f"u{number}@d.example" for number in range(10)], TEXT)
    relay.wait_log("deferred")
    time.sleep(1)
    assert len(hop.commands(b"RCPT")) == 10, hop.heard
    relay.stop()


def the_rest_is_told_what_ended_the_session():
    """A hop that takes one recipient a transaction and no 8-bit text, and one that leaves: nobody is told that the connection broke."""
    goes = lambda talk, verb, line: leave_after(talk, b"421 4.3.2 going down\r\n") if verb == "MAIL" else None
    hops = {"seven": Hop(extensions=("PIPELINING", "LIMITS RCPTMAX=1")), "gone": Hop(goes, extensions=("PIPELINING", "LIMITS RCPTMAX=1", "8BITMIME"))}
    relay = start(None, '[retry]\nfirst = "1h"\nmax = "1h"\n', route=routes(hops))
    raw = b"Subject: " + b"\xe4" * 2000 + b"\r\nMessage-ID: <x@b.example>\r\n\r\n\xe4\r\n"
    for name, words in (("seven", "451 4.6.3 "), ("gone", "421 4.3.2 going down")):
        relay.send_raw("a@b.example", [f"u{number}@{name}.example" for number in range(3)], raw)
        told = lambda: [record for record in relay.log() if record["event"] == "deferred" and name in record["recipients"][0]]
        end = time.monotonic() + 20
        while sum(len(record["recipients"]) for record in told()) < 3 and time.monotonic() < end:
            time.sleep(0.1)
        assert sum(len(record["recipients"]) for record in told()) == 3, told()
        assert all(record["reply"].startswith(words) for record in told()), told()
    relay.stop()


def what_one_transaction_took_is_kept_while_the_next_hangs():
    """A hop takes one recipient a transaction, then says nothing to a body for long: a kill meanwhile repeats none of those it took."""
    hangs = True

    def act(talk, verb, line):
        if verb == "MAIL":
            talk.asked = 0
        if verb == "RCPT":
            talk.asked += 1
            if talk.asked > 1:
                return b"452 4.5.3 one at a time\r\n"
        if verb == "dot" and hangs and len(talk.hop.taken) == 4:
            talk.rest()
            raise Gone
        return None

    hop = Hop(act)
    relay = start(hop)
    relay.send("a@b.example", [f"u{number}@d.example" for number in range(10)], TEXT)
    hop.wait(4, 20)
    # The outcome waits 100 ms for a commit to ride on.
    time.sleep(1)
    relay.kill()
    hangs = False
    relay.start()
    hop.wait(10, 20)
    time.sleep(1)
    named = [to for _, recipients, _, _ in hop.taken for to in recipients]
    assert sorted(named) == sorted(f"u{number}@d.example" for number in range(10)), named
    relay.stop()


def refusals_of_us_return_nobody():
    relaying = lambda talk, verb, line: b"554 5.7.1 <x>: Relay access denied\r\n" if verb == "RCPT" and not talk.hop.good else None
    listed = b"554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org\r\n"
    cases = {
        "relaying": relaying,
        "sign": lambda talk, verb, line: b"530 5.7.0 Authentication required\r\n" if verb == "MAIL" and not talk.hop.good else None,
        "listed": lambda talk, verb, line: listed if verb == "RCPT" and not talk.hop.good else None,
        "dot": lambda talk, verb, line: b"550 5.7.1 poor reputation of your address\r\n" if verb == "dot" and not talk.hop.good else None,
        "greeting": lambda talk, verb, line: listed if verb == "connect" and not talk.hop.good else None,
        "hello": lambda talk, verb, line: b"550 5.7.1 bad HELO\r\n" if verb in ("EHLO", "HELO") and not talk.hop.good else None,
    }
    # Each in the words of another server.
    words = {
        "qmail": ("RCPT", b"553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)"),
        "exim": ("RCPT", b"550 relaying mail to x is not allowed"),
        "acl": ("RCPT", b"550 ACL dropped the address, relay forbidden"),
        "login": ("RCPT", b"550 SMTP AUTH is required for message submission on port 25"),
        "ssl": ("RCPT", b"550 5.7.0 SSL/TLS required"),
        "first": ("MAIL", b"503 5.5.1 Error: send HELO/EHLO first"),
        "unknown": ("MAIL", b"502 5.5.1 not allowed without auth"),
        "use": ("MAIL", b"554 5.7.1 You are not allowed to use this server"),
        "shut": ("MAIL", b"550 5.7.1 go away"),
        "sequence": ("DATA", b"503 5.5.1 Error: need RCPT command"),
    }
    for name, (at, said) in words.items():
        cases[name] = lambda talk, verb, line, at=at, said=said: said + b"\r\n" if verb == at and not talk.hop.good else None
    hops = {name: Hop(act) for name, act in cases.items()}
    for hop in hops.values():
        hop.good = False
    back = Hop()
    relay = start(None, FAST, route=routes({**hops, "b": back}))
    for name in hops:
        for number in range(3):
            relay.send("a@b.example", [f"u{number}@{name}.example", f"v{number}@{name}.example"], TEXT)
    wait_metric(relay, "relay_refused", len(hops))
    time.sleep(2)
    assert not [record for record in relay.log() if record["event"] == "bounced"], relay.log()
    end = time.monotonic() + 5
    while len([words for words in list(relay.words) if " error " in words]) < len(hops):
        assert time.monotonic() < end, relay.words
        time.sleep(0.05)
    replies = {record["reply"] for record in relay.log() if record["event"] == "deferred"}
    assert "554 5.7.1 <x>: Relay access denied" in replies and any("zen.spamhaus.org" in reply for reply in replies), replies
    # What a hop says at the greeting has the class that it has anywhere.
    told = lambda: [record for record in relay.log() if record["event"] == "deferred" and "the next hop refused the session: 554" in record["reply"]]
    while not told():
        assert time.monotonic() < end + 10, relay.log()
        time.sleep(0.1)
    assert {record["class"] for record in told()} == {"blocklisted"}, told()
    for hop in hops.values():
        hop.good = True
    for hop in hops.values():
        hop.wait(6, 60)
    assert not back.taken
    relay.stop()
    # What is about the recipient is returned, and about one of several is about that one.
    hop = Hop(lambda talk, verb, line: b"550 5.1.1 User unknown\r\n" if verb == "RCPT" and b"bad" in line else None)
    relay = start(None, FAST, route=routes({"d": hop, "b": back}))
    relay.send("a@b.example", ["bad@d.example", "good@d.example"], TEXT)
    relay.wait_log("bounced")
    relay.wait_log("delivered")
    relay.stop()


def the_next_host_is_asked_where_the_best_takes_no_mail():
    """RFC 5321 5.1, after EHLO too: a host that drops a transaction, or puts MAIL off, is asked after the others for a while."""

    def act_of(wanted, words):
        def act(talk, verb, line):
            if verb == wanted and words[:3] == b"452":
                return words
            return leave_after(talk, words) if verb == wanted else None

        return act

    cases = [("MAIL", b""), ("DATA", b""), ("dot", b""), ("MAIL", b"452 4.3.1 disk full\r\n"), ("MAIL", b"421 4.3.2 busy\r\n")]
    for wanted, words in cases:
        for extensions in (PIPELINING, ()):
            port = free_port()
            best = Hop(act_of(wanted, words), extensions=extensions, host="127.0.0.2", port=port)
            second = Hop(host="127.0.0.3", port=port)
            names = {("d.example", 15): [(10, "one.example"), (20, "two.example")], ("one.example", 1): ["127.0.0.2"], ("two.example", 1): ["127.0.0.3"]}
            server = Names(lambda name, kind: names.get((name, kind), []))
            settings = f'[dns]\nservers = ["127.0.0.1:{server.port}"]\n[delivery]\nmx_port = {best.port}\nallow_loopback_mx = true\n'
            relay = start(None, FAST + settings, route='[[route]]\ndomain = "*"\nto = "mx"\n', shards=1)
            for number in range(3):
                relay.send("a@b.example", [f"u{number}@d.example"], TEXT)
            second.wait(3, 25)
            assert 1 <= best.talks <= 3, (wanted, words, best.heard)
            relay.stop()


def in_words(words):
    """An act: what it says at a verb; 421 or 221, and words that end with an end, close."""

    def act(talk, verb, line):
        if verb not in words or not getattr(talk.hop, "bad", True):
            return None
        said = words[verb]
        if said[:3] == b"421":
            talk.say(said)
            leave(talk)
        return said

    return act


class Sites:
    """Domains with two MX hosts each, at addresses of their own and one port."""

    def __init__(self):
        self.port, self.names, self.count = free_port(), {}, 0
        self.server = Names(lambda name, kind: self.names.get((name, kind), []))
        self.settings = f'[dns]\nservers = ["127.0.0.1:{self.server.port}"]\n'
        self.delivery = f'[delivery]\nmx_port = {self.port}\nallow_loopback_mx = true\n'

    def add(self, *acts, **others):
        """The hops of a new domain, dN.example."""
        number, hops = self.count, []
        self.count += 1
        for place, act in enumerate(acts):
            address = f"127.2.{number}.{place + 1}"
            host = f"mx{place}.d{number}.example"
            self.names.setdefault((f"d{number}.example", 15), []).append((10 * place + 10, host))
            self.names[(host, 1)] = [address]
            hops.append(act if isinstance(act, socket.socket) else Hop(act, host=address, port=self.port, **others))
        return hops

    def start(self, more="", delivery="", shards=1):
        return start(None, self.settings + self.delivery + delivery + more, route='[[route]]\ndomain = "*"\nto = "mx"\n', shards=shards)


LATE = '[retry]\nfirst = "1h"\nmax = "1h"\n'


def another_host_takes_at_once_what_one_cannot():
    """RFC 5321 5.1: what a host says of itself (no room, shutting down) is an answer of that host, and costs no attempt."""
    full, ends = b"452 4.3.1 Insufficient system storage\r\n", b"421 4.3.2 shutting down\r\n"
    cases = [{verb: words} for verb in ("MAIL", "RCPT", "DATA", "dot") for words in (full, ends)]
    cases += [{"RCPT": b"452 disk full\r\n"}, {"dot": b"451 4.3.0 queue file write error\r\n"}, {"dot": b"450 4.4.1 the store does not answer\r\n"}]
    sites, known = Sites(), []
    for extensions in (PIPELINING, ()):
        for words in cases:
            known.append((words, sites.add(in_words(words), None, extensions=extensions)))
    both = sites.add(in_words({"RCPT": full}), in_words({"dot": full}))
    relay = sites.start(LATE)
    for number in range(sites.count):
        relay.send("a@b.example", [f"u@d{number}.example", f"v@d{number}.example"], TEXT)
    for number, (words, (best, second)) in enumerate(known):
        second.wait(2, 30)
        assert len(best.commands(b"MAIL")) == 1 and len(second.commands(b"MAIL")) == 1, (words, best.heard, second.heard)
        # Nothing but, perhaps, the lone dot of RFC 2920 section 3.1.
        assert not any(text for _, _, text, _ in best.taken), words
        # Of many lines that are alike some are only counted.
        assert number > 5 or relay.told(f"mx0.d{number}.example", "it takes no mail"), words
    # It is left alone for a while, and where no host is better off that is one attempt.
    for number, (words, (best, second)) in enumerate(known):
        relay.send("a@b.example", [f"w@d{number}.example"], TEXT)
        second.wait(3, 30)
        assert len(best.commands(b"MAIL")) == 1, (words, best.heard)
    deferred = relay.wait_log("deferred", 1)
    time.sleep(1)
    assert len(deferred) == 1 and deferred[0]["attempts"] == 1 and len(deferred[0]["recipients"]) == 2, deferred
    assert f"@d{sites.count - 1}.example" in deferred[0]["recipients"][0], deferred
    assert [len(hop.commands(b"MAIL")) for hop in both] in ([1, 1], [2, 1]), [hop.heard for hop in both]
    assert {record["event"] for record in relay.log()} == {"received", "delivered", "deferred"}, relay.log()
    relay.stop()


def one_sick_recipient_moves_few_times():
    """Its domain's hosts all say 4.3.0 for it and take other mail: it is put off, and does not go from one to the other without end."""

    def act(talk, verb, line):
        if verb == "dot":
            time.sleep(0.02)
        return b"451 4.3.0 <x>: Temporary lookup failure\r\n" if verb == "RCPT" and b"sick" in line else None

    closed = socket.socket()
    for second in (act, closed):
        sites = Sites()
        hops = sites.add(act, second)
        relay = sites.start(LATE, "connections_per_destination = 5\nmessages_per_connection = 3\n")
        client = relay.client()
        sick = [50, 51, 52]
        for number in range(300):
            name = "sick" if number in sick else f"u{number}"
            client.sendmail("a@b.example", [f"{name}@d0.example"], TEXT)
        client.quit()
        relay.wait_log("delivered", 300 - len(sick), 60)
        deferred = relay.wait_log("deferred", len(sick))
        asked = sum(b"sick" in line for hop in hops if hop is not closed for line in hop.commands(b"RCPT"))
        assert len(deferred) == len(sick) and asked <= 12 * len(sick), (asked, deferred)
        relay.stop()


def trouble_with_one_message_rests_no_site():
    """All hosts of a site say 4.3.0 of one recipient or one message, or 421 behind the tenth recipient: that waits, and other mail does not."""

    def act(talk, verb, line):
        talk.asked = 0 if verb == "MAIL" else getattr(talk, "asked", 0) + (verb == "RCPT")
        if talk.asked > 10:
            return leave_after(talk, b"421 too many\r\n")
        return b"451 4.3.0 not this one\r\n" if verb in ("RCPT", "dot") and b"sick" in line else None

    cases = [(["sick"], TEXT), (["u"], TEXT + b"sick\r\n"), ([f"u{number}" for number in range(25)], TEXT)]
    sites = Sites()
    known = [sites.add(act, act) for _ in cases]
    relay = sites.start(LATE)
    for number, (names, text) in enumerate(cases):
        relay.send("a@b.example", [f"{name}@d{number}.example" for name in names], text)
    relay.wait_log("deferred", len(cases))
    for number in range(len(cases)):
        relay.send("a@b.example", [f"well@d{number}.example"], TEXT)
    # Less than the shortest rest of a site.
    relay.wait_log("delivered", len(cases), 4)
    assert not relay.told("mail for", "waits", seconds=0.2), relay.words
    assert not relay.told("d2.example", "it takes no mail", seconds=0.2), relay.words
    # How many it takes is known from the first that was cut.
    relay.send("a@b.example", [f"v{number}@d2.example" for number in range(25)], TEXT)
    known[2][0].wait(26, 10)
    relay.stop()


def what_is_said_of_a_recipient_goes_to_no_other_host():
    """Greylisting wants the same host again, and a mailbox that is full is full at each of them."""
    cases = [{"RCPT": b"450 4.2.0 Greylisted\r\n"}, {"RCPT": b"451 4.7.1 Greylisting in action\r\n"}, {"dot": b"451 Greylisted, try again\r\n"}]
    cases += [{"RCPT": b"452 4.2.2 mailbox full\r\n"}, {"dot": b"450 4.7.1 not now\r\n"}]
    sites = Sites()
    known = [sites.add(in_words(words), None) for words in cases]
    relay = sites.start(FAST)
    for number in range(sites.count):
        relay.send("a@b.example", [f"u@d{number}.example"], TEXT)
    relay.wait_log("deferred", len(cases))
    for best, _ in known:
        best.bad = False
    for words, (best, second) in zip(cases, known):
        best.wait(1)
        assert not second.talks, (words, second.heard)
    relay.stop()


def a_kept_connection_that_ends_costs_no_attempt():
    """Whatever a hop says when it has had enough messages on a connection: the next one goes at once, on a new one, and once only."""

    def closes_with(words, delay=0):
        def act(talk, verb, line):
            if verb == "dot":
                talk.full = True
            if verb == "MAIL" and getattr(talk, "full", False) or talk.hop.bad and verb == "MAIL":
                talk.say(words)
                # RSET may cross the end.
                time.sleep(delay)
                leave(talk)
            return None

        return act

    words = [b"421 4.7.0 enough\r\n", b"451 4.7.0 too many messages\r\n", b"221 2.0.0 bye\r\n", b"450 enough\r\n", b"421 enough\r\n"]
    hops = {}
    for number, said in enumerate(words):
        for extensions in (PIPELINING, ()):
            hop = hops[f"d{len(hops)}"] = Hop(closes_with(said, delay=0.4 * (number % 2)), extensions=extensions)
            hop.bad = False
    relay = start(None, LATE + ALONE.replace("messages_per_connection = 1\n", ""), route=routes(hops))
    for number in range(3):
        for name in hops:
            relay.send("a@b.example", [f"u{number}@{name}.example"], TEXT)
        for name, hop in hops.items():
            hop.wait(number + 1)
            assert hop.talks == number + 1, (name, hop.heard)
    assert {record["event"] for record in relay.log()} == {"received", "delivered"}, relay.log()
    # On a new connection it is an answer.
    for hop in hops.values():
        hop.bad = True
    for name in hops:
        relay.send("a@b.example", [f"w@{name}.example"], TEXT)
    relay.wait_log("deferred", len(hops))
    for name, hop in hops.items():
        assert hop.talks == 4, (name, hop.talks)
    relay.stop()


def a_hop_that_hangs_up_on_ehlo_is_told_helo():
    def act(end):
        return lambda talk, verb, line: end(talk) if verb == "EHLO" else None

    refuse = lambda talk: say_and_end(talk, b"500 5.5.1 what\r\n")
    ends = {"left": act(leave), "reset": act(Talk.reset), "refused": act(refuse)}
    hops = {name: Hop(what) for name, what in ends.items()}
    nothing = hops["nothing"] = Hop(lambda talk, verb, line: leave(talk) if verb in ("EHLO", "HELO") and talk.hop.bad else None)
    nothing.bad = True
    relay = start(None, ALONE + FAST, route=routes(hops))
    for name in hops:
        relay.send("a@b.example", [f"c@{name}.example"], TEXT)
    for name in ends:
        hops[name].wait(1)
        assert hops[name].talks == 2 and len(hops[name].commands(b"HELO")) == 1, (name, hops[name].heard)
    for name in ends:
        relay.send("a@b.example", [f"d@{name}.example"], TEXT)
        hops[name].wait(2)
        # It is remembered.
        assert hops[name].talks == 3 and len(hops[name].commands(b"EHLO")) == 1, (name, hops[name].heard)
        assert relay.told(f":{hops[name].port}: it hung up on EHLO", "it is told HELO"), relay.words
    assert not [record for record in relay.log() if record["recipients"][0].split("@")[1] != "nothing.example" and record["event"] == "deferred"]
    # Who hangs up on everything is told EHLO again.
    nothing.bad = False
    before = len(nothing.commands(b"HELO"))
    nothing.wait(1)
    assert len(nothing.commands(b"HELO")) == before and not relay.told(f":{nothing.port}: it hung up", seconds=0.5), nothing.heard
    relay.stop()


def a_hop_that_loses_commands_sent_together():
    """It offers PIPELINING, throws away what came with a command, and waits for the next until it has had enough: from then on it gets one
    command at a time."""

    def loses(words):
        def act(talk, verb, line):
            together = bool(talk.input)
            if verb == "MAIL" and not together:
                talk.socket.settimeout(0.5)
                try:
                    talk.more()
                    together = True
                except TimeoutError:
                    pass
                talk.socket.settimeout(None)
            if verb == "MAIL" and together:
                talk.say(b"250 2.1.0 ok\r\n")
                time.sleep(5.5)
                say_and_end(talk, words)
            return None

        return act

    hops = {"left": Hop(loses(b"")), "told": Hop(loses(b"421 4.4.2 timeout\r\n"))}
    prompt = hops["prompt"] = Hop(lambda talk, verb, line: leave(talk) if verb == "RCPT" and talk.number == 1 else None)
    relay = start(None, ALONE + FAST, route=routes(hops))
    for number in range(2):
        for name in hops:
            relay.send("a@b.example", [f"u{number}@{name}.example"], TEXT)
        for name, hop in hops.items():
            hop.wait(number + 1)
    for name in ("left", "told"):
        assert hops[name].talks == 3, hops[name].heard
        assert relay.told(f":{hops[name].port}: ", "it is sent one at a time"), relay.words
    # An end that comes at once has other reasons.
    assert not relay.told(f":{prompt.port}: it offers", seconds=0.5), relay.words
    relay.stop()


def who_refuses_a_recipient_and_goes_is_in_no_trouble():
    """The next message goes to the same host, and not to the second of its site."""
    unknown = b"550 5.1.1 no such user\r\n"
    bad = lambda verb, line: verb == "RCPT" and b"bad" in line
    gone = lambda talk, verb, line: leave_after(talk, unknown) if bad(verb, line) else None
    reset = lambda talk, verb, line: say_and_end(talk, unknown, Talk.reset) if bad(verb, line) else None
    enough = lambda talk, verb, line: leave_after(talk, unknown + b"421 4.7.0 too many errors\r\n") if bad(verb, line) else None
    sites, known = Sites(), {}
    for extensions in (PIPELINING, ()):
        for act in (gone, reset, enough):
            number = sites.count
            known[number] = sites.add(act, None, extensions=extensions)
    relay = sites.start(LATE)
    for number in known:
        relay.send("a@b.example", [f"bad@d{number}.example"], TEXT)
    bounced = lambda: [record for record in relay.log() if record["event"] == "bounced" and "bad@" in record["recipients"][0]]
    end = time.monotonic() + 20
    while len(bounced()) < len(known) and time.monotonic() < end:
        time.sleep(0.1)
    assert len(bounced()) == len(known), relay.log()
    for number, (best, second) in known.items():
        relay.send("a@b.example", [f"u@d{number}.example"], TEXT)
        best.wait(1)
        assert not second.talks, (number, best.heard)
    assert not relay.told("it takes no mail", seconds=0.5), relay.words
    relay.stop()


def an_address_that_swallows_syns_is_waited_for_once():
    sites, clog = Sites(), []
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    deaf.bind(("127.2.0.1", sites.port))
    deaf.listen(0)
    # What does not fit in the queue of a listener gets no answer.
    for _ in range(4):
        clog.append(socket.socket())
        clog[-1].setblocking(False)
        clog[-1].connect_ex(("127.2.0.1", sites.port))
    _, second = sites.add(deaf, None)
    relay = sites.start(LATE, "messages_per_connection = 1\n")
    relay.send("a@b.example", ["u0@d0.example"], TEXT)
    second.wait(1, 60)
    begun = time.monotonic()
    for number in range(1, 4):
        relay.send("a@b.example", [f"u{number}@d0.example"], TEXT)
    second.wait(4, 60)
    assert time.monotonic() - begun < 10
    assert not [record for record in relay.log() if record["event"] == "deferred"]
    relay.stop()


def a_backup_behind_many_hosts_that_refuse_is_reached():
    """More hosts than are tried at once: those that were not come first the next time, in their order."""
    sites, backups = Sites(), []
    refusals = (None, b"554 5.7.1 no\r\n", b"521 5.3.2 host does not accept mail\r\n")
    for number, words in enumerate(refusals):
        domain = f"d{number}.example"
        for place in range(22):
            host, address = f"m{place}.d{number}.example", f"127.2.{number}.{place + 1}"
            sites.names.setdefault((domain, 15), []).append((10 * place + 10, host))
            sites.names[(host, 1)] = [address]
            # Nobody listens at the others.
            if words:
                Hop(lambda talk, verb, line, words=words: words if verb == "connect" else None, host=address, port=sites.port)
        sites.names[(domain, 15)].append((900, f"b.{domain}"))
        sites.names[(f"b.{domain}", 1)] = [f"127.2.{number}.99"]
        backups.append(Hop(host=f"127.2.{number}.99", port=sites.port))
    relay = sites.start(FAST)
    for number, backup in enumerate(backups):
        relay.send("a@b.example", [f"u@d{number}.example"], TEXT)
    for backup in backups:
        backup.wait(1, 40)
    relay.wait_log("delivered", len(backups))
    relay.stop()


def a_host_that_greets_with_our_name_is_a_loop():
    """RFC 5321 5.1: an address that is not ours, behind which a translator leads back to us."""

    def ours(words):
        return lambda talk, verb, line: words if verb in ("EHLO", "HELO") else None

    def only_helo(talk, verb, line):
        return {"EHLO": b"502 5.5.1 no\r\n", "HELO": b"250 relay.example.\r\n"}.get(verb)

    loop = ours(b"250-RELAY.Example hello\r\n250 PIPELINING\r\n")
    shut = lambda talk, verb, line: say_and_end(talk, b"421 4.3.2 not now\r\n") if verb == "connect" and talk.hop.bad else None
    sites = Sites()
    best = [sites.add(loop, None), sites.add(only_helo), sites.add(ours(b"250 relay.example\r\n"), loop)]
    behind = sites.add(shut, loop, None)
    other = sites.add(ours(b"250-relay.example.net\r\n250 PIPELINING\r\n"))[0]
    behind[0].bad = True
    relay = sites.start(FAST)
    for number in range(sites.count):
        relay.send("a@b.example", [f"u@d{number}.example"], TEXT)
    other.wait(1)
    # Not those of notifications, which may come first.
    bounced, end = [], time.monotonic() + 20
    while len(bounced) < 3 and time.monotonic() < end:
        time.sleep(0.1)
        bounced = [record for record in relay.log() if record["event"] == "bounced" and record["recipients"][0].split("@")[1] != "b.example"]
    assert {record["recipients"][0] for record in bounced} == {f"u@d{number}.example" for number in range(3)}, bounced
    for record in bounced:
        assert record["enhanced"] == "5.4.6" and record["attempts"] == 1 and "loops back to this relay" in record["reply"], record
    for hops in best:
        assert not any(hop.commands(b"MAIL") for hop in hops) and not any(hop.talks for hop in hops[1:]), [hop.heard for hop in hops]
    # Of several, those preferred to us are waited for, and no other is asked.
    end = time.monotonic() + 10
    while not behind[1].talks and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(1)
    behind[0].bad = False
    behind[0].wait(1)
    assert behind[1].talks and not behind[1].commands(b"MAIL") and not behind[2].talks, [hop.heard for hop in behind]
    relay.stop()
    # A filter beside us may have our name; at a port of ours it is a route that leads back, which the operator is to mend.
    beside = Hop(loop)
    relay = start(None, FAST, route=routes({"d": beside}))
    relay.send("a@b.example", ["u@d.example"], TEXT)
    beside.wait(1)
    back = Hop(loop, host="127.0.0.5", port=relay.port)
    relay.route = f'[[route]]\ndomain = "*"\nto = "smtp://127.0.0.5:{relay.port}"\n'
    relay.write()
    relay.kill()
    relay.start()
    relay.send("a@b.example", ["u@d.example"], TEXT)
    assert relay.told(" error ", "the mail loops back to this relay", "127.0.0.5"), relay.words
    assert not back.commands(b"MAIL") and not [record for record in relay.log() if record["event"] == "bounced"]
    # So is one that leads to the relay itself, by a slip or because an address moved here: nothing is returned for it.
    relay.route = f'[[route]]\ndomain = "*"\nto = "smtp://127.0.0.1:{relay.port}"\n'
    relay.write()
    relay.kill()
    relay.start()
    relay.send("a@b.example", ["v@e.example"], TEXT)
    assert relay.told(" error ", "leads back to this relay", "127.0.0.1"), relay.words
    assert not [record for record in relay.log() if record["event"] == "bounced"], relay.log()
    relay.stop()


def a_host_that_says_421_to_every_mail_is_left_alone():
    hop = Hop(lambda talk, verb, line: leave_after(talk, b"421 4.7.0 try later\r\n") if verb == "MAIL" else None)
    relay = start(hop, '[retry]\nfirst = "60s"\nmax = "60s"\n')
    for number in range(50):
        relay.send("a@b.example", [f"u{number}@d.example"], TEXT)
    time.sleep(4)
    assert 1 <= hop.talks <= 15, f"{hop.talks} connections for 50 messages"
    relay.stop()


# What is 8-bit in fact.


def eight_bit_is_what_the_bytes_are():
    old, new = Hop(extensions=("PIPELINING",)), Hop()
    relay = start(None, FAST, route=routes({"old": old, "new": new}))
    client = relay.client()
    client.ehlo()
    for body, options in ((TEXT, ["BODY=8BITMIME"]), (TEXT + b"\xe4\r\n", [])):
        client.mail("a@b.example", options)
        client.rcpt("c@old.example")
        client.rcpt("c@new.example")
        assert client.data(body)[0] == 250
    client.quit()
    old.wait(2)
    new.wait(2)
    told = lambda hop: [b"BODY=8BITMIME" in line for line in hop.commands(b"MAIL")]
    assert told(old) == [False, False] and sorted(told(new)) == [False, True], (old.heard, new.heard)
    assert all(text.isascii() for _, _, text, _ in old.taken)
    assert any(text.endswith(TEXT + b"\xe4\r\n") for _, _, text, _ in new.taken)
    relay.stop()


def decoded(text):
    """Every leaf of a message: type and decoded bytes, in Python's eyes."""
    parts = []
    for part in email.message_from_bytes(text, policy=email.policy.compat32).walk():
        if not part.is_multipart():
            parts.append((part.get_content_type(), part.get_payload(decode=True)))
    return parts


def samples(dice):
    raw = lambda size: b"\r\n".join(
        bytes(dice.choice([dice.randrange(1, 10), dice.randrange(32, 127), dice.randrange(128, 256)]) for _ in range(dice.randrange(60)))
        for _ in range(size // 30)
    )
    yield b"Subject: x\r\n\r\nGr\xfc\xdfe\r\n.\r\n..\r\n--x\r\nFrom here\r\n \t \r\n=3D\r\n"
    yield b"MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + b"\xc3\xa9" * 900 + b"\r\n"
    head = b"MIME-Version: 1.0\r\nSubject: y\r\nContent-Type: multipart/mixed; boundary=\"--=_one\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    inner = b"From: a@b\r\nSubject: inner\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=two\r\n\r\n"
    for size in (100, 5000, 300000, 1500000):
        yield (
            head + b"preamble\r\n----=_one\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
            + "Zeile\u00e4 \r\n----=_on\r\n".encode() + raw(size)
            + b"\r\n----=_one\r\nContent-Type: application/x-thing\r\nContent-Transfer-Encoding: binary\r\n\r\n" + raw(size)
            + b"\r\n----=_one\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + inner
            + b"--two\r\n\r\nplain\r\n--two\r\nContent-Type: text/x-y\r\n\r\n" + raw(size) + b"\r\n--two--\r\n"
            + b"\r\n----=_one\r\nContent-Type: image/x\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n----=_one--\r\nepilogue\r\n"
        )


def messages_are_encoded_for_hops_without_8bitmime():
    dice = random.Random(int(os.environ.get("RELEVO_SEED", "1")))
    hop = Hop(extensions=("PIPELINING", "SIZE 0"))
    relay = start(hop)
    texts = list(samples(dice))
    for number, text in enumerate(texts):
        relay.send_raw("a@b.example", [f"u{number}@d.example"], text)
    hop.wait(len(texts), 60)
    for _, recipients, text, _ in hop.taken:
        number = int(recipients[0].split("@")[0][1:])
        assert text.isascii(), f"message {number} has 8-bit text"
        assert all(len(line) <= 998 for line in text.split(b"\r\n")), number
        before, after = decoded(texts[number]), decoded(text)
        assert [kind for kind, _ in before] == [kind for kind, _ in after], number
        for (kind, one), (_, other) in zip(before, after):
            assert one == other, f"message {number}, {kind}: {len(one)} bytes became {len(other)}"
        left = [line for line in text.split(b"\r\n") if line.lower().endswith((b": 8bit", b": binary"))]
        assert not left, (number, left)
    assert metric(relay, "bodies_converted") == len(texts)
    relay.stop()


RAW = b"Subject: Gr\xc3\xbc\xc3\x9fe\r\n\r\n\xe4\r\n"


def what_cannot_be_encoded_waits_for_a_hop_that_takes_it():
    """Another host of the site is asked at once; one that puts off strangers offers them less, and is to hear of each recipient."""
    plain = lambda talk, verb, line: b"250 old.example\r\n" if verb == "EHLO" else None

    def grey(talk, verb, line):
        if talk.hop.met and verb == "connect":
            talk.known = True
        if getattr(talk, "known", False):
            return None
        if verb == "RCPT":
            talk.hop.met = True
            return b"451 4.7.1 who are you\r\n"
        return plain(talk, verb, line)

    def shy(talk, verb, line):
        """It hangs up on the first EHLO, and is told HELO then."""
        if verb == "EHLO" and not talk.hop.met:
            talk.hop.met = True
            leave(talk)

    sites = Sites()
    old, new = sites.add(plain, None)
    (late,), (once,) = sites.add(grey), sites.add(shy)
    late.met = once.met = False
    relay = sites.start('[retry]\nfirst = "1s"\nmax = "3s"\nfactor = 3.0\n')
    for number in range(sites.count):
        relay.send_raw("a@b.example", [f"c@d{number}.example"], RAW)
    for hop in (new, late, once):
        hop.wait(1)
        assert hop.taken[0][2].endswith(RAW), hop.taken
    assert not old.commands(b"MAIL") and late.talks == 2, (old.heard, late.heard)
    log = relay.log()
    assert not [record for record in log if record["event"] == "bounced"], log
    (told,) = [record for record in log if record["event"] == "deferred" and "c@d1.example" in record["recipients"]]
    assert told["reply"] == "451 4.7.1 who are you", told
    relay.stop()


def hosts_that_never_take_mail_return_it():
    """RFC 7504: 521 sends to the next host, and where all say it the mail is returned at once."""
    never = lambda talk, verb, line: leave_after(talk, b"521 nomail.example does not accept mail\r\n") if verb == "connect" else None
    blocked = lambda talk, verb, line: leave_after(talk, b"521 192.0.2.1 is blocked\r\n") if verb == "connect" else None
    away = lambda talk, verb, line: leave_after(talk, b"421 4.3.2 not now\r\n") if verb == "connect" else None
    sites = Sites()
    sites.add(never, never)
    second = sites.add(never, None)[1]
    for pair in ((never, away), (away, never), (blocked, blocked), (never, blocked)):
        sites.add(*pair)
    relay = sites.start(FAST)
    for number in range(sites.count):
        for name in "uvw":
            relay.send("a@b.example", [f"{name}@d{number}.example"], TEXT)
    second.wait(3)
    seen = lambda: [record for record in relay.log() if record["event"] == "bounced" and "b.example" not in record["recipients"][0]]
    end = time.monotonic() + 20
    while len(seen()) < 3 and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(2)
    assert sorted(record["recipients"][0] for record in seen()) == [f"{name}@d0.example" for name in "uvw"], seen()
    for record in seen():
        assert record["enhanced"] == "5.3.2" and record["reply"].startswith("521 nomail.example"), record
        assert record["hop"].startswith("mx1.d0.example"), record
    relay.stop()


def words_of_our_own_are_told_as_ours():
    """RFC 3464 2.3.6: time ran out for a host that nobody ever reached, so no reply of SMTP was heard."""
    hop = Hop()
    relay = start(None, '[retry]\nfirst = "1s"\nmax = "1s"\nexpire = "10s"\n', route=routes({"b": hop}) + '[[route]]\ndomain = "d.example"\nto = "smtp://127.0.0.1:1"\n')
    relay.send("a@b.example", ["c@d.example"], TEXT)
    hop.wait(1)
    text = hop.taken[0][2]
    assert b"x-relevo;" in text and b"cannot connect" in text and b"smtp;" not in text and b"Status: 4.4.7" in text, text
    relay.stop()


def what_cannot_be_encoded_comes_back_by_any_hop():
    """A message with raw 8-bit header fields is returned (5.6.3) when it was tried again, and its notification goes by a hop without 8BITMIME, 7-bit."""
    hop = Hop(extensions=("PIPELINING",))
    relay = start(hop)
    header = b"Subject: Gr\xc3\xbc\xc3\x9fe " + b"\xe4" * 2000 + b"\r\nMessage-ID: <x@b.example>\r\nX: =\r\n"
    relay.send_raw("a@b.example", ["c@d.example"], header + b"\r\n\xe4\r\n")
    hop.wait(1)
    sender, recipients, text, _ = hop.taken[0]
    assert sender == "" and recipients == ["a@b.example"] and text.isascii(), hop.taken
    bounced = relay.wait_log("bounced")
    assert bounced[0]["reply"].startswith("554 5.6.3"), bounced
    report = email.message_from_bytes(text, policy=email.policy.compat32)
    assert report.get_content_type() == "multipart/report"
    words, status, returned = report.get_payload()
    assert b"Status: 5.6.3" in text and "8BITMIME" in words.get_payload()
    # RFC 3464 2.3.5 and 2.3.6: the hop said nothing of it.
    assert b"Diagnostic-Code: x-relevo; 554 5.6.3" in text and b"Remote-MTA" not in text, text
    assert returned.get_content_type() == "text/rfc822-headers"
    body = returned.get_payload(decode=True)
    assert b"Subject: Gr\xc3\xbc\xc3\x9fe" in body and body.count(b"\xe4") == 2000 and b"X: =\r\n" in body, body
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
