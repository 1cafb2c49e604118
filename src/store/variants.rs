//! Stored contents in other content codings: each is made once, in the background, beside the identity form, and under
//! the same bound. It is held by what it was made from, so that responses with equal content share it.

use super::{Held, Name, Store};
use crate::policy::Coding;
use crate::semantics::stored_response::ContentHash;
use bytes::Bytes;
use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

/// A content in a coding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coded {
    Made(Bytes),
    /// It was tried: the content hardly gets shorter.
    Futile,
    Absent,
}

/// Leave to make one content in one coding; nobody else makes it meanwhile.
#[derive(Debug)]
pub struct Making {
    under_way: Arc<UnderWay>,
    content: ContentHash,
    coding: Coding,
}

/// What is being made.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    making: Mutex<HashSet<(ContentHash, Coding)>>,
}

impl UnderWay {
    fn making(&self) -> MutexGuard<'_, HashSet<(ContentHash, Coding)>> {
        self.making.lock().expect("no holder of this lock panics")
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        self.under_way.making().remove(&(self.content, self.coding));
    }
}

impl Store {
    /// A stored content in a coding.
    pub fn coded(&self, content: ContentHash, coding: Coding) -> Coded {
        match self.held.get(&Name::Coded(content, coding)) {
            Some(Held::Body(body)) => Coded::Made((*body).clone()),
            Some(_) => Coded::Futile,
            None => Coded::Absent,
        }
    }

    /// Leave to make a content in a coding, unless `at_once` others are being made: requests come first.
    pub fn begin_coding(&self, content: ContentHash, coding: Coding, at_once: usize) -> Option<Making> {
        let mut making = self.under_way.making();
        let begins = making.len() < at_once && making.insert((content, coding));
        begins.then(|| Making { under_way: self.under_way.clone(), content, coding })
    }

    /// Makes it, and keeps it.
    pub fn make_coded(&self, making: Making, body: &[u8]) {
        let made = encode(making.coding, body).ok().filter(|made| is_worth_keeping(made.len(), body.len()));
        let held = made.map_or(Held::Futile, |made| Held::Body(Arc::new(made.into_boxed_slice().into())));
        self.hold(Name::Coded(making.content, making.coding), held);
    }

    /// How many contents are being made in a coding.
    pub fn codings_under_way(&self) -> usize {
        self.under_way.making().len()
    }
}

/// Whether a tenth of the octets is saved.
fn is_worth_keeping(made: usize, from: usize) -> bool {
    made <= from - from / 10
}

/// What each encoder writes depends on the octets alone, whatever the processor: replicas give them the same
/// entity-tag. That is why this is not zlib-ng, which picks its matches by the instructions that there are.
fn encode(coding: Coding, body: &[u8]) -> io::Result<Vec<u8>> {
    match coding {
        Coding::Zstd => zstd::bulk::compress(body, 7),
        Coding::Br => {
            let parameters =
                brotli::enc::BrotliEncoderParams { quality: 5, size_hint: body.len(), ..Default::default() };
            let mut made = Vec::new();
            brotli::BrotliCompress(&mut &*body, &mut made, &parameters)?;
            Ok(made)
        }
        Coding::Gzip => Ok(gzip(body)),
    }
}

/// RFC 1952: no name, no time, an unknown system; the CRC and the length of what was put in at the end.
fn gzip(body: &[u8]) -> Vec<u8> {
    let mut made = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    made.extend(miniz_oxide::deflate::compress_to_vec(body, 7));
    made.extend(crc32fast::hash(body).to_le_bytes());
    let length = u32::try_from(body.len() as u64 & u64::from(u32::MAX)).expect("32 bits are left");
    made.extend(length.to_le_bytes());
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::validator;
    use std::fmt::Write;
    use std::io::Read;

    /// Some JSON, and each octet there is.
    fn sample() -> Vec<u8> {
        let mut text = String::from("[");
        for row in 0..500 {
            write!(text, "{{\"id\":{row},\"name\":\"product {}\",\"price\":{}}},", row * 7 % 13, row * row % 997)
                .expect("a string takes all");
        }
        text.into_bytes().into_iter().chain(0..=255).collect()
    }

    fn decode(coding: Coding, made: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        match coding {
            Coding::Zstd => body = zstd::stream::decode_all(made).expect("zstd"),
            Coding::Br => _ = brotli::Decompressor::new(made, 4096).read_to_end(&mut body).expect("br"),
            Coding::Gzip => _ = flate2::read::GzDecoder::new(made).read_to_end(&mut body).expect("gzip"),
        }
        body
    }

    #[test]
    fn what_is_made_is_the_content() {
        for coding in Coding::ALL {
            for body in [sample(), vec![b'x'; 100_000], vec![0; 1]] {
                assert_eq!(decode(coding, &encode(coding, &body).expect("it is made")), body, "{coding:?}");
            }
        }
    }

    /// Entity-tags name what is made: where this fails, raise `VERSION` in `semantics::content_coding`.
    #[test]
    fn the_encoders_write_what_they_always_wrote() {
        let crc = |coding, body: &[u8]| {
            let made = encode(coding, body).expect("it is made");
            (made.len(), crc32fast::hash(&made))
        };
        let small = Coding::ALL.map(|coding| crc(coding, &sample()));
        assert_eq!(small, [(2868, 1_599_753_073), (2644, 4_257_556_232), (3258, 3_714_230_601)]);
        // Encoders go about what is long otherwise.
        let mut long = String::new();
        (0..200_000_u32).for_each(|n| _ = write!(long, "{},", n.wrapping_mul(2_654_435_761) >> 12));
        let long = Coding::ALL.map(|coding| crc(coding, long.as_bytes()));
        assert_eq!(long, [(436_319, 2_860_569_643), (231_629, 3_918_058_903), (660_383, 1_589_268_694)]);
    }

    #[test]
    fn what_hardly_gets_shorter_is_not_kept() {
        assert!(is_worth_keeping(900, 1000));
        assert!(!is_worth_keeping(901, 1000));
        let store = Store::new(1 << 20, 1);
        let noise: Vec<u8> = (0..60).flat_map(|n| validator::content_hash(&[n]).0).collect();
        for (content, body, futile) in [(1, noise, true), (2, sample(), false)] {
            let content = ContentHash([content; 32]);
            assert_eq!(store.coded(content, Coding::Br), Coded::Absent);
            let making = store.begin_coding(content, Coding::Br, 1).expect("nobody makes it");
            store.make_coded(making, &body);
            assert_eq!(store.coded(content, Coding::Br) == Coded::Futile, futile);
            assert_eq!(store.coded(content, Coding::Gzip), Coded::Absent);
        }
    }

    #[test]
    fn nobody_makes_what_is_being_made_nor_more_than_there_is_room_for() {
        let (store, content) = (Store::new(1 << 20, 1), ContentHash([1; 32]));
        let making = store.begin_coding(content, Coding::Br, 2).expect("nobody makes it");
        assert!(store.begin_coding(content, Coding::Br, 2).is_none());
        let other = store.begin_coding(content, Coding::Gzip, 2).expect("nobody makes it");
        assert!(store.begin_coding(content, Coding::Zstd, 2).is_none());
        drop(making);
        assert!(store.begin_coding(content, Coding::Br, 2).is_some());
        drop(other);
        assert_eq!(store.codings_under_way(), 0);
    }
}
