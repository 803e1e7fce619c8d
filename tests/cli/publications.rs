//! Publications over several repositories, along a branch, and from one registry to another.

use std::ops::Range;

use crate::support::{Project, Registry};

fn target(name: &str, image: &str, tags: &str) -> String {
    format!(
        "[target.{name}]\nimage = \"{image}\"\n{tags}\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\ndockerfile-inline = \"\"\"\nFROM scratch\nCOPY content /{name}\n\
         \"\"\"\n"
    )
}

#[test]
fn who_publishes_to_one_repository_ends_what_was_cut_in_all_of_them() {
    let Some(registry) = Registry::of_this_run() else { return };
    let (api, web) = (registry.repository("all-api"), registry.repository("all-web"));
    let tags = "tags = [\"1.4.0\", \"latest\"]";
    let project =
        Project::of(&[target("api", &api, tags), target("web", &web, tags)].concat()).file("content", "one");
    registry.refuse(&format!("PUT {}/manifests/latest", registry.url_path(&web)), 400, "{}");
    project.mab(&["bake", "api", "web", "--push"]).run().failed(4);
    registry.mend();
    assert_eq!(registry.tags(&web), ["1.4.0"]);
    let cut = registry.index(&web, "1.4.0").0;
    project.write("content", "two");
    let ran = project.mab(&["bake", "api", "--push"]).run().succeeded();
    assert!(ran.stderr.contains(&format!("`{web}:latest` moved to what it had pushed")), "{}", ran.stderr);
    assert_eq!(registry.index(&web, "latest").0, cut);
    // A third machine has nothing left to end.
    project.mab(&["bake", "web", "--push"]).run().succeeded().does_not_say("was cut");
}

#[test]
fn an_older_commit_of_a_branch_overtakes_no_newer_one() {
    let Some(registry) = Registry::of_this_run() else { return };
    let name = registry.repository("branch");
    let project =
        Project::of(&target("app", &name, "tag-rules = [{ ref = \"branch\" }]")).file("content", "one");
    project.git(&["init", "-q", "-b", "main"]);
    let commit = |content: &str| {
        project.write("content", content);
        project.git(&["add", "."]);
        project.git(&["commit", "-q", "-m", content]);
    };
    commit("one");
    commit("two");
    project.bake(&["app", "--push"]);
    let newest = registry.index(&name, "main").0;
    project.git(&["reset", "-q", "--hard", "HEAD~1"]);
    project.mab(&["bake", "app", "--push"]).run().succeeded().says(&format!("`{name}:main` stays with "));
    assert_eq!(registry.index(&name, "main").0, newest);
    // What is no part of the newer one's history is another line of work, and counts as it comes.
    commit("three");
    project.bake(&["app", "--push"]);
    assert_ne!(registry.index(&name, "main").0, newest);
}

#[test]
fn an_image_is_promoted_to_another_registry() {
    let (Some(staging), Some(live)) = (Registry::of_this_run(), Registry::of_this_run()) else { return };
    let (from, to) = (staging.repository("promoted"), live.repository("live"));
    let project = Project::of(&target("app", &from, "tags = [\"1.4.0\"]")).file("content", "one");
    project.bake(&["app", "--push"]);
    project.mab(&["promote", &format!("{from}:1.4.0"), &format!("{to}:1.4.0")]).run().succeeded();
    assert_eq!(live.index(&to, "1.4.0").0, staging.index(&from, "1.4.0").0);
    assert_eq!(live.image(&to, "1.4.0", "arm64").text("app"), "one");
}

#[test]
fn a_repository_remembers_its_last_publications() {
    let Some(registry) = Registry::of_this_run() else { return };
    let name = registry.repository("remembered");
    let project = Project::of(&target("app", &name, "tags = [\"1.4.0\"]")).file("content", "version");
    project.bake(&["app", "--push"]);
    project.write("multiarch.toml", target("app", &name, "tags = [\"edge\"]"));
    let publish = |numbers: Range<u32>| {
        for number in numbers {
            project.write("content", number.to_string());
            project.bake(&["app", "--push"]);
        }
    };
    // Two tags each: one when it began, one when it was over.
    publish(0..60);
    assert_eq!(registry.journals(&name).len(), 2 * 61);
    publish(60..62);
    let journals = registry.journals(&name);
    let of_versions = journals.iter().filter(|tag| tag.contains(".1.4.0.")).count();
    assert_eq!((journals.len(), of_versions), (2 * 53, 2), "{journals:?}");
    let log = project.mab(&["release", "log", &name, "--limit", "100"]).run().succeeded();
    assert_eq!(log.stdout.matches("publish  done").count(), 53, "{}", log.stdout);
}
