//! How messages and descriptors cross the socket between parent and helper.
//!
//! A frame is a header of two little-endian `u32`, the length of the body and the number of descriptors that
//! travel with the header, and a JSON body. The socket is a stream, because a datagram's size is bounded by
//! the socket's buffer and a step's inline files are not.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::Failure;
use super::request::{ExecRequest, HelperTask, OpenPort, RunExit, RunRequest, TaskOutput};
use crate::engine::embedded::emulate::Emulator;

/// How many ids the pid namespace of whoever opens it gives out.
pub(super) const PID_MAX: &str = "/proc/sys/kernel/pid_max";

/// The hidden first argument of a helper process.
pub const ARGUMENT: &str = "__mab-sandbox";

/// Other systems know neither, and have no other side.
#[cfg(target_os = "linux")]
const SENDING: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_os = "linux")]
const RECEIVING: RecvFlags = RecvFlags::CMSG_CLOEXEC;
#[cfg(not(target_os = "linux"))]
const SENDING: SendFlags = SendFlags::empty();
#[cfg(not(target_os = "linux"))]
const RECEIVING: RecvFlags = RecvFlags::empty();

/// Descriptors one message may carry.
const MAX_DESCRIPTORS: usize = 8;
/// A frame larger than this is a bug, not a request.
const MAX_BODY: usize = 256 * 1024 * 1024;

/// Parent to helper.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Message {
    pub id: u64,
    pub order: Order,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    Run(Box<RunRequest>),
    Task(HelperTask),
    /// Run a command where the one of this id runs.
    Exec(u64, Box<ExecRequest>),
    /// Wait until something listens at all of these ports where the command of this id runs.
    AwaitPorts(u64, Vec<OpenPort>),
    /// Send a signal to the command of this id.
    Signal(u64, i32),
    /// Kill the command of this id if a signal would have ended it were it not the first of its namespace.
    Nudge(u64, i32),
    /// Kill the request of this id with everything below it.
    Kill(u64),
}

/// Helper to parent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    pub id: u64,
    pub outcome: Outcome,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Outcome {
    Exit(RunExit),
    Output(Box<TaskOutput>),
    Failed(StepFailure),
    /// Sent once, when the default network is not isolated and why.
    NetworkNotice(String),
}

/// A failure before the command was running, by the phase that callers tell apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum StepFailure {
    Overlay(Failure),
    Exec(Failure),
    Other(Failure),
}

impl From<Failure> for StepFailure {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

/// The first frame the parent sends, before the namespaces exist.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Opening {
    pub user_namespace: bool,
    pub emulators: Vec<Emulator>,
    #[serde(with = "bytes")]
    pub state: std::path::PathBuf,
    /// For RLIMIT_NPROC.
    pub process_limit: Option<u64>,
    /// For the pid namespace itself, where the kernel has limits for each.
    pub namespace_limit: Option<u64>,
}

/// The helper's words during start-up.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Greeting {
    /// The user namespace exists and waits for its id maps.
    Unshared,
    Ready,
    UserNamespaceRefused(Failure),
    Failed(Failure),
}

pub(super) fn send<T: Serialize>(
    socket: &UnixStream,
    message: &T,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut header = [0; 8];
    header[..4].copy_from_slice(&length.to_le_bytes());
    header[4..].copy_from_slice(&(descriptors.len() as u32).to_le_bytes());
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = loop {
        match sendmsg(socket, &[IoSlice::new(&header)], &mut control, SENDING) {
            Err(rustix::io::Errno::INTR) => continue,
            other => break other?,
        }
    };
    let mut socket = socket;
    socket.write_all(&header[sent..])?;
    socket.write_all(&body)
}

/// The next frame, or `None` when the other side is gone.
pub(super) fn receive<T: DeserializeOwned>(socket: &UnixStream) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut header = [0; 8];
    let mut descriptors = Vec::new();
    let mut filled = 0;
    while filled < header.len() {
        let read = receive_some(socket, &mut header[filled..], &mut descriptors)?;
        match read {
            0 if filled == 0 => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
    }
    let field =
        |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize;
    let (length, expected) = (field(0), field(4));
    if length > MAX_BODY || expected != descriptors.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "malformed frame"));
    }
    let mut body = vec![0; length];
    let mut socket = socket;
    socket.read_exact(&mut body)?;
    Ok(Some((serde_json::from_slice(&body)?, descriptors)))
}

