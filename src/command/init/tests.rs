//! Trees of files and the file that is made of them, and what holds of all of those.

use std::path::Path;

use super::{InitOptions, init};
use crate::facts::Facts;

struct Tree(tempfile::TempDir);

impl Tree {
    /// In a folder `shop`: paths with their texts.
    fn new(files: &[(&str, &str)]) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            let path = tree.0.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        tree
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("shop")
    }

    fn made(&self) -> String {
        let mut facts = Facts::for_test();
        facts.directories.current = self.path();
        std::fs::create_dir_all(self.path()).unwrap();
        let options = InitOptions { print: true, ..InitOptions::default() };
        let made = init(&options, &facts).unwrap_or_else(|problems| panic!("{problems:#?}"));
        assert!(made.warnings.is_empty(), "{:?}", made.warnings);
        tidy(&made.text);
        made.text
    }
}

/// What a formatter would not touch.
fn tidy(text: &str) {
    assert!(text.starts_with("#:schema ") && text.ends_with('\n') && !text.ends_with("\n\n"), "{text}");
    assert!(!text.contains("\n\n\n"), "{text}");
    for line in text.lines() {
        assert_eq!(line, line.trim_end(), "{text}");
        let is_code = !line.starts_with('#') && !line.contains('"');
        assert!(!(is_code && line.trim_start().contains("  ")), "{line}");
        if let Some((key, value)) = line.split_once('=').filter(|_| is_code) {
            assert!(key.ends_with(' ') && value.starts_with(' '), "{line}");
        }
    }
    let keys = ["[project]", "[var.", "[group.", "[target."];
    let order: Vec<usize> =
        text.lines().filter_map(|line| keys.iter().position(|key| line.starts_with(key))).collect();
    assert!(order.is_sorted(), "{text}");
}

fn below(text: &str, header: &str) -> String {
    let start = text.find(&format!("{header}\n")).unwrap_or_else(|| panic!("no {header} in\n{text}"));
    let rest = &text[start + header.len() + 1..];
    rest[..rest.find("\n\n").map_or(rest.len(), |end| end + 1)].to_string()
}

