//! Daemons that trade against the simulator while their facts are projected: afterwards the rows are what a fold of the whole
//! journal gives, whatever happened to the database or to the projector meanwhile, and trading never waited for either.
#![allow(clippy::unwrap_used)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/inside.rs"]
mod inside;
#[path = "support/postgres.rs"]
mod postgres;

use daemon::until;
use inside::{World, run};
use postgres::Postgres;
use qcat::projector::database::Database;
use qcat::projector::rows::Builder;
use qcat::projector::{Attendant, Origin, Projector, ProjectorError, Retention};
use qcat::wire::Composition;
use qcat_actors::runtime::feed::Feed;
use qcat_core::id::Seq;
use qcat_core::strategy::registry::Registry;
use qcat_io::disk::RealDisk;
use qcat_io::journal::Follower;
use qcat_io::store::{
    Checkpoint, DecisionRow, EquityRow, FillRow, Filter, Micros, NoObserver, OrderRow, Page, PositionRow, Role,
    SqliteOptions, Store, StoreOptions, open,
};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Remembers what operators would see.
#[derive(Clone, Default)]
struct Notes(Rc<RefCell<BTreeSet<(&'static str, String)>>>);

impl Notes {
    fn has(&self, name: &str, begins: &str) -> bool {
        self.0.borrow().iter().any(|(fact, value)| *fact == name && value.starts_with(begins))
    }
}

impl Attendant for Notes {
    fn beat(&self) {}

    fn fact(&self, name: &'static str, value: String) {
        self.0.borrow_mut().insert((name, value));
    }
}

struct Projecting {
    task: JoinHandle<Result<(), ProjectorError>>,
    stop: Rc<Notify>,
    notes: Notes,
}

impl Projecting {
    fn start(projector: &Projector) -> Projecting {
        let (projector, stop, notes) = (projector.clone(), Rc::new(Notify::new()), Notes::default());
        let (wanted, on) = (stop.clone(), notes.clone());
        let task = tokio::task::spawn_local(async move { projector.run(&on, wanted.notified()).await });
        Projecting { task, stop, notes }
    }

    async fn finish(self) {
        self.stop.notify_one();
        self.task.await.unwrap().unwrap();
    }
}

fn sqlite(path: &Path) -> StoreOptions {
    let (acquire_timeout, statement_timeout) = (Duration::from_secs(5), Duration::from_secs(20));
    StoreOptions::Sqlite(SqliteOptions { path: path.to_owned(), readers: 2, acquire_timeout, statement_timeout })
}

async fn store(options: StoreOptions) -> Arc<dyn Store> {
    open(options, Arc::new(NoObserver)).await.unwrap()
}

fn projector(world: &World, store: &Arc<dyn Store>) -> Projector {
    let feed = Feed::of(world.daemon.lane(), 0, true);
    let registry = Arc::new(Registry::builtin());
    let origin = Origin { feed, disk: Arc::new(RealDisk), journal: world.journal.clone(), registry };
    Projector { origin, store: store.clone(), retention: Retention::default() }
}

#[derive(Debug, PartialEq)]
struct Tables {
    checkpoint: Option<Checkpoint>,
    orders: Vec<OrderRow>,
    fills: Vec<FillRow>,
    positions: Vec<PositionRow>,
    equity: Vec<EquityRow>,
    decisions: Vec<DecisionRow>,
}

macro_rules! pages {
    ($store:expr, $table:ident) => {{
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let page = $store.$table(Filter::default(), Page { limit: 1_000, cursor }).await.unwrap();
            all.extend(page.rows);
            cursor = page.next;
            if cursor.is_none() {
                break all;
            }
        }
    }};
}

async fn tables(store: &dyn Store) -> Tables {
    Tables {
        checkpoint: store.checkpoint(0).await.unwrap(),
        orders: pages!(store, orders),
        fills: pages!(store, fills),
        positions: pages!(store, positions),
        equity: pages!(store, equity),
        decisions: pages!(store, decisions),
    }
}

/// What a fold of the whole journal gives, in one piece, in a database of its own.
async fn folded(journal: &Path, scratch: &Path) -> Tables {
    let registry = Arc::new(Registry::builtin());
    let mut follower = Follower::open(Arc::new(RealDisk), journal, 0, &registry, Seq(0)).unwrap();
    let mut builder = Builder::new(0, Seq(0), []);
    let store = store(sqlite(&scratch.join("folded.db"))).await;
    while let Some(facts) = follower.next(Seq(u64::MAX)).unwrap() {
        builder.add(&facts, &follower.names()).unwrap();
        if builder.rows() > 5_000 {
            store.apply(builder.take()).await.unwrap();
        }
    }
    builder.pass(follower.seq());
    store.apply(builder.take()).await.unwrap();
    let tables = tables(&*store).await;
    store.close().await.unwrap();
    tables
}

/// The rows are the fold of the journal, up to its end, and the fills are the exchange's.
async fn check(world: &World, store: &Arc<dyn Store>) {
    let scratch = tempfile::tempdir().unwrap();
    let (rows, expected) = (tables(&**store).await, folded(&world.journal, scratch.path()).await);
    assert_eq!(rows.checkpoint, expected.checkpoint, "the end of the journal");
    assert!(rows == expected, "{rows:#?}\n{expected:#?}");
    // The exchange goes on with what was left open; until the stop it and the daemon agreed.
    let lived: BTreeSet<i64> = world.daemon.fills().iter().map(|fill| fill.trade_id.0).collect();
    let theirs: BTreeSet<i64> = daemon::trades(&world.exchange).iter().map(|trade| trade.fill.trade_id.0).collect();
    let ours: BTreeSet<i64> = rows.fills.iter().map(|fill| fill.trade_id).collect();
    assert_eq!(ours, lived);
    assert!(ours.is_subset(&theirs) && rows.fills.len() == ours.len());
    assert!(rows.orders.len() > 10 && rows.equity.len() > 5 && !rows.decisions.is_empty());
    let past = daemon::fold(&world.journal);
    let held: i64 = past.fills.iter().map(|fill| fill.quantity.signed(fill.side).mantissa()).sum();
    assert_eq!(past.engine.ledger(inside::ACCOUNT).unwrap().account_quantity(past.fills[0].symbol).mantissa(), held);
    for position in &rows.positions {
        let own = rows.fills.iter().filter(|fill| fill.strategy == position.strategy && fill.symbol == position.symbol);
        let scale = |decimal: qcat_io::store::Decimal| decimal.mantissa() * 10i128.pow(18 - u32::from(decimal.scale()));
        let sum: i128 = own.map(|f| if &*f.side == "buy" { scale(f.quantity) } else { -scale(f.quantity) }).sum();
        assert_eq!(scale(position.quantity), sum, "{position:?}");
    }
}

async fn world(seed: u64) -> World {
    let composition = Composition::from(Arc::new(Registry::builtin()));
    World::configured(daemon::exchange(seed).await, |text| text, composition).await
}

async fn more_fills(world: &World, count: usize) {
    let before = world.daemon.fills().len();
    until("it does not trade", || world.daemon.fills().len() >= before + count).await;
}

#[test]
fn rows_in_sqlite_are_the_fold_of_the_journal_though_the_projector_died_twice() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let world = world(21).await;
        more_fills(&world, 5).await;
        let store = store(sqlite(&folder.path().join("qcat.db"))).await;
        let projector = projector(&world, &store);
        for _ in 0..2 {
            let projecting = Projecting::start(&projector);
            until("it does not reach the feed", || projecting.notes.has("reads", "live")).await;
            more_fills(&world, 5).await;
            // As a kill would end it, between two steps of its own.
            projecting.task.abort();
            assert!(projecting.task.await.unwrap_err().is_cancelled());
            more_fills(&world, 3).await;
        }
        let projecting = Projecting::start(&projector);
        more_fills(&world, 5).await;
        world.stop_and_compare().await;
        projecting.finish().await;
        check(&world, &store).await;
        rebuild(&world, &store, folder.path(), &projector).await;
    });
}

