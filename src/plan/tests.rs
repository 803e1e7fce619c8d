//! Selections and graphs of projects written as a few lines.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Dockerfiles, Plan, Request, Selection, compile, select};
use crate::base::{Platform, Reference};
use crate::diag::{Located, Problem, Source};
use crate::dockerfile::Dockerfile;
use crate::model::{
    self, Context, Delivery, Dest, Emulate, Entitlement, ExportOptions, Group, Network, Output, Project,
    Target, Variant,
};

/// A project of targets and groups; Dockerfiles by target.
struct World {
    project: Project,
    texts: BTreeMap<String, String>,
    request: Request,
}

fn located<T>(value: T) -> Located<T> {
    Located::unplaced(value)
}

fn world() -> World {
    let project = Project {
        name: "p".into(),
        root: "/p".into(),
        default_branch: None,
        left_out: BTreeMap::new(),
        environment: BTreeMap::new(),
        refusals: Vec::new(),
        unmet: Vec::new(),
        targets: BTreeMap::new(),
        groups: BTreeMap::new(),
        caches: BTreeMap::new(),
        builders: BTreeMap::new(),
        lint: Default::default(),
    };
    let request = Request {
        push: false,
        load: false,
        outputs: None,
        no_cache: false,
        pull: false,
        allowed: BTreeSet::new(),
        is_lenient: false,
        tests_again: false,
        has_workers: false,
        build_platform: Platform::linux("amd64"),
        directory: "/p".into(),
    };
    World { project, texts: BTreeMap::new(), request }
}

impl World {
    /// A target for `platforms`, whose contexts `tools` and the like are `target:tools`.
    fn target(mut self, name: &str, platforms: &[&str], contexts: &[&str], dockerfile: &str) -> Self {
        let contexts = |_: &str| {
            contexts
                .iter()
                .map(|context| (context.to_string(), located(Context::Target(context.to_string()))))
                .collect()
        };
        let variant = |platform: &&str| Variant {
            platform: located(Platform::linux(platform)),
            context: located(Context::Directory("/p".into())),
            dockerfile: model::Dockerfile::Inline(located(dockerfile.to_string())),
            stage: None,
            args: BTreeMap::new(),
            contexts: contexts(platform),
            build_platform: None,
            emulate: Emulate::default(),
            no_cache: false,
            pull: false,
            network: Network::Default,
            shm_size: None,
            extra_hosts: BTreeMap::new(),
            secrets: BTreeMap::new(),
            ssh: BTreeMap::new(),
            entitlements: Vec::new(),
            ulimits: Vec::new(),
            no_cache_filter: Vec::new(),
            resources: None,
            source_date_epoch: None,
            verify: None,
            allow_failure: None,
            worker_labels: BTreeMap::new(),
            tests: Vec::new(),
        };
        let target = Target {
            name: name.into(),
            description: None,
            place: None,
            variants: platforms.iter().map(variant).map(Arc::new).collect(),
            tags: Vec::new(),
            images: Vec::new(),
            labels: BTreeMap::new(),
            annotations: Vec::new(),
            outputs: Vec::new(),
            delivery: Delivery::default(),
            call: Default::default(),
            needs: Vec::new(),
            cache: Default::default(),
            attestations: Vec::new(),
            policies: Vec::new(),
            tagging: None,
            requirements: Vec::new(),
        };
        self.project.targets.insert(name.into(), target);
        self.texts.insert(name.into(), dockerfile.into());
        self
    }

    fn change(mut self, name: &str, change: impl FnOnce(&mut Target)) -> Self {
        change(self.project.targets.get_mut(name).unwrap());
        self
    }

    fn tag(self, name: &str, tag: &str) -> Self {
        self.change(name, |target| target.tags.push(located(tag.parse::<Reference>().unwrap())))
    }

    fn needs(self, name: &str, other: &str) -> Self {
        self.change(name, |target| target.needs.push(located(other.to_string())))
    }

    fn output(self, name: &str, output: Output) -> Self {
        self.change(name, |target| target.outputs.push(located(output)))
    }

    fn group(mut self, name: &str, members: &[&str]) -> Self {
        let targets = members.iter().map(|member| located(member.to_string())).collect();
        let group = Group {
            name: name.into(),
            description: None,
            targets,
            place: None,
            require: Vec::new(),
            is_withheld: false,
        };
        self.project.groups.insert(name.into(), group);
        self
    }

    fn push(mut self) -> Self {
        self.request.push = true;
        self
    }

