//! How fast Fista comes to the optimum on a wall of the size that walls have, and that bytes of both kinds of patterns
//! lead to one matrix.

use ata_wmma::kernels;
use ata_wmma::reference::Matrix64;
use ata_wmma::wall::Wall;
use ata_wmma::{
    AnyPatterns, BYTE_SQUARED, DevicePatterns, FrameLayout, Graph, Patterns, Plan, PlanOptions, Precision, Scale,
    SolveOptions, Solver, Transfer, ordering, split_channels,
};
use gpu_core::{Cpu, Tensor};

const WIDTH: usize = 800;
const HEIGHT: usize = 480;

/// Bright discs and a slope on a dark ground, each channel other ones.
fn frame() -> Vec<u8> {
    let mut out = Vec::with_capacity(3 * WIDTH * HEIGHT);
    for c in 0..3 {
        for row in 0..HEIGHT {
            for column in 0..WIDTH {
                let inside = |x: usize, y: usize, r: usize| column.abs_diff(x).pow(2) + row.abs_diff(y).pow(2) < r * r;
                let v = if inside(200 + 150 * c, 160, 90) {
                    230
                } else if inside(600, 300 - 60 * c, 70) {
                    150
                } else {
                    (column + 2 * row) * 60 / (WIDTH + 2 * HEIGHT)
                };
                out.push(v as u8);
            }
        }
    }
    out
}

/// 2624 LEDs, one frame: the excess over the optimum, as a share of the squared residual, after 100 to 1000 products.
#[test]
fn fista_comes_to_the_optimum_of_a_large_wall() {
    let cpu = Cpu::new();
    let wall = Wall { leds: 2624, width: WIDTH, height: HEIGHT, block: 64, margin: 20, seed: 11, scale: 1.0 };
    let positions = wall.positions();
    let graph = Graph::of_windows(&wall.corners(&positions), wall.block);
    let (order, ..) = ordering::best_snake(&positions, &graph, wall.block).unwrap();
    let patterns = wall.patterns(&order).unwrap();
    let (a, exact) = patterns.gram(&cpu, Scale::Unit).unwrap();
    let pixels = frame();
    let device = DevicePatterns::new(&cpu, &patterns).unwrap();
    let frames = Tensor::from_slice(&cpu, [pixels.len()], &pixels).unwrap();
    let mut sums = Tensor::<Cpu, u64, 1>::zeros(&cpu, [3 * 2624]).unwrap();
    kernels::atb_u8(&cpu, &device, frames.flat(), FrameLayout::Planar, &Transfer::Identity, sums.flat_mut()).unwrap();
    let b: Vec<f64> = sums.to_vec(&cpu).unwrap().iter().map(|&v| v as f64 / BYTE_SQUARED).collect();
    let wide: Matrix64 = exact.to_f64().unwrap();
    let narrow: Vec<f32> = b.iter().map(|&v| v as f32).collect();
    let right = Tensor::from_slice(&cpu, [1, 3, 2624], &narrow).unwrap();
    let solved = |precision, products| -> Vec<f64> {
        let plan = Plan::new(&cpu, &a, PlanOptions { precision, ..PlanOptions::default() }).unwrap();
        let mut x = Tensor::zeros(&cpu, [1, 3, 2624]).unwrap();
        let options = SolveOptions { max_iterations: products, ..SolveOptions::default() };
        Solver::new(&plan, options).unwrap().solve(&cpu, &right, &mut x).unwrap();
        x.to_vec(&cpu).unwrap().into_iter().map(f64::from).collect()
    };
    // The same solver with four times as many products, if the conditions of an optimum hold in f64: a step against the
    // gradient, cut to the bounds, leads nowhere.
    let best = solved(Precision::F32, 4000);
    let (product, _) = wide.product(&best);
    let gradient = product.iter().zip(&b).map(|(ax, b)| ax - b);
    let steps = gradient.zip(wide.row_sums()).zip(&best).map(|((g, sum), x)| ((x - g / sum).clamp(0.0, 1.0) - x).abs());
    let farthest = steps.fold(0.0, f64::max);
    assert!(farthest < 1e-4, "{farthest:e}");
    let lowest: f64 = wide.objective(&best, &b).iter().sum();
    let residual = lowest + 0.5 * pixels.iter().map(|&v| (f64::from(v) / 255.0).powi(2)).sum::<f64>();
    assert!(residual > 0.0);
    for precision in [Precision::F32, Precision::Tf32x3] {
        for (products, limit) in [(100, 4e-3), (200, 4e-4), (400, 3e-5), (1000, 1e-6)] {
            let x = solved(precision, products);
            let excess = (wide.objective(&x, &b).iter().sum::<f64>() - lowest) / residual;
            assert!(excess <= limit, "{precision}, {products} products: {excess:e} > {limit:e}");
            if products == 1000 {
                let level = kernels::level::<u8>;
                let same = x.iter().zip(&best).filter(|(x, best)| level(**x) == level(**best)).count();
                assert!(same as f64 >= 0.99 * x.len() as f64, "{precision}: {same} of {} levels", x.len());
            }
        }
    }
}

