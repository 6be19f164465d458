//! Properties over random shapes and values, against plain f64 loops.
mod reference;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use reference::oracle::{self, Planes};
use style::cpu::*;

/// Numbers in −1..1.
fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn weights(base: usize, blocks: usize, seed: u64) -> Weights {
    let (a, b, c) = (base, 2 * base, 4 * base);
    let mut shapes = vec![(3, a, 9), (a, b, 3), (b, c, 3)];
    shapes.extend(std::iter::repeat_n((c, c, 3), 2 * blocks));
    shapes.extend([(c, b, 3), (b, a, 3), (a, 3, 9)]);
    let part = |k: usize, i: usize| seed + 100 * k as u64 + i as u64;
    let sized = |k: usize, i: usize, len: usize, scale: f32| -> Vec<f32> {
        noise(len, part(k, i)).iter().map(|x| x * scale).collect()
    };
    let mut weights = Weights { base_channels: base, residual_blocks: blocks, ..Weights::default() };
    for (i, &(cin, cout, k)) in shapes.iter().enumerate() {
        weights.kernels.push(sized(1, i, cin * cout * k * k, ((cin * k * k) as f32).sqrt().recip()));
        weights.biases.push(sized(2, i, cout, 1.0));
        if i + 1 < shapes.len() {
            weights.gammas.push(sized(3, i, cout, 0.5).iter().map(|x| x + 1.0).collect());
            weights.betas.push(sized(4, i, cout, 0.5));
        }
    }
    weights
}

fn image(len: usize, seed: u64) -> Vec<f32> {
    noise(len, seed).iter().map(|x| 127.5 * (x + 1.0)).collect()
}

fn in_pool<T: Send>(threads: usize, f: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
}

