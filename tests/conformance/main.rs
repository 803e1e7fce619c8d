//! Dockerfiles built by `mab` and by BuildKit, and what came out compared: config, history and every entry
//! of every layer. The cases are data, in tests/corpus/dockerfile; BuildKit's answers stand beside them, so
//! that `mab` is held to them where no BuildKit runs. Where one runs, the answers are held to it.
//!
//! - `MAB_CASE=TEXT` takes only the cases whose names hold the text;
//! - `MAB_WORKERS=all` builds every case on workers, and not some of each kind, which takes minutes;
//! - `MAB_RECORD=1` writes BuildKit's answers anew, `MAB_BLESS=1` our own messages.

#![allow(clippy::unwrap_used, reason = "the lint knows test functions, not what they call")]

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "other tests use more of the vocabulary")]
mod support;

mod buildkit;
mod case;
mod context;
mod elsewhere;
mod image;
mod mab;
mod record;
mod workshop;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use buildkit::BuildKit;
use case::Case;
use record::{Record, difference};
use support::surroundings::{base, needs, needs_root};
use workshop::{Times, Workshop};

/// The base that cases build on; only root makes the files that some contexts hold, and git repositories.
fn ready() -> Option<PathBuf> {
    if needs_root() && needs("git") { base() } else { None }
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some()
}

/// Panics with all that is wrong, if anything is.
#[track_caller]
fn nothing_wrong(wrong: &[(String, String)], of: usize) {
    let text: String = wrong.iter().map(|(case, what)| format!("{case}\n{what}\n")).collect();
    assert!(wrong.is_empty(), "{} of {of} cases:\n{text}", wrong.len());
}

#[test]
fn mab_makes_the_images_that_buildkit_makes() {
    let Some(base) = ready() else { return };
    let cases = case::all();
    let cases: Vec<&Case> = cases.iter().filter(|case| !case.options.fails).collect();
    let workshop = Workshop::new(&base, cases.iter().copied(), Times::SameForAll);
    let built = mab::build_all(&workshop, &cases);
    let wrong: Vec<(String, String)> = cases
        .iter()
        .filter_map(|case| Some((case.name.clone(), wrong_image(case, &built[&case.name])?)))
        .collect();
    nothing_wrong(&wrong, cases.len());

    let expected = mab::digests(&workshop);
    let again = |what: &str| {
        mab::bake(&workshop, &[]).succeeded().says("nothing had to be done");
        assert_eq!(mab::digests(&workshop), expected, "{what}");
    };
    again("a second time");
    cases.iter().for_each(|case| touch(&workshop.context(case)));
    again("with new times on every file");
}

/// What is wrong with what `mab` made of a case.
fn wrong_image(case: &Case, built: &Result<Record, String>) -> Option<String> {
    let built = match built {
        Ok(record) => record.text(),
        Err(message) => return Some(message.clone()),
    };
    let own = if case.options.differs.is_some() { "image.mab.txt" } else { "image.txt" };
    if case.options.differs.is_some() && is_set("MAB_BLESS") {
        fs::write(case.file(own), &built).expect("the corpus is writable");
    }
    let differences = difference(&case.text(own), &built);
    if !differences.is_empty() {
        return Some(differences);
    }
    let is_no_deviation = case.options.differs.is_some() && case.text("image.txt") == built;
    is_no_deviation.then(|| "  it does not differ from BuildKit's any more".to_string())
}

/// Gives every file below a folder another time.
fn touch(folder: &Path) {
    for entry in fs::read_dir(folder).expect("it is a folder").flatten() {
        let (kind, path) = (entry.file_type().expect("it is there"), entry.path());
        if kind.is_dir() {
            touch(&path);
        } else if kind.is_file() {
            let file = fs::File::options().append(true).open(&path).expect("it is ours");
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_333_333_333))
                .expect("it is ours");
        }
    }
}

/// Cases that are refused on workers, or come out otherwise: names of files must be text there; a file has fractions of
/// a second in its time, made of its content, which a copy of it loses, so that the copy is a change; and a daemon in a
/// user namespace, which one of the two is, writes files after it has set their modes, which costs them setuid and setgid.
const OTHER_ON_WORKERS: [&str; 4] =
    ["copy-strange-names", "layers-run-copies-same", "copy-chmod-setuid-and-chown", "copy-modes"];

/// Of the cases in which nothing but the Dockerfile matters, one in so many is built on workers: the Dockerfile is
/// read there by the frontend that `buildkit_still_gives_the_recorded_answers` asks.
const ONE_IN: usize = 4;

