// Overview: is mail flowing, what is stuck, why; then the numbers.

const POINTS = 3600;
const NAMES = ["accepted", "delivered", "deferred", "bounced", "rejected"];
const RANGES = [["5 min", 300, 1], ["1 hour", 3600, 1], ["24 hours", 1440, 60]];

// What replies of a class say, and what to do, in a line.
const CLASSES = {
  bad_mailbox: "no such mailbox", inactive_mailbox: "the mailbox is switched off", mailbox_full: "the mailbox is full", bad_domain: "no such domain",
  no_mx: "the domain has no host for mail", bad_sender: "the sender's address is refused", relaying_denied: "the receiver does not relay for us",
  auth_required: "the smart host wants a login", tls_required: "the receiver wants TLS, or TLS could not be proven", too_large: "the message is too large",
  content: "the content is refused", spam: "taken for spam", virus: "taken for a virus", policy: "refused by the receiver's rules", reputation: "the address or domain has a bad name there",
  authentication: "SPF, DKIM or DMARC does not pass", blocklisted: "our address is on a blocklist", throttled: "the receiver asks us to slow down",
  too_many_connections: "too many connections at once", greylisted: "greylisted: a later attempt passes", protocol: "the receiver breaks the protocol, or says we do",
  timeout: "the receiver answers too late", no_answer: "no host answers", connection: "the connection broke", expired: "given up for age", our_fault: "the relay itself could not", other: "what no rule knows",
};

const history = { fine: null, coarse: null };

const overview = {
  title: "Overview",
  range: 1,
  rates: new Chart("Recipients a second", "recipients/s"),
  queue: new Chart("Queue", "recipients"),
  enter() {
    live.want("");
    this.load();
  },
  leave() { clearTimeout(this.timer); },
  async load() {
    clearTimeout(this.timer);
    const [, , each] = RANGES[this.range];
    const kept = each === 1 ? "fine" : "coarse";
    try {
      const told = await get("/control/v1/history", { step: each });
      history[kept] = { until: Date.parse(told.until), series: told.series };
      this.error = null;
    } catch (error) { this.error = error; }
    this.plot();
    if (each > 1) this.timer = setTimeout(() => this.load(), 60000);
  },
  plot() {
    const [, points, each] = RANGES[this.range];
    const kept = history[each === 1 ? "fine" : "coarse"];
    if (!kept) return;
    const of = (name) => (kept.series[name] || []).slice(-points);
    this.rates.set([...NAMES.slice(0, 4), "rejected"].map((name) => ({ name, cls: name, points: of(name) })), kept.until, each);
    this.queue.set([{ name: "queued", cls: "queued", points: of("queued") }], kept.until, each);
  },
  draw(o) {
    if (!o) return [heading("Overview"), unknown()];
    const ranges = h("div", { class: "segments", role: "group", "aria-label": "Time shown" }, RANGES.map(([words], at) =>
      h("button", { type: "button", "aria-pressed": String(at === this.range), onclick: () => { this.range = at; this.load(); app.redraw(); } }, words)));
    return [
      heading("Overview", [foreign(o.node), ` · relevo ${o.version} · up ${span(o.uptime_seconds)}`], ranges),
      verdict(o), tiles(o),
      this.error ? failure(this.error, () => this.load()) : null,
      h("div", { class: "plots" }, this.rates.place(), this.queue.place()),
      h("div", { class: "halves" }, states(o), ages(o)),
      h("div", { class: "halves" }, byProvider(o), byDomain(o)),
      classes(o), shards(o),
    ];
  },
};

// What is told by the stream alone, and is not known: why.
const unknown = () => (live.state === "broken" ? h("div", { class: "verdict warn", role: "alert" }, h("b", {}, "! That is not known"), h("p", {}, foreign(capital(live.words)), ". The queue can be searched all the same.")) : loading());

// Appends what the stream says to the finer history.
function remember(o) {
  const at = Date.parse(o.as_of);
  const kept = history.fine;
  if (!kept || !(at - kept.until >= 500)) return;
  const gap = Math.min(POINTS, Math.max(0, Math.round((at - kept.until) / 1000) - 1));
  const values = { ...o.rates, queued: o.queue && o.queue.recipients };
  for (const name of [...NAMES, "queued"]) {
    const points = kept.series[name] || (kept.series[name] = []);
    for (let missing = 0; missing < gap; missing += 1) points.push(null);
    points.push(known(values[name]) ? values[name] : null);
    if (points.length > POINTS) points.splice(0, points.length - POINTS);
  }
  kept.until = at;
  if (app.view === overview && overview.range < 2) overview.plot();
}

