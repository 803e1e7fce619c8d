//! SSH agents: `default`, bake's `id=path,path`, or a table.

use toml::de::DeValue;

use super::forwarded::{Forwarded, check_id};
use super::keys::Section;
use super::table::{Reader, Role, Value};
use super::text::Text;
use crate::diag::{Place, Problem};
use crate::model::SshSource;

#[derive(Debug)]
pub enum SshDeclaration {
    /// `id[=path[,path]]`
    Line(Text),
    Table {
        place: Place,
        id: Text,
        paths: Vec<Text>,
    },
}

impl SshDeclaration {
    /// The id as it is written, before templates are rendered.
    pub fn id(&self) -> &str {
        match self {
            Self::Line(text) => text.value.split_once('=').map_or(&text.value, |(id, _)| id),
            Self::Table { id, .. } => &id.value,
        }
    }
}

pub fn read(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Vec<SshDeclaration>> {
    let members = reader.list("ssh", value, "a list of agents")?;
    let mut agents = Vec::new();
    for member in members {
        match member.get_ref() {
            DeValue::String(_) => {
                agents.extend(reader.text("ssh", member, Role::Template).map(SshDeclaration::Line));
            }
            DeValue::Table(_) => agents.extend(read_table(reader, member)),
            _ => reader.mismatch("ssh", member, "a string or a table"),
        }
    }
    Some(agents)
}

fn read_table(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<SshDeclaration> {
    let place = reader.place(value.span());
    let (mut id, mut paths) = (None, Vec::new());
    for (key, value) in reader.table("ssh", value)? {
        match key.get_ref().as_ref() {
            "id" => id = reader.text("id", value, Role::Template),
            "paths" => paths = reader.texts("paths", value, Role::Template).unwrap_or_default(),
            _ => reader.unknown_key(Section::Ssh, key),
        }
    }
    if id.is_none() {
        reader.report(
            Problem::input("config::missing-key", "an `ssh` table needs an `id`")
                .at(place.clone(), "has no `id`")
                .help("write `id = \"default\"`, which mounts ask for when they name no other"),
        );
    }
    Some(SshDeclaration::Table { place, id: id?, paths })
}

/// The agent with its templates rendered; `None` when it comes out empty.
pub fn resolve(
    declared: &SshDeclaration,
    render: &impl Fn(&Text) -> Result<String, Problem>,
) -> Result<Option<Forwarded<SshSource>>, Problem> {
    let (text, place, id, paths) = match declared {
        SshDeclaration::Line(text) => {
            let line = render(text)?;
            if line.trim().is_empty() {
                return Ok(None);
            }
            let (id, paths) = line.split_once('=').unwrap_or((&line, ""));
            let paths: Vec<String> = paths.split(',').map(String::from).collect();
            (text, text.place(), id.to_string(), paths)
        }
        SshDeclaration::Table { place, id, paths } => {
            let paths = paths.iter().map(render).collect::<Result<Vec<_>, _>>()?;
            (id, place.clone(), render(id)?, paths)
        }
    };
    check_id("ssh", &id, &place)?;
    let paths: Vec<_> =
        paths.iter().filter(|path| !path.is_empty()).map(|path| text.resolve_path(path)).collect();
    let source = if paths.is_empty() { SshSource::Environment } else { SshSource::Paths(paths) };
    Ok(Some(Forwarded { id, source, place }))
}
