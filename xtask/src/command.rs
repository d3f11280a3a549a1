//! Another program, run to its end: output captured, time bounded, failure told in one sentence.
//!
//! Every chore runs its subprocesses through [`Program`], so nothing xtask starts can hang it.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;

/// How long a program may take unless told otherwise.
const LIMIT_SECONDS: u64 = 30;
/// How long to wait for the last output once the program itself is gone.
const DRAIN: Duration = Duration::from_secs(2);
/// How many lines of a failed program's output an error repeats.
const TAIL_LINES: usize = 12;

/// A program to run, with its arguments, input and time limit.
pub(crate) struct Program {
    name: OsString,
    args: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    withheld: Vec<&'static str>,
    directory: Option<PathBuf>,
    input: Vec<u8>,
    limit: Duration,
}

/// What a program that came to its end left behind.
#[derive(Debug)]
pub(crate) struct Output {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// What it wrote to stdout.
    pub(crate) stdout: String,
    /// What it wrote to stderr.
    pub(crate) stderr: String,
}

/// Why a program did not do what was asked.
#[derive(Debug, Error)]
pub(crate) enum CommandError {
    /// The program could not be started.
    #[error("could not run `{name}`")]
    Start {
        /// The program.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The program ended with a failure.
    #[error("`{line}` failed ({status}){said}")]
    Failed {
        /// The command line.
        line: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its output, on lines of its own.
        said: String,
    },
    /// The program took too long and was killed.
    #[error("`{line}` was not done after {limit_seconds} s{said}")]
    TooSlow {
        /// The command line.
        line: String,
        /// How long it had.
        limit_seconds: u64,
        /// The end of its output, on lines of its own.
        said: String,
    },
}

impl Program {
    /// The program of that name, found on `PATH` or where the system keeps its own (`/usr/sbin`).
    pub(crate) fn new(name: impl AsRef<OsStr>) -> Self {
        Self {
            name: name.as_ref().to_owned(),
            args: Vec::new(),
            variables: Vec::new(),
            withheld: Vec::new(),
            directory: None,
            input: Vec::new(),
            limit: Duration::from_secs(LIMIT_SECONDS),
        }
    }

    /// Adds one argument.
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds several arguments.
    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable of its environment.
    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let pair = (name.as_ref().to_owned(), value.as_ref().to_owned());
        self.variables.push(pair);
        self
    }

    /// Has it give way to everything else that runs, and end with us.
    pub(crate) fn at_lowest_priority(mut self) -> Self {
        // The scheduler of Linux is fair to sessions first (sched(7), autogroup): a session of its own,
        // as a whole the least of all.
        let give_way = "echo 19 >/proc/self/autogroup; exec nice -n 19 \"$@\"";
        let name = std::mem::replace(&mut self.name, "setsid".into());
        let before = ["setpriv", "--pdeathsig", "KILL", "sh", "-c", give_way, "sh"];
        let before = before.map(OsString::from).into_iter().chain([name]);
        self.args.splice(0..0, before);
        self
    }

    /// Takes away those variables of our environment whose names begin so.
    pub(crate) fn env_without(mut self, start: &'static str) -> Self {
        self.withheld.push(start);
        self
    }

    /// The directory it runs in; ours unless told.
    pub(crate) fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// What the program reads from stdin; nothing unless told.
    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// How long the program may take.
    pub(crate) fn limit_seconds(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// Runs it and tells how it ended, whichever way that was.
    pub(crate) fn output(self) -> Result<Output, CommandError> {
        let mut command = self.command();
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| self.not_started(source))?;
        if let Some(mut stdin) = child.stdin.take() {
            let input = self.input.clone();
            // A program that does not read all of its input is its own business.
            thread::spawn(move || drop(stdin.write_all(&input)));
        }
        let stdout = Listener::on(child.stdout.take());
        let stderr = Listener::on(child.stderr.take());
        let status = wait(&mut child, self.limit).map_err(|source| self.not_started(source))?;
        let (stdout, stderr) = (stdout.heard(), stderr.heard());
        match status {
            Some(status) => Ok(Output {
                status,
                stdout,
                stderr,
            }),
            None => Err(self.too_slow(tail(&stdout, &stderr))),
        }
    }

