//! `network_manager`: the address that we share: its request weight, its connections, latency and clock offset.
//!
//! Its parts: the probe asks the exchange for its time and measures round trip and offset; `definitions` keeps the contracts up to
//! date. What the sessions need of the network they get from [`Network`].

use crate::runtime::component::Component;
use crate::runtime::definitions::{Definitions, keep};
use crate::runtime::host::{Notes, SessionWatch, Turn};
use crate::runtime::lane::Lane;
use crate::runtime::supervise::{Base, Beat, Cause, Exit, Line, Part, watch};
use qcat_core::binance::decode::rest;
use qcat_core::binance::limits::WeightLimit;
use qcat_core::binance::proto::ClockOffset;
use qcat_core::event::Scope;
use qcat_core::time::Span;
use qcat_io::ask::{AskError, Asker};
use qcat_io::net::NetError;
use qcat_io::net::http::HttpClient;
use qcat_io::net::tls::Connector;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The part that keeps definitions up to date; the one before it is the probe.
const DEFINITIONS: usize = 1;
/// Weight of the question for the time.
const WEIGHT: u32 = 1;
const TIMEOUT: Duration = Duration::from_secs(5);
/// A loop that makes no progress for this long is built anew: longer than any of its questions may take.
const STALL: Duration = Duration::from_secs(60);
/// Questions in a row without an answer after which the probe counts as failed.
const MISSES_MAX: u32 = 6;

/// The way to the exchange, shared by all sessions of the address. Clones share everything.
#[derive(Debug, Clone)]
pub struct Network {
    /// Opens connections.
    pub connector: Connector,
    /// Where REST requests go.
    pub rest_url: String,
    /// Connections for questions; orders have their own.
    pub http: Rc<HttpClient>,
    /// The request weight of the address.
    pub weight: Rc<RefCell<WeightLimit>>,
    /// Notes of sessions.
    pub notes: Rc<Notes>,
    /// The exchange's definitions are not what we know: to be asked for soon.
    pub stale: Rc<Notify>,
    /// Watches what sessions take.
    pub watch: Option<Rc<dyn SessionWatch>>,
}

impl Network {
    /// A network of one address and one exchange.
    pub fn new(connector: Connector, rest_url: &str) -> Result<Network, NetError> {
        let http = Rc::new(HttpClient::new(connector.clone(), rest_url)?);
        let (weight, notes, stale) = (Rc::default(), Rc::default(), Rc::default());
        Ok(Network { connector, rest_url: rest_url.to_owned(), http, weight, notes, stale, watch: None })
    }

    /// How a loop's next turn is to go.
    pub(crate) fn turn(&self) -> Turn {
        self.watch.as_ref().map_or(Turn::Go, |watch| watch.turn(Component::NetworkManager))
    }

    /// Asks questions that belong to no session, in the lane's time.
    pub fn asker(&self, lane: &Lane) -> Asker {
        let lane = lane.clone();
        Asker { http: self.http.clone(), weight: self.weight.clone(), now: Rc::new(move || lane.now()) }
    }
}

/// The last answer of the exchange.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    round_trip: Span,
    offset: Span,
}

/// The component.
pub struct NetworkManager {
    network: Network,
    every: Duration,
    definitions: Option<Definitions>,
    loops: [Option<JoinHandle<()>>; 2],
    last: Option<(Measured, Instant)>,
}

impl NetworkManager {
    /// Asks the exchange for its time `every` so often, and keeps its definitions up to date if it is told how.
    pub fn new(network: Network, every: Duration, definitions: Option<Definitions>) -> NetworkManager {
        NetworkManager { network, every, definitions, loops: [None, None], last: None }
    }

    fn run(&mut self, child: usize, base: &Base<Self>) {
        let (network, lane, line) = (self.network.clone(), base.lane().clone(), &base.line);
        self.loops[child].take().inspect(JoinHandle::abort);
        let beat = Beat::default();
        let watched = (beat.clone(), STALL);
        self.loops[child] = match &self.definitions {
            Some(definitions) if child == DEFINITIONS => {
                Some(watch(line, child, watched, keep(definitions.clone(), network, lane, beat)))
            }
            _ => Some(watch(line, child, watched, probe(network, self.every, lane, line.clone(), beat))),
        };
    }
}

async fn probe(network: Network, every: Duration, lane: Lane, line: Line<NetworkManager>, beat: Beat) -> Exit {
    let (mut misses, asker) = (0, network.asker(&lane));
    loop {
        beat.beat();
        if let Some(exit) = network.turn().take().await {
            return exit;
        }
        let sent = lane.now();
        let answer = asker.get("/fapi/v1/time", WEIGHT, None, TIMEOUT).await;
        let received = lane.now();
        let time = match answer {
            Ok(body) => rest::time(&body).map_err(|error| error.to_string()).map(Some),
            // Not asked: that says nothing of the exchange.
            Err(AskError::Limited(_)) => Ok(None),
            Err(error) => Err(error.to_string()),
        };
        match time {
            Ok(None) => {}
            Ok(Some(server)) => {
                misses = 0;
                let offset = ClockOffset::measured(sent, received, server).span();
                line.tell(Measured { round_trip: received.since(sent), offset });
            }
            Err(error) if misses >= MISSES_MAX => return Exit::Failed(error.into()),
            Err(error) => {
                misses += 1;
                network.notes.note(Component::NetworkManager, "no_time", &error, received);
            }
        }
        beat.waiting(tokio::time::sleep(every)).await;
    }
}

impl Part for NetworkManager {
    const COMPONENT: Component = Component::NetworkManager;
    type Ground = Lane;
    type Word = Measured;

    fn children(&self) -> Vec<String> {
        let definitions = self.definitions.iter().map(|_| "definitions".to_owned());
        std::iter::once("probe".to_owned()).chain(definitions).collect()
    }

    fn start(&mut self, child: usize, base: &Base<Self>) {
        self.run(child, base);
    }

    fn restart(&mut self, child: usize, _cause: &Cause, base: &Base<Self>) -> Result<(), String> {
        self.run(child, base);
        Ok(())
    }

    fn give_up(&mut self, child: usize, _cause: &Cause, _base: &Base<Self>) {
        if child != DEFINITIONS {
            self.last = None;
        }
    }

    fn scope(&self, _child: usize) -> Scope {
        Scope::All
    }

    fn word(&mut self, measured: Measured, _base: &Base<Self>) {
        self.last = Some((measured, Instant::now()));
    }

    fn begin_stop(&mut self, _base: &Base<Self>) {}

    fn left(&self, _base: &Base<Self>) -> Option<String> {
        None
    }

    fn end(&mut self, _base: &Base<Self>) {
        self.loops.iter_mut().filter_map(Option::take).for_each(|task| task.abort());
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let weight = self.network.weight.borrow();
        let mut facts = vec![("weight_left", weight.left().to_string())];
        if let Some((Measured { round_trip, offset }, at)) = self.last {
            facts.push(("answered_ms_ago", at.elapsed().as_millis().to_string()));
            facts.push(("round_trip_ms", round_trip.millis().to_string()));
            facts.push(("clock_offset_ms", offset.millis().to_string()));
        }
        let notes = self.network.notes.counts();
        facts.extend(notes.into_iter().map(|(component, code, count)| (code, format!("{count} ({component})"))));
        facts
    }
}
