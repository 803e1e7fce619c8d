//! Where a Docker Engine listens, as the docker command line finds it: DOCKER_HOST, else DOCKER_CONTEXT, else the
//! context in use, else the usual socket.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::EngineError;
use super::contexts::{self, DEFAULT};
use crate::dial::{self, DialError, Fault, First, PATIENCE, Program, Stream, ssh};
use crate::model::Tls;

const SOCKET: &str = "unix:///var/run/docker.sock";

/// What decides where engines are.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    pub environment: Arc<BTreeMap<String, String>>,
    pub home: Option<PathBuf>,
}

impl Surroundings {
    fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The folder of the docker command line's configuration.
    pub fn configuration(&self) -> Option<PathBuf> {
        let named = self.variable("DOCKER_CONFIG").map(PathBuf::from);
        named.or_else(|| Some(self.home.as_ref()?.join(".docker")))
    }

    fn tls(&self) -> Option<Tls> {
        self.variable("DOCKER_TLS_VERIFY").or_else(|| self.variable("DOCKER_TLS"))?;
        let folder = self.variable("DOCKER_CERT_PATH").map(PathBuf::from).or_else(|| self.configuration())?;
        contexts::tls_of(&folder)
    }
}

/// An Engine's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineAddress {
    text: String,
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Unix(PathBuf),
    Tcp { host: String, port: u16, tls: Option<Tls> },
    Ssh(ssh::Destination),
}

impl EngineAddress {
    /// As DOCKER_HOST is written.
    pub fn parse(text: &str, tls: Option<Tls>) -> Result<Self, EngineError> {
        let place = Place::parse(text, tls).ok_or_else(|| EngineError::Address { text: text.to_string() })?;
        Ok(Self { text: text.to_string(), place })
    }

    /// The one that the docker command line would speak to.
    pub fn usual(surroundings: &Surroundings) -> Result<Self, EngineError> {
        if surroundings.variable("DOCKER_HOST").is_some() {
            return Self::of_context(DEFAULT, surroundings);
        }
        let current = || contexts::current(&surroundings.configuration()?);
        let name = surroundings.variable("DOCKER_CONTEXT").map(String::from).or_else(current);
        Self::of_context(name.as_deref().unwrap_or(DEFAULT), surroundings)
    }

    pub fn of_context(name: &str, surroundings: &Surroundings) -> Result<Self, EngineError> {
        if name == DEFAULT {
            let host = surroundings.variable("DOCKER_HOST").unwrap_or(SOCKET);
            return Self::parse(host, surroundings.tls());
        }
        let folder = surroundings.configuration();
        let folder = folder.ok_or_else(|| EngineError::NoContext { name: name.to_string() })?;
        let (host, tls) = contexts::read(&folder, name)?;
        Self::parse(&host, tls)
    }

