//! Plans of whole projects: the graph of valid ones in every form, and what is said about those that have none.
//!
//! A case is a folder of `tests/corpus/plan` with a build file and Dockerfiles. `flags.txt` may hold lines
//! `--platform P`, `push`, `load`, and names of targets and groups. `MAB_BLESS=1` writes the expected files anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mab::command::plan::{Format, PlanOptions, plain_request, plan};
use mab::command::{ProjectOptions, SessionOptions};
use mab::diag::{Problem, render};
use mab::facts::Facts;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/plan")
}

fn cases(kind: &str) -> Vec<PathBuf> {
    let folder = corpus().join(kind);
    let entries = fs::read_dir(&folder).expect("the corpus is part of the repository");
    let mut cases: Vec<PathBuf> =
        entries.map(|entry| entry.expect("the corpus is readable").path()).collect();
    cases.sort();
    cases
}

fn planned(case: &Path, format: Format) -> Result<String, Vec<Problem>> {
    let mut facts = Facts::for_test();
    facts.directories.current = case.to_path_buf();
    let mut options = ProjectOptions::default();
    let mut request = plain_request(&facts);
    for line in fs::read_to_string(case.join("flags.txt")).unwrap_or_default().lines() {
        match line.split_once(' ') {
            Some(("--platform", platform)) => options.platforms.push(platform.parse().expect("a platform")),
            Some(_) => panic!("{}: `{line}` is not a flag", case.display()),
            None if line == "push" => request.push = true,
            None if line == "load" => request.load = true,
            None => options.names.push(line.to_string()),
        }
    }
    let session = SessionOptions { store: None, ..SessionOptions::default() };
    let options = PlanOptions { project: options, session, request, format };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("threads");
    runtime.block_on(plan(&options, &mut facts)).map(|document| document.text)
}

/// Compares with the file, or writes it when asked to.
fn check_file(case: &Path, name: &str, actual: &str, wrong: &mut Vec<String>) {
    let path = case.join(name);
    let actual = actual.replace(&format!("{}/", case.display()), "/CASE/");
    if std::env::var_os("MAB_BLESS").is_some() {
        fs::write(&path, &actual).expect("the repository is writable");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    if expected != actual {
        wrong.push(format!("{}\n--- expected\n{expected}\n--- actual\n{actual}", path.display()));
    }
}

fn rendered(problems: &[Problem]) -> String {
    problems.iter().map(|problem| render(problem, false, 100)).collect::<Vec<_>>().join("\n")
}

#[test]
fn projects_without_a_plan_are_told_why() {
    let mut wrong = Vec::new();
    for case in cases("invalid") {
        match planned(&case, Format::Text) {
            Ok(text) => wrong.push(format!("{} has a plan:\n{text}", case.display())),
            Err(problems) => check_file(&case, "expected.txt", &rendered(&problems), &mut wrong),
        }
    }
    assert!(wrong.is_empty(), "{}\n{} cases differ; MAB_BLESS=1 accepts them", wrong.join("\n"), wrong.len());
}

#[test]
fn plans_are_trees() {
    let mut wrong = Vec::new();
    for case in cases("valid") {
        match planned(&case, Format::Text) {
            Ok(text) => check_file(&case, "expected.txt", &text, &mut wrong),
            Err(problems) => wrong.push(format!("{}\n{}", case.display(), rendered(&problems))),
        }
    }
    assert!(wrong.is_empty(), "{}\n{} cases differ; MAB_BLESS=1 accepts them", wrong.join("\n"), wrong.len());
}

/// The nodes of a plan with the nodes each waits for, as its JSON has it.
fn graph(case: &Path) -> BTreeMap<u64, Vec<u64>> {
    let text = planned(case, Format::Json).expect("the case is valid");
    let document: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(document["version"], 1);
    let nodes = document["nodes"].as_array().expect("a list of nodes");
    let number = |value: &serde_json::Value| value.as_u64().expect("a number");
    let needs =
        |node: &serde_json::Value| node["needs"].as_array().expect("a list").iter().map(number).collect();
    nodes.iter().map(|node| (number(&node["id"]), needs(node))).collect()
}

/// Ids in lines such as `n1 -> n2;`.
fn edges(text: &str, arrow: &str) -> Vec<(u64, u64)> {
    let id = |text: &str| text.trim().trim_end_matches(';').strip_prefix('n')?.parse::<u64>().ok();
    let mut edges: Vec<(u64, u64)> = text
        .lines()
        .filter_map(|line| line.split_once(arrow))
        .filter_map(|(a, b)| Some((id(a)?, id(b)?)))
        .collect();
    edges.sort_unstable();
    edges
}

#[test]
fn every_form_has_every_node_and_edge() {
    for case in cases("valid") {
        let graph = graph(&case);
        let mut expected: Vec<(u64, u64)> =
            graph.iter().flat_map(|(id, needs)| needs.iter().map(move |need| (*need, *id))).collect();
        expected.sort_unstable();
        let form = |format| planned(&case, format).expect("the case is valid");

        let dot = form(Format::Dot);
        assert!(dot.starts_with("digraph ") && dot.ends_with("}\n"), "{dot}");
        assert_eq!(dot.matches('{').count(), dot.matches('}').count(), "{dot}");
        assert_eq!(edges(&dot, " -> "), expected, "{dot}");

        let mermaid = form(Format::Mermaid);
        assert!(mermaid.starts_with("flowchart LR\n"), "{mermaid}");
        let opened = mermaid.lines().filter(|line| line.trim_start().starts_with("subgraph ")).count();
        assert_eq!(opened, mermaid.lines().filter(|line| line.trim() == "end").count(), "{mermaid}");
        assert_eq!(edges(&mermaid, " --> "), expected, "{mermaid}");

        for id in graph.keys() {
            let declared = |text: &str, open: &[char]| {
                text.lines().any(|line| {
                    line.trim_start()
                        .strip_prefix(&format!("n{id}"))
                        .is_some_and(|rest| rest.starts_with(open))
                })
            };
            assert!(declared(&dot, &[' ']) && declared(&mermaid, &['[', '(', '{']), "n{id}:\n{dot}{mermaid}");
        }
    }
}

/// The elements of a picture that are open at its end, and how many of each name there were.
fn elements(svg: &str) -> (Vec<String>, BTreeMap<String, usize>) {
    let (mut open, mut counts) = (Vec::new(), BTreeMap::new());
    for tag in svg.split('<').skip(1) {
        let (tag, text) = tag.split_once('>').expect("a tag ends");
        assert!(!text.contains('&') || text.contains(';'), "{text}");
        let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().unwrap_or_default().to_string();
        if tag.starts_with('/') {
            assert_eq!(open.pop().as_ref(), Some(&name), "elements are closed in turn");
        } else {
            *counts.entry(name.clone()).or_default() += 1;
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
    }
    (open, counts)
}

#[test]
fn pictures_are_whole_and_need_nothing_else() {
    for case in cases("valid") {
        let svg = planned(&case, Format::Svg).expect("the case is valid");
        let (open, counts) = elements(&svg);
        assert!(open.is_empty(), "{open:?}");
        let links: usize = graph(&case).values().map(Vec::len).sum();
        assert_eq!(counts.get("path").copied().unwrap_or_default(), links, "{svg}");
        assert!(svg.contains("prefers-color-scheme: dark"), "{svg}");
        for foreign in ["href", "url(", "<script", "@import"] {
            assert!(!svg.contains(foreign), "{foreign} in {svg}");
        }
        assert_eq!(svg, planned(&case, Format::Svg).expect("as before"), "the same plan is drawn the same");
    }
}
