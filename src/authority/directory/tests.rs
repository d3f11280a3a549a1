//! Real `cfssl`.
