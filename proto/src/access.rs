//! Who may call what: one table of all RPCs. What is not in it is refused, and a test fails for it.

/// Madang's own services: who calls, and whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// The door for WebSockets.
    Gateway,
    /// The door for HTTP.
    Api,
    /// Homes of rooms and of users.
    Chat,
    /// Messages at rest.
    Store,
    /// Conversations and members.
    Group,
    /// People and their log-ins.
    Account,
    /// Notifications.
    Notify,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Gateway, Self::Api, Self::Chat, Self::Store, Self::Group, Self::Account, Self::Notify];

    /// As its binary, its settings and its certificate call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Api => "api",
            Self::Chat => "chat",
            Self::Store => "store",
            Self::Group => "group",
            Self::Account => "account",
            Self::Notify => "notify",
        }
    }
}

/// Whether others than Madang's own services may call an RPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Internal services that are known by a token or a certificate may, where the deployment grants it: bots, moderation,
    /// billing.
    Outside,
    /// Madang's own services alone: what holds the mesh together, log-ins and tokens (which go over the API's limits),
    /// and what is answered unasked who asks.
    Mesh,
}

/// Who may call an RPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Which of Madang's own services.
    pub callers: &'static [Service],
    /// Whether others may.
    pub access: Access,
}

use Access::{Mesh, Outside};
use Service::{Account, Api, Chat, Gateway, Group, Notify, Store};

const CHAT: &str = "madang.chat.v1.ChatService";
const HOME: &str = "madang.chat.v1.HomeService";
const STORE: &str = "madang.store.v1.StoreService";
const GROUP: &str = "madang.group.v1.GroupService";
const ACCOUNT: &str = "madang.account.v1.AccountService";
const NOTIFY: &str = "madang.notify.v1.NotifyService";

/// A service, which of Madang's own call it, whether others may, and the methods.
type Row = (&'static str, &'static [Service], Access, &'static [&'static str]);

const TABLE: &[Row] = &[
    (CHAT, &[Gateway], Outside, &["Connect"]),
    (CHAT, &[Api], Outside, &["SendMessage", "MarkRead"]),
    (CHAT, &[], Outside, &["EditMessage", "DeleteMessage", "React", "GetPresence"]),
    (HOME, &[Gateway, Api, Store, Group, Account, Notify], Mesh, &["WatchShards"]),
    (HOME, &[Store, Group, Account], Mesh, &["OperateOnce"]),
    (HOME, &[Chat, Account], Mesh, &["Notify"]),
    (HOME, &[Notify], Mesh, &["ListDelivered"]),
    (HOME, &[Chat], Mesh, &["Operate", "TakeOver", "Rewind", "LookUpPresence"]),
    (STORE, &[Api], Outside, &["ListMessages", "ListChanges", "BatchListChanges", "BatchGetMessages"]),
    (STORE, &[], Outside, &["GetMessages", "StreamEvents"]),
    (STORE, &[Account], Outside, &["Erase"]),
    (STORE, &[Chat], Mesh, &["ListClientIds", "LoadMessage", "GetCursor"]),
    (
        GROUP,
        &[Api],
        Outside,
        &[
            "ListConversations",
            "GetConversation",
            "ListMembers",
            "CreateGroup",
            "AddMembers",
            "SetRole",
            "UpdateGroup",
            "EndGroup",
            "UpdateSettings",
            "ListInvites",
            "CreateInvite",
            "DeleteInvite",
            "GetInvite",
            "AcceptInvite",
        ],
    ),
    (GROUP, &[Api, Account], Outside, &["RemoveMember"]),
    (GROUP, &[Store], Mesh, &["GetAccess", "ListAccess"]),
    (GROUP, &[Chat], Mesh, &["ListAcquainted", "GetCursor"]),
    (GROUP, &[Chat, Notify], Mesh, &["LoadRooms"]),
    (GROUP, &[Notify], Mesh, &["ListBadges"]),
    (GROUP, &[Store, Account], Mesh, &["ListMemberships"]),
    (
        ACCOUNT,
        &[Api],
        Outside,
        &[
            "SignUp",
            "EndSession",
            "UpdateProfile",
            "StorePicture",
            "GetPicture",
            "DeletePicture",
            "SetBlock",
            "ListBlocks",
            "DeleteAccount",
        ],
    ),
    (ACCOUNT, &[Api, Notify], Outside, &["ListSessions"]),
    (ACCOUNT, &[Api, Chat, Group, Notify], Outside, &["GetUsers"]),
    (ACCOUNT, &[Gateway, Api], Outside, &["GetKeys"]),
    (ACCOUNT, &[], Outside, &["SetSuspended", "SetPassword"]),
    (ACCOUNT, &[Api], Mesh, &["LogIn", "Refresh", "ChangePassword"]),
    (ACCOUNT, &[Gateway, Api], Mesh, &["AdmitOutside"]),
    (ACCOUNT, &[Api], Mesh, &["ClaimKey", "SettleKey"]),
    (ACCOUNT, &[Gateway, Api, Notify], Mesh, &["ListEndedSessions"]),
    (ACCOUNT, &[Chat, Group, Notify], Mesh, &["FindBlocks"]),
    (NOTIFY, &[Api], Outside, &["GetKey", "SetSubscription", "DeleteSubscription"]),
    (NOTIFY, &[], Outside, &["ListSubscriptions", "ListDeliveries", "GetStatus"]),
];

/// The paths of all RPCs.
pub fn table() -> impl Iterator<Item = String> {
    TABLE.iter().flat_map(|(service, _, _, methods)| methods.iter().map(move |method| format!("/{service}/{method}")))
}

/// Who may call what is at a path (`/package.Service/Method`); none: nobody, it is no RPC of the contract.
#[must_use]
pub fn rule(path: &str) -> Option<Rule> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let row = TABLE.iter().find(|(of, _, _, methods)| *of == service && methods.contains(&method));
    row.map(|(_, callers, access, _)| Rule { callers, access: *access })
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use std::collections::BTreeSet;

    #[test]
    fn every_rpc_has_one_rule_and_every_rule_an_rpc() {
        let set = prost_types::FileDescriptorSet::decode(crate::DESCRIPTORS).unwrap();
        let mut all = BTreeSet::new();
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    all.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
                }
            }
        }
        let rules: Vec<_> = table().collect();
        assert_eq!(rules.len(), all.len(), "one rule each");
        assert_eq!(rules.into_iter().collect::<BTreeSet<_>>(), all);
        assert_eq!(rule("/madang.chat.v1.HomeService/TakeOver"), Some(Rule { callers: &[Chat], access: Mesh }));
        for nothing in ["", "/", "madang.chat.v1.ChatService/Connect", "/madang.chat.v1.ChatService/", "/x.Y/Connect"] {
            assert_eq!(rule(nothing), None, "{nothing}");
        }
    }
}
