"""The examples of docs/examples, as they stand there: `examples.py STORY BINARY`. Called by tests/service.rs."""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from accounts import PASSWORD, House, account
from cluster import until
from ports import free_port

HERE = os.path.dirname(os.path.abspath(__file__))
EXAMPLES = os.path.join(HERE, "../../docs/examples")
INSTALLED = os.path.join(HERE, "../../target/clients")


def runners(directory, pem):
    """How each is run, by how its name ends; the authority is one of our own."""
    go = {"GOCACHE": f"{directory}/cache", "GOFLAGS": "-p=1", "GO111MODULE": "off", "GOTOOLCHAIN": "local"}

    def built(path):
        binary = f"{directory}/{os.path.basename(path)}.out"
        done = subprocess.run(["go", "build", "-o", binary, path], env={**os.environ, **go}, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return [binary]

    return {
        "py": (lambda path: [sys.executable, path], {"SSL_CERT_FILE": pem}),
        "js": (lambda path: ["node", path], {"NODE_EXTRA_CA_CERTS": pem, "NODE_PATH": os.path.join(INSTALLED, "node_modules")}),
        "go": (built, {"SSL_CERT_FILE": pem}),
        "php": (lambda path: ["php", "-d", f"openssl.cafile={pem}", path], {}),
    }


def examples_send_and_say_what_is_refused():
    """Each sends one message by its way; a wrong password or token, and a recipient that nobody takes, are told with what to do."""
    port, directory = free_port(), tempfile.mkdtemp(prefix="relevo-examples-")
    tokens = f"{directory}/tokens"
    done = subprocess.run([sys.argv[2], "token", "add", "shop", "--role", "send", "--tokens", tokens], capture_output=True, text=True, check=True)
    token = done.stdout.split()[-1]
    rule = '[[rule]]\nmatch = { sender = "hello@shop.example", account = "gone" }\naction = "reject 550 5.7.1 not this one"\n'
    house = House(account("shop", scram=False) + account("gone", scram=False), more=f'[api]\nhttp = "127.0.0.1:{port}"\ntokens = "{tokens}"\n{rule}')
    base = {"RELEVO_HOST": "127.0.0.1", "RELEVO_PORT": str(house.relay.port), "RELEVO_USER": "shop", "RELEVO_PASSWORD": PASSWORD, "RELEVO_API": f"http://127.0.0.1:{port}", "RELEVO_TOKEN": token}
    count = 0
    for kind, (command, trust) in runners(directory, house.authority.pem).items():
        for way in ("smtp", "api"):
            path = f"{EXAMPLES}/{way}.{kind}"
            words = command(path)

            def told(**more):
                done = subprocess.run(words, env={**os.environ, **base, **trust, **more}, capture_output=True, text=True, timeout=120, cwd=directory)
                return done.returncode, done.stdout, done.stderr

            code, said, wrong = told()
            count += 1
            assert code == 0 and said.startswith("taken"), (path, code, said, wrong)
            house.sink.wait(count)
            body = house.sink.taken[-1].body
            assert b"Your order is on its way" in body and b"X-Relevo" not in body and b"<hello@shop.example>" in body, (path, body)
            if way == "api":
                code, said, wrong = told(RELEVO_TOKEN="wrong")
                assert code == 1 and "401: Unauthorized" in wrong, (path, code, said, wrong)
                continue
            code, said, wrong = told(RELEVO_PASSWORD="wrong")
            assert code == 1 and ("535" in wrong or "authenticate" in wrong), (path, code, said, wrong)
            code, said, wrong = told(RELEVO_USER="gone")
            assert code == 1 and "not to be sent again as it is" in wrong and "not this one" in wrong, (path, code, said, wrong)
    assert len(house.sink.taken) == count == 8
    received = lambda: [event for event in house.relay.log() if event["event"] == "received"]
    until(lambda: len(received()) >= 8, "the log has all of them")
    events = received()
    assert [event.get("category") for event in events] == ["orders"] * 8, events
    house.relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
