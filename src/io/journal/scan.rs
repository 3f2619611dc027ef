//! Walks through the records of all segments in order, checks everything, and tells a torn tail from corruption.

use super::segment::{
    ALIGN, HeaderError, PAYLOAD_MAX, Place, RECORD_HEADER, RecordHeader, RecordKind, SEGMENT_HEADER, SegmentHeader,
    inspect, segment_number,
};
use crate::disk::{Disk, DiskError, DiskFile};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const CHUNK: usize = 1 << 20;

/// One segment file.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub path: PathBuf,
    pub file_number: u64,
    pub header: Result<SegmentHeader, HeaderError>,
    /// Records from this number on are void: a later segment repeats them.
    pub limit: u64,
}

impl Link {
    /// The header, if any record of the segment counts.
    pub fn in_use(&self) -> Option<&SegmentHeader> {
        self.header.as_ref().ok().filter(|header| header.first_record < self.limit)
    }
}

/// Reads the headers of all segments, by rising number.
pub(super) fn load_chain(disk: &dyn Disk, dir: &Path) -> Result<Vec<Link>, DiskError> {
    let mut links = Vec::new();
    for name in disk.list(dir)? {
        let Some(file_number) = segment_number(&name) else { continue };
        let path = dir.join(&name);
        let mut bytes = [0; SEGMENT_HEADER];
        let read = disk.open_read(&path)?.read_at(0, &mut bytes)?;
        let header = SegmentHeader::read(&bytes[..read]);
        // A copy under another name is not that segment.
        let header = header.and_then(|h| if h.number == file_number { Ok(h) } else { Err(HeaderError::Invalid) });
        links.push(Link { path, file_number, header, limit: u64::MAX });
    }
    let mut limit = u64::MAX;
    for link in links.iter_mut().rev() {
        link.limit = limit;
        if let Ok(header) = &link.header {
            limit = limit.min(header.first_record);
        }
    }
    Ok(links)
}

/// A file read through a buffer.
#[derive(Debug)]
struct Cursor {
    file: Arc<dyn DiskFile>,
    buffer: Vec<u8>,
    /// Where in the file the buffer begins.
    start: u64,
}

impl Cursor {
    fn new(file: Arc<dyn DiskFile>, buffer: Vec<u8>) -> Cursor {
        Cursor { file, buffer, start: u64::MAX }
    }

    /// The bytes from `offset` on: at least `want` of them unless the file ends before.
    #[inline]
    fn at(&mut self, offset: u64, want: usize) -> Result<&[u8], DiskError> {
        let inside = offset.checked_sub(self.start).is_some_and(|skip| skip as usize + want <= self.buffer.len());
        if !inside {
            self.buffer.resize(want.max(CHUNK), 0);
            let read = self.file.read_at(offset, &mut self.buffer)?;
            self.buffer.truncate(read);
            self.start = offset;
        }
        let skip = (offset - self.start) as usize;
        Ok(self.buffer.get(skip..).unwrap_or_default())
    }

    /// What stands at `offset`; a record that reaches beyond the end of the file is bad.
    #[inline]
    fn inspect(&mut self, offset: u64) -> Result<Place, DiskError> {
        match inspect(self.at(offset, RECORD_HEADER)?) {
            Place::Short(total) => match inspect(self.at(offset, total)?) {
                Place::Short(_) => Ok(Place::Bad),
                place => Ok(place),
            },
            place => Ok(place),
        }
    }
}

/// Where a walk stands: after the last good record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// Index of the segment in the chain.
    pub link: usize,
    /// Offset in it.
    pub offset: u64,
}

/// A place where the record that belongs there is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hole {
    /// The segment that is damaged or missing.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// The record that belongs there.
    pub expected: u64,
    /// What is found instead.
    pub reason: String,
}

/// One step of a walk.
#[derive(Debug)]
pub(super) enum Step {
    /// A record, to be fetched with [`Walker::payload`]; those of heads have number 0.
    Record(RecordHeader),
    /// All is read and in order.
    End,
    /// Something is missing.
    Hole(Hole),
}

/// Walks through records.
#[derive(Debug)]
pub(super) struct Walker {
    disk: Arc<dyn Disk>,
    pub links: Vec<Link>,
    link: usize,
    cursor: Option<Cursor>,
    offset: u64,
    /// Where the records of the current segment begin, and the first one that is void.
    head_len: u64,
    limit: u64,
    /// The record that is read next.
    pub next: u64,
    /// After the last good record.
    pub good: Option<Position>,
    payload: (u64, usize),
    spare_buffer: Vec<u8>,
}

