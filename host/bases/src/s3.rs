//! A store in a bucket of Amazon S3, or of a server that speaks as it does.
//!
//! Each call is one request, signed anew; a put is one request as well, so that an object is there whole or not at all. `rusty-s3` writes and signs
//! the requests, `ureq` sends them.
//!
//! Source: AWS, "Amazon S3 API Reference": PutObject, GetObject, ListObjectsV2, DeleteObject, "Error responses".

use std::time::Duration;

use reelflow_ports::bases::{BaseError, BaseStore};
use rusty_s3::{
    Bucket, Credentials, S3Action, UrlStyle,
    actions::{ListObjectsV2, ListObjectsV2Response},
};
use ureq::{
    Agent, Body,
    http::{Response, StatusCode},
};

/// For so long the signature of a request is good: it is sent at once.
const SIGNED_FOR: Duration = Duration::from_secs(300);
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Objects may be long; a server that takes no byte for so long is not there.
const REQUEST_MAX: Duration = Duration::from_secs(600);
/// What is read of an error's text.
const ERROR_BYTES_MAX: u64 = 64 << 10;

/// Where a bucket is, and who asks. Holds a secret, so it has no `Debug`.
pub struct Target {
    pub bucket: String,
    /// What stands before the names of objects; empty, or without a slash at its end.
    pub prefix: String,
    pub region: String,
    /// Of a server other than Amazon's: `http://…` or `https://…`.
    pub endpoint: Option<String>,
    pub key_id: String,
    pub secret: String,
    /// Of credentials that are good for a while.
    pub token: Option<String>,
}

/// A bucket. Nobody is asked before the first call. Holds a secret, so it has no `Debug`.
pub struct S3Store {
    agent: Agent,
    bucket: Bucket,
    credentials: Credentials,
    prefix: String,
    endpoint: String,
}

impl S3Store {
    pub fn new(target: Target) -> Result<S3Store, BaseError> {
        let Target { bucket, prefix, region, endpoint, key_id, secret, token } = target;
        // Amazon's names a bucket by its host; other servers often have one host.
        let style = if endpoint.is_some() { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let endpoint = endpoint.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
        let bad = |why: String| BaseError::BadAddress(format!("{endpoint}: {why}"));
        let url = endpoint.parse().map_err(|why| bad(format!("{why}")))?;
        let bucket = Bucket::new(url, style, bucket, region).map_err(|why| bad(why.to_string()))?;
        let credentials = match token {
            Some(token) => Credentials::new_with_token(key_id, secret, token),
            None => Credentials::new(key_id, secret),
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent("reelflow")
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_global(Some(REQUEST_MAX))
            .build();
        Ok(S3Store { agent: config.new_agent(), bucket, credentials, prefix, endpoint })
    }

    /// What the bucket calls the object, or the folder, `name`.
    fn key(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) }
    }

    fn page(&self, folder: &str, token: Option<&str>) -> Result<ListObjectsV2Response, BaseError> {
        let mut action = self.bucket.list_objects_v2(Some(&self.credentials));
        action.with_prefix(self.key(folder));
        if let Some(token) = token {
            action.with_continuation_token(token);
        }
        let url = action.sign(SIGNED_FOR);
        let mut answer = self.sent(self.agent.get(url.as_str()).call())?;
        match answer.status() {
            StatusCode::OK => {
                let text =
                    answer.body_mut().with_config().limit(u64::MAX).read_to_string().map_err(|why| self.unavailable(why))?;
                ListObjectsV2::parse_response(&text).map_err(|why| self.unavailable(format!("no list of objects: {why}")))
            }
            _ => Err(self.refused(answer)),
        }
    }

    fn sent(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, BaseError> {
        answer.map_err(|error| match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => BaseError::BadAddress(format!("{}: {error}", self.describe())),
            error => self.unavailable(error),
        })
    }

    fn unavailable(&self, why: impl std::fmt::Display) -> BaseError {
        BaseError::Unavailable(format!("{}: {why}", self.describe()))
    }

    /// Who must act on an answer that is an error.
    fn refused(&self, mut answer: Response<Body>) -> BaseError {
        let status = answer.status();
        let text = answer.body_mut().with_config().limit(ERROR_BYTES_MAX).read_to_string().unwrap_or_default();
        let part = |name: &str| Some(text.split_once(&format!("<{name}>"))?.1.split_once('<')?.0);
        let (code, message) = (part("Code").unwrap_or_default(), part("Message").unwrap_or_default());
        let why = format!("{}: it answers {} {code} {message}", self.describe(), status.as_u16());
        let why = why.trim_end().to_owned();
        match (status.as_u16(), code) {
            (401 | 403, _) => BaseError::Denied(why),
            (301 | 307 | 308 | 404, _) | (400, "InvalidBucketName" | "AuthorizationHeaderMalformed") => {
                BaseError::BadAddress(why)
            }
            (507, _) => BaseError::Full(why),
            _ => BaseError::Unavailable(why),
        }
    }
}

