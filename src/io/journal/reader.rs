//! Reads the journal in order, with or without the engine that writes it. No allocation per record until it is decoded.

use super::head::{Head, read_mark};
use super::scan::{Hole, Proof, Step, Walker, load_chain, prove_durable};
use super::segment::{MarketData, RecordHeader, RecordKind};
use crate::disk::{Disk, DiskError};
use crate::wire::{self, WireError};
use qcat_core::engine::fold::{Quarantine, Record};
use qcat_core::event::{Admitted, Decision};
use qcat_core::id::Seq;
use qcat_core::time::Ts;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A record as it is stored.
#[derive(Debug, Clone, Copy)]
pub struct RawRecord<'a> {
    /// Its header.
    pub header: RecordHeader,
    /// Its payload, checked against the checksum.
    pub payload: &'a [u8],
}

/// A decoded record.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// An admitted input.
    Input(Admitted),
    /// What the engine decided from the input of that sequence. An input without decisions has none of these; the last
    /// input of a journal may have had some that were not written any more: none of them left the program.
    Decisions {
        /// The input's sequence.
        seq: Seq,
        /// The input's time.
        at: Ts,
        /// The decisions, in order.
        decisions: Vec<Decision>,
    },
    /// An epoch of client order ids, before its first use.
    Epoch(u32),
    /// A station must never again be stepped with an input.
    Quarantine(Quarantine),
    /// A snapshot was stored, up to the record before.
    Snapshot,
    /// The journal was closed in order.
    Close,
}

impl Entry {
    /// What recovery folds; `None` for the journal's own notes.
    pub fn record(self) -> Option<Record> {
        match self {
            Entry::Input(admitted) => Some(Record::Input(admitted)),
            Entry::Decisions { seq, at, decisions } => Some(Record::Decisions(seq, at, decisions)),
            Entry::Epoch(_) | Entry::Quarantine(_) | Entry::Snapshot | Entry::Close => None,
        }
    }
}

/// Damage that is no legal result of a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corruption {
    /// The damaged segment.
    pub segment: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// The record that belongs there.
    pub record: u64,
    /// The sequence of the last good record before it.
    pub after_seq: Seq,
    /// What is found instead.
    pub reason: String,
    /// How we know that the record had been durable.
    pub proof: Option<Proof>,
}

impl std::fmt::Display for Corruption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Corruption { segment, offset, record, after_seq, reason, .. } = self;
        let segment = segment.display();
        write!(f, "{segment} is damaged at byte {offset}, record {record}, after sequence {}: {reason}", after_seq.0)?;
        match &self.proof {
            Some(p) => write!(f, "; {} knows records up to {} to have been durable", p.segment.display(), p.durable),
            None => Ok(()),
        }
    }
}

/// Why the journal cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The journal is damaged.
    #[error("{0}")]
    Corrupt(Box<Corruption>),
    /// A record is whole but does not decode.
    #[error("{}: record {record} at byte {offset}: {error}", .segment.display())]
    Wire {
        /// The segment.
        segment: PathBuf,
        /// Where in it.
        offset: u64,
        /// The record's number.
        record: u64,
        /// What is wrong.
        error: WireError,
    },
}

/// A journal without market inputs cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} was written with journal.market_data: none; recovery is whole, but decisions cannot be recomputed without market inputs",
    .0.display()
)]
pub struct NotReplayable(pub PathBuf);

/// Where reading begins.
#[derive(Debug, Clone, Copy)]
enum Begin {
    Record(u64),
    Seq(u64),
}

/// Reads records in order.
#[derive(Debug)]
pub struct Reader {
    disk: Arc<dyn Disk>,
    walker: Walker,
    begin: Begin,
    /// Last record to read; `None`: as far as there are valid ones.
    end: Option<u64>,
    head: Head,
    /// Index of the first segment read.
    first_link: usize,
    begun: bool,
    /// The first record, found while looking for it.
    pending: Option<RecordHeader>,
    /// The last record that was handed out.
    delivered: u64,
    /// The journal is being written: its end is not searched for damage.
    live: bool,
    last_seq: u64,
}

