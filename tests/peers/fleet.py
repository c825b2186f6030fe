"""Nodes of a cluster that look at each other: `fleet.py STORY BINARY`. Called by tests/peers.rs."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request

from cluster import Redis, until
from control import SLOW, TEXT
from http_api import BINARY, Guarded
from ports import free_port

# Of src/limits/fleet.rs: how long a node is waited for, and how long what was seen is told again.
ANSWER, FRESH = 2, 3


class Cluster:
    """The token that its nodes ask each other with, and where they are."""

    def __init__(self, many, keys="", host="127.0.0.1"):
        self.directory, self.keys, self.host = tempfile.mkdtemp(prefix="relevo-test-"), keys, host
        done = subprocess.run([BINARY, "token", "add", "cluster", "--role", "read", "--tokens", f"{self.directory}/tokens"], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done
        with open(f"{self.directory}/token", "w") as file:
            file.write(done.stdout)
        os.chmod(f"{self.directory}/token", 0o600)
        with open(f"{self.directory}/tokens") as file:
            [self.line] = [line for line in file if line.startswith("cluster:")]
        self.ports = [free_port() for _ in range(many)]
        self.nodes = [Member(self, number) for number in range(many)]

    def urls(self):
        return [f"http://{self.host}:{port}" for port in self.ports]

    def end(self):
        for node in self.nodes:
            if node.process.poll() is None:
                node.kill()
            shutil.rmtree(node.directory)
        shutil.rmtree(self.directory)


class Member(Guarded):
    def __init__(self, cluster, number):
        self.cluster, self.number, self.name, self.knows = cluster, number, f"mx{number + 1}.example", True
        super().__init__(more=SLOW)

    def write(self):
        self.http = self.cluster.ports[self.number]
        super().write()
        path = f"{self.directory}/relevo.toml"
        with open(path) as file:
            text = file.read().replace('hostname = "relay.example"', f'hostname = "{self.name}"').replace(f'http = "127.0.0.1:{self.http}"', f'http = "{self.cluster.host}:{self.http}"')
        keys = self.cluster.keys or f"nodes = {json.dumps(self.cluster.urls())}\n"
        with open(path, "w") as file:
            file.write(f'{text}[cluster]\ntoken_file = "{self.cluster.directory}/token"\n{keys.replace("ADVERTISED", self.cluster.urls()[self.number])}')
        with open(f"{self.directory}/tokens") as file:
            lines = [line for line in file if not line.startswith("cluster:")]
        with open(f"{self.directory}/tokens", "w") as file:
            file.writelines(lines + ([self.cluster.line] if self.knows else []))

    def seen(self, code=None):
        """The nodes as this one sees them, by their names."""
        done = subprocess.run([BINARY, "status", "--cluster", "--json", "--config", f"{self.directory}/relevo.toml"], capture_output=True, text=True, timeout=60)
        assert code is None or done.returncode == code, done
        self.view, self.code, self.complaint = json.loads(done.stdout), done.returncode, done.stderr
        return {one["node"]: one for one in self.view["nodes"]}

    def metric(self, name):
        with urllib.request.urlopen(f"http://{self.cluster.host}:{self.http}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))

    def asked(self):
        return self.metric("relevo_cluster_nodes_asked_total")


def nodes_that_are_listed_look_at_each_other():
    """The same list on all, in which each finds itself. One is killed, one stands still, one refuses the token: each is shown so, and in time."""
    cluster = Cluster(4)
    one, killed, stopped, closed = cluster.nodes
    one.fill(7)
    # Shards count once a second.
    until(lambda: one.seen()["mx1.example"]["summary"]["deferred"] == 7, "all are counted", 30)
    all_well = one.seen(code=0)
    assert set(all_well) == {f"mx{n}.example" for n in (1, 2, 3, 4)} and one.view["cluster"] == "relays", one.view
    assert [node["own"] for node in one.view["nodes"]] == [True, False, False, False]
    assert len({node["id"] for node in one.view["nodes"]}) == 4
    own = all_well["mx1.example"]["summary"]
    assert (own["queued"], own["state"], own["redis"]) == (7, "ready", None) and own["disk_free"] > 0 and own["accepted"] > 0, own
    # Who is asked asks nobody, and while nobody looks nobody is asked.
    assert one.asked() >= 4 and killed.asked() == 0, (one.asked(), killed.asked())
    asked = one.asked()
    time.sleep(FRESH + 1)
    assert one.asked() == asked
    # However many look, it is asked once.
    looks = [threading.Thread(target=one.over_http, args=("GET", "/control/v1/cluster"), kwargs={"by": "read"}) for _ in range(8)]
    [look.start() for look in looks], [look.join() for look in looks]
    assert one.asked() == asked + 4, (one.asked(), asked)
    text = one.command("status", "--cluster")
    assert re.search(r"^mx1\.example +ready +7 ", text, re.M), text
    killed.kill()
    stopped.process.send_signal(signal.SIGSTOP)
    closed.knows = False
    closed.write()
    closed.command("reload")
    time.sleep(FRESH)
    begun = time.monotonic()
    seen = one.seen(code=1)
    took = time.monotonic() - begun
    assert took < ANSWER + 3, took
    reaches = {name: node["reach"] for name, node in seen.items()}
    assert reaches == {"mx1.example": "answers", "mx2.example": "away", "mx3.example": "slow", "mx4.example": "refuses"}, seen
    assert all(seen[f"mx{n}.example"]["since"] and seen[f"mx{n}.example"]["answered"] and not seen[f"mx{n}.example"]["summary"] for n in (2, 3, 4)), seen
    assert "no answer within 2 s" in seen["mx3.example"]["words"] and "401" in seen["mx4.example"]["words"], seen
    since = seen["mx2.example"]["since"]
    text = one.command("status", "--cluster", code=1)
    assert re.search(r"^mx2\.example +away$", text, re.M) and "answered last at" in text, text
    # They come back; how long it has been so was of the first time.
    time.sleep(FRESH)
    assert one.seen()["mx2.example"]["since"] == since
    stopped.process.send_signal(signal.SIGCONT)
    closed.knows = True
    closed.write()
    closed.command("reload")
    killed.start()
    until(lambda: one.seen() and one.code == 0, "they are back", 20)
    # Of another version: it does not know the question; and what is no relay at all.
    cluster.end()


def a_search_finds_what_waits_at_all_nodes():
    """Rows, counts and reasons of three nodes, page by page and by what only records tell; who does not answer is named, and a tenant's token sees nothing of it."""
    cluster = Cluster(3)
    one, two, three = cluster.nodes
    for node, messages in ((one, 5), (two, 40), (three, 3)):
        node.fill(messages)
    rows = lambda *words, code=0: [json.loads(line) for line in one.command("queue", "list", "--cluster", "--json", *words, code=code).splitlines()]
    found = rows("--limit", "0")
    assert {name: len([row for row in found if row["node"] == name]) for name in ("mx1.example", "mx2.example", "mx3.example")} == {"mx1.example": 5, "mx2.example": 40, "mx3.example": 3}
    assert len({(row["node"], row["id"], row["domain"]) for row in found}) == 48
    assert all((row["url"] is None) == (row["node"] == "mx1.example") for row in found)

    def page_of(path):
        """A page of all: on a busy machine a node may once be late."""
        end = time.monotonic() + 30
        while True:
            status, page, _ = one.over_http("GET", path, by="read")
            assert status == 200, page
            if page["missing"] == []:
                return page
            assert time.monotonic() < end, page["missing"]
            time.sleep(FRESH)

    # Small pages, with a cursor that says where each node is.
    seen, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        page = page_of(f"/control/v1/cluster/queue?limit=6{'&cursor=' + cursor if cursor else ''}")
        assert len(page["rows"]) <= 6, page
        seen += [(row["node"], row["id"]) for row in page["rows"]]
        cursor, pages = page["next"], pages + 1
    assert len(seen) == len(set(seen)) == 48 and pages > 8, (len(seen), pages)
    # The first page has rows of all.
    page = page_of("/control/v1/cluster/queue?limit=6")
    assert len({row["node"] for row in page["rows"]}) == 3, page
    assert len(rows("--limit", "10")) == 10 and "--limit 0" in one.complaint
    counted = json.loads(one.command("queue", "count", "--cluster", "--json"))
    assert (counted["recipients"], counted["deferred"], counted["missing"]) == (48, 48, []), counted
    assert {of["node"]: of["recipients"] for of in counted["nodes"]} == {"mx1.example": 5, "mx2.example": 40, "mx3.example": 3}, counted
    assert "all: 48 recipients" in one.command("queue", "count", "--cluster")
    assert {row["node"] for row in rows("--recipient", "later2@d2.example")} == {"mx1.example", "mx2.example", "mx3.example"}
    # What came of an attempt is on disk within seconds.
    until(lambda: len(rows("--reply", "not yet", "--limit", "0")) == 48, "all were told so")
    assert rows("--domain", "nobody.example") == []
    text = one.command("queue", "list", "--cluster", "--domain", "d4.example", "--limit", "0")
    assert "mx2.example  <a@b.example>  450 4.2.0 not yet" in text, text
    # Why: of a message that another node has.
    id = two.rows()[0]["id"]
    why = json.loads(one.command("why", id, "--cluster", "--json"))
    assert "mx2.example" in [of["node"] for of in why["nodes"]] and why["missing"] == [], why
    one.command("why", "nobody.example", "--cluster", code=1)
    one.command("why", "00000000ZZZZZZZZ", "--cluster", code=1)
    # Who may not: a token of a tenant, in any way.
    for path in ("node", "cluster", "cluster/queue", "cluster/queue?tenant=shop", "cluster/queue/count?tenant=shop", "cluster/why?domain=d1.example"):
        status, refusal, _ = one.over_http("GET", f"/control/v1/{path}", by="shop")
        assert (status, refusal["code"]) == (403, "tenant"), (path, status, refusal)
    assert one.over_http("GET", "/control/v1/cluster/queue")[0] == 401
    assert one.over_http("GET", "/control/v1/me", by="shop")[1]["cluster"] is None
    assert one.over_http("GET", "/control/v1/me", by="read")[1]["cluster"] == "relays"
    for wrong in ("cursor=x", "cursor=" + "a" * 16 + "/", "colour=red", "older=soon", "limit=0"):
        status, refusal, _ = one.over_http("GET", f"/control/v1/cluster/queue?{wrong}", by="read")
        assert status in (200, 400) and (status == 400 or "/" in wrong), (wrong, status, refusal)
    # Where one is gone what is found is not all, and that is said.
    three.kill()
    time.sleep(FRESH)
    found = rows("--limit", "0", code=1)
    assert len(found) == 45 and "the mail of mx3.example" in one.complaint and "is missing" in one.complaint, (len(found), one.complaint)
    counted = json.loads(one.command("queue", "count", "--cluster", "--json", code=1))
    assert counted["recipients"] == 45 and [of["node"] for of in counted["missing"]] == ["mx3.example"], counted
    # In the middle of a search, too.
    page = one.over_http("GET", "/control/v1/cluster/queue?limit=6", by="read")[1]
    two.kill()
    page = one.over_http("GET", f"/control/v1/cluster/queue?limit=6&cursor={page['next']}", by="read")[1]
    assert sorted({of["node"] for of in page["missing"]}) == ["mx2.example", "mx3.example"], page
    cluster.end()


