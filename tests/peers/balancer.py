"""HAProxy in front of relays: it says whose connections it brings (PROXY protocol), looks whether they are there, and is told when they stop.

    python3 tests/peers/balancer.py STORY path/to/relevo
"""
import atexit
import os
import smtplib
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

from certificate import certificate
from ports import free_port
from relay import Relay
from sink import Sink

BINARY = sys.argv[2]
TEXT = b"Subject: hello\r\n\r\nbody\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


class Balancer:
    """HAProxy with a port for each of `fronts`: words of its `bind` beside the address, and the lines of its servers."""

    def __init__(self, *fronts):
        self.directory = tempfile.mkdtemp(prefix="relevo-test-")
        self.ports = [free_port() for _ in fronts]
        with open(f"{self.directory}/haproxy.cfg", "w") as file:
            file.write("global\n stats socket " + f"{self.directory}/stats level admin\n")
            file.write("defaults\n mode tcp\n timeout connect 2s\n timeout client 60s\n timeout server 60s\n timeout check 2s\n retries 3\n")
            for number, (bind, *lines) in enumerate(fronts):
                file.write(f"listen front{number}\n bind 0.0.0.0:{self.ports[number]} {bind}\n")
                file.writelines(f" {line}\n" for line in lines)
        self.start()

    def start(self):
        os.environ["PATH"] += ":/usr/sbin"
        self.process = subprocess.Popen(["haproxy", "-db", "-f", f"{self.directory}/haproxy.cfg"], stderr=subprocess.PIPE, text=True)
        # A story that fails must not leave it behind.
        atexit.register(self.process.kill)
        # Not by its ports: what connects there is a client of whom is behind.
        until(self.states, "haproxy did not start")

    def states(self):
        """What it thinks of its servers; nothing as long as it does not say."""
        with socket.socket(socket.AF_UNIX) as asking:
            try:
                asking.connect(f"{self.directory}/stats")
                asking.sendall(b"show stat\n")
                lines = asking.makefile().read().splitlines()
            except OSError:
                return {}
        names = lines[0].lstrip("# ").split(",")
        rows = (dict(zip(names, line.split(","))) for line in lines[1:] if line)
        return {row["svname"]: row["status"] for row in rows if row["svname"] not in ("FRONTEND", "BACKEND")}

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


class Shipped(Balancer):
    """HAProxy with deploy/haproxy/haproxy.cfg, whose two relays listen at these ports of this machine: for mail, for its checks."""

    def __init__(self, *relays):
        self.directory, self.ports = tempfile.mkdtemp(prefix="relevo-test-"), [free_port() for _ in range(3)]
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../deploy/haproxy/haproxy.cfg")) as file:
            text = file.read()
        here = [
            ("    user haproxy\n    group haproxy\n", ""),
            # This machine may not open files for more.
            ("maxconn 60000", "maxconn 1000"),
            ("/run/haproxy/admin.sock", f"{self.directory}/stats"),
            ("bind 127.0.0.1:8404\n", f"bind 127.0.0.1:{free_port()}\n"),
            ("default-server send-proxy-v2 check port 8025 inter 2s", "default-server send-proxy-v2 check inter 200ms"),
        ]
        for named, port in zip((25, 587, 465), self.ports):
            here.append((f"bind :{named}\n", f"bind 0.0.0.0:{port}\n"))
        for at, (port, http) in enumerate(relays, 1):
            here.append((f"server mx{at} 10.0.0.1{at}\n", f"server mx{at} 127.0.0.1:{port} port {http}\n"))
        for shipped, ours in here:
            assert text.count(shipped) == 1, shipped
            text = text.replace(shipped, ours)
        with open(f"{self.directory}/haproxy.cfg", "w") as file:
            file.write(text)
        self.start()


def until(is_so, words, seconds=15):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, words
        time.sleep(0.05)


