"""Sends a message by SMTP: TLS, a login, and what to do with a refusal. Python 3.8 or later, nothing else."""
import os
import smtplib
import ssl
import sys
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

message = EmailMessage()
message["From"] = "The shop <hello@shop.example>"
message["To"] = "Ada <ada@example.org>"
message["Subject"] = "Your order is on its way"
message["Date"] = formatdate()
message["Message-ID"] = make_msgid(domain="shop.example")
# In events, and what is counted by; it never leaves the relay.
message["X-Relevo-Category"] = "orders"
message.set_content("It is on its way.\n")
message.add_alternative("<p>It is <b>on its way</b>.</p>", subtype="html")

try:
    # Keep the connection for the next message: a handshake costs more than a message.
    with smtplib.SMTP(os.environ["RELEVO_HOST"], int(os.environ.get("RELEVO_PORT", "587")), timeout=60) as relay:
        relay.starttls(context=ssl.create_default_context())
        relay.login(os.environ["RELEVO_USER"], os.environ["RELEVO_PASSWORD"])
        refused = relay.send_message(message)
except smtplib.SMTPRecipientsRefused as error:
    sys.exit("\n".join(f"{address}: {code} {words.decode(errors='replace')}" for address, (code, words) in error.recipients.items()))
except smtplib.SMTPResponseException as error:
    # 4xx: try again later, with longer and longer pauses. 5xx: it will not be taken as it is.
    later = "try again later" if error.smtp_code < 500 else "not to be sent again as it is"
    sys.exit(f"{later}: {error.smtp_code} {error.smtp_error.decode(errors='replace')}")
except OSError as error:
    # Where the connection broke behind the body nobody knows whether it was taken: by the same Message-ID receivers see that it came twice.
    sys.exit(f"try again later: {error}")
# The others have theirs: these were refused one by one.
for address, (code, words) in refused.items():
    print(f"{address}: {code} {words.decode(errors='replace')}", file=sys.stderr)
print("taken: it is on the relay's disk")
