//! Expressions: conditions, operators by precedence, terms and what may follow them.

use std::rc::Rc;

use super::number::Number;
use super::scan::{Cursor, Parsed};
use super::syntax::{
    BinaryOperator, Call, Expression, ExpressionKind as Kind, For, ObjectItem, UnaryOperator,
};
use super::template::{heredoc, quoted};
use super::value::Value;

/// Operators, members and indexes of one expression; a longer chain would cost too deep a stack.
const LONGEST_CHAIN: usize = 250;

const OPERATORS: [(&str, BinaryOperator); 13] = [
    ("||", BinaryOperator::Or),
    ("&&", BinaryOperator::And),
    ("==", BinaryOperator::Equal),
    ("!=", BinaryOperator::NotEqual),
    (">=", BinaryOperator::GreaterOrEqual),
    ("<=", BinaryOperator::LessOrEqual),
    (">", BinaryOperator::Greater),
    ("<", BinaryOperator::Less),
    ("+", BinaryOperator::Add),
    ("-", BinaryOperator::Subtract),
    ("*", BinaryOperator::Multiply),
    ("/", BinaryOperator::Divide),
    ("%", BinaryOperator::Modulo),
];

/// One expression; ends before what cannot belong to it.
pub fn expression(cursor: &mut Cursor<'_>) -> Parsed<Expression> {
    cursor.nested(|cursor| {
        cursor.skip_space();
        let start = cursor.at;
        let condition = operation(cursor, 1)?;
        let end = cursor.at;
        cursor.skip_space();
        if !cursor.take("?") {
            cursor.at = end;
            return Ok(condition);
        }
        let then = expression(cursor)?;
        cursor.skip_space();
        if !cursor.take(":") {
            return Err(cursor.unexpected("`:` and the value for when the condition is false"));
        }
        let otherwise = expression(cursor)?;
        let parts = Box::new([condition, then, otherwise]);
        Ok(Expression::new(Kind::Conditional(parts), cursor.span_from(start)))
    })
}

/// Operators that bind at least as tight as `precedence`.
fn operation(cursor: &mut Cursor<'_>, precedence: u8) -> Parsed<Expression> {
    let start = cursor.at;
    let mut left = unary(cursor)?;
    for _ in 0..LONGEST_CHAIN {
        let end = cursor.at;
        cursor.skip_space();
        let Some((text, operator)) = next_operator(cursor).filter(|(_, o)| o.precedence() >= precedence)
        else {
            cursor.at = end;
            return Ok(left);
        };
        cursor.at += text.len();
        cursor.skip_space();
        let right = operation(cursor, operator.precedence() + 1)?;
        let operands = Box::new([left, right]);
        left = Expression::new(Kind::Binary(operator, operands), cursor.span_from(start));
    }
    Err(cursor.wrong(start..cursor.at, "the expression has too many operators", "too long"))
}

fn next_operator(cursor: &Cursor<'_>) -> Option<(&'static str, BinaryOperator)> {
    let operator = OPERATORS.iter().find(|(text, _)| cursor.starts_with(text)).copied();
    // In a template, `%}` closes nothing, but `~}` and `}` do; `%{` begins a directive.
    operator.filter(|_| !cursor.starts_with("%{"))
}

fn unary(cursor: &mut Cursor<'_>) -> Parsed<Expression> {
    let start = cursor.at;
    let operator = match cursor.peek() {
        Some('!') if !cursor.starts_with("!=") => UnaryOperator::Not,
        Some('-') => UnaryOperator::Negate,
        _ => return term(cursor),
    };
    cursor.at += 1;
    cursor.skip_space();
    let operand = cursor.nested(unary)?;
    Ok(Expression::new(Kind::Unary(operator, Box::new(operand)), cursor.span_from(start)))
}

/// A term with its members, indexes and splats.
fn term(cursor: &mut Cursor<'_>) -> Parsed<Expression> {
    let start = cursor.at;
    let primary = primary(cursor)?;
    traversal(cursor, primary, start)
}

