//! Who is told of events, and what is taken without a listener.

use std::fmt::Write;

use crate::config::{Config, Keep, LogConfig, LogFormat, PickupConfig, value};

/// Logs and webhooks.
pub(super) fn write(config: &Config, out: &mut String) -> std::fmt::Result {
    for log in &config.logs {
        match &log.path {
            _ if log.is_nowhere() => write!(out, "accounting to nowhere")?,
            Some(path) => write!(out, "accounting to {}", path.display())?,
            None => write!(out, "accounting to standard output")?,
        }
        write_shape(log, out)?;
        match &log.events {
            Some(events) => writeln!(out, ": {}", events.join(", "))?,
            None => writeln!(out)?,
        }
    }
    for webhook in &config.webhooks {
        let events = webhook.events.as_ref().map_or("all events".to_owned(), |events| events.join(", "));
        let span = value::show_duration(webhook.span);
        writeln!(out, "webhook {}: {events}, up to {} at once, within {span}", webhook.url, webhook.most)?;
    }
    for stream in &config.streams {
        let events = stream.events.as_ref().map_or("all events".to_owned(), |events| events.join(", "));
        writeln!(out, "stream {} at {}: {events}", stream.key, stream.url)?;
    }
    if config.control.analytics && config.keeps_journal() {
        writeln!(out, "what becomes of mail is counted")?;
    }
    if config.logs.is_empty() { writeln!(out, "no accounting") } else { Ok(()) }
}

/// The directory that mail is dropped into.
pub(super) fn write_pickup(config: &Config, out: &mut String) -> std::fmt::Result {
    let Some(PickupConfig { directory, bad, account, message_size_max }) = &config.pickup else {
        return Ok(());
    };
    write!(out, "files dropped into {} are taken as mail", directory.display())?;
    if let Some(account) = account {
        write!(out, " of the account {account}")?;
    }
    let most = value::show_size(*message_size_max);
    writeln!(out, ", up to {most} each; what cannot be goes to {}", bad.display())
}

/// Where applications hand mail in over HTTP.
pub(super) fn write_api(config: &Config, out: &mut String) -> std::fmt::Result {
    let Some(address) = config.api.http else { return Ok(()) };
    let scheme = if config.api.tls.is_some() { "https" } else { "http" };
    let most = value::show_size(config.api.message_size_max);
    writeln!(
        out,
        "mail is taken at {scheme}://{address}/api/send from who shows a token with the role send, up to {most} each"
    )
}

/// How a log is written, where that is not as usual.
fn write_shape(log: &LogConfig, out: &mut String) -> std::fmt::Result {
    match log.format {
        LogFormat::Json => {}
        LogFormat::PmtaCsv => write!(out, " as pmta-csv")?,
        LogFormat::KumoJson => write!(out, " as kumo-json")?,
    }
    if let Some(fields) = &log.fields {
        write!(out, " with {}", fields.join(", "))?;
    }
    if !log.redact.is_empty() {
        write!(out, ", addresses unreadable")?;
    }
    if let Some(rotate) = log.rotate {
        write!(out, ", moved aside at {rotate}{}", if log.compress { ", compressed" } else { "" })?;
    }
    match log.keep {
        Some(Keep::Files(files)) => write!(out, ", {files} files kept"),
        Some(Keep::Age(age)) => write!(out, ", kept for {}", value::show_duration(age)),
        None => Ok(()),
    }
}
