#!/usr/bin/env python3
"""What a message costs on more shards, against one: CPU, and the rate.

  benches/shards.py [MESSAGES] [ROUNDS] [SESSIONS] [SHARDS...]     defaults: 40000 3 50 1 2 4 8

Relays of so many shards each, in turn in every round: messages of 10 KiB over SESSIONS kept connections and 10 to the next hop for each
shard, to 1,000 domains, a sink behind them. With few sessions a shard commits are small, and that is what shows. CPU is that of the whole relay until the last is delivered. More shards than cores share these, so the rate says
nothing about more cores; what handing over, more commits and more loops cost shows in the CPU. Ratios count, not
absolute numbers. BENCH_DIR says where the spools lie (a real disk; default /var/tmp).
"""
import os
import statistics
import sys

import node

GOAL = 1.25
MESSAGES, ROUNDS, SESSIONS = (int(word) for word in (sys.argv[1:4] + ["40000", "3", "50"][len(sys.argv[1:4]) :]))
SHARDS = [int(word) for word in sys.argv[4:]] or [1, 2, 4, 8]


def warm(relay, shards):
    """Until the lanes have the segments they need: to make one costs more than a thousand messages."""
    for _ in range(8):
        (before,) = relay.sums("relevo_spool_segments")
        relay.relayed(MESSAGES, SESSIONS * shards)
        if relay.sums("relevo_spool_segments") == [before]:
            return


with node.home("shards") as directory:
    to = node.sink()
    hop = "[delivery]\nconnections_per_destination = {}\n"
    relays = {shards: node.Relay(f"{directory}/{shards}", to, shards, hop.format(10 * shards)) for shards in SHARDS}
    for shards, relay in relays.items():
        warm(relay, shards)
    rows = {shards: [] for shards in SHARDS}
    for _ in range(ROUNDS):
        for shards, relay in relays.items():
            rows[shards].append(relay.relayed(MESSAGES, SESSIONS * shards))
    cpu = {shards: statistics.median(row[1] for row in values) for shards, values in rows.items()}
    rate = {shards: statistics.median(row[0] for row in values) for shards, values in rows.items()}
    first = SHARDS[0]
    print(f"{MESSAGES} messages of 10 KiB, {SESSIONS} sessions a shard, {ROUNDS} rounds, medians, {os.cpu_count()} cores; goal: CPU a message within {GOAL} of one shard")
    print(f"{'shards':>8}{'CPU us':>10}{f'/ {first} shard':>12}{'messages/s':>13}")
    for shards in SHARDS:
        ratio = cpu[shards] / cpu[first]
        print(f"{shards:>8}{cpu[shards]:>10.0f}{ratio:>12.2f}{rate[shards]:>13.0f}{'   over the goal' if ratio > GOAL else ''}")
