"""Accounts and how they log in: `accounts.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import base64
import hashlib
import hmac
import os
import ssl
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "attacks"))
from certificate import Authority
from hops import BINARY, TEXT, metric, start
from shaping import reload
from sink import Sink
from smart_hosts import credentials
from smart_hosts import route as smart_route
from verify import SOON, trust

PASSWORD = "s,cret=case"


def hashed(*more, password=PASSWORD):
    done = subprocess.run([BINARY, "hash-password", *more], input=password.encode(), stdout=subprocess.PIPE, check=True)
    return done.stdout.decode().strip()


def account(name, scram=True, password=True, more="", iterations=4096):
    lines = [f'[[account]]\nname = "{name}"\n']
    if password:
        lines.append(f'password = "{hashed()}"\n')
    if scram:
        lines.append(f'scram = "{hashed("--scram", "--iterations", str(iterations))}"\n')
    return "".join(lines) + more


class House:
    """A directory with a file of accounts, and a relay whose certificate is valid for 127.0.0.1."""

    def __init__(self, accounts, listener="", sink=None, more=""):
        self.directory = tempfile.mkdtemp(prefix="relevo-accounts-")
        self.accounts = f"{self.directory}/accounts.toml"
        self.authority = Authority(self.directory)
        self.authority.certify("127.0.0.1", san="IP")
        self.sink = sink or Sink()
        with open(self.accounts, "w") as file:
            file.write(accounts)
        files = [self.authority.file(f"127.0.0.1.{kind}") for kind in ("pem", "key")]
        tls = f'tls_certificate = "{files[0]}"\ntls_key = "{files[1]}"\n'
        settings = f'[auth]\naccounts = "{self.accounts}"\n{more}'
        self.relay = start(self.sink, settings, listener=f'relay_from = ["10.0.0.0/8"]\n{tls}{listener}')

    def client(self, version=ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=self.authority.pem)
        context.maximum_version = version
        client = self.relay.client()
        client.ehlo()
        assert not client.has_extn("auth"), "AUTH is offered in plain text"
        client.starttls(context=context)
        client.ehlo()
        return client

    def change(self, accounts):
        reload(self.relay, self.accounts, accounts)


class Wrong(Exception):
    """What the relay said in place of going on."""


def encoded(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def scram(client, name, password, header="n,,", mechanism="SCRAM-SHA-256"):
    """Logs in, as its own code has it, which shares nothing with the relay's. What the relay said of salt and iterations."""

    def say(line, wanted=334):
        code, words = client.docmd(line)
        if code != wanted:
            raise Wrong(f"{code} {words.decode()}")
        return base64.b64decode(words).decode() if wanted == 334 else words.decode()

    name, nonce = name.replace("=", "=3D").replace(",", "=2C"), encoded(os.urandom(12))
    bare = f"n={name},r={nonce}"
    told = say(f"AUTH {mechanism} {encoded(header + bare)}")
    parts = dict(part.split("=", 1) for part in told.split(","))
    assert parts["r"].startswith(nonce) and len(parts["r"]) >= len(nonce) + 18, parts
    without = f"c={encoded(header)},r={parts['r']}"
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(parts["s"]), int(parts["i"]))
    key, server = (hmac.digest(salted, word, "sha256") for word in (b"Client Key", b"Server Key"))
    signed = f"{bare},{told},{without}".encode()
    proof = bytes(a ^ b for a, b in zip(key, hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")))
    try:
        last = say(encoded(f"{without},p={encoded(proof)}"))
    except Wrong as wrong:
        wrong.told = (parts["s"], parts["i"])
        raise
    assert last == "v=" + encoded(hmac.digest(server, signed, "sha256")), "the relay does not know the password itself"
    say("", wanted=235)
    return parts["s"], parts["i"]


def refused(act):
    try:
        act()
    except Wrong as wrong:
        return wrong
    raise AssertionError("it was taken")


def run(*command, text=None):
    return subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)


def clients_prove_their_passwords():
    """Our own code, GNU SASL bound to TLS 1.3 and not, msmtp, curl and smtplib: each logs in, and its mail goes out."""
    house = House(account("bob") + account("ann,b=c"))
    client = house.client()
    assert client.esmtp_features["auth"].split() == ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"], client.esmtp_features
    scram(client, "ann,b=c", PASSWORD)
    client.sendmail("a@b.example", ["own@d.example"], TEXT)
    client.quit()
    # TLS 1.2 has nothing that a login may be bound to.
    client = house.client(ssl.TLSVersion.TLSv1_2)
    assert "SCRAM-SHA-256-PLUS" not in client.esmtp_features["auth"].split(), client.esmtp_features
    scram(client, "bob", PASSWORD)
    client.quit()

    port, pem = str(house.relay.port), house.authority.pem
    for mechanism, more in (("SCRAM-SHA-256-PLUS", []), ("SCRAM-SHA-256", ["--no-cb"])):
        gsasl = ["gsasl", "--client", "--smtp", "--connect", f"127.0.0.1:{port}", f"--x509-ca-file={pem}", "--mechanism", mechanism]
        for password, right in ((PASSWORD, True), ("wrong", False)):
            said = run(*gsasl, *more, "--authentication-id", "bob", "--authorization-id", "", "--password", password, text="QUIT\n")
            assert ("235 2.7.0" in said.stdout) == right, (mechanism, said.stdout)
            assert ("535 5.7.8 Authentication credentials invalid" in said.stdout) != right, said.stdout

    for method in ("scram-sha-256", "plain", "login"):
        with open(os.open(f"{house.directory}/msmtprc", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"defaults\ntls on\ntls_trust_file {pem}\naccount a\nhost 127.0.0.1\nport {port}\nfrom a@b.example\nauth {method}\nuser bob\npassword {PASSWORD}\naccount default : a\n")
        done = run("msmtp", "-C", f"{house.directory}/msmtprc", f"{method}@d.example", text=TEXT.decode())
        assert done.returncode == 0, done.stdout
    with open(f"{house.directory}/mail", "wb") as file:
        file.write(TEXT)
    for method in ("PLAIN", "LOGIN"):
        curl = ["curl", "-sS", "--ssl-reqd", "--cacert", pem, "--user", f"bob:{PASSWORD}", "--login-options", f"AUTH={method}"]
        mail = ["--mail-from", "a@b.example", "--mail-rcpt", f"curl-{method}@d.example", "--upload-file", f"{house.directory}/mail"]
        done = run(*curl, *mail, f"smtp://127.0.0.1:{port}")
        assert done.returncode == 0, done.stdout
    client = house.client()
    client.login("bob", PASSWORD)
    client.sendmail("a@b.example", ["smtplib@d.example"], TEXT)
    client.quit()
    house.sink.wait(7)
    names = {event["account"] for event in house.relay.wait_log("received", 7)}
    assert names == {"bob", "ann,b=c"}, names
    house.relay.stop()


def nobody_learns_who_has_an_account():
    """What SCRAM says of a name that nobody has looks as if somebody had it, and is the same after a start; somebody in between is noticed."""
    house = House(account("bob") + account("shop"))
    told = {}
    for _ in range(2):
        for name in ("bob", "shop", "nobody", "Bob"):
            client = house.client()
            wrong = refused(lambda: scram(client, name, "guess"))
            assert str(wrong) == "535 5.7.8 Authentication credentials invalid", wrong
            assert told.setdefault(name, wrong.told) == wrong.told, f"{name} was told something else before"
            client.close()
        house.relay.process.terminate()
        assert house.relay.process.wait(30) == 0
        house.relay.start()
    assert len({salt for salt, _ in told.values()}) == 4 and {count for _, count in told.values()} == {"4096"}, told
    assert len({len(salt) for salt, _ in told.values()}) == 1, told
    assert os.stat(f"{house.relay.data_dir}/scram.key").st_mode & 0o777 == 0o600
    client = house.client()
    wrong = refused(lambda: scram(client, "bob", PASSWORD, "y,,"))
    assert "SCRAM-SHA-256-PLUS is offered here" in str(wrong), wrong
    assert scram(client, "bob", PASSWORD) == told["bob"]
    for secret in (PASSWORD, "SCRAM-SHA-256$"):
        assert secret not in "".join(house.relay.words), secret
    house.relay.stop()


def a_listener_says_how_accounts_log_in():
    """`auth` of a listener; without it SCRAM is offered where every account has a verifier. A reload ends sessions whose verifier is another."""
    house = House(account("bob") + account("old", scram=False))
    client = house.client()
    assert client.esmtp_features["auth"].split() == ["PLAIN", "LOGIN"], client.esmtp_features
    client.login("old", PASSWORD)
    client.quit()
    house.change(account("bob", password=False))
    client = house.client()
    assert client.esmtp_features["auth"].split() == ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"], client.esmtp_features
    assert client.docmd("AUTH PLAIN " + encoded(f"\0bob\0{PASSWORD}"))[0] == 504
    scram(client, "bob", PASSWORD)
    house.change(account("bob", password=False))
    code, words = client.docmd("MAIL FROM:<a@b.example>")
    assert (code, words[:5]) == (421, b"4.3.2"), (code, words)
    house.relay.listener += 'auth = ["SCRAM-SHA-256", "PLAIN"]\n'
    house.relay.write()
    house.change(account("bob") + account("old", scram=False))
    assert house.relay.told("1 of 2 accounts cannot log in by SCRAM-SHA-256"), house.relay.words
    client = house.client()
    assert client.esmtp_features["auth"].split() == ["SCRAM-SHA-256", "PLAIN"], client.esmtp_features
    scram(client, "bob", PASSWORD, "y,,")
    client.quit()
    house.relay.stop()


def an_account_has_its_rights():
    """Where it may log in from, whom it may send to, how many connections it may have, over two shards."""
    bound = 'networks = ["127.0.0.1/32"]\nrecipients = ["@d.example"]\nconnections_max = 3\n'
    house = House(account("bob", more=bound) + account("far", more='networks = ["203.0.113.0/24"]\n'))

    def log_in(name, by):
        client = house.client()
        if by == "scram":
            scram(client, name, PASSWORD)
            return client
        code, words = client.docmd("AUTH PLAIN " + encoded(f"\0{name}\0{PASSWORD}"))
        if code != 235:
            raise Wrong(f"{code} {words.decode()}")
        return client

    for by in ("scram", "password"):
        wrong = refused(lambda: log_in("far", by))
        assert str(wrong) == "535 5.7.8 Authentication credentials invalid", wrong
    clients = [log_in("bob", by) for by in ("scram", "password", "scram")]
    for by in ("scram", "password"):
        wrong = refused(lambda: log_in("bob", by))
        assert str(wrong) == "421 4.7.0 Too many connections of this account", wrong
    clients.pop().quit()
    clients.append(log_in("bob", "password"))
    clients[0].mail("a@b.example")
    assert clients[0].rcpt("c@other.example") == (550, b"5.7.1 This account may not send to this address")
    assert clients[0].rcpt("c@d.example")[0] == 250
    for client in clients:
        client.quit()
    reasons = {event["reason"] for event in house.relay.wait_log("rejected", 5)}
    assert reasons == {"auth_failed", "too_many_connections", "relay_denied"}, reasons
    # Who is not allowed to come from here any more is gone between two messages.
    client = log_in("bob", "scram")
    house.change(account("bob", more='networks = ["203.0.113.0/24"]\n'))
    assert client.docmd("MAIL FROM:<a@b.example>")[0] == 421
    house.relay.stop()


def nobody_brings_more_than_he_may():
    """Rates of an account and of a client, over two shards and many connections: what is more is put off, and is no error of the client."""
    listener = 'messages_per_client = "7/h"\nrecipients_per_client = "7/h"\n'
    house = House(account("bob", more='rate = "4/h"\n') + account("ann"), listener)

    def log_in(name):
        client = house.client()
        client.login(name, PASSWORD)
        return client

    def begin(client):
        return client.docmd("MAIL FROM:<a@b.example>")

    def data(client):
        assert client.docmd("DATA")[0] == 354
        client.send(TEXT + b".\r\n")
        return client.getreply()

    for _ in range(4):
        client = log_in("bob")
        # What comes to nothing costs nothing, whether it is given up or its connection ends.
        for _ in range(10):
            assert begin(client)[0] == 250
            client.rset()
        assert begin(client)[0] == 250
        assert client.docmd("RCPT TO:<c@d.example>")[0] == 250
        assert data(client)[0] == 250
        client.close()
    client = log_in("bob")
    for _ in range(30):
        code, words = begin(client)
        assert code == 451 and words.startswith(b"4.7.1 Too many messages of this account, try again in "), (code, words)
        assert client.docmd("RCPT TO:<c@d.example>")[0] == 503
    client.quit()
    client = log_in("ann")
    for count in (1, 2):
        assert begin(client)[0] == 250
        codes = [client.docmd(f"RCPT TO:<c{number}@d.example>") for number in range(3 if count == 2 else 1)]
        assert [code for code, _ in codes] == [250] * count + [451] * (len(codes) - count), codes
        assert data(client)[0] == 250
    assert codes[-1][1].startswith(b"4.7.1 Too many recipients from your address, try again in "), codes
    for _ in range(5):
        assert begin(client)[0] == 250
        assert client.docmd("RCPT TO:<c@d.example>")[0] == 451
        code, words = client.docmd("DATA")
        assert (code, words[:5]) == (451, b"4.7.1"), (code, words)
        client.rset()
    client.quit()
    house.sink.wait(6)
    reasons = {event["reason"] for event in house.relay.wait_log("rejected", 30)}
    assert reasons == {"rate"}, reasons
    house.relay.stop()


def one_relay_is_the_smart_host_of_another():
    """Both sides of SCRAM are ours: the first relay logs in at the second, which has only a verifier."""
    house = House(account("relay@example.net", password=False))
    trust(house.authority.pem)
    host = type("Host", (), {"tls_first": False, "port": house.relay.port})
    known = "[credentials]\n" + credentials(house.directory, password=PASSWORD)
    relay = start(None, SOON + known, route=smart_route("d.example", host))
    relay.send("a@b.example", ["c@d.example"], TEXT)
    house.sink.wait(1)
    assert house.relay.wait_log("received")[0]["account"] == "relay@example.net"
    assert metric(relay, "logins_failed") == 0
    relay.stop()
    house.relay.stop()


def an_account_is_added_whole_or_not_at_all():
    """Killed at each call of the system by which the file changes: it is the old one or the new one, and nothing else, and the next attempt works."""
    directory = tempfile.mkdtemp(prefix="relevo-killed-")
    path = f"{directory}/accounts.toml"
    old = f"# ours\n{account('bob', password=False)}senders = [\"@b.example\"]\n"
    calls = "openat write pwrite64 read fsync fdatasync rename renameat renameat2 fchmod fchown flock fstat linkat unlink unlinkat ftruncate close".split()
    command = [BINARY, "account", "add", "ann", "--accounts", path, "--scram-only", "--tenant", "shop", "--quota", "50000/d"]
    if subprocess.run(["strace", "-o", "/dev/null", "true"], stderr=subprocess.DEVNULL).returncode:
        print("strace cannot trace here: nothing is proved")
        return
    kills = 0
    for call in calls:
        for number in range(1, 60):
            with open(path, "w") as file:
                file.write(old)
            os.chmod(path, 0o600)
            killed = ["strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"]
            done = subprocess.run([*killed, *command], input=PASSWORD.encode(), capture_output=True)
            with open(path) as file:
                text = file.read()
            is_new = text.startswith(old) and text.count("[[account]]") == 2 and 'quota = ["50000/d"]' in text
            assert text == old or is_new, (call, number, text)
            assert os.stat(path).st_mode & 0o777 == 0o600, (call, number)
            if done.returncode == 0:
                # It has no more of these.
                assert is_new, (call, number, done)
                break
            kills += 1
    assert kills > 20, kills
    left = set(os.listdir(directory)) - {"accounts.toml"}
    assert len(left) <= 2, left
    listed = subprocess.run([BINARY, "account", "list", "--accounts", path], capture_output=True, text=True, check=True).stdout
    assert "ann" in listed and "quota=50000/d" in listed, listed


if __name__ == "__main__":
    globals()[sys.argv[1]]()
