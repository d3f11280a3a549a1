//! What `script/lock.sh` answers when a node is to be held.

/// Its first line: `locked VERSION`, or `held HOLDER`; ` broke HOLDER` behind it where the lock was
/// taken from another run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LockAnswer<'a> {
    /// What stands for the record as the node has it now, if it is held; else who holds it.
    pub(crate) version: Result<&'a str, &'a str>,
    /// Whom it was taken from; empty for nobody.
    pub(crate) broke: &'a str,
}

impl<'a> LockAnswer<'a> {
    /// Reads the line. What is not understood is somebody who holds it.
    pub(crate) fn read(line: &'a str) -> Self {
        let (line, broke) = line.split_once(" broke ").unwrap_or((line, ""));
        let version = line
            .strip_prefix("locked ")
            .ok_or_else(|| line.strip_prefix("held ").unwrap_or(line));
        Self { version, broke }
    }
}
