"""Events in streams of Redis and of NATS: `streams.py STORY BINARY`. Called by tests/peers.rs."""
import base64
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from journal import behave
from ports import free_port
from relay import Relay
from sink import Sink

BINARY = os.path.abspath(sys.argv[2])
TEXT = b"Subject: hello\r\n\r\nA line.\r\n"


class Redis:
    """Debian's server, which keeps what it has answered over a kill."""

    def __init__(self, *more):
        self.port, self.directory, self.more, self.process = free_port(), tempfile.mkdtemp(prefix="relevo-redis-"), more, None
        self.start()

    def start(self):
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.directory, "--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        self.process = subprocess.Popen([*command, *self.more], stdout=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while self.ask("PING") != "PONG":
            assert time.monotonic() < end, "redis does not start"
            time.sleep(0.1)

    def ask(self, *words):
        done = subprocess.run(["redis-cli", "-p", str(self.port), "-a", "sesame", "--no-auth-warning", "-n", "3", "--json" if words[0] == "XRANGE" else "--raw", *words], capture_output=True, text=True, timeout=60)
        return done.stdout.strip()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def entries(self, key="mail:events"):
        """Fields of all entries, in order."""
        found = json.loads(self.ask("XRANGE", key, "-", "+") or "[]")
        return [dict(zip(fields[::2], fields[1::2])) for _, fields in found]

    def stop(self):
        self.kill()
        shutil.rmtree(self.directory)


def until(is_so, words, seconds=60):
    end = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < end, words
        time.sleep(0.1)
    return found


def a_stream_has_every_event_at_least_once():
    """Redis is killed and full in the middle, the relay is killed too: each event is there, in order, and each of them as the log has it."""
    redis = Redis("--requirepass", "sesame")
    relay = Relay(BINARY, Sink(behave()), '[retry]\nfirst = "1s"\nmax = "1s"\n')
    relay.kill()
    with open(f"{relay.directory}/password", "w") as file:
        file.write("sesame\n")
    os.chmod(f"{relay.directory}/password", 0o600)
    stream = f'[[stream]]\nkind = "redis"\nurl = "redis://127.0.0.1:{redis.port}/3"\npassword_file = "{relay.directory}/password"\n'
    relay.logs += stream + 'key = "mail:events"\n' + stream + 'key = "few"\nlength = 100\nevents = ["bounced", "delivered"]\n'
    relay.write()
    relay.start()
    number = 0

    def send(messages):
        nonlocal number
        client = relay.client()
        for _ in range(messages):
            number += 1
            client.sendmail("a@b.example", [f"good{number}@a.example", f"{['bad', 'later', 'good'][number % 3]}{number}@b.example"], TEXT)
        client.quit()

    send(100)
    redis.kill()
    send(100)
    assert relay.told("stream redis://127.0.0.1", "takes no events"), relay.words
    relay.kill()
    relay.start()
    send(50)
    redis.start()
    send(50)
    assert relay.told("takes events again", seconds=30), relay.words
    # Full: what is refused comes later, whole.
    redis.ask("CONFIG", "SET", "maxmemory", "1mb")
    send(50)
    until(lambda: "OOM" in redis.ask("INFO", "errorstats"), "it is full")
    redis.ask("CONFIG", "SET", "maxmemory", "0")
    relay.kill()
    relay.start()
    send(20)

    def of_log():
        known = {}
        for event in relay.log():
            known.setdefault(event["event_id"], event)
        return known

    until(lambda: len({event["id"] for event in of_log().values() if event["event"] == "received"}) >= number, "all are told")
    until(lambda: len([1 for event in of_log().values() if event["event"] in ("delivered", "bounced") and event["sender"]]) >= 2 * number, "all ended")
    until(lambda: set(of_log()) <= {entry["id"] for entry in redis.entries()}, "each event is in the stream", 90)
    # Told again it says less: either is the log's own.
    entries, lines = redis.entries(), {json.dumps(event, sort_keys=True) for event in relay.log()}
    for entry in entries:
        event = json.loads(entry["json"])
        assert (event["event_id"], event["event"]) == (entry["id"], entry["event"]), entry
        assert json.dumps(event, sort_keys=True) in lines, entry
    firsts = list(dict.fromkeys(entry["id"] for entry in entries))
    assert firsts == [event for event in dict.fromkeys(event["event_id"] for event in relay.log())], "in order"
    print(f"{len(entries)} entries of {len(firsts)} events")
    few = redis.entries("few")
    assert {entry["event"] for entry in few} == {"bounced", "delivered"} and len(few) < 300, len(few)
    told = fetch(relay)
    assert 'log="stream redis://' in told, told
    counted = {words: int(count) for words, count in re.findall(r'relevo_stream_batches_total\{result="(\w+)"\} (\d+)', told)}
    # Since the last start: two streams, which were not all full.
    assert counted["ok"] >= 2, told
    relay.stop()
    redis.stop()


