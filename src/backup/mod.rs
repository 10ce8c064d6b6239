//! Backups of stores, taken while they are written, kept without keeping the same bytes twice.
//!
//! [`BackupFolder`] is a directory with any number of backups. Each is the store after one of its commits.
//! Files are stored under the hash of what is in them, so backups share what they have in common; a
//! backup exists once its list does, which appears whole by one rename.

mod folder;
mod manifest;
mod restore;

pub use folder::{Backup, BackupFolder, BackupList};
