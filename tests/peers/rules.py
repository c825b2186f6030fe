"""Stories of rules and instructions with the real binary: `rules.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import json
import os
import subprocess
import sys

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
    assert done.returncode == 1 and "capture is not built yet" in words and '"a(" is no pattern' in words, words
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
