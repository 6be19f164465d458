//! Two test-only kernel pages: the whole chain from a checked entry to both twins, in miniature.

pub mod axpy;
pub mod row_blur;

#[cfg(feature = "cuda")]
pub mod cuda {
    gpu_core::kernels! {
        /// The compiled kernels of these pages.
        pub static KERNELS = [("axpy", ["sm_75"]), ("row_blur", ["sm_75"])];
    }
}