function verdict(o) {
  const q = o.queue || {};
  const r = o.rates || {};
  const narrowed = (o.providers || []).filter((one) => one.narrowed > 0);
  const [kind, words] = judged(o, q, r);
  const facts = [];
  if (!o.ready && o.not_ready) facts.push(h("li", {}, "Not ready: ", foreign(o.not_ready), "."));
  if (q.recipients > 0) {
    const oldest = [...(o.ages || [])].reverse().find((age) => age.recipients > 0);
    const least = oldest && bounds(o.ages)[o.ages.indexOf(oldest)][0];
    facts.push(h("li", {}, queueLink({}, recipients(q.recipients)), q.recipients === 1 ? " waits" : " wait",
      q.deferred ? [", ", queueLink({ state: "deferred" }, `${percent(q.deferred, q.recipients)}`), " of them for their next attempt"] : "",
      least ? ["; the oldest for more than ", queueLink({ older: lasting(least) }, span(least))] : "", "."));
  }
  if (narrowed.length) {
    facts.push(h("li", {}, "Narrowed by what receivers say: ", narrowed.slice(0, 5).map((one, at) => [at ? ", " : "", h("a", { href: href("sites", { provider: one.name }) }, foreign(one.name))]),
      narrowed.length > 5 ? ` and ${narrowed.length - 5} more` : "", "."));
  }
  if (q.suspended > 0) facts.push(h("li", {}, h("a", { href: "#/suspensions" }, `${recipients(q.suspended)} ${q.suspended === 1 ? "waits" : "wait"} for a suspension to end`), "."));
  if (q.held > 0) facts.push(h("li", {}, queueLink({ state: "held" }, `${recipients(q.held)} ${q.held === 1 ? "is" : "are"} held`), "."));
  for (const warning of (o.warnings || []).slice(0, 20)) facts.push(h("li", { class: "warning" }, h("span", { "aria-hidden": "true" }, "! "), "Warning: ", foreign(warning)));
  for (const said of (o.said || []).slice(0, 6)) facts.push(h("li", { class: said.level }, `${clockOf(Date.parse(said.time))} UTC, ${said.level}: `, foreign(said.words)));
  return h("div", { class: `verdict ${kind}` }, h("b", {}, `${icon[kind || "good"]} ${words}`), facts.length ? h("ul", {}, facts) : null);
}

function judged(o, q, r) {
  if (o.draining) return ["warn", "Draining: no new mail is taken, what is under way is finished"];
  if (!o.ready) return ["bad", "This relay takes no mail now"];
  if (!known(r.delivered)) return ["", "Ready for mail; rates are known in a moment"];
  if (r.delivered > 0) {
    const trouble = r.deferred > r.delivered;
    return trouble ? ["warn", `Mail flows, but more is deferred than delivered: ${rate(r.deferred)} against ${rate(r.delivered)} a second`] : ["", `Mail flows: ${rate(r.delivered)} delivered a second`];
  }
  if (!q.recipients) return ["", r.accepted > 0 ? "Mail comes in, and nothing waits" : "Ready for mail; nothing waits"];
  if (q.ready > 0) return ["warn", "Mail waits for connections, and none is delivered just now"];
  return ["", "Ready for mail; what waits is not due yet"];
}

const tile = (name, value, unit, kind, link) => h(link ? "a" : "div", { class: `card ${kind || ""}`, href: link }, h("span", {}, name), h("b", {}, value, unit ? h("small", {}, ` ${unit}`) : null));
function tiles(o) {
  const r = o.rates || {};
  const q = o.queue || {};
  return h("div", { class: "cards" },
    tile("Accepted", rate(r.accepted), "/s"), tile("Delivered", rate(r.delivered), "/s"),
    tile("Deferred", rate(r.deferred), "/s"), tile("Bounced", rate(r.bounced), "/s"), tile("Rejected", rate(r.rejected), "/s"),
    tile("Queued", count(q.recipients), "", "", href("queue", { q: "" })), tile("Clients", count(r.connections_in), "open"), tile("To receivers", count(r.connections_out), "open"));
}

const asOf = (iso) => (iso ? h("span", { class: "as-of" }, "counted ", time(iso)) : null);

function states(o) {
  const q = o.queue;
  if (!q) return section("Queue by state", null, h("div", { class: "empty" }, "Not counted yet."));
  const rows = ["ready", "deferred", "suspended", "held"].map((state) => ({
    key: state, cells: [queueLink({ state }, state), h("span", { class: "hint" }, STATES[state].words), meter(q[state], q.recipients, state), count(q[state]), percent(q[state], q.recipients)],
  }));
  rows.push({ key: "under_way", cells: ["under way", h("span", { class: "hint" }, STATES.under_way.words), meter(q.under_way, q.recipients, "ready"), count(q.under_way), ""] });
  const columns = [{ label: "State" }, { label: "Which", cls: "wordy roomy" }, { label: "Share", cls: "bars" }, { label: "Recipients", num: true }, { label: "%", num: true, cls: "share" }];
  return section("Queue by state", asOf(q.as_of), table({ caption: "Queue by state", columns, rows, cls: "plainly" }));
}

// From and to, seconds, of each step of ages.
const bounds = (list) => list.map((age, at) => [at ? list[at - 1].up_to_seconds : 0, age.up_to_seconds]);

