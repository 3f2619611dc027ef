//! Tests of the journal on the simulated disk; `work` makes what is journaled.

mod crash;
mod damage;
mod faults;
mod recovery;
mod retire;
mod work;
