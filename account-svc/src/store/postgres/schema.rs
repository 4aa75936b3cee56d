//! The tables, as the migrations make them.
#![allow(missing_docs)] // what the columns mean is said where they are made: in migrations/

diesel::table! {
    account (user) {
        user -> Uuid,
        handle -> Text,
        name -> Text,
        status_message -> Text,
        password -> Text,
        created_at -> BigInt,
        picture -> Text,
        deleted_at -> BigInt,
        suspended -> Bool,
        user_kind -> Integer,
    }
}

diesel::table! {
    deletion (user) {
        user -> Uuid,
        erase -> Bool,
        picture -> Text,
        round -> Integer,
        place -> Nullable<Uuid>,
        due_at -> BigInt,
    }
}

diesel::table! {
    session (id) {
        id -> Uuid,
        user -> Uuid,
        device -> Text,
        kind -> Integer,
        name -> Text,
        app -> Text,
        created_at -> BigInt,
        used_at -> BigInt,
    }
}

diesel::table! {
    refresh (hash) {
        hash -> Binary,
        session -> Uuid,
        current -> Bool,
        next_used_at -> BigInt,
    }
}

diesel::table! {
    ended (session) {
        session -> Uuid,
        at -> BigInt,
    }
}

diesel::table! {
    outside (user, log_in) {
        user -> Uuid,
        log_in -> Binary,
        session -> Uuid,
        ended_at -> BigInt,
        until -> BigInt,
    }
}

diesel::table! {
    request (user, key) {
        user -> Uuid,
        key -> Text,
        asked -> Binary,
        answer -> Binary,
        busy_until -> BigInt,
        at -> BigInt,
    }
}

diesel::table! {
    picture_gone (picture) {
        picture -> Text,
        at -> BigInt,
    }
}

diesel::table! {
    token_key (kid) {
        kid -> Text,
        seed -> Binary,
        signs_from -> BigInt,
    }
}

diesel::table! {
    block (user, other) {
        user -> Uuid,
        other -> Uuid,
        blocked -> Bool,
        version -> BigInt,
        changed_at -> BigInt,
        told -> Bool,
    }
}

diesel::joinable!(refresh -> session (session));
diesel::allow_tables_to_appear_in_same_query!(session, refresh);
