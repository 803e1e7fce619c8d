//! Control groups: what all steps of one supervisor may use together, in processes and memory.
//!
//! They are made once per supervisor, below mab's own group where that is possible, so that limits mab itself
//! runs under still hold. Every process of a step inherits the membership of the helper, which costs a step
//! nothing. A machine that lets this user make no groups is no error: [`ControlGroups::bound_processes`] tells
//! what is missing. Nothing here knows what runs in the groups.
//!
//! ```text
//! version 2   <own group>/mab-<pid>-<n>             or, when the own group has processes, beside it
//! version 1   <pids hierarchy>/<own group>/mab-<pid>-<n> and <memory hierarchy>/<own group>/mab-<pid>-<n>
//! ```

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::wire;

/// Processes and threads of all steps together. Parallel compilers of many cores need thousands; a 64-bit
/// kernel has four million ids, so a fork bomb that stops here leaves the host all it needs.
const PROCESSES: u64 = 32_768;
/// Memory that steps leave to the rest of the machine, or [`MEMORY_RESERVE_FRACTION`] of it where that is more.
const MEMORY_RESERVE: u64 = 256 << 20;
const MEMORY_RESERVE_FRACTION: u64 = 20;
/// How long the removal of groups waits for killed processes to be gone. What stays is removed by a later run.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(2);
/// Names tried before a folder full of groups of this process id is given up.
const NAMES_TRIED: usize = 16;

/// What the steps of a supervisor may use together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub processes: u64,
    /// Bytes, file caches included, which the kernel drops before it kills.
    pub memory: u64,
}

impl Limits {
    /// `PROCESSES`, or half of the ids that there are, and the machine's memory without a reserve.
    pub fn for_this_machine() -> Self {
        let ids = number_in(Path::new(wire::PID_MAX)).unwrap_or(u64::MAX);
        Self { processes: PROCESSES.min(ids / 2), memory: without_reserve(memory_of_this_machine()) }
    }
}

#[cfg(target_os = "linux")]
fn memory_of_this_machine() -> u64 {
    let machine = rustix::system::sysinfo();
    let unit = u64::from(machine.mem_unit);
    #[expect(clippy::useless_conversion, reason = "the field is narrower on 32-bit machines")]
    u64::from(machine.totalram).saturating_mul(unit)
}

/// Nothing runs in control groups there.
#[cfg(not(target_os = "linux"))]
fn memory_of_this_machine() -> u64 {
    u64::MAX
}

/// At least half of it: on a tiny machine the reserve would leave nothing.
fn without_reserve(total: u64) -> u64 {
    let reserve = MEMORY_RESERVE.max(total / MEMORY_RESERVE_FRACTION);
    total.saturating_sub(reserve).max(total / 2)
}

/// The groups of one supervisor. Dropped after its processes were killed, they are removed.
#[derive(Debug, Default)]
pub(super) struct ControlGroups {
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    folder: PathBuf,
    version: Version,
    controllers: Controllers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Controllers {
    pids: bool,
    memory: bool,
}

/// Where a group can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    parent: PathBuf,
    /// The group this process is in, whose limits are respected.
    own: PathBuf,
    version: Version,
    controllers: Controllers,
}

impl ControlGroups {
    /// Makes what this user may make, after removing what killed runs left there.
    pub fn make(limits: &Limits) -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let hierarchies = Hierarchies::parse(&read("mountinfo"), &read("cgroup"));
        let mut groups = Vec::new();
        for place in hierarchies.places() {
            remove_leftovers(&place.parent);
            // What may not be made here is missing from the list, which is all a caller can use.
            groups.extend(make_group(&place, limits));
        }
        Self { groups }
    }

    /// Moves a process, which has started nothing yet, into the groups.
    pub fn take_in(&mut self, process: u32) {
        self.groups.retain(|group| {
            let is_in = write(&group.folder.join("cgroup.procs"), u64::from(process)).is_ok();
            if !is_in {
                remove(&group.folder);
            }
            is_in
        });
    }

    pub fn bound_processes(&self) -> bool {
        self.groups.iter().any(|group| group.controllers.pids)
    }

    pub fn folders(&self) -> Vec<PathBuf> {
        self.groups.iter().map(|group| group.folder.clone()).collect()
    }

    pub fn memory_kills(&self) -> MemoryKills {
        let group = self.groups.iter().find(|group| group.controllers.memory);
        MemoryKills(group.map(|group| {
            group.folder.join(match group.version {
                Version::One => "memory.oom_control",
                Version::Two => "memory.events",
            })
        }))
    }
}