/// Patterns of bytes over 255 in `f32` lead to the matrix, the right side and the picture of the bytes.
#[test]
fn real_patterns_agree_with_bytes() {
    let cpu = Cpu::new();
    let wall = Wall { leds: 50, width: 64, height: 48, block: 15, margin: 3, seed: 2, scale: 0.25 };
    let order = ordering::snake(&wall.positions(), 8, 0).unwrap();
    let bytes = wall.patterns(&order).unwrap();
    let data = bytes.data().iter().map(|&v| f32::from(v) / 255.0).collect();
    let real = Patterns::new([50, 3, 15], data, bytes.corners().to_vec(), bytes.size()).unwrap();
    let near = |a: &[f32], b: &[f32]| {
        let largest = b.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        assert!(largest > 0.0 && a.len() == b.len());
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-6 * largest));
    };
    let (a, b) = (real.gram_f32(&cpu).unwrap(), bytes.gram(&cpu, Scale::Unit).unwrap().0);
    assert_eq!(a.offsets(), b.offsets());
    near(a.blocks(), b.blocks());
    let pixels: Vec<u8> = (0..2 * 3 * 48 * 64).map(|i| (i * 7919 % 256) as u8).collect();
    let frames = Tensor::from_slice(&cpu, [pixels.len()], &pixels).unwrap();
    let devices = (DevicePatterns::new(&cpu, &real).unwrap(), DevicePatterns::new(&cpu, &bytes).unwrap());
    for transfer in [Transfer::Identity, Transfer::srgb(3)] {
        let mut sums = Tensor::<Cpu, u64, 1>::zeros(&cpu, [2 * 3 * 50]).unwrap();
        let mut right = Tensor::<Cpu, f32, 1>::zeros(&cpu, [2 * 3 * 50]).unwrap();
        kernels::atb_u8(&cpu, &devices.1, frames.flat(), FrameLayout::Planar, &transfer, sums.flat_mut()).unwrap();
        kernels::atb_f32(&cpu, &devices.0, frames.flat(), FrameLayout::Planar, &transfer, right.flat_mut()).unwrap();
        let sums = sums.to_vec(&cpu).unwrap();
        let wanted: Vec<f32> = sums.iter().map(|&v| (v as f64 / transfer.unit()) as f32).collect();
        near(&right.to_vec(&cpu).unwrap(), &wanted);
    }
    let x: Vec<f32> = (0..300).map(|i| (i * 31 % 101) as f32 / 101.0).collect();
    let x = Tensor::from_slice(&cpu, [300], &x).unwrap();
    let tiles = (kernels::RenderTiles::new(&cpu, &real).unwrap(), kernels::RenderTiles::new(&cpu, &bytes).unwrap());
    let picture = || Tensor::<Cpu, f32, 1>::zeros(&cpu, [2 * 3 * 48 * 64]).unwrap();
    let (mut one, mut two) = (picture(), picture());
    kernels::render_f32(&cpu, &devices.0, &tiles.0, x.flat(), one.flat_mut()).unwrap();
    kernels::render(&cpu, &devices.1, &tiles.1, x.flat(), two.flat_mut()).unwrap();
    near(&one.to_vec(&cpu).unwrap(), &two.to_vec(&cpu).unwrap());
}

