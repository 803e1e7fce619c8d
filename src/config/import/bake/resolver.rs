//! Definitions to targets: everything is resolved when somebody asks for it, in whatever order and file it
//! stands, and what asks for itself is a circle.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use super::attributes::{
    GROUP_ATTRIBUTES, TARGET_ATTRIBUTES, group_value, set_group, set_target, target_value,
};
use super::definitions::{BlockDefinition, BlockKind, Definitions, FunctionDefinition};
use super::gathered::{add_group, add_target};
use super::matrix::{self, Expansion};
use super::variables::{self, Given};
use crate::config::import::definition::Definition;
use crate::config::import::hcl::{
    Environment, Evaluated, Evaluator, Expression, ExpressionKind, Mention, Surroundings, Type, UserFunction,
    Value, convert, is_builtin, mentions, type_of,
};
use crate::config::import::target::Group;
use crate::config::variable::Variable;
use crate::diag::{Place, Problem, Source, Span};

/// How far resolution may follow references.
const DEEPEST: usize = 400;
/// Targets and groups of all files together.
const MOST_TARGETS: usize = 20_000;
/// More problems than anybody reads.
const MOST_PROBLEMS: usize = 500;

pub type Locals = Vec<(Rc<str>, Value)>;

/// What the files define, and what is wrong with them.
pub struct Resolved {
    pub definition: Definition,
    pub variables: Vec<Variable>,
    pub problems: Vec<Problem>,
}

/// Resolves `definitions` on top of what Compose files gave.
pub fn resolve(
    definitions: &Definitions,
    given: &Given,
    surroundings: Surroundings,
    base: Definition,
) -> Resolved {
    let mut resolver = open(definitions, given, surroundings);
    let variables = variables::listed(definitions, &resolver.environment);
    let definition = resolver.finish(base);
    Resolved { definition, variables, problems: resolver.problems }
}

/// A resolver that has resolved everything, for those who have more to ask.
pub fn open<'d>(definitions: &'d Definitions, given: &'d Given, surroundings: Surroundings) -> Resolver<'d> {
    let mut resolver = Resolver {
        definitions,
        given,
        environment: Environment::new(surroundings),
        states: HashMap::new(),
        expansions: Vec::new(),
        by_name: HashMap::new(),
        problems: definitions.problems.clone(),
        depth: 0,
    };
    resolver.environment.blocks =
        BTreeMap::from([("group".into(), BTreeMap::new()), ("target".into(), BTreeMap::new())]);
    resolver.run();
    resolver
}

/// What to write instead of a value of the wrong type.
fn with_remedy(problem: Problem, name: &str, value: &Value, place: &Place) -> Problem {
    let written = place.source.text.get(place.span.clone()).unwrap_or_default();
    let is_list =
        problem.message.contains(": list of string required") || problem.message.contains(": a list is");
    match value {
        Value::String(text) if is_list && !written.contains('\n') => {
            let list = match text.contains(',') && name == "platforms" {
                true => format!("[\"{}\"]", text.replace(',', "\", \"")),
                false => format!("[{written}]"),
            };
            problem.replaced_by(&list).help(format!("write `{list}`"))
        }
        _ if problem.message.contains(": map of string required") => {
            problem.help(format!("write `{name} = {{ NAME = \"value\" }}`"))
        }
        _ if problem.message.contains("string required, but this is an object") => {
            problem.help("name one of its attributes, as in `target.NAME.context`; another target's result is a context: `contexts = { NAME = \"target:NAME\" }`")
        }
        _ => problem,
    }
}

/// A block, and which of its targets.
type Member = (usize, usize);

/// Something that is resolved once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Variable(Rc<str>),
    Function(Rc<str>),
    /// Of a block and an expansion of it.
    Attribute(usize, usize, Rc<str>),
}

enum State {
    Open,
    Done,
    Failed(Box<Problem>),
}

pub struct Resolver<'d> {
    definitions: &'d Definitions,
    given: &'d Given,
    pub environment: Environment,
    states: HashMap<Subject, State>,
    /// Of each block, once its names are known.
    expansions: Vec<Vec<Expansion>>,
    /// Blocks and expansions by kind and name.
    by_name: HashMap<(BlockKind, Rc<str>), Vec<Member>>,
    problems: Vec<Problem>,
    depth: usize,
}

impl<'d> Resolver<'d> {
    /// The targets of a block, or the group that it is.
    pub fn expansions(&self, block: usize) -> &[Expansion] {
        &self.expansions[block]
    }

