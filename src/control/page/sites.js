// Providers and sites: what is queued there, what limits hold, what the adaptive window made of them, and what was said last.

const EVERY = 5000;

// A page of rows that is asked for again now and then, its rows in the order in which they were first seen: nothing jumps.
class Pages {
  constructor(path, name, changed) { Object.assign(this, { path, name, changed, cursors: [""], rows: null, next: null, error: null, query: {}, missing: new Map() }); }
  begin(query) {
    this.stop();
    Object.assign(this, { query, cursors: [""], rows: null, next: null, error: null, missing: new Map() });
    return this.load();
  }
  stop() { if (this.given) this.given.abort(); clearTimeout(this.timer); }
  get cursor() { return this.cursors[this.cursors.length - 1]; }
  // Records may have to be looked through first: then pages come without rows, and say how far that is.
  async load() {
    if (this.given) this.given.abort();
    const given = new AbortController();
    this.given = given;
    this.busy = true;
    if (this.cursors.length < 2) this.missing = new Map();
    this.changed();
    try {
      let cursor = this.cursor;
      for (;;) {
        const told = await get(this.path, { ...this.query, cursor }, given.signal);
        this.told = told;
        this.rows = told[this.name] || [];
        this.next = told.next;
        this.scanned = told.scanned || null;
        // Of a cluster: who did not answer, on any page.
        for (const one of told.missing || []) this.missing.set(`${one.node} ${one.url}`, one);
        this.error = null;
        if (this.rows.length || !told.next) break;
        cursor = told.next;
        this.changed();
      }
    } catch (error) {
      if (given.signal.aborted) return;
      // A restart made it old: the first page is asked for, without a word.
      if (error.code === "old_cursor" && this.cursors.length > 1) { this.cursors = [""]; this.busy = false; this.load(); return; }
      this.error = error;
    }
    if (given === this.given) { this.busy = false; this.changed(); }
  }
  forward() { if (this.next) { this.cursors = [...this.cursors.slice(-200), this.next]; this.rows = null; this.load(); } }
  back() { if (this.cursors.length > 1) { this.cursors = this.cursors.slice(0, -1); this.rows = null; this.load(); } }
  pager(what) {
    if (!this.rows || (this.cursors.length < 2 && !this.next)) return null;
    const off = (is) => (is ? null : "true");
    return h("nav", { class: "pager", "aria-label": `Pages of ${what}` },
      h("button", { type: "button", "aria-disabled": off(this.cursors.length > 1), onclick: () => this.back() }, "‹ Previous"),
      h("span", {}, `Page ${count(this.cursors.length)}`),
      h("button", { type: "button", "aria-disabled": off(this.next), onclick: () => this.forward() }, "Next ›"));
  }
  searching() {
    const of = this.scanned;
    if (!of || !this.busy) return null;
    return h("div", { class: "searching", role: "status" }, `Looking through records: ${count(of.messages)} of about ${count(of.of)} messages`, h("progress", { max: String(Math.max(1, of.of)), value: Math.min(of.messages, of.of), "aria-label": "Messages looked through" }));
  }
}

const sites = {
  title: "Providers",
  narrow: new Pages("/control/v1/sites", "rows", () => app.redraw()),
  all: new Pages("/control/v1/sites", "rows", () => app.redraw()),
  enter({ query }) {
    live.want("");
    this.provider = query.get("provider") || "";
    this.narrow.begin({ provider: this.provider, narrowed: 1 });
    this.all.begin({ provider: this.provider });
    this.again();
  },
  again() {
    clearTimeout(this.timer);
    this.timer = setTimeout(async () => {
      if (!document.hidden && !this.all.busy && !this.narrow.busy) await Promise.all([this.narrow.load(), this.all.load()]);
      if (app.view === this) this.again();
    }, EVERY);
  },
  leave() { clearTimeout(this.timer); this.narrow.stop(); this.all.stop(); },
  draw(o) {
    const of = this.provider;
    return [
      heading(of ? ["Provider ", foreign(of)] : "Providers and sites",
        of ? h("a", { href: "#/sites" }, "All providers") : "A site is a sorted set of MX hosts; a provider is who runs sites, by the shaping files. Limits hold for each.",
        of ? [queueLink({ provider: of }, "Its queue"), act("Redirect …", "operate", () => change("redirect", { provider: of })), act("Suspend …", "operate", () => change("suspend", { provider: of }, () => this.all.load()))] : null),
      of ? null : providerTable(o),
      section("Narrowed or closed", h("span", { class: "as-of" }, "the adaptive window is below the limit, or the site rests"), siteTable(this.narrow, "Narrowed sites", "No site is narrowed: all limits in force are the configured ones.")),
      section("All sites", null, siteTable(this.all, "All sites", of ? "No site of this provider is known now: sites appear when mail for them is tried." : "No site is known yet: sites appear when mail for them is tried.")),
    ];
  },
};

