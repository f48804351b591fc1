//! compiles
use bellwire::{Json, async_listener, done, listener, typed_async_listener, typed_listener};

fn main() {
    let _ = listener().on_message(|socket, message| {
        let number: i32 = message.as_text().ok_or("text")?.parse()?;
        socket.send(number.to_string())?;
        done()
    });
    let _ = listener().with_state(1).on_open(|_, socket| {
        socket.send("hello")?;
        done()
    });
    let _ = typed_listener(Json::<i64>::new()).on_message(|socket, number| {
        socket.send(&number)?;
        socket.ping("")?;
        done()
    });
    let _ = typed_listener(Json::<i64>::new()).with_state(1).on_message(|_, socket, number| {
        socket.send(&number)?;
        done()
    });
    let _ = async_listener().on_message(async |socket, message| {
        socket.send_and_wait(message).await?;
        done()
    });
    let _ = async_listener().with_state(1).on_message(|_, socket, message| async move {
        socket.send_and_wait(message).await?;
        done()
    });
    let _ = typed_async_listener(Json::<i64>::new()).with_state(1).on_message(async |_, socket, number| {
        socket.send_and_wait(&number).await?;
        done()
    });
}
