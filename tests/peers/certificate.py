"""A certificate for a hop or a relay of a story."""
import datetime
import os
import ssl
import subprocess


def weak_certificates(directory):
    """Contexts of servers with certificates that no verifier takes: a short key, and X.509's first version."""
    made = {"short": "1024", "first": "2048"}
    for name, bits in made.items():
        key, request, chain = (f"{directory}/{name}.{kind}" for kind in ("key", "csr", "pem"))
        for command in (
            ["req", "-new", "-newkey", f"rsa:{bits}", "-nodes", "-subj", "/CN=hop.example", "-keyout", key, "-out", request],
            # Without extensions that is version 1.
            ["x509", "-req", "-in", request, "-signkey", key, "-days", "2", "-out", chain],
        ):
            subprocess.run(["openssl", *command], check=True, stderr=subprocess.DEVNULL)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.load_cert_chain(chain, key)
        yield name, context


def certificate(directory, name="hop.example"):
    """Made in `directory` (chain.pem, key.pem), and the context of a server that shows it."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
        + ["-keyout", f"{directory}/key.pem", "-out", f"{directory}/chain.pem"],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{directory}/chain.pem", f"{directory}/key.pem")
    return context


class Authority:
    """Issues certificates for hosts; its own is in `pem`, a file of `directory`."""

    def __init__(self, directory, name="Authority"):
        self.directory, self.name = f"{directory}/{name}", name
        self.pem = f"{self.directory}/ca.pem"
        os.mkdir(self.directory)
        self.openssl("req", "-x509", *KEY, "-days", "2", "-subj", f"/CN={name}", "-keyout", self.file("ca.key"), "-out", self.pem)
        open(self.file("index"), "w").close()
        with open(self.file("ca.cnf"), "w") as file:
            file.write(
                "[ca]\ndefault_ca = own\n[own]\nunique_subject = no\nrand_serial = yes\ndefault_md = sha256\npolicy = any\ncopy_extensions = copy\n"
                f"database = {self.file('index')}\nnew_certs_dir = {self.directory}\ncertificate = {self.pem}\n"
                f"private_key = {self.file('ca.key')}\n[any]\ncommonName = supplied\n"
            )

    def file(self, name):
        return f"{self.directory}/{name}"

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def certify(self, name, days=(-30, 30), san="DNS"):
        """The context of a server with a certificate for this name, from and until so many days from now on."""
        now = datetime.datetime.now(datetime.timezone.utc)
        begin, end = ((now + datetime.timedelta(days=day)).strftime("%Y%m%d%H%M%SZ") for day in days)
        chain, key, request = (self.file(f"{name}.{kind}") for kind in ("pem", "key", "csr"))
        self.openssl("req", "-new", *KEY, "-subj", "/CN=host", "-addext", f"subjectAltName={san}:{name}", "-keyout", key, "-out", request)
        self.openssl(
            "ca", "-batch", "-config", self.file("ca.cnf"), "-startdate", begin, "-enddate", end, "-notext", "-in", request, "-out", chain
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        return context


KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
