"""What commands do with files of the machine, asked of the running relay by curl: tokens, the log, shaping, the configuration, accounts: `files_api.py STORY BINARY`. Called by tests/peers.rs."""
import json
import os
import smtplib
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.parse

from certificate import Authority
from control import TEXT
from http_api import Guarded

ROLES = ("read", "operate", "admin", "shop", "spy")
RULES = '[retry]\nfirst = "1h"\nmax = "1h"\n[[rule]]\nmatch = { sender = "@shop.example" }\nset = { tenant = "shop" }\n[[rule]]\nmatch = { sender = "@other.example" }\nset = { tenant = "other" }\n'


class Operated(Guarded):
    """A relay that is asked by curl alone."""

    def curl(self, method, path, body=None, by="admin", wanted=200):
        arguments = ["curl", "-sS", "-X", method, "-H", f"Authorization: Bearer {self.secrets.get(by, by)}", "-w", "\n%{http_code}"]
        if body is not None:
            arguments += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        done = subprocess.run([*arguments, f"http://127.0.0.1:{self.http}/control/v1/{path}"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (method, path, done)
        text, code = done.stdout.rsplit("\n", 1)
        assert int(code) == wanted, (method, path, by, code, text)
        return json.loads(text)

    def refused(self, method, path, body=None, by="admin", code=""):
        """By which status and code."""
        status, word = code.split()
        answer = self.curl(method, path, body, by, int(status))
        assert answer["code"] == word, answer
        return answer["error"]

    def edits(self):
        """Who did what with which file, by the log."""
        with open(f"{self.directory}/log.jsonl") as file:
            events = [json.loads(line) for line in file]
        actions = ("add_token", "remove_token", "add_account", "set_password", "remove_account")
        return [(event["by"], event["action"], event["filter"]) for event in events if event["event"] == "admin" and event["action"] in actions]

    def pages(self, path, by="admin", limit=7):
        """All events, page by page; and that each page is bounded."""
        events, cursor, sep = [], "", "&" if "?" in path else "?"
        while cursor is not None:
            page = self.curl("GET", f"{path}{sep}limit={limit}" + (f"&cursor={cursor}" if cursor else ""), by=by)
            assert len(page["events"]) <= limit and not page["troubles"] and not page["unreadable"], page
            events += page["events"]
            cursor = page["next"]
        return events

    def text(self, name):
        with open(f"{self.directory}/{name}") as file:
            return file.read()


def tokens_come_and_go_at_once():
    relay = Operated(more=RULES)
    listed = relay.curl("GET", "tokens")["tokens"]
    assert [one["name"] for one in listed] == list(ROLES) and all(one["in_file"] and one["in_force"] for one in listed), listed
    assert not any(key in one for one in listed for key in ("token", "hash")), listed
    # Nobody else, whatever he may with mail.
    for by in ("read", "operate"):
        for method, path, body in (("GET", "tokens", None), ("POST", "tokens", {"name": "x", "role": "read"}), ("DELETE", "tokens/spy", None)):
            relay.refused(method, path, body, by, "403 role")
    relay.add("boss", "admin", "--tenant", "shop")
    relay.command("reload")
    relay.refused("POST", "tokens", {"name": "x", "role": "admin"}, "boss", "403 tenant")
    # It is in force when the answer comes, and after a kill.
    added = relay.curl("POST", "tokens", {"name": "night", "role": "operate", "tenant": "shop"})
    assert (added["name"], added["role"], added["tenant"], added["in_force"], added["others"]) == ("night", "operate", "shop", True, []), added
    relay.secrets["night"] = added["token"]
    assert relay.curl("GET", "me", by="night") == {"who": "token night", "role": "operate", "tenant": "shop", "redacts": False, "cluster": None}
    relay.refused("POST", "tokens", {"name": "night", "role": "read"}, code="409 conflict")
    for body in ({"name": "a b", "role": "read"}, {"name": "x", "role": "root"}, {"name": "x", "role": "read", "tenant": "a b"}, {"name": "x:y", "role": "read"}, {"name": "x\n", "role": "read"}, {"role": "read"}, {"name": "x", "role": "read", "more": 1}, []):
        relay.refused("POST", "tokens", body, code="400 bad_request")
    relay.kill()
    relay.start()
    assert relay.curl("GET", "me", by="night")["who"] == "token night"
    # What was written beside it is told, and comes into force with the next change.
    relay.add("beside", "read")
    relay.refused("GET", "me", by="beside", code="401 bad_token")
    assert [(one["name"], one["in_force"]) for one in relay.curl("GET", "tokens")["tokens"]][-1] == ("beside", False)
    gone = relay.curl("DELETE", "tokens/night")
    assert gone["others"] == ["beside"] and not gone["itself"], gone
    relay.refused("GET", "me", by="night", code="401 bad_token")
    relay.curl("GET", "me", by="beside")
    relay.refused("DELETE", "tokens/night", code="404 not_found")
    # Nobody shuts himself out by a slip.
    assert "itself=true" in relay.refused("DELETE", "tokens/admin", code="409 conflict")
    second = relay.curl("POST", "tokens", {"name": "second", "role": "admin"})
    relay.secrets["second"] = second["token"]
    assert relay.curl("DELETE", "tokens/second?itself=true", by="second")["itself"]
    relay.refused("GET", "me", by="second", code="401 bad_token")
    # A file that cannot be written is as it was, and so is who is let in.
    before = relay.text("tokens")
    with open(f"{relay.directory}/tokens", "a") as file:
        file.write("nonsense\n")
    assert "line" in relay.refused("POST", "tokens", {"name": "x", "role": "read"}, code="500 not_kept")
    assert relay.text("tokens") == before + "nonsense\n"
    with open(f"{relay.directory}/tokens", "w") as file:
        file.write(before)
    # The command goes on as before, and by the socket the relay's user may all.
    assert relay.ask("POST", "/control/v1/tokens", {"name": "socket", "role": "read"})[0] == 200
    relay.tool("remove", "socket")
    assert relay.ask("GET", "/control/v1/tokens")[1]["tokens"][-1] == {"name": "socket", "role": "read", "tenant": None, "in_file": False, "in_force": True}
    done = [(action, filter) for by, action, filter in relay.edits() if by in ("token admin", "token second")]
    assert done == [("add_token", "name=night role=operate tenant=shop"), ("remove_token", "name=night"), ("add_token", "name=second role=admin"), ("remove_token", "name=second")], done
    assert relay.told("add_token by token admin"), relay.words
    for secret in relay.secrets.values():
        assert secret not in relay.text("log.jsonl") and secret not in "".join(relay.words) and secret not in relay.text("tokens")
    relay.stop()


def the_log_is_asked_page_by_page():
    relay = Operated(more=RULES, keys='redact = ["recipient", "sender"]\n')
    client = relay.client()
    for number in range(20):
        client.sendmail(f"a@{'shop' if number % 2 else 'other'}.example", [f"later{number}@d{number % 3}.example"], TEXT)
    client.quit()
    relay.wait(20)
    end = time.monotonic() + 20
    while relay.text("log.jsonl").count('"event":"deferred"') < 20:
        assert time.monotonic() < end, relay.text("log.jsonl")
        time.sleep(0.1)
    asked = lambda *words: [json.loads(line) for line in relay.command("log", "find", "--json", *words, where=("--log", f"{relay.directory}/log.jsonl")).splitlines()]
    for words in ([], ["--event", "deferred"], ["--event", "received,deferred", "--domain", "d1.example"], ["--recipient", "later3@d0.example"], ["--tenant", "shop", "--since", "1h"], ["--reply", "NOT y"]):
        query = "&".join(f"{name[2:]}={urllib.parse.quote(value)}" for name, value in zip(words[::2], words[1::2]))
        there = [event["event_id"] for event in asked(*words)]
        assert [event["event_id"] for event in relay.pages(f"log?{query}")] == there and there, words
    # A tenant's token sees that tenant's events, and whoever only reads sees no address.
    for by in ("shop", "spy"):
        own = relay.pages("log", by)
        assert len(own) == 20 and {event["tenant"] for event in own} == {"shop"}, own
        relay.refused("GET", "log?tenant=other", by=by, code="403 tenant")
        rows = relay.curl("GET", "log/stats?by=tenant", by=by)["rows"]
        assert [(row["name"], row["received"], row["deferred"]) for row in rows] == [("shop", 10, 10)], rows
    assert {event["sender"] for event in relay.pages("log", "spy")} == {"a…@shop.example"}
    found = relay.pages("log?recipient=later3@d0.example&event=deferred", "read")
    assert [event["recipients"] for event in found] == [["l…@d0.example"]], found
    assert not any("later" in json.dumps(event) for event in relay.pages("log", "read"))
    assert [row["name"] for row in relay.curl("GET", "log/stats?by=recipient&event=received&limit=100", by="read")["rows"]] == ["l…@d0.example", "l…@d1.example", "l…@d2.example"]
    counted = {row["name"]: (row["received"], row["deferred"], row["text"]) for row in relay.curl("GET", "log/stats?by=domain", by="operate")["rows"]}
    assert counted == {"d0.example": (7, 7, "450 4.2.0 not yet"), "d1.example": (7, 7, "450 4.2.0 not yet"), "d2.example": (6, 6, "450 4.2.0 not yet")}, counted
    # Between two pages the file is moved and packed, and the relay starts anew.
    whole = [event["event_id"] for event in relay.pages("log")]
    page = relay.curl("GET", "log?limit=10")
    os.rename(f"{relay.directory}/log.jsonl", f"{relay.directory}/log.jsonl.1")
    subprocess.run(["gzip", f"{relay.directory}/log.jsonl.1"], check=True)
    relay.command("reload")
    relay.kill()
    relay.start()
    rest, cursor = [event["event_id"] for event in page["events"]], page["next"]
    while cursor is not None:
        page = relay.curl("GET", f"log?limit=9&cursor={cursor}")
        rest, cursor = rest + [event["event_id"] for event in page["events"]], page["next"]
    assert rest[: len(whole)] == whole, (len(rest), len(whole))
    place = relay.curl("GET", "log?limit=10")["next"]
    os.remove(f"{relay.directory}/log.jsonl.1.gz")
    relay.refused("GET", f"log?cursor={place}", code="410 old_cursor")
    # Who sees addresses shortened does not find them out letter by letter.
    relay.refused("GET", "log?reply=not", by="read", code="403 forbidden")
    relay.refused("GET", "log/stats?reply=not", by="spy", code="403 forbidden")
    for query, code in (("limit=0", "400 bad_request"), ("cursor=x", "400 no_cursor"), ("event=none", "400 bad_request"), ("reply=(", "400 bad_request"), ("color=red", "400 bad_request")):
        relay.refused("GET", f"log?{query}", code=code)
    relay.stop()


def what_holds_and_what_is_on_disk_is_told():
    relay = Operated(more=RULES)
    shaping = f"{relay.directory}/shaping.toml"
    with open(shaping, "w") as file:
        file.write('["d.example"]\nconnection_limit = 3\n["d.example".sources."ip1"]\nconnection_limit = 2\n')
    relay.more += f'[shaping]\nfiles = ["{shaping}"]\n'
    relay.write()
    shown = relay.curl("GET", "shaping?domain=d.example", by="read")
    assert shown["settings"].get("connection_limit", {}).get("file") != shaping, "it is not in force yet"
    checked = relay.curl("POST", "check")
    assert checked["ok"] and checked["file"] == f"{relay.directory}/relevo.toml" and checked["summary"], checked
    relay.command("reload")
    for query, value, of_source in (("", "3", False), ("&source=ip1", "2", True)):
        one = relay.curl("GET", f"shaping?domain=D.example&mx=mx1.d.example{query}", by="read")["settings"]["connection_limit"]
        assert (one["value"], one["file"], one["of_source"]) == (value, shaping, of_source), one
        # As the command says it of the same files.
        words = ["--source", "ip1"] if query else []
        there = json.loads(relay.command("shaping", "show", "d.example", "--mx", "mx1.d.example", "--json", *words))
        assert there["settings"]["connection_limit"] == one, there
    # The file is wrong on disk: that is told, and what is in force stays.
    with open(shaping, "a") as file:
        file.write("conection_limit = 1\n")
    checked = relay.curl("POST", "check")
    assert not checked["ok"] and [(one["file"], one["line"]) for one in checked["errors"]] == [(shaping, 5)], checked
    assert relay.curl("GET", "shaping?domain=d.example")["settings"]["connection_limit"]["value"] == "3"
    for by in ("read", "operate"):
        relay.refused("POST", "check", by=by, code="403 role")
    for by in ("shop", "spy"):
        relay.refused("GET", "shaping?domain=d.example", by=by, code="403 tenant")
        relay.refused("GET", "drain", by=by, code="403 tenant")
    relay.refused("POST", "check", by="shop", code="403 role")
    for query in ("", "?domain=", "?domain=d.example&mail=x"):
        relay.refused("GET", f"shaping{query}", code="400 bad_request")
    # A check leaves the relay as it is: it takes mail, and keeps its ports.
    relay.send("a@b.example", ["later1@d.example"], TEXT)
    relay.wait(1)
    # Nobody drains it, then somebody does.
    assert relay.curl("GET", "drain", by="read")["drains"] == []
    relay.curl("POST", "drain", {"to": "smtp://127.0.0.1:1", "seconds": 600, "reason": "new disks"})
    end = time.monotonic() + 10
    while (state := relay.curl("GET", "drain", by="read"))["recipients"] != 1:
        assert time.monotonic() < end, state
    assert [(one["to"], one["by"], one["reason"]) for one in state["drains"]] == [("smtp://127.0.0.1:1", "token admin", "new disks")] and state["messages"] == 1, state
    relay.curl("POST", "resume", {"id": state["drains"][0]["id"]})
    assert relay.curl("GET", "drain")["drains"] == []
    relay.stop()


def accounts_come_and_go_at_once():
    keys = tempfile.mkdtemp(prefix="relevo-files-")
    authority = Authority(keys)
    authority.certify("127.0.0.1", san="IP")
    relay = Operated(more=RULES, listener="".join(f'tls_{key} = "{authority.file(f"127.0.0.1.{end}")}"\n' for key, end in (("certificate", "pem"), ("key", "key"))))

    def logs_in(name, password):
        client = relay.client()
        client.starttls(context=ssl.create_default_context(cafile=authority.pem))
        client.ehlo()
        try:
            client.login(name, password)
            return True
        except smtplib.SMTPException:
            return False
        finally:
            client.close()

    relay.refused("GET", "accounts", code="404 not_found")
    path = f"{relay.directory}/accounts.toml"
    with open(path, "w") as file:
        file.write("# ours\n")
    relay.more += f'[auth]\naccounts = "{path}"\n'
    relay.write()
    relay.command("reload")
    assert relay.curl("GET", "accounts") == {"accounts": [], "next": None}
    for by in ("read", "operate"):
        for method, place, body in (("GET", "accounts", None), ("POST", "accounts", {"name": "x", "password": "y"}), ("POST", "accounts/x", {"password": "y"}), ("DELETE", "accounts/x", None)):
            relay.refused(method, place, body, by, "403 role")
    added = relay.curl("POST", "accounts", {"name": "shop", "password": "secret word", "rights": {"tenant": "shop", "senders": ["@shop.example"], "rate": "1000/h"}})
    assert added == {"name": "shop", "file": path, "in_force": True, "why": None}, added
    assert logs_in("shop", "secret word") and not logs_in("shop", "another")
    relay.refused("POST", "accounts", {"name": "shop", "password": "x"}, code="409 conflict")
    for body in ({"name": "a b", "password": "x"}, {"name": "x", "password": ""}, {"name": "x", "password": "y", "rights": {"rate": "fast"}}, {"name": "x", "password": "y", "rights": {"root": True}}, {"name": "x"}):
        relay.refused("POST", "accounts", body, code="400 bad_request")
    relay.curl("POST", "accounts", {"name": "app", "password": "other", "logs_in": "scram", "rights": {"pool": "none", "networks": ["192.0.2.0/24"], "quota": ["5000/d"]}})
    page = relay.curl("GET", "accounts?limit=1")
    assert page["next"] == "app" and page["accounts"] == [{"name": "app", "password": False, "scram": True, "pool": "none", "networks": ["192.0.2.0/24"], "quota": ["5000/d"], "in_file": True, "in_force": True}], page
    rest = relay.curl("GET", "accounts?limit=1&cursor=app")
    assert [one["name"] for one in rest["accounts"]] == ["shop"] and rest["next"] is None, rest
    # A file that is away, or empty, for a moment is not taken for all there is.
    os.rename(path, f"{path}.away")
    relay.refused("POST", "accounts", {"name": "x", "password": "y"}, code="500 not_kept")
    relay.refused("DELETE", "accounts/shop", code="500 not_kept")
    assert not os.path.exists(path)
    open(path, "w").close()
    relay.refused("POST", "accounts", {"name": "x", "password": "y"}, code="500 not_kept")
    os.rename(f"{path}.away", path)
    assert logs_in("shop", "secret word")
    # The command lists the same, and its changes wait for a reload, as is told.
    listed = [json.loads(line) for line in relay.command("account", "list", "--json").splitlines()]
    assert [one["name"] for one in listed] == ["shop", "app"] and relay.text("accounts.toml").startswith("# ours\n"), listed
    relay.command("account", "remove", "app")
    assert [(one["name"], one["in_file"], one["in_force"]) for one in relay.curl("GET", "accounts")["accounts"]] == [("app", False, True), ("shop", True, True)]
    # What else the configuration says on disk by now stays out of force.
    relay.more += "[nonsense]\n"
    relay.write()
    assert relay.curl("POST", "accounts/shop", {"password": "another", "logs_in": "password"})["in_force"]
    assert logs_in("shop", "another") and not logs_in("shop", "secret word")
    assert [(one["name"], one["scram"], one["tenant"]) for one in relay.curl("GET", "accounts")["accounts"]] == [("shop", False, "shop")]
    relay.refused("POST", "accounts/app", {"password": "x"}, code="404 not_found")
    relay.curl("DELETE", "accounts/shop")
    assert not logs_in("shop", "another")
    relay.refused("DELETE", "accounts/shop", code="404 not_found")
    assert relay.curl("GET", "accounts")["accounts"] == []
    assert relay.edits() == [("token admin", "add_account", "name=shop tenant=shop"), ("token admin", "add_account", "name=app pool=none"), ("token admin", "set_password", "name=shop"), ("token admin", "remove_account", "name=shop")], relay.edits()
    for secret in ("secret word", "another"):
        assert secret not in relay.text("log.jsonl") and secret not in "".join(relay.words) and secret not in relay.text("accounts.toml")
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
