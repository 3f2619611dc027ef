//! A running daemon: the composed parts under the system actor, and what it remembers for those who watch.

use crate::api::push::Push;
use crate::config::{Config, Fault};
use crate::observe;
use crate::projector::Origin;
use crate::projector::database::Database;
use crate::terminal::Recent;
use crate::wire::{self, Composed, Composition, Knobs, LaneComposition, Parts, StartError};
use qcat_actors::market_data_streams::StreamGroup;
use qcat_actors::network_manager::Network;
use qcat_actors::order_managers::AccountSetup;
use qcat_actors::runtime::component::Component;
use qcat_actors::runtime::console::Console;
use qcat_actors::runtime::definitions::Definitions;
use qcat_actors::runtime::feed::Feed;
use qcat_actors::runtime::lane::{Lane, Step, Tap};
use qcat_actors::runtime::stop::{StopPlan, StopReport, StopState, StopTimes};
use qcat_actors::runtime::system::{self, BeginOptions, LaneOptions, SystemHandle};
use qcat_actors::runtime::watchdog::{Heart, Watchdog};
use qcat_core::binance::decode::{self, definitions::RateLimitKind};
use qcat_core::binance::session::account::AccountOptions;
use qcat_core::binance::session::market::MarketOptions;
use qcat_core::engine::Engine;
use qcat_core::id::{AccountIx, AssetIx, SymbolIx};
use qcat_core::instrument::Instrument;
use qcat_core::order::Fill;
use qcat_core::time::Span;
use qcat_io::disk::RealDisk;
use qcat_io::journal;
use qcat_io::metrics::Metrics;
use std::cell::{Ref, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How often the exchange is asked for its time.
const PROBE_EVERY: Duration = Duration::from_secs(30);
/// Assets in which the exchange takes fees besides the margin asset, where the account is set so.
const FEE_ASSETS: [&str; 1] = ["BNB"];

/// How a stop went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// Every component stopped within its time.
    InTime,
    /// These were cut off.
    Overran(Vec<String>),
}

/// A daemon that does not trade yet.
pub struct Starting {
    handle: SystemHandle,
    keep_fills: bool,
    lane: Option<LaneComposition>,
    database: Database,
    metrics: Arc<Metrics>,
    push: Push,
}

/// A running daemon.
pub struct Daemon {
    handle: SystemHandle,
    lane: Lane,
    seen: Rc<RefCell<Seen>>,
    _watchdog: Watchdog,
}

#[derive(Default)]
struct Seen {
    recent: Recent,
    keep_fills: bool,
    fills: Vec<Fill>,
}

struct Watch(Rc<RefCell<Seen>>);

impl Tap for Watch {
    fn after_step(&mut self, step: &Step<'_>) {
        if step.happened.fills.is_empty() && step.decisions.is_empty() {
            return;
        }
        let mut seen = self.0.borrow_mut();
        seen.recent.see(&step.happened.fills, step.decisions);
        if seen.keep_fills {
            seen.fills.extend(&step.happened.fills);
        }
    }
}

/// The stop plan of a configuration.
pub fn stop_plan(config: &Config) -> Result<StopPlan, Vec<Fault>> {
    let s = &config.shutdown;
    let order: Vec<Component> = s.order.iter().filter_map(|name| name.parse().ok()).collect();
    let time = |span: Span| Duration::from_nanos(span.nanos().unsigned_abs());
    let own = s.component_timeouts.iter().filter_map(|(name, within)| Some((name.parse().ok()?, time(*within))));
    let times = StopTimes {
        component_timeout: time(s.component_timeout),
        component_timeouts: own.collect(),
        shutdown_timeout: time(s.shutdown_timeout),
        signal_timeout: time(s.signal_timeout),
        force_shutdown_after: time(s.force_shutdown_after),
    };
    let loud = s.log_shutdown_progress;
    let plan = StopPlan::new(order, times).map(|plan| if loud { plan } else { plan.quiet() });
    plan.map_err(|errors| {
        let fault = |error: qcat_actors::runtime::stop::PlanError| Fault {
            source: config.source.clone(),
            pos: None,
            key: "shutdown".to_owned(),
            problem: error.to_string(),
        };
        errors.into_iter().map(fault).collect()
    })
}

