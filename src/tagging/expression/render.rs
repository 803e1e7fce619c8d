//! Pieces and what names stand for, made into text.

use std::borrow::Cow;

use super::{Argument, Asked, Block, Call, Datum, From, LONGEST, Names, Operand, Path, Piece};

/// Pieces that one pattern may come by: blocks go round, and within each other.
const MOST_PIECES: usize = 10_000;

pub fn rendered(pieces: &[Piece], names: &dyn Names) -> Result<String, String> {
    let mut renderer = Renderer {
        names,
        subjects: vec![Value::Root],
        data: Vec::new(),
        text: String::new(),
        left: MOST_PIECES,
    };
    renderer.pieces(pieces)?;
    Ok(renderer.text)
}

/// What a part of a pattern comes to, as JavaScript has it.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Undefined,
    Boolean(bool),
    Datum(Datum),
    /// What has all names as its members.
    Root,
}

/// What is said within a block beside its subject.
struct Data {
    /// The place of a member in its list, and how long that is.
    place: Option<(usize, usize)>,
    params: Vec<(String, Value)>,
}

struct Renderer<'n> {
    names: &'n dyn Names,
    /// What names are members of, the innermost last.
    subjects: Vec<Value>,
    data: Vec<Data>,
    text: String,
    left: usize,
}

