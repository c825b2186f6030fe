"""What comes before a session and where it begins: handshakes, certificates that change, clients that drip: `door.py STORY BINARY`."""
import base64
import itertools
import os
import resource
import signal
import ssl
import subprocess
import tempfile
import threading
import time

from auth import TLS, accounts, counter
from neighbour import Memory, Pair, main, measure, threads

resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
KINDS = {"ecdsa": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["-newkey", "rsa:2048"]}
HELD = 10


def certify(directory, kind="ecdsa"):
    """A new key and certificate (key.pem, chain.pem)."""
    command = ["openssl", "req", "-x509", *KINDS[kind], "-nodes", "-days", "2", "-subj", "/CN=relay.example"]
    subprocess.run([*command, "-keyout", f"{directory}/key.pem", "-out", f"{directory}/chain.pem"], check=True, stderr=subprocess.DEVNULL)


def listener(directory, kind, port, more=""):
    files = f'tls_certificate = "{directory}/chain.pem"\ntls_key = "{directory}/key.pem"\n'
    return f'[[listener]]\naddress = "127.0.0.1:{port}"\nkind = "{kind}"\nconnections_per_client = 2000\n{files}{more}'


def shake(target, source):
    """TLS from the first byte, until it greets."""
    with TLS.wrap_socket(target.open("tls", source)) as client:
        assert client.recv(200).startswith(b"220 ")


def handshakes(target, stop):
    """Five hundred a second, each a full one, or as many as there can be."""
    begun, number, done, lock = time.monotonic(), itertools.count(), [0], threading.Lock()

    def shaker(at):
        while not stop.is_set():
            with lock:
                due = begun + next(number) / 500
            if stop.wait(max(0, due - time.monotonic())):
                return
            try:
                shake(target, f"127.0.1.{at + 1}")
                done[0] += 1
            except OSError:
                pass

    threads(24, shaker)
    print(f"{done[0] / (time.monotonic() - begun):.0f} handshakes a second", flush=True)
    assert done[0] > 10, "there was hardly a handshake"


def shaken(kind):
    with tempfile.TemporaryDirectory() as directory:
        more = accounts(directory)[1]
        certify(directory, kind)
        pair = Pair(more=more + listener(directory, "submissions", "{tls}"))
        with Memory(pair.attacked) as memory:
            measure(pair, handshakes).judge()
        assert memory.most < 40 << 20, memory.most
        pair.stop()


def handshakes_move_nobody():
    shaken("ecdsa")


def handshakes_with_rsa_move_nobody():
    shaken("rsa")


def swaps(target, stop):
    """Another certificate each 100 ms, with sessions that stay and a handshake after the other. Who sees one fail says so in a file."""
    base, failed, serials, count = target.directory, [], set(), [0]
    with open(f"{base}/certificates") as file:
        own = file.read()

    def session():
        client = TLS.wrap_socket(target.open("tls"))
        assert client.recv(200).startswith(b"220 ")
        return client

    def holder(_):
        try:
            client = session()
            while not stop.wait(0.5):
                client.sendall(b"NOOP\r\n")
                assert (said := client.recv(200)).startswith(b"250 "), f"a session ended: {said}"
            client.close()
        except (OSError, AssertionError) as error:
            failed.append(f"held: {error!r}")

    def shaker(number):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2)[number % 2]
        while not stop.wait(0.01):
            try:
                with context.wrap_socket(target.open("tls", f"127.0.1.{number + 1}")) as client:
                    assert client.recv(200).startswith(b"220 ")
                    serials.add(client.getpeercert(True))
                    count[0] += 1
            except (OSError, AssertionError) as error:
                failed.append(f"handshake: {error!r}")

    def swapper(_):
        for number in itertools.count():
            os.symlink(f"{own}/{number % 6}", f"{own}/next")
            os.rename(f"{own}/next", f"{own}/now")
            os.kill(target.pid, signal.SIGHUP)
            if stop.wait(0.1):
                return

    threads(HELD + 5, lambda at: (swapper if at == 0 else holder if at <= HELD else shaker)(at))
    with open(f"{base}/failed", "a") as file:
        file.writelines(f"{line}\n" for line in failed)
        file.write(f"{count[0]} handshakes\n")
    print(f"{count[0]} handshakes, {len(serials)} certificates, {len(failed)} failures", flush=True)


