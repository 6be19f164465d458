//! Loads, stores, atomics, shared and local memory, asynchronous copies, generic addresses.

use super::{Draft, Num, Variant, bits, class, kind, load, store};
use crate::inputs::Kind;

const G: &str = "memory";
const A: &str = "atomic";

pub(super) fn add(v: &mut Vec<Variant>) {
    plain(v);
    spaces(v);
    atomics(v);
    copies(v);
    bulk(v);
}

fn plain(v: &mut Vec<Variant>) {
    for t in ["u8", "s8", "u16", "s16", "u32", "s32"] {
        // Into a wider register: extended by the type.
        for (d, w) in [("b32", 4), ("b64", 8)] {
            let body = format!(".reg .{d} %d;\nld.global.{t} %d, [%pa];\n") + &store(d, "d", 0);
            Draft::new(G, format!("ld.global.{t} to {d}"), &[Kind::Bytes], body).writes(1, w).push(v);
        }
    }
    for t in ["u8", "s8", "b8", "u16", "b32", "f32", "b64", "f64"] {
        let register = if t.ends_with('8') { "b32" } else { class(t) };
        let body = format!(".reg .{register} %d;\nld.global.{register} %d, [%pa];\nst.global.{t} [%po], %d;\n");
        let w = if t.ends_with('8') { 1 } else { bits(t) as usize / 8 };
        Draft::new(G, format!("st.global.{t}"), &[Kind::Bytes], body).writes(1, w).push(v);
    }
    for (t, n) in
        [("u8", 4), ("s8", 2), ("u16", 4), ("s16", 2), ("b32", 2), ("b32", 4), ("f32", 4), ("b64", 2), ("f64", 2)]
    {
        let register = if t.ends_with('8') { "b16" } else { class(t) };
        let list = |letter: &str| (0..n).map(|k| format!("%{letter}{k}")).collect::<Vec<_>>().join(", ");
        let names = list("d");
        let mut body = format!(".reg .{register} {names};\nld.global.v{n}.{t} {{{names}}}, [%pa];\n");
        for k in 0..n {
            body += &store(if t.ends_with('8') { "b16" } else { t }, &format!("d{k}"), k);
        }
        let w = if register == "b16" { 2 } else { bits(t) as usize / 8 };
        let draft = Draft::new(G, format!("ld.global.v{n}.{t}"), &[Kind::Bytes], body).reads(&[2]).writes(n, w);
        draft.push(v);
        let size = if t.ends_with('8') { 1 } else { bits(t) as usize / 8 };
        let loads: String = (0..n).map(|k| format!("ld.global.{t} %d{k}, [%pa+{}];\n", size * k)).collect();
        let reversed: Vec<String> = (0..n).rev().map(|k| format!("%d{k}")).collect();
        let body =
            format!(".reg .{register} {names};\n{loads}st.global.v{n}.{t} [%po], {{{}}};\n", reversed.join(", "));
        let slots = (size * n).div_ceil(8);
        let draft = Draft::new(G, format!("st.global.v{n}.{t}"), &[Kind::Bytes], body).reads(&[2]);
        draft.writes(slots, (size * n).min(8)).push(v);
    }
    for modifier in [".nc", ".ca", ".cg", ".cs", ".lu", ".cv", ".relaxed.gpu", ".acquire.sys", ".volatile"] {
        let op = match modifier {
            ".volatile" => "ld.volatile.global.b32".to_owned(),
            ".relaxed.gpu" | ".acquire.sys" => format!("ld{modifier}.global.b32"),
            _ => format!("ld.global{modifier}.b32"),
        };
        let body = format!(".reg .b32 %d;\n{op} %d, [%pa];\n") + &store("b32", "d", 0);
        Draft::new(G, op, &[Kind::Int(32)], body).writes(1, 4).push(v);
    }
    for op in ["st.global.wb.b32", "st.global.wt.b32", "st.release.gpu.global.b32", "st.volatile.global.b32"] {
        let body = load("b32", "a") + &format!("{op} [%po], %a;\nmembar.gl;\nfence.acq_rel.gpu;\n");
        Draft::new(G, op, &[Kind::Int(32)], body).writes(1, 4).push(v);
    }
}

