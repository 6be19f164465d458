//! The network as layers of kernels, on the CPU and on CUDA, beside the engine of the CPU; streams and batches.

#[cfg(feature = "cuda")]
mod on_cuda;

use std::collections::BTreeMap;

use gpu_core::{Backend as _, Cpu};
use ndarray::{Array3, Array4, ArrayView3};
use style::cpu::Statistics;
use style::mix::Rounding;
use style::weights::{SaveDtype, StyleModel};
use style::{Engine, EngineOptions, Job, Layered, Precision, SizePolicy, StyleBackend};

/// Something with edges and smooth parts, 0..255.
fn picture(n: usize, h: usize, w: usize) -> Array4<f32> {
    Array4::from_shape_fn((n, 3, h, w), |(n, c, y, x)| {
        let wave = ((x as f32 * 0.7 + n as f32).sin() + (y as f32 * 0.45 + c as f32).cos()) * 60.0;
        let edge = if (x / 5 + y / 3 + c + n).is_multiple_of(2) { 40.0 } else { -30.0 };
        (127.0 + wave + edge).clamp(0.0, 255.0).round()
    })
}

/// The first picture of a batch as bytes `[h][w][3]`.
fn bytes(x: &Array4<f32>, n: usize) -> Array3<u8> {
    let (_, _, h, w) = x.dim();
    Array3::from_shape_fn((h, w, 3), |(y, z, c)| x[[n, c, y, z]] as u8)
}

/// A model of random weights.
fn model(nc: usize, blocks: usize) -> StyleModel {
    StyleModel::random(nc, blocks, 7)
}

/// Root of the mean square of the differences, relative to the spread of the reference.
fn relative(a: &Array4<f32>, b: &Array4<f32>) -> f64 {
    assert_eq!(a.dim(), b.dim());
    let mean = b.iter().map(|&v| f64::from(v)).sum::<f64>() / b.len() as f64;
    let spread: f64 = b.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum();
    let square: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    (square / spread).sqrt()
}

/// What two roundings of 16 layers leave: some units of the number type, amplified by the norms.
fn limit(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => 1e-5,
        Precision::F16 => 1e-2,
    }
}

fn layered_on_cpu(nc: usize, blocks: usize, size: [usize; 3], precision: Precision, policy: SizePolicy) {
    let (cpu, model) = (Cpu::new(), model(nc, blocks));
    let [n, h, w] = size;
    let x = picture(n, h, w);
    let wanted = Engine::new(&cpu, &model).unwrap().run(x.view(), policy).unwrap();
    let job = Job { n, h, w, policy, rounding: Rounding::Truncate };
    let mut network = Layered::new(&cpu, &model, precision, None).unwrap();
    assert_eq!(network.precision(), precision);
    let mut got = Array4::zeros(wanted.dim());
    let flag = network.run(&cpu, &job, x.as_slice().unwrap(), got.as_slice_mut().unwrap()).unwrap();
    assert_eq!(flag, 0);
    let error = relative(&got, &wanted);
    assert!(error <= limit(precision), "{size:?} nc {nc}: {error:e}");
}

#[test]
fn layers_on_the_cpu_are_the_network() {
    layered_on_cpu(4, 1, [1, 9, 13], Precision::F32, SizePolicy::Crop);
    layered_on_cpu(5, 2, [2, 8, 12], Precision::F32, SizePolicy::Raw);
    layered_on_cpu(8, 1, [1, 21, 18], Precision::F32, SizePolicy::Pad);
    layered_on_cpu(4, 2, [1, 14, 23], Precision::F16, SizePolicy::Crop);
    layered_on_cpu(20, 1, [1, 16, 17], Precision::F16, SizePolicy::Pad);
}

#[test]
fn a_model_too_wide_for_f16_runs_in_f32() {
    let network = Layered::new(&Cpu::new(), &model(33, 1), Precision::F16, None).unwrap();
    assert_eq!(network.precision(), Precision::F32);
}

#[test]
fn values_beyond_f16_are_noticed() {
    let cpu = Cpu::new();
    let mut model = model(4, 1);
    scale(&mut model, 1e4);
    let mut network = Layered::new(&cpu, &model, Precision::F16, None).unwrap();
    let job = Job { n: 1, h: 12, w: 12, policy: SizePolicy::Crop, rounding: Rounding::Truncate };
    let x = picture(1, 12, 12);
    let mut y = vec![0.0; 432];
    assert!(network.run(&cpu, &job, x.as_slice().unwrap(), &mut y).unwrap() > 0);
}

/// A model whose first layer gives much larger values: the norm behind it takes the factor back.
fn scale(model: &mut StyleModel, by: f32) {
    let (bytes, _) = model.to_safetensors(SaveDtype::F32, &BTreeMap::new()).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut all = Vec::new();
    for (name, view) in tensors.tensors() {
        let mut values: Vec<f32> = view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        if name == "conv1.conv2d.weight" {
            for v in &mut values {
                *v *= by;
            }
        }
        let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        all.push((name, view.shape().to_vec(), data));
    }
    let views: Vec<_> = all
        .iter()
        .map(|(name, shape, data)| {
            (name.clone(), safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), data).unwrap())
        })
        .collect();
    let bytes = safetensors::serialize(views, None).unwrap();
    *model = StyleModel::from_bytes(&bytes, "a.safetensors").unwrap();
}

