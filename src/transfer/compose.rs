//! Indexes put together and taken apart, without any input or output.

use std::collections::BTreeMap;

use super::error::TransferError;
use crate::base::Platform;
use crate::oci::{Descriptor, Index, REFERENCE_DIGEST, media_type};

/// What is told of an index besides its entries.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// A later image stands in the place of an earlier one of the same platform.
    pub replaces: bool,
    /// An OCI index, even where all images are Docker's.
    pub is_oci: bool,
    pub annotations: BTreeMap<String, String>,
}

/// Adds entries to those of an index. Each image brings what is attested about it.
pub fn add(index: &mut Index, entries: Vec<Descriptor>, replaces: bool) -> Result<(), TransferError> {
    for entry in entries {
        if index.manifests.contains(&entry) {
            continue;
        }
        let platform = entry.platform().filter(|_| !is_attestation(&entry));
        let is_same =
            |known: &Descriptor| !is_attestation(known) && platform.is_some() && known.platform() == platform;
        let standing = index.manifests.iter().position(is_same);
        match (standing, &platform) {
            (Some(position), _) if index.manifests[position].digest == entry.digest || replaces => {
                let old = std::mem::replace(&mut index.manifests[position], entry);
                if index.manifests[position].digest != old.digest {
                    index.manifests.retain(|known| !is_about(known, &old));
                }
            }
            (Some(_), Some(platform)) => return Err(TransferError::DuplicatePlatform(platform.clone())),
            _ => index.manifests.push(entry),
        }
    }
    Ok(())
}

/// Takes out the images of these platforms, and what is attested about them.
pub fn remove(index: &mut Index, place: &str, platforms: &[Platform]) -> Result<(), TransferError> {
    for platform in platforms {
        let removed: Vec<Descriptor> =
            images(index).filter(|entry| is_for(entry, platform)).cloned().collect();
        if removed.is_empty() {
            return Err(nothing(index, place, platform));
        }
        index
            .manifests
            .retain(|entry| !removed.contains(entry) && !removed.iter().any(|old| is_about(entry, old)));
    }
    match images(index).next() {
        Some(_) => Ok(()),
        None => Err(TransferError::NothingLeft(place.to_string())),
    }
}

/// Leaves the images of these platforms only, and what is attested about them.
pub fn keep(index: &mut Index, place: &str, platforms: &[Platform]) -> Result<(), TransferError> {
    let mut kept: Vec<Descriptor> = Vec::new();
    for platform in platforms {
        let fits = |entry: &&Descriptor| entry.platform().and_then(|own| own.fitness(platform)).is_some();
        let best = images(index)
            .filter(fits)
            .max_by_key(|entry| entry.platform().and_then(|own| own.fitness(platform)));
        kept.push(best.ok_or_else(|| nothing(index, place, platform))?.clone());
    }
    index.manifests.retain(|entry| kept.contains(entry) || kept.iter().any(|image| is_about(entry, image)));
    Ok(())
}

/// Changes annotations of the index, or of its images for a platform. An empty value takes one away.
pub fn annotate(
    index: &mut Index,
    place: &str,
    platform: Option<&Platform>,
    annotations: &BTreeMap<String, String>,
) -> Result<(), TransferError> {
    if index.media_type == media_type::DOCKER_INDEX && !annotations.is_empty() {
        return Err(TransferError::NoAnnotations);
    }
    let Some(platform) = platform else {
        change(&mut index.annotations, annotations);
        return Ok(());
    };
    let missing = nothing(index, place, platform);
    let mut has_any = false;
    for entry in index.manifests.iter_mut().filter(|entry| !is_attestation(entry) && is_for(entry, platform))
    {
        change(&mut entry.annotations, annotations);
        has_any = true;
    }
    if has_any { Ok(()) } else { Err(missing) }
}

fn change(annotations: &mut BTreeMap<String, String>, wanted: &BTreeMap<String, String>) {
    for (key, value) in wanted {
        match value.is_empty() {
            true => drop(annotations.remove(key)),
            false => drop(annotations.insert(key.clone(), value.clone())),
        }
    }
}

