// Warm-up of sources and quotas of accounts and tenants: how much of what may be was used.

const PERIODS = { min: "minute", h: "hour", d: "day", month: "month" };
const STAGES = { "not yet": "", warming: "good", "used up": "warn", throttled: "warn", blocked: "bad", warm: "good" };

const listed = (title, path, parts) => ({
  title,
  enter() { live.want(""); this.told = null; this.load(); this.again(); },
  leave() { clearTimeout(this.timer); },
  again() { clearTimeout(this.timer); this.timer = setTimeout(async () => { if (!document.hidden) await this.load(); if (app.view === this) this.again(); }, EVERY); },
  async load() {
    try { this.told = await get(path); this.error = null; } catch (error) { this.error = error; }
    app.redraw();
  },
  draw() { return [heading(title, parts.words), this.error ? failure(this.error, () => this.load()) : null, this.told ? parts.draw(this.told) : this.error ? null : loading()]; },
});

const warmup = listed("Warm-up", "/control/v1/warmup", {
  words: "Sources whose volume grows by a plan, at each provider that mail went to. What is above the plan goes by other sources.",
  draw(told) {
    const rows = told.sources.map((each) => ({ ...each, used: each.used_by_all ?? each.used })).map((one) => ({ key: `${one.source} ${one.provider} ${one.site}`, cells: [
      foreign(one.source), [foreign(one.provider), one.site ? h("small", { class: "under" }, foreign(one.site)) : null], badge(one.state, STAGES[one.state]),
      known(one.day) ? `${count(one.day)} of ${count(one.days)}` : `– of ${count(one.days)}`, known(one.volume) ? meter(one.used, one.volume, one.used >= one.volume ? "suspended" : "ready") : none("no bound"),
      count(one.used), known(one.volume) ? count(one.volume) : none("any"), count(one.overflowed), one.behind ? `${plural(one.behind, "day")} behind` : none(), one.start ] }));
    const columns = [{ label: "Source" }, { label: "Provider", cls: "left" }, { label: "State", cls: "left" }, { label: "Day", num: true }, { label: "Today", cls: "bars" }, { label: "Sent", num: true }, { label: "Of", num: true }, { label: "By others", num: true }, { label: "Held up", num: true }, { label: "Begins", num: true }];
    return section(`Today, ${told.today} (UTC)`, null, table({ caption: "Warm-up", columns, rows, empty: "No source is in warm-up. A [[warmup]] in relevo.toml names a source, its first day and a plan." }));
  },
});

const quotas = listed("Quotas", "/control/v1/quotas", {
  words: "Recipients whose mail was taken in each period of the calendar. What is more gets 451 4.7.1 with when it begins anew. The fullest come first.",
  draw(told) {
    const rows = told.quotas.map((each) => ({ ...each, used: each.used_by_all ?? each.used, here: each.used_by_all === undefined ? null : each.used })).map((one) => ({ key: `${one.owner} ${one.name} ${one.period}`, cells: [
      foreign(one.name), one.owner, `a ${PERIODS[one.period] || one.period}`, meter(one.used, one.most, one.used >= one.most ? "suspended" : "ready"), percent(one.used, one.most), one.here === null ? count(one.used) : `${count(one.used)} (${count(one.here)} here)`, count(one.most), time(one.until),
      one.used >= one.most ? badge("used up", "bad") : one.used >= one.most * 0.8 ? badge("nearly", "warn") : badge("open", "good") ] }));
    const columns = [{ label: "Name" }, { label: "Of", cls: "left" }, { label: "Period", cls: "left" }, { label: "Used", cls: "bars" }, { label: "%", num: true }, { label: "Recipients", num: true }, { label: "At most", num: true }, { label: "Begins anew" }, { label: "State", cls: "left" }];
    return table({ caption: "Quotas", columns, rows, empty: "No account or tenant has a quota. quota = [\"50000/d\"] of an account or a [[tenant]] gives it one." });
  },
});
