"""The demonstration that stays: `demo.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

BINARY = os.path.abspath(sys.argv[2])


def rate(site):
    """Messages a second that a site gets; None: any number."""
    words = site["message_rate"]
    if words is None:
        return None
    number, unit = words.split(",")[0].split("/")
    return float(number) / {"s": 1, "min": 60, "h": 3600}[unit]


def a_newcomer_sees_the_window_move():
    scratch = tempfile.TemporaryDirectory()
    demo = subprocess.Popen(
        [BINARY, "demo", "--stay"], env={**os.environ, "TMPDIR": scratch.name, "DISPLAY": ":none"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    atexit.register(demo.kill)
    errors = []
    threading.Thread(target=lambda: errors.extend(demo.stderr), daemon=True).start()
    said = {}
    for line in demo.stdout:
        print(line, end="")
        words = line.split()
        if words[:1] and words[0] in ("page", "token", "relay", "files"):
            said[words[0]] = words[1].rstrip(",")
        if words[:2] == ["relevo", "log"]:
            break
    assert set(said) == {"page", "token", "relay", "files"}, (said, errors)
    config = f"{said['files'].rstrip(',')}/relevo.toml"
    assert said["page"].startswith("http://127.0.0.1:") and said["relay"].startswith("127.0.0.1:"), said

    def ask(path, token=said["token"], data=None):
        fields = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(said["page"] + path, headers=fields, data=data)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read()

    assert b"<html" in ask("", token=None)
    try:
        ask("control/v1/overview", token="nonsense")
        raise AssertionError("anybody may look")
    except urllib.error.HTTPError as error:
        assert error.code == 401, error
    # The overview is made once a second.
    end = time.monotonic() + 20
    while not (overview := json.loads(ask("control/v1/overview")))["ready"]:
        assert time.monotonic() < end, overview
        time.sleep(0.1)
    assert overview["node"] == "demo.example", overview

    def throttling():
        rows = json.loads(ask("control/v1/sites?provider=throttling"))["rows"]
        # What narrowed it is told with it.
        assert not rows or not rows[0]["narrowed"] or rows[0]["last_reply"], rows
        return rows[0] if rows else {"narrowed": False, "message_rate": None}

    def until(holds, seconds, lasting=0):
        """The rate, when that has held for so long."""
        end, since = time.monotonic() + seconds, None
        while True:
            site = throttling()
            since = (since or time.monotonic()) if holds(site) else None
            if since and time.monotonic() >= since + lasting:
                return rate(site)
            assert time.monotonic() < end, (site, errors)
            time.sleep(0.1)

    # It is narrowed to what the provider takes then (a new window tries much, for a moment), and later to more.
    narrow = until(lambda site: site["narrowed"] and rate(site) and rate(site) < 6, 60, lasting=3)
    wide = until(lambda site: rate(site) is None or rate(site) > 2 * narrow and rate(site) > 8, 90)
    print(f"{narrow} a second, then {wide}")
    # Each of the others does what is said of it, in words.
    end = time.monotonic() + 30
    while True:
        classes = {of["class"]: of["text"] for of in json.loads(ask("control/v1/overview"))["classes"]}
        if {"throttled", "greylisted", "bad_mailbox"} <= set(classes):
            break
        assert time.monotonic() < end, classes
        time.sleep(0.2)
    print(classes)
    # Commands reach it, and the token may do something.
    done = subprocess.run([BINARY, "status", "--config", config], stdout=subprocess.PIPE, text=True, timeout=30)
    assert done.returncode == 0 and "takes mail" in done.stdout, done.stdout
    body = json.dumps({"filter": {"domain": "picky.example"}, "seconds": 60, "reason": "a look"}).encode()
    request = urllib.request.Request(
        said["page"] + "control/v1/suspend", data=body,
        headers={"Authorization": f"Bearer {said['token']}", "Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        print(answer.read())
    # What it keeps is there, and goes with it.
    assert sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(scratch.name) for name in names) < 1 << 30
    demo.send_signal(signal.SIGINT)
    rest = demo.stdout.read()
    assert demo.wait(45) == 0, (rest, errors)
    assert "accepted" in rest and "is removed" in rest, rest
    assert os.listdir(scratch.name) == [], os.listdir(scratch.name)
    assert not any("panick" in line for line in errors), errors


globals()[sys.argv[1]]()
