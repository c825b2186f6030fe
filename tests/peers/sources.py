"""Mail that leaves by sources and pools, counted by next hops: `sources.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import json
import os
import signal
import smtplib
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "attacks"))
from certificate import certificate
from names import A, TXT, Names
from hops import BINARY, FAST, Hop, metric, start
from ports import free_port
from shaping import mx, relay_with
from suspensions import fired as fired_by

# Of this documentation's network (RFC 5737): no machine has it.
NOBODYS = "192.0.2.9"


class Door(Hop):
    """Who connected, by which name it went, how many connections each had at one time, and what came over them."""

    def __init__(self, act=None, host="127.0.0.2", port=0, pause=0):
        self.lock, self.open, self.most, self.names, self.ends, self.pause = threading.Lock(), {}, {}, {}, [], pause
        self.behave = act or (lambda talk, verb, line: None)
        super().__init__(self.look, host=host, port=port)

    def look(self, talk, verb, line):
        if verb in ("EHLO", "HELO"):
            with self.lock:
                self.names.setdefault(talk.peer, set()).add(line.split()[1].decode())
        if verb == "dot":
            time.sleep(self.pause)
            self.ends.append((talk.peer, time.monotonic()))
        return self.behave(talk, verb, line)

    def comes(self, talk):
        talk.peer = talk.socket.getpeername()[0]
        with self.lock:
            self.open[talk.peer] = self.open.get(talk.peer, 0) + 1
            self.most[talk.peer] = max(self.most.get(talk.peer, 0), self.open[talk.peer])

    def goes(self, talk):
        with self.lock:
            self.open[talk.peer] -= 1

    def by(self):
        """Recipients taken, by the address they came from."""
        count = {}
        for _, recipients, _, talk in list(self.taken):
            count[talk.peer] = count.get(talk.peer, 0) + len(recipients)
        return count


def source(name, address="", ehlo="", proxy=""):
    return f'[[source]]\nname = "{name}"\naddress = "{address}"\nehlo = "{ehlo}"\nproxy = "{proxy}"\n'


def pool(name, *members):
    each = ", ".join(f'{{ source = "{source}", weight = {weight} }}' for source, weight in members)
    return f'[[pool]]\nname = "{name}"\nsources = [{each}]\n'


TWO = source("ip1", "127.0.1.1", "mta1.example.net") + source("ip2", "127.0.1.2", "mta2.example.net")
NEWS = '[[rule]]\nmatch = { sender = "@news.example" }\nset = { pool = "bulk" }\n'


def send(relay, count, sender="a@news.example", domains=("d.example",), header=""):
    """Over one connection a thread, so that nothing waits for greetings."""

    def some(numbers):
        client = relay.client()
        for number in numbers:
            domain = domains[number % len(domains)]
            client.sendmail(sender, [f"u{number}@{domain}"], f"{header}Subject: {number}\r\n\r\nA line.\r\n".encode())
        client.quit()

    threads = [threading.Thread(target=some, args=(range(at, count, 8),)) for at in range(min(8, count))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def wait(what, seconds=20, why=""):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, why
        time.sleep(0.05)


def reload(relay, more):
    relay.more = more
    relay.write()
    told = len([words for words in list(relay.words) if "reloaded by SIGHUP" in words])
    relay.process.send_signal(signal.SIGHUP)
    wait(lambda: len([words for words in list(relay.words) if "reloaded by SIGHUP" in words]) > told, why=relay.words)


def to(hop, more, **others):
    return start(None, FAST + more, route=f'[[route]]\ndomain = "*"\nto = "smtp://127.0.0.2:{hop.port}"\n', **others)


def sources_share_the_mail_of_their_pool():
    """By weight, each from its address and by its name; what names a source alone, or nothing, leaves by that; a retry stays with its source."""
    put_off, again = set(), []

    def later(talk, verb, line):
        if verb == "RCPT" and b"later" in line:
            again.append((line, talk.peer))
            if line not in put_off:
                put_off.add(line)
                return b"451 4.3.0 not now\r\n"
        return None

    hop = Door(later)
    relay = to(hop, TWO + pool("bulk", ("ip1", 3), ("ip2", 1)) + NEWS)
    domains = [f"d{number}.example" for number in range(7)]
    send(relay, 400, domains=domains)
    hop.wait(400, 60)
    by = hop.by()
    assert set(by) == {"127.0.1.1", "127.0.1.2"} and abs(by["127.0.1.1"] - 300) < 40, by
    assert hop.names == {"127.0.1.1": {"mta1.example.net"}, "127.0.1.2": {"mta2.example.net"}}, hop.names
    events = relay.wait_log("delivered", 400)
    for event in events:
        number = int(event["recipients"][0].split("@")[0][1:])
        peer = next(talk.peer for _, [recipient], _, talk in hop.taken if recipient.startswith(f"u{number}@"))
        assert (event["pool"], event["source"]) == ("bulk", "ip1" if peer == "127.0.1.1" else "ip2"), (event, peer)
    hop.taken.clear()
    send(relay, 5, sender="a@b.example")
    hop.wait(5)
    assert set(hop.by()) == {"127.0.0.1"} and hop.names["127.0.0.1"] == {"relay.example"}, hop.by()
    assert all("source" not in event for event in relay.wait_log("delivered", 405)[400:])
    hop.taken.clear()
    send(relay, 5, sender="a@b.example", header="X-Virtual-MTA: ip2\r\n")
    send(relay, 5, sender="a@b.example", header="X-Relevo-Pool: nobody\r\n")
    hop.wait(10)
    assert hop.by() == {"127.0.1.2": 5, "127.0.0.1": 5}, hop.by()
    assert relay.told('the pool "nobody" leaves by the default')
    send(relay, 40, domains=["later.example"])
    hop.wait(50, 40)
    assert len(again) == 80
    for line in put_off:
        assert len({peer for other, peer in again if other == line}) == 1, "a retry by another source"
    assert metric(relay, "pools_unknown_total") == 5
    relay.stop()


def limits_hold_for_each_source():
    """Connections and messages a second from each address, over both shards, as the shaping file says of it."""
    port = free_port()
    hop = Door(port=port, pause=0.02)
    shaping = """
        [default]
        connection_limit = 3
        [default.sources.ip2]
        connection_limit = 1
        max_message_rate = "20/s"
    """
    domains = [f"d{number}.example" for number in range(6)]
    settings = mx(*[(domain, "mx.big.example", "127.0.0.2") for domain in domains])
    relay, _ = relay_with(shaping, settings + TWO + pool("bulk", ("ip1", 1), ("ip2", 1)) + NEWS, port)
    send(relay, 300, domains=domains)
    hop.wait(300, 90)
    assert hop.most == {"127.0.1.1": 3, "127.0.1.2": 1}, hop.most
    times = sorted(at for peer, at in hop.ends if peer == "127.0.1.2")
    most = max(sum(1 for at in times if first <= at < first + 1) for first in times)
    # 20, one more, and what Python's threads are late by.
    assert most <= 23 and len(times) > 100, (most, len(times))
    relay.stop()


def a_rule_has_another_source_send():
    """While it holds at the site: what waits and what comes, over a kill; told, counted, and over when it is resumed."""
    port, blocks = free_port(), [True]
    hop = Door(lambda talk, verb, line: b"451 4.7.1 blocked, try again\r\n" if verb == "RCPT" and blocks and talk.peer == "127.0.1.1" else None, port=port)
    shaping = """
        [[default.automation]]
        regex = "blocked"
        fallback_source = "ip2"
        duration = "1h"
        example = "451 4.7.1 blocked, try again"
    """
    domains = [f"d{number}.example" for number in range(6)]
    settings = mx(*[(domain, "mx.big.example", "127.0.0.2") for domain in domains])
    relay, _ = relay_with(shaping, settings + TWO + pool("bulk", ("ip1", 1)) + NEWS, port)
    send(relay, 60, domains=domains)
    hop.wait(60, 40)
    assert hop.by() == {"127.0.1.2": 60}, hop.by()
    fired, moved = fired_by(relay, "Fallback"), metric(relay, "groups_moved_total")
    assert fired == 1 and moved > 0, (fired, moved)

    def ask(*words):
        words = [BINARY, *words, "--config", f"{relay.directory}/relevo.toml"]
        return subprocess.run(words, capture_output=True, text=True, timeout=30).stdout

    assert "fallback_source = ip2" in ask("suspend", "--list") and "ip1 mx:1 mx.big.example" in ask("suspend", "--list"), ask("suspend", "--list")
    relay.kill()
    relay.start()
    send(relay, 30, domains=domains)
    hop.wait(90, 40)
    # A kill may have some come twice.
    assert set(hop.by()) == {"127.0.1.2"}, hop.by()
    relay.wait_log("delivered", 90)
    hop.taken.clear()
    blocks.clear()
    assert ask("resume", "--all"), "it ends"
    time.sleep(1)
    send(relay, 30, domains=domains)
    hop.wait(30, 40)
    assert hop.by() == {"127.0.1.1": 30}, hop.by()
    relay.stop()


def a_source_that_is_gone_is_suspended():
    """Its mail goes by others of its pool; what may leave by it alone waits, and is told why; it is used again when it works."""
    hop = Door()
    gone = source("gone", NOBODYS) + source("ip1", "127.0.1.1") + pool("bulk", ("gone", 1), ("ip1", 1)) + NEWS
    relay = to(hop, gone)
    send(relay, 60, domains=["a.example", "b.example"])
    hop.wait(60, 20)
    assert hop.by() == {"127.0.1.1": 60}, hop.by()
    assert relay.told("source gone: 192.0.2.9 is no address of this machine", "suspended")
    wait(lambda: metric(relay, "sources_suspended") == 1)
    said = subprocess.run([BINARY, "status", "--config", f"{relay.directory}/relevo.toml"], capture_output=True, text=True, timeout=30)
    assert "suspended: source gone: 192.0.2.9 is no address of this machine" in said.stdout, said
    send(relay, 3, sender="a@b.example", header="X-Virtual-MTA: gone\r\n")
    deferred = relay.wait_log("deferred", 3)
    assert all("192.0.2.9 is no address of this machine" in event["reply"] for event in deferred), deferred
    assert {event["source"] for event in deferred if event.get("pool") == "gone"} == {"gone"}, deferred
    time.sleep(1)
    assert len(hop.taken) == 60, "it left by another address"
    hop.taken.clear()
    # It has another address now.
    reload(relay, FAST + gone.replace(NOBODYS, "127.0.1.9"))
    hop.wait(3, 20)
    assert hop.by() == {"127.0.1.9": 3}, hop.by()
    wait(lambda: metric(relay, "sources_suspended") == 0)
    send(relay, 60)
    hop.wait(63)
    assert len(hop.by()) == 2, hop.by()
    relay.stop()


def an_operator_suspends_a_source():
    """Its mail goes by others of its pool, also over a kill; what may leave by it alone waits, is told why, and goes at once when that ends."""
    hop = Door()
    relay = to(hop, TWO + pool("bulk", ("ip1", 1), ("ip2", 1)) + NEWS)

    def run(*words, code=0):
        done = subprocess.run([BINARY, *words, "--config", f"{relay.directory}/relevo.toml"], capture_output=True, text=True, timeout=30)
        assert done.returncode == code, (words, done)
        return done.stdout + done.stderr

    def by_after(count):
        hop.taken.clear()
        send(relay, count, domains=["a.example", "b.example"])
        hop.wait(count, 20)
        return hop.by()

    assert len(by_after(60)) == 2, hop.by()
    assert "as a whole" in run("suspend", "--source", "ip1", "--domain", "a.example", "--for", "1h", code=2)
    assert 'no [[source]] of the configuration in force is called "ip7"' in run("suspend", "--source", "ip7", "--for", "1h", code=2)
    assert "nothing is suspended" in run("suspend", "--list")
    assert "source=ip1" in run("suspend", "--source", "ip1", "--for", "1h", "--reason", "it moves")
    words = "source ip1 is suspended by user 0"
    wait(lambda: f"suspended: {words}" in run("status"))
    assert ": it moves" in run("status")
    time.sleep(0.5)
    # Connections that are open by it carry nothing more.
    send(relay, 4, sender="a@b.example", header="X-Virtual-MTA: ip1\r\n", domains=["a.example", "b.example"])
    deferred = relay.wait_log("deferred", 4)
    assert by_after(60) == {"127.0.1.2": 60}, hop.by()
    assert all(words in event["reply"] and "it moves" in event["reply"] and event["source"] == "ip1" for event in deferred), deferred
    assert words in run("why", "a.example", "--json") and "source=ip1" in run("suspend", "--list")
    assert not relay.told(" error ", "ip1", seconds=0.1), relay.words
    relay.kill()
    relay.start()
    assert by_after(60) == {"127.0.1.2": 60}, hop.by()
    count = lambda *words: json.loads(run("queue", "count", *words, "--json"))["recipients"]
    assert (count("--source", "ip1"), count("--source", "ip2"), count("--source", "ip1", "--domain", "a.example")) == (4, 0, 2)
    # A reload gives the source another name in EHLO: it is a new one, and suspended all the same.
    reload(relay, FAST + TWO.replace("mta1.", "mta3.") + pool("bulk", ("ip1", 1), ("ip2", 1)) + NEWS)
    assert by_after(60) == {"127.0.1.2": 60}, hop.by()
    hop.taken.clear()
    assert "1 suspension ended" in run("resume", "--source", "ip1")
    hop.wait(4, 5)
    assert hop.by() == {"127.0.1.1": 4}, hop.by()
    assert len(by_after(60)) == 2 and "suspended: " not in run("status"), hop.by()
    relay.stop()


def an_account_has_a_pool():
    """Where no rule names one, before a tenant's; whether or not anybody looks into header sections; and another after a reload."""
    hop = Door()
    directory = tempfile.mkdtemp(prefix="relevo-accounts-")
    certificate(directory, "relay.example")
    hashed = subprocess.run([BINARY, "hash-password"], input=b"secret\n", stdout=subprocess.PIPE, check=True).stdout.decode().strip()

    def write(pool):
        with open(f"{directory}/accounts.toml", "w") as file:
            file.write("".join(f'[[account]]\nname = "{name}"\npassword = "{hashed}"\npool = "{of}"\n' for name, of in (("shop", pool), ("plain", ""), ("lost", "gone"))))
            file.write(f'[[account]]\nname = "club"\npassword = "{hashed}"\ntenant = "t"\n')
        os.chmod(f"{directory}/accounts.toml", 0o600)

    write("bulk")
    more = TWO + pool("bulk", ("ip2", 1)) + f'[delivery]\npool = "ip1"\n[auth]\naccounts = "{directory}/accounts.toml"\n'
    listener = f'tls_certificate = "{directory}/chain.pem"\ntls_key = "{directory}/key.pem"\n'
    relay = to(hop, more, listener=listener)
    assert relay.told("accounts.toml:12", 'no [[pool]] and no [[source]] is called "gone"'), relay.words

    def by(account, to, header=""):
        client = smtplib.SMTP("127.0.0.1", relay.port, timeout=30)
        client.starttls(context=ssl._create_unverified_context())
        client.login(account, "secret")
        client.sendmail("a@b.example", [to], f"{header}Subject: x\r\n\r\ntext\r\n")
        client.quit()
        wait(lambda: any(to in recipients for _, recipients, _, _ in list(hop.taken)))
        [peer] = [talk.peer for _, recipients, _, talk in hop.taken if to in recipients]
        return {"127.0.1.1": "ip1", "127.0.1.2": "ip2"}[peer]

    assert by("shop", "u1@d.example") == "ip2" and by("plain", "u2@d.example") == "ip1" and by("lost", "u3@d.example") == "ip1"
    assert by("shop", "u4@d.example", "X-Relevo-Pool: ip1\r\n") == "ip1", "the account's own word comes before"
    delivered = relay.wait_log("delivered", 4)
    assert {(event["recipients"][0], event.get("pool"), event["source"]) for event in delivered} == {
        ("u1@d.example", "bulk", "ip2"), ("u2@d.example", None, "ip1"), ("u3@d.example", "gone", "ip1"), ("u4@d.example", "ip1", "ip1")}, delivered
    # A rule comes before, and a tenant behind.
    rules = '[[tenant]]\nname = "t"\npool = "ip1"\n[[rule]]\nset.tenant = "t"\n[[rule]]\nmatch.recipient = "*.rule.example"\nset.pool = "ip1"\n'
    reload(relay, FAST + more + rules)
    assert by("shop", "u5@d.example") == "ip2" and by("plain", "u6@d.example") == "ip1" and by("shop", "u7@a.rule.example") == "ip1"
    write("ip1")
    reload(relay, FAST + more)
    assert by("shop", "u8@d.example") == "ip1"
    # An account has a tenant, which has a pool; what a rule or the account's own word says comes before.
    rules = '[[tenant]]\nname = "t"\npool = "ip2"\n[[rule]]\nmatch.recipient = "*.rule.example"\nset.tenant = "other"\n'
    reload(relay, FAST + more + rules)
    assert by("club", "u9@d.example") == "ip2" and by("club", "v1@a.rule.example") == "ip1"
    assert by("club", "v2@d.example", "X-Relevo-Tenant: word\r\n") == "ip1" and by("plain", "v3@d.example") == "ip1"
    tenants = {event["recipients"][0]: event.get("tenant") for event in relay.wait_log("delivered", 12)[-4:]}
    assert tenants == {"u9@d.example": "t", "v1@a.rule.example": "other", "v2@d.example": "word", "v3@d.example": None}, tenants
    relay.stop()


