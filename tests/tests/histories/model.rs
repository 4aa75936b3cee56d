//! What acknowledged operations make of a conversation, in the order of their revisions.

use std::collections::BTreeMap;

pub const OWNER: &str = "ROLE_OWNER";
pub const ADMIN: &str = "ROLE_ADMIN";
pub const MEMBER: &str = "ROLE_MEMBER";

/// What was done.
#[derive(Debug, Clone)]
pub enum Op {
    Create { owner: String, members: Vec<String>, name: String },
    Direct { users: Vec<String> },
    Add(Vec<String>),
    Remove(String),
    Role { by: String, user: String, role: String },
    Change { name: Option<String>, data: BTreeMap<String, Option<String>> },
    Say { seq: u64, text: String },
    End,
}

/// A conversation.
#[derive(Debug, Clone, Default)]
pub struct Room {
    /// With the revision of their joining.
    pub members: BTreeMap<String, (String, u64)>,
    pub name: String,
    pub data: BTreeMap<String, String>,
    pub texts: BTreeMap<u64, String>,
}

impl Room {
    /// What operations leave, each with the revision that it was answered with.
    pub fn after(mut done: Vec<(u64, Op)>) -> Self {
        done.sort_by_key(|(revision, _)| *revision);
        let mut room = Self::default();
        for (revision, op) in done {
            room.take(revision, op);
        }
        room
    }

    fn join(&mut self, user: String, role: &str, revision: u64) {
        self.members.entry(user).or_insert_with(|| (role.to_owned(), revision));
    }

    fn take(&mut self, revision: u64, op: Op) {
        match op {
            Op::Create { owner, members, name } => {
                self.join(owner, OWNER, revision);
                members.into_iter().for_each(|user| self.join(user, MEMBER, revision));
                self.name = name;
            }
            Op::Direct { users } => users.into_iter().for_each(|user| self.join(user, MEMBER, revision)),
            Op::Add(users) => users.into_iter().for_each(|user| self.join(user, MEMBER, revision)),
            Op::Remove(user) => {
                if self.members.remove(&user).is_some_and(|(role, _)| role == OWNER) {
                    self.hand_on();
                }
            }
            Op::Role { by, user, role } => {
                if role == OWNER && by != user {
                    self.rank(&by, ADMIN);
                }
                self.rank(&user, &role);
            }
            Op::Change { name, data } => {
                self.name = name.unwrap_or_else(|| self.name.clone());
                for (key, value) in data {
                    match value {
                        Some(value) => drop(self.data.insert(key, value)),
                        None => drop(self.data.remove(&key)),
                    }
                }
            }
            Op::Say { seq, text } => drop(self.texts.insert(seq, text)),
            Op::End => self.members.clear(),
        }
    }

    fn rank(&mut self, user: &str, role: &str) {
        if let Some((rank, _)) = self.members.get_mut(user) {
            *rank = role.to_owned();
        }
    }

    /// An owner's place falls to the longest-serving admin, or member.
    fn hand_on(&mut self) {
        let serving = |(user, (role, since)): &(&String, &(String, u64))| (role != ADMIN, *since, (*user).clone());
        let heir = self.members.iter().min_by_key(serving).map(|(user, _)| user.clone());
        if let Some(heir) = heir {
            self.rank(&heir, OWNER);
        }
    }

    pub fn roles(&self) -> BTreeMap<String, String> {
        self.members.iter().map(|(user, (role, _))| (user.clone(), role.clone())).collect()
    }
}
