//! What hyper lets go of, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Extensions;
use hyper::upgrade::OnUpgrade;

use crate::Rejection;

/// What a request has for its upgrade, to be used once.
pub(crate) struct Upgradable {
    on_upgrade: OnUpgrade,
    claim: Option<Claim>,
}

/// Whether a request was upgraded already. Its extractor and the layer that completes a response have `OnUpgrade` both, and
/// hyper's panics if both wait for it.
#[derive(Clone, Default)]
struct Claim(Arc<AtomicBool>);

impl Upgradable {
    /// Takes it out of the extensions of a request.
    pub(crate) fn take(extensions: &mut Extensions) -> Option<Self> {
        let on_upgrade = extensions.remove::<OnUpgrade>()?;
        Some(Self { on_upgrade, claim: extensions.get::<Claim>().cloned() })
    }

    /// Copies it into other extensions: whoever is first may use it.
    #[cfg(feature = "axum")]
    pub(crate) fn share(from: &mut Extensions, to: &mut Extensions) {
        let Some(on_upgrade) = from.get::<OnUpgrade>().cloned() else { return };
        to.insert(on_upgrade);
        to.insert(from.get_or_insert_default::<Claim>().clone());
    }

    /// Uses it.
    ///
    /// # Errors
    /// [`Rejection::UpgradedTwice`] if somebody else has used it.
    pub(crate) fn claimed(self) -> Result<OnUpgrade, Rejection> {
        let is_claimed = self.claim.is_some_and(|Claim(claim)| claim.swap(true, Ordering::Relaxed));
        if is_claimed { Err(Rejection::UpgradedTwice) } else { Ok(self.on_upgrade) }
    }
}
