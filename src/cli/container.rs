//! The arguments of commands that run something in an image: which image, and what its command gets.

use std::io::Write as _;
use std::sync::{Arc, OnceLock};

use clap::{Args, CommandFactory as _};

use super::args::{ProgressArgument, SessionArguments};
use super::build_file::BuildFileArguments;
use super::{failed, run_mounts, signals, surroundings};
use crate::command::plan::plain_request;
use crate::command::run::{RunOptions, Runs, prepare};
use crate::command::{self, Failure};
use crate::config::PlatformName;
use crate::config::user::UserConfig;
use crate::diag::{Problem, nearest};
use crate::engine::{Overrides, Surroundings};
use crate::event::{Event, EventSink};
use crate::facts::Facts;
use crate::model::Network;
use crate::ui::{self, Progress, Ui};

#[derive(Debug, Args)]
pub struct ContainerArguments {
    #[command(flatten)]
    pub file: BuildFileArguments,
    #[command(flatten)]
    session: SessionArguments,
    /// Sets a variable; `NAME` alone takes its value from here
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// The user instead of the image's, by name or number: `USER[:GROUP]`
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// The working directory instead of the image's
    #[arg(short, long, value_name = "PATH")]
    workdir: Option<String>,
    /// The program instead of the image's entrypoint, whose command is left out as well; an empty one for none
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// A file or folder of this machine: `SOURCE:TARGET[:ro]`
    #[arg(short, long, value_name = "BIND", value_parser = run_mounts::volume)]
    volume: Vec<crate::engine::RunMount>,
    /// The same by words: `type=bind,source=PATH,target=PATH[,readonly]`, `type=tmpfs,target=PATH[,tmpfs-size=BYTES]`
    #[arg(long, value_name = "MOUNT", value_parser = run_mounts::mount)]
    mount: Vec<crate::engine::RunMount>,
    /// An empty folder in memory: `PATH[:size=BYTES]`
    #[arg(long, value_name = "PATH", value_parser = run_mounts::tmpfs)]
    tmpfs: Vec<crate::engine::RunMount>,
    /// Lets the command change nothing but what is mounted
    #[arg(long)]
    read_only: bool,
    /// `default`: the outside can be reached; `none`: only itself; `host`: this machine's network
    #[arg(long, value_name = "NETWORK", default_value = "default")]
    network: NetworkArgument,
    /// Another line of /etc/hosts
    #[arg(long = "add-host", value_name = "NAME:ADDRESS", value_parser = host)]
    hosts: Vec<(String, String)>,
    /// What the machine is called inside
    #[arg(long, value_name = "NAME", default_value = "mab")]
    hostname: String,
    /// The size of /dev/shm
    #[arg(long, value_name = "BYTES", value_parser = run_mounts::size)]
    shm_size: Option<u64>,
    /// Asks no registry: what the store does not have is an error
    #[arg(long)]
    offline: bool,
    /// How building a target is shown
    #[arg(long, value_name = "HOW", env = "MAB_PROGRESS")]
    progress: Option<ProgressArgument>,
    /// The image
    #[arg(value_name = "IMAGE")]
    image: String,
    /// The command instead of the image's, or the arguments of its entrypoint
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum NetworkArgument {
    Default,
    None,
    Host,
}

impl ContainerArguments {
    /// For every platform of the image, or for those that are named.
    pub fn options(&self, facts: &Facts, is_for_all: bool) -> Result<RunOptions, Failure> {
        let wrong = |text: String| vec![Problem::input("run::mount", text)];
        let mounts = self.mount.iter().chain(&self.volume).chain(&self.tmpfs).cloned();
        let mounts = mounts.map(|mount| run_mounts::from_folder(mount, &facts.directories.current));
        let project = self.file.options(&[]);
        let platforms = PlatformName::without_sets(&project.platforms).map_err(|problem| vec![problem])?;
        let env = self.env.iter().map(|entry| from_here(entry, facts)).collect();
        Ok(RunOptions {
            project,
            session: command::SessionOptions { is_offline: self.offline, ..self.session.options() },
            request: crate::plan::Request {
                allowed: command::entitlements(&self.file.allow, facts).map_err(|problem| vec![*problem])?,
                ..plain_request(facts)
            },
            image: self.image.clone(),
            platforms,
            is_for_all,
            overrides: Overrides {
                entrypoint: self
                    .entrypoint
                    .as_ref()
                    .map(|program| if program.is_empty() { Vec::new() } else { vec![program.clone()] }),
                arguments: self.command.clone(),
                env,
                user: self.user.clone(),
                workdir: self.workdir.clone(),
            },
            surroundings: Surroundings {
                mounts: mounts.collect::<Result<_, _>>().map_err(wrong)?,
                network: match self.network {
                    NetworkArgument::Default => Network::Default,
                    NetworkArgument::None => Network::None,
                    NetworkArgument::Host => Network::Host,
                },
                hostname: self.hostname.clone(),
                extra_hosts: self.hosts.iter().cloned().collect(),
                is_read_only: self.read_only,
                shm_size: self.shm_size,
                ulimits: Vec::new(),
            },
        })
    }