def pools_change_by_a_reload():
    """What waits for a source that left its pool goes by the others, and by the default where the pool is gone; with the default pool too."""
    hop = Door(lambda talk, verb, line: b"451 4.3.0 not now\r\n" if verb == "RCPT" and closed else None)
    closed = True
    slow = FAST.replace("1s", "3s")
    both = TWO + pool("bulk", ("ip1", 1), ("ip2", 1))
    relay = to(hop, "", shards=1)
    reload(relay, slow + both + NEWS)
    send(relay, 40)
    relay.wait_log("deferred", 40)
    reload(relay, slow + TWO + pool("bulk", ("ip1", 1)) + NEWS)
    closed = False
    hop.wait(40, 30)
    assert hop.by() == {"127.0.1.1": 40}, hop.by()
    closed = True
    hop.taken.clear()
    send(relay, 10)
    relay.wait_log("deferred", 50)
    reload(relay, slow + TWO + '[delivery]\npool = "ip2"\n')
    closed = False
    hop.wait(10, 30)
    assert hop.by() == {"127.0.1.2": 10}, hop.by()
    assert relay.told("of pool bulk, which is no more")
    send(relay, 3, sender="a@b.example")
    hop.wait(13)
    assert hop.by() == {"127.0.1.2": 13}, hop.by()
    relay.stop()


