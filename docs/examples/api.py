"""Sends a message by the API. Python 3.8 or later, nothing else."""
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid

message = {
    "from": {"email": "hello@shop.example", "name": "The shop"},
    "to": [{"email": "ada@example.org"}],
    "subject": "Your order is on its way",
    "text": "It is on its way.",
    "html": "<p>It is <b>on its way</b>.</p>",
    "category": "orders",
    "custom_variables": {"order": 1234},
}
request = urllib.request.Request(
    os.environ["RELEVO_API"] + "/api/send",
    json.dumps(message).encode(),
    {
        "Authorization": f"Bearer {os.environ['RELEVO_TOKEN']}",
        "Content-Type": "application/json",
        # The same key for each try of the same message: it is sent once, however often an answer is lost.
        "Idempotency-Key": str(uuid.uuid4()),
    },
)
for pause in (1, 5, 30, None):
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            print("taken:", ", ".join(json.load(answer)["message_ids"]))
            break
    except urllib.error.HTTPError as error:
        words = "; ".join(json.load(error)["errors"])
        # 409: an earlier try is worked on still. 429 and 503: later. All else will not be taken as it is.
        if error.code not in (409, 429, 503, 504) or pause is None:
            sys.exit(f"{error.code}: {words}")
        pause = max(pause, int(error.headers.get("Retry-After", 0)))
    except OSError as error:
        if pause is None:
            sys.exit(f"the relay cannot be reached: {error}")
    time.sleep(pause)
