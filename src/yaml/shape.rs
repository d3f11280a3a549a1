//! What fields are to whoever decodes them: Go refuses a whole file for one that is something else.

use base64::Engine;
use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;
use zeroize::Zeroizing;

/// Go's `base64.StdEncoding`: it wants the padding, and passes over bits that belong to no byte.
const GO_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// What a field is. `null` is everywhere the same as nothing.
pub(crate) enum Shape {
    Text,
    /// Base64 of anything.
    Bytes,
    Bool,
    /// A whole number of 32 bits.
    Int,
    List(&'static Shape),
    /// A table with these fields; whether it may have others is for the caller to say.
    Table(&'static [(&'static str, Shape)]),
    /// A table of values of one kind.
    Map(&'static Shape),
}

/// A field that is something else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{place}`: expected {expected}, found {found}")]
pub struct Misfit {
    /// The field.
    pub place: String,
    /// What it is; never its value, which may be a key.
    pub found: &'static str,
    /// What it should be.
    pub expected: &'static str,
}

impl Shape {
    /// Checks a value and everything below that is known.
    pub(crate) fn check(&self, value: &Value) -> Result<(), Misfit> {
        self.check_at(value, "")
    }

    pub(crate) fn check_at(&self, value: &Value, place: &str) -> Result<(), Misfit> {
        match (self, value) {
            (Self::Text, Value::String(_)) | (Self::Bool, Value::Bool(_)) | (_, Value::Null) => {
                Ok(())
            }
            (Self::Bytes, Value::String(text)) if decode(text).is_some() => Ok(()),
            (Self::Int, Value::Number(number))
                if number.as_i64().is_some_and(|it| i32::try_from(it).is_ok()) =>
            {
                Ok(())
            }
            (Self::List(shape), Value::Array(values)) => {
                let mut values = values.iter().enumerate();
                values.try_for_each(|(at, value)| shape.check_at(value, &format!("{place}[{at}]")))
            }
            (Self::Map(shape), Value::Object(values)) => {
                let mut values = values.iter();
                values.try_for_each(|(key, value)| shape.check_at(value, &below(place, key)))
            }
            (Self::Table(fields), Value::Object(_)) => fields
                .iter()
                .try_for_each(|(key, shape)| shape.check_at(&value[*key], &below(place, key))),
            _ => Err(Misfit {
                place: place.to_owned(),
                found: found(value),
                expected: self.name(),
            }),
        }
    }

    /// The first field that none of the tables has, where that matters.
    pub(crate) fn unknown(&self, value: &Value) -> Option<String> {
        self.unknown_at(value, "")
    }

    fn unknown_at(&self, value: &Value, place: &str) -> Option<String> {
        match (self, value) {
            (Self::List(shape), Value::Array(values)) => {
                let mut values = values.iter().enumerate();
                values.find_map(|(at, value)| shape.unknown_at(value, &format!("{place}[{at}]")))
            }
            (Self::Table(fields), Value::Object(values)) => {
                let mut values = values.iter();
                values.find_map(|(key, value)| {
                    let place = below(place, key);
                    match fields.iter().find(|(name, _)| name == key) {
                        Some((_, shape)) => shape.unknown_at(value, &place),
                        None => Some(place),
                    }
                })
            }
            _ => None,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Bytes => "base64",
            Self::Bool => "true or false",
            Self::Int => "a whole number of 32 bits",
            Self::List(_) => "a list",
            Self::Table(_) | Self::Map(_) => "a table",
        }
    }
}

/// The bytes of a text in base64, as Go decodes it: ends of lines are passed over.
pub(crate) fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let text = Zeroizing::new(text.replace(['\r', '\n'], ""));
    GO_BASE64.decode(&*text).ok().map(Zeroizing::new)
}

fn below(place: &str, key: &str) -> String {
    if place.is_empty() {
        key.to_owned()
    } else {
        format!("{place}.{key}")
    }
}

fn found(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}