class Nats:
    """Debian's server with JetStream, and a client of its protocol (https://docs.nats.io/reference/reference-protocols/nats-protocol)."""

    def __init__(self):
        self.port, self.directory, self.process = free_port(), tempfile.mkdtemp(prefix="relevo-nats-"), None
        with open(f"{self.directory}/nats.conf", "w") as file:
            file.write(
                f'listen: "127.0.0.1:{self.port}"\njetstream {{ store_dir: "{self.directory}/store" }}\n'
                'authorization { user: "relay", password: "sesame" }\n'
            )
        self.start()

    def start(self):
        binary = next(filter(None, map(shutil.which, ("nats-server", "/usr/sbin/nats-server", "target/nats/usr/sbin/nats-server"))))
        self.process = subprocess.Popen([binary, "-c", f"{self.directory}/nats.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while True:
            try:
                return self.ask("$JS.API.INFO", {})
            except OSError:
                assert time.monotonic() < end, "nats does not start"
                time.sleep(0.1)

    def ask(self, subject, question):
        """What is answered to a request, by a connection of its own."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as client:
            lines, body = client.makefile("rb"), json.dumps(question).encode()
            who = {"user": "relay", "pass": "sesame", "verbose": False, "pedantic": False, "headers": True, "no_responders": True}
            client.sendall(b"CONNECT %s\r\nSUB answer.here 1\r\nPUB %s answer.here %d\r\n%s\r\n" % (json.dumps(who).encode(), subject.encode(), len(body), body))
            while line := lines.readline():
                words = line.split()
                if words and words[0] in (b"MSG", b"HMSG"):
                    return json.loads(lines.read(int(words[-1])) or b"{}")
                if words and words[0] == b"PING":
                    client.sendall(b"PONG\r\n")
                assert words[0] != b"-ERR", line
        raise OSError("it hung up")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def messages(self, stream="relevo"):
        """Subject, id and event of each message, in order."""
        last = self.ask(f"$JS.API.STREAM.INFO.{stream}", {})["state"]["last_seq"]
        found = []
        for number in range(1, last + 1):
            message = self.ask(f"$JS.API.STREAM.MSG.GET.{stream}", {"seq": number})["message"]
            head = base64.b64decode(message["hdrs"]).decode()
            found.append((message["subject"], head.partition("Nats-Msg-Id: ")[2].split()[0], base64.b64decode(message["data"])))
        return found

    def stop(self):
        self.kill()
        shutil.rmtree(self.directory)


def a_stream_of_nats_has_every_event_at_least_once():
    """It has no such stream first, it is killed, and so is the relay: each event is there as the log has it, by its subject, and none of them twice."""
    nats = Nats()
    relay = Relay(BINARY, Sink(behave()), '[retry]\nfirst = "1s"\nmax = "1s"\n')
    relay.kill()
    with open(f"{relay.directory}/password", "w") as file:
        file.write("sesame\n")
    os.chmod(f"{relay.directory}/password", 0o600)
    relay.logs += (
        f'[[stream]]\nkind = "nats"\nurl = "nats://127.0.0.1:{nats.port}"\nkey = "mail.relay"\n'
        f'user = "relay"\npassword_file = "{relay.directory}/password"\n'
    )
    relay.write()
    relay.start()
    number = 0

    def send(messages):
        nonlocal number
        client = relay.client()
        for _ in range(messages):
            number += 1
            client.sendmail("a@b.example", [f"good{number}@a.example", f"{['bad', 'later', 'good'][number % 3]}{number}@b.example"], TEXT)
        client.quit()

    send(20)
    assert relay.told("takes no events", "nats stream add relevo --subjects 'mail.relay.>'", seconds=30), relay.words
    made = nats.ask("$JS.API.STREAM.CREATE.relevo", {"name": "relevo", "subjects": ["mail.relay.>"], "storage": "file", "retention": "limits", "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "max_age": 0, "num_replicas": 1, "duplicate_window": 600_000_000_000})
    assert "error" not in made, made
    assert relay.told("takes events again", seconds=60), relay.words
    nats.kill()
    send(50)
    relay.kill()
    relay.start()
    send(20)
    # Else it would not know that the server was away.
    assert relay.told("takes no events", seconds=60), relay.words
    nats.start()
    send(20)
    assert relay.told("takes events again", seconds=60), relay.words
    relay.kill()
    relay.start()
    send(10)

    def of_log():
        known = {}
        for event in relay.log():
            known.setdefault(event["event_id"], event)
        return known

    until(lambda: len({event["id"] for event in of_log().values() if event["event"] == "received"}) >= number, "all are told")
    until(lambda: len([1 for event in of_log().values() if event["event"] in ("delivered", "bounced") and event["sender"]]) >= 2 * number, "all ended")
    until(lambda: nats.ask("$JS.API.STREAM.INFO.relevo", {})["state"]["messages"] >= len(of_log()), "each event is in the stream", 90)
    messages, lines = nats.messages(), {json.dumps(event, sort_keys=True) for event in relay.log()}
    assert set(of_log()) == {name for _, name, _ in messages}, "each event is in the stream"
    for subject, name, body in messages:
        event = json.loads(body)
        assert (subject, name) == (f"mail.relay.{event['event']}", event["event_id"]), (subject, name)
        assert json.dumps(event, sort_keys=True) in lines, event
    firsts = list(dict.fromkeys(name for _, name, _ in messages))
    assert len(firsts) == len(messages), "its duplicate window has each once"
    assert firsts == list(dict.fromkeys(event["event_id"] for event in relay.log())), "in order"
    assert 'log="stream nats://' in fetch(relay)
    print(f"{len(messages)} messages")
    relay.stop()
    nats.stop()


def fetch(relay):
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{relay.http}/metrics", timeout=10) as answer:
        return answer.read().decode()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
