//! Warp-wide instructions, barriers, special registers and control flow.

use super::{Draft, Variant, load, store};
use crate::inputs::Kind;

const G: &str = "warp";
/// Runs the body in the lower or upper half of each warp only; the other half stores 0xffffffff.
const HALF: &str = ".reg .b32 %half, %mask;\n.reg .pred %upper;\nand.b32 %half, %t, 16;\nsetp.ne.u32 %upper, %half, 0;\n\
                    mov.u32 %mask, 0xffff;\n@%upper mov.u32 %mask, 0xffff0000;\n";

pub(super) fn add(v: &mut Vec<Variant>) {
    shuffles(v);
    votes(v);
    matches_and_reductions(v);
    special(v);
    barriers(v);
    control(v);
}

fn shuffles(v: &mut Vec<Variant>) {
    let loads = load("b32", "a") + &load("b32", "b") + &load("b32", "c") + ".reg .b32 %d;\n.reg .pred %p;\n";
    let stores = store("b32", "d", 0) + &store("pred", "p", 1);
    let kinds = [Kind::Int(32), Kind::Lane, Kind::Clamp];
    for mode in ["up", "down", "bfly", "idx"] {
        let mut program = |name: String, line: String| {
            Draft::new(G, name, &kinds, format!("{loads}{line}{stores}")).writes(2, 4).push(v);
        };
        let op = format!("shfl.sync.{mode}.b32");
        program(format!("{op} d|p, a, b, c"), format!("{op} %d|%p, %a, %b, %c, 0xffffffff;\n"));
        let c = if mode == "up" { "0x0" } else { "0x1f" };
        for offset in [1, 2, 4, 8, 16, 31] {
            program(format!("{op} d|p, a, {offset}, {c}"), format!("{op} %d|%p, %a, {offset}, {c}, -1;\n"));
        }
        // Segments of 8 lanes.
        let c = if mode == "up" { "0x1800" } else { "0x181f" };
        program(format!("{op} d|p, a, 3, {c}"), format!("{op} %d|%p, %a, 3, {c}, -1;\n"));
        program(format!("{op} d|p, a, b, {c}"), format!("{op} %d|%p, %a, %b, {c}, -1;\n"));
        let plain = format!("setp.ne.u32 %p, %a, 0;\n{op} %d, %a, 5, {c}, -1;\n");
        program(format!("{op} d, a, 5, {c}"), plain);
    }
    // One half of the warp at a time, reading within the half.
    let body = load("b32", "a")
        + HALF
        + ".reg .b32 %d;\nmov.u32 %d, 0;\n@%upper bra UPPER;\nshfl.sync.bfly.b32 %d, %a, 5, 0x1f, 0xffff;\nbra JOIN;\n\
           UPPER:\nshfl.sync.bfly.b32 %d, %a, 10, 0x1f, 0xffff0000;\nJOIN:\nbar.warp.sync -1;\n"
        + &store("b32", "d", 0);
    Draft::new(G, "shfl.sync.bfly.b32 in two halves", &[Kind::Int(32)], body).writes(1, 4).push(v);
    let sum: String = [16, 8, 4, 2, 1]
        .iter()
        .map(|o| format!("shfl.sync.down.b32 %o, %d, {o}, 0x1f, -1;\nadd.s32 %d, %d, %o;\n"))
        .collect();
    let body = load("b32", "a") + ".reg .b32 %d, %o;\nmov.b32 %d, %a;\n" + &sum + &store("b32", "d", 0);
    Draft::new(G, "shfl.sync.down.b32 sum", &[Kind::Int(32)], body).writes(1, 4).push(v);
}

fn votes(v: &mut Vec<Variant>) {
    for mode in ["all", "any", "uni"] {
        for not in ["", "!"] {
            let body = load("pred", "a") + &format!(".reg .pred %d;\nvote.sync.{mode}.pred %d, {not}%a, 0xffffffff;\n");
            let name = format!("vote.sync.{mode}.pred {not}a");
            Draft::new(G, name, &[Kind::WarpBool], body + &store("pred", "d", 0)).writes(1, 4).push(v);
        }
        let line = format!(".reg .pred %d;\nvote.sync.{mode}.pred %d, %a, %mask;\n");
        let body = load("pred", "a") + HALF + "@%upper bra UPPER;\nUPPER:\n" + &line + &store("pred", "d", 0);
        let name = format!("vote.sync.{mode}.pred by halves");
        Draft::new(G, name, &[Kind::WarpBool], body).writes(1, 4).push(v);
    }
    let ballot =
        load("pred", "a") + ".reg .b32 %d;\nvote.sync.ballot.b32 %d, %a, 0xffffffff;\n" + &store("b32", "d", 0);
    Draft::new(G, "vote.sync.ballot.b32", &[Kind::WarpBool], ballot).writes(1, 4).push(v);
    let line = ".reg .b32 %d;\nmov.u32 %d, -1;\n@%upper bra JOIN;\nvote.sync.ballot.b32 %d, %a, 0xffff;\nJOIN:\n";
    let body = load("pred", "a") + HALF + line + &store("b32", "d", 0);
    Draft::new(G, "vote.sync.ballot.b32 in the lower half", &[Kind::WarpBool], body).writes(1, 4).push(v);
}

