//! The language of patterns: `{{name}}`, `{{date 'YYYYMMDD' tz='UTC'}}`, `{{#if name}}…{{else}}…{{/if}}`.
//!
//! It is Handlebars as docker/metadata-action's rules are written in it: names without a value are empty, `{{{name}}}`
//! and `{{&name}}` are never escaped, `~` takes white space away, `{{!…}}` is a comment. Blocks are `if`, `unless`,
//! `each`, `with`, and a name's own `{{#name}}` and `{{^name}}`, with `{{else if …}}`, `../name`, `@index` and
//! `as |member|`; `(lookup build 0)` stands wherever a value may. A rule is one line, so that nothing is said of lines
//! which hold a block's tag alone. Does not know which names there are.

mod parse;
mod render;
mod tokens;

use parse::parsed;
use render::rendered;

/// A pattern that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Letters(String),
    Value { asked: Asked, is_escaped: bool },
    Block(Block),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    asked: Asked,
    /// What `as |member index|` calls them.
    params: Vec<String>,
    then: Vec<Piece>,
    otherwise: Vec<Piece>,
}

/// A name and what it is given, as they stand in a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    path: Path,
    arguments: Vec<Argument>,
    named: Vec<(String, Argument)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Argument {
    Literal(Operand),
    Path(Path),
    /// In parentheses.
    Inner(Asked),
}

/// `this.a/[b]`, `../a`, `@index`: from where, and which members.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Path {
    from: From,
    parts: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum From {
    /// What a block calls so, or a member of what is the subject.
    Here,
    /// A member of the subject so many blocks further out: none with `this`.
    Out(usize),
    /// `@root`
    Root,
    /// `@index` and its like, so many blocks further out.
    Data(usize),
}

/// A name, and what it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub name: String,
    pub arguments: Vec<Operand>,
    pub named: Vec<(String, Operand)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    Text(String),
    Number(String),
    Boolean(bool),
    /// One whose value is not known yet, and `undefined`.
    Name(String),
}

impl Operand {
    fn into_name(self) -> String {
        match self {
            Self::Text(text) | Self::Number(text) | Self::Name(text) => text,
            Self::Boolean(truth) => truth.to_string(),
        }
    }
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datum {
    Text(String),
    Number(u64),
    /// Shown with commas between.
    List(Vec<String>),
}

/// What names stand for.
pub trait Names {
    /// `None` for a name that there is not; an error where there is one and it cannot be had like this.
    fn value(&self, call: &Call) -> Result<Option<Datum>, String>;

    /// Whether letters that HTML has another meaning for are written as it wants them.
    fn escapes(&self) -> bool;
}

/// No pattern of a tag is as long, nor what it comes to.
const LONGEST: usize = 64 << 10;

impl Expression {
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.len() > LONGEST {
            true => Err(format!("the pattern is longer than {LONGEST} bytes")),
            false => parsed(text).map(Self),
        }
    }

    pub fn render(&self, names: &dyn Names) -> Result<String, String> {
        rendered(&self.0, names)
    }

    /// Whether it is `{{name}}` and nothing else.
    pub fn is_only(&self, name: &str) -> bool {
        let is_name = |asked: &Asked| asked.path.from != From::Root && asked.path.parts == [name];
        matches!(&self.0[..], [Piece::Value { asked, .. }] if is_name(asked))
    }
}

