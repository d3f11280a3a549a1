//! Names to addresses. A static program cannot take the C library's way: that loads others when it is used.
//!
//! /etc/hosts comes first, then the servers of /etc/resolv.conf, with its search list (resolv.conf(5)).

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

const PORT: u16 = 53;
/// How long a server may take, and how often each is asked.
const PATIENCE: Duration = Duration::from_secs(2);
const TRIES: u32 = 2;
/// The most bytes of an answer over UDP.
const ANSWER_BYTES: usize = 4096;
/// Types and classes of records (RFC 1035, 3.2).
const A: u16 = 1;
const IN: u16 = 1;
const NAME_ERROR: u8 = 3;

/// What /etc/resolv.conf says.
#[derive(Debug, PartialEq, Eq)]
struct Config {
    servers: Vec<IpAddr>,
    search: Vec<String>,
    ndots: usize,
}

/// The addresses of a name, or the address that it is.
pub(crate) async fn addresses(name: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(address) = name.trim_matches(['[', ']']).parse() {
        return Ok(vec![address]);
    }
    let read = |path| fs_err::read_to_string(path).unwrap_or_default();
    let found = in_hosts(&read("/etc/hosts"), name);
    if !found.is_empty() {
        return Ok(found);
    }
    let config = Config::of(&read("/etc/resolv.conf"));
    let mut failure = format!("lookup {name}: no such host");
    for candidate in config.candidates(name) {
        match ask_all(&config.servers, &candidate).await {
            Ok(found) if !found.is_empty() => return Ok(found),
            Ok(_) => {}
            Err(error) => failure = format!("lookup {name}: {error}"),
        }
    }
    Err(failure)
}

fn in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|word| word == name).then_some(address)
    });
    lines.collect()
}

impl Config {
    fn of(text: &str) -> Self {
        let mut config = Self {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
        };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => config
                    .servers
                    .extend(words.filter_map(|it| it.parse::<IpAddr>().ok())),
                Some("search") => config.search = words.map(str::to_owned).collect(),
                Some("options") => {
                    let ndots = |word: &str| word.strip_prefix("ndots:")?.parse().ok();
                    config.ndots = words.find_map(ndots).unwrap_or(config.ndots);
                }
                _ => {}
            }
        }
        config
    }

    /// The full names that are asked for, in order.
    fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(name) = name.strip_suffix('.') {
            return vec![name.to_owned()];
        }
        let searched = self.search.iter().map(|domain| format!("{name}.{domain}"));
        let mut all: Vec<String> = searched.collect();
        let place = if name.matches('.').count() >= self.ndots {
            0
        } else {
            all.len()
        };
        all.insert(place, name.to_owned());
        all
    }
}

async fn ask_all(servers: &[IpAddr], name: &str) -> Result<Vec<IpAddr>, String> {
    let mut failure = "no nameserver in /etc/resolv.conf".to_owned();
    for _ in 0..TRIES {
        for server in servers {
            let asked = timeout(PATIENCE, ask(SocketAddr::new(*server, PORT), name)).await;
            match asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(found) => return Ok(found),
                Err(error) => failure = format!("on {server}: {error}"),
            }
        }
    }
    Err(failure)
}

async fn ask(server: SocketAddr, name: &str) -> io::Result<Vec<IpAddr>> {
    let any = if server.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    // Another port for each question, so its number is not what tells answers apart.
    let number = socket.local_addr()?.port();
    socket.send(&question(number, name)?).await?;
    let mut answer = vec![0; ANSWER_BYTES];
    loop {
        let length = socket.recv(&mut answer).await?;
        if answer[..length].starts_with(&number.to_be_bytes()) {
            return read(&answer[..length]).ok_or_else(|| io::ErrorKind::InvalidData.into());
        }
    }
}

/// A message that asks for the IPv4 addresses of a name, recursively (RFC 1035, 4).
fn question(number: u16, name: &str) -> io::Result<Vec<u8>> {
    let mut message = number.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        let length = u8::try_from(label.len())
            .ok()
            .filter(|length| (1..64).contains(length));
        message.push(length.ok_or(io::ErrorKind::InvalidInput)?);
        message.extend(label.as_bytes());
    }
    message.push(0);
    for word in [A, IN] {
        message.extend(word.to_be_bytes());
    }
    Ok(message)
}

/// The addresses in an answer; none where there is no such name.
fn read(message: &[u8]) -> Option<Vec<IpAddr>> {
    let word = |at: usize| {
        Some(u16::from_be_bytes([
            *message.get(at)?,
            *message.get(at + 1)?,
        ]))
    };
    let code = *message.get(3)? & 15;
    if code == NAME_ERROR {
        return Some(Vec::new());
    }
    if code != 0 {
        return None;
    }
    let mut at = 12;
    for _ in 0..word(4)? {
        at = after_name(message, at)? + 4;
    }
    let mut found = Vec::new();
    for _ in 0..word(6)? {
        at = after_name(message, at)?;
        let (kind, class, length) = (word(at)?, word(at + 2)?, usize::from(word(at + 8)?));
        let data = message.get(at + 10..at + 10 + length)?;
        if let (A, IN, [a, b, c, d]) = (kind, class, data) {
            found.push(Ipv4Addr::new(*a, *b, *c, *d).into());
        }
        at += 10 + length;
    }
    Some(found)
}

/// Where a name ends: with an empty label, or with a pointer to the rest of it.
fn after_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            192.. => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_for_as_in_a_pod() {
        let text = "nameserver 10.32.0.10\nsearch default.svc.cluster.local svc.cluster.local\noptions ndots:5\n";
        let config = Config::of(text);
        assert_eq!(config.servers, ["10.32.0.10".parse::<IpAddr>().unwrap()]);
        let all = [
            "web.default.svc.cluster.local",
            "web.svc.cluster.local",
            "web",
        ];
        assert_eq!(config.candidates("web"), all);
        assert_eq!(config.candidates("web.example."), ["web.example"]);
        assert_eq!(Config::of("search a\n").candidates("b.c"), ["b.c", "b.c.a"]);
    }

    #[test]
    fn hosts_are_known_by_each_of_their_names() {
        let text = "127.0.0.1 localhost # here\n10.0.0.1 one web\n10.0.0.2 two web\n";
        assert_eq!(in_hosts(text, "web").len(), 2);
        assert!(in_hosts(text, "here").is_empty());
    }

    #[test]
    fn answers_give_their_addresses() {
        let mut message = question(7, "web.example").unwrap();
        let asked = message.len();
        message[2] = 0x81;
        message[7] = 2;
        // An alias, then an address.
        message.extend([192, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 2, 192, 12]);
        message.extend([192, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 32, 0, 80]);
        assert_eq!(read(&message), Some(vec!["10.32.0.80".parse().unwrap()]));
        assert_eq!(read(&message[..asked + 3]), None);
        message[3] = NAME_ERROR;
        assert_eq!(read(&message), Some(Vec::new()));
        message[3] = 2;
        assert_eq!(read(&message), None);
        assert!(question(7, "a..b").is_err());
    }
}
