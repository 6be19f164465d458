//! The CUDA backend's memory, queues, captures and refusals, on a device; and what it says without a driver.
#![cfg(feature = "cuda")]
// The pages read as in a domain crate, where they are public.
#![allow(unreachable_pub, dead_code)]

mod pages;

use gpu_core::cuda::{Grid, Kernels};
use gpu_core::{
    Backend, Buffer, Capability, Cuda, Error, Event, MemoryUse, Owner, Result, Tensor, View, ViewMut, testing,
};
use pages::axpy::{AxpyParams, axpy};
use pages::cuda::KERNELS;

fn ramp(n: usize) -> Vec<f32> {
    (0..n).map(|i| i as f32).collect()
}

/// A size that keeps a device busy for a while; a simulated one is thousands of times slower.
fn busy(b: &Cuda, n: usize) -> usize {
    if testing::is_simulated(b) { n >> 10 } else { n }
}

/// Adds 1 to every element, `times` times, one launch each.
fn count_up(b: &Cuda, y: &mut Tensor<Cuda, f32, 1>, times: usize) -> Result<()> {
    let ones = Tensor::from_slice(b, y.shape(), &vec![1.0f32; y.len()])?;
    (0..times).try_for_each(|_| axpy(b, 1.0, ones.flat(), y.flat_mut()))
}

#[test]
fn without_a_driver_the_loader_speaks() {
    match Cuda::open(0) {
        Err(Error::NoDevice { reason }) => {
            // Either there is no library, and the loader names it, or the driver has no device.
            match gpu_core::cuda::driver::load_error() {
                Some(loader) => {
                    assert_eq!(reason, loader);
                    assert!(reason.contains("cuda"), "{reason}");
                    assert!(gpu_core::cuda::driver::library().is_none());
                }
                None => assert!(!reason.is_empty()),
            }
            assert!(matches!(Cuda::all(), Err(Error::NoDevice { .. })));
            assert!(matches!(Cuda::count(), Err(Error::NoDevice { .. })));
        }
        Ok(b) => assert!(!b.device().name.is_empty() && gpu_core::cuda::driver::load_error().is_none()),
        Err(other) => panic!("{other}"),
    }
}

#[test]
#[ignore = "needs a CUDA device"]
fn cuda_devices_are_described() {
    let all = Cuda::all().unwrap();
    assert_eq!(Cuda::count().unwrap(), all.len());
    for (ordinal, b) in all.iter().enumerate() {
        let device = b.device();
        assert_eq!(device.ordinal, ordinal);
        assert!(device.arch.is_some_and(|arch| arch.major >= 5) && device.units > 0, "{device:?}");
        assert!(device.memory > 1 << 28 && device.shared_per_block >= 48 << 10, "{device:?}");
        assert!(device.driver.is_some_and(|version| version >= 11_000), "{device:?}");
        // From the memory of a small laptop to that of several years from now.
        let bytes = device.clocks.map(|clocks| clocks.bytes_per_second());
        assert!(bytes.is_none_or(|bytes| (1e10..1e14).contains(&bytes)), "{device:?}");
        assert!(b.supports(Capability::Graphs) && !b.supports(Capability::Peer(usize::MAX)));
        let MemoryUse { limit, free, .. } = b.memory();
        assert!(limit == device.memory && free > 0 && free <= device.memory, "{limit} {free}");
    }
    let missing = Cuda::open(all.len()).unwrap_err().to_string();
    assert!(missing.contains(&all.len().to_string()), "{missing}");
}

#[test]
#[ignore = "needs a CUDA device"]
fn cuda_devices_open_side_by_side() {
    let count = Cuda::count().unwrap();
    std::thread::scope(|scope| {
        for i in 0..3 * count {
            scope.spawn(move || {
                let b = Cuda::open(i % count).unwrap();
                assert_eq!(b.device().ordinal, i % count);
                let x = Tensor::from_slice(&b, [100], &ramp(100)).unwrap();
                assert_eq!(x.to_vec(&b).unwrap(), ramp(100));
            });
        }
    });
}

