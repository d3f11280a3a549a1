//! The package mirror this machine itself uses: nodes come from the same one.
//!
//! apt's sources exist in two formats (sources.list(5)): one line an entry, and deb822 stanzas.

use super::error::Error;

/// One mirror and the releases that are taken from it.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    uri: String,
    suites: Vec<String>,
}

/// The URI of the mirror for a release, read from this machine's apt sources.
pub(super) fn find(suite: &str) -> Result<String, Error> {
    let mut entries = Vec::new();
    for (path, parse) in sources()? {
        entries.extend(parse(&fs_err::read_to_string(path)?));
    }
    choose(&entries, suite).ok_or_else(|| Error::Mirror {
        suite: suite.to_owned(),
    })
}

type Parse = fn(&str) -> Vec<Entry>;

/// The files that apt reads, with the format of each.
fn sources() -> Result<Vec<(std::path::PathBuf, Parse)>, Error> {
    let mut files: Vec<(_, Parse)> = Vec::new();
    let classic = std::path::Path::new("/etc/apt/sources.list");
    if classic.exists() {
        files.push((classic.to_owned(), lines));
    }
    let Ok(directory) = fs_err::read_dir("/etc/apt/sources.list.d") else {
        return Ok(files);
    };
    for item in directory {
        let path = item?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => files.push((path, lines)),
            Some("sources") => files.push((path, stanzas)),
            _ => {}
        }
    }
    files.sort();
    Ok(files)
}

/// The mirror that serves the release itself; for a release this machine does not use, the one
/// that serves any release whole (not only its updates).
fn choose(entries: &[Entry], suite: &str) -> Option<String> {
    let whole = |entry: &&Entry| {
        entry
            .suites
            .first()
            .is_some_and(|first| !first.contains(['-', '/']))
    };
    let exact = entries
        .iter()
        .find(|entry| entry.suites.iter().any(|own| own == suite));
    let entry = exact.or_else(|| entries.iter().find(whole))?;
    Some(entry.uri.clone())
}

/// `deb [options] URI SUITE COMPONENT...`
fn lines(text: &str) -> Vec<Entry> {
    text.lines().filter_map(entry_of_line).collect()
}

fn entry_of_line(line: &str) -> Option<Entry> {
    let rest = line.split('#').next()?.trim().strip_prefix("deb")?;
    let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?.1,
        None => rest,
    };
    let mut words = rest.split_whitespace();
    let uri = words.next().filter(|uri| is_http(uri))?.to_owned();
    Some(Entry {
        uri,
        suites: vec![words.next()?.to_owned()],
    })
}

/// Stanzas of `Field: value`, an empty line between them.
fn stanzas(text: &str) -> Vec<Entry> {
    let kept = text.lines().filter(|line| !line.starts_with('#'));
    let text: String = kept.flat_map(|line| [line, "\n"]).collect();
    text.split("\n\n").filter_map(entry_of_stanza).collect()
}

fn entry_of_stanza(stanza: &str) -> Option<Entry> {
    let field = |name: &str| {
        let mut pairs = stanza.lines().filter_map(|line| line.split_once(':'));
        pairs
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    };
    if field("Enabled").is_some_and(|value| value.trim() == "no") {
        return None;
    }
    field("Types")?
        .split_whitespace()
        .find(|kind| *kind == "deb")?;
    let uri = field("URIs")?
        .split_whitespace()
        .find(|uri| is_http(uri))?
        .to_owned();
    let suites = field("Suites")?
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    Some(Entry { uri, suites })
}

fn is_http(uri: &str) -> bool {
    uri.starts_with("http://") || uri.starts_with("https://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(entries: &[Entry], suite: &str, expected: Option<&str>) {
        assert_eq!(choose(entries, suite).as_deref(), expected);
    }

    #[test]
    fn debian_stanzas() {
        let text = "Types: deb deb-src\n# an older one\nURIs: http://a.example/debian-security\n\
            Suites: bookworm-security\nComponents: main\n\n\
            Types: deb\nURIs: http://a.example/debian\nSuites: bookworm bookworm-updates\n";
        check(&stanzas(text), "bookworm", Some("http://a.example/debian"));
        check(&stanzas(text), "trixie", Some("http://a.example/debian"));
    }

    #[test]
    fn stanzas_that_are_off_or_only_sources_are_left_out() {
        let off = "Enabled: no\nTypes: deb\nURIs: http://a.example/d\nSuites: noble\n";
        let sources = "Types: deb-src\nURIs: http://a.example/d\nSuites: noble\n";
        let cdrom = "Types: deb\nURIs: cdrom:[x]/\nSuites: noble\n";
        for text in [off, sources, cdrom] {
            check(&stanzas(text), "noble", None);
        }
    }

    #[test]
    fn classic_lines() {
        let text = "# deb http://no.example/ubuntu jammy main\n\
            deb cdrom:[Ubuntu]/ jammy main\n\
            deb-src http://src.example/ubuntu jammy main\n\
            deb [arch=amd64 signed-by=/k.gpg] https://a.example/ubuntu jammy main # why\n";
        check(&lines(text), "jammy", Some("https://a.example/ubuntu"));
        check(&lines(text), "noble", Some("https://a.example/ubuntu"));
    }

    #[test]
    fn a_security_archive_alone_is_no_mirror() {
        let text = "deb http://a.example/debian-security bookworm-security main\n";
        check(&lines(text), "bookworm", None);
    }
}
