//! A writer of DER, as wrong as it is asked to be.

/// A value: its tag, its length, itself.
pub(super) fn value(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len().to_be_bytes();
    let significant = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut der = vec![tag];
    match significant {
        [] => der.push(0),
        [byte] if *byte < 0x80 => der.push(*byte),
        bytes => {
            der.push(0x80 | u8::try_from(bytes.len()).unwrap());
            der.extend_from_slice(bytes);
        }
    }
    der.extend_from_slice(contents);
    der
}

/// A sequence of values.
pub(super) fn sequence(values: &[Vec<u8>]) -> Vec<u8> {
    value(0x30, &values.concat())
}

/// An object identifier, of numbers that fit 32 bits.
pub(super) fn oid(text: &str) -> Vec<u8> {
    let numbers: Vec<u32> = text
        .split('.')
        .map(|number| number.parse().unwrap())
        .collect();
    let mut bytes = Vec::new();
    for number in std::iter::once(numbers[0] * 40 + numbers[1]).chain(numbers[2..].iter().copied())
    {
        let digits = (0..5).rev().map(|at| (number >> (7 * at)) & 0x7f);
        let digits: Vec<u32> = digits.skip_while(|digit| *digit == 0).collect();
        let digits = if digits.is_empty() { vec![0] } else { digits };
        let last = digits.len() - 1;
        let byte = |(at, digit): (usize, &u32)| {
            let more = if at == last { 0 } else { 0x80 };
            u8::try_from(*digit).unwrap() | more
        };
        bytes.extend(digits.iter().enumerate().map(byte));
    }
    value(6, &bytes)
}

/// A bit string of whole bytes.
pub(super) fn bits(bytes: &[u8]) -> Vec<u8> {
    value(3, &[&[0], bytes].concat())
}

/// A moment, in seconds since 1970.
pub(super) fn moment(seconds: i64) -> Vec<u8> {
    let at = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap();
    let text = format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    );
    if at.year() < 2050 {
        value(0x17, &text.as_bytes()[2..])
    } else {
        value(0x18, text.as_bytes())
    }
}
