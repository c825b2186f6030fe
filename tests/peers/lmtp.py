"""Mail stores (LMTP), TLS from the first byte, lists of targets and mail that is thrown away: `lmtp.py STORY BINARY`. Called by
tests/peers.rs, one test a story."""
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "attacks"))
from names import MX, SILENCE, A, Names
from certificate import certificate
from dovecot import Dovecot
from ports import free_port
from relay import Relay
from sink import Sink, path

BINARY = os.path.abspath(sys.argv[2])
FAST = '[retry]\nfirst = "1s"\nmax = "1s"\n'
TEXT = b"Subject: hello\r\n\r\n.A line.\r\n"


def routes(to, rest):
    """`store.example` goes to `to`, all else to the sink."""
    return f'[[route]]\ndomain = "store.example"\nto = {to}\n[[route]]\ndomain = "*"\nto = "smtp://127.0.0.1:{rest.port}"\n'


class Store:
    """An LMTP server on a Unix socket that misbehaves on demand. `answers(number, recipients)` gives what is sent behind the dot, a
    list of replies; None in it closes the connection there. Recipients whose name begins with `refused` are refused at RCPT."""

    def __init__(self, answers, pause=0.0):
        self.answers, self.pause = answers, pause
        self.path = f"{tempfile.mkdtemp(prefix='store-', dir='/tmp')}/lmtp"
        self.heard, self.transactions, self.early = [], [], []
        self.mute = False
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(100)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            self.converse(connection)
        except OSError:
            pass
        connection.close()

    def converse(self, connection):
        connection.sendall(b"220 store.example LMTP\r\n")
        lines, taken = connection.makefile("rb"), []
        while line := lines.readline():
            verb = line.split(b" ")[0].strip().upper().split(b":")[0]
            self.heard.append(verb)
            if verb == b"LHLO":
                connection.sendall(b"250-store.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n")
            elif verb == b"MAIL":
                taken = []
                connection.sendall(b"250 2.1.0 ok\r\n")
            elif verb == b"RCPT" and path(line).startswith("refused"):
                connection.sendall(b"550 5.1.1 no such mailbox\r\n")
            elif verb == b"RCPT":
                taken.append(path(line))
                connection.sendall(b"250 2.1.5 ok\r\n")
            elif verb == b"DATA" and not taken:
                connection.sendall(b"503 5.5.1 nobody was taken\r\n")
            elif verb == b"DATA":
                connection.sendall(b"354 go on\r\n")
                while (text := lines.readline()) != b".\r\n":
                    if not text:
                        return
                number = len(self.transactions)
                self.transactions.append(list(taken))
                for reply in self.answers(number, taken):
                    if self.pause:
                        time.sleep(self.pause)
                        # Nothing may come before all replies were sent.
                        if lines.peek(1) if select.select([connection], [], [], 0)[0] else b"":
                            self.early.append(number)
                    if reply is None:
                        return
                    connection.sendall(reply)
            elif verb == b"QUIT" and self.mute:
                time.sleep(60)
                return
            elif verb == b"QUIT":
                connection.sendall(b"221 2.0.0 bye\r\n")
                return
            elif verb == b"RSET":
                connection.sendall(b"250 2.0.0 ok\r\n")
            else:
                connection.sendall(b"500 5.5.2 what?\r\n")

    def wait(self, count, seconds=30):
        end = time.monotonic() + seconds
        while len(self.transactions) < count:
            assert time.monotonic() < end, self.transactions
            time.sleep(0.02)


def saved(count):
    return [b"250 2.0.0 saved\r\n"] * count


def ends(relay, event, count, seconds=20):
    """Mailboxes of the store that met this event, sorted."""
    end = time.monotonic() + seconds
    while True:
        named = [to for record in relay.log() if record["event"] == event for to in record["recipients"]]
        found = sorted(to for to in named if to.endswith("@store.example"))
        if len(found) >= count:
            return found
        assert time.monotonic() < end, f"{len(found)} of {count} {event}: {relay.log()}"
        time.sleep(0.05)


