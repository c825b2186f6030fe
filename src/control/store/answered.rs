//! What requests with a key (`Idempotency-Key`) were answered, so that the same request is answered the same again, also after a kill.

use rusqlite::{Connection, OptionalExtension, params};

use super::error::StoreError;
use super::rows::number;
use crate::limits;
use crate::time::UnixMillis;

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownAnswer {
    /// Nothing: from now on it is that of this request.
    New,
    /// It is that of another request.
    Other,
    /// It was begun, and nobody knows what came of it: its messages are called so.
    Unfinished(String),
    /// It was answered.
    Answered(u16, Vec<u8>),
}

/// A request with a key.
#[derive(Clone, Debug)]
pub struct KeyedRequest {
    /// Whose.
    pub token: String,
    /// Its key.
    pub key: String,
    /// What it asks, in short.
    pub digest: Vec<u8>,
    /// How its messages are called.
    pub name: String,
}

pub(super) fn begin(
    connection: &mut Connection,
    request: &KeyedRequest,
    now: UnixMillis,
) -> Result<KnownAnswer, StoreError> {
    let transaction = connection.transaction()?;
    let KeyedRequest { token, key, digest, name } = request;
    let old = now.0.saturating_sub(limits::SEND_KEYS_KEPT.as_millis() as u64);
    transaction.execute(
        "DELETE FROM answered WHERE rowid IN (SELECT rowid FROM answered WHERE at < ?1 LIMIT 1000)",
        [number(old)],
    )?;
    let known = transaction.query_row(
        "SELECT digest, name, status, body FROM answered WHERE token = ?1 AND key = ?2",
        [token, key],
        |row| {
            Ok((
                row.get::<_, Vec<u8>>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, u16>(2)?,
                row.get::<_, Vec<u8>>(3)?,
            ))
        },
    );
    let found = match known.optional()? {
        None => {
            // Now and then: to find the oldest, all are walked.
            let is_turn = name.ends_with("00");
            let most = limits::SEND_KEYS_MAX as i64;
            let sql = "DELETE FROM answered WHERE rowid IN (SELECT rowid FROM answered ORDER BY at DESC LIMIT 10000 OFFSET ?1)";
            if is_turn {
                transaction.execute(sql, [most])?;
            }
            let sql = "INSERT INTO answered (token, key, digest, name, at, status, body) VALUES (?1, ?2, ?3, ?4, ?5, 0, x'')";
            transaction.execute(sql, params![token, key, digest, name, number(now.0)])?;
            KnownAnswer::New
        }
        Some((other, ..)) if other != *digest => KnownAnswer::Other,
        Some((_, name, 0, _)) => KnownAnswer::Unfinished(name),
        Some((.., status, body)) => KnownAnswer::Answered(status, body),
    };
    transaction.commit()?;
    Ok(found)
}

pub(super) fn end(
    connection: &mut Connection,
    (token, key): (&str, &str),
    answer: Option<(u16, &[u8])>,
) -> Result<(), StoreError> {
    match answer {
        Some((status, body)) => {
            let is_large = body.len() > limits::SEND_ANSWER_SMALL;
            connection.execute(
                "UPDATE answered SET status = ?3, body = ?4, large = ?5 WHERE token = ?1 AND key = ?2",
                params![token, key, status, body, is_large],
            )?;
            let sql = "DELETE FROM answered WHERE rowid IN (SELECT rowid FROM answered WHERE large ORDER BY at DESC LIMIT 100 OFFSET ?1)";
            if is_large { connection.execute(sql, [limits::SEND_KEYS_LARGE as i64])? } else { 0 }
        }
        None => connection.execute("DELETE FROM answered WHERE token = ?1 AND key = ?2", [token, key])?,
    };
    Ok(())
}
