//! A program whose costs are known, to test what counts them: `known ROUNDS WORK ALLOCATIONS`.

use std::hint::black_box;

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).map(|text| text.parse().expect("a number")).collect();
    let [rounds, work, allocations] = numbers[..] else { panic!("usage: known ROUNDS WORK ALLOCATIONS") };
    for _ in 0..rounds {
        for step in 0..work {
            black_box(step);
        }
        for step in 0..allocations {
            black_box(Box::new(step));
        }
        // A system call; and a clock, which is none.
        drop(black_box(std::fs::metadata("/")));
        black_box(std::time::Instant::now());
    }
}
