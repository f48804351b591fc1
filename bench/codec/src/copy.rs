//! The measure of large messages: to copy as many bytes.

use std::hint::black_box;
use std::time::{Duration, Instant};

const ROUND: Duration = Duration::from_millis(2);

pub struct Copying {
    from: Vec<u8>,
    to: Vec<u8>,
}

impl Copying {
    pub fn new(length: usize) -> Self {
        Self { from: vec![1; length], to: vec![0; length] }
    }

    /// Returns nanoseconds for each copy.
    pub fn round(&mut self) -> f64 {
        let (start, mut copies) = (Instant::now(), 0);
        loop {
            for _ in 0..64 {
                self.to.copy_from_slice(black_box(&self.from));
                black_box(&self.to);
            }
            copies += 64;
            let time = start.elapsed();
            if time >= ROUND {
                return time.as_nanos() as f64 / f64::from(copies);
            }
        }
    }
}
