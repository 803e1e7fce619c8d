//! `SecretsUsedInArgOrEnv`.

use crate::base::secret::names_a_secret;
use crate::dockerfile::InstructionKind;
use crate::lint::finding::within;
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "SecretsUsedInArgOrEnv",
    summary: "a secret is passed by ARG or ENV",
    level: Level::Warning,
    url: Some("https://docs.docker.com/go/dockerfile/rule/secrets-used-in-arg-or-env/"),
    why: "ARG values are in the image's history and in provenance, ENV values in its config: everybody who can pull the \
          image can read them. A secret mount is there for the time of one command and leaves nothing behind.",
    bad: "FROM scratch\nARG NPM_TOKEN\n",
    good: "FROM scratch\nRUN --mount=type=secret,id=npm,env=NPM_TOKEN [\"/npm\", \"ci\"]\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (_, _, at) in view.uses() {
        let (keyword, names): (&str, Vec<&str>) = match &at.instruction.kind {
            InstructionKind::Arg(arg) => {
                ("ARG", arg.declarations.iter().map(|declaration| declaration.name.as_str()).collect())
            }
            InstructionKind::Env(env) => {
                ("ENV", env.pairs.iter().map(|pair| at.value_of(&pair.key)).collect())
            }
            _ => continue,
        };
        for name in names.into_iter().filter(|name| names_a_secret(name)) {
            findings.push(
                Finding::new(format!("{keyword} is no place for a secret such as `{name}`"))
                    .at(within(at.place, name), "can be read in the image")
                    .help("use `RUN --mount=type=secret`"),
            );
        }
    }
    findings
}
