//! The words of SMTP, of clients and of next hops.

use std::hint::black_box;
use std::rc::Rc;

use relevo::config::BareNewlines;
use relevo::id::{Durable, MessageId};
use relevo::limits;
use relevo::mail::envelope::Envelopes;
use relevo::smtp::client::{self, Body, Capabilities, NextStep, Recipients, Transaction};
use relevo::smtp::command;
use relevo::smtp::data::Scanner;
use relevo::smtp::reply::ReplyReader;
use relevo::smtp::server::{BodyEnd, Intake, Session, SessionConfig, Step};

use super::Routine;
use super::inputs::{self, BODY, LARGE};
use super::spool::{NOW, Store};

/// What a client says for one message, and around it.
const COMMANDS: [&str; 8] = [
    "EHLO app7.shop.example",
    "MAIL FROM:<bounce+4711=mail.example@news.shop.example> SIZE=10240 BODY=8BITMIME",
    "RCPT TO:<ada.example@mail.example>",
    "RCPT TO:<grace.example@mail.example>",
    "rcpt to:<charles.example@analytical.engines.example>",
    "DATA",
    "RSET",
    "QUIT",
];

struct Commands;

impl Routine for Commands {
    fn run(&mut self) {
        for _ in 0..100 {
            for line in COMMANDS {
                black_box(command::parse(black_box(line.as_bytes())).expect("a command"));
            }
        }
    }
}

/// Parsing of commands.
pub fn commands() -> Box<dyn Routine> {
    Box::new(Commands)
}

const REPLIES: &str = "220 mx1.mail.example ESMTP\r\n250-mx1.mail.example at your service\r\n250-PIPELINING\r\n\
    250-SIZE 52428800\r\n250-8BITMIME\r\n250-STARTTLS\r\n250 ENHANCEDSTATUSCODES\r\n250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n\
    354 End data with <CR><LF>.<CR><LF>\r\n250 2.0.0 Ok: queued as 4XyZab1c2d3e4f\r\n";

struct Replies(ReplyReader);

impl Routine for Replies {
    fn run(&mut self) {
        for _ in 0..100 {
            let mut input = black_box(REPLIES.as_bytes());
            while !input.is_empty() {
                let (used, reply) = self.0.read(input).expect("sound replies");
                black_box(reply);
                input = &input[used..];
            }
        }
    }
}

/// Reading of replies.
pub fn replies() -> Box<dyn Routine> {
    Box::new(Replies(ReplyReader::default()))
}

/// Bodies as they come, in pieces of at most the receive buffer. The scan works in place.
struct Scan {
    sent: Vec<u8>,
    buffers: Vec<Vec<u8>>,
}

impl Routine for Scan {
    fn prepare(&mut self) {
        for buffer in &mut self.buffers {
            buffer.clone_from(&self.sent);
        }
    }

    fn run(&mut self) {
        for buffer in &mut self.buffers {
            let mut scanner = Scanner::new(limits::MESSAGE_SIZE_DEFAULT, BareNewlines::Refuse);
            for piece in buffer.chunks_mut(limits::SCRATCH) {
                black_box(scanner.scan(piece));
            }
            black_box(scanner.summary());
        }
    }
}

/// The scan of the usual body.
pub fn scan_small() -> Box<dyn Routine> {
    Box::new(Scan { sent: inputs::sent(BODY), buffers: vec![Vec::new(); 16] })
}

/// The scan of a large body.
pub fn scan_large() -> Box<dyn Routine> {
    Box::new(Scan { sent: inputs::sent(LARGE), buffers: vec![Vec::new()] })
}

/// One client that sends message after message: everything the session does but the disk's part.
struct Conversation {
    session: Session,
    envelopes: Envelopes,
    id: Durable<MessageId>,
    sent: Vec<u8>,
    buffers: Vec<Vec<u8>>,
    out: Vec<u8>,
}

