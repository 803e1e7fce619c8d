//! `{{ … }}` in strings: minijinja expressions, without blocks and comments, strict about undefined names.
//!
//! Strings are cut into letters and expressions here, so that no statement of the template language is
//! ever reached and errors can be placed to the letter. Every expression is compiled once per run, and a
//! string that asks for nothing of its target is rendered once.
//!
//! Bounds: expressions cannot loop, so their work is bounded by their length; the operations that make
//! long texts out of short ones (`*`, `replace`, `join`) are refused or capped; recursion is minijinja's
//! own limit; and what all expressions of a run look at and make is counted (`budget`).

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, ErrorKind, Expression};

use super::braces::{Chunk, checked_condition, scan};
use super::budget::{Budget, MOST_TEXT};
use super::fault::{Fault, fault_of};
use super::filters::{LONGEST_TEXT, is_of_environment, is_version, text_of};
use super::keys;
use super::looks::{Looks, asks, has_default, size_of, trimmed};
use super::names::names;
pub use super::scope::Scope;
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

/// Room that a text may keep without need.
const SPARE: usize = 1 << 10;

/// Bytes of strings that are remembered compiled, which takes thirty times as much; and what one counts as more.
const MOST_KEPT: usize = 1 << 20;
const KEPT: usize = 256;

/// Variables that are declared and have no value, which makes for a better message.
pub type Unset = BTreeMap<String, String>;

/// All templates of a run, compiled.
pub struct Templates<'e> {
    environment: &'e Environment<'static>,
    unset: Unset,
    budget: Budget,
    compiled: RwLock<HashMap<String, Arc<Compiled<'e>>>>,
    /// Bytes of what was compiled.
    kept: AtomicUsize,
}

/// A string with its expressions; or what is wrong with it, which does not change either.
type Compiled<'e> = Result<Template<'e>, Fault>;

struct Template<'e> {
    pieces: Vec<Piece<'e>>,
    /// Names nothing that differs between targets.
    is_constant: bool,
    rendered: OnceLock<String>,
    /// Held by whoever renders a constant, so that its work is done and counted once.
    turn: Mutex<()>,
}

enum Piece<'e> {
    Letters(Span),
    Expression { span: Span, expression: Expression<'e, 'static>, looks: Looks },
}

/// What is asked of git, which costs processes to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GitUse {
    /// Anything.
    pub facts: bool,
    /// `git.describe`, which walks through history.
    pub describe: bool,
    /// `project.default_branch`, which git knows when the file does not say it.
    pub default_branch: bool,
    /// All tags, and what rules ask besides.
    pub tags: bool,
}

impl GitUse {
    /// What a string with expressions asks for.
    pub fn of_template(text: &str) -> Self {
        let mut found = Self::default();
        if text.contains("{{") && (text.contains("git") || text.contains("default_branch")) {
            for chunk in scan(text).into_iter().flatten() {
                if let Chunk::Expression(span) = chunk {
                    found.add(Self::of_condition(&text[span]));
                }
            }
        }
        found
    }

    /// What an expression asks for.
    pub fn of_condition(text: &str) -> Self {
        let mut found = Self::default();
        for name in names(text) {
            let name = &text[name];
            let is_git = name == "git" || name.starts_with("git.");
            found.add(Self {
                facts: is_git,
                // `git["describe"]` does not say so.
                describe: name == "git" || name.starts_with("git.describe"),
                default_branch: name == "project" || name == "project.default_branch",
                tags: false,
            });
        }
        found
    }

    pub fn add(&mut self, other: Self) {
        self.facts |= other.facts;
        self.describe |= other.describe;
        self.default_branch |= other.default_branch;
        self.tags |= other.tags;
    }
}

impl<'e> Templates<'e> {
    pub fn new(environment: &'e Environment<'static>, unset: Unset, budget: Budget) -> Self {
        Self { environment, unset, budget, compiled: RwLock::default(), kept: AtomicUsize::new(0) }
    }

    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Whether the variable has no value that templates may see.
    pub fn is_unset(&self, variable: &str) -> bool {
        self.unset.contains_key(variable)
    }

