//! Saving, blending, access, and files built on the spot.

mod common;

use std::collections::BTreeMap;

use common::graph::{Spec, Store, onnx};
use common::{dict, row_major, same_bits, tensor, torch_legacy, torch_zip, torch_zip_of, torch_zip_wide, zip};
use style::weights::{Container, Dtype, LayerId, LoadOptions, SaveDtype, StyleModel, WeightsError};

fn read(bytes: &[u8]) -> Result<StyleModel, WeightsError> {
    StyleModel::from_bytes(bytes, "")
}

#[test]
fn layers_come_in_order_with_their_shapes() {
    let model = StyleModel::random(8, 3, 1);
    let layers: Vec<LayerId> = model.layers().collect();
    assert_eq!(layers.len(), 12);
    assert!(layers.is_sorted());
    for (i, &layer) in layers.iter().enumerate() {
        assert_eq!(layer.index(3), Some(i));
        let conv = model.conv(layer).expect("a layer");
        assert_eq!(conv.weight.len(), conv.shape.iter().product::<usize>());
        assert_eq!(conv.bias.len(), conv.shape[0]);
        assert_eq!(conv.weight, model.tensor(&format!("{layer}.weight")).expect("by name").data);
        match model.norm(layer) {
            Some(norm) => assert_eq!((norm.gamma.len(), norm.beta.len()), (conv.shape[0], conv.shape[0])),
            None => assert_eq!(layer, LayerId::Deconv3),
        }
    }
    for block in [0, 4, 255] {
        assert!(model.conv(LayerId::Res { block, conv: 1 }).is_none());
    }
    assert!(model.norm(LayerId::Res { block: 1, conv: 3 }).is_none());
    for (nc, count) in [(32, 1_679_235), (16, 424_899), (8, 108_771)] {
        assert_eq!(StyleModel::random(nc, 5, 0).parameter_count(), count);
    }
}

#[test]
fn random_is_a_function_of_its_arguments() {
    assert!(same_bits(&StyleModel::random(4, 2, 7), &StyleModel::random(4, 2, 7)));
    assert!(!same_bits(&StyleModel::random(4, 2, 7), &StyleModel::random(4, 2, 8)));
    assert_eq!(StyleModel::random(0, 99, 0).residual_blocks(), 32);
}

#[test]
fn f32_files_give_the_same_bits_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.safetensors");
    for (nc, blocks) in [(1, 1), (4, 5), (8, 32)] {
        let model = StyleModel::random(nc, blocks, 3);
        let metadata = BTreeMap::from([("style".to_owned(), "täst \"1\"\n".to_owned())]);
        let report = model.save_safetensors(&path, SaveDtype::F32, &metadata).expect("saved");
        assert_eq!((report.largest_relative_change, report.bytes), (0.0, path.metadata().expect("a file").len()));
        let back = StyleModel::load(&path).expect("our own file");
        assert!(same_bits(&back, &model));
        assert_eq!(back.metadata()["style"], metadata["style"]);
        assert_eq!(back.metadata()["base_channels"], nc.to_string());
        assert_eq!(back.metadata()["residual_blocks"], blocks.to_string());
        // The reference crate accepts the file too.
        let bytes = std::fs::read(&path).expect("a file");
        let file = safetensors::SafeTensors::deserialize(&bytes).expect("sound");
        assert_eq!(file.len(), model.tensors().len());
        // The same model gives the same file.
        assert_eq!(bytes, back.to_safetensors(SaveDtype::F32, &BTreeMap::new()).expect("again").0);
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 1, "no temporary files stay");
}

#[test]
fn f16_files_report_the_change() {
    let model = StyleModel::random(4, 2, 5);
    let (bytes, report) = model.to_safetensors(SaveDtype::F16, &BTreeMap::new()).expect("a file");
    // Half a unit in the last of 11 bits, and more only below the normal range.
    assert!(report.largest_relative_change > 1e-5 && report.tensor.is_some(), "{report:?}");
    let back = read(&bytes).expect("our own file");
    assert!(back.f16_exact() && !model.f16_exact());
    assert_eq!(back.source_dtype(), Some(Dtype::F16));
    let mut largest = 0.0_f32;
    for (a, b) in model.tensors().iter().zip(back.tensors()) {
        assert!(a.shape.len() == 4 || a.data == b.data, "{}", a.name);
        let changes = a.data.iter().zip(&b.data).filter(|(x, _)| **x != 0.0);
        largest = changes.fold(largest, |m, (x, y)| m.max((x - y).abs() / x.abs()));
    }
    assert_eq!(largest, report.largest_relative_change);
}

