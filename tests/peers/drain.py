"""A relay is emptied into another one: `relevo drain`. Called by tests/peers.rs.

    python3 tests/peers/drain.py STORY path/to/relevo
"""
import json
import os
import smtplib
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from relay import Relay
from sink import Sink

BINARY = os.path.abspath(sys.argv[2])
TEXT = "Subject: hello\r\n\r\nA line.\r\n"


def until(what, words, seconds=30):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, words() if callable(words) else words
        time.sleep(0.05)
    return found


def ready(relay):
    """What /readyz says."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{relay.http}/readyz", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def command(relay, *arguments, code=0):
    done = subprocess.run([BINARY, *arguments, "--config", f"{relay.directory}/relevo.toml"], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, (arguments, done)
    return done.stdout + done.stderr


def greeting(relay):
    try:
        client = relay.client()
    except smtplib.SMTPConnectError as refused:
        return refused.smtp_code
    client.quit()
    return 220


class Two:
    """A relay whose hop puts everything off, and one beside it whose hop takes all."""

    def __init__(self, count):
        self.later, self.sink = Sink(lambda point, data: b"450 4.2.0 not yet\r\n" if point == "RCPT" else None), Sink()
        self.peer = Relay(BINARY, self.sink)
        self.relay = Relay(BINARY, self.later, '[retry]\nfirst = "1h"\nmax = "1h"\n')
        client = self.relay.client()
        for number in range(count):
            client.sendmail("a@b.example", [f"r{number}@d{number % 7}.example"], TEXT)
        client.quit()
        self.wanted = {f"r{number}@d{number % 7}.example" for number in range(count)}
        self.relay.wait_log("deferred", count)

    def all_there(self):
        until(lambda: self.wanted <= set(self.sink.recipients()), lambda: f"{len(self.sink.recipients())} arrived", 60)

    def stop(self):
        self.relay.stop()
        self.peer.stop()


def what_waits_goes_to_a_peer_and_nothing_new_is_taken():
    two = Two(200)
    relay, to = two.relay, f"smtp://127.0.0.1:{two.peer.port}"
    idle = relay.client()
    idle.ehlo()
    report = json.loads(command(relay, "drain", "--to", to, "--reason", "a new disk", "--json"))
    assert (report["delivered"], report["bounced"], report["messages"], report["to"]) == (200, 0, 0, to), report
    two.all_there()
    assert len(two.sink.recipients()) == 200
    # As at a stop, and it goes on.
    status, words = ready(relay)
    assert status == 503 and "drains it to another relay" in words and words.count("drains") == 1, words
    assert greeting(relay) == 421
    try:
        code, words = idle.docmd("NOOP")
        assert code == 421, (code, words)
    except smtplib.SMTPServerDisconnected:
        pass
    listed = command(relay, "suspend", "--list")
    assert f"drain" in listed and to in listed and "a new disk" in listed, listed
    assert to in command(relay, "drain", "--status")
    [admin] = [one for one in relay.wait_log("admin", 1) if one["action"] == "suspend"]
    assert (admin["effect"], admin["filter"]) == (f"drain to {to}", "all mail"), admin
    # A start knows of it.
    relay.kill()
    relay.start()
    assert greeting(relay) == 421 and ready(relay)[0] == 503
    assert "mail is taken in again; 0 recipients of 0 messages left" in command(relay, "drain", "--end")
    until(lambda: ready(relay)[0] == 200 and greeting(relay) == 220, "it stays shut")
    relay.send("a@b.example", ["later@d.example"], TEXT)
    relay.wait_log("deferred", 201)
    command(relay, "drain", "--end", code=1)
    command(relay, "drain", "--status", code=1)
    for wrong in ((), ("--to", "nonsense"), ("--to", to, "--end"), ("--to", to, "--for", "0s")):
        command(relay, "drain", *wrong, code=2)
    two.stop()


def it_is_ended_in_the_middle():
    two = Two(50)
    relay = two.relay
    # Nobody answers there.
    nowhere = f"smtp://127.0.0.1:{Sink(lambda *_: 'drop').port}"
    drain = subprocess.Popen([BINARY, "drain", "--to", nowhere, "--config", f"{relay.directory}/relevo.toml"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: greeting(relay) == 421, "it is not shut")
    command(relay, "resume", "--all")
    out, complaint = drain.communicate(timeout=30)
    assert drain.returncode == 1 and "it was ended" in complaint and "50 recipients of 50 messages left" in out + complaint, (out, complaint)
    until(lambda: greeting(relay) == 220, "it stays shut")
    # What an operator holds goes nowhere, and that is said.
    command(relay, "queue", "hold", "--domain", "d1.example", "--reason", "wrong prices")
    held = command(relay, "drain", "--to", f"smtp://127.0.0.1:{two.peer.port}", code=1)
    assert "are held" in held and "relay may be stopped" not in held, held
    two.wanted -= {name for name in two.wanted if name.endswith("@d1.example")}
    two.all_there()
    two.stop()


def a_kill_in_the_middle_loses_nothing():
    two = Two(300)
    relay = two.relay
    more = [f"{number}" for number in range(8)]
    drain = subprocess.Popen([BINARY, "drain", "--to", f"smtp://127.0.0.1:{two.peer.port}", "--json", "--config", f"{relay.directory}/relevo.toml"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    taken, over = [], threading.Event()

    def bring(name):
        count = 0
        while not over.is_set():
            try:
                relay.send("a@b.example", [f"m{name}x{count}@d.example"], TEXT)
                taken.append(f"m{name}x{count}@d.example")
            except (OSError, smtplib.SMTPException):
                time.sleep(0.05)
            count += 1

    threads = [threading.Thread(target=bring, args=(name,), daemon=True) for name in more]
    [thread.start() for thread in threads]
    until(lambda: len(two.sink.recipients()) > 20, "nothing goes")
    relay.kill()
    relay.start()
    two.peer.kill()
    two.peer.start()
    report = json.loads(drain.communicate(timeout=120)[0])
    over.set()
    [thread.join(20) for thread in threads]
    assert report["messages"] == 0, report
    two.wanted |= set(taken)
    two.all_there()
    # A kill of either leaves in doubt what was on its way, and each commit of the peer: on a slow machine half of all.
    more = len(two.sink.recipients()) - len(set(two.sink.recipients()))
    print(f"{len(two.wanted)} messages, {more} twice, {report}")
    assert more < len(two.wanted), more
    two.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
