//! QCAT: a trading daemon for crypto derivatives.
//!
//! Map of the project: `qcat-core` decides (pure), `qcat-io` moves bytes, `qcat-actors` keeps both alive, this package puts them
//! together: configuration, command line, composition.

pub mod config;
