// Templates of mail: a list, and an editor that shows what is written as it will be read, on a phone and on a desk.

const TEMPLATES = "/control/v1/templates";
// So long nothing is typed until it is looked at, milliseconds.
const TYPED = 450;
// As wide as mail is read at a desk: made smaller where there is less room.
const DESK = 800;

const templates = {
  title: "Templates",
  pages: new Pages(TEMPLATES, "templates", () => app.redraw()),
  enter({ rest, query }) {
    live.want("");
    this.editor = null;
    if (rest) { this.editor = new Editor(rest, query.get("partial") === "1", query.get("version")); return; }
    this.query = { tenant: query.get("tenant") || "" };
    this.pages.begin({ ...this.query, limit: 100 });
  },
  leave() { this.pages.stop(); if (this.editor) this.editor.leave(); },
  draw() {
    if (this.editor) return this.editor.draw();
    const { pages } = this;
    const rows = (pages.rows || []).map((one) => ({ key: one.uuid, cells: [
      h("a", { href: `#/templates/${one.uuid}` }, foreign(one.name)), one.partial ? badge("partial", "") : "mail", one.subject ? foreign(one.subject) : none(),
      one.category ? foreign(one.category) : none(), one.tenant ? foreign(one.tenant) : none("the node"), count(one.version), time(one.changed) ] }));
    const columns = [{ label: "Name", cls: "wordy" }, { label: "Kind", cls: "left" }, { label: "Subject", cls: "wordy" }, { label: "Category", cls: "left" }, { label: "Tenant", cls: "left" }, { label: "Version", num: true }, { label: "Changed" }];
    const begin = (partial) => act(partial ? "New partial" : "New template", "operate", () => { location.hash = `#/templates/new${partial ? "?partial=1" : ""}`; }, partial ? {} : { class: "primary" });
    return [
      heading("Templates", "What mail says, with names for what differs from one to the next.", begin(false), begin(true)),
      pages.error ? failure(pages.error, () => pages.load()) : pages.rows ? [table({ caption: "Templates", columns, rows, empty: ["There are none yet. Make one here, or by ", h("code", {}, "relevo template add welcome --subject 'Welcome, {{name}}' --html welcome.html"), "."] }), pages.pager("the list")] : loading(),
    ];
  },
};

