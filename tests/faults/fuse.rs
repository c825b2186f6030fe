//! The disk as a mounted file system. No direct IO: the kernel caches its pages, so that maps and reads behave as on any other; a cut
//! needs a mount made anew, which takes lost pages out of that cache.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};

use crate::disk::{Disk, ROOT, Refusal};

/// The disk, and how long a sync of it takes.
pub struct Shared {
    disk: Mutex<Disk>,
    delay: Mutex<Duration>,
}

impl Shared {
    /// An empty disk.
    pub fn new(seed: u64) -> Arc<Shared> {
        Arc::new(Shared { disk: Mutex::new(Disk::new(seed)), delay: Mutex::new(Duration::ZERO) })
    }

    /// The disk alone.
    pub fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().expect("no holder panics")
    }

    /// From now on a sync takes so long.
    pub fn set_delay(&self, delay: Duration) {
        *self.delay.lock().expect("no holder panics") = delay;
    }

    fn wait(&self) {
        let delay = *self.delay.lock().expect("no holder panics");
        std::thread::sleep(delay);
    }
}

/// Mounts it.
pub fn mount(shared: &Arc<Shared>, at: &Path) -> std::io::Result<BackgroundSession> {
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("faults".to_owned()), MountOption::RW];
    // A sync waits; others go on meanwhile.
    config.n_threads = Some(4);
    fuser::spawn_mount(Mounted(shared.clone()), at, &config)
}

struct Mounted(Arc<Shared>);

/// Names and attributes may be cached: nobody else changes this disk.
const KEPT: Duration = Duration::from_secs(3600);

impl From<Refusal> for Errno {
    fn from(refusal: Refusal) -> Errno {
        match refusal {
            Refusal::Missing => Errno::ENOENT,
            Refusal::Exists => Errno::EEXIST,
            Refusal::Kind => Errno::EINVAL,
            Refusal::NotEmpty => Errno::ENOTEMPTY,
            Refusal::TooLarge => Errno::EFBIG,
            Refusal::OtherDirectory => Errno::EXDEV,
            Refusal::Failed => Errno::EIO,
        }
    }
}

fn text(name: &OsStr) -> Result<&str, Refusal> {
    name.to_str().ok_or(Refusal::Missing)
}

fn attributes(disk: &Disk, node: u64) -> Result<FileAttr, Refusal> {
    let size = disk.size(node)?;
    let (kind, perm) =
        if size.is_some() { (FileType::RegularFile, 0o600) } else { (FileType::Directory, 0o700) };
    let time: SystemTime = UNIX_EPOCH;
    Ok(FileAttr {
        ino: INodeNo(node),
        size: size.unwrap_or(0),
        blocks: size.unwrap_or(0).div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind,
        perm,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    })
}

fn answer(result: Result<(), Refusal>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(refusal) => reply.error(refusal.into()),
    }
}

fn entry(disk: &Disk, found: Result<u64, Refusal>, reply: ReplyEntry) {
    match found.and_then(|node| attributes(disk, node)) {
        Ok(attributes) => reply.entry(&KEPT, &attributes, Generation(0)),
        Err(refusal) => reply.error(refusal.into()),
    }
}

impl Filesystem for Mounted {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut disk = self.0.disk();
        let found = text(name).and_then(|name| disk.look_up(parent.0, name));
        entry(&disk, found, reply);
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match attributes(&self.0.disk(), node.0) {
            Ok(attributes) => reply.attr(&KEPT, &attributes),
            Err(refusal) => reply.error(refusal.into()),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        node: INodeNo,
        _mode: Option<u32>,
        _user: Option<u32>,
        _group: Option<u32>,
        size: Option<u64>,
        _accessed: Option<TimeOrNow>,
        _modified: Option<TimeOrNow>,
        _changed: Option<SystemTime>,
        _file: Option<FileHandle>,
        _created: Option<SystemTime>,
        _flags_changed: Option<SystemTime>,
        _backed_up: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut disk = self.0.disk();
        let done = size.map_or(Ok(()), |size| disk.resize(node.0, size));
        match done.and_then(|()| attributes(&disk, node.0)) {
            Ok(attributes) => reply.attr(&KEPT, &attributes),
            Err(refusal) => reply.error(refusal.into()),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        let mut disk = self.0.disk();
        let made = text(name).and_then(|name| disk.make(parent.0, name, true));
        entry(&disk, made, reply);
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let mut disk = self.0.disk();
        let made = text(name).and_then(|name| disk.make(parent.0, name, false));
        match made.and_then(|node| attributes(&disk, node)) {
            Ok(attributes) => {
                let flags = FopenFlags::FOPEN_KEEP_CACHE;
                reply.created(&KEPT, &attributes, Generation(0), FileHandle(0), flags)
            }
            Err(refusal) => reply.error(refusal.into()),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(text(name).and_then(|name| self.0.disk().remove(parent.0, name, false)), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(text(name).and_then(|name| self.0.disk().remove(parent.0, name, true)), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        to_parent: INodeNo,
        to: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        let names = text(name).and_then(|name| Ok((name, text(to)?)));
        answer(names.and_then(|(name, to)| self.0.disk().rename(parent.0, name, to_parent.0, to)), reply);
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.0.disk().read(node.0, offset, size as usize) {
            Ok(bytes) => reply.data(bytes),
            Err(refusal) => reply.error(refusal.into()),
        }
    }

    fn write(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.0.disk().write(node.0, offset, data) {
            Ok(()) => reply.written(data.len() as u32),
            Err(refusal) => reply.error(refusal.into()),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, node: INodeNo, _: FileHandle, data_only: bool, reply: ReplyEmpty) {
        self.0.wait();
        answer(self.0.disk().sync(node.0, data_only), reply);
    }

    fn fsyncdir(&self, _: &Request, node: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.0.wait();
        answer(self.0.disk().sync_directory(node.0), reply);
    }

    fn fallocate(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode != 0 {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let mut disk = self.0.disk();
        let end = offset.saturating_add(length);
        let done = match disk.size(node.0) {
            Ok(Some(size)) if size < end => disk.resize(node.0, end),
            Ok(_) => Ok(()),
            Err(refusal) => Err(refusal),
        };
        answer(done, reply);
    }

    fn readdir(&self, _: &Request, node: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let mut disk = self.0.disk();
        let names = match disk.list(node.0) {
            Ok(names) => names,
            Err(refusal) => return reply.error(refusal.into()),
        };
        let dots = [(".".to_owned(), node.0), ("..".to_owned(), ROOT)];
        for (place, (name, node)) in dots.into_iter().chain(names).enumerate().skip(offset as usize) {
            let kind =
                if matches!(disk.size(node), Ok(None)) { FileType::Directory } else { FileType::RegularFile };
            if reply.add(INodeNo(node), place as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let blocks = 1 << 20;
        reply.statfs(blocks, blocks / 2, blocks / 2, 1 << 20, 1 << 19, 4096, 255, 4096);
    }
}
