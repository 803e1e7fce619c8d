//! The syntax tree that HCL and its JSON form have in common. Spans are those of the file.

use std::rc::Rc;

use super::value::Value;
use crate::diag::{Problem, Span};

/// The content of a file or block.
#[derive(Clone, Debug, Default)]
pub struct Body {
    pub attributes: Vec<Attribute>,
    pub blocks: Vec<Block>,
}

#[derive(Clone, Debug)]
pub struct Attribute {
    pub name: Rc<str>,
    pub name_span: Span,
    pub value: Rc<Expression>,
}

#[derive(Clone, Debug)]
pub struct Block {
    pub kind: Rc<str>,
    pub kind_span: Span,
    pub labels: Vec<(Rc<str>, Span)>,
    pub body: Rc<Body>,
}

impl Body {
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| &*attribute.name == name)
    }
}

#[derive(Clone, Debug)]
pub struct Expression {
    pub kind: ExpressionKind,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum ExpressionKind {
    Literal(Value),
    /// A quoted string or heredoc.
    Template(Template),
    /// The name of a variable.
    Variable(Rc<str>),
    Attribute(Box<Expression>, Rc<str>),
    Index(Box<Expression>, Box<Expression>),
    /// `source[*]…` and `source.*…`; `each` is what happens to one `Item`.
    Splat {
        source: Box<Expression>,
        each: Box<Expression>,
    },
    /// The element that the innermost splat is at.
    Item,
    Tuple(Vec<Expression>),
    Object(Vec<ObjectItem>),
    Call(Call),
    Conditional(Box<[Expression; 3]>),
    Unary(UnaryOperator, Box<Expression>),
    Binary(BinaryOperator, Box<[Expression; 2]>),
    For(Box<For>),
    Parentheses(Box<Expression>),
    /// A string of a JSON file that is no template; it is wrong only if somebody wants its value.
    Broken(Box<Problem>),
}

#[derive(Clone, Debug)]
pub struct Template {
    pub parts: Vec<Part>,
    /// The text as it stands in a JSON file, where strings may also be types and names.
    pub json: Option<Rc<str>>,
}

#[derive(Clone, Debug)]
pub enum Part {
    Literal(Rc<str>),
    /// `${…}`
    Interpolation(Expression),
    /// `%{ if … }`
    If {
        condition: Expression,
        then: Vec<Part>,
        otherwise: Vec<Part>,
    },
    /// `%{ for … }`
    For {
        key: Option<Rc<str>>,
        value: Rc<str>,
        collection: Expression,
        body: Vec<Part>,
    },
}

#[derive(Clone, Debug)]
pub struct ObjectItem {
    pub key: Expression,
    pub value: Expression,
}

#[derive(Clone, Debug)]
pub struct Call {
    pub name: Rc<str>,
    pub name_span: Span,
    pub arguments: Vec<Expression>,
    /// The last argument ends in `…`: its elements are the arguments.
    pub is_expanded: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOperator {
    Not,
    Negate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOperator {
    Or,
    And,
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

#[derive(Clone, Debug)]
pub struct For {
    pub key_name: Option<Rc<str>>,
    pub value_name: Rc<str>,
    pub collection: Expression,
    /// What makes it an object instead of a tuple.
    pub key: Option<Expression>,
    pub value: Expression,
    pub condition: Option<Expression>,
    /// `…` after the value: values of one key are put together.
    pub is_grouped: bool,
}

impl Expression {
    pub fn new(kind: ExpressionKind, span: Span) -> Self {
        Self { kind, span }
    }

    /// The text of a string without interpolation.
    pub fn literal_text(&self) -> Option<&str> {
        match &self.kind {
            ExpressionKind::Template(template) => match template.parts.as_slice() {
                [] => Some(""),
                [Part::Literal(text)] => Some(text),
                _ => None,
            },
            _ => None,
        }
    }

    /// The word that the expression is, such as a type or a parameter; in JSON it is a string.
    pub fn keyword(&self) -> Option<&str> {
        match &self.kind {
            ExpressionKind::Variable(name) => Some(name),
            ExpressionKind::Literal(Value::Null(_)) => Some("null"),
            ExpressionKind::Template(Template { json: Some(text), .. }) if is_identifier(text) => Some(text),
            _ => None,
        }
    }
}

impl BinaryOperator {
    /// A higher number binds tighter.
    pub fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And => 2,
            Self::Equal | Self::NotEqual => 3,
            Self::Greater | Self::GreaterOrEqual | Self::Less | Self::LessOrEqual => 4,
            Self::Add | Self::Subtract => 5,
            Self::Multiply | Self::Divide | Self::Modulo => 6,
        }
    }
}

pub fn is_identifier(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(starts_identifier) && characters.all(continues_identifier)
}

pub fn starts_identifier(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

pub fn continues_identifier(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}
