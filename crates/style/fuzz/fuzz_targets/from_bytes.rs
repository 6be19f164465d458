//! Any bytes must end in a model or an error, within the memory that libFuzzer allows.
//!
//! `cargo +nightly fuzz run from_bytes CORPUS -- -max_len=200000`, with weight files in CORPUS.
#![no_main]

use libfuzzer_sys::fuzz_target;
use style::weights::{LoadOptions, SaveDtype, StyleModel};

fuzz_target!(|bytes: &[u8]| {
    for (hint, allow_extra) in [("", true), ("x.onnx", false)] {
        let Ok(model) = StyleModel::from_bytes_with(bytes, hint, LoadOptions { allow_extra }) else { continue };
        // What loads also saves, and comes back with the same bits.
        if let Ok((file, _)) = model.to_safetensors(SaveDtype::F32, &Default::default()) {
            let back = StyleModel::from_bytes(&file, "").expect("our own file");
            for (a, b) in model.tensors().iter().zip(back.tensors()) {
                assert!(a.data.iter().zip(&b.data).all(|(x, y)| x.to_bits() == y.to_bits()));
            }
        }
    }
});
