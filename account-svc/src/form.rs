//! The form of what people give: handles, names, passwords, devices.

use madang_proto::{
    client::v1::{Device, UserKind},
    id::DeviceId,
    reason::{Reason, Refusal},
};
use unicode_normalization::UnicodeNormalization;

fn invalid(field: &str, message: &str) -> Refusal {
    Refusal::new(Reason::InvalidField, message).of(field)
}

/// A handle, capitals lowered.
pub fn handle(text: &str) -> Result<String, Refusal> {
    let handle = text.to_ascii_lowercase();
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !(3..=30).contains(&handle.len()) || !handle.chars().all(good) {
        return Err(invalid("handle", "handle must be 3 to 30 of the characters a-z, 0-9 and _"));
    }
    Ok(handle)
}

/// A name: NFC, trimmed, 1 to 50 code points, no controls.
pub fn name(text: &str) -> Result<String, Refusal> {
    let name: String = text.trim().nfc().collect();
    if name.is_empty() || name.chars().count() > 50 || name.chars().any(char::is_control) {
        return Err(invalid("name", "name must be 1 to 50 characters, without control characters"));
    }
    Ok(name)
}

/// A password: 8 to 1,024 bytes.
pub fn password(text: &str) -> Result<(), Refusal> {
    if (8..=1024).contains(&text.len()) {
        Ok(())
    } else {
        Err(invalid("password", "password must have 8 to 1024 bytes"))
    }
}

/// Who is behind an account; not said: a person.
pub fn kind(kind: i32) -> Result<UserKind, Refusal> {
    match UserKind::try_from(kind) {
        Ok(UserKind::Unspecified | UserKind::Person) => Ok(UserKind::Person),
        Ok(UserKind::Bot) => Ok(UserKind::Bot),
        Err(_) => Err(invalid("kind", "kind must be USER_KIND_PERSON or USER_KIND_BOT")),
    }
}

/// A device: a UUID and a kind; name and app of at most 100 code points.
pub fn device(device: Option<Device>) -> Result<Device, Refusal> {
    let device =
        device.ok_or_else(|| invalid("device", "device is missing: give its id (a UUID that it keeps) and kind"))?;
    if device.id.parse::<DeviceId>().is_err() {
        return Err(invalid("device.id", "device.id must be a UUID in lower-case canonical text"));
    }
    for (field, text) in [("device.name", &device.name), ("device.app", &device.app)] {
        if text.chars().count() > 100 || text.contains('\0') {
            return Err(invalid(field, &format!("{field} takes at most 100 characters, and no NUL")));
        }
    }
    Ok(device.of_known_kind())
}

#[cfg(test)]
mod tests {
    use super::*;
    use madang_proto::client::v1::DeviceKind;

    #[test]
    fn forms_at_their_limits() {
        assert_eq!(handle("Alice_1").unwrap(), "alice_1");
        assert!(handle("ab").is_err() && handle(&"a".repeat(31)).is_err() && handle("앨리스").is_err());
        assert_eq!(name("  가나 ").unwrap(), "가나");
        assert_eq!(name("\u{1112}\u{1161}\u{11ab}").unwrap(), "한");
        assert!(name("  ").is_err() && name(&"a".repeat(51)).is_err() && name("a\nb").is_err());
        assert!(password("1234567").is_err() && password("12345678").is_ok());
        assert_eq!([kind(0), kind(1), kind(2)], [UserKind::Person, UserKind::Person, UserKind::Bot].map(Ok));
        assert!(kind(3).is_err());
        let named = |name: &str, app: &str| {
            let (id, kind) = (DeviceId::new().to_string(), DeviceKind::Web.into());
            device(Some(Device { id, kind, name: name.into(), app: app.into() })).map_err(|error| error.field)
        };
        assert!(named(&"가".repeat(100), "").is_ok());
        assert_eq!(named(&"가".repeat(101), "").unwrap_err(), "device.name");
        assert_eq!(
            (named("a\0", "").unwrap_err(), named("", "b\0").unwrap_err()),
            ("device.name".into(), "device.app".into())
        );
        assert!(device(None).is_err() && device(Some(Device::default())).is_err());
        // Also one that is not known yet, as protobuf has it: its number stays in the field.
        for (kind, expected) in [(0, DeviceKind::Web), (77, DeviceKind::Web), (4, DeviceKind::Service)] {
            let new = Device { id: DeviceId::new().to_string(), kind, ..Device::default() };
            assert_eq!(device(Some(new)).unwrap().kind, i32::from(expected), "{kind}");
        }
    }
}
