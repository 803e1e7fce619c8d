//! `[target.X.test.NAME]` as it is written.

mod image_config;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use toml::de::DeValue;

pub use image_config::ConfigDeclaration;

use super::keys::Section;
use super::read::{NETWORKS, read_word};
use super::size;
use super::table::{Reader, Role, Value, integer};
use super::text::Text;
use crate::diag::{Located, Place, Problem};
use crate::model::{Network, Port};

/// Longer tests, and more tries of one, are slips.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
const MOST_RETRIES: i64 = 100;

#[derive(Debug)]
pub struct TestDeclaration {
    pub place: Place,
    pub action: Option<ActionDeclaration>,
    pub stdin: Option<Text>,
    pub env: BTreeMap<String, Text>,
    pub user: Option<Text>,
    pub workdir: Option<Text>,
    pub expect: ExpectationDeclaration,
    pub timeout: Option<Duration>,
    pub retries: u32,
    /// Without it the test runs for all platforms of its target.
    pub platforms: Option<Vec<Text>>,
    pub network: Network,
    pub service: Option<ServiceDeclaration>,
    pub mounts: Vec<Text>,
    pub when: Option<Text>,
}

#[derive(Debug)]
pub enum ActionDeclaration {
    Run(Vec<Text>),
    Script(Text),
}

#[derive(Debug, Default)]
pub struct ExpectationDeclaration {
    pub exit: Option<i32>,
    pub stdout: Option<Text>,
    pub stderr: Option<Text>,
    pub files: Vec<FileDeclaration>,
    pub absent: Vec<Text>,
    pub ports: Vec<Port>,
    pub config: Option<ConfigDeclaration>,
    pub max_size: Option<u64>,
    pub max_layer_size: Option<u64>,
}

#[derive(Debug)]
pub struct FileDeclaration {
    pub path: Text,
    pub mode: Option<u32>,
    pub owner: Option<Text>,
}

#[derive(Debug, Default)]
pub struct ServiceDeclaration {
    pub args: Vec<Text>,
    pub ports: Vec<Port>,
    pub log: Option<Text>,
}

impl TestDeclaration {
    fn new(place: Place) -> Self {
        Self {
            place,
            action: None,
            stdin: None,
            env: BTreeMap::new(),
            user: None,
            workdir: None,
            expect: ExpectationDeclaration::default(),
            timeout: None,
            retries: 0,
            platforms: None,
            network: Network::None,
            service: None,
            mounts: Vec::new(),
            when: None,
        }
    }
}

/// All tests of a target or an `on` table.
pub fn read(reader: &mut Reader<'_>, value: &Value<'_>) -> BTreeMap<String, TestDeclaration> {
    let mut tests = BTreeMap::new();
    for (name, value) in reader.table("test", value).into_iter().flatten() {
        let place = reader.place(name.span());
        let test = read_one(reader, place, value);
        if let (Some(name), Some(test)) = (reader.name("test", name), test) {
            tests.insert(name, test);
        }
    }
    tests
}

fn read_one(reader: &mut Reader<'_>, place: Place, value: &Value<'_>) -> Option<TestDeclaration> {
    let mut test = TestDeclaration::new(place);
    let mut actions: Vec<Place> = Vec::new();
    for (key, value) in reader.table("test", value)? {
        match key.get_ref().as_ref() {
            "run" => {
                actions.push(reader.place(key.span()));
                test.action = read_command(reader, value).or(test.action);
            }
            "script" => {
                actions.push(reader.place(key.span()));
                test.action =
                    reader.text("script", value, Role::Raw).map(ActionDeclaration::Script).or(test.action);
            }
            "stdin" => test.stdin = reader.text("stdin", value, Role::Raw),
            "env" => test.env = reader.text_table("env", value, Role::Template),
            "user" => test.user = reader.scalar_text("user", value, Role::Template),
            "workdir" => test.workdir = reader.text("workdir", value, Role::Template),
            "expect" => test.expect = read_expectation(reader, value),
            "timeout" => test.timeout = read_timeout(reader, value),
            "retries" => test.retries = read_whole(reader, "retries", value, 0, MOST_RETRIES).unwrap_or(0),
            "platforms" => test.platforms = reader.texts("platforms", value, Role::Plain),
            "network" => {
                test.network = read_word(reader, "network", value, NETWORKS).unwrap_or(Network::None);
            }
            "service" => test.service = read_service(reader, value),
            "mounts" => test.mounts = reader.texts("mounts", value, Role::Template).unwrap_or_default(),
            "when" => test.when = reader.text("when", value, Role::Condition),
            _ => reader.unknown_key(Section::Test, key),
        }
    }
    check_action(reader, &test, &actions);
    Some(test)
}

