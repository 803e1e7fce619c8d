//! One job on one worker: session, request, progress, result.

use std::pin::pin;
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1 as proto;
use tokio::time::timeout;
use tonic::Status;

use super::auth::Auth;
use super::client::{Client, is_loss};
use super::content::{Content, ContentTools};
use super::error::WorkerError;
use super::file_sync::FileSync;
use super::request::{Asked, exporter, shared_key};
use super::result::Receiver;
use super::secrets::Secrets;
use super::session::{Failures, Services, Session};
use super::ssh::Ssh;
use super::status::Progress;
use super::step_caches::StepCaches;
use super::{Tools, classic};
use crate::base::{Platform, Secret};
use crate::diag::Problem;
use crate::engine::embedded::mask::Mask;
use crate::engine::{BuildJob, BuildOutcome};
use crate::steps::{Asked as Wish, Op};

/// How long the last words of a build may take once it is over.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Why a job came to nothing on a worker.
pub(super) enum Failed {
    /// The worker is not there any more: another one may do it.
    Lost(WorkerError),
    Problem(Box<Problem>),
}

impl From<Box<Problem>> for Failed {
    fn from(problem: Box<Problem>) -> Self {
        Self::Problem(problem)
    }
}

/// Builds a job. Dropping the future ends it on the worker, too.
pub(super) async fn solve(
    client: &Client,
    tools: &Tools,
    job: &BuildJob,
    emulated: Vec<Platform>,
) -> Result<BuildOutcome, Failed> {
    let failures = Failures::default();
    let mut content = Content::new(ContentTools {
        store: tools.store.clone(),
        registry: tools.registry.clone(),
        caches: tools.caches.clone(),
        events: job.events.clone(),
        failures: failures.clone(),
    });
    let mut asked = Asked::new(job, &mut content)?;
    let caches = StepCaches::new(job, &tools.surroundings);
    asked.repositories.extend(caches.repositories.iter().cloned());
    asked.options.extend(caches.frontend_imports().map(|imports| ("cache-imports".to_string(), imports)));
    let classic = match &client.classic {
        Some(classic) => Some((classic, classic.prepare(job, tools, &mut asked).await?)),
        None => None,
    };
    let (exporter, cache) = match &classic {
        // Such an Engine caches in itself alone.
        Some((_, name)) => (classic::exporter(name), proto::CacheOptions::default()),
        None => (exporter(job), caches.options()),
    };
    let result = Receiver::new(tools.store.clone(), job.events.clone(), failures.clone());
    let services = Services {
        files: FileSync { folders: asked.folders, failures: failures.clone() },
        result: result.clone(),
        auth: Auth { credentials: tools.credentials.clone(), repositories: asked.repositories },
        secrets: Secrets { forwarded: job.forwarded.clone(), failures: failures.clone() },
        ssh: Ssh::new(job.forwarded.clone(), failures.clone()),
        content,
    };
    // A worker may stop to answer at any of these points.
    let key = shared_key(job);
    let opening = Session::open(client, services, &key);
    let session = tokio::select! {
        opened = opening => opened.map_err(Failed::Lost)?,
        lost = client.lost() => return Err(Failed::Lost(lost)),
    };
    let request = proto::SolveRequest {
        r#ref: session.id.clone(),
        session: session.id.clone(),
        frontend: "dockerfile.v0".to_string(),
        frontend_attrs: asked.options,
        exporters: vec![exporter.clone()],
        // For workers from before there could be several.
        exporter_deprecated: exporter.r#type,
        exporter_attrs_deprecated: exporter.attrs,
        entitlements: asked.entitlements,
        source_policy: asked.policy,
        cache: Some(cache),
        ..proto::SolveRequest::default()
    };
    let secrets = secrets(job)?;
    let mask = Mask::new(&secrets);
    let mut progress = Progress::new(job, emulated, &mask).numbering_bases(client.classic.is_some());
    let answer = tokio::select! {
        answer = listen(client, request, &mut progress) => answer,
        lost = client.lost() => return Err(Failed::Lost(lost)),
    };
    if let Err(status) = answer {
        return Err(failed(client, &status, &failures, &mut progress));
    }
    let counts = progress.counts();
    if let Some((classic, name)) = classic {
        return Ok(classic.take(&name, job, tools, counts).await?);
    }
    let (result, job) = (result, job.clone());
    Ok(crate::engine::blocking(move || result.outcome(&job, counts)).await?)
}

fn failed(client: &Client, status: &Status, failures: &Failures, progress: &mut Progress<'_>) -> Failed {
    match failures.take() {
        // What went wrong on this side is the cause, and told better.
        Some(problem) => Failed::Problem(Box::new(problem)),
        None if is_loss(status) => Failed::Lost(client.is_gone(status)),
        None => Failed::Problem(Box::new(progress.problem(&client.endpoint, status.message()))),
    }
}

/// Asks for the work and hears what is told of it until it is done.
async fn listen(
    client: &Client,
    request: proto::SolveRequest,
    progress: &mut Progress<'_>,
) -> Result<(), Status> {
    let about = proto::StatusRequest { r#ref: request.r#ref.clone() };
    let (mut solver, mut teller) = (client.control(), client.control());
    let mut solving = pin!(solver.solve(request));
    let mut hearing = pin!(async {
        // What cannot be told is not the work's failure, which has an answer of its own.
        let Ok(told) = teller.status(about).await else { return };
        let mut told = told.into_inner();
        while let Ok(Some(said)) = told.message().await {
            progress.hear(said);
        }
    });
    let mut is_told = false;
    let answer = loop {
        tokio::select! {
            answer = &mut solving => break answer,
            () = &mut hearing, if !is_told => is_told = true,
        }
    };
    if !is_told {
        drop(timeout(LAST_WORDS, hearing).await);
    }
    answer.map(drop)
}

/// The values that logs must not show.
fn secrets(job: &BuildJob) -> Result<Vec<Secret>, Box<Problem>> {
    let runs = job.steps.steps.iter().filter_map(|step| match &step.op {
        Op::Run(run) => Some(run),
        _ => None,
    });
    let wishes = runs.flat_map(|run| run.mounts.iter().filter_map(|mount| mount.asks_for()));
    let ids = wishes.filter(|(wish, _)| *wish == Wish::Secret).map(|(_, id)| id);
    let found = ids.map(|id| job.forwarded.secret(id)).collect::<Result<Vec<_>, _>>();
    Ok(found.map_err(Box::new)?.into_iter().flatten().collect())
}
