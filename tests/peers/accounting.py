"""Stories of what the operator sees: the log, and the spool of a running relay. Called by tests/peers.rs, one test a story."""
import ast
import json
import os
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "attacks"))
from names import A, MX, SILENCE, Names
from certificate import certificate
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


def the_log_has_its_order_over_kills_and_rotation():
    """A kill takes what was told last, and the next start tells of mail that it found; SIGUSR1 loses and tears nothing."""
    sink = Sink()
    relay = Relay(BINARY, sink, '[retry]\nfirst = "1s"\nmax = "1s"\n', shards=4)
    log, parts, sent = f"{relay.directory}/log.jsonl", [], [0]

    def hand_in(count):
        client = relay.client()
        for _ in range(count):
            sent[0] += 1
            client.sendmail("a@b.example", [f"c{sent[0]}@d{sent[0]}.example"], TEXT)
        client.close()

    def rotate():
        parts.append(f"{log}.{len(parts)}")
        os.rename(log, parts[-1])
        relay.process.send_signal(signal.SIGUSR1)

    for life in range(6):
        held = sink.behave
        sink.behave = lambda point, _: b"450 4.2.0 later\r\n" if point == "RCPT" else None
        hand_in(20)
        if life % 2:
            rotate()
        hand_in(20)
        # Less than the log is behind.
        relay.kill()
        sink.behave = held
        relay.start()
        hand_in(10)
        sink.wait(sent[0], 40)
        # Of what was delivered in the last half second before a kill nobody tells any more.
        time.sleep(1.2)
        if not life % 2:
            rotate()
    relay.process.terminate()
    assert relay.process.wait(45) == 0
    records = []
    for part in [*parts, log]:
        with open(part) as file:
            records += [json.loads(line) for line in file]
    messages = by_id(records)
    assert len({record["recipients"][0] for record in records}) == sent[0], (len(messages), sent)
    for told in messages.values():
        assert told[0]["event"] == "received", told
        assert all(record.get("again") for record in told[1:] if record["event"] == "received"), told
    again = sum(record.get("again", False) for record in records)
    lost = sum(1 for told in messages.values() if told[0].get("again"))
    print(f"{sent[0]} messages, {again} told again, {lost} of them had been lost")
    # Of each life at most all: who is killed within seconds was not vouched for by the journal yet.
    assert 0 < again <= 6 * 180, again
    for told in messages.values():
        assert len({record["event_id"] for record in told if record["event"] == "delivered"}) == 1, told
    shutil.rmtree(relay.directory)


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
    # Two messages, and two orders: that of each is sure.
    relay.wait_log("delivered", 1)
    relay.wait_log("bounced", 1)
    records = relay.log()
    [bounced] = [record for record in records if record["event"] == "bounced"]
    assert bounced["reply"] == "550 5.1.1 no such user" and bounced["enhanced"] == "5.1.1", bounced
    assert bounced["class"] == "bad_mailbox", bounced
    assert bounced["attempts"] == 1 and bounced["hop"] and "next" not in bounced, bounced
    [original, notice] = [record for record in records if record["event"] == "received"]
    assert original["id"] == bounced["id"] and "parent" not in original and original["client"], original
    assert notice["parent"] == original["id"] and "client" not in notice and notice["sender"] == "", notice
    relay.stop()


def ended(point, words):
    """A hop that says this at a point of each transaction for us, and takes what others are told."""
    return Sink(lambda at, _: words if at == point else None)


