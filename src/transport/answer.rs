//! How a script travels to a node and its answer back, whatever the login shell is and whatever it,
//! its login scripts or a `ForceCommand` print around it. The other ends are `script/login.sh`,
//! `script/become_root.sh` and `script/runner.sh`.

use std::io;
use std::time::Duration;

use rsa::rand_core::{OsRng, RngCore};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt};

use super::{Reply, limit};
use crate::script::{self, Script};
use crate::secret::Secret;

/// The most that a login may say before anything of ours runs, in bytes.
const BEFORE_BYTES_MAX: u64 = 1 << 20;
/// Twice as long as a login may take until something of ours runs, in seconds: it is to be told from
/// a script that does not answer. A login script that waits for input waits for ever, for nothing is
/// sent to it.
const LOGIN_SECONDS: u64 = 60;

/// One call of a script, by a name that nobody can guess.
pub(super) struct Call {
    nonce: String,
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The script came to its end.
    Ended(Reply),
    /// It began and did not come to its end; what it had to say.
    CutOff(String),
    /// It never began; what was said instead.
    NotBegun(String),
}

impl Call {
    pub(super) fn new() -> Self {
        let [high, low] = [OsRng.next_u64(), OsRng.next_u64()];
        Self {
            nonce: format!("{high:016x}{low:016x}"),
        }
    }

    /// What the login shell is told to run: one line that every shell reads the same way.
    pub(super) fn command_line(&self, how: &str) -> String {
        let lines = script::LOGIN.text.lines();
        let commands: Vec<&str> = lines.filter(|line| !line.starts_with('#')).collect();
        format!(
            "env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin LC_ALL=C sh -c '{}' kinstall {} {} {how} {}",
            commands.join("; "),
            self.nonce,
            script::BECOME_ROOT.text.len(),
            script::RUNNER.text.len(),
        )
    }

    /// What is sent after the login, before the script's own input.
    pub(super) fn prelude(password: Option<&Secret>, script: Script, arguments: &[&str]) -> Secret {
        let mut bytes = script::BECOME_ROOT.text.as_bytes().to_vec();
        if let Some(password) = password {
            bytes.extend_from_slice(password.expose());
            bytes.extend_from_slice(b"\nKINSTALL-BODY\n");
        }
        bytes.extend_from_slice(script::RUNNER.text.as_bytes());
        // The first argument of every script is the directory that it works below.
        let words: Vec<&str> = [script.text, ""]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        let sizes: Vec<String> = words.iter().map(|word| word.len().to_string()).collect();
        bytes.extend_from_slice((sizes.join(" ") + "\n").as_bytes());
        bytes.extend(words.concat().as_bytes());
        bytes.extend_from_slice(b"run\n");
        Secret::new(bytes)
    }

    /// What is sent to try a password.
    pub(super) fn password_alone(password: &Secret) -> Secret {
        let mut bytes = script::BECOME_ROOT.text.as_bytes().to_vec();
        bytes.extend_from_slice(password.expose());
        bytes.push(b'\n');
        Secret::new(bytes)
    }

    /// Reads until something of ours runs; gives back what was said instead, if nothing does. Meanwhile
    /// `complaint` is read as well, so that neither stream waits for the other.
    pub(super) async fn log_in(
        &self,
        output: &mut (impl AsyncBufRead + Unpin),
        complaint: &mut (impl AsyncRead + Unpin),
        complained: &mut Vec<u8>,
    ) -> io::Result<Option<String>> {
        let mark = format!("login-{}", self.nonce);
        let listening = until_line(output, &mark);
        let draining = async {
            let mut rest = complaint.take(BEFORE_BYTES_MAX);
            while rest.read_buf(complained).await.is_ok_and(|count| count > 0) {}
        };
        let limit = limit::seconds(LOGIN_SECONDS) / 2;
        let both = async {
            tokio::pin!(listening, draining);
            tokio::select! {
                said = &mut listening => {
                    if matches!(said, Ok(Some(_))) {
                        // It is over: what it complained of comes in a moment.
                        _ = tokio::time::timeout(Duration::from_secs(1), draining).await;
                    }
                    said
                }
                () = &mut draining => listening.await,
            }
        };
        match tokio::time::timeout(limit, both).await {
            Ok(said) => said,
            Err(_) => Ok(Some(format!(
                "nothing of ours ran within {} s; a login script there may wait for input",
                limit.as_secs()
            ))),
        }
    }