impl Starting {
    /// Starts the services of a daemon: it can be seen and stopped from here on. Must run on an actix system.
    pub async fn begin(config: &Config, composition: impl Into<Composition>) -> Result<Starting, StartError> {
        let stop = stop_plan(config).map_err(StartError::Config)?;
        let Composition { registry, observer, watch, keep_fills, services, force, knobs } = composition.into();
        let knobs = knobs.unwrap_or_else(|| Knobs::of(config, None));
        let Composed { metrics, database, push, work } = wire::services(config, knobs, registry.clone()).await?;
        let composed = Box::new(move |console: &Console| {
            let mut work = work(console);
            services(&mut work);
            work
        });
        let options = BeginOptions { stop, services: composed, own_thread: true, force };
        let handle = system::begin(options).await.map_err(StartError::Thread)?;
        let heart = Heart::default();
        handle.beats(heart.clone()).await;
        let lane = LaneComposition { registry, observer, watch, hearts: vec![("services", heart)] };
        Ok(Starting { handle, keep_fills, lane: Some(lane), database, metrics, push })
    }

    /// The system.
    pub fn system(&self) -> &SystemHandle {
        &self.handle
    }

    /// Recovers the journal, learns the exchange's contracts, which may take as long as the exchange is away, and trades. May be
    /// given up at any point; then [`Starting::stop`]. To be called once.
    pub async fn trade(&mut self, config: &Config) -> Result<Daemon, StartError> {
        let composition = self.lane.take().expect("a daemon starts to trade once");
        let registry = composition.registry.clone();
        let parts = wire::parts(config, composition, &|phase, reason| self.handle.phase(phase, reason)).await?;
        let recovery = &parts.recovery;
        tracing::info!(last_seq = recovery.last_seq.0, folded = recovery.folded, snapshot = ?recovery.snapshot,
            torn = ?recovery.torn, closed = recovery.closed, "the journal is recovered");
        let seen = Rc::new(RefCell::new(Seen { keep_fills: self.keep_fills, ..Seen::default() }));
        parts.lane.tap(Box::new(Watch(seen.clone())));
        let lane = parts.lane.clone();
        let feed = Feed::of(&lane, journal::Options::default().engine, config.journal.market_data != "none");
        self.push.attach(&lane, feed.clone());
        let journal = config.journal.dir.clone();
        self.database.project(Origin { feed, disk: Arc::new(RealDisk), journal, registry });
        let (options, watchdog) = options(config, parts)?;
        observe::observe(&lane, &self.metrics, options.network.weight.clone()).map_err(StartError::Thread)?;
        self.handle.attach(options).await?;
        Ok(Daemon { handle: self.handle.clone(), lane, seen, _watchdog: watchdog })
    }

    /// Stops what has started.
    pub async fn stop(&self) -> Stopped {
        stop(&self.handle).await
    }
}

impl Daemon {
    /// Composes and starts a daemon; returns when it trades. Must run on an actix system.
    pub async fn start(config: &Config, composition: impl Into<Composition>) -> Result<Daemon, StartError> {
        let mut starting = Starting::begin(config, composition).await?;
        let daemon = starting.trade(config).await;
        if daemon.is_err() {
            starting.stop().await;
        }
        daemon
    }

    /// The lane.
    pub fn lane(&self) -> &Lane {
        &self.lane
    }

    /// The system, for its tree and the kill switch.
    pub fn system(&self) -> &SystemHandle {
        &self.handle
    }

    /// What happened lately.
    pub fn recent(&self) -> Ref<'_, Recent> {
        Ref::map(self.seen.borrow(), |seen| &seen.recent)
    }

    /// The fills of this run, if its composition keeps them.
    pub fn fills(&self) -> Ref<'_, [Fill]> {
        Ref::map(self.seen.borrow(), |seen| seen.fills.as_slice())
    }

    /// Waits until the daemon has to end by itself, and says why.
    pub async fn ended(&self) -> String {
        self.handle.ended().await
    }

    /// Stops everything in the configured order.
    pub async fn stop(&self) -> Stopped {
        stop(&self.handle).await
    }
}

async fn stop(handle: &SystemHandle) -> Stopped {
    let report = handle.stop().await;
    let mut late = late(&report);
    late.extend(report.journal.iter().map(|error| format!("journal ({error})")));
    if late.is_empty() && !report.forced { Stopped::InTime } else { Stopped::Overran(late) }
}

fn late(report: &StopReport) -> Vec<String> {
    let in_time = |state| matches!(state, StopState::Stopped);
    report.components.iter().filter(|c| !in_time(c.state)).map(|c| c.component.to_string()).collect()
}

