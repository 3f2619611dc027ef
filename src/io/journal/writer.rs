//! Appends records, rotates segments, and goes on after failed syncs and on a full disk.

use super::head::{Head, is_head_input, write_mark};
use super::retained::Retained;
use super::retire::Keep;
use super::segment::{
    FLAG_HEAD, PAYLOAD_MAX, RECORD_HEADER, RecordHeader, RecordKind, SEGMENT_HEADER, SegmentHeader, begin_record,
    finish_record, segment_name,
};
use super::snapshot::{PendingSnapshot, Snapshot, SnapshotWriteError, encode};
use super::sync::{DurableSeq, SPARE, Shared, SyncThread, Waker};
use super::{Durability, Mark, MarketData, Options, Priority};
use crate::disk::{DirLock, Disk, DiskError, DiskFile};
use crate::wire::{self, WireError};
use qcat_core::engine::fold::Quarantine;
use qcat_core::engine::snapshot::Snapshot as State;
use qcat_core::event::{Admitted, Decision, Input, Station};
use qcat_core::id::{Seq, next_epoch};
use qcat_core::time::Ts;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The name of the segment that is kept for a full disk.
pub(super) const EMERGENCY: &str = "emergency.seg";
/// After so many failed syncs in a row without progress the journal gives up.
const REPAIRS_MAX: u32 = 3;
/// How long a wait for the sync thread looks away.
const PATIENCE: Duration = Duration::from_millis(100);

/// Why a record was not journaled. Nothing of it is on disk then, and its number is not used up.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// No space, and the record may not use the emergency segment, or that one is full too.
    #[error("the disk is full: only cancels and reductions can be journaled, if there is room kept for them")]
    DiskFull,
    /// The sequence of an input is not the next one, or that of decisions not the last one.
    #[error("sequence {got} does not follow {last}")]
    OutOfOrder {
        /// The last sequence.
        last: u64,
        /// The one that was handed in.
        got: u64,
    },
    /// Does not encode, or is too long.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Syncs failed again and again: nothing can be made durable any more.
    #[error("the journal cannot be made durable: {0}")]
    Dead(String),
}

/// The journal, as its one writer sees it.
#[derive(Debug)]
pub struct Journal {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) options: Options,
    pub(super) shared: Arc<Shared>,
    pub(super) thread: Option<SyncThread>,
    pub(super) active: Option<Active>,
    /// The highest segment number in use.
    pub(super) segment: u64,
    /// The next record.
    pub(super) next: u64,
    pub(super) last_seq: u64,
    pub(super) last_at: Ts,
    pub(super) buffer: Vec<u8>,
    pub(super) retained: Retained,
    pub(super) head: Head,
    pub(super) emergency: Option<Arc<dyn DiskFile>>,
    pub(super) full: bool,
    /// Failed syncs in a row, and the durable record at the last one.
    pub(super) repairs: (u32, u64),
    pub(super) dead: Option<String>,
    // The last field: the lock goes when everything else is gone.
    pub(super) _lock: Box<dyn DirLock>,
}

/// The segment that is being written.
#[derive(Debug)]
pub(super) struct Active {
    pub file: Arc<dyn DiskFile>,
    pub offset: u64,
    pub capacity: u64,
}

impl Journal {
    /// Journals an admitted input; its sequence must follow the last one. With [`MarketData::None`] a market input uses up
    /// its sequence and is not written.
    pub fn append_input(&mut self, admitted: &Admitted, priority: Priority) -> Result<Mark, AppendError> {
        let seq = admitted.seq.0;
        if seq != self.last_seq + 1 {
            return Err(AppendError::OutOfOrder { last: self.last_seq, got: seq });
        }
        if self.options.market_data == MarketData::None && matches!(admitted.input, Input::Market(_)) {
            (self.last_seq, self.last_at) = (seq, admitted.at);
            self.shared.complete_seq.store(seq - 1, Ordering::Release);
            return Ok(self.appended());
        }
        let in_head = is_head_input(&admitted.input);
        let flags = if in_head { FLAG_HEAD } else { 0 };
        let encode = |out: &mut Vec<u8>| wire::write_input(&admitted.input, out);
        self.append(RecordKind::Input, seq, admitted.at, flags, priority, encode)?;
        (self.last_seq, self.last_at) = (seq, admitted.at);
        self.shared.complete_seq.store(seq - 1, Ordering::Release);
        if in_head {
            self.head.admit(&admitted.input);
        }
        self.settle()
    }