impl Walker {
    /// Begins with the first record of segment `link`; `expected` is its number, if that is known.
    pub fn new(disk: Arc<dyn Disk>, links: Vec<Link>, link: usize) -> Walker {
        let first = links.get(link..).and_then(|rest| rest.iter().find_map(Link::in_use));
        // Nothing but damaged segments: whatever they hold begins with the first record.
        let next =
            first.filter(|_| link > 0 || links.first().is_some_and(|l| l.header.is_ok())).map_or(1, |h| h.first_record);
        Walker {
            disk,
            links,
            link,
            cursor: None,
            offset: 0,
            head_len: 0,
            limit: u64::MAX,
            next,
            good: None,
            payload: (0, 0),
            spare_buffer: Vec::new(),
        }
    }

    /// The path of the segment that is being read.
    pub fn place(&self) -> (&Path, u64) {
        (self.links.get(self.link).map_or(Path::new("?"), |l| &l.path), self.payload.0)
    }

    /// The index of the segment that is being read.
    pub fn link(&self) -> usize {
        self.link
    }

    /// The payload of the record of the last step.
    #[inline]
    pub fn payload(&mut self) -> Result<&[u8], DiskError> {
        let (offset, len) = self.payload;
        match &mut self.cursor {
            Some(cursor) => Ok(cursor.at(offset + RECORD_HEADER as u64, len)?.get(..len).unwrap_or_default()),
            None => Ok(&[]),
        }
    }

    /// Steps again on fresh bytes: what a running writer appended after the last look is no damage.
    pub fn step_again(&mut self) -> Result<Step, DiskError> {
        if let Some(dir) = self.links.first().and_then(|l| l.path.parent()) {
            let links = load_chain(&*self.disk, dir)?;
            self.refresh(links);
        }
        self.step()
    }

    /// Looks again at what is on disk: more records, more segments, repeated ones.
    pub fn refresh(&mut self, links: Vec<Link>) {
        let path = self.links.get(self.link).or(self.links.last()).map(|l| l.path.clone());
        // Segments are never removed from the middle; without the one that was read, reading begins with what is there.
        self.link = links.iter().position(|l| Some(&l.path) == path.as_ref()).unwrap_or(0);
        self.links = links;
        match &mut self.cursor {
            Some(cursor) => cursor.start = u64::MAX,
            None => self.offset = 0,
        }
        self.limit = self.links.get(self.link).map_or(u64::MAX, |l| l.limit);
        self.next = self.next.min(self.limit);
    }

    /// Goes on by one record.
    #[inline]
    pub fn step(&mut self) -> Result<Step, DiskError> {
        loop {
            let Some(cursor) = &mut self.cursor else {
                match self.enter()? {
                    Some(step) => return Ok(step),
                    None => continue,
                }
            };
            let in_head = self.offset < self.head_len;
            if !in_head && self.next == self.limit {
                self.leave();
                continue;
            }
            let place = cursor.inspect(self.offset)?;
            return Ok(self.take(place, in_head));
        }
    }

    /// Opens the segment that is next, or passes it over.
    fn enter(&mut self) -> Result<Option<Step>, DiskError> {
        let Some(link) = self.links.get(self.link) else { return Ok(Some(Step::End)) };
        let Some(header) = link.in_use().copied() else {
            self.leave();
            return Ok(None);
        };
        if header.first_record != self.next {
            let reason = format!("records {} to {} are missing", self.next, header.first_record.saturating_sub(1));
            return Ok(Some(Step::Hole(self.hole_before(reason))));
        }
        let file = self.disk.open_read(&link.path)?;
        self.limit = link.limit;
        self.cursor = Some(Cursor::new(file, std::mem::take(&mut self.spare_buffer)));
        (self.offset, self.head_len) = (SEGMENT_HEADER as u64, header.head_len as u64);
        Ok(None)
    }

