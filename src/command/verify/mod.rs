//! `mab verify`: images that are there already, judged as a bake judges its own.
//!
//! Layers are read as streams, once, and nothing is unpacked. `place` says where images are.

mod place;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::base::Platform;
use crate::command::Failure;
use crate::command::session::SessionOptions;
use crate::diag::{Kind, Problem, Severity};
use crate::engine::blocking;
use crate::facts::Facts;
use crate::model::{Verify, VerifyLevel};
use crate::oci::ImageConfig;
use crate::verify::{self, Finding, Image, Maker, Surface, differences};

use place::{Found, Place};

#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// An image in a registry, a folder or an archive, or a digest of the store.
    pub image: String,
    /// All that the image has, if none is named.
    pub platforms: Vec<Platform>,
    pub rules: Verify,
    /// The layers of the base are judged as well.
    pub with_base: bool,
}

/// What was found, by platform.
#[derive(Clone, Debug)]
pub struct Verified {
    pub images: Vec<VerifiedImage>,
    /// Of all platforms together.
    pub problems: Vec<Problem>,
}

#[derive(Clone, Debug)]
pub struct VerifiedImage {
    pub platform: Platform,
    pub layers: usize,
    /// Layers of the base, which were not judged.
    pub passed_over: usize,
    pub findings: Vec<Finding>,
    /// The same for people.
    pub problems: Vec<Problem>,
    surface: Surface,
}

impl Verified {
    pub fn all_problems(&self) -> impl Iterator<Item = &Problem> {
        self.images.iter().flat_map(|image| &image.problems).chain(&self.problems)
    }
}

/// So many layers are read at one time.
const LAYERS_AT_ONCE: usize = 4;

pub async fn verify(
    options: &VerifyOptions,
    session: &SessionOptions,
    facts: &Facts,
) -> Result<Verified, Failure> {
    let place = Place::open(&options.image, session, facts).await.map_err(|problem| vec![*problem])?;
    let images = place.images(&options.platforms).await.map_err(|problem| vec![*problem])?;
    let mut verified = Vec::with_capacity(images.len());
    for image in images {
        verified.push(judge(&place, image, options).await.map_err(|problem| vec![*problem])?);
    }
    let surfaces: Vec<(&Platform, &Surface)> =
        verified.iter().map(|image| (&image.platform, &image.surface)).collect();
    let maker = Maker::of_history(None);
    let problems = differences(&surfaces).iter().map(|finding| finding.problem(&maker, 0)).collect();
    Ok(Verified { images: verified, problems })
}

async fn judge(place: &Place, found: Found, options: &VerifyOptions) -> Result<VerifiedImage, Box<Problem>> {
    let config = place.config(&found).await?;
    let layers = found.layers.len();
    if config.rootfs.diff_ids.len() != layers {
        let message =
            format!("the config names {} layers, and the manifest {layers}", config.rootfs.diff_ids.len());
        return Err(Box::new(damaged(message)));
    }
    let reads =
        found.layers.iter().zip(&config.rootfs.diff_ids).map(|(layer, diff_id)| place.index(layer, *diff_id));
    let indexes: Vec<_> = stream::iter(reads).buffered(LAYERS_AT_ONCE).try_collect().await?;
    let first = if options.with_base { 0 } else { place.base_layers(&found).await.min(layers) };
    let (platform, rules) = (found.platform, options.rules.clone());
    blocking(move || {
        let indexes = indexes.into_iter().map(Some).collect();
        let image = Image::new(&platform, &config, indexes, first);
        let image =
            image.map_err(|error| damaged(format!("its layers do not fit on each other: {error}")))?;
        let findings = verify::judge(&image, &rules);
        let surface = Surface::new(&image, &rules);
        let problems = findings.iter().map(|finding| told(finding, &config, &rules, layers)).collect();
        drop(image);
        Ok(VerifiedImage { platform, layers, passed_over: first, findings, problems, surface })
    })
    .await
    .map_err(Box::new)
}

fn told(finding: &Finding, config: &ImageConfig, rules: &Verify, layers: usize) -> Problem {
    let made = config.history.iter().filter(|entry| !entry.empty_layer);
    let entry = finding.layer.and_then(|layer| made.clone().nth(layer));
    let maker = Maker::of_history(entry.and_then(|entry| entry.created_by.as_deref()));
    let problem = finding.problem(&maker, layers);
    match rules.level {
        VerifyLevel::Error => problem,
        VerifyLevel::Warn | VerifyLevel::Off => Problem { severity: Severity::Warning, ..problem },
    }
}

fn damaged(message: impl Into<String>) -> Problem {
    Problem::new(Kind::Input, "verify::damaged", message)
        .help("build the image again; what is here is not what its documents say")
}
