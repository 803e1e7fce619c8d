//! What a job may use of its user's: secrets and SSH agents. Values are read when a step needs them; nobody
//! keeps them, and all that keys ever learn is whether there is one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::{Parts, Secret};
use crate::diag::{Located, Problem};
use crate::model::{SecretSource, SshSource, Variant};
use crate::steps::{Asked, Lowered, Op, RunOp};

/// BuildKit's bound of a secret.
const LARGEST_SECRET: u64 = 500 << 10;

/// The environment of the user who runs the build.
pub type Environment = Arc<BTreeMap<String, String>>;

#[derive(Clone, Default)]
pub struct Forwarded {
    secrets: BTreeMap<String, Located<SecretSource>>,
    agents: BTreeMap<String, Located<SshSource>>,
    environment: Environment,
}

/// Who answers to SSH clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agent {
    /// An agent that listens here.
    Socket(PathBuf),
    /// Files of private keys, for an agent to be started.
    Keys(Vec<PathBuf>),
}

/// Where a value is, once it is known what the environment has.
enum Place<'a> {
    Variable(&'a str),
    File(&'a Path),
    /// The value itself, if there is one.
    Given(&'a Option<Secret>),
}

impl Forwarded {
    pub fn new(variant: &Variant, environment: Environment) -> Self {
        Self { secrets: variant.secrets.clone(), agents: variant.ssh.clone(), environment }
    }

    /// Whether there is a secret or an agent of that id.
    pub fn has(&self, asked: Asked, id: &str) -> bool {
        match asked {
            Asked::Secret => self.secrets.get(id).is_some_and(|source| match self.place(id, &source.value) {
                Place::Variable(name) => self.environment.contains_key(name),
                Place::File(path) => path.exists(),
                Place::Given(value) => value.is_some(),
            }),
            Asked::Ssh => self.agents.get(id).is_some_and(|source| match &source.value {
                SshSource::Environment => self.environment_agent().is_some(),
                SshSource::Paths(_) => true,
            }),
        }
    }

    /// Of everything that a command asks for, whether there is one.
    pub fn presence(&self, run: &RunOp) -> Parts {
        let mut presence = BTreeMap::new();
        for (asked, id) in run.mounts.iter().filter_map(|mount| mount.asks_for()) {
            let kind = match asked {
                Asked::Secret => "secret",
                Asked::Ssh => "ssh",
            };
            let word = if self.has(asked, id) { "present" } else { "absent" };
            presence.insert(format!("{kind} {id}"), word);
        }
        let mut parts = Parts::new();
        for (name, word) in presence {
            parts.text(name, word);
        }
        parts
    }

    /// The same for all commands of a build, by step.
    pub fn presence_in(&self, lowered: &Lowered) -> Parts {
        let mut parts = Parts::new();
        for step in &lowered.steps {
            if let Op::Run(run) = &step.op {
                parts.parts(step.id.to_string(), self.presence(run));
            }
        }
        parts
    }

    /// The value of a secret; `None` when there is none of that id.
    pub fn secret(&self, id: &str) -> Result<Option<Secret>, Problem> {
        let Some(source) = self.secrets.get(id) else { return Ok(None) };
        match self.place(id, &source.value) {
            Place::Variable(name) => {
                Ok(self.environment.get(name).map(|value| Secret::new(value.as_bytes())))
            }
            Place::Given(value) => Ok(value.clone()),
            Place::File(path) => read(path).map(|bytes| Some(Secret::new(bytes))).map_err(|error| {
                let message = format!("the secret `{id}` cannot be read from `{}`: {error}", path.display());
                placed(Problem::input("build::secret", message), &source.place)
            }),
        }
    }

    fn place<'a>(&self, id: &'a str, source: &'a SecretSource) -> Place<'a> {
        match source {
            SecretSource::Env(name) => Place::Variable(name),
            SecretSource::File(path) => Place::File(path),
            SecretSource::Variable { value, .. } => Place::Given(value),
            SecretSource::ById(_) if self.environment.contains_key(id) => Place::Variable(id),
            SecretSource::ById(path) => Place::File(path),
        }
    }

    /// The agent of that id, if there is one.
    pub fn agent(&self, id: &str) -> Result<Option<Agent>, Problem> {
        let Some(source) = self.agents.get(id) else { return Ok(None) };
        let bad = |message: String| placed(Problem::input("build::ssh", message), &source.place);
        match &source.value {
            SshSource::Environment => match self.environment_agent() {
                Some(path) => Ok(Some(Agent::Socket(path))),
                None => Err(bad(format!("`ssh` has `{id}`, and SSH_AUTH_SOCK is not set"))
                    .help("start an agent with `eval $(ssh-agent)`, or name keys: `id=path`")),
            },
            SshSource::Paths(paths) => {
                let is_socket = |path: &PathBuf| {
                    std::fs::metadata(path).map(|metadata| metadata.file_type().is_socket()).map_err(
                        |error| bad(format!("`{}` cannot be used for `ssh`: {error}", path.display())),
                    )
                };
                let sockets = paths.iter().map(is_socket).collect::<Result<Vec<bool>, _>>()?;
                match (paths.as_slice(), sockets.as_slice()) {
                    ([path], [true]) => Ok(Some(Agent::Socket(path.clone()))),
                    (paths, sockets) if !sockets.contains(&true) => Ok(Some(Agent::Keys(paths.to_vec()))),
                    _ => Err(bad(format!("`ssh` has more for `{id}` than the socket of one agent"))
                        .help("name one socket, or files of private keys")),
                }
            }
        }
    }

    fn environment_agent(&self) -> Option<PathBuf> {
        self.environment.get("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(PathBuf::from)
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST_SECRET + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_SECRET {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is larger than 500 KiB"));
    }
    Ok(bytes)
}

fn placed(problem: Problem, place: &Option<crate::diag::Place>) -> Problem {
    match place {
        Some(place) => problem.at(place.clone(), "declared here"),
        None => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(secrets: &[(&str, SecretSource)], environment: &[(&str, &str)]) -> Forwarded {
        let secrets = secrets.iter().map(|(id, source)| (id.to_string(), Located::unplaced(source.clone())));
        let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Forwarded {
            secrets: secrets.collect(),
            agents: BTreeMap::from([("default".into(), Located::unplaced(SshSource::Environment))]),
            environment: Arc::new(environment.collect()),
        }
    }

    #[test]
    fn values_come_from_where_they_are_said_to_be() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "from a file\n").unwrap();
        let nowhere = folder.path().join("nowhere");
        let check = |source: SecretSource, environment: &[(&str, &str)], expected: Option<&str>| {
            let forwarded = forwarded(&[("id", source)], environment);
            let value = forwarded.secret("id").unwrap();
            assert_eq!(value.as_ref().and_then(Secret::expose_str), expected);
            assert_eq!(forwarded.has(Asked::Secret, "id"), expected.is_some());
            assert_eq!(forwarded.secret("other").unwrap(), None);
        };
        check(SecretSource::Env("X".into()), &[("X", "from X")], Some("from X"));
        check(SecretSource::Env("X".into()), &[], None);
        let variable = |value: Option<&str>| SecretSource::Variable {
            name: "x".to_string(),
            value: value.map(|value| Secret::new(value.as_bytes())),
            env: None,
        };
        check(variable(Some("of a variable")), &[("id", "unasked")], Some("of a variable"));
        check(variable(None), &[("id", "unasked")], None);
        check(SecretSource::File(file.clone()), &[("id", "unasked")], Some("from a file\n"));
        check(SecretSource::ById(nowhere.clone()), &[("id", "by id")], Some("by id"));
        check(SecretSource::ById(file), &[], Some("from a file\n"));
        let missing = forwarded(&[("id", SecretSource::File(nowhere))], &[]);
        assert!(missing.secret("id").unwrap_err().message.contains("cannot be read"));
    }

    #[test]
    fn an_agent_that_is_declared_must_be_there() {
        let with = forwarded(&[], &[("SSH_AUTH_SOCK", "/a")]);
        assert_eq!(with.agent("default").unwrap(), Some(Agent::Socket("/a".into())));
        assert_eq!(with.agent("other").unwrap(), None);
        assert!(forwarded(&[], &[]).agent("default").is_err());
    }
}
