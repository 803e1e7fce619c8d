//! A context is walked once in a run, however many targets and platforms read it. Counted by the kernel: inotify tells of
//! every time that a folder is opened.

use std::mem::MaybeUninit;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use crate::support::Project;

/// How often a folder was opened while `work` ran.
fn openings(project: &Project, folder: &str, work: impl FnOnce()) -> usize {
    let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).expect("inotify is there");
    inotify::add_watch(&watch, project.path(folder), WatchFlags::OPEN | WatchFlags::ONLYDIR)
        .expect("it is a folder");
    work();
    let mut buffer = [MaybeUninit::uninit(); 64 << 10];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    let mut count = 0;
    while let Ok(event) = events.next() {
        assert!(!event.events().contains(ReadFlags::QUEUE_OVERFLOW));
        // Of the folder itself, not of what is in it.
        count += usize::from(
            event.events().contains(ReadFlags::OPEN | ReadFlags::ISDIR) && event.file_name().is_none(),
        );
    }
    count
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
