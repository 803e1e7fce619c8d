//! Paths of contexts: relative to the working directory, or with `BUILDX_BAKE_FILE_RELATIVE_PATHS` to the
//! file that sets them.

use std::collections::HashMap;

use super::definition::Definition;
use super::hcl::clean_path;
use super::target::{Bases, Target};

/// Makes every context relative to the file that set it.
pub fn rebase(definition: &mut Definition) {
    let bases: HashMap<String, Bases> =
        definition.targets.iter().map(|target| (target.name.clone(), target.bases.clone())).collect();
    for target in &mut definition.targets {
        let referred = target.bases.context_from.as_ref().and_then(|name| bases.get(name));
        if let Some(referred) = referred {
            target.bases.context = referred.context.clone().or_else(|| referred.file.clone());
        }
        if let (Some(context), Some(base)) = (&mut target.context, &target.bases.context) {
            *context = rebased(base, context);
        }
        target.bases.is_wanted = target.context.is_none();
        for (name, context) in target.contexts.iter_mut().flatten() {
            if let Some(base) = target.bases.contexts.get(name) {
                *context = rebased(base, context);
            }
        }
    }
}

/// The context, or the directory that is one when no file says.
pub fn context_or_default(target: &Target) -> String {
    match (&target.context, &target.bases.file) {
        (Some(context), _) => context.clone(),
        (None, Some(base)) if target.bases.is_wanted => rebased(base, "."),
        (None, _) => ".".to_string(),
    }
}

fn rebased(base: &str, path: &str) -> String {
    if base.is_empty() || path.is_empty() || path.starts_with('/') || is_special(path) {
        return path.to_string();
    }
    clean_path(&format!("{base}/{path}"))
}

fn is_special(path: &str) -> bool {
    ["cwd://", "target:", "docker-image:", "oci-layout://"].iter().any(|start| path.starts_with(start))
        || is_remote(path)
}

/// Whether a context is fetched from elsewhere: a URL of HTTP or git.
pub fn is_remote(path: &str) -> bool {
    let is_scp = || {
        let (host, rest) = path.split_once(':').unwrap_or(("", ""));
        let (user, name) = host.split_once('@').unwrap_or(("", ""));
        !user.is_empty() && !name.is_empty() && !rest.is_empty() && !host.contains('/')
    };
    ["http://", "https://", "git://", "ssh://", "github.com/"].iter().any(|start| path.starts_with(start))
        || is_scp()
}

/// The context as bake prints it: cleaned, without `cwd://`.
pub fn printed_context(context: &str) -> String {
    match context.strip_prefix("cwd://") {
        Some(path) => clean_path(path),
        None if is_remote(context) => context.to_string(),
        None => clean_path(context),
    }
}
