//! How images are named by the verbs that take them from anywhere.

use std::path::PathBuf;

use clap::Args;

use crate::command::SessionOptions;

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

/// What is needed to reach images on this machine.
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
