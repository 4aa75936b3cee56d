//! notify-svc: notifications for those who were not reached. Not there yet: this crate holds only its place.