    /// Tells of what is perhaps meant as an option of `mab`, and goes to the command. Options may stand behind the image,
    /// until the command begins.
    pub fn tell_of_misplaced(&self, verb: &str, facts: &Facts) {
        let words: Vec<String> =
            std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
        let mut parser = super::args::Arguments::command();
        // What a command takes is put together when somebody asks.
        parser.build();
        let options = parser.find_subcommand(verb).map(clap::Command::get_arguments).into_iter().flatten();
        let options: Vec<&str> = options.filter_map(clap::Arg::get_long).collect();
        // It is said that the command has it.
        if words[..words.len().saturating_sub(self.command.len())].iter().any(|word| word == "--") {
            return;
        }
        if let Some(problem) = misplaced(verb, &options, &self.command) {
            failed(&[problem], Progress::Auto, Some(facts));
        }
    }

    /// Nobody names one.
    pub fn is_for_any_platform(&self) -> bool {
        self.file.options(&[]).platforms.is_empty()
    }

    pub fn progress(&self, user: &UserConfig) -> Progress {
        let configured =
            || <ProgressArgument as clap::ValueEnum>::from_str(user.progress.as_deref()?, false).ok();
        self.progress.or_else(configured).unwrap_or(ProgressArgument::Auto).into()
    }
}

fn misplaced(verb: &str, options: &[&str], command: &[String]) -> Option<Problem> {
    let named = |word: &str| Some(word.strip_prefix("--")?.split('=').next().unwrap_or_default().to_string());
    let warning = |message: String| Problem::warning("run::misplaced", message);
    let (first, rest) = command.split_first()?;
    if let Some(near) = named(first).and_then(|name| nearest(&name, options.iter().copied())) {
        let help = format!("did you mean `--{near}`? If the command is to have it, `--` before it says so");
        let message = format!("`{first}` is no option of `mab {verb}`, and goes to the command");
        return Some(warning(message).help(help));
    }
    // Commands have options of their own, but hardly those of a measurement.
    let is_own = |word: &&String| named(word).is_some_and(|name| options.contains(&name.as_str()));
    let own = rest.iter().find(is_own).filter(|_| verb == "bench")?;
    let help =
        format!("options of `mab {verb}` stand before it; `--` before the command says that it is meant");
    Some(warning(format!("`{own}` stands behind the command, which gets it")).help(help))
}

/// `NAME:ADDRESS`, or `NAME=ADDRESS` for addresses of version 6.
fn host(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once(['=', ':']).filter(|(name, address)| !name.is_empty() && !address.is_empty());
    let (name, address) = pair.ok_or("a host is `NAME:ADDRESS`")?;
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<std::net::IpAddr>().map_err(|_| format!("`{address}` is no address"))?;
    Ok((name.to_string(), bare.to_string()))
}

/// A name alone is given its value here; one without a value here stays as it is, which takes the variable away.
fn from_here(entry: &str, facts: &Facts) -> String {
    match (entry.contains('='), facts.environment.get(entry)) {
        (false, Some(value)) => format!("{entry}={value}"),
        _ => entry.to_string(),
    }
}

/// Shows what is noticed while a command runs; nothing else is of interest then.
struct Notices(ui::Surroundings);

impl EventSink for Notices {
    fn emit(&self, event: Event) {
        if let Event::Notice { problem, .. } = event {
            // Nothing is left to do when standard error is closed.
            let _ = std::io::stderr().write_all(ui::report(&problem, &self.0).as_bytes());
        }
    }
}

/// Shows a build once there is one: the terminal belongs to the command otherwise.
struct LateUi {
    progress: Progress,
    surroundings: ui::Surroundings,
    ui: OnceLock<Ui>,
}

impl EventSink for LateUi {
    fn emit(&self, event: Event) {
        let open = || Ui::new(self.progress, &self.surroundings, Box::new(std::io::stderr()));
        self.ui.get_or_init(open).emit(event);
    }
}

/// What is to run; a target is built for it.
pub async fn prepared(options: &RunOptions, progress: Progress, facts: &mut Facts) -> Result<Runs, Failure> {
    let ui = Arc::new(LateUi { progress, surroundings: surroundings(facts), ui: OnceLock::new() });
    let notices = Arc::new(crate::run::SaidOnce::new(Arc::new(Notices(surroundings(facts)))));
    let (cancel, listening) = signals::cancellable();
    let prepared = prepare(options, facts, ui, notices, cancel).await;
    drop(listening);
    prepared
}
