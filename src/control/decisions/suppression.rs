//! The suppression list: opened before anything else starts, changed by commands and by what the journal tells of bounces, and made anew on a thread
//! of its own (`press`).

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use tokio::sync::oneshot;

use super::press::{Done, Press, Task};
use crate::config::SuppressionConfig;
use crate::control::StartError;
use crate::control::journal::{Shared, Tap};
use crate::control::reload::Reload;
use crate::control::say::say;
use crate::control::store::{EventPlace, Store, UntoldChange};
use crate::control::suppression::feed::{self, Told};
use crate::control::suppression::{Added, KeepError, Keeper, ListNumbers, Page, Runs, others};
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::policy::suppression::entry::{Entry, OwnedEntry, Place, Reason};
use crate::policy::suppression::merge::{Counts, Record};
use crate::runtime::process;
use crate::shard::mesh::Mesh;

/// Where the answer to an order goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, KeepError>>;

/// Whether an entry is wanted on a page.
pub(in crate::control) type Wants = Box<dyn Fn(&Entry<'_>) -> bool + Send>;

/// What a command wants of the list.
pub(super) enum ListOrder {
    Add(Vec<OwnedEntry>, Reply<Added>),
    Remove(Vec<OwnedEntry>, Reply<Added>),
    Check(String, Vec<String>, Reply<Vec<Record>>),
    Page(Option<Place>, usize, Wants, Reply<Page>),
    /// Where an import is sorted.
    Sort(Reply<Runs>),
    /// What was imported comes on the list.
    Merge(Runs, Reply<Counts>),
    /// What is counted of an address is forgotten: of how many tenants.
    Forget(String, Reply<u64>),
    /// Other nodes are told of all changes up to this one: which others are to be told, and whether some could not be kept for that.
    Untold(u64, Reply<(Vec<UntoldChange>, bool)>),
    /// How far what other nodes tell was heard.
    Heard(Reply<Option<String>>),
    /// They tell this (listed, or not any more), up to there.
    Hear(Vec<(bool, OwnedEntry)>, String, Reply<Added>),
}

/// The list, and what feeds it.
pub(super) struct Suppressions {
    /// None: it cannot be had, and none was ever used.
    keeper: Option<Keeper>,
    /// When that was tried last.
    tried: Duration,
    /// The events; None: no journal is kept.
    tap: Option<Tap>,
    /// What was read and is not on the list yet.
    held: Vec<Told>,
    /// How far it is remembered that the events were read, and since when.
    placed: Option<EventPlace>,
    placed_at: Duration,
    /// Since when what they tell cannot be put on the list.
    failed: Option<Duration>,
    press: Option<Press>,
    /// Who waits for the file that is being made.
    merging: Option<Reply<Counts>>,
    /// What comes on the list with the next one.
    next: Option<(Runs, Reply<Counts>)>,
    /// When a file was made last that could not be.
    unmade: Option<Duration>,
    orders: Option<Receiver<ListOrder>>,
    config: SuppressionConfig,
    reload: Option<Arc<dyn Reload>>,
    numbers: Arc<ListNumbers>,
    /// How many tenants are written down, and since when.
    tenants: usize,
    tenants_at: Duration,
}

impl Suppressions {
    /// Opens it, and puts it in force before any mail is taken. A start without a list that was used fails: mail would go to whom it must not.
    pub(super) fn open(
        (data_dir, store): (&Path, &mut Store),
        (mesh, journal): (&Arc<Mesh>, Option<&Arc<Shared>>),
        numbers: &Arc<ListNumbers>,
    ) -> Result<Suppressions, StartError> {
        let opened = Keeper::open(data_dir, store, mesh.suppression(), process::random_bytes());
        let keeper = match opened {
            Ok((keeper, words)) => {
                words.into_iter().for_each(|words| say(Level::Error, format_args!("{words}")));
                Some(keeper)
            }
            Err(error) if Keeper::is_used(data_dir) => return Err(StartError::Suppression(error)),
            Err(error) => {
                let words = "nobody is on the suppression list, and nobody comes on it, until it can be";
                say(Level::Error, format_args!("{error}; {words}"));
                None
            }
        };
        for tenant in store.tenants().unwrap_or_default() {
            mesh.known_tenants().add(&tenant);
        }
        let placed = store.event_place().ok().flatten();
        let tap = journal.map(|journal| Tap::open(journal, "suppression", placed));
        Ok(Suppressions {
            keeper,
            tried: Duration::ZERO,
            tap,
            held: Vec::new(),
            placed,
            placed_at: Duration::ZERO,
            failed: None,
            press: None,
            merging: None,
            next: None,
            unmade: None,
            orders: None,
            config: SuppressionConfig::default(),
            reload: None,
            numbers: numbers.clone(),
            tenants: mesh.known_tenants().count(),
            tenants_at: Duration::ZERO,
        })
    }

    /// What else it needs, on the thread that serves it from now on.
    pub(super) fn begin(
        &mut self,
        orders: Receiver<ListOrder>,
        (config, reload): (SuppressionConfig, Option<Arc<dyn Reload>>),
    ) {
        (self.orders, self.config, self.reload) = (Some(orders), config, reload);
        match Press::start() {
            Ok(press) => self.press = Some(press),
            Err(error) => {
                say(Level::Error, format_args!("no thread makes files of the suppression list: {error}"))
            }
        }
        self.load();
    }

    /// One round: carries out orders, reads events, looks after the file. True: there is more to read now.
    pub(super) fn serve(&mut self, store: &mut Store, mesh: &Mesh, clock: Duration) -> bool {
        self.open_again(store, mesh, clock);
        if let Some(reload) = &self.reload {
            self.config = reload.suppression();
        }
        self.take_made(store, clock);
        let orders: Vec<ListOrder> =
            self.orders.iter().flat_map(Receiver::try_iter).take(limits::SUPPRESSION_ORDERS_MAX).collect();
        for order in orders {
            self.carry_out(store, order);
        }
        let more = self.feed(store, clock);
        self.look_after_file(store, clock);
        self.keep_tenants(store, mesh, clock);
        if let Some(keeper) = &self.keeper {
            self.numbers.set(keeper.entries(), keeper.changes() as u64);
        }
        more
    }

    /// The node stops.
    pub(super) fn finish(&mut self, store: &mut Store) {
        self.feed(store, Duration::MAX);
        if let Some(press) = self.press.take() {
            press.stop();
        }
    }

    /// A list that could not be had is, as soon as it can be.
    fn open_again(&mut self, store: &mut Store, mesh: &Mesh, clock: Duration) {
        if self.keeper.is_some() || clock < self.tried.saturating_add(limits::STORE_AGAIN) {
            return;
        }
        self.tried = clock;
        let Some(data_dir) = store.path().parent().map(Path::to_owned) else { return };
        if store.open_again().is_err() {
            return;
        }
        let opened = Keeper::open(&data_dir, store, mesh.suppression(), process::random_bytes());
        if let Ok((keeper, words)) = opened {
            words.into_iter().for_each(|words| say(Level::Error, format_args!("{words}")));
            say(Level::Info, format_args!("the suppression list is in force"));
            self.keeper = Some(keeper);
            self.load();
        }
    }

    fn carry_out(&mut self, store: &mut Store, order: ListOrder) {
        let Some(keeper) = &mut self.keeper else {
            return refuse(order);
        };
        // Who asked may have gone.
        match order {
            ListOrder::Add(entries, reply) => {
                let entries: Vec<Entry<'_>> = entries.iter().map(OwnedEntry::entry).collect();
                let added = keeper.add(store, &entries);
                if let Ok(added) = &added {
                    self.numbers
                        .added(entries.first().map_or(Reason::Manual, |one| one.reason), added.changed);
                }
                _ = reply.send(added);
            }
            ListOrder::Remove(entries, reply) => {
                let entries: Vec<Entry<'_>> = entries.iter().map(OwnedEntry::entry).collect();
                _ = reply.send(keeper.remove(store, &entries));
            }
            ListOrder::Check(address, tenants, reply) => {
                let tenants: Vec<&str> = tenants.iter().map(String::as_str).collect();
                _ = reply.send(keeper.check(store, &address, &tenants));
            }
            ListOrder::Page(behind, most, wants, reply) => {
                _ = reply.send(keeper.page(store, behind, most, &*wants));
            }
            ListOrder::Forget(address, reply) => {
                _ = reply.send(store.forget_bounces(&address).map_err(KeepError::Store));
            }
            ListOrder::Sort(reply) => _ = reply.send(keeper.runs()),
            ListOrder::Untold(told, reply) => {
                _ = reply
                    .send(others::told(keeper, store, told).and_then(|()| others::untold(keeper, store)));
            }
            ListOrder::Heard(reply) => {
                let told = others::tell_others(keeper, store);
                _ = reply.send(told.and_then(|()| Ok(store.heard()?)));
            }
            ListOrder::Hear(heard, place, reply) => {
                let added = others::hear(keeper, store, (&heard, &place));
                if let Ok(added) = &added {
                    self.numbers.added(Reason::Imported, added.changed);
                }
                _ = reply.send(added);
            }
            ListOrder::Merge(runs, reply) => {
                if self.next.is_some() {
                    _ = reply.send(Err(KeepError::Busy));
                } else {
                    self.next = Some((runs, reply));
                }
            }
        }
    }

    /// Puts on the list what the journal tells. True: there is more.
    fn feed(&mut self, store: &mut Store, clock: Duration) -> bool {
        let (Some(keeper), Some(tap)) = (&mut self.keeper, &mut self.tap) else { return false };
        if self.failed.is_some_and(|since| clock < since.saturating_add(limits::STORE_AGAIN)) {
            return false;
        }
        let (mut bytes, mut more) = (0, true);
        while bytes < limits::SUPPRESSION_FED_BYTES && self.held.len() < limits::SUPPRESSION_FED_ENTRIES {
            match tap.next() {
                Ok(Some(piece)) => {
                    bytes += piece.lines().len();
                    self.held.extend(feed::read(piece.lines()));
                }
                Ok(None) => {
                    more = false;
                    break;
                }
                Err(error) => {
                    let at = tap.directory().display();
                    let words = "what bounced is not suppressed until it can be read";
                    say(Level::Error, format_args!("{at}: {error}; {words}"));
                    self.failed = Some(clock);
                    return false;
                }
            }
        }
        let at = tap.place();
        let is_due = clock >= self.placed_at.saturating_add(limits::SUPPRESSION_PLACE_SAVED)
            || self.placed.is_none_or(|placed| placed[0] != at[0]);
        if self.held.is_empty() && (self.placed == Some(at) || !is_due) {
            return more;
        }
        match feed::take(store, keeper, &self.config, (&self.held, at), process::wall()) {
            Ok(added) => {
                tap.saved(at);
                self.numbers.added(Reason::HardBounce, added.bounced.changed);
                self.numbers.added(Reason::Complaint, added.complained.changed);
                self.held.clear();
                (self.placed, self.placed_at) = (Some(at), clock);
                if self.failed.take().is_some() {
                    say(Level::Info, format_args!("what bounced is suppressed again"));
                }
                more
            }
            Err(error) => {
                if self.failed.replace(clock).is_none() {
                    let words = "what bounced waits in the journal until it can be suppressed";
                    say(Level::Error, format_args!("{error}; {words}"));
                }
                false
            }
        }
    }

    /// What comes back behind a start is to say whose mail it was.
    fn keep_tenants(&mut self, store: &mut Store, mesh: &Mesh, clock: Duration) {
        let count = mesh.known_tenants().count();
        let is_soon =
            !self.tenants_at.is_zero() && clock < self.tenants_at.saturating_add(limits::KNOWN_TENANTS_SAVED);
        if count == self.tenants || is_soon {
            return;
        }
        self.tenants_at = clock;
        let news = mesh.known_tenants().behind(self.tenants);
        let names: Vec<&str> = news.iter().map(|name| &**name).collect();
        if store.save_tenants(&names).is_ok() {
            self.tenants += names.len();
        }
    }

    /// A new file is begun where it is time for one, or somebody imports.
    fn look_after_file(&mut self, store: &mut Store, clock: Duration) {
        let (Some(keeper), Some(press)) = (&mut self.keeper, &self.press) else { return };
        let now = process::wall();
        let waits = self.unmade.is_some_and(|since| clock < since.saturating_add(limits::STORE_AGAIN));
        let is_time = keeper.wants_file(now) && !waits;
        if press.is_busy() || !(is_time || self.next.is_some()) {
            return;
        }
        let (runs, reply) = self.next.take().unzip();
        match keeper.begin(store, runs, now) {
            Ok(job) => {
                press.give(Task::Make(Box::new(job)));
                self.merging = reply;
            }
            Err(error) => self.unmade(error, reply, clock),
        }
    }

    fn unmade(&mut self, error: KeepError, asker: Option<Reply<Counts>>, clock: Duration) {
        if self.unmade.replace(clock).is_none() || asker.is_some() {
            let words = "what changed stays in control.db; a new file is tried again";
            say(Level::Error, format_args!("{error}; {words}"));
        }
        if let Some(asker) = asker {
            let _ = asker.send(Err(error));
        }
    }

    /// What the other thread made is in force.
    fn take_made(&mut self, store: &mut Store, clock: Duration) {
        let Some(done) = self.press.as_mut().and_then(Press::take) else { return };
        let Some(keeper) = &mut self.keeper else { return };
        match done {
            Done::Made(made) => match keeper.finish(store, *made) {
                Ok(counts) => {
                    let Counts { entries, added, known, over } = counts;
                    say(
                        Level::Info,
                        format_args!(
                            "the suppression list has a new file: {entries} entries, {added} imported, {known} known before, {over} over"
                        ),
                    );
                    self.unmade = None;
                    if let Some(asker) = self.merging.take() {
                        self.numbers.added(Reason::Imported, added);
                        let _ = asker.send(Ok(counts));
                    }
                    self.load();
                }
                Err(error) => {
                    let asker = self.merging.take();
                    self.unmade(error, asker, clock);
                }
            },
            Done::Loaded(Ok(base)) => keeper.loaded(base),
            Done::Loaded(Err(trouble)) => say(
                Level::Error,
                format_args!(
                    "the file of the suppression list cannot be read into memory: {trouble}; shards read it from the disk, look at that"
                ),
            ),
        }
    }

    /// The other thread reads the file into memory.
    fn load(&mut self) {
        if let (Some(keeper), Some(press)) = (&self.keeper, &self.press)
            && let Some(file) = keeper.file()
        {
            press.give(Task::Load(file));
        }
    }
}

/// There is no list.
fn refuse(order: ListOrder) {
    let none = || KeepError::Store(crate::control::store::StoreError::Closed);
    match order {
        ListOrder::Add(_, reply) | ListOrder::Remove(_, reply) => _ = reply.send(Err(none())),
        ListOrder::Check(.., reply) => _ = reply.send(Err(none())),
        ListOrder::Page(.., reply) => _ = reply.send(Err(none())),
        ListOrder::Sort(reply) => _ = reply.send(Err(none())),
        ListOrder::Merge(_, reply) => _ = reply.send(Err(none())),
        ListOrder::Forget(_, reply) => _ = reply.send(Err(none())),
        ListOrder::Untold(_, reply) => _ = reply.send(Err(none())),
        ListOrder::Heard(reply) => _ = reply.send(Err(none())),
        ListOrder::Hear(.., reply) => _ = reply.send(Err(none())),
    }
}

/// Where commands give their orders.
#[derive(Clone)]
pub(in crate::control) struct ListDesk {
    orders: SyncSender<ListOrder>,
    thread: std::thread::Thread,
}

impl ListDesk {
    pub(super) fn new(orders: SyncSender<ListOrder>, thread: std::thread::Thread) -> ListDesk {
        ListDesk { orders, thread }
    }

    /// Adds entries. None: it was not heard in time.
    pub(in crate::control) async fn add(&self, entries: Vec<OwnedEntry>) -> Option<Result<Added, KeepError>> {
        self.order(|reply| ListOrder::Add(entries, reply)).await
    }

    /// Removes entries, of which only tenant and address count.
    pub(in crate::control) async fn remove(
        &self,
        entries: Vec<OwnedEntry>,
    ) -> Option<Result<Added, KeepError>> {
        self.order(|reply| ListOrder::Remove(entries, reply)).await
    }

    /// Entries that hold back mail to an address: of the node, and of these tenants.
    pub(in crate::control) async fn check(
        &self,
        address: String,
        tenants: Vec<String>,
    ) -> Option<Result<Vec<Record>, KeepError>> {
        self.order(|reply| ListOrder::Check(address, tenants, reply)).await
    }

    /// Entries behind a place, at most so many, such that are wanted.
    pub(in crate::control) async fn page(
        &self,
        behind: Option<Place>,
        most: usize,
        wants: Wants,
    ) -> Option<Result<Page, KeepError>> {
        self.order(|reply| ListOrder::Page(behind, most, wants, reply)).await
    }

    /// What is counted of an address is forgotten. Of how many tenants that was.
    pub(in crate::control) async fn forget(&self, address: String) -> Option<Result<u64, KeepError>> {
        self.order(|reply| ListOrder::Forget(address, reply)).await
    }

    /// Where an import is sorted.
    pub(in crate::control) async fn sort(&self) -> Option<Result<Runs, KeepError>> {
        self.order(ListOrder::Sort).await
    }

    /// What was imported comes on the list: what to wait for, for as long as a large file takes.
    pub(in crate::control) fn merge(
        &self,
        runs: Runs,
    ) -> Option<oneshot::Receiver<Result<Counts, KeepError>>> {
        let (reply, told) = oneshot::channel();
        self.orders.try_send(ListOrder::Merge(runs, reply)).ok()?;
        self.thread.unpark();
        Some(told)
    }

    /// Changes that other nodes are to be told of, which were told of all up to `told`; and whether some could not be kept for that. For a thread that may
    /// wait, as the next two. None: there is nobody who does it.
    pub(in crate::control) fn untold(
        &self,
        told: u64,
    ) -> Option<Result<(Vec<UntoldChange>, bool), KeepError>> {
        self.wait_for(|reply| ListOrder::Untold(told, reply))
    }

    /// How far what other nodes tell was heard. From now on changes are kept for them.
    pub(in crate::control) fn heard(&self) -> Option<Result<Option<String>, KeepError>> {
        self.wait_for(ListOrder::Heard)
    }

    /// They tell this, up to there.
    pub(in crate::control) fn hear(
        &self,
        heard: Vec<(bool, OwnedEntry)>,
        place: String,
    ) -> Option<Result<Added, KeepError>> {
        self.wait_for(|reply| ListOrder::Hear(heard, place, reply))
    }

    fn wait_for<T>(&self, order: impl FnOnce(Reply<T>) -> ListOrder) -> Option<Result<T, KeepError>> {
        let (reply, told) = oneshot::channel();
        self.orders.try_send(order(reply)).ok()?;
        self.thread.unpark();
        told.blocking_recv().ok()
    }

    async fn order<T>(&self, order: impl FnOnce(Reply<T>) -> ListOrder) -> Option<Result<T, KeepError>> {
        let (reply, told) = oneshot::channel();
        self.orders.try_send(order(reply)).ok()?;
        self.thread.unpark();
        tokio::time::timeout(limits::ORDER_WAIT, told).await.ok()?.ok()
    }
}
