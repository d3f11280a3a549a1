//! Promises, tried on the real program: one file each for what a user sees.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test says where it failed, and which one did not run"
)]

mod api;
mod bed;
mod benchmark;
mod bundle;
mod cache;
mod cluster;
mod crash;
mod data;
mod deadlines;
mod detached;
mod digests;
mod docs;
mod durable;
mod encryption;
mod etcd;
mod faults;
mod fetch;
mod generations;
mod genuine;
mod go;
mod golden;
mod hardening;
mod image;
mod init;
mod interrupt;
mod into;
mod intruder;
mod killed;
mod kubeconfig;
mod lab;
mod leases;
mod links;
mod logins;
mod members;
mod mirror;
mod mixed;
mod moving;
mod offline;
mod others;
mod own;
mod pki;
mod preflight;
mod push;
mod quoting;
mod reader;
mod registry;
mod rollback;
mod rotating;
mod rotation;
mod scale;
mod servers;
mod sshd;
mod terminal;
mod through;
mod tidy;
mod toy;
mod tree;
mod unfit;
mod uninstall;
mod users;
mod vault;
mod verify;
mod versions;
mod watch;
mod waves;
mod worker_faults;
