//! The daemon's parts around a lane, joined to the simulated exchange frame by frame instead of over sockets: both sessions in
//! their seats, the lane with its draining task, a writer that makes the signed request. What the exchange answers is kept
//! until somebody pumps it, so that it stays out of what is measured.

use qcat_actors::runtime::feed::{Feed as LaneFeed, Next};
use qcat_actors::runtime::lane::{Lane, LaneOptions, Released, VenueWriter};
use qcat_actors::runtime::latch::HaltLatch;
use qcat_core::binance::encode;
use qcat_core::binance::instruments;
use qcat_core::binance::limits::WeightLimit;
use qcat_core::binance::proto::{
    Action, HttpRequest, Incoming, LinkId, Method, PeerId, RequestId, ServerIn, ServerOut,
};
use qcat_core::binance::server::{Feed, SimExchange};
use qcat_core::binance::session::Session;
use qcat_core::binance::session::account::{AccountOptions, AccountSession};
use qcat_core::binance::session::market::{MarketOptions, MarketSession};
use qcat_core::event::Input;
use qcat_core::id::{AccountIx, SymbolIx};
use qcat_core::instrument::Universe;
use qcat_core::num::Money;
use qcat_core::strategy::Registry;
use qcat_core::time::{Span, Ts};
use qcat_core::venue::{AccountSpec, Fees, Latency, Venue, VenueConfig};
use qcat_io::clock::{Clock, SimClock, SystemClock};
use qcat_io::disk::RealDisk;
use qcat_io::journal::{Durability, Options};
use qcat_io::metrics::{HostOptions, Metrics};
use qcat_io::seat::{self, Host, Seat};
use qcat_io::sign::Signer;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::hint::black_box;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const ACCOUNT: AccountIx = AccountIx(0);
/// When the world begins.
const START: Ts = Ts::from_millis(1_723_161_000_000);
const KEY: &str = "key";
/// Peers: the two market links, the user stream; requests come after.
const USER: PeerId = PeerId(2);

/// Costs what the machine's clock costs and shows the world's time, so that limits per minute are what they would be.
#[derive(Debug)]
struct WorldClock {
    shown: SimClock,
    machine: SystemClock,
}

impl Clock for WorldClock {
    fn wall(&self) -> Ts {
        black_box(self.machine.wall());
        self.shown.wall()
    }

    fn monotonic(&self) -> Span {
        black_box(self.machine.monotonic());
        self.shown.monotonic()
    }
}

struct LaneSide(Lane);

