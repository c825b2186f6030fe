"""What the benches share: a relay of one's own on the loopback, started, asked and stopped. All of it is gone at the end."""
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, f"{ROOT}/tests/peers")
from ports import free_port  # noqa: E402

LOAD = f"{ROOT}/target/release/relevo-load"
RELEVO = f"{ROOT}/target/release/relevo"
started = []


def run(command, **more):
    """Starts a process that ends with the bench."""
    process = subprocess.Popen(command, **more)
    started.append(process)
    return process


def sink(*options):
    """A sink of the load generator: its port."""
    port = free_port()
    sink_at(port, *options)
    return port


def sink_at(port, *options):
    """The same on a port that is known: its process."""
    command = [LOAD, "sink", "--listen", f"127.0.0.1:{port}", *options]
    process = run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    return process


# A directory with programs that are built already.
if BUILT := os.environ.get("RELEVO_BINARIES"):
    RELEVO, LOAD = f"{BUILT}/relevo", f"{BUILT}/relevo-load"


@contextlib.contextmanager
def home(name):
    """Builds everything, unless that is done, and gives a directory on a real disk (BENCH_DIR, default /var/tmp)."""
    if not BUILT:
        subprocess.run(["cargo", "build", "--release", "--workspace"], cwd=ROOT, check=True)
    directory = tempfile.mkdtemp(prefix=f"relevo-{name}-", dir=os.environ.get("BENCH_DIR", "/var/tmp"))
    try:
        yield directory
    finally:
        for process in started:
            process.kill()
            process.wait()
        shutil.rmtree(directory)


class Relay:
    """A relay that sends everything to one port of the loopback; `to` None: where MX records say. `core`: it has this one alone."""

    def __init__(self, directory, to, shards=2, more="", listener="", implicit=False, core=None):
        self.directory, self.port, self.http, self.implicit = directory, free_port(), free_port(), implicit
        self.wrap = [] if core is None else ["taskset", "-c", str(core)]
        os.makedirs(directory)
        with open(f"{directory}/relevo.toml", "w") as file:
            route = "" if to is None else f'[[route]]\ndomain = "*"\nto = "smtp://127.0.0.1:{to}"\n'
            file.write(
                f'[node]\nhostname = "bench.example"\ndata_dir = "{directory}/spool"\nshards = {shards}\n'
                f'[[listener]]\naddress = "127.0.0.1:{self.port}"\nconnections_per_client = 100000\n{listener}{route}'
                f'[log]\npath = "{directory}/accounting.jsonl"\n[control]\nhttp = "127.0.0.1:{self.http}"\n{more}'
            )
        self.start()

    def start(self):
        """Starts it; returns the seconds to its first greeting."""
        begun = time.monotonic()
        command = [*self.wrap, RELEVO, "run", "--config", f"{self.directory}/relevo.toml"]
        self.process = run(command, stderr=subprocess.DEVNULL)
        while True:
            assert self.process.poll() is None, "the relay ended"
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                    # Under TLS from the first byte it says nothing before.
                    if self.implicit:
                        return time.monotonic() - begun
                    probe.settimeout(60)
                    if probe.recv(100).startswith(b"220"):
                        return time.monotonic() - begun
            except OSError:
                time.sleep(0.005)

    def metrics(self):
        """Every value by its name with labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}

    def sums(self, *names):
        """The sums of these over all shards."""
        metrics = self.metrics()
        return [sum(value for key, value in metrics.items() if key.split("{")[0] == name) for name in names]

    def memory(self):
        """Bytes resident: (of its own, of files)."""
        with open(f"/proc/{self.process.pid}/status") as status:
            fields = dict(line.split(":", 1) for line in status)
        size = lambda name: int(fields[name].split()[0]) * 1024
        return size("RssAnon"), size("RssFile")

    def cpu(self):
        """Seconds of CPU so far."""
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def relayed(self, messages, connections=50, *options, domains="1000:0"):
        """Sends it messages of 10 KiB and waits until the last is delivered: messages a second, and CPU a message in us."""
        cpu, (before,) = self.cpu(), self.sums("relevo_recipients_delivered_total")
        begun = time.monotonic()
        command = [LOAD, "send", "--to", f"127.0.0.1:{self.port}", "-c", str(connections), "-n", str(messages), "--size", "10240"]
        command += ["--domains", domains, "--seed", str(time.monotonic_ns()), *options]
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        end = time.monotonic() + 120
        while self.sums("relevo_recipients_delivered_total")[0] - before < messages:
            assert time.monotonic() < end, "not delivered"
            time.sleep(0.01)
        return messages / (time.monotonic() - begun), (self.cpu() - cpu) / messages * 1e6
