//! The graph of stages.

use super::*;

fn graph_with(text: &str, contexts: &[&str]) -> Result<StageGraph, Vec<Problem>> {
    let base_of = |stage: &Stage| stage.from.image.value.clone();
    StageGraph::new(&dockerfile(text), &base_of, &|name| contexts.contains(&name))
}

/// Each stage as `base: sources`.
fn check(text: &str, contexts: &[&str], expected: &[&str]) {
    let show = |source: &StageSource| match source {
        StageSource::Stage(index) => index.to_string(),
        StageSource::External(name) => format!("<{name}>"),
    };
    let graph = graph_with(text, contexts).unwrap();
    let stages: Vec<String> = graph
        .stages()
        .iter()
        .map(|stage| {
            let sources: Vec<String> = stage.sources.iter().map(show).collect();
            format!("{}: {}", show(&stage.base), sources.join(" ")).trim_end().to_string()
        })
        .collect();
    assert_eq!(stages, expected, "{text}");
}

#[test]
fn stages_find_each_other() {
    check("FROM a AS B\nFROM b\nFROM c", &[], &["<a>:", "0:", "<c>:"]);
    check("FROM a AS B\nFROM B", &[], &["<a>:", "<B>:"]);
    check("FROM b\nFROM a AS b", &[], &["<b>:", "<a>:"]);
    check("FROM a AS a\nFROM a AS a\nFROM a", &[], &["<a>:", "0:", "1:"]);
    check("FROM a\nFROM 0", &[], &["<a>:", "<0>:"]);
    check(
        "FROM a AS b\nFROM c\nCOPY --from=B x y\nCOPY --from=0 x y\nCOPY --from=img:1 x y",
        &[],
        &["<a>:", "<c>: 0 <img:1>"],
    );
    check("FROM a\nCOPY --from=late x y\nFROM b AS late", &[], &["<a>: 1", "<b>:"]);
    check("FROM a\nCOPY --from=1 x y\nFROM b", &[], &["<a>: 1", "<b>:"]);
    check(
        "FROM a AS b\nFROM c\nRUN --mount=from=b,target=/x --mount=from=0,target=/y z",
        &[],
        &["<a>:", "<c>: 0 <0>"],
    );
    check("FROM a AS b\nFROM scratch", &[], &["<a>:", "<scratch>:"]);
}

#[test]
fn named_contexts_stand_in_for_stages() {
    check(
        "FROM a AS b\nCOPY --from=9 x y\nFROM b\nCOPY --from=b x y\nCOPY --from=0 x y",
        &["b"],
        &["<b>:", "<b>: <b>"],
    );
    check("FROM a AS b\nFROM a", &["a"], &["<a>:", "<a>:"]);
}

#[test]
fn triggers_of_a_stage_belong_to_its_children() {
    check(
        "FROM a AS src\nFROM b AS base\nONBUILD COPY --from=src x y\nFROM base\nFROM c",
        &[],
        &["<a>:", "<b>:", "1: 0", "<c>:"],
    );
}

#[test]
fn only_what_is_needed_is_reachable() {
    let text = "FROM a AS one\nFROM b AS two\nFROM one AS three\nCOPY --from=five x y\nFROM two AS four\nFROM c AS five\nFROM d AS last";
    let graph = graph_with(text, &[]).unwrap();
    for (wanted, expected) in
        [(None, vec![5]), (Some("THREE"), vec![0, 4, 2]), (Some("3"), vec![1, 3]), (Some("two"), vec![1])]
    {
        assert_eq!(graph.reachable(graph.find(wanted).unwrap()), expected, "{wanted:?}");
    }
    assert_eq!(graph.reachable(99), Vec::<usize>::new());
    let unknown = graph.find(Some("thre")).unwrap_err();
    assert_eq!(
        (unknown.to_string().as_str(), unknown.meant.as_deref()),
        ("there is no stage `thre`", Some("three"))
    );
    assert!(graph.find(Some("6")).is_err());
    assert_eq!(graph.nearest_stage("Fiev"), Some("five"));
    assert_eq!(graph.mount_source("0"), StageSource::External("0".into()));
    assert_eq!(graph.copy_source("0"), Ok(StageSource::Stage(0)));
}

#[test]
fn the_last_stage_of_a_name_is_meant() {
    let graph = graph_with("FROM a AS x\nFROM b AS x\nFROM c", &[]).unwrap();
    assert_eq!(graph.find(Some("x")), Ok(1));
    assert_eq!(graph.copy_source("x"), Ok(StageSource::Stage(1)));
}

#[test]
fn cycles_and_wrong_numbers_are_refused() {
    let problems = |text: &str| {
        let problems = graph_with(text, &[]).unwrap_err();
        problems.iter().map(|problem| describe(problem, text)).collect::<Vec<_>>()
    };
    assert_eq!(
        problems("FROM a AS b\nCOPY --from=b x y"),
        [
            "1 stage-cycle \"FROM a AS b\" stage `b` needs itself | move what both need to a stage of its own, and copy from there"
        ]
    );
    assert_eq!(
        problems("FROM a AS z\nFROM a AS b\nCOPY --from=2 x y\nFROM b\nFROM b"),
        [
            "2 stage-cycle \"FROM a AS b\" stage `b` needs itself, by way of `stage-2` | move what both need to a stage of its own, and copy from there"
        ]
    );
    assert_eq!(
        problems("FROM a\nCOPY --from=7 x y\nCOPY --from=-1 x y"),
        [
            "2 unknown-stage \"--from=7\" there is no stage `7` | stages are numbered from 0 to 0; a name survives better than a number",
            "3 unknown-stage \"--from=-1\" there is no stage `-1` | stages are numbered from 0 to 0; a name survives better than a number",
        ]
    );
}

#[test]
fn a_long_chain_is_no_trouble() {
    let mut text = "FROM a AS s0\n".to_string();
    for index in 1..5000 {
        text.push_str(&format!("FROM s{} AS s{index}\n", index - 1));
    }
    let graph = graph_with(&text, &[]).unwrap();
    assert_eq!(graph.reachable(4999).len(), 5000);
}
