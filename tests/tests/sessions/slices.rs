//! What is written in several slices arrives in their order, however much of it a session takes.

use super::*;

/// Writes all of it in pieces of these sizes, again and again, as a transport is told of output.
fn say(end: &mut Session, says: &[u8], sizes: &[usize], mut leave: impl FnMut(&mut Session)) {
    let mut said = 0;
    while said < says.len() {
        let (mut slices, mut rest) = (Vec::new(), &says[said..]);
        for &size in sizes {
            let (piece, after) = rest.split_at(size.min(rest.len()));
            if !piece.is_empty() {
                slices.push(IoSlice::new(piece));
            }
            rest = after;
        }
        match end.write(&slices) {
            Ok(count) => said += count,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
        leave(end);
    }
}

#[test]
fn large_slices_arrive_in_their_order() {
    let says = noise(400_000);
    for pair in PAIRS {
        for sizes in [&[40_000, 40_000][..], &[16_385, 1, 16_384, 5], &[7, 100_000, 7, 100_000], &[1; 16]] {
            let says = if sizes[0] == 1 { &says[..5000] } else { &says };
            let (mut a, mut b) = (End::new(client(pair[0])), End::new(server(pair[1])));
            while a.session.is_handshaking() || b.session.is_handshaking() {
                let output = a.output();
                b.hear(&output).unwrap();
                let output = b.output();
                a.hear(&output).unwrap();
            }
            for (from, to) in [(0, 1), (1, 0)] {
                let ends = [&mut a, &mut b];
                let mut output = Vec::new();
                say(&mut ends[from].session, says, sizes, |session| {
                    while session.wants_write() {
                        session.write_tls(&mut output).unwrap();
                    }
                });
                ends[to].hear(&output).unwrap();
                assert!(ends[to].take_heard() == says, "{pair:?} {sizes:?} from {from}");
            }
        }
    }
}
