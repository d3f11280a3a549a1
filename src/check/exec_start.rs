//! What systemd runs by a unit and its drop-ins: the last word of `ExecStart=`, taken apart as
//! `systemd.service(5)`, "Command lines", and `systemd.syntax(7)` say.

/// What a service starts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Started {
    /// The program.
    pub(super) program: String,
    /// Its arguments.
    pub(super) arguments: Vec<Argument>,
}

/// One argument.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Argument {
    /// As the program gets it; where something is filled in, as it is written.
    pub(super) text: String,
    /// Whether systemd fills in a specifier or a variable.
    pub(super) is_expanded: bool,
}

/// The command line of a unit and its drop-ins, in the order systemd reads them; or why there is
/// none, as a fragment of a sentence.
pub(super) fn started<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Started, String> {
    let mut lines: Vec<String> = Vec::new();
    for text in texts {
        for value in values(text, "ExecStart") {
            if value.is_empty() {
                lines.clear();
            } else {
                lines.push(value);
            }
        }
    }
    match lines.as_slice() {
        [] => Err("the unit says no `ExecStart=`".to_owned()),
        [line] => command(line),
        _ => Err("the unit says several `ExecStart=`".to_owned()),
    }
}

/// The values of a key in `[Service]`, continued lines joined.
pub(super) fn values(text: &str, wanted: &str) -> Vec<String> {
    let mut values = Vec::new();
    let mut in_service = false;
    let mut whole = String::new();
    for line in text.lines() {
        let trimmed = line.trim_start();
        if trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(begun) = line.strip_suffix('\\') {
            whole.push_str(begun);
            whole.push(' ');
            continue;
        }
        whole.push_str(line);
        let line = std::mem::take(&mut whole);
        let line = line.trim();
        if line.starts_with('[') {
            in_service = line == "[Service]";
        } else if let Some((key, value)) = line.split_once('=')
            && in_service
            && key.trim_end() == wanted
        {
            values.push(value.trim().to_owned());
        }
    }
    values
}

fn command(line: &str) -> Result<Started, String> {
    let mut words = words(line)?.into_iter();
    let program = words.next().unwrap_or_default();
    // `@` gives the program another name, the others change how it is run.
    let path = program.text.trim_start_matches(['-', ':', '+', '!', '|']);
    if path.starts_with('@') {
        return Err("`ExecStart=@` gives the program another name".to_owned());
    }
    if program.is_expanded {
        return Err(format!("systemd fills in the program: `{}`", program.text));
    }
    Ok(Started {
        program: path.to_owned(),
        arguments: words.collect(),
    })
}

/// The words of a line, without their quotes, with what they escape.
fn words(line: &str) -> Result<Vec<Argument>, String> {
    let mut words = Vec::new();
    let mut word: Option<Argument> = None;
    let mut quote: Option<char> = None;
    let mut chars = line.chars().peekable();
    while let Some(char) = chars.next() {
        if quote.is_none() && char.is_ascii_whitespace() {
            words.extend(word.take());
            continue;
        }
        let ends = chars.peek().is_none_or(char::is_ascii_whitespace);
        if char == ';' && ends && quote.is_none() && word.is_none() {
            return Err("`ExecStart=` has several commands".to_owned());
        }
        let word = word.get_or_insert_default();
        match (char, quote) {
            (char, Some(open)) if char == open => quote = None,
            ('"' | '\'', None) => quote = Some(char),
            ('\\', _) => word.text.push(escaped(&mut chars)?),
            // Both stand for themselves where they stand twice.
            ('%' | '$', _) if chars.peek() == Some(&char) => {
                chars.next();
                word.text.push(char);
            }
            ('%', _) => {
                word.is_expanded = true;
                word.text.push('%');
            }
            ('$', _) => {
                let next = chars.peek();
                let names =
                    |char: &char| *char == '{' || *char == '_' || char.is_ascii_alphabetic();
                word.is_expanded |= next.is_some_and(names);
                word.text.push('$');
            }
            (char, _) => word.text.push(char),
        }
    }
    if quote.is_some() {
        return Err("a quote in `ExecStart=` is not closed".to_owned());
    }
    words.extend(word);
    Ok(words)
}

