//! Judges images: what is in them that their platform cannot run, and what is missing that they need.
//!
//! ```text
//! Image (platform, config, tree, programs by layer) ─ judge ─▶ findings ─ problems, with the lines of a Dockerfile
//! ```
//! Judging is pure: what an image is comes in as an [`Image`], from the indexes of its layers; only `stored` reads, which
//! gets those from the store. What counts
//! as an error, and which strangers are none, is in `docs/verify.md`; `strangers` is the same in code.

mod alike;
mod allowed;
mod cause;
mod finding;
mod image;
mod links;
mod names;
mod own_files;
mod platform;
mod start;
mod stored;
mod strangers;

pub use alike::{Surface, differences};
pub use cause::Maker;
pub use finding::{Code, Finding};
pub use image::Image;
pub use stored::{Known, known_index, look_through};

use crate::model::Verify;

/// Version of what is judged of the same image. Bumped by hand when that changes.
pub const FORMAT: u32 = 4;

/// Everything that is wrong with the layers from [`Image::first`] on, and with how the image starts.
pub fn judge(image: &Image<'_>, rules: &Verify) -> Vec<Finding> {
    let allowed = allowed::Allowed::new(&rules.allow);
    let mut findings: Vec<Finding> = platform::config(image).into_iter().collect();
    if image.platform.os == "linux" {
        findings.extend(platform::files(image, &allowed));
        if image.is_whole {
            let start = if image.starts { start::findings(image, &allowed) } else { Vec::new() };
            let told_of: Vec<String> = start.iter().flat_map(|finding| finding.paths.clone()).collect();
            findings.extend(start);
            findings.extend(links::findings(image, &allowed, &told_of));
        }
    }
    findings
}

#[cfg(test)]
mod tests;
