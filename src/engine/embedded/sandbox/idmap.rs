//! Which user and group ids a user namespace has, and how it is given them.
//!
//! Several ids need `newuidmap` and `newgidmap`, which check `/etc/subuid` and `/etc/subgid`; a single one, or
//! all of them for root, can be written by the parent itself.

use std::fs;
use std::io;
use std::process::Command;

/// `count` ids from `inside` on are the host's from `outside` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdMapping {
    pub inside: u32,
    pub outside: u32,
    pub count: u32,
}

/// What a user namespace's steps can own files as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdMap {
    /// Every id, as root has it.
    Full,
    /// Ids below this number.
    Range(u32),
    /// Only root: no `/etc/subuid` entry, or no `newuidmap`. `chown` to anybody else fails.
    Single,
}

impl IdMap {
    /// Whether a file can be owned, and a process be run, as this id.
    pub fn covers(self, id: u32) -> bool {
        match self {
            Self::Full => true,
            Self::Range(end) => id < end,
            Self::Single => id == 0,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMaps {
    pub users: Vec<IdMapping>,
    pub groups: Vec<IdMapping>,
}

impl IdMaps {
    /// All ids as they are: for root, whose user namespace only gives it a binfmt_misc of its own.
    pub fn identity() -> Self {
        let all = vec![IdMapping { inside: 0, outside: 0, count: u32::MAX }];
        Self { users: all.clone(), groups: all }
    }

    /// What this user may have: all ids as root, else its own as 0 and the subordinate ones from 1 on.
    pub fn for_this_user() -> Self {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        if uid == 0 {
            return Self::identity();
        }
        let granted = Subordinate::of_this_user();
        if !granted.is_usable() {
            return Self { users: own_id_first(uid, &[]), groups: own_id_first(gid, &[]) };
        }
        Self { users: own_id_first(uid, &granted.users), groups: own_id_first(gid, &granted.groups) }
    }

    pub fn reach(&self) -> IdMap {
        let end = |mappings: &[IdMapping]| {
            mappings.iter().map(|m| m.inside.saturating_add(m.count)).max().unwrap_or(0)
        };
        match end(&self.users).min(end(&self.groups)) {
            u32::MAX => IdMap::Full,
            0 | 1 => IdMap::Single,
            end => IdMap::Range(end),
        }
    }

    /// Gives the user namespace of a waiting process its ids.
    pub(super) fn write_for(&self, pid: u32) -> Result<(), String> {
        if self.reach() == IdMap::Single {
            // Without privileges, groups can be mapped only after setgroups is given up.
            write_file(pid, "setgroups", "deny")?;
        }
        let direct = rustix::process::geteuid().is_root() || self.reach() == IdMap::Single;
        for (tool, file, mappings) in
            [("newuidmap", "uid_map", &self.users), ("newgidmap", "gid_map", &self.groups)]
        {
            if direct { write_file(pid, file, &map_text(mappings))? } else { run_tool(tool, pid, mappings)? }
        }
        Ok(())
    }
}

/// The ids beside its own that this user may give out, and the programs that do it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subordinate {
    /// The user's name, or its number where it has none.
    pub name: String,
    /// `(first, count)` of `/etc/subuid`.
    pub users: Vec<(u32, u32)>,
    /// The same of `/etc/subgid`.
    pub groups: Vec<(u32, u32)>,
    /// Those of `newuidmap` and `newgidmap` that are not installed.
    pub missing_programs: Vec<&'static str>,
}

impl Subordinate {
    pub fn of_this_user() -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let name = user_name(&fs::read_to_string("/etc/passwd").unwrap_or_default(), uid);
        let number = uid.to_string();
        let names = [name.clone(), Some(number.clone())];
        let ranges = |path: &str| subordinate_ranges(&fs::read_to_string(path).unwrap_or_default(), &names);
        let missing = |name: &&str| find_program(name).is_none();
        Self {
            name: name.unwrap_or(number),
            users: ranges("/etc/subuid"),
            groups: ranges("/etc/subgid"),
            missing_programs: ["newuidmap", "newgidmap"].into_iter().filter(missing).collect(),
        }
    }

    pub fn is_usable(&self) -> bool {
        self.missing_programs.is_empty() && !self.users.is_empty() && !self.groups.is_empty()
    }
}

fn map_text(mappings: &[IdMapping]) -> String {
    mappings.iter().map(|m| format!("{} {} {}\n", m.inside, m.outside, m.count)).collect()
}

fn write_file(pid: u32, name: &str, text: &str) -> Result<(), String> {
    let path = format!("/proc/{pid}/{name}");
    fs::write(&path, text).map_err(|error| format!("{path}: {error}"))
}

fn run_tool(tool: &str, pid: u32, mappings: &[IdMapping]) -> Result<(), String> {
    let path = find_program(tool).ok_or_else(|| format!("`{tool}` is not on PATH"))?;
    let mut command = Command::new(path);
    command.arg(pid.to_string());
    for m in mappings {
        command.args([m.inside.to_string(), m.outside.to_string(), m.count.to_string()]);
    }
    let output = command.output().map_err(|error: io::Error| format!("{tool}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{tool}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// The first executable file of this name on PATH; `/usr/sbin` is looked at as well.
pub fn find_program(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/bin", "/usr/sbin", "/bin"].map(Into::into));
    folders
        .map(|folder| folder.join(name))
        .find(|path| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file())
}

fn user_name(passwd: &str, uid: u32) -> Option<String> {
    let uid = uid.to_string();
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_string())
    })
}

/// The ranges that `/etc/subuid` gives to one of these names: `name:first:count`.
fn subordinate_ranges(text: &str, names: &[Option<String>]) -> Vec<(u32, u32)> {
    let mut ranges = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.trim().split(':').collect();
        let [owner, first, count] = fields[..] else { continue };
        let ours = names.iter().flatten().any(|name| name == owner);
        let (Ok(first), Ok(count)) = (first.parse::<u32>(), count.parse::<u32>()) else { continue };
        if ours && count > 0 && first.checked_add(count).is_some() {
            ranges.push((first, count));
        }
    }
    ranges
}

