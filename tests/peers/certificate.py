"""A certificate for a hop or a relay of a story."""
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
