//! From the text of build files to a plan: 1,000 targets for 4 platforms, and less and more of them, to see that
//! time and memory grow with the size and no faster.
//!
//! `cargo bench --bench plan`. The files are in memory; half of the targets build on others, all inherit and have
//! templates. The same project as multiarch.toml with 50 included files, and as docker-bake.hcl. Under "max alloc"
//! stands what is in memory at one time.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mab::base::Platform;
use mab::command::plan::plain_request;
use mab::config::import::{self, ImportFile};
use mab::config::{self, Disk, Entry, Files, Overrides};
use mab::diag::{Problem, Source};
use mab::dockerfile::Dockerfile;
use mab::facts::{Facts, GitFacts};
use mab::model::{Project, Target};
use mab::plan::{Dockerfiles, Plan, compile, select};
use rayon::prelude::*;

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

const SIZES: [usize; 4] = [250, 500, 1000, 2000];
const PLATFORMS: [&str; 4] = ["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/s390x"];
const INCLUDES: usize = 50;

const DOCKERFILE: &str = "ARG GO_VERSION
FROM --platform=$BUILDPLATFORM golang:${GO_VERSION} AS build
ARG TARGETOS TARGETARCH SERVICE
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/root/.cache go mod download
COPY . .
RUN GOOS=$TARGETOS GOARCH=$TARGETARCH go build -o /out/$SERVICE ./cmd/$SERVICE
FROM BASE
COPY --from=build /out/ /usr/bin/
USER 1000
ENTRYPOINT [\"/usr/bin/service\"]
";

fn main() {
    divan::main();
}

#[divan::bench(args = SIZES, sample_count = 10)]
fn multiarch_toml(bencher: divan::Bencher<'_, '_>, targets: usize) {
    let files = own_files(targets);
    bencher.bench_local(|| plan_own(&files, targets));
}

#[divan::bench(args = SIZES, sample_count = 10)]
fn docker_bake_hcl(bencher: divan::Bencher<'_, '_>, targets: usize) {
    let text = bake_file(targets);
    bencher.bench_local(|| plan_bake(&text, targets));
}

fn plan_own(files: &Memory, targets: usize) -> Plan {
    let facts = facts();
    let loaded = config::load(Path::new("/project/multiarch.toml"), files);
    let (project, _) =
        config::resolve(&loaded, &facts, &Overrides::default()).unwrap_or_else(|found| wrong(&found));
    compiled(&project, &facts, targets)
}

fn plan_bake(text: &str, targets: usize) -> Plan {
    let facts = facts();
    let files = vec![ImportFile { name: "docker-bake.hcl".to_string(), text: text.to_string() }];
    let request = import::Request { files, ..import::Request::default() };
    let imported = import::import(&request, &facts, &Disk).unwrap_or_else(|found| wrong(&found));
    let (project, _) = imported.project(&facts, &[]).unwrap_or_else(|found| wrong(&found));
    compiled(&project, &facts, targets)
}

/// As the command does it, with Dockerfiles that are parsed once each, on all cores.
fn compiled(project: &Project, facts: &Facts, targets: usize) -> Plan {
    let selection = select(project, &[]).unwrap_or_else(|found| wrong(&found));
    let mut dockerfiles = Dockerfiles::new();
    let all: Vec<&Target> = selection.all().collect();
    let parse = |target: &&Target| {
        let links = target.variants.first().is_some_and(|variant| variant.contexts.contains_key("base"));
        let text = DOCKERFILE.replace("BASE", if links { "base" } else { "debian:12" });
        Dockerfile::parse(&Source::new(format!("{}/Dockerfile", target.name), text))
    };
    let parsed: Vec<_> = all.par_iter().map(parse).collect();
    for (target, parsed) in all.into_iter().zip(parsed) {
        let parsed = Arc::new(parsed.unwrap_or_else(|found| wrong(&found)));
        for variant in &target.variants {
            dockerfiles.insert(&target.name, &variant.platform.value, parsed.clone());
        }
    }
    let plan = compile(&selection, &plain_request(facts), &dockerfiles).unwrap_or_else(|found| wrong(&found));
    assert!(plan.len() >= targets * (PLATFORMS.len() + 1), "{} nodes", plan.len());
    plan
}

fn wrong(problems: &[Problem]) -> ! {
    panic!("{}", problems.iter().map(|problem| mab::diag::render(problem, false, 100)).collect::<String>())
}

fn facts() -> Facts {
    let mut facts = Facts::for_test();
    facts.git = Some(GitFacts::for_test());
    facts.host = Platform::linux("amd64");
    facts
}

/// Build files that are nowhere.
struct Memory(BTreeMap<PathBuf, String>);

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let mut entries: BTreeMap<String, bool> = BTreeMap::new();
        for path in self.0.keys() {
            let Ok(below) = path.strip_prefix(directory) else { continue };
            let mut names = below.components();
            if let Some(name) = names.next() {
                entries.insert(name.as_os_str().to_string_lossy().into_owned(), names.next().is_some());
            }
        }
        Ok(entries.into_iter().map(|(name, is_directory)| Entry { name, is_directory }).collect())
    }
}

