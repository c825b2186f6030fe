// Sends a message by the API. Node 18 or later, nothing else.
const { randomUUID } = require("node:crypto");

const message = {
  from: { email: "hello@shop.example", name: "The shop" },
  to: [{ email: "ada@example.org" }],
  subject: "Your order is on its way",
  text: "It is on its way.",
  html: "<p>It is <b>on its way</b>.</p>",
  category: "orders",
  custom_variables: { order: 1234 },
};

async function send() {
  // The same key for each try of the same message: it is sent once, however often an answer is lost.
  const key = randomUUID();
  for (const pause of [1, 5, 30, null]) {
    let wait = pause;
    try {
      const answer = await fetch(`${process.env.RELEVO_API}/api/send`, {
        method: "POST",
        headers: { Authorization: `Bearer ${process.env.RELEVO_TOKEN}`, "Content-Type": "application/json", "Idempotency-Key": key },
        body: JSON.stringify(message),
        signal: AbortSignal.timeout(60_000),
      });
      const said = await answer.json();
      if (answer.ok) return said.message_ids;
      // 409: an earlier try is worked on still. 429 and 503: later. All else will not be taken as it is.
      if (![409, 429, 503, 504].includes(answer.status) || pause === null) throw Object.assign(new Error(`${answer.status}: ${said.errors.join("; ")}`), { final: true });
      wait = Math.max(pause, Number(answer.headers.get("retry-after")) || 0);
    } catch (error) {
      if (error.final || pause === null) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, wait * 1000));
  }
}

send().then(
  (ids) => console.log(`taken: ${ids.join(", ")}`),
  (error) => { console.error(error.message); process.exitCode = 1; },
);
