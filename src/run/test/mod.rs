//! The test node: what the build file expects of one platform's image is tried, before the image is merged.
//!
//! A test that passed is not run again as long as the image, the test and what it mounts are the same.

mod attempt;
mod check;
mod image_config;
mod why;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use attempt::{Attempt, Failure};

use super::worker::PlanWorker;
use crate::base::explanation::Explanation;
use crate::base::payload::Outcome;
use crate::base::{Digest, NodeId, Parts, StepId};
use crate::diag::{Kind, Problem};
use crate::engine::base::{Base, Origin};
use crate::engine::embedded::Embedded;
use crate::engine::embedded::found_files::ImageFiles;
use crate::engine::{BuildOutcome, Engine, JobEvents, SEMANTICS};
use crate::event::Event;
use crate::model::{Test, TestMount};
use crate::oci::Manifest;
use crate::plan::TestNode;
use crate::publish::merge::read_manifest;
use crate::report::test_results::{TestEnd, TestResult};
use crate::store::{KeyKind, NewRecord, Store};

/// The code of the problem that a test failed.
pub const FAILED: &str = "test::failed";

/// The results of a run, in the order they came.
#[derive(Default)]
pub(super) struct TestResults(Mutex<Vec<TestResult>>);

impl TestResults {
    fn add(&self, result: TestResult) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(result);
    }

    pub fn all(&self) -> Vec<TestResult> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Runs the tests of a node. All of them, so that one look tells everything that fails.
pub(super) async fn work<E: Engine>(
    worker: &PlanWorker<E>,
    id: NodeId,
    node: &TestNode,
) -> Result<Outcome, Box<Problem>> {
    let image = worker.image(&node.target, &node.platform).ok_or_else(|| {
        Box::new(Problem::new(Kind::Bug, "run::test", format!("`{}` has no image to test", node.target)))
    })?;
    let bench = Bench::new(worker, id, node, &image);
    let Looked { waiting, passed, oldest } = bench.look(&worker.tools.store)?;
    for test in passed {
        worker.tests.add(bench.result(test, TestEnd::Passed, Duration::ZERO, 0));
    }
    if worker.tools.explains {
        let explanation = explained(worker, &bench, &waiting, oldest)?;
        worker.tools.events.emit(Event::Explained { node: id, explanation });
    }
    if waiting.is_empty() {
        return Ok(Outcome::Reused);
    }
    worker.blobs.bring_image(&image.manifest, &bench.events).await?;
    let manifest = read_manifest(&worker.tools.store, &image.manifest)?;
    let config = worker.config(&manifest)?;
    let base = Base {
        name: node.target.clone(),
        manifest: image.config,
        config: config.into(),
        layers: manifest.layers.clone(),
        compressions: image.compressions.clone(),
        origin: Origin::Store,
    };
    let files = bench.engine.files(&base, &node.platform, &bench.events).await?;
    let mut problems = Vec::new();
    for (number, test, key) in waiting {
        let result = bench.run(number, test, &base, &manifest, &files).await?;
        match &result.end {
            TestEnd::Passed => {
                let (digest, subject) = (key.digest(), bench.subject(test));
                let record = NewRecord {
                    kind: KeyKind::Node,
                    key: &digest,
                    subject: &subject,
                    value: b"{}",
                    parts: Some(&key),
                    blobs: &[],
                };
                worker.tools.store.keys().put(&record).map_err(|error| Box::new(error.problem()))?;
            }
            TestEnd::Failed { reasons, output } => problems.push(problem(node, test, reasons, output)),
        }
        worker.tests.add(result);
    }
    joined(problems).map_or(Ok(Outcome::Built), |problem| Err(Box::new(problem)))
}

/// What a bake would find of a node's tests, nothing of which runs. The image may have to be built first.
pub(super) fn explanation<E: Engine>(
    worker: &PlanWorker<E>,
    id: NodeId,
    node: &TestNode,
) -> Result<Explanation, Box<Problem>> {
    let Some(image) = worker.image(&node.target, &node.platform) else {
        return Ok(Explanation::Open { waits_for: vec![format!("{} {}", node.target, node.platform)] });
    };
    let bench = Bench::new(worker, id, node, &image);
    let Looked { waiting, oldest, .. } = bench.look(&worker.tools.store)?;
    explained(worker, &bench, &waiting, oldest)
}

