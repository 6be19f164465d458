//! Floating-point arithmetic and conversions whose results the ISA fixes to the bit.

use super::integer::FLOAT_COMPARISONS;
use super::{Draft, Num, Variant, load, store};
use crate::inputs::Kind;

const G: &str = "float";
const C: &str = "convert";
const ROUND: [&str; 4] = ["rn", "rz", "rm", "rp"];
const ROUND_INT: [&str; 4] = ["rni", "rzi", "rmi", "rpi"];

pub(super) fn add(v: &mut Vec<Variant>) {
    single_double(v);
    half(v);
    between_integers(v);
    between_floats(v);
}

fn single_double(v: &mut Vec<Variant>) {
    for r in ROUND {
        for ftz in ["", ".ftz"] {
            for sat in ["", ".sat"] {
                for op in ["add", "sub", "mul"] {
                    Draft::op(G, &format!("{op}.{r}{ftz}{sat}.f32"), "f32", &["f32", "f32"]).push(v);
                }
                Draft::op(G, &format!("fma.{r}{ftz}{sat}.f32"), "f32", &["f32", "f32", "f32"]).push(v);
            }
            Draft::op(G, &format!("div.{r}{ftz}.f32"), "f32", &["f32", "f32"]).push(v);
            Draft::op(G, &format!("rcp.{r}{ftz}.f32"), "f32", &["f32"]).push(v);
            let root = Draft::op(G, &format!("sqrt.{r}{ftz}.f32"), "f32", &["f32"]);
            root.kinds(&[Kind::Positive32]).push(v);
        }
        for op in ["add", "sub", "mul", "div"] {
            Draft::op(G, &format!("{op}.{r}.f64"), "f64", &["f64", "f64"]).push(v);
        }
        Draft::op(G, &format!("fma.{r}.f64"), "f64", &["f64", "f64", "f64"]).push(v);
        Draft::op(G, &format!("rcp.{r}.f64"), "f64", &["f64"]).push(v);
        Draft::op(G, &format!("sqrt.{r}.f64"), "f64", &["f64"]).kinds(&[Kind::Positive64]).push(v);
    }
    for t in ["f32", "f64"] {
        for op in ["add", "sub", "mul"] {
            Draft::op(G, &format!("{op}.{t}"), t, &[t, t]).push(v);
        }
        for op in ["abs", "neg"] {
            Draft::op(G, &format!("{op}.{t}"), t, &[t]).push(v);
        }
        for op in ["min", "max", "copysign"] {
            Draft::op(G, &format!("{op}.{t}"), t, &[t, t]).push(v);
        }
        for property in ["finite", "infinite", "number", "notanumber", "normal", "subnormal"] {
            Draft::op(G, &format!("testp.{property}.{t}"), "pred", &[t]).push(v);
        }
    }
    for op in ["abs.ftz", "neg.ftz"] {
        Draft::op(G, &format!("{op}.f32"), "f32", &["f32"]).push(v);
    }
    for op in ["min", "max"] {
        for modifier in [".ftz", ".NaN", ".ftz.NaN"] {
            Draft::op(G, &format!("{op}{modifier}.f32"), "f32", &["f32", "f32"]).push(v);
        }
        for modifier in ["", ".ftz", ".NaN"] {
            let text = format!("{op}{modifier}.xorsign.abs.f32");
            Draft::op(G, &text, "f32", &["f32", "f32"]).sm90().push(v);
        }
    }
}

