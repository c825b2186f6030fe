"""Next hops that have to show a valid certificate: `verify.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import json
import os
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "attacks"))
from hops import TEXT, Hop, leave, leave_after, metric, start, wait_metric
from certificate import Authority, certificate
from names import Names
from ports import free_port
from shaping import mx, relay_with, reload
from sink import Sink
from why import ask

# Long enough that a site which rests is seen to do so, each time: it is looked for once a second.
SOON = '[retry]\nfirst = "2s"\nmax = "2s"\n'
REQUIRED, INSECURE = ("[default]\nenable_tls = '%s'\n" % word for word in ("Required", "RequiredInsecure"))


def trust(path):
    """Relays that are started from now on trust whoever is in this file, and nobody else."""
    os.environ.pop("SSL_CERT_DIR", None)
    os.environ["SSL_CERT_FILE"] = path


def deferred(relay, recipient):
    """What was last said of it."""
    said = [event for event in relay.log() if event["event"] == "deferred" and recipient in event["recipients"]]
    return said[-1] if said else None


def wait_deferred(relay, recipient, *parts):
    relay.wait_log("deferred")
    for _ in range(200):
        event = deferred(relay, recipient)
        if event and all(part in event["reply"] for part in parts):
            return event
        time.sleep(0.1)
    raise AssertionError((recipient, parts, event, relay.words))


def only_a_valid_certificate_is_given_mail():
    """By name, time and issuer; the next host is asked where the first shows a bad one; `RequiredInsecure` takes any, and nothing takes plain text."""
    directory, port = tempfile.mkdtemp(prefix="relevo-tls-"), free_port()
    ours, theirs = Authority(directory, "Ours"), Authority(directory, "Theirs")
    trust(ours.pem)
    os.mkdir(f"{directory}/own")
    bad = {
        "wrong": (ours.certify("mx.other.example"), "is for mx.other.example, not for mx.wrong.example"),
        "expired": (ours.certify("mx.expired.example", days=(-30, -1)), "expired on 20"),
        "early": (ours.certify("mx.early.example", days=(1, 30)), "does not hold before 20"),
        "unknown": (theirs.certify("mx.unknown.example"), "was issued by nobody that this machine trusts"),
        "self": (certificate(f"{directory}/own", "mx.self.example"), "is self-signed"),
    }
    hosts, hops = [], {}
    for number, (name, context) in enumerate({"good": ours.certify("mx.good.example"), "plain": None, **{name: of for name, (of, _) in bad.items()}}.items()):
        hops[name] = Hop(host=f"127.0.0.{11 + number}", port=port, context=context)
        hosts.append((f"{name}.example", f"mx.{name}.example", f"127.0.0.{11 + number}"))
    relay, path = relay_with(REQUIRED, mx(*hosts), port, SOON)
    for name in hops:
        relay.send("a@b.example", [f"c@{name}.example"], TEXT)
    hops["good"].wait(1)
    assert hops["good"].taken[0][3].protected
    for name, (_, why) in bad.items():
        event = wait_deferred(relay, f"c@{name}.example", f"the certificate of mx.{name}.example [127.0.0.", f"]:{port} {why}")
        assert (event["enhanced"], event["class"]) == ("4.7.5", "tls_required"), event
        assert why in json.dumps(ask(relay, f"{name}.example")), ask(relay, f"{name}.example", json_too=False)
        assert relay.told(f"mail for {name}.example waits", why)
    event = wait_deferred(relay, "c@plain.example", "offers no STARTTLS")
    assert (event["enhanced"], event["class"]) == ("4.7.4", "tls_required"), event
    wait_metric(relay, "tls_unverified", len(bad))
    for name, hop in hops.items():
        assert name == "good" or not hop.commands(b"MAIL"), (name, hop.heard)
    assert metric(relay, "tls_fallbacks") == 0 and not relay.told("plain text", seconds=0.1), relay.words
    # Any will do now, and a connection that came up so serves nobody who wants a valid one.
    reload(relay, path, INSECURE)
    for name in bad:
        hops[name].wait(1)
        assert hops[name].taken[0][3].protected, name
    before = {name: hops[name].talks for name in bad}
    reload(relay, path, REQUIRED)
    for name in bad:
        relay.send("a@b.example", [f"d@{name}.example"], TEXT)
        wait_deferred(relay, f"d@{name}.example", bad[name][1])
        assert hops[name].talks > before[name] and len(hops[name].taken) == 1, (name, hops[name].heard)
    assert not hops["plain"].taken
    relay.stop()


def the_next_host_is_asked_where_a_certificate_is_bad():
    directory, port = tempfile.mkdtemp(prefix="relevo-tls-"), free_port()
    ours = Authority(directory)
    trust(ours.pem)
    first = Hop(host="127.0.0.11", port=port, context=ours.certify("else.example"))
    second = Hop(host="127.0.0.12", port=port, context=ours.certify("mx2.a.example"))
    names = {("a.example", 15): [(10, "mx1.a.example"), (20, "mx2.a.example")], ("mx1.a.example", 1): ["127.0.0.11"], ("mx2.a.example", 1): ["127.0.0.12"]}
    server = Names(lambda name, kind: names.get((name, kind), []))
    relay, _ = relay_with(REQUIRED, f'[dns]\nservers = ["127.0.0.1:{server.port}"]\n', port, SOON)
    relay.send("a@b.example", ["c@a.example"], TEXT)
    second.wait(1)
    assert first.talks == 1 and not first.commands(b"MAIL"), first.heard
    assert not [event for event in relay.log() if event["event"] == "deferred"]
    relay.stop()


def what_breaks_under_required_tls_is_no_reason_for_plain_text():
    """Wherever it breaks: mail waits as it does for any host that fails, and nobody says that it goes in plain text."""

    def under_tls(wanted):
        return lambda talk, verb, line: leave(talk) if verb == wanted and talk.protected else None

    def at_starttls(words, end=lambda talk, words: words):
        return lambda talk, verb, line: end(talk, words) if verb == "STARTTLS" else None

    acts = {
        "ehlo": under_tls("EHLO"),
        "mail": under_tls("MAIL"),
        "refused": at_starttls(b"454 4.7.0 no TLS now\r\n"),
        "odd": at_starttls(b"354 what\r\n"),
        "closed": at_starttls(b"220 go on\r\n", leave_after),
    }
    directory, port = tempfile.mkdtemp(prefix="relevo-tls-"), free_port()
    context = certificate(directory, "any.example")
    hops = {name: Hop(act, host=f"127.0.0.{11 + number}", port=port, context=context) for number, (name, act) in enumerate(acts.items())}
    hosts = [(f"{name}.example", f"mx.{name}.example", f"127.0.0.{11 + number}") for number, name in enumerate(acts)]
    relay, _ = relay_with(INSECURE, mx(*hosts), port, SOON)
    for name in hops:
        relay.send("a@b.example", [f"c@{name}.example"], TEXT)
    for name in hops:
        wait_deferred(relay, f"c@{name}.example")
    wait_deferred(relay, "c@refused.example", "refuses STARTTLS; a shaping file's enable_tls requires TLS")
    time.sleep(4)
    for name, hop in hops.items():
        # A try in two seconds or so.
        assert not hop.taken and 2 <= hop.talks <= 10, (name, hop.talks, hop.heard[-20:])
        assert name == "mail" or not hop.commands(b"MAIL"), (name, hop.heard)
    assert metric(relay, "tls_fallbacks") == 0 and not relay.told("plain text", seconds=0.1), relay.words
    relay.stop()


def whom_the_machine_trusts_is_read_again():
    """It trusts nobody at first: mail waits, and the operator hears what to do. A smart host is verified by the name or address that it is connected to."""
    directory = tempfile.mkdtemp(prefix="relevo-tls-")
    ours = Authority(directory)
    trust(f"{directory}/trusted.pem")
    hops = {
        "address": Hop(context=ours.certify("127.0.0.1", san="IP")),
        "name": Hop(context=ours.certify("localhost")),
        "other": Hop(context=ours.certify("other.example")),
    }
    first = Sink(tls_first=ours.certify("127.0.0.1", san="IP"))
    bad = Sink(tls_first=ours.certify("mx.example"))
    to = {"address": "127.0.0.1", "name": "localhost", "other": "localhost"}
    route = "".join(f'[[route]]\ndomain = "{name}.example"\nto = "smtp://{to[name]}:{hop.port}"\n' for name, hop in hops.items())
    for name, sink in (("first", first), ("bad", bad)):
        route += f'[[route]]\ndomain = "{name}.example"\nto = "smtps://127.0.0.1:{sink.port}"\n'
    path = f"{directory}/shaping.toml"
    with open(path, "w") as file:
        file.write(REQUIRED)
    relay = start(None, f'{SOON}[shaping]\nfiles = ["{path}"]\n', route=route)
    assert relay.told(f"{path}:2", "this machine trusts no authority", "No such file", "install the package ca-certificates"), relay.words
    names = [*hops, "first", "bad"]
    for name in names:
        relay.send("a@b.example", [f"c@{name}.example"], TEXT)
    for name in names:
        wait_deferred(relay, f"c@{name}.example", "cannot be verified: this machine trusts no authority")
    assert not any(hop.commands(b"MAIL") for hop in hops.values()) and not first.taken and not bad.taken
    shutil.copy(ours.pem, f"{directory}/trusted.pem")
    reload(relay, path, REQUIRED)
    hops["address"].wait(1)
    hops["name"].wait(1)
    first.wait(1)
    wait_deferred(relay, "c@other.example", "is for other.example, not for localhost")
    wait_deferred(relay, "c@bad.example", "is for mx.example, not for 127.0.0.1")
    assert not hops["other"].commands(b"MAIL") and not bad.taken
    relay.stop()


def a_route_says_what_tls_its_mail_asks_for():
    """Whatever shaping files say: also of hosts that other mail goes to in another way, of MX hosts, and of what waits when a reload changes it."""
    directory, port = tempfile.mkdtemp(prefix="relevo-tls-"), free_port()
    ours, theirs = Authority(directory, "Ours"), Authority(directory, "Theirs")
    trust(f"{directory}/nobody.pem")
    plain = Hop(host="127.0.0.11", port=port)
    bad = Hop(host="127.0.0.12", port=port, context=theirs.certify("127.0.0.12", san="IP"))
    good = Hop(host="127.0.0.13", port=port, context=ours.certify("mx.good.example"))
    first = Sink(tls_first=theirs.certify("127.0.0.1", san="IP"))

    def route(name, to, tls):
        return f'[[route]]\ndomain = "{name}.example"\nto = "{to}"\n' + (f'tls = "{tls}"\n' if tls else "")

    hosts = {"plain": f"smtp://127.0.0.11:{port}", "bad": f"smtp://127.0.0.12:{port}", "first": f"smtps://127.0.0.1:{first.port}"}
    levels = ("off", "opportunistic", "require", "verify", "")
    of_hosts = "".join(route(f"{tls or 'unsaid'}.{name}", to, tls) for name, to in hosts.items() for tls in levels if (name, tls) != ("first", "off"))
    of_mx = route("good", "mx", "verify") + route("must", "mx", "require")
    shaping = f"{directory}/shaping.toml"
    with open(shaping, "w") as file:
        file.write("[default]\nenable_tls = 'RequiredInsecure'\n")
    names = mx(("good.example", "mx.good.example", "127.0.0.13"), ("must.example", "mx.must.example", "127.0.0.11"))
    more = f'{SOON}{names}[delivery]\nmx_port = {port}\nallow_loopback_mx = true\n[shaping]\nfiles = ["{shaping}"]\n'
    relay = start(None, more, route=of_hosts + of_mx)
    assert relay.told("route[3].tls", "this machine trusts no authority"), relay.words
    shutil.copy(ours.pem, f"{directory}/nobody.pem")
    reload(relay, shaping, "[default]\nenable_tls = 'RequiredInsecure'\n")
    waits = {
        "require.plain": "offers no STARTTLS; the route's tls requires TLS",
        "unsaid.plain": "offers no STARTTLS; a shaping file's enable_tls requires TLS",
        "verify.plain": "offers no STARTTLS; the route's tls requires TLS",
        "verify.bad": "was issued by nobody that this machine trusts, or its chain is incomplete; the route's tls = \"verify\" wants a valid one",
        "verify.first": "the route's tls = \"verify\" wants a valid one",
        "must": "offers no STARTTLS; the route's tls requires TLS",
    }
    goes = {"off.plain": False, "opportunistic.plain": False, "off.bad": False, "opportunistic.bad": True, "require.bad": True, "unsaid.bad": True, "good": True}
    for name in [*goes, "opportunistic.first", "require.first", "unsaid.first", *waits]:
        relay.send("a@b.example", [f"c@{name}.example"], TEXT)
    for hop, count in ((plain, 2), (bad, 4), (good, 1)):
        hop.wait(count)
    for name, why in waits.items():
        event = wait_deferred(relay, f"c@{name}.example", why)
        assert event["class"] == "tls_required" and json.dumps(why)[1:-1] in json.dumps(ask(relay, f"{name}.example")), event
    taken = {recipient: talk.protected for hop in (plain, bad, good) for _, recipients, _, talk in hop.taken for recipient in recipients}
    assert taken == {f"c@{name}.example": protected for name, protected in goes.items()}, taken
    first.wait(3)
    assert metric(relay, "tls_fallbacks") == 0 and not relay.told("its mail goes in plain text", seconds=0.1), relay.words
    # A reload: what waits goes by what holds now, and nothing else does.
    relay.route = relay.route.replace('tls = "verify"', 'tls = "require"').replace('tls = "off"', 'tls = "verify"', 1)
    relay.write()
    reload(relay, shaping, "[default]\nenable_tls = 'Disabled'\n")
    bad.wait(5)
    assert bad.taken[-1][3].protected, bad.heard
    first.wait(4)
    # It went in plain text, and is sent more that way no longer; what no route says goes by the file.
    plain.wait(3)
    relay.send("a@b.example", ["d@off.plain.example"], TEXT)
    wait_deferred(relay, "d@off.plain.example", "offers no STARTTLS; the route's tls requires TLS")
    assert len(plain.taken) == 3 and not plain.taken[-1][3].protected
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
