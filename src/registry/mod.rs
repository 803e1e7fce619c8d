//! The client of the OCI distribution protocol: resolve, pull, push, with credentials and retries.
//!
//! Speaks to any registry that follows distribution-spec 1.1 and Docker's token authentication. Knows
//! descriptors and references; it does not know targets, what an image is made of, or where bytes are kept.
//!
//! Rules that hold for every request: a registry is spoken to over TLS, except on loopback and on hosts the
//! user named insecure; credentials go to the registry's own origin and to the token server it names, and
//! nowhere else; whatever a registry answers is bounded; bytes are only handed on after their digest was
//! checked.

mod auth;
mod client;
mod endpoint;
mod error;
mod greeting;
mod host;
mod login;
mod manifest;
mod pull;
mod push;
mod referrers;
mod remove;
mod staging;
mod transport;
mod untag;
mod upload;
mod uploads;

pub use auth::{Credential, CredentialPlaces, Credentials, Keeping};
pub use client::{Progress, Registry, RegistryOptions};
pub use error::RegistryError;
pub use greeting::Greeting;
pub use manifest::Resolved;
pub use pull::BlobSink;
pub use push::{OpenBlob, Pushed};
