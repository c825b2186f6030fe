"""Relays of one cluster whose quotas and volumes of warm-up hold for all of them together: `counts.py STORY BINARY`. Called by tests/peers.rs."""
import json
import os
import shutil
import smtplib
import ssl
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from accounts import PASSWORD, Authority, account
from cluster import BINARY, LEASE, TEXT, Counting, Redis, metric, relays, settled, until
from shaping import send
from sources import Door, pool
from suspensions import command
from warmup import COLD, DOMAINS, TWO, plan
from warmup import RULE as RULE_OF_POOL

RULE = '[[rule]]\nmatch = { sender = "*" }\nset = { tenant = "shop" }\n'


def away_from(period):
    """Stories that count a period's mail must lie within one."""
    left = period - time.time() % period
    if left < 120:
        time.sleep(left + 1)


def nodes_with(redis, sink, many, settings, share):
    """Relays of a cluster, with more in the configuration of each."""
    return relays(redis, sink, many, "", share, settings)


class Clients:
    """Bring messages to each relay until they are told to stop: how many were taken, and what else was said."""

    def __init__(self, nodes, pause=0.01):
        self.taken, self.said, self.over, self.lock, self.longest = [0] * len(nodes), set(), threading.Event(), threading.Lock(), 0
        self.threads = [threading.Thread(target=self.work, args=(place, node, pause), daemon=True) for place, node in enumerate(nodes) for _ in range(2)]
        for thread in self.threads:
            thread.start()

    def work(self, place, node, pause):
        number = 0
        while not self.over.is_set():
            number += 1
            begun = time.monotonic()
            try:
                client = node.client()
                client.sendmail("a@b.example", [f"u{place}.{threading.get_ident()}.{number}@d.example"], TEXT)
                client.quit()
                with self.lock:
                    self.taken[place] += 1
                    self.longest = max(self.longest, time.monotonic() - begun)
            except smtplib.SMTPDataError as error:
                with self.lock:
                    self.said.add((error.smtp_code, error.smtp_error))
                time.sleep(0.2)
            except (OSError, smtplib.SMTPException):
                time.sleep(0.2)
            time.sleep(pause)

    def all(self):
        with self.lock:
            return sum(self.taken)

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join()


class Bringing:
    """Sessions of an account, one at each of these relays, that bring as many messages as are taken: when each was."""

    def __init__(self, nodes, context):
        self.ends, self.said, self.over = [], set(), threading.Event()
        self.threads = [threading.Thread(target=self.work, args=(node, context), daemon=True) for node in nodes]
        for thread in self.threads:
            thread.start()

    def work(self, node, context):
        client = None
        while not self.over.is_set():
            try:
                if client is None:
                    client = node.client()
                    client.starttls(context=context)
                    client.login("shop", PASSWORD)
                client.sendmail("a@b.example", ["u@d.example"], TEXT)
                self.ends.append(time.monotonic())
            except smtplib.SMTPSenderRefused as error:
                self.said.add(error.smtp_error)
                # Who comes again and again in one session is sent away.
                client = client if error.smtp_code == 451 else None
                time.sleep(0.2)
        if client is not None:
            client.close()

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join()


def most_within(ends, seconds):
    ends, most, first = sorted(ends), 0, 0
    for last, end in enumerate(ends):
        while ends[first] <= end - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def an_account_has_its_rate_at_all_nodes_together():
    """60 in 10 s over three nodes: one alone has all of it, three never more together, and without Redis each has its share."""
    redis, sink, directory = Redis("--requirepass", "sesame"), Counting(), tempfile.mkdtemp(prefix="relevo-rates-")
    authority = Authority(directory)
    authority.certify("127.0.0.1", san="IP")
    with open(f"{directory}/accounts.toml", "w") as file:
        file.write(account("shop", scram=False, more='rate = "60/10s"\n'))
    pem, key = (authority.file(f"127.0.0.1.{kind}") for kind in ("pem", "key"))
    listener = f'tls_certificate = "{pem}"\ntls_key = "{key}"\n'
    nodes = relays(redis, sink, 3, "", 0.33, f'[auth]\naccounts = "{directory}/accounts.toml"\n', listener)
    settled(redis)
    until(lambda: metric(nodes[0], "relevo_cluster_nodes") == 3, "they know of each other")
    context = ssl.create_default_context(cafile=authority.pem)
    alone = Bringing(nodes[:1], context)
    time.sleep(25)
    alone.stop()
    # What two others have an even part of until they are known to need none is the one's soon.
    last = [end for end in alone.ends if end > alone.ends[-1] - 10]
    assert len(last) >= 54 and most_within(alone.ends, 9.9) <= 60, (len(last), most_within(alone.ends, 9.9))
    begun = time.monotonic()
    together = Bringing(nodes, context)
    time.sleep(45)
    ends = sorted(alone.ends + together.ends)
    late = [end for end in together.ends if end > begun + 12]
    print(f"{len(last)} in 10 s alone; at most {most_within(ends, 9.9)} as the others began, then {most_within(late, 9.9)}, {len(late) / 3.3:.0f} as a rule")
    # Who begins has his share at once, though the first one had used all.
    assert most_within(ends, 9.9) <= 60 + 2 * 20, most_within(ends, 9.9)
    assert most_within(late, 9.9) <= 60 and len(late) >= 0.85 * 60 * 3, (most_within(late, 9.9), len(late))
    assert any(b"Too many messages of this account" in words for words in together.said), together.said
    redis.kill()
    time.sleep(LEASE + 3)
    begun = time.monotonic()
    time.sleep(12)
    cut_off = [end for end in list(together.ends) if end > begun]
    assert 36 <= len(cut_off) <= 72 and most_within(cut_off, 9.9) <= 60, (len(cut_off), most_within(cut_off, 9.9))
    together.stop()
    for node in nodes:
        node.stop()
    shutil.rmtree(directory)
    redis.stop()