class Proxy:
    """Connects from an address of its own to where it is asked for: by SOCKS5, or by the PROXY protocol. Remembers what it was asked."""

    def __init__(self, kind, address="127.0.2.1", login=None, port=0):
        self.kind, self.address, self.login, self.asked, self.says = kind, address, login, [], 0
        self.listener = socket.create_server(("127.0.0.9", port), backlog=100)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, client):
        with client:
            try:
                where = self.socks(client) if self.kind == "socks5" else self.header(client)
                if where is None:
                    return
                with socket.create_connection(where, source_address=(self.address, 0)) as host:
                    if self.kind == "socks5":
                        client.sendall(b"\5\0\0\1" + socket.inet_aton(self.address) + b"\0\0")
                    back = threading.Thread(target=self.pass_on, args=(host, client), daemon=True)
                    back.start()
                    self.pass_on(client, host)
                    back.join()
            except OSError:
                pass

    def pass_on(self, one, other):
        try:
            while piece := one.recv(65536):
                other.sendall(piece)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def exactly(self, client, count):
        piece = b""
        while len(piece) < count:
            more = client.recv(count - len(piece))
            if not more:
                raise OSError("the end")
            piece += more
        return piece

    def socks(self, client):
        version, count = self.exactly(client, 2)
        methods = self.exactly(client, count)
        assert version == 5
        wanted = 2 if self.login else 0
        if wanted not in methods:
            client.sendall(b"\5\xff")
            return None
        client.sendall(bytes([5, wanted]))
        if self.login:
            assert self.exactly(client, 1) == b"\1"
            said = tuple(self.exactly(client, self.exactly(client, 1)[0]).decode() for _ in range(2))
            client.sendall(b"\1" + bytes([said != self.login]))
            if said != self.login:
                return None
        version, command, _, kind = self.exactly(client, 4)
        assert (version, command, kind) == (5, 1, 1)
        where = socket.inet_ntoa(self.exactly(client, 4)), struct.unpack(">H", self.exactly(client, 2))[0]
        self.asked.append(where)
        if self.says:
            client.sendall(bytes([5, self.says, 0, 1]) + bytes(6))
            return None
        return where

    def header(self, client):
        assert self.exactly(client, 16) == b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
        by, to = (socket.inet_ntoa(self.exactly(client, 4)) for _ in range(2))
        _, port = struct.unpack(">HH", self.exactly(client, 4))
        self.asked.append((by, to, port))
        self.address = by
        return to, port

    def close(self):
        self.listener.close()


