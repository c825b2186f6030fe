"""Mail over HTTP, by curl's like and by the clients of Mailtrap: `handed_in.py STORY BINARY`."""
import base64
import email
import email.policy
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from certificate import Authority
from ports import free_port
from relay import Relay
from sink import Sink
from suspensions import until

CLIENTS = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", "target", "clients"))


class Api:
    """A relay that takes mail over HTTP, and who may send."""

    def __init__(self, more="", tls=None, accounts="", sink=None, address="127.0.0.1", port=None):
        self.directory = tempfile.mkdtemp(prefix="relevo-api-")
        self.sink, self.port, self.address = sink or Sink(), port or free_port(), address
        self.tokens = {}
        for name, role, tenant in (("shop", "send", "shop"), ("free", "send", ""), ("ops", "admin", "")):
            words = ["token", "add", name, "--role", role, "--tokens", f"{self.directory}/tokens"] + (["--tenant", tenant] if tenant else [])
            done = subprocess.run([sys.argv[2], *words], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            self.tokens[name] = done.stdout.split()[-1]
        api = f'[api]\nhttp = "{address}:{self.port}"\ntokens = "{self.directory}/tokens"\n'
        if tls:
            api += f'tls_certificate = "{tls[0]}"\ntls_key = "{tls[1]}"\n'
        if accounts:
            with open(f"{self.directory}/accounts.toml", "w") as file:
                file.write(accounts)
            api += f'[auth]\naccounts = "{self.directory}/accounts.toml"\n'
        self.relay = Relay(sys.argv[2], self.sink, api + more)

    def ask(self, path, body, token="free", fields=None, method="POST"):
        """Status, fields and what was answered."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        own = {"Authorization": f"Bearer {self.tokens.get(token, token)}"} if token else {}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, data, {**own, **(fields or {})})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, answer.headers, json.loads(text) if text else None

    def arrived(self, count):
        """What came to the hop, read, when there are so many recipients of it."""
        self.sink.wait(count)
        return [email.message_from_bytes(message.body, policy=email.policy.default) for message in self.sink.taken]

    def received(self, count):
        """What came, by its ids, when the log tells of so many."""
        found = {}

        def told():
            found.update((event["id"], event) for event in self.relay.log() if event["event"] == "received")
            return len(found) >= count

        until(told)
        return found

    def stop(self):
        self.relay.stop()
        shutil.rmtree(self.directory)


def mail(**more):
    return {"from": {"email": "app@shop.example", "name": "Ada Ünder"}, "to": [{"email": "bob@example.org"}], "subject": "Grüße", "text": "hello\n", **more}


def messages_are_taken_as_they_are_said():
    """All that a request says is in the message and in its events; what is wrong with one is told field by field."""
    api = Api('[[rule]]\nmatch = { account = "free" }\nset = { campaign = "by-api" }\n')
    png = base64.b64encode(b"picture").decode()
    more = {
        "cc": [{"email": "carol@example.org"}], "bcc": [{"email": "dan@example.org"}], "html": '<p>hello <img src="cid:logo"></p>', "reply_to": {"email": "re@shop.example"},
        "category": "welcome", "custom_variables": {"order": 7}, "headers": {"X-Own": "yes"},
        "attachments": [{"content": png, "filename": "l.png", "type": "image/png", "disposition": "inline", "content_id": "logo"}, {"content": png, "filename": "Bild.png"}],
    }
    status, _, answer = api.ask("/api/send", mail(**more))
    assert status == 200 and answer["success"] and len(answer["message_ids"]) == 1, answer
    read = api.arrived(3)[0]
    assert sorted(api.sink.recipients()) == ["bob@example.org", "carol@example.org", "dan@example.org"]
    assert read["Subject"] == "Grüße" and read["From"].addresses[0].display_name == "Ada Ünder" and read["X-Own"] == "yes" and read["Bcc"] is None
    assert "example.org" not in str(read["Received"]) and read["Message-ID"] and read["Date"]
    assert read.get_body(("plain",)).get_content().strip() == "hello" and "cid:logo" in read.get_body(("html",)).get_content()
    files = {part.get_filename(): part.get_payload(decode=True) for part in read.walk() if part.get_content_disposition() == "attachment"}
    inline = [part["Content-ID"] for part in read.walk() if part.get_content_disposition() == "inline"]
    assert files == {"Bild.png": b"picture"} and inline == ["<logo>"], read.as_string()
    received = api.received(1)[answer["message_ids"][0]]
    assert (received["account"], received["campaign"], received["category"], received["metadata"]) == ("free", "by-api", "welcome", {"order": 7}), received
    for body, status, words in (
        ({}, 400, "'from' is required"),
        (mail(to=[{"email": "nobody"}]), 400, "'to[0]' address is invalid"),
        (mail(subject="a\r\nBcc: x@evil.example"), 400, "control character"),
        (mail(headers={"X-Relevo-Tenant": "bank"}), 400, "instruction"),
        (b"{", 400, "no message as JSON"),
        (b'{"to": "x"}', 400, "no message as JSON"),
        (b"[" * 100_000, 400, "no message as JSON"),
        (b'{"custom_variables":{"a":' + b"[" * 100_000, 400, "recursion limit"),
        (b"\xff\xfe", 400, "no message as JSON"),
    ):
        told = api.ask("/api/send", body)
        assert told[0] == status and not told[2]["success"] and words in " ".join(told[2]["errors"]), (body if len(body) < 999 else "", told)
    assert api.ask("/api/sent", {})[0] == 404 and api.ask("/api/send", None, method="GET")[0] == 405
    api.stop()


def only_who_may_send_does():
    """Tokens by role, tenants apart, and accounts with rights of their own."""
    accounts = '[[account]]\nname = "shop"\nsenders = ["@shop.example"]\nrate = "3/h"\npassword = "$argon2id$v=19$m=4096,t=3,p=1$YWJjZGVmZ2g$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"\n'
    api = Api('[[rule]]\nmatch = { sender = "bank@shop.example" }\nset = { tenant = "bank" }\n', accounts=accounts)
    assert api.ask("/api/send", mail(), token=None)[0] == 401
    status, fields, answer = api.ask("/api/send", mail(), token="wrong")
    assert status == 401 and fields["WWW-Authenticate"] and answer == {"success": False, "errors": ["Unauthorized"]}
    assert api.ask("/api/send", mail(), token="ops")[0] == 403, "an admin's token sends nothing"
    status, _, answer = api.ask("/api/send", mail(), token=None, fields={"Api-Token": api.tokens["shop"]})
    assert status == 200, answer
    status, _, answer = api.ask("/api/send", mail(**{"from": {"email": "x@bank.example"}}), token="shop")
    assert status == 403 and "may not send as" in answer["errors"][0], answer
    status, _, answer = api.ask("/api/send", mail(**{"from": {"email": "bank@shop.example"}}), token="shop")
    assert status == 403 and "its own tenant alone" in answer["errors"][0], answer
    raw = b"From: a@shop.example\nSubject: raw\nX-Relevo-Tenant: bank\n\nhello\n"
    status, _, answer = api.ask("/api/send/raw?from=b@shop.example&to=bob@example.org", raw, token="shop")
    assert status == 400 and "x-relevo-tenant" in answer["errors"][0], answer
    # A line of blanks goes on with the field before, and ends no header section.
    raw = b"From: a@shop.example\nSubject: raw\n \nX-Job: stolen\n\nhello\n"
    for text in (raw, b"From x@y\n" + raw, raw.replace(b"\n", b"\r\n")):
        status, _, answer = api.ask("/api/send/raw?from=b@shop.example&to=bob@example.org", text, token="shop")
        assert status == 400 and "x-job" in answer["errors"][0], answer
    # What was refused counts for no rate.
    assert [api.ask("/api/send", mail(), token="shop")[0] for _ in range(3)] == [200, 200, 429]
    api.arrived(3)
    received = api.received(3)
    assert {(event["account"], event["tenant"]) for event in received.values()} == {("shop", "shop")}, received
    # Who only sends is not told what became of it, and who may read is told of days alone.
    assert api.ask("/api/stats", b"", token="shop", method="GET")[0] == 403
    assert api.ask("/api/stats?start_date=never", b"", token="ops", method="GET")[0] == 400
    assert api.ask("/api/stats/planets", b"", token="ops", method="GET")[0] == 404
    assert api.ask("/api/stats/date", b"", token="ops", method="GET")[0] == 200
    # A token may nothing else.
    for path in ("/control/v1/status", "/control/v1/queue"):
        connection = http.client.HTTPConnection("127.0.0.1", api.relay.http, timeout=10)
        connection.request("GET", path, headers={"Authorization": f"Bearer {api.tokens['free']}"})
        assert connection.getresponse().status in (401, 403), path
    api.stop()


def raw_mail_goes_byte_for_byte():
    api = Api()
    body = b"From: a@shop.example\r\nSubject: raw\r\nBcc: hidden@example.org\r\nDate: Tue, 1 Dec 2026 00:00:00 +0000\r\nMessage-ID: <1@shop.example>\r\n\r\n.dot\r\n\r\nlast\r\n"
    status, _, answer = api.ask("/api/send/raw?from=bounce@shop.example&to=bob@example.org,eve@example.org&to=dan@example.org&metadata=%7B%22a%22%3A1%7D", body)
    assert status == 200, answer
    api.arrived(3)
    taken = api.sink.taken[0]
    assert taken.sender == "bounce@shop.example" and taken.body.endswith(b"\r\n\r\n.dot\r\n\r\nlast\r\n") and b"Bcc" not in taken.body, taken.body
    for query, words in (("to=bob@example.org", "'from' is required"), ("from=a@b.example", "'to' is required"), ("from=a@b.example&to=x", "invalid"), ("from=a@b.example&to=b@c.example&tenant=x", "nothing to say")):
        status, _, answer = api.ask(f"/api/send/raw?{query}", body)
        assert status == 400 and words in answer["errors"][0], answer
    status, _, answer = api.ask("/api/send/raw?from=a@b.example&to=b@c.example", b"Subject: bare\r\n\r\n" + b"x" * 100_000 + b"\r\n")
    assert status in (200, 400, 403), answer
    api.stop()


def batches_are_answered_one_by_one():
    api = Api()
    requests = [{"to": [{"email": f"r{number}@example.org"}], "custom_variables": {"n": number}} for number in range(300)]
    requests[7] = {"to": [{"email": "nobody"}]}
    requests[9] = {"to": 5}
    base = mail()
    del base["to"]
    status, _, answer = api.ask("/api/batch", {"base": base, "requests": requests})
    assert status == 200 and answer["success"] and len(answer["responses"]) == 300, answer
    wrong = [place for place, one in enumerate(answer["responses"]) if not one["success"]]
    assert wrong == [7, 9] and "'to[0]'" in answer["responses"][7]["errors"][0], wrong
    api.arrived(298)
    assert len(set(api.sink.recipients())) == 298
    by_id = {name: event["metadata"]["n"] for name, event in api.received(298).items()}
    assert all(by_id[one["message_ids"][0]] == place for place, one in enumerate(answer["responses"]) if one["success"])
    assert api.ask("/api/batch", {"base": base, "requests": []})[0] == 400 and api.ask("/api/batch", {})[0] == 400
    api.stop()


def mail_is_made_of_templates():
    """Those of the token's tenant, and nobody else's."""
    api = Api()

    def relevo(*words, text=None):
        done = subprocess.run([sys.argv[2], *words, "--config", f"{api.relay.directory}/relevo.toml"], input=text, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with open(f"{api.directory}/hello.html", "w") as file:
        file.write("<style>p { color: red }</style><p>Hello {{name}}</p>")
    made = relevo("template", "add", "hello", "--tenant", "shop", "--subject", "For {{name}}", "--html", f"{api.directory}/hello.html", "--json")
    uuid = json.loads(made)["template"]["uuid"]
    body = {"from": {"email": "app@shop.example"}, "to": [{"email": "bob@example.org"}], "template_uuid": uuid, "template_variables": {"name": "<Bob> Ü"}}
    status, _, answer = api.ask("/api/send", body, token="shop")
    assert status == 200, answer
    read = api.arrived(1)[0]
    assert read["Subject"] == "For <Bob> Ü" and "Hello &lt;Bob&gt; Ü" in read.get_body(("html",)).get_content(), read.as_string()
    assert "Hello <Bob> Ü" in read.get_body(("plain",)).get_content()
    for token, more, words in (("free", {}, "no template of this token's tenant"), ("shop", {"template_variables": {}}, "name"), ("shop", {"subject": "x"}, "not allowed with 'template_uuid'")):
        status, _, answer = api.ask("/api/send", {**body, **more}, token=token)
        assert status == 400 and words in answer["errors"][0], answer
    requests = [{"to": [{"email": f"t{n}@example.org"}], "template_variables": {"name": f"N{n}"}} for n in range(20)]
    base = {"from": {"email": "app@shop.example"}, "template_uuid": uuid}
    status, _, answer = api.ask("/api/batch", {"base": base, "requests": requests}, token="shop")
    assert status == 200 and all(one["success"] for one in answer["responses"]), answer
    subjects = {str(message["Subject"]) for message in api.arrived(21)}
    assert subjects == {"For <Bob> Ü", *(f"For N{n}" for n in range(20))}, subjects
    api.stop()


def a_key_sends_once():
    """The same request with the same key is answered the same, also after kills; another request with it is refused."""
    api = Api()
    key = {"Idempotency-Key": "order-7"}
    first = api.ask("/api/send", mail(), fields=key)
    again = api.ask("/api/send", mail(), fields=key)
    assert first[0] == again[0] == 200 and first[2] == again[2] and again[1]["Idempotent-Replayed"] == "true", (first, again)
    assert api.ask("/api/send", mail(subject="another"), fields=key)[0] == 422
    assert api.ask("/api/send", mail(), fields=key, token="shop")[2] != first[2], "a key is that of a token"
    assert api.ask("/api/send", mail(to=[]), fields={"Idempotency-Key": "mended"})[0] == 400
    assert api.ask("/api/send", mail(), fields={"Idempotency-Key": "mended"})[0] == 200, "what was refused may be mended"
    assert api.ask("/api/send", mail(), fields={"Idempotency-Key": "x" * 300})[0] == 400
    requests = [{"to": [{"email": f"b{number}@example.org"}]} for number in range(50)]
    batch = {"base": {name: value for name, value in mail().items() if name != "to"}, "requests": requests}
    one, other = (api.ask("/api/batch", batch, fields={"Idempotency-Key": "batch"})[2] for _ in range(2))
    assert one == other and len({response["message_ids"][0] for response in one["responses"]}) == 50
    many = {**batch, "requests": [{"to": [{"email": f"m{number}@example.org"}]} for number in range(3000)]}
    assert api.ask("/api/batch", {**many, "requests": many["requests"] * 4}, fields={"Idempotency-Key": "more"})[0] == 400
    one, other = (api.ask("/api/batch", many, fields={"Idempotency-Key": "many"})[2] for _ in range(2))
    assert one == other and all(response["success"] for response in one["responses"])
    # Who hangs up and asks again gets the answer to what he asked first.
    for number in range(20):
        name = f"h{number}"
        body = json.dumps(mail(to=[{"email": f"{name}@example.org"}])).encode()
        connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=30)
        connection.request("POST", "/api/send", body, {"Authorization": f"Bearer {api.tokens['free']}", "Idempotency-Key": name})
        time.sleep(number / 5000)
        connection.close()
        until(lambda: api.ask("/api/send", body, fields={"Idempotency-Key": name})[0] != 409)
    answers, over = {}, threading.Event()

    def client(number):
        for count in range(100_000):
            name, sent = f"i{number}.{count}", 0
            while not over.is_set():
                try:
                    status, _, answer = api.ask("/api/send", mail(to=[{"email": f"{name}@example.org"}]), fields={"Idempotency-Key": name})
                    if status == 200:
                        assert answers.setdefault(name, answer) == answer, name
                        sent += 1
                        if sent == 2:
                            break
                except (OSError, http.client.HTTPException, ValueError):
                    time.sleep(0.02)
            if over.is_set():
                return

    clients = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    [one.start() for one in clients]
    for _ in range(3):
        time.sleep(1.5)
        api.relay.kill()
        api.relay.start()
    time.sleep(0.5)
    over.set()
    [one.join() for one in clients]
    until(lambda: {f"{name}@example.org" for name in answers} <= set(api.sink.recipients()))
    # Where a kill came between the message and its answer it goes out again, under the same Message-ID.
    ids = {}
    for message in api.sink.taken:
        for recipient in message.recipients:
            if recipient.startswith(("i", "h")):
                ids.setdefault(recipient, []).append(email.message_from_bytes(message.body)["Message-ID"])
    twice = {recipient: found for recipient, found in ids.items() if len(found) > 1}
    assert all(len(set(found)) == 1 for found in ids.values()) and not any(name.startswith("h") for name in twice), twice
    api.stop()


def templates_are_kept_in_mailtraps_shapes():
    """Made, changed, listed and removed; those of the token's tenant alone, and by who may."""
    api = Api()
    words = ["token", "add", "keeper", "--role", "operate", "--tenant", "shop", "--tokens", f"{api.directory}/tokens"]
    done = subprocess.run([sys.argv[2], *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    api.tokens["keeper"] = done.stdout.split()[-1]
    done = subprocess.run([sys.argv[2], "reload", "--config", f"{api.relay.directory}/relevo.toml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    path = "/api/accounts/1/email_templates"
    new = {"email_template": {"name": "order", "subject": "S {{a}}", "category": "c", "body_html": "<p>{{a}}</p>"}}
    for token, method, status in (("shop", "GET", 403), ("shop", "POST", 403), ("wrong", "POST", 401), ("", "GET", 401)):
        assert api.ask(path, new, token=token, method=method)[0] == status, (token, method)
    status, _, made = api.ask(path, new, token="keeper")
    assert status == 201 and made["body_html"] == "<p>{{a}}</p>" and made["body_text"] is None, made
    assert api.ask(path, new, token="keeper")[0] == 422
    assert api.ask(path, b"{", token="keeper")[0] == 400
    status, _, answer = api.ask(path, {"email_template": {**new["email_template"], "name": "x", "body_html": "a\n{{#if b}}"}}, token="keeper")
    assert status == 422 and "html, line 2, column 1: {{#if}} is never closed" in answer["errors"][0], answer
    one = f"{path}/{made['id']}"
    assert api.ask(one, b"", token="ops", method="GET")[0] == 404, "it is the tenant's"
    status, _, changed = api.ask(one, {"email_template": {"subject": "T"}}, token="keeper", method="PATCH")
    assert status == 200 and (changed["subject"], changed["name"], changed["body_html"]) == ("T", "order", "<p>{{a}}</p>"), changed
    assert [found["uuid"] for found in api.ask(path, b"", token="keeper", method="GET")[2]] == [made["uuid"]]
    mail = {"from": {"email": "app@shop.example"}, "to": [{"email": "bob@example.org"}], "template_uuid": made["uuid"], "template_variables": {"a": 1}}
    assert api.ask("/api/send", mail, token="shop")[0] == 200
    assert api.ask(one, b"", token="keeper", method="DELETE")[0] == 204 and api.ask(one, b"", token="keeper", method="GET")[0] == 404
    assert api.ask("/api/send", mail, token="shop")[0] == 400
    api.stop()


def nothing_that_was_taken_is_lost_by_kills():
    """Each 200 is a message that arrives, though the relay is killed in the middle."""
    api = Api()
    taken, over = [], threading.Event()

    def client(number):
        for count in range(100_000):
            if over.is_set():
                return
            address = f"k{number}.{count}@example.org"
            try:
                if api.ask("/api/send", mail(to=[{"email": address}]))[0] == 200:
                    taken.append(address)
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.02)

    clients = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    [one.start() for one in clients]
    for _ in range(4):
        time.sleep(1)
        api.relay.kill()
        api.relay.start()
    over.set()
    [one.join() for one in clients]
    end = time.monotonic() + 60
    while missing := set(taken) - set(api.sink.recipients()):
        assert time.monotonic() < end, f"{len(missing)} of {len(taken)} did not arrive"
        time.sleep(0.1)
    assert len(taken) > 100, len(taken)
    api.stop()


def clients_of_mailtrap_work():
    """Unchanged, but for the name of the host: for Python it is said, for Node the machine's names lead here."""
    hosts = ("send.api.mailtrap.io", "bulk.api.mailtrap.io", "mailtrap.io")
    with tempfile.TemporaryDirectory() as directory:
        authority = Authority(directory)
        authority.certify(",DNS:".join(hosts))
        chain, key = (authority.file(f"{',DNS:'.join(hosts)}.{kind}") for kind in ("pem", "key"))
        api = Api(tls=(chain, key), address="127.0.7.1", port=443)
        names = f"{directory}/hosts"
        with open(names, "w") as file:
            file.write("127.0.0.1 localhost\n" + "".join(f"127.0.7.1 {host}\n" for host in hosts))
        env = {**os.environ, "REQUESTS_CA_BUNDLE": authority.pem, "NODE_EXTRA_CA_CERTS": authority.pem, "TOKEN": api.tokens["free"], "OPS": api.tokens["ops"], "NODE_PATH": f"{CLIENTS}/mailtrap/node_modules"}
        python = """
import os, mailtrap as mt
client = mt.MailtrapClient(token=os.environ["TOKEN"])
to = mt.Address(email="py@example.org", name="Py")
letter = mt.Mail(sender=mt.Address(email="app@shop.example", name="Äda"), to=[to], subject="by Python", text="hello", html="<b>hello</b>", category="c", custom_variables={"a": 1},
    attachments=[mt.Attachment(content=b"aGVsbG8=", filename="a.txt", mimetype="text/plain", disposition=mt.Disposition.ATTACHMENT)], headers={"X-Own": "1"})
answer = client.send(letter)
assert answer["success"] and len(answer["message_ids"]) == 1, answer
batch = mt.BatchSendEmailParams(base=mt.BatchMail(sender=mt.Address(email="app@shop.example"), subject="batch", text="t"),
    requests=[mt.BatchEmailRequest(to=[mt.Address(email=f"py{n}@example.org")]) for n in range(3)])
answer = client.batch_send(batch)
assert answer["success"] and all(one["success"] for one in answer["responses"]), answer
try:
    client.send(mt.Mail(sender=mt.Address(email="bad"), to=[to], subject="x", text="t"))
    raise SystemExit("it was taken")
except mt.APIError as error:
    assert "'from' address is invalid" in str(error), error
try:
    mt.MailtrapClient(token="wrong").send(letter)
    raise SystemExit("it was let in")
except mt.AuthorizationError:
    pass
from mailtrap.models.templates import CreateEmailTemplateParams, UpdateEmailTemplateParams
kept = mt.MailtrapClient(token=os.environ["OPS"], account_id="7").email_templates_api.templates
made = kept.create(CreateEmailTemplateParams(name="py", subject="For {{who}}", category="greetings", body_html="<p>Hello {{who}}</p>"))
assert kept.get_by_id(made.id) == made and [one.uuid for one in kept.get_list()] == [made.uuid], made
changed = kept.update(made.id, UpdateEmailTemplateParams(body_text="Hello {{who}}, in words"))
assert changed.body_html == made.body_html and changed.body_text == "Hello {{who}}, in words", changed
answer = client.send(mt.MailFromTemplate(sender=mt.Address(email="app@shop.example"), to=[to], template_uuid=made.uuid, template_variables={"who": "Py"}))
assert answer["success"], answer
try:
    kept.create(CreateEmailTemplateParams(name="bad", subject="x", category="c", body_html="{{#if a}}"))
    raise SystemExit("it was taken")
except mt.APIError as error:
    assert "never closed" in str(error), error
kept.delete(made.id)
assert kept.get_list() == []
import time, datetime
from mailtrap import StatsFilterParams
stats, end = mt.MailtrapClient(token=os.environ["OPS"], account_id="7").stats_api, time.time() + 30
today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
asked = StatsFilterParams(start_date=today, end_date=datetime.datetime.now(datetime.timezone.utc).date().isoformat())
while stats.get(7, asked).delivery_count < 5:
    assert time.time() < end, stats.get(7, asked)
    time.sleep(0.3)
assert stats.get(7, asked).delivery_rate == 1.0
by = {one.value: one.stats.delivery_count for one in stats.by_category(7, StatsFilterParams(start_date=today, categories=["c"]))}
assert by == {"c": 1}, by
assert sum(one.stats.delivery_count for one in stats.by_date(7, asked)) == stats.get(7, asked).delivery_count
assert sum(one.stats.delivery_count for one in stats.by_email_service_provider(7, asked)) == stats.get(7, asked).delivery_count
try:
    stats.by_domain(7, asked)
    raise SystemExit("it was told")
except mt.APIError as error:
    assert "not counted by sending domain" in str(error), error
"""
        node = """
const { MailtrapClient } = require("mailtrap");
(async () => {
  const client = new MailtrapClient({ token: process.env.TOKEN });
  const letter = { from: { email: "app@shop.example", name: "Ada" }, to: [{ email: "js@example.org" }], subject: "by Node", text: "hello", category: "c", custom_variables: { a: 1 },
    attachments: [{ filename: "a.txt", content: Buffer.from("hello").toString("base64"), type: "text/plain", disposition: "attachment" }] };
  const answer = await client.send(letter);
  if (!answer.success || answer.message_ids.length !== 1) throw new Error(JSON.stringify(answer));
  const batch = await client.batchSend({ base: { from: { email: "app@shop.example" }, subject: "batch", text: "t" }, requests: [1, 2].map((n) => ({ to: [{ email: `js${n}@example.org` }] })) });
  if (!batch.responses.every((one) => one.success)) throw new Error(JSON.stringify(batch));
  let wrong = "";
  try { await client.send({ ...letter, from: { email: "bad" } }); } catch (error) { wrong = error.message; }
  if (!wrong.includes("address is invalid")) throw new Error("told: " + wrong);
  const { templates } = new MailtrapClient({ token: process.env.OPS, accountId: 7 });
  const made = await templates.create({ name: "js", subject: "s", category: "c", body_html: "<p>{{a}}</p>" });
  await templates.update(made.id, { name: "js2" });
  const got = await templates.get(made.id);
  if (got.name !== "js2" || got.body_html !== "<p>{{a}}</p>" || (await templates.getList()).length !== 1) throw new Error(JSON.stringify(got));
  await templates.delete(made.id);
  const { stats } = new MailtrapClient({ token: process.env.OPS, accountId: 7 });
  const today = new Date().toISOString().slice(0, 10);
  const all = await stats.get({ start_date: today, end_date: new Date().toISOString().slice(0, 10) });
  const days = await stats.byDate({ start_date: today, end_date: new Date().toISOString().slice(0, 10) });
  if (!(all.delivery_count >= 5) || days.reduce((sum, one) => sum + one.stats.delivery_count, 0) < all.delivery_count) throw new Error(JSON.stringify([all, days]));
})().catch((error) => { console.error(error); process.exit(1); });
"""
        # Names of this machine alone, seen by these clients alone.
        inside = f"mount --bind {names} /etc/hosts && exec \"$@\""
        for command in ([f"{CLIENTS}/venv/bin/python", "-c", python], ["node", "-e", node]):
            done = subprocess.run(["unshare", "-m", "sh", "-c", inside, "sh", *command], env=env, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stdout + done.stderr
        subjects = [str(message["Subject"]) for message in api.arrived(8)]
        assert sorted(set(subjects)) == ["For Py", "batch", "by Node", "by Python"], subjects
        api.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
