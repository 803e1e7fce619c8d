//! Rendered values of `context` and `contexts`: a directory, or where else files come from.

use std::path::PathBuf;

use super::keys;
use super::text::Text;
use crate::base::{Digest, Reference};
use crate::diag::Problem;
use crate::model::Context;

/// The main context, which is a directory.
pub fn parse_main(text: &Text, value: &str) -> Result<Context, Problem> {
    match parse_named(text, value)? {
        directory @ Context::Directory(_) => Ok(directory),
        Context::Image(_) | Context::OciLayout { .. } | Context::Target(_) => Err(Problem::input(
            "config::bad-context",
            format!("`context` must be a directory, not `{value}`"),
        )
        .at(text.place(), "not a directory")
        .help("give it a name in `contexts`, for FROM and COPY --from")),
    }
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
    if is_remote(value) {
        return Err(keys::not_yet("a context from git or http").at(text.place(), "not supported yet"));
    }
    match value.split_once("://") {
        Some((scheme, _)) => Err(bad(format!("there is no kind of context `{scheme}://`"))
            .help("a directory, `target:NAME`, `docker-image://REF` or `oci-layout://PATH`")),
        None if value.is_empty() => {
            Err(bad("the context is empty".to_string()).help("the directory of this file is `.`"))
        }
        None if value == "-" => {
            Err(keys::not_yet("a context from standard input").at(text.place(), "not supported yet"))
        }
        None => Ok(Context::Directory(text.resolve_path(value))),
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

fn is_remote(value: &str) -> bool {
    ["http://", "https://", "git://", "ssh://", "git@", "github.com/"]
        .iter()
        .any(|start| value.starts_with(start))
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
