//! Where captured mail is asked for. Each question is answered on a thread that may wait for the disk, by a connection of its own to the file: who keeps mail
//! does not wait for it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params_from_iter};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::find::Condition;
use super::store::{self, open};
use super::wanted::Search;
use crate::control::store::StoreError;
use crate::limits;
use crate::spool::layout;

/// Where it is asked for.
pub(in crate::control) struct Desk {
    path: PathBuf,
    /// None: nothing was captured yet, or it could not be opened.
    connection: Mutex<Option<(Connection, Option<u64>)>>,
    asked: Semaphore,
}

/// Which messages are meant.
pub(in crate::control) enum Meant {
    /// All.
    All,
    /// Those of these ids.
    Ids(Vec<String>),
    /// What a search finds.
    Search(Search),
}

/// A message of a list, and what is known beside its fields.
const ROW: &str = "SELECT number, id, at, size, is_read, attachments, inbox, fields FROM message";

impl Desk {
    /// Of this directory.
    pub fn new(data_dir: &Path) -> Desk {
        let path = data_dir.join(layout::SANDBOX);
        Desk { path, connection: Mutex::default(), asked: Semaphore::new(limits::SANDBOX_ASKED) }
    }

    /// Answers on another thread. None: the relay stops.
    pub async fn ask<T: Send + 'static>(
        self: &Arc<Desk>,
        question: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Option<Result<T, StoreError>> {
        let _held = self.asked.acquire().await.ok()?;
        let own = self.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let mut held = own.connection.lock().unwrap_or_else(PoisonError::into_inner);
            // A damaged one was put aside meanwhile, and another has its name.
            if held.as_ref().is_some_and(|(_, inode)| *inode != own.inode()) {
                *held = None;
            }
            // It is made where it is not there: then there is nothing in it.
            let (connection, _) = match &mut *held {
                Some(held) => held,
                none => none.insert((open(&own.path)?, own.inode())),
            };
            let answer = question(connection);
            if matches!(answer, Err(StoreError::Damaged(_))) {
                *held = None;
            }
            answer
        });
        asked.await.ok()
    }

    fn inode(&self) -> Option<u64> {
        fs::metadata(&self.path).ok().map(|found| found.ino())
    }
}

/// A page of what is found, the newest first.
pub(in crate::control) fn list(
    connection: &mut Connection,
    search: Option<&Search>,
    (start, limit): (u64, u64),
) -> Result<Value, StoreError> {
    let condition = Condition::of(&search.cloned().unwrap_or_default());
    let Condition { sql, values } = &condition;
    let one = |sql: &str, values: &[rusqlite::types::Value]| {
        connection.query_row(sql, params_from_iter(values), |row| row.get::<_, i64>(0))
    };
    let total = one("SELECT coalesce(sum(messages), 0) FROM inbox", &[])?;
    let unread = one("SELECT count(*) FROM message WHERE is_read = 0", &[])?;
    let (found, found_unread) = match search {
        None => (total, unread),
        Some(_) => {
            let sql = format!("SELECT count(*), coalesce(sum(is_read = 0), 0) FROM message WHERE {sql}");
            connection.query_row(&sql, params_from_iter(values), |row| Ok((row.get(0)?, row.get(1)?)))?
        }
    };
    let mut messages = Vec::new();
    {
        let sql = format!("{ROW} WHERE {sql} ORDER BY number DESC LIMIT {limit} OFFSET {start}");
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            let at = super::show::time(row.get(2)?);
            let mut message = json!({
                "ID": row.get::<_, String>(1)?, "Created": at, "Size": row.get::<_, i64>(3)?,
                "Read": row.get::<_, bool>(4)?, "Attachments": row.get::<_, i64>(5)?,
                "Username": row.get::<_, String>(6)?,
            });
            let fields: String = row.get(7)?;
            let number: i64 = row.get(0)?;
            message["Tags"] = tags_of(connection, number)?.into();
            add_fields(connection, &mut message, (number, &fields))?;
            messages.push(message);
        }
    }
    Ok(json!({
        "total": total, "unread": unread, "count": messages.len(), "messages_count": found,
        "messages_unread": found_unread, "start": start, "tags": tags(connection)?, "messages": messages,
    }))
}

