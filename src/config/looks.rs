//! What an expression looks at, found once: the names in it, and how much work it may be.

use minijinja::value::Value;

use super::names::names;
use super::scope::Scope;
use crate::diag::Span;

/// What an expression looks at.
pub struct Looks {
    names: Vec<Span>,
    /// How often it joins texts.
    joins: usize,
    /// It is one name and nothing else.
    pub name: Option<Span>,
}

impl Looks {
    pub fn at(source: &str) -> Self {
        let names = names(source);
        let joins = source.bytes().filter(|byte| matches!(byte, b'~' | b'+')).count();
        let whole = trimmed(source, &(0..source.len()));
        let is_name = names == [whole.clone()] && !source[whole.clone()].ends_with('.');
        Self { names, joins, name: is_name.then_some(whole) }
    }

    /// In bytes; joining copies what it joins over and over.
    pub fn weight(&self, source: &str, scope: &Scope) -> usize {
        let size = |name: &Span| scope.value(&source[name.clone()]).as_ref().map_or(0, size_of);
        let looked_at = self.names.iter().map(size).fold(source.len(), usize::saturating_add);
        looked_at.saturating_mul(1 + self.joins)
    }
}

/// What looking at a value counts as, in bytes.
pub fn size_of(value: &Value) -> usize {
    match value.as_str() {
        Some(text) => text.len(),
        None => value.len().map_or(0, |members| 64 * (1 + members)),
    }
}

/// `span` without the blanks around the expression.
pub fn trimmed(source: &str, span: &Span) -> Span {
    let start = span.start + (source.len() - source.trim_start().len());
    start..(span.start + source.trim_end().len()).max(start)
}

/// Whether an expression names one of `roots`.
pub fn asks(expression: &str, roots: &[&str]) -> bool {
    names(expression).into_iter().any(|name| {
        let root = expression[name].split('.').next().unwrap_or_default();
        roots.contains(&root)
    })
}

/// Whether the filter after a name makes up for a missing value.
pub fn has_default(rest: &str) -> bool {
    let filter = rest.trim_start().strip_prefix('|').map(str::trim_start);
    filter.is_some_and(|filter| filter.starts_with("default") || filter.starts_with("d("))
}
