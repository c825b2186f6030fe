"""Stories with the real binary: `stories.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import os
import random
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request

import ports
from certificate import certificate
from relay import Relay, free_port, run_and_fail
from sink import Sink

BINARY = os.path.abspath(sys.argv[2])
FAST = '[retry]\nfirst = "1s"\nmax = "1s"\n'
TEXT = b"Subject: hello\r\n\r\nA line.\r\n"


def bodies_pass_byte_for_byte():
    sink = Sink()
    relay = Relay(BINARY, sink)
    bodies = [
        b"",
        TEXT,
        b".\r\n",
        b"..\r\n.a\r\n\r\n.\r\n",
        b"Subject: long\r\n\r\n" + b"line\r\n" * 2000,
        b"X-Folded: " + b"x" * 20000 + b"\r\n\r\ny\r\n",
        b"Subject: 8bit\r\n\r\n" + bytes(range(128, 256)) * 100 + b"\r\n",
        b"Subject: dots\r\n\r\n" + b"".join(b".%d\r\n" % number for number in range(60000)),
        b"Subject: large\r\n\r\n" + (b"q" * 76 + b"\r\n") * 40000,
        b"hello world\r\nSubject: none\r\n\r\nx\r\n",
        b" folded\r\n\r\nx\r\n",
        b"From joe@x Mon Jan  1 00:00:00 2024\r\nSubject: hello\r\n\r\nx\r\n",
        b">From joe@x\r\nSubject: hello\r\n\r\n" + (b"q" * 76 + b"\r\n") * 40000,
        b"Subject : old\r\n\r\nx\r\n",
    ]
    # What is no field would be read as a part of ours, but for an empty line; that of a mailbox file is made one (RFC 5322 2.2).
    fronts = {2: b"\r\n", 3: b"\r\n", 9: b"\r\n", 10: b"\r\n", 11: b"X-Mailbox-Line: ", 12: b"X-Mailbox-Line: "}
    for number, body in enumerate(bodies):
        relay.send_raw("a@b.example", [f"u{number}@d.example"], body)
    sink.wait(len(bodies))
    for message in sink.taken:
        number = int(message.recipients[0].split("@")[0][1:])
        assert message.without_trace() == fronts.get(number, b"") + bodies[number], f"body {number} was changed"
        assert b"for <u%d@d.example>" % number in message.body
    relay.stop()
    # So it is in what is returned.
    sink = Sink(lambda point, line: b"550 5.1.1 no\r\n" if point == "RCPT" and "c@d" in str(line) else None)
    relay = Relay(BINARY, sink)
    relay.send_raw("a@b.example", ["c@d.example"], bodies[11])
    sink.wait(1)
    assert b"\r\n\r\nX-Mailbox-Line: From joe@x" in sink.taken[0].body, sink.taken[0].body
    relay.stop()


def recipients_share_transactions():
    sink = Sink()
    relay = Relay(BINARY, sink)
    relay.send("a@b.example", [f"u{number}@d.example" for number in range(150)], TEXT)
    sink.wait(150)
    assert sorted(len(message.recipients) for message in sink.taken) == [50, 100]
    assert all(b"for <" not in message.body for message in sink.taken), "one recipient is told of the others"
    relay.stop()


def a_hop_without_pipelining():
    sink = Sink(extensions=("HELP",))
    relay = Relay(BINARY, sink)
    relay.send("a@b.example", ["c@d.example", "e@d.example"], TEXT)
    sink.wait(2)
    relay.stop()


def temporary_refusals_are_retried():
    asked = []

    def behave(point, _):
        if point == "RCPT":
            asked.append(time.monotonic())
            if len(asked) < 4:
                return b"450 4.2.0 later\r\n"
        return None

    sink = Sink(behave)
    relay = Relay(BINARY, sink, FAST)
    relay.send("a@b.example", ["c@d.example"], TEXT)
    sink.wait(1)
    deferred = relay.wait_log("deferred", 3)
    assert [record["attempts"] for record in deferred] == [1, 2, 3], deferred
    assert all(record["reply"] == "450 4.2.0 later" for record in deferred)
    assert asked[1] - asked[0] > 0.7, "a retry came at once"
    relay.stop()


def permanent_refusals_are_returned_once():
    sink = Sink(lambda point, data: b"550 5.1.1 no such user\r\n" if point == "RCPT" and b"bad" in data else None)
    relay = Relay(BINARY, sink)
    relay.send("a@b.example", ["bad1@d.example", "good@d.example", "bad2@d.example"], TEXT)
    relay.send("", ["bad3@d.example"], TEXT)
    sink.wait(2)
    relay.wait_log("bounced", 3)
    time.sleep(1)
    returned = [message for message in sink.taken if message.sender == ""]
    assert len(returned) == 1 and returned[0].recipients == ["a@b.example"], sink.taken
    for words in (b"multipart/report", b"Final-Recipient: rfc822; bad1@d.example", b"rfc822; bad2@d.example", b"Status: 5.1.1"):
        assert words in returned[0].body, returned[0].body
    assert b"good@" not in returned[0].body
    relay.stop()


def old_mail_is_given_up_with_the_last_reply():
    sink = Sink(lambda point, data: b"451 4.7.1 greylisted\r\n" if point == "RCPT" and b"c@" in data else None)
    relay = Relay(BINARY, sink, '[retry]\nfirst = "1s"\nmax = "1s"\nexpire = "10s"\n')
    relay.send("a@b.example", ["c@d.example"], TEXT)
    sink.wait(1, 60)
    assert b"Status: 4.4.7" in sink.taken[0].body and b"smtp; 451 4.7.1 greylisted" in sink.taken[0].body, sink.taken[0].body
    relay.wait_log("expired")
    relay.stop()


def an_attempt_counts_though_it_was_the_last_moment():
    """What was tried is told as tried, though nobody had time left to be put off: refused by the hop's machine."""
    route = f'[[route]]\ndomain = "*"\nto = "smtp://127.0.0.1:{free_port()}"\n'
    relay = Relay(BINARY, None, f'[retry]\nfirst = "1s"\nmax = "1s"\nexpire = "1s"\n', route=route)
    relay.send("a@b.example", ["c@d.example"], TEXT)
    (expired,) = [record for record in relay.wait_log("expired") if record["recipients"] == ["c@d.example"]]
    tried = [record["attempts"] for record in relay.log() if record["event"] == "deferred" and record["recipients"] == ["c@d.example"]]
    assert "refused" in expired["reply"] and expired["attempts"] >= max(1, *tried, 0), (expired, tried)
    relay.stop()


