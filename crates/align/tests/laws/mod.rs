//! What holds for every scene, shift, pattern and exposure, on every backend.

use align::testing::{BLACK, Scenery, Shot, WHITE, xtrans};
use align::{
    AlignBackend, BlackLevel, Cfa, Meta, Options, PairResult, Planes, RawFrame, State, align_scene, all_pairs,
};
use gpu_core::Cpu;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

/// One scene and what is done with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    seed: u64,
    is_xtrans: bool,
    /// Shifts in half pixels.
    shifts: [[i32; 2]; 2],
    exposure: f64,
    lift: u16,
    /// What red and blue are multiplied with.
    balance: [f64; 2],
}

impl Case {
    fn cfa(&self) -> Cfa {
        if self.is_xtrans { xtrans() } else { Cfa::RGGB }
    }

    fn shift(&self, i: usize) -> [f64; 2] {
        self.shifts[i].map(|half| f64::from(half) / 2.0)
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let half = -24..=24i32;
    let shift = || [half.clone(), half.clone()];
    (any::<u64>(), any::<bool>(), [shift(), shift()], 0.125..8.0f64, 1..2000u16, [0.4..1.6f64, 0.4..1.6f64]).prop_map(
        |(seed, is_xtrans, shifts, exposure, lift, balance)| Case { seed, is_xtrans, shifts, exposure, lift, balance },
    )
}

fn one<B: AlignBackend>(b: &B, gt: &RawFrame, noisy: &RawFrame) -> Result<PairResult, TestCaseError> {
    let frames = [gt.clone(), noisy.clone()];
    let results = align_scene(b, &frames, &[(0, 1)], &Options::default());
    Ok(results.map_err(|e| TestCaseError::fail(e.to_string()))?.remove(0))
}

fn near(a: [f64; 2], b: [f64; 2], allowed: f64, what: &str) -> Result<(), TestCaseError> {
    prop_assert!((0..2).all(|k| (a[k] - b[k]).abs() <= allowed), "{what}: {a:?} is not {b:?} within {allowed}");
    Ok(())
}

/// The laws for one case, with pictures of this size.
fn hold<B: AlignBackend>(b: &B, case: &Case, [height, width]: [usize; 2]) -> Result<(), TestCaseError> {
    let cfa = case.cfa();
    let scenery = Scenery::new(case.seed, height, width);
    let shoot = |shift: [f64; 2], iso: f64, exposure: f64, seed: u64| {
        scenery.shoot(&Shot { shift, iso, exposure, seed, cfa, ..Shot::default() })
    };
    let [s, t] = [case.shift(0), case.shift(1)];

    // Shifts are found, turn round, and add up.
    let frames = [shoot([0.0; 2], 100.0, 1.0, 1), shoot(s, 400.0, 1.0, 2), shoot(t, 400.0, 1.0, 3)];
    let o = Options::default();
    let failed = |e: align::Error| TestCaseError::fail(e.to_string());
    let all = align_scene(b, &frames, &all_pairs(3, 3), &o).map_err(failed)?;
    let d = |a: usize, c: usize| all[3 * a + c].shift;
    prop_assert_eq!(all[1].state, State::Confident);
    near(d(0, 1), s, 0.3, "the shift")?;
    for (a, c) in [(0, 1), (0, 2), (1, 2)] {
        near(d(a, c), d(c, a).map(|v| -v), 2e-3, "the other way round")?;
        prop_assert_eq!(d(a, a), [0.0, 0.0]);
    }
    near([0, 1].map(|k| d(0, 1)[k] + d(1, 2)[k]), d(0, 2), 0.3, "a sum")?;
    near(one(b, &frames[1], &frames[1])?.shift, [0.0; 2], 1e-4, "a picture with itself")?;

    // The other backend says the same, and so do batches of two pictures.
    let wanted = align_scene(&Cpu::new(), &frames, &all_pairs(3, 3), &o).map_err(failed)?;
    for (got, wanted) in all.iter().zip(&wanted) {
        near(got.shift, wanted.shift, 2e-3, "the CPU's shift")?;
        prop_assert_eq!((got.state, got.rounded), (wanted.state, wanted.rounded));
    }
    for planes in [Planes::Luma, Planes::Channels] {
        let o = Options { planes, ..o };
        let mut g = align::estimate::Geometry::new(&frames[0].cfa, frames[0].size(), &o).map_err(failed)?;
        g.held = align::kernels::FourierPlan::held_bytes(b, g.fft[0], g.fft[1]);
        let memory = Some(g.prepare_bytes() + 2 * g.picture_bytes() + g.pair_bytes());
        let whole = align_scene(b, &frames, &all_pairs(2, 3), &o).map_err(failed)?;
        let split = align_scene(b, &frames, &all_pairs(2, 3), &Options { memory, ..o }).map_err(failed)?;
        prop_assert_eq!(whole, split);
    }

    // Neither exposure, nor the level of black, nor the balance of white matters. Without noise, and without clipping:
    // the scene has light of 0.01 to 0.95.
    let (dark, light) = if case.exposure < 1.0 { (case.exposure, 1.0) } else { (1.0 / case.exposure, 1.0) };
    let clean = shoot([0.0; 2], 0.0, 1.0, 1);
    let [brighter, darker] = [light, dark].map(|exposure| shoot(s, 0.0, exposure, 1));
    let base = one(b, &clean, &brighter)?.shift;
    near(one(b, &clean, &darker)?.shift, base, 0.02, "another exposure")?;
    let p = cfa.period();
    let lifted = RawFrame {
        mosaic: brighter.mosaic.mapv(|v| v + case.lift),
        black: BlackLevel::uniform(p, f32::from(BLACK + case.lift)),
        white: WHITE + case.lift,
        ..brighter.clone()
    };
    near(one(b, &clean, &lifted)?.shift, base, 1e-4, "another level of black")?;
    // A gray scene, seen through filters that let through more or less of it.
    let gray = |shift: [f64; 2], balance: [f64; 2]| {
        let mut mosaic = scenery.mosaic(&Shot { shift, iso: 0.0, exposure: 0.6, cfa: Cfa::Gray, ..Shot::default() });
        for ((y, x), v) in mosaic.indexed_iter_mut() {
            let factor = [balance[0], 1.0, balance[1]][cfa.colour(y, x).index()];
            *v = (f64::from(BLACK) + factor * f64::from(v.saturating_sub(BLACK))).round() as u16;
        }
        let black = BlackLevel::uniform(p, BLACK.into());
        RawFrame::cropped(&mosaic, None, cfa, &black, WHITE, Meta::default()).map_err(failed)
    };
    // By whole periods: between them, a colour that counts for less moves the centre of a block.
    let whole = s.map(|d| (d / p as f64).round() * p as f64);
    let shift =
        |balance: [f64; 2]| Ok::<_, TestCaseError>(one(b, &gray([0.0; 2], balance)?, &gray(whole, balance)?)?.shift);
    let base = shift([1.0; 2])?;
    near(base, whole, 0.1, "the shift of a gray scene")?;
    near(shift(case.balance)?, base, 0.02, "another balance of white")
}

/// Checks so many cases, always the same ones.
pub(crate) fn check<B: AlignBackend>(b: &B, cases_of_it: u32, size: [usize; 2]) {
    let config = Config { cases: cases_of_it, failure_persistence: None, max_shrink_iters: 8, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let ran = TestRunner::new_with_rng(config, rng).run(&cases(), |case| hold(b, &case, size));
    if let Err(e) = ran {
        panic!("{e}");
    }
}