def mail_leaves_through_a_socks_proxy():
    """With a user and password; a proxy that is gone suspends the source, and is found again; a host that is down is the host's fault."""
    hop = Door()
    proxy = Proxy("socks5", login=("joe", "a@b"))
    through = source("far", ehlo="far.example.net", proxy=f"socks5://joe:a%40b@127.0.0.9:{proxy.port}")
    relay = to(hop, through + '[delivery]\npool = "far"\n')
    send(relay, 20)
    hop.wait(20)
    assert hop.by() == {"127.0.2.1": 20} and hop.names == {"127.0.2.1": {"far.example.net"}}, (hop.by(), hop.names)
    assert set(proxy.asked) == {("127.0.0.2", hop.port)}, proxy.asked
    # Hosts that refuse are no fault of the source.
    proxy.says = 5
    down = free_port()
    relay.route = f'[[route]]\ndomain = "*"\nto = "smtp://127.0.0.2:{down}"\n'
    reload(relay, relay.more)
    send(relay, 1)
    [deferred] = relay.wait_log("deferred")
    assert "refused" in deferred["reply"] and "proxy" not in deferred["reply"], deferred
    assert metric(relay, "sources_suspended") == 0
    proxy.says = 0
    other = Door(port=down)
    other.wait(1, 30)
    port, login = proxy.port, proxy.login
    proxy.close()
    # Connections that are open go on; no other is.
    relay.route = f'[[route]]\ndomain = "*"\nto = "smtp://127.0.0.2:{hop.port}"\n'
    reload(relay, relay.more + '[shaping]\nfiles = []\n')
    sent, found = 30, False
    # A connection that is open may take all of it.
    while not found and sent < 80:
        send(relay, 10)
        sent, found = sent + 10, relay.told("source far: its proxy socks5://127.0.0.9", "suspended", seconds=8)
    assert found
    assert not any("a@b" in words or "a%40b" in words for words in relay.words), "a password is told"
    wait(lambda: metric(relay, "sources_suspended") == 1)
    proxy = Proxy("socks5", login=login, port=port)
    hop.wait(sent - 10, 60)
    assert relay.told("source far works again") and set(hop.by()) == {"127.0.2.1"}, hop.by()
    relay.stop()