fn own_files(targets: usize) -> Memory {
    let mut files = BTreeMap::new();
    let platforms = PLATFORMS.map(|platform| format!("\"{platform}\"")).join(", ");
    let names: Vec<String> = (0..targets).map(|n| format!("\"service-{n}\"")).collect();
    let root = format!(
        r#"version = 1
include = ["services/*/multiarch.toml"]

[project]
name = "shop"
image = "registry.example.com/shop/{{{{ target.name }}}}"
platforms = [{platforms}]

[vars]
go = "1.23"
channel = "edge"

[group.default]
targets = [{}]

[target._labels]
labels = {{ "org.example.channel" = "{{{{ vars.channel }}}}", "org.example.name" = "{{{{ target.name }}}}" }}

[target._go]
inherits = ["_labels"]
args = {{ GO_VERSION = "{{{{ vars.go }}}}", SERVICE = "{{{{ target.name | slug }}}}", FLAGS = "-trimpath" }}
tags = ["{{{{ git.sha[:7] }}}}", "{{{{ vars.channel }}}}"]
"#,
        names.join(", ")
    );
    files.insert(PathBuf::from("/project/multiarch.toml"), root);
    for file in 0..INCLUDES {
        let mut text = String::new();
        for n in (0..targets).filter(|n| n % INCLUDES == file) {
            let _ = write!(
                text,
                "[target.service-{n}]\ninherits = [\"_go\"]\ncontext = \"service-{n}\"\n\
                 args = {{ CACHE = \"{{{{ platform.slug }}}}\", NUMBER = {n} }}\n{}\
                 [target.service-{n}.on.\"linux/arm64\"]\nargs = {{ FEATURES = \"neon-{{{{ vars.channel }}}}\" }}\n",
                if n % 2 == 1 {
                    format!("contexts = {{ base = \"target:service-{}\" }}\n", n - 1)
                } else {
                    String::new()
                }
            );
        }
        files.insert(PathBuf::from(format!("/project/services/{file}/multiarch.toml")), text);
    }
    Memory(files)
}

fn bake_file(targets: usize) -> String {
    let platforms = PLATFORMS.map(|platform| format!("\"{platform}\"")).join(", ");
    let names: Vec<String> = (0..targets).map(|n| format!("\"service-{n}\"")).collect();
    let mut text = format!(
        r#"variable "go" {{ default = "1.23" }}
variable "channel" {{ default = "edge" }}

group "default" {{
  targets = [{}]
}}

target "_labels" {{
  platforms = [{platforms}]
  labels = {{ "org.example.channel" = "${{channel}}" }}
}}

target "_go" {{
  inherits = ["_labels"]
  args = {{ GO_VERSION = go, FLAGS = "-trimpath" }}
}}
"#,
        names.join(", ")
    );
    for n in 0..targets {
        let _ = write!(
            text,
            "\ntarget \"service-{n}\" {{\n  inherits = [\"_go\"]\n  context = \"services/{}/service-{n}\"\n  \
             args = {{ SERVICE = \"service-{n}\", NUMBER = {n}, FEATURES = \"neon-${{channel}}\" }}\n  \
             tags = [\"registry.example.com/shop/service-{n}:${{channel}}\", \"registry.example.com/shop/service-{n}:${{substr(sha1(channel), 0, 7)}}\"]\n{}}}\n",
            n % INCLUDES,
            if n % 2 == 1 {
                format!("  contexts = {{ base = \"target:service-{}\" }}\n", n - 1)
            } else {
                String::new()
            }
        );
    }
    text
}
