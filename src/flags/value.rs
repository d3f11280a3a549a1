//! What a flag's value must look like, as Go's flag libraries read it.

use std::net::IpAddr;

/// The kind of a flag's value: what can be checked without knowing what the flag is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing is known: with or without a value, anything goes.
    Any,
    /// `true` or `false`; without a value, `true`.
    Bool,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int,
    /// A whole number of 64 bits that is not negative.
    Uint,
    /// A number.
    Float,
    /// Like `1m30s`.
    Duration,
    /// An IP address, without a port.
    Ip,
    /// Comma-separated words.
    List,
    /// `Name=true,Other=false`, from 1.31 with `component:` before a name where wanted.
    Gates,
    /// `--version`: `true`, `false` or `raw`; without a value, `true`.
    Version,
    /// Anything, but something.
    Text,
}

impl Kind {
    /// Reads the name that the tables give it.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "any" => Self::Any,
            "bool" => Self::Bool,
            "int32" => Self::Int32,
            "int" => Self::Int,
            "uint" => Self::Uint,
            "float" => Self::Float,
            "duration" => Self::Duration,
            "ip" => Self::Ip,
            "list" => Self::List,
            "gates" => Self::Gates,
            "version" => Self::Version,
            "text" => Self::Text,
            _ => return None,
        })
    }

    /// Whether the flag may stand without a value.
    pub fn may_be_bare(self) -> bool {
        matches!(self, Self::Any | Self::Bool | Self::Version)
    }

    /// Whether a value is of this kind.
    pub fn accepts(self, value: &str) -> bool {
        match self {
            Self::Any | Self::List | Self::Text | Self::Version => true,
            Self::Bool => boolean(value).is_some(),
            Self::Int32 => integer(value).is_some_and(|number| i32::try_from(number).is_ok()),
            Self::Int => integer(value).is_some_and(|number| i64::try_from(number).is_ok()),
            Self::Uint => {
                !value.starts_with(['+', '-'])
                    && integer(value).is_some_and(|number| u64::try_from(number).is_ok())
            }
            Self::Float => value.parse::<f64>().is_ok(),
            Self::Duration => nanoseconds(value).is_some(),
            Self::Ip => value.trim().parse::<IpAddr>().is_ok(),
            Self::Gates => gates(value).all(|gate| gate.is_ok()),
        }
    }

    /// What to write, for a message.
    pub fn expected(self) -> &'static str {
        match self {
            Self::Any | Self::Text | Self::List => "a value",
            Self::Bool => "`true` or `false`",
            Self::Int32 | Self::Int => "a whole number",
            Self::Uint => "a whole number that is not negative",
            Self::Float => "a number",
            Self::Duration => "a duration like `1m30s`",
            Self::Ip => "an IP address",
            Self::Gates => "pairs like `Name=true,Other=false`",
            Self::Version => "`true`, `false` or `raw`",
        }
    }
}

/// The gates of a `--feature-gates` value: the name and what it is set to, or the text that is
/// no such pair.
pub(super) fn gates(value: &str) -> impl Iterator<Item = Result<(&str, bool), &str>> {
    let pairs = value
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (name, set) = pair.split_once('=').ok_or(pair)?;
        let name = name
            .rsplit_once(':')
            .map_or(name, |(_component, name)| name);
        boolean(set.trim())
            .map(|set| (name.trim(), set))
            .ok_or(pair)
    })
}

/// As Go's `strconv.ParseBool`.
pub(super) fn boolean(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// As Go's `strconv.ParseInt` with base 0: `0x`, `0o`, `0b` and a leading 0 name the base.
fn integer(value: &str) -> Option<i128> {
    let digits = value.strip_prefix(['+', '-']).unwrap_or(value);
    let (base, digits) = match digits.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|first: char| first.is_digit(base)) {
        return None;
    }
    let number = i128::from_str_radix(digits, base).ok()?;
    Some(if value.starts_with('-') {
        -number
    } else {
        number
    })
}

/// As Go's `time.ParseDuration`: numbers with units, or a bare 0. In nanoseconds, below which it cuts
/// off; none where they do not fit.
pub(crate) fn nanoseconds(value: &str) -> Option<i64> {
    let (is_below, mut rest) = match value.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, value.strip_prefix('+').unwrap_or(value)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut all: Option<i64> = None;
    while !rest.is_empty() {
        let unit_at = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(unit_at);
        let next_at = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(next_at);
        let part = part(number, unit)?;
        all = Some(all.unwrap_or_default().checked_add(part)?);
        rest = tail;
    }
    all.map(|all| if is_below { -all } else { all })
}

/// A number of one unit.
fn part(number: &str, unit: &str) -> Option<i64> {
    let unit: i64 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3600 * 1_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !digits(fraction) {
        return None;
    }
    let whole: i64 = match whole {
        "" => 0,
        whole => whole.parse().ok()?,
    };
    // More digits are not of any weight.
    let fraction = &fraction[..fraction.len().min(18)];
    let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    let fraction: i128 = match fraction {
        "" => 0,
        fraction => fraction.parse().ok()?,
    };
    let below = i64::try_from(fraction * i128::from(unit) / scale).ok()?;
    whole.checked_mul(unit)?.checked_add(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: Kind, right: &[&str], wrong: &[&str]) {
        for value in right {
            assert!(kind.accepts(value), "{kind:?} should accept `{value}`");
        }
        for value in wrong {
            assert!(!kind.accepts(value), "{kind:?} should refuse `{value}`");
        }
    }

    #[test]
    fn values_are_read_as_go_reads_them() {
        check(Kind::Bool, &["true", "F", "1"], &["yes", "", "on", "tRUE"]);
        check(
            Kind::Int32,
            &["0", "-1", "0x1f", "017"],
            &["", "08", "1.5", "4294967296", "--1"],
        );
        check(Kind::Int, &["4294967296"], &["9223372036854775808", "1k"]);
        check(
            Kind::Uint,
            &["0", "18446744073709551615"],
            &["-1", "+1", "18446744073709551616"],
        );
        check(Kind::Float, &["0.001", "5"], &["5%", ""]);
        check(
            Kind::Duration,
            &["0", "30s", "1m30s", "1.5h", ".5s", "-1m"],
            &["30", "", "s", "1d", "1.2.3s", "2562048h", "1h-1m"],
        );
        check(
            Kind::Ip,
            &["0.0.0.0", "::1", " 10.0.0.1"],
            &["10.0.0.1:80", "localhost", "[::1]"],
        );
        check(
            Kind::Gates,
            &["A=true", "A=true,kube:B=f", ""],
            &["A", "A=on"],
        );
        check(Kind::Text, &["", "anything"], &[]);
    }

    #[test]
    fn durations_are_cut_off_below_a_nanosecond() {
        for (text, expected) in [
            ("1m30s", Some(90_000_000_000)),
            ("-1.5us", Some(-1_500)),
            ("0.9ns", Some(0)),
            ("1.9999999999999999999999ns", Some(1)),
            ("9223372036854775807ns", Some(i64::MAX)),
            ("9223372036854775808ns", None),
            ("2562047h47m16.854775807s", Some(i64::MAX)),
            ("2562047h47m16.854775808s", None),
        ] {
            assert_eq!(nanoseconds(text), expected, "{text}");
        }
    }
}
