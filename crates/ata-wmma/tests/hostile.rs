//! Input that must be refused, by name.

use std::path::Path;

use ata_wmma::{
    Accept, AnyPatterns, AtaError, BlockDiag, Compensate, CsrView, Patterns, Plan, PlanOptions, Precision,
    SymmetryPolicy, folder, npy, ordering,
};
use gpu_core::{Cpu, Tensor};
use ndarray::{Array3, Array5};

fn policy() -> SymmetryPolicy {
    SymmetryPolicy::default()
}

fn blocks(c: usize, d: usize, nb: usize) -> Array5<f32> {
    Array5::zeros((c, d, nb, 16, 16))
}

fn says(error: &AtaError, parts: &[&str]) {
    let text = error.to_string();
    assert!(parts.iter().all(|p| text.contains(p)), "`{text}` lacks one of {parts:?}");
}

#[test]
fn offsets_must_ascend_inside_the_matrix() {
    for (offsets, part) in
        [(vec![1, 0], "follows"), (vec![0, 0], "follows"), (vec![0, 3], "not below"), (vec![], "none")]
    {
        let b = blocks(1, offsets.len(), 3);
        let error = BlockDiag::from_blocks(b.view(), &offsets, 48, policy()).unwrap_err();
        says(&error, &["offsets", part]);
    }
}

#[test]
fn shapes_symmetry_and_numbers_are_checked() {
    says(&BlockDiag::from_blocks(blocks(1, 1, 3).view(), &[0], 20, policy()).unwrap_err(), &["blocks", "shape"]);
    says(&BlockDiag::from_blocks(blocks(0, 1, 3).view(), &[0], 48, policy()).unwrap_err(), &["0 channels"]);
    let mut b = blocks(2, 1, 3);
    b[(1, 0, 2, 3, 5)] = 1.0;
    let error = BlockDiag::from_blocks(b.view(), &[0], 48, policy()).unwrap_err();
    says(&error, &["not symmetric", "channel 1", "(35, 37)"]);
    let upper = BlockDiag::from_blocks(b.view(), &[0], 48, SymmetryPolicy::UpperWins).unwrap();
    assert_eq!((upper.get(1, 35, 37), upper.get(1, 37, 35)), (1.0, 1.0));
    let mean = BlockDiag::from_blocks(b.view(), &[0], 48, SymmetryPolicy::Average).unwrap();
    assert_eq!(mean.get(1, 37, 35), 0.5);
    b[(0, 0, 1, 0, 0)] = f32::INFINITY;
    says(&BlockDiag::from_blocks(b.view(), &[0], 48, policy()).unwrap_err(), &["blocks", "inf", "[0, 0, 1, 0, 0]"]);
    let mut dense = Array3::<f64>::zeros((1, 20, 20));
    dense[(0, 2, 18)] = 1.0;
    says(&BlockDiag::from_dense(dense.view(), policy()).unwrap_err(), &["not symmetric", "(2, 18)"]);
    dense[(0, 18, 2)] = 1.0;
    assert_eq!(BlockDiag::from_dense(dense.view(), policy()).unwrap().nnz(), 2);
    dense[(0, 3, 3)] = 1e300;
    says(&BlockDiag::from_dense(dense.view(), policy()).unwrap_err(), &["beyond f32", "(3, 3)"]);
    dense[(0, 3, 3)] = f64::NAN;
    says(&BlockDiag::from_dense(dense.view(), policy()).unwrap_err(), &["NaN"]);
    says(&BlockDiag::from_dense(Array3::<f32>::zeros((1, 4, 5)).view(), policy()).unwrap_err(), &["shape"]);
}

