//! A cluster's API, for somebody with the administrator's certificate on the network of the nodes.

use std::fmt;
use std::process::{Command, Stdio};

use base64::Engine;
use fs_err as fs;

use crate::bed::{Bed, NODES};
use crate::lab::Lab;

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
/// What curl is given of a kubeconfig, each in a file named by its word there.
const CREDENTIALS: [(&str, &str); 3] = [
    ("--cacert", "certificate-authority-data"),
    ("--cert", "client-certificate-data"),
    ("--key", "client-key-data"),
];

/// The kube-apiservers of the nodes.
pub(crate) struct Api<'a> {
    lab: &'a Lab,
    addresses: [String; 3],
    /// A process on node1's network, which a machine beside the nodes is not on.
    process: String,
}

/// Why something was not done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nobody answered.
    Away(String),
    /// It was refused: the status, and what was said.
    Refused(u16, String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(why) => f.write_str(why),
            Self::Refused(status, why) => write!(f, "{status}: {why}"),
        }
    }
}

impl<'a> Api<'a> {
    /// Of the cluster that was pushed from a lab.
    pub(crate) fn of(bed: &Bed, lab: &'a Lab) -> Self {
        let kubeconfig = lab.run(["kubeconfig", "inventory.toml"]).exits(0).stdout;
        for (_, word) in CREDENTIALS {
            let mut lines = kubeconfig.lines();
            let text = lines.find_map(|line| line.trim().strip_prefix(word)?.strip_prefix(": "));
            let text = text.unwrap().trim_matches('"');
            let bytes = base64::engine::general_purpose::STANDARD.decode(text);
            fs::write(lab.path(word), bytes.unwrap()).unwrap();
        }
        let ssh = "machine/payload/system.slice/ssh.service/cgroup.procs";
        let processes = fs::read_to_string(bed.cgroup("node1").join(ssh)).unwrap();
        Self {
            lab,
            addresses: NODES.map(|node| bed.address(node)),
            process: processes.lines().next().unwrap().to_owned(),
        }
    }

    /// Writes a Secret that holds its own name, through one server.
    pub(crate) fn create(&self, server: usize, name: &str) -> Result<(), Failure> {
        let body = format!(
            r#"{{"apiVersion":"v1","kind":"Secret","metadata":{{"name":"{name}"}},"stringData":{{"word":"{name}"}}}}"#
        );
        self.ask(server, "POST", SECRETS, &body).map(drop)
    }

    /// Reads such a Secret through one server.
    pub(crate) fn read(&self, server: usize, name: &str) -> Result<(), Failure> {
        let found = self.ask(server, "GET", &format!("{SECRETS}/{name}"), "")?;
        let word = base64::engine::general_purpose::STANDARD.encode(name);
        if found.contains(&word) {
            return Ok(());
        }
        Err(Failure::Refused(200, found))
    }

    /// Reads every Secret through one server.
    pub(crate) fn list(&self, server: usize) -> Result<String, Failure> {
        self.ask(server, "GET", "/api/v1/secrets", "")
    }

    /// What is at a path, through one server.
    pub(crate) fn get(&self, server: usize, path: &str) -> Result<String, Failure> {
        self.ask(server, "GET", path, "")
    }

    /// Replaces what is at a path, through one server.
    pub(crate) fn put(&self, server: usize, path: &str, body: &str) -> Result<(), Failure> {
        self.ask(server, "PUT", path, body).map(drop)
    }

    fn ask(&self, server: usize, verb: &str, path: &str, body: &str) -> Result<String, Failure> {
        let url = format!("https://{}:6443{path}", self.addresses[server]);
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &self.process]);
        command.args(["curl", "--silent", "--show-error", "--max-time", "5"]);
        command.args(["--write-out", "\\n%{http_code}", "--request", verb]);
        command.args(["--header", "Content-Type: application/json"]);
        for (flag, word) in CREDENTIALS {
            command.arg(flag).arg(self.lab.path(word));
        }
        if !body.is_empty() {
            command.args(["--data", body]);
        }
        let output = command.arg(url).stdin(Stdio::null()).output().unwrap();
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::Away(why.trim().to_owned()));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let (answer, status) = text.rsplit_once('\n').unwrap();
        match status.parse().unwrap() {
            200 | 201 => Ok(answer.to_owned()),
            status => Err(Failure::Refused(status, answer.to_owned())),
        }
    }
}
