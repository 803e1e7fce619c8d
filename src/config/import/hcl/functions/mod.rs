//! Bake's functions by name: parameters are converted and checked here, so that what runs gets what it
//! expects. `try`, `can` and `convert` see their arguments before they have values.
//!
//! Functions are pure. What the world has to say (the time, a home directory, chance) comes with
//! [`Surroundings`].

mod collections;
mod compare;
mod csv;
mod dates;
mod digests;
mod encoding;
mod format;
mod json;
mod networks;
mod numbers;
mod patterns;
mod rsa;
mod sets;
mod texts;
mod types;
mod versions;

pub use json::{from_json, to_json};
pub use texts::clean_path;
pub use types::type_of;

use std::cell::Cell;

use sha2::{Digest as _, Sha256};

use super::convert::convert;
use super::evaluate::{Evaluated, Evaluator};
use super::number::Number;
use super::syntax::{Call, Expression};
use super::types::Type;
use super::value::Value;
use crate::diag::{Span, nearest};

/// What some functions ask the world for.
#[derive(Clone, Debug)]
pub struct Surroundings {
    pub now: jiff::Timestamp,
    pub home: String,
    /// What `uuidv4` and `bcrypt` make their random bytes of.
    pub seed: [u8; 16],
    drawn: Cell<u64>,
}

impl Surroundings {
    pub fn new(now: jiff::Timestamp, home: String, seed: [u8; 16]) -> Self {
        Self { now, home, seed, drawn: Cell::new(0) }
    }

    /// Bytes that nobody can guess who doesn't know the seed; others every time.
    fn random(&self) -> [u8; 16] {
        let drawn = self.drawn.replace(self.drawn.get() + 1);
        let digest = Sha256::new().chain_update(self.seed).chain_update(drawn.to_be_bytes()).finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        bytes
    }
}

/// Why a call failed.
#[derive(Debug)]
pub struct Failure {
    /// The argument that is to blame, if one is.
    argument: Option<usize>,
    message: String,
}

type Outcome = Result<Value, Failure>;

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self { argument: None, message }
    }
}

impl From<&str> for Failure {
    fn from(message: &str) -> Self {
        Self { argument: None, message: message.to_string() }
    }
}

fn blame(argument: usize, message: impl Into<String>) -> Failure {
    Failure { argument: Some(argument), message: message.into() }
}

/// What an argument is converted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parameter {
    Text,
    Number,
    Bool,
    /// Any value but null.
    Any,
    Nullable,
    Texts,
    List,
    Set,
}

impl Parameter {
    fn kind(self) -> Type {
        match self {
            Self::Text => Type::String,
            Self::Number => Type::Number,
            Self::Bool => Type::Bool,
            Self::Any | Self::Nullable => Type::Any,
            Self::Texts => Type::list(Type::String),
            Self::List => Type::list(Type::Any),
            Self::Set => Type::set(Type::Any),
        }
    }

    fn takes_null(self) -> bool {
        self == Self::Nullable
    }
}

struct Function {
    name: &'static str,
    parameters: &'static [Parameter],
    /// Of all further arguments.
    variadic: Option<Parameter>,
    run: fn(&[Value], &Surroundings) -> Outcome,
}

const fn fixed(
    name: &'static str,
    parameters: &'static [Parameter],
    run: fn(&[Value], &Surroundings) -> Outcome,
) -> Function {
    Function { name, parameters, variadic: None, run }
}

const fn variadic(
    name: &'static str,
    parameters: &'static [Parameter],
    rest: Parameter,
    run: fn(&[Value], &Surroundings) -> Outcome,
) -> Function {
    Function { name, parameters, variadic: Some(rest), run }
}

/// Functions whose arguments are looked at unevaluated.
const LAZY: [&str; 3] = ["can", "convert", "try"];

fn all() -> impl Iterator<Item = &'static Function> {
    let themes: [&[Function]; 14] = [
        collections::FUNCTIONS,
        compare::FUNCTIONS,
        csv::FUNCTIONS,
        dates::FUNCTIONS,
        digests::FUNCTIONS,
        encoding::FUNCTIONS,
        format::FUNCTIONS,
        json::FUNCTIONS,
        networks::FUNCTIONS,
        numbers::FUNCTIONS,
        patterns::FUNCTIONS,
        sets::FUNCTIONS,
        texts::FUNCTIONS,
        versions::FUNCTIONS,
    ];
    themes.into_iter().flatten()
}

/// Whether bake has a function of this name.
pub fn is_builtin(name: &str) -> bool {
    LAZY.contains(&name) || all().any(|function| function.name == name)
}

/// Calls a function of bake or of the file.
pub fn call(evaluator: &mut Evaluator<'_>, call: &Call, span: &Span) -> Evaluated<Value> {
    match &*call.name {
        "try" => return first_success(evaluator, &call.arguments, span),
        "can" => return can(evaluator, call, span),
        "convert" => return types::convert_call(evaluator, call, span),
        _ => {}
    }
    let user = evaluator.environment.functions.get(&call.name).cloned();
    let builtin = all().find(|function| function.name == &*call.name);
    if user.is_none() && builtin.is_none() {
        return Err(unknown(evaluator, call));
    }
    let (arguments, spans) = arguments(evaluator, call)?;
    let result = match (builtin, user) {
        (Some(function), _) => run(evaluator, function, arguments, &spans, span),
        (None, Some(function)) => evaluator.call_user(&function, arguments, span),
        (None, None) => return Err(unknown(evaluator, call)),
    }?;
    evaluator.charged(result, span)
}

