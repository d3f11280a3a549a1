//! Just enough HTTP/1.1 to be asked for a path: one request a connection, a short head, no body.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

const HEAD_BYTES: usize = 16 * 1024;

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

/// The path and query that a connection asks for.
pub(crate) async fn asked(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 || head.len() > HEAD_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    let head = String::from_utf8_lossy(&head);
    let path = head.split(' ').nth(1).ok_or(io::ErrorKind::InvalidData)?;
    Ok(path.to_owned())
}

/// Writes the answer and says goodbye.
pub(crate) async fn answer(
    stream: &mut (impl AsyncWrite + Unpin),
    Response { status, kind, body }: Response,
) -> io::Result<()> {
    let reason = match status {
        200 => "OK",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
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
