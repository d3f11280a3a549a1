//! systemd's `READY=1`, by the protocol of `sd_notify(3)`: a datagram to `$NOTIFY_SOCKET`.

use std::{
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

/// Tells systemd, when it listens, that the service is up.
pub(crate) fn ready() -> io::Result<()> {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    send(name.as_encoded_bytes(), b"READY=1\n")
}

/// A name that begins with `@` is an abstract socket, any other a path.
fn send(name: &[u8], message: &[u8]) -> io::Result<()> {
    let address = match name {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(String::from_utf8_lossy(path).as_ref())?,
    };
    UnixDatagram::unbound()?
        .send_to_addr(message, &address)
        .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(listener: &UnixDatagram, name: &[u8]) {
        send(name, b"READY=1\n").unwrap();
        let mut buffer = [0; 32];
        let length = listener.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1\n");
    }

    #[test]
    fn both_kinds_of_socket_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        check(
            &UnixDatagram::bind(&path).unwrap(),
            path.as_os_str().as_encoded_bytes(),
        );
        let name = format!("kinstall-standin-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        check(
            &UnixDatagram::bind_addr(&address).unwrap(),
            format!("@{name}").as_bytes(),
        );
    }
}
