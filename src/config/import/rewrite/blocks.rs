//! Bake's groups and targets as sections, in the order of their files.

use std::collections::BTreeMap;

use minijinja::value::Value as MatrixValue;

use super::attributes::{Attributes, BlockTarget, Found, Written};
use super::comments;
use super::renderer::{Renderer, var_value};
use super::translate::Translator;
use super::variables::{is_constant, value_tree};
use crate::config::import::bake::{
    BlockDefinition, BlockKind, Definitions, Locals, Resolver, TARGET_ATTRIBUTES,
};
use crate::config::import::hcl::{Expression, ExpressionKind};
use crate::config::value::VarValue;
use crate::config::write::Tree;
use crate::config::write::{Document, Item, Kind, Section};
use crate::diag::Place;

/// Attributes that are added to those of the same target before, instead of replacing them.
pub const ADDED: [&str; 9] = [
    "annotations",
    "attest",
    "cache-from",
    "entitlements",
    "no-cache-filter",
    "policy",
    "secret",
    "ssh",
    "ulimits",
];

pub struct Blocks<'a, 'd, 'e> {
    pub definitions: &'d Definitions,
    pub resolver: Resolver<'d>,
    pub translator: Translator<'d>,
    pub renderer: Renderer<'e>,
    pub document: &'a mut Document,
    /// Targets whose matrix has to be written out.
    pub inherited: Vec<String>,
}

