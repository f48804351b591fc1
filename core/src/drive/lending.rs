//! A large message is lent to its callback, which may send it on, to whomever: that shares its memory instead of copying
//! it. A callback sees a `&str` or a `&[u8]`; which memory that is, is known here while it runs.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;

use bytes::Bytes;

use crate::protocol::Pooled;

std::thread_local! {
    /// A share of what this thread's callback has been lent.
    static LENT: RefCell<Option<Bytes>> = const { RefCell::new(None) };
}

/// Runs a callback that is lent a payload.
pub(super) fn lend<P, T>(payload: P, callback: impl FnOnce(&P) -> T) -> T
where
    P: Default + Into<Vec<u8>> + AsRef<[u8]> + Send + Sync + 'static,
{
    /// A callback may drive another connection; then this one's goes on.
    struct Before(Option<Bytes>);
    impl Drop for Before {
        fn drop(&mut self) {
            drop(replace(self.0.take()));
        }
    }
    let payload = Arc::new(Pooled(payload));
    let _before = Before(replace(Some(Bytes::from_owner(Owner(payload.clone())))));
    callback(&payload.0)
}

/// Returns a share of this payload, if it is what this thread's callback has been lent.
pub(super) fn share_of(payload: &[u8]) -> Option<Bytes> {
    LENT.try_with(|lent| lent.borrow().as_ref().filter(|lent| core::ptr::eq(&***lent, payload)).cloned()).ok().flatten()
}

fn replace(lent: Option<Bytes>) -> Option<Bytes> {
    LENT.try_with(|before| before.replace(lent)).ok().flatten()
}

/// One owner of two: the callback's borrow is of the other.
struct Owner<P: Default + Into<Vec<u8>>>(Arc<Pooled<P>>);

impl<P: Default + Into<Vec<u8>> + AsRef<[u8]>> AsRef<[u8]> for Owner<P> {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn what_is_lent_is_known_while_the_callback_runs_and_by_its_place_and_length() {
        let other = *b"a message";
        let shared = lend(other.to_vec(), |payload| {
            assert!(share_of(&other).is_none() && share_of(&payload[1..]).is_none() && share_of(&[]).is_none());
            let inner = String::from("another connection's");
            lend(inner, |inner| {
                assert_eq!(share_of(inner.as_bytes()).unwrap().as_ptr(), inner.as_ptr());
                assert!(share_of(payload).is_none());
            });
            let _ = catch_unwind(AssertUnwindSafe(|| lend(String::from("fails"), |_| panic!("of a callback"))));
            let shared = share_of(payload).unwrap();
            assert_eq!(shared.as_ptr(), payload.as_ptr());
            shared
        });
        assert_eq!(shared, other[..]);
        assert!(share_of(&shared).is_none());
    }
}
