"""Faults for real: `stories.py STORY BINARY`. Called by tests/faults.rs, one test a story."""
import glob
import hashlib
import os
import random
import re
import smtplib
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../peers"))

from disk import Disk
from relay import Relay, free_port, run_and_fail
from sink import Sink

BINARY = os.path.abspath(sys.argv[2])
FAST = '[retry]\nfirst = "1s"\nmax = "1s"\n'
SEED = int(os.environ.get("RELEVO_SEED", random.randrange(1 << 30)))
CREDITS = 4096


def text(number):
    """A message like no other, so that bytes of another one in it are noticed. Some are larger than what is gathered in memory."""
    size = 150_000 if number % 89 == 5 else 20 + number * 37 % 3000
    letters = hashlib.shake_128(b"%d" % number).hexdigest(size).encode()
    lines = b"\r\n".join(letters[at : at + 70] for at in range(0, len(letters), 70))
    return b"Message-Id: <%d>\r\n\r\n" % number + lines + b"\r\n"


def number_of(message):
    return int(message.recipients[0].split("@")[0][1:])


class Gate:
    """A next hop that says "later" to most until it is opened."""

    def __init__(self, chance, through=0.0):
        self.open, self.chance, self.through = False, chance, through
        self.times = []

    def __call__(self, point, _):
        if point == "RCPT" and not self.open and self.chance.random() >= self.through:
            return b"450 4.2.0 later\r\n"
        return None


class Load:
    """Clients that send numbered messages until they are told to stop, and remember what was acknowledged."""

    def __init__(self, relay, clients):
        self.relay, self.lock, self.next, self.stopping = relay, threading.Lock(), 0, False
        self.acknowledged, self.failures, self.refused = set(), {}, []
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self):
        client = None
        while not self.stopping:
            with self.lock:
                number, self.next = self.next, self.next + 1
            while not self.stopping:
                try:
                    client = client or self.relay.client()
                    client.sendmail("a@b.example", [f"u{number}@d{number % 20}.example"], text(number))
                    with self.lock:
                        self.acknowledged.add(number)
                    break
                except (OSError, smtplib.SMTPException) as error:
                    with self.lock:
                        self.failures[number] = self.failures.get(number, 0) + 1
                        # What it holds would keep the connection open.
                        self.refused.append(error.with_traceback(None))
                    if client:
                        client.close()
                    client = None
                    time.sleep(0.02)

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join(40)


def arrived(sink):
    return {number_of(message) for message in list(sink.taken)}


def await_all(sink, wanted, seconds=20):
    """Waits as long as messages arrive: how many a second the sink can take is not what is tested."""
    end, seen = time.monotonic() + seconds, 0
    while not wanted <= arrived(sink) and time.monotonic() < end:
        if len(sink.taken) > seen:
            end, seen = time.monotonic() + seconds, len(sink.taken)
        time.sleep(0.2)
    lost = sorted(wanted - arrived(sink))
    assert not lost, f"LOST: {len(lost)} of {len(wanted)} acknowledged messages: {lost[:10]}"


def check_whole(sink):
    for message in list(sink.taken):
        number = number_of(message)
        assert message.without_trace() == text(number), f"ALTERED: {number}"


def repeats(sink, failures):
    """Deliveries more than the client's own attempts explain."""
    counts = {}
    for message in list(sink.taken):
        counts[number_of(message)] = counts.get(number_of(message), 0) + 1
    return sum(max(0, count - 1 - failures.get(number, 0)) for number, count in counts.items())


def send_when_there_is_room(relay, number, body, seconds=10):
    """A 452 at MAIL is the answer while segments are being made or freed."""
    end = time.monotonic() + seconds
    while True:
        try:
            return relay.send("a@b.example", [f"u{number}@d.example"], body)
        except smtplib.SMTPSenderRefused as error:
            assert error.smtp_code == 452 and time.monotonic() < end, error
            time.sleep(0.1)


