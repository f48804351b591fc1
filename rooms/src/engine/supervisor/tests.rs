//! Connections that are lost and made again, with a broker in memory and virtual time.

mod catching_up;
mod ending;
mod gaps;
mod history;
mod messages;
mod node;
mod outages;
mod seeded;
