//! How far a database's schema is, without changing anything: what a person asks before a start.

use super::migration::{self, Migration};
use super::{StoreError, StoreOptions, postgres, sqlite};

/// How far a schema is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// There is none: it is made when the store is opened.
    Missing,
    /// Older than the program: the store brings it up to date when it is opened.
    Older {
        /// What the database has.
        found: i64,
        /// What this program has.
        newest: i64,
    },
    /// That of this program.
    Current(i64),
}

/// Connects and looks. Errors are those that [`super::open`] would give: a schema that it would refuse is refused here.
pub async fn look(options: StoreOptions) -> Result<Schema, StoreError> {
    match options {
        StoreOptions::Postgres(options) => schema(migration::POSTGRES, &postgres::applied(options).await?),
        StoreOptions::Sqlite(options) => schema(migration::SQLITE, &sqlite::applied(&options)?),
    }
}

fn schema(known: &'static [Migration], applied: &[(i64, String)]) -> Result<Schema, StoreError> {
    let newest = known.last().map_or(0, |migration| migration.version);
    Ok(match (migration::due(known, applied)?, applied.last()) {
        (None, _) => Schema::Current(newest),
        (Some(_), None) => Schema::Missing,
        (Some(_), Some((found, _))) => Schema::Older { found: *found, newest },
    })
}

#[cfg(test)]
mod tests {
    use super::super::{NoObserver, SqliteOptions, open};
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    fn options(path: std::path::PathBuf) -> StoreOptions {
        let (acquire_timeout, statement_timeout) = (Duration::from_secs(5), Duration::from_secs(5));
        StoreOptions::Sqlite(SqliteOptions { path, readers: 1, acquire_timeout, statement_timeout })
    }

    #[tokio::test]
    async fn a_file_is_looked_at_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qcat.db");
        assert_eq!(look(options(path.clone())).await, Ok(Schema::Missing));
        assert!(!path.exists(), "nothing is made");
        let store = open(options(path.clone()), Arc::new(NoObserver)).await.unwrap();
        store.close().await.unwrap();
        let newest = migration::SQLITE.last().unwrap().version;
        assert_eq!(look(options(path.clone())).await, Ok(Schema::Current(newest)));
        let database = rusqlite::Connection::open(&path).unwrap();
        database.execute("UPDATE schema_migrations SET version = 1000", []).unwrap();
        drop(database);
        assert!(look(options(path.clone())).await.is_err_and(|error| error.to_string().contains("version 1000")));
        let other = folder.path().join("text");
        std::fs::write(&other, "not a database at all, but long enough to be looked at".repeat(99)).unwrap();
        assert!(look(options(other)).await.is_err());
    }

    #[test]
    fn older_schemas_are_told_from_missing_ones() {
        let known = migration::SQLITE;
        assert_eq!(schema(known, &[]), Ok(Schema::Missing));
        let all: Vec<(i64, String)> = known.iter().map(|m| (m.version, m.checksum())).collect();
        assert_eq!(schema(known, &all), Ok(Schema::Current(known.len() as i64)));
        if known.len() > 1 {
            let newest = known.len() as i64;
            assert_eq!(schema(known, &all[..1]), Ok(Schema::Older { found: 1, newest }));
        }
    }
}
