//! Operations on batches of grids: against slow scalar programs, and CUDA against the CPU. All results are integers, so
//! every tolerance is exact.

mod oracle;

use gpu_core::testing::proptest::collection::vec;
use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Output, Outputs, Tolerance, starting_with};
use gpu_core::{Cpu, Result, Tensor, twins};
use grid_dsl::Isometry;
use grid_dsl::Value;
use grid_dsl::kernels::{self, FIGURES, GridBackend, GridBatch, Item, Labels, Mode};
use grid_dsl::ops::Grid;
use oracle::Rows;

/// Grids with few colours, so that ties and large components are common; of all shapes of the device's class.
fn any_rows() -> impl Strategy<Value = Rows> {
    let sides = prop_oneof![
        6 => (0usize..7, 0usize..7),
        2 => (1usize..14, 1usize..14),
        1 => (Just(1usize), 1usize..33),
        1 => (1usize..33, Just(1usize)),
        1 => Just((30, 30)),
        1 => Just((32, 32)),
    ];
    let colours =
        prop_oneof![3 => Just(0..2), 3 => Just(0..4), 2 => Just(0..10), 1 => Just(-3..12), 1 => Just(-128..128)];
    (sides, colours).prop_flat_map(|((h, w), colours)| vec(vec(colours, w), h))
}

#[derive(Clone, Debug)]
struct Case {
    grids: Vec<Rows>,
    modes: Vec<u8>,
    capacity: usize,
    /// Grids to make of these.
    items: usize,
    seed: u32,
}

fn cases() -> impl Strategy<Value = Case> {
    let capacity = prop_oneof![Just(0usize), 1usize..5, Just(1024)];
    (vec(any_rows(), 1..4), vec(0u8..8, 1..4), capacity, 1usize..40, any::<u32>())
        .prop_map(|(grids, modes, capacity, items, seed)| Case { grids, modes, capacity, items, seed })
}

/// Hundreds of components in grids whose number of rows is no multiple of four.
fn crowded() -> Vec<Case> {
    let rows = |h: u32, w: u32| {
        let cell = |k: u32| (k.wrapping_mul(0x9E37_79B9) >> 28) as i32 % 5;
        (0..h).map(|i| (0..w).map(|j| cell(32 * i + j)).collect()).collect()
    };
    let grids = vec![rows(31, 27), rows(29, 32), rows(30, 31)];
    vec![Case { grids, modes: vec![4, 1], capacity: 1024, items: 1, seed: 0 }]
}

/// Rows of the highest colour that permutations know, one of which has one that they do not; and each number of grids for
/// which a warp of digests ends at another load.
fn sorted() -> Vec<Case> {
    let beyond = [15, 15, 15, 15, 15, 15, 15, 15, 100].to_vec();
    let grids = vec![vec![beyond, vec![15; 9], vec![3; 9]], vec![vec![7; 5]; 9]];
    let case = |items| Case { grids: grids.clone(), modes: vec![], capacity: 0, items, seed: 0xF1 };
    let mut all = [3, 7, 11, 15, 19, 23, 27, 31].map(case).to_vec();
    // Rows that end in every byte of every word, in all isometries.
    let of = |w: i32| (0..34 - w).map(|i| (0..w).map(|j| 1 + (3 * i + 5 * j) % 9).collect()).collect();
    all.push(Case { grids: (2..=32).map(of).collect(), modes: vec![], capacity: 0, items: 8 * 31, seed: 0xF1 });
    all
}

fn batch<B: GridBackend>(b: &B, case: &Case) -> Result<GridBatch<B>> {
    let values: Vec<Value> = case.grids.iter().map(Value::grid).collect();
    GridBatch::new(b, &values)
}

fn words(all: impl IntoIterator<Item = u32>) -> Output {
    let all: Vec<u32> = all.into_iter().collect();
    Output::U32(vec![all.len()], all)
}

fn modes(case: &Case) -> Vec<Mode> {
    case.modes.iter().map(|m| Mode::new(m & 4 != 0, m & 2 != 0, m & 1 != 0)).collect()
}

/// Labels inside of grids, counts, and the words of the table that are written.
fn run_components<B: GridBackend>(b: &B, case: &Case) -> Result<Outputs> {
    let (modes, grids) = (modes(case), batch(b, case)?);
    let mut out = Labels::new(b, modes.len(), grids.len(), case.capacity)?;
    kernels::components(b, &grids, &modes, &mut out)?;
    let (labels, counts, table) = (out.labels.to_vec(b)?, out.counts.to_vec(b)?, out.table.to_vec(b)?);
    let mut inside = Vec::new();
    let mut written = Vec::new();
    for item in 0..counts.len() {
        for (i, row) in case.grids[item % grids.len()].iter().enumerate() {
            inside.extend((0..row.len()).map(|j| u32::from(labels[item * 1024 + i * 32 + j])));
        }
        let known = if counts[item] >> 31 == 1 { 0 } else { (counts[item] as usize).min(case.capacity) };
        written.extend_from_slice(&table[item * case.capacity * 2..][..known * 2]);
    }
    Ok(vec![words(inside), words(counts), words(written)])
}

