//! `mab digest`: what an image's name leads to.

use super::Failure;
use super::inspect::{failed, image_of, open};
use super::plan::Document;
use super::session::SessionOptions;
use crate::base::Platform;
use crate::diag::Problem;
use crate::facts::Facts;
use crate::image::Tree;

pub async fn digest(
    image: &str,
    platform: Option<&Platform>,
    is_full: bool,
    session: &SessionOptions,
    facts: &Facts,
) -> Result<Document, Failure> {
    let source = open(image, session, facts).await?;
    let digest = match platform {
        None => source.head().await.map_err(failed)?.digest,
        Some(_) => {
            let tree = Tree::read(&source).await.map_err(failed)?;
            image_of(&tree, &source, platform).await?.descriptor.digest
        }
    };
    let text = match (is_full, source.repository()) {
        (false, _) => format!("{digest}\n"),
        (true, Some(repository)) => {
            format!("{}\n", repository.without_tag().with_digest(digest).familiar())
        }
        (true, None) => {
            let message = format!("`{image}` is in no registry, and has no name there");
            return Err(vec![Problem::input("digest::no-registry", message).help("leave out `--full`")]);
        }
    };
    Ok(Document { text, warnings: Vec::new() })
}
