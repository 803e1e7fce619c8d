//! Which worker builds a job: one that runs its commands natively, and of several the one that does least.

use std::collections::BTreeMap;

use crate::base::Platform;
use crate::steps::{Lowered, Op};

/// What a worker offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub native: Vec<Platform>,
    pub emulated: Vec<Platform>,
}

impl Offer {
    /// A declaration says all: the worker is there for these platforms, and native to them.
    pub fn declared(platforms: &[Platform]) -> Option<Self> {
        (!platforms.is_empty()).then(|| Self { native: platforms.to_vec(), emulated: Vec::new() })
    }

    /// Of what BuildKit says of itself, its own platform first. Processors run their 32-bit kin natively.
    pub fn told(platforms: &[Platform]) -> Self {
        let Some(own) = platforms.first() else { return Self::nothing() };
        let kin = match own.architecture.as_str() {
            "amd64" => "386",
            "arm64" => "arm",
            _ => "",
        };
        let is_native = |platform: &&Platform| {
            platform.os == own.os
                && (platform.architecture == own.architecture || platform.architecture == kin)
        };
        let (native, emulated) = platforms.iter().partition::<Vec<&Platform>, _>(is_native);
        Self {
            native: native.into_iter().cloned().collect(),
            emulated: emulated.into_iter().cloned().collect(),
        }
    }

    pub fn nothing() -> Self {
        Self { native: Vec::new(), emulated: Vec::new() }
    }

    pub fn is_native(&self, platform: &Platform) -> bool {
        self.native.contains(platform)
    }

    pub fn has(&self, platform: &Platform) -> bool {
        self.is_native(platform) || self.emulated.contains(platform)
    }
}

/// The platforms a job's commands run on, with the number of commands of each. A job of copies runs anywhere.
pub(super) fn wishes(steps: &Lowered) -> BTreeMap<Platform, usize> {
    let mut wishes = BTreeMap::new();
    for step in steps.steps.iter().filter(|step| matches!(step.op, Op::Run(_))) {
        *wishes.entry(step.platform.clone()).or_insert(0) += 1;
    }
    wishes
}

/// The best of the workers, each with what it offers and how many jobs it has.
pub(super) fn best<'a, T: Copy>(
    wishes: &BTreeMap<Platform, usize>,
    image: &Platform,
    workers: impl Iterator<Item = (T, &'a Offer, usize)>,
) -> Option<T> {
    let able = workers.filter(|(_, offer, _)| wishes.keys().all(|wish| offer.has(wish)));
    let rank = |(_, offer, load): &(T, &Offer, usize)| {
        let emulated: usize =
            wishes.iter().filter(|(wish, _)| !offer.is_native(wish)).map(|(_, count)| count).sum();
        (emulated, !offer.is_native(image), *load)
    };
    able.min_by_key(rank).map(|(worker, ..)| worker)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platforms(text: &str) -> Vec<Platform> {
        text.split_whitespace().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn native_workers_come_first_and_then_idle_ones() {
        let both = Offer::told(&platforms("linux/amd64 linux/386 linux/arm64"));
        assert_eq!(both.native, platforms("linux/amd64 linux/386"));
        assert_eq!(both.emulated, platforms("linux/arm64"));
        let arm = Offer::declared(&platforms("linux/arm64")).unwrap();
        let amd = Offer::declared(&platforms("linux/amd64")).unwrap();
        let check = |workers: &[(&Offer, usize)], wished: &str, expected: Option<usize>| {
            let image = platforms(wished)[0].clone();
            let wishes = platforms(wished).into_iter().map(|wish| (wish, 1)).collect();
            let workers = workers.iter().enumerate().map(|(place, (offer, load))| (place, *offer, *load));
            assert_eq!(best(&wishes, &image, workers), expected, "{wished}");
        };
        check(&[(&both, 0), (&arm, 0)], "linux/amd64", Some(0));
        check(&[(&both, 0), (&arm, 5)], "linux/arm64", Some(1));
        check(&[(&arm, 2), (&arm, 1)], "linux/arm64", Some(1));
        check(&[(&both, 0), (&arm, 0)], "linux/386", Some(0));
        check(&[(&amd, 0), (&arm, 0)], "linux/arm64 linux/amd64", None);
        check(&[(&amd, 0), (&both, 9)], "linux/arm64 linux/amd64", Some(1));
        check(&[(&both, 0)], "linux/s390x", None);
        let none = BTreeMap::new();
        let workers = [(0, &amd, 0), (1, &arm, 7)];
        assert_eq!(best(&none, &platforms("linux/arm64")[0], workers.into_iter()), Some(1));
        assert_eq!(best(&none, &platforms("linux/s390x")[0], workers.into_iter()), Some(0));
    }
}
