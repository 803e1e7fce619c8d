//! Users and groups as a root file system knows them: `/etc/passwd` and `/etc/group`.
//!
//! Follows what runc and BuildKit do: a name must exist, a number need not; a known user brings a home,
//! a primary group and supplementary groups.

/// Who a command runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub home: String,
}

/// Why a user or group cannot be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    #[error("no user `{0}` in /etc/passwd")]
    UnknownUser(String),
    #[error("no group `{0}` in /etc/group")]
    UnknownGroup(String),
    #[error("`{0}` is not a user or group id: ids go up to 4294967294")]
    BadId(String),
}

/// Who owns what is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ownership {
    pub uid: u32,
    pub gid: u32,
    /// Names that were asked for and that nobody has.
    pub unknown: Vec<AccountError>,
}

/// The two files' texts; empty where a file is missing.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    pub passwd: String,
    pub group: String,
}

struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl Accounts {
    /// What `USER spec` means for a command; an empty `spec` is root.
    pub fn user(&self, spec: &str) -> Result<Account, AccountError> {
        let (user, group) = split(spec);
        let known = match id(user)? {
            Some(uid) => self.users().find(|known| known.uid == uid),
            None if user.is_empty() => self.users().find(|known| known.uid == 0),
            None => Some(self.find_user(user)?),
        };
        let uid = match &known {
            Some(known) => known.uid,
            None => id(user)?.unwrap_or(0),
        };
        let gid = match group {
            Some(group) => self.group_id(group)?,
            None => known.as_ref().map_or(0, |known| known.gid),
        };
        let supplementary = match (&known, group) {
            (Some(known), None) => self.supplementary(known.name, gid),
            _ => Vec::new(),
        };
        // The primary group is among them, as in containerd since CVE-2022-36109.
        let groups = std::iter::once(gid).chain(supplementary).collect();
        let home = match &known {
            Some(known) if !known.home.is_empty() => known.home,
            _ => "/",
        };
        Ok(Account { uid, gid, groups, home: home.to_string() })
    }

    /// What `--chown=spec` means, and the owner of a WORKDIR. As in BuildKit a name alone brings the user's
    /// own group, a number alone the group of the same number, and a name that nobody has is as good as none.
    pub fn owner(&self, spec: &str) -> Result<Ownership, AccountError> {
        let (user, group) = split(spec);
        let mut unknown = Vec::new();
        let (uid, own_gid) = match id(user)? {
            Some(uid) => (uid, uid),
            None if user.is_empty() => (0, 0),
            None => match self.find_user(user) {
                Ok(known) => (known.uid, known.gid),
                Err(error) => {
                    unknown.push(error);
                    (0, 0)
                }
            },
        };
        let gid = match group.map(|group| self.group_id(group)) {
            None => own_gid,
            Some(Ok(gid)) => gid,
            Some(Err(error @ AccountError::BadId(_))) => return Err(error),
            Some(Err(_)) if group == Some("") => own_gid,
            Some(Err(error)) => {
                unknown.push(error);
                own_gid
            }
        };
        Ok(Ownership { uid, gid, unknown })
    }

    fn users(&self) -> impl Iterator<Item = User<'_>> {
        self.passwd.lines().filter_map(|line| {
            let fields: Vec<&str> = line.trim().split(':').collect();
            Some(User {
                name: fields.first()?,
                uid: fields.get(2)?.parse().ok()?,
                gid: fields.get(3)?.parse().ok()?,
                home: fields.get(5).copied().unwrap_or_default(),
            })
        })
    }

    fn groups(&self) -> impl Iterator<Item = (&str, u32, &str)> {
        self.group.lines().filter_map(|line| {
            let fields: Vec<&str> = line.trim().split(':').collect();
            Some((*fields.first()?, fields.get(2)?.parse().ok()?, fields.get(3).copied().unwrap_or_default()))
        })
    }

    fn find_user(&self, name: &str) -> Result<User<'_>, AccountError> {
        self.users().find(|user| user.name == name).ok_or_else(|| AccountError::UnknownUser(name.to_string()))
    }

    fn group_id(&self, group: &str) -> Result<u32, AccountError> {
        if let Some(gid) = id(group)? {
            return Ok(gid);
        }
        let found = self.groups().find(|(name, ..)| *name == group);
        found.map(|(_, gid, _)| gid).ok_or_else(|| AccountError::UnknownGroup(group.to_string()))
    }

    fn supplementary(&self, user: &str, primary: u32) -> Vec<u32> {
        let member = |members: &str| members.split(',').any(|member| member == user);
        let ids = self
            .groups()
            .filter(|(_, gid, members)| *gid != primary && member(members))
            .map(|(_, gid, _)| gid);
        ids.collect()
    }
}

fn split(spec: &str) -> (&str, Option<&str>) {
    match spec.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (spec, None),
    }
}

/// `None` for a name.
fn id(text: &str) -> Result<Option<u32>, AccountError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(id) if id != u32::MAX => Ok(Some(id)),
        _ => Err(AccountError::BadId(text.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/srv/app:/bin/sh\nbroken\n".into(),
            group: "root:x:0:\napp:x:1001:\naudio:x:29:app,other\nwheel:x:10:root\n".into(),
        }
    }

    #[test]
    fn users_bring_group_home_and_supplementary_groups() {
        let check = |spec: &str, uid, gid, groups: &[u32], home: &str| {
            let expected = Account { uid, gid, groups: groups.to_vec(), home: home.into() };
            assert_eq!(accounts().user(spec), Ok(expected), "{spec}");
        };
        check("", 0, 0, &[0, 10], "/root");
        check("app", 1000, 1001, &[1001, 29], "/srv/app");
        check("1000", 1000, 1001, &[1001, 29], "/srv/app");
        check("app:audio", 1000, 29, &[29], "/srv/app");
        check("4242", 4242, 0, &[0], "/");
        check("4242:7", 4242, 7, &[7], "/");
        assert_eq!(Accounts::default().user("").unwrap().home, "/");
    }

    #[test]
    fn unknown_names_and_impossible_ids_are_refused() {
        assert_eq!(accounts().user("nobody"), Err(AccountError::UnknownUser("nobody".into())));
        assert_eq!(accounts().user("4294967295"), Err(AccountError::BadId("4294967295".into())));
    }

    #[test]
    fn chown_gives_a_lone_name_its_group_and_a_lone_number_the_same_number() {
        let check = |spec: &str, uid, gid, unknown: &[AccountError]| {
            let expected = Ownership { uid, gid, unknown: unknown.to_vec() };
            assert_eq!(accounts().owner(spec), Ok(expected), "{spec}");
        };
        let no_user = AccountError::UnknownUser("who".into());
        let no_group = AccountError::UnknownGroup("who".into());
        check("app", 1000, 1001, &[]);
        check("1000", 1000, 1000, &[]);
        check(":audio", 0, 29, &[]);
        check("7", 7, 7, &[]);
        check("7:", 7, 7, &[]);
        check("app:app", 1000, 1001, &[]);
        check("who", 0, 0, std::slice::from_ref(&no_user));
        check("7:who", 7, 7, std::slice::from_ref(&no_group));
        check("who:audio", 0, 29, std::slice::from_ref(&no_user));
        check("who:who", 0, 0, &[no_user, no_group]);
    }
}
