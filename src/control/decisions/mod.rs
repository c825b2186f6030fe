//! What is suspended: decided here, by one thread, put in force on all shards, and kept in `control.db`. First it is in force and then written:
//! a disk that is slow, full or gone holds up no decision, and whoever ordered it is told whether it outlasts the process.

mod book;
mod windows;
mod rules;
mod warmups;
mod quotas;
mod press;
mod rows;
mod suppression;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::StartError;
use super::admin::Teller;
use super::journal::Shared;
use super::reload::Reload;
use super::say::say;
use super::store::Store;
use super::suppression::ListNumbers;
use super::thread::{Turn, Worker};
use crate::config::{SuppressionConfig, WarmupConfig};
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::observe::event::{self, Admin};
use crate::observe::families::Family;
use crate::queue::suspension::{Scope, Suspension, Suspensions};
use crate::runtime::process;
use crate::shaping::automation::Thresholds;
use crate::shard::mesh::Mesh;
use book::Book;
pub(in crate::control) use book::{SuspensionRequest, Which};
use quotas::QuotaKeeper;
pub(in crate::control) use rows::StoreDesk;
use rows::StoreWork;
pub(in crate::control) use rules::FIRED;
pub(in crate::control) use suppression::ListDesk;
use suppression::Suppressions;
use warmups::Warmups;
use windows::Windows;

/// What is ordered.
enum Order {
    Suspend(SuspensionRequest, oneshot::Sender<OrderResult>),
    Resume(Which, Box<str>, oneshot::Sender<OrderResult>),
}

/// What came of an order.
#[derive(Debug)]
pub(super) struct OrderResult {
    /// What is suspended now by it, or is not any more.
    pub all: Vec<Suspension>,
    /// There was no room for it.
    pub full: bool,
    /// It is on disk.
    pub kept: bool,
}

/// Where orders are given.
#[derive(Clone)]
pub(super) struct Desk {
    orders: SyncSender<Order>,
    thread: Thread,
}

impl Desk {
    /// Suspends mail. None: it was not heard in time.
    pub(super) async fn suspend(&self, wanted: SuspensionRequest) -> Option<OrderResult> {
        self.order(|done| Order::Suspend(wanted, done)).await
    }

    /// Ends suspensions.
    pub(super) async fn resume(&self, which: Which, by: &str) -> Option<OrderResult> {
        self.order(|done| Order::Resume(which, by.into(), done)).await
    }

    /// Suspends mail, for who does not wait for it. Whether that was heard.
    pub(super) fn suspend_by_rule(&self, wanted: SuspensionRequest) -> bool {
        self.give(Order::Suspend(wanted, oneshot::channel().0))
    }

    /// Ends what was suspended in this name, and nothing else.
    pub(super) fn resume_by_rule(&self, scope: Scope, by: &str) -> bool {
        self.give(Order::Resume(Which::Of(scope, by.into()), by.into(), oneshot::channel().0))
    }

    fn give(&self, order: Order) -> bool {
        let is_heard = self.orders.try_send(order).is_ok();
        self.thread.unpark();
        is_heard
    }

    async fn order(&self, order: impl FnOnce(oneshot::Sender<OrderResult>) -> Order) -> Option<OrderResult> {
        let (done, told) = oneshot::channel();
        self.orders.try_send(order(done)).ok()?;
        self.thread.unpark();
        tokio::time::timeout(limits::ORDER_WAIT, told).await.ok()?.ok()
    }
}

/// What was decided before, read and in force.
pub(super) struct Opened {
    store: Store,
    suppressions: Suppressions,
}

/// Opens what was decided before, and the suppression list, which is in force from then on. Before anything reads the journal: nothing of it is to go
/// before the list has it.
pub(super) fn open(
    data_dir: &std::path::Path,
    mesh: &Arc<Mesh>,
    journal: Option<&Arc<Shared>>,
    numbers: &Arc<ListNumbers>,
) -> Result<Opened, StartError> {
    let (mut store, words) = Store::open(data_dir);
    if let Some(words) = words {
        say(Level::Error, format_args!("{words}"));
    }
    let suppressions = Suppressions::open((data_dir, &mut store), (mesh, journal), numbers)?;
    Ok(Opened { store, suppressions })
}

/// What the thread is given beside that.
pub(super) struct Start<'a> {
    pub mesh: &'a Arc<Mesh>,
    pub plans: &'a [WarmupConfig],
    pub teller: Option<Teller>,
    pub fired: Arc<Family>,
    pub suppression: SuppressionConfig,
    pub reload: Option<Arc<dyn Reload>>,
}

