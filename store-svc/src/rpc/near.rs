//! Where a page is cut that gets too large: it keeps what lies nearest to what was asked for.

use madang_proto::client::v1::Message;
use prost::Message as _;
use std::ops::Range;

/// What a page lies at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Near {
    /// Its first message.
    First,
    /// Its last one.
    Last,
    /// A message within, or where it would be.
    Seq(u64),
}

impl Near {
    /// Cuts a page to so many bytes and messages, but for one that is always kept; whether something went before and after it.
    pub(super) fn cut(self, messages: &mut Vec<Message>, bytes: usize, count: usize) -> (bool, bool) {
        let Range { start, end } = self.kept(messages, bytes, count);
        let cut = (start > 0, end < messages.len());
        messages.truncate(end);
        messages.drain(..start);
        cut
    }

    fn kept(self, messages: &[Message], bytes: usize, count: usize) -> Range<usize> {
        let place = match self {
            Self::First => 0,
            Self::Last => messages.len().saturating_sub(1),
            Self::Seq(seq) => {
                messages.partition_point(|message| message.seq < seq).min(messages.len().saturating_sub(1))
            }
        };
        let (mut kept, mut left) = (place..place, bytes);
        loop {
            let (older, newer) = (place - kept.start, kept.end - place);
            let next = match (kept.start > 0, kept.end < messages.len()) {
                (false, false) => return kept,
                (_, true) if kept.is_empty() => kept.end,
                (true, newest) if !newest || older < newer => kept.start - 1,
                _ => kept.end,
            };
            let size = messages[next].encoded_len();
            if !kept.is_empty() && (size > left || kept.len() >= count) {
                return kept;
            }
            left = left.saturating_sub(size);
            kept = kept.start.min(next)..kept.end.max(next + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers that are left of 1 to `count`, each of about 100 bytes.
    fn left(near: Near, of: u64, bytes: usize, count: usize) -> (Vec<u64>, (bool, bool)) {
        let text = "x".repeat(90);
        let mut messages: Vec<_> =
            (1..=of).map(|seq| Message { seq, text: text.clone(), ..Message::default() }).collect();
        let cut = near.cut(&mut messages, bytes, count);
        (messages.into_iter().map(|message| message.seq).collect(), cut)
    }

    #[test]
    fn what_was_asked_for_stays_and_its_neighbours_on_both_sides() {
        assert_eq!(left(Near::First, 9, 320, 9), (vec![1, 2, 3], (false, true)));
        assert_eq!(left(Near::Last, 9, 320, 9), (vec![7, 8, 9], (true, false)));
        assert_eq!(left(Near::Seq(5), 9, 320, 9), (vec![4, 5, 6], (true, true)));
        assert_eq!(left(Near::Seq(5), 9, 10_000, 4), (vec![3, 4, 5, 6], (true, true)));
        assert_eq!(left(Near::Seq(9), 9, 320, 9), (vec![7, 8, 9], (true, false)));
        assert_eq!(left(Near::Seq(20), 9, 1, 9), (vec![9], (true, false)), "one is always given");
        assert_eq!(left(Near::Seq(1), 9, 320, 9), (vec![1, 2, 3], (false, true)));
        assert_eq!(left(Near::Seq(5), 9, 10_000, 9).1, (false, false));
        assert_eq!(left(Near::Last, 0, 320, 9), (vec![], (false, false)));
    }
}
