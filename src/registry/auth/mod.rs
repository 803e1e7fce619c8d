//! Who the client is to a registry: challenges, tokens, and where credentials come from.

mod authenticator;
mod challenge;
mod credentials;
mod docker_config;
mod helper;
mod keep;
mod token;

pub use authenticator::{Access, Authenticator, Scope};
pub use challenge::Challenge;
pub use credentials::{Credential, CredentialPlaces, Credentials};
pub use keep::Keeping;
