//! One attribute of a bake block as a value of multiarch.toml: its templates where every target of the block
//! gets the same from them, else what it comes to, with a word about it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use minijinja::value::Value as MatrixValue;

use super::comments;
use super::inline;
use super::literal::{self, is_template_key};
use super::renderer::Renderer;
use super::translate::{Code, Translator};
use super::variables::{is_constant, text_of};
use crate::config::import::bake::{Locals, Resolver, set_target};
use crate::config::import::hcl::{Call, Expression, ExpressionKind as Kind, Value, mentions};
use crate::config::import::target::Target;
use crate::config::write::{Tree, escaped};
use crate::diag::{Place, Source};

/// The targets of a matrix get values that no template tells apart.
pub struct Varies;

pub type Found<T> = Result<T, Varies>;

/// One target that a block makes.
pub struct BlockTarget {
    pub name: String,
    pub locals: Locals,
    pub matrix: Option<MatrixValue>,
}

/// What an attribute comes to.
#[derive(Default)]
pub struct Written {
    pub value: Option<Tree>,
    pub comments: Vec<String>,
    pub notes: Vec<(String, String)>,
}

pub struct Attributes<'a, 'd, 'e> {
    pub resolver: &'a mut Resolver<'d>,
    pub translator: &'a mut Translator<'d>,
    pub renderer: &'a Renderer<'e>,
    pub source: &'a Arc<Source>,
    pub members: &'a [BlockTarget],
    /// There is no matrix any more: its values stand for themselves.
    pub is_expanded: bool,
}

/// An element, and the conditions on which it is there.
struct Element {
    expression: Expression,
    conditions: Conditions,
}

/// Each with what it must come to.
type Conditions = Vec<(Expression, bool)>;

