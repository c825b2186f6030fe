#!/usr/bin/env python3
"""What a backlog weighs and costs: memory a recipient, accepting beside it, and starting with it.

  benches/backlog.py [RECIPIENTS] [DOMAINS] [RECIPIENTS_A_MESSAGE]     defaults: 1000000 100000 1

Everything is on this machine's loopback. A sink refuses all mail for now (451), so the relay (2 shards) defers it for an hour. Then:
the memory of the process less that of an empty one; the rate at which mail is accepted, in turn with an empty relay of the
same kind in the same run; SIGKILL, and the time to the next greeting. Ratios count, not absolute numbers. BENCH_DIR
says where the spools lie (a real disk; default /var/tmp).
"""
import json
import signal
import statistics
import subprocess
import sys
import time

import node

RECIPIENTS, DOMAINS, EACH = (int(word) for word in (sys.argv[1:] + ["1000000", "100000", "1"][len(sys.argv) - 1 :])[:3])


def send(relay, count, each=1, connections=50):
    """Messages a second."""
    begun = time.monotonic()
    command = [node.LOAD, "send", "--to", f"127.0.0.1:{relay.port}", "-c", str(connections), "-n", str(count), "--size", "1000"]
    command += ["--recipients", str(each), "--domains", f"{DOMAINS}:0", "--seed", str(time.monotonic_ns()), "--json"]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return count / (time.monotonic() - begun)


def wait_deferred(relay, wanted):
    end = time.monotonic() + 600
    while True:
        queued, deferred = relay.sums("relevo_queued_recipients", "relevo_recipients_deferred_total")
        if deferred >= wanted:
            return queued
        assert time.monotonic() < end, f"{deferred} of {wanted} deferred"
        time.sleep(0.5)


def main(home):
    sink_port = node.sink("--behaviour", "rcpt=451")
    retry = '[retry]\nfirst = "1h"\nmax = "2h"\n'
    empty, full = (node.Relay(f"{home}/{name}", sink_port, more=retry) for name in ("empty", "full"))
    before = full.memory()
    begun = time.monotonic()
    send(full, RECIPIENTS // EACH, EACH)
    taken = time.monotonic() - begun
    wait_deferred(full, RECIPIENTS)
    settled = time.monotonic() - begun
    time.sleep(5)
    own, files = full.memory()
    print(f"{RECIPIENTS} recipients at {DOMAINS} domains, {EACH} a message: accepted in {taken:.1f} s, all deferred after {settled:.1f} s")
    print(f"memory a recipient above the empty process: {(own - before[0]) / RECIPIENTS:.0f} bytes; pages of the spool beside that: {files / RECIPIENTS:.0f}")
    # What came in lately is still mapped.
    time.sleep(100)
    own, files = full.memory()
    print(f"100 s later: {(own - before[0]) / RECIPIENTS:.0f} bytes, and {files / RECIPIENTS:.0f}")
    cpu = full.cpu()
    time.sleep(5)
    print(f"CPU at rest with the backlog: {(full.cpu() - cpu) / 5 * 100:.2f} % of a core")
    ratios = []
    for _ in range(5):
        rates = [send(relay, 30_000) for relay in (empty, full)]
        ratios.append(rates[1] / rates[0])
    print(f"accepting beside the backlog against an empty relay: {statistics.median(ratios):.2f} ({', '.join(f'{ratio:.2f}' for ratio in ratios)})")
    wait_deferred(full, RECIPIENTS + 150_000)
    for _ in range(2):
        full.process.send_signal(signal.SIGKILL)
        full.process.wait()
        ready = full.start()
        count = RECIPIENTS + 150_000
        print(f"start after SIGKILL: {ready:.2f} s to the first greeting, {count / ready:.0f} recipients/s")
    begun = time.monotonic()
    end = begun + 120
    while full.sums("relevo_queued_recipients")[0] < count and time.monotonic() < end:
        time.sleep(0.1)
    print(f"all of it queued {time.monotonic() - begun:.1f} s after that")
    time.sleep(3)
    own, files = full.memory()
    print(f"memory a recipient after the start: {(own - before[0]) / count:.0f} bytes; pages of the spool: {files / count:.0f}; queued: {full.sums('relevo_queued_recipients')[0]:.0f}")


with node.home("backlog") as directory:
    main(directory)
