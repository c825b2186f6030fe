"""Mail of strangers to domains of relay_to, and what is verified of it: `gateway.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import os
import re
import smtplib
import subprocess
import sys
import threading
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "attacks"))
from names import SILENCE, TXT, Names
from relay import Relay
from signed import Keys
from sink import Sink
from suppression import BINARY, command, metric

HERE = os.path.dirname(os.path.abspath(__file__))
# Strangers call from 127.0.0.1.
OURS = "127.0.0.9"
NOBODY = f'relay_from = ["{OURS}/32"]\n'
GATEWAY = NOBODY + 'relay_to = ["example.org", "*.sub.example.org"]\n'


class Refused(Exception):
    def __init__(self, code, words):
        super().__init__(code, words)
        self.code, self.words = code, words.decode()


def bring(relay, sender, recipient, message, source="127.0.0.1", helo="client.example"):
    """What a client brings, byte for byte."""
    one = smtplib.SMTP("127.0.0.1", relay.port, local_hostname=helo, timeout=60, source_address=(source, 0))
    try:
        one.ehlo()
        for code, words in (one.mail(sender), one.docmd(f"RCPT TO:<{recipient}>")):
            if code != 250:
                raise Refused(code, words)
        assert one.docmd("DATA")[0] == 354
        stuffed = re.sub(rb"(?m)^\.", b"..", message)
        one.sock.sendall(stuffed + b".\r\n")
        code, words = one.getreply()
        if code != 250:
            raise Refused(code, words)
    finally:
        one.close()


def fields(message, name):
    """The values of a field, unfolded."""
    head = message.split(b"\r\n\r\n")[0].decode("ascii", "replace")
    lines = re.sub(r"\r\n[ \t]+", " ", head).split("\r\n")
    return [line.split(":", 1)[1].strip() for line in lines if line.lower().startswith(name.lower() + ":")]


def results(message, authority="relay.example"):
    """What a reader by RFC 8601 finds: of each result of the only field of this host, its method, its word and its properties."""
    (value,) = [value for value in fields(message, "Authentication-Results") if value.split(";")[0].strip().lower() == authority]
    found = []
    # No semicolon stands in a quoted string of ours.
    for part in value.split(";")[1:]:
        words = re.findall(r'[^\s="]+=(?:"[^"]*"|[^\s"]+)', part)
        assert " ".join(words) == part.strip(), part
        (method, word), *rest = [one.split("=", 1) for one in words]
        found.append((method, word, {name: text.strip('"') for name, text in rest}))
    return found


def one(found, method):
    (result,) = [result for result in found if result[0] == method]
    return result[1:]


def strangers_reach_what_relay_to_names():
    sink = Sink()
    relay = Relay(BINARY, sink, listener=GATEWAY + 'verify = "off"\n')
    message = b"Subject: hello\r\nAuthentication-Results: relay.example; dmarc=pass\r\n\r\nx\r\n"
    for recipient in ("user@example.org", "User@EXAMPLE.ORG", "user@a.sub.example.org"):
        bring(relay, "me@a.example", recipient, message)
    for recipient in (
        "user@sub.example.org",
        "user@other.example",
        "victim%other.example@example.org",
        "other.example!victim@example.org",
        '"victim@other.example"@example.org',
        "@example.org:victim@other.example",
        "victim@[192.0.2.1]",
        "@example.org:postmaster",
        "postmasters",
    ):
        try:
            bring(relay, "me@a.example", recipient, message)
            raise AssertionError(recipient)
        except Refused as refused:
            assert refused.code == 550 and "Relay access denied" in refused.words or recipient == "postmasters", refused
    # Postmaster without a domain, in any letters (RFC 5321 4.5.1).
    for recipient in ("Postmaster", '"POSTMASTER"'):
        bring(relay, "me@a.example", recipient, message)
    sink.wait(5)
    ours = ["user@example.org", "User@EXAMPLE.ORG", "user@a.sub.example.org", "Postmaster@example.org", "POSTMASTER@example.org"]
    assert sorted(sink.recipients()) == sorted(ours), sink.recipients()
    # Off is off.
    assert fields(sink.taken[0].body, "Authentication-Results") == ["relay.example; dmarc=pass"]
    events = relay.wait_log("received", 5)
    assert all("spf" not in event for event in events), events
    # What is named changes while it runs.
    relay.listener = relay.listener.replace("example.org", "changed.example")
    relay.write()
    command(relay, "reload")
    bring(relay, "me@a.example", "user@changed.example", message)
    try:
        bring(relay, "me@a.example", "user@example.org", message)
        raise AssertionError("it is not taken any more")
    except Refused as refused:
        assert refused.code == 550, refused
    sink.wait(6)
    # Nobody says which domains there are below it: nothing is known that a postmaster could be at.
    relay.listener = NOBODY + 'relay_to = ["*.sub.example.org"]\n'
    relay.write()
    command(relay, "reload")
    try:
        bring(relay, "me@a.example", "postmaster", message)
        raise AssertionError("there is no way to it")
    except Refused as refused:
        assert refused.code == 550, refused
    relay.stop()


KEYS = Keys()


def zone():
    """What the DNS has."""
    names = {
        "pass.example": ["v=spf1 ip4:127.0.0.1 -all"],
        "fail.example": ["v=spf1 ip4:192.0.2.1 -all"],
        "soft.example": ["unrelated", "v=spf1 ip4:192.0.2.1 ~all"],
        "two.example": ["v=spf1 -all", "v=spf1 ip4:127.0.0.1 -all"],
        "many.example": ["v=spf1 " + "".join(f"include:i{number}.many.example " for number in range(11)) + "-all"],
        "client.example": ["v=spf1 ip4:127.0.0.1 -all"],
        "bank.example": ["v=spf1 ip4:192.0.2.1 -all"],
        "_dmarc.bank.example": ["v=DMARC1; p=reject"],
        "_dmarc.soft.example": ["v=DMARC1; p=quarantine"],
        "_dmarc.pass.example": ["v=DMARC1; p=reject"],
        "strict.example": ["v=spf1 ip4:127.0.0.1 -all"],
        "_dmarc.strict.example": ["v=DMARC1; p=reject; aspf=s; adkim=s"],
        "mail.strict.example": ["v=spf1 ip4:127.0.0.1 -all"],
    }
    names |= {f"i{number}.many.example": ["v=spf1 ip4:192.0.2.9 -all"] for number in range(11)}
    names |= {name: [text] for name, text in KEYS.records.items()}
    silent = lambda name: name.endswith("silent.example")
    return Names(lambda name, kind: SILENCE if silent(name) else names.get(name) if kind == TXT else [])


def sign(domain, message, selector="r1", forms="relaxed/relaxed"):
    key = f"{KEYS.path}/{domain}/{selector}.pem"
    done = subprocess.run(["/usr/bin/python3", f"{HERE}/signer.py", domain, selector, key, forms], input=message, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def text(author, body=b"A line.\r\n", more=b""):
    return more + b"From: " + author.encode() + b"\r\nTo: user@example.org\r\nSubject: hello\r\n\r\n" + body


def gateway(verify, servers, keys=""):
    sink = Sink()
    settings = f'[dns]\nservers = [{", ".join(f"{chr(34)}127.0.0.1:{port}{chr(34)}" for port in servers)}]\ntimeout = "2s"\n'
    return Relay(BINARY, sink, settings, listener=GATEWAY + f'verify = "{verify}"\n{keys}'), sink


def told(relay, sink, sender, message, **how):
    """What the message says of itself where it arrives, with what its event says."""
    count = len(sink.taken)
    bring(relay, sender, "user@example.org", message, **how)
    sink.wait(count + 1)
    found = results(sink.taken[-1].body)
    event = relay.wait_log("received", count + 1)[count]
    dkim = [word for method, word, _ in found if method == "dkim"]
    summary = "pass" if "pass" in dkim else dkim[0]
    assert (event["spf"], event["dkim"], event["dmarc"]) == (one(found, "spf")[0], summary, one(found, "dmarc")[0]), (event, found)
    return found


def what_strangers_send_is_verified():
    for domain in ("pass.example", "news.pass.example", "list.example", "strict.example", "mail.strict.example"):
        KEYS.make(domain, "r1")
    relay, sink = gateway("report", [zone().port])
    # SPF.
    for sender, spf in (
        ("a@pass.example", ("pass", {"smtp.mailfrom": "pass.example"})),
        ("a@Fail.Example", ("fail", {"smtp.mailfrom": "fail.example"})),
        ("a@soft.example", ("softfail", {"smtp.mailfrom": "soft.example"})),
        ("a@none.example", ("none", {"smtp.mailfrom": "none.example"})),
        ("a@two.example", ("permerror", {"smtp.mailfrom": "two.example"})),
        ("a@many.example", ("permerror", {"smtp.mailfrom": "many.example"})),
        ("", ("pass", {"smtp.helo": "client.example"})),
    ):
        found = told(relay, sink, sender, text("a@none.example"))
        assert one(found, "spf") == spf, (sender, found)
        assert one(found, "dkim") == ("none", {}) and one(found, "dmarc")[0] == "none", found
    # DKIM: in all forms, large and small, and also where a list added a signature of its own.
    body = b"A line.  \r\n" * 60_000
    shapes = {
        "small": text("a@pass.example"),
        "blank lines at the end": text("a@pass.example", b"A line.\r\n\r\n \t\r\n\r\n"),
        "in pieces": text("a@pass.example", body),
        "many fields": text("a@pass.example", more=b"X-Field: y\r\n" * 3000),
        "dots": text("a@pass.example", b".\r\n..a\r\n.b\r\n"),
    }
    for forms in ("relaxed/relaxed", "simple/simple", "relaxed/simple", "simple/relaxed"):
        for shape, message in shapes.items():
            found = told(relay, sink, "a@none.example", sign("pass.example", message, forms=forms))
            word, of = one(found, "dkim")
            assert (word, of["header.d"], of["header.s"], of["header.a"]) == ("pass", "pass.example", "r1", "rsa-sha256"), (forms, shape, found)
            assert one(found, "dmarc") == ("pass", {"header.from": "pass.example", "policy.dmarc": "reject"}), found
    signed = sign("pass.example", text("a@pass.example"))
    for changed, reason in ((signed.replace(b"A line", b"B line"), "the body was changed"), (signed.replace(b"Subject: hello", b"Subject: HELLO"), "a signed field was changed")):
        found = told(relay, sink, "a@none.example", changed)
        word, of = one(found, "dkim")
        assert (word, of["reason"], of["header.d"]) == ("fail", reason, "pass.example"), found
        assert one(found, "dmarc")[0] == "fail", found
    # Of a domain below it, aligned; of another, not.
    found = told(relay, sink, "a@none.example", sign("news.pass.example", text("a@pass.example")))
    assert one(found, "dkim")[0] == "pass" and one(found, "dmarc")[0] == "pass", found
    found = told(relay, sink, "a@none.example", sign("list.example", text("a@pass.example")))
    assert one(found, "dkim")[0] == "pass" and one(found, "dmarc")[0] == "fail", found
    found = told(relay, sink, "a@none.example", sign("list.example", sign("pass.example", text("a@pass.example"))))
    assert [(word, of["header.d"]) for method, word, of in found if method == "dkim"] == [("pass", "list.example"), ("pass", "pass.example")], found
    assert one(found, "dmarc")[0] == "pass", found
    found = told(relay, sink, "a@mail.strict.example", sign("mail.strict.example", text("a@strict.example")))
    assert (one(found, "spf")[0], one(found, "dkim")[0], one(found, "dmarc")[0]) == ("pass", "pass", "fail"), found
    # By SPF alone; and what only asks to be suspected.
    found = told(relay, sink, "b@pass.example", text("a@pass.example"))
    assert one(found, "dmarc") == ("pass", {"header.from": "pass.example", "policy.dmarc": "reject"}), found
    found = told(relay, sink, "b@none.example", text("a@soft.example"))
    assert one(found, "dmarc") == ("fail", {"header.from": "soft.example", "policy.dmarc": "quarantine"}), found
    # Signatures without a key, in too great a number, or that nobody can read.
    found = told(relay, sink, "a@none.example", signed.replace(b"s=r1", b"s=r2"))
    assert one(found, "dkim")[1]["reason"] == "there is no such key" and one(found, "dkim")[0] == "permerror", found
    junk = b"DKIM-Signature: v=1; a=rsa-sha256; d=x.example; s=x; h=from; bh=eA==; b=eA==\r\n"
    found = told(relay, sink, "a@none.example", junk * 40 + text("a@pass.example"))
    assert len([1 for method, _, _ in found if method == "dkim"]) == 5, found
    for nobody in (b"From: a@pass.example\r\nFrom: b@pass.example\r\n\r\nx\r\n", b"Subject: x\r\n\r\nx\r\n", b"From: \r\n\r\nx\r\n"):
        assert one(told(relay, sink, "a@none.example", nobody), "dmarc")[0] == "permerror"
    # A name server that is silent about one of them does not keep the others from being known.
    began = time.monotonic()
    found = told(relay, sink, "a@silent.example", sign("pass.example", text("a@pass.example")))
    assert (one(found, "spf")[0], one(found, "dkim")[0], one(found, "dmarc")[0]) == ("temperror", "pass", "pass"), found
    assert time.monotonic() - began < 16
    text_of = urllib.request.urlopen(f"http://127.0.0.1:{relay.http}/metrics", timeout=10).read().decode()
    counted = sum(int(count) for count in re.findall(r'relevo_verified_total\{[^}]*check="dmarc",result="pass"\} (\d+)', text_of))
    events = relay.log()
    assert counted == sum(event.get("dmarc") == "pass" for event in events) >= 20, counted
    # Whoever may relay is not verified, and no field of his is taken out.
    count = len(sink.taken)
    bring(relay, "a@fail.example", "user@example.org", text("a@pass.example", more=b"Authentication-Results: relay.example; none\r\n"), source=OURS)
    sink.wait(count + 1)
    assert fields(sink.taken[-1].body, "Authentication-Results") == ["relay.example; none"]
    relay.stop()


def forged_results_are_taken_out():
    relay, sink = gateway("report", [zone().port])
    ours = (
        b"Authentication-Results: relay.example; dmarc=pass",
        b"authentication-results:RELAY.example.;dmarc=pass",
        b"AUTHENTICATION-RESULTS : (c (d)) relay.example 1; dmarc=pass",
        b'Authentication-Results:\r\n\t"relay.example"\r\n ;\r\n\tdmarc=pass',
        b"Authentication-Results: (relay.example dmarc=pass",
        b"Authentication-Results: dmarc=pass",
    )
    theirs = b"Authentication-Results: mx.other.example; dmarc=pass header.from=relay.example"
    for place in range(len(ours) + 1):
        # In front of all, between, and behind.
        lines = [*ours[:place], theirs, *ours[place:]]
        message = lines[0] + b"\r\n" + text("a@fail.example", b"Authentication-Results: relay.example; in the body\r\n", b"".join(line + b"\r\n" for line in lines[1:]))
        found = told(relay, sink, "a@fail.example", message)
        assert one(found, "dmarc")[0] == "none" and one(found, "spf")[0] == "fail", found
        came = fields(sink.taken[-1].body, "Authentication-Results")
        assert len(came) == 2 and came[1] == theirs.decode().split(": ")[1], came
        assert sink.taken[-1].body.endswith(b"\r\n\r\nAuthentication-Results: relay.example; in the body\r\n")
        # Ours stands behind our Received and in front of all that came.
        heads = [line.split(b":")[0] for line in sink.taken[-1].body.split(b"\r\n") if not line.startswith((b" ", b"\t"))]
        assert heads[:2] == [b"Received", b"Authentication-Results"], heads
    # A header section that is too long to be looked through is not taken.
    try:
        bring(relay, "a@pass.example", "user@example.org", text("a@b.example", more=b"X-Field: %s\r\n" % (b"y" * 900) * 200 + ours[0] + b"\r\n"))
        raise AssertionError("taken")
    except Refused as refused:
        assert refused.code == 552, refused
    relay.stop()


def what_a_domain_wants_refused_is_refused():
    KEYS.make("pass.example", "r1")
    relay, sink = gateway("enforce", [zone().port])
    for sender, author, words in (
        ("a@fail.example", "ceo@bank.example", "DMARC of bank.example says reject: SPF fail, DKIM none"),
        ("a@pass.example", "ceo@sub.bank.example", "DMARC of sub.bank.example says reject: SPF pass for another domain, DKIM none"),
        ("", "ceo@BANK.example", "DMARC of bank.example says reject: SPF pass for another domain, DKIM none"),
    ):
        try:
            bring(relay, sender, "user@example.org", text(author))
            raise AssertionError(author)
        except Refused as refused:
            assert refused.code == 550 and refused.words == f"5.7.1 {words}", refused
    rejected = relay.wait_log("rejected", 3)
    assert {event["reason"] for event in rejected} == {"dmarc"}, rejected
    # What passes, what only asks to be suspected, and what nobody knows is taken.
    told(relay, sink, "a@pass.example", text("a@pass.example"))
    told(relay, sink, "a@none.example", sign("pass.example", text("a@pass.example", b"x\r\n" * 200_000)))
    assert one(told(relay, sink, "a@none.example", text("a@soft.example")), "dmarc")[0] == "fail"
    assert one(told(relay, sink, "a@none.example", text("a@silent.example")), "dmarc")[0] == "temperror"
    assert metric(relay, "messages_refused_total") == 3
    # Nothing of what was refused stays.
    assert len(sink.taken) == 4
    relay.stop()


def silent_name_servers_hold_nobody_up():
    """200 messages of strangers at once; beside them mail of a client that may relay, as quick as without them."""
    silent = Names(lambda name, kind: SILENCE)
    relay, sink = gateway("enforce", [silent.port], "connections_per_client = 1000\n")
    neighbour = lambda: bring(relay, "me@a.example", "user@b.example", text("me@a.example"), source=OURS)

    def times(count):
        took = []
        for _ in range(count):
            began = time.monotonic()
            neighbour()
            took.append(time.monotonic() - began)
        return sorted(took)

    times(10)
    alone = times(60)
    slow, failed = [], []

    def stranger(number):
        began = time.monotonic()
        try:
            bring(relay, f"a@d{number}.example", "user@example.org", text(f"a@d{number}.example"))
            slow.append(time.monotonic() - began)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=stranger, args=(number,)) for number in range(200)]
    [thread.start() for thread in threads]
    time.sleep(1)
    beside = times(60)
    [thread.join() for thread in threads]
    print(f"median {alone[30] * 1000:.1f} ms alone, {beside[30] * 1000:.1f} ms beside 200; p95 {alone[57] * 1000:.1f} and {beside[57] * 1000:.1f} ms; strangers waited {min(slow):.1f} to {max(slow):.1f} s")
    assert not failed, failed[:3]
    assert len(slow) == 200 and max(slow) < 25, max(slow)
    assert beside[30] < 10 * alone[30] + 0.05, (alone[30], beside[30])
    sink.wait(330)
    strangers = [taken.body for taken in sink.taken if taken.recipients == ["user@example.org"]]
    assert len(strangers) == 200
    for message in strangers:
        found = results(message)
        assert (one(found, "spf")[0], one(found, "dmarc")[0]) == ("temperror", "temperror"), found
    relay.stop()
    # One of two that is dead costs nothing.
    relay, sink = gateway("enforce", [silent.port, zone().port])
    began = time.monotonic()
    for _ in range(3):
        assert one(told(relay, sink, "a@pass.example", text("a@pass.example")), "dmarc")[0] == "pass"
    assert time.monotonic() - began < 6
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
