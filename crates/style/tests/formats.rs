//! Every stored format against the plain one, and every broken file against its error.

mod common;

use common::{formats, path, same_bits, stored};
use style::weights::{Container, Dtype, LoadOptions, StyleModel, WeightsError};

fn load(name: &str) -> StyleModel {
    StyleModel::load(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The model with every value rounded to the number format of `like`.
fn rounded(plain: &StyleModel, like: &StyleModel) -> StyleModel {
    let mut tensors = Vec::new();
    for (t, l) in plain.tensors().iter().zip(like.tensors()) {
        let data: Vec<f32> = match l.source {
            Dtype::F16 => t.data.iter().map(|&x| half::f16::from_f32(x).to_f32()).collect(),
            Dtype::Bf16 => t.data.iter().map(|&x| half::bf16::from_f32(x).to_f32()).collect(),
            _ => t.data.clone(),
        };
        tensors.push((t.name.clone(), t.shape.clone(), data));
    }
    let parts: Vec<Part> = tensors.into_iter().map(|(n, s, d)| (n, s, little_endian(&d))).collect();
    StyleModel::from_bytes(&reference(&parts), "").expect("the reference crate's file")
}

/// A name, a shape and the bytes of f32 values.
type Part = (String, Vec<usize>, Vec<u8>);

fn little_endian(data: &[f32]) -> Vec<u8> {
    data.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// A file written by the reference crate of the format.
fn reference(parts: &[Part]) -> Vec<u8> {
    let views = parts.iter().map(|(n, s, b)| {
        (n, safetensors::tensor::TensorView::new(safetensors::Dtype::F32, s.clone(), b).expect("a view"))
    });
    safetensors::serialize(views, None).expect("a file")
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn every_tiny_file_holds_the_same_weights() {
    let plain = load("formats/tiny.safetensors");
    assert_eq!((plain.nc(), plain.residual_blocks(), plain.tensors().len()), (4, 5, 62));
    for name in formats("tiny") {
        let model = load(&format!("formats/{name}"));
        assert!(same_bits(&model, &rounded(&plain, &model)), "{name}");
        let expected = match name.as_str() {
            n if n.contains("bf16") => Dtype::Bf16,
            n if n.contains("f16") => Dtype::F16,
            _ => Dtype::F32,
        };
        assert_eq!(model.source_dtype(), Some(expected), "{name}");
        assert_eq!(model.f16_exact(), expected == Dtype::F16, "{name}");
        let container = match name.rsplit_once('.').map(|(_, e)| e) {
            Some("safetensors") => Container::Safetensors,
            Some("onnx") => Container::Onnx,
            _ if name.contains("legacy") => Container::TorchLegacy,
            _ => Container::TorchZip,
        };
        assert_eq!(model.container(), container, "{name}");
    }
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn names_do_not_decide() {
    for name in formats("tiny") {
        let bytes = stored(&format!("formats/{name}"));
        for hint in ["", "x.bin", "x.pth", "x.model"] {
            StyleModel::from_bytes(&bytes, hint).unwrap_or_else(|e| panic!("{name} as {hint:?}: {e}"));
        }
    }
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn every_bad_file_has_its_error() {
    for name in formats("bad_") {
        let error = StyleModel::load(path(&format!("formats/{name}"))).expect_err(&name);
        let stem = name.split('.').next().unwrap();
        let right = match (stem, &error) {
            ("bad_empty", WeightsError::Empty)
            | ("bad_truncated", WeightsError::Truncated { .. })
            | ("bad_header_len", WeightsError::HeaderTooLarge { .. })
            | ("bad_nan", WeightsError::NonFinite { .. }) => true,
            ("bad_text", WeightsError::NotAWeightFile { found }) => found.contains("Git LFS"),
            ("bad_missing_key", WeightsError::MissingTensor { names }) => names.len() == 1,
            ("bad_not_a_style_model", WeightsError::UnexpectedTensor { names }) => names == &["a"],
            ("bad_shape", WeightsError::WrongShape { expected, found, .. }) => expected != found,
            ("bad_pickle_code", WeightsError::UnsafePickle { global }) => global == "__builtin__.eval",
            _ => false,
        };
        assert!(right, "{name}: {error:?}");
        let text = error.to_string();
        assert!(!text.contains('\n') && text.starts_with(char::is_lowercase), "{text}");
    }
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn extra_tensors_are_refused_unless_allowed() {
    let plain = load("formats/tiny.safetensors");
    let mut parts: Vec<Part> =
        plain.tensors().iter().map(|t| (t.name.clone(), t.shape.clone(), little_endian(&t.data))).collect();
    parts.push(("fc.weight".to_owned(), vec![2], vec![0; 8]));
    let file = reference(&parts);
    let error = StyleModel::from_bytes(&file, "").expect_err("an extra tensor");
    assert!(matches!(&error, WeightsError::UnexpectedTensor { names } if names == &["fc.weight"]), "{error:?}");
    let model = StyleModel::from_bytes_with(&file, "", LoadOptions { allow_extra: true }).expect("allowed");
    assert!(same_bits(&model, &plain));
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn the_pretrained_styles_load() {
    for style in ["candy", "mosaic", "pointilism", "rain_princess"] {
        let model = load(&format!("weights/{style}.safetensors"));
        assert_eq!((model.nc(), model.residual_blocks()), (32, 5));
        assert_eq!(model.parameter_count(), 1_679_235);
        assert_eq!(model.metadata()["style"], style);
        assert_eq!(model.source_dtype(), Some(Dtype::F16));
        assert!(model.f16_exact());
    }
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn f16_conversion_of_the_pretrained_styles_changes_nothing() {
    use style::weights::SaveDtype;
    let model = load("weights/candy.safetensors");
    let (bytes, report) = model.to_safetensors(SaveDtype::F16, &std::collections::BTreeMap::new()).expect("a file");
    assert_eq!((report.largest_relative_change, report.tensor), (0.0, None));
    assert!(bytes.len() < 3_400_000);
    assert!(same_bits(&StyleModel::from_bytes(&bytes, "").expect("our own file"), &model));
}
