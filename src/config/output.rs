//! Outputs: bake's `type=…,key=value`, a directory, or a table.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::annotation;
use super::entries::{EntryDeclaration, Field, Fields};
use super::keys;
use super::text::{File, Text};
use crate::base::Reference;
use crate::diag::{Located, Place, Problem, Source};
use crate::model::{Annotation, Dest, ExportOptions, LayerCompression, Output};

const TYPES: [&str; 7] = ["image", "registry", "oci", "docker", "local", "tar", "cacheonly"];

/// Keys of BuildKit's exporters that are not here yet.
const LATER: [&str; 11] = [
    "attestation-inline",
    "attestation-prefix",
    "context",
    "dangling-name-prefix",
    "mode",
    "oci-artifact",
    "platform",
    "prefer-nondist-layers",
    "registry.insecure",
    "store",
    "unpack",
];

const COMPRESSIONS: [&str; 4] = ["gzip", "zstd", "estargz", "uncompressed"];

const KNOWN: [&str; 14] = [
    "type",
    "dest",
    "name",
    "push",
    "tar",
    "platform-split",
    "oci-mediatypes",
    "compression",
    "compression-level",
    "force-compression",
    "rewrite-timestamp",
    "source-date-epoch",
    "push-by-digest",
    "name-canonical",
];

/// The output with its templates rendered by `render`; `None` when it comes out empty.
pub fn resolve(
    declared: &EntryDeclaration,
    render: impl Fn(&Text) -> Result<String, Problem>,
) -> Result<Option<Located<Output>>, Vec<Problem>> {
    // Bake: a bare word is the directory of a local output, and `-` a tar to standard output.
    let bare = |line: &str| {
        let kind = if line == "-" { "tar" } else { "local" };
        Some(vec![("type", kind.to_string()), ("dest", line.to_string())])
    };
    if let EntryDeclaration::Table { place, entries } = declared
        && entries.is_empty()
    {
        return Err(vec![missing_type(place.clone())]);
    }
    declared.fields("config::bad-output", render, bare)?.map(from_fields).transpose()
}

/// An output given on the command line; its paths are relative to `directory`.
pub fn parse(line: &str, directory: &Path) -> Result<Output, Vec<Problem>> {
    let source = Source::new("--output", line);
    let file = Arc::new(File { source, directory: directory.to_path_buf(), is_literal: false });
    let text = Text::new(line, &file, 0..line.len());
    let resolved = resolve(&EntryDeclaration::Line(text.clone()), |text| Ok(text.value.clone()))?;
    resolved.map(|output| output.value).ok_or_else(|| vec![missing_type(text.place())])
}

fn missing_type(place: Place) -> Problem {
    Problem::input("config::bad-output", "the output has no `type`")
        .at(place, "no `type`")
        .help(format!("the types are {}", keys::quoted_list(TYPES)))
}

fn from_fields(mut fields: Fields<'_>) -> Result<Located<Output>, Vec<Problem>> {
    let Some(kind) = fields.take("type") else { return Err(vec![missing_type(fields.place)]) };
    fields.title = format!("an output of type `{}`", kind.value);
    let output = match kind.value.as_str() {
        "image" => fields.image(false),
        "registry" => fields.image(true),
        "oci" => fields.oci(),
        "docker" => fields.docker(),
        "local" => fields.local(),
        "tar" => fields.tar(),
        "cacheonly" => Some(Output::CacheOnly),
        other => {
            let help = keys::suggestion(other, TYPES)
                .unwrap_or_else(|| format!("the types are {}", keys::quoted_list(TYPES)));
            let problem = Problem::input("config::bad-output", format!("there is no output type `{other}`"));
            return Err(vec![problem.at(kind.value_place, "not a type").help(help)]);
        }
    };
    fields.finish(output, &KNOWN, &LATER)
}

