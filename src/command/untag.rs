//! `mab untag`: takes tags away, and nothing else.

use super::Failure;
use super::inspect::failed;
use super::plan::Document;
use super::session::{self, SessionOptions};
use crate::diag::Problem;
use crate::facts::Facts;
use crate::image::ImageName;
use crate::registry::RegistryError;

/// Every name is tried; what went is told even when others did not.
pub async fn untag(images: &[String], session: &SessionOptions, facts: &Facts) -> Result<Document, Failure> {
    let registry = session::registry(facts, session.is_offline).map_err(|problem| vec![*problem])?;
    let mut names = Vec::new();
    for image in images {
        match image.parse().map_err(failed)? {
            ImageName::Registry(reference) if has_tag(image) => names.push(reference),
            other => {
                let message = format!("`{other}` is no tag of a registry");
                let problem = Problem::input("untag::no-tag", message);
                return Err(vec![problem.help("name it as `REPOSITORY:TAG`; files are yours to change")]);
            }
        }
    }
    let (mut text, mut problems) = (String::new(), Vec::new());
    for name in names {
        match registry.untag(&name).await {
            Ok(true) => text.push_str(&format!("{}  is gone\n", name.familiar())),
            Ok(false) => problems.push(
                Problem::input("untag::not-there", format!("`{}` does not exist", name.familiar()))
                    .help("`mab ls` lists the tags that there are"),
            ),
            Err(error @ RegistryError::Refused { status: 400 | 405 | 501, .. }) => problems.push(
                error.problem().help(
                    "the registry takes no tags away, only whole manifests, with all their tags; its own settings \
                     may allow it (`delete` of distribution's registry from version 3 on)",
                ),
            ),
            Err(error) => problems.push(error.problem()),
        }
    }
    if problems.is_empty() || text.is_empty() {
        return if problems.is_empty() { Ok(Document { text, warnings: Vec::new() }) } else { Err(problems) };
    }
    let gone = Problem::warning("untag::gone", text.trim_end().to_string());
    problems.insert(0, gone);
    Err(problems)
}

/// A tag that is not written is not meant, though it would be `latest` elsewhere.
fn has_tag(image: &str) -> bool {
    image.rsplit('/').next().is_some_and(|last| last.contains(':') && !last.contains('@'))
}