fn receive_some(socket: &UnixStream, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut slices = [IoSliceMut::new(&mut *buffer)];
        match recvmsg(socket.as_fd(), &mut slices, &mut control, RECEIVING) {
            Err(rustix::io::Errno::INTR) => continue,
            other => break other?,
        }
    };
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok(received.bytes)
}

/// Bytes as a JSON string: every byte is the character of its value, so any bytes survive and text stays short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ByteText(pub Vec<u8>);

impl Serialize for ByteText {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0.iter().map(|&byte| char::from(byte)).collect::<String>())
    }
}

impl<'de> Deserialize<'de> for ByteText {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        let bytes: Result<Vec<u8>, _> = text.chars().map(|c| u8::try_from(u32::from(c))).collect();
        bytes.map(ByteText).map_err(|_| serde::de::Error::custom("not a byte string"))
    }
}

/// What is a string of bytes: paths, arguments, contents.
pub(super) trait Bytes: Sized {
    fn to_bytes(&self) -> &[u8];
    fn from_bytes(bytes: Vec<u8>) -> Self;
}

impl Bytes for std::path::PathBuf {
    fn to_bytes(&self) -> &[u8] {
        self.as_os_str().as_encoded_bytes()
    }
    fn from_bytes(bytes: Vec<u8>) -> Self {
        std::ffi::OsString::from_bytes(bytes).into()
    }
}

impl Bytes for std::ffi::OsString {
    fn to_bytes(&self) -> &[u8] {
        self.as_encoded_bytes()
    }
    fn from_bytes(bytes: Vec<u8>) -> Self {
        std::os::unix::ffi::OsStringExt::from_vec(bytes)
    }
}

impl Bytes for Vec<u8> {
    fn to_bytes(&self) -> &[u8] {
        self
    }
    fn from_bytes(bytes: Vec<u8>) -> Self {
        bytes
    }
}

/// `#[serde(with = …)]` for one byte string.
pub(super) mod bytes {
    use super::{ByteText, Bytes};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<T: Bytes, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        ByteText(value.to_bytes().to_vec()).serialize(to)
    }

    pub fn deserialize<'de, T: Bytes, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        Ok(T::from_bytes(ByteText::deserialize(from)?.0))
    }
}

/// The same for a list.
pub(super) mod bytes_list {
    use super::{ByteText, Bytes};
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<T: Bytes, S: Serializer>(value: &[T], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(value.iter().map(|item| ByteText(item.to_bytes().to_vec())))
    }

    pub fn deserialize<'de, T: Bytes, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
        let texts = Vec::<ByteText>::deserialize(from)?;
        Ok(texts.into_iter().map(|text| T::from_bytes(text.0)).collect())
    }
}

/// The same for a list of pairs.
pub(super) mod bytes_pairs {
    use super::{ByteText, Bytes};
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<T: Bytes, S: Serializer>(value: &[(T, T)], to: S) -> Result<S::Ok, S::Error> {
        let text = |item: &T| ByteText(item.to_bytes().to_vec());
        to.collect_seq(value.iter().map(|(left, right)| (text(left), text(right))))
    }

    pub fn deserialize<'de, T: Bytes, D: Deserializer<'de>>(from: D) -> Result<Vec<(T, T)>, D::Error> {
        let texts = Vec::<(ByteText, ByteText)>::deserialize(from)?;
        Ok(texts.into_iter().map(|(l, r)| (T::from_bytes(l.0), T::from_bytes(r.0))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_survive_the_wire() {
        let all = ByteText((0..=255).collect());
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<ByteText>(&text).unwrap(), all);
        assert!(serde_json::from_str::<ByteText>("\"\u{100}\"").is_err());
    }

    #[test]
    fn frames_carry_descriptors() {
        let (left, right) = UnixStream::pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        send(&left, &Order::Kill(7), &[writer.as_fd()]).unwrap();
        drop((writer, left));
        let (order, descriptors) = receive::<Order>(&right).unwrap().unwrap();
        assert!(matches!(order, Order::Kill(7)));
        let [passed] = <[OwnedFd; 1]>::try_from(descriptors).unwrap();
        std::fs::File::from(passed).write_all(b"through").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
        assert!(receive::<Order>(&right).unwrap().is_none());
    }
}
