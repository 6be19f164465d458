//! Damaged files end in an error or a model, never in a panic.

mod common;

use common::graph::{Spec, onnx};
use common::{Random, damage, formats, stored, torch_legacy, torch_zip, torch_zip_wide};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use style::weights::{SaveDtype, StyleModel};

/// One file of every container.
fn built() -> Vec<Vec<u8>> {
    let model = StyleModel::random(1, 1, 0);
    let plain = model.to_safetensors(SaveDtype::F32, &std::collections::BTreeMap::new()).expect("a file").0;
    let graphs = [9, 17].map(|opset| onnx(&model, &Spec { opset, detours: opset == 17, ..Spec::default() }));
    let mut files = vec![plain, torch_zip(&model), torch_legacy(&model), torch_zip_wide(&model, true)];
    files.extend(graphs);
    files
}

fn survives(files: &[Vec<u8>], rounds: usize, seed: u64) {
    let mut random = Random(seed);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..rounds {
        let file = damage(&files[random.below(files.len())], &mut random);
        match StyleModel::from_bytes(&file, "x.onnx") {
            Ok(_) => good += 1,
            Err(e) => {
                assert!(!e.to_string().contains('\n'));
                bad += 1;
            }
        }
    }
    assert!(bad > rounds / 10, "{good} of {rounds} unharmed: the damage misses");
}

#[test]
fn damage_never_panics() {
    survives(&built(), 20_000, 1);
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn damage_to_stored_files_never_panics() {
    let names = [formats("tiny"), formats("bad_")].concat();
    let files: Vec<Vec<u8>> = names.iter().map(|n| stored(&format!("formats/{n}"))).collect();
    survives(&files, 6_000, 2);
}

#[test]
fn every_prefix_of_every_container_is_refused() {
    for file in built() {
        for cut in (0..file.len()).step_by(7).chain(file.len().saturating_sub(64)..file.len()) {
            assert!(StyleModel::from_bytes(&file[..cut], "").is_err(), "{cut} of {}", file.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 512, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..600), which in 0..6_usize) {
        let head: &[u8] = [
            &b""[..], b"PK\x03\x04", b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", b"\x08\x08",
            b"\x20\0\0\0\0\0\0\0{", b"\x08\x08\x3a\x40",
        ][which];
        let _ = StyleModel::from_bytes(&[head, &bytes].concat(), "");
        let _ = StyleModel::from_bytes(&common::torch_zip_of(&bytes, &[vec![0; 64]]), "");
    }

    #[test]
    fn any_pickle_instructions_are_survived(ops in proptest::collection::vec(
        proptest::sample::select(&b"(].t}su)eahjqrRQbNKJMX0122\x85\x86\x87\x88\x93\x94ctorch\nSize\n\x00\x01"[..]), 0..300)) {
        let _ = StyleModel::from_bytes(&common::torch_zip_of(&ops, &[]), "");
    }

    #[test]
    fn edits_anywhere_are_survived(which in 0..6_usize, at in any::<prop::sample::Index>(), with in any::<[u8; 4]>()) {
        let mut file = built().swap_remove(which);
        let at = at.index(file.len());
        for (to, from) in file.iter_mut().skip(at).zip(with) {
            *to = from;
        }
        let _ = StyleModel::from_bytes(&file, "");
    }

    #[test]
    fn any_shape_survives_a_round_trip(nc in 1..6_usize, blocks in 1..4_usize, seed in any::<u64>()) {
        let model = StyleModel::random(nc, blocks, seed);
        let none = std::collections::BTreeMap::new();
        let bytes = model.to_safetensors(SaveDtype::F32, &none).expect("a file").0;
        prop_assert!(common::same_bits(&StyleModel::from_bytes(&bytes, "").expect("our own"), &model));
    }
}
