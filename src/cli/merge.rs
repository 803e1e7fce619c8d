//! `mab merge` on the command line.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser as _;

use super::args::{ProgressArgument, SessionArguments, progress_of};
use super::build_file::BuildFileArguments;
use super::lock::LockRules;
use super::{end_of, failed, print_text, runtime, shut_down, signals, surroundings};
use crate::command::WrittenPart;
use crate::command::bake::{BakeOptions, Publishing};
use crate::command::merge::{self, MergeOptions};
use crate::command::plan::plain_request;
use crate::config;
use crate::config::user::UserConfig;
use crate::diag::Problem;
use crate::facts::Facts;
use crate::model::Call;
use crate::plan::Request;
use crate::publish::part::{self, Aspect};
use crate::ui::{Progress, Ui};

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct MergeArguments {
    /// Targets and groups, as for `mab bake`; and parts, or folders with parts in them. What has a `/` in it is no target
    #[arg(value_name = "TARGET|PART", required = true)]
    words: Vec<String>,
    #[command(flatten)]
    pub file: BuildFileArguments,
    #[command(flatten)]
    session: SessionArguments,
    /// Pushes every requested image to its tags
    #[arg(long)]
    push: bool,
    /// Loads every requested image into the Docker Engine of DOCKER_HOST
    #[arg(long)]
    load: bool,
    /// Writes every requested image; replaces the outputs of the file, as for `mab bake`
    #[arg(short, long, value_name = "OUTPUT")]
    output: Vec<String>,
    /// Says where each tag would move, and moves none
    #[arg(long)]
    dry_run: bool,
    /// Goes on, with a warning, where parts disagree about this
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = aspect())]
    allow_different: Vec<Aspect>,
    /// Lets a tag that is there come to have fewer platforms than it has
    #[arg(long)]
    allow_fewer_platforms: bool,
    /// Lets floating tags go back to an older version or commit than they lead to
    #[arg(long)]
    allow_older_release: bool,
    #[command(flatten)]
    lock: LockRules,
    /// How progress is shown
    #[arg(long, value_name = "HOW", env = "MAB_PROGRESS")]
    progress: Option<ProgressArgument>,
    /// Writes digests of what was merged to this file, as JSON
    #[arg(long, value_name = "PATH")]
    metadata_file: Option<PathBuf>,
}

const EXAMPLES: &str = "\
A part is a folder: `part.json` says what it is made from, the rest is an OCI layout. Layers are in the registry, or in
the part where it was made with `--carry` or for a target that is not pushed.

Examples:
  mab bake release --platform linux/arm64 --part out/      on the machine for arm64
  mab bake release --platform linux/amd64 --part out/      on the one for amd64
  mab merge release parts/                                 on any, with what both wrote in parts/
  mab merge release parts/* --dry-run                      where tags would move
  mab merge api ./one ./two -o type=oci,dest=api.tar       without a registry";

fn aspect() -> impl clap::builder::TypedValueParser<Value = Aspect> {
    let names = Aspect::ALL.map(Aspect::name);
    PossibleValuesParser::new(names).map(|text| {
        let known = Aspect::ALL.into_iter().find(|aspect| aspect.name() == text);
        known.expect("only names of aspects are possible")
    })
}

pub fn merge(arguments: &MergeArguments, user: &UserConfig, facts: &mut Facts) -> ExitCode {
    let progress = progress_of(arguments.progress, user);
    let options = match arguments.options(facts) {
        Ok(options) => options,
        Err(problems) => return failed(&problems, progress, Some(facts)),
    };
    let runtime = runtime();
    let merged = runtime.block_on(async {
        let cancel = signals::cancel_on_signals();
        let ui = Arc::new(Ui::new(progress, &surroundings(facts), Box::new(std::io::stderr())));
        merge::merge(&options, facts, ui, cancel).await
    });
    shut_down(runtime, &merged);
    end_of(merged, facts, progress)
}

/// The part's path, for scripts, and for people where its layers are.
pub(super) fn tell_part(part: &WrittenPart, facts: &Facts, progress: Progress) -> Option<ExitCode> {
    let listed = |names: &BTreeSet<String>| {
        names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    if !matches!(progress, Progress::Json | Progress::Quiet) {
        let kinds = [(&part.pushed, "are in its repositories"), (&part.carried, "go along in the part")];
        for (names, how) in kinds.into_iter().filter(|(names, _)| !names.is_empty()) {
            // Nothing is left to do when standard error is closed.
            let _ = writeln!(std::io::stderr(), "layers of {} {how}; no tag was moved", listed(names));
        }
    }
    print_text(&format!("{}\n", part.path), facts, progress)
}

/// What has a `/` in it is none but a part; a word may be a folder that has some.
fn is_part(current: &Path, word: &str) -> bool {
    word.contains('/') || current.join(word).is_dir() && part::find(&current.join(word), word).is_ok()
}

impl MergeArguments {
    fn options(&self, facts: &Facts) -> Result<MergeOptions, Vec<Problem>> {
        let (parts, names): (Vec<String>, Vec<String>) =
            self.words.iter().cloned().partition(|word| is_part(&facts.directories.current, word));
        if parts.is_empty() {
            let problem = Problem::input("part::none", "no part is named")
                .help("name parts, or a folder with parts in it: `mab merge release parts/`");
            return Err(vec![problem]);
        }
        let outputs = self.output.iter().map(|text| config::parse_output(text, &facts.directories.current));
        let outputs: Vec<_> = outputs.collect::<Result<_, _>>()?;
        let request = Request {
            push: self.push,
            load: self.load,
            outputs: (!outputs.is_empty()).then_some(outputs),
            allowed: crate::command::entitlements(&self.file.allow, facts)
                .map_err(|problem| vec![*problem])?,
            ..plain_request(facts)
        };
        let publishing = Publishing {
            allows_fewer_platforms: self.allow_fewer_platforms,
            allows_older: self.allow_older_release,
            is_rehearsal: self.dry_run,
        };
        let bake = BakeOptions {
            project: self.file.options(&names),
            session: self.lock.of(self.session.options()),
            request,
            call: Some(Call::Build),
            keep_going: false,
            explains: false,
            metadata: self.metadata_file.clone(),
            publishing,
            keeps_images: false,
            part: None,
        };
        let parts = parts.into_iter().map(PathBuf::from).collect();
        Ok(MergeOptions { bake, parts, allowed: self.allow_different.clone() })
    }
}
