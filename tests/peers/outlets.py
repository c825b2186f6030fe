"""Stories of what leaves the relay about mail: logs in other formats, their rotation, commands that read them, webhooks. Called by tests/peers.rs."""
import collections
import glob
import hashlib
import hmac
import http.server
import json
import os
import random
import smtplib
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import pmta
from journal import behave, lines_of, metric
from ports import free_port
from relay import Relay
from sink import Sink

BINARY = os.path.abspath(sys.argv[2])
TEXT = b"Subject: hello\r\n\r\nA line.\r\n"
RETRY = '[retry]\nfirst = "1s"\nmax = "1s"\n'


def with_logs(logs, more="", sink=None):
    """A relay with these logs: DIR is its directory."""
    relay = Relay(BINARY, sink or Sink(behave()), RETRY + more, shards=2, route=None)
    relay.kill()
    relay.logs = logs.replace("DIR", relay.directory)
    relay.write()
    relay.start()
    return relay


def until(is_so, words, seconds=60):
    end = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < end, words
        time.sleep(0.1)
    return found


def relevo(*arguments, code=0):
    done = subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done
    return done.stdout


def files_of(log):
    """Its files, the oldest first, compressed ones as bytes of what was in them."""
    texts = []
    for path in sorted(glob.glob(f"{log}-*")) + [log]:
        assert not path.endswith(".new"), path
        if path.endswith(".zst"):
            done = subprocess.run(["zstd", "-dcq", path], capture_output=True, timeout=60)
            assert done.returncode == 0, done
            texts.append(done.stdout.decode())
        else:
            with open(path, newline="") as file:
                texts.append(file.read())
    return texts


def formats_are_read_as_they_are_meant():
    """The same mail in every format: a reader of PowerMTA's files reads one, KumoMTA's fields are in another, nobody is named in the third."""
    relay = with_logs(
        '[[log]]\npath = "DIR/log.jsonl"\n[[log]]\npath = "DIR/acct.csv"\nformat = "pmta-csv"\n'
        '[[log]]\npath = "DIR/kumo.jsonl"\nformat = "kumo-json"\n[[log]]\npath = "DIR/nobody.jsonl"\nredact = ["recipient", "sender"]\n'
        '[[log]]\npath = "DIR/few.csv"\nformat = "pmta-csv"\nfields = ["type", "rcpt", "eventId"]\nevents = ["bounced"]\n'
    )
    relay.send("=cmd@b.example", ["good1@a.example", "good2@a.example", "bad1@a.example"], TEXT)
    relay.send("s@b.example", ["later1@c.example"], TEXT)
    until(lambda: len(relay.log()) >= 7 and metric(relay, "spool_messages") == 0, "not delivered")
    until(lambda: all(metric(relay, "log_behind_bytes") == 0 for _ in range(1)), "logs are behind")
    events = relay.log()
    told = collections.Counter(event["event"] for event in events for _ in event["recipients"])
    acct = pmta.read(f"{relay.directory}/acct.csv")
    kinds = collections.Counter(record["type"] for record in acct)
    assert (kinds["r"], kinds["d"], kinds["b"], kinds["t"]) == tuple(told[kind] for kind in ("received", "delivered", "bounced", "deferred")), (kinds, told)
    bounced = next(record for record in acct if record["type"] == "b")
    assert (bounced["rcpt"], bounced["bounceCat"], bounced["dsnStatus"]) == ("bad1@a.example", "bad-mailbox", "5.1.1"), bounced
    assert bounced["orig"] == "'=cmd@b.example" and bounced["dlvSourceIp"] == "127.0.0.1", bounced
    assert bounced["dsnDiag"].startswith("smtp;550 5.1.1") and bounced["dlvDestinationIp"] == "127.0.0.1", bounced
    with open(f"{relay.directory}/kumo.jsonl") as file:
        kumo = [json.loads(line) for line in file]
    assert collections.Counter(record["type"] for record in kumo) == {
        "Reception": told["received"], "Delivery": told["delivered"], "Bounce": told["bounced"], "TransientFailure": told["deferred"]
    }, kumo
    assert all(record["site"] and record["source_address"]["address"] == "127.0.0.1:0" for record in kumo if record["type"] in ("Delivery", "Bounce"))
    with open(f"{relay.directory}/nobody.jsonl") as file:
        text = file.read()
    assert not any(name in text for name in ("good1@", "bad1@", "later1@", "=cmd@", "s@b")), text
    people = {who for line in text.splitlines() for who in json.loads(line).get("recipients", [])}
    assert len(people) == 5 and all("\u2026" in who for who in people), people
    with open(f"{relay.directory}/few.csv") as file:
        few = file.read().splitlines()
    assert few[0] == "type,rcpt,eventId" and len(few) == 2 and few[1].startswith("b,bad1@a.example,"), few
    # The commands read the first of them.
    config = f"{relay.directory}/relevo.toml"
    found = [json.loads(line) for line in relevo("log", "find", "--config", config, "--recipient", "bad1@a.example", "--event", "bounced", "--json").splitlines()]
    assert len(found) == 1 and found[0]["class"] == "bad_mailbox", found
    rows = [json.loads(line) for line in relevo("log", "stats", "--config", config, "--by", "domain", "--json").splitlines()]
    first = next(row for row in rows if row["domain"] == "a.example")
    assert (first["delivered"], first["bounced"]) == (2, 1) and "no such user" in first["text"], rows
    relevo("log", "find", "--config", config, "--domain", "nobody.example", code=1)
    relay.stop()


