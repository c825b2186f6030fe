"""Ten troubles, as an operator on call meets them: `troubles.py STORY BINARY`. Called by tests/peers.rs, one test a story.

Each is caused with the real relay, named by what he would look at (`/readyz`, the page's overview, a command), mended by a command or the page
alone, and then mail flows. docs/operate.md has the table.
"""
import json
import os
import signal
import smtplib
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

import hops
import sources
from accounting import FAKETIME
from certificate import Authority
from control import BINARY, TEXT, Node
from relay import Relay
from sink import Sink
from why import ANY

from names import A, MX, SILENCE, TXT, Names

FAST = '[retry]\nfirst = "1s"\nmax = "1s"\n'


def until(what, why=None, seconds=30):
    """What is found, as soon as it is there."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, why() if callable(why) else why
        time.sleep(0.1)
    return found


class Watched(Node):
    """A relay, and what an operator asks it."""

    def __init__(self, sink=None, more=FAST, **kinds):
        Relay.__init__(self, BINARY, sink, more, **kinds)
        self.path = f"{self.data_dir}/control.sock"

    def any_code(self, *arguments):
        """A command, whatever it answers: both of its outputs."""
        line = [BINARY, *arguments, "--config", f"{self.directory}/relevo.toml"]
        done = subprocess.run(line, capture_output=True, text=True, timeout=60)
        return done.stdout + done.stderr

    def overview(self):
        """What the page shows first."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/control/v1/overview", timeout=20) as answer:
            return json.loads(answer.read())

    def sites(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/control/v1/sites", timeout=20) as answer:
            return json.loads(answer.read())["rows"]

    def ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/readyz", timeout=20) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.read().decode()

    def metric(self, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/metrics", timeout=20) as answer:
            lines = [line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line.startswith(name)]
        return sum(float(value) for _, value in lines)

    def warns(self, *parts):
        """Until the overview has a warning with all of these."""
        return until(
            lambda: next((words for words in self.overview()["warnings"] if all(part in words for part in parts)), None),
            lambda: (parts, self.overview()["warnings"]))

    def says(self, *parts):
        """Until `relevo status` tells a line with all of these, and the page's overview does too."""
        until(lambda: any(all(part in of["words"] for part in parts) for of in self.overview()["said"]), lambda: (parts, self.overview()))
        told = self.any_code("status")
        print(told)
        assert any(all(part in line for part in parts) for line in told.splitlines()), told

    def why(self, *parts, about="d.example", seconds=30):
        """Until `relevo why` answers with all of these."""
        told = [""]

        def has():
            # Long lines are broken at blanks.
            told[0] = " ".join(self.any_code("why", about).split())
            return all(part in told[0] for part in parts)

        until(has, lambda: (parts, told[0]), seconds)
        print(told[0])

    def bring(self, count, domain="d.example", header=b"", sender="a@b.example"):
        client = self.client()
        for number in range(count):
            client.sendmail(sender, [f"u{number}@{domain}"], header + TEXT)
        client.quit()

    def edit(self, old, new):
        path = f"{self.directory}/relevo.toml"
        with open(path) as file:
            text = file.read()
        assert old in text, text
        with open(path, "w") as file:
            file.write(text.replace(old, new))


def a_provider_throttles():
    """The window narrows by itself; the provider is left alone for a while, and then takes all."""
    strict, lock, last = [True], threading.Lock(), [0.0]
    words = b"421 4.7.28 Our system has detected an unusual rate of mail from your IP address\r\n"

    def behave(point, line):
        if point != "RCPT" or not strict[0] or b"@d.example" not in line:
            return None
        with lock:
            now = time.monotonic()
            if now - last[0] < 0.5:
                return words
            last[0] = now
            return None

    relay = Watched(Sink(behave))
    relay.bring(40)
    until(lambda: any(site["narrowed"] and site["message_rate"] for site in relay.sites()), relay.sites)
    until(lambda: any(of["class"] == "throttled" and "unusual rate" in of["text"] for of in relay.overview()["classes"] if of["text"]), relay.overview)
    relay.why("adaptive window", "421 4.7.28")
    relay.command("suspend", "--domain", "d.example", "--for", "1h", "--reason", "421 4.7.28: too much at once")
    relay.why("suspended until", "too much at once")
    strict[0] = False
    relay.command("resume", "--domain", "d.example")
    relay.command("queue", "retry", "--domain", "d.example")
    relay.sink.wait(40)
    relay.stop()


def a_tenant_floods():
    """Who it is stands in the log; its mail waits, and goes back; others' goes on."""
    slow = [0.1]
    sink = Sink(lambda point, line: time.sleep(slow[0]) if point == "dot" else None)
    relay = Watched(sink, FAST + "[delivery]\nconnections_per_destination = 1\n")
    relay.bring(300, header=b"X-Relevo-Tenant: flood\r\n")
    relay.bring(3, header=b"X-Relevo-Tenant: shop\r\n", sender="shop@b.example")
    relay.wait_log("received", 303)
    rows = [json.loads(line) for line in relay.command("log", "stats", "--by", "tenant", "--since", "1h", "--json").splitlines()]
    assert (rows[0]["tenant"], rows[0]["received"]) == ("flood", 300), rows
    assert {row["tenant"] for row in rows} == {"flood", "shop"}, rows
    assert "flood" in relay.command("log", "stats", "--by", "tenant").splitlines()[1]
    waits = relay.count("--tenant", "flood")["recipients"]
    assert waits > 200, waits
    relay.command("suspend", "--tenant", "flood", "--for", "1h", "--reason", "300 at once, and nobody knows why")
    until(lambda: sum(message.sender == "shop@b.example" for message in relay.sink.taken) == 3, lambda: len(relay.sink.taken))
    slow[0] = 0
    # What is under way is finished.
    relay.command("queue", "bounce", "--tenant", "flood", "--reason", "sent by mistake")
    until(lambda: relay.count()["recipients"] == 0, relay.count)
    assert relay.wait_log("bounced")[0]["tenant"] == "flood"
    relay.command("resume", "--tenant", "flood")
    before = len(relay.sink.recipients())
    relay.bring(5, header=b"X-Relevo-Tenant: flood\r\n")
    relay.sink.wait(before + 5)
    relay.stop()


def a_source_is_listed():
    """The page says by whom and why; another source sends meanwhile."""
    listed = {"2.1.0.127"}

    def records(name, kind):
        address, _, zone = name.partition(".bl")
        if zone != ".example" or address != "2.0.0.127" and address not in listed:
            return None
        return ["127.0.0.2"] if kind == A else ["listed, see https://bl.example/why"] if kind == TXT else []

    names, hop = Names(records), sources.Door()
    lists = lambda minutes: f'[dns]\nservers = ["127.0.0.1:{names.port}"]\n[blocklists]\nzones = ["bl.example"]\nevery = "{minutes}m"\n'
    settings = FAST + sources.TWO + sources.pool("bulk", ("ip1", 1), ("ip2", 1)) + sources.NEWS
    relay = Watched(more=settings + lists(60), route=f'[[route]]\ndomain = "*"\nto = "smtp://127.0.0.2:{hop.port}"\n')
    relay.warns("source ip2", "127.0.1.2 is listed by bl.example", "https://bl.example/why")
    assert "127.0.1.2 is listed by bl.example" in relay.command("status")
    relay.command("suspend", "--source", "ip2", "--for", "1h", "--reason", "listed by bl.example")
    until(lambda: "suspended: source ip2" in relay.command("status"))
    sources.send(relay, 20)
    hop.wait(20)
    assert hop.by() == {"127.0.1.1": 20}, hop.by()
    # The list takes it off; a reload that asks at other times has it asked at once.
    listed.clear()
    relay.edit('every = "60m"', 'every = "61m"')
    relay.command("reload")
    until(lambda: not any("is listed by" in words for words in relay.overview()["warnings"]), relay.overview)
    relay.command("resume", "--source", "ip2")
    until(lambda: "suspended: source ip2" not in relay.command("status"))
    hop.taken.clear()
    sources.send(relay, 40)
    hop.wait(40)
    assert set(hop.by()) == {"127.0.1.1", "127.0.1.2"}, hop.by()
    relay.stop()


def the_disk_is_full():
    """As much as the spool may have: it is said where a balancer asks, and mail that goes back makes room."""
    sink = Sink(lambda point, line: b"450 4.2.0 later\r\n" if point == "RCPT" and b"@d.example" in line else None)
    relay = Watched(sink, 'size_max = "32MiB"\n[bounces]\ndsn = false\n', shards=1)
    body = b"Subject: x\r\n\r\n" + (b"y" * 70 + b"\r\n") * 3_500
    try:
        for number in range(500):
            client = relay.client()
            client.sendmail("a@b.example", [f"u{number}@d.example"], body)
            client.quit()
        raise AssertionError("no end of room")
    except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
        assert error.smtp_code == 452, error
    words = until(lambda: (said := relay.ready()) != "ok\n" and said, relay.ready)
    assert "mail is refused for now" in words and "spool.size_max" in words, words
    until(lambda: "spool.size_max" in (relay.overview()["not_ready"] or ""), relay.overview)
    relay.command("status", code=1)
    assert "spool.size_max" in relay.complaint, relay.complaint
    relay.command("queue", "bounce", "--domain", "d.example", "--reason", "their server is gone, and the spool is full")
    until(lambda: relay.ready() == "ok\n", relay.ready)
    relay.bring(3, domain="e.example")
    relay.sink.wait(3)
    relay.command("status")
    relay.stop()


def name_servers_are_dead():
    """That it is they, and not each domain; others are named by a reload."""
    dead = [False]

    def records(name, kind):
        if dead[0]:
            return SILENCE
        return [(10, "mx.example")] if kind == MX else ["127.0.0.2"] if name == "mx.example" and kind == A else []

    first, second = Names(records), Names(lambda name, kind: [(10, "mx.example")] if kind == MX else ["127.0.0.2"] if name == "mx.example" and kind == A else [])
    hop = sources.Door()
    relay = Watched(
        more=f'{FAST}[dns]\nservers = ["127.0.0.1:{first.port}"]\ntimeout = "1s"\nattempts = 1\n[delivery]\nmx_port = {hop.port}\nallow_loopback_mx = true\n',
        route=ANY, shards=1)
    relay.bring(1, domain="before.example")
    hop.wait(1)
    dead[0] = True
    client = relay.client()
    for number in range(60):
        client.sendmail("a@b.example", [f"u@d{number}.example"], TEXT)
    client.quit()
    relay.says("no name server answers", "dns.servers")
    relay.why("no name server answers", about="d7.example")
    relay.edit(f"127.0.0.1:{first.port}", f"127.0.0.1:{second.port}")
    relay.command("reload")
    relay.command("queue", "retry", "--all")
    hop.wait(61, 40)
    relay.says("the name servers answer again")
    relay.stop()


def a_certificate_ends():
    """Clients that look refuse it; whoever looks at the relay hears which file it is."""
    with tempfile.TemporaryDirectory() as directory:
        authority = Authority(directory)
        authority.certify("relay.example", (-30, -1))
        chain = authority.file("relay.example.pem")
        relay = Watched(Sink(), listener=f'tls_certificate = "{chain}"\ntls_key = "{authority.file("relay.example.key")}"\n')

        def send():
            client = relay.client()
            client._host = "relay.example"
            client.starttls(context=ssl.create_default_context(cafile=authority.pem))
            client.sendmail("a@b.example", ["c@d.example"], TEXT)
            client.quit()

        try:
            send()
            raise AssertionError("an old certificate is taken")
        except ssl.SSLCertVerificationError as error:
            assert "expired" in str(error), error
        relay.warns(chain, "EXPIRED", "reload")
        assert f"{chain}: EXPIRED" in relay.command("status")
        assert relay.metric("relevo_certificate_expiry_timestamp_seconds") < time.time()
        authority.certify("relay.example", (-1, 60))
        relay.command("reload")
        send()
        relay.sink.wait(1)
        until(lambda: relay.overview()["warnings"] == [], relay.overview)
        relay.stop()


def a_reload_goes_wrong():
    """Told to whoever looks, not only to whoever typed it; what was in force stays so."""
    relay = Watched(Sink(), FAST + "[delivery]\nconnections_per_destination = 7\n")
    relay.edit("connections_per_destination = 7", 'connections_per_destination = "many"')
    relay.process.send_signal(signal.SIGHUP)
    words = relay.warns("the last reload, by SIGHUP, was refused", "relevo.toml:", "delivery.connections_per_destination")
    assert "the configuration before it is in force" in words, words
    assert "was refused" in relay.command("status") and "relevo.toml has errors" in relay.complaint, relay.complaint
    assert relay.metric('relevo_reloads_total{result="refused"}') == 1
    relay.bring(3)
    relay.sink.wait(3)
    relay.command("reload", "--dry-run", code=1)
    assert "connections_per_destination" in relay.complaint, relay.complaint
    assert any("was refused" in words for words in relay.overview()["warnings"]), "a look mends nothing"
    relay.edit('connections_per_destination = "many"', "connections_per_destination = 8")
    relay.command("reload")
    until(lambda: relay.overview()["warnings"] == [], relay.overview)
    relay.bring(3)
    relay.sink.wait(6)
    relay.stop()


def a_next_hop_is_stuck():
    """It takes connections and says nothing; its mail is led elsewhere, that of others never waits."""
    stuck = threading.Event()

    def behave(talk, verb, line):
        if verb == "connect":
            stuck.wait(60)

    hung, other = hops.Hop(behave), Sink()
    routes = f'[[route]]\ndomain = "d.example"\nto = "smtp://127.0.0.1:{hung.port}"\n[[route]]\ndomain = "*"\nto = "smtp://127.0.0.1:{other.port}"\n'
    with tempfile.TemporaryDirectory() as directory:
        shaping = f"{directory}/shaping.toml"
        with open(shaping, "w") as file:
            file.write('["default"]\nbanner_timeout = "2s"\n')
        relay = Watched(more=f'[retry]\nfirst = "1m"\n[shaping]\nfiles = ["{shaping}"]\n', route=routes)
    relay.bring(20)
    relay.bring(5, domain="e.example")
    other.wait(5)
    relay.why("greeting", "127.0.0.1", about="d.example")
    assert any(site["last_reply"] and "greeting" in site["last_reply"] for site in relay.sites()), relay.sites()
    relay.command("queue", "redirect", "--domain", "d.example", "--to", f"smtp://127.0.0.1:{other.port}", "--for", "1h", "--reason", "it greets nobody")
    until(lambda: relay.any_code("queue", "retry", "--domain", "d.example") and len(other.recipients()) == 25, other.recipients)
    other.wait(25)
    stuck.set()
    relay.command("resume", "--all")
    relay.stop()


def the_clock_is_stepped():
    """libfaketime moves the wall clock alone: mail goes on, and it is said why dates look odd."""
    if not os.path.exists(FAKETIME):
        print("libfaketime is not installed: nothing is proved here")
        return
    with tempfile.TemporaryDirectory() as directory:
        clock = f"{directory}/clock"

        def step(by):
            with open(f"{clock}.new", "w") as file:
                file.write(f"{by}\n")
            os.rename(f"{clock}.new", clock)

        step("+0")
        wrap = ["env", f"LD_PRELOAD={FAKETIME}", f"FAKETIME_TIMESTAMP_FILE={clock}", "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1"]
        later = [True]
        relay = Watched(Sink(lambda point, line: b"450 4.2.0 later\r\n" if point == "RCPT" and later[0] else None), wrap=wrap)
        relay.bring(5)
        relay.wait_log("deferred", 5)
        step("+400d")
        # By 400 days, less what passed since: its seconds are not the story's.
        relay.says("the clock was set forward by 345")
        assert relay.metric("relevo_clock_jumps_total") == 1
        # As a time daemon would.
        step("+0")
        until(lambda: relay.metric("relevo_clock_jumps_total") == 2)
        relay.says("the clock was set back by 345")
        later[0] = False
        relay.sink.wait(5)
        assert not [event for event in relay.log() if event["event"] in ("expired", "bounced")]
        relay.stop()


def two_robots_answer_each_other():
    """Each answer is a new message, so that nothing counts hops: who they are stands in the log, and one suppressed address ends it."""
    refused = []

    def answer(sender, recipient):
        try:
            relay.send(sender, [recipient], b"Subject: I am away\r\n\r\nAnd so are you.\r\n")
        except smtplib.SMTPRecipientsRefused as error:
            refused.append(error.recipients[recipient])

    sink = Sink()
    relay = Watched(sink)
    answered = [0]

    def robots():
        while not refused:
            for message in sink.taken[answered[0]:]:
                answered[0] += 1
                if message.sender.startswith("robot"):
                    answer(message.recipients[0], message.sender)
            time.sleep(0.02)

    thread = threading.Thread(target=robots, daemon=True)
    thread.start()
    answer("robot@b.example", "robot@d.example")
    sink.wait(30)
    rows = [json.loads(line) for line in relay.command("log", "stats", "--by", "recipient", "--since", "1h", "--json").splitlines()]
    assert {row["recipient"] for row in rows[:2]} == {"robot@b.example", "robot@d.example"} and rows[0]["received"] > 5, rows
    assert "robot@" in relay.command("log", "stats", "--by", "sender").splitlines()[1]
    until(lambda: (relay.overview()["rates"]["accepted"] or 0) > 1, relay.overview)
    relay.command("suppress", "add", "robot@d.example", "--note", "answers robot@b.example, which answers it")
    thread.join(20)
    assert refused and refused[0][0] == 550, refused
    until(lambda: relay.count()["recipients"] == 0, relay.count)
    count = len(sink.recipients())
    relay.bring(3)
    sink.wait(count + 3)
    assert len(sink.recipients()) == count + 3, sink.recipients()[count:]
    relay.stop()


globals()[sys.argv[1]]()
