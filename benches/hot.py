#!/usr/bin/env python3
"""What it costs that all mail is for one domain.

  benches/hot.py [MESSAGES] [ROUNDS] [CONNECTIONS]     defaults: 60000 5 50

One relay, two shards, messages of 10 KiB over kept connections, a sink behind it: in turn to 1,000 domains and to one, whose queue one
shard keeps. The time is that until the last is delivered. Ratios count, not absolute numbers. BENCH_DIR says where the spool
lies (a real disk; default /var/tmp).
"""
import statistics
import sys

import node

MESSAGES, ROUNDS, CONNECTIONS = (int(word) for word in (sys.argv[1:] + ["60000", "5", "50"][len(sys.argv) - 1 :])[:3])


def rate(relay, domains):
    """Messages delivered a second, CPU a message in us, share that was lent."""
    (before,) = relay.sums("relevo_jobs_lent_total")
    cost = relay.relayed(MESSAGES, CONNECTIONS, domains=domains)
    return *cost, (relay.sums("relevo_jobs_lent_total")[0] - before) / MESSAGES


with node.home("hot") as directory:
    relay = node.Relay(f"{directory}/relay", node.sink())
    rate(relay, "1000:0")
    rows = []
    for _ in range(ROUNDS):
        spread, hot = rate(relay, "1000:0"), rate(relay, "1:0")
        rows.append((hot[0] / spread[0], hot[1] / spread[1]))
        print(f"1,000 domains {spread[0]:.0f}/s, {spread[1]:.0f} us CPU a message; one domain {hot[0]:.0f}/s, {hot[1]:.0f} us, {hot[2]:.0%} lent: {rows[-1][0]:.2f}", flush=True)
    print(f"one domain against 1,000, median: rate {statistics.median(row[0] for row in rows):.2f}, CPU {statistics.median(row[1] for row in rows):.2f}")
