//! The store in a SQLite file.
//!
//! One thread writes and a few read, each with a connection of its own; calls are jobs in bounded queues, so no async thread ever
//! waits for the disk. The file is in WAL mode: readers see the last whole transaction while a batch goes in. A commit is on the
//! disk before it is told (`synchronous = FULL`): users are in no journal.

mod worker;

use super::batch::{Applied, Checked};
use super::migration::{APPLIED, SQLITE, due};
use super::query::Statement;
use super::table::Table;
use super::value::Value;
use super::{Answer, Backend, PoolStats, SqliteOptions, StoreError, StoreObserver};
use rusqlite::{Connection, ErrorCode, TransactionBehavior, params_from_iter};
use std::sync::Arc;
use worker::Workers;

/// The store in a SQLite file.
#[derive(Clone)]
pub struct Sqlite(Arc<Inner>);

struct Inner {
    writer: Workers,
    readers: Workers,
    observer: Arc<dyn StoreObserver>,
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Sqlite").field(&self.pool()).finish()
    }
}

impl Sqlite {
    /// Opens the file, makes it if it is not there, and migrates it. See [`super::open`].
    pub async fn open(options: SqliteOptions, observer: Arc<dyn StoreObserver>) -> Result<Sqlite, StoreError> {
        if !(1..=16).contains(&options.readers)
            || options.acquire_timeout.is_zero()
            || options.statement_timeout.is_zero()
        {
            return Err(StoreError::Invalid("readers are 1 to 16, timeouts above zero".to_owned()));
        }
        let writer = Workers::start("qcat-sqlite-w", 1, &options, worker::writing).await?;
        writer.run(|connection| Ok(migrate(connection))).await??;
        // Only now: a reader cannot make the file.
        let readers = Workers::start("qcat-sqlite-r", options.readers, &options, worker::reading).await?;
        Ok(Sqlite(Arc::new(Inner { writer, readers, observer })))
    }
}

/// SQLite's errors, sorted by what the caller can do.
fn classify(error: &rusqlite::Error) -> StoreError {
    let text = error.to_string();
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::OperationInterrupted => StoreError::Unavailable("the statement took too long".to_owned()),
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::SystemIoFailure
            | ErrorCode::DiskFull
            | ErrorCode::OutOfMemory
            | ErrorCode::OperationAborted
            | ErrorCode::FileLockingProtocolFailed => StoreError::Unavailable(text),
            ErrorCode::ConstraintViolation => StoreError::Conflict(text),
            ErrorCode::TooBig | ErrorCode::TypeMismatch => StoreError::Invalid(text),
            ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::SchemaChanged => StoreError::Refused(text),
            _ => StoreError::Bug(text),
        },
        _ => StoreError::Bug(text),
    }
}

/// Reads which migrations were applied; a file that is not there has none, and is not made.
pub(super) fn applied(options: &SqliteOptions) -> Result<Vec<(i64, String)>, StoreError> {
    if !options.path.exists() {
        return Ok(Vec::new());
    }
    let read = || {
        let connection = Connection::open_with_flags(&options.path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(options.acquire_timeout)?;
        let there = "SELECT count(*) FROM sqlite_schema WHERE name = 'schema_migrations'";
        if connection.query_row(there, [], |row| row.get::<_, i64>(0))? == 0 {
            return Ok(Vec::new());
        }
        let mut statement = connection.prepare(APPLIED)?;
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    read().map_err(|error| classify(&error))
}

/// Brings the schema up to date. Another process may be at it: the lock is taken before looking.
fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    loop {
        let step = |connection: &mut Connection| -> rusqlite::Result<Result<bool, StoreError>> {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(
                "CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT \
                 NOT NULL, applied_at INTEGER NOT NULL) STRICT",
            )?;
            let mut statement = transaction.prepare(APPLIED)?;
            let applied =
                statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<Vec<_>, _>>()?;
            drop(statement);
            let migration = match due(SQLITE, &applied) {
                Ok(Some(migration)) => migration,
                Ok(None) => return Ok(Ok(false)),
                Err(refused) => return Ok(Err(refused)),
            };
            transaction.execute_batch(migration.sql)?;
            transaction.execute(
                "INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES (?1, ?2, ?3, unixepoch() * 1000000)",
                (migration.version, migration.name, migration.checksum()),
            )?;
            transaction.commit()?;
            Ok(Ok(true))
        };
        let stepped = step(connection).map_err(|error| match classify(&error) {
            unavailable @ StoreError::Unavailable(_) => unavailable,
            other => StoreError::Refused(format!("its schema cannot be made: {other}")),
        });
        if !stepped?? {
            return Ok(());
        }
    }
}

/// SQLite's own spelling of numbered parameters.
fn dialect(sql: &str) -> String {
    sql.replace('$', "?")
}

fn fetch(connection: &Connection, statement: &Statement) -> rusqlite::Result<Vec<Vec<Value>>> {
    let mut prepared = connection.prepare_cached(&dialect(&statement.sql))?;
    let mut rows = prepared.query(params_from_iter(&statement.params))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let value = |(at, kind): (usize, _)| {
            let raw = row.get_ref(at)?;
            let wrong = || rusqlite::Error::InvalidColumnType(at, format!("column {at}"), raw.data_type());
            Value::from_sqlite(kind, raw).ok_or_else(wrong)
        };
        found.push(statement.kinds.iter().copied().enumerate().map(value).collect::<rusqlite::Result<_>>()?);
    }
    Ok(found)
}

