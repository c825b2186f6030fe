"""A relay that is none: it serves the page with answers made up, so that each state of it can be seen. `mock.py PORT [full|empty|closed]`."""
import http.client
import json
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

import answers

BY_ROLE = ["read", "operate", "admin"]
# What is made up also where a relay stands behind.
OURS = ("me", "overview", "history", "sites", "cluster", "cluster/queue", "cluster/queue/count")


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def give(self, status, body, fields=()):
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in fields or [("Content-Type", "application/json")]:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        node, url = self.server.node, urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        node.asked.append((self.command, self.path))
        if url.path == "/":
            text, fields = self.server.document()
            return self.give(200, text, fields)
        if url.path.startswith("/preview/"):
            return self.give(200, b"<h1>Welcome, Ada</h1>", [("Content-Type", "text/html"), ("Content-Security-Policy", "sandbox; default-src 'none'")])
        if url.path in node.refuse:
            status, words, fields = node.refuse[url.path]
            return self.give(status, {"error": words, "code": "refused"}, fields)
        time.sleep(node.slow.get(url.path, 0))
        if node.token and self.headers.get("Authorization") != f"Bearer {node.token}":
            words = "this token is not known here, or was removed" if self.headers.get("Authorization") else "a token is needed"
            return self.give(401, {"error": words, "code": "bad_token"}, [("WWW-Authenticate", "Bearer")])
        if url.path == "/events":
            return self.stream(query)
        name = url.path.removeprefix("/control/v1/")
        if self.server.behind and name not in OURS:
            return self.give(*self.passed())
        plain = {"me": lambda: {"who": "token ops" if node.token else "this machine, without a token", "role": node.role, "tenant": None, "redacts": False, "cluster": node.in_cluster}, "overview": node.overview, "history": lambda: node.history(int(query["step"])), "sites": lambda: node.sites(query), "queue": lambda: node.queue(query),
                 "queue/count": lambda: node.count(query), "cluster": node.cluster, "cluster/queue": lambda: node.cluster_queue(query), "cluster/queue/count": lambda: node.cluster_count(query), "why": lambda: node.why(query), "suspensions": node.suspensions, "warmup": node.warmup, "analytics": lambda: node.analytics(query), "quotas": node.quotas, "suppressions": lambda: node.suppressions(query), "suppressions/check": lambda: node.suppressions(query), "templates": node.templates}
        if self.command == "POST":
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if name == "templates/preview":
                text = (body.get("contents") or {}).get("html", "")
                return self.give(200, {"subject": "Welcome, Ada", "html": text, "text": "Welcome, Ada\n", "frame": "/preview/0"})
            node.changes.append((name, body))
            if BY_ROLE.index(node.role) < 1:
                return self.give(403, {"error": "that needs the role operate", "code": "role"})
            decided = lambda: {"suspensions": [{"id": 99, "until": answers.iso(7200)}], "unkept": False}
            done = {"queue/redirect": decided, "suspend": decided, "resume": lambda: {"suspensions": [{"id": 12}], "unkept": False}, "suppressions": lambda: {"changed": len(body.get("addresses", [])), "known": 0}, "suppressions/remove": lambda: {"changed": 1, "known": 0}}
            more = lambda: {"recipients": 301, "groups": 300, "under_way": 1, "waits_for_spool": False, "unwritten": 0, "next": None if body.get("cursor") else "c"}
            return self.give(200, done.get(name, more)())
        if name.startswith("queue/message/"):
            answer = node.message(unquote(name.rsplit("/", 1)[1]))
        elif name.startswith("templates/"):
            answer = node.template(name)
        elif name in plain:
            answer = plain[name]()
        else:
            answer = (404, {"error": "there is nothing to ask here", "code": "no_such_question"})
        self.give(*answer) if isinstance(answer, tuple) else self.give(200, answer)

    do_POST = do_GET

    def passed(self):
        """What the relay behind answers, on its socket."""
        connection = http.client.HTTPConnection("localhost", timeout=40)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self.server.behind)
        connection.request(self.command, self.path, self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        answer = connection.getresponse()
        return answer.status, answer.read(), [("Content-Type", "application/json")]

    def stream(self, query):
        node = self.server.node
        node.streams += 1
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        kinds, n = [kind for kind in query.get("events", "").split(",") if kind], 0
        try:
            while not node.stream_breaks.is_set():
                self.wfile.write(b"event: overview\ndata: %s\n\n: \n" % json.dumps(node.overview()).encode())
                for _ in range(node.burst):
                    event, n = node.event(n), n + 1
                    if event["event"] in kinds and not node.empty:
                        self.wfile.write(b"event: log\ndata: %s\n\n" % json.dumps(event).encode())
                self.wfile.flush()
                node.stream_breaks.wait(1)
        except OSError:
            pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        # A view that is left waits for no answer.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def serve(node, port=0, document=answers.document, behind=None):
    server = Server(("127.0.0.1", port), Handler)
    server.node, server.document, server.behind = node, document, behind
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


if __name__ == "__main__":
    kind = sys.argv[2] if len(sys.argv) > 2 else "full"
    one = answers.Answers(empty=kind == "empty", token="secret" if kind == "closed" else None)
    print(f"http://127.0.0.1:{serve(one, int(sys.argv[1])).server_port}/", flush=True)
    threading.Event().wait()
