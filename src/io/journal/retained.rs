//! The records that are not durable yet, kept in memory: a failed sync loses them in the page cache, and they are written again.

use std::collections::VecDeque;

/// Records by rising number without gaps.
#[derive(Debug, Default)]
pub(super) struct Retained {
    bytes: VecDeque<u8>,
    /// Length of each record and the last sequence before it.
    lens: VecDeque<(u32, u64)>,
    first: u64,
}

impl Retained {
    /// Appends a record; `seq_before` is the last sequence before it.
    pub fn push(&mut self, number: u64, seq_before: u64, record: &[u8]) {
        if self.lens.is_empty() {
            self.first = number;
        }
        self.bytes.extend(record);
        self.lens.push_back((record.len() as u32, seq_before));
    }

    /// Forgets all records up to `durable`.
    pub fn trim(&mut self, durable: u64) {
        let mut gone = 0;
        while self.first <= durable {
            let Some((len, _)) = self.lens.pop_front() else { break };
            gone += len as usize;
            self.first += 1;
        }
        self.bytes.drain(..gone);
    }

    /// The bytes of all records.
    pub fn slices(&self) -> (&[u8], &[u8]) {
        self.bytes.as_slices()
    }

    /// The last sequence before the first record.
    pub fn seq_before(&self) -> Option<u64> {
        self.lens.front().map(|(_, seq)| *seq)
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }
}
