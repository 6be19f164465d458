//! What orders two accesses, and what does not.

use crate::common::*;

/// Reverses 64 words through shared memory.
const REVERSE: &str = "st.shared.u32 [%r5], 0; bar.sync 0; ld.global.u32 %r8, [%rd4]; st.shared.u32 [%r5], %r8;\nBAR\n\
    sub.s32 %r9, 252, %r3; add.s32 %r9, %r4, %r9; ld.shared.u32 %r10, [%r9]; st.global.u32 [%rd5], %r10;";

#[test]
fn a_race_inside_a_block() {
    let whole = REVERSE.replace("BAR", "bar.sync 0;");
    assert_eq!(good(&whole, shape(2, 64))[..3], [63, 62, 61]);
    let failure = bad(&REVERSE.replace("BAR", ""), shape(1, 64), RACE);
    assert!(failure.message.contains("of the same block"), "{failure}");
    // Reading first and writing then is a race too.
    let after = format!("{whole}\nst.shared.u32 [%r5], %r1;");
    let failure = bad(&after, shape(1, 64), RACE);
    assert!(failure.message.contains("of the same block"), "{failure}");
    good(&format!("{whole}\nbar.sync 0; st.shared.u32 [%r5], %r1;"), shape(1, 64));
    // In global memory as well.
    bad(
        "st.global.u32 [%rd5], %r1; xor.b32 %r9, %r3, 128; cvt.u64.u32 %rd6, %r9; add.s64 %rd7, %rd2, %rd6;\n\
         ld.global.u32 %r8, [%rd7];",
        shape(1, 64),
        RACE,
    );
}

#[test]
fn a_missing_syncwarp() {
    // Neighbours inside one warp.
    let body = "st.shared.u32 [%r5], 0; bar.sync 0; st.shared.u32 [%r5], %r1;\nSYNC\nxor.b32 %r9, %r3, 4; add.s32 %r9, %r4, %r9;\n\
        ld.shared.u32 %r8, [%r9]; st.global.u32 [%rd5], %r8;";
    assert_eq!(good(&body.replace("SYNC", "bar.warp.sync -1;"), shape(1, 32))[..4], [1, 0, 3, 2]);
    let failure = bad(&body.replace("SYNC", ""), shape(1, 32), RACE);
    assert!(failure.message.contains("thread"), "{failure}");
    // A warp's own barrier does not order two warps.
    let far = body.replace("SYNC", "bar.warp.sync -1;").replace("xor.b32 %r9, %r3, 4", "xor.b32 %r9, %r3, 128");
    bad(&far, shape(1, 64), RACE);
}

#[test]
fn a_race_between_blocks() {
    let failure = bad("st.global.u32 [%rd5], %r2;", shape(4, 8), RACE);
    assert!(failure.message.contains("block"), "{failure}");
    // The same value is let pass, and atomics are made for it.
    good("st.global.u32 [%rd5], 7;", shape(4, 8));
    assert_eq!(good("red.global.add.u32 [%rd2], 1;", shape(4, 8))[0], 32);
    bad("red.global.add.u32 [%rd2], 1; ld.global.u32 %r8, [%rd2];", shape(4, 8), RACE);
    // Bytes of one word that belong to different blocks are no race.
    good("cvt.u64.u32 %rd6, %r2; add.s64 %rd7, %rd2, %rd6; st.global.u8 [%rd7], %r2;", shape(4, 1));
}

#[test]
fn a_flag_behind_a_fence_orders_blocks() {
    // The last block sums what all wrote.
    let body = "cvt.u64.u32 %rd6, %r2; shl.b64 %rd7, %rd6, 2; add.s64 %rd8, %rd2, %rd7; st.global.u32 [%rd8+4], %r2;\n\
        FENCE\natom.global.add.u32 %r8, [%rd2], 1; setp.ne.u32 %p1, %r8, 3; @%p1 ret;\nFENCE\n\
        ld.global.u32 %r9, [%rd2+4]; ld.global.u32 %r10, [%rd2+8]; ld.global.u32 %r11, [%rd2+12];\n\
        ld.global.u32 %r12, [%rd2+16]; add.s32 %r9, %r9, %r10; add.s32 %r9, %r9, %r11; add.s32 %r9, %r9, %r12;\n\
        st.global.u32 [%rd2+128], %r9;";
    assert_eq!(good(&body.replace("FENCE", "membar.gl;"), shape(4, 1))[32], 6);
    bad(&body.replace("FENCE", ""), shape(4, 1), RACE);
}
