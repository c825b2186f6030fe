#!/usr/bin/env python3
"""What queue commands cost with a large queue: how long they take, how long they keep a shard from everything else, and what mail beside
them loses.

  benches/queue_commands.py [RECIPIENTS] [DOMAINS] [SECONDS]     defaults: 1000000, a tenth of that, 8

Everything is on this machine's loopback. A sink defers all of the queue (451) for an hour; a second one takes the mail that flows beside it.
Each recipient is a message of its own. Then, one after the other: a page and a count by each filter that
the queues answer from memory; a count by each that records answer; the longest turn of a shard meanwhile, as the relay counts it; and the
rate of mail through the relay, SECONDS at a time, in turn with nothing and with commands asked without a pause beside it. The last lines say what is wanted,
and the exit code is 1 where that is not so. Ratios count, not absolute numbers. BENCH_DIR says where the spool lies (a real disk; default
/var/tmp).
"""
import json
import os
import statistics
import subprocess
import sys
import threading
import time

import node

numbers = [int(word) for word in sys.argv[1:]]
RECIPIENTS = numbers[0] if numbers else 1_000_000
DOMAINS = numbers[1] if len(numbers) > 1 else max(RECIPIENTS // 10, 1)
SECONDS = numbers[2] if len(numbers) > 2 else 8
ROUNDS = 5

# Filters that the queues answer, and what of the queue they are to mean: all, some, or none of it.
MEMORY = [
    ([], "all"),
    (["--domain", "d7.load.example"], "some"),
    (["--domain", "*.load.example"], "all"),
    (["--site", "mx.nowhere.example"], "none"),
    (["--state", "deferred"], "all"),
    (["--state", "ready"], "none"),
    (["--older", "1s"], "all"),
    (["--older", "9d"], "none"),
]
RECORDS = [
    (["--sender", "@news.load.example"], "all"),
    (["--sender", "@nowhere.example"], "none"),
    (["--recipient", "@d7.load.example"], "some"),
    (["--recipient", "nobody@d7.load.example"], "none"),
    (["--reply", "^451 "], "all"),
    (["--tenant", "shop"], "none"),
    (["--sender", "*.nowhere.example", "--state", "deferred"], "none"),
]
failed = []


def check(name, value, wanted, unit, least=False):
    good = value >= wanted if least else value <= wanted
    print(f"{name}: {value:.2f} {unit}, wanted {'at least' if least else 'at most'} {wanted} {unit}{'' if good else '  <-- NO'}", flush=True)
    if not good:
        failed.append(name)


class Queue(node.Relay):
    def command(self, *arguments):
        """Runs `relevo queue`: seconds, and what it printed."""
        begun = time.monotonic()
        done = subprocess.run(
            [node.RELEVO, "queue", *arguments, "--config", f"{self.directory}/relevo.toml"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=600
        )
        assert done.returncode == 0, (arguments, done.stderr)
        return time.monotonic() - begun, done.stdout

    def longest_turn(self):
        """Milliseconds."""
        return max(value for name, value in self.metrics().items() if name.startswith("relevo_longest_turn_seconds")) * 1000

    def flow(self):
        """Messages a second that it takes for so long, and has delivered a moment later."""
        (before,) = self.sums("relevo_recipients_delivered_total")
        command = [node.LOAD, "send", "--to", f"127.0.0.1:{self.port}", "-c", "50", "--duration", f"{SECONDS}s", "--size", "10240", "--json"]
        command += ["--domains", "a.flow.example=1,b.flow.example=1,c.flow.example=1", "--seed", str(time.monotonic_ns())]
        told = json.loads(subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout)
        taken = told["progress"]["acknowledged"]
        end = time.monotonic() + 5
        while self.sums("relevo_recipients_delivered_total")[0] - before < taken:
            assert time.monotonic() < end, "taken and not delivered"
            time.sleep(0.05)
        return taken / told["seconds"]

    def quiet(self):
        """Waits until the counter knows nothing of what was before: it tells of the last half minute or more."""
        time.sleep(70)


def fill(relay):
    command = [node.LOAD, "send", "--to", f"127.0.0.1:{relay.port}", "-c", "50", "-n", str(RECIPIENTS), "--size", "1000"]
    subprocess.run([*command, "--domains", f"{DOMAINS}:0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    end = time.monotonic() + 900
    while relay.sums("relevo_recipients_deferred_total")[0] < RECIPIENTS:
        assert time.monotonic() < end, "not deferred"
        time.sleep(0.5)


def meant(arguments, what, counted):
    right = {"all": counted == RECIPIENTS, "none": counted == 0, "some": 0 < counted < RECIPIENTS}[what]
    assert right, (arguments, what, counted)


def by_memory(relay):
    pages, counts = [], []
    for arguments, what in MEMORY:
        took, printed = relay.command("list", "--limit", "256", "--json", *arguments)
        rows = len(printed.splitlines())
        assert (rows == 0) == (what == "none") and rows <= 256, (arguments, rows)
        pages.append(took)
        took, printed = relay.command("count", "--json", *arguments)
        meant(arguments, what, json.loads(printed)["recipients"])
        counts.append(took)
        print(f"{' '.join(arguments) or '(all)'}: a page in {pages[-1] * 1000:.0f} ms, a count in {counts[-1] * 1000:.0f} ms", flush=True)
    return max(pages), max(counts)


def by_records(relay):
    longest = 0
    for arguments, what in RECORDS:
        took, printed = relay.command("count", "--json", *arguments)
        counted = json.loads(printed)
        meant(arguments, what, counted["recipients"])
        assert counted["scanned"]["unreadable"] == 0, counted
        longest = max(longest, took)
        print(f"{' '.join(arguments)}: {took:.1f} s for {counted['scanned']['messages']} messages", flush=True)
    return longest


def beside(relay, commands):
    """The rate of mail while these commands are asked, one after the other, against the rate without, in turn."""

    def ask(stop):
        while not stop.is_set():
            for arguments in commands:
                relay.command(*arguments)
                if stop.is_set():
                    return

    ratios = []
    for _ in range(ROUNDS):
        alone = relay.flow()
        stop = threading.Event()
        asking = threading.Thread(target=ask, args=(stop,))
        asking.start()
        ratios.append(relay.flow() / alone)
        stop.set()
        asking.join()
    print(f"mail beside {' / '.join(' '.join(arguments) for arguments in commands)}: {', '.join(f'{ratio:.3f}' for ratio in ratios)}", flush=True)
    return statistics.median(ratios)


with node.home("queue") as directory:
    defers, takes = node.sink("--behaviour", "rcpt=451"), node.sink()
    routes = f'[[route]]\ndomain = "*.load.example"\nto = "smtp://127.0.0.1:{defers}"\n[retry]\nfirst = "2h"\nmax = "3h"\n'
    relay = Queue(f"{directory}/relay", takes, more=routes)
    fill(relay)
    print(f"{RECIPIENTS} recipients at {DOMAINS} domains wait", flush=True)
    relay.quiet()
    # What the machine itself does to a turn, with nothing asked.
    idle = relay.longest_turn()
    page, count = by_memory(relay)
    turn = relay.longest_turn()
    relay.quiet()
    scan = by_records(relay)
    turn = max(turn, relay.longest_turn())
    relay.flow()
    memory = min(beside(relay, [command]) for command in (["list", "--limit", "256", "--json"], ["count", "--json"]))
    records = beside(relay, [["count", "--json", "--sender", "@news.load.example"]])
    print(f"longest turn with nothing asked: {idle:.2f} ms")
    check("longest turn of a shard under commands", turn, 1.0, "ms")
    check("longest page", page, 1.0, "s")
    check("longest count from memory", count, 1.0, "s")
    check("longest count from records", scan, 30.0, "s")
    check("mail beside pages and counts", memory, 0.97, "of the rate alone", least=True)
    check("mail beside a search", records, 0.97, "of the rate alone", least=True)
sys.exit(1 if failed else 0)
