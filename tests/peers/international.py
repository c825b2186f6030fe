"""Mail in UTF-8 (RFC 6531 to 6533) and binary mail (RFC 3030), with the real binary: `international.py STORY BINARY`. Called by tests/peers.rs, one test a
story."""
import email
import email.policy
import os
import quopri
import re
import shutil
import smtplib
import socket
import subprocess
import sys
import time

from postfix import Postfix
from relay import Relay
from sink import Sink

BINARY = os.path.abspath(sys.argv[2])
PLAIN = ("PIPELINING", "8BITMIME", "SIZE 0")
WIDE = (*PLAIN, "SMTPUTF8")
GREEN = "Subject: gr\u00fcn\r\nFrom: \u03b4@b\u00fccher.example\r\n\r\ntext\r\n".encode()


class Said:
    """What a sink heard at MAIL and RCPT."""

    def __init__(self, refused=b""):
        self.lines, self.refused = [], refused

    def __call__(self, point, data):
        if point in ("MAIL", "RCPT"):
            self.lines.append(data.decode())
        if point == "RCPT" and self.refused and self.refused in data:
            return b"550 5.1.1 no such user\r\n"
        return None


def send(port, sender, recipients, text, options=("SMTPUTF8", "BODY=8BITMIME")):
    """By Python's client, whose library knows the extension."""
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example", timeout=30) as client:
        client.ehlo()
        assert client.has_extn("smtputf8"), client.esmtp_features
        return client.sendmail(sender, recipients, text, mail_options=options)


def raw(port, *lines):
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    replies = connection.makefile("rb")
    replies.readline()
    said = []
    for line in lines:
        connection.sendall(line.encode() + b"\r\n" if isinstance(line, str) else line)
        while (reply := replies.readline())[3:4] == b"-":
            pass
        said.append(reply.decode())
    connection.close()
    return said


def report(message):
    """Content type and text of each part of a notification."""
    parsed = email.message_from_bytes(message.body, policy=email.policy.SMTP)
    parts = []
    for raw_part in message.body.split(b"\r\n--" + parsed.get_boundary().encode())[1:-1]:
        head, _, text = raw_part.lstrip(b"\r\n").partition(b"\r\n\r\n")
        coding = re.search(rb"Content-Transfer-Encoding: (\S+)", head)
        if coding and coding[1] == b"quoted-printable":
            text = quopri.decodestring(text)
        parts.append((re.search(rb"Content-Type: ([^;\r\n]+)", head)[1].decode(), text.decode()))
    return parts


