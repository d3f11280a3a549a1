//! A real HTTP server on the loopback, with moods: a mirror as it is on a bad day.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How one path is served. A list of moods is worn out one a request; the last one stays.
#[derive(Debug, Clone)]
pub(crate) enum Mood {
    /// As it should be, with ranges and an `ETag`.
    Right,
    /// The connection breaks after so many bytes of the body.
    CutAfter(usize),
    /// After so many bytes of the body nothing comes any more.
    StallAfter(usize),
    /// A piece of so many bytes, and a pause, and so on.
    Slow(usize, Duration),
    /// `Range` is ignored.
    NoRange,
    /// A part is sent as if it began elsewhere.
    WrongRange,
    /// The length announced is so much off, and the connection ends after the real one.
    LengthOff(isize),
    /// Other bytes of the same length.
    WrongBytes,
    /// This status with this page.
    Page(u16, &'static str),
    /// A redirect to this address.
    Redirect(String),
    /// 401 with this challenge, but for who says this authorization.
    Asks(String, &'static str),
    /// `content-encoding: gzip`.
    Gzip,
    /// No announced length: the end of the connection is the end.
    NoLength,
    /// These bytes in place of any answer, and then nothing on an open connection.
    Raw(String),
    /// These bytes in place of any answer, and then the others again and again.
    Endless(&'static str, Vec<u8>),
    /// Half of the file, and for the rest of it, with this `content-range`, zeros without end.
    RangeLie(&'static str),
}

/// One request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
}

#[derive(Default)]
struct Stock {
    files: BTreeMap<String, Vec<u8>>,
    moods: BTreeMap<String, Vec<Mood>>,
    requests: Vec<Request>,
}

/// A mirror; it ends when it is dropped.
pub(crate) struct Mirror {
    address: SocketAddr,
    stock: Arc<Mutex<Stock>>,
    closed: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl Mirror {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stock = Arc::<Mutex<Stock>>::default();
        let closed = Arc::new(AtomicBool::new(false));
        let (shared, ends) = (Arc::clone(&stock), Arc::clone(&closed));
        let server = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let (shared, ends) = (Arc::clone(&shared), Arc::clone(&ends));
                // A client that goes away is its own business.
                std::thread::spawn(move || stream.and_then(|it| serve(it, &shared, &ends)));
            }
        });
        Self {
            address,
            stock,
            closed,
            server: Some(server),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn put(&self, path: &str, content: impl Into<Vec<u8>>) {
        let mut stock = self.stock.lock().unwrap();
        stock.files.insert(path.to_owned(), content.into());
    }

    pub(crate) fn mood(&self, path: &str, moods: impl IntoIterator<Item = Mood>) {
        let mut stock = self.stock.lock().unwrap();
        stock
            .moods
            .insert(path.to_owned(), moods.into_iter().collect());
    }

    /// Every path is right again, and the requests so far are forgotten.
    pub(crate) fn recover(&self) {
        let mut stock = self.stock.lock().unwrap();
        stock.moods.clear();
        stock.requests.clear();
    }

    pub(crate) fn requests(&self, path: &str) -> Vec<Request> {
        let stock = self.stock.lock().unwrap();
        let of = |request: &&Request| request.path == path;
        stock.requests.iter().filter(of).cloned().collect()
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

fn read_request(stream: &TcpStream) -> std::io::Result<Request> {
    let mut lines = BufReader::new(stream.take(64 * 1024)).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let target = first.split(' ').nth(1).unwrap_or_default();
    // Who takes it for a proxy names the whole address.
    let path = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]).to_owned(),
        None => target.to_owned(),
    };
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    Ok(Request { path, headers })
}

fn serve(mut stream: TcpStream, stock: &Mutex<Stock>, closed: &AtomicBool) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let request = read_request(&stream)?;
    let (content, mood) = {
        let mut stock = stock.lock().unwrap();
        stock.requests.push(request.clone());
        let mood = match stock.moods.get_mut(&request.path) {
            Some(moods) if moods.len() > 1 => moods.remove(0),
            Some(moods) => moods[0].clone(),
            None => Mood::Right,
        };
        (stock.files.get(&request.path).cloned(), mood)
    };
    match &mood {
        Mood::Raw(bytes) => {
            stream.write_all(bytes.as_bytes())?;
            hold(closed);
            return Ok(());
        }
        Mood::Endless(start, piece) => return endless(stream, start, piece),
        Mood::RangeLie(range) if request.headers.contains_key("range") => {
            let start = format!("HTTP/1.1 206 x\r\ncontent-range: bytes {range}\r\n\r\n");
            return endless(stream, &start, &[0; 4096]);
        }
        _ => {}
    }
    let mut answer = match (&mood, content) {
        (Mood::Page(status, page), _) => Answer::page(*status, page),
        (Mood::Asks(challenge, known), _)
            if request.headers.get("authorization").map(String::as_str) != Some(known) =>
        {
            Answer {
                status: 401,
                headers: vec![format!("www-authenticate: {challenge}")],
                body: Vec::new(),
            }
        }
        (Mood::Redirect(to), _) => Answer {
            // Whoever follows it sends the same again.
            status: 307,
            headers: vec![format!("location: {to}")],
            body: Vec::new(),
        },
        (_, None) => Answer::page(404, MISSING),
        (_, Some(content)) => Answer::file(content, &mood, &request),
    };
    let length = match &mood {
        Mood::LengthOff(by) => Some(answer.body.len().checked_add_signed(*by).unwrap()),
        Mood::NoLength => None,
        _ => Some(answer.body.len()),
    };
    if let Some(length) = length {
        answer.headers.push(format!("content-length: {length}"));
    }
    let Answer {
        status,
        headers,
        body,
    } = answer;
    write!(
        stream,
        "HTTP/1.1 {status} x\r\nconnection: close\r\n{}\r\n\r\n",
        headers.join("\r\n")
    )?;
    match mood {
        Mood::CutAfter(bytes) => stream.write_all(&body[..bytes.min(body.len())]),
        Mood::StallAfter(bytes) => {
            stream.write_all(&body[..bytes.min(body.len())])?;
            hold(closed);
            Ok(())
        }
        Mood::RangeLie(_) => stream.write_all(&body[..body.len() / 2]),
        Mood::Slow(bytes, pause) => body.chunks(bytes).try_for_each(|piece| {
            std::thread::sleep(pause);
            stream.write_all(piece)
        }),
        _ => stream.write_all(&body),
    }
}

