//! kube-apiserver: judges its flags and files, reaches etcd, then serves its health and, of all that
//! a cluster holds, Secrets, Leases and Nodes.

mod etcd;
mod health;
mod known;
mod leases;
mod nodes;
mod options;
mod secrets;
mod store;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rustls::pki_types::CertificateDer;
use serde_json::json;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

use self::{health::Health, leases::Leases, nodes::Nodes, options::Options, secrets::Secrets};
use crate::{
    arguments::Arguments,
    http::{Asked, Response},
    log::klog,
    notify,
    refusal::Refusal,
    serving,
    trailer::Identity,
    user::{Judge, User},
};

/// The real server says READY=1 when it serves, a little before its bootstrap hooks are through
/// and `/readyz` passes. Whoever waits only for systemd should notice.
const BOOTSTRAP: Duration = Duration::from_millis(300);
const ETCD_INTERVAL: Duration = Duration::from_secs(1);

/// Runs until it is told to stop.
pub(crate) async fn run(identity: Identity, arguments: &Arguments) -> Result<(), Refusal> {
    let options = Options::read(identity.version, arguments)?;
    let mut term = stop(SignalKind::terminate())?;
    let mut int = stop(SignalKind::interrupt())?;
    tokio::select! {
        reached = options.etcd.reach() => reached?,
        _ = term.recv() => return Ok(()),
        _ = int.recv() => return Ok(()),
    }
    let listener = serving::listen(arguments, 6443).await?;
    let health = Arc::new(Mutex::new(Health::default()));
    let handler = Arc::new(Handler {
        identity,
        anonymous: options.anonymous,
        judge: options.judge,
        health: health.clone(),
        leases: Leases::new(options.etcd.clone(), &options.prefix),
        nodes: Nodes {
            etcd: options.etcd.clone(),
            root: format!("{}/minions", options.prefix),
            version: format!("v{}", identity.version),
        },
        secrets: Secrets {
            etcd: options.etcd.clone(),
            root: format!("{}/secrets", options.prefix),
            keyring: options.keyring,
        },
    });
    let watch = async {
        loop {
            let state = options.etcd.check().await.err();
            health.lock().expect("no one panics with it").etcd(state);
            sleep(ETCD_INTERVAL).await;
        }
    };
    let bootstrap = async {
        if let Err(error) = notify::ready() {
            klog(
                'W',
                "notify.go:1",
                &format!("systemd was not told: {error}"),
            );
        }
        klog('I', "secure_serving.go:213", "Serving securely");
        sleep(BOOTSTRAP).await;
        health.lock().expect("no one panics with it").bootstrapped();
        std::future::pending::<()>().await;
    };
    let shutdown = async {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        health.lock().expect("no one panics with it").stopping();
        klog(
            'I',
            "genericapiserver.go:1",
            "[graceful-termination] shutdown event: ShutdownInitiated",
        );
        sleep(options.shutdown_delay).await;
    };
    tokio::select! {
        () = serving::serve(listener, options.tls, handler) => {}
        () = watch => {}
        () = bootstrap => {}
        () = shutdown => {}
    }
    Ok(())
}

/// A signal to stop by.
pub(crate) fn stop(kind: SignalKind) -> Result<Signal, Refusal> {
    signal(kind).map_err(|error| Refusal::start(error.to_string()))
}

/// Who may ask what, and the answers.
struct Handler {
    identity: Identity,
    anonymous: bool,
    judge: Judge,
    health: Arc<Mutex<Health>>,
    leases: Leases,
    nodes: Nodes,
    secrets: Secrets,
}

impl serving::Handler for Handler {
    async fn answer(&self, asked: Asked, shown: Option<&[CertificateDer<'_>]>) -> Response {
        let user = match self.judge.user(shown) {
            Err(error) => {
                klog(
                    'E',
                    "authentication.go:73",
                    &format!("Unable to authenticate: {error}"),
                );
                return Response::refused(401, "Unauthorized", "Unauthorized");
            }
            Ok(None) if !self.anonymous => {
                return Response::refused(401, "Unauthorized", "Unauthorized");
            }
            Ok(user) => user,
        };
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        if let Some(answer) = self.own(path, query.starts_with("verbose")) {
            return answer;
        }
        let administrates = user.as_ref().is_some_and(is_administrator);
        let leads = user.as_ref().is_some_and(is_controller);
        let mut kept = None;
        if administrates {
            kept = self.kept(&asked).await;
        }
        if kept.is_none() && (administrates || leads) {
            kept = self.leases.answer(&asked).await;
        }
        kept.unwrap_or_else(|| other(user.as_ref(), path))
    }
}

impl Handler {
    /// What only an administrator is told.
    async fn kept(&self, asked: &Asked) -> Option<Response> {
        if let Some(answer) = known::answer(asked) {
            return Some(answer);
        }
        if let Some(answer) = self.secrets.answer(asked).await {
            return Some(answer);
        }
        self.nodes.answer(asked).await
    }

    /// What a server tells of itself.
    fn own(&self, path: &str, verbose: bool) -> Option<Response> {
        let health = self.health.lock().expect("no one panics with it");
        Some(match path {
            "/readyz" => health.ready(verbose),
            "/livez" => health.live(verbose),
            "/healthz" => health.healthy(verbose),
            "/version" => self.version(),
            _ => return None,
        })
    }

    fn version(&self) -> Response {
        let version = self.identity.version;
        let body = json!({
            "major": version.major.to_string(), "minor": version.minor.to_string(),
            "gitVersion": format!("v{version}"), "gitTreeState": "stand-in",
        });
        Response::json(200, body.to_string())
    }
}

fn is_administrator(user: &User) -> bool {
    user.groups.iter().any(|group| group == "system:masters")
}

fn is_controller(user: &User) -> bool {
    let names = ["system:kube-controller-manager", "system:kube-scheduler"];
    names.contains(&user.name.as_str())
}

/// There is no more of an API here: the administrator hears so, everyone else may not ask.
fn other(user: Option<&User>, path: &str) -> Response {
    if user.is_some_and(is_administrator) {
        return Response::refused(
            404,
            "NotFound",
            "the server could not find the requested resource",
        );
    }
    let name = user.map_or("system:anonymous", |user| user.name.as_str());
    let message = format!("forbidden: User \"{name}\" cannot get path \"{path}\"");
    Response::refused(403, "Forbidden", &message)
}