impl Reader {
    /// Reads the whole journal in `dir`.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<Reader, ReadError> {
        Reader::from_seq(disk, dir, Seq(0))
    }

    /// Reads from the first record of input `seq` on.
    pub fn from_seq(disk: Arc<dyn Disk>, dir: &Path, seq: Seq) -> Result<Reader, ReadError> {
        let links = load_chain(&*disk, dir)?;
        let before = |l: &super::scan::Link| l.in_use().is_some_and(|h| h.last_seq < seq.0);
        let link = links.iter().rposition(before).unwrap_or(0);
        Ok(Reader::new(disk.clone(), Walker::new(disk, links, link), Begin::Seq(seq.0), None))
    }

    /// Reads from input `seq` on while the journal is being written: after the end, [`Reader::refresh`] goes on.
    pub fn follow(disk: Arc<dyn Disk>, dir: &Path, seq: Seq) -> Result<Reader, ReadError> {
        let mut reader = Reader::from_seq(disk, dir, seq)?;
        reader.live = true;
        Ok(reader)
    }

    /// Reads from record `first` on while the journal is being written.
    pub(super) fn follow_records(disk: Arc<dyn Disk>, dir: &Path, first: u64) -> Result<Reader, ReadError> {
        let links = load_chain(&*disk, dir)?;
        let link = links.iter().rposition(|l| l.in_use().is_some_and(|h| h.first_record <= first)).unwrap_or(0);
        let mut reader = Reader::new(disk.clone(), Walker::new(disk, links, link), Begin::Record(first), None);
        reader.live = true;
        Ok(reader)
    }

    /// The first record that is there; `None`: none is.
    pub(super) fn first_record(&self) -> Option<u64> {
        self.walker.links.iter().find_map(|link| link.in_use()).map(|header| header.first_record)
    }

    /// Looks again at what is on disk.
    pub fn refresh(&mut self, dir: &Path) -> Result<(), ReadError> {
        self.walker.refresh(load_chain(&*self.disk, dir)?);
        Ok(())
    }

    /// Reads from record `first` on up to record `end`, all of which are known to be whole.
    pub(super) fn between(disk: Arc<dyn Disk>, dir: &Path, first: u64, end: u64) -> Result<Reader, DiskError> {
        let links = load_chain(&*disk, dir)?;
        let link = links.iter().rposition(|l| l.in_use().is_some_and(|h| h.first_record <= first)).unwrap_or(0);
        Ok(Reader::new(disk.clone(), Walker::new(disk, links, link), Begin::Record(first), Some(end)))
    }

    fn new(disk: Arc<dyn Disk>, walker: Walker, begin: Begin, end: Option<u64>) -> Reader {
        let first_link = walker.link();
        Reader {
            disk,
            walker,
            begin,
            end,
            head: Head::default(),
            first_link,
            begun: false,
            pending: None,
            delivered: 0,
            live: false,
            last_seq: 0,
        }
    }

    /// Whether decisions can be recomputed from what is read: no segment was written without market inputs.
    pub fn replayable(&self) -> Result<(), NotReplayable> {
        let rest = self.walker.links.iter().skip(self.first_link);
        let end = self.end.unwrap_or(u64::MAX);
        let without = |l: &&super::scan::Link| {
            l.in_use().is_some_and(|h| h.market_data == MarketData::None && h.first_record <= end)
        };
        rest.clone().find(without).map_or(Ok(()), |l| Err(NotReplayable(l.path.clone())))
    }

    /// Which market inputs the segment holds that is being read.
    pub(super) fn market_data(&self) -> Option<MarketData> {
        self.walker.links.get(self.walker.link())?.in_use().map(|header| header.market_data)
    }

    /// Definitions, configuration and epoch before the next record.
    pub fn head(&mut self) -> Result<&Head, ReadError> {
        self.skip()?;
        Ok(&self.head)
    }

    /// The segment and the offset of the record that was read last.
    pub fn place(&self) -> (&Path, u64) {
        self.walker.place()
    }

    /// The next record as it is stored; `None` at the end. What a crash or a running writer left unfinished at the end is
    /// not an error.
    #[inline]
    pub fn next_raw(&mut self) -> Result<Option<RawRecord<'_>>, ReadError> {
        self.skip()?;
        let mut next = self.pending.take();
        // Heads of later segments repeat what was read, and so do segments that were begun after a failed sync.
        while next.is_none_or(|header| header.number <= self.delivered) {
            next = self.advance()?;
            if next.is_none() {
                return Ok(None);
            }
        }
        let payload = self.walker.payload()?;
        self.delivered = next.map_or(self.delivered, |header| header.number);
        Ok(next.map(|header| RawRecord { header, payload }))
    }

    /// The next record, decoded.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ReadError> {
        Ok(self.next_numbered()?.map(|(_, entry)| entry))
    }

    /// The same with the record's number.
    pub(super) fn next_numbered(&mut self) -> Result<Option<(u64, Entry)>, ReadError> {
        let Some(record) = self.next_raw()? else { return Ok(None) };
        let number = record.header.number;
        match decode(&record.header, record.payload) {
            Ok(entry) => Ok(Some((number, entry))),
            Err(error) => Err(self.undecodable(number, error)),
        }
    }

    /// Folds everything before the beginning into the head.
    #[inline]
    fn skip(&mut self) -> Result<(), ReadError> {
        if self.begun {
            return Ok(());
        }
        self.begun = true;
        while let Some(header) = self.advance()? {
            let reached = match self.begin {
                Begin::Record(first) => header.number >= first,
                Begin::Seq(first) => header.seq >= first,
            };
            if header.number != 0 && reached {
                self.pending = Some(header);
                break;
            }
            let folded = self.head.fold(&header, self.walker.payload()?);
            folded.map_err(|error| self.undecodable(header.number, error))?;
        }
        Ok(())
    }

    #[inline]
    fn advance(&mut self) -> Result<Option<RecordHeader>, ReadError> {
        if self.end.is_some_and(|end| self.walker.next > end) {
            return Ok(None);
        }
        let step = self.walker.step()?;
        let header = match step {
            Step::Record(header) => Some(header),
            Step::End => self.ended(None)?,
            Step::Hole(hole) => self.ended(Some(hole))?,
        };
        self.last_seq = header.map_or(self.last_seq, |header| header.seq.max(self.last_seq));
        Ok(header)
    }

    /// The end, unless something behind it knows better, or a running writer went on meanwhile.
    fn ended(&mut self, hole: Option<Hole>) -> Result<Option<RecordHeader>, ReadError> {
        let expected = self.walker.next;
        let proof = match self.end {
            Some(end) if expected > end => return Ok(None),
            Some(_) => None,
            None if self.live && hole.is_none() => return Ok(None),
            None => match prove_durable(&*self.disk, &self.walker.links, self.walker.good, expected)? {
                None => return Ok(None),
                Some(proof) => match self.walker.step_again()? {
                    Step::Record(header) => return Ok(Some(header)),
                    Step::End | Step::Hole(_) => Some(proof),
                },
            },
        };
        Err(ReadError::Corrupt(Box::new(corruption(&self.walker, hole, self.last_seq, proof))))
    }

    fn undecodable(&self, record: u64, error: WireError) -> ReadError {
        let (segment, offset) = self.place();
        ReadError::Wire { segment: segment.to_owned(), offset, record, error }
    }
}

