//! `wmma` round trips through memory, and `ldmatrix` and `stmatrix`.

#![allow(clippy::manual_midpoint, clippy::needless_range_loop)]

use super::tests::{Values, bits, naive};
use super::{Elem, LANES, Layout, MatrixMove, Mma, Register, Space, Wmma, WmmaMemory};

fn wmma(text: &str) -> Option<Wmma> {
    let modifiers: Vec<&str> = text.split('.').collect();
    Wmma::parse(&modifiers)
}

/// A matrix given by rows, as memory in an order with a stride.
fn in_memory(elem: Elem, matrix: &[i64], columns: usize, layout: &str, stride: usize) -> Vec<u64> {
    let rows = matrix.len() / columns;
    let mut memory = vec![0xDEAD; stride * rows.max(columns)];
    for (at, &value) in matrix.iter().enumerate() {
        let (row, column) = (at / columns, at % columns);
        let at = if layout == "row" { row * stride + column } else { column * stride + row };
        memory[at] = bits(elem, value);
    }
    memory
}

fn load(access: &WmmaMemory, memory: &[u64], stride: usize) -> Vec<Register> {
    let mut registers = vec![[0; LANES]; access.fragment.registers()];
    for lane in 0..LANES {
        for element in 0..access.fragment.elements() {
            let value = memory[access.offset(lane, element, stride)];
            access.fragment.set(&mut registers, lane, element, value);
        }
    }
    registers
}

fn store(access: &WmmaMemory, registers: &[Register], memory: &mut [u64], stride: usize) {
    for lane in 0..LANES {
        for element in 0..access.fragment.elements() {
            let value = access.fragment.get(registers, lane, element);
            memory[access.offset(lane, element, stride)] = value;
        }
    }
}

/// Load, multiply and store in every order of the four matrices.
fn check(shape: &str, elem: [&str; 4], registers: (usize, usize, usize, usize)) {
    let [d_type, a_type, b_type, c_type] = elem;
    let orders = ["row", "col"];
    for choice in 0..16 {
        let order = |bit: usize| orders[choice >> bit & 1];
        let types = if a_type == "f16" { format!("{d_type}.{c_type}") } else { elem.join(".") };
        let text = format!("mma.sync.aligned.{}.{}.{shape}.{types}", order(0), order(1));
        let Some(Wmma::Multiply(mma)) = wmma(&text) else { panic!("{text}") };
        assert_eq!(mma.registers(), registers, "{text}");
        let access = |role: &str, bit: usize, elem: &str| {
            let text = format!("load.{role}.sync.aligned.{}.{shape}.shared.{elem}", order(bit));
            let Some(Wmma::Load(access)) = wmma(&text) else { panic!("{text}") };
            assert_eq!(access.space, Space::Shared);
            access
        };
        let accesses = [access("a", 0, a_type), access("b", 1, b_type), access("c", 2, c_type)];
        assert_eq!([accesses[0].fragment, accesses[1].fragment], [mma.a, mma.b]);
        let text = format!("store.d.sync.aligned.{}.{shape}.global.{d_type}", order(3));
        let Some(Wmma::Store(to)) = wmma(&text) else { panic!("{text}") };

        let mut values = Values::new(choice as u64 + 7);
        let padding = choice % 3 * 8;
        let mut matrices = Vec::new();
        let mut fragments = Vec::new();
        for (bit, access) in accesses.iter().enumerate() {
            let fragment = access.fragment;
            let matrix = values.matrix(fragment.elem, fragment.rows() * fragment.columns());
            let stride = access.default_stride() + padding;
            let memory = in_memory(fragment.elem, &matrix, fragment.columns(), order(bit), stride);
            fragments.push(load(access, &memory, stride));
            matrices.push(matrix);
        }
        let mut result = vec![[u64::MAX; LANES]; registers.3];
        mma.run(&fragments[0], &fragments[1], &fragments[2], &mut result);
        let stride = to.default_stride() + padding;
        let product = naive(mma.shape(), &matrices[0], &matrices[1], &matrices[2]);
        let expected = in_memory(mma.d.elem, &product, mma.shape().n, order(3), stride);
        let mut memory = vec![0xDEAD; expected.len()];
        store(&to, &result, &mut memory, stride);
        assert_eq!(memory, expected, "{text}");
        // C may be stored as D.
        if d_type == c_type {
            assert_eq!(accesses[2].fragment.places(), to.fragment.places());
        }
    }
}

#[test]
fn wmma_round_trips() {
    for d in ["f16", "f32"] {
        for c in ["f16", "f32"] {
            let count = |elem: &str| if elem == "f16" { 4 } else { 8 };
            for shape in ["m16n16k16", "m8n32k16", "m32n8k16"] {
                check(shape, [d, "f16", "f16", c], (8, 8, count(c), count(d)));
            }
        }
    }
    for (shape, a, b) in [("m16n16k16", 4, 4), ("m8n32k16", 2, 8), ("m32n8k16", 8, 2)] {
        check(shape, ["f32", "bf16", "bf16", "f32"], (a, b, 8, 8));
        for elem in ["s8", "u8"] {
            check(shape, ["s32", elem, elem, "s32"], (a / 2, b / 2, 8, 8));
        }
    }
    check("m16n16k8", ["f32", "tf32", "tf32", "f32"], (4, 4, 8, 8));
    check("m8n8k4", ["f64", "f64", "f64", "f64"], (1, 1, 2, 2));
}

