//! A context is walked once in a run, however many targets and platforms read it. Counted by the kernel: inotify tells of
//! every time that a folder is opened.

use std::mem::MaybeUninit;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use crate::support::Project;

/// How often a folder was opened while `work` ran.
fn openings(project: &Project, folder: &str, work: impl FnOnce()) -> usize {
    opened(project, folder, work).iter().filter(|name| name.is_none()).count()
}

/// What was opened while `work` ran: the folder itself, which has no name, and files in it.
fn opened(project: &Project, folder: &str, work: impl FnOnce()) -> Vec<Option<String>> {
    let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).expect("inotify is there");
    inotify::add_watch(&watch, project.path(folder), WatchFlags::OPEN | WatchFlags::ONLYDIR)
        .expect("it is a folder");
    work();
    let mut buffer = [MaybeUninit::uninit(); 64 << 10];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    let mut opened = Vec::new();
    while let Ok(event) = events.next() {
        assert!(!event.events().contains(ReadFlags::QUEUE_OVERFLOW));
        let name = event.file_name().map(|name| name.to_string_lossy().into_owned());
        // The folder is also opened as an entry of the one it is in, which is not watched.
        if name.is_some() || event.events().contains(ReadFlags::ISDIR) {
            opened.push(name);
        }
    }
    opened
}

fn project() -> Project {
    let target = |name: &str, rest: &str| {
        format!(
            "[target.{name}]\ncontext = \"app\"\nplatforms = [\"linux/amd64\", \"linux/arm64\", \"linux/s390x\"]\n\
             dockerfile-inline = \"FROM scratch\\nCOPY src /{name}\\n{rest}\"\n"
        )
    };
    let group = "[group.default]\ntargets = [\"a\", \"b\", \"c\"]\n";
    let file =
        [group, &target("a", ""), &target("b", "COPY . /all\\n"), &target("c", "WORKDIR /w\\n")].concat();
    (0..20).fold(Project::of(&file), |project, number| project.file(&format!("app/src/{number}"), "content"))
}

#[test]
fn however_many_targets_read_it() {
    let project = project();
    let bake = || drop(project.bake(&["--output", "type=cacheonly"]));
    assert_eq!(openings(&project, "app/src", bake), 1, "the first time");
    assert_eq!(openings(&project, "app/src", bake), 1, "with nothing changed");
    project.write("app/src/3", "changed");
    assert_eq!(openings(&project, "app/src", bake), 1, "with one file changed");
    assert_eq!(openings(&project, "app/src", || drop(project.bake(&["a", "--output", "type=cacheonly"]))), 1);
}

#[test]
fn of_a_layer_that_is_there_only_what_changed_is_read() {
    let project = project();
    let bake = || drop(project.bake(&["a", "--output", "type=oci,dest=out.tar"]));
    bake();
    project.write("app/src/3", "changed");
    let read = opened(&project, "app/src", bake);
    let times = |name: &str| read.iter().filter(|read| read.as_deref() == Some(name)).count();
    assert_eq!(times("3"), 2, "for its digest, and for the layer");
    // For its digest, if it was written too short a time before to be told by its times.
    assert!((0..20).filter(|other| *other != 3).all(|other| times(&other.to_string()) <= 1), "{read:?}");
}
