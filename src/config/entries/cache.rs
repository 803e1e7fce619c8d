//! Caches: `[cache.NAME]`, and bake's entries of `cache-from` and `cache-to`.

use super::{EntryDeclaration, Field, Fields};
use crate::base::Reference;
use crate::config::text::Text;
use crate::diag::{Located, Place, Problem};
use crate::model::{Cache, CacheEntry, CacheKind, CacheMode};

const CODE: &str = "config::bad-cache";

/// What a cache is used for where it is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    From,
    To,
    /// Both, by its name.
    Named,
}

/// What every kind takes that is written.
const WRITTEN: [&str; 4] = ["ignore-error", "compression", "compression-level", "force-compression"];

/// The cache with its templates rendered by `render`; `None` when it comes out empty.
pub fn resolve(
    declared: &EntryDeclaration,
    direction: Direction,
    render: impl Fn(&Text) -> Result<String, Problem>,
) -> Result<Option<Located<CacheEntry>>, Vec<Problem>> {
    // Bake: a bare word is an image in a registry.
    let bare = |line: &str| Some(vec![("type", "registry".to_string()), ("ref", line.to_string())]);
    let Some(mut fields) = declared.fields(CODE, render, bare)? else { return Ok(None) };
    fields.title = "a cache".to_string();
    let Some(kind) = fields.kind(&CacheKind::NAMES) else { return Err(fields.problems) };
    fields.title = format!("a cache of type `{}`", kind.name());
    let entry = read(&mut fields, kind, direction);
    fields.finish(entry, &known(kind, direction), &[]).map(Some)
}

/// `[cache.NAME]`
pub fn named(
    name: &str,
    place: &Place,
    declared: &EntryDeclaration,
    trust: Option<bool>,
    render: impl Fn(&Text) -> Result<String, Problem>,
) -> Result<Option<Cache>, Vec<Problem>> {
    let entry = resolve(declared, Direction::Named, render)?;
    let cache = |entry: Located<CacheEntry>| Cache {
        name: name.to_string(),
        place: place.clone(),
        entry: entry.value,
        trust,
    };
    Ok(entry.map(cache))
}

fn read(fields: &mut Fields<'_>, kind: CacheKind, direction: Direction) -> Option<CacheEntry> {
    let mode = match direction {
        Direction::From => None,
        Direction::To | Direction::Named => fields.word("mode", &CacheMode::NAMES),
    };
    if kind == CacheKind::Inline && mode == Some(CacheMode::Max) {
        fields.report(
            "an inline cache holds the last stage alone".to_string(),
            fields.place.clone(),
            "`mode` cannot be `max`",
        );
    }
    for key in needed(kind, direction) {
        fields.needs(key);
    }
    check_reference(fields);
    for key in ["ignore-error", "force-compression", "image-manifest", "oci-mediatypes", "reset", "mounts"] {
        fields.check_word(key, &["true", "false", "1", "0"]);
    }
    for key in ["src", "dest", "path"] {
        if let Some(field) = fields.take(key) {
            let value = fields.text.resolve_path(&field.value).display().to_string();
            fields.rest.push(Field { value, ..field });
        }
    }
    let parameters = fields.take_known(&known(kind, direction));
    Some(CacheEntry { kind, mode, parameters })
}

fn check_reference(fields: &mut Fields<'_>) {
    let Some(field) = fields.find("ref").filter(|field| !field.value.is_empty()) else { return };
    if let Err(error) = field.value.parse::<Reference>() {
        let place = field.value_place.clone();
        fields.problems.push(
            Problem::input("config::bad-reference", error.to_string()).at(place, "not an image reference"),
        );
    }
}

fn needed(kind: CacheKind, direction: Direction) -> &'static [&'static str] {
    match (kind, direction) {
        (CacheKind::Registry, _) => &["ref"],
        (CacheKind::Local, Direction::From) => &["src"],
        (CacheKind::Local, Direction::To) => &["dest"],
        (CacheKind::Local, Direction::Named) => &["path"],
        (CacheKind::S3 | CacheKind::Gcs, _) => &["bucket"],
        (CacheKind::Webdav, _) => &["url"],
        (CacheKind::Inline | CacheKind::Gha | CacheKind::Azblob, _) => &[],
    }
}

/// The keys of a kind, besides `type`.
fn known(kind: CacheKind, direction: Direction) -> Vec<&'static str> {
    const REGISTRY: &[&str] = &["ref", "image-manifest", "oci-mediatypes", "registry.insecure"];
    const LOCAL: &[&str] = &["tag", "digest", "image-manifest", "oci-mediatypes", "reset"];
    const GHA: &[&str] = &["scope", "timeout", "url", "url_v2", "token", "repository", "ghtoken", "version"];
    const S3: &[&str] = &[
        "bucket",
        "region",
        "prefix",
        "blobs_prefix",
        "manifests_prefix",
        "name",
        "endpoint_url",
        "use_path_style",
        "access_key_id",
        "secret_access_key",
        "session_token",
        "touch_refresh",
        "upload_parallelism",
        "disable_accept_encoding",
        "retry_mode",
        "retry_max_attempts",
    ];
    const AZBLOB: &[&str] = &[
        "account_url",
        "account_name",
        "container",
        "prefix",
        "blobs_prefix",
        "manifests_prefix",
        "name",
        "secret_access_key",
    ];
    const GCS: &[&str] = &["bucket", "prefix", "blobs_prefix", "manifests_prefix", "name", "endpoint_url"];
    const WEBDAV: &[&str] = &["url", "prefix", "username", "password", "token"];
    let own = match kind {
        CacheKind::Registry => REGISTRY,
        CacheKind::Local => LOCAL,
        CacheKind::Inline => &[],
        CacheKind::Gha => GHA,
        CacheKind::S3 => S3,
        CacheKind::Azblob => AZBLOB,
        CacheKind::Gcs => GCS,
        CacheKind::Webdav => WEBDAV,
    };
    let place: &[&str] = match (kind, direction) {
        (CacheKind::Local, _) => needed(kind, direction),
        _ => &[],
    };
    let written: &[&str] = if direction == Direction::From { &[] } else { &WRITTEN };
    let mode: &[&str] = if direction == Direction::From { &[] } else { &["mode"] };
    // Bake knows none.
    let mounts: &[&str] = if direction == Direction::Named { &["mounts"] } else { &[] };
    [own, place, mode, written, mounts].concat()
}
