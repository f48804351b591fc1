//! The tests of bellwire are in `tests/`.
