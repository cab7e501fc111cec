//! HPACK: a literal encoder, which a server cannot misunderstand, and a complete decoder.
//!
//! The decoder is complete since servers compress as they like: even a `:status` may come as a
//! Huffman string first and as an index into the dynamic table from then on.

use std::collections::VecDeque;

use super::hpack_tables::{CODE_LENGTHS, STATIC_TABLE};

const DEFAULT_TABLE_SIZE: usize = 4096;

/// Encodes a header block of literals which touch no table.
pub fn encode(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        encode_string(&mut block, name);
        encode_string(&mut block, value);
    }
    block
}

fn encode_string(block: &mut Vec<u8>, text: &str) {
    let mut length = text.len();
    if length < 127 {
        block.push(length as u8);
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push((length % 128) as u8 | 128);
            length /= 128;
        }
        block.push(length as u8);
    }
    block.extend_from_slice(text.as_bytes());
}

type Field = (String, String);

/// Decodes the header blocks of one connection, in order.
#[derive(Debug)]
pub(super) struct Decoder {
    dynamic: VecDeque<Field>,
    limit: usize,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self {
            dynamic: VecDeque::new(),
            limit: DEFAULT_TABLE_SIZE,
        }
    }

    /// The fields of a whole block, or `None` if it is not valid.
    pub(super) fn decode(&mut self, block: &[u8]) -> Option<Vec<Field>> {
        let (mut fields, mut rest) = (Vec::new(), block);
        while let Some(&first) = rest.first() {
            match first {
                0x80.. => fields.push(self.entry(integer(&mut rest, 7)?)?),
                0x40..0x80 => {
                    let field = self.literal(&mut rest, 6)?;
                    self.insert(field.clone());
                    fields.push(field);
                }
                0x20..0x40 => {
                    self.limit = integer(&mut rest, 5)?;
                    self.evict();
                }
                0..0x20 => fields.push(self.literal(&mut rest, 4)?),
            }
        }
        Some(fields)
    }

    fn literal(&self, rest: &mut &[u8], prefix: u32) -> Option<Field> {
        let name = match integer(rest, prefix)? {
            0 => string(rest)?,
            index => self.entry(index)?.0,
        };
        Some((name, string(rest)?))
    }

    fn entry(&self, index: usize) -> Option<Field> {
        let index = index.checked_sub(1)?;
        if let Some((name, value)) = STATIC_TABLE.get(index) {
            return Some((name.to_string(), value.to_string()));
        }
        self.dynamic.get(index - STATIC_TABLE.len()).cloned()
    }

    fn insert(&mut self, field: Field) {
        self.dynamic.push_front(field);
        self.evict();
    }

    fn evict(&mut self) {
        let size = |(name, value): &Field| name.len() + value.len() + 32;
        while self.dynamic.iter().map(size).sum::<usize>() > self.limit {
            self.dynamic.pop_back();
        }
    }
}

/// An integer whose first byte has `prefix` bits for it.
fn integer(rest: &mut &[u8], prefix: u32) -> Option<usize> {
    let full = (1usize << prefix) - 1;
    let mut value = usize::from(take(rest, 1)?[0]) & full;
    if value < full {
        return Some(value);
    }
    for shift in (0..28).step_by(7) {
        let byte = take(rest, 1)?[0];
        value += usize::from(byte & 127) << shift;
        if byte < 128 {
            return Some(value);
        }
    }
    None
}

fn string(rest: &mut &[u8]) -> Option<String> {
    let huffman = *rest.first()? >= 128;
    let length = integer(rest, 7)?;
    let bytes = take(rest, length)?;
    let text = if huffman {
        unhuffman(bytes)?
    } else {
        bytes.to_vec()
    };
    Some(String::from_utf8_lossy(&text).into_owned())
}

fn take<'a>(rest: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(n)?;
    *rest = left;
    Some(taken)
}

/// Decodes a canonical Huffman code: codes of one length are consecutive, in the order of symbols.
fn unhuffman(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut text, mut code, mut length, mut first) = (Vec::new(), 0u32, 0u8, 0u32);
    for bit in bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |n| byte >> n & 1))
    {
        code = code << 1 | u32::from(bit);
        first <<= 1;
        length += 1;
        let mut symbols = (0..=256u16).filter(|&s| CODE_LENGTHS[usize::from(s)] == length);
        match symbols.clone().nth((code - first) as usize) {
            Some(symbol) => {
                text.push(u8::try_from(symbol).ok()?);
                (code, length, first) = (0, 0, 0);
            }
            None => first += symbols.by_ref().count() as u32,
        }
    }
    // Up to seven ones may fill the last byte.
    (length < 8).then_some(text)
}