/// Pictures of two sizes, as bytes: in order, and as each alone.
fn bytes_in_batches<B: StyleBackend>(b: &B, options: EngineOptions, sides: [[usize; 2]; 2]) {
    let mut engine = Engine::with(b, &model(4, 1), options).unwrap();
    let pictures: Vec<Array3<u8>> =
        [0, 1, 0, 0].iter().enumerate().map(|(i, &k)| bytes(&picture(i + 1, sides[k][0], sides[k][1]), i)).collect();
    let views: Vec<ArrayView3<'_, u8>> = pictures.iter().map(|p| p.view()).collect();
    let together = engine.run_u8(&views, SizePolicy::Crop).unwrap();
    assert_eq!(together.len(), 4);
    for (picture, together) in views.iter().zip(&together) {
        assert_eq!(together.dim(), picture.dim());
        let alone = engine.run_u8(std::slice::from_ref(picture), SizePolicy::Crop).unwrap();
        assert_eq!(&alone[0], together);
    }
    assert_ne!(together[0], together[2]);
    assert!(engine.timing().wall > std::time::Duration::ZERO);
    // Bytes are the clamped and truncated values.
    let planes = Array4::from_shape_fn((1, 3, sides[0][0], sides[0][1]), |(_, c, y, x)| f32::from(views[0][[y, x, c]]));
    let values = engine.run(planes.view(), SizePolicy::Crop).unwrap();
    let (mut equal, mut all) = (0, 0);
    for ((y, x, c), &byte) in together[0].indexed_iter() {
        let value = values[[0, c, y, x]].clamp(0.0, 255.0);
        assert!((f32::from(byte) - value.trunc()).abs() <= 1.0);
        (equal, all) = (equal + usize::from(f32::from(byte) == value.trunc()), all + 1);
    }
    assert!(equal * 100 >= all * 99, "{equal} of {all}");
}

/// A stream gives what the pictures give one by one, in order, and survives a wrong frame.
fn stream_is_pictures<B: StyleBackend>(b: &B, options: EngineOptions, [h, w]: [usize; 2], frames: usize) {
    let model = model(4, 1);
    let frames: Vec<Array3<u8>> = (0..frames).map(|i| bytes(&picture(i + 1, h, w), i)).collect();
    let mut single = Engine::with(b, &model, options).unwrap();
    let wanted: Vec<_> = frames
        .iter()
        .map(|f| single.run_u8(&[f.view()], SizePolicy::Raw).unwrap().remove(0).into_raw_vec_and_offset().0)
        .collect();
    let mut engine = Engine::with(b, &model, options).unwrap();
    let mut stream = engine.stream(h, w, SizePolicy::Raw).unwrap();
    let mut got = Vec::new();
    for (i, frame) in frames.iter().enumerate() {
        got.extend(stream.push(frame.as_slice().unwrap()).unwrap());
        assert!(stream.len() <= 3);
        if i == 1 {
            assert!(stream.push(&[0; 7]).is_err());
        }
    }
    while let Some(frame) = stream.pull().unwrap() {
        got.push(frame);
    }
    assert!(stream.is_empty());
    assert_eq!(got, wanted);
    // Planes go through as they go one by one, with what bytes would cut off.
    let planes: Vec<Array4<f32>> = frames
        .iter()
        .map(|f| Array4::from_shape_fn((1, 3, h, w), |(_, c, y, x)| f32::from(f[[y, x, c]]) + 0.25))
        .collect();
    let mut stream = engine.stream_f32(h, w, SizePolicy::Raw).unwrap();
    let mut got = Vec::new();
    for planes in &planes {
        got.extend(stream.push(planes.as_slice().unwrap()).unwrap());
    }
    while let Some(frame) = stream.pull().unwrap() {
        got.push(frame);
    }
    let one = |x: &Array4<f32>| single.run(x.view(), SizePolicy::Raw).unwrap().into_raw_vec_and_offset().0;
    assert_eq!(got, planes.iter().map(one).collect::<Vec<_>>());
}

