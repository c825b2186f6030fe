// Nothing is changed without a question: what is meant, how many recipients that is now, and why it is done.

const WORDS = {
  retry: { title: "Try now", verb: "Try now", path: "/control/v1/queue/retry", done: ["is due now", "are due now"], tells: "They are tried as soon as a connection is free, whatever their schedule says." },
  bounce: { title: "Bounce", verb: "Bounce them", path: "/control/v1/queue/bounce", danger: true, done: ["was bounced", "were bounced"], tells: "They go back to their senders for good, with the reason in the notification. That cannot be undone." },
  hold: { title: "Hold", verb: "Hold them", path: "/control/v1/queue/hold", lasts: "optional", done: ["is held", "are held"], tells: "They stay in the queue and are not tried until they are released. They still expire." },
  release: { title: "Release", verb: "Release them", path: "/control/v1/queue/release", done: ["is released", "are released"], tells: "What operators held is tried again by its schedule." },
  suspend: { title: "Suspend", verb: "Suspend", path: "/control/v1/suspend", lasts: "needed", decides: true, done: "Suspended", tells: "Mail that comes meanwhile is taken and waits too. Nothing bounces because of it but what expires." },
  redirect: { title: "Redirect", verb: "Redirect", path: "/control/v1/queue/redirect", lasts: "needed", to: true, decides: true, done: "Redirected", tells: "Until then its mail goes to that host in place of its own. The list of suspensions shows it, and ends it." },
};
// What can be redirected.
const REDIRECTED = ["domain", "site", "provider"];
const CHANGED = ["recipients", "groups", "under_way", "unwritten"];

const everything = () => (session.tenant ? `all mail of tenant ${session.tenant}` : "all mail of this node");
const meantBy = (filters) => (Object.keys(filters).length ? search(filters) : everything());

// Asks about a change of what a filter means, and makes it. `then` is called when something was changed.
function change(what, filters, then) {
  const words = WORDS[what];
  const all = Object.keys(filters).length === 0;
  const given = new AbortController();
  const state = { counted: null, error: null, busy: false, done: null };
  const reason = h("input", { type: "text", maxlength: "400", autocomplete: "off", required: true, name: "reason" });
  const lasts = h("input", { type: "text", value: words.lasts === "needed" ? "2h" : "", autocomplete: "off", placeholder: "30m, 2h, 3d", name: "for" });
  const to = h("input", { type: "text", autocomplete: "off", spellcheck: "false", placeholder: "smtp://host:25", name: "to" });
  const sure = h("input", { type: "checkbox", name: "all" });
  const go = h("button", { type: "submit", class: words.danger ? "danger" : "primary" }, words.verb);
  const says = h("div", { class: "says", role: "status" });
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" });
  const close = () => dialog.close();
  const ready = () => !state.busy && state.done === null && reason.value.trim() !== "" && (!all || sure.checked)
    && (words.decides || (state.counted && !state.counted.next && state.counted.recipients > 0));
  const tell = () => {
    const { counted, error, done } = state;
    const searching = counted && counted.scanned && counted.next ? ` Looked through ${count(counted.scanned.messages)} of about ${count(counted.scanned.of)} messages.` : "";
    let text = [loadingWords(counted), searching];
    if (counted && !counted.next) {
      text = [h("b", {}, recipients(counted.recipients)), ` ${counted.recipients === 1 ? "waits" : "wait"} there now`,
        counted.under_way ? `; ${count(counted.under_way)} more ${counted.under_way === 1 ? "is" : "are"} under way and left alone` : "", ".",
        counted.recipients === 0 && !words.decides ? " There is nothing to do." : ""];
    }
    if (state.busy) text = [h("b", {}, `${recipients(state.changed || 0)} so far …`)];
    if (done) text = [h("b", {}, done)];
    show(says, error ? h("p", { class: "error" }, foreign(capital(error.message)), ".") : h("p", {}, text),
      words.decides && (filters.site || filters.provider) && !done ? h("p", {}, "Mail that waits for its next attempt is at no site until then: it is not in that number, and is meant as well.") : null);
    if (ready()) go.removeAttribute("aria-disabled"); else go.setAttribute("aria-disabled", "true");
    go.hidden = done !== null;
  };
  const submit = async (event) => {
    event.preventDefault();
    if (!ready()) {
      notice(reason.value.trim() === "" ? "A reason is needed: it goes into the log with your name." : all && !sure.checked ? "Say that all mail is meant." : "Nothing is counted yet.");
      if (reason.value.trim() === "") reason.focus();
      return;
    }
    const time = lasts.value.trim() ? seconds(lasts.value) : null;
    if ((words.lasts === "needed" || lasts.value.trim()) && words.lasts && !time) {
      state.error = new Error("how long? Write it as 30m, 2h or 3d");
      tell();
      lasts.focus();
      return;
    }
    if (words.to && !/^smtps?:\/\/\S+$/.test(to.value.trim())) {
      state.error = new Error("where to? Write it as smtp://host:25");
      tell();
      to.focus();
      return;
    }
    Object.assign(state, { busy: true, error: null, changed: 0 });
    tell();
    const body = { ...(all ? { all: true } : { filter: filters }), reason: reason.value.trim(), ...(words.lasts && time ? { seconds: time } : {}), ...(words.to ? { to: to.value.trim() } : {}) };
    try {
      if (words.decides) {
        const made = await post(words.path, body, given.signal);
        const until = made.suspensions && made.suspensions[0] && made.suspensions[0].until;
        state.done = `${words.done}${until ? ` until ${until.slice(0, 16).replace("T", " ")} UTC` : ""}.${made.unkept ? " The disk does not take it: a restart would not know." : ""}`;
      } else {
        const sum = await whole((cursor) => post(words.path, cursor ? { ...body, cursor } : body, given.signal), summed(CHANGED),
          (sofar, part) => { state.changed = sofar.recipients; if (part.waits_for_spool && !part.groups) part.next = null; tell(); }, given.signal);
        state.done = `${recipients(sum.recipients)} ${words.done[sum.recipients === 1 ? 0 : 1]}.${sum.under_way ? ` ${count(sum.under_way)} under way were left alone.` : ""}${sum.waits_for_spool ? " The spool takes no more just now: give it a minute and do the rest." : ""}`;
      }
      if (then) then();
    } catch (error) {
      if (error.code === "left") return;
      state.error = error;
    }
    state.busy = false;
    tell();
    if (state.done) finished(shut);
  };
  const shut = h("button", { type: "button", onclick: close }, "Cancel");
  dialog.append(h("form", { onsubmit: submit, oninput: tell, novalidate: true },
    h("h2", { id: "dialog-title" }, words.title),
    h("p", { class: "meant" }, h("bdi", { class: "code" }, plain(meantBy(filters)))), says, h("p", {}, words.tells),
    words.to ? field("Where to (required)", to) : null,
    words.lasts ? field(words.lasts === "needed" ? "For how long" : "For how long (empty: until it is released)", lasts) : null,
    field("Reason (required)", reason, what === "bounce" ? "Senders read it in the notification, and it goes into the log with your name." : "It goes into the log with your name."),
    all ? h("label", { class: "check" }, sure, `I mean ${plain(everything())}.`) : null,
    h("div", { class: "acts" }, shut, go)));
  open(dialog, () => given.abort());
  (words.to ? to : reason).focus();
  tell();
  countAll("/control/v1/queue/count", filters, (_, part) => { state.counted = part; tell(); }, given.signal)
    .then((counted) => { state.counted = counted; tell(); })
    .catch((error) => { if (error.code !== "left") { state.error = error; tell(); } });
}

