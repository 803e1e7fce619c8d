//! What bake itself refuses before it prints, of what it reads; we refuse more, such as architectures nobody knows,
//! when it comes to building.

use super::definition::Selection;
use super::entries::Export;
use super::target::Target;
use crate::base::Platform;
use crate::base::platform::ParsePlatformError;
use crate::config::{annotation, resources, sandbox, size};

/// Whether bake would print nothing because of what a target says.
pub fn is_refused(selection: &Selection) -> bool {
    selection.targets.values().any(is_target_refused)
}

fn is_target_refused(target: &Target) -> bool {
    let mut platforms = target.platforms.iter().flatten().flat_map(|text| text.split(','));
    let mut limits = target.ulimits.iter().flatten();
    let mut annotations = target.annotations.iter().flatten();
    let mut resources = target.resources.iter().flat_map(|resources| resources.pairs());
    let from_standard_input = |path: &Option<String>| path.as_deref() == Some("-");
    let size = target.shm_size.as_deref().filter(|text| !text.is_empty());
    platforms.any(is_no_platform)
        || size.is_some_and(|text| size::parse(text).is_none())
        || limits.any(|text| sandbox::parse_ulimit(text).is_err())
        || annotations.any(|text| annotation::parse(text).is_err())
        || resources.any(|(key, value)| resources::set(&mut Default::default(), key, &value).is_none())
        || target.outputs.iter().flatten().any(is_nowhere)
        || target.secrets.iter().flatten().any(|secret| secret.id.is_empty())
        || from_standard_input(&target.context)
        || from_standard_input(&target.dockerfile)
}

/// A single word is a platform for bake, whatever it is.
fn is_no_platform(text: &str) -> bool {
    text.contains('/') && matches!(text.parse::<Platform>(), Err(ParsePlatformError::Form(_)))
}

/// A folder is to be written, and none is named.
fn is_nowhere(export: &Export) -> bool {
    export.kind == "local" && matches!(export.destination.as_str(), "" | "-")
}
