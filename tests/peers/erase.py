"""An address is forgotten: `erase.py STORY BINARY`. Called by tests/peers.rs."""
import hashlib
import json
import os
import smtplib
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from control import TEXT, Node

ADA = "Bad.Ada@people.example"
LOGS = (
    '[[log]]\npath = "DIR/log.jsonl"\nrotate = "64KiB"\ncompress = true\n[[log]]\npath = "DIR/acct.csv"\nformat = "pmta-csv"\n'
    '[[log]]\npath = "DIR/nobody.jsonl"\nredact = ["recipient", "sender"]\n'
)


class People(Node):
    """A relay with logs of all kinds, which lists who is not there."""

    def __init__(self, **kinds):
        super().__init__(behave=self.answer, more='[retry]\nfirst = "1h"\nmax = "1h"\n', auto=True, **kinds)
        self.kill()
        self.logs = LOGS.replace("DIR", self.directory)
        self.write()
        self.start()

    def answer(self, point, data):
        if point == "RCPT" and b"<bad" in data.lower():
            who = data.split(b"<")[1].split(b">")[0]
            return b"550 5.1.1 <%s>: no such user (as %s at %s)\r\n" % (who, who, who.upper())
        return self.put_off(point, data)

    def stands(self, address):
        """Files in which it stands, in any letters: what lanes keep of mail that has left is told by the command."""
        found, wanted = [], address.lower().encode()
        for top in (self.directory, self.data_dir):
            for path, _, names in os.walk(top):
                for name in names:
                    full = f"{path}/{name}"
                    if "/lane-" in full:
                        continue
                    try:
                        with open(full, "rb") as file:
                            text = file.read()
                    except OSError:
                        continue
                    if name.endswith(".zst"):
                        text = subprocess.run(["zstd", "-dcq"], input=text, capture_output=True, timeout=60).stdout
                    if wanted in text.lower():
                        found.append(full)
        return sorted(set(found))

    def lines(self):
        """All events of the log, of all its files; each is whole."""
        events = []
        for name in sorted(os.listdir(self.directory)):
            if not name.startswith("log.jsonl"):
                continue
            path = f"{self.directory}/{name}"
            if name.endswith(".zst") and os.path.exists(path[:-4]):
                continue
            with open(path, "rb") as file:
                text = file.read()
            if name.endswith(".zst"):
                text = subprocess.run(["zstd", "-dcq"], input=text, capture_output=True, timeout=60).stdout
            events += [json.loads(line) for line in text.splitlines()]
        return events

    def erase(self, address, *more, code=0):
        return json.loads(self.command("erase", address, "--json", *more, code=code))


def until(is_so, words, seconds=30):
    end = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < end, words
        time.sleep(0.1)
    return found


