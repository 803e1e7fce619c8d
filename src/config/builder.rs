//! `[builder.NAME]`, which the user's configuration and the build file write alike.

use std::path::PathBuf;

use super::keys::Section;
use super::read::{declared, read_word};
use super::table::{Reader, Role, Value};
use crate::base::Platform;
use crate::diag::{Place, Problem};
use crate::model::{Builder, Results, Tls, Worker};

/// The name of this machine as a builder, which nobody else can take.
pub const OWN: &str = "default";

/// All builders of a file.
pub fn read_all(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<(String, Builder)> {
    let mut found = declared(reader, "builder", "builder", value, read);
    found.retain(|(name, builder)| {
        let is_taken = name == OWN;
        if is_taken {
            reader.report(
                Problem::input("config::bad-name", format!("builder `{OWN}` is this machine"))
                    .at(builder.place.clone(), "the name is taken")
                    .help("give it another name, to be chosen with `--builder NAME`"),
            );
        }
        !is_taken
    });
    found
}

fn read(reader: &mut Reader<'_>, place: Place, value: &Value<'_>) -> Option<Builder> {
    let mut builder = Builder { place: place.clone(), workers: Vec::new(), results: Results::default() };
    let mut has_workers = false;
    for (key, value) in reader.table("builder", value)? {
        match key.get_ref().as_ref() {
            "workers" => {
                has_workers = true;
                let members = reader.list("workers", value, "a list of tables").unwrap_or_default();
                builder.workers =
                    members.into_iter().filter_map(|member| read_worker(reader, member)).collect();
            }
            "results" => {
                let word = read_word(reader, "results", value, &Results::ALL);
                builder.results = word.unwrap_or_default();
            }
            _ => reader.unknown_key(Section::Builder, key),
        }
    }
    if !has_workers {
        reader.report(
            Problem::input("config::missing-key", "a builder needs `workers`")
                .at(place, "names no worker")
                .help("write `workers = [{ endpoint = \"tcp://HOST:PORT\" }]`"),
        );
    }
    Some(builder)
}

fn read_worker(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Worker> {
    let mut worker = Worker::default();
    let mut has_endpoint = false;
    for (key, value) in reader.table("workers", value)? {
        match key.get_ref().as_ref() {
            "endpoint" => {
                let text = reader.text("endpoint", value, Role::Plain);
                has_endpoint = text.as_ref().is_none_or(|text| !text.value.is_empty());
                worker.endpoint = text.map(|text| text.value).unwrap_or_default();
            }
            "platforms" => {
                let texts = reader.texts("platforms", value, Role::Plain).unwrap_or_default();
                let parsed = texts
                    .iter()
                    .filter_map(|text| reader.parsed("config::bad-platform", text, str::parse::<Platform>));
                worker.platforms = parsed.map(|platform| platform.value).collect();
            }
            "labels" => {
                let labels = reader.text_table("labels", value, Role::Plain).into_iter();
                worker.labels = labels.map(|(name, text)| (name, text.value)).collect();
            }
            "max-parallelism" => worker.max_parallelism = parallelism(reader, value),
            "tls" => worker.tls = Some(read_tls(reader, value)),
            _ => reader.unknown_key(Section::Worker, key),
        }
    }
    if !has_endpoint {
        let place = reader.place(value.span());
        reader.report(
            Problem::input("config::missing-key", "a worker needs an `endpoint`")
                .at(place, "is nowhere")
                .help("write `endpoint = \"tcp://HOST:PORT\"`"),
        );
    }
    Some(worker)
}

/// How much at once; nothing at all would be no worker.
fn parallelism(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<u32> {
    const MOST: u32 = 1024;
    let text = reader.scalar_text("max-parallelism", value, Role::Plain)?;
    let number = text.value.parse().ok().filter(|number| (1..=MOST).contains(number));
    if number.is_none() {
        reader.mismatch("max-parallelism", value, "a number from 1 to 1024");
    }
    number
}

fn read_tls(reader: &mut Reader<'_>, value: &Value<'_>) -> Tls {
    let mut tls = Tls::default();
    for (key, value) in reader.table("tls", value).into_iter().flatten() {
        match key.get_ref().as_ref() {
            "ca" => tls.ca = path(reader, "ca", value),
            "cert" => tls.cert = path(reader, "cert", value),
            "key" => tls.key = path(reader, "key", value),
            _ => reader.unknown_key(Section::Tls, key),
        }
    }
    tls
}

/// A path, relative to the file it stands in.
pub fn path(reader: &mut Reader<'_>, key: &str, value: &Value<'_>) -> Option<PathBuf> {
    let text = reader.text(key, value, Role::Plain)?;
    Some(text.resolve_path(&text.value))
}