def addresses_in_utf8_go_on_as_they_came():
    said = Said()
    sink = Sink(behave=said, extensions=WIDE)
    relay = Relay(BINARY, sink)
    people = ["\u03c0\u03b1\u03c2@b\u00fccher.example", "ada@xn--bcher-kva.example", "\u7528\u6237@d.example"]
    assert send(relay.port, "\u03b4@b\u00fccher.example", people, GREEN) == {}
    sink.wait(3)
    assert sorted(sink.recipients()) == sorted(["\u03c0\u03b1\u03c2@b\u00fccher.example", "ada@b\u00fccher.example", "\u7528\u6237@d.example"]), sink.recipients()
    for message in sink.taken:
        assert message.without_trace() == GREEN and message.sender == "\u03b4@b\u00fccher.example", message.body
        assert b"with UTF8SMTP" in message.body, message.body
    mails = [line for line in said.lines if line.startswith("MAIL")]
    # One domain in both forms is one domain, and goes in one transaction.
    assert len(mails) == 2 and all(" SMTPUTF8" in line and " BODY=8BITMIME" in line for line in mails), mails
    told = [(one["sender"], person) for one in relay.wait_log("delivered", 2) for person in one["recipients"]]
    assert ("\u03b4@xn--bcher-kva.example", "\u03c0\u03b1\u03c2@xn--bcher-kva.example") in told, told
    # Who does not say it may not have it.
    wrong = raw(relay.port, "EHLO x", "MAIL FROM:<\u03b4@a.example>", "MAIL FROM:<a@b.example>", "RCPT TO:<\u03b4@a.example>")
    assert wrong[1].startswith("553 5.6.7") and wrong[3].startswith("553 5.6.7"), wrong
    if shutil.which("swaks"):
        command = ["swaks", "--server", f"127.0.0.1:{relay.port}", "--from", "a@b.example", "--to", "\u03b4@a.example"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode and "553 5.6.7" in done.stdout, (done.returncode, done.stdout)
    relay.stop()


def a_hop_without_smtputf8_has_what_needs_none():
    said = Said()
    sink = Sink(behave=said, extensions=PLAIN)
    relay = Relay(BINARY, sink)
    plain = b"Subject: x\r\n\r\ntext\r\n"
    people = ["ada@d.example", "\u03b4@d.example", "bob@d.example", "eve@b\u00fccher.example"]
    send(relay.port, "sender@b\u00fccher.example", people, plain)
    # Three of four, and the report of the one.
    sink.wait(4)
    assert sorted(sink.recipients()) == ["ada@d.example", "bob@d.example", "eve@xn--bcher-kva.example", "sender@xn--bcher-kva.example"], sink.recipients()
    assert not any("SMTPUTF8" in line or not line.isascii() for line in said.lines), said.lines
    notice = next(one for one in sink.taken if not one.sender)
    parts = report(notice)
    assert notice.body.isascii() and [kind for kind, _ in parts][1:] == ["message/global-delivery-status", "text/rfc822-headers"], parts
    fields = parts[1][1]
    assert "Final-Recipient: utf-8; \u03b4@d.example\r\n" in fields and "Status: 5.6.7\r\n" in fields, fields
    assert "<\u03b4@d.example>" in parts[0][1], parts[0]
    bounced = relay.wait_log("bounced", 1)
    assert bounced[0]["recipients"] == ["\u03b4@d.example"] and "5.6.7" in bounced[0]["reply"], bounced
    # With a header section in UTF-8 nobody can have it.
    before = len(said.lines)
    send(relay.port, "sender@a.example", ["ada@d.example", "bob@d.example"], GREEN)
    sink.wait(5)
    parts = report(sink.taken[-1])
    assert parts[1][1].count("Status: 5.6.7\r\n") == 2 and "gr\u00fcn" in parts[2][1], parts
    assert parts[2][0] == "message/global-headers", parts
    assert [line for line in said.lines[before:] if "ada@" in line or "bob@" in line] == [], said.lines[before:]
    relay.stop()


def a_report_to_a_sender_in_utf8_goes_with_smtputf8():
    said = Said(refused=b"nobody@")
    sink = Sink(behave=said, extensions=WIDE)
    relay = Relay(BINARY, sink)
    send(relay.port, "\u03b4@a.example", ["nobody@d.example"], GREEN)
    sink.wait(1)
    notice = sink.taken[0]
    assert notice.recipients == ["\u03b4@a.example"] and notice.sender == "", (notice.recipients, notice.sender)
    assert "MAIL FROM:<>" in said.lines[-2] and " SMTPUTF8" in said.lines[-2], said.lines
    assert "\r\nTo: <\u03b4@a.example>\r\n".encode() in notice.body, notice.body
    relay.stop()
    # To where nobody takes it, it is not sent in another form: it fails, and is nobody's to be told.
    said = Said(refused=b"nobody@")
    sink = Sink(behave=said, extensions=PLAIN)
    relay = Relay(BINARY, sink)
    send(relay.port, "\u03b4@a.example", ["nobody@d.example"], b"Subject: x\r\n\r\ntext\r\n")
    relay.wait_log("bounced", 2)
    assert not sink.taken and not any("\u03b4" in line for line in said.lines), said.lines
    relay.stop()


def postfix_takes_and_refuses_utf8():
    if os.geteuid() != 0 or not os.path.exists("/usr/sbin/postfix"):
        print("skipped: needs root and Postfix")
        return
    sink = Sink(extensions=WIDE)
    for enabled in ("yes", "no"):
        postfix = Postfix(sink.port, f"smtputf8_enable = {enabled}\n")
        relay = Relay(BINARY, route=f'[[route]]\ndomain = "*"\nto = "smtp://127.0.0.1:{postfix.port}"\n')
        before = len(sink.taken)
        send(relay.port, "a@b.example", ["\u03b4@b\u00fccher.example", "eve@b\u00fccher.example"], b"Subject: x\r\n\r\ntext\r\n")
        if enabled == "yes":
            sink.wait(before + 2)
            told = {one.split("@")[0] for message in sink.taken[before:] for one in message.recipients}
            assert told == {"\u03b4", "eve"}, told
        else:
            bounced = relay.wait_log("bounced", 1)
            assert bounced[0]["recipients"] == ["\u03b4@xn--bcher-kva.example"] and "5.6.7" in bounced[0]["reply"], bounced
            end = time.monotonic() + 20
            while not any("eve@xn--bcher-kva.example" in message.recipients for message in sink.taken[before:]):
                assert time.monotonic() < end, (sink.recipients(), postfix.log())
                time.sleep(0.1)
        relay.stop()
        postfix.stop()


def binary_messages_become_text():
    sink = Sink()
    relay = Relay(BINARY, sink)
    connection = socket.create_connection(("127.0.0.1", relay.port), timeout=30)
    replies = connection.makefile("rb")
    replies.readline()

    def ask(wire):
        connection.sendall(wire)
        said = []
        while not said or said[-1][3:4] == b"-":
            said.append(replies.readline())
        return b"".join(said)

    def begin():
        assert ask(b"MAIL FROM:<a@b.example> BODY=BINARYMIME\r\n").startswith(b"250")
        assert ask(b"RCPT TO:<c@d.example>\r\n").startswith(b"250")

    def give(text, size):
        begin()
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        for piece in pieces[:-1]:
            assert ask(b"BDAT %d\r\n" % len(piece) + piece).startswith(b"250")
        return ask(b"BDAT %d LAST\r\n" % len(pieces[-1]) + pieces[-1])

    offers = ask(b"EHLO client.example\r\n")
    assert b"250-BINARYMIME\r\n" in offers, offers
    begin()
    assert ask(b"DATA\r\n").startswith(b"503 5.5.1") and ask(b"RSET\r\n").startswith(b"250")
    # All bytes there are, and more of them than are gathered in memory.
    octets = bytes(range(256)) * 6000 + b"\r\n.\r\nQUIT\r\n\n.\n\r.\r\n--o \0"
    head = b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\r\ntext\r\n--o\r\n"
    part = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    for size in (1 << 20, 70_001):
        assert give(head + part + octets + b"\r\n--o--\r\n", size).startswith(b"250 2.0.0"), size
    plain = b"Subject: y\r\n\r\n.\r\n\xc3\xa4 text\r\n" + b"l" * 3000 + b"\r\n"
    assert give(plain, 10).startswith(b"250 2.0.0")
    refused = give(b"DKIM-Signature: v=1\r\n" + part + b"\0", 1000)
    assert refused.startswith(b"554 5.6.3 The binary message cannot be converted: somebody signed it"), refused
    # What does not say that it is binary is text, and refused as such.
    assert give(b"Subject: z\r\n\r\na\nb\r\n", 1000).startswith(b"550 5.6.11")
    sink.wait(3)
    time.sleep(0.3)
    assert len(sink.taken) == 3
    for message in sink.taken:
        assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", message.body), "binary text went on"
    texts = [message.without_trace() for message in sink.taken]
    assert plain in texts
    for text in texts:
        if text != plain:
            parts = email.message_from_bytes(text).get_payload()
            assert parts[1]["Content-Transfer-Encoding"] == "base64" and parts[1].get_payload(decode=True) == octets
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
