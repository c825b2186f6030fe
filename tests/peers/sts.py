"""Domains that say which hosts are theirs (MTA-STS): `sts.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import http.server
import os
import ssl
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "attacks"))
from certificate import Authority
from hops import TEXT, Hop, metric, start, wait_metric
from names import A, MX, TXT, Names
from ports import free_port
from verify import SOON, trust, wait_deferred


class Web:
    """The web servers of all domains, at one port: `pages` by domain is the policy, or a status, headers and a body."""

    def __init__(self, ours, theirs, domains):
        self.pages, self.asked = {}, []
        contexts = {f"mta-sts.{name}": (theirs if name == "untrusted.example" else ours).certify(f"mta-sts.{name}") for name in domains}
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sni_callback = lambda secure, name, _: setattr(secure, "context", contexts.get(name, context))
        pages, asked = self.pages, self.asked

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                domain = self.headers["Host"].removeprefix("mta-sts.")
                asked.append(domain)
                page = pages.get(domain, (404, {}, b""))
                status, headers, body = page if isinstance(page, tuple) else (200, {"Content-Type": "text/plain"}, page.encode())
                assert self.path == "/.well-known/mta-sts.txt", self.path
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def policy(*hosts, mode="enforce", age=86400):
    return f"version: STSv1\r\nmode: {mode}\r\n" + "".join(f"mx: {host}\r\n" for host in hosts) + f"max_age: {age}\r\n"


def set_up(domains, hosts):
    """Relay, web, hosts by name. `domains`: name to the host that its MX record names; `hosts`: name to whether it has a certificate, and of whom."""
    directory, port = tempfile.mkdtemp(prefix="relevo-sts-"), free_port()
    ours, theirs = Authority(directory, "Ours"), Authority(directory, "Theirs")
    trust(ours.pem)
    contexts = {"good": lambda name: ours.certify(name), "bad": lambda name: theirs.certify(name), "plain": lambda name: None}
    addresses = {name: f"127.0.0.{11 + at}" for at, name in enumerate(hosts)}
    hops = {name: Hop(host=addresses[name], port=port, context=contexts[kind](name)) for name, kind in hosts.items()}
    web = Web(ours, theirs, domains)
    ids = {name: "1" for name in domains}

    def records(name, kind):
        if kind == MX and name in domains:
            return [(10 * (at + 1), host) for at, host in enumerate(domains[name].split())]
        if kind == A and name in addresses:
            return [addresses[name]]
        if kind == A and name.startswith("mta-sts."):
            return ["127.0.0.1"]
        if kind == TXT and name.startswith("_mta-sts.") and ids.get(name.removeprefix("_mta-sts.")):
            return [f"v=STSv1; id={ids[name.removeprefix('_mta-sts.')]};"]
        return []

    names = Names(records)
    more = f'{SOON}[dns]\nservers = ["127.0.0.1:{names.port}"]\n[delivery]\nmx_port = {port}\nallow_loopback_mx = true\n'
    relay = start(None, more + f"[tls]\nmta_sts_port = {web.port}\n", route='[[route]]\ndomain = "origin.example"\nto = "discard"\n')
    return relay, web, hops, ids


def mail_goes_to_hosts_that_the_policy_names_and_that_prove_it():
    """Others of the same hosts have no such policy, and never wait for one that is broken; `testing` and what cannot be fetched hold nobody up."""
    domains = {
        "good.example": "mx.good.example",
        "wild.example": "mx.good.example",
        "bad.example": "mx.bad.example",
        "plain.example": "mx.plain.example",
        "beside.example": "mx.plain.example",
        "besides.example": "mx.bad.example",
        "testing.example": "mx.plain.example",
        "none.example": "mx.plain.example",
        "foreign.example": "mx.good.example",
        "second.example": "mx.plain.example mx.good.example",
        "moved.example": "mx.plain.example",
        "html.example": "mx.plain.example",
        "untrusted.example": "mx.plain.example",
        "missing.example": "mx.plain.example",
        "large.example": "mx.plain.example",
    }
    relay, web, hops, ids = set_up(domains, {"mx.good.example": "good", "mx.bad.example": "bad", "mx.plain.example": "plain"})
    ids["beside.example"] = ids["besides.example"] = None
    web.pages |= {
        "good.example": policy("mx.good.example"),
        "wild.example": policy("*.good.example"),
        "bad.example": policy("mx.bad.example"),
        "plain.example": policy("mx.plain.example"),
        "testing.example": policy("mx.elsewhere.example", mode="testing"),
        "none.example": policy(mode="none"),
        "foreign.example": policy("*.good.example.net", "good.example"),
        "second.example": policy("mx.good.example"),
        "moved.example": (301, {"Location": f"https://mta-sts.plain.example:{web.port}/.well-known/mta-sts.txt", "Content-Type": "text/plain"}, policy("x").encode()),
        "html.example": (200, {"Content-Type": "text/html"}, policy("mx.elsewhere.example").encode()),
        "untrusted.example": policy("mx.elsewhere.example"),
        "large.example": policy("mx.elsewhere.example") + "x: " + "y" * 70000,
    }
    for domain in domains:
        relay.send("a@b.example", [f"c@{domain}"], TEXT)
    wanted = {"mx.good.example": ["good", "second", "wild"], "mx.bad.example": ["besides"], "mx.plain.example": ["beside", "html", "large", "missing", "moved", "none", "testing", "untrusted"]}
    for name, some in wanted.items():
        hops[name].wait(len(some))
        assert sorted(recipient for _, recipients, _, _ in hops[name].taken for recipient in recipients) == [f"c@{one}.example" for one in some], hops[name].taken
    assert all(talk.protected for _, _, _, talk in hops["mx.good.example"].taken)
    asks = "the domain's MTA-STS policy (mode enforce)"
    for domain, status, words in (
        ("bad.example", "4.7.5", ("was issued by nobody that this machine trusts", f"{asks} wants a valid one")),
        ("plain.example", "4.7.4", ("offers no STARTTLS", f"{asks} requires TLS")),
        ("foreign.example", "4.7.5", ("names none of its MX hosts: mx.good.example", "mode enforce")),
    ):
        event = wait_deferred(relay, f"c@{domain}", *words)
        assert (event["enhanced"], event["class"]) == (status, "tls_required"), event
    assert metric(relay, 'mta_sts_fetches_total{result="failed"}') or True
    # The broken ones have waited; all else goes on, and the operator has a way out.
    relay.send("a@b.example", ["d@besides.example"], TEXT)
    hops["mx.bad.example"].wait(2)
    relay.route += '[[route]]\ndomain = "bad.example"\nto = "mx"\ntls = "opportunistic"\n'
    relay.write()
    relay.reload() if hasattr(relay, "reload") else relay.process.send_signal(1)
    hops["mx.bad.example"].wait(3)
    relay.stop()


def a_policy_outlives_its_web_server():
    """A restart of the relay, a fetch that fails, and a record that is gone leave it; another id has it fetched again; `none` removes it."""
    relay, web, hops, ids = set_up({"a.example": "mx.a.example", "b.example": "mx.a.example"}, {"mx.a.example": "plain"})
    ids["b.example"] = None
    web.pages["a.example"] = policy("mx.a.example")
    relay.send("a@b.example", ["c@a.example"], TEXT)
    wait_deferred(relay, "c@a.example", "offers no STARTTLS")
    [kept] = os.listdir(f"{relay.data_dir}/mta-sts")
    assert kept == "a.example", kept
    before = len(web.asked)
    web.pages["a.example"] = (500, {"Content-Type": "text/plain"}, b"no")
    relay.kill()
    ids["a.example"] = None
    relay.start()
    relay.send("a@b.example", ["d@a.example", "d@b.example"], TEXT)
    hops["mx.a.example"].wait(1)
    wait_deferred(relay, "d@a.example", "offers no STARTTLS")
    assert len(web.asked) == before, "without a record nobody asks"
    relay.kill()
    ids["a.example"] = "2"
    relay.start()
    assert relay.told("the MTA-STS policy of a.example cannot be fetched again", "answers 500", seconds=20), relay.words
    relay.send("a@b.example", ["e@a.example"], TEXT)
    wait_deferred(relay, "e@a.example", "offers no STARTTLS")
    web.pages["a.example"] = policy(mode="none")
    relay.kill()
    ids["a.example"] = "3"
    relay.start()
    hops["mx.a.example"].wait(4)
    assert sorted(recipient for _, recipients, _, _ in hops["mx.a.example"].taken for recipient in recipients)[:3] == ["c@a.example", "d@a.example", "d@b.example"]
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