/// What lists show of a message: its fields, with blind copies of those that only its envelope names.
pub(in crate::control) fn add_fields(
    connection: &Connection,
    message: &mut Value,
    (number, fields): (i64, &str),
) -> Result<(), StoreError> {
    let mut fields: Value = serde_json::from_str(fields).unwrap_or_default();
    let named = fields.to_string().to_lowercase();
    let mut statement =
        connection.prepare("SELECT address FROM recipient WHERE message = ?1 ORDER BY ordinal LIMIT ?2")?;
    let most = limits::SANDBOX_PEOPLE as i64;
    let all = statement.query_map([number, most], |row| row.get::<_, String>(0))?;
    for address in all {
        let address = address?;
        if !named.contains(&address.to_lowercase())
            && let Some(Value::Array(bcc)) = fields.get_mut("Bcc")
        {
            bcc.push(json!({"Name": "", "Address": address}));
        }
    }
    if let (Value::Object(message), Value::Object(fields)) = (message, fields) {
        message.extend(fields);
    }
    Ok(())
}

/// All tags that there are.
pub(in crate::control) fn tags(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let mut statement =
        connection.prepare("SELECT DISTINCT name FROM tag ORDER BY name COLLATE NOCASE LIMIT ?1")?;
    let rows = statement.query_map([limits::SANDBOX_TAGS as i64], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(in crate::control) fn tags_of(connection: &Connection, number: i64) -> Result<Vec<String>, StoreError> {
    let mut statement = connection.prepare("SELECT name FROM tag WHERE message = ?1 ORDER BY name")?;
    let rows = statement.query_map([number], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A message with all of its bytes. `latest` is an id, too.
pub(in crate::control) struct Found {
    pub number: i64,
    pub id: String,
    pub at: i64,
    pub inbox: String,
    pub sender: String,
    pub fields: String,
    pub bytes: Vec<u8>,
}

/// None: there is none of that id.
pub(in crate::control) fn find(connection: &Connection, id: &str) -> Result<Option<Found>, StoreError> {
    let which = if id == "latest" { "?1 = 'latest' ORDER BY number DESC LIMIT 1" } else { "id = ?1" };
    let sql = format!(
        "SELECT number, id, at, inbox, sender, fields, bytes FROM message JOIN raw ON message = number WHERE {which}"
    );
    let found = connection.query_row(&sql, [id], |row| {
        Ok(Found {
            number: row.get(0)?,
            id: row.get(1)?,
            at: row.get(2)?,
            inbox: row.get(3)?,
            sender: row.get(4)?,
            fields: row.get(5)?,
            bytes: row.get(6)?,
        })
    });
    Ok(found.optional()?)
}

fn numbers(transaction: &rusqlite::Transaction<'_>, meant: &Meant) -> Result<Vec<i64>, StoreError> {
    let condition = match meant {
        Meant::All => Condition { sql: "1".to_owned(), values: Vec::new() },
        Meant::Search(search) => Condition::of(search),
        Meant::Ids(ids) => Condition {
            sql: format!("id IN ({})", vec!["?"; ids.len()].join(", ")),
            values: ids.iter().cloned().map(Into::into).collect(),
        },
    };
    let mut statement =
        transaction.prepare(&format!("SELECT number FROM message WHERE {}", condition.sql))?;
    let rows = statement.query_map(params_from_iter(&condition.values), |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// These were looked at, or were not.
pub(in crate::control) fn mark(
    connection: &mut Connection,
    meant: &Meant,
    is_read: bool,
) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut statement = transaction.prepare("UPDATE message SET is_read = ?2 WHERE number = ?1")?;
        for number in numbers(&transaction, meant)? {
            statement.execute((number, is_read))?;
        }
    }
    Ok(transaction.commit()?)
}

/// These go.
pub(in crate::control) fn remove(connection: &mut Connection, meant: &Meant) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let gone = numbers(&transaction, meant)?;
    store::remove(&transaction, &gone)?;
    Ok(transaction.commit()?)
}

/// These have these tags, and no others.
pub(in crate::control) fn tag(
    connection: &mut Connection,
    ids: Vec<String>,
    tags: &[String],
) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for number in numbers(&transaction, &Meant::Ids(ids))? {
        transaction.execute("DELETE FROM tag WHERE message = ?1", [number])?;
        for name in tags {
            transaction
                .execute("INSERT OR IGNORE INTO tag (message, name) VALUES (?1, ?2)", (number, name))?;
        }
    }
    Ok(transaction.commit()?)
}

/// A tag is called otherwise; None: it goes. False: there is none of that name.
pub(in crate::control) fn rename_tag(
    connection: &mut Connection,
    name: &str,
    other: Option<&str>,
) -> Result<bool, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Some(other) = other {
        transaction.execute(
            "INSERT OR IGNORE INTO tag SELECT message, ?2 FROM tag WHERE name = ?1",
            [name, other],
        )?;
    }
    let gone = match other == Some(name) {
        true => 1,
        false => transaction.execute("DELETE FROM tag WHERE name = ?1", [name])?,
    };
    transaction.commit()?;
    Ok(gone > 0)
}

/// How much there is, for `/api/v1/info`.
pub(in crate::control) fn sizes(connection: &Connection) -> Result<(i64, i64, i64), StoreError> {
    let sql = "SELECT (SELECT coalesce(sum(messages), 0) FROM inbox), (SELECT count(*) FROM message WHERE is_read = 0), \
               (SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size())";
    Ok(connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?)
}

#[cfg(test)]
mod tests {
    use super::super::store::{Bounds, Store};
    use super::super::summary::Summary;
    use super::*;
    use crate::id::MessageId;
    use crate::shard::capturing::Captured;
    use crate::time::UnixMillis;

    fn fill(data_dir: &Path, first: u32, count: u32) {
        let bounds = Bounds { messages: 1000, bytes: 1 << 30 };
        let (mut store, _) = Store::open(data_dir, bounds).unwrap();
        for offset in first..first + count {
            let text = format!(
                "From: Ada <ada@a.example>\r\nTo: bo@b.example\r\nSubject: order {offset}\r\n\r\n100% \"of\" it\r\n"
            );
            let message = Captured {
                id: MessageId { lane: 0, sequence: 1, offset },
                arrival: UnixMillis(1000 * u64::from(offset)),
                account: "shop".into(),
                sender: b"me@a.example".as_slice().into(),
                recipients: vec![
                    (0, b"bo@b.example".as_slice().into()),
                    (1, b"hidden@b.example".as_slice().into()),
                ],
                bytes: text.into_bytes(),
            };
            store.add(&[(&message, Summary::read(&message.bytes))]).unwrap();
        }
    }

    fn found(desk: &Arc<Desk>, text: &str) -> i64 {
        let search = Search::read(text);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answer = runtime.block_on(desk.ask(move |file| list(file, Some(&search), (0, 50))));
        answer.unwrap().unwrap()["messages_count"].as_i64().unwrap()
    }

    #[test]
    fn words_find_what_they_say() {
        let scratch = tempfile::tempdir().unwrap();
        fill(scratch.path(), 1, 3);
        let desk = Arc::new(Desk::new(scratch.path()));
        for (text, wanted) in [
            ("order", 3),
            ("from:ADA", 3),
            ("from:\"ada@a.example\" subject:\"order 2\"", 1),
            ("to:hidden", 0),
            ("bcc:hidden", 3),
            ("bcc:bo@b", 0),
            ("addressed:hidden", 3),
            ("-subject:1", 2),
            // Quotes and signs of the database mean nothing.
            ("\"0% \" -nothing", 3),
            ("subject:%", 0),
            ("subject:\"order*\"", 0),
            ("subject:or", 3),
            ("NEAR(order,1)", 0),
            ("after:1970-01-02", 0),
            ("larger:1k", 0),
            ("is:unread -has:attachment", 3),
        ] {
            assert_eq!(found(&desk, text), wanted, "{text}");
        }
    }

    #[test]
    fn a_file_that_was_replaced_is_not_read_any_more() {
        let scratch = tempfile::tempdir().unwrap();
        let desk = Arc::new(Desk::new(scratch.path()));
        assert_eq!(found(&desk, "order"), 0);
        fill(scratch.path(), 1, 3);
        assert_eq!(found(&desk, "order"), 3);
        let path = scratch.path().join(layout::SANDBOX);
        fs::rename(&path, path.with_extension("aside")).unwrap();
        for more in ["-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{more}", path.display()));
        }
        fill(scratch.path(), 7, 1);
        assert_eq!(found(&desk, "order"), 1);
    }
}