fn expected_components(case: &Case) -> Outputs {
    let (mut labels, mut counts, mut table) = (Vec::new(), Vec::new(), Vec::new());
    for mode in &case.modes {
        for rows in &case.grids {
            let objects = match oracle::objects(rows, mode & 4 != 0, mode & 2 != 0, mode & 1 != 0) {
                Ok(objects) => objects,
                Err(class) => {
                    counts.push(1 << 31 | class);
                    labels.extend(rows.iter().flatten().map(|_| 0xffff));
                    continue;
                }
            };
            counts.push(objects.len() as u32);
            for (i, row) in rows.iter().enumerate() {
                for (j, &c) in row.iter().enumerate() {
                    let cell = (c, i as i32, j as i32);
                    labels.push(objects.iter().position(|o| o.contains(&cell)).map_or(0xffff, |k| k as u32));
                }
            }
            for object in objects.iter().take(case.capacity) {
                let (c, i, j) = object[0];
                let first = (32 * i + j) as u32;
                let bound = |f: fn(&(i32, i32, i32)) -> i32, largest: bool| {
                    let all = object.iter().map(f);
                    (if largest { all.max() } else { all.min() }).unwrap() as u32
                };
                table.push((c as u32 & 255) | (object.len() as u32) << 8 | first << 19);
                let (top, left) = (bound(|o| o.1, false), bound(|o| o.2, false));
                table.push(top | left << 8 | bound(|o| o.1, true) << 16 | bound(|o| o.2, true) << 24);
            }
        }
    }
    vec![words(labels), words(counts), words(table)]
}

fn run_palette<B: GridBackend>(b: &B, case: &Case) -> Result<Outputs> {
    let grids = batch(b, case)?;
    let mut out = Tensor::scratch(b, [grids.len(), FIGURES])?;
    kernels::palette(b, &grids, &mut out)?;
    Ok(vec![Output::of(b, &out)?])
}

fn expected_palette(case: &Case) -> Outputs {
    let figures = case.grids.iter().flat_map(|rows| {
        let counts = oracle::counts(rows);
        let colour = |c: Option<i32>| c.map_or(u32::MAX, |c| (c + 128) as u32);
        let mut out = vec![rows.iter().flatten().count() as u32, counts.len() as u32];
        out.extend([colour(oracle::most(rows, true)), colour(oracle::most(rows, false))]);
        out.extend(
            (0..8).map(|k| (0..32).filter(|b| counts.contains_key(&(32 * k + b - 128))).map(|b| 1 << b).sum::<u32>()),
        );
        out
    });
    vec![words(figures)]
}

fn items(case: &Case) -> (Vec<[u8; 16]>, Vec<Item>) {
    // Colours of the language among themselves, and those above.
    let moved = |c: u32, by: u32| if c < 10 { (c + by) % 10 } else { 10 + (c + by) % 6 };
    let shift = |by: u32| std::array::from_fn(|c| moved(c as u32, by) as u8);
    let permutations = vec![shift(0), shift(case.seed % 10)];
    let item = |k: usize| Item {
        source: (k as u32).wrapping_add(case.seed) % case.grids.len() as u32,
        isometry: Isometry::ALL[k % 8],
        permutation: case.seed >> (k % 8) & 1,
    };
    (permutations, (0..case.items).map(item).collect())
}

fn run_augment<B: GridBackend>(b: &B, case: &Case) -> Result<Outputs> {
    let (permutations, items) = items(case);
    let out = kernels::augment(b, &batch(b, case)?, &permutations, &items)?;
    let mut digests = Tensor::scratch(b, [out.len(), 2])?;
    kernels::digest(b, &out, &mut digests)?;
    let cells = out.to_values(b)?.into_iter().flat_map(|grid| {
        let rows = grid.to_rows().unwrap();
        let size = [rows.len() as i32, rows.first().map_or(0, Vec::len) as i32];
        size.into_iter().chain(rows.into_iter().flatten()).collect::<Vec<_>>()
    });
    let cells: Vec<i32> = cells.collect();
    Ok(vec![Output::I32(vec![cells.len()], cells), Output::of(b, &digests)?])
}

fn expected_augment(case: &Case) -> Outputs {
    let (permutations, items) = items(case);
    let (mut cells, mut digests) = (Vec::new(), Vec::new());
    for item in items {
        let new = permutations[item.permutation as usize];
        let mut rows = oracle::turned(&case.grids[item.source as usize], item.isometry as u8);
        for c in rows.iter_mut().flatten().filter(|c| (0..16).contains(*c)) {
            *c = i32::from(new[*c as usize]);
        }
        cells.extend([rows.len() as i32, rows.first().map_or(0, Vec::len) as i32]);
        cells.extend(rows.iter().flatten());
        let digest = oracle::digest(&rows);
        digests.extend([digest as u32, (digest >> 32) as u32]);
    }
    vec![Output::I32(vec![cells.len()], cells), words(digests)]
}