#[test]
fn saving_to_an_impossible_place_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("no/such/out.safetensors");
    let error = StyleModel::random(1, 1, 0).save_safetensors(&path, SaveDtype::F32, &BTreeMap::new());
    assert!(matches!(error, Err(WeightsError::Io { .. })));
    assert!(matches!(StyleModel::load(&path), Err(WeightsError::Io { .. })));
    assert!(matches!(StyleModel::load(folder.path()), Err(WeightsError::Io { .. })));
}

#[test]
fn blends_are_weighted_means() {
    let (a, b) = (StyleModel::random(4, 2, 1), StyleModel::random(4, 2, 2));
    assert!(same_bits(&StyleModel::blend(&[(&a, 1.0)]).expect("one"), &a));
    assert!(same_bits(&StyleModel::blend(&[(&a, 0.3)]).expect("one"), &a));
    assert!(same_bits(&StyleModel::blend(&[(&b, 0.0), (&a, 2.0)]).expect("one counts"), &a));
    assert!(same_bits(&StyleModel::blend(&[(&a, 0.5), (&a, 0.5)]).expect("twice"), &a));
    let mixed = StyleModel::blend(&[(&a, 3.0), (&b, 1.0)]).expect("two");
    assert_eq!(mixed.container(), Container::Memory);
    for ((m, a), b) in mixed.tensors().iter().zip(a.tensors()).zip(b.tensors()) {
        for ((m, a), b) in m.data.iter().zip(&a.data).zip(&b.data) {
            assert!((m - (0.75 * a + 0.25 * b)).abs() <= 1e-6);
        }
    }
    for wrong in [
        vec![],
        vec![(&a, 0.0)],
        vec![(&a, f32::NAN)],
        vec![(&a, -1.0), (&b, 2.0)],
        vec![(&a, 1.0), (&StyleModel::random(4, 3, 1), 1.0)],
        vec![(&a, 1.0), (&StyleModel::random(8, 2, 1), 0.0)],
    ] {
        assert!(matches!(StyleModel::blend(&wrong), Err(WeightsError::Blend { .. })));
    }
}

#[test]
fn both_torch_forms_load() {
    let model = StyleModel::random(2, 3, 9);
    let back = read(&torch_zip(&model)).expect("zip form");
    assert!(same_bits(&back, &model));
    let back = read(&torch_zip_wide(&model, true)).expect("zip form for large files");
    assert!(same_bits(&back, &model));
    let back = read(&torch_legacy(&model)).expect("old form");
    assert_eq!(back.container(), Container::TorchLegacy);
    assert!(same_bits(&back, &model));
    // Whatever is cut off the end of the old form is missed.
    let file = torch_legacy(&model);
    for cut in [1, 5, 100, file.len() / 2, file.len() - 20] {
        let error = read(&file[..file.len() - cut]).expect_err("cut");
        assert!(matches!(error, WeightsError::Truncated { .. }), "{cut}: {error:?}");
    }
}

#[test]
fn every_onnx_variant_loads() {
    let model = StyleModel::random(2, 3, 4);
    let exact = |spec: &Spec| {
        let back = read(&onnx(&model, spec)).expect("a sound graph");
        assert!(same_bits(&back, &model));
    };
    for opset in [8, 9, 11, 17] {
        exact(&Spec { opset, ..Spec::default() });
    }
    exact(&Spec { store: Store::FloatList, ..Spec::default() });
    exact(&Spec { store: Store::F64List, ..Spec::default() });
    exact(&Spec { detours: true, ..Spec::default() });
    for (store, dtype) in [(Store::HalfInts, Dtype::F16), (Store::Bf16Raw, Dtype::Bf16)] {
        let back = read(&onnx(&model, &Spec { store, ..Spec::default() })).expect("narrow weights");
        assert_eq!(back.source_dtype(), Some(dtype));
        for (a, b) in model.tensors().iter().zip(back.tensors()) {
            assert!(a.data.iter().zip(&b.data).all(|(x, y)| (x - y).abs() <= x.abs() / 128.0 + 1e-7));
        }
    }
}

