//! What must hold for every picture.

mod laws;

use std::borrow::Cow;
use std::cell::Cell;

use align::estimate::Geometry;
use align::testing::{Random, Scenery, Shot, xtrans};
use align::{
    BlackLevel, Cfa, Combine, Error, MaxShift, Meta, Options, PairResult, Planes, RawFrame, SceneWork, State,
    align_scene, all_pairs, mask,
};
use gpu_core::{Backend, Cpu};
use ndarray::Array2;

fn pair(gt: &RawFrame, noisy: &RawFrame, o: &Options) -> PairResult {
    align_scene(&Cpu::new(), &[gt.clone(), noisy.clone()], &[(0, 1)], o).unwrap().remove(0)
}

fn near(a: [f64; 2], b: [f64; 2], allowed: f64, what: &str) {
    assert!((0..2).all(|k| (a[k] - b[k]).abs() <= allowed), "{what}: {a:?} is not {b:?} within {allowed}");
}

fn both() -> [(Scenery, Cfa); 2] {
    [(Scenery::new(3, 360, 420), Cfa::RGGB), (Scenery::new(4, 372, 432), xtrans())]
}

fn quiet(shift: [f64; 2], cfa: Cfa, seed: u64) -> Shot {
    Shot { shift, cfa, seed, iso: 100.0, ..Shot::default() }
}

#[test]
fn laws_hold_on_the_cpu() {
    laws::check(&Cpu::new(), 10, [276, 288]);
}

#[test]
fn shifts_of_any_kind_are_found() {
    let o = Options::default();
    for (scenery, cfa) in both() {
        let gt = scenery.shoot(&quiet([0.0, 0.0], cfa, 1));
        for (i, shift) in
            [[1.0, 0.0], [-6.0, 12.0], [7.0, -13.0], [2.5, -3.5], [60.0, 75.0], [0.0, 0.0]].iter().enumerate()
        {
            let r = pair(&gt, &scenery.shoot(&Shot { iso: 1600.0, ..quiet(*shift, cfa, 10 + i as u64) }), &o);
            assert_eq!(r.state, State::Confident, "{shift:?}: {r:?}");
            near(r.shift, *shift, 0.25, "shift");
            assert!(r.mad[1] <= r.mad[0] + 1e-6, "{r:?}");
        }
    }
}

#[test]
fn channels_agree_with_luma() {
    for (scenery, cfa) in both() {
        let gt = scenery.shoot(&quiet([0.0, 0.0], cfa, 1));
        let noisy = scenery.shoot(&Shot { iso: 3200.0, ..quiet([5.0, -9.0], cfa, 2) });
        for combine in [Combine::Sum, Combine::Median, Combine::Mean] {
            let o = Options { planes: Planes::Channels, combine, ..Options::default() };
            let r = pair(&gt, &noisy, &o);
            near(r.shift, [5.0, -9.0], 0.5, "channels");
            assert_eq!(r.per_channel.is_some(), combine != Combine::Sum);
            let planes = if cfa.period() == 2 { 4 } else { 3 };
            assert!(r.per_channel.is_none_or(|each| each.len() == planes));
        }
    }
}

#[test]
fn pairs_are_antisymmetric_and_add_up() {
    let o = Options::default();
    for (scenery, cfa) in both() {
        let shots = [[0.0, 0.0], [4.0, -7.5], [-11.0, 3.0]];
        let frames: Vec<_> = shots
            .iter()
            .enumerate()
            .map(|(i, s)| scenery.shoot(&Shot { iso: 800.0, ..quiet(*s, cfa, i as u64) }))
            .collect();
        let all = align_scene(&Cpu::new(), &frames, &all_pairs(3, 3), &o).unwrap();
        let d = |a: usize, b: usize| all[3 * a + b].shift;
        for (a, b) in [(0, 1), (0, 2), (1, 2)] {
            near(d(a, b), d(b, a).map(|v| -v), 2e-3, "antisymmetric");
            assert_eq!(d(a, a), [0.0, 0.0]);
        }
        near([d(0, 1)[0] + d(1, 2)[0], d(0, 1)[1] + d(1, 2)[1]], d(0, 2), 0.15, "sum");
        // The same pixels in another frame are work, unlike a picture with itself.
        let copies = [frames[0].clone(), frames[0].clone()];
        let same = align_scene(&Cpu::new(), &copies, &[(0, 1)], &o).unwrap();
        near(same[0].shift, [0.0, 0.0], 1e-4, "itself");
        assert_eq!(same[0].state, State::Confident);
    }
}