    /// `docker://` and what may follow: nothing, a context, `/path/of/socket`, `HOST:PORT`, or `ssh://USER@HOST`.
    pub fn of_endpoint(
        rest: &str,
        tls: Option<&Tls>,
        surroundings: &Surroundings,
    ) -> Result<Self, EngineError> {
        match rest {
            "" => Self::usual(surroundings),
            rest if rest.contains("://") => Self::parse(rest, tls.cloned()),
            rest if rest.starts_with('/') => Self::parse(&format!("unix://{rest}"), None),
            rest if rest.contains(':') => Self::parse(&format!("tcp://{rest}"), tls.cloned()),
            name => Self::of_context(name, surroundings),
        }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// As messages call the Engine.
    pub fn peer(&self) -> String {
        format!("the Docker Engine at `{}`", self.text)
    }

    /// A new connection.
    pub(super) async fn dial(&self) -> Result<(Box<dyn Stream>, Option<Program>), DialError> {
        let peer = self.peer();
        let dialling = async {
            match &self.place {
                Place::Unix(path) => Ok((dial::unix(&peer, path).await?, None)),
                Place::Tcp { host, port, tls } => {
                    let tls = tls.as_ref().map(|tls| (tls, First::Client));
                    Ok((dial::tcp(&peer, host, *port, tls).await?, None))
                }
                Place::Ssh(destination) => {
                    let socket = destination.path.as_ref().map(|path| format!("unix://{path}"));
                    let mut remote = vec!["docker"];
                    remote.extend(socket.iter().flat_map(|socket| ["--host", socket.as_str()]));
                    remote.extend(["system", "dial-stdio"]);
                    let (stream, program) = dial::spawn(&peer, &destination.command(&remote))?;
                    Ok((stream, Some(program)))
                }
            }
        };
        let silent = || Fault::Silent(PATIENCE.as_secs()).of(&peer);
        tokio::time::timeout(PATIENCE, dialling).await.map_err(|_| silent())?
    }
}

impl Place {
    fn parse(text: &str, tls: Option<Tls>) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        match scheme {
            "unix" => Path::new(rest).is_absolute().then(|| Self::Unix(rest.into())),
            "ssh" => ssh::Destination::parse(rest).map(Self::Ssh),
            "tcp" | "http" | "https" => {
                let (host, port) = rest.trim_end_matches('/').rsplit_once(':')?;
                let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
                let host = bare.or_else(|| (!host.contains([':', '/', '@'])).then_some(host))?;
                let port = port.parse().ok()?;
                let tls = tls.or_else(|| (scheme == "https").then(Tls::default));
                (!host.is_empty()).then(|| Self::Tcp { host: host.to_string(), port, tls })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_docker_host() {
        for (host, expected) in [
            ("unix:///run/user/1000/docker.sock", true),
            ("tcp://127.0.0.1:2375", true),
            ("tcp://[::1]:2375", true),
            ("https://engine.example.com:2376", true),
            ("ssh://me@builder", true),
            ("ssh://-x", false),
            ("unix://relative", false),
            ("/var/run/docker.sock", false),
            ("tcp://host", false),
            ("fd://", false),
        ] {
            assert_eq!(EngineAddress::parse(host, None).is_ok(), expected, "{host}");
        }
    }

    #[test]
    fn the_environment_comes_before_contexts() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(".docker").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let id = |name: &str| crate::base::Digest::of(name.as_bytes()).hex();
        let meta = |name: &str| format!("contexts/meta/{}/meta.json", id(name));
        write("config.json", r#"{"currentContext":"far"}"#);
        write(&meta("far"), r#"{"Name":"far","Endpoints":{"docker":{"Host":"tcp://far:2376"}}}"#);
        write(&format!("contexts/tls/{}/docker/ca.pem", id("far")), "");
        write(&meta("near"), r#"{"Name":"near","Endpoints":{"docker":{"Host":"unix:///near"}}}"#);
        write(&meta("empty"), r#"{"Name":"empty"}"#);
        let check = |environment: &[(&str, &str)], rest: &str, expected: &str| {
            let pair = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
            let environment = Arc::new(environment.iter().map(pair).collect());
            let surroundings = Surroundings { environment, home: Some(folder.path().into()) };
            let found = EngineAddress::of_endpoint(rest, None, &surroundings);
            let text = found.map_or_else(|error| error.to_string(), |address| address.text);
            assert_eq!(text, expected, "{rest} {surroundings:?}");
        };
        check(&[], "", "tcp://far:2376");
        check(&[("DOCKER_CONTEXT", "near")], "", "unix:///near");
        check(&[("DOCKER_CONTEXT", "near"), ("DOCKER_HOST", "unix:///host")], "", "unix:///host");
        check(&[("DOCKER_CONTEXT", "default")], "", SOCKET);
        check(&[("DOCKER_CONFIG", "/nowhere")], "", SOCKET);
        check(&[], "near", "unix:///near");
        check(&[], "none", "there is no docker context `none`");
        check(&[], "/run/docker.sock", "unix:///run/docker.sock");
        check(&[], "host:2375", "tcp://host:2375");
        check(&[], "ssh://me@host", "ssh://me@host");
        let surroundings = Surroundings { environment: Arc::default(), home: Some(folder.path().into()) };
        let Place::Tcp { tls: Some(tls), .. } = EngineAddress::usual(&surroundings).unwrap().place else {
            panic!("the context has TLS");
        };
        assert!(tls.ca.is_some() && tls.cert.is_none());
        let empty = EngineAddress::of_context("empty", &surroundings).unwrap_err().to_string();
        assert!(empty.ends_with("it names no Docker Engine"), "{empty}");
    }
}