#[test]
fn other_graphs_are_refused_at_the_node() {
    let model = StyleModel::random(2, 2, 4);
    let base = Spec::default;
    for (spec, wanted) in [
        (Spec { pad_mode: "constant", ..base() }, "Pad"),
        (Spec { conv_pads: [1; 4], ..base() }, "Conv"),
        (Spec { up_conv: "ConvTranspose", ..base() }, "ConvTranspose"),
        (Spec { tail: Some("Tanh"), ..base() }, "Tanh"),
        (Spec { tail: Some("Relu"), ..base() }, "Relu"),
        (Spec { relu: "LeakyRelu", ..base() }, "LeakyRelu"),
        (Spec { relu: "Floor", ..base() }, "Floor"),
        (Spec { epsilon: 1e-3, ..base() }, "InstanceNormalization"),
        (Spec { resize_mode: "linear", ..base() }, "Resize"),
        (Spec { rounding: "round_prefer_floor", ..base() }, "Resize"),
        (Spec { scale: 4.0, ..base() }, "Resize"),
        (Spec { scale: 3.0, opset: 9, ..base() }, "Upsample"),
        (Spec { wrong_skip: true, ..base() }, "Add"),
    ] {
        match read(&onnx(&model, &spec)) {
            Err(WeightsError::UnsupportedGraph { op, node, .. }) => {
                assert_eq!(op, wanted);
                assert!(!node.is_empty());
            }
            other => panic!("{wanted}: {other:?}"),
        }
    }
}

#[test]
fn views_may_not_multiply_a_storage() {
    // Zero strides would make a network of 27 MB out of four bytes.
    let entries: Vec<(String, Vec<u8>)> = StyleModel::random(64, 5, 0)
        .tensors()
        .iter()
        .map(|t| (t.name.clone(), tensor("0", 1, 0, &t.shape, &vec![0; t.shape.len()], false)))
        .collect();
    let error = read(&torch_zip_of(&dict(&entries), &[vec![0; 4]])).expect_err("too wide");
    assert!(matches!(error, WeightsError::Truncated { what: "the weights", .. }), "{error:?}");
}

#[test]
fn views_outside_of_their_storage_are_refused() {
    let model = StyleModel::random(1, 1, 0);
    let with = |numel: usize, offset: usize, stride: usize| {
        let mut entries: Vec<(String, Vec<u8>)> = Vec::new();
        for (i, t) in model.tensors().iter().enumerate() {
            let value = if t.name == "conv1.conv2d.bias" {
                tensor(&i.to_string(), numel, offset, &t.shape, &[stride], false)
            } else {
                tensor(&i.to_string(), t.data.len(), 0, &t.shape, &row_major(&t.shape), false)
            };
            entries.push((t.name.clone(), value));
        }
        let data = |t: &style::weights::Tensor| t.data.iter().flat_map(|x| x.to_le_bytes()).collect();
        read(&torch_zip_of(&dict(&entries), &model.tensors().iter().map(data).collect::<Vec<_>>()))
    };
    assert!(same_bits(&with(1, 0, 1).expect("sound"), &model));
    // A single element may have any stride.
    assert!(same_bits(&with(1, 0, 77).expect("sound"), &model));
    assert!(matches!(with(1, 1, 1), Err(WeightsError::Malformed { .. })));
    assert!(matches!(with(2, 0, 1), Err(WeightsError::Truncated { .. })));
    assert!(matches!(with(1, 0x7fff_ffff, 0x7fff_ffff), Err(WeightsError::Malformed { .. })));
}

