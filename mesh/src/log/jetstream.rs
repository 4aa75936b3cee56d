//! In this change.
