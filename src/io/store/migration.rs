//! Migrations: embedded SQL files, each applied once, in order, in a transaction, with its check sum. What is applied never changes,
//! and a schema that is newer than the program is refused.
//!
//! Tests: the list against the folders; an altered check sum, a newer schema and an unfinished one in the contract suite.

use super::StoreError;
use sha2::{Digest, Sha256};

/// A migration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Migration {
    pub version: i64,
    pub name: &'static str,
    pub sql: &'static str,
}

macro_rules! migrations {
    ($folder:literal: $($version:literal $name:literal),*) => {
        &[$(Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../../../migrations/", $folder, "/V", $version, "__", $name, ".sql")),
        }),*]
    };
}

pub(crate) const POSTGRES: &[Migration] = migrations!("postgres": 1 "base");
pub(crate) const SQLITE: &[Migration] = migrations!("sqlite": 1 "base");

/// Where it is kept what was applied.
pub(crate) const APPLIED: &str = "SELECT version, checksum FROM schema_migrations ORDER BY version";

impl Migration {
    /// What the file's content comes to.
    pub(crate) fn checksum(&self) -> String {
        hex::encode(Sha256::digest(self.sql.as_bytes()))
    }
}

/// The migration that is due after those that were applied, `None` when nothing is; or why the schema is refused.
pub(crate) fn due(
    known: &'static [Migration],
    applied: &[(i64, String)],
) -> Result<Option<&'static Migration>, StoreError> {
    let newest = known.last().map_or(0, |migration| migration.version);
    if let Some((version, _)) = applied.iter().find(|(version, _)| *version > newest) {
        return Err(StoreError::Refused(format!(
            "its schema has version {version}, this program knows {newest} at most: run the program that made it, or a newer one"
        )));
    }
    for (at, migration) in known.iter().enumerate() {
        match applied.get(at) {
            None => return Ok(Some(migration)),
            Some((version, _)) if *version != migration.version => {
                let (there, wanted) = (version, migration.version);
                return Err(StoreError::Refused(format!("its schema has version {there} where {wanted} belongs")));
            }
            Some((version, checksum)) if *checksum != migration.checksum() => {
                return Err(StoreError::Refused(format!(
                    "version {version} ({}) of its schema was made by another text than this program has: its check sum differs",
                    migration.name
                )));
            }
            Some(_) => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_embedded_in_order() {
        for (folder, known) in [("postgres", POSTGRES), ("sqlite", SQLITE)] {
            let path = format!("{}/../../migrations/{folder}", env!("CARGO_MANIFEST_DIR"));
            let files = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut files: Vec<String> = files.collect();
            let version = |file: &String| file[1..].split_once("__").unwrap().0.parse::<i64>().unwrap();
            files.sort_by_key(version);
            let listed: Vec<String> = known.iter().map(|m| format!("V{}__{}.sql", m.version, m.name)).collect();
            assert_eq!(files, listed);
            assert!(known.iter().enumerate().all(|(at, migration)| migration.version == at as i64 + 1));
        }
        let names = |known: &[Migration]| known.iter().map(|m| m.name).collect::<Vec<_>>();
        assert_eq!(names(POSTGRES), names(SQLITE), "one schema in two dialects");
    }
}
