//! Windows that sites were found to take, over a start: read before mail goes out, and written now and then as they change.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::control::store::{Store, StoreError, Window};
use crate::limits;
use crate::runtime::process;
use crate::shard::mesh::Mesh;
use crate::time::Instant;

/// Keeps them.
pub(super) struct Windows {
    mesh: Arc<Mesh>,
    /// What is on disk, by the names of sites.
    written: HashMap<String, Vec<u8>>,
    next: Duration,
}

impl Windows {
    /// Those that were kept before the start are in force, if they are not of long ago. What was wrong with the file is told.
    pub(super) fn resume(mesh: &Arc<Mesh>, store: &mut Store) -> (Windows, Option<StoreError>) {
        let mut windows =
            Windows { mesh: mesh.clone(), written: HashMap::new(), next: limits::WINDOWS_WRITTEN };
        let found = match store.windows() {
            Ok(found) => found,
            Err(StoreError::Closed) => return (windows, None),
            Err(error) => return (windows, Some(error)),
        };
        let oldest = process::wall().0.saturating_sub(limits::WINDOW_KEPT.as_millis() as u64);
        for Window { name, value, at } in found {
            // The shards' clock begins with the process. One of another version is learned anew.
            if at.0 >= oldest && mesh.resume_window(&name, &value, Instant(0)) {
                windows.written.insert(name, value);
            }
        }
        (windows, None)
    }

    /// Writes what changed since it was written last, when it is time. What cannot be written is tried again, and nobody waits for it.
    pub(super) fn write(&mut self, store: &mut Store, now: Duration) {
        if now < self.next {
            return;
        }
        self.next = now.saturating_add(limits::WINDOWS_WRITTEN);
        let at = process::wall();
        let narrow = self.mesh.windows();
        let changed = |(name, value): &&(String, Vec<u8>)| self.written.get(name) != Some(value);
        let window =
            |(name, value): &(String, Vec<u8>)| Window { name: name.clone(), value: value.clone(), at };
        let changed: Vec<Window> = narrow.iter().filter(changed).map(window).collect();
        if !changed.is_empty() && store.save_windows(&changed).is_ok() {
            self.written = narrow.into_iter().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Bell;
    use crate::shard::assignment::Assignment;
    use crate::time::UnixMillis;

    fn mesh() -> Arc<Mesh> {
        Arc::new(Mesh::new(vec![Arc::new(Bell::new())], Assignment::chosen(&[None], 1)))
    }

    #[test]
    fn what_was_learned_is_in_force_after_a_start_unless_it_is_of_long_ago() {
        let directory = tempfile::tempdir().expect("a directory");
        let now = Instant(1_000_000_000);
        let mut store = Store::open(directory.path()).0;
        let before = mesh();
        let (mut windows, problem) = Windows::resume(&before, &mut store);
        assert!(problem.is_none());
        let count = before.site_count("mx:a", now);
        let window = before.narrow("mx:a", &count);
        assert!(window.refused_connection(Instant(5), 7, now).is_some());
        windows.write(&mut store, Duration::ZERO);
        assert_eq!(store.windows().expect("a store"), [], "not yet");
        windows.write(&mut store, limits::WINDOWS_WRITTEN);
        let old = Window { name: "mx:b".to_owned(), value: before.windows()[0].1.clone(), at: UnixMillis(7) };
        let senseless = Window { name: "mx:c".to_owned(), value: b"x".to_vec(), at: process::wall() };
        store.save_windows(&[old, senseless]).expect("a store");
        drop(store);

        let (after, mut store) = (mesh(), Store::open(directory.path()).0);
        let (mut windows, _) = Windows::resume(&after, &mut store);
        let most = |site: &str| after.site_count(site, now).most(20);
        assert_eq!(["mx:a", "mx:b", "mx:c"].map(most), [7, 20, 20]);
        // Only what changes is written again.
        let at =
            store.windows().expect("a store").into_iter().find(|one| one.name == "mx:a").map(|one| one.at);
        windows.write(&mut store, Duration::MAX);
        let again = store.windows().expect("a store").into_iter().find(|one| one.name == "mx:a");
        assert_eq!(again.map(|one| one.at), at);
    }
}
