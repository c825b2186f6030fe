"""Recipients that unsubscribe from the real binary's mail, by one click and by mail: `unsubscribe.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import json
import os
import random
import re
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from email import message_from_bytes

from certificate import Authority
from feedback import LISTENER, OURS, client, come_back, listed
from ports import free_port
from relay import Relay
from signed import Keys
from sink import Sink
from suppression import BINARY, QUICK, metric, reload, suppress, until

FIELD = re.compile(r"^<https://u\.example\.net:\d+(/u/u1[-_A-Za-z0-9]+)>,\s+<mailto:(unsubscribe@bounces\.relay\.example)\?subject=(u1[-_A-Za-z0-9]+)>$")
ONE_CLICK = b"List-Unsubscribe=One-Click"


class Node:
    """A relay whose mail of `shop` gets a way out, and whoever follows it."""

    def __init__(self):
        self.sink, self.keys = Sink(), Keys()
        self.keys.make("a.example", "s1")
        self.keys.make("a.example", "s2", "ED25519")
        self.directory = tempfile.mkdtemp(prefix="relevo-unsubscribe-")
        self.authority = Authority(self.directory)
        self.authority.certify("u.example.net")
        self.https, self.http = free_port(), free_port()
        self.relay = Relay(BINARY, self.sink, self.settings(), listener=LISTENER, auto=True)

    def settings(self, name="u.example.net"):
        chain, key = (self.authority.file(f"{name}.{kind}") for kind in ("pem", "key"))
        return (
            f'{QUICK}[bounces]\nverp_domain = "bounces.relay.example"\n[dkim]\nkeys = "{self.keys.path}"\n'
            f'[public]\nhttps = "127.0.0.1:{self.https}"\nhttp = "127.0.0.1:{self.http}"\nhost = "u.example.net:{self.https}"\n'
            f'tls_certificate = "{chain}"\ntls_key = "{key}"\n'
            '[[rule]]\nmatch = { header = { name = "X-Relevo-Tenant", pattern = "^shop$" } }\nset = { campaign = "autumn", unsubscribe = true }\n'
        )

    def send(self, recipients, header="X-Relevo-Tenant: shop\r\n"):
        one = client(self.relay, OURS)
        one.sendmail("me@a.example", recipients, f"{header}From: me@a.example\r\nTo: x@b.example\r\nSubject: offers\r\nMessage-ID: <1@a.example>\r\nDate: Sun, 29 Nov 2026 09:00:00 +0000\r\n\r\nx\r\n")
        one.quit()

    def sent(self, recipient, **how):
        """Sends to one, and what came: its body, and the path and the token in its field."""
        before = len(self.sink.taken)
        self.send([recipient], **how)
        self.sink.wait(before + 1)
        body = self.sink.taken[-1].body
        fields = message_from_bytes(body).get_all("List-Unsubscribe")
        found = FIELD.match(" ".join(fields[0].split()))
        return body, found[1], found[3]

    def curl(self, path, *more):
        """The status and the page, over TLS to who proves to be that host."""
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--cacert", self.authority.pem, "--resolve", f"u.example.net:{self.https}:127.0.0.1"]
            + ["--write-out", "\n%{http_code}", *more, f"https://u.example.net:{self.https}{path}"],
            capture_output=True, text=True, timeout=30,
        )
        assert done.returncode == 0, done.stderr
        page, status = done.stdout.rsplit("\n", 1)
        return int(status), page

    def post(self, path, data=ONE_CLICK):
        """Of a web server in front."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", data=data)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def is_refused(self, recipient, header="X-Relevo-Tenant: shop\r\n"):
        try:
            self.send([recipient], header)
            return False
        except (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError) as error:
            return "5.7.1" in str(error)