def used(node):
    """Of the tenant's quota, by all nodes: as one of them knows."""
    found = [line for line in command(node, "why", "shop").splitlines() if "quota of tenant shop" in line]
    return found[0] if found else ""


def three_relays_share_a_quota():
    """300 an hour over three nodes are 300 in all, though one is killed meanwhile, and Redis too; what a node had given out is told when it is back."""
    away_from(3600)
    redis, sink = Redis("--requirepass", "sesame", "--appendonly", "yes", "--appendfsync", "always"), Counting()
    nodes = nodes_with(redis, sink, 3, '[[tenant]]\nname = "shop"\nquota = ["300/h"]\n' + RULE, 0.33)
    settled(redis)
    until(lambda: metric(nodes[0], "relevo_cluster_nodes ") == 3, "they know of each other")
    clients = Clients(nodes[:2], 0.05)
    until(lambda: clients.all() >= 60, "mail is taken")
    nodes[1].kill()
    nodes[1].start()
    until(lambda: clients.all() >= 100, "mail is taken again")
    # Nobody waits for a server that is gone for a moment, and nobody forgets.
    redis.kill()
    time.sleep(1.5)
    redis.start()
    more = Clients(nodes[2:], 0.05)
    until(lambda: sum("is used" in str(words) for _, words in clients.said | more.said) > 0, "it is used up", 60)
    # What was granted and is not used goes back, and is had by the others.
    time.sleep(LEASE + 12)
    for each in (clients, more):
        each.stop()
    taken = clients.all() + more.all()
    words = {code for code, _ in clients.said | more.said}
    print(f"{clients.taken} and {more.taken}: {taken} of 300; the longest took {max(clients.longest, more.longest):.2f} s")
    # A kill wastes a block of 3, and what was asked for; a message that was taken and not answered is one of them.
    assert 285 <= taken <= 300 + 3, taken
    assert words == {451}, words
    assert "(" in used(nodes[0]) and "of 300/h used" in used(nodes[0]), used(nodes[0])
    for node in nodes:
        node.stop()
    redis.stop()


def without_redis_each_has_its_share():
    """It stands still, and is emptied: no message waits for it, each node gives out its share, once, and all is told and holds when it is there again."""
    away_from(86_400)
    redis, sink = Redis("--requirepass", "sesame"), Counting()
    nodes = nodes_with(redis, sink, 2, '[[tenant]]\nname = "shop"\nquota = ["400/d"]\n' + RULE, 0.25)
    settled(redis)
    until(lambda: metric(nodes[0], "relevo_cluster_nodes ") == 2, "they know of each other")
    clients = Clients(nodes, 0.05)
    until(lambda: clients.all() >= 40, "mail is taken")
    redis.pause()
    paused = clients.all()
    until(lambda: any("cannot be counted" in str(words) for _, words in clients.said), "shares are used up", 60)
    time.sleep(2)
    alone = clients.all()
    # A quarter of what was left, each, and what was granted ahead of use: 4 blocks of 4 at most.
    assert alone <= paused + 2 * ((400 - 40) / 4 + 16) + 4, (paused, alone)
    assert all(node.told("are not counted together", seconds=20) for node in nodes), nodes[0].words
    redis.go_on()
    assert all(node.told("are counted together again", seconds=20) for node in nodes), nodes[0].words
    until(lambda: clients.all() >= alone + 20, "it goes on by what is left")
    # Emptied: what was used counts, though nobody there knows it.
    redis.ask("FLUSHALL")
    until(lambda: any("is used" in str(words) for _, words in clients.said), "it is used up", 90)
    time.sleep(LEASE + 12)
    clients.stop()
    print(f"{clients.taken}: {clients.all()} of 400, {alone - paused} of them by shares; the longest took {clients.longest:.2f} s")
    assert 390 <= clients.all() <= 400 + 100, clients.all()
    assert clients.longest < 1.5, clients.longest
    for node in nodes:
        node.stop()
    redis.stop()


def a_day_of_warm_up_is_that_of_all_nodes():
    """Two relays of one source in warm-up send its volume together, over a kill; what is more goes by the warm one."""
    away_from(86_400)
    redis, hop = Redis("--requirepass", "sesame"), Door(host="127.0.0.1")
    nodes = nodes_with(redis, hop, 2, TWO + pool("bulk", ("ip1", 1), ("ip2", 1)) + RULE_OF_POOL + plan(60, 80), 0.5)
    settled(redis)
    sent = 0
    for turn in range(6):
        for node in nodes:
            send(node, DOMAINS, 24)
            sent += 24
        time.sleep(0.5)
        if turn == 2:
            until(lambda: len(hop.taken) >= sent - 40, "mail is sent")
            nodes[1].kill()
            nodes[1].start()
    until(lambda: len(hop.taken) >= sent, "all is sent", 60)
    by = hop.by()
    print(by)
    # Blocks of 6: a kill wastes two at the most. What it cut may come twice.
    assert 40 <= by[COLD] <= 60, by
    shown = [json.loads(line) for node in nodes for line in command(node, "warmup", "show", "--json").splitlines()]
    assert all(one["volume"] == 60 and one["used_by_all"] >= one["used"] for one in shown), shown
    assert max(one["used_by_all"] for one in shown) >= 48, shown
    for node in nodes:
        node.stop()
    redis.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
