"""Where strangers' names lead: `addresses.py STORY BINARY`."""
import itertools
import multiprocessing
import os
import shutil
import smtplib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

from names import A, AAAA, MX, SILENCE, Names
from neighbour import BINARY, SLACK, STRICT, Pair, Relay, Sink, free_port, main, measure, rss

FAST = '[retry]\nfirst = "1s"\nmax = "1s"\n'
TEXT = b"Subject: hello\r\n\r\nA line.\r\n"


def of(table):
    """What a table says: {name: {kind: records}}."""

    def records(name, kind):
        known = table.get(name)
        return None if known is None else known.get(kind, [])

    return records


def no_name_leads_back_to_us():
    """Each comes back to its sender at once, with the right status, and none of it goes round. What a route of the operator's leads back waits
    for him."""
    home = Sink()
    hostile = {
        "written": ({MX: [(10, "127.0.0.1.")]}, b"5.4.4"),
        "disguised": ({MX: [(10, "0x7f000001."), (20, "127.1.")]}, b"5.4.4"),
        "named": ({MX: [(10, "lo.example")]}, b"5.4.6"),
        "mapped": ({MX: [(10, "mapped.example")]}, b"5.4.6"),
        "translated": ({MX: [(10, "translated.example")]}, b"5.4.6"),
        "nowhere": ({MX: [(10, "zero.example")]}, b"5.4.6"),
        "multicast": ({MX: [(10, "many.example")]}, b"5.4.4"),
        "metadata": ({MX: [(10, "metadata.example")]}, b"5.4.4"),
        "private": ({MX: [(10, "private.example")]}, b"5.4.4"),
        "implicit": ({A: ["127.0.0.1"]}, b"5.4.6"),
        "cut": ({MX: [(10, "lo.example"), (20, "nothere.example")]}, b"5.4.6"),
    }
    table = {f"{name}.hostile.example": records for name, (records, _) in hostile.items()}
    table |= {
        "lo.example": {A: ["127.0.0.1"]},
        "mapped.example": {AAAA: ["::ffff:127.0.0.1"]},
        "translated.example": {AAAA: ["64:ff9b::7f00:1"]},
        "zero.example": {A: ["0.0.0.0"], AAAA: ["::"]},
        "many.example": {A: ["224.0.0.1"]},
        "metadata.example": {A: ["169.254.169.254"]},
        "private.example": {A: ["10.1.2.3"], AAAA: ["fd00::1"]},
    }
    names = Names(of(table))
    routes = f'[[route]]\ndomain = "home.example"\nto = "smtp://127.0.0.1:{home.port}"\n'
    for allow in ("false", "true"):
        # With loopback allowed, as tests allow it, only our own listener is refused there.
        more = f'[dns]\nservers = ["127.0.0.1:{names.port}"]\ntimeout = "1s"\n{FAST}'
        relay = Relay(BINARY, home, "", route=routes)
        relay.kill()
        relay.more = more + f"[delivery]\nmx_port = {relay.port}\nallow_loopback_mx = {allow}\n"
        relay.route += f'[[route]]\ndomain = "round.example"\nto = "smtp://localhost:{relay.port}"\n'
        relay.write()
        relay.start()
        home.taken.clear()
        wanted = {f"u@{name}.hostile.example": status for name, (_, status) in hostile.items()}
        wanted |= {"u@127.0.0.1": b"5.1.2", "u@127.1": b"5.1.2", "u@2130706433": b"5.1.2"}
        wanted |= {"u@[127.0.0.1]": b"5.4.6", "u@[IPv6:::ffff:127.0.0.1]": b"5.4.6"}
        for recipient in [*wanted, "u@round.example"]:
            relay.send("a@home.example", [recipient], TEXT)
        home.wait(len(wanted))
        time.sleep(1)
        returned = {}
        for message in home.taken:
            assert message.sender == "", message
            head = message.body.partition(b"Final-Recipient: rfc822; ")[2]
            returned[head.partition(b"\r\n")[0].decode()] = head.partition(b"Status: ")[2].partition(b"\r\n")[0]
        assert returned == wanted, {name: (returned.get(name), status) for name, status in wanted.items()}
        assert len(home.taken) == len(wanted), "something was returned twice"
        received = relay.log()
        assert sum(line["event"] == "received" for line in received) == 2 * len(wanted) + 1, "mail went round"
        assert {name for line in received if line["event"] == "deferred" for name in line["recipients"]} <= {"u@round.example"}, received
        assert relay.told(" error ", "leads back to this relay", "localhost"), relay.words
        relay.stop()


