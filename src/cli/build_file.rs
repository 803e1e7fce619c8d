//! The arguments of every command that reads a build file: which one, and what of it is said otherwise here.

use std::path::PathBuf;

use clap::Args;

use super::args::variable;
use crate::command::{ChangedOption, Grant, ProjectOptions};
use crate::config::PlatformName;
use crate::diag::{Problem, nearest};
use crate::facts::{CI_FACTS, Said, SaidError};

#[derive(Debug, Args)]
pub struct BuildFileArguments {
    /// The build file, or the folder it is in; or bake and Compose files, which are merged, `-` for standard
    /// input [default: multiarch.toml here or in the nearest folder above, else what bake looks for here]
    #[arg(short, long = "file", value_name = "PATH")]
    files: Vec<PathBuf>,
    /// Of their platforms, all targets keep only these; sets of `[platforms]` go by their names
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',')]
    platform: Vec<PlatformName>,
    /// Gives a variable of the file a value
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = variable)]
    vars: Vec<(String, String)>,
    /// Changes targets, as the strongest layer of their values: `api.args.GO=1.24`, `*.platform=linux/arm64`, `web.tags+=1.0`
    ///
    /// TARGET is a name or a pattern with `*`, `?` and `[…]`. Lists take entries with commas between them, or several
    /// arguments; `+=` adds, and an empty value takes everything away. What has dots is quoted:
    /// `api.labels."org.x.y"=1`, `'api.on."linux/arm64".args.X=1'`. `push` and `load` are `true` or `false`;
    /// `api.remove=args.DEBUG` takes an entry away. Bake's and Compose's files follow bake's rules.
    #[arg(long = "set", value_name = "TARGET.KEY=VALUE")]
    overrides: Vec<String>,
    /// Lets builds that ask for it do more than the sandbox (`network.host`, `security.insecure`), and files of
    /// others reach out of their folder (`ssh`, `env=NAME`, `fs.read=PATH`, `fs.write=PATH`, `fs=PATH`)
    ///
    /// A build file is that of others where CI builds a pull request, where it comes from standard input, or with
    /// MAB_BORDER=on (`off` takes every file for your own). MAB_ALLOW grants the same, with commas between.
    #[arg(long, value_name = "GRANT", value_delimiter = ',', value_parser = Grant::parse)]
    pub allow: Vec<Grant>,
    /// Says what CI does not, or otherwise: `ref=refs/tags/v1.2.3`, `branch`, `tag`, `sha`, `pull-request`,
    /// `base-branch`, `default-branch`, `event`, `repository`, `repository-url`, `run-url`, `commit-date`
    ///
    /// A ref says branch, tag and kind of the run as well. An empty value says nothing. MAB_REF, MAB_PULL_REQUEST and
    /// their kin do the same.
    #[arg(long = "fact", value_name = "NAME=VALUE", value_parser = variable)]
    facts: Vec<(String, String)>,
    /// What time it is, for tags, labels and annotations: RFC 3339, a day, or seconds since 1970 [default:
    /// SOURCE_DATE_EPOCH, else the clock]
    #[arg(long, value_name = "TIME", env = "MAB_NOW")]
    now: Option<String>,
}

impl BuildFileArguments {
    /// What is said of the surroundings.
    pub fn said(&self) -> Result<Said, Problem> {
        let now = self.now.as_deref().filter(|now| !now.is_empty());
        Said::new(now, &self.facts).map_err(|error| {
            let problem = Problem::input("facts::said", error.to_string());
            match &error {
                SaidError::Fact(name) => {
                    let known = CI_FACTS.iter().map(|(name, _)| *name);
                    problem.help(nearest(name, known.clone()).map_or_else(
                        || format!("the facts are {}", known.collect::<Vec<_>>().join(", ")),
                        |near| format!("did you mean `{near}`?"),
                    ))
                }
                SaidError::Time(_) => problem.help("write it as `date -u +%FT%TZ` does"),
            }
        })
    }

    /// `names` are targets and groups.
    pub fn options(&self, names: &[String]) -> ProjectOptions {
        ProjectOptions {
            files: self.files.clone(),
            overrides: self.overrides.clone(),
            shorthands: Vec::new(),
            vars: self.vars.iter().cloned().collect(),
            platforms: self.platform.clone(),
            names: names.to_vec(),
            changed: ChangedOption::All,
            only: Vec::new(),
            grants: self.allow.clone(),
            builder: None,
            remote: None,
        }
    }
}
