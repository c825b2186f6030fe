"""What is made of hosts' TLS, beside what Postfix makes of it: `verdicts.py STORY BINARY`. Called by tests/peers.rs, one test a story.

Each set-up is a host. The relay sends to it by routes with `tls` opportunistic, require and verify, and by what the DNS says (DANE); Postfix's
`posttls-finger` looks at it by the levels may, encrypt, verify, secure and dane. Both are asked: would the mail go, and has the host proven who it is?
"""
import hashlib
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import warnings

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "attacks"))
from certificate import KEY, Authority
from hops import TEXT, Hop, start
from names import A, FAILURE, MX, TLSA, Names
from ports import free_port
from verify import trust

# In PATH of who installs Postfix, but for users.
FINGER = "/usr/sbin/posttls-finger"
LEVELS = ("may", "encrypt", "verify", "secure", "dane")

PLAIN, TLS, PROVEN, WAITS = "plain text", "TLS", "proven", "waits"

# Postfix's verdict, and ours, where they are not the same.
DIFFERENT = {
    # RFC 9525 section 2: names are in subjectAltName, and the CN counts for nothing. Postfix falls back to it.
    "commonname": {"verify": (PROVEN, WAITS), "secure": (PROVEN, WAITS)},
    # RFC 8996: TLS 1.0 and 1.1 are not spoken any more. Postfix 3.7 speaks them where nothing has to be proven.
    "old": {"may": (TLS, PLAIN), "encrypt": (TLS, WAITS)},
    # RFC 9325 section 4.5: a certificate whose RSA key has less than 2048 bits proves nothing.
    "short": {"verify": (PROVEN, WAITS), "secure": (PROVEN, WAITS)},
}


class Maker:
    """Certificates of whatever kind."""

    def __init__(self, directory):
        self.directory = directory
        self.ours, self.theirs = Authority(directory, "Ours"), Authority(directory, "Theirs")
        # One that ours issued, and that issues itself.
        self.middle = f"{directory}/middle.pem"
        self.run("req", "-new", *KEY, "-subj", "/CN=Middle", "-keyout", f"{directory}/middle.key", "-out", f"{directory}/middle.csr")
        self.sign("middle", self.ours.pem, self.ours.file("ca.key"), "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n")

    def run(self, *arguments):
        subprocess.run(["openssl", *arguments], check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def file(self, name):
        return f"{self.directory}/{name}"

    def sign(self, name, ca, key, extensions):
        with open(self.file(f"{name}.ext"), "w") as file:
            file.write(extensions)
        self.run("x509", "-req", "-in", self.file(f"{name}.csr"), "-CA", ca, "-CAkey", key, "-CAcreateserial", "-days", "9", "-extfile", self.file(f"{name}.ext"), "-out", self.file(f"{name}.pem"))

    def leaf(self, name, subject="/CN=host", extensions="", ca=None, key=None, own=False, bits=None):
        """A certificate and its key, `name.pem` and `name.key`; of itself if `own`."""
        kind = ["-newkey", f"rsa:{bits}", "-nodes"] if bits else KEY
        if own:
            self.run("req", "-x509", *kind, "-days", "9", "-subj", subject, "-addext", extensions, "-keyout", self.file(f"{name}.key"), "-out", self.file(f"{name}.pem"))
        else:
            self.run("req", "-new", *kind, "-subj", subject, "-keyout", self.file(f"{name}.key"), "-out", self.file(f"{name}.csr"))
            self.sign(name, ca or self.ours.pem, key or self.ours.file("ca.key"), extensions)

    def context(self, name, *behind, low=None, high=None, weak=False):
        """A server that shows it, and these behind it."""
        with open(self.file(f"{name}.chain"), "w") as chain:
            for path in (self.file(f"{name}.pem"), *behind):
                chain.write(open(path).read())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if weak:
            context.set_ciphers("ALL:@SECLEVEL=0")
        if low:
            context.minimum_version, context.maximum_version = low, high
        context.load_cert_chain(self.file(f"{name}.chain"), self.file(f"{name}.key"))
        return context

    def timed(self, authority, host, days):
        """One of other days, which the authority itself makes."""
        authority.certify(host, days=days)
        for kind in ("pem", "key"):
            os.replace(authority.file(f"{host}.{kind}"), self.file(f"{host}.{kind}"))


def fingerprint(path, usage, selector, matching, wrong=False):
    """A TLSA record of a certificate; or of none."""
    der = subprocess.run(["openssl", "x509", "-in", path, "-outform", "der"], check=True, capture_output=True).stdout
    if selector:
        key = subprocess.run(["openssl", "x509", "-in", path, "-pubkey", "-noout"], check=True, capture_output=True).stdout
        der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "der"], check=True, capture_output=True, input=key).stdout
    data = der if matching == 0 else hashlib.new({1: "sha256", 2: "sha512"}[matching], der).digest()
    return bytes([usage, selector, matching]) + (bytes(len(data)) if wrong else data)


