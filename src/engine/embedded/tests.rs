//! Builds without commands, which need no privileges: what is built, what is found again, what is one image.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::{Embedded, EmbeddedOptions};
use crate::base::payload::StepCounts;
use crate::base::{Digest, NodeId, Platform};
use crate::cache::{Access, Caches};
use crate::context::Context;
use crate::diag::Source;
use crate::dockerfile::Dockerfile;
use crate::engine::forwarded::Forwarded;
use crate::engine::selection::{Selections, selection_digests};
use crate::engine::{BuildJob, BuildOutcome, Engine as _, JobEvents, Recipe, ToldOfLayer};
use crate::event::{Event, EventSink};
use crate::layer::{Compression, EntryKind, Index};
use crate::model::{Emulate, Network};
use crate::oci::{ImageConfig, Manifest};
use crate::registry::{Registry, RegistryOptions};
use crate::source::{SourceAuth, SourceOptions, Sources, Stdin};
use crate::steps::{BaseImages, Setting, lower};
use crate::store::Store;

struct Silent;

impl EventSink for Silent {
    fn emit(&self, _: Event) {}
}

/// A folder with a store, and a context beside it.
struct Place {
    folder: tempfile::TempDir,
    store: Store,
}

fn place(files: &[(&str, &str)]) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    let place = Place { folder, store };
    fs::create_dir(place.context()).unwrap();
    for (path, text) in files {
        place.write(path, text);
    }
    place
}

