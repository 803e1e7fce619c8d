//! What an old frontend makes in its own way and says nothing of. Where that is another image, it is refused before the
//! Engine is asked; what no look at the build can tell is in `docs/builders.md`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Seek as _};

use super::ELSEWHERE;
use crate::context::Context;
use crate::diag::{Kind, Problem};
use crate::engine::BuildJob;
use crate::engine::selection::{context_of, missing_in_context};
use crate::layer::{EntryKind, Tree, is_archive};
use crate::steps::{Chmod, CopyOp, Op, Selection, Step, select};

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The mode of directories that are made on the way, whatever is asked for.
const DIRECTORY_MODE: u32 = 0o755;

/// Whether the image of an old frontend is the one that the steps describe. Blocks where files must be read.
pub(super) fn check(job: &BuildJob) -> Result<(), Box<Problem>> {
    for id in job.steps.needed() {
        let step = job.steps.step(id);
        if let Op::Copy(copy) = &step.op
            && !copy.is_mounted
        {
            check_copy(job, step, copy)?;
        }
    }
    Ok(())
}

fn check_copy(job: &BuildJob, step: &Step, copy: &CopyOp) -> Result<(), Box<Problem>> {
    if copy.destination.ends_with("/.") {
        return Err(refused(step, "writes a file where a destination in `/.` means a directory"));
    }
    let selected = match context_of(job, copy) {
        Some(context) => {
            let tree = context.tree().map_err(|error| Box::new(error.problem()))?;
            let selection = select(copy, tree)
                .map_err(|error| Box::new(missing_in_context(step, &error, context, tree)))?;
            check_selection(step, copy, &selection, tree)?;
            if copy.unpack {
                check_archives(step, copy, &selection, context, tree)?;
            }
            Some((selection, tree))
        }
        None => None,
    };
    match (&copy.chmod, selected) {
        (Some(Chmod::Octal(mode)), Some((selection, tree))) => {
            check_modes(job, step, copy, *mode, &selection, tree)
        }
        (Some(Chmod::Octal(_)), None) if copy.inline.is_empty() => {
            Err(refused(step, "gives no mode to directories, and what `--from` names may be one"))
        }
        // Modes in letters need a newer language.
        _ => Ok(()),
    }
}

fn check_selection(
    step: &Step,
    copy: &CopyOp,
    selection: &Selection,
    tree: &Tree,
) -> Result<(), Box<Problem>> {
    let is_pipe = |node: &crate::layer::NodeRef| tree.entry(*node).kind == EntryKind::Fifo;
    match selection.nodes().find(is_pipe) {
        Some(pipe) => {
            let path = String::from_utf8_lossy(&tree.entry(pipe).path).into_owned();
            let verb = if copy.unpack { "adds" } else { "copies" };
            Err(refused(step, &format!("leaves out the named pipe `{path}`, which this {verb}")))
        }
        None => Ok(()),
    }
}

/// Old frontends unpack no archives of zstd, and leave those of others to whom they say.
fn check_archives(
    step: &Step,
    copy: &CopyOp,
    selection: &Selection,
    context: &Context,
    tree: &Tree,
) -> Result<(), Box<Problem>> {
    for item in selection.items.iter().filter(|item| !item.is_directory) {
        let Some(origin) = tree.origin(item.node) else { continue };
        let file = context.open(origin.position as usize).map_err(|error| Box::new(error.problem()))?;
        let Some(is_zstd) = archive(&file) else { continue };
        let name = String::from_utf8_lossy(&item.name);
        if is_zstd {
            return Err(refused(step, &format!("leaves `{name}` packed: it knows no zstd")));
        }
        if copy.chown.is_some() {
            let what = format!("leaves what `{name}` holds to its owners, whatever `--chown` says");
            return Err(refused(step, &what));
        }
    }
    Ok(())
}

/// For an archive, whether it is compressed with zstd.
fn archive(mut file: &File) -> Option<bool> {
    let mut magic = [0; 4];
    let read = file.read_exact(&mut magic).and_then(|()| file.rewind());
    (read.is_ok() && is_archive(file)).then_some(magic == ZSTD_MAGIC)
}

/// Directories keep their modes there, and those that are made on the way have one of their own.
fn check_modes(
    job: &BuildJob,
    step: &Step,
    copy: &CopyOp,
    mode: u32,
    selection: &Selection,
    tree: &Tree,
) -> Result<(), Box<Problem>> {
    let is_other = |node: &crate::layer::NodeRef| {
        let entry = tree.entry(*node);
        entry.is_directory() && entry.mode != mode
    };
    let inner = selection.items.iter().flat_map(|item| item.contents.iter().map(|within| within.node));
    if inner.into_iter().any(|node| is_other(&node)) {
        return Err(refused(step, &format!("gives the mode {mode:o} to files alone, not to directories")));
    }
    let holder = match copy.destination.rsplit_once('/') {
        _ if selection.items.iter().any(|item| item.is_directory) => copy.destination.as_str(),
        Some((holder, _)) => holder,
        None => "",
    };
    let holder = holder.trim_end_matches('/');
    if mode == DIRECTORY_MODE || holder.is_empty() || made_before(job, copy).contains(holder) {
        return Ok(());
    }
    let what = format!("gives `{holder}` another mode than {mode:o}, if it is not there yet");
    let problem = refused(step, &what);
    Err(Box::new(problem.help(format!("make it before, with `WORKDIR {holder}`, or {ELSEWHERE}"))))
}

/// The directories that WORKDIR made certain in the same stage.
fn made_before(job: &BuildJob, copy: &CopyOp) -> BTreeSet<String> {
    let (mut made, mut input) = (BTreeSet::new(), copy.input);
    loop {
        match &job.steps.step(input).op {
            Op::Scratch | Op::Base(_) => return made,
            Op::Merge(merge) => input = merge.input,
            Op::Run(run) => input = run.input,
            Op::Copy(copy) => input = copy.input,
            Op::MakeDirectory(make) => {
                let ancestors = std::path::Path::new(&make.path).ancestors();
                made.extend(ancestors.map(|path| path.to_string_lossy().into_owned()));
                input = make.input;
            }
        }
    }
}

fn refused(step: &Step, what: &str) -> Box<Problem> {
    let message = format!("the frontend of this Docker Engine {what}: `{}`", step.text);
    let problem = Problem::new(Kind::Host, "buildkit::classic", message).help(ELSEWHERE);
    Box::new(match &step.place {
        Some(place) => problem.at(place.clone(), "asked for here"),
        None => problem,
    })
}
