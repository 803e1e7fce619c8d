//! docker-bake files.

use crate::meter::{Memory, Meter, lines};

struct Hcl(Meter);

impl Hcl {
    fn new() -> Self {
        Self(Meter::new())
    }

    #[track_caller]
    fn check(&self, what: &str, text: &str, expected: &str) {
        self.0.import("docker-bake.hcl", what, text, expected);
    }
}

#[test]
fn nesting_is_bounded() {
    let hcl = Hcl::new();
    let too_deep = "bake::too-deep: nested deeper than 100 levels";
    hcl.check("parentheses", &format!("a = {}1{}", "(".repeat(100_000), ")".repeat(100_000)), too_deep);
    hcl.check("lists", &format!("a = {}", "[".repeat(100_000)), too_deep);
    hcl.check("objects", &format!("a = {}", "{ a = ".repeat(100_000)), too_deep);
    hcl.check("calls", &format!("a = {}", "f(".repeat(100_000)), too_deep);
    hcl.check("negations", &format!("a = {}1", "!".repeat(100_000)), too_deep);
    hcl.check("templates", &format!("a = \"{}1{}\"", "${\"".repeat(50_000), "\"}".repeat(50_000)), too_deep);
    hcl.check("conditions", &format!("a = {}1", "true ? 1 : ".repeat(50_000)), too_deep);
    hcl.check("blocks", &"a {\n".repeat(50_000), too_deep);
    hcl.0.import("x.json", "JSON lists", &"[".repeat(100_000), too_deep);
    hcl.0.import("x.json", "JSON objects", &"{\"a\":".repeat(100_000), too_deep);
}

#[test]
fn lengths_are_bounded() {
    let hcl = Hcl::new();
    hcl.check(
        "sums",
        &format!("a = 1{}", " + 1".repeat(50_000)),
        "bake::syntax: the expression has too many operators",
    );
    hcl.check(
        "members",
        &format!("a = b{}", ".c".repeat(50_000)),
        "bake::syntax: the expression has too many members",
    );
    hcl.check("numbers", "a = 1e999999999", "bake::syntax: the number is too large");
    hcl.check(
        "long numbers",
        &format!("a = {}", "9".repeat(1 << 20)),
        "bake::syntax: the number is too large",
    );
    hcl.check(
        "powers",
        &format!("a = pow({0}, {0})", "9".repeat(300)),
        "bake::bad-call: `pow`: the result is not a number",
    );
    hcl.check(
        "problems",
        &lines(100_000, |n| format!("a{n} = b{n}")),
        "bake::too-much: there are more than 500 problems",
    );
    hcl.check(
        "garbage",
        &"= }\n".repeat(500_000),
        "bake::syntax: expected the name of an attribute or block, found `=`",
    );
    let name = "x".repeat(4 << 20);
    let unknown = format!("bake::unknown-variable: there is no variable `{name}`");
    hcl.check("a name", &format!("a = {name}"), &unknown);
}

#[test]
fn growth_is_bounded() {
    let hcl = Hcl::new();
    let too_much = "bake::too-much: the file makes more text and elements than a build file can need";
    let doubling = lines(64, |n| format!("v{} = \"${{v{n}}}${{v{n}}}\"", n + 1));
    hcl.check("texts that double", &format!("v0 = \"0123456789abcdef\"\n{doubling}"), too_much);
    let concat = lines(64, |n| format!("v{} = concat(v{n}, v{n})", n + 1));
    hcl.check("lists that double", &format!("v0 = [1, 2, 3]\n{concat}"), too_much);
    let loops = "[for a in range(1000) : [for b in range(1000) : [for c in range(1000) : c]]]";
    hcl.check("loops", &format!("x = {loops}"), too_much);
    hcl.check(
        "formats",
        "x = format(\"%999999999d\", 1)",
        "bake::bad-call: `format`: `999999999` is too large",
    );
    hcl.check(
        "indents",
        "x = indent(1000000000, \"a\\nb\")",
        "bake::bad-call: `indent`: the width must be from 0 to 10000",
    );
    hcl.check(
        "patterns",
        "x = regex(\"((a{1,1000}){1,1000}){1,1000}\", \"aaaa\")",
        "bake::bad-call: `regex`: the pattern is wrong: Compiled regex exceeds size limit of 1048576 bytes.",
    );
    hcl.check(
        "products",
        &format!("r = range(1000)\nx = setproduct({})", ["r"; 6].join(", ")),
        "bake::bad-call: `setproduct`: the product has more than 100000 elements",
    );
    let axes = lines(10, |n| format!("a{n} = range(20)"));
    hcl.check(
        "axes",
        &format!("target \"t\" {{\nname = \"x\"\nmatrix = {{\n{axes}}}\n}}"),
        "bake::bad-matrix: the matrix has more than 10000 combinations",
    );
    let matrices = lines(50, |n| {
        format!(
            "target \"t{n}\" {{\nname = \"t{n}-${{a}}-${{b}}\"\nmatrix = {{ a = range(95), b = range(95) }}\n}}"
        )
    });
    hcl.check("matrices", &matrices, "bake::too-much: there are more than 20000 targets and groups");
    let functions = lines(40, |n| {
        format!("function \"f{}\" {{\nparams = [x]\nresult = \"${{f{n}(x)}}${{f{n}(x)}}\"\n}}", n + 1)
    });
    let first = "function \"f0\" {\nparams = [x]\nresult = x\n}\n";
    hcl.check("functions that double", &format!("{first}{functions}x = f40(\"a\")"), too_much);
}

