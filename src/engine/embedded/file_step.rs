//! COPY, ADD and WORKDIR: what is selected, who owns it, and where it goes. The layer itself is written in
//! `file_layer`, without root and without unpacking a file system.

use std::sync::Arc;

use super::accounts::{AccountError, Accounts};
use super::archives::OpenArchives;
use super::fault;
use super::file_source::FileSource;
use super::filesystem::FileSystem;
use super::solve::{Landed, Task};
use crate::base::Digest;
use crate::diag::Problem;
use crate::engine::selection::{content_digests, missing_in_files};
use crate::layer::{Index, NodeRef, Tree};
use crate::steps::{
    Content, CopyOp, MakeDirectoryOp, Owner, PlaceError, Selection, Settings, Step, place_copy,
    place_directory, select,
};

/// A COPY with everything it needs but its sources.
struct Placing {
    task: Task,
    copy: CopyOp,
    base: Arc<Tree>,
    /// Of the layers that make the base.
    base_indexes: Vec<Arc<Index>>,
    settings: Settings,
}

pub(super) async fn copy(task: &Task, copy: &CopyOp) -> Landed {
    // A linked copy does not look at what is below it, so nothing needs to be fetched for that.
    let (base, base_indexes) = match copy.link {
        true => (Arc::default(), Vec::new()),
        false => {
            let base = task.engine.layers.tree(&task.inputs[0], &task.job).await?;
            (base, indexes(task, &task.inputs[0]).await?)
        }
    };
    let owner = match &copy.chown {
        Some(spec) if copy.link => Some(number_owner(task, spec)?),
        Some(spec) => Some(owner(task, spec).await?),
        None => None,
    };
    let settings = Settings { owner, keep_owner: task.copy_source(copy).is_some(), now: task.job.now };
    let placing = Placing { task: task.clone(), copy: copy.clone(), base, base_indexes, settings };
    match (task.context(copy).await?, task.copy_source(copy)) {
        (Some(context), _) => {
            let work = move || {
                let tree = context.tree().map_err(|error| error.problem())?;
                let selection =
                    select(&placing.copy, tree).map_err(|error| at_step(&placing.task.step, &error))?;
                let digests = content_digests(&context, tree, &selection).map_err(|error| error.problem())?;
                let source = FileSource::Context { context: &context, tree, digests: &digests };
                placing.land(&selection, tree, &source)
            };
            fault::blocking(work).await.map_err(Arc::new)
        }
        (None, Some(files)) => {
            let tree = task.engine.layers.tree(files, &task.job).await?;
            let indexes = indexes(task, files).await?;
            for layer in &files.layers {
                task.engine.layers.fetch(layer, &task.job).await?;
            }
            let files = files.clone();
            let work = move || {
                let selection = select(&placing.copy, &tree)
                    .map_err(|error| missing_in_files(&placing.task.step, &error, &tree))?;
                let store = &placing.task.engine.store;
                let source = FileSource::Layers { files: &files, indexes: &indexes, tree: &tree, store };
                placing.land(&selection, &tree, &source)
            };
            fault::blocking(work).await.map_err(Arc::new)
        }
        (None, None) => {
            let work = move || placing.land(&Selection::default(), &Tree::new(), &FileSource::Nothing);
            fault::blocking(work).await.map_err(Arc::new)
        }
    }
}

impl Placing {
    fn land(
        &self,
        selection: &Selection,
        tree: &Tree,
        source: &FileSource<'_>,
    ) -> Result<(super::filesystem::Layer, crate::base::payload::Outcome), Problem> {
        let step = &self.task.step;
        let archives = match self.copy.unpack {
            true => OpenArchives::find(step, selection, source)?,
            false => OpenArchives::default(),
        };
        let placement = place_copy(&self.copy, selection, tree, &archives.members, &self.base, self.settings)
            .map_err(|error| place_problem(step, &error))?;
        let has_bytes = |node, content: &Content| {
            let known = self.digest_in_base(node);
            known.is_some() && known == digest_of(content, source)
        };
        let placement = placement.without_repeated(&self.base, has_bytes);
        self.task.finish(&placement, source, &archives)
    }

    /// The digest of a file's content, if whoever wrote its layer knew it.
    fn digest_in_base(&self, node: NodeRef) -> Option<Digest> {
        let origin = self.base.origin(node)?;
        self.base_indexes.get(origin.layer as usize)?.entries[origin.position as usize].content
    }
}

/// The digest of what is to be written, where it is known without unpacking anything.
fn digest_of(content: &Content, source: &FileSource<'_>) -> Option<Digest> {
    match content {
        Content::Source(node) => source.digest(*node),
        Content::Bytes(bytes) => Some(Digest::of(bytes)),
        Content::Member { .. } | Content::None => None,
    }
}

