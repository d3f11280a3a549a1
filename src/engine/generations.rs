//! The generations that a node has on record: what it can go back to.

use std::collections::BTreeMap;

use crate::failure::{Exit, Failure};
use crate::script;
use crate::snapshot::Recorded;
use crate::survey;
use crate::transport::{Body, Transport};

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Generation {
    /// Its number, counted from 1 on each node.
    pub(crate) number: u64,
    /// When it was recorded, in seconds since 1970.
    pub(crate) at: i64,
    /// The version of each component.
    pub(crate) versions: BTreeMap<String, String>,
}

/// All of a node, the oldest first, and the record of the one that is wanted, where there is such a
/// one: a number, `last`, `previous`, or `none`.
pub(crate) async fn ask(
    transport: &Transport,
    wanted: &str,
) -> Result<(Vec<Generation>, Option<Recorded>), Failure> {
    let output = transport
        .run(script::GENERATIONS, &[wanted], Body::default())
        .await;
    let output = output.map_err(|error| Failure::new(Exit::Unreachable, error))?;
    let have = output.lines().filter_map(generation).collect();
    let recorded = output
        .lines()
        .find_map(|line| line.strip_prefix("recorded "));
    let recorded = recorded.map(serde_json::from_str).transpose();
    let recorded = recorded.map_err(|_| {
        let node = transport.node().clone();
        Failure::new(Exit::Failed, survey::Error::OfAnother { node })
    })?;
    Ok((have, recorded))
}

/// Reads `have N SECONDS VERSIONS`.
fn generation(line: &str) -> Option<Generation> {
    let mut words = line.strip_prefix("have ")?.splitn(3, ' ');
    Some(Generation {
        number: words.next()?.parse().ok()?,
        at: words.next()?.parse().ok()?,
        // A record of another kinstall's may have them elsewhere.
        versions: serde_json::from_str(words.next()?).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_generation() {
        let read = generation("have 12 1795000000 {\"etcd\":\"3.5.1\",\"kubectl\":\"1.32.3\"}");
        let read = read.unwrap();
        assert_eq!((read.number, read.at), (12, 1_795_000_000));
        assert_eq!(read.versions["kubectl"], "1.32.3");
        assert_eq!(generation("have 3 1 ").unwrap().versions, BTreeMap::new());
        assert_eq!(generation("recorded {}"), None);
    }
}
