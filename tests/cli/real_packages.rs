//! Real packages: Debian on five architectures, programs in C, Go, Rust, Python and Node, wheels, packages of npm with
//! libraries for many systems. Nothing is wrong with them, and nothing is said.

use crate::support::Project;
use crate::support::surroundings::real_roots;

const FILE: &str = r#"[project]
platforms = ["linux/arm/v7", "linux/ppc64le", "linux/s390x"]
[target.debian]
context = "ROOTS"
dockerfile-inline = """
FROM scratch
ARG TARGETARCH
ARG TARGETVARIANT
ADD $TARGETARCH$TARGETVARIANT.tar /
CMD ["bash"]
"""
[target.languages]
inherits = ["debian"]
platforms = ["linux/amd64", "linux/arm64"]
[target.mistaken]
context = "ROOTS"
platforms = ["linux/ppc64le"]
dockerfile-inline = "FROM scratch\nADD s390x.tar /"
"#;

#[test]
fn nothing_is_said_of_what_is_right() {
    let Some(roots) = real_roots() else { return };
    let project = Project::of(&FILE.replace("ROOTS", &roots.display().to_string()));
    for target in ["debian", "languages"] {
        let ran = project.mab(&["bake", target]).run().succeeded();
        assert!(!ran.stderr.contains("warning"), "{target}: {}", ran.stderr);
    }
    let ran = project.mab(&["bake", "mistaken"]).run().failed(1);
    ran.says("more files are for s390x, but the image is for linux/ppc64le");
}