def metric(relay, name):
    with urllib.request.urlopen(f"http://127.0.0.1:{relay.http}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    values = [float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"relevo_{name} ", f"relevo_{name}{{"))]
    return sum(values)


def labelled(relay, name, value):
    with urllib.request.urlopen(f"http://127.0.0.1:{relay.http}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"relevo_{name}{{") and f'="{value}"' in line)


def from_address(address, port):
    """A client at one of this machine's addresses, as HAProxy sees it."""
    return smtplib.SMTP("127.0.0.1", port, local_hostname="client.example", timeout=30, source_address=(address, 0))


def trusting():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def accounts(directory):
    hashed = subprocess.run([BINARY, "hash-password"], input=b"secret\n", stdout=subprocess.PIPE, check=True)
    with open(f"{directory}/accounts", "wb") as file:
        file.write(b"news:" + hashed.stdout)
    return f'[auth]\naccounts = "{directory}/accounts"\n'


def a_balancer_says_whose_connections_it_brings():
    listener = 'proxy_from = ["127.0.0.1"]\nrelay_from = ["127.0.0.21"]\nconnections_per_client = 2\n'
    for how in ("send-proxy", "send-proxy-v2"):
        sink = Sink()
        relay = Relay(BINARY, sink, listener=listener)
        balancer = Balancer(("", f"server a 127.0.0.1:{relay.port} {how}"))
        [port] = balancer.ports
        client = from_address("127.0.0.21", port)
        client.sendmail("a@b.example", ["c@d.example"], TEXT)
        sink.wait(1)
        assert b"client.example ([127.0.0.21])" in sink.taken[0].body.replace(b"\r\n\t", b" ").replace(b"\r\n ", b" "), sink.taken[0].body
        [received] = relay.wait_log("received")
        assert received["client"].startswith("127.0.0.21"), received
        # Nobody relays for the proxy's sake.
        stranger = from_address("127.0.0.22", port)
        stranger.ehlo()
        stranger.mail("a@b.example")
        assert stranger.rcpt("c@d.example")[0] == 550, "an open relay"
        # Each client has its own connections, over all shards.
        second = from_address("127.0.0.21", port)
        try:
            from_address("127.0.0.21", port)
            raise AssertionError("a third connection of one client")
        except smtplib.SMTPConnectError as error:
            assert error.smtp_code == 421, error
        another = from_address("127.0.0.22", port)
        rejected = relay.wait_log("rejected", 2)
        assert {(event["client"].rpartition(":")[0], event["reason"]) for event in rejected} == {
            ("127.0.0.22", "relay_denied"),
            ("127.0.0.21", "too_many_connections"),
        }, rejected
        second.quit()
        until(lambda: opens(port), "what is closed does not count")
        for one in (client, stranger, another):
            one.quit()
        assert labelled(relay, "proxied_total", "ok") >= 6 and labelled(relay, "proxied_total", "bad") == 0
        # A proxy always says whose it is: no greeting without.
        with socket.create_connection(("127.0.0.1", relay.port), timeout=20) as mute:
            mute.settimeout(1.0)
            try:
                raise AssertionError(f"before the header: {mute.recv(100)}")
            except TimeoutError:
                pass
        balancer.stop()
        relay.stop()


def opens(port):
    try:
        from_address("127.0.0.21", port).quit()
        return True
    except smtplib.SMTPConnectError:
        return False


def checks_cost_no_line_and_no_clients_count():
    """Of two nodes, by each kind of check that HAProxy has; and what looks like one."""
    listener = 'proxy_from = ["127.0.0.1"]\nconnections_max = 1\nconnections_per_client = 1\n'
    relays = [Relay(BINARY, Sink(), listener=listener) for _ in range(2)]
    checks = []
    for lines in (["option smtpchk EHLO balancer.example"], ["option tcp-check", "tcp-check connect send-proxy"], []):
        for how in ("send-proxy check-send-proxy", "send-proxy-v2 check-send-proxy"):
            servers = [f"server s{at} 127.0.0.1:{relay.port} {how} check inter 100ms" for at, relay in enumerate(relays)]
            checks.append(("", *lines, *servers))
    balancer = Balancer(*checks)
    until(lambda: set(balancer.states().values()) == {"UP"}, "a check fails")
    # The one client that there may be is served beside them.
    clients = [header_and(relay, b"PROXY TCP4 127.0.0.21 127.0.0.1 1 25\r\n") for relay in relays]
    time.sleep(3)
    assert set(balancer.states().values()) == {"UP"}, balancer.states()
    for relay, client in zip(relays, clients):
        client.sendall(b"NOOP\r\n")
        assert client.recv(100).startswith(b"250")
        client.close()
        assert labelled(relay, "proxied_total", "check") > 50
        assert labelled(relay, "proxied_total", "bad") == 0
        # A check that goes away when it likes, LOCAL in version 2, UNKNOWN in version 1.
        for first in (b"", b"PRO", b"PROXY UNKNOWN\r\n", SIGNATURE + b"\x20\0\0\0", SIGNATURE + b"\x21\x31\0\x02ab"):
            for reset in (False, True):
                looking = socket.create_connection(("127.0.0.1", relay.port), timeout=20)
                looking.sendall(first)
                if len(first) > 5:
                    assert looking.recv(100).startswith(b"220 "), first
                if reset:
                    looking.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                looking.close()
        # Whose mail it is nobody would know.
        check = header_and(relay, b"PROXY UNKNOWN\r\n")
        for command, code in ((b"EHLO x", b"250"), (b"MAIL FROM:<a@b.example>", b"550 5.7.1"), (b"QUIT", b"221")):
            check.sendall(command + b"\r\n")
            answer = check.recv(1000)
            assert answer.startswith(code), (command, answer)
        [told] = relay.wait_log("rejected")
        assert told["reason"] == "relay_denied" and "does not say whose" in told["reply"], told
        assert [event["event"] for event in relay.log()] == ["rejected"], relay.log()
        assert metric(relay, "connections_refused_total") == 0 and metric(relay, "connections_refused_client_total") == 0
    balancer.stop()
    for relay in relays:
        relay.stop()


def header_and(relay, header):
    """A connection with this header, greeted."""
    connection = socket.create_connection(("127.0.0.1", relay.port), timeout=20)
    connection.sendall(header)
    assert connection.recv(200).startswith(b"220 "), header
    return connection


def second(client="127.0.0.21", command=1, fields=b""):
    rest = socket.inet_aton(client) + socket.inet_aton("127.0.0.1") + struct.pack(">HH", 7, 25) + fields
    return SIGNATURE + bytes([0x20 | command, 0x11]) + struct.pack(">H", len(rest)) + rest


def headers_come_as_they_like():
    """Cut anywhere, with commands behind them; what is none is refused with a reason, and nobody else's is believed."""
    listener = 'proxy_from = ["127.0.0.1"]\nrelay_from = ["127.0.0.21"]\n'
    relay = Relay(BINARY, Sink(), listener=listener)
    good = [b"PROXY TCP4 127.0.0.21 127.0.0.1 7 25\r\n", second(), second(fields=b"\4\0\3abc")]
    for header in good:
        for cut in (1, 5, 11, 15, 17, len(header) - 1):
            connection = socket.create_connection(("127.0.0.1", relay.port), timeout=20)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(header[:cut])
            time.sleep(0.02)
            # Also one that does not wait for the greeting.
            connection.sendall(header[cut:] + b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nQUIT\r\n")
            said = connection.makefile("rb").read()
            assert said.startswith(b"220 ") and b"250 2.1.5 Ok\r\n221 " in said, (header, cut, said)
    bad = {
        b"EHLO x\r\n": b"no PROXY header",
        b"PROXY TCP4 127.0.0.21 127.0.0.1 7\r\n": b"version 1",
        b"PROXY TCP6 127.0.0.21 127.0.0.1 7 25\r\n": b"version 1",
        b"PROXY " + b"x" * 200: b"too long",
        SIGNATURE + b"\x31\x11\0\x0c" + b"0" * 12: b"version or command",
        SIGNATURE + b"\x21\x11\0\x04abcd": b"addresses",
        SIGNATURE + b"\x21\x11\xff\xff": b"too long",
        second(fields=b"\4\xff\xff"): b"a field",
        second(fields=b"\3\0\4\0\0\0\0"): b"checksum",
    }
    for header, words in bad.items():
        connection = socket.create_connection(("127.0.0.1", relay.port), timeout=20)
        connection.sendall(header)
        said = connection.makefile("rb").read()
        assert said.startswith(b"421 4.5.0 ") and words in said, (header, said)
    rejected = relay.wait_log("rejected", len(bad))
    assert {event["reason"] for event in rejected} == {"protocol"} and len(rejected) == len(bad), rejected
    assert labelled(relay, "proxied_total", "bad") == len(bad)
    # One that never comes.
    mute = socket.create_connection(("127.0.0.1", relay.port), timeout=30)
    mute.sendall(b"PROXY TCP4 ")
    began = time.monotonic()
    assert mute.makefile("rb").read().startswith(b"421 4.4.2 Timeout: no PROXY header"), "silence"
    assert 9 < time.monotonic() - began < 15
    assert relay.wait_log("rejected", len(bad) + 1)[-1]["reason"] == "timeout"
    # From elsewhere it is no header, whoever it names.
    for header in good:
        client = socket.create_connection(("127.0.0.1", relay.port), timeout=20, source_address=("127.0.0.2", 0))
        client.sendall(header)
        said = client.makefile("rb").read()
        assert said.startswith(b"220 ") and said.endswith(b"421 4.5.0 No PROXY header is taken from your address\r\n"), said
    told = relay.wait_log("rejected", len(bad) + 4)[-3:]
    assert {(event["reason"], event["client"].rpartition(":")[0]) for event in told} == {("protocol", "127.0.0.2")}, told
    relay.stop()


def tls_ends_here_or_at_the_balancer():
    """Behind the header TLS may begin at once; and where the balancer ends it, its word is taken if the operator says so."""
    with tempfile.TemporaryDirectory() as directory:
        certificate(directory, "relay.example")
        with open(f"{directory}/both.pem", "w") as both:
            both.writelines(open(f"{directory}/{name}.pem").read() for name in ("chain", "key"))
        files = f'tls_certificate = "{directory}/chain.pem"\ntls_key = "{directory}/key.pem"\n'
        through, believed, doubted = free_port(), free_port(), free_port()
        proxies = 'proxy_from = ["127.0.0.1"]\n'
        more = accounts(directory) + "".join(
            f'[[listener]]\naddress = "127.0.0.1:{port}"\n{proxies}{lines}\n'
            for port, lines in (
                (through, f'kind = "submissions"\n{files}'),
                (believed, 'kind = "submission"\nproxy_tls = true'),
                (doubted, 'kind = "relay"\nrelay_from = []\nrelay_to = ["d.example"]'),
            )
        )
        sink = Sink()
        relay = Relay(BINARY, sink, more)
        ends = f"ssl crt {directory}/both.pem"
        balancer = Balancer(
            ("", f"server a 127.0.0.1:{through} send-proxy"),
            ("", f"server a 127.0.0.1:{through} send-proxy-v2 check check-ssl check-send-proxy verify none inter 100ms"),
            (ends, f"server a 127.0.0.1:{believed} send-proxy-v2-ssl proxy-v2-options authority check check-send-proxy inter 100ms"),
            (ends, f"server a 127.0.0.1:{doubted} send-proxy-v2-ssl"),
        )
        until(lambda: balancer.states().get("a") in ("UP", "no check"), "a check fails")
        for number, port in enumerate(balancer.ports[:3]):
            client = smtplib.SMTP_SSL(
                "127.0.0.1", port, local_hostname="client.example", timeout=30, context=trusting(), source_address=("127.0.0.21", 0)
            )
            client.ehlo()
            assert client.has_extn("auth") and not client.has_extn("starttls"), number
            assert client.mail("a@b.example") == (530, b"5.7.0 Authentication required")
            client.login("news", "secret")
            client.sendmail("a@b.example", ["c@d.example"], TEXT)
            client.quit()
            received = relay.wait_log("received", number + 1)[-1]
            assert received["client"].startswith("127.0.0.21") and "TLSv1.3" in received["tls"], received
            assert received["account"] == "news", received
            sink.wait(number + 1)
            assert b"with ESMTPSA" in sink.taken[number].body, sink.taken[number].body
        client = smtplib.SMTP_SSL("127.0.0.1", balancer.ports[3], timeout=30, context=trusting())
        client.ehlo()
        assert not client.has_extn("auth"), "TLS that nobody vouches for"
        client.quit()
        # What says it is no TLS is none, wherever it comes from.
        plain = socket.create_connection(("127.0.0.1", believed), timeout=20)
        plain.sendall(second(fields=b"\x20\0\5\0\0\0\0\0") + b"EHLO x\r\nAUTH PLAIN AG5ld3MAc2VjcmV0\r\nQUIT\r\n")
        said = plain.makefile("rb").read()
        assert b"250-AUTH" not in said and b"538 5.7.11" in said, said
        time.sleep(1)
        reasons = [event["reason"] for event in relay.log() if event["event"] == "rejected"]
        assert sorted(reasons) == ["auth_refused"] + ["auth_required"] * 3, reasons
        balancer.stop()
        relay.stop()


def a_rolling_stop_costs_no_client_anything():
    """Two nodes are stopped and started one after the other while clients come: no client sees an error, and no mail is lost."""
    sink = Sink()
    more = "[[listener]]\naddress = \"127.0.0.1:{port}\"\nproxy_from = [\"127.0.0.1\"]\nrelay_from = [\"127.0.0.0/8\"]\n"
    relays, fronts = [], []
    for _ in range(2):
        port = free_port()
        relay = Relay(BINARY, sink, more.format(port=port))
        with open(f"{relay.directory}/relevo.toml") as file:
            text = file.read().replace("[node]\n", '[node]\nstop_grace = "3s"\n')
        with open(f"{relay.directory}/relevo.toml", "w") as file:
            file.write(text)
        relay.kill()
        relay.start()
        relays.append(relay)
        fronts.append((port, relay.http))
    balancer = Shipped(*fronts)
    until(lambda: set(balancer.states().values()) == {"UP"}, "a check fails")
    over, sent, failed = threading.Event(), [], []

    def send(number):
        for count in range(10_000):
            if over.is_set():
                return
            try:
                client = from_address(f"127.0.0.{21 + number}", balancer.ports[0])
                client.sendmail("a@b.example", [f"c{number}.{count}@d.example"], TEXT)
                sent.append(f"c{number}.{count}@d.example")
                client.quit()
            except (smtplib.SMTPException, OSError) as error:
                failed.append(error)
            time.sleep(0.02)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    for at, relay in enumerate(relays):
        relay.process.terminate()
        time.sleep(0.3)
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{relay.http}/readyz", timeout=5)
            raise AssertionError("/readyz says that a node which stops takes mail")
        except urllib.error.HTTPError as error:
            assert error.code == 503 and b"draining" in error.read()
        # It still serves whoever the balancer sends meanwhile, and tells a balancer that asks it by SMTP.
        header_and_port(fronts[at][0], b"PROXY TCP4 127.0.0.9 127.0.0.1 7 25\r\n", b"220 ")
        header_and_port(fronts[at][0], b"PROXY UNKNOWN\r\n", b"421 4.3.2 Shutting down")
        assert relay.process.wait(30) == 0
        relay.start()
        until(lambda: set(balancer.states().values()) == {"UP"}, "it does not come back")
        time.sleep(0.5)
    over.set()
    for thread in threads:
        thread.join()
    assert not failed, failed
    assert len(sent) > 100, len(sent)
    sink.wait(len(sent))
    taken = sorted(recipient for mail in sink.taken for recipient in mail.recipients)
    assert sorted(set(taken)) == sorted(sent), (len(taken), len(sent))
    balancer.stop()
    for relay in relays:
        relay.stop()


def header_and_port(port, header, expected):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(header)
        said = connection.recv(200)
        assert said.startswith(expected), said


def who_comes_in_a_drain_is_told_so():
    """As long as anything is under way each port answers, and says why it takes nothing."""
    slow = threading.Event()
    sink = Sink(lambda point, _: slow.wait(10) and None if point == "dot" else None)
    with tempfile.TemporaryDirectory() as directory:
        certificate(directory, "relay.example")
        tls, behind = free_port(), free_port()
        more = accounts(directory) + (
            f'[[listener]]\naddress = "127.0.0.1:{tls}"\nkind = "submissions"\ntls_certificate = "{directory}/chain.pem"\n'
            f'tls_key = "{directory}/key.pem"\n[[listener]]\naddress = "127.0.0.1:{behind}"\nproxy_from = ["127.0.0.1"]\n'
        )
        relay = Relay(BINARY, sink, more)
        relay.send("a@b.example", ["c@d.example"], TEXT)
        time.sleep(0.5)
        relay.process.terminate()
        time.sleep(0.7)
        for _ in range(20):
            for port in (relay.port, behind):
                with socket.create_connection(("127.0.0.1", port), timeout=20) as late:
                    assert late.makefile("rb").read() == b"421 4.3.2 Shutting down\r\n"
        # Who begins with TLS understands an alert.
        try:
            smtplib.SMTP_SSL("127.0.0.1", tls, context=trusting(), timeout=20)
            raise AssertionError("a session in a drain")
        except ssl.SSLError as error:
            assert "ALERT_INTERNAL_ERROR" in str(error), error
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{relay.http}/readyz", timeout=5)
            raise AssertionError("/readyz says that it takes mail")
        except urllib.error.HTTPError as error:
            assert error.code == 503
        slow.set()
        assert relay.process.wait(30) == 0
        assert [event for event in relay.log() if event["event"] == "rejected"] == []
        assert len(sink.taken) == 1
        relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
