//! Texts, arguments, loops and calls.

use sim_driver::{Argument, Shape, launch};

use crate::common::*;

#[test]
fn arguments_of_another_size() {
    let mut arguments = [words(4), Argument::Value(vec![0; 4])];
    let failure = launch(&ptx(""), "k", shape(1, 1), &mut arguments).unwrap_err();
    assert!(failure.kind == "arguments" && failure.message.contains("8 bytes, not 4"), "{failure}");
    let failure = launch(&ptx(""), "k", shape(1, 1), &mut [words(4)]).unwrap_err();
    assert!(failure.message.contains("takes 2 arguments"), "{failure}");
}

#[test]
fn loops_without_an_end_and_traps() {
    let failure = bad("$L:\nbra $L;", shape(1, 1), "too many instructions");
    assert!(failure.message.contains("SIM_FUEL"), "{failure}");
    bad("trap;", shape(1, 1), "trap");
    // Also where each turn ends at a barrier, or waits for other lanes.
    let failure = bad("$L:\nbar.sync 0;\nbra $L;", shape(1, 64), "too many instructions");
    assert_eq!((failure.line, failure.block), (FIRST + 1, Some([0; 3])), "{failure}");
}

#[test]
fn what_is_not_known_is_unsupported_with_its_line() {
    for body in
        ["\nfrobnicate.f32 %f1, %f2;", "\nadd.q32 %r1, %r2, %r3;", "\ncall strange;", "\nld.global.b128 %rd1, [%rd2];"]
    {
        let failure = bad(body, shape(1, 1), "unsupported");
        assert_eq!(failure.line, FIRST + 1, "{failure}");
    }
    assert_eq!(bad("\nadd.s32 %r1 %r2;", shape(1, 1), "syntax").line, FIRST + 1);
}

#[test]
fn functions_branches_and_waiting_for_lanes_ahead() {
    let function = ".func (.param .b32 out) twice(.param .b32 in) { .reg .b32 %r<3>; ld.param.u32 %r1, [in];\n\
        setp.gt.u32 %p, %r1, 100; @%p bra $X; shl.b32 %r1, %r1, 1; $X: st.param.b32 [out], %r1; ret; }\n";
    let function = function.replace(".reg .b32 %r<3>;", ".reg .b32 %r<3>; .reg .pred %p;");
    let body = "{ .param .b32 x; .param .b32 y; st.param.b32 [x], %r1; call.uni (y), twice, (x);\n\
        ld.param.b32 %r8, [y]; }\nst.global.u32 [%rd5], %r8;";
    let text = ptx(body).replace(".visible", &(function + ".visible"));
    let mut arguments = [words(4), words(64)];
    launch(&text, "k", shape(1, 32), &mut arguments).unwrap_or_else(|e| panic!("{e}"));
    let Argument::Buffer(bytes) = &arguments[1] else { panic!() };
    assert_eq!(bytes[4 * 9], 18);
    // Lane 0 waits for a flag that lane 1, which is ahead of it in the program, sets.
    let spin = "setp.ne.u32 %p1, %r1, 0; @%p1 bra $SET;\n$WAIT:\nld.volatile.global.u32 %r8, [%rd2+4];\n\
        setp.ne.u32 %p2, %r8, 99; @%p2 bra $WAIT;\nret;\n$SET:\nst.volatile.global.u32 [%rd2+4], 99;";
    good(spin, shape(1, 2));
    // Blocks of a cooperative launch wait for each other.
    let grid = "atom.global.add.u32 %r8, [%rd2], 1;\n$WAIT:\nld.volatile.global.u32 %r9, [%rd2];\n\
        setp.lt.u32 %p1, %r9, 3; @%p1 bra $WAIT;";
    assert_eq!(good(grid, Shape { cooperative: true, ..shape(3, 1) })[0], 3);
}