def power_cuts(cuts, lies):
    print(f"RELEVO_SEED={SEED}")
    chance, disk = random.Random(SEED), Disk()
    gate = Gate(random.Random(SEED + 1), through=0.3)
    sink = Sink(gate)
    # The data directory is made by the relay: its own name must last too.
    relay = Relay(BINARY, sink, FAST, data_dir=f"{disk.at}/var/spool")
    disk.ask("lie", int(lies))
    # A slow disk: most cuts come between a write and the end of its sync.
    disk.ask("slow", 3)
    load = Load(relay, 12)

    def cut():
        disk.cut(relay.process, chance.getrandbits(32))
        # Other shard counts read the same lanes.
        relay.shards = chance.choice([1, 2, 2, 3])
        relay.write()
        relay.start()

    for _ in range(cuts):
        time.sleep(chance.uniform(0.2, 0.7))
        cut()
    time.sleep(0.3)
    load.stop()
    cut()
    gate.open = True
    await_all(sink, load.acknowledged, seconds=6 if lies else 20)
    check_whole(sink)
    repeated = repeats(sink, load.failures)
    print(f"{len(load.acknowledged)} acknowledged; {cuts + 1} cuts; {repeated} or fewer repeated by the relay")
    print(f"pieces: {disk.lost} lost, {disk.kept} kept; names: {disk.names_lost} lost, {disk.names_kept} kept")
    assert len(load.acknowledged) > 10 * cuts, "hardly anything was sent"
    assert disk.lost > 0 and disk.kept > 0, "no cut met an unsynced write: the story tells nothing"
    assert repeated <= (cuts + 1) * CREDITS
    # What was settled a while ago is settled for good: the next cut repeats none of it.
    time.sleep(1)
    settled = len(sink.taken)
    cut()
    send_when_there_is_room(relay, load.next, text(load.next))
    await_all(sink, {load.next})
    time.sleep(1.5)
    again = len(sink.taken) - settled - 1
    assert again == 0, f"REPEATED: {again} messages whose outcome was on disk"
    relay.stop()


def power_cuts_lose_nothing_acknowledged():
    power_cuts(cuts=8, lies=False)


def a_disk_that_lies_is_found_out():
    """The story above can fail: with a disk whose fdatasync does nothing, mail is lost and noticed."""
    try:
        power_cuts(cuts=3, lies=True)
    except AssertionError as error:
        assert str(error).startswith("LOST"), error
        print(f"as it must be: {error}")
        return
    raise AssertionError("a disk that forgets what it promised was not noticed")


def a_first_start_may_be_cut_anywhere():
    print(f"RELEVO_SEED={SEED}")
    chance, disk = random.Random(SEED), Disk()
    gate = Gate(chance)
    sink = Sink(gate)
    # Long enough to be cut in each of the syncs of a start.
    disk.ask("slow", 40)
    home, rounds = tempfile.mkdtemp(), 8
    for round in range(rounds):
        config = f"{home}/{round}.toml"
        with open(config, "w") as file:
            file.write(f'[node]\nhostname = "relay.example"\ndata_dir = "{disk.at}/{round}/spool"\nshards = 2\n')
            file.write(f'[[listener]]\naddress = "127.0.0.1:{free_port()}"\n[log]\npath = "{home}/log"\n')
            file.write('[control]\nhttp = ""\n[spool]\nsegment_size = "4MiB"\n')
        for _ in range(4):
            process = subprocess.Popen([BINARY, "run", "--config", config], stderr=subprocess.PIPE, text=True)
            time.sleep(chance.uniform(0.0, 0.3))
            early = process.poll()
            disk.cut(process, chance.getrandbits(32))
            words = process.stderr.read()
            assert early is None, f"REFUSED: round {round}: {words}"
    disk.ask("slow", 0)
    # None of these directories is beyond repair, and what a new one takes stays, its own name included.
    for round in range(rounds + 4):
        gate.open = round < rounds
        relay = Relay(BINARY, sink, FAST, data_dir=f"{disk.at}/{round}/spool")
        send_when_there_is_room(relay, round, text(round))
        if not gate.open:
            disk.cut(relay.process, chance.getrandbits(32))
            gate.open = True
            relay.start()
        await_all(sink, {round}, seconds=10)
        relay.kill()
    print(f"pieces: {disk.lost} lost, {disk.kept} kept; names: {disk.names_lost} lost, {disk.names_kept} kept")
    assert disk.names_lost > 0, "no cut met an unsynced name: the story tells nothing"