pub(super) async fn make_directory(task: &Task, make: &MakeDirectoryOp) -> Landed {
    let base = task.engine.layers.tree(&task.inputs[0], &task.job).await?;
    let owner = match make.user.as_str() {
        "" => None,
        user => Some(owner(task, user).await?),
    };
    let settings = Settings { owner, keep_owner: false, now: task.job.now };
    let (placed_task, path) = (task.clone(), make.path.clone());
    let work = move || {
        let placement = place_directory(&path, &base, settings)
            .map_err(|error| place_problem(&placed_task.step, &error))?;
        placed_task.finish(&placement, &FileSource::Nothing, &OpenArchives::default())
    };
    fault::blocking(work).await.map_err(Arc::new)
}

/// A user and group by name, as the destination knows them.
async fn owner(task: &Task, spec: &str) -> Result<Owner, Arc<Problem>> {
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    // Numbers need no look at the destination.
    let accounts = if spec.split(':').all(is_number) { Accounts::default() } else { accounts(task).await? };
    let ownership = accounts.owner(spec).map_err(|error| Arc::new(account_problem(&task.step, &error)))?;
    for error in &ownership.unknown {
        task.job.events.notice(unknown_owner(&task.step, error));
    }
    Ok(Owner { uid: ownership.uid, gid: ownership.gid })
}

/// The owner of what lies over any base and so cannot be looked up in one.
fn number_owner(task: &Task, spec: &str) -> Result<Owner, Arc<Problem>> {
    let problem = |error: &AccountError| at_step(&task.step, error);
    let ownership = Accounts::default().owner(spec).map_err(|error| Arc::new(problem(&error)))?;
    match ownership.unknown.first() {
        None => Ok(Owner { uid: ownership.uid, gid: ownership.gid }),
        Some(_) => Err(Arc::new(
            at_step(&task.step, &format!("`--link` sees no users or groups to find `{spec}` among"))
                .help("give numbers to `--chown`, or leave out `--link`"),
        )),
    }
}

/// The users and groups of a step's first input.
pub(super) async fn accounts(task: &Task) -> Result<Accounts, Arc<Problem>> {
    let (layers, files, job) = (&task.engine.layers, &task.inputs[0], &task.job);
    Ok(Accounts {
        passwd: layers.text(files, "etc/passwd", job).await?.unwrap_or_default(),
        group: layers.text(files, "etc/group", job).await?.unwrap_or_default(),
    })
}

pub(super) fn account_problem(step: &Step, error: &AccountError) -> Problem {
    at_step(step, error).help("create it with a RUN step before, or give its number")
}

/// BuildKit takes root in silence where a name is not found; it is taken here, too, but said.
fn unknown_owner(step: &Step, error: &AccountError) -> Problem {
    let problem = Problem::warning("build::owner", format!("`{}`: {error}; root is taken", step.text))
        .help("create it with a RUN step before, or give its number");
    match &step.place {
        Some(place) => problem.at(place.clone(), "this step"),
        None => problem,
    }
}

async fn indexes(task: &Task, files: &FileSystem) -> Result<Vec<Arc<Index>>, Arc<Problem>> {
    let mut indexes = Vec::with_capacity(files.layers.len());
    for layer in &files.layers {
        indexes.push(task.engine.layers.index(layer, &task.job).await?);
    }
    Ok(indexes)
}

fn place_problem(step: &Step, error: &PlaceError) -> Problem {
    let problem = at_step(step, error);
    match error {
        PlaceError::FileOverDirectory(_)
        | PlaceError::DirectoryOverFile(_)
        | PlaceError::NotADirectory(_) => {
            problem.help("choose another destination, or remove what is there in a RUN step before")
        }
        PlaceError::Reserved(_) => problem.help("rename it, or leave it out with `--exclude`"),
        PlaceError::Dangling { .. } => problem.help("make that directory in a RUN step before"),
        PlaceError::NoLinkTarget { .. } => {
            problem.help("the archive is not whole by itself: unpack it in a RUN step")
        }
        PlaceError::Unresolvable { .. } | PlaceError::TooLong => problem,
    }
}

/// A problem of what a step's instruction says.
pub(super) fn at_step(step: &Step, error: &dyn std::fmt::Display) -> Problem {
    let problem = Problem::input("build::step", format!("`{}`: {error}", step.text));
    match &step.place {
        Some(place) => problem.at(place.clone(), "this step"),
        None => problem,
    }
}