def an_address_is_forgotten_wherever_it_stands():
    """While other mail flows and logs are moved aside and compressed; what others are told of stays as it was."""
    relay = People()
    stop, sent = threading.Event(), []

    def others():
        while not stop.is_set():
            try:
                with smtplib.SMTP("127.0.0.1", relay.port, local_hostname="client.example", timeout=10) as client:
                    for _ in range(40):
                        to = f"not.{ADA.lower()}" if len(sent) % 9 == 8 else f"good{len(sent)}@others.example"
                        client.sendmail("s@z.example", [to], TEXT)
                        sent.append(to)
                        time.sleep(0.002)
            except (OSError, smtplib.SMTPException):
                time.sleep(0.05)

    thread = threading.Thread(target=others)
    thread.start()
    for _ in range(5):
        relay.send("s@z.example", [ADA, "good@others.example"], TEXT)
        relay.send("Bad.Ada@people.example", ["good@others.example"], TEXT)
        time.sleep(0.4)
    until(lambda: any(name.endswith(".zst") for name in os.listdir(relay.directory)), "something was compressed")
    until(lambda: "bad.ada" in relay.command("suppress", "list"), "it is on the list")
    until(lambda: any("analytics.db" in path for path in relay.stands(ADA)), "texts are kept")
    plain = f"{relay.directory}/log.jsonl"
    where = relay.stands(ADA)
    for part in ("log.jsonl", ".zst", "acct.csv", "analytics.db", "/journal/"):
        assert any(part in path for path in where), (part, where)
    assert not any("nobody" in path for path in where), where
    # First only looked at.
    old = [path for path in where if path.endswith((".zst", "acct.csv"))]
    before = {path: hashlib.sha256(open(path, "rb").read(4096)).hexdigest() for path in old}
    report = relay.erase(ADA, "--dry-run")
    by_place = {place["place"]: place for place in report["places"]}
    assert by_place[f"log {plain}"]["found"] > 5 and by_place[f"log {plain}"]["erased"] == 0, report
    assert by_place["texts of analytics.db"]["found"] >= 1 and by_place["suppression list"]["found"] == 1, report
    assert before == {path: hashlib.sha256(open(path, "rb").read(4096)).hexdigest() for path in old}
    # Then done, but for the list.
    report = relay.erase(ADA)
    by_place = {place["place"]: place for place in report["places"]}
    assert by_place[f"log {plain}"]["left"] is None and by_place["journal of events"]["left"] is None, report
    assert report["queued"] == 0 and "it stays there" in by_place["suppression list"]["left"], report
    left = [path for path in relay.stands(ADA) if not path.endswith(".zst.new")]
    # Others whose address ends alike are somebody else.
    assert all(only_others(relay, path) for path in left if "/control.db" not in path and "/suppression/" not in path), left
    relay.kill()
    relay.start()
    report = relay.erase(ADA, "--suppression")
    by_place = {place["place"]: place for place in report["places"]}
    assert by_place["suppression list"]["found"] >= 1 and by_place["suppression list"]["left"] is None, report
    assert "bad.ada@people.example" not in relay.command("suppress", "list").replace("not.bad.ada", "")
    stop.set()
    thread.join()
    time.sleep(1)
    for path in relay.stands(ADA):
        assert only_others(relay, path), path
    # Nothing else was touched: each that was answered has its line once, and all lines are whole.
    until(lambda: {event["recipients"][0] for event in relay.lines() if event["event"] == "received"} >= set(sent), "all are there")
    ids = [event["event_id"] for event in relay.lines() if not event.get("again")]
    assert len(ids) == len(set(ids))
    done = sorted((event for event in relay.lines() if event.get("action") == "erase"), key=lambda event: event["time"])
    assert len(done) == 2 and all(event["filter"] == report["name"] and event["filter"].startswith("hash ") for event in done), done
    assert done[0]["count"] > 5, done
    relay.stop()


def only_others(relay, path):
    """Whether the address is there as the end of another alone."""
    with open(path, "rb") as file:
        text = file.read()
    if path.endswith(".zst"):
        text = subprocess.run(["zstd", "-dcq"], input=text, capture_output=True, timeout=60).stdout
    return ADA.lower().encode() not in text.lower().replace(b"not." + ADA.lower().encode(), b"")


def what_waits_is_told_and_untouched():
    relay = People()
    relay.send("s@z.example", ["later.eve@people.example"], TEXT)
    relay.wait(1)
    report = relay.erase("Later.Eve@people.example")
    assert report["queued"] == 1, report
    by_place = {place["place"]: place for place in report["places"]}
    assert by_place["dialogues of failed attempts"]["erased"] == 1 and "untouched" in by_place["spool"]["left"], report
    assert relay.count()["recipients"] == 1
    assert "nothing" in relay.command("erase", "nobody@people.example")
    assert "which address" in (relay.command("erase", "@people.example", code=2) or relay.complaint)
    # Where a reader does not read, the journal cannot let go: that is told.
    relay.kill()
    relay.logs += '[[webhook]]\nurl = "http://127.0.0.1:1/"\nsecret_file = "DIR/secret"\nnetworks = ["127.0.0.1/32"]\n'.replace("DIR", relay.directory)
    with open(f"{relay.directory}/secret", "w") as file:
        file.write("secret\n")
    relay.write()
    relay.start()
    relay.send("s@z.example", ["bad.tom@people.example"], TEXT)
    until(lambda: relay.stands("bad.tom@people.example"), "it is told")
    report = relay.erase("bad.tom@people.example", "--suppression", code=1)
    journal = next(place for place in report["places"] if place["place"] == "journal of events")
    assert "webhook http://127.0.0.1:1/" in journal["left"] and journal["found"] >= 1, report
    assert all("/journal/" in path for path in relay.stands("bad.tom@people.example")), relay.stands("bad.tom@people.example")
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
