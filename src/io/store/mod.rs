//! Stores: history in SQL. PostgreSQL or SQLite behind one trait, [`Store`].
//!
//! Orders, fills, positions, equity and decisions are *projections* of the journal: [`Store::apply`] writes a batch and its
//! checkpoint in one transaction, so a batch that is told again changes nothing and one that comes too early is refused. Users and
//! the audit log are not in the journal alone; [`Store::clear_projections`] leaves them. All calls are bounded in time and come
//! back by themselves once the database is there again; retrying is the caller's business. It may not decide anything.
//!
//! Everything both databases share is here: tables as data (`table`, `rows`), statements (`query`, `users`, `retention`),
//! migrations. [`postgres`] and [`sqlite`] only carry statements. Tests: `tests/store_*.rs`, one contract suite on both.

mod batch;
mod error;
mod look;
mod migration;
mod observe;
mod options;
pub mod postgres;
mod query;
pub mod rows;
pub(crate) mod runtime;
pub mod sqlite;
mod table;
mod users;
mod value;

pub use batch::{Applied, BATCH_MAX, Batch};
pub use error::StoreError;
pub use look::{Schema, look};
pub use observe::{NoObserver, PoolStats, StoreObserver};
pub use options::{PostgresOptions, SqliteOptions, SslMode, StoreOptions};
pub use query::{Filter, LIMIT_MAX, Page, Rows};
pub use rows::{AuditRow, DecisionRow, EquityRow, FillRow, OrderRow, PositionRow};
pub use users::{NotRole, Role, User, UserChange};
pub use value::{Decimal, Micros, NotDecimal, Text};

use batch::{Checked, PROJECTIONS};
use futures_util::future::BoxFuture;
use query::Statement;
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Instant;
use table::{Again, Row};
use value::{Kind, Value};

/// An answer to come. It may be awaited on any thread; dropping it does not undo what was asked.
pub type Answer<T> = BoxFuture<'static, Result<T, StoreError>>;

/// Rows that one statement of a deletion takes at most, so that nobody waits long for it.
const DELETE_CHUNK: i64 = 5_000;

/// Where an engine's projections are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last input that is told.
    pub seq: i64,
    /// Everything after this input is told; 0: from the beginning.
    pub from_seq: i64,
}

/// Opens the store that the options name: connects, checks and migrates its schema. [`StoreError::Unavailable`] may go away,
/// [`StoreError::Refused`] needs a person.
pub async fn open(options: StoreOptions, observer: Arc<dyn StoreObserver>) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match options {
        StoreOptions::Postgres(options) => Arc::new(postgres::Postgres::open(options, observer).await?),
        StoreOptions::Sqlite(options) => Arc::new(sqlite::Sqlite::open(options, observer).await?),
    })
}

/// A store of history. See the module's text.
pub trait Store: Send + Sync + 'static {
    /// `postgres` or `sqlite`.
    fn kind(&self) -> &'static str;
    /// Writes what a batch has beyond the checkpoint, and the checkpoint, in one transaction.
    fn apply(&self, batch: Batch) -> Answer<Applied>;
    /// Where an engine's projections are; `None` before the first batch.
    fn checkpoint(&self, engine: i64) -> Answer<Option<Checkpoint>>;
    /// Says that an engine's history begins after input `seq`, because the journal before it is gone. Only before its first
    /// batch: later it is a [`StoreError::Conflict`].
    fn start_after(&self, engine: i64, seq: i64) -> Answer<()>;
    /// Empties all projections and their checkpoints. Users and the audit log stay.
    fn clear_projections(&self) -> Answer<()>;

    /// Orders, by when they were first seen, newest first.
    fn orders(&self, filter: Filter, page: Page) -> Answer<Rows<OrderRow>>;
    /// Fills, newest first.
    fn fills(&self, filter: Filter, page: Page) -> Answer<Rows<FillRow>>;
    /// Positions of strategies, by account, strategy, symbol.
    fn positions(&self, filter: Filter, page: Page) -> Answer<Rows<PositionRow>>;
    /// What accounts were worth, newest first.
    fn equity(&self, filter: Filter, page: Page) -> Answer<Rows<EquityRow>>;
    /// Decisions, newest first.
    fn decisions(&self, filter: Filter, page: Page) -> Answer<Rows<DecisionRow>>;
    /// The audit log, newest first.
    fn audit(&self, filter: Filter, page: Page) -> Answer<Rows<AuditRow>>;

    /// Adds to the audit log what reached no engine. A row whose id is there stays as it is.
    fn record_audit(&self, rows: Vec<AuditRow>) -> Answer<()>;
    /// Deletes decisions before a time; says how many.
    fn delete_decisions(&self, before: Micros) -> Answer<u64>;
    /// Deletes samples of equity before a time; says how many.
    fn delete_equity(&self, before: Micros) -> Answer<u64>;

    /// Adds a user with a password's PHC hash; [`StoreError::Conflict`] when the name is taken.
    fn add_user(&self, name: &str, hash: SecretString, role: Role, at: Micros) -> Answer<()>;
    /// The user of a name, whatever its case.
    fn user(&self, name: &str) -> Answer<Option<User>>;
    /// All users, by name.
    fn users(&self) -> Answer<Vec<User>>;
    /// Changes a user and voids the tokens that it has; `false` when there is none of that name.
    fn change_user(&self, name: &str, change: UserChange, at: Micros) -> Answer<bool>;

    /// Asks the database for an answer.
    fn ping(&self) -> Answer<()>;
    /// The connections at this moment.
    fn stats(&self) -> PoolStats;
    /// Ends what runs, then closes all connections. What is asked afterwards is refused as unavailable.
    fn close(&self) -> Answer<()>;
}

