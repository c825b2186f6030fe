"""Sources in warm-up, counted at next hops: `warmup.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "attacks"))
from accounting import FAKETIME
from ports import free_port
from shaping import mx, relay_with, send
from sources import Door, pool, source
from suspensions import command, until

DOMAINS = [f"d{number}.example" for number in range(6)]
BIG = '[provider.big]\nmatch = [{ MXSuffix = ".big.example" }]\nadaptive = false\n'
COLD, WARM = "127.0.1.1", "127.0.1.2"
TWO = source("ip1", COLD, "mta1.example.net") + source("ip2", WARM, "mta2.example.net")
RULE = '[[rule]]\nmatch = { sender = "*" }\nset = { pool = "bulk" }\n'


def plan(*volumes, start=None, more=""):
    days = ", ".join(f'{{ day = {day}, per_provider = "{volume}/d" }}' for day, volume in enumerate(volumes, 1))
    start = start or time.strftime("%Y-%m-%d", time.gmtime())
    return f'[[warmup]]\nsource = "ip1"\nstart = {start}\nplan = [{days}]\n{more}'


def away_from_midnight():
    """Stories that count a day's mail must lie within one."""
    left = 86_400 - time.time() % 86_400
    if left < 90:
        time.sleep(left + 1)


def warming(settings, behave=None, members=(("ip1", 1), ("ip2", 1)), **others):
    """Domains of both shards lead to one host of a provider."""
    port = free_port()
    hop = Door(behave, host="127.0.0.2", port=port)
    names = mx(*[(domain, "mx.big.example", "127.0.0.2") for domain in DOMAINS])
    relay, _ = relay_with(BIG, TWO + pool("bulk", *members) + RULE + settings + names, port, **others)
    return relay, hop


def shown(relay):
    return [json.loads(line) for line in command(relay, "warmup", "show", "--json").splitlines()]


def a_day_is_kept_to_over_kills_and_the_rest_goes_by_others():
    """Its volume is 40, blocks of 4: three kills may waste some of it, and never is there more."""
    away_from_midnight()
    relay, hop = warming(plan(40, 80))
    sent = 0
    for _ in range(3):
        send(relay, DOMAINS, 24)
        sent += 24
        until(lambda: len(hop.taken) >= sent - 12)
        relay.kill()
        relay.start()
    send(relay, DOMAINS, 128)
    sent += 128
    # What a kill cut may come twice.
    until(lambda: len({tuple(recipients) for _, recipients, _, _ in list(hop.taken)}) == 128 and len(hop.taken) >= sent, 40)
    by = hop.by()
    assert 20 <= by[COLD] <= 40, by
    assert by[WARM] >= sent - 40, by
    # What went by others is noted once a second.
    until(lambda: shown(relay)[0]["overflowed"] > 0)
    [one] = shown(relay)
    assert (one["source"], one["provider"], one["day"], one["volume"]) == ("ip1", "big", 1, 40), one
    assert one["used"] == 40 and one["state"] == "used up", one
    text = command(relay, "warmup", "show")
    assert "PROVIDER" in text and "used up" in text and all(len(line) <= 100 for line in text.splitlines()), text
    relay.stop()


def a_stop_in_order_wastes_nothing():
    away_from_midnight()
    relay, hop = warming(plan(40, 80), members=(("ip1", 1),))
    for number in range(1, 4):
        send(relay, DOMAINS, 9)
        until(lambda: len(hop.taken) == 9 * number)
        relay.process.terminate()
        assert relay.process.wait(45) == 0
        relay.start()
    send(relay, DOMAINS, 30)
    until(lambda: len(hop.taken) == 40)
    # Of some domain there is nothing left.
    [left, *_] = [json.loads(line)["domain"] for line in command(relay, "queue", "list", "--json").splitlines()]
    until(lambda: "warm-up: its source has used 40 of the 40" in " ".join(command(relay, "why", left).split()))
    time.sleep(2)
    assert hop.by() == {COLD: 40}, hop.by()
    assert not [event for event in relay.log() if event["event"] == "deferred"], "it waits, and nothing is tried"
    assert shown(relay)[0]["used"] == 40
    relay.stop()


def a_provider_that_complains_is_remembered():
    away_from_midnight()
    blocked = []

    def behave(talk, verb, line):
        if verb == "dot" and talk.peer == COLD and not blocked:
            blocked.append(line)
            return b"554 5.7.1 Service unavailable; client host [127.0.1.1] blocked using zen.spamhaus.org\r\n"
        return None

    relay, hop = warming(plan(40, 80), behave)
    send(relay, DOMAINS, 30)
    until(lambda: shown(relay) and shown(relay)[0]["state"] == "blocked")
    assert relay.told("source ip1 is in warm-up and big blocks it", "tomorrow is day 1"), relay.words
    relay.kill()
    relay.start()
    assert shown(relay)[0]["state"] == "blocked"
    relay.stop()


def days_follow_the_clock():
    """libfaketime moves the wall clock alone. Where it is not installed the simulator tells this."""
    if not os.path.exists(FAKETIME):
        print("libfaketime is not installed: nothing is proved here")
        return
    away_from_midnight()
    clock = f"/tmp/relevo-clock-{os.getpid()}"

    def set_clock(words):
        with open(clock, "w") as file:
            file.write(words + "\n")

    set_clock("+0")
    wrap = ["env", f"LD_PRELOAD={FAKETIME}", f"FAKETIME_TIMESTAMP_FILE={clock}", "FAKETIME_NO_CACHE=1"]
    wrap += ["FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1"]
    relay, hop = warming(plan(10, 20), members=(("ip1", 1),), wrap=wrap)
    send(relay, DOMAINS, 60)
    # Tomorrow, back, tomorrow again, the day after: each day has its volume once, and behind the plan there is none.
    for words, count in [("+0", 10), ("+1d", 30), ("+0", 30), ("+1d", 30), ("+2d", 60)]:
        set_clock(words)
        until(lambda: len(hop.taken) >= count, 45)
        time.sleep(2)
        assert len(hop.taken) == count, (words, len(hop.taken))
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