#[test]
fn exposure_and_black_level_do_not_matter() {
    let o = Options::default();
    for (scenery, cfa) in both() {
        let clean = |shift, exposure| scenery.shoot(&Shot { iso: 0.0, exposure, ..quiet(shift, cfa, 1) });
        let gt = clean([0.0, 0.0], 0.9);
        let base = pair(&gt, &clean([3.0, -8.0], 0.9), &o).shift;
        for exposure in [0.125, 0.25, 0.5] {
            near(pair(&gt, &clean([3.0, -8.0], exposure), &o).shift, base, 0.02, "exposure");
        }
        let noisy = clean([3.0, -8.0], 0.5);
        let p = cfa.period();
        let lifted = RawFrame {
            mosaic: noisy.mosaic.mapv(|v| v + 300),
            black: BlackLevel::uniform(p, noisy.black.at(0, 0) + 300.0),
            white: noisy.white + 300,
            ..noisy.clone()
        };
        assert_eq!(pair(&gt, &lifted, &o).shift, pair(&gt, &noisy, &o).shift);
    }
}

#[test]
fn a_periodic_picture_that_is_rolled_is_found_to_the_bit_of_a_pixel() {
    let mut random = Random::new(8);
    let (h, w) = (240, 320);
    // Smooth enough to have a spectrum of its own, random enough to have one peak; and each pixel has others of its colour
    // and value beside it, so that despiking, which does not see around the ends, changes nothing.
    let noise: Vec<f64> = (0..h * w).map(|_| random.uniform()).collect();
    let at = |y: usize, x: usize| {
        let mut sum = 0.0;
        for i in 0..25 {
            sum += noise[(y / 4 + i / 5) % (h / 4) * w + (x / 4 + i % 5) % (w / 4)];
        }
        (2000.0 + 400.0 * sum) as u16
    };
    let black = BlackLevel::uniform(2, 512.0);
    let frame = |dy: usize, dx: usize| {
        let mosaic = Array2::from_shape_fn((h, w), |(y, x)| at((y + dy) % h, (x + dx) % w));
        RawFrame::cropped(&mosaic, None, Cfa::RGGB, &black, 16383, Meta::default()).unwrap()
    };
    let o = Options { alpha: 0.0, ..Options::default() };
    for (dy, dx) in [(0, 4), (16, 24), (4, 40)] {
        let r = pair(&frame(0, 0), &frame(dy, dx), &o);
        near(r.shift, [dy as f64, dx as f64], 1e-3, "roll");
    }
}

#[test]
fn memory_threads_and_batches_change_no_bit() {
    for (scenery, cfa) in both() {
        let shots: Vec<_> = (0..6_u8).map(|i| [f64::from(i) * 3.0, f64::from(i) * -5.0]).collect();
        let frames: Vec<_> = shots
            .iter()
            .enumerate()
            .map(|(i, s)| scenery.shoot(&Shot { iso: 1600.0, ..quiet(*s, cfa, i as u64) }))
            .collect();
        let pairs = all_pairs(3, 6);
        for planes in [Planes::Luma, Planes::Channels] {
            let o = Options { planes, combine: Combine::Median, ..Options::default() };
            let wanted = align_scene(&Cpu::new(), &frames, &pairs, &o).unwrap();
            let g = Geometry::new(&cfa, frames[0].size(), &o).unwrap();
            for slots in [2, 3, 4, 6] {
                let memory = g.prepare_bytes() + slots * g.picture_bytes() + g.pair_bytes();
                let o = Options { memory: Some(memory), ..o };
                assert_eq!(g.plan(6, 15, memory).unwrap().slots, slots);
                assert!(align_scene(&Cpu::new(), &frames, &pairs, &o).unwrap() == wanted, "{slots} slots");
            }
            let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
            assert!(one.install(|| align_scene(&Cpu::new(), &frames, &pairs, &o).unwrap()) == wanted, "one thread");
        }
    }
}

#[test]
fn the_plan_is_what_is_used() {
    for (scenery, cfa) in both() {
        let frames: Vec<_> = (0..4_u8).map(|i| scenery.shoot(&quiet([f64::from(i), 0.0], cfa, u64::from(i)))).collect();
        for planes in [Planes::Luma, Planes::Channels] {
            for slots in [2, 4] {
                let o = Options { planes, ..Options::default() };
                let g = Geometry::new(&cfa, frames[0].size(), &o).unwrap();
                let memory = g.prepare_bytes() + slots * g.picture_bytes() + g.pair_bytes();
                let cpu = Cpu::with_memory_limit(memory);
                align_scene(&cpu, &frames, &all_pairs(1, 4), &o).unwrap();
                let peak = cpu.memory().peak;
                assert!(peak <= memory && 2 * peak >= memory, "{planes:?} {slots}: {peak} of {memory}");
            }
            let o = Options { planes, ..Options::default() };
            let e = align_scene(&Cpu::with_memory_limit(1 << 18), &frames, &all_pairs(1, 4), &o).unwrap_err();
            assert!(matches!(e, Error::Gpu(gpu_core::Error::OutOfMemory { .. })), "{e}");
        }
    }
}