#[test]
#[ignore = "needs a CUDA device"]
fn cuda_copies_go_there_and_back() {
    let b = testing::cuda();
    for n in [0, 1, 255, 100_000] {
        let x = Tensor::from_slice(&b, [n], &ramp(n)).unwrap();
        let mut y = Tensor::scratch(&b, [n]).unwrap();
        b.copy(x.flat(), y.flat_mut()).unwrap();
        assert_eq!(y.to_vec(&b).unwrap(), ramp(n));
    }
    let zeros: Tensor<Cuda, f64, 1> = Tensor::zeros(&b, [1000]).unwrap();
    assert!(zeros.to_vec(&b).unwrap().iter().all(|&v| v == 0.0));
    let x = Tensor::from_slice(&b, [4, 5], &ramp(20)).unwrap();
    let mut part = [0.0; 10];
    b.download(x.slab(1..3).unwrap().flat(), &mut part).unwrap();
    assert_eq!(part[..], ramp(20)[5..15]);
    assert!(matches!(b.download(x.flat(), &mut part), Err(Error::Shape { .. })));
}

#[test]
#[ignore = "needs a CUDA device"]
fn cuda_pinned_copies_go_there_and_back() {
    let b = testing::cuda();
    let n = 1 << 20;
    let mut host = b.pinned::<f32>(n).unwrap();
    assert!(host.iter().all(|&v| v == 0.0));
    host.copy_from_slice(&ramp(n));
    let mut x = b.scratch::<f32>(n).unwrap();
    let flight = b.upload_pinned(host, ViewMut::of(&mut x)).unwrap();
    let back = b.download_pinned(View::of(&x), b.pinned(n).unwrap()).unwrap();
    assert_eq!(back.finish().unwrap()[..], ramp(n)[..]);
    let mut host = flight.finish().unwrap();
    // Dropped in flight: the memory must outlive the copy.
    drop(b.download_pinned(View::of(&x), b.pinned(n).unwrap()).unwrap());
    // An ordinary upload from pinned memory may be overwritten as soon as it returns.
    for round in 0..20 {
        host.fill(round as f32);
        b.upload(&host, ViewMut::of(&mut x)).unwrap();
        host.fill(-1.0);
        let mut got = vec![0.0; n];
        b.download(View::of(&x), &mut got).unwrap();
        assert!(got.iter().all(|&v| v == round as f32), "{round}");
    }
    assert_eq!(b.pinned::<f64>(0).unwrap().len(), 0);
}

#[test]
#[ignore = "needs a CUDA device"]
fn cuda_memory_is_counted_and_limited() {
    let b = testing::cuda().with_memory_limit(1000).unwrap();
    let x = b.zeros::<f32>(200).unwrap();
    let error = b.zeros::<f32>(60).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { requested: 240, used: 800, limit: 1000 }), "{error}");
    let fork = b.fork().unwrap();
    assert!(fork.scratch::<u8>(201).is_err(), "forks share the budget");
    drop(x);
    assert_eq!((fork.memory().used, fork.memory().peak), (0, 800));
    assert!(fork.scratch::<u8>(201).is_ok());
    assert!(b.zeros::<f64>(usize::MAX / 4).is_err());
    // Beyond the device, not only beyond the budget; and the queue works afterwards.
    let big = testing::cuda().with_memory_limit(usize::MAX).unwrap();
    let error = big.scratch::<u8>(1 << 46).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { requested, .. } if requested == 1 << 46), "{error}");
    assert_eq!(big.memory().used, 0);
    assert!(big.zeros::<u8>(10).is_ok());
}

#[test]
#[ignore = "needs a CUDA device"]
fn cuda_memory_comes_back_after_many_rounds() {
    let b = testing::cuda();
    // More than any device has, a slice at a time.
    for round in 0..200u32 {
        let mut x: Tensor<Cuda, f32, 1> = Tensor::scratch(&b, [1 << 28]).unwrap();
        let mut first = x.slab_mut(0..1).unwrap().flat();
        b.upload(&[round as f32], first.reborrow()).unwrap();
        let mut got = [0.0];
        b.download(first.as_view(), &mut got).unwrap();
        assert_eq!(got, [round as f32]);
    }
}

#[test]
#[ignore = "needs a CUDA device"]
fn cuda_a_buffer_of_another_queue_is_refused_until_adopted_or_shared() {
    let a = testing::cuda();
    let b = a.fork().unwrap();
    let x = Tensor::from_slice(&a, [3], &[1.0f32, 2.0, 3.0]).unwrap();
    assert!(matches!(x.to_vec(&b), Err(Error::WrongQueue { .. })));
    let mut y = Tensor::zeros(&b, [3]).unwrap();
    assert!(matches!(axpy(&b, 1.0, x.flat(), y.flat_mut()), Err(Error::WrongQueue { .. })));
    let x = x.adopt(&b).unwrap();
    axpy(&b, 1.0, x.flat(), y.flat_mut()).unwrap();
    assert_eq!(y.to_vec(&b).unwrap(), [1.0, 2.0, 3.0]);
    assert!(matches!(x.to_vec(&a), Err(Error::WrongQueue { .. })));
    let mut x = x.share(&b).unwrap();
    assert_eq!(x.to_vec(&a).unwrap(), x.to_vec(&b).unwrap());
    assert!(matches!(b.upload(&[0.0; 3], x.flat_mut()), Err(Error::Value { .. })));
    assert!(matches!(axpy(&b, 1.0, y.flat(), x.flat_mut()), Err(Error::Value { .. })));
    assert!(x.adopt(&a).is_err());
    let other = a.with_memory_limit(1 << 20).unwrap();
    assert!(other.adopt(a.zeros::<u8>(4).unwrap()).is_err() && other.join(&a).is_err());
}

