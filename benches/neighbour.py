#!/usr/bin/env python3
"""What one shard's clients feel while the lane of the other shard commits messages of 1 MiB.

  benches/neighbour.py [SECONDS_A_PHASE] [ROUNDS]     defaults: 6 5

One relay, two shards, no next hop (all mail waits). Light clients of shard 1 hand in 1 KiB messages at a fixed rate, 200/s in
all, each latency counted from the time it was due. In turn, several times in one run:

  alone    nobody else is there
  beside   four clients hand messages of 1 MiB to another relay process of one shard, its spool on the same file system
  lane     the same clients hand them to shard 0

Both take the same disk and the same second core away; what `lane` has above `beside` is what it costs to be in one process with
such a neighbour. Two latencies: a command (RSET to its 250: no disk in it) and the dot to its 250 (one commit of shard 1's
own lane). BENCH_DIR says where the spools lie (a real disk; default /var/tmp).
"""
import multiprocessing
import socket
import statistics
import sys
import threading
import time

import node

SECONDS, ROUNDS = (int(word) for word in (sys.argv[1:] + ["6", "5"][len(sys.argv) - 1 :])[:2])
LIGHT, HEAVY, RATE, MIB = 4, 4, 200, 1 << 20


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


def clients_of(relay, shard, count):
    """Connections that the kernel gave to this shard; the metrics tell which those are."""
    accepted = lambda: relay.metrics()['relevo_connections_accepted_total{shard="%d"}' % shard]
    found, others = [], []
    while len(found) < count:
        before = accepted()
        client = Client(relay.port)
        (found if accepted() > before else others).append(client)
    for client in others:
        client.socket.close()
    return found


def light(client, number, until, commands, dots):
    """An open loop: the next message is due whether the last was answered or not."""
    body = b"Subject: light\r\n\r\n" + b"x" * 70 * 14 + b"\r\n.\r\n"
    body = body.replace(b"x" * 70, b"x" * 68 + b"\r\n")
    due = time.monotonic() + number / RATE
    while due < until:
        time.sleep(max(0, due - time.monotonic()))
        client.ask(b"RSET\r\n")
        commands.append(time.monotonic() - due)
        late = time.monotonic()
        dots.append(client.send(body) + max(0, late - due - commands[-1]))
        due += LIGHT / RATE


def heavy(client, until, sent):
    body = b"Subject: heavy\r\n\r\n" + (b"y" * 76 + b"\r\n") * (MIB // 78) + b".\r\n"
    while time.monotonic() < until:
        client.send(body)
        with sent.get_lock():
            sent.value += len(body)


def phase(lights, heavies):
    until = time.monotonic() + SECONDS
    sent = multiprocessing.Value("q", 0)
    # A process each: they must not hold up the threads below, which measure.
    load = [multiprocessing.Process(target=heavy, args=(client, until, sent)) for client in heavies]
    for one in load:
        one.start()
    commands, dots = [[] for _ in lights], [[] for _ in lights]
    work = [threading.Thread(target=light, args=(client, number, until, commands[number], dots[number])) for number, client in enumerate(lights)]
    for one in work:
        one.start()
    for one in work + load:
        one.join()
    assert all(one.exitcode == 0 for one in load), "a heavy client failed"
    flat = lambda lists: sorted(value for values in lists for value in values)
    return flat(commands), flat(dots), sent.value / SECONDS


def percentile(values, share):
    return values[min(len(values) - 1, int(len(values) * share))] * 1000


def main(home):
    nobody, retry = node.free_port(), '[retry]\nfirst = "1h"\nmax = "2h"\n'
    both = node.Relay(f"{home}/both", nobody, more=retry)
    other = node.Relay(f"{home}/other", nobody, shards=1, more=retry)
    lights = clients_of(both, 1, LIGHT)
    kinds = {"alone": [], "beside": clients_of(other, 0, HEAVY), "lane": clients_of(both, 0, HEAVY)}
    rows, rates = {kind: [] for kind in kinds}, {kind: [] for kind in kinds}
    for _ in range(ROUNDS):
        for kind, heavies in kinds.items():
            commands, dots, rate = phase(lights, heavies)
            rates[kind].append(rate / MIB)
            rows[kind].append((percentile(commands, 0.5), percentile(commands, 0.99), percentile(dots, 0.5), percentile(dots, 0.99)))
    print("ms, medians        heavy MiB/s   command p50   command p99       dot p50       dot p99")
    for kind, values in rows.items():
        columns = [rates[kind], *zip(*values)]
        print(f"{kind:>16}" + "".join(f"{statistics.median(column):>14.2f}" for column in columns))
    ratio = lambda column: statistics.median(lane[column] / beside[column] for lane, beside in zip(rows["lane"], rows["beside"]))
    print(f"lane / beside, p99, median of pairs: command {ratio(1):.2f}, dot {ratio(3):.2f}")


with node.home("neighbour") as directory:
    main(directory)