/// The text that a pattern comes to.
pub fn render_text(text: &str, names: &dyn Names) -> Result<String, String> {
    match text.contains("{{") {
        true => Expression::parse(text)?.render(names),
        false => Ok(text.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Table;

    impl Names for Table {
        fn value(&self, call: &Call) -> Result<Option<Datum>, String> {
            Ok(match (call.name.as_str(), &call.arguments[..]) {
                ("branch", _) => Some(Datum::Text("a&b".to_string())),
                ("zero", _) => Some(Datum::Number(0)),
                ("none", _) => Some(Datum::Text(String::new())),
                ("list", _) => Some(Datum::List(vec!["x".to_string(), "y".to_string()])),
                ("truth", _) => Some(Datum::Text("false".to_string())),
                ("many", _) => Some(Datum::List(vec![String::new(); 100])),
                ("empty", _) => Some(Datum::List(Vec::new())),
                ("list.1", _) => Some(Datum::Text("y".to_string())),
                ("say", [Operand::Text(text)]) => Some(Datum::Text(format!("{text}{:?}", call.named.len()))),
                ("bad", _) => return Err("bad".to_string()),
                _ => None,
            })
        }

        fn escapes(&self) -> bool {
            true
        }
    }

    #[test]
    fn patterns_are_rendered() {
        for (pattern, expected) in [
            ("plain", Ok("plain")),
            ("{{branch}}-{{{branch}}}-{{& branch }}", Ok("a&amp;b-a&b-a&b")),
            ("v{{ zero }}.{{this.zero}}{{nothing}}", Ok("v0.0")),
            ("{{list}} {{list.[1]}} {{list/1}}", Ok("x,y y y")),
            ("{{say 'a }} b' tz=\"x\"}}", Ok("a }} b1")),
            ("a {{~ zero ~}} b", Ok("a0b")),
            ("a{{! comment }}b{{!-- }} --}}c", Ok("abc")),
            ("\\{{zero}} {{zero}}", Ok("{{zero}} 0")),
            ("{{#if branch}}yes{{else}}no{{/if}}", Ok("yes")),
            ("{{#if zero}}yes{{else}}no{{/if}}{{#if zero includeZero=true}}!{{/if}}", Ok("no!")),
            ("{{#unless none}}a{{#if list}}b{{/if}}{{/unless}}", Ok("ab")),
            ("{{bad}}", Err("bad")),
            ("{{nothing 'x'}}", Err("there is no function `nothing`")),
            ("{{zero", Err("`{{` is not closed in `{{zero`")),
            ("{{#if zero}}", Err("`{{#if}}` is not closed")),
            ("{{/if}}", Err("`{{/if}}` closes a block that is not open")),
            ("{{> part}}", Err("`{{> part}}` is not part of the language of tag rules")),
            ("{{'zero'}}{{\"branch\"}}{{'x y'}}{{1}}{{true}}", Ok("0a&amp;b")),
            ("{{'say' 'it\\'s }}'}}{{{say \"\\\"\"}}}", Ok("it&#x27;s }}0\"0")),
            ("{{(say 'x')}}", Err("`{{(say 'x')}}` does not begin with a name")),
            ("{{a (b)}}", Err("there is no function `a`")),
            ("{{say (say 'x' tz='y'}}", Err("`(say 'x' tz='y'` is not a name, a number or a quoted text")),
            ("{{branch as |x|}}", Err("`{{branch as |x|}}` is no block, and names nothing with `as`")),
            ("{{#each this}}x{{/each}}", Err("`{{#each}}` goes through lists")),
            ("{{#if branch tag}}{{/if}}", Err("`{{#if}}` takes one name")),
            ("{{#absent 'x'}}{{/absent}}", Err("there is no function `absent`")),
            (
                "{{{{branch}}}}x{{{{/branch}}}}",
                Err("raw blocks (`{{{{…}}}}`) are not part of the language of tag rules"),
            ),
        ] {
            let rendered = render_text(pattern, &Table);
            assert_eq!(rendered.as_deref().map_err(String::as_str), expected, "{pattern}");
        }
    }

    /// What Handlebars 4.7.8 makes of the same, `branch` and its like being functions there.
    #[test]
    fn blocks_are_those_of_handlebars() {
        for (pattern, expected) in [
            ("{{#if branch}}yes{{else}}no{{/if}}", "yes"),
            ("{{#if none includeZero=true}}a{{else}}b{{/if}}", "b"),
            ("{{#if zero includeZero=true}}a{{/if}}", "a"),
            ("{{#unless none}}u{{else}}v{{/unless}}", "u"),
            ("{{#if none}}a{{else if zero}}b{{else if branch}}c{{else}}d{{/if}}", "c"),
            ("{{#if none}}a{{else unless zero}}b{{/if}}", "b"),
            ("{{#if list}}a{{/if}}{{#if empty}}b{{else}}c{{/if}}", "ac"),
            ("{{#each list}}{{this}}{{#unless @last}}-{{/unless}}{{/each}}", "x-y"),
            ("{{#each list}}{{@index}}{{@key}}{{#if @first}}f{{/if}}{{.}}{{/each}}", "00fx11y"),
            ("{{#each empty}}a{{else}}none{{/each}}", "none"),
            ("{{#each nothing}}a{{else}}none{{/each}}", "none"),
            ("{{#each branch}}a{{else}}none{{/each}}", "none"),
            ("{{#each list as |member at|}}{{at}}={{member}};{{/each}}", "0=x;1=y;"),
            ("{{#each list}}{{../zero}}{{zero}}{{@root.zero}}{{/each}}", "0000"),
            (
                "{{#each list}}{{#each ../list}}{{@../index}}{{@index}}{{../this}}{{this}} {{/each}}{{/each}}",
                "00[object Object]x 01xy 10yx 11[object Object]y ",
            ),
            ("{{#with branch}}{{this}}{{{this}}}{{branch}}{{../zero}}{{/with}}", "a&amp;ba&b0"),
            ("{{#with branch as |b|}}{{b}}{{length}}{{b.length}}{{/with}}", "a&amp;b33"),
            ("{{#with none}}a{{else}}b{{/with}}", "b"),
            ("{{#with list}}{{[1]}}{{length}}{{lookup this 0}}{{/with}}", "y2x"),
            ("{{lookup list 1}}{{lookup list 7}}{{list.length}}", "y2"),
            ("{{#if (lookup list 1)}}a{{/if}}{{#if (lookup list 9)}}b{{/if}}", "a"),
            ("{{say (lookup list 0)}}{{say 'x' tz=(lookup list 1)}}", "x0x1"),
            ("{{#each list}}{{lookup ../list @index}}{{/each}}", "xy"),
            (
                "{{#branch}}[{{this}}]{{/branch}}{{#none}}[{{this}}]{{/none}}{{#nothing}}a{{else}}b{{/nothing}}",
                "[a&amp;b][]b",
            ),
            ("{{#list}}{{this}}{{@index}}{{/list}}{{#empty}}a{{else}}b{{/empty}}", "x0y1b"),
            (
                "{{^nothing}}a{{/nothing}}{{^branch}}b{{else}}c{{/branch}}{{^empty}}d{{/empty}}{{^if none}}e{{/if}}",
                "acde",
            ),
            ("{{#if none}}a{{^}}b{{/if}}", "b"),
            ("a {{~#if branch~}} b {{~else~}} c {{~/if~}} d", "abd"),
            ("a {{~#each list~}} {{this}} {{~/each}} d", "axy d"),
            ("{{#say 'x'}}in{{/say}}{{log 'x'}}{{this.zero}}", "x00"),
            (
                "{{#if true}}a{{/if}}{{#if 0}}b{{/if}}{{#if ''}}c{{/if}}{{#if 'x'}}d{{/if}}{{#if null}}e{{/if}}{{#if undefined}}f{{/if}}",
                "ad",
            ),
            ("{{#if this}}a{{/if}}{{#each list}}{{#if this}}{{../this.zero}}{{/if}}{{/each}}", "a00"),
            ("{{#if truth}}always{{/if}}", "always"),
            ("{{#with 'text'}}{{this}}{{/with}}{{#with zero}}a{{else}}b{{/with}}", "texta"),
            ("{{#unless branch}}a{{else if list}}b{{/unless}}", "b"),
            (
                "{{#each list}}{{#with ../branch}}{{@index}}{{this}}{{../this}}{{/with}}{{/each}}",
                "0a&amp;bx1a&amp;by",
            ),
        ] {
            let rendered = render_text(pattern, &Table);
            assert_eq!(rendered.as_deref(), Ok(expected), "{pattern}");
        }
    }

    #[test]
    fn what_goes_round_for_ever_is_stopped() {
        let (open, close) = ("{{#each @root.many}}".repeat(7), "{{/each}}".repeat(7));
        let pattern = format!("{open}x{close}");
        let rendered = render_text(&pattern, &Table);
        assert_eq!(rendered, Err("the pattern goes through more than 10000 pieces".to_string()));
        let long = format!("{{{{#each many}}}}{}{{{{/each}}}}", "x".repeat(60_000));
        assert_eq!(render_text(&long, &Table), Err("the pattern comes to more than 65536 bytes".to_string()));
    }

    #[test]
    fn one_name_alone_is_seen() {
        for (pattern, expected) in [
            ("{{raw}}", true),
            (" {{raw}}", false),
            ("{{{ raw }}}", true),
            ("{{version}}", false),
            ("raw", false),
        ] {
            assert_eq!(Expression::parse(pattern).unwrap().is_only("raw"), expected, "{pattern}");
        }
    }
}
