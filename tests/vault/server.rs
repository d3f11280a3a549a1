//! A genuine server of Vault's API for tests: `OpenBao`, in its development mode, on loopback.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;
use serde_json::{Value, json};

/// The token that may do anything.
pub(crate) const ROOT: &str = "root-of-the-tests";
/// The longest that a server takes to begin, on a busy machine.
const START: Duration = Duration::from_secs(60);
/// How often a server is begun where another program takes its port meanwhile.
const STARTS_MAX: u32 = 5;
/// How long an authority lasts: longer than any certificate of a test.
const LONG: &str = "80000h";
/// The engine whose authority signs those of all others.
const ROOT_ENGINE: &str = "pki_root";

/// A server; it ends when it is dropped.
pub(crate) struct Server {
    child: Child,
    address: String,
    room: tempfile::TempDir,
    is_tls: bool,
}

/// The program; none, with the reason said, where there is none.
fn program(test: &str) -> Option<PathBuf> {
    let program = std::env::var_os("KINSTALL_OPENBAO").map(PathBuf::from);
    if program.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "{test} must run: there is no server of Vault's API"
        );
        println!(
            "NOT RUN: {test}: `KINSTALL_OPENBAO` is not set; `cargo xtask test` brings a genuine \
             server of Vault's API"
        );
    }
    program
}

impl Server {
    /// Starts one, with userpass and a root authority; none where there is no program.
    pub(crate) fn start(test: &str) -> Option<Self> {
        Some(Self::begin(&program(test)?, false, None))
    }

    /// The same with what a file of configuration has besides, as another listener.
    pub(crate) fn start_with(test: &str, configuration: &Path) -> Option<Self> {
        Some(Self::begin(&program(test)?, false, Some(configuration)))
    }

    /// The same with TLS.
    pub(crate) fn start_tls(test: &str) -> Option<Self> {
        Some(Self::begin(&program(test)?, true, None))
    }

    fn begin(program: &Path, is_tls: bool, more: Option<&Path>) -> Self {
        for _ in 0..STARTS_MAX {
            if let Some(server) = Self::try_begin(program, is_tls, more) {
                server.call("POST", "sys/auth/userpass", json!({"type": "userpass"}));
                server.enable(ROOT_ENGINE);
                let root = json!({"common_name": "Root of the house", "ttl": "87600h", "key_type": "ec",
                    "key_bits": 256});
                let path = format!("{ROOT_ENGINE}/root/generate/internal");
                server.call("POST", &path, root);
                return server;
            }
        }
        panic!("no server of Vault's API came up");
    }

