use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::error::{ErrClass, Limits};
use crate::machine::Machine;
use crate::prim::Prim;
use crate::testing::any_grid;
use crate::value::Value;

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, rng_seed: RngSeed::Fixed(6), ..ProptestConfig::default() })]

    #[test]
    fn components_are_those_of_the_definition(value in any_grid()) {
        let Ok(grid) = Grid::try_from(&value) else { return Ok(()) };
        let limits = Limits::default();
        let found = objects_batch(std::slice::from_ref(&grid), &Mode::ALL);
        for (mode, found) in Mode::ALL.iter().zip(found.iter()) {
            let flags = [mode.univalued, mode.diagonal, mode.without_background].map(Value::Bool);
            let args: Vec<Value> = std::iter::once(value.clone()).chain(flags).collect();
            prop_assert_eq!(found.to_objects(&grid), Machine::new(&limits).prim(Prim::Objects, &args).unwrap());
            let firsts: Vec<u32> = found.table().iter().map(|c| c.first).collect();
            prop_assert!(firsts.is_sorted());
            let labels: Vec<u32> = found.labels().collect();
            let single = (0..=labels.len()).map(|p| found.label(p).unwrap_or(Components::NONE));
            prop_assert!(single.eq(labels.iter().copied().chain([Components::NONE])));
            for (k, c) in found.table().iter().enumerate() {
                let at: Vec<usize> = labels.iter().enumerate().filter(|(_, l)| **l as usize == k).map(|(p, _)| p).collect();
                let (rows, columns) = (at.iter().map(|p| p / grid.width()), at.iter().map(|p| p % grid.width()));
                prop_assert_eq!(c.size as usize, at.len());
                prop_assert_eq!(c.first as usize, at[0]);
                prop_assert_eq!((c.top as usize, c.bottom as usize), (rows.clone().min().unwrap(), rows.max().unwrap()));
                prop_assert_eq!(
                    (c.left as usize, c.right as usize),
                    (columns.clone().min().unwrap(), columns.max().unwrap())
                );
                prop_assert_eq!(Some(c.colour), at.iter().map(|&p| grid.cells()[p]).min());
            }
        }
    }

    #[test]
    fn colours_and_isometries_are_those_of_the_definition(value in any_grid()) {
        let Ok(grid) = Grid::try_from(&value) else { return Ok(()) };
        let call = |name: &str| crate::call(name, std::slice::from_ref(&value)).unwrap();
        let one = std::slice::from_ref(&grid);
        prop_assert_eq!(Value::Int(i32::from(mostcolor_batch(one)[0])), call("mostcolor"));
        let palette = palette_batch(one)[0].iter().map(|&c| Value::Int(i32::from(c))).collect();
        prop_assert_eq!(Value::set(palette), call("palette"));
        let names = ["identity", "rot90", "rot180", "rot270", "hmirror", "vmirror", "dmirror", "cmirror"];
        for (isometry, name) in Isometry::ALL.into_iter().zip(names) {
            prop_assert_eq!(isometry_batch(one, isometry)[0].to_value(), call(name));
        }
    }
}

/// Rows of more than 64 cells are joined run by run.
#[test]
fn wide_grids_have_the_components_of_the_definition() {
    let limits = Limits::default();
    for (seed, w) in [(1usize, 63usize), (2, 64), (3, 65), (4, 90), (5, 131)] {
        let cell = |k: usize| ((k * 2_654_435_761 + seed * 97) >> 9) as i8 & 3;
        let grid = Grid::new(5, w, (0..5 * w).map(cell).collect()).unwrap();
        let found = objects_batch(std::slice::from_ref(&grid), &Mode::ALL);
        for (mode, found) in Mode::ALL.iter().zip(found.iter()) {
            let flags = [mode.univalued, mode.diagonal, mode.without_background].map(Value::Bool);
            let args: Vec<Value> = std::iter::once(grid.to_value()).chain(flags).collect();
            let expected = Machine::new(&limits).prim(Prim::Objects, &args).unwrap();
            assert_eq!(found.to_objects(&grid), expected, "{mode:?}, {w} columns");
        }
    }
}

#[test]
fn batches_do_not_depend_on_threads() {
    let cell = |k: usize| ((k * 2_654_435_761) >> 7) as i8 & 3;
    let grids: Vec<Grid> = (1..300)
        .map(|k| Grid::new(1 + k % 7, 30, (0..(1 + k % 7) * 30).map(|p| cell(p * k)).collect()).unwrap())
        .collect();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| objects_batch(&grids, &Mode::COMMON))
    };
    let (one, many) = (run(1), run(5));
    assert_eq!(one, many);
    assert_eq!(one.get(7, 2), objects_batch(&grids[7..8], &Mode::COMMON[2..3]).get(0, 0));
    assert_eq!((one.get(grids.len(), 0), one.get(0, 5), one.iter().count()), (None, None, grids.len() * 5));
    // Memory of a larger batch in other modes leaves no trace.
    let mut again = many;
    objects_batch_into(&grids[..100], &Mode::ALL[3..5], &mut again);
    assert_eq!(again, objects_batch(&grids[..100], &Mode::ALL[3..5]));
    assert!(Grid::new(2, 0, vec![]).is_err() && Grid::from_digits("1/23").is_err());
    // Boxes of components have sides of 16 bits.
    assert_eq!(Grid::new(1, 65_537, vec![0; 65_537]), Err(ErrClass::Limit));
    let widest = Grid::new(1, 65_536, (0..65_536).map(|k| i8::from(k > 65_534)).collect()).unwrap();
    let found = objects_batch(&[widest], &Mode::COMMON);
    assert!(found.iter().all(|found| found.table().last().is_some_and(|last| last.right == 65_535)));
}

/// Grids of all widths around those of a word, whose components meet at corners, sides and both.
#[test]
fn wide_grids_of_few_colours_have_the_components_of_the_definition() {
    let limits = Limits::default();
    let mut state = 1u64;
    let mut next = move |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let modes: Vec<Mode> = Mode::ALL.into_iter().filter(|m| m.univalued || m.without_background).collect();
    for (w, colours, background) in [(64, 2, 0), (65, 3, 1), (66, 9, 5), (127, 4, 2), (128, 5, 9), (129, 3, 0)] {
        let cells = (0..4 * w).map(|_| if next(10) < background { 0 } else { next(colours) as i8 - 1 }).collect();
        let grid = Grid::new(4, w, cells).unwrap();
        for modes in modes.iter().map(std::slice::from_ref).chain([&modes[..], &Mode::COMMON]) {
            let found = objects_batch(std::slice::from_ref(&grid), modes);
            for (mode, found) in modes.iter().zip(found.iter()) {
                let flags = [mode.univalued, mode.diagonal, mode.without_background].map(Value::Bool);
                let args: Vec<Value> = std::iter::once(grid.to_value()).chain(flags).collect();
                let expected = Machine::new(&limits).prim(Prim::Objects, &args).unwrap();
                assert_eq!(found.to_objects(&grid), expected, "{mode:?}, {w} columns");
                assert!(found.table().iter().zip(1..).all(|(c, n)| found.label(c.first as usize) == Some(n - 1)));
            }
        }
    }
}
