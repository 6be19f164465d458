//! A kernel that faults loses the device for the whole process, so this test has a process of its own.
#![cfg(feature = "cuda")]
// The pages read as in a domain crate, where they are public.
#![allow(unreachable_pub, dead_code)]

mod pages;

use gpu_core::{Backend, Cuda, Error, Tensor, testing};
use pages::axpy::AxpyParams;
use pages::cuda::KERNELS;

#[test]
#[ignore = "needs a CUDA device"]
fn cuda_a_fault_names_the_kernel_and_stays() {
    let b = testing::cuda();
    let other = b.fork().unwrap();
    let x: Tensor<Cuda, f32, 1> = Tensor::zeros(&b, [64]).unwrap();
    let mut y: Tensor<Cuda, f32, 1> = Tensor::zeros(&b, [64]).unwrap();
    let elsewhere: Tensor<Cuda, f32, 1> = Tensor::zeros(&other, [64]).unwrap();
    let event = b.record().unwrap();
    let p = AxpyParams { n: 1 << 42, a: 1.0 };
    let launch = b
        .kernel(&KERNELS, "axpy_f32")
        .and_then(|k| k.read(x.flat())?.write(y.flat_mut()))
        .unwrap()
        .arg(p)
        .grid((1 << 20, 1, 1))
        .block((256, 1, 1));
    // SAFETY: void axpy_f32(const float* x, float* y, AxpyParams p); far too many elements, on purpose. The driver ends
    // the kernel and the context; the memory that it may have overwritten before belongs to this process alone.
    let launched = unsafe { launch.launch() };
    let first = launched.and_then(|()| b.synchronize()).unwrap_err();
    let text = first.to_string();
    assert!(matches!(first, Error::DeviceLost { .. }) && first.is_sticky(), "{text}");
    assert!(text.contains("axpy_f32") && text.contains("700"), "{text}");
    // Everything afterwards says the same, on every queue, and nothing panics.
    let later = [
        b.zeros::<u8>(1).map(drop),
        y.to_vec(&b).map(drop),
        elsewhere.to_vec(&other).map(drop),
        other.fork().map(drop),
        Cuda::open(b.device().ordinal).map(drop),
        gpu_core::Event::wait(&event),
    ];
    for result in later {
        assert_eq!(result.unwrap_err().to_string(), text);
    }
    drop((x, y, elsewhere, event, other, b));
}
