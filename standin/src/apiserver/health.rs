//! What `/livez`, `/readyz` and `/healthz` answer.

use crate::http::Response;

/// The state of the checks. A server begins before its bootstrap and with etcd reached.
#[derive(Debug, Default)]
pub(crate) struct Health {
    etcd: Option<String>,
    bootstrapped: bool,
    stopping: bool,
}

impl Health {
    /// Why etcd cannot be reached, or that it can.
    pub(crate) fn etcd(&mut self, failure: Option<String>) {
        self.etcd = failure;
    }

    /// The bootstrap hooks are through.
    pub(crate) fn bootstrapped(&mut self) {
        self.bootstrapped = true;
    }

    /// The server was told to stop.
    pub(crate) fn stopping(&mut self) {
        self.stopping = true;
    }

    pub(crate) fn ready(&self, verbose: bool) -> Response {
        answer(
            "readyz",
            verbose,
            &[self.of_etcd(), self.of_bootstrap(), self.of_shutdown()],
        )
    }

    pub(crate) fn live(&self, verbose: bool) -> Response {
        answer("livez", verbose, &[self.of_etcd(), self.of_bootstrap()])
    }

    pub(crate) fn healthy(&self, verbose: bool) -> Response {
        answer("healthz", verbose, &[self.of_etcd(), self.of_bootstrap()])
    }

    fn of_etcd(&self) -> (&'static str, Option<&str>) {
        ("etcd", self.etcd.as_deref())
    }

    fn of_bootstrap(&self) -> (&'static str, Option<&str>) {
        let failure = (!self.bootstrapped).then_some("not finished");
        ("poststarthook/rbac/bootstrap-roles", failure)
    }

    fn of_shutdown(&self) -> (&'static str, Option<&str>) {
        (
            "shutdown",
            self.stopping.then_some("process is shutting down"),
        )
    }
}

/// The real server withholds the reasons from its clients and logs them; here they are told.
fn answer(name: &str, verbose: bool, checks: &[(&str, Option<&str>)]) -> Response {
    let failed = checks.iter().any(|(_, failure)| failure.is_some());
    if !failed && !verbose {
        return Response::text(200, "ok");
    }
    let mut lines = vec!["[+]ping ok".to_owned()];
    lines.extend(checks.iter().map(|(check, failure)| match failure {
        None => format!("[+]{check} ok"),
        Some(reason) => format!("[-]{check} failed: {reason}"),
    }));
    lines.push(format!(
        "{name} check {}",
        if failed { "failed" } else { "passed" }
    ));
    Response::text(if failed { 500 } else { 200 }, lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_ready_from_its_bootstrap_to_its_shutdown() {
        let mut health = Health::default();
        assert_eq!(health.ready(false).status, 500);
        health.bootstrapped();
        assert_eq!(health.ready(false), Response::text(200, "ok"));
        health.etcd(Some("nobody is there".into()));
        assert!(
            health
                .ready(false)
                .body
                .contains("[-]etcd failed: nobody is there\n")
        );
        health.etcd(None);
        health.stopping();
        assert_eq!(
            (health.ready(false).status, health.live(false).status),
            (500, 200)
        );
    }
}
