//! Docker Engines as workers: their own BuildKit, and which of them can be used.

use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::Signal;
use serde_json::Value;

use crate::builders::{configure, unseen, worker};
use crate::support::archive::{Form, Tar};
use crate::support::engine::{Engine, engines};
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
    project.write("in", format!(" {}", unseen()));
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
        project.write("in", format!(" {} {round}", unseen()));
        project.mab(&bake).with_env(variable.0, variable.1).with_env("TOKEN", &token).run().succeeded();
        let image = Layout::open(&project.path("app.tar")).only_image();
        assert_eq!(image.text("out"), format!("{token} {} {round}", unseen()));
    }
    let without = project.mab(&bake).with_env("TOKEN", "").run().succeeded();
    without.says("nothing had to be done");
}

/// An Engine as old as 20.10 does not tell how many builds it has.
#[test]
fn engines_say_what_they_are_and_what_they_keep() {
    for engine in engines() {
        let project = Project::of("");
        configure(&project, &[worker(format!("docker://{}", engine.socket()), &[native().as_str()])]);
        let told = |words: &[&str]| {
            let ran = project.mab(&[&["builder"][..], words, &["--json"]].concat()).run().succeeded();
            let told: Value = serde_json::from_str(&ran.stdout).expect("it is JSON");
            told["workers"][0].clone()
        };
        let inspected = told(&["inspect", "fleet"]);
        assert_eq!(inspected["slots"], 4, "{inspected}");
        assert_eq!(inspected["free"].is_null(), engine.is_classic(), "{inspected}");
        assert!(told(&["du", "fleet"])["bytes"].is_u64());
        // Others build there: what was used within a hundred years stays.
        assert_eq!(told(&["prune", "fleet", "--unused-for", "36500"])["records"], 0);
    }
}

/// The distribution's Engine, if it is one that keeps images in its own way.
fn classic() -> Option<Classic> {
    static ALONE: Mutex<()> = Mutex::new(());
    let engine = engines().into_iter().next().filter(Engine::is_classic)?;
    Some(Classic { engine, _alone: ALONE.lock().unwrap_or_else(PoisonError::into_inner) })
}

/// The Engine with the classic store, for one test at a time: they look at what is left in it.
struct Classic {
    engine: Engine,
    _alone: MutexGuard<'static, ()>,
}

