//! The store in PostgreSQL: tokio-postgres connections in a bb8 pool, on a thread of their own.
//!
//! A call takes a connection, runs, and gives it back; one that failed or ran out of time is closed, never reused, so no
//! transaction of one caller is ever seen by another. Batches go in with one `unnest` per table and take two round trips.

mod errors;
mod migrate;
mod pool;
mod tls;

use super::batch::{Applied, Checked, TableRows};
use super::query::Statement;
use super::runtime::Background;
use super::table::{Again, Table};
use super::value::{Kind, Value};
use super::{Answer, Backend, PoolStats, PostgresOptions, StoreError, StoreObserver};
use errors::classify;
use futures_util::future::{BoxFuture, try_join, try_join_all};
use pool::{Connection, Connections};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

/// The store in PostgreSQL.
#[derive(Clone)]
pub struct Postgres(Arc<Inner>);

struct Inner {
    connections: Connections,
    background: Background,
    observer: Arc<dyn StoreObserver>,
    limit: Duration,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Postgres").field(&self.0.connections.stats()).finish()
    }
}

impl Postgres {
    /// Connects and migrates. See [`super::open`].
    pub async fn open(options: PostgresOptions, observer: Arc<dyn StoreObserver>) -> Result<Postgres, StoreError> {
        let settings = pool::settings(&options)?;
        let background = Background::start("qcat-postgres")
            .map_err(|e| StoreError::Unavailable(format!("no thread for it: {e}")))?;
        // The server's own limit comes first; this one is for a server or a network that is silent.
        let limit = options.statement_timeout.saturating_add(Duration::from_secs(1));
        let opened = background.run(async move {
            let connections = Connections::new(&options, settings);
            migrate::migrate(&connections, &options).await?;
            Ok::<_, StoreError>(connections)
        });
        let connections = opened.await.map_err(StoreError::Bug)??;
        Ok(Postgres(Arc::new(Inner { connections, background, observer, limit })))
    }

    /// Works with a connection, on the background thread.
    fn with<T, W>(&self, work: W) -> Answer<T>
    where
        T: Send + 'static,
        W: for<'a> FnOnce(&'a mut Connection) -> BoxFuture<'a, Result<T, Failure>> + Send + 'static,
    {
        let (connections, limit) = (self.0.connections.clone(), self.0.limit);
        let done = self.0.background.run(async move { connections.with(limit, work).await });
        Box::pin(async move { done.await.map_err(StoreError::Unavailable)? })
    }
}

/// Connects once and reads which migrations were applied.
pub(super) async fn applied(options: PostgresOptions) -> Result<Vec<(i64, String)>, StoreError> {
    let settings = pool::settings(&options)?;
    let connections = Connections::new(&options, settings);
    let limit = options.statement_timeout.saturating_add(Duration::from_secs(1));
    let found = connections.with(limit, |connection| Box::pin(migrate::applied(connection))).await;
    connections.close(Duration::from_secs(1)).await;
    found
}

