//! Why nothing of ours ran on a node that can be reached, or not as root: each cause with the help
//! that mends it.

use super::Error;
use super::ssh::{Connection, Remote};

/// What sudo says, and what mends that. In the help, USER is the user that logs in.
const SUDO: [(&[&str], &str); 10] = [
    (
        &["must have a tty"],
        "add `Defaults:USER !requiretty` to sudoers by `visudo`, or log in as root",
    ),
    (
        &[
            "is not in the sudoers",
            "may not run sudo",
            "is not allowed to",
        ],
        "add `USER ALL=(ALL) NOPASSWD: ALL` to sudoers by `visudo`, or log in as root",
    ),
    (
        &["incorrect password", "Sorry, try again"],
        "give the password that `sudo` asks USER for on the node, or log in as root",
    ),
    (
        &["not found", "No such file"],
        "sudo is not installed there: log in as root (`user = \"root\"` under `[ssh]`), or install it",
    ),
    (
        &["expired", "account validation", "account management"],
        "the account or its password has expired or is locked: `chage -l USER` and `passwd -S USER` on the node say which",
    ),
    (
        &["Permission denied"],
        "sudo runs a shell, and the shell nothing: take `NOEXEC` (or `Defaults noexec`) away from USER in sudoers, or log in as root",
    ),
    (
        &["effective uid is not 0", "no new privileges", "nosuid"],
        "sudo cannot become root on that system: see `ls -l /usr/bin/sudo` and the mount options of `/usr`, or log in as root",
    ),
    (
        &["syntax error", "parse error", "no valid sudoers"],
        "sudoers cannot be read: `visudo -c` on the node says where",
    ),
    (
        &["does not exist in the passwd", "do not exist in the passwd"],
        "the account is not known on the node: `getent passwd USER`, or log in as root",
    ),
    (
        &[],
        "log in as root, allow the user sudo without a password (`USER ALL=(ALL) NOPASSWD: ALL` in sudoers, by `visudo`), or give `--ask-sudo-password`",
    ),
];

impl Connection {
    /// The error of a login after which nothing of ours ran.
    pub(super) async fn ran_nothing(
        &self,
        script: &'static str,
        child: Remote,
        said: &str,
        complained: &str,
    ) -> Error {
        // One that waits for input does not end.
        let status = if said.starts_with("nothing of ours") {
            None
        } else {
            child.wait().await.ok().and_then(|status| status.code())
        };
        if !self.is_alive().await {
            return self.lost(script);
        }
        let both = format!("{said}\n{complained}");
        let mut why = super::last_lines(&without_blank(&both), 3);
        if why.is_empty() {
            why = match status {
                Some(status) => format!("it ended at once with status {status} and said nothing"),
                None => "it ended at once and said nothing".to_owned(),
            };
        }
        let login = self.login();
        Error::RunsNothing {
            node: self.node().clone(),
            host: login.host.clone(),
            why,
            login: login.by_hand.clone(),
        }
    }

    /// The error of a script that did not begin after something of ours ran: sudo gave up.
    pub(super) async fn not_root(
        &self,
        script: &'static str,
        child: Remote,
        complained: &str,
    ) -> Error {
        drop(child.wait().await);
        if !self.is_alive().await {
            return self.lost(script);
        }
        let why = sudo_words(complained);
        Error::Sudo {
            node: self.node().clone(),
            help: help(&why, self.login().user.as_deref().unwrap_or("USER")),
            why,
        }
    }

    /// The error of a script that began and did not come to its end.
    pub(super) async fn cut_off(
        &self,
        script: &'static str,
        child: Remote,
        complained: &str,
    ) -> Error {
        let status = child.wait().await.ok().and_then(|status| status.code());
        match status {
            Some(status) if status != 255 && self.is_alive().await => Error::Failed {
                node: self.node().clone(),
                script,
                status,
                why: format!(
                    "it was ended before its time: {}",
                    super::last_lines(complained, 5)
                ),
            },
            _ => self.lost(script),
        }
    }
}

/// Of what was said in place of a script, the line that tells why.
fn sudo_words(complained: &str) -> String {
    let is_noise = |line: &&str| line.is_empty() || line.contains("unable to resolve host");
    let lines: Vec<&str> = complained
        .lines()
        .map(str::trim)
        .filter(|line| !is_noise(line))
        .collect();
    let is_final = |line: &&&str| {
        let says = |words: &&str| line.contains(words);
        line.starts_with("sudo:") || SUDO[1].0.iter().any(says)
    };
    let line = lines.iter().rev().find(is_final).or(lines.last());
    let Some(line) = line else {
        return "sudo did not say why".to_owned();
    };
    // It names our whole command line.
    match (line.find(" to execute "), line.rfind(" as ")) {
        (Some(from), Some(to)) if from < to => {
            format!("{} to run `sh`{}", &line[..from], &line[to..])
        }
        _ => (*line).to_owned(),
    }
}

fn help(why: &str, user: &str) -> String {
    let fits = |words: &&[&str]| words.is_empty() || words.iter().any(|word| why.contains(word));
    let found = SUDO.iter().find(|(words, _)| fits(words));
    found.map_or_else(String::new, |(_, help)| help.replace("USER", user))
}

fn without_blank(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(complained: &str, why: &str, wanted: &str) {
        let found = sudo_words(complained);
        assert_eq!(found, why);
        let told = help(&found, "pi");
        assert!(told.contains(wanted), "{told}");
    }

    #[test]
    fn what_sudo_gives_up_for_is_told_with_what_mends_it() {
        check(
            "sudo: unable to resolve host raspi9: Name or service not known\nsudo: sorry, you must have a tty to run sudo\n",
            "sudo: sorry, you must have a tty to run sudo",
            "`Defaults:pi !requiretty`",
        );
        check(
            "We trust you have received the usual lecture\n\n    #1) Respect the privacy of others.\n\nsudo: a password is required\n",
            "sudo: a password is required",
            "give `--ask-sudo-password`",
        );
        check(
            "pi is not in the sudoers file.  This incident will be reported.\n",
            "pi is not in the sudoers file.  This incident will be reported.",
            "`pi ALL=(ALL) NOPASSWD: ALL`",
        );
        check(
            "Sorry, user pi is not allowed to execute '/usr/bin/sh -c eval \"$(dd bs=$2)\" kinstall 7 9' as root on n1.\n",
            "Sorry, user pi is not allowed to run `sh` as root on n1.",
            "`pi ALL=(ALL) NOPASSWD: ALL`",
        );
        check(
            "Sorry, try again.\nsudo: no password was provided\nsudo: 1 incorrect password attempt\n",
            "sudo: 1 incorrect password attempt",
            "the password that `sudo` asks pi for",
        );
        check(
            "sh: 12: exec: sudo: not found\n",
            "sh: 12: exec: sudo: not found",
            "sudo is not installed",
        );
        check(
            "sudo: Account or password is expired, reset your password and try again\n",
            "sudo: Account or password is expired, reset your password and try again",
            "`chage -l pi`",
        );
        check(
            "kinstall: 1: dd: Permission denied\n",
            "kinstall: 1: dd: Permission denied",
            "`NOEXEC`",
        );
        check(
            "/etc/sudoers.d/x:1:9: syntax error\nsudo: no valid sudoers sources found, quitting\n",
            "sudo: no valid sudoers sources found, quitting",
            "`visudo -c`",
        );
        check(
            "sudo: unable to resolve host n1\n",
            "sudo did not say why",
            "log in as root",
        );
    }
}
