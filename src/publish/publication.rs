//! A publication over all images of a run: all of it, or what the next run makes of its journal.
//!
//! Contents first, by digest. Then the journal, in every repository in which a tag is to move; before it stands
//! everywhere no tag has moved. Then the tags, versions before those that float, and last that it is over. What is cut
//! after the journal is ended by whoever publishes next to one of the repositories (`resume`), to the same digests.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::{join_all, try_join, try_join_all, try_join3};
use tokio::sync::OnceCell;

use super::PushSource;
use super::about::About;
use super::content::{Content, Contents, Document};
use super::early::EarlyBlobs;
use super::floating::{self, Kept, Tags, Wanted};
use super::journal::{End, Journal, Move};
use super::journals::{Journals, Listed};
use super::looks::TagLooks;
use super::push::{
    Filled, ImagePush, PushError, PushEvent, PushReport, PushedName, Work, staged, tag_of, visible,
};
use super::release::{Release, is_version_tag};
use super::resume::{Resume, Resumed};
use super::standing::Standing;
use crate::base::{Digest, Platform, Reference};
use crate::diag::Problem;
use crate::oci::{Descriptor, Index, media_type};
use crate::registry::{Registry, RegistryError};

/// Publishes; the answer has one list per image, in the order given, with one entry per name.
pub async fn publish(
    looks: &TagLooks,
    early: &EarlyBlobs,
    blobs: &dyn PushSource,
    pushes: &[ImagePush<'_>],
    about: &About,
    report: PushReport<'_>,
) -> Result<Vec<Vec<PushedName>>, PushError> {
    let (registry, contents) = (looks.registry(), Contents::new(blobs, pushes.iter().map(|push| push.image)));
    let asked: Vec<_> = pushes
        .iter()
        .map(|push| try_join_all(push.names.iter().map(|name| standing(looks, name, push.image))).shared())
        .collect();
    let filling = async {
        let (images, mut filled) = in_turn(blobs, pushes, &contents);
        for image in images {
            let (push, standing) = (&pushes[image], asked[image].clone().await?);
            let work = Work { looks, early, blobs, contents: &contents, image, report };
            if !about.is_rehearsal {
                work.push_missing(push, &standing, &filled).await?;
            }
            // What an image shares with the one it is built on need not travel twice.
            filled.extend(push.names.iter().map(|name| Filled { name, contents: &contents, image }));
        }
        Ok::<_, PushError>(Instant::now())
    };
    // The first contents are on their way while later tags are still looked at.
    let surveying = async {
        let standing = try_join_all(asked.iter().cloned()).await?;
        let moves = moves(pushes, &standing, about);
        let sides = survey(registry, blobs, &moves).await?;
        check_platforms(&moves, &sides, pushes, &contents, about)?;
        Ok((standing, moves, sides))
    };
    let (filled, (standing, moves, sides)) = try_join(filling, surveying).await?;
    let publication = Publication { looks, blobs, pushes, contents: &contents, about, report };
    publication.finish(standing, moves, sides, filled).await
}

/// In which order images are pushed, and which repositories are taken to be filled before: those that were made a moment
/// ago go first, which their repositories are bound to lack, so that they are on their way while others are still asked
/// about. What was there before the run most likely is where it was pushed to.
fn in_turn<'a>(
    blobs: &dyn PushSource,
    pushes: &'a [ImagePush<'_>],
    contents: &'a Contents<'a>,
) -> (Vec<usize>, Vec<Filled<'a>>) {
    let (new, others): (Vec<usize>, Vec<usize>) =
        (0..pushes.len()).partition(|image| blobs.is_new(pushes[*image].image));
    let names = others.iter().flat_map(|image| pushes[*image].names.iter().map(move |name| (name, *image)));
    let filled = names.map(|(name, image)| Filled { name, contents, image });
    let filled = if new.is_empty() { Vec::new() } else { filled.collect() };
    (new.into_iter().chain(others).collect(), filled)
}

/// Where a name's tag leads.
async fn standing(
    looks: &TagLooks,
    name: &Reference,
    image: &Descriptor,
) -> Result<Option<Descriptor>, RegistryError> {
    let Some(tag) = tag_of(name) else { return Ok(None) };
    looks.expect(tag.clone(), image);
    visible(looks.at(&tag).await)
}

fn is_right(found: Option<&Descriptor>, image: &Descriptor) -> bool {
    found.is_some_and(|found| found.digest == image.digest)
}

