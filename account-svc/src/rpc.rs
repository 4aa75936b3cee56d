//! gRPC: translates.

use crate::{
    accounts::{Accounts, failed},
    form,
    store::{
        Change,
        requests::{self, Claim},
    },
};
use madang_mesh::{clock::now_ms, status::to_status};
use madang_proto::{
    account::v1::{account_service_server::AccountService, *},
    id::{PictureId, SessionId, UserId},
    reason::{Reason, Refusal},
};
use std::collections::HashSet;
use tonic::{Request, Response, Status};

/// How many ended sessions are given at once.
const ENDED: usize = 100_000;
/// How long who has claimed a key may take, in ms: longer than any call.
const BUSY_MS: i64 = 30_000;
/// How many pairs are asked for at once, at most.
const PAIRS: usize = 10_000;

type Answer<T> = Result<Response<T>, Status>;

fn user(text: &str) -> Result<UserId, Status> {
    text.parse().map_err(|_| to_status(&Refusal::new(Reason::InvalidField, "user must be a user's id").of("user")))
}

fn session(text: &str) -> Result<SessionId, Status> {
    let message = "session must be a session's id: a UUID in lower-case canonical text";
    text.parse().map_err(|_| to_status(&Refusal::new(Reason::InvalidField, message).of("session")))
}

fn asked_for(whose: &str, key: String, asked: Vec<u8>) -> Result<requests::Request, Status> {
    let wrong = |_| to_status(&Refusal::new(Reason::InvalidField, "asked must have 32 bytes").of("asked"));
    Ok(requests::Request { user: user(whose)?, key, asked: asked.try_into().map_err(wrong)? })
}

fn stored(error: crate::store::Error) -> Status {
    to_status(&failed(error))
}

