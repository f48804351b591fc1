//! error: `typed_async_listener(..)`
use bellwire::{Json, typed_listener};

fn main() {
    let _ = typed_listener(Json::<i64>::new()).on_message(async |_, _| {});
}
