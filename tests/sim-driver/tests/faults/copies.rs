//! Asynchronous copies.

use crate::common::*;
use crate::cuda::*;

#[test]
fn asynchronous_copies_are_late() {
    let body = "cp.async.ca.shared.global [%r5], [%rd4], 4;\ncp.async.commit_group;\nWAIT\n\
        ld.shared.u32 %r8, [%r5]; st.global.u32 [%rd5], %r8;";
    assert_eq!(good(&body.replace("WAIT", "cp.async.wait_group 0;"), shape(1, 32))[9], 9);
    let failure = bad(&body.replace("WAIT", "cp.async.wait_group 1;"), shape(1, 32), RACE);
    assert!(failure.message.contains(&format!("cp.async of thread 0 at line {FIRST} is under way")), "{failure}");
}

const COPIES: Kernels = Kernels("copies", include_str!("kernels/copies.ptx"), include_str!("kernels/copies.cu"));

#[test]
fn asynchronous_copies_are_watched_from_their_begin() {
    let tiles = [words(4 * 128 * 6), zeros(128), value(6)];
    COPIES.good("pipeline_good", shape(1, 128), &tiles, 1);
    // The stage that others still read is overwritten by the next copy.
    COPIES.bad("pipeline_bad", shape(1, 128), &tiles, RACE, "float4 v = s[k & 1]");
    let one = [words(256), zeros(256)];
    assert_eq!(COPIES.good("one_good", shape(1, 64), &one, 1)[..5], [4, 5, 6, 7, 0]);
    COPIES.bad("one_reads", shape(1, 64), &one, RACE, "out[t] = s[t];");
    COPIES.bad("one_writes", shape(1, 64), &one, RACE, "make_float4(1, 1, 1, 1)");
    COPIES.bad("one_no_barrier", shape(1, 64), &one, RACE, "out[t] = s[t ^ 1]");
}

#[test]
fn a_copy_over_what_others_have_read() {
    let body = "st.shared.u32 [%r5], %r1; bar.sync 0; setp.lt.u32 %p1, %r1, 32; add.s32 %r9, %r5, 128;\n\
        @%p1 ld.shared.u32 %r8, [%r9];\nBAR\n@!%p1 cp.async.ca.shared.global [%r5], [%rd4], 4;\ncp.async.wait_all;";
    good(&body.replace("BAR", "bar.sync 0;"), shape(1, 64));
    let failure = bad(&body.replace("BAR", ""), shape(1, 64), RACE);
    assert_eq!((failure.line, failure.thread), (FIRST + 3, Some([32, 0, 0])), "{failure}");
    assert!(failure.message.contains("which thread 0 of the same block read"), "{failure}");
}
