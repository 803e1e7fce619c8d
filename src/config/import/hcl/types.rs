//! Types of values, and type constraints, as HCL has them.

use std::collections::BTreeMap;
use std::rc::Rc;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Any type: of a bare `null`, and as constraint.
    Any,
    String,
    Number,
    Bool,
    List(Rc<Type>),
    Set(Rc<Type>),
    Map(Rc<Type>),
    Tuple(Rc<Vec<Type>>),
    Object(Rc<BTreeMap<Rc<str>, Attribute>>),
}

/// One attribute of an object type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    pub kind: Type,
    /// Only in constraints: a missing attribute becomes null.
    pub is_optional: bool,
}

impl Type {
    pub fn list(element: Self) -> Self {
        Self::List(Rc::new(element))
    }

    pub fn set(element: Self) -> Self {
        Self::Set(Rc::new(element))
    }

    pub fn map(element: Self) -> Self {
        Self::Map(Rc::new(element))
    }

    pub fn tuple(elements: Vec<Self>) -> Self {
        Self::Tuple(Rc::new(elements))
    }

    pub fn object(attributes: impl IntoIterator<Item = (Rc<str>, Self)>) -> Self {
        let attributes = attributes.into_iter();
        let attributes = attributes.map(|(name, kind)| (name, Attribute { kind, is_optional: false }));
        Self::Object(Rc::new(attributes.collect()))
    }

    /// An object any of whose attributes may be missing.
    pub fn optional(attributes: &[(&str, Self)]) -> Self {
        let attributes = attributes.iter();
        let attributes = attributes
            .map(|(name, kind)| (Rc::from(*name), Attribute { kind: kind.clone(), is_optional: true }));
        Self::Object(Rc::new(attributes.collect()))
    }

    pub fn is_primitive(&self) -> bool {
        matches!(self, Self::String | Self::Number | Self::Bool)
    }

    /// The element type of a list, set or map.
    pub fn element(&self) -> Option<&Self> {
        match self {
            Self::List(element) | Self::Set(element) | Self::Map(element) => Some(element),
            Self::Any | Self::String | Self::Number | Self::Bool | Self::Tuple(_) | Self::Object(_) => None,
        }
    }

    /// Values have no optional attributes, only constraints do.
    pub fn without_optional(&self) -> Self {
        match self {
            Self::Any | Self::String | Self::Number | Self::Bool => self.clone(),
            Self::List(element) => Self::list(element.without_optional()),
            Self::Set(element) => Self::set(element.without_optional()),
            Self::Map(element) => Self::map(element.without_optional()),
            Self::Tuple(elements) => Self::tuple(elements.iter().map(Self::without_optional).collect()),
            Self::Object(attributes) => Self::object(
                attributes.iter().map(|(name, attribute)| (name.clone(), attribute.kind.without_optional())),
            ),
        }
    }

    /// What people call it.
    pub fn name(&self) -> String {
        match self {
            Self::Any => "dynamic".to_string(),
            Self::String => "string".to_string(),
            Self::Number => "number".to_string(),
            Self::Bool => "bool".to_string(),
            Self::List(element) => format!("list of {}", element.name()),
            Self::Set(element) => format!("set of {}", element.name()),
            Self::Map(element) => format!("map of {}", element.name()),
            Self::Tuple(_) => "tuple".to_string(),
            Self::Object(_) => "object".to_string(),
        }
    }
}
