"""Second messages hidden in a first, with a stock Postfix behind the relay: `smuggling.py STORY BINARY`.

Postfix takes a bare LF for the end of a line unless it is told otherwise, so it would see what the relay let through.
"""
import os
import re
import socket
import sys
import time

from portions import ENDINGS, Client
from postfix import Postfix
from relay import Relay
from sink import Sink

BINARY = os.path.abspath(sys.argv[2])
BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
END = b"\r\n.\r\n"


def hidden(number):
    return b"MAIL FROM:<evil@b.example>\r\nRCPT TO:<evil%d@d.example>\r\nDATA\r\nSubject: evil\r\n\r\nevil\r\n" % number


def by_data(client, text, place):
    """In two writes, far enough apart that the relay reads them one by one."""
    assert client.ask(b"DATA").startswith(b"354")
    client.socket.sendall(text[:place])
    time.sleep(0.004)
    client.socket.sendall(text[place:] + END)
    return client.reply()


def by_bdat(client, text, place):
    """In two portions, all at once."""
    return client.portions([text[:place], text[place:]])[-1]


def by_three(client, text, place):
    """Three portions: the byte before the cut is one of its own."""
    return client.portions([text[: place - 1], text[place - 1 : place], text[place:]])[-1]


def until(sink, wanted, seconds=90):
    end = time.monotonic() + seconds
    while (missing := wanted - set(sink.recipients())) and time.monotonic() < end:
        time.sleep(0.1)
    assert not missing, f"{len(missing)} did not arrive: {sorted(missing)[:5]}"


def witness():
    """Somebody who sees the second message; and where his mail goes."""
    sink = Sink()
    postfix = Postfix(sink.port, "smtp_line_length_limit = 0\n")
    return sink, postfix


def tell(listener, refuses):
    sink, postfix = witness()
    relay = Relay(BINARY, type("Hop", (), {"port": postfix.port}), listener=listener)
    wanted, number, count = set(), 0, {}
    for ending in ENDINGS:
        head = b"Subject: a\r\n\r\nx"
        for way in (by_data, by_bdat, by_three):
            if way is by_data and ending == END:
                # That is one, and what follows are commands of the client's own.
                continue
            for place in range(len(head), len(head) + len(ending) + 2):
                number += 1
                recipient = b"c%d@d.example" % number
                text = head + ending + hidden(number)
                client = Client(relay.port)
                client.begin(recipient)
                answer = way(client, text, place)
                bare = BARE.search(text)
                if bare and refuses:
                    assert answer.startswith(b"550 5.6.11"), (way, ending, place, answer)
                    assert client.reply() == b"", "the connection goes on"
                else:
                    assert answer.startswith(b"250 2.0.0 Ok: queued"), (way, ending, place, answer)
                    assert client.ask(b"QUIT").startswith(b"221"), "there is an answer nobody asked for"
                    wanted.add(recipient.decode())
                client.socket.close()
                count[way.__name__] = count.get(way.__name__, 0) + 1
    until(sink, wanted)
    time.sleep(1)
    assert sorted(sink.recipients()) == sorted(wanted), set(sink.recipients()) ^ wanted
    for message in sink.taken:
        assert message.sender == "a@b.example" and b"evil@b.example" in message.body, (message.sender, message.body)
    assert "from=<evil" not in postfix.log() and "to=<evil" not in postfix.log()
    print(f"{count}, {len(wanted)} taken: Postfix saw as many")
    relay.stop()
    postfix.stop()


def postfix_sees_no_second_message():
    tell("", True)


def nor_where_line_ends_are_normalised():
    tell('bare_newlines = "normalise"\n', False)


def postfix_alone_would_see_it():
    """Or these stories could not fail."""
    sink, postfix = witness()
    with socket.create_connection(("127.0.0.1", postfix.port), timeout=30) as client:
        lines = client.makefile("rb")
        text = b"Subject: a\r\n\r\nx\n.\r\n" + hidden(0)
        for words, wanted in (
            (b"", b"220"), (b"HELO x\r\n", b"250"), (b"MAIL FROM:<a@b.example>\r\n", b"250"), (b"RCPT TO:<c@d.example>\r\n", b"250"),
            (b"DATA\r\n", b"354"), (text + END, b"250"), (b"", b"250"), (b"", b"250"), (b"", b"354"), (b"", b"250"),
        ):
            client.sendall(words)
            assert (line := lines.readline()).startswith(wanted), (words, line, postfix.log())
    until(sink, {"c@d.example", "evil0@d.example"})
    assert "evil@b.example" in [message.sender for message in sink.taken]
    postfix.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
