//! What every store keeps to: one suite, run against PostgreSQL and against SQLite.

#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/rows.rs"]
mod rows;

use postgres::Postgres;
use qcat_io::store::{
    Applied, Batch, Filter, LIMIT_MAX, Micros, NoObserver, OrderRow, Page, Role, SqliteOptions, Store, StoreError,
    StoreObserver, StoreOptions, UserChange, open,
};
use rows::{ENGINE, all, apply_at_last, assert_whole, at, audit, batch, fill, order, text};
use secrecy::{ExposeSecret, SecretString};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn sqlite_options(path: &Path) -> StoreOptions {
    StoreOptions::Sqlite(SqliteOptions {
        path: path.to_owned(),
        readers: 2,
        acquire_timeout: Duration::from_secs(5),
        statement_timeout: Duration::from_secs(20),
    })
}

/// Gives out how to reach empty databases of one kind.
trait Fresh {
    fn fresh(&self) -> StoreOptions;
}

struct OnPostgres(Postgres, AtomicU64);
struct OnSqlite(tempfile::TempDir, AtomicU64);

impl Fresh for OnPostgres {
    fn fresh(&self) -> StoreOptions {
        StoreOptions::Postgres(self.0.database(&format!("qcat{}", self.1.fetch_add(1, Ordering::Relaxed))))
    }
}

impl Fresh for OnSqlite {
    fn fresh(&self) -> StoreOptions {
        let n = self.1.fetch_add(1, Ordering::Relaxed);
        sqlite_options(&self.0.path().join(format!("made/qcat{n}.db")))
    }
}

async fn opened(options: StoreOptions) -> Arc<dyn Store> {
    open(options, Arc::new(NoObserver)).await.expect("opened")
}

fn page(limit: u32) -> Page {
    Page { limit, cursor: None }
}

#[tokio::test]
async fn postgres_keeps_the_contract() {
    suite(&OnPostgres(Postgres::start(&[]), AtomicU64::new(0))).await;
}

#[tokio::test]
async fn sqlite_keeps_the_contract() {
    suite(&OnSqlite(tempfile::tempdir().expect("a directory"), AtomicU64::new(0))).await;
}

async fn suite(fresh: &dyn Fresh) {
    batches_are_idempotent_and_gaps_are_refused(fresh.fresh()).await;
    a_batch_is_whole_or_not_at_all(fresh.fresh()).await;
    the_newest_row_of_an_order_counts(fresh.fresh()).await;
    history_may_begin_later(fresh.fresh()).await;
    pages_are_stable_while_rows_come_in(fresh.fresh()).await;
    filters_narrow(fresh.fresh()).await;
    bad_questions_are_invalid(fresh.fresh()).await;
    users_are_kept_apart(fresh.fresh()).await;
    old_rows_are_deleted(fresh.fresh()).await;
    everybody_at_once(fresh.fresh()).await;
    two_open_at_once(fresh.fresh()).await;
    calls_are_observed_and_end_with_the_store(fresh.fresh()).await;
}

async fn batches_are_idempotent_and_gaps_are_refused(options: StoreOptions) {
    let store = opened(options.clone()).await;
    assert_eq!(store.checkpoint(ENGINE).await, Ok(None));
    assert!(matches!(store.apply(batch(2, 3)).await, Err(StoreError::Gap { checkpoint: 0, first: 2, .. })));
    assert!(matches!(store.apply(batch(1, 10)).await, Ok(Applied::Done { rows }) if rows > 10));
    assert_whole(&store, 10).await;
    assert_eq!(store.apply(batch(1, 10)).await, Ok(Applied::Known(10)));
    assert_eq!(store.apply(batch(4, 9)).await, Ok(Applied::Known(10)));
    assert!(matches!(store.apply(batch(12, 13)).await, Err(StoreError::Gap { checkpoint: 10, first: 12, .. })));
    assert_whole(&store, 10).await;
    // Overlapping: only what is new goes in.
    assert!(matches!(store.apply(batch(5, 25)).await, Ok(Applied::Done { .. })));
    assert_whole(&store, 25).await;
    // Nothing happened, but time went on.
    let quiet = Batch { engine: ENGINE, first: 26, last: 30, ..Batch::default() };
    assert_eq!(store.apply(quiet).await, Ok(Applied::Done { rows: 0 }));
    assert_eq!(store.checkpoint(ENGINE).await.expect("read").expect("there").seq, 30);
    // Another engine counts for itself.
    assert!(matches!(
        store.apply(Batch { engine: 7, first: 1, last: 2, ..Batch::default() }).await,
        Ok(Applied::Done { .. })
    ));
    assert_eq!(store.checkpoint(ENGINE).await.expect("read").expect("there").seq, 30);
    // And all of it is there in the next life; a rebuild makes the same of it.
    store.close().await.expect("closed");
    let store = opened(options).await;
    assert_eq!(store.checkpoint(ENGINE).await.expect("read").expect("there").seq, 30);
    store.clear_projections().await.expect("cleared");
    assert_eq!(store.checkpoint(ENGINE).await, Ok(None));
    assert_eq!(all!(store, orders, Filter::default(), 10), vec![]);
    assert_eq!(all!(store, audit, Filter::default(), 100).len(), 25, "the audit log stays");
    store.apply(batch(1, 17)).await.expect("applied");
    store.apply(batch(18, 25)).await.expect("applied");
    assert_whole(&store, 25).await;
}

