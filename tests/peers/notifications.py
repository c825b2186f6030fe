"""What senders are told, and by whom (RFC 3461 to 3464): `notifications.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import email
import os
import sys
import time

from dovecot import Dovecot
from postfix import Postfix
from relay import Relay
from sink import Sink

BINARY = os.path.abspath(sys.argv[2])
FAST = '[retry]\nfirst = "1s"\nmax = "1s"\n'
TEXT = b"Message-ID: <m@shop.example>\r\nSubject: hello\r\n\r\nA line.\r\n"
DSN = ("PIPELINING", "8BITMIME", "SIZE 0", "DSN")


class Report:
    """A notification as Python's email reads it: the fields of the message, those of each recipient, and what comes back."""

    def __init__(self, taken):
        message = email.message_from_bytes(taken.without_trace())
        assert taken.sender == "", taken.sender
        assert message.get_content_type() == "multipart/report" and message.get_param("report-type") == "delivery-status"
        assert message["Auto-Submitted"] == "auto-replied", message.as_string()
        assert not message.defects, message.defects
        self.to, self.subject = taken.recipients, message["Subject"]
        words, status, back = message.get_payload()
        assert words.get_content_type() == "text/plain" and status.get_content_type() == "message/delivery-status"
        self.of_message, *self.recipients = status.get_payload()
        self.returned, self.whole = back, back.get_content_type() == "message/rfc822"
        assert self.whole or back.get_content_type() == "text/rfc822-headers", back.get_content_type()

    def actions(self):
        return {one["Final-Recipient"].split("; ")[1]: one["Action"] for one in self.recipients}


def reports(sink):
    return [Report(taken) for taken in sink.taken if taken.sender == ""]


def wait(sink, count, seconds=30):
    end = time.monotonic() + seconds
    while len(reports(sink)) < count:
        assert time.monotonic() < end, [(taken.sender, taken.body) for taken in sink.taken]
        time.sleep(0.05)
    # One more than there should be would come soon.
    time.sleep(1)
    found = reports(sink)
    assert len(found) == count, [one.of_message.as_string() for one in found]
    return found


def hand_in(client, mail, recipients, text=TEXT):
    """`recipients`: address and parameters of each."""
    client.ehlo()
    assert client.has_extn("dsn"), client.esmtp_features
    code, words = client.mail("news@shop.example", mail)
    assert code == 250, (code, words)
    for address, parameters in recipients.items():
        code, words = client.rcpt(address, parameters)
        assert code == 250, (code, words)
    code, words = client.data(text)
    assert code == 250, (code, words)
    client.quit()


def refuses(commands):
    """A sink that refuses addresses that begin with `bad`, and writes down what it hears."""

    def behave(point, line):
        if point in ("MAIL", "RCPT"):
            commands.append(line.decode().strip())
        return b"550 5.1.1 no such user\r\n" if point == "RCPT" and b"<bad" in line else None

    return behave


def a_hop_without_dsn_leaves_it_to_us():
    commands = []
    sink = Sink(refuses(commands))
    relay = Relay(BINARY, sink)
    recipients = {
        "good@d.example": ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;Good+2B1@old.example"],
        "bad@d.example": ["ORCPT=utf-8;b\\x{E4}d@old.example"],
        "bad.never@d.example": ["NOTIFY=NEVER"],
        "bad.silent@d.example": ["NOTIFY=SUCCESS,DELAY"],
        "never@d.example": ["NOTIFY=NEVER"],
        "plain@d.example": [],
    }
    hand_in(relay.client(), ["RET=FULL", "ENVID=Q+2B7+20x"], recipients)
    # What ends in one turn stands in one report.
    [report] = wait(sink, 1)
    assert report.to == ["news@shop.example"] and report.actions() == {"good@d.example": "relayed", "bad@d.example": "failed"}
    assert report.of_message["Original-Envelope-Id"] == "Q+7 x", report.of_message.as_string()
    relayed = next(one for one in report.recipients if one["Action"] == "relayed")
    failed = next(one for one in report.recipients if one["Action"] == "failed")
    assert relayed["Original-Recipient"] == "rfc822; Good+1@old.example" and relayed["Status"].startswith("2.")
    assert failed["Original-Recipient"] == "utf-8; b\\x{E4}d@old.example" and failed["Status"] == "5.1.1"
    assert report.whole and report.returned.get_payload(0).get_payload() == "A line.\r\n", report.returned.as_string()
    of_mail = [line for line in commands if "<>" not in line and "<news@shop.example>" not in line]
    assert of_mail and not any("NOTIFY" in line or "ORCPT" in line or "RET" in line or "ENVID" in line for line in commands), commands
    relay.stop()


