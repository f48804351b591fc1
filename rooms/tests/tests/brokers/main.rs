//! Rooms over real brokers, on nodes in this process and on nodes that are processes, and with faults.
//!
//! | file | what it is about |
//! |---|---|
//! | `harness` | what the others stand on: a broker really stops, and a relay really cuts |
//! | `semantics` | what rooms promise, as one suite over each engine |
//! | `crowd` | who is present among ten thousand members |
//! | `history` | what is kept, and that it makes up for what was missed |
//! | `gaps` | what is told of what is not kept any more |
//! | `faults` | brokers that are away, lost, slow, paused, full, or something else |
//! | `limits` | brokers that take less than they are given |
//! | `sentinels` | Redis that fails over |
//! | `processes` | nodes that are killed, stopped, or go |
//! | `ends` | the end of rooms: of their runtime, of their last handle, and by `close` |
//! | `seeded` | all of that at random, with a model as the oracle |
//!
//! Without a broker they run over rooms in this process; the others are for those who have `nats-server` and
//! `redis-server`: `cargo test -p bellwire-rooms-tests -- --ignored`.

mod crowd;
mod ends;
mod faults;
mod gaps;
mod harness;
mod history;
mod limits;
mod processes;
mod seeded;
mod semantics;
mod sentinels;
mod site;
mod watched;