/// What ends a piece of work.
enum Failure {
    Postgres(tokio_postgres::Error),
    Store(StoreError),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Failure {
        Failure::Postgres(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Store(error)
    }
}

impl Failure {
    fn into_store(self) -> StoreError {
        match self {
            Failure::Postgres(error) => classify(&error),
            Failure::Store(error) => error,
        }
    }
}

fn params(values: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

async fn fetch(connection: &mut Connection, statement: Statement) -> Result<Vec<Vec<Value>>, Failure> {
    let prepared = connection.prepare(&statement.sql).await?;
    let found = connection.client().query(&prepared, &params(&statement.params)).await?;
    let row = |row: &tokio_postgres::Row| (0..row.len()).map(|at| row.try_get(at)).collect::<Result<Vec<Value>, _>>();
    Ok(found.iter().map(row).collect::<Result<_, _>>()?)
}

async fn execute(connection: &mut Connection, statements: Vec<Statement>) -> Result<Vec<u64>, Failure> {
    let mut prepared = Vec::with_capacity(statements.len());
    for statement in &statements {
        prepared.push(connection.prepare(&statement.sql).await?);
    }
    if let ([statement], [prepared]) = (statements.as_slice(), prepared.as_slice()) {
        return Ok(vec![connection.client().execute(prepared, &params(&statement.params)).await?]);
    }
    let client = connection.client();
    client.batch_execute("BEGIN").await?;
    let mut changed = Vec::with_capacity(statements.len());
    for (statement, prepared) in statements.iter().zip(&prepared) {
        changed.push(client.execute(prepared, &params(&statement.params)).await?);
    }
    client.batch_execute("COMMIT").await?;
    Ok(changed)
}

/// Locks the checkpoint and says where it is.
const LOCK: &str = "INSERT INTO checkpoints (engine, seq, from_seq) VALUES ($1, 0, 0) \
                    ON CONFLICT (engine) DO UPDATE SET engine = excluded.engine RETURNING seq";
const MOVE: &str = "UPDATE checkpoints SET seq = $2 WHERE engine = $1";

async fn apply(connection: &mut Connection, batch: Checked) -> Result<Applied, Failure> {
    let (engine, last) = (batch.engine, batch.last);
    let tables: Vec<&'static Table> = batch.tables.iter().map(|rows| rows.table).collect();
    let checkpoint = begin(connection, engine).await?;
    let fresh = match batch.beyond(checkpoint) {
        Ok(Some(fresh)) => fresh,
        nothing => {
            connection.client().batch_execute("ROLLBACK").await?;
            return nothing.map(|_| Applied::Known(checkpoint)).map_err(Failure::Store);
        }
    };
    let rows = fresh.iter().map(|table| table.rows.len()).sum();
    let columns: Vec<Columns> = fresh.into_iter().map(|TableRows { table, rows }| transposed(table, rows)).collect();
    // Rows that never change are there already only when a history is told anew: it is dear to look for them every time.
    match write(connection, &tables, &columns, [engine, last], false).await {
        Err(Failure::Postgres(error)) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
            connection.client().batch_execute("ROLLBACK").await?;
            if begin(connection, engine).await? != checkpoint {
                connection.client().batch_execute("ROLLBACK").await?;
                return Err(StoreError::Unavailable("another process moved the checkpoint".to_owned()).into());
            }
            write(connection, &tables, &columns, [engine, last], true).await?;
        }
        written => written?,
    }
    Ok(Applied::Done { rows })
}

/// Begins a transaction and locks the checkpoint of an engine; says where it is.
async fn begin(connection: &mut Connection, engine: i64) -> Result<i64, Failure> {
    let lock = connection.prepare(LOCK).await?;
    let client = connection.client();
    // Requests are sent in the order in which their futures are polled: both in one round trip.
    let (_, found) = try_join(client.batch_execute("BEGIN"), client.query_one(&lock, &[&engine])).await?;
    Ok(found.try_get(0)?)
}

/// Writes the rows, moves the checkpoint and commits, in one round trip. `known`: some of the rows may be there.
async fn write(
    connection: &mut Connection,
    tables: &[&'static Table],
    columns: &[Columns],
    [engine, last]: [i64; 2],
    known: bool,
) -> Result<(), Failure> {
    let advance = connection.prepare(MOVE).await?;
    let mut writes = Vec::with_capacity(columns.len());
    for Columns { name, columns } in columns {
        let table = tables.iter().find(|table| table.name == *name).expect("columns come from the batch's tables");
        let params: Vec<&(dyn ToSql + Sync)> = columns.iter().map(|column| column as &(dyn ToSql + Sync)).collect();
        writes.push((connection.prepare(&insertion(table, known)).await?, params));
    }
    let client = connection.client();
    let rows = writes.iter().map(|(statement, params)| client.execute(statement, params));
    let moved = [&engine as &(dyn ToSql + Sync), &last];
    // If one of them fails the transaction is void, and its COMMIT is answered by a rollback.
    let ends = try_join(client.execute(&advance, &moved), client.batch_execute("COMMIT"));
    try_join(try_join_all(rows), ends).await?;
    Ok(())
}

/// Inserts rows that come as one array for each column.
fn insertion(table: &Table, known: bool) -> String {
    let array = |(at, column): (usize, &super::table::Column)| {
        let kind = match column.kind {
            Kind::Int => "bigint",
            Kind::Text => "text",
            Kind::Decimal => "numeric",
            Kind::Time => "timestamptz",
            Kind::Bool => "boolean",
        };
        format!("${}::{kind}[]", at + 1)
    };
    let arrays = table.columns.iter().enumerate().map(array).collect::<Vec<_>>().join(", ");
    let conflict = if known || table.again != Again::Stays { table.on_conflict() } else { String::new() };
    format!("INSERT INTO {} ({}) SELECT * FROM unnest({arrays}) {conflict}", table.name, table.names())
}

/// Rows of one table, as one array for each column.
struct Columns {
    name: &'static str,
    columns: Vec<Vec<Value>>,
}

fn transposed(table: &Table, rows: Vec<Vec<Value>>) -> Columns {
    let mut columns: Vec<Vec<Value>> = table.columns.iter().map(|_| Vec::with_capacity(rows.len())).collect();
    for row in rows {
        columns.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
    }
    Columns { name: table.name, columns }
}

impl Backend for Postgres {
    const KIND: &'static str = "postgres";

    fn observer(&self) -> &Arc<dyn StoreObserver> {
        &self.0.observer
    }

    fn fetch(&self, statement: Statement) -> Answer<Vec<Vec<Value>>> {
        self.with(|connection| Box::pin(fetch(connection, statement)))
    }

    fn execute(&self, statements: Vec<Statement>) -> Answer<Vec<u64>> {
        self.with(|connection| Box::pin(execute(connection, statements)))
    }

    fn write(&self, batch: Checked) -> Answer<Applied> {
        self.with(|connection| Box::pin(apply(connection, batch)))
    }

    fn pool(&self) -> PoolStats {
        self.0.connections.stats()
    }

    fn shut(&self) -> Answer<()> {
        let (connections, limit) = (self.0.connections.clone(), self.0.limit);
        let done = self.0.background.run(async move { connections.close(limit).await });
        Box::pin(async move { done.await.map_err(StoreError::Unavailable) })
    }

    fn again(&self) -> Postgres {
        self.clone()
    }
}
