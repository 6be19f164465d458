//! The functions of the published MATLAB toolbox, under their own names and with their own conventions
//! (Nonsubsampled Contourlet Toolbox 1.0, da Cunha, Zhou, Do, 2006).
//!
//! Indices count from 0 here. Where a function takes arrays, the first axis is the row.

mod bank;
mod banks;
mod design;
mod engine;
mod parafilters;
mod steps;
#[cfg(test)]
mod tests;

pub use bank::{Filters, PyramidFilters, TreeFilters, atrousfilters, dfilters};
pub use banks::{
    atrousc, efilter2, nsctdec, nsctrec, nsdfbdec, nsdfbrec, nsfbdec, nsfbrec, nssfbdec, nssfbrec, symext, zconv2,
};
pub use design::{Modulation, Resampling, conv2_full, ld2quin, mctrans, modulate2, qupz, resampz, upsample2df};
pub(crate) use engine::{DenseEngine, DenseWorkspace};
pub use parafilters::{DenseNode, dense_node, parafilters};
