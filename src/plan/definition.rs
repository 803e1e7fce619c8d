//! What a target is built from, as named parts that are the same wherever a commit is checked out.
//!
//! Two machines that build parts of one release compare it: what it does not cover (the content of contexts) is the
//! commit's, and what differs between machines and moments (paths, the platform builds run on, when) is not in it.
//! Values of arguments are in it as digests, so that nobody reads them where it is told of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::graph::Plan;
use super::node::{BuildNode, Node};
use crate::base::{Digest, Parts};
use crate::model::{Context, Network, Variant};

/// When an image was made, which differs from run to run.
const CREATED: &str = "org.opencontainers.image.created";

/// Of every target of the plan its parts, those of the targets that it stands on as digests.
pub fn definitions(plan: &Plan, root: &Path) -> BTreeMap<String, Parts> {
    let mut nodes: BTreeMap<&str, Vec<&BuildNode>> = BTreeMap::new();
    for (_, node) in plan.nodes() {
        if let Node::Build(node) = node {
            nodes.entry(&node.target).or_default().push(node);
        }
    }
    let own: BTreeMap<&str, Parts> =
        nodes.iter().map(|(name, nodes)| (*name, own_parts(nodes, root))).collect();
    let whole = |name: &&str| {
        let mut parts = own[name].clone();
        for below in below(name, &nodes) {
            parts.digest_of(format!("target {below}"), own[below].digest());
        }
        (name.to_string(), parts)
    };
    own.keys().map(whole).collect()
}

/// The targets that a target stands on or waits for, at any distance.
fn below<'a>(name: &str, nodes: &BTreeMap<&'a str, Vec<&'a BuildNode>>) -> BTreeSet<&'a str> {
    let mut found: BTreeSet<&str> = BTreeSet::new();
    let mut waiting = vec![name.to_string()];
    while let Some(name) = waiting.pop() {
        for below in nodes.get(name.as_str()).into_iter().flatten().flat_map(|node| links(node)) {
            if let Some((known, _)) = nodes.get_key_value(below)
                && found.insert(known)
            {
                waiting.push(below.to_string());
            }
        }
    }
    found.remove(name);
    found
}

/// The targets that a node names.
fn links(node: &BuildNode) -> impl Iterator<Item = &str> {
    let contexts = node.variant.contexts.values().chain([&node.variant.context]);
    let built_on = contexts.filter_map(|context| match &context.value {
        Context::Target(target) => Some(target.as_str()),
        _ => None,
    });
    built_on.chain(node.needs.iter().map(|need| need.value.as_str()))
}

fn own_parts(nodes: &[&BuildNode], root: &Path) -> Parts {
    let mut parts = Parts::new();
    for node in nodes {
        parts.parts(node.platform.to_string(), node_parts(node, root));
    }
    parts
}

fn node_parts(node: &BuildNode, root: &Path) -> Parts {
    let variant = &*node.variant;
    let mut parts = Parts::new();
    parts.digest_of("Dockerfile", Digest::of(&node.dockerfile.source.text));
    parts.text("context", context_text(&variant.context.value, root));
    for (name, context) in &variant.contexts {
        parts.text(format!("contexts.{name}"), context_text(&context.value, root));
    }
    if let Some(stage) = &variant.stage {
        parts.text("stage", &stage.value);
    }
    for (name, value) in &variant.args {
        parts.digest_of(format!("args.{name}"), Digest::of(&value.value));
    }
    for (name, value) in node.labels.iter().filter(|(name, _)| name != CREATED) {
        parts.digest_of(format!("labels.{name}"), Digest::of(value));
    }
    add_surroundings(&mut parts, variant);
    for attestation in &node.attestations {
        parts.text(format!("attest.{}", attestation.kind.name()), attestation.words());
    }
    parts
}

/// What steps run in.
fn add_surroundings(parts: &mut Parts, variant: &Variant) {
    for id in variant.secrets.keys() {
        parts.text(format!("secret.{id}"), "");
    }
    for id in variant.ssh.keys() {
        parts.text(format!("ssh.{id}"), "");
    }
    if variant.network != Network::Default {
        parts.text("network", format!("{:?}", variant.network).to_lowercase());
    }
    for (name, address) in &variant.extra_hosts {
        parts.text(format!("extra-hosts.{name}"), address);
    }
    if let Some(epoch) = &variant.source_date_epoch {
        parts.text("source-date-epoch", &epoch.value);
    }
}

fn context_text(context: &Context, root: &Path) -> String {
    let below = |path: &Path| match path.strip_prefix(root) {
        Ok(rest) if rest.as_os_str().is_empty() => ".".to_string(),
        Ok(rest) => rest.display().to_string(),
        Err(_) => path.display().to_string(),
    };
    match context {
        Context::Directory(path) | Context::Archive(path) => below(path),
        Context::Image(reference) => reference.familiar(),
        Context::OciLayout { path, tag, digest } => {
            let tag = tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
            let digest = digest.map(|digest| format!("@{digest}")).unwrap_or_default();
            format!("oci-layout:{}{tag}{digest}", below(path))
        }
        Context::Target(target) => format!("target:{target}"),
        Context::Remote { text, .. } => text.clone(),
        Context::Stdin => "-".to_string(),
    }
}