function ages(o) {
  if (!o.ages) return section("Queue by age", null, h("div", { class: "empty" }, o.queue && o.queue.recipients === 0 ? "Nothing waits." : "Not known yet: ages are counted when the shards have time for it."));
  const most = Math.max(1, ...o.ages.map((age) => age.recipients));
  const sum = o.ages.reduce((all, age) => all + age.recipients, 0);
  const rows = bounds(o.ages).map(([from, to], at) => {
    const words = !from ? `up to ${span(to)}` : known(to) ? `${span(from)} to ${span(to)}` : `over ${span(from)}`;
    const amount = o.ages[at].recipients;
    return { key: words, cells: [from ? queueLink({ older: lasting(from) }, words) : words, meter(amount, most, "deferred"), count(amount), percent(amount, sum)] };
  });
  const columns = [{ label: "Age" }, { label: "Share", cls: "bars" }, { label: "Recipients", num: true }, { label: "%", num: true, cls: "share" }];
  return section("Queue by age", null, table({ caption: "Queue by age", columns, rows, empty: "Nothing waits.", cls: "plainly" }));
}

function byProvider(o) {
  const list = o.providers || [];
  const most = Math.max(1, ...list.map((one) => one.recipients));
  const rows = list.slice(0, 10).map((one) => ({ key: one.name, cells: [
    one.name === "other" ? none("other") : h("a", { href: href("sites", { provider: one.name }) }, foreign(one.name)),
    meter(one.recipients, most, one.suspended ? "suspended" : "deferred"), count(one.recipients), count(one.connections),
    one.narrowed ? badge(plural(one.narrowed, "site"), "warn") : none(),
  ] }));
  const columns = [{ label: "Provider" }, { label: "Share", cls: "bars" }, { label: "Queued", num: true }, { label: "Connections", num: true, cls: "spare" }, { label: "Narrowed", num: true }];
  return section("Queue by provider", h("a", { href: "#/sites" }, list.length > 10 ? `All ${list.length}` : "All"), table({
    caption: "Queue by provider", columns, rows, cls: "plainly", empty: o.providers ? "Nothing waits at a provider that the shaping files name." : "Not counted yet." }));
}

function byDomain(o) {
  const list = o.domains || [];
  const most = Math.max(1, ...list.map((one) => one.recipients));
  const rows = list.slice(0, 10).map((one) => ({ key: one.name, cells: [
    one.name === "other" ? none("other") : queueLink({ domain: one.name }, foreign(one.name)),
    meter(one.recipients, most, "deferred"), count(one.recipients), count(one.ready), count(one.deferred) ] }));
  const columns = [{ label: "Domain" }, { label: "Share", cls: "bars" }, { label: "Queued", num: true }, { label: "Ready", num: true, cls: "spare" }, { label: "Deferred", num: true, cls: "spare" }];
  return section("Largest domains", o.queue && known(o.queue.domains) ? h("span", { class: "as-of" }, `of ${plural(o.queue.domains, "domain")}`) : null,
    table({ caption: "Largest domains", columns, rows, cls: "plainly", empty: o.domains ? "Nothing waits." : "Not counted yet." }));
}

function classes(o) {
  const rows = (o.classes || []).map((one) => {
    const found = /\b[245]\.\d{1,3}\.\d{1,3}\b/.exec(one.text || "");
    return { key: one.class, cells: [h("span", { class: "badge" }, plain(one.class)), h("span", { class: "hint" }, CLASSES[one.class] || ""), count(one.recipients),
      one.text ? h("span", { class: "reply" }, foreign(one.text)) : none("no text yet"), found ? queueLink({ reply: found[0].replaceAll(".", "\\.") }, "find") : "" ] };
  });
  const columns = [{ label: "Class" }, { label: "Meaning", cls: "wordy" }, { label: "Recipients", num: true }, { label: "Latest text", cls: "wordy text" }, { label: "In the queue" }];
  return section("Errors by class", h("span", { class: "as-of" }, "since the start"), table({ caption: "Errors by class", columns, rows, empty: o.classes ? "No receiver refused or put off anything since the start." : "Not counted yet." }));
}

function shards(o) {
  const rows = (o.shards || []).map((one) => ({ key: one.shard, cells: [one.shard, [meter(one.busy_ratio, 1, one.busy_ratio > 0.9 ? "suspended" : "ready")],
    known(one.busy_ratio) ? `${short(one.busy_ratio * 100, 0)} %` : "–", known(one.longest_turn_seconds) ? `${short(one.longest_turn_seconds * 1000, 1)} ms` : "–",
    count(one.queued), count(one.connections_in), count(one.connections_out), bytes(one.spool_bytes) ] }));
  const columns = [{ label: "Shard" }, { label: "Load", cls: "bars" }, { label: "Busy", num: true }, { label: "Longest turn", num: true }, { label: "Queued", num: true }, { label: "Clients", num: true }, { label: "To receivers", num: true }, { label: "Spool", num: true }];
  return section("Shards", null, table({ caption: "Shards", columns, rows, empty: "Not known yet." }));
}
