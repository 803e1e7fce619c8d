//! The resolved project in the shape of `docker buildx bake --print`.
//!
//! Bake's keys keep bake's meaning: a target's values are those of its first platform. What bake has no
//! word for are extra keys: `images`, `needs`, `emulate`, and `on` with what differs on further platforms,
//! where `null` means that the value is not there. Paths below the root are relative to it. `config::resolved` reads
//! it again.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::words_json;
use crate::base::Platform;
use crate::config::resolved;
use crate::diag::Located;
use crate::model::{
    Annotation, AnnotationLevel, Call, Context, Dest, Dockerfile, Emulate, ExportOptions, Group,
    LayerCompression, Network, Output, Project, SecretSource, SshSource, Target, Variant,
};

type Object = Map<String, Value>;

/// All groups and targets of the project; the same project gives the same bytes.
pub fn bake_json(project: &Project) -> Value {
    let names: Vec<&str> = project.targets.keys().map(String::as_str).collect();
    selected_json(project, &names, &[])
}

/// The same as `selected_json`, so that `mab` and bake can read it again: with a mark that is a comment to bake, and
/// with text escaped that HCL takes for a template. What was `asked` for by name is what is baked by default, as bake
/// prints it.
pub fn document(project: &Project, names: &[&str], asked: &[&str]) -> Value {
    let mut document = Object::new();
    document.insert(resolved::MARK.to_string(), json!({ "mab": resolved::VERSION }));
    // What `--platform` leaves nothing of would be built for the host's when it is read.
    let is_built = |name: &&str| project.targets.get(*name).is_some_and(|target| !target.variants.is_empty());
    let names: Vec<&str> = names.iter().copied().filter(is_built).collect();
    document.extend(words_json::of_project(project));
    let asked: Vec<&str> = asked.iter().copied().filter(is_built).collect();
    if let Value::Object(members) = escaped(selected_json(project, &names, &asked)) {
        document.extend(members);
    }
    Value::Object(document)
}

fn escaped(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(resolved::escaped(&text)),
        Value::Array(items) => Value::Array(items.into_iter().map(escaped).collect()),
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| (resolved::escaped(&name), escaped(value)));
            Value::Object(members.collect())
        }
        other => other,
    }
}

/// The targets of these names, and the groups that have some of them; those `asked` for are the default.
fn selected_json(project: &Project, names: &[&str], asked: &[&str]) -> Value {
    let groups = groups_with(project, names);
    let groups = groups.into_iter().map(|(name, group)| (name.clone(), group_json(group)));
    let targets = project.targets.iter().filter(|(name, _)| names.contains(&name.as_str()));
    let targets = targets.map(|(name, target)| (name.clone(), target_json(project, target)));
    let (mut groups, targets): (Object, Object) = (groups.collect(), targets.collect());
    if !asked.is_empty() && !names.contains(&"default") {
        groups.insert("default".to_string(), json!({ "targets": asked }));
    }
    let mut document = Object::new();
    if !groups.is_empty() {
        document.insert("group".to_string(), Value::Object(groups));
    }
    document.insert("target".to_string(), Value::Object(targets));
    let caches = words_json::caches(project);
    if !caches.is_empty() {
        document.insert("cache".to_string(), Value::Object(caches));
    }
    let builders = words_json::builders(project);
    if !builders.is_empty() {
        document.insert("builder".to_string(), Value::Object(builders));
    }
    Value::Object(document)
}

/// Groups all of whose targets, also through inner groups, are among `names`. Without those whose delivery keys
/// are not part of what the targets are: as plain names they would be something else.
fn groups_with<'a>(project: &'a Project, names: &[&str]) -> Vec<(&'a String, &'a Group)> {
    fn covered(project: &Project, group: &Group, names: &[&str], depth: usize) -> bool {
        group.targets.iter().all(|member| match project.groups.get(&member.value) {
            Some(inner) => !inner.is_withheld && depth > 0 && covered(project, inner, names, depth - 1),
            None => names.contains(&member.value.as_str()),
        })
    }
    let groups = project.groups.iter().filter(|(_, group)| !group.is_withheld);
    groups.filter(|(_, group)| covered(project, group, names, project.groups.len())).collect()
}

