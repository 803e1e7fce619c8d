//! The tests of one platform's image.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Resolver;
use crate::base::Platform;
use crate::config::layers::Layers;
use crate::config::platforms;
use crate::config::test::{
    self, ActionDeclaration, ConfigDeclaration, ExpectationDeclaration, FileDeclaration, TestDeclaration,
};
use crate::config::text::Text;
use crate::diag::{Located, Problem};
use crate::model::{Expectation, ExpectedConfig, ExpectedFile, Service, Test, TestAction, TestMount};
use crate::pattern::Ignore;

impl<'w> Resolver<'w, '_, '_> {
    /// Those that are for `platform`, one of `platforms`, and hold.
    pub(super) fn tests(
        &mut self,
        layers: &Layers<'w>,
        platform: &Located<Platform>,
        platforms: &[Located<Platform>],
    ) -> Vec<Test> {
        let mut tests = Vec::new();
        for (name, declared) in layers.merged("test", |layer| &layer.tests) {
            let is_wanted = self.is_for(name, declared, platform, platforms);
            let holds = declared.when.as_ref().map(|when| self.world.templates.holds(when, &self.scope));
            match holds.unwrap_or(Ok(true)) {
                Ok(true) if is_wanted => tests.extend(self.test(name, declared)),
                Ok(_) => {}
                Err(problem) => self.problems.push(problem),
            }
        }
        tests
    }

    fn is_for(
        &mut self,
        name: &str,
        declared: &'w TestDeclaration,
        platform: &Located<Platform>,
        platforms: &[Located<Platform>],
    ) -> bool {
        let Some(listed) = &declared.platforms else { return true };
        let mut found = Vec::new();
        for text in listed {
            match self.world.platform_sets.expand(text) {
                Ok(expanded) => {
                    // A set may speak of more than the target has.
                    if !expanded.iter().any(|one| platforms.contains(one)) {
                        self.problems.push(unknown(name, text, platforms));
                    }
                    found.push((text, expanded));
                }
                Err(problem) => self.problems.push(problem),
            }
        }
        let (listed, problems) = platforms::without_repeats(found);
        self.problems.extend(problems);
        listed.contains(platform)
    }

    fn test(&mut self, name: &str, declared: &'w TestDeclaration) -> Option<Test> {
        let action = match &declared.action {
            Some(ActionDeclaration::Run(words)) => Some(TestAction::Run(self.texts(words)?)),
            Some(ActionDeclaration::Script(text)) => Some(TestAction::Script(text.value.clone())),
            None => None,
        };
        Some(Test {
            name: name.to_string(),
            place: declared.place.clone(),
            action,
            stdin: declared.stdin.as_ref().map(|text| text.value.clone()),
            env: self.named(&declared.env)?,
            user: self.optional(declared.user.as_ref())?,
            workdir: self.optional(declared.workdir.as_ref())?,
            expect: self.expectation(&declared.expect)?,
            timeout: declared.timeout,
            retries: declared.retries,
            network: declared.network,
            service: match &declared.service {
                Some(service) => Some(Service {
                    args: self.texts(&service.args)?,
                    ports: service.ports.clone(),
                    log: self.pattern(service.log.as_ref())?,
                }),
                None => None,
            },
            mounts: declared.mounts.iter().map(|text| self.mount(text)).collect::<Option<_>>()?,
        })
    }

    fn expectation(&mut self, declared: &'w ExpectationDeclaration) -> Option<Expectation> {
        let files: Vec<ExpectedFile> =
            declared.files.iter().map(|file| self.file(file)).collect::<Option<_>>()?;
        for pattern in &declared.absent {
            if let Err(error) = Ignore::from_patterns([pattern.value.as_bytes()]) {
                let problem = Problem::input("config::bad-pattern", error.to_string());
                self.problems.push(problem.at(pattern.place(), "not a pattern"));
                return None;
            }
        }
        Some(Expectation {
            exit: declared.exit,
            stdout: self.pattern(declared.stdout.as_ref())?,
            stderr: self.pattern(declared.stderr.as_ref())?,
            files,
            absent: declared.absent.iter().map(|text| text.value.clone()).collect(),
            ports: declared.ports.clone(),
            config: match &declared.config {
                Some(config) => Some(self.config(config)?),
                None => None,
            },
            max_size: declared.max_size,
            max_layer_size: declared.max_layer_size,
        })
    }

