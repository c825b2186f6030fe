"""Stories of rules and instructions with the real binary: `rules.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import json
import os
import subprocess
import sys
import time

from relay import Relay
from sink import Sink

BINARY = os.path.abspath(sys.argv[2])
RULES = """
[[rule]]
match = { sender = "@bad.example" }
action = "reject 550 5.7.1 no mail from there"
[[rule]]
match = { header = { name = "X-Job", pattern = "^promo-(.*)" } }
set = { campaign = "$1", header_add = { "X-Seen" = "$1" }, header_remove = ["X-Secret"] }
[[rule]]
match = { recipient = "@slow.example" }
set = { pool = "slow" }
[[rule]]
match = { recipient = "@nowhere.example" }
action = "discard"
[retry]
first = "1h"
max = "1h"
"""


def rules_and_instructions_are_obeyed():
    def behave(point, data):
        return b"450 4.2.0 later\r\n" if point == "RCPT" and b"slow" in data else None

    sink = Sink(behave)
    relay = Relay(BINARY, sink, RULES)
    header = b'X-Relevo-Tenant: shop\nX-Job: promo-spring\nX-Relevo-Metadata: {"order": 7}\nX-Secret: a\n b\nSubject: s\n\n'
    # Larger than what is gathered in memory: the header is changed before the first of it is stored.
    for body in (b"small\n", b"a line of a large body\n" * 30_000):
        recipients = ["a@one.example", "b@slow.example", "c@nowhere.example"]
        relay.send_raw("me@good.example", recipients, (header + body).replace(b"\n", b"\r\n"))
    received = relay.wait_log("received", 2)
    for event, recipients, pool in (
        ("delivered", ["a@one.example"], None),
        ("deferred", ["b@slow.example"], "slow"),
        ("discarded", ["c@nowhere.example"], None),
    ):
        for record in relay.wait_log(event, 2):
            assert record["recipients"] == recipients, record
            found = [record.get(name) for name in ("tenant", "campaign", "pool", "metadata")]
            assert found == ["shop", "spring", pool, {"order": 7}], record
    assert len(sink.taken) == 2, sink.taken
    for message, size in zip(sorted(sink.taken, key=lambda one: len(one.body)), (6, 690_000)):
        text = message.body
        _, text = text.split(b"X-Seen: spring\r\n")
        assert text.startswith(b"Subject: s\r\n\r\n") and len(text) > size, text[:200]
    client = relay.client()
    client.ehlo()
    assert client.mail("x@bad.example") == (550, b"5.7.1 no mail from there")
    assert client.mail("x@good.example")[0] == 250
    client.rcpt("a@one.example")
    assert client.data(b"X-Relevo-Expire: soon\r\n\r\n") == (550, b"5.6.0 X-Relevo-Expire must be a time from 1s to 366d, as in 12h")
    client.quit()
    reasons = [record["reason"] for record in relay.wait_log("rejected", 2)]
    assert reasons == ["rule", "rule"], reasons
    # What was decided is in the record, whatever the rules are by then.
    relay.kill()
    relay.more = ""
    relay.write()
    relay.start()
    shown = [show(relay, record["id"]) for record in received]
    for one in shown:
        assert (one["tenant"], one["campaign"], one["pool"], one["metadata"]) == ("shop", "spring", None, {"order": 7}), one
        states = {recipient["address"]: recipient for recipient in one["recipients"]}
        assert states["b@slow.example"]["pool"] == "slow" and states["b@slow.example"]["state"] == "deferred", states
        assert states["c@nowhere.example"]["state"] == "discarded" and states["c@nowhere.example"]["discarded"], states
        assert "X-Job" not in one["header"] and "X-Seen: spring" in one["header"], one
    text = subprocess.run(
        [BINARY, "spool", "show", received[0]["id"], "--data-dir", relay.data_dir], capture_output=True, timeout=60, check=True
    ).stdout.decode()
    for line in ("tenant    shop\n", "campaign  spring\n", 'metadata  {"order": 7}\n', "; pool slow\n"):
        assert line in text, text
    relay.kill()


def show(relay, message):
    command = [BINARY, "spool", "show", message, "--json", "--data-dir", relay.data_dir]
    return json.loads(subprocess.run(command, capture_output=True, timeout=60, check=True).stdout)


def check_names_what_is_wrong_in_rules():
    relay = Relay(BINARY, Sink())
    path = f"{relay.directory}/relevo.toml"
    with open(path, "a") as file:
        file.write('[[rule]]\naction = "capture"\n[[rule]]\nmatch = { header = { name = "X", pattern = "a(" } }\naction = "discard"\n')
    done = subprocess.run([BINARY, "check", "--config", path], capture_output=True, timeout=60)
    words = (done.stdout + done.stderr).decode()
    assert done.returncode == 1 and "a rule cannot capture, a route can" in words and '"a(" is no pattern' in words, words
    relay.stop()


def queue(relay, *words):
    done = subprocess.run([BINARY, *words, "--config", f"{relay.directory}/relevo.toml"], capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout + done.stderr


def held_mail_goes_at_its_hour_over_kills():
    sink = Sink()
    relay = Relay(BINARY, sink, '[retry]\nexpire = "1h"\n[[rule]]\nmatch = { sender = "@later.example" }\nset = { send_at = "+1d" }\n')
    hour = time.time() + 12
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(hour)).encode()
    relay.send_raw("me@good.example", ["a@one.example"], b"X-Relevo-Send-At: " + at + b"\r\n\r\nheld\r\n")
    relay.send_raw("me@good.example", ["b@two.example"], b"X-Relevo-Send-At: 2020-01-01T00:00:00Z\r\n\r\nat once\r\n")
    relay.send_raw("me@later.example", ["c@three.example"], b"\r\ntomorrow\r\n")
    records = {record["recipients"][0]: record for record in relay.wait_log("received", 3)}
    assert records["a@one.example"]["send_at"] == at.decode() and "send_at" not in records["b@two.example"], records
    assert relay.wait_log("delivered")[0]["recipients"] == ["b@two.example"]
    client = relay.client()
    client.ehlo()
    for value, words in ((b"2099-01-01T00:00:00Z", b"5.7.1 Mail is held for 366 days at most"), (b"later", b"5.6.0 X-Relevo-Send-At must be a time")):
        client.mail("x@good.example")
        client.rcpt("a@one.example")
        code, said = client.data(b"X-Relevo-Send-At: " + value + b"\r\n\r\n")
        assert code == 550 and said.startswith(words), (code, said)
    client.quit()
    for _ in range(2):
        code, words = queue(relay, "why", "one.example")
        assert code == 0 and "held until its send_at" in words, words
        rows = [json.loads(line) for line in queue(relay, "queue", "list", "--state", "held", "--json")[1].splitlines()]
        assert {(row["domain"], row["attempts"]) for row in rows} == {("one.example", 0), ("three.example", 0)}, rows
        assert json.loads(queue(relay, "queue", "count", "--json")[1])["held"] == 2
        assert len(sink.taken) == 1 and time.time() < hour, "too slow to tell"
        relay.kill()
        relay.start()
    end = time.time() + 30
    while len(sink.taken) < 2:
        assert time.time() < end, "its hour came"
        time.sleep(0.1)
    assert time.time() >= int(hour), "before its hour"
    # An operator says: now.
    code, words = queue(relay, "queue", "retry", "--domain", "three.example")
    assert code == 0, words
    assert len(relay.wait_log("delivered", 3)) == 3, relay.log()
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
