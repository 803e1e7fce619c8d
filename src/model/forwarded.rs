//! What a build may use of its user: secrets, and agents that sign with the user's keys. Where they come
//! from, never what they are.

use std::path::PathBuf;

use crate::base::Secret;

/// Where the value of a secret is found once it is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// An environment variable.
    Env(String),
    File(PathBuf),
    /// A secret variable of the build file, with its value if it has one.
    Variable {
        name: String,
        value: Option<Secret>,
        /// The environment variable that the file takes it from.
        env: Option<String>,
    },
    /// Neither was said: the environment variable named as the secret if it is set, else this file.
    ById(PathBuf),
}

/// What answers to SSH clients in a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SshSource {
    /// The agent of `SSH_AUTH_SOCK`.
    Environment,
    /// An agent's socket, or files of private keys.
    Paths(Vec<PathBuf>),
}
