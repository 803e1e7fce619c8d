//! `mab lock`, and builds by a lock: what is asked of registries and servers, and what is refused.

use std::fs;

use crate::support::surroundings::needs;
use crate::support::{Layout, Project, Registry, Repository, Web};

/// An image for these platforms, pushed; the file in it says which version it is.
fn publish(image: &str, version: &str, platforms: &str) {
    let project = Project::of(&format!(
        "[target.base]\nplatforms = [{platforms}]\ndockerfile-inline = \"FROM scratch\\nCOPY version /\\n\"\n\
         tags = [\"{image}\"]\n"
    ));
    project.file("version", version).bake(&["base", "--push"]);
}

const BOTH: &str = "\"linux/amd64\", \"linux/arm64\"";

/// `app`, which begins with `image`.
fn app(image: &str, dockerfile: &str) -> Project {
    let file = format!("[target.app]\nplatforms = [{BOTH}]\nargs = {{ BASE = \"{image}\" }}\n");
    Project::of(&file).file("Dockerfile", dockerfile).file("own", "own")
}

const DOCKERFILE: &str = "ARG BASE\nFROM $BASE\nCOPY own /\n";

fn version(project: &Project) -> String {
    Layout::open(&project.path("out.tar")).image("linux/arm64").text("version")
}

const OUT: [&str; 2] = ["-o", "type=oci,dest=out.tar"];

#[test]
fn what_is_locked_stays_whatever_its_name_comes_to_mean() {
    let Some(registry) = Registry::of_this_run() else { return };
    let image = format!("{}:1", registry.repository("base"));
    publish(&image, "one", BOTH);
    let project = app(&image, DOCKERFILE);
    let told = project.mab(&["lock"]).run().succeeded();
    assert_eq!(told.stdout.lines().count(), 2, "{}", told.stdout);
    assert!(told.stdout.ends_with("multiarch.lock written: 1 image\n"), "{}", told.stdout);
    let first = project.read("multiarch.lock");
    assert_eq!(first.matches("manifest = ").count(), 2, "{first}");
    assert!(first.contains(&format!("[image.\"{image}\"]\ndigest = \"sha256:")), "{first}");
    project.bake(&["app"]).does_not_say("does not pin");
    project.bake(&["app"]).says("nothing had to be done");

    registry.requests();
    project.bake(&["app", "--pull", "--locked"]).says("nothing had to be done");
    project.bake(&["app"]).says("nothing had to be done");
    project.mab(&["lock", "--check"]).run().succeeded();
    assert_eq!(registry.requests(), [""; 0], "a locked, unchanged build asks nobody");

    publish(&image, "two", BOTH);
    project.bake(&["app"]).says("nothing had to be done");
    project.bake(&["app", OUT[0], OUT[1]]);
    assert_eq!(version(&project), "one");
    project.mab(&["lock", "--check"]).run().succeeded();
    let moved = project.mab(&["lock", "--check", "--upstream"]).run().failed(2);
    assert!(moved.stderr.contains("by now, and locked to sha256:"), "{}", moved.stderr);
    assert_eq!(project.mab(&["lock"]).run().succeeded().stdout, "multiarch.lock unchanged: 1 image\n");
    assert_eq!(project.read("multiarch.lock"), first);

    let told = project.mab(&["lock", "--update"]).run().succeeded().stdout;
    assert!(told.starts_with(&format!("changed  {image}  sha256:")), "{told}");
    let second = project.read("multiarch.lock");
    let changed = second.lines().zip(first.lines()).filter(|(new, old)| new != old).count();
    assert_eq!(
        (changed, second.lines().count()),
        (3, first.lines().count()),
        "a line for each pin: {second}"
    );
    project.bake(&["app", OUT[0], OUT[1]]);
    assert_eq!(version(&project), "two");
    project.mab(&["lock", "--check", "--upstream"]).run().succeeded();
}

#[test]
fn drift_is_refused_before_anything_is_built() {
    let Some(registry) = Registry::of_this_run() else { return };
    let repository = registry.repository("base");
    for tag in ["1", "2"] {
        publish(&format!("{repository}:{tag}"), tag, BOTH);
    }
    let project = app(&format!("{repository}:1"), DOCKERFILE);
    project.mab(&["bake", "app", "--locked"]).run().failed(2).says("there is no `multiarch.lock`");
    project.mab(&["lock", "--check"]).run().failed(2).says("`mab lock` writes it");
    project.mab(&["lock", "--platform", "linux/amd64"]).run().succeeded();
    let half = project.mab(&["bake", "app", "--locked"]).run().failed(2);
    assert!(half.stderr.contains("is in `multiarch.lock` without `linux/arm64`"), "{}", half.stderr);
    assert!(half.stderr.contains("Dockerfile:2"), "{}", half.stderr);
    project.bake(&["app"]).says("`multiarch.lock` does not pin");
    project.mab(&["bake", "app", "--locked", "--platform", "linux/amd64"]).run().succeeded();
    project.mab(&["lock"]).run().succeeded();
    assert_eq!(project.read("multiarch.lock").matches("manifest = ").count(), 2);

    project.edit("multiarch.toml", &format!("{repository}:1"), &format!("{repository}:2"));
    let drift = project.mab(&["lock", "--check"]).run().failed(2);
    let errors = drift.errors();
    assert!(errors.contains(&format!("`{repository}:2` is not in `multiarch.lock`")), "{errors}");
    assert!(errors.contains("multiarch.lock:5"), "{errors}");
    assert!(errors.contains(&format!("nothing asks for `{repository}:1`")), "{errors}");
    project.mab(&["bake", "app", "--locked"]).run().failed(2).says("is not in `multiarch.lock`");
    project.bake(&["app"]).says("which is taken as it is now");
    let told = project.mab(&["lock"]).run().succeeded().stdout;
    assert!(told.contains(&format!("added    {repository}:2")), "{told}");
    assert!(told.contains(&format!("removed  {repository}:1")), "{told}");
    project.mab(&["bake", "app", "--locked"]).run().succeeded();
}

