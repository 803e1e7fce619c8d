//! Several workers: who builds what, what is told of it, and what happens when one is not there any more.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::builders::{configure, fleet, foreign, sockets, unseen, worker};
use crate::support::daemon::Daemon;
use crate::support::gate::Gate;
use crate::support::project::native;
use crate::support::proxy::Proxy;
use crate::support::{Layout, Project, Ran, Registry, base};

/// Who was given which node, as (target, endpoint).
fn assigned(ran: &Ran) -> Vec<(String, String)> {
    let events = ran.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut names = BTreeMap::new();
    let mut found = Vec::new();
    for event in events {
        for node in event["nodes"].as_array().into_iter().flatten() {
            names.insert(node["node"].to_string(), node["name"].as_str().unwrap_or_default().to_string());
        }
        if event["event"] == "assigned" {
            let name = names[&event["node"].to_string()].clone();
            found.push((name, event["endpoint"].as_str().expect("a worker has one").to_string()));
        }
    }
    found
}

#[test]
fn metadata_names_the_worker_of_every_platform() {
    let Some(sockets) = sockets() else { return };
    let project = Project::of(&format!(
        "# {}\n[target.app]\nplatforms = [\"{}\", \"{}\"]\n\
         dockerfile-inline = \"FROM scratch\\nCOPY multiarch.toml /\\n\"\n",
        unseen(),
        native(),
        foreign()
    ));
    fleet(&project, &sockets);
    let bake = ["app", "--builder", "fleet", "--metadata-file", "metadata.json", "--progress", "plain"];
    let endpoints = sockets.map(|socket| format!("unix://{}", socket.display()));
    let metadata = || serde_json::from_str::<Value>(&project.read("metadata.json")).expect("it is JSON");
    let ran = project.mab(&[&["bake"][..], &bake].concat()).run().succeeded();
    for (platform, endpoint) in [(native().as_str(), &endpoints[0]), (foreign(), &endpoints[1])] {
        assert!(ran.stderr.contains(&format!("[app {platform}] on {endpoint} of fleet\n")), "{}", ran.stderr);
        let told = &metadata()["app"]["mab.platforms"][platform];
        assert_eq!(told["mab.worker"], json!({ "builder": "fleet", "endpoint": endpoint }));
        assert_eq!(told["containerimage.digest"], told["containerimage.descriptor"]["digest"]);
    }
    // What was there was built by nobody.
    project.mab(&[&["bake"][..], &bake].concat()).run().succeeded();
    assert_eq!(metadata()["app"]["mab.platforms"][foreign()]["mab.worker"], Value::Null);
    project.mab(&["bake", "app", "--metadata-file", "metadata.json"]).run().succeeded();
    assert_eq!(metadata()["app"]["mab.platforms"][native()]["mab.worker"], json!({ "builder": "default" }));
}

/// A worker that says itself what it does: its own platform natively, and another one because of an emulator there.
#[test]
fn emulation_is_used_as_the_target_says() {
    let (Some(base), Some([own, emulating])) = (base(), sockets()) else { return };
    let asked = |socket: &std::path::Path| format!("{{ endpoint = \"unix://{}\" }}", socket.display());
    let notice = format!(
        "commands for {} run under emulation on `unix://{}`, which is slow",
        foreign(),
        emulating.display()
    );
    let bake = |emulate: &str| {
        let project = Project::of(&format!(
            "[target.app]\nplatforms = [\"{}\"]\nemulate = \"{emulate}\"\noutput = [\"type=oci,dest=app.tar\"]\n\
             contexts = {{ busybox = \"oci-layout://{}\" }}\ndockerfile-inline = \"FROM busybox\\nRUN uname -m > /m\\n\"\n",
            foreign(),
            base.display()
        ));
        configure(&project, &[asked(&own), asked(&emulating)]);
        let ran = project.mab(&["bake", "app", "--builder", "fleet", "--progress", "plain"]).run();
        (ran, project)
    };
    let machine = if foreign() == "linux/arm64" { "aarch64\n" } else { "x86_64\n" };
    for emulate in ["warn", "allow"] {
        let (ran, project) = bake(emulate);
        let ran = ran.succeeded();
        assert_eq!(ran.stderr.contains(&notice), emulate == "warn", "{}", ran.stderr);
        assert_eq!(Layout::open(&project.path("app.tar")).only_image().text("m"), machine);
    }
    let (ran, _) = bake("deny");
    ran.failed(3)
        .says(&format!("no worker of builder `fleet` builds `app` for {}", foreign()))
        .says(&format!("; emulated: {}, which `emulate = \"deny\"` rules out", foreign()));
}

