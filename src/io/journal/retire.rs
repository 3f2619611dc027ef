//! What is removed: snapshots that nothing needs, and segments at the head of the journal that no recovery needs any more.
//!
//! A recovery may have to begin with any of the newest snapshots, so records behind the oldest of these are never touched, and
//! nothing is removed before that one has been read back and is whole. Of each segment that stays, the first snapshot in it
//! stays too: a replay of a journal whose first records are gone begins with the oldest of them. Segments go from the head on, one
//! at a time, each removal durable before the next, so that a crash leaves no gap.
//! Tests: `tests/retire.rs`, a crash at every call among them.

use super::scan::{Link, load_chain};
use super::snapshot::{name, newest_of, stored};
use crate::disk::{Disk, DiskError};
use qcat_core::id::Seq;
use qcat_core::time::{Span, Ts};
use std::path::Path;

/// Segments that are removed after one snapshot: a stop must not wait for a long backlog.
const AT_ONCE: usize = 8;

/// What is kept.
#[derive(Debug, Clone)]
pub(super) struct Keep {
    /// The engine's number.
    pub engine: u16,
    /// The program whose snapshots count.
    pub program: String,
    /// How many of the newest snapshots a recovery may begin with.
    pub snapshots: usize,
    /// How long segments are kept beyond that.
    pub age: Span,
    /// How many bytes of segments are kept beyond that.
    pub bytes: u64,
}

/// Removes what is not kept. `now` is the time of the newest record. What a projection that has everything up to input `needed`
/// still has to read is kept like what is young: beyond the recovery's needs only as far as the bytes allow.
pub(super) fn retire(disk: &dyn Disk, dir: &Path, keep: &Keep, now: Ts, needed: Seq) -> Result<(), DiskError> {
    let records = stored(disk, dir)?;
    // Whoever begins with the newest snapshot may still be folding from the one before it.
    let spare = keep.snapshots.max(2);
    let newest = records.len().saturating_sub(spare);
    let Some(horizon) = records.get(newest).copied().filter(|_| records.len() >= spare) else { return Ok(()) };
    let links = load_chain(disk, dir)?;
    let wanted = wanted(&links, &records, needed);
    let gone = head(disk, &links, keep, (horizon, wanted), now)?;
    let whole = |disk| newest_of(disk, dir, keep.engine, &[horizon], &mut |s| s.check_program(&keep.program));
    if gone > 0 && whole(disk)?.0.is_some() {
        for link in &links[..gone] {
            disk.remove(&link.path)?;
            disk.sync_dir(dir)?;
        }
        return drop_snapshots(disk, dir, &links[gone..], &records, newest);
    }
    drop_snapshots(disk, dir, &links, &records, newest)
}

/// The record behind which a projection that has everything up to input `needed` reads on: that of a snapshot, or 0.
fn wanted(links: &[Link], records: &[u64], needed: Seq) -> u64 {
    if needed == Seq(u64::MAX) {
        return u64::MAX;
    }
    let begins = links.iter().filter_map(Link::in_use).rfind(|header| header.last_seq <= needed.0);
    let first = begins.map_or(0, |header| header.first_record);
    records.iter().rev().copied().find(|record| *record < first).unwrap_or(0)
}

/// How many segments at the head are not kept. `horizon` is behind what a recovery needs, `wanted` behind what a projection does.
fn head(
    disk: &dyn Disk,
    links: &[Link],
    keep: &Keep,
    (horizon, wanted): (u64, u64),
    now: Ts,
) -> Result<usize, DiskError> {
    let sizes: Vec<u64> =
        links.iter().map(|link| disk.open_read(&link.path)?.size()).collect::<Result<_, DiskError>>()?;
    let mut bytes: u64 = sizes.iter().fold(0, |sum, size| sum.saturating_add(*size));
    let mut gone = 0;
    for (at, link) in links.iter().enumerate() {
        // What does not read is left for a person to look at.
        let Some(next) = links[at + 1..].iter().find_map(Link::in_use).filter(|_| link.header.is_ok()) else { break };
        // Its records are all older than the next segment; one that was begun before the first input has no time.
        let young = next.created == Ts::ZERO || now.since(next.created) < keep.age;
        let needed = next.first_record > wanted.saturating_add(1);
        let kept = (young || needed) && bytes <= keep.bytes;
        if next.first_record > horizon.saturating_add(1) || kept {
            break;
        }
        if needed {
            tracing::error!(code = "journal_cut", segment = %link.path.display(), bytes, keep_bytes = keep.bytes,
                "the database is too far behind: records that it has not are removed; rebuild the projections when it is back");
        }
        bytes = bytes.saturating_sub(sizes[at]);
        gone = at + 1;
        if gone == AT_ONCE {
            break;
        }
    }
    Ok(gone)
}

/// Removes all snapshots but the newest and the first one of each segment.
fn drop_snapshots(
    disk: &dyn Disk,
    dir: &Path,
    links: &[Link],
    records: &[u64],
    newest: usize,
) -> Result<(), DiskError> {
    let begins: Vec<u64> = links.iter().filter_map(Link::in_use).map(|header| header.first_record).collect();
    // The segment whose beginning a snapshot is behind; none: the records behind it are gone.
    let segment = |record: u64| begins.iter().rposition(|first| *first <= record.saturating_add(1));
    for (at, record) in records[..newest].iter().enumerate() {
        let first_of_its = segment(*record).is_some() && (at == 0 || segment(records[at - 1]) != segment(*record));
        if !first_of_its {
            disk.remove(&dir.join(name(*record)))?;
        }
    }
    disk.sync_dir(dir)
}