def every_end_of_a_recipient_is_recorded_once():
    """Each way in which a recipient ends or waits: one record, behind the `received`, with all that is known of it."""
    scratch = tempfile.mkdtemp(prefix="relevo-test-")
    context = certificate(scratch)
    home = Sink()
    hops = {
        "plain.example": Sink(),
        "tls.example": Sink(lambda at, data: b"550 5.1.1 no such user\r\n" if at == "RCPT" and b"bad" in data else None, tls=context),
        "mail.example": ended("MAIL", b"550 5.1.8 bad sender\r\n"),
        "rcpt.example": ended("RCPT", b"550 5.1.1 no such user\r\n"),
        "bare.example": ended("RCPT", b"553 no\r\n"),
        "data.example": ended("DATA", b"554 5.6.0 not that\r\n"),
        "dot.example": ended("dot", b"554 5.7.1 spam\r\n"),
        "later.example": ended("RCPT", b"450 4.2.0 later\r\n"),
        "full.example": ended("dot", b"452 4.3.1 full\r\n"),
        "gone.example": ended("dot", "drop"),
        "busy.example": ended("EHLO", b"421 4.3.2 busy\r\n"),
        "small.example": Sink(extensions=("SIZE 20",)),
        "seven.example": Sink(extensions=()),
        "b.example": home,
    }
    routes = "".join(f'[[route]]\ndomain = "{name}"\nto = "smtp://127.0.0.1:{sink.port}"\n' for name, sink in hops.items())
    dead = free_port()
    routes += f'[[route]]\ndomain = "dead.example"\nto = "smtp://127.0.0.1:{dead}"\n'
    zone = {
        ("null.test", MX): [(0, ".")],
        ("empty.test", MX): [(10, "nothing.test")],
        ("ours.test", MX): [(10, "here.test")],
        ("here.test", A): ["127.0.0.1"],
        ("private.test", A): ["10.1.2.3"],
    }
    known = {name for name, _ in zone} | {"nothing.test"}
    names = Names(lambda name, kind: SILENCE if name == "silent.test" else zone.get((name, kind), []) if name in known else None)
    relay = Relay(BINARY, home, route=routes)
    relay.kill()
    relay.more = f'[dns]\nservers = ["127.0.0.1:{names.port}"]\ntimeout = "1s"\n[delivery]\nmx_port = {relay.port}\n'
    relay.more += '[retry]\nfirst = "10m"\nmax = "1h"\n'
    relay.write()
    relay.start()
    raw = b"Subject: Gr\xc3\xbc\xc3\x9fe " + b"\xe4" * 2000 + b"\r\nMessage-ID: <x@b.example>\r\nX: =\r\n\r\n\xe4\r\n"
    # Recipient, what becomes of it, enhanced code, words, and what else is there: its hop, its TLS; and the text.
    cases = [
        ("c@plain.example", "delivered", "2.0.0", "250 2.0.0 taken", "hop", TEXT),
        ("c@tls.example", "delivered", "2.0.0", "250 2.0.0 taken", "hop tls", TEXT),
        ("bad@tls.example", "bounced", "5.1.1", "550 5.1.1 no such user", "hop tls", TEXT),
        ("c@mail.example", "bounced", "5.1.8", "550 5.1.8 bad sender", "hop", TEXT),
        ("c@rcpt.example", "bounced", "5.1.1", "550 5.1.1 no such user", "hop", TEXT),
        ("c@bare.example", "bounced", None, "553 no", "hop", TEXT),
        ("c@data.example", "bounced", "5.6.0", "554 5.6.0 not that", "hop", TEXT),
        ("c@dot.example", "bounced", "5.7.1", "554 5.7.1 spam", "hop", TEXT),
        ("c@later.example", "deferred", "4.2.0", "450 4.2.0 later", "hop", TEXT),
        ("c@full.example", "deferred", "4.3.1", "452 4.3.1 full", "hop", TEXT),
        ("c@gone.example", "deferred", "4.4.2", "451 4.4.2 ", "hop", TEXT),
        ("c@busy.example", "deferred", "4.4.1", "421 4.3.2 busy", "hop", TEXT),
        ("c@dead.example", "deferred", "4.4.1", "cannot connect", "hop", TEXT),
        ("c@small.example", "bounced", "5.3.4", "552 5.3.4 ", "hop", TEXT),
        ("c@seven.example", "deferred", "4.6.3", "451 4.6.3 ", "hop", raw),
        ("c@null.test", "bounced", "5.1.10", "null MX", "", TEXT),
        ("c@void.test", "bounced", "5.1.2", "does not exist", "", TEXT),
        ("c@empty.test", "bounced", "5.4.4", "has no address", "", TEXT),
        ("c@ours.test", "bounced", "5.4.6", "here.test", "", TEXT),
        ("c@private.test", "bounced", "5.4.4", "10.1.2.3", "", TEXT),
        ("c@127.0.0.1", "bounced", "5.1.2", "is no domain", "", TEXT),
        ("c@[127.0.0.1]", "bounced", "5.4.6", "127.0.0.1", "", TEXT),
        ("c@silent.test", "deferred", "4.4.3", "cannot look up the MX of silent.test", "", TEXT),
    ]
    for recipient, *_, text in cases:
        relay.send_raw("a@b.example", [recipient], text)
    # Nobody is told of what became of a notification.
    relay.send_raw("", ["nobody@rcpt.example"], TEXT)
    returned = sum(case[1] == "bounced" for case in cases)
    end = time.monotonic() + 30
    while True:
        told = {tuple(record["recipients"]): record for record in relay.log() if record["event"] not in ("received", "rejected")}
        if len(told) == len(cases) + 2 and len(home.recipients()) == returned or time.monotonic() > end:
            break
        time.sleep(0.2)
    # What comes twice comes soon.
    time.sleep(1.5)
    records = relay.log()
    messages = by_id(records)
    of = {record["recipients"][0]: record["id"] for record in records if record["event"] == "received" and "parent" not in record}
    notices = {record["id"]: record["parent"] for record in records if record["event"] == "received" and "parent" in record}
    wrong = []
    for recipient, event, enhanced, words, there, _ in cases:
        [received, *ends] = messages.get(of.get(recipient), [{}])
        facts = received.get("event") == "received" and received.get("size") and [one["event"] for one in ends] == [event]
        if facts:
            [one] = ends
            wanted = {"time", "event", "event_id", "node", "id", "sender", "recipients", "reply", "attempts", "delay_ms", *there.split()}
            wanted |= {"arrived", "size"} | ({"site"} if "hop" in there else set())
            # An address of our own is there once there was a connection.
            wanted |= {"source_address"} if "[" in one.get("hop", "") else set()
            wanted |= {"enhanced"} if enhanced else set()
            wanted |= {"next"} if event == "deferred" else {"notification"} if event == "bounced" else set()
            wanted |= {"class"} if event in ("deferred", "bounced") else set()
            facts = set(one) == wanted and one.get("enhanced") == enhanced and words in one["reply"] and one["attempts"] == 1
            facts = facts and one["sender"] == "a@b.example" and one["recipients"] == [recipient]
            facts = facts and (event != "bounced" or notices.get(one["notification"]) == one["id"])
            facts = facts and ("hop" not in there or "127.0.0.1" in one["hop"])
        if not facts:
            wrong.append((recipient, event, enhanced, words, there, received, ends))
    assert not wrong, "\n".join(map(str, wrong))
    [_, silent] = messages[of["nobody@rcpt.example"]]
    assert silent["event"] == "bounced" and silent["sender"] == "" and "notification" not in silent, silent
    assert len(notices) == returned, notices
    for notice in notices:
        [received, delivered] = messages[notice]
        assert received["sender"] == "" and delivered["event"] == "delivered", messages[notice]
        place = [record.get("notification") for record in records].index(notice)
        assert records.index(received) < place, "it is named before there is one"
    relay.stop()
    shutil.rmtree(scratch)


