//! Single situations, in virtual time. [`simulation`](super::simulation) has all of them together.

mod absence;
mod costs;
mod loss;
mod nodes;
mod strangers;
mod telling;
