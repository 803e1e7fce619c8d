//! What tutorials about images for several platforms do, as `examples/` has it.

use crate::support::project::copy_tree;
use crate::support::surroundings::{PATH, base_with_ids};
use crate::support::{Layout, Project, Ran, Registry, repository};

fn example(name: &str) -> Project {
    let project = Project::new();
    copy_tree(&repository().join("examples").join(name), &project.path(name));
    project
}

#[test]
fn pipelines_are_what_the_build_file_says() {
    let project = example("pipelines");
    for system in ["github", "gitlab", "tekton", "circleci"] {
        let file = format!("{system}.yml");
        let arguments = ["ci", system, "release", "--split", "--source", "example/mab", "--output", &file];
        let check: &[&str] =
            if std::env::var_os("MAB_BLESS").is_some() { &["--force"] } else { &["--check"] };
        let mut command = project.mab(&arguments).with(check).command();
        let ran = command.current_dir(repository().join("examples/pipelines")).output().expect("mab runs");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }
}

#[test]
fn by_hand() {
    let (Some(registry), Some(base)) = (Registry::of_this_run(), base_with_ids()) else { return };
    let project = example("by-hand");
    copy_tree(&repository().join("examples/pipelines"), &project.path("pipelines"));
    let place = registry.repository("hand");
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_mab"));
    let path = format!("{}:{}", program.parent().expect("it is in a folder").display(), PATH);
    let surroundings = project.mab(&[]).with_env("PATH", path).command();
    let hello = format!("{place}/hello");
    let run = |script: &str| {
        let mut run = std::process::Command::new("sh");
        run.arg(project.path(script));
        run.envs(surroundings.get_envs().filter_map(|(name, value)| Some((name, value?))));
        run.env("REGISTRY", &place).env("BASE", format!("oci-layout://{}", base.display()));
        run.env("PARTS", project.path("parts")).env("NAME", &hello);
        let ran = run.output().expect("there is a shell");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).expect("it prints text")
    };
    let told = run("by-hand/release.sh");
    for (architecture, text) in [
        ("amd64", "hello from x86_64, built for amd64 with generic\n"),
        ("arm64", "hello from aarch64, built for arm64 with neon\n"),
    ] {
        assert_eq!(registry.image(&hello, "edge", architecture).text("hello"), text);
        assert_eq!(registry.image(&hello, "1.0", architecture).text("hello"), text);
    }
    let tags: Vec<String> =
        registry.tags(&hello).into_iter().filter(|tag| !tag.starts_with("mab.")).collect();
    assert_eq!(tags, ["1.0", "1.0-amd64", "1.0-arm64", "edge"]);
    assert!(told.contains("hello:1.2.3"), "{told}");

    let told = run("by-hand/queries.sh");
    let (digest, index) = registry.index(&hello, "1.0");
    let arm = index.manifests()[1].digest().to_string();
    let document = |name: &str| {
        let answer = registry.get(&format!("{}/manifests/{name}", registry.url_path(&hello)));
        String::from_utf8(answer.body).expect("documents are text")
    };
    let lines = |text: &str| told.lines().any(|line| line == text);
    assert!(lines("linux/amd64 linux/arm64") && lines(&digest) && lines("1.0-arm64"), "{told}");
    assert!(told.contains(&document("1.0")) && told.contains(&document(&arm)), "{told}");
    assert!(told.contains("\"architecture\":\"arm64\""), "{told}");
    let (_, both) = registry.index(&hello, "both");
    let digests = |index: &oci_spec::image::ImageIndex| -> Vec<String> {
        index.manifests().iter().map(|manifest| manifest.digest().to_string()).collect()
    };
    assert_eq!(digests(&both), digests(&index));
}

#[test]
fn a_cache_of_the_registry_serves_another_machine() {
    let (Some(registry), Some(base)) = (Registry::of_this_run(), base_with_ids()) else { return };
    let project = example("pipelines");
    let variables = [
        format!("registry={}", registry.repository("cached")),
        format!("base=oci-layout://{}", base.display()),
    ];
    let bake = |store: &str| -> Ran {
        let words = ["bake", "hello", "-f", "pipelines", "-o", "type=cacheonly", "--store", store];
        project.mab(&words).with(&["--var", &variables[0], "--var", &variables[1]]).run().succeeded()
    };
    bake("one").says("steps built");
    bake("two").says("nothing had to be done");
}

#[test]
fn services_of_compose() {
    let Some(base) = base_with_ids() else { return };
    let project = Project::new();
    copy_tree(&repository().join("examples/compose"), &project.path("."));
    let bake = |target: &str| {
        let output = format!("type=oci,dest={target}.tar");
        project
            .mab(&["bake", target, "-o", &output])
            .with_env("BASE", format!("oci-layout://{}", base.display()))
            .run()
            .succeeded();
        Layout::open(&project.path(&format!("{target}.tar")))
    };
    let web = bake("web");
    assert_eq!(web.platforms(), ["linux/amd64", "linux/arm64"]);
    assert_eq!(web.image("linux/arm64").text("greeting"), "hello\n");
    assert_eq!(bake("jobs").only_image().text("machine"), "aarch64\n");
}
