//! Recorded conversations: gzipped JSON Lines, first a line for each room, then the messages of all rooms by time.
//! Texts hold U+2028, U+0085 and the like, so lines end at `\n` and nowhere else.

use crate::Error;
use serde::Deserialize;
use std::{collections::HashMap, fs::File, io::Read as _, path::Path};

/// A file's conversations.
#[derive(Debug, Default)]
pub struct Dataset {
    /// How many people take part.
    pub people: usize,
    /// The rooms.
    pub rooms: Vec<Room>,
}

/// A conversation.
#[derive(Debug)]
pub struct Room {
    /// Its name in the file.
    pub name: String,
    /// Its members, by their number in the file.
    pub members: Vec<usize>,
    /// What was said, in order.
    pub messages: Vec<Said>,
}

/// A message.
#[derive(Debug)]
pub struct Said {
    /// Who said it.
    pub user: usize,
    /// When, ms since 1970.
    pub at: i64,
    /// What.
    pub text: String,
    /// The place of the message that it answers.
    pub reply_to: Option<usize>,
    /// Said as `/me …`.
    pub action: bool,
}

#[derive(Deserialize)]
struct Line {
    room: String,
    members: Option<Vec<String>>,
    n: Option<usize>,
    user: Option<String>,
    at: Option<String>,
    text: Option<String>,
    reply_to: Option<usize>,
    #[serde(default)]
    action: bool,
}

impl Dataset {
    /// Reads a file, its first `limit` rooms only.
    pub fn open(path: &Path, limit: usize) -> Result<Self, Error> {
        let failed = |error| Error::File(path.display().to_string(), error);
        let mut bytes = Vec::new();
        flate2::read::MultiGzDecoder::new(File::open(path).map_err(failed)?).read_to_end(&mut bytes).map_err(failed)?;
        Self::parse(&bytes, limit)
    }

    /// From JSON Lines.
    pub fn parse(bytes: &[u8], limit: usize) -> Result<Self, Error> {
        let mut all = Self::default();
        let mut people: HashMap<String, usize> = HashMap::new();
        let mut rooms: HashMap<String, Option<usize>> = HashMap::new();
        for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            let wrong = |what: &str| Error::Format(format!("line {}: {what}", number + 1));
            let line: Line = serde_json::from_slice(line).map_err(|error| wrong(&error.to_string()))?;
            let mut person = |name: String| {
                let next = people.len();
                *people.entry(name).or_insert(next)
            };
            if let Some(members) = line.members {
                let kept = all.rooms.len() < limit;
                if rooms.insert(line.room.clone(), kept.then_some(all.rooms.len())).is_some() {
                    return Err(wrong("the room is there already"));
                }
                if kept {
                    let members = members.into_iter().map(&mut person).collect();
                    all.rooms.push(Room { name: line.room, members, messages: Vec::new() });
                }
                continue;
            }
            let Some(place) = rooms.get(&line.room).ok_or_else(|| wrong("no such room"))? else { continue };
            let (Some(n), Some(user), Some(at), Some(text)) = (line.n, line.user, line.at, line.text) else {
                // Joins and leaves have no number.
                continue;
            };
            let room = &mut all.rooms[*place];
            if n != room.messages.len() {
                return Err(wrong("n is out of order"));
            }
            let user = person(user);
            if !room.members.contains(&user) {
                return Err(wrong("the sender is no member"));
            }
            let at = milliseconds(&at).ok_or_else(|| wrong("not a time, such as 2026-01-01T00:00:00.000Z"))?;
            let reply_to = line.reply_to.filter(|reply| *reply < n);
            room.messages.push(Said { user, at, text, reply_to, action: line.action });
        }
        all.people = people.len();
        Ok(all)
    }
}

/// `2026-01-01T00:00:00.000Z`, with or without the fraction, as ms since 1970.
fn milliseconds(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let thousandths: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    // Years that begin in March have their leap day at the end.
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(milliseconds("1970-01-01T00:00:00.000Z"), Some(0));
        assert_eq!(milliseconds("2000-02-29T12:34:56.789Z"), Some(951_827_696_789));
        assert_eq!(milliseconds("2026-01-01T00:00:01Z"), Some(1_767_225_601_000));
        assert_eq!(milliseconds("yesterday"), None);
    }

    #[test]
    fn lines_end_at_line_feeds_only() {
        let file = "{\"room\":\"r\",\"members\":[\"a\",\"b\"]}\n\
            {\"room\":\"r\",\"n\":0,\"user\":\"b\",\"at\":\"2026-01-01T00:00:00.000Z\",\"text\":\"x\u{2028}y\u{85}z\"}\n";
        let set = Dataset::parse(file.as_bytes(), 9).unwrap();
        assert_eq!(set.rooms[0].messages[0].text, "x\u{2028}y\u{85}z");
        assert_eq!((set.people, set.rooms[0].messages[0].user), (2, 1));
        assert!(Dataset::parse(file.replace("\"n\":0", "\"n\":1").as_bytes(), 9).is_err());
        assert!(Dataset::parse(file.as_bytes(), 0).unwrap().rooms.is_empty());
    }

    #[test]
    fn the_fixture_is_whole() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/small.jsonl.gz");
        let set = Dataset::open(&path, usize::MAX).unwrap();
        assert_eq!(set.rooms.len(), 9);
        assert_eq!(set.rooms.iter().map(|room| room.messages.len()).sum::<usize>(), 200);
        let long = set.rooms.iter().find(|room| room.name == "long").unwrap();
        assert_eq!(long.messages.last().unwrap().text.len(), 65_537);
        let few = Dataset::open(&path, 2).unwrap();
        assert_eq!((few.rooms.len(), few.people), (2, 3));
    }
}
