//! The fixed error words, each with its gRPC code, its HTTP status and whether the same may be tried again: the one
//! table that every door answers from (docs/protocol.md, "Errors").

use crate::client::v1 as client;
use tonic::Code;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $code:ident, $retryable:literal;)*) => {
        /// Why something was refused, as a word that programs act on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// All of them, for the reference and for tests.
            pub const ALL: &'static [Reason] = &[$(Reason::$name),*];

            /// The word on the wire.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Reason::$name => $word),* }
            }

            /// The gRPC code.
            #[must_use]
            pub fn code(self) -> Code {
                match self { $(Reason::$name => Code::$code),* }
            }

            /// Whether the same request may be tried again.
            #[must_use]
            pub fn retryable(self) -> bool {
                match self { $(Reason::$name => $retryable),* }
            }

            /// The reason behind a word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Reason::$name),)* _ => None }
            }
        }
    };
}

reasons! {
    /// A field is missing or not as it must be.
    InvalidField = "INVALID_FIELD", InvalidArgument, false;
    /// A frame can't be understood.
    InvalidFrame = "INVALID_FRAME", InvalidArgument, false;
    /// A text, list or frame is too long.
    TooLarge = "TOO_LARGE", InvalidArgument, false;
    /// There is no such conversation, or one is not in it: the two are not told apart.
    ConversationNotFound = "CONVERSATION_NOT_FOUND", NotFound, false;
    /// There is no such message.
    MessageNotFound = "MESSAGE_NOT_FOUND", NotFound, false;
    /// There is no such user.
    UserNotFound = "USER_NOT_FOUND", NotFound, false;
    /// There is nothing here.
    NotFound = "NOT_FOUND", NotFound, false;
    /// The client id is dated over 7 days back.
    ClientIdExpired = "CLIENT_ID_EXPIRED", FailedPrecondition, false;
    /// The client id is dated over 5 minutes ahead.
    ClientIdAhead = "CLIENT_ID_AHEAD", FailedPrecondition, false;
    /// The client id stands for another request.
    ClientIdReused = "CLIENT_ID_REUSED", AlreadyExists, false;
    /// The group has as many members as it may have.
    GroupFull = "GROUP_FULL", FailedPrecondition, false;
    /// The user is in as many conversations as they may be.
    TooManyConversations = "TOO_MANY_CONVERSATIONS", FailedPrecondition, false;
    /// There is no such invite (any more).
    InviteNotFound = "INVITE_NOT_FOUND", NotFound, false;
    /// The invite's time is over.
    InviteExpired = "INVITE_EXPIRED", FailedPrecondition, false;
    /// As many have joined by the invite as may.
    InviteUsedUp = "INVITE_USED_UP", FailedPrecondition, false;
    /// The group has as many invites as it may have.
    TooManyInvites = "TOO_MANY_INVITES", FailedPrecondition, false;
    /// One blocks as many people as one may.
    TooManyBlocks = "TOO_MANY_BLOCKS", FailedPrecondition, false;
    /// A direct conversation can't do this.
    DirectConversation = "DIRECT_CONVERSATION", FailedPrecondition, false;
    /// One of the two has blocked the other.
    Blocked = "BLOCKED", PermissionDenied, false;
    /// One's role does not allow it.
    RoleRequired = "ROLE_REQUIRED", PermissionDenied, false;
    /// The message is somebody else's.
    NotSender = "NOT_SENDER", PermissionDenied, false;
    /// The message was taken back.
    MessageDeleted = "MESSAGE_DELETED", FailedPrecondition, false;
    /// A message carries at most 20 different emoji.
    TooManyReactions = "TOO_MANY_REACTIONS", FailedPrecondition, false;
    /// The caller may not call this.
    NotAllowed = "NOT_ALLOWED", PermissionDenied, false;
    /// The handle belongs to somebody.
    HandleTaken = "HANDLE_TAKEN", AlreadyExists, false;
    /// The idempotency key stands for another request.
    KeyReused = "KEY_REUSED", AlreadyExists, false;
    /// No such handle, or another password.
    BadCredentials = "BAD_CREDENTIALS", Unauthenticated, false;
    /// Not one's password.
    WrongPassword = "WRONG_PASSWORD", PermissionDenied, false;
    /// The account has no password: an outside provider knows who its owner is.
    NoPassword = "NO_PASSWORD", FailedPrecondition, false;
    /// This deployment was not given what this needs (a push provider's account, a place for pictures): its operator sets it.
    NotConfigured = "NOT_CONFIGURED", FailedPrecondition, false;
    /// The account is suspended.
    Suspended = "SUSPENDED", PermissionDenied, false;
    /// The token is missing, forged, expired or of an ended session.
    BadToken = "BAD_TOKEN", Unauthenticated, false;
    /// Too many requests unanswered.
    TooManyInFlight = "TOO_MANY_IN_FLIGHT", ResourceExhausted, true;
    /// Too many requests in the time.
    RateLimited = "RATE_LIMITED", ResourceExhausted, true;
    /// The server has as much to do as it takes.
    Overloaded = "OVERLOADED", ResourceExhausted, true;
    /// What is asked for is too old to be known.
    TooOld = "TOO_OLD", OutOfRange, false;
    /// Another process is the home: refresh the map.
    NotHome = "NOT_HOME", FailedPrecondition, true;
    /// A reader of the log is too far behind.
    Lagging = "LAGGING", Unavailable, true;
    /// Something that this needs does not answer.
    Unavailable = "UNAVAILABLE", Unavailable, true;
    /// It took too long; whether it was done is not known.
    Timeout = "TIMEOUT", DeadlineExceeded, true;
    /// Not there yet.
    Unimplemented = "UNIMPLEMENTED", Unimplemented, false;
    /// A fault of the server.
    Internal = "INTERNAL", Internal, true;
}

/// The protocol's name of a gRPC code.
#[must_use]
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// The HTTP status of a gRPC code (docs/protocol.md, "HTTP").
#[must_use]
pub fn http_status(code: Code) -> u16 {
    match code {
        Code::Ok => 200,
        Code::InvalidArgument => 400,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::NotFound => 404,
        Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => 409,
        Code::OutOfRange => 410,
        Code::ResourceExhausted => 429,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::DeadlineExceeded => 504,
        _ => 500,
    }
}

/// A refusal on its way to whoever asked: a word to act on and a sentence that says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The fixed word.
    pub reason: Reason,
    /// What is wrong and what to do.
    pub message: String,
    /// When to try again, in ms; 0: as one likes.
    pub retry_after_ms: u64,
    /// Which field of the request is wrong; empty: none by itself.
    pub field: String,
}

impl Refusal {
    /// A refusal without a time to wait.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), retry_after_ms: 0, field: String::new() }
    }

    /// Says which field is wrong.
    #[must_use]
    pub fn of(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn after(mut self, ms: u64) -> Self {
        self.retry_after_ms = ms;
        self
    }

    /// As the client's error object.
    #[must_use]
    pub fn to_error(&self) -> client::Error {
        client::Error {
            code: code_name(self.reason.code()).into(),
            reason: self.reason.word().into(),
            message: self.message.clone(),
            retryable: self.reason.retryable(),
            retry_after_ms: self.retry_after_ms,
            field: self.field.clone(),
        }
    }

    /// Back from the client's error object; unknown words are INTERNAL.
    #[must_use]
    pub fn from_error(error: &client::Error) -> Self {
        Self {
            reason: Reason::from_word(&error.reason).unwrap_or(Reason::Internal),
            message: error.message.clone(),
            retry_after_ms: error.retry_after_ms,
            field: error.field.clone(),
        }
    }
}
