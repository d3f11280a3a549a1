//! What a pin rests on, whatever the lockfile says of it. Pure.
//!
//! A lockfile comes with an inventory, perhaps from somebody else. Its digests can only make a fetch
//! stricter; its words would make it look better than it is.

use crate::artifact::{Artifact, Origin};
use crate::inventory::Source;
use crate::lockfile::{Pin, Trust};

/// What a pin rests on, as far as this kinstall can tell by itself.
pub(super) fn trust(source: &Source, artifact: &Artifact, pin: &Pin) -> Trust {
    if artifact.origin == Origin::Own {
        return Trust::Yours;
    }
    let known = artifact.known_digest().filter(|_| !source.rebuilt);
    match (known, pin.trust) {
        (Some(known), _) if known == pin.digest => Trust::BuiltIn,
        (_, Trust::Published) if has_https(source, artifact.origin) => Trust::Published,
        (_, Trust::Mirror | Trust::Bundle) => pin.trust,
        // A digest that another kinstall knows, https that is nowhere, a build of the user's own that
        // the inventory does not name.
        _ => Trust::Claimed,
    }
}

/// Whether any source of an origin can publish a checksum over https.
pub(super) fn has_https(source: &Source, origin: Origin) -> bool {
    let bases = match origin {
        Origin::Etcd => &source.etcd,
        Origin::Kubernetes => &source.kubernetes,
        Origin::Own => return false,
    };
    let is_https = |base: &String| base.trim_start().to_ascii_lowercase().starts_with("https:");
    bases.iter().any(is_https)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::arch::Arch;
    use crate::artifact::Program;
    use crate::digest::Digest;

    fn program(version: &str) -> Program {
        Program {
            name: "kubectl".to_owned(),
            version: version.parse().unwrap(),
            arch: Arch::Arm64,
            own: None,
        }
    }

    #[track_caller]
    fn check(base: &str, says: Trust, expected: Trust) {
        let artifact = program("1.99.3").artifact().unwrap();
        let source = Source {
            kubernetes: vec![base.to_owned()],
            ..Source::default()
        };
        let pin = Pin {
            size: 1,
            digest: Digest::of(b"evil"),
            trust: says,
            members: BTreeMap::new(),
        };
        assert_eq!(trust(&source, &artifact, &pin), expected, "{base} {says}");
    }

    #[test]
    fn a_word_holds_only_where_it_can() {
        for base in ["http://mirror.home", "file:///srv", "https://mirror.home"] {
            check(base, Trust::BuiltIn, Trust::Claimed);
            check(base, Trust::Yours, Trust::Claimed);
            check(base, Trust::Mirror, Trust::Mirror);
            check(base, Trust::Bundle, Trust::Bundle);
        }
        check("http://mirror.home", Trust::Published, Trust::Claimed);
        check("HTTPS://mirror.home", Trust::Published, Trust::Published);
    }

    #[test]
    fn what_is_built_in_and_what_is_the_users_own_need_no_word() {
        let of = |program: Program| {
            let artifact = program.artifact().unwrap();
            let known = artifact.known_digest();
            let pin = Pin {
                size: 1,
                digest: known.unwrap_or(Digest::of(b"mine")),
                trust: Trust::Mirror,
                members: BTreeMap::new(),
            };
            trust(&Source::default(), &artifact, &pin)
        };
        assert_eq!(of(program("1.32.3")), Trust::BuiltIn);
        let own = Program {
            own: Some("build/kubectl".to_owned()),
            ..program("1.32.3")
        };
        assert_eq!(of(own), Trust::Yours);
    }
}
