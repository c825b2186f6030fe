#!/usr/bin/env python3
"""What events cost a node on their way out: CPU of each thread beside the shards, with a JSON log, a webhook and analytics on, of all that the
process takes while it relays.

  benches/outlets.py [SECONDS]     default: 20

50 sessions bring messages of 10 KiB as fast as they are taken, to a sink on the same loopback; a web server in a process of its own takes the
batches. Everything beside the shards counts, whatever it does. The last line says what is wanted, and the exit code is 1 where that is not so.
BENCH_DIR says where the spool lies (a real disk; default /var/tmp). RELEVO_BINARIES: a directory with relevo and relevo-load that are built
already.
"""
import collections
import http.server
import json
import os
import subprocess
import sys
import time

import node

SECONDS = int(sys.argv[1]) if len(sys.argv) > 1 else 20
WANTED = 0.1
# The kernel syncs for them in workers of its own (io_uring).
SHARDS = ("relevo-shard", "iou-wrk")


class Taker(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, 1 << 20)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def takes(port):
    """A web server that takes all, in a process of its own."""
    pid = os.fork()
    if pid == 0:
        try:
            http.server.ThreadingHTTPServer(("127.0.0.1", port), Taker).serve_forever()
        finally:
            os._exit(0)
    return pid


def threads(pid):
    """Seconds of CPU of each thread, added up by name."""
    spent = collections.Counter()
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat") as stat:
            name, fields = stat.read().split("(", 1)[1].rsplit(")", 1)
        fields = fields.split()
        spent[name] += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return spent


with node.home("outlets") as directory:
    web = node.free_port()
    server = takes(web)
    try:
        with open(f"{directory}/secret", "w") as file:
            file.write("a secret that is long enough for a key\n")
        os.chmod(f"{directory}/secret", 0o600)
        more = f'[[webhook]]\nurl = "http://127.0.0.1:{web}/events"\nsecret_file = "{directory}/secret"\nnetworks = ["127.0.0.0/8"]\nbatch = "1000/1s"\n'
        relay = node.Relay(f"{directory}/relay", node.sink(), more=more)
        relay.relayed(20_000)
        names = ("relevo_recipients_delivered_total", "relevo_webhook_batches_total")
        before, (delivered, sent) = threads(relay.process.pid), relay.sums(*names)
        command = [node.LOAD, "send", "--to", f"127.0.0.1:{relay.port}", "-c", "50", "--duration", f"{SECONDS}s", "--size", "10240", "--domains", "1000:0", "--json"]
        told = json.loads(subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout)
        time.sleep(2)
        spent, (now, posted) = threads(relay.process.pid), relay.sums(*names)
    finally:
        os.kill(server, 9)
        os.waitpid(server, 0)
    spent = {name: seconds - before.get(name, 0) for name, seconds in spent.items()}
    whole = sum(spent.values())
    print(f"{(now - delivered) / told['seconds']:.0f} messages/s, {posted - sent:.0f} batches posted")
    for name, seconds in sorted(spent.items(), key=lambda of: -of[1]):
        if seconds:
            print(f"  {name:16} {seconds:7.2f} s  {seconds / whole:.3f}")
    beside = sum(seconds for name, seconds in spent.items() if not name.startswith(SHARDS))
    good = beside / whole <= WANTED
    print(f"beside the shards: {beside / whole:.3f} of the CPU, wanted at most {WANTED}{'' if good else '  <-- NO'}")
sys.exit(0 if good else 1)
