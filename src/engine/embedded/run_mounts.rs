//! The mounts of one RUN, made ready: trees unpacked, caches taken, secrets read, agents within reach.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::agent;
use super::cache_mount;
use super::filesystem::FileSystem;
use super::mask::Mask;
use super::run_step::at;
use super::sandbox::{Changes, IdMaps, Kept, Mount, Supervisor};
use super::solve::Task;
use super::{fault, snapshots, supervisors};
use crate::base::{Digest, Secret};
use crate::diag::{Kind, Problem};
use crate::steps::{Access, Asked, MountKind, RunMount, RunOp};
use crate::store::PendingSnapshot;

/// tmpfs as Docker mounts it: everybody's, as `/tmp` is.
const TMPFS_MODE: u32 = 0o1777;

/// What mounts have come to.
#[derive(Default)]
pub(super) struct Mounted<'s> {
    pub mounts: Vec<Mount>,
    /// Variables that mounts set.
    pub env: Vec<(OsString, OsString)>,
    /// Hides the secrets that the command gets to know.
    pub mask: Mask,
    /// What has to last until the command is gone.
    pub kept: Vec<Kept>,
    /// Sockets, and what is written where it is thrown away; a dead path once this is dropped.
    scratch: Option<PendingSnapshot<'s>>,
}

pub(super) async fn prepare<'s>(
    task: &'s Task,
    run: &RunOp,
    supervisor: &Supervisor,
) -> Result<Mounted<'s>, Arc<Problem>> {
    within_reach(task, run)?;
    // What takes long comes first, so that caches and agents are held while the command runs and no longer.
    let trees = trees(task, run, supervisor).await?;
    let mut preparation = Preparation { task, mounted: Mounted::default(), secrets: Vec::new() };
    let mut caches = cache_mount::take(task, run, supervisor).await?;
    for (place, mount) in run.mounts.iter().enumerate() {
        let target = mount.target.as_ref().map(PathBuf::from);
        match &mount.kind {
            MountKind::Bind { source, is_writable, .. } => {
                preparation.bind(&trees[&place], Path::new(source), target, *is_writable)?;
            }
            MountKind::Cache(cache) => {
                let source = caches.path_of(place);
                let target = target.unwrap_or_default();
                let readonly = cache.is_read_only;
                preparation.mounted.mounts.push(Mount::Bind { source, target, readonly, recursive: false });
            }
            MountKind::Tmpfs { size } => {
                let target = target.unwrap_or_default();
                preparation.mounted.mounts.push(Mount::Tmpfs { target, size: *size, mode: TMPFS_MODE });
            }
            MountKind::Secret { id, env, is_required, access } => {
                preparation.secret(mount, id, env.as_deref(), *is_required, *access).await?;
            }
            MountKind::Ssh { id, is_required, access } => {
                preparation.agent(mount, place, id, *is_required, *access).await?;
            }
        }
    }
    let Preparation { mut mounted, secrets, .. } = preparation;
    mounted.mask = Mask::new(&secrets);
    mounted.kept.append(&mut caches.kept);
    Ok(mounted)
}

/// Whether files can belong here to whom mounts say.
fn within_reach(task: &Task, run: &RunOp) -> Result<(), Arc<Problem>> {
    let reach = IdMaps::for_this_user().reach();
    for mount in &run.mounts {
        let access = match &mount.kind {
            MountKind::Secret { access, .. } | MountKind::Ssh { access, .. } => access,
            MountKind::Cache(cache) => &cache.access,
            MountKind::Bind { .. } | MountKind::Tmpfs { .. } => continue,
        };
        if let Some(id) = [access.uid, access.gid].into_iter().find(|id| !reach.covers(*id)) {
            let message = format!("this mount belongs to id {id}, which this user does not have here");
            let problem = Problem::new(Kind::Host, "host::id-map", message).help(supervisors::MORE_IDS);
            return Err(mounted_at(task, mount, problem));
        }
    }
    Ok(())
}

/// The layers that each bind mount shows, topmost first, by the mount's place.
async fn trees(
    task: &Task,
    run: &RunOp,
    supervisor: &Supervisor,
) -> Result<BTreeMap<usize, Vec<PathBuf>>, Arc<Problem>> {
    let mut trees = BTreeMap::new();
    for (place, files) in inputs(task, run) {
        if matches!(run.mounts[place].kind, MountKind::Bind { .. }) {
            trees.insert(place, snapshots::lowers(&task.engine, &task.job, files, supervisor).await?);
        }
    }
    Ok(trees)
}

/// The file systems that mounts read, by the mount's place.
pub(super) fn inputs<'t>(
    task: &'t Task,
    run: &'t RunOp,
) -> impl Iterator<Item = (usize, &'t Arc<FileSystem>)> {
    let readers = run.mounts.iter().enumerate().filter(|(_, mount)| mount.input().is_some());
    readers.map(|(place, _)| place).zip(&task.inputs[1..])
}

struct Preparation<'s> {
    task: &'s Task,
    mounted: Mounted<'s>,
    secrets: Vec<Secret>,
}

