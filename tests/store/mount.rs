//! The disk as a mounted file system. It answers on threads of its own; the store under test runs in a child process.

use super::disk::{Disk, Fault, Node, ROOT};
use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const BLOCK: u32 = 512;

/// Nothing is cached by the kernel: what the child sees is what the disk has.
const TTL: Duration = Duration::ZERO;

struct Mounted(Arc<Mutex<Disk>>);

/// Mounts `disk`; unmounted when dropped. None where this machine has no FUSE.
pub fn mount(disk: &Arc<Mutex<Disk>>, at: &Path) -> Option<BackgroundSession> {
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("licraft-test".into())];
    match fuser::spawn_mount(Mounted(disk.clone()), at, &config) {
        Ok(session) => Some(session),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "FUSE cannot be used, so nothing was tested: {error}");
            eprintln!("NOT TESTED: FUSE cannot be used here: {error}");
            None
        }
    }
}

fn errno(fault: Fault) -> Errno {
    match fault {
        Fault::Io => Errno::EIO,
        Fault::Full => Errno::ENOSPC,
    }
}

fn attributes(number: u64, node: &Node) -> FileAttr {
    let (kind, size) = match node {
        Node::File { data, .. } => (FileType::RegularFile, data.len() as u64),
        Node::Dir { .. } => (FileType::Directory, 0),
    };
    FileAttr {
        ino: INodeNo(number),
        size,
        blocks: size.div_ceil(u64::from(BLOCK)),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm: 0o755,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    }
}

impl Mounted {
    fn disk(&self) -> std::sync::MutexGuard<'_, Disk> {
        self.0.lock().unwrap()
    }

    fn empty(result: Result<(), Fault>, reply: ReplyEmpty) {
        match result {
            Ok(()) => reply.ok(),
            Err(fault) => reply.error(errno(fault)),
        }
    }
}

impl Filesystem for Mounted {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let disk = self.disk();
        match disk.look_up(parent.0, name) {
            Some(number) => reply.entry(&TTL, &attributes(number, &disk.nodes[&number]), Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &attributes(ino.0, &self.disk().nodes[&ino.0]));
    }

    #[allow(clippy::too_many_arguments)]
    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut disk = self.disk();
        let result = size.map_or(Ok(()), |size| disk.resize(ino.0, size as usize));
        match result {
            Ok(()) => reply.attr(&TTL, &attributes(ino.0, &disk.nodes[&ino.0])),
            Err(fault) => reply.error(errno(fault)),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        let mut disk = self.disk();
        match disk.create(parent.0, name, true) {
            Ok(number) => reply.entry(&TTL, &attributes(number, &disk.nodes[&number]), Generation(0)),
            Err(fault) => reply.error(errno(fault)),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        Self::empty(self.disk().remove(parent.0, name), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let mut disk = self.disk();
        let number = disk.look_up(parent.0, name).unwrap_or(ROOT);
        match disk.names(number).is_empty() {
            true => Self::empty(disk.remove(parent.0, name), reply),
            false => reply.error(Errno::ENOTEMPTY),
        }
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if parent != newparent {
            return reply.error(Errno::EINVAL);
        }
        Self::empty(self.disk().rename(parent.0, name, newname), reply);
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        let mut disk = self.disk();
        match disk.create(parent.0, name, false) {
            Ok(number) => {
                let attributes = attributes(number, &disk.nodes[&number]);
                reply.created(&TTL, &attributes, Generation(0), FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
            }
            Err(fault) => reply.error(errno(fault)),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let disk = self.disk();
        let Some(Node::File { data, .. }) = disk.nodes.get(&ino.0) else { return reply.error(Errno::EINVAL) };
        let start = data.len().min(offset as usize);
        reply.data(&data[start..data.len().min(start + size as usize)]);
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.disk().write(ino.0, offset as usize, data) {
            Ok(()) => reply.written(data.len() as u32),
            Err(fault) => reply.error(errno(fault)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        Self::empty(self.disk().sync(ino.0), reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        Self::empty(self.disk().sync(ino.0), reply);
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let disk = self.disk();
        for (at, (name, number)) in disk.names(ino.0).iter().enumerate().skip(offset as usize) {
            let kind = attributes(*number, &disk.nodes[number]).kind;
            if reply.add(INodeNo(*number), at as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let disk = self.disk();
        let (all, free) = (disk.capacity as u64, disk.capacity.saturating_sub(disk.used()) as u64);
        let block = u64::from(BLOCK);
        reply.statfs(all / block, free / block, free / block, 1 << 20, 1 << 20, BLOCK, 255, BLOCK);
    }
}
