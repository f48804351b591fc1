//! error: `run_async`
use bellwire::Response;

async fn serve(server: bellwire::tokio::Server) {
    let _ = server.run(async |_| Response::not_found()).await;
}

fn main() {
    let _ = serve;
}