    /// Runs it, expects success, and returns its stdout without the last line break.
    pub(crate) fn text(self) -> Result<String, CommandError> {
        let line = self.line();
        let output = self.output()?;
        if output.status.success() {
            return Ok(output.stdout.trim_end().to_owned());
        }
        let said = tail(&output.stdout, &output.stderr);
        Err(CommandError::Failed {
            line,
            status: output.status,
            said,
        })
    }

    /// Runs it and expects success.
    pub(crate) fn done(self) -> Result<(), CommandError> {
        self.text().map(drop)
    }

    /// Runs it and tells only whether it succeeded.
    pub(crate) fn succeeds(self) -> bool {
        self.output().is_ok_and(|output| output.status.success())
    }

    /// Runs it on our own stdin, stdout and stderr.
    pub(crate) fn attached(self) -> Result<ExitStatus, CommandError> {
        let mut child = self
            .command()
            .spawn()
            .map_err(|source| self.not_started(source))?;
        wait(&mut child, self.limit)
            .map_err(|source| self.not_started(source))?
            .ok_or_else(|| self.too_slow(String::new()))
    }

    /// Runs it with nothing to read, handing over every line as soon as it is said, on stdout or
    /// on stderr.
    pub(crate) fn lines(self, mut hear: impl FnMut(&str)) -> Result<ExitStatus, CommandError> {
        self.lines_of(|_, line| hear(line))
    }

    /// The same, with the number of its process, for anyone who looks at that.
    pub(crate) fn lines_of(
        self,
        mut hear: impl FnMut(u32, &str),
    ) -> Result<ExitStatus, CommandError> {
        let mut command = self.command();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| self.not_started(source))?;
        let (say, said) = mpsc::channel();
        pass_on(child.stdout.take(), say.clone());
        pass_on(child.stderr.take(), say);
        let end = Instant::now() + self.limit;
        let left = || end.saturating_duration_since(Instant::now());
        while let Ok(line) = said.recv_timeout(left()) {
            hear(child.id(), &line);
        }
        wait(&mut child, left())
            .map_err(|source| self.not_started(source))?
            .ok_or_else(|| self.too_slow(String::new()))
    }

    fn command(&self) -> Command {
        let mut path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        path.push(":/usr/sbin:/sbin");
        let mut command = Command::new(&self.name);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if self.withheld.iter().any(|start| text.starts_with(start)) {
                command.env_remove(&name);
            }
        }
        command
            .args(&self.args)
            .env("PATH", path)
            .env("LC_ALL", "C.UTF-8")
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }

    fn not_started(&self, source: io::Error) -> CommandError {
        CommandError::Start {
            name: self.name.to_string_lossy().into_owned(),
            source,
        }
    }

    fn too_slow(&self, said: String) -> CommandError {
        let limit_seconds = self.limit.as_secs();
        CommandError::TooSlow {
            line: self.line(),
            limit_seconds,
            said,
        }
    }

    /// The command line for people; a script given as an argument is cut after its first line.
    fn line(&self) -> String {
        let mut line = self.name.to_string_lossy().into_owned();
        for arg in &self.args {
            let arg = arg.to_string_lossy();
            line.push(' ');
            line.push_str(arg.trim_start().lines().next().unwrap_or("''"));
        }
        line
    }
}

/// Whether a program of that name is on `PATH` or where the system keeps its own.
pub(crate) fn is_installed(name: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin"])
        .any(|directory| std::path::Path::new(directory).join(name).is_file())
}