    fn select(&self, names: &[&str]) -> Result<Selection<'_>, Vec<Problem>> {
        select(&self.project, &names.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    fn compile(&self, names: &[&str]) -> Result<Plan, Vec<String>> {
        let shown = |problems: Vec<Problem>| {
            problems.into_iter().map(|problem| format!("{}: {}", problem.code, problem.message)).collect()
        };
        let selection = self.select(names).map_err(shown)?;
        let mut dockerfiles = Dockerfiles::new();
        for target in selection.all() {
            let parsed = Dockerfile::parse(&Source::new("Dockerfile", self.texts[&target.name].clone()));
            let parsed = Arc::new(parsed.unwrap());
            for variant in &target.variants {
                dockerfiles.insert(&target.name, &variant.platform.value, parsed.clone());
            }
        }
        compile(&selection, &self.request, &dockerfiles).map_err(shown)
    }

    /// Every node with what it waits for, by name: ids follow the order of work.
    fn graph(&self, names: &[&str]) -> Vec<String> {
        let plan = self.compile(names).unwrap();
        let mut lines: Vec<String> = plan
            .nodes()
            .map(|(id, node)| {
                let mut needs: Vec<String> =
                    plan.dependencies(id).iter().map(|need| plan.node(*need).to_string()).collect();
                assert!(plan.dependencies(id).iter().all(|need| *need < id), "{node} before what it needs");
                needs.sort();
                format!("{node} <- {}", needs.join(", ")).trim_end_matches(" <- ").to_string()
            })
            .collect();
        lines.sort();
        lines
    }

    fn problems(&self, names: &[&str]) -> Vec<String> {
        self.compile(names).expect_err("the plan has a problem")
    }
}

fn oci(dest: &str) -> Output {
    Output::Oci { dest: Dest::Path(dest.into()), tar: true, options: ExportOptions::default() }
}

#[test]
fn names_are_targets_and_groups_and_bring_what_they_need() {
    let world = world()
        .target("base", &["amd64"], &[], "FROM scratch")
        .target("api", &["amd64"], &["base"], "FROM base")
        .target("web", &["amd64"], &[], "FROM scratch")
        .target("last", &["amd64"], &[], "FROM scratch")
        .needs("web", "last")
        .group("default", &["inner", "web"])
        .group("inner", &["api"]);
    let check = |names: &[&str], requested: &[&str], needed: &[&str]| {
        let selection = world.select(names).unwrap();
        let of = |targets: &[&Target]| targets.iter().map(|target| target.name.clone()).collect::<Vec<_>>();
        assert_eq!(
            (of(&selection.requested), of(&selection.needed)),
            (
                requested.iter().map(ToString::to_string).collect(),
                needed.iter().map(ToString::to_string).collect()
            ),
            "{names:?}"
        );
    };
    check(&["web"], &["web"], &["last"]);
    check(&[], &["api", "web"], &["base", "last"]);
    check(&["base", "inner", "api"], &["base", "api"], &[]);
    assert_eq!(
        world.problems(&["ap", "nothing"]),
        [
            "plan::unknown-target: no target or group is named `ap`",
            "plan::unknown-target: no target or group is named `nothing`"
        ]
    );
}

#[test]
fn every_platform_has_a_node_and_images_are_resolved_once() {
    let world = world().target("base", &["amd64", "arm64"], &[], "FROM alpine").target(
        "api",
        &["amd64", "arm64"],
        &["base"],
        "FROM base\nCOPY --from=alpine / /",
    );
    assert_eq!(
        world.graph(&["api"]),
        [
            "build api linux/amd64 <- build base linux/amd64, resolve alpine:latest",
            "build api linux/arm64 <- build base linux/arm64, resolve alpine:latest",
            "build base linux/amd64 <- resolve alpine:latest",
            "build base linux/arm64 <- resolve alpine:latest",
            "merge api <- verify api linux/amd64, verify api linux/arm64",
            "merge base <- verify base linux/amd64, verify base linux/arm64",
            "resolve alpine:latest",
            "verify api linux/amd64 <- build api linux/amd64",
            "verify api linux/arm64 <- build api linux/arm64",
            "verify base linux/amd64 <- build base linux/amd64",
            "verify base linux/arm64 <- build base linux/arm64",
        ]
    );
}

#[test]
fn a_stage_for_another_platform_waits_for_that_platforms_node() {
    let text = "FROM --platform=$BUILDPLATFORM tools AS t\nFROM scratch\nCOPY --from=t / /";
    let world =
        world().target("tools", &["amd64"], &[], "FROM scratch").target("api", &["arm64"], &["tools"], text);
    assert_eq!(world.graph(&["api"])[0], "build api linux/arm64 <- build tools linux/amd64");
    let world = world.target("api", &["arm64"], &["tools"], "FROM scratch\nCOPY --from=tools / /");
    assert_eq!(
        world.problems(&["api"]),
        ["plan::platform-mismatch: target `tools` is not built for `linux/arm64`"]
    );
}

#[test]
fn needs_wait_for_the_whole_target() {
    let world = world()
        .target("a", &["amd64"], &[], "FROM scratch")
        .target("b", &["amd64"], &[], "FROM scratch")
        .needs("b", "a");
    assert_eq!(
        world.graph(&["b"]),
        [
            "build a linux/amd64",
            "build b linux/amd64 <- merge a",
            "merge a <- verify a linux/amd64",
            "merge b <- verify b linux/amd64",
            "verify a linux/amd64 <- build a linux/amd64",
            "verify b linux/amd64 <- build b linux/amd64"
        ]
    );
}

#[test]
fn one_publish_waits_for_every_merge() {
    let world = world()
        .target("a", &["amd64"], &[], "FROM scratch")
        .target("b", &["amd64"], &[], "FROM scratch")
        .needs("b", "a")
        .tag("b", "r.example/b:1")
        .push();
    assert!(world.graph(&["b"]).contains(&"publish <- merge a, merge b".to_string()));
    assert_eq!(world.problems(&["a"]), ["plan::no-tag: `a` is to be pushed but has no tag"]);
    assert_eq!(
        world.tag("a", "r.example/b:1").problems(&["a", "b"]),
        ["plan::duplicate-tag: `a` and `b` would both move the tag `r.example/b:1`"]
    );
}

#[test]
fn files_of_bake_may_share_tags_that_nothing_moves() {
    let mut world = ["a", "b", "c"].into_iter().fold(world(), |world, name| {
        world.target(name, &["amd64"], &[], "FROM scratch").tag(name, "r.example/x:1")
    });
    let names = ["a", "b", "c"];
    let refused = ["plan::duplicate-tag: `a`, `b` and `c` would all move the tag `r.example/x:1`"];
    assert_eq!(world.problems(&names), refused);
    world.request.is_lenient = true;
    assert!(world.compile(&names).is_ok());
    world.request.load = true;
    assert_eq!(world.problems(&names), refused);
}

#[test]
fn circles_are_named() {
    let world = world()
        .target("a", &["amd64"], &["b"], "FROM b")
        .target("b", &["amd64"], &[], "FROM scratch")
        .needs("b", "a");
    let problems = world.problems(&["a"]);
    assert_eq!(problems, ["plan::cycle: targets wait for each other in a circle: `a` → `b` → `a`"]);
    let two = world
        .target("c", &["amd64", "arm64"], &["d"], "FROM d")
        .target("d", &["amd64", "arm64"], &["e"], "FROM e")
        .target("e", &["amd64", "arm64"], &["c"], "FROM c");
    assert_eq!(
        two.problems(&["a", "d"]),
        [
            "plan::cycle: targets wait for each other in a circle: `a` → `b` → `a`",
            "plan::cycle: targets wait for each other in a circle: `c` → `d` → `e` → `c`"
        ]
    );
}

#[test]
fn destinations_and_deliveries_must_agree() {
    let two = world()
        .target("a", &["amd64"], &[], "FROM scratch")
        .target("b", &["amd64"], &[], "FROM scratch")
        .output("a", oci("/x.tar"))
        .output("b", oci("/x.tar"));
    assert_eq!(
        two.problems(&["a", "b"]),
        ["plan::duplicate-destination: `a` and `b` would both write to `/x.tar`"]
    );
    assert!(two.compile(&["a"]).is_ok());
    assert_eq!(
        two.output("b", oci("/y.tar")).output("b", oci("/y.tar")).problems(&["b"]),
        ["plan::duplicate-destination: two outputs of `b` would write to `/y.tar`"]
    );
    let delivered = |push| {
        let mut world = world().target("a", &["amd64"], &[], "FROM scratch").tag("a", "r.example/a:1");
        world.project.targets.get_mut("a").unwrap().delivery = Delivery { push, load: None };
        world.graph(&["a"]).iter().any(|line| line.starts_with("publish"))
    };
    assert_eq!([None, Some(false), Some(true)].map(delivered), [false, false, true]);
}

#[test]
fn only_who_starts_the_build_allows_what_a_file_asks_for() {
    let asking = || {
        let mut world =
            world().target("a", &["amd64", "arm64"], &[], "FROM scratch\nRUN --security=insecure x");
        let target = world.project.targets.get_mut("a").unwrap();
        for variant in &mut target.variants {
            Arc::make_mut(variant).entitlements.push(located(Entitlement::SecurityInsecure));
        }
        world
    };
    let refused = "plan::not-allowed: target `a` asks for `security.insecure`, which is not allowed";
    assert_eq!(asking().problems(&["a"]), [refused]);
    let mut world = asking();
    world.request.allowed.insert(Entitlement::SecurityInsecure);
    assert!(world.compile(&["a"]).is_ok());
}