    pub fn render<'t>(&self, text: &'t Text, scope: &Scope) -> Result<Cow<'t, str>, Problem> {
        if text.file.is_literal || !["{{", "{%", "{#"].iter().any(|opening| text.value.contains(opening)) {
            // Whoever keeps it copies it.
            self.check_room(text.value.len(), text.value.len()).map_err(|fault| fault.problem(text))?;
            return Ok(Cow::Borrowed(&text.value));
        }
        // What is refused anyway is not made first.
        if self.budget.is_spent() {
            let whole = 0..text.value.len();
            self.spend(0, &whole).map_err(|fault| fault.problem(text))?;
            self.check_room(0, whole.end).map_err(|fault| fault.problem(text))?;
        }
        let compiled = self.compiled(&text.value);
        let rendered = match &*compiled {
            Ok(template) => self.render_template(template, &text.value, scope),
            Err(fault) => Err(fault.clone()),
        };
        let rendered = rendered
            .and_then(|rendered| self.check_room(rendered.len(), text.value.len()).map(|()| rendered));
        rendered.map(Cow::Owned).map_err(|fault| fault.problem(text))
    }

    /// Whether a text of `bytes` may be kept, which comes of one that is `written` long.
    fn check_room(&self, bytes: usize, written: usize) -> Result<(), Fault> {
        match self.budget.has_room(bytes) {
            true => Ok(()),
            false => {
                let message = "the texts of this run are too long together";
                Err(Fault::new("config::template-size", message, 0..written)
                    .help(format!("at most {} MiB, counted for each target and platform", MOST_TEXT >> 20)))
            }
        }
    }

    fn compiled(&self, text: &str) -> Arc<Compiled<'e>> {
        if let Some(known) = self.compiled.read().unwrap_or_else(PoisonError::into_inner).get(text) {
            return known.clone();
        }
        let compiled = Arc::new(self.compile(text));
        let mut all = self.compiled.write().unwrap_or_else(PoisonError::into_inner);
        if self.kept.fetch_add(text.len() + KEPT, Ordering::Relaxed) > MOST_KEPT {
            return compiled;
        }
        all.entry(text.to_string()).or_insert(compiled).clone()
    }

    /// A text that is no template, to be kept for one target.
    pub fn copied(&self, text: &Text) -> Result<String, Problem> {
        let length = text.value.len();
        self.check_room(length, length).map_err(|fault| fault.problem(text))?;
        Ok(text.value.clone())
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
        let value = self.value(&expression, &Looks::at(source), source, span, scope)?;
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
        let expression = self.environment.compile_expression(text).map_err(|error| {
            let fault = fault_of(&error, &span);
            match text.get(fault.part.clone()) {
                Some("=") => fault.help("`==` compares".to_string()),
                _ => fault,
            }
        })?;
        let value = self.value(&expression, &Looks::at(text), text, &span, scope)?;
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
                    let looks = Looks::at(&text[span.clone()]);
                    Piece::Expression { span, expression, looks }
                }
            });
        }
        Ok(Template { pieces, is_constant, rendered: OnceLock::new(), turn: Mutex::default() })
    }

    fn render_template(&self, template: &Template<'_>, text: &str, scope: &Scope) -> Result<String, Fault> {
        if !template.is_constant {
            return self.render_pieces(template, text, scope);
        }
        if let Some(rendered) = template.rendered.get() {
            return Ok(rendered.clone());
        }
        let _turn = template.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rendered) = template.rendered.get() {
            return Ok(rendered.clone());
        }
        let rendered = self.render_pieces(template, text, scope)?;
        Ok(template.rendered.get_or_init(|| rendered).clone())
    }

    fn render_pieces(&self, template: &Template<'_>, text: &str, scope: &Scope) -> Result<String, Fault> {
        let mut rendered = String::new();
        for piece in &template.pieces {
            match piece {
                Piece::Letters(span) => rendered.push_str(&text[span.clone()]),
                Piece::Expression { span, expression, looks } => {
                    rendered.push_str(&self.evaluate(expression, looks, &text[span.clone()], span, scope)?);
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
        // Long texts grow in steps, and each may leave half of its room empty.
        if rendered.capacity() - rendered.len() > SPARE {
            rendered.shrink_to_fit();
        }
        Ok(rendered)
    }

    fn evaluate(
        &self,
        expression: &Expression<'_, '_>,
        looks: &Looks,
        source: &str,
        span: &Span,
        scope: &Scope,
    ) -> Result<String, Fault> {
        let value = match looks.name.as_ref().and_then(|name| scope.value(&source[name.clone()])) {
            Some(value) => {
                self.spend(source.len() + size_of(&value), span)?;
                value
            }
            None => self.value(expression, looks, source, span, scope)?,
        };
        match value.kind() {
            ValueKind::String | ValueKind::Number | ValueKind::Bool => Ok(text_of(&value)),
            _ if is_version(&value) => Ok(text_of(&value)),
            kind => Err(Fault::new(
                "config::template",
                format!("the expression gives a {kind}, which is not a text"),
                trimmed(source, span),
            )),
        }
    }

    fn spend(&self, bytes: usize, span: &Span) -> Result<(), Fault> {
        self.budget.work(bytes).map_err(|error| fault_of(&error, span))
    }

    /// What an expression comes to; never undefined.
    fn value(
        &self,
        expression: &Expression<'_, '_>,
        looks: &Looks,
        source: &str,
        span: &Span,
        scope: &Scope,
    ) -> Result<Value, Fault> {
        self.spend(looks.weight(source, scope), span)?;
        let undefined = || self.undefined_name(source, span, scope);
        match expression.eval(scope.root().clone()) {
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
            let mut value = scope.root().clone();
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
            "git.remote" => fault("the repository has no remote, so `git.remote` has no value".to_string())
                .help("add one, or write `git.remote | default(\"…\")`".to_string()),
            "git.default_branch" => fault(
                "no remote says which branch is its default, so `git.default_branch` has no value"
                    .to_string(),
            )
            .help(
                "run `git remote set-head origin --auto`, or write `git.default_branch | default(\"main\")`"
                    .to_string(),
            ),
            "project.default_branch" => {
                fault("neither the file, CI nor git says what `project.default_branch` is".to_string())
                    .help("write `default-branch = \"main\"` in `[project]`".to_string())
            }
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
                Some(help) if help.contains("var = ") => {
                    fault(format!("variable `{name}` is secret and goes into `secret` alone"))
                        .help(help.clone())
                }
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
        let budget = Budget::default();
        let environment = environment(&variables, &budget, Default::default());
        let unset = BTreeMap::from([("x".to_string(), "set it".to_string())]);
        let templates = Templates::new(&environment, unset, budget);
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
        for (template, facts, describe, default_branch) in [
            ("{{ git.sha }}", true, false, false),
            ("{{ git.sha[:7] }}", true, false, false),
            ("{{ git.describe | slug }}", true, true, false),
            ("{{ git['describe'] }}", true, true, false),
            ("{{ project.default_branch }}", false, false, true),
            ("{{ project.name }}", false, false, false),
            ("{{ vars.git }}", false, false, false),
            ("git {{ vars.a }}", false, false, false),
            ("{{ 'git' }}", false, false, false),
            ("git.sha", false, false, false),
        ] {
            assert_eq!(
                GitUse::of_template(template),
                GitUse { facts, describe, default_branch, tags: false },
                "{template}"
            );
        }
    }

    #[test]
    fn filters_and_tests_work_on_texts() {
        for (template, expected) in [
            ("{{ 'v1.2.3-rc.1+b' | semver }}", "1.2.3-rc.1+b"),
            ("{{ ('1.2.3-rc.1+5' | semver).prerelease }} {{ ('1.2.3+5' | semver).build }}", "rc.1 5"),
            ("{{ ('1.10.0' | semver) > ('1.9.0' | semver) }}", "true"),
            ("{{ ('1.0.0-rc.1' | semver) < ('1.0.0' | semver) }}", "true"),
            ("{{ ('1.0.0+a' | semver) == ('v1.0.0+b' | semver) }}", "true"),
            ("{{ 'v1.2.3' is semver }} {{ 'main' is semver }} {{ '1.2' is semver }}", "true false false"),
            ("{{ '1.2.3' is semver('>=1.2, <2') }} {{ '2.0.0' is semver('^1') }}", "true false"),
            ("{{ 'release/1.2' is matching('^release/') }}", "true"),
            ("{{ ('a' | sha256)[:12] }}", "ca978112ca1b"),
            ("{{ 'a' | sha1 }}", "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"),
            ("{{ 'a' | md5 }}", "0cc175b9c0f1b6a831c399e269772661"),
            ("{{ ('a' | sha512)[:8] }}", "1f40fc92"),
            ("{{ 'a/b/c.tar.gz' | basename }} {{ 'a/b/c.tar.gz' | extension }}", "c.tar.gz gz"),
            ("{{ 'a' | join_path('b', 'c') | relative_to('a/d') }}", "../b/c"),
            ("{{ '2024-02-03T04:05:06Z' | date('%Y%m%d-%H%M') }} {{ 0 | date }}", "20240203-0405 1970-01-01"),
            ("{{ 'v1.2' | strip_prefix('v') | strip_suffix('.2') }}", "1"),
            ("{{ 'a b/ü' | urlencode }}", "a+b%2F%C3%BC"),
            ("{{ 'eLK' | capitalize }} {{ 'a-b' | title }}", "Elk A-B"),
        ] {
            assert_eq!(render(template).as_deref(), Ok(expected), "{template}");
        }
        for (template, message) in [
            ("{{ 'main' | semver }}", "`main` is not a version such as 1.2.3; `is semver` asks first"),
            ("{{ 'soon' | date }}", "`date` needs a time such as `git.commit_date`, or seconds since 1970"),
            ("{{ 0 | date('%') }}", "`%` is not a format of strftime"),
            ("{{ 'a' is matching('(') }}", "`(` is not a regular expression, or too large"),
            (
                "{{ 'a' is matching('a{1000}{1000}') }}",
                "`a{1000}{1000}` is not a regular expression, or too large",
            ),
            ("{{ 'a' is new }}", "there is no test `new`"),
            ("{{ '1.0.0' is semver('newest') }}", "`newest` is not a requirement of versions"),
        ] {
            let found = render(template).unwrap_err().0;
            assert!(found.starts_with(message), "{template}: {found}");
        }
    }
}
