//! Correct kernels that are ordered by other things than whole barriers, each beside those that are not.

use crate::common::*;
use crate::cuda::*;

const RACES: Kernels = Kernels("races", include_str!("kernels/races.ptx"), include_str!("kernels/races.cu"));
const FLAGS: Kernels = Kernels("flags", include_str!("kernels/flags.ptx"), include_str!("kernels/flags.cu"));
const GRID: Kernels = Kernels("grid", include_str!("kernels/grid.ptx"), include_str!("kernels/grid.cu"));

#[test]
fn a_warps_barrier_orders_what_its_lanes_read() {
    assert_eq!(RACES.good("broadcast_good", shape(1, 32), &[zeros(32)], 0)[..2], [100, 100]);
    RACES.bad("broadcast_bad", shape(1, 32), &[zeros(32)], RACE, "s[0] = 100");
    let rows = [zeros(512), value(16)];
    RACES.good("rows_good", shape(1, 128), &rows, 0);
    RACES.bad("rows_bad", shape(1, 128), &rows, RACE, "s[w][l] =");
}

#[test]
fn a_barrier_of_some_warps_orders_those() {
    assert_eq!(RACES.good("named_good", shape(1, 64), &[zeros(64)], 0)[63], 100);
    RACES.bad("named_bad", shape(1, 64), &[zeros(64)], RACE, "s[0] = 100");
    RACES.good("handed_over_good", shape(1, 128), &[zeros(256)], 0);
    let failure = RACES.run_bad("handed_over_bad", shape(1, 128), &[zeros(256)]);
    assert!(failure.kind == RACE || failure.kind == BARRIER, "{failure}");
}

#[test]
fn a_barrier_is_complete_with_the_number_that_it_was_told() {
    RACES.good("counted_good", shape(1, 96), &[zeros(96)], 0);
    let failure = RACES.bad("counted_bad", shape(1, 96), &[zeros(96)], BARRIER, "bar.sync 1, %0;");
    assert!(failure.message.contains("32 of 64 threads"), "{failure}");
    RACES.good("arrives_good", shape(1, 64), &[zeros(64)], 0);
    let failure = RACES.bad("arrives_bad", shape(1, 64), &[zeros(64)], BARRIER, "if (kTwice)");
    assert!(failure.message.contains("arrives at barrier 1 again"), "{failure}");
}

#[test]
fn a_plain_start_value_must_be_there_before_the_atomics() {
    assert_eq!(RACES.good("counter_good", shape(1, 64), &[zeros(64)], 0)[5], 64);
    RACES.bad("counter_bad", shape(1, 64), &[zeros(64)], RACE, "atomicAdd(&c, 1)");
    assert_eq!(RACES.good("total_good", shape(4, 32), &[zeros(1)], 0)[0], 128);
    // Told of whichever comes later: another block's addition, or the plain store.
    let failure = RACES.run_bad("total_bad", shape(4, 32), &[zeros(1)]);
    assert!(failure.kind == RACE && failure.message.contains("in kernel total_bad,"), "{failure}");
    // A plain read counts too, although the same thread reads strongly after it.
    let body = "setp.ne.u32 %p1, %r1, 0; @%p1 bra $B;\nld.global.u32 %r8, [%rd1]; ld.relaxed.gpu.global.u32 %r8, [%rd1];\n\
        bra $E;\n$B: red.global.add.u32 [%rd1], 1;\n$E:";
    bad(body, shape(1, 2), RACE);
    good(&body.replace("ld.global", "ld.volatile.global"), shape(1, 2));
}