fn group_json(group: &Group) -> Value {
    let mut object = Object::new();
    put(&mut object, "description", group.description.clone());
    let targets: Vec<&str> = group.targets.iter().map(|member| member.value.as_str()).collect();
    put(&mut object, "targets", Some(targets));
    put_list(&mut object, "require", group.require.iter());
    Value::Object(object)
}

/// What a target is for each of its platforms, by key.
pub fn values(project: &Project, target: &Target) -> Vec<(Platform, Map<String, Value>)> {
    let of_all = shared_json(project, target);
    let of = |variant: &Variant| {
        let mut object = variant_json(project, variant);
        object.extend(of_all.clone());
        put(&mut object, "push", target.delivery.push);
        put(&mut object, "load", target.delivery.load);
        // What they come to; a printed file has it among its tags.
        put(&mut object, "tag-rules", target.tagging.as_ref().map(|tagging| &tagging.tags));
        (variant.platform.value.clone(), object)
    };
    target.variants.iter().map(|variant| of(variant)).collect()
}

/// One target.
pub fn target_json(project: &Project, target: &Target) -> Value {
    let mut object = Object::new();
    put(&mut object, "description", target.description.clone());
    let first = target.variants.first().map(|variant| variant_json(project, variant)).unwrap_or_default();
    object.extend(first.clone());
    object.extend(shared_json(project, target));
    let further = target.variants.iter().skip(1).filter_map(|variant| {
        let differs = difference(&first, &variant_json(project, variant));
        (!differs.is_empty()).then(|| (variant.platform.value.to_string(), Value::Object(differs)))
    });
    put_map(&mut object, "on", further);
    Value::Object(object)
}

/// What is the same for all platforms.
fn shared_json(project: &Project, target: &Target) -> Object {
    let mut object = Object::new();
    put_list(&mut object, "annotations", target.annotations.iter().map(annotation_text));
    put_map(&mut object, "labels", target.labels.iter().map(|(key, value)| (key.clone(), json!(value))));
    put_list(&mut object, "tags", target.tags.iter().map(|tag| tag.value.familiar()));
    put_list(&mut object, "platforms", target.variants.iter().map(|v| v.platform.value.to_string()));
    put_list(&mut object, "output", outputs(target).iter().map(|output| output_json(project, &output.value)));
    put_list(&mut object, "images", target.images.iter().map(|image| image.value.name()));
    put(&mut object, "call", (target.call != Call::Build).then(|| target.call.name()));
    put_list(&mut object, "needs", target.needs.iter().map(|need| need.value.as_str()));
    object.extend(words_json::of_target(project, target));
    object
}

/// What is written, with what groups and `--set` say about it.
fn outputs(target: &Target) -> Vec<Located<Output>> {
    let mut outputs = target.outputs.clone();
    target.delivery.apply(&mut outputs);
    outputs
}

fn variant_json(project: &Project, variant: &Variant) -> Object {
    let mut object = Object::new();
    put(&mut object, "context", Some(context_text(project, &variant.context.value)));
    let contexts = variant.contexts.iter();
    let contexts =
        contexts.map(|(name, context)| (name.clone(), json!(context_text(project, &context.value))));
    put_map(&mut object, "contexts", contexts);
    match &variant.dockerfile {
        Dockerfile::File(path) => put(&mut object, "dockerfile", Some(relative(project, &path.value))),
        Dockerfile::Inline(text) => put(&mut object, "dockerfile-inline", Some(&text.value)),
        Dockerfile::Stdin => put(&mut object, "dockerfile", Some("-")),
    }
    put_map(&mut object, "args", variant.args.iter().map(|(name, arg)| (name.clone(), json!(arg.value))));
    put(&mut object, "target", variant.stage.as_ref().map(|stage| &stage.value));
    put(&mut object, "no-cache", variant.no_cache.then_some(true));
    put(&mut object, "pull", variant.pull.then_some(true));
    put(&mut object, "network", network_text(variant.network));
    put(&mut object, "shm-size", variant.shm_size.map(|bytes| bytes.to_string()));
    put_map(&mut object, "extra-hosts", variant.extra_hosts.iter().map(|(k, v)| (k.clone(), json!(v))));
    let secrets = variant.secrets.iter();
    put_list(&mut object, "secret", secrets.map(|(id, source)| secret_json(project, id, &source.value)));
    let agents = variant.ssh.iter();
    put_list(&mut object, "ssh", agents.map(|(id, source)| ssh_json(project, id, &source.value)));
    put_list(&mut object, "entitlements", variant.entitlements.iter().map(|one| one.value.name()));
    put_list(&mut object, "ulimits", variant.ulimits.iter().map(ToString::to_string));
    put_list(&mut object, "no-cache-filter", variant.no_cache_filter.iter());
    put(&mut object, "emulate", emulate_text(variant.emulate));
    object.extend(words_json::of_variant(variant));
    object
}

