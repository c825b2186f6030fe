"""Domains are told of TLS to their hosts (TLS-RPT), and senders say what they want of it: `tls_reports.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import datetime
import email
import email.policy
import gzip
import http.server
import json
import os
import ssl
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "attacks"))
from certificate import Authority
from dane import record
from hops import TEXT, Hop, metric, start, wait_metric
from names import A, FAILURE, MX, TLSA, TXT, Names
from ports import free_port
from sts import Web, policy
from verify import SOON, trust, wait_deferred

FROM = "tlsrpt@relay.example"
REPORTS = f'tls_rpt = {{ from = "{FROM}", contact = "postmaster@relay.example", delay = "1s" }}\n'


class Collector:
    """A web server that takes reports, after it has refused the first."""

    def __init__(self, context):
        self.posts, self.statuses = [], [503]
        own = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = own.statuses.pop() if own.statuses else 201
                own.posts.append((status, self.path, self.headers["Content-Type"], body))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def day(back=0):
    return (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=back)).strftime("%Y-%m-%d")


def result(report):
    """What it says, in short: of each policy its type, how many sessions were good and bad, and why."""
    return sorted(
        (
            one["policy"]["policy-type"],
            one["summary"]["total-successful-session-count"],
            one["summary"]["total-failure-session-count"],
            *sorted(details["result-type"] for details in one.get("failure-details", [])),
        )
        for one in report["policies"]
    )


def domains_are_told_of_tls_to_their_hosts():
    """A day's sessions, by mail and by HTTPS, to whom the record names, once; also where what is told of would keep the report itself from going."""
    directory, port = tempfile.mkdtemp(prefix="relevo-rpt-"), free_port()
    ours, theirs = Authority(directory, "Ours"), Authority(directory, "Theirs")
    trust(ours.pem)
    hosts = {
        "good": ours.certify("mx.good.example"),
        "plain": None,
        "tested": theirs.certify("mx.tested.example"),
        "expired": ours.certify("mx.expired.example", days=(-30, -1)),
        "named": theirs.certify("mx.named.example"),
        "other": theirs.certify("mx.other.example"),
        "unknown": None,
        "unwanted": None,
        # Whose policy its own host does not keep: its mail waits, and reports to it do not.
        "reports": theirs.certify("mx.reports.example"),
        "html": ours.certify("mx.html.example"),
    }
    addresses = {f"mx.{name}.example": f"127.0.0.{11 + at}" for at, name in enumerate(hosts)}
    hops = {name: Hop(host=addresses[f"mx.{name}.example"], port=port, context=context) for name, context in hosts.items()}
    with_policy = {"good": "enforce", "tested": "testing", "expired": "enforce", "reports": "enforce", "html": None}
    web = Web(ours, theirs, [f"{name}.example" for name in with_policy])
    web.pages |= {f"{name}.example": policy(f"mx.{name}.example", mode=mode) for name, mode in with_policy.items() if mode}
    web.pages["html.example"] = (200, {"Content-Type": "text/html"}, b"no policy")
    collector = Collector(ours.certify("collect.example"))
    rua = {name: "mailto:r@reports.example" for name in hosts if name not in ("unwanted", "reports")}
    rua["tested"] = f"https://collect.example:{collector.port}/v1/tls,mailto:r@reports.example"
    tlsa = {
        "named": [record(3, 1, theirs.file("mx.named.example.pem"))],
        "other": [bytes([3, 1, 1]) + b"\0" * 32],
        "unknown": FAILURE,
    }

    def records(name, kind):
        label = name.split(".")[-2]
        if kind == MX and name == f"{label}.example" and label in hosts:
            return [(10, f"mx.{name}")]
        if kind == A and name in addresses:
            return [addresses[name]]
        if kind == A and (name.startswith("mta-sts.") or name == "collect.example"):
            return ["127.0.0.1"]
        if kind == TXT and name == f"_mta-sts.{label}.example" and label in with_policy:
            return ["v=STSv1; id=1;"]
        if kind == TXT and name == f"_smtp._tls.{label}.example" and label in rua:
            return [f"v=TLSRPTv1; rua={rua[label]}"]
        if kind == TLSA and name == f"_{port}._tcp.mx.{label}.example":
            return tlsa.get(label, [])
        return []

    names = Names(records)
    names.authentic = lambda name, kind: name.split(".")[-2] in tlsa
    more = f'{SOON}[dns]\nservers = ["127.0.0.1:{names.port}"]\nattempts = 1\n[delivery]\nmx_port = {port}\nallow_loopback_mx = true\n'
    tls = f'[tls]\nmta_sts_port = {web.port}\ntrust_ad = ["127.0.0.1:{names.port}"]\n{REPORTS}'
    relay = start(None, more + tls, route='[[route]]\ndomain = "origin.example"\nto = "discard"\n')
    for name in hosts:
        if name != "reports":
            relay.send("a@b.example", [f"c@{name}.example"], TEXT)
    for name in ("good", "plain", "tested", "named", "unwanted", "html"):
        hops[name].wait(1)
    for name in ("expired", "other", "unknown"):
        wait_deferred(relay, f"c@{name}.example", "")
    # Told again after a kill: what was counted until a moment before it.
    end = time.monotonic() + 40
    kept = f"{relay.data_dir}/tls-rpt/{day()}"
    while not (os.path.exists(kept) and '"unknown.example"' in open(kept).read()) and time.monotonic() < end:
        time.sleep(0.5)
    assert '"unknown.example"' in open(kept).read()
    assert metric(relay, "tls_rpt_sessions") > 8
    relay.kill()
    today = day()
    os.rename(f"{relay.data_dir}/tls-rpt/{today}", f"{relay.data_dir}/tls-rpt/{day(1)}")
    before = {name: len(hop.taken) for name, hop in hops.items()}
    relay.start()
    hops["reports"].wait(len(rua), seconds=60)
    wait_metric(relay, "tls_reports", len(rua) + 1)
    found = {}
    for sender, recipients, text, talk in hops["reports"].taken:
        assert (sender, recipients) == (FROM, ["r@reports.example"]), (sender, recipients)
        message = email.message_from_bytes(text, policy=email.policy.default)
        domain = message["TLS-Report-Domain"]
        assert message["TLS-Report-Submitter"] == "relay.example" and message["TLS-Required"] == "No"
        subject = " ".join(message["Subject"].split())
        assert subject.startswith(f"Report Domain: {domain} Submitter: relay.example Report-ID: <"), subject
        assert message.get_content_type() == "multipart/report" and message.get_param("report-type") == "tlsrpt"
        words, packed = message.iter_parts()
        assert packed.get_content_type() == "application/tlsrpt+gzip"
        begin = int(datetime.datetime.strptime(day(1) + "+0000", "%Y-%m-%d%z").timestamp())
        assert packed.get_filename().startswith(f"relay.example!{domain}!{begin}!{begin + 86399}!") and packed.get_filename().endswith(".json.gz")
        report = json.loads(gzip.decompress(packed.get_payload(decode=True)))
        assert domain not in found and report["date-range"]["start-datetime"] == f"{day(1)}T00:00:00Z"
        assert (report["organization-name"], report["contact-info"]) == ("relay.example", "postmaster@relay.example")
        assert all(one["policy"]["policy-domain"] == domain for one in report["policies"])
        found[domain.removesuffix(".example")] = report
    assert sorted(found) == sorted(rua), found
    bad = {name: result(report) for name, report in found.items()}
    some = lambda name: bad[name][0][2]
    assert bad["good"] == [("sts", 1, 0)], bad
    assert bad["plain"][0][:2] == ("no-policy-found", 0) and bad["plain"][0][3:] == ("starttls-not-supported",), bad
    assert bad["tested"] == [("sts", 0, 1, "certificate-not-trusted")], bad
    assert bad["named"] == [("tlsa", 1, 0)], bad
    for name, kind, why in (("expired", "sts", "certificate-expired"), ("other", "tlsa", "tlsa-invalid"), ("unknown", "tlsa", "dnssec-invalid")):
        assert bad[name] == [(kind, 0, some(name), why)] and some(name) > 0, (name, bad)
    assert ("no-policy-found", 1, 0) in bad["html"] and any(one[3:] == ("sts-policy-fetch-error",) for one in bad["html"]), bad
    details = found["expired"]["policies"][0]["failure-details"][0]
    assert details["receiving-mx-hostname"] == "mx.expired.example" and details["receiving-ip"] == addresses["mx.expired.example"]
    assert details["sending-mta-ip"] == "127.0.0.1" and "expired on" in details["failure-reason-code"], details
    assert found["expired"]["policies"][0]["policy"]["policy-string"][1] == "mode: enforce"
    assert found["named"]["policies"][0]["policy"]["policy-string"][0].startswith("3 1 1 ")
    # The first was refused, and it is tried again a quarter of an hour later; the mail is not sent twice.
    status, where, kind, body = collector.posts[0]
    assert (status, where, kind) == (503, "/v1/tls", "application/tlsrpt+gzip")
    assert json.loads(gzip.decompress(body)) == found["tested"]
    assert relay.told("the report of TLS of tested.example cannot be sent", "the web server answers 503", "tried again"), relay.words
    assert relay.told("the report of TLS of good.example was sent to mailto:r@reports.example"), relay.words
    relay.kill()
    relay.start()
    end = time.monotonic() + 30
    while len(collector.posts) < 2 and time.monotonic() < end:
        time.sleep(0.2)
    assert [post[0] for post in collector.posts] == [503, 201], "a start begins anew"
    relay.send("a@b.example", ["d@good.example"], TEXT)
    hops["good"].wait(before["good"] + 1)
    time.sleep(2)
    assert len(hops["reports"].taken) == len(rua), "once a day"
    relay.stop()


