//! Templates and their versions, by tenant. What one says is JSON, so that a later version of relevo may say more in it.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::error::StoreError;
use super::rows::number;
use crate::limits;
use crate::templates::{Contents, Partial, Partials};
use crate::time::UnixMillis;

/// A template, without what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateRow {
    /// Its number, in the order in which they were made.
    pub number: u64,
    /// Its name for programs.
    pub uuid: String,
    /// Whose it is; empty: the node's.
    pub tenant: String,
    /// Its name for people.
    pub name: String,
    /// Others call it: it is no mail itself.
    pub is_partial: bool,
    /// What its mail is counted under.
    pub category: String,
    /// Its subject.
    pub subject: String,
    /// Its newest version.
    pub version: u64,
    /// When it was made.
    pub made: UnixMillis,
    /// When it was changed last.
    pub changed: UnixMillis,
}

/// A version of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRow {
    /// From 1 on.
    pub version: u64,
    /// When it was saved.
    pub made: UnixMillis,
    /// Who saved it.
    pub by: String,
    /// Bytes of what it says.
    pub bytes: u64,
}

/// What is to be saved.
#[derive(Clone, Debug)]
pub struct NewTemplate {
    /// The one that gets another version. None: it is a new one.
    pub of: Option<u64>,
    /// How a new one is called by programs.
    pub uuid: String,
    /// Whose.
    pub tenant: String,
    /// How it is called from now on.
    pub name: String,
    /// Others call it.
    pub is_partial: bool,
    /// What it says.
    pub contents: Contents,
    /// Who saves it.
    pub by: String,
    /// When.
    pub now: UnixMillis,
}

/// Why it is not saved.
#[derive(Debug)]
pub enum NotSaved {
    /// There is one of that name.
    Known,
    /// There are too many, or they are too long together: in words.
    Full(String),
    /// The file does not take it.
    Store(StoreError),
}

impl From<rusqlite::Error> for NotSaved {
    fn from(error: rusqlite::Error) -> NotSaved {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::ConstraintViolation) => NotSaved::Known,
            _ => NotSaved::Store(error.into()),
        }
    }
}

const COLUMNS: &str = "number, uuid, tenant, name, partial, category, subject, version, made, changed";

fn row(row: &Row<'_>) -> rusqlite::Result<TemplateRow> {
    Ok(TemplateRow {
        number: unsigned(row, 0)?,
        uuid: row.get(1)?,
        tenant: row.get(2)?,
        name: row.get(3)?,
        is_partial: row.get(4)?,
        category: row.get(5)?,
        subject: row.get(6)?,
        version: unsigned(row, 7)?,
        made: UnixMillis(unsigned(row, 8)?),
        changed: UnixMillis(unsigned(row, 9)?),
    })
}

fn unsigned(row: &Row<'_>, place: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(place).map(|number| u64::try_from(number).unwrap_or(0))
}

/// A page of them, behind this number. None: of all tenants.
pub(super) fn list(
    connection: &Connection,
    tenant: Option<&str>,
    behind: u64,
    most: usize,
) -> Result<Vec<TemplateRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM template WHERE number > ?1 AND (?2 IS NULL OR tenant = ?2) ORDER BY number LIMIT ?3"
    );
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map(params![number(behind), tenant, number(most as u64)], row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// One by its uuid, its number or its name. Where no tenant is said, a name is one of the node's own.
pub(super) fn find(
    connection: &Connection,
    tenant: Option<&str>,
    which: &str,
) -> Result<Option<TemplateRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM template WHERE (uuid = ?1 AND (?2 IS NULL OR tenant = ?2)) \
         OR (name = ?1 AND tenant = ifnull(?2, '')) ORDER BY uuid = ?1 DESC, partial LIMIT 1"
    );
    Ok(connection.query_row(&sql, params![which, tenant], row).optional()?)
}

/// One by its number.
pub(super) fn numbered(
    connection: &Connection,
    tenant: Option<&str>,
    which: u64,
) -> Result<Option<TemplateRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM template WHERE number = ?1 AND (?2 IS NULL OR tenant = ?2)");
    Ok(connection.query_row(&sql, params![number(which), tenant], row).optional()?)
}

/// What a version of it says. None: there is no such version any more.
pub(super) fn contents(
    connection: &Connection,
    template: u64,
    version: u64,
) -> Result<Option<Contents>, StoreError> {
    let sql = "SELECT body FROM template_version WHERE template = ?1 AND version = ?2";
    let found = connection.query_row(sql, params![number(template), number(version)], |row| row.get(0));
    let body: Option<String> = found.optional()?;
    body.map(|body| read(&body)).transpose()
}

