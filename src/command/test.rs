//! `mab test`: what the build file expects of images, tried again where something that decides it has changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;

use super::Failure;
use super::bake::{self, BakeOptions, Baked, Publishing};
use super::project::ProjectOptions;
use super::session::SessionOptions;
use crate::diag::{Kind, Problem};
use crate::event::EventSink;
use crate::facts::Facts;
use crate::plan::Request;
use crate::report::test_results;

#[derive(Clone, Debug)]
pub struct TestOptions {
    pub project: ProjectOptions,
    pub session: SessionOptions,
    pub request: Request,
    /// `--again`
    pub is_fresh: bool,
    /// `--junit`
    pub junit: Option<PathBuf>,
}

/// Builds what must be built, and tests it. Nothing is written or pushed.
pub async fn test(
    options: &TestOptions,
    facts: &mut Facts,
    events: Arc<dyn EventSink>,
    cancel: watch::Receiver<bool>,
) -> Result<Baked, Failure> {
    let bake = BakeOptions {
        project: options.project.clone(),
        session: options.session.clone(),
        request: Request {
            outputs: Some(Vec::new()),
            tests_again: options.is_fresh,
            ..options.request.clone()
        },
        call: None,
        keep_going: true,
        explains: false,
        metadata: None,
        publishing: Publishing::default(),
        keeps_images: false,
        part: None,
    };
    let baked = bake::bake(&bake, facts, events, cancel).await?;
    if let Some(path) = &options.junit {
        write(&facts.directories.current.join(path), &test_results::junit(&baked.tests))?;
    }
    Ok(baked)
}

/// Under a temporary name first.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    let written = builder.permissions(std::fs::Permissions::from_mode(0o666)).tempfile_in(folder).and_then(
        |mut file| {
            file.write_all(text.as_bytes())?;
            file.persist(path).map_err(|error| error.error)
        },
    );
    written.map(drop).map_err(|error| {
        let message = format!("cannot write `{}`: {error}", path.display());
        vec![Problem::new(Kind::Host, "output::junit", message)]
    })
}
