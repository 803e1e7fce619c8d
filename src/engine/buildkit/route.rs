//! Which worker builds a job: one that runs its commands natively, and of several the one that does least. No job
//! belongs to a worker before that has a slot for it: whoever runs dry takes what waits.

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

/// How much a worker has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub jobs: usize,
    pub slots: usize,
    /// It did not answer when it was last heard of.
    pub is_lost: bool,
}

/// Who takes a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Best<T> {
    Worker(T),
    /// Those that may take it have no slot; the first that has one gets it.
    Busy,
    Nobody,
}

/// The best of the workers, each with what it offers and has to do. A job waits for workers that run its commands
/// natively rather than to be emulated, but of several that are equal it waits for none in particular.
pub(super) fn best<'a, T: Copy>(
    wishes: &BTreeMap<Platform, usize>,
    image: &Platform,
    workers: impl Iterator<Item = (T, &'a Offer, Load)>,
) -> Best<T> {
    let mut able: Vec<_> =
        workers.filter(|(_, offer, _)| wishes.keys().all(|wish| offer.has(wish))).collect();
    if able.iter().any(|(_, _, load)| !load.is_lost) {
        able.retain(|(_, _, load)| !load.is_lost);
    }
    let emulated = |offer: &Offer| -> usize {
        wishes.iter().filter(|(wish, _)| !offer.is_native(wish)).map(|(_, count)| count).sum()
    };
    let Some(least) = able.iter().map(|(_, offer, _)| emulated(offer)).min() else { return Best::Nobody };
    let equal = able.iter().filter(|(_, offer, _)| emulated(offer) == least);
    // Of slots that are taken the share counts: a large worker has less to do with as many.
    let share = |load: &Load| load.jobs * 1000 / load.slots.max(1);
    let free = equal.filter(|(_, _, load)| load.jobs < load.slots);
    let best = free.min_by_key(|(_, offer, load)| (!offer.is_native(image), share(load)));
    best.map_or(Best::Busy, |(worker, ..)| Best::Worker(*worker))
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
        let check = |workers: &[(&Offer, usize)], wished: &str, expected: Best<usize>| {
            let image = platforms(wished)[0].clone();
            let wishes = platforms(wished).into_iter().map(|wish| (wish, 1)).collect();
            assert_eq!(best(&wishes, &image, loaded(workers)), expected, "{wished}");
        };
        check(&[(&both, 0), (&arm, 0)], "linux/amd64", Best::Worker(0));
        check(&[(&both, 0), (&arm, 3)], "linux/arm64", Best::Worker(1));
        // It waits for the native one.
        check(&[(&both, 0), (&arm, 4)], "linux/arm64", Best::Busy);
        check(&[(&arm, 2), (&arm, 1)], "linux/arm64", Best::Worker(1));
        check(&[(&arm, 4), (&arm, 1)], "linux/arm64", Best::Worker(1));
        check(&[(&both, 0), (&arm, 0)], "linux/386", Best::Worker(0));
        check(&[(&amd, 0), (&arm, 0)], "linux/arm64 linux/amd64", Best::Nobody);
        check(&[(&amd, 0), (&both, 3)], "linux/arm64 linux/amd64", Best::Worker(1));
        check(&[(&both, 0)], "linux/s390x", Best::Nobody);
        // What has no commands is anybody's, and goes where there is room.
        let none = BTreeMap::new();
        let (arm64, s390x) = (&platforms("linux/arm64")[0], &platforms("linux/s390x")[0]);
        assert_eq!(best(&none, arm64, loaded(&[(&amd, 0), (&arm, 3)])), Best::Worker(1));
        assert_eq!(best(&none, arm64, loaded(&[(&amd, 0), (&arm, 4)])), Best::Worker(0));
        assert_eq!(best(&none, s390x, loaded(&[(&amd, 0), (&arm, 3)])), Best::Worker(0));
    }

    #[test]
    fn shares_count_and_the_lost_are_left_alone() {
        let amd = Offer::declared(&platforms("linux/amd64")).unwrap();
        let image = &platforms("linux/amd64")[0];
        let wishes = BTreeMap::from([(image.clone(), 1)]);
        let check = |loads: &[(usize, usize, bool)], expected: Best<usize>| {
            let loads = loads.iter().map(|(jobs, slots, is_lost)| Load {
                jobs: *jobs,
                slots: *slots,
                is_lost: *is_lost,
            });
            let workers = loads.enumerate().map(|(place, load)| (place, &amd, load));
            assert_eq!(best(&wishes, image, workers), expected);
        };
        check(&[(2, 4, false), (4, 16, false)], Best::Worker(1));
        check(&[(0, 4, true), (3, 4, false)], Best::Worker(1));
        check(&[(0, 4, true), (4, 4, false)], Best::Busy);
        check(&[(0, 4, true), (4, 4, true)], Best::Worker(0));
    }

    fn loaded<'a>(workers: &'a [(&'a Offer, usize)]) -> impl Iterator<Item = (usize, &'a Offer, Load)> {
        let load = |jobs| Load { jobs, slots: 4, is_lost: false };
        workers.iter().enumerate().map(move |(place, (offer, jobs))| (place, *offer, load(*jobs)))
    }
}
