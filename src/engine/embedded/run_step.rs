//! RUN: the command in a sandbox, and what it changed as a layer. While it runs, the store must keep some space.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Read};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::accounts::Account;
use super::file_step::{account_problem, accounts};
use super::filesystem::Layer;
use super::mask::Mask;
use super::run_mounts::{self, Mounted};
use super::sandbox::{
    ExitStatus, HelperTask, IdMap, IdMaps, Limit, Mount, Network as SandboxNetwork, RunExit, RunRequest,
    SandboxError, Stdio, Supervisor, TaskOutput, User,
};
use super::solve::{Landed, Task};
use super::watchdog::{self, Ended};
use super::{bound, fault, snapshots, supervisors};
use crate::base::payload::{Outcome, Stream};
use crate::diag::{Kind, Problem};
use crate::layer::{FinishedLayer, LayerOptions, LayerWriter};
use crate::model::{Network, Ulimit};
use crate::steps::RunOp;
use crate::store::free_space::Shortage;
use crate::store::{BlobWriter, KeyKind, MAKE_SPACE, PendingSnapshot};

/// Lines of a failed command's output that its problem shows.
const TAIL_LINES: usize = 20;
/// A longer line is cut, so that a command cannot fill the memory with one.
const LONGEST_LINE: u64 = 64 << 10;

/// The layer of a RUN: found by what it reads, or made.
pub(super) async fn run(task: &Task, run: &RunOp) -> Landed {
    let key = bound::content_key(task, run).await?;
    if let Some(key) = &key
        && task.job.may_reuse(&task.step)
        && let Some(layer) = task.engine.recorded(KeyKind::Content, key)?
    {
        return Ok((layer, Outcome::Reused));
    }
    let layer = make(task, run).await?;
    if let Some(key) = &key {
        task.record(KeyKind::Content, key, None, &layer)?;
    }
    Ok((layer, Outcome::Built))
}

async fn make(task: &Task, run: &RunOp) -> Result<Layer, Arc<Problem>> {
    let account = accounts(task)
        .await?
        .user(&run.user)
        .map_err(|error| Arc::new(account_problem(&task.step, &error)))?;
    within_reach(task, &account)?;
    let supervisor = task
        .engine
        .supervisors
        .for_platform(&task.step.platform)
        .await
        .map_err(|problem| at(task, *problem))?;
    let lowers = snapshots::lowers(&task.engine, &task.job, &task.inputs[0], &supervisor).await?;
    let store = task.engine.store.clone();
    // Of a name of its own until the changes are known; then it is the layer's.
    let pending = store
        .snapshots()
        .begin(&snapshots::layer_key(task.key))
        .map_err(|error| Arc::new(error.problem()))?;
    let work = pending.folder().join("work");
    std::fs::create_dir(&work).map_err(|error| Arc::new(*fault::io("make a work directory", &error)))?;
    let mut mounted = run_mounts::prepare(task, run, &supervisor).await?;
    let mut request = request(run, account, lowers.clone(), pending.path(), work);
    request.mounts.append(&mut mounted.mounts);
    request.env.retain(|(name, _)| !mounted.env.iter().any(|(mounted, _)| mounted == name));
    request.env.append(&mut mounted.env);
    if run.is_insecure && snapshots::is_mapped() {
        task.job.events.notice(insecure_here());
    }
    execute(task, run, &supervisor, request, &mut mounted).await?;
    if let Some(notice) = supervisor.network_notice() {
        task.job.events.notice(Problem::warning("host::network", notice));
    }
    let layer = export(task, &supervisor, &lowers, pending.path()).await?;
    keep(&layer, pending)?;
    Ok(layer)
}

/// Whether a command can become this user here.
fn within_reach(task: &Task, account: &Account) -> Result<(), Arc<Problem>> {
    let ids = [account.uid, account.gid].into_iter().chain(account.groups.iter().copied());
    let Some(id) = ids.max().filter(|id| !IdMaps::for_this_user().reach().covers(*id)) else {
        return Ok(());
    };
    let message = format!("`{}` runs as id {id}, which this user does not have here", task.step.text);
    Err(at(task, Problem::new(Kind::Host, "host::id-map", message).help(supervisors::MORE_IDS)))
}

/// The changes as they are on disk are the unpacked layer: whoever builds on it needs not unpack it.
fn keep(layer: &Layer, pending: PendingSnapshot<'_>) -> Result<(), Arc<Problem>> {
    pending
        .commit_as(&snapshots::layer_key(layer.diff_id))
        .map(drop)
        .map_err(|error| Arc::new(error.problem()))
}