def a_line_cut_anywhere_delays_and_loses_nothing():
    for point in ("connect", "EHLO", "MAIL", "RCPT", "DATA", "body", "dot", "lose"):
        cuts = []

        def behave(at, _, point=point):
            if at == ("dot" if point == "lose" else point) and not cuts:
                cuts.append(at)
                return "lose" if point == "lose" else "drop"
            return None

        sink = Sink(behave)
        relay = Relay(BINARY, sink, FAST)
        relay.send("a@b.example", ["c@d.example"], TEXT)
        # A hop that took the message and lost the line gets it again: nobody can know.
        sink.wait(2 if point == "lose" else 1)
        assert all(message.without_trace() == TEXT for message in sink.taken), point
        relay.stop()


def a_port_is_given_once_and_free_everywhere():
    """What the stories stand on: nobody else has it between the choice and the start, and every address has it."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        low, high = map(int, file.read().split())
    port = free_port()
    # Another process that draws the same one first, and one that somebody has at another address, is given a third.
    taken = socket.socket()
    while True:
        try:
            taken.bind(("127.0.0.7", random.randrange(10_000, 32_000)))
            break
        except OSError:
            pass
    draw = f"import sys, random; sys.path.insert(0, {os.path.dirname(os.path.abspath(ports.__file__))!r})\nimport ports\n"
    draw += f"drawn = [{port}, {taken.getsockname()[1]}]\n"
    draw += "class Dice:\n    def choice(self, them):\n        return drawn.pop(0) if drawn else random.choice(them)\n"
    draw += "random.SystemRandom = Dice\nprint(ports.free_port())"
    other = int(subprocess.run([sys.executable, "-c", draw], stdout=subprocess.PIPE, check=True, timeout=30).stdout)
    assert other not in (port, taken.getsockname()[1])
    if not (low <= 10_000 and high >= 32_000):
        assert not low <= port <= high and not low <= other <= high, (port, other)
    for address in ("127.0.0.1", "127.0.0.3", "0.0.0.0"):
        socket.create_server((address, port)).close()


def a_hop_that_is_down_at_first():
    port = free_port()
    relay = Relay(BINARY, None, FAST, route=f'[[route]]\ndomain = "*"\nto = "smtp://127.0.0.1:{port}"\n')
    relay.send("a@b.example", ["c@d.example"], TEXT)
    time.sleep(1)
    relay.kill()
    relay.start()
    sink = Sink(port=port)
    sink.wait(1)
    relay.stop()


def connections_are_limited_over_the_node():
    sink = Sink(lambda point, _: time.sleep(0.02) if point == "dot" else None)
    relay = Relay(BINARY, sink, "[delivery]\nconnections_per_destination = 3\n")

    def load(number):
        client = relay.client()
        for message in range(20):
            client.sendmail("a@b.example", [f"c@d{number * 100 + message}.example"], TEXT)

    threads = [threading.Thread(target=load, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sink.wait(160)
    assert sink.most_open == 3, f"{sink.most_open} connections, 3 are allowed and of use"
    relay.stop()


def tls_both_ways_and_accounts():
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        context = certificate(directory, "relay.example")
        hashed = subprocess.run([BINARY, "hash-password"], input=b"secret\n", stdout=subprocess.PIPE, check=True)
        with open(f"{directory}/accounts", "wb") as file:
            file.write(b"# who may relay\nnews:" + hashed.stdout)
        listener = (
            f'relay_from = ["10.0.0.0/8"]\ntls_certificate = "{directory}/chain.pem"\ntls_key = "{directory}/key.pem"\n'
        )
        for tls, protected in ((context, True), ("broken", False)):
            sink = Sink(tls=tls)
            relay = Relay(BINARY, sink, f'[auth]\naccounts = "{directory}/accounts"\n', listener)
            assert relay.told("chain.pem: expires on", "day", "renew it", "and reload"), relay.words
            with urllib.request.urlopen(f"http://127.0.0.1:{relay.http}/metrics", timeout=10) as answer:
                left = answer.read().decode().partition(f'relevo_certificate_left_days{{file="{directory}/chain.pem"}} ')[2]
            assert left[:2] in ("1\n", "2\n"), left[:20]
            client = relay.client()
            client.ehlo()
            assert not client.has_extn("auth"), "AUTH is offered in plain text"
            client.mail("a@b.example")
            assert client.rcpt("c@d.example")[0] == 550, "an open relay"
            client.rset()
            trusting = ssl.create_default_context()
            trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
            client.starttls(context=trusting)
            client.ehlo()
            try:
                client.login("news", "wrong")
                raise AssertionError("a wrong password was taken")
            except smtplib.SMTPAuthenticationError as error:
                assert error.smtp_code == 535
            client.login("news", "secret")
            body = TEXT + b"abc\r\n" * 100000
            client.sendmail("a@b.example", ["c@d.example"], body)
            client.quit()
            sink.wait(1)
            assert sink.taken[0].without_trace() == body
            assert sink.taken[0].protected == protected
            assert b"with ESMTPSA" in sink.taken[0].body
            [delivered] = relay.wait_log("delivered")
            assert ("TLSv1.3" in delivered.get("tls", "")) == protected, delivered
            [received] = relay.wait_log("received")
            assert received["account"] == "news" and "TLSv1.3" in received["tls"], received
            # smtplib tries one mechanism after the other.
            refused = [record for record in relay.wait_log("rejected", 3) if record["reason"] == "auth_failed"]
            assert refused and all(record["account"] == "news" and record["client"] for record in refused), refused
            assert all(record["enhanced"] == "5.7.8" for record in refused), refused
            relay.stop()


def the_end_of_tls_behind_the_last_command():
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        certificate(directory, "relay.example")
        listener = f'tls_certificate = "{directory}/chain.pem"\ntls_key = "{directory}/key.pem"\n'
        sink = Sink()
        relay = Relay(BINARY, sink, "", listener)
        for last, answer in ((b"NOOP\r\n", b"250 "), (b"QUIT\r\n", b"221 ")):
            client = socket.create_connection(("127.0.0.1", relay.port), timeout=20)
            lines = client.makefile("rb")
            lines.readline()
            for command in (b"EHLO x", b"STARTTLS"):
                client.sendall(command + b"\r\n")
                while lines.readline()[3:4] == b"-":
                    pass
            trusting = ssl.create_default_context()
            trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
            came, going = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = trusting.wrap_bio(came, going, server_hostname="x")
            shaken = False
            while not shaken:
                try:
                    tls.do_handshake()
                    shaken = True
                except ssl.SSLWantReadError:
                    pass
                client.sendall(going.read())
                if not shaken:
                    came.write(client.recv(20000))
            tls.write(last)
            try:
                tls.unwrap()
            except ssl.SSLError:
                pass
            # One packet has both; the end of the connection itself never comes from here.
            client.sendall(going.read())
            said = b""
            while piece := client.recv(20000):
                said += piece
            came.write(said)
            text = b""
            try:
                while piece := tls.read(1000):
                    text += piece
            except ssl.SSLError:
                pass
            assert not text or text.startswith(answer), text
            assert said, "it was not answered"
        relay.stop()


def only_one_ending_ends_a_message():
    sink = Sink()
    relay = Relay(BINARY, sink)
    for ending in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r\n\x00.\r\n\n"):
        client = socket.create_connection(("127.0.0.1", relay.port), timeout=20)
        lines = client.makefile("rb")
        lines.readline()
        for command in (b"EHLO x", b"MAIL FROM:<a@b.example>", b"RCPT TO:<c@d.example>", b"DATA"):
            client.sendall(command + b"\r\n")
            while lines.readline()[3:4] == b"-":
                pass
        hidden = b"MAIL FROM:<evil@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nevil\r\n.\r\n"
        client.sendall(b"Subject: a\r\n\r\nx" + ending + hidden)
        answer = lines.readline()
        assert answer.startswith(b"550 5.6.11"), (ending, answer)
        assert lines.readline() == b"", "the connection goes on after a message nobody can be sure of"
    time.sleep(0.5)
    assert not sink.taken
    relay.stop()


def a_drain_finishes_what_is_under_way():
    sink = Sink(lambda point, _: time.sleep(1) if point == "dot" else None)
    relay = Relay(BINARY, sink)
    idle = socket.create_connection(("127.0.0.1", relay.port), timeout=20)
    idle.recv(200)
    relay.send("a@b.example", ["c@d.example"], TEXT)
    time.sleep(0.3)
    begun = time.monotonic()
    relay.stop()
    assert time.monotonic() - begun < 10
    assert len(sink.taken) == 1
    assert idle.recv(200).startswith(b"421")


def mx_answers_of_a_real_name_server():
    import tempfile

    port, sink = free_port(), Sink()
    data = [
        "good.example. 60 IN MX 10 mx1.good.example.",
        "good.example. 60 IN MX 20 mx2.good.example.",
        "mx1.good.example. 60 IN A 127.0.0.9",
        "mx2.good.example. 60 IN A 127.0.0.1",
        "null.example. 60 IN MX 0 .",
        "implicit.example. 60 IN A 127.0.0.1",
        "loop.example. 60 IN MX 10 relay.example.",
        "bare.example. 60 IN MX 10 nothere.example.",
        "b.example. 60 IN A 127.0.0.1",
    ]
    for number in range(60):
        # More than a datagram holds: asked for again over TCP.
        data.append(f"big.example. 60 IN MX {number} a-host-with-a-long-name-{number}.big.example.")
        data.append(f"a-host-with-a-long-name-{number}.big.example. 60 IN A 127.0.0.1")
    with tempfile.TemporaryDirectory() as directory:
        with open(f"{directory}/unbound.conf", "w") as file:
            file.write(f'server:\n interface: 127.0.0.1@{port}\n do-daemonize: no\n username: ""\n chroot: ""\n')
            file.write(f' pidfile: ""\n use-syslog: no\n directory: "{directory}"\n local-zone: "example." static\n')
            file.writelines(f' local-data: "{record}"\n' for record in data)
        os.environ["PATH"] += ":/usr/sbin"
        server = subprocess.Popen(["unbound", "-c", f"{directory}/unbound.conf"], stderr=subprocess.DEVNULL)
        try:
            time.sleep(1)
            settings = f'[dns]\nservers = ["127.0.0.1:{port}"]\ntimeout = "1s"\n'
            settings += f"[delivery]\nmx_port = {sink.port}\nallow_loopback_mx = true\n"
            relay = Relay(BINARY, sink, settings, route="")
            for domain in ("good", "implicit", "big", "null", "loop", "bare", "gone"):
                relay.send("a@b.example", [f"u@{domain}.example"], TEXT)
            sink.wait(7)
            reached = sorted(name for name in sink.recipients() if name != "a@b.example")
            assert reached == ["u@big.example", "u@good.example", "u@implicit.example"], reached
            returned = b"".join(message.body for message in sink.taken if message.sender == "")
            for words in (b"5.1.10", b"5.4.6", b"5.4.4", b"5.1.2"):
                assert b"Status: " + words in returned, (words, returned)
            relay.wait_log("bounced", 4)
            relay.stop()
        finally:
            server.kill()


def a_machine_without_io_uring():
    wrap = (sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "refused.py"), "ring")
    sink = Sink()
    relay = Relay(BINARY, sink, wrap=wrap)
    assert relay.told("the kernel refuses io_uring: Operation not permitted"), relay.words
    assert relay.told("2 shards on epoll"), relay.words
    for number in range(20):
        relay.send("a@b.example", [f"u{number}@d.example"], TEXT)
    sink.wait(20)
    with urllib.request.urlopen(f"http://127.0.0.1:{relay.http}/metrics", timeout=10) as answer:
        assert b'relevo_runtime_info{name="epoll"} 1' in answer.read()
    with open(f"{relay.directory}/relevo.toml", "a") as file:
        file.write('[tuning]\nruntime = "glommio"\n')
    said = run_and_fail(" ".join([*wrap, BINARY]), "run", "--config", f"{relay.directory}/relevo.toml")
    assert "refuses io_uring" in said and 'runtime = "epoll"' in said, said
    relay.stop()


def threads_that_cannot_stand_back_are_told():
    wrap = (sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "refused.py"), "patience")
    words = ("the kernel refuses setpriority: Operation not permitted", "SystemCallFilter=")
    relay = Relay(BINARY, Sink(), wrap=wrap)
    assert relay.told(*words), relay.words
    assert sum("refuses setpriority" in line for line in relay.words) == 1, relay.words
    relay.process.terminate()
    assert relay.process.wait(45) == 0
    for wrap, expected in ((wrap, True), ((), False)):
        command = [*wrap, BINARY, "check", "--config", f"{relay.directory}/relevo.toml"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        said = done.stdout + done.stderr
        assert done.returncode == 0 and all(part in said for part in words) == expected, said


def standard_output_is_a_socket():
    """As under systemd, where it is the journal's: by whatever name it is called."""
    for name in ("-", "/dev/stdout", "/proc/self/fd/1"):
        ours, theirs = socket.socketpair()
        relay = Relay(BINARY, Sink())
        relay.kill()
        with open(f"{relay.directory}/relevo.toml") as file:
            text = file.read()
        with open(f"{relay.directory}/relevo.toml", "w") as file:
            file.write(text.replace(f"{relay.directory}/log.jsonl", name))
        command = [BINARY, "check", "--config", f"{relay.directory}/relevo.toml"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)
        assert done.returncode == 0 and "accounting to standard output" in done.stdout and "log.path" not in done.stdout, done
        command[1] = "run"
        process = subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, text=True)
        try:
            assert any("listening" in line for line in process.stderr), "it did not start"
            relay.send("a@b.example", ["c@d.example"], TEXT)
            ours.settimeout(10)
            assert b'"event":"received"' in ours.recv(65536)
        finally:
            process.kill()


