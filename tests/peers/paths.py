"""Listeners at Unix sockets: curl, swaks and smtplib come there, and the files of the sockets come and go.

    python3 tests/peers/paths.py STORY path/to/relevo
"""
import os
import smtplib
import socket
import stat
import subprocess
import sys
import tempfile
import time

from relay import Relay
from sink import Sink

BINARY = sys.argv[2]
TEXT = b"Subject: hello\r\n\r\nbody\r\n"


class Here(smtplib.SMTP):
    """A client of a socket of this machine."""

    def __init__(self, path):
        self.path = path
        super().__init__("localhost", 25, local_hostname="client.example", timeout=30)

    def _get_socket(self, host, port, timeout):
        here = socket.socket(socket.AF_UNIX)
        here.settimeout(timeout)
        here.connect(self.path)
        return here


def listener(path, keys=""):
    return f'[[listener]]\naddress = "unix:{path}"\n{keys}\n'


def reload(relay):
    command = [BINARY, "reload", "--config", f"{relay.directory}/relevo.toml"]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def until(is_so, words, seconds=15):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, words
        time.sleep(0.05)


def programs_of_this_machine_come_by_a_path():
    sink, directory = Sink(), tempfile.mkdtemp(prefix="relevo-test-")
    path = f"{directory}/smtp.sock"
    umask = os.umask(0o077)
    relay = Relay(BINARY, sink, more=listener(path, "connections_per_client = 40\n"))
    os.umask(umask)
    found = os.stat(path)
    assert stat.S_ISSOCK(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o660, oct(found.st_mode)
    client = Here(path)
    client.sendmail("a@b.example", ["c@d.example"], TEXT)
    sink.wait(1)
    body = sink.taken[0].body.replace(b"\r\n\t", b" ").replace(b"\r\n ", b" ")
    assert b"from client.example ([127.0.0.1])" in body, body
    message = f"{directory}/message"
    with open(message, "wb") as file:
        file.write(TEXT)
    curl = ["curl", "-sS", "--unix-socket", path, "smtp://localhost", "--mail-from", "a@b.example", "--mail-rcpt", "c@d.example", "-T", message]
    subprocess.run(curl, check=True, timeout=60)
    swaks = ["swaks", "--socket", path, "--from", "a@b.example", "--to", "c@d.example", "--ehlo", "swaks.example"]
    told = subprocess.run(swaks, stdout=subprocess.PIPE, text=True, timeout=60)
    assert told.returncode == 0, told.stdout
    sink.wait(3)
    received = relay.wait_log("received", 3)
    assert {event["client"] for event in received} == {"127.0.0.1:0"}, received
    # All shards take connections, and all of these are one client's.
    many = [Here(path) for _ in range(39)]
    for one in many:
        one.sendmail("a@b.example", ["c@d.example"], TEXT)
    sink.wait(3 + 39)
    try:
        Here(path)
        raise AssertionError("one too many of this machine")
    except smtplib.SMTPConnectError as error:
        assert error.smtp_code == 421, error
    for one in [client, *many]:
        one.quit()
    until(lambda: Here(path).quit()[0] == 221, "what is closed does not count")
    relay.stop()
    assert not os.path.exists(path), "a clean stop leaves no file"


def a_path_says_who_may_relay_as_every_listener_does():
    sink, directory = Sink(), tempfile.mkdtemp(prefix="relevo-test-")
    closed, gateway, proxied, login = (f"{directory}/{name}.sock" for name in ("closed", "gateway", "proxied", "login"))
    hashed = subprocess.run([BINARY, "hash-password"], input=b"secret\n", stdout=subprocess.PIPE, check=True)
    with open(f"{directory}/accounts", "wb") as file:
        file.write(b"news:" + hashed.stdout)
    more = (
        listener(closed, 'relay_from = ["10.0.0.0/8"]')
        + listener(gateway, 'relay_from = ["192.0.2.0/24"]\nxclient_from = ["127.0.0.1"]')
        + listener(proxied, 'relay_from = ["192.0.2.0/24"]\nproxy_from = ["127.0.0.1"]')
        + listener(login, 'kind = "submission"\nproxy_from = ["127.0.0.1"]\nproxy_tls = true')
        + f'[[rule]]\nmatch = {{ listener = "unix:{gateway}" }}\nset = {{ campaign = "by-gateway" }}\n'
        + f'[auth]\naccounts = "{directory}/accounts"\n'
    )
    relay = Relay(BINARY, sink, more=more)
    stranger = Here(closed)
    stranger.ehlo()
    stranger.mail("a@b.example")
    assert stranger.rcpt("c@d.example")[0] == 550
    named = Here(gateway)
    assert named.docmd("XCLIENT", "ADDR=192.0.2.7 PORT=7 HELO=x.example")[0] == 220
    named.sendmail("a@b.example", ["c@d.example"], TEXT)
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(30)
        raw.connect(proxied)
        raw.sendall(b"PROXY TCP4 192.0.2.8 192.0.2.1 88 25\r\n")
        words = raw.makefile("rb")
        assert words.readline().startswith(b"220 ")
        for line in (b"HELO x.example", b"MAIL FROM:<a@b.example>", b"RCPT TO:<c@d.example>"):
            raw.sendall(line + b"\r\n")
            assert words.readline().startswith(b"250 ")
        raw.sendall(b"DATA\r\n")
        assert words.readline().startswith(b"354 ")
        raw.sendall(TEXT + b".\r\n")
        assert words.readline().startswith(b"250 ")
    received = relay.wait_log("received", 2)
    assert {(event["client"], event.get("campaign")) for event in received} == {("192.0.2.7:7", "by-gateway"), ("192.0.2.8:88", None)}, received
    relay.stop()
    assert os.listdir(directory) == ["accounts"], os.listdir(directory)


def sockets_come_and_go_by_reloads():
    sink, directory = Sink(), tempfile.mkdtemp(prefix="relevo-test-")
    one, other = f"{directory}/one.sock", f"{directory}/other.sock"
    relay = Relay(BINARY, sink, more=listener(one))
    stays = Here(one)
    before = os.stat(one).st_ino
    own = relay.more
    relay.more = own + listener(other)
    relay.write()
    told = reload(relay)
    assert told.returncode == 0 and f"listens on unix:{other}" in told.stdout, told.stdout
    assert os.stat(one).st_ino == before, "what stays is not opened again"
    Here(other).sendmail("a@b.example", ["c@d.example"], TEXT)
    sink.wait(1)
    # One goes: its file too. Who is there stays until his next message.
    relay.more = own.replace(one, other)
    relay.write()
    told = reload(relay)
    assert told.returncode == 0 and f"no longer listens on unix:{one}" in told.stdout, told.stdout
    until(lambda: not os.path.exists(one), "its file is left")
    assert stays.docmd("NOOP")[0] in (250, 421)
    # A file that is none of ours stays, and the reload is refused as a whole.
    with open(one, "w") as file:
        file.write("not a socket")
    relay.more = own + listener(other)
    relay.write()
    told = reload(relay)
    assert told.returncode != 0 and "no socket" in told.stdout, told.stdout
    with open(one) as file:
        assert file.read() == "not a socket"
    Here(other).quit()
    os.unlink(one)
    told = reload(relay)
    assert told.returncode == 0, told.stdout
    Here(one).quit()
    relay.stop()
    assert os.listdir(directory) == [], os.listdir(directory)


def what_a_killed_relay_left_is_replaced_and_what_is_served_is_not():
    sink, directory = Sink(), tempfile.mkdtemp(prefix="relevo-test-")
    path = f"{directory}/smtp.sock"
    relay = Relay(BINARY, sink, more=listener(path))
    # Another one is not let in.
    second = subprocess.run(
        [BINARY, "run", "--config", write_second(relay, directory)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
    )
    assert second.returncode != 0 and f"cannot listen on unix:{path}" in second.stdout and "another process serves it" in second.stdout, second.stdout
    Here(path).sendmail("a@b.example", ["c@d.example"], TEXT)
    sink.wait(1)
    relay.kill()
    assert os.path.exists(path)
    relay.start()
    Here(path).sendmail("a@b.example", ["c@d.example"], TEXT)
    sink.wait(2)
    check = subprocess.run([BINARY, "check", "--config", f"{relay.directory}/relevo.toml"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert check.returncode == 0 and f"listens on unix:{path}" in check.stdout, check.stdout
    relay.stop()
    assert not os.path.exists(path)


def write_second(relay, directory):
    with open(f"{relay.directory}/relevo.toml") as file:
        text = file.read()
    os.mkdir(f"{directory}/second")
    name = f"{directory}/second/relevo.toml"
    text = text.replace(relay.data_dir, f"{directory}/second/spool").replace(f"127.0.0.1:{relay.port}", "127.0.0.1:0").replace(f"127.0.0.1:{relay.http}", "")
    with open(name, "w") as file:
        file.write(text)
    return name


if __name__ == "__main__":
    globals()[sys.argv[1]]()