impl Host for LaneSide {
    fn now(&self) -> Ts {
        self.0.now()
    }
    fn universe(&self) -> Rc<Universe> {
        self.0.universe()
    }
    fn offer(&self, input: Input) {
        self.0.offer(input);
    }
    fn note(&self, code: &'static str, text: &str) {
        eprintln!("{code}: {text}");
    }
    fn learn_definitions(&self) {
        panic!("an order was refused by its definition");
    }
    fn keep(&self, _code: &'static str, _frame: &[u8]) {}
    fn failed(&self, reason: &str) {
        panic!("{reason}");
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Market,
    Account,
}

/// What goes to the exchange.
enum Outgoing {
    Open(PeerId, String),
    Request { whose: Whose, id: RequestId, method: Method, target: String },
}

/// When the signed bytes of a request stood ready, and the allocations of the thread by then.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    pub at: Instant,
    pub allocations: u64,
    /// It places an order; otherwise it cancels one or asks.
    pub places: bool,
}

pub struct World {
    pub lane: Lane,
    clock: Arc<WorldClock>,
    market: Seat<MarketSession>,
    account: Seat<AccountSession>,
    exchange: RefCell<SimExchange>,
    signer: Signer,
    outgoing: RefCell<VecDeque<Outgoing>>,
    /// Frames of the public streams that were not given to the session.
    frames: RefCell<VecDeque<(LinkId, Arc<str>)>>,
    pub sent: Cell<Option<Sent>>,
    pub accepted: Cell<u64>,
    pub refused: Cell<u64>,
    allocations: fn() -> u64,
}

/// What sees every step in a daemon too: the meter, the order log, and the feed with its projector and its push hub.
fn watched(lane: &Lane, weight: &Rc<RefCell<WeightLimit>>) {
    let every = Duration::from_secs(5);
    let metrics = Metrics::start(HostOptions { every, directories: Vec::new() }, None).expect("a thread");
    qcat::observe::observe(lane, &metrics, weight.clone()).expect("a thread");
    let feed = LaneFeed::of(lane, Options::default().engine, true);
    for _ in 0..2 {
        let subscription = feed.subscribe(1 << 16);
        std::thread::spawn(move || {
            loop {
                while let Next::Told(told) = subscription.look() {
                    black_box(told);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        });
    }
}

struct Writer(Rc<World>);

impl VenueWriter for Writer {
    fn send(&self, command: Released) {
        let act = |action| self.0.act(Whose::Account, action);
        self.0.account.call(|session, world, out| session.command(command.into_command(), world, out), act);
    }
}

impl World {
    /// A lane that journals under `dir` and runs `strategies` of the configuration, with both sessions started.
    pub fn new(
        dir: &Path,
        durability: Durability,
        registry: Registry,
        config: &str,
        feed: Feed,
        count: fn() -> u64,
    ) -> Rc<World> {
        let universe = instruments::builtin_universe().expect("embedded");
        let config = qcat::config::parse("bench", config, &[]).expect("valid");
        let mut config = config.engine(&universe).expect("known symbols");
        config.accounts[0].trading = true;
        let clock = Arc::new(WorldClock { shown: SimClock::new(START), machine: SystemClock::new() });
        let options = LaneOptions {
            dir: dir.to_owned(),
            journal: Options { durability, ..Options::default() },
            queue: 4096,
            batch: 64,
            step_budget: Span::from_millis(50),
            snapshot_every: Span::from_secs(86_400),
        };
        let recovering = Lane::open(options, Arc::new(registry), Arc::new(RealDisk), clock.clone(), HaltLatch::new());
        let begun = recovering.expect("opens").begin(universe.definitions(), config, None);
        let lane = begun.expect("begins").0;
        let weight = Rc::new(RefCell::new(WeightLimit::new()));
        watched(&lane, &weight);
        lane.run();
        let host: Rc<dyn Host> = Rc::new(LaneSide(lane.clone()));
        let world = Rc::new(World {
            market: Seat::new(MarketSession::new(market_options(), weight.clone()), host.clone()),
            account: Seat::new(AccountSession::new(account_options(), weight), host),
            lane,
            clock,
            exchange: RefCell::new(exchange(universe, feed)),
            signer: Signer::new(&"secret".to_owned().into()),
            outgoing: RefCell::default(),
            frames: RefCell::default(),
            sent: Cell::new(None),
            accepted: Cell::new(0),
            refused: Cell::new(0),
            allocations: count,
        });
        world.lane.set_writer(ACCOUNT, Some(Rc::new(Writer(world.clone()))));
        world.account.call(|session, w, out| session.start(w, out), |action| world.act(Whose::Account, action));
        world.market.call(|session, w, out| session.start(w, out), |action| world.act(Whose::Market, action));
        world
    }

    /// Gives a frame of a public stream to the session, as the socket task does.
    pub fn frame(&self, link: LinkId, bytes: &[u8]) {
        let act = |action| self.act(Whose::Market, action);
        self.market.handle(Incoming::Frame { link, bytes }, act);
    }

    /// Goes on to the exchange's next moment; its public frames wait in [`World::next_frame`].
    pub async fn advance(&self) {
        let now = self.clock.shown.wall();
        let next = self.exchange.borrow().next_timeout().map_or(now, |at| at.max(now));
        self.clock.shown.advance(next.since(now));
        let mut out = Vec::new();
        self.exchange.borrow_mut().on_time(next, &mut out);
        self.take(out);
        if self.account.session().next_timeout().is_some_and(|at| at <= next) {
            self.account.call(|session, w, out| session.on_time(w, out), |action| self.act(Whose::Account, action));
        }
        self.settle().await;
    }

    /// Everything that is on its way arrives, and the lane comes to rest.
    pub async fn settle(&self) {
        loop {
            self.lane.turn();
            turn_of_others().await;
            let waiting = std::mem::take(&mut *self.outgoing.borrow_mut());
            if waiting.is_empty() && self.lane.is_idle() {
                return;
            }
            waiting.into_iter().for_each(|outgoing| self.deliver(outgoing));
        }
    }

    pub fn next_frame(&self) -> Option<(LinkId, Arc<str>)> {
        self.frames.borrow_mut().pop_front()
    }

    pub fn universe(&self) -> Rc<Universe> {
        self.lane.universe()
    }

    pub fn is_up(&self) -> bool {
        self.market.session().is_up() && self.account.session().is_up()
    }

    fn act(&self, whose: Whose, action: Action) {
        let outgoing = match action {
            Action::Http(request) => self.request(whose, request),
            Action::Connect { link, url } if whose == Whose::Market => Outgoing::Open(PeerId(link.0.into()), url),
            Action::Connect { url, .. } => Outgoing::Open(USER, url),
            other => panic!("nothing goes wrong here: {other:?}"),
        };
        self.outgoing.borrow_mut().push_back(outgoing);
    }

    /// The request as the shell makes it; the first one that places an order, or any, is remembered.
    fn request(&self, whose: Whose, request: HttpRequest) -> Outgoing {
        let HttpRequest { id, method, path, query, auth, .. } = request;
        let target = seat::target(path, query, auth, Some(&self.signer)).expect("there is a signer");
        let (at, allocations) = (Instant::now(), (self.allocations)());
        let places = method == Method::Post && path == encode::ORDER;
        if self.sent.get().is_none_or(|sent| places && !sent.places) {
            self.sent.set(Some(Sent { at, allocations, places }));
        }
        Outgoing::Request { whose, id, method, target }
    }

    fn deliver(&self, outgoing: Outgoing) {
        let (now, mut out) = (self.clock.shown.wall(), Vec::new());
        match outgoing {
            Outgoing::Open(peer, url) => {
                let at = url.find("://x").map_or(0, |at| at + 4);
                let (path, query) = url[at..].split_once('?').unwrap_or((&url[at..], ""));
                self.exchange.borrow_mut().handle(ServerIn::Open { peer, path, query }, now, &mut out);
            }
            Outgoing::Request { whose, id, method, target } => {
                self.hear(whose, Incoming::Written(id));
                let (path, query) = target.split_once('?').unwrap_or((&target, ""));
                let peer = PeerId(id.0 * 2 + 1000 + u64::from(whose == Whose::Account));
                let (method, signature_valid) = (method.as_str(), self.signer.verify(query));
                let call = ServerIn::Http { peer, method, path, query, api_key: Some(KEY), signature_valid };
                self.exchange.borrow_mut().handle(call, now, &mut out);
            }
        }
        self.take(out);
    }

    fn hear(&self, whose: Whose, incoming: Incoming<'_>) {
        match whose {
            Whose::Market => self.market.handle(incoming, |action| self.act(whose, action)),
            Whose::Account => self.account.handle(incoming, |action| self.act(whose, action)),
        };
    }

    /// Takes what the exchange sends: public frames wait, everything else is told at once.
    fn take(&self, out: Vec<ServerOut>) {
        for sent in out {
            match sent {
                ServerOut::Send { peer: USER, text } => {
                    self.hear(Whose::Account, Incoming::Frame { link: LinkId(0), bytes: text.as_bytes() });
                }
                ServerOut::Send { peer, text } => self.frames.borrow_mut().push_back((LinkId(peer.0 as u16), text)),
                ServerOut::Accept { peer: USER } => self.hear(Whose::Account, Incoming::LinkUp(LinkId(0))),
                ServerOut::Accept { peer } => self.hear(Whose::Market, Incoming::LinkUp(LinkId(peer.0 as u16))),
                ServerOut::Reply { peer, status, headers, body } => {
                    let count = if status == 200 { &self.accepted } else { &self.refused };
                    count.set(count.get() + 1);
                    let whose = if peer.0 % 2 == 1 { Whose::Account } else { Whose::Market };
                    let id = RequestId((peer.0 - 1000) / 2);
                    self.hear(whose, Incoming::Reply { id, status, headers, body: body.as_bytes() });
                }
                other => panic!("nothing goes wrong here: {other:?}"),
            }
        }
    }
}

/// Lets the tasks of this thread that are ready have their turn, the lane's among them.
pub async fn turn_of_others() {
    let mut begun = false;
    std::future::poll_fn(move |context| {
        if std::mem::replace(&mut begun, true) {
            return std::task::Poll::Ready(());
        }
        // Woken at once, it stands behind those that are ready already.
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await
}

fn market_options() -> MarketOptions {
    MarketOptions {
        ws_public_url: "ws://x/public".into(),
        ws_market_url: "ws://x/market".into(),
        symbols: vec![SymbolIx(0)],
        marks_only: vec![],
        depth_millis: 100,
        aggregate_trades: false,
        kline_intervals: Vec::new(),
        silence: Span::from_secs(86_400),
        silence_trades: Span::from_secs(86_400),
        seed: 1,
    }
}

fn account_options() -> AccountOptions {
    let (ws_private_url, recv_window) = ("ws://x/private".into(), Span::from_secs(5));
    let (report_timeout, clock_offset_max) = (Span::from_secs(5), Span::from_secs(1));
    AccountOptions {
        account: ACCOUNT,
        symbols: vec![SymbolIx(0)],
        ws_private_url,
        recv_window,
        report_timeout,
        clock_offset_max,
        seed: 1,
    }
}

fn exchange(universe: Universe, feed: Feed) -> SimExchange {
    let usdt = universe.asset("USDT").expect("embedded");
    let latency = Latency { entry: Span::ZERO, answer: Span::ZERO, report: Span::ZERO };
    let mut venue = Venue::new(VenueConfig { latency, ..VenueConfig::default() }, universe);
    let spec = AccountSpec { balances: vec![Money::units(usdt, 1_000_000)], fees: Fees::default(), leverage: 20 };
    venue.add_account(ACCOUNT, &spec);
    let info = instruments::builtin().expect("embedded");
    SimExchange::new(venue, info, BTreeMap::from([(KEY.to_owned(), ACCOUNT)]), feed, [])
}

/// The world's time at the start, for its feed.
pub const fn start() -> Ts {
    START
}