const ENVELOPE: &[u8] =
    b"MAIL FROM:<bounce+4711@news.shop.example> SIZE=10240\r\nRCPT TO:<ada.example@mail.example>\r\nDATA\r\n";

impl Routine for Conversation {
    fn prepare(&mut self) {
        for buffer in &mut self.buffers {
            buffer.clone_from(&self.sent);
        }
    }

    fn run(&mut self) {
        for buffer in &mut self.buffers {
            self.out.clear();
            let (used, step) = self.session.handle(ENVELOPE, Intake::Open, &mut self.out);
            assert!(used == ENVELOPE.len() && step == Step::Body);
            let scanned = self.session.scan(buffer);
            assert!(scanned.done);
            let expiry = NOW.after(std::time::Duration::from_secs(86_400));
            let BodyEnd::Accept(envelope, _) = self.session.body_end(NOW, expiry, &mut self.out) else {
                panic!("a sound message was refused")
            };
            // As the shard does when the message is stored.
            self.envelopes.give(black_box(envelope));
            self.session.accepted(&self.id, &mut self.out);
            black_box(&self.out);
        }
    }
}

/// A client's session, from MAIL to the 250 after the dot, without its storage.
pub fn session() -> Box<dyn Routine> {
    let envelopes = Envelopes::default();
    let config = SessionConfig {
        starttls: true,
        dsn: true,
        envelopes: envelopes.clone(),
        ..SessionConfig::plain("relay.example")
    };
    let peer = "192.0.2.17:40000".parse().expect("an address");
    let mut session = Session::new(Rc::new(config), peer, true);
    let mut out = Vec::new();
    session.handle(b"EHLO app7.shop.example\r\n", Intake::Open, &mut out);
    let id = Store::new().store_one();
    let buffers = vec![Vec::new(); 16];
    Box::new(Conversation { session, envelopes, id, sent: inputs::sent(BODY), buffers, out })
}

/// What the client side does for a message on a kept connection, but the socket's part.
struct Delivery {
    capabilities: Capabilities,
    reader: ReplyReader,
    body: Vec<u8>,
    out: Vec<u8>,
}

const ANSWERS: &[u8] = b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n";
const TAKEN: &[u8] = b"250 2.0.0 Ok: queued as 4XyZab1c2d3e4f\r\n";

impl Delivery {
    fn answered(&mut self, transaction: &mut Transaction<'_>, mut input: &[u8]) -> NextStep {
        let mut next = NextStep::AwaitReply;
        while !input.is_empty() {
            let (used, reply) = self.reader.read(input).expect("sound replies");
            input = &input[used..];
            next = transaction.on_reply(reply.expect("a whole reply"));
        }
        next
    }
}

impl Routine for Delivery {
    fn run(&mut self) {
        for _ in 0..16 {
            let recipients = Recipients::from_slice(&[b"ada.example@mail.example"]);
            let sender = b"bounce+4711@news.shop.example";
            let mut transaction =
                Transaction::new(&self.capabilities, sender, recipients, BODY, Body::default())
                    .expect("the hop can take it");
            self.out.clear();
            transaction.write_commands(&mut self.out);
            assert_eq!(self.answered(&mut transaction, ANSWERS), NextStep::SendBody);
            let mut pieces = 0;
            client::stuff(black_box(&self.body), true).for_each(|piece| pieces += piece.len());
            black_box(pieces);
            assert_eq!(self.answered(&mut transaction, TAKEN), NextStep::Done);
            black_box(transaction.verdict(0).expect("a verdict"));
        }
    }
}

/// A next hop's transaction, from MAIL to the verdict.
pub fn delivery() -> Box<dyn Routine> {
    let capabilities = Capabilities { pipelining: true, size: Some(52_428_800), ..Capabilities::default() };
    let mut reader = ReplyReader::default();
    reader.be_terse();
    Box::new(Delivery { capabilities, reader, body: inputs::body(BODY), out: Vec::new() })
}
