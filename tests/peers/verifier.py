#!/usr/bin/python3
"""Checks the signatures of messages with dkimpy: `verifier.py RECORDS FILE...`, run by Debian's python3, which has that library. RECORDS is JSON: name
in DNS to text. Prints a line for each file: JSON, a list of [domain, selector, algorithm, "right" or why not] for each signature."""
import json
import sys

import dkim

records = json.load(open(sys.argv[1]))


def dns(name, timeout=5):
    return records.get(name.decode().rstrip(".").lower(), "").encode() or None


for path in sys.argv[2:]:
    with open(path, "rb") as file:
        message = file.read()
    found = []
    checked = dkim.DKIM(message, minkey=1024)
    for number in range(sum(name.lower() == b"dkim-signature" for name, _ in checked.headers)):
        # What fails before it is read has none of its own.
        checked.signature_fields = {}
        try:
            result = "right" if checked.verify(idx=number, dnsfunc=dns) else "wrong"
        except dkim.DKIMException as error:
            result = str(error)
        fields = checked.signature_fields
        found.append([*(fields.get(tag, b"").decode() for tag in (b"d", b"s", b"a")), result])
    print(json.dumps(found))
