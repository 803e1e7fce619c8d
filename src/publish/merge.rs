//! The merge node's work: platform images to an index, annotated, in the store.

use crate::base::Platform;
use crate::diag::{Kind, Problem};
use crate::model::{Annotation, AnnotationLevel, ExportOptions};
use crate::oci::{Descriptor, EMPTY, Index, Manifest, attestation, attestation_entry, media_type};
use crate::store::Store;

/// An image that is ready to go anywhere: an index, or the only platform's manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    pub root: Descriptor,
    /// The platforms' manifests, in the order of the file.
    pub images: Vec<Descriptor>,
    /// The root's bytes were not in the store before.
    pub is_new: bool,
}

/// Merges `images`. One platform needs no index, unless annotations ask for one.
pub fn merge(
    store: &Store,
    images: &[Descriptor],
    annotations: &[Annotation],
) -> Result<Merged, Box<Problem>> {
    let images = images
        .iter()
        .map(|image| annotate_image(store, image, annotations))
        .collect::<Result<Vec<Descriptor>, Box<Problem>>>()?;
    let wants_index = annotations.iter().any(|annotation| {
        matches!(annotation.level, AnnotationLevel::Index | AnnotationLevel::ManifestDescriptor)
    });
    if let [only] = &images[..]
        && !wants_index
    {
        return Ok(Merged { root: only.clone(), images, is_new: false });
    }
    let mut index = Index::merge(images.clone())
        .map_err(|error| Box::new(Problem::new(Kind::Bug, "merge::platforms", error.to_string())))?;
    index.annotations = at_level(annotations, AnnotationLevel::Index, None);
    let bytes = index.to_bytes();
    let root = Descriptor::of(media_type::OCI_INDEX, &bytes);
    let is_new = !store.blobs().contains(&root.digest);
    store.blobs().put_bytes(&bytes).map_err(|error| Box::new(error.problem()))?;
    Ok(Merged { root, images, is_new })
}

/// The image with what is stated about each of its platforms: an index, if there is anything.
pub fn attest(store: &Store, merged: Merged, statements: &[Vec<Descriptor>]) -> Result<Merged, Box<Problem>> {
    if statements.iter().all(Vec::is_empty) {
        return Ok(merged);
    }
    let put = |bytes: &[u8]| store.blobs().put_bytes(bytes).map_err(|error| Box::new(error.problem()));
    put(EMPTY)?;
    let mut index = match media_type::is_index(&merged.root.media_type) {
        true => read_index(store, &merged.root)?,
        false => Index::new(merged.images.clone()),
    };
    for (image, statements) in merged.images.iter().zip(statements).filter(|(_, some)| !some.is_empty()) {
        let bytes = attestation(image, statements).to_bytes();
        put(&bytes)?;
        let written = Descriptor::of(media_type::OCI_MANIFEST, &bytes);
        index.manifests.push(attestation_entry(written, &image.digest));
    }
    let bytes = index.to_bytes();
    let root = Descriptor::of(&index.media_type, &bytes);
    let is_new = !store.blobs().contains(&root.digest);
    put(&bytes)?;
    Ok(Merged { root, images: merged.images, is_new })
}

/// The image with the media types that an output asks for: as it is, or with Docker's names for the same
/// things, which makes its index a Docker manifest list.
pub fn typed(store: &Store, merged: &Merged, options: &ExportOptions) -> Result<Merged, Box<Problem>> {
    if options.oci_media_types {
        return Ok(merged.clone());
    }
    let put = |media_type: &str, bytes: &[u8]| {
        store.blobs().put_bytes(bytes).map_err(|error| Box::new(error.problem()))?;
        Ok::<_, Box<Problem>>(Descriptor::of(media_type, bytes))
    };
    let mut images = Vec::with_capacity(merged.images.len());
    for image in &merged.images {
        let manifest = with_docker_types(read_manifest(store, image)?);
        let written = put(&manifest.media_type, &manifest.to_bytes())?;
        images.push(Descriptor { platform: image.platform.clone(), ..written });
    }
    let root = match &images[..] {
        [only] if !media_type::is_index(&merged.root.media_type) => only.clone(),
        _ => {
            let index =
                Index { media_type: media_type::DOCKER_INDEX.to_string(), ..Index::new(images.clone()) };
            put(&index.media_type, &index.to_bytes())?
        }
    };
    Ok(Merged { root, images, is_new: merged.is_new })
}

/// The manifest with Docker's media types; Docker's manifest has no annotations.
pub fn with_docker_types(mut manifest: Manifest) -> Manifest {
    let translate = |media_type: &mut String| *media_type = media_type::to_docker(media_type).to_string();
    translate(&mut manifest.media_type);
    manifest.annotations.clear();
    manifest.artifact_type = None;
    for descriptor in manifest.layers.iter_mut().chain([&mut manifest.config]) {
        translate(&mut descriptor.media_type);
        descriptor.annotations.clear();
    }
    manifest
}

/// The image with its manifest's and descriptor's annotations.
fn annotate_image(
    store: &Store,
    image: &Descriptor,
    annotations: &[Annotation],
) -> Result<Descriptor, Box<Problem>> {
    let platform = image.platform();
    let on_manifest = at_level(annotations, AnnotationLevel::Manifest, platform.as_ref());
    let mut annotated = image.clone();
    if !on_manifest.is_empty() {
        let mut manifest = read_manifest(store, image)?;
        manifest.annotations.extend(on_manifest);
        let bytes = manifest.to_bytes();
        store.blobs().put_bytes(&bytes).map_err(|error| Box::new(error.problem()))?;
        annotated =
            Descriptor { digest: crate::base::Digest::of(&bytes), size: bytes.len() as u64, ..annotated };
    }
    annotated.annotations.extend(at_level(
        annotations,
        AnnotationLevel::ManifestDescriptor,
        platform.as_ref(),
    ));
    Ok(annotated)
}

fn read_index(store: &Store, root: &Descriptor) -> Result<Index, Box<Problem>> {
    const LARGEST_INDEX: u64 = 4 << 20;
    let bytes = store.blobs().read(&root.digest, LARGEST_INDEX);
    bytes.ok().and_then(|bytes| Index::parse(&bytes).ok()).ok_or_else(|| lost(root))
}

/// A manifest that is in the store.
pub fn read_manifest(store: &Store, image: &Descriptor) -> Result<Manifest, Box<Problem>> {
    const LARGEST_MANIFEST: u64 = 4 << 20;
    let bytes = store.blobs().read(&image.digest, LARGEST_MANIFEST);
    let manifest = bytes.ok().and_then(|bytes| Manifest::parse(&bytes).ok());
    manifest.ok_or_else(|| lost(image))
}

fn lost(document: &Descriptor) -> Box<Problem> {
    let message = format!("the store has lost the manifest {}", document.digest);
    let problem = Problem::new(Kind::Host, "store::missing-blob", message);
    Box::new(problem.help("run again: what is missing is built again"))
}

/// The annotations of one level that hold for `platform`.
fn at_level(
    annotations: &[Annotation],
    level: AnnotationLevel,
    platform: Option<&Platform>,
) -> std::collections::BTreeMap<String, String> {
    let holds = |annotation: &&Annotation| {
        annotation.level == level
            && (annotation.platform.is_none() || annotation.platform.as_ref() == platform)
    };
    annotations
        .iter()
        .filter(holds)
        .map(|annotation| (annotation.key.clone(), annotation.value.clone()))
        .collect()
}
