//! Looks through a journal for people: `qcat journal verify` and `qcat journal tail`. Both read without the lock, also while
//! the journal is being written.

use super::reader::{Corruption, Entry, ReadError, Reader, corruption, decode};
use super::scan::{Link, Step, Walker, load_chain, prove_durable};
use super::segment::{MarketData, RecordHeader, RecordKind};
use crate::disk::{Disk, DiskError};
use crate::wire::WireError;
use qcat_core::id::Seq;
use qcat_core::time::Ts;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a journal holds, and what is wrong with it.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The segments, by rising number.
    pub segments: Vec<SegmentReport>,
    /// Number of records of each kind, without those of heads.
    pub records: BTreeMap<RecordKind, u64>,
    /// The first input's sequence and time.
    pub first: Option<(Seq, Ts)>,
    /// The last input's sequence and time.
    pub last: Option<(Seq, Ts)>,
    /// The newest epoch.
    pub epoch: Option<u32>,
    /// Whether the last record says that the journal was closed in order.
    pub closed: bool,
    /// An unfinished end, which the next start cuts off: offset and what stands there. Normal after a crash.
    pub torn: Option<(PathBuf, u64, String)>,
    /// Damage that the next start refuses.
    pub corruption: Option<Corruption>,
    /// Whole records that do not decode: segment, offset, record, what is wrong.
    pub undecodable: Vec<(PathBuf, u64, u64, WireError)>,
}

/// One segment.
#[derive(Debug, Clone)]
pub struct SegmentReport {
    /// The file.
    pub path: PathBuf,
    /// Its first record; `None` when its header is damaged or all of its records are void.
    pub first_record: Option<u64>,
    /// Its records that count.
    pub records: u64,
    /// Which market inputs are in it.
    pub market_data: Option<MarketData>,
}

impl Report {
    /// Whether a start will go well and every record can be read.
    pub fn is_sound(&self) -> bool {
        self.corruption.is_none() && self.undecodable.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            let records = match segment.first_record {
                Some(first) => format!("{} records from {first}", segment.records),
                None => "unused".to_owned(),
            };
            writeln!(f, "{}: {records}", segment.path.display())?;
        }
        if let Some(first) = self.segments.iter().find_map(|segment| segment.first_record).filter(|first| *first > 1) {
            writeln!(f, "begins with record {first}: what came before was removed, a snapshot stands for it")?;
        }
        for (kind, count) in &self.records {
            writeln!(f, "{kind:?}: {count}")?;
        }
        if let (Some((first, from)), Some((last, to))) = (self.first, self.last) {
            writeln!(f, "sequence {} ({}) to {} ({})", first.0, time_text(from), last.0, time_text(to))?;
        }
        if let Some(epoch) = self.epoch {
            writeln!(f, "epoch {epoch}")?;
        }
        if let Some((path, offset, reason)) = &self.torn {
            writeln!(f, "unfinished end at byte {offset} of {}: {reason}", path.display())?;
        }
        for (path, offset, record, error) in &self.undecodable {
            writeln!(f, "{}: record {record} at byte {offset}: {error}", path.display())?;
        }
        match &self.corruption {
            Some(damage) => writeln!(f, "DAMAGED: {damage}"),
            None if self.is_sound() => {
                writeln!(f, "sound, {}", if self.closed { "closed in order" } else { "not closed" })
            }
            None => writeln!(f, "NOT READABLE as a whole"),
        }
    }
}

/// Reads the whole journal and checks every byte that counts.
pub fn verify(disk: Arc<dyn Disk>, dir: &Path) -> Result<Report, DiskError> {
    let links = load_chain(&*disk, dir)?;
    let mut report = Report { segments: links.iter().map(describe).collect(), ..Report::default() };
    let mut walker = Walker::new(disk.clone(), links, 0);
    let mut last_seq = 0;
    let mut step = walker.step()?;
    loop {
        let hole = match step {
            Step::Record(header) => {
                last_seq = header.seq.max(last_seq);
                report.take(&mut walker, &header)?;
                step = walker.step()?;
                continue;
            }
            Step::End => None,
            Step::Hole(hole) => Some(hole),
        };
        let Some(proof) = prove_durable(&*disk, &walker.links, walker.good, walker.next)? else {
            report.torn = hole.map(|hole| (hole.path, hole.offset, hole.reason));
            return Ok(report);
        };
        step = walker.step_again()?;
        if !matches!(step, Step::Record(_)) {
            report.corruption = Some(corruption(&walker, hole, last_seq, Some(proof)));
            return Ok(report);
        }
        // The journal is being written: there may be more segments.
        report.segments.extend(walker.links.iter().skip(report.segments.len()).map(describe));
    }
}

