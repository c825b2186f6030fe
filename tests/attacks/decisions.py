"""Attacks on what operators decide: `control.db` and the requests of the control socket. `decisions.py STORY BINARY`. Called by tests/surroundings.rs, one test a story."""
import json
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

sys.argv[2] = os.path.abspath(sys.argv[2])
from surroundings import BINARY, Plain

SUSPEND = "/control/v1/suspend"
RESUME = "/control/v1/resume"


def again(relay):
    """The next life of it."""
    return Plain(stderr=subprocess.DEVNULL, data_dir=relay.data_dir).wait_ready()


def ask(relay, path, body, timeout=30):
    """The status and the words of an answer to a POST; None: the connection was ended without one."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.socket(socket.AF_UNIX) as client:
        # A connection that finds the queue full waits for its turn.
        client.connect(f"{relay.data_dir}/control.sock")
        client.settimeout(timeout)
        try:
            client.sendall(head.encode() + body)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = b""
        try:
            while more := client.recv(65536):
                answer += more
        except ConnectionResetError:
            pass
    if not answer:
        return None, b""
    head, _, words = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), words


def filtered(domain, **more):
    return json.dumps({"filter": {"domain": domain}, "seconds": 3600, "reason": "test", **more}).encode()


def command(relay, *words):
    done = subprocess.run([BINARY, *words, "--config", relay.config], capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout + done.stderr


def suspended(relay):
    code, words = command(relay, "suspend", "--list", "--json")
    assert code == 0, words
    return sorted(json.loads(line)["domain"] for line in words.splitlines())


def goes_on(relay):
    """Mail is taken, and operators decide."""
    relay.send()
    status, words = ask(relay, SUSPEND, filtered("held.example"))
    assert status == 200 and "held.example" in suspended(relay), (status, words)
    return json.loads(words)


def control_db_is_damaged():
    """Noise, a file cut off, a page in the middle overwritten: it is put aside, said, and what is decided then is kept."""
    relay = Plain(stderr=subprocess.DEVNULL).wait_ready()
    goes_on(relay)
    path = f"{relay.data_dir}/control.db"
    relay.stop()
    whole = open(path, "rb").read()
    middle = len(whole) // 2
    for number, bytes_ in enumerate((os.urandom(70_000), b"x", whole[:middle], whole[:4096] + os.urandom(len(whole) - 4096))):
        with open(path, "wb") as file:
            file.write(bytes_)
        relay = again(relay)
        told = goes_on(relay)
        assert told.get("unkept") is not True, (number, told)
        assert os.path.exists(path + ".damaged"), number
        relay.stop()
        relay = again(relay)
        assert suspended(relay) == ["held.example"], number
        relay.stop()


def control_db_is_no_file():
    for make in (os.mkdir, os.mkfifo, lambda path: os.symlink("/nowhere/at/all", path), lambda path: os.symlink("/dev/full", path)):
        data_dir = tempfile.mkdtemp(prefix="relevo-attack-")
        make(f"{data_dir}/control.db")
        relay = Plain(stderr=subprocess.DEVNULL, data_dir=data_dir).wait_ready()
        assert goes_on(relay)["unkept"], "it is not kept, and that is said"
        relay.stop()


def control_db_is_locked():
    """By another process, at a start: mail and operators go on, and what was suspended holds again once it is free. Later nobody else gets it."""
    relay = Plain(stderr=subprocess.DEVNULL).wait_ready()
    goes_on(relay)
    assert ask(relay, SUSPEND, filtered("before.example", seconds=3600))[0] == 200
    path = f"{relay.data_dir}/control.db"
    try:
        other = sqlite3.connect(path, timeout=0.2, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        raise AssertionError("the relay does not hold it")
    except sqlite3.OperationalError:
        other.close()
    relay.stop()
    other = sqlite3.connect(path, timeout=5, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    begun = time.monotonic()
    relay = again(relay)
    goes_on(relay)
    print(f"with control.db locked: ready and answered after {time.monotonic() - begun:.1f} s")
    assert ask(relay, SUSPEND, filtered("meanwhile.example", seconds=3600))[0] == 200
    other.execute("ROLLBACK")
    other.close()
    end = time.monotonic() + 45
    wanted = {"before.example", "meanwhile.example"}
    while not wanted <= set(suspended(relay)):
        assert time.monotonic() < end, suspended(relay)
        time.sleep(1)
    relay.stop()
    relay = again(relay)
    assert wanted <= set(suspended(relay)), suspended(relay)
    relay.stop()


def requests_that_make_no_sense():
    relay = Plain(stderr=subprocess.DEVNULL).wait_ready()
    deep = b'{"filter":' + b'{"domain":' * 100_000
    for path in (SUSPEND, RESUME):
        for body in (
            b"", b"{", b"[]", b"null", b"7", b"\xff\xfe", deep, b"[" * 500_000,
            b'{"filter":{"domain":"a.example"},"seconds":1e400}', b'{"filter":{"domain":7},"seconds":5}',
            filtered("a.example", secnds=1), filtered("a.example", all=True), b'{"filter":{"domian":"a.example"},"seconds":5}',
            json.dumps({"filter": {"domain": "x" * 100_000}, "seconds": 5}).encode(),
            json.dumps({"filter": {f"f{number}": "x" for number in range(10_000)}, "seconds": 5}).encode(),
            b'{"filter":{"domain":"a.example","domain":"b.example"},"seconds":5,"seconds":6}',
        ):
            status, words = ask(relay, path, body)
            assert status is not None and 400 <= status < 500, (path, body[:60], status, words[:200])
            assert len(words) < 2_000, (body[:60], len(words))
    for bad in (0, -1, 366 * 86_400 + 1, 2**63, 2**64):
        assert ask(relay, SUSPEND, filtered("a.example", seconds=bad))[0] in (400, 422), bad
    for reason in ("a\nb", "\x1b[2J", "x" * 100_000):
        assert ask(relay, SUSPEND, filtered("a.example", reason=reason))[0] in (400, 413, 422), reason[:9]
    assert suspended(relay) == []
    goes_on(relay)
    relay.stop()


def huge_bodies():
    """What is sent beyond the bound is not kept, and the answer does not wait for it."""
    relay = Plain(stderr=subprocess.DEVNULL).wait_ready()
    before = relay.metric("process_anonymous_bytes")
    times = []
    for path in (SUSPEND, RESUME):
        begun = time.monotonic()
        status, words = ask(relay, path, b" " * (64 << 20))
        times.append(time.monotonic() - begun)
        assert status in (None, 413), (status, words[:200])
    grown = relay.metric("process_anonymous_bytes") - before
    print(f"64 MiB bodies: {grown / 1e6:.1f} MB more, answered after {max(times):.2f} s")
    assert grown < 8e6 and max(times) < 10
    goes_on(relay)
    relay.stop()


def a_thousand_at_once():
    """Suspensions by a thousand clients: each is answered or turned away, none that was said to be kept is lost over a kill, and mail does not wait."""
    relay = Plain(stderr=subprocess.DEVNULL).wait_ready()
    said, lock = [], threading.Lock()

    def one(number):
        try:
            status, words = ask(relay, SUSPEND, filtered(f"d{number}.example"), timeout=60)
        except OSError as error:
            status, words = type(error).__name__, b""
        with lock:
            said.append((number, status, words))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(1000)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    slowest = 0
    while any(thread.is_alive() for thread in threads):
        sent = time.monotonic()
        relay.send()
        slowest = max(slowest, time.monotonic() - sent)
        time.sleep(0.02)
    took = time.monotonic() - begun
    kept = {f"d{number}.example" for number, status, words in said if status == 200 and not json.loads(words).get("unkept")}
    print(f"1000 suspensions at once: {len(kept)} kept in {took:.1f} s, others {sorted({str(status) for _, status, _ in said if status != 200})}; slowest session {slowest:.3f} s")
    assert len(kept) > 100 and slowest < 2, (len(kept), slowest)
    relay.process.kill()
    relay.process.wait()
    relay = again(relay)
    missing = kept - set(suspended(relay))
    assert not missing, f"{len(missing)} lost"
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
