// The frame: who asks, which view is shown, whether what is shown is live.

const VIEWS = { overview, cluster, deliverability, sites, queue, message, suspensions, warmup, quotas, suppressions, templates, log };
const NAV = [["overview", "Overview"], ["cluster", "Cluster"], ["deliverability", "Deliverability"], ["sites", "Providers"], ["queue", "Queue"], ["suspensions", "Suspensions"], ["warmup", "Warm-up"], ["quotas", "Quotas"], ["suppressions", "Suppression list"], ["templates", "Templates"], ["log", "Log"]];
// What is told by tenant. The rest is of the whole node, and the relay tells a tenant's token nothing of it.
const BY_TENANT = new Set([deliverability, queue, message, suppressions, templates]);
const isOpen = (view) => !session.tenant || BY_TENANT.has(view);
// What has a place in the navigation: nodes are looked at together where there are several.
const isNamed = ([name]) => isOpen(VIEWS[name]) && (name !== "cluster" || Boolean(session.me.cluster));
const THEMES = ["auto", "light", "dark"];
const THEME = "relevo.theme";

const app = {
  view: null, overview: null, error: null, isMenuOpen: false, due: false,

  async begin() {
    this.error = null;
    try { session.me = await get("/control/v1/me"); } catch (error) {
      if (error.status === 401) return;
      this.error = error.status === 404 ? new Error("this relay serves no control API here: the page and the relay are of different versions, or something stands between them") : error;
      this.failed();
      return;
    }
    frame();
    this.enter();
  },
  failed() {
    show(document.getElementById("app"), h("div", { class: "door" }, h("main", { id: "main", tabindex: "-1" }, brand(), h("h1", {}, "No answer"), h("p", { role: "alert" }, foreign(capital(this.error.message)), "."), h("button", { type: "button", class: "primary", onclick: () => this.begin() }, "Ask again"))));
  },
  enter() {
    if (!session.me) return;
    const to = place();
    const asked = VIEWS[to.view] || overview;
    // Who has asked for nothing yet is shown what he may see.
    const view = isOpen(asked) ? asked : location.hash ? ofNode : queue;
    if (view === ofNode) ofNode.title = asked.title;
    const isOther = view !== this.view;
    if (this.view && this.view.leave) this.view.leave();
    this.view = view;
    this.isMenuOpen = false;
    const main = document.getElementById("main");
    if (isOther) { show(main); scrollTo(0, 0); }
    view.enter(to);
    this.draw();
    document.title = `${view.title} · ${this.overview ? this.overview.node : "relevo"}`;
    if (isOther && this.walked) main.querySelector("h1")?.focus({ preventScroll: true });
    this.walked = true;
  },
  // Soon, once, however often it is asked for.
  redraw() {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => { this.due = false; this.draw(); });
  },
  draw() {
    if (!session.me || !this.view) return;
    drawFrame();
    show(document.getElementById("main"), this.view.draw(this.overview));
  },
};

// In the place of a view that a tenant's token does not open.
const ofNode = {
  title: "",
  enter() { live.want(""); },
  draw() {
    return [heading(this.title), h("div", { class: "verdict warn", role: "alert" }, h("b", {}, "! That is told of the whole node alone"),
      h("p", {}, "Your token is for tenant ", foreign(session.tenant), ": its mail is in ", h("a", { href: "#/queue" }, "the queue"), ", and whom it may not go to on ", h("a", { href: "#/suppressions" }, "the suppression list"), "."))];
  },
};

live.on = {
  overview(o) {
    if (Math.abs(Date.parse(o.as_of) - now()) > 2500) clock.ahead = Date.parse(o.as_of) - Date.now();
    app.overview = o;
    remember(o);
    // Other views change by themselves, and their relative times now and then.
    app.beats = (app.beats || 0) + 1;
    if (app.view === overview || app.view === sites || app.beats % 5 === 0) app.redraw();
    else drawFrame();
  },
  log(event) { if (app.view === log) log.got(event); },
  lost(of) { if (app.view === log) { log.lost += of.count || 0; app.redraw(); } },
  state() { if (session.me && app.view) { drawFrame(); if (app.view === log || !app.overview) app.redraw(); } },
};

const brand = () => h("a", { class: "brand", href: "#/overview" }, s("svg", { viewBox: "0 0 32 32", width: "26", height: "26", "aria-hidden": "true" }, s("rect", { width: "32", height: "32", rx: "8" }), s("path", { d: "M7 11h11m-4-4 4 4-4 4M25 21H14m4-4-4 4 4 4" })), h("span", {}, "relevo"));

function liveness() {
  const since = live.since ? ` since ${clockOf(live.since)}` : "";
  const [words, kind] = {
    live: ["Live", "good"], broken: [`Not live${since}`, "bad"], hidden: [`Paused${since}`, "wait"], off: ["Connecting", "wait"], none: ["As it was when it was loaded", "wait"],
  }[live.state];
  return h("span", { class: "liveness", role: "status", title: live.words }, badge(words, kind), live.state === "broken" ? h("small", {}, foreign(capital(live.words)), "; trying again") : null);
}

