//! The same on a device, beside the CPU.

use gpu_core::testing::cuda;

use ndarray::s;
use style::kernels::Tiles;

use super::*;

/// 10 log10 (255² / mean square).
fn psnr(a: &Array4<f32>, b: &Array4<f32>) -> f64 {
    assert_eq!(a.dim(), b.dim());
    let square: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    10.0 * (255.0f64.powi(2) * a.len() as f64 / square.max(1e-12)).log10()
}

fn options(precision: Precision) -> EngineOptions {
    EngineOptions { precision: Some(precision), ..EngineOptions::default() }
}

fn beside_the_cpu(nc: usize, blocks: usize, size: [usize; 3], precision: Precision, policy: SizePolicy) {
    let model = model(nc, blocks);
    let x = picture(size[0], size[1], size[2]);
    let wanted = Engine::new(&Cpu::new(), &model).unwrap().run(x.view(), policy).unwrap();
    let mut engine = Engine::with(&cuda(), &model, options(precision)).unwrap();
    assert_eq!(engine.precision(), precision);
    let got = engine.run(x.view(), policy).unwrap();
    let error = relative(&got, &wanted);
    assert!(error <= limit(precision), "{size:?} nc {nc} {precision}: {error:e}, {:.1} dB", psnr(&got, &wanted));
    assert_eq!(engine.reruns(), 0);
    // The graph of a size that is known already, and a picture of a batch alone, give the same bits.
    assert_eq!(engine.run(x.view(), policy).unwrap(), got);
    let alone = engine.run(x.slice(s![..1, .., .., ..]), policy).unwrap();
    assert_eq!(alone.slice(s![0, .., .., ..]), got.slice(s![0, .., .., ..]));
}

#[test]
#[ignore = "needs a CUDA device"]
fn half_is_the_network() {
    beside_the_cpu(4, 1, [1, 9, 13], Precision::F16, SizePolicy::Crop);
    beside_the_cpu(16, 2, [2, 20, 37], Precision::F16, SizePolicy::Raw);
    beside_the_cpu(32, 1, [1, 21, 18], Precision::F16, SizePolicy::Pad);
}

#[test]
#[ignore = "needs a CUDA device"]
fn single_is_the_network() {
    beside_the_cpu(4, 1, [1, 9, 13], Precision::F32, SizePolicy::Crop);
    beside_the_cpu(16, 2, [2, 20, 37], Precision::F32, SizePolicy::Raw);
    beside_the_cpu(33, 1, [1, 14, 18], Precision::F32, SizePolicy::Pad);
}

#[test]
#[ignore = "needs a CUDA device"]
fn both_kinds_of_tiles() {
    let (b, model, x) = (cuda(), model(32, 2), picture(1, 27, 41));
    let job = Job { n: 1, h: 27, w: 41, policy: SizePolicy::Raw, rounding: Rounding::Truncate };
    let wanted = Engine::new(&Cpu::new(), &model).unwrap().run(x.view(), job.policy).unwrap();
    for tiles in [Tiles::Wide, Tiles::Small] {
        let mut network = Layered::new(&b, &model, Precision::F16, Some(tiles)).unwrap();
        let mut got = Array4::zeros(wanted.dim());
        let flag = network.run(&b, &job, x.as_slice().unwrap(), got.as_slice_mut().unwrap()).unwrap();
        let error = relative(&got, &wanted);
        assert!(flag == 0 && error <= limit(Precision::F16), "{tiles:?}: {error:e}");
    }
}

#[test]
#[ignore = "needs a CUDA device"]
fn values_beyond_f16_run_again_in_f32() {
    let mut model = model(4, 1);
    scale(&mut model, 1e4);
    let x = picture(1, 12, 12);
    let mut engine = Engine::with(&cuda(), &model, options(Precision::F16)).unwrap();
    let got = engine.run(x.view(), SizePolicy::Crop).unwrap();
    assert_eq!(engine.reruns(), 1);
    let wanted = Engine::new(&Cpu::new(), &model).unwrap().run(x.view(), SizePolicy::Crop).unwrap();
    assert!(relative(&got, &wanted) <= limit(Precision::F32));
    // The stream notices too.
    let frame = bytes(&x, 0);
    let mut stream = engine.stream(12, 12, SizePolicy::Crop).unwrap();
    stream.push(frame.as_slice().unwrap()).unwrap();
    assert!(stream.pull().unwrap().is_some());
    assert_eq!(engine.reruns(), 2);
}