#[test]
fn one_dockerfile_is_one_image() {
    let tree = Tree::new(&[("shop/Dockerfile", "FROM alpine\nCOPY a /a\n"), ("shop/a", "")]);
    let expected = "\
#:schema ./schema/multiarch.schema.json
version = 1

[project]
name = \"shop\"
# Nothing tells where the images belong: name your registry here.
image = \"registry.example.com/shop\"
platforms = [\"linux/amd64\", \"linux/arm64\"]

[var.tag]
default = \"latest\"
env = \"TAG\"
help = \"the tag of every image\"

[group.default]
targets = [\"shop\"]

[group.release]
targets = [\"default\"]
push = true

[target.shop]
tags = [\"{{ vars.tag }}\"]
";
    assert_eq!(tree.made(), expected);
}

#[test]
fn folders_and_files_name_targets() {
    let from = "FROM alpine\n";
    let tree = Tree::new(&[
        ("shop/services/api/Dockerfile", from),
        ("shop/services/web/Dockerfile", from),
        ("shop/docker/worker.Dockerfile", from),
        ("shop/Dockerfile.jobs", from),
        ("shop/admin/web/Containerfile", from),
        ("shop/node_modules/x/Dockerfile", from),
        ("shop/vendor/y/Dockerfile", from),
        ("shop/.github/Dockerfile", from),
        ("shop/README/Dockerfile.md", from),
        ("shop/notes/Dockerfile", "nothing of the kind\n"),
    ]);
    let text = tree.made();
    assert_eq!(
        below(&text, "[group.default]"),
        "targets = [\"admin-web\", \"api\", \"jobs\", \"services-web\", \"worker\"]\n"
    );
    assert_eq!(below(&text, "[target.api]"), "inherits = [\"_image\"]\ncontext = \"services/api\"\n");
    assert_eq!(below(&text, "[target.jobs]"), "inherits = [\"_image\"]\ndockerfile = \"Dockerfile.jobs\"\n");
    assert_eq!(
        below(&text, "[target.worker]"),
        "inherits = [\"_image\"]\ndockerfile = \"docker/worker.Dockerfile\"\n"
    );
    assert_eq!(
        below(&text, "[target.admin-web]"),
        "inherits = [\"_image\"]\ncontext = \"admin/web\"\ndockerfile = \"Containerfile\"\n"
    );
}

#[test]
fn the_context_is_where_the_copied_files_are() {
    let tree = Tree::new(&[
        ("shop/go.mod", ""),
        ("shop/cmd/api/Dockerfile", "FROM golang\nCOPY go.mod ./\nCOPY cmd/api cmd/api\n"),
        ("shop/cmd/web/Dockerfile", "FROM node\nCOPY package.json \\\n  ./\n"),
        ("shop/cmd/web/package.json", ""),
    ]);
    let text = tree.made();
    assert_eq!(
        below(&text, "[target.api]"),
        "inherits = [\"_image\"]\ndockerfile = \"cmd/api/Dockerfile\"\n"
    );
    assert_eq!(below(&text, "[target.web]"), "inherits = [\"_image\"]\ncontext = \"cmd/web\"\n");
}

#[test]
fn images_of_other_targets_become_contexts() {
    let tree = Tree::new(&[
        ("shop/base/Dockerfile", "FROM debian AS base\nFROM base AS final\n"),
        ("shop/api/Dockerfile", "FROM base:dev\nFROM registry.example.com/shop/tools AS t\n"),
        ("shop/tools/Dockerfile", "FROM alpine\n"),
        ("shop/nginx/Dockerfile", "FROM nginx\n"),
        ("shop/web/Dockerfile", "FROM nginx\n"),
        ("shop/a/Dockerfile", "FROM b\n"),
        ("shop/b/Dockerfile", "FROM a\n"),
    ]);
    let text = tree.made();
    assert!(below(&text, "[target.api]").contains(
        "contexts = { \"base:dev\" = \"target:base\", \"registry.example.com/shop/tools\" = \"target:tools\" }"
    ), "{text}");
    assert_eq!(below(&text, "[target.web]"), "inherits = [\"_image\"]\ncontext = \"web\"\n");
    assert!(!text.contains("target:a\"") && !text.contains("target:b\""), "{text}");
    assert!(
        text.contains("# Stages: base, final. The last one is built; `stage` picks another.\n[target.base]")
    );
}

#[test]
fn what_should_be_ignored_is_said() {
    let tree = Tree::new(&[
        ("shop/web/Dockerfile", "FROM node\n"),
        ("shop/web/node_modules/x", ""),
        ("shop/api/Dockerfile", "FROM node\n"),
        ("shop/api/node_modules/x", ""),
        ("shop/api/.dockerignore", "node_modules"),
    ]);
    let text = tree.made();
    assert!(
        text.contains("# There is no `.dockerignore` in `web`, which has node_modules.\n[target.web]"),
        "{text}"
    );
    assert_eq!(text.matches(".dockerignore").count(), 1, "{text}");
}

#[test]
fn files_of_other_tools_are_taken_over() {
    let tree = Tree::new(&[
        ("shop/compose.yaml", "services:\n  web:\n    build: ./web\n  db:\n    image: postgres\n"),
        ("shop/web/Dockerfile", "FROM alpine\n"),
    ]);
    let text = tree.made();
    let expected = "[group.default]\ntargets = [\"web\"]\n\n[group.release]\ntargets = [\"default\"]\npush = true\n\n[target.web]\ncontext = \"web\"\n";
    assert!(text.ends_with(expected), "{text}");
    // Nothing is built there, so the Dockerfiles are what there is.
    let tree = Tree::new(&[
        ("shop/compose.yaml", "services:\n  db:\n    image: postgres\n"),
        ("shop/Dockerfile", "FROM alpine\n"),
    ]);
    assert!(tree.made().contains("[target.shop]"));
}

#[test]
fn a_folder_without_anything_to_build_is_an_error() {
    let tree = Tree::new(&[("shop/README.md", "")]);
    let mut facts = Facts::for_test();
    facts.directories.current = tree.path();
    let problems = init(&InitOptions::default(), &facts).unwrap_err();
    assert!(problems[0].message.starts_with("there is nothing to build in"), "{problems:?}");
    let options = InitOptions { directory: Some("none".into()), ..InitOptions::default() };
    assert!(init(&options, &facts).unwrap_err()[0].message.contains("there is no folder"));
    assert!(!Path::new(&tree.path()).join("multiarch.toml").exists());
}
