#!/usr/bin/python3
"""Signs a message with dkimpy: `signer.py DOMAIN SELECTOR KEY FORMS < message`, run by Debian's python3, which has that library. FORMS is as `c=` has it."""
import sys

import dkim

domain, selector, key, forms = sys.argv[1:]
message = sys.stdin.buffer.read()
with open(key, "rb") as file:
    field = dkim.sign(message, selector.encode(), domain.encode(), file.read(), canonicalize=tuple(forms.encode().split(b"/")), include_headers=[b"from", b"to", b"subject"])
sys.stdout.buffer.write(field + message)