#[test]
#[ignore = "needs a CUDA device"]
fn frames_are_remembered() {
    let model = model(4, 1);
    for (of, precision) in STATISTICS.into_iter().zip([Precision::F16, Precision::F32, Precision::F16]) {
        let [mut on_cpu, mut again] = [(); 2].map(|()| Engine::new(&Cpu::new(), &model).unwrap());
        let mut engine = Engine::with(&cuda(), &model, options(precision)).unwrap();
        on_cpu.set_statistics(of).unwrap();
        again.set_statistics(of).unwrap();
        engine.set_statistics(of).unwrap();
        let frames = frames(4, [12, 10]);
        let mut all = Vec::new();
        for (i, x) in frames.iter().enumerate() {
            let wanted = on_cpu.run(x.view(), SizePolicy::Crop).unwrap();
            let got = engine.run(x.view(), SizePolicy::Crop).unwrap();
            let error = relative(&got, &wanted);
            assert!(error <= limit(precision), "{of:?} {precision}, frame {i}: {error:e}");
            all.push(bytes(x, 0));
        }
        // Said once more, they are forgotten; a stream and a batch remember as single pictures do.
        engine.set_statistics(of).unwrap();
        let views: Vec<_> = all.iter().map(|x| x.view()).collect();
        let wanted = engine.run_u8(&views, SizePolicy::Crop).unwrap();
        engine.set_statistics(of).unwrap();
        let mut stream = engine.stream(12, 10, SizePolicy::Crop).unwrap();
        let mut got = Vec::new();
        for x in &all {
            got.extend(stream.push(x.as_slice().unwrap()).unwrap());
        }
        while let Some(frame) = stream.pull().unwrap() {
            got.push(frame);
        }
        for (got, wanted) in got.iter().zip(&wanted) {
            assert_eq!(got, wanted.as_slice().unwrap());
        }
        let near = again.run_u8(&views, SizePolicy::Crop).unwrap();
        let most = near.iter().zip(&wanted).flat_map(|(a, b)| a.iter().zip(b).map(|(a, b)| a.abs_diff(*b))).max();
        assert!(got.len() == 4 && most <= Some(4), "{of:?} {precision}: {most:?}");
    }
    // A transformer has no such statistics.
    let shape = style::weights::VitShape { dim: 16, heads: 1, blocks: 1, hidden: 32, window: 2 };
    let mut engine = Engine::new(&cuda(), &StyleModel::random_transformer(shape, 1)).unwrap();
    assert!(engine.set_statistics(Statistics::Frozen).is_err() && engine.set_statistics(Statistics::Frame).is_ok());
}

/// A queue whose memory has room for a model's weights and so many bytes beside them.
fn with_room(model: &StyleModel, precision: Precision, bytes: usize) -> gpu_core::Cuda {
    let measured = cuda().with_memory_limit(1 << 30).unwrap();
    let _network = Layered::new(&measured, model, precision, Some(Tiles::Wide)).unwrap();
    cuda().with_memory_limit(measured.memory().used + bytes).unwrap()
}

/// Activations that have no room are worked on in strips, with the same bits: computed again, or kept with the host.
fn in_strips(nc: usize, blocks: usize, [h, w]: [usize; 2], precision: Precision, (bytes, again): (usize, bool)) {
    let (model, x) = (model(nc, blocks), picture(1, h, w));
    let (roomy, tight) = (cuda(), with_room(&model, precision, bytes));
    let networks = [&roomy, &tight].map(|b| Layered::new(b, &model, precision, Some(Tiles::Wide)).unwrap());
    let [mut whole, mut strips] = networks;
    for policy in [SizePolicy::Crop, SizePolicy::Pad] {
        let job = Job { n: 1, h, w, policy, rounding: Rounding::Nearest };
        let x = x.as_slice().unwrap();
        let [mut wanted, mut got] = [0, 1].map(|_| vec![0.0; x.len()]);
        assert_eq!(whole.run(&roomy, &job, x, &mut wanted).unwrap(), 0);
        assert!(strips.run(&tight, &job, x, &mut got).is_err(), "there is room for the whole picture");
        assert_eq!(strips.recomputes(&tight, &job).unwrap(), again, "{h} x {w} nc {nc} {precision}");
        assert_eq!(strips.run_in_strips(&tight, &job, false, x, &mut got).unwrap(), 0);
        assert!(got == wanted, "{h} x {w} nc {nc} {precision} {policy:?}");
    }
}

