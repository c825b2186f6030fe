#!/usr/bin/env python3
"""What a backlog weighs and costs: memory a recipient, accepting beside it, and starting with it.

  benches/backlog.py [RECIPIENTS] [DOMAINS] [RECIPIENTS_A_MESSAGE]     defaults: 1000000 100000 1

Everything is on this machine's loopback. A sink refuses all mail for now (451), so the relay (2 shards) defers it for an hour. Then:
the memory of the process less that of an empty one; the rate at which mail is accepted, in turn with an empty relay of the
same kind in the same run; SIGKILL, and the time to the next greeting. Ratios count, not absolute numbers. BACKLOG_DIR
says where the spools lie (a real disk; default /var/tmp).
"""
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

RECIPIENTS, DOMAINS, EACH = (int(word) for word in (sys.argv[1:] + ["1000000", "100000", "1"][len(sys.argv) - 1 :])[:3])
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOAD = f"{ROOT}/target/release/relevo-load"
started = []
home = None


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Relay:
    def __init__(self, directory, sink):
        self.directory, self.port, self.http = directory, free_port(), free_port()
        os.makedirs(directory)
        with open(f"{directory}/relevo.toml", "w") as file:
            file.write(
                f'[node]\nhostname = "bench.example"\ndata_dir = "{directory}/spool"\nshards = 2\n'
                f'[[listener]]\naddress = "127.0.0.1:{self.port}"\n'
                f'[[route]]\ndomain = "*"\nto = "smtp://127.0.0.1:{sink}"\n'
                f'[log]\npath = "{directory}/accounting.jsonl"\n[control]\nhttp = "127.0.0.1:{self.http}"\n'
                '[retry]\nfirst = "1h"\nmax = "2h"\n'
            )
        self.start()

    def start(self):
        """Starts it; returns the seconds to its first greeting."""
        begun = time.monotonic()
        self.process = subprocess.Popen([f"{ROOT}/target/release/relevo", "run", "--config", f"{self.directory}/relevo.toml"])
        started.append(self.process)
        while True:
            assert self.process.poll() is None, "the relay ended"
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                    probe.settimeout(60)
                    if probe.recv(100).startswith(b"220"):
                        return time.monotonic() - begun
            except OSError:
                time.sleep(0.005)

    def memory(self):
        """Bytes resident: (of its own, of files)."""
        with open(f"/proc/{self.process.pid}/status") as status:
            fields = dict(line.split(":", 1) for line in status)
        size = lambda name: int(fields[name].split()[0]) * 1024
        return size("RssAnon"), size("RssFile")

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def counters(self, *names):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        total = lambda name: sum(float(line.split()[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)
        return [total(name) for name in names]

    def send(self, count, each=1, connections=50):
        """Messages a second."""
        begun = time.monotonic()
        command = [LOAD, "send", "--to", f"127.0.0.1:{self.port}", "-c", str(connections), "-n", str(count), "--size", "1000"]
        command += ["--recipients", str(each), "--domains", f"{DOMAINS}:0", "--seed", str(time.monotonic_ns()), "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
        accepted = json.loads(done.stdout.decode().strip().splitlines()[-1])
        return count / (time.monotonic() - begun), accepted


def wait_deferred(relay, wanted):
    end = time.monotonic() + 600
    while True:
        queued, deferred = relay.counters("relevo_queued_recipients", "relevo_recipients_deferred_total")
        if deferred >= wanted:
            return queued
        assert time.monotonic() < end, f"{deferred} of {wanted} deferred"
        time.sleep(0.5)


def main():
    subprocess.run(["cargo", "build", "--release", "--workspace"], cwd=ROOT, check=True)
    global home
    home = tempfile.mkdtemp(prefix="relevo-backlog-", dir=os.environ.get("BACKLOG_DIR", "/var/tmp"))
    sink_port = free_port()
    sink = subprocess.Popen(
        [LOAD, "sink", "--listen", f"127.0.0.1:{sink_port}", "--behaviour", "rcpt=451"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    started.append(sink)
    time.sleep(0.5)
    empty, full = Relay(f"{home}/empty", sink_port), Relay(f"{home}/full", sink_port)
    before = full.memory()
    begun = time.monotonic()
    full.send(RECIPIENTS // EACH, EACH)
    taken = time.monotonic() - begun
    wait_deferred(full, RECIPIENTS)
    settled = time.monotonic() - begun
    time.sleep(5)
    own, files = full.memory()
    print(f"{RECIPIENTS} recipients at {DOMAINS} domains, {EACH} a message: accepted in {taken:.1f} s, all deferred after {settled:.1f} s")
    print(f"memory a recipient above the empty process: {(own - before[0]) / RECIPIENTS:.0f} bytes; pages of the spool beside that: {files / RECIPIENTS:.0f}")
    cpu = full.cpu()
    time.sleep(5)
    print(f"CPU at rest with the backlog: {(full.cpu() - cpu) / 5 * 100:.2f} % of a core")
    ratios = []
    for _ in range(5):
        rates = [relay.send(30_000)[0] for relay in (empty, full)]
        ratios.append(rates[1] / rates[0])
    print(f"accepting beside the backlog against an empty relay: {statistics.median(ratios):.2f} ({', '.join(f'{ratio:.2f}' for ratio in ratios)})")
    wait_deferred(full, RECIPIENTS + 150_000)
    for _ in range(2):
        full.process.send_signal(signal.SIGKILL)
        full.process.wait()
        ready = full.start()
        count = RECIPIENTS + 150_000
        print(f"start after SIGKILL: {ready:.2f} s to the first greeting, {count / ready:.0f} recipients/s")
    begun = time.monotonic()
    end = begun + 120
    while full.counters("relevo_queued_recipients")[0] < count and time.monotonic() < end:
        time.sleep(0.1)
    print(f"all of it queued {time.monotonic() - begun:.1f} s after that")
    time.sleep(3)
    own, files = full.memory()
    print(f"memory a recipient after the start: {(own - before[0]) / count:.0f} bytes; pages of the spool: {files / count:.0f}; queued: {full.counters('relevo_queued_recipients')[0]:.0f}")


try:
    main()
finally:
    for process in started:
        process.kill()
        process.wait()
    if home:
        shutil.rmtree(home)