/// Who may not look may have pushed it all the same.
fn is_there(found: Result<bool, RegistryError>) -> Result<bool, RegistryError> {
    match found {
        Err(RegistryError::Unauthorized { .. } | RegistryError::Denied { .. }) => Ok(true),
        found => found,
    }
}

/// A tag that is to move.
struct Planned {
    push: usize,
    tag: Move,
    old: Option<Descriptor>,
}

/// What is known of one repository in which tags are to move.
struct Side<'a> {
    journals: Journals<'a>,
    listed: Listed,
    /// What its tags lead to.
    standing: BTreeMap<Digest, Standing>,
}

fn moves(pushes: &[ImagePush<'_>], standing: &[Vec<Option<Descriptor>>], about: &About) -> Vec<Planned> {
    let mut moves = Vec::new();
    for (at, (push, standing)) in pushes.iter().zip(standing).enumerate() {
        let tags = push.names.iter().filter_map(Reference::tag);
        let mut release = push.release.clone().or_of_tags(tags);
        release.revision = release.revision.or_else(|| about.revision.clone());
        for (name, old) in push.names.iter().zip(standing) {
            let Some(tag) = tag_of(name).filter(|_| !is_right(old.as_ref(), push.image)) else { continue };
            let text = tag.tag().unwrap_or_default();
            // Of several versions at once each stands for itself.
            let release = match is_version_tag(text, &release) && release.version.is_none() {
                true => Release { version: Some(text.to_string()), ..release.clone() },
                false => release.clone(),
            };
            let follows_history = push.historical.iter().any(|historical| historical == text);
            let tag = Move {
                name: tag,
                old: old.as_ref().map(|old| old.digest),
                new: push.image.digest,
                release,
                follows_history,
                is_unguarded: push.is_unguarded,
                asks_registry: push.asks_registry,
                is_kept: false,
            };
            moves.push(Planned { push: at, tag, old: old.clone() });
        }
    }
    moves
}

async fn survey<'a>(
    registry: &'a Registry,
    blobs: &dyn PushSource,
    moves: &[Planned],
) -> Result<BTreeMap<String, Side<'a>>, PushError> {
    let repositories: BTreeMap<String, &Reference> =
        moves.iter().map(|planned| (planned.tag.name.name(), &planned.tag.name)).collect();
    let surveyed = repositories.into_iter().map(|(name, repository)| async move {
        let journals = Journals::new(registry, repository);
        let here = moves.iter().filter(|planned| planned.tag.name.name() == name);
        let old: BTreeMap<Digest, &Descriptor> =
            here.filter_map(|planned| planned.old.as_ref()).map(|old| (old.digest, old)).collect();
        let looks = try_join_all(old.values().map(|old| async {
            match Standing::known(blobs, old) {
                None => Standing::read(registry, repository, old).await,
                known => Ok(known),
            }
        }));
        let asks = moves.iter().any(|planned| planned.tag.asks_registry && planned.tag.name.name() == name);
        let versions = async {
            // Who may not list tags learns it before one of them moves.
            if asks { floating::versions(registry, repository).await.map(drop) } else { Ok(()) }
        };
        let (listed, looks, ()) = try_join3(journals.list(), looks, versions).await?;
        let standing = looks.into_iter().flatten().map(|standing| (standing.descriptor.digest, standing));
        let standing = standing.collect();
        Ok::<_, PushError>((name, Side { journals, listed, standing }))
    });
    Ok(try_join_all(surveyed).await?.into_iter().collect())
}

/// No live tag loses a platform by mistake.
fn check_platforms(
    moves: &[Planned],
    sides: &BTreeMap<String, Side<'_>>,
    pushes: &[ImagePush<'_>],
    contents: &Contents<'_>,
    about: &About,
) -> Result<(), PushError> {
    if about.allows_fewer_platforms {
        return Ok(());
    }
    for planned in moves {
        let old = planned.tag.old.and_then(|old| sides.get(&planned.tag.name.name())?.standing.get(&old));
        let own = platforms(pushes[planned.push].image, contents.of(planned.push)?);
        let Some((old, own)) = old.zip(own) else { continue };
        let lost: Vec<Platform> =
            old.platforms.iter().filter(|platform| !own.contains(platform)).cloned().collect();
        if !lost.is_empty() {
            return Err(PushError::FewerPlatforms { name: planned.tag.name.familiar(), lost });
        }
    }
    Ok(())
}

/// `None` where an image does not say it.
fn platforms(image: &Descriptor, content: &Content) -> Option<Vec<Platform>> {
    let root = content.root();
    if media_type::is_index(&root.descriptor.media_type) {
        return Index::parse(&root.bytes).ok().map(|index| index.platforms());
    }
    image.platform().map(|platform| vec![platform])
}

struct Publication<'a> {
    looks: &'a TagLooks,
    blobs: &'a dyn PushSource,
    pushes: &'a [ImagePush<'a>],
    contents: &'a Contents<'a>,
    about: &'a About,
    report: PushReport<'a>,
}

