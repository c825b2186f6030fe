"use strict";
// Elements, numbers, times. Whatever text comes from outside becomes a text node: nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";
const HANDLERS = ["onclick", "oninput", "onchange", "onkeydown", "onsubmit", "onblur", "onpointerdown", "onpointermove", "onpointerleave", "onfocus"];

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node[name] = value;
    else if (name === "key") node.key = value;
    else if (name === "style") Object.assign(node.style, value);
    else if (name === "value" || name === "checked") { node[name] = value; node.given = value; }
    else node.setAttribute(name, value === true ? "" : value);
  }
  const add = (child) => {
    if (child === null || child === undefined || child === false) return;
    if (Array.isArray(child)) child.forEach(add);
    else node.append(child instanceof Node ? child : String(child));
  };
  children.forEach(add);
  if (node.nodeName === "SELECT" && node.given !== undefined) node.value = node.given;
  return node;
}

// Stands for a node that a view keeps and changes by itself.
function keep(node) {
  const stand = document.createComment("");
  stand.stands = node;
  node.isKept = true;
  return stand;
}

function settled(made) {
  if (made.stands) return made.stands;
  const walker = document.createTreeWalker(made, NodeFilter.SHOW_COMMENT);
  const stands = [];
  while (walker.nextNode()) if (walker.currentNode.stands) stands.push(walker.currentNode);
  for (const stand of stands) stand.replaceWith(stand.stands);
  return made;
}

const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);
const s = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);

// Makes `old` look like `made` and keeps its nodes, so that focus, selection and scrolling outlive an update.
function morph(old, made) {
  if (old.nodeType !== made.nodeType || old.nodeName !== made.nodeName || old.key !== made.key) {
    old.replaceWith(settled(made));
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== made.data) old.data = made.data;
    return;
  }
  for (const { name } of [...old.attributes]) if (!made.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of made.attributes) {
    // The policy forbids styles in attributes, and lets the object model set them.
    if (name === "style") { if (old.style.cssText !== made.style.cssText) old.style.cssText = made.style.cssText; }
    else if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const name of HANDLERS) if (old[name] !== made[name]) old[name] = made[name];
  // What somebody typed stays until something else is given.
  if (old.given !== made.given) {
    old.given = made.given;
    if (made.type === "checkbox") old.checked = made.checked; else old.value = made.value;
  }
  morphChildren(old, made);
}

function morphChildren(old, made) {
  const keyed = new Map();
  for (const node of old.childNodes) if (node.key !== undefined) keyed.set(node.key, node);
  let at = old.firstChild;
  for (const child of [...made.childNodes]) {
    if (child.stands) {
      // It is not moved where it can stay: it may have the focus.
      const node = child.stands;
      if (node.parentNode === old) while (at && at !== node) { const next = at.nextSibling; at.remove(); at = next; }
      if (at === node) at = at.nextSibling; else old.insertBefore(node, at);
      continue;
    }
    const same = child.key === undefined ? at : keyed.get(child.key);
    if (!same || same.isKept) { old.insertBefore(settled(child), at); continue; }
    keyed.delete(child.key);
    if (same !== at) old.insertBefore(same, at);
    else at = at.nextSibling;
    morph(same, child);
  }
  while (at) { const next = at.nextSibling; at.remove(); at = next; }
}

// Shows these nodes in a place, in the place of what was shown there.
function show(place, ...children) {
  morphChildren(place, fill(document.createElement("div"), {}, children));
}

// Numbers: thousands apart, as many digits as somebody reads.
const THIN = "\u202f";
const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const short = (value, digits) => new Intl.NumberFormat("en-US", { maximumFractionDigits: digits }).format(value);
const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);
const count = (value) => (known(value) ? grouped.format(value) : "–");
const plural = (value, one, more) => `${count(value)} ${value === 1 ? one : more || one + "s"}`;
const recipients = (value) => plural(value, "recipient");

function rate(value) {
  if (!known(value)) return "–";
  return short(value, value < 10 ? 1 : 0);
}

function axisNumber(value) {
  if (value >= 1e6) return `${short(value / 1e6, 1)}M`;
  if (value >= 1e4) return `${short(value / 1e3, 1)}k`;
  return short(value, 2);
}

function bytes(value) {
  if (!known(value)) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) { value /= 1024; at += 1; }
  return `${short(value, at && value < 10 ? 1 : 0)} ${units[at]}`;
}

