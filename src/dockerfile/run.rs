//! `RUN`: its flags, and what its heredocs make of the command.

use super::flags::{FlagKind, FlagSpec, Flags};
use super::heredoc::Heredoc;
use super::instruction::{ReadResult, ShellOrExec, missing_argument, shell_or_exec};
use super::mount::{self, Mount};
use super::parse::Reader;
use crate::diag::{Problem, Span, nearest};

#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub command: ShellOrExec,
    pub heredocs: Vec<Heredoc>,
    /// In the order given.
    pub mounts: Vec<Mount>,
    pub network: Network,
    pub security: Security,
    pub devices: Vec<Device>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    #[default]
    Default,
    None,
    Host,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    #[default]
    Sandbox,
    Insecure,
}

/// A device by its CDI name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    pub name: String,
    pub required: bool,
}

/// What a `RUN` runs once its heredocs are taken into account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Script {
    /// Text for the image's shell.
    Shell(String),
    Exec(Vec<String>),
    /// A script with a `#!` line of its own, to be run as a file of this name.
    File {
        name: String,
        content: String,
    },
}

impl Run {
    /// A lone heredoc is the script itself. With a command around it, the shell reads command and bodies.
    pub fn script(&self) -> Script {
        let text = match &self.command {
            ShellOrExec::Exec(words) => return Script::Exec(words.clone()),
            ShellOrExec::Shell(text) => text,
        };
        let Some(first) = self.heredocs.first() else { return Script::Shell(text.clone()) };
        if !self.is_lone_heredoc() {
            let bodies = self.heredocs.iter().map(|heredoc| format!("\n{}{}", heredoc.content, heredoc.name));
            return Script::Shell(text.clone() + &bodies.collect::<String>());
        }
        let body = first.body();
        if body.starts_with("#!") {
            return Script::File { name: first.name.clone(), content: body };
        }
        Script::Shell(body)
    }

    /// Whether the command is nothing but a heredoc.
    pub fn is_lone_heredoc(&self) -> bool {
        match &self.command {
            ShellOrExec::Shell(text) => {
                !self.heredocs.is_empty() && matches!(Heredoc::announced_by(text), Ok(Some(_)))
            }
            ShellOrExec::Exec(_) => false,
        }
    }
}

const FLAGS: [FlagSpec; 4] = [
    ("mount", FlagKind::List),
    ("network", FlagKind::Text),
    ("security", FlagKind::Text),
    ("device", FlagKind::List),
];

pub(super) fn read(reader: &Reader<'_>) -> ReadResult<Run> {
    let flags = Flags::read(reader, &FLAGS)?;
    let command = shell_or_exec(reader, reader.command.arguments)?;
    let mut problems = Vec::new();
    if command == ShellOrExec::Exec(Vec::new()) {
        problems.extend(missing_argument(reader));
    }
    let mut run = Run {
        command,
        heredocs: reader.line.heredocs.clone(),
        mounts: Vec::new(),
        network: Network::default(),
        security: Security::default(),
        devices: Vec::new(),
    };
    for (text, range) in flags.list("mount") {
        match mount::read(reader, text, range) {
            Ok(mount) => run.mounts.push(mount),
            Err(problem) => problems.push(problem),
        }
    }
    for (text, range) in flags.list("device") {
        match read_device(text) {
            Ok(device) => run.devices.push(device),
            Err(message) => problems.push(reader.problem_at(range, "dockerfile::device", message)),
        }
    }
    if let Some((text, range)) = flags.text_at("network") {
        let modes = [("default", Network::Default), ("none", Network::None), ("host", Network::Host)];
        choose(reader, "network", text, range, &modes)
            .map_or_else(|problem| problems.push(problem), |network| run.network = network);
    }
    if let Some((text, range)) = flags.text_at("security") {
        let modes = [("sandbox", Security::Sandbox), ("insecure", Security::Insecure)];
        choose(reader, "security", text, range, &modes)
            .map_or_else(|problem| problems.push(problem), |security| run.security = security);
    }
    if problems.is_empty() { Ok(run) } else { Err(problems) }
}

fn choose<T: Copy>(
    reader: &Reader<'_>,
    flag: &str,
    text: &str,
    range: &Span,
    choices: &[(&'static str, T)],
) -> Result<T, Problem> {
    if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
        return Ok(*value);
    }
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let message = format!("flag `--{flag}` of RUN does not know `{text}`");
    let problem = reader.problem_at(range, "dockerfile::flag-value", message);
    Err(match nearest(text, names.iter().copied()) {
        Some(meant) => problem.help(format!("did you mean `{meant}`?")),
        None => problem.help(format!("it is one of {}", names.join(", "))),
    })
}

/// `name[,required]`, or `name=…[,required=…]`.
fn read_device(text: &str) -> Result<Device, String> {
    let mut device = Device::default();
    for field in mount::fields(text).map_err(|error| error.to_string())? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        match (key.as_str(), value) {
            ("required", None) => device.required = true,
            ("required", Some(value)) => {
                device.required = super::directive::parse_bool(value)
                    .ok_or_else(|| format!("`required` of a device is true or false, not `{value}`"))?;
            }
            ("name", Some(_)) if !device.name.is_empty() => {
                return Err(format!("the device `{}` gets a second name", device.name));
            }
            ("name", Some(value)) => device.name = value.to_string(),
            // CDI names hold `=` themselves: `vendor.com/class=name`.
            _ if device.name.is_empty() => device.name = field.clone(),
            _ => return Err(format!("`{field}` is not an option of a device")),
        }
    }
    if device.name.is_empty() { Err("the device has no name".to_string()) } else { Ok(device) }
}
