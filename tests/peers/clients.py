"""Clients of others hand mail in at each kind of listener, by each login that they can: `clients.py STORY BINARY`.

Each story is one client. What it hands in arrives byte for byte; a wrong password is what the client calls one; and what is said of a
refused recipient reaches whoever called the client.
"""
import json
import os
import smtplib
import ssl
import subprocess
import sys
import tempfile
import time

from accounts import PASSWORD, Wrong, account, scram
from certificate import Authority
from ports import free_port
from postfix import Postfix
from relay import Relay
from sink import Sink

BINARY = os.path.abspath(sys.argv[2])
HERE = os.path.dirname(os.path.abspath(__file__))
# What tests/run takes from other registries than Debian's.
INSTALLED = os.path.join(HERE, "..", "..", "target", "clients")
REFUSED = "5.7.1 Nobody there wants mail of yours"
WRONG = "535 5.7.8 Authentication credentials invalid"
HOST = "127.0.0.1"
TEXT = (
    "From: Ann <a@b.example>\r\nTo: c@d.example\r\nSubject: bytes\r\nDate: Mon, 30 Nov 2026 00:00:00 +0000\r\nMessage-ID: <1@b.example>\r\n"
    "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    ".\r\n..\r\n.a line with a dot\r\nFrom here on\r\nGr\u00fc\u00dfe\t\r\n" + "x" * 900 + "\r\n trailing \r\n\r\n\r\nend\r\n\r\n"
).encode()


class Door:
    """One listener: `tls` is how TLS begins there."""

    def __init__(self, kind, port, tls):
        self.kind, self.port, self.tls = kind, port, tls