def rotation_loses_and_doubles_nothing_over_kills():
    """Files are moved aside and compressed under load, the relay killed again and again: every event stands in one file, once; each file has its header."""
    seed = int(os.environ.get("RELEVO_SEED", "0")) or random.randrange(1, 1 << 30)
    print(f"RELEVO_SEED={seed}")
    draw = random.Random(seed)
    relay = with_logs(
        '[[log]]\npath = "DIR/log.jsonl"\nrotate = "64KiB"\ncompress = true\n'
        '[[log]]\npath = "DIR/acct.csv"\nformat = "pmta-csv"\nfields = ["*", "eventId"]\nrotate = "64KiB/1m"\ncompress = true\n'
    )
    log, acct = f"{relay.directory}/log.jsonl", f"{relay.directory}/acct.csv"
    taken, lock = {}, threading.Lock()

    def hand_in(name, over):
        count = 0
        while not over.is_set():
            try:
                client = relay.client()
                while not over.is_set():
                    count += 1
                    recipients = [f"{kind}{name}x{count}@{kind}.example" for kind in ("good", "also", "bad", "later")]
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
        time.sleep(draw.uniform(0.3, 2.0))
        relay.kill()
        over.set()
        [thread.join(20) for thread in threads]
        relay.start()
    until(lambda: metric(relay, "spool_messages") == 0, "the queue did not go out")
    until(lambda: metric(relay, "log_behind_bytes") == 0, "logs are behind")
    until(lambda: all(path.endswith(".zst") for path in glob.glob(f"{log}-*") + glob.glob(f"{acct}-*")), "not compressed")
    relay.process.terminate()
    assert relay.process.wait(45) == 0, relay.words
    texts = files_of(log)
    assert len(texts) > 3, f"{len(texts)} files"
    assert all(text.endswith("\n") for text in texts if text)
    lines = [line for text in texts for line in text.splitlines()]
    events = [json.loads(line) for line in lines]
    # What a kill took before it was in the journal is told again, and says so.
    twice = [line for line, count in collections.Counter(lines).items() if count > 1 and not json.loads(line).get("again")]
    assert not twice, twice[:3]
    ends = collections.defaultdict(set)
    for event in events:
        for recipient in event.get("recipients", []):
            if event["event"] in ("received", "delivered", "bounced"):
                ends[event["sender"], recipient].add(event["event"])
    for sender, recipients in taken.items():
        for recipient in recipients:
            assert "received" in ends[sender, recipient] and len(ends[sender, recipient]) == 2, (sender, recipient, ends[sender, recipient])
    rows, count = collections.Counter(), 0
    for number, text in enumerate(files_of(acct)):
        path = f"{relay.directory}/part{number}"
        with open(path, "w", newline="") as file:
            file.write(text)
        for record in pmta.read(path, ("eventId",)):
            rows[tuple(record.values())] += 1
            count += 1
    # A line for each recipient of what the other log has, as often as that has it.
    wanted = collections.Counter()
    for event in events:
        if event["event"] in ("received", "delivered", "deferred", "bounced", "expired"):
            wanted[event["event_id"]] += len(event["recipients"])
    found = collections.Counter(row[-1] for row in rows.elements())
    assert found == wanted, (list((found - wanted).items())[:3], list((wanted - found).items())[:3])
    whole = relevo("log", "find", "--config", f"{relay.directory}/relevo.toml", "--json").splitlines()
    assert collections.Counter(whole) == collections.Counter(lines), (len(whole), len(lines))
    print(f"{len(texts)} files, {len(events)} events, {count} rows")