fn spaces(v: &mut Vec<Variant>) {
    for t in ["b32", "b64", "u8", "s16", "f64"] {
        // Each thread writes its own place and reads the mirrored one after a barrier.
        let (w, register) = (if t == "u8" { 1 } else { bits(t) / 8 }, if t == "u8" { "b32" } else { class(t) });
        let body = format!(
            ".reg .{register} %a, %d;\n.reg .b32 %s, %x, %y;\nld.global.{register} %a, [%pa];\nmov.u32 %s, buffer;\n\
             mad.lo.u32 %x, %t, {w}, %s;\nst.shared.{t} [%x], %a;\nbar.sync 0;\nmov.u32 %y, %ntid.x;\nsub.u32 %y, %y, 1;\n\
             sub.u32 %y, %y, %t;\nmad.lo.u32 %y, %y, {w}, %s;\nld.shared.{t} %d, [%y];\nst.global.{register} [%po], %d;\n"
        );
        let width = if register == "b32" { 4 } else { bits(t) as usize / 8 };
        let draft = Draft::new(G, format!("st.shared.{t}; bar.sync; ld.shared.{t}"), &[Kind::Bytes], body);
        draft.writes(1, width).module(".shared .align 16 .b8 buffer[2048];").push(v);
    }
    // Dynamic index in local memory.
    let local = ".local .align 8 .b8 frame[64];\n.reg .b64 %f, %x;\n.reg .b32 %k, %d, %e;\n";
    let fill = |space: &str, base: &str| -> String {
        (0..8)
            .map(|k| format!("mad.lo.u32 %e, %a, {}, {k};\nst{space}.u32 [{base}+{}], %e;\n", 2 * k + 1, 4 * k))
            .collect()
    };
    let index = "and.b32 %k, %b, 7;\nmul.wide.u32 %x, %k, 4;\nadd.u64 %x, %f, %x;\n";
    let operands = load("u32", "a") + &load("u32", "b");
    let kinds = [Kind::Int(32), Kind::Int(32)];
    let body =
        format!("{operands}{local}mov.u64 %f, frame;\n{}{index}ld.local.u32 %d, [%x];\n", fill(".local", "frame"));
    Draft::new(G, "st.local; ld.local", &kinds, body + &store("u32", "d", 0)).writes(1, 4).push(v);
    let body = format!(
        "{operands}{local}mov.u64 %x, frame;\ncvta.local.u64 %f, %x;\n{}{index}ld.u32 %d, [%x];\n",
        fill("", "%f")
    );
    Draft::new(G, "cvta.local; generic st, ld", &kinds, body + &store("u32", "d", 0)).writes(1, 4).push(v);
    let shared = ".reg .b64 %f, %x, %back;\n.reg .b32 %k, %d;\nmov.u64 %x, buffer;\ncvta.shared.u64 %f, %x;\n\
                  mul.wide.u32 %x, %t, 4;\nadd.u64 %x, %f, %x;\nst.u32 [%x], %a;\nbar.sync 0;\nxor.b32 %k, %t, 37;\n\
                  mul.wide.u32 %x, %k, 4;\nadd.u64 %x, %f, %x;\ncvta.to.shared.u64 %back, %x;\nld.shared.u32 %d, [%back];\n";
    let draft = Draft::new(
        G,
        "cvta.shared; generic st; cvta.to.shared",
        &[Kind::Int(32)],
        load("u32", "a") + shared + &store("u32", "d", 0),
    );
    draft.writes(1, 4).module(".shared .align 16 .b8 buffer[1024];").push(v);
    let body = ".reg .b64 %x, %y;\n.reg .b32 %d;\ncvta.global.u64 %x, %pa;\nld.u32 %d, [%x];\ncvta.global.u64 %y, %po;\nst.u32 [%y], %d;\n";
    Draft::new(G, "cvta.global; generic ld, st", &[Kind::Int(32)], body).writes(1, 4).push(v);
    let body = ".local .align 4 .b8 frame[8];\n.reg .b64 %x, %g, %s, %l;\n.reg .pred %p, %q, %r;\n.reg .b32 %d;\n\
                mov.u64 %x, buffer;\ncvta.shared.u64 %s, %x;\nmov.u64 %x, frame;\ncvta.local.u64 %l, %x;\n\
                cvta.global.u64 %g, %po;\nmov.u32 %d, %t;\nst.u32 [%s], 7;\nst.u32 [%l], %d;\n";
    let mut body = body.to_owned();
    for (k, space) in ["global", "shared", "local"].iter().enumerate() {
        let lines = format!("isspacep.{space} %p, %g;\nisspacep.{space} %q, %s;\nisspacep.{space} %r, %l;\n");
        let sum = "selp.u32 %d, 1, 0, %p;\n@%q or.b32 %d, %d, 2;\n@%r or.b32 %d, %d, 4;\n";
        body += &format!("{lines}{sum}{}", store("u32", "d", k));
    }
    let draft = Draft::new(G, "isspacep.{global, shared, local}", &[], body).writes(3, 4);
    draft.module(".shared .align 4 .b8 buffer[8];").push(v);
    for (space, values) in [("const", "3, 1, 4, 1, 5, 9, 2, 0xfffffff6"), ("global", "10, 20, 30, 40, -50, 60, 70")] {
        let address = if space == "const" { "mov.u64 %f, table;\n" } else { ".reg .b64 %q;\nmov.u64 %f, table;\n" };
        let body = load("u32", "a")
            + ".reg .b64 %f, %x;\n.reg .b32 %k, %d, %e;\n"
            + address
            + &format!("and.b32 %k, %a, 7;\nmul.wide.u32 %x, %k, 4;\nadd.u64 %x, %f, %x;\nld.{space}.u32 %d, [%x];\n")
            + &format!("ld.{space}.u32 %e, [table+4];\nadd.u32 %d, %d, %e;\n")
            + &store("u32", "d", 0);
        let draft = Draft::new(G, format!("ld.{space} of an initialised table"), &[Kind::Int(32)], body).writes(1, 4);
        draft.module(format!(".{space} .align 4 .u32 table[8] = {{{values}}};")).push(v);
    }
}

