//! Processors that this machine does not have: images built for them, judged, tested and run under emulation, by root
//! and by ordinary users.

use crate::support::project::copy_tree;
use crate::support::surroundings::{foreign_base, needs};
use crate::support::users::User;
use crate::support::{Layout, Project};

const FILE: &str = r#"[target.app]
platforms = ["linux/arm64", "linux/arm/v7", "linux/ppc64le", "linux/s390x"]
contexts = { busybox = "oci-layout://foreign" }
emulate = "allow"
network = "none"
output = ["type=oci,dest=app.tar"]
[target.app.test.same-machine]
script = 'test "$(uname -m)" = "$(cat /machine)"'
expect = { files = [{ path = "/start", mode = "0755" }] }
[target.app.test.serves]
service = { ports = [8080] }
run = ["wget", "-qO-", "http://127.0.0.1:8080/machine"]
expect = { stdout-matches = "^(aarch64|armv7l|ppc64le|s390x)$" }
"#;

const DOCKERFILE: &str =
    "FROM busybox\nRUN uname -m > /machine\nCOPY --chmod=755 start /\nENTRYPOINT [\"/start\"]\n";
const START: &str = "#!/bin/sh\nexec httpd -f -p 8080 -h /\n";

#[test]
fn images_are_built_judged_tested_and_run_for_each() {
    let Some(base) = foreign_base() else { return };
    if !["arm", "ppc64le", "s390x"].iter().all(|name| needs(&format!("qemu-{name}-static"))) {
        return;
    }
    for user in User::all() {
        let name = user.name;
        let project = user.project(|_| {
            let project = Project::of(FILE).file("Dockerfile", DOCKERFILE).file("start", START);
            copy_tree(&base, &project.path("foreign"));
            project
        });
        let baked = project.mab(&["bake", "app"]).run().succeeded();
        assert!(!baked.stderr.contains("warning"), "{name}: {}", baked.stderr);
        let layout = Layout::open(&project.path("app.tar"));
        for (platform, machine) in [
            ("linux/arm64", "aarch64\n"),
            ("linux/arm/v7", "armv7l\n"),
            ("linux/ppc64le", "ppc64le\n"),
            ("linux/s390x", "s390x\n"),
        ] {
            assert_eq!(layout.image(platform).text("machine"), machine, "{name} {platform}");
            let ran = project.mab(&["run", "--progress", "quiet", "--platform", platform, "./app.tar"]);
            let ran = ran.with(&["--entrypoint", "", "--", "uname", "-m"]).run().succeeded();
            assert_eq!(ran.stdout, machine, "{name} {platform}");
        }
        let tested = project.mab(&["test", "app", "--progress", "quiet"]).run().succeeded();
        assert_eq!(tested.stdout.lines().last(), Some("8 passed (8 as before), 0 failed"), "{name}");
        let judged = project.mab(&["verify", "./app.tar"]).run().succeeded();
        let right = |line: &str| line.ends_with(": 3 layers: nothing is wrong");
        assert_eq!(judged.stdout.lines().filter(|line| right(line)).count(), 4, "{name}: {}", judged.stdout);
    }
}
