//! A change that takes several pushes. The nodes or `pki/` tell where it stands, so that after a run
//! that was stopped between two steps the same command goes on from there.

use super::session::Session;
use crate::failure::{Exit, Failure};

/// What a step leaves to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    Steps,
    Nothing,
}

/// Takes steps until nothing is left to be done, or as many as were asked for.
pub(crate) async fn take(
    session: &Session<'_>,
    max: Option<u32>,
    mut step: impl AsyncFnMut() -> Result<Left, Failure>,
) -> Result<Exit, Failure> {
    for _ in 0..max.unwrap_or(u32::MAX) {
        if step().await? == Left::Nothing {
            return Ok(Exit::Done);
        }
    }
    session.note("stopped as asked; the same command goes on from here");
    Ok(Exit::Done)
}
