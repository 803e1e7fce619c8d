//! The oldest BuildKit that is a worker: the same comes of it as of the newest.

use serde_json::Value;

use crate::builders::{check_everything, configure, worker};
use crate::support::daemon::{Daemon, OLDEST};
use crate::support::project::native;
use crate::support::{Project, base};

#[test]
fn the_oldest_buildkit_does_everything() {
    let (Some(base), Some(daemon)) = (base(), Daemon::oldest()) else { return };
    let worker = worker(format!("unix://{}", daemon.socket.display()), &[native().as_str()]);
    let project = Project::of("");
    configure(&project, std::slice::from_ref(&worker));
    let inspected =
        |words: &[&str]| project.mab(&[&["builder", "inspect", "fleet"][..], words].concat()).run();
    let text = inspected(&[]).succeeded().stdout;
    assert!(text.contains(&format!("BuildKit {OLDEST}  {}", native())), "{text}");
    let told: Value = serde_json::from_str(&inspected(&["--json"]).succeeded().stdout).expect("it is JSON");
    assert_eq!(told["workers"][0]["buildkit"], OLDEST);
    for words in [["builder", "du", "fleet"], ["builder", "prune", "fleet"]] {
        project.mab(&words).run().succeeded();
    }
    check_everything(&base, &[worker]);
}

/// What its frontend does not read is told before it is asked to.
#[test]
fn what_the_oldest_buildkit_does_not_read_is_told_before_anything_runs() {
    let (Some(base), Some(daemon)) = (base(), Daemon::oldest()) else { return };
    let project = Project::native_app(&base, "FROM busybox\nRUN true\nCOPY --parents multiarch.toml /\n");
    configure(&project, &[worker(format!("unix://{}", daemon.socket.display()), &[native().as_str()])]);
    let ran = project.mab(&["bake", "app", "--builder", "fleet"]).run().failed(2);
    ran.says("builder::language")
        .says("`app` asks for `COPY --parents`, and that needs Dockerfile 1.20")
        .says("reads 1.6")
        .says("Dockerfile:3:1")
        .does_not_say("RUN true ·");
}

#[test]
fn what_is_older_is_refused() {
    let Some(daemon) = Daemon::calling_itself("v0.11.6") else { return };
    let project =
        Project::of("[target.app]\ndockerfile-inline = \"FROM scratch\\nCOPY multiarch.toml /\\n\"\n");
    let endpoint = format!("unix://{}", daemon.socket.display());
    configure(&project, &[worker(&endpoint, &[native().as_str()])]);
    let ran = project.mab(&["bake", "app", "--builder", "fleet"]).run().failed(4);
    ran.says("builder::version")
        .says(&format!("worker `{endpoint}` has BuildKit v0.11.6, and mab needs 0.12.0 or newer"))
        .says("upgrade buildkitd there");
}
