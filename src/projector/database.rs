//! The work of component `database`: opens the store, and projects as soon as there is a lane.
//!
//! In: the configuration's `database`, and later where the facts come from. Out: the open store for whoever reads history, and the
//! projections. A database that is away at the start is tried again and again unless it is required; one whose schema or
//! rights do not fit needs a person, always.
//! Tests: `tests/projections.rs`.

use super::lag::{self, Lag};
use super::{Attendant, BACKOFF, Behind, Origin, Projector, ProjectorError, Retention};
use crate::config::model;
use qcat_actors::runtime::feed::Feed;
use qcat_actors::runtime::service::{ServiceContext, Work};
use qcat_io::store::{self, PostgresOptions, SqliteOptions, SslMode, Store, StoreError, StoreObserver, StoreOptions};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Connections that read a SQLite file.
const READERS: u32 = 4;
/// Without progress for this long beyond the database's own bounds the projections are stalled.
const BOUND: Duration = Duration::from_secs(60);

/// Is told of the store when it was opened.
pub type Opened = Arc<dyn Fn(&Arc<dyn Store>) + Send + Sync>;

/// The database of a daemon, on any thread. Clones are the same.
#[derive(Clone)]
pub struct Database {
    options: StoreOptions,
    observer: Arc<dyn StoreObserver>,
    store: Arc<watch::Sender<Option<Arc<dyn Store>>>>,
    origin: Arc<watch::Sender<Option<Origin>>>,
    opened: Option<Opened>,
    lag: Arc<Lag>,
}

/// How the configured database is reached.
pub fn options(config: &model::Database) -> StoreOptions {
    match config.kind {
        model::DatabaseKind::Sqlite => StoreOptions::Sqlite(SqliteOptions {
            path: config.path.clone(),
            readers: config.max_open_conns.clamp(1, READERS),
            acquire_timeout: config.connect_timeout,
            statement_timeout: config.statement_timeout,
        }),
        model::DatabaseKind::Postgres => StoreOptions::Postgres(PostgresOptions {
            host: config.host.clone(),
            port: config.port,
            user: config.user.clone(),
            password: config.password.clone(),
            name: config.name.clone(),
            ssl_mode: match config.ssl_mode {
                model::SslMode::Disable => SslMode::Disable,
                model::SslMode::Prefer => SslMode::Prefer,
                model::SslMode::Require => SslMode::Require,
                model::SslMode::VerifyCa => SslMode::VerifyCa { ca_file: config.ca_file.clone() },
                model::SslMode::VerifyFull => SslMode::VerifyFull { ca_file: config.ca_file.clone() },
            },
            max_open_conns: config.max_open_conns,
            max_idle_conns: config.max_idle_conns,
            conn_max_lifetime: config.conn_max_lifetime,
            conn_max_idle_time: config.conn_max_idle_time,
            connect_timeout: config.connect_timeout,
            statement_timeout: config.statement_timeout,
        }),
    }
}

impl Attendant for ServiceContext {
    fn beat(&self) {
        self.beat.beat();
    }

    fn fact(&self, name: &'static str, value: String) {
        self.facts.set(name, value);
    }
}

/// The work of component `database`.
pub fn work(database: &Database, config: &model::Database) -> Work {
    let database = database.clone();
    let bound = BOUND.saturating_add(config.connect_timeout).saturating_add(config.statement_timeout);
    Work::default().child("projections", bound, move |context: ServiceContext| {
        let database = database.clone();
        async move {
            let stop = context.stop.clone();
            database.work(&context, stop.wanted()).await.map_err(|error| error.to_string())
        }
    })
}

impl Database {
    /// Opens it for the first time. [`StoreError::Refused`] and the like end the start; [`StoreError::Unavailable`] does where it
    /// is `required`, else the daemon starts without and [`Database::work`] opens it later.
    pub async fn start(
        options: StoreOptions,
        observer: Arc<dyn StoreObserver>,
        required: bool,
    ) -> Result<Database, StoreError> {
        let store = match store::open(options.clone(), observer.clone()).await {
            Ok(store) => Some(store),
            Err(error) if error.is_retryable() && !required => {
                tracing::warn!(code = "database_away", %error, "the database is away; the daemon starts without it");
                None
            }
            Err(error) => return Err(error),
        };
        let (store, origin) = (Arc::new(watch::Sender::new(store)), Arc::new(watch::Sender::new(None)));
        Ok(Database { options, observer, store, origin, opened: None, lag: Arc::default() })
    }

    /// Tells somebody of the store: now if it is open, else when it is. To be called before [`Database::work`].
    #[must_use]
    pub fn tells(mut self, opened: Opened) -> Database {
        self.store().iter().for_each(|store| opened(store));
        self.opened = Some(opened);
        self
    }

    /// The store, once it was opened. Its calls come back as unavailable while the database is away.
    pub fn store(&self) -> Option<Arc<dyn Store>> {
        self.store.borrow().clone()
    }

    /// How far the projections are behind the lane; `None`: there is no lane, or it is not known what the database has.
    pub fn behind(&self) -> Option<Behind> {
        let origin = self.origin.borrow().clone()?;
        let has = origin.feed.had().filter(|seq| seq.0 > 0)?;
        Some(self.lag.behind(Instant::now(), origin.feed.passed().0, has.0))
    }

    /// There is a lane: projects what it does from here on, and what its journal holds before. Nothing that the store may not
    /// have leaves the journal meanwhile.
    pub fn project(&self, origin: Origin) {
        origin.feed.has(qcat_core::id::Seq(0));
        self.origin.send_replace(Some(origin));
    }

    /// Opens the store if it is not, waits for a lane, and projects until `stop`.
    pub async fn work(&self, on: &impl Attendant, stop: impl Future<Output = ()>) -> Result<(), ProjectorError> {
        let mut stop = std::pin::pin!(stop);
        let ready = async { Ok::<_, StoreError>((self.opened(on).await?, self.begun(on).await)) };
        let (store, origin) = tokio::select! {
            ready = ready => ready?,
            () = &mut stop => return Ok(()),
        };
        let feed = origin.feed.clone();
        let projecting = Projector { origin, store, retention: Retention::default() };
        tokio::select! {
            ended = projecting.run(on, stop) => ended,
            never = self.look_at(&feed) => match never {},
        }
    }

    async fn look_at(&self, feed: &Feed) -> Infallible {
        loop {
            self.lag.look(Instant::now(), feed.passed().0);
            tokio::time::sleep(lag::LOOK).await;
        }
    }

    async fn opened(&self, on: &impl Attendant) -> Result<Arc<dyn Store>, StoreError> {
        let mut pause = BACKOFF[0];
        loop {
            on.beat();
            if let Some(store) = self.store() {
                return Ok(store);
            }
            match store::open(self.options.clone(), self.observer.clone()).await {
                Ok(store) => {
                    tracing::info!(code = "database_back", "the database is open");
                    self.opened.iter().for_each(|opened| opened(&store));
                    self.store.send_replace(Some(store));
                }
                Err(error) if error.is_retryable() => {
                    on.fact("state", format!("away: {error}"));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(BACKOFF[1]);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn begun(&self, on: &impl Attendant) -> Origin {
        let mut origin = self.origin.subscribe();
        loop {
            on.beat();
            on.fact("state", "waits for the journal".to_owned());
            let there = tokio::time::timeout(BACKOFF[1], origin.wait_for(Option::is_some)).await;
            if let Ok(Ok(there)) = there
                && let Some(origin) = there.clone()
            {
                return origin;
            }
        }
    }
}