#[test]
fn foreign_files_get_a_hint() {
    let hint = |bytes: &[u8]| match read(bytes).expect_err("foreign") {
        WeightsError::ForeignFormat { format, remedy } => {
            assert!(!remedy.is_empty());
            format.to_owned()
        }
        other => panic!("{other:?}"),
    };
    assert!(hint(&zip(&[("a.npy", b"x")], 0)).contains("NumPy"));
    assert!(hint(&zip(&[("a.npy", b"x")], 8)).contains("NumPy"));
    assert!(hint(b"\x93NUMPY\x01\0").contains("NumPy"));
    assert!(hint(b"\x89HDF\r\n\x1a\n\0\0\0\0").contains("HDF5"));
    assert!(hint(b"\x1c\0\0\0TFL3\0\0").contains("TensorFlow"));
    assert!(hint(b"\x0a\x10\x0a\x01x\x12\x0bPlaceholder").contains("TensorFlow"));
    assert!(hint(b"\0\0\0\0\x57\xfb\x80\x8b\x24\x75\x47\xdb").contains("TensorFlow"));
    assert!(hint(b"\x04\0\0\0\x01\0\0\0\x03\0\0\0V 1\x10").contains("Torch7"));
    assert!(hint(b"4\n1\n3\nV 1\n").contains("Torch7"));
    for packed in [&b"\x1f\x8b\x08\0"[..], b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0\0", b"BZh9"] {
        assert!(matches!(read(packed), Err(WeightsError::Compressed { .. })));
    }
    let packed = zip(&[("m/data.pkl", b"x")], 8);
    assert!(matches!(read(&packed), Err(WeightsError::Compressed { entry }) if entry == "m/data.pkl"));
    let picture = read(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR").expect_err("a picture").to_string();
    assert!(picture.contains("found a picture"), "{picture}");
    for other in [&b"hello"[..], b"<!DOCTYPE html><html>", b"\x80\x04K\x01.", b"\xff\xfe\xfd", b"\x08"] {
        assert!(read(other).is_err());
    }
}

#[test]
fn unsafe_names_are_refused_by_name() {
    for (pickle, name) in [
        (&b"\x80\x02cos\nsystem\n(X\x02\0\0\0lstR."[..], "os.system"),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93.", "posix.system"),
        (b"\x80\x02ctorch.nn.modules.conv\nConv2d\n)\x81.", "torch.nn.modules.conv.Conv2d"),
        (b"(ios\nsystem\n.", "os.system"),
    ] {
        match read(&torch_zip_of(pickle, &[])) {
            Err(WeightsError::UnsafePickle { global }) => assert_eq!(global, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn python_2_checkpoints_load() {
    // An ordered dict as a list of pairs, with byte strings.
    let model = StyleModel::random(1, 1, 0);
    let mut pickle = b"\x80\x02ccollections\nOrderedDict\n]".to_vec();
    let mut storages = Vec::new();
    for (i, t) in model.tensors().iter().enumerate() {
        pickle.extend(b"](U");
        pickle.push(t.name.len() as u8);
        pickle.extend(t.name.as_bytes());
        pickle.extend(tensor(&i.to_string(), t.data.len(), 0, &t.shape, &row_major(&t.shape), false));
        pickle.extend(b"ea");
        storages.push(t.data.iter().flat_map(|x| x.to_le_bytes()).collect());
    }
    pickle.extend(b"\x85R.");
    assert!(same_bits(&read(&torch_zip_of(&pickle, &storages)).expect("a list of pairs"), &model));
}

#[test]
fn a_cycle_or_a_deep_nest_is_harmless() {
    let deep = [b"\x80\x02".to_vec(), b"]".repeat(60_000), b"a".repeat(59_999), b".".to_vec()].concat();
    let cycle = b"\x80\x02}q\x00X\x05\0\0\0modelh\x00s.".to_vec();
    let many = [b"\x80\x02".to_vec(), b"}".repeat(1_000_000), b".".to_vec()].concat();
    for pickle in [deep, cycle, many] {
        assert!(matches!(read(&torch_zip_of(&pickle, &[])), Err(WeightsError::Malformed { .. })));
    }
}

#[test]
fn headers_that_overflow_are_refused() {
    let file = |json: &str| [&(json.len() as u64).to_le_bytes()[..], json.as_bytes()].concat();
    let big = (1_u64 << 61) - 1;
    let entry = |i: u64| {
        format!("\"t{i}\":{{\"dtype\":\"U8\",\"shape\":[{big}],\"data_offsets\":[{},{}]}}", i * big, (i + 1) * big)
    };
    let json = format!("{{{}}}", (0..8).map(entry).collect::<Vec<_>>().join(","));
    assert!(read(&file(&json)).is_err());
    for json in [
        "{}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[18446744073709551615,2],\"data_offsets\":[0,0]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[4,0]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,0]}}",
        "{\"__metadata__\":3}",
        "{\"a\":",
    ] {
        assert!(read(&file(json)).is_err(), "{json}");
    }
}

#[test]
fn strict_is_the_default() {
    assert!(!LoadOptions::default().allow_extra);
}
