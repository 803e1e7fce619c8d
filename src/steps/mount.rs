//! `RUN --mount`: what is mounted, with every name resolved.
//!
//! What a mount takes of a context becomes a step of its own, a copy of just that onto nothing. So ignore
//! rules, keys by content and sharing are those of COPY, and a mount only ever reads another step.

use super::instructions::{Lowering, StageLowerer, clean};
use super::lower::Copied;
use super::op::{CopyFrom, CopyOp, Op};
use crate::base::StepId;
use crate::diag::{Located, Place, Problem};
use crate::dockerfile::{ExpandError, Mount, MountError, MountSpec, Run, Sharing, expand_word};

/// Where a step that is made to be mounted has what it took: a file, or a directory.
const TAKEN: &str = "/source";

/// One mount of a RUN step.
#[derive(Clone, Debug)]
pub struct RunMount {
    /// Absolute and clean; `None` for a secret that is a variable only.
    pub target: Option<String>,
    pub kind: MountKind,
    pub place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// Part of a step's file system; what is written there is thrown away.
    Bind {
        from: StepId,
        /// From the root of that file system.
        source: String,
        is_writable: bool,
    },
    Cache(CacheMount),
    Tmpfs {
        /// In bytes.
        size: Option<u64>,
    },
    Secret {
        id: String,
        env: Option<String>,
        is_required: bool,
        access: Access,
    },
    Ssh {
        id: String,
        is_required: bool,
        access: Access,
    },
}

/// A directory that stays in the store between builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheMount {
    pub id: String,
    pub sharing: Sharing,
    /// What it begins with: a step, and the directory in its file system.
    pub seed: Option<(StepId, String)>,
    pub access: Access,
    pub is_read_only: bool,
}

/// The owner and mode of what is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

impl RunMount {
    /// The step whose file system is read.
    pub fn input(&self) -> Option<StepId> {
        match &self.kind {
            MountKind::Bind { from, .. } => Some(*from),
            MountKind::Cache(cache) => cache.seed.as_ref().map(|(step, _)| *step),
            MountKind::Tmpfs { .. } | MountKind::Secret { .. } | MountKind::Ssh { .. } => None,
        }
    }

    /// The id of a secret or agent it asks the user for, and which of the two.
    pub fn asks_for(&self) -> Option<(Asked, &str)> {
        match &self.kind {
            MountKind::Secret { id, .. } => Some((Asked::Secret, id)),
            MountKind::Ssh { id, .. } => Some((Asked::Ssh, id)),
            MountKind::Bind { .. } | MountKind::Cache(_) | MountKind::Tmpfs { .. } => None,
        }
    }
}

/// What only the user can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    Secret,
    Ssh,
}

impl StageLowerer<'_, '_> {
    /// The mounts of a RUN; `None` when one reads an image that is not known yet.
    pub(super) fn mounts(&mut self, run: &Run) -> Lowering<Option<Vec<RunMount>>> {
        let mut mounts = Vec::new();
        let mut agents = 0;
        for mount in &run.mounts {
            let lowered = self.mount(mount, &mut agents).map_err(|problem| {
                let is_placed = !problem.labels.is_empty();
                Box::new(if is_placed { *problem } else { problem.at(mount.place.clone(), "this mount") })
            })?;
            let Some(lowered) = lowered else { return Ok(None) };
            mounts.push(lowered);
        }
        Ok(Some(mounts))
    }

    fn mount(&mut self, mount: &Mount, agents: &mut usize) -> Lowering<Option<RunMount>> {
        let place = mount.place.clone();
        let (target, kind) = match self.resolved(mount)? {
            MountSpec::Bind { from, source, target, read_only } => {
                let target = self.mount_point(&target)?;
                let source = clean(source.as_deref().unwrap_or("/"));
                let Some((from, source)) = self.bound(from, source, mount, &target)? else { return Ok(None) };
                (Some(target), MountKind::Bind { from, source, is_writable: !read_only })
            }
            MountSpec::Cache { id, from, source, target, sharing, mode, uid, gid, read_only } => {
                let target = self.mount_point(&target)?;
                let id = self.cache_id(id.unwrap_or_else(|| target.clone()));
                let Some(seed) = self.seed(from, source, mount)? else { return Ok(None) };
                let access = Access { mode, uid, gid };
                let cache = CacheMount { id, sharing, seed, access, is_read_only: read_only };
                (Some(target), MountKind::Cache(cache))
            }
            MountSpec::Tmpfs { target, size } => {
                (Some(self.mount_point(&target)?), MountKind::Tmpfs { size })
            }
            MountSpec::Secret { id, target, env, required, mode, uid, gid } => {
                let target = target.map(|target| self.mount_point(&target)).transpose()?;
                let access = Access { mode, uid, gid };
                (target, MountKind::Secret { id, env, is_required: required, access })
            }
            MountSpec::Ssh { id, target, required, mode, uid, gid } => {
                let target = target.unwrap_or_else(|| format!("/run/buildkit/ssh_agent.{agents}"));
                *agents += 1;
                let access = Access { mode, uid, gid };
                (Some(self.mount_point(&target)?), MountKind::Ssh { id, is_required: required, access })
            }
        };
        Ok(Some(RunMount { target, kind, place }))
    }

