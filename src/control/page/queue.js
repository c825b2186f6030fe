// The queue: a search, what it means in numbers, its rows, and what can be done with all of it.

// Where all about a message is told: at its node.
const linkOf = (row) => {
  if (!row.url) return idLink(row.id);
  const href = pageOf(row.url, `#/message/${encodeURIComponent(row.id)}`);
  return href ? h("a", { class: "code", href, rel: "noreferrer" }, plain(row.id)) : code(row.id);
};

const queue = {
  title: "Queue",
  pages: new Pages("/control/v1/queue", "rows", () => app.redraw()),
  field: new SearchField((text) => {
    const to = href("queue", { q: text, nodes: queue.isWide ? "all" : "" });
    if (location.hash === to) app.enter(); else location.hash = to;
  }),
  enter({ query }) {
    live.want("");
    const text = query.get("q") || "";
    if (document.activeElement !== this.field.input || this.text !== text) this.field.input.value = text;
    const { filters, wrong } = parse(text);
    this.isWide = Boolean(session.me.cluster) && query.get("nodes") === "all";
    this.pages.path = this.isWide ? "/control/v1/cluster/queue" : "/control/v1/queue";
    Object.assign(this, { text, filters, wrong: wrong ? new Refused(0, wrong, "bad_filter") : null, counted: null, countError: null, why: null, whyError: null, whyPart: null });
    if (wrong) return;
    this.pages.begin({ ...filters, limit: 100 });
    this.count();
  },
  leave() { this.pages.stop(); if (this.counting) this.counting.abort(); if (this.asking) this.asking.abort(); },
  async count() {
    if (this.counting) this.counting.abort();
    const given = new AbortController();
    this.counting = given;
    try {
      await countAll(`${this.pages.path}/count`, this.filters, (counted) => { this.counted = counted; app.redraw(); }, given.signal);
    } catch (error) { if (error.code !== "left") this.countError = error; }
    app.redraw();
  },
  again() { this.pages.load(); this.count(); },
  async ask() {
    if (this.asking) this.asking.abort();
    const given = new AbortController();
    this.asking = given;
    this.why = "asking";
    this.whyError = null;
    app.redraw();
    try { this.why = await askWhy(this.filters, given.signal, (part) => { this.whyPart = part; app.redraw(); }); } catch (error) {
      if (error.code === "left") return;
      this.why = null;
      this.whyError = error;
    }
    app.redraw();
  },
  draw() {
    const is = (error) => (error.code === "bad_filter" || error.code === "bad_request");
    return [
      heading("Queue", "What is accepted and not settled, by any of the filters that commands have."),
      keep(this.field.form), this.reach(),
      this.wrong ? h("div", { class: "verdict bad", role: "alert" }, h("b", {}, "✕ That search is not understood"), h("p", {}, foreign(capital(this.wrong.message)), ".")) : null,
      !this.wrong && this.pages.error && is(this.pages.error) ? h("div", { class: "verdict bad", role: "alert" }, h("b", {}, "✕ That search is not understood"), h("p", {}, foreign(capital(this.pages.error.message)), ".")) : null,
      this.wrong || (this.pages.error && is(this.pages.error)) ? null : [this.missing(), this.numbers(), this.reasons(), this.table()],
    ];
  },
  // Whose queue is searched.
  reach() {
    if (!session.me.cluster) return null;
    const to = (words, wide) => h("button", { type: "button", "aria-pressed": String(this.isWide === wide), onclick: () => { location.hash = href("queue", { q: this.text, nodes: wide ? "all" : "" }); } }, words);
    return h("div", { class: "reach" }, h("div", { class: "segments", role: "group", "aria-label": "Nodes that are searched" }, to("This node", false), to("All nodes", true)),
      this.isWide ? h("small", {}, "of ", foreign(session.me.cluster), "; what is done with mail is done on its node") : null);
  },
  // Nodes whose mail is not among the rows: what is shown is never less than it says.
  missing() {
    const all = [...this.pages.missing.values()];
    if (!this.isWide || !all.length) return null;
    return h("div", { class: "verdict warn", role: "alert" }, h("b", {}, `! The mail of ${plural(all.length, "node")} is missing here`),
      h("ul", {}, all.map((one) => h("li", {}, foreign(one.node), ": ", foreign(one.words), "."))));
  },
  numbers() {
    const of = this.counted;
    const f = this.filters;
    const outside = Object.keys(f).filter((name) => !SCOPES.includes(name));
    const again = () => this.again();
    const whole = Object.keys(f).length === 0;
    const wide = this.isWide ? { why: "What is done with mail is done on its node: search this node, or open the page of the other." } : null;
    const part = (state) => h("span", {}, stateBadge(state), " ", h("b", {}, count(of[state])));
    return h("div", { class: "found" },
      h("div", { class: "numbers", role: "status" }, of ? [h("b", { class: "big" }, count(of.recipients)), h("span", {}, ` ${of.recipients === 1 ? "recipient" : "recipients"}${of.next ? " so far …" : ""} in ${plural(of.groups, "group")}`),
        ["ready", "deferred", "suspended", "held"].filter((state) => of[state]).map(part), of.under_way ? h("span", {}, `${count(of.under_way)} under way`) : null] : this.countError ? h("span", { class: "error" }, foreign(capital(this.countError.message))) : "Counting …"),
      h("div", { class: "acts", role: "group", "aria-label": whole ? "Do with all mail" : "Do with what is found" },
        act("Why?", "read", () => this.ask(), wide || (whole ? { why: session.tenant ? "Narrow the search first." : "Narrow the search first: what all mail waits for is on the overview." } : {})),
        act("Try now …", "operate", () => change("retry", f, again), wide), act("Hold …", "operate", () => change("hold", f, again), wide), act("Release …", "operate", () => change("release", f, again), wide),
        act("Suspend …", "operate", () => change("suspend", f, again), wide || (outside.length ? { why: `A suspension names ${SCOPES.join(", ")}; not ${outside.join(", ")}. Hold does.` } : {})),
        act("Redirect …", "operate", () => change("redirect", f, again), wide || (whole || Object.keys(f).some((name) => !REDIRECTED.includes(name)) ? { why: `What is redirected is named by ${REDIRECTED.join(", ")}.` } : session.tenant ? { why: `A redirection is of all mail that goes there, and your token is for tenant ${session.tenant} alone.` } : {})),
        act("Bounce …", "operate", () => change("bounce", f, again), { ...wide, class: "danger" })));
  },
  reasons() {
    if (this.whyError) return failure(this.whyError, () => this.ask());
    if (this.why === "asking") return loading(this.whyPart && this.whyPart.scanned ? `Looked through ${count(this.whyPart.scanned.messages)} of about ${count(this.whyPart.scanned.of)} messages …` : "Asking what it waits for …");
    return this.why ? section("Why it waits", h("button", { type: "button", class: "small", onclick: () => { this.why = null; app.redraw(); } }, "Close"), whyOf(this.why)) : null;
  },
  table() {
    const { pages } = this;
    if (pages.error) return failure(pages.error, () => pages.load());
    if (!pages.rows || (!pages.rows.length && pages.busy)) return pages.searching() || loading();
    const rows = pages.rows.map((row) => {
      const [first, ...more] = row.recipients;
      const left = row.count - 1;
      const until = row.state === "suspended" ? row.suspended : row.hold || row.suspended;
      return { key: `${row.node || ""} ${row.id} ${row.domain} ${first || ""}`, cells: [
        [linkOf(row), this.isWide ? h("small", { class: "under" }, h("span", { class: "sr" }, "at "), foreign(row.node)) : null], stateBadge(row.state),
        row.damaged ? h("span", { class: "error" }, "its record cannot be read") : [first === undefined ? queueLink({ domain: row.domain }, foreign(row.domain)) : address(first), left > 0 ? h("small", { class: "under", title: more.map(plain).join(", ") }, `and ${count(left)} more in `, foreign(row.domain)) : null, h("small", { class: "under" }, h("span", { class: "sr" }, "from "), address(row.sender))],
        row.accepted ? time(row.accepted, brief(Math.max(0, now() - Date.parse(row.accepted)) / 1000)) : none(), count(row.attempts),
        row.next_attempt ? time(row.next_attempt) : row.site_closed_until ? ["site closed, ", time(row.site_closed_until)] : none({ suspended: "when it is resumed", held: "when it is released" }[row.state] || "due"),
        [row.last_reply ? h("span", { class: "reply" }, foreign(row.last_reply)) : none(), until ? h("small", { class: "under" }, foreign(until)) : null],
      ] };
    });
    const columns = [{ label: this.isWide ? "Message, node" : "Message", cls: "id" }, { label: "State" }, { label: "Recipients, sender", cls: "wordy people" }, { label: "Age", num: true }, { label: "Tries", num: true, title: "Attempts so far" }, { label: "Next attempt" }, { label: "Last reply", cls: "wordy text" }];
    const none_ = Object.keys(this.filters).length
      ? ["Nothing of that waits. ", h("a", { href: href("log", { domain: this.filters.domain }) }, "The log"), " tells what becomes of mail, and ", h("a", { href: href("suppressions", { address: this.filters.recipient }) }, "the suppression list"), " who gets none."]
      : "The queue is empty: all that was accepted is settled.";
    return [h("div", { class: "table-head" }, h("span", {}, pages.busy ? "Loading …" : `${plural(pages.rows.length, "row")} of this page`), h("button", { type: "button", class: "small", onclick: () => this.again() }, "Load anew")),
      pages.searching(), table({ caption: this.isWide ? "Queues of all nodes" : "Queue", columns, rows, empty: none_, cls: "queue" }), pages.pager("the queue")];
  },
};
