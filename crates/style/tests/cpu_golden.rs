//! The network and the operations against the float64 reference.
mod reference;

use reference::*;
use style::cpu::*;

/// Spec: |Δ| ≤ 1e-4 · (1 + |ref|) at every layer.
const TOLERANCE: f32 = 1e-4;

fn layers(weights_path: &str, golden: &str) {
    let weights = weights(weights_path);
    let (convs, norms) = names(weights.residual_blocks);
    let network = Network::new(&weights);
    let golden = tensors(golden);
    let inputs: Vec<&String> = golden.keys().filter(|k| k.ends_with("/input")).collect();
    for input in inputs {
        let case = input.trim_end_matches("/input");
        let (shape, x) = &golden[input];
        let shape: [usize; 4] = shape.clone().try_into().unwrap();
        let mut seen = 0;
        let mut check = |name: String, image: usize, found: &[f32]| {
            let Some((shape, reference)) = golden.get(&format!("{case}/{name}")) else { return };
            let size = reference.len() / shape[0];
            let error = distance(found, &reference[image * size..(image + 1) * size]);
            seen += 1;
            assert!(error <= TOLERANCE, "{case}/{name} image {image}: {error}");
        };
        let mut arena = Arena::new();
        let out = network
            .activations(&mut arena, x, shape, &mut |image, layer, stage, mut values| {
                let bias = &weights.biases[layer];
                let name = &convs[layer];
                match stage {
                    Stage::Raw => {
                        let size = values.len() / bias.len();
                        values.chunks_exact_mut(size).zip(bias).for_each(|(p, b)| p.iter_mut().for_each(|v| *v += b));
                        check(name.clone(), image, &values);
                    }
                    Stage::Mean => {
                        values.iter_mut().zip(bias).for_each(|(v, b)| *v += b);
                        check(format!("{name}.mean"), image, &values);
                    }
                    Stage::Variance => check(format!("{name}.var"), image, &values),
                    Stage::Finished => {
                        let norm = &norms[layer];
                        let name = match norm.strip_prefix("in") {
                            Some(i) => format!("relu{i}"),
                            None => norm.replace(".in1", ".relu").replace(".in2", ""),
                        };
                        check(name, image, &values);
                    }
                }
            })
            .unwrap();
        let (_, reference) = &golden[&format!("{case}/output")];
        let error = distance(&out, reference);
        assert!(error <= TOLERANCE, "{case}: output {error}");
        assert!(seen >= 10, "{case}: only {seen} tensors compared");
    }
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn tiny_layers() {
    layers("formats/tiny.safetensors", "golden/tiny_layers.safetensors");
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn candy_layers() {
    layers("weights/candy.safetensors", "golden/candy_layers_32x48.safetensors");
    layers("weights/candy.safetensors", "golden/candy_layers_37x53.safetensors");
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn pictures() {
    for (style, content) in [
        ("candy", "astronaut_256"),
        ("mosaic", "astronaut_256"),
        ("pointilism", "astronaut_256"),
        ("rain_princess", "astronaut_256"),
        ("candy", "chelsea_451x300"),
    ] {
        let network = Network::new(&weights(&format!("weights/{style}.safetensors")));
        let (rgb, h, w) = picture(&format!("content/{content}.png"));
        let mut arena = Arena::new();
        let out = network.run(&mut arena, &to_planes(&rgb), [1, 3, h, w]).unwrap();
        let golden = tensors(&format!("golden/{style}_{content}.safetensors"));
        let (_, reference) = &golden["output"];
        assert_eq!(out.len(), reference.len());
        let (mut worst, mut square) = (0.0f64, 0.0f64);
        for (a, b) in out.iter().zip(reference) {
            let d = (f64::from(a.clamp(0.0, 255.0)) - f64::from(b.clamp(0.0, 255.0))).abs();
            worst = worst.max(d);
            square += d * d;
        }
        let psnr = 10.0 * (255.0f64 * 255.0 * out.len() as f64 / square).log10();
        let mut bytes = vec![0; rgb.len()];
        network.run_rgb(&mut arena, &rgb, [h, w], &mut bytes).unwrap();
        let (golden_bytes, ..) = picture(&format!("golden/{style}_{content}.png"));
        assert_eq!(bytes.len(), golden_bytes.len());
        let unequal = bytes.iter().zip(&golden_bytes).filter(|(a, b)| a != b).count();
        let off = bytes.iter().zip(&golden_bytes).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        let equal = 100.0 * (1.0 - unequal as f64 / bytes.len() as f64);
        assert!(worst <= 0.02 && psnr >= 110.0 && equal >= 99.5 && off <= 1);
    }
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn constant_image_stays_constant() {
    let network = Network::new(&weights("weights/candy.safetensors"));
    for (colour, size) in [([0.0, 0.0, 0.0], [40, 40]), ([12.0, 200.0, 77.0], [37, 53])] {
        let pixels = size[0] * size[1];
        let x: Vec<f32> = colour.iter().flat_map(|&c| vec![c; pixels]).collect();
        let out = network.run(&mut Arena::new(), &x, [1, 3, size[0], size[1]]).unwrap();
        for (plane, expected) in out.chunks_exact(out.len() / 3).zip([157.766f32, 118.911, 96.241]) {
            assert!((plane[0] - expected).abs() < 1e-3, "{} instead of {expected}", plane[0]);
            assert!(plane.iter().all(|&v| v == plane[0]));
        }
    }
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn operations() {
    let file = tensors("golden/ops_conv_norm.safetensors");
    let cases: std::collections::BTreeSet<&str> = file.keys().map(|k| k.split_once('.').unwrap().0).collect();
    assert_eq!(cases.len(), 11);
    for case in cases {
        let get = |name: &str| &file[&format!("{case}.{name}")];
        let (shape, x) = get("x");
        let shape: [usize; 4] = shape.clone().try_into().unwrap();
        let (weight_shape, weight) = get("weight");
        let k = weight_shape[2];
        let stride = if case.contains("_s2_") { 2 } else { 1 };
        let conv = ConvParams {
            weight,
            weight_shape: weight_shape.clone().try_into().unwrap(),
            bias: &get("bias").1,
            padding: k / 2,
            stride: [stride; 2],
            upsample: case.ends_with("_u2"),
        };
        let norm = NormParams { gamma: &get("gamma").1, beta: &get("beta").1, eps: EPSILON };
        let (y, y_shape) = fused_conv_reflection_pad(x, shape, &conv).unwrap();
        assert_eq!(&y_shape[..], &get("conv").0[..]);
        let mut errors = vec![distance(&y, &get("conv").1)];
        for (relu, name) in [(false, "norm"), (true, "norm_relu")] {
            let params = ConvNormParams { conv, norm };
            let (fused, _) = fused_conv_instancenorm(x, shape, &params, relu).unwrap();
            errors.push(distance(&fused, &get(name).1));
            let alone = instance_norm(&y, y_shape, &norm, relu, None).unwrap();
            errors.push(distance(&alone, &get(name).1));
        }
        assert!(errors.iter().all(|&e| e <= TOLERANCE), "{case}: {errors:?}");
    }
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn residual_blocks() {
    let file = tensors("golden/ops_residual.safetensors");
    let cases: std::collections::BTreeSet<&str> = file.keys().map(|k| k.split_once('.').unwrap().0).collect();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let get = |name: &str| &file[&format!("{case}.{name}")];
        let (shape, x) = get("x");
        let part = |i: usize| {
            let (weight_shape, weight) = get(&format!("conv{i}_weight"));
            let conv = ConvParams {
                weight,
                weight_shape: weight_shape.clone().try_into().unwrap(),
                bias: &get(&format!("conv{i}_bias")).1,
                padding: 1,
                stride: [1, 1],
                upsample: false,
            };
            let (gamma, beta) = (&get(&format!("conv{i}_gamma")).1, &get(&format!("conv{i}_beta")).1);
            ConvNormParams { conv, norm: NormParams { gamma, beta, eps: EPSILON } }
        };
        let y = fused_residual_block(x, shape.clone().try_into().unwrap(), &part(1), &part(2)).unwrap();
        let error = distance(&y, &get("y").1);
        assert!(error <= TOLERANCE, "{case}: {error}");
    }
}
