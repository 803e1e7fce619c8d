//! `mab test` on the command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::args::{ProgressArgument, ProjectArguments, SessionArguments};
use super::lock::LockRules;
use super::{end_of, failed, print_text, runtime, shut_down, signals, surroundings};
use crate::command;
use crate::command::plan::plain_request;
use crate::command::test::{TestOptions, test as answer};
use crate::config::user::UserConfig;
use crate::facts::Facts;
use crate::plan::Request;
use crate::report::test_results;
use crate::ui::{Progress, Ui};

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct TestArguments {
    #[command(flatten)]
    pub project: ProjectArguments,
    #[command(flatten)]
    session: SessionArguments,
    #[command(flatten)]
    lock: LockRules,
    /// Runs tests that passed before as well
    #[arg(long)]
    again: bool,
    /// Writes the results to this file as JUnit's XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Prints {version, tests}: target, platform, test, passed, reused, emulated, attempts, seconds, and for a failure
    /// reasons and output
    #[arg(long)]
    json: bool,
    /// Where to build: `default`, which is this machine, or another one that `mab builder ls` shows; tests run here
    #[arg(long, value_name = "NAME", env = "MAB_BUILDER")]
    builder: Option<String>,
    /// How progress is shown
    #[arg(long, value_name = "HOW", env = "MAB_PROGRESS")]
    progress: Option<ProgressArgument>,
}

const EXAMPLES: &str = "\
Exit code 1 says that a test failed, or a build step.

Examples:
  mab test                                     the tests of everything of `[group.default]`
  mab test api --platform linux/arm64          of one target, for one platform
  mab test --again --junit tests.xml           all of them, for the CI system
  mab test --json | jq '.tests[] | select(.passed | not)'";

pub fn test(arguments: &TestArguments, user: &UserConfig, facts: &mut Facts) -> ExitCode {
    let configured =
        || <ProgressArgument as clap::ValueEnum>::from_str(user.progress.as_deref()?, false).ok();
    let progress: Progress = arguments.progress.or_else(configured).unwrap_or(ProgressArgument::Auto).into();
    let allowed = match command::entitlements(&arguments.project.file.allow, facts) {
        Ok(allowed) => allowed,
        Err(problem) => return failed(&[*problem], progress, Some(facts)),
    };
    let options = TestOptions {
        project: command::ProjectOptions {
            builder: arguments.builder.clone(),
            ..arguments.project.options()
        },
        session: arguments.lock.of(arguments.session.options()),
        request: Request { allowed, ..plain_request(facts) },
        is_fresh: arguments.again,
        junit: arguments.junit.clone(),
    };
    let runtime = runtime();
    let tested = runtime.block_on(async {
        let cancel = signals::cancel_on_signals();
        let ui = Arc::new(Ui::new(progress, &surroundings(facts), Box::new(std::io::stderr())));
        answer(&options, facts, ui, cancel).await
    });
    shut_down(runtime, &tested);
    if let Ok(baked) = &tested {
        let text = match arguments.json {
            true => format!("{:#}\n", test_results::json(&baked.tests)),
            false => test_results::text(&baked.tests),
        };
        if let Some(code) = print_text(&text, facts, progress) {
            return code;
        }
    }
    end_of(tested, facts, progress)
}
