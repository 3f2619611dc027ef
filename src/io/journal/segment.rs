//! The journal's files: a head (what the segment is, and everything needed to read it alone) and records.
//!
//! All numbers are little-endian, everything begins at a multiple of eight bytes, unused space is zero.
//!
//! Segment header, 72 bytes: magic `QCATJRNL`, format u16, engine u16, market data u8, 3 zeros, length of the head u32,
//! checksum u32, segment number u64, number of the first record u64, last sequence before it u64, durable record at its
//! creation u64, time of creation i64, 8 zeros. Then head records, up to the length of the head; then records.
//!
//! Record header, 40 bytes: checksum u32 of all that follows, length of the payload u32, number u64 (counted from 1 over the
//! whole journal; 0 in a head), sequence u64, time i64, lag u32, kind u8, wire version u8, flags u16. Then the payload, padded.
//!
//! The *lag* tells how many records back the newest durable record was when this one was written. It is what tells a torn
//! tail from corruption: a bad place that a later valid record knows to have been durable is corruption; any other is the
//! legal result of a crash, because unsynced sectors survive in any combination.

use qcat_core::time::Ts;

/// Bytes of a segment's header.
pub const SEGMENT_HEADER: usize = 72;
/// Bytes of a record's header.
pub const RECORD_HEADER: usize = 40;
/// Everything begins at a multiple of this.
pub const ALIGN: usize = 8;
/// Longest payload; anything longer is a bug or a bad length.
pub const PAYLOAD_MAX: usize = 64 << 20;
/// Flag: an input that also belongs in the head of later segments.
pub const FLAG_HEAD: u16 = 1;

const MAGIC: &[u8; 8] = b"QCATJRNL";
const FORMAT: u16 = 1;

/// Which market inputs are journaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MarketData {
    /// All that are admitted.
    #[default]
    All,
    /// All that are admitted; the lane conflates before admission.
    Conflated,
    /// None: recovery is whole, replay is not possible.
    None,
}

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum RecordKind {
    /// An admitted input.
    Input = 1,
    /// What the engine decided from the input of the same sequence.
    Decisions = 2,
    /// In a head: all assets and instruments so far.
    Definitions = 3,
    /// In a head: the newest configuration.
    Configuration = 4,
    /// The epoch of client order ids, durable before its first use.
    Epoch = 5,
    /// A station must never again be stepped with an input.
    Quarantine = 6,
    /// A snapshot up to here is on disk.
    Snapshot = 7,
    /// The journal was closed in order; everything before is durable.
    Close = 8,
}

impl RecordKind {
    /// All kinds, by their number from 1.
    pub const ALL: [RecordKind; 8] = [
        RecordKind::Input,
        RecordKind::Decisions,
        RecordKind::Definitions,
        RecordKind::Configuration,
        RecordKind::Epoch,
        RecordKind::Quarantine,
        RecordKind::Snapshot,
        RecordKind::Close,
    ];

    #[inline]
    fn from_byte(byte: u8) -> Option<RecordKind> {
        RecordKind::ALL.get(usize::from(byte).wrapping_sub(1)).copied()
    }
}

/// The head of a segment's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Whose inputs these are.
    pub engine: u16,
    /// Which market inputs are in it.
    pub market_data: MarketData,
    /// Bytes up to the first record, this header included.
    pub head_len: u32,
    /// Counted from 1.
    pub number: u64,
    /// Number of its first record; records of earlier segments from this number on are void.
    pub first_record: u64,
    /// Sequence of the last input before it.
    pub last_seq: u64,
    /// Newest durable record at its creation.
    pub durable: u64,
    /// When it was created.
    pub created: Ts,
}

/// Why bytes are not a segment header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Not ours, torn or damaged.
    #[error("no valid segment header")]
    Invalid,
    /// Written by a newer program.
    #[error("format {0} is not known to this version")]
    Format(u16),
}

impl SegmentHeader {
    /// Appends the header's bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&self.engine.to_le_bytes());
        out.extend_from_slice(&[self.market_data as u8, 0, 0, 0]);
        out.extend_from_slice(&self.head_len.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        for number in [self.number, self.first_record, self.last_seq, self.durable, self.created.nanos() as u64, 0] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let sum = crc32fast::hash(&out[start..]);
        out[start + 20..start + 24].copy_from_slice(&sum.to_le_bytes());
    }