/// Windows that differ from channel to channel: sums, pixel by pixel over the whole picture, and where windows are the same
/// in all channels, what patterns of one window give.
#[test]
fn channels_may_have_windows_of_their_own() {
    const N: usize = 20;
    const SIDE: usize = 6;
    const SIZE: [usize; 2] = [24, 18];
    let cpu = Cpu::new();
    let data: Vec<u8> = (0..N * 2 * SIDE * SIDE).map(|i| (i * 31 % 256) as u8).collect();
    let corners: Vec<[i32; 2]> = (0..2 * N as i32).map(|i| [i * 5 % 13, i * 7 % 19]).collect();
    let frames: Vec<u8> = (0..3 * 2 * 24 * 18).map(|i| (i * 101 % 256) as u8).collect();
    let x: Vec<f32> = (0..3 * 2 * N).map(|i| (i * 13 % 29) as f32 / 29.0).collect();
    let parts = split_channels([N, 2, SIDE], &data, &corners, SIZE).unwrap();
    let light = |l: usize, c: usize, row: usize, column: usize| {
        let [top, left] = corners[2 * l + c].map(|v| v as usize);
        let inside = (top..top + SIDE).contains(&row) && (left..left + SIDE).contains(&column);
        if inside { u64::from(data[((l * 2 + c) * SIDE + row - top) * SIDE + column - left]) } else { 0 }
    };
    let pixels = || (0..18).flat_map(|row| (0..24).map(move |column| (row, column)));
    let bytes = AnyPatterns::Bytes(parts.clone());
    let real: Vec<Patterns<f32>> = parts
        .iter()
        .map(|p| {
            let data = p.data().iter().map(|&v| f32::from(v) / 255.0).collect();
            Patterns::new([N, 1, SIDE], data, p.corners().to_vec(), SIZE).unwrap()
        })
        .collect();
    let real = AnyPatterns::Real(real);
    assert_eq!((bytes.counts(), bytes.size()), ([N, 2], SIZE));
    let (a, exact) = bytes.gram(&cpu).unwrap();
    assert!(exact.is_some());
    let (a_real, _) = real.gram(&cpu).unwrap();
    for (c, l, m) in (0..2).flat_map(|c| (0..N).flat_map(move |l| (0..N).map(move |m| (c, l, m)))) {
        let sum: u64 = pixels().map(|(row, column)| light(l, c, row, column) * light(m, c, row, column)).sum();
        assert_eq!(a.get(c, l, m), (sum as f64 / BYTE_SQUARED) as f32, "{c} {l} {m}");
        assert!((a_real.get(c, l, m) - a.get(c, l, m)).abs() < 1e-5);
    }
    let turned: Vec<u8> = (0..3)
        .flat_map(|f| (0..24 * 18).flat_map(move |i| (0..2).map(move |c| (f * 2 + c) * 24 * 18 + i)))
        .map(|at| frames[at])
        .collect();
    for (frames, layout) in [(&frames, FrameLayout::Planar), (&turned, FrameLayout::Interleaved)] {
        let (right, sums) = bytes.right_sides(&cpu, frames, layout, &Transfer::Identity).unwrap();
        let (right_real, none) = real.right_sides(&cpu, frames, layout, &Transfer::Identity).unwrap();
        assert!(none.is_none());
        let sums = sums.unwrap();
        for (at, &own) in sums.iter().enumerate() {
            let (f, c, l) = (at / (2 * N), at / N % 2, at % N);
            let pixel = |row: usize, column: usize| {
                let i = row * 24 + column;
                let at = if layout == FrameLayout::Planar { (f * 2 + c) * 432 + i } else { (f * 432 + i) * 2 + c };
                u64::from(frames[at])
            };
            assert_eq!(own, pixels().map(|(row, column)| light(l, c, row, column) * pixel(row, column)).sum::<u64>());
            assert!((right[at] - right_real[at]).abs() < 1e-4);
        }
    }
    let (seen, seen_real) = (bytes.render(&cpu, &x).unwrap(), real.render(&cpu, &x).unwrap());
    assert_eq!(seen.len(), 3 * 2 * 432);
    for (at, &own) in seen.iter().enumerate() {
        let (line, row, column) = (at / 432, at / 24 % 18, at % 24);
        let sum: f64 = (0..N).map(|l| light(l, line % 2, row, column) as f64 * f64::from(x[line * N + l])).sum();
        assert!(
            (f64::from(own) - sum / 255.0).abs() < 1e-5 && (own - seen_real[at]).abs() < 1e-5,
            "{line} {row} {column}"
        );
    }
    // The same windows in both channels.
    let same: Vec<[i32; 2]> = (0..2 * N).map(|i| corners[i / 2]).collect();
    let one = vec![Patterns::new([N, 2, SIDE], data.clone(), corners[..N].to_vec(), SIZE).unwrap()];
    let (one, two) =
        (AnyPatterns::Bytes(one), AnyPatterns::Bytes(split_channels([N, 2, SIDE], &data, &same, SIZE).unwrap()));
    assert_eq!(one.gram(&cpu).unwrap(), two.gram(&cpu).unwrap());
    assert_eq!(one.graph(), two.graph());
    let right = |p: &AnyPatterns| p.right_sides(&cpu, &frames, FrameLayout::Planar, &Transfer::srgb(2)).unwrap();
    assert_eq!(right(&one), right(&two));
    assert_eq!(one.render(&cpu, &x).unwrap(), two.render(&cpu, &x).unwrap());
}
