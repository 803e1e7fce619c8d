//! Publications that are cut, that run into each other, and that would go back.

use std::thread;

use crate::support::{Project, Registry};

/// One target that needs no base, with a version and what is in it.
fn project(repository: &str, version: &str, content: &str) -> Project {
    Project::of(&format!(
        "[target.app]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\nimage = \"{repository}\"\n\
         tags = [\"{version}\", \"latest\"]\ndockerfile-inline = \"\"\"\nFROM scratch\nCOPY content /\n\"\"\"\n"
    ))
    .file("content", content)
}

/// Retries pause in a run; what is cut stays cut.
fn push(project: &Project) -> crate::support::mab::Ran {
    project.mab(&["bake", "app", "--push"]).run()
}

fn digest_of(registry: &Registry, repository: &str, tag: &str) -> Option<String> {
    registry.tags(repository).iter().any(|known| known == tag).then(|| registry.index(repository, tag).0)
}

#[test]
fn what_is_cut_moves_no_tag_before_the_journal_and_is_ended_after_it() {
    let Some(registry) = Registry::of_this_run() else { return };
    let whole = registry.repository("whole");
    push(&project(&whole, "1.4.0", "one")).succeeded();
    let requests = registry.requests().len();
    assert!((8..60).contains(&requests), "{requests}");
    // Whether there was a journal when it was cut there.
    let cut = |left: usize| -> Option<bool> {
        let registry = Registry::of_this_run().expect("it was there a moment ago");
        let name = registry.repository(&format!("cut-{left}"));
        let first = project(&name, "1.4.0", "one");
        registry.cut_after(left);
        let ran = push(&first);
        registry.mend();
        if ran.code == Some(0) {
            return None;
        }
        let tags = registry.tags(&name);
        let has_journal = !registry.journals(&name).is_empty();
        // Another machine, with another build of the same version.
        let second = project(&name, "1.4.0", "another");
        let ended = push(&second).succeeded();
        let version = digest_of(&registry, &name, "1.4.0").expect("it stands");
        assert_eq!(digest_of(&registry, &name, "latest").as_ref(), Some(&version), "after {left}");
        let expected = if has_journal { &first } else { &second };
        assert_eq!(version, own_digest(expected), "after {left}: {}", ended.stderr);
        if !has_journal {
            assert_eq!(tags, [""; 0], "no tag without a journal, after {left}");
        }
        Some(has_journal)
    };
    let ends: Vec<Option<bool>> = thread::scope(|scope| {
        let cut = &cut;
        let runs: Vec<_> = (0..requests).map(|left| scope.spawn(move || cut(left))).collect();
        runs.into_iter().map(|run| run.join().expect("no run panicked")).collect()
    });
    let count = |wanted| ends.iter().filter(|end| **end == wanted).count();
    assert!(count(Some(false)) > 3 && count(Some(true)) > 2, "{ends:?}");
}

/// What a project's own build comes to.
fn own_digest(project: &Project) -> String {
    project.bake(&["app", "--metadata-file", "metadata.json"]);
    let metadata: serde_json::Value =
        serde_json::from_str(&project.read("metadata.json")).expect("it is JSON");
    metadata["app"]["containerimage.digest"].as_str().expect("it has a digest").to_string()
}

