//! multiarch.toml: nesting, size, includes.

use mab::config::Entry;

use crate::meter::{Memory, Meter, lines};

#[test]
fn nesting_is_bounded() {
    let meter = Meter::new();
    let toml = |what: &str, text: String| {
        meter.toml(what, &text, "config::syntax: cannot recurse further; max recursion depth met")
    };
    toml("arrays", format!("a = {}", "[".repeat(100_000)));
    toml("closed arrays", format!("a = {}{}", "[".repeat(50_000), "]".repeat(50_000)));
    toml("tables", format!("a = {}", "{ a = ".repeat(100_000)));
    meter.toml("dotted keys", &format!("{}a = 1", "a.".repeat(100_000)), "config::syntax: recursion limit");
    meter.toml("headers", &format!("[{}a]", "a.".repeat(100_000)), "config::syntax: recursion limit");
    let value = format!("[vars]\na = {}1{}\n", "[".repeat(60), "]".repeat(60));
    meter.toml("values", &value, "config::too-deep: `vars` goes deeper than 16 values");
}

#[test]
fn sizes_are_bounded() {
    let meter = Meter::new();
    meter.toml(
        "keys",
        &lines(200_000, |n| format!("k{n} = {n}")),
        "config::too-many: there are more than 500 problems",
    );
    meter.toml(
        "targets",
        &lines(100_000, |n| format!("[target.t{n}]")),
        "config::too-many: there are more than 20000 targets",
    );
    meter.toml(
        "tables",
        &"[[target.a.secret]]\n".repeat(120_000),
        "config::too-many: there are more than 500 problems",
    );
    let name = "x".repeat(4 << 20);
    let unknown = format!("config::unknown-key: the build file has no key `{name}`");
    meter.toml("a name", &format!("{name} = 1"), &unknown);
    meter.toml(
        "problems",
        &lines(100_000, |n| format!("[target.t{n}]\nplatfroms = [\"linux/amd64\"]")),
        "config::too-many: there are more than 500 problems",
    );
    let no_value = "config::syntax: `?` is not a value: texts are in quotes";
    meter.toml("lines", &lines(200_000, |n| format!("k{n} = ?")), no_value);
    let late = lines(200_000, |n| format!("[vars.v{n}]"));
    meter.toml("a slip behind much", &format!("{late}k = ?"), no_value);
    let open = format!("[vars]\na = [\n{}", lines(200_000, |n| format!("k{n} = 1")));
    meter.toml("an open list", &open, "config::syntax: a list is not closed");
    let tokens = "config::too-many: `multiarch.toml` has more than 1500000 tokens";
    meter.toml("tokens", &lines(500_000, |n| format!("k{n} = ?")), tokens);
    meter.toml("the most tokens", &"a=".repeat(4 << 20), tokens);
    let bytes = "config::too-many: `multiarch.toml` has more than 8 MiB";
    meter.toml("bytes", &format!("# {}", "x".repeat(8 << 20)), bytes);
    let unknown = lines(10_000, |n| format!("[target.service-{n}]\nneeds = [\"service-x{n}\"]"));
    meter.toml("unknown targets", &unknown, "config::too-many: there are more than 500 problems");
}

#[test]
fn texts_are_bounded() {
    let meter = Meter::new();
    let long = "x".repeat(1 << 20);
    let heirs = lines(1_000, |n| format!("[target.t{n}]\ninherits = [\"_long\"]"));
    let too_long = "config::template-size: the texts of this run are too long together";
    meter.toml("arguments", &format!("[target._long]\nargs = {{ A = \"{long}\" }}\n{heirs}"), too_long);
    meter.toml("labels", &format!("[target._long]\nlabels = {{ A = \"{long}\" }}\n{heirs}"), too_long);
    let inline = format!("[target._long]\ndockerfile-inline = \"{long}\"\n{heirs}");
    meter.toml("Dockerfiles", &inline, too_long);
    let description = format!("[target._long]\ndescription = \"{long}\"\n{heirs}");
    meter.toml("descriptions", &description, too_long);
}

