"""Gateways that say by XCLIENT for whom they are there: swaks, and one of our own.

    python3 tests/peers/gateways.py STORY path/to/relevo
"""
import smtplib
import subprocess
import sys
import tempfile

from relay import Relay
from sink import Sink

BINARY = sys.argv[2]
TEXT = b"Subject: hello\r\n\r\nbody\r\n"
OFFER = "NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"


def accounts(*more):
    hashed = subprocess.run([BINARY, "hash-password"], input=b"secret\n", stdout=subprocess.PIPE, check=True).stdout.decode().strip()
    directory = tempfile.mkdtemp(prefix="relevo-test-")
    with open(f"{directory}/accounts.toml", "w") as file:
        file.write("".join(f'[[account]]\nname = "{name}"\npassword = "{hashed}"\n{keys}\n' for name, keys in more))
    return f'[auth]\naccounts = "{directory}/accounts.toml"\n'


def from_address(address, port):
    return smtplib.SMTP("127.0.0.1", port, local_hostname="gateway.example", timeout=30, source_address=(address, 0))


def xclient(client, words):
    """The reply's code. What smtplib knows of the session is over with a 220."""
    code, text = client.docmd("XCLIENT", words)
    if code == 220:
        client.ehlo_resp = client.helo_resp = None
        client.esmtp_features = {}
    return code, text


def bring(client, recipient="c@d.example"):
    client.ehlo_or_helo_if_needed()
    code, words = client.mail("a@b.example")
    if code != 250:
        client.rset()
        return code, words
    code, words = client.rcpt(recipient)
    if code == 250:
        code, words = client.data(TEXT)
    else:
        client.rset()
    return code, words


def a_gateway_says_for_whom_it_is_there():
    sink = Sink()
    listener = 'xclient_from = ["127.0.0.31"]\nrelay_from = ["192.0.2.0/24", "127.0.0.32", "127.0.0.1", "::1"]\nconnections_per_client = 2\n'
    own = ("shop", ""), ("bound", 'networks = ["192.0.2.0/24"]'), ("single", "connections_max = 1")
    relay = Relay(BINARY, sink, listener=listener, more=accounts(*own))
    # Who is not named is offered nothing, and gets nowhere.
    stranger = from_address("127.0.0.32", relay.port)
    stranger.ehlo()
    assert not stranger.has_extn("xclient")
    assert xclient(stranger, "ADDR=127.0.0.1 LOGIN=shop")[0] == 550
    assert bring(stranger)[0] == 250, "it is still who it was"
    sink.wait(1)

    gateway = from_address("127.0.0.31", relay.port)
    gateway.ehlo()
    assert gateway.esmtp_features["xclient"] == OFFER, gateway.esmtp_features
    assert bring(gateway)[0] == 550, "it may not relay itself"
    for bad in ("", "ADDR", "ADDR=x", "ADDR=192.0.2.7 ADDR=192.0.2.7", "IDENT=1", "HELO=a+0D+0Ab"):
        assert xclient(gateway, bad)[0] == 501, bad
    # Each of its clients has its own rights, and a connection of its own: what follows may be the client's bytes, which name nobody else.
    assert xclient(gateway, "ADDR=192.0.2.7 PORT=4321 HELO=first.example PROTO=ESMTP NAME=[UNAVAILABLE]")[0] == 220
    assert gateway.docmd("MAIL FROM:<a@b.example>")[0] == 250, "HELO was said for it"
    assert gateway.rcpt("c@d.example")[0] == 250 and gateway.data(TEXT)[0] == 250
    sink.wait(2)
    body = sink.taken[1].body.replace(b"\r\n\t", b" ").replace(b"\r\n ", b" ")
    assert b"from first.example ([192.0.2.7])" in body, body
    assert xclient(gateway, "ADDR=127.0.0.1 LOGIN=shop")[0] == 550
    gateway.ehlo()
    assert not gateway.has_extn("xclient")

    def through(words):
        client = from_address("127.0.0.31", relay.port)
        assert xclient(client, words)[0] == 220, words
        return client

    assert bring(through("ADDR=198.51.100.9"))[0] == 550, "an open relay"
    # This machine's loopback is not the gateway's to give, nor is what nobody knows anybody's.
    assert bring(through("ADDR=[UNAVAILABLE]")) == (550, b"5.7.1 No mail is taken from a proxy that does not say whose it is")
    # Accounts, without their passwords.
    assert bring(through("ADDR=198.51.100.9 LOGIN=shop"))[0] == 250
    third = from_address("127.0.0.31", relay.port)
    for login in ("nobody", "bound"):
        code, words = xclient(third, f"ADDR=198.51.100.9 LOGIN={login}")
        assert code == 550 and words.startswith(b"5.7.8 "), (code, words)
    assert bring(third)[0] == 550, "it stays who it was"
    assert bring(through("ADDR=192.0.2.9 LOGIN=bound"))[0] == 250
    assert bring(through("ADDR=IPV6:2001:db8::5"))[0] == 550
    received = relay.wait_log("received", 4)
    # Two shards tell them, each in its order.
    seen = {(event["client"].rpartition(":")[0], event.get("account")) for event in received}
    assert seen == {("127.0.0.32", None), ("192.0.2.7", None), ("198.51.100.9", "shop"), ("192.0.2.9", "bound")}, seen
    assert "192.0.2.7:4321" in {event["client"] for event in received}, received
    rejected = relay.wait_log("rejected", 7)
    assert {event.get("account") for event in rejected if event["reply"].startswith("550 5.7.8")} == {"nobody", "bound"}, rejected
    assert "[2001:db8::5]" in {event["client"].rpartition(":")[0] for event in rejected}, rejected
    # Connections are counted for the client, over all shards; the gateway's own are not counted for it.
    others = [from_address("127.0.0.31", relay.port) for _ in range(6)]
    for one in others[:2]:
        assert xclient(one, "ADDR=192.0.2.50")[0] == 220
    code, words = xclient(others[2], "ADDR=192.0.2.50")
    assert code == 421 and b"Too many connections from your address" in words, (code, words)
    others[1].quit()
    assert xclient(others[3], "ADDR=192.0.2.50")[0] == 220, "its place is free again"
    # So are those of an account.
    single = through("ADDR=192.0.2.60 LOGIN=single")
    code, words = xclient(others[4], "ADDR=192.0.2.61 LOGIN=single")
    assert code == 421 and b"of this account" in words, (code, words)
    single.quit()
    assert xclient(others[5], "ADDR=192.0.2.61 LOGIN=single")[0] == 220, "its place is free again"
    relay.stop()


