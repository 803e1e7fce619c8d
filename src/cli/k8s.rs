//! `mab k8s` on the command line, and its answers for people and machines.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{failed, print_text, printed, runtime};
use crate::command::SessionOptions;
use crate::command::k8s::{self, CheckOptions, Checked, NodeSource, PinOptions, PinnedFile};
use crate::facts::Facts;
use crate::ui::{Progress, count, pad, width};

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct K8sArguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Check(CheckArguments),
    Pin(PinArguments),
}

const EXAMPLES: &str = "\
Exit codes: 0 done, 2 an image lacks a platform or the input is wrong, 4 a registry or the cluster did not do its part.

Examples:
  mab k8s check registry.example.com/shop/api:1.4       on every kind of node of the cluster in use
  kustomize build . | mab k8s check -f -                with selectors, affinities and taints
  mab k8s check -f deploy/ --nodes nodes.json           without a cluster: kubectl get nodes -o json > nodes.json
  mab k8s pin deploy/ --only 'registry.example.com/shop/*'
  kustomize build . | mab k8s pin - | kubectl apply -f -";

/// Says which images lack a platform that some node needs
///
/// An image on the command line may run on every node without a taint. One in a manifest runs where its pod may: its
/// nodeName, nodeSelector, required node affinity and tolerations count as the scheduler reads them.
#[derive(Debug, Args)]
#[command(after_long_help = CHECK_EXAMPLES)]
struct CheckArguments {
    /// Images in a registry; paths of manifests are taken as with `-f`
    #[arg(value_name = "IMAGE", required_unless_present = "manifests")]
    images: Vec<String>,
    /// Manifests: a file, a folder's *.yaml, *.yml and *.json, or `-` for standard input
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    manifests: Vec<PathBuf>,
    /// What `kubectl get nodes -o json` said, as a file or `-` [default: kubectl is asked]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["context", "without_nodes"])]
    nodes: Option<PathBuf>,
    /// The context of kubectl
    #[arg(long, value_name = "NAME", conflicts_with = "without_nodes")]
    context: Option<String>,
    /// Looks at no cluster: only platforms that manifests name themselves are needed
    #[arg(long)]
    without_nodes: bool,
    /// Prints {version, images}; an image has image, workload, platforms, needed (platform, because) and problems
    #[arg(long)]
    json: bool,
    /// The folder of the local store [default: $XDG_DATA_HOME/mab]
    #[arg(long, value_name = "PATH", env = "MAB_STORE")]
    store: Option<PathBuf>,
}

const CHECK_EXAMPLES: &str = "\
Exit codes: 0 every image has what is needed, 2 one lacks a platform or the input is wrong, 4 a registry or the cluster
did not do its part.

Examples:
  mab k8s check registry.example.com/shop/api:1.4
  kubectl get nodes -o json | mab k8s check registry.example.com/shop/api:1.4 --nodes -
  mab k8s check -f deploy/ --without-nodes";

/// Writes the digests that tags lead to now into manifests; comments, order and everything else stay as they are
///
/// `shop/api:1.4` becomes `shop/api:1.4@sha256:…`, of the index with all platforms. A name that has both is brought up to
/// date; one that has only a digest stays. Either all files are written or none. `-` reads standard input and writes
/// standard output.
#[derive(Debug, Args)]
#[command(after_long_help = PIN_EXAMPLES)]
struct PinArguments {
    /// Manifests: files, folders with *.yaml, *.yml and *.json, or `-`
    #[arg(value_name = "PATH", required = true)]
    manifests: Vec<PathBuf>,
    /// Only images whose name without its tag matches; `*` stands for anything but `/`
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// Prints the difference, and writes nothing
    #[arg(long)]
    diff: bool,
}

const PIN_EXAMPLES: &str = "\
Exit codes: 0 done, 2 wrong input, 3 a file cannot be written, 4 a registry did not do its part.

Examples:
  mab k8s pin deploy/
  mab k8s pin deploy/ --diff
  mab k8s pin deploy/api.yaml --only 'registry.example.com/shop/*'
  kustomize build . | mab k8s pin - | kubectl apply -f -";

pub fn k8s(arguments: &K8sArguments, facts: &Facts) -> ExitCode {
    match &arguments.verb {
        Verb::Check(arguments) => check(arguments, facts),
        Verb::Pin(arguments) => pin(arguments, facts),
    }
}

