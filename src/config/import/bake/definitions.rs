//! What bake files define, before anything is evaluated: variables, functions, values and blocks of all
//! files together. Later files win, as in bake.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::config::import::hcl::{self, Attribute, Block, Blocks, Body, Expression};
use crate::config::import::names::is_name;
use crate::config::keys::{suggestion, sure_of};
use crate::diag::{Place, Problem, Source, Span};

use super::attributes::{GROUP_ATTRIBUTES, TARGET_ATTRIBUTES};

/// One file as it was read.
#[derive(Clone, Debug)]
pub struct BakeFile {
    pub source: Arc<Source>,
    /// The directory of the file, if it has one.
    pub base: Option<String>,
    pub syntax: Syntax,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    Hcl,
    Json,
}

#[derive(Debug)]
pub struct VariableDefinition {
    pub source: Arc<Source>,
    pub place: Place,
    pub body: Rc<Body>,
}

#[derive(Debug)]
pub struct FunctionDefinition {
    pub source: Arc<Source>,
    pub place: Place,
    pub body: Rc<Body>,
}

/// `NAME = value` at the top of a file.
#[derive(Debug)]
pub struct ValueDefinition {
    pub source: Arc<Source>,
    pub place: Place,
    pub value: Rc<Expression>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockKind {
    Group,
    Target,
}

impl BlockKind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Target => "target",
        }
    }

    pub fn of_word(word: &str) -> Option<Self> {
        match word {
            "group" => Some(Self::Group),
            "target" => Some(Self::Target),
            _ => None,
        }
    }
}

/// A `group` or `target` block.
#[derive(Debug)]
pub struct BlockDefinition {
    pub kind: BlockKind,
    pub source: Arc<Source>,
    pub label: Rc<str>,
    pub label_span: Span,
    pub body: Rc<Body>,
    pub base: Option<String>,
}

#[derive(Debug, Default)]
pub struct Definitions {
    pub variables: BTreeMap<Rc<str>, VariableDefinition>,
    pub functions: BTreeMap<Rc<str>, FunctionDefinition>,
    pub values: BTreeMap<Rc<str>, ValueDefinition>,
    /// In the order of the files.
    pub blocks: Vec<BlockDefinition>,
    pub problems: Vec<Problem>,
}

/// Names that no variable can take.
const RESERVED: [&str; 4] = ["group", "target", "BAKE_CMD_CONTEXT", "BAKE_LOCAL_PLATFORM"];

const JSON_BLOCKS: Blocks =
    Blocks { root: &["group", "target", "variable", "function"], inner: &[("variable", "validation")] };

/// Reads all files; what cannot be read is among the problems.
pub fn read(files: &[BakeFile]) -> Definitions {
    let mut definitions = Definitions::default();
    for file in files {
        let parsed = match file.syntax {
            Syntax::Hcl => hcl::parse(&file.source),
            Syntax::Json => hcl::parse_json(&file.source, &JSON_BLOCKS),
        };
        match parsed {
            Ok(body) => definitions.add(file, body),
            Err(problems) => definitions.problems.extend(problems),
        }
    }
    definitions
}

impl Definitions {
    fn add(&mut self, file: &BakeFile, body: Body) {
        for attribute in body.attributes {
            self.warn_of_top_level(file, &attribute);
            self.add_value(file, attribute);
        }
        for block in body.blocks {
            match &*block.kind {
                "variable" => self.add_variable(file, block),
                "function" => self.add_function(file, block),
                word => match BlockKind::of_word(word) {
                    Some(kind) => self.add_block(file, kind, block),
                    None => self.warn_of_block(file, &block),
                },
            }
        }
    }

    /// A word for blocks that is none, where JSON has values as well.
    fn warn_of_top_level(&mut self, file: &BakeFile, attribute: &Attribute) {
        let meant = sure_of(&attribute.name, ["group", "target", "variable", "function"].into_iter());
        if let Some(meant) = meant.filter(|meant| file.syntax == Syntax::Json && **meant != *attribute.name) {
            let place = Place::new(&file.source, attribute.name_span.clone());
            let message = format!("`{}` is a value that nothing asks for", attribute.name);
            let warning = Problem::warning("bake::ignored", message).at(place, "declares nothing");
            let warning = warning.replaced_by(format!("\"{meant}\""));
            self.problems.push(warning.help(format!("did you mean `{meant}`?")));
        }
    }

    fn add_value(&mut self, file: &BakeFile, attribute: Attribute) {
        let place = Place::new(&file.source, attribute.name_span);
        if RESERVED.contains(&&*attribute.name) {
            let message = format!("`{}` cannot be set here, so bake passes over it", attribute.name);
            self.problems.push(Problem::warning("bake::ignored", message).at(place, "not used"));
            return;
        }
        let (source, value) = (file.source.clone(), attribute.value);
        self.values.insert(attribute.name, ValueDefinition { source, place, value });
    }

    /// The one label of a block.
    fn label(&mut self, file: &BakeFile, block: &Block) -> Option<(Rc<str>, Span)> {
        match block.labels.as_slice() {
            [label] => Some(label.clone()),
            labels => {
                let span = labels.get(1).map_or(&block.kind_span, |(_, span)| span);
                let place = Place::new(&file.source, span.clone());
                let message = format!("a `{}` block has one name", block.kind);
                let label = if labels.is_empty() { "no name" } else { "one too many" };
                let problem = Problem::input("bake::bad-block", message).at(place, label);
                self.problems.push(problem.help(format!("write `{} \"NAME\" {{`", block.kind)));
                None
            }
        }
    }