def a_mail_store_answers_for_each_recipient():
    store, sink = Dovecot({"ann@store.example": "10M", "full@store.example": "1K", "bob@store.example": "10M"}), Sink()
    everybody = [f"{name}@store.example" for name in ("ann", "full", "nobody", "bob")]
    text = b"Subject: hello\r\n\r\n" + b".A line.\r\n" * 300
    for number, to in enumerate((f"lmtp:{store.socket}", f"lmtp://127.0.0.1:{store.port}")):
        relay = Relay(BINARY, route=routes(f'"{to}"', sink))
        relay.send_raw("sender@origin.example", everybody, text)
        for name in ("ann", "bob"):
            message = store.wait(f"{name}@store.example", number + 1)[-1]
            assert message.endswith(text) and message.count(b"Received: from client.example") == 1, message
        assert ends(relay, "delivered", 2) == ["ann@store.example", "bob@store.example"]
        assert ends(relay, "bounced", 2) == ["full@store.example", "nobody@store.example"], relay.log()
        codes = {record["recipients"][0]: record["enhanced"] for record in relay.log() if record["event"] == "bounced"}
        assert codes == {"full@store.example": "5.2.2", "nobody@store.example": "5.1.1"}, codes
        taken = [record for record in relay.log() if record["event"] == "delivered" and "store.example" in record["recipients"][0]]
        assert all(record["reply"].startswith("250 2.0.0") and to.split("//")[-1].split(":")[0] in record["hop"] for record in taken), taken
        # One notification tells the sender of both.
        sink.wait(number + 1)
        notice = sink.taken[-1].body
        assert b"full@store.example" in notice and b"Quota exceeded" in notice and b"nobody@store.example" in notice, notice
        assert store.messages("full@store.example") == []
        relay.stop()
    store.stop()


def only_those_a_store_puts_off_are_named_again():
    replies = [[b"250 2.0.0 saved\r\n", b"451 4.2.0 busy\r\n", b"552 5.2.2 full\r\n"]]
    store, sink = Store(lambda number, taken: replies[number] if number < len(replies) else saved(len(taken))), Sink()
    relay = Relay(BINARY, route=routes(f'"lmtp:{store.path}"', sink), more='[retry]\nfirst = "4s"\nmax = "4s"\n')
    relay.send("sender@origin.example", [f"{name}@store.example" for name in ("a", "refused", "b", "c")], TEXT)
    assert ends(relay, "delivered", 1)[0] == "a@store.example"
    assert ends(relay, "deferred", 1) == ["b@store.example"]
    assert ends(relay, "bounced", 2) == ["c@store.example", "refused@store.example"]
    # What was told is on disk: a node that dies now delivers to nobody twice.
    time.sleep(1)
    relay.kill()
    relay.start()
    store.wait(2)
    assert store.transactions == [["a@store.example", "b@store.example", "c@store.example"], ["b@store.example"]], store.transactions
    ends(relay, "delivered", 2)
    assert not {b"EHLO", b"HELO"} & set(store.heard), store.heard
    relay.stop()


