//! How the self-test asks: a check is a promise, a question over ssh, and what the answer must be.

use std::io;
use std::time::{Duration, Instant};

use super::super::Bed;
use super::super::error::Error;
use super::super::name::NodeName;
use crate::command::{Output, Program};
use crate::say;

/// A run of checks on one bed.
pub(super) struct Test {
    bed: Bed,
    pub(super) checks: u32,
    pub(super) failures: u32,
}

impl Test {
    /// No checks yet.
    pub(super) fn on(bed: Bed) -> Self {
        Self {
            bed,
            checks: 0,
            failures: 0,
        }
    }

    /// Proves one promise and says how that went.
    pub(super) fn check(&mut self, promise: &str, prove: impl FnOnce(&Bed) -> Result<(), Wrong>) {
        let start = Instant::now();
        let result = prove(&self.bed);
        let seconds = start.elapsed().as_secs_f64();
        self.checks += 1;
        match result {
            Ok(()) => say::line(format!("ok    {promise} ({seconds:.2} s)")),
            Err(Wrong(said)) => {
                self.failures += 1;
                say::line(format!("FAIL  {promise} ({seconds:.2} s): {said}"));
            }
        }
    }
}

/// What was not as promised, in words.
pub(super) struct Wrong(pub(super) String);

impl From<Error> for Wrong {
    fn from(error: Error) -> Self {
        Self(say::sentence(&error))
    }
}

impl From<crate::command::CommandError> for Wrong {
    fn from(error: crate::command::CommandError) -> Self {
        Self(say::sentence(&error))
    }
}

impl From<io::Error> for Wrong {
    fn from(error: io::Error) -> Self {
        Self(say::sentence(&error))
    }
}

/// The node of that number.
pub(super) fn node(number: u8) -> NodeName {
    NodeName::numbered(number).expect("the self-test numbers its nodes from 1 to 5")
}

/// ssh to a login, to run a script there.
pub(super) fn client(bed: &Bed, login: &str, script: &str) -> Result<Program, Wrong> {
    Ok(Program::new("ssh")
        .arg("-F")
        .arg(bed.ssh_config()?)
        .args([login, script]))
}

/// What a script says that succeeds there.
pub(super) fn ssh(bed: &Bed, login: &str, script: &str) -> Result<String, Wrong> {
    Ok(client(bed, login, script)?.text()?)
}

/// It must fail, and say that.
pub(super) fn refused(bed: &Bed, login: &str, script: &str, said: &str) -> Result<(), Wrong> {
    failed(&client(bed, login, script)?.output()?, said)
}

/// It must have failed, and said that.
pub(super) fn failed(output: &Output, said: &str) -> Result<(), Wrong> {
    let heard = format!("{}{}{}", output.status, output.stdout, output.stderr);
    holds(!output.status.success() && heard.contains(said), &heard)
}

/// Nothing may answer: a refusal would come at once, silence takes the whole time.
pub(super) fn silent(bed: &Bed, login: &str) -> Result<(), Wrong> {
    let ssh = Program::new("ssh").arg("-F").arg(bed.ssh_config()?);
    let output = ssh
        .args(["-o", "ConnectTimeout=2", login, "true"])
        .output()?;
    let heard = &output.stderr;
    let quiet = heard.contains("timed out") || heard.contains("No route to host");
    holds(output.status.code() == Some(255) && quiet, heard)
}

/// Exactly that was said.
pub(super) fn same(found: &str, expected: &str) -> Result<(), Wrong> {
    holds(
        found == expected,
        &format!("`{found}` where `{expected}` should be"),
    )
}

/// A time between those two.
pub(super) fn within(time: Duration, from_seconds: f64, to_seconds: f64) -> Result<(), Wrong> {
    let seconds = time.as_secs_f64();
    let fits = (from_seconds..=to_seconds).contains(&seconds);
    holds(
        fits,
        &format!("{seconds:.3} s, not within {from_seconds} to {to_seconds} s"),
    )
}

/// True; else the words say what was found instead.
pub(super) fn holds(truth: bool, otherwise: &str) -> Result<(), Wrong> {
    if truth {
        Ok(())
    } else {
        Err(Wrong(otherwise.trim().to_owned()))
    }
}

/// How long it takes to open a connection: one way there, one way back.
pub(super) fn connect(bed: &Bed, number: u8) -> Result<Duration, Wrong> {
    let start = Instant::now();
    let address = (bed.address(node(number)), 22).into();
    std::net::TcpStream::connect_timeout(&address, Duration::from_secs(3))?;
    Ok(start.elapsed())
}

/// How long that many bytes take to the node.
pub(super) fn push(bed: &Bed, login: &str, bytes: usize) -> Result<Duration, Wrong> {
    let start = Instant::now();
    client(bed, login, "cat >/dev/null")?
        .input(vec![0; bytes])
        .done()?;
    Ok(start.elapsed())
}

/// How long that many bytes take from the node.
pub(super) fn pull(bed: &Bed, login: &str, bytes: usize) -> Result<Duration, Wrong> {
    let start = Instant::now();
    let text = ssh(
        bed,
        login,
        &format!("head -c {bytes} /dev/zero | tr '\\0' x"),
    )?;
    holds(text.len() == bytes, &format!("{} bytes came", text.len()))?;
    Ok(start.elapsed())
}
