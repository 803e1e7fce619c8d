//! `mab bake --watch`: waits for changes of what decides a bake's result, and says what changed.
//!
//! The kernel only wakes: whether something changed is decided by a look at all inputs, compared with the look that
//! was taken before the last bake. So a change during a bake is seen after it, what nobody reads wakes nobody for long,
//! and where the kernel cannot tell of changes a look now and then does the same.

mod hints;
mod look;
mod recorder;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

use super::Failure;
use super::bake::BakeOptions;
use super::changed::reach::copies_of;
use crate::base::Platform;
use crate::diag::{Kind, Problem};
use crate::facts::Facts;
use crate::steps::Lowered;

use hints::Hints;
use look::{Learnt, Look, TICK};

/// So long nothing must happen before a change counts as made.
const QUIET: Duration = Duration::from_millis(200);
/// But a change that does not end is not waited for longer than this.
const IMPATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked where the kernel does not tell, if a look takes next to no time.
const INTERVAL: Duration = Duration::from_secs(1);

/// The inputs of a bake, as they were when it began.
pub struct Watch {
    options: Arc<BakeOptions>,
    facts: Facts,
    hints: Hints,
    last: Look,
    /// As bakes found it out, which know the triggers of bases as well.
    learnt: Arc<Learnt>,
}

impl Watch {
    /// To be called before the first bake.
    pub async fn begin(options: &BakeOptions, facts: &Facts) -> Result<Self, Failure> {
        if options.project.files.iter().any(|file| file.as_os_str() == "-") {
            return Err(vec![cannot_read_again("the build file")]);
        }
        let mut watch = Self {
            options: Arc::new(options.clone()),
            facts: facts.clone(),
            hints: Hints::new(),
            last: Look::default(),
            learnt: Arc::default(),
        };
        watch.last = watch.look().await;
        match watch.last.stdin {
            Some(what) => Err(vec![cannot_read_again(what)]),
            None => Ok(watch),
        }
    }

    /// The facts for the next bake: those of the program's start, at this time.
    pub fn facts(&self) -> Facts {
        Facts { now: Timestamp::now(), git: None, ..self.facts.clone() }
    }

    /// Takes over which files the steps of the last bake take: what the triggers of their bases do was not known before.
    pub async fn learn(&mut self, lowered: &BTreeMap<(String, Platform), Arc<Lowered>>) {
        let taken = lowered.iter().map(|(image, lowered)| (image.clone(), copies_of(lowered)));
        let learnt = self.learnt.iter().map(|(image, copies)| (image.clone(), copies.clone())).chain(taken);
        let learnt = learnt.collect();
        if *self.learnt != learnt {
            self.learnt = Arc::new(learnt);
            let look = self.look().await;
            self.last.adopt(look);
        }
    }

    /// How many files and folders are watched.
    pub fn size(&self) -> (usize, usize) {
        (self.last.files(), self.last.folders.len())
    }

    /// Why the kernel does not tell of changes, the first time that is asked.
    pub fn limitation(&mut self) -> Option<Problem> {
        self.hints.limitation()
    }

    /// Waits until inputs are others than when the last bake began, and takes them as those of the next one. What
    /// changed, for people; `None` when it is not to go on.
    pub async fn changed(&mut self, cancel: &watch::Receiver<bool>) -> Option<Vec<PathBuf>> {
        let mut cancel = cancel.clone();
        tokio::select! {
            changed = self.next_change() => Some(changed),
            _ = cancel.wait_for(|is_cancelled| *is_cancelled) => None,
        }
    }

    async fn next_change(&mut self) -> Vec<PathBuf> {
        // Something may have happened during the bake.
        let mut was_told = true;
        loop {
            if was_told {
                self.settle().await;
            }
            let begun = Instant::now();
            let look = self.look().await;
            let changed = look.differences(&self.last);
            if !changed.is_empty() {
                self.last = look;
                return changed;
            }
            let interval = INTERVAL.max(begun.elapsed() * 10);
            was_told = self.hints.next(interval).await;
        }
    }

    /// Waits until nothing happens any more.
    async fn settle(&mut self) {
        let begun = Instant::now();
        while begun.elapsed() < IMPATIENCE {
            if tokio::time::timeout(QUIET, self.hints.told()).await.is_err() {
                return;
            }
        }
    }

    /// Looks until it is known that nothing happened between a look and the watch over what it saw, and that what
    /// happens from now on will show; but not for ever.
    async fn look(&mut self) -> Look {
        let mut look = self.look_once().await;
        for _ in 0..4 {
            let has_new = self.hints.watch(&look.folders);
            if !look.is_settled() {
                tokio::time::sleep(TICK).await;
            } else if !has_new {
                break;
            }
            look = self.look_once().await;
        }
        look
    }

    async fn look_once(&self) -> Look {
        let (options, mut facts, learnt) = (self.options.clone(), self.facts(), self.learnt.clone());
        let looked = tokio::task::spawn_blocking(move || Look::take(&options, &mut facts, &learnt)).await;
        // A look that panicked saw nothing, which differs from whatever was seen before.
        looked.unwrap_or_default()
    }
}

/// `path` for people.
pub fn shown(path: &Path, facts: &Facts) -> String {
    path.strip_prefix(&facts.directories.current).unwrap_or(path).display().to_string()
}

fn cannot_read_again(what: &str) -> Problem {
    let message =
        format!("`--watch` cannot bake again: {what} comes from standard input, which is read once");
    Problem::new(Kind::Input, "watch::stdin", message).help("put it into a file, and name that")
}
