//! Variables: which names a word may use and what they are worth, line by line.
//!
//! Follows BuildKit's dockerfile frontend: global arguments are seen by FROM lines, and in a stage only
//! after an `ARG` there; a stage's ARG and ENV share one environment in which the later one wins; an
//! inherited stage brings its environment, and its ENV is applied once more on top.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::base::Platform;
use crate::diag::Located;

/// Given on the command line or in the file, which wins over every default.
pub type BuildArgs = BTreeMap<String, Located<String>>;

/// Names of proxies that a build passes on without a declaration.
const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// Names of arguments that speak to the builder alone and are no variables of commands.
const FOR_THE_BUILDER: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// What FROM lines see.
#[derive(Clone, Debug)]
pub struct Globals {
    values: BTreeMap<Cow<'static, str>, String>,
}

impl Globals {
    /// The automatic platform arguments; build arguments of the same names replace them.
    pub fn new(target: &Platform, build: &Platform, stage: &str, args: &BuildArgs) -> Self {
        let mut values = BTreeMap::from(
            [
                ("BUILDPLATFORM", build.to_string()),
                ("BUILDOS", build.os.clone()),
                ("BUILDOSVERSION", build.os_version.clone().unwrap_or_default()),
                ("BUILDARCH", build.architecture.clone()),
                ("BUILDVARIANT", build.variant.clone().unwrap_or_default()),
                ("TARGETPLATFORM", target.to_string()),
                ("TARGETOS", target.os.clone()),
                ("TARGETOSVERSION", target.os_version.clone().unwrap_or_default()),
                ("TARGETARCH", target.architecture.clone()),
                ("TARGETVARIANT", target.variant.clone().unwrap_or_default()),
                ("TARGETSTAGE", stage.to_string()),
            ]
            .map(|(name, value)| (Cow::Borrowed(name), value)),
        );
        for (name, value) in &mut values {
            if let Some(given) = args.get(&**name) {
                value.clone_from(&given.value);
            }
        }
        Self { values }
    }

    /// `ARG name[=default]` before the first FROM; `default` is expanded already.
    pub fn declare(&mut self, name: &str, default: Option<String>, args: &BuildArgs) {
        let given = args.get(name).map(|given| given.value.clone());
        if let Some(value) = given.or(default) {
            self.values.insert(Cow::Owned(name.to_string()), value);
        }
    }

    pub fn get(&self, name: &str) -> Option<String> {
        self.values.get(name).cloned()
    }
}

/// What instructions of one stage see, and what its commands get as environment.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    environment: Vec<(String, String)>,
    /// Declared arguments in order, for the history of RUN.
    declared: Vec<(String, Option<String>)>,
}

impl Scope {
    /// A variable of the image or of an ARG; the latest assignment comes last.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(existing, _)| existing != name);
        self.environment.push((name.to_string(), value.to_string()));
    }

    /// `ARG name[=default]` in a stage; `default` is expanded already.
    pub fn declare(
        &mut self,
        name: &str,
        default: Option<String>,
        args: &BuildArgs,
        globals: &Globals,
    ) -> Option<String> {
        let given = args.get(name).map(|given| given.value.clone());
        let value = given.or(default).or_else(|| globals.get(name));
        if let Some(value) = value.as_ref().filter(|_| !FOR_THE_BUILDER.contains(&name)) {
            self.set(name, value);
        }
        self.declared.push((name.to_string(), value.clone()));
        value
    }

    pub fn get(&self, name: &str) -> Option<String> {
        self.environment.iter().find(|(existing, _)| existing == name).map(|(_, value)| value.clone())
    }

    /// `NAME=value` for a command.
    pub fn environment(&self) -> Vec<String> {
        self.environment.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    /// `NAME=value` of declared arguments, as the history of RUN lists them.
    pub fn declared(&self) -> Vec<String> {
        let value = |name: &str, declared: &Option<String>| {
            self.get(name).or_else(|| declared.clone()).unwrap_or_default()
        };
        let mut names: Vec<(&str, String)> = Vec::new();
        for (name, declared) in &self.declared {
            match names.iter_mut().find(|(known, _)| known == name) {
                Some(known) => known.1 = value(name, declared),
                None => names.push((name, value(name, declared))),
            }
        }
        names.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    /// Proxy arguments that were given but not declared: in both cases of their names, as BuildKit has it.
    pub fn proxies(&self, args: &BuildArgs) -> Vec<String> {
        let is_proxy = |name: &str| PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name));
        let mut proxies = Vec::new();
        for (name, value) in args.iter().filter(|(name, _)| is_proxy(name)) {
            for spelling in [name.to_ascii_uppercase(), name.to_ascii_lowercase()] {
                if self.get(&spelling).is_none() {
                    proxies.push(format!("{spelling}={}", value.value));
                }
            }
        }
        proxies.sort();
        proxies.dedup();
        proxies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(pairs: &[(&str, &str)]) -> BuildArgs {
        pairs.iter().map(|(name, value)| (name.to_string(), Located::unplaced(value.to_string()))).collect()
    }

    fn globals(args: &BuildArgs) -> Globals {
        let (target, build) = (Platform::new("linux", "arm", Some("v7")), Platform::linux("amd64"));
        let mut globals = Globals::new(&target, &build, "default", args);
        globals.declare("GO", Some("1.23".to_string()), args);
        globals
    }

    #[test]
    fn a_stage_sees_globals_only_after_it_declared_them() {
        let none = args(&[]);
        let mut scope = Scope::default();
        assert_eq!(scope.get("GO"), None);
        assert_eq!(scope.declare("GO", None, &none, &globals(&none)), Some("1.23".into()));
        assert_eq!(scope.declare("TARGETVARIANT", None, &none, &globals(&none)), Some("v7".into()));
        assert_eq!(scope.environment(), ["GO=1.23", "TARGETVARIANT=v7"]);
    }

    #[test]
    fn given_beats_default_and_default_beats_global() {
        let given = args(&[("GO", "1.24")]);
        let none = args(&[]);
        assert_eq!(
            Scope::default().declare("GO", Some("1.0".into()), &given, &globals(&given)),
            Some("1.24".into())
        );
        assert_eq!(
            Scope::default().declare("GO", Some("1.0".into()), &none, &globals(&none)),
            Some("1.0".into())
        );
        let shadowed = args(&[("TARGETARCH", "x")]);
        assert_eq!(globals(&shadowed).get("TARGETARCH"), Some("x".into()));
    }

    #[test]
    fn the_later_of_env_and_arg_wins() {
        let mut scope = Scope::default();
        scope.set("X", "env");
        scope.declare("X", Some("arg".into()), &args(&[]), &globals(&args(&[])));
        assert_eq!(scope.get("X"), Some("arg".into()));
        assert_eq!(scope.declared(), ["X=arg"]);
    }

    #[test]
    fn what_speaks_to_the_builder_is_no_variable() {
        let mut scope = Scope::default();
        scope.declare("BUILDKIT_SBOM_SCAN_STAGE", Some("1".into()), &args(&[]), &globals(&args(&[])));
        assert_eq!(
            (scope.environment(), scope.declared()),
            (vec![], vec!["BUILDKIT_SBOM_SCAN_STAGE=1".into()])
        );
    }

    #[test]
    fn proxies_need_no_declaration() {
        let given = args(&[("http_proxy", "http://p:1"), ("OTHER", "x")]);
        assert_eq!(Scope::default().proxies(&given), ["HTTP_PROXY=http://p:1", "http_proxy=http://p:1"]);
    }
}
