//! Who may call what: one table of all RPCs. What is not in it is refused, and a test fails for it.

/// Who may call an RPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Internal services that are known by a token or a certificate: bots, moderation, billing.
    Service,
    /// Madang's own services alone: what holds the mesh together, log-ins and tokens (which go over the API's limits),
    /// and what is answered unasked who asks.
    Mesh,
}

use Access::{Mesh, Service};

/// Package and service, who, and the methods.
const TABLE: &[(&str, Access, &[&str])] = &[
    (
        "madang.chat.v1.ChatService",
        Service,
        &["Connect", "SendMessage", "EditMessage", "DeleteMessage", "React", "MarkRead", "GetPresence"],
    ),
    (
        "madang.chat.v1.HomeService",
        Mesh,
        &["Operate", "OperateOnce", "WatchShards", "Notify", "TakeOver", "Rewind", "ListDelivered", "LookUpPresence"],
    ),
    (
        "madang.store.v1.StoreService",
        Service,
        &[
            "ListMessages",
            "ListChanges",
            "BatchListChanges",
            "GetMessages",
            "BatchGetMessages",
            "StreamEvents",
            "Erase",
        ],
    ),
    ("madang.store.v1.StoreService", Mesh, &["ListClientIds", "LoadMessage", "GetCursor"]),
    (
        "madang.group.v1.GroupService",
        Service,
        &[
            "ListConversations",
            "GetConversation",
            "ListMembers",
            "CreateGroup",
            "AddMembers",
            "RemoveMember",
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
    (
        "madang.group.v1.GroupService",
        Mesh,
        &["GetAccess", "ListAccess", "ListAcquainted", "LoadRooms", "ListBadges", "GetCursor", "ListMemberships"],
    ),
    (
        "madang.account.v1.AccountService",
        Service,
        &[
            "SignUp",
            "EndSession",
            "ListSessions",
            "GetUsers",
            "UpdateProfile",
            "StorePicture",
            "GetPicture",
            "DeletePicture",
            "GetKeys",
            "SetBlock",
            "ListBlocks",
            "DeleteAccount",
            "SetSuspended",
            "SetPassword",
        ],
    ),
    (
        "madang.account.v1.AccountService",
        Mesh,
        &["LogIn", "Refresh", "ChangePassword", "ListEndedSessions", "FindBlocks"],
    ),
    (
        "madang.notify.v1.NotifyService",
        Service,
        &["GetKey", "SetSubscription", "DeleteSubscription", "ListSubscriptions", "ListDeliveries", "GetStatus"],
    ),
];

/// Who may call what is at a path (`/package.Service/Method`); none: nobody, it is no RPC of the contract.
#[must_use]
pub fn access(path: &str) -> Option<Access> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let rule = TABLE.iter().find(|(of, _, methods)| *of == service && methods.contains(&method));
    rule.map(|(_, access, _)| *access)
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
                    all.insert(format!("{}.{}/{}", file.package(), service.name(), method.name()));
                }
            }
        }
        let rules: Vec<_> = TABLE
            .iter()
            .flat_map(|(service, _, methods)| methods.iter().map(move |method| format!("{service}/{method}")))
            .collect();
        assert_eq!(rules.len(), all.len(), "one rule each");
        assert_eq!(rules.into_iter().collect::<BTreeSet<_>>(), all);
        assert_eq!(access("/madang.chat.v1.HomeService/TakeOver"), Some(Access::Mesh));
        for nothing in ["", "/", "madang.chat.v1.ChatService/Connect", "/madang.chat.v1.ChatService/", "/x.Y/Connect"] {
            assert_eq!(access(nothing), None, "{nothing}");
        }
    }
}