twins! {
    kernels = ["grid_components", "grid_components_many"];
    /// integers: everything is exact
    components: starting_with(crowded(), cases()), Case => |b, c| run_components(b, c), oracle = expected_components,
        tolerance = Tolerance::EXACT;
}
twins! {
    kernels = ["grid_palette"];
    /// integers: everything is exact
    palette: cases(), Case => |b, c| run_palette(b, c), oracle = expected_palette, tolerance = Tolerance::EXACT;
}
twins! {
    kernels = ["grid_augment", "grid_digest"];
    /// integers: everything is exact
    augment: starting_with(sorted(), cases()), Case => |b, c| run_augment(b, c), oracle = expected_augment, tolerance = Tolerance::EXACT;
}

#[test]
fn what_a_device_does_not_take_is_named() {
    let b = Cpu::new();
    let small = Value::grid([[1]]);
    let cases = [
        (Value::grid(vec![vec![0; 4]; 33]), "number 1 is 33 x 4, a device takes up to 32 x 32"),
        (Value::grid([[300]]), "number 1 has a cell 300"),
        (Value::Int(3), "number 1 is no grid but Int"),
        (Value::grid(vec![vec![0, 1], vec![0]]), "number 1 is no grid"),
    ];
    for (grid, words) in cases {
        let refused = GridBatch::new(&b, [&small, &grid]).unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
    }
}

/// Grids with few, many and most components, whose tables are of three lengths.
fn tables<B: GridBackend>(b: &B) {
    let grids: Vec<Grid> = [(3usize, 4usize, 2usize), (10, 10, 7), (32, 32, 10), (1, 1, 3), (30, 30, 2)]
        .map(|(h, w, colours)| {
            let cell = |k: usize| ((k * k * 31 + k * 7) % 101 % colours) as i8;
            Grid::new(h, w, (0..h * w).map(cell).collect()).unwrap()
        })
        .to_vec();
    let modes = [Mode::new(true, false, false), Mode::new(false, true, true)];
    let found = kernels::tables_batch(b, &grids, &modes).unwrap();
    let values: Vec<Value> = grids.iter().map(Grid::to_value).collect();
    let expected = kernels::objects_batch(&Cpu::new(), &values, &modes).unwrap();
    let mut counts = Vec::new();
    for (m, expected) in expected.iter().enumerate() {
        for (n, expected) in expected.iter().enumerate() {
            assert_eq!(found.get(m, n), Some(expected.table.clone()), "mode {m}, grid {n}");
            counts.push(expected.count);
        }
    }
    assert!(counts.iter().any(|&n| n > 128) && counts.iter().any(|n| (17..128).contains(n)), "{counts:?}");
    assert_eq!((found.get(2, 0), found.get(0, 5)), (None, None));
}

#[test]
fn tables_of_all_lengths_are_those_of_objects() {
    tables(&Cpu::new());
}

#[cfg(feature = "cuda")]
#[test]
#[ignore = "needs a CUDA device"]
fn tables_of_all_lengths_on_cuda() {
    tables(&gpu_core::testing::cuda());
}

/// More grids than one copy takes, several times over, and a rest.
fn copied_in_pieces<B: GridBackend>(b: &B) {
    let grid = |n: usize| {
        let (h, w) = (1 + n % 7, 1 + n % 5);
        Grid::new(h, w, (0..h * w).map(|k| ((n * 13 + k * 5) % 256) as u8 as i8).collect()).unwrap()
    };
    for count in [4095, 4096, 3 * 4096 + 5] {
        let grids: Vec<Grid> = (0..count).map(grid).collect();
        let back = GridBatch::of_grids(b, &grids).unwrap().to_values(b).unwrap();
        assert_eq!(back.len(), count);
        for (n, (back, grid)) in back.iter().zip(&grids).enumerate() {
            assert_eq!(*back, grid.to_value(), "grid {n} of {count}");
        }
    }
}

#[test]
fn many_grids_go_there_in_pieces() {
    copied_in_pieces(&Cpu::new());
}

#[cfg(feature = "cuda")]
#[test]
#[ignore = "needs a CUDA device"]
fn many_grids_go_to_cuda_in_pieces() {
    copied_in_pieces(&gpu_core::testing::cuda());
}

#[test]
fn components_are_those_of_objects() {
    let b = Cpu::new();
    let grids = [Value::grid_from_digits("0110/0020/3302").unwrap(), Value::grid(Vec::<Vec<i32>>::new())];
    let all =
        kernels::objects_batch(&b, &grids, &[Mode::new(true, false, true), Mode::new(false, true, false)]).unwrap();
    let names: Vec<_> = all[0][0].table.as_ref().unwrap().iter().map(|c| (c.colour, c.size, c.upper_left)).collect();
    assert_eq!(names, [(1, 2, (0, 1)), (2, 1, (1, 2)), (2, 1, (2, 3)), (3, 2, (2, 0))]);
    assert_eq!((all[1][0].count, all[1][0].labels.len()), (1, 12));
    assert_eq!(all[0][1].table, Err(grid_dsl::ErrClass::Empty));
    assert_eq!(all[1][1].table, Err(grid_dsl::ErrClass::Index));
}
