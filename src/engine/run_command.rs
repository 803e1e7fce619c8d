//! What runs in an image: its own entrypoint, command, environment, user and directory, or others, put together as
//! Docker does.

use std::path::{Component, Path, PathBuf};

use crate::diag::Problem;
use crate::oci::ContainerConfig;

/// What Docker gives an image that says nothing of it.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program with its arguments, and as whom and where it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunCommand {
    pub argv: Vec<String>,
    /// `NAME=VALUE`, each name once.
    pub env: Vec<String>,
    /// Absolute.
    pub cwd: String,
    /// A user and a group by name or number; empty is root.
    pub user: String,
}

/// What is said instead of the image's own values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// The entrypoint; an empty list for none. It takes the image's command away as well.
    pub entrypoint: Option<Vec<String>>,
    /// Instead of the image's command, if it is not empty.
    pub arguments: Vec<String>,
    /// `NAME=VALUE`; a name alone takes the variable away.
    pub env: Vec<String>,
    pub user: Option<String>,
    /// Relative to the image's.
    pub workdir: Option<String>,
}

impl RunCommand {
    /// The command of an image of this config.
    pub fn of(image: &ContainerConfig, overrides: &Overrides) -> Result<Self, Box<Problem>> {
        let (entrypoint, command) = match &overrides.entrypoint {
            Some(entrypoint) => (entrypoint.clone(), Vec::new()),
            None => (image.entrypoint.clone().unwrap_or_default(), image.cmd.clone().unwrap_or_default()),
        };
        let arguments = if overrides.arguments.is_empty() { command } else { overrides.arguments.clone() };
        let argv: Vec<String> = entrypoint.into_iter().chain(arguments).collect();
        if argv.is_empty() {
            let problem = Problem::input("run::no-command", "the image has no entrypoint and no command");
            return Err(Box::new(problem.help("say what to run: `mab run IMAGE -- COMMAND`")));
        }
        Ok(Self {
            argv,
            env: environment(image, overrides),
            cwd: directory(&image.working_dir, overrides.workdir.as_deref()),
            user: overrides.user.clone().unwrap_or_else(|| image.user.clone()),
        })
    }
}

fn environment(image: &ContainerConfig, overrides: &Overrides) -> Vec<String> {
    let mut env = vec![DEFAULT_PATH.to_string()];
    for entry in image.env.iter().chain(&overrides.env) {
        let name = entry.split_once('=').map_or(entry.as_str(), |(name, _)| name);
        let is_same = |known: &String| known.split_once('=').is_some_and(|(known, _)| known == name);
        match (env.iter().position(is_same), entry.contains('=')) {
            (Some(place), true) => env[place] = entry.clone(),
            (Some(place), false) => drop(env.remove(place)),
            (None, true) => env.push(entry.clone()),
            (None, false) => {}
        }
    }
    env
}

fn directory(image: &str, wanted: Option<&str>) -> String {
    let path = Path::new("/").join(image).join(wanted.unwrap_or_default());
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean.to_string_lossy().into_owned()
}

/// By name or number, as `STOPSIGNAL` has it; SIGTERM for what it is not.
pub fn stop_signal(text: Option<&str>) -> i32 {
    let Some(text) = text else { return libc::SIGTERM };
    if let Ok(number) = text.parse() {
        return number;
    }
    let name = text.trim_start_matches("SIG");
    match name {
        "HUP" => libc::SIGHUP,
        "INT" => libc::SIGINT,
        "QUIT" => libc::SIGQUIT,
        "KILL" => libc::SIGKILL,
        "USR1" => libc::SIGUSR1,
        "USR2" => libc::SIGUSR2,
        "WINCH" => libc::SIGWINCH,
        _ => real_time(name).unwrap_or(libc::SIGTERM),
    }
}

/// The first that C libraries on Linux leave to programs, wherever this is asked.
const RTMIN: i32 = 34;

/// `RTMIN+3`
fn real_time(name: &str) -> Option<i32> {
    let rest = name.strip_prefix("RTMIN")?;
    let offset = if rest.is_empty() { 0 } else { rest.strip_prefix('+')?.parse::<i32>().ok()? };
    Some(RTMIN + offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_string).collect()
    }

    fn image(entrypoint: &str, cmd: &str) -> ContainerConfig {
        let some = |text: &str| (!text.is_empty()).then(|| words(text));
        ContainerConfig {
            entrypoint: some(entrypoint),
            cmd: some(cmd),
            env: words("A=1 B=2"),
            working_dir: "/srv/app".into(),
            user: "app".into(),
            ..ContainerConfig::default()
        }
    }

    #[test]
    fn arguments_replace_the_command_and_an_entrypoint_replaces_both() {
        let check = |image: ContainerConfig, entrypoint: Option<&str>, arguments: &str, expected: &str| {
            let overrides = Overrides {
                entrypoint: entrypoint.map(words),
                arguments: words(arguments),
                ..Overrides::default()
            };
            let argv = RunCommand::of(&image, &overrides).map(|command| command.argv.join(" "));
            assert_eq!(argv.unwrap_or_else(|problem| problem.code.to_string()), expected);
        };
        check(image("/run", "a b"), None, "", "/run a b");
        check(image("/run", "a b"), None, "c", "/run c");
        check(image("/run", "a b"), Some("/other"), "", "/other");
        check(image("/run", "a b"), Some("/other"), "c", "/other c");
        check(image("/run", "a b"), Some(""), "sh", "sh");
        check(image("", "a b"), None, "", "a b");
        check(image("", ""), None, "", "run::no-command");
        check(image("/run", "a"), Some(""), "", "run::no-command");
    }

    #[test]
    fn variables_are_added_replaced_and_taken_away() {
        let overrides = Overrides {
            env: words("B=3 C=4 A"),
            workdir: Some("../lib/./x".into()),
            arguments: words("env"),
            ..Overrides::default()
        };
        let command = RunCommand::of(&image("", ""), &overrides).unwrap();
        assert_eq!(command.env, [DEFAULT_PATH, "B=3", "C=4"]);
        assert_eq!((command.cwd.as_str(), command.user.as_str()), ("/srv/lib/x", "app"));
    }
}
