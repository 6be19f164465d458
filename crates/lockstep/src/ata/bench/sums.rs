//! Sums over windows: right sides and Gram matrices.

use ata_wmma::kernels::{self, AtaBackend, BlockList};
use ata_wmma::{AREA, DevicePatterns, FrameLayout, Patterns, Scale, Transfer};
use gpu_core::Tensor;

use super::clock::Caches;
use super::{Row, Runner, percentiles};
use crate::exit::Result;

/// Patterns, pixels, sums.
type RightSides<B> = (DevicePatterns<B>, Tensor<B, u8, 1>, Tensor<B, u64, 1>);
/// Patterns, pairs of block rows, sums.
type Gram<B> = (DevicePatterns<B>, BlockList<B>, Tensor<B, u32, 1>);

impl Runner<'_> {
    /// `Mᵀ frames` of eight frames, patterns and frames on the device.
    pub(super) fn right_sides<B: AtaBackend>(&mut self, b: &B, patterns: &Patterns) -> Result<()> {
        let frames = 8;
        let [width, height] = patterns.size();
        let len = frames * patterns.channels() * width * height;
        let pixels: Vec<u8> = (0..len).map(|i| (i * 31 + i / 800 * 7) as u8).collect();
        let device = DevicePatterns::new(b, patterns)?;
        let pixels = Tensor::from_slice(b, [len], &pixels)?;
        let sums = Tensor::<B, u64, 1>::zeros(b, [frames * patterns.channels() * patterns.n()])?;
        let run = |b: &B, (device, pixels, sums): &mut RightSides<B>| {
            kernels::atb_u8(b, device, pixels.flat(), FrameLayout::Planar, &Transfer::Identity, sums.flat_mut())
        };
        let mut state = (device, pixels, sums);
        run(b, &mut state)?;
        b.synchronize()?;
        let mut recorded = b.capture(state, run)?;
        let samples = (self.args.samples as usize).min(if B::NAME == "cpu" { 20 } else { 1000 });
        for &caches in Caches::of(B::NAME) {
            let times = percentiles(self.measure(b, samples, 1, caches, |b| recorded.replay(b))?);
            let window = patterns.window() * patterns.window();
            let flop = 2.0 * (frames * patterns.channels() * patterns.n() * window) as f64;
            let bytes = (patterns.data().len() + len) as f64;
            let (what, variant) = ("atb".to_owned(), caches.name().to_owned());
            self.row(&Row { case: "G10", what, precision: "u8", frames, variant, times, bytes, flop });
        }
        Ok(())
    }

    /// The exact Gram matrix: the sums on the device, and the whole with transfers and packing.
    pub(super) fn gram<B: AtaBackend>(&mut self, b: &B, patterns: &Patterns) -> Result<()> {
        let list = patterns.block_list();
        let device = DevicePatterns::new(b, patterns)?;
        let blocks = BlockList::new(b, patterns.n(), &list)?;
        let sums = Tensor::<B, u32, 1>::scratch(b, [patterns.channels() * list.len() * AREA])?;
        let run =
            |b: &B, (device, blocks, sums): &mut Gram<B>| kernels::gram_u8_into(b, device, blocks, sums.flat_mut());
        let mut state = (device, blocks, sums);
        run(b, &mut state)?;
        b.synchronize()?;
        let mut recorded = b.capture(state, run)?;
        let samples = (self.args.samples as usize).min(10);
        let times = percentiles(self.measure(b, samples, 1, Caches::Warm, |b| recorded.replay(b))?);
        let bytes = (patterns.data().len() + 4 * AREA * list.len() * patterns.channels()) as f64;
        let row = |what: &str, times| Row {
            case: "G11",
            what: what.to_owned(),
            precision: "u8",
            frames: 0,
            variant: String::new(),
            times,
            bytes,
            flop: 0.0,
        };
        self.row(&row("gram", times));
        let whole = self.measure(b, samples.min(5), 1, Caches::Warm, |b| {
            patterns.gram(b, Scale::Unit).map(drop).map_err(super::core)
        })?;
        self.row(&row("gram with transfers", percentiles(whole)));
        Ok(())
    }
}
