//! One shard's users: the task that reads their inbox and does what they are told. What it has in memory outlives the
//! inbox, and for a while the shard's being home elsewhere.

use super::{Command, origins::Origins, reach::Ask, state::State};
use crate::{
    fan_out::Rewound,
    inbox::{Heard, Inbox, Unavailable},
};
use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, OptionFuture},
    stream::BoxStream,
};
use madang_mesh::{log::Position, shard::Shard};
use madang_proto::chat::v1::ClosedReason;
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

/// How long after a lost inbox another try is made.
const AGAIN: Duration = Duration::from_millis(200);
/// How often it is looked for what is missing.
const LOOK: Duration = Duration::from_millis(100);
/// How often the databases are asked how far they have come, while somebody waits for that.
const STORED: Duration = Duration::from_millis(500);

/// What an origin has answered.
enum Answer {
    Rewound(Ask, Option<Rewound>),
    Stored(Vec<(Shard, Option<Position>)>),
}

type Entries = BoxStream<'static, Heard>;

/// What a shard's task needs of the world.
pub(super) struct Task {
    pub shard: Shard,
    pub inbox: Arc<dyn Inbox>,
    pub origins: Arc<dyn Origins>,
}

impl Task {
    fn open(&self, after: Duration) -> BoxFuture<'static, Result<Entries, Unavailable>> {
        let (inbox, shard) = (self.inbox.clone(), self.shard);
        async move {
            tokio::time::sleep(after).await;
            inbox.create(shard).await?;
            inbox.read(shard).await
        }
        .boxed()
    }

    /// Serves the shard's users until `cancel`; then tells all that this is not their home. Gives back what is known, from
    /// which it can go on later.
    pub async fn run(
        self,
        mut state: State,
        mut commands: mpsc::Receiver<Command>,
        cancel: CancellationToken,
    ) -> State {
        state.begun();
        let mut opening = Some(self.open(Duration::ZERO));
        let mut reading: Option<Entries> = None;
        let mut asks = JoinSet::new();
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stored = Some(Instant::now());
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                Some(command) = commands.recv() => state.obey(command),
                Some(heard) = OptionFuture::from(reading.as_mut().map(StreamExt::next)) => match heard {
                    Some(heard) => {
                        if state.hear(heard) {
                            self.ask(&mut state, &mut asks);
                        }
                    }
                    None => {
                        tracing::warn!(shard = self.shard, "the inbox was lost, or what reads it: it is opened again");
                        (reading, opening) = (None, Some(self.open(AGAIN)));
                    }
                },
                Some(opened) = OptionFuture::from(opening.as_mut()) => match opened {
                    Ok(entries) => {
                        state.opened();
                        (reading, opening) = (Some(entries), None);
                    }
                    Err(error) => {
                        tracing::warn!(shard = self.shard, %error, "the inbox can't be read; trying again");
                        opening = Some(self.open(AGAIN));
                    }
                },
                Some(answer) = asks.join_next() => match answer {
                    Ok(Answer::Rewound(ask, rewound)) => state.rewound(ask, rewound),
                    Ok(Answer::Stored(positions)) => {
                        state.stored(&positions);
                        stored = Some(Instant::now() + STORED);
                    }
                    Err(error) => tracing::error!(shard = self.shard, %error, "asking a source has failed"),
                },
                _ = look.tick() => {
                    state.tidy_up();
                    self.ask(&mut state, &mut asks);
                    if state.deaf() && reading.take().is_some() {
                        opening = Some(self.open(AGAIN));
                    }
                    let wanted = state.unstored();
                    if !wanted.is_empty() && stored.is_some_and(|at| at <= Instant::now()) {
                        stored = None;
                        asks.spawn(self.look_up(wanted));
                    }
                }
            }
        }
        commands.close();
        while let Ok(command) = commands.try_recv() {
            if let Command::Open { trunk, connection, .. } = command {
                trunk.closed(vec![connection], ClosedReason::NotHome);
            }
        }
        state.close();
        state
    }

    /// Asks sources for what is missing.
    fn ask(&self, state: &mut State, asks: &mut JoinSet<Answer>) {
        for ask in state.asks() {
            let (origins, shard) = (self.origins.clone(), self.shard);
            asks.spawn(async move { Answer::Rewound(ask, origins.rewind(ask.source, shard, ask.after).await) });
        }
    }

    /// Asks how far the databases have come.
    fn look_up(&self, wanted: Vec<Shard>) -> BoxFuture<'static, Answer> {
        let origins = self.origins.clone();
        async move {
            let mut positions = Vec::with_capacity(wanted.len());
            for source in wanted {
                positions.push((source, origins.stored(source).await));
            }
            Answer::Stored(positions)
        }
        .boxed()
    }
}
