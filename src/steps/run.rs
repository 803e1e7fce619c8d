//! RUN: its command, environment and surroundings.

use super::history::{Makes, record};
use super::instructions::{Lowering, StageLowerer, clean};
use super::op::{Op, RunOp, Script};
use super::setting::Setting;
use crate::diag::Problem;
use crate::dockerfile::{self, Instruction, Run, Security};
use crate::model::{Entitlement, Network};

const SHM_SIZE: u64 = 64 << 20;
const HOSTNAME: &str = "buildkitsandbox";

impl StageLowerer<'_, '_> {
    pub(super) fn run(&mut self, instruction: &Instruction, run: &Run) -> Lowering<()> {
        // An image that is not known yet was asked for.
        let Some(mounts) = self.mounts(run)? else { return Ok(()) };
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
            cwd: clean(self.working_directory()),
            user: self.state.config.config.user.clone(),
            network,
            shm_size: setting.shm_size.unwrap_or(SHM_SIZE),
            extra_hosts: setting.extra_hosts.clone(),
            hostname: setting
                .args
                .get("BUILDKIT_SANDBOX_HOSTNAME")
                .map_or_else(|| HOSTNAME.to_string(), |given| given.value.clone()),
            script,
            mounts,
            is_insecure: run.security == Security::Insecure,
            ulimits: setting.ulimits.to_vec(),
        };
        self.step(instruction, Op::Run(op));
        record(&mut self.state.config, format!("RUN {} # buildkit", command.join(" ")), Makes::Layer);
        Ok(())
    }
}

/// Whether the setting lets a RUN do what its flags ask for.
pub(super) fn supported(run: &Run, setting: &Setting<'_>) -> Lowering<()> {
    if let Some(device) = run.devices.first() {
        let message = format!("`RUN --device={}` needs the buildkit engine", device.name);
        return Err(Box::new(Problem::input("dockerfile::device", message).help(
            "devices of the host are BuildKit's labs syntax, and this version of mab cannot drive BuildKit yet; leave the flag out",
        )));
    }
    let asked = [
        (run.network == dockerfile::Network::Host, "RUN --network=host", Entitlement::NetworkHost),
        (run.security == Security::Insecure, "RUN --security=insecure", Entitlement::SecurityInsecure),
    ];
    match asked.into_iter().find(|(is_asked, _, wanted)| *is_asked && !setting.asks_for(*wanted)) {
        None => Ok(()),
        Some((_, flag, wanted)) => {
            let message = format!("`{flag}` needs the entitlement `{wanted}`");
            Err(Box::new(Problem::input("dockerfile::entitlement", message).help(format!(
                "say `entitlements = [\"{wanted}\"]` in the target, and bake it with `--allow {wanted}`"
            ))))
        }
    }
}