/// A database of another journal is refused, until it is emptied; then the rows are the same again, and the users were kept.
async fn rebuild(world: &World, store: &Arc<dyn Store>, folder: &Path, projector: &Projector) {
    let hash = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g".to_owned().into();
    store.add_user("keeper", hash, Role::Viewer, Micros::new(1)).await.unwrap();
    let path = folder.join("config.yaml");
    let beside = format!("{}.db", world.journal.display());
    let text = daemon::configuration(&world.exchange, &world.journal);
    std::fs::write(&path, text.replace(&beside, &folder.join("qcat.db").display().to_string())).unwrap();
    let emptied = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_qcat"));
        std::env::vars().filter(|(name, _)| name.starts_with("QCAT_")).for_each(|(name, _)| {
            command.env_remove(name);
        });
        assert!(command.args(["database", "rebuild", "--config"]).arg(&path).status().unwrap().success());
    };
    emptied();
    assert_eq!(store.checkpoint(0).await.unwrap(), None);
    store.start_after(0, 1 << 40).await.unwrap();
    let refused = projector.run(&Notes::default(), std::future::pending()).await;
    assert!(matches!(refused, Err(ProjectorError::Ahead { .. })), "{refused:?}");
    emptied();
    let projecting = Projecting::start(projector);
    until("it does not fill it again", || projecting.notes.has("inputs_behind", "0")).await;
    projecting.finish().await;
    check(world, store).await;
    assert!(store.user("keeper").await.unwrap().is_some());
}

