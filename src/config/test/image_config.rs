//! `expect.config` of a test: what the image's config must say.

use std::collections::BTreeMap;

use super::read_ports;
use crate::config::keys::Section;
use crate::config::table::{Reader, Role, Value};
use crate::config::text::Text;
use crate::model::Port;

/// What is not given may be anything.
#[derive(Debug, Default)]
pub struct ConfigDeclaration {
    pub user: Option<Text>,
    pub workdir: Option<Text>,
    pub stop_signal: Option<Text>,
    pub entrypoint: Option<Vec<Text>>,
    pub cmd: Option<Vec<Text>>,
    pub shell: Option<Vec<Text>>,
    pub env: BTreeMap<String, Text>,
    pub env_matches: BTreeMap<String, Text>,
    pub unset: Vec<Text>,
    pub labels: BTreeMap<String, Text>,
    pub labels_matches: BTreeMap<String, Text>,
    pub ports: Option<Vec<Port>>,
    pub volumes: Option<Vec<Text>>,
}

pub(super) fn read(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<ConfigDeclaration> {
    let mut config = ConfigDeclaration::default();
    for (key, value) in reader.table("config", value)? {
        match key.get_ref().as_ref() {
            "user" => config.user = reader.scalar_text("user", value, Role::Template),
            "workdir" => config.workdir = reader.text("workdir", value, Role::Template),
            "stop-signal" => config.stop_signal = reader.scalar_text("stop-signal", value, Role::Template),
            "entrypoint" => config.entrypoint = reader.texts("entrypoint", value, Role::Template),
            "cmd" => config.cmd = reader.texts("cmd", value, Role::Template),
            "shell" => config.shell = reader.texts("shell", value, Role::Template),
            "env" => config.env = reader.text_table("env", value, Role::Template),
            "env-matches" => config.env_matches = reader.text_table("env-matches", value, Role::Template),
            "unset" => config.unset = reader.texts("unset", value, Role::Plain).unwrap_or_default(),
            "labels" => config.labels = reader.text_table("labels", value, Role::Template),
            "labels-matches" => {
                config.labels_matches = reader.text_table("labels-matches", value, Role::Template);
            }
            "ports" => config.ports = Some(read_ports(reader, value)),
            "volumes" => config.volumes = reader.texts("volumes", value, Role::Template),
            _ => reader.unknown_key(Section::ExpectedConfig, key),
        }
    }
    Some(config)
}