#[test]
fn names_narrow_what_is_locked_without_dropping_the_rest() {
    let Some(registry) = Registry::of_this_run() else { return };
    let (one, two) =
        (format!("{}:1", registry.repository("one")), format!("{}:1", registry.repository("two")));
    publish(&one, "1", BOTH);
    publish(&two, "1", BOTH);
    let project = Project::of(&format!(
        "[target.app]\nplatforms = [\"linux/amd64\"]\ndockerfile-inline = \"FROM {one}\"\n\
         [target.web]\nplatforms = [{BOTH}]\ndockerfile-inline = \"FROM {one} AS a\\nFROM {two}\\nCOPY --from=a /version /v\"\n\
         [group.default]\ntargets = [\"app\"]\n"
    ));
    project.mab(&["lock", "app"]).run().succeeded();
    assert!(!project.read("multiarch.lock").contains(&two));
    project.mab(&["lock"]).run().succeeded();
    let all = project.read("multiarch.lock");
    assert!(all.contains(&one) && all.contains(&two), "{all}");
    project.mab(&["lock", "app"]).run().succeeded();
    assert_eq!(project.read("multiarch.lock"), all);
    publish(&one, "2", BOTH);
    publish(&two, "2", BOTH);
    let told = project.mab(&["lock", "app", "--update"]).run().succeeded().stdout;
    assert!(told.contains(&one) && !told.contains(&two), "{told}");
    assert!(told.contains("(linux/amd64, linux/arm64)"), "of another target, too: {told}");
    project.mab(&["lock", "--check"]).run().succeeded();
    let name = two.strip_suffix(":1").unwrap();
    let told = project.mab(&["lock", "--update", name]).run().succeeded().stdout;
    assert!(told.starts_with(&format!("changed  {two}")), "{told}");
    project.mab(&["lock", "--update", "nothing"]).run().failed(2).says("pins nothing that `nothing` means");
}

#[test]
fn a_base_without_a_platform_is_told_when_it_is_locked() {
    let Some(registry) = Registry::of_this_run() else { return };
    let (one, two) =
        (format!("{}:1", registry.repository("one")), format!("{}:1", registry.repository("two")));
    publish(&one, "1", "\"linux/amd64\"");
    publish(&two, "1", "\"linux/arm64\"");
    let project =
        app(&one, &format!("ARG BASE\nFROM $BASE AS first\nFROM {two}\nCOPY --from=first /version /v\n"));
    let errors = project.mab(&["lock"]).run().failed(2).errors();
    assert!(errors.contains(&format!("`{one}` has no image for `linux/arm64`")), "{errors}");
    assert!(errors.contains(&format!("`{two}` has no image for `linux/amd64`")), "{errors}");
    assert!(errors.contains("Dockerfile:2") && errors.contains("Dockerfile:3"), "{errors}");
    assert!(!project.path("multiarch.lock").exists());
}

#[test]
fn nothing_is_asked_offline() {
    let Some(registry) = Registry::of_this_run() else { return };
    let image = format!("{}:1", registry.repository("base"));
    publish(&image, "one", BOTH);
    let project = app(&image, DOCKERFILE);
    let refused = project.mab(&["bake", "app", "--offline"]).run().failed(2);
    assert!(refused.stderr.contains("`--offline` keeps from asking about"), "{}", refused.stderr);
    project.mab(&["lock", "--offline"]).run().failed(2).says("Dockerfile:2");
    project.mab(&["lock"]).run().succeeded();
    // The layers of the base are still to come.
    project.bake(&["app"]);
    registry.requests();
    project.bake(&["app", "--offline"]).says("nothing had to be done");
    project.write("own", "other");
    project.bake(&["app", "--offline"]);
    project.mab(&["plan", "app", "--offline"]).run().succeeded();
    assert_eq!(registry.requests(), [""; 0]);
    project.edit("multiarch.toml", "args", &format!("tags = [\"{image}-app\"]\nargs"));
    project.mab(&["bake", "app", "--offline", "--push"]).run().failed(2).says("would push to one");
}

