#!/usr/bin/env python3
"""What all that is built around the engine costs a message: each feature by itself and all of them, beside the bare relay, in one run.

  benches/full.py [MESSAGES] [ROUNDS] [FEATURE...]     defaults: 30000 5, and all features

Relays of two shards, one for each feature, one with all of them and one with none, each with a sink of its own. In every round each gets
as many messages of 10 KiB for ten thousand domains, over 50 kept connections, in turn; medians of the ratios to the bare relay of the
same round. All mail goes to one host, but with `sites`, where MX records lead it to 300, each at an address of its own. Only one of them works at a time. TLS has a bench of its own (tls.py). BENCH_DIR says where the spools lie (a real disk; default
/var/tmp). Goals: CPU at most 1.10 of bare, rate at least 0.90, each with all features on.
"""
import statistics
import subprocess
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
TENANTS = "".join(f'[[tenant]]\nname = "{name}"\nweight = 3\nmax_message_rate = "100000/s"\nmax_age = "2d"\nretry = {{ schedule = ["10m", "1h"] }}\n' for name in ("shop", "bank", "club"))
SOURCES = (
    "".join(f'[[source]]\nname = "ip{number}"\naddress = "127.0.1.{number}"\nehlo = "mta{number}.example.net"\n' for number in range(1, 9))
    + '[[pool]]\nname = "one"\nsources = [{ source = "ip1" }, { source = "ip2" }, { source = "ip3" }, { source = "ip4", weight = 2 }]\n'
    + '[[pool]]\nname = "two"\nsources = [{ source = "ip5" }, { source = "ip6" }, { source = "ip7" }, { source = "ip8", weight = 2 }]\n'
    + '[[rule]]\nmatch = { recipient = "@d1.load.example" }\nset = { pool = "two" }\n'
)
BY_POOL = 'pool = "one"\n'
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


SITES, DOMAINS = 300, 10000
TO_ONE_HOST, BY_MX = "one host", "mx"


def sites(directory):
    """A name server that leads the domains to hosts of their own, and a sink that is all of them."""
    port, names = node.free_port(), node.free_port()
    address = lambda site: f"127.20.{site // 250}.{site % 250 + 1}"
    with open(f"{directory}/zone", "w") as zone:
        for site in range(SITES):
            zone.write(f"mx{site}.hosts.example 3600 A {address(site)}\n")
        for domain in range(DOMAINS):
            zone.write(f"d{domain}.load.example 3600 MX 10 mx{domain % SITES}.hosts.example\n")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    node.run([node.LOAD, "dns", "--listen", f"127.0.0.1:{names}", "--zone", f"{directory}/zone"], **quiet)
    node.run([node.LOAD, "sink", "--listen", ",".join(f"{address(site)}:{port}" for site in range(SITES))], **quiet)
    return f'[dns]\nservers = ["127.0.0.1:{names}"]\n', f"mx_port = {port}\nallow_loopback_mx = true\n"


def shaped(directory):
    with open(f"{directory}/shaping.toml", "w") as file:
        file.write(SHAPING)
    return f'[shaping]\ndefaults = true\nfiles = ["{directory}/shaping.toml"]\n'


with node.home("full") as directory:
    shaping = shaped(directory)
    dns, by_mx = sites(directory)
    delivery = "[delivery]\n"
    # Where all of it goes, and what the configuration says.
    features = {
        "bare": (TO_ONE_HOST, ""),
        "rules": (TO_ONE_HOST, RULES),
        "header rules": (TO_ONE_HOST, HEADER_RULE),
        "tenants": (TO_ONE_HOST, RULES + TENANTS),
        "sources": (TO_ONE_HOST, SOURCES + delivery + BY_POOL),
        "shaping": (TO_ONE_HOST, shaping),
        "sites": (BY_MX, dns + delivery + by_mx),
        "all": (TO_ONE_HOST, RULES + HEADER_RULE + TENANTS + SOURCES + delivery + BY_POOL + shaping),
        "all, sites": (BY_MX, RULES + HEADER_RULE + TENANTS + SOURCES + dns + delivery + BY_POOL + by_mx + shaping),
    }
    features = {name: what for name, what in features.items() if not WANTED or name in ("bare", *WANTED)}
    relays = {
        name: node.Relay(f"{directory}/{number}", node.sink() if to == TO_ONE_HOST else None, more=more)
        for number, (name, (to, more)) in enumerate(features.items())
    }
    rows = {name: [] for name in relays}
    domains = f"{DOMAINS}:0"
    # Until segments are there and names are known.
    for relay in relays.values():
        relay.relayed(max(MESSAGES, 4 * DOMAINS), domains=domains)
    for _ in range(ROUNDS):
        for name, relay in relays.items():
            rows[name].append(relay.relayed(MESSAGES, domains=domains))
    rate, cpu = (statistics.median(column) for column in zip(*rows["bare"]))
    print(f"{'bare':14} {rate:7.0f}/s {cpu:5.1f} us CPU a message")
    for name in list(features)[1:]:
        rate, cpu = (statistics.median(column) for column in zip(*rows[name]))
        ratios = [(one[0] / bare[0], one[1] / bare[1]) for one, bare in zip(rows[name], rows["bare"])]
        rates, cpus = zip(*ratios)
        spread = f"({min(cpus):.2f} to {max(cpus):.2f})"
        print(f"{name:14} {rate:7.0f}/s {cpu:5.1f} us CPU a message; of bare: rate {statistics.median(rates):.2f}, CPU {statistics.median(cpus):.2f} {spread}")
