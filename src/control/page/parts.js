// What views are made of: tables, bars, charts, dialogs.

// A table that becomes a list of cards where there is no room for columns; roles are said, as browsers forget them then.
function table({ caption, columns, rows, empty, cls }) {
  if (!rows.length) return h("div", { class: "empty" }, empty);
  const head = h("tr", { role: "row" }, columns.map((column) =>
    h("th", { role: "columnheader", scope: "col", class: `${column.num ? "num" : ""} ${column.cls || ""}`.trim() || null, title: column.title }, column.label)));
  const line = ({ key, cells, cls: of }) => h("tr", { role: "row", key, class: of }, cells.map((cell, at) =>
    h("td", { role: "cell", class: `${columns[at].num ? "num" : ""} ${columns[at].cls || ""}`.trim() || null, "data-label": columns[at].label }, h("div", { class: "cell" }, cell))));
  return h("div", { class: "wide" },
    h("table", { role: "table", class: `rows ${cls || ""}`, "aria-label": caption },
      h("thead", { role: "rowgroup" }, head), h("tbody", { role: "rowgroup" }, rows.map(line))));
}

// A share of a whole, in words beside it: the bar itself says nothing to a screen reader.
const meter = (part, whole, kind) => h("span", { class: `meter ${kind || ""}`, "aria-hidden": "true" },
  part > 0 && whole > 0 ? h("i", { style: { width: `${Math.min(100, (part / whole) * 100)}%` } }) : null);

const section = (title, extra, ...children) => h("section", { class: "panel", "aria-label": title },
  h("div", { class: "panel-head" }, h("h2", {}, title), extra), children);
const heading = (title, words, ...extra) => h("header", { class: "title" },
  h("div", {}, h("h1", { tabindex: "-1" }, title), words ? h("p", {}, words) : null), extra.flat().some(Boolean) ? h("div", { class: "acts" }, extra) : null);
const failure = (error, again) => h("div", { class: "verdict bad", role: "alert" }, h("b", {}, "✕ The relay did not answer that"),
  h("p", {}, foreign(capital(error.message)), "."), error.code === "bad_filter" || !again ? null : h("button", { onclick: again }, "Ask again"));
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1).replace(/[.\s]+$/, "");
const loading = (words) => h("div", { class: "empty", role: "status" }, words || "Asking the relay …");

// A button for what a role may do. Who may not finds it all the same, with the reason.
function act(words, role, run, more) {
  const { why, ...props } = more || {};
  const reason = why || (session.may(role) ? null : `That needs the role ${role}; ${session.me ? `${session.me.who} has ${session.me.role}` : "nobody is signed in"}.`);
  if (!reason) return h("button", { type: "button", onclick: run, ...props }, words);
  return h("button", { type: "button", "aria-disabled": "true", title: reason, "aria-description": reason, ...props, onclick: () => notice(reason) }, words);
}

// A short message at the foot, which screen readers say.
function notice(words) {
  const old = document.getElementById("notice");
  show(old, h("p", {}, words));
  clearTimeout(old.timer);
  old.timer = setTimeout(() => show(old), 8000);
}

// Steps of 1, 2 or 5 times a power of ten.
function step(most, wanted) {
  const rough = Math.max(most / wanted, 1e-9);
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
}

const MARGIN = { left: 46, right: 10, top: 8, bottom: 22 };

