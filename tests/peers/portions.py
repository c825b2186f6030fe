"""Messages by BDAT (RFC 3030), and what a listener takes of messages that are not as they should be, with the real binary:
`portions.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import email
import os
import random
import re
import socket
import subprocess
import sys
import time

from relay import Relay
from sink import Sink

BINARY = os.path.abspath(sys.argv[2])
LOAD = os.path.join(os.path.dirname(BINARY), "relevo-load")
ENDINGS = (
    b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\n.\n", b"\n.\r", b"\r.\n", b"\n\n.\n\n", b"\r\r\n.\r\r\n",
    b"\r\n.\r\r\n", b"\n\r\n.\n\r\n", b"\r\n\n.\n\r\n", b"\n\r.\r\n", b"\r\n.\n\r", b"\r\n\x00.\r\n", b"\r\n.\x00\r\n", b"\r\n.\r\n",
)


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.lines = self.socket.makefile("rb")
        self.reply()
        self.offers = self.ask(b"EHLO client.example")

    def reply(self):
        said = b""
        while line := self.lines.readline():
            said += line
            if line[3:4] != b"-":
                break
        return said

    def ask(self, line):
        self.socket.sendall(line + b"\r\n")
        return self.reply()

    def begin(self, recipient=b"c@d.example"):
        assert self.ask(b"MAIL FROM:<a@b.example>").startswith(b"250")
        assert self.ask(b"RCPT TO:<" + recipient + b">").startswith(b"250")

    def portions(self, pieces):
        """Sends these, all at once; the replies, the last one of the message."""
        last = len(pieces) - 1
        wire = b"".join(b"BDAT %d%s\r\n" % (len(piece), b" LAST" if at == last else b"") + piece for at, piece in enumerate(pieces))
        self.socket.sendall(wire)
        return [self.reply() for _ in pieces]


def cut(text, places):
    places = [0, *sorted(places), len(text)]
    return [text[one:other] for one, other in zip(places, places[1:])]


def until(sink, count):
    end = time.monotonic() + 20
    while len(sink.taken) < count:
        assert time.monotonic() < end, f"{len(sink.taken)} of {count}"
        time.sleep(0.05)


def messages_in_portions_arrive_as_they_were():
    sink = Sink()
    relay = Relay(BINARY, sink)
    client = Client(relay.port)
    assert b"250-CHUNKING\r\n" in client.offers and b"250-LIMITS RCPTMAX=1000\r\n" in client.offers, client.offers
    small = b"Subject: x\r\n\r\n.\r\n..\r\nQUIT\r\nx\r\n"
    # More than is gathered in memory, so that it is stored in pieces.
    large = b"Subject: y\r\n\r\n" + b".a line of a large body\r\n" * 60_000
    draw = random.Random(7)
    texts = []
    for text, ways in ((small, [[at] for at in range(len(small) + 1)]), (large, [draw.sample(range(len(large)), count) for count in (1, 9, 300)])):
        for way in ways:
            client.begin()
            replies = client.portions(cut(text, way))
            assert all(re.match(rb"250 2\.0\.0 \d+ octets received\r\n$", one) for one in replies[:-1]), replies
            assert replies[-1].startswith(b"250 2.0.0 Ok: queued as "), replies[-1]
            texts.append(text)
    # One that ends within a line, and one whose last portion is empty.
    for pieces in ([b"Subject: z\r\n\r\nend"], [b"Subject: z\r\n", b"\r\nend\r\n", b""]):
        client.begin()
        assert client.portions(pieces)[-1].startswith(b"250"), pieces
        texts.append(b"Subject: z\r\n\r\nend\r\n")
    until(sink, len(texts))
    assert sorted(one.without_trace() for one in sink.taken) == sorted(texts)
    assert client.ask(b"QUIT").startswith(b"221")
    if os.path.exists(LOAD):
        command = [LOAD, "send", "--to", f"127.0.0.1:{relay.port}", "--bdat", "-n", "200"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, (done.stdout, done.stderr)
        until(sink, len(texts) + 200)
    relay.stop()


def no_ending_smuggles_by_bdat():
    hidden = b"MAIL FROM:<evil@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nevil\r\n.\r\n"
    for listener in ("", 'bare_newlines = "normalise"'):
        sink = Sink()
        relay = Relay(BINARY, sink, listener=listener)
        taken = 0
        for ending in ENDINGS:
            text = b"Subject: a\r\n\r\nx" + ending + hidden
            for place in range(14, 14 + len(ending) + 2):
                client = Client(relay.port)
                client.begin()
                answer = client.portions(cut(text, [place]))[-1]
                bare = re.search(rb"\r(?!\n)|(?<!\r)\n", text)
                if bare and not listener:
                    at = b"at byte %d;" % (bare.start() + 1)
                    assert answer.startswith(b"550 5.6.11") and at in answer and b"RFC 5321" in answer, (ending, answer)
                    assert client.reply() == b"", "the connection goes on"
                else:
                    assert answer.startswith(b"250"), (ending, answer)
                    assert client.ask(b"QUIT").startswith(b"221")
                    taken += 1
        until(sink, taken)
        time.sleep(0.5)
        assert len(sink.taken) == taken, "one message became two"
        for one in sink.taken:
            assert one.sender == "a@b.example" and b"evil" in one.body, (one.sender, one.body)
            assert not re.search(rb"\r(?!\n)|(?<!\r)\n", one.body), one.body
        relay.stop()


def absurd_sizes_cost_nothing():
    sink = Sink()
    relay = Relay(BINARY, sink, listener='message_size_max = "1MiB"')

    def memory():
        with open(f"/proc/{relay.process.pid}/status") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1])

    before = memory()
    for size in (b"99999999999999999999", b"18446744073709551615 LAST", b"9223372036854775808"):
        client = Client(relay.port)
        client.begin()
        assert client.ask(b"BDAT " + size).startswith(b"552 5.3.4")
        assert client.reply() == b""
    for bad in (b"-1", b"x", b"", b"1 2", b"0x10 LAST"):
        client = Client(relay.port)
        client.begin()
        assert client.ask(b"BDAT " + bad).startswith(b"501 5.5.4")
        assert client.reply() == b""
    # A little too large: read to its end, and the session goes on.
    client = Client(relay.port)
    for _ in range(15):
        client.begin()
        replies = client.portions([b"x" * 1_048_574 + b"\r\n", b"QUIT\r\n" * 40_000, b"QUIT\r\n"])
        assert [reply[:3] for reply in replies] == [b"250", b"552", b"503"], replies
        assert client.ask(b"RSET").startswith(b"250")
    # Nothing behind it is read as a command, and empty portions have an end.
    client.begin()
    client.socket.sendall(b"BDAT 0\r\n" * 2_000)
    said = b""
    while piece := client.lines.read(65536):
        said += piece
    assert said.count(b"250 ") == 1000 and said.splitlines()[-1].startswith(b"421 4.7.0"), said[-200:]
    assert memory() < before + 30_000, (before, memory())
    assert not sink.taken
    relay.stop()


def a_listener_says_what_it_takes():
    sink = Sink()
    strict = 'long_lines = "refuse"\nnul = "refuse"\neight_bit_headers = "refuse"\nfinal_newline = "refuse"\nheader_size_max = "64KiB"\nheader_fields_max = 500'
    relay = Relay(BINARY, sink, listener=strict + '\nmessages_per_connection = 40\nbanner = "hello"')
    head = b"Subject: x\r\n\r\n"
    for text, code, words in (
        (head + b"y" * 999 + b"\r\n", b"550 5.6.0", b"that at byte 15 has more than 998 bytes (RFC 5321 section 4.5.3.1.6)"),
        (head + b"a\0b\r\n", b"550 5.6.0", b"NUL (0x00) in the message at byte 16 (RFC 5322"),
        (b"From: a\r\nSubject: \xc3\xa4\r\n\r\n", b"550 5.6.0", b"(0xc3) in the header at byte 19, line 2"),
        (head + b"end", b"550 5.6.0", b"ends within a line, at byte 17"),
        (b"A: b\r\n" + b" c\r\n" * 20_000 + b"\r\n", b"552 5.3.4", b"byte 65537 is beyond its 65536 bytes"),
        (b"A: b\r\n" * 501 + b"\r\n", b"552 5.3.4", b"at byte 3001, line 501 is beyond 500"),
        (b"Received: x\r\n" * 101 + b"\r\n", b"554 5.4.6", b"at byte 1301, line 101"),
    ):
        client = Client(relay.port)
        client.begin()
        answer = client.portions([text])[0]
        assert answer.startswith(code) and words in answer and b"RFC" in answer, answer
        # The session goes on.
        client.begin()
        assert client.portions([head + b"\xc3\xa4\r\n"])[0].startswith(b"250")
    reasons = [event["reason"] for event in relay.wait_log("rejected", 7)]
    assert sorted(reasons) == sorted(["line_too_long", "content", "content", "content", "too_large", "too_large", "loop"]), reasons
    client = Client(relay.port)
    assert b"250-LIMITS MAILMAX=40 RCPTMAX=1000\r\n" in client.offers
    for _ in range(40):
        client.begin()
        assert client.portions([head])[0].startswith(b"250")
    assert client.ask(b"MAIL FROM:<a@b.example>").startswith(b"421 4.3.2 Enough messages")
    raw = socket.create_connection(("127.0.0.1", relay.port), timeout=20)
    assert raw.recv(100) == b"220 relay.example ESMTP hello\r\n"
    until(sink, 47)
    relay.stop()


def long_lines_are_folded():
    sink = Sink()
    relay = Relay(BINARY, sink, listener='long_lines = "fold"')
    client = Client(relay.port)
    subject = " ".join(["word"] * 500)
    text = "long " * 1000 + "line \u00e4"
    header = f"Subject: {subject}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n".encode()
    client.begin()
    assert client.portions([header + text.encode() + b"\r\nshort\r\n"])[0].startswith(b"250")
    # With the body in pieces only the header can be folded; then a body of short lines is taken, and one of long ones is not.
    big = b"a usual line\r\n" * 60_000
    client.begin()
    assert client.portions([header + big])[0].startswith(b"250")
    for bad in (header + big + b"y" * 999 + b"\r\n", b"Subject: " + b"x" * 1200 + b"\r\n\r\n", b"DKIM-Signature: v=1\r\n" + header + b"\r\n"):
        client.begin()
        answer = client.portions([bad])[0]
        assert answer.startswith(b"550 5.6.0 A line of the message is too long: that at byte"), answer
    until(sink, 2)
    small, large = sorted((one.without_trace() for one in sink.taken), key=len)
    for one in (small, large):
        assert max(len(line) for line in one.split(b"\r\n")) <= 998
        assert re.sub(r"\s+", " ", email.message_from_bytes(one)["Subject"]) == subject
    assert email.message_from_bytes(small).get_payload(decode=True).decode().split("\r\n")[0] == text
    assert large.endswith(b"\r\n\r\n" + big)
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
