//! Algebra of matrices, orders and products on the CPU.

mod oracle;

use ata_wmma::{
    ABSENT, BlockDiag, Compensate, CsrView, Graph, Layout, Plan, PlanOptions, Precision, Schedule, SymmetryPolicy,
    ordering, wall,
};
use gpu_core::{Cpu, Tensor};
use ndarray::{Array3, Array4};
use oracle::matrix::Recipe;
use proptest::prelude::*;

fn recipes(exact: bool) -> impl Strategy<Value = Recipe> {
    let size = prop_oneof![1 => 1..17_usize, 3 => 17..200_usize];
    (size, 1..4_usize, 1..20_usize, 0..4096_u32, prop_oneof![Just(0u64), Just(2)], 0..10_000_u64).prop_map(
        move |(n, channels, frames, diagonals, holes, seed)| Recipe {
            n,
            channels,
            frames,
            diagonals,
            holes,
            seed,
            exact,
        },
    )
}

fn dense(r: &Recipe) -> Array3<f32> {
    Array3::from_shape_fn((r.channels, r.n, r.n), |(c, i, j)| r.element(c, i, j) as f32)
}

fn matrix(r: &Recipe) -> BlockDiag {
    BlockDiag::from_dense(dense(r).view(), SymmetryPolicy::default()).unwrap()
}

fn apply(a: &BlockDiag, precision: Precision, frames: usize, x: &[f32]) -> Vec<f32> {
    let cpu = Cpu::new();
    let plan = Plan::new(&cpu, a, PlanOptions { precision, ..PlanOptions::default() }).unwrap();
    let x = Tensor::from_slice(&cpu, [frames, a.channels(), a.n()], x).unwrap();
    plan.product(&cpu, &x).unwrap().to_vec(&cpu).unwrap()
}

