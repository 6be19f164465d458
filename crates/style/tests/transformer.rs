//! The transformer against values in double precision that `tools/distil_style/golden.py` wrote, every step of it.

use std::collections::BTreeMap;

use gpu_core::testing::proptest::prelude::*;
use gpu_core::{Backend as _, Cpu};
use half::f16;
use ndarray::Array4;
use safetensors::{Dtype, SafeTensors};
use style::ops::{Sample, VitOps};
use style::vit::Vit;
use style::weights::{StyleModel, VitShape};
use style::{Engine, SizePolicy};

const FILES: [&[u8]; 2] = [include_bytes!("data/vit_tiny.safetensors"), include_bytes!("data/vit_small.safetensors")];

type Values = (Vec<usize>, Vec<f64>);

/// The model of a golden file, and its cases: values by name.
fn open(bytes: &[u8]) -> (StyleModel, BTreeMap<String, BTreeMap<String, Values>>) {
    let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
    let metadata = header.metadata().clone().unwrap();
    let file = SafeTensors::deserialize(bytes).unwrap();
    let mut cases: BTreeMap<String, BTreeMap<String, Values>> = BTreeMap::new();
    let mut weights = Vec::new();
    for (name, view) in file.tensors() {
        let (group, rest) = name.split_once('/').unwrap();
        if group == "weights" {
            weights.push((rest.to_owned(), view));
            continue;
        }
        let values = match view.dtype() {
            Dtype::F64 => view.data().as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
            Dtype::F32 => view.data().as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b).into()).collect(),
            other => panic!("{name} is {other:?}"),
        };
        cases.entry(group.to_owned()).or_default().insert(rest.to_owned(), (view.shape().to_vec(), values));
    }
    let bytes = safetensors::serialize(weights, Some(metadata)).unwrap();
    (StyleModel::from_bytes(&bytes, "golden.safetensors").unwrap(), cases)
}

/// Root mean square of differences, relative to that of the values.
fn relative(got: &[f32], wanted: &[f64]) -> f64 {
    assert_eq!(got.len(), wanted.len());
    let sum = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let off = sum(&mut got.iter().zip(wanted).map(|(g, w)| f64::from(*g) - w));
    (off / sum(&mut wanted.iter().copied()).max(1e-30)).sqrt()
}

/// All steps of all cases within `most`; gives the largest difference of an output in grey levels.
fn check<B: VitOps<T>, T: Sample>(b: &B, most: f64) -> f64 {
    let mut levels = 0.0_f64;
    for bytes in FILES {
        let (model, cases) = open(bytes);
        let mut vit = Vit::<B, T>::new(b, &model).unwrap();
        for (case, golden) in &cases {
            let (shape, values) = &golden["input"];
            let input: Vec<f32> = values.iter().map(|&v| v as f32).collect();
            let x = Array4::from_shape_vec((1, 3, shape[2], shape[3]), input).unwrap();
            let mut seen = 0;
            let mut before: Option<Vec<f64>> = None;
            let mut observer = |name: String, shape: Vec<usize>, got: Vec<f32>| {
                let wanted: Vec<f64> = if let Some(block) = name.strip_prefix("attended") {
                    // The golden files hold what is added to the tokens.
                    let added = &golden[&format!("attn{block}")].1;
                    before.take().unwrap().iter().zip(added).map(|(t, a)| t + a).collect()
                } else if name == "conv1" {
                    let corner = &golden[&name].1;
                    let wanted = |i: usize| corner[(i % 16 * 8 + i / 128) * 8 + i / 16 % 8];
                    let got: Vec<f32> =
                        (0..1024).map(|i| got[(i / 128 * shape[2] + i / 16 % 8) * 16 + i % 16]).collect();
                    let error = relative(&got, &(0..1024).map(wanted).collect::<Vec<_>>());
                    assert!(error <= most, "{case} {name}: {error:.2e}");
                    seen += 1;
                    return;
                } else if name == "conv2" {
                    return;
                } else {
                    golden[&name].1.clone()
                };
                let error = relative(&got, &wanted);
                assert!(error <= most, "{case} {name}: {error:.2e}");
                if name == "position" || name.starts_with("block") {
                    before = Some(wanted);
                }
                seen += 1;
            };
            let y = vit.observe(b, x.view(), &mut observer).unwrap();
            assert_eq!(seen, 2 + 3 * model.transformer().unwrap().blocks);
            let off = y.iter().zip(&golden["output"].1).map(|(g, w)| (f64::from(*g) - w).abs());
            levels = off.fold(levels, f64::max);
        }
    }
    levels
}

#[test]
fn single_precision_agrees_at_every_step() {
    // FORMAT.md: f32 agrees with f64 to about 1e-5 of the values' size.
    let levels = check::<_, f32>(&Cpu::new(), 1e-5);
    assert!(levels < 0.01, "{levels} grey levels");
}