/// Whether a case is about what `mab` has to tell or to send a worker.
fn is_about_the_client(case: &Case) -> bool {
    let options = &case.options;
    let has_images = !options.images.is_empty() || !case.named_contexts().is_empty();
    let is_asked = !options.secrets.is_empty() || options.ssh || !options.entitlements.is_empty();
    // It is told which commit that is, or sent the files.
    let is_of_a_repository = !case.text("repository").is_empty();
    has_images || is_asked || is_of_a_repository || options.stage.is_some() || !options.labels.is_empty()
}

/// Those that workers build: all that are about the client, and some of the rest.
fn some_of(cases: Vec<&Case>) -> Vec<&Case> {
    let chosen = cases.iter().enumerate().filter(|(number, case)| {
        is_set("MAB_WORKERS") || is_set("MAB_CASE") || number % ONE_IN == 0 || is_about_the_client(case)
    });
    let chosen: Vec<&Case> = chosen.map(|(_, case)| *case).collect();
    let images: Vec<String> =
        chosen.iter().flat_map(|case| case.image_names()).map(|(_, image)| image).collect();
    let is_wanted =
        |case: &&Case| images.contains(&case.name) || chosen.iter().any(|other| other.name == case.name);
    cases.into_iter().filter(is_wanted).collect()
}

/// Cases through `--builder`. The files of all cases have the same times, so that a worker which took one for
/// another would show.
#[test]
fn workers_of_a_builder_make_the_same_images() {
    let Some(base) = ready() else { return };
    let Some(buildkit) = BuildKit::find() else { return };
    let cases = case::all();
    let is_for_workers = |case: &&Case| {
        let is_other = OTHER_ON_WORKERS.contains(&case.name.as_str());
        !case.options.fails && case.options.recorded_only.is_none() && !is_other
    };
    let cases = some_of(cases.iter().filter(is_for_workers).collect());
    let workshop = Workshop::new(&base, cases.iter().copied(), Times::SameForAll);
    workshop.project.write("../home/.config/mab/config.toml", buildkit.builder("fleet"));
    let built = mab::build_all_with(&workshop, &cases, &["--builder", "fleet"]);
    let wrong = cases.iter().filter_map(|case| {
        let what = match &built[&case.name] {
            Err(message) => message.clone(),
            Ok(record) => {
                // Epochs are followed as everywhere in mab; what else differs there is this machine's own way.
                let is_ours = case.options.differs.is_some() && case.text("image.mab.txt") == record.text();
                let differences = difference(&case.text("image.txt"), &record.text());
                (!is_ours && !differences.is_empty()).then_some(differences)?
            }
        };
        Some((case.name.clone(), what))
    });
    nothing_wrong(&wrong.collect::<Vec<_>>(), cases.len());
}

/// What the BuildKit of an Engine with the classic store makes otherwise, being five years old: what is copied again makes a
/// layer again, with the same files; and durations of less than a millisecond are refused by it.
const OTHER_ON_CLASSIC: [&str; 6] = [
    "config-healthcheck-odd-durations",
    "copy-same-file-twice",
    "layers-copied-again-from-stage",
    "layers-copied-again-with-all",
    "layers-directory-copied-again",
    "layers-link-copied-again",
];

/// Cases on the Docker Engine of the distribution, which has the classic store and an old frontend: whatever that knows
/// comes out the same, and the rest is refused before anything runs.
#[test]
fn an_engine_with_the_classic_store_makes_the_same_images() {
    let Some(base) = ready() else { return };
    let Some(engine) = support::engine::engines().into_iter().find(|engine| engine.is_classic()) else {
        return;
    };
    let cases = case::all();
    let is_for_workers = |case: &&Case| {
        let name = case.name.as_str();
        let is_other = OTHER_ON_WORKERS.contains(&name) || OTHER_ON_CLASSIC.contains(&name);
        let is_recorded = !case.options.fails && case.options.recorded_only.is_none();
        is_recorded && !is_other
    };
    let cases = some_of(cases.iter().filter(is_for_workers).collect());
    let workshop = Workshop::new(&base, cases.iter().copied(), Times::SameForAll);
    let builder = format!("[builder.old]\nworkers = [{{ endpoint = \"docker://{}\" }}]\n", engine.socket());
    workshop.project.write("../home/.config/mab/config.toml", builder);
    // The Engines of tests have no network to give to a container.
    let built = mab::build_all_with(&workshop, &cases, &["--builder", "old", "--set", "*.network=none"]);
    let is_refused = |message: &str| {
        ["builder::language", "builder::no-worker", "buildkit::classic"]
            .iter()
            .any(|code| message.contains(code))
    };
    let mut refused = 0;
    let wrong = cases.iter().filter_map(|case| {
        let what = match &built[&case.name] {
            Err(message) if is_refused(message) => {
                refused += 1;
                None?
            }
            Err(message) => message.clone(),
            Ok(record) => {
                let is_ours = case.options.differs.is_some() && case.text("image.mab.txt") == record.text();
                let differences = difference(&case.text("image.txt"), &record.text());
                (!is_ours && !differences.is_empty()).then_some(differences)?
            }
        };
        Some((case.name.clone(), what))
    });
    let wrong: Vec<_> = wrong.collect();
    nothing_wrong(&wrong, cases.len());
    assert!(is_set("MAB_CASE") || refused * 3 < cases.len() * 2, "{refused} of {} are refused", cases.len());
    assert_eq!(engine.names_with("mab-"), Vec::<String>::new(), "nothing is left there");
}

