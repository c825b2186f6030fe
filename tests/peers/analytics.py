"""What becomes of mail, counted: `analytics.py STORY BINARY`. Called by tests/peers.rs."""
import collections
import json
import os
import random
import smtplib
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from http_api import Guarded
from journal import behave
from shaping import mx

TEXT = "Subject: hello\r\n\r\nA line.\r\n"
NAMES = {"delivered": "delivered", "deferred": "deferred", "bounced": "bounced", "expired": "expired", "suppressed": "suppressed"}


class Counted(Guarded):
    def __init__(self, **kinds):
        self.shaping = '[provider.big]\nmatch = [{ MXSuffix = ".big.example" }]\n'
        super().__init__(more='[retry]\nfirst = "1s"\nmax = "1s"\n', behave=behave(), **kinds)

    def write(self):
        with open(f"{self.directory}/shaping.toml", "w") as file:
            file.write(self.shaping)
        if "[shaping]" not in self.more:
            # What a provider is known by is its hosts.
            self.more += f'[[route]]\ndomain = "a.big.example"\nto = "mx"\n{mx(("a.big.example", "mx.big.example", "127.0.0.1"))}[delivery]\nmx_port = {self.sink.port}\nallow_loopback_mx = true\n'
            self.more += f'[shaping]\nfiles = ["{self.directory}/shaping.toml"]\n'
        super().write()

    def wait_empty(self, seconds=60):
        end = time.monotonic() + seconds
        while (left := self.count()["recipients"]) != 0:
            assert time.monotonic() < end, f"{left} wait"
            time.sleep(0.2)

    def truth(self, by, where=lambda event: True):
        """The same sums, of the log: each event once."""
        sums, known = collections.defaultdict(collections.Counter), set()
        for event in self.log():
            if event["event"] not in NAMES or event["event_id"] in known or not where(event):
                continue
            known.add(event["event_id"])
            if by != "class" or event.get("class"):
                sums[event.get(by, "")][NAMES[event["event"]]] += len(event["recipients"])
        return {name: dict(of) for name, of in sums.items()}

    def counted(self, by, token="read", **more):
        query = "&".join(f"{name}={value}" for name, value in {"by": by, **more}.items())
        status, told, _ = self.over_http("GET", f"/control/v1/analytics?{query}", by=token)
        assert status == 200, (status, told)
        rows = {row["name"]: {name: row["counts"][name] for name in NAMES.values() if row["counts"][name]} for row in told["rows"]}
        return rows, told

    def agree(self, by, seconds=30, **more):
        """Waits until what is counted is what the log has; then it stays."""
        where = lambda event: all(event.get(name, "") == value for name, value in more.items())
        end = time.monotonic() + seconds
        while (found := self.counted(by, **more))[0] != (wanted := self.truth(by, where)):
            assert time.monotonic() < end, (by, more, found[0], wanted)
            time.sleep(0.2)
        return found[1]


def sends(relay, stop, number):
    draw, sent = random.Random(number), 0
    while not stop.is_set():
        try:
            with smtplib.SMTP("127.0.0.1", relay.port, local_hostname="client.example", timeout=10) as client:
                for _ in range(20):
                    sent += 1
                    tenant, campaign = draw.choice(["shop", "news", ""]), draw.choice(["spring", "autumn"])
                    head = f"X-Relevo-Tenant: {tenant}\r\nX-Job: {campaign}\r\n" if tenant else ""
                    to = [f"{draw.choice(['good', 'bad', 'later'])}{number}-{sent}-{part}@{draw.choice(['a.big.example', 'b.example'])}" for part in range(draw.randrange(1, 4))]
                    client.sendmail("s@z.example", to, head + TEXT)
        except (OSError, smtplib.SMTPException):
            time.sleep(0.05)


def what_becomes_of_mail_is_counted_once_over_kills():
    relay = Counted()
    stop = threading.Event()
    senders = [threading.Thread(target=sends, args=(relay, stop, number)) for number in range(3)]
    for sender in senders:
        sender.start()
    for _ in range(4):
        time.sleep(random.uniform(2.0, 5.0))
        relay.kill()
        relay.start()
    time.sleep(1)
    stop.set()
    for sender in senders:
        sender.join()
    relay.wait_empty()
    for by in ("provider", "tenant", "campaign", "class"):
        told = relay.agree(by)
    assert set(relay.truth("provider")) == {"big", ""} and set(relay.truth("tenant")) == {"shop", "news", ""}, relay.truth("provider")
    texts = {(said["class"], said["text"]) for said in told["texts"]}
    assert {text for _, text in texts} == {"550 5.1.1 no such user", "450 4.2.0 later"}, texts
    # What is asked of one is of that one, and a tenant's token is told of its own alone.
    relay.agree("campaign", tenant="shop")
    relay.agree("class", provider="big", tenant="news")
    own, _ = relay.counted("campaign", token="shop")
    assert own == relay.truth("campaign", lambda event: event.get("tenant") == "shop"), own
    assert set(relay.counted("tenant", token="spy")[0]) == {"shop"}
    assert relay.code("GET", "/control/v1/analytics?tenant=news", by="spy") == (403, "tenant")
    assert relay.code("GET", "/control/v1/analytics?by=domain", by="read") == (400, "bad_request")
    # Pages have each row once.
    first, told = relay.counted("class", limit=1)
    rest, _ = relay.counted("class", cursor=told["next"])
    assert told["next"] == "1" and first | rest == relay.truth("class") and not set(first) & set(rest), (first, rest)
    # A stop in order, and nothing more to count: the same.
    relay.process.terminate()
    assert relay.process.wait(45) == 0
    relay.start()
    time.sleep(1)
    for by in ("provider", "tenant"):
        assert relay.counted(by)[0] == relay.truth(by), by
    relay.stop()


def counts_are_no_part_of_mail():
    """A file that is damaged is begun anew, and where nothing is counted nothing reads."""
    relay = Counted()
    relay.send("s@z.example", ["good1@b.example", "bad1@b.example"], TEXT)
    relay.agree("provider")
    relay.process.terminate()
    assert relay.process.wait(45) == 0
    with open(f"{relay.data_dir}/analytics.db", "r+b") as file:
        file.write(b"damaged" * 1000)
    relay.start()
    assert relay.told("analytics.db was damaged", "begins anew"), relay.words
    relay.send("s@z.example", ["good2@b.example"], TEXT)
    end = time.monotonic() + 30
    while relay.counted("provider")[0].get("", {}).get("delivered", 0) < 1:
        assert time.monotonic() < end, relay.counted("provider")
        time.sleep(0.2)
    assert os.path.exists(f"{relay.data_dir}/analytics.db.damaged")
    # Damaged under its feet: that is found, told, and mail goes on.
    relay.keys = "analytics = false\n"
    relay.process.terminate()
    assert relay.process.wait(45) == 0
    relay.write()
    before = os.stat(f"{relay.data_dir}/analytics.db")
    relay.start()
    relay.send("s@z.example", ["good3@b.example"], TEXT)
    relay.wait_log("delivered", 3)
    assert relay.code("GET", "/control/v1/analytics", by="read") == (404, "not_found")
    after = os.stat(f"{relay.data_dir}/analytics.db")
    assert (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)
    assert 'log="analytics"' not in relay.get("/metrics").decode()
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
