//! What acknowledged operations make of a conversation, in the order of their revisions, and what each may be refused with.

use std::collections::{BTreeMap, BTreeSet};

pub const OWNER: &str = "ROLE_OWNER";
pub const ADMIN: &str = "ROLE_ADMIN";
pub const MEMBER: &str = "ROLE_MEMBER";
/// How many different emoji a message carries at most.
pub const MOST_EMOJI: usize = 20;

pub const NOT_IN: &str = "CONVERSATION_NOT_FOUND";
const RANK: &str = "ROLE_REQUIRED";

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    Create {
        members: Vec<String>,
        name: String,
        open: bool,
    },
    /// A direct conversation begins.
    Direct {
        other: String,
    },
    Add(Vec<String>),
    /// By an invite's code, which so many may use.
    Join {
        code: String,
        most: u64,
    },
    Remove(String),
    Role {
        user: String,
        role: String,
    },
    Change {
        name: Option<String>,
        data: BTreeMap<String, Option<String>>,
    },
    /// Perhaps to somebody, and not to a conversation.
    Say {
        client_id: String,
        text: String,
        to: Option<String>,
    },
    Edit {
        seq: u64,
        text: String,
    },
    Delete {
        seq: u64,
    },
    React {
        seq: u64,
        emoji: String,
        remove: bool,
    },
    /// By the end of the account of who said it, also where they are in no more.
    Erased {
        seq: u64,
    },
    End,
    Read {
        seq: u64,
    },
    Set,
    /// A page of history.
    Look,
    /// Who is there is to be told.
    Watch,
}

impl Op {
    /// Which message it changes.
    pub fn changes(&self) -> Option<u64> {
        match self {
            Self::Edit { seq, .. } | Self::Delete { seq } | Self::React { seq, .. } | Self::Erased { seq } => {
                Some(*seq)
            }
            _ => None,
        }
    }

    /// It makes no event of its own, but needs who asks for it to be a member.
    pub fn is_timeless(&self) -> bool {
        matches!(self, Self::Read { .. } | Self::Set | Self::Look | Self::Watch)
    }

    /// A block keeps it from happening in a direct conversation.
    pub fn is_said(&self) -> bool {
        matches!(self, Self::Say { .. } | Self::Edit { .. } | Self::React { .. })
    }
}

#[derive(Debug, Clone)]
pub struct Member {
    pub role: String,
    /// The revision of their joining.
    since: u64,
    /// The first message that they see.
    pub first: u64,
    /// How far they have read by coming and by what they said.
    pub mark: u64,
}

/// A message.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    pub sender: String,
    pub client_id: String,
    pub text: String,
    pub deleted: bool,
    /// Of its last change.
    pub revision: u64,
    /// By emoji without its variation: as it was first sent, and by whom.
    pub reactions: BTreeMap<String, (String, BTreeSet<String>)>,
}

/// A conversation.
#[derive(Debug, Clone, Default)]
pub struct Room {
    pub direct: bool,
    open: bool,
    pub members: BTreeMap<String, Member>,
    pub name: String,
    pub data: BTreeMap<String, String>,
    pub said: BTreeMap<u64, Said>,
}

/// Emoji that differ only in this are one.
pub fn plain(emoji: &str) -> String {
    emoji.replace('\u{fe0f}', "")
}

impl Room {
    fn join(&mut self, user: &str, role: &str, revision: u64) {
        let mark = self.said.keys().next_back().copied().unwrap_or(0);
        let first = if self.open { 1 } else { mark + 1 };
        let member = Member { role: role.to_owned(), since: revision, first, mark };
        self.members.entry(user.to_owned()).or_insert(member);
    }

    /// Something was done, with this revision; what was said got this number.
    pub fn take(&mut self, by: &str, op: &Op, revision: u64, seq: u64) {
        match op {
            Op::Create { members, name, open } => {
                self.open = *open;
                self.join(by, OWNER, revision);
                members.iter().for_each(|user| self.join(user, MEMBER, revision));
                self.name.clone_from(name);
            }
            Op::Direct { other } => {
                (self.direct, self.open) = (true, true);
                [by, other].into_iter().for_each(|user| self.join(user, MEMBER, revision));
            }
            Op::Add(users) => users.iter().for_each(|user| self.join(user, MEMBER, revision)),
            Op::Join { .. } => self.join(by, MEMBER, revision),
            Op::Remove(user) => {
                if self.members.remove(user).is_some_and(|member| member.role == OWNER) {
                    self.hand_on();
                }
            }
            Op::Role { user, role } => {
                if role == OWNER && by != user {
                    self.rank(by, ADMIN);
                }
                self.rank(user, role);
            }
            Op::Change { name, data } => {
                self.name = name.clone().unwrap_or_else(|| self.name.clone());
                for (key, value) in data {
                    match value {
                        Some(value) => drop(self.data.insert(key.clone(), value.clone())),
                        None => drop(self.data.remove(key)),
                    }
                }
            }
            Op::Say { client_id, text, .. } => {
                let (sender, client_id, text) = (by.to_owned(), client_id.clone(), text.clone());
                let reactions = BTreeMap::new();
                self.said.entry(seq).or_insert(Said { sender, client_id, text, deleted: false, revision, reactions });
                if let Some(member) = self.members.get_mut(by) {
                    member.mark = seq.max(member.mark);
                }
            }
            Op::Edit { .. } | Op::Delete { .. } | Op::React { .. } | Op::Erased { .. } => self.amend(by, op, revision),
            Op::End => self.members.clear(),
            Op::Read { .. } | Op::Set | Op::Look | Op::Watch => {}
        }
    }