def own_address():
    """One of this machine's that is no loopback; None: it has none. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there:
        try:
            there.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return there.getsockname()[0]


def nothing_leads_here_where_the_list_of_addresses_is_refused():
    """As a unit without AF_NETLINK does it: it is the same as where the list can be had."""
    own = own_address()
    if own is None:
        return print("skipped: this machine has no address but the loopback")
    names = Names(of({"own.example": {MX: [(10, "mx.own.example")]}, "mx.own.example": {A: [own]}}))
    refused = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "peers", "refused.py")
    more = f'[dns]\nservers = ["127.0.0.1:{names.port}"]\n{FAST}[delivery]\nprivate_networks = "allow"\nmx_port = {free_port()}\n'
    for wrap in ((sys.executable, refused, "netlink"), ()):
        relay = Relay(BINARY, Sink(), more, route="", wrap=wrap)
        assert relay.told("cannot read this machine's addresses", "AF_NETLINK") or not wrap, relay.words
        nat64 = "64:ff9b::" + own
        recipients = [f"u@[{own}]", "u@own.example", f"u@[IPv6:{nat64}]", f"u@[IPv6:::ffff:{own}]"]
        for recipient in recipients:
            relay.send("", [recipient], TEXT)
        found = relay.wait_log("bounced", len(recipients))
        assert sorted(line["recipients"][0] for line in found) == sorted(recipients), found
        assert all("5.4.6" in str(line) and "is this machine" in str(line) for line in found), found
        assert not any(line["event"] == "deferred" for line in relay.log())
        relay.stop()


def an_address_that_the_machine_gets_is_known_soon():
    """In a network of its own, which gets a second address while mail goes on."""
    if "RELEVO_OWN_NETWORK" not in os.environ:
        alone = ["unshare", "--map-root-user", "--net", sys.executable, *sys.argv]
        if not shutil.which("ip") or subprocess.run([*alone[:3], "true"], capture_output=True, timeout=30).returncode:
            return print("skipped: no network of its own can be made here")
        return subprocess.run(alone, env=os.environ | {"RELEVO_OWN_NETWORK": "1"}, check=True, timeout=200)
    ip = lambda words: subprocess.run(["ip", *words.split()], check=True, timeout=30)
    ip("link set lo up")
    ip("address add 10.99.0.1/32 dev lo")
    # Mail to another host finds no way; it is not this machine.
    ip("route add unreachable 10.99.0.0/24")
    names = Names(of({"new.example": {MX: [(10, "mx.new.example")]}, "mx.new.example": {A: ["10.99.0.2"]}}))
    more = f'[dns]\nservers = ["127.0.0.1:{names.port}"]\n[retry]\nfirst = "1h"\nmax = "1h"\n[delivery]\nprivate_networks = "allow"\nmx_port = {free_port()}\n'
    relay = Relay(BINARY, Sink(), more, route="")
    relay.send("", ["u@new.example"], TEXT)
    relay.wait_log("deferred")
    ip("address add 10.99.0.2/32 dev lo")
    time.sleep(2.1)
    relay.send("", ["v@[10.99.0.2]"], TEXT)
    bounced = relay.wait_log("bounced", 1, 5)
    assert "5.4.6" in str(bounced) and "is this machine" in str(bounced), bounced
    # It goes to another machine.
    ip("address del 10.99.0.2/32 dev lo")
    time.sleep(2.1)
    relay.send("", ["w@[10.99.0.2]"], TEXT)
    relay.wait_log("deferred", 2, 5)
    assert len(relay.wait_log("bounced")) == 1
    relay.stop()


def a_hosts_file_names_hosts_of_routes():
    sink, names = Sink(), Names(of({"smart.example": {A: ["127.0.0.9"]}, "other.example": {A: ["127.0.0.1"]}}))
    with tempfile.NamedTemporaryFile("w", suffix="hosts") as hosts:
        hosts.write("# mine\n::1 Smart.Example more\n127.0.0.1 alias smart.example # both\n")
        hosts.flush()
        more = f'[dns]\nservers = ["127.0.0.1:{names.port}"]\nhosts = "{hosts.name}"\n{FAST}'
        routes = "".join(
            f'[[route]]\ndomain = "{name}.test"\nto = "smtp://{host}:{sink.port}"\n'
            for name, host in (("a", "smart.example"), ("b", "ALIAS"), ("c", "other.example"))
        )
        relay = Relay(BINARY, sink, more, route=routes)
        for name in "abc":
            relay.send("", [f"u@{name}.test"], TEXT)
        sink.wait(3)
        relay.stop()


def flood(port, name, count=1_000, number=0):
    """One message for so many domains."""
    client = smtplib.SMTP("127.0.0.1", port, local_hostname="client.example", timeout=60)
    client.sendmail("", [f"u@{name}{number * count + place}.test" for place in range(count)], TEXT)
    client.quit()


class MadeUpDomains:
    """What is thrown at a relay whose names come from `names`: messages for a thousand made-up domains, one after the other."""

    def __init__(self, name, pause):
        self.name, self.pause = name, pause

    def __call__(self, target, stop):
        number = target.port % 1000 * 1000
        while not stop.is_set():
            flood(target.port, self.name, number=number)
            number += 1
            stop.wait(self.pause)


class Elsewhere:
    """The attacker's name server and his host for all mail, on a machine of his own: in a process that gets what nobody else wants of the cores,
    and not beside the well-behaved session in one interpreter, which it would hold up."""

    def __init__(self, records, policy=None, idle=True):
        fork = multiprocessing.get_context("fork")
        self.pipe, theirs = fork.Pipe()
        fork.Process(target=self.serve, args=(records, policy, idle, theirs), daemon=True).start()
        self.names_port, self.sink_port = self.pipe.recv()

    @staticmethod
    def serve(records, policy, idle, pipe):
        if idle:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        names, sink = Names(records), Sink(policy)
        pipe.send((names.port, sink.port))
        while True:
            pipe.recv()
            pipe.send((sink.most_open, len(sink.taken)))

    def seen(self):
        """The most connections that were open at once, and how many messages came."""
        self.pipe.send(None)
        return self.pipe.recv()


def made_up_domains_at_one_address_take_turns():
    """Each is a site of its own; at their address there are never more connections than an address may have."""

    def records(name, kind):
        if kind == MX and name.startswith("made"):
            return [(10, f"mx.{name}")]
        return ["127.0.0.1"] if kind == A and name.startswith("mx.made") else []

    # A debug build may leave the cores to nobody for seconds, and a name server that gets none of them is a slow one: its mail is deferred.
    elsewhere = Elsewhere(records, lambda point, _: time.sleep(0.05) if point == "dot" else None, idle=STRICT)
    more = f'[dns]\nservers = ["127.0.0.1:{elsewhere.names_port}"]\n'
    more += f"[delivery]\nmx_port = {elsewhere.sink_port}\nallow_loopback_mx = true\n"
    pair = Pair(more=more)
    measure(pair, MadeUpDomains("made", 1), seconds=4, rounds=2).judge()
    # Both relays send there.
    most_open, taken = elsewhere.seen()
    assert 5 <= most_open <= 40, f"{most_open} connections to one address"
    assert taken > 500, f"only {taken} came"
    assert not any(line["event"] in ("deferred", "bounced") for line in pair.attacked.log())
    for relay in pair.relays:
        relay.process.kill()


def silent_name_servers_hold_up_nobody():
    def records(name, kind):
        return SILENCE if "quiet" in name else []

    elsewhere = Elsewhere(records)
    pair = Pair(more=f'[dns]\nservers = ["127.0.0.1:{elsewhere.names_port}"]\n')
    measure(pair, MadeUpDomains("quiet", 1), seconds=4, rounds=2).judge()
    for relay in pair.relays:
        relay.process.kill()


def ten_thousand_silent(target, stop):
    """All of them wait at once, and some keep coming. A debug build on whatever machine there is gets fewer."""
    numbers = itertools.count(time.monotonic_ns() // 1_000_000)
    for _ in range(10 if STRICT else 3):
        flood(target.port, "quiet", number=next(numbers))
    while not stop.wait(1):
        flood(target.port, "quiet", count=100, number=10 * next(numbers))


def fresh_domains_do_not_wait_behind_silent_name_servers():
    """Each good message is for a domain that nobody asked for before: ten thousand others that are asked for in vain do not make it wait for its
    look-up."""

    def records(name, kind):
        if "quiet" in name:
            return SILENCE
        if kind == MX:
            return [(10, "mx.large.test")]
        return ["127.0.0.1"] if kind == A else []

    # It answers for the good domains, too.
    elsewhere = Elsewhere(records, idle=False)
    more = f'[dns]\nservers = ["127.0.0.1:{elsewhere.names_port}"]\n'
    pair = Pair(more=more + "[delivery]\nmx_port = {sink}\nallow_loopback_mx = true\n")
    result = measure(pair, ten_thousand_silent, seconds=8, rounds=2, warm=3, domain=lambda name: f"fresh.{name}.test")
    # `tests/sim/floods.rs` knows of the time alone; a debug build shows here that it all comes.
    result.judge(slack=SLACK if STRICT else 4)
    for relay in pair.relays:
        relay.process.kill()


def three_thousand_hosts_fit_in_little_memory():
    """A thousand domains of one zone, each with 3,000 MX hosts that differ: in the queue, and at the next start."""
    hosts = [f"m{number}.hosts" for number in range(2_000)]

    def records(name, kind):
        if kind == MX and name.startswith("wide"):
            return [(1 + place, f"{host}.{name}") for place, host in enumerate(hosts)]
        # The first twenty have no address, and none of the others answers.
        return [] if kind != A or name.split(".")[0][1:] in map(str, range(12)) else ["127.0.0.2"]

    names, closed = Names(records), free_port()
    more = f'[dns]\nservers = ["127.0.0.1:{names.port}"]\n[delivery]\nmx_port = {closed}\nallow_loopback_mx = true\n'
    sink = Sink()
    relay = Relay(BINARY, sink, more, route="")
    before = rss(relay.process.pid)
    flood(relay.port, "wide")
    highest = []
    for _ in range(2):
        end, top = time.monotonic() + 12, 0
        while time.monotonic() < end:
            top = max(top, rss(relay.process.pid))
            time.sleep(0.1)
        highest.append(top)
        relay.kill()
        relay.start()
    print(f"before {before >> 10} KiB, then {highest[0] >> 10} KiB, after a start {highest[1] >> 10} KiB")
    assert max(highest) - before < 60 << 20, highest
    events = relay.log()
    assert not any(line["event"] == "bounced" for line in events), "returned for the hosts without an address"
    assert max(map(len, relay.words), default=0) < 2_000, "a line as long as all names"
    relay.kill()


def longest_turn(relay):
    """Milliseconds."""
    with urllib.request.urlopen(f"http://127.0.0.1:{relay.http}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return max(float(line.split()[-1]) for line in lines if line.startswith("relevo_longest_turn_seconds")) * 1000


def no_turn_is_long_for_domains_that_take_no_mail():
    """Thousands of made-up domains: the host of each refuses connections, or there is no such name. Their mail is told so, a little at a time."""

    def records(name, kind):
        if name.startswith("shut"):
            return [(10, f"mx.{name}")] if kind == MX else []
        return ["127.0.0.1"] if kind == A and name.startswith("mx.shut") else None

    names, closed = Names(records), free_port()
    more = f'[dns]\nservers = ["127.0.0.1:{names.port}"]\n[delivery]\nmx_port = {closed}\nallow_loopback_mx = true\n'
    relay = Relay(BINARY, Sink(), more, route="", shards=1)
    for number in range(3):
        flood(relay.port, "shut", number=number)
        flood(relay.port, "none", number=number)
    # A debug build gets through few of them in a turn, and fewer on a busy machine.
    end, longest, told, lost = time.monotonic() + (30 if STRICT else 180), 0, 0, 0
    while min(told, lost) < 3_000 and time.monotonic() < end:
        time.sleep(1)
        longest = max(longest, longest_turn(relay))
        log = relay.log()
        told = sum(line["event"] == "deferred" and line["recipients"][0].startswith("u@shut") for line in log)
        lost = sum(line["event"] == "bounced" for line in log)
    print(f"{told} told, the longest turn {longest:.1f} ms")
    assert relay.process.poll() is None, "".join(relay.words)
    assert told >= 3_000, "not all were told"
    assert lost == 3_000, "not all that lead nowhere were given up"
    # Standard output is a list of what waits, with why and until when.
    listed = subprocess.run(
        [BINARY, "spool", "list", "--data-dir", relay.data_dir], capture_output=True, text=True, timeout=30
    )
    assert "cannot connect" in listed.stdout, listed
    # Times are those of a clock: a machine that is busy with other things adds its own.
    assert longest < (3 if STRICT else 1_500), f"a turn took {longest:.1f} ms"
    relay.stop()


if __name__ == "__main__":
    main(globals())
