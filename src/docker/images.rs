//! Images into Engines and out of them, in archives as `docker save` writes them:
//!
//! ```text
//! manifest.json        [{ "Config", "RepoTags", "Layers" }]
//! DIGEST.json          the config
//! DIFF-ID/layer.tar    a layer, as a tar or compressed with gzip
//! ```
//!
//! An Engine with its classic store knows layers by the chain of those below them, and reads no file of one that it has.
//! One with containerd's store knows blobs, and looks for those of a manifest in the archive and in what it has.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Seek as _, Write};
use std::time::Duration;

use bollard::query_parameters::{
    ImportImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use super::{DockerEngine, EngineError};
use crate::base::Digest;

/// An Engine unpacks an image before it answers, and packs it before it sends it.
const WORKING: Duration = Duration::from_secs(3600);
const CHUNK: usize = 256 * 1024;
/// An Engine that talks more than this is not listened to any further.
const MOST_LINES: usize = 1000;
/// How many images are asked about, and at one time.
const MOST_IMAGES: usize = 500;
const AT_ONCE: usize = 8;

/// An image to be loaded.
#[derive(Debug)]
pub struct LoadedImage {
    pub config: Vec<u8>,
    /// From the bottom.
    pub layers: Vec<LoadedLayer>,
    /// Familiar names with tags.
    pub tags: Vec<String>,
}

#[derive(Debug)]
pub struct LoadedLayer {
    pub diff_id: Digest,
    /// Nothing where the Engine has it.
    pub content: Option<File>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    config: String,
    repo_tags: &'a [String],
    layers: Vec<String>,
}

impl LoadedImage {
    /// Writes the archive.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut archive = tar::Builder::new(out);
        let config = format!("{}.json", Digest::of(&self.config).hex());
        let path = |layer: &LoadedLayer| format!("{}/layer.tar", layer.diff_id.hex());
        append(&mut archive, &config, self.config.len() as u64, &self.config[..])?;
        let mut written = HashSet::new();
        for layer in &self.layers {
            let Some(file) = &layer.content else { continue };
            if written.insert(layer.diff_id) {
                let mut file = file;
                file.rewind()?;
                append(&mut archive, &path(layer), file.metadata()?.len(), file)?;
            }
        }
        let layers = self.layers.iter().map(path).collect();
        let entry = [Entry { config, repo_tags: &self.tags, layers }];
        let text = serde_json::to_vec(&entry).expect("it holds only texts");
        append(&mut archive, "manifest.json", text.len() as u64, &text[..])?;
        archive.into_inner().map(drop)
    }

    /// The chains of its layers, by which a classic store knows them.
    pub fn chains(diff_ids: &[Digest]) -> Vec<Digest> {
        let mut chains: Vec<Digest> = Vec::with_capacity(diff_ids.len());
        for diff_id in diff_ids {
            chains.push(match chains.last() {
                None => *diff_id,
                Some(below) => Digest::of(format!("{below} {diff_id}")),
            });
        }
        chains
    }
}

fn append(
    archive: &mut tar::Builder<impl Write>,
    path: &str,
    size: u64,
    content: impl io::Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    archive.append_data(&mut header, path, content.take(size))
}

impl DockerEngine {
    /// Streams an archive into the Engine, and says what it calls the images in it. `progress` hears how much was sent.
    pub async fn load(
        &self,
        archive: impl AsyncRead + Send + 'static,
        progress: impl Fn(u64) + Send + 'static,
    ) -> Result<Vec<String>, EngineError> {
        let docker = self.api(WORKING);
        let options = ImportImageOptionsBuilder::new().quiet(true).build();
        let mut sent = 0;
        let chunks = ReaderStream::with_capacity(archive, CHUNK).inspect_ok(move |chunk| {
            sent += chunk.len() as u64;
            progress(sent);
        });
        let mut answers =
            std::pin::pin!(docker.import_image(options, bollard::body_try_stream(chunks), None));
        let mut images = Vec::new();
        while let Some(answer) = answers.next().await {
            let answer = answer.map_err(|error| self.error(&error))?;
            let lines = answer.stream.iter().flat_map(|text| text.lines());
            images.extend(lines.filter_map(loaded_image).take(MOST_LINES - images.len()));
        }
        Ok(images)
    }

