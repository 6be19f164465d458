//! Whole modules: variables, functions, instructions that compilers rarely use.

use sim_driver::{Argument, launch};

use crate::common::*;

/// The kernel [`ptx`] with something before it.
fn module(before: &str, body: &str) -> String {
    ptx(body).replace(".visible", &format!("{before}\n.visible"))
}

fn result(text: &str) -> Vec<u32> {
    let mut arguments = [words(64), words(64)];
    launch(text, "k", shape(1, 32), &mut arguments).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let Argument::Buffer(bytes) = &arguments[1] else { panic!() };
    bytes.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect()
}

#[test]
fn variables_of_the_module() {
    let variables = ".const .align 4 .u32 table[4] = {10, 20, 30};\n.global .u32 count = 7;\n\
        .global .u64 where = generic(count);";
    let body = "ld.const.u32 %r8, [table+8]; ld.const.u32 %r9, [table+12]; ld.global.u64 %rd6, [where];\n\
        ld.u32 %r10, [%rd6]; add.s32 %r8, %r8, %r9; add.s32 %r8, %r8, %r10; st.global.u32 [%rd5], %r8;";
    assert_eq!(result(&module(variables, body))[3], 37);
    let beyond = module(variables, "ld.global.u32 %r8, [count+4];");
    let failure = launch(&beyond, "k", shape(1, 1), &mut [words(1), words(1)]).unwrap_err();
    assert!(failure.kind == BOUNDS && failure.message.contains("the variable count"), "{failure}");
}

#[test]
fn assertions() {
    let before =
        ".extern .func __assertfail(.param .b64 a, .param .b32 b);\n.global .align 1 .b8 text[4] = {97, 98, 0};";
    let body = "ld.global.u32 %r8, [%rd1]; setp.eq.u32 %p1, %r8, 0; @%p1 bra $OK;\n{ .param .b64 x; .param .b32 y;\n\
        mov.u64 %rd6, text; st.param.b64 [x], %rd6; st.param.b32 [y], 3; call.uni __assertfail, (x, y); }\n\
        $OK: st.global.u32 [%rd5], %r8;";
    result(&module(before, body));
    let text = module(before, &body.replace("[%rd1]", "[%rd1+4]"));
    assert_eq!(launch(&text, "k", shape(1, 1), &mut [words(2), words(1)]).unwrap_err().kind, "assertion failed");
}

#[test]
fn what_is_not_known_in_one_function_leaves_the_others() {
    let other = ".visible .entry other(.param .u64 a)\n{\n.reg .b64 %rd<3>;\nld.param.u64 %rd1, [a];\n{\n\
        proto : .callprototype ()_ ();\ncall %rd1, (), proto;\n}\nret;\n}";
    let text = module(other, "st.global.u32 [%rd5], 5;");
    assert_eq!(result(&text)[0], 5);
    let failure = launch(&text, "other", shape(1, 1), &mut [words(1)]).unwrap_err();
    assert_eq!(failure.kind, "unsupported", "{failure}");
    assert!(text.lines().nth(failure.line as usize - 1).unwrap().contains("callprototype"), "{failure}");
}

#[test]
fn modifiers_that_an_instruction_does_not_have() {
    for body in [
        "mul.lo.foo.u32 %r8, %r1, %r1;",
        "mul.wide.foo.u32 %rd6, %r1, %r1;",
        "setp.lt.foo.u32 %p1, %r1, %r2;",
        "shl.foo.b32 %r8, %r1, 1;",
        "lop3.foo.b32 %r8, %r1, %r1, %r1, 1;",
        "shf.l.wrap.foo.b32 %r8, %r1, %r1, 1;",
        "redux.sync.add.foo.u32 %r8, %r1, -1;",
        "shfl.sync.bfly.foo.b32 %r8, %r1, 1, 31, -1;",
        "match.any.foo.sync.b32 %r8, %r1, -1;",
        "vote.sync.any.foo.pred %p1, %p1, -1;",
        "bar.sync.banana 0;",
        "fence.nonsense;",
        "membar.nonsense;",
        "popc.foo.b32 %r8, %r1;",
        "cp.async.ca.foo.shared.global [%r5], [%rd4], 4;",
        "st.global.u64 [%rd5], %r1;",
        "ld.global.u64 %r8, [%rd5];",
        "bra.foo $L; $L:",
        "ld.global.v4.v2.u32 {%r8, %r9}, [%rd5];",
        "ld.global.u32.u64 %rd6, [%rd5];",
        "set.lt.u32.s32 %r8, %r1, %r2, %r1;",
        "mad.lo.sat.s32 %r8, %r1, %r1, %r1;",
        "mad24.hi.sat.s32 %r8, %r1, %r1, %r1;",
    ] {
        bad(body, shape(1, 32), "unsupported");
    }
}

