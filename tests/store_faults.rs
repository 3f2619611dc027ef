//! PostgreSQL refused, slow, and gone in the middle; schemas and rights that do not fit; the limits of the pool; TLS.

#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/rows.rs"]
mod rows;

use postgres::{PASSWORD, Postgres, USER};
use qcat_io::store::{
    Filter, NoObserver, Page, PostgresOptions, Role, SqliteOptions, SslMode, Store, StoreError, StoreOptions, open,
};
use rows::{apply_and_count, apply_at_last, assert_whole, at, batch};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

async fn try_open(options: &PostgresOptions) -> Result<Arc<dyn Store>, StoreError> {
    open(StoreOptions::Postgres(options.clone()), Arc::new(NoObserver)).await
}

fn refused(opened: Result<Arc<dyn Store>, StoreError>) -> String {
    match opened.map(drop) {
        Err(StoreError::Refused(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn unavailable(opened: Result<Arc<dyn Store>, StoreError>) -> String {
    match opened.map(drop) {
        Err(StoreError::Unavailable(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// Locks a table as long as the answer lives.
async fn hold(server: &Postgres) -> tokio_postgres::Client {
    let address = format!("host={} port={} user=postgres dbname=qcat", server.socket_dir(), server.port);
    let (client, connection) = tokio_postgres::connect(&address, tokio_postgres::NoTls).await.expect("connected");
    tokio::spawn(connection);
    client.batch_execute("BEGIN; LOCK TABLE fills").await.expect("locked");
    client
}

#[tokio::test]
async fn killed_in_the_middle_nothing_is_lost_or_doubled() {
    let mut server = Postgres::start(&[]);
    let mut options = server.database("qcat");
    options.connect_timeout = Duration::from_secs(1);
    let store = try_open(&options).await.expect("opened");
    let failures = Arc::new(AtomicU32::new(0));
    let telling = {
        let (store, failures) = (store.clone(), failures.clone());
        tokio::spawn(async move {
            for first in (1..=300).step_by(3) {
                apply_and_count(&store, &batch(first, first + 2), &failures).await;
                // Told twice, as after a crash of ours.
                apply_and_count(&store, &batch(first, first + 2), &failures).await;
            }
        })
    };
    for round in 1..=3 {
        while store.checkpoint(rows::ENGINE).await.ok().flatten().is_none_or(|checkpoint| checkpoint.seq < round * 60) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let before = failures.load(Relaxed);
        server.kill();
        let start = Instant::now();
        // Sessions outlive the server's first process by the time that they need to notice its end.
        let asked = loop {
            match store.users().await {
                Ok(_) if start.elapsed() < Duration::from_secs(20) => {
                    tokio::time::sleep(Duration::from_millis(2)).await
                }
                asked => break asked,
            }
        };
        assert!(matches!(asked, Err(StoreError::Unavailable(_))), "{asked:?}");
        assert!(start.elapsed() < Duration::from_secs(20), "bounded");
        // It stays away until a batch has failed for it.
        while failures.load(Relaxed) == before && !telling.is_finished() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        server.resume();
    }
    telling.await.expect("told");
    assert_whole(&store, 300).await;
    // A server that is stopped in order is no different.
    server.stop();
    unavailable(try_open(&options).await);
    server.resume();
    apply_at_last(&store, &batch(301, 302)).await;
    assert_whole(&store, 302).await;
}

#[tokio::test]
async fn a_silent_server_keeps_nobody_for_ever() {
    let server = Postgres::start(&[]);
    let mut options = server.database("qcat");
    (options.statement_timeout, options.connect_timeout) = (Duration::from_secs(1), Duration::from_secs(1));
    let store = loop {
        match try_open(&options).await {
            Ok(store) => break store,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    };
    apply_at_last(&store, &batch(1, 5)).await;
    server.freeze(true);
    let text = unavailable(store.apply(batch(6, 9)).await.map(|_| store.clone()));
    assert!(text.contains("within"), "{text}");
    unavailable(try_open(&options).await);
    server.freeze(false);
    apply_at_last(&store, &batch(6, 9)).await;
    assert_whole(&store, 9).await;
    // Somebody else's lock: the server ends the statement, and says so.
    let holder = hold(&server).await;
    let error = store.apply(batch(10, 12)).await.expect_err("the table is locked");
    assert!(error.is_retryable(), "{error}");
    drop(holder);
    apply_at_last(&store, &batch(10, 12)).await;
    assert_whole(&store, 12).await;
}

#[tokio::test]
async fn what_only_a_person_can_mend_is_refused_with_the_reason() {
    let server = Postgres::start(&[]);
    let good = server.database("qcat");
    let wrong = PostgresOptions { password: Some("guess".to_owned().into()), ..good.clone() };
    let text = refused(try_open(&wrong).await);
    assert!(text.contains("password authentication failed") && !text.contains("guess"), "{text}");
    assert!(!format!("{good:?}").contains(PASSWORD));
    assert!(refused(try_open(&server.options("nowhere")).await).contains("nowhere"));
    let port = PostgresOptions { port: 1, ..good.clone() };
    assert!(unavailable(try_open(&port).await).contains("refused"));

    // The rights that the old manual grants are not enough on PostgreSQL 15; its owner has them.
    server.sql("postgres", "CREATE DATABASE granted");
    server.sql("postgres", &format!("GRANT ALL PRIVILEGES ON DATABASE granted TO {USER}"));
    let text = refused(try_open(&server.options("granted")).await);
    assert!(text.contains(&format!("ALTER DATABASE granted OWNER TO {USER}")), "{text}");
    server.sql("postgres", &format!("ALTER DATABASE granted OWNER TO {USER}"));
    try_open(&server.options("granted")).await.expect("opened");

    // Applied once, then never again; a changed text and a newer schema are refused.
    try_open(&good).await.expect("opened");
    try_open(&good).await.expect("opened");
    assert_eq!(server.sql("qcat", "SELECT count(*) FROM schema_migrations"), "1");
    server.sql("qcat", "INSERT INTO schema_migrations VALUES (99, 'later', 'x')");
    assert!(refused(try_open(&good).await).contains("version 99"));
    server.sql("qcat", "DELETE FROM schema_migrations WHERE version = 99");
    server.sql("qcat", "UPDATE schema_migrations SET checksum = 'altered'");
    assert!(refused(try_open(&good).await).contains("check sum"));

    // A migration is whole or not at all: here the last of its tables is in the way.
    let half = server.database("half");
    server.sql("half", "CREATE TABLE users (of_somebody_else int)");
    assert!(refused(try_open(&half).await).contains("users"));
    assert_eq!(server.sql("half", "SELECT to_regclass('orders') IS NULL"), "t");
    server.sql("half", "DROP TABLE users");
    try_open(&half).await.expect("opened");
}

#[tokio::test]
async fn the_pool_keeps_its_limits() {
    let server = Postgres::start(&[]);
    let mut options = server.database("qcat");
    (options.max_open_conns, options.max_idle_conns) = (3, 1);
    (options.connect_timeout, options.conn_max_idle_time) = (Duration::from_millis(700), Duration::from_millis(300));
    let store = try_open(&options).await.expect("opened");
    let connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'qcat'";
    // Ten at once on a table that is locked: three are in, the others wait in vain.
    let holder = hold(&server).await;
    let page = || Page { limit: 1, cursor: None };
    let asked: Vec<_> = (0..10).map(|_| tokio::spawn(store.fills(Filter::default(), page()))).collect();
    let deadline = Instant::now() + Duration::from_secs(20);
    while store.stats().timeouts < 7 {
        let stats = store.stats();
        assert!(stats.open <= 3 && stats.in_use <= 3 && stats.waiting <= 10, "{stats:?}");
        assert!(Instant::now() < deadline, "they wait for ever: {stats:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let stats = store.stats();
    assert_eq!((stats.max, stats.open, stats.in_use, stats.waiting), (3, 3, 3, 0), "{stats:?}");
    drop(holder);
    let mut failed = 0;
    for asked in asked {
        match asked.await.expect("joined") {
            Ok(_) => {}
            Err(StoreError::Unavailable(text)) => {
                assert!(text.contains("3 connections at most"), "{text}");
                failed += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(failed, 7);
    let stats = store.stats();
    assert!(stats.idle <= 1 && stats.timeouts == 7 && stats.in_use == 0, "{stats:?}");
    // The last one goes, too, once nothing has been asked for a while.
    let deadline = Instant::now() + Duration::from_secs(20);
    while server.sql("qcat", connections) != "0" {
        assert!(Instant::now() < deadline, "an idle connection stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    store.ping().await.expect("and another is made");
    // Connections that the server ended while they were idle are not used again.
    let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'qcat'";
    server.sql("qcat", ended);
    tokio::time::sleep(Duration::from_millis(100)).await;
    store.ping().await.expect("a new one");
}

/// A CA's certificate, a server's for `name` and its key, in PEM form.
fn certificates(name: &str) -> [String; 3] {
    let ca_key = rcgen::KeyPair::generate().expect("made");
    let mut ca = rcgen::CertificateParams::new(Vec::<String>::new()).expect("made");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).expect("signed").pem();
    let (issuer, key) = (rcgen::Issuer::new(ca, ca_key), rcgen::KeyPair::generate().expect("made"));
    let params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("made");
    [ca_pem, params.signed_by(&key, &issuer).expect("signed").pem(), key.serialize_pem()]
}

#[tokio::test]
async fn tls_is_what_the_mode_says() {
    let ([ca, cert, key], [other, ..]) = (certificates("localhost"), certificates("localhost"));
    let mut server = Postgres::start(&[]);
    let good = server.database("qcat");
    let ca_file = server.file("ca.pem", &ca);
    let other_file = server.file("other.pem", &other);
    let mode = |ssl_mode: SslMode| PostgresOptions { host: "localhost".to_owned(), ssl_mode, ..good.clone() };
    let full = |ca_file| SslMode::VerifyFull { ca_file: Some(ca_file) };
    // A server without TLS.
    try_open(&mode(SslMode::Prefer)).await.expect("plain");
    unavailable(try_open(&mode(SslMode::Require)).await);
    server.stop();
    let (cert, key) = (server.file("server.pem", &cert), server.file("server.key", &key));
    let setting = |name: &str, path: &std::path::Path| format!("{name}={}", path.display());
    server.configure(&["ssl=on", &setting("ssl_cert_file", &cert), &setting("ssl_key_file", &key)]);
    server.resume();
    for (ssl_mode, is_tls) in [
        (SslMode::Disable, "f"),
        (SslMode::Prefer, "t"),
        (SslMode::Require, "t"),
        (SslMode::VerifyCa { ca_file: Some(ca_file.clone()) }, "t"),
        (full(ca_file.clone()), "t"),
    ] {
        let store = try_open(&mode(ssl_mode.clone())).await.unwrap_or_else(|e| panic!("{ssl_mode:?}: {e}"));
        let sql =
            "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'qcat'";
        assert_eq!(server.sql("qcat", sql), is_tls, "{ssl_mode:?}");
        store.close().await.expect("closed");
    }
    // Another name: the chain is good, the host is not.
    let named = |ssl_mode| PostgresOptions { host: "127.0.0.1".to_owned(), ..mode(ssl_mode) };
    try_open(&named(SslMode::VerifyCa { ca_file: Some(ca_file.clone()) })).await.expect("any host");
    unavailable(try_open(&named(full(ca_file.clone()))).await);
    // Another authority.
    unavailable(try_open(&mode(SslMode::VerifyCa { ca_file: Some(other_file.clone()) })).await);
    unavailable(try_open(&mode(full(other_file))).await);
    unavailable(try_open(&mode(SslMode::VerifyFull { ca_file: None })).await);
    refused(try_open(&mode(full("/nonexistent".into()))).await);
    // Over the Unix socket nothing is encrypted, and nothing has to be.
    let socket = PostgresOptions { host: server.socket_dir(), ..mode(SslMode::Disable) };
    try_open(&socket).await.expect("opened");
}

#[tokio::test]
async fn a_sqlite_file_is_its_owners_and_is_refused_when_it_does_not_fit() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = |name: &str| {
        StoreOptions::Sqlite(SqliteOptions {
            path: dir.path().join(name),
            readers: 2,
            acquire_timeout: Duration::from_millis(500),
            statement_timeout: Duration::from_secs(5),
        })
    };
    let try_open = async |name: &str| open(options(name), Arc::new(NoObserver)).await;
    let store = try_open("a.db").await.expect("opened");
    store.add_user("alice", "hash".to_owned().into(), Role::Admin, at(1)).await.expect("added");
    let mode = std::fs::metadata(dir.path().join("a.db")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Another process holds the file: refused for now, and whole afterwards.
    store.apply(batch(1, 3)).await.expect("applied");
    let file = || rusqlite::Connection::open(dir.path().join("a.db")).expect("opened");
    let holder = file();
    holder.execute_batch("BEGIN IMMEDIATE").expect("held");
    let held = store.apply(batch(4, 6)).await;
    assert!(matches!(held, Err(StoreError::Unavailable(_))), "{held:?}");
    holder.execute_batch("ROLLBACK").expect("let go");
    drop(holder);
    store.apply(batch(4, 6)).await.expect("applied");
    assert_whole(&store, 6).await;
    let alter = |sql: &str| file().execute_batch(sql).expect("altered");
    store.close().await.expect("closed");
    assert!(!dir.path().join("a.db-wal").exists(), "folded into the file");
    alter("INSERT INTO schema_migrations VALUES (99, 'later', 'x', 0)");
    assert!(refused(try_open("a.db").await).contains("version 99"));
    alter("DELETE FROM schema_migrations WHERE version = 99; UPDATE schema_migrations SET checksum = 'altered'");
    assert!(refused(try_open("a.db").await).contains("check sum"));
    std::fs::write(dir.path().join("b.db"), "this is no database, but long enough to look like one".repeat(100))
        .expect("written");
    refused(try_open("b.db").await);
    std::fs::create_dir(dir.path().join("c.db")).expect("made");
    refused(try_open("c.db").await);
}
