// Asking the relay. The token is kept for this tab alone and sent as a field, never as a cookie: no other site can make a browser use it.

const TOKEN = "relevo.token";
const ORDER = ["read", "operate", "admin"];
// Back-off of a stream that broke, milliseconds.
const RETRY_FIRST = 500;
const RETRY_MAX = 15000;
// An answer that takes longer is given up; the relay's own bound is 30 s.
const ANSWER = 40000;
// A stream that is silent for so long is taken for dead: the relay says something every second, or every 15 s at the least.
const SILENCE = 20000;
// The longest line of a stream that is read.
const LINE_MAX = 4 << 20;

const session = {
  token: sessionStorage.getItem(TOKEN),
  me: null,
  // Whose mail alone the token is for; empty: all mail.
  get tenant() { return (this.me && this.me.tenant) || ""; },
  may(role) { return this.me !== null && ORDER.indexOf(this.me.role) >= ORDER.indexOf(role); },
  keep(token) {
    this.token = token || null;
    if (token) sessionStorage.setItem(TOKEN, token);
    else sessionStorage.removeItem(TOKEN);
  },
};

class Refused extends Error {
  constructor(status, words, code, after) {
    super(words);
    this.status = status;
    this.code = code;
    this.after = after;
  }
}

const fields = () => (session.token ? { Authorization: `Bearer ${session.token}` } : {});

async function refusal(answer) {
  let said = {};
  try { said = await answer.json(); } catch { /* It is no JSON: its status must do. */ }
  const words = typeof said.error === "string" && said.error ? said.error : `the relay answered ${answer.status} ${answer.statusText}`;
  const after = Number(answer.headers.get("Retry-After")) || null;
  return new Refused(answer.status, words, said.code || "", after);
}

async function ask(method, path, body, signal) {
  const given = new AbortController();
  const late = setTimeout(() => given.abort("late"), ANSWER);
  const stop = () => given.abort("left");
  if (signal) { if (signal.aborted) stop(); else signal.addEventListener("abort", stop, { once: true }); }
  try {
    const answer = await fetch(path, {
      method, headers: { ...fields(), ...(body ? { "Content-Type": "application/json" } : {}) },
      body: body ? JSON.stringify(body) : undefined, signal: given.signal, cache: "no-store", credentials: "omit", redirect: "error",
    });
    const date = Date.parse(answer.headers.get("Date") || "");
    if (!Number.isNaN(date) && Math.abs(date - Date.now()) > 2000) clock.ahead = date - Date.now();
    if (!answer.ok) throw await refusal(answer);
    return await answer.json();
  } catch (error) {
    if (error instanceof Refused) {
      if (error.status === 401) signedOut(error);
      throw error;
    }
    if (signal && signal.aborted) throw new Refused(0, "left", "left");
    if (given.signal.aborted) throw new Refused(0, `the relay did not answer within ${ANSWER / 1000} s`, "late");
    if (error instanceof SyntaxError) throw new Refused(0, "the answer is no JSON: does something stand between this browser and the relay?", "broken");
    throw new Refused(0, "the relay cannot be reached: is it running, and is the way to control.http open?", "unreached");
  } finally {
    clearTimeout(late);
    if (signal) signal.removeEventListener("abort", stop);
  }
}

const get = (path, parameters, signal) => {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters || {})) if (known(value) && value !== "") query.set(name, value);
  const text = query.toString();
  return ask("GET", text ? `${path}?${text}` : path, null, signal);
};
const post = (path, body, signal) => ask("POST", path, body, signal);

// Asks until there is no `next`: counts and changes of a large queue come in parts, and a search in records says how far it is.
async function whole(one, join, told, signal) {
  let all = null;
  let cursor;
  do {
    const part = await one(cursor);
    all = all === null ? part : join(all, part);
    if (told) told(all, part);
    cursor = part.next;
    if (signal && signal.aborted) throw new Refused(0, "left", "left");
  } while (cursor);
  return all;
}

