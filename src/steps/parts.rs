//! The named parts of steps' identities: what of an operation decides its result, and nothing else.
//!
//! Inputs are not here: a step's key covers the *results* of its inputs, which the caller adds.
//! Outside identity: proxy variables, the text and place of the instruction, the stage's name.

use super::mount::{Access, MountKind, RunMount};
use super::op::{Chmod, CopyFrom, CopyOp, Lowered, MakeDirectoryOp, Op, RunOp, Step};
use crate::base::{Digest, Parts};
use crate::model::Network;

/// The parts of one step's operation.
pub fn step_parts(step: &Step) -> Parts {
    parts_of(step, Mounted::Named)
}

/// The parts of a RUN but for where its mounts read: what they read there stands for that.
pub fn mounted_parts(step: &Step) -> Parts {
    parts_of(step, Mounted::Unnamed)
}

/// Whether the sources of mounts are parts.
#[derive(Clone, Copy, PartialEq)]
enum Mounted {
    Named,
    Unnamed,
}

fn parts_of(step: &Step, mounted: Mounted) -> Parts {
    let mut parts = match &step.op {
        Op::Scratch => named("scratch"),
        Op::Base(_) => named("base"),
        Op::Run(run) => run_parts(run, mounted),
        Op::Copy(copy) => copy_parts(copy),
        Op::MakeDirectory(make) => make_directory_parts(make),
        Op::Merge(_) => named("merge"),
    };
    if matches!(step.op, Op::Run(_)) {
        parts.text("platform", step.platform.to_string());
    }
    parts
}

/// The parts of a whole lowered build: every step with how it is wired to others, and the config.
pub fn lowered_parts(lowered: &Lowered) -> Parts {
    let mut steps = Parts::new();
    for step in &lowered.steps {
        let mut parts = step_parts(step);
        for (place, input) in step.op.inputs().iter().enumerate() {
            parts.text(format!("input {place}"), input.to_string());
        }
        if let Op::Base(base) = step.op {
            let base = &lowered.bases[base];
            parts.digest_of("manifest", base.image.manifest);
        }
        steps.parts(step.id.to_string(), parts);
    }
    let mut parts = Parts::new();
    parts.parts("steps", steps);
    parts.text("result", lowered.result.to_string());
    parts.digest_of("config", Digest::of(lowered.config.to_bytes()));
    parts
}

fn named(kind: &str) -> Parts {
    let mut parts = Parts::new();
    parts.text("op", kind);
    parts
}

fn run_parts(run: &RunOp, mounted: Mounted) -> Parts {
    let mut parts = named("run");
    parts.parts("argv", numbered(&run.argv));
    let mut env = Parts::new();
    for entry in &run.env {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        env.text(name, value);
    }
    parts.parts("env", env);
    parts.text("cwd", &run.cwd);
    parts.text("user", &run.user);
    parts.text(
        "network",
        match run.network {
            Network::Default => "default",
            Network::None => "none",
            Network::Host => "host",
        },
    );
    parts.text("shm-size", run.shm_size.to_string());
    parts.text("hostname", &run.hostname);
    let mut hosts = Parts::new();
    for (name, address) in &run.extra_hosts {
        hosts.text(name, address);
    }
    parts.parts("hosts", hosts);
    if let Some(script) = &run.script {
        parts.text(format!("script {}", script.name), &script.content);
    }
    let mut mounts = Parts::new();
    for (place, mount) in run.mounts.iter().enumerate() {
        mounts.parts(place.to_string(), mount_parts(mount, mounted));
    }
    parts.parts("mounts", mounts);
    parts.text("security", if run.is_insecure { "insecure" } else { "sandbox" });
    let ulimits: Vec<String> = run.ulimits.iter().map(ToString::to_string).collect();
    parts.parts("ulimits", numbered(&ulimits));
    parts
}

/// Of a cache its id and sharing are left out: they say where it is, and it decides no result. Of a secret
/// or an agent whether there is one belongs to whoever knows, and its value to nobody.
fn mount_parts(mount: &RunMount, mounted: Mounted) -> Parts {
    let access = |parts: &mut Parts, access: &Access| {
        parts.text("access", format!("{:o} {}:{}", access.mode, access.uid, access.gid));
    };
    let mut parts = Parts::new();
    parts.text("target", mount.target.as_deref().unwrap_or(""));
    match &mount.kind {
        MountKind::Bind { from: _, source, is_writable } => {
            parts.text("type", "bind");
            if mounted == Mounted::Named {
                parts.text("source", source);
            }
            parts.text("writable", is_writable.to_string());
        }
        MountKind::Cache(cache) => {
            parts.text("type", "cache");
            if let (Some((_, source)), Mounted::Named) = (&cache.seed, mounted) {
                parts.text("source", source);
            }
            access(&mut parts, &cache.access);
            parts.text("read-only", cache.is_read_only.to_string());
        }
        MountKind::Tmpfs { size } => {
            parts.text("type", "tmpfs");
            parts.text("size", size.map_or(String::new(), |size| size.to_string()));
        }
        MountKind::Secret { id, env, is_required: _, access: given } => {
            parts.text("type", "secret");
            parts.text("id", id);
            parts.text("env", env.as_deref().unwrap_or(""));
            access(&mut parts, given);
        }
        MountKind::Ssh { id, is_required: _, access: given } => {
            parts.text("type", "ssh");
            parts.text("id", id);
            access(&mut parts, given);
        }
    }
    parts
}

fn copy_parts(copy: &CopyOp) -> Parts {
    let mut parts = named("copy");
    if let CopyFrom::Context(name) = &copy.from {
        parts.text("context", name);
    }
    if let CopyFrom::Remote(_) = &copy.from {
        parts.text("remote", "");
    }
    parts.parts("sources", numbered(&copy.sources));
    for (place, file) in copy.inline.iter().enumerate() {
        parts.text(format!("inline {place} {}", file.name), &file.content);
    }
    parts.text("destination", &copy.destination);
    parts.text("chown", copy.chown.as_deref().unwrap_or(""));
    parts.text(
        "chmod",
        match &copy.chmod {
            None => String::new(),
            Some(Chmod::Octal(mode)) => format!("{mode:o}"),
            Some(Chmod::Symbolic(text)) => text.clone(),
        },
    );
    parts.text("link", copy.link.to_string());
    parts.text("parents", copy.parents.to_string());
    parts.parts("exclude", numbered(&copy.exclude));
    parts.text("unpack", copy.unpack.to_string());
    parts
}

fn make_directory_parts(make: &MakeDirectoryOp) -> Parts {
    let mut parts = named("make-directory");
    parts.text("path", &make.path);
    parts.text("user", &make.user);
    parts
}

fn numbered(values: &[String]) -> Parts {
    let mut parts = Parts::new();
    for (place, value) in values.iter().enumerate() {
        parts.text(place.to_string(), value);
    }
    parts
}
