//! What a reader must know before the first record of a segment or after a snapshot: definitions, configuration, epoch and
//! quarantine marks. It stands at the head of each segment, so that a segment can be read alone, and in each snapshot.

use super::segment::{RecordHeader, RecordKind, begin_record, finish_record};
use crate::wire::{self, WireError};
use qcat_core::config::EngineConfig;
use qcat_core::engine::fold::Quarantine;
use qcat_core::event::Input;
use qcat_core::id::Seq;
use qcat_core::instrument::Universe;
use qcat_core::time::Ts;

/// The state of the journal that is repeated at the head of each segment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Head {
    /// Assets and instruments.
    pub universe: Universe,
    /// The newest configuration.
    pub config: Option<EngineConfig>,
    /// The newest epoch of client order ids.
    pub epoch: Option<u32>,
    /// All quarantine marks.
    pub quarantine: Vec<Quarantine>,
}

/// Whether an input changes the head.
pub(super) fn is_head_input(input: &Input) -> bool {
    matches!(input, Input::Definition(_) | Input::Configuration(_) | Input::Start { .. })
}

impl Head {
    /// Takes an input over. A definition that cannot be followed changes nothing, as in the engine.
    pub(super) fn admit(&mut self, input: &Input) {
        match input {
            Input::Definition(definition) => {
                let _ = self.universe.define(definition);
            }
            Input::Configuration(config) => self.config = Some((**config).clone()),
            Input::Start { epoch } => self.raise_epoch(*epoch),
            _ => {}
        }
    }

    pub(super) fn raise_epoch(&mut self, epoch: u32) {
        self.epoch = Some(self.epoch.map_or(epoch, |known| known.max(epoch)));
    }

    pub(super) fn quarantine(&mut self, mark: Quarantine) {
        if !self.quarantine.contains(&mark) {
            self.quarantine.push(mark);
        }
    }

    /// Takes over what a stored record says about the head; other records are ignored.
    pub(super) fn fold(&mut self, header: &RecordHeader, payload: &[u8]) -> Result<(), WireError> {
        match header.kind {
            RecordKind::Input if header.flags & super::segment::FLAG_HEAD != 0 => {
                self.admit(&wire::read_input(header.version, payload)?);
                Ok(())
            }
            RecordKind::Definitions => {
                let definitions = wire::read_definitions(header.version, payload)?;
                definitions.into_iter().for_each(|d| self.admit(&Input::Definition(d)));
                Ok(())
            }
            RecordKind::Configuration => {
                self.config = Some(wire::read_configuration(header.version, payload)?);
                Ok(())
            }
            RecordKind::Epoch => {
                self.raise_epoch(wire::parse(payload)?);
                Ok(())
            }
            RecordKind::Quarantine => {
                self.quarantine(read_mark(header.version, payload)?);
                Ok(())
            }
            RecordKind::Input | RecordKind::Decisions | RecordKind::Snapshot | RecordKind::Close => Ok(()),
        }
    }

    /// Appends the head as records with number 0.
    pub(super) fn write(&self, seq: Seq, at: Ts, out: &mut Vec<u8>) -> Result<(), WireError> {
        let mut record = |kind, fill: &mut dyn FnMut(&mut Vec<u8>) -> Result<(), WireError>| {
            let start = begin_record(out);
            fill(out)?;
            let header =
                RecordHeader { len: 0, number: 0, seq: seq.0, at, lag: 0, kind, version: wire::VERSION, flags: 0 };
            finish_record(out, start, &header);
            Ok::<(), WireError>(())
        };
        let definitions: Vec<_> = self.universe.definitions().collect();
        if !definitions.is_empty() {
            record(RecordKind::Definitions, &mut |out| wire::write_definitions(&definitions, out))?;
        }
        if let Some(config) = &self.config {
            record(RecordKind::Configuration, &mut |out| wire::write_configuration(config, out))?;
        }
        if let Some(epoch) = self.epoch {
            record(RecordKind::Epoch, &mut |out| wire::append(&epoch, out))?;
        }
        for mark in &self.quarantine {
            record(RecordKind::Quarantine, &mut |out| write_mark(mark, out))?;
        }
        Ok(())
    }
}

pub(super) fn write_mark(mark: &Quarantine, out: &mut Vec<u8>) -> Result<(), WireError> {
    out.extend_from_slice(&mark.seq.0.to_le_bytes());
    wire::write_station(&mark.station, out)
}

pub(super) fn read_mark(version: u8, payload: &[u8]) -> Result<Quarantine, WireError> {
    let (seq, station) = payload.split_first_chunk::<8>().ok_or_else(|| WireError::Malformed("too short".into()))?;
    Ok(Quarantine { seq: Seq(u64::from_le_bytes(*seq)), station: wire::read_station(version, station)? })
}
