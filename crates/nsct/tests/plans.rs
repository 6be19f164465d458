//! How a plan uses its device: batches, memory, threads, captures, queues, and what it refuses.

mod random;

use gpu_core::testing::{Fill, FillKind};
use gpu_core::{Backend, Cpu, Footprint, Tensor};
use ndarray::{Array4, Axis};
use nsct::{Coeffs, Engine, Error, NsctBackend, NsctPlan, NsctSpec, Real};
use random::{Case, batch, check, pixels, upload};

fn bits<T: Real>(values: &[T]) -> Vec<u64> {
    values.iter().map(|&v| Real::to_f64(v).to_bits()).collect()
}

/// A batch gives the bits of single calls, in both directions.
fn batch_is_loop<B: NsctBackend<f32>>(b: &B, share: u32) {
    check(share, batch(), |case| {
        for engine in case.engines() {
            let plan = case.plan::<B, f32>(b, engine);
            let coeffs = plan.decompose(&case.image(b)).unwrap();
            let images = plan.reconstruct(&coeffs).unwrap().to_vec(b).unwrap();
            let all = coeffs.tensor().to_vec(b).unwrap();
            let (area, x) = (case.h * case.w, case.pixels());
            for (i, x) in x.chunks(area).enumerate() {
                let one = plan.decompose(&upload(b, [1, 1, case.h, case.w], x)).unwrap();
                let alone = one.tensor().to_vec(b).unwrap();
                assert_eq!(bits(&alone), bits(&all[i * alone.len()..][..alone.len()]), "{engine:?}: plane {i}");
                let back = plan.reconstruct(&one).unwrap().to_vec(b).unwrap();
                assert_eq!(bits(&back), bits(&images[i * area..][..area]), "{engine:?}: image {i}");
            }
        }
    });
}

/// Whatever the workspace or the device's memory allows, the bits are the same.
fn split_is_whole<B: NsctBackend<f32>>(b: &B, share: u32, limited: impl Fn(usize) -> B) {
    check(share, batch(), |case| {
        let items = case.n * case.c;
        for engine in case.engines() {
            let plan = case.plan::<B, f32>(b, engine);
            let whole = plan.decompose(&case.image(b)).unwrap();
            let back = plan.reconstruct(&whole).unwrap().to_vec(b).unwrap();
            let wanted = bits(&whole.tensor().to_vec(b).unwrap());

            let small = case.plan::<B, f32>(b, engine).with_workspace_budget(plan.workspace_bytes(items.div_ceil(2)));
            let coeffs = small.decompose(&case.image(b)).unwrap();
            assert_eq!(bits(&coeffs.tensor().to_vec(b).unwrap()), wanted, "{engine:?} with a small workspace");
            assert_eq!(bits(&small.reconstruct(&coeffs).unwrap().to_vec(b).unwrap()), bits(&back), "{engine:?}");

            // Tables of both directions, and one item.
            let ample = limited(usize::MAX / 2);
            let before = ample.memory().used;
            let tables = case.plan::<B, f32>(&ample, engine);
            tables.reserve(1).unwrap();
            let limit = ample.memory().used - before - tables.workspace_bytes(1) + plan.bytes(1);
            let tight = limited(limit);
            let plan = case.plan::<B, f32>(&tight, engine);
            let x: Vec<f32> = case.pixels().iter().map(|&v| v as f32).collect();
            let x = Array4::from_shape_vec((case.n, case.c, case.h, case.w), x).unwrap();
            let coeffs = plan.decompose_array(x.view()).unwrap();
            assert_eq!(bits(coeffs.as_slice().unwrap()), wanted, "{engine:?} from the host");
            let images = plan.reconstruct_array(coeffs.view()).unwrap();
            assert_eq!(bits(images.as_slice().unwrap()), bits(&back), "{engine:?} from the host");
            assert!(tight.memory().peak <= limit);
        }
    });
}