/// One target waits for all the others, which can only be built where it is not.
#[test]
fn whoever_runs_dry_takes_what_waits() {
    let (Some(base), Some([socket, _])) = (base(), sockets()) else { return };
    let proxy = Proxy::plain(&socket);
    let id = format!("fleet-{}-{}", unseen(), proxy.port);
    // The id of a mount tells no steps apart.
    let mount = format!("RUN --mount=type=cache,id={id},target=/c");
    let wait = "for i in $(seq 3000); do [ $(ls /c | wc -l) = 5 ] && exit 0; sleep 0.1; done; exit 1";
    let mut text = String::from("[group.default]\ntargets = [\"all\", \"a\", \"b\", \"c\", \"d\", \"e\"]\n");
    for target in ["all", "a", "b", "c", "d", "e"] {
        let command = if target == "all" { wait.to_string() } else { format!("touch /c/{target}") };
        text.push_str(&format!(
            "[target.{target}]\nplatforms = [\"{}\"]\n\
             contexts = {{ busybox = \"oci-layout://{}\" }}\n\
             dockerfile-inline = \"FROM busybox\\n{mount} echo {id}; {command}\\n\"\n",
            native(),
            base.display()
        ));
    }
    let project = Project::of(&text);
    let one = |endpoint: String| {
        let whole = worker(endpoint, &[native().as_str()]);
        whole.replace(" }", ", max-parallelism = 1 }")
    };
    let slow = format!("tcp://127.0.0.1:{}", proxy.port);
    configure(&project, &[one(slow.clone()), one(format!("unix://{}", socket.display()))]);
    // What this machine does at once does not bound what others do.
    let bake = ["bake", "--builder", "fleet", "--jobs", "1", "--progress", "json"];
    let ran = project.mab(&bake).run().succeeded();
    let assigned = assigned(&ran);
    assert_eq!(assigned.len(), 6, "{assigned:?}");
    let first = assigned.iter().position(|(name, _)| name == "all").expect("it was built");
    // Whatever came before it.
    let (_, of_all) = &assigned[first];
    assert!(assigned[first + 1..].iter().all(|(_, endpoint)| endpoint != of_all), "{assigned:?}");
}

#[test]
fn a_daemon_that_ends_or_falls_silent_is_replaced() {
    let (Some(base), Some([other, _])) = (base(), sockets()) else { return };
    // Closed in every daemon of this test's own.
    let gate = Gate::new("ends");
    gate.open(&base, &other);
    let of = |socket: &std::path::Path| worker(format!("unix://{}", socket.display()), &[native().as_str()]);
    let check = |signal: Signal, others: &[String], said: &str| {
        let daemon = Daemon::start()?;
        let project = Project::native_app(&base, &format!("FROM busybox\n{}", gate.step()));
        let file = project.read("multiarch.toml");
        project.write("multiarch.toml", format!("{file}output = [\"type=oci,dest=app.tar\"]\n"));
        configure(&project, &[&[of(&daemon.socket)][..], others].concat());
        let bake = ["bake", "app", "--builder", "fleet", "--progress", "plain"];
        let mut running = project.mab(&bake).start();
        running.wait_for("begun");
        let told = project.mab(&["builder", "inspect", "fleet", "--json"]).run().succeeded();
        let told: Value = serde_json::from_str(&told.stdout).expect("it is JSON");
        assert_eq!(
            (&told["workers"][0]["slots"], &told["workers"][0]["free"]),
            (&json!(4), &json!(3)),
            "{told}"
        );
        let begun = Instant::now();
        daemon.signal(signal);
        let ran = running.finish();
        assert!(begun.elapsed() < Duration::from_secs(90), "it took {:?}", begun.elapsed());
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
        Some((ran, project))
    };
    for (signal, said) in [(Signal::KILL, "was lost"), (Signal::STOP, "it has not answered for 20 seconds")] {
        let Some((ran, project)) = check(signal, &[of(&other)], said) else { return };
        ran.succeeded().says("another worker builds what it had");
        assert_eq!(Layout::open(&project.path("app.tar")).only_image().text("done"), "done\n");
    }
    // Alone, it is the end of the build.
    let Some((ran, _)) = check(Signal::KILL, &[], "builder::lost") else { return };
    ran.failed(4).does_not_say("another worker");
}

const CACHED: &str = "\
[cache.ci]
type = \"registry\"
ref = \"CACHE/shared\"
mode = \"max\"

