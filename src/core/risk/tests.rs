//! Tests of the gate and the risk node.

mod held;
mod limits;
mod model;
mod shapes;
mod watch;
mod world;