fn traversal(cursor: &mut Cursor<'_>, mut source: Expression, start: usize) -> Parsed<Expression> {
    for _ in 0..LONGEST_CHAIN {
        let end = cursor.at;
        // A line break before a dot or bracket ends the expression, but within brackets it is space.
        if !cursor.lines_count {
            cursor.skip_space();
        }
        let next = cursor.rest();
        let kind = if next.starts_with("...") {
            cursor.at = end;
            return Ok(source);
        } else if next.starts_with(".*") {
            cursor.at += 2;
            let each = attribute_splat(cursor, start)?;
            Kind::Splat { source: Box::new(source), each: Box::new(each) }
        } else if next.starts_with('.') {
            cursor.at += 1;
            member(cursor, source)?
        } else if next.starts_with('[') {
            index(cursor, source, start)?
        } else {
            cursor.at = end;
            return Ok(source);
        };
        source = Expression::new(kind, cursor.span_from(start));
    }
    Err(cursor.wrong(start..cursor.at, "the expression has too many members", "too long"))
}

/// What follows a dot: a name, or a number in the way of old.
fn member(cursor: &mut Cursor<'_>, source: Expression) -> Parsed<Kind> {
    cursor.skip_space();
    let start = cursor.at;
    if let Some(name) = cursor.identifier() {
        return Ok(Kind::Attribute(Box::new(source), name));
    }
    let digits = cursor.rest().bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return Err(cursor.unexpected("the name of an attribute"));
    }
    let number = Number::parse(&cursor.rest()[..digits]);
    cursor.at += digits;
    let Some(number) = number else {
        return Err(cursor.wrong(start..cursor.at, "the index is not a number", "here"));
    };
    let index = Expression::new(Kind::Literal(Value::Number(number)), cursor.span_from(start));
    Ok(Kind::Index(Box::new(source), Box::new(index)))
}

/// The names after `.*`, each of which is looked up in every element.
fn attribute_splat(cursor: &mut Cursor<'_>, start: usize) -> Parsed<Expression> {
    let mut each = Expression::new(Kind::Item, cursor.span_from(start));
    for _ in 0..LONGEST_CHAIN {
        if !cursor.starts_with(".") || cursor.starts_with(".*") || cursor.starts_with("...") {
            return Ok(each);
        }
        cursor.at += 1;
        let kind = member(cursor, each)?;
        each = Expression::new(kind, cursor.span_from(start));
    }
    Err(cursor.wrong(start..cursor.at, "the expression has too many members", "too long"))
}

/// `[index]`, or `[*]` with everything after it.
fn index(cursor: &mut Cursor<'_>, source: Expression, start: usize) -> Parsed<Kind> {
    cursor.at += 1;
    let is_splat = cursor.with_lines(false, |cursor| {
        cursor.skip_space();
        let is_splat = cursor.take("*");
        if is_splat {
            cursor.skip_space();
        }
        Ok(is_splat)
    })?;
    if is_splat {
        if !cursor.take("]") {
            return Err(cursor.unexpected("`]`"));
        }
        let item = Expression::new(Kind::Item, cursor.span_from(start));
        let each = cursor.nested(|cursor| traversal(cursor, item, start))?;
        return Ok(Kind::Splat { source: Box::new(source), each: Box::new(each) });
    }
    let key = cursor.with_lines(false, |cursor| {
        let key = expression(cursor)?;
        cursor.skip_space();
        Ok(key)
    })?;
    if !cursor.take("]") {
        return Err(cursor.unexpected("`]`"));
    }
    Ok(Kind::Index(Box::new(source), Box::new(key)))
}

fn primary(cursor: &mut Cursor<'_>) -> Parsed<Expression> {
    let start = cursor.at;
    let kind = match cursor.peek() {
        Some('"') => Kind::Template(quoted(cursor)?),
        Some('<') if cursor.starts_with("<<") => Kind::Template(heredoc(cursor)?),
        Some('0'..='9') => number(cursor)?,
        Some('(') => parentheses(cursor)?,
        Some('[') => brackets(cursor)?,
        Some('{') => braces(cursor)?,
        _ => match cursor.identifier() {
            Some(name) => named(cursor, name, start)?,
            None => return Err(cursor.unexpected("a value")),
        },
    };
    Ok(Expression::new(kind, cursor.span_from(start)))
}

