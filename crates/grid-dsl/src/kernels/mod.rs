//! Operations on many dense grids in a device's memory, one page each: meaning, checked entry, CPU twin, CUDA twin.
//!
//! A [`GridBatch`] holds grids of at most [`SIDE`] x [`SIDE`] cells, a byte a cell. Nothing here uses floating point, and
//! no result depends on the order in which threads come: whatever is a set comes out in canonical order.

mod augment;
mod batch;
mod components;
mod digest;
mod expand;
mod palette;
mod step;

use gpu_core::Backend;

pub use augment::{Augment, AugmentItems, Item, augment, augment_into};
pub use batch::{GridBatch, SIDE};
pub use components::{
    Component, Components, ComponentsOf, ComponentsParams, Labels, MODES, Mode, Tables, components, objects_batch,
    tables_batch,
};
pub use digest::{Digest, digest};
pub use expand::{
    Expand, ExpandInput, ExpandParams, Expanded, Expander, StateBatch, TOGETHER, Wanted, expand, expand_last, pack,
};
pub use palette::{FIGURES, Palette, PaletteOf, palette};

pub use step::{
    Arena, Each, EachParams, Elements, Gather, HEAD, Instruction, Laid, Layout, Op, PAYLOAD, Pack, PackParams, Packed,
    Place, PlaceParams, Ranged, Slot, Spill, Step, StepParams, Tallied, Tallies, Tally, TallyParams, count_each,
    gather_each, put, put_all, spread_each, step, step_each, take, take_packed, tally,
};

pub(crate) use batch::CELLS;
pub(crate) use expand::MOST_BYTES;
pub(crate) use step::{Form, MOST_COMPARED, Words, decode_val, is_plain, words_of};

macro_rules! operations {
    ($($operation:ident),* $(,)?) => {
        /// Every operation on grids, on one backend: the only bound of algorithms.
        pub trait GridBackend: Backend $(+ $operation)* {}
        impl<B: Backend $(+ $operation)*> GridBackend for B {}
    };
}
operations![Components, Palette, Augment, Digest, Step, Place, Pack, Tallies, Elements, Expand];

/// The compiled kernels inside this crate, for programs that list them or try whether a device loads them.
#[cfg(feature = "cuda")]
pub fn compiled() -> &'static gpu_core::cuda::Kernels {
    &cuda::KERNELS
}

#[cfg(feature = "cuda")]
pub(crate) mod cuda {
    //! The compiled kernels.
    gpu_core::kernels! {
        pub(crate) static KERNELS = [
            ("grid_augment", ["sm_75"]),
            ("grid_components", ["sm_75"]),
            ("grid_each", ["sm_75"]),
            ("grid_expand", ["sm_75"]),
            ("grid_palette", ["sm_75"]),
            ("grid_place", ["sm_75"]),
            ("grid_step", ["sm_75"]),
            ("grid_tally", ["sm_75"]),
        ];
    }

    /// Warps of a block: each works on an item of its own.
    pub(crate) const WARPS: u32 = 2;

    /// Threads of a block of warps.
    pub(crate) const BLOCK: (u32, u32, u32) = (WARPS * 32, 1, 1);

    /// Blocks of warps; kernels loop over what is beyond.
    pub(crate) fn warps(items: usize) -> (u32, u32, u32) {
        ((items.min(1 << 22) as u32).div_ceil(WARPS), 1, 1)
    }
}
