//! A connection that is done lets go of its stream, though its future is kept.

use std::pin::pin;
use std::time::Duration;

use bellwire_core::{AsyncResponse, Request, stream};
use bellwire_tokio::{Acceptor, connect_stream_over};
use tokio::io::duplex;
use tokio::time::timeout;

#[tokio::test]
async fn an_accepted_stream_that_is_done_is_dropped_though_its_future_is_not() {
    let (client, server) = duplex(4096);
    let (sends, mut streams) = tokio::sync::mpsc::unbounded_channel();
    let acceptor = Acceptor::new_async(move |_: Request| {
        let (listener, opened) = stream();
        sends.send(opened).unwrap();
        async { AsyncResponse::websocket(listener) }
    });
    let mut accepted = pin!(acceptor.accept(server, None));
    let client = tokio::spawn(async move {
        let (mut messages, _) = connect_stream_over("ws://localhost/", client).await.unwrap();
        messages.send("bye").await.unwrap();
        messages.flush().await.unwrap();
        messages.socket().abort();
    });
    timeout(Duration::from_secs(5), accepted.as_mut()).await.expect("it ends");
    client.await.unwrap();
    let mut messages = streams.recv().await.unwrap().await.unwrap();
    let closed = timeout(Duration::from_secs(5), messages.close()).await;
    assert!(closed.is_ok(), "close() waits for ever: the task that is done was not dropped");
}
