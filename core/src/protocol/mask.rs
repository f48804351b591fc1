//! Masking (RFC 6455 §5.3): XOR with a key of four bytes.
//!
//! Plain loops over blocks of a fixed size, which the compiler turns into vector instructions.

use alloc::vec::Vec;

/// Masks or unmasks `data` in place. `offset` is how many bytes of the payload came before.
///
/// RFC 6455 §5.3: "transformed-octet-i = original-octet-i XOR masking-key-octet-(i MOD 4)". The same
/// operation masks and unmasks.
// Small payloads are most of all: a call would cost as much as the work.
#[inline(always)]
pub fn apply(data: &mut [u8], key: [u8; 4], offset: usize) {
    let key = u32::from_le_bytes(key).rotate_right(8 * (offset as u32 & 3));
    let mut blocks = data.chunks_exact_mut(64);
    for block in &mut blocks {
        words(block, key);
    }
    let rest = block::<32>(blocks.into_remainder(), key);
    let rest = block::<16>(rest, key);
    let rest = block::<8>(rest, key);
    let rest = block::<4>(rest, key);
    for (byte, key) in rest.iter_mut().zip(key.to_le_bytes()) {
        *byte ^= key;
    }
}

/// Appends `data` to `output`, masked.
#[inline(always)]
pub(super) fn append(output: &mut Vec<u8>, data: &[u8], key: [u8; 4]) {
    let start = output.len();
    output.extend_from_slice(data);
    if let Some(copy) = output.get_mut(start..) {
        apply(copy, key, 0);
    }
}

/// Masks the first `SIZE` bytes, if there are as many. Returns the rest.
#[inline(always)]
fn block<const SIZE: usize>(data: &mut [u8], key: u32) -> &mut [u8] {
    if data.len() < SIZE {
        return data;
    }
    let (block, rest) = data.split_at_mut(SIZE);
    words(block, key);
    rest
}

/// `data` is a whole number of words of four bytes.
#[inline(always)]
fn words(data: &mut [u8], key: u32) {
    for word in data.chunks_exact_mut(4) {
        if let Ok(bytes) = <[u8; 4]>::try_from(&*word) {
            word.copy_from_slice(&(u32::from_le_bytes(bytes) ^ key).to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_the_rfc(data: &[u8], key: [u8; 4], offset: usize) -> Vec<u8> {
        data.iter().enumerate().map(|(i, byte)| byte ^ key[(i + offset) % 4]).collect()
    }

    #[test]
    fn masking_is_what_the_rfc_says_for_every_length_and_offset() {
        let data: Vec<u8> = (0..300u16).map(|i| (i * 7) as u8).collect();
        let key = [0x12, 0x34, 0x56, 0x78];
        for length in 0..data.len() {
            for offset in 0..9 {
                let mut masked = data[..length].to_vec();
                apply(&mut masked, key, offset);
                assert_eq!(masked, by_the_rfc(&data[..length], key, offset));
            }
        }
    }

    #[test]
    fn what_is_appended_is_masked_and_what_was_there_is_not() {
        let data: Vec<u8> = (0..300u16).map(|i| (i * 7) as u8).collect();
        let key = [0x12, 0x34, 0x56, 0x78];
        for length in 0..data.len() {
            let mut output = b"before".to_vec();
            append(&mut output, &data[..length], key);
            assert_eq!(output, [b"before", &*by_the_rfc(&data[..length], key, 0)].concat());
        }
    }
}