class Thief(threading.Thread):
    """Listens where a hostile entry of Redis says that a node is, and keeps what it hears."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket, self.heard = socket.create_server(("127.0.0.1", 0)), []
        self.port = self.socket.getsockname()[1]
        self.start()

    def run(self):
        while True:
            connection, _ = self.socket.accept()
            connection.settimeout(1)
            try:
                self.heard.append(connection.recv(4096))
            except OSError:
                self.heard.append(b"")
            connection.close()


def nodes_that_say_so_to_redis_are_found():
    """They say where they are. Whoever can write to Redis can say anything: nothing of that does harm, and no token goes out of the networks that are named."""
    redis, thief = Redis("--requirepass", "sesame"), Thief()
    keys = f'redis = "redis://:sesame@127.0.0.1:{redis.port}"\nname = "eu"\nshare = 0.3\nadvertise = "ADVERTISED"\nnetworks = ["127.0.0.2/32"]\n'
    cluster = Cluster(3, keys, host="127.0.0.2")
    one, two, three = cluster.nodes
    until(lambda: len(one.seen()) == 3 and one.code == 0, "they know of each other", 30)
    seen = one.seen()
    assert one.view["cluster"] == "eu" and all(node["registered"] or node["own"] for node in seen.values()), one.view
    assert all(node["summary"]["redis"] == "leased" for node in seen.values()), seen
    assert one.metric("relevo_cluster_nodes_silent") == 0 and one.metric("relevo_cluster_nodes ") == 3
    # Hostile: where somebody listens, what is no place, what is long, what steers a terminal, and no number of a node.
    now = int(time.time() * 1000)
    for number, words in enumerate((f"thief 1 http://127.0.0.1:{thief.port}", f"thief2 1 http://localhost:{thief.port}", "mx7 1 file:///etc/passwd", "mx8 1 http://169.254.169.254", "a" * 5000, "\x1b[2J 1 http://127.0.0.2:1", "mx9", f"mx10 1 http://127.0.0.2:{thief.port}")):
        redis.ask("HSET", "relevo:{eu}:nodes", f"{number + 1:016x}", f"{now} {words}")
    redis.ask("HSET", "relevo:{eu}:nodes", "\x1b[2J", f"{now} thief 1 http://127.0.0.1:{thief.port}")
    redis.ask("HSET", "relevo:{eu}:nodes", "0" * 16, "9" * 400 + f" thief3 1 http://127.0.0.1:{thief.port}")
    until(lambda: "thief" in one.seen(), "it is there", 20)
    seen = one.seen(code=1)
    reaches = {name: node["reach"] for name, node in seen.items()}
    assert reaches["thief"] == reaches["thief2"] == reaches["mx7"] == reaches["mx8"] == reaches["mx9"] == "unasked", seen
    assert "cluster.networks" in seen["thief"]["words"] and "cluster.advertise" in seen["mx7"]["words"], seen
    assert all(reaches[f"mx{n}.example"] == "answers" for n in (1, 2, 3)) and reaches["mx10"] == "away", seen
    assert "\x1b" not in json.dumps(seen) and max(map(len, seen)) < 300, seen
    assert "\x1b" not in one.command("status", "--cluster", code=1)
    time.sleep(1)
    assert thief.heard == [], thief.heard
    # A search names those that it did not ask.
    two.fill(2)
    one.command("queue", "count", "--cluster", code=1)
    assert "the mail of thief" in one.complaint and thief.heard == [], one.complaint
    for number in range(8):
        redis.ask("HDEL", "relevo:{eu}:nodes", f"{number + 1:016x}")
    redis.ask("HDEL", "relevo:{eu}:nodes", "0" * 16)
    redis.ask("HDEL", "relevo:{eu}:nodes", "\x1b[2J")
    until(lambda: one.seen() and one.code == 0, "they are gone", 20)
    # One is killed: it says nothing more, and is not forgotten.
    three.kill()
    until(lambda: one.metric("relevo_cluster_nodes_silent") == 1, "it is silent", 40)
    seen = one.seen(code=1)
    assert seen["mx3.example"]["reach"] == "away" and seen["mx3.example"]["registered"] and one.view["trouble"] is None, seen
    # Redis is gone: those that are known are asked, and each says how it shares limits.
    redis.kill()
    until(lambda: one.seen() and one.view["trouble"], "Redis is missed", 20)
    seen = one.seen(code=1)
    assert seen["mx2.example"]["reach"] == "answers" and seen["mx2.example"]["summary"]["redis"] in ("kept", "share"), seen
    assert "Redis cannot be asked" in one.command("status", "--cluster", code=1)
    # It is back, with nothing, and so are they.
    redis.start()
    until(lambda: one.seen() and one.code == 0 and len(one.view["nodes"]) == 2, "both are there", 40)
    # A node that is told to stop leaves.
    two.process.terminate()
    assert two.process.wait(45) == 0
    until(lambda: one.seen() and len(one.view["nodes"]) == 1, "it left", 20)
    cluster.end()
    redis.stop()


if __name__ == "__main__":
    import sys

    globals()[sys.argv[1]]()
