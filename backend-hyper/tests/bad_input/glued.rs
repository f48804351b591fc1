//! What a client sends together with its request.

use super::common::{App, CLOSE, TEXT, WAYS, Way, frame, masked, serve, upgrade};

/// An echo, with a request, a message and a Close in these pieces.
async fn echoes(way: Way, pieces: impl IntoIterator<Item = &[u8]>) {
    let (app, mut told) = App::new();
    let handled = app.clone();
    let client = serve(way, move |request| handled.clone().answer(request)).await;
    let (head, rest) = client.talk(pieces).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let mut answers = frame(TEXT, b"hello");
    answers.extend(frame(CLOSE, &1000_u16.to_be_bytes()));
    assert_eq!(rest, answers);
    told.expect(&["open", "close 1000"]).await;
    told.ended(&app).await;
}

fn conversation() -> Vec<u8> {
    let mut bytes = upgrade();
    bytes.extend(masked(TEXT, b"hello"));
    bytes.extend(masked(CLOSE, &1000_u16.to_be_bytes()));
    bytes
}

#[tokio::test]
async fn frames_that_come_with_the_request_are_kept() {
    for way in WAYS {
        echoes(way, [conversation().as_slice()]).await;
    }
}

#[tokio::test]
async fn frames_are_kept_wherever_the_bytes_are_split() {
    let bytes = conversation();
    for way in WAYS {
        for middle in 1..bytes.len() {
            let (first, second) = bytes.split_at(middle);
            echoes(way, [first, second]).await;
        }
    }
}

#[tokio::test]
async fn frames_are_kept_that_come_byte_by_byte() {
    for way in WAYS.into_iter().chain([Way::Memory(1), Way::AutoMemory(1)]) {
        echoes(way, conversation().chunks(1)).await;
    }
}