impl Drop for ControlGroups {
    fn drop(&mut self) {
        for group in &self.groups {
            remove(&group.folder);
        }
    }
}

/// Counts processes that were killed because memory ran out.
#[derive(Clone, Debug)]
pub(super) struct MemoryKills(Option<PathBuf>);

impl MemoryKills {
    /// So far; 0 where nobody counts.
    pub fn count(&self) -> u64 {
        let text = self.0.as_ref().and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        kills_in(&text)
    }
}

fn kills_in(text: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("oom_kill "));
    lines.next().and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

fn make_group(place: &Place, limits: &Limits) -> io::Result<Group> {
    let folder = make_folder(&place.parent)?;
    let set = set_limits(&folder, place, limits);
    if set.is_err() {
        remove(&folder);
    }
    set.map(|()| Group { folder, version: place.version, controllers: place.controllers })
}

fn make_folder(parent: &Path) -> io::Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
    for _ in 0..NAMES_TRIED {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("mab-{}-{number}", std::process::id()));
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) => last = error,
        }
        if last.kind() != io::ErrorKind::AlreadyExists {
            break;
        }
    }
    Err(last)
}

fn set_limits(folder: &Path, place: &Place, limits: &Limits) -> io::Result<()> {
    if place.controllers.pids {
        let own = number_in(&place.own.join("pids.max")).unwrap_or(u64::MAX);
        write(&folder.join("pids.max"), limits.processes.min(own))?;
    }
    if place.controllers.memory {
        let name = match place.version {
            Version::One => "memory.limit_in_bytes",
            Version::Two => "memory.max",
        };
        // A smaller limit of mab's own group is what the machine is to mab.
        let own = number_in(&place.own.join(name)).map_or(u64::MAX, without_reserve);
        write(&folder.join(name), limits.memory.min(own))?;
    }
    Ok(())
}

/// A limit in a file; none for `max` and where there is no such file.
fn number_in(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn write(path: &Path, value: impl ToString) -> io::Result<()> {
    // One write, and never a new file: the kernel made those that mean something.
    fs::OpenOptions::new().write(true).open(path)?.write_all(value.to_string().as_bytes())
}

/// Removes a group when its processes are gone, which takes a moment after they were killed.
fn remove(folder: &Path) {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    while fs::remove_dir(folder).is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
        && start.elapsed() < REMOVAL_PATIENCE
    {
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Removes empty groups of runs that were killed before they could.
fn remove_leftovers(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let process =
            name.to_str().and_then(|name| name.strip_prefix("mab-")?.split('-').next()?.parse().ok());
        if process.is_some_and(|process: u32| !Path::new(&format!("/proc/{process}")).exists()) {
            // One with processes refuses, and is left to the run it belongs to.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// The hierarchies this process is in, as it sees them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Hierarchies {
    unified: Option<Hierarchy>,
    pids: Option<Hierarchy>,
    memory: Option<Hierarchy>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    mount: PathBuf,
    own: PathBuf,
}

impl Hierarchies {
    /// From `/proc/self/mountinfo` and `/proc/self/cgroup`, see proc_pid_mountinfo(5) and cgroups(7).
    fn parse(mountinfo: &str, membership: &str) -> Self {
        let mut found = Self::default();
        for line in mountinfo.lines() {
            let Some((mount, file_system)) = line.split_once(" - ") else { continue };
            let mount: Vec<&str> = mount.split(' ').collect();
            let file_system: Vec<&str> = file_system.split(' ').collect();
            let (&[_, _, _, root, point, ..], &[kind, _, options, ..]) = (&mount[..], &file_system[..])
            else {
                continue;
            };
            let has = |controller: &str| options.split(',').any(|option| option == controller);
            let of = |controller: &str| Hierarchy::new(point, root, group_in(membership, controller)?);
            match kind {
                "cgroup2" => found.unified = of("").or(found.unified),
                "cgroup" if has("pids") || has("memory") => {
                    if has("pids") {
                        found.pids = of("pids").or(found.pids);
                    }
                    if has("memory") {
                        found.memory = of("memory").or(found.memory);
                    }
                }
                _ => {}
            }
        }
        found
    }

    fn places(&self) -> Vec<Place> {
        if let Some(place) = self.unified.as_ref().and_then(Hierarchy::unified_place) {
            return vec![place];
        }
        let mut places: Vec<Place> = Vec::new();
        let pids = Controllers { pids: true, memory: false };
        let memory = Controllers { pids: false, memory: true };
        for (hierarchy, controllers) in [(&self.pids, pids), (&self.memory, memory)] {
            let Some(hierarchy) = hierarchy else { continue };
            // Mounted together they are one hierarchy, in which a process is in one group.
            if let Some(shared) = places.iter_mut().find(|place| place.own == hierarchy.own) {
                shared.controllers.memory = true;
                continue;
            }
            let own = hierarchy.own.clone();
            places.push(Place { parent: own.clone(), own, version: Version::One, controllers });
        }
        places
    }
}

/// The path of this process's group in the hierarchy of a controller; the unified one is that of none.
fn group_in<'a>(membership: &'a str, controller: &str) -> Option<&'a str> {
    membership.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|name| name == controller).then_some(path)
    })
}

