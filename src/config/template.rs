//! `{{ … }}` in strings: minijinja expressions, without blocks and comments, strict about undefined names.
//!
//! Strings are cut into letters and expressions here, so that no statement of the template language is
//! ever reached and errors can be placed to the letter. Every expression is compiled once per run, and a
//! string that asks for nothing of its target is rendered once.
//!
//! Bounds: expressions cannot loop, so their work is bounded by their length; the operations that make
//! long texts out of short ones (`*`, `replace`, `join`) are refused or capped; recursion is minijinja's
//! own limit.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, ErrorKind, Expression};

use super::braces::{Chunk, checked_condition, scan};
use super::fault::{Fault, fault_of};
use super::filters::{LONGEST_TEXT, is_of_environment, text_of};
use super::keys;
use super::names::names;
use super::text::Text;
use super::value::VarValue;
use crate::diag::{Problem, Span};

/// What `ci` may have.
const CI_MEMBERS: [&str; 13] = [
    "system",
    "event",
    "event_name",
    "ref",
    "branch",
    "tag",
    "sha",
    "pull_request",
    "base_branch",
    "default_branch",
    "repository",
    "repository_url",
    "run_url",
];

/// What a template may ask for.
pub struct Scope {
    root: Value,
}

impl Scope {
    pub fn new(members: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        Self { root: Value::from_pairs(members) }
    }

    fn has(&self, name: &str) -> bool {
        self.root.get_attr(name).is_ok_and(|value| !value.is_undefined())
    }
}

/// Variables that are declared and have no value, which makes for a better message.
pub type Unset = BTreeMap<String, String>;

/// All templates of a run, compiled.
pub struct Templates<'e> {
    environment: &'e Environment<'static>,
    unset: Unset,
    compiled: RefCell<HashMap<String, Rc<Compiled<'e>>>>,
}

/// A string with its expressions; or what is wrong with it, which does not change either.
type Compiled<'e> = Result<Template<'e>, Fault>;

struct Template<'e> {
    pieces: Vec<Piece<'e>>,
    /// Names nothing that differs between targets.
    is_constant: bool,
    rendered: OnceCell<String>,
}

enum Piece<'e> {
    Letters(Span),
    Expression { span: Span, expression: Expression<'e, 'static> },
}

/// Whether an expression names one of `roots`.
fn asks(expression: &str, roots: &[&str]) -> bool {
    names(expression).into_iter().any(|name| {
        let root = expression[name].split('.').next().unwrap_or_default();
        roots.contains(&root)
    })
}

/// Whether a string asks for git.
pub fn asks_git(text: &str) -> bool {
    if !text.contains("{{") || !text.contains("git") {
        return false;
    }
    scan(text).into_iter().flatten().any(|chunk| match chunk {
        Chunk::Letters(_) => false,
        Chunk::Expression(span) => asks(&text[span], &["git"]),
    })
}

/// Whether a condition asks for git.
pub fn condition_asks_git(text: &str) -> bool {
    asks(text, &["git"])
}

impl<'e> Templates<'e> {
    pub fn new(environment: &'e Environment<'static>, unset: Unset) -> Self {
        Self { environment, unset, compiled: RefCell::default() }
    }

    /// Whether the variable has no value that templates may see.
    pub fn is_unset(&self, variable: &str) -> bool {
        self.unset.contains_key(variable)
    }

