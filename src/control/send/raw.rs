//! A message that its sender wrote himself: `POST /api/send/raw?from=…&to=…`, the body is the message.

use std::borrow::Cow;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::answers::{refusal, said};
use super::asked::{Asked, Count, Read};
use super::compose::{Composed, address};
use super::once::once;
use crate::limits;
use crate::mail::envelope::Recipient;
use crate::mail::instructions;
use crate::mail::parameters::{self, Key, Parameters};

pub(super) async fn send(State(asked): State<Asked>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let most = |live: &crate::control::reload::ApiInForce| {
        usize::try_from(live.message_size_max).unwrap_or(usize::MAX)
    };
    match asked.read(request, most).await {
        Ok(read) => {
            let what = format!("raw?{query}");
            once(asked, read, what, |asked, read, what, _| Box::pin(send_one(asked, read, what))).await
        }
        Err(refused) => refused,
    }
}

async fn send_one(asked: &Asked, read: &Read, what: &str) -> Response {
    let query = what.split_once('?').map_or("", |(_, query)| query);
    match envelope(query, &read.body, read.sender.tenant.is_some()) {
        Ok(composed) => said(asked.hand_over(composed, (&read.sender, &read.live)).await),
        Err(why) => {
            asked.count(Count::Invalid);
            refusal(StatusCode::BAD_REQUEST, &why)
        }
    }
}

fn envelope(query: &str, body: &[u8], is_of_tenant: bool) -> Result<Composed, String> {
    let (mut sender, mut recipients, mut all) = (None, Vec::new(), Parameters::default());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let key = match &*name {
            "from" if value.is_empty() => {
                sender = Some(Vec::new());
                continue;
            }
            "from" => {
                let (path, _) = address(&value).map_err(|why| format!("'from' address is invalid: {why}"))?;
                sender = Some(path.into_bytes());
                continue;
            }
            "to" => {
                for one in value.split(',').map(str::trim).filter(|one| !one.is_empty()) {
                    let (path, at) = address(one).map_err(|why| format!("'to' address is invalid: {why}"))?;
                    recipients.push(Recipient::new(path.as_bytes().into(), at));
                }
                continue;
            }
            "category" => Key::Category,
            "campaign" => Key::Campaign,
            "metadata" => Key::Metadata,
            other => {
                return Err(format!(
                    "'{other}' is nothing to say here: there are from, to, category, campaign and metadata"
                ));
            }
        };
        parameters::check(key, &value).map_err(|problem| format!("'{name}' {problem}"))?;
        all.put(key, (*value).into());
    }
    let sender =
        sender.ok_or("'from' is required: the address that bounces go to; empty: they go nowhere")?;
    if recipients.is_empty() || recipients.len() > limits::RECIPIENTS_MAX {
        return Err(format!(
            "'to' is required: one recipient at least, and {} at most",
            limits::RECIPIENTS_MAX
        ));
    }
    if body.is_empty() {
        return Err("there is no message in the body".to_owned());
    }
    let message = with_crlf(body).into_owned();
    if is_of_tenant && let Some(name) = instruction(&message) {
        return Err(format!(
            "the message has the field {name}, an instruction to a relay, which the tokens of a tenant may not give"
        ));
    }
    Ok(Composed { sender, recipients, parameters: all, message })
}

/// The first field of a message that is an instruction, as whoever obeys them finds it: also where the first line is none of the message's own.
fn instruction(message: &[u8]) -> Option<String> {
    let found = [false, true].into_iter().find_map(|mailbox_line| {
        let fields = instructions::read(message, mailbox_line).fields;
        fields.into_iter().next()
    })?;
    let name = message[found].split(|byte| *byte == b':').next().unwrap_or_default();
    Some(String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase())
}

/// With CRLF at the end of each line, as text files have them otherwise.
fn with_crlf(body: &[u8]) -> Cow<'_, [u8]> {
    let lines = || body.split_inclusive(|byte| *byte == b'\n');
    if lines().all(|line| line.ends_with(b"\r\n")) {
        return Cow::Borrowed(body);
    }
    let mut out = Vec::with_capacity(body.len() + body.len() / 32 + 2);
    for line in lines() {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        out.extend_from_slice(text.strip_suffix(b"\r").unwrap_or(text));
        out.extend_from_slice(b"\r\n");
    }
    Cow::Owned(out)
}
