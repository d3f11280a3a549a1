//! Stands in for the servers of Kubernetes in tests, kubelet and kube-proxy too: one program that holds
//! nothing of a cluster but its Secrets, Leases and Nodes, and fails to start wherever the real one would.
//!
//! Which of them it is, and of which version, is written behind its own ELF file
//! ([`trailer`]). Without that it only makes such copies:
//! `standin make --name kube-apiserver --version 1.32.3 --out FILE [--size BYTES] [--of STANDIN]`.

mod apiserver;
mod arguments;
mod client;
mod controller;
mod election;
mod encryption;
mod files;
mod http;
mod kubeconfig;
mod log;
mod manifest;
mod node;
mod notify;
mod refusal;
mod serving;
mod trailer;
mod user;

use std::process::ExitCode;

use crate::{
    arguments::Arguments,
    log::say,
    refusal::Refusal,
    trailer::{Identity, Program},
};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let identity = match trailer::own() {
        Ok(identity) => identity,
        Err(error) => {
            say(&format!("cannot read my own file: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let Some(identity) = identity else {
        return make(&words);
    };
    if words
        .iter()
        .any(|word| word == "--version" || word == "--version=true")
    {
        log::answer(&format!("Kubernetes v{}", identity.version));
        return ExitCode::SUCCESS;
    }
    match run(identity, &words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => {
            refusal.say(identity.version);
            ExitCode::FAILURE
        }
    }
}

fn run(identity: Identity, words: &[String]) -> Result<(), Refusal> {
    let arguments = Arguments::read(identity, words)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Refusal::start(error.to_string()))?;
    runtime.block_on(async {
        match identity.program {
            Program::Apiserver => apiserver::run(identity, &arguments).await,
            Program::ControllerManager | Program::Scheduler => {
                controller::run(identity, &arguments).await
            }
            Program::Kubelet | Program::Proxy => node::run(identity, &arguments).await,
            // Only copies of the small program are made of that name.
            Program::Small(name) => Err(Refusal::start(format!("I am no stand-in for {name}"))),
        }
    })
}

fn make(words: &[String]) -> ExitCode {
    let made = trailer::Order::read(words).and_then(|order| order.make());
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error.to_string());
            ExitCode::from(2)
        }
    }
}