#[test]
fn rows_in_postgres_are_complete_after_outages_and_trading_did_not_wait() {
    run(async {
        let mut server = Postgres::start(&[]);
        let options = qcat_io::store::PostgresOptions {
            connect_timeout: Duration::from_millis(500),
            statement_timeout: Duration::from_millis(500),
            ..server.database("projections")
        };
        let store = store(StoreOptions::Postgres(options)).await;
        let world = world(22).await;
        let projector = projector(&world, &store);
        let projecting = Projecting::start(&projector);
        until("it does not reach the feed", || projecting.notes.has("reads", "live")).await;
        more_fills(&world, 5).await;
        server.freeze(true);
        until("it does not notice", || projecting.notes.has("state", "away")).await;
        more_fills(&world, 15).await;
        server.freeze(false);
        more_fills(&world, 3).await;
        server.stop();
        more_fills(&world, 10).await;
        server.resume();
        more_fills(&world, 3).await;
        let passed = projector.origin.feed.passed();
        let caught_up = async {
            loop {
                let checkpoint = store.checkpoint(0).await.ok().flatten();
                if checkpoint.is_some_and(|at| at.seq.unsigned_abs() >= passed.0) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), caught_up).await.expect("it catches up");
        world.stop_and_compare().await;
        projecting.finish().await;
        check(&world, &store).await;
    });
}

#[test]
fn a_database_that_is_away_at_the_start_gets_everything_later_unless_it_is_required_or_refuses() {
    run(async {
        let mut server = Postgres::start(&[]);
        let right =
            qcat_io::store::PostgresOptions { connect_timeout: Duration::from_millis(500), ..server.database("later") };
        let wrong = qcat_io::store::PostgresOptions { password: Some("wrong".to_owned().into()), ..right.clone() };
        let (right, wrong) = (StoreOptions::Postgres(right), StoreOptions::Postgres(wrong));
        let start = |options: &StoreOptions, required| Database::start(options.clone(), Arc::new(NoObserver), required);
        assert!(start(&wrong, false).await.is_err_and(|error| !error.is_retryable()), "never without a person");
        server.stop();
        assert!(start(&right, true).await.is_err_and(|error| error.is_retryable()));
        let database = start(&right, false).await.expect("it starts degraded");
        assert!(database.store().is_none());
        let (stop, notes) = (Rc::new(Notify::new()), Notes::default());
        let (work, wanted, on) = (database.clone(), stop.clone(), notes.clone());
        let task = tokio::task::spawn_local(async move { work.work(&on, wanted.notified()).await });
        let world = world(23).await;
        let feed = Feed::of(world.daemon.lane(), 0, true);
        let registry = Arc::new(Registry::builtin());
        database.project(Origin { feed, disk: Arc::new(RealDisk), journal: world.journal.clone(), registry });
        until("it does not say so", || notes.has("state", "away")).await;
        more_fills(&world, 10).await;
        server.resume();
        until("it does not catch up", || notes.has("reads", "live")).await;
        more_fills(&world, 5).await;
        world.stop_and_compare().await;
        stop.notify_one();
        task.await.unwrap().unwrap();
        check(&world, &database.store().expect("it is open")).await;
    });
}
