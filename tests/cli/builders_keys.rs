//! What a target's keys and `-o` ask for, on workers of a builder: each is seen from inside of a step, or in what was
//! written.

use std::fs;

use crate::builders::{configure, fleet, foreign, sockets, unseen, worker};
use crate::support::archive::{Form, Tar};
use crate::support::project::native;
use crate::support::surroundings::needs;
use crate::support::{Image, Layout, Project, Registry, Repository, Web, base};

const BAKE: [&str; 3] = ["app", "--builder", "fleet"];

/// A target for this machine's platform, whose steps no worker has seen.
fn project(base: &std::path::Path, keys: &str, steps: &str) -> Project {
    let dockerfile = format!("FROM busybox\nENV RUN={}\n{steps}\n", unseen());
    let project = Project::native_app(base, &dockerfile);
    let file = project.read("multiarch.toml");
    project.write("multiarch.toml", format!("{file}output = [\"type=oci,dest=app.tar\"]\n{keys}\n"));
    project
}

fn built(project: &Project) -> Image {
    project.bake(&BAKE);
    Layout::open(&project.path("app.tar")).only_image()
}

#[test]
fn limits_and_networks_reach_a_worker() {
    let (Some(base), Some([socket, _])) = (base(), sockets()) else { return };
    let steps = "RUN ulimit -Sn > /soft; ulimit -Hn > /hard; df -k /dev/shm | tail -n 1 > /shm; \
                 readlink /proc/self/ns/net > /net";
    let image = |keys: &str| {
        let project = project(&base, keys, steps);
        configure(&project, &[worker(format!("unix://{}", socket.display()), &[native().as_str()])]);
        built(&project)
    };
    let with = image("ulimits = [\"nofile=123:456\"]\nshm-size = \"16m\"\nnetwork = \"none\"");
    assert_eq!((with.text("soft").as_str(), with.text("hard").as_str()), ("123\n", "456\n"));
    assert_eq!(with.text("shm").split_whitespace().nth(1), Some("16384"));
    // Those daemons give steps the network that they have themselves, which is this test's.
    let own = fs::read_link("/proc/self/ns/net").expect("this is Linux").display().to_string();
    let without = image("");
    assert_eq!(without.text("net").trim_end(), own);
    assert_ne!(with.text("net").trim_end(), own);
    assert_ne!(without.text("soft"), "123\n");
}

#[test]
fn steps_run_again_where_the_target_says_so() {
    let (Some(base), Some([socket, _])) = (base(), sockets()) else { return };
    let steps = "RUN cat /proc/sys/kernel/random/uuid > /one\n\
                 FROM busybox AS other\nCOPY --from=0 /one /one\nRUN cat /proc/sys/kernel/random/uuid > /two\n";
    let project = project(&base, "labels = { round = \"0\" }", steps);
    configure(&project, &[worker(format!("unix://{}", socket.display()), &[native().as_str()])]);
    let mut round = 0;
    let mut ids = |key: &str| {
        round += 1;
        let file =
            project.read("multiarch.toml").replace(&format!("\"{}\"", round - 1), &format!("\"{round}\""));
        project.write("multiarch.toml", file);
        let arguments = ["--set", key];
        project.bake(&[&BAKE[..], if key.is_empty() { &[] } else { &arguments }].concat());
        let image = Layout::open(&project.path("app.tar")).only_image();
        ["one", "two"].map(|path| image.text(path))
    };
    let first = ids("");
    assert_eq!(ids(""), first, "the worker has them");
    let second = ids("app.no-cache=true");
    assert!(second[0] != first[0] && second[1] != first[1], "{first:?} {second:?}");
    let third = ids("app.no-cache-filter=other");
    assert!(third[0] != third[1] && third[1] != second[1], "{second:?} {third:?}");
}