    fn resolved(&self, mount: &Mount) -> Lowering<MountSpec> {
        let escape = self.lowerer.setting.dockerfile.directives.escape;
        let scope = &self.state.scope;
        let mut expand = |word: &str| -> Result<String, ExpandError> {
            expand_word(word, escape, &|name| scope.get(name)).map(|expansion| expansion.value)
        };
        mount.resolve(&mut expand).map_err(|error| Box::new(mount_problem(&error)))
    }

    /// A target from the root. A relative one is seen from the working directory.
    fn mount_point(&self, target: &str) -> Lowering<String> {
        match clean(&self.absolute(target)) {
            root if root == "/" => {
                let problem = Problem::input("dockerfile::mount", "a mount cannot cover `/`");
                Err(Box::new(problem.help("give it a `target`; without one it is the working directory")))
            }
            target => Ok(target),
        }
    }

    /// The step a bind mount reads, and where in it.
    fn bound(
        &mut self,
        from: Option<String>,
        source: String,
        mount: &Mount,
        target: &str,
    ) -> Lowering<Option<(StepId, String)>> {
        let Some(from) = self.source_of(from, mount) else { return Ok(None) };
        Ok(Some(match from {
            CopyFrom::Step(step) => (step, source),
            CopyFrom::MainContext | CopyFrom::Context(_) | CopyFrom::Remote(_) => {
                (self.taken(from, source, &mount.place, target), TAKEN.to_string())
            }
        }))
    }

    /// What a cache begins with: inside `None`, nothing.
    fn seed(
        &mut self,
        from: Option<String>,
        source: Option<String>,
        mount: &Mount,
    ) -> Lowering<Option<Option<(StepId, String)>>> {
        if from.is_none() {
            return match source {
                None => Ok(Some(None)),
                Some(_) => {
                    let message = "a cache mount has `source` only together with `from`";
                    Err(Box::new(Problem::input("dockerfile::mount", message)))
                }
            };
        }
        let source = clean(source.as_deref().unwrap_or("/"));
        let Some(from) = self.source_of(from, mount) else { return Ok(None) };
        let step = self.taken(from, source, &mount.place, "a cache");
        Ok(Some(Some((step, TAKEN.to_string()))))
    }

    fn source_of(&mut self, from: Option<String>, mount: &Mount) -> Option<CopyFrom> {
        let Some(from) = from else { return Some(CopyFrom::MainContext) };
        let (from, platform) = (Located::new(from, mount.place.clone()), self.state.platform.clone());
        match self.lowerer.mount_from(&from, &platform)? {
            Copied::Step(step) => Some(CopyFrom::Step(step)),
            Copied::Context(name) => Some(CopyFrom::Context(name)),
        }
    }

    /// The step that has just `source` of `from`, at [`TAKEN`].
    fn taken(&mut self, from: CopyFrom, source: String, place: &Place, target: &str) -> StepId {
        let known = self.lowerer.taken.iter().find(|(known, path, _)| *known == from && *path == source);
        if let Some((_, _, step)) = known {
            return *step;
        }
        let input = self.lowerer.nothing(&self.state.platform);
        let copy = CopyOp {
            input,
            from: from.clone(),
            sources: vec![source.clone()],
            inline: Vec::new(),
            destination: TAKEN.to_string(),
            chown: None,
            chmod: None,
            link: false,
            parents: false,
            exclude: Vec::new(),
            unpack: false,
            is_mounted: true,
        };
        let (stage, platform) = (self.state.title.clone(), self.state.platform.clone());
        let text = format!("mount {source} at {target}");
        let step = self.lowerer.add_step(&stage, &text, Some(place), &platform, Op::Copy(copy));
        self.lowerer.taken.push((from, source, step));
        step
    }

    /// An id as all builds of one `BUILDKIT_CACHE_MOUNT_NS` know it.
    fn cache_id(&self, id: String) -> String {
        match self.lowerer.setting.args.get("BUILDKIT_CACHE_MOUNT_NS") {
            Some(space) if !space.value.is_empty() => format!("{}/{id}", space.value),
            _ => id,
        }
    }
}

fn mount_problem(error: &MountError) -> Problem {
    let problem = Problem::input("dockerfile::mount", error.to_string());
    match error.help() {
        Some(help) => problem.help(help),
        None => problem,
    }
}