#[tonic::async_trait]
impl AccountService for Accounts {
    async fn sign_up(&self, request: Request<SignUpRequest>) -> Answer<SignUpResponse> {
        let tokens = Self::sign_up(self, request.into_inner()).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(SignUpResponse { tokens: Some(tokens) }))
    }

    async fn log_in(&self, request: Request<LogInRequest>) -> Answer<LogInResponse> {
        let LogInRequest { handle, password, device } = request.into_inner();
        let tokens = Self::log_in(self, &handle, password, device).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(LogInResponse { tokens: Some(tokens) }))
    }

    async fn refresh(&self, request: Request<RefreshRequest>) -> Answer<RefreshResponse> {
        let tokens =
            Self::refresh(self, &request.into_inner().refresh_token).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(RefreshResponse { tokens: Some(tokens) }))
    }

    async fn end_session(&self, request: Request<EndSessionRequest>) -> Answer<EndSessionResponse> {
        let EndSessionRequest { user: whose, session } = request.into_inner();
        let (whose, session) = (user(&whose)?, self::session(&session)?);
        self.store.end(Some(whose), session, now_ms()).await.map_err(stored)?;
        self.changed(whose);
        Ok(Response::new(EndSessionResponse {}))
    }

    async fn list_sessions(&self, request: Request<ListSessionsRequest>) -> Answer<ListSessionsResponse> {
        let sessions = self.store.sessions(user(&request.into_inner().user)?).await.map_err(stored)?;
        let sessions = sessions.into_iter().map(|each| Session {
            session: each.id.to_string(),
            device: Some(each.device),
            created_at: each.created_at,
            used_at: each.used_at,
        });
        Ok(Response::new(ListSessionsResponse { sessions: sessions.collect() }))
    }

    async fn get_users(&self, request: Request<GetUsersRequest>) -> Answer<GetUsersResponse> {
        let GetUsersRequest { users, handle } = request.into_inner();
        if users.len() > 1000 {
            return Err(to_status(
                &Refusal::new(Reason::TooLarge, "at most 1000 users are asked for at once").of("users"),
            ));
        }
        let found = if handle.is_empty() {
            // Each once, also where it is asked for twice.
            let mut seen = HashSet::<UserId>::new();
            let ids = users.iter().filter_map(|id| id.parse().ok()).filter(|id| seen.insert(*id)).collect();
            self.store.by_ids(ids).await.map_err(stored)?
        } else {
            let found = self.of_handle(&handle).await.map_err(stored)?;
            found.into_iter().map(|(user, _)| user).collect()
        };
        Ok(Response::new(GetUsersResponse { users: found }))
    }

    async fn update_profile(&self, request: Request<UpdateProfileRequest>) -> Answer<UpdateProfileResponse> {
        let UpdateProfileRequest { user: whose, handle, name, status_message, picture } = request.into_inner();
        let refused = |error: Refusal| to_status(&error);
        let handle = handle.map(|text| form::handle(&text)).transpose().map_err(refused)?;
        let name = name.map(|text| form::name(&text)).transpose().map_err(refused)?;
        if status_message.as_ref().is_some_and(|text| text.chars().count() > 200 || text.contains('\0')) {
            let message = "statusMessage takes at most 200 characters, and no NUL";
            return Err(to_status(&Refusal::new(Reason::InvalidField, message).of("statusMessage")));
        }
        picture.as_deref().map_or(Ok(()), PictureId::or_none).map_err(refused)?;
        let change = Change { handle, name, status: status_message, picture };
        let whose = user(&whose)?;
        let Some((updated, before)) = self.store.update(whose, change).await.map_err(stored)? else {
            let there = self.store.password(whose).await.map_err(stored)?.is_some();
            let (reason, message) = match there {
                true => (Reason::HandleTaken, "this handle belongs to somebody: choose another"),
                false => (Reason::UserNotFound, "no such account: check the id"),
            };
            return Err(to_status(&Refusal::new(reason, message)));
        };
        self.changed(whose);
        Ok(Response::new(UpdateProfileResponse { user: Some(updated), picture_before: Some(before) }))
    }

    async fn change_password(&self, request: Request<ChangePasswordRequest>) -> Answer<ChangePasswordResponse> {
        let ChangePasswordRequest { user: whose, session, old_password, new_password } = request.into_inner();
        let (whose, session) = (user(&whose)?, self::session(&session)?);
        let changed = Self::change_password(self, whose, session, old_password, new_password).await;
        changed.map_err(|error| to_status(&error))?;
        Ok(Response::new(ChangePasswordResponse {}))
    }

    async fn store_picture(&self, request: Request<StorePictureRequest>) -> Answer<StorePictureResponse> {
        let kept = self.keep_picture(request.into_inner().image.into()).await;
        let picture = kept.map_err(|error| to_status(&error))?;
        Ok(Response::new(StorePictureResponse { picture }))
    }

    async fn get_picture(&self, request: Request<GetPictureRequest>) -> Answer<GetPictureResponse> {
        let GetPictureRequest { picture, size } = request.into_inner();
        let found = async { self.pictures()?.get(&picture, size).await };
        let image = found.await.map_err(|error| to_status(&error))?.into();
        Ok(Response::new(GetPictureResponse { image }))
    }

    async fn delete_picture(&self, request: Request<DeletePictureRequest>) -> Answer<DeletePictureResponse> {
        let forgotten = self.forget_picture(request.into_inner().picture).await;
        forgotten.map_err(|error| to_status(&error))?;
        Ok(Response::new(DeletePictureResponse {}))
    }

    async fn get_keys(&self, request: Request<GetKeysRequest>) -> Answer<GetKeysResponse> {
        let GetKeysRequest { outside_kid } = request.into_inner();
        let mut answer = GetKeysResponse { jwks: self.keys.public(), ..GetKeysResponse::default() };
        if let Some(provider) = &self.provider {
            if !outside_kid.is_empty() {
                provider.look_for(&outside_kid).await;
            }
            answer.outside_issuer.clone_from(&provider.issuer);
            answer.outside_jwks = provider.jwks();
        }
        Ok(Response::new(answer))
    }

    async fn admit_outside(&self, request: Request<AdmitOutsideRequest>) -> Answer<AdmitOutsideResponse> {
        let admitted = self.admit(request.into_inner()).await;
        Ok(Response::new(admitted.map_err(|error| to_status(&error))?))
    }

    async fn claim_key(&self, request: Request<ClaimKeyRequest>) -> Answer<ClaimKeyResponse> {
        let ClaimKeyRequest { user: whose, key, asked } = request.into_inner();
        let (now, request) = (now_ms(), asked_for(&whose, key, asked)?);
        let claim = self.store.claim_request(request, now, now + BUSY_MS).await.map_err(stored)?;
        let (state, answer) = match claim {
            Claim::New => (KeyState::New, Vec::new()),
            Claim::Done(answer) => (KeyState::Done, answer),
            Claim::Busy => (KeyState::Busy, Vec::new()),
            Claim::Unknown => (KeyState::Unknown, Vec::new()),
            Claim::Other => (KeyState::Other, Vec::new()),
        };
        Ok(Response::new(ClaimKeyResponse { state: state.into(), answer }))
    }

    async fn settle_key(&self, request: Request<SettleKeyRequest>) -> Answer<SettleKeyResponse> {
        let SettleKeyRequest { user: whose, key, asked, done, answer } = request.into_inner();
        let request = asked_for(&whose, key, asked)?;
        self.store.settle_request(request, done.then_some(answer)).await.map_err(stored)?;
        Ok(Response::new(SettleKeyResponse {}))
    }

    async fn list_ended_sessions(
        &self,
        request: Request<ListEndedSessionsRequest>,
    ) -> Answer<ListEndedSessionsResponse> {
        // Taken before it is looked: what ends meanwhile is told again.
        let now = now_ms();
        let ended = self.store.ended(request.into_inner().since, ENDED).await.map_err(stored)?;
        let more = ended.len() >= ENDED;
        let until = ended.last().filter(|_| more).map_or(now, |(_, at)| *at);
        let sessions: Vec<u8> = ended.iter().flat_map(|(id, _)| *id.bytes()).collect();
        Ok(Response::new(ListEndedSessionsResponse { sessions, until, more }))
    }

    async fn set_block(&self, request: Request<SetBlockRequest>) -> Answer<SetBlockResponse> {
        let SetBlockRequest { user: whose, other, blocked } = request.into_inner();
        let (whose, other) = (user(&whose)?, user(&other)?);
        Self::set_block(self, whose, other, blocked).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(SetBlockResponse {}))
    }

    async fn list_blocks(&self, request: Request<ListBlocksRequest>) -> Answer<ListBlocksResponse> {
        let ListBlocksRequest { user: whose, page_size, page_token } = request.into_inner();
        let page = Self::list_blocks(self, user(&whose)?, page_size, &page_token).await;
        Ok(Response::new(page.map_err(|error| to_status(&error))?))
    }

    async fn find_blocks(&self, request: Request<FindBlocksRequest>) -> Answer<FindBlocksResponse> {
        let pairs = request.into_inner().pairs;
        if pairs.len() > 32 * PAIRS || !pairs.len().is_multiple_of(32) {
            let message = format!("pairs must be 32 bytes each, at most {PAIRS} of them");
            return Err(to_status(&Refusal::new(Reason::InvalidField, message).of("pairs")));
        }
        let pair = |both: &[u8]| Some((UserId::from_slice(&both[..16]).ok()?, UserId::from_slice(&both[16..]).ok()?));
        let pairs = pairs.chunks_exact(32).filter_map(pair).collect();
        let found = self.store.blocked(pairs).await.map_err(stored)?;
        let blocked = (0..).zip(found).filter(|(_, is)| *is).map(|(place, _)| place).collect();
        Ok(Response::new(FindBlocksResponse { blocked }))
    }

    async fn delete_account(&self, request: Request<DeleteAccountRequest>) -> Answer<DeleteAccountResponse> {
        let DeleteAccountRequest { user: whose, password, erase_messages } = request.into_inner();
        self.delete(user(&whose)?, password, erase_messages).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(DeleteAccountResponse {}))
    }

    async fn set_suspended(&self, request: Request<SetSuspendedRequest>) -> Answer<SetSuspendedResponse> {
        let SetSuspendedRequest { user: whose, suspended } = request.into_inner();
        self.suspend(user(&whose)?, suspended).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(SetSuspendedResponse {}))
    }

    async fn set_password(&self, request: Request<SetPasswordRequest>) -> Answer<SetPasswordResponse> {
        let SetPasswordRequest { user: whose, password } = request.into_inner();
        Self::set_password(self, user(&whose)?, password).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(SetPasswordResponse {}))
    }
}
