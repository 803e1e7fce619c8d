//! The keys of a `build`, and bake's words for them.

/// Compose's key and the attribute of the target.
pub const BUILD_KEYS: [(&str, &str); 24] = [
    ("context", "context"),
    ("dockerfile", "dockerfile"),
    ("dockerfile_inline", "dockerfile-inline"),
    ("args", "args"),
    ("ssh", "ssh"),
    ("labels", "labels"),
    ("cache_from", "cache-from"),
    ("cache_to", "cache-to"),
    ("no_cache", "no-cache"),
    ("no_cache_filter", "no-cache-filter"),
    ("additional_contexts", "contexts"),
    ("network", "network"),
    ("provenance", "attest"),
    ("sbom", "attest"),
    ("pull", "pull"),
    ("target", "target"),
    ("shm_size", "shm-size"),
    ("extra_hosts", "extra-hosts"),
    ("isolation", "call"),
    ("privileged", "entitlements"),
    ("secrets", "secret"),
    ("tags", "tags"),
    ("ulimits", "ulimits"),
    ("platforms", "platforms"),
];

/// Keys that Compose knows and bake does not use, with what to do about them.
pub const IGNORED_KEYS: [(&str, &str); 4] = [
    ("isolation", "it is for Windows"),
    ("privileged", "`entitlements` of a bake file say what a build may do"),
    ("entitlements", "a bake file beside this one can give the target `entitlements`"),
    ("no_cache_filter", "`x-bake` has `no-cache-filter`"),
];
