"""PowerMTA's merge verbs (docs/receiving.md): `merge.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import os
import smtplib
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "attacks"))
from relay import Relay
from sink import Sink
from suspensions import until

MERGE = "merge = true\n"


class Injector(smtplib.SMTP):
    """What a campaign tool does with these verbs."""

    def __init__(self, relay):
        super().__init__("127.0.0.1", relay.port, timeout=30)
        self.ehlo("injector.example")

    def ok(self, line, code=250):
        found, text = self.docmd(line)
        assert found == code, (line, found, text)
        return text.decode()

    def part(self, number, text, last=False):
        self.ok(f"XPRT {number}{' LAST' if last else ''}", 354)
        lines = "".join("." + line if line.startswith(".") else line for line in text.splitlines(keepends=True))
        self.send((lines + ".\r\n").encode())
        return self.getreply()


def each_recipient_gets_a_message_of_its_own():
    """In parts, with values, as many as a transaction has, all of them on disk when the last part is answered."""
    sink = Sink()
    relay = Relay(sys.argv[2], sink, listener=MERGE)
    injector = Injector(relay)
    assert injector.has_extn("xmrg") and injector.has_extn("xack"), injector.esmtp_features
    injector.ok("XMRG FROM:<news@shop.example> VERP")
    injector.ok("XACK OFF")
    count = 1000
    for number in range(count):
        parts = "1-2" if number % 2 else "1"
        injector.send(f'XDFN name="Name {number}" *parts={parts} *jobid="job-{number % 3}"\r\nRCPT TO:<u{number}@d{number % 7}.example>\r\n')
    head = "From: news@shop.example\r\nTo: [name] <[*to]>\r\nSubject: for [NAME]\r\n\r\nDear [name], [if mso] no. [#]\r\n.dot\r\n"
    assert injector.part(1, head) == (250, b"2.0.0 Ok")
    begun = time.monotonic()
    assert injector.part(2, "odd ones alone\r\n", last=True) == (250, f"2.0.0 Ok: {count} messages queued".encode())
    print(f"{count} messages in {time.monotonic() - begun:.2f} s")
    sink.wait(count)
    seen = set()
    for message in sink.taken:
        [to] = message.recipients
        number = int(to[1:to.index("@")])
        seen.add(number)
        text = message.without_trace().decode()
        assert message.sender == "news@shop.example" and "x-job" not in text.lower(), text
        odd = "odd ones alone\r\n" if number % 2 else ""
        wanted = f"To: Name {number} <{to}>\r\nSubject: for Name {number}\r\n\r\nDear Name {number}, [if mso] no. {number + 1}\r\n.dot\r\n{odd}"
        assert text.endswith(wanted), (text, wanted)
    assert len(seen) == count
    received = relay.wait_log("received", count)
    assert {one["campaign"] for one in received} == {"job-0", "job-1", "job-2"}
    assert len({one["id"] for one in received}) == count
    # The session goes on as any other.
    injector.ok("XACK ON")
    injector.sendmail("a@b.example", ["c@d.example"], "Subject: x\r\n\r\nx\r\n")
    injector.quit()
    relay.stop()


def what_is_refused_is_told():
    """By a rule for the header, which each message meets as any other does."""
    rule = '[[rule]]\nmatch = { header = { name = "Subject", pattern = "forbidden" } }\naction = "reject 550 5.7.1 not with this subject"\n'
    sink = Sink()
    relay = Relay(sys.argv[2], sink, listener=MERGE, more=rule)
    injector = Injector(relay)
    injector.ok("XMRG FROM:<news@shop.example>")
    for name, what in (("ann", "good"), ("bob", "forbidden"), ("cid", "fine")):
        injector.ok(f'XDFN what="{what}"')
        injector.ok(f"RCPT TO:<{name}@d.example>")
    code, text = injector.part(1, "Subject: [what]\r\n\r\nx\r\n", last=True)
    assert code == 554 and text.startswith(b"5.6.0 1 of 3 messages were refused, the first with: 550 5.7.1 not with this subject"), text
    sink.wait(2)
    assert sorted(sink.recipients()) == ["ann@d.example", "cid@d.example"], sink.recipients()
    assert [one["recipients"] for one in relay.wait_log("rejected")] == [["bob@d.example"]]
    # A session that goes away in the middle of it leaves nothing behind.
    injector.ok("XMRG FROM:<news@shop.example>")
    injector.ok("RCPT TO:<dan@d.example>")
    injector.ok("XPRT 1", 354)
    injector.send(b"Subject: x\r\n" * 10_000)
    injector.close()
    time.sleep(1)
    assert len(sink.taken) == 2
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
