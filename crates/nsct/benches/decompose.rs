//! The whole transform and its inverse: sizes, levels and engines, on the backend named by `LOCKSTEP_BENCH_BACKEND`
//! (`cpu`, or `cuda`). Time is what the device sees between two events; rows named `cold` are measured with other data in
//! the caches.
//!
//! Bytes are the least that must move: the image and all planes, once.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use gpu_core::testing::timing::{Flush, warm};
use gpu_core::{AnyBackend, Backend, Result, Tensor, with_backend};
use nsct::{DirFilter, Engine, NsctBackend, NsctPlan, NsctSpec};

const SIZES: [usize; 2] = [256, 512];
const LEVELS: [&[u8]; 2] = [&[2, 3], &[2, 3, 3, 4]];
const ENGINES: [(Engine, DirFilter); 3] = [
    (Engine::Spectral, DirFilter::Dmaxflat(7)),
    (Engine::Taps, DirFilter::Dmaxflat(7)),
    (Engine::Ladder, DirFilter::Pkva(12)),
];

const WARM_UP: Duration = Duration::from_millis(200);
const MEASUREMENT: Duration = Duration::from_millis(500);

/// Measures with warm and with cold caches.
fn measure<B: Backend>(
    b: &B,
    c: &mut Criterion,
    flush: &mut Flush<B>,
    (name, engine, shape, bytes): (&str, Engine, &str, usize),
    mut run: impl FnMut() -> nsct::Result<()>,
) {
    let mut run = || run().map_err(|e| gpu_core::Error::value("transform", e.to_string()));
    let taken = |time: Result<Duration>| time.unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut group = c.benchmark_group(name);
    group
        .sample_size(20)
        .warm_up_time(WARM_UP)
        .measurement_time(MEASUREMENT)
        .throughput(Throughput::Bytes(bytes as u64));
    group.bench_function(BenchmarkId::new(format!("{}_f32_{engine}", B::NAME), shape), |timer| {
        timer.iter_custom(|times| taken(warm(b, times, &mut run)));
    });
    group.bench_function(BenchmarkId::new(format!("{}_f32_{engine} cold", B::NAME), shape), |timer| {
        timer.iter_custom(|times| taken(flush.cold(b, times, &mut run)));
    });
    group.finish();
}

fn transforms<B: NsctBackend<f32>>(b: &B, c: &mut Criterion) -> nsct::Result<()> {
    let mut flush = Flush::new(b)?;
    for size in SIZES {
        let pixels: Vec<f32> = (0..size * size).map(|i| (i * 7919 % 251) as f32).collect();
        let x = Tensor::from_slice(b, [1, 1, size, size], &pixels)?;
        for levels in LEVELS {
            let shape = format!("1x1x{size}x{size}_{}", levels.iter().map(u8::to_string).collect::<Vec<_>>().join(","));
            for (engine, dir) in ENGINES {
                let spec = NsctSpec::new(levels).with_dir(dir).with_engine(engine);
                let plan = NsctPlan::<B, f32>::new(b, &spec, size, size)?;
                let mut coeffs = plan.decompose(&x)?;
                let mut back = plan.reconstruct(&coeffs)?;
                let bytes = (1 + spec.plane_count()) * size * size * size_of::<f32>();
                measure(b, c, &mut flush, ("decompose", engine, &shape, bytes), || {
                    plan.decompose_into(&x, &mut coeffs)
                });
                measure(b, c, &mut flush, ("reconstruct", engine, &shape, bytes), || {
                    plan.reconstruct_into(&coeffs, &mut back)
                });
            }
        }
    }
    Ok(())
}

fn main() {
    let name = std::env::var("LOCKSTEP_BENCH_BACKEND").unwrap_or_else(|_| "cpu".to_owned());
    let any = AnyBackend::open(&name).unwrap_or_else(|e| panic!("LOCKSTEP_BENCH_BACKEND={name}: {e}"));
    let mut criterion = Criterion::default().configure_from_args();
    with_backend!(&any, |b| transforms(b, &mut criterion)).unwrap_or_else(|e| panic!("{e}"));
    criterion.final_summary();
}