def a_hop_with_dsn_is_told_and_tells():
    commands = []
    sink = Sink(refuses(commands), extensions=DSN)
    relay = Relay(BINARY, sink)
    recipients = {
        "good@d.example": ["NOTIFY=SUCCESS,FAILURE,DELAY", "ORCPT=rfc822;Good+2B1@old.example"],
        "never@d.example": ["NOTIFY=NEVER"],
        "plain@d.example": [],
        "bad@d.example": ["NOTIFY=FAILURE"],
    }
    hand_in(relay.client(), ["RET=HDRS", "ENVID=Q+2B7"], recipients)
    [report] = wait(sink, 1)
    assert report.actions() == {"bad@d.example": "failed"} and not report.whole
    [mail] = [line for line in commands if line.startswith("MAIL FROM:<news@")]
    assert mail.endswith(" RET=HDRS ENVID=Q+2B7"), mail
    told = {line.split(">")[0].split("<")[1]: line.split(">")[1] for line in commands if line.startswith("RCPT") and "@d." in line}
    assert told == {
        "good@d.example": " NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;Good+2B1@old.example",
        "never@d.example": " NOTIFY=NEVER",
        "plain@d.example": "",
        "bad@d.example": " NOTIFY=FAILURE",
    }, told
    # The report itself asks for nothing (RFC 3461 6.1).
    assert "MAIL FROM:<> SIZE" in " ".join(commands) and not any("NOTIFY" in line for line in commands if "<news@" in line)
    relay.stop()


def nobody_is_told_where_the_operator_says_so():
    sink = Sink(refuses([]))
    relay = Relay(BINARY, sink, "[bounces]\ndsn = false\n")
    client = relay.client()
    client.ehlo()
    assert not client.has_extn("dsn")
    assert client.mail("news@shop.example", ["RET=FULL"])[0] == 555
    client.close()
    relay.send("news@shop.example", ["bad@d.example", "good@d.example"], TEXT)
    [bounced] = relay.wait_log("bounced")
    assert "notification" not in bounced, bounced
    # A reload takes it up.
    relay.more = ""
    relay.write()
    relay.process.send_signal(1)
    end = time.monotonic() + 20
    while True:
        client = relay.client()
        client.ehlo()
        offered = client.has_extn("dsn")
        client.close()
        if offered:
            break
        assert time.monotonic() < end, "".join(relay.words)
        time.sleep(0.1)
    hand_in(relay.client(), [], {"bad@d.example": []})
    wait(sink, 1)
    relay.stop()


def late_mail_is_told_once_over_kills():
    later = [True]
    sink = Sink(lambda point, line: b"450 4.2.1 not yet\r\n" if point == "RCPT" and later[0] and b"@d." in line else None)
    relay = Relay(BINARY, sink, FAST + '[bounces]\ndelay_warning = "3s"\n')
    recipients = {"one@d.example": [], "two@d.example": ["NOTIFY=DELAY"], "three@d.example": ["NOTIFY=SUCCESS,FAILURE"]}
    hand_in(relay.client(), ["RET=FULL", "ENVID=late"], recipients)
    relay.wait_log("deferred", 2)
    relay.kill()
    relay.start()
    found = wait(sink, 1)
    assert found[0].actions() == {"one@d.example": "delayed", "two@d.example": "delayed"}, found[0].actions()
    assert found[0].subject.startswith("Delayed mail") and not found[0].whole
    assert all(one["Status"] == "4.2.1" and one["Will-Retry-Until"] for one in found[0].recipients)
    for _ in range(2):
        relay.kill()
        relay.start()
        time.sleep(3)
    assert len({report.of_message["X-Relevo-Message"] for report in reports(sink)}) == 1
    wait(sink, 1)
    told = [event for event in relay.wait_log("delayed") if event["recipients"]]
    assert sorted(address for event in told for address in event["recipients"]) == sorted(recipients), told
    assert "notification" in told[0] or told[0].get("again"), told
    later[0] = False
    sink.wait(4)
    [_, success] = wait(sink, 2)
    assert success.actions() == {"three@d.example": "relayed"}, success.actions()
    relay.stop()


