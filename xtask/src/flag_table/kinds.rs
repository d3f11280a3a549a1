//! What a flag's value must look like. The sources name types in a dozen spellings; the tables
//! keep only what can be checked, and `text` for the rest.

/// The kind of a Kubernetes flag, by the first spelling that says something.
pub(super) fn of(name: &str, spellings: &[String]) -> Option<&'static str> {
    match name {
        "feature-gates" => return Some("gates"),
        "v" => return Some("int32"),
        // The docs took a word in its description for its type.
        "seccomp-default" => return Some("bool"),
        "stderrthreshold" | "vmodule" | "log-backtrace-at" => return Some("text"),
        _ => {}
    }
    spellings.first().map(|spelling| match spelling.as_str() {
        "bool" => "bool",
        "duration" => "duration",
        "int32" => "int32",
        "int" | "int64" => "int",
        "uint" | "uint64" => "uint",
        "float" | "float32" | "float64" => "float",
        "ip" => "ip",
        "strings" | "stringSlice" | "stringArray" => "list",
        "version" | "version[=true]" => "version",
        _ => "text",
    })
}

/// The kind of an etcd flag, by its default in etcd's own help. Numbers are named one by one:
/// a default of 0 may also stand for a text (`auto-compaction-retention` takes `5m`).
pub(super) fn etcd(name: &str, defaults: &[String]) -> &'static str {
    match name {
        "enable-grpc-gateway"
        | "enable-v2"
        | "memory-mlock"
        | "experimental-memory-mlock"
        | "strict-reconfig-check"
        | "version"
        | "experimental-stop-grpc-service-on-defrag" => {
            return "bool";
        }
        "election-timeout"
        | "heartbeat-interval"
        | "max-request-bytes"
        | "max-snapshots"
        | "max-txn-ops"
        | "max-wals"
        | "proxy-dial-timeout"
        | "proxy-failure-wait"
        | "proxy-read-timeout"
        | "proxy-refresh-interval"
        | "proxy-write-timeout"
        | "self-signed-cert-validity"
        | "snapshot-count" => return "uint",
        "quota-backend-bytes" | "backend-batch-limit" | "max-learners" => return "int",
        "backend-batch-interval" | "raft-read-timeout" | "raft-write-timeout" => {
            return "duration";
        }
        _ => {}
    }
    let defaults: Vec<&str> = defaults
        .iter()
        .map(|text| text.trim_matches('\''))
        .filter(|text| !text.is_empty())
        .collect();
    if defaults.contains(&"ignored") {
        "any"
    } else if defaults
        .iter()
        .any(|text| matches!(*text, "true" | "false"))
    {
        "bool"
    } else if defaults.iter().any(|text| is_duration(text)) {
        "duration"
    } else {
        "text"
    }
}

fn is_duration(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    unit.len() < text.len() && matches!(unit, "ms" | "s" | "m" | "h")
}
