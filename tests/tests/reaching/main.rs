//! The way of a client to its server, on tokio: TLS that is built in, and proxies.

mod built_in_tls;
mod client_certificates;
mod dribbling;
mod https_proxy;
mod on_threads;
mod silent;
mod stalling;

use bellwire_tests::PATIENCE;

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}
