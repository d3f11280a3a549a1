//! Tests.
#[expect(clippy::unwrap_used, reason = "a test says where it failed")]
mod fetch;
#[expect(clippy::unwrap_used, reason = "a test says where it failed")]
mod mirror;
#[expect(clippy::unwrap_used, reason = "a test says where it failed")]
mod site;