function frame() {
  show(document.getElementById("app"), h("div", { class: "frame" }, h("header", { id: "bar", class: "bar-top" }), h("main", { id: "main", tabindex: "-1" })));
  drawFrame();
}

function drawFrame() {
  const bar = document.getElementById("bar");
  if (!bar) return;
  const at = app.view === message ? queue : app.view;
  const q = app.overview && app.overview.queue;
  const link = ([name, words]) => h("a", { href: `#/${name}`, "aria-current": VIEWS[name] === at ? "page" : null }, words, name === "queue" && q && q.recipients ? h("span", { class: "tally" }, axisNumber(q.recipients)) : null);
  const theme = document.documentElement.dataset.theme || "auto";
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  const menu = () => { app.isMenuOpen = !app.isMenuOpen; drawFrame(); };
  show(bar,
    h("div", { class: "top" }, brand(), liveness(), h("button", { type: "button", class: "menu", "aria-expanded": String(app.isMenuOpen), "aria-controls": "nav", onclick: menu }, "Menu")),
    h("nav", { id: "nav", class: app.isMenuOpen ? "open" : "", "aria-label": "Views" }, h("div", { class: "links" }, NAV.filter(isNamed).map(link)),
      h("div", { class: "who" }, h("p", {}, foreign(session.me.who), h("span", { class: "badge" }, session.me.role), session.me.tenant ? ["of tenant ", foreign(session.me.tenant)] : "", session.me.redacts ? h("small", {}, "addresses are shortened") : ""),
        h("div", { class: "acts" }, h("button", { type: "button", class: "small", "aria-label": `Colours: ${theme}; change to ${next}`, onclick: () => setTheme(next) }, `Colours: ${theme}`),
          session.token ? h("button", { type: "button", class: "small", onclick: signOut }, "Sign out") : h("button", { type: "button", class: "small", onclick: () => login() }, "Sign in")))));
}

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try { localStorage.setItem(THEME, theme); } catch { /* It is for this visit alone. */ }
  if (session.me && app.view) app.draw();
}

function signOut() {
  session.keep(null);
  session.me = null;
  app.overview = null;
  history.fine = history.coarse = null;
  if (app.view && app.view.leave) app.view.leave();
  app.view = null;
  live.stop();
  login();
}

// The relay does not know us: what we had is no good, or nothing was given.
function signedOut(error) {
  if (document.querySelector(".door form")) return;
  const had = session.token;
  signOut();
  login(had ? error.message : "");
}

function login(words) {
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  if (app.view && app.view.leave) app.view.leave();
  app.view = null;
  const token = h("input", { type: "password", id: "token", autocomplete: "current-password", required: true, spellcheck: "false" });
  const says = h("div", { role: "alert" }, words ? h("p", { class: "error" }, foreign(capital(words)), ".") : null);
  const submit = async (event) => {
    event.preventDefault();
    const given = token.value.trim();
    if (!given) { show(says, h("p", { class: "error" }, "A token is needed.")); token.focus(); return; }
    if (!/^[\x21-\x7e]+$/.test(given)) { show(says, h("p", { class: "error" }, "A token is one word of printable ASCII.")); token.focus(); return; }
    session.keep(given);
    try {
      session.me = await get("/control/v1/me");
      // What somebody else was shown before is not his.
      live.stop();
      app.overview = null;
      app.view = null;
      frame();
      app.enter();
    } catch (error) {
      session.keep(null);
      show(says, h("p", { class: "error" }, foreign(capital(error.message)), error.status === 429 ? "" : "."));
      token.select();
    }
  };
  // Made anew each time: what is typed is read from these very fields.
  show(document.getElementById("app"), h("div", { class: "door", key: unique("door") }, h("main", { id: "main", tabindex: "-1" }, brand(), h("h1", {}, "Sign in"),
    h("p", {}, "This relay wants a token. An administrator makes one by ", h("code", {}, "relevo token add NAME --role operate"), "."),
    h("form", { onsubmit: submit, novalidate: true }, field("Token", token, "It is kept for this tab, until the tab is closed."), says, h("button", { type: "submit", class: "primary" }, "Sign in"),
      session.me ? h("button", { type: "button", onclick: () => app.begin() }, "Cancel") : null))));
  document.title = "Sign in · relevo";
  token.focus();
}

try { setTheme(THEMES.includes(localStorage.getItem(THEME)) ? localStorage.getItem(THEME) : "auto"); } catch { /* A browser that keeps nothing. */ }
document.body.append(h("div", { id: "notice", role: "status" }));
document.querySelector(".skip").onclick = (event) => { event.preventDefault(); document.getElementById("main")?.focus(); };
addEventListener("hashchange", () => app.enter());
app.begin();
