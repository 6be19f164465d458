//! No file makes the loader hold more than twice its size and 64 MB.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::graph::{Spec, Store, onnx};
use common::{Random, damage, dict, formats, stored, tensor, torch_legacy, torch_zip, torch_zip_of, zip};
use style::weights::{SaveDtype, StyleModel};

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator with a count of the bytes in use.
struct Counting;

fn grown(by: usize) {
    let now = NOW.fetch_add(by, Ordering::Relaxed) + by;
    PEAK.fetch_max(now, Ordering::Relaxed);
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both blocks exist while the content is copied.
        grown(size);
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Loads a file and checks what was held at most; returns that.
fn bounded(file: &[u8], what: &str) -> usize {
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let result = StyleModel::from_bytes(file, "x.onnx");
    let held = PEAK.load(Ordering::Relaxed) - before;
    let allowed = 2 * file.len() + (64 << 20);
    assert!(held <= allowed, "{what}: {held} bytes for a file of {}: {:?}", file.len(), result.map(|m| m.nc()));
    held
}

/// Files that ask for as much as they can.
fn greedy() -> Vec<(&'static str, Vec<u8>)> {
    let head = |json: String| [&(json.len() as u64).to_le_bytes()[..], json.as_bytes()].concat();
    let model = StyleModel::random(1, 1, 0);
    let zero_stride: Vec<(String, Vec<u8>)> = StyleModel::random(64, 5, 0)
        .tensors()
        .iter()
        .map(|t| (t.name.clone(), tensor("0", 1, 0, &t.shape, &vec![0; t.shape.len()], false)))
        .collect();
    let key = common::text(&"k".repeat(1 << 20));
    let long_names = [&b"\x80\x02}("[..], &key, b"q\0", &b"h\0N".repeat(40_000), b"Nu."].concat();
    let tuples = [&b"\x80\x02"[..], &b"N\x85".repeat(60_000), b"."].concat();
    let lists = [&b"\x80\x02](".to_vec()[..], &b"]Na".repeat(60_000), b"e."].concat();
    let memo: Vec<u8> = (0..140_000_u32).flat_map(|i| [&b"r"[..], &i.to_le_bytes()].concat()).collect();
    let memo = [&b"\x80\x02N"[..], &memo, b"."].concat();
    let doubled = [&b"\x80\x02)q\0"[..], &b"h\0h\0\x86q\0".repeat(1000), b"."].concat();
    let ordered = [
        &b"\x80\x02ccollections\nOrderedDict\nq\x01]("[..],
        &b"NN\x86".repeat(20_000),
        b"e\x85q\x02",
        &b"h\x01h\x02R".repeat(5_000),
        b".",
    ]
    .concat();
    let node = common::graph::node("Relu", &["a"], "b", &[]);
    let graph = |part: &[u8]| {
        let graph = part.repeat((8 << 20) / part.len());
        [b"\x08\x08".to_vec(), common::graph::bytes(7, &graph), b"\x42\x02\x10\x11".to_vec()].concat()
    };
    let entries: Vec<(String, Vec<u8>)> = (0..60_000).map(|i| (format!("{i}"), Vec::new())).collect();
    let entries: Vec<(&str, &[u8])> = entries.iter().map(|(n, d)| (n.as_str(), d.as_slice())).collect();
    let many_tensors: Vec<String> =
        (0..60_000).map(|i| format!("\"{i}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}")).collect();
    let metadata: Vec<String> = (0..300_000).map(|i| format!("\"{i:x}\":\"\"")).collect();
    vec![
        ("zero strides", torch_zip_of(&dict(&zero_stride), &[vec![0; 4]])),
        ("long names", torch_zip_of(&long_names, &[])),
        ("tuples", torch_zip_of(&tuples, &[])),
        ("lists", torch_zip_of(&lists, &[])),
        ("stack", torch_zip_of(&b"]".repeat(8 << 20), &[])),
        ("marks", torch_zip_of(&b"(".repeat(8 << 20), &[])),
        ("nones", torch_zip_of(&b"N".repeat(8 << 20), &[])),
        ("memo", torch_zip_of(&memo, &[])),
        ("doubling", torch_zip_of(&doubled, &[])),
        ("ordered dicts", torch_zip_of(&ordered, &[])),
        ("entries", zip(&entries, 0)),
        ("nodes", graph(&node)),
        ("empty nodes", graph(b"\x0a\0")),
        ("initialisers", graph(b"\x2a\0")),
        ("inputs", graph(b"\x5a\0")),
        ("outputs", graph(b"\x62\0")),
        ("links", graph(&common::graph::bytes(1, &b"\x0a\0".repeat(1000)))),
        ("shape", head(format!("{{\"a\":{{\"shape\":[{}0]}}}}", "0,".repeat(2_000_000)))),
        ("unknown", head(format!("{{\"a\":{{\"x\":{}}}}}", "[".repeat(4_000_000)))),
        ("tensors", head(format!("{{{}}}", many_tensors.join(",")))),
        ("metadata", head(format!("{{\"__metadata__\":{{{}}}}}", metadata.join(",")))),
        ("f16 ints", onnx(&StyleModel::random(16, 5, 0), &Spec { store: Store::HalfInts, ..Spec::default() })),
        ("one", model.to_safetensors(SaveDtype::F16, &std::collections::BTreeMap::new()).expect("a file").0),
    ]
}

// One test only: the count is of the whole process.
#[test]
fn memory_stays_within_its_bound() {
    let mut most = 0;
    for (what, file) in greedy() {
        most = most.max(bounded(&file, what));
    }
    let model = StyleModel::random(2, 2, 0);
    let none = std::collections::BTreeMap::new();
    let mut files = vec![
        model.to_safetensors(SaveDtype::F32, &none).expect("a file").0,
        torch_zip(&model),
        torch_legacy(&model),
        onnx(&model, &Spec::default()),
        onnx(&model, &Spec { opset: 9, ..Spec::default() }),
    ];
    if std::env::var_os("LOCKSTEP_DATA").is_some() {
        files.extend(formats("").iter().map(|n| stored(&format!("formats/{n}"))));
    }
    let mut random = Random(3);
    for round in 0..8_000 {
        let file = damage(&files[round % files.len()], &mut random);
        most = most.max(bounded(&file, "a damaged file"));
    }
    // The bound was tested by something.
    assert!(most > 1 << 20, "{most}");
}
