//! The commands, each with what its help begins with.

use clap::Subcommand;

use super::args::{BakeArguments, PlanArguments, SchemaArguments};
use super::bench::BenchArguments;
use super::build_file::BuildFileArguments;
use super::builder::BuilderArguments;
use super::cache::CacheArguments;
use super::check::CheckArguments;
use super::ci::CiArguments;
use super::copy::{CopyArguments, TagArguments, UntagArguments};
use super::diff::DiffArguments;
use super::digest::DigestArguments;
use super::doctor::DoctorArguments;
use super::explain::ExplainArguments;
use super::import::ImportArguments;
use super::index::IndexArguments;
use super::init::InitArguments;
use super::inspect::InspectArguments;
use super::k8s::K8sArguments;
use super::lock::LockArguments;
use super::login::{LoginArguments, LogoutArguments};
use super::ls::LsArguments;
use super::merge::MergeArguments;
use super::prune::PruneArguments;
use super::release::{PromoteArguments, ReleaseArguments, ReleaseVerb, RollbackArguments};
use super::run::RunArguments;
use super::tags::TagsArguments;
use super::test::TestArguments;
use super::verify::VerifyArguments;

/// What a command takes is read when it is asked for: all of it would cost each run a millisecond.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Verb {
    /// Builds targets and everything they need, then merges, writes and publishes the images
    Bake(BakeArguments),
    /// Runs a command in an image, natively or emulated, and throws its changes away
    ///
    /// The image is a target of the build file (`api`, `target:api`), which is built if it must be; a reference; a
    /// layout or an archive (`./images`, `./api.tar:1.0`, `oci-layout://PATH`, `oci-archive://PATH`,
    /// `docker-archive://PATH`); one of the Docker Engine (`engine://api:dev`); or a digest in the store. What a target
    /// hides is `docker-image://NAME`. Entrypoint, command, environment, user, directory and stop signal are the
    /// image's, as with `docker run`. No daemon and no root are needed.
    Run(RunArguments),
    /// Tries what the build file expects of images: `[target.X.test.NAME]`, for each platform
    ///
    /// What must be built is built; nothing is written or pushed. A test that passed is not run again as long as the image,
    /// the test and what it mounts are the same. `mab bake` runs the same tests before it merges: while one fails, no tag
    /// moves.
    Test(TestArguments),
    /// Measures a command in each platform's image
    ///
    /// Every round is a container of its own, one after the other; the time is from the command's start to its end. Emulated
    /// platforms are marked: their times say what emulation costs, not how fast such a machine is. `--kubernetes` writes what
    /// measures on real ones.
    Bench(BenchArguments),
    /// Shows the graph of nodes that a bake would run
    Plan(PlanArguments),
    /// Looks for mistakes in the build file and in Dockerfiles, without building them
    ///
    /// Checks the build file first: all its problems in one run. Then runs BuildKit's rules and rules for images of several
    /// platforms. TARGET may be the path of a Dockerfile too; without a build file, the Dockerfile here is checked for
    /// linux/amd64 and linux/arm64.
    Check(CheckArguments),
    /// Says what a value is, and which layer of which file gives it
    ///
    /// The layers of a value are shown weakest first: built-in default, `[project]`, inherited templates, target, its `on`
    /// table, group, `--set`; those that a stronger one overrides are marked. Where platforms differ, each is shown.
    /// Secrets are named and never shown.
    Explain(ExplainArguments),
    /// Writes bake and Compose files as a multiarch.toml that resolves to the same plan
    ///
    /// Variables stay variables, with their environment variables, types, validation and descriptions; inheritance,
    /// groups and matrices stay what they are; interpolations become templates. The result is read back and compared
    /// with the original before it is written.
    Import(ImportArguments),
    /// Writes a first multiarch.toml for what is in a folder
    ///
    /// Every Dockerfile becomes a target, named by its folder or file; images of other targets become contexts; the
    /// remote of git says where images belong. Bake and Compose files are taken over, as by `mab import`.
    Init(InitArguments),
    /// Prints the JSON schema of multiarch.toml or config.toml, which the `#:schema` line of a file names for editors
    Schema(SchemaArguments),
    /// Removes from the store what was not used for a while; short for `mab cache prune`
    Prune(PruneArguments),
    /// Looks after the local store, and what steps keep in it with `RUN --mount=type=cache`
    Cache(CacheArguments),
    /// Shows and keeps builders: who builds in place of this machine
    ///
    /// Builders are those of the user's configuration, of this command, of the build file and of `docker buildx`, and the
    /// two that are always there: `default`, this machine, and `docker`, the Docker Engine that `docker` speaks to.
    Builder(BuilderArguments),
    /// Tries everything that builds need, and says what to do about what is missing
    ///
    /// Nothing is guessed: user namespaces and overlays are made, a tiny program of each platform is run in the sandbox,
    /// registries are asked with the credentials found, and builders what they are. Of what is not as it should be the report
    /// tells the symptom that builds have, the test that showed it, and the remedy. What only other platforms lack is a note,
    /// unless the build file of this folder or --platform asks for them.
    Doctor(DoctorArguments),
    /// Compares images with the nodes of a Kubernetes cluster, and pins images in manifests
    K8s(K8sArguments),
    /// Pins images, repositories and files from elsewhere in multiarch.lock
    ///
    /// Without --update, what is pinned stays; what the build file does not ask for any more goes, unless TARGET or --platform
    /// narrow what is looked at. Without TARGET, all targets are meant, not only those of `default`.
    Lock(LockArguments),
    /// Says which version, tags, labels and annotations targets get, and builds nothing
    ///
    /// They are those of a bake in the same place: made by `tag-rules`, which are docker/metadata-action's, and by `tags`,
    /// `labels` and `annotations`. What the run is about comes from CI, from git, and from --fact.
    Tags(TagsArguments),
    /// Judges images that are there already, as a bake judges its own
    ///
    /// Looks at every program of an image: whether it is for the image's platform, whether the loader and the libraries that it
    /// needs are there, whether the entrypoint starts, and whether all platforms do the same. Layers are read once, as streams;
    /// nothing is unpacked or run.
    Verify(VerifyArguments),
    /// Joins parts that `mab bake --part` made on other machines, and publishes them as one release
    ///
    /// All platforms of all targets have to be there, nothing twice, and all from the same commit, plan, lock, variables and
    /// version of mab as here. Then outputs are written and tags move as those of a bake do: journal first, versions before
    /// floating tags, nothing at all if anything is missing.
    Merge(MergeArguments),
    /// Writes the pipeline of a CI system from the plan: machines for platforms, logins, what builds need there
    ///
    /// The first line has a checksum: a file that was changed by hand is never replaced without `--force`. Machines need no
    /// emulation where there are some of the platform's kind.
    Ci(CiArguments),
    /// Gives further tags to an image that a registry has, with all its platforms and the same digest
    ///
    /// Nothing is built. Content goes to another repository of the same registry without being sent; the tags move as those
    /// of a bake do: with a journal, never back to an older version, never to fewer platforms.
    Promote(PromoteArguments),
    /// Moves floating tags back to where the last publication found them
    ///
    /// Versions stay. A second rollback undoes the first, since that is a publication as well.
    Rollback(RollbackArguments),
    /// What was published
    Release(ReleaseArguments),
    /// Shows an image: its platforms, or config, layers and history of one of them
    ///
    /// Layers are not fetched. What is shown of an index with several platforms is what all of them are; `--platform` shows
    /// one. Sizes are those of what is transferred, that is compressed.
    Inspect(InspectArguments),
    /// Prints the digest that an image's name leads to
    Digest(DigestArguments),
    /// Lists the tags of a repository, a layout or an archive
    Ls(LsArguments),
    /// Says in what two images differ: platforms, config, layers, files, sizes
    ///
    /// Exits with 1 if they differ, and with 0 if they have the same digest. Files are compared as the layers leave them, by
    /// content, mode, owner, links and extended attributes; times are not.
    Diff(DiffArguments),
    /// Logs in to a registry, for `mab` and for every tool that reads Docker's config
    ///
    /// The registry is asked first; what it does not know is not kept. Credentials go to the helper that the config file
    /// names (`credHelpers`, `credsStore`), or into the file itself, readable for its owner alone.
    Login(LoginArguments),
    /// Forgets the credentials for registries
    Logout(LogoutArguments),
    /// Copies an image with all its platforms, attestations and whatever refers to it
    ///
    /// Signatures, SBOMs and the like go along, other tags and mab's own journals do not. Every document keeps its
    /// bytes and its digest. Nothing is sent that is there, and within one registry nothing at all. The name is given
    /// when all the rest is there; a copy that was cut goes on where it was when it is run again.
    Copy(CopyArguments),
    /// Gives further tags to an image where it is
    ///
    /// Moves tags whatever they lead to. `mab promote` does it with a journal, and never to an older version or fewer
    /// platforms.
    Tag(TagArguments),
    /// Takes tags away; what they lead to stays
    Untag(UntagArguments),
    /// Puts indexes together from images wherever they lie, and changes them
    Index(IndexArguments),
}

