//! Bake's variables as `[var.NAME]`: type, default, environment, help, and what must hold of the value.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::comments;
use super::renderer::{Renderer, var_value};
use super::translate::Translator;
use crate::config::import::bake::{Definitions, Resolver, VariableDefinition};
use crate::config::import::hcl::{Body, Expression, ExpressionKind, Value, mentions};
use crate::config::value::{Scalar, VarType, VarValue};
use crate::config::write::Tree;
use crate::config::write::{Item, Kind, Section};
use crate::diag::Place;

/// Variables that can be written down.
#[derive(Default)]
pub struct Variables {
    /// Our names by bake's.
    pub names: BTreeMap<Rc<str>, String>,
    pub values: Vec<(String, VarValue)>,
    pub sections: Vec<Section>,
    /// What is said of the others.
    pub remarks: Vec<String>,
}

/// Everything but `validate`, which needs the values of all.
pub fn collect(definitions: &Definitions, resolver: &Resolver<'_>) -> Variables {
    let mut variables = Variables::default();
    let mut declared: Vec<(&Place, &Rc<str>)> = definitions
        .variables
        .iter()
        .map(|(name, variable)| (&variable.place, name))
        .chain(
            definitions
                .values
                .iter()
                .filter(|(_, value)| is_constant(&value.value))
                .map(|(name, value)| (&value.place, name)),
        )
        .collect();
    declared.sort_by_key(|(place, _)| (place.source.name.clone(), place.span.start));
    declared.dedup_by(|a, b| a.1 == b.1);
    for (place, name) in declared {
        let value = resolver.environment.variables.get(name);
        let Some(value) = value.and_then(var_value) else {
            variables.remarks.push(format!(
                "the variable `{name}` ({}) has no value by default; what uses it is written as it comes out \
                 without one",
                comments::at(place)
            ));
            continue;
        };
        let ours = our_name(name, &variables.names);
        let mut section = Section::new(Kind::Var, &ours);
        section.comments = comments::above(&place.source, place.span.start);
        match definitions.variables.get(name).filter(|_| !definitions.values.contains_key(name)) {
            Some(variable) => describe(&mut section, name, variable, &value),
            None => section.put(Item::new("default", value_tree(&value))),
        }
        variables.names.insert(name.clone(), ours.clone());
        variables.values.push((ours, value));
        variables.sections.push(section);
    }
    variables
}

pub fn is_constant(expression: &Expression) -> bool {
    let mentioned = mentions(expression);
    mentioned.variables.is_empty() && mentioned.functions.is_empty()
}

/// Lower case, as variables are written here, unless two names would be one.
fn our_name(name: &str, taken: &BTreeMap<Rc<str>, String>) -> String {
    let fitting = name.replace('-', "_");
    let lower = fitting.to_lowercase();
    let is_taken = |name: &String| taken.values().any(|known| known == name);
    let mut candidates = [lower, fitting].into_iter().filter(|name| !is_taken(name));
    candidates.next().unwrap_or_else(|| format!("{}_{}", name.replace('-', "_"), taken.len()))
}

fn describe(section: &mut Section, name: &str, variable: &VariableDefinition, value: &VarValue) {
    let declared = variable.body.attribute("type");
    let kind = declared.and_then(|kind| type_word(&kind.value, value));
    if let Some(kind) = kind {
        section.put(Item::new("type", Tree::text(kind)));
    }
    let mut default = Item::new("default", value_tree(value));
    if let Some(written) = variable.body.attribute("default").filter(|written| !is_constant(&written.value)) {
        let text = comments::excerpt(&variable.source, &written.value.span);
        default = default.noted([format!(
            "`{text}` ({}): a default here is a plain value, so this is what it comes to",
            comments::at(&Place::new(&variable.source, written.value.span.clone()))
        )]);
    }
    section.put(default);
    let is_plain = matches!(value, VarValue::Scalar(_));
    if is_plain || declared.is_some() {
        section.put(Item::new("env", Tree::text(name)));
    }
    if let Some(help) = variable.body.attribute("description").and_then(|text| text.value.literal_text()) {
        section.put(Item::new("help", Tree::text(help)));
    }
}

/// The type, where the default does not tell it.
fn type_word(declared: &Expression, value: &VarValue) -> Option<&'static str> {
    match (declared.keyword(), VarType::of(value)) {
        (Some("number"), _) => Some("number"),
        (Some("any"), _) | (_, VarType::String | VarType::Int | VarType::Bool) => None,
        (_, VarType::List | VarType::Map | VarType::Number) => None,
    }
}

