//! What stands in the tables, as values.

use rusqlite::{Connection, Row, params};

use super::error::StoreError;
use super::window::Window;
use crate::config::RouteTarget;
use crate::limits;
use crate::queue::select::Pattern;
use crate::queue::suspension::{Effect, Scope, Suspension};
use crate::shaping::key::Key;
use crate::shaping::value;
use crate::time::UnixMillis;

const COLUMNS: &str = "id, effect, key, value, domain, site, provider, tenant, campaign, source, pool, since, until, by, reason";

pub(super) fn suspensions(connection: &Connection) -> Result<(Vec<Suspension>, usize), StoreError> {
    // The latest are kept, should somebody else have written too many.
    let sql = format!("SELECT {COLUMNS} FROM suspension ORDER BY id DESC LIMIT {}", limits::SUSPENSIONS_MAX);
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let (mut all, mut senseless) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        match suspension(row)? {
            Some(suspension) => all.push(suspension),
            None => senseless += 1,
        }
    }
    all.reverse();
    Ok((all, senseless))
}

/// None: a later version may know what it means, or somebody else wrote it.
fn suspension(row: &Row<'_>) -> Result<Option<Suspension>, StoreError> {
    let text = |name| row.get::<_, Option<String>>(name);
    let effect: String = row.get("effect")?;
    let effect = match &*effect {
        "wait" => Some(Effect::Wait),
        "return" => Some(Effect::Return),
        "redirect" => RouteTarget::host(&text("value")?.unwrap_or_default()).ok().map(Effect::Redirect),
        "drain" => RouteTarget::host(&text("value")?.unwrap_or_default()).ok().map(Effect::Drain),
        "set" => {
            let key = text("key")?.as_deref().and_then(Key::named);
            let written = text("value")?.unwrap_or_default();
            key.and_then(|key| Some(Effect::Set(key, value::parse(&written, key.kind())?)))
        }
        _ => None,
    };
    let (domain, site) = (text("domain")?, text("site")?);
    let pattern = |written: &Option<String>| written.as_deref().map(Pattern::parse);
    let (domain, site) = (pattern(&domain), pattern(&site));
    if domain == Some(None) || site == Some(None) {
        return Ok(None);
    }
    let name = |name| Ok::<_, rusqlite::Error>(text(name)?.map(String::into_boxed_str));
    let scope = Scope {
        domain: domain.flatten(),
        site: site.flatten(),
        provider: name("provider")?,
        tenant: name("tenant")?,
        campaign: name("campaign")?,
        source: name("source")?,
        pool: name("pool")?,
    };
    if scope.mixes() && !matches!(effect, Some(Effect::Set(..))) {
        return Ok(None);
    }
    let time = |name| row.get::<_, i64>(name).map(|at| UnixMillis(u64::try_from(at).unwrap_or(0)));
    let id = u64::try_from(row.get::<_, i64>("id")?).ok();
    let (since, until) = (time("since")?, time("until")?);
    let (by, reason) = (name("by")?.unwrap_or_default(), name("reason")?.unwrap_or_default());
    Ok(effect.zip(id).map(|(effect, id)| Suspension { id, effect, scope, since, until, by, reason }))
}

pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn write<'a>(
    connection: &mut Connection,
    put: impl Iterator<Item = &'a Suspension>,
    gone: impl Iterator<Item = u64>,
) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    {
        let values = "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15";
        let sql = format!("INSERT OR REPLACE INTO suspension ({COLUMNS}) VALUES ({values})");
        let mut insert = transaction.prepare(&sql)?;
        for Suspension { id, effect, scope, since, until, by, reason } in put {
            let (key, value) = match effect {
                Effect::Set(key, value) => (Some(key.name()), Some(value.to_string())),
                Effect::Redirect(to) | Effect::Drain(to) => (None, Some(to.to_string())),
                Effect::Wait | Effect::Return => (None, None),
            };
            let Scope { domain, site, provider, tenant, campaign, source, pool } = scope;
            let pattern = |pattern: &Option<Pattern>| pattern.as_ref().map(ToString::to_string);
            insert.execute(params![
                number(*id),
                effect.name(),
                key,
                value,
                pattern(domain),
                pattern(site),
                provider.as_deref(),
                tenant.as_deref(),
                campaign.as_deref(),
                source.as_deref(),
                pool.as_deref(),
                number(since.0),
                number(until.0),
                &**by,
                &**reason
            ])?;
        }
        let mut delete = transaction.prepare("DELETE FROM suspension WHERE id = ?1")?;
        for id in gone {
            delete.execute([number(id)])?;
        }
    }
    Ok(transaction.commit()?)
}

pub(super) fn windows(connection: &Connection) -> Result<Vec<Window>, StoreError> {
    let mut statement = connection.prepare("SELECT name, value, at FROM window ORDER BY at DESC LIMIT ?1")?;
    let window = |row: &Row<'_>| {
        let at = UnixMillis(u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0));
        Ok(Window { name: row.get(0)?, value: row.get(1)?, at })
    };
    let found = statement.query_map([number(limits::WINDOWS_KEPT as u64)], window)?;
    Ok(found.collect::<Result<_, _>>()?)
}

pub(super) fn save_windows(connection: &mut Connection, windows: &[Window]) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    {
        let mut insert =
            transaction.prepare("INSERT OR REPLACE INTO window (name, value, at) VALUES (?1, ?2, ?3)")?;
        let fits = |one: &&Window| one.name.len() + one.value.len() <= limits::WINDOW_BYTES_MAX;
        for Window { name, value, at } in windows.iter().filter(fits) {
            insert.execute(params![name, value, number(at.0)])?;
        }
        let most = number(limits::WINDOWS_KEPT as u64);
        let surplus =
            "DELETE FROM window WHERE name IN (SELECT name FROM window ORDER BY at DESC LIMIT -1 OFFSET ?1)";
        transaction.execute(surplus, [most])?;
    }
    Ok(transaction.commit()?)
}