impl Iterator for Reader {
    type Item = Result<Entry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_entry().transpose()
    }
}

pub(super) fn corruption(walker: &Walker, hole: Option<Hole>, last_seq: u64, proof: Option<Proof>) -> Corruption {
    let hole = hole.unwrap_or_else(|| {
        let path = walker.good.map_or(PathBuf::new(), |g| walker.links[g.link].path.clone());
        let offset = walker.good.map_or(0, |g| g.offset);
        Hole { path, offset, expected: walker.next, reason: "nothing stands there".to_owned() }
    });
    Corruption {
        segment: hole.path,
        offset: hole.offset,
        record: hole.expected,
        after_seq: Seq(last_seq),
        reason: hole.reason,
        proof,
    }
}

/// Decodes a record; the head's kinds stand only in heads and are not entries.
pub fn decode(header: &RecordHeader, payload: &[u8]) -> Result<Entry, WireError> {
    let (seq, at) = (Seq(header.seq), header.at);
    Ok(match header.kind {
        RecordKind::Input => Entry::Input(Admitted { seq, at, input: wire::read_input(header.version, payload)? }),
        RecordKind::Decisions => {
            Entry::Decisions { seq, at, decisions: wire::read_decisions(header.version, payload)? }
        }
        RecordKind::Epoch => Entry::Epoch(wire::parse(payload)?),
        RecordKind::Quarantine => Entry::Quarantine(read_mark(header.version, payload)?),
        RecordKind::Snapshot => Entry::Snapshot,
        RecordKind::Close => Entry::Close,
        RecordKind::Definitions | RecordKind::Configuration => {
            return Err(WireError::Malformed(format!("{:?} outside a head", header.kind)));
        }
    })
}
