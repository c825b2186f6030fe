"""What operators do with mail that waits and sessions that run: `operate.py STORY BINARY`. Called by tests/peers.rs."""
import json
import os
import subprocess
import sys
import threading
import time

from control import BINARY, SLOW, TEXT, Node
from sink import Sink


def until(what, seconds=20):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it does not come to pass"
        time.sleep(0.05)
    return found


def what_is_held_waits_until_it_is_released():
    relay = Node()
    relay.fill(20)
    time.sleep(0.5)
    held = json.loads(relay.command("queue", "hold", "--domain", "d1.example", "--reason", "wrong prices", "--json"))
    assert (held["recipients"], held["unwritten"]) == (4, 0), held
    assert "4 recipients held" in relay.command("queue", "hold", "--domain", "d2.example", "--for", "2h", "--reason", "they asked")
    relay.command("queue", "hold", "--domain", "d2.example", "--for", "1h", "--reason", "shorter", code=1)
    assert "for as long already" in relay.complaint
    relay.later = False
    assert "12 recipients tried now" in relay.command("queue", "retry", "--all")
    relay.sink.wait(12)
    # Nobody but an operator lets it go: neither a start nor what is on the disk.
    for _ in range(2):
        rows = relay.rows("--state", "held")
        assert len(rows) == 8 and relay.count()["held"] == 8, rows
        for row in rows:
            assert row["hold"].startswith(f"by user {os.getuid()}, process ") and row["last_reply"] == "450 4.2.0 not yet", row
            end = {"d1.example": ": wrong prices, until it is released", "d2.example": "Z"}[row["domain"]]
            assert row["hold"].endswith(end) and (row["next_attempt"] is None) == (end != "Z"), row
        relay.command("queue", "retry", "--all", code=1)
        text = relay.command("queue", "list", "--domain", "d1.example")
        assert "when released" in text and "held by user" in text, text
        shown = json.loads(relay.command("queue", "show", rows[0]["id"], "--json"))
        assert shown["live"][0]["hold"] == rows[0]["hold"] and shown["waiting"][0]["state"] == "held", shown
        assert "held by user" in relay.command("queue", "show", rows[0]["id"])
        why = json.loads(relay.command("why", "d1.example", "--json"))
        assert [(one["cause"], one["recipients"]) for one in why["causes"]] == [("kept", 4)], why
        assert "wrong prices" in why["causes"][0]["words"], why
        spool = subprocess.run([BINARY, "spool", "show", rows[0]["id"], "--data-dir", relay.data_dir], capture_output=True, text=True, timeout=30)
        assert "held" in spool.stdout and "by user" in spool.stdout, spool
        relay.kill()
        relay.start()
    assert "4 recipients released" in relay.command("queue", "release", "--domain", "d1.example", "--reason", "mended")
    relay.sink.wait(16)
    relay.command("queue", "release", "--domain", "d1.example", code=1)
    assert "nothing of that is held" in relay.complaint
    one = relay.rows()[0]["id"]
    # A bounce ends it too.
    relay.command("queue", "bounce", "--id", one)
    relay.sink.wait(17)
    # By what only records tell.
    assert json.loads(relay.command("queue", "release", "--sender", "a@b.example", "--json"))["recipients"] == 3
    relay.sink.wait(20)
    said = [(one["action"], one.get("reason"), one["count"]) for one in relay.wait_log("admin", 8) if one["action"] in ("hold", "release")]
    assert said == [("hold", "wrong prices", 4), ("hold", "they asked", 4), ("hold", "shorter", 0),
                    ("release", "mended", 4), ("release", None, 0), ("release", None, 3)], said
    for wrong in (("hold", "--domain", "d.example"), ("hold", "--reason", "all of it"), ("hold", "--all", "--reason", "two\nlines"), ("release",)):
        relay.command("queue", *wrong, code=2)
    status, refused = relay.ask("POST", "/control/v1/queue/hold", {"all": True, "seconds": 0})
    assert (status, refused["code"]) == (400, "bad_request"), (status, refused)
    relay.stop()


def a_hold_ends_by_itself():
    relay = Node()
    relay.fill(10)
    relay.later = False
    relay.command("queue", "hold", "--all", "--for", "6s", "--reason", "a moment")
    relay.command("queue", "retry", "--all", code=1)
    relay.kill()
    relay.start()
    assert relay.count()["held"] == 10 and not relay.sink.taken
    relay.sink.wait(10, 30)
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
