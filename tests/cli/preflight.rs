//! Base images that cannot be had, told of before anything is built.

use crate::support::project::native;
use crate::support::{Project, Ran, Registry};

/// An image for these platforms, pushed.
fn publish(image: &str, platforms: &str) {
    let file = format!(
        "[target.base]\nplatforms = [{platforms}]\ndockerfile-inline = \"FROM scratch\\nCOPY multiarch.toml /\\n\"\n\
         tags = [\"{image}\"]\n"
    );
    Project::of(&file).bake(&["base", "--push"]);
}

const BOTH: &str = "\"linux/amd64\", \"linux/arm64\"";

/// A target for each name and its Dockerfile, all for two platforms.
fn project(dockerfiles: &[(&str, String)]) -> Project {
    let names: Vec<&str> = dockerfiles.iter().map(|(name, _)| *name).collect();
    let mut file = format!("[project]\nplatforms = [{BOTH}]\n[group.default]\ntargets = {names:?}\n");
    let project = Project::new();
    for (name, dockerfile) in dockerfiles {
        file += &format!("[target.{name}]\ndockerfile = \"{name}.Dockerfile\"\n");
        project.write(&format!("{name}.Dockerfile"), dockerfile);
    }
    project.file("multiarch.toml", &file)
}

fn bake(project: &Project, more: &[&str]) -> Ran {
    project.mab(&["bake", "--progress", "plain"]).with(more).run()
}

/// Requests for manifests by name, however often each was made.
fn asked(registry: &Registry) -> Vec<String> {
    let mut asked = registry.requests();
    asked.retain(|request| request.contains("/manifests/") && !request.contains("sha256:"));
    asked.sort();
    asked
}

#[test]
fn all_that_is_wrong_with_bases_is_told_at_once_and_nothing_is_built() {
    let Some(registry) = Registry::of_this_run() else { return };
    let [good, absent, half, closed] =
        ["good", "absent", "half", "closed"].map(|name| format!("{}:1", registry.repository(name)));
    publish(&good, BOTH);
    publish(&half, "\"linux/amd64\"");
    let project = project(&[
        ("one", format!("FROM {good} AS a\n\nFROM {absent}\nCOPY --from=a /multiarch.toml /\n")),
        ("two", format!("FROM {half}\nCOPY multiarch.toml /\n")),
        ("three", format!("# let in\nFROM {closed}\nCOPY multiarch.toml /\n")),
        ("four", format!("FROM {absent}\nCOPY multiarch.toml /\n")),
        ("five", format!("FROM {good}\nCOPY multiarch.toml /\n")),
    ]);
    let path = registry.url_path(&closed.replace(":1", ""));
    registry.refuse(&format!("GET {path}/"), 401, "{}");
    registry.requests();
    let ran = bake(&project, &[]).failed(4);
    let errors = ran.errors();
    for said in [
        format!("registry::not-found\n\n  × `{absent}` does not exist"),
        "[one.Dockerfile:3:6]".to_string(),
        "[four.Dockerfile:1:6]".to_string(),
        format!("base::platform\n\n  × `{half}` has no image for `linux/arm64`"),
        "[two.Dockerfile:1:6]".to_string(),
        "registry::unauthorized\n".to_string(),
        "[three.Dockerfile:2:6]".to_string(),
    ] {
        assert_eq!(errors.matches(&said).count(), 1, "`{said}` in {errors}");
    }
    let by_name = |image: &str| format!("GET {}", registry.url_path(&image.replace(":1", "/manifests/1")));
    let mut expected = [&good, &absent, &half, &closed].map(|image| by_name(image));
    expected.sort();
    assert_eq!(asked(&registry), expected, "each base is asked for once, whatever it answers");
    assert!(!ran.stderr.contains("build "), "nothing is begun: {}", ran.stderr);

    // With --keep-going, what does not depend on them is built all the same.
    let going = bake(&project, &["--keep-going"]).failed(4);
    assert!(going.stderr.contains("five linux/amd64"), "{}", going.stderr);
    registry.mend();
    let platform = native();
    project.mab(&["bake", "five", "--platform", &platform]).run().succeeded().says("nothing had to be done");
}

#[test]
fn what_is_locked_is_not_asked_for_and_what_is_not_is_missed_at_once_offline() {
    let Some(registry) = Registry::of_this_run() else { return };
    let [one, two] = ["one", "two"].map(|name| format!("{}:1", registry.repository(name)));
    publish(&one, BOTH);
    publish(&two, BOTH);
    let project = project(&[("a", format!("FROM {one}\n")), ("b", format!("FROM {two}\n"))]);
    let offline = bake(&project, &["--offline"]).failed(2);
    let errors = offline.errors();
    assert_eq!(errors.matches("registry::offline").count(), 2, "{errors}");
    assert!(errors.contains("[a.Dockerfile:1:6]") && errors.contains("[b.Dockerfile:1:6]"), "{errors}");
    project.mab(&["lock"]).run().succeeded();
    bake(&project, &[]).succeeded();
    registry.requests();
    bake(&project, &["--offline"]).succeeded();
    bake(&project, &[]).succeeded().says("nothing had to be done");
    assert_eq!(registry.requests(), [""; 0]);
}
