//! SSH agents for RUN steps: a socket in the sandbox, behind which the user's agent is asked.
//!
//! Only two requests go through, to list keys and to sign with one: a build has no business with the rest of
//! what an agent does. The protocol is draft-ietf-sshm-ssh-agent's: a length, a type, and what belongs to it.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::task::AbortHandle;

use crate::engine::forwarded::Agent;

const LIST_KEYS: u8 = 11;
const SIGN: u8 = 13;
const FAILURE: [u8; 5] = [0, 0, 0, 1, 5];
/// OpenSSH's bound of a message.
const LARGEST_MESSAGE: usize = 256 << 10;

/// An agent within reach of a sandbox, until it is dropped.
pub struct Proxy {
    task: AbortHandle,
    _keys: Option<StartedAgent>,
}

/// An agent that was started for keys; it ends when its input does.
struct StartedAgent {
    socket: PathBuf,
    _child: Child,
    /// Part of the socket's address.
    _folder: File,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens at `name` in `folder`, which must be empty of other names beginning so.
pub async fn serve(agent: &Agent, folder: &Path, name: &str) -> io::Result<Proxy> {
    let (socket, keys) = match agent {
        Agent::Socket(path) => (path.clone(), None),
        Agent::Keys(files) => {
            let started = start(files, folder, &format!("{name}.keys")).await?;
            (started.socket.clone(), Some(started))
        }
    };
    // An unreachable agent is told now, not to a client inside that says less of it.
    UnixStream::connect(&socket).await.map_err(|error| {
        io::Error::new(error.kind(), format!("no agent answers at `{}`: {error}", socket.display()))
    })?;
    let listener = listen(folder, name)?;
    let task = tokio::spawn(async move {
        // Dropped with this task: no connection outlives it.
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            connections.spawn(relay(client, socket.clone()));
        }
    });
    Ok(Proxy { task: task.abort_handle(), _keys: keys })
}

/// The address of a socket is 108 bytes at most, so the folder's path, which may be longer, stays out of it.
fn listen(folder: &Path, name: &str) -> io::Result<UnixListener> {
    let folder = File::open(folder)?;
    let listener = StdUnixListener::bind(short(&folder, name))?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

fn short(folder: &File, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()))
}

/// Starts an agent that has these keys.
async fn start(files: &[PathBuf], folder: &Path, name: &str) -> io::Result<StartedAgent> {
    // It ends with the command it runs, and that when this process, its input, is gone. Nobody is there to be
    // asked for passphrases.
    const SCRIPT: &str = "ssh-add -q \"$@\" </dev/null && echo ready && exec cat";
    let mut child = Command::new("ssh-agent")
        .args(["-a", name, "sh", "-c", SCRIPT, "sh"])
        .args(files)
        .current_dir(folder)
        .envs([("SSH_ASKPASS_REQUIRE", "force"), ("SSH_ASKPASS", "false")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("keys need `ssh-agent`: {error}")))?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut line).await?;
    }
    if line.trim_end() == "ready" {
        let folder = File::open(folder)?;
        return Ok(StartedAgent { socket: short(&folder, name), _child: child, _folder: folder });
    }
    let mut complaint = String::new();
    if let Some(mut error) = child.stderr.take() {
        error.read_to_string(&mut complaint).await?;
    }
    let complaint = match complaint.trim() {
        "" => "one has a passphrase; add it to an agent of your own, and name that",
        complaint => complaint,
    };
    Err(io::Error::other(format!("`ssh-add` does not take the keys: {complaint}")))
}

/// One client's requests, as long as it has some.
async fn relay(mut client: UnixStream, socket: PathBuf) -> io::Result<()> {
    let mut agent = UnixStream::connect(socket).await?;
    while let Some(request) = message(&mut client).await? {
        match request.first() {
            Some(&(LIST_KEYS | SIGN)) => {
                send(&mut agent, &request).await?;
                let Some(answer) = message(&mut agent).await? else { return Ok(()) };
                send(&mut client, &answer).await?;
            }
            _ => client.write_all(&FAILURE).await?,
        }
    }
    Ok(())
}

/// The next message without its length; `None` when the other side is done.
async fn message(from: &mut UnixStream) -> io::Result<Option<Vec<u8>>> {
    let length = match from.read_u32().await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        length => length? as usize,
    };
    if length > LARGEST_MESSAGE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).await?;
    Ok(Some(body))
}

async fn send(to: &mut UnixStream, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    to.write_all(&[&length.to_be_bytes(), body].concat()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An agent that answers every request with its own bytes.
    fn echo(folder: &Path) -> Agent {
        let listener = UnixListener::bind(folder.join("agent")).unwrap();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                while let Ok(Some(request)) = message(&mut client).await {
                    send(&mut client, &request).await.unwrap();
                }
            }
        });
        Agent::Socket(folder.join("agent"))
    }

    #[tokio::test]
    async fn clients_may_list_and_sign_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let proxy = serve(&echo(folder.path()), folder.path(), "0").await.unwrap();
        let mut client = UnixStream::connect(folder.path().join("0")).await.unwrap();
        // 17 adds a key, 19 removes them all, 22 locks the agent, 27 is an extension.
        for (request, expected) in
            [(11, 11), (13, 13), (17, FAILURE[4]), (19, FAILURE[4]), (22, FAILURE[4]), (27, FAILURE[4])]
        {
            send(&mut client, &[request]).await.unwrap();
            assert_eq!(message(&mut client).await.unwrap(), Some(vec![expected]), "{request}");
        }
        drop(proxy);
        assert_eq!(message(&mut client).await.unwrap_or(None), None);
    }

    #[tokio::test]
    async fn an_agent_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let agent = Agent::Socket(folder.path().join("nobody"));
        let error = serve(&agent, folder.path(), "0").await.err().unwrap();
        assert!(error.to_string().starts_with("no agent answers at"), "{error}");
    }
}