impl Blocks<'_, '_, '_> {
    pub fn write(&mut self) {
        for (at, block) in self.definitions.blocks.iter().enumerate() {
            match block.kind {
                BlockKind::Group => self.group(at, block),
                BlockKind::Target => self.target(at, block),
            }
        }
    }

    fn group(&mut self, at: usize, block: &BlockDefinition) {
        let Some(group) = self.resolver.expansions(at).first().map(|expansion| &expansion.group) else {
            return;
        };
        let mut section = Section::new(Kind::Group, &group.name);
        section.comments = comments::above(&block.source, block.label_span.start);
        let mut targets = group.targets.clone();
        let mut seen = std::collections::BTreeSet::new();
        targets.retain(|name| seen.insert(name.clone()));
        let mut item = Item::new("targets", Tree::texts(targets));
        let written = block.body.attribute("targets").filter(|written| !is_constant(&written.value));
        item.comments.extend(written.map(|written| {
            format!(
                "`{}` ({}): the members of a group are plain names, so these are what it comes to",
                comments::excerpt(&block.source, &written.value.span),
                comments::at(&Place::new(&block.source, written.value.span.clone()))
            )
        }));
        section.put(item);
        if !group.description.is_empty() {
            section.put(Item::new("description", Tree::text(&group.description)));
        }
        match self.document.section_mut(Kind::Group, &group.name) {
            Some(known) => *known = section,
            None => self.document.sections.push(section),
        }
    }

    fn target(&mut self, at: usize, block: &BlockDefinition) {
        let label = block.label.to_string();
        let Some(matrix) = block.body.attribute("matrix") else {
            // The values of one target do not vary.
            if let Ok(items) = self.items(block, &self.plain_members(at), false) {
                self.add(block, &label, items, None);
            }
            return;
        };
        let kept = self.matrix(at, block, &matrix.value);
        if let Some((matrix, members)) = kept
            && let Ok(items) = self.items(block, &members, false)
        {
            self.add(block, &label, items, Some(matrix));
            return;
        }
        self.expanded(at, block, &matrix.value);
    }

    fn plain_members(&self, at: usize) -> Vec<BlockTarget> {
        let expansions = self.resolver.expansions(at).iter();
        expansions
            .map(|one| BlockTarget { name: one.name.to_string(), locals: one.locals.clone(), matrix: None })
            .collect()
    }

    /// One section for each target of a matrix, and a group of them.
    fn expanded(&mut self, at: usize, block: &BlockDefinition, matrix: &Expression) {
        let place = comments::at(&Place::new(&block.source, matrix.span.clone()));
        let mut names = Vec::new();
        for member in self.plain_members(at) {
            let name = member.name.clone();
            let Ok(items) = self.items(block, &[member], true) else { continue };
            self.add(block, &name, items, None);
            names.push(name);
        }
        if names.as_slice() == [block.label.to_string()] {
            return;
        }
        let mut group = Section::new(Kind::Group, &*block.label);
        group.comments.push(format!("the targets of the matrix ({place}), which is written out"));
        group.put(Item::new("targets", Tree::texts(names)));
        if self.document.section(Kind::Group, &block.label).is_none() {
            self.document.sections.push(group);
        }
    }

    /// The matrix as a value, with its targets; nothing where templates cannot say the same.
    fn matrix(
        &mut self,
        at: usize,
        block: &BlockDefinition,
        matrix: &Expression,
    ) -> Option<(Item, Vec<BlockTarget>)> {
        let name = block.body.attribute("name")?;
        let mut members = Vec::new();
        for expansion in self.resolver.expansions(at) {
            let matrix = matrix_value(&expansion.locals)?;
            let name = expansion.name.to_string();
            members.push(BlockTarget { name, locals: expansion.locals.clone(), matrix: Some(matrix) });
        }
        let is_inherited = |name: &String| members.iter().any(|member| member.name == *name);
        let is_alone = members.iter().any(|member| member.name == *block.label);
        let blocks = &self.definitions.blocks;
        let is_split = blocks.iter().filter(|other| other.label == block.label).count() > 1;
        if members.is_empty() || is_alone || is_split || self.inherited.iter().any(is_inherited) {
            return None;
        }
        let (axes, said) = self.axes(block, matrix)?;
        let template = self.matrix_name(block, &name.value, &members)?;
        let table = vec![("axes".to_string(), Tree::Table(axes)), ("name".to_string(), Tree::text(template))];
        Some((Item::new("matrix", Tree::Table(table)).noted(said), members))
    }

    /// Names and values, and what is said about them.
    fn axes(&mut self, block: &BlockDefinition, matrix: &Expression) -> Option<Axes> {
        let value = self.resolver.evaluate(&block.source, matrix, &Locals::new()).ok()?;
        let (mut axes, mut said) = (Vec::new(), Vec::new());
        for (axis, values) in value.entries()? {
            let values: Option<Vec<VarValue>> =
                values.iterate()?.iter().map(|(_, value)| var_value(value)).collect();
            let values = values.filter(|values| !values.is_empty())?;
            let listed = Tree::List(values.iter().map(value_tree).collect());
            let written = axis_value(matrix, axis);
            let variable = written.and_then(|written| match &written.kind {
                ExpressionKind::Variable(name) => self.translator.variables.get(name),
                _ => None,
            });
            if let Some(written) = written.filter(|written| variable.is_none() && !is_constant(written)) {
                said.push(format!(
                    "`{}` ({}): the values of an axis are plain, so these are what it comes to",
                    comments::excerpt(&block.source, &written.span),
                    comments::at(&Place::new(&block.source, written.span.clone()))
                ));
            }
            let expression = variable.map(|name| Tree::text(format!("{{{{ vars.{name} }}}}")));
            axes.push((axis.replace('-', "_"), expression.unwrap_or(listed)));
        }
        Some((axes, said))
    }

    fn matrix_name(
        &mut self,
        block: &BlockDefinition,
        name: &Expression,
        members: &[BlockTarget],
    ) -> Option<String> {
        let locals = members.iter().flat_map(|member| &member.locals);
        self.translator.locals = locals
            .map(|(name, _)| {
                let code = super::translate::Code::atom(format!("matrix.{}", name.replace('-', "_")));
                (name.clone(), code)
            })
            .collect();
        let template = self.translator.string(name)?;
        let own = template.strip_prefix(&*block.label).filter(|rest| rest.starts_with('-'));
        let template = own.map_or(template.clone(), |rest| format!("{{{{ target.name }}}}{rest}"));
        let renders = |member: &BlockTarget| {
            let rendered = self.renderer.render(&template, &block.label, member.matrix.as_ref());
            rendered.as_deref() == Some(&member.name)
        };
        members.iter().all(renders).then_some(template)
    }

    fn items(
        &mut self,
        block: &BlockDefinition,
        members: &[BlockTarget],
        is_expanded: bool,
    ) -> Found<Vec<Item>> {
        let mut items = Vec::new();
        for attribute in &block.body.attributes {
            let name = &*attribute.name;
            if !TARGET_ATTRIBUTES.contains(&name) || matches!(name, "matrix" | "name") {
                continue;
            }
            let key = if name == "target" { "stage" } else { name };
            let mut attributes = Attributes {
                resolver: &mut self.resolver,
                translator: &mut self.translator,
                renderer: &self.renderer,
                source: &block.source,
                members,
                is_expanded,
            };
            let Written { value, comments: said, notes } = attributes.write(key, name, &attribute.value)?;
            let Some(value) = value else { continue };
            let above = comments::above(&block.source, attribute.name_span.start);
            let mut item = Item::new(key, value).noted(above.into_iter().chain(said));
            item.notes = notes;
            items.push(item);
        }
        let is_inline = items.iter().any(|item| item.key == "dockerfile-inline");
        items.retain(|item| !(is_inline && item.key == "dockerfile"));
        Ok(items)
    }

    /// Adds what a block says to what others have said of the same target.
    fn add(&mut self, block: &BlockDefinition, name: &str, items: Vec<Item>, matrix: Option<Item>) {
        if self.document.section(Kind::Target, name).is_none() {
            self.document.sections.push(Section::new(Kind::Target, name));
        }
        let section = self.document.section_mut(Kind::Target, name).expect("it has just been added");
        let above = comments::above(&block.source, block.label_span.start);
        section.comments.extend(above);
        for item in items.into_iter().chain(matrix) {
            merge(section, item);
        }
    }
}