fn request(run: &RunOp, account: Account, lowers: Vec<PathBuf>, upper: PathBuf, work: PathBuf) -> RunRequest {
    let mut env: Vec<(OsString, OsString)> = Vec::new();
    for entry in run.env.iter().chain(&run.proxy_env) {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        env.push((name.into(), value.into()));
    }
    if !env.iter().any(|(name, _)| name == "HOME") {
        env.push(("HOME".into(), account.home.into()));
    }
    let script = run.script.as_ref().map(|script| Mount::Script {
        content: script.content.clone().into_bytes(),
        target: PathBuf::from("/dev/pipes").join(&script.name),
    });
    RunRequest {
        lowers,
        upper,
        work,
        mounts: script.into_iter().collect(),
        argv: run.argv.iter().map(OsString::from).collect(),
        env,
        cwd: PathBuf::from(&run.cwd),
        user: User { uid: account.uid, gid: account.gid, groups: account.groups },
        network: network(run.network),
        hostname: run.hostname.clone(),
        hosts: Some(hosts(&run.hostname, &run.extra_hosts)),
        resolv_conf: Some(resolv_conf()),
        shm_size: run.shm_size,
        ulimits: run.ulimits.iter().map(limit).collect(),
        privileged: run.is_insecure,
        readonly: false,
        terminal: None,
    }
}

pub(super) fn network(network: Network) -> SandboxNetwork {
    match network {
        Network::Default => SandboxNetwork::Default,
        Network::None => SandboxNetwork::None,
        Network::Host => SandboxNetwork::Host,
    }
}

pub(super) fn limit(limit: &Ulimit) -> Limit {
    Limit { name: limit.name.clone(), soft: limit.soft, hard: limit.hard }
}

pub(super) fn hosts(hostname: &str, extra: &BTreeMap<String, String>) -> Vec<u8> {
    let mut text = format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for (name, address) in extra {
        text.push_str(&format!("{address}\t{name}\n"));
    }
    text.into_bytes()
}

/// The host's resolver configuration; behind systemd-resolved's stub the real one, which a network
/// namespace of its own can reach.
pub(super) fn resolv_conf() -> Vec<u8> {
    let read = |path: &str| std::fs::read(path).unwrap_or_default();
    let own = read("/etc/resolv.conf");
    let text = String::from_utf8_lossy(&own);
    let mut servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    if servers.clone().next().is_some() && servers.all(|server| server.trim() == "127.0.0.53") {
        let real = read("/run/systemd/resolve/resolv.conf");
        return if real.is_empty() { own } else { real };
    }
    own
}

/// Runs the command to its end; its output goes out line by line as it comes.
async fn execute(
    task: &Task,
    run: &RunOp,
    supervisor: &Supervisor,
    request: RunRequest,
    mounted: &mut Mounted<'_>,
) -> Result<(), Arc<Problem>> {
    let tail = Arc::new(Mutex::new(Vec::new()));
    let pipe = || io::pipe().map_err(|error| Arc::new(*fault::io("make a pipe", &error)));
    let ((out_read, out_write), (err_read, err_write)) = (pipe()?, pipe()?);
    let pumps = [(out_read, Stream::Stdout), (err_read, Stream::Stderr)].map(|(read, stream)| {
        let (task, tail, mask) = (task.clone(), tail.clone(), mounted.mask.clone());
        tokio::task::spawn_blocking(move || pump(read, stream, &mask, &task, &tail))
    });
    let stdio = Stdio { input: None, output: OwnedFd::from(out_write), error: OwnedFd::from(err_write) };
    let step = supervisor.start_run(request, stdio, std::mem::take(&mut mounted.kept));
    let exit = match step {
        Ok(mut step) => watchdog::watch(task.engine.store.path(), &mut step).await,
        Err(error) => Err(error),
    };
    for pump in pumps {
        // The pipes end with the command's last process; a pump that panicked has printed what it could.
        let _ = pump.await;
    }
    let how = match exit.map_err(|error| sandbox_problem(task, run, &error))? {
        Ended::ByItself(RunExit { status: ExitStatus::Exited(0), .. }) => return Ok(()),
        Ended::ByItself(exit) => describe(&exit),
        Ended::OutOfSpace(shortage) => return Err(out_of_space(task, &shortage)),
    };
    Err(failed(task, &how, &tail))
}

/// How a command failed, as a phrase after "failed with".
pub(super) fn describe(exit: &RunExit) -> String {
    let how = match exit.status {
        ExitStatus::Exited(code) => format!("exit code {code}"),
        ExitStatus::Signaled(signal) => format!("killed by signal {signal}"),
    };
    match exit.memory_kills {
        0 => how,
        1 => format!("{how}; memory ran out, and the kernel killed a process"),
        count => format!("{how}; memory ran out, and the kernel killed {count} processes"),
    }
}

fn out_of_space(task: &Task, shortage: &Shortage) -> Arc<Problem> {
    let message = format!("`{}` for {} was stopped: {shortage}", task.step.text, task.step.platform);
    let problem = Problem::new(Kind::Host, "store::full", message);
    at(task, problem.help(MAKE_SPACE))
}