fn run(weights: &Weights, x: &[f32], shape: [usize; 4]) -> Vec<f32> {
    Network::new(weights).run(&mut Arena::new(), x, shape).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn convolution_is_within_its_bound(
        batch in 1usize..=3, cin in 1usize..=40, cout in 1usize..=70, kernel in prop::array::uniform2(0usize..5),
        stride in prop::array::uniform2(1usize..=2), extra in prop::array::uniform2(0usize..28), shift in 0usize..3,
        seed in 1u64..1000,
    ) {
        let [kh, kw] = kernel.map(|k| 2 * k + 1);
        let padding = (kh.max(kw) / 2).saturating_sub(shift);
        let [h, w] = [extra[0] + kh.max(padding + 1), extra[1] + kw.max(padding + 1)];
        let (x, weight) = (noise(batch * cin * h * w, seed), noise(cout * cin * kh * kw, seed + 1));
        let bias = noise(cout, seed + 2);
        let shape = [cout, cin, kh, kw];
        let params = ConvParams { weight: &weight, weight_shape: shape, bias: &bias, padding, stride, upsample: false };
        let (y, y_shape) = fused_conv_reflection_pad(&x, [batch, cin, h, w], &params).unwrap();
        let size = y.len() / batch;
        prop_assert_eq!(y_shape.iter().product::<usize>(), y.len());
        for (x, y) in x.chunks_exact(cin * h * w).zip(y.chunks_exact(size)) {
            let x = Planes::new(cin, h, w, x.iter().copied());
            let reference = oracle::conv(&x, &weight, shape, &bias, padding, stride, false);
            let bound = oracle::conv(&x, &weight, shape, &bias, padding, stride, true);
            let terms = (cin * kh * kw) as f64;
            for ((&y, r), b) in y.iter().zip(&reference.data).zip(&bound.data) {
                prop_assert!((f64::from(y) - r).abs() <= 2.0 * terms * 2f64.powi(-24) * b + 1e-6);
            }
        }
    }

    #[test]
    fn phases_are_upsampling_then_convolution(
        cin in 1usize..=40, cout in 1usize..=70, h in 1usize..14, w in 1usize..40, seed in 1u64..1000,
    ) {
        let (x, weight) = (noise(cin * h * w, seed), noise(cout * cin * 9, seed + 1));
        let bias = noise(cout, seed + 2);
        let shape = [cout, cin, 3, 3];
        let params =
            ConvParams { weight: &weight, weight_shape: shape, bias: &bias, padding: 1, stride: [1, 1], upsample: true };
        let (y, _) = fused_conv_reflection_pad(&x, [1, cin, h, w], &params).unwrap();
        let reference =
            oracle::conv(&Planes::new(cin, h, w, x).upsampled(), &weight, shape, &bias, 1, [1, 1], false);
        for (&y, r) in y.iter().zip(&reference.data) {
            prop_assert!((f64::from(y) - r).abs() <= 1e-5 * (1.0 + r.abs()));
        }
    }

    #[test]
    fn norm_and_residual_are_exact(
        channels in 1usize..5, h in 1usize..40, w in 1usize..40, offset in -1e4f32..1e4, sigma in 0.01f32..2.0,
        relu: bool, skip: bool, seed in 1u64..1000,
    ) {
        let x: Vec<f32> = noise(2 * channels * h * w, seed).iter().map(|v| v.mul_add(sigma, offset)).collect();
        let residual = noise(x.len(), seed + 1);
        let (gamma, beta) = (noise(channels, seed + 2), noise(channels, seed + 3));
        let norm = NormParams { gamma: &gamma, beta: &beta, eps: EPSILON };
        let y = instance_norm(&x, [2, channels, h, w], &norm, relu, skip.then_some(&residual)).unwrap();
        let parts = x.chunks_exact(channels * h * w).zip(residual.chunks_exact(channels * h * w));
        for ((x, residual), y) in parts.zip(y.chunks_exact(channels * h * w)) {
            let reference = oracle::norm(Planes::new(channels, h, w, x.iter().copied()), &gamma, &beta, relu);
            for (i, ((&y, r), &s)) in y.iter().zip(&reference.data).zip(residual).enumerate() {
                let r = r + if skip { f64::from(s) } else { 0.0 };
                prop_assert!((f64::from(y) - r).abs() <= 1e-5 * (1.0 + r.abs()), "{i}: {y} {r}");
            }
        }
    }

    /// What makes it a norm, however far the plane lies from zero.
    #[test]
    fn normed_planes_have_mean_zero_and_variance_one(
        channels in 1usize..5, h in 2usize..40, w in 2usize..40,
        (offset, sigma) in prop_oneof![Just((0.0f32, 1.0f32)), Just((-300.0, 4.0)), Just((1e4, 1e-2)), Just((-1e4, 1e-2))],
        seed in 1u64..1000,
    ) {
        let x: Vec<f32> = noise(channels * h * w, seed).iter().map(|v| v.mul_add(sigma, offset)).collect();
        let gamma: Vec<f32> = noise(channels, seed + 1).iter().map(|v| v + v.signum() / 2.0).collect();
        let beta = noise(channels, seed + 2);
        let norm = NormParams { gamma: &gamma, beta: &beta, eps: EPSILON };
        let y = instance_norm(&x, [1, channels, h, w], &norm, false, None).unwrap();
        let statistics = |values: &mut dyn Iterator<Item = f64>| {
            let values: Vec<f64> = values.collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64)
        };
        for (c, (x, y)) in x.chunks_exact(h * w).zip(y.chunks_exact(h * w)).enumerate() {
            let (_, before) = statistics(&mut x.iter().map(|&v| v.into()));
            let (g, b) = (f64::from(gamma[c]), f64::from(beta[c]));
            let (mean, variance) = statistics(&mut y.iter().map(|&v| (f64::from(v) - b) / g));
            // One, but for the eps inside the root.
            let one = before / (before + EPSILON);
            prop_assert!(mean.abs() <= 1e-5 && (variance - one).abs() <= 1e-5, "{c}: {mean:e}, {variance} for {one}");
        }
    }

    #[test]
    fn network_is_the_oracle(
        base in 1usize..=9, blocks in 0usize..=2, h in 5usize..=30, w in 5usize..=30, seed in 1u64..1000,
    ) {
        let weights = weights(base, blocks, seed);
        let x = image(3 * h * w, seed);
        let y = run(&weights, &x, [1, 3, h, w]);
        let reference = oracle::network(&weights, Planes::new(3, h, w, x));
        prop_assert_eq!(y.len(), reference.data.len());
        // Planes of few pixels can have variances near zero, which enlarge every rounding error before them.
        let tolerance = if h.min(w) > 12 { 1e-4 } else { 5e-3 };
        for (&y, r) in y.iter().zip(&reference.data) {
            prop_assert!((f64::from(y) - r).abs() <= tolerance * (1.0 + r.abs()), "{} {}", y, r);
        }
    }
}

