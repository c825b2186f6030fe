"""Certificates by ACME, from pebble, with challtestsrv as its name server.

    python3 tests/peers/acme.py STORY path/to/relevo
"""
import atexit
import json
import os
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from certificate import Authority
from ports import free_port
from relay import Relay
from sink import Sink

BINARY = sys.argv[2]
NAME = "mx.relay.example"


class Pebble:
    """An authority, and the name server that it asks: every name is this machine."""

    def __init__(self, **environment):
        self.directory = tempfile.mkdtemp(prefix="relevo-test-")
        self.web = Authority(self.directory, "Web")
        self.web.certify("localhost")
        self.port, self.management, self.challenges, self.dns = (free_port() for _ in range(4))
        self.environment, self.processes = environment, []
        # Seconds; pebble gives five years unless it is told otherwise.
        self.life = 90 * 86_400
        # A story that fails must not leave it behind.
        atexit.register(self.stop)

    def start(self):
        config = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": self.web.file("localhost.pem"),
            "privateKey": self.web.file("localhost.key"),
            "httpPort": self.challenges,
            "tlsPort": free_port(),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
            "domainBlocklist": ["blocked.example"],
            "certificateValidityPeriod": self.life,
        }
        with open(f"{self.directory}/pebble.json", "w") as file:
            json.dump({"pebble": config}, file)
        off = ["-http01", "", "-https01", "", "-tlsalpn01", ""]
        dns = ["-dns01", f"127.0.0.1:{self.dns}", "-defaultIPv6", "", "-management", f"127.0.0.1:{free_port()}"]
        self.spawn(["pebble-challtestsrv", *off, *dns])
        with open(f"{self.directory}/pebble.log", "a") as log:
            self.spawn(["pebble", "-config", f"{self.directory}/pebble.json", "-strict", "-dnsserver", f"127.0.0.1:{self.dns}"], log)
        until(lambda: self.root(), "pebble did not start")

    def spawn(self, command, out=subprocess.DEVNULL):
        environment = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", **self.environment}
        self.processes.append(subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment))

    def root(self):
        """The certificate that its chains lead to; None: it does not answer."""
        context = ssl.create_default_context(cafile=self.web.pem)
        try:
            with urllib.request.urlopen(f"https://localhost:{self.management}/roots/0", timeout=5, context=context) as answer:
                return answer.read().decode()
        except OSError:
            return None

    def log(self):
        with open(f"{self.directory}/pebble.log") as file:
            return file.read()

    def orders(self):
        return self.log().count("POST /order-plz")

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes = []

    def section(self, names=(NAME,), more=""):
        listed = json.dumps(list(names))
        return (
            f'[acme]\nagree_tos = true\ndirectory = "https://localhost:{self.port}/dir"\ndirectory_ca = "{self.web.pem}"\n'
            f'contact = ["mailto:postmaster@relay.example"]\nnames = {listed}\nhttp = ["127.0.0.1:{self.challenges}"]\n{more}\n'
        )


def until(is_so, words, seconds=60):
    end = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < end, words
        time.sleep(0.1)
    return found