fn read(body: &str) -> Result<Contents, StoreError> {
    serde_json::from_str(body).map_err(|error| StoreError::Damaged(format!("a template: {error}")))
}

/// Its versions, the newest first.
pub(super) fn versions(connection: &Connection, template: u64) -> Result<Vec<VersionRow>, StoreError> {
    let sql =
        "SELECT version, made, by, bytes FROM template_version WHERE template = ?1 ORDER BY version DESC";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([number(template)], |row| {
        Ok(VersionRow {
            version: unsigned(row, 0)?,
            made: UnixMillis(unsigned(row, 1)?),
            by: row.get(2)?,
            bytes: unsigned(row, 3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// All partials of a tenant, as they are now.
pub(super) fn partials(connection: &Connection, tenant: &str) -> Result<Partials, StoreError> {
    let sql = "SELECT name, body FROM template JOIN template_version USING (version) \
               WHERE template_version.template = template.number AND tenant = ?1 AND partial ORDER BY name";
    let mut statement = connection.prepare(sql)?;
    let mut found = statement.query([tenant])?;
    let mut all = Partials::new();
    while let Some(row) = found.next()? {
        let (name, body): (String, String) = (row.get(0)?, row.get(1)?);
        let Contents { html, text, .. } = read(&body)?;
        all.insert(name, Partial { html: html.unwrap_or_default(), text });
    }
    Ok(all)
}

/// Saves a new one, or a version of one; the oldest versions beyond those that are kept are gone then. All of it, or nothing.
pub(super) fn save(connection: &mut Connection, new: &NewTemplate) -> Result<TemplateRow, NotSaved> {
    let transaction = connection.transaction()?;
    let body = serde_json::to_string(&new.contents).unwrap_or_default();
    let (category, subject) = (&new.contents.category, &new.contents.subject);
    let (of, version) = match new.of {
        None => {
            let sql = "INSERT INTO template (uuid, tenant, name, partial, category, subject, version, made, changed) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?7)";
            let NewTemplate { uuid, tenant, name, is_partial, .. } = new;
            transaction.execute(
                sql,
                params![uuid, tenant, name, is_partial, category, subject, number(new.now.0)],
            )?;
            (transaction.last_insert_rowid(), 1)
        }
        Some(of) => {
            let sql = "UPDATE template SET name = ?2, category = ?3, subject = ?4, version = version + 1, changed = ?5 \
                       WHERE number = ?1 RETURNING number, version";
            let given = params![number(of), new.name, category, subject, number(new.now.0)];
            transaction.query_row(sql, given, |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))?
        }
    };
    let sql = "INSERT INTO template_version (template, version, made, by, bytes, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    transaction
        .execute(sql, params![of, version, number(new.now.0), new.by, number(body.len() as u64), body])?;
    let sql = "DELETE FROM template_version WHERE template = ?1 AND version <= ?2";
    transaction.execute(sql, params![of, version - number(limits::TEMPLATE_VERSIONS_MAX as u64)])?;
    has_room(&transaction, &new.tenant)?;
    let sql = format!("SELECT {COLUMNS} FROM template WHERE number = ?1");
    let saved = transaction.query_row(&sql, [of], row)?;
    transaction.commit()?;
    Ok(saved)
}

/// Whether there are not too many with what was put in.
fn has_room(transaction: &Transaction<'_>, tenant: &str) -> Result<(), NotSaved> {
    let sum = |which: &str, given: &[&str]| {
        let sql = format!(
            "SELECT (SELECT count(*) FROM template {which}), \
             (SELECT ifnull(sum(bytes), 0) FROM template_version INDEXED BY template_version_bytes \
              WHERE template IN (SELECT number FROM template {which}))"
        );
        transaction.query_row(&sql, rusqlite::params_from_iter(given), |row| {
            Ok((unsigned(row, 0)?, unsigned(row, 1)?))
        })
    };
    let (count, bytes) = sum("WHERE tenant = ?1", &[tenant])?;
    let (all, all_bytes) = sum("", &[])?;
    if count > limits::TEMPLATES_OF_TENANT as u64 || all > limits::TEMPLATES_MAX as u64 {
        let most = limits::TEMPLATES_OF_TENANT;
        return Err(NotSaved::Full(format!(
            "there may be {most} templates and partials of a tenant: remove some"
        )));
    }
    if bytes > limits::TEMPLATES_BYTES_OF_TENANT || all_bytes > limits::TEMPLATES_BYTES_MAX {
        let most = limits::TEMPLATES_BYTES_OF_TENANT;
        return Err(NotSaved::Full(format!(
            "the templates of a tenant may have {most} bytes with their versions: remove some"
        )));
    }
    Ok(())
}

/// It is gone, with all its versions. Whether it was there.
pub(super) fn remove(connection: &mut Connection, template: u64) -> Result<bool, StoreError> {
    let transaction = connection.transaction()?;
    transaction.execute("DELETE FROM template_version WHERE template = ?1", [number(template)])?;
    let gone = transaction.execute("DELETE FROM template WHERE number = ?1", [number(template)])?;
    transaction.commit()?;
    Ok(gone > 0)
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::*;

    fn new(name: &str, html: &str) -> NewTemplate {
        NewTemplate {
            of: None,
            uuid: format!("uuid of {name}"),
            tenant: "shop".to_owned(),
            name: name.to_owned(),
            is_partial: false,
            contents: Contents {
                subject: "Hi".to_owned(),
                html: Some(html.to_owned()),
                ..Contents::default()
            },
            by: "ada".to_owned(),
            now: UnixMillis(7),
        }
    }

    #[test]
    fn versions_are_kept_over_a_restart_the_latest_of_them() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(directory.path()).0;
        let made = store.save_template(&new("order", "v1")).unwrap();
        for at in 2..=30 {
            let next =
                NewTemplate { of: Some(made.number), now: UnixMillis(at), ..new("order", &format!("v{at}")) };
            assert_eq!(store.save_template(&next).unwrap().version, at);
        }
        drop(store);
        let mut store = Store::open(directory.path()).0;
        let found = store.template(Some("shop"), "order").unwrap().expect("it is there");
        assert_eq!((found.version, found.changed, found.made), (30, UnixMillis(30), UnixMillis(7)));
        let versions = store.template_versions(found.number).unwrap();
        assert_eq!(versions.len(), limits::TEMPLATE_VERSIONS_MAX);
        assert_eq!((versions[0].version, versions[0].by.as_str()), (30, "ada"));
        assert_eq!(store.template_contents(found.number, 30).unwrap().unwrap().html.unwrap(), "v30");
        assert_eq!(store.template_contents(found.number, 1).unwrap(), None);
        assert!(
            store.remove_template(found.number).unwrap() && !store.remove_template(found.number).unwrap()
        );
        assert!(store.template_versions(found.number).unwrap().is_empty());
        let other = store.save_template(&new("order", "x")).unwrap();
        assert!(other.number > found.number, "numbers are not used again");
    }

    #[test]
    fn each_tenant_has_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(directory.path()).0;
        let of = |tenant: &str, name: &str, is_partial| NewTemplate {
            uuid: format!("{tenant} {name} {is_partial}"),
            tenant: tenant.to_owned(),
            is_partial,
            ..new(name, tenant)
        };
        for tenant in ["", "shop", "bank"] {
            store.save_template(&of(tenant, "order", false)).unwrap();
            store.save_template(&of(tenant, "footer", true)).unwrap();
        }
        assert!(matches!(store.save_template(&of("shop", "order", false)), Err(NotSaved::Known)));
        let names = |rows: Vec<TemplateRow>| {
            rows.into_iter().map(|row| row.tenant + "/" + &row.name).collect::<Vec<_>>()
        };
        assert_eq!(names(store.templates(Some("bank"), 0, 9).unwrap()), ["bank/order", "bank/footer"]);
        assert_eq!(store.templates(None, 2, 3).unwrap().len(), 3);
        assert_eq!(
            store.template(None, "order").unwrap().unwrap().tenant,
            "",
            "a name alone is one of the node's"
        );
        assert_eq!(store.template(None, "bank order false").unwrap().unwrap().tenant, "bank");
        assert_eq!(store.template(Some("shop"), "bank order false").unwrap(), None, "it is another tenant's");
        let number = store.template(Some("bank"), "order").unwrap().unwrap().number;
        assert_eq!(store.template_numbered(Some("shop"), number).unwrap(), None);
        let partials = store.partials("shop").unwrap();
        assert_eq!(partials.keys().map(String::as_str).collect::<Vec<_>>(), ["footer"]);
        assert_eq!(partials["footer"].html, "shop");
    }

    #[test]
    fn there_is_an_end_to_them() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(directory.path()).0;
        let long = "x".repeat(700_000);
        let full = (0..100).find_map(|at| store.save_template(&new(&format!("t{at}"), &long)).err());
        assert!(matches!(full, Some(NotSaved::Full(words)) if words.contains("bytes")));
        let held: u64 = store.templates(None, 0, 100).unwrap().len() as u64 * 700_000;
        assert!(held <= limits::TEMPLATES_BYTES_OF_TENANT, "what did not fit was taken back");
        let other = NewTemplate { tenant: "bank".to_owned(), ..new("other", "x") };
        assert!(store.save_template(&other).is_ok(), "others have room of their own");
    }
}