    /// Journals what the engine decided from the last input; nothing is written when it decided nothing. A command among
    /// them may leave when [`Journal::may_release`] says so for the answer.
    pub fn append_decisions(
        &mut self,
        seq: Seq,
        at: Ts,
        decisions: &[Decision],
        priority: Priority,
    ) -> Result<Mark, AppendError> {
        if seq.0 != self.last_seq {
            return Err(AppendError::OutOfOrder { last: self.last_seq, got: seq.0 });
        }
        if !decisions.is_empty() {
            let encode = |out: &mut Vec<u8>| wire::write_decisions(decisions, out);
            self.append(RecordKind::Decisions, seq.0, at, 0, priority, encode)?;
        }
        self.shared.complete_seq.store(seq.0, Ordering::Release);
        if decisions.is_empty() { Ok(self.appended()) } else { self.settle() }
    }

    /// Begins an epoch of client order ids: larger than any before, and durable on return.
    pub fn begin_epoch(&mut self, now: Ts) -> Result<u32, AppendError> {
        let epoch = next_epoch(self.head.epoch, now);
        let encode = |out: &mut Vec<u8>| wire::append(&epoch, out);
        self.append(RecordKind::Epoch, self.last_seq, now, 0, Priority::Emergency, encode)?;
        self.head.raise_epoch(epoch);
        self.make_durable()?;
        Ok(epoch)
    }

    /// Marks that a station must never again be stepped with an input; durable on return.
    pub fn quarantine(&mut self, seq: Seq, station: Station, now: Ts) -> Result<(), AppendError> {
        let mark = Quarantine { seq, station };
        let encode = |out: &mut Vec<u8>| write_mark(&mark, out);
        self.append(RecordKind::Quarantine, self.last_seq, now, 0, Priority::Emergency, encode)?;
        self.head.quarantine(mark);
        self.make_durable()
    }

    /// Definitions, configuration, epoch and quarantine marks as journaled so far.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The last sequence.
    pub fn last_seq(&self) -> Seq {
        Seq(self.last_seq)
    }

    /// The last record written.
    pub fn appended(&self) -> Mark {
        Mark(self.next - 1)
    }

    /// The last record that survives a loss of power.
    pub fn durable(&self) -> Mark {
        Mark(self.shared.durable.load(Ordering::Acquire))
    }

    /// The last input that survives a loss of power with all of its decisions.
    pub fn durable_seq(&self) -> Seq {
        Seq(self.shared.durable_seq.load(Ordering::Acquire))
    }

    /// The same for other threads, at any time.
    pub fn durable_watch(&self) -> DurableSeq {
        DurableSeq::new(self.shared.clone())
    }

    /// Whether a command may leave whose decision is in record `mark`, by the configured durability.
    #[inline]
    pub fn may_release(&self, mark: Mark) -> bool {
        match self.options.durability {
            Durability::Async => mark <= self.appended(),
            Durability::Group | Durability::Each => mark <= self.durable(),
        }
    }

    /// Whether only the emergency segment takes records.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Sets who is woken when the durable mark moved or a sync failed; the first one stays. Woken up, the lane calls
    /// [`Journal::maintain`].
    pub fn set_waker(&self, waker: Waker) {
        self.shared.set_waker(waker);
    }

    /// Asks the sync thread for a sync; returns at once. Without a thread it does nothing.
    pub fn request_sync(&self) {
        if let Some(thread) = &self.thread {
            thread.request();
        }
    }

    /// Syncs on this thread, unless there is a sync thread: then waits for it.
    pub fn sync_now(&mut self) -> Result<(), AppendError> {
        self.make_durable()
    }

    /// Goes on after a failed sync: begins a segment and writes again what is not durable. Appends do the same.
    pub fn maintain(&mut self) -> Result<(), AppendError> {
        self.repair(Priority::Emergency)?;
        self.retained.trim(self.shared.durable.load(Ordering::Acquire));
        Ok(())
    }

    /// Takes the engine's state after the last input and all of its decisions, to be written by any thread once the journal is durable up to it;
    /// tell the journal with [`Journal::note_snapshot`] when that is done.
    pub fn take_snapshot(&self, state: State) -> Result<PendingSnapshot, SnapshotWriteError> {
        if state.seq.0 != self.last_seq {
            return Err(SnapshotWriteError::OutOfStep { state: state.seq.0, journal: self.last_seq });
        }
        let program = self.options.program.clone();
        let snapshot = Snapshot { record: self.next - 1, program, head: self.head.clone(), state };
        Ok(PendingSnapshot {
            disk: self.disk.clone(),
            shared: self.shared.clone(),
            dir: self.dir.clone(),
            bytes: encode(self.options.engine, &snapshot)?,
            record: snapshot.record,
            at: snapshot.state.at,
            keep: Keep {
                engine: self.options.engine,
                program: self.options.program.clone(),
                snapshots: self.options.keep_snapshots,
                age: self.options.keep,
                bytes: self.options.keep_bytes,
            },
        })
    }