/// A variable, a constant, or a call.
fn named(cursor: &mut Cursor<'_>, mut name: Rc<str>, start: usize) -> Parsed<Kind> {
    while cursor.starts_with("::") {
        cursor.at += 2;
        match cursor.identifier() {
            Some(rest) => name = Rc::from(format!("{name}::{rest}")),
            None => return Err(cursor.unexpected("the name of a function")),
        }
    }
    let name_span = cursor.span_from(start);
    let after_name = cursor.at;
    cursor.skip_space();
    if cursor.take("(") {
        let call = cursor.with_lines(false, |cursor| arguments(cursor, name, name_span))?;
        return Ok(Kind::Call(call));
    }
    cursor.at = after_name;
    Ok(match &*name {
        "true" => Kind::Literal(Value::Bool(true)),
        "false" => Kind::Literal(Value::Bool(false)),
        "null" => Kind::Literal(Value::null()),
        _ => Kind::Variable(name),
    })
}

fn arguments(cursor: &mut Cursor<'_>, name: Rc<str>, name_span: crate::diag::Span) -> Parsed<Call> {
    let mut call = Call { name, name_span, arguments: Vec::new(), is_expanded: false };
    loop {
        cursor.skip_space();
        if cursor.take(")") {
            return Ok(call);
        }
        call.arguments.push(expression(cursor)?);
        cursor.skip_space();
        if cursor.take("...") {
            call.is_expanded = true;
            cursor.skip_space();
            if !cursor.take(")") {
                return Err(cursor.unexpected("`)` after the expanded argument"));
            }
            return Ok(call);
        }
        if !cursor.take(",") && !cursor.starts_with(")") {
            return Err(cursor.unexpected("`,` or `)`"));
        }
    }
}