    pub fn render<'t>(&self, text: &'t Text, scope: &Scope) -> Result<Cow<'t, str>, Problem> {
        if text.file.is_literal || !["{{", "{%", "{#"].iter().any(|opening| text.value.contains(opening)) {
            return Ok(Cow::Borrowed(&text.value));
        }
        let compiled = self.compiled(&text.value);
        let rendered = match &*compiled {
            Ok(template) => self.render_template(template, &text.value, scope),
            Err(fault) => Err(fault.clone()),
        };
        rendered.map(Cow::Owned).map_err(|fault| fault.problem(text))
    }

    fn compiled(&self, text: &str) -> Rc<Compiled<'e>> {
        if let Some(known) = self.compiled.borrow().get(text) {
            return known.clone();
        }
        let compiled = Rc::new(self.compile(text));
        self.compiled.borrow_mut().insert(text.to_string(), compiled.clone());
        compiled
    }

    /// Whether a condition holds: one expression without braces, which must give a boolean.
    pub fn holds(&self, text: &Text, scope: &Scope) -> Result<bool, Problem> {
        self.condition(&text.value, scope).map_err(|fault| fault.problem(text))
    }

    /// The list that a string's one expression gives.
    pub fn list(&self, text: &Text, scope: &Scope) -> Result<Vec<VarValue>, Problem> {
        self.list_of(&text.value, scope).map_err(|fault| fault.problem(text))
    }

    fn list_of(&self, text: &str, scope: &Scope) -> Result<Vec<VarValue>, Fault> {
        let [Chunk::Expression(span)] = &scan(text)?[..] else {
            return Err(Fault::new("config::template", "a list is wanted", 0..text.len())
                .help("write a list, or one expression that gives one: `{{ vars.versions }}`".to_string()));
        };
        let source = &text[span.clone()];
        let expression =
            self.environment.compile_expression(source).map_err(|error| fault_of(&error, span))?;
        let value = self.value(&expression, source, span, scope)?;
        match VarValue::of(&value, 0) {
            Some(VarValue::List(members)) => Ok(members),
            Some(VarValue::Scalar(_) | VarValue::Map(_)) | None => Err(Fault::new(
                "config::template",
                format!("the expression gives a {}, not a list", value.kind()),
                trimmed(source, span),
            )),
        }
    }

    fn condition(&self, text: &str, scope: &Scope) -> Result<bool, Fault> {
        let span = checked_condition(text)?;
        let expression =
            self.environment.compile_expression(text).map_err(|error| fault_of(&error, &span))?;
        let value = self.value(&expression, text, &span, scope)?;
        match value.kind() {
            ValueKind::Bool => Ok(value.is_true()),
            kind => Err(Fault::new(
                "config::condition",
                format!("the condition gives a {kind}, which is neither true nor false"),
                trimmed(text, &span),
            )
            .help("compare it with something, such as `vars.channel == \"stable\"`".to_string())),
        }
    }

    fn compile(&self, text: &str) -> Compiled<'e> {
        let mut is_constant = true;
        let mut pieces = Vec::new();
        for chunk in scan(text)? {
            pieces.push(match chunk {
                Chunk::Letters(span) => Piece::Letters(span),
                Chunk::Expression(span) => {
                    let expression = self
                        .environment
                        .compile_expression_owned(text[span.clone()].to_string())
                        .map_err(|error| fault_of(&error, &span))?;
                    is_constant &= !asks(&text[span.clone()], &["target", "platform", "matrix"]);
                    Piece::Expression { span, expression }
                }
            });
        }
        Ok(Template { pieces, is_constant, rendered: OnceCell::new() })
    }

    fn render_template(&self, template: &Template<'_>, text: &str, scope: &Scope) -> Result<String, Fault> {
        if let Some(rendered) = template.rendered.get() {
            return Ok(rendered.clone());
        }
        let mut rendered = String::new();
        for piece in &template.pieces {
            match piece {
                Piece::Letters(span) => rendered.push_str(&text[span.clone()]),
                Piece::Expression { span, expression } => {
                    rendered.push_str(&self.evaluate(expression, &text[span.clone()], span, scope)?);
                }
            }
            if rendered.len() > LONGEST_TEXT {
                return Err(Fault::new(
                    "config::template-size",
                    "the rendered text is too long",
                    0..text.len(),
                )
                .help(format!("at most {LONGEST_TEXT} bytes")));
            }
        }
        if template.is_constant {
            return Ok(template.rendered.get_or_init(|| rendered).clone());
        }
        Ok(rendered)
    }

    fn evaluate(
        &self,
        expression: &Expression<'_, '_>,
        source: &str,
        span: &Span,
        scope: &Scope,
    ) -> Result<String, Fault> {
        let value = self.value(expression, source, span, scope)?;
        match value.kind() {
            ValueKind::String | ValueKind::Number | ValueKind::Bool => Ok(text_of(&value)),
            kind => Err(Fault::new(
                "config::template",
                format!("the expression gives a {kind}, which is not a text"),
                trimmed(source, span),
            )),
        }
    }

    /// What an expression comes to; never undefined.
    fn value(
        &self,
        expression: &Expression<'_, '_>,
        source: &str,
        span: &Span,
        scope: &Scope,
    ) -> Result<Value, Fault> {
        let undefined = || self.undefined_name(source, span, scope);
        match expression.eval(scope.root.clone()) {
            Ok(value) if value.is_undefined() => Err(undefined().unwrap_or_else(|| {
                Fault::new("config::undefined", "the expression has no value", trimmed(source, span))
            })),
            Ok(value) => Ok(value),
            Err(error) if error.kind() == ErrorKind::UndefinedError && !is_of_environment(&error) => {
                Err(undefined().unwrap_or_else(|| fault_of(&error, span)))
            }
            Err(error) => Err(fault_of(&error, span)),
        }
    }

    /// The first name of the expression that has no value, with what is known about why.
    fn undefined_name(&self, source: &str, span: &Span, scope: &Scope) -> Option<Fault> {
        let needed = names(source).into_iter().filter(|path| !has_default(&source[path.end..]));
        let (path, parent, name) = needed.into_iter().find_map(|path| {
            let mut value = scope.root.clone();
            for name in source[path.clone()].split('.') {
                let member = value.get_attr(name).ok().filter(|member| !member.is_undefined());
                let Some(member) = member else { return Some((path, value, name)) };
                value = member;
            }
            None
        })?;
        let part = span.start + path.start..span.start + path.end;
        Some(self.explain_undefined(&source[path], &parent, name, part, scope))
    }

    fn explain_undefined(&self, path: &str, parent: &Value, name: &str, part: Span, scope: &Scope) -> Fault {
        let fault = |message: String| Fault::new("config::undefined", message, part.clone());
        match path {
            _ if (path == "git" || path.starts_with("git.")) && !scope.has("git") => {
                fault("this is not a git repository, so `git` has no value".to_string())
                    .help("build in a git checkout with at least one commit".to_string())
            }
            "git.branch" => fault("HEAD is detached, so `git.branch` has no value".to_string())
                .help("check a branch out, or write `git.branch | default(\"…\")`".to_string()),
            "git.tag" => fault("no tag points at HEAD, so `git.tag` has no value".to_string())
                .help("tag the commit, or write `git.tag | default(\"…\")`".to_string()),
            _ if path.starts_with("ci.") && CI_MEMBERS.contains(&name) => {
                fault(format!("no CI system says what `{path}` is here"))
                    .help(format!("write `{path} | default(\"…\")`, or ask `ci.running` first"))
            }
            _ if path.starts_with("platform") && !scope.has("platform") => {
                fault("`platform` has no value here: this key is the same for all platforms".to_string())
                    .help("use it in context, contexts and args".to_string())
            }
            _ if path.starts_with("matrix") && !scope.has("matrix") => {
                fault("`matrix` has no value here: this target has no matrix".to_string())
            }
            _ if path.starts_with("target") && !scope.has("target") => {
                fault("`target` has no value here: this key does not belong to one target".to_string())
            }
            _ => match path.strip_prefix("vars.").and_then(|name| self.unset.get(name)) {
                Some(help) => fault(format!("variable `{name}` has no value")).help(help.clone()),
                None => {
                    let known: Vec<String> =
                        parent.try_iter().into_iter().flatten().map(|key| key.to_string()).collect();
                    let known = known.iter().map(String::as_str);
                    let help = match keys::suggestion(name, known.clone()) {
                        Some(suggestion) => suggestion,
                        None if known.len() == 0 => "declare variables in `[vars]`".to_string(),
                        None => format!("the names are {}", keys::quoted_list(known)),
                    };
                    fault(format!("`{path}` is not defined")).help(help)
                }
            },
        }
    }
}

