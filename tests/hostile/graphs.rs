//! multiarch.toml: what targets and groups say of each other, and what one declaration makes of itself.

use crate::meter::{Meter, lines};

#[test]
fn inheritance_is_bounded() {
    let meter = Meter::new();
    let chain = |count: usize, last: &str| {
        lines(count, |n| format!("[target.t{n}]\ninherits = [\"t{}\"]", n + 1))
            + &format!("[target.t{count}]\n{last}")
    };
    meter.toml("a long chain", &chain(5_000, ""), "config::too-deep: `inherits` goes deeper than 64 targets");
    meter.toml(
        "a long circle",
        &chain(5_000, "inherits = [\"t0\"]"),
        "config::too-deep: `inherits` goes deeper than 64 targets",
    );
    meter.toml(
        "a circle",
        &chain(2, "inherits = [\"t0\"]"),
        "config::cycle: `inherits` runs in a circle: t0 → t1 → t2 → t0",
    );
    let parents: Vec<String> = (0..5_000).map(|n| format!("\"_p{n}\"")).collect();
    let heirs = lines(5_000, |n| format!("[target._p{n}]\n[target.t{n}]\ninherits = [\"_all\"]"));
    let wide = format!("[target._all]\ninherits = [{}]\n{heirs}", parents.join(", "));
    meter.toml("many parents", &wide, "config::too-many: `_all` inherits from more than 256 targets");
    let grid = lines(60, |n| {
        let above: Vec<String> = (0..4).map(|c| format!("\"_g{}x{c}\"", n + 1)).collect();
        lines(4, |c| format!("[target._g{n}x{c}]\ninherits = [{}]", above.join(", ")))
    });
    let top = lines(4, |c| format!("[target._g60x{c}]"));
    let heirs = lines(10_000, |n| format!("[target.t{n}]\ninherits = [\"_g0x0\"]"));
    meter.toml(
        "a grid of parents",
        &format!("{grid}{top}{heirs}"),
        "config::too-many: the targets have more than 500000 values together",
    );
}

#[test]
fn groups_are_bounded() {
    let meter = Meter::new();
    let chain = |count: usize, last: &str| {
        lines(count, |n| format!("[group.g{n}]\ntargets = [\"g{}\"]", n + 1))
            + &format!("[group.g{count}]\ntargets = [{last}]\n[target.a]\n")
    };
    meter.toml("a long chain", &chain(5_000, "\"a\""), "config::too-deep: groups go deeper than 64");
    meter.toml("a circle", &chain(2, "\"g0\""), "config::cycle: groups run in a circle: g0 → g1 → g2 → g0");
    let all: Vec<String> = (0..300).map(|n| format!("\"g{n}\"")).collect();
    let net = lines(300, |n| format!("[group.g{n}]\ntargets = [{}]", all.join(", ")));
    meter.toml("all in all", &net, "config::too-many: there are more than 500 problems");
    let targets = lines(5_000, |n| format!("[target.t{n}]"));
    let members: Vec<String> = (0..5_000).map(|n| format!("\"t{n}\"")).collect();
    let saying = lines(5_000, |n| format!("[group.g{n}]\ntargets = [\"all\"]\npush = true"));
    let text = format!("{targets}[group.all]\ntargets = [{}]\n{saying}", members.join(", "));
    meter.toml(
        "groups that speak of all",
        &text,
        "config::too-many: the groups say more than 500000 things about their members",
    );
    let patterns = vec!["\"t*\""; 20_000].join(", ");
    let text = format!("{targets}[group.all]\ntargets = [{patterns}]\n");
    meter.toml(
        "patterns",
        &text,
        "config::too-many: the groups say more than 500000 things about their members",
    );
    let unknown: Vec<String> = (0..50_000).map(|n| format!("\"tt{n}\"")).collect();
    let text = format!("{targets}[group.all]\ntargets = [{}]\n", unknown.join(", "));
    meter.toml("unknown members", &text, "config::too-many: there are more than 500 problems");
    let groups = lines(10_000, |n| format!("[group.g{n}]\ntargets = [\"service-x{n}\", \"y{n}\"]"));
    let text = format!("{groups}{}", lines(10_000, |n| format!("[target.service-{n}]")));
    meter.toml("unknown members of many", &text, "config::too-many: there are more than 500 problems");
}

#[test]
fn circles_of_targets_are_told_shortly() {
    let meter = Meter::new();
    let circle = |line: &dyn Fn(usize) -> String| {
        lines(5_000, |n| format!("[target.t{n}]\n{}", line((n + 1) % 5_000)))
    };
    let told = "plan::cycle: targets wait for each other in a circle: `t0` → `t1` → `t2` → `t3` → `t4` → `t5` → `t6` → `t7` → `t8` → `t9` → `t10` → 4989 more → `t0`";
    meter.toml("needs", &circle(&|next| format!("needs = [\"t{next}\"]")), told);
    meter.toml("contexts", &circle(&|next| format!("contexts = {{ a = \"target:t{next}\" }}")), told);
    let pairs = lines(4_000, |n| format!("[target.t{n}]\nneeds = [\"t{}\"]", n ^ 1));
    meter.toml("pairs", &pairs, "plan::cycle: targets wait for each other in a circle: `t0` → `t1` → `t0`");
    let same = lines(10_000, |n| format!("[target.t{n}]\ntags = [\"a/b:c\"]"));
    let told = "plan::duplicate-tag: `t0`, `t1`, `t10`, `t100`, `t1000`, `t1001`, `t1002`, `t1003`, `t1004`, `t1005` and \
                9990 more would all move the tag `a/b:c`";
    meter.toml("one tag", &same, told);
}

#[test]
fn matrices_are_bounded() {
    let meter = Meter::new();
    let axis = |name: &str, count: usize| {
        let values: Vec<String> = (0..count).map(|n| format!("\"{n}\"")).collect();
        format!("{name} = [{}]\n", values.join(", "))
    };
    let many = "config::too-many: the matrix has more than 1024 combinations";
    let axes: String = (0..10).map(|n| axis(&format!("a{n}"), 10)).collect();
    meter.toml("many axes", &format!("[target.a.matrix.axes]\n{axes}"), many);
    meter.toml("a long axis", &format!("[target.a.matrix.axes]\n{}", axis("a", 200_000)), many);
    let all = lines(40, |n| format!("[target.t{n}.matrix.axes]\n{}{}", axis("a", 32), axis("b", 32)));
    meter.toml("many matrices", &all, "config::too-many: there are more than 20000 targets");
    let long = format!("a = [\"x\"]\n{}b = [[{}]]\n", axis("c", 1_000), vec!["\"y\""; 100_000].join(", "));
    meter.toml(
        "long values",
        &format!("[target.t.matrix.axes]\n{long}"),
        "config::too-many: the combinations of the matrix have more than 100000 values",
    );
    let entries = vec!["{ a = \"1\" }"; 100_000].join(", ");
    for key in ["include", "exclude"] {
        let text =
            format!("[target.t.matrix]\n{key} = [{entries}]\n[target.t.matrix.axes]\n{}", axis("a", 1_000));
        meter.toml(key, &text, &format!("config::too-many: `{key}` of a matrix has more than 1024 entries"));
    }
}
