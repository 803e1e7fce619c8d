//! COPY and ADD: where files come from, where they go, and how.

use super::history::{Makes, record};
use super::instructions::{Lowering, StageLowerer, expanded};
use super::lower::Copied;
use super::op::{Chmod, CopyFrom, CopyOp, InlineFile, MergeOp, Op};
use super::remote::{Group, RemoteFlags, check_checksum, refuse_remote, remote_source, selection_of};
use crate::base::percent::redacted;
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
    /// ADD's; COPY has none.
    remote: Option<RemoteFlags>,
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
            remote: None,
        };
        self.files(instruction, from, &files)
    }

    pub(super) fn add(&mut self, instruction: &Instruction, add: &AddFiles) -> Lowering<()> {
        let checksum = add.checksum.as_ref().map(|checksum| self.expand(checksum)).transpose()?;
        let flags = RemoteFlags { checksum, keep_git_dir: add.keep_git_dir, unpack: add.unpack };
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
            remote: Some(flags),
        };
        self.files(instruction, CopyFrom::MainContext, &files)
    }

    fn files(&mut self, instruction: &Instruction, from: CopyFrom, files: &Files<'_>) -> Lowering<()> {
        let sources =
            files.sources.iter().map(|source| self.expand(source)).collect::<Lowering<Vec<String>>>()?;
        let groups = match &files.remote {
            Some(flags) => self.groups(&sources, flags)?,
            None => {
                refuse_remote(&sources)?;
                vec![Group { from, sources: sources.clone(), unpack: false }]
            }
        };
        let destination = self.expand(files.destination)?;
        let chown = given(files.chown.map(|chown| self.expand(chown)).transpose()?);
        let chmod_text = given(files.chmod.map(|chmod| self.expand(chmod)).transpose()?);
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
        let names = sources.iter().map(|source| redacted(source));
        let names = names.chain(inline.iter().map(|file| format!("<<{}", file.name)));
        for word in names.chain([destination.clone()]) {
            created_by.push_str(&format!(" {word}"));
        }
        let copy = CopyOp {
            input: self.state.files,
            from: CopyFrom::MainContext,
            sources: Vec::new(),
            inline,
            destination: self.absolute(&destination),
            chown,
            chmod,
            // BuildKit's linked copies know no modes: with `--chmod` it copies as without `--link`.
            link: files.link && files.chmod.is_none(),
            parents: files.parents,
            exclude: files.exclude.to_vec(),
            unpack: false,
            is_mounted: false,
        };
        self.copy_groups(instruction, copy, groups);
        record(&mut self.state.config, format!("{created_by} # buildkit"), Makes::Layer);
        Ok(())
    }

    /// ADD's sources in their order, those together that come from one place.
    fn groups(&mut self, words: &[String], flags: &RemoteFlags) -> Lowering<Vec<Group>> {
        check_checksum(words, flags)?;
        let local =
            |sources| Group { from: CopyFrom::MainContext, sources, unpack: flags.unpack.unwrap_or(true) };
        let mut groups: Vec<Group> = Vec::new();
        for word in words {
            if let Some(source) = remote_source(word, flags)? {
                let sources = vec![selection_of(&source)];
                let from = CopyFrom::Remote(self.lowerer.add_source(source));
                groups.push(Group { from, sources, unpack: flags.unpack.unwrap_or(false) });
                continue;
            }
            match groups.last_mut() {
                Some(last) if last.from == CopyFrom::MainContext => last.sources.push(word.clone()),
                _ => groups.push(local(vec![word.clone()])),
            }
        }
        if groups.is_empty() {
            groups.push(local(Vec::new()));
        }
        Ok(groups)
    }

    /// One layer of all groups, however many places they come from; inline files come last.
    fn copy_groups(&mut self, instruction: &Instruction, copy: CopyOp, mut groups: Vec<Group>) {
        let input = self.state.files;
        if !copy.inline.is_empty() && groups.iter().any(|group| group.from != CopyFrom::MainContext) {
            groups.push(Group { from: CopyFrom::MainContext, sources: Vec::new(), unpack: false });
        }
        let (count, inline) = (groups.len(), copy.inline.clone());
        for (place, group) in groups.into_iter().enumerate() {
            let inline = if place + 1 == count { inline.clone() } else { Vec::new() };
            let Group { from, sources, unpack } = group;
            let op = CopyOp { input: self.state.files, from, sources, inline, unpack, ..copy.clone() };
            self.step(instruction, Op::Copy(op));
        }
        if count > 1 {
            self.step(instruction, Op::Merge(MergeOp { input, top: self.state.files }));
        }
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
/// A flag whose value expands to nothing is as good as none.
fn given(value: Option<String>) -> Option<String> {
    value.filter(|value| !value.is_empty())
}
