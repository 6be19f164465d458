//! A kernel that writes outside of its buffer. A simulated device is lost by that, so this test has a process of its own.
#![cfg(feature = "cuda")]
// The pages read as in a domain crate, where they are public.
#![allow(unreachable_pub, dead_code)]

mod pages;

use gpu_core::{Backend as _, Cuda, Error, Result, Tensor, testing};
use pages::axpy::AxpyParams;
use pages::cuda::KERNELS;

/// Adds to 66 elements of buffers that have 64.
fn two_too_many(b: &Cuda, x: &Tensor<Cuda, f32, 1>, y: &mut Tensor<Cuda, f32, 1>) -> Result<()> {
    let p = AxpyParams { n: 66, a: 1.0 };
    let launch = b.kernel(&KERNELS, "axpy_f32").and_then(|k| k.read(x.flat())?.write(y.flat_mut()))?;
    // SAFETY: void axpy_f32(const float* x, float* y, AxpyParams p); two elements too many, on purpose: they lie in the
    // red zones that buffers have under the feature `testing`, or a simulated device refuses them.
    unsafe { launch.arg(p).grid((2, 1, 1)).block((64, 1, 1)).launch() }
}

#[test]
#[ignore = "needs a CUDA device"]
fn cuda_a_write_outside_a_buffer_is_found() {
    let b = testing::cuda();
    let x: Tensor<Cuda, f32, 1> = Tensor::zeros(&b, [64]).unwrap();
    let mut y: Tensor<Cuda, f32, 1> = Tensor::zeros(&b, [64]).unwrap();
    if std::env::var("LOCKSTEP_RED_ZONES").is_ok_and(|value| value == "0") {
        // Without red zones the device must notice by itself. A GPU does not: the bytes may be another buffer's.
        assert!(testing::is_simulated(&b), "LOCKSTEP_RED_ZONES=0 leaves nothing to be found here");
        let error = two_too_many(&b, &x, &mut y).and_then(|()| b.synchronize()).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::DeviceLost { .. }), "{text}");
        for part in ["out of bounds in kernel axpy_f32", "block (1, 0, 0)", "thread (0, 0, 0)", "PTX line", "byte 256"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        return;
    }
    two_too_many(&b, &x, &mut y).unwrap();
    let error = y.to_vec(&b).unwrap_err().to_string();
    assert!(error.contains("axpy_f32") && error.contains("behind"), "{error}");
    drop(y);
    assert!(b.zeros::<u8>(1).is_ok(), "reported once");
    // Found when it is dropped, said by the next call.
    let mut y: Tensor<Cuda, f32, 1> = Tensor::zeros(&b, [64]).unwrap();
    two_too_many(&b, &x, &mut y).unwrap();
    drop(y);
    assert!(matches!(b.zeros::<u8>(1), Err(Error::Kernel { .. })));
    assert!(b.zeros::<u8>(1).is_ok(), "reported once");
}
