//! `mab bench` on the command line.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Args;

use super::container::{ContainerArguments, prepared};
use super::{failed, print_text, runtime};
use crate::command::Failure;
use crate::command::bench::{Repetitions, bench as measure};
use crate::command::run::in_registry;
use crate::config::user::UserConfig;
use crate::diag::Problem;
use crate::facts::Facts;
use crate::report::bench::{self as report, Jobs};
use crate::ui::Progress;

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct BenchArguments {
    /// How often the command runs
    #[arg(long, value_name = "COUNT", default_value = "10", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// How often it runs before, uncounted
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = clap::value_parser!(u32).range(..=10_000))]
    warm_up: u32,
    /// Prints {version, image, command, platforms}; a platform has its times in seconds: median, quartiles, min, max,
    /// processor, and to-native, emulated
    #[arg(long)]
    json: bool,
    /// Runs nothing, and prints a Kubernetes Job for each platform of an image in a registry, bound to such nodes
    #[arg(long, conflicts_with = "json")]
    kubernetes: bool,
    #[command(flatten)]
    pub container: ContainerArguments,
}

const EXAMPLES: &str = "\
All platforms of the image are measured, or those of `--platform`. Exit code 1 says that the command failed.

Examples:
  mab bench api -- /server --self-check               a target, on all its platforms
  mab bench --rounds 30 --json alpine -- sha256sum /bin/busybox
  mab bench --kubernetes registry.example.com/api:1.4 -- /server --self-check | kubectl apply -f -";

pub fn bench(arguments: &BenchArguments, user: &UserConfig, facts: &mut Facts) -> ExitCode {
    let runtime = runtime();
    let told = runtime.block_on(tell(arguments, user, facts));
    runtime.shutdown_background();
    match told {
        Ok(text) => print_text(&text, facts, Progress::Auto).unwrap_or(ExitCode::SUCCESS),
        // A failed build was told while it ran.
        Err(problems) if problems.is_empty() => ExitCode::from(1),
        Err(problems) => failed(&problems, Progress::Auto, Some(facts)),
    }
}

async fn tell(arguments: &BenchArguments, user: &UserConfig, facts: &mut Facts) -> Result<String, Failure> {
    let container = &arguments.container;
    container.tell_of_misplaced("bench", facts);
    let is_for_all = container.is_for_any_platform();
    let options = container.options(facts, is_for_all)?;
    if arguments.kubernetes && in_registry(&options, facts)?.is_none() {
        let message = format!("nodes of a cluster cannot pull `{}`", options.image);
        let problem = Problem::input("bench::image", message);
        return Err(vec![problem.help("name an image of a registry")]);
    }
    let runs = prepared(&options, container.progress(user), facts).await?;
    let platforms: Vec<_> = runs.jobs.iter().map(|job| job.platform.clone()).collect();
    if arguments.kubernetes {
        return Ok(report::kubernetes(&Jobs {
            image: options.image.trim_start_matches("docker-image://").trim_start_matches("docker://"),
            entrypoint: options.overrides.entrypoint.as_deref(),
            arguments: &options.overrides.arguments,
            env: &options.overrides.env,
            rounds: arguments.rounds,
            platforms: &platforms,
        }));
    }
    let repetitions = Repetitions { rounds: arguments.rounds, warm_up: arguments.warm_up };
    let all = repetitions.rounds + repetitions.warm_up;
    let shows = std::io::stderr().is_terminal();
    let measured = measure(&runs, repetitions, |job, round| {
        if shows {
            // A line that is written over; nothing is left to do when standard error is closed.
            let _ = write!(std::io::stderr(), "\r\x1b[K{} {} of {all}", job.platform, round + 1);
        }
    });
    let results = measured.await;
    if shows {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
    let results = results.map_err(|problem| vec![*problem])?;
    let command = runs.jobs.first().map(|job| job.command.argv.clone()).unwrap_or_default();
    Ok(match arguments.json {
        true => format!("{:#}\n", report::json(&options.image, &command, &results)),
        false => report::text(&results),
    })
}
