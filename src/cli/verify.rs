//! `kinstall verify`: whether a cluster does what one is for.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use super::{Common, Exit, Failure, Login};
use crate::certificate::Credentials;
use crate::engine::operator::holder;
use crate::engine::session::{self, Session};
use crate::engine::{load, pki};
use crate::inventory::NodeName;
use crate::terminal::Terminal;
use crate::terminal::proof::{self, Report};
use crate::transport::Transport;
use crate::verify::{IMAGE, Outside, Task, Told, Trial};

/// Prove that the cluster keeps Secrets, runs Pods and carries their packets, by doing it.
///
/// A Pod runs on each worker, in a namespace `kinstall-verify` that is removed at the end.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The inventory
    inventory: PathBuf,
    /// The image of the Pods: agnhost, or what serves the same `netexec`
    #[arg(long, value_name = "IMAGE", default_value = IMAGE)]
    image: String,
    /// A host outside of the cluster that each Pod must reach over HTTP
    #[arg(long, value_name = "NAME[:PORT]")]
    outside: Option<Outside>,
    #[command(flatten)]
    login: Login,
}

impl Verify {
    pub(super) async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let inventory = load::inventory(&self.inventory, terminal)?;
        let settings = common.settings(&self.login);
        // Its end comes first: lines of the standard output come where bars were.
        let reached = Session::run(&inventory, &settings, terminal, reach).await;
        let (session, transports, credentials) = reached?;
        let report = RefCell::new(Report::of(&inventory.cluster.name));
        let tell = |told| match told {
            Told::Note(note) => terminal.say(&note),
            Told::Proof(proof) => {
                if !common.json {
                    terminal.print_colored(|color| proof::line(&proof, color));
                }
                report.borrow_mut().checks.push(proof);
            }
        };
        let session = session.stoppable();
        let trial = Trial::reach(Task {
            inventory: &inventory,
            transports: &transports,
            credentials: &credentials,
            image: &self.image,
            outside: self.outside.as_ref(),
            jobs: settings.jobs,
            maker: holder(),
            tell: &tell,
        })
        .await;
        let is_stopped = tokio::select! {
            biased;
            () = session.stop.asked() => true,
            () = trial.run() => false,
        };
        if is_stopped {
            terminal.say("stopping: removing what was made; once more to stop at once");
        }
        trial.clean().await;
        drop(trial);
        session::close(transports).await;
        let report = report.into_inner();
        if is_stopped {
            let help = "run the same command again";
            return Err(Failure::words(Exit::Stopped, "stopped on request", help));
        }
        terminal.print_data(common.json, &report, |color| report.verdict(color));
        Ok(if report.is_well() {
            Exit::Done
        } else {
            Exit::Found
        })
    }
}

type Reached<'a> = (Session<'a>, BTreeMap<NodeName, Transport>, Credentials);

async fn reach<'a>(session: &Session<'a>) -> Result<Reached<'a>, Failure> {
    let scope = session.scope()?;
    // A cluster that was pushed has its credentials in pki/.
    let credentials = pki::credentials_in_effect(session)?;
    Ok((session.clone(), session.connect(&scope).await?, credentials))
}
