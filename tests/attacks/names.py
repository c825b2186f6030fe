"""A name server that says whatever a story wants. Shares nothing with the relay but the RFCs."""
import socket
import struct
import threading

A, MX, TXT, AAAA, TLSA = 1, 15, 16, 28, 52
SILENCE, FAILURE = "silence", "failure"


def encode(name):
    labels = [label.encode() for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


class Names:
    """`records(name, kind)` gives what there is: a list of addresses, of (preference, host) for MX, of texts for TXT, of bytes for TLSA; None: no such name; SILENCE: no answer; FAILURE: SERVFAIL."""

    def __init__(self, records, at=("127.0.0.1", 0)):
        self.records, self.asked, self.lock = records, 0, threading.Lock()
        # Whether it says that it has validated an answer.
        self.authentic = lambda name, kind: False
        while True:
            self.tcp = socket.create_server(at, backlog=200)
            self.port = self.tcp.getsockname()[1]
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            try:
                self.udp.bind((at[0], self.port))
                break
            except OSError:
                self.udp.close()
                self.tcp.close()
                if at[1]:
                    raise
        threading.Thread(target=self.serve_udp, daemon=True).start()
        threading.Thread(target=self.serve_tcp, daemon=True).start()

    def answer(self, question, most):
        name, place = [], 12
        while length := question[place]:
            name.append(question[place + 1 : place + 1 + length].decode())
            place += 1 + length
        kind = struct.unpack_from(">H", question, place + 1)[0]
        found = self.records(".".join(name).lower(), kind)
        with self.lock:
            self.asked += 1
        if found == SILENCE:
            return None
        code = 3 if found is None else 0
        if found == FAILURE:
            code, found = 2, []
        if self.authentic(".".join(name).lower(), kind):
            code |= 0x20
        head = question[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(found or []), 0, 0)
        body = question[12 : place + 5]
        for record in found or []:
            if kind == MX:
                data = struct.pack(">H", record[0]) + encode(record[1])
            elif kind == A:
                data = socket.inet_aton(record)
            elif kind == TXT:
                parts = [record[at : at + 255] for at in range(0, len(record), 255)] or [""]
                data = b"".join(bytes([len(part)]) + part.encode() for part in parts)
            elif kind == TLSA:
                data = record
            else:
                data = socket.inet_pton(socket.AF_INET6, record)
            body += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data
        if len(head + body) > most:
            return question[:2] + struct.pack(">HHHHH", 0x8380, 1, 0, 0, 0) + question[12 : place + 5]
        return head + body

    def serve_udp(self):
        while True:
            question, client = self.udp.recvfrom(4096)
            answer = self.answer(question, 1232)
            if answer:
                self.udp.sendto(answer, client)

    def serve_tcp(self):
        while True:
            client, _ = self.tcp.accept()
            threading.Thread(target=self.serve_one, args=(client,), daemon=True).start()

    def serve_one(self, client):
        with client:
            length = struct.unpack(">H", client.recv(2, socket.MSG_WAITALL))[0]
            answer = self.answer(client.recv(length, socket.MSG_WAITALL), 65535)
            if answer:
                client.sendall(struct.pack(">H", len(answer)) + answer)
