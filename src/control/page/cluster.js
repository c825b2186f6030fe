// The nodes of the cluster: who answers, and how each is. Asked while this is looked at, as this node sees them.

const REACHES = {
  slow: ["slow", "It does not answer in time"], away: ["away", "Nobody answers there"], refuses: ["refuses", "It refuses the token of cluster.token_file"],
  unfit: ["no answer", "Something else answers there, or another version"], unasked: ["not asked", "The configuration does not let it be asked"],
};
const LIVES = { ready: "good", starting: "wait", draining: "warn", refusing: "bad" };
const SHARES = { leased: ["by leases", ""], kept: ["on last leases", "warn"], share: ["by share", "warn"] };

// Where a node is, if a browser can go there.
const pageOf = (url, hash) => (/^https?:\/\/[^/?#\s]+$/.test(url || "") ? `${url}/${hash || ""}` : null);
const nodeLink = (one) => {
  const href = one.own ? "#/overview" : pageOf(one.url);
  return href ? h("a", { href, rel: "noreferrer" }, foreign(one.node)) : foreign(one.node);
};

const cluster = listed("Cluster", "/control/v1/cluster", {
  words: "The nodes that share limits, or are listed in [cluster], as this one sees them.",
  draw(told) {
    const others = told.nodes.filter((one) => !one.own);
    const own = told.nodes.find((one) => one.own);
    const columns = [{ label: "Node", cls: "wordy name" }, { label: "State", cls: "left" }, { label: "Queued", num: true }, { label: "Deferred", num: true }, { label: "Oldest", num: true, title: "The oldest that wait came at least so long ago" }, { label: "In/s", num: true, title: "Recipients accepted a second, over the last minute" },
      { label: "Out/s", num: true, title: "Recipients delivered a second, over the last minute" }, { label: "Disk free", num: true }, { label: "Limits", cls: "left", title: "How limits are shared with the other nodes" }, { label: "Up", num: true }];
    const rows = told.nodes.map((one) => ({ key: `${one.id} ${one.url} ${one.node}`, cls: one.summary ? null : "silent", cells: nodeCells(one, own) }));
    return [clusterVerdict(told, others), section(told.cluster ? ["Nodes of ", foreign(told.cluster)] : "Nodes", h("span", { class: "as-of" }, "asked ", time(told.as_of)), table({ caption: "Nodes", columns, rows, cls: "nodes" })),
      told.more ? h("p", { class: "hint" }, `${plural(told.more, "more node")} not asked: there are too many.`) : null];
  },
});

function clusterVerdict(told, others) {
  if (!told.cluster) return h("div", { class: "verdict", role: "status" }, h("b", {}, "This node is in no cluster"), h("p", {}, "[cluster] in relevo.toml names its nodes, or the Redis where they meet."));
  const silent = others.filter((one) => !one.summary);
  const shut = told.nodes.filter((one) => one.summary && one.summary.state !== "ready");
  const facts = [
    told.trouble ? h("li", {}, "Redis cannot be asked which nodes there are, so those of before are shown: ", foreign(told.trouble), ".") : null,
    ...silent.slice(0, 20).map((one) => h("li", {}, foreign(one.node), ": ", foreign(one.words || ""), one.since ? [", since ", time(one.since, clockOf(Date.parse(one.since)))] : "", ".")),
    silent.length > 20 ? h("li", {}, `And ${plural(silent.length - 20, "more node")}.`) : null,
    ...shut.slice(0, 20).map((one) => h("li", {}, foreign(one.node), ` is ${one.summary.state}`, one.summary.words && one.summary.words !== one.summary.state ? [": ", foreign(one.summary.words)] : "", ".")),
  ].filter(Boolean);
  const kind = silent.length ? "bad" : shut.length || told.trouble ? "warn" : "";
  const words = silent.length ? `${silent.length} of ${plural(told.nodes.length, "node")} ${silent.length === 1 ? "does" : "do"} not answer` : shut.length ? `${shut.length} of ${plural(told.nodes.length, "node")} ${shut.length === 1 ? "takes" : "take"} no mail` : `${told.nodes.length === 1 ? "The only node answers" : `All ${told.nodes.length} nodes answer and take mail`}`;
  return h("div", { class: `verdict ${kind}`, role: "status" }, h("b", {}, `${icon[kind || "good"]} ${words}`), facts.length ? h("ul", {}, facts) : null);
}

function nodeCells(one, own) {
  const of = one.summary;
  const isOld = own && one.version && one.version !== own.version;
  const name = [nodeLink(one), one.own ? h("small", { class: "under" }, "this node") : one.url ? h("small", { class: "under" }, foreign(one.url)) : null,
    isOld ? h("small", { class: "under" }, "runs relevo ", foreign(one.version), ", not ", foreign(own.version)) : null];
  if (!of) {
    const [words, title] = REACHES[one.reach] || [one.reach, ""];
    const last = one.answered ? ["answered ", time(one.answered)] : one.registered ? ["was heard of ", time(one.registered)] : "never answered";
    return [name, [h("span", { title }, badge(words, one.reach === "unasked" ? "warn" : "bad")), h("small", { class: "under" }, last)], ...Array.from({ length: 8 }, () => none())];
  }
  const [limits, kind] = SHARES[of.redis] || ["", ""];
  return [name, [badge(of.state, LIVES[of.state]), of.warnings ? h("small", { class: "under" }, plural(of.warnings, "warning")) : null],
    one.own ? queueLink({}, count(of.queued)) : count(of.queued), count(of.deferred), known(of.oldest_seconds) ? (of.oldest_seconds ? `> ${brief(of.oldest_seconds)}` : "< 1 min") : none(), rate(of.accepted), rate(of.delivered), bytes(of.disk_free),
    limits ? (kind ? badge(limits, kind) : limits) : none("own"), brief(of.uptime_seconds)];
}
