//! Expressions of HCL as expressions of templates, where there are equals.
//!
//! A translation is a guess until it has been rendered and compared with the value: what comes out of here is
//! as near as the words of templates allow.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::inline;
use crate::config::import::bake::Definitions;
use crate::config::import::hcl::{
    BinaryOperator, Call, Expression, ExpressionKind as Kind, Part, Template, UnaryOperator, Value,
};
use crate::config::write::escaped;

/// References and functions are followed this deep.
const DEEPEST: usize = 16;
/// Expressions longer than this are no help to whoever reads them.
const LONGEST: usize = 400;

/// What a name of HCL is called in templates.
pub struct Translator<'d> {
    pub definitions: &'d Definitions,
    /// `vars.NAME`, by bake's name.
    pub variables: &'d BTreeMap<Rc<str>, String>,
    /// `matrix.NAME`, or a value where there is no matrix any more.
    pub locals: BTreeMap<Rc<str>, Code>,
    depth: usize,
}

/// An expression, and whether it can stand beside an operator.
#[derive(Clone, Debug)]
pub struct Code {
    pub text: String,
    is_atom: bool,
    /// The text that it is, if it is nothing but one.
    letters: Option<String>,
}

impl Code {
    pub fn atom(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_atom: true, letters: None }
    }

    fn compound(text: String) -> Self {
        Self { text, is_atom: false, letters: None }
    }

    pub fn of_text(text: &str) -> Self {
        Self { letters: Some(text.to_string()), ..Self::atom(literal(text)) }
    }

    /// As part of a string.
    fn embedded(&self) -> String {
        match &self.letters {
            Some(letters) => escaped(letters),
            None => format!("{{{{ {} }}}}", self.text),
        }
    }

    fn guarded(&self) -> String {
        if self.is_atom { self.text.clone() } else { format!("({})", self.text) }
    }
}

/// A string of the template language.
fn literal(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n");
    format!("'{}'", escaped.replace('\t', "\\t").replace('\r', "\\r"))
}

impl<'d> Translator<'d> {
    pub fn new(definitions: &'d Definitions, variables: &'d BTreeMap<Rc<str>, String>) -> Self {
        Self { definitions, variables, locals: BTreeMap::new(), depth: 0 }
    }

    /// A whole string: letters and `{{ … }}`.
    pub fn string(&mut self, expression: &Expression) -> Option<String> {
        if let Some(result) = inline::call(self.definitions, expression) {
            return self.string(&result);
        }
        let mut written = String::new();
        match &expression.kind {
            Kind::Template(template) => {
                for part in &template.parts {
                    match part {
                        Part::Literal(text) => written.push_str(&escaped(text)),
                        part => written.push_str(&self.part(part)?.embedded()),
                    }
                }
            }
            Kind::Parentheses(inner) => return self.string(inner),
            _ => written = self.code(expression)?.embedded(),
        }
        (written.len() <= LONGEST).then_some(written)
    }

    /// A condition without braces.
    pub fn condition(&mut self, expression: &Expression) -> Option<Code> {
        self.code(expression).filter(|code| code.text.len() <= LONGEST)
    }

    pub fn code(&mut self, expression: &Expression) -> Option<Code> {
        if self.depth >= DEEPEST {
            return None;
        }
        self.depth += 1;
        let code = self.code_of_kind(expression);
        self.depth -= 1;
        code
    }

    fn code_of_kind(&mut self, expression: &Expression) -> Option<Code> {
        match &expression.kind {
            Kind::Literal(value) => literal_value(value),
            Kind::Template(template) => self.concatenation(template),
            Kind::Variable(name) => self.variable(name),
            Kind::Parentheses(inner) => self.code(inner),
            Kind::Attribute(source, name) => {
                if let Some(referred) = self.reference(source, name) {
                    return self.code(&referred);
                }
                let source = self.code(source)?.guarded();
                let is_word = !name.contains('-');
                Some(Code::atom(match is_word {
                    true => format!("{source}.{name}"),
                    false => format!("{source}[{}]", literal(name)),
                }))
            }
            Kind::Index(source, index) => {
                Some(Code::atom(format!("{}[{}]", self.code(source)?.guarded(), self.code(index)?.text)))
            }
            Kind::Tuple(elements) => {
                let elements: Option<Vec<String>> =
                    elements.iter().map(|element| Some(self.code(element)?.text)).collect();
                Some(Code::atom(format!("[{}]", elements?.join(", "))))
            }
            Kind::Conditional(parts) => {
                let [condition, then, otherwise] = &**parts;
                Some(Code::compound(format!(
                    "{} if {} else {}",
                    self.code(then)?.guarded_operand(),
                    self.code(condition)?.guarded_operand(),
                    self.code(otherwise)?.guarded_operand()
                )))
            }
            Kind::Unary(UnaryOperator::Not, operand) => {
                Some(Code::compound(format!("not {}", self.code(operand)?.guarded())))
            }
            Kind::Unary(UnaryOperator::Negate, operand) => {
                Some(Code::compound(format!("-{}", self.code(operand)?.guarded())))
            }
            Kind::Binary(operator, operands) => {
                let word = operator_word(*operator)?;
                self.binary(word, &operands[0], &operands[1])
            }
            Kind::Call(call) => match inline::call(self.definitions, expression) {
                Some(result) => self.code(&result),
                None => self.call(call),
            },
            Kind::Splat { .. } | Kind::Item | Kind::Object(_) | Kind::For(_) | Kind::Broken(_) => None,
        }
    }