fn unknown(evaluator: &Evaluator<'_>, call: &Call) -> Box<crate::diag::Problem> {
    let message = format!("there is no function `{}`", call.name);
    let mut problem = evaluator.wrong("bake::unknown-function", &call.name_span, message, "not known");
    let own = evaluator.environment.functions.keys().map(|name| &**name);
    let known = all().map(|function| function.name).chain(LAZY).chain(own);
    problem.help = nearest(&call.name, known).map(|near| format!("did you mean `{near}`?"));
    problem
}

/// The values of the arguments with their places; an expanded one gives as many as it has elements.
fn arguments(evaluator: &mut Evaluator<'_>, call: &Call) -> Evaluated<(Vec<Value>, Vec<Span>)> {
    let mut values = Vec::new();
    let mut spans = Vec::new();
    for (index, argument) in call.arguments.iter().enumerate() {
        let value = evaluator.value(argument)?;
        let is_last = index + 1 == call.arguments.len();
        if !(call.is_expanded && is_last) {
            values.push(value);
            spans.push(argument.span.clone());
            continue;
        }
        let Some(elements) = value.elements() else {
            let message = format!("only a list can be expanded, not a {}", value.kind().name());
            return Err(evaluator.wrong("bake::bad-call", &argument.span, message, "not a list"));
        };
        spans.extend(elements.iter().map(|_| argument.span.clone()));
        values.extend(elements.iter().cloned());
    }
    Ok((values, spans))
}

fn run(
    evaluator: &Evaluator<'_>,
    function: &Function,
    mut values: Vec<Value>,
    spans: &[Span],
    span: &Span,
) -> Evaluated<Value> {
    let name = function.name;
    let wanted = function.parameters.len();
    let bad = |span: &Span, message: String, label: &str| {
        evaluator.wrong("bake::bad-call", span, format!("`{name}`: {message}"), label)
    };
    if values.len() < wanted || (values.len() > wanted && function.variadic.is_none()) {
        let least = if function.variadic.is_some() { "at least " } else { "" };
        let noun = if wanted == 1 { "argument" } else { "arguments" };
        let message = format!("it takes {least}{wanted} {noun}, not {}", values.len());
        return Err(bad(span, message, "called here"));
    }
    for (index, value) in values.iter_mut().enumerate() {
        let Some(parameter) = function.parameters.get(index).copied().or(function.variadic) else { break };
        *value = convert(value, &parameter.kind())
            .map_err(|message| bad(&spans[index], message, "this argument"))?;
        if value.is_null() && !parameter.takes_null() {
            return Err(bad(&spans[index], "the argument must not be null".to_string(), "null"));
        }
    }
    (function.run)(&values, &evaluator.environment.surroundings).map_err(|failure| {
        match failure.argument.and_then(|index| spans.get(index)) {
            Some(span) => bad(span, failure.message, "this argument"),
            None => bad(span, failure.message, "called here"),
        }
    })
}

fn first_success(evaluator: &mut Evaluator<'_>, arguments: &[Expression], span: &Span) -> Evaluated<Value> {
    let mut last = None;
    for argument in arguments {
        match evaluator.value(argument) {
            Ok(value) => return Ok(value),
            Err(problem) if problem.code == "bake::too-much" => return Err(problem),
            Err(problem) => last = Some(problem),
        }
    }
    let message = "no expression in this call of `try` has a value";
    let problem = evaluator.wrong("bake::bad-call", span, message, "called here");
    Err(match last {
        Some(last) => Box::new(problem.details(format!("the last one: {}", last.message))),
        None => problem,
    })
}

fn can(evaluator: &mut Evaluator<'_>, call: &Call, span: &Span) -> Evaluated<Value> {
    match call.arguments.as_slice() {
        [argument] => match evaluator.value(argument) {
            Err(problem) if problem.code == "bake::too-much" => Err(problem),
            result => Ok(Value::Bool(result.is_ok())),
        },
        _ => Err(evaluator.wrong("bake::bad-call", span, "`can` takes one argument", "called here")),
    }
}

fn text(values: &[Value], index: usize) -> &str {
    values.get(index).and_then(Value::as_str).unwrap_or_default()
}

fn number(values: &[Value], index: usize) -> Number {
    match values.get(index) {
        Some(Value::Number(number)) => number.clone(),
        _ => Number::from(0usize),
    }
}

fn integer(values: &[Value], index: usize) -> Result<i64, Failure> {
    number(values, index).to_i64().ok_or_else(|| blame(index, "a whole number is required"))
}

fn truth(values: &[Value], index: usize) -> bool {
    matches!(values.get(index), Some(Value::Bool(true)))
}

fn elements(values: &[Value], index: usize) -> &[Value] {
    values.get(index).and_then(Value::elements).unwrap_or_default()
}
