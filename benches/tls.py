#!/usr/bin/env python3
"""What TLS costs, beside plain text.

  benches/tls.py [MESSAGES] [ROUNDS] [CONNECTIONS]     defaults: 30000 3 50

Two relays of two shards: one takes mail in plain text and passes it on in plain text, the other does both under TLS (STARTTLS, TLS 1.3). In
turn, messages of 10 KiB over kept connections; then a tenth of them over a new connection each, which is a handshake of each side for
a message that comes in (to the next hop connections are kept). Then a relay that takes plain text and sends under verified TLS, over
connections that end after a hundred messages each, so that TLS is resumed: CPU at most 1.25 of plain with the same hop's limit. The sender and the sink need CPU for TLS too, so the rate is theirs as
much as the relay's. Ratios count, not absolute numbers. BENCH_DIR says where the spools lie (a real disk; default /var/tmp).
"""
import os
import statistics
import subprocess
import sys

import node

MESSAGES, ROUNDS, CONNECTIONS = (int(word) for word in (sys.argv[1:] + ["30000", "3", "50"][len(sys.argv) - 1 :])[:3])


def certificate(directory):
    """A certificate of a moment; the listener's lines."""
    key, chain = f"{directory}/key.pem", f"{directory}/chain.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-keyout", key, "-out", chain, "-subj", "/CN=bench.example", "-addext", "subjectAltName=DNS:bench.example"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return f'tls_certificate = "{chain}"\ntls_key = "{key}"\n'


def compare(words, plain, protected, messages, *options, tls=("--tls", "starttls")):
    rows = []
    for _ in range(ROUNDS):
        one, other = (relay.relayed(messages, CONNECTIONS, *options, *extra) for relay, extra in ((plain, ()), (protected, tls)))
        rows.append((*one, *other, other[0] / one[0], other[1] / one[1]))
    middle = [statistics.median(column) for column in zip(*rows)]
    print(f"{words}: plain {middle[0]:.0f}/s, {middle[1]:.0f} us CPU a message; TLS {middle[2]:.0f}/s, {middle[3]:.0f} us", flush=True)
    print(f"    TLS / plain: rate {middle[4]:.2f}, CPU {middle[5]:.2f} ({min(row[5] for row in rows):.2f} to {max(row[5] for row in rows):.2f})")


if __name__ == "__main__":
    with node.home("tls") as directory:
        plain = node.Relay(f"{directory}/plain", node.sink())
        protected = node.Relay(f"{directory}/tls", node.sink("--behaviour", "tls=offered"), listener=certificate(directory))
        for relay, tls in ((plain, ()), (protected, ("--tls", "starttls"))):
            relay.relayed(MESSAGES, CONNECTIONS, *tls)
        compare("kept connections", plain, protected, MESSAGES)
        assert protected.sums("relevo_tls_sessions_total")[0] > 0, "nothing was protected"
        compare("a new connection a message", plain, protected, MESSAGES // 10, "--per-connection", "1")

        # A hundred messages a connection, as many a receiver wants it.
        few = f'[shaping]\nfiles = ["{directory}/few.toml"]\n'
        with open(f"{directory}/few.toml", "w") as file:
            file.write('["default"]\nmax_deliveries_per_connection = 100\n')
        route = '[[route]]\ndomain = "*"\nto = "smtp://127.0.0.1:{}"\n{}'
        port, verified = node.free_port(), node.free_port()
        node.sink_at(port)
        node.sink_at(verified, "--behaviour", "tls=offered", "--ca", f"{directory}/ca.pem")
        bare = node.Relay(f"{directory}/bare", None, more=few + route.format(port, ""))
        os.environ["SSL_CERT_FILE"] = f"{directory}/ca.pem"
        proven = node.Relay(f"{directory}/proven", None, more=few + route.format(verified, 'tls = "verify"\n'))
        for relay in (bare, proven):
            relay.relayed(MESSAGES, CONNECTIONS)
        compare("verified TLS to the hop alone, 100 messages a connection", bare, proven, MESSAGES, tls=())
        told = {key: value for key, value in proven.metrics().items() if "tls" in key and value}
        print(f"    {told}")