def shown(port):
    """The certificate that a listener shows, DER."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = smtplib.SMTP("127.0.0.1", port, local_hostname="client.example", timeout=30)
    client.starttls(context=context)
    found = client.sock.getpeercert(binary_form=True)
    client.quit()
    return found


def verifies(port, root, name=NAME):
    """Whether a client that trusts this authority alone takes what a listener shows for this name."""
    context = ssl.create_default_context(cadata=root)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    client = smtplib.SMTP("127.0.0.1", port, local_hostname="client.example", timeout=30)
    client._host = name
    try:
        client.starttls(context=context)
        client.quit()
        return True
    except ssl.SSLError:
        client.close()
        return False


def metric(relay, result):
    with urllib.request.urlopen(f"http://127.0.0.1:{relay.http}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    [line] = [line for line in lines if line.startswith("relevo_acme_orders_total{") and f'"{result}"' in line]
    return float(line.rpartition(" ")[2])


def an_authority_gives_a_certificate():
    """Though it refuses one of ten good nonces, and without a session or a connection that notices."""
    pebble = Pebble(PEBBLE_WFE_NONCEREJECT="10")
    pebble.start()
    relay = Relay(BINARY, Sink(), listener="acme = true", more=pebble.section())
    kept = f"{relay.data_dir}/acme/certificate.pem"
    client = smtplib.SMTP("127.0.0.1", relay.port, local_hostname="client.example", timeout=30)
    until(lambda: os.path.exists(kept), "no certificate came")
    until(lambda: verifies(relay.port, pebble.root()), "it is not shown")
    assert client.docmd("NOOP")[0] == 250, "a session ended for it"
    assert metric(relay, "ok") == 1, relay.words
    assert relay.told("a certificate for", NAME, "came from"), relay.words
    for name in ("certificate.pem", "account.json"):
        assert os.stat(f"{relay.data_dir}/acme/{name}").st_mode & 0o777 == 0o600
    assert os.stat(f"{relay.data_dir}/acme").st_mode & 0o777 == 0o700
    # A restart goes on with it, and asks nobody.
    before, orders = shown(relay.port), pebble.orders()
    pebble.stop()
    relay.process.terminate()
    assert relay.process.wait(45) == 0
    relay.start()
    time.sleep(3)
    assert shown(relay.port) == before and not relay.told("no certificate", seconds=0.5), relay.words
    assert pebble.orders() == orders
    # So does a reload, and one that wants another name gets it, though the authority has lost its accounts.
    pebble.start()
    relay.more = relay.more.replace(f'["{NAME}"]', f'["{NAME}", "other.relay.example"]')
    relay.write()
    subprocess.run([BINARY, "reload", "--config", f"{relay.directory}/relevo.toml"], check=True, stdout=subprocess.DEVNULL)
    until(lambda: shown(relay.port) != before, "the other name is not asked for")
    assert verifies(relay.port, pebble.root(), "other.relay.example")
    relay.stop()
    pebble.stop()


def a_refused_order_and_a_lost_authority_take_nothing():
    pebble = Pebble()
    relay = Relay(BINARY, Sink(), listener="acme = true", more=pebble.section())
    # It is down: TLS is there all the same, by a certificate of our own.
    placeholder = shown(relay.port)
    assert relay.told("no certificate for", "it is asked for again", seconds=30), relay.words
    assert not os.path.exists(f"{relay.data_dir}/acme/certificate.pem")
    pebble.start()
    until(lambda: verifies(relay.port, pebble.root()), "it is not asked again", 120)
    first = shown(relay.port)
    assert first != placeholder and metric(relay, "failed") >= 1
    # Then it refuses a name: what is shown stays, and so does the file.
    relay.more = pebble.section([NAME, "blocked.example"])
    relay.write()
    subprocess.run([BINARY, "reload", "--config", f"{relay.directory}/relevo.toml"], check=True, stdout=subprocess.DEVNULL)
    assert relay.told("no certificate for", "blocked.example", seconds=30), relay.words
    assert shown(relay.port) == first
    relay.stop()
    pebble.stop()


def it_is_renewed_before_it_ends():
    pebble = Pebble()
    # A third of that is left after 20 s.
    pebble.life = 30
    pebble.start()
    relay = Relay(BINARY, Sink(), listener="acme = true", more=pebble.section())
    until(lambda: verifies(relay.port, pebble.root()), "no certificate came")
    first, begun = shown(relay.port), time.monotonic()
    until(lambda: shown(relay.port) != first, "it is not renewed")
    assert 10 < time.monotonic() - begun < 28, time.monotonic() - begun
    relay.stop()
    pebble.stop()


def pages_show_it_and_prove_the_names():
    """No port of its own for challenges: those of the pages, which show the certificate too."""
    pebble = Pebble()
    pebble.start()
    https = free_port()
    section = pebble.section().replace(f'http = ["127.0.0.1:{pebble.challenges}"]', "http = []")
    pages = f'[public]\nhttps = "127.0.0.1:{https}"\nhttp = "127.0.0.1:{pebble.challenges}"\nacme = true\n'
    relay = Relay(BINARY, Sink(), more=pages + section)
    until(lambda: os.path.exists(f"{relay.data_dir}/acme/certificate.pem"), "no certificate came")
    context = ssl.create_default_context(cadata=pebble.root())
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT

    def opens():
        try:
            with socket.create_connection(("127.0.0.1", https), 10) as plain, context.wrap_socket(plain, server_hostname=NAME) as client:
                client.sendall(b"GET /nothing HTTP/1.0\r\n\r\n")
                return client.recv(100)
        except ssl.SSLError:
            return b""

    assert b" 404 " in until(opens, "the pages do not show it")
    # What nobody asks for now is not told.
    for path, port in (("/.well-known/acme-challenge/x", pebble.challenges), ("/.well-known/acme-challenge/", pebble.challenges)):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10)
            raise AssertionError(path)
        except urllib.error.HTTPError as refused:
            assert refused.code == 404, refused
    # The listener has no TLS for it.
    with relay.client() as client:
        client.ehlo()
        assert not client.has_extn("starttls")
    relay.stop()
    pebble.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
