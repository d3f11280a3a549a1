//! Whether etcd is there, behind a real TLS connection with the real certificates.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{
    client::{Answer, Endpoint, Failure},
    log::klog,
    refusal::Refusal,
};

/// As long as the real server's client dials.
const PATIENCE: Duration = Duration::from_secs(20);
const INTERVAL: Duration = Duration::from_millis(500);

/// The members that `--etcd-servers` names.
pub(crate) struct Etcd(pub(crate) Vec<Endpoint>);

impl Etcd {
    /// Waits until a member answers. The real server's client goes past a member that it cannot
    /// agree on certificates with, and nobody notices; here every member is tried, and such a
    /// one is a reason not to start.
    pub(crate) async fn reach(&self) -> Result<(), Refusal> {
        let begun = Instant::now();
        loop {
            let mut reached = false;
            let mut failures = Vec::new();
            for member in &self.0 {
                match ask(member).await {
                    Ok(()) => reached = true,
                    Err(Failure::Rejected(words)) => return Err(refusal(&[words])),
                    Err(Failure::Unreachable(words)) => failures.push(words),
                }
            }
            if reached {
                return Ok(());
            }
            for words in &failures {
                klog(
                    'W',
                    "logging.go:55",
                    &format!("grpc: addrConn failed to connect: {words}"),
                );
            }
            if begun.elapsed() > PATIENCE {
                return Err(refusal(&failures));
            }
            sleep(INTERVAL).await;
        }
    }

    /// Whether any member answers now.
    pub(crate) async fn check(&self) -> Result<(), String> {
        let mut failures = Vec::new();
        for member in &self.0 {
            match ask(member).await {
                Ok(()) => return Ok(()),
                Err(failure) => failures.push(failure.words().to_owned()),
            }
        }
        Err(failures.join("; "))
    }

    /// Asks the first member that answers something in JSON.
    pub(crate) async fn call(&self, path: &str, body: &Value) -> Result<Value, String> {
        let body = body.to_string();
        let mut failures = Vec::new();
        for member in &self.0 {
            match member.send("POST", path, &body).await {
                Ok(Answer { status: 200, body }) => {
                    return serde_json::from_str(&body).map_err(|error| error.to_string());
                }
                Ok(answer) => failures.push(format!("{}: {}", answer.status, answer.body)),
                Err(failure) => failures.push(failure.words().to_owned()),
            }
        }
        Err(failures.join("; "))
    }
}

/// etcd answers `/health` only when it has a leader.
async fn ask(member: &Endpoint) -> Result<(), Failure> {
    let answer = member.get("/health").await?;
    if answer.status == 200 && answer.body.contains("\"health\":\"true\"") {
        return Ok(());
    }
    Err(Failure::Unreachable(format!(
        "etcd is not healthy: {}",
        answer.body
    )))
}

fn refusal(failures: &[String]) -> Refusal {
    Refusal::start(format!(
        "error creating storage factory: context deadline exceeded: {}",
        failures.join("; ")
    ))
}