#[test]
fn values_are_bounded() {
    let meter = Meter::new();
    let too_many = "config::too-many: the targets have more than 500000 values together";
    let platforms: Vec<String> = (1..=200).map(|n| format!("\"linux/arm/v{n}\"")).collect();
    let args = lines(20_000, |n| format!("a{n} = 1"));
    let text = format!("[target.a]\nplatforms = [{}]\n[target.a.args]\n{args}", platforms.join(", "));
    meter.toml("platforms and arguments", &text, too_many);
    let heirs = lines(10_000, |n| format!("[target.t{n}]\ninherits = [\"_a\"]"));
    let text = format!("[target._a.args]\n{}\n{heirs}", lines(5_000, |n| format!("a{n} = 1")));
    meter.toml("heirs and arguments", &text, too_many);
    let names = |start: &str| (0..50_000).map(|n| format!("\"{start}{n}\"")).collect::<Vec<_>>().join(", ");
    for (what, list, removed) in [
        ("stages that are taken away", names("s"), names("no-cache-filter.s")),
        ("stages that take the place of others", names("s"), "\"args\"".to_string()),
    ] {
        let text = format!(
            "[target._a]\nargs = {{ a = \"1\" }}\nno-cache-filter = [{list}]\n[target.a]\ninherits = [\"_a\"]\n\
             remove = [{removed}]\nappend = {{ no-cache-filter = [{list}] }}\n[target.b]\nneeds = [\"nothing\"]"
        );
        meter.toml(what, &text, "config::unknown-name: there is no target `nothing`");
    }
    let images: Vec<String> = (0..2_000).map(|n| format!("\"i{n}\"")).collect();
    let tags: Vec<String> = (0..2_000).map(|n| format!("\"t{n}\"")).collect();
    let text = format!("[target.a]\nimages = [{}]\ntags = [{}]\n", images.join(", "), tags.join(", "));
    meter.toml("names", &text, "config::too-many: target `a` has more than 10000 names");
}

#[test]
fn includes_are_bounded() {
    let meter = Meter::new();
    let check = |what: &str, count: usize, file: &dyn Fn(usize) -> String, expected: &str| {
        let name = |n: usize| if n == 0 { "multiarch.toml".to_string() } else { format!("{n}.toml") };
        meter.check(what, &Memory::of((0..count).map(|n| (name(n), file(n)))), expected);
    };
    let next = |n: usize| format!("include = [\"{}.toml\"]\n", n + 1);
    check("deep includes", 5_000, &next, "config::too-deep: `include` goes deeper than 16 files");
    let circle = |n: usize| match n {
        9 => "include = [\"multiarch.toml\"]\n".to_string(),
        n => next(n),
    };
    check(
        "a circle of includes",
        10,
        &circle,
        "config::cycle: `include` runs in a circle: multiarch.toml → 1.toml → 2.toml → 3.toml → 4.toml → 5.toml → 6.toml → 7.toml → 8.toml → 9.toml → multiarch.toml",
    );
    let wide = |n: usize| if n == 0 { "include = [\"*.toml\"]\n".to_string() } else { String::new() };
    check("wide includes", 12_000, &wide, "config::too-many: more than 10000 files are included");
    let doubled = |n: usize| {
        format!(
            "include = [{{ path = \"{0}.toml\", prefix = \"a\" }}, {{ path = \"{0}.toml\", prefix = \"b\" }}]\n[target.t{n}]\n",
            n + 1
        )
    };
    check("includes that double", 16, &doubled, "config::too-many: more than 10000 files are included");
    let large = |n: usize| if n == 0 { wide(0) } else { format!("# {}", "x".repeat(1 << 20)) };
    check("large includes", 40, &large, "config::too-many: the build files are larger than 32 MiB together");
    let entry = |n| Entry { name: format!("f{n}"), is_directory: false };
    let files = Memory {
        entries: (0..600_000).map(entry).collect(),
        ..Memory::one("include = [\"*/multiarch.toml\", \"*.toml\"]\n")
    };
    meter.check(
        "a large directory",
        &files,
        "config::too-many: `*/multiarch.toml` looks at more than 500000 files",
    );
    let directory = |n| Entry { name: format!("d{n}"), is_directory: true };
    let files = Memory {
        entries: (0..40).map(directory).collect(),
        ..Memory::one("include = [\"**/multiarch.toml\"]\n")
    };
    meter.check(
        "deep directories",
        &files,
        "config::too-many: `**/multiarch.toml` looks at more than 500000 files",
    );
}