impl Hierarchy {
    /// A group outside what is mounted cannot be reached: `..` leads out of a cgroup namespace.
    fn new(point: &str, root: &str, group: &str) -> Option<Self> {
        let below = Path::new(group).strip_prefix(root).ok()?;
        if group.split('/').any(|part| part == "..") {
            return None;
        }
        Some(Self { mount: point.into(), own: Path::new(point).join(below) })
    }

    /// Version 2 wants a group's processes in its leaves ("no internal processes"), and mab is in its own group.
    /// So a child works only for a group that is exempt, such as the root; any other group can only have a
    /// sibling, as systemd's delegated slices allow, and only if that evades no limit of memory or processors.
    fn unified_place(&self) -> Option<Place> {
        let place = |parent: &Path, controllers| Place {
            parent: parent.to_owned(),
            own: self.own.clone(),
            version: Version::Two,
            controllers,
        };
        if let Some(controllers) = enabled_for_children(&self.own).or_else(|| enable_for_children(&self.own))
        {
            return Some(place(&self.own, controllers));
        }
        if self.own == self.mount || !is_unlimited(&self.own) {
            return None;
        }
        let parent = self.own.parent()?;
        enabled_for_children(parent).map(|controllers| place(parent, controllers))
    }
}

fn enabled_for_children(group: &Path) -> Option<Controllers> {
    controllers_in(&group.join("cgroup.subtree_control"))
}

/// Refused with EBUSY when the group has processes and is not exempt; a write that succeeds enabled them.
fn enable_for_children(group: &Path) -> Option<Controllers> {
    let available = controllers_in(&group.join("cgroup.controllers"))?;
    let names = [(available.pids, "+pids"), (available.memory, "+memory")];
    let wanted: Vec<&str> = names.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
    write(&group.join("cgroup.subtree_control"), wanted.join(" ")).ok()?;
    Some(available)
}

/// None when neither is listed.
fn controllers_in(path: &Path) -> Option<Controllers> {
    let text = fs::read_to_string(path).ok()?;
    let has = |controller: &str| text.split_whitespace().any(|name| name == controller);
    let found = Controllers { pids: has("pids"), memory: has("memory") };
    (found.pids || found.memory).then_some(found)
}

