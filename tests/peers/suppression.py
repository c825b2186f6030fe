"""The suppression list with the real binary: commands, imports, kills behind a bounce. `suppression.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import csv
import io
import json
import os
import random
import subprocess
import sys
import threading
import time
import urllib.request

from relay import Relay
from sink import Sink

BINARY = os.path.abspath(sys.argv[2])
QUICK = '[retry]\nfirst = "1s"\nmax = "2s"\n'


def command(relay, *words, code=0, given=None, seconds=30):
    """What a command prints, as it ends with this code; its complaints where that is not 0 and it prints nothing."""
    words = [BINARY, *words, "--config", f"{relay.directory}/relevo.toml"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=seconds, input=given)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout or done.stderr


def suppress(relay, *words, **more):
    return command(relay, "suppress", *words, **more)


def metric(relay, name):
    text = urllib.request.urlopen(f"http://127.0.0.1:{relay.http}/metrics", timeout=10).read().decode()
    found = [line for line in text.splitlines() if line.startswith(f"relevo_{name}")]
    return sum(int(float(line.split()[-1])) for line in found)


def until(what, seconds=20):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it does not come to pass"
        time.sleep(0.05)
    return found


def answers(relay, sender, recipients, header=""):
    """The codes of each RCPT, and that of the message."""
    client = relay.client()
    client.ehlo()
    assert client.mail(sender)[0] == 250
    told = [client.rcpt(recipient)[0] for recipient in recipients]
    if 250 in told:
        told.append(client.data(f"{header}Subject: s\r\n\r\nx\r\n")[0])
    client.quit()
    return told


def reload(relay, more):
    relay.more = more
    relay.write()
    command(relay, "reload")


def who_is_listed_is_refused_or_dropped():
    sink = Sink()
    relay = Relay(BINARY, sink, QUICK, auto=True)
    assert "nothing of that is on the list" in suppress(relay, "list")
    suppress(relay, "add", "Ada@One.example", "@two.example", "*.three.example", "--reason", "complaint", "--note", "called us")
    suppress(relay, "add", "bob@one.example", "--tenant", "shop", "--expires", "2099-01-31")
    assert "1 entry" in suppress(relay, "add", "eve@one.example", "ada@one.example") and "1 already there" in suppress(relay, "add", "ada@one.example")
    for wrong in (("x y@z",), ("ada",), ("a@b", "--expires", "2001-01-01"), ("a@b", "--reason", "dislike"), ("a@b", "--tenant", "t" * 300)):
        suppress(relay, "add", *wrong, code=2)
    assert "holds back all mail, for good: complaint" in suppress(relay, "check", "ADA@one.example", code=1)
    assert "@two.example holds back" in suppress(relay, "check", "x@two.example", code=1)
    assert "tenant shop, until 2099-01-31" in suppress(relay, "check", "bob@one.example", "--tenant", "shop", code=1)
    assert "not held back" in suppress(relay, "check", "bob@one.example")
    refused = ["ada@one.example", '"ada"@ONE.example', "x@two.example", "x@a.b.three.example", "eve@one.example"]
    taken = ["ada+x@one.example", "x@sub.two.example", "x@three.example", "bob@one.example"]
    assert answers(relay, "me@a.example", refused + taken) == [550] * len(refused) + [250] * len(taken) + [250]
    sink.wait(len(taken))
    assert sorted(sink.recipients()) == sorted(taken)
    told = [event for event in relay.wait_log("rejected", len(refused)) if event["reason"] == "suppressed"]
    assert len(told) == len(refused) and all(event["enhanced"] == "5.7.1" for event in told), told
    # A client whose list has many of them is no intruder.
    client = relay.client()
    client.ehlo()
    for _ in range(80):
        client.mail("me@a.example")
        assert client.rcpt("x@two.example")[0] == 550
        client.rset()
    client.quit()
    # Whose mail it is says the header: then it is taken, and goes nowhere; what is for nobody else is refused.
    shop = "X-Relevo-Tenant: shop\r\n"
    assert answers(relay, "me@a.example", ["bob@one.example"], shop) == [250, 550]
    assert answers(relay, "me@a.example", ["bob@one.example", "cy@one.example"], shop) == [250, 250, 250]
    (event,) = relay.wait_log("suppressed", 1)
    assert (event["recipients"], event["tenant"]) == (["bob@one.example"], "shop"), event
    sink.wait(len(taken) + 1)
    reload(relay, QUICK + '[suppression]\non_match = "drop"\n')
    assert answers(relay, "me@a.example", ["ada@one.example", "dan@one.example"]) == [250, 250, 250]
    assert answers(relay, "me@a.example", ["x@two.example"]) == [250, 250]
    sink.wait(len(taken) + 2)
    assert {name for event in relay.wait_log("suppressed", 3) for name in event["recipients"]} == {"bob@one.example", "ada@one.example", "x@two.example"}
    assert metric(relay, "recipients_suppressed_total") == 3
    relay.kill()
    relay.start()
    assert answers(relay, "me@a.example", ["ada@one.example"]) == [250, 250]
    suppress(relay, "remove", "ada@one.example")
    assert "none of that is on the list" in suppress(relay, "remove", "ada@one.example", code=1)
    assert answers(relay, "me@a.example", ["ada@one.example"]) == [250, 250]
    sink.wait(len(taken) + 3)
    assert sink.recipients()[-1] == "ada@one.example" and sink.recipients().count("ada@one.example") == 1
    done = [event for event in relay.wait_log("admin", 5) if "suppress" in event["action"]]
    assert {event["action"] for event in done} == {"suppress", "unsuppress"} and all("user" in event["by"] for event in done), done
    rows = [json.loads(line) for line in suppress(relay, "list", "--json").splitlines()]
    assert {row["address"] for row in rows} == {"@two.example", "*.three.example", "bob@one.example", "eve@one.example"}, rows
    assert [row["address"] for row in map(json.loads, suppress(relay, "list", "--tenant", "shop", "--json").splitlines())] == ["bob@one.example"]
    relay.stop()


def mail_that_waits_for_who_is_listed_goes_nowhere():
    later = []
    sink = Sink(lambda point, data: None if later or point != "RCPT" else b"450 4.2.0 later\r\n")
    relay = Relay(BINARY, sink, QUICK, auto=True)
    assert answers(relay, "me@a.example", ["ada@one.example", "bob@one.example"]) == [250, 250, 250]
    relay.wait_log("deferred", 1)
    suppress(relay, "add", "ada@one.example")
    later.append(True)
    sink.wait(1)
    assert [event["recipients"] for event in relay.wait_log("suppressed", 1)] == [["ada@one.example"]]
    time.sleep(3)
    assert sink.recipients() == ["bob@one.example"]
    assert not [event for event in relay.log() if event["event"] in ("bounced", "expired")]
    relay.stop()


def a_kill_right_behind_a_hard_bounce_loses_nothing():
    """For the tenant, then for all mail; once at the first refusal, then at the third."""
    asked, gone = threading.Event(), set()

    def behave(point, data):
        if point != "RCPT" or b"gone" not in data:
            return None
        gone.add(data.split(b"<")[1].split(b">")[0].decode())
        asked.set()
        return b"550 5.1.1 no such user here\r\n"

    sink, seed = Sink(behave), int(os.environ.get("RELEVO_SEED", random.randrange(2**32)))
    print("RELEVO_SEED", seed)
    dice = random.Random(seed)
    relay, number = Relay(BINARY, sink, QUICK + '[suppression]\nauto = ["hard_bounce"]\n', auto=True), 0
    header = "X-Relevo-Tenant: shop\r\n"
    for life in range(12):
        fresh = [f"gone{number + more}@d{more}.example" for more in range(3)]
        number += 3
        asked.clear()
        assert answers(relay, "me@a.example", fresh, header) == [250] * 4
        assert asked.wait(20)
        # Now it is not told yet, now it is in the journal, now it is on the list. Once at least it is told, whatever else this machine does.
        time.sleep(dice.choice([0, 0.02, 0.1, 0.3, 0.5]))
        if life == 5:
            until(lambda: any("reply" in event for event in relay.wait_log("bounced", 0)), 20)
        relay.kill()
        relay.start()
    check = lambda address, tenant: json.loads(suppress(relay, "check", address, "--tenant", tenant, "--json", code=1))
    until(lambda: metric(relay, "queued_recipients") == 0 and len(relay.wait_log("bounced", 0)) >= number, 40)
    time.sleep(1)
    assert len(gone) == number
    for address in sorted(gone):
        found = check(address, "shop")
        assert (found["reason"], found["tenant"], found["address"]) == ("hard_bounce", "shop", address), found
        suppress(relay, "check", address, "--tenant", "other")
    told = [check(address, "shop").get("note", "") for address in gone]
    # Of what a kill took of the journal only what it was about is known.
    assert set(told) <= {"550 5.1.1 no such user here", ""} and "550 5.1.1 no such user here" in told, told
    assert {event["class"] for event in relay.wait_log("bounced", number)} == {"bad_mailbox"}
    before = len(sink.taken)
    for address in sorted(gone)[:5]:
        assert answers(relay, "me@a.example", [address], header) == [250, 550]
    # For all mail, when a mailbox was refused twice.
    reload(relay, QUICK + '[suppression]\nhard_bounces = 2\nscope = "node"\n')
    for life in range(2):
        asked.clear()
        assert answers(relay, "me@a.example", ["gone@e.example"]) == [250, 250], life
        assert asked.wait(20)
        relay.wait_log("bounced", number + 1 + life)
        relay.kill()
        relay.start()
        if life == 0:
            time.sleep(1)
    found = until(lambda: suppress(relay, "list", "--domain", "e.example", "--json").startswith("{") and check("gone@e.example", "any"))
    assert "tenant" not in found and found["reason"] == "hard_bounce", found
    assert answers(relay, "me@a.example", ["gone@e.example"]) == [550]
    assert all(message.sender == "" or message.sender == b"" for message in sink.taken[before:]), "notifications only"
    relay.stop()


def a_long_list_is_imported():
    """`RELEVO_IMPORT_LINES=1000000` for one of a million on a quiet machine: what imports stands back behind all else that runs. It says how long each step takes."""
    sink = Sink()
    relay = Relay(BINARY, sink, QUICK, auto=True)
    rows = int(os.environ.get("RELEVO_IMPORT_LINES", 50_000))
    path = f"{relay.directory}/list.csv"
    with open(path, "w") as file:
        file.write("email,reason,created_at\n")
        for number in range(rows):
            file.write(f"user{number}@d{number % 5000}.example,{('hard_bounce', 'complaint')[number % 2]},2026-01-01\n")
        file.write("no address,,\n\"a@never.closed.example,x,y\n")
    # Mail goes on meanwhile.
    slow, over = [], []

    def send():
        while not over:
            begun = time.monotonic()
            assert answers(relay, "me@a.example", ["free@one.example"]) == [250, 250]
            slow.append(time.monotonic() - begun)
            time.sleep(0.05)

    sending = threading.Thread(target=send, daemon=True)
    sending.start()
    begun = time.monotonic()
    words = suppress(relay, "import", path, "--json", code=0, seconds=280)
    took = time.monotonic() - begun
    over.append(True)
    sending.join()
    done = json.loads(words)
    assert (done["added"], done["entries"], done["lines"], done["wrong"]) == (rows, rows, rows, 2), done
    assert [(line["line"], line["problem"][:20]) for line in done["told"]][0][0] == rows + 2, done
    print(f"{rows} lines in {took:.1f} s; meanwhile {len(slow)} messages, the slowest {max(slow):.2f} s")
    assert answers(relay, "me@a.example", [f"user{rows - 1}@d{(rows - 1) % 5000}.example", "user1@d2.example"]) == [550, 250, 250]
    assert json.loads(suppress(relay, "import", path, "--json", seconds=280))["known"] == rows
    relay.kill()
    begun = time.monotonic()
    relay.start()
    print(f"a start with them: {time.monotonic() - begun:.2f} s")
    assert answers(relay, "me@a.example", ["user7@d7.example", "user7@d8.example"]) == [550, 250, 250]
    suppress(relay, "add", "late@one.example")
    begun = time.monotonic()
    exported = list(csv.DictReader(io.StringIO(suppress(relay, "export", seconds=280))))
    print(f"exported in {time.monotonic() - begun:.1f} s")
    assert len(exported) == rows + 1 and len({row["address"] for row in exported}) == rows + 1
    assert {row["reason"] for row in exported} == {"hard_bounce", "complaint", "manual"}
    assert metric(relay, "suppression_entries") == rows and metric(relay, "suppression_changes") == 1
    # What breaks off in the middle leaves nothing.
    importing = [BINARY, "suppress", "import", "-", "--config", f"{relay.directory}/relevo.toml"]
    broken = subprocess.Popen(importing, stdin=subprocess.PIPE)
    broken.stdin.write(b"broken@one.example\n" * 100_000)
    broken.stdin.flush()
    until(lambda: "somebody else imports" in subprocess.run(importing, input="broken@two.example\n" * 10, capture_output=True, text=True, timeout=60).stderr)
    broken.kill()
    broken.wait()
    until(lambda: subprocess.run(importing, input=b"one@line.example\n", capture_output=True, timeout=60).returncode == 0)
    suppress(relay, "check", "broken@one.example")
    suppress(relay, "check", "one@line.example", code=1)
    # A start does not go on without its list.
    relay.kill()
    os.rename(f"{relay.data_dir}/suppression/list", f"{relay.directory}/list")
    done = subprocess.run([BINARY, "run", "--config", f"{relay.directory}/relevo.toml"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and "gone or was replaced" in done.stderr and "suppression/lost" in done.stderr, done.stderr
    os.rename(f"{relay.directory}/list", f"{relay.data_dir}/suppression/list")
    relay.start()
    assert answers(relay, "me@a.example", ["user7@d7.example"]) == [550]
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