impl Place {
    fn context(&self) -> std::path::PathBuf {
        self.folder.path().join("context")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.context().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn engine(&self) -> Arc<Embedded> {
        let registry = Registry::new(RegistryOptions::default());
        let sources =
            Sources::new(self.store.clone(), SourceOptions::default(), Stdin::new(std::io::empty()));
        let caches = Caches::none(self.store.clone());
        Embedded::new(EmbeddedOptions { store: self.store.clone(), registry, sources, caches, jobs: 2 })
    }

    fn job(&self, text: &str, now: i64) -> BuildJob {
        let dockerfile = Dockerfile::parse(&Source::new("Dockerfile", text)).unwrap();
        let (platform, none, hosts, contexts) =
            (Platform::linux("amd64"), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let setting = Setting {
            dockerfile: &dockerfile,
            stage: None,
            target: &platform,
            build: &platform,
            args: &none,
            contexts: &contexts,
            labels: &[],
            network: Network::Default,
            shm_size: None,
            extra_hosts: &hosts,
            entitlements: &[],
            ulimits: &[],
        };
        let context = Context::walk(&self.context(), None, Some(self.store.clone())).unwrap();
        let steps = Arc::new(lower(&setting, &BaseImages::new()).unwrap());
        let contexts = BTreeMap::from([(None, Arc::new(context))]);
        // What is not there fails in the step that reads it, too.
        let selected = selection_digests(&Selections::default(), &steps, &contexts, &[]).unwrap_or_default();
        BuildJob {
            target: "t".into(),
            platform: platform.clone(),
            steps,
            recipe: Arc::new(Recipe::new(Arc::new(dockerfile.clone()), &setting, Emulate::Warn)),
            bases: Vec::new(),
            contexts,
            selected,
            sources: Vec::new(),
            auth: SourceAuth::default(),
            epoch: None,
            compression: Compression::GZIP,
            now,
            no_cache: false,
            no_cache_stages: Vec::new(),
            caches: Access::none(),
            step_caches: Arc::default(),
            destination: None,
            forwarded: Forwarded::default(),
            last_layer: None,
            events: JobEvents { node: NodeId(0), sink: Arc::new(Silent) },
        }
    }

    async fn build(&self, text: &str, now: i64) -> BuildOutcome {
        self.engine().build(self.job(text, now)).await.unwrap()
    }

    fn manifest(&self, image: &BuildOutcome) -> Manifest {
        Manifest::parse(&self.store.blobs().read(&image.manifest.digest, 1 << 20).unwrap()).unwrap()
    }

    fn config(&self, image: &BuildOutcome) -> ImageConfig {
        ImageConfig::parse(&self.store.blobs().read(&image.config, 1 << 20).unwrap()).unwrap()
    }

    /// The entries of the topmost layer, as `PATH` or `PATH=LINK`.
    fn top(&self, image: &BuildOutcome) -> String {
        let layer = self.manifest(image).layers.pop().unwrap();
        let (index, _) =
            Index::scan(self.store.blobs().open(&layer.digest).unwrap(), &layer.media_type).unwrap();
        let names = index.entries.iter().map(|indexed| {
            let path = String::from_utf8_lossy(&indexed.entry.path).into_owned();
            match &indexed.entry.kind {
                EntryKind::HardLink { target } => format!("{path}={}", String::from_utf8_lossy(target)),
                _ => path,
            }
        });
        names.collect::<Vec<_>>().join(" ")
    }

    fn sources(&self, text: &str) -> Vec<Digest> {
        let job = self.job(text, 0);
        selection_digests(&Selections::default(), &job.steps, &job.contexts, &[])
            .unwrap()
            .into_values()
            .collect()
    }
}

fn counts(image: &BuildOutcome) -> (usize, usize) {
    let StepCounts { built, reused, .. } = image.counts;
    (built, reused)
}

const TEXT: &str = "FROM scratch\nENV A=1\nCOPY a /x/\nWORKDIR /w\nCOPY b /x/";

#[tokio::test]
async fn only_what_changed_is_built_again() {
    let place = place(&[("a", "1"), ("b", "2")]);
    let first = place.build(TEXT, 100).await;
    assert_eq!(counts(&first), (3, 0));
    let second = place.build(TEXT, 200).await;
    assert_eq!((counts(&second), second.manifest), ((0, 3), first.manifest));
    place.write("b", "3");
    let third = place.build(TEXT, 300).await;
    assert_eq!(counts(&third), (1, 2));
    let mut job = place.job(TEXT, 400);
    job.no_cache = true;
    assert_eq!(counts(&place.engine().build(job).await.unwrap()), (3, 0));
}

#[tokio::test]
async fn a_last_layer_is_told_of_if_it_is_made() {
    let place = place(&[("a", "1"), ("b", "2")]);
    let told = Arc::new(Mutex::new(Vec::new()));
    let build = async |text: &str| {
        let told = told.clone();
        let last_layer: ToldOfLayer = Arc::new(move |layer| told.lock().unwrap().push(layer.digest));
        let job = BuildJob { last_layer: Some(last_layer), ..place.job(text, 0) };
        place.manifest(&place.engine().build(job).await.unwrap())
    };
    let last = build(TEXT).await.layers.pop().unwrap().digest;
    assert_eq!(*told.lock().unwrap(), [last], "of three layers that are made");
    build(TEXT).await;
    assert_eq!(told.lock().unwrap().len(), 1, "what is found again is told of to nobody");
    let last = build("FROM scratch AS s\nCOPY a /new\nFROM scratch\nCOPY --from=s /new /\nCOPY b /y/").await;
    assert_eq!(told.lock().unwrap()[1..], [last.layers[1].digest], "a stage of its own is none of the image");
}

#[tokio::test]
async fn history_has_the_times_of_the_layers_it_tells_of() {
    let place = place(&[("a", "1"), ("b", "2")]);
    place.build("FROM scratch\nENV A=1\nCOPY a /x/\nWORKDIR /w", 100).await;
    let config = place.config(&place.build(TEXT, 200).await);
    let times: Vec<_> = config.history.iter().map(|entry| entry.created.clone().unwrap()).collect();
    let (early, late) = ("1970-01-01T00:01:40Z", "1970-01-01T00:03:20Z");
    assert_eq!(times, [early, early, early, late]);
    assert_eq!(config.created.as_deref(), Some(late));
}

#[tokio::test]
async fn an_epoch_makes_the_same_image_at_any_time() {
    let mut images = Vec::new();
    for now in [1_000, 2_000] {
        let place = place(&[("a", "1"), ("b", "2")]);
        let mut job = place.job("FROM scratch\nWORKDIR /w\nCOPY a b ./\nUSER u", now);
        job.epoch = Some(500);
        images.push(place.engine().build(job).await.unwrap().manifest);
    }
    assert_eq!(images[0], images[1]);
}

#[tokio::test]
async fn stages_are_copied_with_their_hard_links_and_contents() {
    let place = place(&[("d/a", "1"), ("d/b", "2")]);
    fs::hard_link(place.context().join("d/a"), place.context().join("d/c")).unwrap();
    let copied = place.build("FROM scratch AS s\nCOPY d /d\nFROM scratch\nCOPY --from=s /d /e", 0).await;
    assert_eq!(place.top(&copied), "e e/a e/b e/c=e/a");
    // The same entries are the same layer, whatever they were copied from.
    let direct = place.build("FROM scratch\nCOPY d /e", 0).await;
    assert_eq!(counts(&direct), (0, 1));
}

#[tokio::test]
async fn equal_steps_of_two_builds_run_once() {
    let place = place(&[("a", "1"), ("b", "2")]);
    let engine = place.engine();
    let (one, two) = tokio::join!(engine.build(place.job(TEXT, 1)), engine.build(place.job(TEXT, 1)));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(counts(&one).0 + counts(&two).0, 3);
    assert_eq!(one.manifest, two.manifest);
}

#[tokio::test]
async fn a_long_dockerfile_needs_no_deep_stack() {
    let place = place(&[]);
    let text = (0..300)
        .fold("FROM scratch\n".to_string(), |text, number| text + &format!("COPY <<F /{number}\nx\nF\n"));
    assert_eq!(place.build(&text, 0).await.compressions.len(), 300);
}

#[test]
fn the_digest_of_a_selection_is_about_what_is_copied() {
    const COPY: &str = "FROM scratch\nCOPY d /";
    let place = place(&[("d/a", "1"), ("other", "2")]);
    let usual = place.sources(COPY);
    let path = place.context().join("d/a");
    let same = |why: &str| assert_eq!(place.sources(COPY), usual, "{why}");
    let other = |why: &str| assert_ne!(place.sources(COPY), usual, "{why}");
    set_time(&path);
    same("times");
    place.write("other", "3");
    same("other files");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    other("modes");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    same("modes that are back");
    place.write("d/a", "2");
    other("contents of the same size");
    place.write("d/a", "1");
    place.write("d/b", "");
    other("new files");
    fs::remove_file(place.context().join("d/b")).unwrap();
    same("files that are gone again");
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("../other", &path).unwrap();
    other("links");
}

fn set_time(path: &Path) {
    let early = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    fs::File::options().write(true).open(path).unwrap().set_modified(early).unwrap();
}
