#!/usr/bin/env python3
"""What a signature costs (DKIM), beside mail that goes unsigned.

  benches/signed.py [MESSAGES] [ROUNDS] [CONNECTIONS]     defaults: 20000 3 50

Relays of two shards in turn, messages of 10 KiB over kept connections: unsigned, with RSA-2048, with Ed25519, with both. Beside them the library's
bare signatures (benches/signature.rs), in the same run. The goals: CPU of a message with RSA-2048 at most 1.1 of (unsigned + the bare signature), with
Ed25519 at most 40 us over unsigned. Ratios count, not absolute numbers. BENCH_DIR says where the spools lie (a real disk; default /var/tmp).
"""
import os
import statistics
import subprocess
import sys

import node

MESSAGES, ROUNDS, CONNECTIONS = (int(word) for word in (sys.argv[1:] + ["20000", "3", "50"][len(sys.argv) - 1 :])[:3])
# The load generator's author.
DOMAIN = "news.load.example"


def keys(directory, *algorithms):
    """A directory of keys; the lines that name it."""
    for number, algorithm in enumerate(algorithms):
        os.makedirs(f"{directory}/{DOMAIN}", mode=0o700, exist_ok=True)
        options = ["-algorithm", "ED25519"] if algorithm == "ed25519" else ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
        file = f"{directory}/{DOMAIN}/s{number}.pem"
        subprocess.run(["openssl", "genpkey", *options, "-out", file], check=True, stderr=subprocess.DEVNULL)
        os.chmod(file, 0o600)
    return f'[dkim]\nkeys = "{directory}"\n'


def bare():
    """Microseconds of each of the library's signatures."""
    command = ["cargo", "bench", "--quiet", "--bench", "signature"]
    lines = subprocess.run(command, cwd=node.ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return {name: float(time) for name, time in (line.split() for line in lines if line)}


with node.home("signed") as directory:
    library = bare()
    sink = node.sink()
    kinds = {"unsigned": (), "rsa": ("rsa",), "ed25519": ("ed25519",), "both": ("rsa", "ed25519")}
    relays = {
        kind: node.Relay(f"{directory}/{kind}", sink, more=keys(f"{directory}/keys-{kind}", *which) if which else "") for kind, which in kinds.items()
    }
    for relay in relays.values():
        relay.relayed(MESSAGES // 4, CONNECTIONS)
    rounds = [{kind: relay.relayed(MESSAGES, CONNECTIONS) for kind, relay in relays.items()} for _ in range(ROUNDS)]
    for kind, which in kinds.items():
        rate, cpu = (statistics.median(one[kind][place] for one in rounds) for place in (0, 1))
        line = f"{kind}: {rate:.0f}/s, {cpu:.0f} us CPU a message"
        if which:
            more = statistics.median(one[kind][1] - one["unsigned"][1] for one in rounds)
            beside = statistics.median(one[kind][1] / (one["unsigned"][1] + sum(library[name] for name in which)) for one in rounds)
            line += f"; {more:.0f} us over unsigned, {beside:.2f} of (unsigned + bare {sum(library[name] for name in which):.0f} us)"
        print(line, flush=True)