async fn a_batch_is_whole_or_not_at_all(options: StoreOptions) {
    let store = opened(options).await;
    store.apply(batch(1, 3)).await.expect("applied");
    let foreign = {
        let mut row = fill(3, 4);
        row.engine = 5;
        row
    };
    let outside = fill(3, 9);
    for row in [foreign, outside] {
        let mut bad = batch(4, 5);
        bad.fills.push(row);
        assert!(matches!(store.apply(bad).await, Err(StoreError::Invalid(_))));
    }
    // A time that no calendar has is found by PostgreSQL only, in the last of the tables.
    let mut late = batch(4, 5);
    late.audit[1].at = Micros::new(i64::MIN);
    let applied = store.apply(late).await;
    if store.kind() == "postgres" {
        assert!(applied.is_err(), "{applied:?}");
        assert_whole(&store, 3).await;
    }
    for (first, last) in [(0, 1), (-3, -1), (5, 4)] {
        let empty = Batch { engine: ENGINE, first, last, ..Batch::default() };
        assert!(matches!(store.apply(empty).await, Err(StoreError::Invalid(_))), "{first} to {last}");
    }
    // A text that PostgreSQL cannot hold does not stop the projection for ever.
    if store.kind() == "postgres" {
        let mut odd = batch(4, 4);
        odd.decisions[0].text = text("a\0b");
        store.apply(odd).await.expect("applied");
    }
}

async fn the_newest_row_of_an_order_counts(options: StoreOptions) {
    let store = opened(options).await;
    let (made, filled) = (order(1, 1), order(1, 2));
    let later = OrderRow { venue_id: None, cost: None, price: None, seq: 3, ..order(1, 3) };
    let expected = OrderRow {
        created_at: made.created_at,
        venue_id: filled.venue_id,
        cost: filled.cost,
        price: filled.price,
        ..later.clone()
    };
    // In one batch, and in three.
    let mut one = Batch { engine: ENGINE, first: 1, last: 3, ..Batch::default() };
    one.orders = vec![made.clone(), filled.clone(), later.clone()];
    store.apply(one).await.expect("applied");
    assert_eq!(all!(store, orders, Filter::default(), 10), vec![expected.clone()]);
    store.clear_projections().await.expect("cleared");
    for (seq, row) in [made, filled, later].into_iter().enumerate() {
        let seq = seq as i64 + 1;
        let batch = Batch { engine: ENGINE, first: seq, last: seq, orders: vec![row], ..Batch::default() };
        store.apply(batch).await.expect("applied");
    }
    assert_eq!(all!(store, orders, Filter::default(), 10), vec![expected]);
}

async fn history_may_begin_later(options: StoreOptions) {
    let store = opened(options).await;
    store.start_after(ENGINE, 100).await.expect("begun");
    assert!(matches!(store.start_after(ENGINE, 5).await, Err(StoreError::Conflict(_))));
    assert!(matches!(store.apply(batch(102, 103)).await, Err(StoreError::Gap { checkpoint: 100, .. })));
    store.apply(batch(101, 103)).await.expect("applied");
    let checkpoint = store.checkpoint(ENGINE).await.expect("read").expect("there");
    assert_eq!((checkpoint.seq, checkpoint.from_seq), (103, 100));
}

async fn pages_are_stable_while_rows_come_in(options: StoreOptions) {
    let store = opened(options).await;
    store.apply(batch(1, 20)).await.expect("applied");
    let first = store.orders(Filter::default(), page(8)).await.expect("read");
    // New orders, and a change of every order of the page that comes next.
    let mut more = batch(21, 30);
    more.orders.extend((1..=12).map(|n| order(n, 30)));
    store.apply(more).await.expect("applied");
    let mut seen: Vec<_> = first.rows.iter().map(|row| row.client_order_id.clone()).collect();
    let mut cursor = first.next;
    while let Some(next) = cursor {
        let found = store.orders(Filter::default(), Page { limit: 8, cursor: Some(next) }).await.expect("read");
        seen.extend(found.rows.iter().map(|row| row.client_order_id.clone()));
        cursor = found.next;
    }
    let expected: Vec<_> = (1..=20).rev().map(|n| order(n, n).client_order_id).collect();
    assert_eq!(seen, expected, "each once, none twice");
    // Same time, same everything but the last of the key.
    store.clear_projections().await.expect("cleared");
    let mut same = Batch { engine: ENGINE, first: 1, last: 1, ..Batch::default() };
    same.fills = (0..25).map(|n| fill(n * 2, 1)).collect();
    store.apply(same.clone()).await.expect("applied");
    same.fills.reverse();
    assert_eq!(all!(store, fills, Filter::default(), 4), same.fills);
}