fn explained<E: Engine>(
    worker: &PlanWorker<E>,
    bench: &Bench<'_>,
    waiting: &[(usize, &Test, Parts)],
    oldest: Option<i64>,
) -> Result<Explanation, Box<Problem>> {
    match (waiting.is_empty(), oldest) {
        (true, Some(made)) => Ok(worker.hit("this store".to_string(), made)),
        _ => why::explanation(bench, &worker.tools.store, waiting).map_err(|error| Box::new(error.problem())),
    }
}

/// The tests of a node, as far as the store knows.
struct Looked<'n> {
    /// Those that must run: number, test and key.
    waiting: Vec<(usize, &'n Test, Parts)>,
    passed: Vec<&'n Test>,
    /// When the first of those passed, in seconds after the epoch.
    oldest: Option<i64>,
}

/// What the tests of one node have in common.
struct Bench<'a> {
    engine: &'a Embedded,
    node: &'a TestNode,
    /// The digest of the image's config, which says what all its layers hold.
    image: Digest,
    /// And how its layers are compressed.
    manifest: Digest,
    events: JobEvents,
}

impl<'a> Bench<'a> {
    fn new<E: Engine>(
        worker: &'a PlanWorker<E>,
        id: NodeId,
        node: &'a TestNode,
        image: &BuildOutcome,
    ) -> Self {
        Self {
            engine: &worker.tools.sandbox,
            node,
            image: image.config,
            manifest: image.manifest.digest,
            events: JobEvents { node: id, sink: worker.tools.events.clone() },
        }
    }

    fn look(&self, store: &Store) -> Result<Looked<'a>, Box<Problem>> {
        let mut looked = Looked { waiting: Vec::new(), passed: Vec::new(), oldest: None };
        for (number, test) in self.node.tests.iter().enumerate() {
            let key = self.key(test)?;
            let known = store.keys().get(KeyKind::Node, &key.digest());
            match known.map_err(|error| Box::new(error.problem()))?.filter(|_| !self.node.is_fresh) {
                Some(record) => {
                    let oldest = looked.oldest.map_or(record.created, |oldest| oldest.min(record.created));
                    looked.oldest = Some(oldest);
                    looked.passed.push(test);
                }
                None => looked.waiting.push((number, test, key)),
            }
        }
        Ok(looked)
    }

    /// Whose results are compared with each other.
    fn subject(&self, test: &Test) -> String {
        format!("{} {}", self.node, test.name)
    }

    /// What decides whether a test passes.
    fn key(&self, test: &Test) -> Result<Parts, Box<Problem>> {
        let mut parts = Parts::new();
        parts.text("test", format!("embedded {SEMANTICS}"));
        parts.digest_of("image", self.image);
        if test.expect.max_size.or(test.expect.max_layer_size).is_some() {
            parts.digest_of("image compressed", self.manifest);
        }
        parts.text("platform", self.node.platform.to_string());
        parts.text("definition", format!("{:?}", test.definition()));
        if let Some(emulator) = self.engine.emulator(&self.node.platform) {
            parts.text("emulator", emulator);
        }
        for mount in &test.mounts {
            parts.digest_of(format!("mount {}", mount.target), content(mount, &test.name)?);
        }
        Ok(parts)
    }

    async fn run(
        &self,
        number: usize,
        test: &Test,
        base: &Base,
        manifest: &Manifest,
        files: &ImageFiles,
    ) -> Result<TestResult, Box<Problem>> {
        let begin = Instant::now();
        let step = StepId(u32::try_from(number).expect("a build file has fewer than 2^32 tests"));
        self.events.sink.emit(Event::StepStarted {
            node: self.events.node,
            step,
            stage: "test".to_string(),
            text: test.name.clone(),
            number: number + 1,
            total: self.node.tests.len(),
            emulated: test.runs() && self.is_emulated(),
        });
        let (mut attempts, mut failure) = (0, None);
        let still = {
            let mut still = check::absent(&test.expect.absent, files);
            still.extend(check::sizes(&test.expect, manifest));
            let config = test.expect.config.as_ref();
            still.extend(
                config.into_iter().flat_map(|expect| image_config::wrong(expect, &base.config.config)),
            );
            still
        };
        while attempts <= test.retries {
            attempts += 1;
            failure = self.attempt(test, base, files).await?;
            if failure.is_none() {
                break;
            }
        }
        let (mut reasons, output) =
            failure.map_or((Vec::new(), String::new()), |Failure { reasons, output }| (reasons, output));
        reasons.extend(still);
        let end = if reasons.is_empty() { TestEnd::Passed } else { TestEnd::Failed { reasons, output } };
        if end == TestEnd::Passed {
            self.events.step_finished(step, Outcome::Built, begin.elapsed());
        }
        Ok(self.result(test, end, begin.elapsed(), attempts))
    }

    async fn attempt(
        &self,
        test: &Test,
        image: &Base,
        files: &ImageFiles,
    ) -> Result<Option<Failure>, Box<Problem>> {
        if test.runs() {
            let (engine, platform, events) = (self.engine, &self.node.platform, &self.events);
            let attempt = Attempt { engine, image, platform, files, test, events };
            return match attempt.make().await {
                // The image has no such command, or no such user: that is what was to be found out.
                Err(problem) if problem.kind == Kind::Input => {
                    Ok(Some(Failure { reasons: vec![problem.message.clone()], output: String::new() }))
                }
                made => made.map_err(|problem| Box::new(problem.at(test.place.clone(), "this test"))),
            };
        }
        let found: Vec<_> = test.expect.files.iter().map(|file| files.find(&file.path)).collect();
        let reasons = check::files(&test.expect.files, &found, |spec| files.owner(spec));
        Ok((!reasons.is_empty()).then_some(Failure { reasons, output: String::new() }))
    }

    fn result(&self, test: &Test, end: TestEnd, elapsed: Duration, attempts: u32) -> TestResult {
        TestResult {
            target: self.node.target.clone(),
            platform: self.node.platform.clone(),
            name: test.name.clone(),
            end,
            elapsed,
            attempts,
            is_emulated: test.runs() && self.is_emulated(),
        }
    }

    fn is_emulated(&self) -> bool {
        self.engine.emulator(&self.node.platform).is_some()
    }
}

