//! What an expression asks for: variables and functions by name, so that those can be resolved before it is
//! evaluated.

use std::rc::Rc;

use super::syntax::{Expression, ExpressionKind as Kind, Part};
use crate::diag::Span;

/// A variable with the members that are looked up in it, as far as their names are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    pub root: Rc<str>,
    pub members: Vec<Rc<str>>,
    /// The members go on with an index.
    pub is_indexed: bool,
    pub span: Span,
}

#[derive(Clone, Debug, Default)]
pub struct Mentions {
    pub variables: Vec<Mention>,
    pub functions: Vec<(Rc<str>, Span)>,
    /// Names that `for` binds where the walk is.
    bound: Vec<Rc<str>>,
}

/// What `expression` mentions, without the names it binds itself.
pub fn mentions(expression: &Expression) -> Mentions {
    let mut found = Mentions::default();
    found.visit(expression);
    found
}

impl Mentions {
    fn visit(&mut self, expression: &Expression) {
        match &expression.kind {
            Kind::Literal(_) | Kind::Item | Kind::Broken(_) => {}
            Kind::Template(template) => self.visit_parts(&template.parts),
            Kind::Variable(_) | Kind::Attribute(..) | Kind::Index(..) => self.visit_traversal(expression),
            Kind::Splat { source, each } => {
                self.visit(source);
                self.visit(each);
            }
            Kind::Tuple(elements) => elements.iter().for_each(|element| self.visit(element)),
            Kind::Object(items) => {
                for item in items {
                    self.visit(&item.key);
                    self.visit(&item.value);
                }
            }
            Kind::Call(call) => {
                self.functions.push((call.name.clone(), call.name_span.clone()));
                call.arguments.iter().for_each(|argument| self.visit(argument));
            }
            Kind::Conditional(parts) => parts.iter().for_each(|part| self.visit(part)),
            Kind::Unary(_, operand) | Kind::Parentheses(operand) => self.visit(operand),
            Kind::Binary(_, operands) => operands.iter().for_each(|operand| self.visit(operand)),
            Kind::For(for_expression) => {
                self.visit(&for_expression.collection);
                self.bind(for_expression.key_name.as_ref(), &for_expression.value_name, |found| {
                    for inner in [&for_expression.key, &for_expression.condition].into_iter().flatten() {
                        found.visit(inner);
                    }
                    found.visit(&for_expression.value);
                });
            }
        }
    }

    fn bind(&mut self, key: Option<&Rc<str>>, value: &Rc<str>, visit: impl FnOnce(&mut Self)) {
        let before = self.bound.len();
        self.bound.extend(key.into_iter().chain([value]).cloned());
        visit(self);
        self.bound.truncate(before);
    }

    fn visit_parts(&mut self, parts: &[Part]) {
        for part in parts {
            match part {
                Part::Literal(_) => {}
                Part::Interpolation(value) => self.visit(value),
                Part::If { condition, then, otherwise } => {
                    self.visit(condition);
                    self.visit_parts(then);
                    self.visit_parts(otherwise);
                }
                Part::For { key, value, collection, body } => {
                    self.visit(collection);
                    self.bind(key.as_ref(), value, |found| found.visit_parts(body));
                }
            }
        }
    }

    /// A variable with members and indexes behind it.
    fn visit_traversal(&mut self, expression: &Expression) {
        let mut steps = Vec::new();
        let mut at = expression;
        loop {
            match &at.kind {
                Kind::Attribute(source, name) => {
                    steps.push(Some(name.clone()));
                    at = source;
                }
                Kind::Index(source, key) => {
                    self.visit(key);
                    steps.push(None);
                    at = source;
                }
                Kind::Variable(root) => {
                    if !self.bound.contains(root) {
                        let is_indexed = steps.iter().rev().any(Option::is_none);
                        let members = steps.into_iter().rev().map_while(|step| step).collect();
                        let span = expression.span.clone();
                        self.variables.push(Mention { root: root.clone(), members, is_indexed, span });
                    }
                    return;
                }
                _ => return self.visit(at),
            }
        }
    }
}