    /// Notes in the journal that the snapshot up to `record` is on disk.
    pub fn note_snapshot(&mut self, record: u64, at: Ts) -> Result<(), AppendError> {
        let encode = |out: &mut Vec<u8>| wire::append(&record, out);
        self.append(RecordKind::Snapshot, self.last_seq, at, 0, Priority::Emergency, encode)?;
        self.settle().map(drop)
    }

    /// Takes and writes a snapshot on this thread.
    pub fn write_snapshot(&mut self, state: State) -> Result<(), SnapshotWriteError> {
        self.make_durable().map_err(Box::new)?;
        let at = state.at;
        let pending = self.take_snapshot(state)?;
        let record = pending.record();
        pending.write()?;
        Ok(self.note_snapshot(record, at).map_err(Box::new)?)
    }

    /// Makes everything durable and notes that the journal was closed in order.
    pub fn close(mut self) -> Result<(), AppendError> {
        self.make_durable()?;
        let (seq, at) = (self.last_seq, self.last_at);
        match self.append(RecordKind::Close, seq, at, 0, Priority::Emergency, |_| Ok(())) {
            // Everything that counts is durable; the note is a comfort.
            Err(AppendError::DiskFull) => Ok(()),
            Err(other) => Err(other),
            Ok(()) => self.make_durable(),
        }?;
        self.thread = None;
        match self.disk.remove(&self.dir.join(SPARE)) {
            Err(e) if !e.is_missing() => Err(e.into()),
            _ => Ok(()),
        }
    }