impl Preparation<'_> {
    fn bind(
        &mut self,
        lowers: &[PathBuf],
        source: &Path,
        target: Option<PathBuf>,
        is_writable: bool,
    ) -> Result<(), Arc<Problem>> {
        let changes = match is_writable {
            true => Some(Changes { upper: self.scratch_folder()?, work: self.scratch_folder()? }),
            false => None,
        };
        self.mounted.mounts.push(Mount::Tree {
            lowers: lowers.to_vec(),
            source: source.to_path_buf(),
            target: target.unwrap_or_default(),
            changes,
        });
        Ok(())
    }

    /// A secret that is not there is an empty variable and no file, as in BuildKit.
    async fn secret(
        &mut self,
        mount: &RunMount,
        id: &str,
        env: Option<&str>,
        is_required: bool,
        access: Access,
    ) -> Result<(), Arc<Problem>> {
        let (job, name) = (self.task.job.clone(), id.to_string());
        let read = fault::blocking(move || job.forwarded.secret(&name)).await;
        let secret = read.map_err(|problem| mounted_at(self.task, mount, problem))?;
        if secret.is_none() && is_required {
            return Err(self.not_given(mount, Asked::Secret, id));
        }
        let value = secret.as_ref().map(|secret| secret.expose().to_vec());
        if let Some(env) = env {
            let value = OsString::from_vec(value.clone().unwrap_or_default());
            self.mounted.env.push((env.into(), value));
        }
        if let (Some(content), Some(target)) = (value, &mount.target) {
            let (target, Access { mode, uid, gid }) = (target.into(), access);
            self.mounted.mounts.push(Mount::File { content, target, mode, uid, gid });
        }
        self.secrets.extend(secret);
        Ok(())
    }

    async fn agent(
        &mut self,
        mount: &RunMount,
        place: usize,
        id: &str,
        is_required: bool,
        access: Access,
    ) -> Result<(), Arc<Problem>> {
        let Some(target) = mount.target.as_ref().map(PathBuf::from) else { return Ok(()) };
        // The first one; set even where nobody answers, as in BuildKit.
        if !self.mounted.env.iter().any(|(name, _)| name == "SSH_AUTH_SOCK") {
            self.mounted.env.push(("SSH_AUTH_SOCK".into(), target.clone().into()));
        }
        let agent =
            self.task.job.forwarded.agent(id).map_err(|problem| mounted_at(self.task, mount, problem))?;
        let Some(agent) = agent else {
            return match is_required {
                true => Err(self.not_given(mount, Asked::Ssh, id)),
                false => Ok(()),
            };
        };
        let folder = self.scratch()?;
        let name = format!("agent.{place}");
        let proxy = agent::serve(&agent, &folder, &name).await.map_err(|error| {
            let problem =
                Problem::input("build::ssh", format!("the SSH agent `{id}` cannot be used: {error}"));
            mounted_at(self.task, mount, problem)
        })?;
        self.mounted.kept.push(Box::new(proxy));
        let Access { mode, uid, gid } = access;
        self.mounted.mounts.push(Mount::Socket { source: folder.join(name), target, mode, uid, gid });
        Ok(())
    }

    fn not_given(&self, mount: &RunMount, asked: Asked, id: &str) -> Arc<Problem> {
        let (what, help) = match asked {
            Asked::Secret => (
                "secret",
                format!(
                    "say `secret = [{{ id = \"{id}\", env = \"…\" }}]` in the target, or `src = \"…\"` for a file; the variable must be set"
                ),
            ),
            Asked::Ssh => {
                ("SSH agent", format!("say `ssh = [\"{id}\"]` in the target, with an agent in SSH_AUTH_SOCK"))
            }
        };
        let message = format!("`{}` requires the {what} `{id}`, which is not there", self.task.step.text);
        mounted_at(self.task, mount, Problem::input("build::not-given", message).help(help))
    }

    /// A folder of this RUN's own, beside its changes.
    fn scratch(&mut self) -> Result<PathBuf, Arc<Problem>> {
        if self.mounted.scratch.is_none() {
            let snapshots = self.task.engine.store.snapshots();
            let key = snapshots::layer_key(Digest::of(b"scratch"));
            self.mounted.scratch = Some(snapshots.begin(&key).map_err(|error| Arc::new(error.problem()))?);
        }
        let scratch = self.mounted.scratch.as_ref().expect("it was just made");
        Ok(scratch.folder().to_path_buf())
    }

    fn scratch_folder(&mut self) -> Result<PathBuf, Arc<Problem>> {
        let scratch = self.scratch()?;
        let made =
            tempfile::Builder::new().prefix("changes-").permissions(folder_mode()).tempdir_in(&scratch);
        let made = made.map_err(|error| Arc::new(*fault::io("make a directory for a mount", &error)))?;
        Ok(made.keep())
    }
}

/// The mode of an overlay's upper directory is that of what is mounted.
fn folder_mode() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o755)
}

pub(super) fn mounted_at(task: &Task, mount: &RunMount, problem: Problem) -> Arc<Problem> {
    if !problem.labels.is_empty() {
        return at(task, problem);
    }
    Arc::new(problem.at(mount.place.clone(), format!("for {}", task.step.platform)))
}
