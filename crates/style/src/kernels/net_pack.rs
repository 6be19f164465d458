//! The order in which the CUDA kernels of the network read their weights.

use gpu_core::Cuda;
use half::f16;

use super::net_layer::{Dense, NetPack, Tiles, Window};
use super::{net_body, net_first};

/// Fragments of matrices of `k` rows and `n` columns for `mma.m16n8k16`, `[n / block][k / 16][matrix][block / 16][lane][8]`:
/// what one lane hands to two products lies together. `at(matrix, row, column)`.
fn fragments(k: usize, n: usize, block: usize, matrices: usize, at: impl Fn(usize, usize, usize) -> f16) -> Vec<f16> {
    let mut out = Vec::with_capacity(matrices * k * n);
    for from in (0..n).step_by(block) {
        for step in (0..k).step_by(16) {
            for matrix in 0..matrices {
                for pair in (from..from + block).step_by(16) {
                    for lane in 0..32 {
                        let (column, row) = (pair + lane / 4, step + lane % 4 * 2);
                        for (half, r, e) in (0..8).map(|i| (i / 4, i / 2 % 2, i % 2)) {
                            out.push(at(matrix, row + 8 * r + e, column + 8 * half));
                        }
                    }
                }
            }
        }
    }
    out
}

impl NetPack<f16> for Cuda {
    fn net_pack(dense: &Dense<f16>, tiles: Tiles) -> Option<Vec<f16>> {
        let Dense { window, cin, cout, .. } = *dense;
        match window {
            // A row of the window is 9 pixels of 4 values, read as 12; see kernels/net_ends.cu.
            Window::First => {
                let at = |_: usize, row: usize, o: usize| {
                    let (u, v, c) = (row / 48, row / 4 % 12, row % 4);
                    if v < 9 && c < 3 { dense.at(0, c, u * 9 + v, o) } else { f16::ZERO }
                };
                let (_, chosen) = net_first::tile::<f16>(cout, tiles);
                (chosen == tiles).then(|| fragments(9 * 48, cout, cout, 1, at))
            }
            // 27 products of a column: 9 taps by 3 colours.
            Window::Last => {
                let at = |_: usize, row: usize, column: usize| {
                    let (u, c, v, o) = (row / cin, row % cin, column / 3, column % 3);
                    if column < 27 { dense.at(0, c, u * 9 + v, o) } else { f16::ZERO }
                };
                (tiles == Tiles::Wide).then(|| fragments(9 * cin, 32, 32, 1, at))
            }
            _ => {
                let (tile, chosen) = net_body::tile::<f16>(window, cin, cout, tiles).ok()?;
                let at = |phase: usize, row: usize, o: usize| dense.at(phase, row % cin, row / cin, o);
                let taps = window.side().pow(2);
                (chosen == tiles).then(|| fragments(taps * cin, cout, tile.channels, window.phases(), at))
            }
        }
    }
}

impl NetPack<f32> for Cuda {
    fn net_pack(dense: &Dense<f32>, tiles: Tiles) -> Option<Vec<f32>> {
        if tiles == Tiles::Small {
            return None;
        }
        let Dense { window, cin, cout, .. } = *dense;
        let taps = window.side().pow(2);
        if window == Window::Last {
            let four = |i: usize| [0, 1, 2, 3].map(|o| if o < 3 { dense.at(0, i / taps, i % taps, o) } else { 0.0 });
            return Some((0..cin * taps).flat_map(four).collect());
        }
        let block =
            if window == Window::First { 32 } else { net_body::tile::<f32>(window, cin, cout, tiles).ok()?.0.channels };
        // [phase][cout / block][cin][tap][block]
        let mut out = Vec::with_capacity(dense.values.len());
        for phase in 0..window.phases() {
            for from in (0..cout).step_by(block) {
                for (c, tap) in (0..cin * taps).map(|i| (i / taps, i % taps)) {
                    out.extend((from..from + block).map(|o| dense.at(phase, c, tap, o)));
                }
            }
        }
        Some(out)
    }
}
