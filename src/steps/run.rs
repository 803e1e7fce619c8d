//! RUN: its command, environment and surroundings.

use super::history::{Makes, record};
use super::instructions::{Lowering, StageLowerer};
use super::op::{Op, RunOp, Script};
use crate::dockerfile::{self, Instruction, Run};
use crate::model::Network;

const SHM_SIZE: u64 = 64 << 20;
const HOSTNAME: &str = "buildkitsandbox";

impl StageLowerer<'_, '_> {
    pub(super) fn run(&mut self, instruction: &Instruction, run: &Run) -> Lowering<()> {
        let (argv, script) = match run.script() {
            dockerfile::Script::Shell(text) => (self.with_shell(text), None),
            dockerfile::Script::Exec(words) => (words, None),
            dockerfile::Script::File { name, content } => {
                (self.with_shell(format!("/dev/pipes/{name}")), Some(Script { name, content }))
            }
        };
        let setting = self.lowerer.setting;
        let network = match run.network {
            dockerfile::Network::Default => setting.network,
            dockerfile::Network::None => Network::None,
            dockerfile::Network::Host => Network::Host,
        };
        let declared = self.state.scope.declared();
        let count = if declared.is_empty() { Vec::new() } else { vec![format!("|{}", declared.len())] };
        let command: Vec<String> = count.into_iter().chain(declared).chain(argv.iter().cloned()).collect();
        let op = RunOp {
            input: self.state.files,
            argv,
            env: self.state.scope.environment(),
            proxy_env: self.state.scope.proxies(setting.args),
            cwd: self.working_directory().to_string(),
            user: self.state.config.config.user.clone(),
            network,
            shm_size: setting.shm_size.unwrap_or(SHM_SIZE),
            extra_hosts: setting.extra_hosts.clone(),
            hostname: HOSTNAME.to_string(),
            script,
        };
        self.step(instruction, Op::Run(op));
        record(&mut self.state.config, format!("RUN {} # buildkit", command.join(" ")), Makes::Layer);
        Ok(())
    }
}
