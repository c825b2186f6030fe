// The suppression list: who gets no mail, why, since when; looked up, added to, taken from.

const REASONS = ["hard_bounce", "complaint", "unsubscribe", "manual", "imported"];

const suppressions = {
  title: "Suppression list",
  pages: new Pages("/control/v1/suppressions", "entries", () => app.redraw()),
  enter({ query }) {
    live.want("");
    this.query = Object.fromEntries(["address", "tenant", "reason", "domain"].map((name) => [name, query.get(name) || ""]));
    const { address: of, ...filters } = this.query;
    this.pages.path = of ? "/control/v1/suppressions/check" : "/control/v1/suppressions";
    this.pages.begin(of ? { address: of, tenant: this.query.tenant } : { ...filters, limit: 100 });
  },
  leave() { this.pages.stop(); },
  draw() {
    const { pages, query } = this;
    const go = (event) => {
      event.preventDefault();
      const values = Object.fromEntries([...event.currentTarget.elements].filter((input) => input.name).map((input) => [input.name, input.value.trim()]));
      location.hash = href("suppressions", values);
    };
    const input = (name, label, words) => field(label, h("input", { type: "text", id: `suppress-${name}`, name, value: query[name], placeholder: words, autocomplete: "off" }));
    const reason = field("Reason", h("select", { id: "suppress-reason", name: "reason", value: query.reason }, ["", ...REASONS].map((word) => h("option", { value: word }, word || "any"))));
    const rows = (pages.rows || []).map((one) => ({ key: `${one.address} ${one.tenant}`, cells: [
      h("bdi", {}, plain(one.address)), one.tenant ? foreign(one.tenant) : none("all mail of the node"), h("span", { class: "badge" }, plain(one.reason)), time(one.added), one.expires ? time(one.expires) : none("for good"), one.note ? foreign(one.note) : none(),
      h("div", { class: "row-acts" }, act("Remove …", "operate", () => this.remove(one), { class: "small", "aria-label": `Remove ${plain(one.address)}` })) ] }));
    const columns = [{ label: "Address", cls: "wordy" }, { label: "Whose mail", cls: "left" }, { label: "Reason", cls: "left" }, { label: "Since" }, { label: "Until" }, { label: "Note", cls: "wordy" }, { label: "Actions", cls: "do" }];
    return [
      heading("Suppression list", "Who is on it gets no mail: RCPT is refused with 550 5.7.1, or the recipient is taken and recorded as suppressed.", act("Add …", "operate", () => this.add())),
      h("form", { class: "filters", onsubmit: go, role: "search" }, input("address", "Is this address on it?", "ada@example.org"), input("domain", "Domain", "example.org"), input("tenant", "Tenant", ""), reason, h("button", { type: "submit", class: "primary" }, "Search")),
      pages.error ? failure(pages.error, () => pages.load()) : pages.rows ? [table({ caption: "Suppression list", columns, rows, empty: query.address ? ["Nothing on the list holds back mail to ", address(query.address), "."] : "The list is empty, or has nothing of that. Bounces and complaints fill it where suppression.auto says so." }), pages.pager("the list")] : loading(),
    ];
  },
  add() {
    question({
      title: "Add to the suppression list", verb: "Add", tells: "From now on no mail goes there.",
      fields: [field("Addresses (required)", h("textarea", { name: "addresses", rows: "3", required: true, spellcheck: "false" }), "One a line: ada@example.org, @example.org, *.example.org"),
        field("Tenant", h("input", { type: "text", name: "tenant", autocomplete: "off" }), session.tenant ? `Empty: ${plain(session.tenant)}` : "Empty: all mail of the node"), field("Why", h("select", { name: "reason" }, ["manual", ...REASONS.filter((word) => word !== "manual")].map((word) => h("option", { value: word }, word)))),
        field("Until", h("input", { type: "date", name: "expires" }), "Empty: for good"), field("Note (required)", h("input", { type: "text", name: "note", required: true, maxlength: "400", autocomplete: "off" }), "Why it is added: it goes into the list and the log.")],
      run: async (of) => {
        const addresses = of.addresses.split(/[\s,]+/).filter(Boolean);
        const done = await post("/control/v1/suppressions", { addresses, reason: of.reason, note: of.note, ...(of.tenant ? { tenant: of.tenant } : {}), ...(of.expires ? { expires: of.expires } : {}) });
        this.pages.load();
        return `${plural(done.changed, "entry", "entries")} added${done.known ? `, ${count(done.known)} known already` : ""}.`;
      },
    });
  },
  remove(one) {
    question({
      title: "Remove from the suppression list", meant: one.address, verb: "Remove", danger: true, tells: `It is there since ${one.added.slice(0, 10)}: ${one.reason}${one.note ? `, ${plain(one.note)}` : ""}. Mail goes there again.`,
      fields: [field("Reason (required)", h("input", { type: "text", name: "note", required: true, maxlength: "400", autocomplete: "off" }), "It goes into the log with your name.")],
      run: async (of) => {
        const done = await post("/control/v1/suppressions/remove", { addresses: [one.address], note: of.note, ...(one.tenant ? { tenant: one.tenant } : {}) });
        this.pages.load();
        return done.changed ? "Removed." : "It was not on the list any more.";
      },
    });
  },
};
