//! The text of a drop-in that somebody made by hand, as far as it may be shown.

/// The most lines that are shown of one.
const LINES_MAX: usize = 40;
/// The most characters of a line.
const CHARS_MAX: usize = 300;

/// Its lines; of what may be a secret only the name.
pub fn shown(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().take(LINES_MAX).map(line).collect();
    let left = text.lines().count().saturating_sub(LINES_MAX);
    if left > 0 {
        lines.push(format!("... and {left} more"));
    }
    lines
}

fn line(text: &str) -> String {
    let text: String = text.chars().filter(|char| !char.is_control()).collect();
    let key = text.split('=').next().unwrap_or_default();
    // What is set there is not ours to judge: proxies with passwords, tokens (systemd.exec(5)).
    let hidden = ["Environment", "SetCredential", "StandardInput"];
    if hidden.iter().any(|start| key.trim().starts_with(start)) && key != text {
        return format!("{key}=(not shown)");
    }
    let mut hides_next = false;
    let words = text.split(' ').map(|word| {
        let hides = std::mem::take(&mut hides_next);
        let key = word.split('=').next().unwrap_or_default();
        let is_url = word.contains("://") && word.contains('@');
        if names_secret(key) && key != word {
            return format!("{key}=(not shown)");
        }
        hides_next = names_secret(key) && key.starts_with('-');
        if (hides && !word.is_empty()) || is_url {
            "(not shown)".to_owned()
        } else {
            word.to_owned()
        }
    });
    let shown: Vec<String> = words.collect();
    shown.join(" ").chars().take(CHARS_MAX).collect()
}

fn names_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    let words = ["password", "token", "secret"];
    words.iter().any(|word| key.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let text = "[Service]\nNice=5\nEnvironment=A=hush\nExecStart=/x --token=hush\n\
                    EnvironmentFile=/etc/x\nExecStartPre=/x http://a:hush@b\nA=\u{1b}[31m";
        let due = "[Service]|Nice=5|Environment=(not shown)|ExecStart=/x --token=(not shown)|\
                   EnvironmentFile=(not shown)|ExecStartPre=/x (not shown)|A=[31m";
        assert_eq!(shown(text).join("|"), due);
        assert_eq!(shown(&"a\n".repeat(50)).last().unwrap(), "... and 10 more");
    }
}
