//! Why a build node's key is another one than in an earlier run: the parts of both keys, aligned and told in the words
//! of the Dockerfile.
//!
//! Steps have numbers in keys, so a step that comes in between changes the names of all behind it. Here steps are
//! aligned by what they do first, and only then compared.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::explanation::{Change, Part as Kind, Reason};
use crate::base::parts::Difference;
use crate::base::secret::names_a_secret;
use crate::base::{Digest, Part, Parts};
use crate::dockerfile::{Dockerfile, Instruction, InstructionKind};
use crate::steps::{Lowered, Op};

/// What a node was made of: the parts of its key, and what of it keys say in digests alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Account {
    pub parts: Parts,
    /// The instruction of every step.
    pub texts: Vec<String>,
    /// The image's config, without its history.
    pub config: Value,
    /// What Dockerfile and target call arguments.
    pub args: BTreeSet<String>,
}

/// What changed of the files that a step reaches: of a step of the earlier run, and one of this.
pub type ReachedChanges<'a> = &'a dyn Fn(usize, usize) -> Option<Vec<Reason>>;

impl Account {
    pub fn new(
        parts: &Parts,
        lowered: &Lowered,
        dockerfile: &Dockerfile,
        given: impl Iterator<Item = String>,
    ) -> Self {
        let declared =
            dockerfile.stages.iter().flat_map(|stage| &stage.instructions).chain(&dockerfile.global_args);
        let args = declared.flat_map(declarations).chain(given).collect();
        let texts = lowered.steps.iter().map(|step| match &step.op {
            // One image has several spellings, and an implied FROM none.
            Op::Base(base) => lowered.bases[*base].name.clone(),
            _ => step.text.clone(),
        });
        let mut config = serde_json::from_slice(&lowered.config.to_bytes()).unwrap_or(Value::Null);
        if let Value::Object(config) = &mut config {
            config.remove("history");
            config.remove("rootfs");
            config.remove("created");
        }
        Self { parts: parts.clone(), texts: texts.collect(), config, args }
    }

    /// Of a key alone, which knows less.
    pub fn of_parts(parts: Parts) -> Self {
        Self { parts, ..Self::default() }
    }

    fn steps(&self) -> Vec<Step<'_>> {
        let Some(Part::Parts(build)) = self.parts.get("build") else { return Vec::new() };
        let Some(Part::Parts(steps)) = build.get("steps") else { return Vec::new() };
        steps.iter().filter_map(|(id, part)| Step::new(self, id, part)).collect()
    }

    fn text(&self, name: &str) -> Option<&str> {
        match self.parts.get(name) {
            Some(Part::Text(text)) => Some(text),
            _ => None,
        }
    }

    fn parts_of(&self, name: &str) -> Parts {
        match self.parts.get(name) {
            Some(Part::Parts(parts)) => parts.clone(),
            _ => Parts::new(),
        }
    }
}

fn declarations(instruction: &Instruction) -> Vec<String> {
    match &instruction.kind {
        InstructionKind::Arg(arg) => {
            arg.declarations.iter().map(|declaration| declaration.name.to_string()).collect()
        }
        _ => Vec::new(),
    }
}

/// How many of the innermost parts of both are the same.
pub fn shared_parts(one: &Parts, other: &Parts) -> usize {
    let shared = one.iter().filter_map(|(name, part)| match (part, other.get(name)?) {
        (Part::Parts(one), Part::Parts(other)) => Some(shared_parts(one, other)),
        (one, other) => Some(usize::from(one == other)),
    });
    shared.sum()
}

/// One step of an account.
struct Step<'a> {
    place: usize,
    /// What it does, without what it reads.
    does: Parts,
    inputs: Vec<usize>,
    manifest: Option<Digest>,
    /// What it reaches in a context or elsewhere.
    reaches: Option<Digest>,
    text: &'a str,
}

impl<'a> Step<'a> {
    fn new(account: &'a Account, id: &str, part: &Part) -> Option<Self> {
        let Part::Parts(parts) = part else { return None };
        let place = number(id)?;
        let (mut does, mut inputs, mut manifest) = (Parts::new(), Vec::new(), None);
        for (name, part) in parts.iter() {
            match part {
                Part::Text(text) if name.starts_with("input ") => inputs.push(number(text)?),
                Part::Digest(digest) if name == "manifest" => manifest = Some(*digest),
                Part::Text(text) => drop(does.text(name, text)),
                Part::Digest(digest) => drop(does.digest_of(name, *digest)),
                Part::Parts(parts) => drop(does.parts(name, parts.clone())),
            }
        }
        let reaches = match account.parts.get("sources") {
            Some(Part::Parts(sources)) => match sources.get(id) {
                Some(Part::Digest(digest)) => Some(*digest),
                _ => None,
            },
            _ => None,
        };
        let text = account.texts.get(place).map_or("", String::as_str);
        Some(Self { place, does, inputs, manifest, reaches, text })
    }