#[test]
fn flat_planes_give_beta() {
    let norm = NormParams { gamma: &[3.0, -2.0], beta: &[0.3, 0.7], eps: EPSILON };
    for pixels in [1, 2, 15, 16, 17, 1000, 4099] {
        let x: Vec<f32> = [1234.567f32, -0.1].iter().flat_map(|&v| vec![v; pixels]).collect();
        let y = instance_norm(&x, [1, 2, 1, pixels], &norm, false, None).unwrap();
        assert!(y[..pixels].iter().all(|&v| v == 0.3) && y[pixels..].iter().all(|&v| v == 0.7), "{pixels}");
    }
}

#[test]
fn fused_forms_are_their_parts() {
    let (c, h, w) = (20, 13, 11);
    let x = noise(2 * c * h * w, 1);
    let shape = [2, c, h, w];
    let weight = [noise(c * c * 9, 2), noise(c * c * 9, 3)];
    let (bias, gamma, beta) = (noise(c, 4), noise(c, 5), noise(c, 6));
    let norm = NormParams { gamma: &gamma, beta: &beta, eps: EPSILON };
    let part = |weight| {
        let weight_shape = [c, c, 3, 3];
        let conv = ConvParams { weight, weight_shape, bias: &bias, padding: 1, stride: [1, 1], upsample: false };
        ConvNormParams { conv, norm }
    };
    let (first, second) = (part(&weight[0]), part(&weight[1]));
    let (raw, raw_shape) = fused_conv_reflection_pad(&x, shape, &first.conv).unwrap();
    let inner = instance_norm(&raw, raw_shape, &norm, true, None).unwrap();
    let (fused, _) = fused_conv_instancenorm(&x, shape, &first, true).unwrap();
    assert!(reference::distance(&fused, &inner) < 1e-5);
    let (raw, _) = fused_conv_reflection_pad(&inner, shape, &second.conv).unwrap();
    let outer = instance_norm(&raw, shape, &norm, false, Some(&x)).unwrap();
    let block = fused_residual_block(&x, shape, &first, &second).unwrap();
    assert!(reference::distance(&block, &outer) < 1e-5);
}

#[test]
fn same_bits_for_any_threads_runs_and_batch() {
    let weights = weights(8, 2, 5);
    let (h, w) = (93, 150);
    let x = image(3 * 3 * h * w, 9);
    let reference = in_pool(1, || run(&weights, &x, [3, 3, h, w]));
    for threads in [2, 3, 7] {
        assert_eq!(in_pool(threads, || run(&weights, &x, [3, 3, h, w])), reference, "{threads} threads");
    }
    let (network, mut arena) = (Network::new(&weights), Arena::new());
    let singles: Vec<f32> =
        x.chunks_exact(3 * h * w).flat_map(|x| network.run(&mut arena, x, [1, 3, h, w]).unwrap()).collect();
    assert_eq!(singles, reference);
    // A used arena, even one that held a larger image, changes nothing.
    let small = image(3 * 40 * 40, 2);
    assert_eq!(
        network.run(&mut arena, &small, [1, 3, 40, 40]).unwrap(),
        network.run(&mut Arena::new(), &small, [1, 3, 40, 40]).unwrap()
    );
}

