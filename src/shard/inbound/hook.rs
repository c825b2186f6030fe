//! Behind the rules: the service of `[hook]` is asked what is to become of a message, while its header section is in memory and before any of it is stored.
//! The thread of control asks (`shard/hooking`), and the message waits, so long and no longer; other sessions go on.

use std::sync::Arc;

use crate::config::hook::{HookConfig, HookFail};
use crate::limits;
use crate::mail::envelope::Envelope;
use crate::mail::header::{self, Edit};
use crate::mail::parameters::Key;
use crate::names::ends::End;
use crate::policy::admit::{Admitted, Section, Submitter};
use crate::policy::hook::{HookAction, HookQuestion, HookSet, UNASKED, Unanswered};
use crate::policy::reason::Reason;
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::hooking::{AskedHook, HookResult};
use crate::shard::live::LiveConfig;

/// A message, as rules left it.
pub(super) struct Asking<'a> {
    pub client: Submitter<'a>,
    pub envelope: &'a mut Envelope,
    /// What is in memory of it.
    pub body: &'a mut Vec<u8>,
    pub section: Section,
    /// Bytes that came of it.
    pub size: u64,
    pub done: &'a mut Admitted,
}

/// Asks, and does what is said. The reply with which the message is refused, if it is.
pub(super) async fn ask<R: Runtime>(
    shard: &Shard<R>,
    (live, hook): (&LiveConfig, &HookConfig),
    mut asking: Asking<'_>,
) -> Result<(), (Box<str>, Reason)> {
    if shard.runtime.planted(Defect::HookUnasked) {
        return Ok(());
    }
    let question = question(live, &asking);
    let held = question.bytes();
    shard.gather(held);
    let result = match shard.mesh.hooking().ask(question) {
        Some(asked) => answer(shard, hook, &asked).await,
        None => None,
    };
    shard.ungather(held);
    let counted = place(&result);
    shard.instruments.families.hook.add(counted, 1);
    let Some(Ok(answer)) = result else {
        return match hook.fail {
            HookFail::Accept => Ok(()),
            HookFail::Defer => Err((UNASKED.into(), Reason::Hook)),
        };
    };
    match answer.action {
        HookAction::Reject(reply) | HookAction::Defer(reply) => return Err((reply, Reason::Hook)),
        HookAction::Discard => {
            asking.envelope.recipients.iter_mut().for_each(|one| one.at_once = Some(End::Discarded));
            asking.envelope.parameters.get_or_insert_default();
        }
        HookAction::Accept => {}
    }
    let before = asking.body.capacity();
    set(answer.set, &mut asking);
    shard.gather(asking.body.capacity() - before);
    Ok(())
}

/// Where it is counted, among `observe::families::HOOK`.
fn place(result: &Option<HookResult>) -> usize {
    match result {
        Some(Ok(answer)) => match answer.action {
            HookAction::Accept => 0,
            HookAction::Reject(_) => 1,
            HookAction::Defer(_) => 2,
            HookAction::Discard => 3,
        },
        Some(Err(Unanswered::Failed)) => 4,
        Some(Err(Unanswered::Resting)) => 5,
        // Too much waits, or nobody asks in time.
        None => 6,
    }
}

fn question(live: &LiveConfig, asking: &Asking<'_>) -> HookQuestion {
    let Asking { client, envelope, body, section, size, .. } = asking;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let whole = &body[..section.length.min(body.len())];
    let whole = &whole[header::start(whole, section.mailbox_line)..];
    let shown = &whole[..whole.len().min(limits::HOOK_HEADER_MAX)];
    let listener = client.listener.and_then(|place| live.config.listeners.get(place));
    let first = envelope.recipients.iter().take(limits::HOOK_RECIPIENTS_MAX);
    let parameters = envelope.parameters.as_ref().map(|all| all.message.named()).unwrap_or_default();
    let known = |(name, _): &(&str, &str)| *name != Key::Metadata.name();
    HookQuestion {
        client: envelope.origin.client.map(|client| client.to_string()),
        helo: envelope.origin.helo.to_string(),
        tls: envelope.origin.tls.as_deref().map(str::to_owned),
        account: client.account.map(str::to_owned),
        listener: listener.map(|listener| listener.address.to_string()),
        trusted: client.trusted,
        sender: text(&envelope.sender),
        recipients: first.map(|one| text(&one.address)).collect(),
        recipients_count: envelope.recipients.len(),
        size: *size,
        set: parameters
            .iter()
            .filter(|one| known(one))
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
        header: text(shown),
        header_cut: shown.len() < whole.len(),
    }
}

/// What is said of it. None: nothing in time. A stop waits for that too, as for all that is under way: what nobody was asked of is not let in.
async fn answer<R: Runtime>(
    shard: &Shard<R>,
    hook: &HookConfig,
    asked: &Arc<AskedHook>,
) -> Option<HookResult> {
    let give_up = shard.runtime.now() + hook.deadline + limits::HOOK_LATE;
    let mut pause = limits::HOOK_LOOK;
    loop {
        let answered = asked.answered();
        if answered.is_some() || shard.runtime.now() >= give_up {
            return answered;
        }
        shard.timers.sleep_until(shard.runtime.now() + pause).await;
        pause = (pause * 2).min(limits::HOOK_LOOK_MAX);
    }
}

/// As a rule sets it that is asked last.
fn set(set: HookSet, asking: &mut Asking<'_>) {
    let HookSet { parameters, expire, add } = set;
    if !parameters.is_empty() {
        let all = asking.envelope.parameters.get_or_insert_default();
        parameters.into_iter().for_each(|(key, value)| all.message.put(key, value));
    }
    asking.done.expire = expire.or(asking.done.expire);
    if !add.is_empty() {
        let Section { length, mailbox_line } = asking.section;
        let length = length.min(asking.body.len());
        let after = Edit { remove: Vec::new(), add }.apply(asking.body, length, mailbox_line);
        asking.done.grown += after as i64 - length as i64;
    }
}
