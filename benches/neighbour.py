#!/usr/bin/env python3
"""What one shard's clients feel while the lane of the other shard commits messages of 1 MiB.

  benches/neighbour.py [SECONDS_A_PHASE] [ROUNDS]     defaults: 6 5

One relay, two shards, no next hop (all mail waits). Light clients of shard 1 hand in 1 KiB messages at a fixed rate, 200/s in
all, each latency counted from the time it was due. In turn, several times in one run:

  alone    shard 0 has nothing to do
  disk     beside the relay another process writes and syncs as many bytes a second, in pieces of 1 MiB, to the same file system
  lane     four clients of shard 0 hand in messages of 1 MiB as fast as they are taken

`disk` is what the disk and the second core cost anybody; what `lane` has above it would be the neighbour's doing. Two latencies:
a command (RSET to its 250: no disk in it) and the dot to its 250 (one commit of shard 1's own lane).
BENCH_DIR says where the spool lies (a real disk; default /var/tmp).
"""
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

SECONDS, ROUNDS = (int(word) for word in (sys.argv[1:] + ["6", "5"][len(sys.argv) - 1 :])[:2])
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIGHT, HEAVY, RATE, MIB = 4, 4, 200, 1 << 20
WRITER = """
import os, sys, time
path, rate = sys.argv[1], float(sys.argv[2])
piece = os.urandom(1 << 20)
file = os.open(path, os.O_RDWR)
length = os.fstat(file).st_size
due, at = time.monotonic(), 0
while True:
    os.pwrite(file, piece, at)
    os.fdatasync(file)
    at = (at + len(piece)) % length
    due = max(due + len(piece) / rate, time.monotonic() - 0.1)
    time.sleep(max(0, due - time.monotonic()))
"""
started = []
home = None


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")
        self.reply()
        self.ask(b"EHLO bench.example\r\n")

    def reply(self):
        while True:
            line = self.file.readline()
            assert line, "the relay hung up"
            if line[3:4] != b"-":
                assert line[:1] in b"23", line
                return

    def ask(self, command):
        self.socket.sendall(command)
        self.reply()

    def send(self, body):
        """Seconds from the dot to its answer."""
        for command in (b"MAIL FROM:<a@bench.example>\r\n", b"RCPT TO:<b@bench.example>\r\n", b"DATA\r\n"):
            self.ask(command)
        begun = time.monotonic()
        self.ask(body)
        return time.monotonic() - begun


