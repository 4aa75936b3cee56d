//! The form of what people give: handles, names, passwords, devices.

use madang_proto::{
    client::v1::{Device, DeviceKind},
    id::DeviceId,
    reason::{Reason, Refusal},
};
use unicode_normalization::UnicodeNormalization;

fn invalid(message: &str) -> Refusal {
    Refusal::new(Reason::InvalidField, message)
}

/// A handle, capitals lowered.
pub fn handle(text: &str) -> Result<String, Refusal> {
    let handle = text.to_ascii_lowercase();
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !(3..=30).contains(&handle.len()) || !handle.chars().all(good) {
        return Err(invalid("handle must be 3 to 30 of the characters a-z, 0-9 and _"));
    }
    Ok(handle)
}

/// A name: NFC, trimmed, 1 to 50 code points, no controls.
pub fn name(text: &str) -> Result<String, Refusal> {
    let name: String = text.trim().nfc().collect();
    if name.is_empty() || name.chars().count() > 50 || name.chars().any(char::is_control) {
        return Err(invalid("name must be 1 to 50 characters, without control characters"));
    }
    Ok(name)
}

/// A password: 8 to 1,024 bytes.
pub fn password(text: &str) -> Result<(), Refusal> {
    if (8..=1024).contains(&text.len()) { Ok(()) } else { Err(invalid("password must have 8 to 1024 bytes")) }
}

/// A device: a UUID and a kind; name and app of at most 100 code points.
pub fn device(device: Option<Device>) -> Result<Device, Refusal> {
    let device = device.ok_or_else(|| invalid("device is missing: give its id (a UUID that it keeps) and kind"))?;
    if device.id.parse::<DeviceId>().is_err() {
        return Err(invalid("device.id must be a UUID in lower-case canonical text"));
    }
    if device.kind() == DeviceKind::Unspecified {
        return Err(invalid("device.kind must be DEVICE_KIND_WEB, _MOBILE, _DESKTOP or _SERVICE"));
    }
    if device.name.chars().count() > 100 || device.app.chars().count() > 100 {
        return Err(invalid("device.name and device.app take at most 100 characters"));
    }
    Ok(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_at_their_limits() {
        assert_eq!(handle("Alice_1").unwrap(), "alice_1");
        assert!(handle("ab").is_err() && handle(&"a".repeat(31)).is_err() && handle("앨리스").is_err());
        assert_eq!(name("  가나 ").unwrap(), "가나");
        assert_eq!(name("\u{1112}\u{1161}\u{11ab}").unwrap(), "한");
        assert!(name("  ").is_err() && name(&"a".repeat(51)).is_err() && name("a\nb").is_err());
        assert!(password("1234567").is_err() && password("12345678").is_ok());
        assert!(device(None).is_err() && device(Some(Device::default())).is_err());
    }
}
