//! What a process can't do without: if that panics, the process ends. A process that dies is replaced within seconds, with
//! nothing lost; one that lives on without a part of itself holds its leases, answers its probes, and serves nobody.

use futures_util::FutureExt as _;
use std::{
    any::Any,
    io::{Write as _, stderr},
    panic::AssertUnwindSafe,
    process::exit,
};

/// The status that such a process ends with: `EX_SOFTWARE` of BSD's sysexits.h.
pub const STATUS: i32 = 70;

/// Runs it; if it panics, the process ends with [`STATUS`].
pub async fn vital<T>(what: &'static str, work: impl Future<Output = T>) -> T {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => {
            let why = said(&*panic);
            tracing::error!(
                what,
                why,
                "a part has failed that this process can't do without: it ends, to be started again"
            );
            // Also where no log is written. Nobody is left to be told if this can't be.
            let _ = writeln!(stderr(), "{what} has panicked: {why}");
            exit(STATUS)
        }
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{env, process::Command};

    const CHILD: &str = "MADANG_TEST_VITAL";

    #[tokio::test]
    async fn a_process_ends_with_what_it_cannot_do_without() {
        let name = "vital::tests::a_process_ends_with_what_it_cannot_do_without";
        if let Ok(outcome) = env::var(CHILD) {
            let work = async move { assert_eq!(outcome, "well") };
            tokio::spawn(vital("a test", work)).await.unwrap();
            // The panic of somebody else's task is answered where it is.
            return assert!(tokio::spawn(async { panic!("another") }).await.is_err());
        }
        let ended = |outcome| {
            let mut child = Command::new(env::current_exe().unwrap());
            let output = child.args(["--exact", name]).env(CHILD, outcome).output().unwrap();
            (output.status.code(), String::from_utf8(output.stderr).unwrap())
        };
        assert_eq!(ended("well").0, Some(0));
        let (status, told) = ended("ill");
        assert_eq!(status, Some(STATUS));
        assert!(told.contains("a test has panicked: assertion"), "{told}");
    }
}
