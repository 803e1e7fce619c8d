//! `mab verify` on the command line.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::args::SessionArguments;
use super::{exit, failed, print_text, runtime};
use crate::base::Platform;
use crate::command::verify::{self, Verified, VerifiedImage, VerifyOptions};
use crate::diag::to_json;
use crate::facts::Facts;
use crate::model::{Verify, VerifyLevel};
use crate::ui::Progress;

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct VerifyArguments {
    /// An image of a registry, an OCI layout or archive (`./PATH[:TAG]`), a digest of the store, or `engine://NAME`
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Only these platforms; all that the image has, otherwise
    #[arg(long = "platform", value_name = "PLATFORM", value_delimiter = ',')]
    platforms: Vec<Platform>,
    /// Paths that may be strangers, as `verify.allow` has them
    #[arg(long, value_name = "GLOB")]
    allow: Vec<String>,
    /// Also the layers of the base that the image names in its annotations
    #[arg(long)]
    base: bool,
    /// Says everything as a warning
    #[arg(long)]
    warn: bool,
    /// Prints {version, image, platforms: [{platform, layers, base-layers, findings}], problems}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    session: SessionArguments,
}

const EXAMPLES: &str = "\
Exit codes: 0 nothing is wrong but for warnings; 1 an image does not pass; 2 there is no such image, or its documents and
layers do not fit; 4 the registry did not do its part. `docs/verify.md` has all findings.

Examples:
  mab verify registry.example.com/shop/api:1.2
  mab verify debian:stable --platform linux/arm64 --base
  mab verify ./image.tar --allow '/opt/firmware/**'
  mab verify ./out:latest --json | jq -r '.platforms[].findings[].code'
  mab verify sha256:4bf5…                      an image or index of the store, by its digest";

pub fn verify(arguments: &VerifyArguments, facts: &Facts) -> ExitCode {
    let level = if arguments.warn { VerifyLevel::Warn } else { VerifyLevel::Error };
    let options = VerifyOptions {
        image: arguments.image.clone(),
        platforms: arguments.platforms.clone(),
        rules: Verify { level, allow: arguments.allow.clone() },
        with_base: arguments.base,
    };
    let verified = match runtime().block_on(verify::verify(&options, &arguments.session.options(), facts)) {
        Ok(verified) => verified,
        Err(problems) => return failed(&problems, Progress::Auto, Some(facts)),
    };
    let errors = verified.all_problems().filter(|problem| problem.is_error());
    let kinds: Vec<_> = errors.map(|problem| problem.kind).collect();
    let code = match kinds.is_empty() {
        true => ExitCode::SUCCESS,
        false => exit::of_kind(exit::worst(kinds.into_iter())),
    };
    if arguments.json {
        let text = format!("{:#}\n", object(&arguments.image, &verified));
        return print_text(&text, facts, Progress::Auto).unwrap_or(code);
    }
    let problems: Vec<_> = verified.all_problems().cloned().collect();
    if !problems.is_empty() {
        failed(&problems, Progress::Auto, Some(facts));
    }
    print_text(&lines(&verified), facts, Progress::Auto).unwrap_or(code)
}

/// What was judged, one line for each platform.
fn lines(verified: &Verified) -> String {
    let line = |image: &VerifiedImage| {
        let errors = image.problems.iter().filter(|problem| problem.is_error()).count();
        let warnings = image.problems.len() - errors;
        let judged = counted(image.layers - image.passed_over, "layer");
        let base = match image.passed_over {
            0 => String::new(),
            count => format!(" (and {} of its base, not judged)", count),
        };
        let verdict = match (errors, warnings) {
            (0, 0) => "nothing is wrong".to_string(),
            (0, warnings) => counted(warnings, "warning"),
            (errors, 0) => counted(errors, "error"),
            (errors, warnings) => format!("{}, {}", counted(errors, "error"), counted(warnings, "warning")),
        };
        format!("{}: {judged}{base}: {verdict}\n", image.platform)
    };
    verified.images.iter().map(line).collect()
}

fn counted(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

fn object(image: &str, verified: &Verified) -> Value {
    let platform = |image: &VerifiedImage| {
        let findings = image.findings.iter().zip(&image.problems).map(|(finding, problem)| {
            let mut value = to_json(problem);
            value["layer"] = json!(finding.layer.map(|layer| layer + 1));
            value["paths"] = json!(finding.paths);
            value["files"] = json!(finding.count);
            value["found"] = json!(finding.found);
            value
        });
        json!({
            "platform": image.platform.to_string(),
            "layers": image.layers,
            "base-layers": image.passed_over,
            "findings": findings.collect::<Vec<_>>(),
        })
    };
    json!({
        "version": 1,
        "image": image,
        "platforms": verified.images.iter().map(platform).collect::<Vec<_>>(),
        "problems": verified.problems.iter().map(to_json).collect::<Vec<_>>(),
    })
}