/// What stands behind a backslash.
fn escaped(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<char, String> {
    let bad = |what: &str| format!("`\\{what}` in `ExecStart=` means nothing");
    let char = chars.next().ok_or_else(|| bad(""))?;
    let mut code = |digits: usize, radix: u32, first: &str| {
        let mut text = first.to_owned();
        while text.len() < digits {
            text.extend(chars.next_if(|char| char.is_digit(radix)));
            if text.len() < digits && chars.peek().is_none_or(|char| !char.is_digit(radix)) {
                break;
            }
        }
        let code = u32::from_str_radix(&text, radix).ok();
        let complete = text.len() == digits;
        let char = code.filter(|_| complete).and_then(char::from_u32);
        char.filter(|char| *char != '\0').ok_or_else(|| bad(&text))
    };
    match char {
        'a' => Ok('\u{7}'),
        'b' => Ok('\u{8}'),
        'f' => Ok('\u{c}'),
        'n' => Ok('\n'),
        'r' => Ok('\r'),
        't' => Ok('\t'),
        'v' => Ok('\u{b}'),
        's' => Ok(' '),
        '\\' | '"' | '\'' | ';' => Ok(char),
        'x' => code(2, 16, ""),
        'u' => code(4, 16, ""),
        'U' => code(8, 16, ""),
        '0'..='7' => code(3, 8, &char.to_string()),
        other => Err(bad(&other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::exec_argument;
    use proptest::prelude::*;

    #[track_caller]
    fn check(texts: &[&str], expected: Result<(&str, &[&str]), &str>) {
        let found = started(texts.iter().copied());
        let found = found.map(|found| {
            let words = found.arguments.into_iter().map(|word| word.text);
            (found.program, words.collect::<Vec<_>>())
        });
        let expected = expected.map(|(program, words)| {
            let words = words.iter().map(|word| (*word).to_owned());
            (program.to_owned(), words.collect::<Vec<_>>())
        });
        assert_eq!(found, expected.map_err(str::to_owned));
    }

    #[test]
    fn the_last_word_counts() {
        let unit = "[Unit]\nExecStart=/no\n[Service]\nExecStart=/a \\\n# not me \\\n  --b=c\n";
        check(&[unit], Ok(("/a", &["--b=c"])));
        check(
            &[unit, "[Service]\nExecStart=\nExecStart=-/a --d='e f'\n"],
            Ok(("/a", &["--d=e f"])),
        );
        check(
            &[unit, "[Service]\nExecStart=/b"],
            Err("the unit says several `ExecStart=`"),
        );
        check(&["[Service]\n"], Err("the unit says no `ExecStart=`"));
        check(
            &["[Service]\nExecStart=/a ; /b"],
            Err("`ExecStart=` has several commands"),
        );
        check(
            &["[Service]\nExecStart=/a \"b"],
            Err("a quote in `ExecStart=` is not closed"),
        );
        check(
            &["[Service]\nExecStart=/a \\q"],
            Err("`\\q` in `ExecStart=` means nothing"),
        );
        check(
            &["[Service]\nExecStart=/a \\x41\\u00fc\\101 5%% $$x"],
            Ok(("/a", &["AüA", "5%", "$x"])),
        );
    }

    #[test]
    fn what_systemd_fills_in_is_marked() {
        let found = started(["[Service]\nExecStart=/a --b=%H --c=${D} --e=5$"].into_iter());
        let expanded: Vec<bool> = found
            .unwrap()
            .arguments
            .iter()
            .map(|it| it.is_expanded)
            .collect();
        assert_eq!(expanded, [true, true, false]);
    }

    proptest! {
        #[test]
        fn what_kinstall_quotes_is_taken_apart_again(
            words in prop::collection::vec("[ -~\\tü]{0,12}", 0..6)
        ) {
            let quoted: Vec<String> = words.iter().map(|it| exec_argument(it).unwrap()).collect();
            let unit = format!("[Service]\nExecStart=/a {}\n", quoted.join(" \\\n    "));
            let found = started([unit.as_str()].into_iter()).unwrap();
            let texts: Vec<String> = found.arguments.into_iter().map(|it| it.text).collect();
            prop_assert_eq!(texts, words);
        }
    }
}
