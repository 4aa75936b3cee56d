//! Whose data it is. What does not belong together is refused before anything is made; what does not say is given the
//! word of the rest, so that each can be lost, and restored, without the others.

use super::again;
use anyhow::{bail, ensure};
use madang_mesh::{
    data::{DATA, Data},
    registry::{Registry as _, jetstream::JetStreamRegistry},
};
use tokio::time::Instant;

/// One of the places where data is.
#[derive(Debug, Clone)]
pub struct Place {
    pub what: &'static str,
    pub data: Data,
    /// Whether a cluster may go on without what was in it, or comes to have it later.
    pub optional: bool,
}

/// What a cluster's places say.
pub struct Places {
    /// The word in NATS.
    pub nats: Option<String>,
    /// Whether the log was ever written.
    pub written: bool,
    pub databases: Vec<Place>,
}

/// How to come to data that belongs together.
const DO: &str = "Every cluster needs databases and a keyspace of its own, and a NATS, or an account there, of its own: see \
                  that the addresses are right. Nothing was changed. docs/operations.md, \"Whose data it is\", has more";

impl Places {
    /// The word of them all, if any has one; why they can't be one cluster's. `adopt`: what is empty was, or will be, this one's.
    pub fn word(&self, adopt: bool) -> anyhow::Result<Option<String>> {
        let nats = self.nats.iter().map(|word| ("NATS (--nats)", word.as_str()));
        let databases = self.databases.iter().filter_map(|place| match &place.data {
            Data::Of(word) => Some((place.what, word.as_str())),
            Data::Empty | Data::Unknown => None,
        });
        let said: Vec<_> = nats.chain(databases).collect();
        if said.windows(2).any(|two| two[0].1 != two[1].1) {
            let lines: Vec<_> = said.iter().map(|(what, word)| format!("\n- {what}: {word}")).collect();
            bail!("what is given as one cluster's has the data of several:{}\n{DO}", lines.concat());
        }
        if self.written && !adopt {
            let empty = self.databases.iter().find(|place| !place.optional && place.data == Data::Empty);
            ensure!(
                empty.is_none(),
                "the log in NATS (--nats) was written, but {} is empty: either this is another cluster's NATS, or the \
                 database was lost. {DO}. To have an empty one filled from a back-up: --adopt",
                empty.map_or("", |place| place.what)
            );
        }
        Ok(said.first().map(|(_, word)| (*word).to_owned()))
    }

    /// Notes the word in NATS, and gives it: another migration may have been first.
    pub async fn note(&self, end: Instant, registry: &JetStreamRegistry, adopt: bool) -> anyhow::Result<String> {
        let word = self.word(adopt)?;
        let known = word.is_some();
        let word = word.unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string());
        let noted = async || registry.compare_and_set(DATA, word.clone().into(), 0).await;
        let noted = again(end, "the bucket in NATS", noted).await?.is_some();
        let there = again(end, "the bucket in NATS", async || read(registry).await).await?.unwrap_or_default();
        ensure!(
            !known || there == word,
            "NATS (--nats) was given the data of {there} just now, and the databases have that of {word}: {DO}"
        );
        if noted && known {
            tracing::warn!(data = there, "NATS did not say whose data it has: it is noted as that of the databases");
        }
        for place in self.databases.iter().filter(|_| known).filter(|place| !matches!(place.data, Data::Of(_))) {
            let what = place.what;
            tracing::warn!(data = there, "{what} did not say whose data it has: it is noted as that of the rest");
        }
        Ok(there)
    }
}

/// The word in NATS.
pub async fn read(registry: &JetStreamRegistry) -> Result<Option<String>, madang_mesh::registry::Unavailable> {
    let item = registry.get(DATA).await?;
    Ok(item.and_then(|item| item.value).map(|value| String::from_utf8_lossy(&value).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(word: &str) -> Data {
        Data::Of(word.into())
    }

    fn word(nats: Option<&str>, written: bool, [one, other]: [Data; 2], adopt: bool) -> Result<Option<String>, String> {
        let place = |what, data, optional| Place { what, data, optional };
        let databases = vec![place("one", one, false), place("other", other, false), place("late", Data::Empty, true)];
        let places = Places { nats: nats.map(str::to_owned), written, databases };
        places.word(adopt).map_err(|error| error.to_string())
    }

    #[test]
    fn what_says_nothing_goes_with_the_rest_and_what_differs_is_refused() {
        use Data::{Empty, Unknown};
        for (nats, written, databases, expected) in [
            // A first installation; an older cluster; one whose migration was broken off.
            (None, false, [Empty, Empty], None),
            (None, true, [Unknown, Unknown], None),
            (Some("a"), false, [Empty, Empty], Some("a")),
            (Some("a"), true, [of("a"), Unknown], Some("a")),
            // All well; NATS lost; a back-up from before; a database lost with the log.
            (Some("a"), true, [of("a"), of("a")], Some("a")),
            (None, false, [of("a"), of("a")], Some("a")),
            (Some("a"), true, [Unknown, of("a")], Some("a")),
            (None, false, [of("a"), Empty], Some("a")),
        ] {
            let said = format!("{nats:?} {written} {databases:?}");
            assert_eq!(word(nats, written, databases, false), Ok(expected.map(str::to_owned)), "{said}");
        }
        for (nats, written, databases) in [
            (Some("a"), true, [of("b"), of("b")]),
            (Some("a"), false, [of("a"), of("b")]),
            (None, false, [of("a"), of("b")]),
        ] {
            for adopt in [false, true] {
                let said = word(nats, written, databases.clone(), adopt).unwrap_err();
                assert!(said.contains("the data of several") && said.contains("- other: b"), "{said}");
            }
        }
    }

    #[test]
    fn an_empty_database_is_not_taken_for_that_of_a_log_that_was_written_unless_somebody_says_so() {
        for nats in [None, Some("a")] {
            let said = word(nats, true, [Data::Unknown, Data::Empty], false).unwrap_err();
            assert!(said.contains("but other is empty") && said.contains("--adopt"), "{said}");
            assert_eq!(word(nats, true, [Data::Unknown, Data::Empty], true), Ok(nats.map(str::to_owned)));
        }
    }
}
