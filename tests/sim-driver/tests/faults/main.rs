//! Every check is shown a kernel with the fault that it is for, and must name it; next to each stands the same kernel
//! without the fault, which must pass.

mod barriers;
mod common;
mod copies;
mod cuda;
mod mbarriers;
mod memory;
mod modules;
mod orders;
mod races;
mod refused;
mod text;