#[test]
fn masks_stay_inside_their_memory() {
    for (scenery, cfa) in both() {
        let frames: Vec<_> = (0..3_u8).map(|i| scenery.shoot(&quiet([f64::from(i), 4.0], cfa, u64::from(i)))).collect();
        let size = frames[0].size();
        let pairs = [(0, 1), (0, 2), (1, 0), (1, 2)];
        let mut wanted = Vec::new();
        for slots in [3, 2] {
            let memory = slots * mask::picture_bytes(size) + mask::pair_bytes(size);
            let cpu = Cpu::with_memory_limit(memory);
            let mut comparer = mask::Comparer::new(&cpu, &frames, 3, None).unwrap();
            assert_eq!(comparer.slots(), slots);
            let masks: Vec<_> =
                pairs.iter().map(|&(a, b)| comparer.compare(a, b, [b as i32 - a as i32, 0]).unwrap().mask).collect();
            let peak = cpu.memory().peak;
            assert!(peak <= memory && 2 * peak >= memory, "{peak} of {memory}");
            if wanted.is_empty() {
                wanted.clone_from(&masks);
            }
            assert!(masks == wanted, "what is kept changes no mask");
            drop(comparer);
            // Pictures that are read when they are needed: a ground truth once, and others when there was no room.
            let reads = Cell::new(0);
            let load = |i: usize| {
                reads.set(reads.get() + 1);
                Ok(Cow::Owned(frames[i].clone()))
            };
            let mut comparer = mask::Comparer::loading(&cpu, size, (3, None), load).unwrap();
            for (&(a, b), mask) in pairs.iter().zip(&wanted) {
                assert!(comparer.compare(a, b, [b as i32 - a as i32, 0]).unwrap().mask == *mask);
            }
            drop(comparer);
            assert_eq!(reads.get(), if slots == 3 { 4 } else { 5 });
        }
        let cpu = Cpu::with_memory_limit(mask::picture_bytes(size));
        let e = mask::Comparer::new(&cpu, &frames, 3, None).unwrap_err();
        assert!(matches!(e, Error::Gpu(gpu_core::Error::OutOfMemory { .. })), "{e}");
    }
}

/// Pictures that arrive one by one, in any order, give what they give together, whether they all have room or not.
#[test]
fn pictures_may_arrive_one_by_one() {
    for (scenery, cfa) in both() {
        let frames: Vec<_> = (0..4_u8).map(|i| scenery.shoot(&quiet([f64::from(i), 3.0], cfa, u64::from(i)))).collect();
        let o = Options::default();
        let pairs = all_pairs(2, 4);
        let wanted = align_scene(&Cpu::new(), &frames, &pairs, &o).unwrap();
        let g = Geometry::new(&cfa, frames[0].size(), &o).unwrap();
        for slots in [2, 4] {
            let memory = Some(g.prepare_bytes() + slots * g.picture_bytes() + g.pair_bytes());
            for order in [[0, 1, 2, 3], [3, 0, 2, 1]] {
                let cpu = Cpu::new();
                let mut work = SceneWork::new(&cpu, &frames[0], 4, 8, &Options { memory, ..o }).unwrap();
                for i in order {
                    work.add(i, &frames[i]).unwrap();
                    work.add(i, &frames[i]).unwrap();
                }
                let again = |i: usize| Ok(Cow::Owned(frames[i].clone()));
                assert!(work.finish(again, &pairs).unwrap() == wanted, "{slots} {order:?}");
            }
        }
        let mut work = SceneWork::new(&Cpu::new(), &frames[0], 4, 8, &o).unwrap();
        let lost = |_| Err(Error::Missing { path: "lost".into() });
        assert!(matches!(work.finish(lost, &[(0, 4)]), Err(Error::Missing { .. })));
    }
}

