//! Compose files.

use crate::meter::{Memory, Meter, lines};

struct Yaml(Meter);

impl Yaml {
    #[track_caller]
    fn check(&self, what: &str, text: &str, expected: &str) {
        self.0.import("compose.yaml", what, text, expected);
    }

    /// `text` beside other files.
    #[track_caller]
    fn beside(&self, what: &str, files: &Memory, text: &str, expected: &str) {
        self.0.imports("compose.yaml", what, text, files, expected);
    }
}

const TOO_MUCH: &str = "compose::too-much: the file has more than 100000 values, aliases written out";

#[test]
fn values_are_bounded() {
    let yaml = Yaml(Meter::new());
    let bomb = lines(30, |n| format!("x{0}: &a{0} [{1}]", n + 1, vec![format!("*a{n}"); 10].join(", ")));
    yaml.check("aliases", &format!("x0: &a0 [lol]\n{bomb}services: {{}}\n"), TOO_MUCH);
    let merged = lines(30, |n| {
        let before = vec![format!("*a{n}"); 10].join(", ");
        format!("x{0}: &a{0}\n  <<: [{before}]\n  k{0}: [{before}]", n + 1)
    });
    yaml.check("merged tables", &format!("x0: &a0 {{ k: v }}\n{merged}services: {{}}\n"), TOO_MUCH);
    yaml.check(
        "lists",
        &format!("{}{}", "[".repeat(150), "]".repeat(150)),
        "compose::too-deep: nested deeper than 100 levels",
    );
    // Here the parser itself has had enough.
    yaml.check("many lists", &"[".repeat(100_000), "compose::syntax: recursion limit exceeded");
    yaml.check(
        "tables",
        &format!("services: {}", "{a: ".repeat(100_000)),
        "compose::too-deep: nested deeper than 100 levels",
    );
    yaml.check("lists in lists", &"- ".repeat(100_000), "compose::too-deep: nested deeper than 100 levels");
    yaml.check("many values", &format!("x: [{}]", "a,".repeat(1_000_000)), TOO_MUCH);
    let nested = format!("{}x{}", "${A:-".repeat(5_000), "}".repeat(5_000));
    yaml.check(
        "defaults",
        &format!("services:\n  a:\n    image: \"{nested}\"\n"),
        "compose::interpolation: substitutions are nested too deep",
    );
    yaml.check(
        "itself",
        "services:\n  a: &a\n    build: *a\n",
        "compose::circle: the alias stands inside of what it is an alias for",
    );
    let long =
        format!("services:\n  a:\n    build: \"{}\"\n    networks: &n {{ a: *n }}\n", "x".repeat(7 << 20));
    yaml.check("a long text", &long, "compose::circle: the alias stands inside of what it is an alias for");
    let texts = format!(
        "x: &x {}\nservices:\n  a:\n    build: .\n    labels: [{}]\n",
        "y".repeat(1 << 20),
        vec!["*x"; 5_000].join(", ")
    );
    yaml.check("aliases of a long text", &texts, TOO_MUCH);
}

#[test]
fn services_are_bounded() {
    let yaml = Yaml(Meter::new());
    let chain = |count: usize, last: &str| {
        let extends = |n: usize| format!("  s{n}:\n    extends: s{}", n + 1);
        format!("services:\n{}  s{count}:\n    {last}\n", lines(count, extends))
    };
    yaml.check(
        "a long chain",
        &chain(5_000, "build: ."),
        "compose::circle: `extends` of `s65` runs in a circle",
    );
    yaml.check(
        "a long circle",
        &chain(5_000, "extends: s0"),
        "compose::circle: `extends` of `s65` runs in a circle",
    );
    let steps = lines(50, |n| format!("  b{n}:\n    extends: b{}", n + 1));
    let heirs = lines(9_000, |n| format!("  s{n}:\n    extends: b0"));
    let text = format!("services:\n{steps}  b50:\n    build: .\n{heirs}");
    yaml.check("heirs", &text, "compose::too-much: services extend more than 20000 others in all");
}

#[test]
fn includes_are_bounded() {
    let yaml = Yaml(Meter::new());
    let file = |n: usize| format!("{n}.yaml");
    let doubled = |n: usize| match n {
        60 => (file(n), "services: {}\n".to_string()),
        n => (file(n), format!("include: [{0}.yaml, {0}.yaml]\n", n + 1)),
    };
    yaml.beside(
        "includes that double",
        &Memory::of((0..=60).map(doubled)),
        "include: [0.yaml]\n",
        "compose::too-much: more than 1000 files are included or extended",
    );
    let next = |n: usize| (file(n), format!("include: [{}.yaml]\n", n + 1));
    let way: Vec<String> = (0..=64).map(|n| format!("{n}.yaml")).collect();
    let deep = format!("compose::circle: `include` runs in a circle: compose.yaml → {}", way.join(" → "));
    yaml.beside("deep includes", &Memory::of((0..5_000).map(next)), "include: [0.yaml]\n", &deep);
    let circle = Memory::of([
        (file(0), "include: [1.yaml]\n".to_string()),
        (file(1), "include: [0.yaml]\n".to_string()),
    ]);
    yaml.beside(
        "a circle of includes",
        &circle,
        "include: [0.yaml]\n",
        "compose::circle: `include` runs in a circle: compose.yaml → 0.yaml → 1.yaml → 0.yaml",
    );
    let all: Vec<String> = (0..2_000).map(file).collect();
    let wide = Memory::of((0..2_000).map(|n| (file(n), format!("services: {{ s{n}: {{ build: . }} }}\n"))));
    yaml.beside(
        "wide includes",
        &wide,
        &format!("include: [{}]\n", all.join(", ")),
        "compose::too-much: more than 1000 files are included or extended",
    );
    let extends = |n: usize| {
        (file(n), format!("services:\n  a:\n    extends: {{ file: {}.yaml, service: a }}\n", n + 1))
    };
    yaml.beside(
        "files that extend",
        &Memory::of((0..5_000).map(extends)),
        "services:\n  a:\n    extends: { file: 0.yaml, service: a }\n",
        "compose::circle: `extends` of `a` runs in a circle",
    );
}
