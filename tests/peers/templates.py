"""Templates of mail, by command and by API: `templates.py STORY BINARY`. Called by tests/peers.rs."""
import email
import email.policy
import json
import subprocess
import sys
import time

from files_api import Operated

BINARY = sys.argv[2]
HTML = """<style>
  h1 { color: red }
  @media (max-width: 600px) { h1 { font-size: 1em } }
</style>
<h1>Welcome, {{name}}</h1>
{{#if items}}<ul>{{#each items}}<li>{{title}}</li>{{/each}}</ul>{{/if}}
{{> footer}}
"""


class Kept(Operated):
    def template(self, *words, code=0):
        done = subprocess.run([BINARY, "template", words[0], "--config", f"{self.directory}/relevo.toml", *words[1:]], capture_output=True, text=True, timeout=60)
        assert done.returncode == code, (words, done)
        self.complaint = done.stderr
        return done.stdout

    def file(self, name, text):
        with open(f"{self.directory}/{name}", "w") as file:
            file.write(text)
        return f"{self.directory}/{name}"


def they_are_saved_tried_and_sent():
    """From files by command; looked at; sent, as text and HTML; versions; a kill right behind the answer takes nothing."""
    relay = Kept()
    assert relay.template("list") == "" and "there are no templates" in relay.complaint
    html, footer = relay.file("welcome.html", HTML), relay.file("footer.html", "<p>{{shop}} &amp; co</p>")
    # What it calls is to be there, and what is wrong is told with its line.
    assert "there is no partial footer" in (relay.template("add", "welcome", "--html", html, code=2), relay.complaint)[1]
    broken = relay.file("broken.html", "<p>\n  {{#each items}}\n</p>")
    relay.template("add", "welcome", "--html", broken, code=2)
    assert "html, line 2, column 3: {{#each}} is never closed: write {{/each}}" in relay.complaint, relay.complaint
    assert relay.template("list") == ""
    relay.template("add", "footer", "--partial", "--html", footer)
    variables = relay.file("variables.json", '[{"name": "shop", "default": "Our <shop>"}, {"name": "name"}]')
    sample = relay.file("sample.json", '{"name": "Zoë & <b>", "items": [{"title": "A"}, {"title": "B"}]}')
    add = ("add", "welcome", "--subject", "Welcome, {{name}}", "--html", html, "--variables", variables, "--sample", sample, "--category", "greetings")
    assert "welcome: version 1 is saved" in relay.template(*add)
    shown = json.loads(relay.template("show", "welcome", "--json"))
    assert shown["contents"]["html"] == HTML and shown["template"]["category"] == "greetings", shown
    assert relay.template("show", "welcome", "--part", "html") == HTML
    text = relay.template("preview", "welcome")
    assert text == "Subject: Welcome, Zoë & <b>\n\nWelcome, Zoë & <b>\n\n- A\n- B\n\nOur <shop> & co\n", text
    html_of = relay.template("preview", "welcome", "--data", '{"name": "Bob", "items": 0}', "--part", "html")
    assert '<h1 style="color: red">Welcome, Bob</h1>' in html_of and "@media" in html_of and "Our &lt;shop&gt; &amp; co" in html_of, html_of
    relay.template("preview", "welcome", "--data", "{}", code=2)
    assert "name is not there" in relay.complaint, relay.complaint
    # It comes as it was shown, to whom it is sent.
    relay.template("test", "welcome", "--from", "shop@b.example", "--to", "ada@d.example")
    relay.wait_log("delivered")
    mail = email.message_from_bytes(relay.sink.taken[0].body, policy=email.policy.default)
    assert mail["Subject"] == "Welcome, Zoë & <b>" and mail["X-Relevo-Category"] is None, mail.items()
    kinds = [part.get_content_type() for part in mail.iter_parts()]
    assert kinds == ["text/plain", "text/html"], kinds
    assert "- A" in mail.get_body(("plain",)).get_content() and 'style="color: red"' in mail.get_body(("html",)).get_content()
    assert relay.wait_log("received")[0]["category"] == "greetings"
    # Each save is a version, and is on disk when it is answered.
    relay.file("welcome.html", HTML.replace("Welcome", "Hello"))
    assert "version 2 is saved" in relay.template(*add)
    relay.kill()
    relay.start()
    assert "Hello, Zo" in relay.template("preview", "welcome") and "Welcome, Zo" in relay.template("preview", "welcome", "--version", "1", "--part", "text")
    assert [one["action"] for one in relay.log() if one["event"] == "admin"].count("save_template") == 3
    assert "is removed" in relay.template("remove", "welcome")
    relay.template("show", "welcome", code=1)
    relay.stop()


