//! Integer arithmetic, logic, shifts, comparisons and selections.

use super::{Draft, Variant, bits, load, store};
use crate::inputs::Kind;

const G: &str = "integer";
pub(super) const ALL: [&str; 6] = ["u16", "s16", "u32", "s32", "u64", "s64"];

pub(super) fn add(v: &mut Vec<Variant>) {
    arithmetic(v);
    carries(v);
    bit_fields(v);
    logic(v);
    shifts(v);
    comparisons(v);
    moves(v);
}

fn arithmetic(v: &mut Vec<Variant>) {
    for t in ALL {
        for op in ["add", "sub", "mul.lo", "mul.hi", "min", "max"] {
            Draft::op(G, &format!("{op}.{t}"), t, &[t, t]).push(v);
        }
        for op in ["mad.lo", "mad.hi", "sad"] {
            Draft::op(G, &format!("{op}.{t}"), t, &[t, t, t]).push(v);
        }
        for op in ["div", "rem"] {
            let w = bits(t);
            Draft::op(G, &format!("{op}.{t}"), t, &[t, t]).kinds(&[Kind::Int(w), Kind::NonZero(w)]).push(v);
            let by_zero = Draft::op(G, &format!("{op}.{t}"), t, &[t, t]).kinds(&[Kind::Int(w), Kind::Zero]);
            by_zero.named(format!("{op}.{t} by zero")).unspecified().push(v);
        }
        if t.starts_with('s') {
            Draft::op(G, &format!("abs.{t}"), t, &[t]).push(v);
            Draft::op(G, &format!("neg.{t}"), t, &[t]).push(v);
        }
    }
    for op in ["add.sat.s32", "sub.sat.s32"] {
        Draft::op(G, op, "s32", &["s32", "s32"]).push(v);
    }
    Draft::op(G, "mad.hi.sat.s32", "s32", &["s32", "s32", "s32"]).push(v);
    for (narrow, wide) in [("u16", "u32"), ("s16", "s32"), ("u32", "u64"), ("s32", "s64")] {
        Draft::op(G, &format!("mul.wide.{narrow}"), wide, &[narrow, narrow]).push(v);
        Draft::op(G, &format!("mad.wide.{narrow}"), wide, &[narrow, narrow, wide]).push(v);
    }
    for t in ["u32", "s32"] {
        let kinds = [Kind::Int24, Kind::Int24, Kind::Int(32)];
        for half in ["lo", "hi"] {
            Draft::op(G, &format!("mul24.{half}.{t}"), t, &[t, t]).kinds(&kinds).push(v);
            Draft::op(G, &format!("mad24.{half}.{t}"), t, &[t, t, t]).kinds(&kinds).push(v);
        }
        for u in ["u32", "s32"] {
            let d = if t == "u32" && u == "u32" { "u32" } else { "s32" };
            Draft::op(G, &format!("dp4a.{t}.{u}"), d, &[t, u, d]).push(v);
            for half in ["lo", "hi"] {
                Draft::op(G, &format!("dp2a.{half}.{t}.{u}"), d, &[t, u, d]).push(v);
            }
        }
    }
    for t in ["s16x2", "u16x2"] {
        for op in ["add", "min", "max"] {
            let text = format!("{op}.{t}");
            Draft::op(G, &text, "b32", &["b32", "b32"]).target(90, "8.0").push(v);
        }
    }
    for op in ["min.relu.s32", "max.relu.s32", "min.relu.s16x2", "max.relu.s16x2"] {
        Draft::op(G, op, "b32", &["b32", "b32"]).target(90, "8.0").push(v);
    }
}

