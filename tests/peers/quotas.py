"""Quotas of tenants and accounts, counted at clients and at a sink: `quotas.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import json
import os
import smtplib
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "attacks"))
from accounts import House, account, scram
from hops import TEXT, metric, start
from shaping import reload
from sink import Sink
from suspensions import command, until
from warmup import away_from_midnight

RULE = '[[rule]]\nmatch = { sender = "*" }\nset = { tenant = "shop" }\n'


def tenant(*quotas):
    return f'[[tenant]]\nname = "shop"\nquota = {json.dumps(quotas)}\n' + RULE


def bring(relay, number, recipients=1):
    """One message: the answer to it."""
    try:
        client = relay.client()
        client.sendmail("a@b.example", [f"u{number}.{place}@d{place}.example" for place in range(recipients)], TEXT)
        client.quit()
        return 250, b""
    except smtplib.SMTPDataError as error:
        return error.smtp_code, error.smtp_error
    except (OSError, smtplib.SMTPException):
        return None, b"gone"


def told(relay):
    """What was told of quotas, percent and count."""
    return [(event["percent"], event["filter"]) for event in relay.log() if event["event"] == "admin" and event["action"] == "quota"]


def what_is_discarded_takes_none_of_it():
    """Nothing is sent to whose mail ends here."""
    away_from_midnight()
    sink = Sink()
    gone = '[[rule]]\nmatch = { recipient = "@gone.example" }\naction = "discard"\n'
    relay = start(sink, tenant("3/d") + gone)
    for _ in range(2):
        client = relay.client()
        client.sendmail("a@b.example", [f"u{place}@gone.example" for place in range(5)], TEXT)
        client.quit()
    assert bring(relay, 1, 3)[0] == 250
    assert bring(relay, 2)[0] == 451
    sink.wait(3)
    assert len(sink.recipients()) == 3, sink.recipients()
    relay.stop()


def a_quota_is_kept_over_kills_and_shards():
    """100 recipients a day, two a message, by six clients at once; kills may waste some of it, and never are there more."""
    away_from_midnight()
    sink = Sink()
    relay = start(sink, tenant("100/d", "1000000/month"))
    taken, answers, stop = [], set(), threading.Event()

    def work(own):
        turn = 0
        while not stop.is_set():
            code, words = bring(relay, f"{own}.{turn}", 2)
            turn += 1
            if code == 250:
                taken.append((own, turn))
            elif code:
                answers.add((code, words))
                time.sleep(0.2)
            else:
                time.sleep(0.05)

    threads = [threading.Thread(target=work, args=(own,), daemon=True) for own in range(6)]
    for thread in threads:
        thread.start()
    for most in (10, 20):
        until(lambda: len(taken) >= most)
        relay.kill()
        relay.start()
    until(lambda: answers and metric(relay, "quota_refused_total") > 5)
    stop.set()
    for thread in threads:
        thread.join()
    assert {code for code, _ in answers} == {451}, answers
    words = {words for _, words in answers if b"is used" in words}
    assert any(b"4.7.1 The quota of tenant shop is used: 100 recipients a day; it begins anew at 20" in one for one in words), answers
    # What a kill cut was stored and not answered, or delivered and not noted as such.
    reached = lambda: set(sink.recipients())
    until(lambda: len(reached()) >= 2 * len(taken))
    time.sleep(1)
    assert 40 <= len(reached()) <= 100, len(reached())
    used = [line for line in command(relay, "why", "shop").splitlines() if "quota of tenant shop" in line]
    assert any(f"{count} of 100/d used" in line for line in used for count in (99, 100)) and any("of 1000000/month used" in line for line in used), used
    until(lambda: sorted(told(relay)) == [(80, "tenant shop"), (100, "tenant shop")])
    assert relay.told("quota of tenant shop: 100 recipients a day are used"), relay.words
    relay.process.terminate()
    assert relay.process.wait(45) == 0
    relay.start()
    code, words = bring(relay, "again", 2)
    assert code == 451 and b"100 recipients a day" in words, (code, words)
    time.sleep(1)
    assert sorted(told(relay)) == [(80, "tenant shop"), (100, "tenant shop")], told(relay)
    relay.stop()


def a_stop_in_order_wastes_nothing_and_a_reload_holds_at_once():
    away_from_midnight()
    sink = Sink()
    relay = start(sink, tenant("2000/d"))
    sent = 0

    def all_of_it(most):
        count = 0
        while count < most and bring(relay, f"x{sent + count}")[0] == 250:
            count += 1
        return count

    for _ in range(2):
        sent += all_of_it(7)
        relay.process.terminate()
        assert relay.process.wait(45) == 0
        relay.start()
    config = f"{relay.directory}/relevo.toml"
    with open(config) as file:
        text = file.read()

    def change(quota):
        reload(relay, config, text.replace('"2000/d"', quota))

    change('"20/d"')
    sent += all_of_it(50)
    assert sent == 20, sent
    change('"25/d"')
    sent += all_of_it(50)
    assert sent == 25, sent
    change('"10/d"')
    assert bring(relay, "y")[0] == 451
    code, words = bring(relay, "y", 11)
    assert code == 550 and b"11 recipients are more than the quota of tenant shop: 10 a day" in words, (code, words)
    change('"30/d", "4/min"')
    left = 60 - time.time() % 60
    if left < 20:
        time.sleep(left + 0.5)
    assert (all_of_it(50), bring(relay, "z")[0]) == (4, 451)
    sink.wait(29)
    relay.stop()


def an_account_has_what_it_has():
    """By login, and a message that is refused for something else takes nothing."""
    away_from_midnight()
    house = House(account("bob", more='quota = ["6/d"]\n') + account("ann"))

    def log_in(name):
        client = house.client()
        scram(client, name, "s,cret=case")
        return client

    def send(client, count=1, text=TEXT):
        try:
            client.sendmail("a@b.example", [f"c{number}@d.example" for number in range(count)], text)
            return 250
        except smtplib.SMTPDataError as error:
            assert error.smtp_code != 451 or b"4.7.1 The quota of account bob is used: 6 recipients a day" in error.smtp_error, error
            return error.smtp_code

    client = log_in("bob")
    assert [send(client, 2), send(client, 2), send(client, 3), send(client, 2)] == [250, 250, 451, 250]
    assert [send(client, 1), send(client, 7)] == [451, 550]
    client.quit()
    other = log_in("ann")
    assert [send(other, 10) for _ in range(5)] == [250] * 5
    other.quit()
    reasons = {event["reason"] for event in house.relay.wait_log("rejected", 3)}
    assert reasons == {"quota"}, reasons
    assert "6 of 6/d used" in command(house.relay, "why", "bob")
    house.relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