    fn binary(&mut self, word: &str, left: &Expression, right: &Expression) -> Option<Code> {
        let (mut left, mut right) = (self.code(left)?, self.code(right)?);
        // People ask whether a variable is a text, not whether a text is a variable.
        if matches!(word, "==" | "!=") && left.letters.is_some() && right.letters.is_none() {
            std::mem::swap(&mut left, &mut right);
        }
        let is_logic = matches!(word, "and" | "or");
        // Comparisons bind tighter than `and` and `or`, and are read without brackets.
        let is_readable = |code: &Code| is_comparison(&code.text) || code.is_negation();
        let side = |code: &Code| match is_logic && is_readable(code) {
            true => code.text.clone(),
            false => code.guarded(),
        };
        Some(Code::compound(format!("{} {word} {}", side(&left), side(&right))))
    }

    fn variable(&mut self, name: &Rc<str>) -> Option<Code> {
        if let Some(local) = self.locals.get(name) {
            return Some(local.clone());
        }
        if let Some(variable) = self.variables.get(name) {
            return Some(Code::atom(format!("vars.{variable}")));
        }
        // A value at the top of a file cannot be overridden, so it may stand where it is used.
        let value = self.definitions.values.get(name)?.value.clone();
        self.code(&value)
    }

    /// What `target.NAME.ATTRIBUTE` is in its own block.
    pub fn reference(&self, source: &Expression, attribute: &str) -> Option<Rc<Expression>> {
        let Kind::Attribute(root, name) = &source.kind else { return None };
        let Kind::Variable(kind) = &root.kind else { return None };
        let blocks = self.definitions.blocks.iter().filter(|block| {
            block.kind.word() == &**kind && block.label == *name && block.body.attribute("matrix").is_none()
        });
        let mut values = blocks.filter_map(|block| Some(block.body.attribute(attribute)?.value.clone()));
        let only = values.next()?;
        values.next().is_none().then_some(only)
    }

    fn concatenation(&mut self, template: &Template) -> Option<Code> {
        self.joined(&template.parts)
    }

    fn joined(&mut self, parts: &[Part]) -> Option<Code> {
        match parts {
            [] => Some(Code::of_text("")),
            [one] => self.part(one),
            parts => {
                let parts: Option<Vec<String>> =
                    parts.iter().map(|part| Some(self.part(part)?.guarded())).collect();
                Some(Code::compound(parts?.join(" ~ ")))
            }
        }
    }

    fn part(&mut self, part: &Part) -> Option<Code> {
        match part {
            Part::Literal(text) => Some(Code::of_text(text)),
            Part::Interpolation(expression) => self.code(expression),
            Part::If { condition, then, otherwise } => Some(Code::compound(format!(
                "{} if {} else {}",
                self.joined(then)?.guarded_operand(),
                self.code(condition)?.guarded_operand(),
                self.joined(otherwise)?.guarded_operand()
            ))),
            Part::For { .. } => None,
        }
    }

    fn call(&mut self, call: &Call) -> Option<Code> {
        if call.is_expanded {
            return None;
        }
        let arguments = call.arguments.as_slice();
        match (&*call.name, arguments) {
            ("equal", [a, b]) => self.binary("==", a, b),
            ("notequal", [a, b]) => self.binary("!=", a, b),
            ("and", [a, b]) => self.binary("and", a, b),
            ("or", [a, b]) => self.binary("or", a, b),
            ("greaterthan", [a, b]) => self.binary(">", a, b),
            ("greaterthanorequalto", [a, b]) => self.binary(">=", a, b),
            ("lessthan", [a, b]) => self.binary("<", a, b),
            ("lessthanorequalto", [a, b]) => self.binary("<=", a, b),
            ("add", [a, b]) => self.binary("+", a, b),
            ("subtract", [a, b]) => self.binary("-", a, b),
            ("modulo", [a, b]) => self.binary("%", a, b),
            ("contains", [list, member]) => self.binary("in", member, list),
            ("not", [a]) => Some(Code::compound(format!("not {}", self.code(a)?.guarded()))),
            ("upper" | "lower", [a]) => self.filtered(a, &call.name),
            ("trimspace", [a]) => self.filtered(a, "trim"),
            ("length" | "strlen", [a]) => self.filtered(a, "length"),
            ("sanitize", [a]) => self.filtered(a, "replace('.', '_')"),
            ("replace", [text, from, to]) => {
                let filter = format!("replace({}, {})", self.code(from)?.text, self.code(to)?.text);
                self.filtered(text, &filter)
            }
            ("join", [separator, list]) => {
                let filter = format!("join({})", self.code(separator)?.text);
                self.filtered(list, &filter)
            }
            ("split", [separator, text]) => {
                let filter = format!("split({})", self.code(separator)?.text);
                self.filtered(text, &filter)
            }
            ("trimprefix", [text, affix]) => self.trimmed(text, affix, true),
            ("trimsuffix", [text, affix]) => self.trimmed(text, affix, false),
            ("substr", [text, start, length]) => {
                let (start, length) = (whole(start)?, whole(length)?);
                let end = if length < 0 { String::new() } else { (start + length).to_string() };
                Some(Code::atom(format!("{}[{start}:{end}]", self.code(text)?.guarded())))
            }
            ("slice", [list, start, end]) => {
                let (start, end) = (whole(start)?, whole(end)?);
                Some(Code::atom(format!("{}[{start}:{end}]", self.code(list)?.guarded())))
            }
            ("element" | "index", [list, at]) => {
                Some(Code::atom(format!("{}[{}]", self.code(list)?.guarded(), self.code(at)?.text)))
            }
            ("format", [form, rest @ ..]) => self.format(form.literal_text()?, rest),
            _ => None,
        }
    }