fn check(arguments: &CheckArguments, facts: &Facts) -> ExitCode {
    let nodes = match (&arguments.nodes, arguments.without_nodes) {
        (Some(path), _) => NodeSource::File(path.clone()),
        (None, true) => NodeSource::Nowhere,
        (None, false) => NodeSource::Kubectl { context: arguments.context.clone() },
    };
    let options = CheckOptions {
        images: arguments.images.clone(),
        manifests: arguments.manifests.clone(),
        nodes,
        session: SessionOptions { store: arguments.store.clone(), ..SessionOptions::default() },
    };
    let checked = match runtime().block_on(k8s::check(&options, facts)) {
        Ok(checked) => checked,
        Err(problems) => return printed(Err(problems), facts, Progress::Auto),
    };
    let text = if arguments.json { checked_json(&checked) } else { checked_text(&checked) };
    if let Some(failure) = print_text(&text, facts, Progress::Auto) {
        return failure;
    }
    let mut problems = Vec::new();
    for problem in checked.into_iter().flat_map(|checked| checked.problems) {
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    if problems.is_empty() { ExitCode::SUCCESS } else { failed(&problems, Progress::Auto, Some(facts)) }
}

fn checked_text(checked: &[Checked]) -> String {
    let names = checked.iter().map(|one| width(&one.image)).max().unwrap_or(0);
    let line = |one: &Checked| {
        let mark = if one.problems.is_empty() { "✓" } else { "✗" };
        let offered: Vec<String> = one.offered.iter().map(ToString::to_string).collect();
        let needed: Vec<String> = one.needed.iter().map(|needed| needed.platform.to_string()).collect();
        let needed = match needed.is_empty() {
            true => "nothing is needed".to_string(),
            false => format!("needs {}", needed.join(", ")),
        };
        let offered = match (offered.is_empty(), one.problems.is_empty()) {
            (true, true) => String::new(),
            (true, false) => "; it could not be looked at".to_string(),
            (false, _) => format!(", has {}", offered.join(", ")),
        };
        let workload = one.workload.as_ref().map(|name| format!(" · {name}")).unwrap_or_default();
        format!("{mark} {}  {needed}{offered}{workload}\n", pad(&one.image, names))
    };
    match checked {
        [] => "no image is named\n".to_string(),
        checked => checked.iter().map(line).collect(),
    }
}

fn checked_json(checked: &[Checked]) -> String {
    let images: Vec<Value> = checked
        .iter()
        .map(|one| {
            let offered: Vec<String> = one.offered.iter().map(ToString::to_string).collect();
            let needed: Vec<Value> = one
                .needed
                .iter()
                .map(|needed| json!({ "platform": needed.platform.to_string(), "because": needed.because }))
                .collect();
            let problems: Vec<&str> = one.problems.iter().map(|problem| problem.message.as_str()).collect();
            json!({
                "image": one.image, "workload": one.workload, "platforms": offered, "needed": needed,
                "problems": problems,
            })
        })
        .collect();
    format!("{:#}\n", json!({ "version": 1, "images": images }))
}

fn pin(arguments: &PinArguments, facts: &Facts) -> ExitCode {
    let options = PinOptions {
        manifests: arguments.manifests.clone(),
        only: arguments.only.clone(),
        is_dry_run: arguments.diff,
        session: SessionOptions::default(),
    };
    match runtime().block_on(k8s::pin(&options, facts)) {
        Ok(pinned) => pinned_files(&pinned, arguments.diff, facts),
        Err(problems) => printed(Err(problems), facts, Progress::Auto),
    }
}

fn pinned_files(pinned: &[PinnedFile], is_diff: bool, facts: &Facts) -> ExitCode {
    for one in pinned {
        let text = match (is_diff, one.is_stdin) {
            (true, _) => one.file.diff(),
            (false, true) => one.file.after.clone(),
            (false, false) => String::new(),
        };
        if let Some(failure) = print_text(&text, facts, Progress::Auto) {
            return failure;
        }
        if !is_diff {
            let right = one.images.len() - one.file.edits;
            // Nothing is left to do when standard error is closed.
            let _ = writeln!(
                std::io::stderr(),
                "{}: {} pinned, {right} already right",
                one.file.name,
                count(one.file.edits, "image")
            );
        }
    }
    ExitCode::SUCCESS
}
