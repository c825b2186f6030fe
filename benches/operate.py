#!/usr/bin/env python3
"""What mail loses to those who watch: the rate of the relay, and how long a client waits for its 250, with everything that an operator opens
beside it against the same with nothing.

  benches/operate.py [RECIPIENTS] [DOMAINS] [SECONDS]     defaults: 1000000, a tenth of that, 8

Everything is on this machine's loopback. A sink defers all of the queue (451) for hours; a second one takes the mail that flows beside it.
Watched means, all at once: ten readers of /events, five of which want every line; one scrape of /metrics a second; `relevo top`'s questions
(overview, sites) once a second; and a search of the queue by what only records tell, one after the other without a pause. SECONDS at a time, in
turn: nothing, all of that. The last lines say what is wanted, and the exit code is 1 where that is not so. Ratios count, not absolute numbers.
BENCH_DIR says where the spool lies (a real disk; default /var/tmp). RELEVO_BINARIES: a directory with relevo and relevo-load that are built
already.
"""
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request

import node

numbers = [int(word) for word in sys.argv[1:]]
RECIPIENTS = numbers[0] if numbers else 1_000_000
DOMAINS = numbers[1] if len(numbers) > 1 else max(RECIPIENTS // 10, 1)
SECONDS = numbers[2] if len(numbers) > 2 else 8
ROUNDS = 5
READERS = 10
failed = []



def check(name, value, wanted, unit, least=False):
    good = value >= wanted if least else value <= wanted
    print(f"{name}: {value:.3f} {unit}, wanted {'at least' if least else 'at most'} {wanted} {unit}{'' if good else '  <-- NO'}", flush=True)
    if not good:
        failed.append(name)


class Local(http.client.HTTPConnection):
    """HTTP over the control socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


class Watched(node.Relay):
    def socket_path(self):
        return f"{self.directory}/spool/control.sock"

    def ask(self, target):
        connection = Local(self.socket_path())
        connection.request("GET", target)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, (target, answer.status, body)
        return json.loads(body)

    def flow(self):
        """Messages a second that it takes for so long and delivers, and the p99 of accepting one, milliseconds."""
        (before,) = self.sums("relevo_recipients_delivered_total")
        command = [node.LOAD, "send", "--to", f"127.0.0.1:{self.port}", "-c", "50", "--duration", f"{SECONDS}s", "--size", "10240", "--json"]
        command += ["--domains", "a.flow.example=1,b.flow.example=1,c.flow.example=1", "--seed", str(time.monotonic_ns())]
        told = json.loads(subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout)
        taken = told["progress"]["acknowledged"]
        end = time.monotonic() + 30
        while self.sums("relevo_recipients_delivered_total")[0] - before < taken:
            assert time.monotonic() < end, "taken and not delivered"
            time.sleep(0.05)
        return taken / told["seconds"], told["latency_us"]["p99"] / 1000


def fill(relay):
    command = [node.LOAD, "send", "--to", f"127.0.0.1:{relay.port}", "-c", "50", "-n", str(RECIPIENTS), "--size", "1000"]
    subprocess.run([*command, "--domains", f"{DOMAINS}:0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    end = time.monotonic() + 900
    while relay.sums("relevo_recipients_deferred_total")[0] < RECIPIENTS:
        assert time.monotonic() < end, "not deferred"
        time.sleep(0.5)


class Watchers:
    """All that an operator opens, until it is closed."""

    def __init__(self, relay):
        self.relay, self.over, self.bytes, self.asked, self.lost = relay, threading.Event(), 0, 0, 0
        self.wrong, self.threads, self.sockets = [], [], []
        for number in range(READERS):
            self.begin(self.read, "/events?events=all" if number % 2 else "/events")
        self.begin(self.each_second, lambda: urllib.request.urlopen(f"http://127.0.0.1:{relay.http}/metrics", timeout=30).read())
        self.begin(self.each_second, self.top)
        self.begin(self.search)

    def begin(self, work, *arguments):
        def guarded():
            try:
                work(*arguments)
            except Exception as error:
                if not self.over.is_set():
                    self.wrong.append(repr(error))

        thread = threading.Thread(target=guarded, daemon=True)
        thread.start()
        self.threads.append(thread)

    def read(self, target):
        plain = socket.socket(socket.AF_UNIX)
        plain.connect(self.relay.socket_path())
        self.sockets.append(plain)
        plain.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        while piece := plain.recv(1 << 20):
            self.bytes += len(piece)
            self.lost += piece.count(b"event: lost")
        assert self.over.is_set(), "a stream ended"

    def each_second(self, work):
        while not self.over.wait(1):
            work()
            self.asked += 1

    def top(self):
        self.relay.ask("/control/v1/overview")
        self.relay.ask("/control/v1/sites")

    def search(self):
        while not self.over.is_set():
            command = [node.RELEVO, "queue", "count", "--json", "--sender", "@news.load.example", "--config", f"{self.relay.directory}/relevo.toml"]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            assert done.returncode == 0, done.stderr
            self.asked += 1

    def close(self):
        self.over.set()
        for plain in self.sockets:
            plain.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        assert not self.wrong, self.wrong
        assert self.bytes and self.asked, "nobody watched"


with node.home("operate") as directory:
    defers, takes = node.sink("--behaviour", "rcpt=451"), node.sink()
    routes = f'[[route]]\ndomain = "*.load.example"\nto = "smtp://127.0.0.1:{defers}"\n[retry]\nfirst = "2h"\nmax = "3h"\n'
    relay = Watched(f"{directory}/relay", takes, more=routes)
    fill(relay)
    print(f"{RECIPIENTS} recipients at {DOMAINS} domains wait", flush=True)
    relay.flow()
    rates, waits = [], []
    for _ in range(ROUNDS):
        rate, wait = relay.flow()
        watchers = Watchers(relay)
        time.sleep(1)
        watched_rate, watched_wait = relay.flow()
        overview = relay.ask("/control/v1/overview")
        watchers.close()
        rates.append(watched_rate / rate)
        waits.append(watched_wait / wait)
        print(f"alone {rate:.0f}/s, p99 {wait:.2f} ms; watched {watched_rate:.0f}/s, p99 {watched_wait:.2f} ms; read {watchers.bytes >> 20} MiB, asked {watchers.asked}, lost {watchers.lost} times", flush=True)
    assert overview["queue"]["deferred"] == RECIPIENTS, overview["queue"]
    check("rate of mail while it is watched", statistics.median(rates), 0.97, "of the rate alone", least=True)
    check("p99 of accepting while it is watched", statistics.median(waits), 1.1, "of that alone")
sys.exit(1 if failed else 0)
