//! Templates that ask for too much.

use std::fmt::Write as _;

use crate::meter::{Meter, lines};

/// A target with `count` arguments, and a variable of 64 KiB.
fn arguments(count: usize, value: impl Fn(usize) -> String) -> String {
    let mut text = format!("[vars]\nlong = \"{}\"\n[target.app.args]\n", "x".repeat(64 << 10));
    for number in 0..count {
        let _ = writeln!(text, "A{number} = \"{}\"", value(number));
    }
    text
}

#[test]
fn text_is_bounded() {
    let meter = Meter::new();
    let too_long = "config::template-size: the texts of this run are too long together";
    meter.toml("one text", &arguments(100_000, |_| "{{ vars.long }}".to_string()), too_long);
    let each = |number| format!("{{{{ vars.long }}}}{number}");
    meter.toml(
        "many texts",
        &arguments(100_000, each),
        "config::template-size: the rendered text is too long",
    );
    let half = "{{ vars.long[:30000] }}{{ vars.long[:30000] }}";
    meter.toml("texts of others", &arguments(20_000, |number| format!("{half}{number}")), too_long);
}

#[test]
fn work_is_bounded() {
    let meter = Meter::new();
    let too_much = "config::template: the templates of this run do too much";
    let joined = vec!["vars.long"; 300].join(" ~ ");
    let length = |number| format!("{{{{ ({joined} ~ {number}) | length }}}}");
    meter.toml("joined", &arguments(2_000, length), too_much);
    let compared = |number| format!("{{{{ ({joined} ~ {number}) == 'x' }}}}");
    meter.toml("compared", &arguments(2_000, compared), too_much);
    let hashed = " | sha256".repeat(100);
    let short = format!("{} | lower", " | upper | lower".repeat(100));
    let filtered = |number| format!("{{{{ (vars.long{short}{hashed})[:{number}] }}}}");
    meter.toml("filtered", &arguments(2_000, filtered), too_much);
    let split = "{{ vars.long | split('') | join | split('') | join | split('') | join | length }}";
    meter.toml("split", &arguments(20_000, |number| format!("{split}{number}")), too_much);
    let pattern = "{{ vars.long is matching('(a|b|c){20}$') }}";
    meter.toml("matched", &arguments(20_000, |number| format!("{pattern}{number}")), too_much);
}

#[test]
fn variables_do_not_grow_out_of_each_other() {
    let meter = Meter::new();
    meter.toml(
        "a long value",
        &format!("[vars]\nlong = \"{}\"\n", "x".repeat((64 << 10) + 1)),
        "config::too-long: a value has 65537 bytes, and at most 65536 are taken",
    );
    // A variable is no template: there is nothing to expand.
    let doubled = lines(40, |n| format!("v{} = \"{{{{ vars.v{n} }}}}{{{{ vars.v{n} }}}}\"", n + 1));
    let text = format!("[vars]\nv0 = \"x\"\n{doubled}");
    meter.toml("variables that name each other", &text, "config::no-template: `vars` is not a template");
}

#[test]
fn rules_for_tags_are_bounded() {
    let meter = Meter::new();
    let too_much = "config::template: the templates of this run do too much";
    let different = |form: &dyn Fn(usize) -> String| {
        format!("[target.app]\ntag-rules = '''\n{}'''\n", lines(100_000, form))
    };
    meter.toml("expressions", &different(&|n| format!("type=match,pattern=x{n},value=x")), too_much);
    meter.toml("rules", &different(&|n| format!("type=raw,value={n}")), too_much);
    let heirs = |rule: &str| {
        let rules = lines(400, |_| rule.to_string());
        let heirs = lines(19_000, |n| format!("[target.a{n}]\ninherits = [\"_t\"]"));
        format!("[target._t]\ntag-rules = '''\n{rules}'''\n{heirs}")
    };
    let too_many = "config::too-many: the targets have more than 500000 values together";
    meter.toml("heirs", &heirs("type=raw,value=x"), too_many);
}

#[test]
fn tag_rules_are_bounded() {
    let meter = Meter::new();
    let rule =
        |rule: &str| format!("[target.app]\nimage = \"registry.example/app\"\ntag-rules = [{{ {rule} }}]\n");
    let long = format!("raw = '{}'", "{{branch}}".repeat(7_000));
    meter.toml("long", &rule(&long), "config::bad-tag-rule: the pattern is longer than 65536 bytes");
    let heirs = lines(500, |n| format!("[target.t{n}]\ninherits = [\"app\"]"));
    let too_slow = "config::bad-tag-rule: the regular expression takes too long";
    let slow = rule(&format!("match = '(?=(a+)+$)(a|a)*b\\1', value = '{}'", "a".repeat(64)));
    meter.toml("slow", &slow, too_slow);
    meter.toml("slow for many", &format!("{slow}{heirs}"), too_slow);
    let (open, close) = ("{{#each @root.build}}".repeat(7), "{{/each}}".repeat(7));
    let build = vec!["a"; 100].join(".");
    let round = rule(&format!("semver = '{open}x{close}', value = '1.0.0+{build}'"));
    let too_many = "config::bad-tag-rule: the pattern goes through more than 10000 pieces";
    meter.toml("round and round", &round, too_many);
    meter.toml("round and round for many", &format!("{round}{heirs}"), too_many);
    let deep = rule(&format!("raw = '{}x{}'", "{{#if branch}}".repeat(5_000), "{{/if}}".repeat(5_000)));
    meter.toml("deep", &deep, "config::bad-tag-rule: the pattern is longer than 65536 bytes");
    let deep = rule(&format!("raw = '{}x{}'", "{{#if branch}}".repeat(500), "{{/if}}".repeat(500)));
    meter.toml("less deep", &deep, "config::bad-tag-rule: blocks are more than 16 deep");
    let inner = rule(&format!("raw = '{{{{lookup {}branch{}}}}}'", "(lookup ".repeat(500), ")".repeat(500)));
    meter.toml("inner", &inner, "config::bad-tag-rule: parentheses are more than 16 deep");
}