fn captures_replay_the_same_bits<B: NsctBackend<f32>>(b: &B) {
    for engine in [Engine::Taps, Engine::Ladder, Engine::Spectral, Engine::DenseReference] {
        let spec = NsctSpec::new([0, 2, 3]).with_dir("pkva6".parse().unwrap()).with_engine(engine);
        let (n, c, h, w) = (2, 3, 20, 31);
        let plan = NsctPlan::<B, f32>::new(b, &spec, h, w).unwrap();
        let first = pixels(Fill::of(FillKind::Noise(1)), n * c * h * w);
        let second = pixels(Fill::of(FillKind::Noise(2)), n * c * h * w);
        let x = upload::<_, f32, 4>(b, [n, c, h, w], &first);
        let wanted = plan.decompose(&upload(b, [n, c, h, w], &second)).unwrap();
        let back = plan.reconstruct(&wanted).unwrap();

        let fresh = NsctPlan::<B, f32>::new(b, &spec, h, w).unwrap();
        fresh.reserve(n * c).unwrap();
        let state = (fresh, x, plan.coeffs(n, c).unwrap(), Tensor::<B, f32, 4>::zeros(b, [n, c, h, w]).unwrap());
        let mut graph = b
            .capture(state, |_, (plan, x, coeffs, out)| {
                // The error of a library outlives the capture as that library's.
                let fail = |e: Error| gpu_core::Error::value("plan", e.to_string());
                plan.decompose_into(&*x, coeffs).map_err(fail)?;
                plan.reconstruct_into(coeffs, out).map_err(fail)
            })
            .unwrap_or_else(|e| panic!("{engine:?}: {e}"));
        graph.replay(b).unwrap_or_else(|e| panic!("{engine:?}: {e}"));
        let second: Vec<f32> = second.iter().map(|&v| v as f32).collect();
        b.upload(&second, graph.state_mut().1.flat_mut()).unwrap();
        graph.replay(b).unwrap();
        let (_, _, coeffs, out) = graph.state();
        assert_eq!(bits(&coeffs.tensor().to_vec(b).unwrap()), bits(&wanted.tensor().to_vec(b).unwrap()), "{engine:?}");
        assert_eq!(bits(&out.to_vec(b).unwrap()), bits(&back.to_vec(b).unwrap()), "{engine:?}");
    }
}

fn repeated_calls_allocate_nothing<B: NsctBackend<f32>>(b: &B) {
    for engine in [Engine::Taps, Engine::Spectral] {
        let plan = NsctPlan::<B, f32>::new(b, &NsctSpec::new([2, 3]).with_engine(engine), 40, 24).unwrap();
        let x = upload::<_, f32, 4>(b, [3, 1, 40, 24], &pixels(Fill::of(FillKind::Ramp), 3 * 40 * 24));
        let (mut coeffs, mut back) = (plan.coeffs(3, 1).unwrap(), Tensor::zeros(b, [3, 1, 40, 24]).unwrap());
        let mut after = Vec::new();
        for _ in 0..3 {
            plan.decompose_into(&x, &mut coeffs).unwrap();
            plan.reconstruct_into(&coeffs, &mut back).unwrap();
            plan.adjoint_into(&coeffs, &mut back).unwrap();
            after.push((b.memory().used, b.memory().peak));
        }
        assert_eq!(after[0], after[1], "{engine:?}");
        assert_eq!(after[1], after[2], "{engine:?}");
    }
}

fn wrong_queues_are_refused<B: NsctBackend<f32>>(b: &B) {
    let other = b.fork().unwrap();
    let plan = NsctPlan::<B, f32>::new(b, &NsctSpec::new([1]), 8, 8).unwrap();
    let x = upload::<_, f32, 4>(&other, [1, 1, 8, 8], &[1.0; 64]);
    assert!(matches!(plan.decompose(&x), Err(Error::Gpu(gpu_core::Error::WrongQueue { .. }))));
}

mod on_the_cpu {
    use super::*;

    #[test]
    fn batch_is_loop() {
        super::batch_is_loop(&Cpu::new(), 60);
    }

