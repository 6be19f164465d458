//! What a device could do at best, and at which clocks it was asked.

use std::process::Command;

use ::style::Precision;
use ::style::weights::StyleModel;

/// Operations and bytes of an input pixel, for the network 32 wide with five residual blocks: products with the four
/// phases of each upsampling layer, and every activation written and read once in f16.
const FLOP: f64 = 266_624.0;
const BYTES_F16: f64 = 886.0;

/// The same by layers, with what tensor cores compute in vain to fill up the 27 taps of a row of the first and the last
/// layer: operations, and bytes in f16. A residual block reads its input again and writes it, but for the first, whose
/// input the third layer's output gives.
const LAYERS: [(f64, f64); 16] = [
    (18_432.0, 67.0),
    (9_216.0, 96.0),
    (9_216.0, 48.0),
    (18_432.0, 32.0),
    (18_432.0, 32.0),
    (18_432.0, 64.0),
    (18_432.0, 32.0),
    (18_432.0, 64.0),
    (18_432.0, 32.0),
    (18_432.0, 64.0),
    (18_432.0, 32.0),
    (18_432.0, 64.0),
    (18_432.0, 32.0),
    (16_384.0, 64.0),
    (16_384.0, 96.0),
    (18_432.0, 67.0),
];

/// What a device does in a second at best.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    /// Operations on tensor cores, f16 with sums in f32.
    pub(super) half: f64,
    /// Operations in f32.
    pub(super) single: f64,
    /// Bytes from and to its memory.
    pub(super) bytes: f64,
}

impl Rates {
    /// Those of a device by its name. Large matrix products in f16 and copies as measured on an H200; f32 as its maker
    /// states.
    pub(super) fn of(name: &str) -> Option<Self> {
        name.contains("H200").then_some(Self { half: 790e12, single: 67e12, bytes: 4.3e12 })
    }
}

/// What pictures need at least.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    /// Operations, where they are known.
    pub(super) flop: Option<f64>,
    /// Bytes, where they are known.
    pub(super) bytes: Option<f64>,
    pixels: f64,
}

/// Seconds that a device needs at least.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floor {
    /// Layer by layer the longer of the two; where layers are not known, that of all operations.
    pub(super) seconds: f64,
    /// For the operations.
    pub(super) of_flop: f64,
    /// For the bytes.
    pub(super) of_bytes: Option<f64>,
}

impl Work {
    /// Of so many pictures of so many rows and columns.
    pub(super) fn of(model: &StyleModel, precision: Precision, [n, h, w]: [usize; 3]) -> Self {
        let pixels = (n * h * w) as f64;
        if let Some(shape) = model.transformer() {
            // It works on what pictures are continued to.
            let [h, w] = [h, w].map(|side| side.next_multiple_of(shape.multiple()));
            return Self { flop: Some(shape.flops_a_pixel() * (n * h * w) as f64), bytes: None, pixels };
        }
        let usual = model.nc() == 32 && model.residual_blocks() == 5;
        let bytes = BYTES_F16 * pixels * width(precision);
        Self { flop: usual.then_some(FLOP * pixels), bytes: usual.then_some(bytes), pixels }
    }

    /// The least time on a device.
    pub(super) fn floor(&self, rates: &Rates, precision: Precision) -> Option<Floor> {
        let flop_rate = if precision == Precision::F16 { rates.half } else { rates.single };
        let of_flop = self.flop? / flop_rate;
        let Some(bytes) = self.bytes else { return Some(Floor { seconds: of_flop, of_flop, of_bytes: None }) };
        let layer = |(flop, bytes): &(f64, f64)| (flop / flop_rate).max(bytes * width(precision) / rates.bytes);
        // Nothing is filled up in f32.
        let useful = if precision == Precision::F16 { 1.0 } else { FLOP / LAYERS.iter().map(|l| l.0).sum::<f64>() };
        let seconds = LAYERS.iter().map(|(flop, bytes)| layer(&(flop * useful, *bytes))).sum::<f64>() * self.pixels;
        Some(Floor { seconds, of_flop, of_bytes: Some(bytes / rates.bytes) })
    }
}

/// How many times as wide as in f16 activations are.
fn width(precision: Precision) -> f64 {
    if precision == Precision::F16 { 1.0 } else { 2.0 }
}

/// Clocks in MHz, now and at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clocks {
    pub(super) sm: [u32; 2],
    pub(super) memory: [u32; 2],
}

/// The clocks of a visible device as the driver's own tool tells them; none without it.
pub(super) fn clocks(ordinal: usize) -> Option<Clocks> {
    // The tool counts all devices, or takes their names.
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok().filter(|list| !list.is_empty());
    let device = match &visible {
        Some(list) => list.split(',').nth(ordinal)?.trim().to_owned(),
        None => ordinal.to_string(),
    };
    let query = "--query-gpu=clocks.sm,clocks.max.sm,clocks.mem,clocks.max.mem";
    let told =
        Command::new("nvidia-smi").args([query, "--format=csv,noheader,nounits", "-i", &device]).output().ok()?;
    parse(&String::from_utf8_lossy(&told.stdout))
}

fn parse(line: &str) -> Option<Clocks> {
    let all: Vec<u32> = line.trim().split(',').map(|n| n.trim().parse().ok()).collect::<Option<_>>()?;
    let &[sm, sm_most, memory, memory_most] = all.as_slice() else { return None };
    Some(Clocks { sm: [sm, sm_most], memory: [memory, memory_most] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_the_network() {
        let sum = |part: fn(&(f64, f64)) -> f64| LAYERS.iter().map(part).sum::<f64>();
        // 27 taps of a row are filled up to 32, in two layers of 15,552 operations.
        let filled = 2.0 * 15_552.0 * 5.0 / 27.0;
        assert_eq!((sum(|l| l.0), sum(|l| l.1)), (FLOP + filled, BYTES_F16));
    }

    #[test]
    fn floors_of_one_device() {
        let (model, rates) = (StyleModel::random(32, 5, 1), Rates::of("NVIDIA H200").unwrap());
        let floor = |precision, size| Work::of(&model, precision, size).floor(&rates, precision).unwrap();
        let half = floor(Precision::F16, [1, 1080, 1920]);
        // 266,624 operations and 886 bytes of 2,073,600 pixels; two layers wait for bytes.
        assert!((half.of_flop * 1e3 - 0.6998).abs() < 1e-3 && (half.of_bytes.unwrap() * 1e3 - 0.4273).abs() < 1e-3);
        assert!((half.seconds * 1e3 - 0.740).abs() < 1e-3, "{half:?}");
        let single = floor(Precision::F32, [8, 256, 256]);
        assert!((single.seconds - single.of_flop).abs() < 1e-9, "{single:?}");
        assert!(Rates::of("NVIDIA GeForce GT 1030").is_none());
    }

    #[test]
    fn clocks_are_read() {
        let clocks = Clocks { sm: [1830, 1980], memory: [3201, 3201] };
        assert_eq!(parse("1830, 1980, 3201, 3201\n"), Some(clocks));
        for bad in ["", "[N/A], 1980, 3201, 3201", "1, 2, 3", "No devices were found"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
