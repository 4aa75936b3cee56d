//! Messages that were changed after it was asked who may see them: who is shown what, by every way to read them.

use super::*;
use crate::rpc::{Access, Pages};
use crate::{
    messages::{Entry, Messages, sqlite::SqliteMessages},
    projection::Projection,
};
use axum::{
    Router,
    extract::Request as Asked,
    response::{IntoResponse, Response as Answer},
    routing::post,
};
use clap::Parser;
use madang_mesh::{
    channel::Channels, clock, log::sqlite::SqliteLog, operations::Operations, serve, settings, subscription::Lag,
};
use madang_proto::{
    client::v1::Event,
    group::v1::{
        ConversationAccess, GetAccessRequest, GetAccessResponse, ListAccessRequest, ListAccessResponse,
        group_service_client::GroupServiceClient,
    },
    store::v1::{store_service_server::StoreService, *},
};
use std::{
    path::Path,
    sync::{Arc, Mutex},
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, server::Grpc};
use tonic_prost::ProstCodec;
use uuid::Uuid;

/// What the reader may see as of an event: messages from a number, or nothing any more.
type Sees = (u64, Option<u64>);
/// The reader was there as of this one, when they asked.
const ASKED: u64 = 34;
/// A message was changed by this one.
const CHANGED: u64 = 40;

/// group-svc: it says one thing when it is asked first, and another as of any later event.
#[derive(Clone)]
struct Group {
    first: Sees,
    later: Sees,
    /// As of which events it was asked.
    asked: Arc<Mutex<Vec<u64>>>,
}

impl Group {
    fn access(&self, at_least: u64) -> Result<GetAccessResponse, Status> {
        self.asked.lock().unwrap().push(at_least);
        let (revision, first_seq) = if at_least > self.first.0 { self.later } else { self.first };
        let first_seq = first_seq.ok_or_else(|| to_status(&Refusal::new(Reason::ConversationNotFound, "not there")))?;
        Ok(GetAccessResponse { first_seq, first_revision: 1, revision, last_seq: 17 })
    }

    async fn answer(self, request: Asked) -> Answer {
        let group = self.clone();
        if request.uri().path().ends_with("/GetAccess") {
            let service = tower::service_fn(move |request: Request<GetAccessRequest>| {
                std::future::ready(group.access(request.into_inner().at_least).map(Response::new))
            });
            return Grpc::new(ProstCodec::default()).unary(service, request).await.into_response();
        }
        let service = tower::service_fn(move |request: Request<ListAccessRequest>| {
            let access = group.access(0).map(|GetAccessResponse { first_seq, first_revision, revision, last_seq }| {
                let of =
                    |conversation| ConversationAccess { conversation, first_seq, first_revision, revision, last_seq };
                ListAccessResponse { access: request.into_inner().conversations.into_iter().map(of).collect() }
            });
            std::future::ready(access.map(Response::new))
        });
        Grpc::new(ProstCodec::default()).unary(service, request).await.into_response()
    }
}

/// What every service is told, if nobody says otherwise.
#[derive(Parser)]
struct Told {
    #[command(flatten)]
    settings: settings::Settings,
}

/// The numbers that each way to read shows, or the code that it refuses with; and as of which events group-svc was asked.
struct Shown {
    page: Result<Vec<u64>, Code>,
    some: Result<Vec<u64>, Code>,
    many: Result<Vec<u64>, Code>,
    asked: Vec<u64>,
}