#[test]
fn files_and_repositories_are_locked() {
    if !needs("git") {
        return;
    }
    let repository = Repository::new("app");
    repository.file("Dockerfile", "FROM scratch\nCOPY file /\n").file("file", "one");
    let first = repository.commit(1_400_000_000);
    let web = Web::start();
    web.repositories(&repository.served(), None).page("/tool", "tool one").page("/context", "FROM scratch\n");
    let git = web.url("/git/app.git#main");
    let project = Project::of(&format!(
        "[target.app]\nplatforms = [\"linux/amd64\"]\ncontext = \"{git}\"\n\
         [target.tool]\nplatforms = [\"linux/amd64\"]\n\
         dockerfile-inline = \"FROM scratch\\nENV V=tool\\nADD {}/$V /\\n\"\n",
        web.url("")
    ));
    project.mab(&["lock"]).run().succeeded();
    let lock = project.read("multiarch.lock");
    assert!(
        lock.contains(&format!("[git.\"{git}\"]\ncommit = \"{first}\"\nreference = \"refs/heads/main\"\n")),
        "{lock}"
    );
    assert!(lock.contains(&format!("[http.\"{}\"]\ndigest = \"sha256:", web.url("/tool"))), "{lock}");
    let names = ["bake", "app", "tool"];
    project.mab(&names).run().succeeded().does_not_say("does not pin");
    web.requests();
    project.mab(&names).with(&["--locked"]).run().succeeded().says("nothing had to be done");
    project.mab(&names).with(&["--offline"]).run().succeeded().says("nothing had to be done");
    assert_eq!(web.requests(), [""; 0]);

    repository.file("file", "two").commit(1_500_000_000);
    web.page("/tool", "tool two");
    project.mab(&names).run().succeeded().says("nothing had to be done");
    let moved = project.mab(&["lock", "--check", "--upstream"]).run().failed(2);
    assert!(moved.stderr.contains(&format!("locked to {first}")), "{}", moved.stderr);
    assert!(moved.stderr.contains("/tool` is sha256:"), "{}", moved.stderr);

    // Another machine has the lock, and the file is another one by now.
    fs::remove_dir_all(project.store()).unwrap();
    project.mab(&["bake", "tool"]).run().failed(4).says("mab lock --update");
    project.mab(&["bake", "app", "-o", "type=oci,dest=out.tar"]).run().succeeded();
    assert_eq!(Layout::open(&project.path("out.tar")).only_image().text("file"), "one");
    let told = project.mab(&["lock", "--update", "*app.git*"]).run().succeeded().stdout;
    assert!(told.starts_with(&format!("changed  {git}  ")) && !told.contains("/tool"), "{told}");
    project.mab(&["lock", "--update"]).run().succeeded();
    project.mab(&names).with(&["--locked"]).run().succeeded();

    project.edit("multiarch.toml", "V=tool", "V=context");
    let missing = project.mab(&["bake", "tool", "--locked"]).run().failed(2);
    assert!(missing.stderr.contains("/context` is not in `multiarch.lock`"), "{}", missing.stderr);
    project.mab(&["bake", "tool"]).run().succeeded().says("does not pin");
}

#[test]
fn a_lock_lies_beside_the_first_file_of_other_tools_too() {
    let Some(registry) = Registry::of_this_run() else { return };
    let image = format!("{}:1", registry.repository("base"));
    publish(&image, "one", BOTH);
    let project = Project::new()
        .file("deploy/compose.yaml", &format!("services:\n  web:\n    image: w\n    build:\n      context: .\n      dockerfile_inline: FROM {image}\n"))
        .file("docker-bake.hcl", &format!("target \"app\" {{\n  dockerfile-inline = \"FROM {image}\"\n  platforms = [\"linux/arm64\"]\n}}\n"));
    project.mab(&["lock"]).run().succeeded();
    assert!(project.read("multiarch.lock").contains("\"linux/arm64\" = { manifest"));
    project.mab(&["bake", "app", "--locked"]).run().succeeded();
    project.mab(&["lock", "-f", "deploy/compose.yaml"]).run().succeeded();
    assert!(project.read("deploy/multiarch.lock").contains("\"linux/amd64\" = { manifest"));
    let bake = ["bake", "-f", "deploy/compose.yaml", "web", "--locked", "-o", "type=cacheonly"];
    project.mab(&bake).run().succeeded();
}

#[test]
fn a_lock_that_cannot_be_read_is_told_and_written_anew_on_request() {
    let project = Project::of("[target.app]\ndockerfile-inline = \"FROM scratch\"\n");
    project.write("multiarch.lock", "version = 1\n<<<<<<< ours\n");
    project.mab(&["bake", "app"]).run().failed(2).says("after a merge, take either side");
    project.mab(&["lock"]).run().failed(2).says("multiarch.lock:2");
    assert_eq!(
        project.mab(&["lock", "--update"]).run().succeeded().stdout,
        "multiarch.lock written: nothing to pin\n"
    );
    project.mab(&["lock", "--check"]).run().succeeded();
    project.mab(&["bake", "app", "--locked"]).run().succeeded();
}
