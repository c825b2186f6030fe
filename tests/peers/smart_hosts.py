"""Smart hosts that ask for a login: `smart_hosts.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import base64
import hashlib
import hmac
import os
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "attacks"))
from certificate import Authority
from hops import TEXT, metric, start, wait_metric
from shaping import reload
from sink import Sink
from verify import SOON, trust, wait_deferred

USER, PASSWORD = "relay@example.net", "p=n,cil case"


def encoded(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode())


class SmartHost(Sink):
    """Takes mail of who has logged in. Says AUTH as its own code has it, which shares nothing with the relay's."""

    def __init__(self, context, words="AUTH SCRAM-SHA-256 PLAIN LOGIN", first=False, password=PASSWORD, iterations=4096, act=None):
        self.words, self.password, self.iterations, self.act = words, password, iterations, act or (lambda *_: None)
        self.tries, self.said, self.local = [], [], threading.local()
        super().__init__(self.on, extensions=("PIPELINING", "8BITMIME", "SIZE 0"), **({"tls_first": context} if first else {"tls": context}))

    def converse(self, connection):
        self.local.state, self.local.user, self.local.protected = None, None, bool(self.tls_first)
        super().converse(connection)

    def on(self, verb, line):
        local = self.local
        self.said.append((verb, line))
        if verb in ("connect", "body", "dot"):
            return None
        if local.state:
            return local.state(line.strip())
        if verb == "STARTTLS":
            local.protected = True
        if verb == "EHLO" and local.protected:
            lines = [word for word in ("sink.example", *self.extensions, self.words) if word]
            return b"".join(b"250%s%s\r\n" % (b"-" if at < len(lines) - 1 else b" ", word.encode()) for at, word in enumerate(lines))
        if verb == "AUTH":
            _, mechanism, *initial = line.split()
            self.tries.append(mechanism.decode())
            answer = self.act(mechanism.decode(), self)
            return answer or getattr(self, mechanism.decode().replace("-", "_").lower())(*initial)
        if verb == "MAIL" and not local.user:
            return b"530 5.7.0 Authentication required\r\n"
        return None

    def end(self, right):
        self.local.state = None
        if not right:
            return b"535 5.7.8 Authentication failed: not " + PASSWORD.encode() + b"\r\n"
        self.local.user = USER
        return b"235 2.7.0 welcome\r\n"

    def plain(self, initial):
        return self.end(base64.b64decode(initial) == f"\0{USER}\0{self.password}".encode())

    def login(self):
        def password(line):
            return self.end(user[0] == USER.encode() and base64.b64decode(line) == self.password.encode())

        def name(line):
            user.append(base64.b64decode(line))
            self.local.state = password
            return b"334 " + encoded("Password:") + b"\r\n"

        user = []
        self.local.state = name
        return b"334 " + encoded("Username:") + b"\r\n"

    def scram_sha_256(self, initial):
        first = base64.b64decode(initial).decode()
        assert first.startswith("n,,n=relay@example.net,r="), first
        bare, salt = first[3:], os.urandom(12) if self.iterations == "fresh" else b"salt of the host"
        iterations = 4096 if self.iterations == "fresh" else self.iterations
        asked = f"r={bare.split('r=')[1]}host,s={encoded(salt).decode()},i={iterations}"

        def proof(line):
            last = base64.b64decode(line).decode()
            without, given = last.rsplit(",p=", 1)
            salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), salt, iterations)
            key, server = (hmac.digest(salted, word, "sha256") for word in (b"Client Key", b"Server Key"))
            signed = f"{bare},{asked},{without}".encode()
            wanted = bytes(a ^ b for a, b in zip(key, hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")))
            if base64.b64decode(given) != wanted or not without.startswith("c=biws,r="):
                return self.end(False)
            self.local.state = lambda line: self.end(line == b"")
            return b"334 " + encoded(b"v=" + encoded(hmac.digest(server, signed, "sha256"))) + b"\r\n"

        self.local.state = proof
        return b"334 " + encoded(asked) + b"\r\n"


def credentials(directory, name="smart", password=PASSWORD):
    path = f"{directory}/{name}.password"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(password + "\n")
    return f'{name} = {{ user = "{USER}", password_file = "{path}" }}\n'


def route(domain, host, name="smart", more=""):
    scheme = "smtps" if host.tls_first else "smtp"
    return f'[[route]]\ndomain = "{domain}"\nto = "{scheme}://127.0.0.1:{host.port}"\ncredentials = "{name}"\n{more}'


def set_up():
    directory = tempfile.mkdtemp(prefix="relevo-smart-")
    ours = Authority(directory)
    trust(ours.pem)
    return directory, ours.certify("127.0.0.1", san="IP")


def a_smart_host_is_told_who_we_are():
    """By the strongest mechanism, over STARTTLS and TLS from the first byte; without credentials, none goes there; two routes share no connection."""
    directory, context = set_up()
    strong = SmartHost(context)
    first = SmartHost(context, "AUTH PLAIN LOGIN", first=True)
    old = SmartHost(context, "AUTH=LOGIN")
    fussy = SmartHost(context, act=lambda mechanism, _: b"504 5.5.4 not that one\r\n" if mechanism != "LOGIN" else None)
    hosts = {"strong": strong, "first": first, "old": old, "fussy": fussy}
    routes = "".join(route(f"{name}.example", host) for name, host in hosts.items()) + route("other.example", strong, "other")
    routes += f'[[route]]\ndomain = "bare.example"\nto = "smtp://127.0.0.1:{strong.port}"\n'
    relay = start(None, SOON + "[credentials]\n" + credentials(directory) + credentials(directory, "other"), route=routes)
    for name in [*hosts, "other"]:
        relay.send("a@b.example", [f"c@{name}.example"], TEXT)
    for name, host in hosts.items():
        host.wait(2 if name == "strong" else 1)
        assert all(message.protected for message in host.taken)
    tries = {name: sorted(set(host.tries)) for name, host in hosts.items()}
    assert tries == {"strong": ["SCRAM-SHA-256"], "first": ["PLAIN"], "old": ["LOGIN"], "fussy": ["LOGIN", "PLAIN", "SCRAM-SHA-256"]}, tries
    assert fussy.tries[:3] == ["SCRAM-SHA-256", "PLAIN", "LOGIN"], fussy.tries
    assert len(strong.tries) == 2 and strong.most_open == 2, "a connection for each of the two credentials"
    relay.send("a@b.example", ["d@bare.example"], TEXT)
    wait_deferred(relay, "d@bare.example", "530 5.7.0 Authentication required")
    assert not any(verb == "MAIL" and b"AUTH=" in line for verb, line in strong.said)
    assert metric(relay, "logins_failed") == 0
    quiet(relay)
    relay.stop()


def mail_waits_where_a_login_fails():
    """Whoever's fault it is; no message and no weaker mechanism is tried behind it, and a password that is put right is taken up by a reload."""
    directory, context = set_up()
    unproven = lambda line: b"235 2.7.0 trust me\r\n"

    def lies(mechanism, host):
        host.local.state = lambda line: setattr(host.local, "state", None) or b"235 2.7.0 trust me\r\n"
        return b"334 " + encoded("r=wrong,s=QUJD,i=4096") + b"\r\n"

    hosts = {
        "wrong": (SmartHost(context, password="other"), "refuses the user or the password: 535 5.7.8"),
        "busy": (SmartHost(context, act=lambda *_: b"454 4.7.0 ask later\r\n"), "takes no login now: 454 4.7.0 ask later"),
        "none": (SmartHost(context, ""), "offers no AUTH under TLS"),
        "strange": (SmartHost(context, "AUTH CRAM-MD5 NTLM"), "offers AUTH with none of SCRAM-SHA-256, PLAIN, LOGIN"),
        "dear": (SmartHost(context, iterations=1 << 31), "wants 2147483648 iterations of SCRAM"),
        "cheap": (SmartHost(context, iterations=1), "wants 1 iterations of SCRAM"),
        "lies": (SmartHost(context, act=lies), "its nonce does not begin with ours"),
        "believes": (SmartHost(context, act=lambda *_: unproven(b"")), "without proof that it knows the password"),
        "nonsense": (SmartHost(context, act=lambda *_: b"334 !\r\n"), "a challenge that is no base64"),
    }
    routes = "".join(route(f"{name}.example", host) for name, (host, _) in hosts.items())
    theirs = Authority(directory, "Theirs")
    unknown = SmartHost(theirs.certify("127.0.0.1", san="IP"))
    plain = SmartHost(None, "AUTH PLAIN")
    routes += route("unknown.example", unknown, more='tls = "require"\n') + route("plain.example", plain)
    relay = start(None, SOON + "[credentials]\n" + credentials(directory), route=routes)
    assert relay.told('tls is "verify" here'), relay.words
    for name in [*hosts, "unknown", "plain"]:
        relay.send("a@b.example", [f"c@{name}.example"], TEXT)
    for name, (host, why) in hosts.items():
        event = wait_deferred(relay, f"c@{name}.example", why, 'the route\'s credentials are "smart"')
        assert (event["enhanced"], event["class"]) == ("4.7.8", "auth_required"), event
        assert not host.taken and not any(verb == "MAIL" for verb, _ in host.said), name
        assert len(set(host.tries)) <= 1, (name, host.tries)
    for name, why in (("unknown", "was issued by nobody that this machine trusts"), ("plain", "offers no STARTTLS")):
        event = wait_deferred(relay, f"c@{name}.example", why)
        assert event["class"] == "tls_required", event
    assert not unknown.tries and not plain.tries, "no password is told to a stranger"
    wait_metric(relay, "logins_failed", len(hosts))
    quiet(relay, more=PASSWORD)
    # What was wrong is put right.
    credentials(directory, password="other")
    reload(relay, f"{directory}/unused.toml", "")
    hosts["wrong"][0].wait(1)
    quiet(relay, more="other")
    relay.stop()


def connections_end_with_their_password():
    """A kept connection carries no mail once the password it was opened with is another; and twenty at one time derive its keys once a shard."""
    directory, context = set_up()
    host = SmartHost(context, iterations=200_000)
    relay = start(None, SOON + "[credentials]\n" + credentials(directory), route=route("*", host))
    for number in range(40):
        relay.send("a@b.example", [f"c{number}@d{number}.example"], TEXT)
    host.wait(40)
    before = len(host.tries)
    host.password = "changed"
    credentials(directory, password="changed")
    reload(relay, f"{directory}/unused.toml", "")
    relay.send("a@b.example", ["last@d0.example"], TEXT)
    host.wait(41)
    assert len(host.tries) > before, host.tries
    relay.stop()


def quiet(relay, more=PASSWORD):
    """Nobody is told a password."""
    words = "".join(relay.words)
    with open(f"{relay.directory}/log.jsonl") as file:
        words += file.read()
    for secret in (more, encoded(more).decode(), encoded(f"\0{USER}\0{more}").decode()):
        assert secret not in words and repr(secret)[1:-1] not in words, secret


if __name__ == "__main__":
    globals()[sys.argv[1]]()
