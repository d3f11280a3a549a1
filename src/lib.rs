//! Installs and upgrades a Kubernetes control plane the hard way, over SSH.
//!
//! A manifest says what a node should hold; a snapshot says what it holds; the difference is a
//! plan; applying a plan is dull. The modules, in reading order:

// Words.
pub mod arch;
pub mod credential;
pub mod digest;
pub mod image;
pub mod plain;
pub mod remote_path;
pub mod role;
pub mod secret;
pub mod unit_name;
pub mod version;
pub mod yaml;

// What can be installed.
pub mod component;
pub mod flags;
pub mod node_config;
pub mod template;

// What was asked for.
pub mod inventory;
pub mod lockfile;

// What kinstall knows.
pub mod artifact;
pub mod certificate;
pub mod encryption;
pub mod etcd_data;
pub mod etcd_users;
pub mod kubeconfig;

// What a node should hold, and what it does hold.
pub mod machine;
pub mod manifest;
pub mod node_object;
pub mod snapshot;

// What is wrong with it.
pub mod check;

// What to do.
pub mod action;
pub mod diff;
pub mod event;
pub mod journal;
pub mod membership;
pub mod plan;
pub mod preflight;
pub mod removal;
pub mod script;

// Edges.
pub mod apply;
pub mod authority;
mod background;
pub mod bundle;
pub mod durable;
pub mod failure;
pub mod fetch;
pub mod kube_api;
pub mod probe;
pub mod regular_file;
pub mod rooted;
pub mod survey;
pub mod transport;
pub mod verify;

#[cfg(test)]
mod fuzz;

// Commands.
pub mod cli;
mod engine;
pub mod terminal;
