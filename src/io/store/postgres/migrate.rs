//! Migrations under an advisory lock, each in a transaction of its own.

use super::errors::classify;
use super::pool::{Connection, Connections};
use super::{Failure, StoreError};
use crate::store::PostgresOptions;
use crate::store::migration::{APPLIED, POSTGRES, due};
use std::time::Duration;
use tokio_postgres::error::SqlState;

/// The lock of everybody who migrates a database of ours: `qcat` in ASCII.
const LOCK: &str = "SELECT pg_advisory_xact_lock(1902338420)";
const TABLE: &str = "CREATE TABLE schema_migrations (version bigint PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, \
                     applied_at timestamptz NOT NULL DEFAULT now())";
/// Longest run of one migration, waiting for another process that migrates included.
const LIMIT: Duration = Duration::from_secs(600);

/// Brings the schema up to date.
pub(super) async fn migrate(connections: &Connections, options: &PostgresOptions) -> Result<(), StoreError> {
    loop {
        let stepped = connections.with(LIMIT, |connection| Box::pin(async move { Ok(step(connection).await) })).await?;
        match stepped {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(Failure::Store(error)) => return Err(error),
            Err(Failure::Postgres(error)) => return Err(refusal(&error, options)),
        }
    }
}

/// Applies the next migration, if one is due.
async fn step(connection: &mut Connection) -> Result<bool, Failure> {
    let client = connection.client();
    let begin = format!("BEGIN; SET LOCAL statement_timeout = {}; {LOCK}", LIMIT.as_millis());
    client.batch_execute(&begin).await?;
    let stepped = locked(client).await;
    client.batch_execute(if stepped.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
    stepped
}

async fn locked(client: &tokio_postgres::Client) -> Result<bool, Failure> {
    let there = client.query_one("SELECT to_regclass('schema_migrations') IS NOT NULL", &[]).await?;
    if !there.try_get::<_, bool>(0)? {
        client.batch_execute(TABLE).await?;
    }
    let applied = read(client).await?;
    let Some(migration) = due(POSTGRES, &applied)? else { return Ok(false) };
    client.batch_execute(migration.sql).await?;
    let told = "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)";
    client.execute(told, &[&migration.version, &migration.name, &migration.checksum()]).await?;
    Ok(true)
}

async fn read(client: &tokio_postgres::Client) -> Result<Vec<(i64, String)>, tokio_postgres::Error> {
    let applied = client.query(APPLIED, &[]).await?;
    applied.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// What was applied, by version; nothing before the first migration. Changes nothing.
pub(super) async fn applied(connection: &mut Connection) -> Result<Vec<(i64, String)>, Failure> {
    let client = connection.client();
    let there = client.query_one("SELECT to_regclass('schema_migrations') IS NOT NULL", &[]).await?;
    Ok(if there.try_get::<_, bool>(0)? { read(client).await? } else { Vec::new() })
}

/// A migration that fails for another reason than an absent server fails again.
fn refusal(error: &tokio_postgres::Error, options: &PostgresOptions) -> StoreError {
    let known = classify(error);
    let code = error.code().cloned();
    if [Some(SqlState::INSUFFICIENT_PRIVILEGE), Some(SqlState::INVALID_SCHEMA_NAME)].contains(&code) {
        let (user, name) = (&options.user, &options.name);
        return StoreError::Refused(format!(
            "role {user} may not make tables in database {name}: {known}. Let it own the database (ALTER DATABASE {name} OWNER \
             TO {user}), or GRANT USAGE, CREATE ON SCHEMA public TO {user} in it"
        ));
    }
    match known {
        StoreError::Unavailable(_) => known,
        other => StoreError::Refused(format!("its schema cannot be made: {other}")),
    }
}
