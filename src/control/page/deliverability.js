// Deliverability: what became of mail by provider, tenant and campaign, and what was said.

const SPANS = [["1h", "1 hour", 3600, "minute"], ["1d", "24 hours", 86400, "hour"], ["7d", "7 days", 604800, "hour"], ["31d", "31 days", 2678400, "day"], ["400d", "400 days", 34560000, "day"]];
const BYS = [["provider", "Provider"], ["tenant", "Tenant"], ["campaign", "Campaign"], ["category", "Category"], ["source", "Source"], ["class", "Class"]];
// What is asked next of one of these: what is counted together with it.
const BELOW = { provider: "tenant", tenant: "campaign", campaign: "provider", category: "tenant", source: "tenant" };
const STEPS = { 60: "minute", 3600: "hour", 86400: "day" };
const LINES = ["delivered", "deferred", "bounced"];

// Of so many, in percent: complaints count in tenths of a thousandth.
const share = (of) => (!known(of) ? "–" : `${short(of * 100, of < 0.001 ? 3 : of < 0.1 ? 2 : 1)} %`);

// How long a delivery took.
const took = (millis) => (millis < 1000 ? `${millis} ms` : millis < 120000 ? `${short(millis / 1000, millis < 10000 ? 1 : 0)} s` : span(millis / 1000));

