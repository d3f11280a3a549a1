//! A text with words in braces, filled in for each node: `etcd.az{zone}.k8s.home`.

use std::fmt;

/// The words that a pattern may have in braces.
pub const WORDS: [&str; 8] = [
    "node",
    "zone",
    "address",
    "domain",
    "certificate",
    "set",
    "cluster",
    "user",
];

/// A text with words in braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
}

/// What is wrong with a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It has no text.
    Empty,
    /// A brace is not closed, or not opened.
    Brace,
    /// A word that is none of [`WORDS`].
    Setting(String),
}

/// A piece of a pattern.
enum Piece<'a> {
    Text(&'a str),
    Setting(&'a str),
}

impl Pattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        if text.is_empty() {
            return Err(Fault::Empty);
        }
        for piece in pieces(text).ok_or(Fault::Brace)? {
            if let Piece::Setting(word) = piece
                && !WORDS.contains(&word)
            {
                return Err(Fault::Setting(word.to_owned()));
            }
        }
        Ok(Self {
            text: text.to_owned(),
        })
    }

    /// Whether it has a word in it.
    pub fn has(&self, word: &str) -> bool {
        self.text.contains(&format!("{{{word}}}"))
    }

    /// Whether it says another thing for each node.
    pub fn is_of_a_node(&self) -> bool {
        ["node", "zone", "address", "domain"]
            .iter()
            .any(|word| self.has(word))
    }

    /// The text with its words filled in, or the word that there is nothing for.
    pub fn fill(&self, word: impl Fn(&str) -> Option<String>) -> Result<String, String> {
        let pieces = pieces(&self.text).unwrap_or_default();
        let filled = pieces.into_iter().map(|piece| match piece {
            Piece::Text(text) => Ok(text.to_owned()),
            Piece::Setting(name) => word(name).ok_or_else(|| name.to_owned()),
        });
        filled.collect()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The pieces of a text; none where its braces do not fit.
fn pieces(text: &str) -> Option<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find(['{', '}']) {
        let (before, after) = rest.split_at(open);
        let (word, behind) = after.strip_prefix('{')?.split_once('}')?;
        if word.contains('{') {
            return None;
        }
        pieces.extend((!before.is_empty()).then_some(Piece::Text(before)));
        pieces.push(Piece::Setting(word));
        rest = behind;
    }
    pieces.extend((!rest.is_empty()).then_some(Piece::Text(rest)));
    Some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let words = |word: &str| (word != "zone").then(|| word.to_uppercase());
        let told = match Pattern::parse(text) {
            Ok(pattern) => match pattern.fill(words) {
                Ok(text) => text,
                Err(word) => format!("nothing for {word}"),
            },
            Err(fault) => format!("{fault:?}"),
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn words_in_braces_are_filled_in() {
        check("plain", "plain");
        check("{node}", "NODE");
        check("a.{node}.b-{cluster}", "a.NODE.b-CLUSTER");
        check("az{zone}", "nothing for zone");
        check("az{zoen}", "Setting(\"zoen\")");
        check("", "Empty");
        for broken in ["{", "}", "a{b", "a}b", "{{node}}", "{node}}"] {
            check(broken, "Brace");
        }
    }
}
