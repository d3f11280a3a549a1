//! What stands between kinstall and a genuine server: it writes down what is asked, and plays the
//! faults that a healthy server has none of.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

/// What is done with a request in place of passing it on.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// It is answered so: a status, headers with their line ends, a body.
    Answer(u16, String, String),
    /// The connection ends in the middle of an answer.
    Cut,
    /// Nothing is answered for so long.
    Wait(Duration),
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) body: Value,
    pub(crate) token: Option<String>,
    pub(crate) namespace: Option<String>,
}

#[derive(Default)]
struct State {
    asked: Vec<Asked>,
    /// Faults of requests whose paths have a word in them, each for one request.
    faults: VecDeque<(String, Fault)>,
    /// The fault of every such request.
    lasting: Option<(String, Fault)>,
}

/// The proxy; it ends when it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    closed: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Before a server without TLS at this address.
    pub(crate) fn before(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (state, closed) = (Arc::<Mutex<State>>::default(), Arc::<AtomicBool>::default());
        let (shared, ends) = (Arc::clone(&state), Arc::clone(&closed));
        let upstream = upstream.to_owned();
        let server = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let (shared, upstream) = (Arc::clone(&shared), upstream.clone());
                std::thread::spawn(move || serve(stream.ok()?, &shared, &upstream));
            }
        });
        Self {
            address,
            state,
            closed,
            server: Some(server),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Plays faults, one for each of the next requests whose paths have that in them.
    pub(crate) fn play(&self, path: &str, faults: impl IntoIterator<Item = Fault>) {
        let mut state = self.state.lock().unwrap();
        let faults = faults.into_iter().map(|fault| (path.to_owned(), fault));
        state.faults.extend(faults);
    }

    /// Plays a fault for every request whose path has that in it.
    pub(crate) fn play_always(&self, path: &str, fault: Fault) {
        self.state.lock().unwrap().lasting = Some((path.to_owned(), fault));
    }

    /// What was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    /// The paths that certificates were asked of since the last time.
    pub(crate) fn orders(&self) -> Vec<String> {
        let asked = self.asked().into_iter().map(|asked| asked.path);
        asked
            .filter(|path| path.contains("/issue/") || path.contains("/sign/"))
            .collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        drop(self.server.take().map(JoinHandle::join));
    }
}

/// Reads one request and answers it.
fn serve(stream: TcpStream, state: &Mutex<State>, upstream: &str) -> Option<()> {
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .ok()?;
    let mut client = BufReader::new(stream);
    let mut line = String::new();
    client.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let (mut length, mut token, mut namespace) = (0, None, None);
    let mut headers = String::new();
    loop {
        let mut header = String::new();
        client.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else {
            break;
        };
        match name.to_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "x-vault-token" => token = Some(value.to_owned()),
            "x-vault-namespace" => namespace = Some(value.to_owned()),
            "connection" => continue,
            _ => {}
        }
        headers += &header;
    }
    let mut body = vec![0; length];
    client.read_exact(&mut body).ok()?;
    let fault = {
        let mut state = state.lock().unwrap();
        state.asked.push(Asked {
            path: path.clone(),
            body: serde_json::from_slice(&body).unwrap_or_default(),
            token,
            namespace,
        });
        let next = state
            .faults
            .iter()
            .position(|(word, _)| path.contains(word));
        let next = next.and_then(|at| state.faults.remove(at));
        let lasting = state
            .lasting
            .clone()
            .filter(|(word, _)| path.contains(word));
        next.or(lasting).map(|(_, fault)| fault)
    };
    let mut client = client.into_inner();
    match fault {
        Some(Fault::Answer(status, headers, text)) => {
            let length = text.len();
            let answer = format!(
                "HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{text}"
            );
            client.write_all(answer.as_bytes()).ok()?;
        }
        Some(Fault::Cut) => {
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n{\"data\": {\"cert";
            client.write_all(answer.as_bytes()).ok()?;
        }
        Some(Fault::Wait(pause)) => std::thread::sleep(pause),
        None => {
            let mut server = TcpStream::connect(upstream).ok()?;
            server.write_all(line.as_bytes()).ok()?;
            server.write_all(headers.as_bytes()).ok()?;
            server.write_all(b"connection: close\r\n\r\n").ok()?;
            server.write_all(&body).ok()?;
            std::io::copy(&mut server, &mut client).ok()?;
        }
    }
    Some(())
}
