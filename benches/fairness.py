#!/usr/bin/env python3
"""What the flood of one tenant costs another at the same provider.

  benches/fairness.py [MESSAGES] [SECONDS] [SHARDS]     defaults: 1000000 20 2

A hop answers each group of commands after 10 ms. It takes the mail of one tenant and puts off (451) that of the other, of which
MESSAGES for 1,000 domains wait. The first tenant sends 20 messages a second, for domains of all shards; each is timed from the 250 of
its client to the end of its body at the hop. That is measured three times: before the flood, while the flood waits for its next attempt, and
while all of it is due (`relevo queue retry`), so that each connection has more than it gets to. The last line says what is wanted, and the exit
code is 1 where that is not so. Ratios count, not absolute numbers. BENCH_DIR says where the spool lies (a real disk; default /var/tmp).
"""
import asyncio
import multiprocessing
import smtplib
import statistics
import subprocess
import sys
import time

import node

MESSAGES, SECONDS, SHARDS = (int(word) for word in (sys.argv[1:] + ["1000000", "20", "2"][len(sys.argv) - 1 :])[:3])
RATE, DOMAINS, ANSWER = 20, 50, 0.01
MORE = """
[[tenant]]
name = "calm"
[[tenant]]
name = "flood"
[[rule]]
match = { recipient = "*.calm.example" }
set = { tenant = "calm" }
[[rule]]
match = { recipient = "*.load.example" }
set = { tenant = "flood" }
[retry]
first = "1h"
max = "2h"
"""


class Hop(asyncio.Protocol):
    """One connection: its groups of commands are answered after `ANSWER` each, and the numbers of calm messages noted with their times."""

    def __init__(self, came):
        self.came, self.input, self.body, self.taken = came, b"", False, False

    def connection_made(self, transport):
        self.transport = transport
        self.later(b"220 hop.example\r\n")

    def later(self, answers):
        asyncio.get_running_loop().call_later(ANSWER, self.transport.write, answers)

    def data_received(self, data):
        self.input += data
        answers = b""
        while self.input:
            if self.body:
                end = self.input.find(b"\r\n.\r\n")
                if end < 0:
                    break
                self.came.append((int(self.input[:end].split(b"Subject: ")[1].split()[0]), time.monotonic()))
                self.input, self.body, answers = self.input[end + 5 :], False, answers + b"250 2.0.0 taken\r\n"
                continue
            line, found, rest = self.input.partition(b"\r\n")
            if not found:
                break
            self.input = rest
            answers += self.answer(line)
            if line[:4].upper() == b"QUIT":
                asyncio.get_running_loop().call_later(ANSWER, self.transport.close)
        if answers:
            self.later(answers)

    def answer(self, line):
        verb = line[:4].upper()
        if verb == b"EHLO":
            return b"250-hop.example\r\n250 PIPELINING\r\n"
        if verb == b"MAIL":
            self.taken = False
        if verb == b"RCPT":
            self.taken = b"calm.example" in line
            return b"250 2.1.5 ok\r\n" if self.taken else b"451 4.2.0 mailbox is busy\r\n"
        if verb == b"DATA":
            self.body = self.taken
            return b"354 go on\r\n" if self.taken else b"554 5.5.1 no recipients\r\n"
        return b"221 2.0.0 bye\r\n" if verb == b"QUIT" else b"250 2.0.0 ok\r\n"


def hop(port, pipe):
    """The hop in a process of its own: tells what came since the last time whenever it is asked."""
    came = []

    async def serve():
        await asyncio.get_running_loop().create_server(lambda: Hop(came), "127.0.0.1", port, backlog=1000)
        asyncio.get_running_loop().add_reader(pipe.fileno(), lambda: (pipe.recv(), pipe.send(came[:]), came.clear()))
        await asyncio.Event().wait()

    asyncio.run(serve())


def calm(relay, pipe, first):
    """Milliseconds of each calm message, sorted."""
    client, sent = smtplib.SMTP("127.0.0.1", relay.port, timeout=30), {}
    begun = time.monotonic()
    for number in range(RATE * SECONDS):
        time.sleep(max(0, begun + number / RATE - time.monotonic()))
        to = f"u@d{number % DOMAINS}.calm.example"
        client.sendmail("a@news.example", [to], f"Subject: {first + number}\r\n\r\nA line.\r\n")
        sent[first + number] = time.monotonic()
    client.quit()
    came, end = {}, time.monotonic() + 60
    while len(came) < len(sent):
        assert time.monotonic() < end, f"{len(came)} of {len(sent)} came"
        pipe.send(None)
        came.update(pipe.recv())
        time.sleep(0.2)
    return sorted(max(0, (came[number] - at) * 1000) for number, at in sent.items())


def told(name, times, relay):
    p50, p99 = statistics.median(times), times[int(len(times) * 0.99)]
    [connections] = relay.sums("relevo_connections_outbound")
    print(f"{name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, {connections:.0f} connections", flush=True)
    return p50, p99


with node.home("fairness") as directory:
    ours, theirs = multiprocessing.Pipe()
    port = node.free_port()
    process = multiprocessing.get_context("fork").Process(target=hop, args=(port, theirs), daemon=True)
    process.start()
    relay = node.Relay(f"{directory}/relay", port, SHARDS, MORE)
    calm(relay, ours, 10_000_000)
    alone = told("alone", calm(relay, ours, 0), relay)
    command = [node.LOAD, "send", "--to", f"127.0.0.1:{relay.port}", "-c", "50", "-n", str(MESSAGES), "--size", "1000"]
    subprocess.run([*command, "--domains", "1000:0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    deadline = time.monotonic() + 1800
    while relay.sums("relevo_recipients_deferred_total")[0] < MESSAGES:
        assert time.monotonic() < deadline, "the flood was not put off in time"
        time.sleep(1)
    waiting = told(f"{MESSAGES} of another wait", calm(relay, ours, 1_000_000), relay)
    config = f"{directory}/relay/relevo.toml"
    subprocess.run([node.RELEVO, "queue", "retry", "--tenant", "flood", "--config", config], stdout=subprocess.DEVNULL, check=True)
    before = relay.sums("relevo_recipients_deferred_total")[0]
    begun = time.monotonic()
    due = told("all of them due", calm(relay, ours, 2_000_000), relay)
    more = relay.sums("relevo_recipients_deferred_total")[0] - before
    print(f"{more / (time.monotonic() - begun):.0f} attempts a second for the other meanwhile, of {MESSAGES}")
    ratios = [state[1] / alone[1] for state in (waiting, due)]
    print(f"p99 of the calm tenant against alone: {ratios[0]:.2f} and {ratios[1]:.2f} (wanted: under 1.2)")
    process.kill()
    sys.exit(max(ratios) >= 1.2)
