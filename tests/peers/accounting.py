"""Stories of what the operator sees: the log, and the spool of a running relay. Called by tests/peers.rs, one test a story."""
import json
import os
import smtplib
import subprocess
import sys
import threading
import time

from relay import Relay, free_port
from sink import Sink

BINARY = os.path.abspath(sys.argv[2])
TEXT = b"Subject: hello\r\n\r\nA line.\r\n"


def by_id(records):
    messages = {}
    for record in records:
        if "id" in record:
            messages.setdefault(record["id"], []).append(record)
    return messages


def nothing_is_logged_before_its_received():
    """Clients, shards and domains enough that most mail is delivered by another shard than took it."""
    sink = Sink()
    relay = Relay(BINARY, sink, shards=4)
    clients, each = 8, 60

    def hand_in(number):
        client = relay.client()
        for count in range(each):
            client.sendmail(f"s{number}@b.example", [f"c@d{number}x{count}.example", f"e@f{count}.example"], TEXT)
            time.sleep(0.01)
        client.quit()

    threads = [threading.Thread(target=hand_in, args=(number,)) for number in range(clients)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    sink.wait(2 * clients * each)
    relay.wait_log("delivered", 2 * clients * each)
    # What was told last is written at the stop, in order too.
    relay.send("last@b.example", ["c@d.example", "c@e.example", "c@f.example", "c@g.example"], TEXT)
    sink.wait(2 * clients * each + 4)
    relay.process.terminate()
    assert relay.process.wait(45) == 0
    messages = by_id(relay.log())
    assert len(messages) == clients * each + 1
    for records in messages.values():
        assert records[0]["event"] == "received", records
        delivered = [record for record in records if record["event"] == "delivered"]
        assert sorted(sum((record["recipients"] for record in delivered), [])) == sorted(records[0]["recipients"]), records
        assert all(record["attempts"] == 1 and record["hop"] for record in delivered), records
        said = {(record["reply"], record["enhanced"]) for record in delivered}
        assert said == {("250 2.0.0 taken", "2.0.0")}, records


def spool(*arguments):
    done = subprocess.run([BINARY, "spool", *arguments], stdout=subprocess.PIPE, timeout=30, check=True)
    return done.stdout.decode()


def a_hop_that_cannot_be_reached_is_seen():
    port = free_port()
    route = f'[[route]]\ndomain = "*"\nto = "smtp://127.0.0.1:{port}"\n'
    relay = Relay(BINARY, more='[retry]\nfirst = "10m"\nmax = "1h"\n', route=route)
    for number in range(5):
        relay.send("a@b.example", [f"c{number}@d{number}.example", f"e{number}@d{number}.example"], TEXT)
    deferred = relay.wait_log("deferred", 5)
    for record in deferred:
        assert record["reply"].startswith("451 4.4.1 cannot connect to 127.0.0.1:"), record
        assert record["enhanced"] == "4.4.1" and record["attempts"] == 1 and len(record["recipients"]) == 2, record
        assert record["next"] > record["time"] and str(port) in record["hop"], record
    data = f"{relay.directory}/spool"
    end = time.monotonic() + 10
    while True:
        listed = [json.loads(line) for line in spool("list", "--json", "--data-dir", data).splitlines()]
        if len(listed) == 5 and all(message["last_reply"] for message in listed):
            break
        assert time.monotonic() < end, listed
        time.sleep(0.2)
    for message in listed:
        assert "cannot connect" in message["last_reply"] and message["attempts"] == 1 and message["next_attempt"], message
        text = spool("show", message["id"], "--data-dir", data)
        assert text.count("deferred, 1 attempt, next at 2") == 2 and text.count("cannot connect to 127.0.0.1") == 2, text
    assert "cannot connect" in spool("list", "--data-dir", data)
    # Told once while it is down; one that comes later is told too.
    relay.send("a@b.example", ["late@d1.example"], TEXT)
    relay.wait_log("deferred", 6)
    time.sleep(3)
    assert len(relay.wait_log("deferred", 6)) == 6
    # The hop comes back: nobody waits for the ten minutes that were said.
    sink = Sink(port=port)
    sink.wait(11, 60)
    delivered = relay.wait_log("delivered", 6)
    assert all(record["attempts"] == 2 for record in delivered), delivered
    relay.stop()


def a_notification_names_its_parent():
    def behave(point, data):
        return b"550 5.1.1 no such user\r\n" if point == "RCPT" and b"bad" in data else None

    sink = Sink(behave)
    relay = Relay(BINARY, sink)
    relay.send("a@b.example", ["bad@d.example"], TEXT)
    sink.wait(1)
    relay.wait_log("delivered", 1)
    records = relay.log()
    [bounced] = [record for record in records if record["event"] == "bounced"]
    assert bounced["reply"] == "550 5.1.1 no such user" and bounced["enhanced"] == "5.1.1", bounced
    assert bounced["attempts"] == 1 and bounced["hop"] and "next" not in bounced, bounced
    [original, notice] = [record for record in records if record["event"] == "received"]
    assert original["id"] == bounced["id"] and "parent" not in original and original["client"], original
    assert notice["parent"] == original["id"] and "client" not in notice and notice["sender"] == "", notice
    relay.stop()


# The filter of the README.
FAIL2BAN = r'^\{.*"event":"rejected".*"client":"\[?(?P<addr>[0-9a-f.:]+?)\]?:\d+".*"reason":"(?:auth_failed|relay_denied|too_many_errors)"'


def refusals_are_recorded():
    import re

    sink = Sink()
    relay = Relay(BINARY, sink, listener='relay_from = ["127.0.0.1/32"]\nconnections_per_client = 3\nmessage_size_max = "64KiB"\n')

    def connect(source="127.0.0.2"):
        return smtplib.SMTP("127.0.0.1", relay.port, local_hostname="evil.example", timeout=30, source_address=(source, 0))

    client = connect()
    client.ehlo()
    client.mail("x@y.example")
    # Whoever writes quotes writes no fields.
    assert client.rcpt('"\\","client":"9.9.9.9:1","reason":"auth_failed"@z.example')[0] >= 500
    assert client.rcpt("c@d.example")[0] == 550
    client.close()
    client = connect()
    for _ in range(20):
        client.docmd("FROB")
    assert client.getreply()[0] == 421
    held = [connect("127.0.0.3") for _ in range(3)]
    try:
        connect("127.0.0.3")
        raise AssertionError("a connection too many")
    except smtplib.SMTPConnectError as error:
        assert error.smtp_code == 421
    client = connect("127.0.0.1")
    # No SIZE: it is refused behind its body.
    client.helo()
    try:
        client.sendmail("big@y.example", ["c@d.example"], TEXT + b"line\r\n" * 20000)
        raise AssertionError("too large, and taken")
    except smtplib.SMTPResponseException as error:
        assert error.smtp_code == 552
    client = connect("127.0.0.1")
    try:
        client.sendmail("loop@y.example", [f"u{number}@d.example" for number in range(30)], b"Received: x\r\n" * 101 + TEXT)
        raise AssertionError("a loop, and taken")
    except smtplib.SMTPResponseException as error:
        assert error.smtp_code == 554
    client.sendmail("a@b.example", ["c@d.example"], TEXT)
    sink.wait(1)
    relay.wait_log("delivered")
    rejected = relay.wait_log("rejected", 6)
    reasons = {}
    for record in rejected:
        reasons.setdefault(record["reason"], []).append(record)
        assert record["time"] and record["reply"] and record["enhanced"] and "id" not in record, record
    [denied] = [record for record in reasons["relay_denied"] if record.get("recipients") == ["c@d.example"]]
    assert denied["client"].startswith("127.0.0.2:") and denied["helo"] == "evil.example", denied
    assert denied["sender"] == "x@y.example" and denied["reply"] == "550 5.7.1 Relay access denied", denied
    assert reasons["too_many_errors"][0]["client"].startswith("127.0.0.2:"), rejected
    assert reasons["too_many_connections"][0]["client"].startswith("127.0.0.3:"), rejected
    for reason, sender, recipients in (("too_large", "big", ["c@d.example"]), ("loop", "loop", [f"u{number}@d.example" for number in range(20)])):
        [record] = reasons[reason]
        assert record["client"].startswith("127.0.0.1:") and record["sender"] == f"{sender}@y.example", record
        assert record["recipients"] == recipients, record
    with open(f"{relay.directory}/log.jsonl") as file:
        banned = [found["addr"] for line in file if (found := re.search(FAIL2BAN, line))]
    assert set(banned) == {"127.0.0.2"}, banned
    [one.close() for one in held]
    relay.stop()


FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


def the_wall_clock_is_set():
    """libfaketime moves the wall clock alone. Where it is not installed the simulator tells this."""
    if not os.path.exists(FAKETIME):
        print("libfaketime is not installed: nothing is proved here")
        return
    for days in ("-400d", "+400d"):
        clock = f"/tmp/relevo-clock-{os.getpid()}"
        with open(clock, "w") as file:
            file.write("+0\n")
        wrap = ["env", f"LD_PRELOAD={FAKETIME}", f"FAKETIME_TIMESTAMP_FILE={clock}", "FAKETIME_NO_CACHE=1"]
        wrap += ["FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1"]
        refuse = [True]
        sink = Sink(lambda point, _: b"450 4.2.0 later\r\n" if point == "RCPT" and refuse[0] else None)
        relay = Relay(BINARY, sink, '[retry]\nfirst = "3s"\nmax = "4s"\n', wrap=wrap)
        relay.send("a@b.example", ["c@d.example"], TEXT)
        relay.wait_log("deferred", 1)
        with open(clock, "w") as file:
            file.write(days + "\n")
        again = relay.wait_log("deferred", 2, 15)
        assert abs(int(again[1]["time"][:4]) - int(again[0]["time"][:4])) >= 1, "the clock was not set"
        assert again[1]["delay_ms"] < 60_000, again
        assert relay.told("the clock was set"), relay.words
        assert not [record for record in relay.log() if record["event"] == "expired"]
        # A start later: one more attempt at the least, and soon.
        relay.kill()
        refuse[0] = False
        relay.start()
        sink.wait(1, 20)
        assert sink.taken[0].sender == "a@b.example", "it was given up without a last try"
        relay.stop()
        os.unlink(clock)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