    /// Reads a header.
    pub fn read(bytes: &[u8]) -> Result<SegmentHeader, HeaderError> {
        let bytes: &[u8; SEGMENT_HEADER] =
            bytes.get(..SEGMENT_HEADER).and_then(|b| b.try_into().ok()).ok_or(HeaderError::Invalid)?;
        if &bytes[..8] != MAGIC {
            return Err(HeaderError::Invalid);
        }
        let mut blank = *bytes;
        blank[20..24].fill(0);
        if crc32fast::hash(&blank) != u32_at(bytes, 20) {
            return Err(HeaderError::Invalid);
        }
        let format = u16::from_le_bytes([bytes[8], bytes[9]]);
        if format != FORMAT {
            return Err(HeaderError::Format(format));
        }
        let market_data = match bytes[12] {
            0 => MarketData::All,
            1 => MarketData::Conflated,
            2 => MarketData::None,
            _ => return Err(HeaderError::Invalid),
        };
        Ok(SegmentHeader {
            engine: u16::from_le_bytes([bytes[10], bytes[11]]),
            market_data,
            head_len: u32_at(bytes, 16),
            number: u64_at(bytes, 24),
            first_record: u64_at(bytes, 32),
            last_seq: u64_at(bytes, 40),
            durable: u64_at(bytes, 48),
            created: Ts::from_nanos(u64_at(bytes, 56) as i64),
        })
    }
}

/// The header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// Bytes of the payload without padding.
    pub len: u32,
    /// Its number; 0 in a head.
    pub number: u64,
    /// The input's sequence; for records between inputs, the last input's.
    pub seq: u64,
    /// When it was admitted or written.
    pub at: Ts,
    /// How many records back the newest durable record was.
    pub lag: u32,
    /// What it holds.
    pub kind: RecordKind,
    /// Version of the payload's wire form.
    pub version: u8,
    /// `FLAG_HEAD` or 0.
    pub flags: u16,
}

impl RecordHeader {
    /// The newest durable record when this one was written.
    #[inline]
    pub fn durable(&self) -> u64 {
        self.number.saturating_sub(self.lag as u64)
    }
}

/// What stands at a place where a record may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A valid record with this header, and so many bytes in all.
    Record(RecordHeader, usize),
    /// A header that asks for so many bytes in all, more than are at hand.
    Short(usize),
    /// Nothing: the header is all zeros, or there is no room for one.
    Empty,
    /// Anything else.
    Bad,
}

/// Bytes of a record with this payload.
#[inline]
pub fn record_len(payload: usize) -> usize {
    (RECORD_HEADER + payload).next_multiple_of(ALIGN)
}

/// Begins a record: room for the header. The payload is appended next, then [`finish_record`] is called.
pub fn begin_record(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.resize(start + RECORD_HEADER, 0);
    start
}

/// Pads the record that begins at `start` and fills in its header; `header.len` is taken from the bytes.
pub fn finish_record(out: &mut Vec<u8>, start: usize, header: &RecordHeader) {
    let len = out.len() - start - RECORD_HEADER;
    out.resize(start + record_len(len), 0);
    let record = &mut out[start..];
    record[4..8].copy_from_slice(&(len as u32).to_le_bytes());
    record[8..16].copy_from_slice(&header.number.to_le_bytes());
    record[16..24].copy_from_slice(&header.seq.to_le_bytes());
    record[24..32].copy_from_slice(&header.at.nanos().to_le_bytes());
    record[32..36].copy_from_slice(&header.lag.to_le_bytes());
    record[36] = header.kind as u8;
    record[37] = header.version;
    record[38..40].copy_from_slice(&header.flags.to_le_bytes());
    let sum = crc32fast::hash(&record[4..]);
    record[..4].copy_from_slice(&sum.to_le_bytes());
}

/// Looks at a place where a record may begin; `bytes` reach to the end of the file or of what is at hand.
#[inline]
pub fn inspect(bytes: &[u8]) -> Place {
    let Some(header) = bytes.get(..RECORD_HEADER) else {
        return if bytes.iter().all(|b| *b == 0) { Place::Empty } else { Place::Bad };
    };
    let len = u32_at(header, 4) as usize;
    let Some(kind) = RecordKind::from_byte(header[36]) else {
        return if header.iter().all(|b| *b == 0) { Place::Empty } else { Place::Bad };
    };
    if len > PAYLOAD_MAX {
        return Place::Bad;
    }
    let total = record_len(len);
    let Some(record) = bytes.get(..total) else { return Place::Short(total) };
    if crc32fast::hash(&record[4..]) != u32_at(record, 0) {
        return Place::Bad;
    }
    let header = RecordHeader {
        len: len as u32,
        number: u64_at(header, 8),
        seq: u64_at(header, 16),
        at: Ts::from_nanos(u64_at(header, 24) as i64),
        lag: u32_at(header, 32),
        kind,
        version: header[37],
        flags: u16::from_le_bytes([header[38], header[39]]),
    };
    Place::Record(header, total)
}

/// A segment's file name.
pub fn segment_name(number: u64) -> String {
    format!("journal-{number:012}.seg")
}

/// The number in a segment's file name.
pub fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("journal-")?.strip_suffix(".seg")?;
    if digits.len() == 12 { digits.parse().ok() } else { None }
}

#[inline]
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[inline]
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}
