//! A directory in a node's place: the same scripts, run here, below that directory. No SSH, no
//! systemd, no health to ask for.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::conversation::converse;
use super::{Body, Error, Reply};
use crate::inventory::NodeName;
use crate::script::Script;

/// A directory that holds, or will hold, a machine's root.
pub struct LocalRoot {
    node: NodeName,
    directory: PathBuf,
}

impl LocalRoot {
    /// Makes the directory where it is missing.
    pub fn new(node: NodeName, directory: &Path) -> Result<Self, Error> {
        let made = fs_err::create_dir_all(directory).and_then(|()| fs_err::canonicalize(directory));
        match made {
            Ok(directory) => Ok(Self { node, directory }),
            Err(why) => Err(Error::Local { node, why }),
        }
    }

    /// The node it stands for.
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// Runs a script below the directory.
    pub async fn call(
        &self,
        script: Script,
        arguments: &[&str],
        body: Body,
    ) -> Result<Reply, Error> {
        let failed = |why| Error::Local {
            node: self.node.clone(),
            why,
        };
        // As on a node, nothing in the environment changes what a script does. A program that had to be
        // looked for in another `PATH` would not be spawned but forked, with all that we hold copied.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut child = Command::new("/bin/sh")
            .env_clear()
            .envs([
                ("PATH", path),
                ("LC_ALL", "C".into()),
                ("TZ", "UTC0".into()),
            ])
            .args(["-c", script.text, "kinstall"])
            .arg(&self.directory)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let input = child.stdin.take().expect("the standard input is a pipe");
        let output = child.stdout.take().expect("the standard output is a pipe");
        let complaint = child.stderr.take().expect("the standard error is a pipe");
        let (output, complaint) = converse(input, output, complaint, None, body, script.limits)
            .await
            .map_err(|broken| broken.during(&self.node, script.name))?;
        let status = child.wait().await.map_err(failed)?;
        Ok(Reply {
            status: status.code().unwrap_or(-1),
            output,
            complaint,
        })
    }
}