fn is_unlimited(group: &Path) -> bool {
    // A controller that is not enabled has no file and sets no limit. `cpu.max` is a quota and a period.
    ["memory.max", "memory.high", "cpu.max"].iter().all(|name| {
        fs::read_to_string(group.join(name))
            .map_or(true, |text| text.split_whitespace().next() == Some("max"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hierarchy(mount: &str, own: &str) -> Option<Hierarchy> {
        Some(Hierarchy { mount: mount.into(), own: own.into() })
    }

    #[test]
    fn hierarchies_are_found_where_they_are_mounted() {
        let one = "26 25 0:22 / /cg/pids rw - cgroup cgroup rw,pids\n\
                   27 25 0:23 / /cg/memory rw shared:5 - cgroup cgroup rw,memory\n\
                   28 25 0:24 / /cg/unified rw - cgroup2 cgroup2 rw\n";
        let two = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let bound = "29 23 0:26 /docker/x /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        let check = |mountinfo: &str, membership: &str, unified, pids, memory| {
            let found = Hierarchies::parse(mountinfo, membership);
            assert_eq!(found, Hierarchies { unified, pids, memory }, "{mountinfo}{membership}");
        };
        check(
            one,
            "8:pids:/\n4:memory:/a/b\n0::/\n",
            hierarchy("/cg/unified", "/cg/unified/"),
            hierarchy("/cg/pids", "/cg/pids/"),
            hierarchy("/cg/memory", "/cg/memory/a/b"),
        );
        check(
            two,
            "0::/user.slice/a.scope\n",
            hierarchy("/sys/fs/cgroup", "/sys/fs/cgroup/user.slice/a.scope"),
            None,
            None,
        );
        check(bound, "0::/docker/x/y\n", hierarchy("/sys/fs/cgroup", "/sys/fs/cgroup/y"), None, None);
        check(bound, "0::/elsewhere\n", None, None, None);
        check(two, "0::/../sibling\n", None, None, None);
        check("garbage\n- - -\n", "garbage", None, None, None);
    }

    #[test]
    fn a_hierarchy_of_both_gets_one_group() {
        let both = hierarchy("/cg/both", "/cg/both");
        let places = Hierarchies { unified: None, pids: both.clone(), memory: both }.places();
        assert_eq!(places.len(), 1);
        assert_eq!(places[0].controllers, Controllers { pids: true, memory: true });
    }

    /// Folders with files like a version 2 hierarchy's. Writing to one keeps what was written.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let top = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = top.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        top
    }

    #[test]
    fn version_two_places_follow_the_rule_of_no_internal_processes() {
        let check = |own: &str, files: &[(&str, &str)], expected: Option<&str>| {
            let top = tree(files);
            let hierarchy = Hierarchy { mount: top.path().into(), own: top.path().join(own) };
            let place = hierarchy.unified_place();
            let parent =
                place.map(|place| place.parent.strip_prefix(top.path()).unwrap().display().to_string());
            assert_eq!(parent.as_deref(), expected, "{files:?}");
        };
        let children = ("cgroup.subtree_control", "cpu memory pids\n");
        check("", &[children], Some(""));
        check("", &[("cgroup.controllers", "cpu memory\n"), ("cgroup.subtree_control", "")], Some(""));
        check("", &[("cgroup.controllers", "cpu\n"), ("cgroup.subtree_control", "")], None);
        // In a real one the write is refused; here the file is missing.
        let own = ("s/own/cgroup.controllers", "memory pids\n");
        let parent = ("s/cgroup.subtree_control", "memory pids\n");
        check("s/own", &[own, parent], Some("s"));
        check(
            "s/own",
            &[own, parent, ("s/own/memory.max", "max\n"), ("s/own/cpu.max", "max 100000\n")],
            Some("s"),
        );
        check("s/own", &[own, parent, ("s/own/memory.max", "1000000\n")], None);
        check("s/own", &[own, parent, ("s/own/cpu.max", "50000 100000\n")], None);
        check("s/own", &[own, ("s/cgroup.subtree_control", "cpu\n")], None);
    }

    #[test]
    fn leftovers_of_gone_processes_are_removed() {
        let living = format!("mab-{}-0", std::process::id());
        // Larger than any process id can be.
        let top = tree(&[
            (&format!("{living}/x"), ""),
            ("mab-4194305-1/x", ""),
            ("mab-x-1/x", ""),
            ("other/x", ""),
        ]);
        fs::remove_file(top.path().join("mab-4194305-1/x")).unwrap();
        fs::remove_file(top.path().join(&living).join("x")).unwrap();
        remove_leftovers(top.path());
        let mut left: Vec<_> = fs::read_dir(top.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, [living.as_str(), "mab-x-1", "other"]);
    }

    #[test]
    fn the_reserve_leaves_steps_at_least_half() {
        for (total, expected) in [(100 << 20, 50 << 20), (1 << 30, 768 << 20), (100 << 30, 95 << 30)] {
            assert_eq!(without_reserve(total), expected);
        }
    }

    #[test]
    fn kills_are_counted_in_both_versions_files() {
        for (text, expected) in [
            ("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", 2),
            ("low 0\nmax 31\noom 3\noom_kill 7\noom_group_kill 0\n", 7),
            ("", 0),
        ] {
            assert_eq!(kills_in(text), expected, "{text}");
        }
    }
}
