"""A next hop that remembers what it takes and misbehaves on demand. Shares nothing with the relay but the RFCs."""
import socket
import threading
import time


class Sink:
    """Listens on a free port of 127.0.0.1, or as it is said.

    `behave(point, data)` is asked at each point of the dialogue (connect, the verbs, body, dot) and may answer None (go on), bytes
    (the reply to give), "drop" (close at once), "lose" (take the message, close before the 250) or "hang".
    """

    def __init__(self, behave=None, extensions=("PIPELINING", "8BITMIME", "SIZE 0"), tls=None, port=0, tls_first=None, address="127.0.0.1"):
        self.behave = behave or (lambda point, data: None)
        self.extensions, self.tls, self.tls_first = extensions, tls, tls_first
        self.taken, self.open, self.most_open = [], 0, 0
        self.lock = threading.Lock()
        self.listener = socket.create_server((address, port), backlog=200)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            # Each reply goes out at once: with commands in groups, a reply would otherwise wait for the ACK of the one before.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with self.lock:
            self.open += 1
            self.most_open = max(self.most_open, self.open)
        try:
            self.converse(connection)
        except (OSError, EOFError):
            pass
        finally:
            with self.lock:
                self.open -= 1
            connection.close()

    def converse(self, connection):
        if self.behave("connect", b"") == "drop":
            return
        if self.tls_first:
            connection = self.tls_first.wrap_socket(connection, server_side=True)
        connection.sendall(b"220 sink.example ESMTP\r\n")
        lines, protected, sender, recipients = connection.makefile("rb"), bool(self.tls_first), None, []
        while line := lines.readline():
            verb = line.split(b" ")[0].strip().upper().decode("ascii", "replace")
            verb = verb.split(":")[0]
            answer = self.behave(verb, line)
            if answer == "drop":
                return
            if answer == "hang":
                time.sleep(600)
            if isinstance(answer, bytes):
                connection.sendall(answer)
                continue
            if verb == "EHLO":
                words = list(self.extensions) + (["STARTTLS"] if self.tls and not protected else [])
                parts = ["sink.example"] + words
                text = "".join(f"250{'-' if n < len(parts) - 1 else ' '}{p}\r\n" for n, p in enumerate(parts))
                connection.sendall(text.encode())
            elif verb == "STARTTLS":
                connection.sendall(b"220 go on\r\n")
                if self.tls == "broken":
                    connection.sendall(b"this is not TLS\r\n" * 20)
                    return
                connection = self.tls.wrap_socket(connection, server_side=True)
                lines, protected = connection.makefile("rb"), True
            elif verb == "MAIL":
                sender, recipients = path(line), []
                connection.sendall(b"250 2.1.0 ok\r\n")
            elif verb == "RCPT":
                recipients.append(path(line))
                connection.sendall(b"250 2.1.5 ok\r\n")
            elif verb == "DATA" and not recipients:
                connection.sendall(b"554 5.5.1 no valid recipients\r\n")
            elif verb == "DATA":
                connection.sendall(b"354 go on\r\n")
                body = self.body(lines)
                answer = self.behave("dot", body)
                if answer == "drop":
                    return
                if isinstance(answer, bytes):
                    connection.sendall(answer)
                    continue
                with self.lock:
                    self.taken.append(Message(sender, recipients, body, protected))
                if answer == "lose":
                    return
                connection.sendall(b"250 2.0.0 taken\r\n")
            elif verb == "QUIT":
                connection.sendall(b"221 2.0.0 bye\r\n")
                return
            else:
                connection.sendall(b"250 2.0.0 ok\r\n")

    def body(self, lines):
        body = []
        while (line := lines.readline()) != b".\r\n":
            if not line or self.behave("body", line) == "drop":
                raise EOFError
            body.append(line[1:] if line.startswith(b".") else line)
        return b"".join(body)

    def recipients(self):
        return [recipient for message in list(self.taken) for recipient in message.recipients]

    def wait(self, count, seconds=30):
        """Waits until so many recipients were reached."""
        end = time.monotonic() + seconds
        while len(self.recipients()) < count:
            if time.monotonic() > end:
                raise AssertionError(f"{len(self.recipients())} of {count} recipients reached in {seconds} s")
            time.sleep(0.02)


class Message:
    def __init__(self, sender, recipients, body, protected):
        self.sender, self.recipients, self.body, self.protected = sender, list(recipients), body, protected

    def without_trace(self):
        """The message without the one Received field the relay put in front."""
        lines = self.body.split(b"\r\n")
        assert lines[0].startswith(b"Received: "), lines[0]
        rest = 1
        while lines[rest][:1] in (b" ", b"\t"):
            rest += 1
        return b"\r\n".join(lines[rest:])


def path(line):
    return line.split(b"<", 1)[1].split(b">", 1)[0].decode("utf-8", "replace")