def senders_say_what_they_want_of_tls():
    """REQUIRETLS goes only to hosts of which the domain says that they are its own, that prove it, and offer the same; `TLS-Required: No` goes past all that."""
    directory, port = tempfile.mkdtemp(prefix="relevo-requiretls-"), free_port()
    ours, theirs = Authority(directory, "Ours"), Authority(directory, "Theirs")
    trust(ours.pem)
    offers = ("PIPELINING", "8BITMIME", "DSN", "REQUIRETLS")
    hosts = {
        "good": (ours.certify("mx.good.example"), offers),
        "named": (theirs.certify("mx.named.example"), offers),
        "weak": (ours.certify("mx.weak.example"), ("PIPELINING",)),
        "bad": (theirs.certify("mx.bad.example"), offers),
        "plain": (None, offers),
        "nobody": (ours.certify("mx.nobody.example"), offers),
        "origin": (None, ("PIPELINING",)),
    }
    addresses = {f"mx.{name}.example": f"127.0.0.{11 + at}" for at, name in enumerate(hosts)}
    hops = {name: Hop(host=addresses[f"mx.{name}.example"], port=port, context=context, extensions=words) for name, (context, words) in hosts.items()}
    with_policy = ["good", "weak", "bad", "plain", "second"]
    web = Web(ours, theirs, [f"{name}.example" for name in with_policy])
    web.pages |= {f"{name}.example": policy("*.bad.example", "*.weak.example", "*.plain.example", "*.good.example") for name in with_policy}

    def records(name, kind):
        label = name.split(".")[-2]
        if kind == MX and name == "second.example":
            return [(10, "mx.weak.example"), (20, "mx.bad.example"), (30, "mx.good.example")]
        if kind == MX and name == f"{label}.example" and label in hosts:
            return [(10, f"mx.{name}")]
        if kind == A and name in addresses:
            return [addresses[name]]
        if kind == A and name.startswith("mta-sts."):
            return ["127.0.0.1"]
        if kind == TXT and name == f"_mta-sts.{label}.example" and label in with_policy:
            return ["v=STSv1; id=1;"]
        if kind == TLSA and name == f"_{port}._tcp.mx.named.example":
            return [record(3, 1, theirs.file("mx.named.example.pem"))]
        return []

    names = Names(records)
    names.authentic = lambda name, kind: name.split(".")[-2] == "named"
    more = f'{SOON}[dns]\nservers = ["127.0.0.1:{names.port}"]\n[delivery]\nmx_port = {port}\nallow_loopback_mx = true\n'
    tls = f'[tls]\nmta_sts_port = {web.port}\ntrust_ad = ["127.0.0.1:{names.port}"]\n'
    ours.certify("relay.example")
    listener = f'tls_certificate = "{ours.file("relay.example.pem")}"\ntls_key = "{ours.file("relay.example.key")}"\n'
    relay = start(None, more + tls, listener=listener, route='[[route]]\ndomain = "unused.example"\nto = "discard"\n')

    def require(recipient, text=TEXT):
        client = relay.client()
        client.ehlo()
        assert not client.has_extn("requiretls") and client.docmd("MAIL FROM:<a@origin.example> REQUIRETLS")[0] == 530
        client.starttls(context=ssl._create_unverified_context())
        client.ehlo()
        assert client.has_extn("requiretls")
        client.sendmail("a@origin.example", [recipient], text, mail_options=["REQUIRETLS", "RET=FULL"])
        client.quit()

    for name in [*hosts, "second"]:
        if name != "origin":
            require(f"c@{name}.example", b"Subject: secret\r\n\r\nThe body of it.\r\n")
    hops["good"].wait(2)
    hops["named"].wait(1)
    assert sorted(recipients[0] for _, recipients, _, _ in hops["good"].taken) == ["c@good.example", "c@second.example"]
    for name in ("good", "named"):
        mails = hops[name].commands(b"MAIL")
        assert all(b" REQUIRETLS" in line for line in mails) and all(talk.protected for _, _, _, talk in hops[name].taken), mails
    # The others are returned at once: nothing else was said to their hosts, and of the message nothing but its header goes back.
    hops["origin"].wait(4)
    returned = {}
    for sender, recipients, text, _ in hops["origin"].taken:
        assert (sender, recipients) == ("", ["a@origin.example"]) and b"Subject: secret" in text and b"The body of it" not in text, text
        returned[text.split(b"Final-Recipient: rfc822; c@")[1].split(b".")[0].decode()] = text
    assert sorted(returned) == ["bad", "nobody", "plain", "weak"], returned
    assert all(b"Status: 5.7.30" in text for text in returned.values()), returned
    for name in returned:
        assert not hops[name].commands(b"MAIL"), name
    # Other mail to the same hosts goes by what their domains ask, or waits.
    for name in ("weak", "nobody"):
        relay.send("a@b.example", [f"d@{name}.example"], TEXT)
        hops[name].wait(1)
        assert not any(b"REQUIRETLS" in line for line in hops[name].commands(b"MAIL"))
    for name in ("bad", "plain"):
        relay.send("a@b.example", [f"d@{name}.example"], TEXT)
        wait_deferred(relay, f"d@{name}.example", "MTA-STS policy")
        relay.send("a@b.example", [f"e@{name}.example"], b"TLS-Required: No\r\n" + TEXT)
        hops[name].wait(1)
        assert [recipients for _, recipients, _, _ in hops[name].taken] == [[f"e@{name}.example"]], hops[name].taken
        assert b"TLS-Required: No" in hops[name].taken[0][2]
    relay.kill()
    relay.start()
    relay.send("a@b.example", ["f@good.example"], TEXT)
    hops["good"].wait(3)
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
