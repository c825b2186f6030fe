//! What is made of events: lines of logs in their formats, batches of webhooks and streams, counts, and what is told to who watches.

use std::hint::black_box;
use std::time::Duration;

use relevo::config::LogFormat;
use relevo::control::analytics::roll::Pending;
use relevo::control::outlet::{Redact, Shape};
use relevo::control::outward::Batch;
use relevo::control::stream::Commands;
use relevo::control::streams::lines::{Lines, Wanted};
use relevo::control::webhook::batch::{Events, signature};

use super::Routine;

/// A message that came, and what became of it.
const LINES: [&str; 3] = [
    "{\"time\":\"2026-11-30T09:00:00.123Z\",\"event\":\"received\",\"event_id\":\"00000000G0000102-r\",\"id\":\"00000000G0000102\",\
     \"sender\":\"bounces+1234567@sender.example\",\"recipients\":[\"recipient.name@mail.example\"],\"size\":10240,\"client\":\"192.0.2.25:40025\",\"tenant\":\"shop\"}\n",
    "{\"time\":\"2026-11-30T09:00:00.210Z\",\"event\":\"deferred\",\"event_id\":\"00000000G0000102-a0.1\",\"id\":\"00000000G0000102\",\
     \"sender\":\"bounces+1234567@sender.example\",\"recipients\":[\"recipient.name@mail.example\"],\"hop\":\"mx1.mail.example [198.51.100.7]:25\",\
     \"site\":\"mx:10 mx1.mail.example:25,\",\"provider\":\"mail\",\"class\":\"greylisted\",\"reply\":\"450 4.7.1 <recipient.name@mail.example>: greylisted, please try again later\",\
     \"enhanced\":\"4.7.1\",\"attempts\":1,\"delay_ms\":87,\"arrived\":\"2026-11-30T09:00:00.123Z\",\"size\":10240,\"tenant\":\"shop\"}\n",
    "{\"time\":\"2026-11-30T09:01:00.310Z\",\"event\":\"delivered\",\"event_id\":\"00000000G0000102-d0.1\",\"id\":\"00000000G0000102\",\
     \"sender\":\"bounces+1234567@sender.example\",\"recipients\":[\"recipient.name@mail.example\"],\"hop\":\"mx1.mail.example [198.51.100.7]:25\",\
     \"site\":\"mx:10 mx1.mail.example:25,\",\"provider\":\"mail\",\"source_address\":\"192.0.2.26\",\"tls\":\"TLSv1.3 TLS13_AES_256_GCM_SHA384\",\
     \"reply\":\"250 2.0.0 Ok: queued as 4dGn8m2zXqz1\",\"enhanced\":\"2.0.0\",\"attempts\":2,\"delay_ms\":60187,\"arrived\":\"2026-11-30T09:00:00.123Z\",\"size\":10240,\"tenant\":\"shop\"}\n",
];

struct Shaped {
    shape: Shape,
    out: Vec<u8>,
}

impl Routine for Shaped {
    fn run(&mut self) {
        for _ in 0..100 {
            self.out.clear();
            for line in LINES {
                self.shape.write(black_box(line.as_bytes()), &mut self.out);
            }
            assert!(!self.out.is_empty());
            black_box(&self.out);
        }
    }
}

fn shaped(format: LogFormat, redact: Option<Redact>) -> Box<dyn Routine> {
    Box::new(Shaped { shape: Shape::new(None, (format, None), redact), out: Vec::with_capacity(8192) })
}

/// Rows of PowerMTA's accounting file.
pub fn pmta() -> Box<dyn Routine> {
    shaped(LogFormat::PmtaCsv, None)
}

/// Records of KumoMTA's.
pub fn kumo() -> Box<dyn Routine> {
    shaped(LogFormat::KumoJson, None)
}

/// Our own events, with addresses that nobody can read.
pub fn redacted() -> Box<dyn Routine> {
    shaped(LogFormat::Json, Some(Redact::new(b"a key of thirty-two bytes, or so", true, true)))
}

struct Batches;

impl Routine for Batches {
    fn run(&mut self) {
        let mut batch = Events::new(usize::MAX, Duration::ZERO);
        for _ in 0..100 {
            for line in LINES {
                batch.add(black_box(line.as_bytes()), Duration::ZERO);
            }
        }
        batch.finish();
        black_box(signature(b"a secret", 1_796_014_800, batch.body()));
    }
}

/// A batch of three hundred events, signed.
pub fn webhook() -> Box<dyn Routine> {
    Box::new(Batches)
}

struct ToRedis;

impl Routine for ToRedis {
    fn run(&mut self) {
        let mut batch = Commands::new("relevo", 1_000_000);
        for _ in 0..100 {
            for line in LINES {
                batch.add(black_box(line.as_bytes()), Duration::ZERO);
            }
        }
        batch.finish();
        black_box(batch.bytes());
    }
}

/// A batch of three hundred events for a stream of Redis.
pub fn stream() -> Box<dyn Routine> {
    Box::new(ToRedis)
}

/// So many lines as the journal writes at once.
fn lines() -> Vec<u8> {
    LINES.concat().repeat(100).into_bytes()
}

struct Counted {
    lines: Vec<u8>,
    pending: Pending,
}

impl Routine for Counted {
    fn run(&mut self) {
        self.pending.read(black_box(&self.lines));
        assert!(self.pending.recipients() > 0);
        self.pending.clear();
    }
}

/// Three hundred events are counted for analytics.
pub fn analytics() -> Box<dyn Routine> {
    Box::new(Counted { lines: lines(), pending: Pending::default() })
}

struct Watched {
    lines: Vec<u8>,
    readers: Vec<Wanted>,
    out: Vec<u8>,
}

impl Routine for Watched {
    fn run(&mut self) {
        let lines = Lines::of(black_box(&self.lines), 0);
        for wanted in &self.readers {
            if let Some(text) = lines.whole(wanted) {
                black_box(text);
                continue;
            }
            self.out.clear();
            lines.write(wanted, &mut self.out);
            black_box(&self.out);
        }
    }
}

/// Three hundred events are rendered for ten who watch: five want all of them, four those of one domain, one bounces.
pub fn watched() -> Box<dyn Routine> {
    let wanted = |events, domain| Wanted::new(events, domain).unwrap_or_default();
    let all = (0..5).map(|_| wanted(Some("all"), None));
    let of_one = (0..4).map(|_| wanted(Some("all"), Some("mail.example")));
    let readers = all.chain(of_one).chain([wanted(Some("bounced"), None)]).collect();
    Box::new(Watched { lines: lines(), readers, out: Vec::new() })
}
