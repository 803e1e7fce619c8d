//! Where this machine keeps things: the XDG base directories.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Directories of the user, after the XDG Base Directory specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directories {
    pub current: PathBuf,
    pub home: Option<PathBuf>,
    /// `$XDG_DATA_HOME`, else `~/.local/share`.
    pub data: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`, else `~/.config`.
    pub config: Option<PathBuf>,
    /// `$XDG_CACHE_HOME`, else `~/.cache`.
    pub cache: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`; there is no default.
    pub runtime: Option<PathBuf>,
}

impl Directories {
    pub fn from_environment(environment: &BTreeMap<String, String>, current: PathBuf) -> Self {
        // The specification says that relative paths are to be ignored.
        let absolute =
            |name: &str| environment.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = absolute("HOME");
        let below_home = |name: &str, default: &str| {
            absolute(name).or_else(|| home.as_deref().map(|home: &Path| home.join(default)))
        };
        Self {
            data: below_home("XDG_DATA_HOME", ".local/share"),
            config: below_home("XDG_CONFIG_HOME", ".config"),
            cache: below_home("XDG_CACHE_HOME", ".cache"),
            runtime: absolute("XDG_RUNTIME_DIR"),
            current,
            home,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xdg_variables_beat_home_and_must_be_absolute() {
        let check = |variables: &[(&str, &str)], data: Option<&str>| {
            let environment = variables.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
            let directories = Directories::from_environment(&environment, PathBuf::from("/"));
            assert_eq!(directories.data, data.map(PathBuf::from), "{variables:?}");
        };
        check(&[], None);
        check(&[("HOME", "/home/a")], Some("/home/a/.local/share"));
        check(&[("HOME", "/home/a"), ("XDG_DATA_HOME", "/data")], Some("/data"));
        check(&[("HOME", "/home/a"), ("XDG_DATA_HOME", "data")], Some("/home/a/.local/share"));
    }
}
