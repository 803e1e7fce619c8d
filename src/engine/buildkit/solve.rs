//! One job on one worker: session, request, progress, result.

use std::collections::HashMap;
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
use super::request::{Asked, exporter, pusher, shared_key};
use super::result::Receiver;
use super::secrets::Secrets;
use super::sent::sent;
use super::session::{Failures, Services, Session, id};
use super::ssh::Ssh;
use super::status::Progress;
use super::step_caches::StepCaches;
use super::{Tools, classic, left};
use crate::base::{Platform, Secret};
use crate::diag::Problem;
use crate::engine::embedded::mask::Mask;
use crate::engine::{BuildJob, BuildOutcome};
use crate::steps::{Asked as Wish, Op};

/// How long the last words of a build may take once it is over.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How often a push is tried after the first time.
const FURTHER_PUSHES: usize = 2;

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
    let mut asked = Asked::new(job, client.language, &mut content)?;
    asked.folders.extend(sent(job, tools, client.language).await?);
    let caches = StepCaches::new(job, &tools.surroundings);
    asked.repositories.extend(caches.repositories.iter().cloned());
    asked.options.extend(caches.frontend_imports().map(|imports| ("cache-imports".to_string(), imports)));
    let classic = match &client.classic {
        Some(classic) => Some((classic, classic.prepare(job, tools, &mut asked).await?)),
        None => None,
    };
    let repository = job.destination.as_ref();
    asked.repositories.extend(
        repository.map(|repository| (repository.registry().to_string(), repository.repository().to_string())),
    );
    let (exporter, cache) = match (&classic, repository) {
        // Such an Engine caches in itself alone.
        (Some((_, name)), _) => (classic::exporter(name), proto::CacheOptions::default()),
        (None, Some(repository)) => (pusher(job, repository), caches.options()),
        (None, None) => (exporter(job), caches.options()),
    };
    let result = Receiver::new(tools.store.clone(), job.events.clone(), failures.clone());
    let services = Services {
        files: FileSync { folders: asked.folders, events: job.events.clone(), failures: failures.clone() },
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
        answer = ask(client, request, &mut progress) => answer,
        lost = client.lost() => return Err(Failed::Lost(lost)),
    };
    let answer = answer.map_err(|status| failed(client, &status, &failures, job, &mut progress))?;
    let counts = progress.counts();
    if let Some((classic, name)) = classic {
        return Ok(classic.take(&name, job, tools, counts).await?);
    }
    if let Some(repository) = repository {
        return Ok(left::take(repository, &answer, job, tools, counts).await?);
    }
    let (result, job) = (result, job.clone());
    Ok(crate::engine::blocking(move || result.outcome(&job, counts)).await?)
}

fn failed(
    client: &Client,
    status: &Status,
    failures: &Failures,
    job: &BuildJob,
    progress: &mut Progress<'_>,
) -> Failed {
    match (failures.take(), unpushed(status).zip(job.destination.as_ref())) {
        // What went wrong on this side is the cause, and told better.
        (Some(problem), _) => Failed::Problem(Box::new(problem)),
        (None, _) if is_loss(status) => Failed::Lost(client.is_gone(status)),
        (None, Some((cause, repository))) => {
            Failed::Problem(Box::new(left::not_pushed(&client.endpoint, repository, cause)))
        }
        (None, None) => Failed::Problem(Box::new(progress.problem(&client.endpoint, status.message()))),
    }
}

/// What a worker says of a push that failed.
fn unpushed(status: &Status) -> Option<&str> {
    status.message().split_once("failed to push ").map(|(_, cause)| cause)
}

/// Asks for the work, and again for a push where that failed.
async fn ask(
    client: &Client,
    request: proto::SolveRequest,
    progress: &mut Progress<'_>,
) -> Result<HashMap<String, String>, Status> {
    match listen(client, request.clone(), progress).await {
        Err(status) if unpushed(&status).is_some() => push_again(client, request).await,
        answer => answer,
    }
}

/// Pushes what is built. Workers that send the same layer to one repository at one time, as those of several platforms
/// do, are more than some registries can take.
async fn push_again(
    client: &Client,
    mut request: proto::SolveRequest,
) -> Result<HashMap<String, String>, Status> {
    // What was made is in the worker.
    request.frontend_attrs.remove("no-cache");
    let mut left = FURTHER_PUSHES;
    loop {
        request.r#ref = id();
        left -= 1;
        match client.control().solve(request.clone()).await {
            Err(status) if left > 0 && unpushed(&status).is_some() => {}
            answer => return answer.map(|answer| answer.into_inner().exporter_response),
        }
    }
}

/// Asks for the work and hears what is told of it until it is done; what the exporter says of the result.
async fn listen(
    client: &Client,
    request: proto::SolveRequest,
    progress: &mut Progress<'_>,
) -> Result<HashMap<String, String>, Status> {
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
    answer.map(|answer| answer.into_inner().exporter_response)
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
