//! Hints that something may have changed in some folders: from the kernel where it tells, else only from time passing.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::diag::Problem;

#[cfg(target_os = "linux")]
use inotify::Inotify;

pub struct Hints {
    source: Option<Inotify>,
    limitation: Option<Problem>,
}

impl Hints {
    pub fn new() -> Self {
        match Inotify::new() {
            Ok(source) => Self { source: Some(source), limitation: None },
            Err(error) => Self { source: None, limitation: Some(limitation(&error.to_string())) },
        }
    }

    /// Why it is looked now and then instead of being told; once.
    pub fn limitation(&mut self) -> Option<Problem> {
        self.limitation.take()
    }

    /// Listens to these folders, and to no others any more. Whether there are new ones among them.
    pub fn watch(&mut self, folders: &BTreeSet<PathBuf>) -> bool {
        let Some(source) = &mut self.source else { return false };
        match source.watch(folders) {
            Ok(has_new) => has_new,
            Err(error) => {
                self.source = None;
                self.limitation = Some(limitation(&error.to_string()));
                true
            }
        }
    }

    /// The next hint; for ever where there are none.
    pub async fn told(&mut self) {
        match &mut self.source {
            Some(source) => source.told().await,
            None => std::future::pending().await,
        }
    }

    /// The next hint, or where nobody gives any, after an interval. Whether it was a hint.
    pub async fn next(&mut self, interval: Duration) -> bool {
        match &mut self.source {
            Some(source) => source.told().await,
            None => tokio::time::sleep(interval).await,
        }
        self.source.is_some()
    }
}

fn limitation(why: &str) -> Problem {
    let message =
        format!("the kernel does not tell of changes ({why}); the files are looked at every second instead");
    Problem::warning("watch::polling", message)
        .help("raise `fs.inotify.max_user_watches` and `fs.inotify.max_user_instances` with sysctl")
}

#[cfg(target_os = "linux")]
mod inotify {
    use std::collections::{BTreeMap, BTreeSet};
    use std::io;
    use std::mem::MaybeUninit;
    use std::os::fd::OwnedFd;
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::thread;

    use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
    use rustix::io::Errno;
    use tokio::sync::Notify;

    pub struct Inotify {
        queue: Arc<OwnedFd>,
        watched: BTreeMap<PathBuf, i32>,
        /// Keeps one hint for who comes late.
        hint: Arc<Notify>,
    }

    impl Inotify {
        pub fn new() -> io::Result<Self> {
            let queue = Arc::new(inotify::init(CreateFlags::CLOEXEC)?);
            let hint = Arc::new(Notify::new());
            let reading = (queue.clone(), hint.clone());
            thread::Builder::new().name("watch".into()).spawn(move || read(&reading.0, &reading.1))?;
            Ok(Self { queue, watched: BTreeMap::new(), hint })
        }

        pub fn watch(&mut self, folders: &BTreeSet<PathBuf>) -> io::Result<bool> {
            let gone: Vec<PathBuf> =
                self.watched.keys().filter(|path| !folders.contains(*path)).cloned().collect();
            for path in gone {
                if let Some(number) = self.watched.remove(&path) {
                    // Two names may lead to one folder, which has one number.
                    if !self.watched.values().any(|other| *other == number) {
                        let _ = inotify::remove_watch(&self.queue, number);
                    }
                }
            }
            let flags = WatchFlags::CREATE
                | WatchFlags::DELETE
                | WatchFlags::MODIFY
                | WatchFlags::ATTRIB
                | WatchFlags::MOVED_FROM
                | WatchFlags::MOVED_TO
                | WatchFlags::DELETE_SELF
                | WatchFlags::MOVE_SELF
                | WatchFlags::ONLYDIR;
            let mut has_new = false;
            for path in folders {
                // Again for those that are known: another folder may be there by now.
                let number = match inotify::add_watch(&self.queue, path, flags) {
                    Ok(number) => number,
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => {
                        self.watched.remove(path);
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                has_new |= self.watched.insert(path.clone(), number) != Some(number);
            }
            Ok(has_new)
        }

        /// Waits until there was something in the queue since the last time.
        pub async fn told(&mut self) {
            self.hint.notified().await;
        }
    }

    /// Empties the queue as long as the program lives.
    fn read(queue: &OwnedFd, hint: &Notify) {
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut reader = Reader::new(queue, &mut buffer);
        loop {
            match reader.next() {
                Ok(_) => hint.notify_one(),
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
struct Inotify;

#[cfg(not(target_os = "linux"))]
impl Inotify {
    fn new() -> std::io::Result<Self> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    fn watch(&mut self, _: &BTreeSet<PathBuf>) -> std::io::Result<bool> {
        Ok(false)
    }

    async fn told(&mut self) {
        std::future::pending().await
    }
}
