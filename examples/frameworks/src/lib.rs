//! bellwire in frameworks that it has no module for. Each file is a recipe, to be copied.

pub mod actix;
mod handshake;
pub mod poem;
pub mod warp;
