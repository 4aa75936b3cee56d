//! What the databases have read, by their own counters: a command says so, for a load generator has no driver of theirs.

use crate::Error;
use std::{collections::BTreeMap, process::Stdio};
use tokio::process::Command;

/// Readings of the counters, one after another.
pub struct Reads {
    command: Option<String>,
    marks: Vec<BTreeMap<String, u64>>,
}

impl Reads {
    /// By a shell command that prints lines of a name and a number.
    pub fn new(command: Option<String>) -> Self {
        Self { command, marks: Vec::new() }
    }

    /// Reads the counters now.
    pub async fn mark(&mut self) -> Result<(), Error> {
        let Some(command) = &self.command else { return Ok(()) };
        let failed = |error| Error::File(command.clone(), error);
        let output = Command::new("sh").args(["-c", command]).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let output = output.await.map_err(failed)?;
        if !output.status.success() {
            return Err(Error::Usage(format!("{command}: {}", output.status)));
        }
        self.marks.push(parse(&String::from_utf8_lossy(&output.stdout))?);
        Ok(())
    }

    /// What was read from one reading to the next, by counter.
    pub fn between(&self, mark: usize) -> Option<BTreeMap<String, u64>> {
        let (before, after) = (self.marks.get(mark)?, self.marks.get(mark + 1)?);
        let read = |(name, count): (&String, &u64)| {
            (name.clone(), count.saturating_sub(before.get(name).copied().unwrap_or(0)))
        };
        Some(after.iter().map(read).collect())
    }
}

fn parse(text: &str) -> Result<BTreeMap<String, u64>, Error> {
    let wrong = |line: &str| Error::Format(format!("not a name and a number: {line}"));
    let line = |line: &str| {
        let (name, number) = line.trim().rsplit_once(' ').ok_or_else(|| wrong(line))?;
        Ok((name.trim().to_owned(), number.parse().map_err(|_| wrong(line))?))
    };
    text.lines().filter(|line| !line.trim().is_empty()).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_read_between_two_marks_is_counted() {
        let folder = std::env::temp_dir().join(format!("madang-reads-{}", uuid::Uuid::new_v4()));
        std::fs::write(&folder, "cassandra m.messages 5\n\npostgres users 1\n").unwrap();
        let mut reads = Reads::new(Some(format!("cat {}", folder.display())));
        reads.mark().await.unwrap();
        std::fs::write(&folder, "cassandra m.messages 7\npostgres groups 2\npostgres users 1\n").unwrap();
        reads.mark().await.unwrap();
        std::fs::remove_file(&folder).unwrap();
        let between: Vec<_> = reads.between(0).unwrap().into_iter().collect();
        let wanted = [("cassandra m.messages", 2), ("postgres groups", 2), ("postgres users", 0)];
        assert_eq!(between, wanted.map(|(name, count)| (name.to_owned(), count)));
        assert!(reads.mark().await.is_err() && reads.between(1).is_none());
        assert!(parse("word\n").is_err());
    }
}
