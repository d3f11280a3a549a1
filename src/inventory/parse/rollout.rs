//! `[rollout]`.

use crate::inventory::draft::RolloutDraft;
use crate::inventory::settings::{Drain, OnFailure, Rollout, Widths};
use crate::inventory::table::{Found, Table, Value};

/// The most nodes that can have their turn at once.
const WIDTH_MAX: u32 = 100;

/// Reads `[rollout]`.
pub(super) fn read(mut table: Table<'_>, found: &mut Found) -> RolloutDraft {
    let default = Rollout::default();
    let mut seconds = |key, bounds, default| {
        let read = table.read(key, found, |value, found| {
            let seconds = value.integer("seconds", bounds, found)?;
            Some(value.at(u64::from(seconds)))
        });
        read.value().unwrap_or(default)
    };
    let ready_seconds = seconds("ready-seconds", 1..=3600, default.ready_seconds);
    let stable_seconds = seconds("stable-seconds", 0..=600, default.stable_seconds);
    let drain_seconds = seconds("drain-seconds", 10..=3600, default.drain_seconds);
    let drain = table.read("drain", found, |value, found| {
        let words = [
            ("minor", Drain::Minor),
            ("always", Drain::Always),
            ("never", Drain::Never),
        ];
        value.word(&words, &[], found)
    });
    let on_failure = table.read("on-failure", found, |value, found| {
        let words = [("revert", OnFailure::Revert), ("stay", OnFailure::Stay)];
        let aliases = [("rollback", "revert"), ("keep", "stay"), ("stop", "stay")];
        value.word(&words, &aliases, found)
    });
    let width = table.take("width");
    let width = width.and_then(|value| value.table("`width` in `[rollout]`", found));
    let mut draft = RolloutDraft {
        rollout: Rollout {
            ready_seconds,
            stable_seconds,
            width: default.width,
            on_failure: on_failure.value().unwrap_or_default(),
            drain: drain.value().unwrap_or_default(),
            drain_seconds,
        },
        apiserver_width: None,
    };
    if let Some(table) = width {
        widths(table, &mut draft, found);
    }
    table.finish(found);
    draft
}

/// Reads `width`.
fn widths(mut table: Table<'_>, draft: &mut RolloutDraft, found: &mut Found) {
    let nodes = |value: &Value<'_>, found: &mut Found| {
        let nodes = value.integer("nodes", 1..=WIDTH_MAX, found)?;
        Some(value.at(usize::try_from(nodes).ok()?))
    };
    let default = Widths::default();
    let apiserver = table.read("kube-apiserver", found, nodes);
    let controllers = table.read("controllers", found, nodes);
    let workers = table.read("workers", found, nodes);
    if let Some(value) = table.take_foreign("etcd") {
        let message = "etcd's members always have their turn one by one";
        let help = "leave it out: with two away, three members have no quorum";
        found.push(value.problem("not to be said", message).help(help));
    }
    table.finish(found);
    draft.apiserver_width = apiserver.this().cloned();
    draft.rollout.width = Widths {
        apiserver: apiserver.value().unwrap_or(default.apiserver),
        controllers: controllers.value().unwrap_or(default.controllers),
        workers: workers.value().unwrap_or(default.workers),
    };
}
