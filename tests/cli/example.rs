//! The example monorepo: what the README's first command does.

use crate::support::surroundings::base_with_ids;
use crate::support::{Kind, Layout, Project};

const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];

/// The digest in a row of the summary.
fn summary_row<'a>(stderr: &'a str, target: &str) -> Vec<&'a str> {
    let row = stderr.lines().find(|line| line.starts_with(&format!("{target} ")) && line.contains("linux/"));
    row.unwrap_or_else(|| panic!("no row for {target}:\n{stderr}"))
        .split("  ")
        .map(str::trim)
        .filter(|cell| !cell.is_empty())
        .collect()
}

#[test]
fn the_example_is_built_once() {
    let Some(base) = base_with_ids() else { return };
    let shop = Project::shop(&base);
    let first = shop.bake(&[]).says("done in").says("3 images");
    assert!(first.lines_with("warning:").len() <= 1, "the one about emulation, once: {}", first.stderr);
    for target in ["base", "api", "web"] {
        assert_eq!(summary_row(&first.stderr, target)[1], "linux/amd64, linux/arm64");
        let tag = format!("  · localhost:5000/shop/{target}:1.4.0 (not pushed)\n");
        assert!(first.stderr.contains(&tag), "{}", first.stderr);
    }

    let second = shop.bake(&[]).says("nothing had to be done: 3 images up to date");
    for target in ["base", "api", "web"] {
        let (before, after) = (summary_row(&first.stderr, target), summary_row(&second.stderr, target));
        assert_eq!(before[2], after[2], "the digest of {target}");
        assert_eq!(after.last(), Some(&"up to date"));
    }
    assert!(!second.stderr.contains("RUN"), "{}", second.stderr);
}

#[test]
fn images_hold_what_their_platform_made() {
    let Some(base) = base_with_ids() else { return };
    let shop = Project::shop(&base);
    shop.bake(&["api", "-o", "type=oci,dest=api.tar"]);
    let api = Layout::open(&shop.path("api.tar"));
    assert_eq!(api.platforms(), PLATFORMS);
    for (platform, machine, rounding) in
        [("linux/amd64", "x86_64", "half-up"), ("linux/arm64", "aarch64", "half-even")]
    {
        let image = api.image(platform);
        let architecture = platform.trim_start_matches("linux/");
        assert_eq!(image.text("etc/shop-machine"), format!("{machine}\n"));
        let settings = format!("architecture = {architecture}\nrounding = {rounding}\n");
        assert_eq!(image.text("etc/shop.conf"), settings);
        assert_eq!(image.config["architecture"], architecture);
        assert_eq!(image.config["os"], "linux");
        let config = &image.config["config"];
        assert_eq!(config["User"], "shop");
        assert_eq!(config["Entrypoint"], serde_json::json!(["announce", "api"]));
        assert_eq!(config["Cmd"], serde_json::json!(["httpd", "-f", "-p", "8080", "-h", "/srv/shop"]));
        assert_eq!(config["WorkingDir"], "/srv/shop");
        assert_eq!(config["ExposedPorts"], serde_json::json!({"8080/tcp": {}}));
        assert_eq!(config["Healthcheck"]["Interval"], 10_000_000_000_u64);
        assert_eq!(config["Labels"]["org.opencontainers.image.title"], "shop-api");
        assert_eq!(config["Labels"]["org.opencontainers.image.version"], "1.4.0");
        let env = config["Env"].as_array().unwrap();
        assert!(env.contains(&"SHOP_VERSION=1.4.0".into()), "{env:?}");
        let products = image.entry("srv/shop/products.json");
        assert_eq!(products.owner, (1000, 1000));
        assert_eq!(image.entry("srv/shop/cgi-bin/machine").mode & 0o7777, 0o755);
        assert_eq!(image.entry("var/lib/shop").mode & 0o7777, 0o750);
        assert!(image.text("etc/passwd").ends_with("shop:x:1000:1000:the shop:/srv/shop:/bin/sh\n"));
        assert_eq!(image.entry("bin/sh").kind, Kind::Symlink("busybox".into()));
        check_history(&image.config);
    }
    let [amd64, arm64] = PLATFORMS.map(|platform| api.image(platform));
    assert_eq!(amd64.entry("srv/shop/products.json").kind, arm64.entry("srv/shop/products.json").kind);
    assert_ne!(amd64.text("bin/busybox"), arm64.text("bin/busybox"));
}

/// As many entries with a layer as there are layers.
fn check_history(config: &serde_json::Value) {
    let history = config["history"].as_array().expect("a config has a history");
    let with_layer = history.iter().filter(|entry| entry["empty_layer"] != true).count();
    assert_eq!(with_layer, config["rootfs"]["diff_ids"].as_array().expect("a list").len(), "{history:#?}");
    let last = history.last().expect("a text")["created_by"].as_str().expect("a text");
    assert_eq!(last, "CMD [\"httpd\" \"-f\" \"-p\" \"8080\" \"-h\" \"/srv/shop\"]");
}

#[test]
fn an_edit_reruns_what_reads_it() {
    let Some(base) = base_with_ids() else { return };
    let shop = Project::shop(&base);
    let first = shop.bake(&[]);
    shop.edit("examples/shop/web/style/10-page.css", "{", "{ color: red;");
    let second = shop.bake(&[]);
    let rerun: Vec<String> = second
        .errors()
        .lines()
        .filter(|line| line.starts_with('[') && !line.ends_with("reused") && !line.ends_with("shared"))
        .filter_map(|line| line.split_once("] ").map(|(node, what)| format!("{node}] {what}")))
        .collect();
    assert!(rerun.iter().all(|line| line.starts_with("[web ")), "{rerun:#?}");
    for step in ["COPY style/*.css", "RUN cat /build/*.css", "RUN for file in *"] {
        assert!(rerun.iter().any(|line| line.contains(step)), "{step} did not run: {rerun:#?}");
    }
    for step in ["RUN <<SCRIPT", "COPY layout", "COPY pages"] {
        assert!(!rerun.iter().any(|line| line.contains(step)), "{step} ran: {rerun:#?}");
    }
    for (target, same) in [("api", true), ("base", true), ("web", false)] {
        let (before, after) = (summary_row(&first.stderr, target), summary_row(&second.stderr, target));
        assert_eq!(before[2] == after[2], same, "the digest of {target}");
    }
    // What .dockerignore leaves out is not read.
    shop.write("examples/shop/web/drafts/new.html", "a draft");
    shop.bake(&[]).says("nothing had to be done");
}
