//! `mab ls`: the tags of a repository, a layout or an archive.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use semver::Version;
use serde_json::{Value, json};

use super::Failure;
use super::inspect::{failed, text};
use super::plan::Document;
use super::session::{self, SessionOptions};
use crate::base::{Digest, Platform};
use crate::facts::Facts;
use crate::image::{ImageError, ImageName, Source, Tree};
use crate::publish::journal;
use crate::ui::bytes;

/// How many tags are looked at side by side.
const AT_ONCE: usize = 8;

#[derive(Clone, Debug)]
pub struct LsOptions {
    pub repository: String,
    /// With what each tag leads to.
    pub is_long: bool,
    /// With tags that tools keep.
    pub is_all: bool,
    pub is_json: bool,
}

/// What a tag leads to.
struct Look {
    digest: Digest,
    content_size: u64,
    platforms: Vec<Platform>,
}

pub async fn ls(options: &LsOptions, session: &SessionOptions, facts: &Facts) -> Result<Document, Failure> {
    let name: ImageName = options.repository.parse().map_err(failed)?;
    let means = session::means(session, facts).map_err(|problem| vec![*problem])?;
    let source = Source::open(&name, &means).await.map_err(failed)?;
    let mut tags = source.tags().await.map_err(failed)?;
    if !options.is_all {
        tags.retain(|tag| !is_tools_own(tag));
    }
    tags.sort_by_cached_key(|tag| (version(tag), tag.clone()));
    tags.dedup();
    if !options.is_long {
        let text = match options.is_json {
            true => format!("{:#}\n", tags.iter().map(|tag| json!({ "tag": tag })).collect::<Value>()),
            false => tags.iter().map(|tag| format!("{}\n", text::clean(tag))).collect(),
        };
        return Ok(Document { text, warnings: Vec::new() });
    }
    let looks = tags.iter().map(|tag| look(&source, tag));
    let looks: Vec<Look> =
        stream::iter(looks.collect::<Vec<_>>()).buffered(AT_ONCE).try_collect().await.map_err(failed)?;
    let text = if options.is_json { long_json(&tags, &looks) } else { long_text(&tags, &looks) };
    Ok(Document { text, warnings: Vec::new() })
}

/// Tags without a version first, then versions as they follow each other.
fn version(tag: &str) -> Option<Version> {
    let text = tag.strip_prefix('v').unwrap_or(tag);
    text.parse().ok()
}

/// Journals, and what refers to an image where a registry does not keep that.
fn is_tools_own(tag: &str) -> bool {
    let is_about_a_digest = tag
        .strip_prefix("sha256-")
        .is_some_and(|rest| rest.len() >= 64 && rest.as_bytes()[..64].iter().all(u8::is_ascii_hexdigit));
    tag.starts_with(journal::PREFIX) || is_about_a_digest
}

async fn look(source: &Source, tag: &str) -> Result<Look, ImageError> {
    let source = source.tagged(tag)?;
    let tree = Tree::read(&source).await?;
    let mut platforms = tree.platforms();
    if let (true, Some(node)) =
        (platforms.is_empty(), tree.images().into_iter().find(|node| node.is_runnable()))
    {
        platforms.push(node.image(&source).await?.config.platform());
    }
    let manifests = tree.nodes().into_iter().filter_map(|node| node.manifest());
    let content_size = manifests.map(crate::oci::Manifest::content_size).sum();
    Ok(Look { digest: tree.root.descriptor.digest, content_size, platforms })
}

fn names(look: &Look) -> Vec<String> {
    look.platforms.iter().map(Platform::to_string).collect()
}

fn long_json(tags: &[String], looks: &[Look]) -> String {
    let all = tags.iter().zip(looks).map(|(tag, look)| {
        json!({
            "tag": tag,
            "digest": look.digest.to_string(),
            "content-size": look.content_size,
            "platforms": names(look),
        })
    });
    format!("{:#}\n", all.collect::<Value>())
}

fn long_text(tags: &[String], looks: &[Look]) -> String {
    let mut rows = vec![["TAG", "DIGEST", "SIZE", "PLATFORMS"].map(str::to_string)];
    rows.extend(tags.iter().zip(looks).map(|(tag, look)| {
        let digest = format!("sha256:{}", look.digest.short());
        [text::clean(tag), digest, bytes(look.content_size), names(look).join(", ")]
    }));
    text::table(&rows, &[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_follow_each_other_and_what_tools_keep_is_known() {
        let mut tags = ["v1.10.0", "latest", "1.9.0", "edge", "1.10.0-rc.1"];
        tags.sort_by_cached_key(|tag| (version(tag), tag.to_string()));
        assert_eq!(tags, ["edge", "latest", "1.9.0", "1.10.0-rc.1", "v1.10.0"]);
        let digest = Digest::of("x").hex();
        for (tag, expected) in [
            (format!("sha256-{digest}"), true),
            (format!("sha256-{digest}.sig"), true),
            ("sha256-short".to_string(), false),
            ("mab.x".to_string(), true),
        ] {
            assert_eq!(is_tools_own(&tag), expected, "{tag}");
        }
    }
}
