#!/usr/bin/env python3
"""How soon the operator's page shows each of its views in Debian's chromium while so much is queued and mail flows beside.

  benches/page.py [RECIPIENTS] [DIRECTORY]     defaults: 1000000; with a directory a picture of each view is put there

As benches/operate.py: a sink defers all of the queue (451) for hours; another takes 2,000 messages a second meanwhile. A view that takes over two
seconds, an error of the page, or one that tells of fewer than are queued fails. RELEVO_BINARIES, BENCH_DIR: see there.
"""
import os
import subprocess
import sys
import time

import node

RECIPIENTS = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
PICTURES = sys.argv[2] if len(sys.argv) > 2 else None
SECONDS_MAX = 2.0
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [f"{ROOT}/tests/page", f"{ROOT}/tests/peers"]
# It is called with a story and a binary otherwise.
sys.argv = ["page.py", "", node.RELEVO]
import page

VIEWS = ["overview", "deliverability", "sites", "queue", "queue?q=domain%3Ad123.load.example", "queue?q=sender%3A%40news.load.example", "suspensions", "log"]


def fill(relay):
    command = [node.LOAD, "send", "--to", f"127.0.0.1:{relay.port}", "-c", "50", "-n", str(RECIPIENTS), "--size", "1000"]
    subprocess.run([*command, "--domains", f"{max(RECIPIENTS // 10, 1000)}:0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    end = time.monotonic() + 900
    while relay.sums("relevo_recipients_deferred_total")[0] < RECIPIENTS:
        assert time.monotonic() < end, "not deferred"
        time.sleep(0.5)


slow = []
if PICTURES:
    os.makedirs(PICTURES, exist_ok=True)
with node.home("page") as directory:
    defers, takes = node.sink("--behaviour", "rcpt=451"), node.sink()
    routes = f'[[route]]\ndomain = "*.load.example"\nto = "smtp://127.0.0.1:{defers}"\n[retry]\nfirst = "2h"\nmax = "3h"\n'
    relay = node.Relay(f"{directory}/relay", takes, more=routes)
    fill(relay)
    print(f"{RECIPIENTS} recipients wait", flush=True)
    flow = [node.LOAD, "send", "--to", f"127.0.0.1:{relay.port}", "-c", "20", "--duration", "300s", "--rate", "2000", "--domains", "a.flow.example=1,b.flow.example=1"]
    flowing = subprocess.Popen(flow, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with page.Browser(page.answers.Answers(), at=f"http://127.0.0.1:{relay.http}/") as browser:
            for view in VIEWS:
                begun = time.monotonic()
                browser.go(view)
                took = time.monotonic() - begun
                print(f"{view}: {took:.2f} s", flush=True)
                if took > SECONDS_MAX:
                    slow.append(view)
                if view == "queue":
                    browser.says(f"{RECIPIENTS:,}")
                # What comes by and by is there.
                time.sleep(2)
                if PICTURES:
                    browser.driver.save_screenshot(f"{PICTURES}/{len(os.listdir(PICTURES))}-{view.split('?')[0]}.png")
            # Each record is read for it; the bound is of a machine that has nothing else to do.
            browser.go(VIEWS[5])
            begun = time.monotonic()
            browser.until("!document.querySelector('main').innerText.includes('Looking through records')", "the search ends", seconds=120)
            print(f"a search by sender: {time.monotonic() - begun:.0f} s", flush=True)
            assert not browser.errors(), browser.errors()
    finally:
        flowing.kill()
sys.exit(f"over {SECONDS_MAX} s: {slow}" if slow else 0)
