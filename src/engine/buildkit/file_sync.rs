//! Contexts for a worker, by the DiffCopy protocol: this side tells what there is, the worker asks for the files
//! that it does not have yet.
//!
//! A worker takes a file that looks as before for the one it has: size, mode and time are compared, content is not.
//! So the nanoseconds of the time are made of the content: files with another content look different, and layers keep
//! whole seconds only. Ignore rules were applied by the walk; a worker that asks for them is told of none.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::fsutil::types::{Packet, Stat};
use bollard_buildkit_proto::moby::filesync::v1::file_sync_server;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::session::Failures;
use crate::base::Digest;
use crate::context::{CAPABILITY, Context, ContextEntry, ContextError};
use crate::diag::{Kind, Problem};
use crate::engine::{JobEvents, blocking};
use crate::event::Transfer;
use crate::layer::EntryKind;

/// What is read and sent at a time.
const CHUNK: usize = 256 << 10;
/// Packets under way to the worker.
const PACKETS: usize = 16;
/// After how many bytes it is told again how many there were.
const TOLD_EVERY: u64 = 1 << 20;
const IGNORE_FILE: &str = ".dockerignore";

/// Folders by the names that a recipe gives them.
pub(super) struct FileSync {
    pub folders: BTreeMap<String, Folder>,
    pub events: JobEvents,
    pub failures: Failures,
}

/// What is told of a folder's files on their way.
struct Progress {
    events: JobEvents,
    item: String,
    done: u64,
    told: u64,
}

impl Progress {
    /// `folder` is the name that the recipe gives it.
    fn new(events: JobEvents, folder: &str) -> Self {
        let item = match folder.split_once(':') {
            Some(("named", name)) => format!("context {name}"),
            Some(_) => "repository".to_string(),
            None => folder.to_string(),
        };
        Self { events, item, done: 0, told: 0 }
    }

    /// Not for every one of many small files.
    fn sent(&mut self, bytes: usize) {
        self.done += bytes as u64;
        if self.done - self.told >= TOLD_EVERY {
            self.told = self.done;
            self.events.transfer(Transfer::Push, self.item.clone(), self.done, None);
        }
    }

    fn finish(self) {
        if self.done > 0 {
            self.events.transfer(Transfer::Push, self.item, self.done, Some(self.done));
        }
    }
}

#[derive(Clone)]
pub(super) enum Folder {
    Context(Arc<Context>),
    /// One file.
    File {
        name: &'static str,
        bytes: Arc<[u8]>,
    },
}

/// What can be asked for by the number of its packet.
enum Source {
    Nothing,
    Position(usize),
    Bytes(Arc<[u8]>),
}

type Sender = mpsc::Sender<Result<Packet, Status>>;

#[tonic::async_trait]
impl file_sync_server::FileSync for FileSync {
    type DiffCopyStream = BoxStream<'static, Result<Packet, Status>>;

    async fn diff_copy(
        &self,
        request: Request<Streaming<Packet>>,
    ) -> Result<Response<Self::DiffCopyStream>, Status> {
        let header = |name: &str| values(&request, name);
        let name = header("dir-name").pop().unwrap_or_default();
        let folder = self.folders.get(&name).cloned();
        let wants_rules = [header("include-patterns"), header("followpaths")]
            .iter()
            .any(|asked| !asked.is_empty() && asked.iter().all(|path| path == IGNORE_FILE));
        let folder = folder.filter(|_| !wants_rules);
        let reach = Reach::new(&header("followpaths"));
        let (sender, receiver) = mpsc::channel(PACKETS);
        let failures = self.failures.clone();
        let progress = Progress::new(self.events.clone(), &name);
        tokio::spawn(async move {
            let failed = send(folder, reach, request.into_inner(), &sender, progress).await.err();
            if let Some(failure) = failed {
                let status = match failure {
                    Failure::Context(error) => failures.keep(error.problem()),
                    Failure::Path(path) => failures.keep(nameless(&path)),
                    Failure::Worker(status) => status,
                };
                // Whoever does not listen any more has an error of its own.
                drop(sender.send(Err(status)).await);
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver).boxed()))
    }

