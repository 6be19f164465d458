//! Texts and launches that no device could run are refused with a reason, never with a panic.

use sim_driver::{Argument, Shape, launch};

use crate::common::*;

/// What is said of a kernel with this body.
fn refused(body: &str) -> String {
    let failure = run(body, shape(1, 32), words(64), words(64)).expect_err(body);
    assert!(matches!(&*failure.kind, "unsupported" | "syntax"), "{failure}");
    failure.message
}

#[test]
fn texts_beyond_all_limits() {
    for body in [
        "bar.red.popc.u32 %r1, %p1;",
        "mov.b32 %r99999, 1;",
        "mov.b32 %r20, 1;",
        ".reg .b32 %r<5>;",
        ".reg .b32 %one; .reg .b32 %one;",
        ".reg .b32 %q<-1>;",
        ".reg .b32 %q<1048577>;",
        "ld.param.u8 %r1, [a+-1];",
        "ld.param.u8 %r1, [a+4294967296];",
        "ld.param.u64 %rd1, [b+1];",
        ".shared .align 4294967296 .b8 odd[4];",
        ".shared .align 3 .b8 odd[4];",
        ".shared .align 0 .b8 odd[4];",
        ".shared .b8 much[4294967295]; mov.u32 %r1, much;",
        ".local .b8 much[1000000000];",
        ".param .b32 many<9999999>;",
    ] {
        refused(body);
    }
    let many: Vec<String> = (0..5000).map(|i| format!(".reg .b32 %q{i}_<262144>;\n")).collect();
    let many = many.concat();
    assert!(refused(&many).contains("registers"));
    assert!(refused(&format!("mov.b32 %r1, {}1;", "(".repeat(200_000))).contains("nested"));
    assert!(refused(&format!("mov.b32 %r1, {}1;", "-".repeat(200_000))).contains("nested"));
    // The last register, a name of an outer block again, and the largest alignment are good.
    good("mov.b32 %r19, 1; { .reg .b32 %r<5>; mov.b32 %r4, 2; } st.global.u32 [%rd2], %r19;", shape(1, 1));
    good(
        ".shared .align 128 .b8 even[4]; .local .align 8 .b8 own[65536]; st.local.u32 [own+65532], %r1;",
        shape(1, 32),
    );
}

#[test]
fn launches_beyond_all_limits() {
    let try_shape = |grid: [u32; 3], block: [u32; 3], shared: u32, cooperative: bool| {
        launch(&ptx(""), "k", Shape { grid, block, shared, cooperative }, &mut [words(4), words(4)])
    };
    for (grid, block, shared, cooperative) in [
        ([1; 3], [65536, 65536, 1], 0, false),
        ([u32::MAX; 3], [1; 3], 0, false),
        ([1, 65536, 1], [1; 3], 0, false),
        ([1; 3], [0, 1, 1], 0, false),
        ([0, 1, 1], [1; 3], 0, false),
        ([1; 3], [2048, 1, 1], 0, false),
        ([1; 3], [1, 1, 65], 0, false),
        ([1; 3], [1; 3], u32::MAX, false),
        ([257, 1, 1], [32, 1, 1], 0, true),
    ] {
        let failure = try_shape(grid, block, shared, cooperative).unwrap_err();
        assert_eq!(failure.kind, "arguments", "{failure}");
    }
    try_shape([256, 1, 1], [32, 1, 1], 1024, true).unwrap();
    let bounded = ptx("").replace("\n{\n.shared", "\n.maxntid 64, 1, 1\n{\n.shared");
    let of = |threads| launch(&bounded, "k", shape(1, threads), &mut [words(4), words(4)]);
    assert!(of(64).is_ok() && of(65).unwrap_err().message.contains("allows 64"));
}

#[test]
fn buffers_that_no_host_has() {
    for argument in [
        Argument::Freed(usize::MAX),
        Argument::Unwritten(usize::MAX),
        Argument::Unwritten(1 << 45),
        Argument::Freed(usize::MAX - 5000),
    ] {
        let failure = run("", shape(1, 1), argument, words(4)).unwrap_err();
        assert_eq!(failure.kind, "memory", "{failure}");
    }
}
