//! The tables, as the migrations make them.
#![allow(missing_docs)] // what the columns mean is said where they are made: in migrations/

diesel::table! {
    push_subscription (user, device) {
        user -> Uuid,
        device -> Uuid,
        id -> Uuid,
        session -> Uuid,
        kind -> Integer,
        provider -> Integer,
        address -> Text,
        place -> Binary,
        secret -> Binary,
        locale -> Text,
        preview -> Bool,
        created_at -> BigInt,
    }
}

diesel::table! {
    push_late (user, device, conversation) {
        user -> Uuid,
        device -> Uuid,
        conversation -> Uuid,
        shard -> Integer,
        due_at -> BigInt,
        push -> Binary,
        seq -> BigInt,
        messages -> Integer,
        mentioned -> BigInt,
    }
}

diesel::table! {
    push_shown (user, device, conversation) {
        user -> Uuid,
        device -> Uuid,
        conversation -> Uuid,
        seq -> BigInt,
        at -> BigInt,
    }
}

diesel::table! {
    push_cursor (shard) {
        shard -> Integer,
        position -> BigInt,
    }
}

diesel::table! {
    push_ended (one) {
        one -> Bool,
        until -> BigInt,
    }
}

diesel::table! {
    push_key (one) {
        one -> Bool,
        key -> Binary,
    }
}