/// Keeps a connection open for as long as anybody would wait.
fn hold(closed: &AtomicBool) {
    for _ in 0..200 {
        if closed.load(Ordering::SeqCst) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Ends when the client does, or at 256 MiB, which nobody should take.
fn endless(mut stream: TcpStream, start: &str, piece: &[u8]) -> std::io::Result<()> {
    stream.write_all(start.as_bytes())?;
    let mut left = 256 << 20;
    while left > 0 {
        stream.write_all(piece)?;
        left -= piece.len();
    }
    Ok(())
}

/// What an object store says when it does not have something.
const MISSING: &str = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>NoSuchKey</Code>\
                       <Message>The specified key does not exist.</Message></Error>";

struct Answer {
    status: u16,
    headers: Vec<String>,
    body: Vec<u8>,
}

impl Answer {
    fn page(status: u16, page: &str) -> Self {
        Self {
            status,
            headers: vec!["content-type: text/html".to_owned()],
            body: page.into(),
        }
    }

    fn file(mut content: Vec<u8>, mood: &Mood, request: &Request) -> Self {
        if let Mood::WrongBytes = mood {
            let middle = content.len() / 2;
            content[middle] ^= 1;
        }
        let etag = format!("\"{}\"", kinstall::digest::Digest::of(&content).short());
        let mut headers = vec![format!("etag: {etag}"), "accept-ranges: bytes".to_owned()];
        if let Mood::Gzip = mood {
            headers.push("content-encoding: gzip".to_owned());
        }
        let from = request.headers.get("range").and_then(|range| {
            let from = range.strip_prefix("bytes=")?.strip_suffix('-')?;
            from.parse::<usize>().ok()
        });
        let same = request
            .headers
            .get("if-range")
            .is_none_or(|tag| *tag == etag);
        let whole = content.len();
        match from.filter(|_| same && !matches!(mood, Mood::NoRange)) {
            None => Self {
                status: 200,
                headers,
                body: content,
            },
            Some(from) if from >= whole => Self {
                status: 416,
                headers: vec![format!("content-range: bytes */{whole}")],
                body: Vec::new(),
            },
            Some(from) => {
                let told = if let Mood::WrongRange = mood { 0 } else { from };
                headers.push(format!("content-range: bytes {told}-{}/{whole}", whole - 1));
                Self {
                    status: 206,
                    headers,
                    body: content.split_off(from),
                }
            }
        }
    }
}
