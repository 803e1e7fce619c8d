//! Expressions to values.
//!
//! What an expression mentions has been resolved before; here nothing is looked for. Work and depth are
//! bounded, so that a small file cannot ask for endless work.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use super::convert::{Safety, convert};
use super::functions::{self, Surroundings};
use super::index::{attribute, index};
use super::operators::{binary, decided, unary};
use super::syntax::{BinaryOperator, Expression, ExpressionKind as Kind, For, ObjectItem, Part, Template};
use super::types::Type;
use super::unify::unify;
use super::value::{Entries, Value};
use crate::diag::{Place, Problem, Source, Span, nearest};

pub type Evaluated<T> = Result<T, Box<Problem>>;

/// How deep evaluation may go, through operators, functions and all.
const DEEPEST: usize = 4_000;
/// The elements that a call of a file's function counts as.
const CALL: usize = 16;
/// Bytes of text and, at a price each, elements that one run may make.
const BUDGET: u64 = 96 << 20;
/// What an element of a collection costs.
const ELEMENT: u64 = 48;

/// A function that a file defines.
#[derive(Clone, Debug)]
pub struct UserFunction {
    pub parameters: Vec<Rc<str>>,
    pub variadic: Option<Rc<str>>,
    pub result: Rc<Expression>,
    pub source: Arc<Source>,
}

/// What all expressions of a run share.
pub struct Environment {
    pub variables: HashMap<Rc<str>, Value>,
    pub functions: HashMap<Rc<str>, Rc<UserFunction>>,
    /// Blocks that expressions refer to as `KIND.NAME`, as far as they are resolved.
    pub blocks: BTreeMap<Rc<str>, Entries>,
    pub surroundings: Surroundings,
    left: Cell<u64>,
    depth: Cell<usize>,
}

impl Environment {
    pub fn new(surroundings: Surroundings) -> Self {
        let (left, depth) = (Cell::new(BUDGET), Cell::new(0));
        let (variables, functions, blocks) = (HashMap::new(), HashMap::new(), BTreeMap::new());
        Self { variables, functions, blocks, surroundings, left, depth }
    }

    /// Pays for what was made.
    pub fn charge(&self, bytes: usize, elements: usize) -> Result<(), String> {
        let cost = (elements as u64).saturating_mul(ELEMENT).saturating_add(bytes as u64);
        match self.left.get().checked_sub(cost) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err("the file makes more text and elements than a build file can need".to_string()),
        }
    }

    fn charge_value(&self, value: &Value) -> Result<(), String> {
        self.charge(value.as_str().map_or(0, str::len), value.length().unwrap_or(0))
    }
}

/// One expression's surroundings: the file it stands in, and names that only it knows.
pub struct Evaluator<'e> {
    pub environment: &'e Environment,
    pub source: &'e Arc<Source>,
    /// Innermost last.
    pub locals: Vec<(Rc<str>, Value)>,
    items: Vec<Value>,
}

impl<'e> Evaluator<'e> {
    pub fn new(environment: &'e Environment, source: &'e Arc<Source>, locals: Vec<(Rc<str>, Value)>) -> Self {
        Self { environment, source, locals, items: Vec::new() }
    }

    pub fn place(&self, span: &Span) -> Place {
        Place::new(self.source, span.clone())
    }

