//! What a deployment lets other internal services call: bots, moderation, billing. Nothing that is not named.

use madang_proto::access::{Access, rule, table};
use std::str::FromStr;

/// A service, and an RPC that it may call: `bot:SendMessage`; `*` for any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    service: String,
    method: String,
}

impl FromStr for Grant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (service, method) =
            text.split_once(':').ok_or_else(|| format!("'{text}' must be NAME:RPC, as in bot:SendMessage"))?;
        let known = method == "*"
            || table().any(|path| {
                path.ends_with(&format!("/{method}")) && rule(&path).is_some_and(|rule| rule.access == Access::Outside)
            });
        if !known {
            return Err(format!(
                "'{method}' is no RPC that other services may be granted (proto/src/access.rs has all)"
            ));
        }
        Ok(Self { service: service.to_owned(), method: method.to_owned() })
    }
}

/// All grants.
#[derive(Debug, Clone, Default)]
pub struct Grants(Vec<Grant>);

impl Grants {
    /// These.
    #[must_use]
    pub fn new(grants: Vec<Grant>) -> Self {
        Self(grants)
    }

    /// Everything, to all: for a deployment whose services all have their tokens from the same hand.
    #[must_use]
    pub fn all() -> Self {
        Self(vec![Grant { service: "*".into(), method: "*".into() }])
    }

    /// Whether a service may call what is at a path.
    #[must_use]
    pub fn allow(&self, service: &str, path: &str) -> bool {
        let method = path.rsplit('/').next().unwrap_or_default();
        let is = |pattern: &str, name: &str| pattern == "*" || pattern == name;
        self.0.iter().any(|grant| is(&grant.service, service) && is(&grant.method, method))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_granted_is_not_allowed() {
        let grants = Grants::new(["bot:SendMessage", "audit:*"].map(|text| text.parse().unwrap()).into());
        let (send, list) = ("/madang.chat.v1.ChatService/SendMessage", "/madang.store.v1.StoreService/ListMessages");
        assert!(grants.allow("bot", send) && grants.allow("audit", list));
        assert!(!grants.allow("bot", list) && !grants.allow("other", send) && !grants.allow("*", send));
        assert!(!Grants::default().allow("bot", send) && Grants::all().allow("bot", send));
    }

    #[test]
    fn a_grant_of_what_nobody_else_may_is_refused() {
        for wrong in ["bot", "bot:", "bot:TakeOver", "bot:LogIn", "bot:sendmessage", "bot:Nonsense"] {
            assert!(wrong.parse::<Grant>().is_err(), "{wrong}");
        }
    }
}