/// A scene that takes over from another one gives what it gives alone; one of another kind does not take over.
#[test]
fn scenes_hand_on_what_they_have() {
    let (cpu, o, pairs) = (Cpu::new(), Options::default(), all_pairs(1, 3));
    let [(scenery, cfa), (other, other_cfa)] = both();
    let shoot = |far: f64, seed| scenery.shoot(&quiet([far, -far], cfa, seed));
    let scenes = [[0.0, 3.0, 5.0], [1.0, -2.0, 7.0]].map(|far| [0, 1, 2].map(|i| shoot(far[i], 10 + i as u64)));
    let mut work = SceneWork::new(&cpu, &scenes[0][0], 3, 3, &o).unwrap();
    for (n, frames) in scenes.iter().enumerate() {
        if n > 0 {
            work = work.again(&cpu, &frames[0], 3, &o).unwrap();
        }
        for (i, frame) in frames.iter().enumerate() {
            assert!(work.add(i, frame).unwrap());
        }
        let none = |_| Err(Error::Missing { path: "all are there".into() });
        assert!(work.finish(none, &pairs).unwrap() == align_scene(&cpu, frames, &pairs, &o).unwrap(), "{n}");
    }
    let begun = || SceneWork::new(&cpu, &scenes[0][0], 3, 3, &o).unwrap();
    assert!(begun().again(&cpu, &scenes[1][0], 2, &o).is_some());
    assert!(begun().again(&cpu, &scenes[1][0], 4, &o).is_none(), "more pictures");
    assert!(begun().again(&cpu, &other.shoot(&quiet([0.0; 2], other_cfa, 1)), 3, &o).is_none(), "another pattern");
    assert!(begun().again(&cpu, &scenes[1][0], 3, &Options { tiles: true, ..o }).is_none(), "other options");
}

#[test]
fn hot_pixels_and_patterns_that_stand_still_do_not_win() {
    let o = Options::default();
    for (scenery, cfa) in both() {
        let shot = |shift, iso, seed| Shot { shift, iso, seed, cfa, hot: 0.002, pattern: 0.003, exposure: 1.0 };
        let gt = scenery.shoot(&shot([0.0, 0.0], 100.0, 1));
        for (seed, shift) in [[12.0, -18.0], [-6.0, 6.0], [31.0, 9.0]].iter().enumerate() {
            let r = pair(&gt, &scenery.shoot(&shot(*shift, 25600.0, 20 + seed as u64)), &o);
            assert_eq!(r.rounded.map(f64::from), *shift, "{r:?}");
            assert_eq!(r.state, State::Confident);
        }
    }
}

/// Rejected, or at least not trusted.
fn refused(r: &PairResult, what: &str) {
    assert_ne!(r.state, State::Confident, "{what}: {r:?}");
    assert!(r.shift.iter().all(|d| d.is_finite()) && r.psr.is_finite() && r.ratio.is_finite(), "{what}: {r:?}");
    assert!(r.mad.iter().all(|d| d.is_finite()), "{what}: {r:?}");
}

#[test]
fn there_is_nothing_to_align() {
    let o = Options::default();
    for (scenery, cfa) in both() {
        let [h, w] = [360, 420];
        let gt = scenery.shoot(&quiet([0.0, 0.0], cfa, 1));
        let noise = |seed| Scenery::blank(h, w).shoot(&Shot { iso: 3200.0, ..quiet([0.0, 0.0], cfa, seed) });
        let other = Scenery::new(77, h, w).shoot(&quiet([0.0, 0.0], cfa, 2));
        let mirrored = Scenery::new(3, h, w).mirrored().shoot(&quiet([0.0, 0.0], cfa, 3));
        let black = BlackLevel::uniform(cfa.period(), 512.0);
        let flat = |value: u16| {
            RawFrame::cropped(&Array2::from_elem((h, w), value), None, cfa, &black, 16383, gt.meta.clone()).unwrap()
        };
        let point = |y: usize, x: usize| {
            let mut mosaic = Array2::from_elem((h, w), 600);
            mosaic[[y, x]] = 16000;
            RawFrame::cropped(&mosaic, None, cfa, &black, 16383, gt.meta.clone()).unwrap()
        };
        let fits = |f: RawFrame| align_scene(&Cpu::new(), &[noise(9), f], &[(0, 1)], &o).unwrap().remove(0);
        refused(&fits(noise(10)), "noise alone");
        refused(&fits(flat(512)), "black");
        refused(&fits(flat(16383)), "white");
        refused(&align_scene(&Cpu::new(), &[flat(512), flat(512)], &[(0, 1)], &o).unwrap()[0], "two black pictures");
        refused(&align_scene(&Cpu::new(), &[flat(9000), flat(16383)], &[(0, 1)], &o).unwrap()[0], "two flat pictures");
        refused(&align_scene(&Cpu::new(), &[point(100, 100), point(90, 120)], &[(0, 1)], &o).unwrap()[0], "points");
        if cfa.period() == 2 {
            refused(&pair(&gt, &other, &o), "another scene");
            refused(&pair(&gt, &mirrored, &o), "a mirror");
        }
    }
}

