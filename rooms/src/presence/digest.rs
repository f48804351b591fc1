//! Sets of names in a number, which changes with each of them and is the same on every node.

/// The hash of a name (FNV-1a, mixed once more, so that sums of them differ). A set's digest is the sum of its names'.
pub(super) fn of(name: &str) -> u64 {
    let hash = name
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    mix(hash)
}

/// Spreads each bit over all others (the finalizer of SplitMix64).
pub(super) fn mix(number: u64) -> u64 {
    let number = (number ^ number >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ number >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ number >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_on_every_node_and_in_every_version() {
        assert_eq!(of("ann"), 9265845255492201856);
    }

    #[test]
    fn sums_of_names_that_are_alike_differ() {
        let sum = |names: [&str; 2]| of(names[0]).wrapping_add(of(names[1]));
        assert_ne!(sum(["a1", "b2"]), sum(["a2", "b1"]));
    }
}