def metrics(http):
    with urllib.request.urlopen(f"http://127.0.0.1:{http}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}


def clients_of(shard, count, port, http):
    """The kernel says which shard a connection belongs to; the metrics tell."""
    level = 'relevo_connections_accepted_total{shard="%d"}' % shard
    found, others = [], []
    while len(found) < count:
        before = metrics(http)[level]
        client = Client(port)
        end = time.monotonic() + 3
        while sum(value for name, value in metrics(http).items() if "connections_accepted" in name) < len(found) + len(others) + 1:
            assert time.monotonic() < end, "a connection nobody counts"
        (found if metrics(http)[level] > before else others).append(client)
    for client in others:
        client.socket.close()
    clients_of.made += len(found) + len(others)
    return found


clients_of.made = 0


def light(client, number, until, commands, dots):
    """An open loop: the next message is due whether the last was answered or not."""
    body = b"Subject: light\r\n\r\n" + b"x" * 70 * 14 + b"\r\n.\r\n"
    body = body.replace(b"x" * 70, b"x" * 68 + b"\r\n")
    due = time.monotonic() + number * LIGHT / RATE / LIGHT
    while due < until:
        time.sleep(max(0, due - time.monotonic()))
        begun = max(due, time.monotonic()) if not commands else due
        client.ask(b"RSET\r\n")
        commands.append(time.monotonic() - begun)
        dots.append(client.send(body))
        due += LIGHT / RATE


def heavy(client, until, sent):
    body = b"Subject: heavy\r\n\r\n" + (b"y" * 76 + b"\r\n") * (MIB // 78) + b".\r\n"
    while time.monotonic() < until:
        client.send(body)
        sent.append(len(body))


def phase(kind, lights, heavies, rate):
    until = time.monotonic() + SECONDS
    commands, dots, sent = [[] for _ in lights], [[] for _ in lights], []
    work = [threading.Thread(target=light, args=(client, number, until, commands[number], dots[number])) for number, client in enumerate(lights)]
    writer = None
    if kind == "lane":
        work += [threading.Thread(target=heavy, args=(client, until, sent)) for client in heavies]
    if kind == "disk":
        writer = subprocess.Popen([sys.executable, "-c", WRITER, f"{home}/beside", str(rate)])
        started.append(writer)
    for one in work:
        one.start()
    for one in work:
        one.join()
    if writer:
        writer.kill()
        writer.wait()
    flat = lambda lists: sorted(value for values in lists for value in values)
    return flat(commands), flat(dots), sum(sent) / SECONDS


def percentile(values, share):
    return values[min(len(values) - 1, int(len(values) * share))] * 1000


def main():
    global home
    subprocess.run(["cargo", "build", "--release"], cwd=ROOT, check=True)
    home = tempfile.mkdtemp(prefix="relevo-neighbour-", dir=os.environ.get("BENCH_DIR", "/var/tmp"))
    port, http, nobody = free_port(), free_port(), free_port()
    with open(f"{home}/relevo.toml", "w") as file:
        file.write(
            f'[node]\nhostname = "bench.example"\ndata_dir = "{home}/spool"\nshards = 2\n'
            f'[[listener]]\naddress = "127.0.0.1:{port}"\n[[route]]\ndomain = "*"\nto = "smtp://127.0.0.1:{nobody}"\n'
            f'[log]\npath = "{home}/accounting.jsonl"\n[control]\nhttp = "127.0.0.1:{http}"\n[retry]\nfirst = "1h"\nmax = "2h"\n'
        )
    relay = subprocess.Popen([f"{ROOT}/target/release/relevo", "run", "--config", f"{home}/relevo.toml"], stderr=subprocess.DEVNULL)
    started.append(relay)
    end = time.monotonic() + 60
    while True:
        try:
            if sum(value for name, value in metrics(http).items() if "spool_open" in name) == 2:
                break
        except OSError:
            assert time.monotonic() < end and relay.poll() is None, "the relay does not start"
        time.sleep(0.05)
    # Written once, so that neither writer makes the file system allocate.
    with open(f"{home}/beside", "wb") as file:
        for _ in range(256):
            file.write(bytes(MIB))
        os.fsync(file.fileno())
    lights, heavies = clients_of(1, LIGHT, port, http), None
    base = clients_of.made
    heavies = []
    while len(heavies) < HEAVY:
        before = metrics(http)['relevo_connections_accepted_total{shard="0"}']
        client = Client(port)
        time.sleep(1.2)
        (heavies.append(client) if metrics(http)['relevo_connections_accepted_total{shard="0"}'] > before else client.socket.close())
    rate = phase("lane", lights, heavies, 0)[2]
    print(f"light: {LIGHT} clients of shard 1, {RATE} messages/s in all; heavy: {HEAVY} clients of shard 0, {rate / MIB:.0f} MiB/s", flush=True)
    rows = {kind: [] for kind in ("alone", "disk", "lane")}
    for _ in range(ROUNDS):
        for kind in rows:
            commands, dots, taken = phase(kind, lights, heavies, rate)
            rate = taken or rate
            rows[kind].append((percentile(commands, 0.5), percentile(commands, 0.99), percentile(dots, 0.5), percentile(dots, 0.99)))
    print("ms: median of the rounds   command p50   command p99   dot p50   dot p99")
    for kind, values in rows.items():
        print(f"{kind:>24}" + "".join(f"{statistics.median(column):>14.2f}" for column in zip(*values)))
    ratio = lambda column: statistics.median(lane[column] / disk[column] for lane, disk in zip(rows["lane"], rows["disk"]))
    print(f"lane / disk, p99, median of pairs: command {ratio(1):.2f}, dot {ratio(3):.2f}")


try:
    main()
finally:
    for process in started:
        process.kill()
        process.wait()
    if home:
        shutil.rmtree(home)