#[test]
fn circles_are_found() {
    let hcl = Hcl::new();
    for (count, expected) in [
        (100, "bake::circle: the value of `v0` depends on itself"),
        (2_000, "bake::too-deep: references go deeper than 400 steps"),
    ] {
        let variables = lines(count, |n| format!("variable \"v{n}\" {{ default = v{} }}", n + 1));
        let text = format!("{variables}variable \"v{count}\" {{ default = v0 }}\n");
        hcl.check("variables", &text, expected);
    }
    let functions =
        lines(100, |n| format!("function \"f{n}\" {{\nparams = [x]\nresult = f{}(x)\n}}", (n + 1) % 100));
    hcl.check("functions", &format!("{functions}x = f0(1)"), "bake::circle: the function `f0` calls itself");
}

#[test]
fn graphs_are_bounded() {
    let hcl = Hcl::new();
    let parents = lines(2_000, |n| format!("target \"t{n}\" {{ inherits = [\"t{}\"] }}", n + 1));
    let text = format!("{parents}target \"t2000\" {{}}\n");
    hcl.check("a long chain", &text, "bake::target: `inherits` goes deeper than 300 targets");
    let chain = lines(250, |n| format!("target \"p{n}\" {{ inherits = [\"p{}\"] }}", n + 1));
    let heirs = lines(5_000, |n| format!("target \"t{n}\" {{ inherits = [\"p0\"] }}"));
    let text = format!("{chain}target \"p250\" {{}}\n{heirs}");
    hcl.check("heirs", &text, "bake::too-much: the targets inherit from more than 50000 others in all");
    let linked = |n: usize| {
        format!(
            "target \"l{n}\" {{ contexts = {{ a = \"target:l{0}\", b = \"target:m{0}\" }} }}\ntarget \"m{n}\" {{ contexts = {{ a = \"target:l{0}\", b = \"target:m{0}\" }} }}",
            n + 1
        )
    };
    let text = format!("{}target \"l60\" {{}}\ntarget \"m60\" {{ context = \"-\" }}\n", lines(60, linked));
    hcl.check("links that double", &text, "bake::stdin: bake reads no context from standard input");
    let groups = lines(10_000, |n| format!("group \"g{n}\" {{ targets = [\"g{}\"] }}", n + 1));
    hcl.check(
        "groups",
        &format!("{groups}group \"g10000\" {{ targets = [\"none\"] }}\n"),
        "bake::target: groups are nested deeper than 300 levels",
    );
    let targets = lines(15_000, |n| format!("target \"t{n}\" {{ context = \"-\" }}"));
    hcl.check("targets", &targets, "bake::stdin: bake reads no context from standard input");
    let json: Vec<String> = (0..15_000).map(|n| format!("\"t{n}\": {{ \"context\": \"-\" }}")).collect();
    let json = format!("{{ \"target\": {{ {} }} }}", json.join(", "));
    hcl.0.imports(
        "x.json",
        "JSON targets",
        &json,
        &Memory::default(),
        "bake::stdin: bake reads no context from standard input",
    );
}