fn matches_and_reductions(v: &mut Vec<Variant>) {
    for t in ["b32", "b64"] {
        let body = load(t, "a") + &format!(".reg .b32 %d;\nmatch.any.sync.{t} %d, %a, 0xffffffff;\n");
        let name = format!("match.any.sync.{t}");
        Draft::new(G, name, &[Kind::Few], body + &store("b32", "d", 0)).writes(1, 4).push(v);
        let body = load(t, "a")
            + &format!(".reg .b32 %d;\n.reg .pred %p;\nmatch.all.sync.{t} %d|%p, %a, 0xffffffff;\n")
            + &store("b32", "d", 0)
            + &store("pred", "p", 1);
        Draft::new(G, format!("match.all.sync.{t} d|p"), &[Kind::WarpSame], body).writes(2, 4).push(v);
    }
    let body = load("b32", "a")
        + HALF
        + ".reg .b32 %d;\nmov.u32 %d, -1;\n@%upper bra JOIN;\nmatch.any.sync.b32 %d, %a, 0xffff;\nJOIN:\n"
        + &store("b32", "d", 0);
    Draft::new(G, "match.any.sync.b32 in the lower half", &[Kind::Few], body).writes(1, 4).push(v);
    for (op, types) in [
        ("add", ["u32", "s32"]),
        ("min", ["u32", "s32"]),
        ("max", ["u32", "s32"]),
        ("and", ["b32", ""]),
        ("or", ["b32", ""]),
        ("xor", ["b32", ""]),
    ] {
        for t in types.into_iter().filter(|t| !t.is_empty()) {
            let text = format!("redux.sync.{op}.{t}");
            Draft::op_tail(G, &text, "0xffffffff", t, &[t]).named(text.clone()).push(v);
        }
    }
    let body = load("s32", "a")
        + HALF
        + ".reg .b32 %d;\nmov.u32 %d, -1;\n@!%upper bra JOIN;\nredux.sync.add.s32 %d, %a, 0xffff0000;\nJOIN:\n"
        + &store("s32", "d", 0);
    Draft::new(G, "redux.sync.add.s32 in the upper half", &[Kind::Int(32)], body).writes(1, 4).push(v);
    let body = ".reg .b32 %d;\nactivemask.b32 %d;\n".to_owned() + &store("b32", "d", 0);
    Draft::new(G, "activemask.b32", &[], body.clone()).writes(1, 4).push(v);
    Draft::new(G, "activemask.b32 (n = 1000)", &[], body).writes(1, 4).launch(1000, 256).push(v);
}

fn special(v: &mut Vec<Variant>) {
    let registers = ["%laneid", "%tid.x", "%tid.y", "%ctaid.x", "%ntid.x", "%ntid.z", "%nctaid.x", "%nctaid.y"];
    let masks = ["%lanemask_eq", "%lanemask_le", "%lanemask_lt", "%lanemask_ge", "%lanemask_gt"];
    for register in registers.iter().chain(&masks) {
        let body = format!(".reg .b32 %d;\nmov.u32 %d, {register};\n") + &store("u32", "d", 0);
        Draft::new(G, format!("mov.u32 {register}"), &[], body).writes(1, 4).push(v);
    }
}

