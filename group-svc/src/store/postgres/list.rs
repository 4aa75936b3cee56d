//! A page of a list in one statement, so that all of it is as of one moment: the conversations, what was left, the badge,
//! and the positions of the log that the next list is asked for by.

use super::of;
use crate::store::{Access, AccessRow, After, Error, Page, REMOVED, Seen, Wanted, settings};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{Array, BigInt, Binary, Integer, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use madang_proto::{
    group::v1::{RoomMember, RoomState},
    id::{ConversationId, UserId},
};
use uuid::Uuid;

/// A page. What belongs to its conversations is looked up one by one (`OFFSET 0`): a join might read an index whole for them,
/// from its beginning to the last one that is wanted. $1 is the user, $2 positions since when (of shard 0, 1, …; none: all), $3 and $4 the place, $5 the limit, $6
/// whether those are wanted that were left, and how many, $7 now.
const LIST: &str = r#"
WITH mine AS MATERIALIZED (
    SELECT m.conversation,
           CASE WHEN c.history = 2 AND c.message_at > 0 THEN c.message_at ELSE greatest(c.message_at, m.joined_at) END AS activity,
           CASE WHEN coalesce(m.muted_until, 0) > $7 THEN 0
                ELSE greatest(c.last_seq - greatest(m.read_seq, m.floor_seq), 0) END AS unread,
           cardinality($2) = 0 OR greatest(c.position, m.settings_position) > coalesce($2[c.shard + 1], 0) AS changed
    FROM member m JOIN conversation c ON c.conversation = m.conversation
    WHERE m."user" = $1 AND m.left_revision = 0
), page AS MATERIALIZED (
    SELECT conversation, activity FROM mine WHERE changed AND PLACE ORDER BY ORDERED LIMIT $5
)
SELECT total.badge, log.shards, log.positions, gone.removed,
       p.conversation, c.kind, c.name, c.picture, c.data, c.history, c.revision, c.last_seq, c.last_at, c.message_at,
       m.role, m.joined_revision, m.joined_seq, m.joined_at, m.read_seq, m.settings, p.activity, people.count, people.first
FROM (SELECT coalesce(sum(unread), 0)::BIGINT AS badge FROM mine) total
CROSS JOIN (SELECT array_agg(shard) AS shards, array_agg(position) AS positions FROM group_cursor) log
CROSS JOIN (SELECT array_agg(conversation) AS removed FROM (
    SELECT m.conversation FROM member m JOIN conversation c ON c.conversation = m.conversation
    WHERE m."user" = $1 AND m.left_revision > 0 AND m.left_position > coalesce($2[c.shard + 1], 0) LIMIT $6) l) gone
LEFT JOIN page p ON true
LEFT JOIN LATERAL (SELECT * FROM conversation x WHERE x.conversation = p.conversation OFFSET 0) c ON true
LEFT JOIN LATERAL (SELECT * FROM member x WHERE x.conversation = p.conversation AND x."user" = $1 OFFSET 0) m ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS count, (array_agg(x."user" ORDER BY x.joined_revision, x."user"))[1:4] AS first
    FROM member x WHERE x.conversation = p.conversation AND x.left_revision = 0) people ON true
ORDER BY SORTED"#;

/// The statement for pages that begin so.
#[must_use]
pub fn statement(after: &After) -> String {
    let (place, ordered) = match after {
        After::Moved(_) => ("($3 IS NULL OR $3 IS NOT NULL) AND conversation > $4", "conversation"),
        After::Nothing | After::Place(..) => {
            ("(activity < $3 OR (activity = $3 AND conversation > $4))", "activity DESC, conversation")
        }
    };
    let sorted = if matches!(after, After::Moved(_)) { "p.conversation" } else { "p.activity DESC, p.conversation" };
    LIST.replace("PLACE", place).replace("ORDERED", ordered).replace("SORTED", sorted)
}

#[derive(QueryableByName)]
struct PageRow {
    #[diesel(sql_type = BigInt)]
    badge: i64,
    #[diesel(sql_type = Nullable<Array<Integer>>)]
    shards: Option<Vec<i32>>,
    #[diesel(sql_type = Nullable<Array<BigInt>>)]
    positions: Option<Vec<i64>>,
    #[diesel(sql_type = Nullable<Array<SqlUuid>>)]
    removed: Option<Vec<Uuid>>,
    /// None: the page has nothing.
    #[diesel(embed)]
    one: Option<SeenRow>,
}

#[derive(QueryableByName)]
struct SeenRow {
    #[diesel(sql_type = SqlUuid)]
    conversation: Uuid,
    #[diesel(sql_type = Integer)]
    kind: i32,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    picture: String,
    #[diesel(sql_type = Text)]
    data: String,
    #[diesel(sql_type = Integer)]
    history: i32,
    #[diesel(sql_type = BigInt)]
    revision: i64,
    #[diesel(sql_type = BigInt)]
    last_seq: i64,
    #[diesel(sql_type = BigInt)]
    last_at: i64,
    #[diesel(sql_type = BigInt)]
    message_at: i64,
    #[diesel(sql_type = Integer)]
    role: i32,
    #[diesel(sql_type = BigInt)]
    joined_revision: i64,
    #[diesel(sql_type = BigInt)]
    joined_seq: i64,
    #[diesel(sql_type = BigInt)]
    joined_at: i64,
    #[diesel(sql_type = BigInt)]
    read_seq: i64,
    #[diesel(sql_type = Nullable<Binary>)]
    settings: Option<Vec<u8>>,
    #[diesel(sql_type = BigInt)]
    activity: i64,
    #[diesel(sql_type = BigInt)]
    count: i64,
    #[diesel(sql_type = Array<SqlUuid>)]
    first: Vec<Uuid>,
}