    type TarStreamStream = BoxStream<'static, Result<Packet, Status>>;

    async fn tar_stream(
        &self,
        _: Request<Streaming<Packet>>,
    ) -> Result<Response<Self::TarStreamStream>, Status> {
        Err(Status::unimplemented("only `DiffCopy` is answered"))
    }
}

/// The values of a header, which may be encoded as in a URL's query.
fn values<T>(request: &Request<T>, name: &str) -> Vec<String> {
    let headers = request.metadata();
    let is_encoded = headers.get(format!("{name}-encoded").as_str()).is_some();
    let texts = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let decode = |text: &str| match is_encoded {
        // One pair without a value: the query's own form.
        true => url::form_urlencoded::parse(text.as_bytes()).next().map(|(name, _)| name.into_owned()),
        false => Some(text.to_string()),
    };
    texts.filter_map(decode).collect()
}

enum Failure {
    Context(Arc<ContextError>),
    /// Messages hold text, and the path is none.
    Path(PathBuf),
    Worker(Status),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Worker(status)
    }
}

impl From<ContextError> for Failure {
    fn from(error: ContextError) -> Self {
        Self::Context(Arc::new(error))
    }
}

/// Nobody listens any more.
fn gone<T>(_: T) -> Failure {
    Failure::Worker(Status::cancelled("the worker has hung up"))
}

async fn send(
    folder: Option<Folder>,
    reach: Reach,
    mut asked: Streaming<Packet>,
    sender: &Sender,
    mut progress: Progress,
) -> Result<(), Failure> {
    let context = match &folder {
        Some(Folder::Context(context)) => Some(context.clone()),
        _ => None,
    };
    let (stats, sources) = listed(folder, reach).await?;
    let (wanted, mut reading) = mpsc::unbounded_channel::<usize>();
    let reader = {
        let sender = sender.clone();
        blocking(move || {
            while let Some(number) = reading.blocking_recv() {
                send_file(number, &sources[number], context.as_deref(), &sender, &mut progress)?;
            }
            Ok::<_, Failure>(progress)
        })
    };
    let count = stats.len();
    let telling = async {
        for stat in stats {
            sender.send(Ok(packet(PacketType::PacketStat, Some(stat), 0, Vec::new()))).await.map_err(gone)?;
        }
        sender.send(Ok(packet(PacketType::PacketStat, None, 0, Vec::new()))).await.map_err(gone)
    };
    let listening = async move {
        while let Some(packet) = asked.message().await? {
            match packet.r#type() {
                PacketType::PacketReq => {
                    let number = packet.id as usize;
                    if number >= count {
                        return Err(Status::invalid_argument("there is no such file").into());
                    }
                    wanted.send(number).map_err(gone)?;
                }
                PacketType::PacketFin => return Ok(()),
                PacketType::PacketErr => {
                    return Err(Status::aborted(String::from_utf8_lossy(&packet.data)).into());
                }
                PacketType::PacketStat | PacketType::PacketData => {}
            }
        }
        Ok(())
    };
    let ((), (), progress) = tokio::try_join!(telling, listening, reader)?;
    progress.finish();
    sender.send(Ok(packet(PacketType::PacketFin, None, 0, Vec::new()))).await.map_err(gone)
}

