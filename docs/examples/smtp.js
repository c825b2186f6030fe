// Sends a message by SMTP with Nodemailer (npm install nodemailer).
const nodemailer = require("nodemailer");

const relay = nodemailer.createTransport({
  host: process.env.RELEVO_HOST,
  port: Number(process.env.RELEVO_PORT || 587),
  // STARTTLS, or nothing is said.
  requireTLS: true,
  // Connections are kept: a handshake costs more than a message.
  pool: true,
  auth: { user: process.env.RELEVO_USER, pass: process.env.RELEVO_PASSWORD },
});

(async () => {
  try {
    const sent = await relay.sendMail({
      from: "The shop <hello@shop.example>",
      to: "Ada <ada@example.org>",
      subject: "Your order is on its way",
      text: "It is on its way.",
      html: "<p>It is <b>on its way</b>.</p>",
      // In events, and what is counted by; it never leaves the relay.
      headers: { "X-Relevo-Category": "orders" },
    });
    // The others have theirs: these were refused one by one.
    for (const error of sent.rejectedErrors || []) console.error(`${error.recipient}: ${error.response}`);
    console.log("taken: it is on the relay's disk");
  } catch (error) {
    // 4xx and broken connections: try again later, with longer and longer pauses. 5xx: it will not be taken as it is.
    const later = !error.responseCode || error.responseCode < 500;
    console.error(`${later ? "try again later" : "not to be sent again as it is"}: ${error.response || error.message}`);
    process.exitCode = 1;
  } finally {
    relay.close();
  }
})();
