"""What `relevo why` says is what then happens: `why.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import datetime
import json
import os
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "attacks"))
from hops import TEXT, Hop
from names import SILENCE, Names
from ports import free_port
from relay import Relay

BINARY = os.path.abspath(sys.argv[2])
ANY = '[[route]]\ndomain = "*"\nto = "mx"\n'


def relay_of(names, port, more="", shaping=None):
    """A relay that asks this name server; `names`: what it says of a name and kind."""
    server = Names(names if callable(names) else lambda name, kind: names.get((name, kind), []))
    more += f'[dns]\nservers = ["127.0.0.1:{server.port}"]\ntimeout = "1s"\nattempts = 1\n'
    more += f"[delivery]\nmx_port = {port}\nallow_loopback_mx = true\n"
    if shaping:
        path = f"{tempfile.mkdtemp(prefix='relevo-test-')}/shaping.toml"
        with open(path, "w") as file:
            file.write(shaping)
        more += f'[shaping]\nfiles = ["{path}"]\n'
    return Relay(BINARY, None, more, route=ANY)


def retry(seconds):
    return f'[retry]\nfirst = "{seconds}s"\nmax = "{seconds}s"\n'


def led_to(*domains):
    names = {}
    for domain in domains:
        names[(domain, 15)] = [(10, f"mx.{domain}")]
        names[(f"mx.{domain}", 1)] = ["127.0.0.2"]
    return names


def ask(relay, what, json_too=True, code=0):
    done = subprocess.run(
        [BINARY, "why", what, *(["--json"] if json_too else []), "--config", f"{relay.directory}/relevo.toml"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == code, (what, done.returncode, done.stdout, done.stderr)
    return json.loads(done.stdout) if json_too and not code else done.stdout + done.stderr


def until(relay, what, cause, seconds=20):
    """Asks until this is among the causes: the answer, and the cause."""
    end = time.monotonic() + seconds
    while True:
        try:
            why = ask(relay, what)
            found = [one for one in why["causes"] if one["cause"] == cause]
            if found:
                return why, found[0]
        except AssertionError as nothing:
            why = nothing
        assert time.monotonic() < end, why
        time.sleep(0.1)


def stamp(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def wait(holds, seconds=30):
    end = time.time() + seconds
    while not holds():
        assert time.time() < end, "it does not happen"
        time.sleep(0.02)


def comes_at(told, times, before):
    """Something is in `times` that was not before, at the time told: not sooner, and a busy machine may be late."""
    wait(lambda: len(times) > before)
    assert told - 0.3 <= times[before] <= told + 3, (told, times[before:], times[before] - told)


def readable(relay, what, *parts):
    text = ask(relay, what, json_too=False)
    print(text)
    lines = text.splitlines()
    assert len(lines) <= 20 and all(len(line) <= 100 for line in lines), text
    assert all(part in text for part in parts), (parts, text)


def a_deferred_recipient_is_tried_when_it_says():
    port, times = free_port(), []

    def later(talk, verb, line):
        if verb == "RCPT":
            times.append(time.time())
            return b"451 4.7.1 greylisted, come back\r\n"

    Hop(later, host="127.0.0.2", port=port)
    relay = relay_of(led_to("d.example", "e.example"), port, retry(6))
    relay.send("a@b.example", ["u@d.example"], TEXT)
    wait(lambda: times)
    # What was said last is known when it is on disk.
    wait(lambda: ask(relay, "d.example")["replies"])
    message = relay.wait_log("received")[0]["id"]
    before = len(times)
    for what in ("d.example", "u@d.example", message):
        why, cause = until(relay, what, "next_try")
        assert (why["recipients"], why["complete"], cause["recipients"]) == (1, True, 1), why
        assert why["replies"] == [{"reply": "451 4.7.1 greylisted, come back", "recipients": 1}], why
        [domain] = why["domains"]
        assert domain["site"]["route"] == "mx" and domain["site"]["hosts"] == [f"10 mx.d.example:{port}"], domain
    readable(relay, "d.example", "1 recipient waits", "waiting for the next try at ", "451 4.7.1 greylisted", "MX 10 mx.d.example")
    if len(times) == before:
        comes_at(stamp(cause["until"]), times, before)
    ask(relay, "e.example", code=1)
    ask(relay, "0000000000000102", code=1)
    ask(relay, "nobody", code=1)
    relay.stop()


def a_site_that_rests_is_tried_when_it_says():
    port, times = free_port(), []
    provider = '[provider.one]\nmatch = [{ MXSuffix = ".d.example" }]\n[provider.other]\nmatch = [{ MXSuffix = ".e.example" }]\n'
    relay = relay_of(led_to("d.example"), port, retry(20), provider)
    relay.send("a@b.example", ["u@d.example"], TEXT)
    why, cause = until(relay, "d.example", "site_closed")
    # Ready mail is found by who runs its site.
    count = [BINARY, "queue", "count", "--json", "--config", f"{relay.directory}/relevo.toml"]
    counted = lambda name: json.loads(subprocess.run([*count, "--provider", name], check=True, capture_output=True).stdout)["recipients"]
    wait(lambda: counted("one") == 1)
    assert counted("other") == 0
    assert "refused" in cause["words"] and why["domains"][0]["site"]["failures"] >= 1, why
    # Of several rests the next that is long enough to be asked about.
    while stamp(cause["until"]) - time.time() < 1:
        time.sleep(0.1)
        why, cause = until(relay, "d.example", "site_closed")
    readable(relay, "d.example", "the site failed", "rests until")
    Hop(lambda talk, verb, line: times.append(time.time()) if verb == "connect" else None, host="127.0.0.2", port=port)
    comes_at(stamp(cause["until"]), times, 0)
    relay.stop()


def who_has_all_connections_is_told():
    port, go = free_port(), threading.Event()
    hop = Hop(lambda talk, verb, line: go.wait(60) and None if verb == "dot" else None, host="127.0.0.2", port=port)
    shaping = '["d.example"]\nconnection_limit = 2\n'
    relay = relay_of(led_to("d.example"), port, retry(20), shaping)
    for number in range(6):
        relay.send("a@b.example", [f"u{number}@d.example"], TEXT)
    why, cause = until(relay, "d.example", "connections")
    wait(lambda: ask(relay, "d.example")["domains"][0]["site"]["connections"] == 2)
    # A connection may have taken up a message more, whose commands go behind the body of the first.
    time.sleep(1)
    why, cause = until(relay, "d.example", "connections")
    under_way = why["under_way"]
    assert 2 <= under_way <= 4, why
    site = why["domains"][0]["site"]
    assert (site["connections"], site["connections_max"], sum(one["connections"] for one in site["shards"])) == (2, 2, 2), site
    assert "2 of 2 connections" in cause["words"] and "shaping.toml:2 connection_limit = 2" in cause["words"], cause
    assert (cause["recipients"], why["recipients"], cause["until"]) == (6 - under_way, 6 - under_way, None), why
    readable(relay, "d.example", f"{6 - under_way} recipients wait; {under_way} under way", "2 of 2 connections to the site are in use", "shard ")
    go.set()
    hop.wait(6, 30)
    wait(lambda: "nothing of" in ask(relay, "d.example", json_too=False, code=1))
    relay.stop()


def what_a_rate_holds_up_goes_when_it_says():
    port, times = free_port(), []
    Hop(lambda talk, verb, line: times.append(time.time()) if verb == "MAIL" else None, host="127.0.0.2", port=port)
    shaping = '["d.example"]\nmax_message_rate = "10/min"\n'
    relay = relay_of(led_to("d.example"), port, retry(20), shaping)
    for number in range(3):
        relay.send("a@b.example", [f"u{number}@d.example"], TEXT)
    wait(lambda: times)
    why, cause = until(relay, "d.example", "rate")
    before = len(times)
    assert "shaping.toml:2 max_message_rate = 10/min" in cause["words"], cause
    readable(relay, "d.example", "held to the rate of the site: the next may go")
    comes_at(stamp(cause["until"]), times, before)
    relay.stop()


def a_rule_that_sets_a_rate_is_named():
    port = free_port()
    slow = lambda talk, verb, line: b"451 4.7.1 slow down\r\n" if verb == "RCPT" and b"first" in line else None
    for said in ('max_message_rate = "50/s"\n', ""):
        Hop(slow, host="127.0.0.2", port=port)
        shaping = f'["d.example"]\nadaptive = false\n{said}[["d.example".automation]]\nregex = "slow down"\nduration = "1h"\n'
        shaping += 'action = [{SetConfig = {name = "max_message_rate", value = "10/min"}}, {SetConfig = {name = "connection_limit", value = 1}}]\n'
        relay = relay_of(led_to("d.example"), port, retry(600), shaping)
        relay.send("a@b.example", ["first@d.example"], TEXT)
        list_of = [BINARY, "suspend", "--list", "--json", "--config", f"{relay.directory}/relevo.toml"]
        wait(lambda: b"max_message_rate" in subprocess.run(list_of, capture_output=True).stdout)
        for number in range(5):
            relay.send("a@b.example", [f"u{number}@d.example"], TEXT)
        why, cause = until(relay, "d.example", "rate")
        line = 4 if said else 3
        assert f"shaping.toml:{line} max_message_rate = 10/min, by a rule: " in cause["words"], cause
        [domain] = why["domains"]
        assert f"shaping.toml:{line} connection_limit = 1, by a rule: " in domain["site"]["limit"], domain
        relay.stop()
        port = free_port()


def a_suspended_tenant_goes_on_when_it_says():
    port, times = free_port(), []
    Hop(lambda talk, verb, line: times.append(time.time()) if verb == "MAIL" else None, host="127.0.0.2", port=port)
    rule = '[[rule]]\nmatch = { sender = "@shop.example" }\nset = { tenant = "shop" }\n'
    relay = relay_of(led_to("d.example"), port, retry(20) + rule)
    where = ["--config", f"{relay.directory}/relevo.toml"]
    words = ["suspend", "--tenant", "shop", "--for", "8s", "--reason", "too many complaints", *where]
    subprocess.run([BINARY, *words], check=True, stdout=subprocess.DEVNULL, timeout=30)
    relay.send("a@shop.example", ["u@d.example"], TEXT)
    why, cause = until(relay, "d.example", "suspended")
    end = time.monotonic() + 5
    # By what, is told once its record can be read.
    while "too many complaints" not in cause["words"]:
        assert time.monotonic() < end, why
        why, cause = until(relay, "d.example", "suspended")
    assert (why["recipients"], cause["recipients"]) == (1, 1), why
    readable(relay, "u@d.example", "suspended until ", "too many complaints")
    # It may be said a second late rather than early.
    comes_at(stamp(cause["until"]), times, 0)
    relay.stop()


def what_is_suspended_beyond_its_next_try_says_so():
    """By what it goes to and by what only its record says; also mail that a sender holds back."""
    port, times = free_port(), {}

    def later(talk, verb, line):
        if verb == "RCPT":
            of = times.setdefault(line.decode().partition("@")[2].partition(">")[0], [])
            of.append(time.time())
            return b"451 4.7.1 greylisted, come back\r\n"

    Hop(later, host="127.0.0.2", port=port)
    rule = '[[rule]]\nmatch = { recipient = "*" }\nset = { tenant = "shop" }\n'
    relay = relay_of(led_to("d.example", "e.example", "f.example"), port, retry(5) + rule)
    config = ["--config", f"{relay.directory}/relevo.toml"]
    suspend = lambda *words: subprocess.run([BINARY, "suspend", *words, *config], check=True, stdout=subprocess.DEVNULL)
    for domain, scope in (("d.example", "--domain=d.example"), ("e.example", "--tenant=shop"), ("f.example", "--site=mx.f.example")):
        relay.send("a@b.example", [f"u@{domain}"], TEXT)
        wait(lambda: domain in times)
        until(relay, domain, "next_try")
        suspend(scope, "--for", "12s", "--reason", f"that of {domain}")
        why, cause = until(relay, domain, "suspended")
        assert f"that of {domain}" in cause["words"] and "next try at" in cause["words"], why
        before = len(times[domain])
        assert before == 1, times
        readable(relay, domain, "but suspended until")
        comes_at(stamp(cause["until"]), times[domain], before)
    relay.stop()


def a_domain_that_does_not_resolve_is_asked_for_when_it_says():
    port, dead = free_port(), [True]

    def names(name, kind):
        if not name.endswith("d.example"):
            return []
        return SILENCE if dead else led_to("d.example").get((name, kind), [])

    hop = Hop(host="127.0.0.2", port=port)
    relay = relay_of(names, port, retry(8))
    relay.send("a@b.example", ["u@d.example"], TEXT)
    until(relay, "d.example", "look_up")
    # Its name server was asked in vain: it waits for its next try, and the reply says why.
    until(relay, "d.example", "next_try", 60)
    # What was said last is known when it is on disk.
    wait(lambda: ask(relay, "d.example")["replies"])
    why, cause = until(relay, "d.example", "next_try", 60)
    assert "d.example" in why["domains"][0]["no_site"], why
    assert any("cannot look up the MX of d.example" in one["reply"] for one in why["replies"]), why
    told = stamp(cause["until"])
    dead.clear()
    # The next try, whatever it finds: that nobody answered is remembered for a moment.
    again = lambda: [one for one in relay.log() if one["event"] in ("deferred", "delivered")][1:]
    wait(again)
    comes_at(told, [stamp(one["time"]) for one in again()], 0)
    hop.wait(1, 60)
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