/// Reads what was decided before, puts it in force, and starts the thread.
pub(super) fn start(
    opened: Opened,
    start: Start<'_>,
) -> std::io::Result<(Worker, Desk, ListDesk, StoreDesk)> {
    let Opened { mut store, mut suppressions } = opened;
    let Start { mesh, plans, teller, fired, suppression, reload } = start;
    let (book, unread) = match read(&mut store) {
        Some(all) => (Book::found(all), None),
        None => (Book::default(), Some(Duration::ZERO)),
    };
    let (windows, problem) = Windows::resume(mesh, &mut store);
    if let Some(problem) = problem {
        let at = store.path().display();
        say(Level::Error, format_args!("{at}: {problem}; what sites take is learned anew"));
    }
    let warmups = Warmups::resume(mesh, &mut store, plans);
    let quotas = QuotaKeeper::new(mesh);
    let (lists, wanted) = sync_channel(limits::SUPPRESSION_ORDERS_MAX);
    let (orders, given) = sync_channel(limits::ORDERS_MAX);
    let (rows, work) = StoreDesk::new();
    let (asked, mesh) = (mesh.clone(), mesh.clone());
    let thresholds = Thresholds::default();
    let mut book = book;
    book.expire(process::wall());
    let value = Arc::new(book.value());
    mesh.suspend(value.clone());
    let worker = Worker::start("relevo-decide", move |turn| {
        suppressions.begin(wanted, (suppression, reload));
        let mut decider = Decider {
            store,
            work,
            book,
            unread,
            windows,
            warmups,
            quotas,
            suppressions,
            mesh,
            teller,
            thresholds,
            fired,
            failed: None,
            value,
        };
        decider.run(&given, turn);
    })?;
    let waker = worker.waker();
    asked.quotas().serve(move || waker.unpark());
    let desk = Desk { orders, thread: worker.waker() };
    let lists = ListDesk::new(lists, worker.waker());
    let rows = rows.of(worker.waker());
    Ok((worker, desk, lists, rows))
}

/// What was suspended before; None: that cannot be read now.
fn read(store: &mut Store) -> Option<Vec<Suspension>> {
    let at = store.path().display().to_string();
    match store.suspensions() {
        Ok((all, senseless)) => {
            if senseless > 0 {
                let words = "suspensions make no sense to this version, and hold nothing back";
                say(Level::Warning, format_args!("{at}: {senseless} {words}"));
            }
            Some(all)
        }
        // That was told.
        Err(super::store::StoreError::Closed) => None,
        Err(error) => {
            say(
                Level::Error,
                format_args!("{at}: {error}; what was suspended holds nothing back until it can be read"),
            );
            None
        }
    }
}

/// Whoever decides.
struct Decider {
    store: Store,
    /// What others keep in it.
    work: StoreWork,
    book: Book,
    /// What was decided in earlier lives could not be read: when that was tried last.
    unread: Option<Duration>,
    windows: Windows,
    warmups: Warmups,
    quotas: QuotaKeeper,
    suppressions: Suppressions,
    mesh: Arc<Mesh>,
    teller: Option<Teller>,
    thresholds: Thresholds,
    fired: Arc<Family>,
    /// Since when nothing could be written.
    failed: Option<Duration>,
    /// What is in force.
    value: Arc<Suspensions>,
}

impl Decider {
    fn run(&mut self, orders: &Receiver<Order>, turn: &Turn) {
        let clock = turn.clock();
        while !turn.is_over() {
            let mut done = Vec::new();
            for order in orders.try_iter().take(limits::ORDERS_MAX) {
                done.push(self.carry_out(order));
            }
            self.heed(clock());
            self.read_again(clock());
            let over = self.book.expire(process::wall());
            if !over.is_empty() {
                self.put_in_force();
            }
            let kept = self.write(clock());
            for (mut told, asker) in done {
                told.kept = kept;
                // Who asked may have gone.
                let _ = asker.send(told);
            }
            self.work.serve(&mut self.store);
            self.windows.write(&mut self.store, clock());
            self.warmups.serve(&mut self.store, clock());
            self.quotas.serve(&mut self.store, self.teller.as_ref(), clock());
            if !self.suppressions.serve(&mut self.store, &self.mesh, clock()) {
                turn.pause(limits::CONTROL_ROUND);
            }
        }
        self.write(Duration::MAX);
        self.windows.write(&mut self.store, Duration::MAX);
        self.warmups.finish(&mut self.store);
        self.quotas.finish(&mut self.store);
        self.suppressions.finish(&mut self.store);
    }

