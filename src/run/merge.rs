//! The merge node: index in the store, then the outputs that are files or a Docker Engine.

use std::path::Path;
use std::sync::Arc;

use super::verify;
use super::worker::PlanWorker;
use crate::base::payload::Outcome;
use crate::base::{NodeId, Reference};
use crate::diag::Problem;
use crate::engine::{Engine, blocking};
use crate::event::{Event, Transfer};
use crate::model::{Dest, ExportOptions, Output};
use crate::oci::Descriptor;
use crate::plan::MergeNode;
use crate::publish::load::{Load, load};
use crate::publish::merge::Merged;
use crate::publish::output::{
    OutputError, write_docker_archive, write_oci_archive, write_oci_directory, write_root_tar,
};
use crate::store::Store;

pub(super) async fn work<E: Engine>(
    worker: &PlanWorker<E>,
    id: NodeId,
    node: &MergeNode,
) -> Result<Outcome, Box<Problem>> {
    verify::compare(worker, id, node);
    let merged = worker.export_target(node, &node.export).await?;
    worker.tools.events.emit(Event::Merged {
        node: id,
        target: node.target.clone(),
        digest: merged.root.digest,
        platforms: node.platforms.clone(),
        names: node.names.iter().map(Reference::familiar).collect(),
    });
    let mut wrote = merged.is_new;
    for output in &node.outputs {
        wrote |= write(worker, id, node, output).await?;
    }
    worker.expect_tags(&node.target, &merged.root);
    worker.set_merged(&node.target, merged);
    Ok(if wrote { Outcome::Built } else { Outcome::Reused })
}

/// Writes one output; whether there was something to write. Registries are the publish node's.
async fn write<E: Engine>(
    worker: &PlanWorker<E>,
    id: NodeId,
    node: &MergeNode,
    output: &Output,
) -> Result<bool, Box<Problem>> {
    if matches!(output, Output::Image { .. } | Output::CacheOnly) {
        return Ok(false);
    }
    let options = match output {
        // Archives for Docker translate the types themselves.
        Output::Docker { options, .. } => ExportOptions { oci_media_types: true, ..options.clone() },
        output => output.export_options().unwrap_or(&node.export).clone(),
    };
    let merged = worker.export_target(node, &options).await?;
    for (platform, image) in node.platforms.iter().zip(&merged.images) {
        worker.bring_supplied(&node.target, platform, image).await?;
    }
    let (kind, place) = match output {
        Output::Image { .. } | Output::CacheOnly => return Ok(false),
        Output::Docker { dest: None, .. } => {
            let place = load_image(worker, id, merged.clone(), &node.names).await?;
            ("docker", place)
        }
        Output::Oci { dest, .. } => ("oci", place_of(dest)),
        Output::Docker { dest: Some(dest), .. } => ("docker", place_of(dest)),
        Output::Local { dest, .. } => ("local", dest.display().to_string()),
        Output::Tar { dest, .. } => ("tar", place_of(dest)),
    };
    if !matches!(output, Output::Docker { dest: None, .. }) {
        let (store, root, names) = (worker.tools.store.clone(), merged.root, node.names.clone());
        let output = output.clone();
        let written = blocking(move || write_file(&store, &root, &names, &output)).await;
        written.map_err(|error| Box::new(Problem::from(&error)))?;
    }
    worker.tools.events.emit(Event::Written { node: id, kind: kind.to_string(), place });
    Ok(true)
}

fn write_file(
    store: &Store,
    root: &Descriptor,
    names: &[Reference],
    output: &Output,
) -> Result<(), OutputError> {
    match output {
        Output::Oci { dest, tar: true, .. } => write_oci_archive(store, root, names, dest),
        Output::Oci { dest: Dest::Path(directory), tar: false, .. } => {
            write_oci_directory(store, root, names, directory)
        }
        Output::Docker { dest: Some(dest), .. } => write_docker_archive(store, root, names, dest),
        Output::Local { dest, platform_split } => write_directory(store, root, *platform_split, dest),
        Output::Tar { dest, platform_split } => write_root_tar(store, root, *platform_split, dest),
        Output::Oci { dest: Dest::Stdout, tar: false, .. }
        | Output::Docker { dest: None, .. }
        | Output::Image { .. }
        | Output::CacheOnly => Ok(()),
    }
}

#[cfg(target_os = "linux")]
fn write_directory(
    store: &Store,
    root: &Descriptor,
    split: Option<bool>,
    dest: &Path,
) -> Result<(), OutputError> {
    crate::publish::output::write_root_directory(store, root, split, dest).map(drop)
}

#[cfg(not(target_os = "linux"))]
fn write_directory(_: &Store, _: &Descriptor, _: Option<bool>, dest: &Path) -> Result<(), OutputError> {
    let detail = "folders are written on Linux alone; take `type=tar`";
    let source = std::io::Error::new(std::io::ErrorKind::Unsupported, detail);
    Err(OutputError::Write { path: dest.to_path_buf(), source })
}

fn place_of(dest: &Dest) -> String {
    match dest {
        Dest::Path(path) => path.display().to_string(),
        Dest::Stdout => "standard output".to_string(),
    }
}

/// Streams the images into the Engine.
async fn load_image<E: Engine>(
    worker: &PlanWorker<E>,
    id: NodeId,
    merged: Merged,
    names: &[Reference],
) -> Result<String, Box<Problem>> {
    let address = worker.tools.docker.clone().map_err(|error| Box::new(error.problem()))?;
    let events = worker.job_events(id);
    let progress = move |sent, total| events.transfer(Transfer::Push, "image".to_string(), sent, Some(total));
    let asked = Load {
        blobs: Arc::new(worker.tools.store.clone()),
        image: merged,
        names: names.to_vec(),
        progress: Arc::new(progress),
    };
    let loaded = load(&address, &asked).await.map_err(|error| Box::new(error.problem()))?;
    if let Some(warning) = loaded.warning {
        worker.job_events(id).notice(warning);
    }
    Ok(loaded.images.join(", "))
}