/// What has to change in `base` to become `other`; tables are compared entry by entry.
fn difference(base: &Object, other: &Object) -> Object {
    let mut changed = Object::new();
    for key in base.keys().chain(other.keys().filter(|key| !base.contains_key(*key))) {
        let value = match (base.get(key), other.get(key)) {
            (before, after) if before == after => continue,
            (Some(Value::Object(before)), Some(Value::Object(after))) => {
                Value::Object(difference(before, after))
            }
            (_, after) => after.cloned().unwrap_or(Value::Null),
        };
        changed.insert(key.clone(), value);
    }
    changed
}

fn put<T: serde::Serialize>(object: &mut Object, key: &str, value: Option<T>) {
    if let Some(value) = value {
        object.insert(key.to_string(), json!(value));
    }
}

fn put_list<T: serde::Serialize>(object: &mut Object, key: &str, values: impl Iterator<Item = T>) {
    let values: Vec<T> = values.collect();
    put(object, key, (!values.is_empty()).then_some(values));
}

fn put_map(object: &mut Object, key: &str, entries: impl Iterator<Item = (String, Value)>) {
    let entries: Object = entries.collect();
    put(object, key, (!entries.is_empty()).then_some(entries));
}

fn relative(project: &Project, path: &Path) -> String {
    match path.strip_prefix(&project.root) {
        Ok(rest) if rest.as_os_str().is_empty() => ".".to_string(),
        Ok(rest) => rest.display().to_string(),
        Err(_) => path.display().to_string(),
    }
}

fn context_text(project: &Project, context: &Context) -> String {
    match context {
        Context::Directory(path) => relative(project, path),
        Context::Image(reference) => format!("docker-image://{reference}"),
        Context::OciLayout { path, tag, digest } => {
            let tag = tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
            let digest = digest.map(|digest| format!("@{digest}")).unwrap_or_default();
            format!("oci-layout://{}{tag}{digest}", relative(project, path))
        }
        Context::Target(name) => format!("target:{name}"),
        Context::Remote { text, .. } => text.clone(),
        Context::Archive(path) => relative(project, path),
        Context::Stdin => "-".to_string(),
    }
}

fn secret_json(project: &Project, id: &str, source: &SecretSource) -> Value {
    match source {
        SecretSource::Env(name) => json!({ "id": id, "env": name }),
        SecretSource::File(path) => json!({ "id": id, "src": relative(project, path) }),
        // Printed files declare no variables: whoever reads this one takes the value from where the variable had it.
        SecretSource::Variable { name, env, .. } => {
            json!({ "id": id, "env": env.clone().unwrap_or_else(|| format!("MAB_VAR_{name}")) })
        }
        SecretSource::ById(_) => json!({ "id": id }),
    }
}

fn ssh_json(project: &Project, id: &str, source: &SshSource) -> Value {
    match source {
        SshSource::Environment => json!({ "id": id }),
        SshSource::Paths(paths) => {
            let paths: Vec<String> = paths.iter().map(|path| relative(project, path)).collect();
            json!({ "id": id, "paths": paths })
        }
    }
}

/// `None` for the default, which bake does not print either.
fn network_text(network: Network) -> Option<&'static str> {
    match network {
        Network::Default => None,
        Network::None => Some("none"),
        Network::Host => Some("host"),
    }
}

