//! How many pushes are on their way by each provider. Hosts that have not shown that they answer share a quarter of that:
//! users name them, and however many hang, those that are well keep the rest.

use madang_proto::notify::v1::Provider;
use std::{collections::HashMap, time::Duration};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

/// How many pushes of a provider are on their way at once.
const AT_ONCE: usize = 1024;
/// How many of them to hosts that have not shown that they answer.
const UNPROVEN: usize = AT_ONCE / 4;

#[derive(Debug)]
struct Slots {
    all: Semaphore,
    unproven: Semaphore,
}

/// The places of all providers.
#[derive(Debug)]
pub(super) struct AllSlots(HashMap<Provider, Slots>);

/// A place by a provider.
#[derive(Debug)]
pub(super) struct Slot<'a> {
    _all: SemaphorePermit<'a>,
    _unproven: Option<SemaphorePermit<'a>>,
}

impl Default for AllSlots {
    fn default() -> Self {
        use Provider::{Apns, Fcm, WebPush, Webhook};
        let slots = || Slots { all: Semaphore::new(AT_ONCE), unproven: Semaphore::new(UNPROVEN) };
        Self([WebPush, Fcm, Apns, Webhook].map(|name| (name, slots())).into())
    }
}

impl AllSlots {
    /// Takes a place by a provider, to a host that is proven or not; waits for that so long at most.
    pub async fn take(&self, provider: Provider, is_proven: bool, wait: Duration) -> Option<Slot<'_>> {
        let slots = self.0.get(&provider)?;
        let taken = async {
            let unproven = if is_proven { None } else { Some(slots.unproven.acquire().await.ok()?) };
            Some(Slot { _all: slots.all.acquire().await.ok()?, _unproven: unproven })
        };
        timeout(wait, taken).await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_provider_that_has_no_place_left_takes_none_of_anothers() {
        let (slots, at_once) = (AllSlots::default(), Duration::ZERO);
        let mut taken = Vec::new();
        while let Some(slot) = slots.take(Provider::Webhook, true, at_once).await {
            taken.push(slot);
        }
        assert_eq!(taken.len(), AT_ONCE);
        assert!(slots.take(Provider::WebPush, true, at_once).await.is_some());
        assert!(slots.take(Provider::Fcm, false, at_once).await.is_some());
        taken.pop();
        assert!(slots.take(Provider::Webhook, false, at_once).await.is_some(), "one was given back");
    }
}
