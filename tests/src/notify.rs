//! notify-svc as other services see it, within `madang serve`.

use crate::PATIENCE;
use madang_mesh::channel::{Channel, Channels};
use madang_proto::notify::v1::{
    Delivery, GetKeyRequest, ListDeliveriesRequest, ListSubscriptionsRequest, Outcome, Subscription,
    notify_service_client::NotifyServiceClient,
};
use madang_solo::{serve::Running, token::Tokens};
use std::{path::Path, time::Duration};
use tonic::Request;

/// Asks it, with a token of its folder's.
pub struct Notify {
    client: NotifyServiceClient<Channel>,
    token: String,
}

impl Notify {
    /// Of a server on a folder.
    #[must_use]
    pub fn of(server: &Running, folder: &Path) -> Self {
        let channel = Channels::new().get(&format!("http://{}", server.grpc)).unwrap();
        let token = Tokens::open(folder).unwrap().make("test");
        Self { client: NotifyServiceClient::new(channel), token }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.token).parse().unwrap());
        request
    }

    /// The key that pushes are signed with.
    pub async fn key(&self) -> String {
        let request = self.request(GetKeyRequest {});
        self.client.clone().get_key(request).await.unwrap().into_inner().key
    }

    /// Where a user's devices are notified.
    pub async fn places(&self, user: &str) -> Vec<Subscription> {
        let request = self.request(ListSubscriptionsRequest { user: user.to_owned() });
        self.client.clone().list_subscriptions(request).await.unwrap().into_inner().subscriptions
    }

    /// What became of a user's pushes, the latest first.
    pub async fn deliveries(&self, user: &str) -> Vec<Delivery> {
        let request = self.request(ListDeliveriesRequest { user: user.to_owned(), ..Default::default() });
        self.client.clone().list_deliveries(request).await.unwrap().into_inner().deliveries
    }

    /// Waits until this has become of a user's push of a message; how that was.
    pub async fn wait(&self, user: &str, seq: u64, outcome: Outcome) -> Delivery {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let all = self.deliveries(user).await;
            if let Some(found) = all.iter().find(|each| each.seq == seq && each.outcome() == outcome) {
                return found.clone();
            }
            assert!(tokio::time::Instant::now() < end, "{seq} did not become {outcome:?}: {all:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