    fn run(&mut self) {
        for (name, text) in &self.given.builtins {
            self.environment.variables.insert(name.as_str().into(), Value::from(text.as_str()));
        }
        let definitions = self.definitions;
        for name in definitions.variables.keys() {
            if self.is_full() {
                break;
            }
            let result = self.variable(name);
            self.note(result);
        }
        self.validate();
        for name in definitions.functions.keys() {
            if self.is_full() {
                break;
            }
            let result = self.function(name);
            self.note(result);
        }
        self.expand_all();
        for block in 0..self.expansions.len() {
            for expansion in 0..self.expansions[block].len() {
                if self.is_full() {
                    break;
                }
                let result = self.whole(block, expansion);
                self.note(result);
            }
        }
        for name in definitions.values.keys() {
            if self.is_full() {
                break;
            }
            let result = self.variable(name);
            self.note(result);
        }
        if self.is_full() {
            let message = format!("there are more than {MOST_PROBLEMS} problems");
            let problem = Problem::input("bake::too-much", message);
            self.problems.push(problem.help("put these right first; the others are told then"));
        }
    }

    /// What a problem is may take a while to find.
    fn is_full(&self) -> bool {
        self.problems.len() >= MOST_PROBLEMS
    }

    fn note(&mut self, result: Evaluated<()>) {
        if let Err(problem) = result
            && !self.is_full()
            && !self.problems.contains(&problem)
        {
            self.problems.push(*problem);
        }
    }

    /// Runs `work` unless it was done; whoever asks while it runs has found a circle.
    fn once(
        &mut self,
        subject: Subject,
        circle: impl FnOnce(&Self) -> Box<Problem>,
        work: impl FnOnce(&mut Self) -> Evaluated<()>,
    ) -> Evaluated<()> {
        match self.states.get(&subject) {
            Some(State::Done) => return Ok(()),
            Some(State::Failed(problem)) => return Err(problem.clone()),
            Some(State::Open) => return Err(circle(self)),
            None => {}
        }
        if self.depth >= DEEPEST {
            let message = format!("references go deeper than {DEEPEST} steps");
            return Err(Box::new(Problem::input("bake::too-deep", message)));
        }
        self.states.insert(subject.clone(), State::Open);
        self.depth += 1;
        let result = work(self);
        self.depth -= 1;
        let state = match &result {
            Ok(()) => State::Done,
            Err(problem) => State::Failed(problem.clone()),
        };
        self.states.insert(subject, state);
        result
    }

    /// The value of an expression, with all it mentions resolved first.
    pub fn evaluate(
        &mut self,
        source: &Arc<Source>,
        expression: &Expression,
        locals: &Locals,
    ) -> Evaluated<Value> {
        self.load(source, expression, locals, &[])?;
        Evaluator::new(&self.environment, source, locals.clone()).value(expression)
    }

    /// Resolves what an expression mentions. What is not defined is left for evaluation to find, since `try`
    /// and `can` may live with it.
    fn load(
        &mut self,
        source: &Arc<Source>,
        expression: &Expression,
        locals: &Locals,
        bound: &[Rc<str>],
    ) -> Evaluated<()> {
        if matches!(expression.kind, ExpressionKind::Literal(_)) {
            return Ok(());
        }
        let mentioned = mentions(expression);
        for (name, _) in &mentioned.functions {
            if self.definitions.functions.contains_key(name) && !is_builtin(name) {
                self.function(name)?;
            }
        }
        for mention in &mentioned.variables {
            let is_local = locals.iter().any(|(name, _)| *name == mention.root);
            if bound.contains(&mention.root) {
                continue;
            }
            match BlockKind::of_word(&mention.root) {
                Some(kind) => self.reference(source, kind, mention)?,
                None if is_local => {}
                None => self.variable(&mention.root)?,
            }
        }
        Ok(())
    }

    /// `target.NAME.ATTRIBUTE`
    fn reference(&mut self, source: &Arc<Source>, kind: BlockKind, mention: &Mention) -> Evaluated<()> {
        let Some(name) = mention.members.first() else {
            let message =
                format!("`{}` needs the name of one, as in `{}.NAME.tags`", mention.root, mention.root);
            let place = Place::new(source, mention.span.clone());
            return Err(Box::new(Problem::input("bake::bad-reference", message).at(place, "no name")));
        };
        let known = self.by_name.get(&(kind, name.clone())).cloned().unwrap_or_default();
        for (block, expansion) in known {
            match mention.members.get(1) {
                Some(attribute) => self.attribute(block, expansion, attribute)?,
                None if !mention.is_indexed => self.whole(block, expansion)?,
                None => self.whole(block, expansion)?,
            }
            self.publish(block, expansion);
        }
        Ok(())
    }

