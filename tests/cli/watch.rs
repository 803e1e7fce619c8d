//! `mab bake --watch`: an edit of whatever decides the result is baked, and nothing else is.

use std::fs;

use rustix::process::Signal;

use crate::support::process::Running;
use crate::support::{Layout, Project, base};

const WAITING: &str = "for changes; Ctrl-C ends";

fn start(project: &Project, more: &[&str]) -> Running {
    let mut arguments = vec!["bake", "--watch", "--progress", "plain", "-o", "type=oci,dest=image.tar"];
    arguments.extend(more);
    let mut running = project.mab(&arguments).start();
    running.wait_for(WAITING);
    running
}

/// Waits until the change of `path` is baked and the next one is waited for.
#[track_caller]
fn baked(running: &mut Running, path: &str) {
    running.wait_for(&format!("changed: `{path}`")).wait_for(WAITING);
}

fn seen(project: &Project) -> String {
    Layout::open(&project.path("image.tar")).only_image().text("seen")
}

#[test]
fn every_sort_of_input_is_baked_when_it_changes() {
    let Some(base) = base() else { return };
    let dockerfile = "FROM busybox\nARG WORD=none\nCOPY dir/ /dir/\n\
        RUN --mount=type=secret,id=s cat /dir/a /run/secrets/s > /seen; echo $WORD >> /seen\n";
    let project = Project::native_app(&base, dockerfile)
        .file("dir/a", "a1\n")
        .file("secret", "s1\n")
        .file("more.toml", "")
        .file("beside", "nobody takes this");
    let file = project.read("multiarch.toml");
    project.write(
        "multiarch.toml",
        format!("include = [\"more.toml\"]\n{file}secret = [{{ id = \"s\", src = \"secret\" }}]\n"),
    );
    let mut running = start(&project, &["app"]);
    assert_eq!(seen(&project), "a1\ns1\nnone\n");

    project.write("dir/a", "a2, which is longer\n");
    baked(&mut running, "dir/a");
    assert_eq!(seen(&project), "a2, which is longer\ns1\nnone\n");

    // A file in a folder that is new.
    fs::create_dir(project.path("dir/new")).expect("it is writable");
    project.write("dir/new/b", "b\n");
    baked(&mut running, "dir/new/b");

    // What no step takes wakes nobody: the next change that is told is another one.
    project.write("beside", "still nobody");
    project.write(".dockerignore", "dir/new\n");
    baked(&mut running, ".dockerignore");
    assert!(!Layout::open(&project.path("image.tar")).only_image().has("dir/new"));

    project.write("more.toml", "[target.other]\ncontext = \".\"\n");
    running.wait_for("changed: `more.toml`").wait_for(WAITING);

    project.edit("Dockerfile", "WORD=none", "WORD=other");
    baked(&mut running, "Dockerfile");
    running.signal(Signal::INT);
    running.finish().succeeded();
}

#[test]
fn what_is_wrong_is_told_and_the_next_change_tries_again() {
    let Some(base) = base() else { return };
    let project = Project::native_app(&base, "FROM busybox\nCOPY a /seen\n").file("a", "1");
    let mut running = start(&project, &["app"]);
    project.edit("Dockerfile", "COPY", "COPI");
    running.wait_for("changed: `Dockerfile`").wait_for("COPI").wait_for(WAITING);
    let file = project.read("multiarch.toml");
    project.write("multiarch.toml", "[target.app\n");
    running.wait_for("changed: `multiarch.toml`").wait_for("multiarch.toml").wait_for(WAITING);
    project.write("multiarch.toml", &file);
    running.wait_for("changed: ").wait_for("COPI").wait_for(WAITING);
    running.signal(Signal::INT);
    running.finish().failed(2);

    project.edit("Dockerfile", "COPI", "COPY");
    let mut running = start(&project, &["app"]);
    project.edit("Dockerfile", "COPY a /seen", "RUN exit 7");
    baked(&mut running, "Dockerfile");
    running.signal(Signal::INT);
    running.finish().failed(1);
}

#[test]
fn a_change_during_a_bake_is_baked_after_it() {
    let Some(base) = base() else { return };
    // The first step waits until the test says so, by a file that is no input.
    let project = Project::native_app(
        &base,
        "FROM busybox\nCOPY gate /gate\nRUN echo started; cat /gate\nCOPY a /seen\n",
    )
    .file("a", "1")
    .file("gate", "1");
    let mut running = project
        .mab(&["bake", "app", "--watch", "--progress", "plain", "-o", "type=oci,dest=image.tar"])
        .start();
    running.wait_for("| started");
    project.write("a", "second");
    running.wait_for(WAITING).wait_for("changed: `a`").wait_for(WAITING);
    assert_eq!(seen(&project), "second");
    running.signal(Signal::INT);
    running.finish().succeeded();
}