class House:
    """A relay with a listener of each kind, one account, and a certificate that a client can verify."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="relevo-clients-", dir="/tmp")
        os.chmod(self.directory, 0o755)
        authority = Authority(self.directory)
        authority.certify("relay.example", san=f"IP:{HOST},DNS")
        self.pem = authority.pem
        with open(f"{self.directory}/accounts.toml", "w") as file:
            file.write(account("bob"))
        tls = "".join(f'tls_{name} = "{authority.file(f"relay.example.{kind}")}"\n' for name, kind in (("certificate", "pem"), ("key", "key")))
        ports = [free_port(), free_port()]
        more = f'[auth]\naccounts = "{self.directory}/accounts.toml"\n'
        more += "".join(
            f'[[listener]]\naddress = "{HOST}:{port}"\nkind = "{kind}"\n{tls}' for port, kind in zip(ports, ("submission", "submissions"))
        )
        more += f'[[rule]]\nmatch = {{ recipient = "@bad.example" }}\naction = "reject 550 {REFUSED}"\n'
        self.sink = Sink()
        self.relay = Relay(BINARY, self.sink, more, tls)
        self.doors = [Door("relay", self.relay.port, "starttls"), Door("submission", ports[0], "starttls"), Door("submissions", ports[1], "first")]
        self.mail = self.file("mail", TEXT)
        # For clients that are given mail as this machine writes it.
        self.lines = self.file("lines", TEXT.replace(b"\r\n", b"\n"))

    def file(self, name, content, mode=0o644):
        path = f"{self.directory}/{name}"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        return path

    def context(self):
        return ssl.create_default_context(cafile=self.pem)

    def sendable(self, recipients):
        """What arrived for these, once all of it has."""
        self.sink.wait(len(recipients), 60)
        arrived = {message.recipients[0]: message.body for message in self.sink.taken}
        assert sorted(arrived) == sorted(recipients) and len(self.sink.taken) == len(recipients), (sorted(arrived), sorted(recipients))
        return arrived


def without_trace(body):
    """A message without its Received fields in front: ours, and those of a client that is a relay itself."""
    trace = 0
    while body.startswith(b"Received: "):
        trace += 1
        body = body[body.index(b"\r\n") + 2 :]
        while body[:1] in b" \t":
            body = body[body.index(b"\r\n") + 2 :]
    return body, trace


def deliver(client, mechanisms, failure, refusal=REFUSED, plain=True, hops=1):
    """`client(house, door, mechanism, password, recipient)` hands TEXT in, and says whether it was taken and what was said. `failure`: what it
    says of a wrong password."""
    house = House()
    wanted = []
    for number, door in enumerate(house.doors):
        for mechanism in ([None] if plain and door.kind == "relay" else []) + mechanisms:
            recipient = f"{door.kind}-{mechanism}@d.example".lower()
            taken, said = client(house, door, mechanism, PASSWORD, recipient)
            assert taken, (door.kind, mechanism, said)
            wanted.append(recipient)
            taken, said = client(house, door, mechanism, PASSWORD, recipient.replace("@d.", "@bad."))
            assert not taken and refusal in said, (door.kind, mechanism, said)
            # Each has its time, so it is tried once at each door and with each mechanism.
            at = mechanisms.index(mechanism) if mechanism else -1
            if at >= 0 and (at % len(house.doors) == number or number % len(mechanisms) == at):
                taken, said = client(house, door, mechanism, "wrong", f"wrong-{recipient}")
                assert not taken and failure in said, (door.kind, mechanism, said)
    for recipient, body in house.sendable(wanted).items():
        text, trace = without_trace(body)
        assert text == TEXT and trace == hops, (recipient, text, trace)
        way = b"with ESMTPSA (TLSv1." if not recipient.endswith("-none@d.example") else b"with ESMTP"
        # Go says SMTPUTF8 wherever it is offered (RFC 6531 section 4.3).
        told = body[: body.index(b"\r\n", body.index(b"with "))].replace(b"UTF8SMTP", b"ESMTP")
        assert way in told, (recipient, body)
    received = {event["recipients"][0]: event for event in house.relay.wait_log("received", len(wanted))}
    for recipient in wanted:
        known = None if recipient.endswith("-none@d.example") else "bob"
        assert received[recipient].get("account") == known, received[recipient]
    reasons = [event["reason"] for event in house.relay.log() if event["event"] == "rejected"]
    assert set(reasons) <= {"auth_failed", "rule"}, reasons
    house.relay.stop()
    print(f"{len(wanted)} messages: {', '.join(wanted)}")


def run(*command, stdin=b"", more=None, seconds=60):
    done = subprocess.run(
        command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, env={**os.environ, **(more or {})}
    )
    return done.returncode, done.stdout.decode(errors="replace")


def tool(*parts):
    """A path below what tests/run takes from other registries."""
    path = os.path.join(INSTALLED, *parts)
    assert os.path.exists(path), f"{path} is not there: tests/run installs it"
    return path


def curl():
    """It knows SCRAM only where it was built with GNU SASL."""

    def send(house, door, mechanism, password, recipient):
        command = ["curl", "-sSv", f"smtp{'s' if door.tls == 'first' else ''}://{HOST}:{door.port}/client.example"]
        if mechanism:
            command += ["--ssl-reqd", "--cacert", house.pem, "--user", f"bob:{password}", "--login-options", f"AUTH={mechanism}"]
        code, said = run(*command, "--mail-from", "a@b.example", "--mail-rcpt", recipient, "--upload-file", house.mail)
        # Its own words, and what the exit code means.
        return code == 0, f"{said}exit {code}"

    built = run("curl", "--version")[1]
    mechanisms = ["PLAIN", "LOGIN"] + (["SCRAM-SHA-256"] if "gsasl" in built.lower() else [])
    deliver(send, mechanisms, "exit 67")


def msmtp():
    """Bound logins only where its GNU SASL can do them."""

    def send(house, door, mechanism, password, recipient):
        lines = f"account default\nhost {HOST}\nport {door.port}\nfrom a@b.example\ndomain client.example\n"
        if mechanism:
            lines += f"tls on\ntls_trust_file {house.pem}\ntls_starttls {'off' if door.tls == 'first' else 'on'}\n"
            lines += f"auth {mechanism.lower()}\nuser bob\npassword {password}\n"
        path = house.file("msmtprc", lines, 0o600)
        with open(house.lines, "rb") as file:
            code, said = run("msmtp", "-C", path, recipient, stdin=file.read())
        return code == 0, said

    can = run("msmtp", "--version")[1].split()
    deliver(send, [one for one in ("PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS") if one.lower() in can], "authentication failed")


def smtplib_of_python():
    """And SCRAM, which it leaves to others, through its commands."""

    def send(house, door, mechanism, password, recipient):
        try:
            if door.tls == "first":
                client = smtplib.SMTP_SSL(HOST, door.port, "client.example", timeout=30, context=house.context())
            else:
                client = smtplib.SMTP(HOST, door.port, "client.example", timeout=30)
            with client:
                if mechanism and door.tls == "starttls":
                    client.starttls(context=house.context())
                client.ehlo()
                client.user, client.password = "bob", password
                if mechanism == "SCRAM-SHA-256":
                    scram(client, "bob", password)
                elif mechanism:
                    client.auth(mechanism, getattr(client, f"auth_{mechanism.lower()}"))
                client.sendmail("a@b.example", [recipient], TEXT)
            return True, ""
        except (smtplib.SMTPAuthenticationError, Wrong) as error:
            return False, f"authentication: {error}"
        except smtplib.SMTPRecipientsRefused as error:
            return False, error.recipients[recipient][1].decode()

    deliver(send, ["PLAIN", "LOGIN", "SCRAM-SHA-256"], "authentication: ")


def aiosmtplib():
    script = """
