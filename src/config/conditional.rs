//! Members of lists that are there only under a condition: `{ tag = "latest", when = "git.tag is defined" }`.

use toml::de::DeValue;

use super::keys::Section;
use super::table::{Reader, Role, Value};
use super::text::Text;
use crate::diag::Problem;

/// Something of a list, and the condition that leaves it out when it is false.
#[derive(Clone, Debug)]
pub struct Conditional<T> {
    pub value: T,
    pub when: Option<Text>,
}

impl<T> Conditional<T> {
    pub fn always(value: T) -> Self {
        Self { value, when: None }
    }
}

/// The texts of the list `key`, each alone or as `name` of a table.
pub fn read_texts(
    reader: &mut Reader<'_>,
    (key, name): (&str, &str),
    section: Section,
    value: &Value<'_>,
    role: Role,
) -> Option<Vec<Conditional<Text>>> {
    let members = reader.list(key, value, "a list of strings")?;
    let mut texts = Vec::new();
    for member in members {
        match member.get_ref() {
            DeValue::Table(_) => texts.extend(read_table(reader, (key, name), section, member, role)),
            _ => texts.extend(reader.text(key, member, role).map(Conditional::always)),
        }
    }
    Some(texts)
}

fn read_table(
    reader: &mut Reader<'_>,
    (key, name): (&str, &str),
    section: Section,
    value: &Value<'_>,
    role: Role,
) -> Option<Conditional<Text>> {
    let (mut text, mut when, mut has_name) = (None, None, false);
    for (key, value) in reader.table(key, value)? {
        match key.get_ref().as_ref() {
            "when" => when = reader.text("when", value, Role::Condition),
            word if word == name => {
                has_name = true;
                text = reader.text(name, value, role);
            }
            _ => reader.unknown_key(section, key),
        }
    }
    if !has_name {
        let place = reader.place(value.span());
        reader.report(
            Problem::input("config::missing-key", format!("an entry of `{key}` needs `{name}`"))
                .at(place, format!("has no `{name}`"))
                .help(format!("write `{{ {name} = \"…\", when = \"…\" }}`")),
        );
    }
    Some(Conditional { value: text?, when })
}
