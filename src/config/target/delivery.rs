//! What a target shares, states and requires: caches, attestations, policies, the epoch.

use std::borrow::Cow;

use super::Resolver;
use crate::config::conditional::Conditional;
use crate::config::declare::Layer;
use crate::config::entries::{EntryDeclaration, attestation, cache, policy};
use crate::config::keys;
use crate::config::layers::Layers;
use crate::config::text::Text;
use crate::diag::{Located, Problem};
use crate::model::{Attestation, CacheUse, Policy, Requirement};

/// Seconds to the end of the year 9999.
const LATEST_EPOCH: u64 = 253_402_300_799;

/// How a text's templates are rendered.
type Render<'r> = &'r dyn Fn(&Text) -> Result<String, Problem>;

/// An entry resolved; `None` when it comes out empty.
type Resolved<T> = Result<Option<Located<T>>, Vec<Problem>>;

impl<'w> Resolver<'w, '_, '_> {
    /// The entries of the list `key` that hold, resolved.
    fn entries<T>(
        &mut self,
        key: &str,
        field: impl Fn(&'w Layer) -> Option<&'w Vec<Conditional<EntryDeclaration>>>,
        resolve: impl Fn(&EntryDeclaration, Render<'_>) -> Resolved<T>,
    ) -> Vec<Located<T>> {
        let declared = self.common.list(key, field).unwrap_or_default();
        let holding = self.holding(declared);
        let render = |text: &Text| self.world.templates.render(text, &self.scope).map(Cow::into_owned);
        let (mut found, mut wrong) = (Vec::new(), Vec::new());
        for entry in holding {
            match resolve(entry, &render) {
                Ok(entry) => found.extend(entry),
                Err(problems) => wrong.extend(problems),
            }
        }
        self.problems.extend(wrong);
        found
    }

    pub(super) fn caches(&mut self) -> CacheUse {
        let from = |entry: &EntryDeclaration, render: Render<'_>| {
            cache::resolve(entry, cache::Direction::From, render)
        };
        let to = |entry: &EntryDeclaration, render: Render<'_>| {
            cache::resolve(entry, cache::Direction::To, render)
        };
        CacheUse {
            named: self.named_caches(),
            from: self.entries("cache-from", |layer| layer.cache_from.as_ref(), from),
            to: self.entries("cache-to", |layer| layer.cache_to.as_ref(), to),
        }
    }

    fn named_caches(&mut self) -> Vec<Located<String>> {
        let declared = &self.world.declared.caches;
        let mut named: Vec<Located<String>> = Vec::new();
        for text in self.common.list("cache", |layer| layer.caches.as_ref()).unwrap_or_default() {
            if !declared.contains_key(&text.value) {
                let known: Vec<&str> = declared.keys().map(String::as_str).collect();
                let help = match keys::suggestion(&text.value, known.clone()) {
                    Some(suggestion) => suggestion,
                    None if known.is_empty() => format!("declare it as `[cache.{}]`", text.value),
                    None => format!("the caches are {}", keys::quoted_list(known)),
                };
                let message = format!("there is no cache `{}`", text.value);
                let problem = Problem::input("config::unknown-name", message);
                self.problems.push(problem.at(text.place(), "not declared").help(help));
            } else if !named.iter().any(|known| known.value == text.value) {
                named.push(Located::new(text.value.clone(), text.place()));
            }
        }
        named
    }

    pub(super) fn attestations(&mut self) -> Vec<Located<Attestation>> {
        let resolve = |entry: &EntryDeclaration, render: Render<'_>| attestation::resolve(entry, render);
        self.entries("attest", |layer| layer.attestations.as_ref(), resolve)
    }

    pub(super) fn policies(&mut self) -> Vec<Located<Policy>> {
        let resolve = |entry: &EntryDeclaration, render: Render<'_>| policy::resolve(entry, render);
        self.entries("policy", |layer| layer.policies.as_ref(), resolve)
    }

    pub(super) fn requirements(&mut self) -> Vec<Located<Requirement>> {
        let declared = self.common.list("require", |layer| layer.requirements.as_ref());
        declared.into_iter().flatten().cloned().collect()
    }

    pub(super) fn source_date_epoch(&mut self, layers: &Layers<'w>) -> Option<Located<String>> {
        let text = layers.last("source-date-epoch", |layer| layer.source_date_epoch.as_ref())?;
        let value = self.render(text)?.trim().to_string();
        let is_number = value.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        if is_number && !value.parse::<u64>().is_ok_and(|seconds| seconds <= LATEST_EPOCH) {
            let message = format!("`source-date-epoch` is `{value}`, which is no time between 1970 and 9999");
            self.problems.push(
                Problem::input("config::bad-value", message)
                    .at(text.place(), "not a Unix time")
                    .help("write seconds since 1970, for instance `\"{{ git.commit_time }}\"`"),
            );
            return None;
        }
        (!value.is_empty()).then(|| Located::new(value, text.place()))
    }
}
