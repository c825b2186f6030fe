"""Mail from files (`[pickup]`): `pickup.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import os
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "attacks"))
from relay import Relay
from sink import Sink
from suspensions import until

TEXT = "From: Me <me@over.here>\nTo: You <you@over.there>\nSubject: hello\n\nHey\n.\n..\nlast"


class Pickup:
    """A relay with a directory."""

    def __init__(self, more="", **how):
        self.sink = Sink()
        self.at = tempfile.mkdtemp(prefix="relevo-pickup-")
        self.relay = Relay(sys.argv[2], self.sink, more=f'[pickup]\ndirectory = "{self.at}"\n{more}', **how)

    def drop(self, name, text, age=2):
        """Under its name at once, and as old as it must be."""
        hidden = f"{self.at}/.{name}"
        with open(hidden, "w", newline="") as file:
            file.write(text)
        os.utime(hidden, (time.time() - age,) * 2)
        os.rename(hidden, f"{self.at}/{name}")

    def names(self, directory="."):
        there = os.listdir(f"{self.at}/{directory}") if os.path.isdir(f"{self.at}/{directory}") else []
        return sorted(name for name in there if not name.startswith(".") and name != "bad")

    def error(self, name):
        until(lambda: {name, f"{name}.error"} <= set(self.names("bad")))
        with open(f"{self.at}/bad/{name}.error") as file:
            return file.read()


def counted(relay, result):
    text = urllib.request.urlopen(f"http://127.0.0.1:{relay.http}/metrics", timeout=10).read().decode()
    lines = [line for line in text.splitlines() if line.startswith(f'relevo_pickup_files_total{{result="{result}"}}')]
    return int(lines[0].split()[-1])


def mail(*recipients, sender="me@over.here", fields="", text=TEXT):
    receivers = "".join(f"X-Receiver: {one}\n" for one in recipients)
    return f"x-sender: {sender}\n{receivers}{fields}{text}"


def files_become_mail():
    """As a session would have brought it: instructions, duties, quotas of recipients, and the file goes when it is on disk."""
    pickup = Pickup('account = "app"\n[[rule]]\nmatch = { account = "app" }\nset = { tenant = "shop" }\n')
    relay, sink = pickup.relay, pickup.sink
    pickup.drop("one.eml", mail("a@b.example", "<c@d.example>", fields="x-job: spring\nX-Envid: e1\n"))
    sink.wait(2)
    until(lambda: pickup.names() == [])
    first = sink.taken[0]
    assert {one.sender for one in sink.taken} == {"me@over.here"}, first.sender
    assert sorted(sink.recipients()) == ["a@b.example", "c@d.example"], sink.recipients()
    text = first.without_trace().decode()
    assert text.endswith("Subject: hello\r\n\r\nHey\r\n.\r\n..\r\nlast\r\n"), text
    assert "Date: " in text and "Message-ID: " in text and "x-" not in text.lower(), text
    received = relay.wait_log("received")[0]
    wanted = ("spring", "shop", "app", "127.0.0.1:0")
    assert tuple(received.get(key) for key in ("campaign", "tenant", "account", "client")) == wanted, received
    assert b"from pickup ([127.0.0.1])" in first.body, first.body
    # Names that are not looked at, one that is written to, and what is in a directory.
    for name in [".hidden", "half.tmp"]:
        with open(f"{pickup.at}/{name}", "w") as file:
            file.write(mail("never@b.example"))
    os.mkdir(f"{pickup.at}/directory")
    with open(f"{pickup.at}/slow", "w") as file:
        file.write(mail("late@b.example", text=""))
        for _ in range(6):
            file.write("X-Line: x\n")
            file.flush()
            time.sleep(0.5)
            assert "slow" in pickup.names(), pickup.names()
    sink.wait(3)
    assert sink.taken[-1].body.count(b"X-Line: x\r\n") == 6, sink.taken[-1].body
    until(lambda: pickup.names() == ["directory", "half.tmp"])
    assert counted(relay, "taken") == 2
    relay.stop()


def what_cannot_be_taken_is_put_aside():
    """Each with its words, and nothing of it is opened that is no file."""
    pickup = Pickup('message_size_max = "64KiB"\n[[rule]]\nmatch = { recipient = "@never.example" }\naction = "reject 550 5.7.1 Not them"\n')
    relay = pickup.relay
    pickup.drop("empty", "")
    assert "is empty" in pickup.error("empty")
    pickup.drop("nobody", "x-sender: a@b.example\n" + TEXT)
    assert "there is no x-receiver" in pickup.error("nobody")
    pickup.drop("name", mail("Me <a@b.example>"))
    assert "line 2: x-receiver: Me <a@b.example> is no address" in pickup.error("name")
    pickup.drop("rule", mail("a@never.example"))
    assert pickup.error("rule") == "550 5.7.1 Not them\n"
    pickup.drop("instruction", mail("a@b.example", fields="X-Relevo-Priority: urgent\n"))
    assert "X-Relevo-Priority must be" in pickup.error("instruction")
    pickup.drop("large", mail("a@b.example", text=TEXT + "x\n" * 40_000))
    assert "may have 65536" in pickup.error("large")
    pickup.drop("bare", mail("a@b.example", text="Subject: x\n\na\rb\n"))
    assert "Bare CR" in pickup.error("bare")
    secret = tempfile.NamedTemporaryFile(prefix="relevo-secret-")
    secret.write(mail("a@b.example").encode())
    secret.flush()
    os.symlink(secret.name, f"{pickup.at}/link")
    assert "a symbolic link" in pickup.error("link")
    os.mkfifo(f"{pickup.at}/fifo")
    assert "a FIFO" in pickup.error("fifo")
    pickup.drop(".source", mail("a@b.example"))
    os.link(f"{pickup.at}/.source", f"{pickup.at}/second")
    assert "hard link" in pickup.error("second")
    # A name that is there already.
    pickup.drop("empty", "")
    until(lambda: len([name for name in pickup.names("bad") if name.startswith("empty")]) == 4)
    assert pickup.names() == [] and not pickup.sink.taken, pickup.names()
    rejected = relay.wait_log("rejected")
    assert rejected[0]["reply"] == "550 5.7.1 Not them" and rejected[0]["client"] == "127.0.0.1:0", rejected
    assert counted(relay, "bad") == 11
    relay.stop()


def files_of_commands_are_taken_apart():
    """Each message of them becomes a file of its own, which meets what any file meets: all at once, or nothing where a line is wrong."""
    rule = '[[rule]]\nmatch = { recipient = "@never.example" }\naction = "reject 550 5.7.1 Not them"\n'
    pickup = Pickup(f'account = "app"\n{rule}')
    relay, sink, count = pickup.relay, pickup.sink, 300
    text = "XACK ON \nXMRG FROM: news@shop.example\n"
    for number in range(count):
        domain = "never.example" if number == 7 else "b.example"
        text += f'XDFN first="Name {number}" *jobid="spring"\nRCPT TO:<u{number}@{domain}>\n'
    text += "\nXPRT 1 LAST \nFrom: news@shop.example\nTo: [*to]\nSubject: for [first]\n\n..Dear [FIRST],\n.\n"
    text += "MAIL FROM:<>\nRCPT TO:<one@c.example>\nRCPT TO:<two@c.example>\nDATA\nSubject: plain\n\nx\n.\nQUIT\n"
    pickup.drop("merge", text)
    sink.wait(count + 1)
    until(lambda: pickup.names() == [] and os.listdir(f"{pickup.at}/.taken") == [] and os.listdir(f"{pickup.at}/.later") == [])
    merged = [one for one in sink.taken if one.sender]
    assert len(merged) == count - 1 and {len(one.recipients) for one in merged} == {1}
    for message in merged:
        number = message.recipients[0].split("@")[0][1:]
        assert message.without_trace().endswith(f"Subject: for Name {number}\r\n\r\n.Dear Name {number},\r\n".encode()), message.body
        assert b"x-relevo" not in message.body.lower() and b"x-job" not in message.body.lower(), message.body
    [bad] = [name for name in pickup.names("bad") if not name.endswith(".error")]
    assert bad.startswith("merge.00000007."), bad
    assert pickup.error(bad) == "550 5.7.1 Not them\n"
    assert {one["campaign"] for one in relay.wait_log("received", count) if one["sender"]} == {"spring"}
    assert counted(relay, "split") == 1 and counted(relay, "taken") == count
    pickup.drop("wrong", text.replace("XPRT 1 LAST", "XPRT 1"))
    assert "nothing of the file was sent" in pickup.error("wrong")
    relay.stop()


def what_is_refused_for_now_waits():
    """In a place of its own, where it holds up nobody; and all of it waits in the directory while the node takes nothing."""
    pickup = Pickup('account = "app"\n[[tenant]]\nname = "shop"\nquota = ["1/d"]\n[[rule]]\nmatch = { account = "app", recipient = "@b.example" }\nset = { tenant = "shop" }\n')
    relay = pickup.relay
    for number in range(80):
        pickup.drop(f"bulk{number}", mail("one@b.example"))
    pickup.drop("other", mail("two@c.example"))
    until(lambda: pickup.names() == [], 30)
    until(lambda: len(os.listdir(f"{pickup.at}/.later")) >= 79, 30)
    until(lambda: "two@c.example" in pickup.sink.recipients())
    assert os.listdir(f"{pickup.at}/.taken") == []
    assert relay.told("is refused for now, and tried again: 451")
    relay.stop()


def a_kill_repeats_no_more_than_was_under_way():
    """Files are taken again from where they were when the relay was killed: none is lost, and few are sent twice."""
    pickup = Pickup()
    relay, count, kills = pickup.relay, 600, 3
    for number in range(count):
        pickup.drop(f"{number:04}", mail(f"r{number}@b.example"))
    for kill in range(kills):
        until(lambda: len(pickup.names()) < count - (kill + 1) * 120, 60)
        relay.kill()
        relay.start()
    until(lambda: pickup.names() == [] and not os.listdir(f"{pickup.at}/.taken") and not os.listdir(f"{pickup.at}/.later"), 60)
    sent = lambda: {one for one in pickup.sink.recipients()}
    until(lambda: len(sent()) == count, 60)
    twice = len(relay.wait_log("received", count)) - count
    assert twice <= 64 * kills, twice
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
