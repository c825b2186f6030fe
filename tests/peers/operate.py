"""What operators do with mail that waits and sessions that run: `operate.py STORY BINARY`. Called by tests/peers.rs."""
import json
import os
import socket
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta

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
    # What is done is on disk within seconds; a kill before that would have it done again.
    left = lambda: subprocess.run([BINARY, "spool", "list", "--json", "--data-dir", relay.data_dir], capture_output=True, text=True, timeout=30).stdout
    until(lambda: len(left().splitlines()) == 8)
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
        assert shown["live"][0]["hold"].split(", until")[0] == rows[0]["hold"].split(", until")[0] and shown["waiting"][0]["state"] == "held", shown
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


class Watcher:
    """Somebody who watches: `relevo trace`, and what it told."""

    def __init__(self, relay, *arguments):
        self.told = []
        self.process = subprocess.Popen([BINARY, "trace", "--json", *arguments, "--socket", relay.path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.told.append(json.loads(line))

    def lines(self, side):
        return [f"{one['dir']} {one.get('line', '')}" for one in list(self.told) if one.get("side") == side]

    def end(self):
        self.process.terminate()
        self.process.wait(10)


def sessions_are_watched_as_they_go():
    relay = Node()
    watcher = Watcher(relay, "--rcpt", "meant@d.example")
    bodies = Watcher(relay, "--sender", "a@b.example", "--client", "127.0.0.0/8", "--bodies")
    site = Watcher(relay, "--site", "127.0.0.1")
    admins = relay.wait_log("admin", 3)
    assert {(one["action"], one["filter"]) for one in admins} == {
        ("trace", "rcpt=meant@d.example"), ("trace", "sender=a@b.example client=127.0.0.0/8 bodies=1"), ("trace", "site=127.0.0.1")}, admins
    time.sleep(0.5)
    plain = socket.create_connection(("127.0.0.1", relay.port), 10)
    talk = plain.makefile("rwb")

    def say(line, replies=1):
        if line:
            talk.write(line + b"\r\n")
            talk.flush()
        for _ in range(replies):
            while talk.readline()[3:4] == b"-":
                pass

    say(b"")
    say(b"EHLO c.example")
    # Nobody may log in here; what would be a secret is left out all the same, also where it is no command.
    say(b"AUTH PLAIN AHVzZXIAc2VjcmV0")
    say(b"c2VjcmV0LXdvcmQ=")
    say(b"MAIL FROM:<other@b.example>")
    say(b"RCPT TO:<other@d.example>")
    say(b"RSET")
    say(b"MAIL FROM:<a@b.example>")
    say(b"RCPT TO:<meant@d.example>")
    say(b"DATA")
    say(b"Subject: hello\r\n\r\nThe body.\r\n.")
    say(b"QUIT")
    relay.sink.wait(1)
    until(lambda: "< QUIT" in watcher.lines("in") and any(line.startswith("> RCPT TO:<meant") for line in watcher.lines("out")))
    lines = watcher.lines("in")
    assert not any("other@" in line or "c2VjcmV0" in line or "AHVz" in line for line in lines), lines
    assert "< MAIL FROM:<a@b.example>" in lines and "< RCPT TO:<meant@d.example>" in lines and any("bytes of a message]" in line for line in lines), lines
    assert not any("The body" in line for line in lines + watcher.lines("out")), lines
    until(lambda: any(line.startswith("> 250 2.0.0 Ok: queued as") for line in watcher.lines("in")))
    until(lambda: "< The body." in bodies.lines("in"))
    assert not bodies.lines("out"), "clients were meant"
    until(lambda: any(line.startswith("> MAIL FROM:<a@b.example>") for line in site.lines("out")))
    assert not site.lines("in") and not any("The body" in line for line in site.lines("out")), site.told
    # Two who watched go; what comes is told to the third alone.
    watcher.end()
    bodies.end()
    before = len(watcher.told)
    relay.send("a@b.example", ["meant@d.example"], TEXT)
    until(lambda: sum(line.startswith("> MAIL FROM:<a@b.example>") for line in site.lines("out")) == 2)
    assert len(watcher.told) == before
    # As text; and no more than four. That one went is seen when there is something to tell him, or in a moment.
    time.sleep(1.5)
    more = [Watcher(relay, "--rcpt", "nobody@d.example") for _ in range(3)]
    relay.wait_log("admin", 6)
    refused = subprocess.run([BINARY, "trace", "--rcpt", "nobody@d.example", "--socket", relay.path], capture_output=True, text=True, timeout=20)
    assert refused.returncode == 1 and "as many watch" in refused.stderr, refused
    [one.end() for one in more]
    for wrong in ([], ["--rcpt", "no address"], ["--client", "nobody"]):
        done = subprocess.run([BINARY, "trace", *wrong, "--socket", relay.path], capture_output=True, text=True, timeout=20)
        assert done.returncode == 2, done
    site.process.stderr.close()
    relay.stop()


def what_is_rebound_waits_on_as_anothers():
    relay = Node(more=SLOW + """[[source]]
name = "ip1"
address = "127.0.0.1"
[[source]]
name = "ip2"
address = "127.0.0.2"
[[pool]]
name = "bulk"
sources = ["ip1"]
[[rule]]
match = { sender = "*" }
set = { tenant = "shop", campaign = "may", pool = "bulk" }
""")
    relay.fill(12, domains=3)
    # A message to two domains, of which one is meant.
    relay.send("a@b.example", ["later90@d0.example", "later91@d1.example"], TEXT)
    until(lambda: len(relay.rows()) == 14)
    time.sleep(0.5)
    before = {(row["id"], row["domain"]): row for row in relay.rows()}
    done = json.loads(relay.command("queue", "rebind", "--domain", "d0.example", "--to-pool", "ip2", "--to-tenant", "other", "--reason", "ip1 is listed", "--json"))
    assert (done["recipients"], done["unwritten"]) == (5, 0), done
    relay.command("queue", "rebind", "--domain", "d0.example", "--to-pool", "ip2", code=1)
    assert "has that already" in relay.complaint
    # At once on disk, with all that was known of it.
    for _ in range(2):
        rows = {(row["id"], row["domain"]): row for row in relay.rows()}
        assert rows.keys() == before.keys(), rows.keys() ^ before.keys()
        for which, row in rows.items():
            old = before[which]
            for same in ("sender", "recipients", "accepted", "size", "attempts", "last_reply"):
                assert row[same] == old[same], (same, row, old)
            ends = [datetime.fromisoformat(one["expires"].rstrip("Z")) for one in (row, old)]
            # A start counts in whole seconds.
            assert abs(ends[0] - ends[1]) <= timedelta(seconds=2), (row, old)
        assert relay.count("--tenant", "other")["recipients"] == 5 == relay.count("--pool", "ip2")["recipients"]
        assert relay.count("--tenant", "shop")["recipients"] == 9 and relay.count("--campaign", "may")["recipients"] == 14
        assert relay.count("--source", "ip2")["recipients"] == 5, relay.count("--source", "ip2")
        relay.kill()
        relay.start()
    # By what records tell, of one recipient; and what is held stays so.
    relay.command("queue", "hold", "--recipient", "later91@d1.example", "--reason", "wait")
    assert "1 recipient rebound" in relay.command("queue", "rebind", "--recipient", "later91@d1.example", "--to-campaign", "june", "--to-priority", "low")
    assert relay.count("--campaign", "june")["held"] == 1
    relay.later = False
    relay.command("queue", "retry", "--all")
    relay.sink.wait(13)
    relay.command("queue", "release", "--all")
    relay.sink.wait(14)
    told = {line["recipients"][0]: line for line in relay.wait_log("delivered", 14)}
    assert len(told) == 14 and {(line["tenant"], line["source"]) for to, line in told.items() if "@d0." in to} == {("other", "ip2")}, told
    assert {(line["tenant"], line["source"]) for to, line in told.items() if "@d0." not in to} == {("shop", "ip1")}, told
    assert [line["campaign"] for to, line in told.items() if to == "later91@d1.example"] == ["june"], told
    said = [(one["filter"], one["set"], one.get("reason"), one["count"]) for one in relay.wait_log("admin", 3) if one["action"] == "rebind"]
    assert said[0] == ("domain=d0.example", "pool=ip2 tenant=other", "ip1 is listed", 5), said
    for wrong in (["--domain", "d.example"], ["--to-pool", "ip2"], ["--all", "--domain", "d.example", "--to-pool", "ip2"]):
        relay.command("queue", "rebind", *wrong, code=2)
    for wrong in ({}, {"pool": "nobodys"}, {"envid": "x"}, {"priority": "soon"}, {"tenant": ""}):
        status, refused = relay.ask("POST", "/control/v1/queue/rebind", {"all": True, "set": wrong})
        assert (status, refused["code"]) == (400, "bad_request"), (wrong, status, refused)
    relay.stop()


def what_was_said_last_is_shown():
    relay = Node()
    relay.send("a@b.example", ["later1@d.example", "later2@d.example", "now@d.example"], TEXT)
    relay.wait(2)
    [row] = relay.rows()
    shown = json.loads(relay.command("queue", "show", row["id"], "--json"))
    dialogue = shown["live"][0]["dialogue"]
    assert dialogue[0].startswith("* 20") and "127.0.0.1" in dialogue[0], dialogue
    assert dialogue[1].startswith("> MAIL FROM:<a@b.example>") and dialogue[2] == "< 250", dialogue
    assert dialogue[3:5] == ["> RCPT TO:<later1@d.example>", "< 450 4.2.0 not yet"], dialogue
    assert "> DATA" in dialogue and dialogue[-1].startswith("< 250"), dialogue
    text = relay.command("queue", "show", row["id"])
    assert text.count("> RCPT TO:<later1@d.example>") == 1, text
    # It is in memory.
    relay.kill()
    relay.start()
    assert "dialogue" not in json.loads(relay.command("queue", "show", row["id"], "--json"))["live"][0]
    relay.stop()


def mail_is_led_elsewhere_for_a_while():
    other = Sink()
    relay = Node()
    relay.fill(6, domains=3)
    to = f"smtp://127.0.0.1:{other.port}"
    done = json.loads(relay.command("queue", "redirect", "--domain", "d1.example", "--to", to, "--for", "1h", "--reason", "their MX is down", "--json"))
    assert (done["effect"], done["to"], done["domain"], done["reason"]) == ("redirect", to, "d1.example", "their MX is down"), done
    time.sleep(0.5)
    relay.later = False
    relay.command("queue", "retry", "--all")
    relay.sink.wait(4)
    other.wait(2)
    assert {message.recipients[0] for message in other.taken} == {"later1@d1.example", "later4@d1.example"}
    # What comes goes there as well, over a kill too.
    relay.kill()
    relay.start()
    relay.send("a@b.example", ["new@d1.example"], TEXT)
    relay.send("a@b.example", ["new@d2.example"], TEXT)
    other.wait(3)
    relay.sink.wait(5)
    listed = relay.command("suspend", "--list")
    assert "redirect" in listed and to in listed and "their MX is down" in listed, listed
    # By site: what would go there, that is the route's host. The last one that means it counts.
    relay.command("queue", "redirect", "--site", "127.0.0.1", "--to", to, "--for", "1h", "--reason", "all of it")
    time.sleep(0.5)
    relay.send("a@b.example", ["new@d7.example"], TEXT)
    other.wait(4)
    relay.command("resume", "--all")
    time.sleep(0.5)
    relay.send("a@b.example", ["home@d1.example"], TEXT)
    relay.sink.wait(6)
    assert len(other.recipients()) == 4
    # For so long alone.
    relay.command("queue", "redirect", "--domain", "d1.example", "--to", to, "--for", "2s", "--reason", "a moment")
    time.sleep(0.3)
    relay.send("a@b.example", ["soon@d1.example"], TEXT)
    other.wait(5)
    time.sleep(3)
    relay.send("a@b.example", ["after@d1.example"], TEXT)
    relay.sink.wait(7)
    for wrong in (["--tenant", "shop", "--to", to], ["--domain", "d.example", "--to", "mx"], ["--domain", "d.example", "--to", "discard"], ["--to", to]):
        relay.command("queue", "redirect", *wrong, "--for", "1h", "--reason", "no", code=2)
    effects = [one["effect"] for one in relay.wait_log("admin", 6) if one["action"] == "suspend"]
    assert effects[0] == f"redirect to {to}", effects
    relay.stop()


def mail_is_exported_as_it_came():
    relay = Node()
    texts = [b"Subject: one\r\n\r\n.\r\nFrom here\r\n", b"Subject: two\r\nX-Long: " + b"x" * 700 + b"\r\n\r\n" + b"\xc3\xa4 line\r\n" * 90_000]
    for number, text in enumerate(texts):
        relay.send("a@b.example", [f"later{number}@d.example", f"later{number}@e.example"], text)
    relay.wait(4)
    before = relay.count()
    directory = f"{relay.directory}/mail"
    os.mkdir(directory)
    assert "2 messages written" in relay.command("queue", "export", "--sender", "a@b.example", "--to", directory)
    ids = sorted({row["id"] for row in relay.rows()})
    assert sorted(os.listdir(directory)) == [f"{one}.eml" for one in ids]
    for one in ids:
        path = f"{directory}/{one}.eml"
        assert os.stat(path).st_mode & 0o777 == 0o600
        with open(path, "rb") as file:
            exported = file.read()
        spool = subprocess.run([BINARY, "spool", "export", one, "--data-dir", relay.data_dir], capture_output=True, timeout=60)
        assert spool.returncode == 0 and exported == spool.stdout, one
        assert any(exported == text for text in texts), exported[:80]
    relay.command("queue", "export", "--domain", "d.example", "--to", directory, code=2)
    assert "exists" in relay.complaint
    out = subprocess.run([BINARY, "queue", "export", "--domain", "d.example", "--to", "-", "--socket", relay.path], capture_output=True, timeout=60)
    assert out.returncode == 0, out.stderr
    rest, seen = out.stdout, []
    while rest:
        head, rest = rest.split(b"\n", 1)
        size = json.loads(head)["size"]
        seen.append(rest[:size])
        rest = rest[size:]
    assert sorted(seen) == sorted(texts)
    relay.command("queue", "export", "--domain", "nobody.example", "--to", directory, code=1)
    assert relay.count() == before
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