import asyncio, json, ssl, sys
import aiosmtplib
host, port, first, pem, mechanism, password, recipient, path = sys.argv[1:]
async def main():
    context = ssl.create_default_context(cafile=pem)
    client = aiosmtplib.SMTP(hostname=host, port=int(port), use_tls=first == "first", start_tls=False, tls_context=context, timeout=30)
    async with client:
        if mechanism and first != "first":
            await client.starttls()
        await client.ehlo()
        if mechanism:
            await getattr(client, "auth_" + mechanism.lower())("bob", password)
        await client.sendmail("a@b.example", [recipient], open(path, "rb").read())
try:
    asyncio.run(main())
except aiosmtplib.SMTPAuthenticationError as error:
    sys.exit(f"SMTPAuthenticationError {error.code} {error.message}")
except aiosmtplib.SMTPRecipientsRefused as error:
    sys.exit(f"SMTPRecipientsRefused {error.recipients[0].message}")
"""

    def send(house, door, mechanism, password, recipient):
        words = (HOST, str(door.port), door.tls, house.pem, mechanism or "", password, recipient, house.mail)
        code, said = run(tool("venv", "bin", "python"), "-c", script, *words)
        return code == 0, said

    deliver(send, ["PLAIN", "LOGIN"], "SMTPAuthenticationError 535 5.7.8")


def nodemailer():
    script = """
const [host, port, first, pem, mechanism, password, recipient, path] = JSON.parse(process.argv[1]);
const fs = require("fs");
const transport = require("nodemailer").createTransport({
  host, port, secure: first === "first", requireTLS: mechanism !== null, ignoreTLS: mechanism === null, name: "client.example",
  authMethod: mechanism || undefined, auth: mechanism ? { user: "bob", pass: password } : undefined, tls: { ca: fs.readFileSync(pem) },
});
transport.sendMail({ envelope: { from: "a@b.example", to: recipient }, raw: fs.readFileSync(path) }).then(
  () => process.exit(0),
  (error) => { console.log(error.code, error.responseCode, error.response); process.exit(1); },
);
"""

    def send(house, door, mechanism, password, recipient):
        words = json.dumps([HOST, door.port, door.tls, house.pem, mechanism, password, recipient, house.mail])
        tool("node_modules", "nodemailer")
        code, said = run("node", "-e", script, words, more={"NODE_PATH": os.path.join(INSTALLED, "node_modules")})
        return code == 0, said

    deliver(send, ["PLAIN", "LOGIN"], f"EAUTH 535 {WRONG}")


def smtp_of_go():
    """With a SCRAM of its own, which binds to TLS."""
    with tempfile.TemporaryDirectory() as directory:
        where = {"GOCACHE": f"{directory}/cache", "GOFLAGS": "-p=1", "GO111MODULE": "off", "GOTOOLCHAIN": "local"}
        code, said = run("go", "build", "-o", f"{directory}/client", f"{HERE}/client.go", more=where, seconds=200)
        assert code == 0, said

        def send(house, door, mechanism, password, recipient):
            words = (HOST, str(door.port), door.tls, house.pem, mechanism, "bob", password, recipient, house.mail)
            code, said = run(f"{directory}/client", *words)
            return code == 0, said

        deliver(send, ["PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"], "authentication failed: 535 5.7.8", plain=False)


def swaks():
    def send(house, door, mechanism, password, recipient):
        command = ["swaks", "--server", HOST, "--port", str(door.port), "--ehlo", "client.example", "--from", "a@b.example", "--to", recipient]
        if mechanism:
            command += ["--tls-on-connect" if door.tls == "first" else "--tls", "--tls-verify", "--tls-ca-path", house.pem]
            command += ["--auth", mechanism, "--auth-user", "bob", "--auth-password", password]
        # It puts the last line end in.
        code, said = run(*command, "--data", "@" + house.file("swaks", TEXT[:-2]))
        return code == 0, f"{said}exit {code}"

    deliver(send, ["PLAIN", "LOGIN"], "exit 28")


def postfix():
    """As a client that logs in at its smart host: one way out for each login. What comes of mail is in its log."""
    mechanisms, made = ["PLAIN", "LOGIN", "SCRAM-SHA-256"], []

    def start(house):
        """Ways by the recipient."""
        ways, services = ["a@b.example discard:"], ""
        for door in house.doors:
            for mechanism in [None, *mechanisms]:
                for prefix, password in (("", PASSWORD), ("wrong-", "wrong")):
                    name = f"{prefix}{door.kind}-{mechanism}".lower()
                    ways += [f"{name}@{domain}.example {name}:[{HOST}]:{door.port}" for domain in ("d", "bad")]
                    settings = {"smtp_tls_wrappermode": "yes" if door.tls == "first" else "no"}
                    if mechanism:
                        passwords = house.file(f"passwords-{name}", f"[{HOST}]:{door.port} bob:{password}\n")
                        settings |= {"smtp_sasl_auth_enable": "yes", "smtp_sasl_password_maps": f"texthash:{passwords}"}
                        settings |= {"smtp_sasl_mechanism_filter": mechanism.lower(), "smtp_tls_security_level": "secure"}
                    services += f"{name} unix - - n - - smtp\n" + "".join(f"  -o {key}={value}\n" for key, value in settings.items())
        lines = f"transport_maps = texthash:{house.file('ways', chr(10).join(ways))}\nsmtp_tls_CAfile = {house.pem}\n"
        lines += "smtp_tls_secure_cert_match = relay.example\nsmtp_sasl_security_options = noanonymous\n"
        made.append(Postfix(house.relay.port, lines, services))

    def send(house, door, mechanism, password, recipient):
        if not made:
            start(house)
        made[0].sendmail("a@b.example", recipient, TEXT.replace(b"\r\n", b"\n"))
        end = time.monotonic() + 40
        while not (ended := [line for line in made[0].log().splitlines() if f"to=<{recipient}>" in line]):
            assert time.monotonic() < end, made[0].log()
            time.sleep(0.05)
        return "status=sent" in ended[0], ended[0]

    deliver(send, mechanisms, f"SASL authentication failed; server {HOST}[{HOST}] said: {WRONG}", hops=2)
    made[0].stop()


EXIM = """exim_path = {binary}
exim_user = Debian-exim
spool_directory = {directory}/exim
log_file_path = {directory}/exim/log-%slog
primary_hostname = exim.example
qualify_domain = b.example
never_users =
trusted_users = root
keep_environment =
add_environment =
timezone =
tls_advertise_hosts =
begin routers
returned:
  driver = redirect
  senders = :
  data = :blackhole:
smart:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = smart
begin transports
smart:
  driver = smtp
  port = {port}
  hosts_avoid_pipelining =
  helo_data = client.example
{transport}
begin retry
* * F,1d,1h
begin authenticators
one:
  driver = plaintext
  public_name = {mechanism}
  client_send = {send}
"""


def exim():
    """Unpacked, so without a user of its own: it sees one in a file of users that nobody else sees."""
    binary = tool("exim", "usr", "sbin", "exim4")
    number = iter(range(1000))

    def send(house, door, mechanism, password, recipient):
        own = f"{house.directory}/exim-{next(number)}"
        os.makedirs(f"{own}/exim")
        transport = ""
        if mechanism:
            transport = f"  hosts_require_tls = *\n  hosts_require_auth = *\n  tls_verify_certificates = {house.pem}\n  tls_verify_hosts = *\n"
            transport += "  protocol = smtps\n" if door.tls == "first" else ""
        else:
            transport = "  hosts_avoid_tls = *\n"
        said = {"PLAIN": f"<; ^bob^{password}", "LOGIN": f"<; ; bob; {password}", None: "<; x"}[mechanism]
        text = EXIM.format(binary=binary, directory=own, port=door.port, transport=transport, mechanism=mechanism or "NONE", send=said)
        users = [("passwd", "Debian-exim:x:55555:55555::/:/bin/false\n"), ("group", "Debian-exim:x:55555:\n")]
        script = ""
        for name, line in users:
            with open(f"/etc/{name}") as file:
                kept = "".join(other for other in file if not other.startswith("Debian-exim:"))
            with open(f"{own}/{name}", "w") as file:
                file.write(kept + line)
            script += f"mount --bind {own}/{name} /etc/{name}; "
        with open(f"{own}/conf", "w") as file:
            file.write(text)
        subprocess.run(["chown", "-R", "55555:55555", f"{own}/exim"], check=True)
        command = ["unshare", "--mount", "sh", "-ec", script + 'exec "$@"', "sh", binary, "-C", f"{own}/conf", "-odf", "-f", "a@b.example", "-i", recipient]
        code, words = run(*command, stdin=TEXT.replace(b"\r\n", b"\n"))
        log = ""
        if os.path.exists(f"{own}/exim/log-mainlog"):
            with open(f"{own}/exim/log-mainlog", errors="replace") as file:
                log = file.read()
        return f"=> {recipient}" in log, words + log

    deliver(send, ["PLAIN", "LOGIN"], f"authenticator failed H={HOST} [{HOST}] {WRONG}", hops=2)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