    /// Makes what is known of a target visible to expressions.
    fn publish(&mut self, block: usize, expansion: usize) {
        let found = &self.expansions[block][expansion];
        let kind = self.definitions.blocks[block].kind;
        let value = match kind {
            BlockKind::Target => target_value(&found.target),
            BlockKind::Group => group_value(&found.group),
        };
        self.environment.blocks.entry(kind.word().into()).or_default().insert(found.name.clone(), value);
    }

    fn variable(&mut self, name: &Rc<str>) -> Evaluated<()> {
        if self.environment.variables.contains_key(name) {
            return Ok(());
        }
        let definitions = self.definitions;
        let variable = definitions.variables.get(name);
        let value = definitions.values.get(name);
        let Some(place) = value.map(|value| &value.place).or(variable.map(|variable| &variable.place)) else {
            return Ok(());
        };
        let circle = |_: &Self| {
            let message = format!("the value of `{name}` depends on itself");
            Box::new(Problem::input("bake::circle", message).at(place.clone(), "needs its own value"))
        };
        self.once(Subject::Variable(name.clone()), circle, |resolver| {
            let found = resolver.variable_value(name)?;
            resolver.environment.variables.insert(name.clone(), found);
            Ok(())
        })
    }

    fn variable_value(&mut self, name: &Rc<str>) -> Evaluated<Value> {
        let definitions = self.definitions;
        let variable = definitions.variables.get(name);
        // A value at the top of a file beats the default of the variable of its name.
        let (source, default, declared) = match (definitions.values.get(name), variable) {
            (Some(value), _) => (&value.source, Some(&value.value), None),
            (None, Some(variable)) => {
                let evaluator = Evaluator::new(&self.environment, &variable.source, Locals::new());
                let declared = variable.body.attribute("type").map(|kind| type_of(&evaluator, &kind.value));
                let default = variable.body.attribute("default").map(|default| &default.value);
                (&variable.source, default, declared.transpose()?)
            }
            (None, None) => return Ok(Value::from("")),
        };
        let default = match default {
            Some(expression) => {
                let value = self.evaluate(source, expression, &Locals::new())?;
                let kind = declared.clone().unwrap_or(Type::Any);
                let converted = convert(&value, &kind).map_err(|message| {
                    let message = format!("the default of `{name}` has the wrong type: {message}");
                    let place = Place::new(source, expression.span.clone());
                    Box::new(Problem::input("bake::bad-type", message).at(place, "this value"))
                })?;
                Some(converted)
            }
            None => None,
        };
        let given = variable.and_then(|_| {
            self.given.value(name, declared.is_some(), |name| definitions.variables.contains_key(name))
        });
        match (given, variable) {
            (Some(given), Some(variable)) => variables::read(&given, declared.as_ref(), default.as_ref())
                .map_err(|message| {
                    let message = format!("`{name}` is given a wrong value: {message}");
                    Box::new(
                        Problem::input("bake::bad-value", message)
                            .at(variable.place.clone(), "this variable"),
                    )
                }),
            _ => Ok(default.unwrap_or_else(|| match declared {
                Some(kind) => Value::Null(kind.without_optional()),
                None => Value::from(""),
            })),
        }
    }

    /// Checks every `validation` of every variable.
    fn validate(&mut self) {
        let definitions = self.definitions;
        for (name, variable) in &definitions.variables {
            let is_sound = self.environment.variables.contains_key(name);
            let rules = variable.body.blocks.iter().filter(|block| &*block.kind == "validation");
            for rule in rules.filter(|_| is_sound) {
                let result = self.check_rule(&variable.source, &rule.body, &rule.kind_span);
                self.note(result);
            }
        }
    }