#[test]
fn rows_and_diagonals_are_checked() {
    let csr = |indptr: &'static [usize], indices: &'static [usize], data: &'static [f32]| {
        BlockDiag::from_csr(&[CsrView { rows: 2, columns: 2, indptr, indices, data }], policy()).unwrap_err()
    };
    says(&csr(&[0, 1], &[0], &[1.0]), &["indptr"]);
    says(&csr(&[0, 2, 1], &[0], &[1.0]), &["indptr"]);
    says(&csr(&[0, 1, 1], &[2], &[1.0]), &["indices", "column 2"]);
    says(&csr(&[0, 1, 1], &[0, 1], &[1.0]), &["indices"]);
    let data = Array3::<f32>::zeros((1, 2, 5));
    says(&BlockDiag::from_dia(data.view(), &[0, 0], 5, policy()).unwrap_err(), &["twice"]);
    says(&BlockDiag::from_dia(data.view(), &[0, 5], 5, policy()).unwrap_err(), &["outside"]);
    says(&BlockDiag::from_dia(data.view(), &[0, i32::MIN], 5, policy()).unwrap_err(), &["outside"]);
    let error = BlockDiag::from_coo(1, 4, [(0, 1, 4, 1.0)], false, policy()).unwrap_err();
    says(&error, &["(1, 4)", "outside"]);
    says(&ordering::inverse(&[0, 0], 2).unwrap_err(), &["twice"]);
    says(&ordering::inverse(&[0, 2], 2).unwrap_err(), &["not below 2"]);
    assert!(ordering::snake(&[[0, 0]], 0, 0).is_err());
}

#[test]
fn windows_must_lie_inside_the_picture() {
    let new = |corner: [i32; 2], len: usize| Patterns::new([1, 1, 4], vec![0; len], vec![corner], [10, 8]);
    assert!(new([4, 6], 16).is_ok());
    for corner in [[5, 0], [0, 7], [-1, 0], [0, -1], [i32::MAX, 0]] {
        says(&new(corner, 16).unwrap_err(), &["top_left", "outside of the picture"]);
    }
    says(&new([0, 0], 15).unwrap_err(), &["patterns", "shape"]);
    says(&Patterns::<u8>::new([1, 1, 300], vec![], vec![], [1000, 1000]).unwrap_err(), &["256"]);
}

fn truncations(path: &Path, read: impl Fn() -> Result<(), AtaError>) {
    let whole = std::fs::read(path).unwrap();
    for keep in (0..whole.len()).step_by(7) {
        std::fs::write(path, &whole[..keep]).unwrap();
        let error = read().unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, AtaError::File { .. }), "{text}");
        assert!(text.contains(&path.display().to_string()), "{keep}: {text}");
    }
    std::fs::write(path, whole).unwrap();
    read().unwrap();
}

#[test]
fn a_matrix_that_lost_entries_says_so_when_it_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let dense = Array3::from_shape_fn((1, 20, 20), |(_, i, j)| if i == j { 2.0f32 } else { 0.5 });
    let a = BlockDiag::from_dense(dense.view(), policy()).unwrap().threshold(0.5, Compensate::None).unwrap();
    assert!(a.maybe_indefinite(), "entries were dropped");
    folder::save_matrix(&a, folder.path()).unwrap();
    assert_eq!(folder::load_matrix(folder.path()).unwrap(), a);
}

#[test]
fn truncated_files_are_named_with_their_field() {
    let folder = tempfile::tempdir().unwrap();
    let a = BlockDiag::from_blocks(blocks(1, 2, 3).view(), &[0, 2], 40, policy()).unwrap();
    folder::save_matrix(&a, folder.path()).unwrap();
    assert_eq!(folder::load_matrix(folder.path()).unwrap(), a);
    truncations(&folder.path().join("blocks.npy"), || folder::load_matrix(folder.path()).map(drop));
    truncations(&folder.path().join("offsets.npy"), || folder::load_matrix(folder.path()).map(drop));
    let offsets = folder.path().join("offsets.npy");
    npy::write(&offsets, &[2], &[2i32, 0]).unwrap();
    says(&folder::load_matrix(folder.path()).unwrap_err(), &["offsets.npy", "offsets", "follows"]);
    npy::write(&offsets, &[2], &[-1i32, 0]).unwrap();
    says(&folder::load_matrix(folder.path()).unwrap_err(), &["offsets.npy", "negative"]);
    npy::write(&offsets, &[2], &[0.0f32, 1.0]).unwrap();
    says(&folder::load_matrix(folder.path()).unwrap_err(), &["offsets.npy", "descr"]);
    std::fs::write(folder.path().join("meta.json"), "{}").unwrap();
    says(&folder::load_matrix(folder.path()).unwrap_err(), &["meta.json", "n:"]);
    assert!(folder::load_matrix(&folder.path().join("nothing")).unwrap_err().to_string().contains("nothing"));
}

