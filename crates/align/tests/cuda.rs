//! Scenes on a CUDA device as on the CPU.
#![cfg(feature = "cuda")]

mod laws;

mod on_cuda {
    use align::estimate::Geometry;
    use align::kernels::FourierPlan;
    use align::mask::{compare, develop};
    use align::testing::{Scenery, Shot, xtrans};
    use align::{AlignBackend, Cfa, Combine, Options, PairResult, Planes, RawFrame, State, align_scene, all_pairs};
    use gpu_core::{Backend, Cpu, testing};

    /// Two ground truths and a noisy picture, all shifted.
    fn scene(cfa: Cfa, seed: u64) -> Vec<RawFrame> {
        let scenery = Scenery::new(seed, 144, 156);
        let shots = [([0.0, 0.0], 100.0), ([2.0, -3.0], 100.0), ([-4.0, 6.5], 1600.0)];
        let shot = |i: usize| {
            let (shift, iso) = shots[i];
            scenery.shoot(&Shot { shift, iso, cfa, seed: i as u64, ..Shot::default() })
        };
        (0..shots.len()).map(shot).collect()
    }

    fn same_shifts(got: &[PairResult], wanted: &[PairResult], what: &str) {
        assert_eq!(got.len(), wanted.len());
        for (a, b) in got.iter().zip(wanted) {
            let near = (0..2).all(|k| (a.shift[k] - b.shift[k]).abs() < 2e-3);
            assert!(near && a.state == b.state && a.rounded == b.rounded, "{what}: {a:?} is not {b:?}");
            let near = |a: f32, b: f32, allowed: f32| (a - b).abs() <= allowed * b.abs();
            // Differences are exact once the rounded shifts are; psr and ratio follow the transforms' roundings.
            assert!(near(a.psr, b.psr, 1e-3) && near(a.ratio, b.ratio, 1e-3), "{what}: {a:?} is not {b:?}");
            assert!((0..2).all(|k| near(a.mad[k], b.mad[k], 1e-5)), "{what}: {a:?} is not {b:?}");
        }
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn a_pair_is_aligned_as_on_the_cpu() {
        let cuda = testing::cuda();
        for (cfa, seed) in [(Cfa::RGGB, 3), (xtrans(), 4)] {
            let frames = scene(cfa, seed);
            let o = Options::default();
            let wanted = align_scene(&Cpu::new(), &frames, &[(0, 2)], &o).unwrap();
            assert_eq!((wanted[0].state, wanted[0].rounded[0]), (State::Confident, -4));
            same_shifts(&align_scene(&cuda, &frames, &[(0, 2)], &o).unwrap(), &wanted, "luma");
        }
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn laws_hold() {
        let cuda = testing::cuda();
        // A simulated device takes its time.
        let (cases, size) = if testing::is_simulated(&cuda) { (4, [144, 156]) } else { (20, [276, 288]) };
        crate::laws::check(&cuda, cases, size);
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn channels_are_aligned_as_on_the_cpu() {
        let cuda = testing::cuda();
        for (cfa, combine) in [(Cfa::RGGB, Combine::Median), (xtrans(), Combine::Sum)] {
            let frames = scene(cfa, 5);
            let o = Options { planes: Planes::Channels, combine, ..Options::default() };
            let wanted = align_scene(&Cpu::new(), &frames, &[(0, 1)], &o).unwrap();
            same_shifts(&align_scene(&cuda, &frames, &[(0, 1)], &o).unwrap(), &wanted, "channels");
        }
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn memory_changes_no_bit() {
        let cuda = testing::cuda();
        let frames = scene(Cfa::RGGB, 6);
        let pairs = all_pairs(2, 3);
        let o = Options::default();
        let wanted = align_scene(&cuda, &frames, &pairs, &o).unwrap();
        let mut g = Geometry::new(&frames[0].cfa, frames[0].size(), &o).unwrap();
        g.held = FourierPlan::held_bytes(&cuda, g.fft[0], g.fft[1]);
        let memory = g.prepare_bytes() + 2 * g.picture_bytes() + g.pair_bytes();
        assert_eq!(g.plan(3, 5, memory).unwrap().slots, 2);
        let small = Options { memory: Some(memory), ..o };
        assert_eq!(align_scene(&cuda, &frames, &pairs, &small).unwrap(), wanted);
        let less = Options { memory: Some(memory / 2), ..o };
        assert!(align_scene(&cuda, &frames, &pairs, &less).unwrap_err().to_string().contains("memory"));
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn memory_is_as_planned() {
        let frames = scene(Cfa::RGGB, 9);
        let pairs = all_pairs(2, 3);
        for planes in [Planes::Luma, Planes::Channels] {
            let o = Options { planes, ..Options::default() };
            let cuda = testing::cuda().with_memory_limit(1 << 30).unwrap();
            align_scene(&cuda, &frames, &pairs, &o).unwrap();
            let mut g = Geometry::new(&frames[0].cfa, frames[0].size(), &o).unwrap();
            g.held = FourierPlan::held_bytes(&cuda, g.fft[0], g.fft[1]);
            let (planned, peak) = (g.plan(3, 4, 1 << 30).unwrap().bytes, cuda.memory().peak);
            assert!((planned / 2..=planned).contains(&peak), "{peak} bytes at the peak, {planned} planned");
        }
    }

    fn mask<B: AlignBackend>(b: &B, frames: &[RawFrame]) -> align::mask::Comparison {
        let [a, c] = [0, 2].map(|i| develop(b, &frames[i]).unwrap());
        compare(b, (&a, &frames[0]), (&c, &frames[2]), [-4, 6]).unwrap()
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn masks_are_those_of_the_cpu() {
        let cuda = testing::cuda();
        for (cfa, seed) in [(Cfa::RGGB, 7), (xtrans(), 8)] {
            let frames = scene(cfa, seed);
            let (got, wanted) = (mask(&cuda, &frames), mask(&Cpu::new(), &frames));
            assert!((got.loss - wanted.loss).abs() <= 1e-12 * wanted.loss && wanted.loss > 0.0);
            assert!((got.threshold - wanted.threshold).abs() <= 1e-5 * wanted.threshold);
            // A pixel at the threshold may fall on the other side of it, and takes a cross with it.
            let other = got.mask.iter().zip(&wanted.mask).filter(|(a, b)| a != b).count();
            assert!(other <= 10 && got.mask.dim() == wanted.mask.dim(), "{other} pixels differ");
        }
    }
}
