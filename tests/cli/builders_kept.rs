//! `mab builder`: what there is, what is kept, and what workers say of themselves.

use serde_json::Value;

use crate::builders::{sockets, worker};
use crate::support::project::native;
use crate::support::{Project, Ran};

fn answer(ran: Ran) -> Value {
    serde_json::from_str(&ran.succeeded().stdout).expect("it is JSON")
}

#[test]
fn builders_of_all_places_are_listed() {
    let project = Project::of("[builder.team]\nworkers = [{ endpoint = \"tcp://team:1\" }]\n");
    let own = "[builder.farm]\nworkers = [{ endpoint = \"tcp://arm:1\", platforms = [\"linux/arm64\"] }]\n";
    project.write("../home/.config/mab/config.toml", own);
    let node = "{\"Name\":\"old0\",\"Endpoint\":\"default\",\"Platforms\":null}";
    let instance = |driver: &str| format!("{{\"Name\":\"old\",\"Driver\":\"{driver}\",\"Nodes\":[{node}]}}");
    project.write("../home/.docker/buildx/instances/old", instance("docker-container"));
    project.write("../home/.docker/buildx/instances/pods", instance("kubernetes"));
    project
        .write("../home/.docker/buildx/current", "{\"Key\":\"default\",\"Name\":\"old\",\"Global\":false}");
    let mab = |words: &[&str]| project.mab(&[&["builder"][..], words].concat()).run();
    mab(&["add", "mine", "ssh://me@host", "--platform", "linux/arm64,linux/arm/v7", "--label", "disk=fast"])
        .succeeded();
    mab(&["add", "mine", "unix:///b", "--ca", "ca.pem"]).succeeded();
    mab(&["use", "mine"]).succeeded();
    let listed = mab(&["ls"]).succeeded();
    assert_eq!(
        listed.stdout,
        "default · built in\n\
         docker · built in\n  docker://\n\
         farm · configuration\n  tcp://arm:1  linux/arm64\n\
         mine* · mab builder add\n  ssh://me@host  linux/arm64, linux/arm/v7  disk=fast\n  unix:///b\n\
         old · buildx, in use there\n  docker-container://buildx_buildkit_old0?context=default\n\
         pods · buildx\n  kube-pod://deployment/old0\n\
         team · build file\n  tcp://team:1\n"
    );
    let listed = answer(mab(&["ls", "--json"]));
    assert_eq!(listed["builders"][3]["workers"][0]["labels"]["disk"], "fast");
    assert_eq!(listed["builders"][3]["used"], true);
    let kept = project.read("../home/.config/mab/builders.toml");
    assert!(kept.contains("/work/ca.pem"), "{kept}");

    // It is the one of bakes that name none, until it is gone.
    project.write(
        "multiarch.toml",
        "[target.app]\ndockerfile-inline = \"FROM scratch\\nCOPY multiarch.toml /\\n\"\n",
    );
    project.mab(&["bake", "app"]).run().failed(4);
    project.mab(&["bake", "app", "--builder", "default"]).run().succeeded();
    project.mab(&["bake", "app"]).with_env("MAB_BUILDER", "default").run().succeeded();
    // `MAB_BUILDER` is stronger for all commands.
    let with = |name: &str, words: &[&str]| {
        project.mab(&[&["builder"][..], words].concat()).with_env("MAB_BUILDER", name).run()
    };
    let listed = with("farm", &["ls"]).succeeded().stdout;
    assert!(listed.contains("farm* · ") && listed.contains("mine · "), "{listed}");
    assert!(with("default", &["ls"]).succeeded().stdout.contains("default* · "));
    with("nobody", &["inspect"]).failed(2).says("there is no builder `nobody`");
    with("default", &["inspect"]).failed(2).says("builder `default` is this machine");
    mab(&["rm", "mine"]).succeeded();
    project.mab(&["bake", "app"]).run().succeeded();
}

