//! The form in which inputs and decisions are stored: postcard of frozen structs apart from the domain types.
//!
//! Every stored payload names its version. Decoding goes through an upcast chain: version n is read into its own frozen
//! structs, turned into version n + 1 and so on; the newest one is turned into domain types. Writing uses the newest only.
//! Tests: arbitrary values there and back, stored samples of every variant, the stored schema.

#[cfg(test)]
pub(crate) mod arbitrary;
pub mod frozen;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
pub mod v1;
pub mod v2;
pub mod v3;

use frozen::{Frozen, Invalid, View};
use qcat_core::config::EngineConfig;
use qcat_core::event::{Decision, Input, Station};
use qcat_core::instrument::Definition;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The version that is written.
pub const VERSION: u8 = 3;

/// A payload that cannot be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Written by a newer program.
    #[error("wire version {0} is not known to this program, which reads up to {VERSION}")]
    Version(u8),
    /// Not what it should be.
    #[error("payload does not decode: {0}")]
    Malformed(String),
    /// Cannot be written.
    #[error("value does not encode: {0}")]
    Encode(String),
}

impl From<Invalid> for WireError {
    fn from(invalid: Invalid) -> WireError {
        WireError::Malformed(invalid.0.to_owned())
    }
}

/// Appends an input.
pub fn write_input(input: &Input, out: &mut Vec<u8>) -> Result<(), WireError> {
    write::<v3::event::Input, _>(input, out)
}

/// Reads an input.
pub fn read_input(version: u8, bytes: &[u8]) -> Result<Input, WireError> {
    read::<v1::event::Input, v2::event::Input, v3::event::Input, _>(version, bytes)
}

/// Appends the decisions of one input.
pub fn write_decisions(decisions: &[Decision], out: &mut Vec<u8>) -> Result<(), WireError> {
    write::<Vec<v1::event::Decision>, [Decision]>(decisions, out)
}

/// Reads the decisions of one input.
pub fn read_decisions(version: u8, bytes: &[u8]) -> Result<Vec<Decision>, WireError> {
    read::<Vec<v1::event::Decision>, Vec<v1::event::Decision>, Vec<v1::event::Decision>, _>(version, bytes)
}

/// Appends definitions.
pub fn write_definitions(definitions: &[Definition], out: &mut Vec<u8>) -> Result<(), WireError> {
    write::<Vec<v1::setup::Definition>, [Definition]>(definitions, out)
}

/// Reads definitions.
pub fn read_definitions(version: u8, bytes: &[u8]) -> Result<Vec<Definition>, WireError> {
    read::<Vec<v1::setup::Definition>, Vec<v1::setup::Definition>, Vec<v1::setup::Definition>, _>(version, bytes)
}

/// Appends a configuration.
pub fn write_configuration(config: &EngineConfig, out: &mut Vec<u8>) -> Result<(), WireError> {
    write::<v2::setup::EngineConfig, _>(config, out)
}

/// Reads a configuration.
pub fn read_configuration(version: u8, bytes: &[u8]) -> Result<EngineConfig, WireError> {
    read::<v1::setup::EngineConfig, v2::setup::EngineConfig, v2::setup::EngineConfig, _>(version, bytes)
}

/// Appends a station.
pub fn write_station(station: &Station, out: &mut Vec<u8>) -> Result<(), WireError> {
    write::<v1::event::Station, _>(station, out)
}

/// Reads a station.
pub fn read_station(version: u8, bytes: &[u8]) -> Result<Station, WireError> {
    read::<v1::event::Station, v1::event::Station, v1::event::Station, _>(version, bytes)
}

fn write<W: Frozen<D>, D: ?Sized>(domain: &D, out: &mut Vec<u8>) -> Result<(), WireError> {
    append(&View::<W, D>::new(domain), out)
}

/// Appends anything in postcard, without allocating beyond what `out` needs to grow.
pub(crate) fn append<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), WireError> {
    let before = std::mem::take(out);
    // On an error postcard drops the buffer; nothing was journaled then, and the next record makes a new one.
    *out = postcard::to_extend(value, before).map_err(|e| WireError::Encode(e.to_string()))?;
    Ok(())
}

/// Reads what version 1 wrote in the form `V1`, version 2 in the form `V2`, and so on.
fn read<V1, V2, V3, D>(version: u8, bytes: &[u8]) -> Result<D, WireError>
where
    V1: Frozen<D> + DeserializeOwned,
    V2: Frozen<D> + DeserializeOwned,
    V3: Frozen<D> + DeserializeOwned,
{
    match version {
        1 => Ok(parse::<V1>(bytes)?.thaw()?),
        2 => Ok(parse::<V2>(bytes)?.thaw()?),
        3 => Ok(parse::<V3>(bytes)?.thaw()?),
        other => Err(WireError::Version(other)),
    }
}

/// Reads the note of a stored snapshot: the last record that it contains.
pub fn read_snapshot_note(bytes: &[u8]) -> Result<u64, WireError> {
    parse(bytes)
}

/// Reads anything in postcard; all bytes must be used.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(WireError::Malformed(format!("{} bytes too many", rest.len()))),
        Err(e) => Err(WireError::Malformed(e.to_string())),
    }
}