#[test]
#[ignore = "needs a CUDA device"]
fn cuda_adopt_fork_and_join_order_the_queues() {
    let a = testing::cuda();
    let (n, times) = (busy(&a, 1 << 22), 50);
    let mut x = Tensor::zeros(&a, [n]).unwrap();
    for round in 1..=4u32 {
        count_up(&a, &mut x, times).unwrap();
        let b = a.fork().unwrap();
        x = x.adopt(&b).unwrap();
        count_up(&b, &mut x, times).unwrap();
        // Back without waiting on the host.
        a.join(&b).unwrap();
        x = x.adopt(&a).unwrap();
        let event = a.record().unwrap();
        b.wait(&event).unwrap();
        drop((b, event));
        let expected = (2 * times) as f32 * round as f32;
        assert!(x.to_vec(&a).unwrap().iter().all(|&v| v == expected), "{round}");
    }
}

#[test]
#[ignore = "needs a CUDA device"]
fn cuda_shared_memory_outlives_its_readers_on_other_queues() {
    let a = testing::cuda();
    let n = busy(&a, 1 << 22);
    for round in 0..30 {
        let x = Tensor::from_slice(&a, [n], &vec![round as f32; n]).unwrap().share(&a).unwrap();
        let b = a.fork().unwrap();
        let mut y = Tensor::zeros(&b, [n]).unwrap();
        for _ in 0..20 {
            axpy(&b, 1.0, x.flat(), y.flat_mut()).unwrap();
        }
        // Freed by `a` while `b` still reads; the next round would overwrite it.
        drop(x);
        let z = Tensor::from_slice(&a, [n], &vec![-1.0f32; n]).unwrap();
        assert!(y.to_vec(&b).unwrap().iter().all(|&v| v == 20.0 * round as f32), "{round}");
        drop(z);
    }
}

#[test]
#[ignore = "needs a CUDA device"]
fn cuda_handles_work_from_many_threads() {
    let b = testing::cuda();
    let weights = Tensor::from_slice(&b, [1000], &ramp(1000)).unwrap().share(&b).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8u32 {
            let (b, weights) = (b.clone(), &weights);
            scope.spawn(move || {
                let b = b.fork().unwrap();
                for round in 0..50u32 {
                    let mut y = Tensor::from_slice(&b, [1000], &vec![1.0; 1000]).unwrap();
                    let a = (thread * 100 + round) as f32;
                    axpy(&b, a, weights.flat(), y.flat_mut()).unwrap();
                    let y = y.to_vec(&b).unwrap();
                    assert!(y.iter().enumerate().all(|(i, &v)| v == a * i as f32 + 1.0));
                }
            });
        }
    });
}

#[test]
#[ignore = "needs a CUDA device"]
fn cuda_events_measure_time() {
    let b = testing::cuda();
    let mut y = Tensor::zeros(&b, [busy(&b, 1 << 20)]).unwrap();
    count_up(&b, &mut y, 1).unwrap();
    let ((), few) = b.time(|b| count_up(b, &mut y, 10)).unwrap();
    let ((), many) = b.time(|b| count_up(b, &mut y, 1000)).unwrap();
    assert!(many > few && few.as_nanos() > 0, "{few:?} {many:?}");
    let start = b.record().unwrap();
    let end = b.record().unwrap();
    assert!(end.since(&start).unwrap().as_secs_f64() < 0.1);
}

