"""The API over HTTP: who is let in, what each role and each tenant may, other origins and names: `http_api.py STORY BINARY`. Called by tests/peers.rs."""
import http.client
import json
import os
import stat
import subprocess
import sys
import time

from control import TEXT, Node

BINARY = os.path.abspath(sys.argv[2])


class Guarded(Node):
    """A relay with tokens, whose names are their roles and tenants."""

    def __init__(self, keys="", tokens=True, **kinds):
        self.keys, self.by_tokens = keys, tokens
        self.secrets = {}
        super().__init__(**kinds)

    def write(self):
        super().write()
        path = f"{self.directory}/relevo.toml"
        with open(path) as file:
            text = file.read()
        tokens = f'tokens = "{self.directory}/tokens"\n' if self.by_tokens else ""
        with open(path, "w") as file:
            file.write(text.replace("[control]\n", f"[control]\n{tokens}{self.keys}"))
        if self.by_tokens and not os.path.exists(f"{self.directory}/tokens"):
            for name, *role in (("read", "read"), ("operate", "operate"), ("admin", "admin"), ("shop", "operate", "--tenant", "shop"), ("spy", "read", "--tenant", "shop")):
                self.add(name, *role)

    def add(self, name, role, *more):
        self.secrets[name] = self.tool("add", name, "--role", role, *more).strip()

    def tool(self, *words, code=0):
        done = subprocess.run([BINARY, "token", *words, "--tokens", f"{self.directory}/tokens"], capture_output=True, text=True, timeout=30)
        assert done.returncode == code, (words, done)
        self.complaint = done.stderr
        return done.stdout

    def over_http(self, method, path, body=None, by=None, fields=(), host=None, source=None):
        """Status, JSON (or text) and fields of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=40, source_address=source)
        connection.putrequest(method, path, skip_host=True)
        connection.putheader("Host", host or f"127.0.0.1:{self.http}")
        secret = self.secrets.get(by, by)
        if secret:
            connection.putheader("Authorization", f"Bearer {secret}")
        for name, value in fields:
            connection.putheader(name, value)
        text = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        if method == "POST":
            connection.putheader("Content-Length", str(len(text)))
        connection.endheaders(text)
        answer = connection.getresponse()
        words = answer.read()
        is_json = answer.getheader("Content-Type") == "application/json"
        return answer.status, json.loads(words) if is_json else words.decode(), answer

    def code(self, *arguments, **named):
        status, words, _ = self.over_http(*arguments, **named)
        return status, words.get("code") if isinstance(words, dict) else words

    def admins(self, *wanted, seconds=20):
        """Who did what, by the log: it is written a moment after the journal, by which commands are answered."""
        end = time.monotonic() + seconds
        while True:
            with open(f"{self.directory}/log.jsonl") as file:
                events = [json.loads(line) for line in file if line.endswith("\n")]
            done = [(event["by"], event["action"]) for event in events if event["event"] == "admin"]
            if set(wanted) <= set(done):
                return done
            assert time.monotonic() < end, (wanted, done)
            time.sleep(0.1)


SUSPEND = {"filter": {"domain": "d.example"}, "seconds": 60, "reason": "test"}
PATHS = ["status", "queue", "queue/count", "suspensions", "warmup", "quotas", "analytics", "suppressions", "me", "openapi.json", "why?domain=x.example", "suppressions/check?address=a@b.example"]


def each_role_may_what_it_may():
    relay = Guarded()
    for name in ("read", "operate", "admin"):
        for path in PATHS:
            status, words, answer = relay.over_http("GET", f"/control/v1/{path}", by=name)
            assert status == 200 or path.startswith("why") and status == 404, (name, path, status, words)
            assert answer.getheader("Access-Control-Allow-Origin") is None
        status, words, _ = relay.over_http("GET", "/control/v1/me", by=name)
        assert words == {"who": f"token {name}", "role": name, "tenant": None, "redacts": False, "cluster": None}, words
    writes = {
        "suspend": SUSPEND, "resume": {"all": True}, "queue/retry": {"all": True}, "queue/bounce": {"filter": {"domain": "d.example"}},
        "suppressions": {"addresses": ["a@b.example"]}, "suppressions/remove": {"addresses": ["a@b.example"]}, "suppressions/import": b"c@d.example\n",
    }
    for path, body in writes.items():
        assert relay.code("POST", f"/control/v1/{path}", body, by="read") == (403, "role"), path
        for name in ("operate", "admin"):
            status, words, _ = relay.over_http("POST", f"/control/v1/{path}", body, by=name)
            assert status == 200, (name, path, status, words)
    assert relay.code("POST", "/control/v1/reload", {}, by="operate") == (403, "role")
    status, words, _ = relay.over_http("POST", "/control/v1/reload", {}, by="admin")
    assert status == 200 and words["ok"], words
    done = relay.admins(("token operate", "suspend"), ("token admin", "reload"), ("token operate", "suppress"))
    assert all(by != "token read" for by, _ in done), done
    # As they are in force: what is taken away is good until the file is read again, and no longer.
    relay.tool("remove", "operate")
    assert relay.code("GET", "/control/v1/status", by="operate")[0] == 200
    relay.add("late", "read")
    assert relay.code("GET", "/control/v1/status", by="late") == (401, "bad_token")
    relay.command("reload")
    assert relay.code("GET", "/control/v1/status", by="operate") == (401, "bad_token")
    assert relay.code("GET", "/control/v1/status", by="late")[0] == 200
    # A file that is wrong changes nothing.
    with open(f"{relay.directory}/tokens", "a") as file:
        file.write("nonsense\n")
    relay.command("reload", code=1)
    assert relay.code("GET", "/control/v1/status", by="late")[0] == 200
    relay.stop()


def a_tenants_token_is_for_its_mail_alone():
    relay = Guarded(more='[retry]\nfirst = "1h"\nmax = "1h"\n[[rule]]\nmatch = { sender = "@shop.example" }\nset = { tenant = "shop" }\n[[rule]]\nmatch = { sender = "@other.example" }\nset = { tenant = "other" }\n')
    client = relay.client()
    for number in range(3):
        client.sendmail("a@shop.example", [f"later{number}@d.example"], TEXT)
    client.sendmail("a@other.example", ["later@d.example"], TEXT)
    client.quit()
    relay.wait(4)

    def whole(path, by):
        """All pages: messages are read for it."""
        while True:
            status, words, _ = relay.over_http("GET", path, by=by)
            assert status == 200, words
            if not words.get("scanned") or words["next"] is None:
                return words
            sep = "&" if "?" in path else "?"
            path = path.split(f"{sep}cursor=")[0] + f"{sep}cursor={words['next']}"

    for by in ("shop", "spy"):
        assert whole("/control/v1/queue/count", by)["recipients"] == 3
        assert whole("/control/v1/queue?domain=d.example", by)["rows"].__len__() == 3
        assert whole("/control/v1/queue/count?tenant=shop", by)["recipients"] == 3
        assert relay.code("GET", "/control/v1/queue?tenant=other", by=by) == (403, "tenant")
        for path in ("status", "suspensions", "warmup", "quotas", "queue/message/00000000G0000102"):
            assert relay.code("GET", f"/control/v1/{path}", by=by) == (403, "tenant"), path
        assert relay.over_http("GET", "/control/v1/me", by=by)[1]["tenant"] == "shop"
    assert whole("/control/v1/queue/count", "read")["recipients"] == 4
    assert relay.code("POST", "/control/v1/suspend", SUSPEND, by="spy") == (403, "role")
    status, words, _ = relay.over_http("POST", "/control/v1/suspend", {"all": True, "seconds": 60}, by="shop")
    assert status == 200 and [one["tenant"] for one in words["suspensions"]] == ["shop"], words
    assert relay.over_http("POST", "/control/v1/suspend", SUSPEND, by="operate")[0] == 200
    assert relay.code("POST", "/control/v1/resume", {"id": 2}, by="shop") == (403, "tenant")
    for body in ([], [{"tenant": "other"}], {"filter": {"tenant": "other"}}, {"filter": {"tenant": "other", "domain": "d.example"}}):
        assert relay.code("POST", "/control/v1/queue/bounce", body, by="shop")[0] in (400, 403), body
    assert relay.code("POST", "/control/v1/queue/bounce", b'{"filter":{"tenant":"shop"},"filter":{"tenant":"other"}}', by="shop")[0] == 403
    assert relay.over_http("POST", "/control/v1/suppressions", {"addresses": ["a@b.example"]}, by="shop")[0] == 200
    entries = relay.over_http("GET", "/control/v1/suppressions", by="read")[1]["entries"]
    assert [entry.get("tenant") for entry in entries] == ["shop"], entries
    assert relay.code("POST", "/control/v1/suppressions", {"addresses": ["a@b.example"], "tenant": "other"}, by="shop") == (403, "tenant")
    status, words, _ = relay.over_http("POST", "/control/v1/resume", {"all": True}, by="shop")
    assert status == 200 and len(words["suspensions"]) == 1, words
    # It goes back: what is of the tenant, and nothing else.
    body, gone = {"all": True, "reason": "test"}, 0
    for _ in range(50):
        status, words, _ = relay.over_http("POST", "/control/v1/queue/bounce", body, by="shop")
        assert status == 200, words
        gone += words["recipients"]
        if words["next"] is None:
            break
        body["cursor"] = words["next"]
    assert gone == 3, gone
    relay.stop()


def wrong_tokens_are_told_so():
    relay = Guarded()
    assert relay.code("GET", "/control/v1/status") == (401, "no_token")
    _, _, answer = relay.over_http("GET", "/control/v1/status")
    assert answer.getheader("WWW-Authenticate").startswith("Bearer")
    almost = relay.secrets["admin"][:-1] + ("A" if relay.secrets["admin"][-1] != "A" else "B")
    for wrong in (almost, "x", "x" * 4000, relay.secrets["admin"].upper()):
        assert relay.code("GET", "/control/v1/status", by=wrong) == (401, "bad_token"), wrong[:60]
    for value in ("Basic YTpi", "Bearer", "", f"Token {relay.secrets['admin']}"):
        assert relay.code("GET", "/control/v1/status", fields=[("Authorization", value)]) == (401, "bad_token"), value
    twice = [("Authorization", f"Bearer {relay.secrets['admin']}")] * 2
    assert relay.code("GET", "/control/v1/status", fields=twice)[0] == 401
    heard = [relay.code("GET", "/control/v1/status", by=f"wrong{number}") for number in range(40)]
    assert heard[-1] == (429, "too_many_guesses") and (401, "bad_token") in heard, heard
    # Who has a token is let in all the same, from there too; others elsewhere are told that theirs is wrong.
    assert relay.code("GET", "/control/v1/status", by="read")[0] == 200
    assert relay.code("GET", "/control/v1/status", by="wrong", source=("127.0.0.9", 0)) == (401, "bad_token")
    assert relay.told("control.http", "127.0.0.1", "wrong tokens"), relay.words
    assert relay.over_http("GET", "/healthz")[0] == 200 and relay.over_http("GET", "/metrics")[0] == 200
    relay.stop()


def pages_of_others_ask_in_vain():
    relay = Guarded(keys='names = ["ops.example.net"]\n')
    own = f"127.0.0.1:{relay.http}"
    post = lambda fields, host=None: relay.code("POST", "/control/v1/suspend", SUSPEND, by="operate", fields=fields, host=host)
    assert post([("Origin", f"http://{own}"), ("Sec-Fetch-Site", "same-origin")])[0] == 200
    assert post([("Origin", "https://ops.example.net")], "ops.example.net")[0] == 200
    for fields in ([("Origin", "http://evil.example")], [("Origin", "null")], [("Origin", f"http://{own}.evil.example")], [("Sec-Fetch-Site", "cross-site")]):
        assert post(fields) == (403, "origin"), fields
    for host in ("evil.example", "ops.example.net.evil.example"):
        assert post([("Origin", f"http://{host}")], host) == (421, "host"), host
        assert relay.code("GET", "/control/v1/status", by="read", host=host) == (421, "host"), host
    assert relay.code("GET", "/control/v1/status", by="read", host="relay.example")[0] == 200
    status, _, answer = relay.over_http("OPTIONS", "/control/v1/suspend", fields=[("Origin", "http://evil.example"), ("Access-Control-Request-Method", "POST")])
    assert status in (401, 403, 405) and answer.getheader("Access-Control-Allow-Origin") is None
    # Names are read again.
    relay.keys = 'names = ["other.example.net"]\n'
    relay.write()
    relay.command("reload")
    assert post([], "other.example.net")[0] == 200 and post([], "ops.example.net")[0] == 421
    relay.stop()


def without_tokens_this_machine_reads():
    relay = Guarded(tokens=False, keys='redact = ["recipient", "sender"]\n')
    relay.send("ada@b.example", ["later-bob@d.example"], TEXT)
    relay.wait(1)
    time.sleep(0.5)
    status, words, _ = relay.over_http("GET", "/control/v1/queue")
    row = words["rows"][0]
    assert (row["recipients"], row["sender"]) == (["l…@d.example"], "a…@b.example"), row
    shown = relay.over_http("GET", f"/control/v1/queue/message/{row['id']}")[1]
    assert (shown["sender"], shown["live"][0]["address"]) == ("a…@b.example", "l…@d.example"), shown
    assert relay.over_http("GET", "/control/v1/me")[1] == {"who": "somebody at this machine", "role": "read", "tenant": None, "redacts": True, "cluster": None}
    assert relay.rows()[0]["recipients"] == ["later-bob@d.example"], "a command has all of it"
    for path, body in (("suspend", SUSPEND), ("reload", {}), ("queue/retry", {"all": True})):
        assert relay.code("POST", f"/control/v1/{path}", body) == (403, "role"), path
    assert relay.code("GET", "/control/v1/status", fields=[("X-Forwarded-For", "192.0.2.1")]) == (403, "forbidden")
    assert relay.code("GET", "/control/v1/status", by="x") == (401, "bad_token")
    assert relay.code("GET", "/control/v1/nothing") == (404, "no_such_question")
    assert relay.code("POST", "/control/v1/status", {}) == (405, "no_such_question")
    relay.stop()


def commands_ask_by_a_url():
    relay = Guarded()
    url = ["--url", f"http://127.0.0.1:{relay.http}"]
    for name in ("read", "operate"):
        with open(f"{relay.directory}/{name}.token", "w") as file:
            file.write(relay.secrets[name] + "\n")
    by = lambda name: (*url, "--token-file", f"{relay.directory}/{name}.token")
    assert json.loads(relay.command("status", "--json", where=by("read")))["node"] == "relay.example"
    relay.command("suspend", "--domain", "d.example", "--for", "1h", where=by("read"), code=2)
    assert "needs the role operate" in relay.complaint, relay.complaint
    relay.command("suspend", "--domain", "d.example", "--for", "1h", where=by("operate"))
    relay.admins(("token operate", "suspend"))
    relay.command("status", where=url, code=2)
    assert "give a token" in relay.complaint, relay.complaint
    relay.command("status", where=("--url", "http://relay.example:8025"), code=2)
    assert "plain text" in relay.complaint, relay.complaint
    relay.command("status", where=("--url", "nonsense"), code=2)
    relay.command("status", where=("--url", "http://127.0.0.1:1"), code=1)
    # The file of tokens.
    assert stat.S_IMODE(os.stat(f"{relay.directory}/tokens").st_mode) == 0o600
    listed = [json.loads(line) for line in relay.tool("list", "--json").splitlines()]
    assert [one["name"] for one in listed] == ["read", "operate", "admin", "shop", "spy"] and listed[3]["tenant"] == "shop", listed
    text = open(f"{relay.directory}/tokens").read()
    assert not any(secret in text for secret in relay.secrets.values())
    relay.tool("add", "read", "--role", "read", code=1)
    relay.tool("remove", "nobody", code=1)
    relay.tool("add", "a:b", "--role", "read", code=1)
    assert open(f"{relay.directory}/tokens").read() == text
    relay.stop()


def without_a_socket_http_answers():
    relay = Guarded(keys='socket = ""\n')
    assert relay.over_http("GET", "/control/v1/status", by="read")[0] == 200
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
