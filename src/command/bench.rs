//! `mab bench`: a command in each platform's image, several times.

use std::time::Duration;

use super::run::{RunStreams, Runs};
use crate::diag::{Kind, Problem};
use crate::engine::RunJob;
use crate::engine::embedded::container::Streams;
use crate::engine::embedded::sandbox::{ExitStatus, RunExit};
use crate::engine::embedded::{Embedded, Ended};
use crate::report::bench::Rounds;
use crate::store::MAKE_SPACE;

/// Bytes of its output that are shown of a command that fails.
const SHOWN_OUTPUT: usize = 2000;

/// How often a command runs.
#[derive(Clone, Copy, Debug)]
pub struct Repetitions {
    pub rounds: u32,
    /// Before them, uncounted.
    pub warm_up: u32,
}

/// Runs the command of every job so often, one after the other: nothing competes with what is measured.
pub async fn bench(
    runs: &Runs,
    repetitions: Repetitions,
    mut begins: impl FnMut(&RunJob, u32),
) -> Result<Vec<Rounds>, Box<Problem>> {
    let mut results = Vec::new();
    for job in &runs.jobs {
        let mut rounds = Rounds {
            platform: job.platform.clone(),
            is_emulated: runs.engine.emulator(&job.platform).is_some(),
            elapsed: Vec::new(),
            processor: Vec::new(),
        };
        for round in 0..repetitions.warm_up + repetitions.rounds {
            begins(job, round);
            let (elapsed, processor) = once(&runs.engine, job).await?;
            if round >= repetitions.warm_up {
                rounds.elapsed.push(elapsed);
                rounds.processor.push(processor);
            }
        }
        results.push(rounds);
    }
    runs.engine.tidy().await;
    Ok(results)
}

async fn once(engine: &Embedded, job: &RunJob) -> Result<(Duration, Duration), Box<Problem>> {
    let output = Tail::default();
    let writer = || Box::new(output.clone());
    let piped = RunStreams::piped(None, writer(), writer(), None);
    let (streams, stdio) = piped.map_err(|error| {
        Box::new(Problem::new(Kind::Host, "run::streams", format!("cannot make pipes: {error}")))
    })?;
    let (mut container, _) = engine.start(job, Streams::Given(stdio)).await?;
    let ended = container.wait().await;
    container.remove().await;
    streams.finish();
    match ended? {
        Ended::ByItself(RunExit {
            status: ExitStatus::Exited(0), elapsed, user_time, system_time, ..
        }) => Ok((elapsed, user_time + system_time)),
        Ended::ByItself(exit) => Err(failed(job, &exit, &output.text())),
        Ended::OutOfSpace(shortage) => {
            let message = format!("the command for {} was stopped: {shortage}", job.platform);
            Err(Box::new(Problem::new(Kind::Host, "store::full", message).help(MAKE_SPACE)))
        }
    }
}

fn failed(job: &RunJob, exit: &RunExit, output: &str) -> Box<Problem> {
    let how = match exit.status {
        ExitStatus::Exited(code) => format!("ended with exit code {code}"),
        ExitStatus::Signaled(signal) => format!("was killed by signal {signal}"),
    };
    let message = format!("the command for {} {how}: only what succeeds is measured", job.platform);
    let problem = Problem::new(Kind::Build, "bench::failed", message);
    Box::new(if output.is_empty() { problem } else { problem.details(output.trim_end()) })
}

/// The end of what was said.
#[derive(Clone, Default)]
struct Tail(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl Tail {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl std::io::Write for Tail {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut kept = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        kept.extend_from_slice(bytes);
        let excess = kept.len().saturating_sub(SHOWN_OUTPUT);
        kept.drain(..excess);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
