//! Where images of a repository belong, by what forges offer.

/// What a remote of git tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The repository for images, without a tag.
    pub image: String,
    /// The page of the project.
    pub page: String,
    /// The last part of its name.
    pub name: String,
}

/// Of `git@HOST:OWNER/NAME.git` and of URLs; nothing for a host that is not known to keep images.
pub fn home(remote: &str) -> Option<Home> {
    let (host, path) = split(remote.trim())?;
    let path = path.trim_matches('/').trim_end_matches(".git");
    let name = path.rsplit('/').next().filter(|name| !name.is_empty())?.to_string();
    let registry = match host {
        "github.com" => "ghcr.io",
        "gitlab.com" => "registry.gitlab.com",
        "codeberg.org" => "codeberg.org",
        _ => return None,
    };
    let image = format!("{registry}/{}", path.to_lowercase());
    path.contains('/').then(|| Home { image, page: format!("https://{host}/{path}"), name })
}

fn split(remote: &str) -> Option<(&str, &str)> {
    if let Some((_, rest)) = remote.split_once("://") {
        let (host, path) = rest.split_once('/')?;
        let host = host.rsplit('@').next()?;
        return Some((host.split(':').next()?, path));
    }
    let (host, path) = remote.split_once(':')?;
    Some((host.rsplit('@').next()?, path))
}

#[cfg(test)]
mod tests {
    use super::home;

    #[test]
    fn forges_keep_images() {
        for (remote, expected) in [
            ("git@github.com:Acme/Shop.git", Some("ghcr.io/acme/shop")),
            ("https://github.com/acme/shop", Some("ghcr.io/acme/shop")),
            ("ssh://git@github.com:22/acme/shop.git", Some("ghcr.io/acme/shop")),
            ("https://user:word@gitlab.com/group/sub/shop.git", Some("registry.gitlab.com/group/sub/shop")),
            ("git@codeberg.org:acme/shop.git", Some("codeberg.org/acme/shop")),
            ("git@git.example.com:acme/shop.git", None),
            ("https://github.com/", None),
            ("/srv/git/shop.git", None),
        ] {
            assert_eq!(home(remote).map(|home| home.image).as_deref(), expected, "{remote}");
        }
    }
}
