//! What tutorials about images for several platforms do, as `examples/` has it.

use std::path::Path;

use crate::support::engine::engines;
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

/// Scripts of `examples/` with what they are told: the registry's place, and a base that it has.
struct ByHand {
    project: Project,
    place: String,
    base: String,
}

impl ByHand {
    fn new(registry: &Registry, base: &Path, name: &str) -> Self {
        let project = example("by-hand");
        for other in ["pipelines", "kubernetes"] {
            copy_tree(&repository().join("examples").join(other), &project.path(other));
        }
        let place = registry.repository(name);
        let base_name = format!("{place}/busybox:1.37");
        project.mab(&["copy", &base.display().to_string(), &base_name]).run().succeeded();
        Self { project, place, base: format!("docker-image://{base_name}") }
    }

    /// What the script prints, and what it tells beside that.
    fn run(&self, script: &str, more: &[(&str, &str)]) -> (String, String) {
        let program = Path::new(env!("CARGO_BIN_EXE_mab"));
        let path = format!("{}:{}", program.parent().expect("it is in a folder").display(), PATH);
        let surroundings = self.project.mab(&[]).with_env("PATH", path).command();
        let mut run = std::process::Command::new("sh");
        run.arg(self.project.path(script));
        run.envs(surroundings.get_envs().filter_map(|(name, value)| Some((name, value?))));
        run.env("REGISTRY", &self.place).env("BASE", &self.base).envs(more.iter().copied());
        run.env("PARTS", self.project.path("parts")).env("NAME", format!("{}/hello", self.place));
        let ran = run.output().expect("there is a shell");
        let [printed, told] =
            [ran.stdout, ran.stderr].map(|text| String::from_utf8(text).expect("it is text"));
        assert!(ran.status.success(), "{script}: {printed}{told}");
        (printed, told)
    }
}

#[test]
fn by_hand() {
    let (Some(registry), Some(base)) = (Registry::of_this_run(), base_with_ids()) else { return };
    let by_hand = ByHand::new(&registry, &base, "hand");
    let hello = format!("{}/hello", by_hand.place);
    let (told, _) = by_hand.run("by-hand/release.sh", &[]);
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
    let (pinned, _) = registry.index(&format!("{}/busybox", by_hand.place), "1.37");
    assert!(by_hand.project.read("pipelines/multiarch.lock").contains(&pinned));

    let (told, _) = by_hand.run("by-hand/queries.sh", &[]);
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

    tried_by_hand(&by_hand);
    deployed(&by_hand, &digest);
}

/// The image of `release.sh`, run, judged, measured; and what is done about a build that fails.
fn tried_by_hand(by_hand: &ByHand) {
    let (printed, _) = by_hand.run("by-hand/try.sh", &[]);
    let table = ["platform ", "linux/amd64 ", "linux/arm64 "];
    let (lines, measured) = printed.split_at(printed.find(table[0]).expect("there is a table"));
    assert_eq!(
        lines,
        "hello from aarch64, built for arm64 with neon\naarch64\n\
         linux/amd64 | right: amd64\nlinux/arm64 | right: arm64\n\
         linux/amd64: 3 layers: nothing is wrong\nlinux/arm64: 3 layers: nothing is wrong\n"
    );
    let rows: Vec<&str> = measured.lines().collect();
    assert!(
        rows.len() == 3 && rows.iter().zip(table).all(|(row, begin)| row.starts_with(begin)),
        "{measured}"
    );

    let log = by_hand.project.path("build.log").display().to_string();
    let (printed, _) = by_hand.run("by-hand/trouble.sh", &[("LOG", &log)]);
    assert!(
        printed.contains("platform  linux/arm64") && printed.contains("nothing found in 1 Dockerfile"),
        "{printed}"
    );
    assert!(printed.contains("hello linux/arm64: hit: this store"), "{printed}");
    let log = by_hand.project.read("build.log");
    assert!(log.contains("[hello linux/arm64 1/2] RUN echo ") && log.contains("(emulated)"), "{log}");
}