impl Fields<'_> {
    fn image(&mut self, pushed: bool) -> Option<Output> {
        let by_digest = self.boolean("push-by-digest").unwrap_or(false);
        let names = self.names(by_digest);
        let push = self.boolean("push").unwrap_or(pushed);
        let mut options = self.options(true);
        options.push_by_digest = by_digest;
        // Adds a name in an image store, and an image that is only pushed has none.
        self.boolean("name-canonical");
        Some(Output::Image { names, push, options })
    }

    fn oci(&mut self) -> Option<Output> {
        let tar = self.boolean("tar").unwrap_or(true);
        let options = self.options(true);
        let dest = self.dest(true)?;
        if !tar && dest == Dest::Stdout {
            let problem =
                Problem::input("config::bad-output", "a directory cannot be written to standard output");
            self.problems.push(problem.at(self.place.clone(), "`tar` is false and `dest` is `-`"));
        }
        Some(Output::Oci { dest, tar, options })
    }

    fn docker(&mut self) -> Option<Output> {
        let options = self.options(false);
        Some(Output::Docker { dest: self.dest(false), options })
    }

    fn local(&mut self) -> Option<Output> {
        let platform_split = self.boolean("platform-split");
        match self.dest(true)? {
            Dest::Path(dest) => Some(Output::Local { dest, platform_split }),
            Dest::Stdout => {
                let problem =
                    Problem::input("config::bad-output", "a directory cannot be written to standard output");
                self.problems.push(problem.at(self.place.clone(), "`dest` is `-`").help("`type=tar` can"));
                None
            }
        }
    }

    fn tar(&mut self) -> Option<Output> {
        let platform_split = self.boolean("platform-split");
        Some(Output::Tar { dest: self.dest(true)?, platform_split })
    }

    /// Docker archives have Docker's media types unless told otherwise.
    fn options(&mut self, oci_media_types: bool) -> ExportOptions {
        let options = ExportOptions {
            oci_media_types: self.boolean("oci-mediatypes").unwrap_or(oci_media_types),
            compression: self.compression(),
            force_compression: self.boolean("force-compression").unwrap_or(false),
            rewrite_timestamp: self.boolean("rewrite-timestamp"),
            source_date_epoch: self.number("source-date-epoch", 0, i64::MAX),
            annotations: self.annotations(),
            push_by_digest: false,
        };
        if matches!(options.compression, LayerCompression::Estargz { .. }) && !options.oci_media_types {
            let problem = Problem::input("config::bad-output", "`estargz` needs OCI media types")
                .at(self.place.clone(), "Docker's manifest has no place for what lazy pullers read");
            self.problems.push(problem.help("say `oci-mediatypes=true`, or `compression=gzip`"));
        }
        options
    }

    /// Levels are those of BuildKit: 0 to 9 for gzip, 0 to 22 for zstd, where 0 is the default.
    fn compression(&mut self) -> LayerCompression {
        let kind = self.take("compression");
        let word = kind.as_ref().map_or("gzip", |entry| entry.value.as_str()).to_string();
        let gzip = |level: Option<i64>| level.and_then(|level| u32::try_from(level).ok());
        match word.as_str() {
            "gzip" => LayerCompression::Gzip { level: gzip(self.number("compression-level", 0, 9)) },
            "estargz" => LayerCompression::Estargz { level: gzip(self.number("compression-level", 0, 9)) },
            "zstd" => {
                let level = self.number("compression-level", 0, 22).filter(|level| *level > 0);
                LayerCompression::Zstd { level: level.and_then(|level| i32::try_from(level).ok()) }
            }
            "uncompressed" => {
                if let Some(entry) = self.take("compression-level") {
                    let message = "an uncompressed image has no `compression-level`".to_string();
                    let problem = Problem::input("config::bad-output", message);
                    self.problems.push(problem.at(entry.key_place, "of nothing"));
                }
                LayerCompression::Uncompressed
            }
            other => {
                let place = kind.map_or_else(|| self.place.clone(), |entry| entry.value_place);
                let problem =
                    Problem::input("config::bad-output", format!("there is no compression `{other}`"))
                        .at(place, "not a compression");
                let help = keys::suggestion(other, COMPRESSIONS)
                    .unwrap_or_else(|| format!("those are {}", keys::quoted_list(COMPRESSIONS)));
                self.problems.push(problem.help(help));
                self.take("compression-level");
                LayerCompression::Uncompressed
            }
        }
    }

    /// `annotation.KEY`, `annotation-LEVEL.KEY` and `annotation-LEVEL[PLATFORM].KEY`.
    fn annotations(&mut self) -> Vec<Annotation> {
        let is_annotation = |entry: &Field| annotation_key(&entry.key).is_some();
        let (found, rest) = std::mem::take(&mut self.rest).into_iter().partition(is_annotation);
        self.rest = rest;
        let mut annotations = Vec::new();
        for entry in found as Vec<Field> {
            let Some((level, key)) = annotation_key(&entry.key) else { continue };
            match annotation::parse(&format!("{level}:{key}={}", entry.value)) {
                Ok(parsed) => annotations.extend(parsed),
                Err(message) => {
                    let problem = Problem::input("config::bad-annotation", message);
                    self.problems.push(problem.at(entry.key_place, "not an annotation"));
                }
            }
        }
        annotations
    }

    fn dest(&mut self, needed: bool) -> Option<Dest> {
        let dest = self.take("dest").filter(|entry| !entry.value.is_empty());
        match dest {
            Some(entry) if entry.value == "-" => Some(Dest::Stdout),
            Some(entry) => {
                let path: PathBuf = self.text.resolve_path(&entry.value);
                Some(Dest::Path(path))
            }
            None if needed => {
                self.problems.push(
                    Problem::input("config::bad-output", format!("{} needs `dest`", self.title))
                        .at(self.place.clone(), "no `dest`"),
                );
                None
            }
            None => None,
        }
    }

    /// Names with tags; of repositories alone for what is pushed by digest.
    fn names(&mut self, by_digest: bool) -> Vec<Reference> {
        let Some(entry) = self.take("name") else { return Vec::new() };
        let mut names = Vec::new();
        for name in entry.value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name.parse::<Reference>() {
                Ok(reference) if by_digest && has_version(name, &reference) => {
                    let message =
                        format!("`{name}` is to be pushed by digest and names more than a repository");
                    let problem = Problem::input("config::bad-output", message)
                        .at(entry.value_place.clone(), "has a tag or a digest");
                    self.problems.push(problem.help("take the tag away, or `push-by-digest`"));
                }
                Ok(reference) if by_digest => names.push(reference.without_tag()),
                Ok(reference) => names.push(reference),
                Err(error) => {
                    let problem = Problem::input("config::bad-reference", error.to_string());
                    self.problems.push(problem.at(entry.value_place.clone(), "not an image reference"));
                }
            }
        }
        names
    }
}

/// Whether a name as written has a tag or a digest.
fn has_version(name: &str, reference: &Reference) -> bool {
    reference.digest().is_some() || reference.tag().is_some_and(|tag| name.ends_with(&format!(":{tag}")))
}

/// Level with platform, and key, of an annotation's entry.
fn annotation_key(key: &str) -> Option<(String, &str)> {
    let rest = key.strip_prefix("annotation")?;
    let end = if rest.starts_with('[') || rest.starts_with('-') {
        let from = rest.find(']').unwrap_or(0);
        from + rest[from..].find('.')?
    } else {
        rest.starts_with('.').then_some(0)?
    };
    let level = match rest[..end].strip_prefix('-') {
        Some(level) => level.to_string(),
        None => format!("manifest{}", &rest[..end]),
    };
    Some((level, &rest[end + 1..]))
}