impl BaseStore for S3Store {
    fn put(&self, name: &str, object: &[u8]) -> Result<(), BaseError> {
        let key = self.key(name);
        let url = self.bucket.put_object(Some(&self.credentials), &key).sign(SIGNED_FOR);
        let answer = self.sent(self.agent.put(url.as_str()).send(object))?;
        if answer.status().is_success() { Ok(()) } else { Err(self.refused(answer)) }
    }

    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, BaseError> {
        let key = self.key(name);
        let url = self.bucket.get_object(Some(&self.credentials), &key).sign(SIGNED_FOR);
        let mut answer = self.sent(self.agent.get(url.as_str()).call())?;
        if answer.status() == StatusCode::OK {
            let object = answer.body_mut().with_config().limit(u64::MAX).read_to_vec();
            return object.map(Some).map_err(|why| self.unavailable(why));
        }
        let is_missing = answer.status() == StatusCode::NOT_FOUND;
        match self.refused(answer) {
            // A bucket that is missing is another matter.
            BaseError::BadAddress(why) if is_missing && !why.contains("NoSuchBucket") => Ok(None),
            error => Err(error),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, BaseError> {
        let mut names = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let page = self.page(folder, token.as_deref())?;
            let above = self.key("");
            let found = page.contents.iter().filter_map(|one| one.key.strip_prefix(&above));
            // Some servers, and people with a browser, make folders, which are objects without a name.
            names.extend(found.filter(|name| !name.ends_with('/')).map(str::to_owned));
            token = page.next_continuation_token;
            if token.is_none() {
                names.sort();
                return Ok(names);
            }
        }
    }

    fn forget(&self, name: &str) -> Result<(), BaseError> {
        let key = self.key(name);
        let url = self.bucket.delete_object(Some(&self.credentials), &key).sign(SIGNED_FOR);
        let answer = self.sent(self.agent.delete(url.as_str()).call())?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => match self.refused(answer) {
                BaseError::BadAddress(why) if status == StatusCode::NOT_FOUND && !why.contains("NoSuchBucket") => Ok(()),
                error => Err(error),
            },
        }
    }

    fn describe(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("s3://{}{slash}{} at {}", self.bucket.name(), self.prefix, self.endpoint)
    }
}

#[cfg(test)]
mod tests {
    use reelflow_objects_tests::{BUCKET, KEY_ID, ObjectServer, SECRET};

    use super::*;

    fn store(endpoint: &str, bucket: &str, prefix: &str, secret: &str) -> S3Store {
        let target = Target {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            region: "us-east-1".to_owned(),
            endpoint: Some(endpoint.to_owned()),
            key_id: KEY_ID.to_owned(),
            secret: secret.to_owned(),
            token: None,
        };
        S3Store::new(target).expect("a good address")
    }

    #[test]
    fn a_bucket_keeps_the_contract() {
        let server = ObjectServer::start().expect("a server");
        let at = |prefix| store(&server.endpoint(), BUCKET, prefix, SECRET);
        reelflow_ports::contract::bases(&at("reel/bases"), &at("reel/bases"));
        reelflow_ports::contract::bases(&at(""), &at(""));

        // More than a server lists at once.
        let many = at("many");
        let names: Vec<String> = (0..1_100).map(|nth| format!("p/a/0/{nth:04}.base")).collect();
        names.iter().for_each(|name| many.put(name, b"x").expect("it takes objects"));
        assert_eq!(many.list("p/a/0/"), Ok(names));
    }

    #[test]
    fn who_must_act_is_said() {
        let server = ObjectServer::start().expect("a server");
        let endpoint = server.endpoint();
        let other = store(&endpoint, BUCKET, "p", "another secret");
        for refused in [other.put("a", b"").err(), other.load("a").err(), other.list("a/").err(), other.forget("a").err()] {
            let text = format!("{refused:?}");
            assert!(matches!(refused, Some(BaseError::Denied(_))), "{text}");
            assert!(!text.contains("another secret") && text.contains("s3://bases/p at "), "{text}");
        }
        let missing = store(&endpoint, "nobody", "", SECRET);
        for refused in [missing.put("a", b"").err(), missing.load("a").err(), missing.list("a/").err()] {
            assert!(matches!(&refused, Some(BaseError::BadAddress(why)) if why.contains("NoSuchBucket")), "{refused:?}");
        }
        drop(server);
        let gone = store(&endpoint, BUCKET, "p", SECRET).load("a");
        assert!(matches!(gone, Err(BaseError::Unavailable(_))), "{gone:?}");
        for bad in ["", "ftp://host", "http://"] {
            let target = Target {
                bucket: BUCKET.to_owned(),
                prefix: String::new(),
                region: "us-east-1".to_owned(),
                endpoint: Some(bad.to_owned()),
                key_id: KEY_ID.to_owned(),
                secret: SECRET.to_owned(),
                token: None,
            };
            assert!(matches!(S3Store::new(target).map(drop), Err(BaseError::BadAddress(_))), "{bad}");
        }
    }
}