def starts_are_all_or_nothing():
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        config = f"{directory}/c.toml"

        def write(**changes):
            values = dict(data_dir=f"{directory}/spool", port=free_port(), log=f"{directory}/log", http="", more="")
            values.update(changes)
            with open(config, "w") as file:
                file.write('[node]\nhostname = "relay.example"\ndata_dir = "{data_dir}"\nshards = 2\n'.format(**values))
                file.write('[[listener]]\naddress = "127.0.0.1:{port}"\n{more}\n'.format(**values))
                file.write('[log]\npath = "{log}"\n[control]\nhttp = "{http}"\n[spool]\nsegment_size = "4MiB"\n'.format(**values))
            return values["port"]

        def refused(*words, setup="", **changes):
            port = write(**changes)
            said = run_and_fail(BINARY, "run", "--config", config, setup=setup)
            assert all(word in said for word in words), (words, said)
            with socket.socket() as probe:
                busy = changes.get("port") is not None
                assert busy or probe.connect_ex(("127.0.0.1", port)) != 0, "something listens after a refused start"

        taken = socket.create_server(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        refused("cannot listen on", "another process", port=port)
        refused("control.http", http=f"127.0.0.1:{port}")
        with open(f"{directory}/file", "w"):
            pass
        refused("node.data_dir", data_dir=f"{directory}/file")
        refused("log.path", log=f"{directory}/file/log")
        refused("chain.pem", more=f'tls_certificate = "{directory}/chain.pem"\ntls_key = "{directory}/key.pem"')
        refused("ulimit -n", setup="ulimit -n 100;")
        refused("c.toml:7:", "unknown key", more="colour = 1")
        sink = Sink()
        relay = Relay(BINARY, sink)
        refused("in use by another relevo process", data_dir=f"{relay.directory}/spool")
        relay.stop()
        assert "give the path" in run_and_fail(BINARY, "check", "--config", f"{directory}/missing.toml")


def nothing_acknowledged_is_lost_by_kills():
    seed = int(os.environ.get("RELEVO_SEED", random.randrange(1 << 30)))
    total = int(os.environ.get("RELEVO_CRASH_MESSAGES", 4000))
    print(f"RELEVO_SEED={seed}")
    chance, sink = random.Random(seed), Sink()
    relay = Relay(BINARY, sink, FAST)
    acknowledged, unsure, lock, next_id = set(), set(), threading.Lock(), iter(range(total))

    def load():
        client = None
        while True:
            with lock:
                number = next(next_id, None)
            if number is None:
                return
            while True:
                try:
                    client = client or relay.client()
                    text = b"Message-Id: <%d>\r\n\r\n" % number + b"x" * (number * 37 % 5000) + b"\r\n"
                    client.sendmail("a@b.example", [f"u{number}@d{number % 50}.example"], text)
                    with lock:
                        acknowledged.add(number)
                    break
                except (OSError, smtplib.SMTPException):
                    with lock:
                        unsure.add(number)
                    client = None
                    time.sleep(0.05)

    threads = [threading.Thread(target=load) for _ in range(50)]
    for thread in threads:
        thread.start()
    kills = 0
    while any(thread.is_alive() for thread in threads):
        time.sleep(chance.uniform(0.05, 1.0))
        relay.kill()
        kills += 1
        # Other shard counts read the same lanes.
        relay.shards = chance.choice([1, 2, 2, 3])
        relay.write()
        relay.start()
    end = time.monotonic() + 60
    while True:
        numbers = [int(name.split("@")[0][1:]) for name in sink.recipients()]
        if acknowledged <= set(numbers) or time.monotonic() > end:
            break
        time.sleep(0.1)
    lost = acknowledged - set(numbers)
    assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged messages are lost: {sorted(lost)[:10]}"
    for message in sink.taken:
        number = int(message.recipients[0].split("@")[0][1:])
        text = message.without_trace()
        assert text == b"Message-Id: <%d>\r\n\r\n" % number + b"x" * (number * 37 % 5000) + b"\r\n", f"{number} was altered"
    repeated = len(numbers) - len(set(numbers)) - len(unsure)
    print(f"{len(acknowledged)} acknowledged, {kills} kills, {max(repeated, 0)} or fewer repeated by the relay")
    assert repeated <= kills * 4096
    relay.stop()


def real_tools_pass():
    os.environ["PATH"] += ":/usr/sbin"
    port = free_port()
    user = ["-u", "nobody"] if os.getuid() == 0 else []
    hop = subprocess.Popen(["smtp-sink", *user, "-c", f"127.0.0.1:{port}", "1000"], stdout=subprocess.DEVNULL)
    try:
        relay = Relay(BINARY, None, route=f'[[route]]\ndomain = "*"\nto = "smtp://127.0.0.1:{port}"\n')
        at = f"127.0.0.1:{relay.port}"
        for keep in ([], ["-d"]):
            command = ["smtp-source", *keep, "-s", "20", "-m", "1000", "-l", "4000", "-f", "a@b.example", "-t", "c@d.example", at]
            subprocess.run(command, check=True, timeout=60)
        command = ["swaks", "--server", at, "--from", "a@b.example", "--to", "c@d.example,e@f.example", "--silent", "2"]
        subprocess.run(command, check=True, timeout=30)
        relay.wait_log("delivered", 2002)
        relay.stop()
    finally:
        hop.kill()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