def one_click_unsubscribes():
    node = Node()
    relay = node.relay
    body, path, token = node.sent("ada@b.example")
    message = message_from_bytes(body)
    assert message.get_all("List-Unsubscribe-Post") == ["List-Unsubscribe=One-Click"] and path == f"/u/{token}", message
    assert b"ada" not in token.encode() and max(map(len, body.split(b"\r\n"))) <= 998
    # It is signed with the rest.
    (verdicts,) = node.keys.verify([body])
    assert [verdict[3] for verdict in verdicts] == ["right", "right"], verdicts
    covered = [re.search(r"h=([^;]*);", " ".join(field.split()))[1].replace(" ", "").lower().split(":") for field in message.get_all("DKIM-Signature")]
    assert all("list-unsubscribe" in names and "list-unsubscribe-post" in names for names in covered), covered
    # Who only looks, as scanners do, changes nothing.
    status, page = node.curl(path)
    assert status == 200 and "ada@b.example" in page and "<form" in page, page
    status, page = node.curl(path, "--head")
    assert status == 200 and "no-referrer" in page and "no-store" in page, page
    assert node.curl(path, "--data", "List-Unsubscribe=No")[0] == 400
    assert node.curl("/")[0] == 404 and node.curl("/u/u1AAAA")[0] == 404 and node.curl(path[:-3], "--data", ONE_CLICK.decode())[0] == 404
    assert node.curl(path, "--request", "DELETE")[0] == 405 and node.curl(path, "--data", "x" * 20_000)[0] == 413
    assert not listed(relay, "ada@b.example") and not node.is_refused("ada@b.example")
    # Mail clients post form data of either kind.
    status, page = node.curl(path, "--data", ONE_CLICK.decode())
    assert status == 200 and "ada@b.example will get no more" in page, page
    (entry,) = listed(relay, "ada@b.example")
    assert (entry["reason"], entry["note"]) == ("unsubscribe", "campaign autumn"), entry
    assert node.is_refused("ada@b.example") and not node.is_refused("ada@b.example", "X-Relevo-Tenant: other\r\n")
    assert node.curl(path, "--data", ONE_CLICK.decode())[0] == 200, "a click again is a click"
    _, path, _ = node.sent("bob@b.example")
    assert node.curl(path, "--form", "List-Unsubscribe=One-Click")[0] == 200 and listed(relay, "bob@b.example")
    (first, second) = [event for event in relay.wait_log("admin", 2) if event["action"] == "suppress"]
    assert (first["filter"], first["reason"], second["filter"]) == ("ada@b.example", "unsubscribed by one click", "bob@b.example"), first
    assert metric(relay, "unsubscribes_total") == 3 and metric(relay, 'unsubscribes_total{by="one_click"}') == 2
    # A sender's own way out stays as it is, and of several recipients none gets another's.
    before = len(node.sink.taken)
    node.send(["cy@b.example"], "X-Relevo-Tenant: shop\r\nList-Unsubscribe: <mailto:out@a.example>\r\n")
    node.send(["dan@b.example", "eve@b.example"])
    node.send(["fay@b.example"], "X-Relevo-Tenant: other\r\n")
    node.sink.wait(before + 4)
    fields = [message_from_bytes(taken.body).get_all("List-Unsubscribe") for taken in node.sink.taken[before:]]
    assert sorted(map(str, fields)) == ["None"] * 3 + ["['<mailto:out@a.example>']"], fields
    text = urllib.request.urlopen(f"http://127.0.0.1:{relay.http}/metrics", timeout=10).read().decode()
    lines = [line for line in text.splitlines() if line.startswith("relevo_unsubscribe_fields_total{")]
    counts = [sum(int(line.split()[-1]) for line in lines if f'"{result}"' in line) for result in ("added", "present", "several_recipients", "too_long", "signed")]
    assert counts == [3, 1, 1, 0, 0], counts
    # The certificate is read again.
    node.authority.certify("v.example.net")
    reload(relay, node.settings("v.example.net"))
    context = ssl.create_default_context(cafile=node.authority.pem)
    context.check_hostname = False
    with context.wrap_socket(socket.create_connection(("127.0.0.1", node.https)), server_hostname="v.example.net") as shown:
        assert ("DNS", "v.example.net") in shown.getpeercert()["subjectAltName"]
    assert os.stat(f"{relay.data_dir}/unsubscribe.key").st_mode & 0o777 == 0o600
    relay.stop()


def mail_unsubscribes():
    node = Node()
    relay = node.relay
    _, _, token = node.sent("ada@b.example")
    _, path, other = node.sent("bob@b.example")
    mail = lambda to, subject: come_back(relay, to, f"From: somebody@b.example\nSubject: {subject}\n\n\n", "somebody@b.example")
    assert mail("Unsubscribe@bounces.relay.example", f"Re: {token}") == [250, 250, 250]
    (entry,) = until(lambda: listed(relay, "ada@b.example"))
    assert entry["reason"] == "unsubscribe", entry
    # Forged, cut, or without a token: nobody is on the list by that.
    assert mail("unsubscribe@bounces.relay.example", other[:-2] + "AA") == [250, 250, 250]
    assert mail("unsubscribe@bounces.relay.example", "bob@b.example") == [250, 250, 250]
    told = [event["reply"] for event in relay.wait_log("discarded", 2)]
    assert any("never wrote that link" in words for words in told), told
    assert not listed(relay, "bob@b.example") and [taken for taken in node.sink.taken if not taken.sender] == [], "none of it is answered"
    # Links hold over a restart.
    relay.kill()
    relay.start()
    assert node.post(path) == 200 and listed(relay, "bob@b.example")
    relay.stop()


def a_kill_behind_a_click_loses_nothing():
    seed = int(os.environ.get("RELEVO_SEED", random.randrange(2**32)))
    print("RELEVO_SEED", seed)
    dice, node = random.Random(seed), Node()
    relay = node.relay
    everybody = [f"u{number}@d{number % 3}.example" for number in range(24)]
    ways = {recipient: node.sent(recipient)[1:] for recipient in everybody}
    for life in range(6):
        for recipient in everybody[4 * life : 4 * life + 4]:
            path, token = ways[recipient]
            if dice.random() < 0.5:
                assert node.post(path) == 200
            else:
                told = come_back(relay, "unsubscribe@bounces.relay.example", f"Subject: {token}\n\n\n", "a@b.example")
                assert told == [250, 250, 250]
        time.sleep(dice.choice([0, 0.01, 0.05, 0.2]))
        relay.kill()
        relay.start()
    until(lambda: metric(relay, "spool_messages") == 0, 60)
    for recipient in everybody:
        assert until(lambda: listed(relay, recipient)), recipient
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