#[test]
fn half_precision_agrees_at_every_step() {
    // Sixteen roundings of 2⁻¹¹ one after the other, most of them smaller than what they are added to.
    let levels = check::<_, f16>(&Cpu::new(), 4e-3);
    assert!(levels < 2.0, "{levels} grey levels");
}

#[cfg(feature = "cuda")]
#[test]
#[ignore = "needs a CUDA device"]
fn steps_on_cuda() {
    let cuda = gpu_core::Cuda::open(0).unwrap();
    assert!(check::<_, f32>(&cuda, 1e-5) < 0.01);
    assert!(check::<_, f16>(&cuda, 4e-3) < 2.0);
}

/// Sizes that take turns, and one that comes again after others: always the bits of the first time.
fn sizes_take_turns<B: style::StyleBackend>(b: &B, options: style::EngineOptions) {
    let model = StyleModel::random_transformer(shape(), 3);
    let picture = |n: usize, h: usize, w: usize| {
        Array4::from_shape_fn((n, 3, h, w), |(n, c, y, x)| ((n * 40 + c * 70 + y * 3 + x * 2) % 256) as f32)
    };
    let mut engine = Engine::with(b, &model, options).unwrap();
    let mut first = Vec::new();
    for round in 0..2 {
        for (i, [n, h, w]) in
            [[1, 9, 20], [2, 9, 20], [1, 33, 7], [1, 12, 12], [1, 7, 9], [1, 8, 9]].into_iter().enumerate()
        {
            let got = engine.run(picture(n, h, w).view(), SizePolicy::Crop).unwrap();
            if round == 0 { first.push(got) } else { assert_eq!(first[i], got) }
        }
    }
    // A picture of a batch is as alone.
    assert_eq!(first[0].index_axis(ndarray::Axis(0), 0), first[1].index_axis(ndarray::Axis(0), 0));
    assert_eq!(engine.reruns(), 0);
}

#[test]
fn sizes_take_turns_on_the_cpu() {
    sizes_take_turns(&Cpu::new(), style::EngineOptions::default());
}

#[cfg(feature = "cuda")]
#[test]
#[ignore = "needs a CUDA device"]
fn sizes_take_turns_on_cuda() {
    let cuda = gpu_core::Cuda::open(0).unwrap();
    for precision in [style::Precision::F16, style::Precision::F32] {
        let options = style::EngineOptions { precision: Some(precision), ..style::EngineOptions::default() };
        sizes_take_turns(&cuda, options);
        let engine = Engine::with(&cuda, &StyleModel::random_transformer(shape(), 3), options).unwrap();
        assert_eq!(engine.precision(), precision);
    }
}

/// Weights with which values could leave the range of f16 run in f32 from the start.
#[cfg(feature = "cuda")]
#[test]
#[ignore = "needs a CUDA device"]
fn large_weights_run_in_single_on_cuda() {
    let (bytes, _) = StyleModel::random_transformer(shape(), 3)
        .to_safetensors(style::weights::SaveDtype::F32, &BTreeMap::new())
        .unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize + 8;
    let text: serde_json::Value = serde_json::from_slice(&bytes[8..header]).unwrap();
    let at = header + text["blocks.1.attn.out.bias"]["data_offsets"][0].as_u64().unwrap() as usize;
    let mut bytes = bytes;
    bytes[at..at + 4].copy_from_slice(&1e6_f32.to_le_bytes());
    let model = StyleModel::from_bytes(&bytes, "a.safetensors").unwrap();
    let cuda = gpu_core::Cuda::open(0).unwrap();
    let options = style::EngineOptions { precision: Some(style::Precision::F16), ..style::EngineOptions::default() };
    let mut engine = Engine::with(&cuda, &model, options).unwrap();
    assert_eq!(engine.precision(), style::Precision::F32);
    let x = Array4::from_shape_fn((1, 3, 12, 9), |(_, c, y, x)| ((c * 70 + y * 3 + x * 2) % 256) as f32);
    let wanted = Engine::new(&Cpu::new(), &model).unwrap().run(x.view(), SizePolicy::Crop).unwrap();
    let got = engine.run(x.view(), SizePolicy::Crop).unwrap();
    assert!(got.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 0.5));
}

fn shape() -> VitShape {
    VitShape { dim: 32, heads: 2, blocks: 2, hidden: 48, window: 4 }
}

