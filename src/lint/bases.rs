//! What is known of base images, which may be nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::Platform;
use crate::oci::ImageConfig;

/// Images by the name that Dockerfiles have for them, or by the key of a named context.
#[derive(Clone, Debug, Default)]
pub struct KnownBases {
    images: BTreeMap<String, KnownBase>,
}

/// One image.
#[derive(Clone, Debug)]
pub struct KnownBase {
    pub offer: Offer,
    pub configs: BTreeMap<Platform, Arc<ImageConfig>>,
}

/// Which platforms a name leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    Index(Vec<Platform>),
    /// A single image, which everybody gets whatever they ask for.
    Image(Platform),
}

impl KnownBases {
    pub fn insert(&mut self, name: String, base: KnownBase) {
        self.images.insert(name, base);
    }

    pub fn get(&self, name: &str) -> Option<&KnownBase> {
        self.images.get(name)
    }

    pub fn config(&self, name: &str, platform: &Platform) -> Option<&ImageConfig> {
        let base = self.get(name)?;
        let of_the_only = || match &base.offer {
            Offer::Image(only) => base.configs.get(only),
            Offer::Index(_) => None,
        };
        base.configs.get(platform).or_else(of_the_only).map(Arc::as_ref)
    }
}

impl Offer {
    pub fn platforms(&self) -> &[Platform] {
        match self {
            Self::Index(platforms) => platforms,
            Self::Image(platform) => std::slice::from_ref(platform),
        }
    }
}
