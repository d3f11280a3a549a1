//! The texts that ship inside kinstall, each under the name it has in `templates/`.

/// A text that ships inside kinstall.
#[derive(Debug, Clone, Copy)]
pub struct Builtin {
    /// Its path in `templates/`; one that ends in `.hbs` is a template.
    pub name: &'static str,
    /// The text.
    pub text: &'static str,
}

/// The text of a name in `templates/`.
macro_rules! builtin {
    ($name:literal) => {
        $crate::template::Builtin {
            name: $name,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/", $name)),
        }
    };
}
pub(crate) use builtin;

/// What several templates have in common, by the name they call it by: `{{> hardening}}`.
pub const PARTIALS: [(&str, Builtin); 2] = [
    ("hardening", builtin!("partial/hardening.hbs")),
    ("networks", builtin!("partial/networks.hbs")),
];
