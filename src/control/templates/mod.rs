//! Templates of the node and of its tenants: saved in `control.db` (by the thread that has it), compiled and rendered on threads of their own
//! (`pool`), and kept compiled (`cache`). What they are is `crate::templates`.

mod cache;
pub(in crate::control) mod frames;
mod pool;

use std::fmt::Write;
use std::io;
use std::sync::Arc;

use serde_json::{Map, Value};

use self::cache::{Cache, Key, Ready};
use self::frames::Frames;
use self::pool::{NoResult, Pool};
use super::decisions::StoreDesk;
use super::store::{NewTemplate, NotSaved, Store, StoreError, TemplateRow, VersionRow};
use crate::limits;
use crate::runtime::process;
use crate::templates::{
    Contents, Fault, Partial, Rendered, compile, compile_partial, is_partial_name, render,
};

/// Why something of a template was not done.
#[derive(Debug)]
pub(in crate::control) enum TemplateProblem {
    /// There is none such.
    NotFound(String),
    /// It, or its data, is wrong.
    Fault(Fault),
    /// Something else that was said is.
    Wrong(String),
    /// There is one of that name.
    Known(String),
    /// There is no room for it.
    Full(String),
    /// The file does not do it.
    Store(StoreError),
    /// Too much is asked.
    Busy,
    /// It took too long.
    Late,
    /// By a fault of ours.
    Broken,
}

impl From<StoreError> for TemplateProblem {
    fn from(error: StoreError) -> TemplateProblem {
        TemplateProblem::Store(error)
    }
}

impl From<NoResult> for TemplateProblem {
    fn from(why: NoResult) -> TemplateProblem {
        match why {
            NoResult::Busy => TemplateProblem::Busy,
            NoResult::Late => TemplateProblem::Late,
            NoResult::Broken => TemplateProblem::Broken,
        }
    }
}

/// What somebody saves.
#[derive(Clone, Debug)]
pub(in crate::control) struct Saving {
    /// Whose. None: the node's.
    pub tenant: Option<String>,
    /// The one that gets another version; None: it is a new one.
    pub which: Option<String>,
    /// Its name from now on. None: as it was.
    pub name: Option<String>,
    pub is_partial: bool,
    /// Who.
    pub by: String,
}

/// A template with what a version of it says.
#[derive(Clone, Debug)]
pub(in crate::control) struct Found {
    pub row: TemplateRow,
    pub version: u64,
    pub contents: Contents,
}

/// A mail that was made of one.
#[derive(Clone, Debug)]
pub(in crate::control) struct Made {
    pub uuid: String,
    pub name: String,
    pub version: u64,
    /// What it is counted under; empty: nothing.
    pub category: String,
    pub rendered: Rendered,
}

/// Whoever has them.
pub(in crate::control) struct Templates {
    desk: StoreDesk,
    pool: Pool,
    cache: Arc<Cache>,
    /// Previews that a browser may fetch.
    pub frames: Arc<Frames>,
}

type Done<T> = Result<T, TemplateProblem>;

impl Templates {
    pub(in crate::control) fn start(desk: StoreDesk) -> io::Result<Templates> {
        Ok(Templates { desk, pool: Pool::start()?, cache: Arc::default(), frames: Arc::default() })
    }

