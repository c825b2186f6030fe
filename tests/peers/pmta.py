"""A reader of PowerMTA's accounting files, by the columns that its guide documents. It knows nothing of the relay."""
import csv
import datetime
import re

# User's guide, "Accounting": columns of its record types.
COLUMNS = (
    "type timeLogged timeQueued orig rcpt orcpt dsnAction dsnStatus dsnDiag dsnMta bounceCat srcType srcMta dlvType dlvSourceIp "
    "dlvDestinationIp dlvEsmtpAvailable dlvSize vmta jobId envId queue vmtaPool userString dlvTlsProtocol dlvTlsCipher rcvSmtpUser "
    "feedbackType format userAgent reportingMTA reportedDomain repSourceIp"
).split()
TYPES = {"d", "b", "t", "tq", "r", "rb", "rs", "f"}
CATEGORIES = set(
    "bad-configuration bad-connection bad-domain bad-mailbox content-related inactive-mailbox invalid-sender message-expired no-answer-from-host "
    "other policy-related protocol-errors quota-issues relaying-issues routing-errors spam-related virus-related".split()
)
ACTIONS = {"d": "relayed", "b": "failed", "rb": "failed", "t": "delayed", "tq": "delayed", "r": "", "f": ""}


def moment(text):
    return datetime.datetime.strptime(text, "%Y-%m-%d %H:%M:%S%z")


def read(path, more=()):
    """Its records, each checked; the header must name columns that PowerMTA has, and `more`."""
    with open(path, newline="") as file:
        text = file.read()
    assert text.endswith("\n") and "\r" not in text, path
    rows = csv.reader(text.splitlines(keepends=True), strict=True)
    head = next(rows)
    assert set(head) <= {*COLUMNS, *more} and len(set(head)) == len(head), head
    records = []
    for row in rows:
        assert len(row) == len(head), (path, row)
        record = dict(zip(head, row))
        assert record != dict(zip(head, head)), "the header stands there once"
        check(record)
        records.append(record)
    return records


def check(record):
    kind = record["type"]
    assert kind in TYPES, record
    logged = moment(record["timeLogged"])
    if record.get("timeQueued"):
        assert moment(record["timeQueued"]) <= logged, record
    assert record["dsnAction"] == ACTIONS[kind], record
    if kind in ("d", "b", "t", "tq", "rb"):
        status = {"d": "2", "b": "[45]", "rb": "[245]", "t": "[45]", "tq": "[45]"}[kind]
        assert re.fullmatch(rf"{status}\.\d{{1,3}}\.\d{{1,3}}", record["dsnStatus"]), record
    if kind in ("b", "t", "tq", "rb"):
        assert record["bounceCat"] in CATEGORIES, record
    else:
        assert not record["bounceCat"], record
    for value in record.values():
        assert not value.startswith(("=", "+", "-", "@", "\t")), record
