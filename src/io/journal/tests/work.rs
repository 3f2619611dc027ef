//! Seeded work for a journal: inputs, decisions, configurations, epochs, quarantine marks, snapshots, syncs.

use crate::disk::{Disk, SimDisk};
use crate::journal::{
    AppendError, Durability, Entry, Journal, Mark, Options, Priority, Reader, Recovered, State, SyncBy,
};
use qcat_core::event::{Admitted, Alert, AlertCode, Decision, Input, Station};
use qcat_core::id::{AssetIx, Seq, StrategyIx, SymbolIx, TradeId};
use qcat_core::instrument::Definition;
use qcat_core::market::{MarketEvent, MarketInput, Trade};
use qcat_core::num::{Price, Quantity, Side};
use qcat_core::time::Ts;
use std::path::Path;
use std::sync::Arc;

pub const DIR: &str = "data";

pub fn dir() -> &'static Path {
    Path::new(DIR)
}

/// Small segments, so that a short run rotates several times.
pub fn options(durability: Durability) -> Options {
    Options {
        program: "test".to_owned(),
        durability,
        segment_size: 1024,
        emergency_size: 4096,
        sync_by: SyncBy::Caller,
        keep_snapshots: 2,
        ..Options::default()
    }
}

pub fn open(disk: &SimDisk, durability: Durability) -> (Journal, Recovered) {
    try_open(disk, durability).expect("the journal opens")
}

pub fn try_open(disk: &SimDisk, durability: Durability) -> Result<(Journal, Recovered), crate::journal::OpenError> {
    Journal::open(Arc::new(disk.clone()), dir(), options(durability))
}

/// A pseudo-random number generator (SplitMix64).
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

pub fn at(seq: u64) -> Ts {
    Ts::from_millis(1_700_000_000_000 + seq as i64)
}

pub fn trade(seq: u64) -> Input {
    Input::Market(MarketInput {
        symbol: SymbolIx(0),
        exchange_time: at(seq),
        receive_time: at(seq),
        derived: false,
        event: MarketEvent::Trade(Trade {
            id: TradeId(seq as i64),
            price: Price::from_mantissa(6_000_000 + seq as i64),
            quantity: Quantity::from_mantissa(5).expect("positive"),
            aggressor: Side::Buy,
            on_book: true,
        }),
    })
}

pub fn input(seq: u64, input: Input) -> Admitted {
    Admitted { seq: Seq(seq), at: at(seq), input }
}

pub fn alert(text: &str) -> Decision {
    let text = text.into();
    Decision::Alert(Alert { code: AlertCode::Overrun, account: None, symbol: Some(SymbolIx(0)), order: None, text })
}

pub fn append(journal: &mut Journal, seq: u64) -> Result<Mark, AppendError> {
    journal.append_input(&input(seq, trade(seq)), Priority::Normal)
}

/// What a run did: every entry that was appended, with its mark, and the highest mark that was reported durable.
#[derive(Debug, Default, Clone)]
pub struct Log {
    pub entries: Vec<Entry>,
    pub durable: u64,
    pub epochs: Vec<u32>,
    /// Sequence of a snapshot that was reported written.
    pub snapshot: Option<Seq>,
}

impl Log {
    fn observe(&mut self, journal: &Journal) {
        self.durable = self.durable.max(journal.durable().0);
    }
}

/// One random step of work. Only what the journal accepted is logged.
pub fn step(journal: &mut Journal, dice: &mut Dice, log: &mut Log) -> Result<(), String> {
    let seq = journal.last_seq().0 + 1;
    let text = |dice: &mut Dice| "x".repeat(dice.roll(300) as usize);
    match dice.roll(12) {
        0..=5 => {
            let made = match dice.roll(8) {
                0 => Input::Configuration(Box::default()),
                1 => {
                    let asset = AssetIx(journal.head().universe.assets().count() as u16);
                    Input::Definition(Definition::Asset { asset, name: format!("A{}", asset.0).into() })
                }
                _ => trade(seq),
            };
            let admitted = input(seq, made);
            journal.append_input(&admitted, Priority::Normal).map_err(|e| e.to_string())?;
            log.entries.push(Entry::Input(admitted));
            if dice.roll(2) == 0 {
                let decisions = vec![alert(&text(dice))];
                journal.append_decisions(Seq(seq), at(seq), &decisions, Priority::Normal).map_err(|e| e.to_string())?;
                log.entries.push(Entry::Decisions { seq: Seq(seq), at: at(seq), decisions });
            }
        }
        6..=8 => journal.sync_now().map_err(|e| e.to_string())?,
        9 => {
            let epoch = journal.begin_epoch(at(seq)).map_err(|e| e.to_string())?;
            log.epochs.push(epoch);
            log.entries.push(Entry::Epoch(epoch));
        }
        10 => {
            let station = Station::Runner(StrategyIx(dice.roll(3) as u16 + 1));
            journal.quarantine(Seq(seq - 1), station, at(seq)).map_err(|e| e.to_string())?;
            log.entries.push(Entry::Quarantine(crate::journal::Quarantine { seq: Seq(seq - 1), station }));
        }
        _ => {
            let state = State { seq: Seq(seq - 1), at: at(seq), parts: vec![("part".to_owned(), vec![7; 40])] };
            journal.write_snapshot(state).map_err(|e| e.to_string())?;
            log.entries.push(Entry::Snapshot);
            log.snapshot = Some(Seq(seq - 1));
        }
    }
    log.observe(journal);
    Ok(())
}

/// Works until something fails or `steps` are done.
pub fn run(journal: &mut Journal, dice: &mut Dice, log: &mut Log, steps: usize) -> Result<(), String> {
    for _ in 0..steps {
        step(journal, dice, log)?;
    }
    Ok(())
}

/// All entries on disk.
pub fn entries(disk: &SimDisk) -> Vec<Entry> {
    let reader = Reader::open(Arc::new(disk.clone()), dir()).expect("readable");
    reader.map(|entry| entry.expect("whole")).collect()
}

/// Names of the segments.
pub fn segments(disk: &SimDisk) -> Vec<String> {
    let names = disk.list(dir()).expect("listed");
    names.into_iter().filter(|name| name.starts_with("journal-")).collect()
}