/// What each of the two databases does: carry statements.
pub(crate) trait Backend: Send + Sync + 'static {
    const KIND: &'static str;
    fn observer(&self) -> &Arc<dyn StoreObserver>;
    /// The rows that a statement answers with.
    fn fetch(&self, statement: Statement) -> Answer<Vec<Vec<Value>>>;
    /// Runs statements in one transaction; how many rows each of them changed.
    fn execute(&self, statements: Vec<Statement>) -> Answer<Vec<u64>>;
    fn write(&self, batch: Checked) -> Answer<Applied>;
    fn pool(&self) -> PoolStats;
    fn shut(&self) -> Answer<()>;
    fn again(&self) -> Self;
}

/// Times an answer.
fn timed<B: Backend, T: Send + 'static>(
    backend: &B,
    name: &'static str,
    answer: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Answer<T> {
    let observer = backend.observer().clone();
    Box::pin(async move {
        let start = Instant::now();
        let answer = answer.await;
        observer.query(name, start.elapsed(), answer.as_ref().err());
        answer
    })
}

fn read<B: Backend, R: Row>(backend: &B, filter: Filter, page: Page) -> Answer<Rows<R>> {
    let found = query::select(&R::TABLE, &filter, &page).map(|statement| backend.fetch(statement));
    timed(backend, R::TABLE.name, async move { query::page(&filter, &page, found?.await?) })
}

fn delete<B: Backend, R: Row>(backend: &B, name: &'static str, before: Micros) -> Answer<u64> {
    let (table, key, store) = (R::TABLE.name, R::TABLE.key.join(", "), backend.again());
    let sql =
        format!("DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE at < $1 ORDER BY at LIMIT $2)");
    timed(backend, name, async move {
        let mut deleted = 0;
        loop {
            let params = vec![Value::Time(before), Value::Int(DELETE_CHUNK)];
            let chunk = store.execute(vec![Statement::new(sql.as_str(), params)]).await?.iter().sum::<u64>();
            deleted += chunk;
            if chunk < DELETE_CHUNK as u64 {
                return Ok(deleted);
            }
        }
    })
}

fn one_checkpoint(values: Vec<Vec<Value>>) -> Result<Option<Checkpoint>, StoreError> {
    match values.first().map(Vec::as_slice) {
        None => Ok(None),
        Some([Value::Int(seq), Value::Int(from_seq)]) => Ok(Some(Checkpoint { seq: *seq, from_seq: *from_seq })),
        Some(_) => Err(StoreError::Bug("a checkpoint is not two numbers".to_owned())),
    }
}

