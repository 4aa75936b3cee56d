//! The settings of a chat-svc.

/// The settings of a chat-svc.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Config {
    /// Members of a group, at most.
    #[arg(id = "chat_max_members", long = "chat-max-members", env = "MADANG_MAX_MEMBERS", default_value_t = 200)]
    pub max_members: usize,
    /// Bytes of a message's text, at most.
    #[arg(long, env = "MADANG_MAX_MESSAGE_BYTES", default_value_t = crate::content::MAX_TEXT)]
    pub max_message_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_members: 200, max_message_bytes: crate::content::MAX_TEXT }
    }
}
