//! `netexec` of Kubernetes' `agnhost`, as far as tests of a cluster's network ask for it.
//!
//! `/hostname`, `/clientip`, `/healthz`, `/echo?msg=`, and
//! `/dial?host=&port=&request=&protocol=http[&tries=]`, which makes the request and answers
//! `{"responses":[...]}` or `{"errors":[...]}`. `/resolve?name=` is ours.

use std::fmt::Write as _;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};

use crate::http;
use crate::process;
use crate::resolve;
use crate::say::line;

const PORT: u16 = 8080;
/// The most requests that one `/dial` makes.
const TRIES: u32 = 100;

/// Serves until it is told to stop.
pub(crate) async fn run(flags: &[&str]) -> Result<(), String> {
    let mut port = PORT;
    for flag in flags {
        // Ports for UDP and SCTP are taken and not served.
        if let Some(given) = flag.strip_prefix("--http-port=") {
            port = given.parse().map_err(|_| format!("no port: {given}"))?;
        } else if !flag.starts_with("--udp-port=") && !flag.starts_with("--sctp-port=") {
            return Err(format!("unknown flag: {flag}"));
        }
    }
    // Where there is no IPv6, of IPv4 alone.
    let listener = match TcpListener::bind(("::", port)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(("0.0.0.0", port)).await,
    };
    let listener = listener.map_err(|error| format!("listen on {port}: {error}"))?;
    line(&format!("Started HTTP server on port {port}"));
    tokio::select! {
        stopped = process::pause() => stopped.map_err(|error| error.to_string()),
        never = serve(listener) => never,
    }
}

async fn serve(listener: TcpListener) -> Result<(), String> {
    loop {
        let (stream, peer) = listener.accept().await.map_err(|error| error.to_string())?;
        tokio::spawn(async move {
            let _ = converse(stream, peer).await;
        });
    }
}

async fn converse(mut stream: TcpStream, peer: SocketAddr) -> std::io::Result<()> {
    let asked = http::asked(&mut stream).await?;
    line(&format!("GET {asked} from {peer}"));
    let (path, query) = asked.split_once('?').unwrap_or((&asked, ""));
    let (status, body) = match path {
        "/hostname" | "/hostName" => ("200 OK", hostname()),
        "/clientip" => (
            "200 OK",
            SocketAddr::new(peer.ip().to_canonical(), peer.port()).to_string(),
        ),
        "/healthz" => ("200 OK", String::new()),
        "/echo" => ("200 OK", value(query, "msg").unwrap_or_default()),
        "/dial" => dial(query).await,
        "/resolve" => resolve(query).await,
        "/" => ("200 OK", format!("{} serves\n", hostname())),
        _ => ("404 Not Found", "404 page not found\n".to_owned()),
    };
    http::answer(&mut stream, status, &body).await
}

async fn dial(query: &str) -> (&'static str, String) {
    let given = |name| value(query, name).filter(|value| !value.is_empty());
    let (Some(host), Some(port)) = (given("host"), given("port").and_then(|it| it.parse().ok()))
    else {
        return ("400 Bad Request", "host and port are wanted\n".to_owned());
    };
    let protocol = given("protocol").unwrap_or_else(|| "http".to_owned());
    if protocol != "http" {
        return ("400 Bad Request", format!("{protocol} is not served\n"));
    }
    let request = given("request").unwrap_or_else(|| "hostname".to_owned());
    let tries = given("tries")
        .and_then(|it| it.parse().ok())
        .unwrap_or(1_u32);
    let (mut responses, mut errors) = (Vec::new(), Vec::new());
    for _ in 0..tries.clamp(1, TRIES) {
        // Whatever the status is, as agnhost does it.
        match http::ask(&host, port, &request).await {
            Ok((_, body)) => responses.push(body),
            Err(error) => errors.push(error),
        }
    }
    (
        "200 OK",
        object(&[("responses", &responses), ("errors", &errors)]),
    )
}

async fn resolve(query: &str) -> (&'static str, String) {
    let name = value(query, "name").unwrap_or_default();
    let (mut addresses, mut errors) = (Vec::new(), Vec::new());
    match resolve::addresses(&name).await {
        Ok(found) => addresses.extend(found.iter().map(ToString::to_string)),
        Err(error) => errors.push(error),
    }
    (
        "200 OK",
        object(&[("addresses", &addresses), ("errors", &errors)]),
    )
}

fn hostname() -> String {
    let system = rustix::system::uname();
    system.nodename().to_string_lossy().into_owned()
}

/// A parameter of a query, decoded.
fn value(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let digits = others
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, byte) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &others[2..];
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            (other, _) => bytes.push(*other),
        }
        rest = others;
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// A JSON object of those lists that are not empty.
fn object(lists: &[(&str, &[String])]) -> String {
    let lists = lists.iter().filter(|(_, list)| !list.is_empty());
    let lists = lists.map(|(name, list)| {
        let list: Vec<String> = list.iter().map(|text| quoted(text)).collect();
        format!("{}:[{}]", quoted(name), list.join(","))
    });
    format!("{{{}}}", lists.collect::<Vec<_>>().join(","))
}

fn quoted(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            // Writing to a String cannot fail.
            c if c < ' ' => drop(write!(quoted, "\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = "host=10.0.0.1&request=echo%3Fmsg%3Da+b&bad=%zz%4";
        for (name, expected) in [
            ("host", Some("10.0.0.1")),
            ("request", Some("echo?msg=a b")),
            ("bad", Some("%zz%4")),
            ("none", None),
        ] {
            assert_eq!(value(query, name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn lists_are_json() {
        let one = ["a \"b\"\n".to_owned()];
        let text = object(&[("responses", &one), ("errors", &[])]);
        assert_eq!(text, r#"{"responses":["a \"b\"\u000a"]}"#);
        assert_eq!(object(&[("errors", &[])]), "{}");
    }

    #[tokio::test]
    async fn a_server_dials_itself() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(serve(listener));
        let path = format!("/dial?host=127.0.0.1&port={port}&request=echo%3Fmsg%3Dhello&tries=2");
        let body = http::get("127.0.0.1", port, &path).await.unwrap();
        assert_eq!(body, r#"{"responses":["hello","hello"]}"#);
        let path = format!("/dial?host=127.0.0.1&port={port}&request=nowhere");
        let body = http::get("127.0.0.1", port, &path).await.unwrap();
        assert_eq!(body, r#"{"responses":["404 page not found\u000a"]}"#);
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gone_port = gone.local_addr().unwrap().port();
        drop(gone);
        let path = format!("/dial?host=127.0.0.1&port={gone_port}");
        let body = http::get("127.0.0.1", port, &path).await.unwrap();
        assert!(
            body.starts_with(r#"{"errors":["Get \"http://127.0.0.1:"#),
            "{body}"
        );
        let body = http::get("127.0.0.1", port, "/clientip").await.unwrap();
        assert!(body.starts_with("127.0.0.1:"), "{body}");
    }
}