    fn file(&mut self, declared: &'w FileDeclaration) -> Option<ExpectedFile> {
        let path = self.render(&declared.path)?.into_owned();
        if !path.starts_with('/') {
            let problem = Problem::input("config::bad-value", format!("`{path}` is not an absolute path"));
            self.problems.push(problem.at(declared.path.place(), "a file of the image"));
        }
        let owner = declared.owner.as_ref().map(|owner| owner.value.clone());
        Some(ExpectedFile { path, mode: declared.mode, owner })
    }

    fn config(&mut self, declared: &'w ConfigDeclaration) -> Option<ExpectedConfig> {
        let mut words = |words: &'w Option<Vec<Text>>| match words {
            Some(words) => self.texts(words).map(Some),
            None => Some(None),
        };
        let (entrypoint, cmd) = (words(&declared.entrypoint)?, words(&declared.cmd)?);
        let (shell, volumes) = (words(&declared.shell)?, words(&declared.volumes)?);
        Some(ExpectedConfig {
            user: self.optional(declared.user.as_ref())?,
            workdir: self.optional(declared.workdir.as_ref())?,
            stop_signal: self.optional(declared.stop_signal.as_ref())?,
            entrypoint,
            cmd,
            shell,
            env: self.named(&declared.env)?,
            env_matches: self.named_patterns(&declared.env_matches)?,
            unset: declared.unset.iter().map(|text| text.value.clone()).collect(),
            labels: self.named(&declared.labels)?,
            labels_matches: self.named_patterns(&declared.labels_matches)?,
            ports: declared.ports.clone(),
            volumes,
        })
    }

    fn named(&mut self, texts: &'w BTreeMap<String, Text>) -> Option<BTreeMap<String, String>> {
        texts.iter().map(|(name, text)| Some((name.clone(), self.render(text)?.into_owned()))).collect()
    }

    fn named_patterns(&mut self, texts: &'w BTreeMap<String, Text>) -> Option<BTreeMap<String, String>> {
        texts.iter().map(|(name, text)| Some((name.clone(), self.pattern(Some(text))??))).collect()
    }

    /// `SOURCE:TARGET[:ro|:rw]`, from the folder of the file that says it.
    fn mount(&mut self, text: &'w Text) -> Option<TestMount> {
        let rendered = self.render(text)?.into_owned();
        let (rest, is_writable) = match rendered.rsplit_once(':') {
            Some((rest, "rw")) => (rest, true),
            Some((rest, "ro")) => (rest, false),
            _ => (rendered.as_str(), false),
        };
        match rest.rsplit_once(':').filter(|(source, target)| !source.is_empty() && target.starts_with('/')) {
            Some((source, target)) => Some(TestMount {
                source: text.resolve_path(source),
                target: target.to_string(),
                is_writable,
                place: Some(text.place()),
            }),
            None => {
                let problem = Problem::input("config::bad-value", format!("`{rendered}` is not a mount"));
                let help = "write `SOURCE:TARGET`, with an absolute TARGET, or `SOURCE:TARGET:rw`";
                self.problems.push(problem.at(text.place(), "not a mount").help(help));
                None
            }
        }
    }

    /// A regular expression that compiles.
    fn pattern(&mut self, text: Option<&'w Text>) -> Option<Option<String>> {
        let Some(text) = text else { return Some(None) };
        let pattern = Located::new(self.render(text)?.into_owned(), text.place());
        match test::check_pattern(&pattern) {
            Ok(()) => Some(Some(pattern.value)),
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    /// `None` when it cannot be rendered.
    fn optional(&mut self, text: Option<&'w Text>) -> Option<Option<String>> {
        match text {
            Some(text) => self.render(text).map(Cow::into_owned).map(Some),
            None => Some(None),
        }
    }

    fn texts(&mut self, texts: &'w [Text]) -> Option<Vec<String>> {
        texts.iter().map(|text| self.render(text).map(Cow::into_owned)).collect()
    }
}

fn unknown(test: &str, text: &Text, platforms: &[Located<Platform>]) -> Problem {
    let known: Vec<String> = platforms.iter().map(|platform| platform.value.to_string()).collect();
    let message = format!("the test `{test}` is for `{}`, which its target is not built for", text.value);
    Problem::input("config::unknown-platform", message)
        .at(text.place(), "not one of its platforms")
        .help(format!("its platforms are {}", known.join(", ")))
}
