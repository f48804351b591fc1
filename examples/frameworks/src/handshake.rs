//! The opening handshake for frameworks that hand over a stream and have no `OnUpgrade` of hyper.

use std::sync::Arc;

use bellwire::proto::Time;
use bellwire::proto::server::Accept;
use bellwire::{Config, Request};
use bytes::Bytes;
use http::request::Parts;

/// Checks a request as a server of bellwire does, its `Origin` included, and returns the answer: a 101 accepts, any other
/// refuses.
///
/// What is agreed on here is lost for `upgraded`, so the configuration must be one without compression.
pub fn answer(parts: &Parts, config: &Config) -> http::Response<Bytes> {
    let request = match Request::from_http(parts, None) {
        Ok(request) => request,
        Err(refused) => return refused.to_response().to_http(None),
    };
    match request.accept_http(&Accept::new(), Arc::new(config.clone()), Time::ZERO) {
        Ok((response, _)) => response.map(|()| Bytes::new()),
        Err(error) => error.to_response().to_http(Some(&request)),
    }
}