impl Renderer<'_> {
    fn pieces(&mut self, pieces: &[Piece]) -> Result<(), String> {
        for piece in pieces {
            self.left = self
                .left
                .checked_sub(1)
                .ok_or_else(|| format!("the pattern goes through more than {MOST_PIECES} pieces"))?;
            match piece {
                Piece::Letters(letters) => self.text.push_str(letters),
                Piece::Value { asked, is_escaped } => {
                    let value = self.value(asked)?.text();
                    let is_escaped = *is_escaped && self.names.escapes();
                    self.text.push_str(&if is_escaped { escaped(&value) } else { Cow::from(value) });
                }
                Piece::Block(block) => self.block(block)?,
            }
            if self.text.len() > LONGEST {
                return Err(format!("the pattern comes to more than {LONGEST} bytes"));
            }
        }
        Ok(())
    }

    fn block(&mut self, block: &Block) -> Result<(), String> {
        let Block { asked, then, otherwise, .. } = block;
        let kind = match &asked.path {
            Path { from: From::Here, parts } => parts.join("."),
            _ => String::new(),
        };
        let given = |renderer: &Self| renderer.argument(&asked.arguments[0]);
        match kind.as_str() {
            "if" | "unless" => {
                let value = given(self)?;
                // Zero is false unless asked otherwise.
                let counts_zero = match asked.named.iter().find(|(key, _)| key == "includeZero") {
                    Some((_, asked)) => self.argument(asked)?.is_true(),
                    None => false,
                };
                let is_true = value.is_true() || counts_zero && value == Value::Datum(Datum::Number(0));
                self.pieces(if is_true == (kind == "if") { then } else { otherwise })
            }
            "each" => match given(self)? {
                Value::Datum(Datum::List(members)) if !members.is_empty() => self.each(block, members),
                Value::Root => Err("`{{#each}}` goes through lists".to_string()),
                _ => self.pieces(otherwise),
            },
            "with" => match given(self)? {
                // Zero is something here.
                value if value.is_true() || value == Value::Datum(Datum::Number(0)) => {
                    self.within(block, value)
                }
                _ => self.pieces(otherwise),
            },
            _ if asked.arguments.is_empty() && asked.named.is_empty() => match self.value(asked)? {
                Value::Undefined | Value::Boolean(false) => self.pieces(otherwise),
                Value::Boolean(true) => self.pieces(then),
                Value::Datum(Datum::List(members)) if members.is_empty() => self.pieces(otherwise),
                Value::Datum(Datum::List(members)) => self.each(block, members),
                value => self.within(block, value),
            },
            // A function that is given something tells what stands here, whatever the block holds.
            _ => {
                let text = self.value(asked)?.text();
                self.text.push_str(&text);
                Ok(())
            }
        }
    }

    fn each(&mut self, block: &Block, members: Vec<String>) -> Result<(), String> {
        let many = members.len();
        for (index, member) in members.into_iter().enumerate() {
            let value = Value::Datum(Datum::Text(member));
            let of_params = [value.clone(), Value::Datum(Datum::Number(index as u64))];
            let params = block.params.iter().cloned().zip(of_params).collect();
            self.about(value, Data { place: Some((index, many)), params }, &block.then)?;
        }
        Ok(())
    }

    fn within(&mut self, block: &Block, value: Value) -> Result<(), String> {
        let params = block.params.iter().cloned().zip([value.clone()]).collect();
        self.about(value, Data { place: None, params }, &block.then)
    }

    /// Pieces with another subject. What is the subject already is not a block further out.
    fn about(&mut self, value: Value, data: Data, pieces: &[Piece]) -> Result<(), String> {
        self.data.push(data);
        let is_other = self.subjects.last() != Some(&value);
        if is_other {
            self.subjects.push(value);
        }
        self.pieces(pieces)?;
        if is_other {
            self.subjects.pop();
        }
        self.data.pop();
        Ok(())
    }

    fn value(&self, asked: &Asked) -> Result<Value, String> {
        let Asked { path, arguments, named } = asked;
        if arguments.is_empty() && named.is_empty() {
            return self.at(path);
        }
        let name = path.parts.join(".");
        match (&path.from, name.as_str(), &arguments[..]) {
            (From::Here, "lookup", [of, field]) => {
                return self.argument(of)?.member(&self.argument(field)?.text(), self.names);
            }
            (From::Here, "lookup", _) => {
                return Err("`lookup` takes a name and one of its members".to_string());
            }
            (From::Here, "log", _) => return Ok(Value::Undefined),
            _ => {}
        }
        let operand = |argument: &Argument| self.operand(argument);
        let arguments = arguments.iter().map(operand).collect::<Result<_, _>>()?;
        let named = named.iter().map(|(key, argument)| Ok::<_, String>((key.clone(), operand(argument)?)));
        let call = Call { name, arguments, named: named.collect::<Result<_, _>>()? };
        // Functions are members of what all names are members of, and of nothing else.
        let is_of_root = match path.from {
            From::Here => self.subjects.last() == Some(&Value::Root),
            From::Out(out) => self.subject(out) == Value::Root,
            From::Root => true,
            From::Data(_) => false,
        };
        let value = if is_of_root { self.names.value(&call)? } else { None };
        value.map(Value::Datum).ok_or_else(|| format!("there is no function `{}`", call.name))
    }

    fn argument(&self, argument: &Argument) -> Result<Value, String> {
        Ok(match argument {
            Argument::Path(path) => self.at(path)?,
            Argument::Inner(asked) => self.value(asked)?,
            Argument::Literal(Operand::Text(text)) => Value::Datum(Datum::Text(text.clone())),
            Argument::Literal(Operand::Boolean(truth)) => Value::Boolean(*truth),
            Argument::Literal(Operand::Number(number)) => match number.parse() {
                Ok(number) => Value::Datum(Datum::Number(number)),
                Err(_) => Value::Datum(Datum::Text(number.clone())),
            },
            Argument::Literal(Operand::Name(_)) => Value::Undefined,
        })
    }

    /// As a function gets it: what is a member of everything is left for it to look at.
    fn operand(&self, argument: &Argument) -> Result<Operand, String> {
        let value = match argument {
            Argument::Literal(operand) => return Ok(operand.clone()),
            Argument::Path(Path { from: From::Here, parts }) if self.param(&parts[0]).is_none() => {
                return Ok(Operand::Name(parts.join(".")));
            }
            Argument::Path(path) => self.at(path)?,
            Argument::Inner(asked) => self.value(asked)?,
        };
        Ok(match value {
            Value::Undefined | Value::Root => Operand::Name("undefined".to_string()),
            Value::Boolean(truth) => Operand::Boolean(truth),
            Value::Datum(Datum::Number(number)) => Operand::Number(number.to_string()),
            value @ Value::Datum(_) => Operand::Text(value.text()),
        })
    }

    /// What a block calls so.
    fn param(&self, name: &str) -> Option<&Value> {
        let params = self.data.iter().rev().flat_map(|data| &data.params);
        params.into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    fn subject(&self, out: usize) -> Value {
        let place = self.subjects.len().checked_sub(out + 1);
        place.map_or(Value::Undefined, |place| self.subjects[place].clone())
    }

    fn at(&self, path: &Path) -> Result<Value, String> {
        let Path { from, parts } = path;
        let (start, parts) = match from {
            From::Root => (Value::Root, &parts[..]),
            From::Out(out) => (self.subject(*out), &parts[..]),
            From::Here => match self.param(&parts[0]) {
                Some(value) => (value.clone(), &parts[1..]),
                None => (self.subject(0), &parts[..]),
            },
            From::Data(out) => return Ok(self.datum(*out, parts)),
        };
        if start == Value::Root && !parts.is_empty() {
            // It may know its members' members.
            match member_of_all(&parts.join("."), self.names)? {
                Value::Undefined => {}
                value => return Ok(value),
            }
        }
        parts.iter().try_fold(start, |value, part| value.member(part, self.names))
    }

    /// `@index`, `@key`, `@first`, `@last`.
    fn datum(&self, out: usize, parts: &[String]) -> Value {
        let places: Vec<(usize, usize)> = self.data.iter().rev().filter_map(|data| data.place).collect();
        let (Some((index, many)), [name]) = (places.get(out), parts) else { return Value::Undefined };
        match name.as_str() {
            "index" | "key" => Value::Datum(Datum::Number(*index as u64)),
            "first" => Value::Boolean(*index == 0),
            "last" => Value::Boolean(index + 1 == *many),
            _ => Value::Undefined,
        }
    }
}