/// Contracts that price the assets in which the exchange takes fees besides the margin asset, as far as no strategy watches them.
fn fee_contracts(engine: &Engine, watched: &[SymbolIx]) -> Vec<SymbolIx> {
    let universe = engine.universe();
    let margins: BTreeSet<AssetIx> = engine.config().accounts.iter().map(|a| a.limits.exposure_max.asset).collect();
    let prices = |i: &&Instrument| {
        let fees = FEE_ASSETS.contains(&universe.asset_name(i.base)) && margins.contains(&i.quote);
        fees && i.is_tradable() && !watched.contains(&i.symbol)
    };
    universe.instruments().iter().filter(prices).map(|i| i.symbol).collect()
}

/// The candles that strategies want and the exchange has. Those that it does not have are built from trades.
fn kline_intervals(lane: &Lane) -> Vec<String> {
    let strategies = lane.read(|engine| engine.config().strategies.clone());
    let instances = strategies.iter().filter_map(|s| lane.registry().build(&s.kind, &s.params).ok());
    let intervals = instances.flat_map(|instance| instance.needs().candles).map(|need| need.interval);
    // The futures exchange has no klines below a minute.
    let long = intervals.filter(|interval| *interval >= Span::from_secs(60));
    let words: BTreeSet<&str> = long.filter_map(decode::market::interval_word).collect();
    words.into_iter().map(str::to_owned).collect()
}

fn options(config: &Config, parts: Parts) -> Result<(LaneOptions, Watchdog), StartError> {
    let Parts { lane, connector, credentials, info, clock, watch, watchdog, .. } = parts;
    let mut network = Network::new(connector, &config.exchange.rest_url)?;
    network.watch = watch;
    network.notes.keep_in(&config.journal.dir);
    let mut order_limits = Vec::new();
    for limit in info.iter().flat_map(|info| &info.rate_limits) {
        match limit.kind {
            RateLimitKind::Orders => order_limits.push((limit.interval, limit.limit)),
            RateLimitKind::RequestWeight => network.weight.borrow_mut().set_limit(limit.limit),
            RateLimitKind::RawRequests => {}
        }
    }
    // Jitter needs no reproducible seed in life.
    let seed = clock.wall().nanos().unsigned_abs();
    let first = credentials.first().cloned();
    let traded = |account| {
        let symbols = |engine: &Engine| {
            let strategies = engine.config().strategies.iter().filter(|s| s.account == account);
            strategies.flat_map(|s| s.symbols.clone()).collect::<BTreeSet<_>>().into_iter().collect()
        };
        lane.read(symbols)
    };
    let accounts = credentials.into_iter().enumerate().map(|(at, credentials)| AccountSetup {
        name: config.accounts[at].name.clone(),
        options: AccountOptions {
            account: AccountIx(at as u16),
            symbols: traded(AccountIx(at as u16)),
            ws_private_url: config.exchange.ws_private_url.clone(),
            recv_window: config.exchange.recv_window,
            report_timeout: config.exchange.report_timeout,
            clock_offset_max: config.exchange.clock_offset_max,
            seed: seed.wrapping_add(at as u64),
        },
        credentials,
        order_limits: order_limits.clone(),
    });
    let accounts = accounts.collect();
    let mut symbols: Vec<SymbolIx> =
        lane.read(|engine| engine.config().strategies.iter().flat_map(|s| s.symbols.clone()).collect());
    symbols.sort();
    symbols.dedup();
    let marks_only = lane.read(|engine| fee_contracts(engine, &symbols));
    let options = MarketOptions {
        ws_public_url: config.exchange.ws_public_url.clone(),
        ws_market_url: config.exchange.ws_market_url.clone(),
        symbols,
        marks_only,
        depth_millis: config.market_data.depth_millis,
        aggregate_trades: config.market_data.aggregate_trades,
        kline_intervals: kline_intervals(&lane),
        silence: config.market_data.silence,
        silence_trades: config.market_data.silence_trades,
        seed,
    };
    if info.is_none() {
        // It started with what the journal knows.
        network.stale.notify_one();
    }
    let every = Duration::from_nanos(config.exchange.definitions_every.nanos().unsigned_abs());
    let definitions = first.map(|credentials| Definitions { credentials, every });
    let streams = vec![StreamGroup { name: "market".to_owned(), options }];
    Ok((LaneOptions { lane, network, accounts, streams, probe_every: PROBE_EVERY, definitions }, watchdog))
}