impl Deref for Classic {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

/// What of a run's own is left in an Engine.
fn left(engine: &Engine) -> Vec<String> {
    let mut names = engine.names_with("mab-");
    names.retain(|name| name.ends_with(":build") || name.ends_with(":base"));
    names
}

#[test]
fn an_engine_with_the_classic_store_builds_and_keeps_nothing() {
    let (Some(base), Some(engine)) = (base(), classic()) else { return };
    let project = Project::of(&format!(
        "[target.lib]\nnetwork = \"none\"\ncontext = \"lib\"\ncontexts = {{ busybox = \"oci-layout://{0}\" }}\n\
         [target.app]\nnetwork = \"none\"\nsecret = [\"id=token,env=TOKEN\"]\nlabels = {{ kind = \"test\" }}\n\
         contexts = {{ busybox = \"oci-layout://{0}\", lib = \"target:lib\" }}\noutput = [\"type=oci,dest=app.tar\"]\n",
        base.display()
    ));
    project.write("lib/Dockerfile", "FROM busybox\nRUN echo lib > /lib.txt\n");
    project.write(
        "Dockerfile",
        "ARG BASE=lib\nFROM busybox AS one\nCOPY in /in\nRUN --mount=type=secret,id=token \\\n  \
         cat /run/secrets/token /in > /out\nFROM ${BASE}\nCOPY --from=one /out /out\n\
         COPY --from=busybox /bin/busybox /again\nRUN --mount=from=busybox,target=/m ls /m > /list\n",
    );
    project.write("in", format!(" {}", unseen()));
    configure(&project, &[worker(format!("docker://{}", engine.socket()), &[native().as_str()])]);
    let bake = ["bake", "app", "--builder", "fleet", "--progress", "plain"];
    let there = project.mab(&bake).with_env("TOKEN", "a").run().succeeded();
    // Steps and their logs are told by a frontend that numbers them otherwise, too.
    let there = there.does_not_say("lost").says("RUN --mount=type=secret").says("COPY --from=one");
    let image = Layout::open(&project.path("app.tar")).only_image();
    assert_eq!(image.text("out"), format!("a {}", unseen()), "{}", there.stderr);
    assert_eq!(image.text("lib.txt"), "lib\n");
    assert!(image.text("list").contains("bin\n"));
    assert_eq!(image.config["config"]["Labels"]["kind"], "test");
    assert_eq!(left(&engine), Vec::<String>::new());
    // The base's layers are the blobs that they were.
    let manifest = project.mab(&["bake", "app", "-o", "type=oci,dest=here.tar"]).with_env("TOKEN", "a");
    manifest.run().succeeded();
    let here = Layout::open(&project.path("here.tar")).only_image();
    let (here, there) = (here.layer_digests(), image.layer_digests());
    assert_eq!((here.first(), here.len()), (there.first(), there.len()));
    // Whoever knows the result asks nobody.
    configure(&project, &[worker("docker:///nowhere", &[native().as_str()])]);
    project.mab(&bake).with_env("TOKEN", "a").run().succeeded().says("nothing had to be done");
    a_build_that_is_cut_leaves_nothing(&base, &engine);
}

/// Part of the test above, since they look at the same Engine.
fn a_build_that_is_cut_leaves_nothing(base: &std::path::Path, engine: &Engine) {
    let project = Project::native_app(base, "FROM busybox\nRUN echo begun; sleep 60\n");
    let file = project.read("multiarch.toml");
    project.write("multiarch.toml", format!("{file}network = \"none\"\nno-cache = true\n"));
    configure(&project, &[worker(format!("docker://{}", engine.socket()), &[native().as_str()])]);
    let mut running = project.mab(&["bake", "app", "--builder", "fleet", "--progress", "plain"]).start();
    running.wait_for("begun");
    running.signal(Signal::INT);
    let ran = running.finish();
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    assert_eq!(left(engine), Vec::<String>::new());
}

#[test]
fn what_an_old_frontend_does_not_know_is_told_before_anything_runs() {
    let (Some(base), Some(engine)) = (base(), classic()) else { return };
    let text = "FROM busybox\nCOPY --link in /in\nRUN <<END\necho\nEND\nRUN --network=none true\n\
                COPY --from=files --parents a /\n";
    let project = Project::native_app(&base, text);
    let file = project.read("multiarch.toml");
    let contexts = file.replace("contexts = { ", "contexts = { files = \"files\", ");
    project.write("multiarch.toml", format!("{contexts}ulimits = [\"nofile=100\"]\n"));
    project.write("in", unseen());
    project.write("files/a", "a");
    configure(&project, &[worker(format!("docker://{}", engine.socket()), &[native().as_str()])]);
    let ran = project.mab(&["bake", "app", "--builder", "fleet"]).run().failed(2);
    let reads = format!("worker `docker://{}` of builder `fleet` reads 1.2", engine.socket());
    for (what, version, place) in [
        ("`COPY --link`", 4, "Dockerfile:2:1"),
        ("a here-document in `RUN`", 4, "Dockerfile:3:1"),
        ("`RUN --network`", 3, "Dockerfile:6:1"),
        ("`COPY --parents`", 20, "Dockerfile:7:1"),
        ("the named context `files`, which is files", 4, "multiarch.toml:"),
        ("`ulimits`", 4, "config.toml:"),
    ] {
        let expected = format!("`app` asks for {what}, and that needs Dockerfile 1.{version}: {reads}");
        assert!(ran.stderr.contains(&expected), "no `{expected}` in:\n{}", ran.stderr);
        assert!(ran.stderr.contains(place), "no `{place}` in:\n{}", ran.stderr);
    }
    ran.says("leave `--builder` out: the embedded engine does it");
    // Of several workers the one that can is taken.
    let Some([own, _]) = crate::builders::sockets() else { return };
    let old = worker(format!("docker://{}", engine.socket()), &[native().as_str()]);
    configure(&project, &[old, worker(format!("unix://{}", own.display()), &[native().as_str()])]);
    let bake = ["bake", "app", "--builder", "fleet", "--progress", "plain"];
    let ran = project.mab(&bake).run().succeeded();
    assert!(ran.stderr.contains("COPY --link in /in"), "{}", ran.stderr);
}

/// Where an old frontend would make another image, and say nothing of it.
#[test]
fn what_an_old_frontend_makes_otherwise_is_refused() {
    let (Some(base), Some(engine)) = (base(), classic()) else { return };
    let check = |dockerfile: &str, expected: &[&str]| {
        let project = Project::native_app(&base, &format!("FROM busybox AS one\n{dockerfile}\n"));
        project.write("in", "in");
        project.write("d/in", "in");
        let pipe = project.path("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o644.into(), 0)
            .expect("the folder is ours");
        let tar = || Tar::default().file("a", "packed", 0o644, (1, 2));
        project.write("a.tar.zst", tar().bytes(Form::Zstd));
        project.write("a.tar", tar().bytes(Form::Plain));
        configure(&project, &[worker(format!("docker://{}", engine.socket()), &[native().as_str()])]);
        let ran = project.mab(&["bake", "app", "--builder", "fleet"]).run();
        match expected {
            [] => drop(ran.succeeded()),
            _ => {
                let ran = ran.failed(3);
                for text in expected.iter().chain(&["buildkit::classic", "Dockerfile:2:1", "embedded engine"])
                {
                    assert!(ran.stderr.contains(text), "no `{text}` in:\n{}", ran.stderr);
                }
            }
        }
    };
    check("COPY pipe /p", &["leaves out the named pipe `pipe`, which this copies: `COPY pipe /p`"]);
    check("COPY in /d/.", &["writes a file where a destination in `/.` means a directory"]);
    check("ADD a.tar.zst /d/", &["leaves `a.tar.zst` packed: it knows no zstd"]);
    check("ADD --chown=3:4 a.tar /d/", &["leaves what `a.tar` holds to its owners, whatever `--chown` says"]);
    check("COPY --chmod=600 in /n/in", &["gives `/n` another mode than 600", "with `WORKDIR /n`"]);
    check("COPY --chmod=700 d /", &[]);
    check("COPY --chmod=700 . /x/", &["leaves out the named pipe"]);
    check("WORKDIR /n\nCOPY --chmod=600 in /n/in", &[]);
    check("ADD --chown=3:4 in /d/", &[]);
}

/// What is asked for beyond images is told before anything runs, with its line if it has one.
#[test]
fn the_classic_store_keeps_images_alone() {
    let (Some(base), Some(engine)) = (base(), classic()) else { return };
    let project = Project::native_app(&base, "FROM busybox\nRUN true\n");
    let file = project.read("multiarch.toml");
    let more = "attest = [\"type=provenance\"]\ncache-to = [\"type=registry,ref=localhost:1/cache\"]\n\
         cache = [\"ci\"]\n[cache.ci]\ntype = \"local\"\npath = \"kept\"\n";
    project.write("multiarch.toml", format!("{file}{more}"));
    configure(&project, &[worker(format!("docker://{}", engine.socket()), &[native().as_str()])]);
    let ran = project.mab(&["bake", "app", "--builder", "fleet"]).run().failed(2);
    ran.says("builder::classic-store")
        .says("`app` asks for the attestation `provenance`, which the classic image store of worker")
        .says("`app` asks for a cache of steps, `type=registry`, which the classic image store of worker")
        .says("`app` asks for a cache of steps, `ci`, which the classic image store of worker")
        .says("multiarch.toml:")
        .says("switch that Engine to containerd's image store");
}

/// Workers are asked what they grant before anything runs.
#[test]
fn what_a_worker_does_not_grant_is_told_before_anything_runs() {
    let Some(base) = base() else { return };
    let Some(engine) = engines().into_iter().nth(1) else { return };
    let project = Project::native_app(&base, "FROM busybox\nRUN --security=insecure true\n");
    let file = project.read("multiarch.toml");
    project.write("multiarch.toml", format!("{file}entitlements = [\"security.insecure\"]\n"));
    configure(&project, &[worker(format!("docker://{}", engine.socket()), &[native().as_str()])]);
    let bake = ["bake", "app", "--builder", "fleet", "--allow", "security.insecure"];
    let ran = project.mab(&bake).run().failed(2);
    let expected = format!(
        "`app` asks for the entitlement `security.insecure`, which worker `docker://{}` of builder `fleet` does not grant",
        engine.socket()
    );
    ran.says("builder::entitlement").says(&expected).says("multiarch.toml:").does_not_say("RUN");
}
