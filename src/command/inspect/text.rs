//! An image on a terminal, one screen of it.

use std::collections::BTreeMap;

use super::Inspected;
use crate::base::Digest;
use crate::image::{Content, Image, Node, Tree};
use crate::oci::{Descriptor, History, Manifest, media_type};
use crate::ui::{bytes, count, pad, width};

/// What a statement of an attestation says what it is.
pub const PREDICATE: &str = "in-toto.io/predicate-type";
/// Columns without which whole digests are cut.
const WIDE: usize = 112;

pub(super) fn text(inspected: &Inspected, columns: Option<usize>) -> String {
    let shown = Shown { inspected, is_wide: columns.is_none_or(|columns| columns >= WIDE), columns };
    let root = &inspected.tree.root;
    let mut text = format!("{}\n", inspected.name);
    text.push_str(&fields(&shown.head()));
    let own = match &root.content {
        Content::Index(index, _) => &index.annotations,
        Content::Manifest(manifest) => &manifest.annotations,
        Content::Missing | Content::Other => &root.descriptor.annotations,
    };
    text.push_str(&section("Annotations", &pairs(own)));
    match root.manifest() {
        None => text.push_str(&shown.platforms()),
        Some(manifest) => text.push_str(&shown.image(manifest)),
    }
    text.push_str(&shown.referrers());
    text
}

struct Shown<'a> {
    inspected: &'a Inspected,
    is_wide: bool,
    columns: Option<usize>,
}

impl Shown<'_> {
    fn head(&self) -> Vec<(String, String)> {
        let root = &self.inspected.tree.root;
        let mut lines = vec![("digest".to_string(), root.descriptor.digest.to_string())];
        lines.push((
            "type".into(),
            format!("{}, {}", kind(&root.descriptor.media_type), bytes(root.descriptor.size)),
        ));
        match (root.manifest(), self.inspected.images.get(&root.descriptor.digest)) {
            (None, _) => lines.push(("content".into(), content(&self.inspected.tree))),
            (Some(_), Some(image)) => lines.extend(about(image)),
            (Some(manifest), None) => lines.push(("artifact".into(), clean(artifact_type(manifest)))),
        }
        lines
    }

    /// A table of what an index names.
    fn platforms(&self) -> String {
        let tree = &self.inspected.tree;
        let mut rows = vec![["PLATFORM", "SIZE", "LAYERS", "DIGEST", "ATTESTED"].map(str::to_string)];
        for node in tree.nodes() {
            match &node.content {
                Content::Index(..) => continue,
                Content::Other => rows.push(self.row(node, clean(&node.descriptor.media_type))),
                Content::Manifest(_) | Content::Missing if node.is_attestation() => {}
                Content::Manifest(_) | Content::Missing => {
                    let platform = node.descriptor.platform().map(|platform| platform.to_string());
                    let artifact = || node.descriptor.artifact_type.as_deref().map(clean);
                    rows.push(self.row(node, platform.or_else(artifact).unwrap_or_else(|| "–".into())));
                }
            }
        }
        format!("\n{}", table(&rows, &[1, 2]))
    }

    fn row(&self, node: &Node, name: String) -> [String; 5] {
        let (size, layers) = match node.manifest() {
            Some(manifest) => (bytes(manifest.content_size()), manifest.layers.len().to_string()),
            None if matches!(node.content, Content::Missing) => ("not there".into(), String::new()),
            None => (bytes(node.descriptor.size), String::new()),
        };
        let attestations = self.inspected.tree.attestations(&node.descriptor.digest);
        let attested: Vec<String> = attestations.into_iter().flat_map(predicates).collect();
        [name, size, layers, self.digest(&node.descriptor.digest), attested.join(", ")]
    }

    fn digest(&self, digest: &Digest) -> String {
        if self.is_wide { digest.to_string() } else { format!("sha256:{}", digest.short()) }
    }

    fn image(&self, manifest: &Manifest) -> String {
        let Some(image) = self.inspected.images.get(&self.inspected.tree.root.descriptor.digest) else {
            let rows: Vec<[String; 3]> =
                manifest.layers.iter().map(|layer| self.layer(Some(layer), None)).collect();
            return format!("\nContent\n{}", table(&rows, &[0]));
        };
        let mut text = section("Config", &config(image));
        text.push_str(&section("Labels", &pairs(&image.config.config.labels)));
        format!("{text}\nLayers and history\n{}", table(&self.history(image), &[0]))
    }

    /// Layers beside what made them; instructions without a layer have no size.
    fn history(&self, image: &Image) -> Vec<[String; 3]> {
        let made = image.config.history.iter().filter(|entry| !entry.empty_layer).count();
        let mut layers = image.manifest.layers.iter();
        if made != image.manifest.layers.len() {
            let unexplained = layers.map(|layer| self.layer(Some(layer), None));
            let told = image.config.history.iter().map(|entry| self.layer(None, Some(entry)));
            return unexplained.chain(told).collect();
        }
        let told = image.config.history.iter().map(|entry| {
            let layer = if entry.empty_layer { None } else { layers.next() };
            self.layer(layer, Some(entry))
        });
        told.collect()
    }

    fn layer(&self, layer: Option<&Descriptor>, entry: Option<&History>) -> [String; 3] {
        let made_by = entry.and_then(|entry| entry.created_by.as_deref().or(entry.comment.as_deref()));
        let made_by = clean(made_by.unwrap_or_default());
        let size = layer.map(|layer| bytes(layer.size)).unwrap_or_default();
        let digest = layer.map(|layer| format!("sha256:{}", layer.digest.short())).unwrap_or_default();
        // What came before is as wide as this at most.
        let room = self.columns.map_or(usize::MAX, |columns| columns.saturating_sub(38).max(20));
        let made_by = if width(&made_by) > room {
            format!("{}…", made_by.chars().take(room - 1).collect::<String>())
        } else {
            made_by
        };
        [size, digest, made_by]
    }

    fn referrers(&self) -> String {
        let mut rows = Vec::new();
        for (subject, found) in &self.inspected.referrers {
            for descriptor in found {
                let kind = clean(descriptor.artifact_type.as_deref().unwrap_or(&descriptor.media_type));
                let about = format!("about sha256:{}", subject.short());
                rows.push([bytes(descriptor.size), self.digest(&descriptor.digest), kind, about]);
            }
        }
        if rows.is_empty() { String::new() } else { format!("\nReferrers\n{}", table(&rows, &[0])) }
    }
}

