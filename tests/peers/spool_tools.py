"""Stories of `relevo spool` with the real binary: `spool_tools.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from relay import Relay, free_port, run_and_fail
from sink import Sink

BINARY = os.path.abspath(sys.argv[2])
SLOW = '[retry]\nfirst = "1h"\nmax = "1h"\n'
FAST = '[retry]\nfirst = "1s"\nmax = "1s"\n'
BODY = b"Subject: number %d\r\nX-Folded: a\r\n b\r\n\r\n.dots\r\n" + b"line\r\n" * 900


def dead_route():
    return f'[[route]]\ndomain = "*"\nto = "smtp://127.0.0.1:{free_port()}"\n'


def spool(*arguments, code=0):
    """Runs a tool; returns what it wrote, as bytes, and its words."""
    done = subprocess.run([BINARY, "spool", *map(str, arguments)], capture_output=True, timeout=60)
    words = done.stderr.decode()
    assert done.returncode == code, (arguments, done.returncode, done.stdout[-2000:], words)
    assert "panicked" not in words, words
    return done.stdout, words


def listed(*arguments):
    return [json.loads(line) for line in spool("list", "--json", *arguments)[0].splitlines()]


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def make_later(path, version):
    """Gives a segment the header of a later version: a flipped bit alone would be damage, so its CRC is right."""
    with open(path, "r+b") as file:
        old = file.read(64)
        new = old[:8] + version.to_bytes(4, "little") + old[12:60]
        file.seek(0)
        file.write(new + crc32c(new).to_bytes(4, "little"))
    return old


def snapshot(directory):
    """Every file below a directory, with its bytes; but the socket for commands, which goes with the process, and the journal of events, of
    which each start begins a segment."""
    found = {}
    for path in glob.glob(f"{directory}/**", recursive=True):
        if path.endswith("/control.sock") or "/journal/" in path:
            continue
        if os.path.isfile(path):
            with open(path, "rb") as file:
                found[path] = file.read()
        else:
            found[path] = None
    return found


def filled(messages=5, shards=1, sink=None):
    """A relay that has mail it cannot deliver, as the hop is down; every message is a commit of its own."""
    relay = Relay(BINARY, sink, SLOW, route=None if sink else dead_route(), shards=shards)
    for number in range(messages):
        relay.send_raw(f"s{number}@b.example", [f"one@d{number}.example", f"two@d{number}.example"], BODY % number)
    relay.wait_log("received", messages)
    return relay


def unpacked(path, directory):
    """Writes the files of a packed spool; src/spool/tests/older.rs says how they lie in it."""
    with open(path, "rb") as file:
        count = int.from_bytes(file.read(4), "little")
        blocks = [file.read(4096) for _ in range(count)]
        while length := int.from_bytes(file.read(2), "little"):
            name = os.path.join(directory, file.read(length).decode())
            size, runs = (int.from_bytes(file.read(4), "little") for _ in range(2))
            os.makedirs(os.path.dirname(name), exist_ok=True)
            with open(name, "wb") as out:
                for _ in range(runs):
                    block, times = (int.from_bytes(file.read(2), "little") for _ in range(2))
                    out.write(blocks[block] * times)
                out.truncate(size)


def mail_of_an_older_version_is_delivered():
    directory = tempfile.mkdtemp(prefix="relevo-test-")
    unpacked(os.path.join(os.path.dirname(__file__), "../spools/2026-11.spool"), directory)
    found = listed("--data-dir", directory)
    assert [one["recipients"] for one in found] == [1, 5, 1, 1, 1], found
    shown = json.loads(spool("show", found[1]["id"], "--json", "--data-dir", directory)[0])
    assert shown["sender"] == "m2@sender.example" and shown["live"] == 3, shown
    assert shown["tenant"] is None and shown["metadata"] is None, shown
    sink = Sink()
    relay = Relay(BINARY, sink, FAST, shards=1, data_dir=directory)
    relay.wait_log("delivered", 6)
    taken = sorted(recipient for message in sink.taken for recipient in message.recipients)
    # What had its end before has it still.
    wanted = ["a@nobody.example", "b@soft.example", "c@nobody.example", "e@soft.example"]
    assert taken == sorted(wanted + ["m2@sender.example", "m5@sender.example", "x@soft.example"]), taken
    large = next(message for message in sink.taken if message.recipients == ["x@soft.example"])
    assert large.body.endswith(b"a line of the large message".ljust(62) + b"\r\n\r\n"), large.body[-80:]
    relay.stop()
    assert listed("--data-dir", directory) == []
    shutil.rmtree(directory)


def stored_mail_can_be_listed_shown_and_exported():
    relay = filled(sink=Sink(lambda point, _: b"450 4.2.0 later\r\n" if point == "RCPT" else None))
    relay.wait_log("deferred", 5)
    relay.process.terminate()
    assert relay.process.wait(45) == 0
    data, config = f"{relay.directory}/spool", f"{relay.directory}/relevo.toml"
    before = snapshot(data)
    messages = listed("--data-dir", data)
    assert messages == listed("--config", config)
    assert sorted(message["sender"] for message in messages) == [f"s{number}@b.example" for number in range(5)], messages
    received = {record["id"] for record in relay.log() if record["event"] == "received"}
    assert {message["id"] for message in messages} == received
    for message in messages:
        number = int(message["sender"][1])
        assert message["size"] == len(BODY % number) and message["live"] == 2 and message["recipients"] == 2, message
        assert message["first"] == [f"one@d{number}.example", f"two@d{number}.example"], message
        assert message["attempts"] == 1 and message["next_attempt"].endswith("Z"), message
        assert message["last_reply"] == "450 4.2.0 later", message
        shown = json.loads(spool("show", message["id"], "--json", "--data-dir", data)[0])
        assert shown["state"] == "live" and shown["helo"] == "client.example" and shown["live"] == 2, shown
        assert shown["header"].startswith(f"Subject: number {number}\r\n") and ".dots" not in shown["header"], shown
        assert [one["state"] for one in shown["recipients"]] == ["deferred", "deferred"], shown
        assert all(one["attempts"] == 1 and one["last_reply"] == "450 4.2.0 later" for one in shown["recipients"]), shown
        text = spool("show", message["id"], "--data-dir", data)[0].decode()
        assert f"<one@d{number}.example> deferred, 1 attempt, next at 2" in text and "  X-Folded: a\n" in text, text
        assert spool("export", message["id"], "--data-dir", data)[0] == BODY % number
    table = spool("list", "--data-dir", data)[0].decode().splitlines()
    assert len(table) == 16 and table[0].startswith("ID ") and messages[0]["id"] in table[1], table
    assert table[2:4] == [f"  <{messages[0]['sender']}> > " + ", ".join(messages[0]["first"]), "  450 4.2.0 later"], table
    assert all(len(line) <= 100 for line in table), table
    assert len(listed("--data-dir", data, "--limit", "2")) == 2
    only = listed("--data-dir", data, "--domain", "D3.example")
    assert [message["sender"] for message in only] == ["s3@b.example"], only
    eml = f"{relay.directory}/one.eml"
    mask = os.umask(0)
    spool("export", messages[0]["id"], "--data-dir", data, "--output", eml)
    os.umask(mask)
    assert os.stat(eml).st_mode & 0o777 == 0o600, "others may read exported mail"
    with open(eml, "rb") as file:
        assert file.read() == BODY % int(messages[0]["sender"][1])
    _, words = spool("export", messages[1]["id"], "--data-dir", data, "--output", eml, code=2)
    assert "exists" in words, words
    with open(eml, "rb") as file:
        assert file.read() == BODY % int(messages[0]["sender"][1]), "it was overwritten"
    text = spool("verify", "--data-dir", data)[0].decode()
    assert "5 messages to 10 recipients live" in text and "5 live messages: sound" in text, text
    assert snapshot(data) == before, "the tools changed the spool"
    shutil.rmtree(relay.directory)


def large_bodies_are_exported_whole():
    relay = Relay(BINARY, None, SLOW, route=dead_route(), shards=1)
    # Chunks over more than one segment of 4 MiB.
    large = b"Subject: large\r\n\r\n" + b"".join(b".%09d\r\n" % number for number in range(500000))
    relay.send_raw("a@b.example", ["c@d.example"], large)
    relay.kill()
    data = f"{relay.directory}/spool"
    (message,) = listed("--data-dir", data)
    assert spool("export", message["id"], "--data-dir", data)[0] == large
    spool("verify", "--data-dir", data)
    # A piece that lies in another segment than the message's record.
    shown = json.loads(spool("show", message["id"], "--json", "--data-dir", data)[0])
    piece = shown["body"][0]
    assert piece["segment"] != shown["segment"], shown["body"]
    damage(data, piece["segment"], piece["offset"] + 5000)
    out, _ = spool("verify", "--data-dir", data, code=1)
    assert message["id"] in out.decode() and out.decode().count("rot:") == 1, out
    assert spool("export", message["id"], "--data-dir", data, code=1)[0] == b"", "half a message was written"
    shutil.rmtree(relay.directory)


def damage(data, segment, offset, lane=0, count=3):
    with open(f"{data}/lane-{lane:03}/{segment:05}.seg", "r+b") as file:
        file.seek(offset)
        old = file.read(count)
        file.seek(offset)
        file.write(bytes(byte ^ 0xFF for byte in old))


def damage_is_found_and_named():
    relay = filled()
    relay.kill()
    data = f"{relay.directory}/spool"
    clean = snapshot(data)

    def restore():
        for path, content in clean.items():
            if content is not None:
                with open(path, "wb") as file:
                    file.write(content)

    ids = {message["sender"]: message["id"] for message in listed("--data-dir", data)}
    shown = {sender: json.loads(spool("show", id, "--json", "--data-dir", data)[0]) for sender, id in ids.items()}
    one = shown["s1@b.example"]

    # A body: its message is named, still listed, and not exported; nobody else is hurt.
    damage(data, one["segment"], one["body"][0]["offset"] + 100)
    out, words = spool("verify", "--data-dir", data, code=1)
    assert f"message {one['id']} (live): its body" in out.decode() and out.decode().count("rot:") == 1, out
    assert "1 damaged place" in words, words
    report = json.loads(spool("verify", "--json", "--data-dir", data, code=1)[0])
    assert [(rot["message"], rot["live"]) for rot in report["rot"]] == [(one["id"], True)], report
    assert len(listed("--data-dir", data)) == 5
    out, words = spool("export", one["id"], "--data-dir", data, code=1)
    assert out == b"" and one["id"] in words and "damaged" in words, words
    assert "the body is damaged" in spool("show", one["id"], "--data-dir", data)[0].decode()
    assert spool("export", ids["s2@b.example"], "--data-dir", data)[0] == BODY % 2
    restore()

    # A record, in its payload, its salt, its kind and its length: named all the same, the other four are listed.
    for place in (30, 9, 0, 4):
        damage(data, one["segment"], one["offset"] + place, count=1)
        out, _ = spool("verify", "--data-dir", data, code=1)
        if place != 0:
            assert one["id"] in out.decode(), (place, out)
        done = subprocess.run([BINARY, "spool", "list", "--json", "--data-dir", data], capture_output=True, timeout=60)
        left = {json.loads(line)["sender"] for line in done.stdout.splitlines()}
        assert done.returncode == 1 and left == set(ids) - {"s1@b.example"}, (place, left)
        assert b"spool verify" in done.stderr, done.stderr
        spool("show", one["id"], "--data-dir", data, code=1)
        restore()

    # A commit header: the message is whole, and a start delivers it.
    damage(data, one["segment"], one["offset"] - 48 + 8)
    out, _ = spool("verify", "--data-dir", data, code=1)
    assert f"message {one['id']} (live): whole, though its commit is damaged: it is delivered" in out.decode(), out
    assert "state     live" in spool("show", one["id"], "--data-dir", data)[0].decode()
    assert spool("export", one["id"], "--data-dir", data)[0] == BODY % 1
    assert len(spool("list", "--json", "--data-dir", data, code=1)[0].splitlines()) == 5
    restore()

    # A header, in some bits, in one, and gone: the mail is found by its commit headers, and the file kept aside.
    for place, count in ((24, 3), (40, 1), (0, 0)):
        if count:
            damage(data, one["segment"], place, count=count)
        else:
            with open(f"{data}/lane-000/{one['segment']:05}.seg", "r+b") as file:
                file.write(bytes(4096))
        out, _ = spool("verify", "--data-dir", data, code=1)
        assert "its header is damaged" in out.decode() and "5 messages" in out.decode(), out
        out, words = spool("list", "--json", "--data-dir", data, code=1)
        assert {json.loads(line)["id"] for line in out.splitlines()} == set(ids.values()) and "header" in words, words
        assert spool("export", one["id"], "--data-dir", data)[0] == BODY % 1
        restore()

    # The end of the last commit: nobody can tell it from one that was under way.
    last = max(shown.values(), key=lambda one: one["offset"])
    end = last["body"][0]["offset"] + last["body"][0]["length"]
    with open(f"{data}/lane-000/{last['segment']:05}.seg", "r+b") as file:
        # A lane at rest has said that it was synced.
        file.seek(-(-end // 4096) * 4096)
        file.write(bytes(4096))
    damage(data, last["segment"], last["body"][0]["offset"] + 100)
    out, _ = spool("verify", "--data-dir", data)
    assert "torn tail" in out.decode() and last["id"] in out.decode(), out
    restore()

    # Unless the lane came to rest, or was stopped in order.
    for stop in (None, "terminate"):
        relay.start()
        relay.send_raw("s5@b.example", ["one@d5.example"], BODY % 5)
        relay.wait_log("received", 6)
        if stop:
            relay.process.terminate()
            assert relay.process.wait(45) == 0
        else:
            time.sleep(2)
            relay.kill()
        (rest,) = [message for message in listed("--data-dir", data) if message["sender"] == "s5@b.example"]
        rest = json.loads(spool("show", rest["id"], "--json", "--data-dir", data)[0])
        damage(data, rest["segment"], rest["body"][0]["offset"] + 100)
        out, _ = spool("verify", "--data-dir", data, code=1)
        assert f"message {rest['id']} (live): its body" in out.decode() and "torn" not in out.decode(), out
        restore()

    # Unless a later segment says that it was synced: a restart and one more message.
    relay.start()
    relay.send_raw("s5@b.example", ["one@d5.example"], BODY % 5)
    relay.kill()
    damage(data, last["segment"], last["body"][0]["offset"] + 100)
    out, _ = spool("verify", "--data-dir", data, code=1)
    assert f"message {last['id']} (live): its body" in out.decode() and "torn" not in out.decode(), out
    assert len(listed("--data-dir", data)) == 6
    damage(data, last["segment"], last["body"][0]["offset"] + 100)
    clean.update(snapshot(data))

    # A later format.
    path = f"{data}/lane-000/{one['segment']:05}.seg"
    make_later(path, 2)
    for tool in ("verify", "list"):
        _, words = spool(tool, "--data-dir", data, code=2)
        assert "later version" in words and "version 2" in words, words
    restore()
    spool("verify", "--data-dir", data)
    shutil.rmtree(relay.directory)


def a_start_needs_every_segment():
    relay = filled()
    relay.kill()
    data, config = f"{relay.directory}/spool", f"{relay.directory}/relevo.toml"
    ids = {message["id"] for message in listed("--data-dir", data)}
    lane = f"{data}/lane-000"
    path = f"{lane}/00000.seg"

    def mail():
        # control.db is read, and mended where a kill left it in the middle, before any lane is; counts are no mail.
        return {path: held for path, held in snapshot(data).items() if "/control.db" not in path and "/analytics.db" not in path}

    def refused():
        before = mail()
        words = run_and_fail(BINARY, "run", "--config", config)
        assert mail() == before, words
        return words

    # The id is lost: no other one is made.
    with open(f"{data}/node") as file:
        id = file.read()
    os.unlink(f"{data}/node")
    words = refused()
    assert "node is missing" in words and id.strip() in words, words
    _, words = spool("verify", "--data-dir", data, code=2)
    assert id.strip() in words, words
    with open(f"{data}/node", "w") as file:
        file.write(id)
    # A segment that cannot be opened: not a file, or a link to nothing.
    os.rename(path, f"{lane}/away")
    os.mkdir(path)
    assert "00000.seg" in refused()
    spool("verify", "--data-dir", data, code=2)
    os.rmdir(path)
    os.symlink("/nowhere", path)
    assert "link to nothing" in refused()
    spool("list", "--data-dir", data, code=2)
    os.unlink(path)
    # One that is gone, and one that was emptied: said, and the name is never used again.
    for empty in (False, True):
        if empty:
            open(path, "w").close()
        _, words = spool("verify", "--data-dir", data, code=1)
        relay.start()
        assert relay.told("segment 00000: the file is "), relay.words
        body = b"Subject: x\r\n\r\n" + b"y" * 70 + b"\r\n" + (b"z" * 70 + b"\r\n") * 3000
        for number in range(40):
            relay.send_raw("n@b.example", [f"one@d{number}.example"], body)
        relay.kill()
        assert (os.path.getsize(path) == 0) if empty else not os.path.exists(path)
    os.rename(f"{lane}/away", path)
    assert ids <= {message["id"] for message in listed("--data-dir", data)}
    shutil.rmtree(relay.directory)


def repeats_are_announced_after_an_unclean_stop():
    relay = filled(3)
    relay.kill()
    relay.start()
    assert relay.told("up to 6 recipients may have been delivered twice"), relay.words
    for _ in range(2):
        relay.process.terminate()
        assert relay.process.wait(45) == 0
        relay.start()
        said = "".join(relay.words)
        assert "twice" not in said and len(listed("--data-dir", f"{relay.directory}/spool")) == 3, said
    relay.kill()
    shutil.rmtree(relay.directory)


def a_running_relay_is_not_disturbed():
    sink = Sink()
    relay = Relay(BINARY, sink, FAST)
    data = f"{relay.directory}/spool"
    # Enough to recycle segments of 4 MiB again and again while the tools look.
    body = b"Subject: x\r\n\r\n" + b"y" * 76 + b"\r\n" + (b"z" * 76 + b"\r\n") * 2500
    done, runs = [], 0

    def load(name):
        client = relay.client()
        for number in range(60):
            client.sendmail(f"{name}@b.example", [f"c@d{number % 7}.example"], body)
        done.append(name)

    threads = [threading.Thread(target=load, args=(f"t{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    while len(done) < 4 or runs < 3:
        out, _ = spool("verify", "--data-dir", data)
        assert "rot" not in out.decode(), out
        for message in listed("--data-dir", data)[:2]:
            text = subprocess.run([BINARY, "spool", "export", message["id"], "--data-dir", data], capture_output=True, timeout=60)
            assert (text.returncode == 0 and text.stdout == body) or (text.returncode == 1 and text.stdout == b""), text.stderr
        runs += 1
    for thread in threads:
        thread.join()
    sink.wait(240)
    assert len(sink.recipients()) == 240
    # It still holds its lock: nobody else may have it, and adopting is refused on either side.
    other = filled(1)
    other.kill()
    for into, source in ((data, f"{other.directory}/spool"), (f"{other.directory}/spool", data)):
        _, words = spool("adopt", source, "--data-dir", into, code=2)
        assert "in use" in words and data in words, words
    shutil.rmtree(other.directory)
    relay.stop()


def adopted_mail_is_delivered_by_the_other_node():
    sink = Sink()
    old = filled(6, shards=2)
    old.kill()
    # Node B has other segments, mail of its own, and delivers.
    new = Relay(BINARY, sink, FAST, shards=2)
    new.send_raw("own@b.example", ["c@d.example"], BODY % 99)
    sink.wait(1)
    new.process.terminate()
    assert new.process.wait(45) == 0
    there, here = f"{old.directory}/spool", f"{new.directory}/spool"
    ids = {message["id"] for message in listed("--data-dir", there)}
    bodies = {}
    for message in listed("--data-dir", there):
        bodies[message["sender"]] = spool("export", message["id"], "--data-dir", there)[0]
    out, _ = spool("adopt", there, "--config", f"{new.directory}/relevo.toml")
    assert "6 messages adopted" in out.decode(), out
    assert listed("--data-dir", there) == [], "it is in both"
    moved = listed("--data-dir", here)
    assert {message["id"] for message in moved} == ids and all(message["lane"] >= 2 for message in moved), moved
    spool("verify", "--data-dir", here)
    out, _ = spool("adopt", there, "--data-dir", here)
    assert "0 messages adopted" in out.decode(), out
    new.start()
    sink.wait(1 + 12)
    time.sleep(0.5)
    assert len(sink.recipients()) == 13, sink.recipients()
    for message in sink.taken:
        if message.sender != "own@b.example":
            assert message.without_trace() == bodies[message.sender], message.sender
    # The old node starts again, empty, and takes mail: it never gets the adopted mail back.
    old.start()
    old.send_raw("later@b.example", ["c@d.example"], BODY % 1)
    assert [message["sender"] for message in listed("--data-dir", there)] == ["later@b.example"]
    old.kill()
    # Settled mail stays settled over a restart, in the adopted lanes too.
    new.process.terminate()
    assert new.process.wait(45) == 0
    assert listed("--data-dir", here) == []
    new.start()
    assert not any("found in the spool" in word for word in new.words), new.words
    new.stop()
    shutil.rmtree(old.directory)


def adopted_mail_is_returned_when_refused():
    """A bounce reads the header of a message that was born in a lane of another number, on another node."""
    sink = Sink(lambda point, data: b"550 5.1.1 no such user\r\n" if point == "RCPT" and b"one@" in data else None)
    old = filled(2)
    old.kill()
    new = Relay(BINARY, sink, FAST, shards=2)
    new.process.terminate()
    new.process.wait(45)
    # A smaller segment than its own: read, emptied, and never written.
    with open(f"{new.directory}/relevo.toml") as file:
        text = file.read().replace('segment_size = "4MiB"', 'segment_size = "8MiB"')
    with open(f"{new.directory}/relevo.toml", "w") as file:
        file.write(text)
    spool("adopt", f"{old.directory}/spool", "--config", f"{new.directory}/relevo.toml")
    new.start()
    sink.wait(2 + 2)
    returned = [message for message in sink.taken if message.sender == ""]
    assert len(returned) == 2, sink.recipients()
    for message in returned:
        assert b"Subject: number" in message.body, message.body
    for number in range(30):
        new.send_raw("a@b.example", ["c@d.example"], BODY % number)
    sink.wait(4 + 30)
    assert not any("failed" in word for word in new.words), new.words
    new.stop()
    shutil.rmtree(old.directory)


def wrong_usage_changes_nothing():
    old, new = filled(2), filled(1)
    old.kill()
    new.kill()
    there, here = f"{old.directory}/spool", f"{new.directory}/spool"
    good = listed("--data-dir", there)[0]["id"]
    before = snapshot(there), snapshot(here)
    empty = f"{old.directory}/empty"
    os.mkdir(empty)
    config = f"{old.directory}/bad.toml"
    with open(config, "w") as file:
        file.write("[nod]\n")
    for arguments, expected in (
        (["verify"], "--data-dir"),
        (["verify", "--data-dir", there, "--config", config], "cannot be used with"),
        (["verify", "--config", config], "nod"),
        (["verify", "--data-dir", "/does/not/exist"], "No such file"),
        (["verify", "--data-dir", f"{there}/node"], "Not a directory"),
        (["verify", "--data-dir", empty], "no relay ever ran there"),
        (["list", "--data-dir", there, "--limit", "0"], "limit"),
        (["list", "--data-dir", there, "--wrong"], "--wrong"),
        (["show", "short", "--data-dir", there], "16 letters"),
        (["show", "--data-dir", there], "ID"),
        (["export", good, "--data-dir", there, "--output", f"{empty}/no/such/file"], "No such file"),
        (["adopt", "--data-dir", here], "DIR"),
        (["adopt", there, "--data-dir", there], "cannot adopt itself"),
        (["adopt", f"{there}/../spool", "--data-dir", there], "cannot adopt itself"),
        (["adopt", "/does/not/exist", "--data-dir", here], "No such file"),
        (["adopt", empty, "--data-dir", here], "no relay ever ran there"),
        (["adopt", there, "--data-dir", empty], "no relay ever ran there"),
    ):
        _, words = spool(*arguments, code=2)
        assert expected in words, (arguments, words)
    assert os.listdir(empty) == []
    for tool in ("show", "export"):
        _, words = spool(tool, "0" * 16, "--data-dir", there, code=1)
        assert "no message 0000000000000000" in words, words
    # Damage and later formats are not adopted, from either side.
    lane, node = f"{there}/lane-000/00000.seg", f"{here}/lane-000/00000.seg"
    place = 4096 + 48 + 30
    with open(lane, "r+b") as file:
        file.seek(place)
        old_byte = file.read(1)
        file.seek(place)
        file.write(bytes([old_byte[0] ^ 0xFF]))
    # A copy may come without its lock file: what is refused leaves none behind.
    os.remove(f"{here}/lock")
    _, words = spool("adopt", there, "--data-dir", here, code=2)
    assert "is lost" in words, words
    assert not os.path.exists(f"{here}/lock") and os.path.exists(f"{there}/lock")
    open(f"{here}/lock", "w").close()
    with open(lane, "r+b") as file:
        file.seek(place)
        file.write(old_byte)
    for path in (lane, node):
        header = make_later(path, 9)
        _, words = spool("adopt", there, "--data-dir", here, code=2)
        assert "later version" in words, words
        with open(path, "r+b") as file:
            file.write(header)
    with open(f"{there}/node") as file:
        id = file.read()
    with open(f"{there}/node", "w") as file:
        file.write("not an id\n")
    _, words = spool("adopt", there, "--data-dir", here, code=2)
    assert "damaged" in words, words
    with open(f"{there}/node", "w") as file:
        file.write(id)
    # A lane that is a link or on another file system cannot be renamed.
    elsewhere = "/dev/shm/relevo-test-%d" % os.getpid()
    if os.path.isdir("/dev/shm") and os.stat("/dev/shm").st_dev != os.stat(here).st_dev:
        shutil.copytree(there, elsewhere, ignore=shutil.ignore_patterns("control.sock"))
        _, words = spool("adopt", elsewhere, "--data-dir", here, code=2)
        shutil.rmtree(elsewhere)
        assert "file system" in words, words
    os.rename(f"{there}/lane-000", f"{there}/away")
    os.symlink(f"{there}/away", f"{there}/lane-000")
    _, words = spool("adopt", there, "--data-dir", here, code=2)
    assert "not a directory itself" in words, words
    os.unlink(f"{there}/lane-000")
    os.rename(f"{there}/away", f"{there}/lane-000")
    assert (snapshot(there), snapshot(here)) == before, "something was changed"
    # With --damaged what is whole moves.
    with open(lane, "r+b") as file:
        file.seek(4096 + 48 + 30)
        file.write(b"\xff\xfe")
    out, _ = spool("adopt", there, "--data-dir", here, "--damaged")
    assert "1 message adopted" in out.decode(), out
    for relay in (old, new):
        shutil.rmtree(relay.directory)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