/// Chains through the carry flag: (hi:lo) of two words each.
fn carries(v: &mut Vec<Variant>) {
    for t in ["u32", "s32", "u64", "s64"] {
        let class = if bits(t) == 32 { "b32" } else { "b64" };
        let w = if bits(t) == 32 { 4 } else { 8 };
        let mut program = |name: String, middle: String| {
            let mut body = load(t, "a") + &load(t, "b") + &load(t, "c");
            body += &format!(".reg .{class} %lo, %hi;\n{middle}");
            body += &(store(t, "lo", 0) + &store(t, "hi", 1));
            let kinds = [Kind::Int(bits(t)); 3];
            Draft::new(G, name, &kinds, body).writes(2, w).push(v);
        };
        for op in ["add", "sub"] {
            program(format!("{op}.cc.{t}; {op}c.{t}"), format!("{op}.cc.{t} %lo, %a, %b;\n{op}c.{t} %hi, %b, %c;\n"));
            program(
                format!("{op}.cc.{t}; {op}c.cc.{t}; {op}c.{t}"),
                format!("{op}.cc.{t} %lo, %a, %b;\n{op}c.cc.{t} %hi, %b, %c;\n{op}c.{t} %lo, %lo, %c;\n"),
            );
        }
        program(
            format!("mad.lo.cc.{t}; madc.hi.{t}"),
            format!("mad.lo.cc.{t} %lo, %a, %b, %c;\nmadc.hi.{t} %hi, %a, %b, %c;\n"),
        );
        program(
            format!("mad.hi.cc.{t}; madc.lo.cc.{t}; addc.{t}"),
            format!("mad.hi.cc.{t} %lo, %a, %b, %c;\nmadc.lo.cc.{t} %hi, %a, %c, %b;\naddc.{t} %lo, %lo, %a;\n"),
        );
    }
}

fn bit_fields(v: &mut Vec<Variant>) {
    for t in ["b32", "b64"] {
        for op in ["popc", "clz"] {
            Draft::op(G, &format!("{op}.{t}"), "u32", &[t]).push(v);
        }
        Draft::op(G, &format!("brev.{t}"), t, &[t]).push(v);
        // bfi has four operands: the length comes with the position, in bits 16 to 31.
        let mut body = load(t, "a") + &load(t, "b") + &load("u32", "c");
        body += &format!(".reg .{t} %d;\n.reg .b32 %pos, %len;\nand.b32 %pos, %c, 0xffff;\nshr.u32 %len, %c, 16;\n");
        body += &format!("bfi.{t} %d, %a, %b, %pos, %len;\n{}", store(t, "d", 0));
        let w = bits(t);
        let kinds = [Kind::Int(w), Kind::Int(w), Kind::Int(32)];
        Draft::new(G, format!("bfi.{t}"), &kinds, body.clone()).writes(1, w as usize / 8).push(v);
        for (pos, len) in [(0, 8), (5, 1), (31, 4), (w - 1, 64), (8, 0), (w, 3)] {
            let text = body.replace("%pos, %len;\nst", &format!("{pos}, {len};\nst"));
            let text = text.replace("and.b32 %pos, %c, 0xffff;\nshr.u32 %len, %c, 16;\n", "");
            Draft::new(G, format!("bfi.{t} {pos}, {len}"), &kinds, text).writes(1, w as usize / 8).push(v);
        }
    }
    for t in ["u32", "s32", "u64", "s64"] {
        Draft::op(G, &format!("bfind.{t}"), "u32", &[t]).push(v);
        Draft::op(G, &format!("bfind.shiftamt.{t}"), "u32", &[t]).push(v);
        let kinds = [Kind::Int(bits(t)), Kind::Shift, Kind::Shift];
        Draft::op(G, &format!("bfe.{t}"), t, &[t, "u32", "u32"]).kinds(&kinds).push(v);
    }
    for mode in ["", ".f4e", ".b4e", ".rc8", ".ecl", ".ecr", ".rc16"] {
        Draft::op(G, &format!("prmt.b32{mode}"), "b32", &["b32", "b32", "b32"]).push(v);
    }
    for selector in ["0x5410", "0x3276", "0xba98", "0x0123", "0x7777"] {
        Draft::op_tail(G, "prmt.b32", selector, "b32", &["b32", "b32"]).push(v);
    }
}

