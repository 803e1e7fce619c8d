//! Values of expressions: typed, immutable, cheap to clone. There are no unknown ones, since everything
//! a build file may ask for is there before it is read.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::number::Number;
use super::types::Type;

pub type Entries = BTreeMap<Rc<str>, Value>;

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null(Type),
    Bool(bool),
    Number(Number),
    String(Rc<str>),
    /// Elements of one type.
    List(Type, Rc<Vec<Value>>),
    /// Elements of one type, each once, in order.
    Set(Type, Rc<Vec<Value>>),
    /// Entries of one type.
    Map(Type, Rc<Entries>),
    Tuple(Rc<Vec<Value>>),
    Object(Rc<Entries>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(Rc::from(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(Rc::from(text))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<Number> for Value {
    fn from(value: Number) -> Self {
        Self::Number(value)
    }
}

impl Value {
    /// A bare `null`.
    pub fn null() -> Self {
        Self::Null(Type::Any)
    }

    pub fn tuple(elements: Vec<Self>) -> Self {
        Self::Tuple(Rc::new(elements))
    }

    pub fn object(entries: Entries) -> Self {
        Self::Object(Rc::new(entries))
    }

    /// A list whose elements are all of `element`.
    pub fn list(element: Type, elements: Vec<Self>) -> Self {
        Self::List(element, Rc::new(elements))
    }

    pub fn strings<S: Into<Self>>(elements: impl IntoIterator<Item = S>) -> Self {
        Self::list(Type::String, elements.into_iter().map(Into::into).collect())
    }

    /// A set of elements of one type; what is there twice is kept once.
    pub fn set(element: Type, mut elements: Vec<Self>) -> Self {
        elements.sort_by(set_order);
        elements.dedup();
        Self::Set(element, Rc::new(elements))
    }

    pub fn map(element: Type, entries: Entries) -> Self {
        Self::Map(element, Rc::new(entries))
    }

    pub fn kind(&self) -> Type {
        match self {
            Self::Null(kind) => kind.clone(),
            Self::Bool(_) => Type::Bool,
            Self::Number(_) => Type::Number,
            Self::String(_) => Type::String,
            Self::List(element, _) => Type::list(element.clone()),
            Self::Set(element, _) => Type::set(element.clone()),
            Self::Map(element, _) => Type::map(element.clone()),
            Self::Tuple(elements) => Type::tuple(elements.iter().map(Self::kind).collect()),
            Self::Object(entries) => {
                Type::object(entries.iter().map(|(name, value)| (name.clone(), value.kind())))
            }
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null(_))
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The members of a list, set or tuple.
    pub fn elements(&self) -> Option<&[Self]> {
        match self {
            Self::List(_, elements) | Self::Set(_, elements) | Self::Tuple(elements) => Some(elements),
            Self::Null(_)
            | Self::Bool(_)
            | Self::Number(_)
            | Self::String(_)
            | Self::Map(..)
            | Self::Object(_) => None,
        }
    }

    /// The members of a map or object.
    pub fn entries(&self) -> Option<&Entries> {
        match self {
            Self::Map(_, entries) | Self::Object(entries) => Some(entries),
            Self::Null(_)
            | Self::Bool(_)
            | Self::Number(_)
            | Self::String(_)
            | Self::List(..)
            | Self::Set(..)
            | Self::Tuple(_) => None,
        }
    }

    /// Keys and members in the order of iteration, if there are any to iterate over. The key of a member of
    /// a set is the member.
    pub fn iterate(&self) -> Option<Vec<(Self, Self)>> {
        if let Some(entries) = self.entries() {
            let entries = entries.iter();
            return Some(entries.map(|(name, value)| (Self::String(name.clone()), value.clone())).collect());
        }
        let is_set = matches!(self, Self::Set(..));
        let keyed = self.elements()?.iter().enumerate().map(|(index, value)| {
            let key = if is_set { value.clone() } else { Self::Number(Number::from(index)) };
            (key, value.clone())
        });
        Some(keyed.collect())
    }

    pub fn length(&self) -> Option<usize> {
        self.elements().map(<[Self]>::len).or_else(|| self.entries().map(BTreeMap::len))
    }
}

/// Numbers and texts in their order, `false` before `true`, null last; what has no order of its own gets one
/// that is always the same.
fn set_order(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Number(left), Value::Number(right)) => left.cmp(right),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        _ => left.is_null().cmp(&right.is_null()).then_with(|| order_text(left).cmp(&order_text(right))),
    }
}

fn order_text(value: &Value) -> String {
    let mut text = String::new();
    write_order_text(value, &mut text);
    text
}

fn write_order_text(value: &Value, text: &mut String) {
    match value {
        Value::Null(_) => text.push('~'),
        Value::Bool(value) => text.push(if *value { 'T' } else { 'F' }),
        Value::Number(number) => text.push_str(&number.to_string()),
        Value::String(string) => text.push_str(&format!("{string:?}")),
        Value::List(_, elements) => write_elements(elements, ['[', ']'], text),
        Value::Set(_, elements) => write_elements(elements, ['[', ']'], text),
        Value::Tuple(elements) => write_elements(elements, ['<', '>'], text),
        Value::Map(_, entries) => {
            text.push('{');
            for (key, value) in entries.iter() {
                text.push_str(&format!("{key:?}:"));
                write_order_text(value, text);
                text.push(';');
            }
            text.push('}');
        }
        Value::Object(entries) => {
            let values: Vec<Value> = entries.values().cloned().collect();
            write_elements(&values, ['<', '>'], text);
        }
    }
}

fn write_elements(elements: &[Value], [open, close]: [char; 2], text: &mut String) {
    text.push(open);
    for element in elements {
        write_order_text(element, text);
        text.push(';');
    }
    text.push(close);
}
