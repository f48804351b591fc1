//! HTTP/1.1 as far as an opening handshake needs it: header fields and their grammar, authorities, where a message
//! ends, URLs. Nothing here knows the opening handshake.

mod authority;
#[cfg(feature = "http")]
mod convert;
mod cookies;
mod credentials;
mod date;
mod extensions;
mod forwarded;
mod grammar;
mod headers;
mod message;
mod percent;
mod reference;
mod shown;
mod status;
mod uri;

pub(crate) use authority::{Authority, default_port};
#[cfg(feature = "http")]
pub(crate) use convert::append;
pub(crate) use cookies::{cookies, is_cookie_value, join_cookies, set_cookie};
pub(crate) use credentials::Credentials;
pub use date::date;
pub(crate) use date::parse_date;
pub(crate) use extensions::is_extension_list;
#[cfg(feature = "deflate")]
pub(crate) use extensions::{Extension, extensions};
pub(crate) use forwarded::Forwarded;
pub(crate) use grammar::{as_token, elements, is_token, is_token_list, lists, token_list};
pub use headers::{Headers, HeadersIter, InvalidHeader};
pub(crate) use headers::{is_of_connection, write_field};
pub use message::MAX_BODY;
pub(crate) use message::{Framing, HeadError, HeadReader, parse_request, parse_response};
pub(crate) use percent::encode_all;
pub(crate) use shown::{MAX_SHOWN, Shown};
pub(crate) use status::reason_phrase;
pub(crate) use uri::parse_host;
pub use uri::{Uri, UriError};
