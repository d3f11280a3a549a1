//! Checksums as upstream and mirrors publish them. Pure.
//!
//! `dl.k8s.io` serves the bare digest without a newline; etcd's `SHA256SUMS` and what `sha256sum` writes have one
//! `digest  name` a line. runc's list stands in a message that PGP has signed (RFC 9580, 7): its lines are the same,
//! those around them are no digests. The signature is not verified. Nothing but SHA-256 is read.

use crate::digest::Digest;

/// A checksum file is refused when it is longer than this, in bytes: etcd's is about 2 KiB.
pub(super) const CHECKSUM_BYTES_MAX: usize = 64 * 1024;

/// How much of a page is looked at to see what it says, in bytes.
pub(super) const PAGE_BYTES: usize = 2048;

/// The digest that a checksum file states for the file of a name; an error says why there is none.
pub(super) fn parse(text: &[u8], name: &str) -> Result<Digest, String> {
    if text.len() > CHECKSUM_BYTES_MAX {
        let limit = CHECKSUM_BYTES_MAX;
        return Err(format!("the checksum file is longer than {limit} bytes"));
    }
    if let Some(title) = page(text) {
        return Err(format!("a web page came instead of a checksum: `{title}`"));
    }
    let text = String::from_utf8_lossy(text);
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Err("the checksum file is empty".to_owned());
    }
    let mut words = text.split_ascii_whitespace();
    if let (Some(word), None) = (words.next(), words.next()) {
        return word.parse().map_err(|_| no_digest(word));
    }
    listed(text, name)
}

fn listed(text: &str, name: &str) -> Result<Digest, String> {
    let mut found = None;
    let mut digests = 0;
    for line in text.lines().map(str::trim) {
        let Some((word, file)) = line.split_once(|c: char| c.is_ascii_whitespace()) else {
            continue;
        };
        let Ok(digest) = word.parse::<Digest>() else {
            continue;
        };
        digests += 1;
        // `sha256sum --binary` marks names with an asterisk; some lists give a path.
        let file = file.trim_start().trim_start_matches(['*', '.', '/']);
        if file.rsplit('/').next() != Some(name) {
            continue;
        }
        if found.is_some_and(|earlier| earlier != digest) {
            return Err(format!("the checksum file lists `{name}` with two digests"));
        }
        found = Some(digest);
    }
    if digests == 0 {
        return Err(no_digest(text));
    }
    found.ok_or_else(|| format!("the checksum file does not list `{name}`"))
}

fn no_digest(text: &str) -> String {
    format!("`{}` is not a digest", excerpt(text))
}

/// The title of a web page or XML error, if the bytes begin one: what captive portals, proxies and
/// object stores answer in place of a file.
pub(super) fn page(start: &[u8]) -> Option<String> {
    let start = &start[..start.len().min(PAGE_BYTES)];
    let text = String::from_utf8_lossy(start);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let lower = text.to_ascii_lowercase();
    let marks = ["<!doctype", "<html", "<head", "<?xml", "<error", "<body"];
    if !marks.iter().any(|mark| lower.starts_with(mark)) {
        return None;
    }
    let titles = [("<title>", "</title>"), ("<message>", "</message>")];
    let title = titles.iter().find_map(|(open, close)| {
        let from = lower.find(open)? + open.len();
        let to = from + lower[from..].find(close)?;
        Some(excerpt(text[from..to].trim()))
    });
    Some(title.unwrap_or_else(|| excerpt(text)))
}

fn excerpt(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const B: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[track_caller]
    fn check(text: &str, digest: &str) {
        assert_eq!(
            parse(text.as_bytes(), "kubectl"),
            Ok(digest.parse().unwrap())
        );
    }

    #[track_caller]
    fn refuse(text: &str, message: &str) {
        let error = parse(text.as_bytes(), "kubectl").unwrap_err();
        assert_eq!(error, message);
    }

    #[test]
    fn every_usual_form_is_read() {
        check(A, A);
        check(&format!("{A}\n"), A);
        check(&A.to_uppercase(), A);
        check(&format!("\u{feff}{A}\r\n"), A);
        check(&format!("{A}  kubectl\n"), A);
        check(&format!("{A} *kubectl\r\n"), A);
        check(&format!("{A}  ./bin/linux/arm64/kubectl\n"), A);
        check(&format!("### SHA256SUMS\n{A}  kubectl\n{B}  kubelet\n"), A);
        check(
            &format!("{B}  kubectl.sig\n{A}  kubectl\n{A}  kubectl\n"),
            A,
        );
    }

    #[test]
    fn a_list_is_read_out_of_a_signed_message() {
        let signed = format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{B}  kubectl.arm64\n{A}  kubectl\n\
             -----BEGIN PGP SIGNATURE-----\n\niQEzBAEBCgAdFiEE\n=AbCd\n-----END PGP SIGNATURE-----\n"
        );
        check(&signed, A);
        refuse(
            &signed.replace("  kubectl\n", "  kubelet\n"),
            "the checksum file does not list `kubectl`",
        );
        refuse(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n",
            "`-----BEGIN PGP SIGNED MESSAGE-----` is not a digest",
        );
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        refuse("", "the checksum file is empty");
        refuse(" \r\n", "the checksum file is empty");
        refuse("not found", "`not found` is not a digest");
        refuse(&A[1..], &format!("`{}` is not a digest", &A[1..61]));
        // A SHA-512.
        refuse(&A.repeat(2), &format!("`{}` is not a digest", &A[..60]));
        refuse(
            &format!("{A}  kubelet\n"),
            "the checksum file does not list `kubectl`",
        );
        refuse(
            &format!("{A}  kubectl\n{B}  kubectl\n"),
            "the checksum file lists `kubectl` with two digests",
        );
        refuse(
            "<!DOCTYPE html><title>Log in</title>",
            "a web page came instead of a checksum: `Log in`",
        );
    }

    #[test]
    fn pages_are_known_by_how_they_begin() {
        let xml = b"<?xml version='1.0'?><Error><Message>No such key</Message></Error>";
        assert_eq!(page(xml).unwrap(), "No such key");
        assert_eq!(page(b"\n <HTML><body>hi").unwrap(), "<HTML><body>hi");
        assert_eq!(page(b"\x7fELF\x02\x01"), None);
        assert_eq!(page(b""), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (parse(&bytes, "kubectl"), page(&bytes));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            let text = format!("<html>{text}<title>{text}");
            let _ = (parse(text.as_bytes(), "kubectl"), page(text.as_bytes()));
        }
    }
}