const percent = (part, whole) => (!known(part) ? "–" : whole ? `${short((part / whole) * 100, part / whole < 0.1 ? 1 : 0)} %` : "0 %");

// The relay's clock is what its times are measured by: a browser's may be wrong.
const clock = { ahead: 0 };
const now = () => Date.now() + clock.ahead;

function span(seconds) {
  seconds = Math.max(0, Math.round(seconds));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min${seconds < 600 && seconds % 60 ? ` ${seconds % 60} s` : ""}`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h${seconds % 3600 >= 60 ? ` ${Math.floor((seconds % 3600) / 60)} min` : ""}`;
  const hours = Math.floor((seconds % 86400) / 3600);
  return `${count(Math.floor(seconds / 86400))} d${hours ? ` ${hours} h` : ""}`;
}

// The same to one unit, for tables: the exact time stands behind it.
function brief(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h`;
  return `${count(Math.round(seconds / 86400))} d`;
}

function relative(iso) {
  const at = Date.parse(iso);
  if (Number.isNaN(at)) return "–";
  const seconds = (at - now()) / 1000;
  if (Math.abs(seconds) < 1) return "now";
  return seconds > 0 ? `in ${brief(seconds)}` : `${brief(-seconds)} ago`;
}

// A time: relative, and the exact one where somebody points at it or comes to it by keyboard.
function time(iso, words) {
  if (!iso) return h("span", { class: "none" }, "–");
  const exact = iso.replace("T", " ").replace(/\.000Z$|Z$/, " UTC");
  return h("time", { datetime: iso, title: exact, tabindex: "0", "data-exact": exact, class: "tip" }, words || relative(iso));
}

const clockOf = (millis) => new Date(millis).toISOString().slice(11, 19);

// Text from outside: what would hide or turn around what stands beside it is shown as what it is.
const plain = (text) => String(text).replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g,
  (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`);
const address = (text) => (text === "" ? h("span", { class: "none" }, "<> (notification)") : h("bdi", {}, plain(text)));
const foreign = (text, cls) => h("bdi", { class: cls, dir: "auto" }, plain(text));
const code = (text) => h("bdi", { class: "code" }, plain(text));
const none = (text) => h("span", { class: "none" }, text || "–");

const icon = {
  good: "✓", warn: "!", bad: "✕", wait: "…",
};
const badge = (words, kind) => h("span", { class: `badge ${kind || ""}` }, kind && icon[kind] ? h("span", { "aria-hidden": "true" }, `${icon[kind]} `) : null, words);

const STATES = {
  ready: { words: "waits for a connection", kind: "good" },
  deferred: { words: "waits for its next attempt", kind: "wait" },
  suspended: { words: "waits for a suspension to end", kind: "warn" },
  held: { words: "by an operator, or until its send_at", kind: "warn" },
  under_way: { words: "a connection has it now", kind: "good" },
};
const stateBadge = (state) => h("span", { class: `badge state ${state}`, title: STATES[state] && STATES[state].words }, state);

let serial = 0;
const unique = (prefix) => `${prefix}-${(serial += 1)}`;

// What the hash says: a view, what stands behind it, and its parameters.
function place() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [view, ...rest] = path.split("/");
  let rested = "";
  try { rested = decodeURIComponent(rest.join("/")); } catch { rested = ""; }
  return { view: view || "overview", rest: rested, query: new URLSearchParams(query || "") };
}

function href(view, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters || {})) if (value) query.set(name, value);
  const text = query.toString();
  return `#/${view}${text ? `?${text}` : ""}`;
}

// A value for the search field, quoted where it must be.
const quoted = (value) => (/[\s"]/.test(value) || value === "" ? `"${value.replace(/"/g, '\\"')}"` : value);
// A time as filters have it.
const lasting = (seconds) => (seconds % 86400 === 0 ? `${seconds / 86400}d` : seconds % 3600 === 0 ? `${seconds / 3600}h` : seconds % 60 === 0 ? `${seconds / 60}m` : `${seconds}s`);
const search = (filters) => Object.entries(filters).map(([name, value]) => `${name}:${quoted(String(value))}`).join(" ");
const queueLink = (filters, ...words) => h("a", { href: href("queue", { q: search(filters) }) }, ...words);
const idLink = (id) => h("a", { class: "code", href: `#/message/${encodeURIComponent(id)}` }, id);