    pub fn wrong(
        &self,
        code: &'static str,
        span: &Span,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Box<Problem> {
        Box::new(Problem::input(code, message).at(self.place(span), label))
    }

    fn limited<T>(&self, span: &Span, result: Result<T, String>) -> Evaluated<T> {
        result.map_err(|message| self.wrong("bake::too-much", span, message, "here it ends"))
    }

    pub fn value(&mut self, expression: &Expression) -> Evaluated<Value> {
        let depth = self.environment.depth.get();
        if depth >= DEEPEST {
            return Err(self.wrong(
                "bake::too-deep",
                &expression.span,
                "the expression goes too deep",
                "here",
            ));
        }
        self.environment.depth.set(depth + 1);
        let result = self.value_of_kind(expression);
        self.environment.depth.set(depth);
        result
    }

    fn value_of_kind(&mut self, expression: &Expression) -> Evaluated<Value> {
        let span = &expression.span;
        match &expression.kind {
            Kind::Literal(value) => Ok(value.clone()),
            Kind::Template(template) => self.template(template, span),
            Kind::Variable(name) => self.variable(name, span),
            Kind::Attribute(source, name) => {
                if let Some(block) = self.block(source, name) {
                    return Ok(block);
                }
                let value = self.value(source)?;
                attribute(&value, name)
                    .map_err(|found| self.wrong("bake::no-member", span, found.message, found.label))
            }
            Kind::Index(source, key) => {
                let (value, key) = (self.value(source)?, self.value(key)?);
                index(&value, &key)
                    .map_err(|found| self.wrong("bake::no-member", span, found.message, found.label))
            }
            Kind::Splat { source, each } => self.splat(source, each, span),
            Kind::Item => Ok(self.items.last().cloned().unwrap_or_else(Value::null)),
            Kind::Tuple(elements) => {
                self.limited(span, self.environment.charge(0, elements.len()))?;
                let values: Evaluated<Vec<Value>> =
                    elements.iter().map(|element| self.value(element)).collect();
                Ok(Value::tuple(values?))
            }
            Kind::Object(items) => self.object(items, span),
            Kind::Call(call) => functions::call(self, call, span),
            Kind::Conditional(parts) => self.conditional(parts, span),
            Kind::Unary(operator, operand) => {
                let value = self.value(operand)?;
                unary(*operator, &value).map_err(|message| self.operand(&operand.span, message))
            }
            Kind::Binary(operator, operands) => self.binary(*operator, operands, span),
            Kind::For(for_expression) => self.for_expression(for_expression, span),
            Kind::Parentheses(inner) => self.value(inner),
            Kind::Broken(problem) => Err(problem.clone()),
        }
    }

    fn operand(&self, span: &Span, message: String) -> Box<Problem> {
        self.wrong("bake::bad-operand", span, message, "this operand")
    }

    fn variable(&self, name: &Rc<str>, span: &Span) -> Evaluated<Value> {
        if let Some((_, value)) = self.locals.iter().rev().find(|(local, _)| local == name) {
            return Ok(value.clone());
        }
        if let Some(value) = self.environment.variables.get(name) {
            return Ok(value.clone());
        }
        if let Some(blocks) = self.environment.blocks.get(name) {
            return Ok(Value::object(blocks.clone()));
        }
        let mut problem =
            self.wrong("bake::unknown-variable", span, format!("there is no variable `{name}`"), "not known");
        let known = self.environment.variables.keys().chain(self.locals.iter().map(|(name, _)| name));
        problem.help = nearest(name, known.map(|name| &**name)).map(|near| format!("did you mean `{near}`?"));
        if problem.help.is_none() {
            let is_block = |blocks: &Entries| blocks.contains_key(name);
            problem.help = Some(match self.environment.blocks.values().any(is_block) {
                true => format!("names of targets and groups are texts: `\"{name}\"`"),
                false => {
                    format!("declare it: `variable \"{name}\" {{ default = \"…\" }}`; texts are in quotes")
                }
            });
        }
        Err(problem)
    }

    /// `KIND.NAME`, without making an object of all blocks first.
    fn block(&self, source: &Expression, name: &Rc<str>) -> Option<Value> {
        let Kind::Variable(kind) = &source.kind else { return None };
        let is_local = self.locals.iter().any(|(local, _)| local == kind);
        let blocks = self.environment.blocks.get(kind).filter(|_| !is_local)?;
        blocks.get(name).cloned()
    }

    /// A template that is one interpolation has its value, of whatever type; all others are text.
    fn template(&mut self, template: &Template, span: &Span) -> Evaluated<Value> {
        match template.parts.as_slice() {
            [] => Ok(Value::from("")),
            [Part::Literal(text)] => Ok(Value::String(text.clone())),
            [Part::Interpolation(value)] => self.value(value),
            parts => {
                let mut text = String::new();
                self.write_parts(parts, &mut text)?;
                self.limited(span, self.environment.charge(text.len(), 0))?;
                Ok(Value::from(text))
            }
        }
    }

    fn write_parts(&mut self, parts: &[Part], text: &mut String) -> Evaluated<()> {
        for part in parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Interpolation(value) => {
                    let result = self.value(value)?;
                    text.push_str(&self.text_of(&result, &value.span)?);
                }
                Part::If { condition, then, otherwise } => {
                    let branch = if self.condition(condition)? { then } else { otherwise };
                    self.write_parts(branch, text)?;
                }
                Part::For { key, value, collection, body } => {
                    for (found_key, found) in self.collection(collection)? {
                        let before = text.len();
                        let locals = self.locals.len();
                        self.locals.extend(key.iter().map(|name| (name.clone(), found_key.clone())));
                        self.locals.push((value.clone(), found));
                        let written = self.write_parts(body, text);
                        self.locals.truncate(locals);
                        written?;
                        self.limited(&collection.span, self.environment.charge(text.len() - before, 1))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn text_of(&self, value: &Value, span: &Span) -> Evaluated<Rc<str>> {
        let refused = |message: String| self.wrong("bake::bad-type", span, message, "not text");
        if value.is_null() {
            return Err(refused("the value is null, which no text can hold".to_string()));
        }
        match convert(value, &Type::String) {
            Ok(Value::String(text)) => Ok(text),
            _ => Err(refused(format!("a {} cannot be part of a text", value.kind().name()))),
        }
    }

    fn condition(&mut self, condition: &Expression) -> Evaluated<bool> {
        let value = self.value(condition)?;
        self.truth(&value, &condition.span)
    }

    fn truth(&self, value: &Value, span: &Span) -> Evaluated<bool> {
        let refused = |message: &str| self.wrong("bake::bad-type", span, message, "not a condition");
        if value.is_null() {
            return Err(refused("the condition is null; it must be `true` or `false`"));
        }
        match convert(value, &Type::Bool) {
            Ok(Value::Bool(truth)) => Ok(truth),
            _ => Err(refused("the condition must be `true` or `false`")),
        }
    }

    fn object(&mut self, items: &[ObjectItem], span: &Span) -> Evaluated<Value> {
        self.limited(span, self.environment.charge(0, items.len()))?;
        let mut entries = Entries::new();
        for item in items {
            let key = self.value(&item.key)?;
            let key = self.key(&key, &item.key.span)?;
            let value = self.value(&item.value)?;
            entries.insert(key, value);
        }
        Ok(Value::object(entries))
    }

    fn key(&self, key: &Value, span: &Span) -> Evaluated<Rc<str>> {
        let refused = |message: String| self.wrong("bake::bad-type", span, message, "not a key");
        if key.is_null() {
            return Err(refused("the key is null".to_string()));
        }
        match convert(key, &Type::String) {
            Ok(Value::String(text)) => Ok(text),
            _ => Err(refused(format!("a {} cannot be a key", key.kind().name()))),
        }
    }

    /// Only the branch that is taken may fail, but both decide about the type.
    fn conditional(
        &mut self,
        [condition, then, otherwise]: &[Expression; 3],
        span: &Span,
    ) -> Evaluated<Value> {
        let (left, right) = (self.value(then), self.value(otherwise));
        let kind = match (&left, &right) {
            (Ok(left), Ok(right)) => {
                let (left, right) = (left.kind(), right.kind());
                let common = match (&left, &right) {
                    (Type::Any, other) | (other, Type::Any) => Some(other.clone()),
                    _ => unify(&[left.clone(), right.clone()], Safety::Unsafe),
                };
                common.ok_or_else(|| {
                    let message = format!(
                        "both results must have one type; these are {} and {}",
                        left.name(),
                        right.name()
                    );
                    self.wrong("bake::bad-type", span, message, "two types")
                })?
            }
            _ => Type::Any,
        };
        let (chosen, branch) = if self.condition(condition)? { (left, then) } else { (right, otherwise) };
        let chosen = chosen?;
        convert(&chosen, &kind)
            .map_err(|message| self.wrong("bake::bad-type", &branch.span, message, "this result"))
    }

    /// `false && broken` is false, and `true || broken` is true, whichever side is broken.
    fn binary(
        &mut self,
        operator: BinaryOperator,
        [left, right]: &[Expression; 2],
        span: &Span,
    ) -> Evaluated<Value> {
        let (left_value, right_value) = match (self.value(left), self.value(right)) {
            (Ok(left), Ok(right)) => (left, right),
            (Ok(one), Err(wrong)) | (Err(wrong), Ok(one)) => {
                return decided(operator, &one).map(Value::Bool).ok_or(wrong);
            }
            (Err(wrong), Err(_)) => return Err(wrong),
        };
        binary(operator, &left_value, &right_value).map_err(|wrong| {
            let span = match wrong.operand {
                Some(0) => &left.span,
                Some(_) => &right.span,
                None => span,
            };
            self.operand(span, wrong.message)
        })
    }

    /// The elements of a value that is iterated over.
    fn collection(&mut self, collection: &Expression) -> Evaluated<Vec<(Value, Value)>> {
        let value = self.value(collection)?;
        let refused =
            |message: String| self.wrong("bake::bad-type", &collection.span, message, "not a collection");
        if value.is_null() {
            return Err(refused("the collection is null".to_string()));
        }
        let elements = value.iterate();
        elements.ok_or_else(|| refused(format!("a {} has no elements to go through", value.kind().name())))
    }

    fn for_expression(&mut self, for_expression: &For, span: &Span) -> Evaluated<Value> {
        let mut elements = Vec::new();
        let mut entries = Entries::new();
        let mut groups: BTreeMap<Rc<str>, Vec<Value>> = BTreeMap::new();
        for (key, value) in self.collection(&for_expression.collection)? {
            self.limited(span, self.environment.charge(0, 1))?;
            let locals = self.locals.len();
            self.locals.extend(for_expression.key_name.iter().map(|name| (name.clone(), key.clone())));
            self.locals.push((for_expression.value_name.clone(), value));
            let element = self.for_element(for_expression);
            self.locals.truncate(locals);
            match element? {
                None => {}
                Some((None, value)) => elements.push(value),
                Some((Some(key), value)) if for_expression.is_grouped => {
                    groups.entry(key).or_default().push(value);
                }
                Some((Some(key), value)) => self.insert_new(&mut entries, key, value, span)?,
            }
        }
        if for_expression.key.is_none() {
            return Ok(Value::tuple(elements));
        }
        entries.extend(groups.into_iter().map(|(key, values)| (key, Value::tuple(values))));
        Ok(Value::object(entries))
    }

    fn insert_new(&self, entries: &mut Entries, key: Rc<str>, value: Value, span: &Span) -> Evaluated<()> {
        if entries.insert(key.clone(), value).is_none() {
            return Ok(());
        }
        let message = format!("two elements have the key `{key}`");
        let mut problem = self.wrong("bake::duplicate", span, message, "in this `for`");
        problem.help = Some("`...` after the value puts elements of one key together".to_string());
        Err(problem)
    }

    fn for_element(&mut self, for_expression: &For) -> Evaluated<Option<(Option<Rc<str>>, Value)>> {
        if let Some(condition) = &for_expression.condition
            && !self.condition(condition)?
        {
            return Ok(None);
        }
        let key = match &for_expression.key {
            Some(key) => {
                let value = self.value(key)?;
                Some(self.key(&value, &key.span)?)
            }
            None => None,
        };
        Ok(Some((key, self.value(&for_expression.value)?)))
    }

    /// What is no sequence counts as one of one element, null as one of none.
    fn splat(&mut self, source: &Expression, each: &Expression, span: &Span) -> Evaluated<Value> {
        let value = self.value(source)?;
        let is_sequence = matches!(value.kind(), Type::List(_) | Type::Set(_) | Type::Tuple(_));
        if value.is_null() {
            if is_sequence {
                return Err(self.wrong("bake::bad-type", &source.span, "the sequence is null", "null"));
            }
            return Ok(Value::tuple(Vec::new()));
        }
        let elements = match value.elements() {
            Some(elements) => elements.to_vec(),
            None => vec![value.clone()],
        };
        self.limited(span, self.environment.charge(0, elements.len()))?;
        let mut results = Vec::with_capacity(elements.len());
        for element in elements {
            self.items.push(element);
            let result = self.value(each);
            self.items.pop();
            results.push(result?);
        }
        match value {
            Value::List(..) | Value::Set(..) => {
                let kind = results.first().map_or(Type::Any, Value::kind);
                Ok(Value::list(kind, results))
            }
            _ => Ok(Value::tuple(results)),
        }
    }

    /// Calls a function of the file.
    pub fn call_user(
        &mut self,
        function: &UserFunction,
        arguments: Vec<Value>,
        span: &Span,
    ) -> Evaluated<Value> {
        // Functions that call others twice each are called without end.
        self.limited(span, self.environment.charge(0, CALL))?;
        let mut arguments = arguments.into_iter();
        let mut locals: Vec<(Rc<str>, Value)> = Vec::new();
        for name in &function.parameters {
            match arguments.next() {
                Some(value) => locals.push((name.clone(), value)),
                None => {
                    let message = format!("there is no value for the parameter `{name}`");
                    return Err(self.wrong("bake::bad-call", span, message, "too few arguments"));
                }
            }
        }
        let rest: Vec<Value> = arguments.collect();
        match &function.variadic {
            Some(name) => locals.push((name.clone(), Value::tuple(rest))),
            None if !rest.is_empty() => {
                let message = format!("the function has {} parameters", function.parameters.len());
                return Err(self.wrong("bake::bad-call", span, message, "too many arguments"));
            }
            None => {}
        }
        let mut inner = Evaluator::new(self.environment, &function.source, locals);
        inner
            .value(&function.result)
            .map_err(|problem| Box::new(problem.as_ref().clone().at(self.place(span), "called here")))
    }

    /// Pays for the result of a function.
    pub fn charged(&self, value: Value, span: &Span) -> Evaluated<Value> {
        self.limited(span, self.environment.charge_value(&value))?;
        Ok(value)
    }
}
