"""Where strangers' names lead: `addresses.py STORY BINARY`."""
import os
import tempfile
import time

from names import A, AAAA, MX, Names
from neighbour import BINARY, Relay, Sink, main

FAST = '[retry]\nfirst = "1s"\nmax = "1s"\n'
TEXT = b"Subject: hello\r\n\r\nA line.\r\n"


def of(table):
    """What a table says: {name: {kind: records}}."""

    def records(name, kind):
        known = table.get(name)
        return None if known is None else known.get(kind, [])

    return records


def no_name_leads_back_to_us():
    """Each comes back to its sender at once, with the right status, and none of it goes round."""
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
        wanted |= {"u@[127.0.0.1]": b"5.4.6", "u@[IPv6:::ffff:127.0.0.1]": b"5.4.6", "u@round.example": b"5.4.6"}
        for recipient in wanted:
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
        assert sum(line["event"] == "received" for line in received) == 2 * len(wanted), "mail went round"
        assert not any(line["event"] == "deferred" for line in received)
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


if __name__ == "__main__":
    main(globals())
