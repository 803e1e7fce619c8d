//! What a base image's name leads to, for those who only want to know: which platforms, and their configs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::resolve::Bases;
use crate::base::Platform;
use crate::diag::Problem;
use crate::oci::{ImageConfig, Index, Manifest, media_type};
use crate::plan::BaseSource;

/// One source as it is.
#[derive(Clone, Debug)]
pub struct Survey {
    /// What an index has; `None` for a single image.
    pub index: Option<Vec<Platform>>,
    /// For the platforms that were asked for, or of the single image.
    pub configs: BTreeMap<Platform, Arc<ImageConfig>>,
}

impl Bases {
    /// Looks at `source`, and at the configs of `platforms` that it has.
    pub async fn survey(&self, source: &BaseSource, platforms: &[Platform]) -> Result<Survey, Box<Problem>> {
        let root = self.root(source).await?;
        if !media_type::is_index(&root.descriptor.media_type) {
            let config = self.single_config(source, &root.bytes).await?;
            return Ok(Survey { index: None, configs: [(config.platform(), Arc::new(config))].into() });
        }
        let index = Index::parse(&root.bytes).map(|index| index.platforms()).unwrap_or_default();
        let mut configs = BTreeMap::new();
        for platform in
            platforms.iter().filter(|wanted| index.iter().any(|has| has.fitness(wanted).is_some()))
        {
            configs.insert(platform.clone(), self.base(source, platform, None).await?.config);
        }
        Ok(Survey { index: Some(index), configs })
    }

    async fn single_config(&self, source: &BaseSource, manifest: &[u8]) -> Result<ImageConfig, Box<Problem>> {
        let malformed = |error: serde_json::Error| {
            Box::new(Problem::input("base::malformed", format!("`{source}` is malformed: {error}")))
        };
        let manifest = Manifest::parse(manifest).map_err(malformed)?;
        let config = self.document(source, &manifest.config).await?;
        ImageConfig::parse(&config).map_err(malformed)
    }
}