// Lines over time, from zero. `at` is what is pointed at, in points; the legend tells values, of the last point otherwise.
class Chart {
  constructor(title, unit, height) {
    Object.assign(this, { title, unit, height: height || 190, series: [], until: 0, step: 1, at: null, width: 600 });
    this.figure = h("figure", { class: "chart" });
    this.isOpen = false;
    this.watch = new ResizeObserver(([entry]) => {
      const width = Math.round(entry.contentRect.width);
      if (width > 0 && width !== this.width) { this.width = width; this.draw(); }
    });
  }
  place() { this.watch.observe(this.figure); return keep(this.figure); }
  set(series, until, stepSeconds) { Object.assign(this, { series, until, step: stepSeconds }); this.draw(); }
  // Means of as many points as a pixel has, so that an hour costs what a minute does.
  thinned() {
    const length = Math.max(0, ...this.series.map((one) => one.points.length));
    const room = Math.max(40, this.width - MARGIN.left - MARGIN.right);
    const each = Math.max(1, Math.ceil(length / (room / 1.5)));
    this.each = each;
    const lines = this.series.map((one) => {
      const missing = length - one.points.length;
      const points = [];
      for (let end = length; end > 0; end -= each) {
        let sum = 0;
        let number = 0;
        for (let at = Math.max(0, end - each); at < end; at += 1) {
          const value = at >= missing ? one.points[at - missing] : null;
          if (known(value)) { sum += value; number += 1; }
        }
        points.push(number ? sum / number : null);
      }
      return { ...one, points: points.reverse() };
    });
    return { lines, length: lines[0] ? lines[0].points.length : 0 };
  }
  // Of long steps with the day.
  momentOf(at) { const text = new Date(at).toISOString(); return this.step >= 86400 ? text.slice(0, 10) : this.step >= 3600 ? text.slice(0, 16).replace("T", " ") : text.slice(11, 19); }
  timeOf(at, length) { return this.until - (length - 1 - at) * this.each * this.step * 1000; }
  draw() {
    const { lines, length } = this.thinned();
    const most = Math.max(0, ...lines.flatMap((one) => one.points.filter(known)));
    const high = most > 0 ? step(most, 4) : 1;
    const top = Math.max(high, Math.ceil(most / high) * high);
    const { width, height } = this;
    const x = (at) => MARGIN.left + (length > 1 ? at / (length - 1) : 1) * (width - MARGIN.left - MARGIN.right);
    const y = (value) => height - MARGIN.bottom - (value / top) * (height - MARGIN.top - MARGIN.bottom);
    const grid = [];
    for (let value = 0; value <= top * 1.001; value += high) {
      grid.push(s("line", { class: value ? "grid" : "grid zero", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value).toFixed(1), y2: y(value).toFixed(1) }));
      grid.push(s("text", { x: MARGIN.left - 6, y: (y(value) + 4).toFixed(1), "text-anchor": "end" }, axisNumber(value)));
    }
    grid.push(...this.times(x, length));
    const paths = lines.map((one) => {
      let path = "";
      let pen = "M";
      one.points.forEach((value, at) => {
        if (!known(value)) { pen = "M"; return; }
        path += `${pen}${x(at).toFixed(1)},${y(value).toFixed(1)}`;
        pen = "L";
      });
      return s("path", { class: `line ${one.cls}`, d: path });
    });
    const at = this.at === null ? null : Math.max(0, Math.min(length - 1, this.at));
    const cursor = at === null ? null : s("line", { class: "cursor", x1: x(at), x2: x(at), y1: MARGIN.top, y2: height - MARGIN.bottom });
    const shown = at === null ? length - 1 : at;
    const told = lines.map((one) => ({ ...one, value: one.points[shown] }));
    const moment = length ? this.momentOf(this.timeOf(shown, length)) : "";
    const text = told.map((one) => `${one.name} ${rate(one.value)}`).join(", ");
    const move = (event) => {
      const box = event.currentTarget.getBoundingClientRect();
      const share = (event.clientX - box.left - MARGIN.left) / (width - MARGIN.left - MARGIN.right);
      this.at = Math.round(share * (length - 1));
      this.draw();
    };
    const keys = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -length, End: length };
    const press = (event) => {
      if (event.key === "Escape") { this.at = null; this.draw(); return; }
      if (!(event.key in keys)) return;
      event.preventDefault();
      this.at = Math.max(0, Math.min(length - 1, shown + keys[event.key]));
      this.draw();
    };
    show(this.figure,
      h("figcaption", {}, h("span", {}, this.title, " ", h("span", { class: "unit" }, this.unit)), h("span", { class: "moment" }, at === null ? "" : `at ${moment} UTC`)),
      h("div", {
        class: "plot", tabindex: "0", role: "slider", "aria-label": `${this.title}, ${this.unit}: arrow keys read values`, "aria-valuemin": "0", "aria-valuemax": String(Math.max(0, length - 1)),
        "aria-valuenow": String(Math.max(0, shown)), "aria-valuetext": length ? `${moment} UTC: ${text}` : "nothing yet",
        onkeydown: press, onpointermove: move, onpointerleave: () => { this.at = null; this.draw(); }, onblur: () => { this.at = null; this.draw(); },
      }, s("svg", { viewBox: `0 0 ${width} ${height}`, height, "aria-hidden": "true" }, grid, paths, cursor),
      length > 1 ? null : h("p", { class: "over" }, "Nothing is known of this time yet: the relay began a moment ago.")),
      h("div", { class: "legend" }, told.map((one) => h("span", {}, h("i", { class: `key ${one.cls}` }), one.name, " ", h("b", {}, rate(one.value))))),
      this.asTable(lines, length));
  }
  times(x, length) {
    const total = length * this.each * this.step;
    const wanted = Math.max(2, Math.floor(this.width / 110));
    const each = [10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 259200, 345600, 604800, 1209600].find((seconds) => total / seconds <= wanted) || 5184000;
    const out = [];
    for (let at = Math.ceil(this.timeOf(0, length) / 1000 / each) * each; at * 1000 <= this.until && length > 1; at += each) {
      const place = x(length - 1 - (this.until / 1000 - at) / (this.each * this.step));
      if (place < MARGIN.left - 1) continue;
      // Of days their dates; a midnight among hours, too.
      const isDay = each >= 86400 || (total > 172800 && at % 86400 === 0);
      const text = isDay ? new Date(at * 1000).toISOString().slice(5, 10) : each < 60 ? clockOf(at * 1000) : clockOf(at * 1000).slice(0, 5);
      const end = this.width - place < 24 ? "end" : place < MARGIN.left + 16 ? "start" : "middle";
      out.push(s("line", { class: "tick", x1: place, x2: place, y1: this.height - MARGIN.bottom, y2: this.height - MARGIN.bottom + 4 }));
      out.push(s("text", { x: place, y: this.height - 6, "text-anchor": end }, text));
    }
    return out;
  }
  asTable(lines, length) {
    const toggle = (event) => { event.preventDefault(); this.isOpen = !this.isOpen; this.draw(); };
    const every = Math.max(1, Math.floor(length / 30));
    const rows = [];
    for (let at = length - 1; this.isOpen && at >= 0; at -= every) {
      const moment = new Date(this.timeOf(at, length)).toISOString();
      rows.push({ key: moment, cells: [h("time", { datetime: moment }, this.momentOf(Date.parse(moment))), ...lines.map((one) => rate(one.points[at]))] });
    }
    const columns = [{ label: "UTC" }, ...lines.map((one) => ({ label: one.name, num: true }))];
    return h("details", { open: this.isOpen }, h("summary", { onclick: toggle }, "As a table"),
      this.isOpen ? table({ caption: `${this.title}, ${this.unit}`, columns, rows, empty: "Nothing is known yet.", cls: "plainly" }) : null);
  }
}

// Time that people write: 30m, 2h, 3d, 90s.
function seconds(text) {
  const read = /^\s*(\d+(?:\.\d+)?)\s*(s|sec|m|min|h|d)\s*$/i.exec(text);
  if (!read) return null;
  return Math.round(Number(read[1]) * { s: 1, m: 60, h: 3600, d: 86400 }[read[2][0].toLowerCase()]);
}

const field = (label, input, note) => {
  const id = input.id || unique("field");
  input.id = id;
  if (note) input.setAttribute("aria-describedby", `${id}-note`);
  return h("div", { class: "field" }, h("label", { for: id }, label), input, note ? h("small", { id: `${id}-note` }, note) : null);
};