def name_server(records, authentic):
    """At port 53 of an address of its own: the C library asks at no other port."""
    for _ in range(100):
        address = "127." + ".".join(str(byte) for byte in os.urandom(2)) + ".53"
        try:
            names = Names(records, at=(address, 53))
        except OSError:
            continue
        names.authentic, names.address = authentic, address
        return names
    raise AssertionError("no address has port 53 free")


class Act:
    """Hosts that break STARTTLS."""

    @staticmethod
    def refuses(talk, verb, line):
        return b"454 4.7.0 not now\r\n" if verb == "STARTTLS" else None

    @staticmethod
    def breaks(talk, verb, line):
        if verb == "STARTTLS":
            talk.say(b"220 go on\r\n")
            talk.say(b"this is no TLS at all\r\n" * 4)
            talk.socket.close()
            return b""
        return None


def set_ups(maker):
    """Name: the context of its TLS, its TLSA records, what it does otherwise, and whether its zone is not signed."""
    low, mid, high = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    made = {}

    def add(name, context=None, tlsa=(), act=None, insecure=False):
        made[name] = (context, tlsa, act, insecure)

    def good(name, san=None, **more):
        maker.leaf(name, extensions=f"subjectAltName={san or f'DNS:mx.{name}.example'}", **more)
        return maker.context(name)

    add("right", good("right"))
    add("wrong", good("wrong", "DNS:mx.elsewhere.example"))
    add("wild", good("wild", "DNS:*.wild.example"))
    add("wilder", good("wilder", "DNS:*.example"))
    maker.leaf("commonname", subject="/CN=mx.commonname.example", extensions="extendedKeyUsage=serverAuth")
    add("commonname", maker.context("commonname"))
    for name, days in (("expired", (-30, -1)), ("early", (1, 30))):
        maker.timed(maker.ours, f"mx.{name}.example", days)
        for kind in ("pem", "key"):
            os.replace(maker.file(f"mx.{name}.example.{kind}"), maker.file(f"{name}.{kind}"))
        add(name, maker.context(name))
    maker.leaf("selfsigned", extensions="subjectAltName=DNS:mx.selfsigned.example", own=True)
    add("selfsigned", maker.context("selfsigned"))
    add("unknown", good("unknown", ca=maker.theirs.pem, key=maker.theirs.file("ca.key")))
    by_middle = dict(ca=maker.middle, key=maker.file("middle.key"))
    maker.leaf("whole", extensions="subjectAltName=DNS:mx.whole.example", **by_middle)
    add("whole", maker.context("whole", maker.middle))
    add("missing", good("missing", **by_middle))
    add("address", good("address", "IP:127.0.0.1"))
    add("xn--bcher-kva", good("xn--bcher-kva"))
    add("xn--idn-wild", good("xn--idn-wild", "DNS:*.xn--idn-wild.example"))
    add("none", None)
    add("refused", good("refused"), act=Act.refuses)
    add("broken", good("broken"), act=Act.breaks)
    good("old")
    # Python warns of what it is asked for here.
    warnings.simplefilter("ignore", DeprecationWarning)
    add("old", maker.context("old", low=low, high=ssl.TLSVersion.TLSv1_1, weak=True))
    good("two"), good("three")
    add("two", maker.context("two", low=mid, high=mid))
    add("three", maker.context("three", low=high, high=high))
    maker.leaf("short", extensions="subjectAltName=DNS:mx.short.example", bits=1024)
    add("short", maker.context("short", weak=True))

    # DANE: what they show was issued by nobody that is trusted.
    def certified(name, records, host=None, days=None, act=None, shows_ca=False, **more):
        host, ca = host or f"mx.{name}.example", maker.theirs
        if days:
            maker.timed(ca, host, days)
            for kind in ("pem", "key"):
                os.replace(maker.file(f"{host}.{kind}"), maker.file(f"{name}.{kind}"))
        else:
            maker.leaf(name, extensions=f"subjectAltName=DNS:{host}", ca=ca.pem, key=ca.file("ca.key"))
        context = None if act == "plain" else maker.context(name, *([ca.pem] if shows_ca else []))
        own, issuer = maker.file(f"{name}.pem"), ca.pem
        if records != FAILURE:
            records = [fingerprint(own if of[0] in (1, 3) else issuer, *of[:3], wrong=len(of) > 3) if isinstance(of, tuple) else of for of in records]
        add(name, context, records, **more)

    certified("ee311", [(3, 1, 1)])
    certified("ee301", [(3, 0, 1)])
    certified("ee312", [(3, 1, 2)])
    certified("ee300", [(3, 0, 0)])
    certified("ta211", [(2, 1, 1)], shows_ca=True)
    certified("ta201", [(2, 0, 1)], shows_ca=True)
    certified("ta-alone", [(2, 0, 1)])
    certified("ee-wrong", [(3, 1, 1, "wrong")])
    certified("ta-wrong", [(2, 0, 1, "wrong")], shows_ca=True)
    certified("usage0", [(0, 0, 1)])
    certified("usage1", [(1, 0, 1)])
    certified("mixed", [(1, 0, 1), (3, 1, 1)])
    certified("several", [(3, 1, 1, "wrong"), (3, 1, 1)])
    certified("ta-or-ee", [(2, 0, 1, "wrong"), (3, 1, 1)], shows_ca=True)
    certified("ee-expired", [(3, 1, 1)], days=(-30, -1))
    certified("ee-other", [(3, 1, 1)], host="mx.elsewhere.example")
    certified("ta-other", [(2, 0, 1)], host="mx.elsewhere.example", shows_ca=True)
    certified("ta-expired", [(2, 0, 1)], days=(-30, -1), shows_ca=True)
    certified("no-tls", [(3, 1, 1)], act="plain")
    certified("bogus", FAILURE)
    certified("odd", [bytes([3, 1, 9]) + b"\0" * 32])
    certified("cut", [bytes([3, 1, 1]) + b"\0" * 7])
    certified("unsigned", [(3, 1, 1, "wrong")], insecure=True)
    return made


