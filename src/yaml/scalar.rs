//! What a scalar means to go-yaml v2 (`resolve.go`): YAML 1.1, but for sexagesimal numbers, which it
//! takes for texts, and with Go's own words for numbers.

use std::borrow::Cow;

use granit_parser::Tag;
use serde_json::Value;

use super::shape::decode;

/// How a scalar is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// By what it looks like.
    Plain,
    /// As a text: it is quoted, a block, or tagged so.
    Text,
    /// By what it looks like, which must be of its tag.
    Tagged(&'static str),
    /// As base64 of a text.
    Binary,
    /// As a point in time: nothing of Kubernetes has one.
    Timestamp,
}

impl Meaning {
    pub(super) fn of(plain: bool, tag: Option<&Tag>) -> Self {
        let is = |word: &str| {
            let long = format!("tag:yaml.org,2002:{word}");
            tag.is_some_and(|tag| match tag.handle() {
                "tag:yaml.org,2002:" => tag.suffix() == word,
                _ => tag.suffix() == long,
            })
        };
        if is("binary") {
            return Self::Binary;
        }
        if is("timestamp") {
            return Self::Timestamp;
        }
        match tag.map(Tag::core_suffix) {
            None if plain => Self::Plain,
            Some(Some("int")) => Self::Tagged("int"),
            Some(Some("float")) => Self::Tagged("float"),
            Some(Some("bool")) => Self::Tagged("bool"),
            Some(Some("null")) => Self::Tagged("null"),
            None | Some(_) => Self::Text,
        }
    }

    pub(super) fn is_plain(self) -> bool {
        self == Self::Plain
    }

    /// The JSON of it, or what it is that JSON does not have.
    pub(super) fn value(self, text: &str) -> Result<Value, &'static str> {
        let value = match self {
            Self::Text => return Ok(text.into()),
            Self::Binary => return binary(text),
            Self::Timestamp if is_date(text) => return Ok(text.into()),
            Self::Timestamp => return Err("a value that is not what its tag says"),
            Self::Plain | Self::Tagged(_) => resolve(text)?,
        };
        let found = match &value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            // A whole number, and written as another one.
            Value::Number(_) if self == Self::Tagged("int") && !is_integer(text) => "float",
            Value::Number(number) if number.is_f64() => "float",
            Value::Number(_) => "int",
            _ => "",
        };
        match self {
            Self::Tagged(tag) if found != tag && (found, tag) != ("int", "float") => {
                Err("a value that is not what its tag says")
            }
            _ => Ok(value),
        }
    }
}

fn binary(text: &str) -> Result<Value, &'static str> {
    let bytes = decode(text).ok_or("a value with the tag `!!binary` that is not base64")?;
    let text = std::str::from_utf8(&bytes);
    let text = text.map_err(|_| "a value with the tag `!!binary` that is no text")?;
    Ok(text.into())
}

/// Whether it begins with a year, a month and a day, as go-yaml's `allowedTimestampFormats` do.
fn is_date(text: &str) -> bool {
    let day = text.split(['T', 't', ' ']).next().unwrap_or_default();
    let parts: Vec<&str> = day.split('-').collect();
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    matches!(parts[..], [year, month, day] if year.len() == 4
        && [month, day].iter().all(|it| matches!(it.len(), 1 | 2))
        && [year, month, day].iter().all(|it| digits(it)))
}

fn is_integer(text: &str) -> bool {
    integer(&text.replace('_', "")).is_some()
}

fn resolve(text: &str) -> Result<Value, &'static str> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            true.into()
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            false.into()
        }
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF"
        | "-.inf" | "-.Inf" | "-.INF" => return Err("a number that JSON does not have"),
        _ => number(text).unwrap_or_else(|| text.into()),
    })
}

fn number(text: &str) -> Option<Value> {
    let plain: Cow<'_, str> = match text.chars().next()? {
        '.' => text.into(),
        '+' | '-' | '0'..='9' => text.replace('_', "").into(),
        _ => return None,
    };
    integer(&plain).or_else(|| float(&plain))
}

/// As Go's `strconv.ParseInt` and `ParseUint` with base 0.
fn integer(text: &str) -> Option<Value> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|first: char| first.is_ascii_hexdigit()) {
        return None;
    }
    let number = sign * i128::from_str_radix(digits, base).ok()?;
    let signed = i64::try_from(number).map(Value::from);
    let unsigned = || {
        u64::try_from(number)
            .ok()
            .filter(|_| !text.starts_with('+'))
    };
    signed.ok().or_else(|| unsigned().map(Value::from))
}

/// As go-yaml's `yamlStyleFloat` and Go's `strconv.ParseFloat`.
fn float(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            (mantissa, Some(exponent))
        }
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let is_number = digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    if !is_number || exponent.is_some_and(|it| it.is_empty() || !digits(it)) {
        return None;
    }
    let number: f64 = text
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())?;
    // Go writes a whole number without a point, and reads it as one.
    let whole = format!("{number}").parse::<i64>().ok();
    Some(whole.map_or_else(|| number.into(), Value::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, json: &str) {
        let value = Meaning::Plain.value(text).unwrap();
        assert_eq!(value.to_string(), json, "{text}");
    }

    #[test]
    fn words_and_numbers_of_yaml_1_1() {
        for (text, json) in [
            ("yes", "true"),
            ("off", "false"),
            ("Null", "null"),
            ("yEs", "\"yEs\""),
            ("0b11", "3"),
            ("-0b11", "-3"),
            ("0o17", "15"),
            ("017", "15"),
            ("08", "8"),
            ("1_000", "1000"),
            ("0_1", "1"),
            ("_1", "\"_1\""),
            ("1_0.5", "10.5"),
            ("1e+3_0", "1e+30"),
            ("1e3", "1000"),
            (".5", "0.5"),
            (".5_0", "\".5_0\""),
            (".", "\".\""),
            ("1.", "1"),
            ("+12", "12"),
            ("-", "\"-\""),
            ("0x1F", "31"),
            ("0x", "\"0x\""),
            ("1:30", "\"1:30\""),
            ("2001-12-14", "\"2001-12-14\""),
            ("1e999", "\"1e999\""),
            ("18446744073709551615", "18446744073709551615"),
            ("18446744073709551616", "1.8446744073709552e+19"),
            ("0x10000000000000000", "\"0x10000000000000000\""),
            ("infinity", "\"infinity\""),
            ("1.2.3", "\"1.2.3\""),
        ] {
            check(text, json);
        }
        assert!(Meaning::Plain.value(".nan").is_err());
        assert_eq!(Meaning::Text.value("0b11"), Ok("0b11".into()));
        assert_eq!(Meaning::Tagged("int").value("12"), Ok(12.into()));
        assert!(Meaning::Tagged("int").value("yes").is_err());
        // go-yaml: "cannot decode !!float `5.0` as a !!int", and the like.
        assert!(Meaning::Tagged("int").value("5.0").is_err());
        assert!(Meaning::Tagged("null").value("x").is_err());
        assert!(Meaning::Timestamp.value("x").is_err());
        assert!(Meaning::Timestamp.value("2001-12-14 21:59:43").is_ok());
        assert_eq!(Meaning::Tagged("null").value("~"), Ok(Value::Null));
        assert_eq!(Meaning::Binary.value("YQ=="), Ok("a".into()));
        assert!(Meaning::Binary.value("/w==").is_err());
    }
}
