//! Who is at the other end of a connection: what the SPIFFE id of its certificate says. Names of hosts say nothing:
//! addresses come from DNS and leases, and whoever answers there must still be the service that was meant.

use madang_proto::access::Service;
use std::sync::Arc;

/// Where a pattern of ids has the service's name.
const PLACE: &str = "{service}";
/// The longest name of a service that is not Madang's own, in bytes.
const LONGEST: usize = 64;

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// One of Madang's own services.
    Own(Service),
    /// Another internal service, by its name: a bot, moderation, billing.
    Outside(Arc<str>),
    /// It is not known who: where nothing checks it, everybody counts as Madang's own.
    Anybody,
}

/// The SPIFFE ids of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    /// `spiffe://DOMAIN/…/{service}`.
    pattern: String,
    /// `spiffe://DOMAIN/service/`, and then the name.
    outside: String,
}

/// The trust domain of an id, with its scheme: `spiffe://DOMAIN`.
fn domain(id: &str) -> Option<&str> {
    let rest = id.strip_prefix("spiffe://")?;
    let end = rest.find('/').filter(|end| *end > 0)?;
    Some(&id[..id.len() - rest.len() + end])
}

impl Ids {
    /// The ids of the deployment of which a service's own certificate is. Without a pattern they are
    /// `spiffe://DOMAIN/madang/{service}`, the domain being that of the certificate.
    pub fn new(pattern: Option<&str>, service: Service, own: &str) -> Result<Self, String> {
        let of = |id| domain(id).ok_or_else(|| format!("'{id}' is no SPIFFE id (spiffe://DOMAIN/PATH)"));
        let pattern = match pattern {
            Some(pattern) if pattern.matches(PLACE).count() == 1 => pattern.to_owned(),
            Some(pattern) => return Err(format!("'{pattern}' must have {PLACE} once, in place of a service's name")),
            None => format!("{}/madang/{PLACE}", of(own)?),
        };
        let ids = Self { outside: format!("{}/service/", of(&pattern)?), pattern };
        let meant = ids.of(service);
        if own != meant {
            return Err(format!("the certificate is of {own}, and this service must be {meant}"));
        }
        Ok(ids)
    }

    /// The id of a service.
    #[must_use]
    pub fn of(&self, service: Service) -> String {
        self.pattern.replace(PLACE, service.name())
    }

    /// Whose id it is; none: nobody's who has something to do here.
    #[must_use]
    pub fn caller(&self, id: &str) -> Option<Caller> {
        if let Some(own) = Service::ALL.into_iter().find(|service| self.of(*service) == id) {
            return Some(Caller::Own(own));
        }
        let name = id.strip_prefix(&self.outside)?;
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let named = !name.is_empty() && name.len() <= LONGEST && name.bytes().all(fine);
        named.then(|| Caller::Outside(name.into()))
    }
}

/// The SPIFFE id of a certificate, which is its only URI.
#[must_use]
pub fn id(certificate: &rustls::pki_types::CertificateDer<'_>) -> Option<String> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    let mut uris = certificate.valid_uri_names();
    match (uris.next(), uris.next()) {
        (Some(uri), None) if domain(uri).is_some() => Some(uri.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_service_s_of_this_domain_or_nobody_s() {
        let ids = Ids::new(None, Service::Chat, "spiffe://example.org/madang/chat").unwrap();
        assert_eq!(ids.caller("spiffe://example.org/madang/store"), Some(Caller::Own(Service::Store)));
        assert_eq!(ids.caller("spiffe://example.org/service/bot-7"), Some(Caller::Outside("bot-7".into())));
        for nobody in [
            "spiffe://example.com/madang/store",
            "spiffe://example.org/madang/store/x",
            "spiffe://example.org/madang/Store",
            "spiffe://example.org/madang/other",
            "spiffe://example.org/service/",
            "spiffe://example.org/service/a/b",
            "https://example.org/madang/store",
            "",
        ] {
            assert_eq!(ids.caller(nobody), None, "{nobody}");
        }
    }

    #[test]
    fn a_pattern_says_where_the_name_is() {
        let pattern = Some("spiffe://cluster.local/ns/talk/sa/madang-{service}");
        let ids = Ids::new(pattern, Service::Api, "spiffe://cluster.local/ns/talk/sa/madang-api").unwrap();
        assert_eq!(ids.of(Service::Group), "spiffe://cluster.local/ns/talk/sa/madang-group");
        for (pattern, own) in [
            (None, "spiffe://example.org/madang/chat"),
            (None, "spiffe://example.org"),
            (None, "https://example.org/madang/api"),
            (Some("spiffe://x/{service}/{service}"), "spiffe://x/api/api"),
            (Some("spiffe:///{service}"), "spiffe:///api"),
            (Some("spiffe://x/api"), "spiffe://x/api"),
        ] {
            assert!(Ids::new(pattern, Service::Api, own).is_err(), "{pattern:?} {own}");
        }
    }
}
