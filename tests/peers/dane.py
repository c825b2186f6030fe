"""Hosts whose certificates the DNS names (DANE): `dane.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import hashlib
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "attacks"))
from certificate import Authority
from hops import TEXT, Hop, metric, start
from names import A, FAILURE, MX, TLSA, Names
from ports import free_port
from verify import SOON, trust, wait_deferred


def record(usage, selector, pem):
    """A TLSA record of SHA-256 of a certificate, or of its key."""
    command = ["openssl", "x509", "-in", pem, "-outform", "der"]
    if selector:
        key = subprocess.run(["openssl", "x509", "-in", pem, "-pubkey", "-noout"], check=True, capture_output=True).stdout
        command = ["openssl", "pkey", "-pubin", "-outform", "der"]
    data = subprocess.run(command, check=True, capture_output=True, input=key if selector else None).stdout
    return bytes([usage, selector, 1]) + hashlib.sha256(data).digest()


def records_of_the_dns_are_obeyed_where_they_are_authentic():
    """By each host; without them, or where nobody validates, any certificate will do; a host whose records cannot be asked for is passed by."""
    directory, port = tempfile.mkdtemp(prefix="relevo-dane-"), free_port()
    ours, theirs = Authority(directory, "Ours"), Authority(directory, "Theirs")
    trust(ours.pem)
    hosts = {
        "own": lambda pem: [record(3, 1, pem)],
        "whole": lambda pem: [record(3, 0, pem)],
        "other": lambda pem: [bytes([3, 1, 1]) + b"\0" * 32],
        "unusable": lambda pem: [record(1, 1, pem), bytes([3, 1, 1]) + b"short"],
        "broken": lambda pem: FAILURE,
        "none": lambda pem: [],
        "stranger": lambda pem: [bytes([3, 1, 1]) + b"\0" * 32],
        "unsigned": lambda pem: [bytes([3, 1, 1]) + b"\0" * 32],
        "plain": lambda pem: [record(3, 1, pem)],
    }
    addresses, hops, known = {}, {}, {}
    for number, (name, tlsa) in enumerate(hosts.items()):
        host = f"mx.{name}.example"
        # Nobody that this machine trusts issued any of them.
        context = theirs.certify(host)
        addresses[host] = f"127.0.0.{11 + number}"
        hops[name] = Hop(host=addresses[host], port=port, context=None if name == "plain" else context)
        known[(f"{name}.example", MX)] = [(10, host)]
        known[(host, A)] = [addresses[host]]
        known[(f"_{port}._tcp.{host}", TLSA)] = tlsa(theirs.file(f"{host}.pem"))
    # The same host by a domain that is signed, and by one that is not.
    known[("beside.example", MX)] = [(10, "mx.other.example")]
    known[("second.example", MX)] = [(10, "mx.other.example"), (20, "mx.own.example")]
    server = Names(lambda name, kind: known.get((name, kind), []))
    insecure = {"stranger.example", "mx.unsigned.example", "beside.example"}
    server.authentic = lambda name, kind: name not in insecure
    more = f'{SOON}[dns]\nservers = ["127.0.0.1:{server.port}"]\nattempts = 1\n[delivery]\nmx_port = {port}\nallow_loopback_mx = true\n'
    tls = f'[tls]\nmta_sts = false\ntrust_ad = ["127.0.0.1:{server.port}"]\n'
    relay = start(None, more + tls, route='[[route]]\ndomain = "origin.example"\nto = "discard"\n')
    for name in [*hosts, "beside", "second"]:
        relay.send("a@b.example", [f"c@{name}.example"], TEXT)
    wanted = {"own": ["own", "second"], "whole": ["whole"], "unusable": ["unusable"], "none": ["none"], "stranger": ["stranger"], "unsigned": ["unsigned"], "other": ["beside"]}
    for name, some in wanted.items():
        hops[name].wait(len(some))
        taken = sorted(recipient for _, recipients, _, _ in hops[name].taken for recipient in recipients)
        assert taken == [f"c@{one}.example" for one in some], (name, taken)
        assert all(talk.protected for _, _, _, talk in hops[name].taken), name
    for name, status, words in (
        ("other", "4.7.5", ("the certificate of mx.other.example", "is another than the DNS names")),
        ("broken", "4.7.5", ("cannot look up the TLSA records of mx.broken.example (DANE)",)),
        ("plain", "4.7.4", ("offers no STARTTLS; its TLSA records (DANE) require TLS",)),
    ):
        event = wait_deferred(relay, f"c@{name}.example", *words)
        assert (event["enhanced"], event["class"]) == (status, "tls_required"), event
    assert not hops["broken"].talks and not hops["plain"].taken
    assert metric(relay, "tls_fallbacks") == 0
    # A name server that is not trusted with it may say what it likes.
    relay.more = relay.more.replace("trust_ad = [", 'trust_ad = ["127.0.0.1:1"] # [')
    relay.write()
    relay.process.send_signal(1)
    hops["other"].wait(2)
    hops["broken"].wait(1)
    hops["plain"].wait(1)
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