#[test]
fn the_last_block_sums_and_resets() {
    let arguments = [zeros(256), zeros(1), zeros(64), words(1)];
    FLAGS.good("ticket_good", shape(4, 64), &arguments, 2);
    for kernel in ["ticket_no_fence", "ticket_block_fence", "ticket_early_fence", "ticket_no_barrier"] {
        let failure = FLAGS.bad(kernel, shape(4, 64), &arguments, RACE, "s += part[b");
        assert!(failure.message.contains("of block"), "{failure}");
    }
    // One warp a block: the other lanes have not been fenced either.
    FLAGS.bad("ticket_no_barrier", shape(4, 32), &[zeros(128), zeros(1), zeros(32), words(1)], RACE, "s += part[b");
}

#[test]
fn the_last_thread_resets() {
    assert_eq!(FLAGS.good("tickets_good", shape(3, 64), &[zeros(1), zeros(192), words(1)], 2)[0], 7);
    FLAGS.bad("tickets_bad", shape(3, 64), &[zeros(1), zeros(192), words(1)], RACE, "scale[0] = out[0] + 7");
    assert_eq!(FLAGS.good("wraps_good", shape(3, 64), &[zeros(1), zeros(1)], 1)[0], 1);
    let failure = FLAGS.run_bad("wraps_bad", shape(3, 64), &[zeros(1), zeros(1)]);
    assert_eq!(failure.kind, RACE, "{failure}");
}

#[test]
fn barriers_of_the_grid_by_hand() {
    let arguments = [words(128), zeros(1), value(128)];
    FLAGS.good("smooth_good", together(4, 32), &arguments, 0);
    FLAGS.good("smooth_good", together(2, 64), &arguments, 0);
    FLAGS.bad("smooth_no_fence", together(4, 32), &arguments, RACE, "x[i] = a");
    FLAGS.bad("smooth_no_barrier", together(2, 64), &arguments, RACE, "x[i");
    FLAGS.good("first_for_all_good", together(4, 32), &[words(128), zeros(1)], 0);
    FLAGS.bad("first_for_all_bad", together(4, 32), &[words(128), zeros(1)], RACE, "x[i] = a + 1");
}

#[test]
fn the_grids_own_barrier() {
    let arguments = [words(128), value(128), value(3)];
    GRID.good("smooth_good", together(4, 32), &arguments, 0);
    GRID.bad("smooth_bad", together(4, 32), &arguments, RACE, "x[");
    // Without a cooperative launch there is no barrier of the grid.
    let failure = GRID.run_bad("smooth_good", shape(4, 32), &arguments);
    assert_eq!(failure.kind, "trap", "{failure}");
}

#[test]
fn locks_of_warps_and_of_lanes() {
    let arguments = [zeros(1), zeros(1)];
    assert_eq!(FLAGS.good("locked_good", shape(4, 64), &arguments, 1)[0], 8);
    FLAGS.bad("locked_bad", shape(4, 64), &arguments, RACE, "data[0] += 1");
    assert_eq!(FLAGS.good("locked_lanes_good", shape(2, 64), &arguments, 1)[0], 128);
    FLAGS.bad("locked_lanes_bad", shape(1, 32), &arguments, RACE, "data[0] += 1");
}

#[test]
fn a_release_covers_what_was_before_its_fence() {
    let arguments = [zeros(1), zeros(1), zeros(4)];
    FLAGS.good("handed_good", together(3, 32), &arguments, 2);
    FLAGS.bad("handed_bad", together(3, 32), &arguments, RACE, "x[0]");
    assert_eq!(FLAGS.good("taken_back_good", together(2, 1), &[zeros(1), zeros(2)], 1)[1], 42);
    FLAGS.bad("taken_back_bad", together(2, 1), &[words(2), zeros(2)], RACE, "*flag = 0");
}

#[test]
fn an_atomic_of_the_block_is_none_for_others() {
    assert_eq!(FLAGS.good("scope_good", shape(4, 32), &[zeros(1)], 0)[0], 128);
    assert_eq!(FLAGS.good("scope_bad", shape(1, 64), &[zeros(1)], 0)[0], 64);
    FLAGS.bad("scope_bad", shape(4, 32), &[zeros(1)], RACE, "atomicAdd_block");
}
