#!/usr/bin/env python3
"""Mail over HTTP beside the same mail by SMTP: how many messages a second are on disk, and what of CPU one takes.

  benches/api.py [MESSAGES] [ROUNDS]     defaults: 40000 5

One relay of two shards, all of whose mail goes to one host, without TLS and unsigned. In turn in every round: `wrk` (apt) posts to /api/send for some seconds over 50
kept connections, one small message each; a batch of 10,000 messages, each with words of its own, is posted; and the load generator hands in messages of the same size over 50
kept connections, one a transaction, that is not pipelined. Rates count from the first to the last answer. Goals: 5,000 a second by /api/send, and a batch at 0.8 of the rate of SMTP.
BENCH_DIR says where the spool lies (a real disk; default /var/tmp). RELEVO_BINARIES: a directory with relevo and relevo-load that are built already.
"""
import http.client
import json
import re
import statistics
import subprocess
import sys
import time

import node

MESSAGES, ROUNDS = (int(word) for word in (sys.argv[1:] + ["40000", "5"][len(sys.argv) - 1 :])[:2])
SECONDS, BATCH = 5, 10_000
LETTER = {"from": {"email": "app@load.example", "name": "The app"}, "to": [{"email": "ada@d1.load.example"}], "subject": "Your order", "text": "It is on its way.\n" * 10, "category": "orders"}


def delivered(relay, before, count):
    end = time.monotonic() + 120
    while relay.sums("relevo_recipients_delivered_total")[0] - before < count:
        assert time.monotonic() < end, "not delivered"
        time.sleep(0.02)


def measured(relay, work):
    """Messages a second, and CPU a message in us, of what work() hands in: how many, and the seconds to the last answer."""
    cpu, (before,) = relay.cpu(), relay.sums("relevo_recipients_delivered_total")
    count, seconds = work()
    delivered(relay, before, count)
    return count / seconds, (relay.cpu() - cpu) / count * 1e6


with node.home("api") as directory:
    secret = subprocess.run([node.RELEVO, "token", "add", "app", "--role", "send", "--tokens", f"{directory}/tokens"], capture_output=True, text=True, check=True).stdout.split()[-1]
    port = node.free_port()
    relay = node.Relay(f"{directory}/relay", node.sink(), more=f'[api]\nhttp = "127.0.0.1:{port}"\ntokens = "{directory}/tokens"\n')
    with open(f"{directory}/post.lua", "w") as file:
        file.write(
            f"wrk.method = 'POST'\nwrk.body = [==[{json.dumps(LETTER)}]==]\nwrk.headers['Authorization'] = 'Bearer {secret}'\n"
            "wrk.headers['Content-Type'] = 'application/json'\n"
        )

    def posts():
        command = ["wrk", "-t1", "-c50", f"-d{SECONDS}s", "-s", f"{directory}/post.lua", f"http://127.0.0.1:{port}/api/send"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "Non-2xx" not in said and "Socket errors" not in said, said
        count, seconds = re.search(r"(\d+) requests in ([\d.]+)s", said).groups()
        return int(count), float(seconds)

    def batch():
        requests = [{"to": [{"email": f"r{number}@d{number % 100}.load.example"}], "subject": f"Your order {number}", "text": f"Order {number}: it is on its way.\n" * 10} for number in range(BATCH)]
        body = json.dumps({"base": {"from": LETTER["from"], "category": "orders"}, "requests": requests})
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        begun = time.monotonic()
        connection.request("POST", "/api/batch", body, {"Authorization": f"Bearer {secret}"})
        answer = connection.getresponse()
        told = json.loads(answer.read())
        seconds = time.monotonic() - begun
        assert answer.status == 200 and all(one["success"] for one in told["responses"]), told["responses"][:2]
        return BATCH, seconds

    def smtp():
        command = [node.LOAD, "send", "--to", f"127.0.0.1:{relay.port}", "-c", "50", "-n", str(MESSAGES), "--size", "700", "--domains", "100:0", "--seed", str(time.monotonic_ns())]
        begun = time.monotonic()
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        return MESSAGES, time.monotonic() - begun

    ways = {"SMTP": smtp, "/api/send": posts, "/api/batch": batch}
    rows = {name: [] for name in ways}
    for way in ways.values():
        measured(relay, way)
    for _ in range(ROUNDS):
        for name, way in ways.items():
            rows[name].append(measured(relay, way))
    for name, row in rows.items():
        rate, cpu = (statistics.median(column) for column in zip(*row))
        ratios = [one[0] / smtp[0] for one, smtp in zip(row, rows["SMTP"])]
        print(f"{name:12} {rate:7.0f}/s {cpu:6.1f} us CPU a message; of the rate of SMTP {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
