//! All that is said in the log of a test's process, to look for what must not be there.

use std::{
    io,
    sync::{Arc, Mutex},
};
use tracing_subscriber::EnvFilter;

/// What was said.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Keeps what is said from now on, as far as a filter lets it; once in a process.
    #[must_use]
    pub fn keep(filter: EnvFilter) -> Self {
        Self::try_keep(filter).unwrap()
    }

    /// The same; none where another test of this process has it said elsewhere.
    #[must_use]
    pub fn try_keep(filter: EnvFilter) -> Option<Self> {
        let log = Self::default();
        let into = log.clone();
        let kept = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(move || into.clone());
        kept.try_init().ok().map(|()| log)
    }

    /// The same, to be said where the test fails that holds it.
    #[must_use]
    pub const fn if_failed(self) -> IfFailed {
        IfFailed(self)
    }

    /// All of it.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Says all of it where its test fails.
pub struct IfFailed(Log);

impl Drop for IfFailed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what was said in the log:\n{}", self.0.text());
        }
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
