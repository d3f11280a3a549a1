//! The socket of a KMS plugin, as Go's `net/url` reads it. Pure.

/// Why kube-apiserver does not take an endpoint.
pub(super) fn check(endpoint: &str) -> Result<(), &'static str> {
    if endpoint.is_empty() {
        return Err("is no endpoint");
    }
    // Of what follows the first `#` Go checks the escapes alone.
    let (rest, fragment) = endpoint.split_once('#').unwrap_or((endpoint, ""));
    if rest.chars().any(|char| char < ' ' || char == '\u{7f}') {
        return Err("has a control character");
    }
    let is_unix = |scheme: &str| scheme.eq_ignore_ascii_case("unix");
    let rest = match rest.split_once(':') {
        Some((scheme, rest)) if is_unix(scheme) => rest,
        _ => return Err("is no UNIX socket"),
    };
    let (rest, _query) = rest.split_once('?').unwrap_or((rest, ""));
    let is_right = match rest.strip_prefix("//") {
        Some(rest) if !rest.starts_with('/') => {
            let at = rest.find('/').unwrap_or(rest.len());
            is_authority(&rest[..at]) && has_right_escapes(&rest[at..])
        }
        // Without a slash it is passed on as it is.
        _ => !rest.starts_with('/') || has_right_escapes(rest),
    };
    if is_right && has_right_escapes(fragment) {
        Ok(())
    } else {
        Err("is no URL")
    }
}

/// Each `%` is followed by two hexadecimal digits.
fn has_right_escapes(text: &str) -> bool {
    let mut parts = text.split('%').skip(1);
    parts.all(|part| {
        let digits = part.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// `[user@]host[:port]`.
fn is_authority(text: &str) -> bool {
    let (user, host) = text.rsplit_once('@').unwrap_or(("", text));
    let is_mark = |byte: u8| b"-._:~!$&'()*+,;=%@".contains(&byte);
    let is_user = user
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || is_mark(byte));
    let (name, port) = match host.strip_prefix('[') {
        Some(bracketed) => match bracketed.rsplit_once(']') {
            Some((name, port)) => (name, port),
            None => return false,
        },
        None => host.find(':').map_or((host, ""), |_| {
            host.split_at(host.rfind(':').unwrap_or(host.len()))
        }),
    };
    let is_port = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    is_user && has_right_escapes(user) && is_port && is_host(name, host.starts_with('['))
}

/// A name or an address, which may have a zone where it stands in brackets.
fn is_host(name: &str, in_brackets: bool) -> bool {
    let zone_at = name.find(ZONE).filter(|_| in_brackets);
    let (name, zone) = name.split_at(zone_at.unwrap_or(name.len()));
    // No name of a host is written with escapes of what is plain, but of `%` itself.
    let is_escape = |escape: &str, byte: u8| escape == ZONE || byte >= 0x80;
    let is_zone_escape =
        |escape: &str, byte: u8| escape == ZONE || byte == b' ' || is_of_host(byte);
    is_escaped(name, is_escape) && is_escaped(zone, is_zone_escape)
}

/// The escape of `%`, by which a zone begins (RFC 6874).
const ZONE: &str = "%25";

/// What a host's name may hold; each escape, and the byte that it stands for, is for `is_right` to say.
fn is_escaped(text: &str, is_right: impl Fn(&str, u8) -> bool) -> bool {
    let mut parts = text.split('%');
    let plain = |text: &str| text.bytes().all(|byte| byte >= 0x80 || is_of_host(byte));
    parts.next().is_some_and(plain)
        && has_right_escapes(text)
        && parts.all(|part| {
            let (digits, rest) = part.split_at(2);
            let byte = u8::from_str_radix(digits, 16).unwrap_or_default();
            is_right(&format!("%{digits}"), byte) && plain(rest)
        })
}

fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_takes_is_taken() {
        for endpoint in [
            "unix:///run/kms.sock",
            "unix:///@abstract",
            "unix://@run/kms.sock",
            "unix://run/kms.sock",
            "unix:/run/kms.sock",
            "unix:run/kms.sock",
            "UNIX:///run/kms.sock",
            "unix:///run/a%20b.sock",
            "unix:///run/a b.sock",
            "unix://host:80/kms.sock",
            "unix:///run/kms.sock?x=%zz",
            "unix://[::1]:80/kms.sock",
            "unix://a%25b/kms.sock",
            "unix://%c3%a9/kms.sock",
            "unix://[fe80::1%25en0]/kms.sock",
            "unix://[fe80::1%25%41%20%25]/kms.sock",
            "unix:///run/kms.sock#\u{7f}",
        ] {
            assert_eq!(check(endpoint), Ok(()), "{endpoint}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for (endpoint, why) in [
            ("", "is no endpoint"),
            ("/run/kms.sock", "is no UNIX socket"),
            ("http://127.0.0.1:1", "is no UNIX socket"),
            ("unixx:///run/kms.sock", "is no UNIX socket"),
            ("unix:///run/kms\n.sock", "has a control character"),
            ("unix:///run/kms%2.sock", "is no URL"),
            ("unix:///run/kms.sock#%", "is no URL"),
            ("unix://ho st/kms.sock", "is no URL"),
            ("unix://host:port/kms.sock", "is no URL"),
            ("unix://[::1/kms.sock", "is no URL"),
            ("unix://a%41b/kms.sock", "is no URL"),
            ("unix://a%2/kms.sock", "is no URL"),
            ("unix://[fe80::1%41]/kms.sock", "is no URL"),
            ("unix://[fe80::1%25%0a]/kms.sock", "is no URL"),
            ("unix://us er@host/kms.sock", "is no URL"),
        ] {
            assert_eq!(check(endpoint), Err(why), "{endpoint:?}");
        }
    }
}