pub fn value_tree(value: &VarValue) -> Tree {
    match value {
        VarValue::Scalar(Scalar::Text(text)) => Tree::text(text),
        VarValue::Scalar(Scalar::Integer(number)) => Tree::Number(number.to_string()),
        VarValue::Scalar(Scalar::Boolean(flag)) => Tree::Flag(*flag),
        VarValue::List(members) => Tree::List(members.iter().map(value_tree).collect()),
        VarValue::Map(members) => {
            Tree::Table(members.iter().map(|(key, member)| (key.clone(), value_tree(member))).collect())
        }
    }
}

/// Adds what bake's `validation` blocks say.
pub fn add_rules(
    sections: &mut [Section],
    definitions: &Definitions,
    translator: &mut Translator<'_>,
    renderer: &Renderer<'_>,
) {
    for (name, variable) in &definitions.variables {
        let Some(ours) = translator.variables.get(name) else { continue };
        let Some(section) = sections.iter_mut().find(|section| section.name == *ours) else { continue };
        let rules = variable.body.blocks.iter().filter(|block| &*block.kind == "validation");
        let mut conditions = Vec::new();
        for rule in rules {
            add_rule(section, name, variable, &rule.body, &mut conditions, translator, renderer);
        }
        match conditions.len() {
            0 => {}
            1 => section.put(Item::new("validate", conditions.remove(0))),
            _ => section.put(Item::new("validate", Tree::List(conditions))),
        }
    }
}

fn add_rule(
    section: &mut Section,
    name: &str,
    variable: &VariableDefinition,
    rule: &Body,
    conditions: &mut Vec<Tree>,
    translator: &mut Translator<'_>,
    renderer: &Renderer<'_>,
) {
    let Some(condition) = rule.attribute("condition") else { return };
    let message = rule.attribute("error_message").and_then(|message| message.value.literal_text());
    if let Some(choices) = choices(name, &condition.value).filter(|_| section.item("one-of").is_none()) {
        section.put(Item::new("one-of", Tree::texts(choices)));
        return;
    }
    if let Some(pattern) = pattern(name, &condition.value).filter(|_| section.item("pattern").is_none()) {
        section.put(Item::new("pattern", Tree::text(pattern)));
        if let (None, Some(message)) = (section.item("help"), message) {
            section.put(Item::new("help", Tree::text(message)));
        }
        return;
    }
    let written = translator.condition(&condition.value).map(|code| code.text);
    if let Some(written) = written.filter(|written| renderer.holds(written)) {
        let mut table = vec![("condition".to_string(), Tree::text(written))];
        table.extend(message.map(|message| ("message".to_string(), Tree::text(message))));
        conditions.push(Tree::Table(table));
        return;
    }
    let place = Place::new(&variable.source, condition.value.span.clone());
    section.comments.push(format!(
        "not carried over ({}): the validation `{}`",
        comments::at(&place),
        comments::excerpt(&variable.source, &condition.value.span)
    ));
}

/// `contains(["a", "b"], NAME)`, or `NAME == "a" || NAME == "b"`.
fn choices(name: &str, condition: &Expression) -> Option<Vec<String>> {
    use crate::config::import::hcl::BinaryOperator;
    match &condition.kind {
        ExpressionKind::Parentheses(inner) => choices(name, inner),
        ExpressionKind::Call(call) if &*call.name == "contains" => {
            let [list, member] = call.arguments.as_slice() else { return None };
            let ExpressionKind::Tuple(members) = &list.kind else { return None };
            is_variable(name, member).then_some(())?;
            members.iter().map(|member| member.literal_text().map(str::to_string)).collect()
        }
        ExpressionKind::Binary(BinaryOperator::Or, sides) => {
            let (mut left, right) = (choices(name, &sides[0])?, choices(name, &sides[1])?);
            left.extend(right);
            Some(left)
        }
        ExpressionKind::Binary(BinaryOperator::Equal, sides) if is_variable(name, &sides[0]) => {
            Some(vec![sides[1].literal_text()?.to_string()])
        }
        _ => None,
    }
}

/// `can(regex("^…$", NAME))`
fn pattern(name: &str, condition: &Expression) -> Option<String> {
    let ExpressionKind::Call(can) = &condition.kind else { return None };
    let [ExpressionKind::Call(regex)] = [&can.arguments.first()?.kind] else { return None };
    let [pattern, text] = regex.arguments.as_slice() else { return None };
    let fits = &*can.name == "can" && &*regex.name == "regex" && is_variable(name, text);
    let pattern = pattern.literal_text().filter(|_| fits)?.strip_prefix('^')?.strip_suffix('$')?;
    Some(pattern.to_string())
}

fn is_variable(name: &str, expression: &Expression) -> bool {
    matches!(&expression.kind, ExpressionKind::Variable(variable) if &**variable == name)
}

/// Whether the value is a text or can be written as one.
pub fn text_of(value: &Value) -> Option<String> {
    use crate::config::import::hcl::{Type, convert};
    convert(value, &Type::String).ok()?.as_str().map(str::to_string)
}