#[test]
#[ignore = "needs a CUDA device"]
fn cuda_a_capture_replays_on_new_inputs() {
    let b = testing::cuda();
    let n = 1000;
    let x = Tensor::from_slice(&b, [n], &ramp(n)).unwrap();
    let y: Tensor<Cuda, f32, 1> = Tensor::zeros(&b, [n]).unwrap();
    let mut captured = b
        .capture((x, y), |b, (x, y)| {
            axpy(b, 2.0, x.flat(), y.flat_mut())?;
            axpy(b, 1.0, x.flat(), y.flat_mut())
        })
        .unwrap();
    assert!(captured.state().1.to_vec(&b).unwrap().iter().all(|&v| v == 0.0), "capturing runs nothing");
    captured.replay(&b).unwrap();
    captured.replay(&b).unwrap();
    let doubled: Vec<f32> = ramp(n).iter().map(|v| 6.0 * v).collect();
    assert_eq!(captured.state().1.to_vec(&b).unwrap(), doubled);
    b.upload(&vec![1.0; n], captured.state_mut().0.flat_mut()).unwrap();
    captured.replay(&b).unwrap();
    let got = captured.state().1.to_vec(&b).unwrap();
    assert!(got.iter().zip(&doubled).all(|(got, before)| *got == before + 3.0));
    let other = b.fork().unwrap();
    assert!(matches!(captured.replay(&other), Err(Error::WrongQueue { .. })));
}

#[test]
#[ignore = "needs a CUDA device"]
fn cuda_a_graph_keeps_what_it_works_on() {
    let b = testing::cuda();
    let used = b.memory().used;
    let n = 1 << 20;
    let x = Tensor::from_slice(&b, [n], &vec![1.0f32; n]).unwrap();
    let y: Tensor<Cuda, f32, 1> = Tensor::zeros(&b, [n]).unwrap();
    let mut captured = b.capture((x, y), |b, (x, y)| axpy(b, 1.0, x.flat(), y.flat_mut())).unwrap();
    // Replacing a tensor frees the handle, not the memory that the graph writes.
    captured.state_mut().1 = Tensor::zeros(&b, [1]).unwrap();
    for _ in 0..10 {
        captured.replay(&b).unwrap();
    }
    let fresh: Tensor<Cuda, f32, 1> = Tensor::zeros(&b, [n]).unwrap();
    captured.replay(&b).unwrap();
    assert!(fresh.to_vec(&b).unwrap().iter().all(|&v| v == 0.0), "the graph wrote into somebody else's memory");
    drop((captured, fresh));
    assert_eq!(b.memory().used, used, "everything is given back with the graph");
}

#[test]
#[ignore = "needs a CUDA device"]
fn cuda_what_cannot_be_captured_is_refused() {
    type Body = fn(&Cuda, &mut Tensor<Cuda, f32, 1>) -> Result<()>;
    let b = testing::cuda();
    let bodies: [(&str, Body); 9] = [
        ("allocation", |b, _| b.zeros::<u8>(1).map(drop)),
        ("scratch", |b, _| b.scratch::<u8>(1).map(drop)),
        ("pinned", |b, _| b.pinned::<u8>(1).map(drop)),
        ("upload", |b, x| b.upload(&[0.0; 4], x.flat_mut())),
        ("download", |b, x| x.to_vec(b).map(drop)),
        ("synchronize", |b, _| b.synchronize()),
        ("fork", |b, _| b.fork().map(drop)),
        ("record", |b, _| b.record().map(drop)),
        ("capture", |b, _| b.capture((), |_, ()| Ok(())).map(drop)),
    ];
    for (what, body) in bodies {
        let x = Tensor::zeros(&b, [4]).unwrap();
        let refused = b.capture(x, body);
        assert!(matches!(refused, Err(Error::InCapture { .. })), "{what}: {refused:?}");
        // The queue is usable again.
        let y = Tensor::from_slice(&b, [4], &ramp(4)).unwrap();
        assert_eq!(y.to_vec(&b).unwrap(), ramp(4), "{what}");
    }
    let event = b.record().unwrap();
    let waited = b.capture((), move |_, ()| event.wait());
    assert!(matches!(waited, Err(Error::InCapture { .. })), "{waited:?}");
}

#[test]
#[ignore = "needs a CUDA device"]
fn cuda_freeing_inside_a_capture_waits_for_its_end() {
    let b = testing::cuda();
    let used = b.memory().used;
    let spare: Tensor<Cuda, f32, 1> = Tensor::zeros(&b, [100]).unwrap();
    let state = (Some(spare), Tensor::zeros(&b, [100]).unwrap());
    let mut captured = b
        .capture(state, |b, (spare, y): &mut (Option<Tensor<Cuda, f32, 1>>, Tensor<Cuda, f32, 1>)| {
            if let Some(spare) = spare.take() {
                axpy(b, 1.0, spare.flat(), y.flat_mut())?;
            }
            Ok(())
        })
        .unwrap();
    for _ in 0..3 {
        captured.replay(&b).unwrap();
    }
    b.synchronize().unwrap();
    drop(captured);
    assert_eq!(b.memory().used, used);
}