#[test]
fn a_cut_publication_is_told_of_and_keeps_its_digest() {
    let Some(registry) = Registry::of_this_run() else { return };
    let name = registry.repository("told");
    let first = project(&name, "1.4.0", "one");
    registry.refuse(&format!("PUT {}/manifests/latest", registry.url_path(&name)), 400, "{}");
    push(&first).failed(4);
    registry.mend();
    let (digest, own) = (own_digest(&first), project(&name, "1.4.0", "two"));
    let ran = push(&own).succeeded();
    let resumed = format!("was cut, and is ended now: `{name}:latest` moved to what it had pushed");
    assert!(ran.stderr.contains(&resumed), "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("`{name}:1.4.0` stays at {digest}")), "{}", ran.stderr);
    assert_eq!(digest_of(&registry, &name, "latest"), Some(digest.clone()));
    // It is over: the next one is a publication of its own.
    push(&own).succeeded().does_not_say("was cut");
    assert_ne!(digest_of(&registry, &name, "latest"), Some(digest));
}

#[test]
fn an_older_release_overtakes_no_newer_one() {
    let Some(registry) = Registry::of_this_run() else { return };
    let name = registry.repository("older");
    push(&project(&name, "1.10.0", "new")).succeeded();
    let newest = digest_of(&registry, &name, "latest");
    let old = project(&name, "1.9.0", "old");
    push(&old)
        .succeeded()
        .says(&format!("`{name}:latest` stays with 1.10.0, which is newer than 1.9.0"))
        .says("--allow-older-release");
    assert_eq!(digest_of(&registry, &name, "latest"), newest);
    assert_eq!(registry.tags(&name), ["1.10.0", "1.9.0", "latest"]);
    old.bake(&["app", "--push", "--allow-older-release"]);
    assert_eq!(digest_of(&registry, &name, "latest"), digest_of(&registry, &name, "1.9.0"));
}

#[test]
fn the_registrys_tags_say_which_version_is_the_highest() {
    let Some(registry) = Registry::of_this_run() else { return };
    let (from, name) = (registry.repository("elsewhere"), registry.repository("highest"));
    let other = project(&from, "0.0.1", "another tool's");
    push(&other);
    // Nothing says what these are but their names.
    for tag in ["1.5.0", "latest", "1", "1.4", "1.4.0"] {
        other.mab(&["copy", &format!("{from}:0.0.1"), &format!("{name}:{tag}")]).run().succeeded();
    }
    let rules = "tags = []\nfloating = \"registry\"\ntag-rules = [\"type=semver,pattern={{version}}\", \
                 \"type=semver,pattern={{major}}.{{minor}}\", \"type=semver,pattern={{major}}\"]\n";
    let own = project(&name, "1.4.1", "ours");
    own.edit("multiarch.toml", "tags = [\"1.4.1\", \"latest\"]\n", rules);
    let bake = |more: &[&str]| {
        own.mab(&["bake", "app", "--push", "--fact", "tag=v1.4.1"]).with(more).run().succeeded()
    };
    let stay = |tag: &str| format!("`{name}:{tag}` stays with 1.5.0, which is newer than 1.4.1");
    for more in [&["--dry-run"][..], &[]] {
        let ran = bake(more).says(&stay("latest")).says(&stay("1"));
        assert!(!ran.stderr.contains(&format!("`{name}:1.4` stays")), "{}", ran.stderr);
    }
    let [new, old] = ["1.4.1", "1.5.0"].map(|tag| digest_of(&registry, &name, tag));
    assert_ne!(new, old);
    let leads = |tag| digest_of(&registry, &name, tag);
    assert_eq!(["1.4", "1", "latest"].map(leads), [new, old.clone(), old]);
    bake(&["--allow-older-release"]);
    let [one, latest, own] = ["1", "latest", "1.4.1"].map(leads);
    assert_eq!((&one, &latest), (&own, &own));
}

#[test]
fn a_live_tag_loses_no_platform_unless_that_is_said() {
    let Some(registry) = Registry::of_this_run() else { return };
    let name = registry.repository("fewer");
    let project = project(&name, "1.4.0", "one");
    push(&project).succeeded();
    let before = digest_of(&registry, &name, "latest");
    let fewer = ["bake", "app", "--push", "--platform", "linux/amd64"];
    let ran = project.mab(&fewer).run().failed(2);
    assert!(ran.stderr.contains(&format!("`{name}:1.4.0` would lose `linux/arm64`")), "{}", ran.stderr);
    assert!(ran.stderr.contains("--allow-fewer-platforms"), "{}", ran.stderr);
    assert_eq!((digest_of(&registry, &name, "latest"), registry.journals(&name).len()), (before, 2));
    project.mab(&fewer).with(&["--allow-fewer-platforms"]).run().succeeded();
}

#[test]
fn a_version_that_cannot_move_is_refused_with_both_digests() {
    let Some(registry) = Registry::of_this_run() else { return };
    let name = registry.repository("immutable");
    let first = project(&name, "1.4.0", "one");
    push(&first).succeeded();
    let body = "{\"errors\":[{\"code\":\"TAG_INVALID\",\"message\":\"the tag is immutable\"}]}";
    registry.refuse(&format!("PUT {}/manifests/1.4.0", registry.url_path(&name)), 400, body);
    let second = project(&name, "1.4.0", "two");
    let ran = push(&second).failed(4);
    let (old, new) = (own_digest(&first), own_digest(&second));
    let message = format!("`{name}:1.4.0` stays at {old}: the registry does not let it move to {new}");
    assert!(ran.stderr.contains(&message), "{}", ran.stderr);
    assert_eq!(digest_of(&registry, &name, "latest"), Some(old));
    // What stands already needs no writing, and nothing is left to be ended.
    push(&first).succeeded().does_not_say("was cut");
}

#[test]
fn ten_releases_at_once_leave_every_version_and_the_highest_on_top() {
    let Some(registry) = Registry::of_this_run() else { return };
    let name = registry.repository("ten");
    let versions =
        ["1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0", "1.5.0", "1.6.0", "1.10.0", "1.10.0", "1.9.0"];
    let projects: Vec<Project> = versions
        .iter()
        .enumerate()
        .map(|(at, version)| project(&name, version, &format!("{version} {}", at == 8)))
        .collect();
    // Built before, so that all of them publish at one time.
    projects.iter().for_each(|project| drop(project.bake(&["app"])));
    thread::scope(|scope| {
        for project in &projects {
            scope.spawn(move || push(project).succeeded());
        }
    });
    for version in versions {
        for architecture in ["amd64", "arm64"] {
            let image = registry.image(&name, version, architecture);
            assert!(image.text("content").starts_with(version), "{version}");
        }
    }
    assert!(registry.image(&name, "latest", "amd64").text("content").starts_with("1.10.0"));
    let journals = registry.journals(&name);
    let done = journals.iter().filter(|name| name.ends_with(".done")).count();
    assert_eq!(done * 2, journals.len(), "every journal is closed: {journals:?}");
}

#[test]
fn all_repositories_that_refuse_are_told_before_anything_is_built() {
    let Some(registry) = Registry::of_this_run() else { return };
    let names = ["one", "two"].map(|name| registry.repository(name));
    let file = names.iter().enumerate().map(|(at, name)| {
        format!(
            "[target.t{at}]\ntags = [\"{name}:1\"]\ndockerfile-inline = \"\"\"\nFROM scratch\nCOPY multiarch.toml /\n\"\"\"\n"
        )
    });
    let project = Project::of(&file.collect::<String>());
    let body = "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"read only\"}]}";
    registry.refuse("POST ", 403, body);
    let ran = project.mab(&["bake", "t0", "t1", "--push"]).run().failed(4);
    for name in &names {
        assert!(
            ran.stderr.contains(&format!("denies access to pushing to `{name}`: read only")),
            "{}",
            ran.stderr
        );
    }
    let writes = |requests: Vec<String>| requests.into_iter().filter(|line| line.starts_with("P")).count();
    assert_eq!(writes(registry.requests()), 2, "one try for each repository");
    registry.mend();
    project.bake(&["t0", "t1", "--push"]).says("1 built, 0 reused");
    registry.requests();
    project.bake(&["t0", "t1", "--push"]).says("nothing had to be done");
    assert_eq!(writes(registry.requests()), 0, "nothing is tried where nothing is to do");
}

/// A line as it is told, with the parts that differ between runs by their names.
fn redacted(text: &str, names: &[(&str, &str)]) -> String {
    names.iter().fold(text.to_string(), |text, (value, name)| text.replace(value, name))
}

#[test]
fn a_dry_run_tells_where_tags_would_move_and_moves_none() {
    let Some(registry) = Registry::of_this_run() else { return };
    let name = registry.repository("dry");
    let (first, second) = (project(&name, "1.4.0", "one"), project(&name, "1.5.0", "two"));
    let (one, two) = (own_digest(&first), own_digest(&second));
    let dry = |project: &Project| {
        let ran = project.mab(&["bake", "app", "--push", "--dry-run"]).run().succeeded();
        redacted(&ran.stdout, &[(&name, "NAME"), (&one, "ONE"), (&two, "TWO")])
    };
    registry.requests();
    assert_eq!(dry(&first), "NAME:1.4.0  new → ONE\nNAME:latest  new → ONE\n");
    let requests = registry.requests();
    assert!(requests.iter().all(|line| line.starts_with("GET") || line.starts_with("HEAD")), "{requests:#?}");
    push(&first).succeeded();
    assert_eq!(dry(&first), "NAME:1.4.0  ONE (unchanged)\nNAME:latest  ONE (unchanged)\n");
    assert_eq!(dry(&second), "NAME:1.5.0  new → TWO\nNAME:latest  ONE → TWO\n");
    push(&second).succeeded();
    let old = project(&name, "1.4.0", "three");
    let three = own_digest(&old);
    assert_eq!(dry(&old).replace(&three, "THREE"), "NAME:1.4.0  ONE → THREE\nNAME:latest  TWO (kept)\n");
    assert_eq!(digest_of(&registry, &name, "1.4.0"), Some(one.clone()));
}

#[test]
fn releases_are_promoted_told_and_rolled_back() {
    let Some(registry) = Registry::of_this_run() else { return };
    let (name, live) = (registry.repository("staging"), registry.repository("live"));
    let (first, second) = (project(&name, "1.4.0", "one"), project(&name, "1.5.0", "two"));
    let (one, two) = (own_digest(&first), own_digest(&second));
    let run = |arguments: &[&str]| {
        let ran = first.mab(arguments).run().succeeded();
        let by = format!("mab {}", env!("CARGO_PKG_VERSION"));
        redacted(&ran.stdout, &[(&name, "NAME"), (&live, "LIVE"), (&one, "ONE"), (&two, "TWO"), (&by, "BY")])
    };
    let at = |day: usize| format!("2026-03-0{day}");
    first.bake(&["app", "--push", "--now", &at(1)]);
    second.bake(&["app", "--push", "--now", &at(2)]);
    // The name of a repository, a tag, or a target.
    let back = "NAME:latest  TWO → ONE\n";
    assert_eq!(run(&["rollback", &name, "--dry-run"]), back);
    assert_eq!(run(&["rollback", "app", "--now", &at(3)]), back);
    assert_eq!(digest_of(&registry, &name, "latest").as_ref(), Some(&one));
    assert_eq!(
        run(&["release", "log", &name]),
        "2026-03-03T00:00:00Z  NAME  rollback  done  BY\n  latest  TWO → ONE\n\
         2026-03-02T00:00:00Z  NAME  publish  done  BY\n  1.5.0  new → TWO  1.5.0\n  latest  ONE → TWO  1.5.0\n\
         2026-03-01T00:00:00Z  NAME  publish  done  BY\n  1.4.0  new → ONE  1.4.0\n  latest  new → ONE  1.4.0\n"
    );
    let told: serde_json::Value =
        serde_json::from_str(&run(&["release", "log", &format!("{name}:1.4.0"), "--json"]))
            .expect("it is JSON");
    assert_eq!(told.as_array().map(Vec::len), Some(1));
    assert_eq!((&told[0]["tags"][0]["new"], &told[0]["state"]), (&"ONE".into(), &"done".into()));
    let again = first.mab(&["rollback", &format!("{name}:1.4.0")]).run().failed(2);
    assert!(again.stderr.contains(&format!("there is nothing that `{name}:1.4.0` could go back to")));
    // Into another repository, with every platform and without sending a layer.
    registry.requests();
    let target = format!("{live}:1.5.0");
    assert_eq!(run(&["promote", &format!("{name}:1.5.0"), &target]), "LIVE:1.5.0  new → TWO\n");
    let requests = registry.requests();
    assert!(
        !requests.iter().any(|line| line.starts_with("PUT") && line.contains("/uploads/")),
        "{requests:#?}"
    );
    assert_eq!(registry.image(&live, "1.5.0", "arm64").text("content"), "two");
    assert_eq!(run(&["promote", &format!("{name}:1.5.0"), "stable"]), "NAME:stable  new → TWO\n");
    let ran = first.mab(&["promote", &format!("{name}:1.4.0"), "stable"]).run().succeeded();
    assert!(ran.stderr.contains("stays with 1.5.0, which is newer than 1.4.0"), "{}", ran.stderr);
    let empty = registry.repository("empty");
    let log = |name: &str| first.mab(&["release", "log", name]).run().succeeded();
    let told = log(&empty).says(&format!("no publication to `{empty}` is known"));
    assert_eq!(told.stdout, "");
    log(&format!("{name}:9.9.9")).says(&format!("no publication of `{name}:9.9.9` is known"));
    let ran = first.mab(&["ls", &empty]).run().failed(4);
    assert!(ran.stderr.contains(&format!("the repository `{empty}` does not exist")), "{}", ran.stderr);
}