/// A test does one thing, or looks at what is in the image.
fn check_action(reader: &mut Reader<'_>, test: &TestDeclaration, actions: &[Place]) {
    if let [first, again, ..] = actions {
        reader.report(
            Problem::input("config::conflict", "a test has `run` and `script`")
                .at(again.clone(), "both cannot hold")
                .at(first.clone(), "already said here")
                .help("keep one of them, or write two tests"),
        );
    }
    let expect = &test.expect;
    let looks = [expect.files.is_empty(), expect.absent.is_empty(), expect.ports.is_empty()].contains(&false)
        || expect.max_size.or(expect.max_layer_size).is_some()
        || expect.config.is_some();
    if let Some(service) = &test.service
        && service.ports.is_empty()
        && service.log.is_none()
        && expect.ports.is_empty()
    {
        reader.report(
            Problem::input("config::missing-key", "a service needs `ports` or `log-matches`")
                .at(test.place.clone(), "nothing tells when it is ready")
                .help("write `service = { ports = [8080] }`, or `service = { log-matches = \"listening\" }`"),
        );
    }
    if actions.is_empty() && !looks && test.service.is_none() {
        reader.report(
            Problem::input("config::missing-key", "a test needs `run`, `script`, or what it expects to find")
                .at(test.place.clone(), "does nothing")
                .help("write `run = [\"…\"]`, or `expect = { files = [\"/…\"] }`"),
        );
    }
}