/// The media type in words.
pub fn kind(media_type: &str) -> &str {
    match media_type {
        media_type::OCI_INDEX => "OCI index",
        media_type::DOCKER_INDEX => "Docker manifest list",
        media_type::OCI_MANIFEST => "OCI image",
        media_type::DOCKER_MANIFEST => "Docker image",
        other => other,
    }
}

fn artifact_type(manifest: &Manifest) -> &str {
    manifest.artifact_type.as_deref().unwrap_or(&manifest.config.media_type)
}

fn content(tree: &Tree) -> String {
    let mut layers: BTreeMap<Digest, u64> = BTreeMap::new();
    let mut total = 0;
    for manifest in tree.nodes().iter().filter_map(|node| node.manifest()) {
        total += manifest.content_size();
        layers.extend(manifest.layers.iter().chain([&manifest.config]).map(|blob| (blob.digest, blob.size)));
    }
    let distinct: u64 = layers.values().sum();
    let attestations = tree.nodes().iter().filter(|node| node.is_attestation()).count();
    let mut parts = vec![count(tree.platforms().len(), "platform")];
    if attestations > 0 {
        parts.push(count(attestations, "attestation"));
    }
    parts.push(match distinct == total {
        true => bytes(total),
        false => format!("{}, {} without what platforms share", bytes(total), bytes(distinct)),
    });
    parts.join(", ")
}

