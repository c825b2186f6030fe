#!/usr/bin/env python3
"""What all that is built around the engine costs a message: each feature by itself and all of them, beside the bare relay, in one run.

  benches/full.py [MESSAGES] [ROUNDS] [FEATURE...]     defaults: 30000 5, and all features

Relays of two shards, one for each feature, one with all of them and one with none, each with a sink of its own. In every round each gets
as many messages of 10 KiB for a thousand domains, over 50 kept connections, in turn; medians of the ratios to the bare relay of the
same round. Only one of them works at a time. TLS has a bench of its own (tls.py). BENCH_DIR says where the spools lie (a real disk; default
/var/tmp). Goals: CPU at most 1.10 of bare, rate at least 0.90, each with all features on.
"""
import statistics
import sys

import node

MESSAGES, ROUNDS = (int(word) for word in (sys.argv[1:] + ["30000", "5"][len(sys.argv) - 1 :])[:2])
WANTED = sys.argv[3:]

# Twenty that do not match, then three that each say whose a third of the domains is.
RULES = "".join(
    f'[[rule]]\nmatch = {{ sender = "@news{number}.example" }}\nset = {{ tenant = "other", category = "news" }}\n' for number in range(20)
) + "".join(
    f'[[rule]]\nmatch = {{ recipient = "{pattern}" }}\nset = {{ tenant = "{tenant}", campaign = "c{number}", category = "news" }}\n'
    for number, (tenant, pattern) in enumerate([("shop", "*.load.example"), ("bank", "@d1.load.example"), ("club", "@d2.load.example")])
)
HEADER_RULE = """
[[rule]]
match = { header = { name = "Subject", pattern = "^(.{1,20})" } }
set = { campaign = "$1", header_add = { "X-Sent-By" = "bench" } }
"""
TENANTS = "".join(f'[[tenant]]\nname = "{name}"\nmax_age = "2d"\nretry = {{ schedule = ["10m", "1h"] }}\n' for name in ("shop", "bank", "club"))
SOURCES = (
    "".join(f'[[source]]\nname = "ip{number}"\naddress = "127.0.1.{number}"\nehlo = "mta{number}.example.net"\n' for number in range(1, 9))
    + '[[pool]]\nname = "one"\nsources = [{ source = "ip1" }, { source = "ip2" }, { source = "ip3" }, { source = "ip4", weight = 2 }]\n'
    + '[[pool]]\nname = "two"\nsources = [{ source = "ip5" }, { source = "ip6" }, { source = "ip7" }, { source = "ip8", weight = 2 }]\n'
    + '[[rule]]\nmatch = { recipient = "@d1.load.example" }\nset = { pool = "two" }\n[delivery]\npool = "one"\n'
)
# Limits that are looked at for each message, and reached by none.
SHAPING = """
["default"]
connection_limit = 40
max_message_rate = "200000/s"
max_connection_rate = "10000/s"
max_deliveries_per_connection = 1000
[[default.automation]]
regex = "^4[0-9]+ .*too many"
action = "Suspend"
trigger = { Threshold = "10/h" }
duration = "1h"
"""


def shaped(directory):
    with open(f"{directory}/shaping.toml", "w") as file:
        file.write(SHAPING)
    return f'[shaping]\ndefaults = true\nfiles = ["{directory}/shaping.toml"]\n'


with node.home("full") as directory:
    shaping = shaped(directory)
    features = {
        "rules": RULES,
        "header rules": HEADER_RULE,
        "tenants": RULES + TENANTS,
        "sources": SOURCES,
        "shaping": shaping,
        "all": RULES + HEADER_RULE + TENANTS + SOURCES + shaping,
    }
    features = {name: more for name, more in features.items() if not WANTED or name in WANTED}
    relays = {name: node.Relay(f"{directory}/{number}", node.sink(), more=more) for number, (name, more) in enumerate([("bare", ""), *features.items()])}
    rows = {name: [] for name in relays}
    for relay in relays.values():
        relay.relayed(MESSAGES)
    for _ in range(ROUNDS):
        for name, relay in relays.items():
            rows[name].append(relay.relayed(MESSAGES))
    rate, cpu = (statistics.median(column) for column in zip(*rows["bare"]))
    print(f"{'bare':14} {rate:7.0f}/s {cpu:5.1f} us CPU a message")
    for name in features:
        rate, cpu = (statistics.median(column) for column in zip(*rows[name]))
        ratios = [(one[0] / bare[0], one[1] / bare[1]) for one, bare in zip(rows[name], rows["bare"])]
        rates, cpus = zip(*ratios)
        spread = f"({min(cpus):.2f} to {max(cpus):.2f})"
        print(f"{name:14} {rate:7.0f}/s {cpu:5.1f} us CPU a message; of bare: rate {statistics.median(rates):.2f}, CPU {statistics.median(cpus):.2f} {spread}")
