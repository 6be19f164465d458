//! Reads the stored data, and says in plain loops what is right.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use half::f16;
use safetensors::{Dtype, SafeTensors};
use style::cpu::Weights;

/// A tensor file as f32.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The data folder of the domain: in `LOCKSTEP_DATA`, or beside the workspace.
pub fn data() -> PathBuf {
    let root = std::env::var_os("LOCKSTEP_DATA").map(PathBuf::from);
    root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data")).join("style")
}

pub fn tensors(path: &str) -> Tensors {
    let bytes = std::fs::read(data().join(path)).expect(path);
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let read = |view: &safetensors::tensor::TensorView<'_>| -> Vec<f32> {
        let bytes = view.data();
        match view.dtype() {
            Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Dtype::F16 => bytes.as_chunks::<2>().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
            other => panic!("{other:?}"),
        }
    };
    file.tensors().iter().map(|(name, view)| (name.clone(), (view.shape().to_vec(), read(view)))).collect()
}

/// Names of the convolutions and of the norms, in the network's order.
pub fn names(blocks: usize) -> (Vec<String>, Vec<String>) {
    let mut convs = vec!["conv1".to_string(), "conv2".into(), "conv3".into()];
    let mut norms = vec!["in1".to_string(), "in2".into(), "in3".into()];
    for r in 1..=blocks {
        for i in 1..=2 {
            convs.push(format!("res{r}.conv{i}"));
            norms.push(format!("res{r}.in{i}"));
        }
    }
    convs.extend(["deconv1".into(), "deconv2".into(), "deconv3".into()]);
    norms.extend(["in4".into(), "in5".into()]);
    (convs, norms)
}

pub fn weights(path: &str) -> Weights {
    let file = tensors(path);
    let get = |name: String| file.get(&name).unwrap_or_else(|| panic!("{name}")).1.clone();
    let blocks = (1..=32).take_while(|r| file.contains_key(&format!("res{r}.conv1.conv2d.weight"))).count();
    let (convs, norms) = names(blocks);
    Weights {
        base_channels: file["conv1.conv2d.weight"].0[0],
        residual_blocks: blocks,
        kernels: convs.iter().map(|n| get(format!("{n}.conv2d.weight"))).collect(),
        biases: convs.iter().map(|n| get(format!("{n}.conv2d.bias"))).collect(),
        gammas: norms.iter().map(|n| get(format!("{n}.weight"))).collect(),
        betas: norms.iter().map(|n| get(format!("{n}.bias"))).collect(),
    }
}

/// An 8-bit RGB picture: bytes, height, width.
pub fn picture(path: &str) -> (Vec<u8>, usize, usize) {
    let image = image::open(data().join(path)).expect(path).to_rgb8();
    let (w, h) = image.dimensions();
    (image.into_raw(), h as usize, w as usize)
}

pub fn to_planes(rgb: &[u8]) -> Vec<f32> {
    (0..3).flat_map(|c| rgb.iter().skip(c).step_by(3).map(|&b| f32::from(b))).collect()
}

/// Largest |Δ| / (1 + |reference|).
pub fn distance(found: &[f32], reference: &[f32]) -> f32 {
    assert_eq!(found.len(), reference.len());
    found.iter().zip(reference).map(|(a, b)| (a - b).abs() / (1.0 + b.abs())).fold(0.0, f32::max)
}

/// The oracle: plain loops in f64 on planes.
pub mod oracle {
    use style::cpu::Weights;

    pub struct Planes {
        pub c: usize,
        pub h: usize,
        pub w: usize,
        pub data: Vec<f64>,
    }

    impl Planes {
        pub fn new(c: usize, h: usize, w: usize, data: impl IntoIterator<Item = f32>) -> Self {
            let data: Vec<f64> = data.into_iter().map(f64::from).collect();
            assert_eq!(data.len(), c * h * w);
            Self { c, h, w, data }
        }

        pub fn at(&self, c: usize, y: usize, x: usize) -> f64 {
            self.data[(c * self.h + y) * self.w + x]
        }

        pub fn upsampled(&self) -> Self {
            let (h, w) = (2 * self.h, 2 * self.w);
            let at = |i: usize| self.at(i / (h * w), i / w % h / 2, i % w / 2);
            Self { c: self.c, h, w, data: (0..self.c * h * w).map(at).collect() }
        }
    }

    fn reflect(i: isize, n: usize) -> usize {
        let n = n as isize;
        (if i < 0 {
            -i
        } else if i >= n {
            2 * (n - 1) - i
        } else {
            i
        }) as usize
    }

    /// Convolution; with `absolute` of the absolute values (for error bounds).
    pub fn conv(
        x: &Planes,
        w: &[f32],
        [co, ci, kh, kw]: [usize; 4],
        b: &[f32],
        p: usize,
        s: [usize; 2],
        absolute: bool,
    ) -> Planes {
        let (ho, wo) = ((x.h + 2 * p - kh) / s[0] + 1, (x.w + 2 * p - kw) / s[1] + 1);
        let mut data = Vec::with_capacity(co * ho * wo);
        for o in 0..co {
            for i in 0..ho {
                for j in 0..wo {
                    let mut sum = 0.0;
                    for c in 0..ci {
                        for u in 0..kh {
                            for v in 0..kw {
                                let y = reflect((i * s[0] + u) as isize - p as isize, x.h);
                                let z = reflect((j * s[1] + v) as isize - p as isize, x.w);
                                let product = f64::from(w[((o * ci + c) * kh + u) * kw + v]) * x.at(c, y, z);
                                sum += if absolute { product.abs() } else { product };
                            }
                        }
                    }
                    let bias = f64::from(b[o]);
                    data.push(sum + if absolute { bias.abs() } else { bias });
                }
            }
        }
        Planes { c: co, h: ho, w: wo, data }
    }

    pub fn norm(mut x: Planes, gamma: &[f32], beta: &[f32], relu: bool) -> Planes {
        let n = x.h * x.w;
        for (c, plane) in x.data.chunks_exact_mut(n).enumerate() {
            let mean = plane.iter().sum::<f64>() / n as f64;
            let variance = plane.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n as f64;
            for v in plane {
                *v = (*v - mean) / (variance + 1e-5).sqrt() * f64::from(gamma[c]) + f64::from(beta[c]);
                if relu {
                    *v = v.max(0.0);
                }
            }
        }
        x
    }

    pub fn network(weights: &Weights, mut x: Planes) -> Planes {
        let last = weights.kernels.len() - 1;
        let conv = |i: usize, x: &Planes, k: usize, s: usize| {
            let o = weights.biases[i].len();
            conv(x, &weights.kernels[i], [o, x.c, k, k], &weights.biases[i], k / 2, [s, s], false)
        };
        let layer = |i: usize, x: &Planes, k: usize, s: usize, relu: bool| {
            norm(conv(i, x, k, s), &weights.gammas[i], &weights.betas[i], relu)
        };
        for (i, k, s) in [(0, 9, 1), (1, 3, 2), (2, 3, 2)] {
            x = layer(i, &x, k, s, true);
        }
        for block in 0..weights.residual_blocks {
            let mut y = layer(3 + 2 * block, &x, 3, 1, true);
            y = layer(4 + 2 * block, &y, 3, 1, false);
            x.data.iter_mut().zip(&y.data).for_each(|(x, y)| *x += y);
        }
        x = layer(last - 2, &x.upsampled(), 3, 1, true);
        x = layer(last - 1, &x.upsampled(), 3, 1, true);
        conv(last, &x, 9, 1)
    }
}
