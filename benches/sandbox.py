#!/usr/bin/env python3
"""How much mail a sandbox takes, and how long searches in it take.

  benches/sandbox.py [MESSAGES]     default: 100000

A relay of two shards whose route captures everything gets MESSAGES of 2 KiB over 50 connections; from the first to the last that is in `sandbox.db`. Then
each search is asked ten times over HTTP, a page of 50 each. The last lines say what is wanted, and the exit code is 1 where that is not so. BENCH_DIR says where
the file lies (a real disk; default /var/tmp). RELEVO_BINARIES: a directory with relevo and relevo-load that are built already.
"""
import json
import statistics
import subprocess
import sys
import time
import urllib.parse
import urllib.request

import node

MESSAGES = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
RATE, SEARCH = 3_000, 0.05
SEARCHES = ["to:d7.load.example", "subject:nothing-of-this", "from:load.example", "to:d7.load.example is:unread", "-to:d7.load.example", "larger:1KB", "x"]


def main():
    with node.home("sandbox") as directory:
        more = f'[[route]]\ndomain = "*"\nto = "capture"\n[sandbox]\nkeep = {MESSAGES}\nsize_max = "8GiB"\n'
        relay = node.Relay(f"{directory}/relay", None, more=more)

        def ask(path):
            with urllib.request.urlopen(f"http://127.0.0.1:{relay.http}{path}", timeout=60) as answer:
                return json.load(answer)

        command = [node.LOAD, "send", "--to", f"127.0.0.1:{relay.port}", "-c", "50", "-n", str(MESSAGES), "--size", "2000", "--domains", "100:0"]
        begun, before = time.monotonic(), relay.cpu()
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        taken = time.monotonic() - begun
        while (kept := ask("/api/v1/info")["Messages"]) < MESSAGES:
            assert time.monotonic() < begun + 600, kept
            time.sleep(0.1)
        seconds = time.monotonic() - begun
        rate = MESSAGES / seconds
        print(f"{MESSAGES / taken:.0f}/s taken, {rate:.0f}/s captured, {(relay.cpu() - before) / MESSAGES * 1e6:.0f} us CPU a message, wanted at least {RATE}/s{'' if rate >= RATE else '  <-- NO'}", flush=True)
        slowest = 0
        for search in SEARCHES:
            path, times = f"/api/v1/search?{urllib.parse.urlencode({'query': search})}", []
            for _ in range(10):
                begun = time.monotonic()
                told = ask(path)
                times.append(time.monotonic() - begun)
            median = statistics.median(times)
            slowest = max(slowest, median)
            print(f"{search}: {median * 1000:.1f} ms ({min(times) * 1000:.1f} to {max(times) * 1000:.1f}), {told['messages_count']} found", flush=True)
        print(f"the slowest: {slowest * 1000:.0f} ms, wanted at most {SEARCH * 1000:.0f} ms{'' if slowest <= SEARCH else '  <-- NO'}")
        return 0 if rate >= RATE and slowest <= SEARCH else 1


if __name__ == "__main__":
    sys.exit(main())
