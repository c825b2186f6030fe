"""Suspensions by operators and by rules for replies, counted at next hops: `suspensions.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import json
import os
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "attacks"))
from hops import BINARY, TEXT, Hop
from ports import free_port
from shaping import Counted, mx, relay_with, send

DOMAINS = [f"d{number}.example" for number in range(6)]


def command(relay, *words, code=0):
    """What a command prints, as it ends with this code; its complaints where that is not 0."""
    words = [BINARY, *words, "--config", f"{relay.directory}/relevo.toml"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stderr if code else done.stdout


def suspended(relay):
    return [json.loads(line) for line in command(relay, "suspend", "--list", "--json").splitlines()]


def until(what, seconds=20):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it does not come to pass"
        time.sleep(0.05)
    return found


def fired(relay, action):
    text = urllib.request.urlopen(f"http://127.0.0.1:{relay.http}/metrics", timeout=10).read().decode()
    found = [line for line in text.splitlines() if line.startswith(f'relevo_automation_fired_total{{action="{action}"}}')]
    return int(found[0].split()[-1])


def rule(regex, more):
    return f'[provider.big]\nmatch = [{{ MXSuffix = ".big.example" }}]\nadaptive = false\n[[provider.big.automation]]\nregex = "{regex}"\n{more}\n'


def big(port, host="127.0.0.2"):
    """Domains of both shards lead to one host of a provider, another domain to its own."""
    return mx(*[(domain, "mx.big.example", host) for domain in DOMAINS], ("free.example", "mx.free.example", "127.0.0.3"))


def operators_suspend_and_resume():
    port = free_port()
    held, free = Hop(host="127.0.0.2", port=port), Hop(host="127.0.0.3", port=port)
    relay, _ = relay_with('[provider.big]\nmatch = [{ MXSuffix = ".big.example" }]\nconnection_limit = 9\n', big(port), port)
    command(relay, "suspend", "--provider", "big", "--for", "1h", "--reason", "their MX moves")
    command(relay, "suspend", "--domain", "free.example", "--for", "5s")
    assert "not suspended by sender" in command(relay, "suspend", "--sender", "a@b.example", "--for", "1h", code=2)
    assert "give a filter, or --all" in command(relay, "suspend", "--for", "1h", code=2)
    assert "sender" in command(relay, "resume", "--sender", "@a.example", code=2)
    send(relay, [*DOMAINS, "free.example"], 70)
    begun = time.monotonic()
    until(lambda: json.loads(command(relay, "queue", "count", "--json"))["suspended"] == 70)
    rows = [json.loads(line) for line in command(relay, "queue", "list", "--limit", "0", "--json").splitlines()]
    assert {row["state"] for row in rows} == {"suspended"} and all(row["attempts"] == 0 for row in rows), rows
    assert all("their MX moves" in row["suspended"] for row in rows if row["domain"] != "free.example"), rows
    free.wait(10, 20)
    assert time.monotonic() - begun < 15 and held.talks == 0, "no connection is opened for it"
    # A retry of all of it changes nothing.
    command(relay, "queue", "retry", "--all")
    # Nor does a kill.
    relay.kill()
    relay.start()
    assert [one["reason"] for one in suspended(relay)] == ["their MX moves"]
    time.sleep(2)
    assert held.talks == 0 and not relay.wait_log("received", 70)[70:]
    assert not [event for event in relay.log() if event["event"] == "deferred"]
    assert "nothing of that" in command(relay, "resume", "--tenant", "shop", code=1)
    command(relay, "resume", "--provider", "big")
    held.wait(60, 20)
    assert suspended(relay) == [] and len(held.taken) == 60
    told = lambda: sorted(event["action"] for event in relay.log() if event["event"] == "admin")
    until(lambda: told() == ["resume", "retry", "suspend", "suspend"])
    relay.stop()


def a_reply_suspends_its_site_on_all_shards():
    port, asked, calm = free_port(), [], []

    def angry(talk, verb, line):
        if verb == "RCPT":
            asked.append(time.monotonic())
            return None if calm else b"450 4.7.1 too much from you, go away\r\n"
        return None

    hop, free = Hop(angry, host="127.0.0.2", port=port), Hop(host="127.0.0.3", port=port)
    shaping = rule("^450 .*go away", 'action = "Suspend"\nduration = "9s"')
    relay, path = relay_with(shaping, big(port), port)
    send(relay, [*DOMAINS, "free.example"], 70)
    free.wait(10, 20)
    one = until(lambda: suspended(relay))[0]
    begun = time.monotonic()
    assert one["effect"] == "wait" and one["by"] == f"{path}:4" and "450 4.7.1 too much" in one["reason"], one
    assert one["site"] and "mx.big.example" in one["site"], one
    # What was under way is finished; a retry would come within a second.
    time.sleep(3)
    relay.kill()
    calm.append(True)
    relay.start()
    hop.wait(60, 40)
    early = [at - begun for at in asked if begun + 0.7 < at < begun + 6]
    assert not early, f"begun while it was suspended, also by the next start: {early}"
    assert fired(relay, "Suspend") == 0 and not suspended(relay)
    done = [event for event in relay.log() if event["event"] == "admin"]
    assert done and all(event["by"] == f"{path}:4" and event["action"] == "suspend" for event in done), done
    relay.stop()


def many_replies_set_a_key_for_a_while():
    """Counted over both shards: six are too few, and with the tenth it is so."""
    port = free_port()
    hop, slow = Counted("127.0.0.2", port, pause=0.1), [0]
    taking = hop.act

    def slowing(talk, verb, line):
        if verb == "RCPT" and slow[0] > 0:
            slow[0] -= 1
            return b"450 4.7.1 slow down\r\n"
        return taking(talk, verb, line)

    hop.act = slowing
    action = '{ SetConfig = { name = "connection_limit", value = 1 } }'
    shaping = rule("slow down", f'trigger = {{ Threshold = "10/h" }}\naction = {action}\nduration = "1h"')
    relay, path = relay_with(shaping, big(port), port)
    slow[0] = 6
    send(relay, DOMAINS, 60)
    hop.wait(60, 30)
    assert hop.most > 1 and suspended(relay) == [], hop.most
    slow[0] = 4
    send(relay, DOMAINS, 12)
    hop.wait(72, 30)
    one = until(lambda: suspended(relay))[0]
    assert (one["effect"], one["key"], one["value"]) == ("set", "connection_limit", "1"), one
    assert fired(relay, "SetConfig") == 1 and fired(relay, "Suspend") == 0
    until(lambda: hop.open <= 1)
    hop.forget()
    send(relay, DOMAINS, 60)
    hop.wait(132, 60)
    assert hop.most == 1, f"{hop.most} connections at one time"
    command(relay, "resume", "--id", str(one["id"]))
    send(relay, DOMAINS, 60)
    hop.wait(192, 60)
    assert hop.most > 1, "what the file says holds again"
    relay.stop()


def what_a_rule_sets_of_a_provider_holds_at_all_of_its_sites():
    """One of them asks for less; no file limits the provider, and all of its sites together have one connection meanwhile."""
    port, slow = free_port(), [1]
    hops = [Counted(host, port, pause=0.05) for host in ("127.0.0.2", "127.0.0.4")]
    taking = hops[0].act

    def slowing(talk, verb, line):
        if verb == "RCPT" and slow[0] > 0:
            slow[0] -= 1
            return b"450 4.7.1 slow down\r\n"
        return taking(talk, verb, line)

    hops[0].act = slowing
    action = '{ SetConfig = { name = "provider_connection_limit", value = 1 } }'
    shaping = rule("slow down", f'action = {action}\nduration = "1h"')
    sites = [[f"{site}{number}.example" for number in range(3)] for site in "ab"]
    led = [(domain, f"mx{at}.big.example", f"127.0.0.{2 + 2 * at}") for at, all in enumerate(sites) for domain in all]
    relay, _ = relay_with(shaping, mx(*led), port)
    send(relay, sites[0], 1)
    one = until(lambda: suspended(relay))[0]
    assert (one["effect"], one["key"], one["value"], one["provider"]) == ("set", "provider_connection_limit", "1", "big"), one
    assert not one.get("site") and not one.get("source"), one
    relay.kill()
    relay.start()
    assert [one["key"] for one in suspended(relay)] == ["provider_connection_limit"]
    send(relay, [*sites[0], *sites[1]], 60)
    most, end = 0, time.monotonic() + 60
    while sum(len(hop.taken) for hop in hops) < 61:
        assert time.monotonic() < end, [len(hop.taken) for hop in hops]
        most = max(most, sum(hop.open for hop in hops))
        time.sleep(0.002)
    assert most == 1, f"{most} connections at one time"
    assert all(len(hop.taken) >= 20 for hop in hops), [len(hop.taken) for hop in hops]
    relay.stop()


def a_tenant_that_is_refused_gets_its_mail_back():
    port = free_port()

    def picky(talk, verb, line):
        if verb == "RCPT" and b"<u@" in line:
            return b"550 5.7.1 we want no mail of this customer\r\n"
        return b"450 4.2.1 not now\r\n" if verb == "RCPT" and b"later" in line else None

    hop, free = Hop(picky, host="127.0.0.2", port=port), Hop(host="127.0.0.3", port=port)
    origin = Hop(host="127.0.0.4", port=port)
    settings = mx(("a.example", "mx.big.example", "127.0.0.2"), ("free.example", "mx.free.example", "127.0.0.3"), ("blocked.example", "mx.o.example", "127.0.0.4"), ("b.example", "mx.o.example", "127.0.0.4"))
    settings += '[[rule]]\nmatch = { sender = "@blocked.example" }\nset = { tenant = "shop" }\n'
    settings += '[[rule]]\nmatch = { sender = "shop@b.example" }\nset = { tenant = "shop" }\n'
    shaping = rule("^550 .*want no mail of this customer", 'action = "BounceTenant"\nduration = "1h"')
    relay, path = relay_with(shaping, settings, port)
    # Of the tenant and of others: they wait for their next attempt when the rule acts.
    for number in range(5):
        relay.send("shop@b.example", [f"later{number}@a.example"], TEXT)
        relay.send("other@b.example", [f"later{number + 10}@a.example"], TEXT)
    until(lambda: json.loads(command(relay, "queue", "count", "--state", "deferred", "--json"))["recipients"] == 10)
    relay.send("x@blocked.example", ["u@a.example"], TEXT)
    origin.wait(6, 30)
    one = suspended(relay)[0]
    assert (one["effect"], one["tenant"], one["domain"], one["by"]) == ("return", "shop", "a.example", f"{path}:4"), one
    texts = [text for sender, _, text, _ in list(origin.taken)]
    assert sum(b"later" in text and b"want no mail of this customer" in text and b"5.7.1" in text for text in texts) == 5, texts
    # What comes goes back as well; at another domain, and of others, it does not.
    relay.send("shop@b.example", ["v@a.example", "v@free.example"], TEXT)
    relay.send("other@b.example", ["w@a.example"], TEXT)
    origin.wait(7, 20)
    hop.wait(1, 20)
    free.wait(1, 20)
    assert [to for _, to, _, _ in hop.taken] == [["w@a.example"]], hop.taken
    assert len(origin.taken) == 7, [(to, text) for _, to, text, _ in origin.taken]
    command(relay, "resume", "--tenant", "shop")
    relay.send("shop@b.example", ["v@a.example"], TEXT)
    hop.wait(2, 20)
    relay.stop()


def what_this_relay_says_itself_counts_where_a_rule_wants_it():
    """Nobody listens there: that is our word, and `match_internal` means it."""
    port = free_port()
    shaping = rule("cannot connect", 'action = "Suspend"\nduration = "1h"\nmatch_internal = true')
    relay, _ = relay_with(shaping, big(port), port)
    send(relay, DOMAINS, 6)
    one = until(lambda: suspended(relay))[0]
    assert "cannot connect" in one["reason"] and one["effect"] == "wait", one
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
