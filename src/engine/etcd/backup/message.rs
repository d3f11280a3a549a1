//! The little of gRPC and protobuf that a snapshot is told in. Pure.
//!
//! gRPC puts a byte (is it compressed?) and four of length before each message
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>); `SnapshotResponse` of
//! etcd's `rpc.proto` has its piece of the database in field 3.

/// A message with nothing in it, as it is sent.
pub(super) const EMPTY: [u8; 5] = [0; 5];

const HEAD_BYTES: usize = 5;
/// etcd sends pieces of 32 kB (64 kB in some versions).
const MESSAGE_BYTES_MAX: usize = 16 << 20;
const BLOB_FIELD: u64 = 3;

/// Messages as they come in.
#[derive(Debug, Default)]
pub(super) struct Messages {
    buffer: Vec<u8>,
}

impl Messages {
    /// Takes in what came.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The blob of the next whole message; empty where it has none.
    pub(super) fn next_blob(&mut self) -> Result<Option<Vec<u8>>, &'static str> {
        let Some((&[compressed, a, b, c, d], _)) = self.buffer.split_first_chunk::<HEAD_BYTES>()
        else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if compressed != 0 || length > MESSAGE_BYTES_MAX {
            return Err("a message is not one of etcd's");
        }
        if self.buffer.len() < HEAD_BYTES + length {
            return Ok(None);
        }
        let message: Vec<u8> = self.buffer.drain(..HEAD_BYTES + length).collect();
        let blob = blob(&message[HEAD_BYTES..]).ok_or("a message is cut short")?;
        Ok(Some(blob.to_vec()))
    }
}

/// The field with the blob; empty where there is none, and nothing where the message is no message.
fn blob(mut rest: &[u8]) -> Option<&[u8]> {
    let mut found: &[u8] = &[];
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        match tag & 7 {
            0 => drop(varint(&mut rest)?),
            1 => rest = rest.get(8..)?,
            5 => rest = rest.get(4..)?,
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let (value, behind) = rest.split_at_checked(length)?;
                if tag >> 3 == BLOB_FIELD {
                    found = value;
                }
                rest = behind;
            }
            _ => return None,
        }
    }
    Some(found)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header, 300 bytes that remain, the blob, and a version as 3.6 has it.
    fn message(blob: &[u8]) -> Vec<u8> {
        let length = u8::try_from(blob.len()).unwrap();
        let body = [
            &[0x0a, 2, 8, 1, 0x10, 0xac, 2, 0x1a, length],
            blob,
            &[0x22, 3, b'3', b'.', b'6'],
        ]
        .concat();
        let length = u8::try_from(body.len()).unwrap();
        [&[0, 0, 0, 0, length], body.as_slice()].concat()
    }

    #[test]
    fn blobs_are_found_however_the_bytes_come() {
        let stream = [message(b"data"), message(b""), message(b"base")].concat();
        for piece in 1..=stream.len() {
            let (mut messages, mut blobs) = (Messages::default(), Vec::new());
            for bytes in stream.chunks(piece) {
                messages.take(bytes);
                while let Some(blob) = messages.next_blob().unwrap() {
                    blobs.extend(blob);
                }
            }
            assert_eq!(blobs, b"database");
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for stream in [
            &[1, 0, 0, 0, 0][..],
            &[0, 255, 0, 0, 0],
            &[0, 0, 0, 0, 2, 0x1a, 9],
            &[0, 0, 0, 0, 1, 0x1b],
            &[0, 0, 0, 0, 1, 0x80],
        ] {
            let mut messages = Messages::default();
            messages.take(stream);
            assert!(messages.next_blob().is_err(), "{stream:?}");
        }
    }
}