#[test]
fn the_engine_runs_both_kinds() {
    let model = StyleModel::random_transformer(shape(), 3);
    let mut engine = Engine::new(&Cpu::new(), &model).unwrap();
    let x = Array4::from_shape_fn((2, 3, 33, 47), |(n, c, y, x)| ((n * 40 + c * 70 + y * 3 + x * 2) % 256) as f32);
    let whole = engine.run(x.view(), SizePolicy::Crop).unwrap();
    assert_eq!(whole.dim(), (2, 3, 33, 47));
    // Pictures of a batch do not influence each other, and bytes give what planes give.
    let second = x.slice(ndarray::s![1..2, .., .., ..]);
    let alone = engine.run(second, SizePolicy::Crop).unwrap();
    assert_eq!(alone.slice(ndarray::s![0, .., .., ..]), whole.slice(ndarray::s![1, .., .., ..]));
    let bytes = second
        .index_axis(ndarray::Axis(0), 0)
        .mapv(|v| v as u8)
        .permuted_axes([1, 2, 0])
        .as_standard_layout()
        .to_owned();
    let styled = engine.run_u8(&[bytes.view()], SizePolicy::Crop).unwrap();
    let whole_number = |(y, x, c): (usize, usize, usize)| alone[(0, c, y, x)].clamp(0.0, 255.0) as u8;
    assert!(styled[0].indexed_iter().all(|(at, v)| *v == whole_number(at)));
    assert_eq!(engine.run(second, SizePolicy::Raw).unwrap().dim(), (1, 3, 36, 48));
    assert!(engine.activations(second).unwrap_err().to_string().contains("transformer"));
    let mut stream = engine.stream(33, 47, SizePolicy::Crop).unwrap();
    let frame = bytes.as_slice().unwrap();
    assert!(stream.push(frame).unwrap().is_none());
    assert_eq!(stream.pull().unwrap().unwrap(), styled[0].as_slice().unwrap());
}

#[test]
fn files_keep_a_transformer() {
    let folder = tempfile::tempdir().unwrap();
    let (model, path) = (StyleModel::random_transformer(shape(), 4), folder.path().join("t.safetensors"));
    model.save_safetensors(&path, style::weights::SaveDtype::F32, &BTreeMap::new()).unwrap();
    let again = StyleModel::load(&path).unwrap();
    assert_eq!((again.transformer(), again.tensors()), (Some(shape()), model.tensors()));
    assert_eq!(again.parameter_count(), model.parameter_count());
    assert_eq!(again.layers().count(), 0);
    let other = StyleModel::random(8, 1, 1);
    assert!(StyleModel::blend(&[(&model, 1.0), (&other, 1.0)]).unwrap_err().to_string().contains("one kind"));
    let half = StyleModel::blend(&[(&model, 1.0), (&again, 1.0)]).unwrap();
    assert_eq!(half.transformer(), Some(shape()));
    // What is missing, or says what cannot be, is refused by name.
    let bytes = std::fs::read(&path).unwrap();
    let changed = |from: &str, to: &str| {
        let mut bytes = bytes.clone();
        let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
        StyleModel::from_bytes(&bytes, "t.safetensors").unwrap_err().to_string()
    };
    assert!(changed("blocks.2.ffn.fc1.bias", "blocks.9.ffn.fc1.bias").contains("blocks.2.ffn.fc1.bias"));
    assert!(changed("\"heads\":\"2\"", "\"heads\":\"3\"").contains("heads: 3"));
    assert!(changed("\"heads\":\"2\"", "\"heads\":\"x\"").contains("heads"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// Threads and repetition change no bit.
    #[test]
    fn threads_change_no_bit(h in 5..40_usize, w in 5..70_usize, seed in 0..100_u64) {
        let model = StyleModel::random_transformer(shape(), seed);
        let x = Array4::from_shape_fn((1, 3, h, w), |(_, c, y, x)| ((c * 91 + y * 13 + x * 7) % 256) as f32);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Engine::new(&Cpu::new(), &model).unwrap().run(x.view(), SizePolicy::Crop).unwrap())
        };
        prop_assert_eq!(run(1), run(3));
    }
}

#[test]
fn memory_that_does_not_suffice_is_an_error() {
    let cpu = Cpu::with_memory_limit(1 << 20);
    let mut engine = Engine::new(&cpu, &StyleModel::random_transformer(shape(), 3)).unwrap();
    let used = cpu.memory().used;
    let x = Array4::zeros((1, 3, 200, 200));
    let refused = |engine: &mut Engine<Cpu>, x: &Array4<f32>| engine.run(x.view(), SizePolicy::Crop).unwrap_err();
    let error = refused(&mut engine, &x);
    let style::Error::NoStrips { height: 200, width: 200, needed, room } = error else { panic!("{error}") };
    // So much is said to be left as there is, and all that it takes to be needed: with that it works.
    assert!(room == (1 << 20) - used && needed > room && error.to_string().contains("works in strips"));
    assert_eq!(cpu.memory().used, used);
    let enough = Cpu::with_memory_limit(used + needed);
    let mut roomy = Engine::new(&enough, &StyleModel::random_transformer(shape(), 3)).unwrap();
    roomy.run(x.view(), SizePolicy::Crop).unwrap();
    // Of several pictures each is tried alone; small ones go on.
    let small = Array4::from_elem((3, 3, 16, 16), 50.0);
    let mut one = Engine::new(&Cpu::new(), &StyleModel::random_transformer(shape(), 3)).unwrap();
    assert_eq!(engine.run(small.view(), SizePolicy::Crop).unwrap(), one.run(small.view(), SizePolicy::Crop).unwrap());
    assert!(matches!(refused(&mut engine, &Array4::zeros((2, 3, 200, 200))), style::Error::NoStrips { .. }));
}