#[test]
fn fine_stripes_are_exact_or_doubted() {
    let black = BlackLevel::uniform(2, 512.0);
    // The noise of a sensor, much less than that, and none at all.
    for noise in [4.0, 0.4, 0.0] {
        for (period, slope) in (2..=12).flat_map(|period| [(period, 0), (period, 1)]) {
            let frame = |d: usize| {
                let mut random = Random::new(100 * period as u64 + d as u64);
                let mosaic = Array2::from_shape_fn((256, 256), |(y, x)| {
                    let stripe = if (x + d + slope * y) % period < period / 2 { 9000.0 } else { 700.0 };
                    f64::round(stripe + noise * random.normal()) as u16
                });
                RawFrame::cropped(&mosaic, None, Cfa::RGGB, &black, 16383, Meta::default()).unwrap()
            };
            let r = pair(&frame(0), &frame(1), &Options::default());
            // Along the stripes nothing can be known; across them the shift must be the smallest that fits.
            let across = r.shift[1] + slope as f64 * r.shift[0];
            // Half a block of diagonal ones is a pixel across, and no picture is moved by less than a block to compare.
            let near = if slope == 0 { 0.5 } else { 1.5 };
            let fits = (across - 1.0).abs() < near && r.shift[0].abs() < 1.5;
            assert!(r.state != State::Confident || fits, "{period}, slope {slope}, noise {noise}: {r:?}");
        }
    }
}

#[test]
fn grids_without_noise_are_doubted() {
    let black = BlackLevel::uniform(2, 512.0);
    for period in [8, 10, 14] {
        let frame = |d: usize| {
            let mosaic = Array2::from_shape_fn((256, 256), |(y, x)| {
                let line = (x + d) % period < 3 || y % (period + 2) < 3;
                if line { 9000 } else { 700 }
            });
            RawFrame::cropped(&mosaic, None, Cfa::RGGB, &black, 16383, Meta::default()).unwrap()
        };
        let r = pair(&frame(0), &frame(2), &Options::default());
        assert!(r.state != State::Confident || r.rounded == [0, 2], "{period}: {r:?}");
    }
}

#[test]
fn the_end_of_the_range_is_told() {
    let scenery = Scenery::new(5, 360, 420);
    let gt = scenery.shoot(&quiet([0.0, 0.0], Cfa::RGGB, 1));
    let noisy = scenery.shoot(&quiet([31.5, 4.0], Cfa::RGGB, 2));
    let at = |n| pair(&gt, &noisy, &Options { max_shift: MaxShift::Pixels(n), ..Options::default() });
    assert_eq!(at(64).state, State::Confident);
    assert_eq!(at(32).state, State::AtLimit);
    refused(&at(20), "beyond the range");
    let auto = pair(&gt, &noisy, &Options { max_shift: MaxShift::Auto, ..Options::default() });
    assert_eq!(auto.state, State::Confident);
}

#[test]
fn small_and_odd_pictures() {
    let scenery = Scenery::new(6, 64, 66);
    let gt = scenery.shoot(&quiet([0.0, 0.0], Cfa::RGGB, 1));
    let r = pair(&gt, &scenery.shoot(&quiet([2.0, -4.0], Cfa::RGGB, 2)), &Options::default());
    assert!(r.shift.iter().all(|d| d.is_finite()));
    let black = BlackLevel::uniform(2, 0.0);
    for (h, w) in [(1, 400), (400, 1), (63, 400), (400, 65)] {
        let mosaic = Array2::from_elem((h, w), 9);
        let made = RawFrame::cropped(&mosaic, None, Cfa::RGGB, &black, 16383, Meta::default());
        assert_eq!(made.is_ok(), h.min(w) >= 64, "{h} x {w}");
    }
    let wrong = Options { sigma: f32::NAN, ..Options::default() };
    assert!(matches!(align_scene(&Cpu::new(), &[gt.clone(), gt], &[(0, 1)], &wrong), Err(Error::Value { .. })));
}

#[test]
fn pictures_with_all_colours_align() {
    let scenery = Scenery::new(7, 300, 320);
    let frame = |shift| RawFrame::from_rgb(scenery.rgb(shift), Meta::default()).unwrap();
    let r = pair(&frame([0.0, 0.0]), &frame([5.0, -7.0]), &Options::default());
    assert_eq!(r.rounded, [5, -7]);
    assert_eq!(r.state, State::Confident);
}
