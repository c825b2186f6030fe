// The search field: words of filters as commands have them, name:value, with completion.

const FILTERS = {
  domain: "in this domain, or below it: *.example.org", site: "at this site, by its name or a host of it", provider: "at a site of this provider of the shaping files",
  source: "that leaves by this [[source]]", state: "ready, deferred, suspended or held", older: "came so long ago, or longer: 30m, 2h, 3d", id: "of this message",
  sender: "from this sender: ada@example.org, @example.org, <>", recipient: "to this address, or such: @example.org", account: "that came by this account",
  tenant: "of this tenant", campaign: "of this campaign", pool: "for this pool of sources", reply: "whose last reply has this in it, a regular expression",
};
// What a suspension can name.
const SCOPES = ["domain", "site", "provider", "tenant", "campaign", "source", "pool"];
const SUGGESTED = 8;

// Filters of a text; what is wrong with it in words.
function parse(text) {
  const filters = {};
  const words = text.match(/[^\s":]+:"(?:\\"|[^"])*"?|"(?:\\"|[^"])*"?|\S+/g) || [];
  for (const word of words) {
    const colon = word.indexOf(":");
    const named = colon > 0 && /^[a-z_-]+$/i.test(word.slice(0, colon)) && !word.startsWith("[");
    let name = named ? word.slice(0, colon).toLowerCase() : "";
    let value = named ? word.slice(colon + 1) : word;
    if (value.startsWith('"')) {
      if (value.length < 2 || !/(^|[^\\])"$/.test(value.slice(1))) return { wrong: `the quotation mark behind ${name ? `${name}:` : "that word"} is not closed` };
      value = value.slice(1, -1).replace(/\\"/g, '"');
    }
    if (!named) {
      // As `relevo why` knows things by their looks.
      if (/^[0-9A-HJKMNP-TV-Z]{16}$/i.test(value)) name = "id";
      else if (value.includes("@")) name = "recipient";
      else if (/^[^\s]+\.[^\s.]+$|^\[/.test(value)) name = "domain";
      else return { wrong: `${value}: say what that is, as in account:${value} or reply:"${value}"` };
    }
    if (name in filters) return { wrong: `${name} is there twice: one of them is enough` };
    if (value === "") return { wrong: `what stands behind ${name}: is missing` };
    filters[name] = value;
  }
  return { filters };
}

function suggestions(text, caret) {
  const before = text.slice(0, caret);
  const word = /(?:[^\s":]+:"(?:\\"|[^"])*|\S*)$/.exec(before)[0];
  const colon = word.indexOf(":");
  const o = app.overview || {};
  if (colon < 0) {
    const used = Object.keys(parse(text).filters || {});
    return { word, list: Object.entries(FILTERS).filter(([name]) => name.startsWith(word.toLowerCase()) && !used.includes(name)).map(([name, help]) => ({ put: `${name}:`, label: `${name}:`, help })) };
  }
  const name = word.slice(0, colon).toLowerCase();
  const typed = word.slice(colon + 1).replace(/^"/, "").toLowerCase();
  const known = {
    state: ["deferred", "ready", "suspended", "held"], older: ["10m", "1h", "6h", "1d", "3d"],
    domain: (o.domains || []).map((one) => one.name).filter((one) => one !== "other"), provider: (o.providers || []).map((one) => one.name).filter((one) => one !== "other"),
  }[name] || [];
  return { word, list: known.filter((value) => value.toLowerCase().includes(typed) && value.toLowerCase() !== typed).map((value) => ({ put: `${name}:${quoted(value)} `, label: value, help: "" })) };
}

// The field. `go` is called with what stands in it.
class SearchField {
  constructor(go) {
    this.go = go;
    this.list = [];
    this.at = -1;
    this.input = h("input", {
      type: "text", id: "search", role: "combobox", "aria-expanded": "false", "aria-controls": "search-list", "aria-autocomplete": "list", autocomplete: "off", autocapitalize: "off", spellcheck: "false",
      placeholder: "domain:example.org older:2h state:deferred reply:\"4.7.28\"", maxlength: "2000",
      oninput: () => this.suggest(), onkeydown: (event) => this.press(event), onblur: () => this.close(), onclick: () => this.suggest(),
    });
    this.options = h("ul", { id: "search-list", role: "listbox", "aria-label": "Filters", hidden: true });
    this.form = h("form", { class: "search", role: "search", onsubmit: (event) => { event.preventDefault(); this.close(); this.go(this.input.value.trim()); } },
      h("label", { for: "search", class: "sr" }, "Search the queue"), h("div", { class: "combo" }, this.input, this.options), h("button", { type: "submit", class: "primary" }, "Search"));
  }
  suggest() {
    const { word, list } = suggestions(this.input.value, this.input.selectionStart);
    this.word = word;
    this.list = list.slice(0, word ? SUGGESTED : 14);
    this.at = -1;
    this.draw();
  }
  close() { this.list = []; this.draw(); }
  take(one) {
    const caret = this.input.selectionStart;
    const start = caret - this.word.length;
    this.input.setRangeText(one.put, start, caret, "end");
    this.suggest();
  }
  press(event) {
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (move) {
      event.preventDefault();
      if (!this.list.length) { this.suggest(); return; }
      this.at = (this.at + move + this.list.length + (this.at < 0 && move < 0 ? 1 : 0)) % this.list.length;
      this.draw();
    } else if ((event.key === "Enter" || event.key === "Tab") && this.at >= 0 && this.list.length) {
      event.preventDefault();
      this.take(this.list[this.at]);
    } else if (event.key === "Escape" && this.list.length) {
      event.preventDefault();
      this.close();
    }
  }
  draw() {
    const is = this.list.length > 0;
    this.options.hidden = !is;
    this.input.setAttribute("aria-expanded", String(is));
    if (is && this.at >= 0) this.input.setAttribute("aria-activedescendant", `option-${this.at}`); else this.input.removeAttribute("aria-activedescendant");
    show(this.options, this.list.map((one, at) => h("li", {
      id: `option-${at}`, role: "option", "aria-selected": String(at === this.at), onpointerdown: (event) => { event.preventDefault(); this.take(one); },
    }, h("b", {}, plain(one.label)), one.help ? h("span", {}, one.help) : null)));
    const chosen = this.options.children[this.at];
    if (chosen) chosen.scrollIntoView({ block: "nearest" });
  }
}