#[test]
fn matrix_market_files_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mtx");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        BlockDiag::from_mtx(&[&path], policy())
    };
    let head = "%%MatrixMarket matrix coordinate real symmetric\n% words\n";
    let a = read(&format!("{head}3 3 2\n2 1 -4.5\n3 3 1e3\n")).unwrap();
    assert_eq!((a.get(0, 0, 1), a.get(0, 1, 0), a.get(0, 2, 2), a.nnz()), (-4.5, -4.5, 1000.0, 3));
    for (text, part) in [
        (String::new(), "empty"),
        ("%%MatrixMarket matrix array real general\n".into(), "line 1"),
        (format!("{head}3 4 0\n"), "not square"),
        (format!("{head}3 3 2\n1 1 1\n"), "truncated"),
        (format!("{head}3 3 1\n0 1 1\n"), "line 4"),
        (format!("{head}3 3 1\n1 4 1\n"), "line 4"),
        (format!("{head}3 3 1\n1 1 nan\n"), "finite"),
        ("%%MatrixMarket matrix coordinate real general\n2 2 1\n1 2 1\n".into(), "not symmetric"),
    ] {
        says(&read(&text).unwrap_err(), &["a.mtx", part]);
    }
}

#[test]
fn headers_that_lie_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    let write = |text: &str, data: &[u8]| {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes.extend(data);
        std::fs::write(&path, bytes).unwrap();
        npy::read(&path)
    };
    for (text, field) in [
        ("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", "descr"),
        ("{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", "descr"),
        ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", "descr"),
        ("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }", "fortran_order"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", "shape"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551615, 18446744073709551615), }", "shape"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }", "data"),
        ("{'descr': '<f4', 'fortran_order': False}", "shape"),
    ] {
        says(&write(text, &[0; 16]).unwrap_err(), &["x.npy", field]);
    }
    assert_eq!(write("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", &[0; 8]).unwrap().shape, [2]);
}

/// NaN and infinities are taken on request, and reach the rows that hold them, no others.
#[test]
fn what_is_not_finite_is_taken_on_request() {
    let accept = Accept { symmetry: policy(), non_finite: true };
    let mut b = blocks(1, 2, 3);
    for i in 0..3 {
        for r in 0..16 {
            b[(0, 0, i, r, r)] = 2.0;
        }
    }
    (b[(0, 0, 0, 3, 5)], b[(0, 0, 0, 5, 3)]) = (f32::NAN, f32::NAN);
    b[(0, 1, 0, 7, 9)] = f32::INFINITY;
    let mut a = BlockDiag::from_blocks(b.view(), &[0, 2], 48, accept).unwrap();
    says(&BlockDiag::from_blocks(b.view(), &[0, 2], 48, policy()).unwrap_err(), &["blocks", "finite"]);
    let dense = a.to_dense();
    says(&BlockDiag::from_dense(dense.view(), policy()).unwrap_err(), &["dense", "finite"]);
    let again = BlockDiag::from_dense(dense.view(), accept).unwrap();
    assert!(again.get(0, 3, 5).is_nan() && again.get(0, 41, 7) == f32::INFINITY && again.nnz() == 52);
    a.add_diagonal(1.0).unwrap();
    a.prune().unwrap();
    let order: Vec<u32> = (0..48).rev().collect();
    assert!(a.permute(&order).unwrap().get(0, 44, 42).is_nan());
    assert!(a.threshold(0.1, Compensate::None).unwrap().get(0, 5, 3).is_nan());
    let cpu = Cpu::new();
    let mut x = [1.0f32; 48];
    // Row 20 has nothing but its diagonal: a NaN there stays there.
    x[20] = f32::NAN;
    let x = Tensor::from_slice(&cpu, [1, 1, 48], &x).unwrap();
    for precision in Precision::ALL {
        // A power of two for x is not looked for.
        let options = PlanOptions { precision, unit_range: true, ..PlanOptions::default() };
        let y = Plan::new(&cpu, &a, options).unwrap().product(&cpu, &x).unwrap().to_vec(&cpu).unwrap();
        for (i, v) in y.iter().enumerate() {
            let in_its_block = (16..32).contains(&i);
            let infinite = i == 7 || i == 41;
            assert_eq!(
                v.is_nan(),
                i == 3 || i == 5 || in_its_block || infinite && v.is_nan(),
                "{precision}, row {i}: {v}"
            );
            assert!(infinite && !v.is_finite() || v.is_nan() || (v - 3.0).abs() < 0.1, "{precision}, row {i}: {v}");
        }
    }
}