    fn check_rule(
        &mut self,
        source: &Arc<Source>,
        rule: &crate::config::import::hcl::Body,
        span: &Span,
    ) -> Evaluated<()> {
        let missing = |name: &str| {
            let place = Place::new(source, span.clone());
            let message = format!("a `validation` needs `{name}`");
            Box::new(Problem::input("bake::bad-block", message).at(place, "not complete"))
        };
        let condition = &rule.attribute("condition").ok_or_else(|| missing("condition"))?.value;
        let message = rule.attribute("error_message");
        let refused = |message: String| {
            let place = Place::new(source, condition.span.clone());
            Box::new(Problem::input("bake::validation", message).at(place, "this condition"))
        };
        let value = self.evaluate(source, condition, &Locals::new())?;
        if value.is_null() {
            return Err(refused("the condition is null; it must be `true` or `false`".to_string()));
        }
        match convert(&value, &Type::Bool) {
            Ok(Value::Bool(true)) => Ok(()),
            Ok(_) => {
                let text = match message {
                    Some(message) => self.evaluate(source, &message.value, &Locals::new())?,
                    None => Value::null(),
                };
                Err(refused(text.as_str().unwrap_or("the condition does not hold").to_string()))
            }
            Err(message) => Err(refused(format!("the condition is neither true nor false: {message}"))),
        }
    }

    fn function(&mut self, name: &Rc<str>) -> Evaluated<()> {
        let definitions = self.definitions;
        let Some(function) = definitions.functions.get(name) else { return Ok(()) };
        let circle = |_: &Self| {
            let message = format!("the function `{name}` calls itself");
            Box::new(Problem::input("bake::circle", message).at(function.place.clone(), "calls itself"))
        };
        self.once(Subject::Function(name.clone()), circle, |resolver| {
            let user = resolver.user_function(function)?;
            resolver.environment.functions.insert(name.clone(), Rc::new(user));
            Ok(())
        })
    }

    fn user_function(&mut self, function: &FunctionDefinition) -> Evaluated<UserFunction> {
        let missing = |what: &str| {
            let message = format!("the function has no `{what}`");
            Box::new(Problem::input("bake::bad-block", message).at(function.place.clone(), "not complete"))
        };
        let result = &function.body.attribute("result").ok_or_else(|| missing("result"))?.value;
        let parameters = &function.body.attribute("params").ok_or_else(|| missing("params"))?.value;
        let not_a_name = |span: &Span| {
            let place = Place::new(&function.source, span.clone());
            Box::new(Problem::input("bake::bad-block", "a parameter must be a name").at(place, "not a name"))
        };
        let ExpressionKind::Tuple(elements) = &parameters.kind else {
            return Err(not_a_name(&parameters.span));
        };
        let names = elements
            .iter()
            .map(|element| element.keyword().map(Rc::from).ok_or_else(|| not_a_name(&element.span)));
        let parameters: Vec<Rc<str>> = names.collect::<Evaluated<_>>()?;
        let variadic = match function.body.attribute("variadic_params") {
            Some(attribute) => {
                let name = attribute.value.keyword();
                Some(Rc::from(name.ok_or_else(|| not_a_name(&attribute.value.span))?))
            }
            None => None,
        };
        let bound: Vec<Rc<str>> = parameters.iter().chain(&variadic).cloned().collect();
        self.load(&function.source, result, &Locals::new(), &bound)?;
        let (result, source) = (result.clone(), function.source.clone());
        Ok(UserFunction { parameters, variadic, result, source })
    }

    /// Finds out how many targets each block is, and their names.
    fn expand_all(&mut self) {
        let definitions = self.definitions;
        let (mut all, mut count) = (Vec::new(), 0);
        for block in &definitions.blocks {
            if count > MOST_TARGETS || self.is_full() {
                all.push(Vec::new());
                continue;
            }
            match matrix::expand(self, block) {
                Ok(expansions) => {
                    count += expansions.len();
                    if count > MOST_TARGETS {
                        self.note(Err(too_many_targets(block)));
                    }
                    all.push(expansions);
                }
                Err(problem) => {
                    self.note(Err(problem));
                    all.push(Vec::new());
                }
            }
        }
        for (block, expansions) in all.iter().enumerate() {
            for (index, expansion) in expansions.iter().enumerate() {
                let key = (definitions.blocks[block].kind, expansion.name.clone());
                self.by_name.entry(key).or_default().push((block, index));
            }
        }
        self.expansions = all;
    }

    /// Resolves every attribute of one target or group.
    fn whole(&mut self, block: usize, expansion: usize) -> Evaluated<()> {
        let definition = &self.definitions.blocks[block];
        let known = match definition.kind {
            BlockKind::Target => &TARGET_ATTRIBUTES[..],
            BlockKind::Group => &GROUP_ATTRIBUTES[..],
        };
        let mut first = Ok(());
        for attribute in &definition.body.attributes {
            if known.contains(&&*attribute.name) {
                let result = self.attribute(block, expansion, &attribute.name);
                if let Err(problem) = &result {
                    self.note(Err(problem.clone()));
                    first = first.and(result);
                }
            }
        }
        if definition.kind == BlockKind::Group && definition.body.attribute("targets").is_none() {
            let place = Place::new(&definition.source, definition.label_span.clone());
            let message = format!("the group `{}` has no `targets`", definition.label);
            let problem = Problem::input("bake::bad-block", message).at(place, "not complete");
            return Err(Box::new(problem));
        }
        first
    }

