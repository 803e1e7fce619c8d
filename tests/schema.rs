//! `schema/multiarch.schema.json` held against the corpus of build files: editors accept what `mab` does, and refuse
//! what has the wrong structure. And how large the corpus is.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Problems that a schema can see: keys that there are not, and values of another type or word.
const STRUCTURAL: [&str; 3] = ["config::unknown-key", "config::wrong-type", "config::missing-key"];

/// Cases whose structural fault lies where a schema cannot look, each with the reason.
const BEYOND: [(&str, &str); 2] = [
    ("output-options", "which options there are depends on the type of the output"),
    ("set", "the fault is in what the command line adds"),
];

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).expect("the corpus is part of the repository");
    let paths = entries.map(|entry| entry.expect("the corpus is readable").path());
    let mut folders: Vec<PathBuf> = paths.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the corpus is readable");
    let paths = entries.map(|entry| entry.expect("the corpus is readable").path());
    let mut files: Vec<PathBuf> =
        paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    files.sort();
    files
}

fn to_json(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(boolean) => (*boolean).into(),
        // JSON has no dates, and no key of ours is one.
        toml::Value::Datetime(date) => serde_json::json!({ "date": date.to_string() }),
        toml::Value::Array(members) => members.iter().map(to_json).collect(),
        toml::Value::Table(members) => {
            members.iter().map(|(key, value)| (key.clone(), to_json(value))).collect()
        }
    }
}

/// What the schema says against the TOML files of a case; `None` when there is none that is TOML.
fn refusals(validator: &jsonschema::Validator, case: &Path) -> Option<Vec<String>> {
    let is_toml = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
    let texts = files(case).into_iter().filter(is_toml).filter_map(|path| fs::read_to_string(path).ok());
    let documents: Vec<Value> = texts
        .filter_map(|text| text.parse::<toml::Table>().ok())
        .map(|table| to_json(&table.into()))
        .collect();
    if documents.is_empty() {
        return None;
    }
    let errors = documents.iter().flat_map(|document| validator.iter_errors(document));
    Some(errors.map(|error| format!("{} at {}", error, error.instance_path())).collect())
}

fn validator() -> jsonschema::Validator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/multiarch.schema.json");
    let schema: Value =
        serde_json::from_str(&fs::read_to_string(path).expect("the schema is there")).expect("it is JSON");
    assert!(jsonschema::meta::is_valid(&schema), "it is a schema itself");
    jsonschema::validator_for(&schema).expect("the schema is sound")
}

#[test]
fn valid_files_are_accepted() {
    let validator = validator();
    let mut wrong = Vec::new();
    for case in folders(&corpus().join("config/valid")) {
        for refusal in refusals(&validator, &case).into_iter().flatten() {
            wrong.push(format!("{}: {refusal}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_of_the_wrong_structure_are_refused() {
    let validator = validator();
    let (mut wrong, mut refused) = (Vec::new(), 0);
    for case in folders(&corpus().join("config/invalid")) {
        let name = case.file_name().expect("a name").to_string_lossy().into_owned();
        let expected = fs::read_to_string(case.join("expected.txt")).unwrap_or_default();
        let is_structural = expected.lines().any(|line| STRUCTURAL.contains(&line));
        if !is_structural || BEYOND.iter().any(|(beyond, _)| *beyond == name) {
            continue;
        }
        match refusals(&validator, &case) {
            Some(found) if found.is_empty() => wrong.push(format!("{name} is accepted")),
            Some(_) => refused += 1,
            None => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(refused >= 15, "{refused} cases have the wrong structure");
}

#[test]
fn the_corpus_of_build_files_is_large() {
    let count = |path: &str| folders(&corpus().join(path)).len();
    let own = count("config/valid") + count("config/invalid") + count("plan/valid") + count("plan/invalid");
    let is_json =
        |path: &PathBuf| path.extension().is_some_and(|end| end == "json") && !path.ends_with("print.json");
    let bake = folders(&corpus().join("bake"));
    let json = bake.iter().filter(|case| files(case).iter().any(is_json)).count();
    let compose = count("compose");
    let all = own + bake.len() + compose;
    assert!(
        all >= 300,
        "{all} cases: {own} of multiarch.toml, {} of bake files, {compose} of Compose",
        bake.len()
    );
    assert!(
        own >= 110 && bake.len() >= 110 && json >= 7 && compose >= 45,
        "{own}, {}, {json}, {compose}",
        bake.len()
    );
}
