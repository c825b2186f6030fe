//! What is told of a message.

use std::hint::black_box;

use relevo::id::MessageId;
use relevo::observe::event::{Arrival, Attempt, Encoder, Event, Mail};
use relevo::time::UnixMillis;

use super::Routine;

const NOW: UnixMillis = UnixMillis(1_764_061_200_123);

struct Events {
    encoder: Encoder,
    lines: Vec<u8>,
}

impl Routine for Events {
    fn run(&mut self) {
        let arrival =
            Arrival { size: 10_240, client: Some(([192, 0, 2, 25], 40_025).into()), ..Arrival::default() };
        let attempt = Attempt {
            hop: "mx1.mail.example [198.51.100.7]:25",
            site: "mx:10 mx1.mail.example:25,20 mx2.mail.example:25,",
            provider: "mail",
            address: Some([192, 0, 2, 26].into()),
            tls: "TLSv1.3 TLS13_AES_256_GCM_SHA384",
            reply: "250 2.0.0 Ok: queued as 4dGn8m2zXqz1",
            enhanced: Some((2, 0, 0)),
            attempts: 1,
            delay_ms: Some(87),
            ..Attempt::default()
        };
        for offset in 0..100 {
            let id = MessageId { lane: 1, sequence: 3, offset: 4096 * offset };
            let recipients: [&[u8]; 1] = [b"recipient.name@mail.example"];
            let mail = Mail::new(id, b"bounces+1234567@sender.example", (0, &recipients));
            self.lines.clear();
            self.encoder.event(NOW, &Event::Received(mail, arrival), &mut self.lines);
            let mail = Mail { came: Some((UnixMillis(NOW.0 - 87), 10_240)), ..mail };
            self.encoder.event(NOW, &Event::Delivered(mail, attempt), &mut self.lines);
            black_box(&self.lines);
        }
    }
}

/// A message is received and delivered.
pub fn events() -> Box<dyn Routine> {
    Box::new(Events { encoder: Encoder::new(7, NOW, "0"), lines: Vec::with_capacity(4096) })
}