/// What the statements of an attestation are about, in short.
fn predicates(node: &Node) -> Vec<String> {
    let statements = node.manifest().map(|manifest| manifest.layers.as_slice()).unwrap_or_default();
    let named = statements.iter().filter_map(|statement| statement.annotations.get(PREDICATE));
    named
        .map(|predicate| match predicate.as_str() {
            known if known.starts_with("https://slsa.dev/provenance") => "provenance".to_string(),
            known if known.starts_with("https://spdx.dev/Document") => "sbom".to_string(),
            known if known.starts_with("https://cyclonedx.org/bom") => "sbom".to_string(),
            other => clean(other),
        })
        .collect()
}

fn about(image: &Image) -> Vec<(String, String)> {
    let mut lines = vec![("platform".to_string(), image.config.platform().to_string())];
    let layers = count(image.manifest.layers.len(), "layer");
    lines.push(("content".into(), format!("{layers}, {}", bytes(image.manifest.content_size()))));
    lines.extend(image.config.created.as_ref().map(|created| ("created".into(), clean(created))));
    lines.extend(image.config.author.as_ref().map(|author| ("author".into(), clean(author))));
    lines
}

fn config(image: &Image) -> Vec<(String, String)> {
    let config = &image.config.config;
    let words = |words: &Option<Vec<String>>| {
        words.as_ref().map(|words| serde_json::to_string(words).expect("lists of texts are JSON"))
    };
    let keys = |keys: &BTreeMap<String, serde_json::Value>| {
        (!keys.is_empty()).then(|| keys.keys().cloned().collect::<Vec<_>>().join(" "))
    };
    let filled = |text: &String| (!text.is_empty()).then(|| text.clone());
    let lines = [
        ("entrypoint", words(&config.entrypoint)),
        ("command", words(&config.cmd)),
        ("shell", words(&config.shell)),
        ("user", filled(&config.user)),
        ("folder", filled(&config.working_dir)),
        ("ports", keys(&config.exposed_ports)),
        ("volumes", keys(&config.volumes)),
        ("stop signal", config.stop_signal.clone()),
        ("healthcheck", config.healthcheck.as_ref().map(ToString::to_string)),
        ("on build", words(&config.on_build)),
    ];
    let lines = lines.into_iter().filter_map(|(name, value)| Some((name.to_string(), clean(&value?))));
    lines.chain(config.env.iter().map(|variable| ("env".to_string(), clean(variable)))).collect()
}

fn pairs(map: &BTreeMap<String, String>) -> Vec<(String, String)> {
    map.iter().map(|(key, value)| (clean(key), clean(value))).collect()
}

fn section(title: &str, lines: &[(String, String)]) -> String {
    if lines.is_empty() { String::new() } else { format!("\n{title}\n{}", fields(lines)) }
}

/// Names and values; a name that is the one above is not repeated.
fn fields(lines: &[(String, String)]) -> String {
    let widest = lines.iter().map(|(name, _)| width(name)).max().unwrap_or_default();
    let mut last = "";
    let mut text = String::new();
    for (name, value) in lines {
        let shown = if name == last { "" } else { name };
        text.push_str(&format!("  {}  {value}\n", pad(shown, widest)));
        last = name;
    }
    text
}

/// Columns, those of `right` to the right.
pub fn table<const N: usize>(rows: &[[String; N]], right: &[usize]) -> String {
    let widest = |column: usize| rows.iter().map(|row| width(&row[column])).max().unwrap_or_default();
    let widths: Vec<usize> = (0..N).map(widest).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| match right.contains(&column) {
            true => format!("{}{cell}", " ".repeat(widths[column] - width(cell))),
            false => pad(cell, widths[column]),
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(&format!("  {}\n", line.trim_end()));
    }
    text
}

/// What others wrote, on one line, without what would act on a terminal.
pub fn clean(text: &str) -> String {
    let spaced = text.split(|c: char| c.is_whitespace()).filter(|word| !word.is_empty());
    spaced.collect::<Vec<_>>().join(" ").chars().filter(|c| !c.is_control()).collect()
}