fn narrow(v: &[f64]) -> Vec<f32> {
    v.iter().map(|&v| v as f32).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Every precision within its bounds, and exact for small integers.
    #[test]
    fn products_are_within_their_bounds(r in recipes(false), precision in prop::sample::select(&Precision::ALL)) {
        let y = apply(&matrix(&r), precision, r.frames, &narrow(&r.x()));
        let (wanted, w) = r.product();
        for i in 0..y.len() {
            prop_assert!((f64::from(y[i]) - wanted[i]).abs() <= precision.componentwise_bound() * w[i], "row {i}: {} {}", y[i], wanted[i]);
        }
    }

    /// A frame's result does not depend on the others.
    #[test]
    fn frames_do_not_influence_each_other(r in recipes(false), precision in prop::sample::select(&Precision::ALL)) {
        let (a, x) = (matrix(&r), narrow(&r.x()));
        let each = r.channels * r.n;
        let together = apply(&a, precision, r.frames, &x);
        for (f, (x, y)) in x.chunks(each).zip(together.chunks(each)).enumerate() {
            let alone = apply(&a, precision, 1, x);
            prop_assert!(alone.iter().zip(y).all(|(a, b)| a.to_bits() == b.to_bits()), "frame {f}");
        }
        let turned: Vec<f32> = x.chunks(each).rev().flatten().copied().collect();
        let turned = apply(&a, precision, r.frames, &turned);
        let back: Vec<f32> = turned.chunks(each).rev().flatten().copied().collect();
        prop_assert!(back.iter().zip(&together).all(|(a, b)| a.to_bits() == b.to_bits()));
    }

    /// The tiles of every strip cover every element of the dense matrix once.
    #[test]
    fn tiles_cover_the_matrix_once(r in recipes(true), full in any::<bool>()) {
        let a = matrix(&r);
        let schedule = Schedule::of(&a, if full { Layout::Full } else { Layout::Upper });
        let values = schedule.pack(&a);
        let blocks = schedule.packed().len();
        for c in 0..r.channels {
            let mut covered = Array3::<f32>::from_elem((1, r.rows() * 16 + 16, r.rows() * 16), 0.0);
            let mut count = covered.mapv(|_| 0u32);
            for s in 0..schedule.strips() {
                for tile in schedule.strip(s) {
                    for (half, reference) in [tile.top, tile.bottom].into_iter().enumerate() {
                        if reference == ABSENT { continue }
                        let block = &values[(c * blocks + (reference >> 1) as usize) * 256..][..256];
                        for at in 0..256 {
                            let from = if reference & 1 == 1 { at % 16 * 16 + at / 16 } else { at };
                            let place = (0, 32 * s + 16 * half + at / 16, 16 * tile.j as usize + at % 16);
                            covered[place] += block[from];
                            count[place] += 1;
                        }
                    }
                }
            }
            prop_assert!(count.iter().all(|&n| n <= 1));
            for i in 0..r.n {
                for j in 0..r.n {
                    prop_assert_eq!(f64::from(covered[(0, i, j)]), r.element(c, i, j));
                }
            }
        }
    }

    /// To each form and back.
    #[test]
    fn forms_and_back(r in recipes(false)) {
        let mut a = matrix(&r);
        a.prune().unwrap();
        let policy = SymmetryPolicy::default();
        let pruned = |mut b: BlockDiag| { b.prune().unwrap(); b };
        prop_assert_eq!(a.to_dense(), dense(&r));
        prop_assert_eq!(&pruned(BlockDiag::from_dense(a.to_dense().view(), policy).unwrap()), &a);
        let (dia, offsets) = a.to_dia();
        if !offsets.is_empty() {
            prop_assert_eq!(&pruned(BlockDiag::from_dia(dia.view(), &offsets, r.n, policy).unwrap()), &a);
        }
        let csr = a.to_csr(true);
        let views: Vec<_> = csr.iter().map(|m| CsrView { rows: m.n, columns: m.n, indptr: &m.indptr, indices: &m.indices, data: &m.data }).collect();
        prop_assert_eq!(&pruned(BlockDiag::from_csr(&views, policy).unwrap()), &a);
        prop_assert_eq!(a.to_bsr_upper(0).indices.len(), a.nnz_blocks());
        prop_assert_eq!(a.nnz(), dense(&r).iter().filter(|&&v| v != 0.0).count());
    }

    /// ⟨A x, z⟩ = ⟨x, A z⟩, exactly for integers; a permuted matrix permutes the product.
    #[test]
    fn products_are_symmetric_and_follow_permutations(r in recipes(true)) {
        let a = matrix(&r);
        let (x, z) = (narrow(&r.x()), narrow(&r.before()));
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let (ax, az) = (apply(&a, Precision::F32, r.frames, &x), apply(&a, Precision::F32, r.frames, &z));
        prop_assert_eq!(dot(&ax, &z), dot(&x, &az));
        let mut order: Vec<u32> = (0..r.n as u32).collect();
        order.sort_by_key(|&i| oracle::hash(r.seed, i.into()));
        let turn = |v: &[f32]| -> Vec<f32> { v.chunks(r.n).flat_map(|l| order.iter().map(|&i| l[i as usize])).collect() };
        let permuted = apply(&a.permute(&order).unwrap(), Precision::F32, r.frames, &turn(&x));
        prop_assert_eq!(permuted, turn(&ax));
    }

    /// Compensated thresholds add a diagonally dominant matrix.
    #[test]
    fn compensated_thresholds_keep_the_matrix_above(r in recipes(false)) {
        let a = matrix(&r);
        let b = a.threshold(0.5, Compensate::Diagonal).unwrap();
        for c in 0..r.channels {
            for i in 0..r.n {
                let change = |j: usize| f64::from(b.get(c, i, j)) - f64::from(a.get(c, i, j));
                let beside: f64 = (0..r.n).filter(|&j| j != i).map(|j| change(j).abs()).sum();
                prop_assert!(change(i) >= beside - 1e-4);
            }
        }
        prop_assert!(!b.maybe_indefinite());
    }
}

