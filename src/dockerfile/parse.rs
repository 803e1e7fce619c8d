//! From lines to stages, collecting all problems.

use std::sync::Arc;

use super::arguments::blank_separated_at;
use super::command::Command;
use super::directive::{self, CheckOptions};
use super::flags::{FlagKind, Flags};
use super::instruction::{self, Instruction, InstructionKind};
use super::lines::{self, LogicalLine};
use super::usage::usage;
use super::{Dockerfile, From, Stage};
use crate::diag::{Located, Place, Problem, Source, Span};

/// One line on its way to become an instruction.
pub(super) struct Reader<'a> {
    pub source: &'a Arc<Source>,
    pub line: &'a LogicalLine,
    pub command: Command<'a>,
    pub escape: char,
}

impl<'a> Reader<'a> {
    fn new(source: &'a Arc<Source>, line: &'a LogicalLine, escape: char) -> Self {
        Self { source, line, command: Command::split(&line.text, escape), escape }
    }

    /// The place of a range of the joined line.
    pub(super) fn place(&self, range: &Span) -> Place {
        Place::new(self.source, self.line.source_span(range.clone()))
    }

    /// The instruction without heredoc bodies.
    fn head(&self) -> Span {
        self.command.keyword_range.start..self.line.text.trim_end().len()
    }

    pub(super) fn problem(&self, code: &'static str, message: impl Into<String>) -> Problem {
        self.problem_at(&self.head(), code, message)
    }

    pub(super) fn problem_at(&self, range: &Span, code: &'static str, message: impl Into<String>) -> Problem {
        Problem::input(code, message).at(self.place(range), "here")
    }

    pub(super) fn arguments_range(&self) -> Span {
        self.command.arguments_at..self.command.arguments_at + self.command.arguments.len()
    }

    /// The instruction as one line.
    pub(super) fn text(&self) -> String {
        self.line.text.trim().to_string()
    }

    /// What a comment above says about `name`.
    pub(super) fn description_of(&self, name: &str) -> Option<String> {
        let about = |comment: &String| comment.strip_prefix(name)?.strip_prefix(' ').map(str::to_string);
        self.line.comments.iter().find_map(about)
    }

    /// Tells the form of the instruction where a problem knows of no other next step.
    fn with_usage(&self, problems: Vec<Problem>) -> Vec<Problem> {
        let usage = usage(&self.command.name).map(str::to_string);
        let help = |problem: Problem| Problem { help: problem.help.or_else(|| usage.clone()), ..problem };
        problems.into_iter().map(help).collect()
    }

    fn instruction(&self, warnings: &mut Vec<Problem>) -> Result<Instruction, Vec<Problem>> {
        let kind = instruction::read(self, warnings).map_err(|problems| self.with_usage(problems))?;
        Ok(Instruction {
            place: Place::new(self.source, self.line.span.clone()),
            keyword: self.command.keyword.to_string(),
            text: self.text(),
            check: CheckOptions::of_comments(&self.line.comments),
            kind,
        })
    }
}

impl Dockerfile {
    /// Reads a whole Dockerfile. On failure all problems are given, in the order of their lines.
    pub fn parse(source: &Arc<Source>) -> Result<Self, Vec<Problem>> {
        let read = directive::read(source);
        let scanned = lines::scan(source, read.directives.escape, read.lines);
        let mut parser = Parser {
            escape: read.directives.escape,
            dockerfile: Self {
                source: source.clone(),
                directives: read.directives,
                global_args: Vec::new(),
                stages: Vec::new(),
                warnings: read.warnings,
            },
            problems: read.problems,
        };
        let complete = scanned.problems.is_empty();
        parser.dockerfile.warnings.extend(scanned.warnings);
        parser.problems.extend(scanned.problems);
        for line in &scanned.lines {
            parser.line(line);
        }
        if complete {
            parser.require_a_stage(scanned.lines.is_empty());
        }
        parser.finish()
    }
}

struct Parser {
    dockerfile: Dockerfile,
    escape: char,
    problems: Vec<Problem>,
}

impl Parser {
    fn line(&mut self, line: &LogicalLine) {
        let source = self.dockerfile.source.clone();
        let reader = Reader::new(&source, line, self.escape);
        if reader.command.name == "FROM" {
            match self.stage(&reader) {
                Ok(stage) => self.dockerfile.stages.push(stage),
                Err(problems) => self.problems.extend(reader.with_usage(problems)),
            }
            return;
        }
        match reader.instruction(&mut self.dockerfile.warnings) {
            Ok(instruction) => self.add(instruction, &reader),
            Err(problems) => self.problems.extend(problems),
        }
    }

    fn add(&mut self, instruction: Instruction, reader: &Reader<'_>) {
        if let Some(stage) = self.dockerfile.stages.last_mut() {
            stage.place.span.end = instruction.place.span.end;
            stage.instructions.push(instruction);
        } else if let InstructionKind::Arg(_) = instruction.kind {
            self.dockerfile.global_args.push(instruction);
        } else if self.problems.is_empty() {
            // A broken FROM above would make this a consequence, and one report of it is enough.
            let message = format!("{} stands before the first FROM", reader.command.name);
            self.problems.push(
                reader
                    .problem("dockerfile::no-stage", message)
                    .help("begin with `FROM image`; only ARG may stand before it"),
            );
        }
    }