fn describe(link: &Link) -> SegmentReport {
    SegmentReport {
        path: link.path.clone(),
        first_record: link.in_use().map(|h| h.first_record),
        records: 0,
        market_data: link.in_use().map(|h| h.market_data),
    }
}

impl Report {
    fn take(&mut self, walker: &mut Walker, header: &RecordHeader) -> Result<(), DiskError> {
        if header.number == 0 {
            return Ok(());
        }
        *self.records.entry(header.kind).or_default() += 1;
        if let Some(segment) = self.segments.get_mut(walker.link()) {
            segment.records += 1;
        }
        self.closed = header.kind == RecordKind::Close;
        if header.kind == RecordKind::Input {
            self.first.get_or_insert((Seq(header.seq), header.at));
            self.last = Some((Seq(header.seq), header.at));
        }
        match decode(header, walker.payload()?) {
            Ok(Entry::Epoch(epoch)) => self.epoch = self.epoch.max(Some(epoch)),
            Ok(_) => {}
            Err(error) => {
                let (path, offset) = walker.place();
                self.undecodable.push((path.to_owned(), offset, header.number, error));
            }
        }
        Ok(())
    }
}

/// Prints records as lines of JSON.
#[derive(Debug)]
pub struct Tail {
    reader: Reader,
    dir: PathBuf,
}

impl Tail {
    /// The last `count` records, oldest first, and a tail that goes on behind them.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, count: usize) -> Result<(Vec<String>, Tail), ReadError> {
        let mut tail = Tail { reader: Reader::follow(disk, dir, Seq(0))?, dir: dir.to_owned() };
        let mut last: VecDeque<String> = VecDeque::new();
        while let Some(line) = tail.next_line()? {
            last.push_back(line);
            if last.len() > count {
                last.pop_front();
            }
        }
        Ok((last.into(), tail))
    }

    /// Looks again at what is on disk; the records since the last look.
    pub fn more(&mut self) -> Result<Vec<String>, ReadError> {
        self.reader.refresh(&self.dir)?;
        let mut lines = Vec::new();
        while let Some(line) = self.next_line()? {
            lines.push(line);
        }
        Ok(lines)
    }

    fn next_line(&mut self) -> Result<Option<String>, ReadError> {
        Ok(self.reader.next_raw()?.map(|record| line(&record.header, record.payload)))
    }
}

/// A record as one line of JSON; one that does not decode says so.
pub fn line(header: &RecordHeader, payload: &[u8]) -> String {
    let content = match decode(header, payload) {
        Ok(Entry::Input(admitted)) => serde_json::to_value(&admitted.input),
        Ok(Entry::Decisions { decisions, .. }) => serde_json::to_value(&decisions),
        Ok(Entry::Epoch(epoch)) => Ok(json!(epoch)),
        Ok(Entry::Quarantine(mark)) => Ok(json!({ "seq": mark.seq, "station": mark.station })),
        Ok(Entry::Snapshot | Entry::Close) => Ok(Value::Null),
        Err(error) => Ok(json!({ "error": error.to_string() })),
    };
    let content = content.unwrap_or_else(|error| json!({ "error": error.to_string() }));
    let (number, seq, time) = (header.number, header.seq, time_text(header.at));
    json!({ "record": number, "seq": seq, "time": time, "kind": header.kind, "content": content }).to_string()
}

fn time_text(at: Ts) -> String {
    match jiff::Timestamp::from_nanosecond(at.nanos() as i128) {
        Ok(time) => format!("{time:.9}"),
        Err(_) => format!("{}ns", at.nanos()),
    }
}
