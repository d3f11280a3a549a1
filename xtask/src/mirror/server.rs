//! Serves a directory over HTTP on the loopback: GET and HEAD, ranges, nothing else.
//!
//! One thread a request and one request a connection: a handful of downloads is all it is for.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A client that says or takes nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most that a request's head may have, in bytes.
const HEAD_BYTES_MAX: u64 = 16 * 1024;
/// How much is read and sent at a time, in bytes.
const CHUNK_BYTES: usize = 256 * 1024;

/// A server; it ends when it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    closed: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves the directory on a port that is free.
    pub(crate) fn start(directory: &Path) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let closed = Arc::new(AtomicBool::new(false));
        let (ends, directory) = (Arc::clone(&closed), Arc::<Path>::from(directory));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let directory = Arc::clone(&directory);
                // A client that goes away is its own business.
                thread::spawn(move || stream.and_then(|stream| answer(&stream, &directory)));
            }
        });
        Ok(Self {
            address,
            closed,
            thread: Some(thread),
        })
    }

    /// The base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        // Wakes the thread, which waits for a connection.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What was asked for.
struct Request {
    method: String,
    path: String,
    range: Option<String>,
    if_range: Option<String>,
}

fn answer(stream: &TcpStream, directory: &Path) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = read(stream)?;
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return refuse(stream, "405 Method Not Allowed");
    }
    let file = place(directory, &request.path).and_then(|path| fs_err::File::open(path).ok());
    match file {
        Some(file) if file.metadata()?.is_file() => send(stream, &request, file),
        _ => refuse(stream, "404 Not Found"),
    }
}

fn read(stream: &TcpStream) -> io::Result<Request> {
    let mut lines = BufReader::new(stream.take(HEAD_BYTES_MAX)).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut words = first.split(' ').map(str::to_owned);
    let mut request = Request {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        range: None,
        if_range: None,
    };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = Some(value.trim().to_owned()),
            "if-range" => request.if_range = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    Ok(request)
}

/// The file of a path, which may not climb out of the directory. No name in a mirror needs escapes.
fn place(directory: &Path, path: &str) -> Option<PathBuf> {
    let path = path.split('?').next()?.strip_prefix('/')?;
    let plain = Path::new(path)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    plain.then(|| directory.join(path))
}

fn send(mut stream: &TcpStream, request: &Request, mut file: fs_err::File) -> io::Result<()> {
    let metadata = file.metadata()?;
    let length = metadata.len();
    let tag = format!("\"{length:x}-{:x}\"", metadata.mtime());
    let same = request
        .if_range
        .as_ref()
        .is_none_or(|wanted| *wanted == tag);
    let range = request.range.as_deref().filter(|_| same).and_then(span);
    let (status, from, to) = match range {
        None => ("200 OK", 0, length),
        Some((from, _)) if from >= length => {
            let head = format!(
                "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{length}\r\n"
            );
            return stream.write_all((head + END).as_bytes());
        }
        Some((from, to)) => {
            let end = to.map_or(length, |to| length.min(to.saturating_add(1)));
            ("206 Partial Content", from, end)
        }
    };
    let part = match range {
        Some(_) => format!("Content-Range: bytes {from}-{}/{length}\r\n", to - 1),
        None => String::new(),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/octet-stream\r\nAccept-Ranges: bytes\r\n\
         ETag: {tag}\r\nContent-Length: {}\r\n{part}",
        to - from
    );
    stream.write_all((head + "Connection: close\r\n\r\n").as_bytes())?;
    if request.method == "HEAD" {
        return Ok(());
    }
    file.seek(SeekFrom::Start(from))?;
    let mut body = file.take(to - from);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match body.read(&mut chunk)? {
            0 => return Ok(()),
            count => stream.write_all(&chunk[..count])?,
        }
    }
}

/// `bytes=FROM-` or `bytes=FROM-TO`; anything else is answered whole.
fn span(range: &str) -> Option<(u64, Option<u64>)> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    let from = from.parse().ok()?;
    match to {
        "" => Some((from, None)),
        to => Some((from, Some(to.parse().ok().filter(|to| *to >= from)?))),
    }
}

const END: &str = "Content-Length: 0\r\nConnection: close\r\n\r\n";

fn refuse(mut stream: &TcpStream, status: &str) -> io::Result<()> {
    stream.write_all(format!("HTTP/1.1 {status}\r\n{END}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(server: &Server, head: &str) -> String {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[track_caller]
    fn check(server: &Server, head: &str, status: &str, body: &str) {
        let answer = ask(server, head);
        let (top, rest) = answer.split_once("\r\n\r\n").unwrap();
        assert!(top.starts_with(&format!("HTTP/1.1 {status} ")), "{top}");
        assert_eq!(rest, body, "{head}");
    }

    #[test]
    fn files_whole_and_in_part() {
        let directory = std::env::temp_dir().join(format!("xtask-server-{}", std::process::id()));
        fs_err::create_dir_all(directory.join("a")).unwrap();
        fs_err::write(directory.join("a/b"), "0123456789").unwrap();
        let server = Server::start(&directory).unwrap();
        check(&server, "GET /a/b HTTP/1.1\r\n\r\n", "200", "0123456789");
        check(&server, "HEAD /a/b HTTP/1.1\r\n\r\n", "200", "");
        let range = |range| format!("GET /a/b HTTP/1.1\r\nRange: bytes={range}\r\n\r\n");
        check(&server, &range("7-"), "206", "789");
        check(&server, &range("2-3"), "206", "23");
        check(&server, &range("8-99"), "206", "89");
        check(&server, &range("10-"), "416", "");
        check(&server, &range("-3"), "200", "0123456789");
        let stale = "GET /a/b HTTP/1.1\r\nRange: bytes=7-\r\nIf-Range: \"x\"\r\n\r\n";
        check(&server, stale, "200", "0123456789");
        for path in ["/a", "/", "/none", "/a/../a/b", "//etc/passwd", "a/b", ""] {
            check(&server, &format!("GET {path} HTTP/1.1\r\n\r\n"), "404", "");
        }
        check(&server, "PUT /a/b HTTP/1.1\r\n\r\n", "405", "");
        drop(server);
        fs_err::remove_dir_all(directory).unwrap();
    }
}
