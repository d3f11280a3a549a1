//! kubelet and kube-proxy: both judge their flags and the files that these name, then serve their health. No Pod is
//! run, and no kube-apiserver is told of it.

use std::{net::SocketAddr, path::Path, time::Duration};

use kinstall::version::Version;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream, UnixStream},
    signal::unix::SignalKind,
    time::timeout,
};

use crate::{
    apiserver::stop,
    arguments::{Arguments, is_from},
    files::{self, Usage},
    http::{self, Response},
    kubeconfig,
    log::klog,
    manifest, notify,
    refusal::Refusal,
    trailer::{Identity, Program},
};

const PATIENCE: Duration = Duration::from_secs(10);
const KUBELET: (&str, &str) = ("kubelet.config.k8s.io/v1beta1", "KubeletConfiguration");
const PROXY: (&str, &str) = ("kubeproxy.config.k8s.io/v1alpha1", "KubeProxyConfiguration");

/// What is left to know once all is judged.
struct Options {
    /// Where health is told.
    healthz: String,
    /// The runtime's socket.
    runtime: Option<String>,
}

/// Runs until it is told to stop.
pub(crate) async fn run(identity: Identity, arguments: &Arguments) -> Result<(), Refusal> {
    if arguments.is_on("cleanup", false) {
        // It wrote no rules.
        return Ok(());
    }
    let options = match identity.program {
        Program::Kubelet => kubelet(identity.version, arguments),
        _ => proxy(arguments),
    };
    let options = options.map_err(Refusal::start)?;
    let mut term = stop(SignalKind::terminate())?;
    let mut int = stop(SignalKind::interrupt())?;
    if let Some(socket) = &options.runtime {
        reach(socket).await.map_err(Refusal::start)?;
    }
    let listener = TcpListener::bind(&options.healthz).await.map_err(|error| {
        let (address, reason) = (&options.healthz, files::reason(&error));
        Refusal::start(format!("listen tcp {address}: bind: {reason}"))
    })?;
    if let Err(error) = notify::ready() {
        klog(
            'W',
            "notify.go:1",
            &format!("systemd was not told: {error}"),
        );
    }
    let name = identity.program.name();
    klog('I', "server.go:1", &format!("Started {name} (stand-in)"));
    tokio::select! {
        () = serve(&listener, identity.program) => {}
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}

async fn serve(listener: &TcpListener, program: Program) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let _ = timeout(PATIENCE, converse(stream, program)).await;
        }
    }
}

async fn converse(mut stream: TcpStream, program: Program) -> std::io::Result<()> {
    let asked = http::asked(&mut stream).await?;
    let response = match (asked.path.as_str(), program) {
        ("/healthz", Program::Kubelet) => Response::text(200, "ok"),
        ("/healthz" | "/livez", _) => {
            let now = time::OffsetDateTime::now_utc().to_string();
            Response::json(
                200,
                json!({"lastUpdated": now, "currentTime": now}).to_string(),
            )
        }
        _ => Response::text(404, "404 page not found\n"),
    };
    http::answer(&mut stream, response).await
}

/// A kubelet does not start without its runtime.
async fn reach(socket: &str) -> Result<(), String> {
    let path = socket.strip_prefix("unix://").unwrap_or(socket);
    let reached = UnixStream::connect(path).await;
    reached.map(drop).map_err(|error| {
        let reason = files::reason(&error);
        format!(
            "failed to run Kubelet: validate service connection: validate CRI v1 runtime API for \
             endpoint \"{socket}\": dial unix {path}: connect: {reason}"
        )
    })
}

fn kubelet(version: Version, arguments: &Arguments) -> Result<Options, String> {
    let config = configuration(arguments, KUBELET)?;
    let (certificate, key) = ("tls-cert-file", "tls-private-key-file");
    files::check_pair(arguments, certificate, key, Usage::Server)?;
    if let Some((certificate, key)) =
        text(&config["tlsCertFile"]).zip(text(&config["tlsPrivateKeyFile"]))
    {
        files::pair(&files::read(certificate)?, &files::read(key)?)?;
    }
    let authority = text(&config["authentication"]["x509"]["clientCAFile"]);
    if let Some(path) = arguments.get("client-ca-file").or(authority) {
        files::authorities(&files::read(path)?)
            .map_err(|reason| format!("unable to load client CA file {path}: {reason}"))?;
    }
    // While it is given a certificate, there is no kubeconfig yet.
    let given = arguments.get("kubeconfig");
    let bootstrap = arguments.get("bootstrap-kubeconfig");
    match (given, bootstrap) {
        (Some(path), None) => drop(kubeconfig::endpoint(path)?),
        (Some(path), Some(_)) if Path::new(path).exists() => drop(kubeconfig::endpoint(path)?),
        (_, Some(path)) => drop(files::read(path)?),
        (None, None) => {}
    }
    // Before 1.27 it is a flag, from then on a field, which a flag goes before while there is one.
    let field = text(&config["containerRuntimeEndpoint"]).filter(|_| is_from(version, 27));
    let runtime = arguments.get("container-runtime-endpoint").or(field);
    let none = "failed to validate kubelet flags: the container runtime endpoint address was not specified or empty";
    if runtime.is_none() && is_from(version, 24) {
        return Err(none.to_owned());
    }
    let address = text(&config["healthzBindAddress"]).unwrap_or("127.0.0.1");
    let port = config["healthzPort"].as_u64().unwrap_or(10248);
    Ok(Options {
        healthz: format!("{address}:{port}"),
        runtime: runtime.map(str::to_owned),
    })
}

fn proxy(arguments: &Arguments) -> Result<Options, String> {
    let config = configuration(arguments, PROXY)?;
    let named = text(&config["clientConnection"]["kubeconfig"]);
    if let Some(path) = named.or(arguments.get("kubeconfig")) {
        kubeconfig::endpoint(path)?;
    }
    let given = text(&config["healthzBindAddress"]).or(arguments.get("healthz-bind-address"));
    let address = given.unwrap_or("0.0.0.0:10256");
    // An address alone is one at the usual port.
    let whole = address.parse::<SocketAddr>().is_ok();
    Ok(Options {
        healthz: if whole {
            address.to_owned()
        } else {
            format!("{address}:10256")
        },
        runtime: None,
    })
}

/// What the file of `--config` says; nothing without one.
fn configuration(arguments: &Arguments, expected: (&str, &str)) -> Result<Value, String> {
    let Some(path) = arguments.get("config") else {
        return Ok(Value::Null);
    };
    let failed = |reason: String| format!("failed to load config file {path}: {reason}");
    let config = manifest::parse(&files::read(path)?).map_err(failed)?;
    let found = manifest::kind(&config);
    if found == expected {
        return Ok(config);
    }
    let (api, kind) = found;
    Err(failed(format!(
        "no kind {kind:?} is registered for version {api:?}"
    )))
}

fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}