impl Publication<'_> {
    async fn finish(
        &self,
        mut standing: Vec<Vec<Option<Descriptor>>>,
        mut moves: Vec<Planned>,
        mut sides: BTreeMap<String, Side<'_>>,
        filled: Instant,
    ) -> Result<Vec<Vec<PushedName>>, PushError> {
        let mut kept = Vec::new();
        if !self.about.is_rehearsal {
            let resumed = self.resume(&sides).await?;
            if !resumed.is_empty() {
                standing = self.look_again().await?;
                moves = self::moves(self.pushes, &standing, self.about);
                sides = survey(self.looks.registry(), self.blobs, &moves).await?;
                check_platforms(&moves, &sides, self.pushes, self.contents, self.about)?;
                kept = self.leave_to(&resumed, &mut moves);
                sides.retain(|name, _| moves.iter().any(|planned| planned.tag.name.name() == *name));
            }
        }
        if !moves.is_empty() {
            kept.extend(match self.about.is_rehearsal {
                true => self.rehearse(&moves, &sides).await?,
                false => self.move_tags(&moves, &mut sides, filled).await?,
            });
        }
        Ok(self.told(&standing, &kept))
    }

    /// Ends what was cut in the repositories of this publication.
    async fn resume(&self, sides: &BTreeMap<String, Side<'_>>) -> Result<Vec<Resumed>, PushError> {
        let hosts: BTreeSet<&str> =
            sides.values().map(|side| side.journals.repository().registry()).collect();
        let mut resumed: Vec<Resumed> = Vec::new();
        // One after the other: a publication may be open in several of them.
        for side in sides.values().filter(|side| !side.listed.open.is_empty()) {
            let about = About { allows_older: false, ..self.about.clone() };
            let resume = Resume { registry: self.looks.registry(), about: &about, hosts: hosts.clone() };
            let listed = if resumed.is_empty() { side.listed.clone() } else { side.journals.list().await? };
            resumed.extend(resume.all(&side.journals, &listed).await?);
        }
        for Resumed { journal, moved } in resumed.iter().filter(|resumed| !resumed.moved.is_empty()) {
            let tags: Vec<String> = moved.iter().map(|tag| format!("`{}`", tag.name.familiar())).collect();
            let message = format!(
                "a publication of {} was cut, and is ended now: {} moved to what it had pushed",
                journal.began(),
                tags.join(", ")
            );
            self.notice(Problem::warning("publish::resumed", message));
        }
        Ok(resumed)
    }

    async fn look_again(&self) -> Result<Vec<Vec<Option<Descriptor>>>, PushError> {
        let looks = self.pushes.iter().map(|push| {
            try_join_all(push.names.iter().map(|name| async {
                match tag_of(name) {
                    Some(tag) => visible(self.looks.registry().head(&tag).await),
                    None => Ok(None),
                }
            }))
        });
        Ok(try_join_all(looks).await?)
    }

    /// What was cut of the same release had its digests first: they stay.
    fn leave_to(&self, resumed: &[Resumed], moves: &mut Vec<Planned>) -> Vec<Kept> {
        let mut kept = Vec::new();
        moves.retain(|planned| {
            let of_same = |tag: &&Move| {
                tag.name == planned.tag.name
                    && tag.release.is_same(&planned.tag.release)
                    && planned.tag.old == Some(tag.new)
            };
            let Some(tag) = resumed.iter().flat_map(|resumed| &resumed.journal.moves).find(of_same) else {
                return true;
            };
            let message = format!(
                "`{}` stays at {}, which is what version {} was published as first; this run's {} is another build of it",
                tag.name.familiar(),
                tag.new,
                tag.release,
                planned.tag.new
            );
            self.notice(Problem::warning("publish::published-first", message).help(
                "builds with `SOURCE_DATE_EPOCH` or `source-date-epoch` have the same digest on every machine",
            ));
            kept.push(Kept {
                name: tag.name.clone(),
                digest: tag.new,
                release: tag.release.clone(),
                stands: true,
            });
            false
        });
        kept
    }

    /// What would stay where it is.
    async fn rehearse(
        &self,
        moves: &[Planned],
        sides: &BTreeMap<String, Side<'_>>,
    ) -> Result<Vec<Kept>, PushError> {
        let mut kept = Vec::new();
        for planned in moves.iter().filter(|planned| !is_version(&planned.tag)) {
            let side = &sides[&planned.tag.name.name()];
            kept.extend(self.tags(side).newer(&planned.tag, &side.listed).await?);
        }
        self.tell_of_kept(moves, &kept);
        Ok(kept)
    }

    async fn move_tags(
        &self,
        moves: &[Planned],
        sides: &mut BTreeMap<String, Side<'_>>,
        filled: Instant,
    ) -> Result<Vec<Kept>, PushError> {
        if filled.elapsed() > self.about.fresh {
            self.check_contents(moves).await?;
        }
        let mut journal = self.journal(moves);
        self.write(&journal, moves, sides, None).await?;
        let versions = moves.iter().filter(|planned| is_version(&planned.tag)).map(|planned| async {
            let side = &sides[&planned.tag.name.name()];
            self.tags(side).put(&planned.tag.name, &self.document(planned)?).await
        });
        if let Err(error) = try_join_all(versions).await {
            if matches!(error, PushError::Immutable { .. }) {
                self.write(&journal, moves, sides, Some(End::Abandoned)).await?;
            }
            return Err(error);
        }
        let floats = sides.values().map(|side| self.float(side, moves));
        let kept: Vec<Kept> = try_join_all(floats).await?.into_iter().flatten().collect();
        for tag in &mut journal.moves {
            tag.is_kept = kept.iter().any(|kept| kept.name == tag.name);
        }
        self.write(&journal, moves, sides, Some(End::Done)).await?;
        self.drop_staged(moves).await;
        join_all(sides.values().map(|side| side.journals.forget_oldest(&side.listed))).await;
        self.tell_of_kept(moves, &kept);
        Ok(kept)
    }

    /// Tags lead to the images by now.
    async fn drop_staged(&self, moves: &[Planned]) {
        let images: BTreeMap<(String, usize), &Planned> =
            moves.iter().map(|planned| ((planned.tag.name.name(), planned.push), planned)).collect();
        for planned in images.into_values() {
            let Ok(content) = self.contents.of(planned.push) else { continue };
            let documents = content.documents.iter();
            let documents: Vec<_> =
                documents.map(|document| (&document.descriptor, document.bytes.as_slice())).collect();
            let left = self.looks.registry().drop_staged(&planned.tag.name, &documents).await;
            if left > 0 {
                self.notice(staged(&planned.tag.name, left));
            }
        }
    }

    async fn float(&self, side: &Side<'_>, moves: &[Planned]) -> Result<Vec<Kept>, PushError> {
        let name = side.journals.repository().name();
        let here =
            moves.iter().filter(|planned| planned.tag.name.name() == name && !is_version(&planned.tag));
        let wanted = here.map(|planned| Ok(Wanted { tag: &planned.tag, document: self.document(planned)? }));
        let wanted: Vec<Wanted<'_>> = wanted.collect::<Result<_, PushError>>()?;
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        self.tags(side).float(&wanted, &side.listed).await
    }

    fn tags<'s>(&'s self, side: &'s Side<'_>) -> Tags<'s> {
        Tags {
            registry: self.looks.registry(),
            journals: &side.journals,
            about: self.about,
            seen: Some(&side.standing),
            versions: OnceCell::new(),
        }
    }

    fn document(&self, planned: &Planned) -> Result<floating::Document, PushError> {
        let Document { descriptor, bytes, .. } = self.contents.of(planned.push)?.root();
        Ok(floating::Document { media_type: descriptor.media_type.clone(), bytes: bytes.clone() })
    }

    fn journal(&self, moves: &[Planned]) -> Journal {
        Journal {
            action: self.about.action,
            started: self.about.started,
            by: concat!("mab ", env!("CARGO_PKG_VERSION")).to_string(),
            run_url: self.about.run_url.clone(),
            moves: moves.iter().map(|planned| planned.tag.clone()).collect(),
        }
    }

    /// Into every repository; what it names there are its own images, before and after.
    async fn write(
        &self,
        journal: &Journal,
        moves: &[Planned],
        sides: &BTreeMap<String, Side<'_>>,
        end: Option<End>,
    ) -> Result<(), PushError> {
        let written = sides.iter().map(|(name, side)| async move {
            let mut members: Vec<Descriptor> = Vec::new();
            for planned in moves.iter().filter(|planned| planned.tag.name.name() == *name) {
                let image = self.pushes[planned.push].image;
                let new = Descriptor::new(&image.media_type, image.digest, image.size);
                for image in [Some(new), planned.old.clone()].into_iter().flatten() {
                    if !members.iter().any(|known| known.digest == image.digest) {
                        members.push(image);
                    }
                }
            }
            side.journals.write(journal, &members, end).await
        });
        try_join_all(written).await?;
        Ok(())
    }

    /// That everything is there still, after other repositories took their time.
    async fn check_contents(&self, moves: &[Planned]) -> Result<(), PushError> {
        let mut looked = BTreeSet::new();
        for planned in moves {
            let (content, name) = (self.contents.of(planned.push)?, planned.tag.name.without_tag());
            if !looked.insert((planned.push, name.name())) {
                continue;
            }
            let lost = self.lost(content, &name).await?;
            if lost.is_empty() {
                continue;
            }
            let Self { looks, blobs, contents, report, .. } = *self;
            // What was sent before is lost with the rest.
            let early = &EarlyBlobs::default();
            let work = Work { looks, early, blobs, contents, image: planned.push, report };
            let lost = lost.into_iter().map(|(document, _)| document).collect();
            work.push_documents(&name, lost, &BTreeSet::new(), &[]).await?;
            if let Some((_, digest)) = self.lost(content, &name).await?.into_iter().next() {
                return Err(PushError::Vanished { repository: name.familiar(), digest });
            }
        }
        Ok(())
    }

    /// Documents that a repository has lost, as far as one question about each tells, and what is gone: itself, or the
    /// config of a manifest that was found there and not sent, whose blobs nobody has asked for.
    async fn lost<'c>(
        &self,
        content: &'c Content,
        repository: &Reference,
    ) -> Result<Vec<(&'c Document, Digest)>, PushError> {
        let looks = content.documents.iter().map(|document| async move {
            let digest = document.descriptor.digest;
            let found = self.looks.registry().head(&repository.with_digest(digest)).await;
            if !is_there(found.map(|found| found.is_some()))? {
                return Ok(Some((document, digest)));
            }
            match document.config().filter(|_| !self.blobs.is_new(&document.descriptor)) {
                Some(config)
                    if !is_there(self.looks.registry().has_blob(repository, config.digest).await)? =>
                {
                    Ok(Some((document, config.digest)))
                }
                _ => Ok::<_, PushError>(None),
            }
        });
        Ok(try_join_all(looks).await?.into_iter().flatten().collect())
    }

    fn tell_of_kept(&self, moves: &[Planned], kept: &[Kept]) {
        for kept in kept {
            let own = moves.iter().find(|planned| planned.tag.name == kept.name);
            let own = own.map(|planned| planned.tag.release.to_string()).unwrap_or_default();
            let stays = if kept.stands { "stays with" } else { "is left to" };
            let name = kept.name.familiar();
            let message = format!("`{name}` {stays} {}, which is newer than {own}", kept.release);
            let help = "`--allow-older-release` moves it back; `mab rollback` does for a release that is bad";
            self.notice(Problem::warning("publish::older-release", message).help(help));
        }
    }

    fn notice(&self, problem: Problem) {
        (self.report)(PushEvent::Notice(Box::new(problem)));
    }

    fn told(&self, standing: &[Vec<Option<Descriptor>>], kept: &[Kept]) -> Vec<Vec<PushedName>> {
        let of_push = |(push, standing): (&ImagePush<'_>, &Vec<Option<Descriptor>>)| {
            let names = push.names.iter().zip(standing).map(|(name, old)| {
                let kept = tag_of(name).and_then(|tag| kept.iter().find(|kept| kept.name == tag));
                let pushed = PushedName {
                    reference: name.clone(),
                    old: old.as_ref().map(|old| old.digest),
                    digest: kept.map_or(push.image.digest, |kept| kept.digest),
                    unchanged: is_right(old.as_ref(), push.image),
                    is_kept: kept.is_some(),
                };
                (self.report)(PushEvent::Name(pushed.clone()));
                pushed
            });
            names.collect()
        };
        self.pushes.iter().zip(standing).map(of_push).collect()
    }
}

fn is_version(tag: &Move) -> bool {
    is_version_tag(tag.name.tag().unwrap_or_default(), &tag.release)
}