impl SeenRow {
    fn seen(self, user: UserId) -> Seen {
        Seen {
            room: RoomState {
                conversation: self.conversation.into_bytes().to_vec(),
                kind: self.kind,
                name: self.name,
                picture: self.picture,
                data: serde_json::from_str(&self.data).unwrap_or_default(),
                history: self.history,
                revision: self.revision.unsigned_abs(),
                last_seq: self.last_seq.unsigned_abs(),
                last_at_micros: self.last_at,
                members: Vec::new(),
                message_at_micros: self.message_at,
            },
            me: RoomMember {
                user: user.bytes().to_vec(),
                role: self.role,
                joined_revision: self.joined_revision.unsigned_abs(),
                joined_seq: self.joined_seq.unsigned_abs(),
                joined_at_micros: self.joined_at,
                left_revision: 0,
                read_seq: self.read_seq.unsigned_abs(),
                settings: settings::read(self.settings),
            },
            first: self.first.into_iter().map(|user| user.into_bytes().to_vec()).collect(),
            count: usize::try_from(self.count).unwrap_or(usize::MAX),
            activity_micros: self.activity,
        }
    }
}

/// A page of a list.
pub(super) async fn page(connection: &mut AsyncPgConnection, wanted: Wanted) -> Result<Page, Error> {
    let Wanted { user, since, after, limit, shards, now_ms } = wanted;
    let first = after == After::Nothing && !since.is_empty();
    let removed = if first { i64::try_from(REMOVED + 1).unwrap_or(i64::MAX) } else { 0 };
    let (at, id) = match &after {
        After::Nothing | After::Moved(None) => (i64::MAX, Uuid::nil()),
        After::Place(at, id) => (*at, of(*id)),
        After::Moved(Some(id)) => (0, of(*id)),
    };
    let since: Vec<i64> = since.into_iter().map(crate::store::number).collect();
    let rows: Vec<PageRow> = sql_query(statement(&after))
        .bind::<SqlUuid, _>(Uuid::from_bytes(*user.bytes()))
        .bind::<Array<BigInt>, _>(since)
        .bind::<BigInt, _>(at)
        .bind::<SqlUuid, _>(id)
        .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX))
        .bind::<BigInt, _>(removed)
        .bind::<BigInt, _>(now_ms)
        .load(connection)
        .await?;
    let mut page = Page { positions: vec![0; shards as usize], ..Page::default() };
    for (number, row) in rows.into_iter().enumerate() {
        if number == 0 {
            page.badge = row.badge.unsigned_abs();
            page.removed = row.removed.unwrap_or_default().into_iter().map(ConversationId::from).collect();
            for (shard, position) in row.shards.into_iter().flatten().zip(row.positions.into_iter().flatten()) {
                if let Some(place) = usize::try_from(shard).ok().and_then(|shard| page.positions.get_mut(shard)) {
                    *place = position.unsigned_abs();
                }
            }
        }
        page.conversations.extend(row.one.map(|one| one.seen(user)));
    }
    Ok(page)
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = SqlUuid)]
    conversation: Uuid,
    #[diesel(sql_type = Integer)]
    history: i32,
    #[diesel(sql_type = BigInt)]
    joined_revision: i64,
    #[diesel(sql_type = BigInt)]
    joined_seq: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    cleared_seq: Option<i64>,
    #[diesel(sql_type = BigInt)]
    revision: i64,
    #[diesel(sql_type = BigInt)]
    last_seq: i64,
    #[diesel(sql_type = BigInt)]
    left_revision: i64,
}

/// What a user, $1, may see of conversations, $2.
pub const ACCESS: &str = r#"SELECT c.conversation, c.history, m.joined_revision, m.joined_seq, m.cleared_seq, c.revision,
    c.last_seq, m.left_revision
FROM member m JOIN conversation c ON c.conversation = m.conversation
WHERE m.conversation = ANY($2) AND m."user" = $1"#;

/// What somebody may see of conversations.
pub(super) async fn access(
    connection: &mut AsyncPgConnection,
    user: UserId,
    ids: Vec<ConversationId>,
) -> Result<Vec<Access>, Error> {
    let rows: Vec<Found> = sql_query(ACCESS)
        .bind::<SqlUuid, _>(Uuid::from_bytes(*user.bytes()))
        .bind::<Array<SqlUuid>, _>(ids.into_iter().map(of).collect::<Vec<_>>())
        .load(connection)
        .await?;
    let access = rows.into_iter().map(|found| {
        let row = AccessRow {
            history: found.history,
            joined_revision: found.joined_revision.unsigned_abs(),
            joined_seq: found.joined_seq.unsigned_abs(),
            cleared_seq: found.cleared_seq.unwrap_or(0).unsigned_abs(),
            revision: found.revision.unsigned_abs(),
            last_seq: found.last_seq.unsigned_abs(),
            left_revision: found.left_revision.unsigned_abs(),
        };
        Access::new(found.conversation.into(), &row)
    });
    Ok(access.collect())
}
