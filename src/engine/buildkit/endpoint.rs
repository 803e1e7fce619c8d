//! Where a worker is, and how a connection to it is made: any stream of bytes will do.

use std::path::{Path, PathBuf};

use bollard::query_parameters::StartContainerOptions;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::error::WorkerError;
use crate::dial::{self, Fault, First, PATIENCE, Program, Stream, ssh};
use crate::docker::{DockerEngine, EngineAddress, EngineError, Surroundings};
use crate::model::Worker;

/// An address as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Unix(PathBuf),
    Tcp {
        host: String,
        port: u16,
    },
    Ssh(ssh::Destination),
    Pod(Pod),
    /// A container with buildkitd, on the Engine of a docker context.
    Container {
        name: String,
        context: Option<String>,
    },
    /// What follows `docker://`: the BuildKit of a Docker Engine.
    Engine(String),
}

/// A pod as `kubectl` finds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pod {
    name: String,
    namespace: Option<String>,
    container: Option<String>,
    context: Option<String>,
}

impl Address {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        match scheme {
            "unix" => Path::new(rest).is_absolute().then(|| Self::Unix(rest.into())),
            "tcp" => parse_tcp(rest),
            "ssh" => ssh::Destination::parse(rest).map(Self::Ssh),
            "kube-pod" => Pod::parse(rest).map(Self::Pod),
            "docker-container" => {
                let (name, mut options) = named(rest)?;
                let context = options.iter().position(|(key, _)| key == "context");
                let context = context.map(|place| options.remove(place).1);
                options.is_empty().then_some(Self::Container { name, context })
            }
            "docker" => Some(Self::Engine(rest.to_string())),
            _ => None,
        }
    }
}

fn parse_tcp(rest: &str) -> Option<Address> {
    let (host, port) = rest.trim_end_matches('/').rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match bare {
        Some(host) => host,
        None if host.contains([':', '/', '@']) => return None,
        None => host,
    };
    let port = port.parse().ok()?;
    (!host.is_empty()).then(|| Address::Tcp { host: host.to_string(), port })
}

/// `NAME?KEY=VALUE&…`, of names that are no options of programs.
fn named(rest: &str) -> Option<(String, Vec<(String, String)>)> {
    let (name, query) = rest.split_once('?').unwrap_or((rest, ""));
    let options: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
        .map(|(key, value)| (key.into(), value.into()))
        .collect();
    let is_good = |text: &str| {
        !text.starts_with('-') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
    };
    // Contexts of clusters are called as people like, such as `arn:aws:eks:eu-west-1:1:cluster/prod`.
    let is_good_value = |text: &str| is_good(&text.replace('/', "")) && !text.is_empty();
    let is_right = is_good(name) && !name.is_empty() && options.iter().all(|(_, value)| is_good_value(value));
    is_right.then(|| (name.to_string(), options))
}

const DEPLOYMENT: &str = "deployment/";

impl Pod {
    fn parse(rest: &str) -> Option<Self> {
        // Of a deployment, kubectl takes a pod that runs.
        let (owner, rest) = match rest.strip_prefix(DEPLOYMENT) {
            Some(rest) => (DEPLOYMENT, rest),
            None => ("", rest),
        };
        let (name, options) = named(rest)?;
        let mut pod = Self { name: format!("{owner}{name}"), ..Self::default() };
        for (key, value) in options {
            match key.as_str() {
                "namespace" => pod.namespace = Some(value),
                "container" => pod.container = Some(value),
                "context" => pod.context = Some(value),
                _ => return None,
            }
        }
        Some(pod)
    }

    fn command(&self) -> Vec<String> {
        let mut words = vec!["kubectl".to_string()];
        let mut option = |name: &str, value: &Option<String>| {
            words.extend(value.iter().flat_map(|value| [name.to_string(), value.clone()]));
        };
        option("--context", &self.context);
        option("--namespace", &self.namespace);
        words.extend(["exec", "-i", self.name.as_str()].map(String::from));
        if let Some(container) = &self.container {
            words.extend(["-c".to_string(), container.clone()]);
        }
        words.extend(["--", "buildctl", "dial-stdio"].map(String::from));
        words
    }
}

/// A connection, and what is known of its other end.
pub(super) struct Dialled {
    pub stream: Box<dyn Stream>,
    /// The Docker Engine whose BuildKit it is.
    pub engine: Option<DockerEngine>,
}

/// Whether it can be an address at all.
pub fn check(worker: &Worker) -> Result<(), WorkerError> {
    let address = Address::parse(&worker.endpoint);
    address.map(drop).ok_or_else(|| WorkerError::Address { endpoint: worker.endpoint.clone() })
}

/// Connects, with TLS where the worker has it.
pub(super) async fn dial(worker: &Worker, surroundings: &Surroundings) -> Result<Dialled, WorkerError> {
    let address = Address::parse(&worker.endpoint)
        .ok_or_else(|| WorkerError::Address { endpoint: worker.endpoint.clone() })?;
    let peer = format!("worker `{}`", worker.endpoint);
    let connecting = connect(worker, &address, &peer, surroundings);
    match timeout(2 * PATIENCE, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(silent(&peer)),
    }
}