/// A few messages of a conversation, of which one was changed lately; they are in a folder.
async fn history(group: &Group, folder: &Path) -> (ConversationId, History) {
    std::fs::create_dir_all(folder).unwrap();
    let id = ConversationId::from(Uuid::now_v7());
    let store: Arc<dyn Messages> = Arc::new(SqliteMessages::open(folder).unwrap());
    let rows = [(15, 30), (16, 31), (17, 33), (14, CHANGED)].map(|(seq, revision)| {
        let at_micros = clock::now_micros();
        let used =
            ClientIdUse { seq, revision, at_micros, client_id: seq.to_be_bytes().to_vec(), ..Default::default() };
        Entry::Message { conversation: id, message: Box::new(Message { seq, revision, ..Message::default() }), used }
    });
    let event = Event { conversation: id.to_string(), revision: CHANGED + 2, last_seq: 17, ..Event::default() };
    let rows = rows.into_iter().chain([Entry::Notice { conversation: id, event }]);
    store.apply(0, rows.collect(), 1).await.unwrap();
    let (channels, answers) = (Channels::new(), group.clone());
    let router = Router::new().fallback(post(|request: Asked| answers.answer(request)));
    let routes = tonic::service::Routes::from(router);
    tokio::spawn(serve::grpc(routes, None, Some(channels.listen("group")), CancellationToken::new()));
    let history = History {
        projection: Arc::new(Projection::new(store.clone())),
        store,
        group: GroupServiceClient::new(channels.get("inproc://group").unwrap()),
        operations: Operations::new(channels, "inproc://chat"),
        settings: Told::parse_from(["store"]).settings,
        log: Arc::new(SqliteLog::open(folder).unwrap()),
        consumers: Arc::new(Semaphore::new(1)),
        ending: CancellationToken::new(),
        lag: Lag::new(1),
        pages: Pages::default(),
        changes_days: 90,
    };
    (id, history)
}

async fn shown(user: &str, first: Sees, later: Sees) -> Shown {
    let folder = tempfile::tempdir().unwrap();
    let group = Group { first, later, asked: Arc::default() };
    let (id, history) = history(&group, folder.path()).await;
    let (conversation, user) = (id.to_string(), user.to_owned());
    let seqs = |messages: Vec<Message>| messages.into_iter().map(|message| message.seq).collect::<Vec<u64>>();
    let page = ListMessagesRequest {
        conversation: conversation.clone(),
        user: user.clone(),
        before: 100,
        ..ListMessagesRequest::default()
    };
    let page = history.list_messages(Request::new(page)).await;
    let some = GetMessagesRequest { conversation: conversation.clone(), user: user.clone(), seqs: vec![14, 17] };
    let some = history.get_messages(Request::new(some)).await;
    let wanted = [14, 17].map(|seq| MessageNumber { conversation: conversation.clone(), seq }).to_vec();
    let many = history.batch_get_messages(Request::new(BatchGetMessagesRequest { user, wanted })).await;
    let many = many.map(|many| many.into_inner().found.into_iter().filter_map(|found| found.message).collect());
    let asked = group.asked.lock().unwrap().clone();
    Shown {
        page: page.map(|page| seqs(page.into_inner().messages)).map_err(|status| status.code()),
        some: some.map(|some| seqs(some.into_inner().messages)).map_err(|status| status.code()),
        many: many.map(seqs).map_err(|status| status.code()),
        asked,
    }
}

const READER: &str = "01a21cdb-2616-74c1-8bb6-c2d0f45a54bb";

#[tokio::test]
async fn who_was_put_out_meanwhile_is_shown_nothing_that_was_changed_since() {
    let shown = shown(READER, (ASKED, Some(1)), (CHANGED, None)).await;
    assert_eq!((shown.page, shown.some), (Err(Code::NotFound), Err(Code::NotFound)));
    assert_eq!(shown.many, Ok(vec![]), "nothing of a conversation that they are not in");
    assert_eq!(shown.asked, [0, CHANGED].repeat(3));
}

#[tokio::test]
async fn who_is_still_there_is_shown_messages_as_they_are_now() {
    let shown = shown(READER, (ASKED, Some(1)), (CHANGED + 2, Some(1))).await;
    assert_eq!((shown.page, shown.some), (Ok(vec![14, 15, 16, 17]), Ok(vec![14, 17])));
    assert_eq!((shown.many, shown.asked), (Ok(vec![14, 17]), [0, CHANGED].repeat(3)));
}

#[tokio::test]
async fn who_left_and_came_back_meanwhile_is_shown_nothing_from_before() {
    let shown = shown(READER, (ASKED, Some(1)), (CHANGED + 2, Some(18))).await;
    assert_eq!((shown.page, shown.some), (Err(Code::Unavailable), Err(Code::Unavailable)));
    assert_eq!(shown.many, Ok(vec![]));
}

