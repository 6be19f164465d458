//! What a device could do at best, and at which clocks it was asked.

use std::process::Command;

use ::style::Precision;
use ::style::weights::StyleModel;
use gpu_core::{Arch, Device};

/// Operations and bytes of a layer, for a pixel of the picture: products with the four phases of each upsampling layer,
/// and every activation written and read once in f16.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Layer {
    flop: f64,
    /// With what tensor cores compute in vain to fill up the 27 taps of a row of the first and the last layer.
    filled: f64,
    bytes: f64,
}

/// The layers of a convolutional network. A residual block reads its input again and writes it, but for the first, whose
/// input the third layer's output gives.
fn layers(nc: usize, blocks: usize) -> Vec<Layer> {
    let n = nc as f64;
    let plain = |flop: f64, bytes: f64| Layer { flop, filled: flop, bytes: bytes * n };
    // Three bytes of the picture, and a plane of every channel.
    let end = Layer { flop: 486.0 * n, filled: 576.0 * n, bytes: 3.0 + 2.0 * n };
    let mut all = vec![end, plain(9.0 * n * n, 3.0), plain(9.0 * n * n, 1.5)];
    for block in 0..blocks {
        all.extend([if block == 0 { 1.0 } else { 2.0 }, 1.0].map(|planes| plain(18.0 * n * n, planes)));
    }
    all.extend([plain(16.0 * n * n, 2.0), plain(16.0 * n * n, 3.0), end]);
    all
}

/// What a device does in a second at best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rates {
    /// Operations on tensor cores, f16 with sums in f32; none where there are no such cores.
    pub(super) half: Option<f64>,
    /// Operations in f32.
    pub(super) single: f64,
    /// Bytes from and to its memory.
    pub(super) bytes: f64,
    /// From what the driver states of the device, and not measured: real work stays further below.
    pub(super) estimated: bool,
}

impl Rates {
    /// Those of a device: measured where one was, otherwise estimated; none of a processor.
    pub(super) fn of(device: &Device) -> Option<Self> {
        // Large matrix products in f16 and copies as measured on a whole one; f32 as its maker states.
        if device.name.contains(" H200") && device.units == 132 {
            return Some(Self { half: Some(790e12), single: 67e12, bytes: 4.3e12, estimated: false });
        }
        let (arch, clocks) = (device.arch?, device.clocks?);
        let cycles = device.units as f64 * 1e3 * f64::from(clocks.units_khz);
        let (half, single) = each_cycle(arch)?;
        Some(Self {
            half: half.map(|flop| flop * cycles),
            single: single * cycles,
            bytes: clocks.bytes_per_second(),
            estimated: true,
        })
    }
}

/// Operations of a multiprocessor in a cycle, by its maker's tables: f16 on tensor cores with sums in f32, and f32. Of
/// variants with whole and with halved cores the whole ones, so that no device is above its floor.
fn each_cycle(arch: Arch) -> Option<(Option<f64>, f64)> {
    Some(match (arch.major, arch.minor) {
        (6, 0) => (None, 128.0),
        (5 | 6, _) => (None, 256.0),
        (7, _) => (Some(1024.0), 128.0),
        (8, 0) => (Some(2048.0), 128.0),
        (8, 7) => (Some(2048.0), 256.0),
        (8 | 12, _) => (Some(1024.0), 256.0),
        (9, _) => (Some(4096.0), 256.0),
        (10 | 11, _) => (Some(8192.0), 256.0),
        _ => return None,
    })
}

/// What pictures need at least.
#[derive(Clone, Debug)]
pub(super) struct Work {
    /// Operations.
    pub(super) flop: f64,
    /// Bytes, where they are known.
    pub(super) bytes: Option<f64>,
    /// Those of a pixel by layers, where they are known.
    layers: Vec<Layer>,
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
            let flop = shape.flops_a_pixel() * (n * h * w) as f64;
            return Self { flop, bytes: None, layers: Vec::new(), pixels };
        }
        let layers = layers(model.nc(), model.residual_blocks());
        let sum = |part: fn(&Layer) -> f64| layers.iter().map(part).sum::<f64>() * pixels;
        let (flop, bytes) = (sum(|l| l.flop), sum(|l| l.bytes) * width(precision));
        Self { flop, bytes: Some(bytes), layers, pixels }
    }

    /// The least time on a device.
    pub(super) fn floor(&self, rates: &Rates, precision: Precision) -> Option<Floor> {
        let half = precision == Precision::F16;
        let flop_rate = if half { rates.half? } else { rates.single };
        let of_flop = self.flop / flop_rate;
        let Some(bytes) = self.bytes else { return Some(Floor { seconds: of_flop, of_flop, of_bytes: None }) };
        let layer = |l: &Layer| {
            // Nothing is filled up in f32.
            let flop = if half { l.filled } else { l.flop };
            (flop / flop_rate).max(l.bytes * width(precision) / rates.bytes)
        };
        let seconds = self.layers.iter().map(layer).sum::<f64>() * self.pixels;
        Some(Floor { seconds, of_flop, of_bytes: Some(bytes / rates.bytes) })
    }
}

/// How many times as wide as in f16 activations are.
fn width(precision: Precision) -> f64 {
    if precision == Precision::F16 { 1.0 } else { 2.0 }
}

/// Clocks in MHz, now and at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClocksNow {
    pub(super) sm: [u32; 2],
    pub(super) memory: [u32; 2],
}