#[test]
fn what_cannot_be_built_is_said_in_words() {
    let Some(base) = ready() else { return };
    let cases = case::all();
    let cases: Vec<&Case> = cases.iter().filter(|case| case.options.fails).collect();
    let workshop = Workshop::new(&base, cases.iter().copied(), Times::SameForAll);
    let mut wrong = Vec::new();
    for case in &cases {
        let actual = failure_of(&workshop, case);
        if is_set("MAB_BLESS") {
            fs::write(case.file("error.txt"), &actual).expect("the corpus is writable");
        }
        let differences = difference(&case.text("error.txt"), &actual);
        if actual.starts_with("exit 0") || !differences.is_empty() {
            wrong.push((case.name.clone(), differences));
        }
    }
    nothing_wrong(&wrong, cases.len());
}

/// The exit code and the words of a build that should fail.
fn failure_of(workshop: &Workshop, case: &Case) -> String {
    let file = format!("{}/multiarch.toml", case.name);
    workshop.project.write(&file, workshop.build_file([case]));
    let ran = workshop.project.mab(&["bake", "-f", &file, "--progress", "quiet", "-j", "1"]).run();
    let code = ran.code.map_or("killed".to_string(), |code| code.to_string());
    workshop.without_address(&format!("exit {code}\n{}\n", ran.errors()))
}

#[test]
fn buildkit_still_gives_the_recorded_answers() {
    let Some(base) = ready() else { return };
    let Some(buildkit) = BuildKit::find() else { return };
    let cases = case::all();
    let cases: Vec<&Case> =
        cases.iter().filter(|case| case.options.recorded_only.is_none() || is_set("MAB_RECORD")).collect();
    let mut wrong = other_answers(&buildkit, &base, &cases, Times::OfEachCase);
    if !wrong.is_empty() && !is_set("MAB_RECORD") {
        // Now and then BuildKit loses the time of a folder that it is sent. What it says twice is its answer.
        let doubtful: Vec<&Case> = cases.iter().copied().filter(|case| concerns(case, &wrong)).collect();
        wrong = other_answers(&buildkit, &base, &doubtful, Times::OfEachCaseAgain);
    }
    nothing_wrong(&wrong, cases.len());
}

/// A case of these, or one whose image they build on.
fn concerns(case: &Case, wrong: &[(String, String)]) -> bool {
    wrong.iter().any(|(name, _)| {
        let stands_on = |other: &Case| {
            other.name == *name && other.image_names().iter().any(|(_, image)| *image == case.name)
        };
        case.name == *name || case::all().iter().any(stands_on)
    })
}

/// The cases that BuildKit does not answer as is recorded, and how.
fn other_answers(buildkit: &BuildKit, base: &Path, cases: &[&Case], times: Times) -> Vec<(String, String)> {
    let workshop = Workshop::new(base, cases.iter().copied(), times);
    let answers = buildkit.build_all(&workshop, cases);
    let other_answer = |case: &&Case| {
        let what = match (&answers[&case.name], case.options.fails) {
            (Ok(record), false) => stale_record(case, record, buildkit)?,
            (Err(failure), true) => other_class(case, failure)?,
            (Ok(record), true) => format!("BuildKit builds it:\n{}", record.text()),
            (Err(failure), false) => failure.log.clone(),
        };
        Some((case.name.clone(), what))
    };
    cases.iter().filter_map(other_answer).collect()
}

/// How the record differs from BuildKit's answer, on the platforms that it can run.
fn stale_record(case: &Case, answer: &Record, buildkit: &BuildKit) -> Option<String> {
    if is_set("MAB_RECORD") {
        fs::write(case.file("image.txt"), answer.text()).expect("the corpus is writable");
    }
    let recorded = Record::parse(&case.text("image.txt"));
    let recorded = recorded.of(|platform| buildkit.builds(case, platform));
    let differences = difference(&recorded.text(), &answer.text());
    (!differences.is_empty()).then_some(differences)
}

/// A step that fails there fails here as a step; what is refused there is refused here.
fn other_class(case: &Case, failure: &buildkit::Failure) -> Option<String> {
    let is_of_a_step = case.text("error.txt").starts_with("exit 1\n");
    (is_of_a_step != failure.is_of_a_step).then(|| failure.log.clone())
}