    /// Reads until the script begins, and tells whether it did.
    pub(super) async fn begin(&self, output: &mut (impl AsyncBufRead + Unpin)) -> io::Result<bool> {
        let said = until_line(output, &format!("begin-{}", self.nonce)).await?;
        Ok(said.is_none())
    }

    /// The status in a line that tells how the script ended.
    pub(super) fn status(&self, line: &str) -> Option<i32> {
        let rest = line.strip_prefix("end-")?.strip_prefix(&self.nonce)?;
        rest.trim().parse().ok()
    }

    /// Takes apart what came after the login.
    pub(super) fn answer(&self, output: &str, complaint: &str) -> Answer {
        let own_complaint = self.complaint(complaint);
        let Some(said) = self.after("begin", output) else {
            return Answer::NotBegun(own_complaint);
        };
        let end = format!("\nend-{} ", self.nonce);
        let ended = said.rsplit_once(&end).and_then(|(own, rest)| {
            let (status, _) = rest.split_once('\n')?;
            Some((own, status.parse().ok()?))
        });
        match ended {
            Some((own, status)) => Answer::Ended(Reply {
                status,
                output: own.to_owned(),
                complaint: own_complaint,
            }),
            None => Answer::CutOff(own_complaint),
        }
    }

    /// What a script that is known to have ended complained of.
    pub(super) fn complaint(&self, complained: &str) -> String {
        let own = self.after("login", complained).unwrap_or(complained);
        let own = self.after("begin", own).unwrap_or(own);
        let end = format!("\nend-{} ", self.nonce);
        own.split(&end).next().unwrap_or_default().to_owned()
    }

    fn after<'a>(&self, mark: &str, text: &'a str) -> Option<&'a str> {
        let mark = format!("\n{mark}-{}\n", self.nonce);
        text.split_once(&mark).map(|(_, rest)| rest)
    }
}

/// Reads until a line, and past it; if there is none, gives back what there is instead.
async fn until_line(
    output: &mut (impl AsyncBufRead + Unpin),
    line: &str,
) -> io::Result<Option<String>> {
    let mut limited = output.take(BEFORE_BYTES_MAX);
    let mut said = Vec::new();
    loop {
        let from = said.len();
        if limited.read_until(b'\n', &mut said).await? == 0 {
            return Ok(Some(String::from_utf8_lossy(&said).into_owned()));
        }
        if said[from..].strip_suffix(b"\n") == Some(line.as_bytes()) {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Call {
        Call {
            nonce: "7".to_owned(),
        }
    }

    fn ended(status: i32, output: &str, complaint: &str) -> Answer {
        let (output, complaint) = (output.to_owned(), complaint.to_owned());
        Answer::Ended(Reply {
            status,
            output,
            complaint,
        })
    }

    #[track_caller]
    fn check(output: &str, complaint: &str, expected: &Answer) {
        assert_eq!(&call().answer(output, complaint), expected);
    }

    #[test]
    fn a_script_s_words_are_told_from_what_is_printed_around_them() {
        check(
            "\nbegin-7\nfound\n\nend-7 3\nbye\n",
            "motd\nlogin-7\nsudo: unable to resolve host\n\nbegin-7\nno\n\nend-7 3\nbye",
            &ended(3, "found\n", "no\n"),
        );
        // Without a last line end, and with nothing at all.
        check("\nbegin-7\nx\nend-7 0\n", "", &ended(0, "x", ""));
        check("\nbegin-7\n\nend-7 0\n", "", &ended(0, "", ""));
        // What is printed cannot end it, or begin it.
        let forged = "\nbegin-8\nend-8 0\n";
        check(
            &format!("{forged}\nbegin-7\n{forged}\nend-7 1\n"),
            "",
            &ended(1, forged, ""),
        );
        check(
            "\nbegin-7\nhalf",
            "\nbegin-7\nwhy\n",
            &Answer::CutOff("why\n".to_owned()),
        );
        check(
            "",
            "motd\n\nlogin-7\nsudo: a password is required\n",
            &Answer::NotBegun("sudo: a password is required\n".to_owned()),
        );
    }

    #[test]
    fn no_login_shell_reads_anything_of_its_own_in_the_command_line() {
        let line = call().command_line("sudo");
        assert!(line.len() < 1024, "{}", line.len());
        assert_eq!(line.matches('\'').count(), 2, "{line}");
        // csh has no line ends and history in quotes, fish reads backslashes there.
        for odd in ['\n', '!', '\\'] {
            assert!(!line.contains(odd), "{odd:?} in {line}");
        }
    }
}
