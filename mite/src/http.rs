//! Just enough HTTP/1.1: one request a connection.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::resolve;

const HEAD_BYTES: usize = 16 * 1024;
const ANSWER_BYTES: u64 = 1024 * 1024;
/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The path that a connection asks for, with its query.
pub(crate) async fn asked(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 || head.len() > HEAD_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    let head = String::from_utf8_lossy(&head);
    let path = head.split(' ').nth(1);
    path.map(str::to_owned)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Writes an answer and closes.
pub(crate) async fn answer(stream: &mut TcpStream, status: &str, body: &str) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// What a server answers, if that is a success.
pub(crate) async fn get(host: &str, port: u16, path: &str) -> Result<String, String> {
    match ask(host, port, path).await? {
        (200, body) => Ok(body),
        (status, body) => Err(format!(
            "Get \"{}\": {status}: {body}",
            url(host, port, path)
        )),
    }
}

/// The status and the text of an answer.
pub(crate) async fn ask(host: &str, port: u16, path: &str) -> Result<(u16, String), String> {
    let url = url(host, port, path);
    let told = |why: String| format!("Get \"{url}\": {why}");
    let addresses = resolve::addresses(host).await.map_err(told)?;
    let first = addresses
        .first()
        .ok_or_else(|| told("no such host".to_owned()))?;
    let address = SocketAddr::new(*first, port);
    let exchange = timeout(PATIENCE, exchange(address, host, path)).await;
    let exchange = exchange.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let answer = exchange.map_err(|error| told(format!("dial tcp {address}: {error}")))?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| told("EOF".to_owned()))?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| told("malformed HTTP response".to_owned()))?;
    Ok((status, body.to_owned()))
}

fn url(host: &str, port: u16, path: &str) -> String {
    format!("http://{host}:{port}/{}", path.trim_start_matches('/'))
}

async fn exchange(address: SocketAddr, host: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let path = path.trim_start_matches('/');
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
