//! Masking (RFC 6455 §5.3): XOR with a key of four bytes.
//!
//! A plain loop over blocks of 64 bytes, which the compiler turns into vector instructions.

/// Masks or unmasks `data` in place. `offset` is how many bytes of the payload came before.
///
/// RFC 6455 §5.3: "transformed-octet-i = original-octet-i XOR masking-key-octet-(i MOD 4)". The same
/// operation masks and unmasks.
// Small payloads are most of all: a call would cost as much as the work.
#[inline(always)]
pub fn apply(data: &mut [u8], key: [u8; 4], offset: usize) {
    let key = u32::from_le_bytes(key).rotate_right(8 * (offset as u32 & 3));
    let wide = u64::from(key) << 32 | u64::from(key);
    let mut blocks = data.chunks_exact_mut(64);
    for block in &mut blocks {
        words(block, wide);
    }
    let rest = blocks.into_remainder();
    let whole = rest.len() & !7;
    let (rest, last) = rest.split_at_mut(whole);
    words(rest, wide);
    for (byte, key) in last.iter_mut().zip(wide.to_le_bytes()) {
        *byte ^= key;
    }
}

/// `data` is a whole number of words of eight bytes.
#[inline]
fn words(data: &mut [u8], wide: u64) {
    for word in data.chunks_exact_mut(8) {
        if let Ok(bytes) = <[u8; 8]>::try_from(&*word) {
            word.copy_from_slice(&(u64::from_le_bytes(bytes) ^ wide).to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

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
}