    #[inline]
    fn take(&mut self, place: Place, in_head: bool) -> Step {
        let belongs = if in_head { 0 } else { self.next };
        let reason = match place {
            Place::Record(header, total) if header.number == belongs => {
                self.payload = (self.offset, header.len as usize);
                self.offset += total as u64;
                self.next += u64::from(!in_head);
                // A segment counts once its head is whole.
                if self.offset >= self.head_len {
                    self.good = Some(Position { link: self.link, offset: self.offset });
                }
                return Step::Record(header);
            }
            Place::Record(header, _) => format!("record {} stands there", header.number),
            Place::Empty if !in_head && self.is_last() => {
                self.good = Some(Position { link: self.link, offset: self.offset });
                return Step::End;
            }
            Place::Empty => match self.links[self.link + 1..].iter().find_map(Link::in_use) {
                Some(next) if !in_head => format!("records {belongs} to {} are missing", next.first_record - 1),
                _ => "nothing stands there".to_owned(),
            },
            Place::Short(_) | Place::Bad => "its bytes do not match their checksum".to_owned(),
        };
        let (path, offset) = (self.links[self.link].path.clone(), self.offset);
        Step::Hole(Hole { path, offset, expected: self.next, reason })
    }

    fn is_last(&self) -> bool {
        self.links[self.link + 1..].iter().all(|l| l.in_use().is_none())
    }

    fn leave(&mut self) {
        self.spare_buffer = self.cursor.take().map(|c| c.buffer).unwrap_or_default();
        self.link += 1;
    }

    /// A gap before the current segment, blamed on a damaged segment before it if there is one.
    fn hole_before(&self, reason: String) -> Hole {
        let damaged = self.links[..self.link].iter().rev().take_while(|l| l.header.is_err()).last();
        match damaged {
            Some(link) => {
                let why = link.header.as_ref().err().map_or(String::new(), HeaderError::to_string);
                Hole { path: link.path.clone(), offset: 0, expected: self.next, reason: format!("{why}; {reason}") }
            }
            None => Hole { path: self.links[self.link].path.clone(), offset: 0, expected: self.next, reason },
        }
    }
}

/// What proves that a missing record had been durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The segment that knows.
    pub segment: PathBuf,
    /// Up to which record it knows the journal to have been durable.
    pub durable: u64,
}

/// Looks behind a hole for anything that knows the missing record to have been durable. None: it is a torn tail.
pub(super) fn prove_durable(
    disk: &dyn Disk,
    links: &[Link],
    from: Option<Position>,
    expected: u64,
) -> Result<Option<Proof>, DiskError> {
    let first = from.map_or(0, |position| position.link);
    for (ix, link) in links.iter().enumerate().skip(first) {
        let known = link.header.as_ref().ok().map(|h| h.durable).filter(|durable| *durable >= expected);
        let start = from.filter(|p| p.link == ix).map_or(0, |p| p.offset);
        let found = match known {
            Some(durable) if ix > first || from.is_none() => Some(durable),
            _ => search(&mut Cursor::new(disk.open_read(&link.path)?, Vec::new()), start, expected)?,
        };
        if let Some(durable) = found {
            return Ok(Some(Proof { segment: link.path.clone(), durable }));
        }
    }
    Ok(None)
}

/// Tries every place of a file from `offset` on for a record that knows `expected` to have been durable.
fn search(cursor: &mut Cursor, mut offset: u64, expected: u64) -> Result<Option<u64>, DiskError> {
    loop {
        let bytes = cursor.at(offset, RECORD_HEADER)?;
        if bytes.len() < RECORD_HEADER {
            return Ok(None);
        }
        if !plausible(bytes, expected) {
            // Unused space is long: leave it in big steps.
            let zeros = bytes.chunks_exact(64).take_while(|c| c.iter().all(|b| *b == 0)).count() * 64;
            let step = zeros.saturating_sub(RECORD_HEADER) / ALIGN * ALIGN;
            offset += step.max(ALIGN) as u64;
            continue;
        }
        match cursor.inspect(offset)? {
            Place::Record(header, _) if header.number != 0 && header.durable() >= expected => {
                return Ok(Some(header.durable()));
            }
            Place::Record(_, total) => offset += total as u64,
            _ => offset += ALIGN as u64,
        }
    }
}

/// Whether a header could be that of a record behind the hole; spares the checksum of nearly everything else.
fn plausible(bytes: &[u8], expected: u64) -> bool {
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let number = word(8) as u64 | (word(12) as u64) << 32;
    let kind = (1..=RecordKind::ALL.len() as u8).contains(&bytes[36]);
    kind && bytes[37] != 0
        && bytes[39] == 0
        && number > expected
        && number - expected < 1 << 40
        && word(4) as usize <= PAYLOAD_MAX
        && u64::from(word(32)) <= number
}
