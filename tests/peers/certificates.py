"""Certificates by the name that a client asks for, tickets that outlive a reload, and certificates that change under load.

    python3 tests/peers/certificates.py STORY path/to/relevo
"""
import os
import smtplib
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


def nobody_is_shown_the_certificate_of_another_name():
    """One kind of key for each name, and clients that take one kind alone."""
    with tempfile.TemporaryDirectory() as directory:
        shop = Shop(directory, "ecdsa.example", "rsa.example")
        key, chain = shop.authority.file("rsa.example.key"), shop.authority.file("rsa.example.pem")
        shop.authority.openssl(
            *["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=rsa.example", "-addext", "subjectAltName=DNS:rsa.example"],
            *["-keyout", key, "-out", chain],
        )
        shop.reload()

        def shown(name, algorithms, version):
            asked = ["-servername", name] if name else ["-noservername"]
            client = ["openssl", "s_client", "-connect", f"127.0.0.1:{shop.port}", *asked, "-sigalgs", algorithms, version]
            if version == "-tls1_2":
                client += ["-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256" if "ECDSA" in algorithms else "ECDHE-RSA-AES128-GCM-SHA256"]
            done = subprocess.run(client, input=b"QUIT\r\n", capture_output=True, timeout=60)
            if b"BEGIN CERTIFICATE" not in done.stdout:
                assert b"handshake failure" in done.stderr, done.stderr
                return None
            command = ["openssl", "x509", "-noout", "-ext", "subjectAltName"]
            return subprocess.run(command, input=done.stdout, stdout=subprocess.PIPE).stdout.decode().partition("DNS:")[2].strip()

        for version in ("-tls1_3", "-tls1_2"):
            rsa, ecdsa = "RSA-PSS+SHA256:RSA+SHA256", "ECDSA+SHA256"
            for name, algorithms, wanted in (
                ("rsa.example", rsa, "rsa.example"),
                ("ecdsa.example", ecdsa, "ecdsa.example"),
                ("rsa.example", ecdsa, None),
                ("ecdsa.example", rsa, None),
                ("other.example", rsa, "rsa.example"),
                (None, rsa, "rsa.example"),
                (None, ecdsa, "ecdsa.example"),
            ):
                assert shown(name, algorithms, version) == wanted, (version, name, algorithms)
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
    """Renewed all the time, and taken up by a reload each time: no handshake fails, no session ends."""
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
        assert len(serials) > 4 and min(done) > 20, (len(serials), done)
        kept.sendall(b"NOOP\r\n")
        assert kept.recv(100).startswith(b"250"), "the session that was there"
        assert [event for event in shop.relay.log() if event["event"] == "rejected"] == []
        shop.relay.stop()


def certificates_log_clients_in():
    """One of the operator's authority with the name of an account; no other, and no other name. A reload ends what it takes away."""
    with tempfile.TemporaryDirectory() as directory:
        shop = Shop(directory, "mx.example")
        clients, others = Authority(directory, "Clients"), Authority(directory, "Others")
        for authority in (clients, others):
            authority.certify("news")
        clients.certify("nobody")
        clients.openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=host", "-addext", "subjectAltName=DNS:news", "-keyout", clients.file("old.key"), "-out", clients.file("old.csr"))
        clients.openssl("ca", "-batch", "-config", clients.file("ca.cnf"), "-startdate", "20200101000000Z", "-enddate", "20210101000000Z", "-notext", "-in", clients.file("old.csr"), "-out", clients.file("old.pem"))
        path = f"{shop.relay.directory}/relevo.toml"
        with open(path) as file:
            text = file.read()
        with open(path, "w") as file:
            file.write(text.replace('kind = "submissions"\n', f'kind = "submissions"\nclient_ca = "{clients.pem}"\n'))
        shop.reload()

        def client(authority=None, name="news", version=ssl.TLSVersion.TLSv1_3):
            context = shop.context(version)
            if authority:
                context.load_cert_chain(authority.file(f"{name}.pem"), authority.file(f"{name}.key"))
            context.check_hostname = False
            found = smtplib.SMTP_SSL("127.0.0.1", shop.port, local_hostname="client.example", timeout=30, context=context)
            found.ehlo()
            return found

        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            known = client(clients, version=version)
            assert not known.has_extn("auth"), "it is logged in"
            known.sendmail("a@b.example", ["c@d.example"], b"Subject: x\r\n\r\nbody\r\n")
            for authority, name in ((None, ""), (others, "news"), (clients, "nobody"), (clients, "old")):
                stranger = client(authority, name, version)
                assert stranger.has_extn("auth") and stranger.mail("a@b.example")[0] == 530, (authority, name)
                stranger.login("news", "secret")
                stranger.quit()
        received = shop.relay.wait_log("received", 2)
        assert all(event["account"] == "news" for event in received), received
        # The ticket of one who was logged in is that of the same client.
        context = shop.context()
        context.load_cert_chain(clients.file("news.pem"), clients.file("news.key"))
        first = shop.connect("mx.example", context)
        again = shop.connect("mx.example", context, first.session)
        assert again.session_reused
        again.sendall(b"EHLO x\r\nMAIL FROM:<a@b.example>\r\n")
        time.sleep(0.3)
        assert b"250 2.1.0 Ok" in again.recv(2000), "a resumed session"
        # Nobody vouches for it any more: not in the session that is there, nor in one that is resumed.
        known = client(clients)
        with open(path) as file:
            text = file.read()
        with open(path, "w") as file:
            file.write(text.replace(clients.pem, others.pem))
        shop.reload()
        code, words = known.mail("a@b.example")
        assert (code, words[:5]) == (421, b"4.3.2"), (code, words)
        resumed = shop.connect("mx.example", context, first.session)
        resumed.sendall(b"EHLO x\r\nMAIL FROM:<a@b.example>\r\n")
        time.sleep(0.3)
        assert b"530 5.7.0" in resumed.recv(2000)
        # An authority that cannot be read is named.
        os.truncate(others.pem, 0)
        done = subprocess.run([BINARY, "check", "--config", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        assert done.returncode == 1 and b"ca.pem: there is no certificate in it" in done.stdout, done.stdout
        shop.relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
