//! The example monorepo, baked three ways: here, by two workers over TLS of both sides, and by a Docker Engine beside a
//! worker for the platform that it does not run.

use std::path::Path;

use serde_json::Value;

use crate::builders::{configure, foreign, sockets, worker};
use crate::support::engine::engines;
use crate::support::project::native;
use crate::support::proxy::{Authority, Proxy};
use crate::support::surroundings::{base_with_ids, needs};
use crate::support::{Image, Kind, Layout, Project};

/// What of a config people can tell.
fn told(image: &Image) -> Value {
    let mut config = image.config["config"].clone();
    // It says something of Windows only.
    config.as_object_mut().expect("a config is an object").remove("ArgsEscaped");
    config
}

/// The files with everything about them but the times of what was made, which are those of the builds.
fn files(image: &Image) -> Vec<(String, Kind, u32, (u64, u64))> {
    let entries = image.tree.iter();
    entries
        .map(|(path, entry)| (path.clone(), entry.kind.clone(), entry.mode & 0o7777, entry.owner))
        .collect()
}

/// What each layer holds, in an order of its own.
fn layers(image: &Image) -> Vec<Vec<String>> {
    let mut layers = image.layers.clone();
    layers.iter_mut().for_each(|layer| layer.sort_unstable());
    layers
}

#[track_caller]
fn check(expected: &Layout, found: &Layout, platforms: &[String], what: &str) {
    for platform in platforms {
        let [expected, found] = [expected, found].map(|layout| layout.image(platform));
        assert_eq!(told(&expected), told(&found), "{what} {platform}");
        assert_eq!(layers(&expected), layers(&found), "{what} {platform}");
        assert_eq!(files(&expected), files(&found), "{what} {platform}");
    }
}

/// Bakes everything by a builder, or here, and gives the images by their targets.
fn bake(project: &Project, more: &[&str]) -> Vec<Layout> {
    let bake = |target: &&str| {
        let output = format!("type=oci,dest={target}.tar");
        project.bake(&[&[*target, "-o", &output], more].concat());
        Layout::open(&project.path(&format!("{target}.tar")))
    };
    TARGETS.iter().map(bake).collect()
}

const TARGETS: [&str; 3] = ["base", "api", "web"];

/// Gives the user a fleet of these daemons, each for one platform, which know whom they serve. It lasts as long as what
/// is returned.
fn secured(project: &Project, sockets: &[std::path::PathBuf; 2], folder: &Path) -> [Proxy; 2] {
    std::fs::create_dir(folder).expect("the folder is new");
    let authority = Authority::new(folder, "ca");
    authority.sign("server", "IP:127.0.0.1", false);
    authority.sign("client", "DNS:client", false);
    let proxies = [0, 1].map(|number| Proxy::secure(&sockets[number], folder, "server", "ca"));
    let pem = |name: &str| folder.join(name).display().to_string();
    let (ca, cert, key) = (pem("ca.pem"), pem("client.pem"), pem("client.key"));
    let native = native();
    let workers = [(&proxies[0], native.as_str()), (&proxies[1], foreign())].map(|(proxy, platform)| {
        let tls = format!("tls = {{ ca = \"{ca}\", cert = \"{cert}\", key = \"{key}\" }}");
        format!("{{ endpoint = \"tcp://127.0.0.1:{}\", platforms = [\"{platform}\"], {tls} }}", proxy.port)
    });
    configure(project, &workers);
    proxies
}

#[test]
fn the_example_is_the_same_whoever_builds_it() {
    let (Some(base), Some(sockets)) = (base_with_ids(), sockets()) else { return };
    if !needs("openssl") {
        return;
    }
    let [here, there] = [(); 2].map(|()| Project::shop(&base));
    let proxies = secured(&there, &sockets, &there.path("../tls"));
    let (ours, theirs) = (bake(&here, &[]), bake(&there, &["--builder", "fleet"]));
    for ((ours, theirs), target) in ours.iter().zip(&theirs).zip(TARGETS) {
        assert_eq!(ours.platforms(), theirs.platforms());
        check(ours, theirs, &ours.platforms(), target);
    }
    // One with the classic store has a frontend that does not read all of the example.
    for engine in engines().into_iter().filter(|engine| !engine.is_classic()) {
        let beside = Project::shop(&base);
        let engine = worker(format!("docker://{}", engine.socket()), &[native().as_str()]);
        configure(&beside, &[engine, worker(format!("unix://{}", sockets[1].display()), &[foreign()])]);
        // The Engines of tests have no network to give to a container.
        let by_engine = bake(&beside, &["--builder", "fleet", "--set", "*.network=none"]);
        for ((ours, theirs), target) in ours.iter().zip(&by_engine).zip(TARGETS) {
            assert_eq!(ours.platforms(), theirs.platforms());
            check(ours, theirs, &ours.platforms(), target);
        }
    }
    drop(proxies);
    // Whoever knows the result asks nobody, wherever the workers are.
    configure(&there, &[worker("unix:///nowhere", &[native().as_str(), foreign()])]);
    there.bake(&["--builder", "fleet"]).says("nothing had to be done: 3 images up to date");
    // What this machine builds is another matter: its images are its own.
    there.bake(&["base"]).does_not_say("nothing had to be done");
}
