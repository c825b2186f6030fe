"""The real binary in a scratch directory, and a client for it."""
import atexit
import json
import multiprocessing
import os
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import threading
import time

import schema
from ports import free_port

relays = []


def tell_what_relays_said(kind, error, trace):
    """A story that fails once in a hundred runs is understood from what its relays recorded, or not at all."""
    sys.__excepthook__(kind, error, trace)
    for relay in relays:
        print(f"--- {relay.directory}: diagnostics, then the last events\n", *relay.words[-40:], sep="", file=sys.stderr)
        try:
            with open(f"{relay.directory}/log.jsonl") as file:
                print(*file.readlines()[-60:], sep="", file=sys.stderr)
        except OSError as unread:
            print(unread, file=sys.stderr)


sys.excepthook = tell_what_relays_said
# A story that takes too long is told to end, and must not leave its relays behind. Its children have none, and end at once: Python acts on a signal
# that comes just before a read only after the read, so a child that reads from its parent for ever would not end, nor the parent that waits for it.
if multiprocessing.parent_process() is None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))


class Relay:
    def __init__(self, binary, sink=None, more="", listener="", route=None, shards=2, data_dir=None, wrap=(), auto=False):
        if "RELEVO_RUNTIME" in os.environ:
            more += f'\n[tuning]\nruntime = "{os.environ["RELEVO_RUNTIME"]}"\n'
        if not auto:
            # Most stories refuse the same recipients for good, and send to them again.
            more += "\n[suppression]\nauto = []\n"
        self.wrap = wrap
        self.words, self.binary, self.directory = [], binary, tempfile.mkdtemp(prefix="relevo-test-")
        self.port, self.http, self.process = free_port(), free_port(), None
        self.sink, self.more, self.listener, self.route, self.shards = sink, more, listener, route, shards
        self.data_dir = data_dir or f"{self.directory}/spool"
        self.logs = f'[log]\npath = "{self.directory}/log.jsonl"\n'
        self.write()
        relays.append(self)
        self.start()

    def write(self):
        route = self.route
        if route is None:
            route = f'[[route]]\ndomain = "*"\nto = "smtp://127.0.0.1:{self.sink.port}"\n'
        with open(f"{self.directory}/relevo.toml", "w") as file:
            file.write(
                f'[node]\nhostname = "relay.example"\ndata_dir = "{self.data_dir}"\nshards = {self.shards}\n'
                f'[[listener]]\naddress = "127.0.0.1:{self.port}"\n{self.listener}\n{route}\n'
                f'{self.logs}[control]\nhttp = "127.0.0.1:{self.http}"\n'
                f'[spool]\nsegment_size = "4MiB"\n{self.more}\n'
            )

    def start(self):
        self.process = subprocess.Popen(
            [*self.wrap, self.binary, "run", "--config", f"{self.directory}/relevo.toml"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        # A story that fails must not leave its relay behind.
        atexit.register(self.process.kill)
        self.words, listening = [], threading.Event()
        # Events of the log that were looked at.
        self.fitting = 0

        def read(stream):
            for line in stream:
                self.words.append(line)
                if "listening" in line:
                    listening.set()
            listening.set()

        threading.Thread(target=read, args=(self.process.stderr,), daemon=True).start()
        assert listening.wait(30), "the relay did not start"
        assert self.process.poll() is None, "".join(self.words)

    def told(self, *parts, seconds=5):
        """Whether a line for the operator holds all of these: it is written a moment after what it tells of."""
        end = time.monotonic() + seconds
        while not (found := any(all(part in line for part in parts) for line in list(self.words))) and time.monotonic() < end:
            time.sleep(0.05)
        return found

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM: it must end well, and soon."""
        self.process.terminate()
        code = self.process.wait(45)
        assert code == 0, f"exit code {code}: {''.join(self.words)}"
        assert not any("panick" in word for word in self.words), "".join(self.words)
        shutil.rmtree(self.directory)

    def client(self):
        return smtplib.SMTP("127.0.0.1", self.port, local_hostname="client.example", timeout=30)

    def send(self, sender, recipients, text):
        client = self.client()
        client.sendmail(sender, recipients, text)
        client.quit()

    def send_raw(self, sender, recipients, body):
        """Byte for byte; smtplib would mend line ends."""
        client = self.client()
        client.ehlo()
        client.mail(sender)
        for recipient in recipients:
            client.rcpt(recipient)
        assert client.docmd("DATA")[0] == 354
        lines = body.split(b"\n")
        stuffed = b"\n".join(b"." + line if line.startswith(b".") else line for line in lines)
        client.sock.sendall(stuffed + b".\r\n")
        code, words = client.getreply()
        assert code == 250, (code, words)
        client.quit()

    def log(self):
        """Its events, each of which is as the schema has it."""
        with open(f"{self.directory}/log.jsonl") as file:
            events = [json.loads(line) for line in file]
        for event in events[min(self.fitting, len(events)) :]:
            assert not schema.wrong(event), (event, schema.wrong(event))
        self.fitting = len(events)
        return events

    def wait_log(self, event, count=1, seconds=20):
        """The first `count` and more of these events. What is told again after a kill is the same event."""
        end = time.monotonic() + seconds
        while True:
            once = {}
            for number, line in enumerate(self.log()):
                if line["event"] == event:
                    once.setdefault(line.get("event_id", number), line)
            found = list(once.values())
            if len(found) >= count:
                return found
            assert time.monotonic() < end, f"{len(found)} of {count} records of {event}: {self.log()}"
            time.sleep(0.1)


def run_and_fail(binary, *arguments, setup=""):
    """Runs a command that must refuse to work; returns its words."""
    command = f"{setup} exec {binary} {' '.join(arguments)}"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, timeout=30)
    assert done.returncode not in (0, 101), (done.returncode, done.stderr)
    return done.stderr