fn number(cursor: &mut Cursor<'_>) -> Parsed<Kind> {
    let rest = cursor.rest().as_bytes();
    let digits = |from: usize| rest[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut length = digits(0);
    if rest.get(length) == Some(&b'.') && digits(length + 1) > 0 {
        length += 1 + digits(length + 1);
    }
    if matches!(rest.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(rest.get(length + 1), Some(b'+' | b'-')));
        let exponent = digits(length + 1 + sign);
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    let start = cursor.at;
    let parsed = Number::parse(&cursor.rest()[..length]);
    cursor.at += length;
    match parsed {
        Some(number) => Ok(Kind::Literal(Value::Number(number))),
        None => Err(cursor.wrong(start..cursor.at, "the number is too large", "here")),
    }
}

fn parentheses(cursor: &mut Cursor<'_>) -> Parsed<Kind> {
    let open = cursor.at;
    cursor.at += 1;
    let inner = cursor.with_lines(false, |cursor| {
        let inner = expression(cursor)?;
        cursor.skip_space();
        Ok(inner)
    })?;
    if !cursor.take(")") {
        if cursor.is_at_end() {
            return Err(cursor.wrong(open..open + 1, "a parenthesis is not closed", "opened here"));
        }
        return Err(cursor.unexpected("`)`"));
    }
    Ok(Kind::Parentheses(Box::new(inner)))
}

/// A tuple or a `for` that makes one.
fn brackets(cursor: &mut Cursor<'_>) -> Parsed<Kind> {
    let open = cursor.at;
    cursor.at += 1;
    cursor.with_lines(false, |cursor| {
        if is_for(cursor) {
            return for_expression(cursor, "]");
        }
        let mut elements = Vec::new();
        loop {
            cursor.skip_space();
            if cursor.take("]") {
                return Ok(Kind::Tuple(elements));
            }
            if cursor.is_at_end() {
                return Err(cursor.wrong(open..open + 1, "a list is not closed", "opened here"));
            }
            elements.push(expression(cursor)?);
            cursor.skip_space();
            if !cursor.take(",") && !cursor.starts_with("]") {
                return Err(cursor.unexpected("`,` or `]`"));
            }
        }
    })
}

/// An object or a `for` that makes one. Items end with a comma or a line.
fn braces(cursor: &mut Cursor<'_>) -> Parsed<Kind> {
    let open = cursor.at;
    cursor.at += 1;
    if is_for(cursor) {
        return cursor.with_lines(false, |cursor| for_expression(cursor, "}"));
    }
    cursor.with_lines(true, |cursor| {
        let mut items = Vec::new();
        loop {
            cursor.skip_lines();
            if cursor.take("}") {
                return Ok(Kind::Object(items));
            }
            if cursor.is_at_end() {
                return Err(cursor.wrong(open..open + 1, "an object is not closed", "opened here"));
            }
            items.push(object_item(cursor)?);
            cursor.skip_space();
            let is_next_line = cursor.starts_with("\n") || cursor.starts_with("\r\n");
            if !cursor.take(",") && !cursor.starts_with("}") && !is_next_line {
                return Err(cursor.unexpected("`,`, a new line or `}`"));
            }
        }
    })
}

fn object_item(cursor: &mut Cursor<'_>) -> Parsed<ObjectItem> {
    let start = cursor.at;
    let key = object_key(cursor, start)?;
    cursor.skip_space();
    if !cursor.take("=") && !cursor.take(":") {
        return Err(cursor.unexpected("`=` and the value of the key"));
    }
    Ok(ObjectItem { key, value: expression(cursor)? })
}

/// A bare word as key is itself, not the variable of that name.
fn object_key(cursor: &mut Cursor<'_>, start: usize) -> Parsed<Expression> {
    let key = operation(cursor, 1)?;
    let text = match &key.kind {
        Kind::Variable(name) => name.clone(),
        Kind::Literal(Value::Null(_)) => Rc::from("null"),
        Kind::Literal(Value::Bool(value)) => Rc::from(if *value { "true" } else { "false" }),
        Kind::Attribute(..) | Kind::Index(..) => {
            let mut problem =
                cursor.wrong(start..cursor.at, "the key is ambiguous", "a name or a reference?");
            problem.help = Some("put a reference into parentheses, a name with dots into quotes".to_string());
            return Err(problem);
        }
        _ => return Ok(key),
    };
    Ok(Expression::new(Kind::Literal(Value::String(text)), key.span))
}

fn is_for(cursor: &mut Cursor<'_>) -> bool {
    let start = cursor.at;
    cursor.skip_lines();
    let is_for = cursor.identifier().is_some_and(|word| &*word == "for")
        && cursor.peek().is_some_and(char::is_whitespace);
    if is_for {
        // `{ for = 1 }` is an object all the same.
        let after = cursor.at;
        cursor.skip_lines();
        let is_name = cursor.peek().is_some_and(super::syntax::starts_identifier);
        cursor.at = if is_name { after } else { start };
        return is_name;
    }
    cursor.at = start;
    false
}

/// The names after `for`: the value's, or the key's and the value's.
pub fn for_names(cursor: &mut Cursor<'_>) -> Parsed<(Option<Rc<str>>, Rc<str>)> {
    cursor.skip_space();
    let Some(first) = cursor.identifier() else { return Err(cursor.unexpected("a name")) };
    cursor.skip_space();
    let names = if cursor.take(",") {
        cursor.skip_space();
        let Some(second) = cursor.identifier() else { return Err(cursor.unexpected("a name")) };
        (Some(first), second)
    } else {
        (None, first)
    };
    cursor.skip_space();
    let start = cursor.at;
    if cursor.identifier().as_deref() != Some("in") {
        cursor.at = start;
        return Err(cursor.unexpected("`in` and a collection"));
    }
    Ok(names)
}

fn for_expression(cursor: &mut Cursor<'_>, close: &str) -> Parsed<Kind> {
    let (key_name, value_name) = for_names(cursor)?;
    let collection = expression(cursor)?;
    cursor.skip_space();
    if !cursor.take(":") {
        return Err(cursor.unexpected("`:` and what to make of each element"));
    }
    let first = expression(cursor)?;
    cursor.skip_space();
    let (key, value) = if close == "}" {
        if !cursor.take("=>") {
            return Err(cursor.unexpected("`=>` and the value of the key"));
        }
        (Some(first), expression(cursor)?)
    } else {
        (None, first)
    };
    cursor.skip_space();
    let is_grouped = cursor.take("...");
    cursor.skip_space();
    let before = cursor.at;
    let condition = if cursor.identifier().as_deref() == Some("if") {
        Some(expression(cursor)?)
    } else {
        cursor.at = before;
        None
    };
    cursor.skip_space();
    if !cursor.take(close) {
        return Err(cursor.unexpected(&format!("`{close}`")));
    }
    let whole = For { key_name, value_name, collection, key, value, condition, is_grouped };
    Ok(Kind::For(Box::new(whole)))
}