fn member_of_all(name: &str, names: &dyn Names) -> Result<Value, String> {
    let call = Call { name: name.to_string(), arguments: Vec::new(), named: Vec::new() };
    Ok(names.value(&call)?.map_or(Value::Undefined, Value::Datum))
}

impl Value {
    /// An empty list is as false as an empty text.
    fn is_true(&self) -> bool {
        match self {
            Self::Undefined => false,
            Self::Boolean(truth) => *truth,
            Self::Datum(Datum::Text(text)) => !text.is_empty(),
            Self::Datum(Datum::Number(number)) => *number != 0,
            Self::Datum(Datum::List(members)) => !members.is_empty(),
            Self::Root => true,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Undefined => String::new(),
            Self::Boolean(truth) => truth.to_string(),
            Self::Datum(Datum::Text(text)) => text.clone(),
            Self::Datum(Datum::Number(number)) => number.to_string(),
            Self::Datum(Datum::List(members)) => members.join(","),
            Self::Root => "[object Object]".to_string(),
        }
    }

    fn member(&self, name: &str, names: &dyn Names) -> Result<Self, String> {
        let index = || name.parse::<usize>().ok().filter(|index| index.to_string() == name);
        let number = |number: usize| Self::Datum(Datum::Number(number as u64));
        Ok(match self {
            Self::Root => return member_of_all(name, names),
            Self::Datum(Datum::List(members)) if name == "length" => number(members.len()),
            Self::Datum(Datum::Text(text)) if name == "length" => number(text.encode_utf16().count()),
            Self::Datum(Datum::List(members)) => {
                let member = index().and_then(|index| members.get(index));
                member.map_or(Self::Undefined, |member| Self::Datum(Datum::Text(member.clone())))
            }
            Self::Datum(Datum::Text(text)) => {
                let letter = index().and_then(|index| text.chars().nth(index));
                letter.map_or(Self::Undefined, |letter| Self::Datum(Datum::Text(letter.to_string())))
            }
            Self::Undefined | Self::Boolean(_) | Self::Datum(Datum::Number(_)) => Self::Undefined,
        })
    }
}

fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'', '`', '=']) {
        return Cow::Borrowed(text);
    }
    let mut written = String::new();
    for letter in text.chars() {
        match letter {
            '&' => written.push_str("&amp;"),
            '<' => written.push_str("&lt;"),
            '>' => written.push_str("&gt;"),
            '"' => written.push_str("&quot;"),
            '\'' => written.push_str("&#x27;"),
            '`' => written.push_str("&#x60;"),
            '=' => written.push_str("&#x3D;"),
            other => written.push(other),
        }
    }
    Cow::Owned(written)
}