fn own_id_first(own: u32, ranges: &[(u32, u32)]) -> Vec<IdMapping> {
    let mut mappings = vec![IdMapping { inside: 0, outside: own, count: 1 }];
    let mut next = 1u32;
    for &(outside, count) in ranges {
        let Some(end) = next.checked_add(count) else { break };
        mappings.push(IdMapping { inside: next, outside, count });
        next = end;
    }
    mappings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ids_follow_the_users_own() {
        let text = "other:1:5\nann:100000:65536\nbroken\nann:x:1\n1000:300000:10\nann:4294967295:9\n";
        let ranges = subordinate_ranges(text, &[Some("ann".into()), Some("1000".into())]);
        assert_eq!(ranges, [(100_000, 65_536), (300_000, 10)]);
        let users = own_id_first(1000, &ranges);
        assert_eq!(map_text(&users), "0 1000 1\n1 100000 65536\n65537 300000 10\n");
        let maps = IdMaps { users: users.clone(), groups: users };
        assert_eq!(maps.reach(), IdMap::Range(65_547));
    }

    #[test]
    fn reach_tells_root_and_single_apart() {
        assert_eq!(IdMaps::identity().reach(), IdMap::Full);
        let single = IdMaps { users: own_id_first(7, &[]), groups: own_id_first(8, &[]) };
        assert_eq!(single.reach(), IdMap::Single);
        assert_eq!(map_text(&single.groups), "0 8 1\n");
    }

    #[test]
    fn names_come_from_passwd() {
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(user_name(passwd, 1000).as_deref(), Some("ann"));
        assert_eq!(user_name(passwd, 1), None);
    }
}