    fn kind(&self) -> Option<&Part> {
        self.does.get("op")
    }

    /// How it is named to people; an account of a key alone has no words.
    fn name(&self) -> String {
        match (self.text, self.kind()) {
            ("", Some(Part::Text(op))) => op.clone(),
            (text, _) => text.to_string(),
        }
    }
}

/// The number in the name of a step.
fn number(id: &str) -> Option<usize> {
    id.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().ok()
}

/// What differs, the weightiest first.
pub fn why(old: &Account, new: &Account, reached: ReachedChanges<'_>) -> Vec<Reason> {
    let mut comparison = Comparison { new, reached, reasons: Vec::new() };
    comparison.surroundings(old);
    comparison.steps(old);
    comparison.config(old);
    let mut reasons: Vec<Reason> = Vec::new();
    for reason in comparison.reasons {
        let is_known = reasons.iter().any(|known| known.part == reason.part && known.name == reason.name);
        if !is_known {
            reasons.push(reason);
        }
    }
    if reasons.is_empty() && old.parts != new.parts {
        reasons.push(Reason::new(
            Kind::Text,
            "the order or the words of instructions",
            Change::Changed(None),
        ));
    }
    reasons.sort_by_key(|reason| reason.part);
    reasons
}

struct Comparison<'a> {
    new: &'a Account,
    reached: ReachedChanges<'a>,
    reasons: Vec<Reason>,
}

