//! Projection into PostgreSQL: `Store::apply` against a bare `unnest` of the same rows, in the same run, on a private server.
//!
//! Both insert the same fills into tables with the same columns and indexes. Bar: 0.8 of the bare rate.

#[path = "../tests/support/postgres.rs"]
mod postgres;
#[path = "../tests/support/rows.rs"]
mod rows;

use postgres::Postgres;
use qcat_io::store::{Batch, FillRow, NoObserver, SqliteOptions, Store, StoreOptions, open};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::NoTls;

const ROWS: i64 = 1_000;
const BATCHES: i64 = 200;

fn batch(n: i64) -> Batch {
    let (first, last) = (n * ROWS + 1, (n + 1) * ROWS);
    let fills = (first..=last).map(|seq| rows::fill(seq, seq)).collect();
    Batch { engine: rows::ENGINE, first, last, fills, ..Batch::default() }
}

/// Columns of the rows as the driver's own types; numbers as text, which the server turns into `numeric`.
struct Columns {
    texts: [Vec<String>; 6],
    numbers: [Vec<i64>; 4],
    decimals: [Vec<String>; 4],
    maker: Vec<bool>,
    at: Vec<f64>,
}

fn columns(fills: &[FillRow]) -> Columns {
    let texts = |of: fn(&FillRow) -> &str| fills.iter().map(|fill| of(fill).to_owned()).collect();
    let numbers = |of: fn(&FillRow) -> i64| fills.iter().map(of).collect();
    let decimals = |of: fn(&FillRow) -> String| fills.iter().map(of).collect();
    Columns {
        texts: [
            texts(|f| &f.account),
            texts(|f| &f.strategy),
            texts(|f| &f.symbol),
            texts(|f| &f.client_order_id),
            texts(|f| &f.side),
            texts(|f| &f.asset),
        ],
        numbers: [numbers(|f| f.trade_id), numbers(|f| f.venue_id), numbers(|f| f.engine), numbers(|f| f.seq)],
        decimals: [
            decimals(|f| f.price.to_string()),
            decimals(|f| f.quantity.to_string()),
            decimals(|f| f.fee.unwrap_or_default().to_string()),
            decimals(|f| f.realized.to_string()),
        ],
        maker: fills.iter().map(|f| f.maker).collect(),
        at: fills.iter().map(|f| f.at.get() as f64 / 1e6).collect(),
    }
}

const BARE: &str = "INSERT INTO bare (account, strategy, symbol, client_order_id, side, asset, trade_id, venue_id, engine, seq, \
                    price, quantity, fee, realized, maker, at, fee_asset) \
                    SELECT a, b, c, d, e, f, g, h, i, j, k::numeric, l::numeric, m::numeric, n::numeric, o, to_timestamp(p), f \
                    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], \
                    $9::bigint[], $10::bigint[], $11::text[], $12::text[], $13::text[], $14::text[], $15::boolean[], $16::float8[]) \
                    AS t(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)";

async fn bare(client: &tokio_postgres::Client, statement: &tokio_postgres::Statement, n: i64) -> Duration {
    let fills = batch(n).fills;
    let start = Instant::now();
    let Columns { texts: [a, b, c, d, e, f], numbers: [g, h, i, j], decimals: [k, l, m, o], maker, at } =
        columns(&fills);
    let written = client
        .execute(statement, &[&a, &b, &c, &d, &e, &f, &g, &h, &i, &j, &k, &l, &m, &o, &maker, &at])
        .await
        .expect("written");
    let took = start.elapsed();
    assert_eq!(written, ROWS as u64);
    took
}

async fn projected(store: &Arc<dyn Store>, n: i64) -> Duration {
    let batch = batch(n);
    let start = Instant::now();
    store.apply(batch).await.expect("applied");
    start.elapsed()
}

fn median(mut took: Vec<Duration>) -> Duration {
    took.sort();
    took[took.len() / 2]
}

fn rate(took: Duration) -> f64 {
    ROWS as f64 / took.as_secs_f64()
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let server = Postgres::start(&[]);
        let mut options = server.database("qcat");
        options.host = server.socket_dir();
        let store = open(StoreOptions::Postgres(options), Arc::new(NoObserver)).await.expect("opened");
        server.sql("qcat", "CREATE TABLE bare (LIKE fills INCLUDING ALL)");
        let address = format!("host={} port={} user=postgres dbname=qcat", server.socket_dir(), server.port);
        let (client, connection) = tokio_postgres::connect(&address, NoTls).await.expect("connected");
        let driver = tokio::spawn(connection);
        let statement = client.prepare(BARE).await.expect("prepared");
        // In turns, so that whatever else the machine does hits both.
        let (mut bares, mut ours) = (Vec::new(), Vec::new());
        for n in 0..BATCHES {
            bares.push(bare(&client, &statement, n).await);
            ours.push(projected(&store, n).await);
        }
        let (bare, ours) = (rate(median(bares)), rate(median(ours)));
        println!(
            "postgres: bare unnest {bare:>9.0} rows/s, apply {ours:>9.0} rows/s, ratio {:.2} (bar 0.80)",
            ours / bare
        );
        drop(client);
        driver.await.expect("joined").expect("ended");
        let dir = tempfile::tempdir().expect("a directory");
        let (path, seconds) = (dir.path().join("qcat.db"), Duration::from_secs(30));
        let options = SqliteOptions { path, readers: 1, acquire_timeout: seconds, statement_timeout: seconds };
        let store = open(StoreOptions::Sqlite(options), Arc::new(NoObserver)).await.expect("opened");
        let mut took = Vec::new();
        for n in 0..BATCHES {
            took.push(projected(&store, n).await);
        }
        println!("sqlite: apply {:>9.0} rows/s", rate(median(took)));
    });
}
