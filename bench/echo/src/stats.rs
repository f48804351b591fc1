//! Medians, percentiles and ratios.

/// The middle of some numbers; the mean of the two in the middle if their count is even.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 0 => Some(f64::midpoint(values[middle - 1], values[middle])),
        _ => Some(values[middle]),
    }
}

/// The smallest number that at least so many of a thousand are not above. None if they are too few for one to be above.
pub fn percentile(sorted: &[u64], of_thousand: usize) -> Option<u64> {
    let rank = (sorted.len() * of_thousand).div_ceil(1000);
    sorted.get(rank.saturating_sub(1)).copied().filter(|_| sorted.len() * (1000 - of_thousand) >= 1000)
}

/// The median of what each number is to the other of its round. A round that lacks one of the two says nothing.
pub fn ratio(values: &[Option<f64>], to: &[Option<f64>]) -> Option<f64> {
    let ratios = values.iter().zip(to).filter_map(|(value, to)| Some((*value)? / (*to)?)).collect();
    median(ratios)
}

/// How far the smallest and the largest are apart, in percent of the median.
pub fn spread(values: &[f64]) -> Option<f64> {
    let (least, most) = (values.iter().copied().reduce(f64::min)?, values.iter().copied().reduce(f64::max)?);
    Some((most - least) / median(values.to_vec())? * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0, 4.0]), Some(3.0));
    }

    #[test]
    fn percentiles_are_ranks() {
        let thousand: Vec<u64> = (1..=1000).collect();
        assert_eq!(percentile(&thousand, 500), Some(500));
        assert_eq!(percentile(&thousand, 990), Some(990));
        assert_eq!(percentile(&thousand, 999), Some(999));
        // One of ten is worse than all others.
        let ten = [1, 1, 1, 1, 1, 1, 1, 1, 1, 500];
        assert_eq!(percentile(&ten, 900), Some(1));
        assert_eq!(percentile(&[&ten[1..], &[500]].concat(), 900), Some(500));
        assert_eq!(percentile(&[1, 2, 3], 500), Some(2));
    }

    #[test]
    fn a_percentile_needs_numbers_enough() {
        let numbers: Vec<u64> = (1..=1000).collect();
        assert_eq!(percentile(&numbers[..999], 999), None);
        assert_eq!(percentile(&numbers[..99], 990), None);
        assert_eq!(percentile(&numbers[..100], 990), Some(99));
        assert_eq!(percentile(&[7], 500), None);
        assert_eq!(percentile(&[], 500), None);
    }

    #[test]
    fn a_ratio_is_of_the_same_round() {
        // The machine became slower after the first round: the ratio of medians would be 4.
        let (values, floor) = ([Some(2.0), Some(20.0), Some(40.0)], [Some(1.0), Some(5.0), Some(20.0)]);
        assert_eq!(ratio(&values, &floor), Some(2.0));
        assert_eq!(ratio(&[Some(2.0), None, Some(9.0)], &[None, Some(1.0), Some(3.0)]), Some(3.0));
        assert_eq!(ratio(&[Some(2.0)], &[None]), None);
    }

    #[test]
    fn the_spread_is_that_of_the_extremes() {
        assert_eq!(spread(&[10.0, 9.0, 14.0]), Some(50.0));
        assert_eq!(spread(&[10.0]), Some(0.0));
        assert_eq!(spread(&[]), None);
    }
}