fn logic(v: &mut Vec<Variant>) {
    for t in ["b16", "b32", "b64"] {
        for op in ["and", "or", "xor"] {
            Draft::op(G, &format!("{op}.{t}"), t, &[t, t]).push(v);
        }
        for op in ["not", "cnot"] {
            Draft::op(G, &format!("{op}.{t}"), t, &[t]).push(v);
        }
    }
    for op in ["and", "or", "xor"] {
        Draft::op(G, &format!("{op}.pred"), "pred", &["pred", "pred"]).push(v);
    }
    Draft::op(G, "not.pred", "pred", &["pred"]).push(v);
    for table in [0x00, 0xff, 0xe8, 0x96, 0xca, 0x80, 0xfe, 0x1b, 0x3c, 0xf0, 0x6a, 0xb8] {
        Draft::op_tail(G, "lop3.b32", &format!("{table:#04x}"), "b32", &["b32", "b32", "b32"]).push(v);
    }
}

fn shifts(v: &mut Vec<Variant>) {
    for (op, types) in
        [("shl", &["b16", "b32", "b64"][..]), ("shr", &["b16", "b32", "b64", "u16", "s16", "u32", "s32", "u64", "s64"])]
    {
        for t in types {
            let kinds = [Kind::Int(bits(t)), Kind::Shift];
            Draft::op(G, &format!("{op}.{t}"), t, &[t, "u32"]).kinds(&kinds).push(v);
        }
    }
    for op in ["shf.l.wrap", "shf.l.clamp", "shf.r.wrap", "shf.r.clamp"] {
        let kinds = [Kind::Int(32), Kind::Int(32), Kind::Shift];
        Draft::op(G, &format!("{op}.b32"), "b32", &["b32", "b32", "u32"]).kinds(&kinds).push(v);
    }
}

pub(super) const FLOAT_COMPARISONS: [&str; 14] =
    ["eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"];

fn comparisons_of(t: &str) -> &'static [&'static str] {
    match t.as_bytes()[0] {
        b'b' => &["eq", "ne"],
        b'u' => &["eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs"],
        b's' => &["eq", "ne", "lt", "le", "gt", "ge"],
        _ => &FLOAT_COMPARISONS,
    }
}

const COMPARED: [&str; 11] = ["b16", "b32", "b64", "u16", "u32", "u64", "s16", "s32", "s64", "f32", "f64"];

fn comparisons(v: &mut Vec<Variant>) {
    for t in COMPARED {
        for &cmp in comparisons_of(t) {
            Draft::op(G, &format!("setp.{cmp}.{t}"), "pred", &[t, t]).push(v);
            Draft::op(G, &format!("set.{cmp}.u32.{t}"), "u32", &[t, t]).push(v);
            if t == "f32" {
                Draft::op(G, &format!("setp.{cmp}.ftz.f32"), "pred", &[t, t]).push(v);
                Draft::op(G, &format!("set.{cmp}.ftz.f32.f32"), "f32", &[t, t]).push(v);
            }
        }
        let cmp = if t.starts_with('b') { "ne" } else { "lt" };
        Draft::op(G, &format!("set.{cmp}.s32.{t}"), "s32", &[t, t]).push(v);
        Draft::op(G, &format!("set.{cmp}.f32.{t}"), "f32", &[t, t]).push(v);
        for logic in ["and", "or", "xor"] {
            let mut body = load(t, "a") + &load(t, "b") + &load("pred", "c") + ".reg .pred %d, %e;\n";
            body += &format!("setp.{cmp}.{logic}.{t} %d|%e, %a, %b, %c;\n");
            body += &(store("pred", "d", 0) + &store("pred", "e", 1));
            let kinds = [super::kind(t), super::kind(t), Kind::Bool];
            Draft::new(G, format!("setp.{cmp}.{logic}.{t} p|q"), &kinds, body).writes(2, 4).push(v);
            let text = format!("set.{cmp}.{logic}.u32.{t}");
            Draft::op(G, &text, "u32", &[t, t, "pred"]).push(v);
        }
        Draft::op(G, &format!("selp.{t}"), t, &[t, t, "pred"]).num(super::Num::Bits).push(v);
        for by in ["s32", "f32"] {
            Draft::op(G, &format!("slct.{t}.{by}"), t, &[t, t, by]).num(super::Num::Bits).push(v);
        }
    }
    let negated = load("s32", "a")
        + &load("s32", "b")
        + &load("pred", "c")
        + ".reg .pred %d;\n"
        + "setp.gt.and.s32 %d, %a, %b, !%c;\n"
        + &store("pred", "d", 0);
    let kinds = [Kind::Int(32), Kind::Int(32), Kind::Bool];
    Draft::new(G, "setp.gt.and.s32 with !c", &kinds, negated).writes(1, 4).push(v);
    Draft::op(G, "slct.ftz.s32.f32", "s32", &["s32", "s32", "f32"]).push(v);
}

