//! gRPC: translates, and asks account-svc whose a device is.

use crate::{
    form,
    provider::Providers,
    reports::Reports,
    sender::Sender,
    store::{self, Subscription, Subscriptions},
    vapid::Vapid,
};
use madang_mesh::{
    channel::Channel,
    clock::now_ms,
    status::{from_status, invalid_field, to_status},
};
use madang_proto::{
    account::v1::{ListSessionsRequest, Session, account_service_client::AccountServiceClient},
    id::{DeviceId, UserId},
    notify::v1::{self as notify, notify_service_server::NotifyService, *},
    reason::{Reason, Refusal},
};
use std::sync::Arc;
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// What is asked of notify-svc.
pub struct Rpc {
    pub(crate) store: Arc<dyn Subscriptions>,
    pub(crate) account: AccountServiceClient<Channel>,
    pub(crate) vapid: Arc<Vapid>,
    pub(crate) providers: Providers,
    pub(crate) sender: Arc<Sender>,
    pub(crate) reports: Arc<Reports>,
    /// Whether this machine may be called, for tests.
    pub(crate) loopback: bool,
}

type Answer<T> = Result<Response<T>, Status>;

fn refuse(reason: Reason, message: &str) -> Status {
    to_status(&Refusal::new(reason, message))
}

fn failed(error: store::Error) -> Status {
    tracing::error!(%error, "the store of subscriptions failed");
    refuse(Reason::Unavailable, "subscriptions can't be reached: try again a little later")
}

fn user(text: &str) -> Result<UserId, Status> {
    text.parse().map_err(|_| invalid_field("user", "user must be a user's id: a UUID in lower-case canonical text"))
}

fn device(text: &str) -> Result<DeviceId, Status> {
    let message = "the device must be named by its id: a UUID in lower-case canonical text";
    text.parse().map_err(|_| invalid_field("device", message))
}

impl Rpc {
    /// The session that a user has on a device.
    async fn session(&self, user: UserId, device: DeviceId) -> Result<Session, Status> {
        let request = ListSessionsRequest { user: user.to_string() };
        let sessions = self.account.clone().list_sessions(request).await;
        let sessions = sessions.map_err(|status| to_status(&from_status(&status)))?.into_inner().sessions;
        let device = device.to_string();
        let here = |each: &Session| each.device.as_ref().is_some_and(|one| one.id == device);
        let message = "you are not logged in on such a device: give the id that it has in GET /v1/sessions";
        sessions.into_iter().find(here).ok_or_else(|| refuse(Reason::NotFound, message))
    }
}

#[tonic::async_trait]
impl NotifyService for Rpc {
    async fn get_key(&self, _: Request<GetKeyRequest>) -> Answer<GetKeyResponse> {
        Ok(Response::new(GetKeyResponse { key: self.vapid.public() }))
    }

    async fn set_subscription(&self, request: Request<SetSubscriptionRequest>) -> Answer<SetSubscriptionResponse> {
        let SetSubscriptionRequest { user: whose, device: on, target, locale, preview } = request.into_inner();
        let (user, device) = (user(&whose)?, device(&on)?);
        // First: what this deployment has is told to nobody who asks for a device that is not theirs.
        let session = self.session(user, device).await?;
        let target = form::target(target, self.loopback).map_err(|refusal| to_status(&refusal))?;
        if self.providers.get(target.provider).is_none() {
            let message = "this deployment has no account with this provider: the operator sets one";
            return Err(refuse(Reason::NotConfigured, message));
        }
        let locale = form::locale(locale).map_err(|refusal| to_status(&refusal))?;
        let its = session.session.parse().map_err(|_| refuse(Reason::Internal, "a session without an id"))?;
        // Registered as it is, it is the same registration: what is under way to it goes on.
        let known = self.store.of_users(vec![user]).await.map_err(failed)?.into_iter();
        let same = |known: &Subscription| (known.device, known.session, &known.target) == (device, its, &target);
        let id = known.filter(same).map(|known| known.id).next().unwrap_or_else(Uuid::new_v4);
        let subscription = Subscription {
            id,
            user,
            device,
            session: its,
            kind: session.device.unwrap_or_default().kind(),
            target,
            locale,
            preview,
            created_at: now_ms(),
        };
        self.store.put(subscription).await.map_err(failed)?;
        // It may have ended while this was written, when there was nothing yet to end with it.
        match self.session(user, device).await {
            Ok(session) if session.session == its.to_string() => {}
            Err(status) if status.code() != tonic::Code::NotFound => {}
            other => {
                self.store.drop_one(id).await.map_err(failed)?;
                other?;
            }
        }
        Ok(Response::new(SetSubscriptionResponse {}))
    }

    async fn delete_subscription(
        &self,
        request: Request<DeleteSubscriptionRequest>,
    ) -> Answer<DeleteSubscriptionResponse> {
        let DeleteSubscriptionRequest { user: whose, device: on } = request.into_inner();
        self.store.remove(user(&whose)?, device(&on)?).await.map_err(failed)?;
        Ok(Response::new(DeleteSubscriptionResponse {}))
    }

    async fn list_subscriptions(
        &self,
        request: Request<ListSubscriptionsRequest>,
    ) -> Answer<ListSubscriptionsResponse> {
        let whose = user(&request.into_inner().user)?;
        let found = self.store.of_users(vec![whose]).await.map_err(failed)?;
        let subscriptions = found.into_iter().map(|each| notify::Subscription {
            device: each.device.to_string(),
            kind: each.kind.into(),
            session: each.session.to_string(),
            provider: each.target.provider.into(),
            host: each.target.host(),
            locale: each.locale,
            preview: each.preview,
            created_at: each.created_at,
        });
        Ok(Response::new(ListSubscriptionsResponse { subscriptions: subscriptions.collect() }))
    }

    async fn list_deliveries(&self, request: Request<ListDeliveriesRequest>) -> Answer<ListDeliveriesResponse> {
        let ListDeliveriesRequest { user, conversation, limit } = request.into_inner();
        let limit = if limit == 0 { 100 } else { limit.min(1000) } as usize;
        let wanted = |each: &Delivery| {
            (user.is_empty() || each.user == user) && (conversation.is_empty() || each.conversation == conversation)
        };
        Ok(Response::new(ListDeliveriesResponse { deliveries: self.reports.latest(limit, wanted) }))
    }

    async fn get_status(&self, _: Request<GetStatusRequest>) -> Answer<GetStatusResponse> {
        let (messages_seen, sent) = self.reports.counts();
        Ok(Response::new(GetStatusResponse { messages_seen, sent, sending: self.sender.sending() }))
    }
}
