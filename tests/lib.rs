//! Tests.
mod fetch;
mod mirror;