async fn filters_narrow(options: StoreOptions) {
    let store = opened(options).await;
    store.apply(batch(1, 30)).await.expect("applied");
    let filter = |set: fn(&mut Filter)| {
        let mut filter = Filter::default();
        set(&mut filter);
        filter
    };
    let account = all!(store, fills, filter(|f| f.account = Some("a1".into())), 3);
    assert_eq!(account.len(), 15);
    assert!(account.iter().all(|row| &*row.account == "a1"));
    let both = filter(|f| {
        f.account = Some("a1".into());
        f.strategy = Some("s0".into());
    });
    assert_eq!(all!(store, fills, both.clone(), 2).len(), 5);
    assert_eq!(all!(store, orders, filter(|f| f.state = Some("working".into())), 5).len(), 1);
    assert_eq!(all!(store, decisions, filter(|f| f.kind = Some("alert".into())), 5).len(), 0);
    assert_eq!(all!(store, audit, filter(|f| f.actor = Some("alice".into())), 50).len(), 30);
    let time = filter(|f| {
        f.from = Some(at(10));
        f.until = Some(at(12));
    });
    assert_eq!(all!(store, equity, time, 5).iter().map(|row| row.seq).collect::<Vec<_>>(), [11, 10]);
    let hostile = filter(|f| f.symbol = Some("' OR 1=1; DROP TABLE fills; --".into()));
    assert_eq!(all!(store, fills, hostile, 5).len(), 0);
    assert_eq!(all!(store, fills, Filter::default(), 50).len(), 29);
}

async fn bad_questions_are_invalid(options: StoreOptions) {
    let store = opened(options).await;
    store.apply(batch(1, 9)).await.expect("applied");
    let invalid = |answer: Result<(), StoreError>| assert!(matches!(answer, Err(StoreError::Invalid(_))), "{answer:?}");
    for limit in [0, LIMIT_MAX + 1, u32::MAX] {
        invalid(store.orders(Filter::default(), page(limit)).await.map(drop));
    }
    for cursor in ["", "!", "W10", "bm9uc2Vuc2U", &"A".repeat(100_000)] {
        invalid(store.fills(Filter::default(), Page { limit: 5, cursor: Some(cursor.to_owned()) }).await.map(drop));
    }
    let next = store.fills(Filter::default(), page(5)).await.expect("read").next;
    let other = Filter { account: Some("a0".into()), ..Filter::default() };
    invalid(store.fills(other, Page { limit: 5, cursor: next.clone() }).await.map(drop));
    invalid(store.orders(Filter::default(), Page { limit: 5, cursor: next }).await.map(drop));
    invalid(store.positions(Filter { state: Some("working".into()), ..Filter::default() }, page(5)).await.map(drop));
}

async fn users_are_kept_apart(options: StoreOptions) {
    let store = opened(options).await;
    let hash = |text: &str| SecretString::from(text);
    store.add_user("Alice", hash("$argon2id$one"), Role::Admin, at(1)).await.expect("added");
    for name in ["Alice", "alice", "ALICE"] {
        let again = store.add_user(name, hash("$argon2id$two"), Role::Viewer, at(2)).await;
        assert!(matches!(again, Err(StoreError::Conflict(_))), "{again:?}");
    }
    for name in ["", "a b", "a\0", "Zoë", "'; DROP TABLE users; --", &"x".repeat(65)] {
        let added = store.add_user(name, hash("h"), Role::Viewer, at(2)).await;
        assert!(matches!(added, Err(StoreError::Invalid(_))), "{name}");
        assert!(store.user(name).await.expect("read").is_none());
        assert_eq!(store.change_user(name, UserChange::Disabled(true), at(2)).await, Ok(false));
    }
    store.add_user("bob", hash("$argon2id$bob"), Role::Viewer, at(2)).await.expect("added");
    assert_eq!(store.change_user("BOB", UserChange::Role(Role::Trader), at(3)).await, Ok(true));
    assert_eq!(store.change_user("bob", UserChange::Disabled(true), at(4)).await, Ok(true));
    assert_eq!(store.change_user("bob", UserChange::Password(hash("$argon2id$new")), at(5)).await, Ok(true));
    assert_eq!(store.change_user("nobody", UserChange::Disabled(true), at(5)).await, Ok(false));
    store.clear_projections().await.expect("cleared");
    let bob = store.user("Bob").await.expect("read").expect("there");
    assert_eq!((&*bob.name, bob.role, bob.disabled, bob.token_version), ("bob", Role::Trader, true, 4));
    assert_eq!((bob.created_at, bob.changed_at), (at(2), at(5)));
    assert_eq!(bob.hash.expose_secret(), "$argon2id$new");
    assert!(!format!("{bob:?}").contains("argon2id"), "a hash is not shown");
    let names: Vec<_> = store.users().await.expect("read").into_iter().map(|user| user.name).collect();
    assert_eq!(names, [text("Alice"), text("bob")]);
}

