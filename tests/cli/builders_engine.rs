//! Docker Engines as workers: their own BuildKit, and which of them can be used.

use crate::builders::{configure, worker};
use crate::support::engine::engines;
use crate::support::project::native;
use crate::support::{Layout, Project, base, sha256};

const DOCKERFILE: &str = "\
FROM busybox
COPY in /in
RUN --mount=type=secret,id=token cat /run/secrets/token /in > /out
";

/// A target that runs something; the Engines of tests have no network to give to a container.
fn project(base: &std::path::Path) -> Project {
    let project = Project::native_app(base, DOCKERFILE);
    let file = project.read("multiarch.toml");
    let more =
        "network = \"none\"\nsecret = [\"id=token,env=TOKEN\"]\noutput = [\"type=oci,dest=app.tar\"]\n";
    project.write("multiarch.toml", format!("{file}{more}"));
    project.write("in", format!(" {}", std::process::id()));
    project
}

#[test]
fn an_engine_builds_by_every_name_that_it_has() {
    let Some(base) = base() else { return };
    // The distribution's keeps images in its own way, if it is an old one.
    let Some(engine) = engines().into_iter().nth(1) else { return };
    let project = project(&base);
    let bake = ["bake", "app", "--builder", "fleet"];
    let context = sha256(b"near").replace("sha256:", "");
    let host =
        format!("{{\"Name\":\"near\",\"Endpoints\":{{\"docker\":{{\"Host\":\"{}\"}}}}}}", engine.address);
    project.write(&format!("../home/.docker/contexts/meta/{context}/meta.json"), host);
    for (round, (endpoint, variable)) in [
        ("docker://", ("DOCKER_HOST", engine.address.as_str())),
        ("docker://", ("DOCKER_CONTEXT", "near")),
        ("docker://near", ("HERE", "")),
        (&format!("docker://{}", engine.socket()), ("HERE", "")),
    ]
    .into_iter()
    .enumerate()
    {
        configure(&project, &[worker(endpoint, &[native().as_str()])]);
        let token = format!("token {round}");
        project.write("in", format!(" {} {round}", std::process::id()));
        project.mab(&bake).with_env(variable.0, variable.1).with_env("TOKEN", &token).run().succeeded();
        let image = Layout::open(&project.path("app.tar")).only_image();
        assert_eq!(image.text("out"), format!("{token} {} {round}", std::process::id()));
    }
    let without = project.mab(&bake).with_env("TOKEN", "").run().succeeded();
    without.says("nothing had to be done");
}

#[test]
fn an_engine_that_hands_nothing_out_says_so() {
    let Some(base) = base() else { return };
    let Some(engine) = engines().into_iter().next() else { return };
    if !engine.is_classic() {
        return;
    }
    let project = project(&base);
    configure(&project, &[worker(format!("docker://{}", engine.socket()), &[native().as_str()])]);
    let ran = project.mab(&["bake", "--builder", "fleet", "app"]).with_env("TOKEN", "a").run().failed(4);
    ran.says("builder::classic-store").says("with its classic image store").says("containerd-snapshotter");
}
