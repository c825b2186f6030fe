"""What a relay under load would answer to the operator's page: 1,000,000 queued, 40 providers, names and replies that are long or hostile."""
import base64
import hashlib
import math
import os
import re
import threading
import time
from datetime import datetime, timedelta, timezone

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"
TURNED = "\u202eevil\u202c שלום <b>bold</b> مرحبا"
LONG = "a-very-long-label-of-a-domain-that-somebody-has-registered-to-see-what-breaks.with-another-long-label-behind-it.example.org"
SRC = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../src/control")


def iso(seconds=0.0):
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def document():
    """The page and its policy, joined as `page.rs` does."""
    read = lambda path: open(os.path.join(SRC, path), encoding="utf-8").read()
    rust = read("page.rs")
    styles = [read(path) for path in re.findall(r'include_str!\("([^"]+\.css)"\)', rust)]
    scripts = [read(path) for path in re.findall(r'include_str!\("([^"]+\.js)"\)', rust)]
    style, script = "".join(styles), "(() => {\n%s})();\n" % "".join(scripts)
    text = read("page/page.html").replace("{style}", style).replace("{script}", script)
    digest = lambda of: "'sha256-%s'" % base64.b64encode(hashlib.sha256(of.encode()).digest()).decode()
    policy = (f"default-src 'none'; script-src {digest(script)}; style-src {digest(style)}; img-src data:; connect-src 'self'; frame-src 'self'; base-uri 'none'; "
              "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'")
    return text.encode(), [("Content-Type", "text/html; charset=utf-8"), ("Content-Security-Policy", policy), ("Referrer-Policy", "no-referrer")]


PROVIDERS = ["google", "microsoft", "yahoo", "icloud", "gmx", "web.de", "orange", "comcast", "mail.ru", "proofpoint", "mimecast", TURNED, HOSTILE] + [f"provider-{n}" for n in range(13, 40)]
DOMAINS = ["gmail.com", "outlook.com", "yahoo.com", "icloud.com", "gmx.net", LONG, "xn--bcher-kva.example", "hotmail.com", "aol.com", "web.de", "orange.fr", "comcast.net"]
REPLIES = ["421 4.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your IP address. To protect our users, mail sent from your IP address has been temporarily rate limited.",
           "451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (S77719)", "450 4.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages from being delivered.",
           f"450 4.3.2 {HOSTILE}", f"451 4.7.1 {TURNED}", "452 4.2.2 The email account that you tried to reach is over quota"]
CLASSES = [("throttled", 182443, REPLIES[0]), ("mailbox_full", 23411, REPLIES[5]), ("bad_mailbox", 9120, "550 5.1.1 The email account that you tried to reach does not exist."),
           ("greylisted", 4021, f"450 4.2.0 greylisted {HOSTILE}"), ("reputation", 912, REPLIES[1]), ("timeout", 77, None)]


