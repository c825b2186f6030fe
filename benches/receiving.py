#!/usr/bin/env python3
"""What the forms cost in which mail comes in: BDAT beside DATA, TLS beside plain text, and a handshake beside the library's own.

  benches/receiving.py [MESSAGES] [ROUNDS] [CONNECTIONS]     defaults: 30000 5 50

Relays of two shards send all they take to one sink, in plain text. In turn, messages of 10 KiB:
  by BDAT and by DATA over kept connections: CPU a message at most that of DATA;
  under TLS and in plain text over kept connections, as many a second: CPU at most 1.2 of plain;
  a tenth of them over a new connection each, under TLS (1.3, STARTTLS and from the first byte) and in plain text, as many a second: CPU at most 1.1 of plain and
  the server's part of a handshake of rustls alone, in memory, with a key of the same kind, as `relevo-tune probe` measures it in the same round.
The sender needs CPU for TLS too. As fast as they can, it would send less under TLS, and a relay that has less to do takes more CPU for each message: it
sleeps and wakes in between. So the rate is given: about half of what a machine of two cores takes. Ratios count, not absolute numbers. BENCH_DIR says where the spools lie (a real disk; default /var/tmp).
"""
import json
import statistics
import subprocess
import sys

import node
from tls import certificate

MESSAGES, ROUNDS, CONNECTIONS = (int(word) for word in (sys.argv[1:] + ["30000", "5", "50"][len(sys.argv) - 1 :])[:3])
# Nobody logs in here.
LOCAL = 'auth = []\nrelay_from = ["127.0.0.0/8"]\n'
KEPT_RATE, NEW_RATE = ("--rate", "2000"), ("--rate", "500")
PER_MESSAGE = ("--per-connection", "1")


def bare_handshake(directory):
    """CPU of a server in a handshake of the library alone, in us."""
    command = [f"{node.ROOT}/target/release/relevo-tune", "probe", "--json", "--duration", "6s", "--data-dir", directory]
    told = subprocess.run(command, check=True, capture_output=True).stdout
    keys = {key["name"]: key for key in json.loads(told)["keys"]}
    return 1e6 / keys["ECDSA P-256"]["server"]


def spread(ratios):
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def compare(words, one, other, goal):
    """Both in turn, each a function that gives rate and CPU a message."""
    rows = []
    for turn in range(ROUNDS):
        # Who comes first gains by it.
        first, second = (one(), other()) if turn % 2 == 0 else reversed((other(), one()))
        rows.append((first, second))
    cpu = [second[1] / first[1] for first, second in rows]
    rate = [second[0] / first[0] for first, second in rows]
    middle = [statistics.median(row[which][1] for row in rows) for which in (0, 1)]
    print(f"{words}: CPU {spread(cpu)} ({middle[0]:.0f} and {middle[1]:.0f} us a message), rate {spread(rate)}; goal: CPU at most {goal}", flush=True)


def handshakes(words, plain, protected, tls):
    rows = []
    for _ in range(ROUNDS):
        usual = plain.relayed(MESSAGES // 10, CONNECTIONS, *NEW_RATE, *PER_MESSAGE)[1]
        bare = bare_handshake(plain.directory)
        rows.append((usual, bare, protected.relayed(MESSAGES // 10, CONNECTIONS, *NEW_RATE, *PER_MESSAGE, *tls)[1]))
    ratios = [secured / (usual + bare) for usual, bare, secured in rows]
    usual, bare, secured = (statistics.median(column) for column in zip(*rows))
    print(f"{words}: CPU {spread(ratios)} of plain and a bare handshake ({secured:.0f}, {usual:.0f} and {bare:.0f} us); goal: at most 1.1", flush=True)


if __name__ == "__main__":
    with node.home("receiving") as directory:
        keys, behind = certificate(directory), node.sink()
        plain = node.Relay(f"{directory}/plain", behind)
        starttls = node.Relay(f"{directory}/starttls", behind, listener=keys)
        implicit = node.Relay(f"{directory}/implicit", behind, implicit=True, listener=f'kind = "submissions"\n{keys}{LOCAL}')
        for relay, tls in ((plain, "off"), (starttls, "starttls"), (implicit, "implicit")):
            relay.relayed(MESSAGES // 3, CONNECTIONS, "--tls", tls)
        compare("BDAT / DATA", lambda: plain.relayed(MESSAGES, CONNECTIONS), lambda: plain.relayed(MESSAGES, CONNECTIONS, "--bdat"), "1.0")
        secured = ("--tls", "starttls")
        kept = lambda relay, *more: relay.relayed(MESSAGES // 3, CONNECTIONS, *KEPT_RATE, *more)
        compare("kept TLS / plain", lambda: kept(plain), lambda: kept(starttls, *secured), "1.2")
        handshakes("STARTTLS and a message", plain, starttls, secured)
        handshakes("TLS from the first byte and a message", plain, implicit, ("--tls", "implicit"))
