//! The opening handshake for frameworks that hand over a stream and have no `OnUpgrade` of hyper.

use std::sync::Arc;

use bellwire::proto::Time;
use bellwire::proto::server::Accept;
use bellwire::{Config, Request};
use bytes::Bytes;
use http::request::Parts;

/// Checks a request as a server of bellwire does, its `Origin` included, and returns what accepts it, or what refuses it.
///
/// What is agreed on here is lost for `upgraded`, so the configuration must be one without compression.
pub fn accept(parts: &Parts, config: &Config) -> Result<http::Response<()>, http::Response<Bytes>> {
    let request = Request::from_http(parts, None).map_err(|refused| refused.to_response().to_http(None))?;
    match request.accept_http(&Accept::new(), Arc::new(config.clone()), Time::ZERO) {
        Ok((response, _)) => Ok(response),
        Err(error) => Err(error.to_response().to_http(Some(&request))),
    }
}
