//! Matrix instructions: small integers as elements, so that every sum is exact in any order.

use super::{Draft, Variant};
use crate::inputs::Kind;

const G: &str = "matrix";

pub(super) fn add(v: &mut Vec<Variant>) {
    products(v);
    matrices_from_shared(v);
    fragments(v);
}

/// A fragment: register type, registers a thread, and what the slots hold.
type Fragment = (&'static str, usize, Kind);

fn registers(letter: &str, count: usize) -> String {
    (0..count).map(|k| format!("%{letter}{k}")).collect::<Vec<_>>().join(", ")
}

fn products(v: &mut Vec<Variant>) {
    let half = |n| ("b32", n, Kind::MatF16);
    let brain = |n| ("b32", n, Kind::MatBf16);
    let tf32 = |n| ("b32", n, Kind::MatF32);
    let single = |n| ("f32", n, Kind::MatF32);
    let double = |n| ("f64", n, Kind::MatF64);
    let byte = |n| ("b32", n, Kind::Bytes);
    let word = |n| ("b32", n, Kind::Bytes);
    let mut table: Vec<(String, Fragment, Fragment, Fragment, u32)> = vec![
        ("m16n8k8.row.col.f16.f16.f16.f16".into(), half(2), half(1), half(2), 80),
        ("m16n8k8.row.col.f32.f16.f16.f32".into(), half(2), half(1), single(4), 80),
        ("m16n8k16.row.col.f16.f16.f16.f16".into(), half(4), half(2), half(2), 80),
        ("m16n8k16.row.col.f32.f16.f16.f32".into(), half(4), half(2), single(4), 80),
        ("m16n8k8.row.col.f32.bf16.bf16.f32".into(), brain(2), brain(1), single(4), 80),
        ("m16n8k16.row.col.f32.bf16.bf16.f32".into(), brain(4), brain(2), single(4), 80),
        ("m16n8k4.row.col.f32.tf32.tf32.f32".into(), tf32(2), tf32(1), single(4), 80),
        ("m16n8k8.row.col.f32.tf32.tf32.f32".into(), tf32(4), tf32(2), single(4), 80),
        ("m8n8k4.row.col.f64.f64.f64.f64".into(), double(1), double(1), double(2), 80),
        ("m16n8k4.row.col.f64.f64.f64.f64".into(), double(2), double(1), double(4), 90),
        ("m16n8k8.row.col.f64.f64.f64.f64".into(), double(4), double(2), double(4), 90),
        ("m16n8k16.row.col.f64.f64.f64.f64".into(), double(8), double(4), double(4), 90),
    ];
    for (a, b) in [("s8", "s8"), ("u8", "u8"), ("s8", "u8"), ("u8", "s8")] {
        for sat in ["", ".satfinite"] {
            table.push((format!("m8n8k16.row.col{sat}.s32.{a}.{b}.s32"), byte(1), byte(1), word(2), 80));
            table.push((format!("m16n8k16.row.col{sat}.s32.{a}.{b}.s32"), byte(2), byte(1), word(4), 80));
            table.push((format!("m16n8k32.row.col{sat}.s32.{a}.{b}.s32"), byte(4), byte(2), word(4), 80));
        }
    }
    for (shape, a, b, c, sm) in table {
        let text = format!("mma.sync.aligned.{shape}");
        let size = |f: Fragment| if f.0 == "f64" { 8 } else { 4 };
        let mut body = String::new();
        for ((ty, count, _), letter) in [a, b, c].into_iter().zip(["a", "b", "c"]) {
            body += &format!(".reg .{ty} {};\n", registers(letter, count));
            for k in 0..count {
                body +=
                    &format!("ld.global.{ty} %{letter}{k}, [%p{letter}+{}];\n", k * if ty == "f64" { 8 } else { 4 });
            }
        }
        let d = registers("d", c.1);
        body += &format!(".reg .{} {d};\n", c.0);
        let list = |letter, f: Fragment| registers(letter, f.1);
        body += &format!("{text} {{{d}}}, {{{}}}, {{{}}}, {{{}}};\n", list("a", a), list("b", b), list("c", c));
        for k in 0..c.1 {
            body += &format!("st.global.{} [%po+{}], %d{k};\n", c.0, k * 8);
        }
        let slots = |f: Fragment| (f.1 * size(f)).div_ceil(8);
        let draft = Draft::new(G, text, &[a.2, b.2, c.2], body).launch(128, 64);
        let draft = draft.reads(&[slots(a), slots(b), slots(c)]).writes(c.1, size(c));
        if sm == 90 { draft.sm90() } else { draft }.push(v);
    }
}

fn matrices_from_shared(v: &mut Vec<Variant>) {
    for trans in ["", ".trans"] {
        for count in [1, 2, 4] {
            // Lane l gives row (5 l + 3) mod 32 of its warp's 32 rows of 16 bytes.
            let text = format!("ldmatrix.sync.aligned.m8n8.x{count}{trans}.shared.b16");
            let d = registers("d", count);
            let mut body = format!(
                ".reg .b32 %s, %x, %row, {d};\n.reg .b64 %u0, %u1;\nld.global.v2.b64 {{%u0, %u1}}, [%pa];\nmov.u32 %s, buffer;\n\
                 mad.lo.u32 %x, %t, 16, %s;\nst.shared.v2.b64 [%x], {{%u0, %u1}};\nbar.sync 0;\nmad.lo.u32 %row, %t, 5, 3;\n\
                 and.b32 %row, %row, 31;\nand.b32 %x, %t, 0xffffffe0;\nadd.u32 %row, %row, %x;\nmad.lo.u32 %x, %row, 16, %s;\n\
                 {text} {{{d}}}, [%x];\n"
            );
            for k in 0..count {
                body += &format!("st.global.b32 [%po+{}], %d{k};\n", k * 8);
            }
            let draft = Draft::new(G, text, &[Kind::Bytes], body).reads(&[2]).writes(count, 4).launch(128, 64);
            draft.module(".shared .align 16 .b8 buffer[1024];").push(v);
            let text = format!("stmatrix.sync.aligned.m8n8.x{count}{trans}.shared.b16");
            let a = registers("a", count);
            let loads: String = (0..count).map(|k| format!("ld.global.b32 %a{k}, [%pa+{}];\n", 4 * k)).collect();
            let body = format!(
                ".reg .b32 %s, %x, %row, {a};\n.reg .b64 %u0, %u1;\n{loads}mov.u32 %s, buffer;\nmad.lo.u32 %x, %t, 16, %s;\n\
                 mov.u64 %u0, -1;\nst.shared.v2.b64 [%x], {{%u0, %u0}};\nbar.sync 0;\nmad.lo.u32 %row, %t, 5, 3;\n\
                 and.b32 %row, %row, 31;\nand.b32 %u, %t, 0xffffffe0;\nadd.u32 %row, %row, %u;\nmad.lo.u32 %row, %row, 16, %s;\n\
                 {text} [%row], {{{a}}};\nbar.sync 0;\nld.shared.v2.b64 {{%u0, %u1}}, [%x];\n\
                 st.global.b64 [%po], %u0;\nst.global.b64 [%po+8], %u1;\n"
            );
            let body = body.replace("%row, %a0", "%row, %u, %a0");
            let draft = Draft::new(G, text, &[Kind::Bytes], body).reads(&[2]).writes(2, 8).launch(128, 64);
            draft.module(".shared .align 16 .b8 buffer[1024];").sm90().push(v);
        }
    }
    let body = ".reg .b32 %a, %d;\nld.global.b32 %a, [%pa];\nmovmatrix.sync.aligned.m8n8.trans.b16 %d, %a;\nst.global.b32 [%po], %d;\n";
    let draft =
        Draft::new(G, "movmatrix.sync.aligned.m8n8.trans.b16", &[Kind::Bytes], body).launch(128, 64).writes(1, 4);
    draft.sm90().push(v);
}

/// `wmma` load, multiply and store of one matrix a warp. Which lane holds which element is not stated in the ISA, so
/// only memory is compared.
fn fragments(v: &mut Vec<Variant>) {
    let shapes = [(16, 16, 16), (32, 8, 16), (8, 32, 16)];
    // Element type, accumulator type, bytes of each, what the slots hold, registers of a and b by shape, of c.
    let types = [
        ("f16", "f32", 2, 4, Kind::MatF16, Kind::MatF32, [(8, 8), (8, 8), (8, 8)], 8),
        ("f16", "f16", 2, 2, Kind::MatF16, Kind::MatF16, [(8, 8), (8, 8), (8, 8)], 4),
        ("bf16", "f32", 2, 4, Kind::MatBf16, Kind::MatF32, [(4, 4), (8, 2), (2, 8)], 8),
        ("s8", "s32", 1, 4, Kind::Bytes, Kind::Bytes, [(2, 2), (4, 1), (1, 4)], 8),
        ("u8", "s32", 1, 4, Kind::Bytes, Kind::Bytes, [(2, 2), (4, 1), (1, 4)], 8),
    ];
    for (e, acc, e_size, acc_size, kind, acc_kind, counts, c_count) in types {
        for ((m, n, k), (a_count, b_count)) in shapes.into_iter().zip(counts) {
            for (a_order, b_order) in [("row", "col"), ("row", "row"), ("col", "col"), ("col", "row")] {
                let (a_ld, b_ld) = (if a_order == "row" { k } else { m }, if b_order == "row" { n } else { k });
                let types = match e {
                    "f16" => format!("{acc}.{acc}"),
                    _ => format!("{acc}.{e}.{e}.{acc}"),
                };
                let text = format!("wmma.mma.sync.aligned.{a_order}.{b_order}.m{m}n{n}k{k}.{types}");
                wmma(
                    v,
                    &text,
                    (e, acc),
                    (m, n, k),
                    (a_order, b_order),
                    (a_ld, b_ld),
                    (a_count, b_count, c_count),
                    (e_size, acc_size),
                    (kind, acc_kind),
                );
            }
        }
    }
    let double = ((8, 8, 4), "wmma.mma.sync.aligned.row.col.m8n8k4.rn.f64.f64.f64.f64");
    wmma(
        v,
        double.1,
        ("f64", "f64"),
        double.0,
        ("row", "col"),
        (4, 4),
        (1, 1, 2),
        (8, 8),
        (Kind::MatF64, Kind::MatF64),
    );
    let tf32 = "wmma.mma.sync.aligned.row.col.m16n16k8.f32.tf32.tf32.f32";
    wmma(
        v,
        tf32,
        ("tf32", "f32"),
        (16, 16, 8),
        ("row", "col"),
        (8, 8),
        (4, 4, 8),
        (4, 4),
        (Kind::MatF32, Kind::MatF32),
    );
}

fn wmma(
    v: &mut Vec<Variant>,
    text: &str,
    (e, acc): (&str, &str),
    (m, n, k): (usize, usize, usize),
    (a_order, b_order): (&str, &str),
    (a_ld, b_ld): (usize, usize),
    (a_count, b_count, c_count): (usize, usize, usize),
    (e_size, acc_size): (usize, usize),
    (kind, acc_kind): (Kind, Kind),
) {
    let (a_bytes, b_bytes, c_bytes) = (m * k * e_size, k * n * e_size, m * n * acc_size);
    let element = if e == "f64" { "f64" } else { "b32" };
    let sum = if acc == "f16" || acc == "s32" { "b32" } else { acc };
    let lists = [("a", a_count), ("b", b_count), ("c", c_count), ("d", c_count)].map(|(l, c)| registers(l, c));
    let [a, b, c, d] = &lists;
    let shape = format!("m{m}n{n}k{k}");
    let mut body =
        format!(".reg .{element} {a}, {b};\n.reg .{sum} {c}, {d};\n.reg .b64 %xa, %xb, %xc, %xd;\n.reg .b32 %w;\n");
    body += "shr.u32 %w, %i, 5;\n";
    for (letter, base, bytes) in [("a", "a", a_bytes), ("b", "b", b_bytes), ("c", "c", c_bytes), ("d", "o", c_bytes)] {
        body += &format!("mul.wide.u32 %x{letter}, %w, {bytes};\nadd.u64 %x{letter}, %b{base}, %x{letter};\n");
    }
    body += &format!("wmma.load.a.sync.aligned.{a_order}.{shape}.global.{e} {{{a}}}, [%xa], {a_ld};\n");
    body += &format!("wmma.load.b.sync.aligned.{b_order}.{shape}.global.{e} {{{b}}}, [%xb], {b_ld};\n");
    body += &format!("wmma.load.c.sync.aligned.row.{shape}.global.{acc} {{{c}}}, [%xc], {n};\n");
    body += &format!("{text} {{{d}}}, {{{a}}}, {{{b}}}, {{{c}}};\n");
    body += &format!("wmma.store.d.sync.aligned.row.{shape}.global.{acc} [%xd], {{{d}}}, {n};\n");
    let slots = |bytes: usize| bytes.div_ceil(256);
    Draft::new(G, text, &[kind, kind, acc_kind], body)
        .launch(128, 64)
        .reads(&[slots(a_bytes), slots(b_bytes), slots(c_bytes)])
        .writes(slots(c_bytes), 8)
        .push(v);
}
