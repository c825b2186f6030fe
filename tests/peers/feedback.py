"""Bounces and complaints that come back to the real binary: `feedback.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import json
import os
import random
import smtplib
import sys
import time

from relay import Relay
from sink import Sink
from suppression import BINARY, QUICK, command, metric, reload, suppress, until

OURS = "127.0.0.9"
LISTENER = f'relay_from = ["{OURS}/32"]\n'
SETTINGS = '[bounces]\nverp_domain = "bounces.relay.example"\n[feedback]\naddresses = ["fbl@relay.example"]\ndomains = ["complaints.example"]\n'


def client(relay, source):
    return smtplib.SMTP("127.0.0.1", relay.port, local_hostname="client.example", timeout=30, source_address=(source, 0))


def send(relay, recipients, tenant="shop"):
    one = client(relay, OURS)
    one.sendmail("me@a.example", recipients, f"X-Relevo-Tenant: {tenant}\r\nSubject: offers\r\nMessage-ID: <1@a.example>\r\n\r\nx\r\n")
    one.quit()


def come_back(relay, to, text, sender=""):
    """What a stranger sends; the code of each step."""
    one = client(relay, "127.0.0.1")
    one.ehlo()
    told = [one.mail(sender)[0], one.docmd(f"RCPT TO:<{to}>")[0]]
    if told[-1] == 250:
        told.append(one.data(text.replace("\n", "\r\n"))[0])
    one.quit()
    return told


def report(recipient, path="", reply="550 5.1.1 no such user"):
    returned = f"--b\nContent-Type: text/rfc822-headers\n\nReturn-Path: <{path}>\nTo: {recipient}\nSubject: offers\n\n" if path else ""
    return (
        "From: MAILER-DAEMON@mx.b.example\nTo: x\nSubject: Undelivered Mail Returned to Sender\nMIME-Version: 1.0\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\n\n--b\nContent-Type: text/plain\n\nIt failed.\n\n'
        "--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.b.example\n\n"
        f"Final-Recipient: rfc822; {recipient}\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; {reply}\n\n{returned}--b--\n"
    )


def complaint(recipient, path):
    return (
        "From: fbl@provider.example\nTo: fbl@relay.example\nSubject: complaint\nMIME-Version: 1.0\n"
        'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\n\n--b\nContent-Type: text/plain\n\nSomebody complains.\n\n'
        "--b\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nUser-Agent: provider/1\nVersion: 1\n"
        f"Original-Rcpt-To: <{recipient}>\nSource-IP: 192.0.2.1\n\n--b\nContent-Type: message/rfc822\n\nReturn-Path: <{path}>\nTo: {recipient}\nSubject: offers\n\nx\n--b--\n"
    )


def paths(sink):
    return {recipient: message.sender for message in list(sink.taken) for recipient in message.recipients}


def listed(relay, address, tenant="shop"):
    done = suppress(relay, "list", "--tenant", tenant, "--json")
    return [row for row in map(json.loads, done.splitlines()) if row.get("address") == address] if done.startswith("{") else []


def bounces_and_complaints_come_back():
    sink = Sink()
    relay = Relay(BINARY, sink, QUICK + SETTINGS + '[[tenant]]\nname = "plain"\nverp = false\n', listener=LISTENER, auto=True)
    everybody = ["ada@b.example", "Bob@b.example", "cy@b.example"]
    send(relay, everybody)
    sink.wait(3)
    out = paths(sink)
    assert len(sink.taken) == 3 and len(set(out.values())) == 3, "each has a transaction of its own"
    assert all(path.startswith("b1-") and path.endswith("@bounces.relay.example") and len(path.split("@")[0]) <= 64 for path in out.values()), out
    (received,) = relay.wait_log("received", 1)
    send(relay, ["dan@b.example", "eve@b.example"], "plain")
    sink.wait(5)
    assert len(sink.taken) == 4 and sink.taken[-1].sender == "me@a.example", "and who wants none has none"
    # Strangers: only what comes back.
    assert come_back(relay, "x@b.example", "") == [250, 550]
    assert come_back(relay, "@bounces.relay.example:x@b.example", "") == [250, 550]
    assert come_back(relay, out["ada@b.example"].upper(), report("ada@b.example")) == [250, 250, 250]
    (event,) = relay.wait_log("oob_bounce", 1)
    assert (event["id"], event["recipients"], event["tenant"], event["class"]) == (received["id"], ["ada@b.example"], "shop", "bad_mailbox"), event
    assert event["counts"] is True and event["enhanced"] == "5.1.1" and event["reply"] == "550 5.1.1 no such user", event
    until(lambda: listed(relay, "ada@b.example"))
    # Whom a report names is believed only where the return path proves it.
    assert come_back(relay, out["cy@b.example"], report("victim@b.example")) == [250, 250, 250]
    event = relay.wait_log("oob_bounce", 2)[1]
    assert "recipients" not in event and event["recipient_number"] == 2, event
    assert come_back(relay, "FBL@relay.example", complaint("bob@b.example", out["Bob@b.example"]), "fbl@provider.example") == [250, 250, 250]
    (event,) = relay.wait_log("feedback", 1)
    assert (event["id"], event["recipients"], event["tenant"], event["complaint"]) == (received["id"], ["bob@b.example"], "shop", "abuse"), event
    assert until(lambda: listed(relay, "bob@b.example"))[0]["reason"] == "complaint"
    assert not listed(relay, "victim@b.example")
    # What nobody wrote, what is of nobody, what programs answer.
    path = out["cy@b.example"]
    forged = path[:20] + ("0" if path[20] != "0" else "1") + path[21:]
    assert come_back(relay, forged, report("cy@b.example")) == [250, 250, 250]
    assert come_back(relay, "any@complaints.example", complaint("cy@b.example", "x@y.example"), "a@b.example") == [250, 250, 250]
    assert come_back(relay, path, "From: cy@b.example\nSubject: Out of office\nAuto-Submitted: auto-replied\n\nI am away.\n") == [250, 250, 250]
    told = [event for event in relay.wait_log("discarded", 3)]
    words = sorted(event["reply"] for event in told)
    assert any("changed on its way" in one or "never wrote" in one for one in words) and any("no return path" in one for one in words), words
    assert any("answer by a program" in one for one in words), words
    until(lambda: metric(relay, "spool_messages") == 0)
    assert [message.sender for message in sink.taken if not message.sender] == [], "none of it is ever answered"
    assert metric(relay, "came_back_total") == 6
    # The secret is the node's own.
    mode = os.stat(f"{relay.data_dir}/verp.key").st_mode & 0o777
    assert mode == 0o600, oct(mode)
    relay.kill()
    relay.start()
    assert come_back(relay, path, report("cy@b.example")) == [250, 250, 250]
    event = relay.wait_log("oob_bounce", 3)[2]
    assert (event["recipients"], event["tenant"]) == (["cy@b.example"], "shop"), event
    until(lambda: listed(relay, "cy@b.example"))
    relay.stop()


def a_kill_behind_a_complaint_loses_nothing():
    seed = int(os.environ.get("RELEVO_SEED", random.randrange(2**32)))
    print("RELEVO_SEED", seed)
    dice, sink = random.Random(seed), Sink()
    relay = Relay(BINARY, sink, QUICK + SETTINGS, listener=LISTENER, auto=True)
    everybody = [f"u{number}@d{number % 3}.example" for number in range(24)]
    send(relay, everybody)
    sink.wait(24)
    out = paths(sink)
    # The name of a tenant is kept within a second.
    time.sleep(1.5)
    for life in range(8):
        for recipient in everybody[3 * life : 3 * life + 3]:
            kind = complaint if len(recipient) % 2 else report
            assert come_back(relay, "fbl@relay.example", kind(recipient, out[recipient])) == [250, 250, 250]
        # It is on its way to be read, or read, or in the journal, or on the list.
        time.sleep(dice.choice([0, 0.01, 0.05, 0.2, 0.5]))
        relay.kill()
        relay.start()
    until(lambda: metric(relay, "spool_messages") == 0, 60)
    for recipient in everybody:
        assert until(lambda: listed(relay, recipient)), recipient
    told = relay.wait_log("feedback", 1) + relay.wait_log("oob_bounce", 1)
    assert sorted(event["recipients"][0] for event in told) == sorted(everybody), "each is told once, by its id"
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