const loadingWords = (counted) => (counted ? `Counting: ${recipients(counted.recipients)} so far …` : "Counting what that is …");

// A question about one thing, with these fields; `run` is given the form's values and says what came of it.
function question({ title, meant, tells, fields: inputs, verb, danger, run }) {
  const says = h("div", { class: "says", role: "status" });
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" });
  const shut = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const go = h("button", { type: "submit", class: danger ? "danger" : "primary" }, verb);
  const submit = async (event) => {
    event.preventDefault();
    const form = event.currentTarget;
    const empty = [...form.elements].find((input) => input.required && input.value.trim() === "");
    if (empty) {
      notice(`${empty.labels[0].textContent.replace(/ \(required\)$/, "")}: that is needed.`);
      empty.focus();
      return;
    }
    go.disabled = true;
    try {
      const done = await run(Object.fromEntries([...form.elements].filter((input) => input.name).map((input) => [input.name, input.value.trim()])));
      show(says, h("p", {}, h("b", {}, done)));
      go.hidden = true;
      finished(shut);
    } catch (error) {
      show(says, h("p", { class: "error" }, foreign(capital(error.message)), "."));
      go.disabled = false;
    }
  };
  dialog.append(h("form", { onsubmit: submit, novalidate: true }, h("h2", { id: "dialog-title" }, title),
    meant ? h("p", { class: "meant" }, h("bdi", { class: "code" }, plain(meant))) : null, tells ? h("p", {}, tells) : null,
    inputs || [], says, h("div", { class: "acts" }, shut, go)));
  open(dialog);
  const first = dialog.querySelector("input, select, textarea") || go;
  first.focus();
}

function finished(button) {
  button.textContent = "Close";
  button.focus();
}

function open(dialog, closed) {
  const before = document.activeElement;
  document.body.append(dialog);
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (closed) closed();
    if (before && before.isConnected) before.focus();
    else document.querySelector("h1")?.focus();
  });
  dialog.showModal();
}
