// One message: who still waits, since when, what was said to us, and why it waits.

async function askWhy(filters, signal, told) {
  const given = filters.recipient && !filters.domain && filters.recipient.includes("@") && !filters.recipient.includes("*")
    ? { ...filters, domain: filters.recipient.split("@").pop().toLowerCase() } : filters;
  return whole((cursor) => get("/control/v1/why", { ...given, cursor }, signal), (_, part) => part, (_, part) => told && told(part), signal);
}

// The answer to why, as sentences.
function whyOf(why) {
  const causes = why.causes.map((one) => h("li", {}, h("b", {}, recipients(one.recipients)), ": ", foreign(one.words),
    one.domains > 1 ? ` (in ${plural(one.domains, "queue")}; that is of the first of them)` : "", one.until && !/\d\dZ/.test(one.words) ? [" – ", time(one.until)] : "", "."));
  if (why.under_way > 0) causes.push(h("li", {}, h("b", {}, `${count(why.under_way)} under way`), ": a connection has it now, or it is on the way to its queue."));
  for (const one of why.quotas || []) causes.push(h("li", {}, `Quota of ${one.owner} `, foreign(one.name), `: ${count(one.used_by_all ?? one.used)} of ${count(one.most)} a ${PERIODS[one.period] || one.period} used; anew `, time(one.until), "."));
  const heard = why.replies.map((one) => h("li", {}, h("b", {}, recipients(one.recipients)), " heard: ", h("span", { class: "said" }, foreign(one.reply))));
  return h("div", { class: "why" },
    causes.length ? h("ol", {}, causes) : h("p", {}, "Nothing of that waits."), why.complete ? null : h("p", {}, "These are the first of many: narrow the search to know all."),
    heard.length ? [h("h3", {}, "Last replies"), h("ul", {}, heard)] : null,
    why.domains.length ? [h("h3", {}, "Where it goes"), why.domains.slice(0, 20).map(whyDomain)] : null,
    why.domains.length > 20 || why.more_domains ? h("p", {}, `And ${count(why.more_domains + Math.max(0, why.domains.length - 20))} more queues.`) : null);
}

function whyDomain(one) {
  const { site } = one;
  const fact = (name, ...text) => [h("dt", {}, name), h("dd", {}, text)];
  const facts = [];
  if (one.source) facts.push(fact("Source", foreign(one.source), one.pool && one.pool !== one.source ? [" of pool ", foreign(one.pool)] : ""));
  if (one.source_down) facts.push(fact("Source", "sends nothing: ", foreign(one.source_down), "; looked at again ", time(one.source_next_look)));
  if (one.no_site) facts.push(fact("Route", "not known now: ", foreign(one.no_site)));
  if (site) {
    facts.push(fact(site.route === "mx" ? "MX" : "Route", foreign(site.hosts.join(", ") || site.route)));
    facts.push(fact("Connections", `${count(site.connections)} of ${count(site.connections_max)} `, h("small", {}, foreign(site.limit))));
    const lines = ["connection_rate", "message_rate", "recipient_rate"].concat(Object.keys(site).filter((name) => name.endsWith("_rate") && name !== "window_rate"));
    for (const line of new Set(lines)) if (typeof site[line] === "string") facts.push(fact("Rate", foreign(site[line])));
    if (known(site.window_rate)) facts.push(fact("Window", `${rate(site.window_rate)} messages a second (adaptive window)`));
    if (site.closed_until) facts.push(fact("Closed", "opens ", time(site.closed_until), site.failures ? `, after ${plural(site.failures, "failure")} in a row` : "", site.error ? [": ", foreign(site.error)] : ""));
    for (const of of site.providers || []) facts.push(fact("Provider", h("a", { href: href("sites", { provider: of.provider }) }, foreign(of.provider)), `: ${count(of.connections)} of ${known(of.connections_max) ? count(of.connections_max) : "any number of"} connections `, of.limit ? h("small", {}, foreign(of.limit)) : ""));
  }
  const waits = [["ready", one.ready], ["deferred", one.deferred], ["suspended", one.suspended], ["held", one.held]].filter(([, number]) => number > 0);
  return h("div", { class: "destination" }, h("h4", {}, queueLink({ domain: one.domain }, foreign(one.domain)), waits.map(([state, number]) => [" ", stateBadge(state), ` ${count(number)}`])), h("dl", {}, facts));
}

