//! Whose data a write-ahead log belongs to, by the metadata that every segment of it begins with.
//!
//! Source: etcd's `server/storage/wal` (since 2.0 unchanged). A segment is a row of frames: eight
//! bytes, little-endian, of which the lowest 56 bits are the record's length and, where the highest
//! bit is set, bits 56 to 58 the padding behind it; then the record in protobuf (`walpb.Record`:
//! 1 type, 2 crc, 3 data). The metadata is type 1, `etcdserverpb.Metadata`: 1 member, 2 cluster.

use super::Identity;

/// The type of a record with metadata.
const METADATA: u64 = 1;
/// How many records may stand before it; etcd writes one, with a checksum.
const RECORDS_MAX: usize = 4;
/// The longest record that is looked at, in bytes.
const RECORD_BYTES_MAX: u64 = 200;

/// The member and its cluster, from the first bytes of a segment in hexadecimal.
pub fn identity(hex: &str) -> Option<Identity> {
    let bytes: Option<Vec<u8>> = (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok())
        .collect();
    let bytes = bytes?;
    let mut rest = bytes.as_slice();
    for _ in 0..RECORDS_MAX {
        let (head, behind) = rest.split_first_chunk::<8>()?;
        let head = u64::from_le_bytes(*head);
        let length = head & ((1 << 56) - 1);
        let padding = if head >> 63 == 1 { (head >> 56) & 7 } else { 0 };
        if length > RECORD_BYTES_MAX {
            return None;
        }
        let record = behind.get(..usize::try_from(length).ok()?)?;
        rest = behind.get(usize::try_from(length + padding).ok()?..)?;
        let record = Fields::of(record)?;
        if record.number(1) == Some(METADATA) {
            let metadata = Fields::of(record.bytes(3)?)?;
            return Some(Identity {
                member: metadata.number(1)?,
                cluster: metadata.number(2)?,
            });
        }
    }
    None
}

/// The fields of a protobuf message that has numbers and bytes only.
struct Fields<'a> {
    numbers: Vec<(u64, u64)>,
    bytes: Vec<(u64, &'a [u8])>,
}

impl<'a> Fields<'a> {
    fn of(mut rest: &'a [u8]) -> Option<Self> {
        let mut fields = Self {
            numbers: Vec::new(),
            bytes: Vec::new(),
        };
        while !rest.is_empty() {
            let key = varint(&mut rest)?;
            let value = varint(&mut rest)?;
            match key & 7 {
                0 => fields.numbers.push((key >> 3, value)),
                2 => {
                    let (bytes, behind) = rest.split_at_checked(usize::try_from(value).ok()?)?;
                    fields.bytes.push((key >> 3, bytes));
                    rest = behind;
                }
                _ => return None,
            }
        }
        Some(fields)
    }

    fn number(&self, field: u64) -> Option<u64> {
        let found = self.numbers.iter().find(|(its, _)| *its == field);
        found.map(|(_, value)| *value)
    }

    fn bytes(&self, field: u64) -> Option<&'a [u8]> {
        let found = self.bytes.iter().find(|(its, _)| *its == field);
        found.map(|(_, value)| *value)
    }
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(hex: &str, expected: Option<(u64, u64)>) {
        let found = identity(hex).map(|it| (it.member, it.cluster));
        assert_eq!(found, expected, "{hex}");
    }

    #[test]
    fn a_segment_tells_its_member_and_its_cluster() {
        // A checksum, which is the first record of every segment; then the metadata.
        let checksum = "0400000000000084".to_owned() + "08041000" + "00000000";
        let metadata = "0b00000000000085".to_owned() + "080110091a0508ac021005" + "0000000000";
        check(&format!("{checksum}{metadata}ffff"), Some((300, 5)));
        check(&format!("{checksum}{}", &metadata[..30]), None);
        check(&checksum, None);
        check("", None);
        check("zz", None);
        check("ä", None);
        check(&"ff".repeat(256), None);
        check(&"00".repeat(256), None);
    }
}
