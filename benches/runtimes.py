#!/usr/bin/env python3
"""What the two runtimes cost: the same relay on glommio and on epoll.

  benches/runtimes.py [MESSAGES] [ROUNDS] [CONNECTIONS]     defaults: 30000 5 50

Two relays of two shards, one on each runtime, used in turn: messages of 10 KiB over kept connections with a sink behind, the time is
that until the last is delivered; one client that says NOOP and waits for the answer; ten seconds of nothing. Ratios count, not
absolute numbers. The NOOPs go to relays of one shard from a client on another core. BENCH_DIR says where the spools lie (a real disk; default /var/tmp), SPIN is `tuning.spin` (default 0us).
"""
import os
import socket
import statistics
import sys
import time

import node

MESSAGES, ROUNDS, CONNECTIONS = (int(word) for word in (sys.argv[1:] + ["30000", "5", "50"][len(sys.argv) - 1 :])[:3])
RUNTIMES = ("glommio", "epoll")
NOOPS = 5000


def mail(relay):
    return relay.relayed(MESSAGES, CONNECTIONS)


def latency(relay):
    """Median and 99th percentile of one NOOP, in us."""
    with socket.create_connection(("127.0.0.1", relay.port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.recv(1000)
        times = []
        for _ in range(NOOPS):
            begun = time.perf_counter_ns()
            client.sendall(b"NOOP\r\n")
            client.recv(1000)
            times.append((time.perf_counter_ns() - begun) / 1000)
        client.sendall(b"QUIT\r\n")
    times.sort()
    return times[NOOPS // 2], times[NOOPS * 99 // 100]


def compare(what, measure, relays):
    """Measures one after the other, as often as there are rounds; prints the medians and the median of the ratios."""
    rows = []
    for number in range(ROUNDS):
        order = RUNTIMES if number % 2 == 0 else RUNTIMES[::-1]
        found = {name: measure(relays[name]) for name in order}
        rows.append([found[name] for name in RUNTIMES])
    for place, words in enumerate(what):
        glommio, epoll = (statistics.median(row[column][place] for row in rows) for column in (0, 1))
        ratios = sorted(row[0][place] / row[1][place] for row in rows)
        middle, least, most = statistics.median(ratios), ratios[0], ratios[-1]
        print(f"{words}: glommio {glommio:.0f}, epoll {epoll:.0f}; glommio/epoll {middle:.2f} ({least:.2f} to {most:.2f})", flush=True)


with node.home("runtimes") as directory:
    spin, sink = os.environ.get("SPIN", "0us"), node.sink()
    tuning = '[tuning]\nruntime = "{}"\nspin = "{}"\n'
    relays = {name: node.Relay(f"{directory}/{name}", sink, more=tuning.format(name, spin)) for name in RUNTIMES}
    for relay in relays.values():
        mail(relay)
    compare(("messages a second", "us of CPU a message"), mail, relays)
    single = {name: node.Relay(f"{directory}/{name}-1", sink, shards=1, more=tuning.format(name, spin)) for name in RUNTIMES}
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    compare(("us for a NOOP, median", "us for a NOOP, 99 of 100"), latency, single)
    os.sched_setaffinity(0, cores)
    time.sleep(15)
    before = {name: relay.cpu() for name, relay in relays.items()}
    time.sleep(10)
    idle = ", ".join(f"{name} {(relay.cpu() - before[name]) / 10:.1%}" for name, relay in relays.items())
    print(f"of a core while nothing happens: {idle}")