const deliverability = {
  title: "Deliverability",
  sums: new Chart("Recipients", "by step"),
  parts: new Chart("Deferred and bounced", "% of attempts, and of mail that ended"),
  enter(to) {
    live.want("");
    const one = (name, all, usual) => (all.some(([key]) => key === to.query.get(name)) ? to.query.get(name) : usual);
    this.by = one("by", BYS, session.tenant ? "campaign" : "provider");
    this.span = one("span", SPANS, "1d");
    this.only = Object.fromEntries(BYS.map(([name]) => [name, to.query.get(name)]).filter(([, value]) => value));
    this.told = null;
    this.rows = [];
    this.load();
    this.again();
  },
  leave() { clearTimeout(this.timer); },
  again() {
    clearTimeout(this.timer);
    this.timer = setTimeout(async () => { if (!document.hidden && this.rows.length <= 256) await this.load(); if (app.view === this) this.again(); }, EVERY);
  },
  async load(cursor) {
    const [, , seconds, step] = SPANS.find(([key]) => key === this.span);
    const asked = { by: this.by, step, since: new Date(now() - seconds * 1000).toISOString(), ...this.only, ...(cursor ? { cursor } : {}) };
    const place = location.hash;
    try {
      const told = await get("/control/v1/analytics", asked);
      if (place !== location.hash) return;
      this.rows = cursor ? [...this.rows, ...told.rows] : told.rows;
      this.told = cursor ? { ...this.told, next: told.next } : told;
      this.error = null;
      if (!cursor) this.plot(told);
    } catch (error) { if (place === location.hash) this.error = error; }
    app.redraw();
  },
  // Each step has a point, also where nothing was counted.
  plot(told) {
    const each = told.step_seconds;
    const [from, until] = [told.since, told.until].map((at) => Date.parse(at) / 1000);
    const at = new Map((told.series || []).map((point) => [Date.parse(point.at) / 1000, point.counts]));
    const steps = Array.from({ length: Math.min(1000, Math.max(0, Math.round((until - from) / each))) }, (_, place) => at.get(from + place * each));
    const ended = (of) => of.bounced + of.expired + of.returned;
    const value = { delivered: (of) => of.delivered, deferred: (of) => of.deferred, bounced: ended };
    const last = (until - each) * 1000;
    this.sums.unit = each === 3600 ? "an hour" : `a ${STEPS[each] || "step"}`;
    this.sums.set(LINES.map((name) => ({ name, cls: name, points: steps.map((of) => (of ? value[name](of) : 0)) })), last, each);
    const percent = (of, key) => (of && known(of[key]) ? of[key] * 100 : null);
    this.parts.set([["deferred", "deferral_rate"], ["bounced", "bounce_rate"]].map(([name, key]) => ({ name, cls: name, points: steps.map((of) => percent(of, key)) })), last, each);
  },
  link(more) { return href("deliverability", { by: this.by, span: this.span, ...this.only, ...more }); },
  draw() {
    const choice = (label, all, name) => h("div", { class: "segments", role: "group", "aria-label": label }, all.map(([key, words]) =>
      h("button", { type: "button", "aria-pressed": String(key === this[name]), onclick: () => { location.hash = this.link({ [name]: key }); } }, words)));
    return [
      heading("Deliverability", "What became of mail, each attempt that was put off counted by itself. A rate of bounces is of all mail that ended, a rate of complaints of what was delivered.", choice("Time shown", SPANS, "span")),
      h("div", { class: "acts sifted" }, choice("By", BYS.filter(([name]) => !session.tenant || name !== "tenant"), "by"), Object.entries(this.only).map(([name, value]) =>
        h("a", { class: "badge", href: this.link({ [name]: "" }), "aria-label": `${name} ${plain(value)}: show all again` }, `${name} `, foreign(value), h("span", { "aria-hidden": "true" }, " ✕")))),
      this.error ? failure(this.error, () => this.load()) : null,
      this.told ? this.shown(this.told) : this.error ? null : loading(),
    ];
  },
  shown(told) {
    const all = told.total;
    const gone = all.bounced + all.expired + all.returned;
    return [
      h("div", { class: "cards five" }, tile("Delivered", count(all.delivered)), tile("Deferred", count(all.deferred), share(all.deferral_rate)), tile("Bounced", count(gone), share(all.bounce_rate), all.bounce_rate > 0.05 ? "bad" : ""),
        tile("Complaints", count(all.complaints), share(all.complaint_rate), all.complaint_rate > 0.001 ? "bad" : ""),
        tile("Suppressed", count(all.suppressed)), all.latency ? tile("Half within", took(all.latency.p50_ms), `95 % in ${took(all.latency.p95_ms)}`) : null),
      told.series ? h("div", { class: "plots" }, this.sums.place(), this.parts.place()) : null,
      section(`By ${this.by}`, h("span", { class: "as-of" }, "since ", time(told.since), ` by ${STEPS[told.step_seconds] || "step"}s`), this.names(told)),
      section("What receivers say", h("span", { class: "as-of" }, "the latest of each class"), this.said(told)),
    ];
  },
  names(told) {
    const classes = (row) => row.classes.slice(0, 3).map((one, at) => [at ? " " : "", h("span", { class: "badge", title: `${CLASSES[one.class] || ""}` }, `${plain(one.class)} ${count(one.recipients)}`)]);
    const name = (row) => {
      if (row.name === "" || row.name === "other") return none(row.name || `no ${this.by}`);
      if (this.by === "class") return [h("span", { class: "badge" }, plain(row.name)), h("small", { class: "under" }, CLASSES[row.name] || "")];
      return h("a", { href: this.link({ by: BELOW[this.by] === "tenant" && session.tenant ? "campaign" : BELOW[this.by], [this.by]: row.name }) }, foreign(row.name));
    };
    const rows = this.rows.map((row) => {
      const of = row.counts;
      return { key: row.name, cells: [
        name(row), count(of.delivered), [count(of.deferred), h("small", { class: "under" }, share(of.deferral_rate))], [count(of.bounced + of.expired + of.returned), h("small", { class: "under" }, share(of.bounce_rate))],
        of.bounce_rate > 0.05 ? badge("many bounces", "bad") : of.complaint_rate > 0.001 ? badge("many complaints", "bad") : of.deferral_rate > 0.5 ? badge("mostly deferred", "warn") : badge("well", "good"),
        [count(of.complaints), h("small", { class: "under" }, share(of.complaint_rate))], classes(row) ] };
    });
    const columns = [{ label: BYS.find(([key]) => key === this.by)[1] }, { label: "Delivered", num: true }, { label: "Deferred", num: true }, { label: "Bounced", num: true }, { label: "State", cls: "left" }, { label: "Complaints", num: true }, { label: "Mostly", cls: "wordy left" }];
    return [table({ caption: `Deliverability by ${this.by}`, columns, rows, empty: "Nothing was counted in this time." }),
      told.next ? h("div", { class: "acts" }, h("button", { type: "button", onclick: () => this.load(told.next) }, "More")) : null];
  },
  said(told) {
    const rows = told.texts.map((one) => ({ key: `${one.class} ${one.text}`, cells: [
      h("span", { class: "badge" }, plain(one.class)), h("span", { class: "reply" }, foreign(one.text)), count(one.times), time(one.last),
      one.provider ? foreign(one.provider) : none(), one.tenant || one.campaign ? [foreign(one.tenant), one.campaign ? h("small", { class: "under" }, foreign(one.campaign)) : null] : none() ] }));
    const columns = [{ label: "Class" }, { label: "Text", cls: "wordy text" }, { label: "Times", num: true }, { label: "Last" }, { label: "Provider", cls: "left" }, { label: "Tenant", cls: "left" }];
    return table({ caption: "What receivers say", columns, rows, empty: "No receiver refused or put off anything in this time." });
  },
};