fn execute(connection: &mut Connection, statements: &[Statement]) -> rusqlite::Result<Vec<u64>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut changed = Vec::with_capacity(statements.len());
    for statement in statements {
        let mut prepared = transaction.prepare_cached(&dialect(&statement.sql))?;
        changed.push(prepared.execute(params_from_iter(&statement.params))? as u64);
    }
    transaction.commit()?;
    Ok(changed)
}

fn insertion(table: &Table) -> String {
    let places = (1..=table.columns.len()).map(|n| format!("?{n}")).collect::<Vec<_>>().join(", ");
    format!("INSERT INTO {} ({}) VALUES ({places}) {}", table.name, table.names(), table.on_conflict())
}

fn apply(connection: &mut Connection, batch: Checked) -> rusqlite::Result<Result<Applied, StoreError>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (engine, last) = (batch.engine, batch.last);
    let start = "INSERT INTO checkpoints (engine, seq, from_seq) VALUES (?1, 0, 0) ON CONFLICT (engine) DO NOTHING";
    transaction.prepare_cached(start)?.execute([engine])?;
    let at = "SELECT seq FROM checkpoints WHERE engine = ?1";
    let checkpoint: i64 = transaction.prepare_cached(at)?.query_row([engine], |row| row.get(0))?;
    let fresh = match batch.beyond(checkpoint) {
        Ok(Some(fresh)) => fresh,
        nothing => return Ok(nothing.map(|_| Applied::Known(checkpoint))),
    };
    let mut rows = 0;
    for table in &fresh {
        let mut prepared = transaction.prepare_cached(&insertion(table.table))?;
        for row in &table.rows {
            prepared.execute(params_from_iter(row))?;
        }
        rows += table.rows.len();
    }
    transaction.prepare_cached("UPDATE checkpoints SET seq = ?2 WHERE engine = ?1")?.execute([engine, last])?;
    transaction.commit()?;
    Ok(Ok(Applied::Done { rows }))
}

impl Backend for Sqlite {
    const KIND: &'static str = "sqlite";

    fn observer(&self) -> &Arc<dyn StoreObserver> {
        &self.0.observer
    }

    fn fetch(&self, statement: Statement) -> Answer<Vec<Vec<Value>>> {
        self.0.readers.run(move |connection| fetch(connection, &statement))
    }

    fn execute(&self, statements: Vec<Statement>) -> Answer<Vec<u64>> {
        self.0.writer.run(move |connection| execute(connection, &statements))
    }

    fn write(&self, batch: Checked) -> Answer<Applied> {
        let written = self.0.writer.run(move |connection| apply(connection, batch));
        Box::pin(async move { written.await? })
    }

    fn pool(&self) -> PoolStats {
        let (writer, readers) = (self.0.writer.stats(), self.0.readers.stats());
        PoolStats {
            max: writer.max + readers.max,
            open: writer.open + readers.open,
            idle: writer.idle + readers.idle,
            in_use: writer.in_use + readers.in_use,
            waiting: writer.waiting + readers.waiting,
            waits: writer.waits + readers.waits,
            timeouts: writer.timeouts + readers.timeouts,
            waited: writer.waited + readers.waited,
        }
    }

    fn shut(&self) -> Answer<()> {
        let (readers, writer) = (self.0.readers.stop(), self.0.writer.stop());
        Box::pin(async move {
            readers.await;
            // The last to close folds the write-ahead log into the file.
            writer.await;
            Ok(())
        })
    }

    fn again(&self) -> Sqlite {
        self.clone()
    }
}
