//! A bed to run servers in: a directory with everything they need, an etcd, and their children.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use fs_err as fs;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tempfile::TempDir;

use crate::pki::{Authority, ClientAuth, ServerAuth, service_account};

pub(crate) const VERSION: &str = "1.32.3";
const POLICY: &str = "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata}]}";

/// An `encryption-config.yaml` with this secret.
pub(crate) fn encryption(secret: &str) -> String {
    format!(
        "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n\
         - resources: [secrets]\n  providers:\n  \
         - aescbc: {{keys: [{{name: key1, secret: {secret}}}]}}\n  - identity: {{}}\n"
    )
}

pub(crate) struct Bed {
    dir: TempDir,
    etcd: Running,
    pub(crate) apiserver_port: u16,
    etcd_port: u16,
}

/// A child process, killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Bed {
    /// Makes all files, and starts an etcd that demands client certificates.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        let [apiserver_port, etcd_port, peer_port] = ports();
        let ca = Authority::new(at, "ca");
        ca.issue("apiserver", ("kube-apiserver", ""), &[ServerAuth]);
        ca.issue("etcd", ("etcd", ""), &[ServerAuth, ClientAuth]);
        ca.issue(
            "etcd-client",
            ("kube-apiserver-etcd-client", ""),
            &[ClientAuth],
        );
        ca.issue(
            "kubelet-client",
            ("kube-apiserver-kubelet-client", "x"),
            &[ClientAuth],
        );
        ca.issue("admin", ("admin", "system:masters"), &[ClientAuth]);
        ca.issue(
            "controller",
            ("system:kube-controller-manager", ""),
            &[ClientAuth],
        );
        ca.issue("serving-only", ("serving-only", ""), &[ServerAuth]);
        ca.kubeconfig("controller", "controller", apiserver_port);
        ca.kubeconfig("serving-only", "serving-only", apiserver_port);
        let other = Authority::new(at, "other");
        other.issue("stranger", ("stranger", "system:masters"), &[ClientAuth]);
        other.kubeconfig("distrustful", "controller", apiserver_port);
        ca.kubeconfig("stranger", "stranger", apiserver_port);
        service_account(at, "sa");
        service_account(at, "sa2");
        fs::write(at.join("audit.yaml"), POLICY).unwrap();
        let secret = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
        fs::write(at.join("encryption.yaml"), encryption(secret)).unwrap();
        fs::write(at.join("broken"), "{ not: [closed").unwrap();
        let mut etcd = etcd(at, etcd_port, peer_port);
        let bed = |etcd| Self {
            dir,
            etcd,
            apiserver_port,
            etcd_port,
        };
        let healthy = || get_as(at_of(&etcd), etcd_port, "/health", Some("etcd-client"));
        let deadline = Instant::now() + Duration::from_secs(20);
        while !healthy().is_ok_and(|(status, _)| status == 200) {
            assert!(
                Instant::now() < deadline,
                "etcd does not start: {}",
                etcd.output()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(etcd.child.try_wait().unwrap().is_none());
        bed(etcd)
    }

    pub(crate) fn path(&self, file: &str) -> String {
        self.dir.path().join(file).display().to_string()
    }

    pub(crate) fn write(&self, file: &str, text: &str) -> String {
        fs::write(self.dir.path().join(file), text).unwrap();
        self.path(file)
    }

    /// kube-apiserver's flags, all right.
    pub(crate) fn apiserver_flags(&self) -> Vec<String> {
        let flags = format!(
            "--bind-address=127.0.0.1 --secure-port={} --etcd-servers=https://127.0.0.1:{} \
             --etcd-cafile=D/ca.pem --etcd-certfile=D/etcd-client.pem \
             --etcd-keyfile=D/etcd-client.key --tls-cert-file=D/apiserver.pem \
             --tls-private-key-file=D/apiserver.key --client-ca-file=D/ca.pem \
             --kubelet-client-certificate=D/kubelet-client.pem \
             --kubelet-client-key=D/kubelet-client.key --service-account-key-file=D/sa.pub \
             --service-account-signing-key-file=D/sa.key --audit-policy-file=D/audit.yaml \
             --audit-log-path=D/audit.log --encryption-provider-config=D/encryption.yaml \
             --service-account-issuer=https://kubernetes.default.svc.cluster.local \
             --service-cluster-ip-range=10.32.0.0/24 --authorization-mode=Node,RBAC \
             --anonymous-auth=false --v=2",
            self.apiserver_port, self.etcd_port
        );
        self.words(&flags)
    }

    /// kube-controller-manager's flags, all right.
    pub(crate) fn controller_flags(&self, port: u16) -> Vec<String> {
        self.words(&format!(
            "--bind-address=127.0.0.1 --secure-port={port} --kubeconfig=D/controller.kubeconfig \
             --authentication-kubeconfig=D/controller.kubeconfig --root-ca-file=D/ca.pem \
             --authorization-kubeconfig=D/controller.kubeconfig --client-ca-file=D/ca.pem \
             --service-account-private-key-file=D/sa.key --cluster-signing-cert-file=D/ca.pem \
             --cluster-signing-key-file=D/ca.key --use-service-account-credentials=true"
        ))
    }

    /// Words with `D` standing for the bed's directory.
    pub(crate) fn words(&self, text: &str) -> Vec<String> {
        let dir = format!("{}/", self.dir.path().display());
        text.split_whitespace()
            .map(|word| word.replace("D/", &dir))
            .collect()
    }

    /// The program, made for this name and version.
    pub(crate) fn program(&self, name: &str, version: &str) -> PathBuf {
        let out = self.dir.path().join(format!("{name}-v{version}"));
        if !out.exists() {
            let made = Command::new(env!("CARGO_BIN_EXE_standin"))
                .args(["make", "--name", name, "--version", version, "--out"])
                .arg(&out)
                .status();
            assert!(made.unwrap().success());
        }
        out
    }

    pub(crate) fn start(&self, name: &str, version: &str, flags: &[String]) -> Running {
        self.start_told(name, version, flags, None)
    }

    /// Starts a program as systemd would, with a socket to notify.
    pub(crate) fn start_told(
        &self,
        name: &str,
        version: &str,
        flags: &[String],
        notify: Option<&Path>,
    ) -> Running {
        let mut command = Command::new(self.program(name, version));
        command.args(flags).env_remove("NOTIFY_SOCKET");
        if let Some(notify) = notify {
            command.env("NOTIFY_SOCKET", notify);
        }
        Running::spawn(command, self.dir.path().join(format!("{name}.log")))
    }

    /// Asks on loopback, with `<user>.pem` as the client's certificate.
    pub(crate) fn get(
        &self,
        port: u16,
        path: &str,
        user: Option<&str>,
    ) -> std::io::Result<(u16, String)> {
        get_as(self.dir.path(), port, path, user)
    }

    /// Asks kube-apiserver as the administrator; answers in JSON.
    #[track_caller]
    pub(crate) fn api(&self, verb: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
        let asked = (verb, path, body);
        let answer = ask_as(self.dir.path(), self.apiserver_port, asked, Some("admin"));
        let (status, body) = answer.unwrap();
        (status, serde_json::from_str(&body).unwrap())
    }

    /// Asks until the status is as wanted.
    #[track_caller]
    pub(crate) fn expect(&self, port: u16, path: &str, user: Option<&str>, wanted: u16) -> String {
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            let answer = self.get(port, path, user);
            match answer {
                Ok((status, body)) if status == wanted => return body,
                other => assert!(Instant::now() < deadline, "{path}: {other:?}, not {wanted}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn stop_etcd(&mut self) {
        self.etcd.child.kill().unwrap();
        self.etcd.child.wait().unwrap();
    }
}

impl Running {
    fn spawn(mut command: Command, log: PathBuf) -> Self {
        let file = fs::File::create(&log).unwrap().into_file();
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        Self {
            child: command.spawn().unwrap(),
            log,
        }
    }

    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for the end, at most this long.
    #[track_caller]
    pub(crate) fn end(&mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "it does not end: {}",
                self.output()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ports that were free a moment ago.
pub(crate) fn ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

fn at_of(etcd: &Running) -> &Path {
    etcd.log.parent().unwrap()
}

fn etcd(at: &Path, client: u16, peer: u16) -> Running {
    let mut command = Command::new("etcd");
    let file = |name: &str| at.join(name).display().to_string();
    let (client, peer) = (
        format!("https://127.0.0.1:{client}"),
        format!("http://127.0.0.1:{peer}"),
    );
    command.args([
        "--name=one",
        "--client-cert-auth=true",
        "--log-outputs=stderr",
        "--logger=zap",
    ]);
    command.arg(format!("--data-dir={}", file("data")));
    command.arg(format!("--listen-client-urls={client}"));
    command.arg(format!("--advertise-client-urls={client}"));
    command.arg(format!("--listen-peer-urls={peer}"));
    command.arg(format!("--initial-advertise-peer-urls={peer}"));
    command.arg(format!("--initial-cluster=one={peer}"));
    command.arg(format!("--cert-file={}", file("etcd.pem")));
    command.arg(format!("--key-file={}", file("etcd.key")));
    command.arg(format!("--trusted-ca-file={}", file("ca.pem")));
    Running::spawn(command, at.join("etcd.log"))
}

fn get_as(dir: &Path, port: u16, path: &str, user: Option<&str>) -> std::io::Result<(u16, String)> {
    ask_as(dir, port, ("GET", path, ""), user)
}

/// Asks with a verb, a path and a body.
fn ask_as(
    dir: &Path,
    port: u16,
    (verb, path, body): (&str, &str, &str),
    user: Option<&str>,
) -> std::io::Result<(u16, String)> {
    let read = |file: String| fs::read(dir.join(file)).unwrap();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(&read("ca.pem".into())).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match user {
        None => builder.with_no_client_auth(),
        Some(user) => {
            let certificate = CertificateDer::from_pem_slice(&read(format!("{user}.pem"))).unwrap();
            let key = PrivateKeyDer::from_pem_slice(&read(format!("{user}.key"))).unwrap();
            builder
                .with_client_auth_cert(vec![certificate], key)
                .unwrap()
        }
    };
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    write!(
        stream,
        "{verb} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    if answer.is_empty() {
        read?;
    }
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.ok_or(std::io::ErrorKind::InvalidData)?;
    let body = answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body)
        .unwrap_or_default();
    Ok((status, body.to_owned()))
}
