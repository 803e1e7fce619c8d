//! The corpus of tag rules: events, rules and what they come to, one row each, in `tests/corpus/tags`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use mab::config::{self, Entry, Files, Overrides};
use mab::diag::Problem;
use mab::facts::{CiFacts, Facts, GitFacts};
use mab::model::{Project, Target};
use mab::report::tags;
use serde_json::{Value, json};

const SHA: &str = "860c1904a1ce19322e91ac35af1ab07466440c37";
const HEAD: &str = "337ca2f5b91be19d9728548b24759e352367ef15";

/// One build file and nothing else.
struct OneFile(String);

impl Files for OneFile {
    fn read(&self, _: &Path) -> io::Result<String> {
        Ok(self.0.clone())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<Entry>> {
        Ok(Vec::new())
    }
}

/// What a CI system says of an event, in our short words for it.
fn event(words: &str) -> (BTreeMap<String, String>, Option<Value>) {
    let (kind, name) = words.split_once(' ').unwrap_or((words, ""));
    let repository = json!({
        "name": "Hello-World", "full_name": "octo/Hello-World", "default_branch": "master",
        "description": "a \"first\" repository", "html_url": "https://github.com/octo/Hello-World",
        "license": {"spdx_id": "MIT"},
    });
    let github = |event: &str, reference: &str, mut payload: Value| {
        if event != "schedule" {
            payload["repository"] = repository.clone();
        }
        let commit = json!({"id": SHA, "timestamp": "2020-01-10T00:30:00+01:00"});
        payload["head_commit"] = commit;
        let variables = [
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_EVENT_NAME", event),
            ("GITHUB_REF", reference),
            ("GITHUB_SHA", SHA),
            ("GITHUB_REPOSITORY", "octo/Hello-World"),
            ("GITHUB_SERVER_URL", "https://github.com"),
        ];
        (variables.map(|(name, value)| (name.to_string(), value.to_string())).to_vec(), Some(payload))
    };
    let other = |variables: &[(&str, &str)]| {
        (variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(), None)
    };
    let pull = |number: &str| {
        let number: u64 = number.parse().expect("a number");
        json!({"number": number, "pull_request": {"base": {"ref": "master"}, "head": {"ref": "fix", "sha": HEAD}}})
    };
    let (heads, of_tags) = (format!("refs/heads/{name}"), format!("refs/tags/{name}"));
    let (variables, payload): (Vec<(String, String)>, _) = match kind {
        "push" => github("push", &heads, json!({})),
        "tag" => github("push", &of_tags, json!({"base_ref": "refs/heads/master"})),
        "pr" => github("pull_request", &format!("refs/pull/{name}/merge"), pull(name)),
        "pr-merged" => github("pull_request", "refs/heads/master", pull(name)),
        "pr-target" => github("pull_request_target", "refs/heads/master", pull(name)),
        "schedule" => github("schedule", "refs/heads/master", json!({})),
        "dispatch" => github("workflow_dispatch", &heads, json!({})),
        "create-branch" => github("create", &heads, json!({})),
        "create-tag" => github("create", &of_tags, json!({})),
        "release" => github("release", &of_tags, json!({})),
        "discussion" => github("discussion", "refs/heads/master", json!({})),
        "gitlab-tag" => other(&[("GITLAB_CI", "true"), ("CI_COMMIT_TAG", name), ("CI_COMMIT_SHA", SHA)]),
        "gitlab-push" => {
            other(&[("GITLAB_CI", "true"), ("CI_COMMIT_BRANCH", name), ("CI_DEFAULT_BRANCH", "main")])
        }
        "gitlab-merge" => other(&[
            ("GITLAB_CI", "true"),
            ("CI_MERGE_REQUEST_IID", name),
            ("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "main"),
            ("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "fix"),
        ]),
        "gitlab-schedule" => other(&[
            ("GITLAB_CI", "true"),
            ("CI_PIPELINE_SOURCE", "schedule"),
            ("CI_COMMIT_BRANCH", "main"),
            ("CI_DEFAULT_BRANCH", "main"),
        ]),
        "drone-cron" => other(&[
            ("DRONE", "true"),
            ("DRONE_BUILD_EVENT", "cron"),
            ("DRONE_BRANCH", "dev"),
            ("DRONE_REPO_BRANCH", "main"),
        ]),
        "gitea-pr" => {
            let reference = format!("refs/pull/{name}/head");
            other(&[
                ("GITEA_ACTIONS", "true"),
                ("GITHUB_EVENT_NAME", "pull_request"),
                ("GITHUB_REF", &reference),
            ])
        }
        "azure-tag" => other(&[("TF_BUILD", "True"), ("BUILD_SOURCEBRANCH", &of_tags)]),
        "said" => other(&[("MAB_TAG", name)]),
        "none" | "worktree" => other(&[]),
        _ => panic!("`{words}` is no event"),
    };
    (variables.into_iter().collect(), payload)
}

fn facts(words: &str, git_tags: &str) -> Facts {
    let (environment, payload) = event(words);
    let mut facts = Facts::for_test();
    facts.ci = CiFacts::detect(&environment, payload.as_ref());
    facts.environment = environment;
    facts.frozen = Some("2020-01-10T00:30:00Z".parse().expect("a time"));
    let at_head = words.strip_prefix("worktree").unwrap_or_default();
    if !git_tags.is_empty() || words.starts_with("worktree") {
        let list = |words: &str| words.split_whitespace().map(str::to_string).collect::<Vec<_>>();
        let sha = SHA.to_string();
        let git =
            GitFacts { sha, tags: list(at_head), all_tags: Some(list(git_tags)), ..GitFacts::for_test() };
        facts.git = Some(git);
    }
    facts
}

fn resolve(file: &str, facts: &Facts) -> Result<Project, Vec<Problem>> {
    let loaded = config::load(&PathBuf::from("/project/multiarch.toml"), &OneFile(file.to_string()));
    config::resolve(&loaded, facts, &Overrides::default()).map(|(project, _)| project)
}

/// What stands between ` | `, and between ` ;; ` within.
fn parts<'t>(text: &'t str, between: &str) -> Vec<&'t str> {
    text.split(between).map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn lines(key: &str, members: &str) -> String {
    match parts(members, ";;")[..] {
        [] => String::new(),
        ref lines => format!("{key} = {}\n", json!(lines)),
    }
}

/// The tags, or the first error; and the notes.
fn come_to(file: &str, facts: &Facts) -> (String, Vec<String>) {
    let project = match resolve(file, facts) {
        Ok(project) => project,
        Err(problems) => return (format!("! {}", problems[0].message), Vec::new()),
    };
    let target = &project.targets["api"];
    let Some(tagging) = &target.tagging else { return ("-".to_string(), Vec::new()) };
    assert_eq!(tagging.version.as_ref(), tagging.tags.first(), "the version is the first tag");
    let tags = if tagging.tags.is_empty() { "-".to_string() } else { tagging.tags.join(" ") };
    (tags, tagging.problems.iter().map(|problem| problem.message.clone()).collect())
}

/// Every row of a corpus through `check`, which gives what was expected and what came.
fn check_rows(name: &str, least: usize, check: impl Fn(&[&str]) -> (String, String)) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/tags").join(name);
    let text = std::fs::read_to_string(path).expect("the corpus is part of the repository");
    let rows: Vec<&str> = text.lines().filter(|row| !row.is_empty() && !row.starts_with('#')).collect();
    assert!(rows.len() >= least, "{name} has {} rows", rows.len());
    let mut wrong = Vec::new();
    for row in rows {
        // Patterns have `|` without spaces; an empty column has one on either side.
        let padded = format!(" {} ", row.replace(" | | ", " |  | ").replace(" | | ", " |  | "));
        let columns: Vec<&str> = padded.split(" | ").map(str::trim).collect();
        let (expected, actual) = check(&columns);
        let is_right = match expected.starts_with('!') {
            true => actual.starts_with(&expected),
            false => actual == expected,
        };
        if !is_right {
            wrong.push(format!("{row}\n    came to {actual}"));
        }
    }
    assert!(wrong.is_empty(), "{}\n{} rows differ", wrong.join("\n"), wrong.len());
}

#[test]
fn compatible_rules_come_to_what_metadata_action_makes() {
    check_rows("metadata-action.txt", 180, |columns| {
        let [event, rules, flavor, expected] = columns else { panic!("{columns:?} are not four columns") };
        let file = format!(
            "[target.api]\ncompat = \"metadata-action\"\n{}{}",
            lines("tag-rules", rules),
            lines("flavor", flavor)
        );
        (expected.to_string(), come_to(&file, &facts(event, if *event == "none" { "" } else { "v9.9.9" })).0)
    });
}

#[test]
fn our_own_ways_are_told_apart() {
    check_rows("own.txt", 35, |columns| {
        let [git_tags, event, rules, keys, expected] = columns else {
            panic!("{columns:?} are not five columns")
        };
        let keys: String = parts(keys, ";;").iter().map(|key| format!("{key}\n")).collect();
        let file = format!("[target.api]\n{}{keys}", lines("tag-rules", rules));
        let (tags, notes) = come_to(&file, &facts(event, git_tags));
        match expected.split_once(" ? ") {
            Some((expected, note)) => {
                let told = if notes.iter().any(|known| known == note) { note } else { "nothing such" };
                (format!("{expected} ? {note}"), format!("{tags} ? {told}"))
            }
            None => (expected.to_string(), tags),
        }
    });
}

fn target(file: &str, event: &str) -> Target {
    let mut project = resolve(file, &facts(event, "")).unwrap_or_else(|problems| panic!("{problems:?}"));
    project.targets.remove("api").expect("the target is there")
}

fn told(file: &str, event: &str) -> Value {
    tags::json(&[&target(file, event)])
}

#[test]
fn compatible_labels_and_annotations_are_those_of_the_action() {
    let file = r#"
[target.api]
compat = "metadata-action"
platforms = ["linux/amd64", "linux/arm64"]
images = ["org/app", "name=ghcr.io/MyUSER/MyApp", "name=quay.io/x/y,enable=false"]
tag-rules = """
# a comment
type=semver,pattern={{version}}

type=sha
"""
oci-labels = ["maintainer=Octo", "org.opencontainers.image.title=My {{branch}}Title", "dropped", "x=a=b"]
labels = { stage = "{{ target.version }}" }
oci-annotations = ["org.opencontainers.image.licenses="]
"#;
    let told = told(file, "tag v1.1.1");
    assert_eq!(told["version"], "1.1.1");
    let names = ["1.1.1", "sha-860c190", "latest"];
    assert_eq!(told["tag-names"], json!(names));
    let of = |image: &str| names.map(|name| format!("{image}:{name}"));
    assert_eq!(told["tags"], json!([of("org/app"), of("ghcr.io/myuser/myapp")].concat()));
    assert_eq!(
        told["labels"],
        json!({
            "maintainer": "Octo",
            "org.opencontainers.image.created": "2020-01-10T00:30:00.000Z",
            "org.opencontainers.image.description": "a \"first\" repository",
            "org.opencontainers.image.licenses": "MIT",
            "org.opencontainers.image.revision": SHA,
            "org.opencontainers.image.source": "https://github.com/octo/Hello-World",
            "org.opencontainers.image.title": "My Title",
            "org.opencontainers.image.url": "https://github.com/octo/Hello-World",
            "org.opencontainers.image.version": "1.1.1",
            "stage": "1.1.1",
            "x": "a=b",
        })
    );
    assert_eq!(
        told["annotations"],
        json!([
            "manifest:org.opencontainers.image.created=2020-01-10T00:30:00.000Z",
            "manifest:org.opencontainers.image.description=a \"first\" repository",
            "manifest:org.opencontainers.image.licenses=",
            format!("manifest:org.opencontainers.image.revision={SHA}"),
            "manifest:org.opencontainers.image.source=https://github.com/octo/Hello-World",
            "manifest:org.opencontainers.image.title=Hello-World",
            "manifest:org.opencontainers.image.url=https://github.com/octo/Hello-World",
            "manifest:org.opencontainers.image.version=1.1.1",
        ])
    );
}

#[test]
fn compatible_images_may_stand_on_one_line() {
    let file = "[target.api]\ncompat = \"metadata-action\"\nplatforms = [\"linux/amd64\"]\nimages = [\"org/app,ghcr.io/MyUSER/MyApp\"]\n";
    assert_eq!(told(file, "push dev")["tags"], json!(["org/app:dev", "ghcr.io/myuser/myapp:dev"]));
    let file = file.replace("org/app,ghcr.io/MyUSER/MyApp", "org/app,name=org/other,enable=true");
    assert_eq!(told(&file, "push dev")["tags"], json!(["org/other:dev"]));
}

#[test]
fn the_environment_says_what_it_says_there() {
    let file = "[target.api]\ncompat = \"metadata-action\"\ntag-rules = [\"type=sha\"]\nplatforms = [\"linux/amd64\"]\n";
    let with = |event: &str, name: &str, value: &str| {
        let mut facts = facts(event, "");
        facts.environment.insert(name.to_string(), value.to_string());
        let project = resolve(file, &facts).map_err(|problems| problems[0].message.clone())?;
        Ok::<_, String>(tags::json(&[&project.targets["api"]]))
    };
    let told = with("pr 15", "DOCKER_METADATA_PR_HEAD_SHA", "true").unwrap();
    assert_eq!(told["version"], "sha-337ca2f");
    assert_eq!(told["labels"]["org.opencontainers.image.revision"], HEAD);
    assert_eq!(
        with("push dev", "DOCKER_METADATA_SHORT_SHA_LENGTH", "10").unwrap()["version"],
        "sha-860c1904a1"
    );
    let long = with("push dev", "DOCKER_METADATA_SHORT_SHA_LENGTH", "99").unwrap();
    assert_eq!(long["version"], format!("sha-{SHA}"));
    let message = with("push dev", "DOCKER_METADATA_SHORT_SHA_LENGTH", "ten").unwrap_err();
    assert!(message.ends_with("is `ten`, which is no number"), "{message}");
    let told = with("push dev", "DOCKER_METADATA_ANNOTATIONS_LEVELS", "index,manifest-descriptor").unwrap();
    let annotations: Vec<&str> =
        told["annotations"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(annotations.len(), 16);
    assert!(annotations[0].starts_with("index:org.opencontainers.image.created="), "{annotations:?}");
    assert!(annotations[8].starts_with("manifest-descriptor:org.opencontainers.image.created="));
}

#[test]
fn without_a_version_there_are_labels_and_no_tags() {
    let told = told("[target.api]\ncompat = \"metadata-action\"\nimages = [\"user/app\"]\n", "none");
    assert_eq!(told["version"], Value::Null);
    assert_eq!((&told["tags"], &told["tag-names"]), (&json!([]), &json!([])));
    assert_eq!(told["labels"]["org.opencontainers.image.version"], "");
    assert_eq!(told["labels"]["org.opencontainers.image.licenses"], "");
}

#[test]
fn our_own_annotations_are_of_the_index_and_say_what_is_known() {
    let file = r#"
[target.api]
images = ["r.example/app"]
tag-rules = [{ ref = "branch" }, { raw = "x", enable = "false" }]
tags = ["extra", "r.example/other:1"]
annotations = ["index:org.opencontainers.image.title=Mine", "index:own=1"]
"#;
    let two = format!("{file}platforms = [\"linux/amd64\", \"linux/arm64\"]\n");
    let told_of = |file: &str| told(file, "gitlab-push main");
    let told = told_of(&two);
    assert_eq!(told["tags"], json!(["r.example/app:main", "r.example/app:extra", "r.example/other:1"]));
    assert_eq!(told["tag-names"], json!(["main", "extra", "1"]));
    assert_eq!(told["labels"], json!({}));
    assert_eq!(
        told["annotations"],
        json!([
            "index:org.opencontainers.image.created=2020-01-10T00:30:00.000Z",
            "index:org.opencontainers.image.version=main",
            "index:org.opencontainers.image.title=Mine",
            "index:own=1",
        ])
    );
    let one = told_of(&format!("{file}platforms = [\"linux/amd64\"]\n"));
    assert_eq!(one["annotations"][1], "manifest:org.opencontainers.image.version=main");
    let chosen =
        told_of(&format!("{two}oci-levels = [\"index-descriptor\", \"manifest\"]\noci-labels = true\n"));
    assert_eq!(
        chosen["annotations"][0],
        "index-descriptor:org.opencontainers.image.created=2020-01-10T00:30:00.000Z"
    );
    assert_eq!(chosen["annotations"][3], "manifest:org.opencontainers.image.version=main");
    assert_eq!(chosen["labels"]["org.opencontainers.image.version"], "main");
    let none = told_of(&format!("{two}oci-annotations = false\n"));
    assert_eq!(none["annotations"], json!(["index:org.opencontainers.image.title=Mine", "index:own=1"]));
}

#[test]
fn the_time_of_making_is_that_of_the_commit_unless_said() {
    let file = "[target.api]\ntag-rules = [{ sha = \"short\" }]\nplatforms = [\"linux/amd64\"]\n";
    let made = |compat: &str, frozen: bool| {
        let mut facts = facts("push dev", "");
        facts.now = "2021-01-01T00:00:00Z".parse().unwrap();
        facts.frozen = facts.frozen.filter(|_| frozen);
        let project = resolve(&format!("{file}{compat}"), &facts).unwrap();
        let text = tags::json(&[&project.targets["api"]])["annotations"][0].as_str().unwrap().to_string();
        text.split_once("created=").unwrap().1.to_string()
    };
    assert_eq!(made("", true), "2020-01-10T00:30:00.000Z");
    assert_eq!(made("", false), "2020-01-09T23:30:00.000Z");
    assert_eq!(made("compat = \"metadata-action\"\n", false), "2021-01-01T00:00:00.000Z");
    assert_eq!(made("compat = \"metadata-action\"\n", true), "2020-01-10T00:30:00.000Z");
}

#[test]
fn a_compatible_tag_that_no_registry_takes_is_told_and_not_made() {
    let file = "[target.api]\nimages = [\"r.example/app\"]\ncompat = \"metadata-action\"\n";
    let target = target(file, "push -dev");
    let tagging = target.tagging.as_ref().unwrap();
    assert_eq!(tagging.names, ["r.example/app:-dev"]);
    assert!(target.tags.is_empty());
    assert!(tagging.problems[0].is_error() && tagging.problems[0].code == "plan::bad-tag");
    let target = self::target(
        &file.replace("compat = \"metadata-action\"", "tag-rules = [\"type=ref,event=branch\"]"),
        "push -dev",
    );
    assert_eq!(target.tags[0].value.familiar(), "r.example/app:dev");
}

#[test]
fn groups_and_templates_say_the_rules_of_their_members() {
    let file = r#"
[project]
git-tag-prefix = "{{ target.name }}/"
images = ["r.example/{{ target.name }}"]
flavor = ["latest=false"]
[target._t]
tag-rules = ["type=semver,pattern={{version}}"]
[target.api]
inherits = ["_t"]
append.tag-rules = ["type=semver,pattern={{major}}", { sha = "short", when = "ci.system == 'gitlab'" }]
[target.web]
inherits = ["_t"]
flavor = ["suffix=-alpine"]
[group.release]
targets = ["api", "web"]
tag-rules = [{ raw = "{{tag}}", prefix = "r-" }]
"#;
    let loaded = config::load(&PathBuf::from("/project/multiarch.toml"), &OneFile(file.to_string()));
    let names = |asked: &str, target: &str| {
        let overrides = Overrides { names: vec![asked.to_string()], ..Overrides::default() };
        let (project, _) =
            config::resolve(&loaded, &facts("tag api/v1.2.3", "api/v1.2.3"), &overrides).unwrap();
        let tags = &project.targets[target].tags;
        tags.iter().map(|tag| tag.value.familiar()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("api", "api"), "r.example/api:1.2.3 r.example/api:1");
    assert_eq!(names("api", "web"), "");
    assert_eq!(names("release", "api"), "r.example/api:r-v1.2.3");
    assert_eq!(names("release", "web"), "r.example/web:r--alpine");
}
