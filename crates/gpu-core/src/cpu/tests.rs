use super::*;
use crate::{Buffer, Tensor};

#[test]
fn a_buffer_of_another_queue_is_refused_until_adopted_or_shared() {
    let a = Cpu::new();
    let b = a.fork().unwrap();
    let x = Tensor::from_slice(&a, [3], &[1.0f32, 2.0, 3.0]).unwrap();
    assert!(matches!(x.to_vec(&b), Err(Error::WrongQueue { .. })));
    let x = x.adopt(&b).unwrap();
    assert_eq!(x.to_vec(&b).unwrap(), [1.0, 2.0, 3.0]);
    assert!(matches!(x.to_vec(&a), Err(Error::WrongQueue { .. })));
    let mut x = x.share(&b).unwrap();
    assert_eq!(x.to_vec(&a).unwrap(), x.to_vec(&b).unwrap());
    assert!(matches!(b.upload(&[0.0; 3], x.flat_mut()), Err(Error::Value { .. })));
    assert!(x.adopt(&a).is_err());
}

#[test]
fn buffers_do_not_cross_devices() {
    let (a, b) = (Cpu::new(), Cpu::new());
    let x = a.zeros::<u8>(4).unwrap();
    assert!(b.adopt(x).is_err());
    assert!(a.join(&b).is_err());
}

#[test]
fn the_memory_limit_holds_and_memory_comes_back() {
    let cpu = Cpu::with_memory_limit(100);
    let x = cpu.zeros::<f32>(20).unwrap();
    let error = cpu.zeros::<f32>(6).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { requested: 24, used: 80, limit: 100 }), "{error}");
    drop(x);
    assert_eq!(cpu.memory().used, 0);
    assert_eq!(cpu.memory().peak, 80);
    assert!(cpu.zeros::<f64>(usize::MAX / 4).is_err());
}

#[test]
fn scratch_is_poisoned() {
    let cpu = Cpu::new();
    let x: Tensor<Cpu, u8, 1> = Tensor::scratch(&cpu, [4]).unwrap();
    assert_eq!(x.to_vec(&cpu).unwrap(), [0xA5; 4]);
}

/// The same list as for CUDA (tests/cuda.rs).
#[test]
fn what_cannot_be_captured_is_refused() {
    type Body = fn(&Cpu, &mut Tensor<Cpu, f32, 1>) -> Result<()>;
    let bodies: [(&str, Body); 11] = [
        ("allocation", |b, _| b.zeros::<u8>(1).map(drop)),
        ("scratch", |b, _| b.scratch::<u8>(1).map(drop)),
        ("pinned", |b, _| b.pinned::<u8>(1).map(drop)),
        ("upload", |b, x| b.upload(&[0.0; 4], x.flat_mut())),
        ("download", |b, x| x.to_vec(b).map(drop)),
        ("synchronize", |b, _| b.synchronize()),
        ("fork", |b, _| b.fork().map(drop)),
        ("join", |b, _| b.join(&b.clone())),
        ("record", |b, _| b.record().map(drop)),
        ("time", |b, _| b.time(|_| Ok(())).map(drop)),
        ("capture", |b, _| b.capture((), |_, ()| Ok(())).map(drop)),
    ];
    let cpu = Cpu::new();
    for (what, body) in bodies {
        let mut captured = cpu.capture(Tensor::zeros(&cpu, [4]).unwrap(), body).unwrap();
        let refused = captured.replay(&cpu);
        assert!(matches!(refused, Err(Error::InCapture { .. })), "{what}: {refused:?}");
        assert!(cpu.zeros::<u8>(1).is_ok(), "the queue is usable again");
    }
    let event = cpu.record().unwrap();
    let mut waited = cpu.capture((), move |_, ()| event.wait()).unwrap();
    assert!(matches!(waited.replay(&cpu), Err(Error::InCapture { .. })));
    let other = cpu.fork().unwrap();
    assert!(matches!(waited.replay(&other), Err(Error::WrongQueue { .. })));
}

#[test]
fn a_panic_in_a_recorded_body_leaves_the_queue_usable() {
    let cpu = Cpu::new();
    let mut captured = cpu.capture((), |_, ()| panic!("planted")).unwrap();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| captured.replay(&cpu)));
    assert!(caught.is_err());
    assert!(cpu.zeros::<u8>(1).is_ok() && cpu.record().unwrap().wait().is_ok());
}

#[test]
fn memory_that_cannot_exist_is_an_error() {
    let cpu = Cpu::new();
    assert!(matches!(cpu.pinned::<f32>(usize::MAX), Err(Error::OutOfMemory { .. })));
    assert!(matches!(cpu.pinned::<u8>(isize::MAX as usize), Err(Error::OutOfMemory { .. })));
}

#[test]
fn replay_runs_the_body_each_time() {
    let cpu = Cpu::new();
    let mut captured = cpu
        .capture(0u32, |_, n| {
            *n += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(*captured.state(), 0);
    captured.replay(&cpu).unwrap();
    captured.replay(&cpu).unwrap();
    assert_eq!(*captured.state(), 2);
}

#[test]
fn pinned_copies_go_there_and_back() {
    let cpu = Cpu::new();
    let mut host = cpu.pinned::<f32>(3).unwrap();
    host.copy_from_slice(&[1.0, 2.0, 3.0]);
    let mut x = cpu.zeros::<f32>(3).unwrap();
    let host = cpu.upload_pinned(host, ViewMut::of(&mut x)).unwrap().finish().unwrap();
    assert_eq!(&host[..], &[1.0, 2.0, 3.0]);
    let back = cpu.download_pinned(View::of(&x), cpu.pinned(3).unwrap()).unwrap().finish().unwrap();
    assert_eq!(&back[..], &[1.0, 2.0, 3.0]);
    assert_eq!(x.len(), 3);
}

#[test]
fn slabs_reshapes_and_arrays() {
    let cpu = Cpu::new();
    let array = ndarray::Array::from_shape_fn((2, 3, 4), |(i, j, k)| (100 * i + 10 * j + k) as f32);
    let x = Tensor::from_array(&cpu, array.view().permuted_axes([2, 1, 0])).unwrap();
    assert_eq!(x.shape(), [4, 3, 2]);
    assert_eq!(x.to_array(&cpu).unwrap(), array.view().permuted_axes([2, 1, 0]));
    assert_eq!(cpu.read(x.slab(1..3).unwrap().flat()).unwrap()[1], 101.0);
    assert!(x.slab(3..5).is_err());
    let y = x.reshape([6, 4]).unwrap();
    assert_eq!(y.shape(), [6, 4]);
    assert!(y.reshape([5, 5]).is_err());
}
