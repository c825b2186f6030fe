// Suspensions: what is held back, why, by whom and until when.

const EFFECTS = { wait: "mail waits", return: "mail is returned", set: "a limit is set", redirect: "mail goes elsewhere" };

const suspensions = {
  title: "Suspensions",
  enter() { live.want(""); this.list = null; this.load(); this.again(); },
  leave() { clearTimeout(this.timer); },
  again() { clearTimeout(this.timer); this.timer = setTimeout(async () => { if (!document.hidden) await this.load(); if (app.view === this) this.again(); }, EVERY); },
  async load() {
    try { this.list = (await get("/control/v1/suspensions")).suspensions; this.error = null; } catch (error) { this.error = error; }
    app.redraw();
  },
  draw() {
    const list = this.list || [];
    const rows = list.map((one) => ({ key: one.id, cells: [
      count(one.id), [foreign(one.mail), h("small", { class: "under" }, foreign(one.reason))],
      [badge(EFFECTS[one.effect] || plain(one.effect), one.effect === "return" ? "bad" : "warn"), one.key ? h("small", { class: "under" }, foreign(`${one.key} = ${one.value}`)) : null, one.to ? h("small", { class: "under" }, "to ", foreign(one.to)) : null],
      foreign(one.by), [time(one.until), h("small", { class: "under" }, "since ", time(one.since))],
      h("div", { class: "row-acts" }, queueable(one) ? h("a", { href: href("queue", { q: search(queueable(one)) }) }, "Queue") : null,
        act("Resume …", "operate", () => resume({ id: one.id, mail: one.mail, why: one.reason }, () => this.load()), { class: "small", "aria-label": `Resume suspension ${one.id}` })) ] }));
    const columns = [{ label: "No." }, { label: "Mail, and why", cls: "wordy text" }, { label: "Effect" }, { label: "By", cls: "wordy" }, { label: "Until" }, { label: "Actions", cls: "do" }];
    return [
      heading("Suspensions", "Decisions of operators and of rules of the shaping files. They outlive a restart and end by themselves.", act("Suspend …", "operate", askScope)),
      this.error ? failure(this.error, () => this.load()) : null,
      this.list ? table({ caption: "Suspensions", columns, rows, empty: "Nothing is suspended. A domain, site, provider, tenant, campaign, source or pool can be: here, in the queue, or by relevo suspend." }) : this.error ? null : loading(),
    ];
  },
};

function queueable(one) {
  const filters = {};
  for (const name of SCOPES) if (one[name]) filters[name] = one[name];
  return Object.keys(filters).length ? filters : null;
}

function askScope() {
  const scope = h("select", { name: "scope" }, SCOPES.map((name) => h("option", { value: name }, name)));
  const value = h("input", { type: "text", name: "value", required: true, autocomplete: "off", placeholder: "example.org" });
  question({
    title: "Suspend", tells: "Mail that comes meanwhile is taken, and waits too.", verb: "Go on",
    fields: [field("What", scope), field("Its name (required)", value)],
    async run(of) {
      document.querySelector("dialog").close();
      change("suspend", { [of.scope]: of.value }, () => suspensions.load());
      return "";
    },
  });
}
