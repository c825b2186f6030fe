"""Stories of the journal of events: kills, rotation, several logs. Called by tests/peers.rs, one test a story."""
import collections
import glob
import http.client
import json
import os
import random
import shutil
import smtplib
import socket
import subprocess
import sys
import threading
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from relay import Relay
from sink import Sink

BINARY = os.path.abspath(sys.argv[2])
TEXT = b"Subject: hello\r\n\r\nA line.\r\n"
FINAL = ("delivered", "bounced", "expired", "discarded")


def metric(relay, name):
    """Its values, of all shards together."""
    with urllib.request.urlopen(f"http://127.0.0.1:{relay.http}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    found = [line for line in lines if line.startswith((f"relevo_{name} ", f"relevo_{name}{{"))]
    assert found, name
    return sum(float(line.rsplit(" ", 1)[1]) for line in found)


def lines_of(paths):
    """Every line, parsed; a line that is cut fails here."""
    lines = []
    for path in paths:
        with open(path) as file:
            lines += file.read().splitlines()
    return lines, [json.loads(line) for line in lines]


def behave():
    """Some are refused for good, some at first."""
    seen, lock = set(), threading.Lock()

    def answer(point, data):
        if point != "RCPT":
            return None
        if b"<bad" in data:
            return b"550 5.1.1 no such user\r\n"
        with lock:
            if b"<later" in data and data not in seen:
                seen.add(data)
                return b"450 4.2.0 later\r\n"
        return None

    return answer


def no_event_is_missing_or_twice_over_kills():
    """Killed again and again under load, the log rotated meanwhile: in the end each message has its `received` and each of its recipients one end."""
    seed = int(os.environ.get("RELEVO_SEED", "0")) or random.randrange(1, 1 << 30)
    print(f"RELEVO_SEED={seed}")
    draw = random.Random(seed)
    relay = Relay(BINARY, Sink(behave()), '[retry]\nfirst = "1s"\nmax = "1s"\n', shards=3, route=None)
    relay.kill()
    log, other = f"{relay.directory}/log.jsonl", f"{relay.directory}/bounced.jsonl"
    relay.logs = f'[[log]]\npath = "{log}"\n[[log]]\npath = "{other}"\nevents = ["bounced"]\n'
    relay.write()
    relay.start()
    taken, lock, parts = {}, threading.Lock(), []

    def hand_in(name, over):
        count = 0
        while not over.is_set():
            try:
                client = relay.client()
                while not over.is_set():
                    count += 1
                    kinds = ("good", "bad", "later")
                    recipients = [f"{kind}{name}x{count}@{kind}{count % 7}.example" for kind in draw.sample(kinds, 2)]
                    sender = f"s{name}x{count}@b.example"
                    client.sendmail(sender, recipients, TEXT)
                    with lock:
                        taken[sender] = recipients
            except (OSError, smtplib.SMTPException):
                time.sleep(0.02)

    for life in range(6):
        over = threading.Event()
        threads = [threading.Thread(target=hand_in, args=(f"{life}y{number}", over), daemon=True) for number in range(3)]
        [thread.start() for thread in threads]
        for _ in range(draw.randrange(1, 4)):
            time.sleep(draw.uniform(0.1, 0.9))
            if draw.random() < 0.5 and os.path.exists(log):
                parts.append(f"{log}.{len(parts)}")
                os.rename(log, parts[-1])
                if draw.random() < 0.5:
                    relay.process.send_signal(10)
        relay.kill()
        over.set()
        [thread.join(20) for thread in threads]
        relay.start()
    end = time.monotonic() + 60
    while metric(relay, "spool_messages") > 0:
        assert time.monotonic() < end, "the queue did not go out"
        time.sleep(0.2)
    relay.process.terminate()
    assert relay.process.wait(45) == 0, relay.words
    listed = subprocess.run([BINARY, "spool", "list", "--json", "--data-dir", relay.data_dir], capture_output=True, text=True, timeout=60)
    assert listed.returncode == 0 and not listed.stdout, listed
    texts, events = lines_of([*parts, log])
    twice = [text for text, count in collections.Counter(texts).items() if count > 1 and not json.loads(text).get("again")]
    assert not twice, twice[:5]
    told = collections.defaultdict(list)
    for event in events:
        if event.get("event_id"):
            told[event["event_id"]].append(event)
    for same in told.values():
        assert all(event.get("again") for event in same[1:]), same
    received, ends = {}, collections.defaultdict(set)
    for event in events:
        if event["event"] == "received":
            received.setdefault(event["sender"], set()).add(event["id"])
        elif event["event"] in FINAL:
            for recipient in event["recipients"]:
                ends[recipient].add((event["event"], event["event_id"]))
    missing = [sender for sender in taken if sender not in received]
    assert not missing, f"{len(missing)} of {len(taken)} were never received: {missing[:5]}"
    for sender, recipients in taken.items():
        for recipient in recipients:
            wanted = "bounced" if recipient.startswith("bad") else "delivered"
            assert [kind for kind, _ in ends[recipient]] == [wanted], (recipient, ends[recipient])
    again = sum(bool(event.get("again")) for event in events)
    print(f"{len(taken)} messages, {len(events)} events, {again} told again, {len(parts)} rotations")
    # The other log has the same of what it wants.
    bounced = [text for text, event in zip(texts, events) if event["event"] == "bounced"]
    assert lines_of([other])[0] == bounced
    assert glob.glob(f"{relay.data_dir}/journal/*.journal") and len(glob.glob(f"{relay.data_dir}/journal/*.cursor")) == 2
    for path in [f"{relay.data_dir}/journal", *glob.glob(f"{relay.data_dir}/journal/*")]:
        assert os.stat(path).st_mode & 0o777 == (0o700 if os.path.isdir(path) else 0o600), path
    shutil.rmtree(relay.directory)


def a_log_without_room_misses_nothing():
    """What a log cannot take waits, over a stop and a kill; where nobody reads there is no journal."""
    sink = Sink()
    relay = Relay(BINARY, sink)
    relay.kill()
    log = f"{relay.directory}/log.jsonl"
    full = f"{relay.directory}/full.jsonl"
    os.symlink("/dev/full", full)
    relay.logs = f'[[log]]\npath = "{log}"\n[[log]]\npath = "{full}"\n'
    relay.write()
    sent = 0
    for end in ("terminate", "kill", "terminate"):
        relay.start()
        for _ in range(10):
            sent += 1
            relay.send(f"a{sent}@b.example", [f"c{sent}@d.example"], TEXT)
        relay.wait_log("delivered", sent)
        behind = metric(relay, f'log_behind_bytes{{log="{full}"}}')
        assert behind > sent * 200, behind
        assert metric(relay, f'log_behind_bytes{{log="{log}"}}') == 0
        getattr(relay.process, end)()
        relay.process.wait(45)
    os.unlink(full)
    relay.start()
    end = time.monotonic() + 10
    while not os.path.exists(full) or os.path.getsize(full) != os.path.getsize(log):
        assert time.monotonic() < end, (os.path.getsize(log), os.path.exists(full) and os.path.getsize(full))
        time.sleep(0.1)
    with open(full) as one, open(log) as two:
        assert one.read() == two.read()
    relay.kill()
    relay.logs = '[log]\npath = "/dev/null"\n'
    relay.write()
    relay.start()
    assert not os.path.exists(f"{relay.data_dir}/journal")
    relay.send("a@b.example", ["c@d.example"], TEXT)
    sink.wait(sent + 1)
    relay.stop()


def order(relay, verb, **body):
    """Gives a command over the socket, as `relevo` does: what was answered."""
    connection = http.client.HTTPConnection("localhost", timeout=40)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(40)
    connection.sock.connect(f"{relay.data_dir}/control.sock")
    connection.request("POST", f"/control/v1/{verb}", json.dumps(body))
    answer = connection.getresponse()
    told = json.loads(answer.read())
    assert answer.status == 200, (verb, body, answer.status, told)
    return told


def no_command_that_was_answered_is_missing_over_kills():
    """Killed right behind the answer to a command, again and again: its `admin` event stands in the log once."""
    seed = int(os.environ.get("RELEVO_SEED", "0")) or random.randrange(1, 1 << 30)
    print(f"RELEVO_SEED={seed}")
    draw = random.Random(seed)
    relay = Relay(BINARY, Sink(), shards=2)
    answered, held = [], {}
    for life in range(24):
        # Time of its own before the last command: a kill finds the journal's writer anywhere in its turn.
        time.sleep(draw.uniform(0, 0.2))
        commands = [draw.choice(["suspend", "resume", "queue/retry", "queue/bounce", "reload"]) for _ in range(draw.randrange(0, 3))]
        # Each kind is the last before some kill.
        commands.append(["suspend", "resume", "queue/retry", "queue/bounce", "reload"][life % 5])
        for number, verb in enumerate(commands):
            name = f"{life}x{number}"
            if verb == "resume" and not held:
                verb = "suspend"
            if verb == "suspend":
                told = order(relay, verb, filter={"domain": f"d{name}.example"}, seconds=3600, reason=name, all=False)
                held[name] = told["suspensions"][0]["id"]
                answered.append(("suspend", name))
            elif verb == "resume":
                name = draw.choice(sorted(held))
                assert len(order(relay, verb, id=held.pop(name), filter={}, all=False)["suspensions"]) == 1
                answered.append(("resume", name))
            elif verb == "reload":
                assert order(relay, verb)["ok"]
                answered.append(("reload", None))
            else:
                order(relay, verb, filter={"domain": f"d{name}.example"}, reason=name, all=False)
                answered.append((verb.removeprefix("queue/"), name))
        relay.kill()
        relay.start()
    relay.process.terminate()
    assert relay.process.wait(45) == 0, relay.words
    events = [event for event in relay.log() if event["event"] == "admin"]
    told = collections.Counter((event["action"], event.get("reason")) for event in events)
    wanted = collections.Counter(answered)
    assert told == wanted, {"missing": wanted - told, "too many": told - wanted}
    ids = [event["event_id"] for event in events]
    assert len(set(ids)) == len(ids), "each is an event of its own"
    print(f"{len(answered)} commands")
    shutil.rmtree(relay.directory)


def a_command_is_answered_where_the_journal_cannot_be_written():
    """Its event waits in memory: the answer waits a little, and not for that. Where no log is configured nobody waits for anything."""
    relay = Relay(BINARY, Sink())
    begun = time.monotonic()
    order(relay, "suspend", filter={"domain": "a.example"}, seconds=3600, reason="one", all=False)
    quick = time.monotonic() - begun
    journal = f"{relay.data_dir}/journal"
    shutil.rmtree(journal)
    with open(journal, "w"):
        pass
    # It looks for its file once a second.
    time.sleep(2)
    begun = time.monotonic()
    order(relay, "suspend", filter={"domain": "b.example"}, seconds=3600, reason="two", all=False)
    slow = time.monotonic() - begun
    assert quick < 1.5 < slow < 10, (quick, slow)
    assert relay.told("the journal of events did not take what a command did within 2 s"), relay.words
    os.unlink(journal)
    relay.wait_log("admin", 2)
    begun = time.monotonic()
    order(relay, "suspend", filter={"domain": "c.example"}, seconds=3600, reason="three", all=False)
    assert time.monotonic() - begun < 1.5
    assert [event["reason"] for event in relay.wait_log("admin", 3)] == ["one", "two", "three"]
    relay.kill()
    with open(f"{relay.directory}/relevo.toml") as file:
        text = file.read()
    with open(f"{relay.directory}/relevo.toml", "w") as file:
        file.write("log = []\n" + text.replace(f'[log]\npath = "{relay.directory}/log.jsonl"\n', ""))
    relay.start()
    for number in range(200):
        order(relay, "queue/retry", filter={"domain": f"d{number}.example"}, reason="", all=False)
    assert not relay.told("log is too far behind", seconds=0.5) and not relay.told("did not take", seconds=0)
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
