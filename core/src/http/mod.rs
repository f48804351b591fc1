//! HTTP/1.1 as far as an opening handshake needs it: header fields, their grammar, authorities, where a message ends,
//! URLs. Nothing here knows WebSocket's words.

mod date;
mod headers;
mod percent;
pub mod uri;

pub use date::date;
pub(crate) use headers::{
    Authority, as_token, elements, is_extension_list, is_token, is_token_byte, reason_phrase, reserved, shown,
    token_list, write_field,
};
pub use headers::{Headers, InvalidHeader};
pub(crate) use uri::{Uri, UriError};