fn half(v: &mut Vec<Variant>) {
    for t in ["f16", "f16x2"] {
        for op in ["add", "sub", "mul"] {
            for modifier in ["", ".rn", ".ftz", ".sat", ".rn.ftz.sat"] {
                Draft::op(G, &format!("{op}{modifier}.{t}"), t, &[t, t]).push(v);
            }
        }
        for modifier in ["", ".ftz", ".sat", ".ftz.sat", ".relu", ".ftz.relu"] {
            Draft::op(G, &format!("fma.rn{modifier}.{t}"), t, &[t, t, t]).push(v);
        }
        for op in ["min", "max"] {
            for modifier in ["", ".ftz", ".NaN", ".ftz.NaN"] {
                Draft::op(G, &format!("{op}{modifier}.{t}"), t, &[t, t]).push(v);
            }
        }
        for op in ["neg", "abs"] {
            for modifier in ["", ".ftz"] {
                Draft::op(G, &format!("{op}{modifier}.{t}"), t, &[t]).push(v);
            }
        }
    }
    for t in ["bf16", "bf16x2"] {
        for modifier in ["", ".relu"] {
            Draft::op(G, &format!("fma.rn{modifier}.{t}"), t, &[t, t, t]).push(v);
        }
        for op in ["min", "max"] {
            for modifier in ["", ".NaN"] {
                Draft::op(G, &format!("{op}{modifier}.{t}"), t, &[t, t]).push(v);
            }
        }
        for op in ["neg", "abs"] {
            Draft::op(G, &format!("{op}.{t}"), t, &[t]).push(v);
        }
        for op in ["add", "sub", "mul"] {
            for modifier in ["", ".rn"] {
                Draft::op(G, &format!("{op}{modifier}.{t}"), t, &[t, t]).sm90().push(v);
            }
        }
    }
    // What stands for elements outside of a tensor makes the product with it zero.
    for t in ["f16", "f16x2", "bf16", "bf16x2"] {
        for relu in ["", ".relu"] {
            for (k, letter) in ["a", "b", "c"].into_iter().enumerate() {
                let r = if t.ends_with("x2") { "b32" } else { "b16" };
                let bits = if t.ends_with("x2") { 0x3C00_7FF7u32 } else { 0x7FF7 };
                let body = format!(
                    "{}{}{}.reg .{r} %d;\n.reg .b32 %odd;\n.reg .pred %p;\nand.b32 %odd, %t, 1;\n\
                     setp.ne.u32 %p, %odd, 0;\n@%p mov.{r} %{letter}, {bits};\nfma.rn.oob{relu}.{t} %d, %a, %b, %c;\n{}",
                    load(t, "a"),
                    load(t, "b"),
                    load(t, "c"),
                    store(t, "d", 0)
                );
                let name = format!("fma.rn.oob{relu}.{t} with its NaN in {letter}");
                let draft = Draft::new(G, name, &[super::kind(t); 3], body)
                    .writes(1, super::bits(t) as usize / 8)
                    .num(super::num(t))
                    .target(90, "8.1");
                // The ISA says "either of the operands".
                if k == 2 { draft.unspecified() } else { draft }.push(v);
            }
        }
    }
    for cmp in FLOAT_COMPARISONS {
        Draft::op(G, &format!("setp.{cmp}.f16"), "pred", &["f16", "f16"]).push(v);
        Draft::op(G, &format!("setp.{cmp}.ftz.f16"), "pred", &["f16", "f16"]).push(v);
        Draft::op(G, &format!("setp.{cmp}.bf16"), "pred", &["bf16", "bf16"]).sm90().push(v);
        for (t, kind, sm90) in [("f16x2", Kind::F16x2, false), ("bf16x2", Kind::Bf16x2, true)] {
            let mut body = load(t, "a") + &load(t, "b") + ".reg .pred %d, %e;\n";
            body += &format!("setp.{cmp}.{t} %d|%e, %a, %b;\n{}{}", store("pred", "d", 0), store("pred", "e", 1));
            let draft = Draft::new(G, format!("setp.{cmp}.{t} p|q"), &[kind; 2], body).writes(2, 4);
            if sm90 { draft.sm90() } else { draft }.push(v);
        }
        Draft::op(G, &format!("set.{cmp}.f16.f16"), "f16", &["f16", "f16"]).push(v);
        Draft::op(G, &format!("set.{cmp}.u32.f16"), "u32", &["f16", "f16"]).push(v);
        Draft::op(G, &format!("set.{cmp}.f16x2.f16x2"), "f16x2", &["f16x2", "f16x2"]).push(v);
    }
}

const INTEGERS: [&str; 8] = ["u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64"];

/// Conversions write 8-bit results to a 32-bit register, so that the extension shows.
fn register(t: &str) -> &str {
    if t.ends_with('8') { "b32" } else { t }
}

/// Whether `.sat` is legal: where the result may not hold every operand.
fn saturates(to: &str, from: &str) -> bool {
    let (to_size, from_size): (u32, u32) = (to[1..].parse().expect("a size"), from[1..].parse().expect("a size"));
    let holds = to_size > from_size && (to.starts_with('s') || from.starts_with('u'));
    to != from && !holds
}

