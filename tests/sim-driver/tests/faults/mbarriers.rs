//! Barriers that count arrivals and bytes, and bulk copies.

use sim_driver::{Argument, launch};

use crate::common::*;
use crate::cuda::*;

const MBARRIERS: Kernels =
    Kernels("mbarriers", include_str!("kernels/mbarriers.ptx"), include_str!("kernels/mbarriers.cu"));
const MISUSE: &str = "misuse of an mbarrier";
const ENDLESS: &str = "too many instructions";

#[test]
fn arrivals_hand_on_what_their_threads_did() {
    let out = MBARRIERS.good("meet_good", shape(1, 64), &[zeros(64)], 0);
    assert_eq!((out[0], out[63]), (64, 1));
    MBARRIERS.bad("meet_relaxed", shape(1, 64), &[zeros(64)], RACE, "out[t] = s[63 - t]");
    // The second warp comes to the end of the first phase, where the first one has gone on already.
    MBARRIERS.bad("meet_no_wait", shape(1, 64), &[zeros(64)], UNWRITTEN, "out[t] = s[63 - t]");
}

#[test]
fn an_mbarrier_is_there_for_others_behind_a_barrier() {
    MBARRIERS.bad("no_start", shape(1, 64), &[zeros(64)], RACE, "mbarrier.arrive.release.cta");
    MBARRIERS.bad("touched", shape(1, 64), &[zeros(64)], MISUSE, "out[threadIdx.x] = b");
    let failure = MBARRIERS.bad("too_many", shape(1, 64), &[zeros(64)], MISUSE, "mbarrier.arrive.shared.b64");
    assert!(failure.message.contains("3 arrivals at an mbarrier whose phase 0 lacks 2 of 2 arrivals"), "{failure}");
}

#[test]
fn bulk_copies_are_for_those_who_wait() {
    let arguments = [words(64), zeros(64)];
    assert_eq!(MBARRIERS.good("one_good", shape(1, 64), &arguments, 1), (0..64).collect::<Vec<u32>>());
    let failure = MBARRIERS.bad("one_no_wait", shape(1, 64), &arguments, RACE, "out[t] = s[t]");
    assert!(failure.message.contains("is under way: nobody has waited for it"), "{failure}");
    // The first warp waits, and the second finds the copy done.
    let failure = MBARRIERS.bad("one_second", shape(1, 64), &arguments, RACE, "out[t] = s[t]");
    assert!(failure.message.contains("which thread 0 of the same block wrote"), "{failure}");
    let failure = MBARRIERS.bad("one_bytes", shape(1, 64), &arguments, ENDLESS, "\"r\"(parity)");
    assert!(failure.message.contains("phase 0 lacks 0 of 1 arrivals, and 16 bytes"), "{failure}");
    let short = [words(60), zeros(64)];
    MBARRIERS.bad("one_good", shape(1, 64), &short, BOUNDS, "place(to)), \"l\"(from)");
}

#[test]
fn a_warp_that_brings_and_two_that_take() {
    let tiles = Argument::Buffer((0..64 * 9).flat_map(|i| (i as f32).to_le_bytes()).collect());
    let arguments = [tiles, zeros(64), value(9)];
    let sums = MBARRIERS.good("pipeline_good", shape(1, 96), &arguments, 1);
    for (t, sum) in (0u32..).zip(sums) {
        let wanted: u32 = (0..9).map(|k| 64 * k + 63 - t).sum();
        assert_eq!(f32::from_bits(sum), wanted as f32);
    }
    let failure = MBARRIERS.run_bad("pipeline_no_empty", shape(1, 96), &arguments);
    assert!(failure.kind == MISUSE && failure.message.contains("lacks 0 of 1 arrivals, and 256 bytes"), "{failure}");
    MBARRIERS.bad("pipeline_early", shape(1, 96), &arguments, RACE, "place(to)), \"l\"(from)");
}

#[test]
fn bulk_copies_out_of_the_block() {
    let out = MBARRIERS.good("leave_good", shape(1, 64), &[zeros(128)], 0);
    assert_eq!((out[63], out[64], out[127]), (63, 1, 64));
    MBARRIERS.bad("leave_no_fence", shape(1, 64), &[zeros(128)], RACE, "place(from))");
    MBARRIERS.bad("leave_no_barrier", shape(1, 64), &[zeros(128)], RACE, "place(from))");
    let failure = MBARRIERS.bad("leave_overwrites", shape(1, 64), &[zeros(128)], RACE, "s[t] = t + k");
    assert!(failure.message.contains("still reads"), "{failure}");
    let failure = MBARRIERS.run_bad("leave_ends", shape(1, 64), &[zeros(64)]);
    assert!(failure.kind == RACE && failure.message.contains("the thread ends while"), "{failure}");
}

