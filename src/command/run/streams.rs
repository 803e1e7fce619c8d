//! The standard streams of a command that runs: its output to where it goes, and what it reads.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::thread::{self, JoinHandle};

use crate::engine::embedded::sandbox::Stdio;

/// The bytes that are passed on at once.
const CHUNK: usize = 32 << 10;
/// A longer line is shown in several.
const LONGEST_LINE: usize = 64 << 10;

/// Said before every line of a command, where several run.
#[derive(Clone, Debug)]
pub struct Prefix(pub String);

/// The threads that pass on what a command says.
pub struct RunStreams {
    pumps: Vec<JoinHandle<()>>,
}

/// Where output goes.
pub type StreamWriter = Box<dyn Write + Send>;

impl RunStreams {
    /// Pipes for a command; what comes out of them is written to `output` and `error`. It reads what `input` gives.
    pub fn piped(
        input: Option<Box<dyn Read + Send>>,
        output: StreamWriter,
        error: StreamWriter,
        prefix: Option<&Prefix>,
    ) -> io::Result<(Self, Stdio)> {
        let (out_read, out_write) = io::pipe()?;
        let (error_read, error_write) = io::pipe()?;
        let pumps = [(out_read, output), (error_read, error)].map(|(from, to)| {
            let prefix = prefix.cloned();
            thread::spawn(move || match prefix {
                None => pass_on(from, to),
                Some(prefix) => pass_lines(from, to, &prefix),
            })
        });
        let input = match input {
            None => None,
            Some(given) => {
                let (read, write) = io::pipe()?;
                // Nobody waits for it: it may read for ever, and ends with the program.
                thread::spawn(move || pass_on(given, Box::new(write)));
                Some(OwnedFd::from(read))
            }
        };
        let stdio = Stdio { input, output: out_write.into(), error: error_write.into() };
        Ok((Self { pumps: pumps.into() }, stdio))
    }

    /// Waits until everything that was said is passed on. The pipes end with the command's last process.
    pub fn finish(self) {
        for pump in self.pumps {
            // One that panicked has passed on what it could.
            let _ = pump.join();
        }
    }
}

/// The controlling end of a command's terminal, between this program's own streams.
pub struct Console {
    output: JoinHandle<()>,
}

impl Console {
    pub fn new(
        controller: &OwnedFd,
        input: Option<Box<dyn Read + Send>>,
        output: StreamWriter,
    ) -> io::Result<Self> {
        let from = File::from(controller.try_clone()?);
        if let Some(input) = input {
            let to = File::from(controller.try_clone()?);
            thread::spawn(move || pass_on(input, Box::new(to)));
        }
        Ok(Self { output: thread::spawn(move || pass_on(from, output)) })
    }

    /// Waits for what was said last. The terminal ends with the last process that has it.
    pub fn finish(self) {
        let _ = self.output.join();
    }
}

/// Until either side ends: a command whose output nobody takes is told so by a broken pipe.
fn pass_on(mut from: impl Read, mut to: StreamWriter) {
    let mut buffer = vec![0; CHUNK];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) if to.write_all(&buffer[..read]).and_then(|()| to.flush()).is_ok() => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The end of a terminal is an error.
            Ok(_) | Err(_) => return,
        }
    }
}

fn pass_lines(mut from: impl Read, mut to: StreamWriter, prefix: &Prefix) {
    let (mut buffer, mut line) = (vec![0; CHUNK], Vec::new());
    loop {
        let read = match from.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => 0,
        };
        for byte in &buffer[..read] {
            line.push(*byte);
            if (*byte == b'\n' || line.len() == LONGEST_LINE)
                && write_line(&mut to, prefix, &mut line).is_err()
            {
                return;
            }
        }
        if read == 0 {
            if !line.is_empty() {
                // Nobody takes it.
                let _ = write_line(&mut to, prefix, &mut line);
            }
            return;
        }
    }
}

/// Writes the line as a whole, so that lines of both streams stay whole.
fn write_line(to: &mut StreamWriter, prefix: &Prefix, line: &mut Vec<u8>) -> io::Result<()> {
    let mut text = format!("{} | ", prefix.0).into_bytes();
    text.append(line);
    if text.last() != Some(&b'\n') {
        text.push(b'\n');
    }
    to.write_all(&text)?;
    to.flush()
}