/// Starts the container that a worker is; others are started by whoever has them.
pub(super) async fn wake(worker: &Worker, surroundings: &Surroundings) -> Result<(), WorkerError> {
    let Some(Address::Container { name, context }) = Address::parse(&worker.endpoint) else { return Ok(()) };
    let address = container_engine(context.as_deref(), surroundings)?;
    let engine = DockerEngine::connect(&address).await?;
    let started = engine.api(PATIENCE).start_container(&name, None::<StartContainerOptions>).await;
    started.map_err(|error| match error {
        bollard::errors::Error::DockerResponseServerError { status_code: 404, .. } => {
            EngineError::NoContainer { address: address.text().into(), name }.into()
        }
        error => engine.error(&error).into(),
    })
}

fn container_engine(
    context: Option<&str>,
    surroundings: &Surroundings,
) -> Result<EngineAddress, EngineError> {
    match context {
        None => EngineAddress::usual(surroundings),
        Some(context) => EngineAddress::of_context(context, surroundings),
    }
}

fn silent(peer: &str) -> WorkerError {
    Fault::Silent(PATIENCE.as_secs()).of(peer).into()
}

async fn connect(
    worker: &Worker,
    address: &Address,
    peer: &str,
    surroundings: &Surroundings,
) -> Result<Dialled, WorkerError> {
    let plain = |stream| Dialled { stream, engine: None };
    match address {
        Address::Unix(path) => Ok(plain(dial::unix(peer, path).await?)),
        Address::Tcp { host, port } => {
            let tls = worker.tls.as_ref().map(|tls| (tls, First::Server));
            let connecting = timeout(PATIENCE, dial::tcp(peer, host, *port, tls));
            Ok(plain(connecting.await.map_err(|_| silent(peer))??))
        }
        Address::Ssh(destination) => {
            let socket = destination.path.as_ref().map(|path| format!("unix://{path}"));
            let mut remote = vec!["buildctl"];
            remote.extend(socket.iter().flat_map(|socket| ["--addr", socket.as_str()]));
            remote.push("dial-stdio");
            let (stream, program) = dial::spawn(peer, &destination.command(&remote))?;
            Ok(plain(heard(peer, stream, &program).await?))
        }
        Address::Pod(pod) => {
            let (stream, program) = dial::spawn(peer, &pod.command())?;
            Ok(plain(heard(peer, stream, &program).await?))
        }
        Address::Container { name, context } => {
            let address = container_engine(context.as_deref(), surroundings)?;
            let engine = DockerEngine::connect(&address).await?;
            Ok(plain(engine.exec(name, &["buildctl", "dial-stdio"]).await?))
        }
        Address::Engine(rest) => {
            let address = EngineAddress::of_endpoint(rest, worker.tls.as_ref(), surroundings)?;
            let engine = DockerEngine::connect(&address).await?;
            Ok(Dialled { stream: engine.upgrade("/grpc").await?, engine: Some(engine) })
        }
    }
}

/// Waits for the first word, which is the server's in HTTP/2: a program that reaches nobody ends instead.
async fn heard(
    peer: &str,
    mut stream: Box<dyn Stream>,
    program: &Program,
) -> Result<Box<dyn Stream>, WorkerError> {
    let mut first = vec![0; 4096];
    match timeout(PATIENCE, stream.read(&mut first)).await {
        Ok(Ok(length @ 1..)) => {
            first.truncate(length);
            Ok(dial::after(first, stream))
        }
        Ok(Ok(_) | Err(_)) => Err(program.end(peer).await.map_or_else(|| silent(peer), Into::into)),
        Err(_) => Err(silent(peer)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let tcp = |host: &str, port| Some(Address::Tcp { host: host.to_string(), port });
        for (text, expected) in [
            (
                "unix:///run/buildkit/buildkitd.sock",
                Some(Address::Unix("/run/buildkit/buildkitd.sock".into())),
            ),
            ("unix://relative", None),
            ("tcp://builder.example.com:1234", tcp("builder.example.com", 1234)),
            ("tcp://10.0.0.1:1234/", tcp("10.0.0.1", 1234)),
            ("tcp://[::1]:1234", tcp("::1", 1234)),
            ("tcp://::1:1234", None),
            ("tcp://builder", None),
            ("tcp://:1234", None),
            ("tcp://user@builder:1234", None),
            ("tcp://builder:port", None),
            ("http://builder:1234", None),
            ("ssh://-oProxyCommand=x", None),
            ("docker://", Some(Address::Engine(String::new()))),
            ("docker-container://", None),
            ("docker-container://a?context=b&c=d", None),
            ("kube-pod://--all", None),
            ("kube-pod://deployment/--all", None),
            ("kube-pod://job/a", None),
            ("kube-pod://a?namespace=", None),
            ("kube-pod://a?unknown=b", None),
            ("", None),
        ] {
            assert_eq!(Address::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn pods_become_commands() {
        for (text, expected) in [
            ("kube-pod://buildkitd-0", "kubectl exec -i buildkitd-0 -- buildctl dial-stdio"),
            (
                "kube-pod://deployment/b0?namespace=ci",
                "kubectl --namespace ci exec -i deployment/b0 -- buildctl dial-stdio",
            ),
            (
                "kube-pod://b?namespace=ci&container=buildkitd&context=arn:aws:eks:cluster/prod",
                "kubectl --context arn:aws:eks:cluster/prod --namespace ci exec -i b -c buildkitd -- buildctl dial-stdio",
            ),
        ] {
            let Some(Address::Pod(pod)) = Address::parse(text) else { panic!("{text}") };
            assert_eq!(pod.command().join(" "), expected);
        }
    }
}