def failures_at_commit(verb):
    print(f"RELEVO_SEED={SEED}")
    chance, disk = random.Random(SEED), Disk()
    gate = Gate(chance)
    sink = Sink(gate)
    relay = Relay(BINARY, sink, FAST, data_dir=f"{disk.at}/spool", shards=1)
    before = list(range(20))
    for number in before:
        send_when_there_is_room(relay, number, text(number))
    # All who wait for one commit fail together; a slow sync makes them wait.
    disk.ask("slow", 150)
    disk.ask(verb, 2)
    replies, lock = {}, threading.Lock()

    def send(number):
        try:
            relay.send("a@b.example", [f"u{number}@d.example"], text(number))
            code = 250
        except smtplib.SMTPResponseException as error:
            code = error.smtp_code
        with lock:
            replies[number] = code

    threads = [threading.Thread(target=send, args=(number,)) for number in range(20, 28)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [number for number, code in replies.items() if code == 451]
    assert refused, f"nobody was told: {replies}"
    # 452: while new segments are made for those that failed.
    assert set(replies.values()) <= {250, 451, 452}, replies
    # One of them was met; the second too, unless all waited for one commit.
    assert disk.ask(verb, 0) in ("0", "1"), "no failure was met"
    assert relay.process.poll() is None, "".join(relay.words)
    assert relay.told("commit failed", "451"), relay.words
    records = [record for record in relay.wait_log("rejected", len(refused)) if record["reason"] == "not_stored"]
    lost = sorted((record["sender"], *record["recipients"]) for record in records)
    assert lost == sorted(("a@b.example", f"u{number}@d.example") for number in refused), records
    assert all(record["client"].startswith("127.0.0.1:") and record["reply"].startswith("451 4.3.0") for record in records), records
    disk.ask("slow", 1)
    # In a fresh segment it goes on at once, and what was on disk before can be read.
    after = list(range(30, 50))
    for number in after:
        send_when_there_is_room(relay, number, text(number))
    acknowledged = set(before) | set(after) | {number for number, code in replies.items() if code == 250}
    # The kernel shows what the disk never got. A restart must not believe it, nor a cut find it missing.
    relay.kill()
    relay.start()
    send_when_there_is_room(relay, 60, text(60))
    disk.cut(relay.process, SEED)
    relay.start()
    gate.open = True
    await_all(sink, acknowledged | {60})
    check_whole(sink)
    time.sleep(0.5)
    risen = arrived(sink) & set(refused)
    print(f"{len(refused)} of 8 were refused; {len(risen)} of these were delivered")
    assert not risen, f"a segment that failed was read behind its end: {risen}"
    relay.stop()


def failing_syncs_cost_a_451_and_a_segment():
    failures_at_commit("fail-syncs")


def failing_writes_cost_a_451_and_a_segment():
    failures_at_commit("fail-writes")


def small_disk():
    """A file system of 80 MiB; it goes with the name space of the story."""
    home = tempfile.mkdtemp()
    os.mkdir(f"{home}/disk")
    with open(f"{home}/image", "wb") as file:
        file.truncate(80 << 20)
    path = dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", f"{home}/image"], check=True, env=path)
    if subprocess.run(["mount", "-o", "loop", f"{home}/image", f"{home}/disk"]).returncode != 0:
        print("no loop device here: a tmpfs is the small disk")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m", "none", f"{home}/disk"], check=True)
    return f"{home}/disk"


def a_full_disk_refuses_and_drains():
    disk, gate = small_disk(), Gate(random.Random(1))
    # Some next hops take mail from the start, most when the gate opens.
    early = lambda number: number % 40 == 7
    sink = Sink(lambda point, line: None if early_in(line, early) and gate.early else gate(point, line))
    gate.early = False
    relay = Relay(BINARY, sink, FAST, data_dir=f"{disk}/spool")
    body = b"Subject: large\r\n\r\n" + (b"q" * 76 + b"\r\n") * 3000
    sent = 0

    def fill():
        """Sends until MAIL is refused."""
        nonlocal sent
        while True:
            assert sent < 1000, "the disk does not fill up"
            try:
                relay.send("a@b.example", [f"u{sent}@d.example"], body)
                sent += 1
            except smtplib.SMTPSenderRefused as error:
                return error.smtp_code
            except smtplib.SMTPDataError as error:
                # Space ran out between MAIL and the final dot: a refusal in time as well.
                assert error.smtp_code in (451, 452), error

    refused = fill()
    assert refused == 452, refused
    free = os.statvfs(disk)
    print(f"{sent} messages fill the disk; {free.f_bavail * free.f_bsize >> 10} KiB of it are free")
    assert sent > 100
    # Outcomes have their reserve: attempts, deferrals and deliveries go on while MAIL is refused.
    gate.early = True
    await_all(sink, {number for number in range(sent) if early(number)})
    assert fill() == 452
    assert relay.process.poll() is None, "".join(relay.words)
    # Full is no reason not to start, nor for a second copy of what is delivered.
    relay.process.terminate()
    assert relay.process.wait(45) == 0
    relay.start()
    gate.open = True
    await_all(sink, set(range(sent)))
    assert all(message.without_trace() == body for message in sink.taken)
    # Segments come free as outcomes are on disk; then there is room for mail.
    send_when_there_is_room(relay, 9999, body)
    await_all(sink, {9999})
    assert repeats(sink, {}) == 0, "repeated without a crash"
    relay.stop()


def many_recipients(number):
    """Recipients whose addresses make large events."""
    return [f"u{number}x{one}{'y' * 40}@d.example" for one in range(100)]


def a_full_disk_has_room_for_the_journal():
    """What becomes of mail is told while mail fills the disk, for as long as that lasts; and all of it leaves when the next hop comes back."""
    disk, closed = small_disk(), threading.Event()
    closed.set()
    # Without pipelining: a reply to MAIL is all that there is.
    sink = Sink(lambda point, _: b"450 4.2.0 later\r\n" if point == "MAIL" and closed.is_set() else None, extensions=("8BITMIME",))
    relay = Relay(BINARY, sink, FAST, data_dir=f"{disk}/spool")
    body, sent, refused = b"Subject: large\r\n\r\n" + (b"q" * 76 + b"\r\n") * 3000, 0, 0
    while refused < 30:
        try:
            relay.send("a@b.example", many_recipients(sent), body)
            sent, refused = sent + 1, 0
        except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
            assert error.smtp_code in (451, 452) and sent < 1000, error
            refused += 1
            # Not only until the next segment is made.
            time.sleep(0.1)
    assert sent > 60, sent
    log, segments = f"{relay.directory}/log.jsonl", sorted(glob.glob(f"{disk}/spool/lane-*/*.seg"))
    begun, end = os.path.getsize(log), time.monotonic() + 60
    # Several times what was left.
    while os.path.getsize(log) < begun + (12 << 20):
        assert time.monotonic() < end, f"{os.path.getsize(log) - begun} bytes were told of deferrals: {relay.words}"
        time.sleep(0.5)
    # One more may find room when the journal gives some back.
    assert len(glob.glob(f"{disk}/spool/lane-*/*.seg")) <= len(segments) + 1, "it was not full"
    print(f"{sent} messages, {len(segments)} segments, {os.path.getsize(log) >> 20} MiB of events while the disk was full")
    closed.clear()
    end = time.monotonic() + 40
    while len(sink.taken) < sent:
        assert time.monotonic() < end, f"{len(sink.taken)} of {sent} left: {relay.words}"
        time.sleep(0.2)
    relay.stop()


def a_full_disk_keeps_no_log_back():
    """A log that had no room reads what waited, though the journal's disk has not a block left: then that has some."""
    disk = tempfile.mkdtemp()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "none", disk], check=True)
    relay = Relay(BINARY, Sink(), FAST, data_dir=f"{disk}/spool", shards=1)
    relay.kill()
    log = f"{relay.directory}/log.jsonl"
    os.unlink(log)
    os.symlink("/dev/full", log)
    relay.start()
    for number in range(250):
        relay.send("a@b.example", many_recipients(number), text(number))
    relay.sink.wait(250 * 100)
    journal = lambda: sum(os.path.getsize(path) for path in glob.glob(f"{disk}/spool/journal/*.journal"))
    # The journal is written behind the mail: until nothing more comes.
    end, waited = time.monotonic() + 60, 0
    while waited <= 2 << 20 or journal() > waited:
        assert time.monotonic() < end, waited
        waited = journal()
        time.sleep(2)
    with open(f"{disk}/ballast", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize)
    assert os.statvfs(disk).f_bavail == 0
    os.unlink(log)
    end = time.monotonic() + 60
    while journal() > waited // 2:
        assert time.monotonic() < end, f"{journal()} of {waited} bytes stay: {relay.words}"
        time.sleep(0.2)
    send_when_there_is_room(relay, 9999, text(9999))
    assert len(relay.wait_log("received", 251)) == 251
    relay.stop()