impl<B: Backend> Store for B {
    fn kind(&self) -> &'static str {
        B::KIND
    }

    fn apply(&self, batch: Batch) -> Answer<Applied> {
        let written = batch.check().map(|batch| self.write(batch));
        timed(self, "apply", async move { written?.await })
    }

    fn checkpoint(&self, engine: i64) -> Answer<Option<Checkpoint>> {
        let sql = "SELECT seq, from_seq FROM checkpoints WHERE engine = $1".to_owned();
        let found = self.fetch(Statement { sql, params: vec![Value::Int(engine)], kinds: vec![Kind::Int; 2] });
        timed(self, "checkpoint", async move { one_checkpoint(found.await?) })
    }

    fn start_after(&self, engine: i64, seq: i64) -> Answer<()> {
        let sql = "INSERT INTO checkpoints (engine, seq, from_seq) VALUES ($1, $2, $2) ON CONFLICT (engine) DO NOTHING";
        let done = self.execute(vec![Statement::new(sql, vec![Value::Int(engine), Value::Int(seq.max(0))])]);
        timed(self, "start_after", async move {
            let begun = || StoreError::Conflict(format!("the history of engine {engine} has begun already"));
            if done.await?.first() == Some(&1) { Ok(()) } else { Err(begun()) }
        })
    }

    fn clear_projections(&self) -> Answer<()> {
        let each = |table: &&str| Statement::new(format!("DELETE FROM {table}"), Vec::new());
        let done = self.execute(PROJECTIONS.iter().map(each).collect());
        timed(self, "clear_projections", async move { done.await.map(drop) })
    }

    fn orders(&self, filter: Filter, page: Page) -> Answer<Rows<OrderRow>> {
        read(self, filter, page)
    }

    fn fills(&self, filter: Filter, page: Page) -> Answer<Rows<FillRow>> {
        read(self, filter, page)
    }

    fn positions(&self, filter: Filter, page: Page) -> Answer<Rows<PositionRow>> {
        read(self, filter, page)
    }

    fn equity(&self, filter: Filter, page: Page) -> Answer<Rows<EquityRow>> {
        read(self, filter, page)
    }

    fn decisions(&self, filter: Filter, page: Page) -> Answer<Rows<DecisionRow>> {
        read(self, filter, page)
    }

    fn audit(&self, filter: Filter, page: Page) -> Answer<Rows<AuditRow>> {
        read(self, filter, page)
    }

    fn record_audit(&self, rows: Vec<AuditRow>) -> Answer<()> {
        let table = const { &AuditRow::TABLE };
        assert!(table.again == Again::Stays, "a line of the audit log never changes");
        let places: Vec<String> = (1..=table.columns.len()).map(|n| format!("${n}")).collect();
        let (names, places, conflict) = (table.names(), places.join(", "), table.on_conflict());
        let sql = format!("INSERT INTO {} ({names}) VALUES ({places}) {conflict}", table.name);
        let done = self.execute(rows.into_iter().map(|row| Statement::new(sql.as_str(), row.into_values())).collect());
        timed(self, "record_audit", async move { done.await.map(drop) })
    }

    fn delete_decisions(&self, before: Micros) -> Answer<u64> {
        delete::<B, DecisionRow>(self, "delete_decisions", before)
    }

    fn delete_equity(&self, before: Micros) -> Answer<u64> {
        delete::<B, EquityRow>(self, "delete_equity", before)
    }

    fn add_user(&self, name: &str, hash: SecretString, role: Role, at: Micros) -> Answer<()> {
        let done = users::add(name, &hash, role, at).map(|statement| self.execute(vec![statement]));
        let taken = StoreError::Conflict(format!("a user {name} is there already"));
        timed(self, "add_user", async move { if done?.await?.first() == Some(&1) { Ok(()) } else { Err(taken) } })
    }

    fn user(&self, name: &str) -> Answer<Option<User>> {
        let found = users::get(name).map(|statement| self.fetch(statement));
        timed(self, "user", async move {
            let Some(found) = found else { return Ok(None) };
            found.await?.into_iter().next().map(users::read).transpose()
        })
    }

    fn users(&self) -> Answer<Vec<User>> {
        let found = self.fetch(users::list());
        timed(self, "users", async move { found.await?.into_iter().map(users::read).collect() })
    }

    fn change_user(&self, name: &str, change: UserChange, at: Micros) -> Answer<bool> {
        let done = users::change(name, &change, at).map(|statement| self.execute(vec![statement]));
        timed(self, "change_user", async move {
            let Some(done) = done else { return Ok(false) };
            Ok(done.await?.first() == Some(&1))
        })
    }

    fn ping(&self) -> Answer<()> {
        let found = self.fetch(Statement {
            sql: "SELECT CAST(1 AS bigint)".to_owned(),
            params: Vec::new(),
            kinds: vec![Kind::Int],
        });
        timed(self, "ping", async move { found.await.map(drop) })
    }

    fn stats(&self) -> PoolStats {
        self.pool()
    }

    fn close(&self) -> Answer<()> {
        self.shut()
    }
}