def a_store_that_answers_for_too_few_or_too_many():
    first = {
        # The connection ends behind the first reply: the others are asked for again.
        "few": lambda taken: [b"250 2.0.0 saved\r\n", None],
        # For those it refused too, so that each reply seems to be another's: nobody is returned for it.
        "many": lambda taken: [b"550 5.1.1 no such mailbox\r\n", *saved(len(taken))],
        # One too many, but all were delivered.
        "more": lambda taken: saved(len(taken) + 1),
        # It closes in good order.
        "over": lambda taken: [b"250 2.0.0 saved\r\n", b"421 4.3.2 closing\r\n", None],
        "none": lambda taken: [None],
    }
    # A store that answered for too many is asked for one recipient at a time from then on; the others are not.
    asked = {"few": [3, 2], "many": [2, 1, 1], "more": [3], "over": [3, 2], "none": [3, 3]}
    for kind, answers in first.items():
        seen = set()
        store = Store(lambda number, taken: answers(taken) if kind not in seen and not seen.add(kind) else saved(len(taken)))
        relay = Relay(BINARY, route=routes(f'"lmtp:{store.path}"', Sink()), more=FAST)
        names = [f"{kind}-a", f"{kind}-b", f"{kind}-c"] if kind != "many" else ["refused", "many-a", "many-b"]
        relay.send("sender@origin.example", [f"{name}@store.example" for name in names], TEXT)
        delivered = [f"{kind}-{place}@store.example" for place in ("abc" if kind != "many" else "ab")]
        assert sorted(set(ends(relay, "delivered", len(delivered)))) == delivered, relay.log()
        if kind == "many":
            assert ends(relay, "bounced", 1) == ["refused@store.example"], relay.log()
        again = [len(names) for names in store.transactions if names[0].startswith(kind)]
        assert again == asked[kind], (kind, store.transactions)
        relay.stop()


def a_stop_loses_no_answer_of_a_store():
    stopped, again = threading.Event(), []

    def answers(number, taken):
        if stopped.is_set():
            again.extend(taken)
            yield from saved(len(taken))
        else:
            yield from saved(2)
            time.sleep(60)
            yield None

    store = Store(answers)
    relay = Relay(BINARY, route=routes(f'"lmtp:{store.path}"', Sink()), more=FAST)
    names = [f"{name}@store.example" for name in ("a", "b", "c", "d", "e")]
    relay.send("sender@origin.example", names, TEXT)
    store.wait(1)
    time.sleep(0.5)
    # The drain waits for the rest, and then writes down what there is.
    relay.process.terminate()
    assert relay.process.wait(45) == 0
    stopped.set()
    relay.start()
    assert ends(relay, "delivered", 5) == names, relay.log()
    deferred = [record for record in relay.log() if record["event"] == "deferred"]
    assert [record["recipients"] for record in deferred] == [names[2:]] and "relay was stopped" in deferred[0]["reply"], deferred
    assert sorted(f"{name}@store.example" if "@" not in name else name for name in again) == names[2:], again
    relay.stop()


def a_stop_before_answers_are_certain_loses_none():
    """One is refused behind the dot, and QUIT, which is to show for whom that was, is not answered."""
    store = Store(lambda number, taken: [b"550 5.2.1 no\r\n" if name.startswith("full") else b"250 2.0.0 saved\r\n" for name in taken])
    store.mute = True
    relay = Relay(BINARY, route=routes(f'"lmtp:{store.path}"', Sink()), more=FAST)
    relay.send("sender@origin.example", ["a@store.example", "b@store.example", "full@store.example"], TEXT)
    store.wait(1)
    time.sleep(0.5)
    relay.process.terminate()
    assert relay.process.wait(45) == 0
    store.mute = False
    relay.start()
    assert ends(relay, "delivered", 2) == ["a@store.example", "b@store.example"], relay.log()
    assert ends(relay, "bounced", 1) == ["full@store.example"], relay.log()
    assert [sorted(name.split("@")[0] for name in taken) for taken in store.transactions] == [["a", "b", "full"], ["full"]], store.transactions
    relay.stop()


def nothing_goes_behind_a_body_to_a_store():
    store, sink = Store(lambda number, taken: saved(len(taken)), pause=0.01), Sink()
    relay = Relay(BINARY, route=routes(f'"lmtp:{store.path}"', sink), more="[delivery]\nconnections_per_destination = 1\n")
    client = relay.client()
    for number in range(60):
        client.sendmail("sender@origin.example", [f"{name}{number}@store.example" for name in "abc"], TEXT)
    client.quit()
    store.wait(60)
    assert len(ends(relay, "delivered", 180)) == 180
    assert store.early == [] and store.heard.count(b"LHLO") < 10, (store.early, store.heard.count(b"LHLO"))
    relay.stop()