    fn amend(&mut self, by: &str, op: &Op, revision: u64) {
        let Some(said) = op.changes().and_then(|seq| self.said.get_mut(&seq)) else { return };
        said.revision = revision;
        match op {
            Op::Edit { text, .. } => said.text.clone_from(text),
            Op::Delete { .. } | Op::Erased { .. } => {
                (said.text, said.deleted, said.reactions) = (String::new(), true, BTreeMap::new())
            }
            Op::React { emoji, remove, .. } => {
                let first = (emoji.clone(), BTreeSet::new());
                let (_, users) = said.reactions.entry(plain(emoji)).or_insert(first);
                if *remove {
                    users.remove(by)
                } else {
                    users.insert(by.to_owned())
                };
                said.reactions.retain(|_, (_, users)| !users.is_empty());
            }
            _ => {}
        }
    }

    /// Whether it is as something that was done has left it, or as something wants it that changed nothing.
    pub fn shows(&self, by: &str, op: &Op, seq: u64) -> bool {
        match op {
            Op::Say { client_id, .. } => self.said.get(&seq).is_some_and(|said| said.client_id == *client_id),
            Op::Edit { seq, text } => self.said.get(seq).is_some_and(|said| said.text == *text && !said.deleted),
            Op::Delete { seq } => self.said.get(seq).is_some_and(|said| said.deleted),
            Op::React { seq, emoji, remove } => self.said.get(seq).is_some_and(|said| {
                *remove != said.reactions.get(&plain(emoji)).is_some_and(|(_, users)| users.contains(by))
            }),
            _ => true,
        }
    }

    /// What something may be refused with, whoever is blocked; nothing: it is done.
    pub fn refusals(&self, by: &str, op: &Op, most: usize) -> Vec<&'static str> {
        let (me, refused) = (self.members.get(by), |why: &'static str, when: bool| when.then_some(why));
        let group = |when: Vec<Option<&'static str>>| match me {
            None => vec![NOT_IN],
            Some(_) if self.direct => vec!["DIRECT_CONVERSATION"],
            Some(_) => when.into_iter().flatten().collect(),
        };
        let role = |user: &str| self.members.get(user).map(|member| member.role.as_str());
        let (admin, owner) = (matches!(role(by), Some(OWNER | ADMIN)), role(by) == Some(OWNER));
        match op {
            Op::Create { members, .. } => {
                refused("GROUP_FULL", members.iter().any(|user| user != by) && members.len() >= most)
                    .into_iter()
                    .collect()
            }
            Op::Direct { .. } | Op::Say { to: Some(_), .. } | Op::Erased { .. } | Op::Watch => Vec::new(),
            Op::Say { .. } | Op::Read { .. } | Op::Set | Op::Look => {
                refused(NOT_IN, me.is_none()).into_iter().collect()
            }
            Op::Add(users) => {
                let new: BTreeSet<_> = users.iter().filter(|user| role(user).is_none()).collect();
                group(vec![refused("GROUP_FULL", !new.is_empty() && self.members.len() + new.len() > most)])
            }
            Op::Join { .. } if self.members.is_empty() => vec!["INVITE_NOT_FOUND", NOT_IN],
            Op::Join { .. } => refused("GROUP_FULL", me.is_none() && self.members.len() >= most).into_iter().collect(),
            Op::Remove(user) => {
                let may = by == user || owner || (admin && role(user) == Some(MEMBER));
                group(vec![refused(RANK, role(user).is_some() && !may)])
            }
            // Whoever has handed the group over, and asks again.
            Op::Role { user, role: to } if to == OWNER && role(user) == Some(OWNER) && admin => group(Vec::new()),
            Op::Role { user, role: to } => group(vec![
                refused(RANK, !owner),
                refused("USER_NOT_FOUND", role(user).is_none()),
                refused("INVALID_FIELD", by == user && to != OWNER),
            ]),
            Op::Change { .. } => group(vec![refused(RANK, !admin)]),
            Op::End => group(vec![refused(RANK, !owner)]),
            Op::Edit { seq, .. } | Op::Delete { seq } | Op::React { seq, .. } => {
                let Some(me) = me else { return vec![NOT_IN] };
                let Some(said) = self.said.get(seq).filter(|_| me.first <= *seq) else {
                    return vec!["MESSAGE_NOT_FOUND"];
                };
                let mine = said.sender == by;
                let (gone, more) = match op {
                    Op::Edit { .. } => (said.deleted, refused("NOT_SENDER", !mine)),
                    Op::React { emoji, remove, .. } => {
                        let full = said.reactions.len() >= MOST_EMOJI && !said.reactions.contains_key(&plain(emoji));
                        (said.deleted, refused("TOO_MANY_REACTIONS", !remove && full))
                    }
                    _ => (false, refused(RANK, !mine && (self.direct || !admin))),
                };
                refused("MESSAGE_DELETED", gone).into_iter().chain(more).collect()
            }
        }
    }

    fn rank(&mut self, user: &str, role: &str) {
        if let Some(member) = self.members.get_mut(user) {
            role.clone_into(&mut member.role);
        }
    }

    /// An owner's place falls to the longest-serving admin, or member.
    fn hand_on(&mut self) {
        let serving = |(user, member): &(&String, &Member)| (member.role != ADMIN, member.since, (*user).clone());
        let heir = self.members.iter().min_by_key(serving).map(|(user, _)| user.clone());
        if let Some(heir) = heir {
            self.rank(&heir, OWNER);
        }
    }

    pub fn roles(&self) -> BTreeMap<String, String> {
        self.members.iter().map(|(user, member)| (user.clone(), member.role.clone())).collect()
    }
}