/// Manifests of a cluster with nodes of both architectures, for the image of `release.sh`.
fn deployed(by_hand: &ByHand, digest: &str) {
    let (project, name) = (&by_hand.project, format!("{}/hello:1.0", by_hand.place));
    let manifests = ["kubernetes/manifests/anywhere.yaml", "kubernetes/manifests/arm.yaml"];
    for manifest in manifests {
        project.edit(manifest, "ghcr.io/example/hello:1.0", &name);
    }
    let before = manifests.map(|manifest| project.read(manifest));
    let jobs = project.path("jobs.yaml").display().to_string();
    let (printed, told) = by_hand.run("kubernetes/deploy.sh", &[("JOBS", &jobs)]);
    for line in ["needs linux/amd64, linux/arm64, has linux/amd64, linux/arm64", "needs linux/arm64, has"] {
        assert!(printed.contains(line), "{printed}");
    }
    assert!(told.contains("arm.yaml: 1 image pinned"), "{told}");
    for (manifest, before) in manifests.iter().zip(before) {
        assert_eq!(project.read(manifest), before.replace(&name, &format!("{name}@{digest}")));
    }
    let jobs = project.read("jobs.yaml");
    assert!(jobs.contains("kubernetes.io/arch: \"amd64\"") && jobs.contains("kubernetes.io/arch: \"arm64\""));

    // An image that is for one architecture is found before a pod is.
    project.edit(manifests[0], &format!("{name}@{digest}"), &name.replace(":1.0", ":1.0-amd64"));
    let check = ["k8s", "check", "-f", "kubernetes/manifests", "--nodes", "kubernetes/nodes.json"];
    project.mab(&check).run().failed(2).says("is not there for linux/arm64: node `worker-arm-1`");
}

#[test]
fn one_platform_is_loaded_into_an_engine() {
    let (Some(registry), Some(base)) = (Registry::of_this_run(), base_with_ids()) else { return };
    let by_hand = ByHand::new(&registry, &base, "loaded");
    for engine in engines() {
        let (printed, _) = by_hand.run("by-hand/load.sh", &[("DOCKER_HOST", &engine.address)]);
        assert_eq!(printed, "linux/amd64\n");
        engine.remove_image(&format!("{}/hello:edge", by_hand.place));
    }
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

#[test]
fn a_file_of_compose_over_another_one() {
    let Some(base) = base_with_ids() else { return };
    let project = Project::new();
    copy_tree(&repository().join("examples/compose"), &project.path("."));
    let files = ["-f", "compose.yaml", "-f", "compose.override.yaml"];
    let variable = format!("oci-layout://{}", base.display());
    let bake = ["bake", "web", "--platform", "linux/amd64", "-o", "type=oci,dest=web.tar"];
    project.mab(&bake).with(&files).with_env("BASE", &variable).run().succeeded();
    assert_eq!(Layout::open(&project.path("web.tar")).only_image().text("greeting"), "good evening\n");

    // One value for the architecture of all platforms is a mistake that such files have.
    project.edit(
        "compose.override.yaml",
        "GREETING: ${GREETING:-good evening}",
        "TARGETARCH: ${TARGETARCH:-amd64}",
    );
    let check = project.mab(&["check"]).with(&files).with_env("BASE", &variable).run();
    let said = format!("{}{}", check.stdout, check.stderr);
    assert!(said.contains("args-shadow-platform") && said.contains("compose.override.yaml:7"), "{said}");
}

#[test]
fn what_differs_on_one_platform_comes_from_the_build_file() {
    let Some(base) = base_with_ids() else { return };
    let project = example("platforms");
    let mab = |words: &[&str]| {
        let base = format!("base=oci-layout://{}", base.display());
        project.mab(words).with(&["-f", "platforms", "--var", &base]).run().succeeded()
    };
    mab(&["bake", "site", "-o", "type=oci,dest=site.tar"]);
    mab(&["bake", "tool", "-o", "type=oci,dest=tool.tar"]);
    let (site, tool) = (Layout::open(&project.path("site.tar")), Layout::open(&project.path("tool.tar")));
    for (platform, packages, vectors, made) in [
        ("linux/amd64", "tzdata\njemalloc\n", "simd", "made for amd64\n"),
        ("linux/arm64", "tzdata\nlibatomic\n", "neon", "made for arm64 by other means\n"),
    ] {
        assert_eq!(site.image(platform).text("installed"), packages);
        assert!(site.image(platform).text("etc/site.json").contains(vectors));
        assert_eq!(tool.image(platform).text("tool"), made);
    }
    let tested = mab(&["test"]).stdout;
    let passed = tested.lines().filter(|line| line.starts_with("ok ")).count();
    assert_eq!(passed, 6, "three for each platform: {tested}");
    assert_eq!(mab(&["check"]).stdout, "nothing found in 3 Dockerfiles\n");
}