fn atomics(v: &mut Vec<Variant>) {
    let table: [(&str, &[&str]); 9] = [
        ("add", &["u32", "s32", "u64", "f32", "f64"]),
        ("min", &["u32", "s32", "u64", "s64"]),
        ("max", &["u32", "s32", "u64", "s64"]),
        ("and", &["b32", "b64"]),
        ("or", &["b32", "b64"]),
        ("xor", &["b32", "b64"]),
        ("exch", &["b32", "b64"]),
        ("inc", &["u32"]),
        ("dec", &["u32"]),
    ];
    let result = |t: &str| match t {
        "f32" => Num::F32,
        "f64" => Num::F64,
        "f16x2" => Num::F16x2,
        "bf16x2" => Num::Bf16x2,
        _ => Num::Bits,
    };
    // The location is this thread's second result slot; the first takes the old value.
    let global = |t: &str, name: &str| -> Draft {
        let r = class(t);
        let body = format!("{}{}.reg .{r} %d;\nst.global.{r} [%po+8], %a;\n", load(t, "a"), load(t, "b"));
        let line = format!("{name} %d, [%po+8], %b;\n");
        Draft::new(A, name, &[kind(t), kind(t)], body + &line + &store(t, "d", 0))
            .writes(2, bits(t) as usize / 8)
            .num(result(t))
    };
    for (op, types) in table {
        for t in types {
            global(t, &format!("atom.global.{op}.{t}")).push(v);
            if op == "exch" {
                continue;
            }
            let r = class(t);
            let body =
                format!("{}{}st.global.{r} [%po], %a;\nred.global.{op}.{t} [%po], %b;\n", load(t, "a"), load(t, "b"));
            let draft = Draft::new(A, format!("red.global.{op}.{t}"), &[kind(t), kind(t)], body);
            draft.writes(1, bits(t) as usize / 8).num(result(t)).push(v);
            let w = bits(t) / 8;
            let body = format!(
                "{}{}.reg .{r} %d, %e;\n.reg .b32 %s, %x;\nmov.u32 %s, buffer;\nmad.lo.u32 %x, %t, {w}, %s;\n\
                 st.shared.{r} [%x], %a;\natom.shared.{op}.{t} %d, [%x], %b;\nld.shared.{r} %e, [%x];\n{}{}",
                load(t, "a"),
                load(t, "b"),
                store(t, "d", 0),
                store(t, "e", 1)
            );
            let draft = Draft::new(A, format!("atom.shared.{op}.{t}"), &[kind(t), kind(t)], body).num(result(t));
            draft.writes(2, w as usize).module(".shared .align 16 .b8 buffer[2048];").push(v);
            // All threads of a block on one place: the order does not show for integers.
            if !t.starts_with('f') && op != "inc" && op != "dec" {
                let body = format!(
                    "{}.reg .{r} %d, %e;\n.reg .b32 %s;\n.reg .pred %p;\nmov.u32 %s, buffer;\nsetp.eq.u32 %p, %t, 0;\n\
                     @%p st.shared.{r} [%s], %a;\nbar.sync 0;\n@!%p red.shared.{op}.{t} [%s], %a;\nbar.sync 0;\nld.shared.{r} %d, [%s];\n{}",
                    load(t, "a"),
                    store(t, "d", 0)
                );
                let draft = Draft::new(A, format!("red.shared.{op}.{t} of a block"), &[kind(t)], body);
                draft.writes(1, w as usize).module(".shared .align 8 .b8 buffer[8];").push(v);
            }
        }
    }
    for (t, name) in [("f16", "atom.global.add.noftz.f16"), ("f16x2", "atom.global.add.noftz.f16x2")] {
        let draft = global(t, name);
        draft.num(if t == "f16" { Num::F16 } else { Num::F16x2 }).push(v);
    }
    for (t, name) in [("bf16", "atom.global.add.noftz.bf16"), ("bf16x2", "atom.global.add.noftz.bf16x2")] {
        let draft = global(t, name).sm90();
        draft.num(if t == "bf16" { Num::Bf16 } else { Num::Bf16x2 }).push(v);
    }
    for name in
        ["atom.relaxed.gpu.global.add.u32", "atom.acq_rel.sys.global.add.u32", "atom.relaxed.cta.global.add.u32"]
    {
        global("u32", name).push(v);
    }
    for t in ["b16", "b32", "b64"] {
        // Every second thread compares with the value that is there.
        let r = class(t);
        let body = format!(
            "{}{}{}.reg .{r} %d;\n.reg .b32 %odd;\n.reg .pred %p;\nand.b32 %odd, %t, 1;\nsetp.ne.u32 %p, %odd, 0;\n\
             @%p mov.{r} %b, %a;\nst.global.{r} [%po+8], %a;\natom.global.cas.{t} %d, [%po+8], %b, %c;\n{}",
            load(t, "a"),
            load(t, "b"),
            load(t, "c"),
            store(t, "d", 0)
        );
        let draft = Draft::new(A, format!("atom.global.cas.{t}"), &[kind(t); 3], body);
        draft.writes(2, bits(t) as usize / 8).push(v);
    }
    // One counter for the whole block: the set of old values is fixed, the sum of them is too.
    let body = ".reg .b32 %s, %d, %e;\n.reg .pred %p;\nmov.u32 %s, buffer;\nsetp.eq.u32 %p, %t, 0;\nmov.u32 %e, 0;\n\
                @%p st.shared.v2.u32 [%s], {%e, %e};\nbar.sync 0;\natom.shared.inc.u32 %d, [%s], 99;\n\
                red.shared.add.u32 [%s+4], %d;\nbar.sync 0;\nld.shared.v2.u32 {%d, %e}, [%s];\n"
        .to_owned()
        + &store("u32", "d", 0)
        + &store("u32", "e", 1);
    let draft = Draft::new(A, "atom.shared.inc.u32 of a block", &[], body).writes(2, 4);
    draft.module(".shared .align 8 .b8 buffer[8];").push(v);
}