def what_expires_is_recorded_once():
    """Its time is long enough for an attempt on a machine whose disk stands for seconds: notifications live as long."""
    later = Sink(lambda at, data: b"450 4.2.0 later\r\n" if at == "RCPT" and b"c@" in data else None)
    names = Names(lambda name, kind: SILENCE)
    routes = f'[[route]]\ndomain = "later.example"\nto = "smtp://127.0.0.1:{later.port}"\n'
    routes += f'[[route]]\ndomain = "b.example"\nto = "smtp://127.0.0.1:{later.port}"\n'
    routes += f'[[route]]\ndomain = "dead.example"\nto = "smtp://127.0.0.1:{free_port()}"\n'
    more = f'[dns]\nservers = ["127.0.0.1:{names.port}"]\ntimeout = "1s"\nattempts = 1\n'
    relay = Relay(BINARY, later, more + '[retry]\nfirst = "1s"\nmax = "1s"\nexpire = "12s"\n', route=routes)
    for domain in ("later.example", "dead.example", "silent.test"):
        relay.send("a@b.example", [f"c@{domain}"], TEXT)
    later.wait(3, 80)
    relay.wait_log("expired", 3)
    records = relay.log()
    messages = by_id(records)
    for domain, words in (("later.example", "450 4.2.0 later"), ("dead.example", "cannot connect"), ("silent.test", "cannot look up")):
        [mail] = [found for found in messages.values() if found[0]["recipients"] == [f"c@{domain}"]]
        events = [record["event"] for record in mail]
        assert events[0] == "received" and events[-1] == "expired" and set(events[1:-1]) == {"deferred"}, mail
        [*_, last, expired] = mail
        assert words in last["reply"] and last["next"] and last["attempts"] >= 1, mail
        # The last attempt may be the one behind which there was no time left.
        assert expired["attempts"] - last["attempts"] in (0, 1), mail
        # Ends and attempts are of whole seconds, and an attempt behind which there is no time for another is the last.
        assert expired["enhanced"] == "4.4.7" and expired["class"] == "expired" and expired["reply"] and expired["delay_ms"] >= 10000, expired
        if domain == "later.example":
            assert expired["reply"].endswith("; the last reply was: 450 4.2.0 later"), expired
            assert any(b"The last reply was:\r\n\t450 4.2.0 later" in message.body for message in later.taken), later.taken
        [notice] = [record for record in records if record["id"] == expired["notification"] and record["event"] == "received"]
        assert notice["parent"] == expired["id"], notice
        assert any(b"Status: 4.4.7" in message.body and words.encode() in message.body.replace(b"\r\n\t", b" ") for message in later.taken), words
    relay.stop()