    fn append(
        &mut self,
        kind: RecordKind,
        seq: u64,
        at: Ts,
        flags: u16,
        priority: Priority,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), WireError>,
    ) -> Result<(), AppendError> {
        self.ready(priority)?;
        self.buffer.clear();
        let start = begin_record(&mut self.buffer);
        encode(&mut self.buffer)?;
        if self.buffer.len() > RECORD_HEADER + PAYLOAD_MAX {
            return Err(WireError::Encode(format!("{} bytes are too many", self.buffer.len())).into());
        }
        let durable = self.shared.durable.load(Ordering::Acquire);
        let lag = u32::try_from(self.next - durable)
            .map_err(|_| AppendError::Dead("four thousand million records without a sync".to_owned()))?;
        let header = RecordHeader { len: 0, number: self.next, seq, at, lag, kind, version: wire::VERSION, flags };
        finish_record(&mut self.buffer, start, &header);
        self.put(priority)?;
        self.retained.trim(durable);
        self.retained.push(self.next, self.last_seq, &self.buffer);
        self.next += 1;
        self.shared.appended.store(self.next - 1, Ordering::Release);
        Ok(())
    }

    /// Before a record: a failed sync is mended, a full disk tried again, too long a tail waited for.
    fn ready(&mut self, priority: Priority) -> Result<(), AppendError> {
        self.repair(priority)?;
        if self.full {
            self.try_lift();
            if self.full && priority == Priority::Normal {
                return Err(AppendError::DiskFull);
            }
        }
        if self.retained.len() > self.options.unsynced_max {
            self.make_durable()?;
        }
        Ok(())
    }

    /// Writes the buffer behind the last record, in a new segment if need be.
    fn put(&mut self, priority: Priority) -> Result<(), AppendError> {
        let len = self.buffer.len() as u64;
        if let Some(active) = &mut self.active
            && active.offset + len <= active.capacity
        {
            match active.file.write_at(active.offset, &self.buffer) {
                Ok(()) => {
                    active.offset += len;
                    return Ok(());
                }
                Err(error) => {
                    // Whatever of it got written is void: the next segment begins with this record.
                    self.full |= error.is_full();
                    if self.full && priority == Priority::Normal {
                        return Err(AppendError::DiskFull);
                    }
                }
            }
        }
        self.begin_segment(self.next, priority)?;
        let active = self.active.as_mut().expect("begin_segment sets the active segment");
        active.file.write_at(active.offset, &self.buffer)?;
        active.offset += len;
        Ok(())
    }

    /// After a record, for `each`: it is durable before the caller goes on.
    fn settle(&mut self) -> Result<Mark, AppendError> {
        if self.options.durability == Durability::Each {
            self.make_durable()?;
        }
        Ok(self.appended())
    }

    /// Begins a segment whose first record is `first`, and writes into it again what is retained from there on.
    pub(super) fn begin_segment(&mut self, first: u64, priority: Priority) -> Result<(), AppendError> {
        let again = first < self.next;
        self.segment += 1;
        let mut bytes = vec![0; SEGMENT_HEADER];
        self.head.write(Seq(self.last_seq), self.last_at, &mut bytes)?;
        let header = SegmentHeader {
            engine: self.options.engine,
            market_data: self.options.market_data,
            head_len: bytes.len() as u32,
            number: self.segment,
            first_record: first,
            last_seq: self.retained.seq_before().filter(|_| again).unwrap_or(self.last_seq),
            durable: self.shared.durable.load(Ordering::Acquire),
            created: self.last_at,
        };
        let mut head = Vec::with_capacity(SEGMENT_HEADER);
        header.write(&mut head);
        bytes[..SEGMENT_HEADER].copy_from_slice(&head);
        if again {
            let (one, two) = self.retained.slices();
            bytes.extend_from_slice(one);
            bytes.extend_from_slice(two);
        }
        let need = (bytes.len() + self.buffer.len()) as u64;
        let (file, capacity) = self.new_file(need, priority)?;
        file.write_at(0, &bytes)?;
        if again {
            self.shared.replace(file.clone());
        } else {
            self.shared.push(file.clone(), true);
        }
        self.active = Some(Active { file, offset: bytes.len() as u64, capacity });
        Ok(())
    }

    /// Fills the unused part of the active segment with zeros: the first sync of a reserved but unwritten block costs a
    /// commit of the file system's own journal. Only for a start; later segments are filled by the sync thread.
    pub(super) fn fill_active(&mut self) -> Result<(), DiskError> {
        let Some(Active { file, offset, capacity }) = &self.active else { return Ok(()) };
        let zeros = vec![0; (1 << 20).min((capacity - offset) as usize)];
        let mut at = *offset;
        while at < *capacity {
            let step = zeros.len().min((capacity - at) as usize);
            file.write_at(at, &zeros[..step])?;
            at += step as u64;
        }
        Ok(())
    }

    /// A file for the next segment: the spare one, a new one, or for what may use it the emergency one.
    fn new_file(&mut self, need: u64, priority: Priority) -> Result<(Arc<dyn DiskFile>, u64), AppendError> {
        let path = self.dir.join(segment_name(self.segment));
        if need <= self.options.segment_size
            && let Some(file) = self.shared.take_spare()
        {
            self.disk.rename(&self.dir.join(SPARE), &path)?;
            return Ok((file, self.options.segment_size));
        }
        let size = need.max(self.options.segment_size);
        match self.disk.create(&path, size) {
            Ok(file) => Ok((file, size)),
            Err(error) if error.is_full() => {
                self.full = true;
                let fits = need <= self.options.emergency_size && priority == Priority::Emergency;
                let file = if fits { self.emergency.take() } else { None };
                let file = file.ok_or(AppendError::DiskFull)?;
                self.disk.rename(&self.dir.join(EMERGENCY), &path)?;
                Ok((file, self.options.emergency_size))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Looks whether the disk has room again, first for the emergency segment.
    fn try_lift(&mut self) {
        let wanted = self.options.segment_size + self.options.emergency_size;
        let room = match self.thread {
            Some(_) if self.emergency.is_some() => self.shared.spare_ready.load(Ordering::Acquire),
            _ => self.disk.free_space(&self.dir).is_ok_and(|free| free >= wanted),
        };
        if room && self.keep_emergency() {
            self.full = false;
        }
    }

    /// Makes the emergency segment if there is none; false when there is no room for it.
    pub(super) fn keep_emergency(&mut self) -> bool {
        if self.emergency.is_none() && self.options.emergency_size > 0 {
            self.emergency = self.disk.create(&self.dir.join(EMERGENCY), self.options.emergency_size).ok();
        }
        self.emergency.is_some() || self.options.emergency_size == 0
    }

    /// After a failed sync: the file is given up, what is not durable is written again.
    fn repair(&mut self, priority: Priority) -> Result<(), AppendError> {
        if let Some(reason) = &self.dead {
            return Err(AppendError::Dead(reason.clone()));
        }
        if !self.shared.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        let durable = self.shared.durable.load(Ordering::Acquire);
        let (count, before) = self.repairs;
        self.repairs = (if durable > before { 1 } else { count + 1 }, durable);
        if self.repairs.0 > REPAIRS_MAX {
            let reason = self.shared.take_error().map_or_else(|| "sync failed".to_owned(), |e| e.to_string());
            self.dead = Some(reason.clone());
            return Err(AppendError::Dead(reason));
        }
        self.retained.trim(durable);
        self.begin_segment(durable + 1, priority)
    }

    /// Returns when everything appended is durable.
    pub(super) fn make_durable(&mut self) -> Result<(), AppendError> {
        let mark = self.next - 1;
        loop {
            self.repair(Priority::Emergency)?;
            if self.shared.durable.load(Ordering::Acquire) >= mark {
                self.retained.trim(mark);
                return Ok(());
            }
            match &self.thread {
                Some(thread) if self.options.durability != Durability::Each => {
                    thread.request();
                    self.shared.wait(mark, PATIENCE);
                }
                _ => self.shared.sync(),
            }
        }
    }
}
