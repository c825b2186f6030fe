// The log as it is written: the last events, by kind and domain. What does not fit is dropped here, and said.

const LOG_ROWS = 1000;
const KINDS = ["received", "delivered", "deferred", "bounced", "expired", "suppressed", "discarded", "captured", "feedback", "oob_bounce", "rejected", "delayed", "admin"];
const KIND_LOOK = { delivered: "good", deferred: "wait", delayed: "wait", bounced: "bad", expired: "bad", rejected: "bad", feedback: "warn", oob_bounce: "bad", suppressed: "warn", admin: "warn" };
const AT_FIRST = ["deferred", "bounced", "expired", "rejected", "feedback", "admin"];

const log = {
  title: "Log",
  enter({ query }) {
    const kinds = (query.get("events") || "").split(",").filter((kind) => KINDS.includes(kind));
    Object.assign(this, { kinds: kinds.length ? kinds : AT_FIRST, domain: query.get("domain") || "", rows: [], waiting: [], lost: 0, seen: 0, isPaused: false, open: new Set() });
    live.want(new URLSearchParams({ events: this.kinds.join(","), ...(this.domain ? { domain: this.domain } : {}) }).toString());
    this.timer = setInterval(() => this.take(), 250);
  },
  leave() { clearInterval(this.timer); this.rows = []; this.waiting = []; },
  got(event) {
    this.seen += 1;
    this.waiting.push({ key: this.seen, event });
    if (this.waiting.length > LOG_ROWS) this.waiting.splice(0, this.waiting.length - LOG_ROWS);
  },
  // At most four times a second, however many there are.
  take() {
    if (this.isPaused || !this.waiting.length) return;
    this.rows = [...this.waiting.reverse(), ...this.rows].slice(0, LOG_ROWS);
    this.waiting = [];
    app.redraw();
  },
  draw() {
    const go = (event) => {
      event.preventDefault();
      const form = event.currentTarget;
      const kinds = [...form.querySelectorAll("[type=checkbox]")].filter((box) => box.checked).map((box) => box.value);
      location.hash = href("log", { events: kinds.join(","), domain: form.elements.domain.value.trim() });
    };
    const box = (kind) => h("label", { class: "check" }, h("input", { type: "checkbox", value: kind, checked: this.kinds.includes(kind), onchange: (event) => event.currentTarget.form.requestSubmit() }), kind);
    const toggle = () => { this.isPaused = !this.isPaused; this.take(); app.redraw(); };
    const words = this.isPaused ? `Paused; ${count(this.waiting.length)} came since${this.waiting.length >= LOG_ROWS ? " or more" : ""}.` : `${count(this.rows.length)} of the last ${count(LOG_ROWS)} shown, the newest first.`;
    return [
      heading("Log", "Events as they happen, from now on. What was before is in the log's files: relevo log find.", h("button", { type: "button", "aria-pressed": String(this.isPaused), onclick: toggle }, this.isPaused ? "Go on" : "Pause"), h("button", { type: "button", onclick: () => { this.rows = []; this.waiting = []; this.lost = 0; app.redraw(); } }, "Clear")),
      h("form", { class: "filters", onsubmit: go }, h("fieldset", {}, h("legend", {}, "Events"), h("div", { class: "checks" }, KINDS.map(box))),
        field("Domain", h("input", { type: "text", name: "domain", id: "log-domain", value: this.domain, autocomplete: "off", placeholder: "example.org" })), h("button", { type: "submit", class: "primary" }, "Filter")),
      h("p", { class: "log-state" }, words, this.lost ? h("b", {}, ` ${plural(this.lost, "event")} left out: they come faster than this browser takes them. Choose fewer kinds.`) : ""),
      this.rows.length ? h("ol", { class: "log", "aria-label": "Events, the newest first" }, this.rows.map((row) => this.row(row))) : h("div", { class: "empty" }, live.state === "live" ? "Nothing of that happened since this view was opened." : "Not live: nothing comes until the stream is there again."),
    ];
  },
  row({ key, event }) {
    const isOpen = this.open.has(key);
    const toggle = (of) => { of.preventDefault(); if (isOpen) this.open.delete(key); else this.open.add(key); if (this.open.size > 50) this.open.clear(); app.redraw(); };
    const to = event.recipients || (event.recipient ? [event.recipient] : []);
    const text = event.reply || event.reason || event.filter || "";
    return h("li", { key }, h("details", { open: isOpen }, h("summary", { onclick: toggle },
      h("time", { datetime: event.time }, String(event.time || "").slice(11, 23)), " ", badge(plain(event.event || "?"), KIND_LOOK[event.event]), " ",
      event.class ? [h("span", { class: "badge" }, plain(event.class)), " "] : "",
      h("span", { class: "who" }, to.length ? [address(String(to[0])), to.length > 1 ? ` and ${count(to.length - 1)} more` : ""] : event.sender !== undefined ? address(event.sender) : event.by ? foreign(event.by) : "", " "),
      h("span", { class: "what" }, event.action ? [foreign(event.action), " "] : "", foreign(text))),
    isOpen ? h("div", { class: "whole" }, event.id ? h("p", {}, "Message ", idLink(event.id)) : null, h("dl", {}, Object.entries(event).map(([name, value]) => [h("dt", {}, plain(name)), h("dd", {}, code(typeof value === "string" ? value : JSON.stringify(value)))]))) : null));
  },
};
