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

#[test]
fn nothing_is_allocated_or_downloaded_in_a_capture() {
    let cpu = Cpu::new();
    let inner = cpu.clone();
    let mut captured = cpu.capture((), move |_, ()| inner.zeros::<u8>(1).map(drop)).unwrap();
    assert!(matches!(captured.replay(&cpu), Err(Error::InCapture { .. })));
    assert!(cpu.zeros::<u8>(1).is_ok(), "the queue is usable again");
    let other = cpu.fork().unwrap();
    assert!(matches!(captured.replay(&other), Err(Error::WrongQueue { .. })));
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
