"""The document of the API against what it answers, by schemathesis: `openapi.py STORY BINARY`. Called by tests/peers.rs."""
import os
import subprocess
import sys
import time

from control import SLOW, TEXT
from http_api import Guarded

HERE = os.path.dirname(os.path.abspath(__file__))
TOOL = os.environ.get("RELEVO_SCHEMATHESIS") or os.path.join(HERE, "..", "..", "target", "clients", "venv", "bin", "schemathesis")
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance,negative_data_rejection,ignored_auth,unsupported_method"


def the_document_says_what_is_answered():
    """Thousands of questions, right and wrong: no 500, no status and no shape that it does not name, and nobody is answered without a token."""
    relay = Guarded(more=SLOW)
    # Accounts come and go as well.
    with open(f"{relay.directory}/accounts.toml", "w") as file:
        file.write("")
    relay.more += f'[auth]\naccounts = "{relay.directory}/accounts.toml"\n'
    relay.write()
    relay.command("reload")
    client = relay.client()
    for number in range(20):
        client.sendmail("a@b.example", [f"later{number}@d{number % 3}.example"], TEXT)
    client.quit()
    relay.wait(20)
    examples, seed = os.environ.get("RELEVO_EXAMPLES", "5"), os.environ.get("RELEVO_SEED", "1")
    begun = time.monotonic()
    # A trace answers for as long as it is read; what ends this process, or empties it, would end the questions. an upgrade has another process answer.
    done = subprocess.run(
        [
            TOOL, "run", f"http://127.0.0.1:{relay.http}/control/v1/openapi.json", "-H", f"Authorization: Bearer {relay.secrets['admin']}",
            "--checks", CHECKS, "--exclude-path", "/control/v1/trace", "--exclude-path", "/control/v1/upgrade", "--exclude-path", "/control/v1/drain", "--max-examples", examples, "--seed", seed, "--phases", "examples,coverage,fuzzing", "--continue-on-failure",
            "--generation-database", "none", "--no-color", "--suppress-health-check", "all", "--warnings", "off",
        ],
        capture_output=True,
        text=True,
        timeout=560,
        cwd=relay.directory,
    )
    # Of each operation it shows a wrong token once: where that goes fast, it is told that these are too many, which is no 401.
    faults = [line for line in done.stdout.splitlines() if line.startswith("- ")]
    guessed = done.stdout.count("Expected 401 or 403, got `429 Too Many Requests`")
    assert done.returncode == 0 or len(faults) == guessed > 0, done.stdout[-12000:] + done.stderr[-2000:]
    print(f"{time.monotonic() - begun:.0f} s", *[line for line in done.stdout.splitlines() if "generated" in line])
    # Any other token may have been removed by one of the questions; had this one been, most of them were refused.
    assert relay.over_http("GET", "/control/v1/status", by="admin")[0] == 200
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
