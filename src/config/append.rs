//! `append`: entries that are added to the lists of weaker layers.

use toml::de::DeTable;

use super::declare::Layer;
use super::keys::Section;
use super::read::read_layer_key;
use super::shape::{self, Shape};
use super::table::{Key, Reader, Role, Value};
use crate::diag::Problem;

/// Where an `append` stands: its keys, and the keys beside it.
pub type Owner = (Section, Section);
pub const TARGET: Owner = (Section::Append, Section::Target);
pub const GROUP: Owner = (Section::GroupAppend, Section::Group);

/// Reads the table `value`, which stands under `append` in `table`.
pub fn read(
    reader: &mut Reader<'_>,
    (own, owner): Owner,
    table: &DeTable<'_>,
    value: &Value<'_>,
) -> Option<Box<Layer>> {
    let mut layer = Layer::default();
    for (key, value) in reader.table("append", value)? {
        let name = key.get_ref().as_ref();
        if let Some((first, _)) = table.iter().find(|(known, _)| known.get_ref() == key.get_ref()) {
            both(reader, key, first);
        }
        match (name, shape::of(own, name), shape::of(owner, name)) {
            ("images", Some(_), _) => layer.images = reader.texts("images", value, Role::Template),
            (_, Some(_), _) => read_layer_key(reader, &mut layer, key, value),
            (_, None, Some(shape)) => not_a_list(reader, key, shape),
            (_, None, None) => reader.unknown_key(own, key),
        }
    }
    Some(Box::new(layer))
}

fn both(reader: &mut Reader<'_>, key: &Key<'_>, first: &Key<'_>) {
    let name = key.get_ref();
    let (place, first) = (reader.place(key.span()), reader.place(first.span()));
    reader.report(
        Problem::input("config::conflict", format!("`{name}` and `append.{name}` are in one table"))
            .at(place, "added to what is said here")
            .at(first, "already said here")
            .help(format!(
                "write all entries in `{name}`, which replaces, or in `append.{name}`, which adds"
            )),
    );
}

fn not_a_list(reader: &mut Reader<'_>, key: &Key<'_>, shape: Shape) {
    let name = key.get_ref();
    let help = match shape {
        Shape::Table => format!("the entries of `{name}` are added to the weaker layers' anyway: `{name}.…`"),
        _ => format!("write `{name} = …`, which replaces"),
    };
    let place = reader.place(key.span());
    reader.report(
        Problem::input("config::append", format!("`{name}` is not a list, so nothing can be added to it"))
            .at(place, "not a list")
            .help(help),
    );
}
