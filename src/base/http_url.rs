//! The URL of a file that is fetched over HTTP. Showing it does not show the credentials in it.

use std::fmt;

use super::percent::{decoded, redacted};

/// `http://` or `https://`, with a host.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpUrl(String);

/// Why a text is no such URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no URL of a file")]
pub struct ParseHttpUrlError(String);

/// What a file is called when its URL names none, in BuildKit too.
const UNNAMED: &str = "__unnamed__";

impl HttpUrl {
    /// Whether `text` means to be one.
    pub fn is_meant_by(text: &str) -> bool {
        text.starts_with("http://") || text.starts_with("https://")
    }

    pub fn parse(text: &str) -> Result<Self, ParseHttpUrlError> {
        let wrong = || ParseHttpUrlError(redacted(text));
        let url = url::Url::parse(text).map_err(|_| wrong())?;
        let has_host = url.host_str().is_some_and(|host| !host.is_empty());
        if Self::is_meant_by(text) && has_host { Ok(Self(text.to_string())) } else { Err(wrong()) }
    }

    /// With its credentials: for the request alone.
    pub fn with_credentials(&self) -> &str {
        &self.0
    }

    /// The last component of the path: what the file is called.
    pub fn file_name(&self) -> String {
        let (_, rest) = self.0.split_once("://").unwrap_or_default();
        let rest = &rest[..rest.find(['?', '#']).unwrap_or(rest.len())];
        let path = rest.find('/').map_or_else(String::new, |start| decoded(&rest[start..]));
        let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().trim();
        match name {
            "" | "." => UNNAMED.to_string(),
            ".." => "download".to_string(),
            name if name.chars().any(char::is_control) => "download".to_string(),
            name => name.to_string(),
        }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.0))
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_names_the_file() {
        for (text, expected) in [
            ("https://host/dir/file.tar.gz?x=/y#z", "file.tar.gz"),
            ("https://host/dir/", "dir"),
            ("https://host", "__unnamed__"),
            ("https://host/?a/b", "__unnamed__"),
            ("https://host/a%20b", "a b"),
            ("https://host/a%2Fb", "b"),
            ("https://host/..", "download"),
            ("https://host/a%0Ab", "download"),
        ] {
            assert_eq!(HttpUrl::parse(text).unwrap().file_name(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in ["https://", "ftp://h/x", "HTTP://h/x", "http://[::1/x"] {
            assert!(HttpUrl::parse(text).is_err(), "{text}");
        }
        let url = HttpUrl::parse("https://u:p@h/x").unwrap();
        assert_eq!(
            (url.to_string(), format!("{url:?}")),
            ("https://xxxxx:xxxxx@h/x".into(), "HttpUrl(https://xxxxx:xxxxx@h/x)".into())
        );
    }
}
