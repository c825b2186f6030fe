"""The service that is asked about each message (`[hook]`): `hook.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import hashlib
import hmac
import json
import os
import smtplib
import socket
import ssl
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "attacks"))
from certificate import Authority
from hops import TEXT, metric, start
from shaping import reload
from sink import Sink
from suspensions import until
from verify import trust

SECRET = "a secret of forty letters and some digits"


class Service:
    """Does what the first recipient's local part says."""

    def __init__(self, port=0, tls=None):
        self.asked, self.connections, self.open, self.hang = [], 0, [], threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                service.connections += 1
                service.open.append(self.request)
                super().setup()

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                asked = json.loads(body)
                service.asked.append((self.path, self.headers, body, asked))
                service.answer(self, asked)

            def log_message(self, *words):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        for connection in self.open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def answer(self, handler, asked):
        kind = asked["recipients"][0].split("@")[0].split("+")[0]
        answers = {
            "accept": {"action": "accept"},
            "reject": {"action": "reject", "reply": "554 5.7.0 Not of you"},
            "no": {"action": "reject"},
            "defer": {"action": "defer", "reply": "450 Not now"},
            "discard": {"action": "discard"},
            "set": {"action": "accept", "set": {"tenant": "shop", "campaign": "may", "category": "news", "priority": "low", "expire": "1h", "header_add": {"X-Seen": "by the hook"}}},
            "key": {"action": "accept", "set": {"tennant": "shop"}},
            "class": {"action": "reject", "reply": "450 4.7.1 no"},
            "lines": {"action": "reject", "reply": "550 5.7.1 a\r\n250 b"},
            "bcc": {"action": "accept", "set": {"header_add": {"Bcc": "a@b.example"}}},
        }
        text, status = json.dumps(answers.get(kind, answers["accept"])).encode(), 200
        if kind == "hang":
            self.hang.wait(30)
        elif kind == "garbage":
            text = b"\x00\xff<html>" * 9
        elif kind == "flood":
            text = b'{"action": "accept", "reply": "' + b"x" * 5_000_000 + b'"}'
        elif kind == "error":
            status = 500
        elif kind == "gone":
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True
            return
        elif kind == "head":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"y" * 200_000)
        elif kind == "redirect":
            handler.send_response(302)
            handler.send_header("Location", f"http://127.0.0.1:{self.elsewhere.port}/")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        try:
            handler.send_response(status)
            handler.send_header("Content-Length", str(len(text)))
            handler.end_headers()
            handler.wfile.write(text)
        except OSError:
            handler.close_connection = True


def hook(service, more="", scheme="http", host="127.0.0.1"):
    return f'[hook]\nurl = "{scheme}://{host}:{service.port}/judge?a=b"\n{more}\n'


def bring(relay, kind, count=1, text=TEXT):
    """What a message to so many is answered, and after how long."""
    client = relay.client()
    client.ehlo()
    client.mail("a@b.example")
    for number in range(count):
        assert client.rcpt(f"{kind}+{number}@d.example")[0] == 250
    began = time.monotonic()
    code, words = client.data(text)
    client.quit()
    return code, words, time.monotonic() - began


def what_the_service_says_is_done():
    service, sink = Service(), Sink()
    relay = start(sink, hook(service))
    for kind, wanted in [("accept", (250, b"")), ("reject", (554, b"5.7.0 Not of you")), ("no", (550, b"5.7.1 ")), ("defer", (450, b"4.7.1 Not now")), ("discard", (250, b""))]:
        code, words, _ = bring(relay, kind)
        assert code == wanted[0] and words.startswith(wanted[1]), (kind, code, words)
    assert bring(relay, "set", 150, b"Subject: a\r\nX-Job: b\r\n\r\n" + TEXT)[0] == 250
    sink.wait(151)
    # So many recipients go in more than one transaction.
    [seen, *_] = [message for message in sink.taken if b"X-Seen" in message.body]
    assert seen.body.count(b"X-Seen: by the hook\r\n") == 1 and b"\r\nSubject: a\r\n" in seen.body, seen.body
    # Shards tell of theirs in turn.
    [received] = [event for event in relay.wait_log("received", 3) if "tenant" in event]
    assert (received["tenant"], received["campaign"], received["category"]) == ("shop", "may", "news"), received
    assert len(relay.wait_log("discarded")) == 1
    rejected = relay.wait_log("rejected", 3)
    assert {event["reason"] for event in rejected} == {"hook"}, rejected
    path, headers, _, asked = service.asked[-1]
    assert path == "/judge?a=b" and headers["Content-Type"] == "application/json" and "X-Relevo-Signature" not in headers, headers
    assert asked["sender"] == "a@b.example" and asked["recipients_count"] == 150 and len(asked["recipients"]) == 100, asked
    assert asked["client"].startswith("127.0.0.1:") and asked["helo"] == "client.example" and asked["trusted"] is True, asked
    assert asked["listener"] == f"127.0.0.1:{relay.port}" and asked["account"] is None and asked["tls"] is None, asked
    # Instructions are taken out and heard before.
    assert "Subject: a" in asked["header"] and asked["header_cut"] is False and asked["set"] == {"campaign": "b"}, asked
    long = b"".join(b"X-%d: %s\r\n" % (number, b"z" * 900) for number in range(100))
    assert bring(relay, "accept", 1, long + b"Subject: long\r\n\r\nA line.\r\n")[0] == 250
    assert service.asked[-1][3]["header_cut"] is True and len(service.asked[-1][3]["header"]) == 65_536
    # One after the other they need one connection.
    assert service.connections <= 2, service.connections
    assert metric(relay, "hook_total") == 7
    relay.stop()


