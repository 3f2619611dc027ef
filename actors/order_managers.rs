//! `order_managers`: one part per account: its user stream and its venue writer; gate, desk and reconciliation are its nodes.
//!
//! A panicked session is built anew by budget, and what it had under way is told to be lost, so that the desk asks for it. A
//! node's fault rebuilds the engine. Past the budget the account is halted and its entries are cancelled over REST.

use crate::network_manager::Network;
use crate::runtime::component::Component;
use crate::runtime::host::LaneHost;
use crate::runtime::lane::{Lane, Released, VenueWriter};
use crate::runtime::supervise::{AbortOnDrop, Base, Cause, Exit, Part, watch_progress};
use qcat_core::binance::session::account::{AccountOptions, AccountSession};
use qcat_core::event::Scope;
use qcat_core::time::Span;
use qcat_io::net::NetError;
use qcat_io::net::http::HttpClient;
use qcat_io::shell::{Credentials, Shell};
use std::rc::Rc;
use std::time::Duration;

/// A session whose timer, due once a second, stands still for this long is built anew.
const STALL: Duration = Duration::from_secs(10);

/// An account's connection.
#[derive(Debug, Clone)]
pub struct AccountSetup {
    /// Its name for people.
    pub name: String,
    /// What its session needs to know.
    pub options: AccountOptions,
    /// Its API key.
    pub credentials: Credentials,
    /// Orders that the exchange takes in each window, as it says itself.
    pub order_limits: Vec<(Span, u32)>,
}

/// What it is asked by others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderWord {
    /// Control is lost: cancel the entries of every account without the engine.
    CancelEntries,
}

struct Account {
    setup: AccountSetup,
    /// Connections of its own: an order never waits behind a question of somebody else.
    http: Rc<HttpClient>,
    shell: Option<Rc<Shell<AccountSession>>>,
    watched: Option<AbortOnDrop>,
}

/// The component.
pub struct OrderManagers {
    accounts: Vec<Account>,
    network: Network,
}

struct Writer(Rc<Shell<AccountSession>>);

impl VenueWriter for Writer {
    fn send(&self, command: Released) {
        self.0.with(|session, world, out| session.command(command.into_command(), world, out));
    }
}

impl OrderManagers {
    /// Of these accounts.
    pub fn new(accounts: Vec<AccountSetup>, network: Network) -> Result<OrderManagers, NetError> {
        let account = |setup| {
            let http = Rc::new(HttpClient::new(network.connector.clone(), &network.rest_url)?);
            Ok(Account { setup, http, shell: None, watched: None })
        };
        let accounts = accounts.into_iter().map(account).collect::<Result<_, NetError>>()?;
        Ok(OrderManagers { accounts, network })
    }

    fn open(&mut self, child: usize, base: &Base<Self>) -> Rc<Shell<AccountSession>> {
        let account = &mut self.accounts[child];
        let (ix, line, lane) = (account.setup.options.account, base.line.clone(), base.lane().clone());
        let failed = move |why: &str| {
            // From here on commands come back as not sent, instead of going to a session that hears nothing.
            lane.set_writer(ix, None);
            line.ended(child, Cause::Loop(Exit::Panicked(why.into())));
        };
        let host = LaneHost {
            lane: base.lane().clone(),
            notes: self.network.notes.clone(),
            stale: self.network.stale.clone(),
            component: Self::COMPONENT,
            watch: self.network.watch.clone(),
            on_failed: Box::new(failed),
            on_full: Box::new(|_| {}),
        };
        let mut session = AccountSession::new(account.setup.options.clone(), self.network.weight.clone());
        account.setup.order_limits.iter().for_each(|(window, max)| session.set_order_limit(*window, *max));
        let (connector, credentials) = (self.network.connector.clone(), account.setup.credentials.clone());
        let shell = Shell::start(session, Rc::new(host), connector, account.http.clone(), Some(credentials));
        let turns = Rc::downgrade(&shell);
        account.watched =
            Some(watch_progress(&base.line, child, STALL, move || turns.upgrade().map(|shell| shell.turns())));
        account.shell = Some(shell.clone());
        shell
    }

    fn close(&mut self, child: usize, base: &Base<Self>) {
        let account = &mut self.accounts[child];
        account.watched = None;
        base.lane().set_writer(account.setup.options.account, None);
        if let Some(shell) = account.shell.take() {
            shell.end();
            shell.read(AccountSession::lost).into_iter().for_each(|input| drop_offered(base.lane().offer(input)));
        }
    }

    fn cancel_entries(&mut self, child: usize, base: &Base<Self>) {
        let shell = match &self.accounts[child].shell {
            Some(shell) if !shell.is_over() => shell.clone(),
            _ => self.open(child, base),
        };
        let setup = &self.accounts[child].setup;
        let count = base.lane().cancel_entries(setup.options.account, &Writer(shell));
        tracing::error!(code = "entries_cancelled", account = %setup.name, count, "control is lost: entries are cancelled");
    }
}

/// What the lane had no room for it knows to be missing, and has the account reconciled.
fn drop_offered(_: qcat_core::engine::inbox::Offered) {}

impl Part for OrderManagers {
    const COMPONENT: Component = Component::OrderManagers;
    type Ground = Lane;
    type Word = OrderWord;

    fn children(&self) -> Vec<String> {
        self.accounts.iter().map(|account| account.setup.name.clone()).collect()
    }

    fn start(&mut self, child: usize, base: &Base<Self>) {
        let shell = self.open(child, base);
        let account = &self.accounts[child];
        base.lane().set_writer(account.setup.options.account, Some(Rc::new(Writer(shell))));
    }

    fn restart(&mut self, child: usize, cause: &Cause, base: &Base<Self>) -> Result<(), String> {
        match cause {
            Cause::Node(fault) => base.lane().rebuild(fault.station).map_err(|error| error.to_string()),
            Cause::Loop(_) | Cause::Asked => {
                self.close(child, base);
                self.start(child, base);
                Ok(())
            }
        }
    }

    fn give_up(&mut self, child: usize, cause: &Cause, base: &Base<Self>) {
        if matches!(cause, Cause::Loop(_)) {
            self.close(child, base);
        }
        self.cancel_entries(child, base);
    }

    fn scope(&self, child: usize) -> Scope {
        Scope::Account(self.accounts[child].setup.options.account)
    }

    fn word(&mut self, word: OrderWord, base: &Base<Self>) {
        match word {
            OrderWord::CancelEntries => (0..self.accounts.len()).for_each(|child| self.cancel_entries(child, base)),
        }
    }

    fn begin_stop(&mut self, _base: &Base<Self>) {}

    fn left(&self, base: &Base<Self>) -> Option<String> {
        let open = |account: &Account| {
            let asked = account.shell.as_ref().map_or(0, |shell| shell.read(AccountSession::open_requests));
            asked + base.lane().held(account.setup.options.account)
        };
        let open: usize = self.accounts.iter().map(open).sum();
        (open > 0).then(|| format!("{open} requests without an answer"))
    }

    fn end(&mut self, base: &Base<Self>) {
        (0..self.accounts.len()).for_each(|child| self.close(child, base));
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let up = |a: &&Account| a.shell.as_ref().is_some_and(|shell| shell.read(AccountSession::is_up));
        let open = |a: &Account| a.shell.as_ref().map_or(0, |shell| shell.read(AccountSession::open_requests));
        vec![
            ("user_streams_up", self.accounts.iter().filter(up).count().to_string()),
            ("open_requests", self.accounts.iter().map(open).sum::<usize>().to_string()),
        ]
    }
}