    /// What was decided in earlier lives holds as soon as it can be read.
    fn read_again(&mut self, clock: Duration) {
        if self.unread.is_none_or(|last| clock < last.saturating_add(limits::STORE_AGAIN)) {
            return;
        }
        self.unread = Some(clock);
        if self.store.open_again().is_err() {
            return;
        }
        let Some(all) = read(&mut self.store) else { return };
        let at = self.store.path().display();
        say(Level::Info, format_args!("{at} can be read: {} suspensions of before hold again", all.len()));
        self.unread = None;
        self.book.join(all);
        self.put_in_force();
    }

    /// What rules do about the replies that shards heard.
    fn heed(&mut self, clock: Duration) {
        let wall = process::wall();
        let mut news = false;
        for noticed in
            std::iter::from_fn(|| self.mesh.next_noticed()).take(limits::NOTICED_MAX).collect::<Vec<_>>()
        {
            for (place, lasts, wanted) in rules::wanted(&noticed, &mut self.thresholds, (clock, wall)) {
                let before = self.book.until(&wanted);
                let soon = lasts / limits::PROLONGED_AFTER;
                if before.is_some_and(|before| before.after(soon) > wanted.until) {
                    continue;
                }
                match self.suspend(wanted) {
                    Some(_) => self.fired.add(place, 1),
                    None => say(
                        Level::Warning,
                        format_args!("{}: there is no room for what it does", noticed.rule.place),
                    ),
                }
                news = true;
            }
        }
        if news {
            self.put_in_force();
        }
        let left_out = self.mesh.take_unnoticed();
        if left_out > 0 {
            say(
                Level::Warning,
                format_args!("{left_out} replies that rules act on came too fast to be counted"),
            );
        }
    }

    fn put_in_force(&mut self) {
        self.value = Arc::new(self.book.value());
        self.mesh.suspend(self.value.clone());
    }

    fn carry_out(&mut self, order: Order) -> (OrderResult, oneshot::Sender<OrderResult>) {
        let told = |all: Vec<Suspension>| OrderResult { all, full: false, kept: false };
        let (done, asker) = match order {
            Order::Suspend(wanted, asker) => match self.suspend(wanted) {
                Some(one) => (told(vec![one]), asker),
                None => (OrderResult { full: true, ..told(Vec::new()) }, asker),
            },
            Order::Resume(which, by, asker) => {
                let over = self.book.remove(&which);
                for one in &over {
                    say(Level::Info, format_args!("suspension {} ({}) ended by {by}", one.id, one.scope));
                    self.tell(one, Some(&by));
                }
                (told(over), asker)
            }
        };
        self.put_in_force();
        (done, asker)
    }

    fn suspend(&mut self, wanted: SuspensionRequest) -> Option<Suspension> {
        let one = self.book.add(wanted, process::wall(), &self.value)?.clone();
        let Suspension { id, effect, scope, by, reason, .. } = &one;
        say(Level::Info, format_args!("suspension {id} ({scope}: {effect}) by {by}: {reason}"));
        self.tell(&one, None);
        Some(one)
    }

    /// That it holds, or that it does not any more.
    fn tell(&self, one: &Suspension, ended_by: Option<&str>) {
        let Some(teller) = &self.teller else { return };
        let (filter, effect) = (one.scope.to_string(), one.effect.to_string());
        let Suspension { by, reason, until, .. } = one;
        let by = ended_by.unwrap_or(by);
        let told = event::Suspended { by, filter: &filter, effect: &effect, reason, until: *until };
        teller.tell(if ended_by.is_some() { Admin::Resume(told) } else { Admin::Suspend(told) });
    }

    /// Writes what is not on disk yet. Whether all is.
    fn write(&mut self, now: Duration) -> bool {
        let (put, gone) = self.book.unwritten();
        if put.is_empty() && gone.is_empty() {
            return true;
        }
        // Numbers that are there already are not known yet.
        if self.unread.is_some() {
            return false;
        }
        if self.failed.is_some_and(|since| now < since.saturating_add(limits::STORE_AGAIN)) {
            return false;
        }
        let written = self.store.write(put.into_iter(), gone.into_iter());
        let at = self.store.path().display();
        match written {
            Ok(()) => {
                if self.failed.take().is_some() {
                    say(Level::Info, format_args!("{at} can be written again: what is suspended is kept"));
                }
                self.book.written();
                true
            }
            Err(error) => {
                if self.failed.replace(now).is_none() {
                    let words =
                        "what was decided since holds until the next start, unless it can be written before";
                    say(Level::Error, format_args!("{at} cannot be written: {error}; {words}"));
                }
                false
            }
        }
    }
}