/// Barriers that count, and the copies that they wait for.
fn bulk(v: &mut Vec<Variant>) {
    let wait = |address: &str, parity: &str| {
        format!(
            "$W{parity}:\nmbarrier.try_wait.parity.shared::cta.b64 %done, [{address}], {parity};\n@!%done bra $W{parity};\n"
        )
    };
    let start = |count: &str| {
        format!(
            ".reg .b32 %s, %m, %x, %e;\n.reg .pred %first, %done;\nmov.u32 %s, buffer;\nmov.u32 %m, object;\n\
             setp.eq.u32 %first, %t, 0;\n@%first mbarrier.init.shared::cta.b64 [%m], {count};\nbar.sync 0;\n"
        )
    };
    let module = ".shared .align 16 .b8 buffer[2048];\n.shared .align 8 .b8 object[8];";
    // Each block brings 128 times 8 bytes, and each thread takes the mirrored ones.
    let body = start("1")
        + ".reg .b64 %d;\n\
           @%first mbarrier.arrive.expect_tx.shared::cta.b64 _, [%m], 1024;\n@%first cp.async.bulk.shared::cluster\
           .global.mbarrier::complete_tx::bytes [%s], [%pa], 1024, [%m];\n"
        + &wait("%m", "0")
        + "mov.u32 %x, 127;\nsub.u32 %x, %x, %t;\nmad.lo.u32 %x, %x, 8, %s;\nld.shared.b64 %d, [%x];\n"
        + &store("b64", "d", 0);
    let draft = Draft::new(G, "cp.async.bulk.shared.global; mbarrier", &[Kind::Bytes], body).target(90, "8.0");
    draft.launch(512, 128).module(module).push(v);
    let body = start("1")
        + ".reg .b64 %d;\nld.global.b64 %d, [%pa];\nmad.lo.u32 %x, %t, 8, %s;\nst.shared.b64 [%x], %d;\n\
           fence.proxy.async.shared::cta;\nbar.sync 0;\n@!%first ret;\n\
           cp.async.bulk.global.shared::cta.bulk_group [%po], [%s], 1024;\ncp.async.bulk.commit_group;\n\
           cp.async.bulk.wait_group 0;\n";
    let draft = Draft::new(G, "cp.async.bulk.global.shared", &[Kind::Bytes], body).target(90, "8.0");
    draft.launch(512, 128).module(module).push(v);
    // Two phases of 128 arrivals, with states and with parities.
    let body = start("128")
        + ".reg .b64 %state;\n.reg .b32 %d;\nmad.lo.u32 %x, %t, 4, %s;\nld.global.b32 %d, [%pa];\n\
           st.shared.b32 [%x], %d;\nmbarrier.arrive.shared::cta.b64 %state, [%m];\n\
           $T:\nmbarrier.test_wait.shared::cta.b64 %done, [%m], %state;\n@!%done bra $T;\nxor.b32 %e, %t, 85;\n\
           mad.lo.u32 %e, %e, 4, %s;\nld.shared.b32 %d, [%e];\nst.shared.b32 [%x+1024], %d;\n\
           mbarrier.arrive.shared::cta.b64 %state, [%m];\n"
        + &wait("%m", "1")
        + "ld.shared.b32 %d, [%e+1024];\n"
        + &store("b32", "d", 0);
    let draft = Draft::new(G, "mbarrier.arrive; test_wait; try_wait", &[Kind::Int(32)], body).target(90, "8.0");
    draft.launch(512, 128).writes(1, 4).module(module).push(v);
    let body = start("3")
        + ".reg .b64 %state;\n.reg .b32 %d;\n@!%first ret;\nmbarrier.arrive.noComplete.shared.b64 %state, [%m], 2;\n\
           mbarrier.pending_count.b64 %d, %state;\n"
        + &store("b32", "d", 0)
        + "mbarrier.arrive_drop.shared.b64 %state, [%m];\nmbarrier.arrive.shared.b64 %state, [%m];\n\
           mbarrier.pending_count.b64 %d, %state;\n"
        + &store("b32", "d", 1)
        + "mbarrier.test_wait.parity.shared.b64 %done, [%m], 0;\nselp.u32 %d, 1, 0, %done;\n\
           mbarrier.test_wait.parity.shared.b64 %done, [%m], 1;\n@%done add.u32 %d, %d, 2;\n"
        + &store("b32", "d", 2);
    let draft = Draft::new(G, "mbarrier.arrive_drop; pending_count", &[], body).target(80, "7.8");
    draft.launch(32, 32).writes(3, 4).module(module).push(v);
}

