"""Zones that nsd serves and unbound validates: whether what they say is believed. `signed_zones.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "attacks"))
from certificate import Authority
from dane import record
from hops import TEXT, Hop, start
from ports import free_port
from verify import SOON, wait_deferred

os.environ["PATH"] += ":/usr/sbin"
# Those that are signed have a DS in their parent; what is wrong with the others.
SIGNED = ["right", "hashed", "other", "without", "bogus", "expired", "unsigned"]
ZONES = [*SIGNED, "insecure"]


def run(directory, *words):
    done = subprocess.run(words, cwd=directory, capture_output=True, text=True)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout.strip()


def zone(directory, name, lines):
    """A zone file with its SOA and NS."""
    with open(f"{directory}/{name}", "w") as file:
        file.write(f"$ORIGIN {name}.\n$TTL 60\n@ SOA ns.example. me.example. 1 600 600 86400 60\n@ NS ns.example.\n")
        file.writelines(f"{line}\n" for line in lines)


def sign(directory, name, *how):
    """Signs it; the line that its parent has of it."""
    key = run(directory, "ldns-keygen", "-a", "ECDSAP256SHA256", "-k", name)
    run(directory, "ldns-signzone", *how, name, key)
    with open(f"{directory}/{key}.ds") as file:
        return file.read().strip()


def serve(directory, tlsa, port):
    """nsd with all the zones, unbound before it; the port of that, and the two to be ended."""
    parents = []
    for name in ZONES:
        host, domain = f"mx.{name}.example", f"{name}.example"
        zone(directory, domain, [f"@ MX 10 {host}.", f"mx A 127.0.0.{11 + ZONES.index(name)}", *(f"_{port}._tcp.mx TLSA {data[0]} {data[1]} {data[2]} {data[3:].hex()}" for data in tlsa[name])])
        if name in SIGNED:
            how = {"hashed": ["-n"], "expired": ["-i", "20200101", "-e", "20200201"]}.get(name, [])
            parents.append(sign(directory, domain, *how))
        parents.append(f"{domain}. NS ns.example.")
    # Somebody has put in an address of his own.
    with open(f"{directory}/bogus.example.signed") as file:
        whole = file.read()
    assert "127.0.0.15" in whole
    with open(f"{directory}/bogus.example.signed", "w") as file:
        file.write(whole.replace("127.0.0.15", "127.0.0.11"))
    zone(directory, "example", ["ns A 127.0.0.1", *parents])
    anchor = sign(directory, "example")
    served, asked = free_port(), free_port()
    with open(f"{directory}/nsd.conf", "w") as file:
        file.write(f'server:\n ip-address: 127.0.0.1@{served}\n username: ""\n chroot: ""\n pidfile: ""\n zonesdir: "{directory}"\n database: ""\n')
        file.write(f' xfrdfile: "{directory}/xfrd"\n zonelistfile: "{directory}/list"\n xfrdir: "{directory}"\n server-count: 1\nremote-control:\n control-enable: no\n')
        for name in ["example", *(f"{name}.example" for name in ZONES)]:
            signed = name == "example" or name.split(".")[0] in set(SIGNED) - {"unsigned"}
            file.write(f'zone:\n name: "{name}"\n zonefile: "{name}{".signed" if signed else ""}"\n')
    with open(f"{directory}/unbound.conf", "w") as file:
        file.write(f'server:\n interface: 127.0.0.1@{asked}\n do-daemonize: no\n username: ""\n chroot: ""\n pidfile: ""\n use-syslog: no\n directory: "{directory}"\n')
        file.write(f' do-not-query-localhost: no\n trust-anchor: "{anchor}"\n')
        for name in ["example", *(f"{name}.example" for name in ZONES)]:
            file.write(f'stub-zone:\n name: "{name}"\n stub-addr: 127.0.0.1@{served}\n')
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    ended = [subprocess.Popen(["nsd", "-d", "-c", f"{directory}/nsd.conf"], **quiet), subprocess.Popen(["unbound", "-c", f"{directory}/unbound.conf"], **quiet)]
    return asked, ended


def what_signed_zones_say_of_tls_is_obeyed():
    directory, port = tempfile.mkdtemp(prefix="relevo-zones-"), free_port()
    theirs = Authority(directory, "Theirs")
    hops, tlsa = {}, {}
    for number, name in enumerate(ZONES):
        hops[name] = Hop(host=f"127.0.0.{11 + number}", port=port, context=theirs.certify(f"mx.{name}.example"))
        right = record(3, 1, theirs.file(f"mx.{name}.example.pem"))
        wrong = bytes([3, 1, 1]) + b"\1" * 32
        tlsa[name] = {"other": [wrong], "insecure": [wrong], "without": []}.get(name, [right])
    asked, ended = serve(directory, tlsa, port)
    try:
        time.sleep(1)
        more = f'{SOON}[dns]\nservers = ["127.0.0.1:{asked}"]\ntimeout = "2s"\n[delivery]\nmx_port = {port}\nallow_loopback_mx = true\n'
        relay = start(None, more + f'[tls]\nmta_sts = false\ntrust_ad = ["127.0.0.1:{asked}"]\n', route='[[route]]\ndomain = "origin.example"\nto = "discard"\n')
        for name in ZONES:
            relay.send("a@b.example", [f"c@{name}.example"], TEXT)
        for name in ("right", "hashed", "without", "insecure"):
            hops[name].wait(1)
            assert [recipients for _, recipients, _, _ in hops[name].taken] == [[f"c@{name}.example"]], name
        event = wait_deferred(relay, "c@other.example", "the certificate of mx.other.example", "is another than the DNS names")
        assert (event["enhanced"], event["class"]) == ("4.7.5", "tls_required"), event
        # A zone that does not hold is no answer at all: its mail waits, and goes to nobody.
        for name in ("bogus", "expired", "unsigned"):
            wait_deferred(relay, f"c@{name}.example", "the name server answers Server Failure")
        for name in ("other", "bogus", "expired", "unsigned"):
            assert not hops[name].taken, name
        relay.stop()
    finally:
        for process in ended:
            process.kill()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
