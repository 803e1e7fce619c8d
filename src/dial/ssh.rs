//! `ssh://[USER@]HOST[:PORT][/PATH]`: what is run there, and how the program `ssh` is told.

/// A machine that the user's own `ssh` reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    user: Option<String>,
    host: String,
    port: Option<u16>,
    /// Of a socket there.
    pub path: Option<String>,
}

impl Destination {
    /// From what follows `ssh://`. None of its parts can be taken for an option, or be read by a shell.
    pub fn parse(text: &str) -> Option<Self> {
        let (authority, path) = match text.find('/') {
            Some(place) => (&text[..place], Some(&text[place..]).filter(|path| *path != "/")),
            None => (text, None),
        };
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, authority),
        };
        let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, Some(rest.strip_prefix(':')?)),
            None => match address.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            },
        };
        let port = port.map(str::parse).transpose().ok()?;
        let is_good = is_plain(host) && user.is_none_or(is_plain) && path.is_none_or(is_plain_path);
        let owned = |text: &str| text.to_string();
        is_good.then(|| Self { user: user.map(owned), host: owned(host), port, path: path.map(owned) })
    }

    /// The command that runs another there. Nobody is asked for a password, since there is nobody to answer.
    pub fn command(&self, remote: &[&str]) -> Vec<String> {
        let options = ["ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"];
        let mut words: Vec<String> = options.map(String::from).into();
        if let Some(port) = self.port {
            words.extend(["-p".to_string(), port.to_string()]);
        }
        if let Some(user) = &self.user {
            words.extend(["-l".to_string(), user.clone()]);
        }
        words.extend(["--".to_string(), self.host.clone()]);
        words.extend(remote.iter().map(ToString::to_string));
        words
    }
}

/// A name that is no option and means nothing to a shell.
pub fn is_plain(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:%".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_' || first == ':')
        && text.bytes().all(is_plain)
}

fn is_plain_path(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        let check = |text: &str, expected: Option<&str>| {
            let command = Destination::parse(text).map(|destination| {
                let socket = destination.path.clone().unwrap_or_default();
                let words = destination.command(&["run"])[6..].join(" ");
                format!("{words} {socket}").trim_end().to_string()
            });
            assert_eq!(command.as_deref(), expected, "{text}");
        };
        check("host", Some("-- host run"));
        check("me@host", Some("-l me -- host run"));
        check("me@host:2222", Some("-p 2222 -l me -- host run"));
        check("me@host:22/run/buildkitd.sock", Some("-p 22 -l me -- host run /run/buildkitd.sock"));
        check("[fe80::1%eth0]:22", Some("-p 22 -- fe80::1%eth0 run"));
        for text in ["", "-oProxyCommand=x", "me@-x", "-l@host", "host:port", "host/a b", "a;b", "$(a)@b"] {
            check(text, None);
        }
    }
}