#[test]
fn wide_images_split_into_passes() {
    // Wider than every pass of columns, and enough tiles for the larger Winograd pass.
    let weights = weights(4, 1, 3);
    let (h, w) = (61, 1203);
    let x = image(3 * h * w, 4);
    let y = run(&weights, &x, [1, 3, h, w]);
    let reference = oracle::network(&weights, Planes::new(3, h, w, x));
    for (&y, r) in y.iter().zip(&reference.data) {
        assert!((f64::from(y) - r).abs() <= 1e-4 * (1.0 + r.abs()), "{y} {r}");
    }
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn invariances() {
    let (h, w) = (44, 52);
    let x = image(3 * h * w, 8);
    for style in ["candy", "mosaic", "pointilism", "rain_princess"] {
        let mut weights = reference::weights(&format!("weights/{style}.safetensors"));
        let reference = run(&weights, &x, [1, 3, h, w]);
        let shifted: Vec<f32> = x.iter().enumerate().map(|(i, v)| v + [10.0, -20.0, 5.0][i / (h * w)]).collect();
        let error = reference::distance(&run(&weights, &shifted, [1, 3, h, w]), &reference);
        assert!(error < 5e-4, "{style}, shifted colours: {error}");
        let scaled: Vec<f32> = x.iter().map(|v| v / 255.0).collect();
        let scaled = run(&weights, &scaled, [1, 3, h, w]);
        let error = scaled.iter().zip(&reference).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // The eps of the first norm (under 1e-3), and roundings: 128 is taken from every value, which leaves one of 0..1
        // seven bits fewer than one of 0..255.
        assert!(error < 0.1, "{style}, 0..1 input: {error}");
        let last = weights.biases.len() - 1;
        weights.biases[..last].iter_mut().for_each(|b| b.fill(1e3));
        assert_eq!(run(&weights, &x, [1, 3, h, w]), reference, "{style}, biases before norms");
        let flat: Vec<f32> = [12.0, 200.0, 77.0].iter().flat_map(|&c| vec![c; h * w]).collect();
        for plane in run(&weights, &flat, [1, 3, h, w]).chunks_exact(h * w) {
            assert!(plane.iter().all(|v| *v == plane[0]), "{style}, one colour");
        }
    }
}

#[test]
fn bytes_are_the_clamped_truncated_crop() {
    let network = Network::new(&weights(8, 1, 11));
    let (h, w) = (27, 39);
    let rgb: Vec<u8> = image(3 * h * w, 12).iter().map(|&v| v as u8).collect();
    let mut arena = Arena::new();
    let planes = network.run(&mut arena, &reference::to_planes(&rgb), [1, 3, h, w]).unwrap();
    let mut bytes = vec![0; rgb.len()];
    network.run_rgb(&mut arena, &rgb, [h, w], &mut bytes).unwrap();
    let [oh, ow] = Network::output_size(h, w);
    assert_eq!([oh, ow], [28, 40]);
    for (i, &byte) in bytes.iter().enumerate() {
        let (c, x, y) = (i % 3, i / 3 % w, i / 3 / w);
        assert_eq!(byte, planes[(c * oh + y) * ow + x].clamp(0.0, 255.0) as u8);
    }
}

#[test]
fn bad_shapes_are_errors() {
    let network = Network::new(&weights(4, 1, 1));
    let mut arena = Arena::new();
    for (h, w) in [(0, 9), (4, 9), (9, 4), (1, 1)] {
        let result = network.run(&mut arena, &vec![0.0; 3 * h * w], [1, 3, h, w]);
        assert_eq!(result, Err(ShapeError::InputTooSmall { height: h, width: w }));
    }
    assert!(network.run(&mut arena, &[0.0; 10], [1, 3, 5, 5]).is_err());
    assert!(network.run(&mut arena, &[0.0; 100], [1, 4, 5, 5]).is_err());
    assert_eq!(network.run(&mut arena, &[], [0, 3, 5, 5]), Ok(Vec::new()));
    let params = |padding| ConvParams {
        weight: &[1.0; 9],
        weight_shape: [1, 1, 3, 3],
        bias: &[0.0],
        padding,
        stride: [1, 1],
        upsample: false,
    };
    let x = [0.0; 9];
    assert!(fused_conv_reflection_pad(&x, [1, 1, 3, 3], &params(2)).is_ok());
    assert_eq!(fused_conv_reflection_pad(&x, [1, 1, 3, 3], &params(3)), Err(ShapeError::BadGeometry));
    assert!(fused_conv_reflection_pad(&x, [1, 2, 3, 3], &params(1)).is_err());
    // Sizes whose product is more than a number holds; some of them wrap around to what is there.
    let huge = 1 << (usize::BITS / 2);
    assert_eq!(network.run(&mut arena, &[], [0, 3, usize::MAX, huge]), Ok(Vec::new()));
    assert!(fused_conv_reflection_pad(&[], [0, 1, usize::MAX, huge], &params(1)).is_err());
    for shape in [[huge, 1, huge, 3], [1, 1, usize::MAX, 9], [huge, 3, huge, huge]] {
        assert!(fused_conv_reflection_pad(&[], shape, &params(1)).is_err(), "{shape:?}");
        assert!(network.run(&mut arena, &[], shape).is_err(), "{shape:?}");
        let norm = NormParams { gamma: &[1.0; 3], beta: &[0.0; 3], eps: EPSILON };
        assert!(instance_norm(&[], shape, &norm, false, None).is_err(), "{shape:?}");
    }
}

#[test]
fn memory_per_pixel_is_bounded() {
    let network = Network::new(&weights(32, 1, 1));
    let mut arena = Arena::new();
    for side in [256usize, 512] {
        let x = image(3 * side * side, 1);
        in_pool(2, || network.run(&mut arena, &x, [1, 3, side, side]).unwrap());
        // The raw output adds 12 bytes a pixel.
        let held = arena.bytes() as f64 / (side * side) as f64 + 12.0;
        assert!(held <= 300.0, "{side}: {held}");
    }
}

/// A network without a state gives the first frame's picture; frozen statistics give what the first frame's would, and a
/// running mean lies in between.
#[test]
fn statistics_of_frames_before_are_used_when_asked_for() {
    // The largest difference, beside the largest value.
    let largest = |a: &mut dyn Iterator<Item = f32>| a.fold(0.0, |most: f32, v| most.max(v.abs()));
    let distance =
        |a: &[f32], b: &[f32]| largest(&mut a.iter().zip(b).map(|(a, b)| a - b)) / largest(&mut b.iter().copied());
    let network = Network::new(&weights(8, 1, 5));
    let frame =
        |k: usize| -> Vec<f32> { (0..3 * 24 * 20).map(|i| ((i * 37 + i / 13 * 11) % (100 + 50 * k)) as f32).collect() };
    let shape = [1, 3, 24, 20];
    let alone: Vec<_> = (0..2).map(|k| network.run(&mut Arena::new(), &frame(k), shape).unwrap()).collect();
    let after = |of: Statistics| {
        let mut arena = Arena::new();
        arena.set_statistics(of);
        let first = network.run(&mut arena, &frame(0), shape).unwrap();
        assert_eq!(first, alone[0], "{of:?}: the first frame has none before it");
        // The first frame once more is the same once more: nothing drifts.
        assert!(distance(&network.run(&mut arena, &frame(0), shape).unwrap(), &first) < 1e-3, "{of:?}");
        network.run(&mut arena, &frame(1), shape).unwrap()
    };
    assert_eq!(after(Statistics::Frame), alone[1]);
    assert_eq!(after(Statistics::Average(0.0)), alone[1]);
    let (frozen, half) = (after(Statistics::Frozen), after(Statistics::Average(0.5)));
    assert!(distance(&frozen, &alone[1]) > 0.01 && distance(&half, &alone[1]) > 0.005);
    assert!(distance(&half, &alone[1]) < distance(&frozen, &alone[1]));
    assert!(distance(&after(Statistics::Average(0.999_999)), &frozen) < 1e-2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// However few rows are in memory at once, the result has the same bits.
    #[test]
    fn strips_change_no_bit(h in 5..90_usize, w in 5..40_usize, base in prop_oneof![Just(4_usize), Just(16)], blocks in 0..3_usize, bytes in prop_oneof![Just(0_usize), Just(200_000), Just(1 << 30)]) {
        let network = Network::new(&weights(base, blocks, 9));
        let folder = tempfile::tempdir().unwrap();
        let x = image(3 * h * w, 3);
        let whole = network.run(&mut Arena::new(), &x, [1, 3, h, w]).unwrap();
        let mut arena = Arena::new();
        arena.set_strips(Some(Strips { folder: folder.path().to_owned(), bytes }));
        prop_assert_eq!(&network.run(&mut arena, &x, [1, 3, h, w]).unwrap(), &whole);
        let rgb: Vec<u8> = x.iter().map(|v| *v as u8).collect();
        let (mut in_memory, mut in_strips) = (vec![0; 3 * h * w], vec![0; 3 * h * w]);
        network.run_rgb(&mut Arena::new(), &rgb, [h, w], &mut in_memory).unwrap();
        network.run_rgb(&mut arena, &rgb, [h, w], &mut in_strips).unwrap();
        prop_assert_eq!(in_strips, in_memory);
        // Nothing is left behind, and activations stay out of memory.
        prop_assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let network = Network::new(&weights(4, 1, 9));
    let mut arena = Arena::new();
    arena.set_strips(Some(Strips { folder: "/nowhere/at/all".into(), bytes: 1 }));
    let refused = network.run(&mut arena, &image(3 * 64, 1), [1, 3, 8, 8]).unwrap_err();
    assert_eq!(refused, ShapeError::ScratchFile(std::io::ErrorKind::NotFound));
    assert!(refused.to_string().contains("TMPDIR"));
}
