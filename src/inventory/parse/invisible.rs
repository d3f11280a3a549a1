//! Characters in an inventory that nobody sees. No value of it has any use for them, and it shows
//! another text than it holds.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::inventory::problem::Problem;
use crate::inventory::table::{Found, misleads, shown};

/// Notes every key and every text that holds one.
pub(super) fn find(table: &DeTable<'_>, found: &mut Found) {
    for (key, value) in table {
        text(key.get_ref(), key.span(), found);
        inside(value, found);
    }
}

fn inside(value: &Spanned<DeValue<'_>>, found: &mut Found) {
    match value.get_ref() {
        DeValue::String(it) => text(it, value.span(), found),
        DeValue::Array(elements) => elements.iter().for_each(|it| inside(it, found)),
        DeValue::Table(table) => find(table, found),
        _ => {}
    }
}

fn text(text: &str, span: std::ops::Range<usize>, found: &mut Found) {
    if let Some(character) = text.chars().find(|it| misleads(*it)) {
        let message = format!(
            "`{}` holds `{}`, which is invisible",
            shown(text),
            character.escape_default()
        );
        let problem = Problem::new(span, "a control character, or an invisible one", message);
        found.push(problem.help("write it without"));
    }
}
