"""Metrics as Prometheus reads them: the table of docs/metrics.md, its promtool, the rules and the dashboard that are shipped: `metrics.py STORY BINARY`."""
import collections
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

from certificate import certificate
from relay import Relay
from sink import Sink

BINARY = os.path.abspath(sys.argv[2])
ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
TEXT = b"Subject: x\r\n\r\nx\r\n"
# What Prometheus puts on each sample, and what its histograms have.
OF_PROMETHEUS = {"instance", "job", "le"}


def promtool(*arguments, words=None):
    tool = shutil.which("promtool") or f"{ROOT}/target/prometheus/usr/bin/promtool"
    assert os.path.exists(tool), "promtool is not there: tests/run unpacks it"
    done = subprocess.run([tool, *arguments], input=words, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def fetch(relay, accept="text/plain"):
    request = urllib.request.Request(f"http://127.0.0.1:{relay.http}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


class Metric:
    def __init__(self, kind):
        self.kind, self.unit, self.help, self.labels, self.samples = kind, "", "", set(), {}


def parse(text):
    """OpenMetrics: each metric by the name that queries use, with its type, unit and labels."""
    found, name, metric = {}, "", None
    for line in text.splitlines():
        words = line.split(" ", 3)
        if line.startswith("# HELP "):
            name, help_text = words[2], words[3]
            metric = Metric("")
            metric.help = help_text
        elif line.startswith("# TYPE "):
            assert words[2] == name, f"{words[2]} has no help"
            metric.kind = words[3]
            full = name + {"counter": "_total", "info": "_info"}.get(metric.kind, "")
            assert full not in found, f"{full} is described twice"
            found[full] = metric
        elif line.startswith("# UNIT "):
            metric.unit = words[3]
        elif not line.startswith("#"):
            sample, labels, value = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()
            parts = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
            assert sample in [full + part for part in parts], line
            metric.labels |= set(re.findall(r'(?:^|,)(\w+)="', labels or "")) - {"le"}
            metric.samples[sample[len(full):] + "{" + (labels or "") + "}"] = float(value)
    return found


def documented():
    """The rows of docs/metrics.md."""
    rows = {}
    with open(f"{ROOT}/docs/metrics.md") as file:
        for line in file:
            cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
            if re.fullmatch(r"`relevo_\w+`", cells[0]):
                name, kind, unit, labels, what = cells
                assert name not in rows, f"{name} has two rows"
                rows[name.strip("`")] = (kind, unit, {label for label in labels.replace("`", "").split(", ") if label}, what)
    return rows


def relay_with_all(sink):
    """One that has something to tell of each metric."""
    directory = tempfile.mkdtemp(prefix="relevo-metrics-")
    certificate(directory, "relay.example")
    return Relay(
        BINARY,
        sink,
        more='[[tenant]]\nname = "shop"\nquota = ["1000/d"]\n[cluster]\nredis = "redis://127.0.0.1:1"\n',
        listener=f'tls_certificate = "{directory}/chain.pem"\ntls_key = "{directory}/key.pem"\n',
    )


def refuse(verb, line):
    """Refuses who is called nobody, puts off who is called later."""
    if verb == "RCPT" and b"nobody@" in line:
        return b"550 5.1.1 No such user\r\n"
    if verb == "RCPT" and b"later@" in line:
        return b"451 4.7.1 Too fast\r\n"
    return None


def the_table_has_what_there_is():
    sink = Sink(refuse)
    relay = relay_with_all(sink)
    for recipient in ("a@d.example", "nobody@d.example", "later@d.example"):
        relay.send("s@c.example", [recipient], b"X-Relevo-Tenant: shop\r\n" + TEXT)
    for event in ("delivered", "bounced", "deferred"):
        relay.wait_log(event)
    end = time.monotonic() + 20
    while True:
        found = parse(fetch(relay, "application/openmetrics-text"))
        counts = [found[f"relevo_{name}_seconds"].samples["_count{}"] for name in ("delivery", "accept")]
        if counts == [2, 3] or time.monotonic() > end:
            break
        time.sleep(0.2)
    rows = documented()
    assert set(found) == set(rows), f"not in docs/metrics.md: {set(found) - set(rows)}; only there: {set(rows) - set(found)}"
    for name, metric in found.items():
        kind, unit, labels, what = rows[name]
        assert (metric.kind, metric.unit, metric.labels) == (kind, unit, labels), (name, metric.kind, metric.unit, metric.labels)
        assert metric.help.startswith("Deprecated, see") == what.startswith("Deprecated, see"), (name, metric.help)
        if what.startswith("Deprecated"):
            assert re.search(r"see `?(relevo_)?(\w+)", what).group(2) in {other.removeprefix("relevo_") for other in found}, what
    # What happened is counted where it belongs.
    for outcome in ("delivered", "deferred", "bounced"):
        for line in (f'tenant="shop",outcome="{outcome}"', f'tenant="other",outcome="{outcome}"'):
            wanted = 1 if "shop" in line else 0
            counted = found["relevo_tenant_recipients_total"].samples["{" + line + "}"]
            # It may have been tried again.
            assert counted == wanted or outcome == "deferred" and counted >= wanted, (line, counted)
    for name in ("relevo_delivery_seconds", "relevo_accept_seconds", "relevo_commit_seconds"):
        samples = found[name].samples
        buckets = [value for key, value in samples.items() if key.startswith("_bucket")]
        assert buckets == sorted(buckets) and buckets[-1] == samples["_count{}"] > 0 and samples["_sum{}"] > 0, samples
    # A bounce is delivered too.
    assert counts == [2, 3], counts
    (ends,) = found["relevo_certificate_expiry_timestamp_seconds"].samples.values()
    (days,) = found["relevo_certificate_left_days"].samples.values()
    assert 0 <= ends - time.time() - days * 86400 <= 86400, (ends, days)
    # promtool finds fault with what is deprecated, and with nothing else.
    code, words = promtool("check", "metrics", words=fetch(relay))
    old = {name for name, row in rows.items() if row[3].startswith("Deprecated")}
    faults = [line for line in words.splitlines() if line and line.split(" ")[0].rstrip(":") not in old]
    assert code in (0, 3) and not faults, "\n".join(faults)
    relay.stop()


def rules():
    """The shipped rules without their words, which alone need not be equal to a letter."""
    with open(f"{ROOT}/deploy/prometheus/rules.yml") as file:
        text = file.read()
    return re.sub(r"(?m)^        annotations:\n(?:          .*\n)+", "", text)


def case(labels, at, loud, quiet):
    return {"labels": labels, "at": at, "loud": loud, "quiet": quiet}


def alerts():
    """When each alert fires, and when it does not: series in promtool's words, a sample a minute."""
    up, shard = 'up{job="relevo",instance="a"}', 'instance="a",shard="0"'
    outcomes = "relevo_outcomes_total{%s,kind=\"%s\"}"
    at_provider = 'relevo_provider_recipients_total{instance="a",provider="big",outcome="%s"}'
    bucket = 'relevo_commit_seconds_bucket{instance="a",le="%s"}'
    delivered, queued = "relevo_recipients_delivered_total{%s}" % shard, "relevo_queued_recipients{%s}" % shard
    grows = lambda name, labels={}: case(  # noqa: E731
        labels, "15m", {f"relevo_{name}{{{shard}}}": "0+1x30"}, {f"relevo_{name}{{{shard}}}": "7x30"}
    )
    rate = lambda name, loud, quiet, labels={}: case(  # noqa: E731
        labels, "50m", {f"relevo_{name}": loud}, {f"relevo_{name}": quiet}
    )
    class_of = 'relevo_classified_recipients_total{%s,class="%s"}'
    return {
        "RelevoDown": case({"job": "relevo"}, "5m", {up: "0x10"}, {up: "1x10"}),
        "RelevoTakesNoMail": case(
            {},
            "5m",
            {"relevo_takes_mail{%s}" % shard: "0x10", 'relevo_takes_mail{instance="a",shard="1"}': "1x10"},
            {"relevo_takes_mail{%s}" % shard: "1x10"},
        ),
        "RelevoDeliversNothing": case({}, "40m", {delivered: "5x60", queued: "200x60"}, {delivered: "0+60x60", queued: "200x60"}),
        "RelevoQueueGrows": case({}, "120m", {queued: "20000+1000x120"}, {queued: "20000x120"}),
        "RelevoManyBounces": case(
            {},
            "100m",
            {outcomes % (shard, "delivered"): "0+600x120", outcomes % (shard, "bounced"): "0+60x120"},
            {outcomes % (shard, "delivered"): "0+600x120", outcomes % (shard, "bounced"): "0+12x120"},
        ),
        "RelevoReputation": case(
            {"class": "reputation"}, "50m", {class_of % (shard, "reputation"): "0+60x60"}, {class_of % (shard, "throttled"): "0+60x60"}
        ),
        "RelevoProviderDefers": case(
            {"provider": "big"},
            "55m",
            {at_provider % "deferred": "0+600x60", at_provider % "delivered": "0+60x60"},
            {at_provider % "deferred": "0+60x60", at_provider % "delivered": "0+600x60"},
        ),
        "RelevoRefusedByHops": grows("relay_refused_total"),
        "RelevoSlowDisk": case(
            {},
            "30m",
            {bucket % "0.5": "0x60", bucket % "1": "0+60x60", bucket % "+Inf": "0+60x60"},
            {bucket % "0.5": "0+60x60", bucket % "1": "0+60x60", bucket % "+Inf": "0+60x60"},
        ),
        "RelevoCommitsFail": grows("commits_failed_total"),
        "RelevoDamage": grows("messages_unreadable_total"),
        "RelevoPanics": grows("panics_total"),
        "RelevoLogIncomplete": grows("accounting_lost_total"),
        "RelevoLogBehind": case(
            {"log": "l"},
            "40m",
            {'relevo_log_behind_bytes{instance="a",log="l"}': "0+9000000x60"},
            {'relevo_log_behind_bytes{instance="a",log="l"}': "900000000-9000000x60"},
        ),
        "RelevoShardBusy": case({}, "20m", {"relevo_busy_ratio{%s}" % shard: "0.95x30"}, {"relevo_busy_ratio{%s}" % shard: "0.5x30"}),
        "RelevoCertificateEnds": case(
            {"file": "f"},
            "90m",
            {'relevo_certificate_expiry_timestamp_seconds{instance="a",file="f"}': "1000000x120"},
            {'relevo_certificate_expiry_timestamp_seconds{instance="a",file="f"}': "9000000x120"},
        ),
        "RelevoReloadRefused": case(
            {"result": "refused"},
            "15m",
            {'relevo_reloads_total{instance="a",result="refused"}': "0+1x30"},
            {'relevo_reloads_total{instance="a",result="ok"}': "0+1x30"},
        ),
        "RelevoSourceSuspended": case({}, "20m", {"relevo_sources_suspended{%s}" % shard: "1x30"}, {"relevo_sources_suspended{%s}" % shard: "0x30"}),
        "RelevoClientsTurnedAway": rate(f"connections_refused_total{{{shard}}}", "0+6x60", "6x60"),
        "RelevoPasswordsGuessed": rate(f"auth_failures_total{{{shard}}}", "0+600x60", "0+60x60"),
        "RelevoClusterStore": case({}, "20m", {'relevo_cluster_up{instance="a"}': "0x30"}, {'relevo_cluster_up{instance="a"}': "1x30"}),
        # Of the cluster, and so without a node.
        "RelevoClusterNodeSilent": case(
            {"instance": None},
            "20m",
            {'relevo_cluster_nodes_silent{instance="a"}': "1x30"},
            {'relevo_cluster_nodes_silent{instance="a"}': "0x30"},
        ),
    }


def each_alert_fires_when_it_should():
    code, words = promtool("check", "config", f"{ROOT}/deploy/prometheus/prometheus.yml")
    assert code == 0, words
    text = rules()
    severities = dict(re.findall(r"- alert: (\w+)\n(?:.*\n)+?        labels: \{ severity: (\w+) \}", text))
    cases = alerts()
    assert set(cases) == set(re.findall(r"- alert: (\w+)", text)) == set(severities), "each alert has its case"
    tests = []
    for name, of in cases.items():
        labels = {"instance": "a", "severity": severities[name], **of["labels"]}
        labels = {label: value for label, value in labels.items() if value is not None}
        for kind, wanted in (("loud", [{"exp_labels": labels}]), ("quiet", [])):
            series = [{"series": series, "values": values} for series, values in of[kind].items()]
            fires = [{"eval_time": of["at"], "alertname": name, "exp_alerts": wanted}]
            tests.append({"name": f"{name} {kind}", "interval": "1m", "input_series": series, "alert_rule_test": fires})
    scratch = tempfile.mkdtemp(prefix="relevo-rules-")
    with open(f"{scratch}/rules.yml", "w") as file:
        file.write(text)
    # JSON is YAML.
    with open(f"{scratch}/tests.yml", "w") as file:
        json.dump({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}, file)
    code, words = promtool("test", "rules", f"{scratch}/tests.yml")
    assert code == 0, words
    print(f"{len(cases)} alerts")


def named(expression, rows):
    """Each metric that an expression names, and each label: it must have that one."""
    assert "relevo_" in expression or "up{" in expression, expression
    metrics = set()
    for name, selector in re.findall(r"\b(relevo_\w+|up)\b(?:\{([^}]*)\})?", expression):
        base = name if name in rows else re.sub(r"_(bucket|sum|count)$", "", name)
        assert base == "up" or base in rows, f"there is no {name}: {expression}"
        if base == "up":
            continue
        assert not rows[base][3].startswith("Deprecated"), f"{name} is deprecated: {expression}"
        metrics.add(base)
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", selector):
            assert label in rows[base][2] | OF_PROMETHEUS, f"{name} has no {label}: {expression}"
    labels = set().union(*(rows[name][2] for name in metrics)) | OF_PROMETHEUS
    for group in re.findall(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", expression):
        for label in filter(None, re.split(r"[,\s]+", group)):
            assert label in labels, f"no metric there has {label}: {expression}"
    return metrics


def dashboard_and_rules_name_what_there_is():
    rows = documented()
    text = rules()
    expressions = [found.strip() for found in re.findall(r"(?m)^        expr: (?:>\n((?:          .*\n)+)|.*\n)", text) if found]
    expressions += re.findall(r"(?m)^        expr: ([^>\n].*)$", text)
    assert len(expressions) == text.count(" expr: "), expressions
    for expression in expressions:
        named(expression, rows)
    with open(f"{ROOT}/deploy/grafana/relevo.json") as file:
        dashboard = json.load(file)
    panels, used, recorded = dashboard["panels"], collections.Counter(), []
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & places and place["x"] + place["w"] <= 24, f"{panel['title']} lies over another"
        places |= cells
        for target in panel.get("targets", []):
            expression = target["expr"]
            for name in named(expression, rows):
                used[name] += 1
            legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            grouped = re.findall(r"\bby \(([^)]*)\)", expression)
            if grouped:
                assert legend <= {label.strip() for group in grouped for label in group.split(",")}, expression
            plain = expression.replace("$__rate_interval", "5m").replace("$instance", ".+")
            assert "$" not in plain, expression
            recorded.append({"record": f"panel:{len(recorded)}", "expr": plain})
    for variable in dashboard["templating"]["list"]:
        named(variable.get("definition", "relevo_takes_mail"), rows)
    # Prometheus reads each of them.
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        json.dump({"groups": [{"name": "panels", "rules": recorded}]}, file)
        file.flush()
        code, words = promtool("check", "rules", file.name)
    assert code == 0, words
    print(f"{len(expressions)} expressions of rules, {len(recorded)} of the dashboard, {len(used)} metrics")


globals()[sys.argv[1]]()
