//! Which object store a cache's parameters name, and with which credentials.
//!
//! Bake's parameters come first, then the variables that the store's own tools read, then what those tools find
//! besides: profiles, workload identities, the metadata service of the machine. Nothing of it is ever shown.

use std::collections::BTreeMap;
use std::net::IpAddr;

use opendal::Operator;
use opendal::services::{Azblob, Gcs, S3};
use url::Url;

use crate::diag::{Kind, Problem};
use crate::model::{CacheEntry, CacheKind};

/// What is given for one cache.
pub struct Given<'a> {
    pub entry: &'a CacheEntry,
    pub environment: &'a BTreeMap<String, String>,
}

/// The store, not yet told how to reach anybody.
pub fn operator(given: &Given<'_>) -> Result<Operator, Box<Problem>> {
    match given.entry.kind {
        CacheKind::S3 => given.s3(),
        CacheKind::Azblob => given.azblob(),
        CacheKind::Gcs => given.gcs(),
        other => {
            let message = format!("a cache of type `{}` is no object store", other.name());
            Err(Box::new(Problem::new(Kind::Bug, "cache::kind", message)))
        }
    }
}

/// The region of stores that have none.
const ANY_REGION: &str = "us-east-1";
const AZURE_CONTAINER: &str = "mab-cache";

