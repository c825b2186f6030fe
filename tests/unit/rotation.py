"""The rotation that is shipped, by logrotate: `rotation.py BINARY CONFIGURATION`. Its word to systemd is passed on to a relay that runs here."""
import glob
import json
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "peers"))

from relay import Relay  # noqa: E402
from sink import Sink  # noqa: E402

COMMAND = "systemctl kill --signal=SIGUSR1 relevo.service"
TEXT = b"Subject: hello\r\n\r\nA line.\r\n"


def events(path):
    with open(path) as file:
        return [(line["event"], line["sender"]) for line in map(json.loads, file)]


def main(binary, configuration):
    logrotate = shutil.which("logrotate", path=os.environ["PATH"] + ":/usr/sbin")
    assert logrotate, "logrotate is not installed: tests/run does that"
    sink = Sink()
    relay = Relay(os.path.abspath(binary), sink)
    with open(configuration) as file:
        text = file.read()
    assert text.count("/var/log/relevo/*.jsonl") == 1 and text.count(COMMAND) == 1, text
    with open(f"{relay.directory}/rotate", "w") as file:
        file.write(text.replace("/var/log/relevo", relay.directory))
    os.chmod(f"{relay.directory}/rotate", 0o644)
    os.mkdir(f"{relay.directory}/bin")
    with open(f"{relay.directory}/bin/systemctl", "w") as file:
        file.write(f'#!/bin/sh\n[ "systemctl $*" = "{COMMAND}" ] && exec kill -USR1 {relay.process.pid}\n')
    os.chmod(f"{relay.directory}/bin/systemctl", 0o755)
    environment = dict(os.environ, PATH=f"{relay.directory}/bin:{os.environ['PATH']}")
    log = f"{relay.directory}/log.jsonl"
    for number in range(3):
        relay.send(f"a{number}@b.example", ["c@d.example"], TEXT)
        relay.wait_log("delivered")
        command = [logrotate, "-f", "-s", f"{relay.directory}/state", f"{relay.directory}/rotate"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment)
        assert done.returncode == 0, done
        end = time.monotonic() + 10
        while not os.path.exists(log):
            assert time.monotonic() < end, "the log was not opened again"
            time.sleep(0.05)
        assert os.stat(log).st_mode & 0o777 == 0o600
        assert events(f"{log}.1") == [("received", f"a{number}@b.example"), ("delivered", f"a{number}@b.example")]
    # The oldest are compressed.
    assert sorted(map(os.path.basename, glob.glob(f"{log}*"))) == ["log.jsonl", "log.jsonl.1", "log.jsonl.2.gz", "log.jsonl.3.gz"]
    relay.stop()


main(*sys.argv[1:])
