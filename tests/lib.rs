//! Promises, tried on the real program: one file each for what a user sees.

#[expect(clippy::unwrap_used, reason = "a test says where it failed")]
mod bed;
#[expect(clippy::unwrap_used, reason = "a test says where it failed")]
mod bundle;
#[expect(clippy::unwrap_used, reason = "a test says where it failed")]
mod cache;
#[expect(clippy::unwrap_used, reason = "a test says where it failed")]
mod digests;
#[expect(clippy::unwrap_used, reason = "a test says where it failed")]
mod faults;
#[expect(clippy::unwrap_used, reason = "a test says where it failed")]
mod fetch;
#[expect(clippy::unwrap_used, reason = "a test says where it failed")]
mod golden;
#[expect(clippy::unwrap_used, reason = "a test says where it failed")]
mod hardening;
#[expect(clippy::unwrap_used, reason = "a test says where it failed")]
mod init;
#[expect(clippy::unwrap_used, reason = "a test says where it failed")]
mod interrupt;
#[expect(clippy::unwrap_used, reason = "a test says where it failed")]
mod into;
#[expect(clippy::unwrap_used, reason = "a test says where it failed")]
mod killed;
#[expect(clippy::unwrap_used, reason = "a test says where it failed")]
mod lab;
#[expect(clippy::unwrap_used, reason = "a test says where it failed")]
mod mirror;
#[expect(clippy::unwrap_used, reason = "a test says where it failed")]
mod push;
#[expect(clippy::unwrap_used, reason = "a test says where it failed")]
mod quoting;
#[expect(clippy::unwrap_used, reason = "a test says where it failed")]
mod tidy;
#[expect(clippy::unwrap_used, reason = "a test says where it failed")]
mod tree;
#[expect(clippy::unwrap_used, reason = "a test says where it failed")]
mod unfit;
#[expect(clippy::unwrap_used, reason = "a test says where it failed")]
mod versions;