impl<'a> Given<'a> {
    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.entry.parameters.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn variable(&self, names: &[&str]) -> Option<&'a str> {
        let mut values = names.iter().filter_map(|name| self.environment.get(*name));
        values.find(|value| !value.is_empty()).map(String::as_str)
    }

    fn prefix(&self) -> &'a str {
        self.parameter("prefix").unwrap_or_default()
    }

    fn s3(&self) -> Result<Operator, Box<Problem>> {
        let bucket = self.parameter("bucket").unwrap_or_default();
        let endpoint = self
            .parameter("endpoint_url")
            .or_else(|| self.variable(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]));
        let region = self
            .parameter("region")
            .or_else(|| self.variable(&["AWS_REGION", "AWS_DEFAULT_REGION"]))
            .or_else(|| endpoint.map(|_| ANY_REGION));
        let Some(region) = region else {
            return Err(Box::new(
                Problem::input("cache::region", format!("the region of the bucket `{bucket}` is not known"))
                    .help("give the cache a `region`, or set AWS_REGION"),
            ));
        };
        let mut builder = S3::default().bucket(bucket).root(self.prefix()).region(region);
        if let Some(endpoint) = endpoint {
            builder = builder.endpoint(endpoint);
        }
        if !self.has_buckets_in_paths(bucket, endpoint) {
            builder = builder.enable_virtual_host_style();
        }
        let own = self.parameter("access_key_id").zip(self.parameter("secret_access_key"));
        let (keys, token) = match own {
            Some(keys) => (Some(keys), self.parameter("session_token")),
            None => (
                self.variable(&["AWS_ACCESS_KEY_ID"]).zip(self.variable(&["AWS_SECRET_ACCESS_KEY"])),
                self.variable(&["AWS_SESSION_TOKEN"]),
            ),
        };
        if let Some((id, secret)) = keys {
            builder = builder.access_key_id(id).secret_access_key(secret).disable_ec2_metadata();
            if let Some(token) = token {
                builder = builder.session_token(token);
            }
        }
        Operator::new(builder).map_err(|error| self.unusable(&error))
    }

    /// The other way is to have them in host names, which addresses cannot, and certificates only without dots.
    fn has_buckets_in_paths(&self, bucket: &str, endpoint: Option<&str>) -> bool {
        if let Some(text) = self.parameter("use_path_style") {
            return matches!(text, "true" | "1");
        }
        let host = endpoint.and_then(|text| Some(text.parse::<Url>().ok()?.host_str()?.to_string()));
        let is_address =
            |host: &String| host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        bucket.contains('.') || host.as_ref().is_some_and(is_address)
    }

    fn azblob(&self) -> Result<Operator, Box<Problem>> {
        let container = self.parameter("container").unwrap_or(AZURE_CONTAINER);
        let name = self.parameter("account_name").or_else(|| self.variable(&["AZURE_STORAGE_ACCOUNT"]));
        let key = self.parameter("secret_access_key");
        let connection = self.variable(&["AZURE_STORAGE_CONNECTION_STRING"]);
        let url =
            self.parameter("account_url").or_else(|| self.variable(&["AZURE_STORAGE_SERVICE_ENDPOINT"]));
        let mut builder = match (url, name, connection) {
            (Some(url), ..) => Azblob::default().endpoint(url),
            (None, Some(name), _) => {
                Azblob::default().endpoint(&format!("https://{name}.blob.core.windows.net"))
            }
            (None, None, Some(text)) => {
                Azblob::from_connection_string(text).map_err(|error| self.unusable(&error))?
            }
            (None, None, None) => {
                let problem = Problem::input("cache::account", "the storage account of a cache is not known");
                let help = "give the cache an `account_url`, or set AZURE_STORAGE_ACCOUNT";
                return Err(Box::new(problem.help(help)));
            }
        };
        builder = builder.container(container).root(self.prefix());
        if let Some(name) = name {
            builder = builder.account_name(name);
        }
        if let Some(key) = key.or_else(|| self.variable(&["AZURE_STORAGE_KEY"])) {
            builder = builder.account_key(key);
        } else if let Some(token) = self.variable(&["AZURE_STORAGE_SAS_TOKEN"]) {
            builder = builder.sas_token(token.trim_start_matches('?'));
        }
        Operator::new(builder).map_err(|error| self.unusable(&error))
    }

    fn gcs(&self) -> Result<Operator, Box<Problem>> {
        let mut builder =
            Gcs::default().bucket(self.parameter("bucket").unwrap_or_default()).root(self.prefix());
        let emulator = self.variable(&["STORAGE_EMULATOR_HOST"]);
        if let Some(endpoint) = self.parameter("endpoint_url").or(emulator) {
            builder = builder.endpoint(endpoint);
        }
        if let Some(path) = self.variable(&["GOOGLE_APPLICATION_CREDENTIALS"]) {
            builder = builder.credential_path(path);
        } else if emulator.is_some() {
            // Emulators know nobody, and there is no metadata service to ask beside them.
            builder = builder.skip_signature();
        }
        Operator::new(builder).map_err(|error| self.unusable(&error))
    }

    fn unusable(&self, error: &opendal::Error) -> Box<Problem> {
        let kind = self.entry.kind.name();
        let message = format!("a cache of type `{kind}` cannot be used: {}", error.message());
        Box::new(Problem::input("cache::parameters", message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    /// What opening says of parameters and variables.
    fn opened(kind: CacheKind, parameters: &[(&str, &str)], variables: &[(&str, &str)]) -> String {
        let entry = CacheEntry { kind, mode: None, parameters: map(parameters) };
        let given = Given { entry: &entry, environment: &map(variables) };
        operator(&given).map_or_else(|problem| problem.message, |_| "opened".to_string())
    }

    #[test]
    fn what_is_missing_is_told() {
        let check = |kind, parameters: &[(&str, &str)], variables: &[(&str, &str)], expected: &str| {
            assert_eq!(opened(kind, parameters, variables), expected, "{parameters:?} {variables:?}");
        };
        let bucket = ("bucket", "builds");
        check(CacheKind::S3, &[bucket], &[], "the region of the bucket `builds` is not known");
        check(CacheKind::S3, &[bucket], &[("AWS_REGION", "eu-1")], "opened");
        check(CacheKind::S3, &[bucket, ("endpoint_url", "http://minio:9000")], &[], "opened");
        check(CacheKind::Azblob, &[], &[], "the storage account of a cache is not known");
        check(CacheKind::Azblob, &[], &[("AZURE_STORAGE_ACCOUNT", "me")], "opened");
        let key = [("account_name", "me"), ("secret_access_key", "no base64!")];
        let message = opened(CacheKind::Azblob, &key, &[]);
        assert!(message.contains("account_key") && !message.contains("no base64!"), "{message}");
        check(CacheKind::Gcs, &[bucket], &[], "opened");
    }

    #[test]
    fn buckets_stand_in_paths_where_host_names_cannot_hold_them() {
        for (bucket, endpoint, style, expected) in [
            ("builds", None, None, false),
            ("builds.acme", None, None, true),
            ("builds", Some("https://minio.example.com"), None, false),
            ("builds", Some("http://127.0.0.1:9000"), None, true),
            ("builds", Some("http://[::1]:9000"), None, true),
            ("builds", Some("http://localhost:9000"), None, true),
            ("builds", Some("https://minio.example.com"), Some("true"), true),
            ("builds.acme", None, Some("false"), false),
        ] {
            let style: Vec<_> = style.map(|style| ("use_path_style", style)).into_iter().collect();
            let entry = CacheEntry { kind: CacheKind::S3, mode: None, parameters: map(&style) };
            let given = Given { entry: &entry, environment: &BTreeMap::new() };
            assert_eq!(given.has_buckets_in_paths(bucket, endpoint), expected, "{bucket} {endpoint:?}");
        }
    }
}