class Editor {
  constructor(uuid, isPartial, version) {
    Object.assign(this, { uuid: uuid === "new" ? null : uuid, isPartial, wanted: version, template: null, versions: [], error: null, fault: null, made: null, width: innerWidth < 700 ? "phone" : "desk", changed: false, given: new AbortController(), timer: null });
    const text = (name, label, note, rows, more) => field(label, h("textarea", { name, rows: String(rows), spellcheck: "false", class: "source", ...more }), note);
    const line = (name, label, note) => field(label, h("input", { type: "text", name, autocomplete: "off" }), note);
    this.form = h("form", { class: "editor", novalidate: true, oninput: () => this.typed(), onsubmit: (event) => { event.preventDefault(); this.save(); } },
      h("div", { class: "pair" }, line("name", "Name (required)", isPartial ? "Others call it by that: {{> name}}" : null), isPartial ? null : line("category", "Category", "What its mail is counted under"), this.uuid || session.tenant ? null : line("tenant", "Tenant", "Empty: the node's own")),
      isPartial ? null : line("subject", "Subject"),
      text("html", "HTML", null, 16), text("text", "Text", "Empty: it is made from the HTML.", 5), text("sample", "Sample data (JSON)", "What the preview is made with.", 6),
      h("details", {}, h("summary", {}, "Variables and style sheets"),
        text("variables", "Variables (JSON)", "[{\"name\": \"shop\", \"default\": \"Our shop\"}]: what is not in the data and has no default is refused.", 4),
        h("label", { class: "check" }, h("input", { type: "checkbox", name: "keep_css" }), "Leave style sheets as they are: put their rules into no element")));
    this.frame = h("iframe", { sandbox: "", title: "Preview", referrerpolicy: "no-referrer" });
    this.sheet = h("div", { class: "sheet" }, this.frame);
    this.watch = new ResizeObserver(() => this.fit());
    this.watch.observe(this.sheet);
    this.begin();
  }
  leave() { this.given.abort(); clearTimeout(this.timer); this.watch.disconnect(); }
  fit() {
    const room = this.sheet.clientWidth;
    if (!room) return;
    const wide = this.width === "desk" ? Math.max(DESK, room) : room;
    Object.assign(this.frame.style, { width: `${wide}px`, height: `${Math.round((this.sheet.clientHeight * wide) / room)}px`, transform: wide > room ? `scale(${room / wide})` : "none" });
  }
  get path() { return `${TEMPLATES}/${encodeURIComponent(this.uuid)}`; }
  input(name) { return this.form.elements.namedItem(name); }
  async begin() {
    if (!this.uuid) {
      this.put(this.isPartial ? { html: "<p>{{shop}}, Main Street 1</p>", sample: { shop: "Our shop" } }
        : { subject: "Welcome, {{name}}", html: "<style>\n  h1 { color: #2352c7 }\n<" + "/style>\n<h1>Welcome, {{name}}</h1>\n<p>It is good to have you.</p>\n", sample: { name: "Ada" } });
      this.look();
      return;
    }
    try {
      const shown = await get(this.path, { version: this.wanted }, this.given.signal);
      this.template = shown.template;
      this.isPartial = shown.template.partial;
      this.version = shown.version;
      this.input("name").value = shown.template.name;
      for (const name of ["subject", "category"]) if (this.isPartial && this.input(name)) this.input(name).closest(".field").remove();
      this.put(shown.contents);
      this.versions = (await get(`${this.path}/versions`, {}, this.given.signal)).versions;
      this.look();
    } catch (error) { if (error.code !== "left") this.error = error; }
    app.redraw();
  }
  put(contents) {
    const json = (value, empty) => (value && Object.keys(value).length ? JSON.stringify(value, null, 2) : empty);
    const values = { subject: contents.subject || "", category: contents.category || "", html: contents.html || "", text: contents.text || "", sample: json(contents.sample, "{}"), variables: json(contents.variables, "") };
    for (const [name, value] of Object.entries(values)) if (this.input(name)) this.input(name).value = value;
    this.input("keep_css").checked = Boolean(contents.keep_css);
    this.changed = false;
  }
  // Whose it is; nothing: the node's, or that of the token.
  get tenant() { return (this.template && this.template.tenant) || (!this.template && this.input("tenant") && this.input("tenant").value.trim()) || undefined; }
  // What is written there. A fault: what of it is no JSON.
  contents() {
    const value = (name) => (this.input(name) ? this.input(name).value : "");
    const json = (name, words, empty) => {
      if (value(name).trim() === "") return empty;
      try { return JSON.parse(value(name)); } catch (error) { throw new Refused(0, `${words}: ${error.message}`, "template"); }
    };
    const contents = { subject: value("subject"), category: value("category").trim(), sample: json("sample", "sample data", {}), variables: json("variables", "variables", []), keep_css: this.input("keep_css").checked };
    if (value("html").trim()) contents.html = value("html");
    if (value("text").trim()) contents.text = value("text");
    return contents;
  }
  typed() {
    this.changed = true;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), TYPED);
    app.redraw();
  }
  async look() {
    if (this.looking) this.looking.abort();
    const looking = new AbortController();
    this.looking = looking;
    this.given.signal.addEventListener("abort", () => looking.abort(), { once: true });
    try {
      this.made = await post(`${TEMPLATES}/preview`, { contents: this.contents(), tenant: this.tenant }, looking.signal);
      this.fault = null;
      if (this.made.frame) this.frame.src = this.made.frame;
    } catch (error) {
      if (error.code === "left") return;
      this.fault = error;
    }
    app.redraw();
  }
  async save() {
    const name = this.input("name").value.trim();
    if (!name) { notice("Name: that is needed."); this.input("name").focus(); return; }
    try {
      const contents = this.contents();
      const saved = this.uuid ? await post(this.path, { name, contents }) : await post(TEMPLATES, { name, tenant: this.tenant, partial: this.isPartial, contents });
      notice(`${plain(name)}: version ${saved.version} is saved. The next mail is of it.`);
      if (!this.uuid) { location.hash = `#/templates/${saved.template.uuid}`; return; }
      Object.assign(this, { template: saved.template, version: saved.version, changed: false, fault: null });
      this.versions = (await get(`${this.path}/versions`, {}, this.given.signal)).versions;
    } catch (error) { if (error.code !== "left") { this.fault = error; notice(`Not saved. ${capital(error.message)}.`); } }
    app.redraw();
  }
  test() {
    question({
      title: "Send a mail of it", meant: this.template.name, verb: "Send", tells: this.changed ? "Of the version that is saved: what was changed since is not in it." : "With the sample data, through the relay as any mail.",
      fields: [field("From (required)", h("input", { type: "text", name: "from", required: true, autocomplete: "email" }), "An address that this relay may send for"), field("To (required)", h("input", { type: "text", name: "to", required: true, autocomplete: "email" }))],
      run: async (of) => {
        const { id } = await post(`${this.path}/test`, { from: of.from, to: of.to, ...(this.wanted ? { version: Number(this.wanted) } : {}) });
        return `It is on its way: ${id}.`;
      },
    });
  }
  remove() {
    question({
      title: "Remove the template", meant: this.template.name, verb: "Remove", danger: true, tells: this.isPartial ? "Templates that call it cannot be sent any more." : "Who sends it is refused from now on. All its versions are gone.", fields: [],
      run: async () => { await ask("DELETE", this.path); setTimeout(() => { location.hash = "#/templates"; }, 900); return "It is removed."; },
    });
  }
  draw() {
    if (this.error) return [heading("Templates"), failure(this.error)];
    const { template, made, width } = this;
    const old = template && this.version !== template.version;
    const says = template ? [`Version ${template.version}, changed `, time(template.changed), old ? `; what is shown is version ${this.version}: saving makes it the newest` : "", this.changed ? "; not saved yet" : ""] : "Nothing is kept until it is saved.";
    const seen = (name, words) => h("button", { type: "button", "aria-pressed": String(width === name), onclick: () => { this.width = name; this.fit(); app.redraw(); } }, words);
    const hasHtml = made && made.html !== null && made.html !== undefined;
    this.sheet.className = `sheet ${width}`;
    this.sheet.hidden = width === "text" || !hasHtml;
    return [
      heading(template ? template.name : this.isPartial ? "New partial" : "New template", says,
        act("Save", "operate", () => this.save(), { class: "primary" }), template && !this.isPartial ? act("Send a test …", "operate", () => this.test()) : null, template ? act("Remove …", "operate", () => this.remove()) : null),
      h("div", { class: "writing" }, h("div", {}, keep(this.form)),
        h("section", { class: "preview", "aria-label": "Preview" },
          h("div", { class: "panel-head" }, h("h2", {}, "Preview"), h("div", { class: "segments" }, seen("phone", "Phone"), seen("desk", "Desktop"), seen("text", "Text"))),
          this.fault ? h("div", { class: "verdict bad", role: "alert" }, h("b", {}, "✕ That cannot be rendered"), h("p", {}, foreign(capital(this.fault.message)), ".")) : null,
          made && !this.isPartial ? h("p", { class: "subject" }, h("small", {}, "Subject"), " ", made.subject ? foreign(made.subject) : none("(empty)")) : null,
          keep(this.sheet),
          width === "text" || (made && !hasHtml) ? h("pre", { class: "as-text", tabindex: "0", "aria-label": "Text" }, made && made.text ? plainly(made.text) : "There is no text.") : null,
          h("p", {}, h("small", {}, "Sealed off: nothing in it runs, and pictures of other hosts are not fetched.")))),
      this.versions.length > 1 ? section("Versions", h("span", { class: "as-of" }, "the latest 20 are kept"), table({
        caption: "Versions", empty: "", columns: [{ label: "Version" }, { label: "Saved" }, { label: "By", cls: "wordy" }, { label: "Size", num: true }, { label: "Actions", cls: "do" }],
        rows: this.versions.map((one) => ({ key: String(one.version), cells: [count(one.version), time(one.saved), foreign(one.by), bytes(one.bytes), h("div", { class: "row-acts" }, one.version === this.version ? none("shown") : h("a", { href: `#/templates/${this.uuid}?version=${one.version}` }, "Show"))] })) })) : null,
    ];
  }
}

// Text as it is, its lines as well; what would hide or turn around others is shown as what it is.
const plainly = (text) => text.split("\n").map(plain).join("\n");