def a_socket_nobody_listens_on():
    sink, directory = Sink(), tempfile.mkdtemp(prefix="store-", dir="/tmp")
    relay = Relay(BINARY, route=routes(f'"lmtp:{directory}/lmtp"', sink), more=FAST)
    relay.send("sender@origin.example", ["ann@store.example"], TEXT)
    assert relay.told(f"cannot connect to lmtp:{directory}/lmtp: No such file", "is the mail store running?"), relay.words
    store = Store(lambda number, taken: saved(len(taken)))
    os.rename(store.path, f"{directory}/lmtp")
    store.wait(1)
    ends(relay, "delivered", 1)
    relay.stop()


def tls_from_the_first_byte():
    context = certificate(tempfile.mkdtemp(prefix="relevo-tls-"))
    secure, plain = Sink(tls_first=context), Sink()
    relay = Relay(BINARY, route=routes(f'"smtps://127.0.0.1:{secure.port}"', plain), more=FAST)
    relay.send("sender@origin.example", ["ann@store.example"], TEXT)
    secure.wait(1)
    assert secure.taken[0].protected
    [record] = relay.wait_log("delivered", 1)
    assert record["tls"].startswith("TLS"), record
    relay.stop()
    # Never in plain text, whatever that costs.
    relay = Relay(BINARY, route=routes(f'"smtps://127.0.0.1:{plain.port}"', plain), more=FAST)
    relay.send("sender@origin.example", ["ann@store.example"], TEXT)
    relay.wait_log("deferred", 1)
    time.sleep(2)
    assert plain.taken == [] and not relay.told("plain text", seconds=0.1), relay.words
    relay.stop()


def the_next_choice_stands_in():
    first, second = Sink(), Sink()
    port = free_port()
    to = f'[{{ to = "smtp://127.0.0.1:{second.port}", order = 2 }}, {{ to = "smtp://127.0.0.1:{port}", order = 1 }}]'
    relay = Relay(BINARY, route=routes(to, second), more=FAST + "[delivery]\nmessages_per_connection = 1\n")
    relay.send("sender@origin.example", ["one@store.example"], TEXT)
    second.wait(1)
    # It is the first that is asked when it is there.
    first = Sink(port=port)
    relay.send("sender@origin.example", ["two@store.example"], TEXT)
    first.wait(1)
    assert (first.recipients(), second.recipients()) == (["two@store.example"], ["one@store.example"])
    # One that is in trouble is stood in for as well, at once.
    first.behave = lambda point, data: b"421 4.3.2 not now\r\n" if point == "MAIL" else None
    relay.send("sender@origin.example", ["three@store.example"], TEXT)
    second.wait(2)
    assert not [record for record in relay.log() if record["event"] == "deferred"], relay.log()
    relay.stop()


