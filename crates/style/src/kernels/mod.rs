//! The operations that the networks are made of, one page each: formula, checked entry, CPU twin, CUDA twin.
//!
//! `net_*` are the layers of the network plan: raw activations, channels last, with the norm of each layer deferred to
//! whoever reads it.

mod net_body;
mod net_elem;
mod net_first;
mod net_history;
mod net_last;
mod net_layer;
#[cfg(feature = "cuda")]
mod net_pack;
mod net_rows;
mod net_twin;

pub use net_body::{BodyCall, NetBody, net_body};
pub(crate) use net_body::{output as net_body_output, tile as net_body_tile};
pub use net_elem::{NetElem, Plane, SUMS, Sample};
pub(crate) use net_first::tile as net_first_tile;
pub use net_first::{FirstCall, NetFirst, net_first};
pub use net_history::{HistoryCall, NetHistory, net_history};
pub use net_last::{LastCall, NetLast, net_last};
pub use net_layer::{
    Dense, NET_CENTRE, NET_EPSILON, NetPack, NetParams, NetScratch, NetWeights, Norm, OutNorm, Scene, Tiles, Window,
};
pub(crate) use net_layer::{ScratchSize, Tile, params as net_params};
pub use net_rows::{Cut, NetRows, Strip, net_body_rows, net_first_rows, net_last_rows};

/// Every layer of the network plan on activations of one element type.
pub trait NetBackend<T: NetElem>:
    NetFirst<f32, T> + NetFirst<u8, T> + NetBody<T> + NetLast<f32, T> + NetLast<u8, T> + NetRows<T> + NetHistory<T>
{
}
impl<T: NetElem, B> NetBackend<T> for B where
    B: NetFirst<f32, T> + NetFirst<u8, T> + NetBody<T> + NetLast<f32, T> + NetLast<u8, T> + NetRows<T> + NetHistory<T>
{
}

/// The compiled kernels inside this crate, for programs that list them or try whether a device loads them.
#[cfg(feature = "cuda")]
pub fn compiled() -> &'static gpu_core::cuda::Kernels {
    &cuda::KERNELS
}

#[cfg(feature = "cuda")]
pub(crate) mod cuda {
    //! The compiled kernels.
    use gpu_core::cuda::Launch;
    use gpu_core::{Cuda, Elem, Result, ViewMut};

    /// An argument that may be absent; the kernel then gets a null pointer.
    pub(crate) fn optional<'a, T: Elem>(launch: Launch<'a>, view: Option<ViewMut<'a, Cuda, T>>) -> Result<Launch<'a>> {
        match view {
            Some(view) => launch.write(view),
            None => Ok(launch.arg(0_u64)),
        }
    }

    gpu_core::kernels! {
        pub(crate) static KERNELS = [
            ("net_ends", ["sm_80"]),
            ("net_wide", ["sm_80"]),
            ("net_small", ["sm_80"]),
            ("net_narrow", ["sm_80"]),
            ("net_f32", ["sm_75"]),
            ("net_history", ["sm_75"]),
            ("net_rows", ["sm_80"]),
            ("net_rows_f32", ["sm_75"]),
        ];
    }
}