class Answers:
    """One node. Tests turn its knobs."""

    def __init__(self, empty=False, token=None, role="operate"):
        self.empty, self.token, self.role = empty, token, role
        self.refuse = {}        # path: (status, words, fields)
        self.slow = {}          # path: seconds
        self.stream_breaks = threading.Event()
        self.streams = 0
        self.burst = 5          # events a second
        self.asked = []
        self.changes = []
        self.ready = True
        self.in_cluster = "relays"
        self.is_well = False
        self.began = time.time() - 200000

    def wave(self, at, base, swing):
        return round(base + swing * math.sin(at / 190) + swing / 3 * math.sin(at / 17.3) + swing / 8 * math.sin(at * 1.7), 1)

    def rates(self, at):
        if self.empty:
            return {"accepted": 0.0, "delivered": 0.0, "deferred": 0.0, "bounced": 0.0, "rejected": 0.0}
        return {"accepted": self.wave(at, 4200, 600), "delivered": self.wave(at + 9, 3900, 500), "deferred": self.wave(at + 50, 260, 120),
                "bounced": self.wave(at, 24, 8), "rejected": self.wave(at, 3, 2)}

    def providers(self):
        if self.empty:
            return []
        out, left = [], 940000
        for n, name in enumerate(PROVIDERS):
            part = left * 2 // 5
            left -= part
            out.append({"name": name, "recipients": part, "ready": part // 90, "deferred": part - part // 90, "suspended": 4096 if n == 4 else 0, "sites": 1 + n % 7, "connections": max(0, 60 - n * 3), "narrowed": {0: 2, 1: 1, 11: 1}.get(n, 0)})
        return out + [{"name": "other", "recipients": 60000, "ready": 100, "deferred": 59900, "suspended": 0, "sites": 800, "connections": 41, "narrowed": 0}]

    def overview(self):
        now = time.time()
        if self.empty:
            queue = dict.fromkeys(["recipients", "ready", "deferred", "suspended", "held", "under_way", "domains"], 0)
        else:
            queue = {"recipients": 1000000 + int(now) % 60, "ready": 10212, "deferred": 983580, "suspended": 4096, "held": 2112, "under_way": 412, "domains": 81200}
        steps = [60, 600, 3600, 21600, 86400, None]
        return {"as_of": iso(), "node": "mx1.example.net", "version": "0.1.0", "uptime_seconds": int(now - self.began), "draining": False, "ready": self.ready,
                "not_ready": None if self.ready else "the disk of node.data_dir has 2 % left: mail is refused for now",
                "rates": {**self.rates(now), "connections_in": 0 if self.empty else 412, "connections_out": 0 if self.empty else 871},
                "queue": {"as_of": iso(-4), **queue}, "ages": None if self.empty else [{"up_to_seconds": s, "recipients": n} for s, n in zip(steps, [9120, 61200, 204100, 480321, 201000, 44259])],
                "providers": self.providers(), "domains": [] if self.empty else [{"name": name, "recipients": 300000 // (n + 1), "ready": 300 // (n + 1), "deferred": 299700 // (n + 1)} for n, name in enumerate(DOMAINS)],
                "classes": [] if self.empty else [{"class": c, "recipients": n, "text": t} for c, n, t in CLASSES],
                "shards": [{"shard": n, "busy_ratio": 0.02 if self.empty else 0.35 + n * 0.19, "longest_turn_seconds": 0.0021 * (n + 1), "connections_in": 0 if self.empty else 103, "connections_out": 0 if self.empty else 217, "queued": queue["recipients"] // 4, "spool_bytes": 0 if self.empty else 12884901888} for n in range(4)],
                "warnings": [] if self.empty else ["source ip3 sends nothing: 192.0.2.3 is listed at zen.example (127.0.0.4)", "the certificate of listener[1] ends in 6 days"],
                "said": [] if self.empty else [{"time": iso(-90), "level": "warning", "words": "no name server answers, not even for the root: domains wait until one does; look at dns.servers"}]}

    def history(self, step):
        points, now = (3600, time.time()) if step == 1 else (1440, time.time())
        series = {name: [] for name in ["accepted", "delivered", "deferred", "bounced", "rejected", "queued"]}
        for n in range(points):
            at = now - (points - 1 - n) * step
            unknown = not self.empty and points * 0.3 < n < points * 0.33
            for name, value in self.rates(at).items():
                series[name].append(None if unknown else value)
            series["queued"].append(None if unknown else 0 if self.empty else 1000000 - (points - n) * 110)
        return {"step_seconds": step, "until": iso(), "series": series}

    def sites(self, query):
        if self.empty:
            return {"rows": [], "next": None}
        start, rows = int(query.get("cursor") or 0), []
        for n in range(start, min(start + 256, 800)):
            name = ["10 gmail-smtp-in.l.google.com:25", "outlook-com.olc.protection.outlook.com", f"mx.{LONG}", f"mx-{n}.example.org {HOSTILE}"][n] if n < 4 else f"mx{n}.provider.example"
            narrowed = n in (0, 1, 3)
            rows.append({"site": name, "provider": PROVIDERS[n] if n < 40 else None, "source": f"ip{n % 4 + 1}", "connections": 3 if narrowed else 10, "connection_limit": 20, "window": 4 if narrowed else 20, "narrowed": narrowed, "message_rate": "100/s" if n % 3 == 0 else None,
                         "ready": 1200 // (n + 1), "closed_until": iso(740) if n in (1, 9) else None, "last_reply": REPLIES[n % 6] if narrowed or n % 5 == 0 else None, "suspended": "12 by token ops: they asked us to stop" if n == 4 else None})
        if query.get("narrowed"):
            rows = [row for row in rows if row["narrowed"] or row["closed_until"]]
        if query.get("provider"):
            rows = [row for row in rows if row["provider"] == query["provider"]]
        last = start + 256 >= 800 or query.get("narrowed") or query.get("provider")
        return {"rows": rows, "next": None if last else str(start + 256)}

    def queue(self, query):
        """Pages; a search by a reply looks through records first."""
        if query.get("domain") == "nobody.example" or self.empty:
            return {"rows": [], "under_way": 0, "next": None}
        if "older" in query and not re.fullmatch(r"\d+[smhd]", query["older"]):
            return (400, {"error": f"older is a time, as 30m, 2h or 3d; {query['older']} is none", "code": "bad_filter"})
        cursor = query.get("cursor") or "0"
        if "reply" in query:
            done = int(cursor.split("~")[1]) if "~" in cursor else 0
            if done < 600000:
                time.sleep(0.2)
                return {"rows": [], "under_way": 0, "next": f"a~{done + 200000}", "scanned": {"messages": done, "of": 812345, "unreadable": 0}}
            cursor = "0"
        start, rows = int(cursor), []
        for n in range(start, start + 100):
            domain, state = query.get("domain") or DOMAINS[n % 12], query.get("state") or ["deferred", "deferred", "ready", "suspended", "held"][n % 5]
            first = {3: f"{HOSTILE}@{domain}", 5: f"{TURNED}@{domain}"}.get(n, f"reader{n}@{domain}")
            rows.append({"id": f"00000000G{n:07d}", "state": state, "domain": domain, "site": f"mx.{domain}", "sender": "" if n % 9 == 8 else f"bounce+{n:05d}@news.example.com", "count": 1 if n % 4 else 240, "recipients": [first] if n % 4 else [first, f"other@{domain}", f"third@{domain}"],
                         "accepted": iso(-n * 97 - 4), "size": 20480, "attempts": n % 7, "next_attempt": iso(n * 31 + 5) if state == "deferred" else None, "site_closed_until": None, "expires": iso(345600), "last_reply": None if state == "ready" and n % 2 else REPLIES[n % 6], "damaged": n == 11,
                         **({"suspended": "12 by token ops: they asked us to stop"} if state == "suspended" else {}), **({"hold": "by token ops: legal asks, until 2026-12-01T08:00:00Z"} if state == "held" else {})})
        return {"rows": rows, "under_way": 12, "next": str(start + 100) if start < 900 else None}

    def count(self, query):
        zero = dict.fromkeys(["recipients", "deferred", "ready", "suspended", "held", "groups", "under_way"], 0)
        if query.get("domain") == "nobody.example" or self.empty:
            return {**zero, "next": None}
        part = {"recipients": 500000, "deferred": 490000, "ready": 6000, "suspended": 3000, "held": 1000, "groups": 412000, "under_way": 206}
        if any(query.get(name) for name in ("domain", "site", "provider", "id", "sender", "recipient")):
            return {"recipients": 602, "deferred": 600, "ready": 2, "suspended": 0, "held": 0, "groups": 600, "under_way": 1, "next": None}
        return {**part, "next": None if query.get("cursor") else "b"}

    def summary(self, n, **more):
        now = time.time()
        return {"id": f"{n:016x}", "node": f"mx{n}.example.net", "version": "0.1.0", "uptime_seconds": int(now - self.began), "state": "ready", "words": None, "queued": 0 if self.empty else 1000000 // n, "deferred": 0 if self.empty else 983580 // n, "oldest_seconds": None if self.empty else 86400 // n,
                "accepted": 0.0 if self.empty else 4212.4 / n, "delivered": 0.0 if self.empty else 3911.7 / n, "disk_free": 812 << 30, "redis": "leased", "warnings": 0, **more}

    def cluster(self):
        """Six nodes, each of which is another way; or three that are well, or none besides."""
        def node(n, summary=None, **more):
            return {"node": f"mx{n}.example.net", "id": f"{n:016x}", "url": None if n == 1 else f"http://10.0.0.{n}:8025", "own": n == 1, "reach": "answers", "words": None, "since": None, "answered": iso(-1), "registered": iso(-3), "version": "0.1.0", "summary": summary or self.summary(n), **more}
        silent = {"since": iso(-212), "answered": iso(-215), "registered": iso(-214)}
        nodes = [node(n) for n in (1, 2, 3)]
        if not self.empty and not self.is_well:
            nodes[1] = node(2, self.summary(2, state="draining", words="draining", warnings=2, redis="kept"))
            nodes += [{**node(4, **silent), "reach": "away", "words": "[10.0.0.4]:8025: Connection refused (os error 111)", "summary": None}, {**node(5, **silent), "reach": "slow", "words": "no answer within 2 s", "summary": None},
                      {**node(6), "reach": "refuses", "words": f"it refuses the token (401): that is no token {HOSTILE}", "summary": None, "since": iso(-86000), "answered": None}, {**node(7), "node": TURNED, "reach": "unasked", "words": "Redis alone says that it is there, and 192.0.2.66 is in no network of cluster.networks", "url": "http://evil.example", "summary": None, "id": None, "answered": None},
                      node(8, self.summary(8, version="0.0.9", node=LONG, redis="share"), version="0.0.9", node=LONG)]
        return {"cluster": self.in_cluster, "as_of": iso(-1), "trouble": None if self.is_well or self.empty else "[10.0.0.5] Connection refused (os error 111)", "nodes": nodes if self.in_cluster else nodes[:1], "more": 0}

    def missing(self):
        return [] if self.is_well or self.empty else [{"node": one["node"], "url": one["url"], "words": one["words"]} for one in self.cluster()["nodes"] if not one["summary"]]

    def cluster_queue(self, query):
        """Rows of three nodes in turn."""
        page = self.queue(query)
        if isinstance(page, tuple):
            return page
        rows = [{"node": f"mx{n % 3 + 1}.example.net", "url": [None, "http://10.0.0.2:8025", "javascript:alert(1)"][n % 3], **row} for n, row in enumerate(page["rows"])]
        return {**page, "rows": sorted(rows, key=lambda row: row["node"]), "missing": self.missing()}

    def cluster_count(self, query):
        part = self.count(query)
        return {**part, "nodes": [{"node": f"mx{n}.example.net", **{name: value // 3 for name, value in part.items() if name != "next"}} for n in (1, 2, 3)], "missing": self.missing()}

    def message(self, id):
        if id.endswith("9999"):
            return (404, {"error": f"message {id} is settled, or was never here; the log tells what became of it", "code": "not_found"})
        dialogue = ["> EHLO mta1.example.net", "< 250-mx.google.com at your service", "< 250 STARTTLS", "> MAIL FROM:<bounce+1@news.example.com> SIZE=20480", "< 250 2.1.0 OK", f"> RCPT TO:<reader1@{LONG}>", f"< {REPLIES[0]}"]
        live = [{"address": a, "attempts": 4, "next_attempt": iso(610), "last_reply": r, "dialogue": dialogue if n == 0 else None} for n, (a, r) in enumerate([("reader1@gmail.com", REPLIES[0]), (f"{HOSTILE}@gmail.com", REPLIES[3]), (f"{TURNED}@gmail.com", REPLIES[4])])]
        return {"id": id, "lane": 3, "sender": "bounce+1@news.example.com", "accepted": iso(-9000), "expires": iso(336000), "size": 20480, "recipients": 240, "left": 5, "live": live,
                "waiting": [{"domain": "gmail.com", "site": "gmail-smtp-in.l.google.com", "state": "deferred", "count": 3, "next_attempt": iso(610), "site_closed_until": None}], "under_way": 2}

    def why(self, query):
        site = {"site": "gmail-smtp-in.l.google.com", "route": "mx", "hosts": ["5 gmail-smtp-in.l.google.com:25", "10 alt1.gmail-smtp-in.l.google.com:25"], "connections": 4, "connections_max": 4, "limit": "the adaptive window, below /etc/relevo/shaping.toml:14 connection_limit = 20", "shards": [{"shard": 0, "connections": 4, "idle": 0}],
                "connection_rate": None, "message_rate": "/etc/relevo/shaping.toml:15 max_message_rate = \"100/s\"", "window_rate": 22.5, "ready": 1200, "closed_until": iso(740), "failures": 3, "error": REPLIES[0], "providers": [{"provider": "google", "connections": 44, "connections_max": 200, "limit": "/etc/relevo/shaping.toml:9 provider_connection_limit = 200"}]}
        domain = {"domain": "gmail.com", "pool": "bulk", "source": "ip1", "source_down": None, "source_next_look": None, "deferred": 600, "next_try": iso(610), "suspended": 0, "held": 0, "ready": 2, "under_way": 1, "because": None, "site": site, "no_site": None}
        return {"asked": "x", "now": iso(), "recipients": 602, "complete": True, "under_way": 1, "causes": [{"cause": "next_try", "words": "waiting for the next try, the first at 12:04:31Z (in 3m10s)", "recipients": 600, "domains": 3, "until": iso(610)},
                {"cause": "connections", "words": "4 of 4 connections to the site are in use (adaptive window)", "recipients": 2, "domains": 1, "until": None}], "domains": [domain], "more_domains": 2, "replies": [{"reply": REPLIES[0], "recipients": 590}, {"reply": REPLIES[3], "recipients": 10}], "next": None}

    def suspensions(self):
        if self.empty:
            return {"suspensions": [], "unkept": False}
        one = lambda id, effect, mail, reason, by, **more: {"id": id, "effect": effect, "mail": mail, "since": iso(-3600 * id), "until": iso(1800 * id), "by": by, "reason": reason, **more}
        return {"suspensions": [one(12, "wait", "domain gmx.net", "they asked us to stop for the night", "token ops", domain="gmx.net"), one(13, "return", "campaign promo-11 of tenant shop", REPLIES[0], "/etc/relevo/shaping.toml:41", tenant="shop", campaign="promo-11"),
                                one(14, "set", "provider google", REPLIES[0], "/etc/relevo/shaping.toml:52", provider="google", key="max_message_rate", value="20/s"), one(15, "redirect", f"domain {LONG}", f"their MX burns {HOSTILE}", "user 0, process 7", domain=LONG, to="smtp://backup.example.net:25")], "unkept": False}

    def analytics(self, query):
        """What became of mail: sums that hang together."""
        def counts(delivered, deferred, bounced, complaints):
            part = lambda one, of: one / of if of else None
            return {"delivered": delivered, "deferred": deferred, "bounced": bounced, "expired": bounced // 9, "suppressed": bounced // 3, "returned": 2, "complaints": complaints, "bounce_rate": part(bounced + bounced // 9 + 2, delivered + bounced),
                    "deferral_rate": part(deferred, deferred + delivered + bounced), "complaint_rate": part(complaints, delivered), "received": delivered + deferred, "discarded": 0, "captured": 0, "latency": {"p50_ms": 310, "p90_ms": 1900, "p95_ms": 4200, "p99_ms": 190000} if delivered else None}
        by, amount = query.get("by", "provider"), lambda n: 4_812_345 // (n * n + 1)
        names = {"provider": PROVIDERS, "tenant": ["shop", "newsletters", HOSTILE, TURNED], "campaign": [f"promo-{n}" for n in range(250)] + [LONG], "category": ["receipts", HOSTILE, TURNED], "source": ["ip1", "ip2", LONG], "class": [name for name, _, _ in CLASSES]}[by] + ["other", ""]
        if by == "class":
            names = names[:-2]
        rows = [] if self.empty else [{"name": name, "counts": counts(amount(n), amount(n) // (3 + n % 11), amount(n) // (7 + 13 * (n % 5)), amount(n) // 2000), "classes": [{"class": CLASSES[(n + k) % 6][0], "recipients": amount(n) // (20 + 31 * k)} for k in range(4)]} for n, name in enumerate(names)]
        texts = [] if self.empty else [{"class": kind, "text": text, "times": recipients, "last": iso(-40 * n), "provider": PROVIDERS[n], "tenant": HOSTILE if n == 1 else "shop", "campaign": TURNED if n == 2 else ""} for n, (kind, recipients, text) in enumerate(CLASSES) if text]
        total = counts(0, 0, 0, 0) if self.empty else counts(7_912_345, 1_123_456, 212_345, 4_321)
        cursor = int(query.get("cursor", 0))
        each = {"minute": 60, "hour": 3600, "day": 86400}[query.get("step", "hour")]
        end = int(datetime.fromisoformat(iso().replace("Z", "+00:00")).timestamp()) // each * each + each
        begin = int(datetime.fromisoformat(query.get("since", iso(-3600)).replace("Z", "+00:00")).timestamp()) // each * each
        stamp = lambda at: datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        # A week without mail, and a wave.
        wave = lambda n: counts(20_000 + 15_000 * (n * 37 % 11), 900 * (n * 13 % 17), 300 * (n * 7 % 5), 3)
        series = [] if self.empty or cursor else [{"at": stamp(at), "counts": wave(at // each)} for at in range(begin, end, each) if at // each % 9]
        return {"by": by, "since": stamp(begin), "until": stamp(end), "step_seconds": each, **({} if cursor else {"series": series}), "total": total, "rows": rows[cursor:cursor + 200], "texts": [] if cursor else texts, "next": "200" if len(rows) > cursor + 200 else None}

    def warmup(self):
        row = lambda source, provider, state, day, used, volume, **more: {"source": source, "provider": provider, "site": None, "start": "2026-11-20", "day": day, "days": 30, "behind": 0, "volume": volume, "used": used, "overflowed": 0, "state": state, **more}
        return {"today": "2026-11-30", "sources": [] if self.empty else [row("ip9", "google", "warming", 11, 3120, 5000), row("ip9", "microsoft", "used up", 11, 5000, 5000, overflowed=18211), row("ip9", "yahoo", "throttled", 9, 812, 2500, behind=2), row("ip9", "mx.small.example", "warm", None, 40, None, site="mx.small.example:25"), row("ip10", "google", "not yet", None, 0, 0)]}

    def quotas(self):
        row = lambda owner, name, period, used, most: {"owner": owner, "name": name, "period": period, "used": used, "most": most, "until": iso(30000)}
        return {"now": iso(), "quotas": [] if self.empty else [row("account", "shop", "d", 50000, 50000), row("tenant", "newsletters", "month", 8412345, 10000000), row("account", HOSTILE, "h", 12, 1000)]}

    def suppressions(self, query):
        entries = [] if self.empty or query.get("address") == "nobody@example.org" else [{"address": a, "reason": r, "added": iso(-86400 * n), **more} for n, (a, r, more) in enumerate([("ada@example.org", "hard_bounce", {"note": "550 5.1.1 no such user"}), ("@gone.example", "manual", {"note": "closed", "expires": iso(864000)}), ("*.parked.example", "imported", {}), (f"{TURNED}@example.org", "complaint", {"tenant": "shop"}), (f"{HOSTILE}@example.org", "unsubscribe", {})] + [(f"reader{n}@example.org", "complaint", {}) for n in range(80)])]
        return {"entries": entries, "next": "a2" if entries and not query.get("cursor") and not query.get("address") else None}

    def entry(self, n, name, **more):
        return {"uuid": f"00000000-0000-4000-8000-{n:012d}", "id": n, "name": name, "partial": False, "category": "", "subject": "Welcome, {{name}}", "version": n, "created": iso(-864000), "changed": iso(-3600 * n), **more}

    def templates(self):
        rows = [self.entry(1, "welcome", category="greetings"), self.entry(2, "footer", partial=True, subject=""), self.entry(3, HOSTILE, subject=TURNED, tenant="shop"), self.entry(4, LONG[:120], subject=LONG)]
        return {"templates": [] if self.empty else rows, "next": None}

    def template(self, name):
        if name.endswith("/versions"):
            return {"template": self.entry(1, "welcome"), "versions": [{"version": n, "saved": iso(-3600 * n), "by": HOSTILE, "bytes": 4096} for n in (3, 2, 1)]}
        return {"template": self.entry(1, "welcome"), "version": 1, "contents": {"category": "greetings", "subject": "Welcome, {{name}}", "html": "<h1>Welcome, {{name}}</h1>" + "<p>Long lines of text, as mail has them. </p>" * 40, "variables": [], "sample": {"name": HOSTILE}, "keep_css": False}}

    def event(self, n):
        kind = ["delivered", "deferred", "bounced", "rejected", "received", "admin"][n % 6]
        event = {"time": iso(), "event": kind, "event_id": f"00000000G{n:07d}-d{n}.0", "node": "0123456789abcdef", "id": f"00000000G{n:07d}", "sender": "bounce@news.example.com", "recipients": [f"reader{n}@{DOMAINS[n % 12]}" if n % 7 else f"{HOSTILE}@x.example"]}
        if kind in ("deferred", "bounced"):
            event |= {"reply": REPLIES[n % 6], "class": "throttled", "hop": "mx.example:192.0.2.9:25", "attempts": 3, "delay_ms": 81234}
        if kind == "admin":
            event = {"time": iso(), "event": "admin", "event_id": f"x{n}", "action": "suspend", "by": "token ops", "filter": "domain gmx.net", "reason": "they asked"}
        return event