    /// An image as an archive.
    pub fn save(&self, name: &str) -> impl Stream<Item = Result<Bytes, EngineError>> + Send + 'static {
        let (engine, name) = (self.clone(), name.to_string());
        let chunks = self.api(WORKING).export_image(&name);
        chunks.map_err(move |error| match error {
            bollard::errors::Error::DockerResponseServerError { status_code: 404, .. } => {
                EngineError::NoImage { address: engine.address().text().into(), name: name.clone() }
            }
            error => engine.error(&error),
        })
    }

    /// Takes a name from an image, and removes it where that was its last; whether it was there.
    pub async fn remove_image(&self, name: &str) -> Result<bool, EngineError> {
        let options = RemoveImageOptionsBuilder::new().build();
        match self.api(WORKING).remove_image(name, Some(options), None).await {
            Ok(_) => Ok(true),
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(false),
            Err(error) => Err(self.error(&error)),
        }
    }

    /// The manifests whose blobs containerd's store has all of. Engines before 27.1 do not tell, and seem to have none.
    pub async fn manifests(&self) -> Result<HashSet<Digest>, EngineError> {
        let options = ListImagesOptionsBuilder::new().all(true).manifests(true).build();
        let images = self.api(WORKING).list_images(Some(options)).await;
        let images = images.map_err(|error| self.error(&error))?;
        let manifests = images.into_iter().flat_map(|image| image.manifests.unwrap_or_default());
        let whole = manifests.filter(|manifest| manifest.available);
        Ok(whole.filter_map(|manifest| manifest.id.parse().ok()).take(MOST_IMAGES).collect())
    }

    /// The chains of layers that its images are made of.
    pub async fn chains(&self) -> Result<HashSet<Digest>, EngineError> {
        let docker = self.api(WORKING);
        let images = docker.list_images(Some(ListImagesOptionsBuilder::new().all(true).build())).await;
        let images = images.map_err(|error| self.error(&error))?;
        let inspected = stream::iter(images.into_iter().take(MOST_IMAGES)).map(|image| {
            let docker = docker.clone();
            // One that is removed meanwhile has nothing to tell.
            async move { docker.inspect_image(&image.id).await.ok()?.root_fs?.layers }
        });
        let layers: Vec<Option<Vec<String>>> = inspected.buffer_unordered(AT_ONCE).collect().await;
        let mut chains = HashSet::new();
        for layers in layers.into_iter().flatten() {
            let diff_ids: Result<Vec<Digest>, _> = layers.iter().map(|layer| layer.parse()).collect();
            chains.extend(diff_ids.map(|diff_ids| LoadedImage::chains(&diff_ids)).unwrap_or_default());
        }
        Ok(chains)
    }
}

/// The image in a line such as `Loaded image: app:1`.
fn loaded_image(line: &str) -> Option<String> {
    let image = line.strip_prefix("Loaded image: ").or_else(|| line.strip_prefix("Loaded image ID: "))?;
    Some(image.trim().chars().filter(|c| !c.is_control()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_about_images_count() {
        for (line, expected) in [
            ("Loaded image: app:1", Some("app:1")),
            ("Loaded image ID: sha256:12", Some("sha256:12")),
            ("Loading layer", None),
        ] {
            assert_eq!(loaded_image(line).as_deref(), expected);
        }
    }

    #[test]
    fn chains_are_those_of_the_image_specification() {
        let [a, b, c] = ["a", "b", "c"].map(Digest::of);
        let ab = Digest::of(format!("{a} {b}"));
        assert_eq!(LoadedImage::chains(&[a, b, c]), [a, ab, Digest::of(format!("{ab} {c}"))]);
        assert_eq!(LoadedImage::chains(&[]), []);
    }
}
