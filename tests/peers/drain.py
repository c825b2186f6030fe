"""A relay is emptied into another one: `relevo drain`. Called by tests/peers.rs.

    python3 tests/peers/drain.py STORY path/to/relevo
"""
import datetime
import json
import os
import smtplib
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from relay import Relay
from sink import Sink

BINARY = os.path.abspath(sys.argv[2])
TEXT = "Subject: hello\r\n\r\nA line.\r\n"


def until(what, words, seconds=30):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, words() if callable(words) else words
        time.sleep(0.05)
    return found


def ready(relay):
    """What /readyz says."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{relay.http}/readyz", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def command(relay, *arguments, code=0):
    done = subprocess.run([BINARY, *arguments, "--config", f"{relay.directory}/relevo.toml"], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, (arguments, done)
    return done.stdout + done.stderr


def greeting(relay):
    try:
        client = relay.client()
    except smtplib.SMTPConnectError as refused:
        return refused.smtp_code
    client.quit()
    return 220


class Two:
    """A relay whose hop puts everything off, and one beside it whose hop takes all."""

    def __init__(self, count):
        self.later, self.sink = Sink(lambda point, data: b"450 4.2.0 not yet\r\n" if point == "RCPT" else None), Sink()
        self.peer = Relay(BINARY, self.sink)
        self.relay = Relay(BINARY, self.later, '[retry]\nfirst = "1h"\nmax = "1h"\n')
        client = self.relay.client()
        for number in range(count):
            client.sendmail("a@b.example", [f"r{number}@d{number % 7}.example"], TEXT)
        client.quit()
        self.wanted = {f"r{number}@d{number % 7}.example" for number in range(count)}
        self.relay.wait_log("deferred", count)

    def all_there(self):
        until(lambda: self.wanted <= set(self.sink.recipients()), lambda: f"{len(self.sink.recipients())} arrived", 60)

    def stop(self):
        self.relay.stop()
        self.peer.stop()


def what_waits_goes_to_a_peer_and_nothing_new_is_taken():
    two = Two(200)
    relay, to = two.relay, f"smtp://127.0.0.1:{two.peer.port}"
    idle = relay.client()
    idle.ehlo()
    report = json.loads(command(relay, "drain", "--to", to, "--reason", "a new disk", "--json"))
    assert (report["delivered"], report["bounced"], report["messages"], report["to"]) == (200, 0, 0, to), report
    assert (report["handed_over"], report["handed_anew"]) == (0, 200), report
    two.all_there()
    assert len(two.sink.recipients()) == 200
    # As at a stop, and it goes on.
    status, words = ready(relay)
    assert status == 503 and "drains it to another relay" in words and words.count("drains") == 1, words
    assert greeting(relay) == 421
    try:
        code, words = idle.docmd("NOOP")
        assert code == 421, (code, words)
    except smtplib.SMTPServerDisconnected:
        pass
    listed = command(relay, "suspend", "--list")
    assert f"drain" in listed and to in listed and "a new disk" in listed, listed
    assert to in command(relay, "drain", "--status")
    [admin] = [one for one in relay.wait_log("admin", 1) if one["action"] == "suspend"]
    assert (admin["effect"], admin["filter"]) == (f"drain to {to}", "all mail"), admin
    # A start knows of it.
    relay.kill()
    relay.start()
    assert greeting(relay) == 421 and ready(relay)[0] == 503
    assert "mail is taken in again; 0 recipients of 0 messages left" in command(relay, "drain", "--end")
    until(lambda: ready(relay)[0] == 200 and greeting(relay) == 220, "it stays shut")
    relay.send("a@b.example", ["later@d.example"], TEXT)
    relay.wait_log("deferred", 201)
    command(relay, "drain", "--end", code=1)
    command(relay, "drain", "--status", code=1)
    for wrong in ((), ("--to", "nonsense"), ("--to", to, "--end"), ("--to", to, "--for", "0s")):
        command(relay, "drain", *wrong, code=2)
    two.stop()


def it_is_ended_in_the_middle():
    two = Two(50)
    relay = two.relay
    # Nobody answers there.
    nowhere = f"smtp://127.0.0.1:{Sink(lambda *_: 'drop').port}"
    drain = subprocess.Popen([BINARY, "drain", "--to", nowhere, "--config", f"{relay.directory}/relevo.toml"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: greeting(relay) == 421, "it is not shut")
    command(relay, "resume", "--all")
    out, complaint = drain.communicate(timeout=30)
    assert drain.returncode == 1 and "it was ended" in complaint and "50 recipients of 50 messages left" in out + complaint, (out, complaint)
    until(lambda: greeting(relay) == 220, "it stays shut")
    # What an operator holds goes nowhere, and that is said.
    command(relay, "queue", "hold", "--domain", "d1.example", "--reason", "wrong prices")
    held = command(relay, "drain", "--to", f"smtp://127.0.0.1:{two.peer.port}", code=1)
    assert "are held" in held and "relay may be stopped" not in held, held
    two.wanted -= {name for name in two.wanted if name.endswith("@d1.example")}
    two.all_there()
    two.stop()


def a_kill_in_the_middle_loses_nothing():
    two = Two(300)
    relay = two.relay
    more = [f"{number}" for number in range(8)]
    drain = subprocess.Popen([BINARY, "drain", "--to", f"smtp://127.0.0.1:{two.peer.port}", "--json", "--config", f"{relay.directory}/relevo.toml"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    taken, over = [], threading.Event()

    def bring(name):
        count = 0
        while not over.is_set():
            try:
                relay.send("a@b.example", [f"m{name}x{count}@d.example"], TEXT)
                taken.append(f"m{name}x{count}@d.example")
            except (OSError, smtplib.SMTPException):
                time.sleep(0.05)
            count += 1

    threads = [threading.Thread(target=bring, args=(name,), daemon=True) for name in more]
    [thread.start() for thread in threads]
    until(lambda: len(two.sink.recipients()) > 20, "nothing goes")
    relay.kill()
    relay.start()
    two.peer.kill()
    two.peer.start()
    report = json.loads(drain.communicate(timeout=120)[0])
    over.set()
    [thread.join(20) for thread in threads]
    assert report["messages"] == 0, report
    two.wanted |= set(taken)
    two.all_there()
    # A kill of either leaves in doubt what was on its way, and each commit of the peer: on a slow machine half of all.
    more = len(two.sink.recipients()) - len(set(two.sink.recipients()))
    print(f"{len(two.wanted)} messages, {more} twice, {report}")
    assert more < len(two.wanted), more
    two.stop()


def rows(relay, *filters):
    return [json.loads(line) for line in command(relay, "queue", "list", "--limit", "0", "--json", *filters).splitlines()]


def known(relay):
    """What is known of each group that waits, and when it is tried and given up."""
    seconds = lambda row, key: datetime.datetime.fromisoformat(row[key].replace("Z", "+00:00")).timestamp()
    exact = ("sender", "recipients", "domain", "count", "accepted", "attempts", "last_reply")
    return sorted((tuple(str(row[key]) for key in exact), seconds(row, "next_attempt"), seconds(row, "expires")) for row in rows(relay))


def alike(before, after):
    """The same, but for the second that a time is rounded by."""
    assert [one[0] for one in before] == [one[0] for one in after], (before[:3], after[:3])
    for one, other in zip(before, after):
        assert all(abs(at - then) <= 2 for at, then in zip(one[1:], other[1:])), (one, other)
    return True


def what_is_known_of_mail_goes_with_it():
    count, later = 40, lambda point, data: b"450 4.2.0 not yet\r\n" if point == "RCPT" else None
    first, second, sink = Sink(later), Sink(later), Sink()
    node = Relay(
        BINARY, second, '[retry]\nfirst = "1h"\nmax = "1h"\nexpire = "1d"\n[[rule]]\nmatch = { sender = "*" }\nset = { campaign = "other" }\n',
        listener='handover_from = ["127.0.0.1/32"]',
    )
    relay = Relay(
        BINARY, first, '[retry]\nfirst = "1h"\nmax = "1h"\nexpire = "4d"\n[[rule]]\nmatch = { sender = "*" }\nset = { campaign = "spring" }\n'
        '[[rule]]\nmatch = { recipient = "@d1.example" }\nset = { category = "one" }\n'
    )
    client = relay.client()
    for number in range(count):
        fields = 'X-Relevo-Tenant: shop\r\nX-Relevo-Metadata: {"order": %d, "who": "\u00e9\\"x"}\r\n' % number
        if number % 4 == 0:
            fields += "X-Relevo-Expire: 2d\r\nX-Relevo-Send-At: +1s\r\n"
        to = [f"r{number}@d{number % 7}.example", f"s{number}@d{number % 7}.example", f"t{number}@d1.example"]
        client.sendmail("a@b.example", to, (fields + TEXT).encode())
    client.sendmail("a@b.example", ["late@d.example"], "X-Relevo-Send-At: +1d\r\n" + TEXT)
    client.quit()
    groups = sum(1 if number % 7 == 1 else 2 for number in range(count))
    relay.wait_log("deferred", groups)
    command(relay, "queue", "retry", "--state", "deferred")
    until(lambda: all(row["attempts"] == 2 for row in rows(relay, "--state", "deferred")), "they are not tried twice")
    # What came of an attempt is on disk within seconds, and that goes along.
    live = lambda row: json.loads(command(relay, "queue", "show", row["id"], "--json"))["live"]
    until(lambda: all(one["attempts"] == 2 for row in rows(relay, "--state", "deferred") for one in live(row)), "it is not on disk")
    before = known(relay)
    assert len(before) == groups + 1
    received = {name: event for event in relay.wait_log("received", count + 1) for name in event["recipients"]}
    report = json.loads(command(relay, "drain", "--to", f"smtp://127.0.0.1:{node.port}", "--json"))
    total = 3 * count + 1
    assert (report["delivered"], report["handed_over"], report["handed_anew"], report["messages"]) == (total, total, 0, 0), report
    assert alike(before, known(node))
    # A kill forgets nothing of it.
    node.kill()
    node.start()
    until(lambda: len(rows(node)) == len(before), "it is not read yet")
    assert alike(before, known(node))
    [late] = rows(node, "--state", "held")
    assert late["recipients"] == ["late@d.example"], late
    command(node, "queue", "retry", "--state", "deferred")
    for event in node.wait_log("deferred", groups):
        address = event["recipients"][0]
        own = received[address]
        assert event["attempts"] == 3 and event["origin"] == f"{own['node']}/{own['id']}", (event, own)
        told = [event.get(key) for key in ("tenant", "campaign", "metadata", "send_at")]
        assert told == [own.get(key) for key in ("tenant", "campaign", "metadata", "send_at")], (event, own)
        assert (event.get("category") == "one") == address.endswith("@d1.example"), event
        assert event["delay_ms"] > 0
    assert all(event["origin"] for event in node.wait_log("received", groups + 1))
    # By the first id it is found where it is.
    own = received["r5@d5.example"]
    for asked in (own["id"], f"{own['node']}/{own['id']}"):
        found = rows(node, "--origin", asked)
        assert {name for row in found for name in row["recipients"]} == {"r5@d5.example", "s5@d5.example", "t5@d1.example"}, found
    assert rows(node, "--origin", f"{node_id(node)}/{own['id']}") == []
    called = [f"{own['node']}/{own['id']}"] + ([own["id"]] if not rows(node, "--id", own["id"]) else [])
    for asked in called:
        # One of the messages that it has become.
        shown = command(node, "queue", "show", asked)
        assert "3 recipients wait" in command(node, "why", asked) and ("r5@d5.example" in shown or "t5@d1.example" in shown), shown
    # And goes on from there to a relay that knows nothing of it.
    other = Relay(BINARY, sink)
    total -= 1
    words = command(node, "drain", "--to", f"smtp://127.0.0.1:{other.port}", code=1)
    # What is to go later does not go there: it would go at once.
    assert "1 recipient are held" in words and "late@d.example" not in sink.recipients(), words
    assert f"of {total} recipients the relay there knows no attempts" in words, words
    until(lambda: len(sink.recipients()) >= total, lambda: f"{len(sink.recipients())} arrived", 60)
    assert not any(b"X-Relevo" in message.body for message in sink.taken), sink.taken[0].body
    assert not any("origin" in event for event in other.wait_log("received", count))
    # What a stranger says of his mail means nothing.
    field = 'X-Relevo-Handover: {"version":1,"origin":"%s/%s","arrival":5,"expiry":9,"attempts":7}\r\n' % (own["node"], own["id"])
    other.send("a@b.example", ["stranger@d.example"], field + TEXT)
    [event] = until(lambda: [one for one in other.log() if one["event"] == "delivered" and one["recipients"] == ["stranger@d.example"]], "it does not arrive")
    assert event["attempts"] == 1 and "origin" not in event, event
    # And a node that says what cannot be read is told so.
    third = Relay(BINARY, sink, listener='handover_from = ["127.0.0.1/32"]')
    try:
        third.send("a@b.example", ["wrong@d.example"], "X-Relevo-Handover: {}\r\n" + TEXT)
        raise AssertionError("it is taken")
    except smtplib.SMTPDataError as refused:
        assert refused.smtp_code == 550 and b"is not what version 1 writes" in refused.smtp_error, refused
    for one in (relay, node, other, third):
        one.stop()


def node_id(relay):
    with open(f"{relay.data_dir}/node") as file:
        return file.read().strip()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
