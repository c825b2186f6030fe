#!/usr/bin/env python3
"""How long questions of what was counted take: a year and more of many providers and campaigns.

  benches/analytics.py [DAYS] [PROVIDERS] [CAMPAIGNS]     defaults: 400, 50, 200

The file of a relay is filled with as many days as it would have: of each provider and campaign all that can be counted, of both together as many rows as a
day has. Then each question is asked ten times over HTTP. The last line says what is wanted of the slowest median, and the exit code is 1 where that is not so. BENCH_DIR says where the file
lies (a real disk; default /var/tmp). RELEVO_BINARIES: a directory with relevo and relevo-load that are built already.
"""
import json
import os
import sqlite3
import statistics
import sys
import time
import urllib.parse
import urllib.request

import node

DAYS, PROVIDERS, CAMPAIGNS = (int(word) for word in (sys.argv[1:] + ["400", "50", "200"][len(sys.argv) - 1 :])[:3])
WANTED, BOTH, DAY = 0.1, 512, 86_400
# Numbers of roll-ups and of days, as they lie in the file.
TENANT, PROVIDER, CAMPAIGN, TOGETHER, BY_DAY = 0, 1, 2, 5, 2


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def cells(seed, has_times):
    """Received, delivered, some of each class of what was put off or bounced, and how long deliveries took."""
    codes = [(0, 1000 + seed), (64, 900 + seed)] + [(128 + place, 3 + seed % 7) for place in (3, 5, 9)] + [(192 + place, 1 + seed % 3) for place in (1, 2, 7)]
    codes += [(1024 + bucket, 5 + (seed + bucket) % 11) for bucket in range(40, 120)] if has_times else []
    last, out = 0, b""
    for code, number in codes:
        out += varint(code - last) + varint(number)
        last = code
    return out


def fill(path, today):
    database = sqlite3.connect(path)
    names, sums = [], []

    def name(roll_up, one="", other=""):
        names.append((len(names) + 1, roll_up, "shop", one, other, today))
        return len(names)

    providers = [name(PROVIDER, f"provider{n}") for n in range(PROVIDERS)]
    campaigns = [name(CAMPAIGN, f"campaign{n}") for n in range(CAMPAIGNS)]
    both = [name(TOGETHER, f"campaign{n // PROVIDERS % CAMPAIGNS}", f"provider{n % PROVIDERS}") for n in range(min(BOTH, PROVIDERS * CAMPAIGNS))]
    whole = name(TENANT)
    for back in range(DAYS):
        at = today - back * DAY
        for roll_up, ids in ((PROVIDER, providers), (CAMPAIGN, campaigns), (TOGETHER, both), (TENANT, [whole])):
            sums += [(roll_up * 4 + BY_DAY, at, one, cells(one + back, roll_up in (TENANT, PROVIDER))) for one in ids]
    with database:
        database.executemany("INSERT INTO name (id, roll_up, tenant, name, second, last) VALUES (?, ?, ?, ?, ?, ?)", names)
        database.executemany("INSERT INTO sum (series, at, name, counts) VALUES (?, ?, ?, ?)", sorted(sums))
    database.close()
    print(f"{len(sums)} rows, {os.path.getsize(path) >> 20} MiB", flush=True)


def main():
    with node.home("analytics") as directory:
        relay = node.Relay(f"{directory}/relay", node.sink())
        relay.process.terminate()
        relay.process.wait()
        today = int(time.time()) // DAY * DAY
        fill(f"{directory}/relay/spool/analytics.db", today)
        relay.start()
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(today - (DAYS - 1) * DAY))
        slowest = 0
        for question in ({"by": "provider"}, {"by": "campaign"}, {"by": "tenant"}, {"by": "class"}, {"by": "campaign", "provider": "provider7"}, {"by": "provider", "campaign": "campaign3"}, {"by": "provider", "class": "spam"}):
            asked = urllib.parse.urlencode({**question, "step": "day", "since": since})
            taken = []
            for _ in range(10):
                begun = time.monotonic()
                with urllib.request.urlopen(f"http://127.0.0.1:{relay.http}/control/v1/analytics?{asked}", timeout=60) as answer:
                    told = json.load(answer)
                taken.append(time.monotonic() - begun)
            median = statistics.median(taken)
            slowest = max(slowest, median)
            print(f"{' '.join(f'{key}={value}' for key, value in question.items())}: {median * 1000:.0f} ms ({min(taken) * 1000:.0f} to {max(taken) * 1000:.0f}), {len(told['rows'])} rows, {len(told['series'])} days, {told['total']['delivered']} delivered", flush=True)
    good = slowest <= WANTED
    print(f"the slowest: {slowest * 1000:.0f} ms, wanted at most {WANTED * 1000:.0f} ms{'' if good else '  <-- NO'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
