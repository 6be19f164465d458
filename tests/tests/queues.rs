//! Several queues of one device, each with its own plan, at the same time.

use gpu_core::{Cpu, Error, Tensor};
use nsct::{NsctBackend, NsctPlan, NsctSpec};

const SIZE: (usize, usize) = (40, 48);

fn pixels(seed: usize) -> Vec<f32> {
    (0..SIZE.0 * SIZE.1).map(|i| ((i * (seed + 3) * 7 + i * i) % 256) as f32).collect()
}

fn spec() -> NsctSpec {
    NsctSpec::new([1, 2]).with_dir("pkva".parse().expect("a name"))
}

fn coefficients<B: NsctBackend<f32>>(b: &B, seed: usize) -> Vec<f32> {
    let plan = NsctPlan::<B, f32>::new(b, &spec(), SIZE.0, SIZE.1).expect("a plan");
    let x = Tensor::from_slice(b, [1, 1, SIZE.0, SIZE.1], &pixels(seed)).expect("a picture");
    plan.decompose(&x).expect("coefficients").tensor().to_vec(b).expect("a copy")
}

/// Forked queues in threads give the bits of one queue after the other.
fn queues_agree<B: NsctBackend<f32>>(b: &B) {
    let alone: Vec<_> = (0..4).map(|seed| coefficients(b, seed)).collect();
    let together: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|seed| {
                let queue = b.fork().expect("a queue");
                scope.spawn(move || coefficients(&queue, seed))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(alone == together, "the bits differ");
}

/// A picture of another queue is refused, and taken after it was adopted.
fn borders_hold<B: NsctBackend<f32>>(b: &B) {
    let other = b.fork().expect("a queue");
    let plan = NsctPlan::<B, f32>::new(b, &spec(), SIZE.0, SIZE.1).expect("a plan");
    let x = Tensor::from_slice(&other, [1, 1, SIZE.0, SIZE.1], &pixels(1)).expect("a picture");
    let refused = plan.decompose(&x);
    assert!(matches!(refused, Err(nsct::Error::Gpu(Error::WrongQueue { .. }))), "{refused:?}");
    let x = x.adopt(b).expect("adopted");
    let got = plan.decompose(&x).expect("coefficients").tensor().to_vec(b).expect("a copy");
    assert!(got == coefficients(b, 1), "the bits differ");
}

#[test]
fn cpu_queues() {
    queues_agree(&Cpu::new());
    borders_hold(&Cpu::new());
}

#[test]
#[ignore = "needs a CUDA device"]
fn queues_on_cuda() {
    let cuda = gpu_core::Cuda::open(0).expect("a CUDA device");
    queues_agree(&cuda);
    borders_hold(&cuda);
}