fn between_integers(v: &mut Vec<Variant>) {
    for to in INTEGERS {
        for from in INTEGERS {
            Draft::op(C, &format!("cvt.{to}.{from}"), register(to), &[from]).push(v);
            if saturates(to, from) {
                Draft::op(C, &format!("cvt.sat.{to}.{from}"), register(to), &[from]).push(v);
            }
        }
        for float in ["f16", "f32", "f64"] {
            for r in ROUND {
                Draft::op(C, &format!("cvt.{r}.{float}.{to}"), float, &[to]).push(v);
            }
            if float != "f64" {
                Draft::op(C, &format!("cvt.rn.sat.{float}.{to}"), float, &[to]).push(v);
            }
            for r in ROUND_INT {
                Draft::op(C, &format!("cvt.{r}.{to}.{float}"), register(to), &[float]).push(v);
                if float == "f32" {
                    Draft::op(C, &format!("cvt.{r}.ftz.{to}.f32"), register(to), &["f32"]).push(v);
                }
            }
            Draft::op(C, &format!("cvt.rzi.sat.{to}.{float}"), register(to), &[float]).push(v);
        }
        if !to.ends_with('8') {
            for r in ROUND {
                Draft::op(C, &format!("cvt.{r}.bf16.{to}"), "bf16", &[to]).sm90().push(v);
            }
            for r in ROUND_INT {
                Draft::op(C, &format!("cvt.{r}.{to}.bf16"), to, &["bf16"]).sm90().push(v);
            }
        }
    }
    // An 8-bit result in a 16-bit register.
    for (to, from) in [("u8", "u32"), ("s8", "s32"), ("u8", "u16"), ("s8", "s16")] {
        let draft = Draft::op(C, &format!("cvt.{to}.{from}"), "b16", &[from]);
        draft.named(format!("cvt.{to}.{from} in a 16-bit register")).push(v);
    }
}

fn between_floats(v: &mut Vec<Variant>) {
    let mut one = |text: String, to: &str, from: &[&str]| Draft::op(C, &text, to, from).push(v);
    for (to, from) in [("f32", "f16"), ("f64", "f16"), ("f64", "f32")] {
        one(format!("cvt.{to}.{from}"), to, &[from]);
    }
    one("cvt.ftz.f32.f16".into(), "f32", &["f16"]);
    one("cvt.sat.f32.f16".into(), "f32", &["f16"]);
    one("cvt.ftz.f64.f32".into(), "f64", &["f32"]);
    for (to, from) in [("f16", "f32"), ("f16", "f64"), ("f32", "f64")] {
        for r in ROUND {
            one(format!("cvt.{r}.{to}.{from}"), to, &[from]);
            one(format!("cvt.{r}.sat.{to}.{from}"), to, &[from]);
            if to == "f32" || from == "f32" {
                one(format!("cvt.{r}.ftz.{to}.{from}"), to, &[from]);
            }
        }
    }
    for t in ["f16", "f32", "f64"] {
        for r in ROUND_INT {
            one(format!("cvt.{r}.{t}.{t}"), t, &[t]);
            one(format!("cvt.{r}.sat.{t}.{t}"), t, &[t]);
            if t == "f32" {
                one(format!("cvt.{r}.ftz.{t}.{t}"), t, &[t]);
            }
        }
        one(format!("cvt.sat.{t}.{t}"), t, &[t]);
    }
    for r in ["rn", "rz"] {
        for relu in ["", ".relu"] {
            one(format!("cvt.{r}{relu}.bf16.f32"), "bf16", &["f32"]);
            one(format!("cvt.{r}{relu}.bf16x2.f32"), "bf16x2", &["f32", "f32"]);
            one(format!("cvt.{r}{relu}.f16x2.f32"), "f16x2", &["f32", "f32"]);
            if !relu.is_empty() {
                one(format!("cvt.{r}{relu}.f16.f32"), "f16", &["f32"]);
            }
        }
    }
    one("cvt.rna.tf32.f32".into(), "tf32", &["f32"]);
    for (r, to, from) in [
        ("", "f32", "bf16"),
        (".ftz", "f32", "bf16"),
        ("", "f64", "bf16"),
        (".rn", "f16", "bf16"),
        (".rz", "f16", "bf16"),
        (".rn", "bf16", "f16"),
        (".rm", "bf16", "f16"),
        (".rn", "bf16", "f64"),
        (".rp", "bf16", "f64"),
        (".rni", "bf16", "bf16"),
    ] {
        Draft::op(C, &format!("cvt{r}.{to}.{from}"), to, &[from]).sm90().push(v);
    }
    for (r, to) in [("rn", "tf32"), ("rz", "tf32"), ("rn.relu", "tf32")] {
        Draft::op(C, &format!("cvt.{r}.{to}.f32"), to, &["f32"]).sm90().push(v);
    }
    for t in ["e4m3x2", "e5m2x2"] {
        for relu in ["", ".relu"] {
            let text = format!("cvt.rn.satfinite{relu}.{t}.f32");
            Draft::op(C, &text, "b16", &["f32", "f32"]).sm90().push(v);
            let text = format!("cvt.rn.satfinite{relu}.{t}.f16x2");
            Draft::op(C, &text, "b16", &["f16x2"]).sm90().push(v);
            Draft::op(C, &format!("cvt.rn{relu}.f16x2.{t}"), "f16x2", &["b16"]).num(Num::F16x2).sm90().push(v);
        }
    }
}