/// Docker's type for an index that has nothing else than Docker's images, and nothing that Docker's has no place for.
pub fn settle_type(index: &mut Index, is_oci: bool) {
    let is_docker = |entry: &Descriptor| {
        matches!(entry.media_type.as_str(), media_type::DOCKER_MANIFEST | media_type::DOCKER_INDEX)
            && entry.annotations.is_empty()
    };
    let is_docker = !is_oci
        && !index.manifests.is_empty()
        && index.annotations.is_empty()
        && index.manifests.iter().all(is_docker);
    index.media_type = if is_docker { media_type::DOCKER_INDEX } else { media_type::OCI_INDEX }.to_string();
}

fn images(index: &Index) -> impl Iterator<Item = &Descriptor> {
    index.manifests.iter().filter(|entry| !is_attestation(entry))
}

fn is_attestation(entry: &Descriptor) -> bool {
    entry.annotations.contains_key(REFERENCE_DIGEST)
}

fn is_about(entry: &Descriptor, image: &Descriptor) -> bool {
    entry.annotations.get(REFERENCE_DIGEST) == Some(&image.digest.to_string())
}

fn is_for(entry: &Descriptor, platform: &Platform) -> bool {
    entry.platform().is_some_and(|own| own == *platform)
}

fn nothing(index: &Index, place: &str, platform: &Platform) -> TransferError {
    TransferError::NothingThere {
        place: place.to_string(),
        wanted: platform.to_string(),
        has: index.platforms().iter().map(Platform::to_string).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::attestation_entry;

    fn image(platform: &str, content: &str) -> Descriptor {
        let platform = platform.parse().unwrap();
        Descriptor::of(media_type::OCI_MANIFEST, content.as_bytes()).with_platform(&platform)
    }

    fn attested(image: &Descriptor) -> Descriptor {
        let about = image.digest.to_string();
        attestation_entry(Descriptor::of(media_type::OCI_MANIFEST, about.as_bytes()), &image.digest)
    }

    #[test]
    fn an_image_comes_and_goes_with_what_is_attested_about_it() {
        let (old, new, other) =
            (image("linux/amd64", "a"), image("linux/amd64", "b"), image("linux/arm64", "c"));
        let mut index = Index::new(vec![old.clone(), other.clone(), attested(&old)]);
        let duplicate = add(&mut index, vec![new.clone(), attested(&new)], false).unwrap_err();
        assert_eq!(duplicate.to_string(), "two images claim the platform `linux/amd64`");
        add(&mut index, vec![new.clone(), attested(&new)], true).unwrap();
        assert_eq!(index.manifests, [new.clone(), other.clone(), attested(&new)]);
        add(&mut index, vec![new.clone(), attested(&new)], false).unwrap();
        assert_eq!(index.manifests.len(), 3, "the same again changes nothing");
        let mut only = index.clone();
        keep(&mut only, "x", &["linux/amd64".parse().unwrap()]).unwrap();
        assert_eq!(only.manifests, [new.clone(), attested(&new)]);
        remove(&mut index, "x", &["linux/amd64".parse().unwrap()]).unwrap();
        assert_eq!(index.manifests, [other]);
        let error = remove(&mut index, "x", &["linux/arm64".parse().unwrap()]).unwrap_err();
        assert_eq!(error.to_string(), "nothing would be left of `x`");
    }

    #[test]
    fn an_index_is_of_dockers_type_where_all_in_it_is() {
        let docker =
            Descriptor { media_type: media_type::DOCKER_MANIFEST.to_string(), ..image("linux/amd64", "a") };
        let mut index = Index::new(vec![docker.clone()]);
        settle_type(&mut index, false);
        assert_eq!(index.media_type, media_type::DOCKER_INDEX);
        let wanted = BTreeMap::from([("a".to_string(), "b".to_string())]);
        assert!(matches!(annotate(&mut index, "x", None, &wanted), Err(TransferError::NoAnnotations)));
        settle_type(&mut index, true);
        assert_eq!(index.media_type, media_type::OCI_INDEX);
        add(&mut index, vec![image("linux/arm64", "b")], false).unwrap();
        settle_type(&mut index, false);
        assert_eq!(index.media_type, media_type::OCI_INDEX);
    }
}
