//! Rendered values of `context` and `contexts`: a directory, or where else files come from.

use std::path::PathBuf;

use super::text::Text;
use crate::base::percent::redacted;
use crate::base::{Digest, GitReference, HttpUrl, Reference, RemoteSource};
use crate::diag::Problem;
use crate::model::Context;

/// How the names of tar archives end.
const ARCHIVES: [&str; 9] =
    [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst"];

/// The main context, which is files.
pub fn parse_main(text: &Text, value: &str) -> Result<Context, Problem> {
    let context = parse_named(text, value)?;
    if context.is_files() {
        return Ok(context);
    }
    Err(Problem::input("config::bad-context", format!("`context` must be files, not `{value}`"))
        .at(text.place(), "not files")
        .help("give it a name in `contexts`, for FROM and COPY --from"))
}

/// A named context.
pub fn parse_named(text: &Text, value: &str) -> Result<Context, Problem> {
    let bad = |message: String| Problem::input("config::bad-context", message).at(text.place(), "here");
    if let Some(name) = value.strip_prefix("target:") {
        return Ok(Context::Target(name.to_string()));
    }
    if let Some(reference) = value.strip_prefix("docker-image://") {
        return reference.parse().map(Context::Image).map_err(|error| {
            let error: crate::base::reference::ParseReferenceError = error;
            bad(error.to_string())
        });
    }
    if let Some(layout) = value.strip_prefix("oci-layout://") {
        return parse_layout(text, layout).map_err(bad);
    }
    if let Some(source) = parse_remote(value).map_err(bad)? {
        return Ok(Context::Remote { source, text: redacted(value) });
    }
    match value.split_once("://") {
        Some((scheme, _)) => Err(bad(format!("there is no kind of context `{scheme}://`")).help(
            "a directory, an archive, a URL, `target:NAME`, `docker-image://REF` or `oci-layout://PATH`",
        )),
        None if value.is_empty() => {
            Err(bad("the context is empty".to_string()).help("the directory of this file is `.`"))
        }
        None if value == "-" => Ok(Context::Stdin),
        None if ARCHIVES.iter().any(|end| value.ends_with(end)) => {
            Ok(Context::Archive(text.resolve_path(value)))
        }
        None => Ok(Context::Directory(text.resolve_path(value))),
    }
}

/// A repository or a file over HTTP; nothing for what is on this machine.
fn parse_remote(value: &str) -> Result<Option<RemoteSource>, String> {
    match GitReference::parse(value) {
        Some(Ok(git)) => Ok(Some(RemoteSource::Git(git))),
        Some(Err(error)) => Err(format!("`{}`: {error}", redacted(value))),
        None if HttpUrl::is_meant_by(value) => match HttpUrl::parse(value) {
            Ok(url) => Ok(Some(RemoteSource::Http { url, checksum: None })),
            Err(error) => Err(error.to_string()),
        },
        None => Ok(None),
    }
}

/// `path[:tag][@digest]`
fn parse_layout(text: &Text, layout: &str) -> Result<Context, String> {
    let (rest, digest) = match layout.rsplit_once('@') {
        Some((rest, digest)) => {
            let digest = digest.parse::<Digest>().map_err(|error| error.to_string())?;
            (rest, Some(digest))
        }
        None => (layout, None),
    };
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_string())),
        _ => (rest, None),
    };
    if path.is_empty() {
        return Err("`oci-layout://` needs the path of a directory".to_string());
    }
    if let Some(tag) = tag.as_deref().filter(|tag| !is_tag(tag)) {
        return Err(format!("`{tag}` is not a tag"));
    }
    let path: PathBuf = text.resolve_path(path);
    Ok(Context::OciLayout { path, tag, digest })
}

/// Whether `text` can be a tag of an image, after the distribution specification.
pub fn is_tag(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    first && text.len() <= 128 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// A repository without tag or digest.
pub fn parse_repository(value: &str) -> Result<Reference, String> {
    let name = value.rsplit('/').next().unwrap_or(value);
    if name.contains([':', '@']) {
        return Err(format!("`{value}` has a tag or digest; an image is a repository without one"));
    }
    value.parse().map_err(|error: crate::base::reference::ParseReferenceError| error.to_string())
}