fn copies(v: &mut Vec<Variant>) {
    let waits = [
        "cp.async.wait_all;\n",
        "cp.async.commit_group;\ncp.async.wait_group 0;\n",
        "cp.async.commit_group;\ncp.async.commit_group;\ncp.async.wait_group 1;\n",
    ];
    let variants = [
        ("ca", "4", 4),
        ("ca", "8", 8),
        ("ca", "16", 16),
        ("cg", "16", 16),
        ("ca", "16, 4", 16),
        ("cg", "16, 0", 16),
        ("ca", "8, 3", 8),
    ];
    for (cache, size, w) in variants {
        for (k, wait) in waits.iter().enumerate().take(if w == 16 { 3 } else { 1 }) {
            let mut body = format!(
                ".reg .b32 %s, %x;\n.reg .b64 %d, %e;\nmov.u32 %s, buffer;\nmad.lo.u32 %x, %t, 16, %s;\nmov.u64 %d, -1;\n\
                 st.shared.v2.b64 [%x], {{%d, %d}};\ncp.async.{cache}.shared.global [%x], [%pa], {size};\n{wait}bar.sync 0;\n\
                 xor.b32 %x, %t, 33;\nmad.lo.u32 %x, %x, 16, %s;\nld.shared.v2.b64 {{%d, %e}}, [%x];\n"
            );
            body += &(store("b64", "d", 0) + &store("b64", "e", 1));
            let how = ["wait_all", "wait_group 0", "wait_group 1"][k];
            let name = format!("cp.async.{cache}.shared.global {size}; {how}");
            let draft = Draft::new(G, name, &[Kind::Bytes], body).reads(&[2]).writes(2, 8);
            draft.launch(512, 128).module(".shared .align 16 .b8 buffer[2048];").push(v);
        }
    }
}