#[test]
fn named_contexts_of_every_kind_reach_a_worker() {
    let (Some(base), Some([socket, _]), Some(registry)) = (base(), sockets(), Registry::of_this_run()) else {
        return;
    };
    if !needs("git") {
        return;
    }
    let repository = Repository::new("app");
    repository.file("in/file", "from git").commit(1_400_000_000);
    let web = Web::start();
    web.repositories(&repository.served(), None);
    let archive = |text: &str| Tar::default().file("file", text, 0o644, (0, 0)).bytes(Form::Plain);
    web.page("/a.tar", archive("from http"));
    let image = registry.repository("base");
    let lib = Project::of(&format!(
        "[target.lib]\nplatforms = [\"{}\"]\nimages = [\"{image}\"]\ntags = [\"1\"]\n\
         dockerfile-inline = \"FROM scratch\\nCOPY file /\\n\"\n",
        native()
    ));
    lib.write("file", "from a registry");
    lib.bake(&["lib", "--push"]);
    let project = Project::of(&format!(
        "[target.lib]\nplatforms = [\"{0}\"]\ndockerfile-inline = \"FROM scratch\\nCOPY lib /file\\n\"\n\
         [target.app]\nplatforms = [\"{0}\"]\noutput = [\"type=oci,dest=app.tar\"]\n\
         [target.app.contexts]\ngit = \"{1}#main:in\"\nhttp = \"{2}\"\narchive = \"a.tar\"\nfolder = \"folder\"\n\
         image = \"docker-image://{image}:1\"\nlayout = \"oci-layout://{3}\"\nlib = \"target:lib\"\n",
        native(),
        web.url("/git/app.git"),
        web.url("/a.tar"),
        base.display()
    ));
    let names = ["git", "http", "archive", "folder", "image", "lib"];
    let copies = names.map(|name| format!("COPY --from={name} file /{name}\n")).concat();
    project.write("Dockerfile", format!("FROM layout\n{copies}"));
    project.write("a.tar", archive("from an archive"));
    project.write("folder/file", "from a folder");
    project.write("lib", format!("from a target {}", unseen()));
    configure(&project, &[worker(format!("unix://{}", socket.display()), &[native().as_str()])]);
    let image = built(&project);
    let texts = names.map(|name| image.text(name));
    let lib = project.read("lib");
    let expected = ["from git", "from http", "from an archive", "from a folder", "from a registry", &lib];
    assert_eq!(texts, expected);
    assert!(image.has("bin/busybox"));
}

#[test]
fn two_workers_make_every_form_of_output() {
    let (Some(base), Some(sockets)) = (base(), sockets()) else { return };
    let project = Project::app(&base, "FROM busybox\nRUN uname -m > /machine\n");
    fleet(&project, &sockets);
    let outputs = [
        "type=oci,dest=image.tar",
        "type=oci,tar=false,dest=image",
        "type=local,dest=root",
        "type=tar,dest=root.tar",
    ];
    let outputs: Vec<&str> = outputs.iter().flat_map(|output| ["-o", output]).collect();
    project.bake(&[&BAKE[..], &outputs].concat());
    let machine = |platform: &str| if platform == "linux/arm64" { "aarch64\n" } else { "x86_64\n" };
    let [tar, folder] = ["image.tar", "image"].map(|name| Layout::open(&project.path(name)));
    assert_eq!(tar.digest(), folder.digest());
    let mut archive = tar::Archive::new(fs::File::open(project.path("root.tar")).expect("it was written"));
    let paths: Vec<String> = archive
        .entries()
        .expect("it is an archive")
        .map(|entry| entry.expect("it is whole").path().expect("it has one").display().to_string())
        .collect();
    for platform in [native().as_str(), foreign()] {
        assert_eq!(tar.image(platform).text("machine"), machine(platform));
        let folder = platform.replace('/', "_");
        assert_eq!(project.read(&format!("root/{folder}/machine")), machine(platform));
        assert!(paths.contains(&format!("{folder}/machine")), "{paths:?}");
    }
    // Archives for `docker load` hold one platform.
    let own = native();
    let docker = ["--platform", own.as_str(), "-o", "type=docker,dest=docker.tar"];
    project.bake(&[&BAKE[..], &docker].concat());
    assert_eq!(Layout::open(&project.path("docker.tar")).only_image().text("machine"), machine(&own));
}

/// Builders of `docker buildx` build as they are.
#[test]
fn an_instance_of_buildx_builds() {
    let Some([socket, _]) = sockets() else { return };
    let project =
        Project::of("[target.app]\ndockerfile-inline = \"FROM scratch\\nCOPY multiarch.toml /\\n\"\n");
    let file = project.read("multiarch.toml");
    project.write("multiarch.toml", format!("# {}\n{file}", unseen()));
    let node =
        format!("{{\"Name\":\"far0\",\"Endpoint\":\"unix://{}\",\"Platforms\":null}}", socket.display());
    let instance = format!("{{\"Name\":\"far\",\"Driver\":\"remote\",\"Nodes\":[{node}],\"Dynamic\":false}}");
    project.write("../home/.docker/buildx/instances/far", instance);
    let ran = project.bake(&["app", "--builder", "far", "--progress", "plain"]);
    ran.says(&format!("on unix://{} of far\n", socket.display()));
}