def answer(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as found:
            return found.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


def no_room_is_told_and_soon_over():
    """How much is wanted and where, of space and of inodes; and mail is taken within seconds of room."""
    body = b"Subject: large\r\n\r\n" + (b"q" * 76 + b"\r\n") * 3000
    for kind in ("space", "inodes"):
        disk = tempfile.mkdtemp()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m,nr_inodes=60", "none", disk], check=True)
        sink = Sink(lambda point, _: b"450 4.2.0 later\r\n" if point == "RCPT" else None)
        relay = Relay(BINARY, sink, '[retry]\nfirst = "1h"\nmax = "1h"\n', data_dir=f"{disk}/spool", shards=1)
        time.sleep(1)
        check = lambda: subprocess.run([BINARY, "check", "--config", f"{relay.directory}/relevo.toml"], capture_output=True).stdout.decode()
        assert "free" not in check(), check()
        if kind == "space":
            with open(f"{disk}/ballast", "wb") as file:
                os.posix_fallocate(file.fileno(), 0, os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize - (3 << 20))
        else:
            os.mkdir(f"{disk}/ballast")
            for number in range(os.statvfs(disk).f_favail):
                open(f"{disk}/ballast/{number}", "w").close()
        sent = 0
        while sent < 100:
            try:
                relay.send("a@b.example", [f"u{sent}@d.example"], body)
                sent += 1
            except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
                assert error.smtp_code == 452, error
                break
        assert 5 < sent < 100, sent
        where, end = f"{disk}/spool/lane-000", time.monotonic() + 5
        wanted = [f"needs a new segment of 4MiB in {where}, where "]
        # A twentieth of the disk is the journal's.
        kept = ["3.0 MiB are free and 3.0 MiB stay free for the journal", "free 4.0 MiB more there"]
        wanted += kept if kind == "space" else ["no inode is free there"]
        while not all(part in (said := answer(f"http://127.0.0.1:{relay.http}/readyz")) for part in wanted):
            assert time.monotonic() < end, said
            time.sleep(0.1)
        assert relay.told("mail is refused for now", *wanted), relay.words
        fix = "free some disk space" if kind == "space" else "remove files there, or give the file system more inodes"
        assert relay.told("cannot make the spool segment", fix), relay.words
        assert f"{disk}/spool" in check() and ("free 4.0 MiB more there" if kind == "space" else "0 inodes free") in check(), check()
        subprocess.run(["rm", "-r", f"{disk}/ballast"], check=True)
        begun = time.monotonic()
        send_when_there_is_room(relay, sent, body)
        took = time.monotonic() - begun
        assert took < 4, f"mail was taken {took:.1f} s after there was room"
        assert relay.told("mail is taken again"), relay.words
        print(f"{kind}: {sent} messages, taken again after {took:.1f} s")
        relay.stop()


def early_in(line, early):
    found = re.search(rb"<u(\d+)@", line if isinstance(line, bytes) else str(line).encode())
    return found is not None and early(int(found[1]))


def a_dead_disk_is_survived_and_left_behind():
    print(f"RELEVO_SEED={SEED}")
    disk, gate = Disk(), Gate(random.Random(SEED))
    sink = Sink(gate)
    relay = Relay(BINARY, sink, FAST, data_dir=f"{disk.at}/spool")
    before = set(range(20))
    for number in before:
        send_when_there_is_room(relay, number, text(number))
    # For a while nothing can be synced in any segment, new ones neither, which can be made all the same.
    disk.ask("fail-syncs", 1 << 40)
    load = Load(relay, 8)
    codes, begun = [], time.monotonic()
    while len(codes) < 5 or time.monotonic() < begun + 3:
        assert time.monotonic() < begun + 30, f"{codes}: {load.refused[:5]}"
        time.sleep(0.2)
        codes = [error.smtp_code for error in list(load.refused) if isinstance(error, smtplib.SMTPResponseException)]
    assert set(codes) <= {451, 452}, set(codes)
    assert not load.acknowledged, f"answered 250 without a sync: {load.acknowledged}"
    assert relay.process.poll() is None, "".join(relay.words)
    assert relay.told("commit failed", "451"), relay.words
    # What was on the disk before is sent all the same.
    gate.open = True
    await_all(sink, before)
    disk.ask("fail-syncs", 0)
    end = time.monotonic() + 20
    while len(load.acknowledged) < 50:
        assert time.monotonic() < end and relay.process.poll() is None, f"no mail is taken: {load.refused[-1:]} {relay.words}"
        time.sleep(0.05)
    load.stop()
    await_all(sink, load.acknowledged | before)
    disk.cut(relay.process, SEED)
    relay.start()
    send_when_there_is_room(relay, load.next, text(load.next))
    await_all(sink, {load.next})
    check_whole(sink)
    print(f"{len(load.refused)} refusals, {len(load.acknowledged)} acknowledged afterwards")
    relay.stop()


def lanes_outlive_shard_counts():
    print(f"RELEVO_SEED={SEED}")
    gate = Gate(random.Random(SEED), through=0.3)
    sink = Sink(gate)
    relay = Relay(BINARY, sink, FAST, shards=1)
    load = Load(relay, 8)
    for shards in (4, 2):
        time.sleep(1.2)
        relay.process.terminate()
        assert relay.process.wait(45) == 0, "".join(relay.words)
        relay.shards = shards
        relay.write()
        relay.start()
    time.sleep(1.2)
    load.stop()
    lanes = sorted(name for name in os.listdir(relay.data_dir) if name.startswith("lane-"))
    assert lanes == [f"lane-{number:03}" for number in range(4)], lanes
    waiting = len(load.acknowledged - arrived(sink))
    assert waiting > 20, f"only {waiting} wait: the story tells nothing"
    relay.process.terminate()
    assert relay.process.wait(45) == 0
    relay.start()
    gate.open = True
    await_all(sink, load.acknowledged)
    check_whole(sink)
    relay.process.terminate()
    assert relay.process.wait(45) == 0
    relay.start()
    time.sleep(1.5)
    assert repeats(sink, load.failures) == 0, "repeated without a crash"
    print(f"{len(load.acknowledged)} acknowledged, {waiting} of them waited at the end, {len(load.failures)} sent twice")
    relay.stop()


class Segments:
    """The files of a stopped relay, as ARCHITECTURE.md and src/spool/segment.rs draw them."""

    def __init__(self, data_dir):
        self.paths = []
        for lane in sorted(os.listdir(data_dir)):
            if lane.startswith("lane-"):
                names = sorted(os.listdir(f"{data_dir}/{lane}"))
                self.paths += [f"{data_dir}/{lane}/{name}" for name in names if name.endswith(".seg")]

    def messages(self):
        """For each recipient's number: path, offset of the record, offset and length of the body, offset of the commit."""
        found = {}
        for path in self.paths:
            with open(path, "rb") as file:
                data = file.read()
            for header in range(4096, len(data), 4096):
                if data[header : header + 4] != b"RVCM":
                    continue
                records, length, _ = struct.unpack("<III", data[header + 20 : header + 32])
                at = header + 48
                for _ in range(records):
                    size = 24 + struct.unpack("<I", data[at + 4 : at + 8])[0]
                    if data[at] == 0x81:
                        address = data[at : at + size].split(b"@d.example")[0].rsplit(b"u", 1)[1]
                        number = int(address)
                        body = data.find(b"Message-Id: <%d>\r\n" % number)
                        found[number] = (path, at, body, len(text(number)), header)
                    at += size
        return found


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x10]))