def finger(resolv, ca, domain, port, level):
    """What posttls-finger says of it, which asks the name servers of this file."""
    command = f'mount --bind "{resolv}" /etc/resolv.conf && exec "$@"'
    arguments = [FINGER, "-c", "-t", "5", "-T", "5", "-l", level, "-F", ca, "-L", "summary,untrusted", "-o", "inet_protocols=ipv4", f"{domain}:{port}"]
    done = subprocess.run(["unshare", "--mount", "sh", "-c", command, "sh", *arguments], capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr



def usable(record):
    """RFC 7672 section 3.1: usages 2 and 3, with what can be compared."""
    return record[0] in (2, 3) and record[1] in (0, 1) and {0: len(record) > 3, 1: len(record) == 35, 2: len(record) == 67}.get(record[2], False)


def asks(tlsa, insecure):
    """What the records of a host ask for."""
    if tlsa == FAILURE:
        return None if insecure else WAITS
    if insecure or not tlsa:
        return None
    return PROVEN if any(usable(record) for record in tlsa) else TLS


def theirs(level, words, asked):
    """What Postfix would do by that (TLS_README, smtp_tls_security_level)."""
    how = re.search(r"(Verified|Trusted|Untrusted|Anonymous) TLS connection established", words)
    proven, protected = bool(how) and how[1] == "Verified", TLS if how else WAITS
    if level in ("verify", "secure") or (level == "dane" and asked == PROVEN):
        return PROVEN if proven else WAITS
    if level == "dane" and "TLSA lookup error" in words:
        return WAITS
    if level == "encrypt" or (level == "dane" and asked == TLS):
        return protected
    return TLS if how else PLAIN


# Level of ours, and the route that has it: none is what the DNS says.
OURS = {"may": "opportunistic", "encrypt": "require", "verify": "verify", "dane": None}


def of_relay(made, port, server, ca):
    """What the relay does with a message to each, by each level."""
    trust(ca)
    routes = "".join(f'[[route]]\ndomain = "{level}.{name}.example"\nto = "mx"\ntls = "{tls}"\n' for name in made for level, tls in OURS.items() if tls)
    more = f'[retry]\nfirst = "1h"\nmax = "1h"\n[dns]\nservers = ["{server.address}"]\nattempts = 1\n[delivery]\nmx_port = {port}\nallow_loopback_mx = true\n'
    relay = start(None, more + f'[tls]\nmta_sts = false\ntrust_ad = ["{server.address}:53"]\n', route=routes)
    wanted = {f"c@{level}.{name}.example": (name, level) for name in made for level in OURS}
    client = relay.client()
    for recipient in wanted:
        client.sendmail("a@b.example", [recipient], TEXT)
    client.quit()
    found, end = {}, time.monotonic() + 90
    while len(found) < len(wanted) and time.monotonic() < end:
        for event in relay.log():
            place = wanted.get(event["recipients"][0]) if event["event"] in ("delivered", "deferred") else None
            if place and event["event"] == "delivered":
                name, level = place
                proven = level == "verify" or (level == "dane" and asks(*made[name][1::2]) == PROVEN)
                found[place] = PROVEN if proven else TLS if event.get("tls") else PLAIN
            elif place:
                assert event["class"] == "tls_required", event
                found[place] = WAITS
        time.sleep(0.3)
    assert len(found) == len(wanted), sorted(set(wanted.values()) - set(found))
    relay.stop()
    return found


def hosts_are_judged_as_postfix_judges_them():
    """Where the two differ the table says by which RFC, and all else is the same."""
    directory, port = tempfile.mkdtemp(prefix="relevo-verdicts-"), free_port()
    maker = Maker(directory)
    made = set_ups(maker)
    assert len(made) >= 40
    addresses = {}
    for number, (name, (context, _, act, _)) in enumerate(made.items()):
        addresses[f"mx.{name}.example"] = f"127.0.1.{number + 1}"
        Hop(act=act, host=f"127.0.1.{number + 1}", port=port, context=context)

    def host(name):
        labels = name.split(".")
        return labels[-2] if len(labels) > 1 else ""

    def records(name, kind):
        of = host(name)
        if of not in made:
            return []
        if kind == MX and not name.startswith(("mx.", "_")):
            return [(10, f"mx.{of}.example")]
        if kind == A and name in addresses:
            return [addresses[name]]
        if kind == TLSA and name == f"_{port}._tcp.mx.{of}.example":
            return made[of][1]
        return []

    server = name_server(records, lambda name, kind: not made.get(host(name), (None,) * 4)[3])
    resolv = f"{directory}/resolv.conf"
    with open(resolv, "w") as file:
        file.write(f"nameserver {server.address}\noptions timeout:2 attempts:1\n")
    found = of_relay(made, port, server, maker.ours.pem)
    differ, words = {}, {}
    for name, (_, tlsa, _, insecure) in made.items():
        for level in LEVELS:
            said = finger(resolv, maker.ours.pem, f"{name}.example", port, level)
            judged = theirs(level, said, asks(tlsa, insecure))
            # Of ours `secure` is `verify`: the name that counts is the host's, which DNSSEC or MTA-STS say for sure.
            own = found[name, "verify" if level == "secure" else level]
            if judged != own:
                differ.setdefault(name, {})[level] = (judged, own)
                words[name, level] = said
    assert differ == DIFFERENT, (differ, words)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
