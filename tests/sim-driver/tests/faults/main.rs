//! Every check is shown a kernel with the fault that it is for, and must name it; next to each stands the same kernel
//! without the fault, which must pass.

use sim_driver::{Argument, Failure, Shape, launch};

/// A kernel `k` with two buffers, whose address registers are %rd1 and %rd2, thread %r1, block %r2, and %rd3 = 4 tid.
fn ptx(body: &str) -> String {
    format!(
        ".version 7.0\n.target sm_80\n.address_size 64\n.extern .shared .align 16 .b8 dynamic[];\n\
         .visible .entry k(.param .u64 a, .param .u64 b)\n{{\n.shared .align 4 .b8 fixed[256];\n\
         .reg .pred %p<9>; .reg .b32 %r<20>; .reg .b64 %rd<20>; .reg .f32 %f<9>; .reg .b16 %h<9>;\n\
         ld.param.u64 %rd1, [a]; ld.param.u64 %rd2, [b]; mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x;\n\
         mul.wide.u32 %rd3, %r1, 4; add.s64 %rd4, %rd1, %rd3; add.s64 %rd5, %rd2, %rd3; shl.b32 %r3, %r1, 2;\n\
         mov.u32 %r4, fixed; add.s32 %r5, %r4, %r3; mov.u32 %r6, dynamic; add.s32 %r7, %r6, %r3;\n\
         {body}\nret;\n}}\n"
    )
}

/// Line of the first line of a body.
const FIRST: u32 = 12;

fn shape(grid: u32, block: u32) -> Shape {
    Shape { grid: [grid, 1, 1], block: [block, 1, 1], shared: 0, cooperative: false }
}

fn words(n: usize) -> Argument {
    Argument::Buffer((0..n as u32).flat_map(u32::to_le_bytes).collect())
}

fn run(body: &str, shape: Shape, a: Argument, b: Argument) -> Result<Vec<u32>, Failure> {
    let mut arguments = [a, b];
    launch(&ptx(body), "k", shape, &mut arguments)?;
    match &arguments[1] {
        Argument::Buffer(bytes) => {
            Ok(bytes.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect())
        }
        _ => Ok(Vec::new()),
    }
}

fn good(body: &str, shape: Shape) -> Vec<u32> {
    run(body, shape, words(64), words(64)).unwrap_or_else(|e| panic!("{e}\n{body}"))
}

fn bad(body: &str, shape: Shape, kind: &str) -> Failure {
    let failure = run(body, shape, words(64), words(64)).expect_err(body);
    assert_eq!(failure.kind, kind, "{failure}");
    failure
}

const RACE: &str = "race";
const BOUNDS: &str = "out of bounds";
const BARRIER: &str = "divergent barrier";
const LANES: &str = "lanes missing at a warp's instruction";
const UNWRITTEN: &str = "read of memory that nobody wrote";

#[test]
fn reads_and_writes_outside_of_a_buffer() {
    good("ld.global.u32 %r8, [%rd4]; st.global.u32 [%rd5], %r8;", shape(1, 64));
    let read = bad("\nld.global.u32 %r8, [%rd4+128];", shape(1, 64), BOUNDS);
    assert_eq!((read.line, read.block, read.thread), (FIRST + 1, Some([0; 3]), Some([32, 0, 0])), "{read}");
    assert!(read.message.contains("byte 256 of argument 0 of 256 bytes"), "{read}");
    assert!(read.message.contains("`ld.global.u32 %r8, [%rd4+128];`") && read.message.contains("kernel k"), "{read}");
    let write = bad("st.global.u32 [%rd5+-8], %r1;", shape(1, 64), BOUNDS);
    assert!(write.message.contains("8 bytes before argument 1"), "{write}");
    bad("ld.global.v4.u32 {%r8, %r9, %r10, %r11}, [%rd1+248];", shape(1, 1), "misaligned address");
    bad("ld.local.u32 %r8, [%rd3];", shape(1, 1), BOUNDS);
}