class Receiver:
    """A web server that does as it is told, and believes nobody without a signature."""

    def __init__(self, secret):
        self.secret, self.mood, self.batches, self.keys = secret, "well", [], []
        self.lock, self.port, self.server = threading.Lock(), free_port(), None
        self.open()

    def open(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                mood = outer.mood
                if mood == "hang":
                    time.sleep(3)
                    return
                if mood == "flood":
                    try:
                        for _ in range(1000):
                            self.wfile.write(b"x" * 65536)
                    except OSError:
                        pass
                    return
                if mood == "fail":
                    return self.send_error(500)
                second, tag = (part.split("=", 1)[1] for part in self.headers["Relevo-Signature"].split(","))
                wanted = hmac.new(outer.secret, f"{second}.".encode() + body, hashlib.sha256).hexdigest()
                assert hmac.compare_digest(tag, wanted) and abs(time.time() - int(second)) < 60, "the signature"
                with outer.lock:
                    outer.batches.append(json.loads(body)["events"])
                    outer.keys.append(self.headers["Idempotency-Key"])
                if mood == "lose":
                    # It has them, and says nothing.
                    return self.connection.close()
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def events(self):
        with self.lock:
            return [event for batch in self.batches for event in batch]


def a_webhook_has_every_event_at_least_once():
    """A server that hangs, fails, floods, loses its answers and goes away, and a relay that is killed: every event comes, mail goes on meanwhile."""
    receiver = Receiver(b"a secret of many letters")
    secret = f"/tmp/relevo-webhook-{os.getpid()}"
    with open(secret, "w") as file:
        file.write("a secret of many letters\n")
    os.chmod(secret, 0o600)
    relay = with_logs(
        f'[log]\npath = "DIR/log.jsonl"\n[[webhook]]\nurl = "http://127.0.0.1:{receiver.port}/events"\nsecret_file = "{secret}"\n'
        'batch = "20/1s"\nnetworks = ["127.0.0.1/32"]\n'
    )
    sent = 0

    def mail(count):
        nonlocal sent
        for _ in range(count):
            sent += 1
            relay.send("s@b.example", [f"good{sent}@a.example", f"bad{sent}@a.example"], TEXT)

    for mood in ("well", "fail", "hang", "flood", "lose", "well"):
        receiver.mood = mood
        begun = time.monotonic()
        mail(10)
        assert time.monotonic() - begun < 10, f"mail waits for a webhook: {mood}"
        time.sleep(1.5)
        if mood in ("fail", "lose"):
            relay.kill()
            relay.start()
    receiver.mood = "well"
    receiver.close()
    mail(5)
    time.sleep(1)
    receiver.open()
    until(lambda: metric(relay, "spool_messages") == 0, "the queue did not go out")
    until(lambda: {event["event_id"] for event in relay.log()} <= {event["event_id"] for event in receiver.events()}, "events are missing", 120)
    wanted = {event["event_id"]: event["event"] for event in relay.log()}
    got = {event["event_id"]: event["event"] for event in receiver.events()}
    assert got == wanted, (set(got) ^ set(wanted))
    assert all(len(batch) <= 20 for batch in receiver.batches)
    # What the server lost came again under the same key, if no kill was between.
    print(f"{len(wanted)} events in {len(receiver.batches)} batches, {len(receiver.keys) - len(set(receiver.keys))} of them again")
    assert metric(relay, "webhook_batches_total") > 5 and metric(relay, "stream_batches_total") == 0
    relay.stop()


def a_webhook_goes_into_no_private_network():
    """Where no key names the network, nothing is connected to, and it is said."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(4)
    secret = f"/tmp/relevo-webhook-{os.getpid()}"
    with open(secret, "w") as file:
        file.write("a secret of many letters\n")
    os.chmod(secret, 0o600)
    port = server.getsockname()[1]
    relay = with_logs(
        f'[log]\npath = "DIR/log.jsonl"\n[[webhook]]\nurl = "https://127.0.0.1:{port}/"\nsecret_file = "{secret}"\nbatch = "1/1s"\n'
    )
    relay.send("s@b.example", ["good@a.example"], TEXT)
    assert relay.told("the webhook", "takes no events", "webhook[0].networks", seconds=10), relay.words
    try:
        server.accept()
        raise AssertionError("it was connected to")
    except TimeoutError:
        pass
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
