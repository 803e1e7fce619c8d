//! GitHub's cache service as `objects` serves it, in both of its versions. Its signed URLs lead back to whoever
//! was asked, so that a proxy sees them as well.

use serde_json::{Value, json};

use crate::objects::{Answer, ObjectServer, Request, answer};

impl ObjectServer {
    /// None when something else was asked for.
    pub fn service_answer(&self, request: &Request) -> Option<Answer> {
        let method = request.path.strip_prefix("/twirp/github.actions.results.api.v1.CacheService/");
        let rest = request.path.strip_prefix("/_apis/artifactcache/");
        if method.or(rest).is_some() && request.header("authorization") != Some("Bearer job") {
            return Some(answer(401, r#"{"msg":"who are you"}"#));
        }
        match (method, rest) {
            (Some(method), _) => Some(self.second(request, method)),
            (_, Some(rest)) => Some(self.first(request, rest)),
            _ => None,
        }
    }

    fn second(&self, request: &Request, method: &str) -> Answer {
        let asked: Value = serde_json::from_slice(&request.body).unwrap();
        let version = asked["version"].as_str().unwrap();
        let key = format!("{version}/{}", asked["key"].as_str().unwrap());
        let host = request.header("host").unwrap();
        match method {
            "CreateCacheEntry" if self.has(&key) => answer(409, r#"{"code":"already_exists","msg":"there"}"#),
            "CreateCacheEntry" => {
                let url = format!("http://{host}/signed/{key}?sig=x");
                answer(200, &json!({ "ok": true, "signed_upload_url": url }).to_string())
            }
            "FinalizeCacheEntryUpload" => {
                let length = self.state().objects.get(&format!("/signed/{key}")).map(Vec::len);
                assert_eq!(asked["size_bytes"].as_str(), length.map(|length| length.to_string()).as_deref());
                self.state().entries.push(key);
                answer(200, r#"{"ok":true,"entry_id":"1"}"#)
            }
            "GetCacheEntryDownloadURL" => {
                let starts = asked["restore_keys"].as_array().unwrap();
                let starts = starts.iter().map(|start| format!("{version}/{}", start.as_str().unwrap()));
                let Some(found) = self.find(&key, &starts.collect::<Vec<_>>()) else {
                    return answer(200, r#"{"ok":false,"signed_download_url":"","matched_key":""}"#);
                };
                let url = format!("http://{host}/signed/{found}?sig=x");
                let matched = found.split_once('/').unwrap().1;
                let body = json!({ "ok": true, "signed_download_url": url, "matched_key": matched });
                answer(200, &body.to_string())
            }
            other => panic!("nobody knows {other}"),
        }
    }

    fn first(&self, request: &Request, rest: &str) -> Answer {
        let body = || serde_json::from_slice::<Value>(&request.body).unwrap();
        match (request.method.as_str(), rest) {
            ("GET", "cache") => {
                let key = format!("{}/{}", request.query["version"], request.query["keys"]);
                let Some(found) = self.find(&key, std::slice::from_ref(&key)) else { return answer(204, "") };
                let url = format!("http://{}/signed/{found}?sig=x", request.header("host").unwrap());
                let matched = found.split_once('/').unwrap().1;
                answer(200, &json!({ "archiveLocation": url, "cacheKey": matched }).to_string())
            }
            ("POST", "caches") => {
                let body = body();
                let key = format!("{}/{}", body["version"].as_str().unwrap(), body["key"].as_str().unwrap());
                if self.has(&key) {
                    return answer(409, "{}");
                }
                let mut state = self.state();
                let id = state.parts.len() + 1;
                state.parts.insert(id.to_string(), [(format!("key {key}"), Vec::new())].into());
                answer(201, &json!({ "cacheId": id }).to_string())
            }
            ("PATCH", _) => {
                let range = request.header("content-range").unwrap();
                let start: u64 = range["bytes ".len()..].split('-').next().unwrap().parse().unwrap();
                let mut state = self.state();
                let parts = state.parts.get_mut(&rest["caches/".len()..]).unwrap();
                parts.insert(format!("part {start:020}"), request.body.clone());
                answer(204, "")
            }
            _ => {
                let mut state = self.state();
                let parts = state.parts.get(&rest["caches/".len()..]).unwrap().clone();
                let key = parts.keys().next().unwrap()["key ".len()..].to_string();
                let bytes: Vec<u8> = parts.into_values().flatten().collect();
                assert_eq!(body()["size"], bytes.len());
                state.objects.insert(format!("/signed/{key}"), bytes);
                state.entries.push(key);
                answer(204, "")
            }
        }
    }

    fn has(&self, key: &str) -> bool {
        self.state().entries.iter().any(|known| known == key)
    }

    fn find(&self, key: &str, starts: &[String]) -> Option<String> {
        let state = self.state();
        let newest = || state.entries.iter().rev();
        let exact = newest().find(|known| *known == key);
        exact.or_else(|| newest().find(|known| starts.iter().any(|start| known.starts_with(start)))).cloned()
    }
}