#[test]
fn the_line_of_the_source_is_named() {
    let body = ".loc 1 42 7\nld.global.u32 %r8, [%rd4+1024];";
    let text = ptx(body).replace(".extern .shared", ".file 1 \"kernels/taps.cu\"\n.extern .shared");
    let failure = launch(&text, "k", shape(1, 1), &mut [words(8), words(8)]).unwrap_err();
    assert!(failure.message.contains("kernels/taps.cu:42"), "{failure}");
}

#[test]
fn misaligned_addresses() {
    bad("ld.global.u32 %r8, [%rd1+2];", shape(1, 1), "misaligned address");
    bad("st.shared.u32 [%r4+1], %r1;", shape(1, 1), "misaligned address");
    good("ld.global.u16 %h1, [%rd1+2];", shape(1, 1));
}

#[test]
fn memory_that_has_been_freed() {
    let body = "ld.global.u32 %r8, [%rd4];";
    let failure = run(body, shape(1, 8), Argument::Freed(256), words(64)).unwrap_err();
    assert_eq!(failure.kind, "use after free", "{failure}");
    assert!(failure.message.contains("argument 0 of 256 bytes that has been freed"), "{failure}");
}

#[test]
fn memory_that_nobody_wrote() {
    let body = "ld.global.u32 %r8, [%rd4]; st.global.u32 [%rd5], %r8;";
    let failure = run(body, shape(1, 8), Argument::Unwritten(256), words(64)).unwrap_err();
    assert_eq!(failure.kind, UNWRITTEN, "{failure}");
    // What the kernel writes by itself it may read.
    let body = "st.global.u32 [%rd4], %r1; ld.global.u32 %r8, [%rd4]; st.global.u32 [%rd5], %r8;";
    assert_eq!(run(body, shape(1, 8), Argument::Unwritten(256), words(64)).unwrap()[7], 7);
    bad("ld.shared.u32 %r8, [%r5];", shape(1, 8), UNWRITTEN);
    // Half a word is not a word.
    bad("st.shared.u16 [%r5], 7; ld.shared.u32 %r8, [%r5];", shape(1, 8), UNWRITTEN);
}

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

#[test]
fn shared_memory_beyond_the_declared_size() {
    let body = "st.shared.u32 [%r5], %r1;";
    good(body, shape(1, 64));
    let failure = bad(body, shape(1, 65), BOUNDS);
    assert!(failure.message.contains("256 bytes"), "{failure}");
    let dynamic = "st.shared.u32 [%r7], %r1;";
    bad(dynamic, shape(1, 8), BOUNDS);
    good(dynamic, Shape { shared: 32, ..shape(1, 8) });
    bad(dynamic, Shape { shared: 28, ..shape(1, 8) }, BOUNDS);
}

#[test]
fn arguments_of_another_size() {
    let mut arguments = [words(4), Argument::Value(vec![0; 4])];
    let failure = launch(&ptx(""), "k", shape(1, 1), &mut arguments).unwrap_err();
    assert!(failure.kind == "arguments" && failure.message.contains("8 bytes, not 4"), "{failure}");
    let failure = launch(&ptx(""), "k", shape(1, 1), &mut [words(4)]).unwrap_err();
    assert!(failure.message.contains("takes 2 arguments"), "{failure}");
}

#[test]
fn asynchronous_copies_are_late() {
    let body = "cp.async.ca.shared.global [%r5], [%rd4], 4;\ncp.async.commit_group;\nWAIT\n\
        ld.shared.u32 %r8, [%r5]; st.global.u32 [%rd5], %r8;";
    assert_eq!(good(&body.replace("WAIT", "cp.async.wait_group 0;"), shape(1, 32))[9], 9);
    bad(&body.replace("WAIT", "cp.async.wait_group 1;"), shape(1, 32), UNWRITTEN);
}

#[test]
fn loops_without_an_end_and_traps() {
    let failure = bad("$L:\nbra $L;", shape(1, 1), "too many instructions");
    assert!(failure.message.contains("SIM_FUEL"), "{failure}");
    bad("trap;", shape(1, 1), "trap");
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
