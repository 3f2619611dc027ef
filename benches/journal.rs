//! Journal: append and recovery in records per second, each against a plain form of the same work in the same run.
//!
//! Append: trades of the usual size; `async` against one `pwrite` of the same bytes a record, `group` (64 records a sync)
//! against the same writes with one fdatasync for 64. Recovery: the journal's reader without and with decoding, against reading the
//! same files with a checksum for each record and a dense `Vec` updated.
//! Files lie under the target directory, because a temporary directory is often in memory.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use qcat_core::event::{Admitted, Input};
use qcat_core::id::{Seq, SymbolIx, TradeId};
use qcat_core::market::{MarketEvent, MarketInput, Trade};
use qcat_core::num::{Price, Quantity, Side};
use qcat_core::time::Ts;
use qcat_io::disk::{Disk, RealDisk};
use qcat_io::journal::segment::{SEGMENT_HEADER, record_len};
use qcat_io::journal::{Durability, Journal, Mark, Options, Priority, Reader, SyncBy};
use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

const GROUP: u64 = 64;
const RECORDS: u64 = 1_500_000;
const SPACE: u64 = 64 << 20;

fn scratch() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a scratch directory")
}

fn admitted(seq: u64) -> Admitted {
    let at = Ts::from_millis(1_700_000_000_000 + seq as i64);
    let event = MarketEvent::Trade(Trade {
        id: TradeId(4_000_000_000 + seq as i64),
        price: Price::from_mantissa(6_170_010_000_000 + seq as i64),
        quantity: Quantity::from_mantissa(12_345).expect("positive"),
        aggressor: Side::Buy,
        on_book: true,
    });
    let market = MarketInput { symbol: SymbolIx(0), exchange_time: at, receive_time: at, derived: false, event };
    Admitted { seq: Seq(seq), at, input: Input::Market(market) }
}

fn open(dir: &Path, durability: Durability, sync_by: SyncBy) -> Journal {
    let options = Options { durability, sync_by, ..Options::default() };
    Journal::open(Arc::new(RealDisk), dir, options).expect("the journal opens").0
}

fn append(journal: &mut Journal, seq: &mut u64) -> Mark {
    *seq += 1;
    journal.append_input(&admitted(*seq), Priority::Normal).expect("appended")
}

/// A file of zeros that is written over and over, as a plain copy of what the journal does.
struct Plain {
    file: File,
    offset: u64,
    record: Vec<u8>,
}

impl Plain {
    fn new(dir: &Path, record: usize) -> Plain {
        let path = dir.join("plain");
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path).expect("a file");
        (0..SPACE >> 20).for_each(|mb| file.write_all_at(&vec![0; 1 << 20], mb << 20).expect("written"));
        file.sync_all().expect("synced");
        Plain { file, offset: 0, record: vec![7; record] }
    }

    fn write(&mut self) {
        if self.offset + self.record.len() as u64 > SPACE {
            self.offset = 0;
        }
        self.file.write_all_at(&self.record, self.offset).expect("written");
        self.offset += self.record.len() as u64;
    }
}

/// Bytes of one record of [`admitted`], header and padding included: all are of one size.
fn record_size() -> usize {
    let mut payload = Vec::new();
    qcat_io::wire::write_input(&admitted(1).input, &mut payload).expect("encodes");
    record_len(payload.len())
}

