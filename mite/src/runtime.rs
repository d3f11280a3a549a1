//! Stand-ins for what runs containers on a worker. Nothing is run: containerd says that it is ready and listens,
//! ctr reads images to their end and remembers their names, and one without a server to be says its version.

use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::path::Path;

use tokio::io::AsyncReadExt as _;
use tokio::net::UnixListener;

use crate::process;
use crate::say::{line, talk};

/// What the line behind the ELF file begins with; `standin` writes it.
const MARK: &str = "kinstall-standin";
/// More than that line.
const TAIL_BYTES: u64 = 128;

const SOCKET: &str = "/run/containerd/containerd.sock";
const DATA: &str = "/var/lib/containerd";
/// Where the names of imported images are remembered, below [`DATA`].
const IMAGES: &str = "standin-images";
/// By which an archive names an image: containerd's own, and any tool's.
const NAMES: [&str; 2] = [
    "\"io.containerd.image.name\":\"",
    "\"org.opencontainers.image.ref.name\":\"",
];

/// Which program of which version this is a stand-in for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    name: String,
    version: String,
}

/// Who this process is, if it is anyone's stand-in.
pub(crate) fn own() -> io::Result<Option<Identity>> {
    let mut file = fs_err::File::open("/proc/self/exe")?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    Ok(identity(&String::from_utf8_lossy(&tail)))
}

fn identity(tail: &str) -> Option<Identity> {
    let line = tail.strip_suffix('\n')?.rsplit('\n').next()?;
    let mut words = line.strip_prefix(MARK)?.split_whitespace();
    Some(Identity {
        name: words.next()?.to_owned(),
        version: words.next()?.to_owned(),
    })
}

/// Does what the program of that name does, as far as it is imitated.
pub(crate) async fn run(identity: &Identity, words: &[String]) -> Result<(), String> {
    let Identity { name, version } = identity;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if matches!(words.as_slice(), ["--version" | "-v" | "-version"]) {
        line(&match name.as_str() {
            "containerd" => {
                format!("containerd github.com/containerd/containerd v{version} stand-in")
            }
            "ctr" => format!("ctr github.com/containerd/containerd v{version} (stand-in)"),
            "crictl" => format!("crictl version v{version} (stand-in)"),
            _ => format!("{name} version {version} (stand-in)"),
        });
        return Ok(());
    }
    match name.as_str() {
        "containerd" => containerd(&words).await,
        "ctr" => ctr(&words),
        // There are no Pods and no containers to tell of, or to remove.
        "crictl" => {
            talk("the stand-in for crictl knows of nothing");
            Ok(())
        }
        _ => Err(format!("the stand-in for {name} does nothing")),
    }
}

/// Listens until it is told to stop.
async fn containerd(words: &[&str]) -> Result<(), String> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let config = match *word {
            "--config" | "-c" => words.next().copied(),
            word => word.strip_prefix("--config="),
        };
        if let Some(path) = config
            && !Path::new(path).is_file()
        {
            return Err(format!(
                "containerd: failed to load TOML from {path}: no such file"
            ));
        }
    }
    let failed = |error: io::Error| format!("containerd: {error}");
    let directory = Path::new(SOCKET).parent().unwrap_or(Path::new("/run"));
    for directory in [directory, Path::new(DATA)] {
        fs_err::create_dir_all(directory).map_err(failed)?;
    }
    if Path::new(SOCKET).exists() {
        fs_err::remove_file(SOCKET).map_err(failed)?;
    }
    let listener = UnixListener::bind(SOCKET).map_err(failed)?;
    let accept = async || -> io::Result<()> {
        loop {
            // Who calls is let in, and shown out; what ctr says is what there is from now on.
            let Ok((mut stream, _)) = listener.accept().await else {
                continue;
            };
            let mut text = String::new();
            if stream.read_to_string(&mut text).await.is_ok() && !text.is_empty() {
                fs_err::write(Path::new(DATA).join(IMAGES), text)?;
            }
        }
    };
    ready().map_err(failed)?;
    tokio::select! {
        stopped = process::pause() => stopped.map_err(failed)?,
        failure = accept() => failure.map_err(failed)?,
    }
    fs_err::remove_file(SOCKET).map_err(failed)
}

