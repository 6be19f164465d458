//! The network on CUDA against the float64 reference.
#![cfg(feature = "cuda")]

mod reference;

use gpu_core::testing::cuda;
use ndarray::{Array4, ArrayView3, ArrayView4};
use reference::{data, distance, names, picture, tensors, to_planes};
use style::weights::StyleModel;
use style::{Engine, EngineOptions, Precision, SizePolicy};

/// Every layer of `F32`: |Δ| ≤ 1e-4 (1 + |ref|).
const EACH: f32 = 1e-4;

/// What `F16` may be off by, relative, where planes of the body have fewer than 64 pixels (down to 4): the variance of a
/// few values can be small beside their mean, and the norm enlarges the rounding errors of f16 by that ratio.
const FEW_PIXELS: f64 = 2e-2;

fn engine(path: &str, precision: Precision) -> Engine<gpu_core::Cuda> {
    let model = StyleModel::load(data().join(path)).unwrap();
    let options = EngineOptions { precision: Some(precision), ..EngineOptions::default() };
    let engine = Engine::with(&cuda(), &model, options).unwrap();
    assert_eq!(engine.precision(), precision);
    engine
}

/// rms(Δ) / rms(reference).
fn relative(found: &[f32], reference: &[f32]) -> f64 {
    assert_eq!(found.len(), reference.len());
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let difference = square(&mut found.iter().zip(reference).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    (difference / square(&mut reference.iter().map(|&v| f64::from(v))).max(1e-12)).sqrt()
}

fn layers(weights: &str, golden: &str, precision: Precision) {
    let mut engine = engine(weights, precision);
    let golden = tensors(golden);
    for input in golden.keys().filter(|key| key.ends_with("/input")) {
        let case = input.trim_end_matches("/input");
        // A picture of one colour is computed in f32 whatever was asked for; `activations` shows f16.
        if precision == Precision::F16 && case == "const" {
            continue;
        }
        let (shape, x) = &golden[input];
        let x = ArrayView4::from_shape((shape[0], shape[1], shape[2], shape[3]), x).unwrap();
        let (activations, output) = engine.activations(x).unwrap();
        let blocks = (activations.len() - 5) / 2;
        let loose = shape[2].div_ceil(4) * shape[3].div_ceil(4) < 64;
        let (convs, norms) = names(blocks);
        let mut seen = 0;
        for (i, activation) in activations.iter().enumerate() {
            let finished = match norms[i].strip_prefix("in") {
                Some(k) => format!("relu{k}"),
                None => norms[i].replace(".in1", ".relu").replace(".in2", ""),
            };
            for (name, found) in [(&convs[i], &activation.raw), (&finished, &activation.finished)] {
                let Some((shape, reference)) = golden.get(&format!("{case}/{name}")) else { continue };
                assert_eq!(found.shape(), shape);
                let found = found.as_slice().unwrap();
                let (error, allowed) = match precision {
                    Precision::F32 => (f64::from(distance(found, reference)), f64::from(EACH)),
                    // The last two layers, behind the residual blocks, may be off by more.
                    Precision::F16 if loose => (relative(found, reference), FEW_PIXELS),
                    Precision::F16 => (relative(found, reference), if i < 3 + 2 * blocks { 2e-3 } else { 5e-3 }),
                };
                seen += 1;
                assert!(error <= allowed, "{case}/{name}: {error:e}, allowed {allowed:e}");
            }
        }
        let (_, reference) = &golden[&format!("{case}/output")];
        let output = output.as_slice().unwrap();
        let (error, allowed) = match precision {
            Precision::F32 => (f64::from(distance(output, reference)), f64::from(EACH)),
            Precision::F16 => (relative(output, reference), if loose { FEW_PIXELS } else { 5e-3 }),
        };
        assert!(error <= allowed, "{case}/output: {error:e}, allowed {allowed:e}");
        assert!(seen >= 6, "{case}: only {seen} tensors compared");
    }
}

#[test]
#[ignore = "needs a CUDA device and LOCKSTEP_DATA"]
fn golden_tiny_layers_in_single_on_cuda() {
    layers("formats/tiny.safetensors", "golden/tiny_layers.safetensors", Precision::F32);
}

#[test]
#[ignore = "needs a CUDA device and LOCKSTEP_DATA"]
fn golden_tiny_layers_in_half_on_cuda() {
    layers("formats/tiny.safetensors", "golden/tiny_layers.safetensors", Precision::F16);
}

#[test]
#[ignore = "needs a CUDA device and LOCKSTEP_DATA"]
fn golden_candy_layers_in_single_on_cuda() {
    layers("weights/candy.safetensors", "golden/candy_layers_32x48.safetensors", Precision::F32);
    layers("weights/candy.safetensors", "golden/candy_layers_37x53.safetensors", Precision::F32);
}

#[test]
#[ignore = "needs a CUDA device and LOCKSTEP_DATA"]
fn golden_candy_layers_in_half_on_cuda() {
    layers("weights/candy.safetensors", "golden/candy_layers_32x48.safetensors", Precision::F16);
    layers("weights/candy.safetensors", "golden/candy_layers_37x53.safetensors", Precision::F16);
}

/// The contract of a precision on the clamped output, and on the bytes.
#[allow(clippy::print_stdout)]
fn pictures(precision: Precision) {
    for (style, content) in [
        ("candy", "astronaut_256"),
        ("mosaic", "astronaut_256"),
        ("pointilism", "astronaut_256"),
        ("rain_princess", "astronaut_256"),
        ("candy", "chelsea_451x300"),
    ] {
        let mut engine = engine(&format!("weights/{style}.safetensors"), precision);
        let (rgb, h, w) = picture(&format!("content/{content}.png"));
        let x = Array4::from_shape_vec((1, 3, h, w), to_planes(&rgb)).unwrap();
        let out = engine.run_f32(x.view()).unwrap();
        let golden = tensors(&format!("golden/{style}_{content}.safetensors"));
        let (shape, reference) = &golden["output"];
        assert_eq!(out.shape(), shape);
        let (mut worst, mut square) = (0.0f64, 0.0f64);
        for (a, b) in out.iter().zip(reference) {
            let d = (f64::from(a.clamp(0.0, 255.0)) - f64::from(b.clamp(0.0, 255.0))).abs();
            worst = worst.max(d);
            square += d * d;
        }
        let psnr = 10.0 * (255.0f64 * 255.0 * out.len() as f64 / square).log10();
        let bytes = engine.run_u8(&[ArrayView3::from_shape((h, w, 3), &rgb).unwrap()], SizePolicy::Crop).unwrap();
        let (golden_bytes, ..) = picture(&format!("golden/{style}_{content}.png"));
        let off: Vec<u8> = bytes[0].iter().zip(&golden_bytes).map(|(a, b)| a.abs_diff(*b)).collect();
        assert_eq!(off.len(), golden_bytes.len());
        let share = |far: &dyn Fn(u8) -> bool| off.iter().filter(|&&d| far(d)).count() as f64 / off.len() as f64;
        let (most, unequal, beyond) = (off.iter().max().unwrap(), share(&|d| d > 0), share(&|d| d > 1));
        println!("{style} {content} {precision}: {psnr:.1} dB, worst {worst:.4}, bytes off by {most} at most");
        assert_eq!(engine.reruns(), 0);
        match precision {
            Precision::F32 => assert!(worst <= 0.02 && psnr >= 110.0 && unequal <= 0.005 && *most <= 1),
            Precision::F16 => assert!(psnr >= 66.0 && *most <= 4 && beyond <= 0.001, "{psnr} {most} {beyond}"),
        }
    }
}

#[test]
#[ignore = "needs a CUDA device and LOCKSTEP_DATA"]
fn golden_pictures_in_single_on_cuda() {
    pictures(Precision::F32);
}

#[test]
#[ignore = "needs a CUDA device and LOCKSTEP_DATA"]
fn golden_pictures_in_half_on_cuda() {
    pictures(Precision::F16);
}

/// A picture of one colour stays one colour, in both precisions: it comes from the network on the CPU.
#[test]
#[ignore = "needs a CUDA device and LOCKSTEP_DATA"]
fn golden_constant_pictures_on_cuda() {
    let both = [(Precision::F32, [0.0, 0.0, 0.0], 40, 40), (Precision::F16, [12.0, 200.0, 77.0], 37, 53)];
    for (precision, colour, h, w) in both {
        let mut engine = engine("weights/candy.safetensors", precision);
        let x = Array4::from_shape_fn((1, 3, h, w), |(_, c, _, _)| colour[c]);
        let out = engine.run_f32(x.view()).unwrap();
        for (c, expected) in [157.766f32, 118.911, 96.241].into_iter().enumerate() {
            assert!(out.slice(ndarray::s![0, c, .., ..]).iter().all(|v| (v - expected).abs() < 1e-3), "channel {c}");
        }
    }
}