impl Verb {
    /// What is said about the build file, by verbs that read one.
    pub fn file(&self) -> Option<&BuildFileArguments> {
        match self {
            Self::Bake(arguments) => Some(&arguments.project.file),
            Self::Run(arguments) => Some(&arguments.container.file),
            Self::Bench(arguments) => Some(&arguments.container.file),
            Self::Test(arguments) => Some(&arguments.project.file),
            Self::Plan(arguments) => Some(&arguments.project.file),
            Self::Check(arguments) => Some(&arguments.project.file),
            Self::Lock(arguments) => Some(&arguments.project.file),
            Self::Tags(arguments) => Some(&arguments.project.file),
            Self::Explain(arguments) => Some(&arguments.file),
            Self::Merge(arguments) => Some(&arguments.file),
            Self::Ci(arguments) => Some(&arguments.project.file),
            Self::Rollback(arguments) => Some(&arguments.project.file),
            Self::Release(ReleaseArguments { verb: ReleaseVerb::Log(arguments) }) => {
                Some(&arguments.project.file)
            }
            Self::Import(_)
            | Self::Verify(_)
            | Self::Promote(_)
            | Self::Init(_)
            | Self::Schema(_)
            | Self::Prune(_)
            | Self::Cache(_)
            | Self::Builder(_)
            | Self::Inspect(_)
            | Self::Digest(_)
            | Self::Login(_)
            | Self::Logout(_)
            | Self::Diff(_)
            | Self::Ls(_)
            | Self::Copy(_)
            | Self::Tag(_)
            | Self::Untag(_)
            | Self::Index(_)
            | Self::Doctor(_)
            | Self::K8s(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory as _};

    use crate::cli::args::Arguments;

    /// A group of options with a description of its own would take its place.
    #[test]
    fn the_help_of_a_command_begins_with_what_the_overview_says() {
        let abouts = |command: &Command| {
            let about = |verb: &Command| (verb.get_about().cloned(), verb.get_long_about().cloned());
            let verbs = command.get_subcommands().filter(|verb| verb.get_name() != "help");
            verbs.map(|verb| (verb.get_name().to_string(), about(verb))).collect::<Vec<_>>()
        };
        let mut command = Arguments::command();
        let overview = abouts(&command);
        assert!(overview.iter().all(|(_, (about, _))| about.is_some()));
        command.build();
        assert_eq!(abouts(&command), overview);
    }
}
