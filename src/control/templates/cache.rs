//! Templates that are ready to be rendered. Whoever saves something of a tenant takes out all that is his before he is answered: the next mail is of
//! what was saved.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits;
use crate::templates::Compiled;

/// Which template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::control) struct Key {
    pub tenant: String,
    /// Its uuid or its name.
    pub which: String,
    /// None: the newest.
    pub version: Option<u64>,
}

/// One that is ready.
#[derive(Debug)]
pub(in crate::control) struct Ready {
    pub uuid: String,
    pub name: String,
    pub version: u64,
    pub compiled: Compiled,
}

#[derive(Default)]
pub(in crate::control) struct Cache(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Each with when it was asked for last.
    all: HashMap<Key, (Arc<Ready>, u64)>,
    bytes: usize,
    /// How often something was asked for.
    asked: u64,
    /// How often something was saved.
    saved: u64,
}

impl Cache {
    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that is ready; else a number to put it in with, once it is.
    pub(in crate::control) fn get(&self, key: &Key) -> Result<Arc<Ready>, u64> {
        let mut inner = self.inner();
        inner.asked += 1;
        let (now, saved) = (inner.asked, inner.saved);
        let (found, asked) = inner.all.get_mut(key).ok_or(saved)?;
        *asked = now;
        Ok(found.clone())
    }

    /// Puts one in that was read under this number. Where something was saved since, it may be an old one.
    pub(in crate::control) fn put(&self, key: Key, ready: &Arc<Ready>, number: u64) {
        let mut inner = self.inner();
        let size = ready.compiled.size;
        if inner.saved != number || size > limits::TEMPLATES_COMPILED_BYTES {
            return;
        }
        inner.asked += 1;
        let now = inner.asked;
        if let Some((old, _)) = inner.all.insert(key, (ready.clone(), now)) {
            inner.bytes -= old.compiled.size;
        }
        inner.bytes += size;
        while inner.all.len() > limits::TEMPLATES_COMPILED || inner.bytes > limits::TEMPLATES_COMPILED_BYTES {
            let oldest = inner.all.iter().min_by_key(|(_, (_, asked))| *asked).map(|(key, _)| key.clone());
            let Some((gone, _)) = oldest.and_then(|key| inner.all.remove(&key)) else { break };
            inner.bytes -= gone.compiled.size;
        }
    }

    /// Something of a tenant is another now.
    pub(in crate::control) fn forget(&self, tenant: &str) {
        let mut inner = self.inner();
        inner.saved += 1;
        inner.all.retain(|key, _| key.tenant != tenant);
        inner.bytes = inner.all.values().map(|(ready, _)| ready.compiled.size).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::templates::{Contents, Partials, compile};

    fn key(tenant: &str, which: usize) -> Key {
        Key { tenant: tenant.to_owned(), which: which.to_string(), version: None }
    }

    fn ready(text: &str) -> Arc<Ready> {
        let contents = Contents { text: Some(text.to_owned()), ..Contents::default() };
        let compiled = compile(&contents, &Partials::new()).unwrap();
        Arc::new(Ready { uuid: String::new(), name: String::new(), version: 1, compiled })
    }

    #[test]
    fn what_was_saved_is_not_served_as_it_was() {
        let cache = Cache::default();
        let number = cache.get(&key("shop", 1)).unwrap_err();
        cache.put(key("shop", 1), &ready("old"), number);
        assert!(cache.get(&key("shop", 1)).is_ok());
        cache.forget("shop");
        let later = cache.get(&key("shop", 1)).unwrap_err();
        cache.put(key("shop", 1), &ready("old"), number);
        assert!(cache.get(&key("shop", 1)).is_err(), "it was read before the change");
        cache.put(key("shop", 1), &ready("new"), later);
        cache.put(key("bank", 1), &ready("new"), later);
        cache.forget("bank");
        assert!(cache.get(&key("shop", 1)).is_ok() && cache.get(&key("bank", 1)).is_err());
    }

    #[test]
    fn those_that_nobody_asked_for_longest_go() {
        let cache = Cache::default();
        for which in 0..limits::TEMPLATES_COMPILED + 10 {
            cache.put(key("shop", which), &ready("x"), 0);
            assert!(cache.get(&key("shop", 0)).is_ok(), "{which}");
        }
        assert!(cache.get(&key("shop", 1)).is_err());
        assert_eq!(cache.inner().all.len(), limits::TEMPLATES_COMPILED);
    }
}
