//! HCL, the language of bake files: syntax, values, expressions. Knows nothing of targets.
//!
//! ```text
//! text ─ scan, body, expression, template, json ─▶ syntax ─ mentions, evaluate, functions ─▶ value
//! ```

mod body;
mod convert;
mod evaluate;
mod expression;
mod functions;
mod index;
mod json;
mod mentions;
mod number;
mod operators;
mod scan;
mod syntax;
mod template;
mod types;
mod unify;
mod value;

pub use body::parse;
pub use convert::convert;
pub use evaluate::{Environment, Evaluated, Evaluator, UserFunction};
pub use functions::{Surroundings, clean_path, from_json, is_builtin, to_json, type_of};
pub use json::{Blocks, Node as JsonNode, NodeKind as JsonKind, parse as parse_json, read as read_json};
pub use mentions::{Mention, mentions};
pub use number::Number;
pub use syntax::{
    Attribute, BinaryOperator, Block, Body, Call, Expression, ExpressionKind, ObjectItem, Part, Template,
    UnaryOperator,
};
pub use types::Type;
pub use value::{Entries, Value};
