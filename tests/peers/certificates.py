"""Certificates by the name that a client asks for, tickets that outlive a reload, and certificates that change under load.

    python3 tests/peers/certificates.py STORY path/to/relevo
"""
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

from balancer import accounts
from certificate import Authority
from ports import free_port
from relay import Relay
from sink import Sink

BINARY = sys.argv[2]


def file_of(authority, name):
    return f'{{ chain = "{authority.file(name + ".pem")}", key = "{authority.file(name + ".key")}" }}'


class Shop:
    """A relay with TLS from the first byte and with STARTTLS, and certificates for these names."""

    def __init__(self, directory, *names):
        self.authority = Authority(directory)
        for name in names:
            self.authority.certify(name)
        self.port = free_port()
        files = ", ".join(file_of(self.authority, name) for name in names)
        listener = f"certificates = [{files}]\n"
        more = accounts(directory) + f'[[listener]]\naddress = "127.0.0.1:{self.port}"\nkind = "submissions"\n{listener}'
        self.relay = Relay(BINARY, Sink(), more, listener)

    def reload(self):
        done = subprocess.run(
            [BINARY, "reload", "--config", f"{self.relay.directory}/relevo.toml"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60
        )
        assert done.returncode == 0, done.stdout

    def context(self, version=ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=self.authority.pem)
        context.maximum_version = version
        return context

    def connect(self, name, context, session=None):
        """Greeted under TLS, with the certificate of this name or not at all."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        tls = context.wrap_socket(plain, server_hostname=name, session=session)
        assert tls.recv(200).startswith(b"220 ")
        return tls


def each_name_has_its_certificate():
    with tempfile.TemporaryDirectory() as directory:
        shop = Shop(directory, "first.example", "mx.example", "*.mail.example")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            for name in ("first.example", "mx.example", "a.mail.example", "b.mail.example"):
                shop.connect(name, shop.context(version)).close()
            for name in ("other.example", "a.b.mail.example"):
                try:
                    shop.connect(name, shop.context(version))
                    raise AssertionError(f"a certificate for {name}")
                except ssl.SSLCertVerificationError as error:
                    assert "mismatch" in str(error), error
        # Who asks for no name gets the first; so does STARTTLS.
        for more, port in (([], shop.port), (["-starttls", "smtp"], shop.relay.port)):
            for asked, shown in ((["-noservername"], "first.example"), (["-servername", "mx.example"], "mx.example")):
                client = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *asked, *more]
                done = subprocess.run(client, input=b"QUIT\r\n", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60)
                text = subprocess.run(["openssl", "x509", "-noout", "-ext", "subjectAltName"], input=done.stdout, stdout=subprocess.PIPE).stdout
                assert f"DNS:{shown}".encode() in text, (asked, text)
        # A further certificate that cannot be used is named.
        os.truncate(shop.authority.file("mx.example.key"), 0)
        done = subprocess.run(
            [BINARY, "check", "--config", f"{shop.relay.directory}/relevo.toml"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60
        )
        assert done.returncode == 1 and b"mx.example.key: there is no private key in it" in done.stdout, done.stdout
        shop.relay.stop()


def tickets_outlive_a_reload():
    """Whichever shard a client comes to, and whatever was reloaded meanwhile; and its TLS is resumed under its own name alone."""
    with tempfile.TemporaryDirectory() as directory:
        shop = Shop(directory, "first.example", "mx.example")
        for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
            context = shop.context(version)
            first = shop.connect("mx.example", context)
            assert not first.session_reused
            session = first.session
            first.close()
            for round in range(12):
                if round % 4 == 3:
                    path = f"{shop.relay.directory}/relevo.toml"
                    with open(path) as file:
                        text = file.read()
                    with open(path, "w") as file:
                        file.write(text.replace("[[listener]]\n", f"[[listener]]\nrecipients_max = {500 + round}\n", 1) if round == 3 else text)
                    shop.reload()
                again = shop.connect("mx.example", context, session)
                assert again.session_reused, (version, round)
                session = again.session or session
                again.close()
            other = shop.connect("first.example", context, session)
            assert not other.session_reused and ("DNS", "first.example") in other.getpeercert()["subjectAltName"]
            other.close()
            text = open(f"{shop.relay.directory}/relevo.toml").read()
            with open(f"{shop.relay.directory}/relevo.toml", "w") as file:
                file.write("\n".join(line for line in text.splitlines() if not line.startswith("recipients_max")) + "\n")
        shop.relay.stop()


def certificates_change_under_load():
    """Renewed ten times a second, and taken up by a reload each time: no handshake fails, no session ends."""
    with tempfile.TemporaryDirectory() as directory:
        shop = Shop(directory, "mx.example")
        kept = shop.connect("mx.example", shop.context())
        over, done, failed = threading.Event(), [0] * 4, []

        def shake(number):
            context = shop.context(ssl.TLSVersion.TLSv1_2 if number % 2 else ssl.TLSVersion.TLSv1_3)
            while not over.is_set():
                try:
                    shop.connect("mx.example", context).close()
                    done[number] += 1
                except (OSError, AssertionError) as error:
                    failed.append(error)

        threads = [threading.Thread(target=shake, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        serials = set()
        end = time.monotonic() + 6
        while time.monotonic() < end:
            shop.authority.certify("mx.example")
            shop.reload()
            tls = shop.connect("mx.example", shop.context())
            serials.add(tls.getpeercert()["serialNumber"])
            tls.close()
        over.set()
        for thread in threads:
            thread.join()
        assert not failed, failed[:3]
        assert len(serials) > 10 and min(done) > 20, (len(serials), done)
        kept.sendall(b"NOOP\r\n")
        assert kept.recv(100).startswith(b"250"), "the session that was there"
        assert [event for event in shop.relay.log() if event["event"] == "rejected"] == []
        shop.relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
