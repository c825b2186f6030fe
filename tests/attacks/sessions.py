"""Sessions that talk and hand in nothing: `sessions.py STORY BINARY`."""
import selectors

from neighbour import Pair, main, measure


def command_loops(target, stop):
    """Sixty connections that ask as fast as they are answered, five hundred commands a group."""
    words = [b"NOOP\r\n", b"RSET\r\n", b"VRFY <a@b.example>\r\n", b"HELP\r\n", b"EHLO x.example\r\n", b"MAIL FROM:<a@b.example>\r\nRSET\r\n"]
    ready = selectors.DefaultSelector()

    def open_one(number):
        # Each from an address of its own: the limit of a client is not what is tried here.
        client = target.connect(f"127.0.1.{number + 1}")
        client.setblocking(False)
        ready.register(client, selectors.EVENT_READ, number)
        client.send(words[number % len(words)] * 50)

    for number in range(60):
        open_one(number)
    while not stop.is_set():
        for key, _ in ready.select(0.1):
            try:
                if not key.fileobj.recv(1 << 16):
                    raise OSError
                key.fileobj.send(words[key.data % len(words)] * 50)
            except BlockingIOError:
                pass
            except OSError:
                ready.unregister(key.fileobj)
                key.fileobj.close()
                open_one(key.data)


def command_loops_move_nobody():
    pair = Pair()
    measure(pair, command_loops).judge()
    pair.stop()


if __name__ == "__main__":
    main(globals())