/// Asks again and again, for `limit` at most, until there is an answer.
pub(crate) fn poll<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if start.elapsed() >= limit {
            return None;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Waits for the child; at the limit kills it and returns nothing.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    if let Some(status) = poll(limit, || child.try_wait().transpose()) {
        return status.map(Some);
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

/// Sends on every line that comes out of a pipe.
fn pass_on(pipe: Option<impl Read + Send + 'static>, say: mpsc::Sender<String>) {
    let Some(pipe) = pipe else { return };
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while let Ok(1..) = pipe.read_until(b'\n', &mut line) {
            let text = String::from_utf8_lossy(&line);
            if say.send(text.trim_end().to_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
}

/// Collects what comes out of a pipe. A grandchild may keep the pipe open for ever, so what was
/// heard so far can be had without its end.
struct Listener {
    heard: Arc<Mutex<Vec<u8>>>,
    ended: mpsc::Receiver<()>,
}

impl Listener {
    fn on(pipe: Option<impl Read + Send + 'static>) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (end, ended) = mpsc::channel();
        let store = Arc::clone(&heard);
        if let Some(mut pipe) = pipe {
            thread::spawn(move || {
                let mut chunk = [0; 8192];
                while let Ok(count @ 1..) = pipe.read(&mut chunk) {
                    let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
                    store.extend_from_slice(&chunk[..count]);
                }
                // Nobody waits any more if the drain time is over.
                let _ = end.send(());
            });
        }
        Self { heard, ended }
    }

    fn heard(self) -> String {
        // Ended or out of time: either way the answer is what is there.
        let _ = self.ended.recv_timeout(DRAIN);
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&heard).into_owned()
    }
}

/// The last lines of what a program said, indented below the sentence they belong to.
fn tail(stdout: &str, stderr: &str) -> String {
    let said = if stderr.trim().is_empty() {
        stdout
    } else {
        stderr
    };
    last_lines(said, TAIL_LINES)
}

/// The last `count` lines, each on a line of its own and indented; nothing if there are none.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let from = lines.len().saturating_sub(count);
    lines[from..]
        .iter()
        .flat_map(|line| ["\n    ", line])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_status_come_back() {
        let script = "cat; echo talk >&2; exit 3";
        let output = Program::new("sh")
            .args(["-c", script])
            .input("data")
            .output()
            .unwrap();
        assert_eq!(output.stdout, "data");
        assert_eq!(output.stderr, "talk\n");
        assert_eq!(output.status.code(), Some(3));
    }

    #[test]
    fn a_failure_repeats_what_was_said() {
        let error = Program::new("sh")
            .args(["-c", "echo no >&2; exit 1"])
            .done()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "`sh -c echo no >&2; exit 1` failed (exit status: 1)\n    no"
        );
    }

    #[test]
    fn a_program_that_takes_too_long_is_killed() {
        let start = Instant::now();
        let error = Program::new("sleep")
            .arg("60")
            .limit_seconds(0)
            .done()
            .unwrap_err();
        assert!(matches!(error, CommandError::TooSlow { .. }), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_grandchild_that_keeps_the_pipe_does_not_hold_us() {
        let start = Instant::now();
        let text = Program::new("sh")
            .args(["-c", "echo here; sleep 8 &"])
            .text()
            .unwrap();
        assert_eq!(text, "here");
        assert!(start.elapsed() < Duration::from_secs(6));
    }

    #[test]
    fn lines_come_as_they_are_said() {
        let mut heard = Vec::new();
        let status = Program::new("sh")
            .args(["-c", "echo $WORD$CARGO_PKG_NAME; pwd >&2; exit 3"])
            .env("WORD", "here")
            .env_without("CARGO_PKG_")
            .directory("/")
            .lines(|line| heard.push(line.to_owned()))
            .unwrap();
        heard.sort();
        assert_eq!(heard, ["/", "here"]);
        assert_eq!(status.code(), Some(3));
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Program::new("no-such-program").done().unwrap_err();
        assert_eq!(error.to_string(), "could not run `no-such-program`");
        assert!(!is_installed("no-such-program"));
        assert!(is_installed("sh"));
    }
}