async fn old_rows_are_deleted(options: StoreOptions) {
    let store = opened(options).await;
    store.apply(batch(1, 40)).await.expect("applied");
    // More than one chunk.
    let mut many = Batch { engine: ENGINE, first: 41, last: 41, ..Batch::default() };
    many.decisions = (0..12_000).map(|ix| rows::decision(41, ix)).collect();
    store.apply(many).await.expect("applied");
    assert_eq!(store.delete_decisions(at(21)).await, Ok(40));
    assert_eq!(store.delete_decisions(at(42)).await, Ok(12_040));
    assert_eq!(store.delete_decisions(at(42)).await, Ok(0));
    assert_eq!(store.delete_equity(at(31)).await, Ok(30));
    assert_eq!(all!(store, equity, Filter::default(), 100).len(), 10);
    assert_eq!(all!(store, orders, Filter::default(), 100).len(), 40, "nothing else is touched");
}

async fn everybody_at_once(options: StoreOptions) {
    let store = opened(options).await;
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for seq in 1..=40 {
                apply_at_last(&store, &batch(seq, seq)).await;
            }
        })
    };
    let reader = |store: Arc<dyn Store>| async move {
        let mut last = 0;
        while last < 40 {
            let found = store.decisions(Filter::default(), page(10)).await.expect("read");
            assert!(found.rows.len() % 2 == 0, "both decisions of an input, or neither");
            last = found.rows.first().map_or(0, |row| row.seq);
        }
    };
    tokio::join!(reader(store.clone()), reader(store.clone()), reader(store.clone()), reader(store.clone()));
    writer.await.expect("written");
    assert_whole(&store, 40).await;
    // The audit log takes the same line once, from whoever.
    let lines: Vec<_> = (35..45).map(audit).collect();
    let (one, two) = tokio::join!(store.record_audit(lines.clone()), store.record_audit(lines));
    one.and(two).expect("recorded");
    assert_eq!(all!(store, audit, Filter::default(), 100).len(), 44);
}

/// Two nodes of one database: both migrate, both tell the same journal.
async fn two_open_at_once(options: StoreOptions) {
    let (one, two) = tokio::join!(opened(options.clone()), opened(options));
    let tell = |store: Arc<dyn Store>, step: i64| async move {
        for first in (1..=60).step_by(step as usize) {
            apply_at_last(&store, &batch(first, (first + step - 1).min(60))).await;
        }
    };
    tokio::join!(tell(one.clone(), 4), tell(two.clone(), 7));
    assert_whole(&one, 60).await;
    assert_whole(&two, 60).await;
}

#[derive(Default)]
struct Seen(Mutex<Vec<(&'static str, Option<&'static str>)>>);

impl StoreObserver for Seen {
    fn query(&self, name: &'static str, _: Duration, error: Option<&StoreError>) {
        self.0.lock().expect("whole").push((name, error.map(StoreError::class)));
    }
}

async fn calls_are_observed_and_end_with_the_store(options: StoreOptions) {
    let seen = Arc::new(Seen::default());
    let store = open(options, seen.clone()).await.expect("opened");
    store.ping().await.expect("an answer");
    store.apply(batch(1, 2)).await.expect("applied");
    store.fills(Filter::default(), page(0)).await.expect_err("no limit");
    let stats = store.stats();
    assert!(stats.open >= 1 && stats.max >= stats.open && stats.in_use == 0 && stats.idle == stats.open, "{stats:?}");
    store.close().await.expect("closed");
    assert_eq!(store.stats().open, 0);
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.apply(batch(3, 4)).await, Err(StoreError::Unavailable(_))));
    let expected = [
        ("ping", None),
        ("apply", None),
        ("fills", Some("invalid")),
        ("ping", Some("unavailable")),
        ("apply", Some("unavailable")),
    ];
    assert_eq!(*seen.0.lock().expect("whole"), expected);
}