#[test]
fn calls_that_double_at_each_level() {
    let level = |i: usize| format!(".func f{i}() {{ call.uni f{0}; call.uni f{0}; ret; }}", i - 1);
    let functions: Vec<String> = (1..23).map(level).collect();
    let functions = format!(".func f0() {{ ret; }}\n{}\n", functions.join("\n"));
    let failure =
        launch(&module(&functions, "call.uni f22;"), "k", shape(1, 1), &mut [words(1), words(1)]).unwrap_err();
    assert!(failure.kind == "unsupported" && failure.message.contains("calls put in place"), "{failure}");
    result(&module(&functions, "call.uni f8;"));
}

#[test]
fn matrices_wait_for_all_lanes() {
    // Lane 0 comes late, after more than one turn of the warp.
    let body = "setp.ne.u32 %p1, %r1, 0; mov.u32 %r8, 0; @%p1 bra $MEET;\n$LOOP: add.s32 %r8, %r8, 1;\n\
        setp.lt.u32 %p2, %r8, 30000; @%p2 bra $LOOP;\n$MEET: mov.b32 %r9, 0; mov.f32 %f1, 0f00000000;\n\
        mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%f2,%f3,%f4,%f5}, {%r9,%r9}, {%r9}, {%f1,%f1,%f1,%f1};\n\
        st.global.f32 [%rd5], %f2;";
    assert_eq!(good(body, shape(1, 32))[0], 0);
    bad(&body.replace("@%p1 bra $MEET", "@!%p1 ret"), shape(1, 32), LANES);
    // A row of eight neighbours becomes a column.
    let body = "shl.b32 %r8, %r1, 17; or.b32 %r8, %r8, 65536; add.s32 %r9, %r1, %r1; or.b32 %r8, %r8, %r9;\n\
        movmatrix.sync.aligned.m8n8.trans.b16 %r10, %r8; st.global.u32 [%rd5], %r10;";
    let after = good(body, shape(1, 32));
    for lane in 0..32 {
        let (row, column) = (lane / 4, lane % 4 * 2);
        assert_eq!(after[lane], ((column * 8 + row) | (((column + 1) * 8 + row) << 16)) as u32, "lane {lane}");
    }
}

#[test]
fn halves_caches_and_vectors() {
    // Of 1.0 and 2.0 against 1.5 each: upper half first.
    let body = "mov.b32 %r8, 0x40003C00; mov.b32 %r9, 0x3E003E00;\nsetp.lt.f16x2 %p1|%p2, %r8, %r9;\n\
        selp.u32 %r10, 1, 0, %p1; selp.u32 %r11, 2, 0, %p2; or.b32 %r10, %r10, %r11;\n\
        set.gt.f16x2.f16x2 %r11, %r8, %r9; set.gt.u32.f16x2 %r12, %r8, %r9;\n\
        st.global.v4.u32 [%rd2], {%r10, %r11, %r12, %r12};";
    assert_eq!(good(body, shape(1, 1))[..3], [1, 0x3C00_0000, 0xFFFF_0000]);
    let body = "createpolicy.fractional.L2::evict_last.b64 %rd6, 0f3F800000; st.shared.u32 [%r5], 9; bar.sync 0;\n\
        setp.eq.u32 %p1, %r1, 1;\ncp.async.ca.shared.global.L2::cache_hint [%r5], [%rd4], 4, %p1, %rd6;\n\
        cp.async.wait_all; ld.shared.u32 %r8, [%r5]; st.global.u32 [%rd5], %r8;";
    assert_eq!(good(body, shape(1, 4))[..4], [0, 0, 2, 3]);
    let body = "mov.f32 %f1, 0f3F800000; mov.f32 %f2, 0f40000000; red.global.add.v2.f32 [%rd1], {%f1, %f2};\n\
        bar.sync 0; setp.ne.u32 %p1, %r1, 0; @%p1 ret; ld.global.v2.u32 {%r8, %r9}, [%rd1];\n\
        st.global.v2.u32 [%rd2], {%r8, %r9};";
    let after = good(body, shape(1, 4));
    assert_eq!([f32::from_bits(after[0]), f32::from_bits(after[1])], [4.0, 8.0]);
}
