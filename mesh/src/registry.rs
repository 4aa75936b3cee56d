//! The port to the registry: a small, consistent key-value store that every process sees. It holds leases, addresses
//! and how far each reader of the log has come; nothing durable depends on it.

pub mod conformance;
pub mod jetstream;
pub mod memory;
pub mod way;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

/// Grows with each change of a key.
pub type Revision = u64;

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The key: words of `[A-Za-z0-9_-]`, joined by dots.
    pub key: String,
    /// The value; none: the key was deleted.
    pub value: Option<Bytes>,
    /// The change that made it so.
    pub revision: Revision,
}

/// The registry does not answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the registry does not answer: {0}")]
pub struct Unavailable(pub String);

/// The registry.
#[async_trait]
pub trait Registry: Send + Sync + 'static {
    /// The key's value, if it has one.
    async fn get(&self, key: &str) -> Result<Option<Item>, Unavailable>;
    /// All keys that begin with `prefix` (which ends with a dot, or is empty).
    async fn list(&self, prefix: &str) -> Result<Vec<Item>, Unavailable>;
    /// Sets the key, whatever it was.
    async fn put(&self, key: &str, value: Bytes) -> Result<Revision, Unavailable>;
    /// Sets the key if its revision is `expected` (0: it has no value); none if it is not.
    async fn compare_and_set(
        &self,
        key: &str,
        value: Bytes,
        expected: Revision,
    ) -> Result<Option<Revision>, Unavailable>;
    /// Deletes the key.
    async fn delete(&self, key: &str) -> Result<(), Unavailable>;
    /// All keys that begin with `prefix` now, then each change; ends when the registry is lost.
    async fn watch(&self, prefix: &str) -> Result<BoxStream<'static, Item>, Unavailable>;
}