fn appends(c: &mut Criterion) {
    let mut group = c.benchmark_group("journal append");
    group.throughput(Throughput::Elements(1));
    let dir = scratch();
    let mut plain = Plain::new(dir.path(), record_size());
    group.bench_function("plain pwrite", |b| b.iter(|| plain.write()));
    let mut journal = open(dir.path(), Durability::Async, SyncBy::Thread);
    let mut seq = 0;
    group.bench_function("async", |b| b.iter(|| append(&mut journal, &mut seq)));

    group.throughput(Throughput::Elements(GROUP));
    group.bench_function("plain pwrite, fdatasync for 64", |b| {
        b.iter(|| {
            (0..GROUP).for_each(|_| plain.write());
            plain.file.sync_data().expect("synced");
        })
    });
    let other = scratch();
    let mut journal = open(other.path(), Durability::Group, SyncBy::Caller);
    let mut seq = 0;
    group.bench_function("group of 64, synced by the caller", |b| {
        b.iter(|| {
            (0..GROUP).for_each(|_| {
                black_box(append(&mut journal, &mut seq));
            });
            journal.sync_now().expect("synced");
        })
    });
    drop(journal);
    let other = scratch();
    let mut journal = open(other.path(), Durability::Group, SyncBy::Thread);
    let mut seq = 0;
    group.bench_function("group of 64, synced by the thread", |b| {
        b.iter(|| {
            (0..GROUP).for_each(|_| {
                black_box(append(&mut journal, &mut seq));
            });
            journal.sync_now().expect("synced");
        })
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("plain pwrite, fdatasync each", |b| {
        b.iter(|| {
            plain.write();
            plain.file.sync_data().expect("synced");
        })
    });
    let other = scratch();
    let mut journal = open(other.path(), Durability::Each, SyncBy::Caller);
    let mut seq = 0;
    group.bench_function("each", |b| b.iter(|| append(&mut journal, &mut seq)));
    group.finish();
}

/// Reads the segments, checks every record, counts in a dense table; returns the number of records.
fn plain_read(segments: &[PathBuf], bytes: &mut Vec<u8>, size: usize, table: &mut [u64]) -> u64 {
    let mut count = 0;
    for path in segments {
        bytes.clear();
        File::open(path).and_then(|mut file| file.read_to_end(bytes)).expect("read");
        for record in bytes[SEGMENT_HEADER..].chunks_exact(size).take_while(|record| record[4] != 0) {
            assert_eq!(crc32fast::hash(&record[4..]).to_le_bytes(), record[..4]);
            table[record[16] as usize | (record[17] as usize) << 8] += 1;
            count += 1;
        }
    }
    count
}

fn recovery(c: &mut Criterion) {
    let dir = scratch();
    let mut journal = open(dir.path(), Durability::Async, SyncBy::Thread);
    let mut seq = 0;
    (0..RECORDS).for_each(|_| {
        black_box(append(&mut journal, &mut seq));
    });
    journal.close().expect("closed");
    let names = RealDisk.list(dir.path()).expect("listed");
    let segments: Vec<PathBuf> =
        names.iter().filter(|name| name.starts_with("journal-")).map(|name| dir.path().join(name)).collect();

    let mut group = c.benchmark_group("journal recovery");
    group.throughput(Throughput::Elements(RECORDS));
    group.sample_size(20);
    group.bench_function("plain read, checksum, dense Vec", |b| {
        let (mut bytes, mut table) = (Vec::new(), vec![0u64; 1 << 16]);
        let size = record_size();
        b.iter(|| {
            let count = plain_read(&segments, &mut bytes, size, &mut table);
            assert!(count >= RECORDS);
            black_box(&table);
        })
    });
    let reader = || Reader::open(Arc::new(RealDisk), dir.path()).expect("readable");
    group.bench_function("reader", |b| {
        let mut table = vec![0u64; 1 << 16];
        b.iter_batched(
            reader,
            |mut reader| {
                while let Some(record) = reader.next_raw().expect("whole") {
                    table[record.header.seq as usize & 0xffff] += 1;
                }
                black_box(&table);
            },
            BatchSize::PerIteration,
        )
    });
    group.bench_function("reader, decoded", |b| {
        b.iter_batched(reader, |reader| black_box(reader.count()), BatchSize::PerIteration)
    });
    group.bench_function("open", |b| {
        b.iter(|| open(dir.path(), Durability::Async, SyncBy::Caller));
    });
    group.finish();
}

criterion_group!(benches, appends, recovery);
criterion_main!(benches);