    #[test]
    fn split_is_whole() {
        super::split_is_whole(&Cpu::new(), 40, Cpu::with_memory_limit);
    }

    #[test]
    fn captures_replay_the_same_bits() {
        super::captures_replay_the_same_bits(&Cpu::new());
    }

    #[test]
    fn repeated_calls_allocate_nothing() {
        super::repeated_calls_allocate_nothing(&Cpu::new());
    }

    #[test]
    fn wrong_queues_are_refused() {
        super::wrong_queues_are_refused(&Cpu::new());
    }

    #[test]
    fn bits_do_not_depend_on_the_number_of_threads() {
        let pools: Vec<_> = [1, 2, 5]
            .iter()
            .map(|&n| rayon::ThreadPoolBuilder::new().num_threads(n).build().expect("a thread pool starts"))
            .collect();
        check(40, batch(), |case| {
            for engine in case.engines() {
                let run = || {
                    let b = Cpu::new();
                    let plan = case.plan::<Cpu, f32>(&b, engine);
                    let coeffs = plan.decompose(&case.image(&b)).unwrap();
                    let back = plan.reconstruct(&coeffs).unwrap();
                    (bits(&coeffs.tensor().to_vec(&b).unwrap()), bits(&back.to_vec(&b).unwrap()))
                };
                let results: Vec<_> = pools.iter().map(|pool| pool.install(run)).collect();
                assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{engine:?}");
            }
        });
    }

    #[test]
    fn memory_stays_within_the_footprint_and_reaches_half_of_it() {
        check(40, batch(), |case| {
            for engine in case.engines() {
                let b = Cpu::new();
                let plan = case.plan::<Cpu, f32>(&b, engine);
                let tables = b.memory().used;
                let coeffs = plan.decompose(&case.image(&b)).unwrap();
                drop(coeffs);
                let used = b.memory().peak.max(tables) - tables;
                let stated = plan.bytes(case.n * case.c);
                assert!(used <= stated && 2 * used >= stated, "{engine:?}: {used} bytes used, {stated} stated");
            }
        });
    }

    #[test]
    fn a_budget_below_one_plane_is_refused_with_the_need() {
        let plan = NsctPlan::<_, f32>::new(&Cpu::new(), &NsctSpec::new([2]).with_engine(Engine::Taps), 16, 16).unwrap();
        let need = plan.workspace_bytes(1);
        let plan = plan.with_workspace_budget(need - 1);
        let x = upload::<_, f32, 4>(plan.backend(), [1, 1, 16, 16], &[0.0; 256]);
        let e = plan.decompose(&x).unwrap_err();
        assert!(matches!(e, Error::Gpu(gpu_core::Error::OutOfMemory { requested, .. }) if requested == need), "{e}");
        assert!(plan.with_workspace_budget(need).decompose(&x).is_ok());
    }

