//! Files that are read again when they change, as certificates do: cert-manager and SPIRE put new ones in place by
//! renaming or by swapping a link, which no watch of a file sees on every file system, so it is looked at what they say.

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock, Weak},
    time::Duration,
};

/// How often it is looked. A certificate is renewed hours before it ends.
const LOOK: Duration = Duration::from_secs(2);
/// How often, and how long after one another, it is looked at the start before what is there is refused: whoever starts while
/// a certificate is being replaced may find a new one with the key of the one before.
const FIRST: (u32, Duration) = (10, Duration::from_millis(200));

/// What was made of some files as they were lately.
pub(crate) struct Reloaded<T>(Arc<RwLock<Arc<T>>>);

impl<T> Clone for Reloaded<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

async fn read(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, String> {
    let mut all = Vec::new();
    for path in paths {
        all.push(tokio::fs::read(path).await.map_err(|error| format!("{}: {error}", path.display()))?);
    }
    Ok(all)
}

impl<T: Send + Sync + 'static> Reloaded<T> {
    /// Reads files and makes something of what they say, in their order; and again whenever they say something else.
    pub async fn open(
        paths: Vec<PathBuf>,
        build: impl Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let mut looks = 0;
        let (texts, built) = loop {
            looks += 1;
            match read(&paths).await.and_then(|texts| Ok((build(&texts)?, texts))) {
                Ok((built, texts)) => break (texts, built),
                Err(error) if looks >= FIRST.0 => return Err(error),
                Err(_) => tokio::time::sleep(FIRST.1).await,
            }
        };
        let current = Arc::new(RwLock::new(Arc::new(built)));
        tokio::spawn(follow(Arc::downgrade(&current), paths, texts, build));
        Ok(Self(current))
    }

    /// As it is now.
    pub fn get(&self) -> Arc<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is there and can't be used changes nothing. It is said once, and not before it was found a second time: between
/// one file and the next somebody may be putting them in place.
async fn follow<T>(
    current: Weak<RwLock<Arc<T>>>,
    paths: Vec<PathBuf>,
    mut texts: Vec<Vec<u8>>,
    build: impl Fn(&[Vec<u8>]) -> Result<T, String>,
) {
    let (mut wrong, mut said) = (String::new(), false);
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(current) = current.upgrade() else { return };
        let built = match read(&paths).await {
            Ok(new) if new == texts => {
                wrong.clear();
                continue;
            }
            Ok(new) => build(&new).map(|built| (built, new)),
            Err(error) => Err(error),
        };
        match built {
            Ok((built, new)) => {
                *current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(built);
                texts = new;
                wrong.clear();
                tracing::info!(file = %paths[0].display(), "new certificates are used from now on");
            }
            Err(error) if error != wrong => (wrong, said) = (error, false),
            Err(_) if said => {}
            Err(error) => {
                said = true;
                tracing::error!(%error, "new certificates can't be used; the old ones stay until these are mended");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn until(reloaded: &Reloaded<String>, wanted: &str) {
        while *reloaded.get() != wanted {
            tokio::task::yield_now().await;
            tokio::time::sleep(LOOK).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_files_say_is_followed_and_nonsense_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        let write = |path: &std::path::Path, text: &str| std::fs::write(path, text).unwrap();
        write(&a, "one");
        let build = |texts: &[Vec<u8>]| {
            let text = texts.iter().map(|text| String::from_utf8_lossy(text)).collect::<String>();
            if text.contains("bad") { Err(text) } else { Ok(text) }
        };
        assert!(Reloaded::open(vec![a.clone(), b.clone()], build).await.is_err(), "one is missing");
        // Somebody is putting them in place.
        write(&b, "bad");
        let (opened, ()) = tokio::join!(Reloaded::open(vec![a.clone(), b.clone()], build), async {
            tokio::task::yield_now().await;
            write(&b, "1");
        });
        let reloaded = opened.unwrap();
        assert_eq!(*reloaded.get(), "one1");
        // As Kubernetes does it: another file in its place.
        write(&folder.path().join("new"), "two");
        std::fs::rename(folder.path().join("new"), &a).unwrap();
        until(&reloaded, "two1").await;
        write(&b, "bad");
        tokio::time::sleep(LOOK * 2).await;
        assert_eq!(*reloaded.get(), "two1");
        std::fs::remove_file(&b).unwrap();
        tokio::time::sleep(LOOK * 2).await;
        write(&b, "2");
        until(&reloaded, "two2").await;
    }
}