def a_mail_store_has_it():
    store = Dovecot({"full@store.example": "1k", "has.room@store.example": "10M"})
    sink = Sink()
    route = f'[[route]]\ndomain = "store.example"\nto = "lmtp:{store.socket}"\n'
    route += f'[[route]]\ndomain = "*"\nto = "smtp://127.0.0.1:{sink.port}"\n'
    relay = Relay(BINARY, sink, route=route)
    text = TEXT + b"x" * 70 + b"\r\n" * 40
    all_ends = ["NOTIFY=SUCCESS,FAILURE"]
    recipients = {"has.room@store.example": all_ends, "full@store.example": all_ends, "nobody@store.example": all_ends}
    hand_in(relay.client(), ["ENVID=store"], recipients, text * 60)
    store.wait("has.room@store.example", 1)
    end = time.monotonic() + 20
    while len(actions := {k: v for report in reports(sink) for k, v in report.actions().items()}) < 3:
        assert time.monotonic() < end, (actions, store.log())
        time.sleep(0.1)
    assert actions == {"has.room@store.example": "delivered", "full@store.example": "failed", "nobody@store.example": "failed"}
    relay.stop()
    store.stop()


def postfix_asks_and_is_told():
    """A stock Postfix hands on what its user asks for, and takes what comes back."""
    sink = Sink(refuses([]))
    relay = Relay(BINARY, sink)
    postfix = Postfix(relay.port)
    for recipient in ("good@d.example", "bad@d.example"):
        postfix.sendmail("news@shop.example", recipient, TEXT.replace(b"\r\n", b"\n"), "-N", "success,failure,delay", "-V", "Q-7")
    found = wait(sink, 2)
    assert {k: v for report in found for k, v in report.actions().items()} == {"good@d.example": "relayed", "bad@d.example": "failed"}
    for report in found:
        assert report.of_message["Original-Envelope-Id"] == "Q-7", report.of_message.as_string()
        assert report.recipients[0]["Original-Recipient"] == report.recipients[0]["Final-Recipient"], "as Postfix names it"
    postfix.sendmail("news@shop.example", "bad@d.example", TEXT.replace(b"\r\n", b"\n"), "-N", "never")
    relay.wait_log("bounced", 2)
    wait(sink, 2)
    relay.stop()
    postfix.stop()


def postfix_tells_where_it_is_told():
    """A stock Postfix as next hop, whose own next hop has no DSN: where it offers DSN it reports, and where it does not, the relay does."""
    for more, teller in (("", "postfix.example"), ("smtpd_discard_ehlo_keywords = dsn\n", "relay.example")):
        sink = Sink()
        postfix = Postfix(sink.port, more)
        relay = Relay(BINARY, route=f'[[route]]\ndomain = "*"\nto = "smtp://127.0.0.1:{postfix.port}"\n')
        recipients = {"good@d.example": ["NOTIFY=SUCCESS", "ORCPT=rfc822;Good+2B1@old.example"], "never@d.example": ["NOTIFY=NEVER"]}
        hand_in(relay.client(), ["RET=HDRS", "ENVID=Q+2B7"], recipients)
        end = time.monotonic() + 30
        while not (told := [taken for taken in sink.taken if taken.sender == ""]):
            assert time.monotonic() < end, (postfix.log(), relay.log())
            time.sleep(0.1)
        time.sleep(1)
        [told] = [taken for taken in sink.taken if taken.sender == ""]
        status = email.message_from_bytes(told.body).get_payload(1).get_payload()
        assert teller in status[0]["Reporting-MTA"], status[0].as_string()
        assert status[0]["Original-Envelope-Id"] == "Q+7" and status[1]["Action"] == "relayed", status[1].as_string()
        assert status[1]["Original-Recipient"].replace(" ", "") == "rfc822;Good+1@old.example", status[1].as_string()
        relay.stop()
        postfix.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