#[test]
fn copies_of_threads_count_as_arrivals() {
    let arguments = [words(64), zeros(64)];
    assert_eq!(MBARRIERS.good("small_good", shape(1, 64), &arguments, 1)[..3], [1, 0, 3]);
    MBARRIERS.bad("small_no_wait", shape(1, 64), &arguments, RACE, "out[t] = s[t ^ 1]");
}

#[test]
fn objects_and_their_states() {
    let start = "setp.ne.u32 %p1, %r1, 0;\n@!%p1 mbarrier.init.shared.b64 [%r4], 2;\nbar.sync 0;\n";
    // Two arrivals of each thread end one phase each; a state tells how many were missing.
    let body = "mbarrier.arrive.shared.b64 %rd6, [%r4];\nmbarrier.pending_count.b64 %r8, %rd6;\n\
        mbarrier.arrive.noComplete.shared.b64 %rd7, [%r4], 1;\n";
    let one = format!(
        "{start}{}mbarrier.test_wait.parity.shared.b64 %p2, [%r4], 1;\n",
        &body[..body.find("mbarrier.arrive.no").unwrap()]
    );
    let out = good(
        &format!("{one}selp.u32 %r9, 7, 0, %p2;\nadd.u32 %r8, %r8, %r9;\nst.global.u32 [%rd5], %r8;"),
        shape(1, 1),
    );
    assert_eq!(out[0], 9);
    let last = bad(&format!("{start}{body}"), shape(1, 1), MISUSE);
    assert_eq!(last.line, FIRST + 5, "{last}");
    bad(&format!("{start}@!%p1 mbarrier.init.shared.b64 [%r4], 2;"), shape(1, 1), MISUSE);
    bad("mbarrier.arrive.shared.b64 _, [%r4];", shape(1, 1), MISUSE);
    bad("mbarrier.init.shared.b64 [%r4], 0;", shape(1, 1), MISUSE);
    bad("mbarrier.init.shared.b64 [%r4+4], 1;", shape(1, 1), "misaligned address");
    // Threads that leave are not waited for.
    let drop = "mbarrier.arrive_drop.shared.b64 _, [%r4]; mbarrier.arrive.shared.b64 _, [%r4];\n\
        mbarrier.arrive.shared.b64 _, [%r4]; mbarrier.test_wait.parity.shared.b64 %p2, [%r4], 1;\n\
        selp.u32 %r9, 7, 0, %p2; st.global.u32 [%rd5], %r9;";
    assert_eq!(good(&format!("{start}{drop}"), shape(1, 1))[0], 7);
    good("cp.async.bulk.wait_group 4294967295; cp.async.wait_group 4294967295;", shape(1, 1));
    bad("mov.u32 %r8, 16;\nbar.sync %r8;", shape(1, 1), BARRIER);
    for odd in [
        "mbarrier.arrive.banana.shared.b64 _, [%r4];",
        "mbarrier.init.shared.b64 [%r4];",
        "fence.proxy.banana;",
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%r7], [%rd1], 16, [%r4], %h1;",
        "cp.async.bulk.wait_group.write 0;",
    ] {
        bad(odd, shape(1, 1), "unsupported");
    }
}

#[test]
fn labels_belong_to_their_braces() {
    let body = "mov.u32 %r8, 0;\n{ bra L; add.u32 %r8, %r8, 1; L: add.u32 %r8, %r8, 2; }\n\
        { bra L; add.u32 %r8, %r8, 4; L: add.u32 %r8, %r8, 8; bra M; }\nadd.u32 %r8, %r8, 16;\nM: st.global.u32 [%rd5], %r8;";
    assert_eq!(good(body, shape(1, 1))[0], 10);
}

#[test]
fn a_cluster_of_one_block() {
    let body = "st.shared.u32 [%r5], %r1; barrier.cluster.arrive.release; barrier.cluster.wait.acquire;\n\
        xor.b32 %r8, %r1, 63; shl.b32 %r8, %r8, 2; add.u32 %r8, %r8, %r4; mapa.shared::cluster.u32 %r8, %r8, 0;\n\
        ld.shared::cluster.u32 %r9, [%r8]; st.global.u32 [%rd5], %r9;";
    assert_eq!(good(body, shape(1, 64))[..2], [63, 62]);
    let two = ptx("").replace(")\n{", ") .reqnctapercluster 2, 1, 1\n{");
    let failure = launch(&two, "k", shape(2, 1), &mut [words(1), words(1)]).unwrap_err();
    assert_eq!(failure.kind, "unsupported", "{failure}");
}