    fn add_variable(&mut self, file: &BakeFile, block: Block) {
        let Some((name, span)) = self.label(file, &block) else { return };
        self.warn_of_attributes(file, &block.body, "variable", &["default", "type", "description"]);
        for inner in block.body.blocks.iter().filter(|inner| &*inner.kind != "validation") {
            self.warn_of_block(file, inner);
        }
        if RESERVED.contains(&&*name) {
            let place = Place::new(&file.source, span);
            let message = format!("`{name}` is built in, so bake passes over this variable");
            self.problems.push(Problem::warning("bake::ignored", message).at(place, "not used"));
            return;
        }
        let (source, place) = (file.source.clone(), Place::new(&file.source, span));
        self.variables.insert(name, VariableDefinition { source, place, body: block.body });
    }

    fn add_function(&mut self, file: &BakeFile, block: Block) {
        let Some((name, span)) = self.label(file, &block) else { return };
        let known = ["params", "variadic_params", "result"];
        for attribute in block.body.attributes.iter().filter(|a| !known.contains(&&*a.name)) {
            let place = Place::new(&file.source, attribute.name_span.clone());
            let message = format!("a function has no attribute `{}`", attribute.name);
            self.problems.push(Problem::input("bake::unknown-key", message).at(place, "not known"));
        }
        let place = Place::new(&file.source, span);
        if hcl::is_builtin(&name) {
            let message = format!("`{name}` is a function of bake, which calls its own");
            self.problems.push(Problem::warning("bake::ignored", message).at(place.clone(), "not used"));
        }
        let source = file.source.clone();
        self.functions.insert(name, FunctionDefinition { source, place, body: block.body });
    }

    fn add_block(&mut self, file: &BakeFile, kind: BlockKind, block: Block) {
        let Some((label, label_span)) = self.label(file, &block) else { return };
        if !is_name(&label) {
            let place = Place::new(&file.source, label_span);
            let message = format!("`{label}` cannot be the name of a {}", kind.word());
            let problem = Problem::input("bake::bad-name", message).at(place, "not a name");
            self.problems.push(problem.help("names are made of letters, digits, `_` and `-`"));
            return;
        }
        let known = match kind {
            BlockKind::Group => &GROUP_ATTRIBUTES[..],
            BlockKind::Target => &TARGET_ATTRIBUTES[..],
        };
        self.warn_of_attributes(file, &block.body, kind.word(), known);
        for inner in &block.body.blocks {
            self.warn_of_block(file, inner);
        }
        let (source, base) = (file.source.clone(), file.base.clone());
        self.blocks.push(BlockDefinition { kind, source, label, label_span, body: block.body, base });
    }

    fn warn_of_attributes(&mut self, file: &BakeFile, body: &Body, word: &str, known: &[&'static str]) {
        for attribute in body.attributes.iter().filter(|attribute| !known.contains(&&*attribute.name)) {
            let place = Place::new(&file.source, attribute.name_span.clone());
            let message = format!("a {word} has no attribute `{}`, so bake passes over it", attribute.name);
            let quote = if file.syntax == Syntax::Json { "\"" } else { "" };
            let mut warning = Problem::warning("bake::ignored", message).at(place, "not used");
            warning.help = suggestion(&attribute.name, known.iter().copied())
                .or_else(|| known_advice(word, &attribute.name));
            self.problems.push(match sure_of(&attribute.name, known.iter().copied()) {
                Some(meant) => warning.replaced_by(format!("{quote}{meant}{quote}")),
                None => warning,
            });
        }
    }

    fn warn_of_block(&mut self, file: &BakeFile, block: &Block) {
        let place = Place::new(&file.source, block.kind_span.clone());
        let message = format!("there is no block `{}` here, so bake passes over it", block.kind);
        const BLOCKS: [&str; 4] = ["group", "target", "variable", "function"];
        let mut warning = Problem::warning("bake::ignored", message).at(place, "not used");
        warning.help = suggestion(&block.kind, BLOCKS);
        if block.labels.is_empty() && TARGET_ATTRIBUTES.contains(&&*block.kind) {
            warning.help = Some(format!("it is an attribute: write `{} = {{ … }}`", block.kind));
        }
        self.problems.push(match sure_of(&block.kind, BLOCKS.into_iter()) {
            Some(meant) if !block.labels.is_empty() => warning.replaced_by(meant),
            _ => warning,
        });
    }
}

/// What stands elsewhere than where somebody looks for it.
fn known_advice(word: &str, name: &str) -> Option<String> {
    match (word, name) {
        ("target", "push") => Some("write `output = [\"type=registry\"]`, or `mab bake --push`".to_string()),
        ("target", "load") => Some("write `output = [\"type=docker\"]`, or `mab bake --load`".to_string()),
        ("target", "stage") => Some("the stage to build is `target`".to_string()),
        ("target", "needs" | "depends_on" | "depends-on") => {
            Some("what a target builds on is in `contexts = { NAME = \"target:NAME\" }`".to_string())
        }
        _ => None,
    }
}
