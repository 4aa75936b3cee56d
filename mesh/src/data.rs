//! Which cluster's data is where. NATS and each database have the same word, random, since the first `madang migrate`: of
//! two clusters that were pointed at one NATS, each would write a part of the shards into its own databases.

/// Where the registry has the word, beside the number of shards.
pub const DATA: &str = "layout.data";

/// What a database says of whose data it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// There is nothing yet: not even tables.
    Empty,
    /// There is something, and it does not say: from before the word was kept, or restored from such a back-up.
    Unknown,
    /// That of the cluster with this word.
    Of(String),
}
