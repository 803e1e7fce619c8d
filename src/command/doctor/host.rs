//! What the doctor tries on this machine.

use std::path::{Path, PathBuf};

use futures_util::future::join_all;

use super::DoctorOptions;
use crate::base::Platform;
use crate::command::{Failure, session};
use crate::diag::{Kind, Problem};
use crate::doctor::{Check, Finding, emulation, namespaces, sandbox, storage};
use crate::engine::embedded::emulate::{Execution, HostFacts};
use crate::engine::embedded::sandbox::{IdMap, SandboxError, Subordinate};
use crate::engine::embedded::trial::{Sandbox, Trial, emulator_version};
use crate::facts::Facts;
use crate::ui::bytes;

const SANDBOX: [Check; 9] = [
    Check::Kernel,
    Check::Userns,
    Check::Ids,
    Check::Overlay,
    Check::Mounts,
    Check::Network,
    Check::Cgroups,
    Check::Binfmt,
    Check::Platform,
];

/// Tries the store and the sandbox; platforms come with whether somebody builds for them.
pub async fn examine(
    options: &DoctorOptions,
    platforms: &[(Platform, bool)],
    facts: &Facts,
) -> Result<Vec<Finding>, Failure> {
    let path = session::store_path(&options.session, facts).map_err(|problem| vec![*problem])?;
    let opened = session::open_store(&options.session, facts).map(drop).map_err(|problem| *problem);
    let mut findings = vec![
        storage::store(&path, opened.as_ref().copied()),
        storage::disk(storage::Space::of(&path), &path, bytes),
    ];
    if options.wants(&SANDBOX) {
        // Without a store, the sandbox can still be tried somewhere.
        let elsewhere = match opened {
            Ok(()) => None,
            Err(_) => Some(tempfile::tempdir().map_err(|error| vec![nowhere(&error)])?),
        };
        let folder = elsewhere.as_ref().map_or(path, |folder| folder.path().to_path_buf());
        findings.extend(examine_sandbox(&folder, platforms).await);
    }
    Ok(findings)
}

fn nowhere(error: &std::io::Error) -> Problem {
    let message = format!("cannot make a temporary folder: {error}");
    Problem::new(Kind::Host, "doctor::nowhere", message).help("set TMPDIR to a folder you may write to")
}

async fn examine_sandbox(folder: &Path, platforms: &[(Platform, bool)]) -> Vec<Finding> {
    let names: Vec<Platform> = platforms.iter().map(|(platform, _)| platform.clone()).collect();
    let host = HostFacts::read(&names);
    let here = namespaces::Surroundings::read(host.kernel, host.distribution.clone());
    let trial = Trial::new(folder);
    let in_namespace = trial.user_namespace().await;
    let refused = in_namespace.as_ref().err();
    let mut findings = vec![
        namespaces::kernel(&here),
        namespaces::user_namespace(refused, &here),
        namespaces::ids(own_ids(&in_namespace, &here), &Subordinate::of_this_user(), &here),
    ];
    let own_registry = in_namespace.as_ref().ok().and_then(|sandbox| sandbox.probe.private_binfmt.clone());
    // Root builds outside of a user namespace.
    let as_built = if here.is_root { trial.sandbox().await } else { in_namespace };
    let stands = match &as_built {
        Ok(stands) => stands,
        Err(error) => {
            let why = error.to_string();
            findings.extend(sandbox::none(&why));
            let untried =
                platforms.iter().map(|(platform, wanted)| emulation::untried(platform, *wanted, &why));
            findings.extend(untried);
            return findings;
        }
    };
    let (probe, groups) = (&stands.probe, &stands.control_groups);
    findings.extend(sandbox::sandbox(probe, groups, folder, &here));
    let notice = trial.network(stands).await.map_err(|error| error.to_string());
    findings.push(sandbox::network(probe.network_namespace.as_ref(), notice, &here));
    findings.push(emulation::binfmt(&host, &names, own_registry.as_ref()));
    let tried = platforms
        .iter()
        .map(|(platform, is_wanted)| try_platform(&trial, platform, *is_wanted, &host, stands));
    findings.extend(join_all(tried).await);
    findings
}

fn own_ids<'a>(
    in_namespace: &'a Result<Sandbox, SandboxError>,
    here: &namespaces::Surroundings,
) -> Result<IdMap, &'a SandboxError> {
    match in_namespace {
        _ if here.is_root => Ok(IdMap::Full),
        Ok(sandbox) => Ok(sandbox.id_map),
        Err(error) => Err(error),
    }
}

async fn try_platform(
    trial: &Trial,
    platform: &Platform,
    is_wanted: bool,
    host: &HostFacts,
    stands: &Sandbox,
) -> Finding {
    let (execution, ran) = trial.program(platform, host, stands).await;
    let interpreter: Option<&PathBuf> = match &execution {
        Execution::HostBinfmt { interpreter, .. } => Some(interpreter),
        Execution::PrivateBinfmt(emulator) => Some(&emulator.interpreter),
        Execution::Native | Execution::Unavailable { .. } => None,
    };
    let version = match interpreter {
        Some(interpreter) => emulator_version(interpreter).await,
        None => None,
    };
    emulation::platform(platform, &execution, &ran, version.as_deref(), is_wanted)
}