def certificates_swapped_move_nobody():
    """Nor does a handshake fail, or a session end."""
    with tempfile.TemporaryDirectory() as directory:
        more = accounts(directory)[1]
        for number in range(6):
            os.mkdir(f"{directory}/{number}")
            certify(f"{directory}/{number}")
        os.symlink(f"{directory}/0", f"{directory}/now")
        pair = Pair(more=more + listener(f"{directory}/now", "submissions", "{tls}"))
        for relay in pair.relays:
            with open(f"{relay.directory}/certificates", "w") as file:
                file.write(directory)
        with Memory(pair.attacked) as memory:
            measure(pair, swaps).judge()
        for relay in pair.relays:
            with open(f"{relay.directory}/failed") as file:
                told = file.readlines()
            failed = [line for line in told if not line.endswith(" handshakes\n")]
            assert not failed, (len(failed), failed[:3])
            assert sum(int(line.split()[0]) for line in told) > 10, told
        assert memory.most < 40 << 20, memory.most
        pair.stop()


def hello():
    """The bytes of a ClientHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        TLS.wrap_bio(incoming, outgoing, server_hostname="relay.example").do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def under_tls(target, source):
    client = TLS.wrap_socket(target.open("tls", source))
    client.recv(200)
    client.sendall(b"EHLO x\r\n")
    client.recv(2000)
    return client


def talk(target, source, *lines):
    client = target.connect(source)
    for line in (b"EHLO x\r\n", *lines):
        client.sendall(line)
        client.recv(2000)
    return client


ENVELOPE = (b"MAIL FROM:<a@b.example>\r\n", b"RCPT TO:<c@good.example>\r\n")
# How a connection comes to where it begins to drip, and what drips there, over and over.
PHASES = {
    "PROXY": (lambda target, source: target.open("proxy", source), b"PROXY TCP4 127.0.0.1 127.0.0.1 "),
    "hello": (lambda target, source: target.open("tls", source), None),
    "EHLO": (lambda target, source: target.connect(source), b"EHLO xxxxxxxx"),
    "AUTH": (under_tls, b"AUTH PLAIN " + base64.b64encode(b"\0user1\0guess" * 30)),
    "answer": (lambda target, source: answering(target, source), base64.b64encode(b"user1" * 60)),
    "MAIL": (talk, b"MAIL FROM:<" + b"x" * 60),
    "RCPT": (lambda target, source: talk(target, source, *ENVELOPE), b"RCPT TO:<" + b"x" * 60),
    "DATA": (lambda target, source: talk(target, source, *ENVELOPE, b"DATA\r\n"), b"x"),
    "BDAT": (lambda target, source: portion(target, source), b"x"),
    "QUIT": (lambda target, source: talk(target, source, b"QUIT\r\n"), b"NOOP\r\n"),
}


def answering(target, source):
    client = under_tls(target, source)
    client.sendall(b"AUTH LOGIN\r\n")
    client.recv(200)
    return client


def portion(target, source):
    """What is said to BDAT is said behind all of it."""
    client = talk(target, source, *ENVELOPE)
    client.sendall(b"BDAT 1000000\r\n")
    return client


def drips(target, stop):
    """Forty connections in each phase, a byte each half second."""
    clients, first, phases = [], hello(), list(PHASES.values())

    def open_some(at):
        begin, words = phases[at]
        for number in range(40):
            client = begin(target, f"127.0.{at + 1}.{number // 4 + 1}")
            client.setblocking(False)
            clients.append((client, words or first))

    threads(len(phases), open_some)
    assert len(clients) == 40 * len(phases), len(clients)
    open(f"{target.directory}/dripping", "w").close()
    for turn in itertools.count():
        for client, words in clients:
            try:
                client.send(words[turn % len(words)].to_bytes(1, "big"))
            except (OSError, ssl.SSLError):
                pass
        if stop.wait(0.5):
            return


def drips_in_each_phase_move_nobody():
    with tempfile.TemporaryDirectory() as directory:
        more = accounts(directory)[1] + listener(directory, "submissions", "{tls}")
        more += '[[listener]]\naddress = "127.0.0.1:{proxy}"\nproxy_from = ["127.0.0.0/8"]\n'
        pair = Pair(more=more)
        with Memory(pair.attacked) as memory:
            measure(pair, drips, ready="dripping").judge()
        # Four hundred connections, three tenths of them with TLS.
        assert memory.most < 40 << 20, memory.most
        end = time.monotonic() + 20
        while (held := counter(pair.attacked, "session_memory{")) and time.monotonic() < end:
            time.sleep(0.2)
        assert held == 0, "memory of sessions that are gone"
        pair.stop()


if __name__ == "__main__":
    main(globals())