def a_proxy_that_talks_nonsense_suspends_its_source():
    """Whatever stands there and answers, without end or only once, is the proxy's fault and no host's."""
    for nonsense in (b"\5\0" * 100_000, b"\5\0\5\0\0\7" + b"x" * 1000, b"220 no proxy\r\n", b"\5\0\5\1\0\1" + bytes(6), b"\5\0\4\0\0\1" + bytes(6)):
        listener = socket.create_server(("127.0.0.9", 0), backlog=100)

        def serve():
            while True:
                try:
                    client, _ = listener.accept()
                    client.sendall(nonsense)
                    client.settimeout(5)
                    while client.recv(4096):
                        pass
                except OSError:
                    if listener.fileno() < 0:
                        return

        threading.Thread(target=serve, daemon=True).start()
        hop = Door()
        relay = to(hop, source("far", proxy=f"socks5://127.0.0.9:{listener.getsockname()[1]}") + '[delivery]\npool = "far"\n')
        send(relay, 1)
        assert relay.told("source far: its proxy socks5://127.0.0.9", "suspended", seconds=15), nonsense[:12]
        assert not hop.talks
        listener.close()
        relay.stop()


class Deaf(Proxy):
    """Takes connections and headers, and closes then; with `mends` it is a proxy."""

    mends = False

    def serve(self, client):
        if self.mends:
            return super().serve(client)
        with client:
            self.header(client)


