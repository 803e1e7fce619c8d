//! Results that workers leave in the registry: their layers never come here, and tags move as ever.

use std::path::{Path, PathBuf};

use crate::builders::{fleet, foreign, sockets, worker};
use crate::support::engine::engines;
use crate::support::program::Elf;
use crate::support::project::native;
use crate::support::{Image, Layout, Project, Registry, base};

const BAKE: [&str; 5] = ["bake", "app", "--builder", "fleet", "--push"];

/// A target for both platforms, with news that no worker has seen.
fn project(base: &Path, images: &[String], more: &str) -> Project {
    let project = Project::of(&format!(
        "# {0}\n[target.app]\nplatforms = [\"{1}\", \"{2}\"]\ncontexts = {{ busybox = \"oci-layout://{3}\" }}\n\
         images = {images:?}\ntags = [\"1\"]\n{more}",
        images.join(" "),
        native(),
        foreign(),
        base.display(),
    ));
    project.file("Dockerfile", "FROM busybox\nCOPY multiarch.toml /in\nRUN cat /in > /out\n")
}

/// Lets a builder leave its results in the registry.
fn leave(project: &Project) {
    let file = "../home/.config/mab/config.toml";
    let text = project.read(file);
    project.write(file, format!("{text}results = \"registry\"\n"));
}

/// Gives the project a builder of workers that are nowhere.
fn leave_to_nobody(project: &Project) {
    fleet(project, &[PathBuf::from("/nowhere"), PathBuf::from("/nowhere")]);
    leave(project);
}

/// The layers of an image that the store has, but for the base's, which is sent from here.
fn layers_here(project: &Project, image: &Image) -> Vec<String> {
    let has = |digest: &String| {
        project.store().join("blobs/sha256").join(digest.trim_start_matches("sha256:")).exists()
    };
    image.layer_digests().into_iter().skip(1).filter(has).collect()
}

fn architectures() -> [&'static str; 2] {
    ["amd64", "arm64"]
}

#[test]
fn layers_stay_in_the_registry() {
    let (Some(base), Some(sockets), Some(registry)) = (base(), sockets(), Registry::of_this_run()) else {
        return;
    };
    let repository = registry.repository("left");
    let project = project(&base, std::slice::from_ref(&repository), "verify = \"error\"\n");
    fleet(&project, &sockets);
    leave(&project);
    let ran = project.mab(&BAKE).run().succeeded();
    ran.says(&format!("{repository}:1"));
    assert_eq!(registry.tags(&repository), ["1"]);
    for architecture in architectures() {
        let image = registry.image(&repository, "1", architecture);
        assert_eq!(image.text("out"), project.read("multiarch.toml"));
        assert_eq!(image.config["architecture"], architecture);
        // They were looked into, and not kept.
        assert_eq!(layers_here(&project, &image), Vec::<String>::new());
    }
    let (digest, _) = registry.index(&repository, "1");

    // Whoever knows the result asks no worker, and sends no layer to another repository of that registry.
    leave_to_nobody(&project);
    project.mab(&BAKE).run().succeeded().says("nothing had to be done");
    let other = registry.repository("other");
    let images = format!("app.images={other}");
    project.mab(&[&BAKE[..], &["--set", &images]].concat()).run().succeeded();
    assert_eq!(registry.index(&other, "1").0, digest);
    assert_eq!(layers_here(&project, &registry.image(&other, "1", "amd64")), Vec::<String>::new());
}

/// The same image, wherever its layers went first.
#[test]
fn results_are_those_that_come_to_the_store() {
    let (Some(base), Some(sockets), Some(registry)) = (base(), sockets(), Registry::of_this_run()) else {
        return;
    };
    let [left, stored] = ["left", "stored"].map(|name| registry.repository(name));
    let names = [left.clone(), stored.clone()];
    let epoch = "1700000000";
    let made = [true, false].map(|is_left| {
        let project = project(&base, &names, "");
        fleet(&project, &sockets);
        if is_left {
            leave(&project);
        }
        project.mab(&BAKE).with_env("SOURCE_DATE_EPOCH", epoch).run().succeeded();
        registry.index(&left, "1").0
    });
    assert_eq!(made[0], made[1]);
    assert_eq!(registry.index(&stored, "1").0, made[0]);
}

#[test]
fn what_is_wrong_with_an_image_keeps_its_tag_from_moving() {
    let (Some(base), Some(sockets), Some(registry)) = (base(), sockets(), Registry::of_this_run()) else {
        return;
    };
    let repository = registry.repository("wrong");
    let project = project(&base, std::slice::from_ref(&repository), "");
    project.write("program", Elf::program("s390x").bytes());
    project.write(
        "Dockerfile",
        "FROM busybox\nCOPY multiarch.toml /\nCOPY --chmod=755 program /p\nENTRYPOINT [\"/p\"]\n",
    );
    fleet(&project, &sockets);
    leave(&project);
    project.mab(&BAKE).run().failed(1).says("verify::");
    assert_eq!(registry.tags(&repository), Vec::<String>::new());
    // Nor does a test that fails, which brings what it runs.
    project.write("Dockerfile", "FROM busybox\nCOPY multiarch.toml /\n");
    let text = project.read("multiarch.toml");
    let test =
        |exit: u32| format!("{text}[target.app.test.runs]\nrun = [\"true\"]\nexpect = {{ exit = {exit} }}\n");
    project.write("multiarch.toml", test(3));
    project.mab(&BAKE).run().failed(1).says("runs");
    assert_eq!(registry.tags(&repository), Vec::<String>::new());
    project.write("multiarch.toml", test(0));
    project.mab(&BAKE).run().succeeded();
    assert_eq!(registry.tags(&repository), ["1"]);
}