    #[test]
    fn plans_can_be_used_from_several_threads() {
        fn shared<P: Send + Sync>(_: &P) {}
        let b = Cpu::new();
        let plan = NsctPlan::<_, f32>::new(&b, &NsctSpec::new([2]), 16, 16).unwrap();
        shared(&plan);
        let x = upload::<_, f32, 4>(&b, [1, 1, 16, 16], &pixels(Fill::of(FillKind::Ints(3)), 256));
        let wanted = bits(&plan.decompose(&x).unwrap().tensor().to_vec(&b).unwrap());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let coeffs = plan.decompose(&x).unwrap();
                        assert_eq!(bits(&coeffs.tensor().to_vec(&b).unwrap()), wanted);
                    }
                });
            }
        });
    }

    #[test]
    fn empty_batches_and_no_scales_work() {
        let b = Cpu::new();
        for engine in [Engine::Taps, Engine::Spectral, Engine::DenseReference] {
            let plan = NsctPlan::<_, f32>::new(&b, &NsctSpec::new([1]).with_engine(engine), 5, 6).unwrap();
            let none = Tensor::<Cpu, f32, 4>::zeros(&b, [0, 3, 5, 6]).unwrap();
            let coeffs = plan.decompose(&none).unwrap();
            assert_eq!(coeffs.shape(), [0, 3, 3, 5, 6]);
            assert_eq!(plan.reconstruct(&coeffs).unwrap().shape(), [0, 3, 5, 6]);
            let nothing = Array4::<f32>::zeros((0, 1, 5, 6));
            assert!(plan.decompose_array(nothing.view()).unwrap().is_empty());

            let plan = NsctPlan::<_, f32>::new(&b, &NsctSpec::new([]).with_engine(engine), 5, 6).unwrap();
            let x = upload::<_, f32, 4>(&b, [1, 2, 5, 6], &pixels(Fill::of(FillKind::Noise(1)), 60));
            let coeffs = plan.decompose(&x).unwrap();
            assert_eq!(coeffs.tensor().to_vec(&b).unwrap(), x.to_vec(&b).unwrap(), "{engine:?}");
            assert_eq!(plan.reconstruct(&coeffs).unwrap().to_vec(&b).unwrap(), x.to_vec(&b).unwrap());
        }
    }

    #[test]
    fn arrays_need_not_be_contiguous() {
        let b = Cpu::new();
        let plan = NsctPlan::<_, f64>::new(&b, &NsctSpec::new([1]), 6, 4).unwrap();
        let values = pixels(Fill::of(FillKind::Noise(5)), 48);
        let wide = Array4::from_shape_vec((1, 2, 4, 6), values).unwrap();
        let turned = wide.view().permuted_axes([0, 1, 3, 2]);
        let direct = plan.decompose_array(turned).unwrap();
        let packed = turned.as_standard_layout().into_owned();
        assert_eq!(direct, plan.decompose_array(packed.view()).unwrap());
        let back = plan.reconstruct_array(direct.view()).unwrap();
        assert!(back.iter().zip(&packed).all(|(a, b)| (a - b).abs() < 1e-10));
        assert_eq!(back.len_of(Axis(1)), 2);
    }

    #[test]
    fn what_does_not_fit_together_is_named() {
        let b = Cpu::new();
        let plan = NsctPlan::<_, f32>::new(&b, &NsctSpec::new([1, 2]), 8, 9).unwrap();
        let wrong = Tensor::<Cpu, f32, 4>::zeros(&b, [1, 1, 9, 8]).unwrap();
        let e = plan.decompose(&wrong).unwrap_err().to_string();
        assert_eq!(e, "image has shape [1, 1, 9, 8], expected [1, 1, 8, 9]");
        let right = Tensor::<Cpu, f32, 4>::zeros(&b, [2, 1, 8, 9]).unwrap();
        let mut coeffs = plan.coeffs(1, 1).unwrap();
        let e = plan.decompose_into(&right, &mut coeffs).unwrap_err().to_string();
        assert_eq!(e, "coefficients has shape [1, 1, 7, 8, 9], expected [2, 1, 7, 8, 9]");
        // As many planes, with another meaning.
        let other = NsctPlan::<_, f32>::new(&b, &NsctSpec::new([2, 1]), 8, 9).unwrap();
        let e = other.reconstruct(&plan.decompose(&right).unwrap()).unwrap_err().to_string();
        assert!(e.contains("other levels than [2, 1]"), "{e}");
        let planes = Tensor::<Cpu, f32, 5>::zeros(&b, [1, 1, 6, 8, 9]).unwrap();
        assert!(Coeffs::from_tensor(planes, plan.planes()).is_err());
        assert!(matches!(NsctPlan::<_, f32>::new(&b, &NsctSpec::new([1]), 0, 4), Err(Error::EmptyImage { .. })));
        assert!(matches!(NsctPlan::<_, f32>::new(&b, &NsctSpec::new([9]), 4, 4), Err(Error::LevelTooDeep { .. })));
        let ladder = NsctSpec::new([1]).with_engine(Engine::Ladder);
        assert!(matches!(NsctPlan::<_, f32>::new(&b, &ladder, 4, 4), Err(Error::Engine { .. })));
    }

    #[test]
    fn auto_chooses_an_engine_that_can_compute_the_filters() {
        let b = Cpu::new();
        for name in ["dmaxflat1", "dmaxflat7", "dmaxflat40", "pkva", "pkva6", "cd", "vk", "dmaxflat6-toolbox"] {
            let spec = NsctSpec::new([2, 4]).with_dir(name.parse().unwrap());
            let plan = NsctPlan::<_, f32>::new(&b, &spec, 33, 47).unwrap();
            let fixed = plan.spec().clone().with_engine(plan.engine());
            assert_ne!(plan.engine(), Engine::Auto);
            let x = upload::<_, f32, 4>(&b, [1, 1, 33, 47], &pixels(Fill::of(FillKind::Noise(9)), 33 * 47));
            let again = NsctPlan::<_, f32>::new(&b, &fixed, 33, 47).unwrap().decompose(&x).unwrap();
            let coeffs = plan.decompose(&x).unwrap();
            assert_eq!(coeffs.tensor().to_vec(&b).unwrap(), again.tensor().to_vec(&b).unwrap(), "{name}");
        }
    }

    #[test]
    fn not_finite_pixels_stay_visible() {
        let b = Cpu::new();
        for engine in [Engine::Taps, Engine::Spectral, Engine::DenseReference] {
            let spec = NsctSpec::new([1, 2]).with_dir("dmaxflat2".parse().unwrap()).with_engine(engine);
            let plan = NsctPlan::<_, f32>::new(&b, &spec, 16, 16).unwrap();
            let mut pixels = vec![1.0; 256];
            pixels[100] = f64::NAN;
            let coeffs = plan.decompose(&upload(&b, [1, 1, 16, 16], &pixels)).unwrap();
            let all = coeffs.tensor().to_vec(&b).unwrap();
            assert!(all.chunks(256).all(|plane| plane[100].is_nan()), "{engine:?}");
        }
    }

    #[test]
    fn planes_are_found_by_scale_and_direction() {
        let b = Cpu::new();
        let case = Case { spec: NsctSpec::new([1, 2]), n: 2, c: 2, h: 7, w: 5, fill: Fill::of(FillKind::Noise(4)) };
        let plan = case.plan::<Cpu, f32>(&b, Engine::Auto);
        let mut coeffs = plan.decompose(&case.image(&b)).unwrap();
        assert_eq!((coeffs.index(0, 1), coeffs.index(1, 2), coeffs.index(2, 4)), (Some(0), Some(2), Some(6)));
        assert_eq!((coeffs.index(3, 1), coeffs.index(2, 5)), (None, None));
        let all = coeffs.tensor().to_vec(&b).unwrap();
        let mut plane = vec![0.0; 35];
        let view = coeffs.plane(1, 0, 6).unwrap();
        assert_eq!(view.shape(), [7, 5]);
        b.download(view.flat(), &mut plane).unwrap();
        assert_eq!(plane, all[(2 * 7 + 6) * 35..][..35]);
        b.upload(&[0.0; 35], coeffs.plane_mut(1, 1, 0).unwrap().flat()).unwrap();
        assert_eq!(coeffs.tensor().to_vec(&b).unwrap()[3 * 7 * 35..][..35], [0.0; 35]);
        assert!(coeffs.plane(2, 0, 0).is_err() && coeffs.plane(0, 2, 0).is_err() && coeffs.plane(0, 0, 7).is_err());
    }
}

#[cfg(feature = "cuda")]
mod on_cuda {
    fn open() -> gpu_core::Cuda {
        gpu_core::testing::cuda()
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn batch_is_loop() {
        super::batch_is_loop(&open(), 60);
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn captures_replay_the_same_bits() {
        super::captures_replay_the_same_bits(&open());
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn repeated_calls_allocate_nothing() {
        super::repeated_calls_allocate_nothing(&open());
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn wrong_queues_are_refused() {
        super::wrong_queues_are_refused(&open());
    }
}