def a_proxy_that_passes_nothing_on_suspends_its_source():
    """Five hosts of five domains say nothing through it: that is its fault, and its mail goes by the other source. One host alone says nothing of it."""
    hops = [Door(host="127.0.0.2")]
    hops += [Door(host=f"127.0.0.{at}", port=hops[0].port) for at in range(3, 7)]
    deaf = Deaf("haproxy", address=None)
    more = source("far", "127.0.3.1", proxy=f"haproxy://127.0.0.9:{deaf.port}") + source("ip1", "127.0.1.1")
    more += pool("bulk", ("far", 1), ("ip1", 1)) + NEWS
    routes = "".join(f'[[route]]\ndomain = "d{at}.example"\nto = "smtp://127.0.0.{2 + at}:{hop.port}"\n' for at, hop in enumerate(hops))
    relay = start(None, FAST + more, route=routes)
    send(relay, 4, sender="a@b.example", domains=["d0.example"], header="X-Virtual-MTA: far\r\n")
    relay.wait_log("deferred", 1)
    time.sleep(5)
    assert metric(relay, "sources_suspended") == 0
    send(relay, 100, domains=[f"d{at}.example" for at in range(5)])
    wait(lambda: sum(len(hop.taken) for hop in hops) >= 100, 60, "its mail waits")
    assert relay.told("source far: its proxy haproxy://127.0.0.9", "no host greets through it", "suspended")
    assert all(set(hop.by()) == {"127.0.1.1"} for hop in hops), [hop.by() for hop in hops]
    deaf.mends = True
    wait(lambda: len(hops[0].taken) >= 24 and metric(relay, "sources_suspended") == 0, 90, "it is not used again")
    assert hops[0].by()["127.0.3.1"] == 4, hops[0].by()
    relay.stop()


