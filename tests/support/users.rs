//! Whoever runs a build: root, and ordinary users with and without subordinate ids.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::account::{self, Account};
use super::project::Project;
use super::surroundings::{base, is_root};

/// One way to run `mab`.
pub struct User {
    pub name: &'static str,
    account: Option<Account>,
    base: PathBuf,
}

impl User {
    /// The one who runs the tests, and where that is root, ordinary users.
    pub fn all() -> Vec<Self> {
        let Some(base) = base() else { return Vec::new() };
        let mut users = vec![Self { name: "this user", account: None, base }];
        if is_root() {
            let ordinary = [("with ids", Account::with_subordinate_ids()), ("with one id", Account::plain())];
            users.extend(ordinary.into_iter().filter_map(|(name, account)| {
                let base = account.as_ref()?.base()?;
                Some(Self { name, account, base })
            }));
        }
        users
    }

    /// Those who can own files as more than one id.
    pub fn with_ids() -> Vec<Self> {
        Self::all().into_iter().filter(|user| user.name != "with one id").collect()
    }

    /// A command that this user starts.
    pub fn command(&self, program: &str) -> Command {
        let mut words: Vec<OsString> = match &self.account {
            Some(_) => account::switch().to_vec(),
            None => Vec::new(),
        };
        words.push(program.into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    }

    /// Gives a folder with all in it to this user.
    pub fn give(&self, folder: &Path) {
        if self.account.is_some() {
            account::give(folder);
        }
    }

    /// A project of this user's, made by `make` with the base image.
    pub fn project(self, make: impl FnOnce(&Path) -> Project) -> Project {
        let project = make(&self.base);
        match self.account {
            Some(account) => project.owned_by(account),
            None => project,
        }
    }
}
