//! Rooms over real brokers, on nodes in this process and on nodes that are processes, and with faults.
//!
//! | file | what it is about |
//! |---|---|
//! | `harness` | what the others stand on: a broker really stops, and a relay really cuts |

mod harness;