def tenants_have_their_own():
    """A token of a tenant sees, changes and tries its own; nothing of it takes long, whoever writes it."""
    relay = Kept()
    contents = {"subject": "Hi", "html": "<p>{{name}}</p>", "sample": {"name": "x"}}
    nodes = relay.curl("POST", "templates", {"name": "order", "contents": contents})
    shops = relay.curl("POST", "templates", {"name": "order", "contents": contents}, by="shop")
    assert shops["template"]["tenant"] == "shop" and nodes["template"].get("tenant") is None
    listed = relay.curl("GET", "templates", by="spy")["templates"]
    assert [one["uuid"] for one in listed] == [shops["template"]["uuid"]], listed
    assert len(relay.curl("GET", "templates")["templates"]) == 2
    other = f"templates/{nodes['template']['uuid']}"
    for method, path, body in (("GET", other, None), ("GET", f"{other}/versions", None), ("POST", other, {"name": "mine"}), ("DELETE", other, None), ("POST", f"{other}/test", {"from": "a@b.example", "to": "c@d.example"}), ("POST", "templates/preview", {"template": nodes["template"]["uuid"]})):
        relay.refused(method, path, body, "shop", "404 not_found")
    relay.refused("POST", "templates", {"name": "x", "tenant": "bank", "contents": contents}, "shop", "403 tenant")
    relay.refused("POST", "templates", {"name": "x", "contents": contents}, "spy", "403 role")
    assert relay.curl("POST", "templates/preview", {"template": "order"}, by="spy")["subject"] == "Hi"
    relay.refused("POST", "templates", {"name": "order", "contents": contents}, "shop", "409 conflict")
    # What would take long is refused before it is begun, and holds up nobody.
    many = [0] * 15000
    for html, data in (("{{#each a}}" * 3 + "{{#each @root.a}}x{{/each}}" + "{{/each}}" * 3, {"a": many}), ("{{#each a}}{{#each @root.a}}{{#each @root.a}}{{/each}}{{/each}}{{/each}}", {"a": many}), ("{{#each a}}" + "y" * 100000 + "{{/each}}", {"a": many}), ("{{a" * 20000, {}), ("{{#if a}}" * 4000, {})):
        begun = time.monotonic()
        code = relay.code("POST", "/control/v1/templates/preview", {"contents": {"html": html}, "data": data}, by="shop")
        assert code == (400, "template"), (html[:60], code)
        assert time.monotonic() - begun < 3
    assert relay.code("POST", "/control/v1/templates/preview", {"contents": {"html": "x" * (2 << 20)}}, by="shop") == (413, "too_large")
    # The frame of a preview is sealed, and is there without a token for who has its address.
    frame = relay.curl("POST", "templates/preview", {"contents": {"html": "<script>1</script>"}}, by="spy")["frame"]
    status, text, answer = relay.over_http("GET", frame)
    policy = answer.getheader("Content-Security-Policy")
    assert status == 200 and "<script>" in text and policy.startswith("sandbox;") and "default-src 'none'" in policy, (status, policy)
    assert relay.over_http("GET", "/preview/00000000000000000000000000000000")[0] == 404
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
