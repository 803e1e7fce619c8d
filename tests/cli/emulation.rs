//! What emulation cost, and the way out that fits the Dockerfile.

use crate::support::mab::Ran;
use crate::support::{Project, base};

/// A program that keeps a processor busy for longer than is worth no word, however fast that is.
const BUSY: &str = "#!/bin/sh\nend=$(($(date +%s) + 2)); while [ $(date +%s) -le $end ]; do :; done\n";

/// Builds for arm64 with that program under a name.
fn built(program: &str, dockerfile: &str, arguments: &[&str]) -> Option<Ran> {
    let project = Project::app(&base()?, dockerfile).file(program, BUSY);
    let bake = project.mab(&["bake", "app", "--platform", "linux/arm64", "-o", "type=cacheonly"]);
    let ran = bake.with(arguments).run().succeeded();
    Some(ran)
}

#[test]
fn what_the_build_machine_can_do_is_said_with_its_line() {
    let dockerfile = "FROM busybox\nCOPY --chmod=755 go /bin/go\nRUN go build .\n";
    let Some(ran) = built("go", dockerfile, &[]) else { return };
    ran.says("emulation took ")
        .says("was `app` for linux/arm64")
        .says("Dockerfile:3:1")
        .says("go need not be emulated")
        .says("build in a stage `FROM --platform=$BUILDPLATFORM` and cross-compile");
}

#[test]
fn packages_may_be_built_already() {
    let dockerfile = "FROM busybox\nCOPY --chmod=755 pip /bin/pip\nRUN pip install numpy\n";
    let Some(ran) = built("pip", dockerfile, &[]) else { return };
    ran.says("Dockerfile:3:1").says("what pip compiles here is emulated").says("wheels, prebuilt packages");
}

#[test]
fn anything_else_is_a_machines_matter_and_who_allows_it_hears_nothing() {
    let dockerfile = "FROM busybox\nCOPY --chmod=755 work /bin/work\nRUN work\n";
    let Some(ran) = built("work", dockerfile, &[]) else { return };
    ran.says("emulation took ").says("a machine of the platform builds it natively: `mab builder add`");
    let Some(ran) = built("work", dockerfile, &["--set", "app.emulate=allow"]) else { return };
    ran.does_not_say("emulation took");
}