    fn stage(&mut self, reader: &Reader<'_>) -> Result<Stage, Vec<Problem>> {
        let flags = Flags::read(reader, &[("platform", FlagKind::Text)])?;
        let words: Vec<(usize, &str)> = blank_separated_at(reader.command.arguments).collect();
        let located = |(offset, word): (usize, &str)| {
            let start = reader.command.arguments_at + offset;
            Located::new(word.to_string(), reader.place(&(start..start + word.len())))
        };
        let (image, alias) = match words[..] {
            [image] => (image, None),
            [image, (_, keyword), name] if keyword.eq_ignore_ascii_case("as") => {
                (image, Some((keyword, name)))
            }
            _ => {
                return Err(vec![
                    reader
                        .problem("dockerfile::from-arguments", "FROM takes an image, or an image and a name")
                        .help("write `FROM image` or `FROM image AS name`"),
                ]);
            }
        };
        let written_name = alias.map(|(_, name)| located(name));
        let name = written_name.as_ref().map(|name| stage_name(reader, name)).transpose()?;
        let place = Place::new(reader.source, reader.line.span.clone());
        Ok(Stage {
            description: name.as_deref().and_then(|name| reader.description_of(name)),
            name,
            written_name,
            index: self.dockerfile.stages.len(),
            from: From {
                platform: flags
                    .text_at("platform")
                    .filter(|(text, _)| !text.is_empty())
                    .map(|(text, range)| Located::new(text.to_string(), reader.place(range))),
                image: located(image),
                keyword: reader.command.keyword.to_string(),
                as_keyword: alias.map(|(keyword, _)| keyword.to_string()),
                text: reader.text(),
                place: place.clone(),
            },
            instructions: Vec::new(),
            check: CheckOptions::of_comments(&reader.line.comments),
            place,
        })
    }

    fn require_a_stage(&mut self, empty: bool) {
        if !self.dockerfile.stages.is_empty() || !self.problems.is_empty() {
            return;
        }
        let (code, message) = match empty {
            true => ("dockerfile::no-instructions", "the Dockerfile has no instructions"),
            false => ("dockerfile::no-stage", "the Dockerfile has no FROM, so there is nothing to build"),
        };
        let end = self.dockerfile.source.text.len();
        let place = Place::new(&self.dockerfile.source, end..end);
        self.problems.push(
            Problem::input(code, message).at(place, "the file ends here").help("add `FROM image` to it"),
        );
    }

    fn finish(mut self) -> Result<Dockerfile, Vec<Problem>> {
        if self.problems.is_empty() {
            return Ok(self.dockerfile);
        }
        self.problems.sort_by_key(|problem| problem.labels.first().map(|label| label.place.span.start));
        Err(self.problems)
    }
}

/// Names are `[a-z][a-z0-9-_.]*` once in lower case.
fn stage_name(reader: &Reader<'_>, written: &Located<String>) -> Result<String, Vec<Problem>> {
    let name = written.value.to_lowercase();
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    if name.starts_with(|char: char| char.is_ascii_lowercase()) && name.bytes().all(allowed) {
        return Ok(name);
    }
    let message = format!("`{}` cannot be the name of a stage", written.value);
    let mut problem = Problem::input("dockerfile::stage-name", message);
    problem = match &written.place {
        Some(place) => problem.at(place.clone(), "here"),
        None => problem.at(reader.place(&reader.head()), "here"),
    };
    Err(vec![problem.help("begin with a letter; then letters, digits, `-`, `_` and `.` may follow")])
}

/// Reads one instruction that stands alone, such as an `ONBUILD` trigger out of a base image's config.
/// Its escape is the backslash. `FROM`, `ONBUILD` and `MAINTAINER` cannot be triggers.
pub fn parse_instruction_line(source: &Arc<Source>) -> Result<Instruction, Vec<Problem>> {
    let mut scanned = lines::scan(source, '\\', 0);
    if !scanned.problems.is_empty() {
        return Err(scanned.problems);
    }
    let whole = || Place::new(source, 0..source.text.len());
    if scanned.lines.len() != 1 {
        let message = format!("a trigger is one instruction, not {}", scanned.lines.len());
        let problem = Problem::input("dockerfile::trigger", message).at(whole(), "this text");
        return Err(vec![problem.help("it comes with the base image, which has to be built again")]);
    }
    let line = scanned.lines.remove(0);
    let reader = Reader::new(source, &line, '\\');
    if let name @ ("FROM" | "ONBUILD" | "MAINTAINER") = reader.command.name.as_str() {
        return Err(vec![
            reader
                .problem("dockerfile::trigger", format!("{name} cannot be an ONBUILD trigger"))
                .help("it comes with the base image, which has to be built again"),
        ]);
    }
    reader.instruction(&mut Vec::new())
}

/// The trigger of an `ONBUILD`, read where it stands so that problems point into the file.
pub(super) fn parse_trigger(reader: &Reader<'_>, keyword_at: usize) -> Result<Instruction, Vec<Problem>> {
    let line = reader.line.from(keyword_at);
    let trigger = Reader::new(reader.source, &line, reader.escape);
    trigger.instruction(&mut Vec::new())
}
