//! `testing::connect_service` on tokio: what callbacks wait for there is waited for, on a paused clock in no time.

use std::sync::Arc;
use std::time::Duration;

use bellwire_core::backend::Service;
use bellwire_core::{AsyncResponse, Config, Request, async_listener, testing};
use tokio::time::{Instant, sleep};

/// Answers each message twice: after a minute, and after two from a task of its own.
async fn slow(_: Request) -> AsyncResponse {
    sleep(Duration::from_secs(60)).await;
    AsyncResponse::websocket(async_listener().on_message(async |socket, message| {
        let later = socket.clone();
        tokio::spawn(async move {
            sleep(Duration::from_secs(120)).await;
            later.send("from a task")
        });
        sleep(Duration::from_secs(60)).await;
        socket.send_and_wait(message).await
    }))
}

#[tokio::test(start_paused = true)]
async fn u6_what_callbacks_wait_for_on_a_paused_clock_takes_no_time() {
    let (began, start) = (std::time::Instant::now(), Instant::now());
    let config = Config::default().handler_timeout(None);
    let service = Arc::new(Service::asynchronous(config, slow, |error| panic!("{error}")));
    let mut client = testing::connect_service("ws://localhost/", service).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(60));
    client.send("hello").unwrap();
    assert_eq!(client.try_recv(), None, "not yet");
    assert_eq!(client.recv().await.unwrap(), "hello");
    assert_eq!(start.elapsed(), Duration::from_secs(120));
    assert_eq!(client.recv().await.unwrap(), "from a task");
    assert_eq!(start.elapsed(), Duration::from_secs(180));
    assert!(client.close().unwrap().clean);
    assert_eq!(client.recv().await, None);
    assert!(began.elapsed() < Duration::from_secs(60));
}
