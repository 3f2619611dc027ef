//! Rows for the tests of stores: everything that happened to some orders up to an input, as a function of its number.
#![allow(dead_code)]

use qcat_io::store::{
    AuditRow, Batch, Decimal, DecisionRow, EquityRow, FillRow, Filter, Micros, OrderRow, PositionRow, Store,
    StoreError, Text,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The engine of all rows.
pub const ENGINE: i64 = 0;
/// A time in 2026.
pub const START: i64 = 1_790_000_000_000_000;

pub fn decimal(text: &str) -> Decimal {
    text.parse().expect("a decimal")
}

pub fn text(text: impl AsRef<str>) -> Text {
    text.as_ref().into()
}

pub fn at(seq: i64) -> Micros {
    Micros::new(START + seq * 1_000)
}

/// Order `n`, which input `n` made and input `seq` changed last.
pub fn order(n: i64, seq: i64) -> OrderRow {
    OrderRow {
        account: text(format!("a{}", n % 2)),
        strategy: text(format!("s{}", n % 3)),
        symbol: text("BTCUSDT"),
        client_order_id: text(format!("q1-0-0-{n}")),
        venue_id: (seq > n).then_some(1_000 + n),
        side: text(if n % 2 == 0 { "buy" } else { "sell" }),
        order_type: Some(text("limit")),
        time_in_force: Some(text("gtc")),
        reduce_only: n % 5 == 0,
        protective: false,
        conditional: false,
        price: Some(decimal("65000.1")),
        stop_price: None,
        quantity: decimal("0.002"),
        filled: decimal(if seq > n { "0.002" } else { "0" }),
        cost: (seq > n).then(|| decimal("130.0002")),
        state: text(if seq > n { "filled" } else { "working" }),
        reason: None,
        created_at: at(seq.min(n)),
        updated_at: at(seq),
        engine: ENGINE,
        seq,
    }
}

pub fn fill(n: i64, seq: i64) -> FillRow {
    FillRow {
        account: text(format!("a{}", n % 2)),
        strategy: text(format!("s{}", n % 3)),
        symbol: text("BTCUSDT"),
        trade_id: n,
        client_order_id: text(format!("q1-0-0-{n}")),
        venue_id: 1_000 + n,
        side: text(if n % 2 == 0 { "buy" } else { "sell" }),
        price: decimal("65000.1"),
        quantity: decimal("0.002"),
        maker: n % 2 == 0,
        fee: Some(decimal("0.05200008")),
        fee_asset: Some(text("USDT")),
        realized: decimal("-0.000000000000000001"),
        asset: text("USDT"),
        at: at(seq),
        engine: ENGINE,
        seq,
    }
}

pub fn position(seq: i64) -> PositionRow {
    PositionRow {
        account: text("a0"),
        strategy: text("s0"),
        symbol: text("BTCUSDT"),
        quantity: decimal(&format!("{seq}.5")),
        cost: decimal("-170141183460469231731.687303715884105727"),
        realized: None,
        asset: text("USDT"),
        account_quantity: decimal("-1"),
        updated_at: at(seq),
        engine: ENGINE,
        seq,
    }
}

pub fn equity(seq: i64) -> EquityRow {
    EquityRow {
        account: text("a0"),
        asset: text("USDT"),
        wallet: decimal("10000"),
        unrealized: decimal("-1.5"),
        day_profit: decimal("0"),
        exposure: decimal("130.0002"),
        at: at(seq),
        engine: ENGINE,
        seq,
    }
}

pub fn decision(seq: i64, ix: i64) -> DecisionRow {
    DecisionRow {
        kind: text("refused"),
        account: Some(text("a0")),
        strategy: None,
        symbol: Some(text("BTCUSDT")),
        client_order_id: None,
        reason: text("halted"),
        text: text("a 'text' with 中文 and \u{1f600}"),
        at: at(seq),
        engine: ENGINE,
        seq,
        ix,
    }
}

pub fn audit(n: i64) -> AuditRow {
    AuditRow {
        id: text(format!("{ENGINE}-{n:08}")),
        actor: text("alice"),
        role: text("admin"),
        source: text("127.0.0.1"),
        command: text("halt"),
        arguments: text("{\"scope\":\"all\"}"),
        idempotency_key: None,
        outcome: text("accepted"),
        at: at(n),
        engine: Some(ENGINE),
        seq: n,
    }
}

/// What the inputs `first..=last` did: each makes an order, fills the one before, moves the position, is decided on and asked for.
pub fn batch(first: i64, last: i64) -> Batch {
    let mut batch = Batch { engine: ENGINE, first, last, ..Batch::default() };
    for seq in first..=last {
        if seq > 1 {
            batch.orders.push(order(seq - 1, seq));
            batch.fills.push(fill(seq - 1, seq));
        }
        batch.orders.push(order(seq, seq));
        batch.positions.push(position(seq));
        batch.equity.push(equity(seq));
        batch.decisions.extend([decision(seq, 0), decision(seq, 1)]);
        batch.audit.push(audit(seq));
    }
    batch
}

/// All rows of a table, page by page.
macro_rules! all {
    ($store:expr, $table:ident, $filter:expr, $limit:expr) => {{
        let (filter, mut rows) = ($filter, Vec::new());
        let mut page = qcat_io::store::Page { limit: $limit, cursor: None };
        loop {
            let found: qcat_io::store::Rows<_> = $store.$table(filter.clone(), page.clone()).await.expect("read");
            assert!(found.rows.len() <= page.limit as usize, "no more than asked for");
            rows.extend(found.rows);
            match found.next {
                Some(next) => page.cursor = Some(next),
                None => break rows,
            }
        }
    }};
}
#[allow(unused_imports)]
pub(crate) use all;

/// Checks that the store holds exactly what the inputs `1..=last` did.
pub async fn assert_whole(store: &Arc<dyn Store>, last: i64) {
    let none = Filter::default;
    let checkpoint = store.checkpoint(ENGINE).await.expect("read").expect("there");
    assert_eq!((checkpoint.seq, checkpoint.from_seq), (last, 0));
    let orders = all!(store, orders, none(), 7);
    let expected: Vec<OrderRow> = (1..=last).rev().map(|n| merged(n, last)).collect();
    assert_eq!(orders, expected);
    assert_eq!(all!(store, fills, none(), 1_000), (1..last).rev().map(|n| fill(n, n + 1)).collect::<Vec<_>>());
    assert_eq!(all!(store, positions, none(), 10), vec![position(last)]);
    assert_eq!(all!(store, equity, none(), 100), (1..=last).rev().map(equity).collect::<Vec<_>>());
    let decisions: Vec<DecisionRow> = (1..=last).rev().flat_map(|seq| [decision(seq, 1), decision(seq, 0)]).collect();
    assert_eq!(all!(store, decisions, none(), 11), decisions);
    assert_eq!(all!(store, audit, none(), 100), (1..=last).rev().map(audit).collect::<Vec<_>>());
}

/// An order as it stands after input `last`: made by its own input, filled by the next.
fn merged(n: i64, last: i64) -> OrderRow {
    let seq = (n + 1).min(last);
    OrderRow { created_at: at(n), ..order(n, seq) }
}

/// Applies a batch, again and again as long as the store says that it may go well later.
pub async fn apply_at_last(store: &Arc<dyn Store>, batch: &Batch) {
    apply_and_count(store, batch, &AtomicU32::new(0)).await;
}

/// The same; `failures` grows with each that was in vain.
pub async fn apply_and_count(store: &Arc<dyn Store>, batch: &Batch, failures: &AtomicU32) {
    for _ in 0..2_000 {
        match store.apply(batch.clone()).await {
            Ok(_) => return,
            Err(StoreError::Unavailable(_)) => {
                failures.fetch_add(1, Relaxed);
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            Err(other) => panic!("{other}"),
        }
    }
    panic!("the store does not come back");
}