fn moves(v: &mut Vec<Variant>) {
    let mut program = |name: &str, types: &[&str], middle: &str, result: &str| {
        let loads: String = types.iter().zip(["a", "b", "c"]).map(|(t, l)| load(t, l)).collect();
        let body = loads + middle + &store(result, "d", 0);
        let kinds: Vec<Kind> = types.iter().map(|t| super::kind(t)).collect();
        Draft::new(G, name, &kinds, body).writes(1, bits(result) as usize / 8).push(v);
    };
    let pack = ".reg .b32 %d;\nmov.b32 %d, {%a, %b};\n";
    program("mov.b32 d, {lo, hi}", &["b16", "b16"], pack, "b32");
    program("mov.b64 d, {lo, hi}", &["b32", "b32"], ".reg .b64 %d;\nmov.b64 %d, {%a, %b};\n", "b64");
    let four = ".reg .b64 %d;\n.reg .b16 %x, %y;\nmov.b32 {%x, %y}, %c;\nmov.b64 %d, {%a, %b, %y, %x};\n";
    program("mov.b64 d, {b16, b16, b16, b16}", &["b16", "b16", "b32"], four, "b64");
    let unpack = ".reg .b32 %lo, %hi, %d;\nmov.b64 {%lo, %hi}, %a;\nsub.s32 %d, %hi, %lo;\n";
    program("mov.b64 {lo, hi}, a", &["b64"], unpack, "b32");
    let half = ".reg .b16 %d, %hi;\nmov.b32 {%d, %hi}, %a;\nadd.s16 %d, %d, %hi;\n";
    program("mov.b32 {lo, hi}, a", &["b32"], half, "b16");
    program("mov.b32 between f32 and b32", &["f32"], ".reg .b32 %d;\nmov.b32 %d, %a;\n", "b32");
    program("mov.f32 immediate", &["f32"], ".reg .f32 %d;\nadd.f32 %d, %a, 0f3FC00000;\n", "f32");
    program("mov.f64 immediate", &["f64"], ".reg .f64 %d;\nadd.f64 %d, %a, 0d3FF8000000000000;\n", "f64");
    program("add.s32 immediate -7", &["s32"], ".reg .b32 %d;\nadd.s32 %d, %a, -7;\n", "s32");
    program("add.s64 immediate hex", &["s64"], ".reg .b64 %d;\nadd.s64 %d, %a, 0x123456789abcdef0;\n", "s64");
    let guard = ".reg .pred %p;\n.reg .b32 %d;\nsetp.lt.s32 %p, %a, %b;\nmov.u32 %d, %a;\n@%p mov.u32 %d, %b;\n@!%p add.s32 %d, %d, 1;\n";
    program("@p and @!p", &["s32", "s32"], guard, "s32");
    for (t, w) in [("u16", "s32"), ("s16", "s32")] {
        let text = format!("cvt.pack.sat.{t}.{w}");
        Draft::op(G, &text, "b32", &[w, w]).push(v);
    }
    for t in ["u8", "s8"] {
        Draft::op(G, &format!("cvt.pack.sat.{t}.s32.b32"), "b32", &["s32", "s32", "b32"]).push(v);
    }
    // The base must be a lane; the offset is -16 to 17 or far off.
    let body = load("b32", "a")
        + &load("u32", "b")
        + &load("s32", "c")
        + ".reg .b32 %d;\nand.b32 %b, %b, 31;\n"
        + "sub.s32 %c, %c, 16;\nfns.b32 %d, %a, %b, %c;\n"
        + &store("b32", "d", 0);
    Draft::new(G, "fns.b32", &[Kind::Int(32), Kind::Lane, Kind::Lane], body).writes(1, 4).push(v);
}
