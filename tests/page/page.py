"""The operator's page in a real browser: `page.py STORY BINARY`. Called by tests/peers.rs. Answers are made up (answers.py), the page is what the binary serves."""
import gzip
import http.client
import json
import os
import sys
import time
from urllib.parse import urlsplit

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../peers")]
# Debian's, also where another Python comes first.
sys.path.append("/usr/lib/python3/dist-packages")

from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, NoSuchFrameException, StaleElementReferenceException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import answers
import mock
from relay import Relay
from sink import Sink

BINARY = os.path.abspath(sys.argv[2])
AXE = os.path.join(HERE, "../../target/clients/node_modules/axe-core/axe.min.js")
VIEWS = ["overview", "cluster", "queue?nodes=all", "deliverability", "deliverability?by=class&span=31d&tenant=shop", "sites", "sites?provider=google", "queue", "queue?q=domain%3Agmail.com", "message/00000000G0000001", "suspensions", "warmup", "quotas", "suppressions", "templates", "templates/new", "templates/00000000-0000-4000-8000-000000000001", "log"]


class Browser:
    def __init__(self, node, width=1280, dark=False, document=answers.document, behind=None, at=None):
        self.node, self.server = node, mock.serve(node, document=document, behind=behind)
        self.base = at or f"http://127.0.0.1:{self.server.server_port}/"
        options = Options()
        options.binary_location = "/usr/bin/chromium"
        for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--force-prefers-reduced-motion", "--hide-scrollbars", "--no-first-run", "--disable-background-networking"):
            options.add_argument(word)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        self.look(width, dark)

    def look(self, width, dark):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}, {"name": "prefers-reduced-motion", "value": "reduce"}]})

    def go(self, view):
        if self.driver.current_url.startswith(self.base):
            self.run("location.hash = arguments[0]", f"#/{view}")
        else:
            self.driver.get(f"{self.base}#/{view}")
        self.until("document.querySelector('main h1') && !document.querySelector('main .empty[role=status]')", f"{view} is shown")
        return self

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def until(self, condition, what, seconds=20):
        end = time.monotonic() + seconds
        while not self.run(f"return Boolean({condition})"):
            assert time.monotonic() < end, f"not so: {what}\n{self.text()[:3000]}"
            time.sleep(0.1)

    def text(self, of="body"):
        return self.run("return document.querySelector(arguments[0])?.innerText || ''", of)

    def says(self, words, of="body"):
        self.until(f"(document.querySelector({json.dumps(of)})?.innerText || '').includes({json.dumps(words)})", f"{of} says {words!r}")

    def button(self, words):
        """One that can be seen. Looked for in one step, as the page may be drawn anew between two."""
        script = "return [...document.querySelectorAll('button')].find((one) => one.getClientRects().length && (one.innerText.trim() === arguments[0] || one.getAttribute('aria-label') === arguments[0]))"
        end = time.monotonic() + 5
        while not (found := self.run(script, words)):
            assert time.monotonic() < end, f"no button {words!r}: {self.text()[:2000]}"
            time.sleep(0.1)
        return found

    def click(self, words):
        """On a button. One that was drawn anew just then was not hit."""
        for _ in range(20):
            try:
                return self.button(words).click()
            except StaleElementReferenceException:
                time.sleep(0.1)
        raise AssertionError(f"{words!r} is drawn anew all the time")

    def press(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()

    def focused(self):
        return self.run("const at = document.activeElement; return (at.getAttribute('aria-label') || at.innerText || at.id || at.tagName).trim()")

    def axe(self):
        if not self.run("return typeof axe === 'object'"):
            with open(AXE, encoding="utf-8") as script:
                self.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": script.read()})
        found = self.driver.execute_async_script("const done = arguments[arguments.length - 1]; axe.run(document, {resultTypes: ['violations']}).then((found) => done(found.violations), (error) => done([{id: String(error), nodes: []}]));")
        return [(one["id"], [(node["html"][:200], node["failureSummary"][:300]) for node in one["nodes"][:3]]) for one in found]

    def errors(self):
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def requests(self):
        """Where it asked."""
        sent = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        return [one["params"]["request"]["url"] for one in sent if one["method"] == "Network.requestWillBeSent"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.node.stream_breaks.set()
        self.driver.quit()
        self.server.shutdown()


def every_view_is_for_everybody():
    """No axe-core violation and nothing beside the window, in each view, light and dark, on a phone and on a screen; a view asks nobody else."""
    for empty in (False, True):
        with Browser(answers.Answers(empty=empty)) as browser:
            for view in VIEWS:
                for width, dark in ((360, False), (360, True), (1280, False), (1280, True), (1920, False))[: 2 if empty else 5]:
                    browser.look(width, dark)
                    browser.go(view)
                    time.sleep(0.3)
                    found = browser.axe()
                    assert not found, (view, width, dark, found)
                    wide = browser.run("return document.documentElement.scrollWidth")
                    assert wide <= width, (view, width, wide)
            browser.go("queue")
            browser.click("Bounce …")
            assert not (found := browser.axe()), found
            assert not browser.errors()
            asked = browser.requests()
            assert asked and all(url.startswith((browser.base, "data:")) for url in asked), [url for url in asked if not url.startswith(browser.base)]


def a_keyboard_is_enough():
    with Browser(answers.Answers()) as browser:
        browser.go("overview")
        browser.press(Keys.TAB)
        assert browser.focused() == "To the content", browser.focused()
        browser.press(Keys.TAB, Keys.TAB)
        seen = []
        for _ in range(6):
            seen.append(browser.focused().split("\n")[0])
            if seen[-1].startswith("Queue"):
                break
            browser.press(Keys.TAB)
        assert seen[-1].startswith("Queue"), seen
        browser.press(Keys.ENTER)
        browser.until("document.activeElement.tagName === 'H1' && document.activeElement.innerText === 'Queue'", "the heading of the new view has the focus")
        # The search completes names and values, and takes what stands there.
        browser.press(Keys.TAB)
        browser.press("sta", Keys.ARROW_DOWN, Keys.ENTER)
        browser.press("def", Keys.ARROW_DOWN, Keys.ENTER, Keys.ESCAPE, Keys.ENTER)
        browser.until("location.hash === '#/queue?q=state%3Adeferred'", "the search is in the address")
        browser.until("document.querySelectorAll('.queue tbody tr').length === 100", "rows are shown")
        assert browser.run("return document.activeElement.id") == "search", "an update leaves the focus alone"
        # A chart is read by arrows.
        browser.go("overview")
        browser.run("document.querySelector('.plot').focus()")
        browser.press(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
        value = browser.run("return document.activeElement.getAttribute('aria-valuetext')")
        assert "accepted " in value and "UTC" in value, value
        # A dialog is left by Escape, and the focus is where it was.
        browser.go("suspensions")
        browser.until("document.querySelector('tbody button')", "suspensions are shown")
        browser.run("document.querySelector('tbody button').focus()")
        browser.press(Keys.ENTER)
        browser.says("Resume", "dialog")
        browser.press(Keys.ESCAPE)
        browser.until("!document.querySelector('dialog') && document.activeElement.getAttribute('aria-label') === 'Resume suspension 12'", "the focus is back")


def what_others_write_stays_text():
    with Browser(answers.Answers()) as browser:
        for view in VIEWS:
            browser.go(view)
            time.sleep(2 if view == "log" else 0.5)
            for of in ("img", "main b b", "script:not(body > script)", "main iframe:not([sandbox=''])"):
                assert browser.run("return document.querySelectorAll(arguments[0]).length", of) == 0, (view, of)
            assert "owned" not in browser.driver.title
            if view not in ("warmup", "deliverability?by=class&span=31d&tenant=shop", "sites?provider=google", "queue?q=domain%3Agmail.com", "templates/new"):
                assert "<img src=x" in browser.text("main"), view
            assert "\u202e" not in browser.text("main"), f"{view}: what turns text around is shown as what it is"


def a_change_asks_first():
    node = answers.Answers()
    with Browser(node) as browser:
        browser.go("queue?q=domain%3Agmail.com")
        browser.click("Bounce …")
        browser.says("602 recipients wait there now", "dialog")
        browser.says("domain:gmail.com", "dialog")
        browser.click("Bounce them")
        browser.says("A reason is needed", "#notice")
        assert not node.changes, "nothing was done"
        browser.press("they moved")
        browser.press(Keys.ENTER)
        browser.says("602 recipients were bounced. 2 under way were left alone.", "dialog")
        asked = {"filter": {"domain": "gmail.com"}, "reason": "they moved"}
        assert node.changes == [("queue/bounce", asked), ("queue/bounce", {**asked, "cursor": "c"})], node.changes
        browser.click("Close")
        # All mail wants one more word.
        node.changes.clear()
        browser.go("queue?q=")
        browser.until("!location.hash.includes('gmail')", "all")
        browser.click("Hold …")
        browser.says("1,000,000 recipients wait there now", "dialog")
        browser.run("document.querySelector('dialog [name=reason]').focus()")
        browser.press("legal", Keys.ENTER)
        browser.says("Say that all mail is meant", "#notice")
        assert not node.changes
        browser.driver.find_element(By.CSS_SELECTOR, "dialog [name=all]").click()
        browser.click("Hold them")
        browser.says("are held", "dialog")
        assert node.changes[0] == ("queue/hold", {"all": True, "reason": "legal"}), node.changes
        browser.click("Close")
        # A suspension has an end.
        node.changes.clear()
        browser.go("sites?provider=google")
        browser.click("Suspend …")
        browser.run("const of = document.querySelector('dialog [name=for]'); of.value = 'soon'; document.querySelector('dialog [name=reason]').focus()")
        browser.press("they asked", Keys.ENTER)
        browser.says("Write it as 30m, 2h or 3d", "dialog")
        assert not node.changes
        browser.run("document.querySelector('dialog [name=for]').value = '90m'")
        browser.click("Suspend")
        browser.says("Suspended until", "dialog")
        assert node.changes == [("suspend", {"filter": {"provider": "google"}, "reason": "they asked", "seconds": 5400})], node.changes
        browser.click("Close")
        node.changes.clear()
        browser.click("Redirect …")
        browser.press("backup", Keys.TAB, Keys.TAB, "their MX burns", Keys.ENTER)
        browser.says("Write it as smtp://host:25", "dialog")
        assert not node.changes
        browser.run("document.querySelector('dialog [name=to]').value = 'smtp://backup.example.net:25'")
        browser.click("Redirect")
        browser.says("Redirected until", "dialog")
        assert node.changes == [("queue/redirect", {"filter": {"provider": "google"}, "reason": "their MX burns", "seconds": 7200, "to": "smtp://backup.example.net:25"})], node.changes
    # Who may only read finds the same, and why not.
    node = answers.Answers(role="read")
    with Browser(node) as browser:
        browser.go("queue")
        button = browser.button("Bounce …")
        assert button.get_attribute("aria-disabled") == "true" and "needs the role operate" in button.get_attribute("title")
        button.click()
        browser.says("needs the role operate", "#notice")
        assert not browser.driver.find_elements(By.TAG_NAME, "dialog") and not node.changes


def nodes_of_a_cluster_are_looked_at():
    """Who answers and who does not, with why; the queue of all nodes, where nobody is left out in silence; nothing of it while nobody looks, or for a tenant."""
    node = answers.Answers()
    asked = lambda path: len([one for one in node.asked if urlsplit(one[1]).path == f"/control/v1/{path}"])
    with Browser(node) as browser:
        shown = time.monotonic()
        browser.go("cluster")
        browser.says("4 of 8 nodes do not answer", ".verdict")
        for words in ("Redis cannot be asked which nodes there are", "Connection refused", "no answer within 2 s", "it refuses the token (401)", "in no network of cluster.networks"):
            browser.says(words, ".verdict")
        rows = dict(browser.run("return [...document.querySelectorAll('.nodes tbody tr')].map((row) => [row.querySelector('td bdi').innerText, row.innerText])"))
        assert len(rows) == 8 and "draining" in rows["mx2.example.net"] and "on last leases" in rows["mx2.example.net"] and "500,000" in rows["mx2.example.net"], rows
        assert "away" in rows["mx4.example.net"] and "answered 4 min ago" in rows["mx4.example.net"] and "runs relevo 0.0.9, not 0.1.0" in rows[answers.LONG], rows
        assert browser.run("return [...document.querySelectorAll('.nodes td:first-child a')].map((link) => link.getAttribute('href'))")[:2] == ["#/overview", "http://10.0.0.2:8025/"]
        # As it is drawn, and each five seconds from then on.
        assert asked("cluster") <= 2 + (time.monotonic() - shown) // 4, node.asked
        before = asked("cluster")
        end = time.monotonic() + 20
        while asked("cluster") == before:
            assert time.monotonic() < end, "it is asked again while it is looked at"
            time.sleep(0.2)
        # And not from elsewhere.
        browser.go("queue")
        # One may be on its way.
        time.sleep(1)
        before = asked("cluster")
        time.sleep(6)
        assert asked("cluster") == before and asked("cluster/queue") == 0, node.asked
        browser.click("All nodes")
        browser.until("location.hash.includes('nodes=all')", "it is in the address")
        browser.says("The mail of 4 nodes is missing here", "main")
        browser.until("document.querySelectorAll('.queue tbody tr').length === 100", "rows are shown")
        browser.says("1,000,000", ".numbers")
        links = browser.run("return [...document.querySelectorAll('.queue tbody tr')].map((row) => [row.querySelector('td').innerText.split('\\n').pop(), (row.querySelector('td a') || {href: null}).href])")
        by_node = {name: link for name, link in links}
        assert set(by_node) == {f"mx{n}.example.net" for n in (1, 2, 3)}, by_node
        assert "#/message/" in by_node["mx1.example.net"] and by_node["mx2.example.net"].startswith("http://10.0.0.2:8025/#/message/") and by_node["mx3.example.net"] is None, by_node
        button = browser.button("Bounce …")
        assert button.get_attribute("aria-disabled") == "true" and "on its node" in button.get_attribute("title")
        browser.run("document.querySelector('#search').focus()")
        browser.press("domain:gmail.com", Keys.ENTER)
        browser.until("location.hash.includes('gmail') && location.hash.includes('nodes=all')", "the search stays with all nodes")
        browser.click("This node")
        browser.until("!location.hash.includes('nodes=all') && location.hash.includes('gmail')", "and comes back")
        browser.until("!document.querySelector('.verdict.warn')", "nothing is missing of this node")
        node.is_well = True
        browser.go("cluster")
        browser.says("All 3 nodes answer and take mail", ".verdict")
        assert not browser.errors(), browser.errors()
    alone = answers.Answers()
    alone.in_cluster = None
    with Browser(alone) as browser:
        browser.go("queue?nodes=all")
        assert "Cluster" not in browser.text("nav") and "All nodes" not in browser.text("main")
        browser.until("document.querySelectorAll('.queue tbody tr').length === 100", "its own queue")
        browser.go("cluster")
        browser.says("This node is in no cluster", ".verdict")


def a_stream_that_breaks_comes_back():
    node = answers.Answers()
    with Browser(node) as browser:
        browser.go("overview")
        browser.says("Live", ".liveness")
        node.stream_breaks.set()
        browser.says("Not live since", ".liveness")
        assert "Mail flows" in browser.text("main"), "what was known stays"
        node.refuse["/events"] = (503, "32 streams are open: that is all there are", [("Retry-After", "1")])
        browser.says("32 streams are open", ".liveness")
        before = node.streams
        time.sleep(3)
        assert len([one for one in node.asked if one[1] == "/events"]) - before < 12, "it asks ever less often"
        node.refuse.clear()
        node.stream_breaks.clear()
        browser.until("/^✓ Live/.test(document.querySelector('.liveness').innerText)", "live again", 30)
        # The log keeps to its bound, and stands while it is paused.
        browser.go("log")
        browser.until("document.querySelectorAll('ol.log > li').length > 3", "events come")
        browser.click("Pause")
        shown = browser.run("return document.querySelectorAll('ol.log > li').length")
        time.sleep(2.5)
        assert browser.run("return document.querySelectorAll('ol.log > li').length") == shown
        browser.says("Paused", ".log-state")
        browser.click("Go on")
        browser.until(f"document.querySelectorAll('ol.log > li').length > {shown}", "it goes on")
        # A flood fills what there is room for, and the page still answers.
        node.burst = 4000
        browser.until("document.querySelectorAll('ol.log > li').length === 1000", "a thousand rows")
        time.sleep(3)
        assert browser.run("return document.querySelectorAll('ol.log > li').length") == 1000
        begun = time.monotonic()
        browser.click("Pause")
        browser.says("Paused; 1,000 came since or more.", ".log-state")
        # Of a machine that does four other things meanwhile.
        assert time.monotonic() - begun < 60, "it is slow"


def who_is_not_known_signs_in():
    node = answers.Answers(token="secret")
    with Browser(node) as browser:
        browser.driver.get(f"{browser.base}#/queue?q=domain%3Agmail.com")
        browser.says("Sign in")
        assert not browser.axe()
        browser.until("document.activeElement.id === 'token'", "the field has the focus")
        browser.press("guess", Keys.ENTER)
        browser.says("This token is not known here")
        assert browser.run("return sessionStorage.length") == 0
        browser.press("secret", Keys.ENTER)
        browser.says("602", ".numbers")
        assert browser.run("return [sessionStorage.length, document.cookie, location.href.includes('secret')]") == [1, "", False]
        # What it knew is good no more.
        node.token = "another"
        browser.click("Load anew")
        browser.says("Sign in")
        browser.says("This token is not known here")
        assert browser.run("return sessionStorage.length") == 0
        browser.press("another", Keys.ENTER)
        browser.says("602", ".numbers")
        # Errors are told in the relay's words.
        node.refuse["/control/v1/queue"] = (503, "another request goes on with that search, or too many are under way; ask again in a moment", [])
        browser.click("Load anew")
        browser.says("Another request goes on with that search", "main")
        node.refuse.clear()
        browser.click("Ask again")
        browser.until("document.querySelectorAll('.queue tbody tr').length === 100", "rows are back")
        browser.go("queue?q=older%3Asoon")
        browser.says("Older is a time, as 30m, 2h or 3d; soon is none", "main")
        browser.go("queue?q=older")
        browser.says("say what that is", "main")
        browser.go("message/00000000G0009999")
        browser.says("is settled, or was never here", "main")
        browser.go("queue?q=reply%3A4")
        browser.says("Looking through records", "main")
        browser.until("document.querySelectorAll('.queue tbody tr').length === 100", "what was found is shown")
        # Who may not see the whole node is told so, and searches what is his.
        node.refuse["/events"] = (403, "a token of a tenant sees no overview of the node", [])
        browser.driver.refresh()
        browser.go("overview")
        browser.says("A token of a tenant sees no overview of the node", "main")
        browser.go("queue?q=domain%3Agmail.com")
        browser.says("602", ".numbers")
        browser.click("Sign out")
        browser.says("Sign in")
        assert browser.run("return sessionStorage.length") == 0


def a_queue_is_searched_and_changed():
    """What a relay answers is what the page reads: rows, reasons, changes, suspensions, the suppression list."""
    later = lambda point, data: b"450 4.2.0 not <b>yet</b>\r\n" if point == "RCPT" and b"later" in data else None
    relay = Relay(BINARY, Sink(later), '[retry]\nfirst = "1h"\nmax = "1h"\n')
    client = relay.client()
    for number in range(30):
        client.sendmail("a@b.example", [f"later{number}@d{number % 3}.example"], b"Subject: hello\r\n\r\nA line.\r\n")
    client.quit()
    with Browser(answers.Answers(role="admin"), behind=f"{relay.data_dir}/control.sock") as browser:
        browser.go("queue?q=state%3Adeferred")
        end = time.monotonic() + 30
        while "30\nrecipients" not in browser.text(".numbers"):
            assert time.monotonic() < end, browser.text(".numbers")
            time.sleep(0.5)
            browser.click("Load anew")
        browser.go("queue?q=domain%3Ad1.example")
        browser.until("document.querySelectorAll('.queue tbody tr').length === 10", "rows of one domain")
        # What was said last is known when it is on disk.
        time.sleep(0.5)
        browser.click("Load anew")
        browser.says("450 4.2.0 not <b>yet</b>", ".queue")
        browser.click("Why?")
        browser.says("10 recipients: waiting for the next try", ".why")
        browser.says("450 4.2.0 not <b>yet</b>", ".why")
        browser.go("queue?q=reply%3Anot")
        browser.until("document.querySelectorAll('.queue tbody tr').length === 30", "found in records")
        browser.go("queue?q=color%3Ared")
        browser.says("color", ".verdict")
        # Suspended, listed, resumed.
        browser.go("queue?q=domain%3Ad1.example")
        browser.click("Suspend …")
        browser.says("10 recipients wait there now", "dialog")
        browser.press("they asked", Keys.ENTER)
        browser.says("Suspended until", "dialog")
        browser.press(Keys.ESCAPE)
        browser.go("suspensions")
        browser.says("they asked", "main")
        browser.run("document.querySelector('tbody button').click()")
        browser.press(Keys.ENTER)
        browser.says("Ended: 1 suspension", "dialog")
        browser.press(Keys.ESCAPE)
        browser.says("Nothing is suspended", "main")
        # One message, seen and bounced.
        browser.go("queue?q=domain%3Ad2.example")
        browser.until("document.querySelectorAll('.queue tbody tr').length === 10", "rows of another")
        browser.run("document.querySelector('.queue tbody a').click()")
        browser.says("1 of 1 left", "main")
        browser.says("waiting for the next try", ".why")
        browser.click("Bounce …")
        browser.says("1 recipient waits there now", "dialog")
        browser.press("no such list", Keys.ENTER)
        browser.says("1 recipient was bounced", "dialog")
        browser.press(Keys.ESCAPE)
        browser.says("is settled", "main")
        # The suppression list.
        browser.go("suppressions")
        browser.click("Add …")
        browser.press("ada@example.org", Keys.TAB, Keys.TAB, Keys.TAB)
        browser.run("document.querySelector('dialog [name=note]').focus()")
        browser.press("she asked", Keys.ENTER)
        browser.says("1 entry added", "dialog")
        browser.press(Keys.ESCAPE)
        browser.go("suppressions?address=ada%40example.org")
        browser.says("she asked", "main")
        browser.go("suppressions?address=bob%40example.org")
        browser.says("Nothing on the list holds back mail to bob@example.org", "main")
        for view in ("warmup", "quotas"):
            browser.go(view)
            assert not browser.driver.find_elements(By.CSS_SELECTOR, "main [role=alert]"), browser.text("main")
    relay.stop()


def what_became_of_mail_is_told():
    """From providers to tenants to campaigns, by links alone; more rows where there are more; what is asked is in the address."""
    node = answers.Answers()
    with Browser(node) as browser:
        browser.go("deliverability")
        browser.says("7,912,345", ".cards")
        browser.says("421 4.7.28 Gmail has detected", "main")
        rows = lambda of: browser.run("return document.querySelectorAll(arguments[0]).length", f"section[aria-label='{of}'] tbody tr")
        assert rows("By provider") == 42 and rows("What receivers say") == 5
        browser.run("document.querySelector(\"section[aria-label='By provider'] tbody a\").click()")
        browser.until("location.hash.includes('by=tenant') && location.hash.includes('provider=google')", "tenants of google")
        browser.until("document.querySelector(\"section[aria-label='By tenant']\")", "by tenant")
        asked = [path for _, path in node.asked if path.startswith("/control/v1/analytics")]
        assert "by=tenant" in asked[-1] and "provider=google" in asked[-1], asked
        browser.run("document.querySelector('.sifted a.badge').click()")
        browser.until("!location.hash.includes('provider=google')", "all again")
        browser.click("Campaign")
        browser.until("document.querySelectorAll(\"section[aria-label='By campaign'] tbody tr\").length === 200", "a page")
        browser.click("7 days")
        browser.until("location.hash.includes('span=7d') && document.querySelectorAll(\"section[aria-label='By campaign'] tbody tr\").length === 200", "a week")
        browser.click("More")
        browser.until("document.querySelectorAll(\"section[aria-label='By campaign'] tbody tr\").length === 253", "all rows")
        assert not browser.axe() and not browser.errors()
        # Where nothing is counted that is said.
        node.refuse["/control/v1/analytics"] = (404, "nothing is counted: control.analytics is false", [])
        browser.go("deliverability?by=tenant")
        browser.says("Nothing is counted", "main")


def a_node_is_watched():
    """All of it from one relay: the page, its stream and its answers, to who has no token and reads."""
    later = lambda point, data: b"450 4.2.0 not yet\r\n" if point == "RCPT" and b"later" in data else None
    relay = Relay(BINARY, Sink(later), '[retry]\nfirst = "1h"\nmax = "1h"\n')
    connection = http.client.HTTPConnection("127.0.0.1", relay.http, timeout=10)
    connection.request("GET", "/control/v1/me")
    if connection.getresponse().status == 404:
        relay.stop()
        return print("this relay answers commands on its socket alone")
    relay.send("a@b.example", ["later@d.example"], b"Subject: hello\r\n\r\nA line.\r\n")
    with Browser(answers.Answers(), at=f"http://127.0.0.1:{relay.http}/") as browser:
        browser.go("overview")
        browser.says("Live", ".liveness")
        browser.says("1 recipient waits", ".verdict")
        browser.go("queue")
        browser.until("document.querySelectorAll('.queue tbody tr').length === 1", "it waits")
        assert browser.button("Bounce …").get_attribute("aria-disabled") == "true"
        browser.go("log")
        browser.until("document.querySelector('.liveness').innerText.includes('Live')", "live")
        relay.send("a@b.example", ["later2@d.example"], b"Subject: hello\r\n\r\nA line.\r\n")
        browser.says("later2@d.example", "ol.log")
        browser.go("deliverability?span=1h")
        browser.says("450 4.2.0 not yet", "main")
        for view in VIEWS:
            if not view.startswith(("message", "templates/0")):
                browser.go(view)
                time.sleep(0.5)
                assert not browser.driver.find_elements(By.CSS_SELECTOR, "main [role=alert]"), (view, browser.text("main"))
        assert not browser.errors()
    relay.stop()


def templates_are_written_and_tried():
    """Written, seen as it will be read, saved, tried, as an old version again, removed; hostile HTML runs nothing, asks nobody and reaches nothing."""
    from files_api import Operated

    relay = Operated()
    with Browser(answers.Answers(), at=f"http://127.0.0.1:{relay.http}/") as browser:
        browser.driver.get(browser.base)
        browser.run("sessionStorage.setItem('relevo.token', arguments[0]); location.hash = '#/templates'; location.reload()", relay.secrets["operate"])
        browser.says("There are none yet", "main")
        browser.click("New template")
        frame = lambda: browser.run("return document.querySelector('iframe').src")
        browser.until("(document.querySelector('iframe')?.src || '').includes('/preview/')", "it is seen as it is written")
        first = frame()

        def put(name, text):
            browser.run("const input = document.querySelector('form.editor').elements.namedItem(arguments[0]); input.value = arguments[1]; input.dispatchEvent(new Event('input', {bubbles: true}))", name, text)

        def reads(words):
            end = time.monotonic() + 20
            while True:
                try:
                    browser.driver.switch_to.frame(browser.driver.find_element(By.CSS_SELECTOR, "iframe"))
                    text = browser.driver.find_element(By.TAG_NAME, "body").text
                except (NoSuchElementException, NoSuchFrameException, StaleElementReferenceException) as gone:
                    # Another preview comes in its place.
                    text = str(gone)
                browser.driver.switch_to.default_content()
                if words in text:
                    return text
                assert time.monotonic() < end, (words, text)
                time.sleep(0.1)

        reads("Welcome, Ada")
        put("name", "welcome")
        put("subject", "Hello, {{name}}")
        put("html", "<h1>Hello, {{name}}</h1><script>parent.document.title = 'owned'; fetch('http://127.0.0.1:1/x')</script><img src=http://127.0.0.1:1/pixel><link rel=stylesheet href=http://127.0.0.1:1/css><form action=http://127.0.0.1:1/><button>B</button></form><a target=_top href=javascript:alert(1)>L</a>")
        put("sample", json.dumps({"name": "<i>Zoë</i>"}))
        reads("Hello, <i>Zoë</i>")
        assert frame() != first
        browser.says("Hello, <i>Zoë</i>", ".subject")
        assert browser.run("return document.title").startswith("Templates") and browser.run("return document.querySelector('iframe').getAttribute('sandbox')") == ""
        assert not [url for url in browser.requests() if "127.0.0.1:1/" in url], "nothing is asked of others"
        browser.driver.get_log("browser")
        browser.click("Phone")
        browser.until("document.querySelector('.sheet').clientWidth === 373 && document.querySelector('iframe').offsetWidth === 373", "as wide as a phone")
        browser.click("Desktop")
        browser.until("document.querySelector('iframe').offsetWidth === 800 && document.querySelector('iframe').getBoundingClientRect().width === document.querySelector('.sheet').clientWidth", "as wide as at a desk, in the room there is")
        put("html", "<p>\n{{#if name}}")
        browser.says("Html, line 2, column 1: {{#if}} is never closed: write {{/if}}", "[role=alert]")
        put("sample", "{")
        browser.says("Sample data", "[role=alert]")
        put("sample", json.dumps({"name": "Zoë"}))
        put("html", "<h1>Hello, {{name}}</h1>")
        reads("Hello, Zoë")
        browser.click("Text")
        browser.says("Hello, Zoë", ".as-text")
        browser.click("Save")
        browser.until("location.hash.length > 40", "it has an address of its own")
        browser.says("Version 1", "main header")
        put("html", "<h1>Good day, {{name}}</h1>")
        browser.says("not saved yet", "main header")
        browser.click("Save")
        browser.says("Version 2", "main header")
        browser.until("document.querySelectorAll('section[aria-label=Versions] tbody tr').length === 2", "both are kept")
        browser.click("Send a test …")
        browser.run("const form = document.querySelector('dialog form'); form.elements.namedItem('from').value = 'shop@b.example'; form.elements.namedItem('to').value = 'ada@d.example'")
        browser.click("Send")
        browser.says("It is on its way", "dialog")
        relay.wait_log("delivered")
        assert b"Good day" in relay.sink.taken[0].body, relay.sink.taken[0].body
        browser.click("Close")
        browser.run("document.querySelector('section[aria-label=Versions] a').click()")
        browser.says("what is shown is version 1", "main header")
        reads("Hello, Zoë")
        for width, dark in ((1280, False), (390, True)):
            browser.look(width, dark)
            assert not (found := browser.axe()), found
            assert browser.run("return document.documentElement.scrollWidth") <= width
        browser.look(1280, False)
        browser.click("Remove …")
        browser.click("Remove")
        browser.says("There are none yet", "main")
        # Who may only read looks.
        relay.curl("POST", "templates", {"name": "order", "contents": {"subject": "s", "html": "<p>{{x}}</p>", "sample": {"x": 1}}})
        browser.run("sessionStorage.setItem('relevo.token', arguments[0]); location.reload()", relay.secrets["read"])
        browser.until("document.querySelectorAll('main tbody tr').length === 1", "it is listed")
        browser.run("document.querySelector('main tbody a').click()")
        reads("1")
        assert browser.button("Save").get_attribute("aria-disabled") == "true"
        # What was refused above was meant to be.
        assert not [error for error in browser.errors() if "400" not in error and "preview" not in error]
    relay.stop()


def the_relay_serves_it():
    relay = Relay(BINARY, Sink())

    def ask(**fields):
        connection = http.client.HTTPConnection("127.0.0.1", relay.http, timeout=10)
        connection.request("GET", "/", headers={name.replace("_", "-"): value for name, value in fields.items()})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()

    status, fields, text = ask()
    ours, policy = answers.document()
    assert status == 200 and text == ours and fields["Content-Security-Policy"] == dict(policy)["Content-Security-Policy"], fields
    assert fields["Referrer-Policy"] == "no-referrer" and "set-cookie" not in fields
    _, packed_fields, packed = ask(Accept_Encoding="gzip")
    assert gzip.decompress(packed) == text and packed_fields["Content-Encoding"] == "gzip" and len(packed) < 50000, len(packed)
    assert ask(If_None_Match=fields["ETag"])[0] == 304 and ask(Accept_Encoding="gzip", If_None_Match=packed_fields["ETag"])[0] == 304
    # Nothing of it offends its own policy.
    with Browser(answers.Answers(), document=lambda: (text, [(name, value) for name, value in fields.items() if name.lower() not in ("content-length", "connection", "date")])) as browser:
        browser.go("overview")
        browser.says("Mail flows", "main")
        assert not browser.errors()
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
