//! What every registry must do: run by the tests of each adapter.

use super::{Registry, Unavailable};
use futures_util::StreamExt;

/// Says what is wrong with a registry that was empty.
pub async fn check(registry: &dyn Registry) -> Result<(), String> {
    let said = |error: Unavailable| error.to_string();
    let must = |what: &str, holds: bool| if holds { Ok(()) } else { Err(what.to_owned()) };
    must("an empty key has no value", registry.get("a.one").await.map_err(said)?.is_none())?;
    let first = registry.compare_and_set("a.one", "1".into(), 0).await.map_err(said)?.ok_or("a new key can be set")?;
    must("a key is new once", registry.compare_and_set("a.one", "x".into(), 0).await.map_err(said)?.is_none())?;
    let second =
        registry.compare_and_set("a.one", "2".into(), first).await.map_err(said)?.ok_or("its revision sets it")?;
    must(
        "an old revision does not",
        registry.compare_and_set("a.one", "x".into(), first).await.map_err(said)?.is_none(),
    )?;
    must("revisions grow", second > first)?;
    registry.put("a.two", "3".into()).await.map_err(said)?;
    registry.put("b.one", "4".into()).await.map_err(said)?;
    let mut keys: Vec<_> = registry.list("a.").await.map_err(said)?.into_iter().map(|item| item.key).collect();
    keys.sort();
    must("a list has what begins so", keys == ["a.one", "a.two"])?;
    let mut watch = registry.watch("a.").await.map_err(said)?;
    for _ in 0..2 {
        let item = watch.next().await.ok_or("the watch ended")?;
        must("a watch begins with what is there", item.key.starts_with("a.") && item.value.is_some())?;
    }
    registry.put("b.two", "5".into()).await.map_err(said)?;
    registry.delete("a.two").await.map_err(said)?;
    let item = watch.next().await.ok_or("the watch ended")?;
    must("a watch tells of a deletion", item.key == "a.two" && item.value.is_none())?;
    must("a deleted key has no value", registry.get("a.two").await.map_err(said)?.is_none())?;
    must("and can be new again", registry.compare_and_set("a.two", "6".into(), 0).await.map_err(said)?.is_some())
}