def what_makes_no_sense_is_told_and_holds_what_fail_says():
    for fail, wanted in [("defer", 451), ("accept", 250)]:
        service, sink = Service(), Sink()
        service.elsewhere = Service()
        relay = start(sink, hook(service, f'fail = "{fail}"\ndeadline = "700ms"'))
        for kind, told in [
            ("garbage", "the answer is not as it must be"),
            ("flood", "more than 65536 bytes"),
            ("error", "it answers 500, not 200"),
            ("redirect", "redirects are not followed"),
            ("gone", "connection"),
            ("head", "hook http://"),
            ("hang", "no answer in 700 ms"),
            ("key", "its set.tennant is nothing that can be set"),
            ("class", "does not begin with 5"),
            ("lines", "its reply must have one line"),
            ("bcc", "would name to all"),
        ]:
            code, words, took = bring(relay, kind)
            assert code == wanted and (code == 250 or words.startswith(b"4.3.0 The message cannot be judged now")), (kind, code, words)
            assert took < 3, (kind, took)
            assert relay.told("hook http://127.0.0.1", told, "put off" if fail == "defer" else "taken unasked"), (kind, relay.words)
            assert bring(relay, "reject")[0] == 554, "the next one is asked about as ever"
        assert relay.told("answers again") and not service.elsewhere.asked
        service.hang.set()
        relay.stop()


def a_service_that_is_gone_is_waited_for_by_nobody():
    service, sink = Service(), Sink()
    relay = start(sink, hook(service, 'deadline = "1s"'))
    assert bring(relay, "reject")[0] == 554
    # While some wait for their answer others go on.
    waits = [threading.Thread(target=bring, args=(relay, "hang"), daemon=True) for _ in range(3)]
    for one in waits:
        one.start()
    time.sleep(0.3)
    code, _, took = bring(relay, "accept")
    assert code == 250 and took < 0.5, (code, took)
    for one in waits:
        one.join()
    assert bring(relay, "accept")[0] == 250
    threads = [threading.Thread(target=bring, args=(relay, "hang"), daemon=True) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert relay.told("failed 5 times in a row"), relay.words
    for _ in range(10):
        code, words, took = bring(relay, "accept")
        assert code == 451 and took < 0.3, (code, words, took)
    service.hang.set()
    until(lambda: bring(relay, "accept")[0] == 250, 15)
    assert relay.told("answers again")
    assert all(bring(relay, "reject")[0] == 554 for _ in range(5))
    # Its port is closed, and open again.
    port = service.port
    service.stop()
    until(lambda: bring(relay, "accept")[0] == 451)
    again = Service(port)
    until(lambda: bring(relay, "reject")[0] == 554, 15)
    # A reload has another asked, or none.
    config, other = f"{relay.directory}/relevo.toml", Service()
    with open(config) as file:
        text = file.read()
    reload(relay, config, text.replace(f":{port}/judge", f":{other.port}/judge"))
    asked = len(again.asked)
    assert bring(relay, "reject")[0] == 554 and len(other.asked) == 1 and len(again.asked) == asked
    reload(relay, config, text.replace(f"http://127.0.0.1:{port}/judge?a=b", ""))
    assert bring(relay, "reject")[0] == 250
    relay.stop()


def a_stop_waits_for_no_answer_that_does_not_come():
    service, sink = Service(), Sink()
    relay = start(sink, hook(service, 'deadline = "2s"'))
    heard = []
    threads = [threading.Thread(target=lambda: heard.append(bring(relay, "hang")[0]), daemon=True) for _ in range(4)]
    for one in threads:
        one.start()
    until(lambda: len(service.asked) == 4)
    began = time.monotonic()
    relay.stop()
    assert time.monotonic() - began < 10
    for one in threads:
        one.join(5)
    assert heard.count(451) == len(heard) == 4, heard
    service.hang.set()


def questions_are_signed_and_go_to_who_has_proven_who_he_is():
    directory = tempfile.mkdtemp(prefix="relevo-hook-")
    authority = Authority(directory)
    authority.certify("127.0.0.1", san="IP")
    trust(authority.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.file("127.0.0.1.pem"), authority.file("127.0.0.1.key"))
    service, sink = Service(tls=context), Sink()
    secret = f"{directory}/secret"
    with open(secret, "w") as file:
        file.write(SECRET + "\n")
    os.chmod(secret, 0o600)
    relay = start(sink, hook(service, f'secret_file = "{secret}"', "https"))
    assert bring(relay, "reject")[0] == 554, relay.words
    _, headers, body, _ = service.asked[-1]
    stamp, signature = (part.split("=", 1)[1] for part in headers["X-Relevo-Signature"].split(","))
    assert abs(int(stamp) - time.time()) < 60, headers
    wanted = hmac.new(SECRET.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(signature, wanted), headers
    # The name that is asked for is not in the certificate.
    config = f"{relay.directory}/relevo.toml"
    with open(config) as file:
        text = file.read()
    reload(relay, config, text.replace("https://127.0.0.1", "https://localhost"))
    count = len(service.asked)
    assert bring(relay, "reject")[0] == 451 and len(service.asked) == count
    assert relay.told("hook https://localhost", "TLS"), relay.words
    assert SECRET not in "".join(relay.words)
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
