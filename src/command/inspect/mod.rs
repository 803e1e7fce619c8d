//! `mab inspect`: what an image is, wherever it lies.

mod json;
pub mod text;

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use serde_json::Value;

use super::Failure;
use super::plan::Document;
use super::session::{self, SessionOptions};
use crate::base::{Digest, Platform};
use crate::diag::Problem;
use crate::facts::Facts;
use crate::image::{Image, ImageError, ImageName, Node, Source, Tree};
use crate::oci::Descriptor;

/// What is asked about an image.
#[derive(Clone, Debug)]
pub struct InspectOptions {
    pub image: String,
    pub platform: Option<Platform>,
    pub form: Form,
    /// Also signatures, SBOMs and the like that refer to it.
    pub referrers: bool,
    /// The width of a terminal.
    pub columns: Option<usize>,
}

#[derive(Clone, Debug)]
pub enum Form {
    Text,
    Json,
    /// A template over what JSON has.
    Format(String),
    /// The manifest or index, byte for byte.
    Raw,
    /// The config, byte for byte.
    Config,
}

/// All that is known of an image.
struct Inspected {
    name: ImageName,
    /// What is looked at: the whole, or the image of a platform.
    tree: Tree,
    /// Configs that were read, by the digest of their manifest.
    images: BTreeMap<Digest, Image>,
    /// By what they refer to.
    referrers: BTreeMap<Digest, Vec<Descriptor>>,
}

pub async fn inspect(
    options: &InspectOptions,
    session: &SessionOptions,
    facts: &Facts,
) -> Result<Document, Failure> {
    let source = open(&options.image, session, facts).await?;
    let text = match &options.form {
        Form::Raw => raw(&source, options.platform.as_ref()).await?,
        Form::Config => {
            let tree = Tree::read(&source).await.map_err(failed)?;
            let node = image_of(&tree, &source, options.platform.as_ref()).await?;
            exact(node.image(&source).await.map_err(failed)?.config_bytes)?
        }
        Form::Text => text::text(&inspected(options, &source).await?, options.columns),
        Form::Json => format!("{:#}\n", json::json(&inspected(options, &source).await?)),
        Form::Format(template) => formatted(template, &json::json(&inspected(options, &source).await?))?,
    };
    Ok(Document { text, warnings: Vec::new() })
}

/// The place that has an image, open.
pub async fn open(image: &str, session: &SessionOptions, facts: &Facts) -> Result<Source, Failure> {
    let name: ImageName = image.parse().map_err(failed)?;
    let means = session::means(session, facts).map_err(|problem| vec![*problem])?;
    Source::open(&name, &means).await.map_err(failed)
}

pub fn failed(error: ImageError) -> Failure {
    vec![error.problem()]
}

/// The image for a platform, or the only one there is.
pub async fn image_of<'t>(
    tree: &'t Tree,
    source: &Source,
    platform: Option<&Platform>,
) -> Result<&'t Node, Failure> {
    let images = tree.images();
    let place = source.name.to_string();
    let has = || tree.platforms().iter().map(Platform::to_string).collect();
    match (platform, &images[..]) {
        (None, [only]) => Ok(only),
        (None, _) => Err(failed(ImageError::SeveralPlatforms { place, has: has() })),
        // An image beside no index says in its config what it is for.
        (Some(wanted), [only]) if only.descriptor.platform().is_none() => {
            let own = only.image(source).await.map_err(failed)?.config.platform();
            match own.fitness(wanted) {
                Some(_) => Ok(only),
                None => Err(failed(ImageError::NoPlatform {
                    place,
                    platform: wanted.to_string(),
                    has: vec![own.to_string()],
                })),
            }
        }
        (Some(wanted), _) => tree.select(wanted).ok_or_else(|| {
            failed(ImageError::NoPlatform { place, platform: wanted.to_string(), has: has() })
        }),
    }
}

async fn raw(source: &Source, platform: Option<&Platform>) -> Result<String, Failure> {
    if platform.is_none() {
        return exact(source.root().await.map_err(failed)?.bytes);
    }
    let tree = Tree::read(source).await.map_err(failed)?;
    exact(image_of(&tree, source, platform).await?.bytes.clone())
}

fn exact(bytes: Vec<u8>) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|_| vec![Problem::input("image::document", "the document is no text")])
}

async fn inspected(options: &InspectOptions, source: &Source) -> Result<Inspected, Failure> {
    let mut tree = Tree::read(source).await.map_err(failed)?;
    if options.platform.is_some() {
        tree = Tree { root: image_of(&tree, source, options.platform.as_ref()).await?.clone() };
    }
    let is_single = tree.root.manifest().is_some();
    let mut images = BTreeMap::new();
    if is_single || !matches!(options.form, Form::Text) {
        let wanted =
            tree.images().into_iter().filter(|node| node.is_runnable()).map(|node| node.image(source));
        let read: Vec<Image> = try_join_all(wanted).await.map_err(failed)?;
        images.extend(read.into_iter().map(|image| (image.descriptor.digest, image)));
    }
    let mut referrers = BTreeMap::new();
    if options.referrers {
        let asked = tree.nodes().into_iter().map(|node| async {
            Ok::<_, ImageError>((node.descriptor.digest, source.referrers(&node.descriptor).await?))
        });
        let found = try_join_all(asked).await.map_err(failed)?;
        referrers.extend(found.into_iter().filter(|(_, found)| !found.is_empty()));
    }
    Ok(Inspected { name: source.name.clone(), tree, images, referrers })
}

/// Where the template goes wrong is told; it has no more than what JSON shows.
fn formatted(template: &str, value: &Value) -> Result<String, Failure> {
    let mut environment = minijinja::Environment::new();
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    let rendered = environment.render_str(template, minijinja::value::Serde(value));
    rendered.map(|text| if text.ends_with('\n') { text } else { format!("{text}\n") }).map_err(|error| {
        let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
        let problem = Problem::input("inspect::format", format!("the format `{template}` does not fit: {}{detail}", error.kind()));
        vec![problem.help("`--json` shows what there is; see minijinja's syntax: `{{ digest }}`, `{% for image in images %}`")]
    })
}