def flipped_bytes_are_found_and_the_rest_is_delivered():
    gate = Gate(random.Random(1))
    sink = Sink(gate)
    # Deferred mail rests for long, so that few outcomes are between the messages.
    relay = Relay(BINARY, sink, '[retry]\nfirst = "2s"\nmax = "2s"\n')
    numbers = set(range(100, 160))
    threads = [
        threading.Thread(target=lambda some: [send_when_there_is_room(relay, n, text(n)) for n in some], args=(some,))
        for some in (range(100, 115), range(115, 130), range(130, 145), range(145, 160))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = {int(line["recipients"][0].split("@")[0][1:]): line["id"] for line in relay.wait_log("received", len(numbers))}
    time.sleep(0.5)
    relay.process.terminate()
    assert relay.process.wait(45) == 0
    messages = Segments(relay.data_dir).messages()
    assert set(messages) == numbers, sorted(messages)
    # A body in its middle, a body's first byte, its last; a record's CRC, its length, its type, its salt, its recipients.
    bodies, records = [103, 118, 133], [108, 123, 138, 148, 155]
    for number, place in zip(bodies, (0.5, 0, 1)):
        path, _, body, length, _ = messages[number]
        flip(path, body + min(length - 1, int(length * place)))
    for number, place in zip(records, (17, 5, 0, 9, 60)):
        path, at, _, _, _ = messages[number]
        flip(path, at + place)
    damaged = set(bodies) | set(records)
    relay.start()
    gate.open = True
    await_all(sink, numbers - damaged)
    check_whole(sink)
    time.sleep(1)
    assert not arrived(sink) & damaged, f"damaged mail was delivered: {arrived(sink) & damaged}"
    # Each is reported by its id, in words.
    for number in records:
        assert relay.told(ids[number]), f"{number} ({ids[number]}) is not named: {relay.words}"
    for number in bodies:
        assert relay.told(ids[number]), f"{number} ({ids[number]}) is not named: {relay.words}"
        replies = [line["reply"] for line in relay.log() if line["event"] == "deferred" and line["id"] == ids[number]]
        assert any(reply.startswith("451 4.3.0") and "damaged" in reply for reply in replies), replies
        assert not any("connection lost" in reply for reply in replies), replies
    # Damage is kept, not overwritten: new mail goes elsewhere, and another start says the same.
    send_when_there_is_room(relay, 160, text(160))
    await_all(sink, {160})
    relay.kill()
    relay.start()
    for number in records:
        assert relay.told(ids[number]), f"{number} ({ids[number]}) is forgotten: {relay.words}"
    relay.stop()


def a_data_directory_has_one_master():
    sink = Sink()
    relay = Relay(BINARY, sink)
    with open(f"{relay.directory}/relevo.toml") as file:
        config = file.read().replace(str(relay.port), str(free_port())).replace(str(relay.http), str(free_port()))
    with open(f"{relay.directory}/second.toml", "w") as file:
        file.write(config.replace("log.jsonl", "second.jsonl"))
    said = run_and_fail(BINARY, "run", "--config", f"{relay.directory}/second.toml")
    assert "in use by another relevo process" in said and "node.data_dir" in said, said
    # The first one has not noticed.
    relay.send("a@b.example", ["u1@d.example"], text(1))
    await_all(sink, {1})
    relay.kill()
    # A lock outlives nobody.
    relay.start()
    relay.stop()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def a_newer_spool_is_refused():
    gate = Gate(random.Random(1))
    sink = Sink(gate)
    relay = Relay(BINARY, sink, FAST, shards=1)
    relay.send("a@b.example", ["u1@d.example"], text(1))
    relay.process.terminate()
    assert relay.process.wait(45) == 0
    [path] = {message[0] for message in Segments(relay.data_dir).messages().values()}
    with open(path, "r+b") as file:
        header = bytearray(file.read(64))
        assert header[:8] == b"RELEVOSG" and struct.unpack("<I", header[60:])[0] == crc32c(header[:60])
        old = bytes(header)
        header[8:12] = struct.pack("<I", 2)
        header[60:] = struct.pack("<I", crc32c(header[:60]))
        file.seek(0)
        file.write(header)
    with open(path, "rb") as file:
        before = hashlib.sha256(file.read()).digest()
    said = run_and_fail(BINARY, "run", "--config", f"{relay.directory}/relevo.toml")
    assert "later version" in said and "version 2" in said and relay.data_dir in said, said
    with open(path, "rb") as file:
        assert hashlib.sha256(file.read()).digest() == before, "a refused spool was changed"
    # What wrote it can still read it.
    with open(path, "r+b") as file:
        file.write(old)
    gate.open = True
    relay.start()
    await_all(sink, {1})
    relay.stop()


if __name__ == "__main__":
    if os.getpid() == 1:
        # Name spaces of its own: scratch files go with them.
        subprocess.run(["mount", "-t", "tmpfs", "none", os.environ["TMPDIR"]], check=True)
    globals()[sys.argv[1]]()