function providerTable(o) {
  const list = [...((o && o.providers) || [])].sort((a, b) => (b.narrowed > 0) - (a.narrowed > 0) || b.recipients - a.recipients);
  const rows = list.map((one) => ({ key: one.name, cells: [
    one.name === "other" ? none("other") : h("a", { href: href("sites", { provider: one.name }) }, foreign(one.name)),
    one.narrowed ? badge(`${plural(one.narrowed, "site")} narrowed`, "warn") : one.suspended ? badge("suspended", "warn") : badge("open", "good"),
    count(one.recipients), count(one.ready), count(one.deferred), count(one.suspended), count(one.sites), count(one.connections),
    one.name === "other" ? "" : h("div", { class: "row-acts" },
      one.suspended ? act("Resume …", "operate", () => resume({ filter: { provider: one.name }, mail: `provider ${one.name}` }), { class: "small", "aria-label": `Resume ${one.name}` })
        : act("Suspend …", "operate", () => change("suspend", { provider: one.name }), { class: "small", "aria-label": `Suspend ${one.name}` })),
  ] }));
  const columns = [{ label: "Provider", cls: "wordy name" }, { label: "State" }, { label: "Queued", num: true }, { label: "Ready", num: true, cls: "spare" }, { label: "Deferred", num: true }, { label: "Suspended", num: true }, { label: "Sites", num: true, cls: "spare" }, { label: "Connections", num: true }, { label: "Actions", cls: "do" }];
  return section("Providers", o && o.queue ? asOf(o.queue.as_of) : null, o ? table({ caption: "Providers", columns, rows, empty: "No provider has mail. Providers are named in shaping files: [provider.\"name\"]." }) : unknown());
}

// Hosts at one address differ by their ports.
function placeOf(one) {
  const rest = (one.name || "").replace(/^[a-z]+:\/\//, "");
  return rest.startsWith(`${one.site}:`) && /^\d+$/.test(rest.slice(one.site.length + 1)) ? rest : one.site;
}

function siteTable(pages, caption, empty) {
  if (pages.error) return failure(pages.error, () => pages.load());
  if (!pages.rows) return loading();
  const rows = pages.rows.map((one) => {
    const name = one.name || one.site;
    const closed = one.closed_until && Date.parse(one.closed_until) > now();
    const is = one.suspended ? badge("suspended", "warn") : closed ? badge("closed", "bad") : one.narrowed ? badge("narrowed", "warn") : badge("open", "good");
    return { key: `${name} ${one.source}`, cells: [
      [queueLink({ site: name }, foreign(placeOf(one))), one.provider && !pages.query.provider ? h("small", { class: "under" }, "of ", h("a", { href: href("sites", { provider: one.provider }) }, foreign(one.provider))) : null],
      one.source ? foreign(one.source) : none("node's own"), is,
      [count(one.connections), " of ", known(one.window) && one.narrowed ? h("b", { title: "The adaptive window in force" }, count(one.window)) : count(one.connection_limit), one.narrowed ? h("small", { class: "under" }, `limit ${count(one.connection_limit)}`) : null],
      one.message_rate ? foreign(one.message_rate) : none("none"), count(one.ready),
      closed ? time(one.closed_until) : none(), one.last_reply ? h("span", { class: "reply" }, foreign(one.last_reply)) : none(),
      h("div", { class: "row-acts" }, one.suspended
        ? act("Resume …", "operate", () => resume({ filter: { site: name }, mail: `site ${one.site}`, why: one.suspended }, () => pages.load()), { class: "small", "aria-label": `Resume ${one.site}` })
        : act("Suspend …", "operate", () => change("suspend", { site: name }, () => pages.load()), { class: "small", "aria-label": `Suspend ${one.site}` })),
    ] };
  });
  const columns = [{ label: "Site", cls: "wordy name" }, { label: "Source" }, { label: "State" }, { label: "Connections", num: true }, { label: "Rate", num: true }, { label: "Ready", num: true }, { label: "Closed until" }, { label: "Last reply", cls: "wordy" }, { label: "Actions", cls: "do" }];
  return [table({ caption, columns, rows, empty }), pages.pager("sites")];
}

// Ends suspensions of this, which `id` or `filter` names.
function resume(of, then) {
  question({
    title: "Resume", meant: of.mail, tells: of.why ? `Suspended: ${plain(of.why)}. Its mail is tried again at once.` : "Its mail is tried again at once.", verb: "Resume",
    async run() {
      const ended = await post("/control/v1/resume", known(of.id) ? { id: of.id } : { filter: of.filter });
      if (then) then();
      const number = ended.suspensions.length;
      return number ? `Ended: ${plural(number, "suspension")}.` : "No suspension is of that: it may be held back by a wider one, which the list of suspensions names.";
    },
  });
}