/// A picture in strips, in so many bytes beside the weights, is the picture; the way in and out too.
fn in_strips_on_the_cpu(
    (nc, blocks): (usize, usize),
    [h, w]: [usize; 2],
    (precision, policy): (Precision, SizePolicy),
    (room, again): (usize, bool),
) {
    let (roomy, model, x) = (Cpu::with_memory_limit(1 << 30), model(nc, blocks), picture(1, h, w));
    let job = Job { n: 1, h, w, policy, rounding: Rounding::Nearest };
    let mut network = Layered::new(&roomy, &model, precision, None).unwrap();
    let tight = Cpu::with_memory_limit(roomy.memory().used + room);
    let [oh, ow] = job.output();
    let (mut whole, mut strips) = (Array4::zeros((1, 3, oh, ow)), Array4::zeros((1, 3, oh, ow)));
    network.run(&roomy, &job, x.as_slice().unwrap(), whole.as_slice_mut().unwrap()).unwrap();
    let mut network = Layered::new(&tight, &model, precision, None).unwrap();
    assert_eq!(network.recomputes(&tight, &job).unwrap(), again, "{h} x {w} nc {nc} {precision} in {room}");
    let (from, to) = (x.as_slice().unwrap(), strips.as_slice_mut().unwrap());
    assert_eq!(network.run_in_strips(&tight, &job, false, from, to).unwrap(), 0);
    // The twins of the CPU merge statistics in another order.
    let error = relative(&strips, &whole);
    assert!(error <= limit(precision), "{h} x {w} nc {nc}: {error:e}");
    let (from, mut to) = (bytes(&x, 0).into_raw_vec_and_offset().0, vec![0; 3 * oh * ow]);
    assert_eq!(network.run_in_strips(&tight, &job, false, &from, &mut to).unwrap(), 0);
    for (i, &got) in to.iter().enumerate() {
        let styled = strips[[0, i % 3, i / 3 / ow, i / 3 % ow]];
        assert_eq!(got, Rounding::Nearest.apply(styled, 255.0) as u8, "value {i}");
    }
}

#[test]
fn strips_are_the_network() {
    let (single, half) = (Precision::F32, Precision::F16);
    in_strips_on_the_cpu((4, 1), [97, 13], (single, SizePolicy::Crop), (600_000, true));
    in_strips_on_the_cpu((4, 1), [67, 13], (single, SizePolicy::Crop), (300_000, false));
    in_strips_on_the_cpu((8, 0), [170, 9], (single, SizePolicy::Raw), (600_000, true));
    in_strips_on_the_cpu((4, 2), [301, 11], (half, SizePolicy::Pad), (150_000, true));
    in_strips_on_the_cpu((4, 2), [141, 11], (half, SizePolicy::Crop), (300_000, true));
    in_strips_on_the_cpu((4, 3), [141, 11], (half, SizePolicy::Pad), (100_000, false));
}

/// Frames of a scene whose exposure changes.
fn frames(count: usize, [h, w]: [usize; 2]) -> Vec<Array4<f32>> {
    let shot = picture(1, h, w);
    (0..count).map(|i| shot.mapv(|v| (v * (1.0 + 0.2 * (i % 3) as f32)).min(255.0).round())).collect()
}

/// The statistics that frames can be normalised with.
const STATISTICS: [Statistics; 3] = [Statistics::Average(0.75), Statistics::Frozen, Statistics::Frame];

#[test]
fn layers_on_the_cpu_remember_frames() {
    let (cpu, model) = (Cpu::new(), model(4, 1));
    for (of, precision) in STATISTICS.into_iter().zip([Precision::F16, Precision::F32, Precision::F32]) {
        let mut engine = Engine::new(&cpu, &model).unwrap();
        engine.set_statistics(of).unwrap();
        let mut network = Layered::new(&cpu, &model, precision, None).unwrap();
        network.set_statistics(of);
        let job = Job { n: 1, h: 14, w: 11, policy: SizePolicy::Crop, rounding: Rounding::Truncate };
        for (i, x) in frames(3, [14, 11]).iter().enumerate() {
            let wanted = engine.run(x.view(), job.policy).unwrap();
            let mut got = Array4::zeros(wanted.dim());
            network.run(&cpu, &job, x.as_slice().unwrap(), got.as_slice_mut().unwrap()).unwrap();
            let error = relative(&got, &wanted);
            assert!(error <= limit(precision), "{of:?}, frame {i}: {error:e}");
        }
    }
}

#[test]
fn channels_may_lie_last() {
    let (x, mut engine) = (picture(2, 9, 14), Engine::new(&Cpu::new(), &model(4, 1)).unwrap());
    for policy in [SizePolicy::Crop, SizePolicy::Raw] {
        let wanted = engine.run(x.view(), policy).unwrap();
        let last = x.view().permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned();
        let got = engine.run_nhwc(last.view(), policy).unwrap();
        assert_eq!(got, wanted.permuted_axes([0, 2, 3, 1]));
        assert!(got.is_standard_layout());
    }
    let wrong = engine.run_nhwc(x.view(), SizePolicy::Crop).unwrap_err();
    assert!(matches!(wrong, style::Error::Shape { .. }), "{wrong}");
}

#[test]
fn bytes_on_the_cpu() {
    bytes_in_batches(&Cpu::new(), EngineOptions { max_batch: 2, ..EngineOptions::default() }, [[9, 14], [12, 8]]);
}

#[test]
fn a_stream_on_the_cpu() {
    stream_is_pictures(&Cpu::new(), EngineOptions::default(), [9, 14], 7);
    let nearest = EngineOptions { rounding: Rounding::Nearest, ..EngineOptions::default() };
    stream_is_pictures(&Cpu::new(), nearest, [8, 8], 2);
}