#[tokio::test]
async fn where_nothing_was_changed_since_nobody_is_asked_twice() {
    let shown = shown(READER, (CHANGED, Some(1)), (CHANGED, None)).await;
    assert_eq!((shown.page, shown.some), (Ok(vec![14, 15, 16, 17]), Ok(vec![14, 17])));
    assert_eq!((shown.many, shown.asked), (Ok(vec![14, 17]), vec![0; 3]));
}

#[tokio::test]
async fn what_was_changed_again_meanwhile_is_not_left_out_of_changes() {
    let folder = tempfile::tempdir().unwrap();
    let changes = async |later: Sees| {
        let group = Group { first: (ASKED, Some(1)), later, asked: Arc::default() };
        let (id, history) = history(&group, &folder.path().join(Uuid::new_v4().to_string())).await;
        let access = Access { first_seq: 1, first_revision: 1, last_seq: 17 };
        let found = history.since(id, READER, access, ASKED, 10, 50).await;
        found.map(|found| found.unwrap()).map_err(|status| status.code())
    };
    let found = changes((CHANGED + 2, Some(1))).await.unwrap();
    let seqs: Vec<u64> = found.messages.iter().map(|message| message.seq).collect();
    assert_eq!((seqs, found.revision, found.more), (vec![15, 16, 17, 14], ASKED, false));
    assert_eq!(found.messages[3].revision, CHANGED, "as it is, to who may see that");
    assert_eq!(changes((CHANGED, None)).await.unwrap_err(), Code::NotFound, "who was put out is shown none of it");
}

/// Where there is no room for it, the next question is answered as of what changed it, or it would not come at all.
#[tokio::test]
async fn nor_where_it_finds_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let group = Group { first: (ASKED, Some(1)), later: (CHANGED + 2, Some(1)), asked: Arc::default() };
    let (id, history) = history(&group, folder.path()).await;
    let access = Access { first_seq: 1, first_revision: 1, last_seq: 17 };
    let found = history.since(id, READER, access, ASKED, 10, 1).await.unwrap().unwrap();
    assert!(found.more && found.messages.iter().all(|message| message.seq != 14), "{found:?}");
    assert_eq!(*group.asked.lock().unwrap(), [CHANGED]);
}

#[tokio::test]
async fn a_list_waits_for_what_is_as_new_as_the_list() {
    let folder = tempfile::tempdir().unwrap();
    let newest = CHANGED + 5;
    let group = Group { first: (newest, Some(1)), later: (newest, Some(1)), asked: Arc::default() };
    let (id, history) = history(&group, folder.path()).await;
    let wanted = || vec![MessageNumber { conversation: id.to_string(), seq: 14 }];
    let asked = || Request::new(BatchGetMessagesRequest { user: READER.into(), wanted: wanted() });
    let refused = history.batch_get_messages(asked()).await.map(|_| ()).map_err(|status| status.code());
    assert_eq!(refused, Err(Code::Unavailable), "the list has an event that this store has not");
    let event = Event { conversation: id.to_string(), revision: newest, last_seq: 17, ..Event::default() };
    history.store.apply(0, vec![Entry::Notice { conversation: id, event }], 2).await.unwrap();
    let found = history.batch_get_messages(asked()).await.unwrap().into_inner().found;
    assert_eq!(found.len(), 1);
}

#[tokio::test]
async fn who_came_late_is_not_told_that_what_they_may_not_see_is_too_old() {
    let folder = tempfile::tempdir().unwrap();
    let group = Group { first: (ASKED, Some(1)), later: (ASKED, Some(1)), asked: Arc::default() };
    let (id, history) = history(&group, folder.path()).await;
    let old = Message { seq: 1, revision: 3, ..Message::default() };
    let used = ClientIdUse { seq: 1, revision: 3, at_micros: 1, client_id: vec![1], ..Default::default() };
    let old = vec![Entry::Message { conversation: id, message: Box::new(old), used }];
    history.store.apply(0, old, 2).await.unwrap();
    let since = async |first_seq, first_revision| {
        let access = Access { first_seq, first_revision, last_seq: 17 };
        history.since(id, READER, access, 33, 0, 50).await.unwrap().map(|found| found.messages.len())
    };
    assert_eq!((since(1, 1).await, since(15, 29).await), (None, Some(3)));
}
