"""Captured mail with the real binary, by Mailpit's API: `sandbox.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

from clients import INSTALLED, tool
from http_api import Guarded
from suppression import QUICK, metric, until

ROUTE = '[[route]]\ndomain = "*"\nto = "smtp://127.0.0.1:{port}"\n[[route]]\ndomain = "*.test.example"\nto = "capture"\n'


class Sandbox(Guarded):
    def __init__(self, more="", **kinds):
        super().__init__(more=QUICK + more, **kinds)

    def write(self):
        self.route = ROUTE.format(port=self.sink.port)
        super().write()

    def ask(self, method, path, body=None, by="operate", code=200):
        """The answer and its fields."""
        url = f"http://127.0.0.1:{self.http}{path}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Authorization": f"Bearer {self.secrets[by]}"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                status, text, fields = answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            status, text, fields = error.code, error.read(), error.headers
        assert status == code, (method, path, status, text)
        return (json.loads(text) if fields.get_content_type() == "application/json" else text), fields

    def find(self, query, **more):
        return self.ask("GET", "/api/v1/search?" + urllib.parse.urlencode({"query": query, **more}))[0]

    def subjects(self, query):
        return [message["Subject"] for message in self.find(query)["messages"]]

    def kept(self):
        file = sqlite3.connect(f"{self.data_dir}/sandbox.db", timeout=30)
        rows = file.execute("SELECT r.address, w.bytes FROM recipient r JOIN raw w ON w.message = r.message ORDER BY 1").fetchall()
        file.close()
        return rows


def mail(number, body="Hello", kind="text/plain"):
    return (
        f"From: Ada <ada@a.example>\r\nTo: u{number}@x.test.example\r\nSubject: order {number}\r\nMessage-ID: <{number}@a.example>\r\n"
        f"MIME-Version: 1.0\r\nContent-Type: {kind}\r\n\r\n{body}\r\n"
    ).encode()


def send(relay, recipients, text):
    client = relay.client()
    client.sendmail("me@a.example", recipients, text)
    client.quit()


def what_a_route_captures_is_kept_and_found():
    relay = Sandbox('[sandbox]\nkeep = 12\n')
    for number in range(3):
        send(relay, [f"u{number}@x.test.example", f"hidden{number}@x.test.example", "later@d.example"], mail(number, f"body of {number}"))
    until(lambda: relay.ask("GET", "/api/v1/messages")[0]["total"] == 3)
    events = relay.wait_log("captured", 3)
    assert all(sorted(event["recipients"])[0].startswith("hidden") and event["event_id"].split("-")[1][0] == "a" for event in events), events
    assert metric(relay, "recipients_captured_total") == 6
    assert not [message for message in relay.sink.taken if any("test.example" in one for one in message.recipients)]
    listed = relay.ask("GET", "/api/v1/messages?limit=2", by="read")[0]
    assert [message["Subject"] for message in listed["messages"]] == ["order 2", "order 1"] and listed["unread"] == 3, listed
    first = listed["messages"][0]
    assert (first["From"]["Name"], first["To"][0]["Address"], first["Bcc"][0]["Address"]) == ("Ada", "u2@x.test.example", "hidden2@x.test.example"), first
    assert {event["id"] for event in events} >= {first["ID"]}, "the id of events"
    for query, wanted in [
        ("subject:\"order 1\"", ["order 1"]), ("body", ["order 2", "order 1", "order 0"]), ("bcc:hidden0", ["order 0"]), ("to:hidden0", []),
        ("addressed:hidden2", ["order 2"]), ("message-id:1@a", ["order 1"]), ("-subject:1 order", ["order 2", "order 0"]), ("\"BODY OF 2\"", ["order 2"]),
        ("'; DROP TABLE message; --", []), ('from:"ada@a.example" u0', ["order 0"]), ("larger:1mb", []), ("is:read", []),
    ]:
        assert relay.subjects(query) == wanted, (query, relay.subjects(query))
    shown, _ = relay.ask("GET", f"/api/v1/message/{first['ID']}")
    assert shown["Text"].strip() == "body of 2" and shown["ReturnPath"] == "me@a.example" and relay.subjects("is:read") == ["order 2"], shown
    raw, fields = relay.ask("GET", "/api/v1/message/latest/raw")
    assert raw.startswith(b"Received: ") and raw.endswith(mail(2, "body of 2")) and "sandbox" in fields["Content-Security-Policy"], raw
    # Who only reads changes nothing, and a tenant sees nothing.
    relay.ask("DELETE", "/api/v1/messages", by="read", code=403)
    relay.ask("GET", "/api/v1/messages", by="spy", code=403)
    relay.ask("GET", "/api/v1/message/nobody", code=404)
    relay.ask("DELETE", "/api/v1/search?query=before:", code=400)
    relay.ask("PUT", "/api/v1/tags", {"IDs": [first["ID"]], "Tags": ["Shop", "a<b>"]})
    assert relay.ask("GET", "/api/v1/tags")[0] == ["ab", "Shop"] and relay.subjects("tag:shop") == ["order 2"]
    relay.ask("DELETE", "/api/v1/messages", {"IDs": [first["ID"]]})
    assert relay.subjects("order") == ["order 1", "order 0"]
    # The oldest go.
    for number in range(10, 22):
        send(relay, [f"u{number}@x.test.example"], mail(number))
    until(lambda: relay.find("order")["messages_count"] == 12 and relay.subjects("order")[-1] == "order 10")
    assert os.stat(f"{relay.data_dir}/sandbox.db").st_mode & 0o777 == 0o600
    relay.stop()


def a_kill_loses_nothing_of_it_and_keeps_nothing_twice():
    seed = int(os.environ.get("RELEVO_SEED", random.randrange(2**32)))
    print("RELEVO_SEED", seed)
    dice, relay, told = random.Random(seed), Sandbox(), []
    for life in range(8):
        for number in range(life * 20, life * 20 + 20):
            send(relay, [f"a{number}@x.test.example", f"b{number}@y.test.example"], mail(number))
            told += [f"a{number}@x.test.example", f"b{number}@y.test.example"]
        time.sleep(dice.choice([0, 0, 0.003, 0.01, 0.05]))
        relay.kill()
        relay.start()
    until(lambda: metric(relay, "spool_messages") == 0, 60)
    rows = relay.kept()
    assert [address for address, _ in rows] == sorted(told), "each once"
    assert relay.ask("GET", "/api/v1/messages")[0]["total"] == 160
    for address, text in rows:
        assert text.endswith(mail(int(address.split("@")[0][1:]))), address
    # A damaged file is put aside, and mail waits for nobody.
    relay.kill()
    for more in ("-wal", "-shm"):
        if os.path.exists(f"{relay.data_dir}/sandbox.db{more}"):
            os.remove(f"{relay.data_dir}/sandbox.db{more}")
    with open(f"{relay.data_dir}/sandbox.db", "wb") as file:
        file.write(os.urandom(20000))
    relay.start()
    send(relay, ["c@x.test.example"], mail(999))
    until(lambda: relay.told("sandbox.db.damaged"), 30)
    until(lambda: relay.ask("GET", "/api/v1/messages")[0]["total"] == 1, 30)
    assert [address for address, _ in relay.kept()] == ["c@x.test.example"]
    relay.stop()


HOSTILE = """<html><head><meta http-equiv="refresh" content="0;url=http://127.0.0.1:1/"><base href="http://127.0.0.1:1/"></head><body onload="document.title='run'">
<script>document.title='run'</script><img src="http://127.0.0.1:1/x.png" onerror="document.title='run'"><form action="/api/v1/messages"><input></form>
<iframe src="http://127.0.0.1:1/"></iframe><style>@import url(http://127.0.0.1:1/x.css); * { position: fixed }</style></body></html>""".replace("\n", "\r\n")


def hostile_mail_runs_nothing():
    relay = Sandbox()
    deep = "Content-Type: message/rfc822\r\n\r\n" * 30_000
    boundaries = "".join(f"--b{level}\r\nContent-Type: multipart/mixed; boundary=b{level + 1}\r\n\r\n" for level in range(3000))
    many = "".join(f"--b\r\nContent-Disposition: attachment; filename=\"../../{number}\\\".zip\"\r\n\r\nx\r\n" for number in range(3000))
    send(relay, ["a@x.test.example"], mail(1, HOSTILE, "text/html"))
    send(relay, ["a@x.test.example"], mail(2, deep, "message/rfc822"))
    send(relay, ["a@x.test.example"], mail(3, boundaries, "multipart/mixed; boundary=b0"))
    send(relay, ["a@x.test.example"], mail(4, many, "multipart/mixed; boundary=b"))
    send(relay, ["a@x.test.example"], b"\xff\xfe no header section\r\n")
    until(lambda: relay.ask("GET", "/api/v1/messages")[0]["total"] == 5, 60)
    for message in relay.ask("GET", "/api/v1/messages")[0]["messages"]:
        relay.ask("GET", f"/api/v1/message/{message['ID']}")
        relay.ask("GET", f"/api/v1/message/{message['ID']}/headers")
    page = relay.find("subject:\"order 1\"")["messages"][0]["ID"]
    text, fields = relay.ask("GET", f"/view/{page}.html")
    policy = fields["Content-Security-Policy"]
    assert b"<script>" in text and "sandbox;" in policy and "default-src 'none'" in policy and "allow-scripts" not in policy, policy
    assert fields["X-Content-Type-Options"] == "nosniff"
    parts = relay.ask("GET", f"/api/v1/message/{relay.find('subject:4')['messages'][0]['ID']}")[0]["Attachments"]
    assert len(parts) == 1000
    identity = relay.find("subject:4")["messages"][0]["ID"]
    _, fields = relay.ask("GET", f"/api/v1/message/{identity}/part/{parts[0]['PartID']}")
    assert fields["Content-Disposition"].startswith("attachment; filename*=UTF-8''..%2F"), fields["Content-Disposition"]
    relay.ask("GET", f"/api/v1/message/{identity}/part/999999999999", code=404)
    assert relay.process.poll() is None
    relay.stop()


CLIENT = """
const assert = require("assert");
const { MailpitClient } = require("mailpit-api");
(async () => {
  const mailpit = new MailpitClient(process.env.URL, { fetchOptions: { headers: { Authorization: `Bearer ${process.env.TOKEN}` } } });
  assert.equal((await mailpit.getInfo()).Messages, 3);
  assert.equal((await mailpit.getConfiguration()).ChaosEnabled, false);
  const listed = await mailpit.listMessages(0, 2);
  assert.deepEqual([listed.total, listed.messages.length, listed.messages[0].Subject], [3, 2, "order 2"]);
  const found = await mailpit.waitForMessage({ query: "subject:\\"order 1\\"" });
  assert.equal(found.Subject, "order 1");
  assert.equal((await mailpit.waitForMessages({ query: "from:ada", count: 3, exact: true })).messages_count, 3);
  const whole = await mailpit.getMessageSummary(found.ID);
  const file = whole.Attachments[0];
  assert.deepEqual([file.FileName, file.Size, file.ContentType], ["a.txt", 5, "text/plain"]);
  assert.equal(await (await mailpit.getMessageAttachment(found.ID, file.PartID)).text(), "12345");
  assert.equal((await mailpit.getMessageHeaders(found.ID))["Subject"][0], "order 1");
  assert.ok((await mailpit.getMessageSource(found.ID)).includes("Subject: order 1"));
  assert.ok((await mailpit.renderMessageHTML(found.ID)).includes("<b>HTML</b>"));
  assert.ok((await mailpit.renderMessageText(found.ID)).includes("plain words"));
  assert.equal(await mailpit.setReadStatus({ Read: true }), "ok");
  assert.equal((await mailpit.listMessages()).unread, 0);
  await mailpit.setReadStatus({ IDs: [found.ID], Read: false });
  assert.equal((await mailpit.searchMessages({ query: "is:unread" })).messages_count, 1);
  await mailpit.setTags({ IDs: [found.ID], Tags: ["One", "Two"] });
  assert.deepEqual(await mailpit.getTags(), ["One", "Two"]);
  await mailpit.renameTag("One", "Three 3");
  await mailpit.deleteTag("Two");
  assert.deepEqual((await mailpit.searchMessages({ query: "tag:\\"three 3\\"" })).messages[0].Tags, ["Three 3"]);
  await mailpit.deleteMessagesBySearch({ query: "subject:\\"order 0\\"" });
  await mailpit.deleteMessages({ IDs: [found.ID] });
  assert.deepEqual((await mailpit.listMessages()).messages.map((one) => one.Subject), ["order 2"]);
  await mailpit.deleteMessages();
  assert.equal((await mailpit.listMessages()).total, 0);
})().catch((error) => { console.log(error); process.exit(1); });
"""


def a_client_of_mailpit_works():
    relay = Sandbox()
    kind = "multipart/mixed; boundary=m"
    body = (
        "--m\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n--a\r\nContent-Type: text/plain\r\n\r\nplain words\r\n--a\r\nContent-Type: text/html\r\n\r\n"
        "<b>HTML</b>\r\n--a--\r\n--m\r\nContent-Type: text/plain; name=a.txt\r\nContent-Disposition: attachment; filename=a.txt\r\n\r\n12345\r\n--m--"
    )
    for number in range(3):
        send(relay, [f"u{number}@x.test.example"], mail(number, body, kind))
        until(lambda: relay.ask("GET", "/api/v1/messages")[0]["total"] == number + 1)
    tool("node_modules", "mailpit-api")
    more = {"NODE_PATH": os.path.join(INSTALLED, "node_modules"), "URL": f"http://127.0.0.1:{relay.http}", "TOKEN": relay.secrets["operate"]}
    done = subprocess.run(["node", "-e", CLIENT], capture_output=True, text=True, timeout=60, env={**os.environ, **more})
    assert done.returncode == 0, (done.stdout, done.stderr)
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
