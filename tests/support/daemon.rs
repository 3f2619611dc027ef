//! The real daemon as a child process, and its journal folded from the first record.

use qcat_core::command::CommandKind;
use qcat_core::engine::Engine;
use qcat_core::engine::fold::{Quarantine, Record};
use qcat_core::event::{Decision, Input};
use qcat_core::id::ClientOrderId;
use qcat_core::market::{MarketEvent, MarketInput};
use qcat_core::order::Fill;
use qcat_core::strategy::registry::Registry;
use qcat_io::disk::RealDisk;
use qcat_io::journal::{Entry, Reader};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// What a journal says.
pub struct Past {
    /// The engine after the last record.
    pub engine: Engine,
    /// All fills.
    pub fills: Vec<Fill>,
    /// Orders whose placing was decided.
    pub placed: BTreeSet<ClientOrderId>,
    /// Trades of the market that were admitted.
    pub market_trades: u64,
}

/// Folds a journal from its first record.
pub fn fold(journal: &Path) -> Past {
    let registry = Arc::new(Registry::builtin());
    let mut reader = Reader::open(Arc::new(RealDisk), journal).expect("the journal opens");
    let mut past = Past { engine: Engine::new(registry), fills: Vec::new(), placed: BTreeSet::new(), market_trades: 0 };
    let quarantine: [Quarantine; 0] = [];
    while let Some(entry) = reader.next_entry().expect("the journal reads") {
        match entry {
            Entry::Input(admitted) => {
                if let Input::Market(MarketInput { event: MarketEvent::Trade(_), .. }) = admitted.input {
                    past.market_trades += 1;
                }
                past.engine.fold(Record::Input(admitted), &quarantine, false).expect("it folds");
                past.fills.extend(&past.engine.happened().fills);
            }
            Entry::Decisions { seq, decisions, .. } => {
                for decision in &decisions {
                    if let Decision::Command(command) = decision
                        && let CommandKind::Place(order) = &command.kind
                    {
                        let id = order.intent.id;
                        assert!(past.placed.insert(id), "client order id {id} was used twice");
                    }
                }
                past.engine.fold(Record::Decisions(seq, decisions), &quarantine, false).expect("it folds");
            }
            Entry::Quarantine(mark) => panic!("a node panicked: {mark:?}"),
            Entry::Epoch(_) | Entry::Snapshot | Entry::Close => {}
        }
    }
    past
}

/// Starts the daemon; its log goes to `daemon.log` in `directory`.
pub fn spawn(config: &Path, directory: &Path) -> Child {
    let log = std::fs::File::create(directory.join("daemon.log")).expect("a log file");
    Command::new(env!("CARGO_BIN_EXE_qcat"))
        .args(["run", "--config"])
        .arg(config)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the daemon starts")
}

/// Stops the daemon in order.
pub async fn stop(daemon: &mut Child) -> ExitStatus {
    let pid = daemon.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
    loop {
        if let Some(status) = daemon.try_wait().expect("a child") {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