    fn attribute(&mut self, block: usize, expansion: usize, name: &Rc<str>) -> Evaluated<()> {
        if matches!(&**name, "matrix" | "name") {
            return Ok(());
        }
        let definition: &'d BlockDefinition = &self.definitions.blocks[block];
        let Some(attribute) = definition.body.attribute(name) else { return Ok(()) };
        let place = Place::new(&definition.source, attribute.value.span.clone());
        let circle = |resolver: &Self| {
            let target = &resolver.expansions[block][expansion].name;
            let message = format!("`{}.{target}.{name}` depends on itself", definition.kind.word());
            Box::new(Problem::input("bake::circle", message).at(place.clone(), "needs its own value"))
        };
        self.once(Subject::Attribute(block, expansion, name.clone()), circle, |resolver| {
            let locals = resolver.expansions[block][expansion].locals.clone();
            let value = resolver.evaluate(&definition.source, &attribute.value, &locals)?;
            let found = &mut resolver.expansions[block][expansion];
            let set = match definition.kind {
                BlockKind::Target => set_target(&mut found.target, name, &value),
                BlockKind::Group => set_group(&mut found.group, name, &value),
            };
            if definition.kind == BlockKind::Group && &**name == "targets" {
                found.group.members = Some(place.clone());
            }
            if let Some(known) = TARGET_ATTRIBUTES.iter().find(|known| **known == &**name) {
                found.target.places.insert(known, place.clone());
            }
            if &**name == "context" {
                found.target.bases.context_from = context_reference(&attribute.value);
            }
            set.map_err(|message| {
                let message = format!("`{name}` has a wrong value: {message}");
                let problem = Problem::input("bake::bad-type", message).at(place.clone(), "this value");
                Box::new(with_remedy(problem, name, &value, &place))
            })
        })
    }

    /// All blocks as targets and groups, those of a matrix also as a group of its name.
    fn finish(&mut self, base: Definition) -> Definition {
        let mut definition = base;
        let mut renamed: BTreeMap<(BlockKind, Rc<str>), Vec<String>> = BTreeMap::new();
        let mut named: HashSet<(BlockKind, Rc<str>, Rc<str>)> = HashSet::new();
        let known = definition.groups.iter().enumerate();
        let mut groups: HashMap<String, usize> =
            known.rev().map(|(at, group)| (group.name.clone(), at)).collect();
        for (block, expansions) in self.definitions.blocks.iter().zip(std::mem::take(&mut self.expansions)) {
            for expansion in expansions {
                let names = renamed.entry((block.kind, block.label.clone())).or_default();
                if named.insert((block.kind, block.label.clone(), expansion.name.clone())) {
                    names.push(expansion.name.to_string());
                }
                match block.kind {
                    BlockKind::Target => add_target(&mut definition, block, expansion.target),
                    BlockKind::Group => add_group(&mut definition, &mut groups, block, expansion.group),
                }
            }
        }
        for ((_, name), targets) in renamed {
            if targets.as_slice() != [name.to_string()] {
                definition.groups.push(Group { name: name.to_string(), targets, ..Group::default() });
            }
        }
        definition
    }
}

fn too_many_targets(block: &BlockDefinition) -> Box<Problem> {
    let place = Place::new(&block.source, block.label_span.clone());
    let message = format!("there are more than {MOST_TARGETS} targets and groups");
    let problem = Problem::input("bake::too-much", message).at(place, "one of them");
    Box::new(problem.help("a matrix is as many targets as it has combinations"))
}

/// The target whose context an expression takes: `target.NAME.context`.
fn context_reference(expression: &Expression) -> Option<String> {
    let mentioned = mentions(expression);
    let is_traversal = matches!(expression.kind, ExpressionKind::Attribute(..) | ExpressionKind::Template(_));
    match mentioned.variables.as_slice() {
        [Mention { root, members, is_indexed: false, .. }] if is_traversal && &**root == "target" => {
            match members.as_slice() {
                [name, attribute] if &**attribute == "context" => Some(name.to_string()),
                _ => None,
            }
        }
        _ => None,
    }
}
