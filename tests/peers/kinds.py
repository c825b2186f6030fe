"""Listeners of each kind, and the clients that they are for: smtplib, curl, openssl, swaks.

    python3 tests/peers/kinds.py STORY path/to/relevo
"""
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time

from balancer import accounts, trusting
from certificate import certificate
from ports import free_port
from relay import Relay, run_and_fail
from sink import Sink

BINARY = sys.argv[2]
TEXT = b"Subject: hello\r\n\r\nbody\r\n"


class Doors:
    """A relay with a listener of each kind that asks for a login."""

    def __init__(self, directory, more=""):
        certificate(directory, "relay.example")
        files = f'tls_certificate = "{directory}/chain.pem"\ntls_key = "{directory}/key.pem"\n'
        self.submission, self.submissions = free_port(), free_port()
        listeners = "".join(
            f'[[listener]]\naddress = "127.0.0.1:{port}"\nkind = "{kind}"\n{files}{more}\n'
            for kind, port in (("submission", self.submission), ("submissions", self.submissions))
        )
        self.sink = Sink()
        self.relay = Relay(BINARY, self.sink, accounts(directory) + listeners)


def run(*command, stdin=b"", code=0):
    done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    assert done.returncode == code, (command, done.returncode, done.stdout.decode(errors="replace"))
    return done.stdout


def nobody_sends_without_a_login():
    """Not even this machine, to no recipient, in no way; and with one everybody does."""
    with tempfile.TemporaryDirectory() as directory:
        doors = Doors(directory)
        plain = smtplib.SMTP("127.0.0.1", doors.submission, local_hostname="client.example", timeout=30)
        plain.ehlo()
        assert plain.has_extn("starttls") and not plain.has_extn("auth")
        assert plain.mail("a@b.example") == (530, b"5.7.0 Must issue a STARTTLS command first")
        assert plain.docmd("AUTH", "PLAIN AG5ld3MAc2VjcmV0")[0] == 538
        plain.starttls(context=trusting())
        under = smtplib.SMTP_SSL("127.0.0.1", doors.submissions, local_hostname="client.example", timeout=30, context=trusting())
        for at, client in enumerate((plain, under)):
            client.ehlo()
            assert client.has_extn("auth") and not client.has_extn("starttls")
            assert client.docmd("STARTTLS")[0] in (502, 503)
            for sender in ("a@b.example", ""):
                assert client.mail(sender) == (530, b"5.7.0 Authentication required")
            assert client.rcpt("postmaster")[0] == 503
            client.login("news", "secret")
            client.sendmail("a@b.example", ["c@d.example"], TEXT)
            client.quit()
            doors.sink.wait(at + 1)
            assert b"with ESMTPSA (TLSv1.3" in doors.sink.taken[at].body, doors.sink.taken[at].body
        rejected = doors.relay.wait_log("rejected", 8)
        reasons = ["auth_refused"] + ["auth_required"] * 5 + ["protocol"] * 2
        assert sorted(event["reason"] for event in rejected) == reasons, rejected
        assert all(event["enhanced"] == "5.7.0" for event in rejected if event["reason"] == "auth_required"), rejected
        # A relay for itself beside them, as before.
        doors.relay.send("a@b.example", ["c@d.example"], TEXT)
        doors.sink.wait(3)
        doors.relay.stop()


