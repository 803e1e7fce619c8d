//! What blocks came to, put into the definition of all files.

use std::collections::{BTreeMap, HashMap};

use super::definitions::BlockDefinition;
use crate::config::import::definition::Definition;
use crate::config::import::target::{Group, Target};
use crate::diag::Place;

/// A target with where it is declared, and what its paths are relative to.
pub fn add_target(definition: &mut Definition, block: &BlockDefinition, mut target: Target) {
    target.place = Some(Place::new(&block.source, block.label_span.clone()));
    target.bases.file = Some(block.base.clone().unwrap_or_default());
    if target.context.is_some() {
        target.bases.context = Some(block.base.clone().unwrap_or_default());
    }
    for name in target.contexts.iter().flat_map(BTreeMap::keys) {
        target.bases.contexts.insert(name.clone(), block.base.clone().unwrap_or_default());
    }
    definition.targets.push(target);
}

/// A group replaces an earlier one of its name.
pub fn add_group(
    definition: &mut Definition,
    known: &mut HashMap<String, usize>,
    block: &BlockDefinition,
    mut group: Group,
) {
    group.place = Some(Place::new(&block.source, block.label_span.clone()));
    match known.get(&group.name) {
        Some(at) => definition.groups[*at] = group,
        None => {
            known.insert(group.name.clone(), definition.groups.len());
            definition.groups.push(group);
        }
    }
}
