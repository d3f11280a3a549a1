//! Just enough HTTP/1.1 to be asked for something: one request a connection, a short head, a body
//! whose length is said beforehand.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

const HEAD_BYTES: usize = 16 * 1024;
/// The longest body; etcd takes less.
const BODY_BYTES: usize = 2 * 1024 * 1024;

/// What is asked.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) verb: String,
    /// With the query behind it.
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
}

/// What is answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn text(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            kind: "text/plain; charset=utf-8",
            body: body.into(),
        }
    }

    pub(crate) fn json(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            kind: "application/json",
            body: body.into(),
        }
    }

    /// A Status object, as Kubernetes answers what it does not grant.
    pub(crate) fn refused(status: u16, reason: &str, message: &str) -> Self {
        let body = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": status,
        });
        Self::json(status, body.to_string())
    }
}

/// What a connection asks for.
pub(crate) async fn asked(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Asked> {
    const END: &[u8] = b"\r\n\r\n";
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let mut head = Vec::new();
    let end = loop {
        if let Some(end) = head.windows(END.len()).position(|bytes| bytes == END) {
            break end;
        }
        if stream.read_buf(&mut head).await? == 0 || head.len() > HEAD_BYTES {
            return Err(invalid());
        }
    };
    let mut body = head.split_off(end + END.len());
    let head = String::from_utf8_lossy(&head);
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_it = name.eq_ignore_ascii_case("content-length");
        is_it.then(|| value.trim().parse().ok())?
    });
    let length: usize = length.unwrap_or(0);
    if length > BODY_BYTES {
        return Err(invalid());
    }
    while body.len() < length {
        if stream.read_buf(&mut body).await? == 0 {
            return Err(invalid());
        }
    }
    let mut words = head.split(' ');
    let (verb, path) = words.next().zip(words.next()).ok_or_else(invalid)?;
    Ok(Asked {
        verb: verb.to_owned(),
        path: path.to_owned(),
        body,
    })
}

/// Writes the answer and says goodbye.
pub(crate) async fn answer(
    stream: &mut (impl AsyncWrite + Unpin),
    Response { status, kind, body }: Response,
) -> io::Result<()> {
    let reason = match status {
        200 => "OK",
        201 => "Created",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        422 => "Unprocessable Entity",
        _ => "Internal Server Error",
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}