/// Gives a stream's lines to whoever shows them, without the secrets in them.
fn pump(read: impl Read, stream: Stream, mask: &Mask, task: &Task, tail: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(read);
    let mut bytes = Vec::new();
    loop {
        // A read error on a pipe is the end of it.
        let read = reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut bytes).unwrap_or(0);
        let goes_on = read > 0 && bytes.last() != Some(&b'\n');
        let kept = if goes_on { mask.undecided(&bytes) } else { 0 };
        let rest = bytes.split_off(bytes.len() - kept);
        if !bytes.is_empty() {
            let text = mask.hide(&bytes);
            let line = String::from_utf8_lossy(&text).trim_end_matches(['\n', '\r']).to_string();
            let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
            if tail.len() == TAIL_LINES {
                tail.remove(0);
            }
            tail.push(line.clone());
            drop(tail);
            task.job.events.log(task.step.id, stream, line);
        }
        bytes = rest;
        if read == 0 {
            return;
        }
    }
}

/// What an ordinary user's `--security=insecure` is not.
fn insecure_here() -> Problem {
    Problem::warning(
        "host::insecure",
        "`--security=insecure` has every capability in this user's namespace only: no disks, no kernel modules, no devices but the user's own",
    )
    .help("run mab as root for more")
}

fn failed(task: &Task, how: &str, tail: &Mutex<Vec<String>>) -> Arc<Problem> {
    let log = tail.lock().unwrap_or_else(PoisonError::into_inner).join("\n");
    let message = format!("`{}` for {} failed with {how}", task.step.text, task.step.platform);
    let mut problem = Problem::new(Kind::Build, "build::run", message);
    if !log.is_empty() {
        problem = problem.details(log);
    }
    if IdMaps::for_this_user().reach() == IdMap::Single {
        // A package manager's `chown` says no more than "invalid argument".
        let reason = "only root's files can be made here: this user has one id";
        problem =
            problem.help(format!("if it gives files to other users: {reason}; {}", supervisors::MORE_IDS));
    }
    at(task, problem)
}

fn sandbox_problem(task: &Task, run: &RunOp, error: &SandboxError) -> Arc<Problem> {
    match error {
        SandboxError::Exec { program, failure } => {
            let message = format!("`{}` for {} cannot start: {failure}", task.step.text, task.step.platform);
            let is_shell = run.argv.len() > 2 && program.ends_with("/sh");
            let help = if is_shell {
                "the base has no shell; use the exec form `RUN [\"/program\"]`, or a base that has one"
            } else {
                "check that the program exists in the image and is for its platform"
            };
            at(task, Problem::new(Kind::Build, "build::exec", message).help(help))
        }
        SandboxError::Failed(failure) if failure.is_refused_limit() => {
            let problem = supervisors::problem(error);
            at(task, problem.help("lower `ulimits`, or raise this user's hard limits, where they are set: in `limits.conf`, or as `LimitNOFILE=` and its kin of a service"))
        }
        other => at(task, supervisors::problem(other)),
    }
}

pub(super) fn at(task: &Task, problem: Problem) -> Arc<Problem> {
    Arc::new(match &task.step.place {
        Some(place) if problem.labels.is_empty() => {
            problem.at(place.clone(), format!("for {}", task.step.platform))
        }
        _ => problem,
    })
}

/// The changes as a layer: the helper, which has the rights to read them, writes it into the store's file.
async fn export(
    task: &Task,
    supervisor: &Supervisor,
    lowers: &[PathBuf],
    upper: PathBuf,
) -> Result<Layer, Arc<Problem>> {
    let blob = task.engine.store.blobs().writer().map_err(|error| Arc::new(error.problem()))?;
    let options = task.engine.layer_options(task);
    if is_empty(&upper) {
        let written = empty_layer(&blob, options);
        return commit(task, blob, written);
    }
    let order = HelperTask::Export {
        upper,
        lowers: lowers.to_vec(),
        compression: options.compression,
        clamp_mtime: options.clamp_mtime,
    };
    let done = supervisor.call(order, &[blob.file().as_fd()]).await;
    let TaskOutput::Exported(exported) = done.map_err(|error| at(task, supervisors::problem(&error)))? else {
        return Err(at(
            task,
            Problem::new(Kind::Bug, "host::sandbox", "the sandbox helper answered something else"),
        ));
    };
    let written = exported.into_layer().map_err(io::Error::from);
    commit(task, blob, written)
}

/// Whether a command left no change: nobody with other rights needs to look. A folder that cannot be read
/// from here may hold something.
fn is_empty(upper: &Path) -> bool {
    std::fs::read_dir(upper).is_ok_and(|mut entries| entries.next().is_none())
}

fn empty_layer(blob: &BlobWriter<'_>, options: LayerOptions) -> io::Result<FinishedLayer> {
    LayerWriter::create(blob.file().try_clone()?, options)?.finish()
}

fn commit(
    task: &Task,
    blob: BlobWriter<'_>,
    written: io::Result<FinishedLayer>,
) -> Result<Layer, Arc<Problem>> {
    let layer = written.and_then(|layer| task.engine.commit_layer(blob, layer, task));
    layer.map_err(|error| at(task, *fault::io("write a layer", &error)))?.map_err(|problem| at(task, problem))
}
