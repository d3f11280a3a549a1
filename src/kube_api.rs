//! The API of one kube-apiserver: a question, its answer, and what a refusal says. Through what it is
//! reached, and as whom, is [`crate::probe`]'s.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Client, Method, header};
use serde_json::Value;

use crate::plain;
use crate::probe::last_cause;

/// The most bytes of an answer about one object: a Node with all its images has some 100 KiB, a Pod 10.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// One kube-apiserver.
#[derive(Debug, Clone)]
pub struct Api {
    client: Client,
    server: SocketAddr,
    /// The most bytes of an answer.
    bytes_max: usize,
}

/// What it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The text.
    pub text: String,
}

impl Api {
    /// By a client that leads to it.
    pub fn new(client: Client, server: SocketAddr) -> Self {
        Self {
            client,
            server,
            bytes_max: ANSWER_BYTES_MAX,
        }
    }

    /// The same, with answers of as many bytes as are said: a list has many objects.
    #[must_use]
    pub fn with_answers_of(self, bytes_max: usize) -> Self {
        Self { bytes_max, ..self }
    }

    /// Asks; or why there is no answer. A body of `PATCH` is a merge patch.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Reply, String> {
        self.exchange(method, path, body, None).await
    }

    /// The same of what takes longer than a client waits.
    pub async fn get_within(&self, seconds: u64, path: &str) -> Result<Reply, String> {
        let limit = Duration::from_secs(seconds);
        self.exchange(Method::GET, path, None, Some(limit)).await
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        limit: Option<Duration>,
    ) -> Result<Reply, String> {
        let url = format!("https://{}{path}", self.server);
        let mut request = self.client.request(method.clone(), url);
        if let Some(limit) = limit {
            request = request.timeout(limit);
        }
        if let Some(body) = body {
            let kind = if method == Method::PATCH {
                "application/merge-patch+json"
            } else {
                "application/json"
            };
            request = request
                .header(header::CONTENT_TYPE, kind)
                .body(body.to_string());
        }
        let mut answer = request.send().await.map_err(|error| last_cause(&error))?;
        let status = answer.status().as_u16();
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| last_cause(&error))? {
            if bytes.len() + chunk.len() > self.bytes_max {
                let megabytes = self.bytes_max >> 20;
                return Err(format!("its answer is longer than {megabytes} MiB"));
            }
            bytes.extend_from_slice(&chunk);
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Reply { status, text })
    }
}

impl Reply {
    /// Whether it did as it was asked.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The object that it is; `null` where it is none.
    pub fn object(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// The status, and what a `Status` says, or the beginning of whatever there is instead.
    pub fn message(&self) -> String {
        let object = self.object();
        let said = object["message"].as_str().unwrap_or(&self.text).trim();
        format!("{}: {}", self.status, plain::brief(said))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_its_own_words() {
        let check = |status, text: &str, expected: &str| {
            let text = text.to_owned();
            let reply = Reply { status, text };
            assert_eq!(reply.message(), expected);
            assert_eq!(reply.is_success(), status < 300);
        };
        check(
            409,
            r#"{"kind":"Status","message":"it exists"}"#,
            "409: it exists",
        );
        check(502, "bad gateway\n", "502: bad gateway");
        check(201, r#"{"kind":"Node"}"#, r#"201: {"kind":"Node"}"#);
        let long = "x".repeat(5000);
        check(500, &long, &format!("500: {}…", &long[..300]));
    }
}
