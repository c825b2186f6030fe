"""What is done for mail that is submitted (RFC 6409), with the real binary and clients as they are: `duties.py STORY BINARY`. Called by
tests/peers.rs, one test a story."""
import email
import email.utils
import os
import smtplib
import ssl
import subprocess
import sys
import tempfile
import time

from certificate import certificate
from relay import Relay
from sink import Sink

BINARY = os.path.abspath(sys.argv[2])
ALL = 'missing_fields = "add"\nbcc = "remove"\nfrom_fields = "one"\n'


def until(sink, count):
    end = time.monotonic() + 20
    while len(sink.taken) < count:
        assert time.monotonic() < end, f"{len(sink.taken)} of {count}"
        time.sleep(0.05)


def what_a_client_leaves_out_is_put_in():
    sink = Sink()
    relay = Relay(BINARY, sink, listener=ALL)
    # swaks says what it is told; --h-Bcc stands in the message.
    swaks = ["swaks", "--server", f"127.0.0.1:{relay.port}", "--from", "a@b.example", "--to", "c@d.example", "--data"]
    bare = "From: a@b.example\\nTo: c@d.example\\nBcc: hidden@e.example,\\n other@e.example\\nSubject: one\\n\\nbody\\n"
    done = subprocess.run([*swaks, bare], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    until(sink, 1)
    text = sink.taken[0].without_trace()
    assert b"hidden" not in text and b"other" not in text, text
    found = email.message_from_bytes(text)
    assert abs(email.utils.parsedate_to_datetime(found["Date"]).timestamp() - time.time()) < 60, found["Date"]
    assert found["Message-ID"].endswith("@relay.example>") and found["Subject"] == "one" and found["Bcc"] is None
    assert text.rstrip().endswith(b"\r\n\r\nbody"), text
    # What is there stays, byte for byte; so does what somebody signed, but for Bcc. Large ones are stored in pieces.
    whole = b"Date: x\r\nMessage-Id: <y>\r\nFrom: a@b.example\r\n\r\n"
    signed = b"DKIM-Signature: v=1\r\nFrom: a@b.example\r\n\r\n"
    large = b"From: a@b.example\r\n\r\n" + b"a usual line\r\n" * 60_000
    for message in (whole, signed, large, b"no header\r\n"):
        relay.send_raw("a@b.example", ["c@d.example"], message)
    until(sink, 5)
    texts = sorted((one.without_trace() for one in sink.taken[1:]), key=len)
    assert signed in texts and whole in texts, texts[:3]
    long = texts[-1]
    assert long.endswith(large) and long.count(b"\r\nMessage-ID: <") == 1 and long.startswith(b"Date: ")
    assert any(one.startswith(b"Date: ") and one.endswith(b"\r\n\r\nno header\r\n") for one in texts), texts[:3]
    # Each has an id of its own.
    for _ in range(20):
        relay.send_raw("a@b.example", ["c@d.example"], b"From: a@b.example\r\n\r\n")
    until(sink, 25)
    ids = [email.message_from_bytes(one.body)["Message-ID"] for one in sink.taken[5:]]
    assert len(set(ids)) == 20, ids
    client = relay.client()
    client.ehlo()
    client.mail("a@b.example")
    client.rcpt("c@d.example")
    code, words = client.data(b"From: a@b.example\r\nTo: x\r\nFrom: c@d.example\r\n\r\n")
    assert (code, words) == (554, b"5.6.0 There is a second From field at line 3 (RFC 5322 section 3.6)"), words
    client.quit()
    assert [event["reason"] for event in relay.wait_log("rejected")] == ["content"]
    assert len(sink.taken) == 25
    relay.stop()


def bcc_leaks_nowhere():
    """Whatever a client puts in front of its header section: the field goes, or the message is refused."""
    sink = Sink()
    relay = Relay(BINARY, sink, listener=ALL)
    mark, rest = b"\xef\xbb\xbf", b"From: a@b.example\r\nBcc: hidden@e.example\r\n\r\nbody\r\n"
    client = relay.client()
    client.ehlo()
    for message, line in (
        (mark + rest, 2),
        (mark + b"Bcc: hidden@e.example\r\nFrom: a@b.example\r\n\r\nbody\r\n", 1),
        (b" " + rest, 2),
        (b"\r\n" + rest, 3),
        (b"\r\n\r\n" + rest, 4),
        (b"no field\r\n" + rest, 3),
        (b"no field\r\n \tResent-Bcc : hidden@e.example\r\n\r\nbody\r\n", 2),
    ):
        client.mail("a@b.example")
        client.rcpt("c@d.example")
        code, words = client.data(message)
        words_wanted = f"5.6.0 There is a Bcc field at line {line}, but no header section".encode()
        assert code == 554 and words.startswith(words_wanted), (message, code, words)
    taken = 0
    for message in (
        rest,
        b"Subject: x\r\n" + mark + b"Bcc: hidden@e.example\r\n\r\nbody\r\n",
        b"From: a@b.example\r\nno field\r\nBCC\t: hidden@e.example,\r\n\thidden@f.example\r\n\r\nbody\r\n",
        b"Hello,\r\n\r\nBcc: is a field\r\n",
    ):
        client.mail("a@b.example")
        client.rcpt("c@d.example")
        code, words = client.data(message)
        assert code == 250, (message, words)
        taken += 1
    client.quit()
    until(sink, taken)
    assert not any(b"hidden" in one.body for one in sink.taken), [one.body for one in sink.taken]
    assert any(b"\r\nBcc: is a field" in one.body for one in sink.taken)
    assert {event["reason"] for event in relay.wait_log("rejected", 7)} == {"content"}
    relay.stop()


def an_account_writes_as_itself():
    with tempfile.TemporaryDirectory() as directory:
        certificate(directory)
        hashed = subprocess.run([BINARY, "hash-password"], input="secret\n", capture_output=True, text=True, check=True).stdout.strip()
        path = f"{directory}/accounts.toml"
        with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write(f'[[account]]\nname = "shop"\npassword = "{hashed}"\nsenders = ["@shop.example"]\n')
            file.write(f'[[account]]\nname = "any"\npassword = "{hashed}"\n')
        for author in ("refuse", "sender"):
            sink = Sink()
            listener = f'relay_from = []\nauthor = "{author}"\ntls_certificate = "{directory}/chain.pem"\ntls_key = "{directory}/key.pem"\n'
            relay = Relay(BINARY, sink, f'[auth]\naccounts = "{path}"\n', listener=listener)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

            def send(account, field):
                client = relay.client()
                client.starttls(context=context)
                client.login(account, "secret")
                try:
                    client.sendmail("news@shop.example", ["c@d.example"], field + "\nSubject: x\n\nbody\n")
                    return 250, b""
                except smtplib.SMTPDataError as error:
                    return error.smtp_code, error.smtp_error
                finally:
                    client.quit()

            own, foreign = "From: Shop <hello@SHOP.example>", 'From: "a@shop.example" <ceo@other.example>\nSender: ceo@other.example'
            assert send("shop", own)[0] == 250 and send("any", foreign)[0] == 250
            code, words = send("shop", foreign)
            if author == "refuse":
                assert code == 550 and words.startswith(b"5.7.1 This account may not write as"), (code, words)
                assert [event["reason"] for event in relay.wait_log("rejected")] == ["sender_denied"]
                until(sink, 2)
            else:
                assert code == 250, words
                until(sink, 3)
                said = sorted(str(email.message_from_bytes(one.body).get_all("Sender")) for one in sink.taken)
                assert said == ["None", "['<news@shop.example>']", "['ceo@other.example']"], said
            relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