#[test]
fn wmma_details() {
    let text = "mma.sync.aligned.row.col.m16n16k16.s32.u8.u8.s32.satfinite";
    assert!(matches!(wmma(text), Some(Wmma::Multiply(mma)) if mma.saturate));
    assert!(wmma("mma.sync.aligned.row.col.m8n8k4.rn.f64.f64.f64.f64").is_some());
    let Some(Wmma::Load(access)) = wmma("load.c.sync.aligned.col.m8n32k16.f32") else { panic!() };
    assert_eq!((access.space, access.layout), (Space::Generic, Layout::Column));
    assert_eq!(access.default_stride(), 8);
    for text in [
        "load.d.sync.aligned.row.m16n16k16.f32",
        "store.c.sync.aligned.row.m16n16k16.f32",
        "load.a.sync.aligned.row.m16n16k16.f32",
        "load.a.sync.aligned.row.m16n16k8.f16",
        "load.c.sync.aligned.row.m16n16k16.bf16",
        "mma.sync.aligned.row.col.m16n16k16.f32.f64",
        "mma.sync.aligned.row.col.m8n8k4.rz.f64.f64.f64.f64",
        "mma.sync.aligned.row.col.m16n8k16.f32.f32",
    ] {
        assert_eq!(wmma(text), None, "{text}");
    }
}

/// Shared memory of 16-bit elements at even byte addresses.
fn ldmatrix(text: &str, memory: &[u64], address: impl Fn(usize) -> usize) -> Vec<Register> {
    let modifiers: Vec<&str> = text.split('.').collect();
    let load = MatrixMove::parse(&modifiers).unwrap();
    let mut registers = vec![[0; LANES]; load.count];
    for lane in 0..LANES {
        for (j, register) in registers.iter_mut().enumerate() {
            let [low, high] = load.halves(lane, j).map(|half| {
                assert!(half.lane < load.address_lanes() && half.offset < 16);
                memory[(address(half.lane) + half.offset) / 2]
            });
            register[lane] = low | high << 16;
        }
    }
    registers
}

#[test]
fn ldmatrix_feeds_mma() {
    let text: Vec<&str> = "sync.aligned.m16n8k16.row.col.f16.f16.f16.f16".split('.').collect();
    let mma = Mma::parse(&text).unwrap();
    let mut values = Values::new(11);
    let [a, b, c] = [256, 128, 128].map(|size| values.matrix(Elem::F16, size));
    let expected = in_memory(Elem::F16, &naive(mma.shape(), &a, &b, &c), 8, "row", 8);

    // A by rows with rows 24 elements apart: four matrices, the rows' halves.
    let memory = in_memory(Elem::F16, &a, 16, "row", 24);
    let ra = ldmatrix("sync.aligned.m8n8.x4.shared.b16", &memory, |lane| 2 * (lane % 16 * 24 + lane / 16 * 8));
    // B by columns, then B by rows transposed on the way: the same registers.
    let memory = in_memory(Elem::F16, &b, 8, "col", 16);
    let rb = ldmatrix("sync.aligned.m8n8.x2.shared::cta.b16", &memory, |lane| 2 * (lane % 8 * 16 + lane / 8 * 8));
    let memory = in_memory(Elem::F16, &b, 8, "row", 8);
    let transposed = ldmatrix("sync.aligned.m8n8.x2.trans.shared.b16", &memory, |lane| 2 * (lane * 8));
    assert_eq!(rb, transposed);
    // C as two matrices of 8 rows.
    let memory = in_memory(Elem::F16, &c, 8, "row", 8);
    let rc = ldmatrix("sync.aligned.m8n8.x2.b16", &memory, |lane| 16 * lane);

    let mut d = vec![[0; LANES]; 2];
    mma.run(&ra, &rb, &rc, &mut d);
    // stmatrix puts D back by rows, or transposed by columns.
    for (text, order) in [("x2", "row"), ("x2.trans", "col")] {
        let text = format!("sync.aligned.m8n8.{text}.shared.b16");
        let modifiers: Vec<&str> = text.split('.').collect();
        let store = MatrixMove::parse(&modifiers).unwrap();
        let mut memory = vec![0; 128];
        for lane in 0..LANES {
            for (j, register) in d.iter().enumerate() {
                for (i, half) in store.halves(lane, j).into_iter().enumerate() {
                    // By columns, a row of 16 bytes is half a column of D.
                    let address = match order {
                        "row" => half.lane * 16,
                        _ => half.lane % 8 * 32 + half.lane / 8 * 16,
                    };
                    memory[(address + half.offset) / 2] = register[lane] >> (16 * i) & 0xFFFF;
                }
            }
        }
        if order == "row" {
            assert_eq!(memory, expected);
        } else {
            for (at, &value) in expected.iter().enumerate() {
                assert_eq!(memory[at % 8 * 16 + at / 8], value);
            }
        }
    }
}

#[test]
fn ldmatrix_places() {
    let parse = |text: &str| MatrixMove::parse(&text.split('.').collect::<Vec<_>>());
    let plain = parse("sync.aligned.m8n8.x1.shared.b16").unwrap();
    assert_eq!((plain.count, plain.transposed, plain.shared), (1, false, true));
    assert_eq!(plain.address_lanes(), 8);
    let [low, high] = plain.halves(13, 0);
    assert_eq!((low.lane, low.offset, high.lane, high.offset), (3, 4, 3, 6));
    let turned = parse("sync.aligned.m8n8.x4.trans.b16").unwrap();
    let [low, high] = turned.halves(13, 2);
    assert_eq!((low.lane, low.offset, high.lane, high.offset), (18, 6, 19, 6));
    for text in [
        "sync.aligned.m8n8.x3.shared.b16",
        "sync.aligned.m8n8.x4.shared.b8",
        "sync.aligned.m16n16.x1.trans.shared.b8",
        "sync.aligned.m8n8.x4",
        "sync.aligned.m8n8.x4.shared.trans.b16.b16",
    ] {
        assert_eq!(parse(text), None, "{text}");
    }
}
