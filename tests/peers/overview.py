"""The node at a glance: `overview.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
import time

from relay import Relay
from sink import Sink

BINARY = os.path.abspath(sys.argv[2])
TEXT = b"Subject: hello\r\n\r\nA line.\r\n"
SLOW = '[retry]\nfirst = "1h"\nmax = "1h"\n'


class Node(Relay):
    """A relay whose next hop puts off mail to `later…` and refuses mail to `never…`."""

    def __init__(self, more=SLOW):
        super().__init__(BINARY, Sink(self.behave), more)
        self.path = f"{self.data_dir}/control.sock"

    def behave(self, point, data):
        if point == "RCPT" and b"later" in data:
            return b"450 4.2.0 not yet\r\n"
        if point == "RCPT" and b"never" in data:
            return b"550 5.1.1 nobody here\r\n"

    def fill(self, later, never=0, taken=0, domains=5):
        client = self.client()
        for name, count in ("later", later), ("never", never), ("taken", taken):
            for number in range(count):
                client.sendmail("a@b.example", [f"{name}{number}@d{number % domains}.example"], TEXT)
        client.quit()

    def curl(self, target, code=200):
        """As an operator asks, with curl over the socket."""
        done = subprocess.run(
            ["curl", "-sS", "--unix-socket", self.path, "-w", "\n%{http_code}", f"http://localhost{target}"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        body, status = done.stdout.rsplit("\n", 1)
        assert int(status) == code, (target, status, body, done.stderr)
        return json.loads(body)

    def until(self, target, holds, seconds=30):
        end = time.monotonic() + seconds
        while not holds(answer := self.curl(target)):
            assert time.monotonic() < end, answer
            time.sleep(0.3)
        return answer

    def stream(self, target):
        """A stream of events that is read by whoever wants to: its socket, behind the header section."""
        plain = socket.socket(socket.AF_UNIX)
        plain.settimeout(40)
        plain.connect(self.path)
        plain.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            piece = plain.recv(1)
            assert piece, head
            head += piece
        return plain, head

    def command(self, *arguments, code=0):
        done = subprocess.run(
            [BINARY, *arguments, "--config", f"{self.directory}/relevo.toml"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout


class Reader(threading.Thread):
    """Reads a stream; (event, data) in order."""

    def __init__(self, node, target):
        super().__init__(daemon=True)
        self.socket, head = node.stream(target)
        assert b" 200 " in head and b"text/event-stream" in head, head
        self.events, self.comments, self.ended = [], 0, False
        self.start()

    def run(self):
        # Pieces of a body of unknown length (RFC 9112 section 7.1).
        file, text = self.socket.makefile("rb"), b""
        while size := int(file.readline().split(b";")[0] or b"0", 16):
            text += file.read(size)
            file.readline()
            while b"\n\n" in text:
                one, text = text.split(b"\n\n", 1)
                fields = dict(line.split(": ", 1) for line in one.decode().splitlines() if not line.startswith(":"))
                self.comments += not fields
                if fields:
                    self.events.append((fields["event"], json.loads(fields["data"])))
        self.ended = True

    def of(self, event):
        return [data for name, data in list(self.events) if name == event]

    def wait(self, event, count=1, seconds=20):
        end = time.monotonic() + seconds
        while len(found := self.of(event)) < count:
            assert time.monotonic() < end, (event, found, self.ended)
            time.sleep(0.05)
        return found


def what_waits_is_told_at_a_glance():
    node = Node()
    node.fill(later=20, never=3, taken=7)
    node.wait_log("delivered", 7)
    node.wait_log("deferred", 20)
    node.wait_log("bounced", 3)
    # The queues are summed up at the start, and then each ten seconds while somebody looks.
    overview = node.until("/control/v1/overview", lambda of: of["queue"]["deferred"] == 20)
    queue = overview["queue"]
    assert (queue["recipients"], queue["ready"], queue["suspended"], queue["held"]) == (20, 0, 0, 0), queue
    assert queue["domains"] == 5 and queue["as_of"] <= overview["as_of"], queue
    assert [age["up_to_seconds"] for age in overview["ages"]] == [60, 600, 3600, 21600, 86400, None], overview["ages"]
    assert sum(age["recipients"] for age in overview["ages"]) == 20
    assert sorted((of["name"], of["recipients"]) for of in overview["domains"]) == [(f"d{n}.example", 4) for n in range(5)]
    assert overview["ready"] and overview["not_ready"] is None and not overview["draining"], overview
    assert sum(of["queued"] for of in overview["shards"]) == 20 and len(overview["shards"]) == 2
    classes = {of["class"]: of for of in overview["classes"]}
    assert sum(of["recipients"] for of in classes.values()) == 23, classes
    # Of what is said each second the last is looked at: where more is told at once it may be in no overview, and comes with the next.
    end = time.monotonic() + 40
    while not any("nobody here" in (one["text"] or "") for one in node.curl("/control/v1/overview")["classes"]):
        assert time.monotonic() < end, "no text of a class"
        node.fill(later=0, never=1)
        time.sleep(0.7)
    # What happened is in the history.
    history = node.curl("/control/v1/history?step=1")
    series = history["series"]
    assert history["step_seconds"] == 1 and set(series) == {"accepted", "delivered", "deferred", "bounced", "rejected", "queued"}
    assert len({len(points) for points in series.values()}) == 1
    assert sum(point or 0 for point in series["accepted"]) >= 20, series["accepted"]
    assert series["queued"][-1] == 20, series["queued"]
    assert node.curl("/control/v1/history?step=60")["series"]["accepted"] == []
    node.curl("/control/v1/history?step=7", code=400)
    node.curl("/control/v1/overview/other", code=404)
    # And the site.
    node.fill(later=0, taken=3)
    [site] = node.curl("/control/v1/sites")["rows"]
    assert site["site"] == "127.0.0.1" and site["connection_limit"] > 0 and not site["narrowed"], site
    assert node.curl("/control/v1/sites?provider=nobody") == {"rows": [], "next": None}
    assert node.curl("/control/v1/sites?narrowed=1")["rows"] == []
    node.curl("/control/v1/sites?narrow=1", code=400)
    node.command("suspend", "--site", "127.0.0.1", "--for", "1h", "--reason", "they asked us to")
    [site] = node.curl("/control/v1/sites")["rows"]
    assert "they asked us to" in site["suspended"], site
    node.stop()


def streams_tell_what_happens_and_hold_up_nobody():
    node = Node()
    watcher = Reader(node, "/events")
    assert watcher.wait("overview", 3)[0]["node"] == "relay.example"
    bounces = Reader(node, "/events?events=bounced,received&domain=d1.example")
    everything = Reader(node, "/events?events=all")
    time.sleep(0.5)
    node.fill(later=3, never=10)
    told = everything.wait("log", 13 + 3 + 10)
    assert {event["event"] for event in told} >= {"received", "deferred", "bounced"}, told
    for event in bounces.wait("log", 4):
        assert event["event"] in ("bounced", "received") and event["recipients"][0].endswith("@d1.example"), event
    # As the log has them.
    logged = {event["event_id"] for event in node.log() if "event_id" in event}
    assert {event["event_id"] for event in told if "event_id" in event} <= logged
    assert not watcher.of("log") and not everything.of("lost")
    node.curl("/events?events=nonsense", code=400)
    # There are as many as may be, and one more is told to come again.
    more = [node.stream("/events")[0] for _ in range(29)]
    refused, head = node.stream("/events")
    assert b" 503 " in head and b"retry-after: 10" in head.lower(), head
    # Those who ask find their place beside them.
    node.curl("/control/v1/overview")
    for one in more:
        one.close()
    # Somebody who reads nothing is ended, and costs the others nothing.
    silent, _ = node.stream("/events?events=all")
    silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    before = len(everything.of("log"))
    end, sent = time.monotonic() + 25, 0
    gone = False
    while time.monotonic() < end and not gone:
        if sent < 3000:
            node.fill(later=0, taken=200)
            sent += 200
        time.sleep(0.1)
        poll = select.poll()
        poll.register(silent, select.POLLHUP)
        gone = bool(poll.poll(0))
    assert gone, "a stream that is not read goes on for ever"
    assert len(everything.wait("log", before + 2 * sent, seconds=30)) >= before + 2 * sent
    # A stop is told.
    stopping = threading.Thread(target=node.stop)
    stopping.start()
    watcher.wait("bye", seconds=40)
    stopping.join()


def top_shows_it_and_gives_the_terminal_back():
    node = Node()
    node.fill(later=12)
    node.until("/control/v1/overview", lambda of: of["queue"]["deferred"] == 12)
    text = node.command("top", "--once", "--view", "domains")
    print(text)
    assert all(word in text for word in ("relay.example", "takes mail", "queue 12", "DOMAIN", "d3.example")), text
    assert all(len(line) <= 100 for line in text.splitlines()) and "\x1b" not in text
    assert json.loads(node.command("top", "--json"))["queue"]["recipients"] == 12
    node.command("top", code=2)
    for end in (b"q", b"\x03", signal.SIGTERM, signal.SIGHUP, None):
        terminal, theirs = pty.openpty()
        termios.tcsetwinsize(terminal, (24, 80))
        before = termios.tcgetattr(theirs)
        top = subprocess.Popen(
            [BINARY, "top", "--config", f"{node.directory}/relevo.toml"],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env={**os.environ, "TERM": "xterm-256color"})
        shown = b""
        deadline = time.monotonic() + 20
        while b"PROVIDER" not in shown:
            assert time.monotonic() < deadline, shown
            if select.select([terminal], [], [], 0.5)[0]:
                shown += os.read(terminal, 65536)
        assert b"\x1b[?1049h" in shown and termios.tcgetattr(theirs) != before
        if end is None:
            # The window is closed, and nobody sends a signal.
            os.close(theirs)
            os.close(terminal)
            top.wait(10)
            continue
        if isinstance(end, bytes):
            os.write(terminal, end)
        else:
            top.send_signal(end)
        assert top.wait(10) == 0, end
        while select.select([terminal], [], [], 0.3)[0]:
            shown += os.read(terminal, 65536)
        assert b"\x1b[?1049l" in shown and termios.tcgetattr(theirs) == before, (end, shown[-200:])
        os.close(terminal)
        os.close(theirs)
    node.stop()


globals()[sys.argv[1]]()