def what_stands_behind_an_mx():
    denying = [True]
    first, port = Sink(), free_port()
    spare = Sink(lambda point, _: b"550 5.7.1 Relaying denied\r\n" if point == "RCPT" and denying else None)
    known = {
        ("far.example", MX): [(10, "mx.far.example")],
        ("mx.far.example", A): ["127.0.0.1"],
        ("null.example", MX): [(0, ".")],
        ("silent.example", MX): SILENCE,
        ("silent.example", A): SILENCE,
    }
    server = Names(lambda name, kind: known.get((name, kind), []))
    more = FAST + f'[dns]\nservers = ["127.0.0.1:{server.port}"]\ntimeout = "1s"\nattempts = 1\n'
    more += f"[delivery]\nmx_port = {port}\nallow_loopback_mx = true\nmessages_per_connection = 1\n"
    route = f'[[route]]\ndomain = "*.example"\nto = [{{ to = "mx" }}, {{ to = "smtp://127.0.0.1:{spare.port}", order = 1 }}]\n'
    route += f'[[route]]\ndomain = "origin.example"\nto = "smtp://127.0.0.1:{first.port}"\n'
    relay = Relay(BINARY, route=route, more=more)
    # Nobody is at the MX host. What the spare says of this relay is no answer about the recipient: nobody is returned.
    relay.send("sender@origin.example", ["zero@far.example"], TEXT)
    [record] = relay.wait_log("deferred", 1)
    assert "Relaying denied" in record["reply"], record
    denying.clear()
    spare.wait(1)
    relay.send("sender@origin.example", ["one@far.example"], TEXT)
    spare.wait(2)
    # Nobody says which host that is.
    relay.send("sender@origin.example", ["two@silent.example"], TEXT)
    spare.wait(3)
    # Where somebody is, it has the mail.
    host = Sink(port=port)
    relay.send("sender@origin.example", ["three@far.example"], TEXT)
    host.wait(1)
    # What is said for good stands (RFC 7505).
    relay.send("sender@origin.example", ["four@null.example"], TEXT)
    first.wait(1)
    assert b"four@null.example" in first.taken[0].body, first.taken[0].body
    assert spare.recipients() == ["zero@far.example", "one@far.example", "two@silent.example"] and host.recipients() == ["three@far.example"]
    relay.stop()


def connections_are_shared_by_weight():
    heavy, light = Sink(), Sink()
    to = f'[{{ to = "smtp://127.0.0.1:{heavy.port}", weight = 3 }}, {{ to = "smtp://127.0.0.1:{light.port}" }}]'
    relay = Relay(BINARY, route=routes(to, light), more="[delivery]\nmessages_per_connection = 1\n")
    client = relay.client()
    for number in range(400):
        client.sendmail("sender@origin.example", [f"to{number}@store.example"], TEXT)
    client.quit()
    ends(relay, "delivered", 400, 60)
    counts = len(heavy.taken), len(light.taken)
    # 300 of 400 on the average, 8.7 more or less: this is five times that.
    assert sum(counts) == 400 and abs(counts[0] - 300) < 44, counts
    relay.stop()


def mail_is_thrown_away():
    sink = Sink()
    relay = Relay(BINARY, route=routes('"discard"', sink))
    relay.send("sender@origin.example", ["a@store.example", "b@store.example", "c@other.example"], TEXT)
    client = relay.client()
    for number in range(100):
        client.sendmail("sender@origin.example", [f"to{number}@store.example"], TEXT)
    client.quit()
    assert len(ends(relay, "discarded", 102)) == 102
    sink.wait(1)
    assert sink.recipients() == ["c@other.example"], "nobody is told"
    records = [record for record in relay.log() if record["event"] == "discarded"]
    assert all("hop" not in record and "reply" not in record and "next" not in record for record in records), records
    metrics = urllib.request.urlopen(f"http://127.0.0.1:{relay.http}/metrics", timeout=10).read().decode()

    def counted(name):
        return sum(float(line.split()[-1]) for line in metrics.splitlines() if line.startswith(f"relevo_{name}_total"))

    # The only connection is that of the other domain.
    assert (counted("recipients_discarded"), counted("outbound_connections_opened")) == (102, 1), metrics
    identifier = next(record["id"] for record in records if len(record["recipients"]) == 2)
    time.sleep(1)
    config = ["--config", f"{relay.directory}/relevo.toml"]
    shown = subprocess.run([BINARY, "spool", "show", identifier, "--json", *config], capture_output=True, text=True, timeout=30)
    assert shown.returncode == 0, shown
    states = {one["address"]: one["state"] for one in json.loads(shown.stdout)["recipients"]}
    assert states == {"a@store.example": "discarded", "b@store.example": "discarded", "c@other.example": "delivered"}, states
    # Nothing of it is found by the next start.
    relay.kill()
    relay.start()
    time.sleep(2)
    assert len([record for record in relay.log() if record["event"] == "discarded"]) == len(records), relay.log()[-3:]
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