def swaks_is_whom_it_says():
    sink = Sink()
    relay = Relay(BINARY, sink, listener='xclient_from = ["127.0.0.1"]\nrelay_from = ["192.0.2.0/24"]\n')

    def swaks(*words):
        command = ["swaks", "--server", f"127.0.0.1:{relay.port}", "--from", "a@b.example", "--to", "c@d.example", "--ehlo", "swaks.example", *words]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60)

    client = "--xclient-name", "mail.example.org", "--xclient-addr", "192.0.2.77", "--xclient-port", "999", "--xclient-proto", "ESMTP", "--xclient-helo", "o.example"
    told = swaks(*client)
    assert told.returncode == 0 and "XCLIENT" in told.stdout, told.stdout
    sink.wait(1)
    told = swaks("--xclient-addr", "198.51.100.7")
    assert told.returncode != 0 and "550 5.7.1 Relay access denied" in told.stdout, told.stdout
    told = swaks("--xclient-addr", "192.0.2.7", "--xclient-login", "nobody")
    assert "550 5.7.8" in told.stdout, told.stdout
    [received] = relay.wait_log("received")
    assert received["client"] == "192.0.2.77:999", received
    relay.stop()


def a_reload_takes_a_gateway_away():
    sink = Sink()
    relay = Relay(BINARY, sink, listener='xclient_from = ["127.0.0.31"]\nrelay_from = ["192.0.2.0/24"]\n')
    idle, speaks = (from_address("127.0.0.31", relay.port) for _ in range(2))
    assert xclient(speaks, "ADDR=192.0.2.7")[0] == 220 and bring(speaks)[0] == 250
    relay.listener = 'xclient_from = ["127.0.0.33"]\nrelay_from = ["192.0.2.0/24"]\n'
    relay.write()
    subprocess.run([BINARY, "reload", "--config", f"{relay.directory}/relevo.toml"], check=True, stdout=subprocess.DEVNULL)
    assert xclient(idle, "ADDR=192.0.2.7")[0] == 550
    assert speaks.docmd("NOOP")[0] == 421, "whom it spoke for is nobody any more"
    later = from_address("127.0.0.33", relay.port)
    assert xclient(later, "ADDR=192.0.2.7")[0] == 220 and bring(later)[0] == 250
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
