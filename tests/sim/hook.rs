//! The service of `[hook]` over the simulated network: what it says is done, who waits for it holds up nobody, and what is out when the node drains or has
//! another configuration comes to its end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use relevo::policy::hook::{HookAnswer, Unanswered};
use relevo::runtime::sim::World;
use relevo::runtime::{Defect, Runtime};
use relevo::shard::hooking::AskedHook;

use super::day::talk::Talk;
use super::relay::{Launch, Relay, configuration};
use super::story;

const RELAY: &str = "10.0.0.1:25";
const MESSAGE: &[u8] = b"Subject: hello\r\n\r\nA line.\r\n.\r\n";
/// What messages are to, and what their clients hear where mail that is not judged is put off.
const KINDS: [(&str, u16); 7] = [
    ("accept", 250),
    ("reject", 550),
    ("defer", 450),
    ("discard", 250),
    ("silent", 451),
    ("failed", 451),
    ("resting", 451),
];

fn settings(fail: &str) -> String {
    let hook = format!("[hook]\nurl = \"http://127.0.0.1:1/\"\ndeadline = \"3s\"\nfail = \"{fail}\"\n");
    configuration(&hook).replace("smtp://10.0.0.2:25", "discard")
}

fn launch<'a>(world: &'a World, fail: &str) -> Relay<'a> {
    let room = relevo::shard::mesh::MeshLimits::of(2);
    let text = settings(fail);
    let launch = Launch { node: 1, shards: 2, lanes: 2, room, configuration: &text };
    Relay::launch(world, &launch).expect("a relay")
}

type Heard = Rc<RefCell<BTreeMap<String, (u16, Duration)>>>;

/// One message of each kind, each by a client of its own: what it heard at the end, and after how long.
fn bring(world: &World, first: u16, heard: &Heard) {
    for (place, (kind, _)) in KINDS.into_iter().enumerate() {
        let runtime = world.shard(9, first + place as u16);
        let (own, heard) = (runtime.clone(), heard.clone());
        runtime.spawn(async move {
            let stream = own.connect(None, RELAY.parse().expect("an address")).expect("a socket");
            let mut talk = Talk::new(own.clone(), stream, Duration::from_secs(60));
            talk.connected().await.expect("a connection");
            assert_eq!(talk.reply().await.ok(), Some(220));
            let to = format!("RCPT TO:<{kind}@d.example>\r\n");
            for (command, code) in [
                ("EHLO c.example\r\n", 250),
                ("MAIL FROM:<a@b.example>\r\n", 250),
                (&*to, 250),
                ("DATA\r\n", 354),
            ] {
                assert_eq!(talk.ask(command).await.ok(), Some(code), "{command}");
            }
            let began = own.now();
            talk.send(MESSAGE).await.expect("it reads");
            let code = talk.reply().await.unwrap_or(0);
            heard.borrow_mut().insert(kind.to_owned(), (code, own.now().since(began)));
            let _ = talk.ask("QUIT\r\n").await;
        });
    }
}

/// Control's part: each question is answered by what the message is to. Those that get no answer are kept.
fn serve(relay: &Relay<'_>, silent: &mut Vec<Arc<AskedHook>>) {
    while let Some(asked) = relay.hooking().next() {
        let about = asked.about();
        assert!(about.header.starts_with("Subject: hello\r\n") && about.recipients_count == 1, "{about:?}");
        assert!(about.client.is_some() && about.trusted && &*about.sender == "a@b.example", "{about:?}");
        let kind = about.recipients[0].split('@').next().unwrap_or_default().to_owned();
        let says = |text: &str| Ok(HookAnswer::parse(text.as_bytes()).expect("an answer"));
        match &*kind {
            "accept" => asked.answer(says(r#"{"action": "accept", "set": {"tenant": "shop"}}"#)),
            "reject" => asked.answer(says(r#"{"action": "reject", "reply": "550 5.7.1 no"}"#)),
            "defer" => asked.answer(says(r#"{"action": "defer", "reply": "450 4.7.1 later"}"#)),
            "discard" => asked.answer(says(r#"{"action": "discard"}"#)),
            "failed" => asked.answer(Err(Unanswered::Failed)),
            "resting" => asked.answer(Err(Unanswered::Resting)),
            _ => silent.push(asked),
        }
    }
}

/// What each kind heard.
fn heard(seed: u64, fail: &str, plant: Option<Defect>) -> BTreeMap<String, (u16, Duration)> {
    let world = World::new(seed);
    if let Some(defect) = plant {
        world.plant(defect, 1.0);
    }
    let (relay, heard, mut silent) = (launch(&world, fail), Heard::default(), Vec::new());
    bring(&world, 0, &heard);
    for _ in 0..1_000 {
        world.run_for(Duration::from_millis(10));
        serve(&relay, &mut silent);
        if heard.borrow().len() == KINDS.len() {
            break;
        }
    }
    let found = heard.take();
    relay.drain();
    found
}

#[test]
fn what_the_hook_says_is_done_and_who_waits_holds_up_nobody() {
    story(4, |seed| {
        for fail in ["defer", "accept"] {
            let found = heard(seed, fail, None);
            for (kind, code) in KINDS {
                let code = if code == 451 && fail == "accept" { 250 } else { code };
                let (heard, after) = found[kind];
                assert_eq!(heard, code, "{kind} where it is to {fail}");
                let most = if kind == "silent" { 4_000 } else { 1_000 };
                assert!(after < Duration::from_millis(most), "{kind} after {after:?}");
            }
        }
    });
}

/// Questions are out while another configuration comes that asks nobody, and while the node drains.
#[test]
fn a_reload_and_a_drain_wait_for_no_answer_that_does_not_come() {
    story(4, |seed| {
        let world = World::new(seed);
        let (mut relay, heard, mut silent) = (launch(&world, "defer"), Heard::default(), Vec::new());
        bring(&world, 0, &heard);
        world.run_for(Duration::from_millis(500));
        while silent.is_empty() {
            serve(&relay, &mut silent);
            world.run_for(Duration::from_millis(10));
        }
        let unasked = configuration("").replace("smtp://10.0.0.2:25", "discard");
        relay.reload(&unasked).expect("it is valid");
        heard.borrow_mut().clear();
        bring(&world, 20, &heard);
        world.run_for(Duration::from_secs(1));
        let codes: Vec<u16> = heard.borrow().values().map(|(code, _)| *code).collect();
        assert_eq!(codes, [250; KINDS.len()], "nobody is asked any more");
        relay.reload(&settings("defer")).expect("it is valid");
        bring(&world, 40, &heard);
        world.run_for(Duration::from_millis(500));
        serve(&relay, &mut silent);
        relay.drain();
    });
}

/// Plants a defect of the hook: it must be seen.
pub fn is_found(defect: Defect) {
    let found = heard(1, "defer", Some(defect));
    assert!(KINDS.into_iter().any(|(kind, code)| found[kind].0 != code), "{defect:?}: {found:?}");
}
