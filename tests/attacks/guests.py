"""Attacks on the API over HTTP: `guests.py STORY BINARY`. Health, metrics and commands on the socket answer at once all the while. Called by tests/attacks.rs."""
import atexit
import hashlib
import os
import resource
import socket
import subprocess
import sys
import threading
import time

sys.argv[2] = os.path.abspath(sys.argv[2])
from decisions import command
from surroundings import BINARY, Plain

SECRET = "relevo_story"


def relay_with_tokens():
    relay = Plain(stderr=subprocess.DEVNULL)
    relay.process.kill()
    relay.process.wait()
    with open(f"{relay.directory}/tokens", "w") as file:
        file.write(f"story:admin::{hashlib.sha256(SECRET.encode()).hexdigest()}\n")
    os.chmod(f"{relay.directory}/tokens", 0o600)
    with open(relay.config) as file:
        text = file.read()
    with open(relay.config, "w") as file:
        file.write(text.replace("[control]\n", f'[control]\ntokens = "{relay.directory}/tokens"\n'))
    relay.process = subprocess.Popen([BINARY, "run", "--config", relay.config], stderr=subprocess.DEVNULL)
    atexit.register(relay.process.kill)
    return relay.wait_ready()


def request(relay, path="/control/v1/status", secret=SECRET, more=""):
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{relay.http}\r\nAuthorization: Bearer {secret}\r\n{more}\r\n".encode()


def connect(relay, bytes_=b""):
    client = socket.create_connection(("127.0.0.1", relay.http), 20)
    if bytes_:
        client.sendall(bytes_)
    return client


def many_files():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))


def answers_at_once(relay, rounds=10):
    slowest = 0
    for _ in range(rounds):
        for path in ("/healthz", "/readyz", "/metrics"):
            begun = time.monotonic()
            assert relay.ask(path)[0] == 200, path
            slowest = max(slowest, time.monotonic() - begun)
        begun = time.monotonic()
        code, words = command(relay, "status", "--json")
        assert code == 0, words
        slowest = max(slowest, time.monotonic() - begun)
    assert slowest < 2, f"an answer took {slowest:.2f} s"
    return slowest


def a_thousand_connections_of_http():
    """Half a request each, to where only the API answers, and whole ones that nobody reads."""
    relay = relay_with_tokens()
    many_files()
    before = relay.metric("process_anonymous_bytes")
    open_ = []
    for number in range(1000):
        piece = (b"GET /control/v1/status HTTP/1.1\r\nX: y", request(relay, secret="x"), request(relay))[number % 3]
        open_.append(connect(relay, piece))
    slowest = answers_at_once(relay)
    grown = relay.metric("process_anonymous_bytes") - before
    descriptors = len(os.listdir(f"/proc/{relay.process.pid}/fd"))
    print(f"1000 connections: slowest answer {slowest:.3f} s, {grown / 1e6:.1f} MB more, {descriptors} descriptors")
    assert grown < 16e6 and descriptors < 300
    relay.stop()


def slow_readers_of_http():
    """A table that comes a byte a second, answers that nobody reads, and a token that is right all the while."""
    relay = relay_with_tokens()
    many_files()
    head = f"POST /control/v1/suppressions/import HTTP/1.1\r\nHost: 127.0.0.1:{relay.http}\r\nAuthorization: Bearer {SECRET}\r\nContent-Length: 100000\r\n\r\na"
    open_ = [connect(relay, head.encode())]
    for _ in range(200):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        client.connect(("127.0.0.1", relay.http))
        client.sendall(request(relay, "/control/v1/openapi.json"))
        open_.append(client)
    answers_at_once(relay)
    # They go once others want their places.
    end, status = time.monotonic() + 20, b""
    while b" 200 " not in status:
        assert time.monotonic() < end, status
        with connect(relay, request(relay)) as client:
            status = client.recv(100)
        time.sleep(0.2)
    time.sleep(12)
    with connect(relay, request(relay)) as client:
        assert b" 200 " in client.recv(100)
    relay.stop()


def huge_requests_of_http():
    relay = relay_with_tokens()
    for piece in (
        b"GET /" + b"x" * 1_000_000,
        request(relay, more="X: " + "y" * 1_000_000 + "\r\n"),
        request(relay, more="".join(f"X{number}: y\r\n" for number in range(5000))),
        request(relay, secret="x" * 15_000),
        f"POST /control/v1/suspend HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {SECRET}\r\nContent-Length: 100000000\r\n\r\n".encode() + b"{" * 200_000,
        b"\r\n" * 500_000,
        os.urandom(100_000),
    ):
        client = connect(relay)
        try:
            client.sendall(piece)
            answer = client.recv(100)
        except (BrokenPipeError, ConnectionResetError):
            answer = b""
        assert not answer or answer.split()[1][:1] == b"4", answer
        client.close()
    answers_at_once(relay, 3)
    relay.stop()


def who_guesses_tokens_keeps_nobody_out():
    relay = relay_with_tokens()
    over, guesses = threading.Event(), [0]

    def guess():
        while not over.is_set():
            try:
                with connect(relay, request(relay, secret=f"relevo_{guesses[0]}")) as client:
                    status = client.recv(100).split()[1]
                assert status in (b"401", b"429", b"503"), status
                guesses[0] += 1
            except (OSError, IndexError):
                pass

    threads = [threading.Thread(target=guess) for _ in range(4)]
    for thread in threads:
        thread.start()
    slowest = answers_at_once(relay, 5)
    for _ in range(10):
        with connect(relay, request(relay)) as client:
            assert b" 200 " in client.recv(100)
    over.set()
    for thread in threads:
        thread.join()
    print(f"{guesses[0]} guesses, slowest answer {slowest:.3f} s")
    assert guesses[0] > 100
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
