#!/usr/bin/env python3
"""How fast a large queue of real bulk mail leaves, beside one of mail for everybody.

  benches/queued.py [MESSAGES] [SHARDS] [BYTES]     defaults: 1000000 2 2000

Three next hops. Skewed mail: 45 % for one provider, 20 % for the next, the rest for a long tail of 500 domains at the third hop. Even
mail: 900 domains, a third of them at each hop. For either a relay is filled while nobody listens at the hops, stopped, and started
again with the hops open: the time is that from its first greeting to the last delivery, reading its spool included. Ratios
count, not absolute numbers. BENCH_DIR says where the spools lie (a real disk; default /var/tmp).
"""
import subprocess
import sys
import time

import node

MESSAGES, SHARDS, BYTES = (int(word) for word in (sys.argv[1:] + ["1000000", "2", "2000"][len(sys.argv) - 1 :])[:3])
SKEWED = "provider.big.example=45,mail.next.example=20," + ",".join(f"d{n}.tail.example={35 / 500}" for n in range(500))
EVEN = ",".join(f"d{n}.{('big', 'next', 'tail')[n % 3]}.example=1" for n in range(900))


def fill(relay, domains):
    command = [node.LOAD, "send", "--to", f"127.0.0.1:{relay.port}", "-c", "50", "-n", str(MESSAGES), "--size", str(BYTES)]
    command += ["--domains", domains, "--seed", "1"]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def drained(home, name, domains):
    """Messages a second until the queue is empty, and CPU a message."""
    ports = [node.free_port() for _ in range(3)]
    routes = "".join(
        f'[[route]]\ndomain = "*.{site}.example"\nto = "smtp://127.0.0.1:{port}"\n' for site, port in zip(("big", "next", "tail"), ports)
    )
    relay = node.Relay(f"{home}/{name}", ports[0], SHARDS, routes)
    fill(relay, domains)
    relay.process.terminate()
    relay.process.wait()
    sinks = [node.sink_at(port) for port in ports]
    relay.start()
    begun, cpu = time.monotonic(), relay.cpu()
    end = begun + 900
    while relay.sums("relevo_recipients_delivered_total")[0] < MESSAGES:
        assert time.monotonic() < end, f"{relay.sums('relevo_recipients_delivered_total')[0]:.0f} of {MESSAGES} delivered"
        time.sleep(0.1)
    took = time.monotonic() - begun
    each = (relay.cpu() - cpu) / MESSAGES * 1e6
    lent = relay.sums("relevo_jobs_lent_total")[0] / MESSAGES
    print(f"{name}: {MESSAGES} messages in {took:.1f} s, {MESSAGES / took:.0f}/s, {each:.0f} us CPU a message, {lent:.0%} lent", flush=True)
    for process in (relay.process, *sinks):
        process.kill()
        process.wait()
    return MESSAGES / took


with node.home("queued") as directory:
    even, skewed = drained(directory, "even", EVEN), drained(directory, "skewed", SKEWED)
    print(f"skewed against even: {skewed / even:.2f}")
