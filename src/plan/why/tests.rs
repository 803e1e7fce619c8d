//! Accounts made by hand, and what is told of their differences.

use super::*;
use serde_json::json;

/// A step by its instruction, its variables and what it reaches.
struct Made {
    text: &'static str,
    env: &'static [(&'static str, &'static str)],
    inputs: &'static [usize],
    reaches: Option<&'static str>,
    manifest: Option<&'static str>,
}

const fn step(text: &'static str) -> Made {
    Made { text, env: &[], inputs: &[], reaches: None, manifest: None }
}

fn base(manifest: &'static str) -> Made {
    Made { manifest: Some(manifest), ..step("alpine:3.20") }
}

fn run(text: &'static str, env: &'static [(&'static str, &'static str)], input: &'static [usize]) -> Made {
    Made { env, inputs: input, ..step(text) }
}

fn copy(text: &'static str, reaches: &'static str, input: &'static [usize]) -> Made {
    Made { reaches: Some(reaches), inputs: input, ..step(text) }
}

fn account(made: &[Made]) -> Account {
    let (mut steps, mut sources) = (Parts::new(), Parts::new());
    for (place, made) in made.iter().enumerate() {
        let mut parts = Parts::new();
        let op = made.text.split(' ').next().unwrap();
        parts.text("op", if made.manifest.is_some() { "base" } else { op });
        if made.manifest.is_none() {
            parts.text("argv", made.text);
        }
        let mut env = Parts::new();
        for (name, value) in made.env {
            env.text(*name, *value);
        }
        parts.parts("env", env);
        for (number, input) in made.inputs.iter().enumerate() {
            parts.text(format!("input {number}"), format!("#{input}"));
        }
        if let Some(manifest) = made.manifest {
            parts.digest_of("manifest", Digest::of(manifest));
        }
        steps.parts(format!("#{place}"), parts);
        if let Some(reaches) = made.reaches {
            sources.digest_of(format!("#{place}"), Digest::of(reaches));
        }
    }
    let mut build = Parts::new();
    build.parts("steps", steps);
    let mut parts = Parts::new();
    parts.text("engine", "embedded 2");
    parts.parts("build", build);
    parts.parts("sources", sources);
    Account {
        parts,
        texts: made.iter().map(|made| made.text.to_string()).collect(),
        config: json!({}),
        args: ["VERSION", "NPM_TOKEN"].map(str::to_string).into(),
    }
}

fn usual() -> Vec<Made> {
    vec![
        base("one"),
        copy("COPY go.mod .", "mod", &[0]),
        run("RUN fetch", &[("PATH", "/bin")], &[1]),
        copy("COPY . .", "all", &[2]),
        run("RUN make", &[("PATH", "/bin"), ("VERSION", "1.2"), ("NPM_TOKEN", "x")], &[3]),
    ]
}

fn told(old: &Account, new: &Account) -> Vec<String> {
    let reached = |old: usize, new: usize| {
        (old == new && new == 3).then(|| vec![Reason::new(Kind::File, "main.go", Change::Changed(None))])
    };
    why(old, new, &reached).iter().map(ToString::to_string).collect()
}

fn check(change: impl FnOnce(&mut Vec<Made>), expected: &[&str]) {
    let mut made = usual();
    change(&mut made);
    assert_eq!(told(&account(&usual()), &account(&made)), expected);
}

#[test]
fn changes_are_told_in_the_words_of_the_dockerfile() {
    check(|_| {}, &[]);
    check(
        |steps| steps[0] = base("two"),
        &["base alpine:3.20 changed (sha256:7692c3ad3540 → sha256:3fc4ccfe7458)"],
    );
    check(|steps| steps[3] = copy("COPY . .", "more", &[2]), &["main.go changed"]);
    check(|steps| steps[1] = copy("COPY go.mod .", "more", &[0]), &["files of `COPY go.mod .` changed"]);
    check(
        |steps| steps[4].env = &[("PATH", "/bin"), ("VERSION", "1.3"), ("NPM_TOKEN", "x")],
        &["arg VERSION changed (1.2 → 1.3)"],
    );
    check(
        |steps| steps[4].env = &[("PATH", "/bin"), ("VERSION", "1.2"), ("NPM_TOKEN", "y")],
        &["arg NPM_TOKEN changed"],
    );
    check(
        |steps| steps[4].env = &[("PATH", "/bin:/x"), ("NPM_TOKEN", "x")],
        &["arg VERSION removed", "env PATH changed (/bin → /bin:/x)"],
    );
    check(|steps| steps[4].text = "RUN make all", &["`RUN make all` changed"]);
    check(
        |steps| {
            steps.pop();
        },
        &["`RUN make` removed"],
    );
}

#[test]
fn a_step_in_between_is_the_only_news() {
    check(
        |steps| {
            steps.insert(2, run("RUN apk add git", &[], &[1]));
            steps[3].inputs = &[2];
            steps[4].inputs = &[3];
            steps[5].inputs = &[4];
        },
        &["`RUN apk add git` added"],
    );
}

#[test]
fn the_order_of_steps_is_told_when_nothing_else_is() {
    check(|steps| steps[4].inputs = &[2], &["the order of steps, or what they begin with, changed"]);
}

#[test]
fn surroundings_come_first() {
    let (old, mut new) = (account(&usual()), account(&usual()));
    let mut parts = Parts::new();
    parts.text("engine", "embedded 3");
    parts.text("degraded single-id", "");
    for (name, part) in old.parts.iter().skip(1) {
        let Part::Parts(inner) = part else { panic!("{name}") };
        parts.parts(name, inner.clone());
    }
    parts.text("epoch", "5");
    new.parts = parts;
    assert_eq!(
        told(&old, &new),
        [
            "engine semantics changed (embedded 2 → embedded 3)",
            "engine single-id added",
            "epoch SOURCE_DATE_EPOCH changed (nothing → 5)"
        ]
    );
}

#[test]
fn what_the_image_says_of_itself_is_told_by_name() {
    let (mut old, mut new) = (account(&usual()), account(&usual()));
    old.config = json!({"config": {"Env": ["A=1", "NPM_TOKEN=x"], "Labels": {"a": "1", "b": "1"}, "Cmd": ["x"]}, "author": "me"});
    new.config = json!({"config": {"Env": ["A=2", "NPM_TOKEN=y"], "Labels": {"a": "2"}, "Cmd": ["y"]}, "author": "you"});
    assert_eq!(
        told(&old, &new),
        [
            "arg NPM_TOKEN changed",
            "env A changed (1 → 2)",
            "label a changed (1 → 2)",
            "label b removed",
            "config Cmd changed",
            "config author changed"
        ]
    );
    assert_eq!(told(&Account::of_parts(old.parts.clone()), &new), [""; 0]);
}
