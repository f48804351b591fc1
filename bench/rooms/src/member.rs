//! What comes to a member, byte for byte: each message once, and in order.

use std::io;

use crate::dialect::{DIGITS, Delivery, PING};

/// What a member has received so far.
#[derive(Debug, Default)]
pub struct Member {
    /// A frame that is not there to its end.
    unfinished: Vec<u8>,
    /// How many messages came, the first of which has the number 1.
    pub came: u64,
    /// Whether a message came that only asks whether messages come: one with the number 0.
    pub hears: bool,
    /// Pings that are to be answered.
    pub pings: usize,
}

impl Member {
    /// Takes what was read. `seen` is told each message's number.
    pub fn receive(&mut self, input: &[u8], delivery: &Delivery, seen: impl FnMut(u64)) -> io::Result<()> {
        if self.unfinished.is_empty() {
            let taken = self.take(input, delivery, seen)?;
            self.unfinished.extend_from_slice(&input[taken..]);
            return Ok(());
        }
        let mut all = std::mem::take(&mut self.unfinished);
        all.extend_from_slice(input);
        let taken = self.take(&all, delivery, seen)?;
        all.drain(..taken);
        self.unfinished = all;
        Ok(())
    }

    /// Takes frames that are there to their end: so many bytes.
    fn take(&mut self, input: &[u8], delivery: &Delivery, mut seen: impl FnMut(u64)) -> io::Result<usize> {
        let mut rest = input;
        loop {
            if let Some(after) = rest.strip_prefix(PING) {
                (self.pings, rest) = (self.pings + 1, after);
            } else if let Some((frame, after)) = rest.split_at_checked(delivery.len()) {
                self.delivered(frame, delivery, &mut seen)?;
                rest = after;
            } else {
                return Ok(input.len() - rest.len());
            }
        }
    }

    fn delivered(&mut self, frame: &[u8], delivery: &Delivery, seen: &mut impl FnMut(u64)) -> io::Result<()> {
        let right = frame.starts_with(&delivery.before) && frame.ends_with(&delivery.after);
        let number = if right { parse(&frame[delivery.number()]) } else { None };
        let Some(number) = number else {
            let start = &frame[..frame.len().min(40)];
            return Err(io::Error::other(format!("a wrong delivery: {}", start.escape_ascii())));
        };
        match number {
            // Some of these may come late.
            0 if self.came == 0 => self.hears = true,
            _ if number == self.came + 1 => {
                self.came = number;
                seen(number);
            }
            _ => return Err(io::Error::other(wrong(number, self.came + 1))),
        }
        Ok(())
    }
}

fn wrong(number: u64, expected: u64) -> String {
    let what = if number > expected { "lost, or out of order" } else { "doubled, or out of order" };
    format!("{what}: message {number} came in place of {expected}")
}

fn parse(digits: &[u8]) -> Option<u64> {
    let digits: &[u8; DIGITS] = digits.try_into().ok()?;
    digits.iter().try_fold(0, |number, digit| Some(number << 4 | u64::from(char::from(*digit).to_digit(16)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Dialect;

    fn frames(delivery: &Delivery, numbers: &[u64]) -> Vec<u8> {
        let frame = |number| [&delivery.before, format!("{number:016x}").as_bytes(), &delivery.after].concat();
        numbers.iter().flat_map(frame).collect()
    }

    /// Gives the parts one after the other. The numbers that were seen.
    fn receive<'a>(
        delivery: &Delivery,
        parts: impl IntoIterator<Item = &'a [u8]>,
    ) -> (io::Result<()>, Vec<u64>, Member) {
        let (mut member, mut numbers) = (Member::default(), Vec::new());
        let taken =
            parts.into_iter().try_for_each(|part| member.receive(part, delivery, |number| numbers.push(number)));
        (taken, numbers, member)
    }

    #[test]
    fn messages_come_whole_at_each_split_and_byte_by_byte() {
        for (dialect, length) in [(Dialect::Plain, 32), (Dialect::SocketIo, 200)] {
            let delivery = dialect.delivery(length);
            let bytes = [frames(&delivery, &[0, 0, 1]), PING.into(), frames(&delivery, &[2, 3])].concat();
            let splits = (0..=bytes.len()).map(|at| vec![&bytes[..at], &bytes[at..]]);
            for parts in splits.chain([bytes.chunks(1).collect()]) {
                let (taken, numbers, member) = receive(&delivery, parts);
                assert!(taken.is_ok() && member.hears && member.unfinished.is_empty(), "{taken:?}");
                assert_eq!((numbers, member.came, member.pings), (vec![1, 2, 3], 3, 1));
            }
        }
    }

    #[test]
    fn what_is_lost_doubled_or_out_of_order_is_found() {
        let delivery = Dialect::Plain.delivery(32);
        for (numbers, what) in [(&[1, 3][..], "lost"), (&[1, 1], "doubled"), (&[2, 1], "lost"), (&[1, 0], "doubled")] {
            let (taken, ..) = receive(&delivery, [&*frames(&delivery, numbers)]);
            assert!(taken.is_err_and(|error| error.to_string().starts_with(what)), "{numbers:?}");
        }
    }

    #[test]
    fn a_byte_that_is_wrong_is_found() {
        let delivery = Dialect::Plain.delivery(32);
        let right = frames(&delivery, &[1]);
        for at in 0..right.len() {
            let mut wrong = right.clone();
            wrong[at] ^= 0x40;
            assert!(receive(&delivery, [&*wrong]).0.is_err(), "its byte {at}");
        }
    }
}
