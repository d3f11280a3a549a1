//! What is kept in etcd, by way of its gateway. Where that is off, nothing is kept.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::etcd::Etcd;

/// A value, and the revision that it came with.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
    pub(crate) revision: String,
}

/// What must hold of a key for it to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Provided<'a> {
    /// It is not there.
    Absent,
    /// It is as it was at a revision.
    Unchanged(&'a str),
}

/// Everything that begins with a key, in order.
pub(crate) async fn below(etcd: &Etcd, key: &str) -> Result<Vec<Kept>, String> {
    let mut end = key.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    range(
        etcd,
        &json!({"key": STANDARD.encode(key), "range_end": STANDARD.encode(end)}),
    )
    .await
}

/// What is at a key.
pub(crate) async fn at(etcd: &Etcd, key: &str) -> Result<Option<Kept>, String> {
    let found = range(etcd, &json!({"key": STANDARD.encode(key)})).await?;
    Ok(found.into_iter().next())
}

/// Writes a value; the new revision, or none if what was to hold does not.
pub(crate) async fn put(
    etcd: &Etcd,
    key: &str,
    value: &[u8],
    provided: Provided<'_>,
) -> Result<Option<String>, String> {
    let key = STANDARD.encode(key);
    let compare = match provided {
        Provided::Absent => {
            json!({"key": key, "target": "CREATE", "result": "EQUAL", "create_revision": "0"})
        }
        Provided::Unchanged(revision) => {
            json!({"key": key, "target": "MOD", "result": "EQUAL", "mod_revision": revision})
        }
    };
    let put = json!({"key": key, "value": STANDARD.encode(value)});
    let request = json!({"compare": [compare], "success": [{"request_put": put}]});
    let answer = etcd.call("/v3/kv/txn", &request).await?;
    let revision = answer["header"]["revision"].as_str().map(str::to_owned);
    Ok(revision.filter(|_| answer["succeeded"] == true))
}

/// Removes what is at a key.
pub(crate) async fn remove(etcd: &Etcd, key: &str) -> Result<(), String> {
    let request = json!({"key": STANDARD.encode(key)});
    etcd.call("/v3/kv/deleterange", &request).await.map(drop)
}

async fn range(etcd: &Etcd, request: &Value) -> Result<Vec<Kept>, String> {
    let answer = etcd.call("/v3/kv/range", request).await?;
    let found = answer["kvs"].as_array().into_iter().flatten();
    let bytes = |value: &Value| STANDARD.decode(value.as_str().unwrap_or_default());
    let kept = found.map(|found| {
        let key = bytes(&found["key"]).map_err(|error| error.to_string())?;
        Ok(Kept {
            key: String::from_utf8_lossy(&key).into_owned(),
            value: bytes(&found["value"]).map_err(|error| error.to_string())?,
            revision: found["mod_revision"].as_str().unwrap_or("0").to_owned(),
        })
    });
    kept.collect()
}