/// Tells systemd, where it listens, that the service is up (`sd_notify(3)`).
fn ready() -> io::Result<()> {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let address = match name.as_encoded_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(&name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.send_to_addr(b"READY=1\n", &address).map(drop)
}

/// Imports, lists and removes images, by their names.
fn ctr(words: &[&str]) -> Result<(), String> {
    let failed = |error: io::Error| format!("ctr: {error}");
    let (mut socket, mut verbs, mut words) = (SOCKET, Vec::new(), words.iter().copied());
    while let Some(word) = words.next() {
        match word {
            "-a" | "--address" => socket = words.next().unwrap_or_default(),
            "-n" | "--namespace" => drop(words.next()),
            word if word.starts_with('-') && word.len() > 1 => {
                socket = word.strip_prefix("--address=").unwrap_or(socket);
            }
            word => verbs.push(word),
        }
    }
    UnixStream::connect(socket)
        .map_err(|error| format!("ctr: failed to dial {socket:?}: connection error: {error}"))?;
    let path = Path::new(DATA).join(IMAGES);
    let mut known: Vec<String> = fs_err::read_to_string(&path)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect();
    match verbs.as_slice() {
        ["i" | "image" | "images", "import", file, ..] => {
            let bytes = match *file {
                "-" => read(io::stdin()),
                file => fs_err::File::open(file).and_then(read),
            };
            for name in names(&bytes.map_err(failed)?) {
                line(&format!("unpacking {name}...done"));
                known.retain(|other| *other != name);
                known.push(name);
            }
        }
        // Nothing is remembered of labels, neither to be listed by one.
        ["i" | "image" | "images", "label", name, ..]
            if known.iter().any(|known| known == name) =>
        {
            return Ok(());
        }
        ["i" | "image" | "images", "ls" | "list" | "check", ..] => {
            for name in &known {
                line(name);
            }
            return Ok(());
        }
        [
            "i" | "image" | "images",
            "rm" | "remove" | "delete" | "del",
            gone @ ..,
        ] => {
            known.retain(|name| !gone.contains(&name.as_str()));
        }
        ["i" | "image" | "images", "tag", from, to @ ..]
            if known.iter().any(|name| name == from) =>
        {
            known.extend(to.iter().map(|&name| name.to_owned()));
        }
        ["version"] => {
            line("Server: stand-in");
            return Ok(());
        }
        other => return Err(format!("ctr: the stand-in knows no `{}`", other.join(" "))),
    }
    let text: String = known.iter().flat_map(|name| [name, "\n"]).collect();
    remember(socket, &text).map_err(failed)
}

/// Has containerd remember the names: anyone who calls it need not be able to write.
fn remember(socket: &str, names: &str) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(names.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    // It closes when it is done.
    stream.read_to_end(&mut Vec::new()).map(drop)
}

fn read(mut archive: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    archive.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The names that an archive gives to its images, in whatever file of it: containerd's where there are any.
fn names(archive: &[u8]) -> Vec<String> {
    let text: String = String::from_utf8_lossy(archive).replace("\": \"", "\":\"");
    let found = NAMES.map(|before| {
        let after = text.split(before).skip(1);
        let names = after.filter_map(|rest| rest.split('"').next());
        names.map(str::to_owned).collect::<Vec<_>>()
    });
    found
        .into_iter()
        .find(|names| !names.is_empty())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_behind_the_program_says_who_it_is() {
        let found = identity("\u{7f}ELF..\nkinstall-standin ctr 2.0.11\n").unwrap();
        assert_eq!(
            (found.name.as_str(), found.version.as_str()),
            ("ctr", "2.0.11")
        );
        assert_eq!(identity("\u{7f}ELF.."), None);
    }

    #[test]
    fn images_have_the_names_that_their_archive_gives() {
        let both = br#"{"annotations": {"io.containerd.image.name": "a.example/b:1", "org.opencontainers.image.ref.name": "1"}}"#;
        assert_eq!(names(both), ["a.example/b:1"]);
        let any = br#"{"org.opencontainers.image.ref.name":"a.example/c:2"}"#;
        assert_eq!(names(any), ["a.example/c:2"]);
        assert!(names(b"no image").is_empty());
    }
}