/// Whether the filter after a name makes up for a missing value.
fn has_default(rest: &str) -> bool {
    let filter = rest.trim_start().strip_prefix('|').map(str::trim_start);
    filter.is_some_and(|filter| filter.starts_with("default") || filter.starts_with("d("))
}

/// `span` without the blanks around the expression.
fn trimmed(source: &str, span: &Span) -> Span {
    let start = span.start + (source.len() - source.trim_start().len());
    start..(span.start + source.trim_end().len()).max(start)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::filters::environment;
    use super::*;
    use crate::config::text::File;
    use crate::diag::Source;

    fn render(value: &str) -> Result<String, (String, String)> {
        let source = format!("\"{value}\"");
        let file = Arc::new(File {
            source: Source::new("f", source.clone()),
            directory: "/".into(),
            is_literal: false,
        });
        let text = Text::new(value, &file, 0..source.len());
        let variables = BTreeMap::from([("HOME".to_string(), "/root".to_string())]);
        let environment = environment(&variables, Default::default());
        let templates =
            Templates::new(&environment, BTreeMap::from([("x".to_string(), "set it".to_string())]));
        let scope = Scope::new([
            ("vars", Value::from_pairs([("go", Value::from("1.20")), ("n", Value::from(3))])),
            ("target", Value::from_pairs([("name", "api")])),
        ]);
        let rendered = templates.render(&text, &scope).map(Cow::into_owned);
        rendered.map_err(|problem| {
            let place = &problem.labels[0].place;
            (problem.message.clone(), source[place.span.clone()].to_string())
        })
    }

    #[test]
    fn expressions_are_rendered() {
        for (template, expected) in [
            ("plain } text", "plain } text"),
            ("a{{ vars.go }}b{{vars.n}}", "a1.20b3"),
            ("{{ vars.go[:3] }}", "1.2"),
            ("{{ 'feature/Über x' | slug }}", "feature-ber-x"),
            ("{{ '}}' }}", "}}"),
            ("{{ {'a': {'b': 1}}.a.b }}", "1"),
            ("{{ 'yes' if target.name == 'api' else 'no' }}", "yes"),
            ("{{ env('HOME') }}{{ env('NO', 'none') }}", "/rootnone"),
            ("{{ vars.nothing | default('d') }}", "d"),
            ("{{ 'a,b' | split(',') | join('+') }}", "a+b"),
            ("{{ vars.n > 2 }}", "true"),
            ("{{ 'a\\\\'b' }}", "a'b"),
        ] {
            let template = template.replace("\\\\", "\\");
            assert_eq!(render(&template).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn faults_point_at_the_letters() {
        for (template, message, part) in [
            ("a {{ vars.goo }}", "`vars.goo` is not defined", "vars.goo"),
            ("{{ vars.x }}", "variable `x` has no value", "vars.x"),
            (
                "{{ vars.no | default('') }}{{ vars.a | default(vars.b) }}",
                "`vars.b` is not defined",
                "vars.b",
            ),
            ("{{ nope }}", "`nope` is not defined", "nope"),
            (
                "{{ platform.os }}",
                "`platform` has no value here: this key is the same for all platforms",
                "platform.os",
            ),
            ("{{ git.sha }}", "this is not a git repository, so `git` has no value", "git.sha"),
            ("a {{ b", "`{{` is not closed", "{{"),
            ("{% if x %}", "templates have no statements", "{%"),
            ("{{ 1 }}{# c #}", "templates have no comments", "{#"),
            ("{{- vars.go }}", "templates have no whitespace control", "- vars.go "),
            ("{{ }}", "the expression is empty", "{{ }}"),
            ("{{ 'a' * 9 }}", "templates do not multiply", "*"),
            ("{{ env('NO') }}", "environment variable `NO` is not set", "env('NO')"),
            ("{{ [1, 2] }}", "the expression gives a sequence, which is not a text", "[1, 2]"),
        ] {
            assert_eq!(render(template), Err((message.to_string(), part.to_string())), "{template}");
        }
    }

    #[test]
    fn growth_is_bounded() {
        let long = "'0123456789012345678901234567890123456789'".to_string();
        let template =
            format!("{{{{ {long} | replace('', {long}) | replace('', {long}) | replace('', {long}) }}}}");
        assert!(render(&template).unwrap_err().0.contains("more than 65536 bytes"));
        assert!(render(&format!("{{{{ {} }}}}", "(".repeat(3000))).is_err());
    }

    #[test]
    fn git_is_asked_for_only_in_expressions() {
        for (template, expected) in [
            ("{{ git.sha }}", true),
            ("{{ git.sha[:7] }}", true),
            ("{{ vars.git }}", false),
            ("git {{ vars.a }}", false),
            ("{{ 'git' }}", false),
            ("git.sha", false),
        ] {
            assert_eq!(asks_git(template), expected, "{template}");
        }
    }
}
