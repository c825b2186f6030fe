"""A certificate for a hop or a relay of a story."""
import ssl
import subprocess


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