/// Unit vectors give the columns, for every column.
#[test]
fn unit_vectors_give_columns() {
    for n in [1, 16, 17, 47, 96] {
        let r = Recipe { n, channels: 2, frames: 1, diagonals: 0b101, holes: 0, seed: n as u64, exact: true };
        let a = matrix(&r);
        for precision in Precision::ALL {
            let x: Vec<f32> = (0..n * 2 * n).map(|at| f32::from(u8::from(at / (2 * n) == at % n))).collect();
            let y = apply(&a, precision, n, &x);
            for (f, frame) in y.chunks(2 * n).enumerate() {
                for (at, &v) in frame.iter().enumerate() {
                    assert_eq!(f64::from(v), r.element(at / n, at % n, f), "{precision}, n {n}, column {f}, row {at}");
                }
            }
        }
    }
}

/// Diagonals read with the other alignment give another matrix: the convention is tested.
#[test]
fn the_alignment_of_diagonals_matters() {
    let r = Recipe { n: 40, channels: 1, frames: 1, diagonals: 0b11, holes: 0, seed: 5, exact: false };
    let a = matrix(&r);
    let (dia, offsets) = a.to_dia();
    let wrong =
        Array3::from_shape_fn(dia.dim(), |(c, k, j)| dia.get((c, k, j + offsets[k] as usize)).copied().unwrap_or(0.0));
    let b = BlockDiag::from_dia(wrong.view(), &offsets, r.n, SymmetryPolicy::default()).unwrap();
    assert_ne!(a.to_dense(), b.to_dense());
}

/// The Gram matrix of compressed rows against dense sums.
#[test]
fn gram_of_rows() {
    let (m, n) = (23, 37);
    let value = |i: usize, j: usize| {
        if oracle::hash(3, (i * n + j) as u64).is_multiple_of(4) {
            oracle::value(4, (i * n + j) as u64, true)
        } else {
            0.0
        }
    };
    let (mut indptr, mut indices, mut data) = (vec![0], Vec::new(), Vec::new());
    for i in 0..m {
        for j in (0..n).filter(|&j| value(i, j) != 0.0) {
            // Two entries of one place are summed.
            indices.extend([j, j]);
            data.extend([value(i, j) - 1.0, 1.0]);
        }
        indptr.push(data.len());
    }
    let view = CsrView { rows: m, columns: n, indptr: &indptr, indices: &indices, data: &data };
    let a = BlockDiag::gram_csr(&[view]).unwrap();
    for i in 0..n {
        for j in 0..n {
            assert_eq!(f64::from(a.get(0, i, j)), (0..m).map(|k| value(k, i) * value(k, j)).sum::<f64>());
        }
    }
}

/// The seed's form: one block a diagonal.
#[test]
fn toeplitz_blocks_are_repeated() {
    let blocks =
        Array4::from_shape_fn(
            (2, 2, 16, 16),
            |(c, k, r, s)| if k == 0 { (c + r.min(s)) as f32 } else { (r * 16 + s) as f32 },
        );
    let a = BlockDiag::from_block_toeplitz(blocks.view(), &[0, 2], 5, SymmetryPolicy::default()).unwrap();
    assert_eq!((a.n(), a.nnz_blocks()), (80, 8));
    assert_eq!(a.get(1, 16 + 3, 48 + 7), blocks[(1, 1, 3, 7)]);
    assert_eq!(a.get(1, 48 + 7, 16 + 3), blocks[(1, 1, 3, 7)]);
}

/// On a wall of random LEDs the best snake needs at most 60 % of the blocks of reverse Cuthill-McKee.
#[test]
fn snakes_beat_cuthill_mckee_on_a_wall() {
    let wall = wall::Wall { leds: 2624, width: 800, height: 480, block: 64, margin: 20, seed: 7, scale: 1.0 };
    let positions = wall.positions();
    let graph = Graph::of_windows(&wall.corners(&positions), 64);
    let (snake, ..) = ordering::best_snake(&positions, &graph, 64).unwrap();
    let (snake, rcm) = (graph.figures(&snake), graph.figures(&ordering::rcm(&graph)));
    assert!(snake.blocks * 10 <= rcm.blocks * 6, "{snake:?} {rcm:?}");
    assert!(snake.tile_efficiency >= 0.8, "{snake:?}");
}