/// The clocks of a visible device as the driver's own tool tells them; none without it.
pub(super) fn clocks(ordinal: usize) -> Option<ClocksNow> {
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

fn parse(line: &str) -> Option<ClocksNow> {
    let all: Vec<u32> = line.trim().split(',').map(|n| n.trim().parse().ok()).collect::<Option<_>>()?;
    let &[sm, sm_most, memory, memory_most] = all.as_slice() else { return None };
    Some(ClocksNow { sm: [sm, sm_most], memory: [memory, memory_most] })
}

#[cfg(test)]
mod tests {
    use gpu_core::Clocks;

    use super::*;

    #[test]
    fn layers_are_the_network() {
        let sum = |nc, blocks, part: fn(&Layer) -> f64| layers(nc, blocks).iter().map(part).sum::<f64>();
        // The public models; 27 taps of a row are filled up to 32, in two layers of 15,552 operations.
        assert_eq!((sum(32, 5, |l| l.flop), sum(32, 5, |l| l.bytes)), (266_624.0, 886.0));
        assert_eq!(sum(32, 5, |l| l.filled) - 266_624.0, 2.0 * 15_552.0 * 5.0 / 27.0);
        assert_eq!(sum(16, 5, |l| l.flop), 74_432.0);
        // As the network is defined, but for upsampling: 4 of 9 products with phases.
        for (nc, blocks) in [(32, 5), (16, 5), (8, 1), (7, 3)] {
            let model = StyleModel::random(nc, blocks, 1);
            let n = nc as f64;
            let defined = crate::style::info::flops_a_pixel(&model) - 2.0 * (36.0 - 16.0) * n * n;
            assert_eq!(sum(nc, blocks, |l| l.flop), defined, "{nc} {blocks}");
        }
    }

    fn device(name: &str, units: usize, arch: (u32, u32), [units_mhz, memory_mhz, memory_bits]: [u32; 3]) -> Device {
        let mut device = Device::new(name, 0);
        (device.units, device.arch) = (units, Some(Arch { major: arch.0, minor: arch.1 }));
        device.clocks = Some(Clocks { units_khz: 1000 * units_mhz, memory_khz: 1000 * memory_mhz, memory_bits });
        device
    }

    #[test]
    fn floors_of_a_measured_device() {
        let h200 = device("NVIDIA H200", 132, (9, 0), [1980, 3201, 6144]);
        let (model, rates) = (StyleModel::random(32, 5, 1), Rates::of(&h200).unwrap());
        assert!(!rates.estimated);
        let floor = |precision, size| Work::of(&model, precision, size).floor(&rates, precision).unwrap();
        let half = floor(Precision::F16, [1, 1080, 1920]);
        // 266,624 operations and 886 bytes of 2,073,600 pixels; two layers wait for bytes.
        assert!((half.of_flop * 1e3 - 0.6998).abs() < 1e-3 && (half.of_bytes.unwrap() * 1e3 - 0.4273).abs() < 1e-3);
        assert!((half.seconds * 1e3 - 0.740).abs() < 1e-3, "{half:?}");
        let single = floor(Precision::F32, [8, 256, 256]);
        assert!((single.seconds - single.of_flop).abs() < 1e-9, "{single:?}");
    }

    /// What makers state of whole devices, in Tflop/s of f16 and f32 and GB/s.
    #[test]
    fn rates_of_other_devices_are_estimated() {
        for (name, units, arch, clocks, [half, single, bytes]) in [
            ("Tesla V100-SXM2-16GB", 80, (7, 0), [1530, 877, 4096], [125.0, 15.7, 898.0]),
            ("NVIDIA A100-SXM4-40GB", 108, (8, 0), [1410, 1215, 5120], [312.0, 19.5, 1555.0]),
            ("NVIDIA H100 80GB HBM3", 132, (9, 0), [1830, 2619, 5120], [989.4, 61.8, 3352.0]),
            ("NVIDIA GH200 480GB", 132, (9, 0), [1830, 2619, 6144], [989.4, 61.8, 4023.0]),
            // Part of a device that was measured as a whole.
            ("NVIDIA H200 MIG 1g.18gb", 16, (9, 0), [1830, 3201, 6144], [119.9, 7.5, 4917.0]),
        ] {
            let rates = Rates::of(&device(name, units, arch, clocks)).unwrap();
            let near = |rate: f64, stated: f64| (rate / stated - 1.0).abs() < 0.01;
            assert!(rates.estimated && near(rates.half.unwrap(), half * 1e12), "{name}: {rates:?}");
            assert!(near(rates.single, single * 1e12) && near(rates.bytes, bytes * 1e9), "{name}: {rates:?}");
        }
        let old = Rates::of(&device("NVIDIA GeForce GT 1030", 3, (6, 1), [1468, 3004, 64])).unwrap();
        let model = StyleModel::random(16, 5, 1);
        let floor = |precision| Work::of(&model, precision, [1, 9, 9]).floor(&old, precision);
        assert!(floor(Precision::F16).is_none() && floor(Precision::F32).is_some());
        // A processor, a driver that tells no clocks, and what nobody has seen yet.
        let mut silent = device("NVIDIA A100-SXM4-40GB", 108, (8, 0), [1410, 1215, 5120]);
        silent.clocks = None;
        for unknown in [Device::new("a processor", 0), silent, device("NVIDIA X", 900, (99, 0), [1, 1, 1])] {
            assert_eq!(Rates::of(&unknown), None, "{unknown:?}");
        }
    }

    #[test]
    fn clocks_are_read() {
        let clocks = ClocksNow { sm: [1830, 1980], memory: [3201, 3201] };
        assert_eq!(parse("1830, 1980, 3201, 3201\n"), Some(clocks));
        for bad in ["", "[N/A], 1980, 3201, 3201", "1, 2, 3", "No devices were found"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