    async fn store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> Done<T> + Send + 'static,
    ) -> Done<T> {
        self.desk.with(work).await.ok_or(TemplateProblem::Late)?
    }

    /// A page of them, behind this number. No tenant: of all.
    pub(in crate::control) async fn list(
        &self,
        tenant: Option<String>,
        (behind, most): (u64, usize),
    ) -> Done<Vec<TemplateRow>> {
        self.store(move |store| Ok(store.templates(tenant.as_deref(), behind, most)?)).await
    }

    /// One by its uuid or its name, and what a version of it says; None: its newest.
    pub(in crate::control) async fn find(
        &self,
        tenant: Option<String>,
        which: &str,
        version: Option<u64>,
    ) -> Done<Found> {
        let which = which.to_owned();
        self.store(move |store| found(store, tenant.as_deref(), &which, version)).await
    }

    /// All of a tenant that are mail, with what they say as far as that is not too long together.
    pub(in crate::control) async fn all(&self, tenant: String) -> Done<Vec<Found>> {
        self.store(move |store| {
            let (mut all, mut bytes) = (Vec::new(), 0);
            for row in store.templates(Some(&tenant), 0, limits::TEMPLATES_OF_TENANT)? {
                let wanted = !row.is_partial && bytes < limits::TEMPLATES_TOLD_BYTES;
                let contents = if wanted { store.template_contents(row.number, row.version)? } else { None };
                let contents = contents.unwrap_or_default();
                bytes +=
                    [&contents.html, &contents.text].into_iter().flatten().map(String::len).sum::<usize>();
                if !row.is_partial {
                    all.push(Found { version: row.version, row, contents });
                }
            }
            Ok(all)
        })
        .await
    }

    /// One by its number, and what its newest version says.
    pub(in crate::control) async fn numbered(&self, tenant: String, number: u64) -> Done<Found> {
        self.store(move |store| {
            let row = store.template_numbered(Some(&tenant), number)?;
            let row = row.ok_or_else(|| missing(&number.to_string()))?;
            let contents = store.template_contents(row.number, row.version)?.unwrap_or_default();
            Ok(Found { version: row.version, row, contents })
        })
        .await
    }

    /// The versions that are kept of one, the newest first.
    pub(in crate::control) async fn versions(
        &self,
        tenant: Option<String>,
        which: &str,
    ) -> Done<(TemplateRow, Vec<VersionRow>)> {
        let which = which.to_owned();
        self.store(move |store| {
            let row = named(store, tenant.as_deref(), &which)?;
            let versions = store.template_versions(row.number)?;
            Ok((row, versions))
        })
        .await
    }

    /// Saves one, which was checked. `change` makes what it says of what it said.
    pub(in crate::control) async fn save(
        &self,
        saving: Saving,
        change: impl FnOnce(Option<Contents>) -> Done<Contents> + Send + 'static,
    ) -> Done<Found> {
        let (tenant, which) = (saving.tenant.clone(), saving.which.clone());
        if tenant.as_ref().is_some_and(|tenant| {
            tenant.len() > limits::TOKEN_TENANT_MAX || tenant.contains(char::is_control)
        }) {
            return Err(TemplateProblem::Wrong("that is no name of a tenant".to_owned()));
        }
        let (known, mut partials) = self
            .store(move |store| {
                let known = which.map(|which| found(store, tenant.as_deref(), &which, None)).transpose()?;
                let whose = known.as_ref().map_or(tenant.as_deref(), |known| Some(known.row.tenant.as_str()));
                let partials = store.partials(whose.unwrap_or_default())?;
                Ok((known, partials))
            })
            .await?;
        let contents = change(known.as_ref().map(|known| known.contents.clone()))?;
        let row = known.map(|known| known.row);
        let is_partial = row.as_ref().map_or(saving.is_partial, |row| row.is_partial);
        let name = match (saving.name, &row) {
            (Some(name), _) => named_well(name, is_partial)?,
            (None, Some(row)) => row.name.clone(),
            (None, None) => return Err(TemplateProblem::Wrong("it has no name: give it one".to_owned())),
        };
        let own = contents.clone();
        let called = name.clone();
        let checked = self.pool.run(move || {
            if !is_partial {
                return compile(&own, &partials).map(drop);
            }
            let Contents { html, text, .. } = own;
            partials.insert(called.clone(), Partial { html: html.unwrap_or_default(), text });
            compile_partial(&called, &partials)
        });
        checked.await?.map_err(TemplateProblem::Fault)?;
        let new = NewTemplate {
            of: row.as_ref().map(|row| row.number),
            uuid: uuid(process::random_bytes()),
            tenant: row.map_or_else(|| saving.tenant.unwrap_or_default(), |row| row.tenant),
            name,
            is_partial,
            contents,
            by: saving.by,
            now: process::wall(),
        };
        let cache = self.cache.clone();
        self.store(move |store| {
            let row = store.save_template(&new).map_err(|why| not_saved(why, &new.name))?;
            cache.forget(&new.tenant);
            Ok(Found { version: row.version, row, contents: new.contents })
        })
        .await
    }

    /// One is gone, with all its versions.
    pub(in crate::control) async fn remove(&self, tenant: Option<String>, which: &str) -> Done<TemplateRow> {
        let (which, cache) = (which.to_owned(), self.cache.clone());
        self.store(move |store| {
            let row = named(store, tenant.as_deref(), &which)?;
            store.remove_template(row.number)?;
            cache.forget(&row.tenant);
            Ok(row)
        })
        .await
    }

    /// What contents say that need not be saved, with this data, or with their sample.
    pub(in crate::control) async fn preview(
        &self,
        tenant: &str,
        contents: Contents,
        data: Option<Map<String, Value>>,
    ) -> Done<Rendered> {
        let tenant = tenant.to_owned();
        let partials = self.store(move |store| Ok(store.partials(&tenant)?)).await?;
        let data = data.unwrap_or_else(|| contents.sample.clone());
        let made = self.pool.run(move || render(&compile(&contents, &partials)?, data));
        made.await?.map_err(TemplateProblem::Fault)
    }

    /// A mail of one of a tenant's, or the node's own where that is empty. None: of its newest version.
    pub(in crate::control) async fn make(
        &self,
        (tenant, which, version): (&str, &str, Option<u64>),
        data: Map<String, Value>,
    ) -> Done<Made> {
        let ready = self.ready((tenant, which, version)).await?;
        self.pool
            .run(move || {
                let rendered = render(&ready.compiled, data)?;
                let (uuid, name) = (ready.uuid.clone(), ready.name.clone());
                Ok(Made {
                    uuid,
                    name,
                    version: ready.version,
                    category: ready.compiled.category.clone(),
                    rendered,
                })
            })
            .await?
            .map_err(TemplateProblem::Fault)
    }

    /// One that is ready to be rendered.
    async fn ready(&self, (tenant, which, version): (&str, &str, Option<u64>)) -> Done<Arc<Ready>> {
        let key = Key { tenant: tenant.to_owned(), which: which.to_owned(), version };
        let number = match self.cache.get(&key) {
            Ok(ready) => return Ok(ready),
            Err(number) => number,
        };
        let wanted = key.clone();
        let (found, partials) = self
            .store(move |store| {
                let found = found(store, Some(&wanted.tenant), &wanted.which, wanted.version)?;
                Ok((found, store.partials(&wanted.tenant)?))
            })
            .await?;
        if found.row.is_partial {
            return Err(TemplateProblem::Wrong(format!(
                "{} is a partial, and no mail itself",
                found.row.name
            )));
        }
        let compiled = self.pool.run(move || {
            let compiled = compile(&found.contents, &partials)?;
            let (uuid, name) = (found.row.uuid, found.row.name);
            Ok(Arc::new(Ready { uuid, name, version: found.version, compiled }))
        });
        let ready = compiled.await?.map_err(TemplateProblem::Fault)?;
        self.cache.put(key, &ready, number);
        Ok(ready)
    }
}