impl Comparison<'_> {
    fn surroundings(&mut self, old: &Account) {
        let new = self.new;
        if let (Some(old), Some(new)) = (old.text("engine"), new.text("engine"))
            && old != new
        {
            self.reasons.push(Reason::changed(Kind::Engine, "semantics", old, new));
        }
        for (name, change) in names_that_differ(&old.parts, &new.parts) {
            if let Some(limit) = name.strip_prefix("degraded ") {
                self.reasons.push(Reason::new(Kind::Engine, limit, change));
            }
        }
        let (before, now) = (old.text("epoch").unwrap_or(""), new.text("epoch").unwrap_or(""));
        if before != now {
            self.reasons.push(Reason::changed(Kind::Epoch, "SOURCE_DATE_EPOCH", before, now));
        }
        for (platform, change) in names_that_differ(&old.parts_of("emulators"), &new.parts_of("emulators")) {
            self.reasons.push(Reason::new(Kind::Emulator, format!("of {platform}"), change));
        }
        let (before, now) = (presences(&old.parts_of("forwarded")), presences(&new.parts_of("forwarded")));
        for name in now.difference(&before).filter_map(|entry| entry.strip_suffix(" present")) {
            self.reasons.push(Reason::new(Kind::Secret, name, Change::Added));
        }
        for name in now.difference(&before).filter_map(|entry| entry.strip_suffix(" absent")) {
            self.reasons.push(Reason::new(Kind::Secret, name, Change::Removed));
        }
    }

    fn steps(&mut self, old: &Account) {
        let (before, now) = (old.steps(), self.new.steps());
        let pairs = aligned(&before, &now);
        for (earlier, later) in &pairs {
            match (earlier, later) {
                (Some(earlier), Some(later)) => self.step(&before[*earlier], &now[*later]),
                (Some(earlier), None) => {
                    self.reasons.push(Reason::new(Kind::Step, before[*earlier].name(), Change::Removed));
                }
                (None, Some(later)) => {
                    self.reasons.push(Reason::new(Kind::Step, now[*later].name(), Change::Added));
                }
                (None, None) => {}
            }
        }
        if self.reasons.is_empty() && is_rewired(&before, &now, &pairs) {
            let what = "the order of steps, or what they begin with,";
            self.reasons.push(Reason::new(Kind::Text, what, Change::Changed(None)));
        }
    }

    fn step(&mut self, old: &Step<'_>, new: &Step<'_>) {
        if let (Some(before), Some(now)) = (old.manifest, new.manifest)
            && before != now
        {
            let short = |digest: Digest| format!("sha256:{}", digest.short());
            let name = new.name();
            let is_renamed = old.text != new.text && !old.text.is_empty();
            let (before, now) = match is_renamed {
                true => (format!("{} {}", old.text, short(before)), format!("{name} {}", short(now))),
                false => (short(before), short(now)),
            };
            self.reasons.push(Reason::changed(Kind::Base, name, before, now));
        }
        let differences = Parts::diff(&old.does, &new.does);
        let is_same_reach = old.reaches == new.reaches;
        let mut is_told = differences.is_empty();
        for difference in &differences {
            is_told |= self.variable(difference);
        }
        if !is_told {
            self.reasons.push(Reason::new(Kind::Step, new.name(), Change::Changed(None)));
        }
        if is_same_reach || old.reaches.is_none() || new.reaches.is_none() {
            return;
        }
        match (self.reached)(old.place, new.place) {
            Some(changes) if !changes.is_empty() => self.reasons.extend(changes),
            // What a changed step reaches changes with it.
            _ if !differences.is_empty() => {}
            _ => self.reasons.push(Reason::new(
                Kind::Files,
                format!("`{}`", new.name()),
                Change::Changed(None),
            )),
        }
    }

    /// A variable that a command sees; whether the difference is about one.
    fn variable(&mut self, difference: &Difference) -> bool {
        let [first, name] = &difference.path[..] else { return false };
        if first != "env" {
            return false;
        }
        let kind = if self.new.args.contains(name) { Kind::Arg } else { Kind::Env };
        let text = |part: &Option<Part>| match part {
            Some(Part::Text(text)) => Some(text.clone()),
            _ => None,
        };
        let change = match (text(&difference.old), text(&difference.new)) {
            (None, Some(_)) => Change::Added,
            (Some(_), None) => Change::Removed,
            (Some(old), Some(new)) if !names_a_secret(name) => Change::Changed(Some((old, new))),
            _ => Change::Changed(None),
        };
        self.reasons.push(Reason::new(kind, name, change));
        true
    }

    /// What the image says of itself. Variables that commands see are told already.
    fn config(&mut self, old: &Account) {
        let (before, now) = (&old.config, &self.new.config);
        if before == now || before.is_null() {
            return;
        }
        let section = |config: &Value| config.get("config").cloned().unwrap_or_default();
        let (inner_before, inner_now) = (section(before), section(now));
        let mut reasons = Vec::new();
        for (key, (old, new)) in keys_that_differ(&inner_before, &inner_now) {
            match key.as_str() {
                "Env" => reasons.extend(self.env(&old, &new)),
                "Labels" => {
                    reasons.extend(keys_that_differ(&old, &new).into_iter().map(|(name, (old, new))| {
                        Reason::new(Kind::Label, name, change_of(old.as_str(), new.as_str()))
                    }))
                }
                key => reasons.push(Reason::new(Kind::Config, key, Change::Changed(None))),
            }
        }
        let outer = keys_that_differ(before, now).into_iter().filter(|(key, _)| key != "config");
        reasons.extend(outer.map(|(key, _)| Reason::new(Kind::Config, key, Change::Changed(None))));
        // Of another base comes another config.
        if !self.reasons.iter().any(|reason| reason.part == Kind::Base) {
            self.reasons.extend(reasons);
        }
    }

    fn env(&self, old: &Value, new: &Value) -> Vec<Reason> {
        let pairs = |value: &Value| -> Value {
            let entries = value.as_array().cloned().unwrap_or_default();
            let pairs = entries.iter().filter_map(Value::as_str).filter_map(|entry| entry.split_once('='));
            pairs
                .map(|(name, value)| (name.to_string(), Value::from(value)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let changed = keys_that_differ(&pairs(old), &pairs(new)).into_iter().map(|(name, (old, new))| {
            let change = match names_a_secret(&name) {
                true => Change::Changed(None),
                false => change_of(old.as_str(), new.as_str()),
            };
            let kind = if self.new.args.contains(&name) { Kind::Arg } else { Kind::Env };
            Reason::new(kind, name, change)
        });
        changed.collect()
    }
}

fn change_of(old: Option<&str>, new: Option<&str>) -> Change {
    match (old, new) {
        (None, Some(_)) => Change::Added,
        (Some(_), None) => Change::Removed,
        (Some(old), Some(new)) => Change::Changed(Some((old.to_string(), new.to_string()))),
        (None, None) => Change::Changed(None),
    }
}

/// The keys of two objects whose values differ, with both.
fn keys_that_differ(old: &Value, new: &Value) -> Vec<(String, (Value, Value))> {
    let keys = |value: &Value| -> BTreeSet<String> {
        value.as_object().map(|object| object.keys().cloned().collect()).unwrap_or_default()
    };
    let get = |value: &Value, key: &str| value.get(key).cloned().unwrap_or(Value::Null);
    let all: BTreeSet<String> = keys(old).union(&keys(new)).cloned().collect();
    let both = all.into_iter().map(|key| {
        let values = (get(old, &key), get(new, &key));
        (key, values)
    });
    both.filter(|(_, (old, new))| old != new).collect()
}

fn names_that_differ(old: &Parts, new: &Parts) -> Vec<(String, Change)> {
    let differences = Parts::diff(old, new).into_iter().filter(|difference| difference.path.len() == 1);
    let changes = differences.map(|Difference { mut path, old, new }| {
        let change = match (old, new) {
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
            _ => Change::Changed(None),
        };
        (path.remove(0), change)
    });
    changes.collect()
}

/// `secret npm present` of every secret and agent that some command asks for.
fn presences(forwarded: &Parts) -> BTreeSet<String> {
    let mut presences = BTreeSet::new();
    for (_, step) in forwarded.iter() {
        let Part::Parts(step) = step else { continue };
        for (name, part) in step.iter() {
            if let Part::Text(word) = part {
                // The kind of a secret is said by the reason already.
                presences.insert(format!("{} {word}", name.strip_prefix("secret ").unwrap_or(name)));
            }
        }
    }
    presences
}

/// More steps than this are compared by their numbers alone.
const MOST_ALIGNED: usize = 2000;

type Pair = (Option<usize>, Option<usize>);

/// Both lists in one order: what is the same stands together, and what stands between is paired by what sort of step
/// it is.
fn aligned(old: &[Step<'_>], new: &[Step<'_>]) -> Vec<Pair> {
    if old.len().max(new.len()) > MOST_ALIGNED {
        return (0..old.len().max(new.len()))
            .map(|place| ((place < old.len()).then_some(place), (place < new.len()).then_some(place)))
            .collect();
    }
    let mut pairs = Vec::new();
    let (mut first_old, mut first_new) = (0, 0);
    for (old_match, new_match) in common(old, new).into_iter().chain([(old.len(), new.len())]) {
        between(old, new, first_old..old_match, first_new..new_match, &mut pairs);
        if old_match < old.len() {
            pairs.push((Some(old_match), Some(new_match)));
        }
        (first_old, first_new) = (old_match + 1, new_match + 1);
    }
    pairs
}

/// Steps of a gap, in order, as long as they are of one sort.
fn between(
    old: &[Step<'_>],
    new: &[Step<'_>],
    old_gap: std::ops::Range<usize>,
    new_gap: std::ops::Range<usize>,
    pairs: &mut Vec<Pair>,
) {
    let mut unpaired: Vec<usize> = old_gap.collect();
    for later in new_gap {
        match unpaired.iter().position(|earlier| old[*earlier].kind() == new[later].kind()) {
            Some(place) => pairs.push((Some(unpaired.remove(place)), Some(later))),
            None => pairs.push((None, Some(later))),
        }
    }
    pairs.extend(unpaired.into_iter().map(|earlier| (Some(earlier), None)));
}

/// The longest common subsequence of steps that do the same.
fn common(old: &[Step<'_>], new: &[Step<'_>]) -> Vec<(usize, usize)> {
    let digests =
        |steps: &[Step<'_>]| -> Vec<Digest> { steps.iter().map(|step| step.does.digest()).collect() };
    let (old, new) = (digests(old), digests(new));
    let width = new.len() + 1;
    let mut lengths = vec![0_u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            lengths[i * width + j] = match old[i] == new[j] {
                true => lengths[(i + 1) * width + j + 1] + 1,
                false => lengths[(i + 1) * width + j].max(lengths[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < old.len() && j < new.len() {
        if old[i] == new[j] {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if lengths[(i + 1) * width + j] >= lengths[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

/// Whether a step reads another one's files than its like did.
fn is_rewired(old: &[Step<'_>], new: &[Step<'_>], pairs: &[Pair]) -> bool {
    let counterpart = |place: usize| pairs.iter().find(|pair| pair.0 == Some(place)).and_then(|pair| pair.1);
    pairs.iter().any(|pair| match pair {
        (Some(earlier), Some(later)) => {
            let moved: Vec<Option<usize>> =
                old[*earlier].inputs.iter().map(|input| counterpart(*input)).collect();
            let now: Vec<Option<usize>> = new[*later].inputs.iter().copied().map(Some).collect();
            moved != now
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests;