/// As bake merges targets of one name.
fn merge(section: &mut Section, item: Item) {
    let Some(known) = section.item_mut(&item.key) else {
        section.items.push(item);
        return;
    };
    match (&mut known.value, item.value) {
        (Tree::Table(own), Tree::Table(other)) if item.key != "matrix" && item.key != "resources" => {
            for (name, value) in other {
                known.notes.retain(|(noted, _)| *noted != name);
                match own.iter_mut().find(|(known, _)| *known == name) {
                    Some(entry) => entry.1 = value,
                    None => own.push((name, value)),
                }
            }
            known.notes.extend(item.notes);
            known.comments.extend(item.comments);
        }
        (Tree::List(own), Tree::List(other)) if ADDED.contains(&&*item.key) || item.key == "inherits" => {
            own.extend(other.into_iter().filter(|one| !own.contains(one)).collect::<Vec<_>>());
            known.comments.extend(item.comments);
        }
        (value, other) => {
            *value = other;
            known.comments = item.comments;
        }
    }
}

fn matrix_value(locals: &Locals) -> Option<MatrixValue> {
    let values: Option<BTreeMap<String, VarValue>> =
        locals.iter().map(|(name, value)| Some((name.replace('-', "_"), var_value(value)?))).collect();
    let values = values?;
    Some(MatrixValue::from_pairs(
        values.iter().map(|(name, value)| (name.as_str(), MatrixValue::from(value))),
    ))
}

type Axes = (Vec<(String, Tree)>, Vec<String>);

/// What the file says of an axis, if it says it in place.
fn axis_value<'x>(matrix: &'x Expression, axis: &str) -> Option<&'x Expression> {
    let ExpressionKind::Object(items) = &matrix.kind else { return None };
    let is_axis = |key: &Expression| match &key.kind {
        ExpressionKind::Literal(value) => value.as_str() == Some(axis),
        _ => key.literal_text() == Some(axis),
    };
    items.iter().find(|item| is_axis(&item.key)).map(|item| &item.value)
}