#[test]
#[ignore = "needs a CUDA device"]
fn cuda_other_threads_work_while_one_captures() {
    let b = testing::cuda();
    let x = Tensor::from_slice(&b, [64], &ramp(64)).unwrap();
    let y: Tensor<Cuda, f32, 1> = Tensor::zeros(&b, [64]).unwrap();
    let other = b.fork().unwrap();
    let mut captured = b
        .capture((x, y), move |b, (x, y)| {
            let other = other.clone();
            let worker = std::thread::spawn(move || {
                let z = Tensor::from_slice(&other, [64], &ramp(64))?;
                z.to_vec(&other)
            });
            assert_eq!(worker.join().unwrap()?, ramp(64));
            axpy(b, 1.0, x.flat(), y.flat_mut())
        })
        .unwrap();
    captured.replay(&b).unwrap();
    assert_eq!(captured.state().1.to_vec(&b).unwrap(), ramp(64));
}

/// Launches `axpy_f32` with what the closure makes of the arguments, on 64 elements.
fn launched(change: impl FnOnce(gpu_core::cuda::Launch<'_>) -> gpu_core::cuda::Launch<'_>) -> Result<()> {
    let b = testing::cuda();
    let x: Tensor<Cuda, f32, 1> = Tensor::zeros(&b, [64])?;
    let mut y: Tensor<Cuda, f32, 1> = Tensor::zeros(&b, [64])?;
    let p = AxpyParams { n: 64, a: 1.0 };
    let launch = b.kernel(&KERNELS, "axpy_f32")?.read(x.flat())?.write(y.flat_mut())?.arg(p).block((64, 1, 1));
    // SAFETY: void axpy_f32(const float* x, float* y, AxpyParams p), 64 elements each; what `change` breaks is refused
    // before the driver sees it.
    unsafe { change(launch).launch() }
}

#[test]
#[ignore = "needs a CUDA device"]
fn cuda_bad_launches_are_refused_by_name() {
    launched(|launch| launch).unwrap();
    launched(|launch| launch.grid((0, 1, 1))).unwrap();
    let cases = [
        (launched(|launch| launch.arg(1u32)), "parameters"),
        (launched(|launch| launch.block((1025, 1, 1))), "1025"),
        (launched(|launch| launch.block((0, 1, 1))), "block"),
        (launched(|launch| launch.block((32, 32, 2))), "threads"),
        (launched(|launch| launch.grid((1, 1 << 20, 1))), "grid"),
        (launched(|launch| launch.shared(1 << 30)), "shared"),
    ];
    for (result, word) in cases {
        match result {
            Err(Error::Launch { kernel, why }) => assert!(kernel == "axpy_f32" && why.contains(word), "{why}"),
            other => panic!("{word}: {other:?}"),
        }
    }
    let b = testing::cuda();
    let unknown = b.kernel(&KERNELS, "axpy_f64").unwrap_err().to_string();
    assert!(unknown.contains("axpy_f64") && unknown.contains("axpy_f32"), "{unknown}");
    assert!(Grid::cover(usize::MAX, 1).is_err());
}

#[test]
#[ignore = "needs a CUDA device"]
fn cuda_more_than_48_kib_of_shared_memory() {
    let b = testing::cuda();
    let limit = b.device().shared_per_block as u32;
    for bytes in [50 << 10, limit] {
        launched(|launch| launch.shared(bytes)).unwrap();
    }
}

#[test]
#[ignore = "needs a CUDA device"]
fn cuda_ptx_that_the_driver_refuses_is_explained() {
    static BROKEN: Kernels = Kernels::new(&[gpu_core::cuda::Artefact {
        module: "broken",
        arch: "sm_75",
        ptx: ".version 7.0\n.target sm_75\n.address_size 64\n.visible .entry broken_f32() { no_such_instruction; }\n",
    }]);
    let error = testing::cuda().kernel(&BROKEN, "broken_f32").unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Kernel { .. }) && text.contains("no_such_instruction"), "{text}");
}

#[test]
#[ignore = "needs a CUDA device"]
fn cuda_streams_of_dropped_queues_are_not_hoarded() {
    let b = testing::cuda();
    let weights = b.share(b.zeros::<f32>(1000).unwrap()).unwrap();
    assert_eq!(weights.owner(), Owner::Shared);
    for _ in 0..2000 {
        let fork = b.fork().unwrap();
        let mut y = fork.zeros::<f32>(1000).unwrap();
        axpy(&fork, 1.0, View::of(&weights), ViewMut::of(&mut y)).unwrap();
    }
    b.synchronize().unwrap();
}
