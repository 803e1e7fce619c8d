//! Runs that are cut, and runs beside each other: nothing stays behind, and the store is good for the next one.

use std::net::TcpListener;

use rustix::process::Signal;

use crate::support::process::{mounts_below, wait_for_end, with_marker};
use crate::support::project::native;
use crate::support::{Layout, Project, base};

/// A project whose second step sleeps for longer than anybody waits; the sleep's number is its mark, which the
/// shell's command line has as well: it waits for what comes after.
fn sleeping(base: &std::path::Path, seconds: &str) -> Project {
    Project::native_app(
        base,
        &format!("FROM busybox\nRUN echo one > /one\nRUN echo started; sleep {seconds}; true\n"),
    )
}

/// A number of seconds that no other process sleeps for.
fn mark(of_test: u32) -> String {
    format!("{of_test}{:08}", std::process::id())
}

/// What the cut run finished is known; the rest can be built.
fn assert_usable(project: &Project, seconds: &str) {
    assert_eq!(mounts_below(project.folder()), [""; 0]);
    project.edit("Dockerfile", &format!("sleep {seconds}"), "echo two > /two");
    let ran = project.bake(&["app", "-o", "type=oci,dest=image.tar"]);
    let first = ran.lines_with("RUN echo one > /one");
    assert!(first.len() == 1 && first[0].ends_with("reused"), "{first:?}");
    let image = Layout::open(&project.path("image.tar")).only_image();
    assert_eq!((image.text("one"), image.text("two")), ("one\n".into(), "two\n".into()));
    project.bake(&["app"]).says("nothing had to be done");
}

#[test]
fn an_interrupt_stops_the_command_and_cleans_up() {
    let Some(base) = base() else { return };
    for (number, signal) in [(1, Signal::INT), (2, Signal::TERM)] {
        let seconds = mark(number);
        let project = sleeping(&base, &seconds);
        let mut running = project.mab(&["bake", "app"]).start();
        running.wait_for("| started");
        assert!(!with_marker(&seconds).is_empty(), "the command runs");
        running.signal(signal);
        running.finish().failed(130);
        assert!(with_marker(&seconds).is_empty(), "the command outlives the run");
        assert_usable(&project, &seconds);
    }
}

#[test]
fn an_interrupt_ends_the_wait_for_a_context() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    for signal in [Signal::INT, Signal::TERM] {
        let project = Project::of(&format!("[target.app]\ncontext = \"http://{address}/archive.tar\"\n"));
        let mut running = project.mab(&["bake", "app"]).start();
        let client = silent.accept().unwrap();
        running.signal(signal);
        running.finish().failed(130).says("interrupted before anything was built");
        drop(client);
    }
}

#[test]
fn a_killed_run_takes_its_command_with_it() {
    let Some(base) = base() else { return };
    let seconds = mark(3);
    let project = sleeping(&base, &seconds);
    let mut running = project.mab(&["bake", "app"]).start();
    running.wait_for("| started");
    let commands = with_marker(&seconds);
    assert!(!commands.is_empty(), "the command runs");
    running.signal(Signal::KILL);
    assert_eq!(running.finish().code, None);
    wait_for_end(&commands);
    assert_usable(&project, &seconds);
}

#[test]
fn an_interrupted_push_moves_no_tag() {
    let (Some(base), Some(registry)) = (base(), crate::support::Registry::of_this_run()) else { return };
    let seconds = mark(4);
    let project = sleeping(&base, &seconds);
    let name = registry.repository("cut");
    let file = project.read("multiarch.toml");
    project.write("multiarch.toml", format!("{file}tags = [\"{name}:1\"]\n"));
    let mut running = project.mab(&["bake", "app", "--push"]).start();
    running.wait_for("| started").signal(Signal::INT);
    running.finish().failed(130);
    assert_eq!(registry.tags(&name), [""; 0]);
}

#[test]
fn two_runs_share_a_store() {
    let Some(base) = base() else { return };
    let platform = native();
    let project = Project::of(&format!(
        "[project]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n\
         [target._t]\ncontexts = {{ busybox = \"oci-layout://{}\" }}\n\
         [target.shared]\ninherits = [\"_t\"]\n\
         dockerfile-inline = \"FROM busybox\\nRUN cat /proc/sys/kernel/random/uuid > /id\"\n\
         [target.left]\ncontexts = {{ shared = \"target:shared\" }}\n\
         dockerfile-inline = \"FROM shared\\nRUN echo left > /side\"\n\
         [target.right]\ncontexts = {{ shared = \"target:shared\" }}\n\
         dockerfile-inline = \"FROM shared\\nRUN echo right > /side\"\n",
        base.display()
    ));
    let start = |side: &str| project.mab(&["bake", side, "-o", &format!("type=oci,dest={side}.tar")]).start();
    let runs = ["left", "right"].map(start);
    for run in runs {
        run.finish().succeeded();
    }
    let [left, right] =
        ["left", "right"].map(|side| Layout::open(&project.path(&format!("{side}.tar"))).image(&platform));
    assert_eq!((left.text("side"), right.text("side")), ("left\n".into(), "right\n".into()));
    assert_eq!(left.text("id"), right.text("id"), "the shared step ran once");
    project.bake(&["left", "right"]).says("nothing had to be done");
}
