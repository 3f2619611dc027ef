//! Past candles over real sockets: an exchange that only answers `klines`.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::runtime::supervise::{Managed, supervise};
use crate::runtime::testkit::{MINUTES, START, SYMBOL, World};
use qcat_core::binance::proto::{ReplyHeaders, ServerIn, ServerOut};
use qcat_core::event::StreamFault;
use qcat_core::time::{Span, Ts};
use qcat_io::clock::Clock;
use qcat_io::journal::Durability;
use qcat_io::net::tls::Connector;
use qcat_io::serve::{Exchange, Server};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::LocalSet;

/// Keeps the candles of every minute, closed and under way.
struct Klines(Rc<Cell<u32>>);

impl Exchange for Klines {
    fn handle(&mut self, incoming: ServerIn<'_>, now: Ts, out: &mut Vec<ServerOut>) {
        let ServerIn::Http { peer, path, query, .. } = incoming else { return };
        assert_eq!((path, query), ("/fapi/v1/klines", "symbol=BTCUSDT&interval=1m&limit=4"));
        self.0.set(self.0.get() + 1);
        let open = now.floor(Span::from_secs(60));
        let row = |back: i64| {
            let (from, to) = (open.millis() - back * 60_000, open.millis() - (back - 1) * 60_000 - 1);
            format!(
                r#"[{from},"50000.5","50000.5","50000.5","50000.5","0.010",{to},"500.005",10,"0.010","500.005","0"]"#
            )
        };
        let body = format!("[{}]", (0..4).rev().map(row).collect::<Vec<_>>().join(","));
        out.push(ServerOut::Reply { peer, status: 200, headers: ReplyHeaders::default(), body });
    }

    fn next_timeout(&self) -> Option<Ts> {
        None
    }

    fn on_time(&mut self, _now: Ts, _out: &mut Vec<ServerOut>) {}
}

/// Lets sockets and lane work until it is so.
async fn until(world: &World, what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..3_000 {
        world.settle();
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{what}: {:?}", MINUTES.with_borrow(Clone::clone));
}

/// Trades every ten seconds, until so long after the beginning.
fn trade_until(world: &World, seconds: i64) {
    while world.clock.wall() < START.plus(Span::from_secs(seconds)) {
        world.pass(Span::from_secs(10));
        world.trade();
        world.settle();
    }
}

fn newest() -> Option<i64> {
    MINUTES.with_borrow(|seen| seen.last().copied())
}

#[tokio::test(flavor = "current_thread")]
async fn candles_have_no_hole_after_the_start_and_after_a_lost_stream() {
    let test = async {
        let world = World::new(&["minutes"], Durability::Async, None);
        let (asked, clock) = (Rc::new(Cell::new(0)), world.clock.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::new(Klines(asked.clone()), BTreeMap::new(), move || clock.wall());
        let server = tokio::task::spawn_local(server.run(listener, None));
        let network = Network::new(Connector::new(None).unwrap(), &format!("http://{address}")).unwrap();
        let lane = world.lane.clone();
        let runners = supervise(lane.clone(), |line| StrategyRunners::new(network, &lane, line));
        runners.begin().await;
        world.connect();
        until(&world, "it is not warm", || newest() == Some(-1)).await;
        // The first minute was not seen from its beginning: it is fetched once it is over.
        trade_until(&world, 70);
        until(&world, "the first minute is missing", || newest() == Some(0)).await;
        trade_until(&world, 190);
        assert_eq!(newest(), Some(2), "made from trades");
        let before = asked.get();
        // Three minutes and a half without a stream.
        world.lane.offer(Input::Stream(StreamState::MarketDown(SYMBOL, StreamFault::LinkLost)));
        world.pass(Span::from_secs(210));
        assert_eq!(asked.get(), before);
        world.lane.offer(Input::Stream(StreamState::MarketUp(SYMBOL)));
        until(&world, "what was missed is not fetched", || newest() == Some(5)).await;
        trade_until(&world, 430);
        until(&world, "the minute in which it came back is missing", || newest() == Some(6)).await;
        trade_until(&world, 490);
        assert_eq!(newest(), Some(7), "made from trades again");
        let seen = MINUTES.with_borrow(Clone::clone);
        assert!(seen.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seen:?}");
        server.abort();
    };
    LocalSet::new().run_until(test).await;
}
