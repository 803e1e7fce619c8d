//! `mab bake --watch`: one bake after the other, and between them what is waited for.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::signals::cancel_on_signals;
use super::{LAST_WORK, bake_once, end_of, failed, runtime};
use crate::command::bake::BakeOptions;
use crate::command::watch::{Watch, shown};
use crate::facts::Facts;
use crate::ui::{Progress, count};

/// As many paths of a change are told.
const MOST_TOLD: usize = 3;

pub fn bake(options: &BakeOptions, facts: &Facts, progress: Progress) -> ExitCode {
    let runtime = runtime();
    let code = runtime.block_on(async {
        let cancel = cancel_on_signals();
        let mut watch = match Watch::begin(options, facts).await {
            Ok(watch) => watch,
            Err(problems) => return failed(&problems, progress, Some(facts)),
        };
        loop {
            let mut facts = watch.facts();
            let baked = bake_once(options, &mut facts, progress, cancel.clone()).await;
            if let Ok(baked) = &baked {
                watch.learn(&baked.lowered).await;
            }
            let code = end_of(baked, &facts, progress);
            if *cancel.borrow() {
                return code;
            }
            if let Some(limitation) = watch.limitation() {
                failed(&[limitation], progress, Some(&facts));
            }
            tell_waiting(watch.size(), progress);
            match watch.changed(&cancel).await {
                Some(changed) => tell_changed(&changed, &facts, progress),
                None => return code,
            }
        }
    });
    runtime.shutdown_timeout(LAST_WORK);
    code
}

fn tell_waiting((files, folders): (usize, usize), progress: Progress) {
    let said =
        format!("watches {} in {} for changes; Ctrl-C ends", count(files, "file"), count(folders, "folder"));
    tell(&said, &json!({ "event": "watching", "files": files, "folders": folders }), progress);
}

fn tell_changed(changed: &[PathBuf], facts: &Facts, progress: Progress) {
    let names: Vec<String> = changed.iter().map(|path| shown(path, facts)).collect();
    let mut said =
        names.iter().take(MOST_TOLD).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if let Some(more) = names.len().checked_sub(MOST_TOLD).filter(|more| *more > 0) {
        said += &format!(" and {more} more");
    }
    tell(&format!("changed: {said}"), &json!({ "event": "changed", "paths": names }), progress);
}

fn tell(text: &str, event: &serde_json::Value, progress: Progress) {
    let line = match progress {
        Progress::Quiet => return,
        Progress::Json => {
            let mut object = json!({ "version": 1 });
            if let (Some(object), Some(event)) = (object.as_object_mut(), event.as_object()) {
                object.extend(event.clone());
            }
            format!("{object}\n")
        }
        Progress::Auto | Progress::Tty | Progress::Plain => format!("{text}\n"),
    };
    // Nothing is left to do when standard error is closed.
    let _ = std::io::stderr().write_all(line.as_bytes());
}