fn packet(kind: PacketType, stat: Option<Stat>, id: u32, data: Vec<u8>) -> Packet {
    Packet { r#type: kind.into(), stat, id, data }
}

/// Sends the file of a number, and its end.
fn send_file(
    number: usize,
    source: &Source,
    context: Option<&Context>,
    sender: &Sender,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let id = u32::try_from(number).map_err(gone)?;
    let send = |data: Vec<u8>| {
        sender.blocking_send(Ok(packet(PacketType::PacketData, None, id, data))).map_err(gone)
    };
    match source {
        Source::Nothing => {}
        Source::Bytes(bytes) => {
            for chunk in bytes.chunks(CHUNK) {
                send(chunk.to_vec())?;
            }
        }
        Source::Position(position) => {
            let context = context.expect("a position is one of a context");
            let mut file = context.open(*position)?;
            let entry = &context.entries()[*position];
            let mut left = entry.stamp.size;
            loop {
                let mut chunk = Vec::with_capacity(CHUNK.min(usize::try_from(left).unwrap_or(CHUNK) + 1));
                let limit = chunk.capacity() as u64;
                let read = file.by_ref().take(limit).read_to_end(&mut chunk);
                let read = read.map_err(|error| Failure::from(context.unreadable(*position, error)))?;
                if read == 0 {
                    break;
                }
                left = left.saturating_sub(read as u64);
                send(chunk)?;
                progress.sent(read);
            }
            context.verify(*position, &file)?;
        }
    }
    send(Vec::new())
}

/// Everything there is, parents first, and where each is found.
async fn listed(folder: Option<Folder>, reach: Reach) -> Result<(Vec<Stat>, Vec<Source>), Failure> {
    match folder {
        None => Ok((Vec::new(), Vec::new())),
        Some(Folder::File { name, bytes }) => {
            let size = i64::try_from(bytes.len()).expect("memory is smaller than that");
            let mod_time = of_content(0, &Digest::of(&bytes));
            let stat = Stat { path: name.to_string(), mode: 0o644, size, mod_time, ..Stat::default() };
            Ok((vec![stat], vec![Source::Bytes(bytes)]))
        }
        Some(Folder::Context(context)) => Ok(blocking(move || list(&context, &reach)).await?),
    }
}

fn list(context: &Context, reach: &Reach) -> Result<(Vec<Stat>, Vec<Source>), Failure> {
    let entries = context.entries();
    let reach = reach.within(context);
    let mut positions: Vec<usize> =
        (0..entries.len()).filter(|position| reach.holds(&entries[*position].path)).collect();
    // As the worker wants it: a folder's content follows it before anything else does.
    positions.sort_by(|a, b| {
        let key = |position: &usize| entries[*position].path.iter().map(|byte| byte_order(*byte));
        key(a).cmp(key(b))
    });
    let files: Vec<usize> =
        positions.iter().copied().filter(|position| entries[*position].is_file()).collect();
    let digests: HashMap<usize, Digest> = files.iter().copied().zip(context.digests(&files)?).collect();
    let mut first_names: HashMap<(u64, u64), &[u8]> = HashMap::new();
    let (mut stats, mut sources) = (Vec::new(), Vec::new());
    for position in positions {
        let entry = &entries[position];
        let path = text(context, &entry.path)?;
        let link = match &entry.kind {
            EntryKind::Symlink { target } => text(context, target)?,
            _ => String::new(),
        };
        let mut stat = Stat { path, linkname: link, ..stat(entry, digests.get(&position)) };
        let mut source = if entry.is_file() { Source::Position(position) } else { Source::Nothing };
        if let Some(file) = entry.hard_link() {
            let first = *first_names.entry(file).or_insert(&entry.path);
            if first != entry.path {
                stat.linkname = text(context, first)?;
                stat.size = 0;
                source = Source::Nothing;
            }
        }
        stats.push(stat);
        sources.push(source);
    }
    Ok((stats, sources))
}

fn text(context: &Context, path: &[u8]) -> Result<String, Failure> {
    let text = std::str::from_utf8(path).map(str::to_string);
    text.map_err(|_| Failure::Path(context.root().join(OsStr::from_bytes(path))))
}

fn nameless(path: &Path) -> Problem {
    let message = format!("`{}` cannot be sent to a BuildKit worker: it is not UTF-8", path.display());
    Problem::new(Kind::Host, "buildkit::name", message).help(
        "rename it, or name it in `.dockerignore`; without `--builder`, the embedded engine takes any name",
    )
}

/// `/` before everything else.
fn byte_order(byte: u8) -> u8 {
    if byte == b'/' { 0 } else { byte }
}

/// Seconds as they are, and nanoseconds of the content.
fn of_content(seconds: i64, content: &Digest) -> i64 {
    const SECOND: u64 = 1_000_000_000;
    let mut first = [0; 8];
    first.copy_from_slice(&content.as_bytes()[..8]);
    let nanoseconds = i64::try_from(u64::from_le_bytes(first) % SECOND).expect("it is less than a second");
    seconds.saturating_mul(SECOND as i64).saturating_add(nanoseconds)
}

/// All but the names.
fn stat(entry: &ContextEntry, content: Option<&Digest>) -> Stat {
    let mod_time = match content {
        Some(content) => of_content(entry.mtime, content),
        None => entry.mtime.saturating_mul(1_000_000_000),
    };
    let mut stat = Stat { mode: go_mode(entry), mod_time, ..Stat::default() };
    match &entry.kind {
        EntryKind::File { size } => stat.size = i64::try_from(*size).unwrap_or(i64::MAX),
        EntryKind::Symlink { target } => {
            stat.size = i64::try_from(target.len()).unwrap_or(i64::MAX);
        }
        EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor } => {
            (stat.devmajor, stat.devminor) = (i64::from(*major), i64::from(*minor));
        }
        EntryKind::Directory
        | EntryKind::HardLink { .. }
        | EntryKind::Fifo
        | EntryKind::Whiteout
        | EntryKind::Opaque => {}
    }
    stat.xattrs.extend(entry.capability.iter().map(|value| (CAPABILITY.to_string(), value.clone())));
    stat
}