/// What a mounted file or folder holds.
fn content(mount: &TestMount, test: &str) -> Result<Digest, Box<Problem>> {
    let failed = |error: std::io::Error| {
        let message =
            format!("cannot read `{}`, which test `{test}` mounts: {error}", mount.source.display());
        let problem = Problem::input("test::mount", message);
        Box::new(match &mount.place {
            Some(place) => problem.at(place.clone(), "mounted here"),
            None => problem,
        })
    };
    let mut parts = Parts::new();
    add_content(&mut parts, &mount.source, "").map_err(failed)?;
    Ok(parts.digest())
}

fn add_content(parts: &mut Parts, path: &std::path::Path, name: &str) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = std::fs::symlink_metadata(path)?;
    parts.text(format!("{name} mode"), format!("{:o}", metadata.permissions().mode()));
    if metadata.is_dir() {
        let mut names: Vec<_> =
            std::fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<_>>()?;
        names.sort();
        for entry in names {
            add_content(parts, &path.join(&entry), &format!("{name}/{}", entry.to_string_lossy()))?;
        }
    } else if metadata.is_symlink() {
        parts.text(format!("{name} link"), std::fs::read_link(path)?.to_string_lossy().into_owned());
    } else if metadata.is_file() {
        let mut reader = crate::base::HashingReader::new(std::fs::File::open(path)?);
        std::io::copy(&mut reader, &mut std::io::sink())?;
        parts.digest_of(format!("{name} content"), reader.finish().0);
    }
    Ok(())
}

fn problem(node: &TestNode, test: &Test, reasons: &[String], output: &str) -> Problem {
    let message = format!(
        "test `{}` of `{}` for {} failed: {}",
        test.name,
        node.target,
        node.platform,
        reasons.join("; ")
    );
    let problem = Problem::new(Kind::Build, FAILED, message).at(test.place.clone(), "this test");
    if output.is_empty() { problem } else { problem.details(output.to_string()) }
}

/// All failures of a node as one problem.
fn joined(mut problems: Vec<Problem>) -> Option<Problem> {
    if problems.len() < 2 {
        return problems.pop();
    }
    let mut first = problems.remove(0);
    for other in problems {
        first.message = format!("{}\n{}", first.message, other.message);
        first.labels.extend(other.labels);
        let details = [first.details.take(), other.details].into_iter().flatten().collect::<Vec<_>>();
        first.details = (!details.is_empty()).then(|| details.join("\n"));
    }
    Some(first)
}
