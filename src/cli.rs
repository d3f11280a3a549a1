//! The command line: one command, one story, one screen.

mod bundle;
mod cache;
mod certs;
mod check;
mod completions;
mod encryption;
mod fetch;
mod history;
mod init;
mod kubeconfig;
mod man;
mod plan;
mod push;
mod render;
mod rollback;
mod status;
mod uninstall;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::engine::interrupt;
use crate::engine::session::Settings;
use crate::failure::{Exit, Failure};
use crate::terminal::{Color, Terminal, Volume};

const AFTER_HELP: &str = "\
Exit codes:
  0  done, or nothing to do
  1  failed; nothing half-done stays active
  2  bad usage or bad inventory; nothing was changed
  3  plan, status, check, verify or certs check found changes, drift, or something that needs a
     look; push found a file that it overwrites only when told
  4  a node could not be reached or refused us
  5  a download or a digest did not verify
  6  a rollout failed, and the node it failed on was taken back
  7  another run holds the lock
  130  stopped on request";

/// Installs and upgrades a Kubernetes control plane the hard way, over SSH.
#[derive(Debug, Parser)]
#[command(name = "kinstall", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

/// What every command understands.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Everywhere")]
struct Common {
    /// Only these nodes, separated by commas
    #[arg(long, global = true, value_name = "NODE,...", value_delimiter = ',')]
    limit: Vec<String>,
    /// How many nodes or downloads at a time
    #[arg(long, global = true, default_value_t = 16, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=512))]
    jobs: u16,
    /// Print data as JSON on the standard output
    #[arg(long, global = true)]
    json: bool,
    /// Tell every step
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    verbose: bool,
    /// Tell nothing but errors
    #[arg(short, long, global = true)]
    quiet: bool,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Color,
    /// Where downloads are kept [default: ~/.cache/kinstall]
    #[arg(long, global = true, value_name = "DIR", env = "KINSTALL_CACHE")]
    cache: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a commented starter inventory
    Init(init::Init),
    /// Pin, download and verify what an inventory needs
    Fetch(fetch::Fetch),
    /// Tell what is wrong with an inventory, what an upgrade would break, or how the CIS benchmark
    /// scores it
    Check(check::Check),
    /// Make or verify one file with everything for a site without internet
    Bundle(bundle::BundleCommand),
    /// Look at what was downloaded and kept, or make it less
    Cache(cache::CacheCommand),
    /// Write the tree that push would install on each node, without any node
    Render(render::Render),
    /// Show what push would change; change nothing
    Plan(plan::PlanCommand),
    /// Make every node what the inventory says: install, upgrade, or nothing
    Push(push::Push),
    /// Show what runs on each node, how it is, and what was changed by hand
    Status(status::Status),
    /// Prove that the cluster keeps Secrets, runs Pods and carries their packets, by doing it
    Verify(verify::Verify),
    /// Take nodes back to a recorded generation
    Rollback(rollback::Rollback),
    /// Take away what kinstall put on nodes, and nothing else
    Uninstall(uninstall::Uninstall),
    /// Tell what runs did, and when
    History(history::History),
    /// List, check, renew and draw the cluster's certificates
    Certs(certs::Certs),
    /// Tell or exchange the key that Secrets are encrypted with at rest
    Encryption(encryption::EncryptionCommand),
    /// Print the administrator's kubeconfig
    Kubeconfig(kubeconfig::KubeconfigCommand),
    /// Print completions for a shell
    Completions(completions::Completions),
    /// Print a manual page, or write all of them
    Man(man::Man),
}

/// How nodes are reached by the commands that reach them.
#[derive(Debug, Clone, Default, Args)]
struct Login {
    /// Ask once for the password that sudo wants on the nodes
    #[arg(long)]
    ask_sudo_password: bool,
}

impl Common {
    /// How a command runs that reaches nodes.
    fn settings(&self, login: &Login) -> Settings {
        Settings {
            limit: self.limit.clone(),
            jobs: usize::from(self.jobs),
            json: self.json,
            cache: self.cache.clone(),
            ask_sudo_password: login.ask_sudo_password,
        }
    }
}

/// Runs the program with these words and says how it ended.
pub fn run(words: impl IntoIterator<Item = std::ffi::OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) => {
            Terminal::usage(&error);
            return if error.use_stderr() {
                Exit::Usage.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let common = &arguments.common;
    let volume = match (common.quiet, common.verbose) {
        (true, _) => Volume::Quiet,
        (_, true) => Volume::Verbose,
        _ => Volume::Normal,
    };
    let terminal = Terminal::new(common.color, volume);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a machine that runs kinstall has files left to open");
    let result = runtime.block_on(async {
        tokio::select! {
            result = dispatch(arguments.command, common, terminal) => result,
            () = interrupt::interrupted() => {
                Err(Failure::words(Exit::Stopped, "stopped on request", "run the same command again"))
            }
        }
    });
    // Work in the background that nobody waits for any more (a download that was given up) must
    // not keep the program from ending.
    runtime.shutdown_background();
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.report(terminal, common.json);
            failure.exit.into()
        }
    }
}

async fn dispatch(command: Command, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
    match command {
        Command::Init(command) => command.run(terminal),
        Command::Fetch(command) => command.run(common, terminal).await,
        Command::Check(command) => command.run(common, terminal).await,
        Command::Bundle(command) => command.run(common, terminal).await,
        Command::Cache(command) => command.run(common, terminal).await,
        Command::Render(command) => command.run(common, terminal).await,
        Command::Plan(command) => command.run(common, terminal).await,
        Command::Push(command) => command.run(common, terminal).await,
        Command::Status(command) => command.run(common, terminal).await,
        Command::Verify(command) => Box::pin(command.run(common, terminal)).await,
        Command::Rollback(command) => command.run(common, terminal).await,
        Command::Uninstall(command) => command.run(common, terminal).await,
        Command::History(command) => command.run(common, terminal).await,
        Command::Certs(command) => Box::pin(command.run(common, terminal)).await,
        Command::Encryption(command) => command.run(common, terminal).await,
        Command::Kubeconfig(command) => command.run(common, terminal),
        Command::Completions(command) => Ok(command.run(terminal)),
        Command::Man(command) => command.run(terminal),
    }
}
