"""What scanners say of the relay: `scanners.py STORY BINARY`.

testssl.sh and sslyze look at its TLS, each where it begins with the first byte and where STARTTLS begins it; nmap looks for an open relay.
"""
import json
import os
import re
import subprocess
import sys
import tempfile

from accounts import account
from clients import tool
from ports import free_port
from relay import Relay
from sink import Sink

BINARY = os.path.abspath(sys.argv[2])
NAME = "relay.example"
# What testssl.sh could not do for want of something of its own. Nothing else may be worse than LOW: the certificate is one as those of others are.
OF_THE_SCANNER = {
    "engine_problem": "no GOST in this machine's openssl",
    "sessionresumption_ticket": "it goes as soon as it has shaken hands, often before the ticket comes; `certificates.py` looks at tickets",
}


ALL_OF_SSLYZE = [f"--{one}" for one in "sslv2 sslv3 tlsv1 tlsv1_1 tlsv1_2 tlsv1_3 certinfo compression early_data elliptic_curves ems fallback heartbleed openssl_ccs reneg robot".split()]
EXTENSIONS = f"""subjectAltName = DNS:{NAME}, IP:127.0.0.1
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
crlDistributionPoints = URI:http://crl.example/list
"""


def certificate(directory):
    """With all that a strict verifier wants of it, for 88 days, by an authority of ours (ca.pem). The lines of a listener."""

    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    with open(f"{directory}/extensions", "w") as file:
        file.write(EXTENSIONS)
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *key, "-days", "90", "-subj", "/CN=Authority", "-addext", "keyUsage = critical, keyCertSign, cRLSign", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", "-new", *key, "-subj", f"/CN={NAME}", "-keyout", "key.pem", "-out", "csr")
    openssl("x509", "-req", "-in", "csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "88", "-extfile", "extensions", "-out", "chain.pem")
    return f'tls_certificate = "{directory}/chain.pem"\ntls_key = "{directory}/key.pem"\n'


class Shop:
    """A relay with TLS by STARTTLS and from the first byte."""

    def __init__(self, directory):
        tls = certificate(directory)
        with open(f"{directory}/accounts.toml", "w") as file:
            file.write(account("bob"))
        first = free_port()
        more = f'[auth]\naccounts = "{directory}/accounts.toml"\n[[listener]]\naddress = "127.0.0.1:{first}"\nkind = "submissions"\n{tls}'
        self.relay = Relay(BINARY, Sink(), more, tls)
        self.doors = {"starttls": self.relay.port, "first": first}

    def stop(self):
        """It lives, and takes mail as before."""
        self.relay.send("a@b.example", ["c@d.example"], b"Subject: x\r\n\r\nbody\r\n")
        self.relay.wait_log("delivered")
        self.relay.stop()


def testssl(door):
    with tempfile.TemporaryDirectory() as directory:
        shop, found = Shop(directory), f"{directory}/found.json"
        # Protocols, the certificate, and all the attacks that it knows; and once kinds of ciphers, forward secrecy, preferences.
        command = ["testssl", "--quiet", "--color", "0", "--warnings", "batch", "-n", "none", "-p", "-S", "-U"]
        command += ["--add-ca", f"{directory}/ca.pem", "--ip", "127.0.0.1", "--openssl-timeout", "20", "--jsonfile", found]
        command += ["-t", "smtp"] if door == "starttls" else ["-s", "-f", "-P"]
        done = subprocess.run([*command, f"{NAME}:{shop.doors[door]}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=280)
        with open(found) as file:
            findings = json.load(file)
        told = {one["id"]: one for one in findings}
        assert len(told) > 50, done.stdout
        bad = [one for one in findings if one["severity"] in ("MEDIUM", "HIGH", "CRITICAL")]
        assert not bad, (bad, done.stdout)
        undone = {one["id"]: one for one in findings if one["severity"] in ("WARN", "FATAL")}
        assert undone.keys() <= OF_THE_SCANNER.keys(), (undone, done.stdout)
        for finding, words in (("TLS1_2", "offered"), ("TLS1_3", "offered with final"), ("TLS1", "not offered"), ("TLS1_1", "not offered"), ("SSLv3", "not offered")):
            assert told[finding]["finding"].startswith(words), told[finding]
        assert told["secure_client_renego"]["severity"] == "OK" and told["secure_renego"]["severity"] == "OK", told
        print(f"{len(told)} findings; not done: {sorted(undone)}")
        shop.stop()


def testssl_from_the_first_byte():
    testssl("first")


def testssl_behind_starttls():
    testssl("starttls")


def sslyze_and_mozilla():
    """Nothing that it finds, and the profile that Mozilla calls intermediate; both ways."""
    with tempfile.TemporaryDirectory() as directory:
        shop, found = Shop(directory), f"{directory}/found.json"
        for door, port in shop.doors.items():
            command = [tool("venv", "bin", "python"), "-m", "sslyze", f"--json_out={found}", "--mozilla_config=intermediate", f"--sni={NAME}"]
            command += [f"--certinfo_ca_file={directory}/ca.pem", "--slow_connection", *ALL_OF_SSLYZE]
            command += ["--starttls=smtp"] if door == "starttls" else []
            done = subprocess.run([*command, f"127.0.0.1:{port}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=200)
            with open(found) as file:
                [scan] = json.load(file)["server_scan_results"]
            assert scan["scan_status"] == "COMPLETED", done.stdout
            assert "127.0.0.1:%d: OK - Compliant" % port in done.stdout, done.stdout[-900:]
            result = {}
            for name, attempt in scan["scan_result"].items():
                assert attempt["status"] in ("COMPLETED", "NOT_SCHEDULED"), (name, attempt)
                result[name] = attempt["result"]
            accepted = {name: len(result[f"{name}_cipher_suites"]["accepted_cipher_suites"]) for name in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1", "tls_1_2", "tls_1_3")}
            assert accepted == {"ssl_2_0": 0, "ssl_3_0": 0, "tls_1_0": 0, "tls_1_1": 0, "tls_1_2": 3, "tls_1_3": 3}, accepted
            assert not result["heartbleed"]["is_vulnerable_to_heartbleed"]
            assert not result["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"]
            assert not result["tls_compression"]["supports_compression"]
            assert not result["tls_1_3_early_data"]["supports_early_data"]
            assert result["tls_extended_master_secret"]["supports_ems_extension"]
            again = result["session_renegotiation"]
            assert again["supports_secure_renegotiation"] and not again["is_vulnerable_to_client_renegotiation_dos"], again
            assert result["robot"]["robot_result"].startswith("NOT_VULNERABLE"), result["robot"]
            [deployed] = result["certificate_info"]["certificate_deployments"]
            assert deployed["received_chain_has_valid_order"], deployed
            valid = [one for one in deployed["path_validation_results"] if one["was_validation_successful"]]
            assert len(valid) == 1, "by our authority, and by no other"
            print(f"{door}: {accepted}")
        shop.stop()


def an_open_relay_is_not_here():
    """From an address of another network, at the three ports of their names, whatever domains are ours; in a network of its own."""
    if "RELEVO_OWN_NETWORK" not in os.environ:
        alone = ["unshare", "--map-root-user", "--net", sys.executable, *sys.argv]
        return subprocess.run(alone, env=os.environ | {"RELEVO_OWN_NETWORK": "1"}, check=True, timeout=280)
    for words in ("link set lo up", "address add 192.0.2.1/32 dev lo"):
        subprocess.run(["ip", *words.split()], check=True, timeout=30)
    with tempfile.TemporaryDirectory() as directory:
        tls = certificate(directory)
        with open(f"{directory}/accounts.toml", "w") as file:
            file.write(account("bob"))
        # Relaying is for loopback alone unless it is said. The hardest is a relay that takes mail for its own name.
        for ours in ("", 'relay_to = ["d.example", "*.d.example"]\n', f'relay_to = ["{NAME}"]\n'):
            more = f'[auth]\naccounts = "{directory}/accounts.toml"\n'
            for port, kind, own in ((25, "relay", ours), (587, "submission", ""), (465, "submissions", "")):
                more += f'[[listener]]\naddress = "192.0.2.1:{port}"\nkind = "{kind}"\n{tls}{own}'
            relay = Relay(BINARY, Sink(), more)
            command = ["nmap", "-n", "-Pn", "-sT", "-p", "25,465,587", "--script", "smtp-open-relay", "-vv", "192.0.2.1"]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
            parts = dict(re.findall(r"^(\d+)/tcp .*\n((?:\|.*\n)+)", done.stdout, re.M))
            assert "Server doesn't seem to be an open relay, all tests failed" in parts.get("25", ""), done.stdout
            for port in ("465", "587"):
                assert "Server isn't an open relay, authentication needed" in parts.get(port, ""), done.stdout
            denied = [event for event in relay.wait_log("rejected", 3)]
            assert {event["client"].rpartition(":")[0] for event in denied} == {"192.0.2.1"}, denied
            assert not any(event["event"] == "received" for event in relay.log())
            print(ours.strip() or "no domain is ours", sorted({event["reason"] for event in denied}))
            relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
