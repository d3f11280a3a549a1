//! Asking on the node itself, with curl or openssl, where its sshd lets no port be reached.

use std::net::IpAddr;

use super::{ANSWER_BYTES_MAX, Answer};
use crate::manifest::Probe;
use crate::script;
use crate::secret::Secret;
use crate::transport::{self, Body, Piece, Transport};

/// What there is on a node to ask with.
pub struct Tools {
    curl: bool,
    openssl: bool,
}

impl Tools {
    /// Looks.
    pub async fn of(transport: &Transport) -> Result<Self, transport::Error> {
        let words = ["look", "", ""];
        let output = transport.run(script::ASK, &words, Body::default()).await?;
        let has = |tool: &str| output.lines().any(|line| line == tool);
        Ok(Self {
            curl: has("curl"),
            openssl: has("openssl"),
        })
    }

    /// Whether a certificate can be looked at.
    pub(super) fn has_openssl(&self) -> bool {
        self.openssl
    }

    /// The one that a service is asked with, if there is one.
    pub fn name(&self) -> Option<&'static str> {
        match (self.curl, self.openssl) {
            (true, _) => Some("curl"),
            (false, true) => Some("openssl"),
            (false, false) => None,
        }
    }
}

/// Why a node cannot be asked at all.
pub const NO_TOOLS: &str =
    "sshd forbids forwarding to it, and the node has neither curl nor openssl to ask with";

/// Asks once. The certificate and its key, if one is shown, travel on the standard input.
pub(super) async fn get(
    transport: &Transport,
    address: IpAddr,
    probe: &Probe,
    authority: Option<&str>,
    identity: Option<&Secret>,
) -> Result<Answer, transport::Error> {
    let mut input = Vec::new();
    let parts = [
        ("ca", authority.map(str::as_bytes)),
        ("identity", identity.map(Secret::expose)),
    ];
    for (name, pem) in parts {
        let Some(pem) = pem else { continue };
        input.extend_from_slice(format!("part {name}\n").as_bytes());
        input.extend_from_slice(pem.trim_ascii_end());
        input.push(b'\n');
    }
    input.extend_from_slice(b"end\n");
    let body = Body {
        pieces: vec![Piece::Bytes(Secret::new(input))],
        ..Body::default()
    };
    let (address, port) = (in_url(address), probe.port.to_string());
    let scheme = probe.scheme.word();
    let words = ["get", &address, &port, &probe.path, scheme];
    let output = transport.run(script::ASK, &words, body).await?;
    Ok(read(&output))
}

/// The certificate that is served on a port, in PEM; nothing if none is.
pub(super) async fn certificate(
    transport: &Transport,
    address: IpAddr,
    port: u16,
) -> Result<Option<String>, transport::Error> {
    let (address, port) = (in_url(address), port.to_string());
    let words = ["certificate", address.as_str(), port.as_str()];
    let pem = transport.run(script::ASK, &words, Body::default()).await?;
    Ok(Some(pem).filter(|pem| pem.contains("BEGIN CERTIFICATE")))
}

fn in_url(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// Takes a raw answer apart.
fn read(output: &str) -> Answer {
    if output == "no tool\n" {
        return Answer::NotAsked(NO_TOOLS.to_owned());
    }
    if let Some(why) = output.strip_prefix("failed ") {
        return Answer::Failed(why.trim().to_owned());
    }
    let whole = output.split_once("\r\n\r\n");
    let (head, body) = whole.unwrap_or((output, ""));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let Some(status) = status.and_then(|status| status.parse().ok()) else {
        return Answer::Failed("it does not answer in HTTP".to_owned());
    };
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        value.trim().parse::<usize>().ok().filter(|_| is_length)
    });
    if body.len() > ANSWER_BYTES_MAX {
        return Answer::too_large();
    }
    if length.is_some_and(|length| length > body.len()) {
        return Answer::Failed("its answer broke off".to_owned());
    }
    Answer::Given {
        status,
        text: body.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(output: &str, expected: &str) {
        let told = match read(output) {
            Answer::Given { status, text } => format!("{status} {text}"),
            Answer::Failed(why) => why,
            Answer::NotAsked(why) => unreachable!("{why}"),
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn only_a_whole_answer_counts() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "200 ok");
        check("HTTP/1.0 500 Bad\r\nA: b\r\n\r\n[-]etcd", "500 [-]etcd");
        check(
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok",
            "its answer broke off",
        );
        check("failed curl: (7) refused\n", "curl: (7) refused");
        check("SSH-2.0-OpenSSH\r\n", "it does not answer in HTTP");
        check("", "it does not answer in HTTP");
        let endless = format!(
            "HTTP/1.1 200 OK\r\n\r\n{}",
            "A".repeat(ANSWER_BYTES_MAX + 1)
        );
        check(&endless, "its answer is longer than 64 KiB");
    }
}
