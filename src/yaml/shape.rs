//! What fields are to whoever decodes them: Go refuses a whole file for one that is something else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// What a field is. `null` is everywhere the same as nothing.
pub(crate) enum Shape {
    Text,
    /// Base64 of anything.
    Bytes,
    Bool,
    List(&'static Shape),
    /// A table with these fields; whether it may have others is for the caller to say.
    Table(&'static [(&'static str, Shape)]),
    /// A table of values of one kind.
    Map(&'static Shape),
}

/// A field that is something else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{place}` is {found}, where {expected} is due")]
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

    fn check_at(&self, value: &Value, place: &str) -> Result<(), Misfit> {
        match (self, value) {
            (Self::Text, Value::String(_)) | (Self::Bool, Value::Bool(_)) | (_, Value::Null) => {
                Ok(())
            }
            (Self::Bytes, Value::String(text)) if decode(text).is_some() => Ok(()),
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

    fn name(&self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Bytes => "base64",
            Self::Bool => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) | Self::Map(_) => "a table",
        }
    }
}

/// The bytes of a text in base64, as Go decodes it: ends of lines are passed over.
fn decode(text: &str) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    let text = text.split(['\r', '\n']).collect::<String>();
    let text = zeroize::Zeroizing::new(text);
    STANDARD.decode(&*text).ok().map(zeroize::Zeroizing::new)
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
