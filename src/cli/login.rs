//! `mab login` and `mab logout` on the command line.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::process::ExitCode;

use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::{document, failed, runtime};
use crate::base::Secret;
use crate::command;
use crate::command::login::LoginOptions;
use crate::diag::{Kind, Problem};
use crate::facts::Facts;
use crate::ui::Progress;

/// What a registry may be told at most.
const LONGEST_SECRET: u64 = 64 * 1024;

#[derive(Debug, Args)]
#[command(after_long_help = LOGIN_EXAMPLES)]
pub struct LoginArguments {
    /// The registry's host
    #[arg(value_name = "REGISTRY", default_value = "docker.io")]
    registry: String,
    /// Who; asked for on the terminal if it is left out
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Reads the password from standard input, instead of asking for it on the terminal
    #[arg(long)]
    password_stdin: bool,
    /// What is read is an identity token, as `az acr login --expose-token` gives it, and no password
    #[arg(long)]
    identity_token: bool,
}

const LOGIN_EXAMPLES: &str = "\
The file is $DOCKER_CONFIG/config.json, or ~/.docker/config.json.

Examples:
  mab login ghcr.io -u octocat                 asks for the password without showing it
  echo \"$TOKEN\" | mab login ghcr.io -u octocat --password-stdin
  mab login                                    Docker Hub";

#[derive(Debug, Args)]
#[command(after_long_help = LOGOUT_EXAMPLES)]
pub struct LogoutArguments {
    #[arg(value_name = "REGISTRY", default_value = "docker.io")]
    registries: Vec<String>,
}

const LOGOUT_EXAMPLES: &str = "\
Examples:
  mab logout ghcr.io";

pub fn login(arguments: &LoginArguments, facts: &Facts) -> ExitCode {
    let options = match options(arguments) {
        Ok(options) => options,
        Err(problem) => return failed(&[*problem], Progress::Auto, Some(facts)),
    };
    document(runtime().block_on(command::login::login(options, facts)), facts, Progress::Auto)
}

pub fn logout(arguments: &LogoutArguments, facts: &Facts) -> ExitCode {
    let gone = command::login::logout(&arguments.registries, facts);
    document(runtime().block_on(gone), facts, Progress::Auto)
}

fn options(arguments: &LoginArguments) -> Result<LoginOptions, Box<Problem>> {
    let LoginArguments { registry, username, password_stdin, identity_token } = arguments;
    let asked = |error: io::Error| {
        if error.kind() == io::ErrorKind::Interrupted {
            return Box::new(Problem::new(Kind::Interrupted, "login::interrupted", "nothing was kept"));
        }
        let problem =
            Problem::new(Kind::Input, "login::no-terminal", format!("nobody can be asked: {error}"));
        Box::new(problem.help("name the user with `-u`, and give the password with `--password-stdin`"))
    };
    let username = match username {
        Some(username) => username.clone(),
        None if *identity_token => String::new(),
        None => ask("Username: ", true).map_err(asked)?,
    };
    let secret = match password_stdin {
        true => {
            let mut text = String::new();
            let read = io::stdin().take(LONGEST_SECRET).read_to_string(&mut text);
            read.map_err(asked)?;
            text.trim_end_matches(['\r', '\n']).to_string()
        }
        false => ask("Password: ", false).map_err(asked)?,
    };
    Ok(LoginOptions {
        registry: registry.clone(),
        username,
        secret: Secret::new(secret),
        is_token: *identity_token,
    })
}

/// Asks on the terminal, which standard input need not be.
fn ask(question: &str, is_shown: bool) -> io::Result<String> {
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    terminal.write_all(question.as_bytes())?;
    if is_shown {
        let mut line = String::new();
        BufReader::new(terminal.take(LONGEST_SECRET)).read_line(&mut line)?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_string());
    }
    let answer = {
        let _hidden = Hidden::begin(terminal.try_clone()?)?;
        typed(&terminal)
    };
    terminal.write_all(b"\n")?;
    answer
}

/// A line as it is typed, key by key.
fn typed(terminal: &File) -> io::Result<String> {
    const INTERRUPT: u8 = 3;
    const END: u8 = 4;
    const ERASE: [u8; 2] = [8, 127];
    let mut line = Vec::new();
    for byte in BufReader::new(terminal.take(LONGEST_SECRET)).bytes() {
        match byte? {
            b'\r' | b'\n' | END => break,
            INTERRUPT => return Err(io::ErrorKind::Interrupted.into()),
            byte if ERASE.contains(&byte) => drop(line.pop()),
            byte => line.push(byte),
        }
    }
    String::from_utf8(line)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "what was typed is no text"))
}

/// A terminal that hands over what is typed at once and does not show it, until this is dropped. Interruptions come as
/// keys, so that none ends the program before the terminal is as it was.
struct Hidden {
    terminal: File,
    before: Termios,
}

impl Hidden {
    fn begin(terminal: File) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut without = before.clone();
        without.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(&terminal, OptionalActions::Flush, &without)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing put back.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}