#[test]
fn what_triggers_of_a_base_take_is_watched_once_it_is_known() {
    let Some(base) = base() else { return };
    let project = Project::native_app(&base, "FROM parent\nCOPY a /seen\n")
        .file("a", "1")
        .file("package.json", "{}")
        .file("beside", "nobody takes this")
        .file("parent/Dockerfile", "FROM busybox\nONBUILD COPY package.json /\n");
    let file = project.read("multiarch.toml");
    let parent = file.replace("[target.app]\ncontext = \".\"", "[target.parent]\ncontext = \"parent\"");
    let app = file.replace("contexts = {", "contexts = { parent = \"target:parent\",");
    project.write("multiarch.toml", format!("{app}{parent}"));
    let mut running = start(&project, &["app"]);
    project.write("beside", "still nobody");
    project.write("package.json", "{ \"name\": \"app\" }");
    baked(&mut running, "package.json");
    let image = Layout::open(&project.path("image.tar")).only_image();
    assert_eq!(image.text("package.json"), "{ \"name\": \"app\" }");
    running.signal(Signal::INT);
    let ran = running.finish().succeeded();
    assert_eq!(ran.lines_with("changed: "), ["changed: `package.json`"]);
}

#[test]
fn outputs_among_the_inputs_wake_nobody() {
    let Some(base) = base() else { return };
    let project = Project::native_app(&base, "FROM busybox\nCOPY . /all/\nCOPY a /seen\n").file("a", "1");
    let mut running = start(&project, &["app", "--metadata-file", "metadata.json"]);
    project.write("a", "12");
    baked(&mut running, "a");
    project.write("a", "123");
    // Nothing else was told in between.
    baked(&mut running, "a");
    running.signal(Signal::INT);
    let ran = running.finish().succeeded();
    assert_eq!(ran.lines_with("changed: "), ["changed: `a`", "changed: `a`"]);
}

#[test]
fn programs_are_told_in_their_way_and_standard_input_is_refused() {
    let Some(base) = base() else { return };
    let project = Project::native_app(&base, "FROM busybox\nCOPY a /seen\n").file("a", "1");
    let mut running = project.mab(&["bake", "app", "--watch", "--progress", "json"]).start();
    running.wait_for("\"event\":\"watching\"");
    project.write("a", "12");
    running.wait_for("\"event\":\"changed\"").wait_for("\"event\":\"watching\"");
    running.signal(Signal::TERM);
    running.finish().succeeded();
    for arguments in [&["bake", "--watch", "-f", "-"][..], &["bake", "--watch", "stdin"]] {
        project.write("multiarch.toml", "[target.stdin]\ncontext = \"-\"\n");
        let ran = project.mab(arguments).run().failed(2);
        assert!(ran.stderr.contains("comes from standard input, which is read once"), "{}", ran.stderr);
    }
}

/// Where the kernel gives no room for watches, files are looked at now and then.
#[test]
fn a_kernel_that_does_not_tell_is_made_up_for() {
    let Some(base) = base() else { return };
    let project = Project::native_app(&base, "FROM busybox\nCOPY a /seen\n").file("a", "1");
    let limits = ["unshare", "--user", "--map-root-user", "sh", "-c"];
    let script = "echo 0 > /proc/sys/user/max_inotify_instances && exec \"$0\" \"$@\"";
    let can = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c", "echo 0 > /proc/sys/user/max_inotify_instances"])
        .output();
    if !can.is_ok_and(|output| output.status.success()) {
        return crate::support::skip("user namespaces that limit inotify");
    }
    let wrapper: Vec<&str> = limits.into_iter().chain([script]).collect();
    let mut running =
        project.mab(&["bake", "app", "--watch", "--progress", "plain"]).inside(&wrapper).start();
    running.wait_for("the kernel does not tell of changes").wait_for(WAITING);
    project.write("a", "12");
    running.wait_for("changed: `a`").wait_for(WAITING);
    running.signal(Signal::INT);
    let ran = running.finish();
    assert_eq!(ran.lines_with("the kernel does not tell").len(), 1);
}