/// A list of words; one text alone would leave open who splits it.
fn read_command(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<ActionDeclaration> {
    if let DeValue::String(_) = value.get_ref() {
        let place = reader.place(value.span());
        reader.report(
            Problem::input("config::wrong-type", "`run` must be a list of strings, not a string")
                .at(place, "not a list of strings")
                .help("write `run = [\"/server\", \"--version\"]`, or a `script` for the image's shell"),
        );
        return None;
    }
    let words = reader.texts("run", value, Role::Template)?;
    if words.is_empty() {
        let place = reader.place(value.span());
        reader.report(Problem::input("config::bad-value", "`run` is empty").at(place, "no command"));
        return None;
    }
    Some(ActionDeclaration::Run(words))
}

fn read_expectation(reader: &mut Reader<'_>, value: &Value<'_>) -> ExpectationDeclaration {
    let mut expect = ExpectationDeclaration::default();
    for (key, value) in reader.table("expect", value).into_iter().flatten() {
        match key.get_ref().as_ref() {
            "exit" => expect.exit = read_whole(reader, "exit", value, 0, 255),
            "stdout-matches" => expect.stdout = reader.text("stdout-matches", value, Role::Template),
            "stderr-matches" => expect.stderr = reader.text("stderr-matches", value, Role::Template),
            "files" => expect.files = read_files(reader, value),
            "absent" => expect.absent = reader.texts("absent", value, Role::Plain).unwrap_or_default(),
            "max-size" => expect.max_size = read_size(reader, "max-size", value),
            "max-layer-size" => expect.max_layer_size = read_size(reader, "max-layer-size", value),
            "ports" => expect.ports = read_ports(reader, value),
            "config" => expect.config = image_config::read(reader, value),
            _ => reader.unknown_key(Section::Expect, key),
        }
    }
    expect
}

fn read_files(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<FileDeclaration> {
    let members = reader.list("files", value, "a list of paths and tables").unwrap_or_default();
    members.iter().filter_map(|member| read_file(reader, member)).collect()
}

/// A path, or a table with it.
fn read_file(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<FileDeclaration> {
    if let DeValue::String(_) = value.get_ref() {
        let path = reader.text("files", value, Role::Template)?;
        return Some(FileDeclaration { path, mode: None, owner: None });
    }
    let (mut path, mut mode, mut owner) = (None, None, None);
    for (key, value) in reader.table("files", value)? {
        match key.get_ref().as_ref() {
            "path" => path = reader.text("path", value, Role::Template),
            "mode" => mode = read_mode(reader, value),
            "owner" => owner = reader.scalar_text("owner", value, Role::Plain),
            _ => reader.unknown_key(Section::ExpectedFile, key),
        }
    }
    if path.is_none() {
        let place = reader.place(value.span());
        let problem = Problem::input("config::missing-key", "a file that is expected needs its `path`");
        reader.report(problem.at(place, "of no file"));
    }
    Some(FileDeclaration { path: path?, mode, owner })
}

fn read_mode(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<u32> {
    let text = reader.text("mode", value, Role::Plain)?;
    let mode = u32::from_str_radix(&text.value, 8).ok().filter(|mode| *mode <= 0o7777);
    if mode.is_none() {
        reader.report(
            Problem::input("config::bad-value", format!("`{}` is not a mode", text.value))
                .at(text.place(), "not a mode")
                .help("write it in octal, such as `\"0755\"`"),
        );
    }
    mode
}

fn read_size(reader: &mut Reader<'_>, key: &str, value: &Value<'_>) -> Option<u64> {
    let text = reader.scalar_text(key, value, Role::Plain)?;
    let bytes = size::parse(&text.value).filter(|bytes| *bytes > 0);
    if bytes.is_none() {
        reader.report(
            Problem::input("config::bad-value", format!("`{}` is not a size", text.value))
                .at(text.place(), "not a size")
                .help("write bytes, or `80MB`"),
        );
    }
    bytes
}

fn read_service(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<ServiceDeclaration> {
    let mut service = ServiceDeclaration::default();
    for (key, value) in reader.table("service", value)? {
        match key.get_ref().as_ref() {
            "args" => service.args = reader.texts("args", value, Role::Template).unwrap_or_default(),
            "ports" => service.ports = read_ports(reader, value),
            "log-matches" => service.log = reader.text("log-matches", value, Role::Template),
            _ => reader.unknown_key(Section::Service, key),
        }
    }
    Some(service)
}

fn read_ports(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<Port> {
    let mut ports = Vec::new();
    for member in reader.list("ports", value, "a list of ports").unwrap_or_default() {
        let Some(text) = reader.scalar_text("ports", member, Role::Plain) else { continue };
        match Port::parse(&text.value) {
            Some(port) => ports.push(port),
            None => reader.report(
                Problem::input("config::bad-value", format!("`{}` is not a port", text.value))
                    .at(text.place(), "not a port")
                    .help("write a number from 1 to 65535, or `53/udp`"),
            ),
        }
    }
    ports
}

fn read_whole<N: TryFrom<i64>>(
    reader: &mut Reader<'_>,
    key: &str,
    value: &Value<'_>,
    least: i64,
    most: i64,
) -> Option<N> {
    let DeValue::Integer(number) = value.get_ref() else {
        reader.mismatch(key, value, "a whole number");
        return None;
    };
    let found = integer(number).filter(|number| (least..=most).contains(number));
    let found = found.and_then(|number| N::try_from(number).ok());
    if found.is_none() {
        let place = reader.place(value.span());
        let message = format!("`{key}` must be a number from {least} to {most}");
        reader.report(Problem::input("config::bad-value", message).at(place, "out of range"));
    }
    found
}

/// Seconds, or a text such as `1m30s`.
fn read_timeout(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Duration> {
    let text = reader.scalar_text("timeout", value, Role::Plain)?;
    let found = parse_duration(&text.value);
    if found.is_none() {
        reader.report(
            Problem::input("config::bad-value", format!("`{}` is not a time", text.value))
                .at(text.place(), "not a time")
                .help("write seconds, or `90s`, `1m30s`; at most a day"),
        );
    }
    found
}

fn parse_duration(text: &str) -> Option<Duration> {
    let duration = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => Duration::try_from(text.parse::<SignedDuration>().ok()?).ok()?,
    };
    (duration > Duration::ZERO && duration <= LONGEST_TIMEOUT).then_some(duration)
}

/// An expression that compiles within bounds; it is for parts of what a program writes.
pub fn check_pattern(pattern: &Located<String>) -> Result<(), Problem> {
    let built = regex::RegexBuilder::new(&pattern.value).multi_line(true).size_limit(1 << 20).build();
    built.map(drop).map_err(|error| {
        // What regex says besides is the expression with a mark below, over several lines.
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
        let problem = Problem::input("config::bad-pattern", format!("not a regular expression: {reason}"));
        match &pattern.place {
            Some(place) => problem.at(place.clone(), "does not compile"),
            None => problem,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, seconds) in [
            ("30", Some(30)),
            ("90s", Some(90)),
            ("1m30s", Some(90)),
            ("2 minutes", Some(120)),
            ("0", None),
            ("-5s", None),
            ("48h", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(parse_duration(text).map(|duration| duration.as_secs()), seconds, "{text}");
        }
    }
}
