//! What a target's image is called: its repositories, and the tags that the file lists.

use std::collections::BTreeSet;

use super::Resolver;
use crate::base::Reference;
use crate::config::context::{self, is_tag};
use crate::diag::{Located, Problem};
use crate::tagging;

/// Images with their tags, of one target.
pub const MOST_NAMES: usize = 10_000;

/// What metadata-action's `images` has on a line: `name=NAME,enable=true`, or names with commas between, in any case.
pub fn compatible_images(text: &str) -> Result<Vec<String>, String> {
    let pairs: Vec<_> = tagging::fields(text)?.iter().map(|field| tagging::pair(field)).collect();
    if pairs.iter().all(|(key, _)| key.is_none()) {
        return Ok(pairs.into_iter().map(|(_, name)| name.to_lowercase()).collect());
    }
    let (mut name, mut is_enabled) = (String::new(), true);
    for pair in pairs {
        match pair {
            (None, value) => name = value,
            (Some(key), value) => match (key.as_str(), value.as_str()) {
                ("name", _) => name = value,
                ("enable", "true") => is_enabled = true,
                ("enable", "false") => is_enabled = false,
                ("enable", _) => return Err("`enable` of an image is `true` or `false`".to_string()),
                _ => return Err(format!("an image has `name` and `enable`, and not `{key}`")),
            },
        }
    }
    Ok(is_enabled.then(|| name.to_lowercase()).into_iter().collect())
}

impl Resolver<'_, '_, '_> {
    pub(super) fn images(&mut self) -> Vec<Located<Reference>> {
        let texts = self.common.list("images", |layer| layer.images.as_ref());
        let mut images: Vec<Located<Reference>> = Vec::new();
        let is_compatible = self.is_compatible();
        for (text, value) in self.rendered_list(texts) {
            let names = match is_compatible {
                true => compatible_images(&value),
                false => Ok(vec![value.into_owned()]),
            };
            let names = names.unwrap_or_else(|message| {
                self.report(Problem::input("config::bad-reference", message).at(text.place(), "here"));
                Vec::new()
            });
            for name in names {
                let image = self.parsed("config::bad-reference", text, context::parse_repository(&name));
                images.extend(image.filter(|image| !images.contains(image)));
            }
        }
        images
    }

    pub(super) fn tags(&mut self, images: &[Located<Reference>]) -> Vec<Located<Reference>> {
        let texts = self.common.list("tags", |layer| layer.tags.as_ref());
        let texts = texts.map(|texts| self.holding(texts));
        let mut seen = BTreeSet::new();
        let mut tags = Vec::new();
        for (text, value) in self.rendered_list(texts) {
            if tags.len() > MOST_NAMES {
                let message = format!("target `{}` has more than {MOST_NAMES} names", self.member.name);
                let problem = Problem::input("config::too-many", message).at(text.place(), "with this tag");
                self.report(problem.help("each tag is a name of each image; take some out"));
                break;
            }
            let names = if is_tag(&value) && !images.is_empty() {
                images.iter().map(|image| image.value.with_tag(&value)).collect()
            } else {
                vec![value.parse::<Reference>()]
            };
            for name in names {
                let name = self.parsed("config::bad-reference", text, name);
                tags.extend(name.filter(|name| seen.insert(name.value.clone())));
            }
        }
        tags
    }
}
