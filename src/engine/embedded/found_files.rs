//! Files of an image, or of what a command left in one: what is asked of them, and what is there.

use std::path::PathBuf;
use std::sync::Arc;

use super::accounts::Accounts;
use super::container::Container;
use super::filesystem::FileSystem;
use super::sandbox::{HelperTask, SeenFile, TaskOutput};
use super::solve::Solver;
use super::{Embedded, supervisors};
use crate::base::Platform;
use crate::diag::Problem;
use crate::engine::base::Base;
use crate::engine::{BuildJob, JobEvents};
use crate::layer::{EntryKind, Tree};

/// What is at a path, links followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// The permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// The files of an image, without unpacking it.
pub struct ImageFiles {
    tree: Arc<Tree>,
    accounts: Accounts,
}

impl Embedded {
    /// What is in an image, known from its layers.
    pub async fn files(
        &self,
        image: &Base,
        platform: &Platform,
        events: &JobEvents,
    ) -> Result<ImageFiles, Box<Problem>> {
        let own = |problem: Arc<Problem>| Box::new((*problem).clone());
        let this = self.this.upgrade().expect("an engine that looks is alive");
        let solver = Solver::new(this, BuildJob::of_image(image, platform, events));
        let files: Arc<FileSystem> = solver.solve().await.map_err(own)?;
        let text = async |path| self.layers.text(&files, path, &solver.job).await.map_err(own);
        let accounts = Accounts {
            passwd: text("etc/passwd").await?.unwrap_or_default(),
            group: text("etc/group").await?.unwrap_or_default(),
        };
        Ok(ImageFiles { tree: self.layers.tree(&files, &solver.job).await.map_err(own)?, accounts })
    }
}

impl ImageFiles {
    /// What is at an absolute path; nothing where a link leads nowhere.
    pub fn find(&self, path: &str) -> Option<FoundFile> {
        let node = self.tree.resolve(path.as_bytes(), true).ok()??;
        let entry = self.tree.entry(node);
        Some(FoundFile { mode: entry.mode & 0o7777, uid: entry.uid, gid: entry.gid })
    }

    /// Absolute paths of all that is there, folders included.
    pub fn paths(&self) -> impl Iterator<Item = String> {
        let root = self.tree.root();
        let nodes = self.tree.walk(root).filter(move |node| *node != root);
        let nodes = nodes.filter(|node| !matches!(self.tree.entry(*node).kind, EntryKind::Whiteout));
        nodes.map(|node| format!("/{}", String::from_utf8_lossy(self.tree.path(node))))
    }

    /// The ids of `USER[:GROUP]`, by names of the image or numbers.
    pub fn owner(&self, spec: &str) -> Result<(u32, u32), String> {
        let owner = self.accounts.owner(spec).map_err(|error| error.to_string())?;
        match owner.unknown.first() {
            None => Ok((owner.uid, owner.gid)),
            Some(error) => Err(error.to_string()),
        }
    }
}

impl Container {
    /// What is at absolute paths once the command is over, in their order.
    pub async fn look(&self, paths: &[String]) -> Result<Vec<Option<FoundFile>>, Box<Problem>> {
        let (lowers, upper) = self.trees();
        let lowers = std::iter::once(upper).chain(lowers.iter().cloned()).collect();
        let task = HelperTask::Look { lowers, paths: paths.iter().map(PathBuf::from).collect() };
        let seen = self.supervisor().call(task, &[]).await;
        match seen.map_err(|error| Box::new(supervisors::problem(&error)))? {
            TaskOutput::Seen(seen) => Ok(seen.into_iter().map(|one| one.map(found)).collect()),
            other => unreachable!("a look gives what is seen, not {other:?}"),
        }
    }
}

fn found(seen: SeenFile) -> FoundFile {
    FoundFile { mode: seen.mode & 0o7777, uid: seen.uid, gid: seen.gid }
}