/// What must be read here is brought: by files that are written, and by targets that build on it.
#[test]
fn what_needs_layers_brings_them() {
    let (Some(base), Some([socket, _]), Some(registry)) = (base(), sockets(), Registry::of_this_run()) else {
        return;
    };
    let repository = registry.repository("needed");
    let text = format!(
        "# {repository}\n[target.lib]\ncontexts = {{ busybox = \"oci-layout://{0}\" }}\nimages = [\"{repository}/lib\"]\n\
         tags = [\"1\"]\ndockerfile-inline = \"FROM busybox\\nCOPY multiarch.toml /lib\\n\"\n\
         [target.app]\ncontexts = {{ lib = \"target:lib\" }}\nimages = [\"{repository}/app\"]\ntags = [\"1\"]\n\
         dockerfile-inline = \"FROM lib\\nCOPY multiarch.toml /app\\n\"\n",
        base.display()
    );
    let project = Project::of(&text);
    let workers = worker(format!("unix://{}", socket.display()), &[native().as_str()]);
    crate::builders::configure(&project, &[workers]);
    leave(&project);
    // Alone, it stays there.
    project.mab(&["bake", "lib", "--builder", "fleet", "--push"]).run().succeeded();
    project.mab(&["bake", "lib", "app", "--builder", "fleet", "--push"]).run().succeeded();
    let architecture = native().replace("linux/", "");
    let manifest = |target: &str| {
        registry.get(&format!("{}/manifests/1", registry.url_path(&format!("{repository}/{target}"))))
    };
    assert_eq!((manifest("lib").status, manifest("app").status, architecture.is_empty()), (200, 200, false));
    let out =
        ["bake", "app", "--builder", "fleet", "--push", "-o", "type=oci,dest=app.tar", "-o", "type=registry"];
    leave_to_nobody(&project);
    project.mab(&out).run().succeeded();
    let image = Layout::open(&project.path("app.tar")).only_image();
    assert_eq!((image.text("app"), image.text("lib")), (text.clone(), text));
}

/// What was left and is gone is built again; what a worker cannot push is said so.
#[test]
fn a_registry_that_has_it_no_more_or_takes_nothing() {
    let (Some(base), Some(sockets), Some(registry)) = (base(), sockets(), Registry::of_this_run()) else {
        return;
    };
    let repository = registry.repository("gone");
    let project = project(&base, std::slice::from_ref(&repository), "");
    fleet(&project, &sockets);
    leave(&project);
    registry.refuse(&format!("PUT {}/manifests/", registry.url_path(&repository)), 403, "{}");
    let ran = project.mab(&BAKE).run().failed(4);
    ran.says("builder::push").says(&format!("cannot push to `{repository}`")).says("results = \"store\"");
    registry.mend();
    project.mab(&BAKE).run().succeeded();
    registry.refuse(&format!("HEAD {}/blobs/", registry.url_path(&repository)), 404, "");
    let ran = project.mab(&BAKE).run();
    registry.mend();
    ran.says(&format!("`{repository}` does not have all layers of `app` any more"));
    project.mab(&BAKE).run().succeeded().says("nothing had to be done");
}

#[test]
fn a_run_that_does_not_push_is_refused() {
    let project = Project::of(
        "[builder.fleet]\nresults = \"registry\"\nworkers = [{ endpoint = \"unix:///nowhere\" }]\n\
         [target.app]\nimages = [\"localhost/app\"]\ntags = [\"1\"]\n\
         dockerfile-inline = \"FROM scratch\\nCOPY multiarch.toml /\\n\"\n",
    );
    for words in [&["bake"][..], &["plan", "--explain"]] {
        project
            .mab(&[words, &["app", "--builder", "fleet"]].concat())
            .run()
            .failed(2)
            .says("builder::not-pushed")
            .says("builder `fleet` leaves results in the registry, and `app` is pushed to none")
            .says("multiarch.toml:1:10")
            .says("`results = \"store\"`");
    }
    project.mab(&[&BAKE[..], &["--dry-run"]].concat()).run().failed(4).says("there is no socket");
    project.edit("multiarch.toml", "\"registry\"", "\"elsewhere\"");
    let ran = project.mab(&BAKE).run().failed(2);
    ran.says("`results` cannot be `elsewhere`").says("`store`").says("`registry`");
}

/// An Engine with containerd's store pushes by digest as a BuildKit does; one with the classic store does not.
#[test]
fn engines_leave_what_they_can() {
    let (Some(base), Some(registry)) = (base(), Registry::of_this_run()) else { return };
    // Engines do without TLS only where a registry tells them to, which the one in between does not.
    let address = std::env::var("MAB_TEST_REGISTRY").expect("it is there");
    for engine in engines() {
        let noted = registry.repository("engine");
        let repository = noted.replacen(&registry.address, &address, 1);
        let text = format!(
            "# {repository} {}\n[target.app]\nnetwork = \"none\"\ncontexts = {{ busybox = \"oci-layout://{}\" }}\n\
             images = [\"{repository}\"]\ntags = [\"1\"]\ndockerfile-inline = \"FROM busybox\\nCOPY multiarch.toml /in\\n\"\n",
            engine.address,
            base.display()
        );
        let project = Project::of(&text);
        let endpoint = format!("docker://{}", engine.socket());
        crate::builders::configure(&project, &[worker(endpoint, &[native().as_str()])]);
        leave(&project);
        let ran = project.mab(&BAKE).run();
        match engine.is_classic() {
            true => {
                let ran = ran.failed(2);
                ran.says("builder::classic-store").says("`app` asks for a result that stays in the registry");
            }
            false => {
                ran.succeeded();
                assert_eq!(registry.tags(&noted), ["1"]);
                assert_eq!(engine.names_with(&repository), Vec::<String>::new(), "nothing is left there");
            }
        }
    }
}