#[test]
#[ignore = "needs a CUDA device"]
fn strips_change_no_bit_in_half() {
    in_strips(16, 1, [41, 18], Precision::F16, (60_000, false));
    in_strips(32, 1, [22, 35], Precision::F16, (120_000, false));
    in_strips(16, 2, [161, 18], Precision::F16, (250_000, true));
    in_strips(32, 1, [203, 18], Precision::F16, (500_000, true));
}

#[test]
#[ignore = "needs a CUDA device"]
fn strips_change_no_bit_in_single() {
    in_strips(4, 2, [41, 18], Precision::F32, (250_000, false));
}

#[test]
#[ignore = "needs a CUDA device"]
fn long_run_of_strips_computed_again_in_single() {
    in_strips(4, 0, [211, 5], Precision::F32, (350_000, true));
}

/// Values beyond the range are noticed in strips too.
#[test]
#[ignore = "needs a CUDA device"]
fn strips_notice_values_beyond_f16() {
    let mut model = model(16, 1);
    scale(&mut model, 1e4);
    let x = picture(1, 161, 18);
    let tight = with_room(&model, Precision::F16, 200_000);
    let mut network = Layered::new(&tight, &model, Precision::F16, Some(Tiles::Wide)).unwrap();
    let job = Job { n: 1, h: 161, w: 18, policy: SizePolicy::Crop, rounding: Rounding::Truncate };
    assert!(network.recomputes(&tight, &job).unwrap());
    let mut y = vec![0.0; 3 * 161 * 18];
    assert!(network.run_in_strips(&tight, &job, false, x.as_slice().unwrap(), &mut y).unwrap() > 0);
}

/// The engine finds out by itself that a batch or a picture has no room.
#[test]
#[ignore = "needs a CUDA device"]
fn pictures_larger_than_the_memory_go_in_strips() {
    let (model, x) = (model(4, 1), picture(2, 41, 18));
    let options = options(Precision::F32);
    let tight = with_room(&model, Precision::F32, 250_000);
    let [mut roomy, mut small] = [&cuda(), &tight].map(|b| Engine::with(b, &model, options).unwrap());
    let wanted = roomy.run(x.view(), SizePolicy::Crop).unwrap();
    assert_eq!(small.run(x.view(), SizePolicy::Crop).unwrap(), wanted);
    assert_eq!((roomy.strips(), small.strips()), (0, 2));
    let bytes = [bytes(&x, 0), bytes(&x, 1)];
    let views: Vec<_> = bytes.iter().map(|b| b.view()).collect();
    let wanted = roomy.run_u8(&views, SizePolicy::Raw).unwrap();
    assert_eq!(small.run_u8(&views, SizePolicy::Raw).unwrap(), wanted);
    // What fits goes as ever.
    let x = picture(1, 9, 9);
    assert_eq!(small.run(x.view(), SizePolicy::Crop).unwrap(), roomy.run(x.view(), SizePolicy::Crop).unwrap());
    assert_eq!((roomy.strips(), small.strips()), (0, 4));
}

#[test]
#[ignore = "needs a CUDA device"]
fn bytes_in_batches_of_one_size() {
    let options = EngineOptions { max_batch: 2, ..options(Precision::F16) };
    bytes_in_batches(&cuda(), options, [[9, 14], [12, 8]]);
}

#[test]
#[ignore = "needs a CUDA device"]
fn a_stream_is_its_pictures() {
    stream_is_pictures(&cuda(), options(Precision::F16), [8, 9], 5);
    stream_is_pictures(&cuda(), options(Precision::F32), [8, 8], 4);
}

#[test]
#[ignore = "needs a CUDA device"]
fn many_sizes_take_turns() {
    let mut engine = Engine::with(&cuda(), &model(4, 1), options(Precision::F16)).unwrap();
    let mut first = Vec::new();
    for round in 0..2 {
        for side in 5..15 {
            let got = engine.run(picture(1, side, 20 - side).view(), SizePolicy::Raw).unwrap();
            if round == 0 { first.push(got) } else { assert_eq!(first[side - 5], got) }
        }
    }
}