const message = {
  title: "Message",
  enter({ rest }) {
    live.want("");
    Object.assign(this, { id: rest, told: null, error: null, why: null, whyError: null });
    this.load();
  },
  leave() { if (this.given) this.given.abort(); },
  async load() {
    if (this.given) this.given.abort();
    const given = new AbortController();
    this.given = given;
    const one = async (ask, keep, fail) => { try { this[keep] = await ask(); this[fail] = null; } catch (error) { if (error.code !== "left") this[fail] = error; } app.redraw(); };
    await Promise.all([
      one(() => get(`/control/v1/queue/message/${encodeURIComponent(this.id)}`, {}, given.signal), "told", "error"),
      one(() => askWhy({ id: this.id }, given.signal), "why", "whyError"),
    ]);
  },
  draw() {
    const { id, told, error } = this;
    const back = h("a", { href: queue.text === undefined ? "#/queue" : href("queue", { q: queue.text }) }, "Back to the queue");
    if (error && error.status === 404) {
      return [heading(["Message ", code(id)], back), h("div", { class: "empty" }, h("p", {}, foreign(capital(error.message)), "."),
        h("p", {}, "A command finds it in the log: ", h("code", {}, `relevo log find --id ${plain(id)}`)))];
    }
    // A tenant's token sees what a message waits for, and may move it.
    const isOfNode = error && error.code === "tenant";
    if (error && !isOfNode) return [heading(["Message ", code(id)], back), failure(error, () => this.load())];
    if (!told && !isOfNode) return [heading(["Message ", code(id)], back), loading()];
    const f = { id };
    const again = () => this.load();
    const fact = (name, ...value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
    const head = heading(["Message ", code(id)], back, act("Try now …", "operate", () => change("retry", f, again)), act("Hold …", "operate", () => change("hold", f, again)),
      act("Release …", "operate", () => change("release", f, again)), act("Bounce …", "operate", () => change("bounce", f, again), { class: "danger" }), isOfNode ? null : act("Download", "admin", () => download(told.id)), h("button", { type: "button", onclick: again }, "Load anew"));
    const why = section("Why it waits", null, this.whyError ? h("div", { class: "empty" }, foreign(capital(this.whyError.message)), ".") : this.why ? whyOf(this.why) : loading("Asking what it waits for …"));
    if (isOfNode) {
      return [head, why, h("div", { class: "empty" }, h("p", {}, "More of a message is told to tokens of the whole node alone; yours is for tenant ", foreign(session.tenant), ". Its rows are in ", queueLink({ id }, "the queue"), "."))];
    }
    return [
      head,
      h("dl", { class: "facts" }, fact("Sender", address(told.sender)), fact("Accepted", time(told.accepted)), fact("Given up", time(told.expires)), fact("Size", bytes(told.size)),
        fact("Recipients", `${count(told.left)} of ${count(told.recipients)} left`), fact("Under way", count(told.under_way))),
      why,
      section("Recipients that are not settled", told.live.length < told.left ? h("span", { class: "as-of" }, `the first ${count(told.live.length)} of ${count(told.left)}`) : null, liveTable(told)),
      told.live.filter((one) => one.dialogue && one.dialogue.length).slice(0, 10).map((one) => section("Last failed attempt", h("span", { class: "as-of" }, address(one.address)), dialogue(one.dialogue))),
      section("In queues", null, waitingTable(told)),
    ];
  },
};

// The message as it was accepted, into a file: a link cannot say who asks.
async function download(id) {
  try {
    const answer = await fetch(`/control/v1/queue/message/${encodeURIComponent(id)}/content`, { headers: fields(), cache: "no-store", credentials: "omit" });
    if (!answer.ok) throw await refusal(answer);
    const link = h("a", { href: URL.createObjectURL(await answer.blob()), download: `${id}.eml` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  } catch (error) { notice(`It was not downloaded: ${error instanceof Refused ? error.message : "the relay cannot be reached"}.`); }
}

function liveTable(told) {
  const rows = told.live.map((one) => ({ key: one.address, cells: [address(one.address), count(one.attempts), one.next_attempt ? time(one.next_attempt) : none(), one.last_reply ? h("span", { class: "said" }, foreign(one.last_reply)) : none("nothing yet")] }));
  return table({ caption: "Recipients", columns: [{ label: "Recipient", cls: "wordy" }, { label: "Attempts", num: true }, { label: "Next attempt" }, { label: "Last reply", cls: "wordy" }], rows, empty: "All are settled." });
}

function waitingTable(told) {
  const rows = told.waiting.map((one) => ({ key: `${one.domain} ${one.state} ${one.next_attempt}`, cells: [queueLink({ domain: one.domain }, foreign(one.domain)), one.site ? queueLink({ site: one.site }, foreign(one.site)) : none("not known until it is tried"), stateBadge(one.state), count(one.count),
    one.next_attempt ? time(one.next_attempt) : none(), one.site_closed_until ? time(one.site_closed_until) : none() ] }));
  return table({ caption: "In queues", columns: [{ label: "Domain", cls: "wordy" }, { label: "Site", cls: "wordy left" }, { label: "State" }, { label: "Recipients", num: true }, { label: "Next attempt" }, { label: "Site closed until" }], rows, empty: "Nothing of it is in a queue: a connection has it." });
}

const dialogue = (lines) => h("ol", { class: "dialogue", tabindex: "0", "aria-label": "Dialogue with the receiver" }, lines.map((line) =>
  h("li", { class: line.startsWith("<") ? "in" : "out" }, h("span", { class: "sr" }, line.startsWith("<") ? "Receiver: " : "Relay: "), foreign(line))));
