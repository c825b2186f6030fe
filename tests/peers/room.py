"""Stories of the room a spool takes: `room.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import glob
import json
import os
import smtplib
import subprocess
import sys
import time
import urllib.error
import urllib.request

from relay import Relay
from sink import Sink

BINARY = os.path.abspath(sys.argv[2])
MIB = 1 << 20
SEGMENT = 4 * MIB
BODY = b"Subject: large\r\n\r\n" + b"x" * 70 + b"\r\n"


def taken(directory):
    """What an operator would count: bytes of files, and blocks of the disk. The journal and what was counted of mail have bounds of their own."""
    count = lambda *how: int(subprocess.check_output(["du", "-s", "-B1", "--exclude=journal", "--exclude=analytics.db*", *how, directory]).split()[0])
    return count("--apparent-size"), count()


def fill(relay, most, size=200_000):
    """Hands in mail until every shard says 452; how much was taken."""
    sent = refused = 0
    text = BODY + (b"y" * 70 + b"\r\n") * (size // 72)
    while refused < 12:
        assert sent < most, f"{sent} messages were taken and there is no end"
        client = relay.client()
        try:
            for _ in range(20):
                client.sendmail("a@b.example", [f"c@d{sent}.example"], text)
                sent += 1
                refused = 0
            client.quit()
        except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
            assert error.smtp_code == 452, error
            refused += 1
            client.close()
    return sent


def ready(relay):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{relay.http}/readyz", timeout=10) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


def checked(relay):
    done = subprocess.run([BINARY, "check", "--config", f"{relay.directory}/relevo.toml"], capture_output=True, timeout=60)
    return (done.stdout + done.stderr).decode()


def the_bound_counts_every_file():
    most = 48 * MIB
    later = [True]
    sink = Sink(lambda point, _: b"450 4.2.0 later\r\n" if point == "RCPT" and later[0] else None)
    relay = Relay(BINARY, sink, f'size_max = "{most // MIB}MiB"\n[retry]\nfirst = "2s"\nmax = "2s"\n')
    data = relay.data_dir

    def holds(least=0):
        apparent, blocks = taken(data)
        # The directories, `node` and `lock`, and the tables of control.db.
        assert least <= apparent <= most + 128 * 1024 and least <= blocks <= most + 256 * 1024, (apparent, blocks, most)

    sent = fill(relay, 1000)
    holds(most - 2 * SEGMENT)
    end = time.monotonic() + 5
    while "spool.size_max" not in ready(relay) and time.monotonic() < end:
        time.sleep(0.2)
    assert "spool.size_max" in ready(relay), ready(relay)

    # A damaged file stays, and counts.
    relay.process.terminate()
    assert relay.process.wait(45) == 0
    path = next(path for path in glob.glob(f"{data}/lane-000/*.seg") if open(path, "rb").read(8) == b"RELEVOSG")
    with open(path, "r+b") as file:
        whole = file.read(4096)
        file.seek(0)
        file.write(bytes(4096))
    relay.start()
    assert relay.told("kept aside") or relay.told("header is damaged"), relay.words
    sent += fill(relay, 1000)
    holds(most - 2 * SEGMENT)
    relay.kill()
    with open(path, "r+b") as file:
        file.write(whole)

    # A shard that is gone leaves its lane, and that counts.
    relay.shards = 1
    relay.write()
    relay.start()
    sent += fill(relay, 1000)
    holds(most - 2 * SEGMENT)

    # All of it leaves, and mail is taken again within seconds of that; the files stay, and no more are made.
    later[0] = False
    end = time.monotonic() + 15
    while True:
        try:
            relay.send("a@b.example", ["again@d.example"], BODY)
            break
        except smtplib.SMTPSenderRefused as error:
            assert error.smtp_code == 452 and time.monotonic() < end, error
            time.sleep(0.2)
    sink.wait(sent + 1, 60)
    holds()

    # What is there already is more than may be: told by `check` and by a start.
    relay.process.terminate()
    assert relay.process.wait(45) == 0
    assert "more than spool.size_max" not in checked(relay)
    relay.more = relay.more.replace("48MiB", "36MiB")
    relay.write()
    words = checked(relay)
    assert "more than spool.size_max 36MiB" in words and "raise spool.size_max to 48MiB at least" in words, words
    relay.start()
    assert relay.told("more than spool.size_max 36MiB"), relay.words
    relay.stop()


def status(relay):
    """Whether it takes mail, as `relevo status` says."""
    done = subprocess.run([BINARY, "status", "--json", "--config", f"{relay.directory}/relevo.toml"], capture_output=True, timeout=30)
    return json.loads(done.stdout)["takes_mail"]


def whoever_asks_hears_at_once_that_mail_is_refused():
    """Before a client that was refused hangs up, and within a moment of the room that comes back."""
    later = [True]
    sink = Sink(lambda point, _: b"450 4.2.0 later\r\n" if point == "RCPT" and later[0] else None)
    relay = Relay(BINARY, sink, 'size_max = "32MiB"\n[retry]\nfirst = "1s"\nmax = "1s"\n', shards=1)
    text = BODY + (b"y" * 70 + b"\r\n") * 2_500

    def refused():
        """Whether the next message is."""
        client = relay.client()
        try:
            client.sendmail("a@b.example", ["c@d.example"], text)
            client.quit()
            return False
        except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
            assert error.smtp_code == 452, error
            client.close()
            return True

    for _ in range(3):
        later[0] = True
        while not refused():
            pass
        asked = ready(relay)
        assert "mail is refused for now" in asked and "spool.size_max" in asked, asked
        assert not status(relay)
        later[0] = False
        end = time.monotonic() + 30
        while not refused_no_more(relay):
            assert time.monotonic() < end, "no room came back"
            time.sleep(0.02)
        assert ready(relay) == "ok\n", "mail is taken, and it is told that it is not"
        assert status(relay)
    relay.stop()


def refused_no_more(relay):
    """Whether MAIL is taken; nothing is sent."""
    client = relay.client()
    client.ehlo()
    code, _ = client.mail("a@b.example")
    client.close()
    return code == 250


if __name__ == "__main__":
    globals()[sys.argv[1]]()