# The filter of the README.
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def fail2ban(log):
    """Addresses and times that the filter of the README finds in a log, on a machine that is elsewhere. None: fail2ban is not here."""
    unpacked = f"{ROOT}/target/fail2ban"
    command = [shutil.which("fail2ban-regex") or f"{unpacked}/usr/bin/fail2ban-regex"]
    if not os.path.exists(command[0]):
        return print("fail2ban is not here (tests/run unpacks it): its filter is not tried")
    environment = dict(os.environ, TZ="America/New_York")
    if command[0].startswith(unpacked):
        command += ["-c", f"{unpacked}/etc/fail2ban"]
        environment["PYTHONPATH"] = f"{unpacked}/usr/lib/python3/dist-packages"
    with open(f"{ROOT}/README.md") as file:
        text = file.read().partition("A filter for fail2ban:\n\n")[2]
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as rules:
        rules.write("".join(line.strip() + "\n" for line in text.partition("\n\n")[0].splitlines()))
        rules.flush()
        done = subprocess.run([*command, "-o", "row", log, rules.name], capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0, done
    return [(row[0], row[1]) for line in done.stdout.splitlines() if line.startswith("[") for row in [ast.literal_eval(line.rstrip(","))]]


def refusals_are_recorded():
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
    with urllib.request.urlopen(f"http://127.0.0.1:{relay.http}/metrics") as answer:
        counted = answer.read().decode().splitlines()
    value = lambda name, *labels: sum(int(line.split()[-1]) for line in counted if line.startswith(f"relevo_{name}_total{{") and all(label in line for label in labels))
    for reason, records in reasons.items():
        assert value("rejected", f'reason="{reason}"') == len(records), (reason, records)
    assert value("rejected") == value("rejections") == len(rejected), rejected
    assert value("attempted_recipients", f'route="smtp://127.0.0.1:{sink.port}"', 'outcome="delivered"') == value("outcomes", 'kind="delivered"') == 1, counted
    banned = fail2ban(f"{relay.directory}/log.jsonl")
    if banned is not None:
        assert {address for address, _ in banned} == {"127.0.0.2"}, banned
        assert all(abs(when - time.time()) < 300 for _, when in banned), banned
    [one.close() for one in held]
    relay.stop()


def connections_that_break_are_recorded():
    with tempfile.TemporaryDirectory() as directory:
        certificate(directory, "relay.example")
        sink = Sink()
        relay = Relay(BINARY, sink, listener=f'tls_certificate = "{directory}/chain.pem"\ntls_key = "{directory}/key.pem"\n')

        def begun(*lines):
            client = socket.create_connection(("127.0.0.1", relay.port), 10)
            client.sendall(b"".join(line + b"\r\n" for line in (b"EHLO c.example", *lines)))
            received = b""
            while received.count(b"\n250 ") + received.count(b"\n220 ") + received.count(b"\n354 ") < 1 + len(lines):
                more = client.recv(4096)
                assert more, received
                received += more
            return client

        mail = (b"MAIL FROM:<a@b.example>", b"RCPT TO:<c@d.example>")
        # Nobody's concern.
        begun().close()
        begun(b"RSET").close()
        begun(*mail, b"RSET").close()
        begun(mail[0]).close()
        body = begun(*mail, b"DATA")
        body.sendall(b"Subject: half\r\n\r\nhal")
        body.close()
        begun(*mail).close()
        garbage = begun(b"STARTTLS")
        garbage.sendall(b"EHLO this is no TLS\r\n")
        garbage.close()
        begun(b"STARTTLS").close()
        untrusting = begun(b"STARTTLS")
        try:
            ssl.create_default_context().wrap_socket(untrusting, server_hostname="other.example")
            raise AssertionError("it trusts whoever comes")
        except ssl.SSLError:
            pass
        rejected = relay.wait_log("rejected", 5)
        time.sleep(0.5)
        rejected = [record for record in relay.log() if record["event"] == "rejected"]
        reasons = sorted(record["reason"] for record in rejected)
        assert reasons == ["connection_lost"] * 2 + ["tls_failed"] * 3, rejected
        for record in rejected:
            assert record["client"].startswith("127.0.0.1:") and record["reply"], record
            if record["reason"] == "connection_lost":
                assert (record["sender"], record["recipients"]) == ("a@b.example", ["c@d.example"]), record
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