    fn try_begin(program: &Path, is_tls: bool, more: Option<&Path>) -> Option<Self> {
        let room = tempfile::tempdir().unwrap();
        // It takes the port after its own, too.
        let port = (0..100).find_map(|_| {
            let first = TcpListener::bind("127.0.0.1:0").ok()?;
            let port = first.local_addr().ok()?.port();
            TcpListener::bind(("127.0.0.1", port.checked_add(1)?)).ok()?;
            Some(port)
        })?;
        let log = fs::File::create(room.path().join("log")).unwrap();
        let mut command = Command::new(program);
        command
            .args(["server", "-dev", "-dev-no-store-token"])
            .arg(format!("-dev-root-token-id={ROOT}"))
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
            .env("HOME", room.path())
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.into_file()))
            .stderr(Stdio::null());
        if let Some(more) = more {
            command.arg("-config").arg(more);
        }
        if is_tls {
            let mut place = std::ffi::OsString::from("-dev-tls-cert-dir=");
            place.push(room.path());
            command.arg("-dev-tls").arg(place);
        }
        let mut server = Self {
            child: command.spawn().unwrap(),
            address: format!("127.0.0.1:{port}"),
            room,
            is_tls,
        };
        let begun = Instant::now();
        while begun.elapsed() < START {
            if server.child.try_wait().unwrap().is_some() {
                return None;
            }
            if server.ask("GET", "sys/health", None, &[]).0 == 200 {
                return Some(server);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The CA of its own TLS.
    pub(crate) fn ca(&self) -> PathBuf {
        self.room.path().join("vault-ca.pem")
    }

    /// A request with the root's token: the status and the answer; status 0 is none.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        headers: &[String],
    ) -> (u16, Value) {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--max-time",
            "30",
            "--noproxy",
            "*",
            "-X",
            method,
        ])
        .args([
            "-H",
            &format!("X-Vault-Token: {ROOT}"),
            "-w",
            "\n%{http_code}",
        ])
        .args(headers.iter().flat_map(|it| ["-H", it]));
        if self.is_tls {
            curl.arg("--cacert").arg(self.ca());
        }
        if let Some(body) = body {
            curl.args(["--data", &body.to_string()]);
        }
        let output = curl.arg(format!("{}/v1/{path}", self.url())).output();
        let text = String::from_utf8(output.expect("curl is there").stdout).unwrap();
        let (answer, status) = text.rsplit_once('\n').unwrap_or(("", "0"));
        let answer = serde_json::from_str(answer).unwrap_or_else(|_| json!(answer));
        (status.parse().unwrap(), answer)
    }

    /// Has something done that must go well; answers its `data`, or all of it where it has none.
    #[track_caller]
    pub(crate) fn call(&self, method: &str, path: &str, body: Value) -> Value {
        self.call_in("", method, path, body)
    }

    /// The same in a namespace.
    #[track_caller]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "it is written where it is used"
    )]
    pub(crate) fn call_in(&self, namespace: &str, method: &str, path: &str, body: Value) -> Value {
        let headers: Vec<String> = if namespace.is_empty() {
            Vec::new()
        } else {
            vec![format!("X-Vault-Namespace: {namespace}")]
        };
        let (status, mut answer) = self.ask(method, path, Some(&body), &headers);
        assert!(
            (200..300).contains(&status),
            "{method} {path}: {status} {answer}"
        );
        match answer.get_mut("data") {
            Some(data) if !data.is_null() => data.take(),
            _ => answer,
        }
    }

    /// Mounts an engine for certificates that last ten years.
    pub(crate) fn enable(&self, mount: &str) {
        let config = json!({"max_lease_ttl": "87600h", "default_lease_ttl": "43800h"});
        let body = json!({"type": "pki", "config": config});
        self.call("POST", &format!("sys/mounts/{mount}"), body);
    }

    /// Mounts an engine, with an intermediate authority that the root signed. Vault knows that root.
    pub(crate) fn mount(&self, mount: &str) {
        self.enable(mount);
        let issuer = self.authority(mount, true, LONG);
        self.call(
            "POST",
            &format!("{mount}/config/issuers"),
            json!({"default": issuer}),
        );
    }

    /// The same, and Vault does not know the root.
    pub(crate) fn mount_without_root(&self, mount: &str) {
        self.enable(mount);
        let issuer = self.authority(mount, false, LONG);
        self.call(
            "POST",
            &format!("{mount}/config/issuers"),
            json!({"default": issuer}),
        );
    }

    /// Gives a mount another authority, which signs from then on.
    pub(crate) fn rotate(&self, mount: &str) {
        self.mount_for(mount, LONG);
    }

    /// Gives a mount an authority that lasts as long as said.
    pub(crate) fn mount_for(&self, mount: &str, ttl: &str) {
        let issuer = self.authority(mount, true, ttl);
        self.call(
            "POST",
            &format!("{mount}/config/issuers"),
            json!({"default": issuer}),
        );
    }

    /// Makes an intermediate authority of a mount; answers its issuer's id.
    fn authority(&self, mount: &str, with_root: bool, ttl: &str) -> Value {
        // X.520: at most 64 characters.
        let name: String = format!("Intermediate CA for {mount}")
            .chars()
            .take(60)
            .collect();
        let subject = json!({"common_name": name, "key_type": "ec",
            "key_bits": 256});
        let made = self.call(
            "POST",
            &format!("{mount}/intermediate/generate/internal"),
            subject,
        );
        let request = json!({"csr": made["csr"], "ttl": ttl, "use_csr_values": true,
            "format": if with_root { "pem_bundle" } else { "pem" }});
        let path = format!("{ROOT_ENGINE}/root/sign-intermediate");
        let signed = self.call("POST", &path, request);
        let body = json!({"certificate": signed["certificate"]});
        let set = self.call("POST", &format!("{mount}/intermediate/set-signed"), body);
        let ids = set["imported_issuers"].as_array().unwrap();
        let mapping = set["mapping"].as_object().unwrap();
        // That of the root has no key here.
        let own = |id: &&Value| {
            let key = id.as_str().and_then(|id| mapping.get(id)?.as_str());
            key.is_some_and(|key| !key.is_empty())
        };
        ids.iter().find(own).unwrap().clone()
    }

    /// The certificate of the authority that a mount signs with.
    pub(crate) fn authority_pem(&self, mount: &str) -> String {
        let (status, pem) = self.ask("GET", &format!("{mount}/ca/pem"), None, &[]);
        assert_eq!(status, 200, "{pem}");
        pem.as_str().unwrap().to_owned()
    }

    /// Makes a role; `more` goes over what allows everything to everybody.
    pub(crate) fn role(&self, mount: &str, name: &str, more: &Value) {
        let mut role = json!({"allow_any_name": true, "enforce_hostnames": false,
            "allow_ip_sans": true, "key_type": "ec", "key_bits": 256, "max_ttl": "43800h"});
        for (key, value) in more.as_object().unwrap() {
            role[key] = value.clone();
        }
        self.call("POST", &format!("{mount}/roles/{name}"), role);
    }

    /// Makes a policy of paths, each with what it allows.
    pub(crate) fn policy(&self, name: &str, paths: &[(&str, &str)]) {
        let rules = paths
            .iter()
            .map(|(path, allowed)| format!("path \"{path}\" {{ capabilities = [{allowed}] }}\n"));
        let policy = json!({"policy": rules.collect::<String>()});
        self.call("POST", &format!("sys/policies/acl/{name}"), policy);
    }

    /// Makes a user of a policy.
    pub(crate) fn user(&self, name: &str, password: &str, policy: &str) {
        let body = json!({"password": password, "token_policies": policy});
        self.call("POST", &format!("auth/userpass/users/{name}"), body);
    }

    /// How many tokens there are.
    pub(crate) fn tokens(&self) -> usize {
        let found = self.call("LIST", "auth/token/accessors", json!({}));
        found["keys"].as_array().unwrap().len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
