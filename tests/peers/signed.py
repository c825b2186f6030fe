"""Signatures of mail (DKIM) with the real binary, checked by others' verifiers: `signed.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import base64
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "attacks"))
from certificate import certificate
from relay import Relay
from sink import Sink

BINARY = os.path.abspath(sys.argv[2])
HERE = os.path.dirname(os.path.abspath(__file__))


def unchecked():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Keys:
    """A directory of keys made by OpenSSL, and what DNS has of them."""

    def __init__(self):
        self.path, self.records = tempfile.mkdtemp(prefix="relevo-keys-"), {}

    def make(self, domain, selector, algorithm="RSA"):
        os.makedirs(f"{self.path}/{domain}", exist_ok=True)
        file = f"{self.path}/{domain}/{selector}.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", algorithm, "-out", file], check=True, stderr=subprocess.DEVNULL)
        os.chmod(file, 0o600)
        public = subprocess.run(["openssl", "pkey", "-in", file, "-pubout", "-outform", "DER"], check=True, capture_output=True).stdout
        kind, key = ("rsa", public) if algorithm == "RSA" else ("ed25519", public[-32:])
        self.records[f"{selector}._domainkey.{domain}"] = f"v=DKIM1; k={kind}; p={base64.b64encode(key).decode()}"

    def verify(self, messages):
        """What dkimpy says of the signatures of each; Mail::DKIM agrees as to RSA."""
        directory = tempfile.mkdtemp(prefix="relevo-signed-")
        files = []
        for number, message in enumerate(messages):
            files.append(f"{directory}/{number:04}.eml")
            with open(files[-1], "wb") as file:
                file.write(message)
        with open(f"{directory}/records.json", "w") as file:
            json.dump(self.records, file)
        with open(f"{directory}/records.txt", "w") as file:
            file.writelines(f"{name}\t{text}\n" for name, text in self.records.items())
        run = lambda *command: subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        found = [json.loads(line) for line in run("/usr/bin/python3", f"{HERE}/verifier.py", f"{directory}/records.json", *files)]
        others = run("/usr/bin/perl", f"{HERE}/verifier.pl", f"{directory}/records.txt", *files)
        for one, other in zip(found, others, strict=True):
            # Debian's Mail::DKIM knows no Ed25519.
            right = {f"{domain}/{selector}=pass" for domain, selector, algorithm, result in one if (algorithm, result) == ("rsa-sha256", "right")}
            assert right == {word for word in other.split() if word.endswith("=pass")}, (one, other)
        return found


def start(keys, sink, more="", **how):
    return Relay(BINARY, sink, f'[dkim]\nkeys = "{keys.path}"\n{more}', **how)


def arrived(sink, count):
    deadline = time.monotonic() + 30
    while len(sink.taken) < count:
        assert time.monotonic() < deadline, f"{len(sink.taken)} of {count} came"
        time.sleep(0.05)
    return [taken.body for taken in sink.taken]


HEADER = b"From: Ada <ada@shop.example>\r\nTo: bob@b.example\r\nSubject: hello\r\nDate: Sun, 29 Nov 2026 09:00:00 +0000\r\nMessage-ID: <1@shop.example>\r\n"
SHAPES = {
    "plain": HEADER + b"\r\nA line.\r\n",
    "no body": HEADER + b"\r\n",
    "no empty line": HEADER,
    "empty lines at the end": HEADER + b"\r\nA line.\r\n\r\n \r\n\r\n",
    "dots": HEADER + b"\r\n.\r\n..\r\n.a\r\n",
    "blanks": HEADER + b"\r\na  b\t\tc \t\r\n\r\n\t x\r\n",
    "folded": b"Subject: a\r\n  b\r\n\tc\r\nFROM:ada@shop.example\r\nTo:\t x\r\n\r\nbody\r\n",
    "mailbox line": b"From ada Sun Nov 29\r\n" + HEADER + b"\r\nbody\r\n",
    "no date, no id": b"From: ada@shop.example\r\nSubject: x\r\n\r\nbody\r\n",
    "8-bit": HEADER + "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße.\r\n.dot ü\r\n".encode(),
    "8-bit header": b"From: ada@shop.example\r\nSubject: Gr\xfc\xdfe\r\n\r\nbody \xff\r\n",
    "long line": HEADER + b"\r\n" + b"x" * 3000 + b"\r\n",
    "large": HEADER + b"\r\n" + b"A line of a large body.  \r\n" * 60_000,
    "large 8-bit": HEADER + b"\r\n" + "Größe  \r\n".encode() * 80_000,
    "instructions": b"X-Job: spring\r\nX-Relevo-Tenant: shop\r\n" + HEADER + b"\r\nbody\r\n",
    "signed before": b"DKIM-Signature: v=1; a=rsa-sha256; d=other.example; s=x; h=from; bh=x; b=x\r\nFrom: ada@shop.example\r\n\r\nbody " + "ü".encode() + b"\r\n",
    "many fields": b"".join(b"X-Field-%d: %s\r\n" % (number, b"v" * 60) for number in range(900)) + HEADER + b"\r\nbody\r\n",
}


def what_is_signed_is_verified_by_others():
    keys = Keys()
    keys.make("shop.example", "r1")
    keys.make("shop.example", "e1", "ED25519")
    keys.make("relay.example", "r2")
    sink = Sink()
    for forms in ("relaxed/relaxed", "simple/simple", "simple/relaxed"):
        sink.taken.clear()
        relay = start(keys, sink, f'relay_domain = "relay.example"\ncanonicalization = "{forms}"\n')
        for shape in SHAPES.values():
            relay.send_raw("news@shop.example", ["bob@b.example"], shape)
        messages = arrived(sink, len(SHAPES))
        assert sum(b"X-Relevo" in message or b"X-Job" in message for message in messages) == 0
        wanted = [["shop.example", "r1", "rsa-sha256"], ["shop.example", "e1", "ed25519-sha256"], ["relay.example", "r2", "rsa-sha256"]]
        for message, found in zip(messages, keys.verify(messages), strict=True):
            ours = [one for one in found if one[0] != "other.example"]
            assert [one[:3] for one in ours] == wanted and all(one[3] == "right" for one in ours), (forms, message[:3000], found)
        relay.stop()


def what_a_hop_has_encoded_goes_without_a_signature():
    """8-bit text that went to the spool in pieces was signed as it is. A small one is encoded before that, and keeps its signature."""
    keys = Keys()
    keys.make("shop.example", "r1")
    sink = Sink(extensions=("PIPELINING",))
    relay = start(keys, sink)
    mime = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    relay.send_raw("news@shop.example", ["bob@b.example"], HEADER + mime + "Grüße.\r\n".encode())
    relay.send_raw("news@shop.example", ["bob@b.example"], HEADER + mime + "Größe  \r\n".encode() * 80_000)
    small, large = sorted(arrived(sink, 2), key=len)
    assert small.isascii() and large.isascii()
    assert keys.verify([small]) == [[["shop.example", "r1", "rsa-sha256", "right"]]]
    assert b"DKIM-Signature" not in large
    relay.stop()


def only_mail_of_those_we_relay_for_is_signed():
    """An account signs for the addresses that it may send as, and nobody signs in the relay's name what would pass for the relay's own."""
    keys = Keys()
    for domain in ("shop.example", "bank.example", "relay.example"):
        keys.make(domain, "r1")
    sink = Sink()
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as accounts:
        hashed = subprocess.run([BINARY, "hash-password"], input="secret\n", capture_output=True, text=True, check=True).stdout.strip()
        accounts.write(f'[[account]]\nname = "shop"\npassword = "{hashed}"\nsenders = ["@shop.example", "*.shop.example"]\n')
        accounts.flush()
        directory = tempfile.mkdtemp(prefix="relevo-tls-")
        certificate(directory, "relay.example")
        listener = f'relay_from = []\ntls_certificate = "{directory}/chain.pem"\ntls_key = "{directory}/key.pem"\n'
        relay = start(keys, sink, f'relay_domain = "relay.example"\n[auth]\naccounts = "{accounts.name}"\n', listener=listener)
        client = relay.client()
        client.starttls(context=unchecked())
        client.login("shop", "secret")
        for sender in ("x@bank.example", "x@shop.example.evil"):
            assert client.mail(sender) == (550, b"5.7.1 This account may not send as this address"), sender
        for author in ("a@shop.example", "a@news.shop.example", "a@bank.example", "a@relay.example", "a@sub.relay.example", "a@example"):
            client.sendmail("n@shop.example", ["bob@b.example"], f"From: {author}\r\nSubject: {author}\r\n\r\nx\r\n")
        client.quit()
        messages = arrived(sink, 6)
        domains = {}
        for message, found in zip(messages, keys.verify(messages), strict=True):
            assert all(one[3] == "right" for one in found), found
            domains[message.split(b"Subject: ")[1].split(b"\r\n")[0].decode()] = [one[0] for one in found]
        assert domains == {
            "a@shop.example": ["shop.example", "relay.example"],
            "a@news.shop.example": ["shop.example", "relay.example"],
            "a@bank.example": ["relay.example"],
            "a@relay.example": [],
            "a@sub.relay.example": [],
            "a@example": [],
        }, domains
        assert len(relay.wait_log("rejected", 2)) == 2 and {event["reason"] for event in relay.wait_log("rejected", 2)} == {"sender_denied"}
        relay.stop()


def a_new_key_signs_from_a_reload_on():
    keys = Keys()
    keys.make("shop.example", "r1")
    sink = Sink()
    relay = start(keys, sink)
    relay.send_raw("n@shop.example", ["bob@b.example"], HEADER + b"\r\nx\r\n")
    arrived(sink, 1)
    time.sleep(0.05)
    keys.make("shop.example", "r2")
    relay.send_raw("n@shop.example", ["bob@b.example"], HEADER + b"\r\nx\r\n")
    arrived(sink, 2)
    done = subprocess.run([BINARY, "reload", "--config", f"{relay.directory}/relevo.toml"], capture_output=True, text=True)
    assert done.returncode == 0, done
    relay.send_raw("n@shop.example", ["bob@b.example"], HEADER + b"\r\nx\r\n")
    found = keys.verify(arrived(sink, 3))
    assert [[one[1:] for one in each] for each in found] == [[[name, "rsa-sha256", "right"]] for name in ("r1", "r1", "r2")], found
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