/// The mode as Go's `io/fs` counts its bits.
fn go_mode(entry: &ContextEntry) -> u32 {
    let kind = match &entry.kind {
        EntryKind::Directory => 1 << 31,
        EntryKind::Symlink { .. } => 1 << 27,
        EntryKind::BlockDevice { .. } => 1 << 26,
        EntryKind::CharDevice { .. } => 1 << 26 | 1 << 21,
        EntryKind::Fifo => 1 << 25,
        EntryKind::File { .. } | EntryKind::HardLink { .. } | EntryKind::Whiteout | EntryKind::Opaque => 0,
    };
    let special = [(0o4000, 23), (0o2000, 22), (0o1000, 20)];
    let special = special.iter().filter(|(bit, _)| entry.mode & bit != 0).map(|(_, place)| 1 << place);
    special.fold(kind | entry.mode & 0o777, |mode, bit: u32| mode | bit)
}

/// What of a context a worker wants: the paths it names, their parents, and all below. More than that does no harm,
/// so patterns count as the folder they stand in, and what leads through links counts as everything.
struct Reach(Vec<Vec<u8>>);

impl Reach {
    fn new(paths: &[String]) -> Self {
        let literal = |path: &String| {
            let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
            let parts: Vec<&str> = parts.take_while(|part| !part.contains(['*', '?', '[', '\\'])).collect();
            match parts.contains(&"..") {
                true => Vec::new(),
                false => parts.join("/").into_bytes(),
            }
        };
        Self(paths.iter().map(literal).collect())
    }

    fn within(&self, context: &Context) -> Self {
        let links = |path: &Vec<u8>| {
            let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
            let prefixes = ends.chain([path.len()]).map(|end| &path[..end]);
            prefixes
                .filter_map(|prefix| context.find(prefix))
                .any(|position| matches!(context.entries()[position].kind, EntryKind::Symlink { .. }))
        };
        let is_everything = self.0.is_empty() || self.0.iter().any(|path| path.is_empty() || links(path));
        Self(if is_everything { Vec::new() } else { self.0.clone() })
    }

    fn holds(&self, path: &[u8]) -> bool {
        self.0.is_empty() || self.0.iter().any(|wanted| is_within(path, wanted) || is_within(wanted, path))
    }
}

fn is_within(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

#[cfg(test)]
mod tests;