fn emulate_text(emulate: Emulate) -> Option<&'static str> {
    match emulate {
        Emulate::Allow => Some("allow"),
        Emulate::Warn => None,
        Emulate::Deny => Some("deny"),
    }
}

pub(super) fn annotation_text(annotation: &Annotation) -> String {
    let (level, platform) = (level_text(annotation.level), platform_text(annotation));
    format!("{level}{platform}:{}={}", annotation.key, annotation.value)
}

fn level_text(level: AnnotationLevel) -> &'static str {
    match level {
        AnnotationLevel::Manifest => "manifest",
        AnnotationLevel::Index => "index",
        AnnotationLevel::ManifestDescriptor => "manifest-descriptor",
        AnnotationLevel::IndexDescriptor => "index-descriptor",
    }
}

fn platform_text(annotation: &Annotation) -> String {
    annotation.platform.as_ref().map(|platform| format!("[{platform}]")).unwrap_or_default()
}

fn output_json(project: &Project, output: &Output) -> BTreeMap<String, String> {
    let mut entries = BTreeMap::new();
    let dest = |dest: &Dest| match dest {
        Dest::Path(path) => relative(project, path),
        Dest::Stdout => "-".to_string(),
    };
    let mut split = None;
    let kind = match output {
        Output::Image { names, push, options } => {
            let names: Vec<String> = names.iter().map(|name| name.familiar()).collect();
            if !names.is_empty() {
                entries.insert("name".to_string(), names.join(","));
            }
            if *push {
                entries.insert("push".to_string(), "true".to_string());
            }
            entries.extend(export_entries(options, true));
            "image"
        }
        Output::Oci { dest: path, tar, options } => {
            entries.insert("dest".to_string(), dest(path));
            if !tar {
                entries.insert("tar".to_string(), "false".to_string());
            }
            entries.extend(export_entries(options, true));
            "oci"
        }
        Output::Docker { dest: path, options } => {
            entries.extend(path.as_ref().map(|path| ("dest".to_string(), dest(path))));
            entries.extend(export_entries(options, false));
            "docker"
        }
        Output::Local { dest: path, platform_split } => {
            entries.insert("dest".to_string(), relative(project, path));
            split = *platform_split;
            "local"
        }
        Output::Tar { dest: path, platform_split } => {
            entries.insert("dest".to_string(), dest(path));
            split = *platform_split;
            "tar"
        }
        Output::CacheOnly => "cacheonly",
    };
    entries.extend(split.map(|split| ("platform-split".to_string(), split.to_string())));
    entries.insert("type".to_string(), kind.to_string());
    entries
}

/// What differs from the defaults.
fn export_entries(options: &ExportOptions, oci_by_default: bool) -> Vec<(String, String)> {
    let (kind, level) = match options.compression {
        LayerCompression::Uncompressed => ("uncompressed", None),
        LayerCompression::Gzip { level } => ("gzip", level.map(i64::from)),
        LayerCompression::Estargz { level } => ("estargz", level.map(i64::from)),
        LayerCompression::Zstd { level } => ("zstd", level.map(i64::from)),
    };
    let is_default = options.compression == LayerCompression::Gzip { level: None };
    let oci = options.oci_media_types;
    let entries = [
        ("oci-mediatypes", (oci != oci_by_default).then(|| oci.to_string())),
        ("compression", (!is_default).then(|| kind.to_string())),
        ("compression-level", level.map(|level| level.to_string())),
        ("force-compression", options.force_compression.then(|| "true".to_string())),
        ("rewrite-timestamp", options.rewrite_timestamp.map(|rewrite| rewrite.to_string())),
        ("source-date-epoch", options.source_date_epoch.map(|epoch| epoch.to_string())),
        ("push-by-digest", options.push_by_digest.then(|| "true".to_string())),
    ];
    let said = entries.into_iter().filter_map(|(key, value)| Some((key.to_string(), value?)));
    let annotations = options.annotations.iter().map(|annotation| {
        let (level, platform) = (level_text(annotation.level), platform_text(annotation));
        (format!("annotation-{level}{platform}.{}", annotation.key), annotation.value.clone())
    });
    said.chain(annotations).collect()
}