def a_source_on_a_blocklist_rests():
    """Told with the list's words; its mail goes by the pool's other; a list that lists all, or refuses to tell, is not believed; it is used again when it is off."""
    listed, refuses, wild = {"2.1.0.127"}, [], []

    def records(name, kind):
        address, _, zone = name.partition(".bl")
        if zone not in (".example", "2.example"):
            return None
        if refuses and zone == ".example":
            return ["127.255.255.254"] if kind == A else []
        if address in listed or (wild and zone == ".example"):
            return ["127.0.0.2"] if kind == A else ["listed, see https://bl.example/why"] if kind == TXT else []
        return None

    names = Names(records)
    hop = Door()
    # `every` alone is read anew by a reload, so that the story need not wait for the next look.
    lists = lambda minutes: f'[dns]\nservers = ["127.0.0.1:{names.port}"]\n[blocklists]\nzones = ["bl.example"]\nrest = true\nevery = "{minutes}m"\n'
    settings = TWO + pool("bulk", ("ip1", 1), ("ip2", 1)) + NEWS
    relay = to(hop, settings + lists(60))
    assert relay.told("source ip2: 127.0.1.2 is listed by bl.example: listed, see https://bl.example/why", seconds=15), relay.words
    [event] = [event for event in relay.wait_log("admin", 2) if event["action"] == "listed"]
    assert (event["by"], event["source"], event["address"]) == ("blocklist bl.example", "ip2", "127.0.1.2"), event
    send(relay, 40)
    hop.wait(40)
    assert hop.by() == {"127.0.1.1": 40}, hop.by()
    wild.append(True)
    reload(relay, settings + lists(61))
    assert relay.told("blocklist bl.example cannot be asked", "127.0.0.1", seconds=15), relay.words
    wild.clear()
    refuses.append(True)
    reload(relay, settings + lists(62))
    assert relay.told("blocklist bl.example cannot be asked", "127.255.255.254", seconds=15), relay.words
    assert not relay.told("ip1: 127.0.1.1 is listed", seconds=0.1)
    refuses.clear()
    listed.clear()
    reload(relay, settings + lists(63))
    assert relay.told("source ip2: 127.0.1.2 is not listed by bl.example any more", seconds=15), relay.words
    wait(lambda: [event["action"] for event in relay.wait_log("admin", 2)].count("resume") == 1, why="it still rests")
    hop.taken.clear()
    send(relay, 40)
    hop.wait(40)
    assert set(hop.by()) == {"127.0.1.1", "127.0.1.2"}, hop.by()
    relay.stop()


def mail_leaves_through_an_haproxy():
    hop = Door()
    proxy = Proxy("haproxy", address=None)
    through = source("far", "127.0.3.1", "far.example.net", f"haproxy://127.0.0.9:{proxy.port}")
    relay = to(hop, through + '[delivery]\npool = "far"\n')
    send(relay, 20)
    hop.wait(20)
    assert hop.by() == {"127.0.3.1": 20} and hop.names == {"127.0.3.1": {"far.example.net"}}, (hop.by(), hop.names)
    assert set(proxy.asked) == {("127.0.3.1", "127.0.0.2", hop.port)}, proxy.asked
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