fn missing(which: &str) -> TemplateProblem {
    TemplateProblem::NotFound(format!(
        "there is no template {which}: `relevo template list` shows those there are"
    ))
}

fn named(store: &mut Store, tenant: Option<&str>, which: &str) -> Done<TemplateRow> {
    store.template(tenant, which)?.ok_or_else(|| missing(which))
}

fn found(store: &mut Store, tenant: Option<&str>, which: &str, version: Option<u64>) -> Done<Found> {
    let row = named(store, tenant, which)?;
    let version = version.unwrap_or(row.version);
    let contents = store.template_contents(row.number, version)?;
    let words = || {
        format!(
            "{} has no version {version} any more: the latest {} are kept",
            row.name,
            limits::TEMPLATE_VERSIONS_MAX
        )
    };
    let contents = contents.ok_or_else(|| TemplateProblem::NotFound(words()))?;
    Ok(Found { row, version, contents })
}

/// A name that people find again.
fn named_well(name: String, is_partial: bool) -> Done<String> {
    let wrong = |words: &str| Err(TemplateProblem::Wrong(format!("{name:?} is no name: {words}")));
    let most = limits::TEMPLATE_WORDS_MAX;
    if name.trim() != name || name.is_empty() || name.len() > most || name.contains(char::is_control) {
        return wrong(&format!("1 to {most} letters in one line"));
    }
    if name.contains('/') || is_uuid(&name) {
        return wrong("no slash is in it, and it is no uuid");
    }
    if is_partial && !is_partial_name(&name) {
        return wrong("of a partial: letters, digits, - and _, the first of them a letter");
    }
    Ok(name)
}

fn not_saved(why: NotSaved, name: &str) -> TemplateProblem {
    match why {
        NotSaved::Known => TemplateProblem::Known(format!("there is one of the name {name} already")),
        NotSaved::Full(words) => TemplateProblem::Full(words),
        NotSaved::Store(error) => TemplateProblem::Store(error),
    }
}

/// A random one (RFC 9562 section 5.4).
fn uuid(mut bytes: [u8; 16]) -> String {
    (bytes[6], bytes[8]) = (bytes[6] & 0x0f | 0x40, bytes[8] & 0x3f | 0x80);
    let mut text = String::new();
    for (place, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&place) {
            text.push('-');
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn is_uuid(name: &str) -> bool {
    let is_fine = |(place, byte): (usize, u8)| match place {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    name.len() == 36 && name.bytes().enumerate().all(is_fine)
}

#[cfg(test)]
mod tests;