[target.app]
platforms = [\"OWN\", \"OTHER\"]
contexts = { busybox = \"oci-layout://BASE\" }
dockerfile-inline = \"\"\"
FROM busybox
RUN echo NEWS > /news
\"\"\"
images = [\"CACHE/app\"]
tags = [\"1\"]
";

#[test]
fn steps_are_cached_elsewhere_under_a_name_for_every_platform() {
    let (Some(base), Some([_, socket]), Some(registry)) = (base(), sockets(), Registry::of_this_run()) else {
        return;
    };
    let cache = registry.repository("steps");
    let check = |name: &str, place: &str, expected: &[&str]| {
        // Steps that no worker has seen.
        let text = CACHED.replace("CACHE", &cache).replace("OWN", &native()).replace("OTHER", foreign());
        let text =
            text.replace("BASE", &base.display().to_string()).replace("NEWS", &format!("{cache} {name}"));
        let project = Project::of(&format!("{text}{}\n", place.replace("CACHE", &cache)));
        configure(
            &project,
            &[worker(format!("unix://{}", socket.display()), &["linux/amd64", "linux/arm64"])],
        );
        let bake = ["bake", "app", "--builder", "fleet", "--progress", "plain", "--push"];
        project.mab(&bake).run().succeeded().does_not_say("cache::steps").does_not_say("· reused");
        let tags = registry.tags(&format!("{cache}/{name}"));
        let tags: Vec<&String> = tags.iter().filter(|tag| !tag.starts_with("mab-")).collect();
        assert_eq!(tags, expected, "{name}");

        // A worker that knows nothing, asked by a machine that does not either, takes the step from there.
        let Some(daemon) = Daemon::start() else { return };
        let fresh = Project::of(&project.read("multiarch.toml").replace("> /news", "> /news\nLABEL a=b"));
        configure(&fresh, &[worker(format!("unix://{}", daemon.socket.display()), &[&native()])]);
        let bake = ["bake", "app", "--builder", "fleet", "--progress", "plain", "--platform", &native()];
        let ran = fresh.mab(&bake).run().succeeded();
        let step = ran.stderr.lines().find(|line| line.contains("RUN echo")).unwrap_or_default();
        assert!(step.ends_with("· reused"), "{name}: {}", ran.stderr);
    };
    let own = "cache-from = [\"type=registry,ref=CACHE/bake:v1\"]\n\
         cache-to = [\"type=registry,ref=CACHE/bake:v1,mode=max\"]";
    check("bake", own, &["v1-linux-amd64", "v1-linux-arm64"]);
    let named = "cache = [\"ci\"]";
    check("shared", named, &["latest-app-linux-amd64", "latest-app-linux-arm64"]);
    let inline = "cache-from = [\"type=registry,ref=CACHE/app:1\"]\ncache-to = [\"type=inline\"]";
    check("app", inline, &["1"]);
    // The entries of others are under the plain name.
    let plain = "cache-from = [\"type=registry,ref=CACHE/plain:v1-linux-amd64\"]\n\
         cache-to = [\"type=registry,ref=CACHE/plain:v1\"]";
    if native() == "linux/amd64" {
        check("plain", plain, &["v1-linux-amd64", "v1-linux-arm64"]);
    }
}

/// Some caches keep no steps of workers, which is said once for each.
#[test]
fn caches_that_keep_no_steps_are_told() {
    let Some([socket, _]) = sockets() else { return };
    let project = Project::of(&format!(
        "# {}\n[cache.ci]\ntype = \"local\"\npath = \"kept\"\n[target.app]\ncache = [\"ci\"]\n\
         cache-to = [\"type=gcs,bucket=b\", \"type=webdav,url=http://127.0.0.1:1/\"]\n\
         dockerfile-inline = \"FROM scratch\\nCOPY multiarch.toml /\\n\"\n",
        unseen()
    ));
    configure(&project, &[worker(format!("unix://{}", socket.display()), &[native().as_str()])]);
    let ran = project.mab(&["bake", "app", "--builder", "fleet"]).run().succeeded();
    for kind in ["local", "gcs", "webdav"] {
        let told =
            format!("warning: `type={kind}` caches whole images of a builder's workers, not their steps\n");
        assert_eq!(ran.stderr.matches(&told).count(), 1, "{}", ran.stderr);
    }
    ran.says("multiarch.toml:6: this cache")
        .says("add `type=registry`, which workers know; they keep steps in themselves, too");
}