fn barriers(v: &mut Vec<Variant>) {
    for (op, t) in [("popc.u32", "u32"), ("and.pred", "pred"), ("or.pred", "pred")] {
        let class = if t == "pred" { "pred" } else { "b32" };
        let body = load("pred", "a") + &format!(".reg .{class} %d;\nbar.red.{op} %d, 0, %a;\n") + &store(t, "d", 0);
        let name = format!("bar.red.{op}");
        Draft::new(G, name, &[Kind::WarpBool], body).writes(1, 4).launch(1024, 64).push(v);
    }
    // Only the first 64 of 128 threads meet at the barrier 1.
    let body = load("b32", "a")
        + ".reg .pred %p;\n.reg .b32 %s, %d, %x;\nsetp.ge.u32 %p, %t, 64;\nmov.u32 %d, 0;\n@%p bra JOIN;\n\
           mov.u32 %s, buffer;\nshl.b32 %x, %t, 2;\nadd.u32 %x, %s, %x;\nst.shared.u32 [%x], %a;\nbar.sync 1, 64;\n\
           xor.b32 %x, %t, 63;\nshl.b32 %x, %x, 2;\nadd.u32 %x, %s, %x;\nld.shared.u32 %d, [%x];\nJOIN:\n"
        + &store("b32", "d", 0);
    let draft = Draft::new(G, "bar.sync 1, 64", &[Kind::Int(32)], body).writes(1, 4).launch(1024, 128);
    draft.module(".shared .align 4 .b8 buffer[256];").push(v);
}

fn control(v: &mut Vec<Variant>) {
    const G: &str = "control";
    // A loop whose trip count differs by lane (Collatz steps of a mod 1024), with a branch in it.
    let body = load("u32", "a")
        + ".reg .b32 %x, %d, %odd;\n.reg .pred %p, %q;\nand.b32 %x, %a, 1023;\nmov.u32 %d, 0;\nLOOP:\n\
           setp.le.u32 %p, %x, 1;\n@%p bra END;\nadd.u32 %d, %d, 1;\nand.b32 %odd, %x, 1;\nsetp.ne.u32 %q, %odd, 0;\n\
           @%q bra ODD;\nshr.u32 %x, %x, 1;\nbra.uni LOOP;\nODD:\nmad.lo.u32 %x, %x, 3, 1;\nbra LOOP;\nEND:\n"
        + &store("u32", "d", 0);
    Draft::new(G, "bra: a loop with divergent trip counts", &[Kind::Int(32)], body.replace("bra.uni", "bra"))
        .writes(1, 4)
        .push(v);
    let function = ".func (.param .b32 r) f(.param .b32 x, .param .b64 y)\n{\n\t.reg .b32 %x;\n\t.reg .b64 %y, %z;\n\t\
                    ld.param.b32 %x, [x];\n\tld.param.b64 %y, [y];\n\tcvt.u64.u32 %z, %x;\n\tmul.lo.u64 %y, %y, %z;\n\t\
                    shr.u64 %y, %y, 7;\n\tcvt.u32.u64 %x, %y;\n\tst.param.b32 [r], %x;\n\tret;\n}";
    let body = load("b32", "a")
        + &load("b64", "b")
        + ".reg .b32 %d;\n{\n.param .b32 p0;\n.param .b64 p1;\n.param .b32 q;\nst.param.b32 [p0], %a;\n\
           st.param.b64 [p1], %b;\ncall.uni (q), f, (p0, p1);\nld.param.b32 %d, [q];\n}\n"
        + &store("b32", "d", 0);
    let kinds = [Kind::Int(32), Kind::Int(64)];
    Draft::new(G, "call of a .func", &kinds, body).writes(1, 4).module(function).push(v);
    let body = load("u32", "a")
        + ".reg .b32 %x, %d;\nand.b32 %x, %a, 3;\ntable: .branchtargets L0, L1, L2, L3;\nbrx.idx %x, table;\n\
           L0:\nadd.u32 %d, %a, 10;\nbra JOIN;\nL1:\nmul.lo.u32 %d, %a, 3;\nbra JOIN;\nL2:\nnot.b32 %d, %a;\nbra JOIN;\n\
           L3:\nshl.b32 %d, %a, 4;\nJOIN:\n"
        + &store("u32", "d", 0);
    Draft::new(G, "brx.idx", &[Kind::Int(32)], body).writes(1, 4).push(v);
    let body = load("u32", "a")
        + ".reg .b32 %x;\n.reg .pred %p;\n"
        + &store("u32", "a", 0)
        + "and.b32 %x, %a, 1;\nsetp.ne.u32 %p, %x, 0;\n@%p ret;\nadd.u32 %x, %a, 1;\n"
        + &store("u32", "x", 0);
    Draft::new(G, "@p ret", &[Kind::Int(32)], body).writes(1, 4).push(v);
}