def real_clients_begin_with_tls():
    with tempfile.TemporaryDirectory() as directory:
        doors = Doors(directory)
        with open(f"{directory}/mail", "wb") as file:
            file.write(TEXT)
        login = ["--user", "news:secret", "--mail-from", "a@b.example", "--mail-rcpt", "c@d.example", "-T", f"{directory}/mail"]
        run("curl", "-sS", "--insecure", f"smtps://127.0.0.1:{doors.submissions}", *login)
        run("curl", "-sS", "--insecure", "--ssl-reqd", f"smtp://127.0.0.1:{doors.submission}", *login)
        # Without a login it ends at MAIL (curl: 55 or 78, as it likes); and without TLS where that comes first.
        refused = subprocess.run(["curl", "-sS", f"smtps://127.0.0.1:{doors.submissions}", "--insecure", *login[2:]], stderr=subprocess.PIPE, timeout=60)
        assert refused.returncode != 0 and b"530" in refused.stderr, refused
        swaks = ["swaks", "--server", "127.0.0.1", "--from", "a@b.example", "--to", "c@d.example", "--au", "news", "--ap", "secret"]
        run(*swaks, "--port", str(doors.submissions), "--tls-on-connect")
        run(*swaks, "--port", str(doors.submission), "--tls")
        for more, port in ((["-starttls", "smtp"], doors.submission), ([], doors.submissions)):
            for version in ("-tls1_2", "-tls1_3"):
                client = ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{port}", "-servername", "relay.example", version, *more]
                # It says QUIT when it is greeted: what waits on standard input is sent behind the handshake.
                said = run(*client, stdin=b"QUIT\r\n")
                assert (b"220 relay.example" in said or more) and b"221 2.0.0 Bye" in said, said
            for version in ("-tls1", "-tls1_1"):
                client = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", version, "-cipher", "ALL:@SECLEVEL=0", *more]
                done = subprocess.run(client, input=b"", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
                assert done.returncode != 0 and b"alert" in done.stdout, done.stdout
        doors.sink.wait(4)
        doors.relay.stop()


def who_does_not_begin_with_tls_is_told_so():
    """Silence, a look at the port, SMTP in plain text, half a handshake, and more of one than there can be."""
    with tempfile.TemporaryDirectory() as directory:
        doors = Doors(directory)

        def open_one():
            return socket.create_connection(("127.0.0.1", doors.submissions), timeout=90)

        for _ in range(50):
            open_one().close()
        silent = open_one()
        began = time.monotonic()
        for first in (b"EHLO x\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 700, b"GET / HTTP/1.1\r\n\r\n"):
            client = open_one()
            client.sendall(first)
            said = client.makefile("rb").read()
            assert said[:1] == b"\x15" and len(said) == 7, (first, said)
        endless = open_one()
        try:
            # A ClientHello of 16 MiB less one, in records of 16 KiB.
            endless.sendall((b"\x16\x03\x01\x40\x00\x01\xff\xff\xff\x03\x03" + b"\0" * 16378) + (b"\x16\x03\x01\x40\x00" + b"\0" * 16384) * 4)
            endless.makefile("rb").read()
        except ConnectionError:
            pass
        half = open_one()
        half.sendall(b"\x16\x03\x01\x02")
        half.close()
        rejected = doors.relay.wait_log("rejected", 5)
        assert {event["reason"] for event in rejected} == {"tls_failed"} and len(rejected) == 5, rejected
        assert silent.makefile("rb").read() == b"", "nothing is said before a handshake"
        assert 58 < time.monotonic() - began < 70, "silence has its time"
        assert doors.relay.wait_log("rejected", 6)[-1]["reason"] == "tls_failed"
        doors.relay.stop()


def kinds_change_by_a_reload():
    with tempfile.TemporaryDirectory() as directory:
        doors = Doors(directory)
        before = smtplib.SMTP("127.0.0.1", doors.relay.port, local_hostname="client.example", timeout=30)
        before.ehlo()
        path = f"{doors.relay.directory}/relevo.toml"
        with open(path) as file:
            text = file.read()
        files = f'tls_certificate = "{directory}/chain.pem"\ntls_key = "{directory}/key.pem"\n'
        with open(path, "w") as file:
            file.write(text.replace(f'address = "127.0.0.1:{doors.relay.port}"\n', f'address = "127.0.0.1:{doors.relay.port}"\nkind = "submission"\n{files}'))
        run(BINARY, "reload", "--config", path)
        # What may be done between two transactions is what is in force by then.
        assert before.mail("a@b.example") == (530, b"5.7.0 Must issue a STARTTLS command first")
        before.quit()
        words = run_and_fail(BINARY, "check", "--config", f"{directory}/wrong.toml", setup=f"sed 's/^tls_.*//' {path} > {directory}/wrong.toml;")
        assert "TLS from the first byte needs a certificate" in words and "nobody may send here" in words, words
        said = run(BINARY, "check", "--config", path).decode()
        assert f"127.0.0.1:{doors.submissions} for submissions" in said and "TLS from the first byte" in said, said
        doors.relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