const summed = (names) => (all, part) => {
  const sum = { ...part };
  for (const name of names) sum[name] = (all[name] || 0) + (part[name] || 0);
  return sum;
};
const COUNTED = ["recipients", "deferred", "ready", "suspended", "held", "groups", "under_way"];
const countAll = (path, filters, told, signal) =>
  whole((cursor) => get(path, { ...filters, cursor }, signal), summed(COUNTED), told, signal);

// The stream: one a tab, whatever the view. It ends while the tab is hidden, as a browser has few connections to one host.
const live = {
  query: "", state: "off", since: null, wanted: false, given: null, wait: RETRY_FIRST, timer: null, polls: false,
  on: { overview() {}, log() {}, lost() {}, state() {} },

  want(query) {
    // A stream is of the whole node: a tenant's token would ask for it in vain, again and again.
    if (session.tenant) { this.stop("none"); return; }
    if (this.wanted && this.query === query) return;
    this.query = query;
    this.wanted = true;
    this.restart();
  },
  stop(state) {
    this.wanted = false;
    this.close();
    if (this.state !== (state || "off")) this.tell(state || "off");
  },
  close() {
    clearTimeout(this.timer);
    if (this.given) this.given.abort();
    this.given = null;
  },
  restart() {
    this.close();
    this.wait = RETRY_FIRST;
    if (this.wanted && !document.hidden) this.run();
  },
  tell(state, words) {
    if (state !== "live" && this.state === "live") this.since = now();
    this.state = state;
    this.words = words || "";
    this.on.state();
  },
  async run() {
    const given = new AbortController();
    this.given = given;
    const mine = () => this.given === given;
    let words = "the stream ended";
    let pause = null;
    try {
      const answer = await fetch(`/events${this.query ? `?${this.query}` : ""}`, {
        headers: { ...fields(), Accept: "text/event-stream" }, signal: given.signal, cache: "no-store", credentials: "omit",
      });
      if (!answer.ok) throw await refusal(answer);
      await this.read(answer.body.getReader(), mine);
    } catch (error) {
      if (!mine()) return;
      if (error instanceof Refused) {
        words = error.message;
        pause = error.after ? error.after * 1000 : null;
        if (error.status === 401) return signedOut(error);
        // Streams are all taken, or there are none: now and then the same is asked for.
        if (error.status === 503 || error.status === 404) this.poll();
      } else {
        words = "the relay cannot be reached";
      }
    }
    given.abort();
    if (!mine()) return;
    this.tell("broken", words);
    this.timer = setTimeout(() => mine() && this.run(), Math.min(RETRY_MAX, Math.max(pause || 0, this.wait * (0.75 + Math.random() / 2))));
    this.wait = Math.min(RETRY_MAX, this.wait * 2);
  },
  async read(reader, mine) {
    const decoder = new TextDecoder();
    let rest = "";
    let event = "";
    let data = [];
    for (;;) {
      // Something comes every second; a way that is cut without a word is told by its silence.
      let silence;
      const { value, done } = await Promise.race([
        reader.read(), new Promise((_, fail) => { silence = setTimeout(fail, SILENCE, new Error("silence")); }),
      ]).finally(() => clearTimeout(silence));
      if (done || !mine()) return;
      rest += decoder.decode(value, { stream: true });
      if (rest.length > LINE_MAX) throw new Error("a line without end");
      const lines = rest.split(/\r\n|\n/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (event === "bye") return;
          if (event) this.take(event, data.join("\n"));
          event = "";
          data = [];
        } else if (line.startsWith("event:")) event = line.slice(6).trim();
        else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
      }
    }
  },
  take(event, text) {
    let data;
    try { data = JSON.parse(text); } catch { return; }
    if (this.state !== "live") { this.wait = RETRY_FIRST; this.tell("live"); }
    if (event === "overview") this.on.overview(data);
    else if (event === "log") this.on.log(data);
    else if (event === "lost") this.on.lost(data);
  },
  async poll() {
    try { this.on.overview(await get("/control/v1/overview")); } catch { /* The state of the stream is told already. */ }
  },
};
document.addEventListener("visibilitychange", () => {
  if (document.hidden) { live.hiding = setTimeout(() => { if (live.wanted) { live.close(); live.tell("hidden"); } }, 20000); }
  else { clearTimeout(live.hiding); if (!live.given) live.restart(); }
});
