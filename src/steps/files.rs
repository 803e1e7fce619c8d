//! COPY and ADD: where files come from, where they go, and how.

use super::history::{Makes, record};
use super::instructions::{Lowering, StageLowerer, expanded, not_yet};
use super::lower::Copied;
use super::op::{Chmod, CopyFrom, CopyOp, InlineFile, Op};
use crate::diag::Problem;
use crate::dockerfile::{AddFiles, CopyFiles, Heredoc, Instruction, expand_heredoc};

/// Files to be copied, whichever instruction asks.
struct Files<'i> {
    keyword: &'static str,
    sources: &'i [String],
    heredocs: &'i [Heredoc],
    destination: &'i str,
    chown: Option<&'i String>,
    chmod: Option<&'i String>,
    link: bool,
    parents: bool,
    exclude: &'i [String],
    unpack: bool,
}

impl StageLowerer<'_, '_> {
    pub(super) fn copy(&mut self, instruction: &Instruction, copy: &CopyFiles) -> Lowering<()> {
        let from = match &copy.from {
            None => CopyFrom::MainContext,
            Some(from) => {
                let platform = self.state.platform.clone();
                match self.lowerer.copy_from(from, &platform, &instruction.place) {
                    Some(Copied::Step(step)) => CopyFrom::Step(step),
                    Some(Copied::Context(name)) => CopyFrom::Context(name),
                    // Said already, or asked for.
                    None => return Ok(()),
                }
            }
        };
        let files = Files {
            keyword: "COPY",
            sources: &copy.sources,
            heredocs: &copy.heredocs,
            destination: &copy.destination,
            chown: copy.chown.as_ref(),
            chmod: copy.chmod.as_ref(),
            link: copy.link,
            parents: copy.parents,
            exclude: &copy.exclude,
            unpack: false,
        };
        self.files(instruction, from, &files)
    }

    pub(super) fn add(&mut self, instruction: &Instruction, add: &AddFiles) -> Lowering<()> {
        for source in &add.sources {
            if is_remote(&self.expand(source)?) {
                return Err(not_yet("`ADD` of a remote source"));
            }
        }
        if add.checksum.is_some() || add.keep_git_dir == Some(true) {
            let message = "`--checksum` and `--keep-git-dir` are for remote sources".to_string();
            return Err(Box::new(Problem::input("dockerfile::flag", message)));
        }
        let files = Files {
            keyword: "ADD",
            sources: &add.sources,
            heredocs: &add.heredocs,
            destination: &add.destination,
            chown: add.chown.as_ref(),
            chmod: add.chmod.as_ref(),
            link: add.link,
            parents: false,
            exclude: &add.exclude,
            unpack: add.unpack.unwrap_or(true),
        };
        self.files(instruction, CopyFrom::MainContext, &files)
    }

    fn files(&mut self, instruction: &Instruction, from: CopyFrom, files: &Files<'_>) -> Lowering<()> {
        let sources =
            files.sources.iter().map(|source| self.expand(source)).collect::<Lowering<Vec<String>>>()?;
        let destination = self.expand(files.destination)?;
        let chown = files.chown.map(|chown| self.expand(chown)).transpose()?;
        let chmod_text = files.chmod.map(|chmod| self.expand(chmod)).transpose()?;
        let chmod = chmod_text.as_deref().map(Chmod::parse).transpose();
        let chmod =
            chmod.map_err(|error| Box::new(Problem::input("dockerfile::chmod", error.to_string())))?;
        let inline = files
            .heredocs
            .iter()
            .map(|heredoc| self.inline(heredoc))
            .collect::<Lowering<Vec<InlineFile>>>()?;
        let mut created_by = files.keyword.to_string();
        if files.parents {
            created_by.push_str(" --parents");
        }
        for (flag, value) in [("chown", &chown), ("chmod", &chmod_text)] {
            if let Some(value) = value {
                created_by.push_str(&format!(" --{flag}={value}"));
            }
        }
        let names = sources.iter().cloned().chain(inline.iter().map(|file| format!("<<{}", file.name)));
        for word in names.chain([destination.clone()]) {
            created_by.push_str(&format!(" {word}"));
        }
        let op = CopyOp {
            input: self.state.files,
            from,
            sources,
            inline,
            destination: self.absolute(&destination),
            chown,
            chmod,
            // BuildKit's linked copies know no modes: with `--chmod` it copies as without `--link`.
            link: files.link && files.chmod.is_none(),
            parents: files.parents,
            exclude: files.exclude.to_vec(),
            unpack: files.unpack,
            is_mounted: false,
        };
        self.step(instruction, Op::Copy(op));
        record(&mut self.state.config, format!("{created_by} # buildkit"), Makes::Layer);
        Ok(())
    }

    fn inline(&self, heredoc: &Heredoc) -> Lowering<InlineFile> {
        let body = heredoc.body();
        let content = if heredoc.expand {
            expanded(expand_heredoc(&body, &|name| self.state.scope.get(name)))?
        } else {
            body
        };
        Ok(InlineFile { name: heredoc.name.clone(), content })
    }
}

fn is_remote(source: &str) -> bool {
    let lower = source.to_ascii_lowercase();
    ["http://", "https://", "git://", "ssh://", "git@"].iter().any(|prefix| lower.starts_with(prefix))
}
