//! The contract: what clients, services and the log say to each other, and the words that all of them use.
//!
//! Generated code lives in `gen/` and is committed; `tests/generated.rs` proves that it is fresh. Nothing here knows
//! a driver, a runtime or a service.

pub mod access;
mod device;
pub mod event;
pub mod id;
pub mod reason;
pub mod record;
mod settings;

macro_rules! generated {
    ($($(#[$doc:meta])* $name:ident [$($file:literal),+];)*) => {$(
        $(#[$doc])*
        pub mod $name {
            /// Version 1.
            #[allow(missing_docs, clippy::all, clippy::pedantic, clippy::unwrap_used)]
            pub mod v1 { $(include!(concat!("gen/", $file));)+ }
        }
    )*};
}

generated! {
    /// Frames and objects of the public contract.
    client ["madang.client.v1.rs", "madang.client.v1.serde.rs"];
    /// Records of the log and of the inboxes.
    log ["madang.log.v1.rs"];
    /// Live chat, and the homes behind it.
    chat ["madang.chat.v1.rs"];
    /// Messages at rest.
    store ["madang.store.v1.rs"];
    /// Conversations and members.
    group ["madang.group.v1.rs"];
    /// People and sessions.
    account ["madang.account.v1.rs"];
    /// Notifications.
    notify ["madang.notify.v1.rs"];
}

/// All descriptors, encoded, for reflection and for tests over the whole contract.
pub const DESCRIPTORS: &[u8] = include_bytes!("gen/descriptors.bin");

/// `madang/client/v1/client.proto` as it is written, for clients that generate their own code from it.
pub const CLIENT_PROTO: &str = include_str!("../madang/client/v1/client.proto");