#[test]
fn real_patterns_are_checked() {
    let new = |data: Vec<f32>| Patterns::new([2, 1, 2], data, vec![[0, 0], [1, 1]], [4, 4]);
    assert!(new(vec![0.5; 8]).is_ok());
    let mut data = vec![0.5; 8];
    data[5] = f32::NAN;
    says(&new(data).unwrap_err(), &["patterns", "[1, 0, 0, 1]", "finite"]);
    says(&new(vec![1e30; 8]).unwrap().gram_f32(&Cpu::new()).unwrap_err(), &["Gram matrix", "beyond f32"]);
    let folder = tempfile::tempdir().unwrap();
    let patterns = new((0..8).map(|v| v as f32 / 7.0).collect()).unwrap();
    patterns.save(folder.path()).unwrap();
    assert_eq!(AnyPatterns::load(folder.path()).unwrap(), AnyPatterns::Real(vec![patterns.clone()]));
    assert_eq!(Patterns::load_f32(folder.path()).unwrap(), patterns);
    says(&Patterns::load(folder.path()).unwrap_err(), &["patterns.npy", "descr"]);
    npy::write(&folder.path().join("top_left.npy"), &[2, 2, 2], &[0i32; 8]).unwrap();
    says(&AnyPatterns::load(folder.path()).unwrap_err(), &["top_left.npy", "shape", "[2, 1, 2]"]);
    npy::write(&folder.path().join("top_left.npy"), &[2, 1, 2], &[0, 0, 2, 3i32]).unwrap();
    says(&AnyPatterns::load(folder.path()).unwrap_err(), &["top_left.npy", "outside of the picture"]);
    npy::write(&folder.path().join("top_left.npy"), &[2, 1, 2], &[0, 0, 1, 1i32]).unwrap();
    assert_eq!(AnyPatterns::load(folder.path()).unwrap(), AnyPatterns::Real(vec![patterns]));
    npy::write(&folder.path().join("patterns.npy"), &[2, 1, 2, 2], &[0.5f64; 8]).unwrap();
    says(&AnyPatterns::load(folder.path()).unwrap_err(), &["patterns.npy", "descr"]);
}

#[test]
fn some_lower_diagonals_may_be_absent() {
    let n = 40;
    let element = |i: usize, j: usize| if i.abs_diff(j) <= 2 { (1 + i * j + i + j) as f32 } else { 0.0 };
    let from = |offsets: &[i32]| {
        let value = |(_, k, j): (usize, usize, usize)| {
            let i = j as i64 - i64::from(offsets[k]);
            if (0..n as i64).contains(&i) { element(i as usize, j) } else { f32::NAN }
        };
        BlockDiag::from_dia(Array3::from_shape_fn((1, offsets.len(), n), value).view(), offsets, n, policy())
    };
    let wanted = from(&[0, 1, 2]).unwrap();
    for offsets in [&[-2, -1, 0, 1, 2][..], &[-1, 0, 1, 2], &[2, 0, -2, 1]] {
        assert_eq!(from(offsets).unwrap(), wanted, "{offsets:?}");
    }
    says(&from(&[-1, 0]).unwrap_err(), &["not symmetric"]);
}
