#!/usr/bin/env python3
"""What sessions that do nothing hold: memory of the relay for each, in plain text and under TLS.

  benches/idle.py [PLAIN] [TLS]     defaults: 50000 10000

A relay of two shards. So many sessions say EHLO, or EHLO, STARTTLS and EHLO again, and are silent; what the process has resident of its own by then,
less what it had before, is theirs. It needs the right to raise the limit of open files. Goals: below 2560 bytes each in plain text, below 20480 under TLS.
BENCH_DIR says where the spool lies (default /var/tmp).
"""
import resource
import socket
import ssl
import sys
import time

import node
from tls import certificate

PLAIN, PROTECTED = (int(word) for word in (sys.argv[1:] + ["50000", "10000"][len(sys.argv) - 1 :])[:2])
# Ports of one address are not enough for all.
EACH = 20000


def answer(session):
    """Reads a reply to its last line."""
    got = b""
    while not (got.endswith(b"\r\n") and got.rsplit(b"\r\n", 2)[-2][3:4] == b" "):
        part = session.recv(4096)
        assert part, got
        got += part
    return got


def begin(port, number, context):
    """A session that is silent from now on."""
    session = socket.create_connection(("127.0.0.1", port), 60, (f"127.0.0.{2 + number // EACH}", 0))
    answer(session)
    session.sendall(b"EHLO idle.example\r\n")
    said = answer(session)
    if context:
        assert b"STARTTLS" in said, said
        session.sendall(b"STARTTLS\r\n")
        assert answer(session).startswith(b"220")
        session = context.wrap_socket(session, server_hostname="bench.example")
        session.sendall(b"EHLO idle.example\r\n")
        answer(session)
    return session


def weigh(relay, words, count, goal, context=None):
    # The first sessions make what all share.
    first = [begin(relay.port, 0, context) for _ in range(200)]
    time.sleep(1)
    before, begun = relay.memory()[0], time.monotonic()
    sessions = [begin(relay.port, number, context) for number in range(count)]
    took = time.monotonic() - begun
    time.sleep(2)
    each = (relay.memory()[0] - before) / count
    print(f"{words}: {count} sessions, begun in {took:.0f} s: {each:.0f} bytes each; goal below {goal}", flush=True)
    for session in first + sessions:
        session.close()
    time.sleep(2)
    return each < goal


if __name__ == "__main__":
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (PLAIN + 10000,) * 2)
    except (ValueError, OSError):
        # As many as may be.
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        PLAIN, PROTECTED = min(PLAIN, most * 6 // 10), min(PROTECTED, most * 6 // 10)
        print(f"only {most} files may be open")
    with node.home("idle") as directory:
        bound = f"connections_max = {PLAIN + 1000}\n"
        plain = node.Relay(f"{directory}/plain", 1, listener=bound)
        good = weigh(plain, "plain text", PLAIN, 2560)
        protected = node.Relay(f"{directory}/tls", 1, listener=bound + certificate(directory))
        context = ssl.create_default_context(cafile=f"{directory}/chain.pem")
        good &= weigh(protected, "TLS", PROTECTED, 20480, context)
    sys.exit(not good)
