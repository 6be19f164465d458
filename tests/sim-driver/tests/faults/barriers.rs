//! Barriers, and lanes that wait for each other.

use crate::common::*;

#[test]
fn a_divergent_barrier() {
    let failure =
        bad("setp.lt.u32 %p1, %r1, 16;\n@%p1 bra $OUT;\nbar.sync 0;\n$OUT:\nbar.sync 1;", shape(1, 32), BARRIER);
    assert!(failure.message.contains("line"), "{failure}");
    // A whole warp that goes another way.
    bad("setp.lt.u32 %p1, %r1, 32;\n@%p1 bra $OUT;\nbar.sync 0;\n$OUT:\nbar.sync 1;", shape(1, 64), BARRIER);
    // Two barriers in the place of one.
    bad("setp.lt.u32 %p1, %r1, 32;\n@%p1 bra $A;\nbar.sync 0;\nret;\n$A:\nbar.sync 0;", shape(1, 64), BARRIER);
    // Threads that are done do not hold the others up, and parts of a block may meet.
    good("setp.lt.u32 %p1, %r1, 32;\n@%p1 ret;\nbar.sync 0;", shape(1, 64));
    good("setp.lt.u32 %p1, %r1, 32;\n@%p1 bra $OUT;\nbar.sync 1, 32;\n$OUT:\nbar.sync 0;", shape(1, 64));
}

#[test]
fn lanes_that_a_warp_waits_for() {
    let body = "shfl.sync.idx.b32 %r8, %r1, 3, 31, MASK; st.global.u32 [%rd5], %r8;";
    assert_eq!(good(&body.replace("MASK", "-1"), shape(1, 32))[31], 3);
    let failure = bad(&body.replace("MASK", "65535"), shape(1, 32), LANES);
    assert_eq!(failure.thread, Some([16, 0, 0]), "{failure}");
    bad(
        &format!("setp.lt.u32 %p1, %r1, 16; @%p1 bra $L;\n{}\n$L: bar.sync 0;", body.replace("MASK", "-1")),
        shape(1, 32),
        LANES,
    );
    // Out-of-line lanes come back before the others are given up.
    let late = "setp.lt.u32 %p1, %r1, 16; @%p1 bra $FAR;\n$BACK:\nshfl.sync.idx.b32 %r8, %r1, 0, 31, -1;\nret;\n\
        $FAR:\nadd.s32 %r9, %r9, 1;\nbra $BACK;";
    good(late, shape(1, 32));
}
