//! kube-controller-manager and kube-scheduler: both judge their files, wait for their
//! kube-apiserver as themselves, then serve their health. Neither tells systemd anything.

use std::{sync::Arc, time::Duration};

use kinstall::version::Version;
use rustls::pki_types::CertificateDer;
use tokio::{
    signal::unix::SignalKind,
    time::{Instant, sleep},
};

use crate::{
    apiserver::stop,
    arguments::Arguments,
    client::{Endpoint, Failure},
    election::Candidate,
    files::{self, Usage},
    http::{Asked, Response},
    kubeconfig,
    log::klog,
    manifest,
    refusal::Refusal,
    serving,
    trailer::{Identity, Program},
};

/// How long the real ones wait for kube-apiserver.
const PATIENCE: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_millis(500);

/// Runs until it is told to stop.
pub(crate) async fn run(identity: Identity, arguments: &Arguments) -> Result<(), Refusal> {
    let port = match identity.program {
        Program::Scheduler => 10259,
        _ => 10257,
    };
    arguments.port(port)?;
    let servers = servers(identity, arguments).map_err(Refusal::start)?;
    let tls = serving::tls(arguments)?;
    let mut term = stop(SignalKind::terminate())?;
    let mut int = stop(SignalKind::interrupt())?;
    let leads = arguments.is_on("leader-elect", true);
    let candidate = Candidate {
        server: &servers[0],
        name: identity.program.name(),
        identity: who(),
    };
    let work = async {
        for server in &servers {
            wait(server).await?;
        }
        let listener = serving::listen(arguments, port).await?;
        klog('I', "secure_serving.go:213", "Serving securely");
        tokio::select! {
            () = serving::serve(listener, tls, Arc::new(Handler)) => {}
            () = candidate.run(), if leads => {}
        }
        Ok(())
    };
    tokio::select! {
        done = work => return done,
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    if leads {
        candidate.release().await;
    }
    Ok(())
}

/// The machine's name and something unique, as the real ones call themselves in a Lease
/// (`k8s.io/kubernetes/cmd/kube-scheduler/app`).
fn who() -> String {
    let machine = rustix::system::uname();
    let machine = machine.nodename().to_string_lossy();
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let nanoseconds = since.unwrap_or_default().as_nanos();
    format!("{machine}_{}-{nanoseconds}", std::process::id())
}

/// `/healthz` needs no certificate; anything else would be asked of kube-apiserver first.
struct Handler;

impl serving::Handler for Handler {
    async fn answer(&self, asked: Asked, _shown: Option<&[CertificateDer<'_>]>) -> Response {
        if asked.path.split('?').next() == Some("/healthz") {
            return Response::text(200, "ok");
        }
        let message = format!(
            "forbidden: User \"system:anonymous\" cannot get path \"{}\"",
            asked.path
        );
        Response::refused(403, "Forbidden", &message)
    }
}

/// The kube-apiservers that the kubeconfigs name: usually one, three times.
fn servers(identity: Identity, arguments: &Arguments) -> Result<Vec<Endpoint>, String> {
    files::check_readable(arguments)?;
    files::check_pair(
        arguments,
        "tls-cert-file",
        "tls-private-key-file",
        Usage::Server,
    )?;
    files::check_authorities(arguments, "client-ca-file")?;
    files::check_authorities(arguments, "requestheader-client-ca-file")?;
    let own = match identity.program {
        Program::Scheduler => scheduler(identity.version, arguments)?,
        _ => controller_manager(arguments)?,
    };
    let flags = ["authentication-kubeconfig", "authorization-kubeconfig"];
    let mut paths = vec![own.as_str()];
    paths.extend(flags.into_iter().filter_map(|flag| arguments.get(flag)));
    paths.dedup();
    paths.into_iter().map(kubeconfig::endpoint).collect()
}

/// With `--config`, the flags about what the file says are ignored, `--kubeconfig` too.
fn scheduler(version: Version, arguments: &Arguments) -> Result<String, String> {
    let configured = match arguments.get("config") {
        Some(path) => manifest::check_scheduler(&files::read(path)?, version)?,
        None => arguments.get("kubeconfig").map(str::to_owned),
    };
    configured
        .filter(|path| !path.is_empty())
        .ok_or_else(unconfigured)
}

fn controller_manager(arguments: &Arguments) -> Result<String, String> {
    if let Err(reason) = files::check_authorities(arguments, "root-ca-file") {
        let path = arguments.get("root-ca-file").unwrap_or_default();
        return Err(format!("error parsing root-ca-file at {path}: {reason}"));
    }
    if let Some(path) = arguments.get("service-account-private-key-file") {
        files::signing_key(&files::read(path)?).map_err(|reason| {
            format!("error reading key for service account token controller: {reason}")
        })?;
    }
    let (certificate, key) = ("cluster-signing-cert-file", "cluster-signing-key-file");
    files::check_pair(arguments, certificate, key, Usage::Any)?;
    if let Some(path) = arguments.get(certificate) {
        let found = files::certificates(&files::read(path)?)?.len();
        if found != 1 {
            return Err(format!(
                "error starting controllers: failed to start kubernetes.io/kubelet-serving \
                 certificate controller: error reading CA cert file {path:?}: expected 1 \
                 certificate, found {found}"
            ));
        }
    }
    arguments
        .get("kubeconfig")
        .map(str::to_owned)
        .ok_or_else(unconfigured)
}

fn unconfigured() -> String {
    "invalid configuration: no configuration has been provided, \
     try setting KUBERNETES_MASTER environment variable"
        .to_owned()
}

/// Waits until kube-apiserver is ready for this client. What time will not mend is not waited
/// for. (The real scheduler would wait for ever; a test should not.)
async fn wait(server: &Endpoint) -> Result<(), Refusal> {
    let begun = Instant::now();
    loop {
        let reason = match server.get("/readyz").await {
            Ok(answer) if answer.status == 200 => return Ok(()),
            Ok(answer) if matches!(answer.status, 401 | 403) => {
                let words = "unable to load configmap based request-header-client-ca-file";
                let body: serde_json::Value =
                    serde_json::from_str(&answer.body).unwrap_or_default();
                let message = body["message"].as_str().unwrap_or("Unauthorized");
                return Err(Refusal::start(format!("{words}: {message}")));
            }
            Ok(answer) => answer.body,
            Err(Failure::Rejected(words)) => return Err(Refusal::start(words)),
            Err(Failure::Unreachable(words)) => words,
        };
        if begun.elapsed() > PATIENCE {
            return Err(Refusal::start(format!(
                "failed to wait for apiserver being healthy: timed out waiting for the \
                 condition: failed to get apiserver /readyz status: {reason}"
            )));
        }
        klog(
            'W',
            "healthz.go:1",
            &format!("kube-apiserver is not ready: {reason}"),
        );
        sleep(INTERVAL).await;
    }
}
