"""Commands to the running relay, over its socket: `control.py STORY BINARY`. Called by tests/peers.rs."""
import http.client
import json
import multiprocessing
import os
import re
import socket
import stat
import subprocess
import sys
import threading
import time

from relay import Relay, free_port
from sink import Sink

BINARY = os.path.abspath(sys.argv[2])
SLOW = '[retry]\nfirst = "1h"\nmax = "1h"\n'
TEXT = b"Subject: hello\r\n\r\nA line.\r\n"


class Node(Relay):
    """A relay whose next hop puts off what it is told to."""

    def __init__(self, behave=None, more=SLOW, **kinds):
        self.later = True
        super().__init__(BINARY, Sink(behave or self.put_off), more, **kinds)
        self.path = f"{self.data_dir}/control.sock"

    def put_off(self, point, data):
        return b"450 4.2.0 not yet\r\n" if point == "RCPT" and self.later and b"later" in data else None

    def command(self, *arguments, code=0, where=None):
        """Runs a command that must end so; what it printed."""
        where = where or ("--config", f"{self.directory}/relevo.toml")
        done = subprocess.run([BINARY, *arguments, *where], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        self.complaint = done.stderr
        return done.stdout

    def rows(self, *arguments):
        return [json.loads(line) for line in self.command("queue", "list", "--limit", "0", "--json", *arguments).splitlines()]

    def count(self, *arguments):
        return json.loads(self.command("queue", "count", "--json", *arguments))

    def fill(self, messages, domains=5, start=0):
        """So many messages that are put off; waits until all of them were tried."""
        client = self.client()
        for number in range(start, start + messages):
            client.sendmail("a@b.example", [f"later{number}@d{number % domains}.example"], TEXT)
        client.quit()
        self.wait(start + messages)

    def wait(self, deferred, seconds=60):
        end = time.monotonic() + seconds
        while (found := self.count("--state", "deferred")["recipients"]) != deferred:
            assert time.monotonic() < end, f"{found} of {deferred} wait"
            time.sleep(0.1)

    def ask(self, method, target, body=None):
        """Speaks HTTP to the socket: status and JSON."""
        connection = http.client.HTTPConnection("localhost", timeout=40)
        connection.sock = self.connect()
        connection.request(method, target, body and json.dumps(body))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def get(self, path):
        """Asks control's HTTP on TCP."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=10)
        connection.request("GET", path)
        return connection.getresponse().read()

    def connect(self):
        plain = socket.socket(socket.AF_UNIX)
        plain.settimeout(40)
        plain.connect(self.path)
        return plain


def a_queue_is_listed_counted_and_shown():
    relay = Node()
    relay.fill(30)
    relay.send("", ["later-a@d0.example", "later-b@d0.example", "later-c@x.example"], TEXT)
    relay.wait(33)
    # What was said last is known when it is on disk.
    time.sleep(0.5)
    assert stat.S_IMODE(os.stat(relay.path).st_mode) == 0o600
    rows = relay.rows()
    assert len(rows) == 32 and sum(row["count"] for row in rows) == 33, rows
    for row in rows:
        assert (row["state"], row["attempts"], row["last_reply"]) == ("deferred", 1, "450 4.2.0 not yet"), row
        assert row["next_attempt"] > row["accepted"] and row["expires"] > row["next_attempt"], row
        assert all(recipient.endswith("@" + row["domain"]) for recipient in row["recipients"]), row
    assert len(relay.rows("--domain", "d3.example")) == 6
    assert len(relay.rows("--domain", "*.example")) == 32 and not relay.rows("--domain", "nobody.example")
    assert "nothing of that waits" not in relay.complaint
    assert relay.count("--domain", "d0.example") == {"recipients": 8, "deferred": 8, "ready": 0, "suspended": 0, "held": 0, "groups": 7, "under_way": 0}
    assert relay.count("--older", "1h")["recipients"] == 0 and relay.count("--older", "0s")["recipients"] == 33
    assert relay.count("--state", "ready")["recipients"] == 0
    pair = next(row for row in rows if row["count"] == 2)
    assert pair["recipients"] == ["later-a@d0.example", "later-b@d0.example"] and pair["sender"] == "", pair
    shown = json.loads(relay.command("queue", "show", pair["id"], "--json"))
    assert (shown["recipients"], shown["left"], shown["under_way"], len(shown["waiting"])) == (3, 3, 0, 2), shown
    assert [one["last_reply"] for one in shown["live"]] == ["450 4.2.0 not yet"] * 3
    assert "later-c@x.example" in relay.command("queue", "show", pair["id"].lower())
    assert len(relay.rows("--id", pair["id"])) == 2
    # As text, with its bound.
    text = relay.command("queue", "list", "--limit", "3").splitlines()
    assert len(text) == 7 and "there is more" in relay.complaint, text
    assert text[0].startswith("ID ") and "450 4.2.0 not yet" in text[2], text
    assert all(len(line) <= 100 for line in text), text
    relay.command("queue", "show", "0000000000000102", code=1)
    relay.command("queue", "show", "nonsense", code=2)
    # What runs: by the socket too, and when it is over there is nobody.
    # Levels are told once a second.
    end = time.monotonic() + 10
    while True:
        status = json.loads(relay.command("status", "--json"))
        if sum(one["queued"] for one in status["shards"]) == 33:
            break
        assert time.monotonic() < end, status
    assert status["takes_mail"] and status["node"] == "relay.example", status
    assert "takes mail" in relay.command("status", where=("--socket", relay.path))
    data_dir = relay.data_dir
    relay.process.terminate()
    assert relay.process.wait(45) == 0
    assert not os.path.exists(f"{data_dir}/control.sock"), "the file stays behind"
    relay.command("status", code=1)
    assert "no relay answers" in relay.complaint
    # A killed one leaves its socket, and the next takes its place.
    relay.start()
    relay.kill()
    assert os.path.exists(relay.path)
    relay.command("queue", "count", code=1)
    relay.start()
    assert relay.count()["recipients"] == 33
    relay.stop()


def a_message_under_way_is_told():
    go = threading.Event()

    def behave(point, data):
        if point == "RCPT":
            go.wait(60)

    relay = Node(behave)
    relay.send("a@b.example", ["c@d.example"], TEXT)
    end = time.monotonic() + 20
    while relay.count()["under_way"] != 1:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert relay.rows() == [] and "1 group under way" in relay.complaint
    message = relay.wait_log("received")[0]["id"]
    shown = json.loads(relay.command("queue", "show", message, "--json"))
    assert (shown["left"], shown["under_way"], shown["waiting"]) == (1, 1, []), shown
    relay.command("queue", "bounce", "--domain", "d.example", code=1)
    go.set()
    relay.sink.wait(1)
    relay.stop()


def pages_hold_while_mail_comes_and_goes():
    relay = Node()
    relay.fill(400, domains=3)
    waited = {row["id"] for row in relay.rows()}
    assert len(waited) == 400
    stop = threading.Event()

    def send():
        number = 0
        while not stop.is_set():
            relay.send("a@b.example", [f"later-n{number}@d{number % 3}.example", f"now{number}@d{number % 4}.example"], TEXT)
            number += 1
            # Small pages of a busy shard are paced: they would never come to the end of a queue that grows faster.
            time.sleep(0.1)

    threads = [threading.Thread(target=send) for _ in range(3)]
    [thread.start() for thread in threads]
    for limit in (7, 40, 256):
        seen, cursor, pages = [], "", 0
        while cursor is not None:
            status, page = relay.ask("GET", f"/control/v1/queue?limit={limit}&cursor={cursor}")
            assert status == 200 and len(page["rows"]) <= limit, page
            seen += [row["id"] for row in page["rows"]]
            cursor, pages = page["next"], pages + 1
        assert waited <= set(seen), f"{len(waited - set(seen))} are in no page of {limit}"
        old = [message for message in seen if message in waited]
        assert len(old) == len(set(old)), "what nobody touched was told twice"
    stop.set()
    [thread.join(30) for thread in threads]
    # A cursor is for this start of the relay.
    status, page = relay.ask("GET", "/control/v1/queue?limit=5")
    relay.kill()
    relay.start()
    status, refused = relay.ask("GET", f"/control/v1/queue?cursor={page['next']}")
    assert (status, refused["code"]) == (410, "old_cursor"), refused
    assert relay.ask("GET", "/control/v1/queue?cursor=x.y")[0] == 400
    relay.stop()


def a_retry_is_at_once():
    relay = Node()
    relay.fill(20)
    relay.later = False
    time.sleep(1)
    assert not relay.sink.taken
    assert json.loads(relay.command("queue", "retry", "--domain", "d1.example", "--json"))["recipients"] == 4
    relay.sink.wait(4)
    time.sleep(0.5)
    assert {message.recipients[0] for message in relay.sink.taken} == {f"later{n}@d1.example" for n in (1, 6, 11, 16)}
    assert relay.told("queue retry (domain=d1.example) by user", f"user {os.getuid()}, process", "4 recipients")
    [admin] = relay.wait_log("admin")
    assert (admin["action"], admin["filter"], admin["count"]) == ("retry", "domain=d1.example", 4), admin
    assert admin["by"].startswith(f"user {os.getuid()}, process ") and "reason" not in admin, admin
    one = relay.rows()[0]["id"]
    relay.command("queue", "retry", "--id", one)
    relay.sink.wait(5)
    relay.command("queue", "retry", "--domain", "d1.example", code=1)
    relay.command("queue", "retry", code=2)
    assert "--all" in relay.complaint
    assert "15 recipients tried now" in relay.command("queue", "retry", "--all")
    relay.sink.wait(20)
    relay.stop()


def a_site_that_rests_is_tried_again():
    """Nobody listens at first: the site rests, longer each time, and a retry does not wait for that."""
    port = free_port()
    route = f'[[route]]\ndomain = "*"\nto = "smtp://127.0.0.1:{port}"\n'
    relay = Node(more='[retry]\nfirst = "10s"\nmax = "1h"\n', route=route)
    relay.send("a@b.example", ["c@d.example"], TEXT)
    end = time.monotonic() + 30
    while not any(row["site_closed_until"] for row in relay.rows()):
        assert time.monotonic() < end, relay.rows()
        time.sleep(0.1)
    sink = Sink(port=port)
    begun = time.monotonic()
    relay.command("queue", "retry", "--site", "127.0.0.1")
    sink.wait(1)
    assert time.monotonic() - begun < 3, "it waited for the site"
    relay.stop()


def what_is_bounced_comes_back_once():
    relay = Node()
    relay.fill(20)
    relay.command("queue", "bounce", "--domain", "d1.example", "--reason", "out of season")
    relay.sink.wait(4)
    returned = relay.wait_log("bounced", 4)
    assert all("out of season" in record["reply"] for record in returned), returned
    for message in relay.sink.taken:
        assert message.sender == "" and message.recipients == ["a@b.example"]
        assert b"Status: 5.7.1" in message.body and b"the operator of this relay ended the delivery: out of season" in message.body
    assert relay.told("queue bounce (domain=d1.example) by user", "4 recipients: out of season")
    [admin] = relay.wait_log("admin")
    assert (admin["action"], admin["filter"], admin["count"]) == ("bounce", "domain=d1.example", 4), admin
    assert admin["reason"] == "out of season", admin
    one = relay.rows()[0]["id"]
    assert json.loads(relay.command("queue", "bounce", "--id", one, "--json"))["recipients"] == 1
    relay.command("queue", "bounce", "--older", "1h", "--domain", "d2.example", code=1)
    relay.command("queue", "bounce", code=2)
    relay.command("queue", "bounce", "--domain", "d2.example", "--reason", "two\nlines", code=2)
    relay.command("queue", "bounce", "--domain", "d2.example", "--reason", "x" * 401, code=2)
    assert relay.count()["recipients"] == 15
    # What the commands said is on disk.
    relay.kill()
    relay.start()
    relay.wait(15)
    relay.stop()


def a_kill_in_the_middle_of_a_bounce_leaves_the_rest():
    relay = Node()

    def send(number):
        client = relay.client()
        for each in range(500):
            client.sendmail("a@b.example", [f"later{number}-{each}@d{each % 7}.example"], TEXT)
        client.quit()

    clients = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    [thread.start() for thread in clients]
    [thread.join(60) for thread in clients]
    relay.wait(2000)
    done = []
    command = threading.Thread(target=lambda: done.append(subprocess.run(
        [BINARY, "queue", "bounce", "--all", "--socket", relay.path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)))
    command.start()
    end = time.monotonic() + 30
    while len(relay.sink.taken) < 50:
        assert time.monotonic() < end
        time.sleep(0.002)
    relay.kill()
    command.join(60)
    relay.later = False
    relay.start()
    left = relay.count()["recipients"]
    assert len(done) == 1
    if left:
        relay.command("queue", "retry", "--all")
    end = time.monotonic() + 60
    while relay.count() != {"recipients": 0, "deferred": 0, "ready": 0, "suspended": 0, "held": 0, "groups": 0, "under_way": 0}:
        assert time.monotonic() < end, relay.count()
        time.sleep(0.2)
    sent = [message.recipients[0] for message in relay.sink.taken if message.sender]
    assert len(sent) == len(set(sent)), "delivered twice"
    # A notification may come twice, where the kill took that it was delivered: it is the same one.
    notices = {re.search(rb"(?mi)^Message-ID: (\S+)", message.body).group(1): message.body for message in relay.sink.taken if not message.sender}
    bounced = [found.decode() for body in notices.values() for found in re.findall(rb"Final-Recipient: rfc822; (\S+)", body)]
    assert len(bounced) == len(set(bounced)), "returned twice"
    assert not set(bounced) & set(sent), "returned and delivered"
    assert len(bounced) + len(sent) == 2000, (len(bounced), len(sent))
    relay.stop()


def what_records_say_is_searched_for():
    rules = (
        '[[rule]]\nmatch = { sender = "@shop.example" }\nset = { tenant = "shop", campaign = "autumn" }\n'
        '[[rule]]\nmatch = { recipient = "@d1.example" }\nset = { pool = "own" }\n'
    )

    def behave(point, data):
        if point != "RCPT" or b"later" not in data or not relay.later:
            return None
        return b"451 4.7.1 try again in a while\r\n" if b"busy" in data else b"450 4.2.0 not yet\r\n"

    relay = Node(behave, more=SLOW + rules)
    for number in range(8):
        relay.send("ada@shop.example", [f"later{number}@d{number % 2}.example"], TEXT)
        relay.send("bob@x.example", [f"later{number}@d2.example", f"later-busy{number}@d2.example", f"later{number}@d1.example"], TEXT)
    relay.send("", ["later@d3.example"], TEXT)
    relay.wait(33)
    time.sleep(0.5)

    def counted(*arguments):
        count = relay.count(*arguments)
        assert count["scanned"]["unreadable"] == 0 and count["scanned"]["messages"] == count["scanned"]["of"], count
        assert relay.complaint == "", "no progress where nobody watches"
        listed = relay.rows(*arguments)
        assert sum(row["count"] for row in listed) == count["recipients"], (arguments, count, listed)
        return count["recipients"]

    assert counted("--sender", "ada@shop.example") == counted("--sender", "@SHOP.example") == counted("--tenant", "shop") == 8
    assert counted("--sender", "*.nowhere.example") == 0 and counted("--sender", "*.example") == 32 and counted("--sender", "<>") == 1 and counted("--sender", "*") == 33
    assert counted("--campaign", "autumn", "--domain", "d0.example") == 4 and counted("--campaign", "spring") == 0
    assert counted("--recipient", "@d1.example") == 12 and counted("--pool", "own") == 12
    assert counted("--recipient", "later-busy3@d2.example") == 1 and counted("--account", "shop") == 0
    assert counted("--reply", "TRY again") == 8 and counted("--reply", r"^45[01] 4\.") == 33
    assert counted("--reply", "busy") == 0 and counted("--reply", "not yet", "--sender", "@x.example", "--domain", "d2.example") == 8
    assert counted("--sender", "*", "--older", "1h") == 0 and counted("--sender", "*", "--state", "deferred") == 33
    one = relay.rows("--recipient", "later-busy3@d2.example")
    assert [(row["count"], row["recipients"], row["last_reply"]) for row in one] == [(1, ["later-busy3@d2.example"], "451 4.7.1 try again in a while")], one
    assert counted("--id", one[0]["id"], "--recipient", "@d2.example") == 2
    # A page after the other, and their cursor is for that filter.
    seen, cursor = [], ""
    while cursor is not None:
        status, page = relay.ask("GET", f"/control/v1/queue?sender=@x.example&limit=5&cursor={cursor}")
        assert status == 200 and set(page["scanned"]) == {"messages", "of", "unreadable"}, page
        seen += [(row["id"], row["domain"], recipient) for row in page["rows"] for recipient in row["recipients"]]
        cursor = page["next"]
        if cursor:
            status, refused = relay.ask("GET", f"/control/v1/queue?sender=@y.example&limit=5&cursor={cursor}")
            assert (status, refused["code"]) == (400, "other_filter"), refused
    assert len(seen) == len(set(seen)) == 24, seen
    # A few are kept; of the others the next request is told.
    status, first = relay.ask("GET", "/control/v1/queue?sender=@x.example&limit=1")
    for _ in range(8):
        relay.ask("GET", "/control/v1/queue?sender=@x.example&limit=1")
    status, refused = relay.ask("GET", f"/control/v1/queue?sender=@x.example&limit=1&cursor={first['next']}")
    assert (status, refused["code"]) == (410, "old_cursor"), refused
    assert json.loads(relay.command("queue", "bounce", "--reply", "4.7.1", "--json"))["recipients"] == 8
    relay.sink.wait(8)
    assert all(b"later-busy" in message.body and message.body.count(b"Final-Recipient") == 1 for message in relay.sink.taken)
    assert relay.told("queue bounce (reply=4.7.1) by user", "8 recipients")
    assert relay.count()["recipients"] == 25 and counted("--reply", "4.7.1") == 0
    relay.command("queue", "bounce", "--reply", "4.7.1", code=1)
    # Of two recipients who wait together one is returned, and the other stays.
    relay.send("carol@x.example", ["later-x@d5.example", "later-y@d5.example"], TEXT)
    relay.wait(27)
    time.sleep(0.5)
    assert [row["count"] for row in relay.rows("--domain", "d5.example")] == [2]
    assert [row["recipients"] for row in relay.rows("--recipient", "later-y@d5.example")] == [["later-y@d5.example"]]
    assert json.loads(relay.command("queue", "bounce", "--recipient", "later-y@d5.example", "--json"))["recipients"] == 1
    relay.sink.wait(9)
    assert [row["recipients"] for row in relay.rows("--domain", "d5.example")] == [["later-x@d5.example"]]
    # And who is retried is tried.
    relay.later = False
    assert json.loads(relay.command("queue", "retry", "--sender", "@shop.example", "--json"))["recipients"] == 8
    relay.sink.wait(17)
    time.sleep(0.5)
    assert {message.sender for message in relay.sink.taken} == {"", "ada@shop.example"}
    relay.stop()


def what_cannot_be_read_is_told():
    relay = Node()
    relay.fill(6, domains=2)
    victim = relay.rows()[2]["id"]
    relay.process.terminate()
    assert relay.process.wait(45) == 0
    relay.start()
    relay.wait(6)
    # One byte of a record changes under the running relay.
    found = 0
    for lane in os.listdir(relay.data_dir):
        directory = f"{relay.data_dir}/{lane}"
        for name in sorted(os.listdir(directory)) if lane.startswith("lane-") else []:
            with open(f"{directory}/{name}", "r+b") as file:
                if not name.endswith(".seg") or found:
                    continue
                at = file.read().find(b"later2@d0.example")
                if at > 0:
                    file.seek(at)
                    file.write(b"x")
                    found += 1
    assert found == 1
    rows = relay.rows()
    assert len(rows) == 6, rows
    damaged = [row for row in rows if row["damaged"]]
    assert len(damaged) == 1 and damaged[0]["sender"] == "" and damaged[0]["last_reply"] == "450 4.2.0 not yet", rows
    assert "its record cannot be read" in relay.command("queue", "list")
    relay.command("queue", "show", damaged[0]["id"], code=1)
    assert "cannot be read" in relay.complaint and victim, relay.complaint
    count = relay.count("--sender", "*")
    assert (count["recipients"], count["scanned"]["unreadable"]) == (5, 1), count
    assert "1 message cannot be read" in relay.complaint, relay.complaint
    relay.stop()


def ages_are_those_of_messages():
    """Whatever lifetime a rule gives them."""
    rules = '[[rule]]\nmatch = { sender = "@brief.example" }\nset = { expire = "1h" }\n[[rule]]\nmatch = { sender = "@long.example" }\nset = { expire = "30d" }\n'
    relay = Node(more=SLOW + rules)
    for sender in ("brief", "usual", "long"):
        relay.send(f"a@{sender}.example", [f"later@{sender}.d.example"], TEXT)
    relay.wait(3)

    def check():
        assert relay.count("--older", "10m")["recipients"] == 0
        assert relay.rows("--older", "30m") == []
        relay.command("queue", "retry", "--older", "10m", code=1)
        relay.command("queue", "bounce", "--older", "10m", code=1)
        assert relay.count("--older", "1s")["recipients"] == 3

    # A life is of whole seconds and begins with the next one, so that nothing is given up too early.
    time.sleep(2.5)
    check()
    # Also of what is found at a start, with another retry.expire.
    relay.process.terminate()
    assert relay.process.wait(45) == 0
    path = f"{relay.directory}/relevo.toml"
    with open(path) as file:
        text = file.read()
    with open(path, "w") as file:
        file.write(text.replace("[retry]\n", '[retry]\nexpire = "2h"\n'))
    relay.start()
    relay.wait(3)
    check()
    relay.stop()


def wrong_questions_are_refused():
    relay = Node()
    relay.fill(3)
    for name in ("provider", "source"):
        for tool in ("list", "count", "retry", "bounce"):
            relay.command("queue", tool, f"--{name}", "x", code=2)
            assert name in relay.complaint and '"x"' in relay.complaint, relay.complaint
        status, refused = relay.ask("GET", f"/control/v1/queue?{name}=x")
        assert (status, refused["code"]) == (400, "bad_filter") and name in refused["error"], refused
    for arguments in (("--domain", ""), ("--domain", "*"), ("--domain", "u@d.example"), ("--domain", "d..example"), ("--older", "soon"), ("--state", "lost"), ("--id", "7"), ("--sender", "x"), ("--recipient", "<>"), ("--reply", "("), ("--tenant", "")):
        relay.command("queue", "list", *arguments, code=2)
    relay.command("queue", "list", "--nonsense", code=2)
    for method, target, body, code in (
        ("GET", "/control/v1/queue?nonsense=1", None, 400),
        ("GET", "/control/v1/queue?limit=0", None, 400),
        ("GET", "/control/v1/queue?limit=257", None, 400),
        ("GET", "/control/v1/queue/message/x", None, 400),
        ("GET", "/control/v1/queue/message/0000000000000102", None, 404),
        ("GET", "/control/v1/nothing", None, 404),
        ("GET", "/metrics", None, 404),
        ("GET", "/control/v1/queue/bounce", None, 405),
        ("POST", "/control/v1/queue", {}, 405),
        ("POST", "/control/v1/queue/bounce", {}, 400),
        ("POST", "/control/v1/queue/bounce", {"all": True, "filter": {"domain": "d.example"}}, 400),
        ("POST", "/control/v1/queue/bounce", {"all": True, "nonsense": 1}, 400),
        ("POST", "/control/v1/queue/bounce", {"filter": {"source": "x"}}, 400),
        ("POST", "/control/v1/queue/bounce", {"filter": {"sender": "x"}}, 400),
        ("GET", "/control/v1/queue?reply=(", None, 400),
        ("POST", "/control/v1/queue/bounce", {"all": True, "reason": "a\r\nb: c"}, 400),
        ("POST", "/control/v1/queue/bounce", ["all"], 400),
        ("POST", "/control/v1/queue/retry", {"all": True, "reason": "x" * 70_000}, 413),
    ):
        try:
            status, refused = relay.ask(method, target, body)
        except (json.JSONDecodeError, OSError):
            # What is too long is not read to its end.
            assert code == 413
            continue
        assert status == code and refused["error"], (method, target, body, status, refused)
    assert relay.count()["recipients"] == 3 and not relay.sink.taken
    relay.stop()


def others_are_kept_out():
    assert os.getuid() == 0, "this story is told by root"
    relay = Node()
    os.chmod(relay.directory, 0o755)
    os.chmod(relay.data_dir, 0o755)
    script = (
        "import os, socket, sys\nos.setgid(65534)\nos.setuid(65534)\nplain = socket.socket(socket.AF_UNIX)\n"
        "try:\n    plain.connect(sys.argv[1])\nexcept PermissionError:\n    sys.exit('no permission')\n"
        "plain.sendall(b'POST /control/v1/queue/retry HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 12\\r\\n\\r\\n{\"all\":true}')\n"
        "print(plain.makefile().read())"
    )

    def ask():
        return subprocess.run([sys.executable, "-c", script, relay.path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=30)

    assert "no permission" in ask().stderr, "the mode lets others in"
    # Somebody opened it: the kernel says who asks.
    os.chmod(relay.path, 0o666)
    answer = ask().stdout
    assert answer.startswith("HTTP/1.1 403") and "user 65534" in answer, answer
    assert relay.told("user 65534", "was refused")
    relay.stop()


def garbage_silence_and_floods_hold_up_nobody():
    relay = Node()
    relay.fill(10)
    for garbage in (b"\0" * 5000, b"GET / HTTP/9.9\r\n\r\n", b"EHLO x\r\n", b"\x16\x03\x01\x02\x00\x01\x00" * 100, b"GET /" + b"x" * 100_000, b"\r\n" * 10_000):
        plain = relay.connect()
        try:
            plain.sendall(garbage)
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(65536):
                pass
        except OSError:
            pass
        plain.close()
    # Those who say nothing, half of something, or do not read, fewer than there are places.
    silent = [relay.connect() for _ in range(20)]
    half = [relay.connect() for _ in range(20)]
    for one in half:
        one.sendall(b"POST /control/v1/queue/retry HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    slow = [relay.connect() for _ in range(10)]
    for one in slow:
        one.sendall(b"GET /control/v1/queue HTTP/1.1\r\nHost: x\r\n\r\n")
    begun = time.monotonic()
    assert relay.count()["recipients"] == 10
    relay.send("a@b.example", ["now@d.example"], TEXT)
    relay.sink.wait(1)
    assert time.monotonic() - begun < 5
    # More than there are places: the silent lose theirs, and all others are answered.
    more = [relay.connect() for _ in range(80)]
    found, failed = [], []

    def ask():
        try:
            found.append(relay.ask("GET", "/control/v1/queue/count")[1]["recipients"])
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(100)]
    [thread.start() for thread in threads]
    # What looks after the shards answers meanwhile.
    assert relay.get("/healthz").startswith(b"ok")
    relay.send("a@b.example", ["now@d.example"], TEXT)
    relay.sink.wait(2)
    [thread.join(60) for thread in threads]
    assert not failed and found == [10] * 100, (failed[:3], len(found))
    del silent, half, slow, more
    # Each of many commands at once is answered.
    before = time.monotonic()
    processes = [subprocess.Popen([BINARY, "queue", "count", "--socket", relay.path], stdout=subprocess.DEVNULL) for _ in range(60)]
    assert all(process.wait(60) == 0 for process in processes), time.monotonic() - before
    relay.stop()


def where_the_socket_is():
    relay = Node()
    # Another place, none, and names that cannot be.
    with open(f"{relay.directory}/relevo.toml") as file:
        text = file.read()

    def with_socket(value):
        with open(f"{relay.directory}/relevo.toml", "w") as file:
            file.write(text.replace("[control]\n", f'[control]\nsocket = "{value}"\n'))

    def refused(*words):
        done = subprocess.run([BINARY, "run", "--config", f"{relay.directory}/relevo.toml"], stderr=subprocess.PIPE, text=True, timeout=30)
        assert done.returncode == 1 and all(word in done.stderr for word in words), done.stderr

    relay.process.terminate()
    assert relay.process.wait(45) == 0
    other = f"{relay.directory}/other.sock"
    with_socket(other)
    relay.start()
    relay.path = other
    assert relay.count()["recipients"] == 0 and stat.S_IMODE(os.stat(other).st_mode) == 0o600
    relay.process.terminate()
    assert relay.process.wait(45) == 0
    with_socket("")
    relay.start()
    relay.command("queue", "count", code=2)
    assert "control.socket" in relay.complaint
    relay.process.terminate()
    assert relay.process.wait(45) == 0
    with_socket("/nowhere/at/all.sock")
    refused("control.socket", "/nowhere/at/all.sock")
    with open(other, "w") as file:
        file.write("not a socket")
    with_socket(other)
    refused("control.socket", "no socket")
    os.remove(other)
    served = socket.socket(socket.AF_UNIX)
    served.bind(other)
    served.listen()
    refused("another process")
    with_socket(f"{relay.directory}/{'x' * 107}")
    refused("control.socket", "at most 107 bytes")
    with_socket(other)
    served.close()
    relay.start()
    relay.stop()


def who_is_silent_at_the_socket_holds_up_nobody():
    """Users who may ask and say nothing, or half of it, and users who may not ask: as many as there are places, and more."""
    relay = Node()

    def connect(request=b""):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(10)
        client.connect(relay.path)
        client.sendall(request)
        return client

    def took():
        begun = time.monotonic()
        relay.command("status")
        return time.monotonic() - begun

    half = b"POST /control/v1/queue/retry HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{"
    for request in (b"", b"GET /", half):
        silent = [connect(request) for _ in range(64)]
        assert (slowest := max(took() for _ in range(3))) < 1.5, (request, slowest)
        for client in silent:
            client.close()
    if os.getuid() == 0:
        # Others are told no, and take the places of nobody.
        os.chmod(relay.path, 0o666)
        for path in (relay.directory, relay.data_dir):
            os.chmod(path, 0o755)
        pipe, theirs = multiprocessing.get_context("fork").Pipe()
        strangers = multiprocessing.get_context("fork").Process(target=be_strangers, args=(connect, theirs), daemon=True)
        descriptors = lambda: len(os.listdir(f"/proc/{relay.process.pid}/fd"))
        time.sleep(1)
        before = descriptors()
        strangers.start()
        pipe.recv()
        # Whoever came before was accepted before.
        assert (slowest := max(took() for _ in range(3))) < 1.5, slowest
        assert (more := descriptors() - before) <= 12, f"{more} descriptors are theirs"
        # One that asks hears that it may not.
        pipe.send("ask")
        assert b" 403 " in pipe.recv()
        strangers.kill()
        strangers.join()
    relay.stop()


def be_strangers(connect, pipe):
    """Sixty-four connections of nobody that are silent, and one that asks."""
    os.setuid(65534)
    silent = [connect() for _ in range(64)]
    pipe.send(len(silent))
    pipe.recv()
    pipe.send(connect(b"GET /control/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n").recv(100))
    pipe.recv()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