impl Attributes<'_, '_, '_> {
    /// `key` is ours, `name` bake's.
    pub fn write(&mut self, key: &str, name: &str, expression: &Expression) -> Found<Written> {
        let inlined = inline::call(self.translator.definitions, expression);
        let whole = expression;
        let expression = inlined.as_ref().unwrap_or(expression);
        let structured = match key {
            "args" | "labels" | "contexts" | "extra-hosts" => self.table(key, expression)?,
            "tags" | "annotations" | "platforms" | "entitlements" | "ulimits" | "no-cache-filter"
            | "inherits" => self.list(key, expression)?,
            "secret" if self.has_typed_secrets(expression) => None,
            "output" | "cache-from" | "cache-to" | "attest" | "secret" | "ssh" | "policy" => {
                self.list(key, expression)?
            }
            "pull" | "no-cache" | "resources" => None,
            _ => Some(self.text(key, expression)?),
        };
        match structured {
            Some(written) => Ok(written),
            None => self.evaluated(key, name, whole),
        }
    }

    /// Whether `type` says of a secret what its other keys say here.
    fn has_typed_secrets(&mut self, expression: &Expression) -> bool {
        let is_typed = |value: &Value| match value {
            Value::String(text) => text.split(',').any(|field| field.trim_start().starts_with("type=")),
            Value::Object(entries) => entries.keys().any(|key| &**key == "type"),
            _ => false,
        };
        self.members.iter().any(|member| {
            let value = self.resolver.evaluate(self.source, expression, &member.locals).ok();
            let elements = value.and_then(|value| value.iterate()).unwrap_or_default();
            elements.iter().any(|(_, element)| is_typed(element))
        })
    }

    /// The whole attribute as it came out.
    fn evaluated(&mut self, key: &str, name: &str, expression: &Expression) -> Found<Written> {
        let mut found: Option<Option<Tree>> = None;
        for member in self.members {
            let value = self.resolver.evaluate(self.source, expression, &member.locals).ok();
            let mut target = Target::default();
            let set = value.is_some_and(|value| set_target(&mut target, name, &value).is_ok());
            let tree = literal::attributes(&target).into_iter().find(|(known, _)| *known == key);
            let tree = tree.map(|(_, tree)| tree).filter(|_| set);
            match &found {
                Some(known) if *known != tree => return Err(Varies),
                _ => found = Some(tree),
            }
        }
        let comments = if self.is_plain(expression) { Vec::new() } else { vec![self.note(expression)] };
        Ok(Written { value: found.flatten(), comments, notes: Vec::new() })
    }

    fn note(&self, expression: &Expression) -> String {
        self.note_with(expression, "this is its value")
    }

    fn note_with(&self, expression: &Expression, outcome: &str) -> String {
        format!(
            "`{}` ({}) has no equal here; {outcome}",
            comments::excerpt(self.source, &expression.span),
            comments::at(&Place::new(self.source, expression.span.clone()))
        )
    }

    /// Whether an expression says all by itself, or with the values of the one target it is for.
    fn is_plain(&self, expression: &Expression) -> bool {
        let mentioned = mentions(expression);
        let is_local =
            |name: &Rc<str>| self.members.iter().all(|one| one.locals.iter().any(|(known, _)| known == name));
        is_constant(expression)
            || self.is_expanded
                && mentioned.functions.is_empty()
                && mentioned.variables.iter().all(|mention| is_local(&mention.root))
    }

    fn text(&mut self, key: &str, expression: &Expression) -> Found<Written> {
        let (value, note) = self.leaf(key, expression, &[])?;
        // What says nothing is not written, but for what takes something inherited away.
        let value = value.filter(|text| !text.is_empty() || key == "context");
        let value = value.map(|text| Tree::text(if key == "context" { literal::local(&text) } else { text }));
        Ok(Written { value, comments: note.into_iter().collect(), notes: Vec::new() })
    }

    fn table(&mut self, key: &str, expression: &Expression) -> Found<Option<Written>> {
        let Some(entries) = self.entries(expression) else { return Ok(None) };
        let mut written = Written::default();
        let mut table: Vec<(String, Tree)> = Vec::new();
        for (name, value) in entries {
            let (text, note) = self.leaf(key, &value, &[])?;
            let Some(text) = text else { continue };
            let text = Tree::text(if key == "contexts" { literal::local(&text) } else { text });
            table.retain(|(known, _)| *known != name);
            written.notes.retain(|(known, _)| *known != name);
            written.notes.extend(note.map(|note| (name.clone(), note)));
            table.push((name, text));
        }
        written.value = Some(Tree::Table(table));
        Ok(Some(written))
    }

    fn list(&mut self, key: &str, expression: &Expression) -> Found<Option<Written>> {
        let Some(elements) = self.elements(expression, &Conditions::new()) else { return Ok(None) };
        let mut written = Written::default();
        let mut list = Vec::new();
        for Element { expression: element, conditions } in elements {
            if let Kind::Object(_) = element.kind {
                if !conditions.is_empty() {
                    return Ok(None);
                }
                let Some(entry) = self.entry(key, &element, &mut written)? else { return Ok(None) };
                list.push(entry);
                continue;
            }
            let is_text = self.members.iter().all(|member| {
                let value = self.resolver.evaluate(self.source, &element, &member.locals);
                value.is_ok_and(|value| value.is_null() || text_of(&value).is_some())
            });
            if !is_text {
                return Ok(None);
            }
            let (text, note) = self.leaf(key, &element, &conditions)?;
            written.comments.extend(note);
            list.extend(text.filter(|text| !text.is_empty()).map(Tree::text));
        }
        written.value = Some(Tree::List(list));
        Ok(Some(written))
    }

    /// An entry of a list as a table.
    fn entry(&mut self, key: &str, element: &Expression, written: &mut Written) -> Found<Option<Tree>> {
        let Some(entries) = self.entries(element) else { return Ok(None) };
        let mut table = Vec::new();
        for (name, value) in entries {
            if matches!(value.kind, Kind::Tuple(_) | Kind::Object(_)) {
                return Ok(None);
            }
            let (text, note) = self.leaf(key, &value, &[])?;
            written.comments.extend(note);
            table.extend(text.map(|text| (name, Tree::text(text))));
        }
        Ok(Some(Tree::Table(table)))
    }

    /// Names and values of a literal table, or of several that are merged.
    fn entries(&self, expression: &Expression) -> Option<Vec<(String, Expression)>> {
        match &expression.kind {
            Kind::Parentheses(inner) => self.entries(inner),
            Kind::Attribute(source, name) => self.entries(&*self.translator.reference(source, name)?),
            Kind::Object(items) => items
                .iter()
                .map(|item| {
                    let name = match &item.key.kind {
                        Kind::Literal(Value::String(name)) => name.to_string(),
                        _ => item.key.literal_text()?.to_string(),
                    };
                    Some((name, item.value.clone()))
                })
                .collect(),
            Kind::Call(Call { name, arguments, is_expanded: false, .. }) if &**name == "merge" => {
                let all: Option<Vec<_>> = arguments.iter().map(|argument| self.entries(argument)).collect();
                Some(all?.into_iter().flatten().collect())
            }
            _ => None,
        }
    }

    /// The elements of a literal list, of several put together, or of a choice of lists.
    fn elements(&self, expression: &Expression, conditions: &Conditions) -> Option<Vec<Element>> {
        match &expression.kind {
            Kind::Parentheses(inner) => self.elements(inner, conditions),
            Kind::Attribute(source, name) => {
                self.elements(&*self.translator.reference(source, name)?, conditions)
            }
            Kind::Tuple(elements) => Some(
                elements
                    .iter()
                    .map(|element| Element { expression: element.clone(), conditions: conditions.clone() })
                    .collect(),
            ),
            Kind::Call(Call { name, arguments, is_expanded: false, .. }) if &**name == "concat" => {
                let all: Option<Vec<_>> =
                    arguments.iter().map(|argument| self.elements(argument, conditions)).collect();
                Some(all?.into_iter().flatten().collect())
            }
            Kind::Conditional(parts) => {
                let [condition, then, otherwise] = &**parts;
                let with = |wanted| {
                    let more = (condition.clone(), wanted);
                    conditions.iter().cloned().chain([more]).collect::<Conditions>()
                };
                let mut elements = self.elements(then, &with(true))?;
                elements.extend(self.elements(otherwise, &with(false))?);
                Some(elements)
            }
            Kind::Call(_) => {
                self.elements(&inline::call(self.translator.definitions, expression)?, conditions)
            }
            _ => None,
        }
    }

    /// A string; `None` where it is null for all. With conditions it is empty where one of them fails.
    fn leaf(
        &mut self,
        key: &str,
        expression: &Expression,
        conditions: &[(Expression, bool)],
    ) -> Found<(Option<String>, Option<String>)> {
        let mut values = Vec::new();
        for member in self.members {
            values.push(self.value(expression, conditions, &member.locals));
        }
        let is_same = values.windows(2).all(|pair| pair[0] == pair[1]);
        let written = |text: &Option<String>| {
            text.as_deref().map(|text| if is_template_key(key) { escaped(text) } else { text.to_string() })
        };
        if is_same && conditions.is_empty() && self.is_plain(expression) {
            return Ok((values.first().and_then(written), None));
        }
        if is_template_key(key)
            && let Some(template) = self.template(expression, conditions)
            && self.is_proven(&template, &values)
        {
            let asks = template.contains("vars.") || template.contains("matrix.");
            let value = if asks { Some(template) } else { values.first().and_then(written) };
            return Ok((value, None));
        }
        if !is_same {
            return Err(Varies);
        }
        let value = values.first().and_then(written);
        let outcome = match value.as_deref() {
            None | Some("") => "it comes to nothing",
            Some(_) => "this is its value",
        };
        let note = self.note_with(expression, outcome);
        Ok((value, Some(note)))
    }

    fn value(
        &mut self,
        expression: &Expression,
        conditions: &[(Expression, bool)],
        locals: &Locals,
    ) -> Option<String> {
        for (condition, wanted) in conditions {
            let holds = self.resolver.evaluate(self.source, condition, locals).ok();
            if holds.and_then(|value| text_of(&value)).as_deref()
                != Some(if *wanted { "true" } else { "false" })
            {
                return Some(String::new());
            }
        }
        text_of(&self.resolver.evaluate(self.source, expression, locals).ok()?)
    }

    fn template(&mut self, expression: &Expression, conditions: &[(Expression, bool)]) -> Option<String> {
        self.translator.locals = self.locals();
        if conditions.is_empty() {
            return self.translator.string(expression);
        }
        let mut words = Vec::new();
        for (condition, wanted) in conditions {
            let code = self.translator.condition(condition)?;
            words.push(if *wanted { code.guarded_operand() } else { code.negated() });
        }
        let text = self.translator.code(expression)?.text;
        let text = if text.contains(" if ") { format!("({text})") } else { text };
        Some(format!("{{{{ {text} if {} else '' }}}}", words.join(" and ")))
    }

    /// The values of a matrix by the names that templates know them by.
    fn locals(&self) -> BTreeMap<Rc<str>, Code> {
        let names = self.members.iter().flat_map(|member| &member.locals);
        let code = |name: &Rc<str>, value: &Value| match (self.is_expanded, text_of(value)) {
            (true, Some(text)) => Code::of_text(&text),
            _ => Code::atom(format!("matrix.{}", name.replace('-', "_"))),
        };
        names.map(|(name, value)| (name.clone(), code(name, value))).collect()
    }

    /// Whether every target gets from the template what it gets from the expression.
    fn is_proven(&self, template: &str, values: &[Option<String>]) -> bool {
        self.members.iter().zip(values).all(|(member, value)| {
            value.is_some() && self.renderer.render(template, &member.name, member.matrix.as_ref()) == *value
        })
    }
}
