//! How images are named by the verbs that take them from anywhere.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::{document, exit, surroundings};
use crate::command::transfers::Transferred;
use crate::command::{Failure, SessionOptions};
use crate::event::EventSink;
use crate::facts::Facts;
use crate::ui::{Progress, Ui};

/// The places of images, for `concat!`.
macro_rules! places {
    () => {
        "\
An image is named by where it lies:
  ghcr.io/shop/api:1.4, …@sha256:…             in a registry
  oci-layout://FOLDER[:TAG]                    in a folder that is an OCI layout
  oci-archive://FILE[:TAG]                     in an OCI layout in a tar, compressed or not
  docker-archive://FILE[:NAME]                 in what `docker save` writes
  ./PATH, /PATH                                in one of these three, whatever it is
  engine://NAME                                in the Docker Engine that `docker` would speak to
  store://DIGEST                               in mab's own store"
    };
}
pub(super) use places;

// What is needed to reach images on this machine.
#[derive(Debug, Args)]
pub struct PlaceArguments {
    /// The folder of the local store, for images at `store://` [default: $XDG_DATA_HOME/mab]
    #[arg(long, value_name = "PATH", env = "MAB_STORE")]
    store: Option<PathBuf>,
}

impl PlaceArguments {
    pub fn session(&self) -> SessionOptions {
        SessionOptions { store: self.store.clone(), ..SessionOptions::default() }
    }
}

/// Who hears how far images are.
pub(super) fn listener(progress: Progress, facts: &Facts) -> Arc<dyn EventSink> {
    Arc::new(Ui::new(progress, &surroundings(facts), Box::new(std::io::stderr())))
}

/// Shows what came of images that were on their way.
pub(super) fn transferred(
    result: Result<Transferred, Failure>,
    facts: &Facts,
    progress: Progress,
) -> ExitCode {
    match result {
        Ok(Transferred::Failed(problem)) => exit::of_kind(problem.kind),
        Ok(Transferred::Done(done)) => document(Ok(done), facts, progress),
        Err(problems) => document(Err(problems), facts, progress),
    }
}