#[test]
fn a_build_file_that_cannot_be_read_is_told() {
    let project = Project::of("[builder.team]\nworkers = [{ endpoint = \"tcp://team:1\" }]\n[target.app\n");
    project.mab(&["builder", "add", "mine", "unix:///a"]).run().succeeded();
    let ran = project.mab(&["builder", "ls"]).run().succeeded().says("multiarch.toml:3");
    assert!(ran.stdout.contains("mine · mab builder add"), "{}", ran.stdout);
    project.mab(&["builder", "inspect", "mine"]).run().failed(4).says("there is no socket at `/a`");
    let ran = project.mab(&["builder", "inspect", "team"]).run().failed(2);
    ran.says("there is no builder `team`").says("multiarch.toml:3");
    // None at all is as good.
    std::fs::remove_file(project.path("multiarch.toml")).unwrap();
    let ran = project.mab(&["builder", "ls"]).run().succeeded();
    assert_eq!(ran.stderr, "");
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let project = Project::of("");
    project.write(
        "../home/.config/mab/config.toml",
        "[builder.farm]\nworkers = [{ endpoint = \"tcp://a:1\" }]\n",
    );
    let check = |words: &[&str], expected: &str| {
        let ran = project.mab(&[&["builder"][..], words].concat()).run().failed(2);
        assert!(ran.stderr.contains(expected), "{words:?}: no `{expected}` in:\n{}", ran.stderr);
    };
    check(&["add", "farm", "tcp://b:1"], "builder `farm` is declared elsewhere: configuration");
    check(&["add", "default", "tcp://b:1"], "a builder cannot be called `default`");
    check(&["add", "a b", "tcp://b:1"], "a builder cannot be called `a b`");
    check(&["add", "mine", "ftp://b"], "`ftp://b` is no address of a BuildKit");
    check(&["rm", "farm"], "builder `farm` is not from `mab builder add`: configuration");
    check(&["rm", "nobody"], "there is no builder `nobody`");
    check(&["use", "farn"], "did you mean `farm`?");
    check(&["inspect"], "builder `default` is this machine");
    project.write("multiarch.toml", "[builder.team]\nworkers = [{ endpoint = \"tcp://team:1\" }]\n");
    check(&["use", "team"], "builder `team` is there for this build file alone");
}

#[test]
fn workers_say_what_they_are_and_what_they_keep() {
    let Some([own, other]) = sockets() else { return };
    let project = Project::of("");
    let workers = [
        format!("{{ endpoint = \"unix://{}\", labels = {{ disk = \"fast\" }} }}", own.display()),
        worker(format!("unix://{}", other.display()), &["linux/arm64"]),
        worker("unix:///nowhere.sock", &["linux/amd64"]),
    ];
    crate::builders::configure(&project, &workers);
    let mab = |words: &[&str]| project.mab(&[&["builder"][..], words].concat()).run();
    let told = answer(mab(&["inspect", "fleet", "--json"]));
    let first = &told["workers"][0];
    assert_eq!(first["native"][0], native());
    assert_eq!(first["labels"]["disk"], "fast");
    let version = first["buildkit"].as_str().unwrap_or("of an unknown version");
    assert_eq!(told["workers"][1]["native"], serde_json::json!(["linux/arm64"]));
    assert!(told["workers"][2]["error"].as_str().is_some_and(|error| error.contains("there is no socket")));
    let text = mab(&["inspect", "fleet"]).succeeded().stdout;
    assert!(text.contains(&format!("  BuildKit {version}  ")), "{text}");
    assert!(text.contains("  disk=fast  "), "{text}");
    let kept = answer(mab(&["du", "fleet", "--json"]));
    assert!(kept["workers"][0]["bytes"].is_u64(), "{kept}");
    // Others build there: what was used within a hundred years stays.
    let removed = answer(mab(&["prune", "fleet", "--unused-for", "36500", "--json"]));
    assert_eq!(removed["workers"][0]["records"], 0);
    crate::builders::configure(&project, &[worker("unix:///nowhere.sock", &["linux/amd64"])]);
    mab(&["inspect", "fleet"]).failed(4).says("there is no socket at `/nowhere.sock`");
}

#[test]
fn labels_choose_workers() {
    let text = "[builder.fleet]\nworkers = [{ endpoint = \"unix:///a\", labels = { disk = \"slow\" } }, \
         { endpoint = \"unix:///fast\", labels = { disk = \"fast\" } }]\n\
         [target.app]\nplatforms = [\"PLATFORM\"]\ndockerfile-inline = \"FROM scratch\\nCOPY multiarch.toml /\\n\"\n\
         [target.app.on.\"PLATFORM\"]\nworker-labels = { disk = \"LABEL\" }\n";
    let text = text.replace("PLATFORM", &native());
    let project = Project::of(&text.replace("LABEL", "fast"));
    let ran = project.mab(&["bake", "app", "--builder", "fleet"]).run().failed(4);
    ran.says("there is no socket at `/fast`");
    project.write("multiarch.toml", text.replace("LABEL", "huge"));
    let ran = project.mab(&["bake", "app", "--builder", "fleet"]).run().failed(3);
    let ran = ran.says("no worker of builder `fleet` builds `app` with the labels disk=huge");
    ran.says("`unix:///fast` offers what it says itself; labels: disk=fast");
    project.mab(&["bake", "app"]).run().failed(2).says("bake with `--builder NAME`");
}
