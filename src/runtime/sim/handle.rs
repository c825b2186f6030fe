//! The runtime of a simulated shard.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::network;
use super::segment::SimSegment;
use super::shard::Shard;
use super::sleep::{Sleep, YieldNow};
use super::socket::{SimDatagram, SimListener, SimStream};
use crate::limits;
use crate::runtime::{Bell, Defect, Priority, Runtime, SegmentMap, Uncomputed, Workspace};
use crate::time::{Instant, UnixMillis};

/// Wall-clock time at the start of every world: 2026-01-01T00:00:00Z.
pub const EPOCH: UnixMillis = UnixMillis(1_767_225_600_000);
/// What it takes to compute something elsewhere.
const COMPUTE_COST: (Duration, Duration) = (Duration::from_micros(20), Duration::from_millis(5));
/// What a read away from the map costs.
const READ_COST: (Duration, Duration) = (Duration::from_micros(20), Duration::from_micros(300));

/// One shard of one life of a simulated node. Cloning is a reference count.
#[derive(Clone)]
pub struct SimRuntime(Rc<Shard>);

impl SimRuntime {
    pub(super) fn new(shard: Shard) -> SimRuntime {
        SimRuntime(Rc::new(shard))
    }

    /// The node this shard belongs to.
    pub fn node(&self) -> u32 {
        self.0.node()
    }

    /// Whether the node still lives the life this shard belongs to.
    pub fn is_alive(&self) -> bool {
        self.0.is_alive()
    }
}

impl Runtime for SimRuntime {
    type Stream = SimStream;
    type Listener = SimListener;
    type Datagram = SimDatagram;
    type Segment = SimSegment;

    fn now(&self) -> Instant {
        Instant(self.0.state().base().now())
    }

    fn wall(&self) -> UnixMillis {
        let shifted = EPOCH.0.saturating_add_signed(self.0.state().wall_shift());
        UnixMillis(shifted).after(Duration::from_nanos(self.0.state().base().now()))
    }

    fn random(&self) -> u64 {
        self.0.random()
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.start(None, task);
    }

    fn spawn_vital(&self, name: &'static str, task: impl Future<Output = ()> + 'static) {
        self.0.start(Some(name), task);
    }

    fn panics(&self) -> u64 {
        self.0.panics()
    }

    /// Where work costs nothing time stands still while a task runs: every few questions it has lasted long, so that every yield is played.
    fn should_yield(&self) -> bool {
        const EVERY: u64 = 7;
        match self.0.state().spent() {
            Some(spent) => u128::from(spent) > limits::TURN.as_nanos(),
            None => self.0.state().asked_again().is_multiple_of(EVERY),
        }
    }

    fn longest_turn(&self) -> Duration {
        Duration::ZERO
    }

    fn worked(&self) -> Duration {
        Duration::from_nanos(self.0.state().worked(self.0.node(), self.0.number()))
    }

    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> {
        Sleep::new(self.0.state(), at.0)
    }

    fn yield_now(&self) -> impl Future<Output = ()> {
        YieldNow::new(self.0.state())
    }

    async fn compute<T: Send + 'static>(
        &self,
        _: Priority,
        work: impl FnOnce(&mut Workspace) -> T + Send + 'static,
    ) -> Result<T, Uncomputed> {
        self.0.sleep(COMPUTE_COST.0, COMPUTE_COST.1).await;
        catch_unwind(AssertUnwindSafe(|| work(&mut Workspace::default()))).map_err(|_| Uncomputed::Failed)
    }

    fn computing_later(&self) -> usize {
        0
    }

    fn bell(&self) -> &Arc<Bell> {
        self.0.bell()
    }

    fn listen(&self, address: SocketAddr) -> io::Result<SimListener> {
        self.0.alive()?;
        SimListener::bind(self.0.state(), self.0.node(), address)
    }

    fn listen_path(&self, path: &Path) -> io::Result<SimListener> {
        self.listen(network::socket(self.0.node(), path))
    }

    fn connect(&self, source: Option<IpAddr>, to: SocketAddr) -> io::Result<SimStream> {
        self.0.alive()?;
        self.0.state().charge(0);
        SimStream::connect(self.0.state(), self.0.node(), source, to)
    }

    fn connect_path(&self, path: &Path) -> io::Result<SimStream> {
        self.connect(None, network::socket(self.0.node(), path))
    }

    fn datagram(&self, to: SocketAddr) -> io::Result<SimDatagram> {
        self.0.alive()?;
        Ok(SimDatagram::connect(self.0.state(), self.0.node(), to))
    }

    async fn own_addresses(&self) -> io::Result<Vec<IpAddr>> {
        self.0.alive()?;
        if self.0.state().network().faults().no_addresses {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(vec![network::address(self.0.node()), IpAddr::from([127, 0, 0, 1])])
    }

    fn leads_here(&self, address: IpAddr) -> io::Result<bool> {
        self.0.alive()?;
        Ok(address == network::address(self.0.node()) || address.is_loopback())
    }

    fn knows_way(&self, to: IpAddr) -> bool {
        let state = self.0.state();
        !(to.is_ipv6() && state.network().faults().no_ipv6.is_some())
    }

    fn has_address(&self, address: IpAddr) -> io::Result<bool> {
        self.0.alive()?;
        Ok(!self.0.state().network().faults().absent.contains(&address))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.0.alive()?;
        self.0.state().disks().list(self.0.node(), directory)
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        self.0.alive()?;
        self.0.state().disks().create_directory(self.0.node(), directory)
    }

    fn open_segment(&self, path: &Path) -> io::Result<SimSegment> {
        self.0.alive()?;
        SimSegment::open(&self.0, path)
    }

    async fn create_segment(&self, path: &Path, size: u64, beside: Option<&Path>) -> io::Result<SimSegment> {
        self.0.alive()?;
        SimSegment::create(&self.0, path, size, beside.is_some()).await
    }

    async fn read(&self, segment: &SegmentMap, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.0.sleep(READ_COST.0, READ_COST.1).await;
        self.read_now(segment, offset, length)
    }

    fn read_now(&self, segment: &SegmentMap, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.0.state().disks().read(segment, offset, length)
    }

    fn planted(&self, defect: Defect) -> bool {
        self.0.state().shows(defect, self.0.node(), self.0.number())
    }
}