    fn filtered(&mut self, operand: &Expression, filter: &str) -> Option<Code> {
        // A filter binds tighter than every operator, but is no atom where another postfix follows.
        Some(Code::compound(format!("{} | {filter}", self.code(operand)?.guarded())))
    }

    fn trimmed(&mut self, text: &Expression, affix: &Expression, is_start: bool) -> Option<Code> {
        let affix = affix.literal_text().filter(|affix| !affix.is_empty())?;
        let (text, length) = (self.code(text)?.guarded(), affix.chars().count());
        let (test, slice) = match is_start {
            true => ("startingwith", format!("[{length}:]")),
            false => ("endingwith", format!("[:-{length}]")),
        };
        Some(Code::compound(format!("{text}{slice} if {text} is {test}({}) else {text}", literal(affix))))
    }

    /// `%s`, `%d` and `%v` and nothing else.
    fn format(&mut self, form: &str, arguments: &[Expression]) -> Option<Code> {
        let mut arguments = arguments.iter();
        let mut parts = Vec::new();
        let mut rest = form;
        while let Some(at) = rest.find('%') {
            if at > 0 {
                parts.push(literal(&rest[..at]));
            }
            match rest[at + 1..].chars().next()? {
                's' | 'd' | 'v' => parts.push(self.code(arguments.next()?)?.guarded()),
                _ => return None,
            }
            rest = &rest[at + 2..];
        }
        if !rest.is_empty() {
            parts.push(literal(rest));
        }
        arguments.next().is_none().then(|| Code::compound(parts.join(" ~ ")))
    }
}

impl Code {
    /// `not` and an atom.
    fn is_negation(&self) -> bool {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        self.text.strip_prefix("not ").is_some_and(|rest| rest.chars().all(is_word))
    }

    /// What is wanted to be false.
    pub fn negated(&self) -> String {
        format!("not {}", self.guarded())
    }

    /// A condition is read well without brackets, unless it is a choice itself.
    pub fn guarded_operand(&self) -> String {
        if self.text.contains(" if ") { self.guarded() } else { self.text.clone() }
    }
}

fn is_comparison(text: &str) -> bool {
    let has = |word: &str| text.contains(word);
    !has(" and ") && !has(" or ") && !has(" if ") && [" == ", " != ", " in "].iter().any(|word| has(word))
}

fn whole(expression: &Expression) -> Option<i64> {
    match &expression.kind {
        Kind::Literal(Value::Number(number)) => number.to_i64(),
        Kind::Unary(UnaryOperator::Negate, operand) => whole(operand).map(|number| -number),
        _ => None,
    }
}

fn literal_value(value: &Value) -> Option<Code> {
    match value {
        Value::Bool(flag) => Some(Code::atom(flag.to_string())),
        Value::Number(number) => Some(Code::atom(number.to_i64()?.to_string())),
        Value::String(text) => Some(Code::of_text(text)),
        Value::Null(_)
        | Value::List(..)
        | Value::Set(..)
        | Value::Map(..)
        | Value::Tuple(_)
        | Value::Object(_) => None,
    }
}

fn operator_word(operator: BinaryOperator) -> Option<&'static str> {
    Some(match operator {
        BinaryOperator::Or => "or",
        BinaryOperator::And => "and",
        BinaryOperator::Equal => "==",
        BinaryOperator::NotEqual => "!=",
        BinaryOperator::Greater => ">",
        BinaryOperator::GreaterOrEqual => ">=",
        BinaryOperator::Less => "<",
        BinaryOperator::LessOrEqual => "<=",
        BinaryOperator::Add => "+",
        BinaryOperator::Subtract => "-",
        BinaryOperator::Modulo => "%",
        // Templates do not multiply, and divide otherwise than HCL.
        BinaryOperator::Multiply | BinaryOperator::Divide => return None,
    })
}
