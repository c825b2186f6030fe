#!/usr/bin/env python3
"""What syncs cost: the same relay over a disk and over memory, where a sync is free. A bound on what any way to avoid them could save.

  benches/unsynced.py [MESSAGES] [ROUNDS] [CONNECTIONS]     defaults: 60000 5 50

Two relays of two shards, messages of 10 KiB over kept connections, a sink behind; in turn, one round of each. BENCH_DIR says where the disk
is (default /var/tmp), MEMORY_DIR where the memory is (default /dev/shm). Ratios count, not absolute numbers.
"""
import os
import shutil
import statistics
import sys
import tempfile

import node

MESSAGES, ROUNDS, CONNECTIONS = (int(word) for word in (sys.argv[1:] + ["60000", "5", "50"][len(sys.argv) - 1 :])[:3])


with node.home("unsynced") as directory:
    memory = tempfile.mkdtemp(prefix="relevo-unsynced-", dir=os.environ.get("MEMORY_DIR", "/dev/shm"))
    try:
        port = node.sink()
        relays = [node.Relay(f"{place}/relay", port) for place in (directory, memory)]
        for relay in relays:
            relay.relayed(MESSAGES, CONNECTIONS)
        rows = []
        for _ in range(ROUNDS):
            disk, free = (relay.relayed(MESSAGES, CONNECTIONS) for relay in relays)
            rows.append((free[0] / disk[0], free[1] / disk[1]))
            print(f"disk {disk[0]:.0f}/s, {disk[1]:.0f} us CPU a message; memory {free[0]:.0f}/s, {free[1]:.0f} us: {rows[-1][0]:.2f}", flush=True)
        rates, cpus = zip(*rows)
        print(f"memory against disk, median: rate {statistics.median(rates):.2f} ({min(rates):.2f} to {max(rates):.2f}), CPU {statistics.median(cpus):.2f}")
    finally:
        shutil.rmtree(memory)
