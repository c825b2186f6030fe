"""The configuration is read again under load: `reload.py STORY BINARY`."""
import json
import os
import random
import signal
import subprocess
import threading
import time
import urllib.request

from neighbour import BINARY, GOOD, Arrivals, Neighbour, Pair, Relay, free_port, main, measure

# What is wrong, and words that must be said of it.
BROKEN = [
    ("[retry]\nexpire = 5\n", "retry.expire"),
    ("[[route]]\ndomain = \"a.example\"\nto = \"smtp//x\"\n", "route[1].to"),
    ("[[rule]]\nmatch = { header = { name = \"X-A\", pattern = \"(\" } }\naction = \"discard\"\n", "rule[0].match.header"),
    ("[auth]\naccounts = \"/nowhere/accounts\"\n", "auth.accounts"),
    ("[nodes]\n", "nodes"),
    ("= 5\n", "relevo.toml:"),
]


def reload(directory, *more):
    """Exit code, and what was said."""
    done = subprocess.run(
        [BINARY, "reload", "--config", f"{directory}/relevo.toml", *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60
    )
    return done.returncode, done.stdout + done.stderr


def put(directory, text):
    """In place of the configuration, at once."""
    with open(f"{directory}/new.toml", "w") as file:
        file.write(text)
    os.rename(f"{directory}/new.toml", f"{directory}/relevo.toml")


def reloads(target, stop):
    """Good and broken files in turn; half of them by SIGHUP."""
    with open(f"{target.directory}/relevo.toml") as file:
        good = file.read()
    port, number = free_port(), 0
    while not stop.is_set():
        # A listener that comes and goes, other rules and another retry; and connections that came meanwhile are served.
        more = f'[retry]\nfirst = "{number % 9 + 1}m"\n[[rule]]\nset = {{ tenant = "t{number}" }}\n'
        more += f'[[listener]]\naddress = "127.0.0.1:{port}"\n' if number % 2 else ""
        put(target.directory, good + more)
        if number % 4 == 3:
            os.kill(target.pid, signal.SIGHUP)
        else:
            code, said = reload(target.directory)
            assert code == 0 or "already" in said, said
        client = target.connect()
        client.sendall(b"NOOP\r\n")
        assert client.recv(100).startswith(b"250"), "a connection that came in the middle"
        text, words = BROKEN[number % len(BROKEN)]
        put(target.directory, good + text)
        code, said = reload(target.directory)
        assert code == 1 and (words in said or "already" in said), (words, said)
        client.sendall(b"QUIT\r\n")
        client.close()
        number += 1
        stop.wait(0.05)
    put(target.directory, good)


def reloads_move_nobody():
    pair = Pair()
    measure(pair, reloads).judge()
    pair.stop()


def read(http, sample):
    with urllib.request.urlopen(f"http://127.0.0.1:{http}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return [int(float(line.split()[-1])) for line in lines if line.startswith(sample)]


def status(relay):
    done = subprocess.run(
        [BINARY, "status", "--json", "--config", f"{relay.directory}/relevo.toml"], stdout=subprocess.PIPE, text=True, timeout=30, check=True
    )
    return json.loads(done.stdout)


def what_is_read_again_is_in_force():
    """Each kind of change, and what a broken file changes: nothing."""
    first, second = Arrivals(), Arrivals()
    relay = Relay(BINARY, first)
    neighbour = Neighbour(relay.port)
    neighbour.send("one")
    with open(f"{relay.directory}/relevo.toml") as file:
        good = file.read()
    # Mail waits where nobody listens. Without that route it would be led elsewhere.
    put(relay.directory, good + f'[[route]]\ndomain = "wait.example"\nto = "smtp://127.0.0.1:{free_port()}"\n')
    assert reload(relay.directory)[0] == 0 and status(relay)["generation"] == 1
    neighbour.ask(b"MAIL FROM:<a@b.example>\r\n")
    for name in [b"a", b"b"]:
        neighbour.ask(b"RCPT TO:<%s@wait.example>\r\n" % name)
    neighbour.ask(b"DATA\r\n", b"3")
    neighbour.ask(b"Message-ID: <waits>\r\n\r\nx\r\n.\r\n")
    code, said = reload(relay.directory, "--dry-run")
    assert code == 0 and "elsewhere" not in said, said
    put(relay.directory, good)
    end = time.monotonic() + 20
    while "\n2 queued recipients would be led elsewhere\n" not in said and time.monotonic() < end:
        code, said = reload(relay.directory, "--dry-run")
    assert code == 0 and "\n2 queued recipients would be led elsewhere\n" in said, said
    assert json.loads(reload(relay.directory, "--dry-run", "--json")[1])["led_elsewhere"] == {"recipients": 2, "counted": True}
    for text, words in BROKEN:
        put(relay.directory, good + text)
        for more in [[], ["--dry-run"]]:
            code, said = reload(relay.directory, *more)
            assert code == 1 and words in said and "nothing changed" in said, (words, said)
    code, said = reload(relay.directory, "--json")
    assert code == 1 and not json.loads(said)["ok"] and json.loads(said)["errors"][0]["problem"], said
    put(relay.directory, good)
    assert status(relay)["generation"] == 1
    # A route, a listener more, a rule; and what only a start reads, which is named and stops nothing.
    port = free_port()
    text = good.replace(str(first.port), str(second.port)).replace("relay.example", "other.example")
    text += f'[[listener]]\naddress = "127.0.0.1:{port}"\n[[rule]]\nmatch = {{ recipient = "*@bad.example" }}\naction = "reject 550 5.7.1 no"\n'
    put(relay.directory, text.replace("*@bad", "@bad"))
    code, said = reload(relay.directory, "--dry-run")
    assert code == 0 and f"listens on 127.0.0.1:{port}" in said and "node.hostname" in said, said
    assert status(relay)["generation"] == 1
    code, said = reload(relay.directory)
    assert code == 0 and "node.hostname" in said and "restart" in said, said
    told = status(relay)
    assert told["generation"] >= 2 and told["needs_restart"] == ["node.hostname"], told
    # The session that was there goes on, by the new route and rules.
    neighbour.send("two")
    neighbour.ask(b"MAIL FROM:<a@b.example>\r\n")
    neighbour.ask(b"RCPT TO:<a@bad.example>\r\n", b"5")
    other = Neighbour(port)
    other.send("three")
    end = time.monotonic() + 20
    while not {"two", "three"} <= set(second.times) and time.monotonic() < end:
        time.sleep(0.05)
    assert {"two", "three"} <= set(second.times) and set(first.times) == {"one"}, (first.times, second.times)
    # The listener goes, and with it who is there, between two messages.
    put(relay.directory, good)
    os.kill(relay.process.pid, signal.SIGHUP)
    assert relay.told("reloaded by SIGHUP", f"no longer listens on 127.0.0.1:{port}", seconds=20)
    other.socket.sendall(b"NOOP\r\n")
    assert other.lines.readline().startswith(b"421")
    try:
        Neighbour(port).open()
        raise AssertionError("somebody listens there")
    except OSError:
        pass
    [record, *_] = relay.wait_log("admin")
    assert record["by"], record
    # What only asked what would change is no reload, and where the file is no TOML the command asks nobody.
    counts = [sum(read(relay.http, f'relevo_reloads_total{{result="{result}"}}')) for result in ("ok", "refused")]
    assert counts == [3, len(BROKEN) - 1], counts
    relay.stop()


def kills_in_the_middle_lose_nothing():
    """kill -9 while the configuration is read again and its rules change: all that was accepted arrives, each message once or more."""
    sink = Arrivals()
    relay = Relay(BINARY, sink)
    with open(f"{relay.directory}/relevo.toml") as file:
        good = file.read()
    accepted, dice = set(), random.Random(5)
    for life in range(6):
        over = threading.Event()

        def hand_in(life=life, over=over):
            session, number = Neighbour(relay.port), 0
            while not over.is_set():
                try:
                    session.send(f"{life}.{number}")
                except OSError:
                    return
                accepted.add(f"{life}.{number}")
                number += 1

        sender = threading.Thread(target=hand_in)
        sender.start()
        time.sleep(0.3)
        put(relay.directory, good + f'[[rule]]\nset = {{ tenant = "t{life}" }}\n[retry]\nfirst = "{life + 1}s"\n')
        for _ in range(3):
            os.kill(relay.process.pid, signal.SIGHUP)
            time.sleep(dice.random() * 0.03)
        relay.kill()
        over.set()
        sender.join(30)
        relay.start()
    end = time.monotonic() + 60
    while not accepted <= set(sink.times) and time.monotonic() < end:
        time.sleep(0.1)
    lost = sorted(accepted - set(sink.times))
    assert not lost and len(accepted) > 20, (lost[:5], len(accepted))
    relay.stop()


if __name__ == "__main__":
    main(globals())
