//! The way of a client to its server, on tokio: TLS that is built in, and proxies.

mod built_in_tls;
mod https_proxy;
mod on_threads;

use bellwire_tests::PATIENCE;

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}
